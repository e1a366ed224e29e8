"""Runs that take turns: seconds of each, and the rate of matrix products alone beside them."""

import importlib.util
import time
from typing import NamedTuple, TypeAlias

import jax
import numpy as np

from experiments.benchmarks.peers import torch as torch_peer
from experiments.benchmarks.workloads import Train, Workload

Operands: TypeAlias = list[tuple[np.ndarray, np.ndarray]]


class Measured(NamedTuple):
    """One workload: the seconds of every first and later run, and the rates of matrix products."""

    work: Workload
    first: dict[str, float]
    rounds: dict[str, list[float]]
    matrix_rates: dict[str, list[float]]


def timed(run: Train) -> float:
    """How long one call takes, in seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def take_turns(
    work: Workload, trains: dict[str, Train], rounds: int, *, multiply: bool = False
) -> Measured:
    """Runs each once, for what compiling costs, and then round after round."""
    operations, products = prepare_products(work) if multiply else (0.0, {})
    jax.clear_caches()  # another part may have compiled the same program
    first = {name: timed(train) for name, train in trains.items()}
    for run in products.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in trains}
    rates: dict[str, list[float]] = {name: [] for name in products}
    for _ in range(rounds):
        for name, train in trains.items():
            seconds[name].append(timed(train))
        for name, run in products.items():
            rates[name].append(operations / timed(run))
    return Measured(work, first, seconds, rates)


def prepare_products(work: Workload) -> tuple[float, dict[str, Train]]:
    """A step's matrix products alone, over and over: how many operations that is, and by whom."""
    if work.operations < 1e6:  # the rate would show what a call costs, not a product
        return 0.0, {}
    on_cpu = jax.default_backend() == "cpu"
    wanted = (1e9 if on_cpu else 1e12) / work.operations
    repeats = 4 * min(2500, max(1, int(wanted / 4)))
    generator = np.random.default_rng(0)
    operands = [
        (generator.random((m, k), np.float32), generator.random((k, n), np.float32))
        for m, k, n in work.products
    ]
    libraries = {"NumPy": numpy_products} if on_cpu else {"JAX": jax_products}
    if importlib.util.find_spec("torch"):
        libraries["PyTorch"] = torch_peer.products
    runs = {name: multiply(operands, repeats) for name, multiply in libraries.items()}
    return float(work.operations * repeats), runs


def numpy_products(operands: Operands, repeats: int) -> Train:
    """The products in NumPy, each into an array of its own."""
    triples = [(a, b, a @ b) for a, b in operands]

    def run() -> None:
        for _ in range(repeats):
            for a, b, out in triples:
                np.matmul(a, b, out=out)

    return run


def jax_products(operands: Operands, repeats: int) -> Train:
    """The products in JAX, a few times over in one compiled program."""
    # In a loop on the device XLA would multiply once for all; four sets of arguments it takes for
    # different ones, though they are the same, and four times the work hides what a call costs.
    placed = [jax.device_put(operands)] * 4
    multiply = jax.jit(lambda sets: [a @ b for pairs in sets for a, b in pairs])

    def run() -> None:
        for _ in range(repeats // 4):
            outs = multiply(placed)
        jax.block_until_ready(outs)

    return run
