"""logistack's estimators, and NumPy with the weights that they have found."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.benchmarks.estimators import (
    ADAM,
    GRIDS,
    OPTIMIZER,
    Search,
    make_folds,
    make_rows,
    make_samples,
    tell_rows,
)
from experiments.benchmarks.populations import Ready
from experiments.benchmarks.workloads import Workload


def network(work: Workload, **options: Any) -> Any:
    """A `StackClassifier` that trains for all epochs of the work."""
    from logistack.estimator import StackClassifier

    return StackClassifier(
        work.sizes[1:-1],
        batch_size=work.batch_size,
        epochs=work.epochs,
        random_state=0,
        **{"learning_rate": ADAM, **options},
    )


def prepare(work: Workload, members: int) -> Ready:
    """`StackClassifier` of so many members; tells its accuracy on the test split."""
    samples = make_samples(work)
    model = network(work, members=members)
    return Ready(
        quiet(lambda: model.fit(samples.inputs, samples.labels)),
        lambda model: [model.score(samples.test_inputs, samples.test_labels)],
    )


def prepare_search(work: Workload, search: Search) -> Ready:
    """`StackSearchCV`; tells the mean accuracy of each candidate over the folds."""
    from logistack.estimator import StackSearchCV

    samples = make_samples(work)
    model = network(work, optimizer=OPTIMIZER[search])
    found = StackSearchCV(model, GRIDS[search], cv=make_folds(), refit=False)
    return Ready(
        quiet(lambda: found.fit(samples.inputs, samples.labels)),
        lambda found: found.cv_results_["mean_test_score"].tolist(),
    )


def prepare_refitted(work: Workload, search: Search, members: int) -> Ready:
    """The best candidate of a search, as a committee on all samples; tells its test accuracy."""
    samples = make_samples(work)
    inner = prepare_search(work, search).run

    def run() -> Any:
        best = network(work, optimizer=OPTIMIZER[search], members=members)
        return best.set_params(**inner().best_params_).fit(samples.inputs, samples.labels)

    return Ready(quiet(run), lambda model: [model.score(samples.test_inputs, samples.test_labels)])


def prepare_prediction(work: Workload, members: int, rows: int) -> Ready:
    """`predict_proba` of a model that was trained for an epoch."""
    inputs = make_rows(work, rows)
    model = trained(work, members)
    return Ready(lambda: model.predict_proba(inputs), tell_rows)


def prepare_products(work: Workload, members: int, rows: int) -> Ready:
    """The same in NumPy: standardized, matrix products and σ, a softmax, and the mean."""
    from scipy.special import expit, softmax

    inputs = make_rows(work, rows)
    classifier = trained(work, members).classifier_
    mean, scale = (np.float32(each) for each in (classifier.mean, classifier.scale))
    networks = [
        [(np.asarray(layer.weight), np.asarray(layer.bias)) for layer in network]
        for network in classifier.networks
    ]

    def run() -> np.ndarray:
        standardized = (inputs - mean) / scale
        total = np.zeros((rows, work.sizes[-1]), np.float32)
        for *hidden, (weight, bias) in networks:
            a = standardized
            for own, shift in hidden:
                a = expit(a @ own.T + shift)
            total += softmax(a @ weight.T + bias, axis=1)
        return total / len(networks)

    return Ready(run, tell_rows)


def trained(work: Workload, members: int) -> Any:
    """A model after one epoch."""
    samples = make_samples(work)
    model = network(work, members=members).set_params(epochs=1)
    return quiet(lambda: model.fit(samples.inputs, samples.labels))()


def quiet(run: Callable[[], Any]) -> Callable[[], Any]:
    """Without warnings, such as those of candidates that learn nothing."""

    def silent() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run()

    return silent
