"""How fast does logistack train many networks at once, beside PyTorch, scikit-learn and plain JAX?

Every peer trains the same members: the same samples, starts and batches, summed sigmoid
cross-entropy and plain SGD in float32; their losses at the end must be those of the same steps in
NumPy and float64. Each is in a process of its own, with the environment that suits it, and they
take turns. A ratio is the median over rounds of the ratio within one round.

    make benchmark-population
    python experiments/benchmarks/population.py --rounds 9 --parts equal --networks 64-32-10
    python experiments/benchmarks/population.py --save experiments/benchmarks

The parts:

    equal       members of one size, and the rate of a large matrix product in the same rounds
    mixed       members of widths 8 to 64 and depths 1 to 4, beside as much work in one size
    spirals     100 networks 2-32-2 beside one
    folds       5 folds × 20 settings on the 8×8 digits, beside `GridSearchCV`
    stopped     members that stop after two of many epochs, beside one that does
    reach       from 1 member to as many as memory holds, beside the rates at which the device
                multiplies and copies; with --save also as Markdown and as a figure

In their own order every member takes the samples as its key says; in a shared order all take them
alike, so that the first layer's products are one for all. scikit-learn draws order and start by
itself, and its loss is only to be near that of the others.

Other work on the machine slows the peers by different amounts: the load is printed, and above a
half it is warned of. Figures to cite are those of a quiet machine.
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
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import numpy as np

from experiments import keeping
from experiments.benchmarks import population_questions as questions
from experiments.benchmarks import population_reach as reach
from experiments.benchmarks.machine import Section, heading, load_now, path_of, save
from experiments.benchmarks.peers import (
    jax_members,
    logistack_members,
    sklearn_members,
    torch_members,
)
from experiments.benchmarks.populations import (
    Order,
    Population,
    Ready,
    expected_losses,
    prepare_matrix,
)
from experiments.benchmarks.processes import Task, Turns, take_turns
from experiments.benchmarks.workloads import Workload, scaled

Part: TypeAlias = Literal["equal", "mixed", "spirals", "folds", "stopped", "reach"]
Network: TypeAlias = Literal["64-32-10", "256-64-10", "784-256-10"]
Peer: TypeAlias = Literal[
    "eager", "products", "torch-vmap", "sklearn", "scanned", "scanned-2", "prototype",
    "prototype-2", "fit",
]  # fmt: skip

WORK: dict[Network, Workload] = {
    "64-32-10": Workload((64, 32, 10), samples=1600, batch_size=32, epochs=10),
    "256-64-10": Workload((256, 64, 10), samples=1600, batch_size=32, epochs=10),
    "784-256-10": Workload((784, 256, 10), samples=1600, batch_size=32, epochs=2),
}
# At least how many times the rates of the bases.
EXPECTED: dict[str, tuple[float, ...]] = {"64-32-10": (60, 3, 5), "256-64-10": (18, 1.7, 3)}
BASES: tuple[Peer, ...] = ("eager", "products", "fit")
REACHING = ("population", "products", "prototype")  # the ways that `reach` times
DEVICES = 2  # of the CPU, for the peers that use some
ON_DEVICES = {
    "XLA_FLAGS": (
        f"--xla_force_host_platform_device_count={DEVICES} --xla_cpu_multi_thread_eigen=false"
    )
}
TOLERANCE = 2e-5  # of the losses that are to be the same
NEAR = 0.15  # of those with starts and orders of their own
MATRIX = {"cpu": 2048, "gpu": 8192}  # size of the large products
COPIED = {"cpu": 2**28, "gpu": 2**32}  # bytes of the array that is copied


class Way(NamedTuple):
    """One way to train a population: its name in tables, and in which orders it is timed."""

    label: str
    prepare: Callable[[Population], Ready]
    orders: tuple[Order, ...] = ("own", "shared")
    environment: dict[str, str] = {}  # noqa: RUF012


def torch(way: Literal["eager", "products", "vmap"]) -> Callable[[Population], Ready]:
    return functools.partial(torch_members.prepare, way=way)


WAYS: dict[str, Way] = {
    "population": Way(
        "fit_population", logistack_members.prepare, environment=logistack_members.ENVIRONMENT
    ),
    "eager": Way("PyTorch, one by one", torch("eager"), ("own",)),
    "products": Way("PyTorch, baddbmm", torch("products")),
    "torch-vmap": Way("PyTorch, func.vmap", torch("vmap")),
    "sklearn": Way("scikit-learn, joblib", sklearn_members.prepare, ("own",)),
    "scanned": Way("jax.vmap of a scan", jax_members.prepare_scanned),
    "scanned-2": Way(
        f"the same, {DEVICES} devices",
        functools.partial(jax_members.prepare_scanned, devices=DEVICES),
        environment=ON_DEVICES,
    ),
    "prototype": Way("JAX by hand", jax_members.prepare_prototype, ("shared",)),
    "prototype-2": Way(
        f"the same, {DEVICES} devices",
        functools.partial(jax_members.prepare_prototype, devices=DEVICES),
        ("shared",),
        ON_DEVICES,
    ),
    "fit": Way("jax.vmap of ls.fit", logistack_members.prepare_vmap, ("own",)),
}


def on_gpu() -> bool:
    return jax.default_backend() == "gpu"


def default_parts() -> tuple[Part, ...]:
    """All, but what a CPU soon has told."""
    parts: tuple[Part, ...] = ("equal", "mixed", "spirals", "folds", "stopped")
    return (*parts, "reach") if on_gpu() else parts


def default_networks() -> tuple[Network, ...]:
    return tuple(WORK) if on_gpu() else ("64-32-10", "256-64-10")


def default_peers() -> tuple[Peer, ...]:
    """All, but on a GPU those that make devices of the CPU's cores."""
    return tuple(
        peer for peer in get_args(Peer) if not (on_gpu() and WAYS[peer].environment is ON_DEVICES)
    )


