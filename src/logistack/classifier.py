"""From a table to its labels: a network with all that a prediction needs, in one file.

What `fit` leaves to its caller is here: samples held out, features standardized, labels that are
words, predictions in batches, a score. It is made of the library's public functions alone.
"""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray, Real

from logistack import _checks, losses, prediction, selection
from logistack._brief import brief
from logistack.committees import committee_logits, is_committee
from logistack.export import numpy as npz
from logistack.export._tensors import named
from logistack.initialization import init_params
from logistack.layers import Params
from logistack.network import logits
from logistack.separability.data import labels_of
from logistack.training import FitResult, fit
from logistack.training.sizes import sizes_of

LOSSES = {
    "sigmoid": losses.sigmoid_cross_entropy,
    "softmax": losses.softmax_cross_entropy,
}


# More layers of one size than so many are shown by their number.
MANY = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A network, or a committee, with the standardization of its inputs and the labels of classes.

    Its methods take inputs as they were given to `fit_classifier`, any number of rows, and give
    NumPy arrays. They compute (x − mean) / scale in float64, and the network in its own dtype.

    Attributes:
        params: the network of the standardized inputs; or a list of networks, a committee, whose
            probabilities are the mean of its members'.
        mean: what is subtracted from each feature, float64 `(in,)`.
        scale: what each feature is then divided by, float64 `(in,)`.
        labels: what each class is called, `(classes,)`: numbers or strings.
        loss: the loss of the training, by which logits are read: `"softmax"` or `"sigmoid"`.
        multilabel: whether a row may have any number of the labels, each of which then has a
            sigmoid output of its own, and `predict` says for each whether it holds.
    """

    params: Params | list[Params]
    mean: Float[np.ndarray, " in"]
    scale: Float[np.ndarray, " in"]
    labels: np.ndarray
    loss: str
    multilabel: bool = False

    def __repr__(self) -> str:
        sizes = {_shown(sizes_of(network)) for network in self.networks}
        several = f"{len(self.networks)} of " * is_committee(self.params)
        shown = ", ".join(map(repr, self.labels[:6].tolist()))
        more = ", …" * (len(self.labels) > 6)
        kind = ", multilabel" * self.multilabel
        network = sizes.pop() if len(sizes) == 1 else "several sizes"
        return f"Classifier({several}{network}, {self.loss}{kind}, labels {shown}{more})"

    @property
    def networks(self) -> list[Params]:
        """The members of a committee, or the one network."""
        return self.params if is_committee(self.params) else [self.params]  # type: ignore

    def predict(self, inputs: Real[ArrayLike, "n in"], *, batch_size: int = 4096) -> np.ndarray:
        """Returns the label of each row, `(n,)`; `batch_size` rows are computed at once.

        With `multilabel`, returns whether each label holds, 1 or 0, `(n, labels)`.

        Raises:
            ValueError: if the shape does not fit, or a value is not finite.
            TypeError: if the dtype is not of real numbers.
        """
        z = self.logits(inputs, batch_size=batch_size)
        if self.multilabel:
            return (z > 0).astype(int)
        return self.labels[(z[:, 0] > 0).astype(int) if z.shape[1] == 1 else z.argmax(axis=1)]

    def probabilities(
        self, inputs: Real[ArrayLike, "n in"], *, batch_size: int = 4096
    ) -> Float[np.ndarray, "n classes"]:
        """Returns the probability of each label for each row: those of `ls.probabilities`.

        Raises:
            ValueError: if the shape does not fit, or a value is not finite.
            TypeError: if the dtype is not of real numbers.
        """
        return self.apply(_PROBABILITIES[self.loss], inputs, batch_size=batch_size)

    def logits(
        self, inputs: Real[ArrayLike, "n in"], *, batch_size: int = 4096
    ) -> Float[np.ndarray, "n out"]:
        """Returns the logits of each row, which `ls.metrics` and `ls.losses` take.

        Those of a committee stand for its probabilities, as `committees.committee_logits` says.

        Raises:
            ValueError: if the shape does not fit, or a value is not finite.
            TypeError: if the dtype is not of real numbers.
        """
        return self.apply(_LOGITS[self.loss], inputs, batch_size=batch_size)

    def apply(
        self,
        function: Callable[[Any, Array], Any],
        inputs: Real[ArrayLike, "n in"],
        *,
        batch_size: int = 4096,
    ) -> Any:
        """Applies a function of the parameters and one standardized sample to each row.

        It is compiled with its `vmap` once, for a module's function, such as `ls.activations`,
        and few sizes of a batch.

        Args:
            function: what `jax.vmap` and `jax.jit` take, of `params` and a sample `(in,)`.
            inputs: `(n, in)`, as the classifier was given them.
            batch_size: how many rows are computed at once.

        Returns:
            What the function returns, as NumPy arrays with a leading axis of rows.

        Raises:
            ValueError: if the shape does not fit, or a value is not finite.
            TypeError: if the dtype is not of real numbers.
        """
        inputs = _table(inputs, len(self.mean))
        batch_size = _checks.require_count("batch_size", batch_size, low=1)
        # The last batch is filled up, and a small set to a power of 2, so that few sizes compile.
        batch_size = min(batch_size, 1 << max(0, len(inputs) - 1).bit_length())
        over_rows = _over_rows(function)
        found = []
        for start in range(0, len(inputs), batch_size):
            rows = self._standardized(inputs[start : start + batch_size])
            filled = np.pad(rows, ((0, batch_size - len(rows)), (0, 0)))
            batch = over_rows(self.params, filled)
            found.append(jax.tree.map(lambda part, rows=rows: np.asarray(part)[: len(rows)], batch))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *found)

    def accuracy(self, inputs: Real[ArrayLike, "n in"], labels: ArrayLike) -> float:
        """Returns the share of rows whose label is predicted; a label it does not know is wrong.

        Raises:
            ValueError: if a shape does not fit, a value is not finite, the labels are strings
                where the classifier has numbers, or numbers where it has strings, or rows may
                have several labels.
            TypeError: if a dtype is not of real numbers, or the labels are not numbers or strings.
        """
        if self.multilabel:
            raise ValueError("labels: expected one a row, but the classifier is multilabel")
        predicted = self.predict(inputs)
        labels = labels_of(labels, len(predicted))
        if (labels.dtype.kind == "U") != (self.labels.dtype.kind == "U"):
            raise ValueError(
                f"labels: expected labels such as {self.labels[0].item()!r}, got "
                f"{labels[0].item()!r}"
            )
        return float(np.mean(predicted == labels))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the classifier to one .npz file, as `export.numpy.save` writes parameters.

        Raises:
            ValueError: if `path` is a URL.
            TypeError: if the parameters are bfloat16, which such a file cannot hold.
            OSError: if the file cannot be written.
        """
        own = {name: np.asarray(getattr(self, name)) for name in OWN}
        for place, network in enumerate(self.networks):
            prefix = f"members.{place}." * is_committee(self.params)
            own |= {f"{prefix}{name}": array for name, array in named(network).items()}
        npz.write(path, own)

    def standardize(self, inputs: Real[ArrayLike, "n in"]) -> np.ndarray:
        """Returns the rows as the network takes them, (x − mean) / scale.

        Raises:
            ValueError: if the shape does not fit, or a value is not finite.
            TypeError: if the dtype is not of real numbers.
        """
        return self._standardized(_table(inputs, len(self.mean)))

    def _standardized(self, inputs: np.ndarray) -> np.ndarray:
        return standardized(inputs, self.mean, self.scale, self.networks[0][0].weight.dtype)


