"""One layer of logistic units, and how layers start."""

import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

import logistack as ls

KEY = jax.random.key(0)
SIZES = (3, 4, 2)  # the same wherever it does not matter: every other shape compiles anew
SCHEMES = ("orthogonal", "glorot", "normal", "zeros")


def sigmoid(z):
    return 1 / (1 + np.exp(-np.asarray(z, np.float64)))


class SigmoidLayer(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(
        ((0.0, 1.0), (0.73, 0.05)),
        ((1.0, 0.0), (0.05, 0.73)),
        ((0.0, 0.0), (0.27, 0.27)),
        ((1.0, 1.0), (0.27, 0.27)),
    )
    def test_two_units_make_the_article_features_of_xor(self, x, wanted):
        layer = ls.Layer(jnp.array([[-2.0, 2.0], [2.0, -2.0]]), jnp.array([-1.0, -1.0]))
        np.testing.assert_allclose(
            self.variant(ls.sigmoid_layer)(layer, jnp.array(x)), wanted, atol=5e-3
        )

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters((1, 1), (3, 5))
    def test_is_sigma_of_weight_times_a_plus_bias(self, fan_in, fan_out):
        draw = np.random.default_rng(0).standard_normal
        weight, bias, a = draw((fan_out, fan_in)), draw(fan_out), draw(fan_in)
        layer = ls.Layer(jnp.float32(weight), jnp.float32(bias))
        given = self.variant(ls.sigmoid_layer)(layer, jnp.float32(a))
        np.testing.assert_allclose(given, sigmoid(weight @ a + bias), rtol=2e-6)
        assert given.dtype == jnp.float32

    @chex.variants(with_jit=True, without_jit=True)
    def test_a_stack_is_its_layers_first_to_last(self):
        draw = np.random.default_rng(1).standard_normal
        weight, bias, a = draw((3, 4, 4)), draw((3, 4)), draw(4)
        wanted = a
        for depth in range(3):
            wanted = sigmoid(weight[depth] @ wanted + bias[depth])
        stack = ls.Layer(jnp.float32(weight), jnp.float32(bias))
        given = self.variant(ls.sigmoid_layer)(stack, jnp.float32(a))
        np.testing.assert_allclose(given, wanted, rtol=2e-6)


def test_a_saturated_unit_is_0_or_1_with_gradient_0():
    layer = ls.Layer(jnp.array([[1.0], [-1.0]]), jnp.zeros(2))
    np.testing.assert_array_equal(ls.sigmoid_layer(layer, jnp.array([1e30])), [1, 0])
    slope = jax.jacobian(ls.sigmoid_layer, argnums=1)(layer, jnp.array([1e30]))
    np.testing.assert_array_equal(slope, [[0], [0]])


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


@pytest.mark.parametrize("sizes", [(4, 4), (6, 4, 5, 3)])
def test_orthogonal_is_a_network_of_tanh_units_with_orthogonal_weights(x64, sizes):
    # tanh z = 2σ(2z) − 1 carries one network into the other; the semi-orthogonal matrices of the
    # tanh network are what remains of the weights without their gains.
    params = ls.init_params(KEY, sizes, dtype=jnp.float64)
    x = np.random.default_rng(2).standard_normal(sizes[0])
    last = len(params) - 1
    h = x
    for index, layer in enumerate(params):
        gain = (2 if index > 0 else 1) * (2 if index < last else 1)
        q = np.asarray(layer.weight) / gain
        small = min(q.shape)
        gram = q @ q.T if q.shape[0] == small else q.T @ q
        np.testing.assert_allclose(gram, np.eye(small), atol=1e-13)
        h = np.tanh(q @ h) if index < last else q @ h
    np.testing.assert_allclose(ls.logits(params, x), h, rtol=1e-12)


def test_orthogonal_starts_units_fed_by_activations_of_one_half_at_0():
    first, second, last = ls.init_params(KEY, (4, 4, 4, 4))
    np.testing.assert_array_equal(first.bias, np.zeros(4))
    for layer in (second, last):
        weight, bias = map(np.asarray, layer)
        np.testing.assert_allclose(weight @ np.full(4, 0.5) + bias, np.zeros(4), atol=1e-6)
        assert np.all(np.abs(bias) > 1e-3)


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
        ({"dtype": jnp.float16}, TypeError, r"^dtype: wanted float32.*got float16$"),
        ({"dtype": int}, TypeError, r"^dtype: wanted float32.*got int"),
        ({"dtype": "single precision"}, TypeError, r"^dtype: .*got 'single precision'$"),
        ({"dtype": "float64"}, ValueError, r"^dtype: float64 needs .*jax_enable_x64"),
        ({"key": None}, TypeError, r"^key: .*got None"),
        ({"key": 7}, TypeError, r"^key: .*got 7"),
        ({"key": jax.random.split(KEY, 3)}, ValueError, r"^key: .*got .*\(3,\)"),
    ],
)
def test_init_params_says_what_it_wanted(arguments, error, message):
    arguments = {"key": KEY, "sizes": (3, 2), **arguments}
    with pytest.raises(error, match=message):
        ls.init_params(arguments.pop("key"), arguments.pop("sizes"), **arguments)


LAYER = ls.Layer(jnp.ones((2, 3)), jnp.ones(2))


@pytest.mark.parametrize(
    ("layer", "a", "error", "message"),
    [
        (LAYER, jnp.ones(2), ValueError, r"^a: wanted shape \(3,\), got \(2,\)$"),
        (LAYER, jnp.ones((4, 3)), ValueError, r"^a: wanted shape \(3,\), got \(4, 3\).*jax\.vmap"),
        (LAYER, 1.0, ValueError, r"^a: wanted shape \(3,\), got \(\)$"),
        (LAYER, jnp.array([0.0, jnp.nan, jnp.inf]), ValueError, r"^a: wanted finite.*got 2 .* of 3$"),
        (LAYER, ["x", "y", "z"], TypeError, r"^a: wanted .*numbers, got dtype <U1$"),
        (LAYER, None, TypeError, r"^a: wanted .*numbers, got dtype object$"),
        (LAYER, np.ones(3, complex), TypeError, r"^a: wanted .*real numbers, got dtype complex128$"),
        (jnp.ones((2, 3)), jnp.ones(3), TypeError, r"^layer: wanted a Layer, got "),
        (LAYER._replace(bias=jnp.ones(3)), jnp.ones(3), ValueError, r"^layer: .*\(2, 3\) and bias \(3,\)$"),
        (ls.Layer(jnp.ones(3), jnp.ones(())), jnp.ones(3), ValueError, r"^layer: .*got weight \(3,\)"),
        (LAYER._replace(bias=jnp.ones(2, int)), jnp.ones(3), TypeError, r"^layer\.bias: .*got int32$"),
        (ls.Layer(jnp.ones((4, 2, 3)), jnp.ones((4, 2))), jnp.ones(3), ValueError, r"^layer: .*square.*\(4, 2, 3\)$"),
    ],
)  # fmt: skip
def test_sigmoid_layer_says_what_it_wanted(layer, a, error, message):
    with pytest.raises(error, match=message):
        ls.sigmoid_layer(layer, a)
