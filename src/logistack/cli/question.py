"""What every command about a table shares: its options, and the samples that they choose."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from logistack.data import sources
from logistack.data import table as tables
from logistack.data.table import Table
from logistack.separability.rational import Columns
from logistack.separability.words import SHOWN, counted


class Reading(NamedTuple):
    """How a file is read, where this is not the usual way."""

    encoding: str | None = None
    decimal: str = "."
    missing: bool = True
    """Whether labels such as NA are missing ones."""

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
                "which count as 1 and 0. A missing value, a date or other text is an error, never "
                "a guess. A number is exactly what is written, so that 0.1 is one tenth; it has "
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
                help="Labels such as NA or None are text, and not missing ones.",
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
        return Question(data, target, ignore, names, reading, budget)

    return ask


def read(path: Path, header: bool, reading: Reading) -> Table:
    """The table in a file."""
    return sources.read(path, header=header, encoding=reading.encoding, decimal=reading.decimal)


def choose(table: Table, asked: Question) -> tuple[int, list[int]]:
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


def numbers(table: Table, features: Sequence[int]) -> Columns:
    """The numbers of the features, or which options would help."""
    try:
        return tables.numbers(table, features)
    except tables.NumbersError as error:
        first, *_ = error.columns
        if _are_numbers(table._replace(decimal="," if table.decimal == "." else "."), first):
            advice = "try --decimal ," if table.decimal == "." else "leave --decimal , out"
        elif isinstance(table.names[0], int) and not tables.is_number(
            table.columns[first][0], table.decimal
        ):
            advice = "if row 1 is a header, leave --no-header out"
        else:
            names = shlex.join(str(table.names[column]) for column in error.columns[:12])
            advice = f"to leave out: --ignore {names}{' ...' * (len(error.columns) > 12)}"
        raise ValueError(f"{error} ({advice})") from error


def _are_numbers(table: Table, column: int) -> bool:
    try:
        tables.numbers(table, [column])
    except tables.NumbersError:
        return False
    return True


def heading(
    table: Table, target: int, features: Sequence[int], labels: np.ndarray, reading: Reading
) -> str:
    """The samples, features and labels of a table, and which columns are left out."""
    different, counts = np.unique(labels, return_counts=True)
    classes = [
        f"{label!r} ({count:,})" for label, count in zip(different.tolist(), counts, strict=True)
    ]
    more = f", ... ({len(classes):,} in all)" * (len(classes) > SHOWN)
    left = [
        repr(name)
        for place, name in enumerate(table.names)
        if place != target and place not in features
    ]
    lines = [
        f"{table.source}: {counted(len(labels), 'sample')}, "
        f"{counted(len(features), 'feature')}; "
        f"labels in column {table.names[target]!r}"
        f"{' (the first is 0)' * isinstance(table.names[0], int)}: "
        f"{', '.join(classes[:SHOWN])}{more}"
    ]
    if left:
        lines.append(f"Left out: {counted(len(left), 'column')}, {', '.join(left)}")
    if reading.options():
        lines.append(f"Read with {shlex.join(reading.options())}")
    return "\n".join(lines)
