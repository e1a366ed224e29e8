"""Is a line enough? The certificate of a table's complete rows, and features that give it away."""

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from logistack import separability
from logistack.cli.question import Reading
from logistack.cli.samples import content
from logistack.data import design as designs
from logistack.data import table as tables
from logistack.data.design import Design
from logistack.data.table import Feature, Table
from logistack.reporting.columns import Column
from logistack.separability import ClassCertificates, MultinomialSeparator, Separator
from logistack.separability.words import QUASI

LEAK_BUDGET = 1.0
"""Seconds for the proof that a column alone separates the labels."""
UNDECIDED = "not decided"
MOST_CLASSES = 20
"""More have hundreds of pairs."""


class Line(NamedTuple):
    """Whether a line separates the classes.

    Attributes:
        certificate: the proof, or None if time ran out or there are too many classes.
        answer: in a few words.
        kind: of the separation: `"complete"`, `"quasi-complete"`, `"overlap"`, or `""` unknown.
        words: what it says, in sentences.
        support: the numbers of the rows that it rests on.
        rows: how many rows took part.
        left_out: how many were left out since they miss a value.
        features: what each coordinate is called.
        leaks: the features that separate the classes alone, which is certified.
        samples: inputs and labels of the certificate.
        dates: the columns of dates, which take no part: another line may use them.
        coefficients: of a quasi-complete separation, what the estimate of each does, in words.
        pairs: of more than two labels, whether a line separates each two of them, and each one
            from all others.
        asked: what `logistack verify` reads beside the proof: which columns and rows it is of.
    """

    certificate: Any
    answer: str
    kind: str
    words: str
    support: list[int]
    rows: int
    left_out: int
    features: list[str]
    leaks: list[str]
    samples: Any = None
    asked: dict[str, Any] = {}  # noqa: RUF012 (nothing changes it)
    dates: Sequence[str] = ()
    coefficients: str = ""
    pairs: Sequence[tuple[tuple[Any, ...], bool]] = ()


def line_of(
    table: Table,
    target: int,
    columns: list[Column],
    places: list[int],
    unlabeled: np.ndarray,
    reading: Reading,
    *,
    budget: float = 10.0,
) -> Line:
    """Certifies the rows without a missing value.

    Args:
        table: the rows that have a label.
        target: the place of the labels' column.
        columns: what each column but the target holds.
        places: where these are in the table.
        unlabeled: where the rows without a label are in the file.
        reading: how it was read.
        budget: seconds for the proof, and for the kind of separation.
    """
    dates = [own.name for own in columns if own.kind == "date"]
    kept = [
        place
        for place, own in zip(places, columns, strict=True)
        if own.kind not in ("date", "left out")
    ]
    if not kept:
        text = "There are no columns but dates, of which nothing is certified."
        return Line(None, UNDECIDED, "", text, [], 0, 0, [], [], dates=dates)
    try:
        complete, left_out = designs.without_missing(table, [target, *kept])
    except ValueError:
        text = "Every row misses a value, so there is nothing to certify."
        return Line(None, UNDECIDED, "", text, [], 0, len(table.columns[0]), [], [], dates=dates)
    in_file = tuple(sorted([*table.places(left_out), *unlabeled.tolist()]))
    features: list[Feature] = []
    for place, column in zip(places, columns, strict=True):
        if column.kind == "category":
            features += designs.indicators(complete, [place], keep=False)
        elif place in kept:
            features.append(Feature(place))
    design = Design(complete, target, tuple(features), in_file)
    inputs, labels = design.inputs(), design.labels()
    count = len(np.unique(labels))
    rows = len(labels)

    def without(text: str) -> Line:
        return Line(
            None, UNDECIDED, "", text, [], rows, len(left_out), design.names, [], dates=dates
        )

    if count > MOST_CLASSES:
        return without(f"With {count} labels there are too many pairs to certify.")
    if count < 2:
        return without("The rows without a missing value have one label alone.")
    try:
        found: Any = separability.certify(inputs, labels, budget=budget)
    except ValueError as error:
        return without(f"There is no answer: {error}.")
    kind, coefficients = "", ""
    with contextlib.suppress(ValueError):  # of a budget that is spent
        apart: Any = separability.separation(inputs, labels, budget=budget)
        one = apart if count == 2 else apart.multinomial
        kind = one.kind
        if kind == QUASI:
            coefficients = one.table(design.names)
    without_dates = f"\nDates take no part in this: {', '.join(dates)}." if dates else ""
    leaks = []
    for place in dict.fromkeys(feature.column for feature in features):
        own = tuple(feature for feature in features if feature.column == place)
        alone = tables.numbers(complete, own)
        if _may_separate(alone, labels) and _separate(alone, labels):
            leaks.append(str(table.names[place]))
    return Line(
        found,
        (found if count == 2 else found.multinomial).verdict,
        kind,
        found.describe(labels, design.names) + without_dates,
        [place + 1 for place in complete.places(list(found.support(inputs, labels)))],
        rows,
        len(left_out),
        design.names,
        leaks,
        (inputs, labels),
        content(design, reading),
        dates,
        coefficients,
        [] if count == 2 else [
            *((own, isinstance(part, Separator)) for own, part in found.pairs.items()),
            *(((own,), isinstance(part, Separator)) for own, part in found.rest.items()),
        ],
    )  # fmt: skip


def _may_separate(inputs: Any, labels: np.ndarray) -> bool:
    """Whether the labels can be told by one feature, or by several of which one is 1 in a row."""
    rows = np.asarray(inputs.integers)
    values = rows[:, 0] if rows.shape[1] == 1 else rows @ np.arange(1, rows.shape[1] + 1)
    ends = sorted((values[labels == own].min(), values[labels == own].max())
                  for own in np.unique(labels))  # fmt: skip
    if rows.shape[1] > 1:
        return len(np.unique(values)) == sum(
            len(np.unique(values[labels == own])) for own in np.unique(labels)
        )
    return all(before[1] < after[0] for before, after in itertools.pairwise(ends))


def _separate(inputs: Any, labels: np.ndarray) -> bool:
    """Whether these features alone separate the classes with a line, as a certificate says."""
    try:
        found: Any = separability.certify(inputs, labels, budget=LEAK_BUDGET)
    except ValueError:
        return False
    if isinstance(found, ClassCertificates):
        found = found.multinomial
    return found.proven and isinstance(found, Separator | MultinomialSeparator)
