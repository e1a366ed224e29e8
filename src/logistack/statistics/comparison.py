"""One setting beside another over the same runs: is there a difference, and how large?"""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Real

from logistack import _checks
from logistack.statistics.labels import (
    Labels,
    Setting,
    places_of,
    read_labels,
    require_values,
)
from logistack.statistics.tables import data_frame, rounded, table, told, word


class Difference(NamedTuple):
    """One setting beside another, over the same runs; prints as a sentence.

    Attributes:
        first: the one setting.
        second: the other.
        runs: how many runs both have.
        not_finite: the runs of which either's value is NaN or ±inf. All else is about the rest.
        difference: the mean of first − second.
        low: where its interval begins.
        high: where it ends.
        p: the p value of no difference, times the number of pairs compared, and at most 1.
    """

    first: Setting
    second: Setting
    runs: int
    not_finite: tuple[Setting, ...]
    difference: float
    low: float
    high: float
    p: float

    @property
    def shown(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0

    @property
    def words(self) -> str:
        """What is shown: which is larger and by how much, or that no difference is."""
        if np.isnan(self.low):
            return "nothing can be said"
        if not self.shown:
            return "no difference shown"
        larger, smaller = (self.first, self.second)[:: 1 if self.difference > 0 else -1]
        return f"{word(larger)} is larger than {word(smaller)} by {abs(self.difference):.3g}"

    def __str__(self) -> str:
        text, low, high = self.words, self.low, self.high
        if not self.shown:
            text = f"{word(self.first)} and {word(self.second)}: {text}"
        elif high < 0:  # of second − first, as the words have it
            low, high = -high, -low
        if not np.isnan(low):
            text += f" ({rounded(low, 3)} to {rounded(high, 3)}, {_p(self.p)})"
        note = told("run", self.not_finite)
        return f"{text}; {note}" if note else text


class Comparison(NamedTuple):
    """Settings beside each other, pair by pair; prints as a table.

    Attributes:
        names: what the labels of a setting are called.
        rows: one for each pair.
        confidence: with which all the intervals hold at once.
    """

    names: tuple[str, ...]
    rows: tuple[Difference, ...]
    confidence: float

    def to_frame(self) -> Any:
        """A pandas data frame: a column for each attribute of a row, and for what it shows.

        The labels of a setting are in columns of their own, such as `first width`.

        Raises:
            ModuleNotFoundError: if pandas is not installed.
        """
        sides = [f"{side} {name}" for side in ("first", "second") for name in self.names]
        return data_frame(
            [*sides, *Difference._fields[2:], "words"],
            [(*row.first, *row.second, *row[2:], row.words) for row in self.rows],
        )

    def __str__(self) -> str:
        title = ", ".join(self.names)
        interval = f"{100 * self.confidence:g}% interval"
        header = [f"{title} (first)", "(second)", "runs", "difference", interval, "p"]
        lines = [
            [
                word(row.first),
                word(row.second),
                f"{row.runs}",
                rounded(row.difference, 3),
                f"{rounded(row.low, 3)} to {rounded(row.high, 3)}",
                _p(row.p).removeprefix("p ").removeprefix("= "),
            ]
            for row in self.rows
        ]
        notes = [
            "; ".join(filter(None, [row.words, told("run", row.not_finite)])) for row in self.rows
        ]
        return table(header, lines, notes)


def compare(
    values: Real[ArrayLike, " members"],
    settings: Mapping[str, Labels] | Labels,
    runs: Mapping[str, Labels] | Labels,
    *,
    test_over_train: float | None = None,
    against: Any = None,
    confidence: float = 0.95,
) -> Comparison:
    """Compares settings over the same runs: mean difference, interval and p value, pair by pair.

    With the differences d₁ … d_J of a pair of settings, their mean d̄ and variance s²,

        t = d̄ / √((1/J + n₂/n₁) s²)

    has Student's distribution with J − 1 degrees of freedom if there is no difference. n₂/n₁ is 0
    where the runs are independent of each other, as seeds are for one division into training and
    test samples: the paired t-test. Folds are not, since their training samples overlap: the
    variance of their mean is larger than s²/J, and the plain test finds differences that are not
    there. The corrected resampled t-test has n₂ test samples and n₁ training samples a run.

    With m pairs, each has the interval of confidence 1 − α/m and its p value times m (Bonferroni),
    so that no difference is claimed wrongly, in any of the pairs, with probability 1 − α. Holm's p
    values would be smaller for some, but have no intervals that agree with them: here p is below α
    exactly where the interval leaves 0 out.

    Args:
        values: one number a member, such as its test error.
        settings: of which setting each member is, as in `summarize`.
        runs: of which run, that is fold, seed, or both by name: `{"repeat": …, "fold": …}`. Values
            of the same run are those that are compared.

    Other Arguments:
        test_over_train: n₂/n₁ where runs share training samples: 1/(k − 1) for k folds, repeated
            or not. None is 0.
        against: one setting with which to compare every other, as it is in the rows, such as
            `(8,)`, or its only label; all pairs are compared if None.
        confidence: with which all intervals hold, above 0 and below 1.

    Returns:
        A `Comparison`, which prints as a table and has `rows` and `to_frame()`. A row prints as a
        sentence: "no difference shown" where its interval holds 0, and else which is larger.
        Where fewer than two runs have finite values, all its figures are NaN. Where all
        differences are the same, other than 0, p is 0, which is the limit and no more than that.

    Raises:
        ValueError: if a shape or a number of labels does not fit, a setting has a run twice or not
            the runs of the others, or there are not two settings.
        TypeError: if `values` are no real numbers.

    Source: Nadeau & Bengio 2003, "Inference for the generalization error", Machine Learning 52
    (corrected resampled t-test); Bouckaert & Frank 2004, "Evaluating the replicability
    of significance tests for comparing learning algorithms" (repeated folds).

    >>> errors = [0.10, 0.12, 0.11, 0.075, 0.075, 0.08]
    >>> widths, folds = {"width": [8, 8, 8, 16, 16, 16]}, [0, 1, 2, 0, 1, 2]
    >>> print(compare(errors, widths, folds).rows[0])
    8 is larger than 16 by 0.0333 (0.00748 to 0.0592, p = 0.031)
    >>> print(compare(errors, widths, folds, test_over_train=1 / 2).rows[0])
    8 and 16: no difference shown (−0.00755 to 0.0742, p = 0.073)
    """
    from scipy import stats

    numbers = require_values(values)
    names, settings_of = read_labels("settings", settings, len(numbers))
    _, runs_of = read_labels("runs", runs, len(numbers))
    shared = _checks.require_scalar(
        "test_over_train", 0.0 if test_over_train is None else test_over_train, low=0
    )
    confidence = _checks.require_inside("confidence", confidence)
    all_runs, by_setting = _by_run(numbers, settings_of, runs_of)
    pairs = _pairs(list(by_setting), against)
    rows = []
    for first, second in pairs:
        differences = by_setting[first] - by_setting[second]
        finite = differences[np.isfinite(differences)]
        count = len(finite)
        low = high = p = np.nan
        if count > 1:
            mean = finite.mean()
            error = standard_error(finite, shared)
            half = error * stats.t.isf((1 - confidence) / 2 / len(pairs), count - 1)
            low, high = mean - half, mean + half
            p = 2 * stats.t.sf(abs(mean) / error, count - 1) if error else float(mean == 0)
        rows.append(
            Difference(
                first,
                second,
                len(differences),
                tuple(all_runs[place] for place in np.flatnonzero(~np.isfinite(differences))),
                float(finite.mean()) if count else np.nan,
                float(low),
                float(high),
                float(np.minimum(1, len(pairs) * p)),
            )
        )
    return Comparison(names, tuple(rows), confidence)


def standard_error(values: np.ndarray, shared: float) -> float:
    """That of the mean of runs, √((1/J + n₂/n₁) s²), whose training samples are shared."""
    return float(np.sqrt((1 / len(values) + shared) * values.var(ddof=1)))


def _by_run(
    numbers: np.ndarray, settings: list[Setting], runs: list[Setting]
) -> tuple[list[Setting], dict[Setting, np.ndarray]]:
    """The runs, and of each setting the values in their order."""
    all_runs = list(dict.fromkeys(runs))
    values = {}
    for setting, places in places_of(settings).items():
        own = {runs[place]: place for place in places}
        twice = next((runs[place] for place in places if own[runs[place]] != place), None)
        if twice is not None:
            raise ValueError(
                f"runs: expected a run once in a setting, got {word(twice)} twice in "
                f"{word(setting)}"
            )
        missing = next((run for run in all_runs if run not in own), None)
        if missing is not None:
            raise ValueError(
                f"runs: expected the same for every setting, got none {word(missing)} in "
                f"{word(setting)}"
            )
        of_runs = numbers[[own[run] for run in all_runs]]
        values[setting] = np.where(np.isfinite(of_runs), of_runs, np.nan)  # ∞ − ∞ is a warning
    return all_runs, values


def _pairs(settings: list[Setting], against: Any) -> list[tuple[Setting, Setting]]:
    if len(settings) < 2:
        raise ValueError(f"settings: expected at least two, got {len(settings)}")
    if against is None:
        return list(itertools.combinations(settings, 2))
    other = against if against in settings else (against,)
    if other not in settings:
        raise ValueError(f"against: expected one of the settings, got {against!r}")
    return [(setting, other) for setting in settings if setting != other]


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