# What a file has beside the parameters.
OWN = ("mean", "scale", "labels", "loss", "multilabel")


@functools.cache
def _over_rows(function: Callable[[Any, Array], Any]) -> Callable[..., Any]:
    return jax.jit(jax.vmap(function, (None, 0)))


def _logits_by(loss: Callable[..., Array]) -> Callable[[Any, Array], Array]:
    def of(params: Any, x: Array) -> Array:
        return committee_logits(params, x, loss=loss) if is_committee(params) else logits(params, x)

    return of


def _probabilities_by(loss: Callable[..., Array]) -> Callable[[Any, Array], Array]:
    read = _logits_by(loss)
    return lambda params, x: prediction.probabilities_of(read(params, x), loss)


_LOGITS = {name: _logits_by(loss) for name, loss in LOSSES.items()}
_PROBABILITIES = {name: _probabilities_by(loss) for name, loss in LOSSES.items()}


class FittedClassifier(NamedTuple):
    """What `fit_classifier` returns.

    Attributes:
        classifier: the trained network, with what a prediction needs.
        accuracy: the share of the test rows that it labels correctly; None without test rows.
        test: which rows these are, `(n,)`: training saw nothing of them.
        result: the `FitResult` of the training, with its history.
    """

    def __repr__(self) -> str:
        return brief(self)

    classifier: Classifier
    accuracy: float | None
    test: Bool[np.ndarray, " n"]
    result: FitResult


