"""Layers of logistic units, one by one or in stacks."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from logistack import _checks
from logistack._export import exported


@exported
class Layer(NamedTuple):
    """One layer of logistic units, or a stack of equal layers.

    A layer maps the activations a of the layer before it to σ(weight · a + bias). A leading
    `depth` axis makes it a stack of `depth` layers, applied first to last, each as wide as its
    input.

    Attributes:
        weight: `(out, in)`, or `(depth, width, width)` for a stack.
        bias: `(out,)`, or `(depth, width)` for a stack.
    """

    weight: Float[Array, "*depth out in"]
    bias: Float[Array, "*depth out"]


Params: TypeAlias = tuple[Layer, ...]
Product: TypeAlias = Callable[[Array, Array], Array]

# Runs of this many equal layers or more are scanned. On a CPU a loop over 16 layers, 64 to 1,024
# units wide, takes up to a fifth longer than the layers written out, and compiles no slower.
SCANNED = 16


def is_stack(layer: Layer) -> bool:
    """Whether `layer` is a stack of equal layers, that is, has a leading depth axis."""
    return layer.weight.ndim == 3


def depth_of(layer: Layer) -> int:
    """How many layers `layer` stands for."""
    return layer.weight.shape[0] if is_stack(layer) else 1


def stack(params: Params, *, shortest: int = 2) -> Params:
    """Joins runs of equal layers into stacks, whose compile time does not grow with their depth.

    Layers are equal if their weights are square and of the same size. `fit` does this on its own
    for runs of 16 layers or more. The network computes the same function.

    Args:
        params: a tuple of `Layer`, which may contain stacks.
        shortest: the smallest number of layers that are joined, at least 2.

    Returns:
        The same layers, with each run as one `Layer` that has a leading depth axis.

    Raises:
        ValueError: if shapes do not match, or `shortest` is below 2.
        TypeError: if `params` is not a tuple of `Layer` of one floating dtype.

    >>> import jax
    >>> from logistack.initialization import init_params
    >>> params = init_params(jax.random.key(0), (5, 3, 3, 3, 2))
    >>> [layer.weight.shape for layer in stack(params)]
    [(3, 5), (2, 3, 3), (2, 3)]
    """
    shortest = _checks.require_count("shortest", shortest, low=2)
    return join_runs(require_params(params), shortest)


def unstack(params: Params) -> Params:
    """Takes stacks apart, the inverse of `stack`.

    Args:
        params: a tuple of `Layer`, which may contain stacks.

    Returns:
        The same layers, one `Layer` each.

    Raises:
        ValueError: if shapes do not match.
        TypeError: if `params` is not a tuple of `Layer` of one floating dtype.

    >>> import jax.numpy as jnp
    >>> [layer.weight.shape for layer in unstack((Layer(jnp.ones((2, 3, 3)), jnp.ones((2, 3))),))]
    [(3, 3), (3, 3)]
    """
    return tuple(
        row(layer, index) if is_stack(layer) else layer
        for layer in require_params(params)
        for index in range(depth_of(layer))
    )


# A network of a thousand layers is slow to compile unless its runs of equal layers are arrays with
# a leading depth axis. `join_runs` makes them so, and `split_like` undoes it. Both walk the layers
# from first to last and never change their order. That is all it takes to undo a join: the i-th
# layer is the same before and after, whichever entries the layers are kept in. With weights as
# (out, in), and n ⋅ for a stack of n:
#
#     as given       (4, 5)   3 ⋅ (4, 4)   (4, 4)   (4, 4)   (2, 4)
#     join_runs      (4, 5)   5 ⋅ (4, 4)                     (2, 4)
#     split_like     (4, 5)   3 ⋅ (4, 4)   (4, 4)   (4, 4)   (2, 4)


def join_runs(params: Sequence[Layer], shortest: int) -> Params:
    """`stack` without its checks."""
    joined: list[Layer] = []
    for shape, run in itertools.groupby(params, lambda layer: layer.weight.shape[-2:]):
        layers = list(run)
        equal = len(layers) > 1 and shape[0] == shape[1]
        if equal and sum(map(depth_of, layers)) >= shortest:
            layers = [_joined(layers)]
        joined += layers
    return tuple(joined)


def split_like(params: Params, like: Params) -> Params:
    """Takes stacks apart that `join_runs` has made of `like`, or of layers of their shapes."""
    entries, left = iter(params), 0  # how many layers of the present entry are still to be given
    layers: list[Layer] = []
    for model in like:
        if not left:
            entry = next(entries)
            left = depth_of(entry)
        start, depth = depth_of(entry) - left, depth_of(model)
        left -= depth
        if not is_stack(entry) or depth == depth_of(entry):
            layers.append(entry)
        elif is_stack(model):
            layers.append(Layer(*(part[start : start + depth] for part in entry)))
        else:
            layers.append(row(entry, start))
    return tuple(layers)


def _joined(layers: Sequence[Layer]) -> Layer:
    parts: list[Layer] = []
    for stacks, group in itertools.groupby(layers, is_stack):
        run = list(group)
        parts += run if stacks else map(_stacked, _groups(run))
    while len(parts) > 1:
        parts = [Layer(*map(jnp.concatenate, zip(*group, strict=True))) for group in _groups(parts)]
    return parts[0]


def _groups(layers: list[Layer]) -> list[list[Layer]]:
    """XLA takes seconds to compile a concatenation of a thousand arrays; of 32, again, not."""
    return [layers[start : start + 32] for start in range(0, len(layers), 32)]


# One call for 32 layers, where each array by itself would need a call for its leading axis.
@jax.jit
def _stacked(layers: list[Layer]) -> Layer:
    return Layer(*map(jnp.stack, zip(*layers, strict=True)))


def row(stack: Layer, index: int) -> Layer:
    """One of several layers that share a leading axis."""
    # The index is an argument, not a constant: one compiled program serves for all.
    take = functools.partial(jax.lax.dynamic_index_in_dim, keepdims=False)
    return Layer(*(take(part, np.int32(index)) for part in stack))


def sigmoid_layer(layer: Layer, a: Real[ArrayLike, " in"]) -> Float[Array, " out"]:
    """Applies one layer of logistic units to one sample: σ(W a + b).

    A stack of layers is scanned, so that compile time does not grow with its depth.

    Args:
        layer: a `Layer` of weight `(out, in)` and bias `(out,)`, or a stack of them.
        a: activations of the layer before, `(in,)`; converted to the layer's dtype.

    Returns:
        Activations `(out,)`, each between 0 and 1, in the layer's dtype.

    Raises:
        ValueError: if the shapes of weight, bias and `a` do not match, or `a` is not finite.
        TypeError: if a dtype is not a real number's.

    >>> import jax.numpy as jnp
    >>> layer = Layer(jnp.array([[-2.0, 2.0], [2.0, -2.0]]), jnp.array([-1.0, -1.0]))
    >>> print(sigmoid_layer(layer, jnp.array([0.0, 1.0])))
    [0.7310586  0.04742587]
    """
    layer = _require_layer("layer", layer)
    return apply_sigmoid(layer, require_sample("a", a, layer))


def apply_sigmoid(layer: Layer, a: Float[Array, " in"]) -> Float[Array, " out"]:
    """`sigmoid_layer` without its checks, for callers that have made them."""
    if is_stack(layer):
        a, _ = jax.lax.scan(lambda a, layer: (apply_sigmoid(layer, a), None), a, layer)
        return a
    return jax.nn.sigmoid(affine(layer, a))


def affine(
    layer: Layer, a: Float[Array, " in"], product: Product = jnp.matmul
) -> Float[Array, " out"]:
    """The pre-activations W a + b of one layer."""
    return product(layer.weight, a) + layer.bias


def require_params(params: Any, *, name: str = "params") -> Params:
    """Returns parameters as JAX arrays, after checking that each layer fits the one before it.

    Args:
        params: a tuple of `Layer`.
        name: what messages call the argument.

    Returns:
        The same parameters, as a tuple of `Layer` of JAX arrays.

    Raises:
        TypeError: if `params` is not a sequence of `Layer` of one floating dtype.
        ValueError: if there is no layer, or the shapes do not match.
    """
    if isinstance(params, Layer) or not isinstance(params, tuple | list):
        raise TypeError(f"{name}: expected a tuple of Layer, got {type(params).__name__}")
    if not params:
        raise ValueError(f"{name}: expected at least one Layer, got none")
    layers = tuple(_require_layer(f"{name}[{i}]", layer) for i, layer in enumerate(params))
    for index, (before, layer) in enumerate(itertools.pairwise(layers), start=1):
        units, inputs = before.weight.shape[-2], layer.weight.shape[-1]
        if units != inputs:
            raise ValueError(
                f"{name}[{index}]: expected a weight for {units} inputs, as many as the layer "
                f"before has units, got one for {inputs}"
            )
        if layer.weight.dtype != before.weight.dtype:
            raise TypeError(
                f"{name}[{index}]: expected {before.weight.dtype}, as the layer before, "
                f"got {layer.weight.dtype}"
            )
    return layers


def _require_layer(name: str, layer: Any) -> Layer:
    if not isinstance(layer, Layer):
        raise TypeError(f"{name}: expected a Layer, got {type(layer).__name__}")
    for part, array in layer._asdict().items():
        if not isinstance(array, jax.Array | np.ndarray):
            raise TypeError(f"{name}.{part}: expected an array, got {type(array).__name__}")
        if not jnp.issubdtype(array.dtype, jnp.floating) or array.dtype.itemsize > 8:
            raise TypeError(
                f"{name}.{part}: expected a floating dtype of at most 64 bits, got {array.dtype}"
            )
    shape, bias_shape = layer.weight.shape, layer.bias.shape
    if len(shape) not in (2, 3) or bias_shape != shape[:-1]:
        raise ValueError(
            f"{name}: expected weight (out, in) and bias (out,), or both with a leading depth "
            f"axis, got weight {shape} and bias {bias_shape}"
        )
    if len(shape) == 3 and shape[1] != shape[2]:
        raise ValueError(f"{name}: expected square layers in a stack, got weight {shape}")
    if 0 in shape:
        raise ValueError(f"{name}: expected sizes of at least 1, got weight {shape}")
    if layer.bias.dtype != layer.weight.dtype:
        raise TypeError(
            f"{name}.bias: expected {layer.weight.dtype}, as the weight, got {layer.bias.dtype}"
        )
    return Layer(
        *(_checks.require_numeric(f"{name}.{part}", a) for part, a in layer._asdict().items())
    )


def require_sample(name: str, x: Any, layer: Layer) -> Float[Array, " in"]:
    """Returns one sample in the dtype of the layer that takes it, after checking it."""
    x = _checks.require_numeric(name, x)
    features = layer.weight.shape[-1]
    if x.shape != (features,):
        hint = " (these functions take one sample: use jax.vmap)" if x.ndim == 2 else ""
        raise ValueError(f"{name}: expected shape ({features},), got {x.shape}{hint}")
    _checks.require_finite(name, x)
    return x.astype(layer.weight.dtype)
