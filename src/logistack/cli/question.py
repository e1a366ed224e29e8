"""What every command about a table shares: its options."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from logistack.data import kinds
from logistack.data import table as tables
from logistack.data.sources import Reading


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
        if not (kinds.is_number(text) or kinds.NOT_FINITE.fullmatch(text)):
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
