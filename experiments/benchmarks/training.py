"""How fast does logistack train, beside PyTorch, scikit-learn, Flax and Equinox?

Every library does the same work: the same network, data, batches of a shuffled epoch, summed
sigmoid cross-entropy and plain SGD in float32. The libraries take turns, round after round, so
that a machine whose speed drifts drifts for all of them, and a ratio is the median over rounds of
the ratio within one round. The first, compiling run of each is timed apart. The machine's rate of
matrix multiplication, in the network's own shapes, is measured in the same rounds.

    make benchmark
    python experiments/benchmarks/training.py --rounds 9 --sizes large

scikit-learn differs in one thing, which it does not let one choose: its loss is the mean over the
batch, so that its learning rate is scaled by the batch size. The work is the same.
"""

import dataclasses
import functools
import importlib.util
import itertools
import math
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import logistack as ls


class Workload(NamedTuple):
    """One network and the work of training it."""

    sizes: tuple[int, ...]
    samples: int
    batch_size: int
    epochs: int

    @property
    def steps(self) -> int:
        """How many batches all epochs have."""
        return self.epochs * math.ceil(self.samples / self.batch_size)

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """The (rows, inner, columns) of every matrix product of one step."""
        shapes = []
        for index, (fan_in, fan_out) in enumerate(itertools.pairwise(self.sizes)):
            shapes.append((self.batch_size, fan_in, fan_out))  # forward
            shapes.append((fan_out, self.batch_size, fan_in))  # gradient of the weight
            if index:
                shapes.append((self.batch_size, fan_out, fan_in))  # gradient of the input
        return shapes

    @property
    def operations(self) -> int:
        """The floating-point operations of these products."""
        return sum(2 * math.prod(shape) for shape in self.products)


WORKLOADS = {
    "small": Workload((2, 2, 1), samples=4, batch_size=4, epochs=5000),
    "medium": Workload((256, 64, 10), samples=1600, batch_size=32, epochs=100),
    "large": Workload((784, 800, 800, 10), samples=6400, batch_size=128, epochs=2),
}
LEARNING_RATE = 0.01


@dataclasses.dataclass(frozen=True)
class Config:
    """Time the same training in logistack, PyTorch, scikit-learn, Flax and Equinox."""

    sizes: tuple[Literal["small", "medium", "large"], ...] = ("small", "medium", "large")
    """Which networks: 2-2-1 on XOR, 256-64-10, and 784-800-800-10."""
    rounds: int = 7
    """How often the libraries take turns."""
    peers: tuple[Literal["torch", "sklearn", "flax", "equinox"], ...] = (
        "torch",
        "sklearn",
        "flax",
        "equinox",
    )
    """Which libraries to stand beside; one that is not installed is left out, and said so."""
    scale: float = 1.0
    """Share of the epochs to run, for a quick look."""


Train: TypeAlias = Callable[[], Any]


