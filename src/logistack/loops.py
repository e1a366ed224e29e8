"""Training from the host's side: chunks of epochs, streams, checkpoints and signals."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import ArrayLike, Int, PRNGKeyArray, Real

from logistack import _checks, checkpoint, losses
from logistack._static import Static
from logistack.callbacks import Callback, Progress
from logistack.layers import Params
from logistack.training import FitResult, History, TrainState, fit
from logistack.training.arguments import Augment, Loss, Program, Recipe
from logistack.training.epoch import goes_on, require_validation
from logistack.training.history import no_history
from logistack.training.run import as_given, prepare, result_of, warn_if_diverged
from logistack.training.stream import Source, StreamError, stream_epoch


class Interrupted(KeyboardInterrupt):
    """A run that Ctrl-C or SIGTERM ended, after the epoch it was in.

    Attributes:
        result: the training so far, a `FitResult`.
        signal: the number of the signal.
    """

    result: FitResult
    signal: int


def fit_with_callbacks(
    key: PRNGKeyArray,
    params: Params | TrainState,
    inputs: Real[ArrayLike, "n in"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    optimizer: optax.GradientTransformation | Callable[..., optax.GradientTransformation],
    epochs: int,
    callbacks: Sequence[Callback] = (),
    every: int = 1,
    checkpoint_path: str | os.PathLike[str] | None = None,
    save_every: int = 10,
    **options: Any,
) -> FitResult:
    """Runs `fit` in chunks of epochs, with what the host does between; the result is `fit`'s.

    After each chunk come the callbacks and, where there is a `checkpoint_path`, every so many
    epochs a checkpoint. The same call in a new process goes on from the last one, to the same
    result bit for bit. Ctrl-C and SIGTERM let the chunk finish, save, and raise `Interrupted`,
    which says how to go on.

    Args:
        key: a JAX random key.
        params: the parameters to start from, or the `TrainState` to continue from.
        inputs: samples, `(n, in)`.
        targets: rows `(n, out)`, or integer classes `(n,)`.
        optimizer: as `fit` takes it.
        epochs: how many times to go through the samples, 0 or more, those before a checkpoint
            that the run resumes from among them.
        callbacks: functions of one `Progress`, called in order.
        every: how many epochs a chunk has; the last may have fewer.
        checkpoint_path: the folder of the run's checkpoints; none are kept if None.
        save_every: how many epochs lie between checkpoints; the end of the run is always saved.
        options: the other keyword arguments of `fit`.

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
    _checks.require_key("key", key)
    # Once on the device here, rather than once a chunk in `fit`.
    inputs, targets = (
        _checks.require_numeric(name, array)
        for name, array in (("inputs", inputs), ("targets", targets))
    )
    numbers = {name: options[name] for name in Recipe._fields if name in options}
    words = {name: options[name] for name in Program._fields if name in options}
    program = Program(optimizer, **words)
    recipe, state = prepare(params, program, validation=options.get("validation"), **numbers)

    def advance(state: TrainState, epochs: int) -> tuple[FitResult, int]:
        result = fit(key, state, inputs, targets, optimizer=optimizer, epochs=epochs, **options)
        return result, inputs.shape[0] * (int(result.state.epoch) - int(state.epoch))

    result = _drive(
        advance,
        result_of(state, no_history(state), recipe),
        key=key,
        epochs=epochs,
        callbacks=callbacks,
        every=every,
        checkpoint_path=checkpoint_path,
        save_every=save_every,
    )
    return as_given(params, result)


