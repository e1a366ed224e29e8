"""One layer of logistic units."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

import logistack as ls


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


LAYER = ls.Layer(jnp.ones((2, 3)), jnp.ones(2))


@pytest.mark.parametrize(
    ("layer", "a", "error", "message"),
    [
        (LAYER, jnp.ones(2), ValueError, r"^a: expected shape \(3,\), got \(2,\)$"),
        (LAYER, jnp.ones((4, 3)), ValueError, r"^a: expected shape \(3,\), got \(4, 3\).*jax\.vmap"),
        (LAYER, jnp.array([0.0, jnp.nan, jnp.inf]), ValueError, r"^a: expected finite.*got 2 .* of 3$"),
        (LAYER, ["x", "y", "z"], TypeError, r"^a: expected .*numbers, got dtype <U1$"),
        (jnp.ones((2, 3)), jnp.ones(3), TypeError, r"^layer: expected a Layer, got "),
        (LAYER._replace(bias=jnp.ones(3)), jnp.ones(3), ValueError, r"^layer: .*\(2, 3\) and bias \(3,\)$"),
        (ls.Layer(jnp.ones(3), jnp.ones(())), jnp.ones(3), ValueError, r"^layer: .*got weight \(3,\)"),
        (LAYER._replace(bias=jnp.ones(2, int)), jnp.ones(3), TypeError, r"^layer\.bias: .*got int32$"),
        (LAYER._replace(weight=np.ones((2, 3), np.longdouble)), jnp.ones(3), TypeError, r"^layer\.weight: .*at most 64 bits, got float"),
        (ls.Layer(jnp.ones((4, 2, 3)), jnp.ones((4, 2))), jnp.ones(3), ValueError, r"^layer: .*square.*\(4, 2, 3\)$"),
    ],
)  # fmt: skip
def test_sigmoid_layer_says_what_it_expected(layer, a, error, message):
    with pytest.raises(error, match=message):
        ls.sigmoid_layer(layer, a)
