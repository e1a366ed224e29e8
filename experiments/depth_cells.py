"""Where the networks of `depth.py` start, and what is kept of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import logistack as ls
from experiments import keeping

# What every stack in folded steps is to read of the test digits, in the mean over seeds.
WANTED = 0.96
CHANCE = 0.1

# A rate too large, at which no more than this is read, is not tried in deeper networks.
LOST = 2 * CHANCE


class Scheme(NamedTuple):
    """Where a network starts, in which coordinates it takes its steps, and how long they are.

    Those of `by_rule` are as long as `ls.deep_sgd` makes them; of others, a rate is chosen.
    """

    drawn: str
    change: Callable[[ls.Params], ls.Params]
    coordinates: str
    by_rule: bool = False


def as_drawn(params: ls.Params) -> ls.Params:
    return params


def quartered(params: ls.Params) -> ls.Params:
    """The textbook's ±√(6 / (in + out)): the library draws with the factor 4 that σ asks for."""
    return jax.tree.map(lambda array: array / 4, params)


def quartered_and_folded(params: ls.Params) -> ls.Params:
    """The network of logistic units that computes what tanh units compute from the textbook's."""
    return ls.fold(quartered(params))


def identity_plus_noise(params: ls.Params) -> ls.Params:
    """Weights I + Z of the centred network, Z normal with standard deviation 0.085/√in.

    The last layer stays as drawn, normal with 1/√in. Source: Lee, Choi & Kim 2025, Robust weight
    initialization for tanh neural networks with fixed point analysis, section 3.2. Their later
    paper on all odd sigmoids, arXiv 2509.23085, adds noise to a scaled identity, too.
    """
    *hidden, last = params

    def moved(layer: ls.Layer) -> ls.Layer:
        weight = layer.weight
        identity = jnp.eye(weight.shape[-2], weight.shape[-1], dtype=weight.dtype)
        identity = jnp.broadcast_to(identity, weight.shape)
        return layer._replace(weight=identity + 0.085 * weight)

    return ls.fold((*map(moved, hidden), last))


OURS = "centred orthogonal, folded steps"
DEEP = "deep start, rate by rule"
SCHEMES = {
    "textbook Glorot": Scheme("glorot", quartered, "plain"),
    "4 × Glorot": Scheme("glorot", as_drawn, "plain"),
    "centred Glorot": Scheme("glorot", quartered_and_folded, "plain"),
    "identity plus noise, folded steps": Scheme("normal", identity_plus_noise, "centred"),
    "centred orthogonal, plain steps": Scheme("orthogonal", as_drawn, "plain"),
    OURS: Scheme("orthogonal", as_drawn, "centred"),
    DEEP: Scheme("deep", as_drawn, "centred", by_rule=True),
}


class Network(NamedTuple):
    """One trained network.

    `losses` are summed over the training digits, or their mean where the rate is by rule, one an
    epoch, in nats, and None where the run had stopped; `stuck` says that the last is that of the
    base rate; `largest` and `smallest` are singular values of ∂ logits / ∂x at the start, in the
    mean over a few test digits.
    """

    seed: int
    accuracy: float
    stuck: bool
    seconds: float
    largest: float
    smallest: float
    losses: tuple[float | None, ...]


class Cell(NamedTuple):
    """The networks of one scheme and depth, and the validation accuracy that chose their rate."""

    scheme: str
    depth: int
    rate: float
    validation: dict[str, float]
    networks: tuple[Network, ...]


class Timing(NamedTuple):
    """How long one network takes from nothing, compilation included, and how long once more."""

    scheme: str
    depth: int
    seconds: float
    seconds_compiled: float


class Result(NamedTuple):
    """Everything kept so far: by what settings, in which cells, and how it came about."""

    settings: dict[str, Any]
    cells: tuple[Cell, ...] = ()
    timing: Timing | None = None
    origin: dict[str, Any] = {}  # noqa: RUF012


def recall(path: Path) -> Result:
    """The results in a file.

    Raises:
        RefusedError: if it is not of this experiment.
    """
    kept = keeping.read_json(path)
    try:
        cells = [
            Cell(**{**cell, "networks": tuple(Network(**each) for each in cell["networks"])})
            for cell in kept["cells"]
        ]
        timing = None if kept["timing"] is None else Timing(**kept["timing"])
        return Result(kept["settings"], tuple(cells), timing, kept["origin"])
    except (KeyError, TypeError) as error:
        raise keeping.RefusedError(
            f"results: expected what this experiment keeps in {path}, got {error!r}"
        ) from error


def keep(path: Path, result: Result) -> None:
    """Writes the results, a line for each network, whole or not at all."""
    timing = None if result.timing is None else result.timing._asdict()
    cells = [
        {**cell._asdict(), "networks": [network._asdict() for network in cell.networks]}
        for cell in result.cells
    ]
    parts = {"settings": result.settings, "origin": result.origin, "timing": timing}
    keeping.write_json(path, {**parts, "cells": cells}, within="networks")


def depth_of(cell: Cell) -> int:
    return cell.depth


def in_order(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Schemes in their order, each from the shallowest to the deepest."""
    names = list(SCHEMES)
    return tuple(sorted(cells, key=lambda cell: (names.index(cell.scheme), cell.depth)))


def by_scheme(result: Result) -> dict[str, list[Cell]]:
    """The cells of each scheme, shallowest first."""
    cells = in_order(result.cells)
    return {name: [cell for cell in cells if cell.scheme == name] for name in SCHEMES}


def accuracies(cell: Cell) -> np.ndarray:
    """The test accuracy of each seed."""
    return np.array([network.accuracy for network in cell.networks])


def mean(cell: Cell) -> float:
    """The test accuracy, averaged over seeds."""
    return float(accuracies(cell).mean())


def reaches(cell: Cell) -> bool:
    """Whether a cell's mean accuracy reaches the target."""
    return mean(cell) >= WANTED
