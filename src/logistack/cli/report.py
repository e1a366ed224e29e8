"""`logistack report` and `logistack predict`: a page about a table, and its model's predictions."""

import contextlib
import csv
import functools
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from logistack import _files
from logistack._checks import import_extra
from logistack.data.sources import Reading

REPORT = """Is a line enough, which stack, and how sure: a page about a table of one's own.

Writes a folder with report.html, which opens in any browser and needs no network, the same as
report.md and report.json, the proof, and a model for `logistack predict`. All that the page says of
a model was measured on rows that the model has not learned from.
"""

PREDICT = """Predict the rows of a table with the model of a report.

Writes CSV: the row, the likeliest label, its probability and those of all labels, the set of labels
that holds the right one in 90% of cases, how far the networks disagree, and the columns in which
the row is unlike all that the model has learned from.
"""

CHUNK = 10_000
"""So many rows are in memory at once."""


def _reading(conf: Any) -> Callable[..., Reading]:
    """Makes a reading of the options that both commands have."""
    arg = conf.arg

    def read(
        *,
        encoding: Annotated[
            str | None,
            arg(metavar="NAME", help="Of text that is not UTF-8.", help_behavior_hint=""),
        ] = None,
        decimal: Annotated[
            Literal[".", ","],
            arg(metavar="MARK", help="What stands before the fraction of a number."),
        ] = ".",
        no_missing: Annotated[
            bool,
            conf.FlagCreatePairsOff,
            arg(
                help="Labels and levels such as NA or None are text, and not missing ones.",
                help_behavior_hint="",
            ),
        ] = False,
    ) -> Reading:
        return Reading(encoding, decimal, not no_missing)

    return read


def report_command(conf: Any) -> Callable[..., Callable[[], int]]:
    """The subcommand `report`; `conf` is tyro's."""
    arg = conf.arg
    flag = conf.FlagCreatePairsOff

    def report(
        data: Annotated[
            Path,
            conf.Positional,
            arg(metavar="DATA.CSV", help="A table: delimited text, Parquet or Feather."),
        ],
        *,
        target: Annotated[
            str, arg(metavar="COLUMN", help="The column of the labels, by name or position.")
        ],
        out: Annotated[Path, arg(metavar="FOLDER", help="Where the report is written.")] = Path(
            "report"
        ),
        group: Annotated[
            str | None,
            arg(
                metavar="COLUMN",
                help="Rows with the same value here belong together, such as those of one patient.",
                help_behavior_hint="",
            ),
        ] = None,
        time: Annotated[
            str | None,
            arg(
                metavar="COLUMN",
                help="When each row was: rows held out come later than those learned from.",
                help_behavior_hint="",
            ),
        ] = None,
        test: Annotated[
            Path | None,
            arg(
                metavar="OTHER.CSV",
                help="Another table, to find out whether the model fits its rows, too.",
                help_behavior_hint="",
            ),
        ] = None,
        ignore: Annotated[
            tuple[str, ...],
            arg(metavar="COLUMN ...", help="Columns that are no features.", help_behavior_hint=""),
        ] = (),
        seed: Annotated[int, arg(metavar="N", help="What all that is random is drawn from.")] = 0,
        time_limit: Annotated[
            float,
            arg(metavar="SECONDS", help="In which to end, if two folds and the final fit can."),
        ] = 60.0,
        quick: Annotated[
            bool, flag, arg(help="Try fewer sizes and networks.", help_behavior_hint="")
        ] = False,
        scheduler: Annotated[
            str | None,
            arg(
                metavar="ADDRESS",
                help="Of a Dask scheduler, to whose workers the folds are sent: tcp://host:8786.",
                help_behavior_hint="",
            ),
        ] = None,
        no_header: Annotated[
            bool, flag, arg(help="The first row is a sample.", help_behavior_hint="")
        ] = False,
        reading: Annotated[Reading, arg(name="", constructor=_reading(conf)), conf.OmitArgPrefixes],
    ) -> Callable[[], int]:
        options = {
            "group": group, "time": time, "test": test, "ignore": ignore, "seed": seed,
            "time_limit": time_limit, "quick": quick, "header": not no_header,
        }  # fmt: skip
        options |= reading._asdict()
        return functools.partial(_report, data, target, out, scheduler, options)

    report.__doc__ = REPORT
    return report


UNFINISHED = "unfinished"
"""The folder, beside the report, from which an interrupted one goes on."""


