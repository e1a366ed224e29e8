"""How layers start: the schemes, and the point at which deep networks are isometric."""

import functools
import itertools
import math
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize

import logistack as ls
from logistack import initialization
from logistack.initialization import critical_point

KEY = jax.random.key(0)
SIZES = (3, 4, 2)  # the same wherever it does not matter: every other shape compiles anew
SCHEMES = ("orthogonal", "deep", "glorot", "normal", "zeros")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_sizes_give_the_shapes(scheme):
    params = ls.init_params(KEY, SIZES, scheme=scheme)
    assert [layer.weight.shape for layer in params] == [(4, 3), (2, 4)]
    assert [layer.bias.shape for layer in params] == [(4,), (2,)]
    assert {array.dtype for array in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}


def test_the_default_scheme_is_orthogonal():
    chex.assert_trees_all_equal(
        ls.init_params(KEY, SIZES), ls.init_params(KEY, SIZES, scheme="orthogonal")
    )


@pytest.mark.parametrize("sizes", [(4, 4), SIZES])
def test_orthogonal_is_a_network_of_tanh_units_at_the_critical_point(x64, sizes):
    # tanh z = 2σ(2z) − 1 carries one network into the other: what is left of the weights without
    # the factors 2 is g Q in hidden layers, and Q in the last.
    params = ls.init_params(KEY, sizes, dtype=jnp.float64)
    gain, variance = critical_point(max(1, len(sizes) - 2))
    x = np.random.default_rng(2).standard_normal(sizes[0])
    h, last = x, len(params) - 1
    for index, (weight, bias) in enumerate(map(np.asarray, layer) for layer in params):
        fed, feeds = 1 + (index > 0), 1 + (index < last)
        v, c = weight / (fed * feeds), bias / feeds
        c = c + v.sum(1) if index > 0 else c
        q = v / gain if index < last else v
        small = min(q.shape)
        gram = q @ q.T if q.shape[0] == small else q.T @ q
        np.testing.assert_allclose(gram, np.eye(small), atol=1e-13)
        if index < last:  # ±4 standard deviations, and not 0
            assert np.all(np.abs(c) < 4 * math.sqrt(variance))
            assert np.all(np.abs(c) > 1e-4 * math.sqrt(variance))
            h = np.tanh(v @ h + c)
        else:
            np.testing.assert_allclose(c, np.zeros_like(c), atol=1e-15)
            h = v @ h
    np.testing.assert_allclose(ls.logits(params, x), h, rtol=1e-12)


def test_biases_of_orthogonal_are_normal_with_the_critical_variance():
    first, last = ls.unfold(ls.init_params(KEY, (1, 4000, 1)))
    _, variance = critical_point(1)
    normal = np.asarray(first.bias) / math.sqrt(variance)
    # Of 4,000 draws a quantile's standard error is at most 0.05, at ±2.
    quantiles = np.quantile(normal, [0.02275, 0.15866, 0.5, 0.84134, 0.97725])
    np.testing.assert_allclose(quantiles, [-2, -1, 0, 1, 2], atol=0.15)
    np.testing.assert_allclose(last.bias, [0.0], atol=1e-5)


@pytest.mark.parametrize("sizes", [(4, 2), (4, 4), (3, 5, 5, 5, 5), (3, *[5] * 50, 2)])
def test_deep_is_orthogonal_but_for_the_gain_of_the_last_layer(sizes):
    *hidden, last = ls.unfold(ls.init_params(KEY, sizes, scheme="deep"))
    *same, one = ls.unfold(ls.init_params(KEY, sizes))
    chex.assert_trees_all_equal(hidden, same)
    gain = 1 / math.sqrt(fixed_point(max(1, len(hidden))))
    np.testing.assert_allclose(last.weight, gain * one.weight, rtol=1e-6)
    np.testing.assert_allclose(last.bias, np.zeros(sizes[-1]), atol=1e-5)


