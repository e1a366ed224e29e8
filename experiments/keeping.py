"""What experiments share: how a script starts, refuses and stops, and how it keeps its results.

A script refuses what it cannot work with in one line and before it works: an argument, a missing
data set, a folder that it may not write to. Its outputs are in a folder that is named after the
settings that are not the default, so that two runs do not write over each other. Results that are
kept in the repository, in `KEPT`, are written only where the command line names their file.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import itertools
import json
import math
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias, TypeVar

import jax
import numpy as np
import tyro

import logistack as ls

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Config = TypeVar("Config")
Once: TypeAlias = Callable[[str, Callable[[], Any]], Any]

KEPT = Path(__file__).parent / "results"
"""Where the repository keeps results: the numbers of its README."""

LONGEST_NAME = 100


class RefusedError(ValueError):
    """An argument, file or folder that a script cannot work with; it then ends with status 2."""


# --- How a script starts and stops ---------------------------------------------------------------


def command(main: Callable[[list[str]], int]) -> Callable[..., int]:
    """Makes the `main` of a script end with one line on stderr if it is refused or interrupted.

    Args:
        main: takes the arguments behind the script's name, and returns the exit status.

    Returns:
        The same, taking the arguments of the process if none are given. It exits with status 2 for
        a `RefusedError`, an `OSError` or a missing package, and with 128 + the signal's number for
        an interruption.
    """

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        try:
            return main(sys.argv[1:] if arguments is None else list(arguments))
        except KeyboardInterrupt as stop:
            warnings.simplefilter("ignore")  # from what was cut off in the middle
            words, status = f"{stop}" or "interrupted", 128 + getattr(stop, "signal", signal.SIGINT)
        except (RefusedError, ModuleNotFoundError) as error:
            words, status = f"{error}", 2
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            words, status = f"{where}{error.strerror or error}", 2
        print(" ".join(words.split()), file=sys.stderr)
        raise SystemExit(status)

    return run


def start(main: Callable[[], int]) -> NoReturn:
    """Runs a script to its exit; before and after, Ctrl-C ends the process without a traceback."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(status)


def parse(config: type[Config], arguments: Sequence[str]) -> Config:
    """The configuration that a command line asks for.

    Raises:
        RefusedError: if an option is unknown, or its value cannot be read.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed: Any = tyro.cli(config, args=arguments)
        return dataclasses.replace(parsed, **_local_paths(parsed))
    except SystemExit as end:
        if not end.code:
            raise
        # Under a heading, between rules: "─" in a box, "-" where the terminal has no box.
        lines = [line.strip("│| ") for line in said.getvalue().splitlines()[1:]]
        blocks = itertools.groupby(lines, lambda line: bool(line.strip("─-+╰╯")))
        told = next(list(block) for is_text, block in blocks if is_text)
        raise RefusedError(f"{' '.join(told)} (--help says what there is)") from None


def _local_paths(config: Any) -> dict[str, Path]:
    """The paths of a configuration, with `~` taken for the home folder."""
    paths = {name: value for name, value in vars(config).items() if isinstance(value, Path)}
    for name, path in paths.items():
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", f"{path}"):
            raise RefusedError(f"{name}: expected a path in the local file system, got {path}")
    return {name: path.expanduser() for name, path in paths.items()}


def command_line(script: str, arguments: Sequence[str]) -> str:
    """What was typed to run a script of this folder."""
    return shlex.join(["python", f"experiments/{script}", *arguments])


# --- What a script refuses -----------------------------------------------------------------------


def require_counts(config: Any, *names: str, low: int = 1, high: float = math.inf) -> None:
    """Raises RefusedError for whole numbers outside low … high; None is always allowed."""
    for name in names:
        value = getattr(config, name)
        several = isinstance(value, tuple)
        for each in value if several else (value,):
            if each is not None and not low <= each <= high:
                limit = f"at least {low}" if high == math.inf else f"from {low} to {high:.0f}"
                raise RefusedError(
                    f"{name}: expected {'each ' if several else ''}{limit}, got {value}"
                )


def require_some(config: Any, *names: str) -> None:
    """Raises RefusedError for an empty list."""
    for name in names:
        if not getattr(config, name):
            raise RefusedError(f"{name}: expected at least one, got none")


def require_distinct(config: Any, *names: str) -> None:
    """Raises RefusedError for a list that has something twice."""
    for name in names:
        value = getattr(config, name)
        if len(set(value)) < len(value):
            raise RefusedError(f"{name}: expected each once, got {value}")


def require_numbers(config: Any, *names: str, zero: bool = False) -> None:
    """Raises RefusedError for numbers that float32 has not, finite and above 0, or 0 if `zero`."""
    low, high = (float(limit) for limit in (np.finfo(np.float32).tiny, np.finfo(np.float32).max))
    for name in names:
        value = getattr(config, name)
        for each in value if isinstance(value, tuple) else (value,):
            if not (low <= each <= high or (zero and each == 0)):
                limit = "at least 0" if zero else "above 0"
                if 0 < each < math.inf:
                    limit = f"from {low:.2g} to {high:.2g}"
                raise RefusedError(f"{name}: expected finite numbers {limit}, got {value}")


def require_seed(config: Any) -> None:
    """Raises RefusedError for a seed outside the range in which no two are the same to JAX."""
    require_counts(config, "seed", low=0, high=2**32 - 1)


def require_known(name: str, asked: Sequence[str], known: Sequence[str]) -> None:
    """Raises RefusedError for unknown names."""
    unknown = [each for each in asked if each not in known]
    if unknown:
        raise RefusedError(f"{name}: expected some of {', '.join(known)}, got {', '.join(unknown)}")


def require_folder(name: str, folder: Path) -> None:
    """Makes a folder for results; raises RefusedError if it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise RefusedError(
            f"{name}: expected a folder to write to, got {folder}: {error.strerror}"
        ) from error


