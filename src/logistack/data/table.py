"""Tables: columns with names, of which numbers and labels are made without a guess.

A CSV file is read as text, so that nothing is rounded, dropped or guessed before it is looked at.
"""

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from logistack._checks import import_extra

Name: TypeAlias = str | int
"""Of a column: from the header, or its position in a table without one, from 0 on."""
NUMBER = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,4000}))?")
INTEGER = re.compile(r"[+-]?[0-9]+")
NOT_FINITE = re.compile(r"[+-]?(inf|infinity|nan)", re.IGNORECASE)
MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "?"}
"""In any case."""
BOOLEANS = {"false": 0.0, "true": 1.0}
"""In any case."""
WHOLE = 2**53
"""Below, no two integers are one float64."""
SHOWN = 3
"""Rows that an error names."""


class Table(NamedTuple):
    """Columns of equal length."""

    source: str
    """What errors call it: the path of a file."""
    names: tuple[Name, ...]
    columns: tuple[np.ndarray, ...]
    """Each (samples,); of str, blanks at the ends taken off, if the table comes from text."""

    def error(self, column: int, words: str) -> ValueError:
        """What is wrong with a column."""
        return ValueError(f"{self.source}: column {self.names[column]!r}: {words}")


class NumbersError(ValueError):
    """Columns that are not numbers, the first of which the message describes."""

    def __init__(self, words: str, columns: Sequence[int]) -> None:
        super().__init__(words)
        self.columns = columns
        """Their places in the table."""


def read(path: Path, *, header: bool = True) -> Table:
    """Reads a table of samples, one a row, from a CSV file.

    Args:
        path: a file in UTF-8, its columns separated by tabs, semicolons or commas: the first of
            these that the first line contains.
        header: whether the first row has the names of the columns; they go by position if not.

    Raises:
        ValueError: if it is not such a file, has no samples, or two columns have the same name.
        ModuleNotFoundError: if pandas is not installed.
        OSError: if the file cannot be read.
    """
    columns = _read_csv(path)
    if not header:
        return Table(str(path), tuple(range(len(columns))), columns)
    names = tuple(column[0] for column in columns)
    if len(columns[0]) == 1:
        raise ValueError(f"{path}: expected samples, got one row alone, which is the header")
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"{path}: expected columns of different names, got {names.count(twice)} columns "
            f"{twice!r} (the first row was taken for a header)"
        )
    return Table(str(path), names, tuple(column[1:] for column in columns))


def _read_csv(path: Path) -> tuple[np.ndarray, ...]:
    """The columns of a CSV file, as text."""
    pandas = import_extra("pandas", "cli")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ValueError(
            f"{path}: expected UTF-8 text, got the byte 0x{byte:02x} at position {error.start:,}"
        ) from error
    if "\0" in text:
        raise ValueError(f"{path}: expected text, got the byte 0x00")
    first = re.search(r"\S[^\r\n]*", text)
    if first is None:
        raise ValueError(f"{path}: the file is empty")
    unquoted = re.sub(r'"[^"]*"', "", first[0])
    separator = next((mark for mark in "\t;," if mark in unquoted), None)
    if separator is None:
        raise ValueError(
            f"{path}: expected columns separated by tabs, semicolons or commas, got none of these "
            f"in the first line, {_short(first[0])}"
        )
    try:
        # Of a row that is too short, pandas makes one that ends in empty cells.
        frame = pandas.read_csv(
            io.StringIO(text),
            sep=separator,
            header=None,
            dtype=object,
            na_filter=False,
            skipinitialspace=True,
        )
    except pandas.errors.ParserError as error:
        words = str(error).split("C error: ")[-1].strip()
        raise ValueError(f"{path}: expected rows as long as the first: {words}") from error
    columns = []
    for _, column in frame.items():
        codes, texts = pandas.factorize(column.to_numpy())
        columns.append(np.array([text.strip() for text in texts], object)[codes])
    return tuple(columns)


def numbers(table: Table, columns: Sequence[int]) -> np.ndarray:
    """The numbers of some columns, as the nearest float64 of every cell.

    A cell of at least 2⁵³ that float64 would round is an error, unless it is what a program
    writes for that float, such as 1e+23; and so are two different numbers that are one float64.

    Returns:
        (samples, columns), float64. Where every cell of a column is true or false, these are 1
        and 0.

    Raises:
        NumbersError: if a cell is not a finite number, or would be rounded or merged so.
    """
    values = np.empty((len(table.columns[0]), len(columns)))
    wrong, words = [], ""
    for place, column in enumerate(columns):
        try:
            values[:, place] = _numbers(table, column)
        except ValueError as error:
            wrong.append(column)
            words = words or str(error)
    if len(wrong) > 1:
        words += f"; {len(wrong) - 1:,} more column{'s' * (len(wrong) > 2)} like this"
    if wrong:
        raise NumbersError(words, wrong)
    return values


