"""Training on batches as they come, for data larger than the device."""

import collections
import functools
import os
from collections.abc import Iterable, Sequence
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, PRNGKeyArray

from logistack import _checks
from logistack.layers import Params
from logistack.training.driver import drive
from logistack.training.fit import as_given, prepare, warn_of
from logistack.training.measures import BatchSums, History, Whole, no_history, no_sums, summarize
from logistack.training.progress import Callback
from logistack.training.recipe import Optimizer, Options, in_dtypes_of, require_factors, spells_out
from logistack.training.run import (
    FitResult,
    Run,
    close_epoch,
    goes_on,
    result_of,
    step_key,
    weight_of,
)
from logistack.training.source import Batch, Source, StreamError
from logistack.training.spread import BATCH, WHOLE, in_parts, on_each, placed, require_mesh
from logistack.training.state import TrainState
from logistack.training.step import take_batch

# As many steps may be under way: their batches lie on the device beside the one in use.
PREFETCHED = 2


@spells_out(Options)
def fit_stream(
    key: PRNGKeyArray,
    params: Params | TrainState,
    batches: Iterable[Any],
    *,
    optimizer: Optimizer,
    epochs: int,
    steps_per_epoch: int | None = None,
    validation: Any = None,
    mesh: Mesh | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint_path: str | os.PathLike[str] | None = None,
    save_every: int = 1,
    **options: Unpack[Options],
) -> FitResult:
    """Trains on batches as they come, for data larger than the device: the steps are `fit`'s.

    Batches go to the device while the steps before them are under way, and no more than three
    are there at a time. An iterator that tells its place by `get_state` and `set_state`, as
    Grain's do, is set to it when a run resumes from its checkpoint; another is taken to start
    anew, and is run past the batches already seen. (Grain goes on only with a data source whose
    `repr` is the same in every process.)

    Args:
        key: a JAX random key; `fit` with the same key drops out the same units.
        params: the parameters to start from, or the `TrainState` to continue from.
        batches: an iterable, `grain.DataLoader` among them, of `(inputs, targets)` or
            `(inputs, targets, weights)`, arrays as `fit` takes them. All have the dtypes and at
            most the size of the first; a smaller one is padded with samples of weight 0.
        optimizer: as `fit` takes it.
        epochs: how many epochs, 0 or more, those before a checkpoint that the run resumes from
            among them.
        steps_per_epoch: how many batches an epoch has; if None, it has all that an iteration over
            `batches` gives.
        validation: `(inputs, targets)`, or these and their weights, held on the device.
        mesh: devices that each get a part of every batch, and no more of it, a
            `jax.sharding.Mesh` with the axis `"batch"`; one device if None. Of several processes,
            each gives its own part of the batches, and `steps_per_epoch` must be given.
        callbacks: functions of one `Progress`, called in order after every epoch.
        checkpoint_path: the folder of the run's checkpoints; none are kept if None.
        save_every: how many epochs lie between checkpoints; the end of the run is always saved.
        options: the other options of `fit`; `class_weight` is an array.

    Returns:
        A `FitResult` with the history of all epochs that ran.

    Raises:
        ValueError: for what `fit` raises, and if the checkpoint is of another run.
        StreamError: a ValueError, if the batches end early or do not fit; its `result` has what
            the batches before taught; what is saved, where there is a `checkpoint_path`, are the
            whole epochs, and a run that goes on begins the broken one anew.
        TypeError: if `batches` is not iterable, and for what `fit` raises.
        Interrupted: after Ctrl-C or SIGTERM, at the end of the epoch.

    >>> import jax, numpy as np, optax
    >>> from logistack.initialization import init_params
    >>> def batches():
    ...     generator = np.random.default_rng(0)
    ...     while True:
    ...         x = generator.standard_normal((32, 2), np.float32)
    ...         yield x, (x[:, :1] > 0).astype(np.float32)
    >>> start = init_params(jax.random.key(0), (2, 1))
    >>> result = fit_stream(
    ...     jax.random.key(1), start, batches(), optimizer=optax.sgd(0.1), epochs=2,
    ...     steps_per_epoch=50,
    ... )
    >>> bool(result.history.accuracy[-1] > 0.95)
    True
    """
    if steps_per_epoch is not None:
        steps_per_epoch = _checks.require_count("steps_per_epoch", steps_per_epoch, low=1)
    mesh = None if mesh is None else require_mesh(mesh, of=(BATCH,))
    if mesh is not None and mesh.is_multi_process and steps_per_epoch is None:
        raise ValueError("steps_per_epoch: expected a number, for all processes to take, got None")
    run = prepare(
        "fit_stream",
        key,
        params,
        None,
        optimizer=optimizer,
        validation=validation,
        options=options,
    )
    require_factors(run.recipe)
    network = run.state.params if isinstance(run.state, TrainState) else run.state
    parts = 1 if mesh is None else len(mesh.local_devices)
    source = Source(batches, steps_per_epoch, network, options.get("loss"), parts)
    there = run if mesh is None else placed(run, mesh)
    processes = jax.process_count() if mesh is not None and mesh.is_multi_process else 1

    def advance_by(state: TrainState, epochs: int) -> tuple[FitResult, Any, int]:
        now = there._replace(state=state if mesh is None else placed(state, mesh))
        if epochs == 0 or not goes_on(state, run.recipe):
            return result_of(state, no_history(state), run.recipe), [], 0
        before = source.samples
        result = stream_epoch(now, source, mesh)
        warn_of(now, result, epochs)
        return result, [True], (source.samples - before) * processes

    result = drive(
        advance_by,
        run,
        epochs=epochs,
        callbacks=callbacks,
        every=1,
        checkpoint_path=checkpoint_path,
        save_every=save_every,
        source=source,
        shared=processes > 1,
    )
    return as_given(params, result)


