"""Equinox."""

import functools
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