@dataclasses.dataclass(frozen=True)
class Config:
    """Time the training of populations in logistack, PyTorch, scikit-learn and plain JAX."""

    parts: tuple[Part, ...] = dataclasses.field(default_factory=default_parts)
    """What to measure."""
    networks: tuple[Network, ...] = dataclasses.field(default_factory=default_networks)
    """Which networks, where the members are of one size."""
    members: int = 64
    """How many members, in the parts `equal` and `mixed`."""
    reach: tuple[int, ...] = (1, 4, 16, 64, 256, 1024, 4096, 16384)
    """Numbers of members in the part `reach`."""
    rounds: int = 5
    """How often the peers take turns."""
    peers: tuple[Peer, ...] = dataclasses.field(default_factory=default_peers)
    """What to compare with; what is not installed is left out, which is printed."""
    scale: float = 1.0
    """Share of the epochs to run: less for a quick look, more on a fast device."""
    seconds: float = 0.3
    """How long a turn takes at least, of as many runs as that needs."""
    save: Path | None = None
    """Folder to keep the numbers in, as JSON, in a file named after the device."""


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config leaves nothing to time."""
    keeping.require_some(config, "reach")
    keeping.require_counts(config, "rounds", "members", "reach")
    keeping.require_numbers(config, "scale")
    keeping.require_numbers(config, "seconds", zero=True)
    if list(config.reach) != sorted(set(config.reach)):
        raise keeping.RefusedError(f"reach: expected rising numbers, got {config.reach}")


def is_there(peer: str) -> bool:
    """Whether what a peer needs is installed."""
    needs = {"sklearn": "sklearn"} | dict.fromkeys(("eager", "products", "torch-vmap"), "torch")
    return peer not in needs or importlib.util.find_spec(needs[peer]) is not None


def tasks_of(names: list[str], work: Workload, members: int) -> dict[tuple[str, Order], Task]:
    """A task for each way and each of its orders."""
    return {
        (name, order): Task(
            functools.partial(WAYS[name].prepare, Population(work, members, order)),
            WAYS[name].environment,
        )
        for name in names
        for order in WAYS[name].orders
    }


def run(config: Config) -> Iterator[Section]:
    """Measures the parts in turn."""
    names: list[str] = ["population", *filter(is_there, config.peers)]
    works: dict[str, Workload] = {
        network: scaled(WORK[network], config.scale) for network in config.networks
    }
    if "equal" in config.parts:
        for network, work in works.items():
            yield measure_equal(config, network, work, names)
    pace = functools.partial(take_turns, rounds=config.rounds, at_least=config.seconds)
    for part, measure in questions.PARTS.items():
        if part in config.parts:
            yield measure(config.scale, config.members, pace)
    if "reach" in config.parts:
        beside = [name for name in names if name in REACHING]
        device = jax.default_backend()
        yield reach.measure(
            works,
            config.reach,
            functools.partial(tasks_of, beside),
            {name: WAYS[name].label for name in beside},
            rounds=config.rounds,
            at_least=config.seconds,
            matrix=MATRIX[device],
            copied=COPIED[device],
        )


def measure_equal(config: Config, network: str, work: Workload, names: list[str]) -> Section:
    """Times every way, and asserts that they did the same work."""
    tasks = {
        f"{name}, {order}": task
        for (name, order), task in tasks_of(names, work, config.members).items()
    }
    matrix = Task(functools.partial(prepare_matrix, MATRIX[jax.default_backend()]))
    turns = take_turns({**tasks, "matrix": matrix}, config.rounds, config.seconds)
    require_same_work(turns, work, config.members)
    (operations,) = turns.told["matrix"]
    rates = [operations / seconds for seconds in turns.rounds["matrix"]]
    numbers = {
        "work": work._asdict(),
        "members": config.members,
        "first_run_seconds": turns.first,
        "seconds_of_rounds": turns.rounds,
        "losses": turns.told,
        "matrix_operations_per_second_of_rounds": rates,
        "load_at_end": load_now(),
    }
    table = tabulate(turns, Population(work, config.members), rates)
    if network in EXPECTED:
        told = (
            f"{limit:g}× {WAYS[base].label}"
            for base, limit in zip(BASES, EXPECTED[network], strict=True)
        )
        table.append(f"expected of fit_population: at least {', '.join(told)}")
    return Section("equal", network, numbers, "\n".join(table))


def require_same_work(turns: Turns, work: Workload, members: int) -> None:
    """Asserts that the members of every peer end where the same steps in float64 do."""
    orders: tuple[Order, ...] = ("own", "shared")
    expected = {
        f"{order}": np.array(expected_losses(Population(work, members, order))) for order in orders
    }
    for name, told in turns.told.items():
        peer, _, order = name.partition(", ")
        losses = np.array(told)
        if peer == "sklearn":
            np.testing.assert_allclose(losses.mean(), expected["own"].mean(), rtol=NEAR)
        elif order:
            np.testing.assert_allclose(losses, expected[order], rtol=TOLERANCE, err_msg=name)


def tabulate(turns: Turns, population: Population, matrix: list[float]) -> list[str]:
    """One row a way and order: its rate, beside those of the bases and of a matrix product.

    PyTorch's products are compared with in the same order.
    """
    work = population.work
    sizes, limit = "-".join(map(str, work.sizes)), statistics.median(matrix)
    load = load_now()
    heads = ("", "order", "million/s", "(range)", "× one by one", "× baddbmm", "× vmap(fit)")
    rows: list[tuple[str, ...]] = [(*heads, "compile, s", "of matrix rate")]
    for name, seconds in turns.rounds.items():
        way, _, order = name.partition(", ")
        if way not in WAYS:
            continue
        rates = [population.samples / own / 1e6 for own in seconds]
        share = statistics.median(
            population.operations / own / rate for own, rate in zip(seconds, matrix, strict=True)
        )
        ratios = []
        for base in BASES:
            beside = f"{base}, {order if base == 'products' else 'own'}"
            told = ""
            if beside in turns.rounds and beside != name:
                told = f"{statistics.median(turns.ratios(beside, name)):.2f}×"
            ratios.append(told)
        rows.append(
            (
                WAYS[way].label, order, f"{statistics.median(rates):.3f}",
                f"({min(rates):.3f} to {max(rates):.3f})", *ratios,
                f"{turns.compile_seconds(name):.1f}", f"{share:.1%}",
            )
        )  # fmt: skip
    return [
        f"{population.members} members {sizes}, batch {work.batch_size}: {work.epochs} epochs of "
        f"{work.samples:,} samples, {work.steps:,} steps; samples times networks a second",
        *keeping.columns(rows, left=2),
        f"a large matrix product: {limit / 1e9:,.1f} GFLOP/s "
        f"({min(matrix) / 1e9:,.1f} to {max(matrix) / 1e9:,.1f}); "
        f"load at the end, this benchmark's own included: "
        f"{'unknown' if load is None else f'{load:.2f}'}",
    ]


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the benchmark from the command line."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the peers need the memory
    config = keeping.parse(Config, arguments)
    require_config(config)
    if config.save is not None:
        keeping.require_folder("save", config.save)
    load = load_now()
    print(heading(load))
    for missing in config.peers:
        if not is_there(missing):
            print(f"{WAYS[missing].label} is not installed, and is left out")
    sections = []
    for section in run(config):
        print(f"\n{section.table}", flush=True)
        sections.append(section)
    if config.save is not None:
        path = path_of(config.save, "population")
        save(path, sections, keeping.command_line("benchmarks/population.py", arguments), load)
        for section in sections:
            if section.part == "reach":
                reach.save(section, path)
    return 0


if __name__ == "__main__":
    keeping.start(main)
