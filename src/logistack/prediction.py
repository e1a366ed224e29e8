"""What a trained network says about one sample: class probabilities, and the class."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Real

from logistack import losses, metrics
from logistack.layers import Params
from logistack.network import logits


def probabilities(
    params: Params,
    x: Real[ArrayLike, " in"],
    *,
    loss: Callable[..., Array] = losses.sigmoid_cross_entropy,
) -> Float[Array, " classes"]:
    """Computes the probability of each class for one sample, as the loss reads the logits z.

    - `sigmoid_cross_entropy`, one output: (1 − σ(z), σ(z)), the classes 0 and 1.
    - `sigmoid_cross_entropy`, several: σ(zᵢ), as from `forward`. The units are independent: their
      probabilities need not sum to 1.
    - `softmax_cross_entropy`: exp zᵢ / Σⱼ exp zⱼ, which sum to 1.

    Args:
        params: a tuple of `Layer`.
        x: one sample, `(in,)`. For many, `jax.vmap(probabilities, (None, 0))(params, inputs)`.
        loss: the loss that the network was trained with, one of the two above.

    Returns:
        One probability for each class, in the dtype of the parameters: `(out,)`, or `(2,)` for a
        single output.

    Raises:
        ValueError: if shapes do not match, `x` is concrete and not finite, `loss` is another
            function, or there is only one output for a softmax.
        TypeError: if a dtype is not a real number's.

    >>> import jax.numpy as jnp
    >>> from logistack import Layer, losses
    >>> unit = (Layer(jnp.array([[1.0, -1.0]]), jnp.array([0.0])),)
    >>> x = jnp.array([2.0, 0.0])
    >>> print(probabilities(unit, x))
    [0.11920292 0.880797  ]
    >>> two = (Layer(jnp.eye(2), jnp.zeros(2)),)
    >>> print(probabilities(two, x, loss=losses.softmax_cross_entropy))
    [0.880797   0.11920291]
    """
    if loss not in (losses.sigmoid_cross_entropy, losses.softmax_cross_entropy):
        raise ValueError(
            "loss: expected losses.sigmoid_cross_entropy or losses.softmax_cross_entropy, got "
            f"{_name(loss)}: for another loss, apply its own function to ls.logits(params, x)"
        )
    z = logits(params, x)
    if loss is losses.softmax_cross_entropy and z.shape[0] == 1:
        raise ValueError(
            "params: expected at least two outputs for softmax_cross_entropy, got one, whose "
            "softmax is always 1"
        )
    return probabilities_of(z, loss)


def probabilities_of(z: Float[Array, " out"], loss: Callable[..., Array]) -> Float[Array, " k"]:
    """The probability of each class that logits stand for, as one of the two losses reads them."""
    if loss is losses.softmax_cross_entropy:
        return jax.nn.softmax(z)
    # σ(−z) is 1 − σ(z) without its rounding.
    return jax.nn.sigmoid(jnp.concatenate([-z, z]) if z.shape[0] == 1 else z)


def predict(params: Params, x: Real[ArrayLike, " in"]) -> Int[Array, ""]:
    """Returns the class of one sample: that of the largest logit, or for a single one [z > 0].

    Args:
        params: a tuple of `Layer`, trained with either loss on logits.
        x: one sample, `(in,)`. For many, `jax.vmap(predict, (None, 0))(params, inputs)`.

    Returns:
        The class as an integer scalar.

    Raises:
        ValueError: if shapes do not match, or `x` is concrete and not finite.
        TypeError: if a dtype is not a real number's.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from logistack import Layer
    >>> unit = (Layer(jnp.array([[1.0, 1.0]]), jnp.array([-1.5])),)
    >>> inputs = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> print(jax.vmap(predict, (None, 0))(unit, inputs))
    [0 0 0 1]
    """
    return metrics.predicted_class(logits(params, x))


def _name(function: Any) -> str:
    return getattr(function, "__name__", repr(function))
