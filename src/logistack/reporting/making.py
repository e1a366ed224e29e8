"""A report about a table: is a line enough, which stack, how sure."""

import dataclasses
import time as clock
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from logistack import __version__, _checks, _files, conformal, metrics
from logistack._checks import import_extra
from logistack.data import kinds
from logistack.data import table as tables
from logistack.data.sources import Reading, table_of
from logistack.data.table import Table
from logistack.reporting import evaluation, models
from logistack.reporting.columns import Column, columns_of, frame_of, places_of
from logistack.reporting.drift import Drift, drift_of
from logistack.reporting.evaluation import Fold, Rows
from logistack.reporting.findings import Curve, Training
from logistack.reporting.keeping import Model
from logistack.reporting.models import STACK, Effort
from logistack.reporting.page import Report, ReportInterrupted, plain
from logistack.reporting.profile import Profile, profile_of
from logistack.reporting.questions import line_of
from logistack.reporting.sides import Sides, ranks
from logistack.reporting.unfinished import Unfinished
from logistack.training import diagnose
from logistack.training.elsewhere import require_executor

LEAST = 4
"""Rows that a label must have: of each on both sides of a fold, and of one within it."""
LEAST_BUDGET = 6.0
"""Seconds for the search for a line, whatever the limit is."""
SUSPECTS = 20
"""So many rows that may be labeled wrongly are listed."""
SURE = 0.8
"""The least probability of another label that makes a row one of them."""


