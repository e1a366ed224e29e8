"""Where does a line stop being enough, and how many hidden units does it take then?

For points in the plane, the fewest hidden units h with which a 2-h-1 network of logistic units is
right on every sample, from above and from below. From above, a network is trained, and the exact
certificate of its hidden space says that a line, its last unit, is enough there: a proof by
example. That no seed got there is an observation. From below, `ls.hidden_bound` proves that fewer
are too few.

Then: how many questions on digits does a line answer, at the input of a network and after every
layer? And, with `--mnist`, on MNIST, and how long does a proof take?

    python experiments/limits.py            # minutes on two cores
    python experiments/limits.py --mnist    # and some more, with 4 GB of memory
    python experiments/limits.py --table    # the numbers that are kept, in seconds

All numbers go to a small JSON beside the figures. The repository keeps one,
`experiments/results/limits.json`, which is written only if `--results` names it; its part on MNIST
then stays as it is until the next `--mnist`. A run that is interrupted goes on behind the last part
that was finished when the same command is given again.
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import dataclasses
import functools
import hashlib
import itertools
import json
import resource
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import logistack as ls
from experiments import keeping, limits_digits, limits_plane
from experiments.limits_plane import DATA, Capacity, Config, Points
from experiments.limits_tables import report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMPONENTS = ("principal component 1", "principal component 2")


class Result(NamedTuple):
    """All that was found: the numbers, as JSON has them, and what is drawn."""

    kept: dict[str, Any]
    capacities: tuple[Capacity, ...]
    pair: limits_digits.TwoDigits


def settings_of(config: Config) -> dict[str, Any]:
    """The settings that decide the numbers, as in the JSON."""
    left_out = ("mnist", "table", "results", "out")
    settings = dataclasses.asdict(config)
    return json.loads(json.dumps({k: v for k, v in settings.items() if k not in left_out}))


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config asks for something that does not exist."""
    keeping.require_known("data", config.data, list(DATA))
    keeping.require_counts(
        config, "seeds", "border", "widest", "epochs", "snapshots", "asked", "digit_epochs",
        "components", "hidden",
    )  # fmt: skip
    keeping.require_counts(config, "samples", low=50)  # of every digit some
    keeping.require_counts(config, "pair", low=0, high=9)
    keeping.require_numbers(config, "learning_rate", "steepness", "budget")
    if config.epochs % config.snapshots:
        raise keeping.RefusedError(
            f"epochs: expected a multiple of the {config.snapshots} snapshots, got {config.epochs}"
        )
    if config.steepness[0] > config.steepness[1]:
        raise keeping.RefusedError(
            f"steepness: expected the lower limit first, got {config.steepness}"
        )
    if config.pair[0] == config.pair[1]:
        raise keeping.RefusedError(f"pair: expected two digits, got {config.pair}")


def folder_of(config: Config) -> Path:
    """The folder for figures and films."""
    return keeping.folder_of(config, never=("mnist", "table", "results", "out"))


def results_of(config: Config) -> Path:
    """The file that the numbers are kept in."""
    return config.results or folder_of(config) / "limits.json"


def recall(path: Path) -> dict[str, Any]:
    """The numbers in a file.

    Raises:
        RefusedError: if they are not of this experiment.
    """
    kept = keeping.read_json(path)
    parts = {"settings", "origin", "plane", "digits", "mnist"}
    if kept.keys() != parts:
        raise keeping.RefusedError(
            f"results: expected what this experiment keeps in {path}, got other JSON"
        )
    return kept


def run(config: Config, *, command: str = "run(config)") -> Result:
    """Finds how many hidden units are enough, and asks where a line is; keeps the numbers."""
    require_config(config)
    path = results_of(config)
    mnist = recall(path)["mnist"] if path.exists() else None
    rows = slice(config.samples)
    digits = keeping.part_of(keeping.load("digits"), rows)
    if config.mnist:
        images = keeping.part_of(keeping.load("mnist", split="train"), rows)

    def untangle(components: int) -> list[dict[str, Any]]:
        return [row._asdict() for row in limits_digits.untangle(config, components, digits)]

    settings = settings_of(config)
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:8]
    with keeping.Unfinished(path.with_name(f"unfinished-{digest}")) as unfinished:
        once, began = unfinished.once, time.perf_counter()
        capacities = tuple(limits_plane.capacity(config, name, once) for name in config.data)
        untangled = [
            once(f"{k} components", functools.partial(untangle, k)) for k in config.components
        ]
        pair = limits_digits.two_digits(config, digits)
        before = unfinished.seconds
        kept: dict[str, Any] = {
            "settings": settings,
            "origin": keeping.origin(command, before + time.perf_counter() - began),
            "plane": [capacity_as_json(each) for each in capacities],
            "digits": [*itertools.chain(*untangled)],
            "mnist": mnist,
        }
        if config.mnist:
            began = time.perf_counter()
            against = [row._asdict() for row in limits_digits.against_the_rest(images, once)]
            seconds = unfinished.seconds - before + time.perf_counter() - began
            kept["mnist"] = {
                "rows": against,
                "gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1),
                "origin": keeping.origin(command, seconds),
            }
        keeping.write_json(path, kept)
    return Result(json.loads(json.dumps(kept)), capacities, pair)


