"""Which rows are learned from and which are held out."""

import itertools
from typing import Any, NamedTuple

import numpy as np

from logistack._checks import import_extra

Splits = list[tuple[np.ndarray, np.ndarray]]


class Sides(NamedTuple):
    """What binds rows to a side of a fold.

    Attributes:
        groups: of which group each row is, `(n,)`: one is never on both sides; None if rows are
            independent.
        times: when each row was, `(n,)` in whole numbers: what is held out comes later than what is
            learned from; None if it does not matter.
    """

    groups: np.ndarray | None = None
    times: np.ndarray | None = None

    def taken(self, rows: np.ndarray) -> "Sides":
        """Those of some rows."""
        return Sides(*(None if own is None else own[rows] for own in self))

    def splits(self, codes: np.ndarray, folds: int, seed: int) -> Splits:
        """The rows to learn from, and those held out, of each fold.

        Folds have as many of each label as they can. In time, the rows are cut into one part more
        than folds, and each part but the first is held out once, with all before it to learn from;
        a fold before which some label has fewer than two rows is left out.

        Args:
            codes: the labels as 0 … K − 1, `(n,)`.
            folds: how many.
            seed: of the draw, which time does not need.

        Raises:
            ValueError: if there is no fold with two labels to learn from.
        """
        if self.times is not None:
            return _forward(codes, self.times, folds)
        selection = import_extra("sklearn.model_selection", "report")
        grouped = self.groups is not None
        kind = selection.StratifiedGroupKFold if grouped else selection.StratifiedKFold
        if self.groups is not None and len(np.unique(self.groups)) < folds:
            raise ValueError(
                f"group: expected at least {folds} groups, got {len(np.unique(self.groups))}"
            )
        cut = kind(folds, shuffle=True, random_state=seed)
        splits = list(cut.split(np.zeros((len(codes), 1)), codes, self.groups))
        if any(len(np.unique(codes[train])) < 2 or not len(test) for train, test in splits):
            raise ValueError(
                "group: expected labels to vary within more than one group, got groups of which "
                "those outside some fold have one label alone"
            )
        return splits


def _forward(codes: np.ndarray, times: np.ndarray, folds: int) -> Splits:
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    # Rows of one time stay together.
    cuts = {int(np.searchsorted(ordered, ordered[len(order) * k // (folds + 1)]))
            for k in range(1, folds + 1)}  # fmt: skip
    splits = []
    for start, end in itertools.pairwise([*sorted(cuts - {0}), len(order)]):
        if np.bincount(codes[order[:start]], minlength=codes.max() + 1).min() >= 2:
            splits.append((np.sort(order[:start]), np.sort(order[start:end])))
    if not splits:
        raise ValueError(
            "time: expected two rows of every label before some later ones, got labels that do "
            "not lie so in time"
        )
    return splits


def inner(sides: Sides, codes: np.ndarray, folds: int, seed: int) -> Splits:
    """Folds to tune on: as `splits`, or stratified ones where the rows allow none of that kind."""
    try:
        return sides.splits(codes, folds, seed)
    except ValueError:
        return Sides().splits(codes, folds, seed)


def ranks(cells: Any) -> np.ndarray:
    """The place of each cell among the different ones in order, in whole numbers."""
    return np.unique(cells, return_inverse=True)[1]