@pytest.mark.parametrize("depth", [3, 300])
def test_logits_of_deep_start_with_variance_1(depth):
    params = ls.init_params(KEY, (64, *[64] * depth, 10), scheme="deep")
    inputs = math.sqrt(fixed_point(depth)) * np.random.default_rng(0).standard_normal((200, 64))
    z = jax.vmap(ls.logits, (None, 0))(ls.stack(params), np.float32(inputs))
    # Measured: 0.90 and 0.96; of 64 units a mean square deviates by some per cent.
    np.testing.assert_allclose(np.mean(z**2), 1, rtol=0.25)


def test_glorot_is_uniform_up_to_its_bound():
    (layer,) = ls.init_params(KEY, (300, 200), scheme="glorot")
    bound = 4 * math.sqrt(6 / (300 + 200))
    assert 0.999 * bound < np.max(layer.weight) <= bound
    assert -0.999 * bound > np.min(layer.weight) >= -bound
    deciles = np.quantile(layer.weight, np.linspace(0, 1, 11))
    np.testing.assert_allclose(deciles, np.linspace(-bound, bound, 11), atol=0.02 * bound)
    np.testing.assert_array_equal(layer.bias, np.zeros(200))


def test_normal_has_deviation_one_over_root_in():
    (layer,) = ls.init_params(KEY, (300, 200), scheme="normal")
    normal = np.asarray(layer.weight) * math.sqrt(300)
    quantiles = np.quantile(normal, [0.02275, 0.15866, 0.5, 0.84134, 0.97725])
    np.testing.assert_allclose(quantiles, [-2, -1, 0, 1, 2], atol=0.06)
    np.testing.assert_array_equal(layer.bias, np.zeros(200))


def test_zeros_are_zeros():
    assert not any(
        array.any() for array in jax.tree.leaves(ls.init_params(KEY, SIZES, scheme="zeros"))
    )


def test_each_layer_draws_from_its_own_folded_key():
    bound = 4 * math.sqrt(6 / 8)
    params = ls.init_params(KEY, (4, 4, 4, 4), scheme="glorot")
    for index, layer in enumerate(params):
        drawn = jax.random.uniform(
            jax.random.fold_in(KEY, index), (4, 4), jnp.float32, -bound, bound
        )
        np.testing.assert_array_equal(layer.weight, drawn)


def test_a_layer_is_drawn_alike_in_a_run_of_equal_layers_and_alone():
    networks = [ls.init_params(KEY, sizes) for sizes in ((4, 4, 4, 4), (4, 2, 4, 4))]
    chex.assert_trees_all_equal(networks[0][2], networks[1][2])
    alone = jax.nn.initializers.orthogonal()(jax.random.fold_in(KEY, 2), (4, 4), jnp.float32)
    np.testing.assert_array_equal(networks[0][2].weight, 2 * alone)


def program(*sizes, scheme="orthogonal"):
    """How many operations the program has that draws the parameters."""
    draw = functools.partial(
        initialization._drawn, sizes=sizes, scheme=scheme, dtype=np.dtype("f4"), stacked=False
    )
    return str(jax.make_jaxpr(draw)(KEY)).count(" = ")


@pytest.mark.parametrize("sizes", [(7,), (7, 5), (5, 7, 7)])
def test_the_program_that_draws_grows_with_different_shapes_alone(sizes):
    assert program(*sizes * 20, 3) == program(*sizes * 300, 3)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_parameters_are_one_program(compilations, scheme):
    other = jax.random.key(1)
    made = len(compilations)
    ls.init_params(KEY, (6, 9, 9, 9, 4), scheme=scheme)
    assert len(compilations) == made + 1
    ls.init_params(other, (6, 9, 9, 9, 4), scheme=scheme)
    assert len(compilations) == made + 1


