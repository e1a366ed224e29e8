"""What is told between epochs: one small protocol, and the callbacks that come with it."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from logistack import _checks, _files
from logistack.training import FitResult


class Progress(NamedTuple):
    """Where a run stands after a chunk of epochs.

    Attributes:
        result: the parameters and state now, and the chunk's own rows of history.
        epochs_before: how many epochs of this run had been done before the chunk, including those
            before it was resumed.
        epochs_done: how many have been done now; an epoch that was taken back, because it was not
            finite, has a row but does not count.
        samples_per_second: the rate of the chunk, compilation included if it was the first.
    """

    result: FitResult
    epochs_before: int
    epochs_done: int
    samples_per_second: float


class StopTraining(Exception):  # noqa: N818 — it is a request, and not an error
    """Raised by a callback to end the run in good order, after the chunk that it was told of.

    The callbacks after it are not called. What was trained is saved where there is a
    `checkpoint_path`, and returned as if the run had been of so many epochs.
    """


Callback: TypeAlias = Callable[[Progress], None]
"""A function of one `Progress`, called between chunks of epochs.

What it returns is ignored. It ends the run by raising `StopTraining`:

    def stop_when_learned(progress):
        if progress.result.history.loss[-1] < 0.01:
            raise StopTraining

Any other exception ends the run, too, and reaches the caller after what was trained is saved.
"""


def require_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """Returns the callbacks of a run as a tuple.

    Args:
        callbacks: a list or tuple of functions of one `Progress`.

    Raises:
        TypeError: naming the argument, if it is not a list or tuple, as a function by itself is
            not, or if one of its entries cannot be called with a `Progress`.

    >>> len(require_callbacks([print]))
    1
    """
    if not isinstance(callbacks, list | tuple):
        raise TypeError(
            f"callbacks: expected a list or tuple of functions of one Progress, got {callbacks!r}"
        )
    for place, callback in enumerate(callbacks):
        # What `json_lines` and the others return can be called, too, but only decorates.
        if isinstance(callback, contextlib.ContextDecorator):
            raise TypeError(
                f"callbacks[{place}]: expected what a context manager yields, as `log` in `with "
                f"json_lines(path) as log`, got the context manager itself, {callback!r}"
            )
        if not callable(callback):
            raise TypeError(
                f"callbacks[{place}]: expected a function of one Progress, got {callback!r}"
            )
    return tuple(callbacks)


def rows_of(progress: Progress) -> list[dict[str, Any]]:
    """Returns a chunk's rows of history as plain numbers, one dictionary an epoch.

    Args:
        progress: what a callback is given.

    Returns:
        For each epoch its number in the run, counted from 1, and every measure of `History` that
        the run has: a number, or a list of one a layer.
    """
    measures = {
        name: np.asarray(values)
        for name, values in progress.result.history._asdict().items()
        if values is not None
    }
    return [
        {
            "epoch": progress.epochs_before + 1 + row,
            **{name: values[row].tolist() for name, values in measures.items()},
        }
        for row in range(len(measures["loss"]))
    ]


@contextlib.contextmanager
def json_lines(path: str | os.PathLike[str]) -> Iterator[Callback]:
    """Appends a line of JSON to a file for every epoch, as it comes.

    Each line is an object with `epoch`, `samples_per_second` and the measures of `History`. JSON
    has no NaN or ±∞: they become null. A run that is killed and resumed writes the epochs since
    its last checkpoint again; the later line is the one that counts.

    Args:
        path: the file; it and its folder are made if they are not there.

    Yields:
        The callback.

    Raises:
        ValueError: if the path is a URL.
        OSError: if the file cannot be written to.

    >>> import tempfile, jax, jax.numpy as jnp, optax, logistack as ls
    >>> x, y = jnp.eye(2), jnp.eye(2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with json_lines(f"{folder}/log.jsonl") as log:
    ...         result = ls.fit_with_callbacks(
    ...             jax.random.key(0), ls.init_params(jax.random.key(0), (2, 2)), x, y,
    ...             optimizer=optax.sgd(0.1), epochs=2, callbacks=[log],
    ...         )
    ...     lines = list(map(json.loads, Path(folder, "log.jsonl").read_text().splitlines()))
    >>> [line["epoch"] for line in lines], sorted(lines[0])[:3]
    ([1, 2], ['accuracy', 'epoch', 'gradient_norm'])
    """
    path = _files.local_path("path", path)
    with _named("path", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    with file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":  # a line cut off by the end of its process
                file.write(b"\n")

        def log(progress: Progress) -> None:
            for row in rows_of(progress):
                row["samples_per_second"] = progress.samples_per_second
                file.write(json.dumps(_without_nan(row), allow_nan=False).encode() + b"\n")
            file.flush()

        yield log


@contextlib.contextmanager
def _named(name: str, path: Path) -> Iterator[None]:
    """Names the argument in what the file system raises."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        message = f"{name}: expected a place that can be written to, got {path}: {reason}"
        raise type(error)(message) from error


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


@contextlib.contextmanager
def tensorboard(folder: str | os.PathLike[str]) -> Iterator[Callback]:
    """Writes every measure of every epoch where TensorBoard shows it, by tensorboardX.

    Args:
        folder: the log directory of this run.

    Yields:
        The callback.

    Raises:
        ValueError: if the folder is a URL.
        OSError: if the folder cannot be written to.
        ModuleNotFoundError: if tensorboardX is not installed.
    """
    tensorboard_x = _checks.import_extra("tensorboardX", "tensorboard")
    folder = _files.local_path("folder", folder)
    with _named("folder", folder):
        writer = tensorboard_x.SummaryWriter(os.fspath(folder))

    def log(progress: Progress) -> None:
        for row in rows_of(progress):
            epoch = row.pop("epoch")
            for name, value in row.items():
                layers = value if isinstance(value, list) else [value]
                for layer, number in enumerate(layers, start=1):
                    tag = f"{name}/layer {layer}" if isinstance(value, list) else name
                    writer.add_scalar(tag, number, epoch)
        writer.flush()

    with contextlib.closing(writer):
        yield log


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
