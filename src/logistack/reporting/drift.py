"""Another table beside the one that was learned from: are its rows like these?"""

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from logistack._checks import import_extra
from logistack.reporting.evaluation import scored

LEVEL = 0.05
"""The share of tables without drift in which some column is said to have drifted."""


class Moved(NamedTuple):
    """A column whose values in the other table are not distributed as in the first.

    Attributes:
        name: of the column.
        distance: how far the distributions are apart, from 0 to 1: of numbers the largest
            difference of their distribution functions, of categories the share that would have to
            change.
        p: how likely such a distance is without drift, times the number of columns, at most 1.
    """

    name: str
    distance: float
    p: float


class Drift(NamedTuple):
    """What another table shows.

    Attributes:
        source: what it is called.
        rows: how many rows it has.
        columns: how many columns were compared.
        moved: those that are not distributed as before, the farthest first.
        labeled: how many rows have a label that the model knows.
        unknown: how many have another one.
        scores: of the delivered model on the labeled rows; empty if there are none.
    """

    source: str
    rows: int
    columns: int
    moved: list[Moved]
    labeled: int
    unknown: int
    scores: dict[str, float]


def moved(before: Any, after: Any) -> list[Moved]:
    """The columns of a frame whose values are distributed otherwise in another one.

    A missing value counts as one of its own. Of numbers it is the test of Kolmogorov and Smirnov,
    of categories the χ² test; p values are multiplied by the number of columns (Bonferroni).
    """
    types = import_extra("pandas", "report").api.types
    found = []
    for name in before.columns:
        one, two = before[name], after[name]
        if not types.is_numeric_dtype(one):
            distance, p = _of_categories(one.fillna(""), two.fillna(""))
        else:
            test = stats.ks_2samp(one.fillna(-np.inf), two.fillna(-np.inf), method="asymp")
            distance, p = test.statistic, test.pvalue
        p = min(1.0, float(p) * len(before.columns))
        if p < LEVEL:
            found.append(Moved(str(name), float(distance), p))
    return sorted(found, key=lambda own: -own.distance)


def _of_categories(one: Any, two: Any) -> tuple[float, float]:
    levels = np.union1d(one.unique(), two.unique())
    counts = np.array([own.value_counts().reindex(levels, fill_value=0) for own in (one, two)])
    if len(levels) < 2:
        return 0.0, 1.0
    shares = counts / counts.sum(axis=1, keepdims=True)
    return np.abs(shares[0] - shares[1]).sum() / 2, stats.chi2_contingency(counts).pvalue


def drift_of(
    source: str,
    before: Any,
    after: Any,
    codes: np.ndarray,
    probabilities: np.ndarray,
) -> Drift:
    """Compares the tables, and scores the model on the second.

    Args:
        source: what the second is called.
        before: the features learned from.
        after: those of the second, with the same columns.
        codes: the labels of the second as 0 … K − 1, −1 without one, −2 for one that is unknown.
        probabilities: what the model says of its rows, `(n, classes)`.
    """
    known = codes >= 0
    return Drift(
        source=source,
        rows=len(after),
        columns=len(before.columns),
        moved=moved(before, after),
        labeled=int(known.sum()),
        unknown=int((codes == -2).sum()),
        scores=scored(codes[known], probabilities[known]) if known.any() else {},
    )
