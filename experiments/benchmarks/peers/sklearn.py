"""scikit-learn."""

import warnings
from typing import Any

import numpy as np

from experiments.benchmarks.workloads import LEARNING_RATE, Data, Train, Workload


def prepare(work: Workload, train: Data, held: Data) -> Train:
    """scikit-learn's `MLPClassifier(activation="logistic")`, for all epochs without stopping."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    # It draws the held-out set itself, rounding its number up.
    total = work.samples + work.held_out
    inputs, labels = (
        np.concatenate(both) for both in ((train.inputs, held.inputs), (train.labels, held.labels))
    )

    def run() -> Any:
        network = MLPClassifier(
            work.sizes[1:-1],
            activation="logistic",
            solver="sgd",
            alpha=0.0,
            batch_size=work.batch_size,
            learning_rate_init=LEARNING_RATE,
            momentum=0.0,
            max_iter=work.epochs,
            tol=0.0,
            n_iter_no_change=work.epochs + 1,
            early_stopping=work.held_out > 0,
            validation_fraction=max(0.5, work.held_out - 0.5) / total,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return network.fit(inputs, labels)

    return run
