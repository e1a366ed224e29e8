"""Plain JAX's ways to train a population: a scanned fit under `vmap`, and one written for it."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import logistack as ls
from experiments.benchmarks.populations import (
    Population,
    Ready,
    make_keys,
    make_samples,
    make_starts,
    tell_losses,
)
from experiments.benchmarks.workloads import LEARNING_RATE, Workload, summed_cross_entropy

Layers: TypeAlias = list[tuple[jax.Array, jax.Array]]


def prepare_scanned(population: Population, devices: int = 1) -> Ready:
    """`jax.vmap` over members of two scans, over epochs and over batches."""
    work, shared = population.work, population.order == "shared"

    def objective(layers: Layers, x: jax.Array, y: jax.Array) -> jax.Array:
        for place, (weight, bias) in enumerate(layers):
            x = (jax.nn.sigmoid(x) if place else x) @ weight.T + bias[None]
        return summed_cross_entropy(x, y)

    def fit(key: jax.Array, layers: Layers, x: jax.Array, y: jax.Array) -> Layers:
        return scan_batches(work, key, layers, lambda layers, index: step(layers, x, y, index))

    def step(layers: Layers, x: jax.Array, y: jax.Array, index: jax.Array) -> Layers:
        return descend(layers, jax.grad(objective)(layers, x[index], y[index]))

    train = jax.vmap(fit, in_axes=(None if shared else 0, 0, None, None))
    return spread(population, train, devices)


def prepare_prototype(population: Population, devices: int = 1) -> Ready:
    """Activations as members × units × batch in a shared order: what XLA makes of the best form.

    The first layer's product is one for all members, and so is its weights' gradient.
    """
    assert population.order == "shared"
    work = population.work

    def objective(layers: Layers, x: jax.Array, y: jax.Array) -> jax.Array:
        (weight, bias), *later = layers
        z = jnp.einsum("moi,ib->mob", weight, x) + bias[..., None]
        for weight, bias in later:
            z = jnp.einsum("moi,mib->mob", weight, jax.nn.sigmoid(z)) + bias[..., None]
        return (jax.nn.softplus(z) - y[None] * z).sum()

    def train(key: jax.Array, layers: Layers, x: jax.Array, y: jax.Array) -> Layers:
        def step(layers: Layers, index: jax.Array) -> Layers:
            return descend(layers, jax.grad(objective)(layers, x[index].T, y[index].T))

        return scan_batches(work, key, layers, step)

    return spread(population, train, devices)


def scan_batches(
    work: Workload, key: jax.Array, layers: Layers, step: Callable[[Layers, jax.Array], Layers]
) -> Layers:
    """Every step of every epoch, each epoch in an order of its own."""

    def epoch(layers: Layers, number: jax.Array) -> tuple[Layers, None]:
        order = ls.training.epoch_order(key, number, work.samples)
        batches = order.reshape(-1, work.batch_size)
        return jax.lax.scan(lambda layers, index: (step(layers, index), None), layers, batches)

    return jax.lax.scan(epoch, layers, jnp.arange(work.epochs))[0]


def descend(layers: Layers, gradient: Layers) -> Layers:
    """A step of plain SGD."""
    return jax.tree.map(lambda own, slope: own - LEARNING_RATE * slope, layers, gradient)


def spread(population: Population, train: Callable[..., Layers], devices: int) -> Ready:
    """The members' training, over so many devices, which have nothing to tell one another."""
    keys, start = make_keys(population), make_starts(population)
    own = population.order == "own"
    data = make_samples(population.work)
    arguments: Any = (keys if own else keys[0], start, data.inputs, data.targets)
    members, same = PartitionSpec("members"), PartitionSpec()
    specs = (members if own else same, members, same, same)
    mesh = Mesh(np.array(jax.devices()[:devices]), ("members",))
    if devices > 1:
        train = jax.shard_map(train, mesh=mesh, in_specs=specs, out_specs=members)
    placed = [
        jax.device_put(each, NamedSharding(mesh, spec))
        for each, spec in zip(arguments, specs, strict=True)
    ]
    compiled = jax.jit(train)
    return Ready(
        lambda: jax.block_until_ready(compiled(*placed)),
        lambda layers: tell_losses(population, layers),
    )
