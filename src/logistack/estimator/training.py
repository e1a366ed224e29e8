"""From what estimators ask for to populations: everything that can be trained at once is.

A job is what one estimator asks for: its members, and the samples they learn from. Jobs that may
differ in numbers alone, over the same samples, are one population, and each gets what it would
get by itself: nothing that a member sees depends on who is trained beside it.
"""

import functools
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from logistack.classifier import LOSSES
from logistack.estimator import optimizers
from logistack.initialization import init_params
from logistack.layers import Params
from logistack.training import FitResult, TrainState, fit_population, sweep
from logistack.training.progress import Callback


class Data(NamedTuple):
    """Samples as networks take them. Jobs share those that are the same object.

    Attributes:
        inputs: standardized, float32 `(n, in)`.
        targets: integer classes `(n,)`, or rows `(n, out)`.
        validation: inputs, targets and weights to validate on, if there are any.
    """

    inputs: np.ndarray
    targets: np.ndarray
    validation: tuple[np.ndarray, np.ndarray, np.ndarray] | None


class Job(NamedTuple):
    """What one estimator asks for.

    Attributes:
        settings: the parameters of the estimator, by name.
        data: the samples.
        weights: how much each counts, `(n,)`; None where it is 1.
        keys: a JAX random key for each member.
        start: parameters to start from, or the state to go on from, with a leading axis of
            members.
        epochs: how many to run.
    """

    settings: Mapping[str, Any]
    data: Data
    weights: np.ndarray | None
    keys: PRNGKeyArray
    start: Params | TrainState
    epochs: int


def begin(
    seed: int, members: int, sizes: tuple[int, ...]
) -> tuple[PRNGKeyArray, Params | TrainState]:
    """A key for the training of each member, and the parameters that it starts from."""
    return _compiled_begin(jax.default_backend())(np.uint32(seed), members, sizes)


@functools.cache
def _compiled_begin(backend: str) -> Any:
    def begin(seed: Any, members: int, sizes: tuple[int, ...]) -> Any:
        key = jax.random.key(seed)

        def of(member: Any) -> Any:
            # Whatever the other members are.
            own, first = jax.random.split(jax.random.fold_in(key, member))
            return own, init_params(first, sizes)

        return jax.vmap(of)(jnp.arange(members))

    # It runs once, in milliseconds, and takes a CPU twice as long to compile well.
    options: Any = {"xla_backend_optimization_level": 0} if backend == "cpu" else None
    return jax.jit(begin, static_argnums=(1, 2), compiler_options=options)


def train(jobs: Sequence[Job], callbacks: Sequence[Callback] = (), every: int = 1) -> list[Any]:
    """Trains every job, those that can be together as one population.

    Returns:
        For each job a `FitResult` of NumPy arrays with a leading axis of members.
    """
    together: dict[Any, list[int]] = {}
    for place, job in enumerate(jobs):
        together.setdefault(_in_common(job), []).append(place)
    groups = [[(place, jobs[place]) for place in places] for places in together.values()]
    results: list[Any] = [None] * len(jobs)

    def run(group: list[tuple[int, Job]]) -> None:
        places, own = zip(*group, strict=True)
        for place, result in zip(places, _train_together(own, callbacks, every), strict=True):
            results[place] = result

    with warnings.catch_warnings():
        # What was not finite is in the history, and the estimators' own to tell.
        warnings.filterwarnings("ignore", "the (loss|parameters|validation loss)", RuntimeWarning)
        if len(groups) == 1 or len(jax.local_devices()) > 1:
            for group in groups:
                run(group)
            return results
        # Those that share a program come after the one that compiles it.
        first = {_program(group): group for group in reversed(groups)}
        later = [group for group in groups if first[_program(group)] is not group]
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for some in (first.values(), later):
                list(threads.map(run, some))
    return results


def _program(group: list[tuple[int, Job]]) -> Any:
    """What populations that are the same program have in common."""
    own = [job for _, job in group]
    _, *static = _in_common(own[0])
    sizes = [(job.settings["hidden_layer_sizes"], len(job.keys)) for job in own]
    return (*static, own[0].data.inputs.shape, *sizes)


def rates_of(dropout: Any) -> tuple[float, ...]:
    """The rates of the inputs and of the hidden layers; one number is that of all hidden ones."""
    return (0.0, float(dropout)) if np.ndim(dropout) == 0 else tuple(map(float, dropout))


