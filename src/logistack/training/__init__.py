"""Training: the summed loss, one step of an optimizer, and the run that scans it."""

from logistack.training.descent import deep_sgd
from logistack.training.diagnosis import diagnose
from logistack.training.driver import Interrupted, fit_with_callbacks
from logistack.training.fit import fit
from logistack.training.halving import HalvingResult, successive_halving
from logistack.training.measures import BatchSums, History
from logistack.training.population import fit_population
from logistack.training.run import FitResult, epoch_order, step_key
from logistack.training.sizes import SizeGroup, group_sizes
from logistack.training.source import StreamError
from logistack.training.state import Best, TrainState
from logistack.training.step import init_state, make_step, summed_loss
from logistack.training.stream import fit_stream
from logistack.training.sweep import sweep

__all__ = [
    "BatchSums",
    "Best",
    "FitResult",
    "HalvingResult",
    "History",
    "Interrupted",
    "SizeGroup",
    "StreamError",
    "TrainState",
    "deep_sgd",
    "diagnose",
    "epoch_order",
    "fit",
    "fit_population",
    "fit_stream",
    "fit_with_callbacks",
    "group_sizes",
    "init_state",
    "make_step",
    "step_key",
    "successive_halving",
    "summed_loss",
    "sweep",
]
