"""Parameters of scikit-learn's MLPClassifier and LogisticRegression, and models of parameters."""

from typing import Any

import numpy as np
from jaxtyping import ArrayLike

from logistack import _checks
from logistack.export._tensors import single_layers
from logistack.layers import Layer, Params, require_params


def params_of(model: Any) -> Params:
    """Makes parameters of a fitted classifier of scikit-learn, whose logits are the classifier's.

    They are read by the loss of its training: one output, and the outputs of a multilabel
    `MLPClassifier`, by `losses.sigmoid_cross_entropy`, as class `model.classes_[1]` against
    `model.classes_[0]`, or as each label; several outputs otherwise by
    `losses.softmax_cross_entropy`, in the order of `model.classes_`. A `LogisticRegression` that
    was fitted one class against the rest, as scikit-learn before 1.8 can, has sigmoids that
    scikit-learn divides by their sum.

    Args:
        model: a fitted `MLPClassifier` with `activation="logistic"`, or without hidden layers; or a
            fitted `LogisticRegression` or `LogisticRegressionCV`.

    Returns:
        A tuple of `Layer` of NumPy arrays, copies of scikit-learn's in its dtype, float64 unless it
        was fitted to float32. JAX computes with them in float64 if it has 64-bit numbers enabled;
        otherwise it rounds them to float32 where they are used, and probabilities stay within
        about 1e-6 of scikit-learn's for features of the size of 1, as standardized ones are.

    Raises:
        ValueError: if the hidden units have another activation.
        TypeError: if `model` is another object.
        sklearn.exceptions.NotFittedError: if `model` is not fitted.
        ModuleNotFoundError: if scikit-learn is not installed.

    >>> import logistack as ls, numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> model = LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    >>> ours = ls.probabilities(params_of(model), [2.5])
    >>> np.allclose(ours, model.predict_proba([[2.5]]), atol=1e-6)
    True

    Source: https://scikit-learn.org/stable/modules/neural_networks_supervised.html.
    """
    neural, linear = _neural(), _linear()
    if not isinstance(model, neural.MLPClassifier | linear.LogisticRegression):
        raise TypeError(
            f"model: expected an MLPClassifier or a LogisticRegression, got {type(model).__name__}"
        )
    _checks.import_extra("sklearn.utils.validation", "sklearn").check_is_fitted(model)
    if isinstance(model, neural.MLPClassifier):
        if model.activation != "logistic" and len(model.coefs_) > 1:
            raise ValueError(
                f"model: expected hidden units of activation 'logistic', got {model.activation!r}"
            )
        pairs = zip(model.coefs_, model.intercepts_, strict=True)
        return tuple(_layer(weight.T, bias) for weight, bias in pairs)
    weight = model.coef_.toarray() if hasattr(model.coef_, "toarray") else model.coef_
    bias = np.broadcast_to(model.intercept_, len(weight))
    # Of two classes as a softmax scikit-learn before 1.8 keeps half the logit.
    half = getattr(model, "multi_class", None) == "multinomial" and len(weight) == 1
    return (_layer(weight * (1 + half), bias * (1 + half)),)


def mlp_classifier(
    params: Params,
    labels: ArrayLike | None = None,
    *,
    loss: str = "softmax",
    multilabel: bool = False,
) -> Any:
    """Makes a fitted `MLPClassifier` that predicts as the network does.

    It predicts, is scored, cloned and pickled as one that scikit-learn fitted. Its optimizer has no
    state: `partial_fit` and `warm_start` are not for it. Weights are float64, exactly those given.

    Args:
        params: a tuple of `Layer`, with each stack taken apart to its layers. One output is the
            logit of class 1 against class 0.
        labels: what each class is called, `(classes,)`: different integers or strings, sorted, as
            scikit-learn sorts its classes; 0, 1, … if None.

    Other Arguments:
        loss: how several outputs are read: `"softmax"`, or `"sigmoid"` for independent ones, the
            largest of which is the class.
        multilabel: whether each of several outputs is a label that may hold or not. There are no
            `labels` then, nor a softmax: `predict` returns 0 or 1 for each column.

    Returns:
        A `sklearn.neural_network.MLPClassifier`. A softmax of two classes becomes the one output
        z₁ − z₀, which is how scikit-learn has two classes.

    Raises:
        ValueError: if shapes do not match, `labels` are not as many as classes, different and
            sorted, `loss` is another word, or `multilabel` does not fit.
        TypeError: if `params` is not a tuple of `Layer` of one floating dtype, or `labels` are not
            numbers or strings.
        ModuleNotFoundError: if scikit-learn is not installed.

    >>> import jax, logistack as ls, numpy as np
    >>> params = ls.init_params(jax.random.key(0), (2, 4, 3))
    >>> model = mlp_classifier(params, ["ant", "bee", "cat"])
    >>> model.predict([[1.0, 2.0]]) == model.classes_[ls.predict(params, np.array([1.0, 2.0]))]
    array([ True])
    """
    if loss not in ("softmax", "sigmoid"):
        raise ValueError(f"loss: expected 'softmax' or 'sigmoid', got {loss!r}")
    layers = _layers(params, merged=loss == "softmax")
    outputs = len(layers[-1].bias)
    if multilabel and (loss != "sigmoid" or outputs == 1 or labels is not None):
        raise ValueError(
            "multilabel: expected loss='sigmoid', several outputs and no labels, got "
            f"{loss=}, {outputs=} and {labels=}"
        )
    binarizer = _checks.import_extra("sklearn.preprocessing", "sklearn").LabelBinarizer()
    if multilabel:
        binarizer.fit(np.eye(outputs, dtype=int))
    else:
        binarizer.fit(_labels(labels, outputs))
        if outputs > 1:  # the largest wins, also of two
            binarizer.y_type_ = "multiclass"
    model = _neural().MLPClassifier(
        tuple(len(layer.bias) for layer in layers[:-1]), activation="logistic"
    )
    model.coefs_ = [layer.weight.T for layer in layers]
    model.intercepts_ = [layer.bias for layer in layers]
    model.n_features_in_ = layers[0].weight.shape[1]
    model.n_layers_, model.n_outputs_ = len(layers) + 1, outputs
    model.out_activation_ = "logistic" if loss == "sigmoid" or outputs == 1 else "softmax"
    model.classes_, model._label_binarizer = binarizer.classes_, binarizer
    model.n_iter_ = model.t_ = 0
    return model


