"""What experiments share that keep all they find in one JSON: find or recall, print and draw."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from experiments import keeping

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kept: TypeAlias = dict[str, Any]

# Settings that do not change what is found.
NEVER = ("table", "results", "out")


def settings_of(config: Any) -> dict[str, Any]:
    """The settings that decide what is found, as in the JSON."""
    settings = dataclasses.asdict(config)
    return json.loads(json.dumps({k: v for k, v in settings.items() if k not in NEVER}))


def recall(name: str, path: Path) -> Kept:
    """What was found, from a file.

    Raises:
        RefusedError: if it is not of the experiment of this name.
    """
    kept = keeping.read_json(path)
    parts = {"experiment", "settings", "origin", "found"}
    if kept.keys() != parts or kept["experiment"] != name:
        raise keeping.RefusedError(
            f"results: expected what {name}.py keeps in {path}, got other JSON"
        )
    return kept


def find(
    name: str,
    config: Any,
    run: Callable[[Any, keeping.Once], list[Any]],
    path: Path,
    *,
    command: str = "run(config)",
) -> Kept:
    """Runs an experiment, going on behind the parts that an interrupted run has finished.

    Args:
        name: that of its script.
        config: its settings.
        run: takes these, and a function that keeps a part; returns what is found.
        path: the file to keep that in.
        command: what was typed.
    """
    settings = settings_of(config)
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:8]
    with keeping.Unfinished(path.with_name(f"unfinished-{name}-{digest}")) as unfinished:
        began = time.perf_counter()
        found = run(config, unfinished.once)
        seconds = unfinished.seconds + time.perf_counter() - began
        origin = keeping.origin(command, seconds)
        kept = {"experiment": name, "settings": settings, "origin": origin, "found": found}
        keeping.write_json(path, kept)
    return json.loads(json.dumps(kept))


def answer(
    name: str,
    config: Any,
    arguments: Sequence[str],
    *,
    run: Callable[[Any, keeping.Once], list[Any]],
    report: Callable[[Kept], str],
    plot: Callable[[Kept], Mapping[str, "Figure"]],
) -> None:
    """Finds what the configuration asks for, or with `table` recalls it; prints and draws it."""
    folder = keeping.folder_of(config, never=NEVER)
    keeping.require_folder("out", folder)
    if config.table:
        kept = recall(name, config.results or keeping.KEPT / f"{name}.json")
        print(keeping.replayed(kept["origin"]))
        print()
    else:
        path = config.results or folder / f"{name}.json"
        keeping.require_file("results", path)
        if path.exists():
            recall(name, path)  # which refuses what would be lost
        command = keeping.command_line(f"{name}.py", arguments)
        kept = find(name, config, run, path, command=command)
        print(f"results {path}")
    print(report(kept))
    print()
    keeping.save_figures(plot(kept), folder)
