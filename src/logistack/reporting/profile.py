"""What there is to know of a table before anything is learned from it."""

from typing import Any, NamedTuple

import numpy as np

from logistack.reporting.columns import Column

FEW = 50
"""Rows of a class below which its scores say little."""


class Profile(NamedTuple):
    """The data in one screen.

    Attributes:
        rows: how many rows have a label.
        unlabeled: how many rows were left out since they have none, by number.
        marks: the texts that are taken for no label, other than none.
        columns: what each column but the target holds.
        classes: how many rows each label has.
        duplicates: how many rows equal an earlier one, label included.
        contradictions: sets of rows with equal features and different labels, by number.
        unavoidable: how many rows every classifier of these features gets wrong.
        rare: the rows that were left out since too few have their label, by label and number.
    """

    rows: int
    unlabeled: list[int]
    marks: list[str]
    columns: list[Column]
    classes: dict[Any, int]
    duplicates: int
    contradictions: list[list[int]]
    unavoidable: int
    rare: dict[Any, list[int]]


def profile_of(
    frame: Any,
    labels: np.ndarray,
    columns: list[Column],
    rows: np.ndarray,
    unlabeled: list[int],
    marks: list[str],
    rare: dict[Any, list[int]],
) -> Profile:
    """Counts what is equal among the rows.

    Args:
        frame: the features that take part.
        labels: of each row.
        columns: all columns but the target.
        rows: the number of each row in the table, from 1 on.
        unlabeled: the numbers of the rows without a label.
        marks: the texts that these have in its place.
        rare: those of the rows whose label too few have, by label.
    """
    names, counts = np.unique(labels, return_counts=True)
    # Missing values are equal to each other here.
    same = frame.groupby(list(frame.columns), dropna=False, sort=False).ngroup().to_numpy()
    code = np.unique(labels, return_inverse=True)[1]
    table = np.zeros((same.max() + 1, len(names)), int)
    np.add.at(table, (same, code), 1)
    mixed = np.flatnonzero((table > 0).sum(axis=1) > 1)
    return Profile(
        rows=len(labels),
        unlabeled=unlabeled,
        marks=marks,
        columns=columns,
        classes=dict(zip(names.tolist(), counts.tolist(), strict=True)),
        duplicates=int(len(labels) - (table > 0).sum()),
        contradictions=[rows[same == which].tolist() for which in mixed],
        unavoidable=int((table.sum(axis=1) - table.max(axis=1)).sum()),
        rare=rare,
    )
