"""Classifiers of scikit-learn as parameters, and back."""

import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor

import logistack as ls

VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Z = X @ RNG.normal(size=(3, 3))
WORDS = np.array(["calm", "gale", "storm"])[Z.argmax(axis=1)]
TWO = np.where(Z[:, 0] > 0, "yes", "no")
SEVERAL = (Z > 0).astype(int)

SIGMOID, SOFTMAX = ls.losses.sigmoid_cross_entropy, ls.losses.softmax_cross_entropy


def network(*sizes, seed=0, dtype=jnp.float32):
    return ls.init_params(jax.random.key(seed), (3, *sizes), dtype=dtype)


def logits(params):
    return np.asarray(jax.vmap(ls.logits, (None, 0))(params, X))


def probabilities(params, loss):
    of = jax.vmap(lambda params, x: ls.probabilities(params, x, loss=loss), (None, 0))
    return np.asarray(of(params, X))


def perceptron(y, **options):
    options = {"hidden_layer_sizes": (5, 4), "activation": "logistic", "solver": "lbfgs"} | options
    return MLPClassifier(max_iter=20, alpha=0.1, random_state=0, **options)


def fitted(model, y, inputs=X):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # that it has not converged
        return model.fit(inputs, y)


CASES = {
    "mlp_softmax": (lambda: perceptron(WORDS), WORDS, SOFTMAX),
    "mlp_two": (lambda: perceptron(TWO), TWO, SIGMOID),
    "mlp_multilabel": (lambda: perceptron(SEVERAL), SEVERAL, SIGMOID),
    "mlp_linear": (lambda: perceptron(WORDS, hidden_layer_sizes=(), activation="relu"), WORDS, SOFTMAX),
    "logistic_softmax": (LogisticRegression, WORDS, SOFTMAX),
    "logistic_two": (LogisticRegression, TWO, SIGMOID),
    "logistic_liblinear": (lambda: LogisticRegression(solver="liblinear"), TWO, SIGMOID),
    "logistic_without_intercept": (lambda: LogisticRegression(fit_intercept=False), WORDS, SOFTMAX),
}  # fmt: skip


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_parameters_give_the_probabilities_of_the_model(case, x64):
    make, y, loss = CASES[case]
    model = fitted(make(), y)
    params = ls.export.sklearn.params_of(model)
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(params))
    assert params[0].weight.dtype == np.float64
    with jax.enable_x64(x64):
        ours = probabilities(params, loss)
    np.testing.assert_allclose(ours, model.predict_proba(X), atol=1e-12 if x64 else 1e-6)
