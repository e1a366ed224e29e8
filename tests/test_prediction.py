"""Class probabilities and classes of one sample, by the loss's head."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from scipy import special
from sklearn.linear_model import LogisticRegression

import logistack as ls
from logistack.losses import cross_entropy, sigmoid_cross_entropy, softmax_cross_entropy

KEY = jax.random.key(0)
INPUTS = np.float32(np.random.default_rng(0).standard_normal((7, 3)))


class Variants(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(1, 2, 5)
    def test_probabilities_and_classes_equal_scipy(self, outputs):
        params = ls.init_params(KEY, (3, 4, outputs))
        z = np.float64(jax.vmap(ls.logits, (None, 0))(params, INPUTS))

        def mapped(function):
            return self.variant(jax.vmap(function, (None, 0)))(params, INPUTS)

        units = special.expit(np.concatenate([-z, z], 1) if outputs == 1 else z)
        np.testing.assert_allclose(mapped(ls.probabilities), units, rtol=1e-5)
        classes = mapped(ls.predict)
        assert classes.dtype == jnp.int32
        np.testing.assert_array_equal(classes, units.argmax(1))
        if outputs > 1:
            shares = mapped(lambda p, x: ls.probabilities(p, x, loss=softmax_cross_entropy))
            np.testing.assert_allclose(shares, special.softmax(z, 1), rtol=1e-5)
            np.testing.assert_array_equal(classes, shares.argmax(1))


def test_one_output_has_the_two_columns_of_scikit_learn():
    labels = np.array([0, 1, 1, 0, 1, 0, 0])
    model = LogisticRegression().fit(INPUTS, labels)
    unit = (ls.Layer(np.float32(model.coef_), np.float32(model.intercept_)),)
    given = jax.vmap(ls.probabilities, (None, 0))(unit, INPUTS)
    np.testing.assert_allclose(given, model.predict_proba(INPUTS), rtol=1e-5)
    given = jax.vmap(ls.predict, (None, 0))(unit, INPUTS)
    np.testing.assert_array_equal(given, model.predict(INPUTS))


def test_small_probabilities_of_either_class_keep_their_digits():
    for bias in (-80.0, 80.0):
        given = ls.probabilities((ls.Layer(jnp.zeros((1, 1)), jnp.array([bias])),), [0.0])
        np.testing.assert_allclose(given, special.expit([-bias, bias]), rtol=1e-5)


def test_probabilities_are_what_the_losses_are_measured_by():
    params = ls.init_params(KEY, (3, 4, 2))
    for loss in (sigmoid_cross_entropy, softmax_cross_entropy):
        y = ls.probabilities(params, INPUTS[0], loss=loss)
        value = cross_entropy(y, [0, 1])
        if loss is sigmoid_cross_entropy:
            value += cross_entropy(1 - y, [1, 0])
        z = ls.logits(params, INPUTS[0])
        np.testing.assert_allclose(value, loss(z, jnp.array([0.0, 1.0])), rtol=1e-5)


def test_say_what_they_expected():
    params = ls.init_params(KEY, (3, 1))
    with pytest.raises(
        ValueError, match=r"^loss: expected .*softmax.*got cross_entropy.*ls\.logits"
    ):
        ls.probabilities(params, INPUTS[0], loss=cross_entropy)
    with pytest.raises(ValueError, match=r"^loss: expected .*got 'softmax'"):
        ls.probabilities(params, INPUTS[0], loss="softmax")
    with pytest.raises(ValueError, match=r"^params: expected at least two outputs.*got one"):
        ls.probabilities(params, INPUTS[0], loss=softmax_cross_entropy)
    for function in (ls.probabilities, ls.predict):
        with pytest.raises(ValueError, match=r"^x: expected shape \(3,\), got \(7, 3\)"):
            function(params, INPUTS)
