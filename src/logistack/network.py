"""The network as a function: one sample in, one output out."""

from typing import Any

import jax
from jaxtyping import Array, ArrayLike, Float, Real

from logistack.layers import (
    Layer,
    Params,
    affine,
    apply_sigmoid,
    is_stack,
    require_params,
    require_sample,
)


def logits(params: Params, x: Real[ArrayLike, " in"]) -> Float[Array, " out"]:
    """Computes the pre-activations z of the last layer for one sample.

    a⁽⁰⁾ = x;  a⁽ˡ⁾ = σ(W⁽ˡ⁾ a⁽ˡ⁻¹⁾ + b⁽ˡ⁾) for l < L;  z = W⁽ᴸ⁾ a⁽ᴸ⁻¹⁾ + b⁽ᴸ⁾.

    Args:
        params: a tuple of L `Layer`, each fitting the one before.
        x: one sample, `(in,)`, of any real dtype; taken to that of the parameters.

    Returns:
        Logits `(out,)` in the dtype of the parameters.

    Raises:
        ValueError: if shapes do not fit, or `x` is concrete and not finite.
        TypeError: if a dtype is not of real numbers.

    >>> import jax, jax.numpy as jnp
    >>> params = (Layer(jnp.array([[1.0, -2.0]]), jnp.array([1.0])),)
    >>> print(logits(params, jnp.array([1.0, -1.0])))
    [4.]
    >>> print(jax.vmap(logits, in_axes=(None, 0))(params, jnp.eye(2)))
    [[ 2.]
     [-1.]]
    """
    params = require_params(params)
    return apply_logits(params, require_sample("x", x, params[0]))


def forward(params: Params, x: Real[ArrayLike, " in"]) -> Float[Array, " out"]:
    """Computes the network's output for one sample, σ on every layer: σ(logits(params, x)).

    Args:
        params: a tuple of `Layer`, each fitting the one before.
        x: one sample, `(in,)`, of any real dtype; taken to that of the parameters.

    Returns:
        Outputs `(out,)`, each between 0 and 1, in the dtype of the parameters.

    Raises:
        ValueError: if shapes do not fit, or `x` is concrete and not finite.
        TypeError: if a dtype is not of real numbers.

    >>> import jax.numpy as jnp
    >>> params = (
    ...     Layer(jnp.array([[1.0, -2.0], [-1.0, 1.0]]), jnp.array([1.0, 0.0])),
    ...     Layer(jnp.array([[2.0, -1.0], [-2.0, -1.0]]), jnp.array([0.0, 0.0])),
    ...     Layer(jnp.array([[3.0, -1.0], [-1.0, 4.0]]), jnp.array([-2.0, 2.0])),
    ... )
    >>> print(forward(params, jnp.array([1.0, -1.0])).round(2))
    [0.62 0.83]
    """
    return jax.nn.sigmoid(logits(params, x))


def activations(params: Params, x: Real[ArrayLike, " in"]) -> tuple[Float[Array, " width"], ...]:
    """Computes the outputs of every layer for one sample, first to last.

    Args:
        params: a tuple of `Layer`, each fitting the one before.
        x: one sample, `(in,)`, of any real dtype; taken to that of the parameters.

    Returns:
        One array of activations a layer, a stack counting as its `depth` layers; the last is
        `forward(params, x)`.

    Raises:
        ValueError: if shapes do not fit, or `x` is concrete and not finite.
        TypeError: if a dtype is not of real numbers.

    >>> import jax
    >>> from logistack.layers import init_params
    >>> params = init_params(jax.random.key(0), (4, 3, 2))
    >>> [a.shape for a in activations(params, jax.numpy.ones(4))]
    [(3,), (2,)]
    """
    params = require_params(params)
    a = require_sample("x", x, params[0])
    outputs: list[Float[Array, " width"]] = []
    for layer in params:
        if is_stack(layer):
            a, each = jax.lax.scan(_keep_output, a, layer)
            outputs.extend(each)
        else:
            a = apply_sigmoid(layer, a)
            outputs.append(a)
    return tuple(outputs)


def _keep_output(a: Any, layer: Layer) -> tuple[Any, Any]:
    a = apply_sigmoid(layer, a)
    return a, a


def apply_logits(params: Params, x: Float[Array, " in"]) -> Float[Array, " out"]:
    """`logits` without its checks, for callers that have made them."""
    *hidden, last = params
    if is_stack(last):
        hidden.append(Layer(last.weight[:-1], last.bias[:-1]))
        last = Layer(last.weight[-1], last.bias[-1])
    for layer in hidden:
        x = apply_sigmoid(layer, x)
    return affine(last, x)
