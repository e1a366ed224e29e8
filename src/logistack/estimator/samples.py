"""What a fit is to learn from: rows held out, features standardized, classes as targets."""

from typing import Any, NamedTuple

import numpy as np

from logistack.classifier import moments, standardized
from logistack.estimator.training import Data


class Rows(NamedTuple):
    """Samples as the estimator was given them, checked.

    Attributes:
        inputs: `(n, in)`, float32 or float64.
        targets: the places of the classes, integers `(n,)`; or for several labels a row, `(n, k)`.
        weights: how much each counts, float64 `(n,)`, above 0; None where it is 1.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None

    def taken(self, places: np.ndarray) -> "Rows":
        """Some of the rows."""
        weights = None if self.weights is None else self.weights[places]
        return Rows(self.inputs[places], self.targets[places], weights)

    def merged(self) -> "Rows":
        """Equal samples as one, of the sum of their weights, in an order that is the rows' own.

        A step that takes all samples at once depends on no order, and takes a sample that is
        there twice as one of weight 2. In this form it does so to the last bit.
        """
        table = np.column_stack([self.inputs, self.targets.astype(self.inputs.dtype)])
        whole = np.ascontiguousarray(table).view(np.dtype((np.void, table[0].nbytes)))[:, 0]
        _, places, own = np.unique(whole, return_index=True, return_inverse=True)
        rows = self.taken(places)
        if self.weights is None and len(places) == len(own):
            return rows
        return rows._replace(weights=np.bincount(own, self.weights).astype(float))


class Split(NamedTuple):
    """Rows to learn from, to validate on, and to find the sizes of prediction sets with."""

    learned: Rows
    validation: Rows | None
    calibration: Rows | None


def split(rows: Rows, validation: float, calibration: float, *, seed: int) -> Split:
    """Holds out shares of the rows, 0 for none, of each class alike.

    Raises:
        ValueError: if no row is left, or none of a class.
    """
    rng = np.random.default_rng(seed)
    free = np.ones(len(rows.inputs), bool)
    held: list[Rows | None] = []
    for name, share in (("calibration_fraction", calibration), ("validation_fraction", validation)):
        if not share:
            held.append(None)
            continue
        # So many of all rows, where others have been held out before.
        count = max(1, round(share * len(free)))
        if count >= free.sum():
            raise ValueError(f"{name}: expected one that leaves rows to learn from, got {share}")
        among = rng.permutation(np.flatnonzero(free))
        if rows.targets.ndim == 1:
            among = among[np.argsort(rows.targets[among], kind="stable")]
        place = np.arange(len(among))
        # Evenly along the classes, one after the other.
        own = among[(place + 1) * count // len(among) > place * count // len(among)]
        free[own] = False
        held.append(rows.taken(np.sort(own)))
    learned = rows if free.all() else rows.taken(np.flatnonzero(free))
    if rows.targets.ndim == 1:
        missing = np.setdiff1d(rows.targets, learned.targets)
        if missing.size:
            raise ValueError(
                f"y: expected enough samples of every class to hold some out, but all "
                f"{np.sum(rows.targets == missing[0])} of the class at place {missing[0]} would be"
            )
    return Split(learned, held[1], held[0])


class Prepared(NamedTuple):
    """Samples as a fit takes them, and what was held out.

    Attributes:
        parts: the rows, as they were given.
        mean: what is subtracted from each feature, float64 `(in,)`.
        scale: what each feature is then divided by, float64 `(in,)`.
        data: the rows to learn from and to validate on, as the networks take them.
    """

    parts: Split
    mean: np.ndarray
    scale: np.ndarray
    data: Data


def prepare(
    parts: Split,
    others: Rows | None,
    moments_before: tuple[np.ndarray, np.ndarray] | None,
    standardize: bool,
    outputs: int,
    loss: str,
) -> Prepared:
    """Standardizes by the rows to learn from, or as before, each as often as its weight says.

    Args:
        parts: the rows, split.
        others: rows to validate on instead of those of the split.
        moments_before: the mean and scale to keep to, where there are any.
        standardize: whether there is anything to be done.
        outputs: of the network.
        loss: by name.
    """
    learned = parts.learned
    features = learned.inputs.shape[1]
    if moments_before is not None:
        mean, scale = moments_before
    elif standardize:
        mean, scale = moments(learned.inputs, learned.weights)
    else:
        mean, scale = np.zeros(features), np.ones(features)

    def of(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        return standardized(rows.inputs, mean, scale), _as_targets(rows.targets, outputs, loss)

    held = parts.validation if others is None else others
    validation = None
    if held is not None:
        weights = np.ones(len(held.inputs)) if held.weights is None else held.weights
        validation = (*of(held), weights)
    return Prepared(parts, mean, scale, Data(*of(learned), validation))


def _as_targets(targets: np.ndarray, outputs: int, loss: str) -> np.ndarray:
    """Targets for the loss: classes, or rows where the outputs are independent."""
    if targets.ndim == 2:
        return targets.astype(np.float32)
    if loss == "sigmoid" and outputs > 1:
        return (targets[:, None] == np.arange(outputs)).astype(np.float32)
    return targets.astype(np.int32)


def weights_of(rows: Rows, class_weight: Any, classes: np.ndarray) -> np.ndarray | None:
    """The weight of each row times that of its class, as scikit-learn's `class_weight` says.

    "balanced" counts each row as often as its weight says: n / (k · n of the class).

    Raises:
        ValueError: if a class has no weight, or one that is not known has.
    """
    if class_weight is None:
        return rows.weights
    if rows.targets.ndim == 2:
        raise ValueError("class_weight: expected None for multilabel targets")
    if isinstance(class_weight, str):
        own = np.bincount(rows.targets, rows.weights, minlength=len(classes))
        factors = own.sum() / (len(classes) * np.where(own > 0, own, 1))
        return factors[rows.targets] * (1 if rows.weights is None else rows.weights)
    unknown = set(class_weight) - set(classes.tolist())
    if unknown:
        raise ValueError(
            f"class_weight: expected weights of the classes {classes.tolist()}, got "
            f"{sorted(unknown, key=str)} as well"
        )
    factors = np.array([class_weight.get(label, 1) for label in classes.tolist()], float)
    if not (np.isfinite(factors).all() and (factors >= 0).all() and factors.any()):
        raise ValueError(
            f"class_weight: expected weights of at least 0, one of them above, got {class_weight}"
        )
    return factors[rows.targets] * (1 if rows.weights is None else rows.weights)
