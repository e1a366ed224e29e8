"""Predictions of a classifier that logistack trained, with NumPy alone.

What was learned is in the file beside this one, of the same name with .npz at its end. With this
file as model.py, and rows of features as they were given to the training, (n, features):

    import model

    model.predict(rows)  # (n,) labels; or (n, labels) of 1 and 0 where rows have any number of them
    model.predict_proba(rows)  # (n, classes) probabilities
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np


def predict(rows: np.ndarray) -> np.ndarray:
    """The label of each row; of a multilabel classifier, whether each label holds."""
    model, z = _model(), _logits(rows)
    if model["multilabel"]:
        return (z > 0).astype(int)
    return model["labels"][(z[:, 0] > 0).astype(int) if z.shape[1] == 1 else z.argmax(axis=1)]


def predict_proba(rows: np.ndarray) -> np.ndarray:
    """The probability of each label for each row."""
    z = _logits(rows)
    if _model()["loss"] == "softmax":
        return np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
    return _sigmoid(np.concatenate([-z, z], axis=1) if z.shape[1] == 1 else z)


def _logits(rows: np.ndarray) -> np.ndarray:
    """What the outputs compute before σ or the softmax; of a committee, for its probabilities.

    These are the mean of its members', of which logarithms are kept: they neither overflow nor
    vanish, however sure a network is.
    """
    model = _model()
    x, features = np.asarray(rows), len(model["mean"])
    if x.ndim != 2 or x.shape[1] != features or not np.isfinite(x).all():
        raise ValueError(f"rows: expected finite numbers (n, {features}), got shape {x.shape}")
    x = (x - model["mean"]) / model["scale"]
    each = np.stack([_network(layers, x) for layers in model["networks"]])
    if len(each) == 1:
        return each[0]
    if model["loss"] == "softmax":
        return _log_mean(each - np.logaddexp.reduce(each, axis=2, keepdims=True))
    return _log_mean(-np.logaddexp(0, -each)) - _log_mean(-np.logaddexp(0, each))


def _network(layers: list[Any], x: np.ndarray) -> np.ndarray:
    """σ(W a + b) for every layer but the last, and W a + b for that."""
    a = x.astype(layers[0][0].dtype).astype(float)  # rounded as in training
    *hidden, (weight, bias) = layers
    for hidden_weight, hidden_bias in hidden:
        a = _sigmoid(a @ hidden_weight.T + hidden_bias)
    return a @ weight.T + bias


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -z))


def _log_mean(logarithms: np.ndarray) -> np.ndarray:
    return np.logaddexp.reduce(logarithms, axis=0) - np.log(len(logarithms))


@functools.cache
def _model() -> dict[str, Any]:
    """The arrays of the file, and of each network the weights and biases of its layers."""
    with np.load(Path(__file__).with_suffix(".npz")) as file:
        model: dict[str, Any] = dict(file)
    networks: dict[str, list[Any]] = {}
    for name, bias in list(model.items()):
        network, is_parameter, part = name.partition("layers.")
        if is_parameter and part.endswith("bias"):
            weight = model[name.removesuffix("bias") + "weight"]
            stack = (weight, bias) if weight.ndim == 3 else (weight[None], bias[None])
            networks.setdefault(network, []).extend(zip(*stack, strict=True))
    return model | {"networks": list(networks.values())}
