"""Checks of the arguments of figures."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from logistack import _checks


class Samples(NamedTuple):
    """Samples and their classes.

    Attributes:
        inputs: `(n, features)`, float64.
        ranks: `(n,)`, each sample's class as an index of `classes`.
        classes: the labels of the classes in words, in order.
    """

    inputs: np.ndarray
    ranks: np.ndarray
    classes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What the classes are called in a legend."""
        return tuple(f"class {label}" for label in self.classes)


def shaped(name: str, values: ArrayLike, *shape: int | str) -> np.ndarray:
    """Returns `values` as a NumPy array of this shape, in which equal words are equal lengths."""
    array = np.asarray(values)
    lengths: dict[int | str, int] = {size: size for size in shape if isinstance(size, int)}
    if array.ndim != len(shape) or not all(
        0 < got == lengths.setdefault(wanted, got)
        for wanted, got in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise ValueError(f"{name}: expected shape ({wanted}), got {array.shape}")
    return array


def class_names(name: str, classes: Sequence[str] | None, count: int) -> list[str]:
    """Names for so many classes: those given, or 0, 1, …."""
    names = [str(index) for index in range(count)] if classes is None else list(classes)
    if len(names) != count:
        raise ValueError(f"{name}: expected {count} names, got {len(names)}")
    return names


def require_samples(inputs: ArrayLike, labels: ArrayLike, features: int | str) -> Samples:
    """Returns samples and their classes, after checking that they are finite and labeled.

    Args:
        inputs: `(n, features)`.
        labels: `(n,)` of any dtype that has an order. Of 0 and 1, one stands for two classes too.
        features: the expected number of features, or a word for any number.

    Returns:
        The samples.
    """
    _checks.require_numbers("inputs", inputs)
    rows = shaped("inputs", inputs, "n", features).astype(np.float64)
    _checks.require_finite("inputs", rows)
    marks = shaped("labels", labels, len(rows))
    if marks.dtype.kind not in "biufU":
        raise TypeError(f"labels: expected classes, got dtype {marks.dtype}")
    if marks.dtype.kind == "f":
        _checks.require_finite("labels", marks)
    found, ranks = np.unique(marks, return_inverse=True)
    if marks.dtype.kind in "bi" and set(found.tolist()) <= {0, 1}:
        found, ranks = np.arange(2), marks.astype(int)
    names = (f"{label:g}" if isinstance(label, float) else str(label) for label in found.tolist())
    return Samples(rows, ranks, tuple(names))