def fit_stream(
    key: PRNGKeyArray,
    params: Params | TrainState,
    batches: Iterable[Any],
    *,
    optimizer: optax.GradientTransformation | Callable[..., optax.GradientTransformation],
    epochs: int,
    steps_per_epoch: int | None = None,
    loss: Loss = losses.sigmoid_cross_entropy,
    reduction: str = "sum",
    validation: Any = None,
    coordinates: str = "plain",
    augment: Augment | None = None,
    compute_dtype: Any = None,
    remat: bool = False,
    callbacks: Sequence[Callback] = (),
    checkpoint_path: str | os.PathLike[str] | None = None,
    save_every: int = 1,
    **options: Any,
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
        loss: C, a function of one sample's logits and target.
        reduction: `"sum"` over the samples of a batch, or `"mean"`.
        validation: `(inputs, targets)`, or these and their weights, held on the device.
        coordinates: `"plain"` or `"centred"`, as in `make_step`.
        augment: a function of a JAX random key and one sample, as in `make_step`.
        compute_dtype: `jnp.bfloat16` for mixed precision, as in `make_step`.
        remat: whether stacks save memory by computing activations again, as in `make_step`.
        callbacks: functions of one `Progress`, called in order after every epoch.
        checkpoint_path: the folder of the run's checkpoints; none are kept if None.
        save_every: how many epochs lie between checkpoints; the end of the run is always saved.
        options: `fit`'s class_weight (an array), patience, min_delta, dropout, label_smoothing,
            ema_decay and hyperparams.

    Returns:
        A `FitResult` with the history of all epochs that ran.

    Raises:
        ValueError: for what `fit` refuses, and if the checkpoint is of another run.
        StreamError: a ValueError, if the batches end early or do not fit; its `result` has what
            the batches before taught, which is saved where there is a `checkpoint_path`.
        TypeError: if `batches` is not iterable, and for what `fit` refuses.
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
    _checks.require_key("key", key)
    if steps_per_epoch is not None:
        steps_per_epoch = _checks.require_count("steps_per_epoch", steps_per_epoch, low=1)
    if isinstance(options.get("class_weight"), str):
        raise ValueError(
            f"class_weight: expected an array beside a stream, got {options['class_weight']!r}"
        )
    program = Program(optimizer, loss, reduction, coordinates, augment, compute_dtype, remat)
    recipe, state = prepare(params, program, validation=validation, **options)
    blocks = require_validation(validation, state.params, loss, samples=None)
    source = Source(batches, steps_per_epoch, state.params, loss)
    fixed = Static(program)

    def advance(state: TrainState, epochs: int) -> tuple[FitResult, int]:
        if epochs == 0 or not goes_on(state, recipe):
            return result_of(state, no_history(state), recipe), 0
        before = source.samples
        result = stream_epoch(key, state, source, blocks, recipe, fixed)
        warn_if_diverged(result, first=state.epoch, epochs=epochs, recipe=recipe)
        return result, source.samples - before

    result = _drive(
        advance,
        result_of(state, no_history(state), recipe),
        key=key,
        epochs=epochs,
        callbacks=callbacks,
        every=1,
        checkpoint_path=checkpoint_path,
        save_every=save_every,
        source=source,
    )
    return as_given(params, result)


def _drive(
    advance: Callable[[TrainState, int], tuple[FitResult, int]],
    result: FitResult,
    *,
    key: PRNGKeyArray,
    epochs: int,
    callbacks: Sequence[Callback],
    every: int,
    checkpoint_path: str | os.PathLike[str] | None,
    save_every: int,
    source: Source | None = None,
) -> FitResult:
    """Calls `advance` chunk by chunk, from `result` or the checkpoint, until all epochs have run.

    `advance(state, epochs)` gives the chunk's result and how many samples it took.
    """
    epochs = _checks.require_count("epochs", epochs, low=0)
    every = _checks.require_count("every", every, low=1)
    save_every = _checks.require_count("save_every", save_every, low=1)
    first = saved = int(result.state.epoch)
    keeper = None if checkpoint_path is None else _Keeper(Path(checkpoint_path), key, source)
    if keeper is not None:
        result = keeper.resume(result)
        saved = int(result.state.epoch)
    # In NumPy: each length of a JAX array would be another program to compile.
    history = jax.tree.map(np.asarray, result.history)

    with _caught_signals() as caught:
        while True:
            before = int(result.state.epoch)
            chunk = min(every, max(0, first + epochs - before))
            start = time.perf_counter()
            problem = None
            try:
                result, samples = advance(result.state, chunk)
            except StreamError as error:
                result, samples, problem = error.result, 0, error
            jax.block_until_ready(result)
            seconds = time.perf_counter() - start
            now = int(result.state.epoch)
            rows = _rows_that_ran(result.history)
            history = jax.tree.map(lambda *parts: np.concatenate(parts), history, rows)
            if problem is None and len(rows.loss):
                result = result._replace(history=jax.tree.map(jnp.asarray, rows))
                progress = Progress(result, before - first, now - first, samples / seconds)
                for callback in callbacks:
                    callback(progress)
            number = caught[0] if caught else None
            ended = now >= first + epochs or now < before + chunk or problem is not None
            due = 1 if ended or number is not None else save_every
            if keeper is not None and now - saved >= due:
                keeper.save(result.state, history)
                saved = now
            if not ended and number is None:
                continue
            result = result._replace(history=jax.tree.map(jnp.asarray, history))
            if problem is not None:
                problem.result = result
                if keeper is not None and now > first:
                    where = f"What was learned up to epoch {now - first} is in {keeper.path}"
                    problem.add_note(where)
                raise problem
            if number is not None:
                raise _interrupted(number, result, keeper, done=now - first, epochs=epochs)
            return result


def _rows_that_ran(history: History) -> History:
    history = jax.tree.map(np.asarray, history)
    # An epoch that did run has an accuracy, even one whose loss is not a number.
    ran = ~np.isnan(history.accuracy)
    return jax.tree.map(lambda rows: rows[ran], history)


class _Keeper:
    """The checkpoints of a run: its state, and as notes its key, history and place in a stream."""

    def __init__(self, path: Path, key: PRNGKeyArray, source: Source | None) -> None:
        self.path, self._source = path, source
        self._key = np.asarray(jax.random.key_data(key)).tolist()

    def save(self, state: TrainState, history: History) -> None:
        """Keeps a state, with the history of all epochs."""
        notes = {
            "key": self._key,
            "history": jax.tree.map(np.ndarray.tolist, history._asdict()),
            "stream": None if self._source is None else self._source.position(),
        }
        checkpoint.save(self.path, state, notes=notes)

    def resume(self, start: FitResult) -> FitResult:
        """The last result that was kept, or `start` if there is none yet."""
        if not checkpoint.versions(self.path):
            return start
        state = checkpoint.restore(self.path, start.state)
        notes = checkpoint.read_notes(self.path)
        if notes.get("key") != self._key:
            raise ValueError(
                f"key: expected that of the run that {self.path} has a checkpoint of, "
                f"{notes.get('key')}, got {self._key}"
            )
        if (self._source is None) != (notes["stream"] is None):
            kinds = ("fit_with_callbacks", "fit_stream")
            raise ValueError(
                f"checkpoint_path: expected a checkpoint of {kinds[self._source is not None]}, "
                f"{self.path} has one of {kinds[notes['stream'] is not None]}"
            )
        if self._source is not None:
            self._source.seek(notes["stream"])
        history: Any = start.history
        done = int(state.epoch) - int(start.state.epoch)
        for name, rows in history._asdict().items():
            if rows is not None:
                kept = np.asarray(notes["history"][name], rows.dtype)
                # An epoch that was taken back has a row, and will have it again.
                kept = kept.reshape(-1, *rows.shape[1:])[:done]
                history = history._replace(**{name: kept})
        return start._replace(state=state, history=history)


@contextlib.contextmanager
def _caught_signals() -> Iterator[list[int]]:
    """Collects Ctrl-C and SIGTERM, so that an epoch can finish; a second one ends it at once."""
    caught: list[int] = []

    def catch(number: int, _: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

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


def _interrupted(
    number: int, result: FitResult, keeper: _Keeper | None, *, done: int, epochs: int
) -> Interrupted:
    if keeper is None:
        advice = "nothing is saved without a checkpoint_path, but this exception has the `result`"
    else:
        advice = f"all is saved in {keeper.path}: run the same again to go on"
    stop = Interrupted(f"{signal.Signals(number).name} after epoch {done} of {epochs}: {advice}")
    stop.result, stop.signal = result, number
    return stop
