"""The work of `estimator.py`: samples, networks, batches and epochs, and what a search tries."""

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from experiments import keeping
from experiments.benchmarks.population_questions import GRID
from experiments.benchmarks.workloads import Workload

Search: TypeAlias = Literal["numbers", "sizes"]

# Batches of the estimators' own size, and one smaller, of which a few epochs have more steps.
WORK: dict[str, Workload] = {
    "digits": Workload((64, 32, 10), samples=1437, batch_size=32, epochs=50),
    "mnist": Workload((784, 256, 10), samples=10_000, batch_size=200, epochs=10),
}
ADAM = 0.003  # the learning rate of what is not a search
FOLDS = 5
# Candidates by logistack's names. With sizes or without, Adam's momentum is its own.
GRIDS: dict[Search, dict[str, list[Any]]] = {
    "numbers": GRID,
    "sizes": {
        "hidden_layer_sizes": [(16,), (32,), (64,), (32, 32)],
        "learning_rate": [0.0003, 0.001, 0.003, 0.01, 0.03],
    },
}
OPTIMIZER: dict[Search, str] = {"numbers": "sgd", "sizes": "adam"}


class Samples(NamedTuple):
    """Samples to learn from, and to measure on, in float32."""

    inputs: np.ndarray
    labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray


def make_samples(work: Workload) -> Samples:
    """As many digits as the work has, of as many pixels, and those of the test split."""
    name = {work.sizes[0]: name for name, work in WORK.items()}[work.sizes[0]]
    train, test = (keeping.load(name, split=split) for split in ("train", "test"))
    train_labels, test_labels = (each.labels.astype(np.int64) for each in (train, test))  # PyTorch
    return Samples(
        train.inputs[: work.samples], train_labels[: work.samples], test.inputs, test_labels
    )


def make_folds() -> Any:
    """The folds of every search."""
    from sklearn.model_selection import StratifiedKFold

    return StratifiedKFold(FOLDS)


def make_rows(work: Workload, rows: int) -> np.ndarray:
    """So many samples to predict, some of them more than once."""
    inputs = make_samples(work).test_inputs
    return np.resize(inputs, (rows, inputs.shape[1]))


def tell_rows(probabilities: np.ndarray) -> list[float]:
    """What tells probabilities apart: those of the first sample, and the mean of all."""
    return [*map(float, probabilities[0]), *map(float, probabilities.mean(axis=0))]
