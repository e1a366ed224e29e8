"""The model of a report in a folder, and predictions from it."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from logistack import _files, conformal
from logistack._checks import import_extra
from logistack.classifier import Classifier, load_classifier
from logistack.data.table import Table
from logistack.reporting import models
from logistack.reporting.columns import Column, framed, places_of, values_of

FORMAT = 3


class Model:
    """A stack with all that a row of the table needs on its way to a prediction.

    Attributes:
        preparation: what makes numbers of a frame of the columns.
        classifier: the stack.
        columns: what each column held.
        labels: the labels.
        target: the column that they came from.
        threshold: up to which score a label belongs to a prediction set for 90%.
    """

    def __init__(
        self,
        preparation: Any,
        classifier: Classifier,
        columns: list[Column],
        labels: np.ndarray,
        target: str,
        threshold: float,
    ) -> None:
        self.preparation, self.classifier = preparation, classifier
        self.columns, self.labels, self.target = columns, labels, target
        self.threshold = threshold

    @property
    def used(self) -> list[Column]:
        """The columns that predictions are made from."""
        return [column for column in self.columns if column.used]

    def predict(self, table: Table) -> dict[str, np.ndarray]:
        """Predicts the rows of a table.

        Returns:
            By name: `label`, the likeliest; `probability` of it; `probabilities` `(n, classes)`;
            `set` `(n, classes)`, whether each belongs to the prediction set; `disagreement` of
            the members in nats; `outside` `(n, columns)`, whether a value of a used column is
            below all, above all or unlike all that the model has learned from.

        Raises:
            ValueError: if a column is not there, or is of another kind.
        """
        from logistack.estimator.classifier import DISAGREEMENT

        places = places_of(table, self.used)
        values = [values_of(table, *own) for own in zip(self.used, places, strict=True)]
        inputs = self.preparation.transform(framed(self.used, values))
        rows = self._probabilities(inputs)
        sets = jax.vmap(conformal.prediction_set, (0, None))(rows, self.threshold)
        return {
            "label": self.labels[rows.argmax(axis=1)],
            "probability": rows.max(axis=1),
            "probabilities": rows,
            "set": np.asarray(sets),
            "disagreement": self.classifier.apply(DISAGREEMENT["softmax"], inputs).information,
            "outside": np.stack([*map(_outside, self.used, values)], axis=1),
        }

    def probabilities(self, frame: Any) -> np.ndarray:
        """Those of the labels, `(n, classes)`, for rows of the frame of the used columns."""
        return self._probabilities(self.preparation.transform(frame))

    def _probabilities(self, inputs: np.ndarray) -> np.ndarray:
        rows = self.classifier.probabilities(inputs).astype(np.float64)
        return rows / rows.sum(axis=1, keepdims=True)

    def save(self, folder: str | Path) -> None:
        """Writes the network as safetensors and ONNX, and what is needed to feed and read it."""
        onnx = import_extra("logistack.export.onnx", "report")
        folder = _files.local_path("folder", folder)
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "format": FORMAT,
            "target": self.target,
            "labels": self.labels.tolist(),
            "threshold": self.threshold,
            "columns": [column._asdict() for column in self.columns],
            "medians": models.medians_of(self.preparation),
        }
        self.classifier.save(folder / "network.safetensors")
        onnx.save(folder / "network.onnx", self.classifier)
        text = json.dumps(about, ensure_ascii=False, indent=1)
        _files.write_whole(folder / "model.json", text.encode())

    @classmethod
    def load(cls, folder: str | Path) -> "Model":
        """Reads what `save` wrote.

        Raises:
            ValueError: if the folder has no such model, or part of one.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            if about["format"] != FORMAT:
                raise ValueError(
                    f"{folder}: expected a model of format {FORMAT}, got {about['format']!r}"
                )
            classifier = load_classifier(folder / "network.safetensors")
            columns = [
                Column(**own)._replace(
                    levels=tuple(own["levels"]),
                    parts=tuple(map(tuple, own["parts"])),
                    marks=tuple(own["marks"]),
                )
                for own in about["columns"]
            ]
            preparation = models.prepared_by(columns, about["medians"])
            labels = np.array(about["labels"])
            target, threshold = str(about["target"]), float(about["threshold"])
        except (FileNotFoundError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{folder}: expected the folder `model` of a report, got one without a whole "
                f"model: {error}"
            ) from error
        return cls(preparation, classifier, columns, labels, target, threshold)


def _outside(column: Column, values: np.ndarray) -> np.ndarray:
    """Whether each value of a column is below all, above all or unlike all that were there."""
    if column.kind == "category":
        return np.array([own is not None and own not in column.levels for own in values])
    ranges: list[Any] = [own[1:] for own in column.parts] or [(column.low, column.high)]
    low, high = np.array(ranges, np.float64).T
    return ((values < low) | (values > high)).any(axis=1)
