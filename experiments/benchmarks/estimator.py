"""How fast are logistack's estimators, beside those of scikit-learn, skorch and pytabkit?

Every peer trains networks of the same sizes on the same samples, standardized, with the same batch
size, epochs, optimizer and learning rate, in float32; it draws start and order by itself, and its
accuracy stands beside its time. Each is in a process of its own, and they take turns. A ratio is
the median over rounds of the ratio within one round.

    make benchmark-estimator
    python experiments/benchmarks/estimator.py --parts search --peers skorch --rounds 5
    python experiments/benchmarks/estimator.py --save experiments/benchmarks

The parts:

    one         `StackClassifier` beside `MLPClassifier`
    committee   one of several members, beside `BaggingClassifier(MLPClassifier)`
    search      `StackSearchCV` of 20 candidates on 5 folds, which differ in numbers or in sizes,
                beside `GridSearchCV` of `MLPClassifier` and of skorch's PyTorch
    tabular     pytabkit's RealMLP and TabM with the settings that they come with, which were tuned
                on many tables, beside a single network, a committee, and a committee of the best
                candidate of a search: accuracies, and the seconds of a first fit
    prediction  of many samples, beside NumPy with the same weights
    start       from the start of a process to the end of its first epoch, with what an earlier one
                compiled and without

scikit-learn's and skorch's searches, and the bagging, have two processes. pytabkit is left out
where it is not installed (`pip install pytabkit`), as skorch is.
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import dataclasses
import functools
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from experiments import keeping
from experiments.benchmarks import startup
from experiments.benchmarks.estimators import FOLDS, GRIDS, OPTIMIZER, WORK, Search
from experiments.benchmarks.machine import Section, heading, load_now, path_of, save
from experiments.benchmarks.peers import (
    logistack_estimators,
    logistack_members,
    pytabkit_estimators,
    sklearn_estimators,
    skorch_estimators,
)
from experiments.benchmarks.processes import Apart, Task, Turns, section, take_turns
from experiments.benchmarks.workloads import Workload, scaled

Part: TypeAlias = Literal["one", "committee", "search", "tabular", "prediction", "start"]
Name: TypeAlias = Literal["digits", "mnist"]
Peer: TypeAlias = Literal["skorch", "realmlp", "tabm"]
Pace: TypeAlias = Callable[[Mapping[str, Task]], Turns]

NEEDS = {"skorch": ("skorch", "torch"), "realmlp": ("pytabkit",), "tabm": ("pytabkit",)}
LABELS = {"skorch": "GridSearchCV, skorch", "realmlp": "RealMLP", "tabm": "TabM"}
DEVICES = logistack_members.ENVIRONMENT  # a device for each core
APART = 0.05  # by how much accuracies of the same networks may differ
CLOSE = 1e-4  # probabilities of the same weights

# From nothing to the end of an epoch, on the 8×8 digits that scikit-learn has.
FIRST_EPOCHS = {
    "StackClassifier": """
import logistack as ls
ls.keep_compiled_programs({folder!r})
from sklearn.datasets import load_digits
ls.estimator.StackClassifier((32,), epochs=1, random_state=0).fit(*load_digits(return_X_y=True))
""",
    "MLPClassifier": """
