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
    startup     `import logistack`, and a first epoch without and with JAX's cache of compiled
                programs, in processes of their own

On a GPU the script is the same, and PyTorch also comes compiled and as a CUDA graph, which is
captured before its first run. A run there is soon over: `--scale 20` makes it last. Both PyTorch
and JAX then multiply in TF32. `--peers torch torch-compile` compiles on a CPU too, with its g++.

scikit-learn differs in what it does not let one choose. Its loss is the mean over the batch, so
that its learning rate is scaled by the batch size; it validates by accuracy alone, where logistack
takes loss and accuracy and the others here the loss; and it has no dropout. The work of a step is
the same.
"""

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import logistack as ls

Part: TypeAlias = Literal["training", "validation", "overhead", "checkpoint", "startup"]
Size: TypeAlias = Literal["small", "medium", "large", "dropout"]
Peer: TypeAlias = Literal["torch", "torch-compile", "torch-graph", "sklearn", "flax", "equinox"]
Train: TypeAlias = Callable[[], Any]


class Workload(NamedTuple):
    """One network and the work of training it; none has both dropout and validation."""

    sizes: tuple[int, ...]
    samples: int
    batch_size: int
    epochs: int
    dropout: tuple[float, float] | None = None  # of the inputs, and of the hidden activations
    held_out: int = 0  # samples to validate on after each epoch

    @property
    def steps(self) -> int:
        """How many batches all epochs have."""
        return self.epochs * math.ceil(self.samples / self.batch_size)

    @property
    def full_batch(self) -> bool:
        """Whether a batch is the whole set, which is not shuffled then."""
        return self.batch_size == self.samples

    @property
    def rates(self) -> tuple[float, ...]:
        """Which share of its inputs each layer is not given."""
        inputs, hidden = self.dropout or (0.0, 0.0)
        return (inputs, *[hidden] * (len(self.sizes) - 2))

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


# Batches divide the samples, so that no library has a smaller last one to treat in its own way.
WORKLOADS = {
    "small": Workload((2, 2, 1), samples=4, batch_size=4, epochs=5000),
    "medium": Workload((256, 64, 10), samples=1600, batch_size=32, epochs=100),
    "large": Workload((784, 800, 800, 10), samples=6400, batch_size=128, epochs=2),
    "dropout": Workload(
        (784, 1024, 1024, 1024, 10), samples=6400, batch_size=128, epochs=1, dropout=(0.2, 0.5)
    ),
}
SIZES_OF_PART: dict[str, tuple[Size, ...]] = {
    "training": ("small", "medium", "large", "dropout"),
    "validation": ("medium", "large"),
    "overhead": ("small", "medium", "large"),
}
LEARNING_RATE = 0.01
MATRIX_LIMIT = 0.85  # of the better rate of matrix products, for the large network
OVERHEAD_LIMIT = 1.10  # of a bare run's time
LIBRARIES = ("jax", "jaxlib", "optax", "numpy", "torch", "scikit-learn", "flax", "equinox")
IMPORT_LIMIT = 0.3  # seconds beyond `import jax`
CHECKPOINT_LIMIT = 0.05  # of a run that saves every 10 epochs


def default_peers() -> tuple[Peer, ...]:
    """Every peer that this device has a use for; a CPU takes long to compile PyTorch's step."""
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
    """Which libraries to stand beside; one that is not installed is left out, and said so."""
    scale: float = 1.0
    """Share of the epochs to run: less for a quick look, more on a fast device."""
    save: Path | None = None
    """Folder to keep the numbers in, as JSON, in a file named after the device."""


class Data(NamedTuple):
    """Samples, their targets as rows as wide as the output, and their classes."""

    inputs: np.ndarray
    targets: np.ndarray
    labels: np.ndarray


def make_data(work: Workload) -> tuple[Data, Data]:
    """Training and held-out samples: XOR, over again, or random ones."""
    total, width, outputs = work.samples + work.held_out, work.sizes[0], work.sizes[-1]
    if width == 2:
        inputs = np.resize(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), (total, 2))
        labels = np.resize(np.array([0, 1, 1, 0]), total)
    else:
        generator = np.random.default_rng(0)
        inputs = generator.random((total, width), np.float32)
        labels = generator.integers(0, outputs, total)
    targets = labels[:, None] if outputs == 1 else np.eye(outputs)[labels]
    whole = Data(inputs, targets.astype(np.float32), labels)
    return (
        Data(*(array[: work.samples] for array in whole)),
        Data(*(array[work.samples :] for array in whole)),
    )


