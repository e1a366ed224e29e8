"""What is told between epochs: one small protocol, and the callbacks that come with it."""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from logistack import _checks, _files
from logistack.training.progress import Callback, Progress, StopTraining, require_callbacks

__all__ = [
    "Callback",
    "Progress",
    "StopTraining",
    "json_lines",
    "progress_bar",
    "require_callbacks",
    "rows_of",
    "tensorboard",
]


def rows_of(progress: Progress) -> list[dict[str, Any]]:
    """Returns a chunk's rows of history as plain numbers, one dictionary an epoch.

    Args:
        progress: what a callback is given.

    Returns:
        For each epoch its number in the run, counted from 1, and every measure of `History` that
        the run has: a number, or a list of one a layer. Of a population the numbers of the
        `members`, too, and every measure is a list with an entry for each.
    """
    own: dict[str, Any] = {}
    axis = 0
    if progress.members is not None:
        own["members"], axis = progress.members.tolist(), 1
    measures = {
        name: np.moveaxis(np.asarray(values), axis, 0)
        for name, values in progress.result.history._asdict().items()
        if values is not None
    }
    return [
        {
            "epoch": progress.epochs_before + 1 + row,
            **own,
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

    >>> import json, pathlib, tempfile, jax, jax.numpy as jnp, optax, logistack as ls
    >>> x, y = jnp.eye(2), jnp.eye(2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with json_lines(f"{folder}/log.jsonl") as log:
    ...         result = ls.fit_with_callbacks(
    ...             jax.random.key(0), ls.init_params(jax.random.key(0), (2, 2)), x, y,
    ...             optimizer=optax.sgd(0.1), epochs=2, callbacks=[log],
    ...         )
    ...     lines = pathlib.Path(folder, "log.jsonl").read_text().splitlines()
    >>> [json.loads(line)["epoch"] for line in lines], sorted(json.loads(lines[0]))[:3]
    ([1, 2], ['accuracy', 'epoch', 'gradient_norm'])
    """
    path = _files.local_path("path", path)
    with _files.writing_to("path", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)
    with file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":  # a line cut off by the end of its process
                file.write(b"\n")

        def log(progress: Progress) -> None:
            lines = b""
            for row in rows_of(progress):
                row["samples_per_second"] = progress.samples_per_second
                lines += json.dumps(_without_nan(row), allow_nan=False).encode() + b"\n"
            with _files.writing_to("path", path):
                while lines:  # a disk that is nearly full takes a part
                    lines = lines[file.write(lines) :]

        yield log


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
    with _files.writing_to("folder", folder):
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
    epochs: int,
    *,
    members: int | None = None,
    description: str = "training",
    disable: bool = False,
) -> Iterator[Callback]:
    """Shows a bar on the terminal with the epoch, loss, accuracy and samples a second.

    Args:
        epochs: how many epochs the run has.
        members: how many members `sweep` trains. The bar then counts the epochs of all of them,
            says how many have ended, and shows the medians of those that still go on.
        description: what stands before the bar.
        disable: whether to show nothing.

    Yields:
        The callback to give to `fit_with_callbacks` or `sweep`.

    Raises:
        ModuleNotFoundError: if tqdm is not installed.
    """
    tqdm = _checks.import_extra("tqdm", "progress").tqdm
    total = epochs * (1 if members is None else members)
    passed: dict[int, int] = {}  # by a block's first member, the epochs that lie behind
    ended: dict[int, int] = {}  # and how many members it has
    with tqdm(total=total, desc=description, unit="epoch", disable=disable) as bar:

        def show(progress: Progress) -> None:
            history = progress.result.history
            told = {
                "loss": f"{_median_now(history.loss):.4g}",
                "accuracy": f"{_median_now(history.accuracy):.2%}",
                "samples/s": f"{progress.samples_per_second:,.0f}",
            }
            own, first = 1, 0
            if progress.members is not None:
                own, first = len(progress.members), int(progress.members[0])
                ended[first] = own if progress.ends else 0
                told = {"members": f"{sum(ended.values()):,}/{members or own:,}", **told}
            done = progress.epochs_done
            if progress.ends and progress.members is not None:  # also of those that stopped early
                done = epochs
            passed[first] = own * done
            bar.set_postfix(told, refresh=False)
            bar.update(sum(passed.values()) - bar.n)

        yield show


def _median_now(rows: Any) -> float:
    """The last row, or the median over members that have one."""
    now = np.asarray(rows)[..., -1]
    now = now[~np.isnan(now)]
    return float(np.median(now)) if now.size else np.nan