# A run, one across the last layer, two of one shape apart, one of them a layer by itself; and more
# layers than are taken apart within the program.
@pytest.mark.parametrize(
    "sizes", [(3, 4, 4, 4, 2), (4, 4, 4), (4, 4, 4, 2, 4, 4, 2), (3, 4), (3, *[2] * 20, 3, 2, 2)]
)
@pytest.mark.parametrize("scheme", ["deep", "glorot"])
def test_stacks_have_the_numbers_of_the_layers_one_by_one(scheme, sizes):
    one_by_one = ls.init_params(KEY, sizes, scheme=scheme)
    joined = ls.init_params(KEY, sizes, scheme=scheme, stacked=True)
    assert isinstance(joined, tuple)
    chex.assert_trees_all_equal(joined, ls.stack(one_by_one))


def test_a_stack_leaves_the_program_as_it_is(compilations):
    made = len(compilations)
    ls.init_params(KEY, (3, *[2] * 20, 3), stacked=True)
    assert len(compilations) == made + 1


@pytest.mark.parametrize("scheme", ["orthogonal", "glorot", "normal"])
def test_keys_and_layers_differ_and_equal_keys_agree(scheme):
    def draw(seed):
        return ls.init_params(jax.random.key(seed), (4, 4, 4, 4), scheme=scheme)

    chex.assert_trees_all_equal(draw(3), draw(3))
    weights = [np.asarray(layer.weight) for layer in (*draw(3), *draw(4))]
    directions = [weight / np.linalg.norm(weight) for weight in weights]
    for one, other in itertools.combinations(directions, 2):
        assert np.max(np.abs(one - other)) > 0.1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_bfloat16_is_the_float32_draw_rounded(scheme):
    half = ls.init_params(KEY, SIZES, scheme=scheme, dtype=jnp.bfloat16)
    full = ls.init_params(KEY, SIZES, scheme=scheme)
    chex.assert_trees_all_equal(half, jax.tree.map(lambda a: a.astype(jnp.bfloat16), full))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_float64_is_drawn_in_float64(x64, scheme):
    params = ls.init_params(KEY, SIZES, scheme=scheme, dtype="float64")
    for layer in params:
        weight, bias = map(np.asarray, layer)
        assert weight.dtype == bias.dtype == np.float64
        if scheme != "zeros":
            assert (weight != np.float32(weight)).any()


def test_float32_stays_float32_with_64_bit_numbers_on(x64):
    params = ls.init_params(KEY, SIZES)
    assert {array.dtype for array in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
    assert ls.sigmoid_layer(params[0], np.ones(3)).dtype == jnp.float32


@pytest.mark.parametrize("scheme", ["orthogonal", "glorot"])
def test_drawing_composes_with_jit_and_vmap(scheme):
    def draw(key):
        return ls.init_params(key, SIZES, scheme=scheme)

    keys = jax.random.split(KEY, 3)
    members = jax.jit(jax.vmap(draw))(keys)
    for member, key in enumerate(keys):
        alone = jax.tree.map(lambda a, member=member: a[member], members)
        chex.assert_trees_all_close(alone, draw(key), rtol=1e-5, atol=1e-6)


def test_any_integers_are_sizes():
    chex.assert_trees_all_equal(
        ls.init_params(KEY, [np.int64(3), np.uint8(4), 2]), ls.init_params(KEY, SIZES)
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sizes": ()}, ValueError, r"^sizes: .*at least two.*got \(\)$"),
        ({"sizes": (3,)}, ValueError, r"^sizes: .*at least two.*got \(3,\)$"),
        ({"sizes": (3, 0, 2)}, ValueError, r"^sizes: .*at least 1.*got 0"),
        ({"sizes": (3, -1)}, ValueError, r"^sizes: .*at least 1.*got -1"),
        ({"sizes": (3, 2.0)}, TypeError, r"^sizes: .*integer.*got 2\.0"),
        ({"sizes": (3, True)}, TypeError, r"^sizes: .*integer.*got True"),
        ({"sizes": "32"}, TypeError, r"^sizes: .*integer.*got '3"),
        ({"sizes": 3}, TypeError, r"^sizes: .*got 3"),
        ({"sizes": None}, TypeError, r"^sizes: .*got None"),
        ({"scheme": "Glorot"}, ValueError, r"^scheme: .*'glorot'.*'orthogonal'.*got 'Glorot'$"),
        ({"scheme": None}, ValueError, r"^scheme: .*got None$"),
        ({"scheme": ["glorot"]}, ValueError, r"^scheme: .*got \['glorot'\]$"),
        ({"dtype": jnp.float16}, TypeError, r"^dtype: expected float32.*got float16$"),
        ({"dtype": int}, TypeError, r"^dtype: expected float32.*got int"),
        ({"dtype": "single precision"}, TypeError, r"^dtype: .*got 'single precision'$"),
        ({"dtype": "float64"}, ValueError, r"^dtype: float64 needs .*jax_enable_x64"),
        ({"stacked": 1}, TypeError, r"^stacked: expected True or False, got 1$"),
        ({"key": None}, TypeError, r"^key: .*got None"),
        ({"key": 7}, TypeError, r"^key: .*got 7"),
        ({"key": jax.random.split(KEY, 3)}, ValueError, r"^key: .*got .*\(3,\)"),
    ],
)
def test_init_params_says_what_it_wanted(arguments, error, message):
    arguments = {"key": KEY, "sizes": (3, 2), **arguments}
    with pytest.raises(error, match=message):
        ls.init_params(arguments.pop("key"), arguments.pop("sizes"), **arguments)