def make_data(work: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and integer classes: XOR itself, or as many random samples as the work has."""
    if work.samples == 4:
        inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
        return inputs, np.array([0, 1, 1, 0])
    generator = np.random.default_rng(0)
    inputs = generator.random((work.samples, work.sizes[0]), np.float32)
    return inputs, generator.integers(0, work.sizes[-1], work.samples)


def make_targets(work: Workload, labels: np.ndarray) -> np.ndarray:
    """Rows as wide as the output."""
    if work.sizes[-1] == 1:
        return labels[:, None].astype(np.float32)
    return np.eye(work.sizes[-1], dtype=np.float32)[labels]


def prepare_logistack(work: Workload, inputs: np.ndarray, labels: np.ndarray) -> Train:
    """`fit`: every epoch in one compiled program."""
    key = jax.random.key(0)
    params = ls.init_params(key, work.sizes)
    x, y = jnp.asarray(inputs), jnp.asarray(make_targets(work, labels))
    full = work.batch_size == work.samples

    def train() -> Any:
        result = ls.fit(
            key,
            params,
            x,
            y,
            optimizer=optax.sgd(LEARNING_RATE),
            epochs=work.epochs,
            batch_size=None if full else work.batch_size,
        )
        return jax.block_until_ready(result)

    return train


def prepare_torch(work: Workload, inputs: np.ndarray, labels: np.ndarray) -> Train:
    """PyTorch eager: `nn.Sequential`, `BCEWithLogitsLoss`, `optim.SGD`, and a loop."""
    import torch

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layers: list[Any] = []
    for fan_in, fan_out in itertools.pairwise(work.sizes):
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.Sigmoid()]
    network = torch.nn.Sequential(*layers[:-1]).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE)
    loss = torch.nn.BCEWithLogitsLoss(reduction="sum")
    x = torch.from_numpy(inputs).to(device)
    y = torch.from_numpy(make_targets(work, labels)).to(device)

    def step(x: Any, y: Any) -> None:
        optimizer.zero_grad()
        loss(network(x), y).backward()
        optimizer.step()

    def train() -> None:
        for _ in range(work.epochs):
            if work.batch_size == work.samples:
                step(x, y)
                continue
            for index in torch.randperm(work.samples, device=device).split(work.batch_size):
                step(x[index], y[index])
        if device == "cuda":
            torch.cuda.synchronize()

    return train


def prepare_sklearn(work: Workload, inputs: np.ndarray, labels: np.ndarray) -> Train:
    """scikit-learn's `MLPClassifier(activation="logistic")`, for all epochs without stopping."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    def train() -> Any:
        network = MLPClassifier(
            work.sizes[1:-1],
            activation="logistic",
            solver="sgd",
            alpha=0.0,
            batch_size=work.batch_size,
            learning_rate_init=LEARNING_RATE,
            momentum=0.0,
            max_iter=work.epochs,
            tol=0.0,
            n_iter_no_change=work.epochs + 1,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return network.fit(inputs, labels)

    return train


def jax_batches(work: Workload, epoch: int) -> list[np.ndarray]:
    """The batches of one shuffled epoch, as indices: a loop on the host, as tutorials write it."""
    order = np.random.default_rng(epoch).permutation(work.samples)
    return np.array_split(order, math.ceil(work.samples / work.batch_size))


def summed_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """The loss of the JAX peers, in Optax's words."""
    return optax.sigmoid_binary_cross_entropy(logits, targets).sum()


def prepare_flax(work: Workload, inputs: np.ndarray, labels: np.ndarray) -> Train:
    """Flax NNX: a module, `nnx.Optimizer`, and a loop around one `nnx.jit` step."""
    from flax import nnx

    rngs = nnx.Rngs(0)
    layers: list[Any] = []
    for fan_in, fan_out in itertools.pairwise(work.sizes):
        layers += [nnx.Linear(fan_in, fan_out, rngs=rngs), nnx.sigmoid]
    network = nnx.Sequential(*layers[:-1])
    optimizer = nnx.Optimizer(network, optax.sgd(LEARNING_RATE), wrt=nnx.Param)
    x, y = jnp.asarray(inputs), jnp.asarray(make_targets(work, labels))

    def step(network: Any, optimizer: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        value, gradient = nnx.value_and_grad(lambda net: summed_cross_entropy(net(x), y))(network)
        optimizer.update(network, gradient)
        return value

    cached = nnx.cached_partial(nnx.jit(step), network, optimizer)

    def train() -> Any:
        for epoch in range(work.epochs):
            if work.batch_size == work.samples:
                value = cached(x, y)
                continue
            for index in jax_batches(work, epoch):
                value = cached(x[index], y[index])
        return jax.block_until_ready(value)

    return train


def prepare_equinox(work: Workload, inputs: np.ndarray, labels: np.ndarray) -> Train:
    """Equinox: `eqx.nn.MLP`'s layers, and a loop around one `eqx.filter_jit` step."""
    import equinox as eqx

    keys = jax.random.split(jax.random.key(0), len(work.sizes) - 1)
    start = [
        eqx.nn.Linear(fan_in, fan_out, key=key)
        for key, (fan_in, fan_out) in zip(keys, itertools.pairwise(work.sizes), strict=True)
    ]
    optimizer = optax.sgd(LEARNING_RATE)
    x, y = jnp.asarray(inputs), jnp.asarray(make_targets(work, labels))

    def predict(layers: Any, x: jax.Array) -> jax.Array:
        for layer in layers[:-1]:
            x = jax.nn.sigmoid(layer(x))
        return layers[-1](x)

    def one_step(layers: Any, state: Any, x: jax.Array, y: jax.Array) -> tuple[Any, Any, jax.Array]:
        def objective(layers: Any) -> jax.Array:
            return summed_cross_entropy(jax.vmap(functools.partial(predict, layers))(x), y)

        value, gradient = eqx.filter_value_and_grad(objective)(layers)
        updates, state = optimizer.update(gradient, state)
        return eqx.apply_updates(layers, updates), state, value

    step = eqx.filter_jit(one_step)

    def train() -> Any:
        layers, state = start, optimizer.init(eqx.filter(start, eqx.is_array))
        for epoch in range(work.epochs):
            if work.batch_size == work.samples:
                layers, state, value = step(layers, state, x, y)
                continue
            for index in jax_batches(work, epoch):
                layers, state, value = step(layers, state, x[index], y[index])
        return jax.block_until_ready((layers, value))

    return train


PREPARE: dict[str, Callable[[Workload, np.ndarray, np.ndarray], Train]] = {
    "logistack": prepare_logistack,
    "torch": prepare_torch,
    "sklearn": prepare_sklearn,
    "flax": prepare_flax,
    "equinox": prepare_equinox,
}
NAMES = {
    "logistack": "logistack",
    "torch": "PyTorch eager",
    "sklearn": "scikit-learn",
    "flax": "Flax NNX",
    "equinox": "Equinox",
}


class Measured(NamedTuple):
    """One workload: the seconds of every library's first and later runs, and the matrix rate."""

    work: Workload
    first: dict[str, float]
    rounds: dict[str, list[float]]
    matrix_rates: list[float]


Result: TypeAlias = dict[str, Measured]


def timed(train: Train) -> float:
    """How long one call takes, in seconds."""
    start = time.perf_counter()
    train()
    return time.perf_counter() - start


def matrix_rate(work: Workload) -> float:
    """Operations a second of this network's matrix products alone: NumPy's, or JAX's on a GPU."""
    shapes = work.products
    repeats = min(1000, max(3, int(1e9 / work.operations)))
    operands = [
        (np.ones((rows, inner), np.float32), np.ones((inner, columns), np.float32))
        for rows, inner, columns in shapes
    ]
    if jax.default_backend() == "cpu":
        outs = [np.empty((rows, columns), np.float32) for rows, _, columns in shapes]

        def run() -> None:
            for _ in range(repeats):
                for (a, b), out in zip(operands, outs, strict=True):
                    np.matmul(a, b, out=out)
    else:
        placed = jax.device_put(operands)

        def run() -> None:
            jax.block_until_ready([[a @ b for a, b in placed] for _ in range(repeats)])

    run()
    return work.operations * repeats / timed(run)


def run(config: Config) -> Result:
    """Lets the libraries take turns, on each workload in its turn."""
    peers = [name for name in config.peers if importlib.util.find_spec(name)]
    for missing in sorted(set(config.peers) - set(peers)):
        print(f"{NAMES[missing]} is not installed, and is left out")
    results: Result = {}
    for size in config.sizes:
        work = WORKLOADS[size]
        work = work._replace(epochs=max(1, round(work.epochs * config.scale)))
        inputs, labels = make_data(work)
        trains = {name: PREPARE[name](work, inputs, labels) for name in ("logistack", *peers)}
        first = {name: timed(train) for name, train in trains.items()}
        rounds: dict[str, list[float]] = {name: [] for name in trains}
        rates = []
        for _ in range(config.rounds):
            for name, train in trains.items():
                rounds[name].append(timed(train))
            rates.append(matrix_rate(work))
        results[size] = Measured(work, first, rounds, rates)
    return results


def report(result: Result) -> str:
    """The medians as a table: samples a second, and how many times the peer's logistack's are."""
    lines = [
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}"
    ]
    for work, first, rounds, rates in result.values():
        own = rounds["logistack"]
        rate = statistics.median(rates)
        lines += [
            "",
            f"{'-'.join(map(str, work.sizes))}, batch {work.batch_size}, {work.epochs:,} epochs of "
            f"{work.samples:,} samples, {work.steps:,} steps",
            f"{'':<15}{'samples/s':>13}{'µs/step':>11}{'first run, s':>14}"
            f"{'logistack is':>14}  (range of rounds)",
        ]
        for name, seconds in rounds.items():
            median = statistics.median(seconds)
            row = (
                f"{NAMES[name]:<15}{work.epochs * work.samples / median:>13,.0f}"
                f"{1e6 * median / work.steps:>11,.1f}{first[name]:>14.2f}"
            )
            if name != "logistack":
                ratios = [peer / mine for peer, mine in zip(seconds, own, strict=True)]
                row += (
                    f"{statistics.median(ratios):>13.1f}×  ({min(ratios):.1f} to {max(ratios):.1f})"
                )
            lines.append(row)
        if work.operations < 1e6:  # the rate would show what a call costs, not a product
            continue
        share = statistics.median(
            work.operations * work.steps / seconds / rate
            for seconds, rate in zip(own, rates, strict=True)
        )
        lines.append(
            f"a step's matrix products alone: {rate / 1e9:,.1f} GFLOP/s; logistack's "
            f"whole step: {share:.0%} of that"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Runs the benchmark from the command line."""
    print(report(run(tyro.cli(Config, args=arguments))))


if __name__ == "__main__":
    main()