def report(
    data: Any,
    target: str | int,
    *,
    group: str | None = None,
    time: str | None = None,
    test: Any = None,
    ignore: tuple[str, ...] = (),
    seed: int = 0,
    time_limit: float = 60.0,
    quick: bool = False,
    checkpoint_path: str | Path | None = None,
    executor: Executor | None = None,
    tell: Callable[[float, str], None] | None = None,
    **reading: Any,
) -> Report:
    """Answers three questions about a table: is a line enough, which stack, and how sure.

    All that is said of a model was measured on rows that it has not learned from: stratified
    folds, with the stack's sizes and the line's strength of regularization tuned anew within each.
    Intervals are of 95% and count in that folds share rows.

    Args:
        data: a file of delimited text, Parquet or Feather, or a frame of pandas or Polars.
        target: the column of the labels, by name or position. Rows without a label are left out,
            and so are those of a label that fewer than four rows have.

    Other Arguments:
        group: a column that says which rows belong together, such as those of one patient: they
            are never on both sides of a fold. It is no feature.
        time: a column of numbers or dates that says when each row was: what is held out comes
            later than what is learned from. It is no feature.
        test: another table of the same columns, to find out whether its rows are distributed
            otherwise, and how good the model is on those of them that have a label.
        ignore: columns that are not features.
        seed: what all that is random is drawn from.
        time_limit: seconds in which to end, as far as two folds and the final fit allow: no fold
            begins that would end after three quarters of them.
        quick: whether fewer sizes, members and folds are tried.
        checkpoint_path: a folder in which what is finished is kept, so that the same call goes on
            there after an interruption. It is removed at the end.
        executor: as `sweep` takes it, to which the folds are sent. All are evaluated, however long
            it takes; what it does not finish is evaluated here.
        tell: called with the share that is done and what is done next.
        reading: of text, as `data.sources.tables` takes it: `header` and `encoding` of a file,
            `decimal`, and `missing`.

    Returns:
        A `Report`.

    Raises:
        ValueError: if a column is not there, no feature is left, or no two labels have four rows.
        TypeError: if `data` is neither a path nor a frame.
        ModuleNotFoundError: if the extra `report` is not installed.
        reporting.ReportInterrupted: a `KeyboardInterrupt` with what was finished as `report`.

    >>> import pandas
    >>> from sklearn.datasets import load_iris
    >>> iris = load_iris(as_frame=True).frame[50:]
    >>> print(report(iris, "target", quick=True).line.answer)
    no line is enough
    """
    import_extra("jinja2", "report")
    require_executor(executor)
    begun, tell = clock.monotonic(), tell or (lambda share, what: None)
    limit = _checks.require_scalar("time_limit", time_limit, low=0)
    seed = _checks.require_count("seed", seed, low=0, high=2**31 - 1)
    tell(0.0, "reading")
    asked = _read(data, target, group, time, ignore, reading)
    other = None if test is None else _Other.of(table_of(test, **reading), asked)
    rows, classes = asked.rows, asked.classes
    effort = _effort(rows, quick)
    made = Report(
        source=asked.table.source, target=str(asked.table.names[asked.target]),
        labels=[*map(plain, classes)], profile=asked.profile,
        settings={
            "group": group, "time": time, "ignore": list(ignore), "seed": seed,
            "time_limit": limit, "quick": quick,
            "hidden_layers_tried": [list(own) for own in effort.hidden],
            "members": effort.members, "epochs": effort.epochs, "folds": effort.folds,
            "inner_folds": effort.inner,
        },
    )  # fmt: skip
    folder = None if checkpoint_path is None else _files.local_path(
        "checkpoint_path", checkpoint_path
    )  # fmt: skip
    unfinished = Unfinished(
        folder, rows.frame, rows.codes, tuple(rows.sides), effort, seed, __version__
    )
    cuts = evaluation.cuts_of(rows, effort, seed)
    folds: list[Fold] = []
    doing = "the search for a line"
    try:
        tell(0.02, "looking for a line")
        made = dataclasses.replace(made, line=line_of(
            asked.table, asked.target, asked.columns, asked.places, asked.unlabeled,
            asked.reading, budget=max(limit / 6, LEAST_BUDGET),
        ))  # fmt: skip
        doing = "the comparison of models"
        tell(0.1, "comparing models")
        for fold in evaluation.folds_of(
            rows, effort, cuts, seed,
            deadline=begun + 0.75 * limit, unfinished=unfinished, executor=executor,
            tell=lambda share: tell(0.1 + 0.7 * share, "comparing models"),
        ):  # fmt: skip
            folds.append(fold)
        made = _compared(made, asked, effort, folds, cuts)
        doing = "the fit of the model"
        tell(0.8, "fitting the model, and asking whether more rows help")
        # The learning curve takes about as long as its part of the folds.
        spent = 0.5 * (clock.monotonic() - begun) / len(folds) * effort.folds
        curve = clock.monotonic() + spent < begun + limit
        made = _delivered(made, asked, effort, folds, seed, curve=curve)
        doing = "the comparison with the other table"
        if other is not None:
            tell(0.95, "comparing with the other table")
            made = dataclasses.replace(made, drift=_drift(made, asked, other))
    except KeyboardInterrupt:
        if made.evaluation is None and len(folds) >= evaluation.SEVERAL:
            made = _compared(made, asked, effort, folds, cuts)
        raise ReportInterrupted(dataclasses.replace(made, unfinished=doing)) from None
    unfinished.clear()
    tell(1.0, "done")
    return made


class _Asked(NamedTuple):
    """What a report is about, as it was read and checked.

    Attributes:
        table: the rows that have a label.
        target: where the column of the labels is.
        columns: what the other columns hold.
        places: where these are.
        rows: what is learned from.
        numbers: that of each of these rows in the table as it was given, from 1 on.
        unlabeled: where rows without a label were.
        classes: the labels.
        profile: the data.
        reading: how the file was read.
    """

    table: Table
    target: int
    columns: list[Column]
    places: list[int]
    rows: Rows
    numbers: np.ndarray
    unlabeled: np.ndarray
    classes: np.ndarray
    profile: Profile
    reading: Reading


