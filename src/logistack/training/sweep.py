"""The host's side of a population: blocks that fit in memory, saved and sent to other processes.

A block is a group of members, and is driven as a single run is: in chunks of epochs, with
callbacks, checkpoints and signals between them. What it needs besides is here: which members go on
in a chunk, and how many of a population make a block.
"""

import contextlib
import functools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, ArrayLike, Int, PRNGKeyArray, Real

from logistack import _checks, _files, _processes
from logistack.layers import Params
from logistack.training.driver import Interrupted, drive
from logistack.training.elsewhere import finished, require_executor
from logistack.training.fit import Validation
from logistack.training.groups import Group, as_given_to_members, prepare_members
from logistack.training.measures import History, no_history
from logistack.training.memory import members_that_fit, require_block_size
from logistack.training.population import (
    Ended,
    compiled_advance_members,
    compiled_begin_members,
    ended_of,
    over_members,
    patience_left,
    placed_members,
    taken,
    warn_of_members,
)
from logistack.training.progress import Callback, Progress, StopTraining, require_callbacks
from logistack.training.recipe import Optimizer, Options, spells_out
from logistack.training.run import FitResult, Run, result_of
from logistack.training.spread import (
    MEMBERS,
    brought_together,
    mesh_for,
    require_mesh,
    require_parts,
)
from logistack.training.state import TrainState