import warnings
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
warnings.simplefilter("ignore")
MLPClassifier((32,), max_iter=1, random_state=0).fit(*load_digits(return_X_y=True))
""",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Time logistack's estimators beside those of scikit-learn, skorch and pytabkit."""

    parts: tuple[Part, ...] = ("one", "committee", "search", "tabular", "prediction", "start")
    """What to measure."""
    data: tuple[Name, ...] = ("digits", "mnist")
    """Which samples and networks; searches are over the digits alone."""
    searches: tuple[Search, ...] = ("numbers", "sizes")
    """What the candidates of a search differ in."""
    members: int = 16
    """How many networks a committee has."""
    rows: int = 10_000
    """How many samples are predicted."""
    rounds: int = 5
    """How often the peers take turns."""
    peers: tuple[Peer, ...] = ("skorch", "realmlp", "tabm")
    """What to compare with beside scikit-learn; what is not installed is left out, and told."""
    scale: float = 1.0
    """Share of the epochs to run."""
    seconds: float = 0.3
    """How long a turn takes at least, of as many runs as that needs."""
    save: Path | None = None
    """Folder to keep the numbers in, as JSON, in a file named after the device."""


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config leaves nothing to time."""
    keeping.require_some(config, "parts", "data", "searches")
    keeping.require_counts(config, "rounds", "members", "rows")
    keeping.require_numbers(config, "scale")
    keeping.require_numbers(config, "seconds", zero=True)


def is_there(peer: str) -> bool:
    """Whether what a peer needs is installed."""
    return all(importlib.util.find_spec(need) is not None for need in NEEDS[peer])


def run(config: Config, pace: Pace | None = None) -> Iterator[Section]:
    """Measures the parts in turn."""
    pace = pace or functools.partial(take_turns, rounds=config.rounds, at_least=config.seconds)
    works = {name: scaled(WORK[name], config.scale) for name in config.data}
    small = scaled(WORK["digits"], config.scale)
    peers = [peer for peer in config.peers if is_there(peer)]
    for name, work in works.items():
        if "one" in config.parts:
            yield measure_fits(name, work, 1, pace)
        if "committee" in config.parts:
            yield measure_fits(name, work, config.members, pace)
    if "search" in config.parts:
        for search in config.searches:
            yield measure_search(search, small, peers, pace)
    if "tabular" in config.parts:
        yield measure_tabular(small, config.members, peers)
    if "prediction" in config.parts:
        for name, work in works.items():
            for members in (1, config.members):
                yield measure_prediction(name, work, members, config.rows, pace)
    if "start" in config.parts:
        yield measure_start(config.rounds)


def ours(
    label: str, prepare: Callable[..., Any], *arguments: Any, several: bool = True
) -> dict[str, Task]:
    """Tasks of logistack's: as it comes, and where the cores are devices."""
    task = functools.partial(prepare, *arguments)
    tasks = {label: Task(task)}
    return (
        tasks | {f"the same, {os.cpu_count()} devices": Task(task, DEVICES)} if several else tasks
    )


def told_of(work: Workload) -> str:
    """The network and its work, in a table's first line."""
    sizes = "-".join(map(str, work.sizes))
    return f"{sizes} on {work.samples:,} samples, batch {work.batch_size}, {work.epochs} epochs"


def speed_of(turns: Turns, name: str, base: str) -> str:
    """How many times as fast as another, later and in the first run."""
    faster = turns.ratios(base, name)
    return (
        f"{name} is {statistics.median(faster):.2f}× as fast as {base} ({min(faster):.2f} to "
        f"{max(faster):.2f}); with what it compiles {turns.first[base] / turns.first[name]:.2f}×"
    )


def measure_fits(name: str, work: Workload, members: int, pace: Pace) -> Section:
    """One network, or a committee, beside scikit-learn's."""
    base, own = "MLPClassifier", "StackClassifier"
    if members > 1:
        base, own = f"BaggingClassifier, {members}", f"StackClassifier, {members} members"
    tasks = {base: Task(functools.partial(sklearn_estimators.prepare, work, members))}
    tasks |= ours(own, logistack_estimators.prepare, work, members, several=members > 1)
    turns = pace(tasks)
    accuracies = {which: told[0] for which, told in turns.told.items()}
    require_near(accuracies)
    last = [
        speed_of(turns, own, base),
        "accuracy on the test split: "
        + "; ".join(f"{which} {accuracy:.3f}" for which, accuracy in accuracies.items()),
    ]
    part = "one" if members == 1 else "committee"
    found = section(
        part, [f"{told_of(work)}, Adam"], turns, base, last, work=work._asdict(), members=members
    )
    return found._replace(size=name)


def require_near(accuracies: Mapping[str, float]) -> None:
    """Asserts that the same networks have learned about as much."""
    assert max(accuracies.values()) - min(accuracies.values()) < APART, f"{accuracies}"


def measure_search(search: Search, work: Workload, peers: list[Peer], pace: Pace) -> Section:
    """A search over candidates and folds."""
    base, own = "GridSearchCV, scikit-learn", "StackSearchCV"
    tasks = {base: Task(functools.partial(sklearn_estimators.prepare_search, work, search))}
    if "skorch" in peers:
        prepare = functools.partial(skorch_estimators.prepare_search, work, search)
        tasks[LABELS["skorch"]] = Task(prepare)
    tasks |= ours(own, logistack_estimators.prepare_search, work, search)
    turns = pace(tasks)
    require_near({which: max(told) for which, told in turns.told.items()})
    last = [
        speed_of(turns, own, other) for other in (base, LABELS["skorch"]) if other in turns.told
    ]
    last.append(
        "accuracy over the folds, of the best candidate and the mean of all: "
        + "; ".join(
            f"{which} {max(told):.3f}, {np.mean(told):.3f}" for which, told in turns.told.items()
        )
    )
    heads = [
        f"{len(turns.told[own])} candidates × {FOLDS} folds of {told_of(work)}, "
        f"{OPTIMIZER[search]}; they differ in {' and '.join(GRIDS[search])}"
    ]
    found = section(
        "search", heads, turns, base, last, work=work._asdict(), grid=GRIDS[search], folds=FOLDS
    )
    return found._replace(size=search)


