"""scikit-learn's callbacks, where its version has them, told of every epoch."""

from typing import Any

import numpy as np

from logistack.training.progress import Progress, StopTraining

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """No callbacks."""


class Monitor:
    """Tells the callbacks of an estimator of a fit as a task, and of its epochs as subtasks."""

    def __init__(
        self, estimator: Any, epochs: int, inputs: Any, targets: Any, weights: Any
    ) -> None:
        self.estimator = estimator
        self.given = {
            "estimator": estimator,
            "X": inputs,
            "y": targets,
            "metadata": None if weights is None else {"sample_weight": weights},
        }
        self.context = None
        if hasattr(estimator, "_init_callback_context"):
            self.context = estimator._init_callback_context(max_subtasks=epochs)
            self.context.call_on_fit_task_begin(**self.given)

    @property
    def listens(self) -> bool:
        """Whether there is anyone to tell."""
        return bool(getattr(self.estimator, "_skl_callbacks", None))

    def epoch(self, attributes_of: Any) -> Any:
        """A function of one `Progress`, an epoch long, that tells of it.

        `attributes_of(result)` gives the attributes of the estimator if it ended there.
        """

        def tell(progress: Progress) -> None:
            task = self.context.subcontext(task_name="epoch")  # type: ignore[union-attr]
            task.call_on_fit_task_begin(**self.given)
            stops = task.call_on_fit_task_end(
                **self.given,
                reconstruction_attributes=lambda: attributes_of(progress.result),
            )
            if stops:
                raise StopTraining

        return tell

    def end(self) -> None:
        """Tells that the fit has ended."""
        if self.context is not None:
            self.context.call_on_fit_task_end(**self.given, reconstruction_attributes={})


def printed(epochs: int) -> Any:
    """A function of one `Progress` that prints a line of it."""

    def show(progress: Progress) -> None:
        history = progress.result.history
        line = f"epoch {progress.epochs_done}/{epochs}: loss {_last(history.loss):.4g}"
        if history.validation_loss is not None:
            line += (
                f", validation loss {_last(history.validation_loss):.4g}, "
                f"accuracy {_last(history.validation_accuracy):.3f}"
            )
        print(line)

    return show


def _last(rows: Any) -> float:
    """The mean over members of the last epoch that each of them ran."""
    rows = np.asarray(rows, np.float64)
    ran = ~np.isnan(rows)
    last = rows.shape[1] - 1 - np.argmax(ran[:, ::-1], axis=1)
    return float(np.nanmean(rows[np.arange(len(rows)), last])) if ran.any() else float("nan")
