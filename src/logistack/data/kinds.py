"""What a cell of a table is, and what a column of them holds: said here for all commands."""

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias

import numpy as np

Cell: TypeAlias = str | int | float
Kind: TypeAlias = Literal["nothing", "boolean", "number", "date", "text"]

NUMBER = re.compile(r"(?=[+-]?\.?[0-9])([+-]?[0-9]*+)(?:\.([0-9]*+))?(?:[eE]([+-]?[0-9]{1,600}))?")
"""What stands before the point, what behind it, and the exponent."""
MARKED = re.compile(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]*,[0-9]+)")
"""With commas between thousands, or for a decimal point."""
NOT_FINITE = re.compile(r"[+-]?(inf|infinity|nan)", re.IGNORECASE)
PLAIN = re.compile(r"[0-9.eE+\n-]*+")
"""Of these characters Python makes the number that `NUMBER` says it is, or an error."""
MISSING = {"", "na", "n/a", "<na>", "nan", "+nan", "-nan", "-nan(ind)", "nat", "null", "none", "?"}
MISSING |= {"#n/a", "#n/a n/a", "#na", "#div/0!", "#name?", "#null!", "#num!", "#ref!", "#value!"}
"""In any case; those with # are what spreadsheets write where a formula fails."""
BOOLEANS = {"false": 0, "true": 1}
"""In any case."""
POINT_FOR_COMMA = str.maketrans(",.", ".,")
DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2}(?:\.[0-9]+)?))?(?: ?(?:Z|UTC|[+-][0-9:]{2,6}))?)?"
)
"""As ISO 8601 writes it, with or without a time and its zone."""
UNSURE_DATE = re.compile(
    r"(?:[0-9]{4}([-/.])[0-9]{1,2}\1[0-9]{1,2}|[0-9]{1,2}([-/.])[0-9]{1,2}\2[0-9]{2,4})(?:[T ].*)?"
)
"""What looks like a date too, but may be read as another one."""
PARTS = ("year", "month", "day", "weekday", "hour")
"""What numbers a date is: the weekday from 1 for Monday on, the hour with its minutes behind the
point."""


def is_missing(cell: Cell) -> bool:
    """Whether a cell says that there is no value."""
    return str(cell).lower() in MISSING


def is_boolean(cell: Cell, decimal: str = ".") -> bool:
    """Whether a cell is true or false."""
    return str(cell).lower() in BOOLEANS


def is_number(cell: Cell, decimal: str = ".") -> bool:
    """Whether a cell is a finite number, of however many digits."""
    return math.isfinite(cell) if not isinstance(cell, str) else bool(parts(cell, decimal))


def is_marked(cell: Cell, decimal: str = ".") -> bool:
    """Whether a cell would be a number with marks of thousands, or with the other decimal mark."""
    text = str(cell)
    return bool(MARKED.fullmatch(text if decimal == "." else text.translate(POINT_FOR_COMMA)))


def is_date(cell: Cell, decimal: str = ".") -> bool:
    """Whether a cell is a date that there is, written as 2024-02-01, with or without a time."""
    return not math.isnan(_parts_of(cell)[0])


def parts(text: str, decimal: str) -> re.Match[str] | None:
    """The parts of a number, as `NUMBER` has them."""
    return NUMBER.fullmatch(text if decimal == "." else text.translate(POINT_FOR_COMMA))


def kind_of(cells: Iterable[Cell], decimal: str) -> Kind:
    """What the cells of a column are that are not missing, if they are all alike; or else text.

    Infinity counts as a number, which is then one that cannot be computed with.
    """
    known = [cell for cell in cells if not is_missing(cell)]
    if not known:
        return "nothing"
    kinds: dict[Kind, Callable[[Cell], bool]] = {
        "boolean": is_boolean,
        "number": lambda cell: is_number(cell, decimal) or bool(NOT_FINITE.fullmatch(str(cell))),
        "date": is_date,
    }
    return next((kind for kind, fits in kinds.items() if all(map(fits, known))), "text")


def booleans(cells: Sequence[Cell]) -> np.ndarray:
    """(cells,) of 1 and 0, and NaN for what is neither true nor false."""
    return np.array([BOOLEANS.get(str(cell).lower(), np.nan) for cell in cells], np.float64)


def floats(cells: Sequence[Cell], decimal: str) -> np.ndarray:
    """(cells,) of the nearest float64, and NaN for what is not a number or is beyond them."""
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "iuf":
        return _finite(cells)
    try:  # Nearly all columns can be looked at as a whole, which is ten times as fast.
        if decimal == "." and PLAIN.fullmatch("\n".join(cells)):  # type: ignore[arg-type]
            return _finite([float(cell or "nan") for cell in cells])
    except (TypeError, ValueError):
        pass
    return _finite([_float(cell, decimal) for cell in cells])


def dates(cells: Sequence[Cell]) -> np.ndarray:
    """(cells, parts), what the calendar and the clock of the place say; NaN for no date.

    The zone of a time is not looked at: the hour is the one that is written.
    """
    return np.array([*map(_parts_of, cells)], np.float64).reshape(-1, len(PARTS))


def _float(cell: Cell, decimal: str) -> float:
    if not is_number(cell, decimal):
        return math.nan
    if isinstance(cell, str) and decimal == ",":
        cell = cell.translate(POINT_FOR_COMMA)
    return float(cell)


def _finite(values: Any) -> np.ndarray:
    array = np.array(values, np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def _parts_of(cell: Cell) -> tuple[float, ...]:
    found = DATE.fullmatch(cell) if isinstance(cell, str) else None
    if found:
        *whole, second = (float(part) for part in found.groups("0"))
        year, month, day, hour, minute = map(int, whole)
        with contextlib.suppress(ValueError):  # as of the 30th of February
            date = datetime(year, month, day, hour, minute, int(second))
            clock = hour + minute / 60 + second / 3600
            return year, month, day, date.isoweekday(), clock
    return (math.nan,) * len(PARTS)
