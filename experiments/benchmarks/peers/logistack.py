"""logistack itself."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import logistack as ls
from experiments.benchmarks.workloads import LEARNING_RATE, Data, Train, Workload


def prepare(work: Workload, train: Data, held: Data, **options: Any) -> Train:
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
            **options,
        )
        return jax.block_until_ready(result)

    return run
