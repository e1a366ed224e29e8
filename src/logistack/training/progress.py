"""What a run tells between epochs: one small protocol."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int

from logistack.training.run import FitResult


class Progress(NamedTuple):
    """Where a run stands after a chunk of epochs.

    Attributes:
        result: the parameters and state now, and the chunk's own rows of history.
        epochs_before: how many epochs of this run had been done before the chunk, including those
            before it was resumed.
        epochs_done: how many have been done now; an epoch that was taken back, because it was not
            finite, has a row but does not count.
        samples_per_second: the rate of the chunk, compilation included if it was the first; of
            members, the sum of their rates.
        members: which members of a population `result` is about, with a leading axis of them in
            all its parts; None for a single run.
        ends: whether there is no chunk to come, unless a callback says so only now.
    """

    result: FitResult
    epochs_before: int
    epochs_done: int
    samples_per_second: float
    members: Int[np.ndarray, " members"] | None = None
    ends: bool = False


class StopTraining(Exception):  # noqa: N818
    """Raised by a callback to end the run in good order, after the chunk that it was told of.

    The callbacks after it are not called for this chunk. What was trained is saved where there is
    a `checkpoint_path`, and returned.
    """


Callback: TypeAlias = Callable[[Progress], None]
"""A function of one `Progress`, called between chunks of epochs.

What it returns is ignored. It ends the run by raising `StopTraining`:

    def stop_when_learned(progress):
        if progress.result.history.loss[-1] < 0.01:
            raise ls.callbacks.StopTraining

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
