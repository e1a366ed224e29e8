"""Many small networks through a Dask cluster on this machine: what sending their blocks costs.

Trains 100,000 2-2-1 networks on XOR in one process and, in turns with it, in blocks sent to worker
processes of one thread each: those of a Dask cluster, and those of the standard library. A perfect
split would take the time of the one process over the number of workers; what a block costs beyond
that is its overhead.

    python experiments/benchmarks/many_machines.py    # minutes; needs the extra `dask`
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import dataclasses
import functools
import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any, NamedTuple

import distributed
import jax
import jax.numpy as jnp
import numpy as np
import optax

import logistack as ls
from experiments import keeping
from experiments.benchmarks import machine
from experiments.benchmarks.timing import timed
from experiments.limits_plane import xor


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure what it costs to send the blocks of a sweep to a Dask cluster."""

    members: int = 100_000
    """Networks."""
    epochs: int = 200
    """Epochs of each; an epoch is one step on all four points."""
    block_size: int = 4_096
    """Networks of a block."""
    workers: int = os.cpu_count() or 1
    """Processes of the cluster."""
    rounds: int = 3
    """How often each is timed."""
    tasks: int = 2_000
    """Empty tasks, for the rate of the scheduler."""


class Found(NamedTuple):
    """What was measured.

    Attributes:
        solved: the share of the networks that solve XOR.
        same: whether the cluster's result is that of one process, bit for bit.
        sent: bytes that go to a worker, a member.
        returned: bytes that come back, a member.
        alone: seconds in one process, by round.
        split: seconds in the workers of Dask, by round.
        pool: seconds in those of the standard library, by round.
        busy: seconds of a core that this process took in `split`, the scheduler's in it.
        rate: empty tasks a second through the scheduler.
        files: the sizes of the files that a block leaves, in bytes.
    """

    solved: float
    same: bool
    sent: float
    returned: float
    alone: list[float]
    split: list[float]
    pool: list[float]
    busy: list[float]
    rate: float
    files: list[int]


def run(config: Config, client: distributed.Client) -> Found:
    """Sweeps here and on the cluster in turns, after each has compiled."""
    sweep = _Sweep(config)
    executor = client.get_executor()
    weighed = Weighed(executor)
    whole, there = sweep(), sweep(executor=weighed)
    solved = float(np.mean(whole.history.accuracy[:, -1] == 1))
    same = jax.tree.all(jax.tree.map(_equal, whole, there))
    del whole, there
    alone, split, pool, busy = [], [], [], []
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(config.workers, spawned) as processes:
        sweep(executor=processes)
        for _ in range(config.rounds):
            alone.append(timed(sweep))
            before = time.process_time()
            split.append(timed(functools.partial(sweep, executor=executor)))
            busy.append(time.process_time() - before)
            pool.append(timed(functools.partial(sweep, executor=processes)))
    return Found(
        solved,
        bool(same),
        weighed.sent / config.members,
        weighed.returned / config.members,
        alone,
        split,
        pool,
        busy,
        _tasks_a_second(executor, config.tasks),
        _files_of_a_block(config),
    )


def report(config: Config, found: Found) -> str:
    """The times, and what a block costs beyond a perfect split."""
    blocks = -(-config.members // config.block_size)
    perfect = [own / config.workers for own in found.alone]
    over = [
        1e3 * (own - best) / blocks for own, best in zip(found.split, perfect, strict=True)
    ]  # by round: the load of the machine drifts
    rows = [
        ("", "median", "lowest", "highest"),
        ("one process, s", *_three(found.alone, 2)),
        (f"{config.workers} workers of Dask, s", *_three(found.split, 2)),
        (f"{config.workers} workers of the standard library, s", *_three(found.pool, 2)),
        ("a perfect split, s", *_three(perfect, 2)),
        ("overhead of a block of Dask, ms", *_three(over, 0)),
        ("processor time here a block, ms", *_three([1e3 * own / blocks for own in found.busy], 0)),
    ]
    epochs = config.members * config.epochs / statistics.median(found.alone)
    return "\n".join(
        [
            f"{config.members:,} networks of 2-2-1 on XOR, {config.epochs:,} epochs, {blocks} "
            f"blocks of {config.block_size:,}: {100 * found.solved:.1f}% solve it",
            f"the same bits as in one process: {'yes' if found.same else 'NO'}",
            *keeping.columns(rows),
            f"{epochs:,.0f} epochs of a member a second in one process",
            f"{found.sent:,.0f} bytes a member sent, {found.returned:,.0f} returned",
            f"{found.rate:,.0f} empty tasks a second through the scheduler",
            f"{len(found.files)} files a block, of {sum(found.files):,} bytes together, the "
            f"largest of {max(found.files):,}",
        ]
    )


def _three(values: list[float], digits: int) -> list[str]:
    return [f"{each:,.{digits}f}" for each in (statistics.median(values), min(values), max(values))]


class _Sweep:
    """The sweep, its keys and starts drawn once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._keys = jax.random.split(jax.random.key(0), config.members)
        draw = functools.partial(ls.init_params, sizes=(2, 2, 1))
        self._start = jax.block_until_ready(jax.jit(jax.vmap(draw))(self._keys))

    def __call__(self, **options: Any) -> ls.FitResult:
        inputs, labels = map(jnp.asarray, xor())
        result = ls.sweep(
            self._keys,
            self._start,
            inputs,
            labels,
            optimizer=optax.adam,
            hyperparams={"learning_rate": 0.1},
            epochs=self._config.epochs,
            every=self._config.epochs,
            block_size=self._config.block_size,
            **options,
        )
        return jax.block_until_ready(result)


class Weighed(Executor):
    """Hands on to another executor, and adds up the bytes that go there and come back."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.sent = self.returned = 0

    def submit(self, function: Any, /, *args: Any, **options: Any) -> Future[Any]:
        """As an executor does."""
        self.sent += sum(map(len, args))
        future = self._executor.submit(function, *args, **options)
        future.add_done_callback(self._weigh)
        return future

    def _weigh(self, future: Future[Any]) -> None:
        self.returned += len(future.result())


def _equal(one: Any, other: Any) -> bool:
    if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
        one, other = map(jax.random.key_data, (one, other))
    return np.array_equal(one, other, equal_nan=True)


def _tasks_a_second(executor: Executor, tasks: int) -> float:
    start = time.perf_counter()
    for future in [executor.submit(abs, -place) for place in range(1, tasks + 1)]:
        future.result()
    return tasks / (time.perf_counter() - start)


def _files_of_a_block(config: Config) -> list[int]:
    one = dataclasses.replace(config, members=min(config.members, config.block_size))
    with tempfile.TemporaryDirectory() as folder:
        _Sweep(one)(checkpoint_path=folder, save_every=config.epochs)
        return [path.stat().st_size for path in Path(folder).glob("block-*/**/*") if path.is_file()]


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the benchmark from the command line."""
    config = keeping.parse(Config, arguments)
    keeping.require_counts(config, "members", "epochs", "block_size", "workers", "rounds", "tasks")
    print(machine.heading(machine.load_now()))
    print()
    with (
        distributed.LocalCluster(
            n_workers=config.workers, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        print(report(config, run(config, client)))
    return 0


if __name__ == "__main__":
    keeping.start(main)
