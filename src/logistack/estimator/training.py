"""From what estimators ask for to populations: everything that can be trained at once is.

A job is what one estimator asks for: its members, and the samples they learn from. Jobs that may
differ in numbers alone, and in which samples are theirs, are one population, and each gets what it
would get by itself: nothing that a member sees depends on who is trained beside it.
"""

import functools
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
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
from logistack.training.run import draws_by_place, order_bits
from logistack.training.sizes import group_sizes

# Entries of inputs of which every fold's copy costs less than a program of its own: where each
# member holds one, and where all share one.
SMALL, LARGE = 2**18, 2**22
# So many weights stay in the cache of a core, with the gradients and all else that a step needs.
ROOM = 2**15


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


class Together(NamedTuple):
    """The samples of several jobs one after another.

    Attributes:
        data: all of them, or those that are the same for all jobs.
        rows: by the identity of a job's own data where its samples are, `(m,)`, filled up with -1;
            None where all have the same.
        held: likewise the weights of its validation samples, and 0 for those of others.
    """

    data: Data
    rows: dict[int, np.ndarray] | None
    held: dict[int, np.ndarray]


def put_together(every: Sequence[Data]) -> Together:
    """The samples of jobs, each once."""
    apart = list({id(data): data for data in every}.values())
    if len(apart) == 1:
        return Together(apart[0], None, {})
    counts = [len(data.inputs) for data in apart]
    rows, held, end = {}, {}, 0
    for data, count in zip(apart, counts, strict=True):
        own = np.full(max(counts), -1, np.int32)
        own[:count] = np.arange(end, end + count)
        rows[id(data)] = own
        end += count
    validation: Any = None
    sets = [data.validation for data in apart if data.validation is not None]
    if sets:
        inputs, targets, weights = (np.concatenate(parts) for parts in zip(*sets, strict=True))
        of = np.repeat(np.arange(len(sets)), [len(own) for own, *_ in sets])
        held = {id(data): np.where(of == k, weights, 0) for k, data in enumerate(apart)}
        validation = inputs, targets, weights
    inputs, targets = (
        np.concatenate([getattr(data, name) for data in apart]) for name in ("inputs", "targets")
    )
    return Together(Data(inputs, targets, validation), rows, held)


