"""A report about a table: is a line enough, which stack, how sure."""

import dataclasses
import html
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from logistack import _checks, _files, conformal, metrics
from logistack._checks import import_extra
from logistack.cli.question import Reading
from logistack.cli.samples import find
from logistack.data import table as tables
from logistack.data.sources import table_of
from logistack.data.table import Table
from logistack.reporting import evaluation, figures, models, sentences
from logistack.reporting.columns import column_of, frame_of
from logistack.reporting.evaluation import Evaluation
from logistack.reporting.keeping import Model
from logistack.reporting.models import STACK
from logistack.reporting.profile import Profile, profile_of
from logistack.reporting.questions import Line, line_of

LEAST = 4
"""Rows that a label must have: of each on both sides of a fold, and of one within it."""
SUSPECTS = 20
"""So many rows that may be labeled wrongly are listed."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What `report` found. Notebooks show it as a page.

    Attributes:
        source: what the table is called.
        target: the column of the labels.
        labels: the different labels.
        profile: the data.
        line: whether a line is enough.
        evaluation: how good the models are on rows held out.
        model: the stack, fitted to all rows, as `predict` uses it.
        suspects: rows that the stack is surest of and wrong about: number, label, what it says,
            and its probability.
        importance: by feature, how much log loss rises where its values are shuffled: mean, low,
            high.
        calibration: reliability of the stack on rows held out.
        settings: what it was asked with.
    """

    source: str
    target: str
    labels: list[Any]
    profile: Profile
    line: Line
    evaluation: Evaluation
    model: Model
    suspects: list[tuple[int, Any, Any, float]]
    importance: dict[str, tuple[float, float, float]]
    calibration: dict[str, float]
    reliability: Any
    settings: dict[str, Any]

    @property
    def verdict(self) -> list[tuple[str, str]]:
        """Five sentences, and the section that each rests on."""
        return sentences.verdict(self)

    @property
    def doubts(self) -> list[str]:
        """When not to believe this."""
        return sentences.doubts(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as `report.json` has it: numbers, texts, lists and objects."""
        found, profile = self.evaluation, self.profile
        return {
            "source": self.source,
            "target": self.target,
            "settings": self.settings,
            "verdict": [text for text, _ in self.verdict],
            "doubts": self.doubts,
            "data": {
                "rows": profile.rows,
                "rows_without_label": profile.unlabeled,
                "classes": {str(name): count for name, count in profile.classes.items()},
                "columns": [column._asdict() for column in profile.columns],
                "duplicates": profile.duplicates,
                "contradictions": profile.contradictions,
                "unavoidable_errors": profile.unavoidable,
                "leakage_suspects": self.line.leaks,
            },
            "line": {
                "answer": self.line.answer,
                "separation": self.line.kind,
                "words": self.line.words,
                "support_rows": self.line.support,
                "rows": self.line.rows,
                "rows_left_out": self.line.left_out,
                "features": self.line.features,
            },
            "models": {
                "folds": found.folds,
                "repeats": found.repeats,
                "unfinished": found.unfinished,
                "hidden_layers_chosen": found.chosen,
                "scores": {
                    name: {
                        score: {**own._asdict(), "of_folds": found.scores[name][score]}
                        for score, own in each.items()
                    }
                    for name, each in found.estimates.items()
                },
                "stack_minus": {
                    other: {
                        score: {
                            "mean": own.difference,
                            "low": own.low,
                            "high": own.high,
                            "p": own.p,
                            "shown": bool(own.shown),
                        }
                        for score, own in each.items()
                    }
                    for other, each in found.differences.items()
                },
            },
            "sure": {
                "coverage_wanted": 1 - evaluation.ALPHA,
                "coverage": found.coverage._asdict(),
                "set_size": found.set_size,
                "calibration": self.calibration,
                "suspects": [
                    {"row": row, "label": label, "says": says, "probability": share}
                    for row, label, says, share in self.suspects
                ],
                "importance": {
                    name: dict(zip(("mean", "low", "high"), own, strict=True))
                    for name, own in self.importance.items()
                },
            },
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
        if self.line.certificate is not None:
            # Beside what certificate_from_json reads, and ignored by it.
            proof = json.loads(self.line.certificate.to_json()) | self.line.asked
            _files.write_whole(folder / "proof.json", json.dumps(proof).encode())
        self.model.save(folder / "model")


def report(
    data: Any,
    target: str | int,
    *,
    group: str | None = None,
    ignore: tuple[str, ...] = (),
    seed: int = 0,
    time_limit: float = 60.0,
    quick: bool = False,
    tell: Callable[[float, str], None] | None = None,
    **reading: Any,
) -> Report:
    """Answers three questions about a table: is a line enough, which stack, and how sure.

    All that is said of a model was measured on rows that it has not learned from: stratified
    folds, with the stack's sizes and the line's strength of regularization tuned anew within each.
    Intervals are of 95% and count in that folds share rows.

    Args:
        data: a file of delimited text, Parquet or Feather, or a frame of pandas or Polars.
        target: the column of the labels, by name or position. Rows without a label are left out.

    Other Arguments:
        group: a column that says which rows belong together, such as those of one patient: they
            are never on both sides of a fold. It is no feature.
        ignore: columns that are not features.
        seed: what all that is random is drawn from.
        time_limit: seconds after which no further repeat of the folds begins.
        quick: whether fewer sizes, members and folds are tried.
        tell: called with the share that is done and what is done next.
        reading: of a file, as `data.sources.read` takes it: `header`, `encoding`, `decimal`.

    Returns:
        A `Report`.

    Raises:
        ValueError: if a column is not there, no feature is left, there is one label alone, or a
            label has fewer than four rows.
        TypeError: if `data` is neither a path nor a frame.
        ModuleNotFoundError: if the extra `report` is not installed.

    >>> import pandas
    >>> from sklearn.datasets import load_iris
    >>> iris = load_iris(as_frame=True).frame[50:]
    >>> print(report(iris, "target", quick=True).line.answer)
    no line is enough
    """
    import_extra("jinja2", "report")
    begun, tell = time.monotonic(), tell or (lambda share, what: None)
    limit = _checks.require_scalar("time_limit", time_limit, low=0)
    seed = _checks.require_count("seed", seed, low=0, high=2**31 - 1)
    table = table_of(data, **reading)
    place = find(table, "target", target)
    aside = [find(table, "ignore", name) for name in ignore]
    grouped = None if group is None else find(table, "group", group)
    if grouped is not None:
        aside.append(grouped)
    if place in aside:
        raise ValueError(f"target: expected a column that is not ignored, got {target!r}")

    tell(0.0, "reading")
    cells = table.columns[place]
    lacks = np.array([table.lacks(cell) for cell in cells.tolist()])
    unlabeled = (np.flatnonzero(lacks) + 1).tolist()
    kept = np.flatnonzero(~lacks)
    if not len(kept):
        raise ValueError(f"{table.source}: expected labels in column {target!r}, got none")
    table = table._replace(columns=tuple(own[kept] for own in table.columns), rows=kept)
    labels = tables.labels(table, place)
    classes, codes = np.unique(labels, return_inverse=True)
    _require_classes(table, target, classes, codes)
    places = [at for at in range(len(table.names)) if at != place and at not in aside]
    columns = [column_of(table, at) for at in places]
    frame = frame_of(table, columns, places)
    if not frame.shape[1]:
        raise ValueError(f"{table.source}: expected a column to learn from, got none that is left")
    profile = profile_of(frame, labels, columns, kept + 1, unlabeled)

    tell(0.02, "looking for a line")
    how = Reading(**{name: value for name, value in reading.items() if name != "header"})
    line = line_of(table, place, columns, places, np.flatnonzero(lacks), how)
    groups = None if grouped is None else np.unique(table.columns[grouped], return_inverse=True)[1]
    effort = models.effort_for(*frame.shape, quick=quick)
    least = int(np.bincount(codes).min())
    effort = effort._replace(folds=min(effort.folds, least))
    inner = min(effort.inner, least - -(-least // effort.folds))
    effort = effort._replace(inner=max(2, inner))

    tell(0.1, "comparing models")
    found = evaluation.evaluate(
        frame,
        codes,
        columns,
        groups=groups,
        effort=effort,
        seed=seed,
        deadline=begun + limit,
        tell=lambda share: tell(0.1 + 0.75 * share, "comparing models"),
    )
    tell(0.85, "fitting the model")
    inner_folds = evaluation.splits_of(codes, groups, effort.inner, seed)
    fitted = models.stack(columns, effort, inner_folds, seed).fit(frame, codes)
    rows = found.probabilities[STACK]
    threshold = float(conformal.threshold(rows, codes, alpha=evaluation.ALPHA))
    best = fitted.best_estimator_
    model = Model(best[:-1], best[-1].classifier_, columns, classes, str(target), threshold)
    tell(0.92, "asking what matters")
    importance = evaluation.importance_of(best, frame, codes, seed)
    tell(0.97, "writing")
    reliability = metrics.reliability(rows, codes)
    wrong = np.flatnonzero(rows.argmax(axis=1) != codes)
    surest = wrong[np.argsort(-rows[wrong].max(axis=1), kind="stable")][:SUSPECTS]
    suspects = [
        (int(kept[row]) + 1, _plain(classes[codes[row]]), _plain(classes[rows[row].argmax()]),
         float(rows[row].max()))
        for row in surest
    ]  # fmt: skip
    calibration = {
        name: float(metrics.expected_calibration_error(own, codes))
        for name, own in found.probabilities.items()
    }
    settings = {
        "group": group, "ignore": list(ignore), "seed": seed, "time_limit": limit, "quick": quick,
        "hidden_layers_tried": [list(own) for own in effort.hidden], "members": effort.members,
        "epochs": effort.epochs, "folds": effort.folds, "inner_folds": effort.inner,
    }  # fmt: skip
    tell(1.0, "done")
    return Report(
        source=table.source, target=str(table.names[place]), labels=[*map(_plain, classes)],
        profile=profile, line=line, evaluation=found, model=model, suspects=suspects,
        importance=importance, calibration=calibration, reliability=reliability,
        settings=settings,
    )  # fmt: skip


def _require_classes(table: Table, target: Any, classes: np.ndarray, codes: np.ndarray) -> None:
    if len(classes) < 2:
        raise ValueError(
            f"{table.source}: expected two labels or more in column {target!r}, got "
            f"{_plain(classes[0])!r} alone"
        )
    counts = np.bincount(codes)
    if len(classes) > len(codes) / LEAST:
        raise ValueError(
            f"{table.source}: expected classes in column {target!r}, got {len(classes):,} "
            f"different values in {len(codes):,} rows: is this the target?"
        )
    if counts.min() < LEAST:
        rare = _plain(classes[counts.argmin()])
        raise ValueError(
            f"{table.source}: expected at least {LEAST} rows of each label, got {counts.min()} of "
            f"{rare!r} in column {target!r}: leave these rows out, or put labels together"
        )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _finite(value: Any) -> Any:
    """The same with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(own) for own in value]
    value = _plain(value)
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _template(name: str) -> Any:
    jinja = import_extra("jinja2", "report")
    loader = jinja.FileSystemLoader(Path(__file__).parent)
    environment = jinja.Environment(
        loader=loader, autoescape=name.endswith("html"), trim_blocks=True, lstrip_blocks=True,
        undefined=jinja.StrictUndefined,
    )  # fmt: skip
    return environment.get_template(f"{name}.jinja")
