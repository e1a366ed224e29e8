"""What every command about a table shares: its options, and the samples that they choose."""

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from logistack.data import design as designs
from logistack.data import sources
from logistack.data import table as tables
from logistack.data.design import Design
from logistack.data.table import Feature, Table
from logistack.separability import Certificate
from logistack.separability.rational import Columns
from logistack.separability.words import counted, listed_texts, ranges


class Reading(NamedTuple):
    """How a file is read, where this is not the usual way."""

    encoding: str | None = None
    decimal: str = "."
    missing: bool = True
    """Whether labels and levels such as NA are missing ones."""

    @classmethod
    def of(cls, content: Any) -> "Reading":
        """From the JSON of a proof.

        Raises:
            ValueError: if it is not what `changed` made.
        """
        kinds = {"encoding": str, "decimal": str, "missing": bool}
        good = isinstance(content, dict) and all(
            type(value) is kinds.get(name) for name, value in content.items()
        )
        if not good or content.get("decimal") not in (None, ".", ","):
            words = tables.short(str(content))
            raise ValueError(f'expected as "reading" how the data were read, got {words}')
        return cls(**content)

    def changed(self) -> dict[str, Any]:
        """What is not usual, by name."""
        usual = self._field_defaults
        return {name: value for name, value in self._asdict().items() if value != usual[name]}

    def options(self) -> list[str]:
        """The same as the words of a command line."""
        encoding = [] if self.encoding is None else ["--encoding", self.encoding]
        decimal = [] if self.decimal == "." else ["--decimal", self.decimal]
        return [*encoding, *decimal, *([] if self.missing else ["--no-missing"])]


class Question(NamedTuple):
    """What the command line asks about a table."""

    data: Path
    target: str
    ignore: Sequence[str]
    header: bool | None
    """None if the command line does not say."""
    reading: Reading
    one_hot: bool
    """Whether text makes features."""
    keep_levels: bool
    """Whether its first level makes one, too."""
    drop_missing: bool
    """Whether rows with a missing value are left out."""
    budget: str

    def seconds(self) -> float:
        """The time for each question."""
        text = self.budget
        if not (tables.is_number(text) or tables.NOT_FINITE.fullmatch(text)):
            raise ValueError(f"--budget: expected a number of seconds, got {text!r}")
        seconds = float(text)
        if not seconds > 0:
            raise ValueError(f"--budget: expected seconds above 0, got {seconds:g}")
        return seconds


def options(conf: Any) -> Callable[..., Question]:
    """Makes a question of these options: what tyro calls for an argument of that type."""
    arg = conf.arg
    either = conf.create_mutex_group(required=False, title="the first row")
    flag = conf.FlagCreatePairsOff

    def ask(
        data: Annotated[
            Path,
            conf.Positional,
            arg(
                metavar="DATA.CSV",
                help="The samples, one a row: delimited text, Parquet or Feather, also compressed "
                "by gzip or alone in a zip archive; what is in the file tells which. - is the "
                "standard input. Columns of text are separated by tabs, semicolons, commas, bars "
                "or runs of blanks: the first of these that makes as many columns in every row, "
                "or what a first line such as sep=; says. Empty lines are skipped; there are no "
                "comments.\n\n"
                "All columns but the target are features: finite numbers, or true and false, "
                "which count as 1 and 0. A missing value, a date or other text is an error, unless "
                "--drop-missing or --one-hot says what to make of it. "
                "A number is exactly what is written, so that 0.1 is one tenth; it has "
                f"at most {tables.DIGITS:,} digits before the point and behind it. In Parquet and "
                "Feather a float is the binary fraction that it is. A constant feature does no "
                "harm.",
            ),
        ],
        *,
        target: Annotated[
            str,
            arg(
                metavar="COLUMN",
                help="The column of the labels: its name, or its position, 0 being the first and "
                "-1 the last. If all labels are numbers, they are compared as numbers, so that 1 "
                "and 1.0 are one label; if not, as text. A missing label is an error.",
            ),
        ],
        ignore: Annotated[
            tuple[str, ...],
            arg(
                metavar="COLUMN ...",
                help="Columns that are not features, such as a row number or a name; given by "
                "name or position, like the target.",
                help_behavior_hint="",
            ),
        ] = (),
        one_hot: Annotated[
            bool,
            flag,
            arg(
                help="Make features of text: for every different text of a column but the first, "
                "in the order of their characters, whether it is in the row. So is done with "
                "every column that has a text which is no number.",
                help_behavior_hint="",
            ),
        ] = False,
        keep_levels: Annotated[
            bool,
            flag,
            arg(
                help="With --one-hot, also for the first.",
                help_behavior_hint="",
            ),
        ] = False,
        drop_missing: Annotated[
            bool,
            flag,
            arg(
                help="Leave out the rows in which the label or a feature is missing, and say "
                "which these are.",
                help_behavior_hint="",
            ),
        ] = False,
        budget: Annotated[str, arg(metavar="SECONDS", help="Time for each question.")] = "600.0",
        encoding: Annotated[
            str | None,
            arg(
                metavar="NAME",
                help="Of text that is neither in UTF-8 nor starts with a byte order mark: cp1252, "
                "latin-1, or another that Python knows.",
                help_behavior_hint="",
            ),
        ] = None,
        decimal: Annotated[
            Literal[".", ","],
            arg(metavar="MARK", help="What stands before the fraction of a number, . or a comma."),
        ] = ".",
        no_missing: Annotated[
            bool,
            flag,
            arg(
                help="Labels and levels such as NA or None are text, and not missing ones.",
                help_behavior_hint="",
            ),
        ] = False,
        header: Annotated[
            bool,
            either,
            flag,
            arg(
                help="It has the names of the columns. This is so by default, but has to be said "
                "if the name of a feature is a number, or if all of them could be values.",
                help_behavior_hint="",
            ),
        ] = False,
        no_header: Annotated[
            bool,
            either,
            flag,
            arg(help="It is a sample. Columns go by position.", help_behavior_hint=""),
        ] = False,
    ) -> Question:
        names = True if header else False if no_header else None
        reading = Reading(encoding, decimal, not no_missing)
        return Question(
            data, target, ignore, names, reading, one_hot, keep_levels, drop_missing, budget
        )

    return ask


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
    target = _find(table, "--target", asked.target)
    ignored = [_find(table, "--ignore", text) for text in asked.ignore]
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
    values = [name for name in names if tables.is_number(name, table.decimal)]
    kind = "number"
    if not values and all(
        tables.is_missing(name) or name.lower() in tables.BOOLEANS for name in names
    ):
        values, kind = list(names), "value"
    if values:
        raise ValueError(
            f"{table.source}: the first row has the {kind} {tables.short(values[0])}: say "
            "--no-header if it is a sample, or --header if it has the names of the columns"
        )


def _find(table: Table, option: str, text: str) -> int:
    column = tables.find(table, text)
    if column is None:
        raise ValueError(
            f"{option}: no column {text!r} in {table.source}, which {tables.known_names(table)}"
        )
    return column


def samples(design: Design) -> tuple[Columns, np.ndarray]:
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
    if isinstance(table.names[0], int) and not tables.is_number(
        table.columns[first][0], table.decimal
    ):
        return "if row 1 is a header, leave --no-header out"
    advice = []
    cells = [tables.different(table.columns[column])[0] for column in columns]
    if any(tables.is_missing(cell) for column in cells for cell in column):
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
