"""The host's loop around a run: chunks of epochs, callbacks, checkpoints and signals.

It knows a run by a function that advances a state by so many epochs. A state whose `epoch` has an
axis is of as many members, which are advanced together.
"""

import contextlib
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jaxtyping import ArrayLike, Int, PRNGKeyArray, Real

from logistack import _checks, _processes, checkpoint
from logistack.layers import Params
from logistack.training.fit import Validation, as_given, prepare, warn_of, warn_of_validation
from logistack.training.keeper import Keeper
from logistack.training.measures import History, no_history
from logistack.training.progress import Callback, Progress, StopTraining, require_callbacks
from logistack.training.recipe import Optimizer, Options, spells_out
from logistack.training.run import FitResult, Run, compiled_advance_over, compiled_begin, result_of
from logistack.training.source import Source, StreamError
from logistack.training.spread import BATCH, placed, require_mesh, require_parts
from logistack.training.state import TrainState, done_since

Advance: TypeAlias = Callable[[TrainState, int], tuple[FitResult, Any, int]]


class Interrupted(KeyboardInterrupt):
    """A run that Ctrl-C or SIGTERM ended, after the epoch it was in.

    Attributes:
        result: the training so far, a `FitResult`.
        signal: the number of the signal.
    """

    result: FitResult
    signal: int


