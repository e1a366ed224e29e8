"""The columns of a table by what is learned from them: numbers, categories, dates, or nothing."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from logistack._checks import import_extra
from logistack.data import kinds
from logistack.data import table as tables
from logistack.data.design import FEWEST_NUMBERED
from logistack.data.table import Table

Kind: TypeAlias = Literal["number", "boolean", "date", "category", "left out"]

MOST_LEVELS = 50
"""A column of more different texts is left out: an indicator for each would be learned by heart."""
NAMES = "it has a different text in every row, like a name"
"""Why a column of names is left out."""
UNSURE = "it has dates that may be misread: write them as 2024-02-01"
"""Why a column of dates is left out that have more than one meaning."""
MARKED = "it has numbers such as "
"""How it begins why a column of numbers is left out whose commas have more than one meaning."""
COUNTS = "it numbers the rows"
"""Why a column of numbers from 1 on is left out."""
EXPECTED = {
    "number": "numbers",
    "boolean": "true or false",
    "date": "dates such as 2024-02-01",
}
"""What the cells of a column are of which numbers are made."""


class Column(NamedTuple):
    """What a column holds.

    Attributes:
        name: what it is called.
        kind: how a model sees it.
        why: why it is left out, in words; empty if it is not.
        missing: in how many rows it has no value.
        distinct: how many different values it has beside.
        levels: its different texts in order, if it is a category.
        low: its least number, or first day.
        high: its greatest number, or last day.
        parts: of a date, the name of each part, its least number and its greatest.
        marks: the texts of a category that are taken for a missing value, other than none.
    """

    name: str
    kind: Kind
    why: str
    missing: int
    distinct: int
    levels: tuple[str, ...] = ()
    low: float | str | None = None
    high: float | str | None = None
    parts: tuple[tuple[str, float, float], ...] = ()
    marks: tuple[str, ...] = ()

    @property
    def used(self) -> bool:
        """Whether it is learned from."""
        return self.kind != "left out"

    @property
    def learned(self) -> list[int]:
        """Which parts of a date tell rows apart; the first if none does, for it may be missing."""
        return [at for at, (_, low, high) in enumerate(self.parts) if low < high] or [0]

    @property
    def features(self) -> list[str]:
        """The columns of a frame that are made of it."""
        if not self.used:
            return []
        if self.kind == "date":
            return [f"{self.name}: {self.parts[at][0]}" for at in self.learned]
        return [self.name]

    @property
    def holds(self) -> str:
        """The same in words."""
        if not self.used:
            return f"left out: {self.why}"
        if self.kind == "date":
            names = ", ".join(self.parts[at][0] for at in self.learned)
            return f"dates from {self.low} to {self.high}, as {names}"
        if self.kind == "number":
            if self.low == self.high:
                return f"{number(self.low)}, wherever it has a value"
            return f"numbers from {number(self.low)} to {number(self.high)}"
        if self.kind == "boolean":
            return "true or false"
        levels = ", ".join(self.levels[:6]) + ", …" * (len(self.levels) > 6)
        return levels + (f"; missing where it says {', '.join(self.marks)}" if self.marks else "")


def number(value: Any) -> str:
    """A number as readers write it, of up to six digits where it is not whole."""
    if value == round(value) and abs(value) < 1e15:
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}"
    return f"{value:,.6g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.3g}"


def column_of(table: Table, place: int) -> Column:
    """What a column holds, as its cells tell."""
    cells, codes = tables.different(table.columns[place])
    kind = kinds.kind_of(cells, table.decimal)
    lacks = kinds.is_missing
    if kind in ("nothing", "text") and not all(map(table.lacks, cells)):
        kind, lacks = "text", table.lacks
    lacking = np.array([lacks(cell) for cell in cells])
    missing = int(lacking[codes].sum())
    known = [cell for cell, lack in zip(cells, lacking, strict=True) if not lack]

    # However they are written, 1 and 1.0 are the same, and so are true and TRUE.
    values: Any = np.array(known, object)
    if kind == "number":
        values = kinds.floats(known, table.decimal)
    elif kind == "boolean":
        values = kinds.booleans(known)
    distinct = len(set(values.tolist()))

    def of(kind: Kind, why: str = "", **more: Any) -> Column:
        return Column(str(table.names[place]), kind, why, missing, distinct, **more)

    if kind == "nothing":
        return of("left out", "it has no value")
    if distinct == 1 and not missing:
        return of("left out", "it is the same in every row")
    if kind == "boolean":
        return of("boolean", low=0.0, high=1.0)
    if kind == "number":
        if np.isnan(values).any():
            return of("left out", "it has numbers beyond those of float64")
        if not missing and _count_rows(table, values[codes]):
            return of("left out", COUNTS)
        return of("number", low=float(values.min()), high=float(values.max()))
    texts = sorted(map(str, known))
    if kind == "date":
        parts = kinds.dates(known)
        ranges = zip(
            kinds.PARTS, parts.min(axis=0).tolist(), parts.max(axis=0).tolist(), strict=True
        )
        return of("date", low=texts[0][:10], high=texts[-1][:10], parts=tuple(ranges))
    if all(map(kinds.UNSURE_DATE.fullmatch, texts)):
        return of("left out", UNSURE)
    marked = [text for text in texts if kinds.is_marked(text, table.decimal)]
    if len(marked) + sum(kinds.is_number(text, table.decimal) for text in texts) == len(texts):
        mark = "." if table.decimal == "," else ","
        why = (
            f"{MARKED}{marked[0]}: say --decimal {mark} if {mark} is the decimal "
            "mark, and else write them without marks of thousands"
        )
        return of("left out", why)
    if len(texts) > 1 and len(texts) == len(codes) - missing:
        return of("left out", NAMES)
    if len(texts) > MOST_LEVELS:
        why = f"it has {len(texts):,} different texts, such as {tables.short(texts[0])}"
        return of("left out", why)
    marks = sorted(str(cell) for cell in cells if lacks(cell) and isinstance(cell, str) and cell)
    return of("category", levels=tuple(texts), marks=tuple(marks))


def columns_of(table: Table, places: Sequence[int]) -> list[Column]:
    """What columns hold; of those with the same values in every row, all but the first is left out.

    Args:
        table: the rows that have a label.
        places: where the columns are.
    """
    found = [column_of(table, place) for place in places]
    alike: dict[Column, list[int]] = {}  # as far as their names leave it open
    for at, column in enumerate(found):
        if column.used:
            alike.setdefault(column._replace(name=""), []).append(at)
    for group in alike.values():
        firsts: list[tuple[int, np.ndarray]] = []
        for at in group if len(group) > 1 else ():
            values = values_of(table, found[at], places[at])
            numbers = values.dtype.kind == "f"
            same = [one for one, own in firsts if np.array_equal(own, values, equal_nan=numbers)]
            if same:
                why = f"it has the same value as {found[same[0]].name or '(no name)'} in every row"
                found[at] = found[at]._replace(kind="left out", why=why)
            else:
                firsts.append((at, values))
    return found


def _count_rows(table: Table, numbers: np.ndarray) -> bool:
    """Whether numbers rise or fall by 1 from row to row, as an index that was saved does."""
    places = np.array(table.places(range(len(numbers))))
    alike = (np.ptp(numbers - places) == 0, np.ptp(numbers + places) == 0)
    return len(numbers) >= FEWEST_NUMBERED and any(alike)


def values_of(table: Table, column: Column, place: int) -> np.ndarray:
    """What a column says in each row, for a model that has learned from one of its kind.

    Returns:
        `(n,)` text, None where missing, of a category; `(n, 1)` numbers, or `(n, parts)` of a
        date, NaN where missing.

    Raises:
        ColumnError: if a cell is of another kind; it names the rows.
    """
    own = table.columns[place]
    cells: Any = own
    codes: Any = ...
    if own.dtype.kind not in "iuf":
        cells, codes = tables.different(own)
    if column.kind == "category":
        texts = [
            None if kinds.is_missing(cell) and cell not in column.levels else str(cell)
            for cell in cells
        ]
        return np.array(texts, object)[codes]
    make: dict[str, Callable[[Sequence[Any]], np.ndarray]] = {
        "number": lambda cells: kinds.floats(cells, table.decimal),
        "boolean": kinds.booleans,
        "date": kinds.dates,
    }
    found = make[column.kind](cells).reshape(len(cells), -1)
    unknown = [cells[at] for at in np.flatnonzero(np.isnan(found[:, 0]))]
    what = f"{EXPECTED[column.kind]}, as the model has learned from"
    tables.require(table, place, what, [cell for cell in unknown if not kinds.is_missing(cell)])
    return found[codes]


def places_of(table: Table, columns: Sequence[Column]) -> list[int]:
    """Where the columns that a model needs are in a table.

    Raises:
        ValueError: if one is not there.
    """
    places = []
    for column in columns:
        place = tables.find(table, column.name)
        if place is None:
            raise ValueError(
                f"{table.source}: no column {column.name!r}, which the model needs: it "
                f"{tables.known_names(table)}"
            )
        places.append(place)
    return places


def frame_of(table: Table, columns: Sequence[Column], places: Sequence[int]) -> Any:
    """A pandas frame of what is learned from: float64, or text with None where missing.

    Raises:
        ColumnError: if a cell is of another kind than its column was.
        ValueError: if a column has the name of a part of another.
    """
    kept = [one for one in zip(columns, places, strict=True) if one[0].used]
    names = [name for own, _ in kept for name in own.features]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"{table.source}: expected no column {twice!r} beside the part of a date that is "
            "called so: give one another name"
        )
    return framed([own for own, _ in kept], [values_of(table, *one) for one in kept])


def framed(columns: Sequence[Column], values: Sequence[np.ndarray]) -> Any:
    """The frame of columns whose values are known."""
    parts = {}
    for column, own in zip(columns, values, strict=True):
        places = column.learned if column.kind == "date" else [0]
        for name, at in zip(column.features, places, strict=True):
            parts[name] = own if own.ndim == 1 else own[:, at]
    return import_extra("pandas", "report").DataFrame(parts)
