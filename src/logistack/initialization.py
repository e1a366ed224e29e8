"""Where parameters start: the schemes, and the mean-field equations behind the default one."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from logistack import _checks
from logistack.coordinates import fold
from logistack.layers import Layer, Params, depth_of, unstack
from logistack.network import hidden_layers


def init_params(
    key: PRNGKeyArray,
    sizes: Sequence[int],
    *,
    scheme: str = "orthogonal",
    dtype: Any = jnp.float32,
) -> Params:
    r"""Draws the parameters of a fully connected network.

    A layer of `in` inputs and `out` units starts as, by scheme,

    - `"orthogonal"`: the network of centred units with V = g Q, Q semi-orthogonal, and c normal
      with variance v, in the coordinates of σ: `fold` of it. Gain g and variance v are those of
      `critical_point` for the number of hidden layers; the last layer has gain 1 and c = 0. The
      singular values of the network's Jacobian keep to one size, however many layers it has.
    - `"glorot"`: W uniform on ±4 √(6 / (in + out)), b = 0, the textbook rule for σ.
    - `"normal"`: W normal with standard deviation 1/√in, b = 0.
    - `"zeros"`: all zero.

    Args:
        key: a JAX random key; layer l draws from `jax.random.fold_in(key, l)`.
        sizes: the number of inputs, then of the units of each layer.
        scheme: one of the names above.
        dtype: float32, bfloat16, or float64 where JAX has 64-bit numbers enabled.

    Returns:
        A tuple of `len(sizes) - 1` layers; `stack` joins those that are equal.

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
        raise ValueError(f"scheme: expected one of {sorted(SCHEMES)}, got {scheme!r}")
    draw = SCHEMES[scheme]
    # A bfloat16 network is drawn in float32: a QR decomposition has no half-precision version.
    working = _checks.float32_or_wider(dtype)
    shapes = [(fan_out, fan_in) for fan_in, fan_out in itertools.pairwise(sizes)]
    params: list[Layer] = []
    for shape, run in itertools.groupby(enumerate(shapes), key=lambda numbered: numbered[1]):
        places = np.array([place for place, _ in run])
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(places)
        of_layer = functools.partial(draw, shape=shape, dtype=working)
        params.append(jax.vmap(of_layer)(keys) if len(places) > 1 else of_layer(keys[0]))
    drawn = fold(_critical(tuple(params))) if scheme == "orthogonal" else tuple(params)
    return unstack(jax.tree.map(lambda array: array.astype(dtype), drawn))


def critical_point(depth: int) -> tuple[float, float]:
    """Computes the gain and the bias variance at which deep networks of tanh units are isometric.

    Wide layers z = g Q tanh(z′) + c, Q orthogonal and c normal with variance v, have
    pre-activations of variance q at a fixed point of Poole's length map,

        q = g² E[tanh²(√q ζ)] + v,  ζ ~ N(0, 1),

    and gradients that neither grow nor vanish where χ = g² μ₁ = 1, with μₖ = E[tanh′(√q ζ)²ᵏ].
    That leaves one number, q: through L hidden layers the squared singular values of the Jacobian
    have relative variance L (μ₂ / μ₁² − 1), which grows with q. Here q is the largest at which
    that variance is at most 1, which is where the singular values still are of one size; nor is it
    above 1/12, the mean square of inputs spread evenly over −½ … ½, which could not keep it up.

    Args:
        depth: L, how many hidden layers the network has, at least 1.

    Returns:
        g and v: near 1 and 0; g² = 1 / μ₁ and v = q − g² E[tanh²(√q ζ)].

    Raises:
        ValueError: if `depth` is below 1.
        TypeError: if `depth` is not an integer.

    Sources: Poole et al. 2016, equation 3; Schoenholz et al. 2017, section 3; Pennington,
    Schoenholz & Ganguli 2017, section 2, for the variance of the singular values.

    >>> gain, variance = critical_point(200)
    >>> print(f"{gain:.4f} {variance:.1e}")
    1.0269 2.6e-05
    """
    depth = _checks.require_count("depth", depth, low=1)
    low, high = 0.0, 1 / 12
    for _ in range(60):  # halvings: to the last bit
        middle = (low + high) / 2
        _, first, second = _moments(middle)
        low, high = (middle, high) if depth * (second / first**2 - 1) <= 1 else (low, middle)
    square, first, _ = _moments(low)
    # The difference is of order q³: at a depth of billions, rounding may make it negative.
    return 1 / math.sqrt(first), max(0.0, low - square / first)


