"""A stack, or a committee of stacks, as a classifier of scikit-learn."""

import functools
import numbers
import warnings
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_expit, log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from logistack import _checks, conformal, separability
from logistack.classifier import LOSSES, Classifier
from logistack.committees import Disagreement, disagreement, is_committee
from logistack.estimator.desk import key_of, open_desk
from logistack.estimator.monitoring import CallbackSupportMixin, Monitor, printed
from logistack.estimator.optimizers import OPTIMIZERS
from logistack.estimator.samples import Prepared, Rows, prepare, split, weights_of
from logistack.estimator.training import Job, rates_of, train
from logistack.network import activations, logits
from logistack.prediction import probabilities_of
from logistack.training import FitResult, History, TrainState, diagnose

# What a user should hear of without asking: no learning, or none that goes on.
SERIOUS = ("diverged", "stuck", "saturated", "vanishing", "unmeasured", "slow")


class StackClassifier(CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    """A stack of logistic units, or a committee of them, as a classifier of scikit-learn.

    Every hidden unit computes σ(w·a + b); the outputs are a softmax over the classes or logistic
    units of their own. All members of a committee are trained at once, by `fit_population`, and
    the probabilities of the committee are the mean of theirs. The loss is the cross-entropy,
    averaged over a batch, so that learning rates mean what they mean in `MLPClassifier`.
    What is not given has values that `experiments/defaults.py` chose, on other data than it shows.

    Main arguments:
        hidden_layer_sizes: the units of each hidden layer; `()` is logistic regression.
        members: how many networks decide together; 1 is a single network.
        loss: `"softmax"`, or `"sigmoid"` for independent outputs: one for two classes, one a class
            for several, whose probabilities are then divided by their sum, and one a label for
            multilabel targets.
        learning_rate: the step size η of the optimizer.
        optimizer: `"adam"`, `"nadam"`, `"amsgrad"`, `"adagrad"`, `"rmsprop"`, `"sgd"` or
            `"nesterov"`; or a function that returns an Optax transformation, which is given those
            of `learning_rate` and `momentum` that it has arguments of these names for.
        epochs: how many times to go through the samples; at most so many with `patience`.
        batch_size: samples a step; `"auto"` is 200, and all of them where they are fewer.
        patience: for how many epochs the validation loss may fail to fall before a member stops.
            It is then what did best on the validation samples. If None, nothing is held out.
        random_state: an integer, a `RandomState`, or None for other networks in every fit.

    Other Arguments:
        momentum: that of the optimizers that have one.
        weight_decay: λ: a step takes η λ of each weight from it, and nothing from biases.
        dropout: the share of activations that a step leaves out: that of all hidden layers, or
            those of the inputs and of all hidden layers, or of the inputs and each hidden layer.
        label_smoothing: the share of each target that is spread over all classes.
        class_weight: weights of the classes by label, 1 if not given, or `"balanced"`.
        validation_fraction: the share of the samples to hold out where `patience` is given and no
            samples to validate on are.
        calibration_fraction: the share to hold out for `predict_set`.
        coordinates: `"centred"` to take the steps in the coordinates of centered units, which
            deep stacks need, or `"plain"`.
        augment: a function of a JAX random key and a standardized sample that returns the sample
            to learn from in its place.
        standardize: whether each feature is shifted and scaled to mean 0 and standard deviation 1
            over the samples learned from.
        warm_start: whether `fit` goes on from where the last one ended: parameters, optimizer,
            standardization and the count of epochs, so that two fits are one of twice the epochs,
            bit for bit.
        verbose: whether to print losses ten times during a fit, or, for an integer, every so many
            epochs.

    Attributes:
        classes_: the labels, `(classes,)`; for multilabel targets the places of the columns.
        classifier_: the `logistack.Classifier` that predicts, which `logistack.export` takes.
        params_: its parameters, those of a network or a list of them.
        history_: the `History` of all epochs, with a leading axis of members.
        n_iter_: how many epochs were run, by the member that went on longest.
        loss_curve_: the mean loss of the members in each epoch.
        validation_curve_: the mean of their validation losses, or None.
        certificate_: an exact proof of whether a line separates the classes of the training
            samples, found when it is first asked for. A pickle has it if it has been.
        n_features_in_, feature_names_in_: as in scikit-learn.
        n_outputs_, n_layers_, out_activation_: as in `MLPClassifier`.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = StackClassifier(members=4, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(numbers.Integral, 1, None, closed="left")],
        "members": [Interval(numbers.Integral, 1, None, closed="left")],
        "loss": [StrOptions(set(LOSSES))],
        "learning_rate": [Interval(numbers.Real, 0, None, closed="neither")],
        "momentum": [Interval(numbers.Real, 0, 1, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "weight_decay": [Interval(numbers.Real, 0, None, closed="left")],
        "dropout": [Interval(numbers.Real, 0, 1, closed="left"), "array-like"],
        "label_smoothing": [Interval(numbers.Real, 0, 1, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "batch_size": [Interval(numbers.Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "epochs": [Interval(numbers.Integral, 1, None, closed="left")],
        "patience": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "validation_fraction": [Interval(numbers.Real, 0, 1, closed="neither")],
        "calibration_fraction": [Interval(numbers.Real, 0, 1, closed="left")],
        "coordinates": [StrOptions({"plain", "centred"})],
        "augment": [callable, None],
        "standardize": ["boolean"],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    _state: TrainState
    _samples: Any
    _certificate: Any
    history_: History

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (64, 64),
        *,
        members: int = 1,
        loss: str = "softmax",
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        optimizer: str | Callable[..., Any] = "adam",
        weight_decay: float = 0.3,
        dropout: float | Sequence[float] = 0.0,
        label_smoothing: float = 0.02,
        class_weight: dict[Any, float] | str | None = None,
        batch_size: int | str = "auto",
        epochs: int = 200,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        calibration_fraction: float = 0.0,
        coordinates: str = "centred",
        augment: Callable[..., Any] | None = None,
        standardize: bool = True,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: bool | int = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.members = members
        self.loss = loss
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.calibration_fraction = calibration_fraction
        self.coordinates = coordinates
        self.augment = augment
        self.standardize = standardize
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = self.loss == "sigmoid"
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> "StackClassifier":
        """Trains the members on samples.

        If it fails, what an earlier fit has found stays as it was.

        Args:
            X: samples, `(n, in)`: an array, or a frame of pandas or Polars.
            y: labels, `(n,)`, or for the loss `"sigmoid"` whether each label holds, `(n, labels)`.
            sample_weight: how much each sample counts, `(n,)`; one of weight 0 is not there.
            X_val: samples to validate on; the best parameters on them are kept.
            y_val: their labels.
            sample_weight_val: how much each of these counts.

        Returns:
            The estimator.

        Raises:
            ValueError: if a parameter or an argument does not fit.
            TypeError: if `X` is sparse, or labels are of mixed types.

        Warns:
            ConvergenceWarning: if a member diverged, or stays near a constant answer.
        """
        monitor = Monitor(self, self.epochs, X, y, sample_weight)
        draft, goes_on = self._draft(), self.warm_start and hasattr(self, "classifier_")
        desk, key, memo = open_desk(), None, None
        if desk is not None and not goes_on:
            key = key_of(self, X, y, sample_weight, X_val, y_val, sample_weight_val)
            memo = desk.memo(key)
            if not desk.asks and (fitted := desk.take(key)) is not None:
                draft.__dict__ = fitted.__dict__ | draft.__dict__
                return self._become(draft, X, y, monitor)
        job = draft._job(
            X, y, sample_weight, (X_val, y_val, sample_weight_val), goes_on=goes_on,
            epochs=self.epochs, memo=memo,
        )  # fmt: skip
        if key is not None and desk.asks:  # type: ignore[union-attr]
            desk.ask(key, draft, job)  # type: ignore[union-attr]
        callbacks, every = [], 1
        if self.verbose:
            every = max(1, self.epochs // 10) if self.verbose is True else int(self.verbose)
            callbacks.append(printed(self.epochs))
        if monitor.listens:
            every = 1
            callbacks.append(monitor.epoch(lambda result: draft._found(jax.device_get(result))))
        (result,) = train([job], callbacks, every)
        draft._take(result, before=self.history_ if goes_on else None)
        return self._become(draft, X, y, monitor, result.history)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> "StackClassifier":
        """Trains the members for one more epoch, on these samples.

        The first call standardizes by its samples, and later ones keep to that. With the same
        samples each time, n calls are one fit of n epochs, bit for bit; nothing is held out.

        Args:
            X: samples, `(n, in)`.
            y: labels, `(n,)`, or `(n, labels)`.
            classes: all labels that there will be; needed in the first call if `y` has not all.
            sample_weight: how much each sample counts, `(n,)`.

        Returns:
            The estimator.

        Raises:
            ValueError: if a parameter or an argument does not fit.
            TypeError: if `X` is sparse, or labels are of mixed types.
        """
        draft, goes_on = self._draft(), hasattr(self, "classifier_")
        job = draft._job(
            X, y, sample_weight, goes_on=goes_on, epochs=1, classes=classes, holds_out=False
        )
        (result,) = train([job])
        draft._take(result, before=self.history_ if goes_on else None)
        return self._become(draft, X, y)

    def _draft(self) -> "StackClassifier":
        """A copy to work on, of which nothing is kept if that fails."""
        draft = object.__new__(type(self))
        draft.__dict__.update(self.__dict__)
        return draft

    def _become(
        self,
        draft: "StackClassifier",
        X: Any,
        y: Any,
        monitor: Monitor | None = None,
        history: History | None = None,
    ) -> "StackClassifier":
        """Takes what a draft has found, and tells of it if there is a monitor."""
        draft._samples, draft._certificate = (X, y), None
        self.__dict__ = draft.__dict__
        if monitor is not None:
            self._warn(self.history_ if history is None else history)
            monitor.end()
        return self

    def _job(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        validation: tuple[Any, Any, Any] = (None, None, None),
        *,
        goes_on: bool,
        epochs: int,
        classes: Any = None,
        holds_out: bool = True,
        memo: dict[Any, Prepared] | None = None,
    ) -> Job:
        """Checks what was given, and says what is to be trained.

        Args:
            X: samples.
            y: labels.
            sample_weight: how much each counts.
            validation: samples, labels and weights to validate on, or three times None.
            goes_on: whether training goes on from where it was.
            epochs: how many to run.
            classes: all labels there will be; those of `y` if None.
            holds_out: whether the fractions to hold out are held out.
            memo: what was made of these samples before, for other parameters.
        """
        X, y = self._checked(X, y, reset=not goes_on)
        weights = _weights("sample_weight", sample_weight, X)
        settings = self._settings()
        if goes_on:
            self._require_same(settings)
        else:
            self._read_classes(y, weights, classes)
            self._seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        rows = self._rows("y", X, y, weights)
        others = self._others(*validation)
        validates = holds_out and self.patience is not None and others is None
        shares = (
            self.validation_fraction if validates else 0.0,
            self.calibration_fraction if holds_out else 0.0,
        )
        batch = settings["batch_size"]
        how = self.standardize, self.n_outputs_, self.loss
        memo = {} if memo is None else memo
        key = (shares, self._seed if any(shares) else None, batch, how)
        if key not in memo:
            parts = split(rows, *shares, seed=self._seed)
            if len(parts.learned.inputs) <= batch:
                parts = parts._replace(learned=parts.learned.merged())
            before = (self.classifier_.mean, self.classifier_.scale) if goes_on else None
            memo[key] = prepare(parts, others, before, *how)
        self._prepared = memo[key]
        weights = weights_of(self._prepared.parts.learned, self.class_weight, self.classes_)
        state = self._state if goes_on else None
        seed, data = self._seed, self._prepared.data
        return Job(settings, data, weights, seed, self.members, self.n_outputs_, state, epochs)

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        return validate_data(
            self, X, y, dtype=[np.float64, np.float32], multi_output=True, reset=reset
        )

    def _settings(self) -> dict[str, Any]:
        """The parameters, with those checked that constraints by type do not."""
        settings = self.get_params(deep=False)
        hidden: Any = self.hidden_layer_sizes
        sizes = [hidden] if np.ndim(hidden) == 0 else list(hidden)
        if not all(isinstance(size, int | np.integer) and size > 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes: expected integers above 0, got {hidden!r}")
        settings["hidden_layer_sizes"] = tuple(map(int, sizes))
        settings["batch_size"] = 200 if self.batch_size == "auto" else int(self.batch_size)
        rates = rates_of(self.dropout)
        if len(rates) not in (2, len(sizes) + 1) or not all(0 <= rate < 1 for rate in rates):
            raise ValueError(
                "dropout: expected rates from 0 to below 1: one, or those of the inputs and the "
                f"hidden layers, or {len(sizes) + 1}, got {self.dropout!r}"
            )
        return settings

    def _require_same(self, settings: dict[str, Any]) -> None:
        """Raises ValueError where training cannot go on from where it was."""
        for name in ("hidden_layer_sizes", "members", "loss", "optimizer"):
            before, now = self._settings_before[name], settings[name]
            if before != now:
                raise ValueError(
                    f"{name}: expected {before!r} to go on from an earlier fit, got {now!r}: set "
                    "warm_start=False, or clone the estimator, to begin anew"
                )

    def _read_classes(self, y: np.ndarray, weights: np.ndarray | None, classes: Any) -> None:
        if y.dtype == object and len({isinstance(label, str) for label in y.ravel()}) > 1:
            raise ValueError("y: expected labels of one type, got a mix of strings and others")
        check_classification_targets(y)
        kind = type_of_target(y)
        self._multilabel = kind == "multilabel-indicator"
        if self._multilabel:
            if self.loss != "sigmoid":
                raise ValueError(
                    "y: multilabel targets need loss='sigmoid', an output for each label, got "
                    f"loss={self.loss!r}"
                )
            self.classes_ = np.arange(y.shape[1])
        elif kind.endswith("multioutput"):
            raise ValueError(f"y: expected one label a sample, got shape {y.shape}")
        else:
            labels = column_or_1d(y, warn=True)
            counted = labels if weights is None else labels[weights > 0]
            self.classes_ = unique_labels(counted if classes is None else classes)
        if len(self.classes_) < 2:
            raise ValueError(
                "y: expected at least two classes among the samples of sample_weight above 0, got "
                f"one class, {self.classes_.tolist()}"
            )
        two = len(self.classes_) == 2 and not self._multilabel
        self.n_outputs_ = 1 if self.loss == "sigmoid" and two else len(self.classes_)

    def _rows(self, name: str, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> Rows:
        """Samples with the places of their classes; those of weight 0 are left out."""
        if weights is not None and not (weights > 0).all():
            X, y, weights = (part[weights > 0] for part in (X, y, weights))
        if self._multilabel:
            if y.shape[1:] != self.classes_.shape or not np.isin(y, (0, 1)).all():
                raise ValueError(
                    f"{name}: expected 1 where a label holds and else 0, of shape (samples, "
                    f"{len(self.classes_)}), got shape {y.shape}"
                )
            return Rows(X, y.astype(int), weights)
        labels = column_or_1d(y)
        strange = np.setdiff1d(labels, self.classes_)
        if strange.size:
            raise ValueError(
                f"{name}: expected labels of the classes {self.classes_.tolist()}, got "
                f"{strange.tolist()} as well"
            )
        return Rows(X, np.searchsorted(self.classes_, labels), weights)

    def _others(self, X: Any, y: Any, weights: Any) -> Rows | None:
        """The samples to validate on that were given."""
        if X is None and y is None and weights is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val, y_val: expected both, or neither, to validate on")
        X, y = self._checked(X, y, reset=False)
        return self._rows("y_val", X, y, _weights("sample_weight_val", weights, X))

    def _found(self, result: FitResult) -> dict[str, Any]:
        """The attributes that predict, from a result in NumPy."""
        members = [
            jax.tree.map(lambda leaf, member=member: jnp.asarray(leaf[member]), result.params)
            for member in range(self.members)
        ]
        classifier = Classifier(
            members[0] if self.members == 1 else members,
            self._prepared.mean,
            self._prepared.scale,
            self.classes_,
            self.loss,
            self._multilabel,
        )
        own = {name: getattr(self, name) for name in ("classes_", "n_outputs_", "n_features_in_")}
        return own | {"classifier_": classifier, "_multilabel": self._multilabel}

    def _take(self, result: FitResult, *, before: History | None = None) -> None:
        """Sets the attributes of a fit, from a result in NumPy and the history before it."""
        self.__dict__.update(self._found(result))
        parts = self.__dict__.pop("_prepared").parts
        self._state, self._settings_before = result.state, self._settings()
        ran = int((~np.isnan(result.history.accuracy)).any(axis=0).sum())
        own: History = jax.tree.map(lambda rows: rows[:, :ran], result.history)
        self.history_ = own if before is None else _joined(before, own)
        curves = (self.history_.loss, self.history_.validation_loss)
        self.loss_curve_, self.validation_curve_ = map(_mean_of_members, curves)
        self.n_iter_ = self.history_.loss.shape[1]
        self.n_layers_ = len(self._settings_before["hidden_layer_sizes"]) + 2
        exclusive = self.loss == "softmax"
        self.out_activation_ = "softmax" if exclusive else "logistic"
        held = parts.calibration
        self._calibration = None
        if held is not None:
            self._calibration = self._probabilities(held.inputs), held.targets

    def _warn(self, history: History) -> None:
        """Warns of members that learned nothing, or cannot go on."""
        if self.members == 1:
            history = jax.tree.map(lambda rows: rows[0], history)
        for finding in diagnose(history, kinds=SERIOUS):
            warnings.warn(finding, ConvergenceWarning, stacklevel=_checks.level_of_user())

    @property
    def params_(self) -> Any:
        """The parameters of the network, or a list of those of the members."""
        check_is_fitted(self)
        return self.classifier_.params

    @property
    def certificate_(self) -> Any:
        """A proof of whether a line separates the classes of the samples of the last fit.

        It is found when it is first asked for, in exact arithmetic, which can take a while.
        """
        check_is_fitted(self)
        if self._certificate is None:
            if self._samples is None:
                raise AttributeError(
                    "certificate_: the samples are not in a pickle: ask for it before, or call "
                    "logistack.certify(X, y)"
                )
            self._certificate = separability.certify(*self._samples)
        return self._certificate

    def __dir__(self) -> list[str]:
        # scikit-learn computes all that it finds here, to show an estimator in a notebook.
        names = set(object.__dir__(self)) - {"certificate_"}
        return [name for name in names if hasattr(self, name)]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_samples" in state:
            state["_samples"] = None
        return state

    def predict(self, X: Any) -> np.ndarray:
        """Returns the label of each sample, `(n,)`; for multilabel targets `(n, labels)`.

        Args:
            X: samples, `(n, in)`.

        Raises:
            NotFittedError: before `fit`.
            ValueError: if the features are others than those of `fit`.
        """
        z = self._logits(X)
        if self._multilabel:
            return (z > 0).astype(int)
        return self.classes_[(z[:, 0] > 0).astype(int) if z.shape[1] == 1 else z.argmax(axis=1)]

    def decision_function(self, X: Any) -> np.ndarray:
        """Returns the logits of each sample, `(n, classes)`; of two classes, the difference `(n,)`.

        Those of a committee stand for the mean of its members' probabilities.
        """
        z = self._logits(X)
        if len(self.classes_) > 2 or self._multilabel:
            return z
        return z[:, 0] if z.shape[1] == 1 else z[:, 1] - z[:, 0]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Returns the probability of each class for each sample, `(n, classes)`.

        For multilabel targets, that each label holds. Independent outputs of exclusive classes are
        divided by their sum here, and left as they are by `classifier_` and what exports it.
        """
        return self._probabilities(self._inputs(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Returns the logarithms of the probabilities, right where these are 0 to rounding too."""
        z = self._logits(X)
        if self.loss == "softmax":
            return log_softmax(z, axis=1)
        logarithms = log_expit(np.hstack([-z, z]) if z.shape[1] == 1 else z)
        if z.shape[1] == 1 or self._multilabel:
            return logarithms
        return log_softmax(logarithms, axis=1)

    def predict_set(
        self, X: Any, *, coverage: float = 0.9, score: conformal.Score = conformal.least_ambiguous
    ) -> np.ndarray:
        """Returns for each sample the set of classes that holds its own so often as asked.

        Split conformal prediction, by the samples that `calibration_fraction` held out, or those
        given to `conformalize`: a set holds the class of the next sample with a probability of at
        least `coverage`, if the samples are exchangeable.

        Args:
            X: samples, `(n, in)`.
            coverage: above 0 and below 1.
            score: as `logistack.conformal.threshold` takes it.

        Returns:
            Whether each class is in the set, `(n, classes)`.

        Raises:
            NotFittedError: if there are no samples to find the sizes of the sets with.
            ValueError: for multilabel targets, or if an argument does not fit.
        """
        inputs = self._inputs(X)
        if self._multilabel:
            raise ValueError("predict_set: expected exclusive classes, but targets are multilabel")
        if self._calibration is None:
            raise NotFittedError(
                "predict_set: needs samples that no network has learned from: fit with "
                "calibration_fraction, such as 0.2, or call conformalize(X, y) first"
            )
        coverage = _checks.require_inside("coverage", coverage)
        alpha = float(1 - Fraction(repr(coverage)))
        limit = conformal.threshold(*self._calibration, alpha=alpha, score=score)
        rows = self._probabilities(inputs)
        sets = jax.vmap(functools.partial(conformal.prediction_set, score=score), (0, None))
        return np.asarray(sets(rows, limit))

    def conformalize(self, X: Any, y: Any) -> "StackClassifier":
        """Keeps samples for `predict_set`: none that `fit` has learned from or validated on.

        Args:
            X: samples, `(n, in)`.
            y: their labels, `(n,)`.

        Returns:
            The estimator.
        """
        check_is_fitted(self)
        X, y = self._checked(X, y, reset=False)
        rows = self._rows("y", X, y, None)
        self._calibration = self._probabilities(rows.inputs), rows.targets
        return self

    def activations(self, X: Any) -> list[np.ndarray]:
        """Returns what every layer makes of the samples: those of hidden layers, and the outputs'.

        Returns:
            For each layer an array `(n, width)`, with a committee `(n, members, width)`. The last
            has the probabilities that the outputs stand for.
        """
        of = functools.partial(self.classifier_.apply, _ACTIVATIONS[self.loss])
        layers = of(self._inputs(X))
        return [layer[:, 0] for layer in layers] if self.members == 1 else list(layers)

    def disagreement(self, X: Any) -> Disagreement:
        """Measures how far the members disagree about each sample, as `committees` does.

        Returns:
            A `Disagreement` of two arrays `(n,)`: the information in nats, and the dissent.
        """
        return self.classifier_.apply(DISAGREEMENT[self.loss], self._inputs(X))

    def _inputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=[np.float64, np.float32], reset=False)

    def _logits(self, X: Any) -> np.ndarray:
        inputs = self._inputs(X)
        return self.classifier_.logits(inputs)

    def _probabilities(self, inputs: np.ndarray) -> np.ndarray:
        rows = self.classifier_.probabilities(inputs)
        if self.loss == "sigmoid" and not self._multilabel and self.n_outputs_ > 1:
            rows = rows / rows.sum(axis=1, keepdims=True)
        return rows


def _weights(name: str, weights: Any, X: np.ndarray) -> np.ndarray | None:
    """The weights of samples as float64; None where each is 1."""
    if weights is None:
        return None
    weights = _check_sample_weight(weights, X, dtype=np.float64)
    if weights.min() < 0 or not weights.any():
        found = "zeros alone" if not weights.any() else weights.min()
        raise ValueError(f"{name}: expected weights of at least 0, one of them above, got {found}")
    return None if (weights == 1).all() else weights


def _joined(before: History, after: History) -> History:
    """The history of epochs and of those after them."""

    def of(*parts: Any) -> Any:
        shown = [part for part in parts if part is not None]
        if len(shown) == 2:
            return np.concatenate(shown, axis=1)
        if not shown:
            return None
        # Where one of them did not validate, its epochs have NaN.
        missing = np.full(before.loss.shape if parts[0] is None else after.loss.shape, np.nan)
        return np.concatenate([missing if part is None else part for part in parts], axis=1)

    return History(*map(of, before, after))


def _mean_of_members(rows: Any) -> list[float] | None:
    """The mean of each epoch over the members that ran it."""
    if rows is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of an epoch that none validated
        return np.nanmean(rows, axis=0).tolist()


def _of_members(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a network and a sample, of each member of a committee, or of the one."""

    def of(params: Any, x: Any) -> Any:
        members = params if is_committee(params) else [params]
        return jax.vmap(function, (0, None))(
            jax.tree.map(lambda *leaves: jnp.stack(leaves), *members), x
        )

    return of


def _activations_by(loss: Any) -> Callable[..., Any]:
    def of(params: Any, x: Any) -> Any:
        *hidden, _ = activations(params, x)
        return (*hidden, probabilities_of(logits(params, x), loss))

    return _of_members(of)


def _disagreement_by(loss: str) -> Callable[..., Any]:
    outputs = jax.nn.softmax if loss == "softmax" else jax.nn.sigmoid
    rows = _of_members(lambda params, x: outputs(logits(params, x)))
    return lambda params, x: disagreement(rows(params, x), independent=loss == "sigmoid")


_ACTIVATIONS = {name: _activations_by(loss) for name, loss in LOSSES.items()}
DISAGREEMENT = {name: _disagreement_by(name) for name in LOSSES}