class Job(NamedTuple):
    """What one estimator asks for.

    Attributes:
        settings: the parameters of the estimator, by name.
        data: the samples.
        weights: how much each counts, `(n,)`; None where it is 1.
        seed: what its members are drawn from.
        members: how many it has.
        outputs: how many each has.
        state: what to go on from, with a leading axis of members; None to start.
        epochs: how many to run.
    """

    settings: Mapping[str, Any]
    data: Data
    weights: np.ndarray | None
    seed: int
    members: int
    outputs: int
    state: TrainState | None
    epochs: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Those of each network, the inputs first."""
        return (self.data.inputs.shape[1], *self.settings["hidden_layer_sizes"], self.outputs)

    def begin(self) -> tuple[PRNGKeyArray, Params | TrainState]:
        """A key for each member, and the parameters that it starts from, or the state."""
        keys, start = begin(self.seed, self.members, self.sizes)
        return keys, start if self.state is None else self.state


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
    groups: dict[Any, list[int]] = {}
    for place, job in enumerate(jobs):
        of = (id(job.data),) if callbacks else _kind_of_samples(job)
        groups.setdefault((*of, *_in_common(job)), []).append(place)
    results: list[Any] = [None] * len(jobs)

    def run(part: tuple[Together, list[int]]) -> None:
        samples, places = part
        own = _train_together([jobs[place] for place in places], samples, callbacks, every)
        for place, result in zip(places, own, strict=True):
            results[place] = result

    programs = list(groups.values())
    if not callbacks:  # each size is a program of its own then, and compiled beside the others
        programs = [part for places in programs for part in _by_size(jobs, places)]
    # One population after another has all devices, or what a callback is called from.
    threads = 1 if callbacks or len(jax.local_devices()) > 1 else os.cpu_count() or 1
    parts = []
    for places in programs:
        samples = put_together([jobs[place].data for place in places])
        parts.append([(samples, part) for part in _shared_out(jobs, places, threads)])
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        # What was not finite is in the history, and the estimators' own to tell.
        warnings.filterwarnings("ignore", "the (loss|parameters|validation loss)", RuntimeWarning)
        apply: Any = map if threads == 1 or len(parts) == len(parts[0]) == 1 else pool.map
        # The first part of each compiles the program of all.
        list(apply(run, [first for first, *_ in parts]))
        list(apply(run, [part for _, *others in parts for part in others]))
    return results


def _by_size(jobs: Sequence[Job], places: list[int]) -> Iterator[list[int]]:
    """The jobs of each group of sizes, those of one size together."""
    sizes = [jobs[place].sizes for place in places]
    firsts: dict[int, int] = {}
    of_data = {place: firsts.setdefault(id(jobs[place].data), place) for place in places}
    for group in group_sizes(sizes):
        # Those that share samples stand together, and find them in the cache.
        own = [places[member] for member in group.members]
        yield sorted(own, key=lambda place: (jobs[place].sizes, of_data[place]))


def _shared_out(jobs: Sequence[Job], places: list[int], threads: int) -> list[list[int]]:
    """Parts that share a program, each small enough for a core's cache; a job may be in two."""
    if threads == 1:
        return [places]
    sizes = np.array(jobs[places[-1]].sizes)
    members = max(1, int(ROOM / (sizes[1:] @ sizes[:-1])))
    count = min(len(places), threads * -(-len(places) // (threads * members)))
    length = -(-len(places) // count)
    parts = [places[start : start + length] for start in range(0, len(places), length)]
    return [(part + [part[-1]] * length)[:length] for part in parts]


def _kind_of_samples(job: Job) -> Any:
    """What the samples of two jobs have in common if the jobs can be members of one population.

    Folds of a few samples are put together, to be one program in place of one for each number of
    samples; with large ones, compiling takes less than their copies would.
    """
    data, batch = job.data, job.settings["batch_size"]
    count, features = data.inputs.shape
    whole = batch >= count
    draws = bool(np.any(rates_of(job.settings["dropout"]))) or job.settings["augment"] is not None
    large = data.inputs.size > (SMALL if whole else LARGE)
    if large or (whole and draws) or not draws_by_place(jax.random.key(0)):
        return (id(job.data),)
    steps = None if whole else (batch, -(-count // batch))
    held = data.validation is not None
    return features, data.targets.shape[1:], data.targets.dtype, order_bits(count), steps, held


def rates_of(dropout: Any) -> tuple[float, ...]:
    """The rates of the inputs and of the hidden layers; one number is that of all hidden ones."""
    return (0.0, float(dropout)) if np.ndim(dropout) == 0 else tuple(map(float, dropout))


def _in_common(job: Job) -> Any:
    """What the members of a population cannot differ in, beside the kind of their samples."""
    own = job.settings
    return (
        job.epochs,
        job.state is None,
        own["patience"] is None,
        len(rates_of(own["dropout"])),
        *(own[name] for name in ("loss", "optimizer", "coordinates", "augment")),
    )


def _train_together(
    jobs: Sequence[Job], samples: Together, callbacks: Sequence[Callback], every: int
) -> list[FitResult]:
    first, counts = jobs[0], [job.members for job in jobs]
    settings = first.settings
    data, validation = samples.data, samples.data.validation

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
        options["sample_weight"] = _weights_of(jobs, counts, samples)
    batch = settings["batch_size"]
    whole = batch >= min(len(job.data.inputs) for job in jobs)
    if samples.rows:
        options["rows"] = of_members([samples.rows[id(job.data)] for job in jobs], np.int32)
        if validation is not None:
            own = of_members([samples.held[id(job.data)] for job in jobs])
            validation = (*validation[:2], own)
    arguments = {
        "optimizer": optimizers.build(settings["optimizer"], decays=decays),
        "hyperparams": hyperparams,
        "epochs": first.epochs,
        "batch_size": None if whole else batch,
        "validation": validation,
        "loss": LOSSES[settings["loss"]],
        "reduction": "mean",
        "coordinates": settings["coordinates"],
        "augment": settings["augment"],
        **options,
    }
    keys, start, listed = _starts(jobs)
    run: Any = fit_population
    if callbacks:
        run, arguments = sweep, arguments | {"callbacks": list(callbacks), "every": every}
    result = jax.device_get(run(keys, start, data.inputs, data.targets, **arguments))
    return [
        _of_job(result, job, end - job.members, listed)
        for job, end in zip(jobs, np.cumsum(counts).tolist(), strict=True)
    ]


def _weights_of(jobs: Sequence[Job], counts: list[int], samples: Together) -> np.ndarray:
    """How much each of the samples counts, for all members alike or for each of them."""
    each = [np.ones(len(job.data.inputs)) if job.weights is None else job.weights for job in jobs]
    if samples.rows is None:
        if all(np.array_equal(each[0], own) for own in each):
            return each[0]
        return np.repeat(np.asarray(each, np.float32), counts, axis=0)
    # Whatever a member does not learn from may count, too.
    rows = np.ones((len(jobs), len(samples.data.inputs)), np.float32)
    for row, job, own in zip(rows, jobs, each, strict=True):
        row[samples.rows[id(job.data)][: len(own)]] = own
    return np.repeat(rows, counts, axis=0)


def _starts(jobs: Sequence[Job]) -> tuple[PRNGKeyArray, Any, bool]:
    """Keys, and what the members start from: one tree where they are of one size, else a list."""
    if len(jobs) == 1:
        return *jobs[0].begin(), False
    drawn = {(job.seed, job.members, job.sizes): job.begin for job in jobs if job.state is None}
    known = {which: draw() for which, draw in drawn.items()}
    begun = [known.get((job.seed, job.members, job.sizes)) or job.begin() for job in jobs]
    keys = jnp.concatenate([own for own, _ in begun])
    starts = jax.device_get([start for _, start in begun])
    if len({job.sizes for job in jobs}) == 1:
        return keys, jax.tree.map(lambda *leaves: np.concatenate(leaves), *starts), False
    listed = [
        jax.tree.map(lambda leaf, member=member: leaf[member], start)
        for job, start in zip(jobs, starts, strict=True)
        for member in range(job.members)
    ]
    return keys, listed, True


def _of_job(result: FitResult, job: Job, start: int, listed: bool) -> FitResult:
    """A job's own part of the result, with no rows for layers that its members do not have."""
    own = slice(start, start + job.members)
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
