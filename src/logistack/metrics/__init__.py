"""Measures of a trained network over a set of samples.

Those of classes take logits, `jax.vmap(ls.logits, (None, 0))(params, inputs)`, and not the outputs
of `ls.forward`. Those that ask how far a probability can be trusted take probabilities, of
`ls.forward`, `ls.probabilities` or `ls.committee`.
"""

from logistack.metrics.classes import (
    accuracy,
    class_count,
    confusion_matrix,
    error_rate,
    predicted_class,
    target_class,
)
from logistack.metrics.probabilities import (
    Reliability,
    brier_score,
    expected_calibration_error,
    log_loss,
    reliability,
)

__all__ = [
    "Reliability",
    "accuracy",
    "brier_score",
    "class_count",
    "confusion_matrix",
    "error_rate",
    "expected_calibration_error",
    "log_loss",
    "predicted_class",
    "reliability",
    "target_class",
]
