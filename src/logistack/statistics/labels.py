"""The numbers of members, and the labels that say which of them belong together."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import ArrayLike

from logistack import _checks

# A label for each name: of a width and a learning rate, (8, 0.1).
Setting: TypeAlias = tuple[Any, ...]
Labels: TypeAlias = Sequence[Any] | ArrayLike


def require_values(values: Any) -> np.ndarray:
    """Returns one number for each member in float64; NaN and ±inf are let through."""
    _checks.require_numbers("values", values)
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or not numbers.size:
        raise ValueError(
            f"values: expected one number for each member, (members,), got shape {numbers.shape}"
        )
    return numbers


def read_labels(name: str, labels: Any, members: int) -> tuple[tuple[str, ...], list[Setting]]:
    """What the labels are called, and those of each member; `name` is the argument's."""
    if labels is None:
        return (), [()] * members
    named = labels if isinstance(labels, Mapping) else {name.removesuffix("s"): labels}
    columns = []
    for key, column in named.items():
        label = f"{name}[{key!r}]" if named is labels else name
        if isinstance(column, np.ndarray | jax.Array):
            column = column.tolist()
        if isinstance(column, str) or not isinstance(column, Sequence):
            raise TypeError(f"{label}: expected a label for each member, got {column!r}")
        if len(column) != members:
            raise ValueError(f"{label}: expected a label for each of {members} members, got "
                             f"{len(column)}")  # fmt: skip
        columns.append([_plain(label, each) for each in column])
    if not columns:
        raise ValueError(f"{name}: expected labels, got none")
    return tuple(map(str, named)), list(zip(*columns, strict=True))


def _plain(name: str, label: Any) -> Any:
    """A label that can be compared: a list as a tuple, and NumPy's numbers as Python's."""
    if isinstance(label, list | np.ndarray | jax.Array | np.generic):
        label = np.asarray(label).tolist()
    if isinstance(label, list | tuple):
        return tuple(_plain(name, part) for part in label)
    try:
        hash(label)
    except TypeError as error:
        raise TypeError(f"{name}: expected labels that can be hashed, got {label!r}") from error
    if label != label:
        raise ValueError(f"{name}: expected labels that equal themselves, got {label!r}")
    return label


def places_of(labels: list[Setting]) -> dict[Setting, list[int]]:
    """The members of each setting, in the order of its first one."""
    places: dict[Setting, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    return places
