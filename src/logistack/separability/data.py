"""Samples with their labels, as exactly as they were given."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import jax
import numpy as np

from logistack import _checks
from logistack.separability import rational

Label: TypeAlias = bool | int | float | str
Answer = TypeVar("Answer")


class Data(NamedTuple):
    """Samples with their labels, exactly."""

    inputs: rational.Columns
    own: np.ndarray
    """(samples,), the number of each one's class."""
    members: dict[Label, np.ndarray]
    """For every class in order, as Python's own value, the numbers of its samples."""

    @property
    def classes(self) -> tuple[Label, ...]:
        """In order, as Python's own values."""
        return tuple(self.members)


def data_of(inputs: Any, labels: Any) -> Data:
    """Checks samples and labels, and makes exact numbers of the samples."""
    columns = rational.columns_of("inputs", inputs)
    labels = labels_of(labels, len(columns.integers))
    classes, own = np.unique(labels, return_inverse=True)
    starts = np.cumsum(np.bincount(own))[:-1]
    members = np.split(np.argsort(own, kind="stable"), starts)
    return Data(columns, own, dict(zip(classes.tolist(), members, strict=True)))


def known_sides(
    data: Data, positive: Label | None, negative: Label | None
) -> tuple[Label | None, Label | None]:
    """The labels of two sides as Python's own values.

    With at most two classes the greater is positive, unless another is given. `negative` is None
    for all others, and `positive` where nothing says which of many classes it is.
    """
    positive, negative = _known("positive", positive, data), _known("negative", negative, data)
    if negative is not None and (positive is None or positive == negative):
        raise ValueError(f"negative: expected a label other than positive's, got {negative!r}")
    if positive is None and len(data.classes) <= 2:
        positive = data.classes[-1]
    return positive, negative


class Sides(NamedTuple):
    """Who takes part in a question on one class against another, or against all others."""

    part: np.ndarray
    """(samples,), whether each takes part."""
    positive: np.ndarray
    """Whether each that does is positive."""
    others: tuple[Label, ...] | None
    """The labels of the negative samples, if these are all others."""

    @classmethod
    def of(cls, data: Data, positive: Label, negative: Label | None) -> "Sides":
        """The sides of these labels."""
        sides = data.own == data.classes.index(positive)
        if negative is None:
            others = tuple(label for label in data.classes if label != positive)
            return cls(np.ones(len(sides), bool), sides, others)
        part = sides | (data.own == data.classes.index(negative))
        return cls(part, sides[part], None)


def pairs_and_rest(
    data: Data, ask: Callable[[Label, Label | None], Answer]
) -> tuple[dict[tuple[Label, Label], Answer], dict[Label, Answer]]:
    """The answers for each pair of classes, the second positive, and for each against the rest."""
    pairs = {(a, b): ask(b, a) for a, b in itertools.combinations(data.classes, 2)}
    return pairs, {label: ask(label, None) for label in data.classes}


def _known(name: str, label: Label | None, data: Data) -> Label | None:
    """The label as Python's own value."""
    if label is None:
        return None
    for known in data.classes:
        if known == label:
            return known
    raise ValueError(f"{name}: expected one of the labels {data.classes}, got {label!r}")


def labels_of(labels: Any, samples: int) -> np.ndarray:
    """Checks labels, one a sample: numbers, or strings, that are what they were before NumPy."""
    if isinstance(labels, jax.core.Tracer):
        raise TypeError(f"labels: expected concrete labels, got the tracer {labels}")
    if _checks.has_mask(labels):
        raise TypeError("labels: expected numbers or strings, got a masked array")
    given = labels
    labels = np.asarray(given)
    if labels.shape != (samples,):
        raise ValueError(f"labels: expected shape ({samples},), one a sample, got {labels.shape}")
    if labels.dtype == object and len(set(map(type, labels))) == 1:
        given = labels.tolist()
        labels = np.asarray(given)
    if labels.dtype.kind not in "biufU":
        raise TypeError(f"labels: expected numbers or strings, got dtype {labels.dtype}")
    if labels.dtype.kind == "f" and labels.dtype.itemsize > 8:
        raise TypeError(f"labels: expected numbers of at most 64 bits, got dtype {labels.dtype}")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        bad = samples - np.isfinite(labels).sum()
        raise ValueError(f"labels: expected finite values, got {bad} NaN or ±inf of {samples}")
    if not isinstance(given, np.ndarray | jax.Array):
        rational.require_unrounded("labels", list(given), labels.tolist())
    return labels