def prepare_logistack(work: Workload, train: Data, held: Data) -> Train:
    """`fit`: every epoch in one compiled program."""
    key = jax.random.key(0)
    params = ls.init_params(key, work.sizes)
    x, y = jnp.asarray(train.inputs), jnp.asarray(train.targets)
    validation = (jnp.asarray(held.inputs), jnp.asarray(held.targets)) if work.held_out else None

    def run() -> ls.FitResult:
        result = ls.fit(
            key,
            params,
            x,
            y,
            optimizer=optax.sgd(LEARNING_RATE),
            epochs=work.epochs,
            batch_size=None if work.full_batch else work.batch_size,
            dropout=0.0 if work.dropout is None else work.dropout,
            validation=validation,
            patience=work.epochs if work.held_out else None,
        )
        return jax.block_until_ready(result)

    return run


def prepare_bare(work: Workload, train: Data, held: Data) -> Train:
    """The steps of `fit` and nothing else, in one compiled program: what they cost at least."""
    key = jax.random.key(0)
    start = ls.init_params(key, work.sizes)
    optimizer = optax.sgd(LEARNING_RATE)
    x, y = jnp.asarray(train.inputs), jnp.asarray(train.targets)

    def objective(params: ls.Params, x: jax.Array, y: jax.Array) -> jax.Array:
        # As `fit` does, sample by sample: written in rows, x @ W.T, XLA makes other products of it.
        def one(a: jax.Array, target: jax.Array) -> jax.Array:
            for layer in params[:-1]:
                a = jax.nn.sigmoid(layer.weight @ a + layer.bias)
            logits = params[-1].weight @ a + params[-1].bias
            return ls.losses.sigmoid_cross_entropy(logits, target)

        return jax.vmap(one)(x, y).sum()

    def step(carry: Any, index: jax.Array | None, x: jax.Array, y: jax.Array) -> tuple[Any, None]:
        params, state = carry
        gradient = jax.grad(objective)(params, *rows(x, y, index))
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def train_all(params: ls.Params, x: jax.Array, y: jax.Array) -> ls.Params:
        def epoch(carry: Any, number: jax.Array) -> tuple[Any, None]:
            if work.full_batch:
                return step(carry, None, x, y)
            order = ls.training.epoch_order(key, number, work.samples)
            batches = order.reshape(-1, work.batch_size)
            return jax.lax.scan(functools.partial(step, x=x, y=y), carry, batches)[0], None

        carry = (params, optimizer.init(params))
        return jax.lax.scan(epoch, carry, jnp.arange(work.epochs))[0][0]

    return lambda: jax.block_until_ready(train_all(start, x, y))


def rows(x: Any, y: Any, index: Any) -> tuple[Any, Any]:
    """One batch, or all samples where there is no index."""
    return (x, y) if index is None else (x[index], y[index])


def go_through_epochs(
    work: Workload,
    state: Any,
    run_epoch: Callable[[Any, int], Any],
    measure: Callable[[Any], Any],
    keep: Callable[[Any], Any],
) -> tuple[Any, Any]:
    """The peers' loop on the host, with early stopping: the last state, and the best one's copy."""
    best, best_epoch, kept = math.inf, 0, None
    for epoch in range(work.epochs):
        state = run_epoch(state, epoch)
        if not work.held_out:
            continue
        value = float(measure(state))
        if value < best:
            best, best_epoch, kept = value, epoch, keep(state)
        elif epoch - best_epoch >= work.epochs:
            break
    return state, kept


