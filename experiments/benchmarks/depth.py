"""What does depth cost? Compile time of `fit`, and the memory and time of rematerialization.

    python experiments/benchmarks/depth.py

Depth counts hidden layers. A run of `fit` is timed twice: what the first takes longer than the
second is tracing and compiling. The depths take turns, and a ratio is the median over rounds of the
ratio within one round. Memory is what XLA says a step's temporary arrays take, without its
arguments and results.
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import logistack as ls
from experiments import keeping


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure what depth costs: compile time, memory, and rematerialization."""

    depths: tuple[int, int] = (10, 1000)
    """A shallow and a deep network: numbers of hidden layers."""
    width: int = 64
    """Units of each hidden layer, and inputs."""
    batch_size: int = 512
    """Samples a step."""
    steps: int = 4
    """Steps a run."""
    rounds: int = 5
    """How often everything is measured."""


class Result(NamedTuple):
    """Seconds by round; bytes."""

    compile_seconds: dict[int, list[float]]
    step_bytes: dict[bool, int]
    run_seconds: dict[bool, list[float]]


def seconds(work: Callable[[], Any]) -> float:
    """The seconds that a call takes, until its result is there."""
    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start


def run(config: Config) -> Result:
    """Measures both depths, and the deeper one with rematerialization."""
    random = np.random.default_rng(0)
    samples = config.steps * config.batch_size
    inputs = random.uniform(-0.5, 0.5, (samples, config.width)).astype(np.float32)
    targets = np.eye(10, dtype=np.float32)[random.integers(0, 10, samples)]
    key = jax.random.key(0)
    optimizer = optax.sgd(1e-3, momentum=0.9)
    networks = {
        depth: ls.init_params(key, (config.width, *[config.width] * depth, 10))
        for depth in config.depths
    }

    def train(depth: int, remat: bool) -> ls.FitResult:
        return ls.fit(
            key,
            networks[depth],
            inputs,
            targets,
            optimizer=optimizer,
            epochs=1,
            batch_size=config.batch_size,
            coordinates="centred",
            remat=remat,
        )

    compile_seconds: dict[int, list[float]] = {depth: [] for depth in config.depths}
    run_seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(config.rounds):
        jax.clear_caches()
        for depth, spent in compile_seconds.items():
            first = seconds(functools.partial(train, depth, remat=False))
            spent.append(first - seconds(functools.partial(train, depth, remat=False)))
        for remat, spent in run_seconds.items():
            train(max(config.depths), remat)
            spent.append(seconds(functools.partial(train, max(config.depths), remat)))
    memory = {
        remat: step_bytes(networks[max(config.depths)], inputs, targets, config, remat)
        for remat in run_seconds
    }
    return Result(compile_seconds, memory, run_seconds)


def step_bytes(
    params: ls.Params, inputs: np.ndarray, targets: np.ndarray, config: Config, remat: bool
) -> int:
    """The temporary memory of one step, in bytes."""
    optimizer = optax.sgd(1e-3, momentum=0.9)
    state = ls.init_state(ls.stack(params), optimizer, coordinates="centred")
    step = ls.make_step(optimizer, coordinates="centred", remat=remat)
    batch = inputs[: config.batch_size], targets[: config.batch_size]
    memory: Any = jax.jit(step, donate_argnums=0).lower(state, *batch).compile().memory_analysis()
    return int(memory.temp_size_in_bytes)


def report(result: Result, config: Config) -> str:
    """What was measured, in words."""
    shallow, deep = config.depths
    ratios = [
        one / other
        for one, other in zip(
            result.compile_seconds[deep], result.compile_seconds[shallow], strict=True
        )
    ]
    lines = [f"jax {jax.__version__} on {jax.default_backend()}", ""]
    for depth, times in result.compile_seconds.items():
        lines.append(f"compiling fit at depth {depth:>5,}: {statistics.median(times):.2f} s")
    lines.append(
        f"depth {deep:,} over depth {shallow:,}: {statistics.median(ratios):.2f}×"
        f" ({min(ratios):.2f} to {max(ratios):.2f}); expected at most 2×"
    )
    plain, remat = result.step_bytes[False], result.step_bytes[True]
    slower = [
        one / other
        for one, other in zip(result.run_seconds[True], result.run_seconds[False], strict=True)
    ]
    lines += [
        "",
        f"a step at depth {deep:,}, {config.width} units wide, batch {config.batch_size}: "
        f"{plain / 2**20:.1f} MiB of temporary memory",
        f"with remat: {remat / 2**20:.1f} MiB, {plain / remat:.1f} times less; a run takes "
        f"{statistics.median(slower):.2f}× as long ({min(slower):.2f} to {max(slower):.2f})",
    ]
    return "\n".join(lines)


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the benchmark from the command line."""
    config = keeping.parse(Config, arguments)
    keeping.require_counts(config, "depths", "width", "batch_size", "steps", "rounds")
    print(report(run(config), config))
    return 0


if __name__ == "__main__":
    keeping.start(main)
