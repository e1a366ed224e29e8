"""The work that the libraries of `training.py` do: networks, data, batches and epochs."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
import optax

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
        """The share of its inputs that is dropped, for each layer."""
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


def scaled(work: Workload, scale: float) -> Workload:
    """The work with a share of its epochs, at least one."""
    return work._replace(epochs=max(1, round(work.epochs * scale)))


# Batches divide the samples, so that no library has a smaller last one to treat in its own way.
WORKLOADS = {
    "small": Workload((2, 2, 1), samples=4, batch_size=4, epochs=5000),
    "medium": Workload((256, 64, 10), samples=1600, batch_size=32, epochs=100),
    "large": Workload((784, 800, 800, 10), samples=6400, batch_size=128, epochs=2),
    "dropout": Workload(
        (784, 1024, 1024, 1024, 10), samples=6400, batch_size=128, epochs=1, dropout=(0.2, 0.5)
    ),
}
LEARNING_RATE = 0.01


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


def host_batches(work: Workload, epoch: int) -> list[Any]:
    """The batches of one shuffled epoch, as indices drawn on the host."""
    if work.full_batch:
        return [None]
    order = np.random.default_rng(epoch).permutation(work.samples)
    return np.split(order, work.samples // work.batch_size)


def summed_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """The loss of the JAX peers, in Optax's words."""
    return optax.sigmoid_binary_cross_entropy(logits, targets).sum()
