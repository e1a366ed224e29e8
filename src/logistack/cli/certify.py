"""`logistack certify`: a proof that a line separates the classes of a table, or that none does."""

import functools
import json
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from logistack import _files, separability
from logistack.cli.heading import heading
from logistack.data import table as tables
from logistack.data.table import Table
from logistack.separability import words

MOST_CLASSES = 100
"""More than these make thousands of pairs, and are rather no classes at all."""


class Question(NamedTuple):
    """What the command line asks."""

    data: Path
    target: str
    header: bool | None
    """None if the command line does not say."""
    positive: str | None
    ignore: Sequence[str]
    out: Path
    budget: str


def command(conf: Any) -> Callable[..., Callable[[], int]]:
    """The subcommand, whose signature and docstring are the command line and its help."""
    arg = conf.arg
    either = conf.create_mutex_group(required=False, title="the first row")
    flag = conf.FlagCreatePairsOff

    def certify(
        data: Annotated[
            Path,
            arg(
                metavar="DATA.CSV",
                help="The samples, one a row, in UTF-8. Columns are separated by tabs, semicolons "
                "or commas: the first of these that the first line contains. Empty lines are "
                "skipped; there are no comments.\n\n"
                "All columns but the target are features: finite numbers with a decimal point, "
                "or true and false, which count as 1 and 0. A missing value, a date or other text "
                "is an error, never a guess. A number is read as the nearest float64, and the "
                "proof is about these; an integer that float64 would round is an error, and so are "
                "different numbers that would become one. A constant feature does no harm.",
            ),
        ],
        /,
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
        positive: Annotated[
            str | None,
            arg(
                metavar="LABEL",
                help="Ask for this label against all others, however many these are.",
                help_behavior_hint="",
            ),
        ] = None,
        ignore: Annotated[
            tuple[str, ...],
            arg(
                metavar="COLUMN ...",
                help="Columns that are not features, such as a row number or a name; given by "
                "name or position, like the target.",
                help_behavior_hint="",
            ),
        ] = (),
        out: Annotated[
            Path,
            arg(
                metavar="PROOF.JSON",
                help="Where the proof is written. An older file of this name is replaced.",
            ),
        ] = Path("proof.json"),
        budget: Annotated[str, arg(metavar="SECONDS", help="Time for each question.")] = "600.0",
        header: Annotated[
            bool,
            either,
            flag,
            arg(
                help="It has the names of the columns. This is so by default, but has to be said "
                "if the name of a feature is a number.",
                help_behavior_hint="",
            ),
        ] = False,
        no_header: Annotated[
            bool,
            either,
            flag,
            arg(help="It is a sample. Columns go by position.", help_behavior_hint=""),
        ] = False,
    ) -> Callable[[], int]:
        """Prove that a line separates the classes of a table, or that none does.

        Two classes have one answer. More have one for every pair, for every class against the
        rest, and for all at once. With one label alone there is nothing to separate, which is
        proven, too. The exit status is 0 for a proof, 1 for an answer that the budget left
        unproven, and 2 for an error, which includes a budget too short for any answer.
        """
        names = True if header else False if no_header else None
        question = Question(data, target, names, positive, ignore, out, budget)
        return functools.partial(_certify, question)

    return certify


def _certify(asked: Question) -> int:
    data, out = asked.data, _files.local_path("--out", asked.out)
    budget = _seconds(asked.budget)
    if out.is_dir():
        raise ValueError(f"--out: expected the name of a file, got the folder {out}")
    if os.path.realpath(out) == os.path.realpath(data):
        raise ValueError(f"--out: expected another file than the data's, got {out}")
    table = tables.read(data, header=asked.header is not False)
    target, features = _choose(table, asked)
    inputs, labels = _features(table, features), tables.labels(table, target)
    classes = np.unique(labels).tolist()
    chosen = None if asked.positive is None else _known(asked.positive, classes)
    if chosen is None and len(classes) > MOST_CLASSES:
        raise table.error(
            target,
            f"expected at most {MOST_CLASSES} different labels, got {len(classes):,}: is this the "
            "target? --positive asks for one label against all others",
        )
    print(heading(table, target, features, labels), flush=True)

    found = separability.certify(inputs, labels, positive=chosen, budget=budget)
    # Beside what certificate_from_json reads, and ignored by it.
    content = json.loads(found.to_json()) | {
        "target": table.names[target],
        "features": [table.names[column] for column in features],
    }
    text = json.dumps(content, ensure_ascii=False)
    objection = separability.certificate_from_json(text).objection(inputs, labels)
    if objection not in (None, words.NUMERICAL):
        raise ValueError(
            "the proof that was found does not hold and is not written: please report it"
        )
    print(found.describe(labels))
    _files.write_whole(out, text.encode())
    if objection is None:
        print(f"The proof is in {out}, {len(text.encode()):,} bytes. To check it:")
        print(f"  {shlex.join(['logistack', 'verify', str(out), str(data)])}")
    else:
        print(f"{out} has these numbers, but no proof: try a longer --budget.")
    return 0 if objection is None else 1


def _seconds(text: str) -> float:
    if not (tables.NUMBER.fullmatch(text) or tables.NOT_FINITE.fullmatch(text)):
        raise ValueError(f"--budget: expected a number of seconds, got {text!r}")
    seconds = float(text)
    if not seconds > 0:
        raise ValueError(f"--budget: expected seconds above 0, got {seconds:g}")
    return seconds


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
        name = table.names[column]
        if name == "":
            raise ValueError(
                f"{table.source}: column {column} (the first is 0) has no name (a row number?): "
                f"give it one, or leave it out with --ignore {column}"
            )
        is_number = isinstance(name, str) and tables.NUMBER.fullmatch(name)
        if column != target and asked.header is None and is_number:
            raise ValueError(
                f"{table.source}: the first row has the number {name}: say --no-header if it is a "
                "sample, or --header if it has the names of the columns"
            )
    return target, features


def _find(table: Table, option: str, text: str) -> int:
    column = tables.find(table, text)
    if column is None:
        raise ValueError(
            f"{option}: no column {text!r} in {table.source}, which {tables.known_names(table)}"
        )
    return column


def _features(table: Table, columns: Sequence[int]) -> np.ndarray:
    """The numbers of the features, or which options would help."""
    try:
        return tables.numbers(table, columns)
    except tables.NumbersError as error:
        first, *_ = error.columns
        if isinstance(table.names[0], int) and not tables.NUMBER.fullmatch(table.columns[first][0]):
            advice = "if row 1 is a header, leave --no-header out"
        else:
            names = shlex.join(str(table.names[column]) for column in error.columns[:12])
            advice = f"to leave out: --ignore {names}{' ...' * (len(error.columns) > 12)}"
        raise ValueError(f"{error} ({advice})") from error


def _known(text: str, classes: Sequence[Any]) -> Any:
    """The label that the command line names."""
    text = text.strip()
    expected: Any = text
    if not isinstance(classes[0], str) and tables.NUMBER.fullmatch(text):
        expected = float(text)
    if expected not in classes:
        raise ValueError(
            f"--positive: expected one of the labels {words.listed(classes)}, got {text!r}"
        )
    return classes[classes.index(expected)]
