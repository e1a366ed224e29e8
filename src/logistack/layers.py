"""Layers of logistic units and the schemes that initialise them."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from logistack import _checks


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


def is_stack(layer: Layer) -> bool:
    """Whether `layer` is a stack of equal layers, that is, has a leading depth axis."""
    return layer.weight.ndim == 3


def depth_of(layer: Layer) -> int:
    """How many layers `layer` stands for."""
    return layer.weight.shape[0] if is_stack(layer) else 1


def sigmoid_layer(layer: Layer, a: Real[ArrayLike, " in"]) -> Float[Array, " out"]:
    """Applies one layer of logistic units to one sample: σ(W a + b).

    A stack of layers is scanned, so that compile time does not grow with its depth.

    Args:
        layer: a `Layer` of weight `(out, in)` and bias `(out,)`, or a stack of them.
        a: activations of the layer before, `(in,)`; taken to the layer's dtype.

    Returns:
        Activations `(out,)`, each between 0 and 1, in the layer's dtype.

    Raises:
        ValueError: if the shapes of weight, bias and `a` do not fit, or `a` is not finite.
        TypeError: if a dtype is not of real numbers.

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
    """Returns parameters as JAX arrays, refusing what is not a chain of fitting layers.

    Args:
        params: a tuple of `Layer`.
        name: what messages call the argument.

    Returns:
        The same parameters, as a tuple of `Layer` of JAX arrays.

    Raises:
        TypeError: if `params` is not a sequence of `Layer` of one floating dtype.
        ValueError: if there is no layer, or the shapes do not fit.
    """
    if isinstance(params, Layer) or not isinstance(params, tuple | list):
        raise TypeError(f"{name}: wanted a tuple of Layer, got {type(params).__name__}")
    if not params:
        raise ValueError(f"{name}: wanted at least one Layer, got none")
    layers = tuple(_require_layer(f"{name}[{i}]", layer) for i, layer in enumerate(params))
    for index, (before, layer) in enumerate(itertools.pairwise(layers), start=1):
        width, wanted = before.weight.shape[-2], layer.weight.shape[-1]
        if width != wanted:
            raise ValueError(
                f"{name}[{index}]: takes {wanted} activations, but the layer before gives {width}"
            )
        if layer.weight.dtype != before.weight.dtype:
            raise TypeError(
                f"{name}[{index}]: wanted {before.weight.dtype}, as the layer before, "
                f"got {layer.weight.dtype}"
            )
    return layers


def _require_layer(name: str, layer: Any) -> Layer:
    if not isinstance(layer, Layer):
        raise TypeError(f"{name}: wanted a Layer, got {type(layer).__name__}")
    for part, array in layer._asdict().items():
        if not isinstance(array, jax.Array | np.ndarray):
            raise TypeError(f"{name}.{part}: wanted an array, got {type(array).__name__}")
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(f"{name}.{part}: wanted a floating dtype, got {array.dtype}")
    shape, bias_shape = layer.weight.shape, layer.bias.shape
    if len(shape) not in (2, 3) or bias_shape != shape[:-1]:
        raise ValueError(
            f"{name}: wanted weight (out, in) and bias (out,), or both with a leading depth axis, "
            f"got weight {shape} and bias {bias_shape}"
        )
    if len(shape) == 3 and shape[1] != shape[2]:
        raise ValueError(f"{name}: a stack of layers must be square, got weight {shape}")
    if 0 in shape:
        raise ValueError(f"{name}: wanted sizes of at least 1, got weight {shape}")
    if layer.bias.dtype != layer.weight.dtype:
        raise TypeError(
            f"{name}.bias: wanted {layer.weight.dtype}, as the weight, got {layer.bias.dtype}"
        )
    return Layer(*map(jnp.asarray, layer))


def require_sample(name: str, x: Any, layer: Layer) -> Float[Array, " in"]:
    """Returns one sample in the dtype of the layer that takes it, refusing what does not fit."""
    x = _checks.require_numeric(name, x)
    features = layer.weight.shape[-1]
    if x.shape != (features,):
        hint = " (these functions take one sample: use jax.vmap)" if x.ndim == 2 else ""
        raise ValueError(f"{name}: wanted shape ({features},), got {x.shape}{hint}")
    _checks.require_finite(name, x)
    return x.astype(layer.weight.dtype)


