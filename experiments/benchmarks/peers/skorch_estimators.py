"""PyTorch as an estimator: skorch's `NeuralNetClassifier`, searched over by scikit-learn."""

import itertools
from typing import Any

from experiments.benchmarks.estimators import ADAM, OPTIMIZER, Search
from experiments.benchmarks.peers.sklearn_estimators import search_over, standardized
from experiments.benchmarks.populations import Ready
from experiments.benchmarks.workloads import Workload

NAMES = {
    "hidden_layer_sizes": "module__hidden",
    "learning_rate": "optimizer__lr",
    "momentum": "optimizer__momentum",
}


def network(work: Workload, optimizer: str = "adam") -> Any:
    """A `NeuralNetClassifier` that trains for all epochs of the work."""
    import torch
    from skorch import NeuralNetClassifier

    inputs, *hidden, outputs = work.sizes

    def stack(hidden: tuple[int, ...]) -> Any:
        layers: list[Any] = []
        for fan_in, fan_out in itertools.pairwise((inputs, *hidden, outputs)):
            layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.Sigmoid()]
        return torch.nn.Sequential(*layers[:-1])

    return NeuralNetClassifier(
        stack,
        module__hidden=tuple(hidden),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer={"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer],
        optimizer__lr=ADAM,
        max_epochs=work.epochs,
        batch_size=work.batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )


def prepare_search(work: Workload, search: Search) -> Ready:
    """`GridSearchCV` on two processes; tells the mean accuracy of each candidate."""
    model = standardized(network(work, OPTIMIZER[search]))
    return search_over(work, search, model, NAMES)
