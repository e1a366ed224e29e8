"""The network as a function: one sample in, one output out."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from logistack import _checks
from logistack.layers import (
    SCANNED,
    Layer,
    Params,
    Product,
    affine,
    depth_of,
    is_stack,
    join_runs,
    require_params,
    require_sample,
)

Masks: TypeAlias = tuple[Array | None, ...]


def logits(params: Params, x: Real[ArrayLike, " in"]) -> Float[Array, " out"]:
    """Computes the pre-activations z of the last layer for one sample.

    a⁽⁰⁾ = x;  a⁽ˡ⁾ = σ(W⁽ˡ⁾ a⁽ˡ⁻¹⁾ + b⁽ˡ⁾) for l < L;  z = W⁽ᴸ⁾ a⁽ᴸ⁻¹⁾ + b⁽ᴸ⁾.

    Args:
        params: a tuple of L `Layer`, each fitting the one before.
        x: one sample, `(in,)`, of any real dtype; converted to that of the parameters.

    Returns:
        Logits `(out,)` in the dtype of the parameters.

    Raises:
        ValueError: if shapes do not match, or `x` is concrete and not finite.
        TypeError: if a dtype is not a real number's.

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
        x: one sample, `(in,)`, of any real dtype; converted to that of the parameters.

    Returns:
        Outputs `(out,)`, each between 0 and 1, in the dtype of the parameters.

    Raises:
        ValueError: if shapes do not match, or `x` is concrete and not finite.
        TypeError: if a dtype is not a real number's.

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
        x: one sample, `(in,)`, of any real dtype; converted to that of the parameters.

    Returns:
        One array of activations a layer, a stack counting as its `depth` layers; the last is
        `forward(params, x)`.

    Raises:
        ValueError: if shapes do not match, or `x` is concrete and not finite.
        TypeError: if a dtype is not a real number's.

    >>> import jax
    >>> from logistack.initialization import init_params
    >>> params = init_params(jax.random.key(0), (4, 3, 2))
    >>> [a.shape for a in activations(params, jax.numpy.ones(4))]
    [(3,), (2,)]
    """
    params = require_params(params)
    z, hidden = propagate(params, require_sample("x", x, params[0]), observe=lambda a: a)
    each = (a if a.ndim == 2 else (a,) for a in hidden)
    return (*itertools.chain.from_iterable(each), jax.nn.sigmoid(z))


def jacobian_spectrum(params: Params, x: Real[ArrayLike, " in"]) -> Float[Array, " least"]:
    """Computes the singular values of ∂ logits / ∂ x at one sample, the largest first.

    They say by how much the network stretches a small change of its input in each direction. If
    all are of one size (dynamical isometry), gradients survive any depth; a network whose values
    are many powers of ten apart does not train.

    Args:
        params: a tuple of `Layer`, each fitting the one before.
        x: one sample, `(in,)`, of any real dtype; converted to that of the parameters.

    Returns:
        As many singular values as the smaller of `in` and `out`, in float32 or wider.

    Raises:
        ValueError: if shapes do not match, or `x` is concrete and not finite.
        TypeError: if a dtype is not a real number's.

    Source: Pennington, Schoenholz & Ganguli 2017, section 2.

    >>> import jax.numpy as jnp
    >>> params = (Layer(jnp.array([[3.0, 0.0], [0.0, -4.0]]), jnp.zeros(2)),)
    >>> print(jacobian_spectrum(params, jnp.zeros(2)))
    [4. 3.]
    """
    params = require_params(params)
    x = require_sample("x", x, params[0])
    outputs = params[-1].weight.shape[-2]
    # One pass for each output backward, or for each input forward, whichever are fewer.
    differentiate = jax.jacrev if outputs <= x.shape[0] else jax.jacfwd
    jacobian = differentiate(lambda x: propagate(params, x)[0])(x)
    wide = jacobian.astype(_checks.float32_or_wider(jacobian.dtype))
    return jnp.linalg.svd(wide, compute_uv=False)


def propagate(
    params: Params,
    x: Float[Array, " in"],
    *,
    masks: Masks | None = None,
    rest: float = 0.0,
    units: Masks | None = None,
    product: Product = jnp.matmul,
    observe: Callable[[Array], Array] | None = None,
    remat: bool = False,
) -> tuple[Float[Array, " out"], list[Array]]:
    """The logits of one sample, and what is observed of each hidden layer's activations.

    Args:
        params: parameters that have been checked.
        x: one sample, `(in,)`, in their dtype.
        masks: factors for the inputs, then for the activations of each entry of
            `hidden_layers(params)`: `(width,)`, or `(depth, width)` for a stack, or None for 1.
        rest: the value of an activation whose factor is 0.
        units: 1 for the units of each entry of `hidden_layers(params)` that are there, and 0 for
            those that only fill its arrays, whose activation is then 0.
        product: W a, the product of a layer's weight and the activations before it.
        observe: a function of a layer's activations before their mask; None if nothing is.
        remat: whether the backward pass recomputes a stack's activations from about √depth of
            them, instead of keeping all.

    Returns:
        Logits `(out,)`, and what was observed of each entry of `hidden_layers(params)`, with a
        leading depth axis for a stack.
    """
    hidden, last = hidden_layers(params)
    masks = masks or (None,) * (len(hidden) + 1)
    units = units or (None,) * len(hidden)
    observed: list[Array] = []

    def apply(a: Array, own: tuple[Layer, Array | None, Array | None]) -> tuple[Array, Any]:
        layer, mask, present = own
        a = jax.nn.sigmoid(affine(layer, a, product))
        seen = None if observe is None else observe(a)
        a = _masked(a, mask, rest)
        return a if present is None else a * present, seen

    a = _masked(x, masks[0], 0.0)
    for each in zip(hidden, masks[1:], units, strict=True):
        if not is_stack(each[0]):
            a, seen = apply(a, each)
        elif remat:
            a, seen = _scan_in_segments(apply, a, each, depth_of(each[0]))
        else:
            a, seen = jax.lax.scan(apply, a, each)
        if seen is not None:
            observed.append(seen)
    return affine(last, a, product), observed


def hidden_layers(params: Params) -> tuple[Params, Layer]:
    """The hidden layers, long runs joined, and the last, split off where it ends a stack."""
    *hidden, last = params
    if is_stack(last):
        if depth_of(last) > 1:
            hidden.append(Layer(last.weight[:-1], last.bias[:-1]))
        last = Layer(last.weight[-1], last.bias[-1])
    return join_runs(hidden, SCANNED), last


def _scan_in_segments(apply: Any, a: Array, each: Any, depth: int) -> tuple[Array, Any]:
    """`jax.lax.scan` that keeps √depth carries, and recomputes each segment backward.

    Source: Chen et al. 2016, "Training deep nets with sublinear memory cost", section 4.
    """

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def segment(a: Array, each: Any) -> tuple[Array, Any]:
        return jax.lax.scan(apply, a, each)

    size = max(1, math.isqrt(depth))
    whole = depth - depth % size
    segments = jax.tree.map(lambda x: x[:whole].reshape(-1, size, *x.shape[1:]), each)
    a, seen = jax.lax.scan(segment, a, segments)
    a, more = segment(a, jax.tree.map(lambda x: x[whole:], each))
    return a, jax.tree.map(
        lambda x, y: jnp.concatenate([x.reshape(whole, *x.shape[2:]), y]), seen, more
    )


def _masked(a: Array, mask: Array | None, rest: float) -> Array:
    if mask is None:
        return a
    return rest + (a - rest) * mask if rest else a * mask
