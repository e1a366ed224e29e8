"""The steps of `fit` and nothing else, in plain JAX."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

import logistack as ls
from experiments.benchmarks.workloads import LEARNING_RATE, Data, Train, Workload, rows


def prepare(work: Workload, train: Data, held: Data) -> Train:
    """The steps of `fit` and nothing else, in one compiled program: the least they can cost."""
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