def _in_common(job: Job) -> Any:
    """What the members of a population cannot differ in."""
    own = job.settings
    return (
        id(job.data),
        job.epochs,
        isinstance(job.start, TrainState),
        own["patience"] is None,
        len(rates_of(own["dropout"])),
        *(own[name] for name in ("loss", "optimizer", "batch_size", "coordinates", "augment")),
    )


def _train_together(
    jobs: Sequence[Job], callbacks: Sequence[Callback], every: int
) -> list[FitResult]:
    first, counts = jobs[0], [len(job.keys) for job in jobs]
    settings, data = first.settings, first.data
    rows = len(data.inputs)

    def of_members(values: Sequence[Any], dtype: Any = np.float32) -> np.ndarray:
        return np.repeat(np.asarray(values, dtype), counts, axis=0)

    def numbers(name: str) -> np.ndarray:
        return of_members([job.settings[name] for job in jobs])

    hyperparams = {"learning_rate": numbers("learning_rate")}
    decays = any(job.settings["weight_decay"] for job in jobs)
    if decays:
        hyperparams["weight_decay"] = numbers("weight_decay")
    elif not optimizers.takes(settings["optimizer"], "learning_rate"):
        del hyperparams["learning_rate"]
    if optimizers.takes(settings["optimizer"], "momentum"):
        hyperparams["momentum"] = numbers("momentum")

    options: dict[str, Any] = {}
    rates = np.array([rates_of(job.settings["dropout"]) for job in jobs])
    if rates.any():
        options["dropout"] = [of_members(rate) if rate.any() else 0.0 for rate in rates.T]
    if any(job.settings["label_smoothing"] for job in jobs):
        options["label_smoothing"] = numbers("label_smoothing")
    if settings["patience"] is not None:
        patience = [job.settings["patience"] for job in jobs]
        options["patience"] = of_members(patience, np.int32)
    if any(job.weights is not None for job in jobs):
        each = [np.ones(rows) if job.weights is None else job.weights for job in jobs]
        alike = all(np.array_equal(each[0], own) for own in each)
        options["sample_weight"] = each[0] if alike else of_members(each)
    arguments = {
        "optimizer": optimizers.build(settings["optimizer"], decays=decays),
        "hyperparams": hyperparams,
        "epochs": first.epochs,
        "batch_size": min(rows, settings["batch_size"]),
        "validation": data.validation,
        "loss": LOSSES[settings["loss"]],
        "reduction": "mean",
        "coordinates": settings["coordinates"],
        "augment": settings["augment"],
        **options,
    }
    keys = first.keys if len(jobs) == 1 else jnp.concatenate([job.keys for job in jobs])
    start, listed = _starts(jobs)
    run: Any = fit_population
    if callbacks:
        run, arguments = sweep, arguments | {"callbacks": list(callbacks), "every": every}
    result = jax.device_get(run(keys, start, data.inputs, data.targets, **arguments))
    return [
        _of_job(result, job, end - len(job.keys), listed)
        for job, end in zip(jobs, np.cumsum(counts).tolist(), strict=True)
    ]


def _starts(jobs: Sequence[Job]) -> tuple[Any, bool]:
    """What the members start from: one tree where they are of one size, else a list."""
    if len(jobs) == 1:
        return jobs[0].start, False
    starts = jax.device_get([job.start for job in jobs])
    shapes = {tuple(leaf.shape[1:] for leaf in jax.tree.leaves(start)) for start in starts}
    if len(shapes) == 1:
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *starts), False
    return [
        jax.tree.map(lambda leaf, member=member: leaf[member], start)
        for job, start in zip(jobs, starts, strict=True)
        for member in range(len(job.keys))
    ], True


def _of_job(result: FitResult, job: Job, start: int, listed: bool) -> FitResult:
    """A job's own part of the result, with no rows for layers that its members do not have."""
    own = slice(start, start + len(job.keys))
    history = jax.tree.map(lambda rows: rows[own], result.history)
    if not listed:
        params, state = jax.tree.map(lambda leaf: leaf[own], (result.params, result.state))
        return FitResult(params, state, history)
    lists: Any = (result.params, result.state)
    params, state = (jax.tree.map(lambda *leaves: np.stack(leaves), *each[own]) for each in lists)
    layers = len(job.settings["hidden_layer_sizes"]) + 1
    return FitResult(
        params,
        state,
        history._replace(
            gradient_norm=history.gradient_norm[..., :layers],
            saturated=history.saturated[..., :layers],
        ),
    )