# The critical point.


def expectation(function, q):
    """E[function(√q ζ)] of a normal ζ, by adaptive quadrature."""
    density = 1 / math.sqrt(2 * math.pi)
    value, _ = integrate.quad(
        lambda z: density * math.exp(-z * z / 2) * function(math.sqrt(q) * z),
        -12, 12, epsabs=1e-14, epsrel=1e-12, limit=200,
    )  # fmt: skip
    return value


def slope_moment(q, power):
    return expectation(lambda z: (1 - math.tanh(z) ** 2) ** (2 * power), q)


def spread(q, depth):
    """The relative variance of the squared singular values through so many layers."""
    return depth * (slope_moment(q, 2) / slope_moment(q, 1) ** 2 - 1)


def fixed_point(depth):
    """q, by root finding."""
    cap = 1 / 12
    if spread(cap, depth) <= 1:
        return cap
    return optimize.brentq(lambda q: spread(q, depth) - 1, 1e-9, cap, xtol=1e-15, rtol=1e-13)


@pytest.mark.parametrize("depth", [1, 2, 30, 200, 1000, 100_000])
def test_the_critical_point_solves_the_mean_field_equations(depth):
    gain, variance = critical_point(depth)
    q = fixed_point(depth)
    # χ = g² μ₁ = 1: gradients neither grow nor vanish. Quadrature is exact to 1e-12; the spread
    # of the deepest is a difference of 1e-5, which leaves q as exact as 1e-7.
    exact = 1e-12 if depth <= 1000 else 1e-9
    np.testing.assert_allclose(gain**2 * slope_moment(q, 1), 1, rtol=exact)
    # q = g² E[tanh²] + v: the length map stays where it is.
    fed = gain**2 * expectation(lambda z: math.tanh(z) ** 2, q)
    np.testing.assert_allclose(fed + variance, q, rtol=exact)
    assert 1 < gain < 1.1
    assert 0 < variance < 1e-3


def test_q_is_capped_up_to_the_depth_at_which_the_spread_is_1_there():
    last = max(depth for depth in range(1, 60) if spread(1 / 12, depth) <= 1)
    assert critical_point(last) == critical_point(1)
    assert critical_point(last + 1) < critical_point(last)
    gain, _ = critical_point(1)
    np.testing.assert_allclose(gain**-2, slope_moment(1 / 12, 1), rtol=1e-12)
    assert spread(1 / 12, last) <= 1 < spread(1 / 12, last + 1)


def test_deeper_is_nearer_to_the_identity():
    points = np.array([critical_point(depth) for depth in (30, 60, 200, 1000, 10_000, 10**6)])
    assert np.all(np.diff(points, axis=0) < 0)
    # (μ₂ / μ₁² − 1) is 8 q² to leading order, so that q falls as 1 / √(8 L), and g − 1 = q.
    np.testing.assert_allclose(points[-1, 0] - 1, 1 / math.sqrt(8e6), rtol=1e-2)
    assert 0 < points[-1, 1] < 1e-8