def _require_no_other(name: str, path: Path) -> None:
    """Raises RefusedError for what is there and is no file: it may have no end, or not be ours."""
    if path.exists() and not path.is_file():
        raise RefusedError(f"{name}: expected a file, got {path}, which is something else")


def require_file(name: str, path: Path) -> None:
    """Makes the folder of a file for results; raises RefusedError if that cannot be written."""
    _require_no_other(name, path)
    require_folder(name, path.parent)


def load(name: str, *, split: str | None = None, seed: int = 0) -> ls.data.Dataset:
    """The data set of this name, as `ls.data.load` has it.

    Raises:
        RefusedError: if its files are neither here nor to be had, or are damaged.
    """
    try:
        return ls.data.load(name, split=split, seed=seed)
    except (OSError, ValueError, ImportError) as error:
        why = " ".join([f"{error}", *getattr(error, "__notes__", ())])
        raise RefusedError(f"data: expected the files of {name}, got {why}") from error


def part_of(dataset: ls.data.Dataset, rows: slice | Any) -> ls.data.Dataset:
    """Some samples of a data set."""
    parts = {name: getattr(dataset, name)[rows] for name in ("inputs", "targets", "labels")}
    return dataclasses.replace(dataset, **parts)


# --- What it keeps -------------------------------------------------------------------------------


def folder_of(
    config: Any,
    *,
    always: Sequence[str] = (),
    never: Sequence[str] = ("out", "results", "progress"),
) -> Path:
    """The folder for a configuration's outputs: `out`, or one inside it that names the settings.

    Args:
        config: a dataclass with a field `out`.
        always: fields that are named also where they have their default.
        never: fields that do not change what comes out.

    Returns:
        `out` if every other field has its default, else a folder in it that is named after those
        that have not, such as `usps-hidden-300-300-epochs-60`.
    """
    words = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in never or (value == field.default and field.name not in always):
            continue
        if field.name != "data":  # whose values speak for themselves
            words.append(field.name.replace("_", "-"))
        if value is not True:
            words += map(str, value if isinstance(value, tuple) else [value])
    name = re.sub(r"[^\w.+-]+", "-", "-".join(words))
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return config.out / name


def device() -> str:
    """What everything runs on: `cpu, 2 cores`, or the name of a GPU."""
    first = jax.devices()[0]
    if first.platform != "cpu":
        return first.device_kind
    # Those that this process may use, where the system tells.
    tell = getattr(os, "sched_getaffinity", None)
    return f"cpu, {len(tell(0)) if tell else os.cpu_count()} cores"


def origin(command: str, seconds: float) -> dict[str, Any]:
    """By what command results came about, on what, and how long it took."""
    return {
        "command": command,
        "jax": jax.__version__,
        "device": device(),
        "seconds": round(seconds, 1),
    }


