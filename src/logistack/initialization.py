"""Where parameters start: the schemes, and the mean-field equations behind the default one."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from logistack import _checks
from logistack.coordinates import fold_layer, unit_factors
from logistack.layers import SCANNED, Layer, Params, row


def init_params(
    key: PRNGKeyArray,
    sizes: Sequence[int],
    *,
    scheme: str = "orthogonal",
    dtype: Any = jnp.float32,
    stacked: bool = False,
) -> Params:
    r"""Draws the parameters of a fully connected network.

    A layer of `in` inputs and `out` units starts as, by scheme,

    - `"orthogonal"`: the network of centred units with V = g Q, Q semi-orthogonal, and c normal
      with variance v, in the coordinates of σ: `fold` of it. Gain g and variance v are those of
      `critical_point` for the number of hidden layers; the last layer has gain 1 and c = 0. The
      singular values of the network's Jacobian keep to one size, however many layers it has.
    - `"deep"`: the same, but the last layer has gain 1/√q, with the variance q that the critical
      point keeps up. Logits then start with variance 1 at any depth, while those of
      `"orthogonal"` fall with it, and a loss that hardly sees them learns little else than to
      enlarge them.
    - `"glorot"`: W uniform on ±4 √(6 / (in + out)), b = 0, the textbook rule for σ.
    - `"normal"`: W normal with standard deviation 1/√in, b = 0.
    - `"zeros"`: all zero.

    Args:
        key: a JAX random key; layer l draws from `jax.random.fold_in(key, l)`.
        sizes: the number of inputs, then of the units of each layer.
        scheme: one of the names above.
        dtype: float32, bfloat16, or float64 where JAX has 64-bit numbers enabled.
        stacked: whether runs of equal layers come as stacks, with the same numbers as `stack` has
            of the layers one by one. This is the faster way to thousands of them.

    Returns:
        A tuple of `len(sizes) - 1` layers; with `stacked`, of fewer `Layer`, one for each run.

    Raises:
        ValueError: if there are fewer than two sizes, a size is below 1, the scheme is unknown,
            or `dtype` is float64 while JAX has 64-bit numbers disabled.
        TypeError: if a size is not an integer, `dtype` is another one, `key` is not a random
            key, or `stacked` is not a bool.

    Sources: Glorot & Bengio 2010, equation 16, with the factor 4 for σ from the Theano deep
    learning tutorial; Saxe, McClelland & Ganguli 2014 for orthogonal matrices; Pennington,
    Schoenholz & Ganguli 2017 for orthogonal tanh networks.

    >>> import jax
    >>> params = init_params(jax.random.key(0), (256, 128, 64, 10))
    >>> [layer.weight.shape for layer in params]
    [(128, 256), (64, 128), (10, 64)]
    >>> params = init_params(jax.random.key(0), (64, *[32] * 1000, 10), stacked=True)
    >>> [layer.weight.shape for layer in params]
    [(32, 64), (999, 32, 32), (10, 32)]
    """
    _checks.require_key("key", key)
    sizes = _require_sizes(sizes)
    dtype = _require_dtype(dtype)
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise ValueError(f"scheme: expected one of {sorted(SCHEMES)}, got {scheme!r}")
    if not isinstance(stacked, bool):
        raise TypeError(f"stacked: expected True or False, got {stacked!r}")
    entries: dict[int, Layer] = {}
    drawn = _drawn(key, sizes, scheme, dtype, stacked)
    for (shape, places), layers in zip(_places_by_shape(sizes).items(), drawn, strict=True):
        if isinstance(layers, Layer):
            entries |= _taken_apart(layers, places, runs=stacked and shape[0] == shape[1])
        else:
            entries |= zip(places, layers, strict=True)
    return tuple(entries[place] for place in sorted(entries))


def _taken_apart(layers: Layer, places: list[int], *, runs: bool) -> dict[int, Layer]:
    """The layers of one shape by their places; those side by side as a stack, if `runs` are to be.

    A stack is at the place of its first layer.
    """
    entries = {}
    # Side by side, a layer's place and its index among those of its shape both rise by 1.
    for _, group in itertools.groupby(enumerate(places), lambda at: at[1] - at[0] * runs):
        run = list(group)
        start, place = run[0]
        if len(run) == 1:
            entries[place] = row(layers, start)
        elif len(run) == len(places):  # a slice would copy all of them
            entries[place] = layers
        else:
            entries[place] = Layer(*(part[start : start + len(run)] for part in layers))
    return entries


def _places_by_shape(sizes: tuple[int, ...]) -> dict[tuple[int, int], list[int]]:
    """For every shape of a weight, the places of the layers that have it."""
    places: dict[tuple[int, int], list[int]] = {}
    for place, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        places.setdefault((fan_out, fan_in), []).append(place)
    return places


# One program for all layers, instead of some forty small ones. Layers of one shape are drawn
# together, and many of them leave the program as one array, to be taken apart outside: the program
# grows with the number of different shapes, but not with depth.
@functools.partial(jax.jit, static_argnames=("sizes", "scheme", "dtype", "stacked"))
def _drawn(
    key: PRNGKeyArray, sizes: tuple[int, ...], scheme: str, dtype: Any, stacked: bool
) -> list[Layer | list[Layer]]:
    """The layers of each shape: apart where they are few and remain so, else on a leading axis."""
    # A bfloat16 network is drawn in float32: a QR decomposition has no half-precision version.
    working = _checks.float32_or_wider(dtype)
    depth = len(sizes) - 1
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(np.arange(depth))
    drawn: list[Layer | list[Layer]] = []
    for shape, places in _places_by_shape(sizes).items():
        own = keys[np.array(places)]
        draw: Callable[[PRNGKeyArray], Array]
        draw = functools.partial(SCHEMES[scheme], shape=shape, dtype=working)
        if scheme in ISOMETRIC:
            draw = _one_by_one_on_cpu(draw)
        layers = Layer(jax.vmap(draw)(own), jnp.zeros((len(places), shape[0]), working))
        if scheme in ISOMETRIC:
            layers = _critical(own, layers, np.array(places), depth, ISOMETRIC[scheme])
        layers = Layer(*(part.astype(dtype) for part in layers))
        # What becomes of them afterwards must not change how they are rounded.
        layers = jax.lax.optimization_barrier(layers)
        apart = len(places) < SCANNED and not (stacked and shape[0] == shape[1])
        drawn.append([Layer(*parts) for parts in zip(*layers, strict=True)] if apart else layers)
    return drawn


def _one_by_one_on_cpu(draw: Callable[[PRNGKeyArray], Array]) -> Callable[[PRNGKeyArray], Array]:
    """A draw of which `vmap` makes a loop on a CPU.

    There each QR decomposition of several matrices waits for XLA's threads while it holds one of
    them. As many decompositions at once as there are threads, of two shapes or on two devices,
    wait forever.
    """
    one = jax.custom_batching.custom_vmap(draw)

    @one.def_vmap
    def draw_many(_: int, __: list[bool], keys: Array) -> tuple[Array, bool]:
        drawn = jax.lax.platform_dependent(
            keys, cpu=functools.partial(jax.lax.map, one), default=jax.vmap(draw)
        )
        return drawn, True

    return one


def _critical(
    keys: Array,
    layers: Layer,
    places: np.ndarray,
    depth: int,
    last_gain: Callable[[int], float],
) -> Layer:
    """Layers of orthogonal weights, brought to the critical point, in the coordinates of σ."""
    hidden = places < depth - 1
    if not hidden.all():
        gains = np.where(hidden, 1, last_gain(max(1, depth - 1)))[:, None, None]
        weight = jnp.asarray(gains, layers.weight.dtype) * layers.weight
        layers = Layer(weight, layers.bias)
    if hidden.any():
        gain, variance = critical_point(depth - 1)
        shape, dtype = layers.bias.shape[1:], layers.bias.dtype

        def draw(key: PRNGKeyArray) -> Array:
            return jax.random.normal(jax.random.fold_in(key, 0), shape, dtype)

        bias = math.sqrt(variance) * jax.vmap(draw)(keys)
        # The last layer has a gain of its own, and biases 0.
        layers = Layer(
            jnp.where(hidden[:, None, None], gain * layers.weight, layers.weight),
            jnp.where(hidden[:, None], bias, layers.bias),
        )
    fed, feeds = (jnp.asarray(of[places], layers.bias.dtype) for of in unit_factors(depth))
    return fold_layer(layers, fed, feeds)


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
    q = critical_variance(_checks.require_count("depth", depth, low=1))
    # Given q, χ = 1 demands g² = 1 / μ₁, and the length map keeps q only if the biases add what
    # tanh takes away: v = q − g² E[tanh²].
    square, first, _ = _moments(q)
    # The difference is of order q³: at a depth of billions, rounding may make it negative.
    return 1 / math.sqrt(first), max(0.0, q - square / first)


def critical_variance(depth: int) -> float:
    """The variance q of pre-activations that `critical_point` keeps up through so many layers."""
    # As q grows, units saturate, their slopes differ more, and so do the singular values: each
    # layer adds μ₂ / μ₁² − 1 to their relative variance. That rises with q, so bisection finds the
    # q at which L layers add up to 1. A smaller q would leave every unit closer to linear.
    low, high = 0.0, 1 / 12
    for _ in range(60):  # halvings: to the last bit
        middle = (low + high) / 2
        _, first, second = _moments(middle)
        low, high = (middle, high) if depth * (second / first**2 - 1) <= 1 else (low, middle)
    return low


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


def _glorot(key: PRNGKeyArray, shape: tuple[int, int], dtype: Any) -> Array:
    bound = 4.0 * math.sqrt(6.0 / sum(shape))
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def _normal(key: PRNGKeyArray, shape: tuple[int, int], dtype: Any) -> Array:
    return jax.random.normal(key, shape, dtype) / math.sqrt(shape[1])


# How a weight is drawn from its key, of a shape and a dtype.
SCHEMES: dict[str, Callable[..., Array]] = {
    "orthogonal": jax.nn.initializers.orthogonal(),
    "deep": jax.nn.initializers.orthogonal(),
    "glorot": _glorot,
    "normal": _normal,
    "zeros": jax.nn.initializers.zeros,
}

# The schemes at the critical point, with the gain of the last layer behind so many hidden ones.
ISOMETRIC: dict[str, Callable[[int], float]] = {
    "orthogonal": lambda depth: 1.0,
    "deep": lambda depth: 1 / math.sqrt(critical_variance(depth)),
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
