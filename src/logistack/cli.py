"""The command `logistack`: proofs that a table is linearly separable or is not, and their check."""

import io
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np

from logistack import _files, separability
from logistack._checks import import_extra
from logistack.separability import (
    Certificate,
    ClassCertificates,
    CommonPoint,
    MultinomialCommonPoint,
    MultinomialSeparator,
    Separator,
    rational,
)

Name: TypeAlias = str | int
"""Of a column: from the header, or its position in a file without one, from 0 on."""
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
INTEGER = re.compile(r"[+-]?[0-9]+")
NOT_FINITE = re.compile(r"[+-]?(inf|infinity|nan)", re.IGNORECASE)
MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "?"}
"""In any case."""
BOOLEANS = {"false": 0.0, "true": 1.0}
"""In any case."""
WHOLE = 2**53
"""Below, no two integers are one float64."""
MOST_CLASSES = 100
"""More than these make thousands of pairs, and are rather no classes at all."""
SHOWN = 3
"""Rows that an error names."""


class Table(NamedTuple):
    """The text of a CSV file, by column."""

    path: Path
    names: tuple[Name, ...]
    cells: np.ndarray
    """(samples, columns) of str, blanks at the ends of a cell taken off."""

    def error(self, column: int, words: str) -> ValueError:
        """What is wrong with a column."""
        return ValueError(f"{self.path}: column {self.names[column]!r}: {words}")


