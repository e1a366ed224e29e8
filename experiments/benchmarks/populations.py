"""The work of populations in `population.py`: members, their samples, starts and batches.

Every peer gets the same of each, so that it must end where the same steps in float64 end.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

import logistack as ls
from experiments.benchmarks.timing import prepare_products
from experiments.benchmarks.workloads import LEARNING_RATE, Data, Train, Workload, make_data

Order: TypeAlias = Literal["own", "shared"]
Layers: TypeAlias = Sequence[tuple[Any, Any]]  # weights (members, out, in), biases (members, out)

CHECKED = 4  # members whose losses are compared


class Ready(NamedTuple):
    """A run that is ready to be timed, and what its result comes to, which is not."""

    run: Train
    tell: Callable[[Any], list[float]]


class Population(NamedTuple):
    """Networks of one size, each trained by itself, and the order in which they take samples."""

    work: Workload
    members: int
    order: Order = "own"

    @property
    def samples(self) -> int:
        """Samples times networks, over all epochs."""
        return self.members * self.work.epochs * self.work.samples

    @property
    def operations(self) -> int:
        """The floating-point operations of all matrix products."""
        return self.members * self.work.steps * self.work.operations

    @property
    def bytes(self) -> int:
        """What at least must be moved in float32.

        In each step the parameters, which are read forward, and read and written for the update;
        and the batch, once for each member, or once for all.
        """
        sizes, work = self.work.sizes, self.work
        params = sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(sizes))
        batch = work.batch_size * (sizes[0] + sizes[-1])
        batches = self.members if self.order == "own" else 1
        return 4 * work.steps * (3 * self.members * params + batches * batch)


def make_samples(work: Workload) -> Data:
    """Random samples in classes that a network without hidden units can learn."""
    inputs = make_data(work)[0].inputs
    outputs = work.sizes[-1]
    teacher = np.random.default_rng(1).standard_normal((work.sizes[0], outputs))
    scores = (inputs - 0.5) @ teacher
    labels = scores.argmax(axis=1)
    return Data(inputs, np.eye(outputs, dtype=np.float32)[labels], labels)


def make_keys(population: Population) -> jax.Array:
    """A key for each member."""
    return jax.random.split(jax.random.key(0), population.members)


def make_starts(population: Population) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each layer's weights, `(members, out, in)`, and biases, `(members, out)`, in float32."""
    generator = np.random.default_rng(2)
    return [
        (
            generator.standard_normal((population.members, fan_out, fan_in), np.float32)
            / np.float32(np.sqrt(fan_in)),
            np.zeros((population.members, fan_out), np.float32),
        )
        for fan_in, fan_out in itertools.pairwise(population.work.sizes)
    ]


def make_batches(population: Population) -> np.ndarray:
    """The rows of every batch, as `fit` draws them: `(members, steps, batch)`, or 1 for members."""
    work, keys = population.work, make_keys(population)
    keys = keys if population.order == "own" else keys[:1]
    draw = functools.partial(ls.training.epoch_order, samples=work.samples)
    orders = jax.vmap(jax.vmap(draw, in_axes=(None, 0)), in_axes=(0, None))
    epochs = jnp.arange(work.epochs)
    return np.asarray(orders(keys, epochs)).reshape(len(keys), work.steps, work.batch_size)


def tell_losses(population: Population, layers: Layers) -> list[float]:
    """The loss over all samples of the first members, in float64."""
    data = make_samples(population.work)
    return _losses([(own[:CHECKED], bias[:CHECKED]) for own, bias in layers], data)


def expected_losses(population: Population) -> list[float]:
    """The same, after the same steps in NumPy and float64."""
    data = make_samples(population.work)
    inputs, targets = (each.astype(np.float64) for each in (data.inputs, data.targets))
    starts = make_starts(population)
    layers = [
        [np.array(each[:CHECKED], np.float64) for each in (weight, bias[:, None])]
        for weight, bias in starts
    ]
    for index in np.moveaxis(make_batches(population)[:CHECKED], 1, 0):
        activations = [inputs[index]]
        for weight, bias in layers:
            z = activations[-1] @ weight.mT + bias
            activations.append(1 / (1 + np.exp(-z)))
        delta = activations[-1] - targets[index]
        for (weight, bias), a in zip(reversed(layers), activations[-2::-1], strict=True):
            before = (delta @ weight) * a * (1 - a)
            weight -= LEARNING_RATE * (delta.mT @ a)
            bias -= LEARNING_RATE * delta.sum(axis=1, keepdims=True)
            delta = before
    return _losses([(weight, bias[:, 0]) for weight, bias in layers], data)


def _losses(layers: Layers, data: Data) -> list[float]:
    a: Any = data.inputs.astype(np.float64)
    for place, (weight, bias) in enumerate(layers):
        a = 1 / (1 + np.exp(-a)) if place else a
        a = a @ np.asarray(weight, np.float64).mT + np.asarray(bias, np.float64)[:, None]
    return (np.logaddexp(0, a) - data.targets * a).sum(axis=(1, 2)).tolist()


def prepare_matrix(size: int) -> Ready:
    """Products of square matrices: in NumPy, or where JAX has another device, in JAX."""
    work = Workload((size, size), samples=size, batch_size=size, epochs=1)
    operations, runs = prepare_products(work)
    run, *_ = runs.values()
    return Ready(run, lambda _: [operations])


def prepare_copy(size: int) -> Ready:
    """An array of so many bytes, read and written."""
    numbers = jnp.zeros(size // 4, jnp.float32)
    double = jax.jit(lambda numbers: 2 * numbers)
    return Ready(lambda: jax.block_until_ready(double(numbers)), lambda _: [2.0 * size])