def _shown(sizes: Sequence[int]) -> str:
    """Sizes in a line: those of many equal layers once."""
    parts: list[str] = []
    for size, run in itertools.groupby(sizes):
        count = len(list(run))
        parts += [f"{size} ({count:,} times)"] if count > MANY else [str(size)] * count
    return "-".join(parts)


def fit_classifier(  # noqa: D417 (they come in two parts)
    key: PRNGKeyArray,
    inputs: Real[ArrayLike, "n in"],
    labels: ArrayLike,
    *,
    hidden: Sequence[int],
    optimizer: optax.GradientTransformation | Callable[..., optax.GradientTransformation],
    epochs: int,
    test: float | Bool[ArrayLike, " n"] = 0.2,
    validation: float | Bool[ArrayLike, " n"] = 0.0,
    loss: str = "softmax",
    **options: Any,
) -> FittedClassifier:
    """Trains a network on a table: holds out rows, standardizes, fits, and scores.

    Every feature x becomes (x − m) / s with the mean m and standard deviation s of the rows that
    are trained on; one that is constant there has s = 1. Nothing of the test rows, nor of those to
    validate on, is in m, s or the parameters that training reaches; the test rows have no part in
    the choice of the best of these either.

    Main arguments:
        key: a JAX random key, for the rows held out, the first parameters, and `fit`.
        inputs: the features, one sample a row, `(n, in)`.
        labels: the label of each row, `(n,)`: numbers, or strings.
        hidden: the units of each hidden layer; none of them is logistic regression.
        optimizer: any Optax gradient transformation, as in `fit`.
        epochs: how many times to go through the rows.
        test: which rows to score on: a share of them, drawn within each class, or a row of
            booleans; 0 for none.
        validation: which of the other rows to validate on, likewise, as `patience` needs.

    Other Arguments:
        loss: `"softmax"`, or `"sigmoid"` for independent outputs (one of them for two classes).
        options: any other argument of `fit`: `batch_size`, `patience`, `sample_weight`,
            `class_weight`, `dropout`, `coordinates`, ….

    Returns:
        A `FittedClassifier` of the classifier, its accuracy on the test rows, and these.

    Raises:
        ValueError: if shapes do not fit, a value is not finite, there are fewer than two classes
            or a class has no row to train on, or for what `fit` refuses.
        TypeError: if a dtype is not of real numbers, the labels are neither numbers nor strings,
            or for what `fit` refuses.

    >>> import jax, numpy as np, optax, logistack as ls
    >>> drawn = np.random.default_rng(0).normal(size=(200, 2))
    >>> table = drawn * [1, 1000] + [0, 50_000]  # meters, and grams
    >>> names = np.where(drawn[:, 0] * drawn[:, 1] > 0, "yes", "no")
    >>> fitted = ls.fit_classifier(
    ...     jax.random.key(0), table, names, hidden=(8,), optimizer=optax.adam(0.03), epochs=200,
    ...     batch_size=32,
    ... )
    >>> fitted.classifier
    Classifier(2-8-2, softmax, labels 'no', 'yes')
    >>> fitted.accuracy > 0.9
    True
    >>> print(fitted.classifier.predict([[1.5, 51_500], [1.5, 48_500]]))
    ['yes' 'no']
    """
    if loss not in LOSSES:
        raise ValueError(f"loss: expected one of {sorted(LOSSES)}, got {loss!r}")
    table = _table(inputs)
    given = labels_of(labels, len(table))
    called, own = np.unique(given, return_inverse=True)
    if len(called) < 2:
        raise ValueError(f"labels: expected at least two different ones, got {called.tolist()}")
    for_test, for_validation, for_params, for_fit = jax.random.split(
        _checks.require_key("key", key), 4
    )
    tested = _held_out("test", for_test, test, own, np.ones(len(own), bool))
    held = _held_out("validation", for_validation, validation, own, ~tested)
    learned = ~tested & ~held
    if (weights := options.pop("sample_weight", None)) is not None:
        weights = np.asarray(_checks.require_weights("sample_weight", weights, len(own)))
        learned &= weights > 0
    missing = np.setdiff1d(np.arange(len(called)), own[learned])
    if missing.size:
        raise ValueError(
            f"labels: expected a row to train on of every label, got none of "
            f"{called[missing].tolist()}"
        )
    outputs = 1 if loss == "sigmoid" and len(called) == 2 else len(called)
    start = init_params(for_params, (table.shape[1], *hidden, outputs))
    mean, scale = moments(table[learned])
    classifier = Classifier(start, mean, scale, called, loss)
    independent = loss == "sigmoid" and outputs > 1
    targets = own[:, None] == np.arange(outputs) if independent else own
    rows = ~tested
    result = fit(
        for_fit,
        start,
        classifier._standardized(table[rows]),
        targets[rows],
        optimizer=optimizer,
        epochs=epochs,
        loss=LOSSES[loss],
        sample_weight=(learned if weights is None else weights * learned)[rows],
        validation=held[rows] if held.any() else None,
        **options,
    )
    classifier = dataclasses.replace(classifier, params=result.params)
    accuracy = classifier.accuracy(table[tested], given[tested]) if tested.any() else None
    return FittedClassifier(classifier, accuracy, tested, result)


