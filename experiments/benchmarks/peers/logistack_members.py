"""logistack's ways to train a population, and a single network beside it."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import logistack as ls
from experiments.benchmarks.populations import (
    Population,
    Ready,
    make_keys,
    make_samples,
    make_starts,
    tell_losses,
)
from experiments.benchmarks.workloads import LEARNING_RATE, Workload

# What `use_cores_as_devices` would say in the processes of `fit_population`.
ENVIRONMENT = {"JAX_NUM_CPU_DEVICES": str(os.cpu_count())}


def fit_members(*arguments: Any, **options: Any) -> ls.FitResult:
    """`fit_population`, until the result is there."""
    return jax.block_until_ready(ls.fit_population(*arguments, **options))


def prepare(population: Population, **own: Any) -> Ready:
    """`fit_population`, with options of one's own."""
    arguments, options = _of(population)
    options |= {"order": population.order, **own}
    return _told(population, lambda: fit_members(*arguments, **options))


def prepare_vmap(population: Population) -> Ready:
    """`jax.vmap` of `fit`, compiled as one program."""
    assert population.order == "own"
    (keys, params, x, y), options = _of(population)
    train = jax.jit(jax.vmap(lambda key, params: ls.fit(key, params, x, y, **options)))
    return _told(population, lambda: jax.block_until_ready(train(keys, params)))


def _of(population: Population) -> tuple[Any, dict[str, Any]]:
    data, work = make_samples(population.work), population.work
    params = tuple(ls.Layer(*map(jnp.asarray, layer)) for layer in make_starts(population))
    arguments = (
        make_keys(population), params, jnp.asarray(data.inputs), jnp.asarray(data.targets),
    )  # fmt: skip
    options = {
        "optimizer": optax.sgd(LEARNING_RATE),
        "epochs": work.epochs,
        "batch_size": work.batch_size,
    }
    return arguments, options


def _told(population: Population, run: Any) -> Ready:
    return Ready(run, lambda result: tell_losses(population, result.params))


def prepare_sizes(work: Workload, sizes: list[tuple[int, ...]]) -> Ready:
    """`fit_population` of a list of networks, in a shared order; tells their last losses."""
    keys = jax.random.split(jax.random.key(0), len(sizes))
    params = [ls.init_params(key, own) for key, own in zip(keys, sizes, strict=True)]
    data = make_samples(work)

    def run() -> ls.FitResult:
        return fit_members(
            keys,
            params,
            data.inputs,
            data.targets,
            optimizer=optax.sgd(LEARNING_RATE),
            epochs=work.epochs,
            batch_size=work.batch_size,
            order="shared",
        )

    return Ready(run, lambda result: np.asarray(result.history.loss)[:, -1].tolist())


def prepare_members(
    work: Workload,
    data: tuple[np.ndarray, np.ndarray],
    members: int | None,
    *,
    stop: bool = False,
    vmap: bool = False,
) -> Ready:
    """So many members of one size by Adam, or one network by `fit` where that is None.

    With `stop`, no epoch after the first is an improvement. Tells the epochs that each has run.
    """
    keys = jax.random.split(jax.random.key(0), members or 1)
    params = jax.vmap(lambda key: ls.init_params(key, work.sizes))(keys)
    options: dict[str, Any] = {
        "optimizer": optax.adam(0.01),
        "epochs": work.epochs,
        "batch_size": work.batch_size,
        "loss": ls.losses.softmax_cross_entropy,
    }
    if stop:
        options |= {"validation": data, "patience": 1, "min_delta": 1e9}

    def fit(key: Any, params: Any) -> ls.FitResult:
        return ls.fit(key, params, *data, **options)

    every = jax.jit(jax.vmap(fit))

    def run() -> ls.FitResult:
        if members is None:
            return jax.block_until_ready(fit(keys[0], jax.tree.map(lambda own: own[0], params)))
        if vmap:
            return jax.block_until_ready(every(keys, params))
        return fit_members(keys, params, *data, **options)

    return Ready(run, lambda result: np.atleast_1d(result.state.epoch).tolist())


def prepare_search(
    work: Workload, data: tuple[np.ndarray, np.ndarray], folds: Any, grid: dict[str, list[float]]
) -> Ready:
    """A member for each setting and fold: the mean accuracy of each setting over the folds."""
    inputs, labels = data
    names = sorted(grid)  # the last changes first, as in scikit-learn's grid
    settings = np.stack(np.meshgrid(*(grid[name] for name in names), indexing="ij"))
    columns = np.repeat(settings.reshape(len(names), -1), len(folds), axis=1)
    hyperparams = dict(zip(names, columns.astype(np.float32), strict=True))
    held = np.zeros((len(folds), len(labels)), np.float32)
    for row, (_, test) in zip(held, folds, strict=True):
        row[test] = 1
    held = np.tile(held, (settings[0].size, 1))
    keys = jax.random.split(jax.random.key(0), len(held))
    params = jax.vmap(lambda key: ls.init_params(key, work.sizes))(keys)

    @jax.jit
    def accuracies(params: ls.Params, held: jax.Array) -> jax.Array:
        def of(params: ls.Params, held: jax.Array) -> jax.Array:
            logits = jax.vmap(lambda sample: ls.logits(params, sample))(inputs)
            return (held * (logits.argmax(axis=1) == labels)).sum() / held.sum()

        return jax.vmap(of)(params, held)

    def run() -> Any:
        result = fit_members(
            keys,
            params,
            inputs,
            labels,
            optimizer=optax.sgd,
            hyperparams=hyperparams,
            epochs=work.epochs,
            batch_size=work.batch_size,
            loss=ls.losses.softmax_cross_entropy,
            reduction="mean",
            sample_weight=1 - held,
        )
        return np.asarray(accuracies(result.params, held))

    return Ready(run, lambda each: each.reshape(-1, len(folds)).mean(axis=1).tolist())