@spells_out(Options)
def sweep(  # noqa: D417 (they come in two parts)
    keys: PRNGKeyArray,
    params: Params | TrainState | list[Params] | list[TrainState],
    inputs: Real[ArrayLike, "n in"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int | None = None,
    sample_weight: Real[ArrayLike, "*members n"] | None = None,
    validation: Validation | Real[ArrayLike, "members n"] | None = None,
    rows: Sequence[Int[ArrayLike, " m"]] | None = None,
    order: str = "own",
    mesh: Mesh | None = None,
    block_size: int | None = None,
    every: int = 10,
    callbacks: Sequence[Callback] = (),
    checkpoint_path: str | os.PathLike[str] | None = None,
    save_every: int = 10,
    executor: Executor | None = None,
    **options: Unpack[Options],
) -> FitResult:
    """Runs `fit_population` in blocks of members and chunks of epochs; the result is the same.

    Each block is driven as `fit_with_callbacks` drives a single run. After a chunk, the members
    that have stopped are set aside: when no more than a quarter of a block go on, they go on in
    arrays a quarter as large. So a member differs by rounding from what another block size makes
    of it, within the tolerance of `fit_population`, but not from what the same call makes of it
    in a new process, which goes on from the checkpoints to the same result bit for bit.

    Main arguments:
        keys: a JAX random key for each member, `(members,)`.
        params: the parameters, or states, to start from, as `fit_population` takes them.
        inputs: samples, `(n, in)`, the same for all.
        targets: rows `(n, out)`, or integer classes `(n,)`.
        optimizer: as `fit_population` takes it.
        epochs: how many times to go through the samples, 0 or more.
        batch_size: samples a step, as `fit_population` takes it.
        sample_weight: as `fit_population` takes it.
        validation: as `fit_population` takes it.
        rows: as `fit_population` takes them.
        order: likewise.
        mesh: devices to spread each block over, as `fit_population` takes it.
        block_size: how many members are trained at once; as many as are thought to fit in half of
            the memory that is free, and at most 4,096, if None. A sweep that goes on keeps its own.
            Over devices of several processes it must be given.
        every: how many epochs a chunk has.
        callbacks: functions of one `Progress`, called after each chunk of each block, whose
            `members` say which these are. `StopTraining` ends the block. With an `executor` they
            are called once a block, when it has ended.
        checkpoint_path: the folder of the sweep: one folder of checkpoints a block.
        save_every: how many epochs lie between the checkpoints of a block.
        executor: any `concurrent.futures.Executor`, to which the blocks are sent, such as that of a
            Dask client. Processes must be spawned, not forked, and see the `checkpoint_path` if
            there is one. If it breaks, as when a process is killed, the blocks that it had not
            finished are run here. A block that another process is still at is waited for.

    Other Arguments:
        options: the other options of `fit`, which describes them.

    Returns:
        A `FitResult` as that of `fit_population`.

    Raises:
        ValueError: if the checkpoints are of another sweep, and whatever `fit_population` raises.
        TypeError: if what is sent to an executor cannot be, and whatever `fit_population` raises.
        Interrupted: after Ctrl-C or SIGTERM, with the `result` so far.
        MemoryError: if a block does not fit in memory; the blocks before it are saved where there
            is a `checkpoint_path`.
        ModuleNotFoundError: if Orbax is needed and not installed.

    >>> import jax, jax.numpy as jnp, optax
    >>> from logistack import init_params
    >>> keys = jax.random.split(jax.random.key(0), 5)
    >>> start = jax.vmap(lambda key: init_params(key, (2, 1)))(keys)
    >>> told = []
    >>> result = sweep(
    ...     keys, start, jnp.eye(2), jnp.array([[0.0], [1.0]]), optimizer=optax.sgd(0.1), epochs=4,
    ...     block_size=3, callbacks=[lambda progress: told.append(progress.members.tolist())],
    ... )
    >>> told, result.history.loss.shape
    ([[0, 1, 2], [3, 4]], (5, 4))
    """
    epochs = _checks.require_count("epochs", epochs, low=0)
    every = _checks.require_count("every", every, low=1)
    save_every = _checks.require_count("save_every", save_every, low=1)
    callbacks = require_callbacks(callbacks)
    require_executor(executor)
    if mesh is not None:
        mesh = require_mesh(mesh)
        if executor is not None:
            raise ValueError("mesh: expected None with an executor, whose processes have their own")
    groups = prepare_members(
        "sweep",
        keys,
        params,
        (inputs, targets),
        optimizer=optimizer,
        batch_size=batch_size,
        sample_weight=sample_weight,
        validation=validation,
        rows=rows,
        order=order,
        options=options,
    )
    if _checks.is_traced([group.run for group in groups]):
        raise TypeError("sweep: expected concrete arrays, got traced ones: use fit_population")
    for group in groups:
        require_parts(mesh, group.run.recipe.batch_size)
    members = len(keys)
    block_size = require_block_size(block_size, members)
    folder = None
    if checkpoint_path is not None:
        folder = _files.local_path("checkpoint_path", checkpoint_path)
        block_size = _kept_block_size(folder, members, block_size)
    if block_size is None:
        block_size = block_size_for(groups, epochs, mesh)
    if folder is not None and (not _is_shared(mesh) or _processes.is_first()):
        _keep_block_size(folder, members, block_size)
    jobs = [
        Job(block, epochs, every, mesh, save_every, folder and folder / f"block-{place:06}")
        for place, block in enumerate(blocks_of(groups, block_size))
    ]
    run = _run_here if executor is None else functools.partial(_run_elsewhere, executor)
    trained: dict[int, Trained] = {}
    try:
        run(jobs, trained, callbacks)
    except KeyboardInterrupt as stop:
        whole = [trained.get(place) or untrained(job) for place, job in enumerate(jobs)]
        begun = sum(len(jobs[place].block.places) for place in trained)
        number = stop.signal if isinstance(stop, Interrupted) else signal.SIGINT
        where = "this exception has the `result`"
        if folder is not None:
            where = f"all is saved in {folder}: run the same again to go on"
        told = Interrupted(
            f"{signal.Signals(number).name} with {begun:,} of {members:,} members begun: {where}"
        )
        told.result, told.signal = _as_given(params, groups, jobs, whole), number
        raise told from None
    whole = [trained[place] for place in range(len(jobs))]
    warn_of_members([each.ended for each in whole], members)
    return _as_given(params, groups, jobs, whole)


class Job(NamedTuple):
    """A block of members, and how it is to be driven."""

    block: Group
    epochs: int
    every: int
    mesh: Mesh | None
    save_every: int
    folder: Path | None


class Trained(NamedTuple):
    """What a block has become, with a history of all its epochs, and who was not finite."""

    result: FitResult
    ended: Ended


def train(job: Job, callbacks: Sequence[Callback] = ()) -> Trained:
    """Drives a block to its end, from where its checkpoints are."""
    block, epochs, every = job.block, job.epochs, job.every
    (begun,) = compiled_begin_members((block.run,))
    first = np.asarray(begun.state.epoch)
    members = len(first)
    behind = np.zeros(members, bool)

    def advance_by(state: TrainState, chunk: int) -> tuple[FitResult, Any, int]:
        done = np.asarray(state.epoch) - first
        before = done.max()
        # Whoever is behind has stopped in an earlier chunk.
        behind[:] = done < before
        going = np.flatnonzero(~behind & patience_left(begun._replace(state=state)))
        if not chunk or not going.size:
            rows = jax.vmap(no_history)(state)
            return _result_of_members(state, rows, begun), np.zeros((members, 0), bool), 0
        places = np.resize(going, _width(going.size, members))  # repeats some to fill it up
        part = taken(begun._replace(state=state), places)
        if part.order is not None:
            part = part._replace(order=part.order._replace(epoch=part.order.epoch + before))
        mesh = job.mesh or mesh_for(len(places), part)
        if job.mesh is not None:
            part = placed_members(part, job.mesh)
        advance = compiled_advance_members(mesh)
        ((result, ran),) = advance((part,), chunk, epochs=min(every, epochs))
        if mesh is not None:
            result, ran = brought_together((result, ran))
        alone, own = going.size, np.zeros((members, ran.shape[1]), bool)
        own[going] = ran[:alone]
        state = _put(state, result.state, np.append(going, np.full(len(places) - alone, members)))

        def rows_of_all(rows: Array) -> np.ndarray:
            values = np.full((members, *rows.shape[1:]), np.nan, rows.dtype)
            values[going] = rows[:alone]
            values[~own] = np.nan
            return values

        behind[:] |= np.asarray(state.epoch) - first < before + chunk
        history = jax.tree.map(rows_of_all, result.history)
        assert begun.train is not None
        samples = begun.train.inputs.shape[0] * int(own.sum())
        return _result_of_members(state, history, begun), own, samples

    try:
        result = drive(
            advance_by,
            block.run,
            epochs=epochs,
            callbacks=callbacks,
            every=every,
            checkpoint_path=job.folder,
            save_every=job.save_every,
            begin=lambda _: begun,
            members=block.places,
            shared=_is_shared(job.mesh),
        )
    except Interrupted as stop:
        stop.result = of_all_epochs(stop.result, epochs)
        raise
    result = of_all_epochs(result, epochs)
    return Trained(result, ended_of(block._replace(run=begun), result, behind))


def _is_shared(mesh: Mesh | None) -> bool:
    return mesh is not None and mesh.is_multi_process


def untrained(job: Job) -> Trained:
    """A block that has not begun."""
    (begun,) = compiled_begin_members((job.block.run,))
    rows = jax.vmap(no_history)(begun.state)
    result = _result_of_members(begun.state, rows, begun)
    return Trained(of_all_epochs(result, job.epochs), Ended({}, []))


@jax.jit
def _put(into: TrainState, state: TrainState, places: Int[Array, " some"]) -> TrainState:
    """The states of some members in their places; a place past the end is none."""
    return jax.tree.map(lambda all_, some: all_.at[places].set(some, mode="drop"), into, state)


def _result_of_members(state: TrainState, history: History, run: Run) -> FitResult:
    params = over_members(
        lambda run: result_of(run.state, no_history(run.state), run.recipe).params,
        run._replace(state=state),
    )
    return FitResult(params, state, history)


def _width(going: int, members: int) -> int:
    """How many members are advanced together: all of a block, or a quarter, or one of that."""
    while members > 1 and -(-members // 4) >= going:
        members = -(-members // 4)
    return members


def of_all_epochs(result: FitResult, epochs: int) -> FitResult:
    """The result, on the host, with a row of NaN for each epoch that did not run."""

    def of(rows: Any) -> np.ndarray:
        room = [(0, 0)] * rows.ndim
        room[1] = (0, epochs - rows.shape[1])
        return np.pad(np.asarray(rows), room, constant_values=np.nan)

    return result._replace(history=jax.tree.map(of, result.history))


def block_size_for(groups: Sequence[Group], epochs: int, mesh: Mesh | None) -> int:
    """How many members of any group are trained at once."""
    if _is_shared(mesh):  # by processes whose memory is not all alike
        raise ValueError("block_size: expected a number, for all processes to take, got None")
    devices = 1 if mesh is None else mesh.shape.get(MEMBERS, 1)

    def of(group: Group) -> int:
        one = taken(group.run, np.arange(1))
        keys, state = one.key[0], jax.tree.map(lambda leaf: leaf[0], one.state)
        one = one._replace(key=keys, state=state, recipe=group.recipe, units=None)
        return members_that_fit(one, epochs, devices=devices)

    return min(map(of, groups))


def blocks_of(groups: Sequence[Group], block_size: int) -> Iterator[Group]:
    """Groups of at most so many members."""
    for group in groups:
        members = len(group.places)
        for start in range(0, members, block_size):
            yield part_of(group, np.arange(start, min(start + block_size, members)))


def part_of(group: Group, own: Int[np.ndarray, " some"]) -> Group:
    """A group of those members of a group that stand at these places in it."""
    sizes = None if group.sizes is None else [group.sizes[place] for place in own]
    return group._replace(run=taken(group.run, own), places=group.places[own], sizes=sizes)


def _run_here(
    jobs: Sequence[Job],
    trained: dict[int, Trained],
    callbacks: Sequence[Callback],
    train: Callable[[Job, Sequence[Callback]], Trained] = train,
) -> None:
    for place, job in enumerate(jobs):
        if place in trained:
            continue
        try:
            trained[place] = train(job, callbacks)
        except Interrupted as stop:
            trained[place] = Trained(stop.result, Ended({}, []))
            raise
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            own = job.block.places
            raise MemoryError(
                f"block_size: {len(own):,} members, from member {own[0]} on, do not fit in memory: "
                "give fewer"
            ) from error


def _run_elsewhere(
    executor: Executor,
    jobs: Sequence[Job],
    trained: dict[int, Trained],
    callbacks: Sequence[Callback],
) -> None:
    """Sends the blocks to an executor, and runs here what it has not finished when it breaks."""
    for place, each in finished(executor, _train_when_free, list(enumerate(jobs))):
        trained[place] = each
        rows = each.result.history.loss.shape[1]
        progress = Progress(each.result, 0, rows, np.nan, jobs[place].block.places, ends=True)
        with contextlib.suppress(StopTraining):
            for callback in callbacks:
                callback(progress)
    if len(trained) < len(jobs):
        _run_here(jobs, trained, callbacks, _train_when_free)


def _train_when_free(job: Job, callbacks: Sequence[Callback] = ()) -> Trained:
    """Drives a block once no other process does.

    A worker that an executor has lost sight of may be at it still. It ends the block or dies, and
    this goes on from what it saved.
    """
    while True:
        try:
            return train(job, callbacks)
        except BlockingIOError:
            time.sleep(0.1)


def _as_given(
    params: Any, groups: Sequence[Group], jobs: Sequence[Job], whole: Sequence[Trained]
) -> FitResult:
    """One result of all blocks, as `fit_population` gives it."""
    results, blocks = [], iter(zip(jobs, whole, strict=True))
    for group in groups:
        own: list[FitResult] = []
        found = 0
        while found < len(group.places):
            job, each = next(blocks)
            own.append(each.result)
            found += len(job.block.places)
        results.append(jax.tree.map(in_one_array, *own))
    return as_given_to_members(params, list(groups), results)


def in_one_array(*parts: Any) -> Array:
    """The members of several blocks, one after another."""
    return jnp.concatenate([jnp.asarray(part) for part in parts])


def _kept_block_size(folder: Path, members: int, block_size: int | None) -> int | None:
    """The block size of the sweep that a folder is of."""
    try:
        kept = json.loads((folder / "sweep.json").read_bytes())
        own = kept["members"], kept["block_size"]
    except FileNotFoundError:
        return block_size
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"checkpoint_path: expected a folder of a sweep, {folder / 'sweep.json'} is none's"
        ) from error
    if own != (members, block_size or own[1]):
        name = "keys" if own[0] != members else "block_size"
        raise ValueError(
            f"{name}: expected the {own[0]:,} members in blocks of {own[1]:,} of the sweep that "
            f"{folder} has checkpoints of, got {members:,} in blocks of "
            f"{block_size or own[1]:,}: give another sweep a checkpoint_path of its own"
        )
    return int(own[1])


def _keep_block_size(folder: Path, members: int, block_size: int) -> None:
    content = json.dumps({"members": members, "block_size": block_size}).encode()
    with _files.writing_to("checkpoint_path", folder):
        _files.write_whole(folder / "sweep.json", content)