def _read(
    data: Any, target: Any, group: Any, time: Any, ignore: tuple[str, ...], reading: dict[str, Any]
) -> _Asked:
    table = table_of(data, **reading)
    place = tables.place_of(table, "target", target)
    aside = [tables.place_of(table, "ignore", name) for name in ignore]
    if group is not None and time is not None:
        raise ValueError("time: expected no group beside it: folds are cut by one of both")
    sides = {
        name: tables.place_of(table, name, own)
        for name, own in (("group", group), ("time", time))
        if own is not None
    }
    aside += sides.values()
    if place in aside:
        raise ValueError(f"target: expected a column that is not ignored, got {target!r}")
    given = table.columns[place]
    lacks = np.array([table.lacks(cell) for cell in given.tolist()])
    kept = np.flatnonzero(~lacks)
    if not len(kept):
        raise ValueError(f"{table.source}: expected labels in column {target!r}, got none")
    labels = tables.labels(table.taken(kept), place)
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    _require_classes(table, target, names, counts)
    often = counts[codes] >= LEAST
    rare = {
        plain(name): (kept[codes == code] + 1).tolist()
        for code, name in enumerate(names)
        if counts[code] < LEAST
    }
    table = table.taken(kept)
    learned = table.taken(np.flatnonzero(often))
    numbers, labels = kept[often] + 1, labels[often]
    classes, codes = np.unique(labels, return_inverse=True)
    places = [at for at in range(len(table.names)) if at != place and at not in aside]
    columns = columns_of(table, places)
    frame = frame_of(learned, columns, places)
    if not frame.shape[1]:
        raise ValueError(f"{table.source}: expected a column to learn from, got none that is left")
    bound = {name: _in_order(learned, name, at) for name, at in sides.items()}
    unlabeled = np.flatnonzero(lacks)
    marks = sorted({str(cell) for cell in given[lacks] if cell and isinstance(cell, str)})
    profile = profile_of(frame, labels, columns, numbers, (unlabeled + 1).tolist(), marks, rare)
    how = Reading(**{name: value for name, value in reading.items() if name != "header"})
    return _Asked(
        table, place, columns, places,
        Rows(frame, codes, columns, Sides(bound.get("group"), bound.get("time"))),
        numbers, unlabeled, classes, profile, how,
    )  # fmt: skip


def _in_order(table: Table, option: str, place: int) -> np.ndarray:
    """The group of each row, or its time, in whole numbers."""
    cells = table.columns[place].tolist()
    if option == "group":
        return ranks([str(cell) for cell in cells])
    kind = kinds.kind_of(cells, table.decimal)
    wanted = "a number, or a date such as 2024-02-01, in every row"
    good: Any = {"number": kinds.is_number, "date": kinds.is_date}.get(kind, lambda *_: False)
    bad = [cell for cell in cells if not good(cell, table.decimal)]
    tables.require(table, place, f"{wanted}, to cut by time", bad)
    if kind == "number":
        return ranks(kinds.floats(cells, table.decimal))
    return ranks(import_extra("pandas", "report").to_datetime(cells, format="ISO8601", utc=True))