def load_classifier(path: str | os.PathLike[str]) -> Classifier:
    """Reads a classifier that `Classifier.save` wrote; it predicts the same bits.

    Args:
        path: the file to read.

    Raises:
        ValueError: if the file is damaged, or is not one that `Classifier.save` wrote.
        TypeError: if an array in it has another dtype than it should.
        FileNotFoundError: if the file does not exist.

    >>> import jax, logistack as ls, optax, pathlib, tempfile
    >>> fitted = ls.fit_classifier(
    ...     jax.random.key(0), [[0.0], [1.0], [2.0], [3.0]], ["low", "low", "high", "high"],
    ...     hidden=(), optimizer=optax.sgd(0.1), epochs=100, test=0,
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.npz")
    ...     fitted.classifier.save(path)
    ...     ls.load_classifier(path).predict([[0.5], [2.5]]).tolist()
    ['low', 'high']
    """
    arrays = npz.read(path)
    if not set(OWN) <= arrays.keys():
        raise ValueError(
            f"path: expected a classifier, with {', '.join(OWN)}, but {path} has {sorted(arrays)}"
        )
    mean, scale, labels, loss, multilabel = (arrays.pop(name) for name in OWN)
    found = Classifier(
        _params_in(path, arrays), mean, scale, labels, str(loss), bool(multilabel.all())
    )
    good = multilabel.dtype == bool and multilabel.shape == () and parts_fit(found)
    if not good:
        raise ValueError(f"path: expected a classifier whose parts fit together, got {path}")
    return found


