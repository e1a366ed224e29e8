"""Host work around a training run: chunks of epochs, and what is told between them."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Int, PRNGKeyArray, Real

from logistack import _checks
from logistack.layers import Params
from logistack.training import FitResult, TrainState, fit


class Progress(NamedTuple):
    """Where a run stands after a chunk of epochs.

    Attributes:
        result: the parameters and state now, and the chunk's own rows of history.
        epochs_done: how many epochs of this run lie behind.
        samples_per_second: the rate of the chunk, compilation included if it was the first.
    """

    result: FitResult
    epochs_done: int
    samples_per_second: float


Callback: TypeAlias = Callable[[Progress], None]


def fit_with_callbacks(
    key: PRNGKeyArray,
    params: Params | TrainState,
    inputs: Real[ArrayLike, "n in"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    epochs: int,
    callbacks: Sequence[Callback],
    every: int = 1,
    **options: Any,
) -> FitResult:
    """Runs `fit` in chunks of epochs and calls back after each; the result is `fit`'s, bit for bit.

    Args:
        key: a JAX random key.
        params: the parameters to start from, or the `TrainState` to continue from.
        inputs: samples, `(n, in)`.
        targets: rows `(n, out)`, or integer classes `(n,)`.
        epochs: how many times to go through the samples, 0 or more.
        callbacks: functions of one `Progress`, called in order.
        every: how many epochs a chunk has; the last may have fewer.
        options: the other keyword arguments of `fit`.

    Returns:
        A `FitResult` with the history of all epochs.

    Raises:
        ValueError: if `every` is below 1, and whatever `fit` raises.
        TypeError: if `every` is not an integer, and whatever `fit` raises.

    >>> import jax, jax.numpy as jnp, optax
    >>> from logistack.layers import init_params
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
    every = _checks.require_count("every", every, low=1)
    epochs = _checks.require_count("epochs", epochs, low=0)
    # Once on the device here, rather than once a chunk in `fit`.
    inputs, targets = (
        _checks.require_numeric(name, array)
        for name, array in (("inputs", inputs), ("targets", targets))
    )
    result = fit(key, params, inputs, targets, epochs=0, **options)
    rows = [result.history]
    done = 0
    while done < epochs:
        chunk = min(every, epochs - done)
        start = time.perf_counter()
        result = fit(key, result.state, inputs, targets, epochs=chunk, **options)
        jax.block_until_ready(result)
        seconds = time.perf_counter() - start
        done += chunk
        rows.append(result.history)
        for callback in callbacks:
            callback(Progress(result, done, chunk * inputs.shape[0] / seconds))
    history = jax.tree.map(lambda *parts: jnp.concatenate(parts), *rows)
    return result._replace(history=history)


@contextlib.contextmanager
def progress_bar(
    epochs: int, *, description: str = "training", disable: bool = False
) -> Iterator[Callback]:
    """Shows a bar on the terminal with the epoch, loss, accuracy and samples a second.

    Args:
        epochs: how many epochs the run has.
        description: what stands before the bar.
        disable: whether to show nothing.

    Yields:
        The callback to give to `fit_with_callbacks`.

    Raises:
        ModuleNotFoundError: if tqdm is not installed.
    """
    tqdm = _checks.import_extra("tqdm", "progress").tqdm
    with tqdm(total=epochs, desc=description, unit="epoch", disable=disable) as bar:

        def show(progress: Progress) -> None:
            history = progress.result.history
            bar.set_postfix(
                {
                    "loss": f"{history.loss[-1]:.4g}",
                    "accuracy": f"{history.accuracy[-1]:.2%}",
                    "samples/s": f"{progress.samples_per_second:,.0f}",
                },
                refresh=False,
            )
            bar.update(progress.epochs_done - bar.n)

        yield show
