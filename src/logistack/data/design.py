"""What of a table a question is about: its samples, their labels and their features."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from logistack.data import kinds
from logistack.data import table as tables
from logistack.data.sources import Reading
from logistack.data.table import Feature, Table
from logistack.separability import words
from logistack.separability.rational import Columns

MOST_LEVELS = 1_000
"""A column of more different texts is rather a name than a category."""
FEWEST_NUMBERED = 10
"""Of fewer samples a feature may well be in order."""


class Design(NamedTuple):
    """The columns and rows of a table that take part."""

    table: Table
    """With no other rows."""
    target: int
    """The place of the labels' column."""
    features: tuple[Feature, ...]
    left_out: tuple[int, ...] = ()
    """The rows of the file that miss a value, and take no part."""

    @property
    def names(self) -> list[str]:
        """Those of the features."""
        return [feature.name(self.table) for feature in self.features]

    def inputs(self) -> Columns:
        """Of shape (samples, features)."""
        return tables.numbers(self.table, self.features)

    def labels(self) -> np.ndarray:
        """Of shape (samples,)."""
        return tables.labels(self.table, self.target)

    def unused(self) -> list[tables.Name]:
        """The columns that take no part."""
        used = {self.target, *(feature.column for feature in self.features)}
        return [name for place, name in enumerate(self.table.names) if place not in used]


def without_missing(table: Table, columns: Sequence[int]) -> tuple[Table, tuple[int, ...]]:
    """The table without the rows in which a column misses a value, and which rows these are.

    Args:
        table: the table.
        columns: the places of the columns, the labels' first.

    Raises:
        ValueError: if no row is left.
    """
    lacking = np.zeros(len(table.columns[0]), bool)
    for number, column in enumerate(columns):
        cells, codes = tables.different(table.columns[column])
        # Of numbers an NA is always missing; it may be a label or a level.
        text = number == 0 or is_text(table, column)
        lacks = table.lacks if text else kinds.is_missing
        lacking |= np.array([lacks(cell) for cell in cells])[codes]
    if lacking.all():
        raise ValueError(f"{table.source}: expected a row without a missing value, got none")
    if not lacking.any():
        return table, ()
    return table.taken(np.flatnonzero(~lacking)), tuple(np.flatnonzero(lacking).tolist())


def is_text(table: Table, column: int) -> bool:
    """Whether a column has texts that are no numbers, and not only true and false."""
    cells, _ = tables.different(table.columns[column])
    return kinds.kind_of(cells, table.decimal) in ("date", "text")


def levels(table: Table, column: int) -> list[str]:
    """The different texts of a column, in order.

    Raises:
        ColumnError: if a cell is missing, or there are more than a thousand.
    """
    cells, _ = tables.different(table.columns[column])
    tables.require(table, column, "a text in every row", list(filter(table.lacks, cells)))
    if len(cells) > MOST_LEVELS:
        words = f"expected at most {MOST_LEVELS:,} different texts, got {len(cells):,}"
        raise table.error(column, words)
    return sorted(map(str, cells))


def indicators(table: Table, columns: Sequence[int], *, keep: bool) -> tuple[Feature, ...]:
    """The features of some columns: of text, a feature for each level but the first.

    A constant and all the levels are collinear. Without the first, the weight of another is how
    far its score is from that of the first.

    Args:
        table: the table.
        columns: the places of the columns.
        keep: whether the first has a feature, too.

    Raises:
        ColumnError: if a text is missing, or a column has more than a thousand.
    """
    found: list[Feature] = []
    for column in columns:
        if is_text(table, column):
            known = levels(table, column)
            found += [Feature(column, level) for level in _indicated(known, keep)]
        else:
            found.append(Feature(column))
    return tuple(found)


def _indicated(known: list[str], keep: bool) -> list[str]:
    return known if keep or len(known) == 1 else known[1:]


def strange_level(design: Design) -> str | None:
    """What is wrong with the levels of features, if they are not those of the table's texts.

    A level without a feature would count as the first, which has none.
    """
    by_column: dict[int, list[str]] = {}
    for column, level in design.features:
        if level is not None:
            by_column.setdefault(column, []).append(level)
    for column, own in by_column.items():
        known = levels(design.table, column)
        if sorted(own) not in (known, _indicated(known, False)):
            name = design.table.names[column]
            return (
                f"it has the levels {words.listed(own)} of the column {name!r}, the data have "
                f"{words.listed(known)}"
            )
    return None


def numbered(design: Design, inputs: Columns) -> list[str]:
    """The features that rather tell the samples apart than describe them, by name.

    These are numbers that only rise or only fall, as those of rows do, and texts that are
    different in every row, as names are.
    """
    table = design.table
    if len(inputs.integers) < FEWEST_NUMBERED:
        return []
    found = []
    for column in dict.fromkeys(feature.column for feature in design.features):
        if Feature(column) in design.features:
            cells = inputs.integers[:, design.features.index(Feature(column))]
            alone = bool((cells[1:] > cells[:-1]).all() or (cells[1:] < cells[:-1]).all())
        else:
            alone = len(tables.different(table.columns[column])[0]) == len(table.columns[column])
        if alone:
            found.append(str(table.names[column]))
    return found


def content(design: Design, reading: Reading) -> dict[str, Any]:
    """What a proof says of its data, by name."""
    names = design.table.names
    found: dict[str, Any] = {
        "target": names[design.target],
        "features": [
            names[column] if level is None else [names[column], level]
            for column, level in design.features
        ],
    }
    if design.left_out:
        found["left_out"] = design.left_out
    if changed := reading.changed():
        found["reading"] = changed
    return found
