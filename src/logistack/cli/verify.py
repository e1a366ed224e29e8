"""`logistack verify`: the check of a proof against its data."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from logistack import separability
from logistack.cli import samples
from logistack.data import design as designs
from logistack.data import table as tables
from logistack.data.design import Design
from logistack.data.sources import Reading
from logistack.data.table import Feature, Name
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
    certificate, claim = _read(proof)
    table = samples.read(data, isinstance(claim.target, str), claim.reading)
    columns = dict.fromkeys([claim.target, *(name for name, _ in claim.features)])
    for name in columns:
        if name not in table.names:
            known = tables.known_names(table)
            raise ValueError(f"{proof} is about the column {name!r}, {data} {known}")
    place = {name: table.names.index(name) for name in columns}
    left_out: tuple[int, ...] = ()
    if claim.left_out is not None:
        table, left_out = designs.without_missing(table, list(place.values()))
    features = tuple(Feature(place[name], level) for name, level in claim.features)
    design = Design(table, place[claim.target], features, left_out)
    inputs, labels = design.inputs(), design.labels()
    print(samples.heading(design, inputs, labels, claim.reading))
    objection = designs.strange_level(design)
    if list(left_out) != (claim.left_out or []):
        objection = "it leaves out other rows than those that miss a value"
    objection = objection or certificate.objection(inputs, labels)
    if objection is not None:
        print(f"{proof} DOES NOT HOLD for {data}: {objection}.")
        return 1
    left = samples.left_out(design)
    print(f"{proof} holds for {data}. Proven{', leaving out ' * bool(left)}{left}:")
    print(samples.answer(certificate, design, inputs, labels))
    return 0


class _Claim(NamedTuple):
    """What a proof says of its data."""

    target: Name
    features: list[tuple[Name, str | None]]
    """Names of columns, with the level of each that is about one."""
    left_out: list[int] | None
    reading: Reading

    @classmethod
    def of(cls, content: dict[str, Any]) -> "_Claim":
        """From the JSON of a proof.

        Raises:
            ValueError: if it is not what `design.content` makes.
        """
        target, features = content.get("target"), content.get("features")
        left_out = content.get("left_out")
        found: list[Any] = [
            (*feature,) if type(feature) is list else (feature, None)
            for feature in (features if isinstance(features, list) else [])
        ]
        levels = {type(pair[1]) if len(pair) == 2 else None for pair in found}
        alike = {type(name) for name in (target, *(pair[0] for pair in found if pair))}
        if (
            not found
            or not levels <= {str, type(None)}
            or alike not in ({str}, {int})
            or len(set(found)) != len(found)
            or target in {name for name, _ in found}
        ):
            raise ValueError(
                'expected the names of different columns as "target" and "features", as logistack '
                "certify writes them"
            )
        if left_out is not None and (
            type(left_out) is not list or {type(row) for row in left_out} != {int}
        ):
            raise ValueError('expected the numbers of rows as "left_out"')
        assert target is not None
        return cls(target, found, left_out, Reading.of(content.get("reading", {})))


def _read(path: Path) -> tuple[Certificate, _Claim]:
    """The certificate in a file, and what it says of its data."""
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
    try:
        return certificate, _Claim.of(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