def prepare_torch(
    work: Workload,
    train: Data,
    held: Data,
    way: Literal["eager", "compile", "graph"] = "eager",
) -> Train:
    """PyTorch: `nn.Sequential`, `BCEWithLogitsLoss`, `optim.SGD`, and a loop."""
    import torch

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, which is what JAX takes by default
    layers: list[Any] = []
    for (fan_in, fan_out), rate in zip(itertools.pairwise(work.sizes), work.rates, strict=True):
        layers += [torch.nn.Dropout(rate)] if rate else []
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.Sigmoid()]
    network = torch.nn.Sequential(*layers[:-1]).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE)
    loss = torch.nn.BCEWithLogitsLoss(reduction="sum")
    x, y, held_x, held_y = (
        torch.from_numpy(array).to(device)
        for array in (train.inputs, train.targets, held.inputs, held.targets)
    )

    def objective(x: Any, y: Any) -> Any:
        return loss(network(x), y)

    differentiable = torch.compile(objective) if way == "compile" else objective

    def step(index: Any) -> None:
        differentiable(*rows(x, y, index)).backward()
        optimizer.step()
        optimizer.zero_grad()

    def prepare_step() -> Callable[[Any], None]:
        if way != "graph":
            return step
        place = None if work.full_batch else torch.arange(work.batch_size, device=device)
        replay = capture_graph(lambda: step(place))

        def copy_and_replay(index: Any) -> None:
            if place is not None:
                place.copy_(index)
            replay()

        return copy_and_replay

    take_step = prepare_step()

    def run_epoch(network: Any, epoch: int) -> Any:
        if work.full_batch:
            take_step(None)
            return network
        for index in torch.randperm(work.samples, device=device).split(work.batch_size):
            take_step(index)
        return network

    def measure(network: Any) -> float:
        network.eval()
        with torch.no_grad():
            value = objective(held_x, held_y).item()
        network.train()
        return value

    def keep(network: Any) -> dict[str, Any]:
        return {name: value.clone() for name, value in network.state_dict().items()}

    def run() -> None:
        go_through_epochs(work, network, run_epoch, measure, keep)
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def capture_graph(work: Callable[[], None]) -> Callable[[], None]:
    """One CUDA graph of what PyTorch launches, to be launched again as a whole."""
    import torch

    # Capturing wants everything that is set up once, cuBLAS among it, set up on another stream.
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def prepare_sklearn(work: Workload, train: Data, held: Data) -> Train:
    """scikit-learn's `MLPClassifier(activation="logistic")`, for all epochs without stopping."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    # It draws the held-out set itself, rounding its number up.
    total = work.samples + work.held_out
    inputs, labels = (
        np.concatenate(both) for both in ((train.inputs, held.inputs), (train.labels, held.labels))
    )

    def run() -> Any:
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
            early_stopping=work.held_out > 0,
            validation_fraction=max(0.5, work.held_out - 0.5) / total,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return network.fit(inputs, labels)

    return run


def host_batches(work: Workload, epoch: int) -> list[Any]:
    """The batches of one shuffled epoch, as indices drawn on the host."""
    if work.full_batch:
        return [None]
    order = np.random.default_rng(epoch).permutation(work.samples)
    return np.split(order, work.samples // work.batch_size)


def summed_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """The loss of the JAX peers, in Optax's words."""
    return optax.sigmoid_binary_cross_entropy(logits, targets).sum()