@spells_out(Options)
def fit_with_callbacks(
    key: PRNGKeyArray,
    params: Params | TrainState,
    inputs: Real[ArrayLike, "n in"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int | None = None,
    sample_weight: Real[ArrayLike, " n"] | None = None,
    validation: Validation | None = None,
    mesh: Mesh | None = None,
    callbacks: Sequence[Callback] = (),
    every: int = 1,
    checkpoint_path: str | os.PathLike[str] | None = None,
    save_every: int = 10,
    **options: Unpack[Options],
) -> FitResult:
    """Runs `fit` in chunks of epochs, with what the host does between; the result is `fit`'s.

    After each chunk come the callbacks and, where there is a `checkpoint_path`, every so many
    epochs a checkpoint. The same call in a new process goes on from the last one, to the same
    result bit for bit. Ctrl-C and SIGTERM let the chunk finish, save, and raise `Interrupted`,
    which says how to go on.

    Args:
        key: as `fit` takes it, like all that is not described here.
        params: the parameters to start from, or the `TrainState` to continue from.
        inputs: samples, `(n, in)`.
        targets: rows `(n, out)`, or integer classes `(n,)`.
        optimizer: as `fit` takes it.
        epochs: how many times to go through the samples, 0 or more, those before a checkpoint
            that the run resumes from among them.
        batch_size: samples a step, as `fit` takes it.
        sample_weight: how much each sample counts, as `fit` takes it.
        validation: samples to validate on, as `fit` takes them.
        mesh: devices that each take a part of every batch, as `fit` takes it.
        callbacks: functions of one `Progress`, called in order.
        every: how many epochs a chunk has; the last may have fewer.
        checkpoint_path: the folder of the run's checkpoints; none are kept if None.
        save_every: how many epochs lie between checkpoints; the end of the run is always saved.
        options: the other options of `fit`.

    Returns:
        A `FitResult` with the history of all epochs that ran, those before a resumption too.

    Raises:
        ValueError: if `every` or `save_every` is below 1, if the checkpoint is of another run,
            and whatever `fit` raises.
        TypeError: if a count is not an integer, and whatever `fit` raises.
        Interrupted: after Ctrl-C or SIGTERM.
        ModuleNotFoundError: if Orbax is needed and not installed.

    >>> import jax, jax.numpy as jnp, optax
    >>> from logistack.initialization import init_params
    >>> start = init_params(jax.random.key(0), (2, 1))
    >>> x, y = jnp.eye(2), jnp.array([[0.0], [1.0]])
    >>> told = []
    >>> tell = lambda progress: told.append(progress.epochs_done)
    >>> result = fit_with_callbacks(
    ...     jax.random.key(1), start, x, y, epochs=5, callbacks=[tell], every=2,
    ...     optimizer=optax.sgd(0.1),
    ... )
    >>> told, result.history.loss.shape
    ([2, 4, 5], (5,))
    """
    mesh = None if mesh is None else require_mesh(mesh, of=(BATCH,))
    run = prepare(
        "fit_with_callbacks",
        key,
        params,
        (inputs, targets),
        optimizer=optimizer,
        batch_size=batch_size,
        sample_weight=sample_weight,
        validation=validation,
        options=options,
    )
    assert run.train is not None
    samples = run.train.inputs.shape[0]
    there = run
    if mesh is not None:
        require_parts(mesh, run.recipe.batch_size)
        there = placed(run, mesh)

    def advance_by(state: TrainState, chunk: int) -> tuple[FitResult, Any, int]:
        if not chunk:
            return result_of(state, no_history(state), run.recipe), [], 0
        now = there._replace(state=state if mesh is None else placed(state, mesh))
        result, ran = compiled_advance_over(mesh)(now, chunk, epochs=min(every, epochs))
        warn_of(now, result, chunk)
        return result, ran, samples * (int(result.state.epoch) - int(state.epoch))

    result = drive(
        advance_by,
        run,
        epochs=epochs,
        callbacks=callbacks,
        every=every,
        checkpoint_path=checkpoint_path,
        save_every=save_every,
        shared=mesh is not None and mesh.is_multi_process,
    )
    return as_given(params, result)


def drive(
    advance_by: Advance,
    run: Run,
    *,
    epochs: int,
    callbacks: Sequence[Callback],
    every: int,
    checkpoint_path: str | os.PathLike[str] | None,
    save_every: int,
    source: Source | None = None,
    begin: Callable[[Run], Run] = compiled_begin,
    members: np.ndarray | None = None,
    shared: bool = False,
) -> FitResult:
    """Calls `advance_by` chunk by chunk, from `run` or its checkpoint, until all epochs have run.

    A run of members, begun by a `begin` of theirs, is at the epoch of the one that went on longest.

    `advance_by(state, epochs)` gives the chunk's result, which of its epochs ran, and how many
    samples it took; it is called for no epochs where all have run before.

    A run that is `shared` by several processes is driven in all of them alike. The first calls the
    callbacks, and what ends the run in one process ends it in all.
    """
    epochs = _checks.require_count("epochs", epochs, low=0)
    every = _checks.require_count("every", every, low=1)
    save_every = _checks.require_count("save_every", save_every, low=1)
    callbacks = require_callbacks(callbacks)
    state = begin(run).state
    first = np.asarray(state.epoch)
    history = _no_rows(state)
    saved = 0
    keeper = None if checkpoint_path is None else Keeper(checkpoint_path, run, source, shared)
    leads = not shared or _processes.is_first()

    with contextlib.ExitStack() as held:
        if keeper is not None:
            if leads:
                held.enter_context(checkpoint.writing(keeper.path))
            if shared:  # JAX ends a process that has lost another before it could say this
                print(_how_to_go_on(keeper), file=sys.stderr, flush=True)
            state, history = keeper.resume(state, history)
            saved = done_since(first, state)
        caught = held.enter_context(_caught_signals(lambda: _kept(keeper, saved)))
        while True:
            before, behind = done_since(first, state), (state, history)
            place = None if source is None else source.position()
            chunk = min(every, max(0, epochs - before))
            start = time.perf_counter()
            problem: BaseException | None = None
            try:
                result, ran, samples = advance_by(state, chunk)
            except StreamError as error:
                if shared:  # the others wait in the middle of the epoch, and end when this ends
                    raise
                result, samples, problem = error.result, 0, error
                ran = np.ones(len(result.history.loss), bool)
            except BaseException as error:
                if shared and keeper is not None:
                    error.add_note(_how_to_go_on(keeper))
                elif keeper is not None and before > saved and len(caught) < 2:
                    keeper.save(*behind, place)
                raise
            state = jax.block_until_ready(result).state
            seconds = time.perf_counter() - start
            now = done_since(first, state)
            rows = _rows_that_ran(result.history, ran, state.epoch.ndim)
            history = _joined(history, rows, state.epoch.ndim)
            stopped = now >= epochs or now < before + chunk
            if problem is None and rows.loss.size:
                told = result._replace(history=jax.tree.map(jnp.asarray, rows))
                rate = samples / seconds
                progress = Progress(told, before, now, rate, members, stopped)
                try:
                    for callback in callbacks if leads else ():
                        callback(progress)
                except StopTraining:
                    stopped = True
                except BaseException as error:  # what has been learned is saved first
                    if len(caught) > 1:  # and was not to be
                        raise
                    problem = error
            number = caught[0] if caught else None
            if shared:
                stopped, problem, number = _agreed(stopped, problem, number)
            ends = stopped or problem is not None or number is not None
            if isinstance(problem, StreamError):
                # Its epoch is not whole, and a run that goes on from here begins it anew.
                if keeper is not None and before > saved:
                    keeper.save(*behind, place)
            elif keeper is not None and now - saved >= (1 if ends else save_every):
                keeper.save(state, history, None if source is None else source.position())
                saved = now
            if not ends:
                continue
            result = result._replace(history=jax.tree.map(jnp.asarray, history))
            if isinstance(problem, StreamError):
                problem.result = result
            if problem is not None:
                whole = before if isinstance(problem, StreamError) else now
                if keeper is not None and whole > 0:
                    where = f"What was learned up to epoch {whole} is in {keeper.path}"
                    problem.add_note(where)
                raise problem
            if number is not None:
                raise _interrupted(number, result, keeper, done=now, epochs=epochs)
            if members is None:
                warn_of_validation(result, first)
            return result


def _agreed(
    stopped: bool, problem: BaseException | None, number: int | None
) -> tuple[bool, BaseException | None, int | None]:
    """Whether the run ends, and why, in any of the processes."""
    own = np.array([stopped, problem is not None, number or 0], np.int32)
    every = multihost_utils.process_allgather(own)
    failed = np.flatnonzero(every[:, 1])
    if problem is None and failed.size:
        problem = RuntimeError(f"process {failed[0]} ended the run: its own message says why")
    return bool(every[:, 0].any()), problem, int(every[:, 2].max()) or None


def _how_to_go_on(keeper: Keeper) -> str:
    """What to do when a process of several is lost."""
    return (
        f"process {jax.process_index()} of {jax.process_count()}: should one be lost, JAX ends the "
        "others, and names it by its number as a task, or process 0 as the leader. To go on from "
        f"the last checkpoint in {keeper.path}, start all of them anew; this one is: "
        f"{shlex.join(sys.orig_argv)}"
    )


def _no_rows(state: TrainState) -> History:
    """The history of no epoch; in NumPy, since each length of a JAX array is another program."""
    of = no_history
    for _ in range(state.epoch.ndim):
        of = jax.vmap(of)
    return jax.tree.map(lambda rows: np.zeros(rows.shape, rows.dtype), jax.eval_shape(of, state))


def _joined(before: History, rows: History, axis: int) -> History:
    return jax.tree.map(lambda *parts: np.concatenate(parts, axis), before, rows)


def _rows_that_ran(history: History, ran: Any, axis: int) -> History:
    """The rows of the epochs that ran, for any member."""
    rows = np.flatnonzero(np.asarray(ran).any(tuple(range(axis))))
    return jax.tree.map(lambda values: np.asarray(values).take(rows, axis), history)


@contextlib.contextmanager
def _caught_signals(kept: Callable[[], str]) -> Iterator[list[int]]:
    """Collects Ctrl-C and SIGTERM, so that an epoch can finish; a second one ends it at once."""
    caught: list[int] = []

    def catch(number: int, _: Any) -> None:
        caught.append(number)
        if len(caught) > 1:
            raise KeyboardInterrupt(f"{signal.Signals(number).name} a second time: {kept()}")

    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield caught
        return
    before = {
        number: signal.signal(number, catch)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) not in (signal.SIG_IGN, None)  # None: not Python's to restore
    }
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _kept(keeper: Keeper | None, epochs: int) -> str:
    """What is left of a run that ends at once."""
    if keeper is None:
        return "nothing is saved without a checkpoint_path"
    if not epochs:
        return "nothing is saved yet"
    where = f"what was learned up to epoch {epochs} is in {keeper.path}, and nothing after it"
    return f"{where}: run the same again to go on from there"


def _interrupted(
    number: int, result: FitResult, keeper: Keeper | None, *, done: int, epochs: int
) -> Interrupted:
    if keeper is None:
        advice = "nothing is saved without a checkpoint_path, but this exception has the `result`"
    else:
        advice = f"all is saved in {keeper.path}: run the same again to go on"
    stop = Interrupted(f"{signal.Signals(number).name} after epoch {done} of {epochs}: {advice}")
    stop.result, stop.signal = result, number
    return stop