def init_params(
    key: PRNGKeyArray,
    sizes: Sequence[int],
    *,
    scheme: str = "orthogonal",
    dtype: Any = jnp.float32,
) -> Params:
    r"""Draws the parameters of a fully connected network.

    A layer of `in` inputs and `out` units starts as, by scheme,

    - `"orthogonal"`: W = g Q with Q semi-orthogonal and b = −½ W·1, so that a unit fed by
      activations around ½ starts at pre-activation 0. The gain g is 4 between two layers of
      logistic units, since σ′(0) = ¼, and 2 at the first and at the last layer of a stack. The
      first layer is fed by the data, not by activations, so its bias is 0, and a single layer has
      gain 1. This is an orthogonal network of tanh units in the coordinates of σ, by
      tanh z = 2σ(2z) − 1.
    - `"glorot"`: W uniform on ±4 √(6 / (in + out)), b = 0, the textbook rule for σ.
    - `"normal"`: W normal with standard deviation 1/√in, b = 0.
    - `"zeros"`: all zero.

    Args:
        key: a JAX random key; layer l draws from `jax.random.fold_in(key, l)`.
        sizes: the number of inputs, then of the units of each layer.
        scheme: one of the names above.
        dtype: float32, bfloat16, or float64 where JAX has 64-bit numbers enabled.

    Returns:
        A tuple of `len(sizes) - 1` layers.

    Raises:
        ValueError: for fewer than two sizes, a size below 1, an unknown scheme, or float64
            without 64-bit numbers.
        TypeError: for a size that is not an integer, another dtype, or no random key.

    Sources: Glorot & Bengio 2010, equation 16, with the factor 4 for σ from the Theano deep
    learning tutorial; Saxe, McClelland & Ganguli 2014 for orthogonal matrices; Pennington,
    Schoenholz & Ganguli 2017 for orthogonal tanh networks.

    >>> import jax
    >>> params = init_params(jax.random.key(0), (256, 128, 64, 10))
    >>> [layer.weight.shape for layer in params]
    [(128, 256), (64, 128), (10, 64)]
    """
    _checks.require_key("key", key)
    sizes = _require_sizes(sizes)
    dtype = _require_dtype(dtype)
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise ValueError(f"scheme: wanted one of {sorted(SCHEMES)}, got {scheme!r}")
    draw = SCHEMES[scheme]
    last = len(sizes) - 2
    # A bfloat16 network is drawn in float32: a QR decomposition has no half-precision version.
    working = _checks.float32_or_wider(dtype)
    layers = []
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        layer = draw(
            jax.random.fold_in(key, index),
            (fan_out, fan_in),
            working,
            fed_by_units=index > 0,
            feeds_units=index < last,
        )
        layers.append(Layer(layer.weight.astype(dtype), layer.bias.astype(dtype)))
    return tuple(layers)


Scheme: TypeAlias = Callable[..., Layer]


def _orthogonal(
    key: PRNGKeyArray, shape: tuple[int, int], dtype: Any, *, fed_by_units: bool, feeds_units: bool
) -> Layer:
    # tanh z = 2σ(2z) − 1: a factor 2 for the argument of each unit, and 2 for its value.
    gain = (2.0 if fed_by_units else 1.0) * (2.0 if feeds_units else 1.0)
    weight = jax.nn.initializers.orthogonal(gain)(key, shape, dtype)
    bias = -0.5 * weight.sum(axis=1) if fed_by_units else jnp.zeros(shape[0], dtype)
    return Layer(weight, bias)


def _glorot(key: PRNGKeyArray, shape: tuple[int, int], dtype: Any, **_: bool) -> Layer:
    bound = 4.0 * math.sqrt(6.0 / sum(shape))
    weight = jax.random.uniform(key, shape, dtype, -bound, bound)
    return Layer(weight, jnp.zeros(shape[0], dtype))


def _normal(key: PRNGKeyArray, shape: tuple[int, int], dtype: Any, **_: bool) -> Layer:
    weight = jax.random.normal(key, shape, dtype) / math.sqrt(shape[1])
    return Layer(weight, jnp.zeros(shape[0], dtype))


def _zeros(key: PRNGKeyArray, shape: tuple[int, int], dtype: Any, **_: bool) -> Layer:
    return Layer(jnp.zeros(shape, dtype), jnp.zeros(shape[0], dtype))


SCHEMES: dict[str, Scheme] = {
    "orthogonal": _orthogonal,
    "glorot": _glorot,
    "normal": _normal,
    "zeros": _zeros,
}


def _require_sizes(sizes: Any) -> tuple[int, ...]:
    if not isinstance(sizes, Iterable):
        raise TypeError(f"sizes: wanted a sequence of integers, got {sizes!r}")
    sizes = tuple(sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes: wanted at least two, inputs and outputs, got {sizes}")
    return tuple(_checks.require_count("sizes", size, low=1) for size in sizes)


def _require_dtype(dtype: Any) -> Any:
    try:
        dtype = jnp.dtype(dtype)
    except TypeError as error:
        raise TypeError(f"dtype: wanted float32, bfloat16 or float64, got {dtype!r}") from error
    if dtype not in (jnp.float32, jnp.bfloat16, jnp.float64):
        raise TypeError(f"dtype: wanted float32, bfloat16 or float64, got {dtype}")
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            "dtype: float64 needs 64-bit numbers: jax.config.update('jax_enable_x64', True)"
        )
    return dtype
