"""`logistack certify` and `logistack separation`: proofs about the classes of a table."""

import functools
import json
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from logistack import _files, separability
from logistack.cli import question, samples
from logistack.cli.question import Question
from logistack.data import design as designs
from logistack.data import table as tables
from logistack.separability import Certificate, words

MOST_CLASSES = 100
"""More than these make thousands of pairs, and are rather no classes at all."""


CERTIFY = """Prove that a line separates the classes of a table, or that none does.

Two classes have one answer. More have one for every pair, for every class against the rest, and
for all at once. With one label alone there is nothing to separate, which is proven, too. The exit
status is 0 for a proof, 1 for an answer that the budget left unproven, and 2 for an error, which
includes a budget too short for any answer.
"""

SEPARATION = """Prove which samples are separated, and which coefficients of a logistic regression \
run off to infinity.

The maximum likelihood estimate of such a coefficient does not exist, and programs that report a
large number for it report where they gave up. Two classes have one answer. More have one for every
pair, for every class against the rest, and for the multinomial model. The exit status is 0 for a
proof, which may leave coefficients undecided if the budget ended, and 2 for an error, which
includes a budget too short for any answer.
"""


def command(
    conf: Any, find: Callable[..., Certificate], description: str
) -> Callable[..., Callable[[], int]]:
    """A subcommand, whose signature and docstring are the command line and its help.

    Args:
        conf: tyro's.
        find: `certify`, or another function of its arguments.
        description: what the help says.
    """
    arg = conf.arg

    def prove(
        *,
        asked: Annotated[
            Question, arg(name="", constructor=question.options(conf)), conf.OmitArgPrefixes
        ],
        positive: Annotated[
            str | None,
            arg(
                metavar="LABEL",
                help="Ask for this label against all others, however many these are.",
                help_behavior_hint="",
            ),
        ] = None,
        out: Annotated[
            Path,
            arg(
                metavar="PROOF.JSON",
                help="Where the proof is written. An older file of this name is replaced.",
            ),
        ] = Path("proof.json"),
    ) -> Callable[[], int]:
        return functools.partial(_prove, find, asked, positive, out)

    prove.__doc__ = description
    return prove


def _prove(
    find: Callable[..., Certificate], asked: Question, positive: str | None, out: Path
) -> int:
    out, budget = _files.local_path("--out", out), asked.seconds()
    if out.is_dir():
        raise ValueError(f"--out: expected the name of a file, got the folder {out}")
    if os.path.realpath(out) == os.path.realpath(asked.data):
        raise ValueError(f"--out: expected another file than the data's, got {out}")
    table = samples.read(asked.data, asked.header is not False, asked.reading)
    design = samples.design(table, asked)
    inputs, labels = samples.of(design)
    classes = np.unique(labels).tolist()
    chosen = None if positive is None else _known(positive, classes, table.decimal)
    if chosen is None and len(classes) > MOST_CLASSES:
        raise table.error(
            design.target,
            f"expected at most {MOST_CLASSES} different labels, got {len(classes):,}: is this the "
            "target? --positive asks for one label against all others",
        )
    print(samples.heading(design, inputs, labels, asked.reading), flush=True)

    found = find(inputs, labels, positive=chosen, budget=budget)
    # Beside what certificate_from_json reads, and ignored by it.
    content = json.loads(found.to_json()) | designs.content(design, asked.reading)
    text = json.dumps(content, ensure_ascii=False)
    objection = separability.certificate_from_json(text).objection(inputs, labels)
    if objection not in (None, words.NUMERICAL):
        raise ValueError(
            "the proof that was found does not hold and is not written: please report it"
        )
    try:
        _files.write_whole(out, text.encode())
    finally:  # whichever fails, the other is there
        print(samples.answer(found, design, inputs, labels))
    if objection is None:
        print(f"The proof is in {out}, {len(text.encode()):,} bytes. To check it:")
        print(f"  {shlex.join(['logistack', 'verify', str(out), str(asked.data)])}")
    else:
        print(f"{out} has these numbers, but no proof: try a longer --budget.")
    return 0 if objection is None else 1


def _known(text: str, classes: Sequence[Any], decimal: str) -> Any:
    """The label that the command line names."""
    text = text.strip()
    value = None if isinstance(classes[0], str) else tables.label_of(text, decimal)
    expected = text if value is None else value
    if expected not in classes:
        raise ValueError(
            f"--positive: expected one of the labels {words.listed(classes)}, got {text!r}"
        )
    return classes[classes.index(expected)]
