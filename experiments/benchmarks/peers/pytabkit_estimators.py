"""pytabkit's networks for tables, with the settings that were tuned on many of them."""

import logging
from typing import Any, Literal

from experiments.benchmarks.estimators import make_samples
from experiments.benchmarks.peers.logistack_estimators import quiet
from experiments.benchmarks.populations import Ready
from experiments.benchmarks.workloads import Workload


def prepare(work: Workload, name: Literal["realmlp", "tabm"]) -> Ready:
    """A fit with epochs, sizes and all else of its own; tells its accuracy on the test split."""
    from pytabkit import RealMLP_TD_Classifier, TabM_D_Classifier

    for logger in ("lightning.pytorch", "pytorch_lightning"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    samples = make_samples(work)
    kind: Any = {"realmlp": RealMLP_TD_Classifier, "tabm": TabM_D_Classifier}[name]
    # For tables as small as these, a second thread takes longer.
    model = kind(device="cpu", random_state=0, n_threads=1)
    return Ready(
        quiet(lambda: model.fit(samples.inputs, samples.labels)),
        lambda model: [model.score(samples.test_inputs, samples.test_labels)],
    )
