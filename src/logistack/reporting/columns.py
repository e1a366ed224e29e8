"""The columns of a table by what they hold: numbers, categories, or nothing to learn from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from logistack._checks import import_extra
from logistack.data import sources
from logistack.data import table as tables
from logistack.data.table import Table

Kind: TypeAlias = Literal["number", "category", "left out"]

MOST_LEVELS = 50
"""A column of more different texts is left out: an indicator for each would be learned by heart."""
NAMES = "its text is another in every row, as a name is"
"""Why a column of names is left out."""
DATE = r"\d{4}-\d{1,2}-\d{1,2}([T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}( .*)?"


class Column(NamedTuple):
    """What a column holds.

    Attributes:
        name: what it is called.
        kind: how a model sees it.
        why: why it is left out, in words; empty if it is not.
        missing: in how many rows it has no value.
        distinct: how many different values it has beside.
        levels: its different texts in order, if it is a category.
        low: its least number.
        high: its greatest number.
    """

    name: str
    kind: Kind
    why: str
    missing: int
    distinct: int
    levels: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None


def table_of(data: Any, **reading: Any) -> Table:
    """The table in a file, or of a frame of pandas or Polars.

    Raises:
        TypeError: if it is neither.
        ValueError: if it has no rows, or what `sources.read` raises.
    """
    if isinstance(data, str | Path):
        return sources.read(Path(data), **reading)
    if not hasattr(data, "columns") or not hasattr(data, "to_dict"):
        raise TypeError(f"data: expected a path or a frame, got {type(data).__name__}")
    names = tuple(map(str, data.columns))
    if not len(data) or not names:
        raise ValueError(f"data: expected rows and columns, got a frame of shape {data.shape}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"data: expected columns of different names, got {twice!r} twice")
    columns = tuple(_cells(data[name].to_list()) for name in data.columns)
    return Table("the frame", names, columns, first_row=False)


def _cells(values: list[Any]) -> np.ndarray:
    """The cells of a column of a frame: numbers if all are, else text, empty where missing."""
    if all(
        isinstance(value, int | float | np.number) and type(value) is not bool and value == value
        for value in values
    ):
        return np.array(values)
    texts = [
        "" if value is None or value != value or str(value) in ("NaT", "<NA>") else str(value)
        for value in values
    ]
    return np.array(texts, object)


def column_of(table: Table, place: int) -> Column:
    """What a column holds, as its cells tell."""
    name, pandas = str(table.names[place]), import_extra("pandas", "report")
    cells, codes = tables.different(table.columns[place])
    lacking = np.array([tables.is_missing(cell) for cell in cells])
    missing = int(lacking[codes].sum())
    known = [cell for cell, lacks in zip(cells, lacking, strict=True) if not lacks]
    rows = len(codes)

    def of(kind: Kind, why: str = "", **more: Any) -> Column:
        return Column(name, kind, why, missing, len(known), **more)

    if not known:
        return of("left out", "it has no value")
    if len(known) == 1 and not missing:
        return of("left out", "it is the same in every row")
    if all(str(cell).lower() in tables.BOOLEANS for cell in known):
        return of("number", low=0.0, high=1.0)
    if all(tables.is_number(cell, table.decimal) for cell in known):
        numbers = _floats(known, table.decimal)
        infinite = not np.isfinite(numbers).all()
        if infinite:
            return of("left out", "it has numbers beyond those of float64")
        return of("number", low=float(numbers.min()), high=float(numbers.max()))
    texts = sorted(map(str, known))
    if pandas.Series(texts).str.fullmatch(DATE).all():
        return of("left out", "it has dates, from which nothing is learned here")
    if len(texts) > 1 and len(texts) == rows - missing:
        return of("left out", NAMES)
    if len(texts) > MOST_LEVELS:
        return of("left out", f"it has {len(texts):,} different texts")
    return of("category", levels=tuple(texts))


def _floats(cells: Sequence[Any], decimal: str) -> np.ndarray:
    mark = str.maketrans({",": "."}) if decimal == "," else {}
    return np.array(
        [float(cell.translate(mark)) if isinstance(cell, str) else float(cell) for cell in cells]
    )


def frame_of(table: Table, columns: Sequence[Column], places: Sequence[int]) -> Any:
    """A pandas frame of the columns that take part: float64, or text with None where missing."""
    pandas = import_extra("pandas", "report")
    parts = {}
    for column, place in zip(columns, places, strict=True):
        if column.kind == "left out":
            continue
        cells, codes = tables.different(table.columns[place])
        lacks = [tables.is_missing(cell) for cell in cells]
        if column.kind == "category":
            values: Any = np.array(
                [None if lack else str(cell) for cell, lack in zip(cells, lacks, strict=True)],
                object,
            )
        else:
            values = np.array(
                [
                    np.nan if lack else _number(cell, table.decimal)
                    for cell, lack in zip(cells, lacks, strict=True)
                ]
            )
        parts[column.name] = values[codes]
    return pandas.DataFrame(parts)


def _number(cell: Any, decimal: str) -> float:
    truth = tables.BOOLEANS.get(str(cell).lower())
    return float(_floats([cell], decimal)[0]) if truth is None else float(truth)
