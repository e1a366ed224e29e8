"""From what estimators ask for to populations: everything that can be trained at once is.

A job is what one estimator asks for: its members, and the samples they learn from. Jobs that may
differ in numbers alone, over the same samples, are one population, and each gets what it would get
by itself: nothing that a member sees depends on who is trained beside it.
"""

import functools
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
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
from logistack.training.elsewhere import finished
from logistack.training.progress import Callback
from logistack.training.run import draws_by_place, order_bits
from logistack.training.sizes import FEW, group_sizes

# Entries of inputs above which compiling is short beside training.
LARGE = 2**22
# Samples that are one batch are filled up to a multiple of this, at least.
LEAST = 32
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
        room: how many rows the samples are filled up to, so that folds of several lengths share a
            program; None where they stay as they are.
    """

    settings: Mapping[str, Any]
    data: Data
    weights: np.ndarray | None
    seed: int
    members: int
    outputs: int
    state: TrainState | None
    epochs: int
    room: int | None = None

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


def train(
    jobs: Sequence[Job],
    callbacks: Sequence[Callback] = (),
    every: int = 1,
    executor: Executor | None = None,
) -> list[Any]:
    """Trains every job, those that can be together as one population, elsewhere if told where.

    Returns:
        For each job a `FitResult` of NumPy arrays with a leading axis of members.
    """
    jobs = _in_rooms(jobs)
    together: dict[Any, list[int]] = {}
    for place, job in enumerate(jobs):
        together.setdefault(_in_common(job), []).append(place)
    # One population after another has all devices, or what a callback is called from.
    threads = 1 if callbacks or len(jax.local_devices()) > 1 else os.cpu_count() or 1
    parts = [*together.values()]
    if not callbacks:  # a program of each size takes the other cores, too, while it is compiled
        parts = [part for places in parts for part in _by_size(jobs, places)]
        parts = [part for places in parts for part in _shared_out(jobs, places, threads)]
    results: list[Any] = [None] * len(jobs)

    def run(places: list[int]) -> None:
        keep(places, _train_together([jobs[place] for place in places], callbacks, every))

    def keep(places: list[int], own: list[FitResult]) -> None:
        for place, result in zip(places, own, strict=True):
            results[place] = result

    if executor is not None:
        sent = [(at, [jobs[place] for place in part]) for at, part in enumerate(parts)]
        for at, own in finished(executor, _train_together, sent):
            keep(parts[at], own)
        parts = [part for part in parts if any(results[place] is None for place in part)]
    # Those that share a program come after the one that compiles it.
    first = {_program([jobs[place] for place in part]): part for part in reversed(parts)}
    later = [part for part in parts if part not in first.values()]
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        # What was not finite is in the history, and the estimators' own to tell.
        warnings.filterwarnings("ignore", "the (loss|parameters|validation loss)", RuntimeWarning)
        apply: Any = map if threads == 1 or len(parts) == 1 else pool.map
        for some in (first.values(), later):
            list(apply(run, some))
    return results


def _by_size(jobs: Sequence[Job], places: list[int]) -> Iterator[list[int]]:
    """The jobs of each group of sizes, those of one size together."""
    first = jobs[places[0]]
    samples = (first.room or len(first.data.inputs)) * first.members
    for group in group_sizes([jobs[place].sizes for place in places], samples=samples):
        yield sorted((places[member] for member in group.members), key=lambda at: jobs[at].sizes)


def _shared_out(jobs: Sequence[Job], places: list[int], threads: int) -> list[list[int]]:
    """Parts that share a program, each small enough for a core's cache; a job may be in two."""
    if threads == 1:
        return [places]
    weights = max(_multiplications(jobs[at]) for at in places)
    length = max(1, ROOM // (weights * jobs[places[0]].members))
    length = -(-len(places) // -(-len(places) // length))
    parts = [places[start : start + length] for start in range(0, len(places), length)]
    return [(part + [part[-1]] * length)[:length] for part in parts]


def _program(own: Sequence[Job]) -> Any:
    """What populations that are the same program have in common."""
    _, *static = _in_common(own[0])
    data, room = own[0].data, own[0].room
    held = None if data.validation is None else len(data.validation[0])
    if held is not None and room is not None:
        held = _held_room(held)
    shapes = data.inputs.shape[1], room or len(data.inputs), held
    return (*static, *shapes, *((job.sizes, job.members) for job in own))


def _in_rooms(jobs: Sequence[Job]) -> list[Job]:
    """The jobs with their rooms: those that take one batch share the largest, if that costs little.

    So the folds of a table, and the folds within them, are one program, which takes seconds to
    compile.
    """
    populations: dict[Any, list[Job]] = {}
    for job in jobs:
        populations.setdefault(_in_common(job), []).append(job)
    rooms = {which: _room(own) for which, own in populations.items()}
    largest: dict[Any, int] = {}

    def alike(which: Any) -> Any:
        _, *static = which
        return (*static, populations[which][0].data.inputs.shape[1])

    for which, room in rooms.items():
        largest[alike(which)] = max(largest.get(alike(which), 0), room or 0)
    for which, own in populations.items():
        room, most = rooms[which], largest[alike(which)]
        if room is None or own[0].settings["batch_size"] < len(own[0].data.inputs):
            continue  # more rows would be more batches
        if (most - room) * sum(job.members * _multiplications(job) for job in own) <= FEW:
            rooms[which] = most
    return [job._replace(room=rooms[_in_common(job)]) for job in jobs]


def _multiplications(job: Job) -> int:
    """How many a network needs for a sample."""
    return int(np.dot(job.sizes[1:], job.sizes[:-1]))


def _room(jobs: Sequence[Job]) -> int | None:
    """How many rows the samples of a population are filled up to by themselves.

    With large ones, compiling takes less time than the rows that fill up.
    """
    data, batch = jobs[0].data, jobs[0].settings["batch_size"]
    count = len(data.inputs)
    if data.inputs.size > LARGE or not draws_by_place(jax.random.key(0)):
        return None
    most = 2 ** order_bits(count)
    if batch < count:
        return min(most, -(-count // batch) * batch)
    if jobs[0].settings["augment"] is not None or any(
        np.any(rates_of(job.settings["dropout"])) for job in jobs
    ):
        return None  # how many rows there are is seen in what is drawn for them
    step = max(LEAST, most // 8)
    return -(-count // step) * step


def rates_of(dropout: Any) -> tuple[float, ...]:
    """The rates of the inputs and of the hidden layers; one number is that of all hidden ones."""
    return (0.0, float(dropout)) if np.ndim(dropout) == 0 else tuple(map(float, dropout))


def _in_common(job: Job) -> Any:
    """What the members of a population cannot differ in."""
    own = job.settings
    return (
        id(job.data),
        job.epochs,
        job.state is None,
        own["patience"] is None,
        len(rates_of(own["dropout"])),
        *(own[name] for name in ("loss", "optimizer", "batch_size", "coordinates", "augment")),
    )


def _train_together(
    jobs: Sequence[Job], callbacks: Sequence[Callback] = (), every: int = 1
) -> list[FitResult]:
    first, counts = jobs[0], [job.members for job in jobs]
    settings, data = first.settings, first.data
    count, room = len(data.inputs), first.room
    more = 0 if room is None else room - count

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
    weights = None
    if any(job.weights is not None for job in jobs):
        each = [np.ones(count) if job.weights is None else job.weights for job in jobs]
        alike = all(np.array_equal(each[0], own) for own in each)
        weights = each[0] if alike else of_members(each)
    batch = settings["batch_size"]
    if room is not None and batch >= count:
        # Of one batch, what fills it up does not count.
        weights = np.ones(count, np.float32) if weights is None else weights
    elif room is not None:
        row = np.pad(np.arange(count, dtype=np.int32), (0, more), constant_values=-1)
        options["rows"] = np.tile(row, (sum(counts), 1))
    if weights is not None:
        options["sample_weight"] = _filled_up(weights.T, count + more).T
    validation: Any = data.validation
    if validation is not None and room is not None:
        held = _held_room(len(validation[0]))
        validation = tuple(_filled_up(own, held) for own in validation)
    arguments = {
        "optimizer": optimizers.build(settings["optimizer"], decays=decays),
        "hyperparams": hyperparams,
        "epochs": first.epochs,
        "batch_size": None if batch >= count else batch,
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
    samples = (_filled_up(own, count + more) for own in data[:2])
    result = jax.device_get(run(keys, start, *samples, **arguments))
    return [
        _of_job(result, job, end - job.members, listed)
        for job, end in zip(jobs, np.cumsum(counts).tolist(), strict=True)
    ]


def _held_room(count: int) -> int:
    """How many samples to validate on these are filled up to: one of few numbers."""
    step = max(1, 2 ** order_bits(count) // 8)
    return count + -count % step


def _filled_up(rows: np.ndarray, room: int) -> np.ndarray:
    """The rows with others of zeros."""
    return np.pad(rows, [(0, room - len(rows))] + [(0, 0)] * (rows.ndim - 1))


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
