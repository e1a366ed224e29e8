"""The command line: what was asked for, and how it ended."""

import contextlib
import io
import re
import sys
from collections.abc import Callable, Sequence

import logistack
from logistack import separability
from logistack._checks import import_extra
from logistack.cli import prove, report, verify

RULE = re.compile(r"[─-]{3,}")
FRAME = "│| "


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command `logistack`.

    Args:
        arguments: the words after the command; those of the process if None.

    Returns:
        The exit status: 0 for a proof that was found, or that holds; 1 for one that was not found
        in the time given, or does not hold; 2 for an error, which stderr names in one line; 130
        for an interruption.

    >>> main(["verify", "no proof.json", "no data.csv"])  # and says on stderr what is missing
    2
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if list(arguments) == ["--version"]:
        print(f"logistack {logistack.__version__}")
        return 0
    try:
        return _parsed(arguments)()
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


def _parsed(arguments: Sequence[str]) -> Callable[[], int]:
    """What the arguments ask for, ready to run; `SystemExit` where they ask for help."""
    tyro = import_extra("tyro", "cli")
    commands = {
        "certify": prove.command(tyro.conf, separability.certify, prove.CERTIFY),
        "separation": prove.command(tyro.conf, separability.separation, prove.SEPARATION),
        "verify": verify.command(tyro.conf),
        "report": report.report_command(tyro.conf),
        "predict": report.predict_command(tyro.conf),
    }
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.subcommand_cli_from_dict(
                commands,
                prog="logistack",
                description="Is a line enough? Proves that the classes of a table are linearly "
                "separable, or are not, and which coefficients of a logistic regression run off "
                "to infinity; and checks such proofs. All exactly. "
                "`logistack --version` prints the version.",
                args=arguments,
            )
    except SystemExit as ended:
        if ended.code:
            raise ValueError(_in_one_line(said.getvalue())) from None
        raise


def _in_one_line(box: str) -> str:
    """What tyro says in a frame, without the help on options that is indented below them."""
    _, *lines = box.splitlines() or [""]
    parts: list[list[str]] = [[]]
    for line in (line.removeprefix("│").rstrip(FRAME) for line in lines):
        if RULE.search(line):
            parts.append([])
        elif not line.startswith(" " * 8):
            parts[-1].append(line.strip())
    texts = [" ".join(part) for part in parts if part]
    kept = [text for text in texts if not text.startswith(("For full helptext", "Argument helpt"))]
    return "; ".join(kept) or " ".join(box.split())
