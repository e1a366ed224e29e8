"""scikit-learn's estimators: `MLPClassifier`, alone, bagged, and searched over."""

from typing import Any

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
from experiments.benchmarks.peers import sklearn_members
from experiments.benchmarks.peers.logistack_estimators import quiet
from experiments.benchmarks.peers.sklearn_members import PROCESSES, end_with_process
from experiments.benchmarks.populations import Ready
from experiments.benchmarks.workloads import Workload

NAMES = {"learning_rate": "learning_rate_init"}


def network(work: Workload, **options: Any) -> Any:
    """An `MLPClassifier` that trains for all epochs of the work."""
    options = {"solver": "adam", "learning_rate_init": ADAM, "random_state": 0, **options}
    return sklearn_members.network(work, **options)


def standardized(model: Any) -> Any:
    """The model behind a `StandardScaler`."""
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    return Pipeline([("scale", StandardScaler()), ("network", model)])


def prepare(work: Workload, members: int) -> Ready:
    """One network, or a `BaggingClassifier` of several on all samples, on two processes."""
    from sklearn.ensemble import BaggingClassifier

    samples = make_samples(work)
    model = network(work)
    if members > 1:
        end_with_process()
        model = BaggingClassifier(model, members, bootstrap=False, n_jobs=PROCESSES, random_state=0)
    model = standardized(model)
    return Ready(
        quiet(lambda: model.fit(samples.inputs, samples.labels)),
        lambda model: [model.score(samples.test_inputs, samples.test_labels)],
    )


def prepare_search(work: Workload, search: Search) -> Ready:
    """`GridSearchCV` on two processes; tells the mean accuracy of each candidate."""
    model = standardized(network(work, solver=OPTIMIZER[search]))
    return search_over(work, search, model, NAMES)


def search_over(work: Workload, search: Search, model: Any, names: dict[str, str]) -> Ready:
    """`GridSearchCV` of a pipeline whose last step has parameters of these names."""
    from sklearn.model_selection import GridSearchCV

    end_with_process()
    samples = make_samples(work)
    grid = {f"network__{names.get(name, name)}": values for name, values in GRIDS[search].items()}
    found = GridSearchCV(model, grid, cv=make_folds(), n_jobs=PROCESSES, refit=False)
    return Ready(
        quiet(lambda: found.fit(samples.inputs, samples.labels)),
        lambda found: found.cv_results_["mean_test_score"].tolist(),
    )


def prepare_prediction(work: Workload, members: int, rows: int) -> Ready:
    """`predict_proba` of networks that were trained for an epoch."""
    inputs = make_rows(work, rows)
    model = prepare(work._replace(epochs=1), members).run()
    return Ready(lambda: model.predict_proba(inputs), tell_rows)