def _report(
    data: Path, target: str, out: Path, scheduler: str | None, options: dict[str, Any]
) -> int:
    from logistack import keep_compiled_programs
    from logistack.reporting import ReportInterrupted, report

    keep_compiled_programs()
    out = _files.local_path("--out", out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out: expected a folder or none, got the file {out}")
    with _bar() as tell, _executor(scheduler) as executor:
        options |= {"tell": tell, "executor": executor, "checkpoint_path": out / UNFINISHED}
        try:
            made = report(data, target, **options)
        except ReportInterrupted as interrupted:
            interrupted.report.save(out)
            print(
                f"logistack: {interrupted}; what was finished is in {out / 'report.html'}, and "
                "the same command goes on",
                file=sys.stderr,
            )
            return 130
        made.save(out)
    for number, (text, _) in enumerate(made.verdict, 1):
        print(f"{number}. {text}")
    if made.doubts:
        print("When not to believe this:")
        for text in made.doubts:
            print(f"- {text}")
    print(
        f"The page is {out / 'report.html'}; `logistack predict {out / 'model'} new.csv` predicts."
    )
    return 0


@contextlib.contextmanager
def _executor(address: str | None) -> Iterator[Executor | None]:
    """That of a Dask scheduler, if there is one."""
    if address is None:
        yield None
        return
    distributed = import_extra("distributed", "dask")
    try:
        client = distributed.Client(address)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--scheduler: expected the address of a Dask scheduler, got {address!r}: {error}"
        ) from error
    with client:
        yield client.get_executor()


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[float, str], None]]:
    """A line on stderr, where that is a terminal, with the share that is done and the time left."""
    shown, begun = sys.stderr.isatty(), time.monotonic()

    def tell(share: float, what: str) -> None:
        if shown:
            spent = time.monotonic() - begun
            left = f", about {spent / share - spent:.0f} s left" if 0.1 < share < 1 else ""
            print(f"\r\033[K{share:4.0%} {what}{left}", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def predict_command(conf: Any) -> Callable[..., Callable[[], int]]:
    """The subcommand `predict`; `conf` is tyro's."""
    arg = conf.arg

    def predict(
        model: Annotated[
            Path,
            conf.Positional,
            arg(metavar="FOLDER", help="The folder `model` of a report."),
        ],
        data: Annotated[
            Path,
            conf.Positional,
            arg(metavar="NEW.CSV", help="A table with the columns that the model needs."),
        ],
        *,
        out: Annotated[
            Path | None,
            arg(
                metavar="PREDICTIONS.CSV",
                help="Where the predictions are written; the standard output without it.",
                help_behavior_hint="",
            ),
        ] = None,
        reading: Annotated[Reading, arg(name="", constructor=_reading(conf)), conf.OmitArgPrefixes],
    ) -> Callable[[], int]:
        return functools.partial(_predict, model, data, out, reading._asdict())

    predict.__doc__ = PREDICT
    return predict


def _predict(folder: Path, data: Path, out: Path | None, reading: dict[str, Any]) -> int:
    from logistack.data import sources
    from logistack.reporting import Model

    if out is not None:
        out = _files.local_path("--out", out)
        if os.path.realpath(out) == os.path.realpath(data):
            raise ValueError(f"--out: expected another file than the data's, got {out}")
    model = Model.load(folder)
    rows = strange = 0
    with contextlib.ExitStack() as opened:
        for table in sources.tables(data, CHUNK, **reading):
            found = model.predict(table)
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            if not rows:  # no file is opened for what cannot be predicted
                file = None if out is None else opened.enter_context(_files.whole(out))
                writer.writerow(_heads(model))
            writer.writerows(_lines(model, found, rows))
            if file is None:
                sys.stdout.write(text.getvalue())
            else:
                file.write(text.getvalue().encode())
            rows += len(found["label"])
            strange += int(found["outside"].any(axis=1).sum())
    sys.stdout.flush()
    print(
        f"{rows:,} rows predicted; {strange:,} have values unlike all that was learned from",
        file=sys.stderr,
    )
    return 0


def _heads(model: Any) -> list[str]:
    shares = (f"p({label})" for label in model.labels.tolist())
    return ["row", model.target, "probability", *shares, "set", "disagreement", "outside"]


def _lines(model: Any, found: dict[str, np.ndarray], start: int) -> Iterator[tuple[Any, ...]]:
    """The cells of the rows of predictions, column by column, for row by row takes longer."""
    rows = range(start + 1, start + 1 + len(found["label"]))
    shares = [_texts(own, ".6g") for own in found["probabilities"].T]
    sets = _joined(found["set"], [str(label) for label in model.labels.tolist()])
    outside = _joined(found["outside"], [column.name for column in model.used])
    return zip(
        rows, found["label"].tolist(), _texts(found["probability"], ".6g"), *shares, sets,
        _texts(found["disagreement"], ".4g"), outside, strict=True,
    )  # fmt: skip


def _texts(values: Any, form: str) -> list[str]:
    return [format(value, form) for value in np.asarray(values).tolist()]


def _joined(chosen: np.ndarray, names: list[str]) -> list[str]:
    """The names that each row chooses; few rows choose differently."""

    @functools.cache
    def text(row: bytes) -> str:
        return "|".join(name for name, own in zip(names, row, strict=True) if own)

    return [text(row.tobytes()) for row in chosen]
