"""Runs in processes of their own, each with its environment, that take turns when they are told."""

import contextlib
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple, Self

from experiments import keeping
from experiments.benchmarks.machine import Section
from experiments.benchmarks.populations import Ready
from experiments.benchmarks.timing import timed

PATIENCE = 10.0  # seconds in which a process may end by itself


class Task(NamedTuple):
    """What prepares a run, which can be pickled, and the environment that it needs.

    The flags in `XLA_FLAGS` are added to those that are there.
    """

    prepare: Callable[[], Ready]
    environment: Mapping[str, str] = {}


class Turns(NamedTuple):
    """By task: the seconds of the first run, of one run in each round, and what its result told."""

    first: dict[str, float]
    rounds: dict[str, list[float]]
    told: dict[str, list[float]]

    def ratios(self, name: str, base: str) -> list[float]:
        """The time of one over that of another, within each round."""
        both = zip(self.rounds[name], self.rounds[base], strict=True)
        return [own / other for own, other in both]

    def compile_seconds(self, name: str) -> float:
        """What the first run took longer."""
        return max(0.0, self.first[name] - statistics.median(self.rounds[name]))


class Apart:
    """A run in a process of its own, prepared and run once.

    Attributes:
        first: the seconds of this first run, which compiles.
    """

    def __init__(self, task: Task) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        others = multiprocessing.active_children()
        with _environment(task.environment), _ending(self._end):
            # The process starts with the first call, in the environment of that moment.
            prepared = self._pool.submit(_prepare, task.prepare)
            self._processes = [
                each for each in multiprocessing.active_children() if each not in others
            ]
            self.first: float = prepared.result()

    def seconds(self, at_least: float) -> float:
        """The seconds of a run, as the mean of as many as take `at_least` seconds together."""
        return self._pool.submit(_run, at_least).result()

    def told(self) -> list[float]:
        """What the result of the last run comes to."""
        return self._pool.submit(_tell).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(0 if kind else PATIENCE)

    def _end(self, patience: float = 0) -> None:
        """Lets the process end, or ends it after some seconds."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.join(patience)
            process.terminate()


def take_turns(tasks: Mapping[str, Task], rounds: int, at_least: float) -> Turns:
    """Starts each in a process of its own, and has them run round after round."""
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(Apart(task)) for name, task in tasks.items()}
        seconds: dict[str, list[float]] = {name: [] for name in tasks}
        for _ in range(rounds):
            for name, apart in running.items():
                seconds[name].append(apart.seconds(at_least))
        first = {name: apart.first for name, apart in running.items()}
        return Turns(first, seconds, {name: apart.told() for name, apart in running.items()})


def section(
    part: str, heads: list[str], turns: Turns, base: str, last: list[str], **numbers: Any
) -> Section:
    """One row a task: its seconds, those of its first run, and its time over that of the base."""
    rows = [("", "seconds", "(range)", "first run, s", "÷ base", "(range)")]
    for name, seconds in turns.rounds.items():
        ratios = turns.ratios(name, base)
        beside = (f"{statistics.median(ratios):.2f}×", f"({min(ratios):.2f} to {max(ratios):.2f})")
        rows.append(
            (
                name, f"{statistics.median(seconds):.4f}",
                f"({min(seconds):.4f} to {max(seconds):.4f})", f"{turns.first[name]:.2f}",
                *(("", "") if name == base else beside),
            )
        )  # fmt: skip
    numbers |= {
        "first_run_seconds": turns.first,
        "seconds_of_rounds": turns.rounds,
        "told": turns.told,
    }
    return Section(part, "", numbers, "\n".join([*heads, *keeping.columns(rows), *last]))


@contextlib.contextmanager
def _ending(end: Callable[[], None]) -> Iterator[None]:
    """Ends what has begun, where that fails."""
    try:
        yield
    except BaseException:
        end()
        raise


@contextlib.contextmanager
def _environment(environment: Mapping[str, str]) -> Iterator[None]:
    """Adds to the environment that processes start in."""
    before = dict(os.environ)
    # On a GPU the first process would take most of its memory.
    os.environ.update({"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **environment})
    flags = before.get("XLA_FLAGS", ""), environment.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = " ".join(filter(None, flags))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# What the process of a run keeps: its run, and the result of the last one.
_kept: dict[str, Any] = {}


def _prepare(prepare: Callable[[], Ready]) -> float:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that ends this one
    _kept["ready"] = prepare()
    return timed(_run_once)


def _run_once() -> None:
    _kept["result"] = _kept["ready"].run()


def _run(at_least: float) -> float:
    start, runs = time.perf_counter(), 0
    while runs == 0 or time.perf_counter() - start < at_least:
        _run_once()
        runs += 1
    return (time.perf_counter() - start) / runs


def _tell() -> list[float]:
    told: list[float] = _kept["ready"].tell(_kept["result"])
    return told
