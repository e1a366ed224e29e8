"""What a run tells between epochs: one small protocol."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from logistack.training.run import FitResult


class Progress(NamedTuple):
    """Where a run stands after a chunk of epochs.

    Attributes:
        result: the parameters and state now, and the chunk's own rows of history.
        epochs_before: how many epochs of this run lay behind before the chunk, those from before
            it resumed among them.
        epochs_done: how many lie behind now; an epoch that was taken back, because it was not
            finite, has a row and does not count.
        samples_per_second: the rate of the chunk, compilation included if it was the first.
    """

    result: FitResult
    epochs_before: int
    epochs_done: int
    samples_per_second: float


class StopTraining(Exception):  # noqa: N818
    """What a callback raises to end the run after the chunk that it was told of."""


Callback: TypeAlias = Callable[[Progress], None]