def prepare_flax(work: Workload, train: Data, held: Data) -> Train:
    """Flax NNX: a module, `nnx.Optimizer`, and a loop around one `nnx.jit` step."""
    from flax import nnx

    rngs = nnx.Rngs(0)
    layers: list[Any] = []
    for (fan_in, fan_out), rate in zip(itertools.pairwise(work.sizes), work.rates, strict=True):
        layers += [nnx.Dropout(rate, rngs=rngs)] if rate else []
        layers += [nnx.Linear(fan_in, fan_out, rngs=rngs), nnx.sigmoid]
    network = nnx.Sequential(*layers[:-1])
    optimizer = nnx.Optimizer(network, optax.sgd(LEARNING_RATE), wrt=nnx.Param)
    x, y, held_x, held_y = map(
        jnp.asarray, (train.inputs, train.targets, held.inputs, held.targets)
    )

    def objective(network: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return summed_cross_entropy(network(x), y)

    def step(network: Any, optimizer: Any, x: jax.Array, y: jax.Array, index: Any) -> jax.Array:
        value, gradient = nnx.value_and_grad(objective)(network, *rows(x, y, index))
        optimizer.update(network, gradient)
        return value

    take_step = nnx.cached_partial(nnx.jit(step), network, optimizer)
    evaluate = nnx.cached_partial(nnx.jit(objective), network)

    def run_epoch(state: Any, epoch: int) -> jax.Array:
        for index in host_batches(work, epoch):
            state = take_step(x, y, index)
        return state

    def run() -> Any:
        return jax.block_until_ready(
            go_through_epochs(
                work,
                None,
                run_epoch,
                measure=lambda _: evaluate(held_x, held_y),
                keep=lambda _: jax.tree.leaves(nnx.state(network)),
            )
        )

    return run


def prepare_equinox(work: Workload, train: Data, held: Data) -> Train:
    """Equinox: `eqx.nn.Linear` layers, and a loop around one `eqx.filter_jit` step."""
    import equinox as eqx

    keys = jax.random.split(jax.random.key(0), len(work.sizes) - 1)
    start = [
        eqx.nn.Linear(fan_in, fan_out, key=key)
        for key, (fan_in, fan_out) in zip(keys, itertools.pairwise(work.sizes), strict=True)
    ]
    optimizer = optax.sgd(LEARNING_RATE)
    x, y, held_x, held_y = map(
        jnp.asarray, (train.inputs, train.targets, held.inputs, held.targets)
    )

    def predict(layers: Any, x: jax.Array, key: jax.Array | None) -> jax.Array:
        for place, (layer, rate) in enumerate(zip(layers, work.rates, strict=True)):
            x = jax.nn.sigmoid(x) if place else x
            if key is not None:
                x = eqx.nn.Dropout(rate)(x, key=jax.random.fold_in(key, place))
            x = layer(x)
        return x

    def objective(layers: Any, x: jax.Array, y: jax.Array, keys: jax.Array | None) -> jax.Array:
        return summed_cross_entropy(jax.vmap(functools.partial(predict, layers))(x, keys), y)

    def one_step(
        layers: Any, state: Any, key: jax.Array | None, x: jax.Array, y: jax.Array, index: Any
    ) -> tuple[Any, Any, jax.Array | None, jax.Array]:
        x, y = rows(x, y, index)
        keys = None
        if key is not None:
            key, own = jax.random.split(key)
            keys = jax.random.split(own, len(x))
        value, gradient = eqx.filter_value_and_grad(objective)(layers, x, y, keys)
        updates, state = optimizer.update(gradient, state)
        return eqx.apply_updates(layers, updates), state, key, value

    take_step, evaluate = eqx.filter_jit(one_step), eqx.filter_jit(objective)

    def run_epoch(carry: Any, epoch: int) -> Any:
        for index in host_batches(work, epoch):
            *carry, _ = take_step(*carry, x, y, index)
        return carry

    def run() -> Any:
        key = jax.random.key(1) if work.dropout else None
        carry = [start, optimizer.init(eqx.filter(start, eqx.is_array)), key]
        return jax.block_until_ready(
            go_through_epochs(
                work,
                carry,
                run_epoch,
                measure=lambda carry: evaluate(carry[0], held_x, held_y, None),
                keep=lambda carry: carry[0],
            )
        )

    return run


PREPARE: dict[str, Callable[[Workload, Data, Data], Train]] = {
    "logistack": prepare_logistack,
    "torch": prepare_torch,
    "torch-compile": functools.partial(prepare_torch, way="compile"),
    "torch-graph": functools.partial(prepare_torch, way="graph"),
    "sklearn": prepare_sklearn,
    "flax": prepare_flax,
    "equinox": prepare_equinox,
}
NAMES = {
    "logistack": "logistack",
    "torch": "PyTorch eager",
    "torch-compile": "PyTorch compiled",
    "torch-graph": "PyTorch CUDA graph",
    "sklearn": "scikit-learn",
    "flax": "Flax NNX",
    "equinox": "Equinox",
    "bare": "bare run",
    "fit": "fit",
    "validated": "fit, validating",
}


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
        libraries["PyTorch"] = torch_products
    runs = {name: multiply(operands, repeats) for name, multiply in libraries.items()}
    return float(work.operations * repeats), runs


Operands: TypeAlias = list[tuple[np.ndarray, np.ndarray]]


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


def torch_products(operands: Operands, repeats: int) -> Train:
    """The products in PyTorch; on a GPU as a graph, since launching them one by one costs more."""
    import torch

    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    pairs = [[torch.from_numpy(operand).to(device) for operand in pair] for pair in operands]
    triples = [(a, b, a @ b) for a, b in pairs]

    def multiply() -> None:
        for a, b, out in triples:
            torch.mm(a, b, out=out)

    once = capture_graph(multiply) if on_gpu else multiply

    def run() -> None:
        for _ in range(repeats):
            once()
        if on_gpu:
            torch.cuda.synchronize()

    return run


class Measured(NamedTuple):
    """One workload: the seconds of every first and later run, and the rates of matrix products."""

    work: Workload
    first: dict[str, float]
    rounds: dict[str, list[float]]
    matrix_rates: dict[str, list[float]]


class Section(NamedTuple):
    """What one part measured on one workload, and its table."""

    part: Part
    size: str
    numbers: dict[str, Any]
    table: str


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
            epochs = max(1, round(work.epochs * config.scale))
            found[size] = work._replace(epochs=epochs, held_out=held_out)
    return found


def measure_peers(work: Workload, peers: list[Peer], rounds: int) -> Measured:
    """Times logistack and its peers, and where no validation comes in, matrix products alone."""
    data = make_data(work)
    names = ("logistack", *(name for name in peers if not (work.dropout and name == "sklearn")))
    trains = {name: PREPARE[name](work, *data) for name in names}
    return take_turns(work, trains, rounds, multiply=not work.held_out)


def measure_overhead(work: Workload, rounds: int) -> Measured:
    """`fit` without and with validation, and the bare run, which must end where `fit` does."""
    data = make_data(work)
    trains = {
        "bare": prepare_bare(work, *data),
        "fit": prepare_logistack(work._replace(held_out=0), *data),
        "validated": prepare_logistack(work, *data),
    }
    measured = take_turns(work, trains, rounds)
    wanted = trains["bare"]()
    for name in ("fit", "validated"):
        state = trains[name]().state
        assert state.epoch == work.epochs, f"{name} stopped after {state.epoch} epochs"
        for own, bare in zip(jax.tree.leaves(state.params), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(own, bare, rtol=1e-3, atol=1e-4, err_msg=name)
    return measured


def measure_checkpoint(rounds: int) -> dict[str, list[float]]:
    """Seconds of an epoch as long as MNIST's, and of saving Adam's state of the same network."""
    work = WORKLOADS["large"]._replace(samples=60_000, epochs=1)
    train = prepare_logistack(work, *make_data(work))
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


# A job as small as that of experiments/digits.py: as many images of 16×16, the same network.
FIRST_EPOCH = """
import jax, numpy, optax, logistack
generator = numpy.random.default_rng(0)
inputs = generator.random((1437, 256), numpy.float32)
labels = generator.integers(0, 10, 1437)
key = jax.random.key(0)
result = logistack.fit_with_callbacks(
    key, logistack.init_params(key, (256, 128, 64, 10)), inputs, numpy.eye(10)[labels],
    optimizer=optax.sgd(0.02, momentum=0.9), epochs=1, batch_size=32,
)
jax.block_until_ready(result)
"""


def measure_startup(rounds: int) -> dict[str, list[float]]:
    """Seconds from a new process's start to its end of an import, or of a first epoch."""
    seconds: dict[str, list[float]] = {}

    def add(name: str, code: str, cache: str | None = None) -> None:
        start = time.time()
        end = end_of(code, cache)
        seconds.setdefault(name, []).append(end - start)

    imports = {
        "import jax": "import jax",
        "import jax, logistack": "import jax, logistack",
        # logistack imports its parts when they are first used: this is what it has put off.
        "the same, and name ls.fit": "import jax, logistack as ls; ls.fit",
    }
    end_of(imports["the same, and name ls.fit"])  # so that no round reads the files from the disk
    for _ in range(rounds):
        for name, code in imports.items():
            add(name, code)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            add("first epoch, cache empty", FIRST_EPOCH, cache)
            add("first epoch, cache filled", FIRST_EPOCH, cache)
    return seconds


def end_of(code: str, cache: str | None = None) -> float:
    """Runs a program in a process of its own; when it was done, in the clock's seconds."""
    environment = {
        name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"
    }
    if cache is not None:
        # JAX leaves out what compiled within a second, unless it is told otherwise.
        environment |= {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    # This process holds most of a GPU's memory.
    environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    program = f"{code}\nimport time\nprint(time.time())"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=True
    )
    return float(done.stdout)


def run(config: Config) -> Iterator[Section]:
    """Lets the libraries take turns, on each workload in its turn."""
    peers = [name for name in config.peers if is_there(name)]
    for size, work in workloads(config, "training").items():
        measured = measure_peers(work, peers, config.rounds)
        table = [*tabulate(measured, "logistack is"), *tell_matrix_rate(size, measured)]
        yield Section("training", size, numbers_of(measured), "\n".join(table))
    for size, work in workloads(config, "validation").items():
        measured = measure_peers(work, peers, config.rounds)
        table = tabulate(measured, "logistack is")
        yield Section("validation", size, numbers_of(measured), "\n".join(table))
    for size, work in workloads(config, "overhead").items():
        measured = measure_overhead(work, config.rounds)
        limit = (
            f"expected of history, health and validation together: at most {OVERHEAD_LIMIT:.2f}×"
        )
        table = [*tabulate(measured, "takes", base="bare"), limit]
        yield Section("overhead", size, numbers_of(measured), "\n".join(table))
    if "checkpoint" in config.parts:
        seconds = measure_checkpoint(config.rounds)
        yield Section("checkpoint", "", {"seconds_of_rounds": seconds}, tell_checkpoint(seconds))
    if "startup" in config.parts:
        seconds = measure_startup(config.rounds)
        yield Section("startup", "", {"seconds_of_rounds": seconds}, tell_startup(seconds))


def is_there(peer: Peer) -> bool:
    """Whether a peer is installed, and has the device it needs."""
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
    units = ("epochs/s", "ms/epoch") if work.held_out else ("samples/s", "µs/step")
    lines = [
        f"{sizes}, batch {work.batch_size}{dropped}: {work.epochs:,} epoch{plural} of "
        f"{work.samples:,} samples, {work.steps:,} steps{after}",
        f"{'':<20}{units[0]:>13}{units[1]:>11}{'first run, s':>14}{title:>14}  (range of rounds)",
    ]
    for name, seconds in rounds.items():
        median = statistics.median(seconds)
        if work.held_out:
            each = 1e3 * median / work.epochs
            rates = f"{work.epochs / median:>13,.1f}{each:>11,.{1 if each > 10 else 4}f}"
        else:
            each = 1e6 * median / work.steps
            rates = f"{work.epochs * work.samples / median:>13,.0f}{each:>11,.1f}"
        row = f"{NAMES[name]:<20}{rates}{first[name]:>14.2f}"
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
        told = f"{share(best):.0%}, wanted at least {MATRIX_LIMIT:.0%}"
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
            f"saving every 10 epochs takes {statistics.median(shares):.1%} of the run, wanted at "
            f"most {CHECKPOINT_LIMIT:.0%}",
        ]
    )


