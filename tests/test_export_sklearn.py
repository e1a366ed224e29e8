"""Classifiers of scikit-learn as parameters, and back."""

import pickle
import sys
import warnings

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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge, and may be of an older version
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


def test_a_model_in_float32_is_kept_so():
    model = fitted(perceptron(WORDS, solver="adam"), WORDS, X.astype("f"))
    params = ls.export.sklearn.params_of(model)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"float32"}
    np.testing.assert_allclose(
        probabilities(params, SOFTMAX), model.predict_proba(X.astype("f")), atol=1e-6
    )


def test_parameters_are_copies():
    model = fitted(perceptron(WORDS), WORDS)
    params = ls.export.sklearn.params_of(model)
    model.coefs_[0][:] = 0
    assert params[0].weight.all()


def test_models_that_choose_or_thin_their_weights_are_taken():
    chosen = fitted(LogisticRegressionCV(Cs=2, cv=3), WORDS)
    thin = fitted(LogisticRegression(), WORDS).sparsify()
    for model in (chosen, thin):
        params = ls.export.sklearn.params_of(model)
        np.testing.assert_allclose(
            probabilities(params, SOFTMAX), model.predict_proba(X), atol=1e-6
        )


@pytest.mark.skipif(VERSION >= (1, 8), reason="scikit-learn 1.8 has no multi_class")
def test_what_older_versions_can():
    model = fitted(LogisticRegression(multi_class="multinomial"), TWO)  # has half the logit
    ours = probabilities(ls.export.sklearn.params_of(model), SIGMOID)
    np.testing.assert_allclose(ours, model.predict_proba(X), atol=1e-6)
    for model in (LogisticRegression(multi_class="ovr"), LogisticRegression(solver="liblinear")):
        ours = probabilities(ls.export.sklearn.params_of(fitted(model, WORDS)), SIGMOID)
        shares = ours / ours.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(shares, model.predict_proba(X), atol=1e-6)


MODELS = {
    "softmax": (network(5, 4, 3), {"labels": ["a", "b", "c"]}),
    "no_names": (network(5, 3), {}),
    "numbers": (network(5, 3), {"labels": [-7.0, 0.0, 3.0]}),
    "one_output": (network(5, 1), {"labels": ["no", "yes"]}),
    "two_softmax": (network(5, 2), {"labels": [False, True]}),
    "two_independent": (network(5, 2), {"labels": ["no", "yes"], "loss": "sigmoid"}),
    "independent": (network(5, 3), {"loss": "sigmoid"}),
    "multilabel": (network(5, 3), {"loss": "sigmoid", "multilabel": True}),
    "multilabel_of_two": (network(5, 2), {"loss": "sigmoid", "multilabel": True}),
    "linear": (network(3), {}),
    "stack": (ls.stack(network(4, 4, 4, 3)), {}),
    "bfloat16": (network(5, 3, dtype=jnp.bfloat16), {}),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_parameters_predicts_as_they_do(name):
    params, options = MODELS[name]
    model = ls.export.sklearn.mlp_classifier(params, **options)
    params = jax.tree.map(lambda a: a.astype("f"), params)  # which scikit-learn computes at least
    z = logits(params)
    loss = SIGMOID if options.get("loss") == "sigmoid" or z.shape[1] == 1 else SOFTMAX
    np.testing.assert_allclose(model.predict_proba(X), probabilities(params, loss), atol=1e-6)
    if options.get("multilabel"):
        expected = (z > 0).astype(int)
    else:
        classes = (z[:, 0] > 0).astype(int) if z.shape[1] == 1 else z.argmax(axis=1)
        expected = np.asarray(options.get("labels", np.arange(max(2, z.shape[1]))))[classes]
    predicted = model.predict(X)
    np.testing.assert_array_equal(predicted, expected)
    assert predicted.dtype == expected.dtype
    assert model.score(X, expected) == 1


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_a_logistic_regression_of_parameters_predicts_as_they_do(outputs):
    params, names = network(outputs), ["a", "b", "c"][: max(2, outputs)]
    model = ls.export.sklearn.logistic_regression(params, names)
    ours = probabilities(params, SIGMOID if outputs == 1 else SOFTMAX)
    np.testing.assert_allclose(model.predict_proba(X), ours, atol=1e-6)
    expected = np.array(names)[ours.argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(X), expected)
    assert model.score(X, expected) == 1


@pytest.mark.parametrize("case", CASES)
def test_there_and_back_is_the_same_model(case):
    make, y, _ = CASES[case]
    model = fitted(make(), y)
    params = ls.export.sklearn.params_of(model)
    if isinstance(model, LogisticRegression):
        back = ls.export.sklearn.logistic_regression(params, model.classes_)
    elif y is SEVERAL:
        back = ls.export.sklearn.mlp_classifier(params, loss="sigmoid", multilabel=True)
    else:
        back = ls.export.sklearn.mlp_classifier(params, model.classes_)
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(back.predict(X), model.predict(X))
    for attribute in SHARED & vars(model).keys():
        assert type(getattr(back, attribute)) is type(getattr(model, attribute))
    again = ls.export.sklearn.params_of(back)
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(one, other)


# What a fitted model has beside what only its training needs.
SHARED = {
    "classes_", "coefs_", "intercepts_", "coef_", "intercept_", "n_features_in_", "n_layers_",
    "n_outputs_", "out_activation_", "n_iter_", "t_", "_label_binarizer",
}  # fmt: skip


@pytest.mark.parametrize("make", ["mlp_classifier", "logistic_regression"])
def test_a_model_of_parameters_is_pickled_cloned_and_fitted_anew(make):
    model = getattr(ls.export.sklearn, make)(network(3), ["calm", "gale", "storm"])
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict_proba(X), model.predict_proba(X))
    copy = clone(model)
    with pytest.raises(NotFittedError):
        copy.predict(X)
    for own in (copy, model):
        fitted(own.set_params(random_state=0, max_iter=20), WORDS)
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    with pytest.raises(ValueError, match="features"):
        copied.predict(X[:, :2])