@pytest.mark.parametrize(
    ("depth", "error", "message"),
    [
        (0, ValueError, r"^depth: expected at least 1, got 0$"),
        (2.0, TypeError, r"^depth: expected an integer, got 2\.0$"),
    ],
)
def test_critical_point_says_what_it_wanted(depth, error, message):
    with pytest.raises(error, match=message):
        critical_point(depth)


def test_a_wide_network_started_there_is_where_the_theory_says():
    # The mean-field equations are about infinite width. Of 100 units a mean square deviates by
    # some per cent, at random about a fixed point that barely pulls back (χ = 1).
    depth, width = 49, 100
    q = fixed_point(depth)
    layers = ls.unfold(ls.init_params(KEY, (width,) * (depth + 2)))
    z = math.sqrt(q) * np.random.default_rng(0).standard_normal(width)  # as after a layer
    jacobian, squares = np.eye(width), []
    for weight, bias in (map(np.float64, layer) for layer in layers[:-1]):
        jacobian = weight @ ((1 - np.tanh(z) ** 2)[:, None] * jacobian)
        z = weight @ np.tanh(z) + bias
        squares.append(np.mean(z**2))
    values = np.linalg.svd(jacobian, compute_uv=False) ** 2
    # Measured: mean squares within 8 % of q, mean 1.05, relative variance 0.95.
    np.testing.assert_allclose(squares, np.full(depth, q), rtol=0.25)
    np.testing.assert_allclose(values.mean(), 1, rtol=0.2)
    np.testing.assert_allclose(values.var() / values.mean() ** 2, 1, rtol=0.35)


spectra = jax.jit(jax.vmap(ls.jacobian_spectrum, (None, 0)))
DEEP = (64,) * 201 + (10,)


def deep_inputs():
    """Twenty digits, and five samples of the mean square that the critical point keeps up."""
    at_rest = math.sqrt(fixed_point(200)) * np.random.default_rng(0).standard_normal((5, 64))
    return np.concatenate([ls.data.load("digits").inputs[:20] - 0.5, np.float32(at_rest)])


def test_two_hundred_layers_start_isometric():
    params = ls.init_params(KEY, DEEP)
    gain, _ = critical_point(200)
    for layer in ls.unfold(params[:100:33] + params[-1:])[1:-1]:
        np.testing.assert_allclose(np.mean(layer.weight**2) * 64, gain**2, rtol=2e-6)
    values = np.asarray(spectra(ls.stack(params), deep_inputs()))
    # Measured: digits 0.20 … 0.67, at the fixed point 0.6 … 1.6. Digits have a mean square of 0.2,
    # more than the fixed point has, and lose some of it in the first layers.
    assert values.shape == (25, 10)
    assert np.all(values[:, 0] < 4 * values[:, -1])
    assert 0.1 < values.min() < values.max() < 4
    # Gain 1 and biases 0 would leave 0.1 at the fixed point.
    assert np.all(np.abs(np.log(np.mean(values[20:] ** 2, axis=1))) < math.log(2))


@pytest.mark.parametrize("scheme", ["glorot", "normal"])
def test_two_hundred_layers_of_the_textbook_do_not(scheme):
    params = ls.stack(ls.init_params(KEY, DEEP, scheme=scheme))
    assert spectra(params, deep_inputs()).max() < 1e-20


def test_a_program_for_a_cpu_decomposes_one_matrix_at_a_time():
    """Decompositions of several, two at once, wait for one another's threads without end."""
    draw = jax.jit(jax.vmap(lambda key: ls.init_params(key, (8, 4, 4, 2))))
    program = draw.lower(jax.random.split(KEY, 5)).as_text()
    shapes = re.findall(r"@lapack_sgeqrf_ffi\(.*\) -> \(tensor<([\dx]+)xf32>", program)
    assert sorted(shapes) == ["4x2", "4x4", "8x4"]
