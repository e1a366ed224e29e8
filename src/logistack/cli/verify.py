"""`logistack verify`: the check of a proof against its data."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from logistack import separability
from logistack.cli import question
from logistack.cli.question import Reading
from logistack.data import table as tables
from logistack.data.table import Name
from logistack.separability import Certificate


def command(conf: Any) -> Callable[..., Callable[[], int]]:
    """The subcommand, whose signature and docstring are the command line and its help."""
    arg = conf.arg

    def verify(
        proof: Annotated[
            Path, arg(metavar="PROOF.JSON", help="What logistack certify, or separation, wrote.")
        ],
        data: Annotated[
            Path,
            arg(
                metavar="DATA.CSV",
                help="The samples, in the order they had, or - for the standard input. Columns "
                "are found by name, in whatever order they stand; without a header, by position. "
                "The file is read as it was for the proof, which says so.",
            ),
        ],
        /,
    ) -> Callable[[], int]:
        """Check a proof against its data, by integers alone and without any solver.

        Says what is proven, and of how many samples. The exit status is 0 if the proof holds, 1
        if it does not, and 2 for an error.
        """
        return functools.partial(_verify, proof, data)

    return verify


def _verify(proof: Path, data: Path) -> int:
    certificate, names, reading = _read(proof)
    table = question.read(data, isinstance(names[0], str), reading)
    for name in names:
        if name not in table.names:
            known = tables.known_names(table)
            raise ValueError(f"{proof} is about the column {name!r}, {data} {known}")
    target, *features = (table.names.index(name) for name in names)
    inputs: Any = tables.numbers(table, features)
    labels = tables.labels(table, target, missing=reading.missing)
    print(question.heading(table, target, features, labels, reading))
    objection = certificate.objection(inputs, labels)
    if objection is not None:
        print(f"{proof} DOES NOT HOLD for {data}: {objection}.")
        return 1
    print(f"{proof} holds for {data}. Proven:")
    print(certificate.describe(labels, [str(table.names[column]) for column in features]))
    return 0


def _read(path: Path) -> tuple[Certificate, list[Name], Reading]:
    """The certificate in a file, the names of its columns, the labels' first, and the reading."""
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
    try:
        return certificate, names, Reading.of(content.get("reading", {}))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