def measure_tabular(work: Workload, members: int, peers: list[Peer]) -> Section:
    """Accuracies beside the seconds of a first fit, each in a process of its own."""
    ways: dict[str, Callable[[], Any]] = {
        "StackClassifier": functools.partial(logistack_estimators.prepare, work, 1),
        f"StackClassifier, {members} members": functools.partial(
            logistack_estimators.prepare, work, members
        ),
        f"{members} members of StackSearchCV's best": functools.partial(
            logistack_estimators.prepare_refitted, work, "sizes", members
        ),
    }
    for peer in ("realmlp", "tabm"):
        if peer in peers:
            ways[LABELS[peer]] = functools.partial(pytabkit_estimators.prepare, work, peer)
    rows = [("", "seconds", "accuracy")]
    numbers = {}
    for name, prepare in ways.items():
        with Apart(Task(prepare)) as apart:
            seconds, (accuracy,) = apart.first, apart.told()
        numbers[name] = {"seconds": seconds, "accuracy": accuracy}
        rows.append((name, f"{seconds:.1f}", f"{accuracy:.3f}"))
    heads = [f"a first fit, with what it compiles, on {work.samples:,} samples of the 8×8 digits"]
    return Section("tabular", "", numbers, "\n".join([*heads, *keeping.columns(rows)]))


def measure_prediction(name: str, work: Workload, members: int, rows: int, pace: Pace) -> Section:
    """Probabilities of many samples, beside plain NumPy."""
    base, own = "NumPy, the same weights", "StackClassifier"
    prepare = functools.partial(sklearn_estimators.prepare_prediction, work, members, rows)
    tasks = {
        base: Task(functools.partial(logistack_estimators.prepare_products, work, members, rows)),
        **ours(own, logistack_estimators.prepare_prediction, work, members, rows, several=False),
        "MLPClassifier" if members == 1 else "BaggingClassifier": Task(prepare),
    }
    turns = pace(tasks)
    np.testing.assert_allclose(turns.told[own], turns.told[base], atol=CLOSE)
    several = f" by {members} members" if members > 1 else ""
    sizes = "-".join(map(str, work.sizes))
    heads = [f"probabilities of {rows:,} samples by {sizes}{several}"]
    found = section(
        "prediction", heads, turns, base, [], sizes=work.sizes, members=members, rows=rows
    )
    return found._replace(size=f"{name}, {members}")


def measure_start(rounds: int) -> Section:
    """From the start of a process to the end of its first epoch."""
    seconds: dict[str, list[float]] = {}

    def add(name: str, code: str) -> None:
        start = time.time()
        seconds.setdefault(name, []).append(startup.end_of(code) - start)

    own, base = FIRST_EPOCHS
    for code in FIRST_EPOCHS.values():  # so that no round reads the files from the disk
        with tempfile.TemporaryDirectory() as folder:
            startup.end_of(code.format(folder=folder))
    for _ in range(rounds):
        add(base, FIRST_EPOCHS[base])
        with tempfile.TemporaryDirectory() as folder:
            for which in ("nothing kept", "a second process"):
                add(f"{own}, {which}", FIRST_EPOCHS[own].format(folder=folder))
    lines = [("from the start of a process", "seconds", "(range)")]
    lines += [
        (name, f"{statistics.median(each):.2f}", f"({min(each):.2f} to {max(each):.2f})")
        for name, each in seconds.items()
    ]
    heads = "to the end of its first epoch, 64-32-10 on the 8×8 digits\n"
    table = heads + "\n".join(keeping.columns(lines))
    return Section("start", "", {"seconds_of_rounds": seconds}, table)


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the benchmark from the command line."""
    config = keeping.parse(Config, arguments)
    require_config(config)
    if config.save is not None:
        keeping.require_folder("save", config.save)
    load = load_now()
    print(heading(load))
    for missing in config.peers:
        if not is_there(missing):
            print(f"{LABELS[missing]} is not installed, and is left out")
    sections = []
    for found in run(config):
        print(f"\n{found.table}", flush=True)
        sections.append(found)
    if config.save is not None:
        command = keeping.command_line("benchmarks/estimator.py", arguments)
        save(path_of(config.save, "estimator"), sections, command, load)
    return 0


if __name__ == "__main__":
    keeping.start(main)
