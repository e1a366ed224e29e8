"""Stacks of logistic units in JAX.

>>> import jax
>>> import logistack as ls
>>> params = ls.init_params(jax.random.key(0), (2, 2, 1))
>>> ls.forward(params, jax.numpy.array([0.0, 1.0])).shape
(1,)
"""

from importlib.metadata import version

from logistack import callbacks, data, export, losses, metrics, plots
from logistack.layers import Layer, Params, init_params, sigmoid_layer
from logistack.network import activations, forward, logits
from logistack.training import (
    BatchSums,
    FitResult,
    History,
    TrainState,
    fit,
    init_state,
    make_step,
    summed_loss,
)

__version__ = version("logistack")

__all__ = [
    "BatchSums",
    "FitResult",
    "History",
    "Layer",
    "Params",
    "TrainState",
    "activations",
    "callbacks",
    "data",
    "export",
    "fit",
    "forward",
    "init_params",
    "init_state",
    "logits",
    "losses",
    "make_step",
    "metrics",
    "plots",
    "sigmoid_layer",
    "summed_loss",
]
