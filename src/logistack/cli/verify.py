"""`logistack verify`: the check of a proof against its data."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from logistack import separability
from logistack.cli.heading import heading
from logistack.data import table as tables
from logistack.data.table import Name
from logistack.separability import Certificate


def command(conf: Any) -> Callable[..., Callable[[], int]]:
    """The subcommand, whose signature and docstring are the command line and its help."""
    arg = conf.arg

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
    ) -> Callable[[], int]:
        """Check a proof against its data, by integers alone and without any solver.

        Says what is proven, and of how many samples. The exit status is 0 if the proof holds, 1
        if it does not, and 2 for an error.
        """
        return functools.partial(_verify, proof, data)

    return verify


def _verify(proof: Path, data: Path) -> int:
    certificate, names = _read(proof)
    table = tables.read(data, header=isinstance(names[0], str))
    for name in names:
        if name not in table.names:
            known = tables.known_names(table)
            raise ValueError(f"{proof} is about the column {name!r}, {data} {known}")
    target, *features = (table.names.index(name) for name in names)
    inputs, labels = tables.numbers(table, features), tables.labels(table, target)
    print(heading(table, target, features, labels))
    objection = certificate.objection(inputs, labels)
    if objection is not None:
        print(f"{proof} DOES NOT HOLD for {data}: {objection}.")
        return 1
    print(f"{proof} holds for {data}. Proven:")
    print(certificate.describe(labels))
    return 0


def _read(path: Path) -> tuple[Certificate, list[Name]]:
    """The certificate in a file, and the names of its columns, that of the labels first."""
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
    return certificate, names
