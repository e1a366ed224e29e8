"""Is a line enough? The certificate of a table's complete rows, and columns that give it away."""

import contextlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from logistack import separability
from logistack.data import design as designs
from logistack.data import kinds
from logistack.data import table as tables
from logistack.data.design import Design
from logistack.data.sources import Reading
from logistack.data.table import Feature, Table
from logistack.reporting.columns import Column
from logistack.reporting.sides import ranks
from logistack.separability import MultinomialSeparator, Separator, words
from logistack.separability.rational import Columns

UNDECIDED = "not decided"
HARD = 5
"""Of the questions about more than two classes, two by two and one by one, so many take long."""
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
        leaks: the columns that separate the classes alone, which is proven.
        samples: inputs and labels of the certificate.
        dates: the columns of dates, which take no part: another line may use them.
        coefficients: of a quasi-complete separation, what the estimate of each does, in words.
        pairs: of more than two labels, whether a line separates each two of them, and each one
            from all others; None where that is not proven.
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
    pairs: Sequence[tuple[tuple[Any, ...], bool | None]] = ()

    @property
    def proven(self) -> bool:
        """Whether the answer is more than that of floating point."""
        found = self.certificate
        return found is not None and getattr(found, "multinomial", found).proven


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
        budget: seconds for the proof, and as many for the kind of separation, where few of the
            questions that they consist of take long.
    """
    dates = [own.name for own in columns if own.kind == "date"]
    leaks = leaks_of(table, target, columns, places)

    def without(text: str, rows: int = 0, left_out: int = 0) -> Line:
        return Line(None, UNDECIDED, "", text, [], rows, left_out, [], leaks, dates=dates)

    kept = [
        (place, own)
        for place, own in zip(places, columns, strict=True)
        if own.used and own.kind != "date"
    ]
    if not kept:
        return without("There are no columns but dates, of which nothing is proven.")
    try:
        complete, left_out = designs.without_missing(table, [target, *(place for place, _ in kept)])
    except ValueError:
        lacking = len(table.columns[0])
        text = f"Every row misses a value, so there is nothing to prove. {gaps(columns)}"
        return without(text, 0, lacking)
    in_file = tuple(sorted([*table.places(left_out), *unlabeled.tolist()]))
    features = [feature for one in kept for feature in _features(complete, *one)]
    design = Design(complete, target, tuple(features), in_file)
    inputs, labels = design.inputs(), design.labels()
    count = len(np.unique(labels))
    rows = len(labels)
    if count > MOST_CLASSES:
        text = f"With {count} labels there are too many pairs of them to prove each."
        return without(text, rows, len(left_out))
    if count < 2:
        text = f"The rows without a missing value have one label alone. {gaps(columns)}"
        return without(text, rows, len(left_out))
    each = budget if count == 2 else budget / HARD
    try:
        found: Any = separability.certify(inputs, labels, budget=each)
    except TimeoutError:
        return without("Time ran out before there was an answer.", rows, len(left_out))
    except ValueError as error:
        return without(f"There is no answer: {error}.", rows, len(left_out))
    whole = found if count == 2 else found.multinomial
    kind, coefficients = "", ""
    if whole.proven and isinstance(whole, Separator | MultinomialSeparator):
        kind = words.COMPLETE
    else:
        with contextlib.suppress(TimeoutError, ValueError):
            apart: Any = separability.separation(inputs, labels, budget=each)
            one = apart if count == 2 else apart.multinomial
            kind = one.kind
            if kind == words.QUASI:
                coefficients = one.table(design.names)
    said = [found.describe(labels, design.names)]
    absent = np.setdiff1d(tables.labels(table, target), labels).tolist()
    if absent:
        said.append(f"Every row labeled {words.listed(absent)} misses a value, and takes no part.")
    if dates:
        said.append(f"Columns of dates are left out of this: {', '.join(dates)}.")
    return Line(
        found,
        whole.verdict,
        kind,
        "\n".join(said),
        [place + 1 for place in complete.places(list(found.support(inputs, labels)))],
        rows,
        len(left_out),
        design.names,
        leaks,
        (inputs, labels),
        designs.content(design, reading),
        dates,
        coefficients,
        [] if count == 2 else [
            *((own, _separable(part)) for own, part in found.pairs.items()),
            *(((own,), _separable(part)) for own, part in found.rest.items()),
        ],
    )  # fmt: skip


def gaps(columns: Sequence[Column]) -> str:
    """Without which column more rows would take part, in a sentence."""
    worst = max(columns, key=lambda own: own.missing * (own.used and own.kind != "date"))
    return (
        f"The column {worst.name or '(no name)'} has no value in {worst.missing:,} rows: more can "
        "take part without it (--ignore)."
    )


def _separable(part: Any) -> bool | None:
    return isinstance(part, Separator) if part.proven else None


def _features(table: Table, place: int, column: Column) -> tuple[Feature, ...]:
    """The numbers that a column is for a certificate."""
    if column.kind == "category":
        return designs.indicators(table, [place], keep=False)
    return (Feature(place),)


def leaks_of(
    table: Table, target: int, columns: Sequence[Column], places: Sequence[int]
) -> list[str]:
    """The columns that alone separate the classes of all rows in which they have a value.

    Those that have none in most rows do not count, for few rows are separated by chance; but what
    is missing in the rows of one class, and only there, separates both. A date is looked at as a
    day, and by its parts.

    Args:
        table: the rows that have a label.
        target: the place of the labels' column.
        columns: what each column but the target holds.
        places: where these are in the table.
    """
    labels = tables.labels(table, target)
    found = []
    for place, column in zip(places, columns, strict=True):
        if not column.used:
            continue
        cells, codes = tables.different(table.columns[place])
        lacks = table.lacks if column.kind == "category" else kinds.is_missing
        missing = np.array([lacks(cell) for cell in cells])[codes]
        known = np.flatnonzero(~missing)
        views = _views(table.taken(known), place, column) if 2 * len(known) >= len(labels) else ()
        if separates(_numbered(missing), labels) or any(
            separates(own, labels[known]) for own in views
        ):
            found.append(column.name)
    return found


def _views(table: Table, place: int, column: Column) -> Iterator[Columns]:
    """The numbers that a column is, in each way that it may be looked at."""
    if column.kind != "date":
        yield tables.numbers(table, _features(table, place, column))
        return
    cells, codes = tables.different(table.columns[place])
    parts = kinds.dates(cells)
    hour = kinds.PARTS.index("hour")
    days = parts[:, [kinds.PARTS.index(name) for name in ("year", "month", "day")] + [hour]]
    yield _numbered(np.unique(days, axis=0, return_inverse=True)[1].ravel()[codes])
    for own in parts.T:
        yield _numbered(ranks(own)[codes])


def _numbered(values: np.ndarray) -> Columns:
    return Columns(values[:, None].astype(np.int64), [Fraction(1)])


def separates(inputs: Columns, labels: np.ndarray) -> bool:
    """Whether one number, or indicators of which at most one is 1, separate two classes or more.

    The numbers of each class are between those of the others, and so are apart for the scores
    k x − bₖ; or no two classes have the same indicator, which is the score of its class. These
    are integers, so that it is proven.
    """
    rows = inputs.integers
    if rows.shape[1] > 1:
        values = rows @ np.arange(1, rows.shape[1] + 1)
        which = ranks(labels)
        seen = np.unique(np.stack([values, which], axis=1), axis=0)
        return bool(which.max() > 0) and len(seen) == len(np.unique(values))
    order = np.argsort(rows[:, 0], kind="stable")
    values, ordered = rows[order, 0], labels[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    classes = len(np.unique(labels))
    # Each class is one run, and no two have a number in common.
    alone = all(values[starts[1:]] > values[starts[1:] - 1])
    return classes > 1 and len(starts) == classes and alone