def replayed(made: Mapping[str, Any]) -> str:
    """Says of results that they were read from a file, and how they had come there."""
    return (
        f"Kept from an earlier run, not measured now: {made['command']} "
        f"(JAX {made['jax']}, {made['device']}, {made['seconds']:,.0f} s)"
    )


def read_json(path: Path) -> dict[str, Any]:
    """The content of a file of results.

    Raises:
        RefusedError: if it is not a file with a JSON object.
    """
    _require_no_other("results", path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON and of UTF-8
        raise RefusedError(f"results: expected JSON in {path}, got {error}") from error
    if not isinstance(content, dict):
        raise RefusedError(f"results: expected a JSON object in {path}, got {content!r:.40}")
    return content


def write_json(path: Path, parts: Mapping[str, Any], *, within: str = "") -> None:
    """Writes a JSON object, with a line for each part, and for each entry of a list.

    Args:
        path: the file.
        parts: the object.
        within: the last item of such entries, if it is a list that has lines of its own, too.
    """

    def text(part: Any) -> str:
        return json.dumps(part, ensure_ascii=False)

    def lines(rows: Sequence[Any], indent: str) -> str:
        return f",\n{indent}".join(map(row_text, rows))

    def row_text(row: Any) -> str:
        if not within or not isinstance(row, dict) or within not in row:
            return text(row)
        head = text({**row, within: []}).removesuffix("[]}")
        return f"{head}[\n  {lines(row[within], '  ')}]}}"

    listed = {
        name: f"[\n{lines(part, '')}\n]" if isinstance(part, list) else text(part)
        for name, part in parts.items()
    }
    whole = ",\n".join(f"{text(name)}: {part}" for name, part in listed.items())
    write_whole(path, f"{{{whole}}}\n")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Has an error in writing name the file: a full disk does not by itself."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or f"{error}", f"{path}") from error


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file, whole or not at all; where there is a link, the file that it names.

    Raises:
        RefusedError: if something else has its name.
    """
    _require_no_other("results", path)
    path = Path(os.path.realpath(path))
    unfinished = path.with_name(f"{path.name}.unfinished")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def save_figures(figures: Mapping[str, "Figure"], folder: Path) -> None:
    """Writes figures, and says where each is."""
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        with writing(path):
            ls.plots.save(figure, path)
        print(f"figure  {path}")


class Stopwatch:
    """A callback that counts the seconds of a run, also across interruptions, in a file.

    Attributes:
        seconds: how long it has taken up to the last epoch.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds = self._before = float(path.read_text()) if path.exists() else 0.0
        self._start = time.perf_counter()

    def __call__(self, _: ls.callbacks.Progress) -> None:
        """Notes the time, after an epoch."""
        self.seconds = self._before + time.perf_counter() - self._start
        write_whole(self._path, f"{self.seconds}")


class Unfinished:
    """What a run has found so far, in a folder that is there until it ends: a JSON file a part.

        with Unfinished(folder) as unfinished:
            found = unfinished.once("a part", find)

    An interruption says where that is; the same again then finds only what is missing.

    Attributes:
        seconds: how long what was read had taken to find.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seconds = 0.0

    def once(self, name: str, find: Callable[[], Any]) -> Any:
        """What `find` returns, as JSON has it; it is called if no earlier run has kept that."""
        path = self._folder / f"{name}.json"
        if path.exists():
            part = read_json(path)
            self.seconds += part["seconds"]
            print(f"{name}: found before the interruption, in {path}", file=sys.stderr)
        else:
            began = time.perf_counter()
            part = {"found": find(), "seconds": time.perf_counter() - began}
            write_json(path, part)
        return json.loads(json.dumps(part["found"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is None:
            shutil.rmtree(self._folder, ignore_errors=True)
        elif issubclass(kind, KeyboardInterrupt) and self._folder.exists():
            raise KeyboardInterrupt(
                f"interrupted: the parts that were finished are in {self._folder}: run the same "
                "again to go on"
            )


# --- Tables --------------------------------------------------------------------------------------


def columns(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Rows of text under their heads: so many columns to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def member(tree: Any, index: Any) -> Any:
    """One entry of every array's leading axis."""
    return jax.tree.map(lambda each: each[index], tree)