def _effort(rows: Rows, quick: bool) -> Effort:
    """How much is tried, with folds that the rarest label can fill."""
    effort = models.effort_for(*rows.frame.shape, quick=quick)
    least = int(np.bincount(rows.codes).min())
    folds = min(effort.folds, least)
    most = max(2, least - -(-least // folds))
    return effort._replace(folds=folds, inner=min(effort.inner, most))


def _compared(
    made: Report, asked: _Asked, effort: Effort, folds: list[Fold], cuts: Sequence[Any]
) -> Report:
    """The report with what the folds say."""
    short = len(folds) < len(cuts)
    found = evaluation.summarized(asked.rows, effort, folds, unfinished=short)
    rows, codes, classes = found.probabilities[STACK], found.codes, asked.classes
    sure = rows.max(axis=1) >= SURE
    wrong = np.flatnonzero(sure & (rows.argmax(axis=1) != codes))
    surest = wrong[np.argsort(-rows[wrong].max(axis=1), kind="stable")][:SUSPECTS]
    return dataclasses.replace(
        made,
        evaluation=found,
        suspects=[
            (int(asked.numbers[found.rows[row]]), plain(classes[codes[row]]),
             plain(classes[rows[row].argmax()]), float(rows[row].max()))
            for row in surest
        ],
        reliability=metrics.reliability(rows, codes),
        calibration={
            name: float(metrics.expected_calibration_error(own, codes))
            for name, own in found.probabilities.items()
        },
    )  # fmt: skip


def _delivered(
    made: Report, asked: _Asked, effort: Effort, folds: list[Fold], seed: int, *, curve: bool
) -> Report:
    """The report with the model, fitted to all rows, and with the learning curve, if it is asked.

    They are fitted together, and so are one program where there are few rows.
    """
    found, rows = made.evaluation, asked.rows
    assert found is not None
    preparation = models.prepared(rows.columns).fit(rows.frame)
    whole = preparation.transform(rows.frame), rows.codes
    first = [fold for fold in folds if not fold.draw]
    curve = curve and len(first) >= evaluation.SEVERAL
    parts = evaluation.curve_parts(rows, first, seed) if curve else []
    candidate = models.stacks(effort, seed)[found.best]
    with evaluation.quiet():
        stack, *others = models.fit_stacks([(candidate, *own[:2]) for own in (whole, *parts)])
    threshold = conformal.threshold(found.probabilities[STACK], found.codes, alpha=evaluation.ALPHA)
    model = Model(
        preparation, stack.classifier_, asked.columns, asked.classes, made.target, float(threshold)
    )
    if curve:
        losses = evaluation.learning_curve(first, found.best, parts, others, len(asked.classes))
        made = dataclasses.replace(made, curve=_curve(first, losses))
    loss = np.asarray(stack.history_.loss)
    return dataclasses.replace(
        made, model=model,
        training=Training(loss.mean(axis=0).tolist(), diagnose(stack.history_)),
    )  # fmt: skip


def _curve(folds: list[Fold], losses: np.ndarray) -> Curve:
    shared = evaluation.shared_by(folds)
    whole = float(np.mean([len(fold.train) for fold in folds]))
    return Curve(
        [int(whole * fraction) for fraction in (*evaluation.FRACTIONS, 1)],
        [evaluation.within("log loss", evaluation.estimate(list(own), shared)) for own in losses.T],
        evaluation.difference(
            list(losses[:, -2]), list(losses[:, -1]), "all", shared, first="half"
        ),
    )


class _Other(NamedTuple):
    """Another table, as it was read and checked.

    Attributes:
        source: what it is called.
        frame: the features that are learned from.
        codes: its labels, as `drift_of` takes them.
    """

    source: str
    frame: Any
    codes: np.ndarray

    @classmethod
    def of(cls, table: Table, asked: _Asked) -> "_Other":
        used = [own for own in asked.columns if own.used]
        codes = np.full(len(table.columns[0]), -1)
        place = tables.find(table, str(asked.table.names[asked.target]))
        if place is not None:
            known = {plain(name): code for code, name in enumerate(asked.classes)}
            held = np.array([not table.lacks(cell) for cell in table.columns[place].tolist()])
            rows = table.taken(np.flatnonzero(held))
            named: Any = tables.labels(rows, place) if held.any() else []
            codes[held] = [known.get(plain(name), -2) for name in named]
        return cls(table.source, frame_of(table, used, places_of(table, used)), codes)


def _drift(made: Report, asked: _Asked, other: _Other) -> Drift:
    """The other table beside the one that was learned from."""
    assert made.model is not None
    says = made.model.probabilities(other.frame)
    return drift_of(other.source, asked.rows.frame, other.frame, other.codes, says)


def _require_classes(table: Table, target: Any, classes: np.ndarray, counts: np.ndarray) -> None:
    if len(classes) < 2:
        raise ValueError(
            f"{table.source}: expected two labels or more in column {target!r}, got "
            f"{plain(classes[0])!r} alone"
        )
    if len(classes) > counts.sum() / LEAST:
        raise ValueError(
            f"{table.source}: expected classes in column {target!r}, got {len(classes):,} "
            f"different values in {counts.sum():,} rows: is this the target?"
        )
    if np.sum(counts >= LEAST) < 2:
        rare = plain(classes[counts.argmin()])
        raise ValueError(
            f"{table.source}: expected two labels or more with at least {LEAST} rows each in "
            f"column {target!r}, got {counts.min()} of {rare!r}"
        )
