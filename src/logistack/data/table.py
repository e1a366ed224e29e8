"""Tables: columns with names, of which exact numbers and labels are made without a guess."""

import functools
import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple, TypeAlias

import numpy as np

from logistack._checks import import_extra
from logistack.data import kinds
from logistack.data.kinds import Cell, is_missing, is_number
from logistack.separability.rational import Columns

Name: TypeAlias = str | int
"""Of a column: from the header, or its position in a table without one, from 0 on."""
INTEGER = re.compile(r"[+-]?[0-9]+")
DIGITS = 5_000
"""Before the point or behind it no number has more: 1e999999999 would fill the memory."""
TOO_LONG = f"numbers of at most {DIGITS:,} digits, without an exponent"
CHARACTERS = 1_000
"""No label has more: NumPy makes all texts of an array as long as the longest."""
SHOWN = 3
"""Rows that an error names."""


class ColumnError(ValueError):
    """What is wrong with some columns, of which the message describes the first."""

    def __init__(self, words: str, columns: Sequence[int]) -> None:
        super().__init__(words)
        self.columns = columns
        """Their places in the table."""


class Table(NamedTuple):
    """Columns of equal length."""

    source: str
    """What errors call it: the path of a file."""
    names: tuple[Name, ...]
    columns: tuple[np.ndarray, ...]
    """Each (samples,), of str with no blanks at the ends; or of integers or floats, as given."""
    decimal: str = "."
    """The decimal mark of numbers in text."""
    first_row: bool = True
    """Whether the names come from a first row, which may be a sample instead."""
    missing: bool = True
    """Whether labels and levels such as NA are missing ones, and not texts."""
    rows: np.ndarray | None = None
    """The places of the rows in the file, from 0 on, if these are not all."""

    def places(self, rows: Sequence[int]) -> list[int]:
        """Where some rows are in the file, from 0 on."""
        return list(rows) if self.rows is None else self.rows[list(rows)].tolist()

    def taken(self, rows: np.ndarray) -> "Table":
        """The table of some rows, by their places."""
        columns = tuple(own[rows] for own in self.columns)
        return self._replace(columns=columns, rows=rows if self.rows is None else self.rows[rows])

    def lacks(self, cell: Cell) -> bool:
        """Whether a label or a level is missing."""
        return is_missing(cell) if self.missing or isinstance(cell, float) else cell == ""

    def error(self, column: int, words: str) -> ColumnError:
        """What is wrong with a column."""
        return ColumnError(f"{self.source}: column {self.names[column]!r}: {words}", [column])


class Feature(NamedTuple):
    """The numbers of a column, or which of its texts are one level of it."""

    column: int
    """Its place in the table."""
    level: str | None = None

    def name(self, table: Table) -> str:
        """What sentences call it."""
        name = str(table.names[self.column])
        return name if self.level is None else f"{name}={self.level}"


def numbers(table: Table, features: Sequence[Feature]) -> Columns:
    """The numbers of some features, exactly as they are written.

    Returns:
        (samples, features). Where every cell of a column is true or false, these are 1 and 0; of a
        level, 1 is where a cell is it.

    Raises:
        ColumnError: if a cell is not a finite number, or one of more than 5,000 digits.
    """
    found, wrong, words = [], [], ""
    # A column has many levels, and its cells are told apart once for all of them.
    known = functools.cache(lambda column: different(table.columns[column]))
    for column, level in features:
        try:
            found.append(_numbers(table, column) if level is None else _is(*known(column), level))
        except ColumnError as error:
            wrong.append(column)
            words = words or str(error)
    if len(wrong) > 1:
        words += f"; {len(wrong) - 1:,} more column{'s' * (len(wrong) > 2)} like this"
    if wrong:
        raise ColumnError(words, wrong)
    integers = np.stack([values for values, _ in found], axis=1)
    return Columns(integers, [unit for _, unit in found])


def _numbers(table: Table, column: int) -> tuple[np.ndarray, Fraction]:
    """The integers of a column, and the unit that makes them its numbers."""
    cells, codes = different(table.columns[column])
    if all(map(kinds.is_boolean, cells)):
        return kinds.booleans(cells).astype(np.int64)[codes], Fraction(1)
    ratios = [_ratio(cell, table.decimal) for cell in cells]
    if None in ratios:
        expected: dict[str, Callable[[Cell], bool]] = {
            "a number in every row": lambda cell: (
                not is_missing(cell) and not kinds.NOT_FINITE.fullmatch(str(cell))
            ),
            "numbers": lambda cell: is_number(cell, table.decimal),
            TOO_LONG: lambda cell: _ratio(cell, table.decimal) is not None,
        }
        for what, good in expected.items():
            require(table, column, what, [cell for cell in cells if not good(cell)])
    integers, denominator = _over_one_denominator(ratios)
    wide = max(max(integers), -min(integers)) >= 1 << 62
    return np.array(integers, object if wide else np.int64)[codes], Fraction(1, denominator)


def _is(cells: Sequence[Cell], codes: np.ndarray, level: str) -> tuple[np.ndarray, Fraction]:
    return np.array([int(str(cell) == level) for cell in cells])[codes], Fraction(1)


