"""The network as a function: one sample in, one output out."""

import itertools
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from logistack.layers import (
    Layer,
    Params,
    Product,
    affine,
    is_stack,
    require_params,
    require_sample,
)

Masks: TypeAlias = tuple[Array | None, ...]


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
    return propagate(params, require_sample("x", x, params[0]))[0]


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
    z, hidden = propagate(params, require_sample("x", x, params[0]), keep=True)
    each = (a if a.ndim == 2 else (a,) for a in hidden)
    return (*itertools.chain.from_iterable(each), jax.nn.sigmoid(z))


def propagate(
    params: Params,
    x: Float[Array, " in"],
    *,
    masks: Masks | None = None,
    product: Product = jnp.matmul,
    keep: bool = False,
) -> tuple[Float[Array, " out"], list[Array]]:
    """The logits of one sample, and the activations of the hidden layers if they are to be kept.

    Args:
        params: parameters that have been checked.
        x: one sample, `(in,)`, in their dtype.
        masks: factors for the inputs, then for the activations of each entry of
            `hidden_layers(params)`: `(width,)`, or `(depth, width)` for a stack, or None for 1.
        product: W a, the product of a layer's weight and the activations before it.
        keep: whether to return the hidden activations, as they are before their masks.

    Returns:
        Logits `(out,)`, and activations for each entry of `hidden_layers(params)`, `(width,)`, or
        `(depth, width)` for a stack; none if they are not kept.
    """
    hidden, last = hidden_layers(params)
    masks = masks or (None,) * (len(hidden) + 1)
    kept: list[Array] = []

    def apply(a: Array, layer: Layer, mask: Array | None) -> tuple[Array, Array | None]:
        a = jax.nn.sigmoid(affine(layer, a, product))
        return _masked(a, mask), a if keep else None

    a = _masked(x, masks[0])
    for layer, mask in zip(hidden, masks[1:], strict=True):
        if is_stack(layer):
            a, seen = jax.lax.scan(lambda a, both: apply(a, *both), a, (layer, mask))
        else:
            a, seen = apply(a, layer, mask)
        if seen is not None:
            kept.append(seen)
    return affine(last, a, product), kept


def hidden_layers(params: Params) -> tuple[list[Layer], Layer]:
    """The hidden layers, and the last: split off, where it is the end of a stack."""
    *hidden, last = params
    if is_stack(last):
        hidden.append(Layer(last.weight[:-1], last.bias[:-1]))
        last = Layer(last.weight[-1], last.bias[-1])
    return hidden, last


def _masked(a: Array, mask: Array | None) -> Array:
    return a if mask is None else a * mask
