"""From a question to the samples that it is about, and what is said of them."""

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from logistack.cli.question import Question
from logistack.data import design as designs
from logistack.data import kinds, sources
from logistack.data import table as tables
from logistack.data.design import Design
from logistack.data.sources import Reading
from logistack.data.table import Feature, Table
from logistack.separability import Certificate
from logistack.separability.rational import Columns
from logistack.separability.words import counted, listed_texts, ranges


def read(path: Path, header: bool, reading: Reading) -> Table:
    """The table in a file."""
    return sources.read(path, header=header, **reading._asdict())


def design(table: Table, asked: Question) -> Design:
    """What the question is about: all columns that are not ignored."""
    if asked.keep_levels and not asked.one_hot:
        raise ValueError("--keep-levels: expected --one-hot beside it, which makes the levels")
    target, columns = _choose(table, asked)
    left_out: tuple[int, ...] = ()
    if asked.drop_missing:
        table, left_out = designs.without_missing(table, [target, *columns])
    features = tuple(map(Feature, columns))
    if asked.one_hot:
        with _advising(table):
            features = designs.indicators(table, columns, keep=asked.keep_levels)
    return Design(table, target, features, left_out)


def _choose(table: Table, asked: Question) -> tuple[int, list[int]]:
    """The columns of the labels and of the features: all that are neither target nor ignored."""
    target = tables.place_of(table, "--target", asked.target)
    ignored = [tables.place_of(table, "--ignore", text) for text in asked.ignore]
    if target in ignored:
        raise ValueError(f"--ignore: expected columns other than the target, got {asked.target!r}")
    features = [
        column for column in range(len(table.names)) if column != target and column not in ignored
    ]
    if not features:
        raise ValueError(
            f"{table.source}: expected a feature beside the target, got no other column"
        )
    for column in (target, *features):
        if table.names[column] == "":
            raise ValueError(
                f"{table.source}: column {column} (the first is 0) has no name (a row number?): "
                f"give it one, or leave it out with --ignore {column}"
            )
    if asked.header is None and table.first_row:
        _require_names(table, [str(table.names[column]) for column in features])
    return target, features


def _require_names(table: Table, names: Sequence[str]) -> None:
    """Raises ValueError if the names of features may be a sample's values.

    A number is hardly a name. NA and true can be one beside others that are no values.
    """
    values = [name for name in names if kinds.is_number(name, table.decimal)]
    kind = "number"
    if not values and all(kinds.is_missing(name) or kinds.is_boolean(name) for name in names):
        values, kind = list(names), "value"
    if values:
        raise ValueError(
            f"{table.source}: the first row has the {kind} {tables.short(values[0])}: say "
            "--no-header if it is a sample, or --header if it has the names of the columns"
        )


def of(design: Design) -> tuple[Columns, np.ndarray]:
    """The numbers of the features and the labels, or which options would help."""
    with _advising(design.table):
        return design.inputs(), design.labels()


@contextlib.contextmanager
def _advising(table: Table) -> Iterator[None]:
    """Adds to what is wrong with columns which options would help."""
    try:
        yield
    except tables.ColumnError as error:
        raise ValueError(f"{error} ({_advice(table, error.columns)})") from error


def _advice(table: Table, columns: Sequence[int]) -> str:
    """Which options would help where columns are no numbers."""
    first, *_ = columns
    if _are_numbers(table._replace(decimal="," if table.decimal == "." else "."), first):
        return "try --decimal ," if table.decimal == "." else "leave --decimal , out"
    if isinstance(table.names[0], int) and not kinds.is_number(
        table.columns[first][0], table.decimal
    ):
        return "if row 1 is a header, leave --no-header out"
    advice = []
    cells = [tables.different(table.columns[column])[0] for column in columns]
    if any(kinds.is_missing(cell) for column in cells for cell in column):
        advice.append("to leave out the rows of missing values: --drop-missing")
    text = [
        len(own)
        for column, own in zip(columns, cells, strict=True)
        if designs.is_text(table, column)
    ]
    if text and max(text) <= designs.MOST_LEVELS:
        advice.append("to make features of text: --one-hot")
    names = shlex.join(str(table.names[column]) for column in columns[:12])
    advice.append(f"to leave out: --ignore {names}{' ...' * (len(columns) > 12)}")
    return "; ".join(advice)


def _are_numbers(table: Table, column: int) -> bool:
    try:
        tables.numbers(table, [Feature(column)])
    except tables.ColumnError:
        return False
    return True


def heading(design: Design, inputs: Columns, labels: np.ndarray, reading: Reading) -> str:
    """The samples, features and labels of a design, what is left out, and what looks wrong."""
    table = design.table
    different, counts = np.unique(labels, return_counts=True)
    classes = [
        f"{label!r} ({count:,})" for label, count in zip(different.tolist(), counts, strict=True)
    ]
    lines = [
        f"{table.source}: {counted(len(labels), 'sample')}, "
        f"{counted(len(design.features), 'feature')}; "
        f"labels in column {table.names[design.target]!r}"
        f"{' (the first is 0)' * isinstance(table.names[0], int)}: {listed_texts(classes)}",
        f"Features: {listed_texts(design.names)}",
    ]
    if left := left_out(design):
        lines.append(f"Left out: {left}")
    if reading.options():
        lines.append(f"Read with {shlex.join(reading.options())}")
    if suspects := designs.numbered(design, inputs):
        named = listed_texts(list(map(repr, suspects)))
        lines.append(
            f"Suspicious: {named} may number or name the samples, which can separate them without "
            f"a reason; to leave out: --ignore {shlex.join(suspects)}"
        )
    return "\n".join(lines)


def left_out(design: Design) -> str:
    """Which columns and rows of the table are left out; empty if none is."""
    columns, rows = design.unused(), [row + 1 for row in design.left_out]
    parts = []
    if columns:
        parts.append(
            f"{counted(len(columns), 'column')} ({listed_texts(list(map(repr, columns)))})"
        )
    if rows:
        parts.append(f"{counted(len(rows), 'row')} with a missing value ({ranges(rows)})")
    return ", ".join(parts)


def answer(found: Certificate, design: Design, inputs: Columns, labels: np.ndarray) -> str:
    """What a certificate says, the rows that it rests on, and what may help."""
    lines = [found.describe(labels, design.names)]
    if rows := found.support(inputs, labels):
        numbers = [row + 1 for row in design.table.places(rows)]
        lines.append(f"Rows of {found.role}: {ranges(numbers)}.")
    if found.advice:
        lines.append(f"What may help: {found.advice}.")
    return "\n".join(lines)
