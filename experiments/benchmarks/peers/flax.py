"""Flax NNX."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.benchmarks.workloads import (
    LEARNING_RATE,
    Data,
    Train,
    Workload,
    go_through_epochs,
    host_batches,
    rows,
    summed_cross_entropy,
)


def prepare(work: Workload, train: Data, held: Data) -> Train:
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