def parts_fit(own: Classifier) -> bool:
    """Whether the parts of a classifier are what they should be, and of sizes that fit."""
    (features, outputs), *others = {
        (network[0].weight.shape[-1], network[-1].weight.shape[-2]) for network in own.networks
    }
    classes = 2 if outputs == 1 else outputs
    return bool(
        not others
        and own.loss in LOSSES
        and not (own.loss == "softmax" and outputs == 1)
        and not (own.multilabel and (own.loss != "sigmoid" or outputs == 1))
        and own.mean.shape == own.scale.shape == (features,)
        and own.mean.dtype == own.scale.dtype == np.float64
        and np.isfinite(own.mean).all()
        and (own.scale > 0).all()
        and own.labels.shape == (classes,)
        and own.labels.dtype.kind in "biufU"
    )


def _params_in(path: Any, arrays: Mapping[str, np.ndarray]) -> Params | list[Params]:
    """The network of a file, or the members of its committee."""
    members: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        prefix, found, own = name.partition("layers.")
        members.setdefault(prefix, {})[found + own] = array
    if set(members) != {f"members.{place}." for place in range(len(members))}:
        return npz.read_params(path, arrays)
    networks = [
        npz.read_params(path, members[f"members.{place}."]) for place in range(len(members))
    ]
    if len({(own[0].weight.shape[-1], own[-1].weight.shape[-2]) for own in networks}) > 1:
        raise ValueError(f"path: expected members of the same inputs and outputs, got {path}")
    return networks


def _table(inputs: Any, features: int | None = None) -> np.ndarray:
    """The rows as an array of finite numbers, as wide as they were given."""
    inputs = np.asarray(inputs) if isinstance(inputs, jax.Array) else inputs
    inputs = _checks.as_array("inputs", inputs)
    _checks.require_real("inputs", inputs.dtype)
    if inputs.ndim != 2 or not inputs.size or features not in (None, inputs.shape[1]):
        width = "features" if features is None else features
        raise ValueError(f"inputs: expected shape (samples, {width}), got {inputs.shape}")
    _checks.require_finite("inputs", inputs)
    return inputs


def standardized(
    rows: np.ndarray, mean: np.ndarray, scale: np.ndarray, dtype: Any = np.float32
) -> np.ndarray:
    """(x − mean) / scale, in float64 and then in the dtype of a network."""
    halves = rows * np.float64(0.5)  # of which no difference overflows
    halves -= mean * 0.5
    halves /= scale * 0.5
    return halves.astype(dtype)


def moments(rows: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; 1 for what is constant but for rounding."""
    floating = jnp.issubdtype(rows.dtype, jnp.floating)
    precision = float(np.spacing(np.ones((), rows.dtype if floating else np.float64)))
    rows = rows.astype(np.float64)
    # Of numbers of at most 1, so that no sum and no square overflows.
    largest = np.abs(rows).max(axis=0)
    largest[largest == 0] = 1
    rows /= largest
    mean = np.average(rows, axis=0, weights=weights)
    scale = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weights))
    constant = scale <= 4 * precision * np.abs(mean)
    return mean * largest, np.where(constant, 1, scale * largest)


def _held_out(
    name: str, key: Any, which: Any, own: np.ndarray, among: np.ndarray
) -> Bool[np.ndarray, " n"]:
    """The rows that are meant by a share of those `among` which they are, or by themselves."""
    if np.ndim(which) == 0:
        rows = np.zeros(len(own), bool)
        if _checks.require_share(name, which) is not None:
            rows[among] = selection.hold_out(key, own[among], which)
        return rows
    rows = np.asarray(which)
    if rows.dtype != bool or rows.shape != own.shape:
        raise ValueError(
            f"{name}: expected a share, or booleans of shape {own.shape}, got {rows.dtype} of "
            f"shape {rows.shape}"
        )
    if (rows & ~among).any():
        raise ValueError(f"{name}: expected rows that are not in test, got some that are")
    return rows