def logistic_regression(params: Params, labels: ArrayLike | None = None) -> Any:
    """Makes a fitted `LogisticRegression` that predicts as a network without hidden layers does.

    It predicts, is scored, cloned and pickled as one that scikit-learn fitted. Weights are float64,
    exactly those given.

    Args:
        params: a tuple of one `Layer`. One output is the logit of class 1 against class 0; several
            are a softmax, which is all that scikit-learn has.
        labels: what each class is called, as in `mlp_classifier`.

    Returns:
        A `sklearn.linear_model.LogisticRegression`. A softmax of two classes becomes the one output
        z₁ − z₀, which is how scikit-learn has two classes.

    Raises:
        ValueError: if shapes do not match, there is a hidden layer, or `labels` are not as many as
            classes, different and sorted.
        TypeError: if `params` is not a tuple of `Layer` of one floating dtype, or `labels` are not
            numbers or strings.
        ModuleNotFoundError: if scikit-learn is not installed.

    >>> import jax.numpy as jnp, logistack as ls
    >>> unit = (ls.Layer(jnp.array([[1.0, 1.0]]), jnp.array([-1.5])),)
    >>> model = logistic_regression(unit, ["no", "yes"])
    >>> print(model.predict([[0.0, 1.0], [1.0, 1.0]]))
    ['no' 'yes']
    """
    layers = _layers(params, merged=True)
    if len(layers) > 1:
        raise ValueError(f"params: expected one layer, got {len(layers)}")
    (layer,) = layers
    model = _linear().LogisticRegression()
    model.classes_ = _labels(labels, len(layer.bias))
    model.coef_, model.intercept_ = layer
    model.n_features_in_ = layer.weight.shape[1]
    model.n_iter_ = np.zeros(1, np.int32)
    return model


def _neural() -> Any:
    return _checks.import_extra("sklearn.neural_network", "sklearn")


def _linear() -> Any:
    return _checks.import_extra("sklearn.linear_model", "sklearn")


def _layer(weight: np.ndarray, bias: np.ndarray) -> Layer:
    return Layer(np.array(weight, order="C"), np.array(bias))  # type: ignore[arg-type]


def _layers(params: Params, *, merged: bool) -> list[Layer]:
    """The single layers in float64; `merged`, of two outputs the difference."""
    require_params(params)
    layers = [Layer(*(part.astype(float) for part in layer)) for layer in single_layers(params)]
    weight, bias = layers[-1]
    if merged and len(bias) == 2:
        layers[-1] = Layer(weight[1:] - weight[:1], bias[1:] - bias[:1])
    return layers


def _labels(labels: Any, outputs: int) -> np.ndarray:
    classes = max(2, outputs)
    if labels is None:
        return np.arange(classes)
    called = _checks.as_array("labels", labels)
    if called.dtype.kind not in "biufU":
        raise TypeError(f"labels: expected numbers or strings, got dtype {called.dtype}")
    fractions = called.dtype.kind == "f" and np.any(called % 1)  # no classes to scikit-learn
    if called.shape != (classes,) or not np.array_equal(np.unique(called), called) or fractions:
        raise ValueError(
            f"labels: expected {classes} different integers or strings, sorted, got "
            f"{called.tolist()}"
        )
    return called