def stream_epoch(run: Run, source: Source, mesh: Mesh | None = None) -> FitResult:
    """Trains for one epoch on the batches of a source; `run` stays as it is.

    Raises:
        StreamError: if the source ends early or gives what does not fit; its `result` has what
            the batches before it taught.
    """
    # The step takes over the memory of the state and the sums that it is given.
    sums = no_sums(run.state.params)
    state, sums = jax.tree.map(jnp.copy, (run.state, sums if mesh is None else placed(sums, mesh)))
    step_on, close = compiled_step(mesh)
    under_way: collections.deque[Array] = collections.deque()
    batches, steps = source.epoch(), 0
    problem: Exception | None = None
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            break
        except (ValueError, TypeError) as error:
            problem = error
            break
        state, sums, mark = step_on(run, state, sums, _sent(batch, mesh), steps)
        steps += 1
        under_way.append(mark)
        if len(under_way) > PREFETCHED:
            under_way.popleft().block_until_ready()
    if steps:
        state, row = close(run, state, sums, classes=source.classes)
    else:  # nothing was seen: there is no epoch to close
        state, row = run.state, no_history(run.state)
    result = result_of(state, row, run.recipe)
    if problem is not None:
        kind = "" if isinstance(problem, ValueError) else f"{type(problem).__name__}: "
        told = StreamError(f"{kind}{problem}")
        told.result = result
        raise told from (problem.__cause__ or problem)
    return result


def _sent(batch: Batch, mesh: Mesh | None) -> Batch:
    """The batch on the devices: of several, each has a part."""
    if mesh is None:
        return jax.device_put(batch)
    if mesh.is_multi_process and batch.weights is None:  # as in a process that has filled one up
        batch = batch._replace(weights=np.ones(batch.inputs.shape[0], np.float32))
    sharding = NamedSharding(mesh, PartitionSpec(BATCH))
    return jax.tree.map(
        lambda part: jax.make_array_from_process_local_data(sharding, np.asarray(part)), batch
    )


@functools.cache
def compiled_step(mesh: Mesh | None) -> tuple[Any, Any]:
    """A step, and the end of an epoch, with a part of each batch on each device of a mesh."""
    step_on: Any = _step_on
    close: Any = _close
    if mesh is not None:
        specs = (WHOLE, WHOLE, WHOLE, PartitionSpec(BATCH), WHOLE)

        def step_on(run: Run, *rest: Any) -> Any:
            return _step_on(in_parts(run, mesh), *rest)

        def close(run: Run, after: TrainState, sums: BatchSums, *, classes: bool) -> Any:
            def own(run: Run, after: TrainState, sums: BatchSums) -> Any:
                return _close(in_parts(run, mesh), after, sums, classes=classes)

            return on_each(own, mesh)(run, after, sums)

        step_on = on_each(step_on, mesh, specs)
    # The step takes over the memory of the state and the sums.
    return jax.jit(step_on, donate_argnums=(1, 2)), jax.jit(close, static_argnames="classes")


def _step_on(
    run: Run, state: TrainState, sums: BatchSums, batch: Any, place: Int[Array, ""]
) -> tuple[TrainState, BatchSums, Float[Array, ""]]:
    inputs, targets, weights = batch  # a `Batch`, now on the device
    inputs, targets = in_dtypes_of(state.params, inputs, targets)
    own_key = step_key(run.key, state.epoch, place)
    state, seen = take_batch(
        run.recipe, state, inputs, targets, weights, key=own_key, examined=place == 0
    )
    return state, jax.tree.map(jnp.add, sums, seen), seen.loss


def _close(
    run: Run, after: TrainState, sums: BatchSums, *, classes: bool
) -> tuple[TrainState, History]:
    state, _, seen = close_epoch(run.state, after, sums, run)
    whole = Whole(sums.weight, sums.target, weight_of(run.held, sums.weight.dtype))
    row = summarize(seen, whole, run.recipe, classes=classes)
    return state, jax.tree.map(lambda value: value[None], row)