def test_weights_are_never_rounded():
    params = (ls.Layer(np.full((1, 3), 1 / 3), np.array([0.1])),)  # without 64-bit numbers
    for make in (ls.export.sklearn.mlp_classifier, ls.export.sklearn.logistic_regression):
        (layer,) = ls.export.sklearn.params_of(make(params))
        np.testing.assert_array_equal(layer.weight, params[0].weight)
        np.testing.assert_array_equal(layer.bias, params[0].bias)


def test_other_models_are_refused():
    params_of = ls.export.sklearn.params_of
    relu = fitted(perceptron(WORDS, activation="relu"), WORDS)
    with pytest.raises(ValueError, match=r"^model: expected hidden units .* got 'relu'"):
        params_of(relu)
    for model in (perceptron(WORDS), LogisticRegression()):
        with pytest.raises(NotFittedError):
            params_of(model)
    for model in (MLPRegressor(activation="logistic"), Ridge(), MLPClassifier, None):
        with pytest.raises(TypeError, match=r"^model: expected an MLPClassifier or a Logistic"):
            params_of(model)


@pytest.mark.parametrize(
    "labels",
    [["a", "b"], ["b", "a", "c"], ["a", "a", "b"], [[0, 1, 2]], [0.5, 1.0, 2.0], [0, 1, np.nan]],
)
def test_labels_that_are_not_those_of_classes_are_refused(labels):
    for make in (ls.export.sklearn.mlp_classifier, ls.export.sklearn.logistic_regression):
        with pytest.raises(ValueError, match=r"^labels: expected 3 different .*, sorted, got"):
            make(network(3), labels)
        with pytest.raises(TypeError, match=r"^labels: expected numbers or strings"):
            make(network(3), [None, "a", "b"])


def test_networks_that_scikit_learn_has_no_model_for_are_refused():
    make = ls.export.sklearn.mlp_classifier
    with pytest.raises(ValueError, match=r"^loss: expected 'softmax' or 'sigmoid', got 'hinge'"):
        make(network(3), loss="hinge")
    for outputs, options in ((3, {}), (1, {"loss": "sigmoid"}), (3, {"loss": "sigmoid", "labels": "abc"})):  # fmt: skip
        with pytest.raises(ValueError, match=r"^multilabel: expected .*outputs=. and labels="):
            make(network(outputs), multilabel=True, **options)
    with pytest.raises(ValueError, match=r"^params: expected one layer, got 2"):
        ls.export.sklearn.logistic_regression(network(3, 3))
    with pytest.raises(ValueError, match=r"^params\[1\]: expected a weight for 3 inputs"):
        make((*network(3), ls.Layer(jnp.ones((2, 4)), jnp.ones(2))))


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.neural_network", None)
    for call in (ls.export.sklearn.params_of, ls.export.sklearn.mlp_classifier):
        with pytest.raises(ModuleNotFoundError, match=r"logistack\[sklearn\]"):
            call(network(3))
