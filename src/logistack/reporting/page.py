"""A report as a page, as text, as numbers for programs, and as a folder."""

import dataclasses
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from logistack import _files
from logistack._checks import import_extra
from logistack.reporting import evaluation, figures, sentences
from logistack.reporting.evaluation import Evaluation
from logistack.reporting.findings import Findings
from logistack.reporting.questions import Line
from logistack.statistics import Difference


@dataclasses.dataclass(frozen=True)
class Report(Findings):
    """What `report` found. Notebooks show it as a page.

    Attributes:
        source: what the table is called.
        target: the column of the labels.
        labels: the different labels.
        settings: what it was asked with.
        profile: the data.
        unfinished: what it was interrupted in, in words; empty if it was not. Of what follows,
            all that comes later is None.
        line: whether a line is enough.
        evaluation: how good the models are on rows held out.
        suspects: rows that the stack is surest of and wrong about: number, label, what it says,
            and its probability.
        reliability: how often the stack is right on rows held out, by how sure it is.
        calibration: by model, how far its probabilities are off on rows held out.
        model: the stack, fitted to all rows, as `predict` uses it.
        training: how that went.
        curve: whether more rows help; None also where there was no time for it.
        drift: what another table shows, if one was given.
    """

    @property
    def verdict(self) -> list[tuple[str, str]]:
        """Five sentences, and the section that each rests on."""
        return sentences.verdict(self)

    @property
    def doubts(self) -> list[str]:
        """When not to believe this."""
        return sentences.doubts(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as `report.json` has it: numbers, texts, lists and objects.

        What the report was interrupted before is null.
        """
        profile = self.profile
        return {
            "source": self.source,
            "target": self.target,
            "settings": self.settings,
            "unfinished": self.unfinished,
            "verdict": [text for text, _ in self.verdict],
            "doubts": self.doubts,
            "data": {
                "rows": profile.rows,
                "rows_without_label": profile.unlabeled,
                "texts_of_no_label": profile.marks,
                "rows_of_rare_labels": {str(name): own for name, own in profile.rare.items()},
                "classes": {str(name): count for name, count in profile.classes.items()},
                "columns": [column._asdict() for column in profile.columns],
                "duplicates": profile.duplicates,
                "contradictions": profile.contradictions,
                "unavoidable_errors": profile.unavoidable,
                "leakage_suspects": None if self.line is None else self.line.leaks,
            },
            "line": None if self.line is None else _of_line(self.line),
            "models": None if self.evaluation is None else _of_models(self.evaluation),
            "sure": None if self.evaluation is None else self._of_sure(self.evaluation),
            "training": None if self.training is None else self.training._asdict(),
            "learning_curve": None if self.curve is None else {
                "rows": self.curve.rows,
                "log_loss": [own._asdict() for own in self.curve.losses],
                "half_minus_all": _of_difference(self.curve.gained),
            },
            "test": None if self.drift is None else {
                **self.drift._asdict(), "moved": [own._asdict() for own in self.drift.moved]
            },
        }  # fmt: skip

    def _of_sure(self, found: Evaluation) -> dict[str, Any]:
        return {
            "coverage_wanted": 1 - evaluation.ALPHA,
            "coverage": found.coverage._asdict(),
            "set_size": found.set_size,
            "calibration": self.calibration,
            "suspects": [
                {"row": row, "label": label, "says": says, "probability": share}
                for row, label, says, share in self.suspects
            ],
            "accuracy_by_disagreement": found.accuracy_by_disagreement(),
            "importance": {name: own._asdict() for name, own in found.importance.items()},
        }

    def to_json(self) -> str:
        """`to_dict` as text; what is not finite is null."""
        return json.dumps(_finite(self.to_dict()), indent=1, ensure_ascii=False, allow_nan=False)

    def to_html(self) -> str:
        """A page that needs nothing beside it."""
        return _template("report.html").render(report=self, figures=figures.of(self), say=sentences)

    def to_markdown(self) -> str:
        """The same without figures."""
        return _template("report.md").render(report=self, say=sentences)

    def _repr_html_(self) -> str:
        page = html.escape(self.to_html(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:40em;border:0"></iframe>'

    def save(self, folder: str | Path) -> None:
        """Writes `report.html`, `report.md`, `report.json`, the proof and the model.

        Each file is written whole or not at all; what is in the folder under other names stays.
        """
        folder = _files.local_path("folder", folder)
        folder.mkdir(parents=True, exist_ok=True)
        _files.write_whole(folder / "report.html", self.to_html().encode())
        _files.write_whole(folder / "report.md", self.to_markdown().encode())
        _files.write_whole(folder / "report.json", self.to_json().encode())
        if self.line is not None and self.line.certificate is not None:
            # Beside what certificate_from_json reads, and ignored by it.
            proof = json.loads(self.line.certificate.to_json()) | self.line.asked
            _files.write_whole(folder / "proof.json", json.dumps(proof).encode())
        if self.model is not None:
            self.model.save(folder / "model")


class ReportInterrupted(KeyboardInterrupt):
    """An interruption of `report`.

    Attributes:
        report: what was finished.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(f"interrupted in {report.unfinished}")
        self.report = report


def _of_difference(own: Difference) -> dict[str, Any]:
    return {
        "mean": own.difference, "low": own.low, "high": own.high, "p": own.p,
        "shown": bool(own.shown),
    }  # fmt: skip


def _of_line(line: Line) -> dict[str, Any]:
    return {
        "answer": line.answer,
        "separation": line.kind,
        "words": line.words,
        "coefficients": line.coefficients,
        "pairs": [{"labels": list(own), "separable": separable} for own, separable in line.pairs],
        "support_rows": line.support,
        "rows": line.rows,
        "rows_left_out": line.left_out,
        "features": line.features,
    }


def _of_models(found: Evaluation) -> dict[str, Any]:
    return {
        "folds": found.folds,
        "draws": found.draws,
        "unfinished": found.unfinished,
        "hidden_layers_chosen": found.chosen,
        "hidden_layers_delivered": list(found.sizes[found.best].hidden),
        "scores": {
            name: {
                score: {**own._asdict(), "of_folds": found.scores[name][score]}
                for score, own in each.items()
            }
            for name, each in found.estimates.items()
        },
        "stack_minus": {
            other: {score: _of_difference(own) for score, own in each.items()}
            for other, each in found.differences.items()
        },
        "sizes": [
            {
                "hidden": list(own.hidden),
                "log_loss": own.loss._asdict(),
                "minus_best": None if own.worse is None else _of_difference(own.worse),
            }
            for own in found.sizes
        ],
    }


def plain(value: Any) -> Any:
    """A number or text of NumPy's as one of Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _finite(value: Any) -> Any:
    """The same with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(own) for own in value]
    value = plain(value)
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _options(text: str) -> Any:
    """A sentence as HTML, in which no option is broken into two lines."""
    escaped = html.escape(text, quote=False)
    markup = import_extra("markupsafe", "report").Markup
    return markup(re.sub(r"--[a-z-]+", r"<code>\g<0></code>", escaped))


def _template(name: str) -> Any:
    jinja = import_extra("jinja2", "report")
    loader = jinja.FileSystemLoader(Path(__file__).parent)
    environment = jinja.Environment(
        loader=loader, autoescape=name.endswith("html"), trim_blocks=True, lstrip_blocks=True,
        undefined=jinja.StrictUndefined,
    )  # fmt: skip
    environment.filters["options"] = _options
    environment.filters["cell"] = lambda text: " ".join(str(text).split()).replace("|", r"\|")
    return environment.get_template(f"{name}.jinja")