def _moments(q: float) -> tuple[float, float, float]:
    """E[tanh²], E[tanh′²] and E[tanh′⁴] for an argument of mean 0 and variance q."""
    nodes, weights = _gauss_hermite()
    t = np.tanh(math.sqrt(q) * nodes)
    slope = (1 - t**2) ** 2
    return tuple((np.array([t**2, slope, slope**2]) @ weights).tolist())


@functools.cache
def _gauss_hermite() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for means over a standard normal variable."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    return nodes, weights / weights.sum()


Draw: TypeAlias = Callable[..., Layer]


def _orthogonal(key: PRNGKeyArray, shape: tuple[int, int], dtype: Any) -> Layer:
    """A semi-orthogonal matrix, and normal biases."""
    weight = jax.nn.initializers.orthogonal()(key, shape, dtype)
    return Layer(weight, jax.random.normal(jax.random.fold_in(key, 0), shape[:1], dtype))


def _critical(params: Params) -> Params:
    """The hidden layers at the critical point; the last one as it is, with biases 0."""
    hidden, last = hidden_layers(params)
    if hidden:
        gain, variance = critical_point(sum(map(depth_of, hidden)))
        hidden = tuple(Layer(gain * w, math.sqrt(variance) * b) for w, b in hidden)
    return (*hidden, last._replace(bias=jnp.zeros_like(last.bias)))


def _glorot(key: PRNGKeyArray, shape: tuple[int, int], dtype: Any) -> Layer:
    bound = 4.0 * math.sqrt(6.0 / sum(shape))
    weight = jax.random.uniform(key, shape, dtype, -bound, bound)
    return Layer(weight, jnp.zeros(shape[0], dtype))


def _normal(key: PRNGKeyArray, shape: tuple[int, int], dtype: Any) -> Layer:
    weight = jax.random.normal(key, shape, dtype) / math.sqrt(shape[1])
    return Layer(weight, jnp.zeros(shape[0], dtype))


def _zeros(key: PRNGKeyArray, shape: tuple[int, int], dtype: Any) -> Layer:
    return Layer(jnp.zeros(shape, dtype), jnp.zeros(shape[0], dtype))


SCHEMES: dict[str, Draw] = {
    "orthogonal": _orthogonal,
    "glorot": _glorot,
    "normal": _normal,
    "zeros": _zeros,
}


def _require_sizes(sizes: Any) -> tuple[int, ...]:
    if not isinstance(sizes, Iterable):
        raise TypeError(f"sizes: expected a sequence of integers, got {sizes!r}")
    sizes = tuple(sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes: expected at least two, inputs and outputs, got {sizes}")
    return tuple(_checks.require_count("sizes", size, low=1) for size in sizes)


def _require_dtype(dtype: Any) -> Any:
    try:
        dtype = jnp.dtype(dtype)
    except TypeError as error:
        raise TypeError(f"dtype: expected float32, bfloat16 or float64, got {dtype!r}") from error
    if dtype not in (jnp.float32, jnp.bfloat16, jnp.float64):
        raise TypeError(f"dtype: expected float32, bfloat16 or float64, got {dtype}")
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            "dtype: float64 needs 64-bit numbers: jax.config.update('jax_enable_x64', True)"
        )
    return dtype
