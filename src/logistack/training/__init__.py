"""Training: the summed loss, one step of an optimizer, and the run that scans it."""

from logistack.training.diagnosis import diagnose
from logistack.training.history import History
from logistack.training.run import FitResult, epoch_order, fit, step_key
from logistack.training.state import BatchSums, Best, TrainState, init_state
from logistack.training.step import make_step, summed_loss
from logistack.training.stream import StreamError

__all__ = [
    "BatchSums",
    "Best",
    "FitResult",
    "History",
    "StreamError",
    "TrainState",
    "diagnose",
    "epoch_order",
    "fit",
    "init_state",
    "make_step",
    "step_key",
    "summed_loss",
]
