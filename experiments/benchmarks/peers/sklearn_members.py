"""scikit-learn's ways to train a population: networks on two processes, and `GridSearchCV`."""

import warnings
from multiprocessing.util import Finalize
from typing import Any

import numpy as np

from experiments.benchmarks.populations import Population, Ready, make_samples, tell_losses
from experiments.benchmarks.workloads import LEARNING_RATE, Workload

PROCESSES = 2


def prepare(population: Population) -> Ready:
    """`MLPClassifier(activation="logistic")` for each member, by joblib on two processes.

    Rows of 0 and 1 as targets make its outputs logistic units, and its loss the same. Its own is
    the mean over the batch, and so is its learning rate. It draws start and order by itself.
    """
    import joblib

    data, work = make_samples(population.work), population.work
    pool = joblib.Parallel(n_jobs=PROCESSES)
    end_with_process()

    def run() -> list[Any]:
        return pool(
            joblib.delayed(fit_one)(work, data.inputs, data.targets, member)
            for member in range(population.members)
        )

    def tell(networks: list[Any]) -> list[float]:
        layers = zip(
            (np.stack(own).mT for own in zip(*(each.coefs_ for each in networks), strict=True)),
            (np.stack(own) for own in zip(*(each.intercepts_ for each in networks), strict=True)),
            strict=True,
        )
        return tell_losses(population, list(layers))

    return Ready(run, tell)


def end_with_process() -> None:
    """Has joblib's processes end with this one, which would wait for minutes until they do."""
    from joblib.externals.loky import get_reusable_executor

    def end() -> None:
        get_reusable_executor(reuse=True).shutdown(kill_workers=True)

    Finalize(None, end, exitpriority=1)


def network(work: Workload, **options: Any) -> Any:
    """A network that trains for all epochs of the work."""
    from sklearn.neural_network import MLPClassifier

    whole: dict[str, Any] = {
        "solver": "sgd",
        "alpha": 0.0,
        "nesterovs_momentum": False,
        "tol": 0.0,
        "n_iter_no_change": work.epochs + 1,
    }
    return MLPClassifier(
        work.sizes[1:-1],
        activation="logistic",
        batch_size=work.batch_size,
        max_iter=work.epochs,
        **whole | options,
    )


def fit_one(work: Workload, inputs: np.ndarray, targets: np.ndarray, seed: int) -> Any:
    """One network by plain SGD; it says nothing of not having converged."""
    own = network(
        work,
        learning_rate_init=work.batch_size * LEARNING_RATE,
        momentum=0.0,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return own.fit(inputs, targets)


def prepare_search(
    work: Workload, data: tuple[np.ndarray, np.ndarray], folds: Any, grid: dict[str, list[float]]
) -> Ready:
    """`GridSearchCV` on two processes: the mean accuracy of each setting over the folds."""
    from sklearn.model_selection import GridSearchCV

    end_with_process()
    names = {"learning_rate": "learning_rate_init", "momentum": "momentum"}
    search = GridSearchCV(
        network(work, random_state=0),
        {names[name]: values for name, values in grid.items()},
        cv=folds,
        n_jobs=PROCESSES,
        refit=False,
    )

    def run() -> Any:
        with warnings.catch_warnings():  # that nothing has converged; its processes are told so
            warnings.simplefilter("ignore")
            return search.fit(*data)

    return Ready(run, lambda search: search.cv_results_["mean_test_score"].tolist())
