"""pytabkit's networks for tables, whose settings were tuned on many of them: no search."""

from typing import Any, Literal

from experiments.benchmarks.estimators import make_folds, make_samples
from experiments.benchmarks.peers.logistack_estimators import quiet
from experiments.benchmarks.populations import Ready
from experiments.benchmarks.workloads import Workload


def prepare_folds(work: Workload, name: Literal["realmlp", "tabm"]) -> Ready:
    """One fit for each fold, with the settings that it comes with; tells the mean accuracy."""
    from pytabkit import RealMLP_TD_Classifier, TabM_D_Classifier
    from sklearn.model_selection import cross_val_score

    samples = make_samples(work)
    kind: Any = {"realmlp": RealMLP_TD_Classifier, "tabm": TabM_D_Classifier}[name]
    model = kind(device="cpu", random_state=0)

    def run() -> Any:
        return cross_val_score(model, samples.inputs, samples.labels, cv=make_folds())

    return Ready(quiet(run), lambda scores: [float(scores.mean())])