class Columns(NamedTuple):
    """Where a proof finds its data."""

    target: int
    features: list[int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command `logistack`.

    Args:
        arguments: what stands behind the command; that of the process if None.

    Returns:
        The exit status: 0 for a proof that was found, or that holds; 1 for one that was not found
        in the time given, or does not hold; 2 for an error, which stderr names in one line; 130
        for an interruption.

    >>> main(["verify", "no proof.json", "no data.csv"])  # and says on stderr what is missing
    2
    """
    try:
        tyro = import_extra("tyro", "cli")
        return tyro.extras.subcommand_cli_from_dict(
            _commands(tyro.conf),
            prog="logistack",
            description="Is a line enough? Proves that the classes of a CSV file are linearly "
            "separable, or are not, and checks such proofs. Either way exactly.",
            args=arguments,
        )
    except KeyboardInterrupt:
        print("logistack: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        words = f"{where}{error.strerror or error}"
    except (ModuleNotFoundError, ValueError) as error:
        words = str(error)
    print(f"logistack: {words}", file=sys.stderr)
    return 2


def _commands(conf: Any) -> dict[str, Any]:
    """The subcommands, whose signatures and docstrings are the command line and its help."""
    arg = conf.arg
    either = conf.create_mutex_group(required=False, title="the first row")
    flag = conf.FlagCreatePairsOff

    def certify(
        data: Annotated[
            Path,
            arg(
                metavar="DATA.CSV",
                help="The samples, one a row, in UTF-8. Columns are parted by tabs, semicolons or "
                "commas: the first of these that the first line contains. Empty lines are "
                "skipped; there are no comments.\n\n"
                "All columns but the target are features: finite numbers with a decimal point, "
                "or true and false, which count as 1 and 0. A missing value, a date or other text "
                "is an error, never a guess. A number is read as the nearest float64, and the "
                "proof is about these; an integer that float64 would round is an error. A constant "
                "feature does no harm.",
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
                help="Columns that are no features, such as a row number or a name; they are named "
                "like the target.",
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
        budget: Annotated[float, arg(metavar="SECONDS", help="Time for each question.")] = 600.0,
        header: Annotated[
            bool,
            either,
            flag,
            arg(
                help="It has the names of the columns. This goes without saying, unless the name "
                "of a feature is a number.",
                help_behavior_hint="",
            ),
        ] = False,
        no_header: Annotated[
            bool,
            either,
            flag,
            arg(help="It is a sample. Columns go by position.", help_behavior_hint=""),
        ] = False,
    ) -> int:
        """Prove that a line separates the classes of a table, or that none does.

        Two classes have one answer. More have one for every pair, for every class against the
        rest, and for all at once. With one label alone there is nothing to separate, which is
        proven, too. The exit status is 0 if there is a proof, 1 if the budget was over before, and
        2 after an error.
        """
        names = True if header else False if no_header else None
        return _certify(data, target, names, positive, ignore, out, budget)

    def verify(
        proof: Annotated[Path, arg(metavar="PROOF.JSON", help="What logistack certify wrote.")],
        data: Annotated[
            Path,
            arg(
                metavar="DATA.CSV",
                help="The samples, in the order they had. Columns are found by name, in whatever "
                "order they stand; without a header, by position.",
            ),
        ],
        /,
    ) -> int:
        """Check a proof against its data, by integers alone and without any solver.

        Says what is proven, and of how many samples. The exit status is 0 if the proof holds, 1
        if it does not, and 2 after an error.
        """
        return _verify(proof, data)

    return {"certify": certify, "verify": verify}


def _certify(
    data: Path,
    target: str,
    header: bool | None,
    positive: str | None,
    ignore: Sequence[str],
    out: Path,
    budget: float,
) -> int:
    if not budget > 0:
        raise ValueError(f"--budget: expected seconds above 0, got {budget:g}")
    if out.is_dir():
        raise ValueError(f"--out: expected the name of a file, got the folder {out}")
    if out.resolve() == data.resolve():
        raise ValueError(f"--out: expected another file than the data's, got {out}")
    table = _read_table(data, header is not False)
    columns = _choose(table, target, ignore, sure=header is True)
    inputs = _features(table, columns.features, advise=True)
    labels = _labels(table, columns.target)
    classes = np.unique(labels).tolist()
    chosen = None if positive is None else _known(positive, classes)
    if chosen is None and len(classes) > MOST_CLASSES:
        raise table.error(
            columns.target,
            f"expected at most {MOST_CLASSES} different labels, got {len(classes):,}: is this the "
            "target? --positive asks for one label against all others",
        )
    print(_heading(table, columns, labels), flush=True)

    found = separability.certify(inputs, labels, positive=chosen, budget=budget)
    # Beside what certificate_from_json reads, and ignored by it.
    content = json.loads(found.to_json()) | {
        "target": table.names[columns.target],
        "features": [table.names[column] for column in columns.features],
    }
    text = json.dumps(content, ensure_ascii=False)
    proven = not _numerical_only(found)
    if proven and not separability.certificate_from_json(text).verify(inputs, labels):
        raise ValueError(
            "the proof that was found does not hold and is not written: please report it"
        )
    print(_words(found, labels))
    _files.write_whole(out, text.encode())
    if proven:
        print(f"The proof is in {out}, {len(text.encode()):,} bytes. To check it:")
        print(f"  {shlex.join(['logistack', 'verify', str(out), str(data)])}")
    else:
        print(f"{out} has these numbers, but no proof: try a longer --budget.")
    return 0 if proven else 1


def _verify(proof: Path, data: Path) -> int:
    certificate, target, features = _read_proof(proof)
    table = _read_table(data, isinstance(target, str))
    for name in (target, *features):
        if name not in table.names:
            raise ValueError(f"{proof} is about the column {name!r}, {data} {_known_names(table)}")
    columns = Columns(table.names.index(target), [table.names.index(name) for name in features])
    inputs, labels = _features(table, columns.features), _labels(table, columns.target)
    print(_heading(table, columns, labels))
    why = _objection(certificate, inputs, labels)
    if why:
        print(f"{proof} DOES NOT HOLD for {data}: {why}.")
        return 1
    print(f"{proof} holds for {data}. Proven:")
    print(_words(certificate, labels))
    return 0


def _read_table(path: Path, header: bool) -> Table:
    """The cells of a CSV file, refusing what is no table of samples.

    Of a row that is too short, pandas makes one that ends in empty cells.
    """
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
            f"{path}: expected columns parted by tabs, semicolons or commas, got none of these in "
            f"the first line, {_short(first[0])}"
        )
    try:
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
    cells = frame.to_numpy(copy=True)
    for column in cells.T:
        codes, texts = pandas.factorize(column)
        column[:] = np.array([text.strip() for text in texts], object)[codes]
    if not header:
        return Table(path, tuple(range(cells.shape[1])), cells)
    names = tuple(cells[0].tolist())
    if len(cells) == 1:
        raise ValueError(f"{path}: expected samples, got one row alone, which is the header")
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"{path}: expected columns of different names, got {names.count(twice)} columns "
            f"{twice!r} (a file without a header needs --no-header)"
        )
    return Table(path, names, cells[1:])


def _choose(table: Table, target: str, ignore: Sequence[str], sure: bool) -> Columns:
    """The columns that the command line asks for, all but some being features."""
    place = _find(table, "--target", target)
    ignored = [_find(table, "--ignore", text) for text in ignore]
    if place in ignored:
        raise ValueError(f"--ignore: expected columns other than the target, got {target!r}")
    features = [
        column for column in range(len(table.names)) if column != place and column not in ignored
    ]
    if not features:
        raise ValueError(f"{table.path}: expected a feature beside the target, got no other column")
    for column in (place, *features):
        name = table.names[column]
        if name == "":
            raise ValueError(
                f"{table.path}: column {column} (the first is 0) has no name (a row number?): "
                f"give it one, or leave it out with --ignore {column}"
            )
        if column != place and not sure and isinstance(name, str) and NUMBER.fullmatch(name):
            raise ValueError(
                f"{table.path}: the first row has the number {name}: say --no-header if it is a "
                "sample, or --header if it has the names of the columns"
            )
    return Columns(place, features)


def _find(table: Table, option: str, text: str) -> int:
    """The column of a name or else a position."""
    count = len(table.names)
    if text in table.names:
        return table.names.index(text)
    if INTEGER.fullmatch(text) and -count <= int(text) < count:
        return int(text) % count
    raise ValueError(f"{option}: no column {text!r} in {table.path}, which {_known_names(table)}")


def _known_names(table: Table) -> str:
    if isinstance(table.names[0], int):
        return f"has the columns 0 to {len(table.names) - 1}, or -{len(table.names)} to -1"
    names = ", ".join(map(repr, table.names[:12]))
    return f"has the {len(table.names)} columns {names}{', ...' * (len(table.names) > 12)}"


def _features(table: Table, columns: Sequence[int], *, advise: bool = False) -> np.ndarray:
    """The nearest float64 of every cell, refusing what is no finite number."""
    values = np.empty((len(table.cells), len(columns)))
    wrong, words = [], ""
    for place, column in enumerate(columns):
        try:
            values[:, place] = _numbers(table, column)
        except ValueError as error:
            wrong.append(column)
            words = words or str(error)
    if not wrong:
        return values
    if len(wrong) > 1:
        words += f"; {_count(len(wrong) - 1, 'more column')} like this"
    if (
        advise
        and isinstance(table.names[0], int)
        and not NUMBER.fullmatch(table.cells[0, wrong[0]])
    ):
        words += " (if row 1 is a header, leave --no-header out)"
    elif advise:
        names = shlex.join(str(table.names[column]) for column in wrong[:12])
        words += f" (to leave out: --ignore {names}{' ...' * (len(wrong) > 12)})"
    raise ValueError(words)


def _numbers(table: Table, column: int) -> np.ndarray:
    cells = table.cells[:, column]
    texts, codes = _different(cells)
    if all(text.lower() in BOOLEANS for text in texts):
        return np.array([BOOLEANS[text.lower()] for text in texts])[codes]
    values = {text: float(text) for text in texts if NUMBER.fullmatch(text)}
    wrong = {
        "a number in every row": [
            text for text in texts if text.lower() in MISSING or NOT_FINITE.fullmatch(text)
        ],
        "numbers": [text for text in texts if text not in values],
        "numbers that float64 holds": [
            text for text, value in values.items() if not np.isfinite(value)
        ],
        "integers that float64 holds exactly": [
            text
            for text, value in values.items()
            if INTEGER.fullmatch(text) and np.isfinite(value) and int(text) != int(value)
        ],
    }
    for wanted, found in wrong.items():
        if found:
            raise table.error(column, f"expected {wanted}, got {_rows(cells, found)}")
    return np.array([values[text] for text in texts])[codes]


def _labels(table: Table, column: int) -> np.ndarray:
    """Integers or floats if every label is a number, and none a large one; else text."""
    cells = table.cells[:, column]
    texts, codes = _different(cells)
    missing = [text for text in texts if text.lower() in MISSING]
    if missing:
        raise table.error(column, f"expected a label in every row, got {_rows(cells, missing)}")
    if all(NUMBER.fullmatch(text) and abs(float(text)) < WHOLE for text in texts):
        values = np.array([float(text) for text in texts])
        whole = (values == np.round(values)).all()
        return (values.astype(np.int64) if whole else values)[codes]
    return np.array(texts)[codes]


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


def _known(text: str, classes: Sequence[Any]) -> Any:
    """The label that the command line names."""
    text = text.strip()
    wanted: Any = text
    if not isinstance(classes[0], str) and NUMBER.fullmatch(text):
        wanted = float(text)
    if wanted not in classes:
        raise ValueError(f"--positive: expected one of the labels {_listed(classes)}, got {text!r}")
    return classes[classes.index(wanted)]


def _read_proof(path: Path) -> tuple[Certificate, Name, list[Name]]:
    """The certificate in a file, and the names of the columns it is about."""
    try:
        text = path.read_bytes().decode()
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: expected a proof as logistack certify writes it, got no JSON (the proof "
            "comes first, then the data)"
        ) from error
    try:
        certificate = separability.certificate_from_json(text)
    except ValueError as error:
        raise ValueError(
            f"{path}: expected a proof as logistack certify writes it, "
            f"got {error.__cause__ or error!r}"
        ) from error
    target, features = content.get("target"), content.get("features")
    names = [target, *features] if isinstance(features, list) and features else []
    alike = {type(name) for name in names} in ({str}, {int})
    if not alike or len(set(names)) != len(names):
        raise ValueError(
            f'{path}: expected the names of different columns as "target" and "features", as '
            "logistack certify writes them"
        )
    return certificate, names[0], names[1:]


def _parts(certificate: Certificate) -> list[Certificate]:
    if not isinstance(certificate, ClassCertificates):
        return [certificate]
    return [*certificate.pairs.values(), *certificate.rest.values(), certificate.multinomial]


def _numerical_only(certificate: Certificate) -> bool:
    return any(part.numerical_only for part in (certificate, *_parts(certificate)))


def _objection(certificate: Certificate, inputs: np.ndarray, labels: np.ndarray) -> str | None:
    """Why a certificate is no proof for some data, or None if it is one."""
    if _numerical_only(certificate):
        return "it has an answer in floating point, and says itself that this is no proof"
    classes = np.unique(labels).tolist()
    if isinstance(certificate, Separator | CommonPoint):
        wanted = [certificate.positive, certificate.negative]
        # Where a label is alone, the proof may be about one that no sample has.
        trivial = isinstance(certificate, Separator) and not any(certificate.weight)
        if any(label not in (None, *classes) for label in wanted) and not trivial:
            return f"it is about the label {wanted[0]!r}, the data have {_listed(classes)}"
    elif isinstance(certificate, ClassCertificates) and list(certificate.classes) != classes:
        return f"it is about {_listed(certificate.classes)}, the data have {_listed(classes)}"
    if not certificate.verify(inputs, labels):
        return "its numbers and those of the data do not agree"
    return None


def _listed(labels: Sequence[Any]) -> str:
    words = ", ".join(map(repr, labels[:10]))
    return words if len(labels) <= 10 else f"{words}, ... ({len(labels):,} in all)"


def _heading(table: Table, columns: Columns, labels: np.ndarray) -> str:
    different, counts = np.unique(labels, return_counts=True)
    classes = [
        f"{label!r} ({count:,})" for label, count in zip(different.tolist(), counts, strict=True)
    ]
    shown = ", ".join(classes[:10]) + (f", ... ({len(classes):,} in all)" * (len(classes) > 10))
    used = {columns.target, *columns.features}
    left = [repr(name) for place, name in enumerate(table.names) if place not in used]
    words = (
        f"{table.path}: {_count(len(labels), 'sample')}, "
        f"{_count(len(columns.features), 'feature')}; "
        f"labels in column {table.names[columns.target]!r}"
        f"{' (the first is 0)' * isinstance(table.names[0], int)}: {shown}"
    )
    return f"{words}\nLeft out: {_count(len(left), 'column')}, {', '.join(left)}" if left else words


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _words(certificate: Certificate, labels: np.ndarray) -> str:
    """The answer, for readers who see the data's heading above it."""
    if isinstance(certificate, ClassCertificates):
        return _table_of(certificate)
    words = str(certificate)
    if isinstance(certificate, Separator | CommonPoint):
        words = _two_sides(certificate, labels)
    elif isinstance(certificate, MultinomialSeparator | MultinomialCommonPoint):
        words = f"All classes at once: {_answer(certificate)}."
    return f"Not proven, numerical only: {words}" if certificate.numerical_only else words


def _two_sides(certificate: Separator | CommonPoint, labels: np.ndarray) -> str:
    positive = labels == certificate.positive
    others = labels[~positive]
    if certificate.negative is not None:
        others = others[others == certificate.negative]
    if not positive.any() or not others.size:
        return f"There is nothing to separate: every sample has the label {labels[0].item()!r}."
    first = f"{_count(int(positive.sum()), 'sample')} labeled {certificate.positive!r}"
    second = f"{others.size:,} labeled {_listed(np.unique(others).tolist())}"
    if isinstance(certificate, Separator):
        return (
            f"A line is enough: it has the {first} on one side and the {second} on the other. "
            f"The nearest is {rational.three_digits(certificate.margin)} away from it."
        )
    mine, theirs = _mixed(certificate)
    touch = (
        " Their hulls only touch: a line has no sample on its wrong side, but some on itself."
        if certificate.weak_line
        else ""
    )
    return (
        f"No line is enough for the {first} and the {second}: one point is a mixture of {mine} of "
        f"the former, and of {theirs} of the latter.{touch}"
    )


def _mixed(certificate: CommonPoint) -> tuple[int, int]:
    """How many samples the common point mixes, of either side."""
    return sum(map(bool, certificate.weights_positive)), sum(
        map(bool, certificate.weights_negative)
    )


def _answer(certificate: Certificate) -> str:
    """In a few words, which name the samples of a pair's first class first."""
    if isinstance(certificate, Separator):
        words = f"a line is enough, margin {rational.three_digits(certificate.margin)}"
    elif isinstance(certificate, CommonPoint):
        mine, theirs = _mixed(certificate)
        first, second = (mine, theirs) if certificate.negative is None else (theirs, mine)
        words = f"no line is enough, {first} and {second} samples mix to one point"
        words += ", hulls only touch" if certificate.weak_line else ""
    elif isinstance(certificate, MultinomialSeparator):
        words = f"a linear classifier is enough, margin {rational.three_digits(certificate.margin)}"
    elif isinstance(certificate, MultinomialCommonPoint):
        count = len({sample for sample, _ in certificate.weights})
        words = f"no linear classifier is enough, an exchange of {count} samples keeps every mean"
    return f"{words} (numerical only, not proven)" if certificate.numerical_only else words


def _table_of(certificate: ClassCertificates) -> str:
    rows = [(repr(a), repr(b), _answer(part)) for (a, b), part in certificate.pairs.items()]
    rows += [(repr(label), "the rest", _answer(part)) for label, part in certificate.rest.items()]
    widths = [max(len(row[place]) for row in rows) for place in range(2)]
    lines = [f"{a:<{widths[0]}}  and  {b:<{widths[1]}}   {answer}" for a, b, answer in rows]
    pairs = len(certificate.pairs)
    return "\n".join(
        [
            "Pairs:",
            *(f"  {line}" for line in lines[:pairs]),
            "Classes against the rest:",
            *(f"  {line}" for line in lines[pairs:]),
            f"All at once: {_answer(certificate.multinomial)}.",
        ]
    )