def labels(table: Table, column: int) -> np.ndarray:
    """The labels of a column.

    Returns:
        (samples,). If every label is a number, equal numbers are one label, however they are
        written: integers if all are whole, and text again if one of these has more than 64 bits;
        floats if not all are whole. Any other labels are text.

    Raises:
        ColumnError: if a label is missing, two different numbers are one float64, or one has more
            than 5,000 digits.
    """
    cells, codes = different(table.columns[column])
    require(table, column, "a label in every row", list(filter(table.lacks, cells)))
    if not all(is_number(cell, table.decimal) for cell in cells):
        return _texts(table, column, cells)[codes]
    ratios = [_ratio(cell, table.decimal) for cell in cells]
    too_long = [cell for cell, ratio in zip(cells, ratios, strict=True) if ratio is None]
    require(table, column, TOO_LONG, too_long)
    integers, denominator = _over_one_denominator(ratios)
    if denominator == 1 and max(max(integers), -min(integers)) < 1 << 63:
        return np.array(integers, np.int64)[codes]
    if denominator == 1:
        spellings = dict(zip(reversed(integers), reversed(cells), strict=True))
        return _texts(table, column, [spellings[value] for value in integers])[codes]
    floats = [_nearest(value, denominator) for value in integers]
    infinite = [cell for cell, value in zip(cells, floats, strict=True) if math.isinf(value)]
    require(table, column, "labels that float64 holds", infinite)
    known: dict[float, tuple[int, Cell]] = {}
    for value, integer, cell in zip(floats, integers, cells, strict=True):
        other, first = known.setdefault(value, (integer, cell))
        if other != integer:
            rows = (_rows(table, column, [one]) for one in (first, cell))
            raise table.error(
                column, f"expected labels that float64 tells apart, got {' and '.join(rows)}"
            )
    return np.array(floats)[codes]


def _texts(table: Table, column: int, cells: Sequence[Cell]) -> np.ndarray:
    long = [cell for cell in cells if len(str(cell)) > CHARACTERS]
    require(table, column, f"labels of at most {CHARACTERS:,} characters", long)
    return np.array([str(cell) for cell in cells])


def label_of(text: str, decimal: str = ".") -> int | float | None:
    """The label that `labels` makes of a number, or None if the text is none."""
    ratio = _ratio(text, decimal)
    if ratio is None:
        return None
    (integer,), denominator = _over_one_denominator([ratio])
    return integer if denominator == 1 else _nearest(integer, denominator)


def _ratio(cell: Cell, decimal: str) -> tuple[int, int] | None:
    """Numerator and denominator, a power of ten for a text, or None if there is no such number."""
    if not isinstance(cell, str):
        return cell.as_integer_ratio() if math.isfinite(cell) else None
    parts = kinds.parts(cell, decimal)
    if parts is None:
        return None
    whole, fraction, exponent = parts.groups("")
    places = len(fraction) - int(exponent or 0)
    digits = whole + fraction
    if max(len(digits.lstrip("+-")) - places, places, len(fraction)) > DIGITS:
        return None
    # Of long texts Python's `int` makes an error; a decimal has as many digits as there are.
    integer = int(digits) if len(digits) < 600 else int(Decimal(digits))
    return (integer, 10**places) if places > 0 else (integer * 10**-places, 1)


def _over_one_denominator(ratios: Sequence[tuple[int, int] | None]) -> tuple[list[int], int]:
    """Integers, and the least denominator that makes them these numbers."""
    known = [ratio for ratio in ratios if ratio is not None]
    denominator = math.lcm(*{low for _, low in known})
    integers = [high * (denominator // low) for high, low in known]
    shared = math.gcd(denominator, *integers)
    return [value // shared for value in integers], denominator // shared


def _nearest(numerator: int, denominator: int) -> float:
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf


def known_names(table: Table) -> str:
    """What columns a table has, to go behind its source in an error."""
    if isinstance(table.names[0], int):
        return f"has the columns 0 to {len(table.names) - 1}, or -{len(table.names)} to -1"
    names = ", ".join(short(str(name)) for name in table.names[:12])
    return f"has the {len(table.names)} columns {names}{', ...' * (len(table.names) > 12)}"


def find(table: Table, text: str) -> int | None:
    """The place of a column by its name or else its position, negative from the end; or None."""
    count = len(table.names)
    if text in table.names:
        return table.names.index(text)
    if INTEGER.fullmatch(text) and len(text) < 20 and -count <= int(text) < count:
        return int(text) % count
    return None


def place_of(table: Table, option: str, text: str | int) -> int:
    """The place of the column that an option names.

    Raises:
        ValueError: if there is none.
    """
    column = find(table, str(text))
    if column is None:
        raise ValueError(
            f"{option}: no column {text!r} in {table.source}, which {known_names(table)}"
        )
    return column


def different(cells: np.ndarray) -> tuple[list[Cell], np.ndarray]:
    """The different cells of a column, and which of them each cell is."""
    codes, values = import_extra("pandas", "cli").factorize(cells, use_na_sentinel=False)
    return values.tolist(), codes


def require(table: Table, column: int, what: str, bad: Sequence[Cell]) -> None:
    """Raises ColumnError for the cells of a column that are bad, if there are any."""
    if bad:
        raise table.error(column, f"expected {what}, got {_rows(table, column, bad)}")


def _rows(table: Table, column: int, bad: Sequence[Cell]) -> str:
    """Where some cells stand; rows are counted from 1, a header not among them."""
    wanted, texts = set(map(str, bad)), list(map(str, table.columns[column].tolist()))
    rows = [row for row, text in enumerate(texts) if text in wanted]
    words = [
        f"{short(texts[row]) if texts[row] else 'an empty cell'} in row {number + 1}"
        for row, number in zip(rows, table.places(rows[:SHOWN]), strict=False)
    ]
    more = f", and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return ", ".join(words) + more


def short(text: str) -> str:
    """A text that an error quotes."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
