"""How fast does logistack train, beside PyTorch, scikit-learn, Flax and Equinox?

Every library does the same work: the same network, data, batches of a shuffled epoch, summed
sigmoid cross-entropy and plain SGD in float32. The libraries take turns, round after round, so
that a machine whose speed drifts drifts for all of them, and a ratio is the median over rounds of
the ratio within one round. The first, compiling run of each is timed apart.

    make benchmark
    python experiments/benchmarks/training.py --rounds 9 --parts training --sizes large
    python experiments/benchmarks/training.py --save experiments/benchmarks

The parts:

    training    plain runs, the last of four networks with dropout, and the rate of matrix products
                in the network's own shapes, measured in the same rounds
    validation  runs that validate after each epoch, keep the best parameters, and would stop early
    overhead    what history, health and validation cost `fit`, beside a bare run of the same steps
    checkpoint  what saving costs
    startup     `import logistack`, and a first epoch without and with JAX's cache of compiled
                programs, in processes of their own

Other work on the machine slows the libraries by different amounts: the load is printed, and above
a half it is warned of. Figures to cite are those of a quiet machine.

On a GPU the script is the same, and PyTorch also comes compiled and as a CUDA graph, which is
captured before its first run. A run there is soon over: `--scale 20` makes it last. Both PyTorch
and JAX then multiply in TF32. `--peers torch torch-compile` compiles on a CPU too, with its g++.

scikit-learn differs in what it does not let one choose. Its loss is the mean over the batch, so
that its learning rate is scaled by the batch size; it validates by accuracy alone, where logistack
takes loss and accuracy and the others here the loss; and it has no dropout. The work of a step is
the same.
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import dataclasses
import functools
import importlib
import importlib.util
import itertools
import statistics
import tempfile
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import numpy as np
import optax

import logistack as ls
from experiments import keeping
from experiments.benchmarks import startup
from experiments.benchmarks.machine import Section, heading, load_now, path_of, save
from experiments.benchmarks.timing import Measured, take_turns, timed
from experiments.benchmarks.workloads import WORKLOADS, Train, Workload, make_data, scaled

Part: TypeAlias = Literal["training", "validation", "overhead", "checkpoint", "startup"]
Size: TypeAlias = Literal["small", "medium", "large", "dropout"]
Peer: TypeAlias = Literal["torch", "torch-compile", "torch-graph", "sklearn", "flax", "equinox"]

SIZES_OF_PART: dict[str, tuple[Size, ...]] = {
    "training": ("small", "medium", "large", "dropout"),
    "validation": ("medium", "large"),
    "overhead": ("small", "medium", "large"),
}
LONGER = 20  # times as many epochs of 2-2-1 beside the bare run, which is soon over
MATRIX_LIMIT = 0.85  # of the better rate of matrix products, for the large network
EAGER_LIMIT = 500  # times the rate of PyTorch's loop, for the small network
OVERHEAD_LIMIT = 1.10  # of a bare run's time, for the others
CHECKPOINT_LIMIT = 0.05  # of a run that saves every 10 epochs


class Way(NamedTuple):
    """One way to train: what tables call it, its file among the peers, and options of that."""

    label: str
    file: str
    options: dict[str, str] = {}  # noqa: RUF012


WAYS = {
    "logistack": Way("logistack", "logistack"),
    "torch": Way("PyTorch eager", "torch"),
    "torch-compile": Way("PyTorch compiled", "torch", {"way": "compile"}),
    "torch-graph": Way("PyTorch CUDA graph", "torch", {"way": "graph"}),
    "sklearn": Way("scikit-learn", "sklearn"),
    "flax": Way("Flax NNX", "flax"),
    "equinox": Way("Equinox", "equinox"),
    "bare": Way("bare run", "bare"),
    "fit": Way("fit", "logistack"),
    "validated": Way("fit, validating", "logistack"),
}


def default_peers() -> tuple[Peer, ...]:
    """The peers that are worthwhile on this device; a CPU takes long to compile PyTorch's step."""
    ways: tuple[Peer, ...] = ("torch",)
    if jax.default_backend() == "gpu":
        ways = ("torch", "torch-compile", "torch-graph")
    return (*ways, "sklearn", "flax", "equinox")