def tell_startup(seconds: dict[str, list[float]]) -> str:
    """Medians over the rounds, and what logistack adds to JAX's import."""
    first, second, third, *_ = seconds

    def beyond_jax(name: str) -> list[float]:
        return [own - alone for own, alone in zip(seconds[name], seconds[first], strict=True)]

    told = {
        **seconds,
        "logistack beyond jax": beyond_jax(second),
        "and with ls.fit named": beyond_jax(third),
    }
    lines = [f"{'from the start of a process':<28}{'seconds':>9}  (range of rounds)"]
    for name, own in told.items():
        lines.append(
            f"{name:<28}{statistics.median(own):>9.2f}  ({min(own):.2f} to {max(own):.2f})"
        )
    return "\n".join([*lines, f"expected beyond jax: at most {IMPORT_LIMIT} s"])


def heading() -> str:
    """What everything ran on."""
    return (
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}"
    )


def record(sections: list[Section], arguments: list[str]) -> dict[str, Any]:
    """The numbers with what it takes to judge and repeat them."""
    versions = {"python": platform.python_version(), "logistack": ls.__version__}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "experiments/benchmarks/training.py", *arguments]),
        "machine": {
            "device": jax.devices()[0].device_kind,
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": versions,
        "sections": [
            {**section._asdict(), "table": section.table.splitlines()} for section in sections
        ],
    }


def numbers_of(measured: Measured) -> dict[str, Any]:
    """One workload's numbers, under names that say their units."""
    return {
        "work": measured.work._asdict(),
        "first_run_seconds": measured.first,
        "seconds_of_rounds": measured.rounds,
        "matrix_operations_per_second_of_rounds": measured.matrix_rates,
    }


def processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def save(folder: Path, sections: list[Section], arguments: list[str]) -> Path:
    """Writes the record beside those of other devices."""
    device = jax.devices()[0].device_kind.lower().replace(" ", "-")
    path = folder / f"training-{device}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record(sections, arguments), indent=1, ensure_ascii=False) + "\n")
    return path


def main(arguments: list[str] | None = None) -> None:
    """Runs the benchmark from the command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    config = tyro.cli(Config, args=arguments)
    print(heading())
    for missing in itertools.filterfalse(is_there, config.peers):
        print(f"{NAMES[missing]} is not installed, or has no device here, and is left out")
    sections = []
    for section in run(config):
        print(f"\n{section.table}", flush=True)
        sections.append(section)
    if config.save is not None:
        print(f"\nnumbers  {save(config.save, sections, arguments)}")


if __name__ == "__main__":
    main()