def _numbers(table: Table, column: int) -> np.ndarray:
    texts, codes = _different(table.columns[column])
    if all(text.lower() in BOOLEANS for text in texts):
        return np.array([BOOLEANS[text.lower()] for text in texts])[codes]
    values = {text: float(text) for text in texts if NUMBER.fullmatch(text)}
    expected: dict[str, Callable[[str], bool]] = {
        "a number in every row": lambda text: (
            text.lower() not in MISSING and not NOT_FINITE.fullmatch(text)
        ),
        "numbers": lambda text: text in values,
        "numbers that float64 holds": lambda text: bool(np.isfinite(values[text])),
        "integers that float64 holds exactly": lambda text: _survives(text, values[text]),
    }
    for what, good in expected.items():
        bad = [text for text in texts if not good(text)]
        if bad:
            raise table.error(column, f"expected {what}, got {_rows(table.columns[column], bad)}")
    if len(set(values.values())) < len(values):
        _require_apart(table, column, texts, "numbers")
    return np.array([values[text] for text in texts])[codes]


def _require_apart(table: Table, column: int, texts: Sequence[str], kind: str) -> None:
    """Raises ValueError for two different numbers that are one float64."""
    known: dict[float, str] = {}
    for text in texts:
        other = known.setdefault(float(text), text)
        if _decimal(other) != _decimal(text):
            cells = table.columns[column]
            raise table.error(
                column,
                f"expected {kind} that float64 tells apart, got {_rows(cells, [other])} and "
                f"{_rows(cells, [text])}",
            )


def _survives(text: str, value: float) -> bool:
    """Whether a number of at least 2⁵³ is the float that is made of its text.

    An integer has to be the float itself. With a point or an exponent it may be the float rounded
    to as many digits, as programs write it: 1e+23 is 99999999999999991611392.
    """
    if abs(value) < WHOLE or _decimal(text) == _decimal(str(int(value))):
        return True
    digits = len(_decimal(text)[1])
    return not INTEGER.fullmatch(text) and _decimal(text) == _decimal(f"{value:.{digits - 1}e}")


def _decimal(text: str) -> tuple[str, str, int]:
    """Sign, digits and exponent of a number, the same for the same number however written."""
    found = NUMBER.fullmatch(text)
    assert found is not None
    sign, mantissa, exponent = found[1], found[2], int(found[3] or 0)
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    short = digits.rstrip("0")
    if not short:
        return "", "", 0
    return sign.strip("+"), short, exponent - len(fraction) + len(digits) - len(short)


def labels(table: Table, column: int) -> np.ndarray:
    """The labels of a column.

    Returns:
        (samples,), integers or floats if every label is a number below 2⁵³; text if not.

    Raises:
        ValueError: if a label is missing, or two different numbers are one float64.
    """
    cells = table.columns[column]
    texts, codes = _different(cells)
    missing = [text for text in texts if text.lower() in MISSING]
    if missing:
        raise table.error(column, f"expected a label in every row, got {_rows(cells, missing)}")
    if not all(NUMBER.fullmatch(text) and abs(float(text)) < WHOLE for text in texts):
        return np.array(texts)[codes]
    _require_apart(table, column, texts, "labels")
    values = np.array([float(text) for text in texts])
    whole = (values == np.round(values)).all()
    return (values.astype(np.int64) if whole else values)[codes]


def known_names(table: Table) -> str:
    """What columns a table has, to go behind its source in an error."""
    if isinstance(table.names[0], int):
        return f"has the columns 0 to {len(table.names) - 1}, or -{len(table.names)} to -1"
    names = ", ".join(map(repr, table.names[:12]))
    return f"has the {len(table.names)} columns {names}{', ...' * (len(table.names) > 12)}"


def find(table: Table, text: str) -> int | None:
    """The place of a column by its name or else its position, negative from the end; or None."""
    count = len(table.names)
    if text in table.names:
        return table.names.index(text)
    if INTEGER.fullmatch(text) and len(text) < 20 and -count <= int(text) < count:
        return int(text) % count
    return None


def _different(cells: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The different texts of a column, and which of them each cell is."""
    codes, texts = import_extra("pandas", "cli").factorize(cells)
    return texts.tolist(), codes


def _rows(cells: np.ndarray, texts: Sequence[str]) -> str:
    """Where some texts stand; rows are counted from 1, a header not among them."""
    wanted = set(texts)
    rows = [row for row, text in enumerate(cells) if text in wanted]
    words = [
        f"{_short(cells[row]) if cells[row] else 'an empty cell'} in row {row + 1}"
        for row in rows[:SHOWN]
    ]
    more = f", and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return ", ".join(words) + more


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