@dataclasses.dataclass(frozen=True)
class Config:
    """Time the same training in logistack, PyTorch, scikit-learn, Flax and Equinox."""

    parts: tuple[Part, ...] = ("training", "validation", "overhead", "checkpoint", "startup")
    """What to measure."""
    sizes: tuple[Size, ...] = ("small", "medium", "large", "dropout")
    """Which networks: 2-2-1 on XOR, 256-64-10, 784-800-800-10, 784-1024-1024-1024-10."""
    rounds: int = 7
    """How often the libraries take turns."""
    peers: tuple[Peer, ...] = dataclasses.field(default_factory=default_peers)
    """Which libraries to compare with; one that is not installed is left out, which is printed."""
    scale: float = 1.0
    """Share of the epochs to run: less for a quick look, more on a fast device."""
    save: Path | None = None
    """Folder to keep the numbers in, as JSON, in a file named after the device."""


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config leaves nothing to time."""
    keeping.require_counts(config, "rounds")
    keeping.require_numbers(config, "scale")


def prepare(name: str, work: Workload, *, validate: bool = True) -> Train:
    """A run of one of the ways to train, ready to be timed, on the same data for each."""
    way, (train, held) = WAYS[name], make_data(work)
    peer = importlib.import_module(f"experiments.benchmarks.peers.{way.file}")
    work = work if validate else work._replace(held_out=0)
    return peer.prepare(work, train, held, **way.options)


def workloads(config: Config, part: Part) -> dict[str, Workload]:
    """The part's networks, each with as many epochs as asked for, and its held-out samples."""
    if part not in config.parts:
        return {}
    found: dict[str, Workload] = {}
    for size in SIZES_OF_PART[part]:
        if size in config.sizes:
            work = WORKLOADS[size]
            # As many as MNIST has: 10,000 test images beside 60,000.
            held_out = 0 if part == "training" else max(1, work.samples // 6)
            work = scaled(work, config.scale)._replace(held_out=held_out)
            longer = LONGER if (part, size) == ("overhead", "small") else 1
            found[size] = work._replace(epochs=longer * work.epochs)
    return found


def measure_peers(work: Workload, peers: list[Peer], rounds: int) -> Measured:
    """Times logistack and its peers, and where no validation comes in, matrix products alone."""
    names = ("logistack", *(name for name in peers if not (work.dropout and name == "sklearn")))
    trains = {name: prepare(name, work) for name in names}
    return take_turns(work, trains, rounds, multiply=not work.held_out)


def measure_overhead(work: Workload, rounds: int) -> Measured:
    """`fit` without and with validation, and the bare run, which must end where `fit` does."""
    trains = {
        "bare": prepare("bare", work),
        "fit": prepare("fit", work, validate=False),
        "validated": prepare("validated", work),
    }
    measured = take_turns(work, trains, rounds)
    expected = trains["bare"]()
    for name in ("fit", "validated"):
        state = trains[name]().state
        assert state.epoch == work.epochs, f"{name} stopped after {state.epoch} epochs"
        for own, bare in zip(jax.tree.leaves(state.params), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(own, bare, rtol=1e-3, atol=1e-4, err_msg=name)
    return measured


def measure_checkpoint(rounds: int) -> dict[str, list[float]]:
    """Seconds of an epoch as long as MNIST's, and of saving Adam's state of the same network."""
    work = WORKLOADS["large"]._replace(samples=60_000, epochs=1)
    train = prepare("logistack", work)
    state = ls.init_state(ls.init_params(jax.random.key(0), work.sizes), optax.adam(1e-3))
    seconds: dict[str, list[float]] = {"an epoch of 60,000 samples": [], "a checkpoint": []}
    train()
    with tempfile.TemporaryDirectory() as folder:
        ls.checkpoint.save(folder, state)
        for _ in range(rounds):
            saving = timed(functools.partial(ls.checkpoint.save, folder, state))
            for name, own in zip(seconds, (timed(train), saving), strict=True):
                seconds[name].append(own)
    return seconds


def run(config: Config) -> Iterator[Section]:
    """Lets the libraries take turns, on each workload in its turn."""
    peers = [name for name in config.peers if is_there(name)]
    for size, work in workloads(config, "training").items():
        measured = measure_peers(work, peers, config.rounds)
        table = [*tabulate(measured, "logistack is"), *tell_matrix_rate(size, measured)]
        if size == "small" and "torch" in measured.rounds:
            table.append(f"expected beside PyTorch eager: at least {EAGER_LIMIT}×")
        yield Section("training", size, numbers_of(measured), "\n".join(table))
    for size, work in workloads(config, "validation").items():
        measured = measure_peers(work, peers, config.rounds)
        table = tabulate(measured, "logistack is")
        yield Section("validation", size, numbers_of(measured), "\n".join(table))
    for size, work in workloads(config, "overhead").items():
        measured = measure_overhead(work, config.rounds)
        table = tabulate(measured, "takes", base="bare")
        if size != "small":  # whose bare epoch is a single step of a tenth of a microsecond
            table.append(
                "expected of history, health and validation together: at most "
                f"{OVERHEAD_LIMIT:.2f}×"
            )
        yield Section("overhead", size, numbers_of(measured), "\n".join(table))
    if "checkpoint" in config.parts:
        seconds = measure_checkpoint(config.rounds)
        yield Section("checkpoint", "", {"seconds_of_rounds": seconds}, tell_checkpoint(seconds))
    if "startup" in config.parts:
        seconds = startup.measure(config.rounds)
        yield Section("startup", "", {"seconds_of_rounds": seconds}, startup.tell(seconds))


def is_there(peer: Peer) -> bool:
    """Whether a peer is installed and has the device that it needs."""
    if importlib.util.find_spec(peer.partition("-")[0]) is None:
        return False
    if peer != "torch-graph":
        return True
    import torch

    return bool(torch.cuda.is_available())


def tabulate(measured: Measured, title: str, base: str = "logistack") -> list[str]:
    """One row a library: its rates, its first run, and its time over that of `base`."""
    work, first, rounds, _ = measured
    sizes, plural = "-".join(map(str, work.sizes)), "" if work.epochs == 1 else "s"
    dropped = f", dropout {work.dropout[0]} and {work.dropout[1]}" if work.dropout else ""
    after = f"; validation on {work.held_out:,}" if work.held_out else ""
    soon = work.epochs > 1e3 * min(map(statistics.median, rounds.values()))  # within a millisecond
    units = ("samples/s", "µs/step")
    if work.held_out:
        units = ("epochs/s", "µs/epoch" if soon else "ms/epoch")
    lines = [
        f"{sizes}, batch {work.batch_size}{dropped}: {work.epochs:,} epoch{plural} of "
        f"{work.samples:,} samples, {work.steps:,} steps{after}",
        f"{'':<20}{units[0]:>13}{units[1]:>11}{'first run, s':>14}{title:>14}  (range of rounds)",
    ]
    for name, seconds in rounds.items():
        median = statistics.median(seconds)
        if work.held_out:
            each = (1e6 if soon else 1e3) * median / work.epochs
            rates = f"{work.epochs / median:>13,.1f}{each:>11,.{1 if each > 10 else 4}f}"
        else:
            each = 1e6 * median / work.steps
            rates = f"{work.epochs * work.samples / median:>13,.0f}{each:>11,.1f}"
        row = f"{WAYS[name].label:<20}{rates}{first[name]:>14.2f}"
        if name != base:
            ratios = [own / other for own, other in zip(seconds, rounds[base], strict=True)]
            low, middle, high = (
                f"{ratio:.{2 if ratio < 10 else 1}f}"
                for ratio in (min(ratios), statistics.median(ratios), max(ratios))
            )
            row += f"{middle:>13}×  ({low} to {high})"
        lines.append(row)
    return lines


def tell_matrix_rate(size: str, measured: Measured) -> list[str]:
    """The rate of a step's matrix products alone, and the share that logistack's step reaches."""
    work, _, rounds, rates = measured
    if not rates:
        return []

    def share(of: list[float]) -> float:
        """The median share of these rates, each of the same round."""
        return statistics.median(
            work.operations * work.steps / seconds / rate
            for seconds, rate in zip(rounds["logistack"], of, strict=True)
        )

    lines = [
        f"a step's matrix products alone in {name}: {statistics.median(own) / 1e9:,.1f} GFLOP/s; "
        f"logistack's whole step: {share(own):.0%} of that"
        for name, own in rates.items()
    ]
    if size == "large":
        best = [max(both) for both in zip(*rates.values(), strict=True)]
        told = f"{share(best):.0%}, expected at least {MATRIX_LIMIT:.0%}"
        lines.append(f"logistack's whole step, of the better of these in each round: {told}")
    return lines


def tell_checkpoint(seconds: dict[str, list[float]]) -> str:
    """Medians over the rounds, and the share of a run that saving every 10 epochs takes."""
    epochs, saves = seconds.values()
    shares = [save / (10 * epoch + save) for epoch, save in zip(epochs, saves, strict=True)]
    return "\n".join(
        [
            f"{'784-800-800-10, batch 128':<28}{'seconds':>9}  (range of rounds)",
            *(
                f"{name:<28}{statistics.median(own):>9.2f}  ({min(own):.2f} to {max(own):.2f})"
                for name, own in seconds.items()
            ),
            f"saving every 10 epochs takes {statistics.median(shares):.1%} of the run, expected at "
            f"most {CHECKPOINT_LIMIT:.0%}",
        ]
    )


def numbers_of(measured: Measured) -> dict[str, Any]:
    """One workload's numbers, under names that say their units."""
    return {
        "work": measured.work._asdict(),
        "first_run_seconds": measured.first,
        "seconds_of_rounds": measured.rounds,
        "matrix_operations_per_second_of_rounds": measured.matrix_rates,
    }


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the benchmark from the command line."""
    config = keeping.parse(Config, arguments)
    require_config(config)
    if config.save is not None:
        keeping.require_folder("save", config.save)
    load = load_now()
    print(heading(load))
    for missing in itertools.filterfalse(is_there, config.peers):
        print(f"{WAYS[missing].label} is not installed, or has no device here, and is left out")
    sections = []
    for section in run(config):
        print(f"\n{section.table}", flush=True)
        sections.append(section)
    if config.save is not None:
        command = keeping.command_line("benchmarks/training.py", arguments)
        save(path_of(config.save, "training"), sections, command, load)
    return 0


if __name__ == "__main__":
    keeping.start(main)