def capacity_as_json(each: Capacity) -> dict[str, Any]:
    """One data set's numbers. A cone's place is a fraction, as text."""
    below, network = each.bound, each.network
    return {
        "name": each.name,
        "samples": each.samples,
        "one_unit": str(below.one_unit),
        "at_least": below.hidden,
        "why": below.why,
        "cones": [{**cone._asdict(), "place": str(cone.place)} for cone in below.cones],
        "line": below.line,
        "tries": [attempt._asdict() for attempt in each.tries],
        "margin": network and float(network.separator.margin),
        "network": network and limits_plane.as_json(network.params),
    }


# --- Pictures -----------------------------------------------------------------------------------


def plot(result: Result) -> dict[str, "Figure"]:
    """Draws each data set's regions, hidden space, bent grid and certificate, and two digits'."""
    figures = {}
    for each in result.capacities:
        name, points = file_name(each.name), DATA[each.name]()
        figures[f"{name}-certificate"] = ls.plots.certificate(each.bound.one_unit)
        if each.network is None:
            continue
        params, proof = each.network.params, each.network.separator
        figures[f"{name}-regions"] = ls.plots.decision_regions(params, *points)
        figures[f"{name}-hidden"] = ls.plots.hidden_space(
            params, *points, layer=1, certificate=proof
        )
        figures[f"{name}-grid"] = ls.plots.warped_grid(
            params, *points, layers=(0, 1), certificates=(each.bound.one_unit, proof, None)
        )
    pair = result.pair
    plane = keeping.member(pair.snapshots, -1)
    points = Points(pair.points.inputs, pair.names)
    figures["digits-plane-certificate"] = ls.plots.certificate(
        pair.in_plane[0], axis_labels=COMPONENTS
    )
    figures["digits-plane-regions"] = ls.plots.decision_regions(
        plane, *points, axis_labels=COMPONENTS
    )
    figures["digits-plane-grid"] = ls.plots.warped_grid(
        plane, *points, certificates=pair.in_plane, axis_labels=COMPONENTS
    )
    figures["digits-certificate"] = ls.plots.certificate(pair.in_pixels[0], image_shape=(8, 8))
    figures["digits-hidden"] = ls.plots.hidden_space(
        pair.params, pair.pixels, pair.names, layer=1, certificate=pair.in_pixels[1]
    )
    return figures


def file_name(name: str) -> str:
    return name.lower().replace(" ", "-")


class Reel(NamedTuple):
    """What is shown of one network's training."""

    title: str
    points: Points
    snapshots: ls.Params
    loss: np.ndarray
    axis_labels: tuple[str, str] = ("$x_1$", "$x_2$")


def films(result: Result, folder: Path) -> list[Path]:
    """Writes the films, and returns where they are."""
    reels = {
        file_name(each.name): Reel(
            each.name, DATA[each.name](), each.network.snapshots, each.network.loss
        )
        for each in result.capacities
        if each.network is not None
    }
    pair = result.pair
    one, other = np.unique(pair.names).tolist()
    reels["digits"] = Reel(
        f"The digits {one} and {other} in two principal components",
        Points(pair.points.inputs, pair.names),
        pair.snapshots,
        pair.loss,
        COMPONENTS,
    )
    paths = []
    for name, reel in reels.items():
        paths.append(folder / f"{name}.html")
        with keeping.writing(paths[-1]):
            film(paths[-1], reel, result.kept["settings"]["epochs"])
    return paths


def film(path: Path, reel: Reel, epochs: int) -> None:
    """Writes how training bends the plane: many frames of the start, where most of it happens."""
    last = len(reel.loss) - 1
    chosen = np.unique(np.rint(last * np.linspace(0, 1, 60) ** 2).astype(int))
    hidden = reel.snapshots[0].weight.shape[-2]
    ls.plots.film(
        [keeping.member(reel.snapshots, frame) for frame in chosen],
        *reel.points,
        path,
        captions=[
            f"epoch {epochs * i // last:,}, loss {reel.loss[i]:.3g}" for i in chosen.tolist()
        ],
        title=f"{reel.title}: how the layers of a 2-{hidden}-1 network bend the plane",
        axis_labels=reel.axis_labels,
    )


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the experiment from the command line; 1 if the fewest units of a set are not found."""
    config = keeping.parse(Config, arguments)
    require_config(config)
    if config.table:
        path = config.results or keeping.KEPT / "limits.json"
        print(report(recall(path), now=()))
        return 0
    folder, path = folder_of(config), results_of(config)
    keeping.require_folder("out", folder)
    keeping.require_file("results", path)
    result = run(config, command=keeping.command_line("limits.py", arguments))
    print(report(result.kept, now=("plane", "mnist") if config.mnist else ("plane",)))
    print()
    print(f"results {path}")
    keeping.save_figures(plot(result), folder)
    for each in films(result, folder):
        print(f"film    {each}")
    return 0 if all(each.network or not each.bound.hidden for each in result.capacities) else 1


if __name__ == "__main__":
    ls.keep_compiled_programs()
    keeping.start(main)
