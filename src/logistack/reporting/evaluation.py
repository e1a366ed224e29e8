"""How good the models are on rows that they have not seen: scores, intervals, differences."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import stats

from logistack import conformal
from logistack._checks import import_extra
from logistack.reporting import models
from logistack.reporting.columns import Column
from logistack.reporting.models import BOOSTING, LINE, STACK, Effort
from logistack.statistics import Difference, compare
from logistack.statistics.comparison import standard_error

ALPHA = 0.1
"""How often a prediction set may miss the label."""
SHUFFLES = 5
MOST_ROWS = 1_000
"""So many rows are shuffled, at most."""
HIGHER = {
    "accuracy": True,
    "balanced accuracy": True,
    "AUC": True,
    "log loss": False,
    "Brier": False,
}
"""The scores, and whether more is better."""


class Estimate(NamedTuple):
    """A mean over folds with its interval of 95%.

    Attributes:
        mean: of the folds.
        low: where the interval begins.
        high: where it ends.
    """

    mean: float
    low: float
    high: float


class Evaluation(NamedTuple):
    """What the folds have shown.

    Attributes:
        scores: by model and score, a number for each fold of each repeat.
        estimates: by model and score.
        differences: by the other model and score, the stack beside it.
        probabilities: by model, those of each row where it was held out, the mean over repeats.
        coverage: how often a prediction set for 90% holds the label of a row held out.
        set_size: how many labels such a set has, on average.
        disagreement: of the members of the stack about each row held out, in nats.
        chosen: which sizes of hidden layers were chosen, and how often.
        folds: how many folds there were.
        repeats: how often they were drawn.
        unfinished: whether time ran out before all were done.
    """

    scores: dict[str, dict[str, list[float]]]
    estimates: dict[str, dict[str, Estimate]]
    differences: dict[str, dict[str, Difference]]
    probabilities: dict[str, np.ndarray]
    coverage: Estimate
    set_size: float
    disagreement: np.ndarray
    chosen: dict[str, int]
    folds: int
    repeats: int
    unfinished: bool


def splits_of(
    codes: np.ndarray, groups: np.ndarray | None, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stratified folds; a group is never on both sides."""
    selection = import_extra("sklearn.model_selection", "report")
    kind = selection.StratifiedKFold if groups is None else selection.StratifiedGroupKFold
    cut = kind(folds, shuffle=True, random_state=seed)
    return list(cut.split(np.zeros((len(codes), 1)), codes, groups))


def evaluate(
    frame: Any,
    codes: np.ndarray,
    columns: list[Column],
    *,
    groups: np.ndarray | None,
    effort: Effort,
    seed: int,
    deadline: float,
    tell: Callable[[float], None],
) -> Evaluation:
    """Scores every model on the same folds, each tuned within the rows that it learns from.

    Args:
        frame: the features.
        codes: the labels as 0 … K − 1.
        columns: what the features hold.
        groups: of which group each row is, if rows of one belong together.
        effort: how much is tried.
        seed: what everything is drawn from.
        deadline: no repeat begins that would end after this time of `time.monotonic`.
        tell: called with the share that is done.
    """
    count = int(codes.max()) + 1
    scores: dict[str, dict[str, list[float]]] = {
        name: {score: [] for score in HIGHER} for name in (LINE, STACK, BOOSTING)
    }
    totals = {name: np.zeros((len(codes), count)) for name in scores}
    nats, chosen = np.zeros(len(codes)), dict.fromkeys(map(str, effort.hidden), 0)
    covered: list[float] = []
    sizes: list[float] = []
    begun, repeats = time.monotonic(), 0
    while repeats < effort.repeats:
        now = time.monotonic()
        if repeats and now + (now - begun) / repeats > deadline:
            break
        splits = splits_of(codes, groups, effort.folds, seed + repeats)
        held = np.zeros((len(codes), count))
        for place, (train, test) in enumerate(splits):
            own = None if groups is None else groups[train]
            inner = splits_of(codes[train], own, effort.inner, seed)
            for name, make in models.ALL.items():
                model = make(columns, effort, inner, seed).fit(frame.iloc[train], codes[train])
                rows = spread_out(model, frame.iloc[test], count)
                totals[name][test] += rows
                for score, value in scored(codes[test], rows).items():
                    scores[name][score].append(value)
                if name == STACK:
                    held[test] = rows
                    best = model.best_estimator_
                    chosen[str(best[-1].hidden_layer_sizes)] += 1
                    prepared = best[:-1].transform(frame.iloc[test])
                    nats[test] += np.asarray(best[-1].disagreement(prepared).information)
            tell((repeats * len(splits) + place + 1) / (len(splits) * effort.repeats))
        for train, test in splits:
            # What the other folds say of rows that they have not seen sets the limit for this one.
            limit = conformal.threshold(held[train], codes[train], alpha=ALPHA)
            sets = sets_of(held[test], limit)
            covered.append(float(sets[np.arange(len(test)), codes[test]].mean()))
            sizes.append(float(sets.sum(axis=1).mean()))
        repeats += 1
    shared = 1 / (effort.folds - 1)
    return Evaluation(
        scores=scores,
        estimates={
            name: {score: within(score, estimate(values, shared)) for score, values in own.items()}
            for name, own in scores.items()
        },
        differences={
            other: {score: difference(scores, other, score, shared) for score in HIGHER}
            for other in (LINE, BOOSTING)
        },
        probabilities={name: total / repeats for name, total in totals.items()},
        coverage=within("coverage", estimate(covered, shared)),
        set_size=float(np.mean(sizes)),
        disagreement=nats / repeats,
        chosen=chosen,
        folds=effort.folds,
        repeats=repeats,
        unfinished=repeats < effort.repeats,
    )


def spread_out(model: Any, frame: Any, count: int) -> np.ndarray:
    """The probabilities of all classes, 0 for those that the model has not seen."""
    rows = np.zeros((len(frame), count))
    rows[:, model.classes_] = model.predict_proba(frame)
    return rows / rows.sum(axis=1, keepdims=True)


def sets_of(rows: np.ndarray, limit: Any) -> np.ndarray:
    """Which classes the prediction set of each row has."""
    return np.asarray(jax.vmap(conformal.prediction_set, (0, None))(rows, limit))


def scored(codes: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """The scores of probabilities, as scikit-learn defines them; NaN where one is not defined."""
    metrics = import_extra("sklearn.metrics", "report")
    count = rows.shape[1]
    called = rows.argmax(axis=1)
    seen = np.unique(codes)
    auc = np.nan
    if len(seen) == count:
        given = rows[:, 1] if count == 2 else rows
        auc = metrics.roc_auc_score(codes, given, multi_class="ovr")
    target = np.eye(count)[codes]
    square = ((rows - target) ** 2).sum(axis=1).mean()
    return {
        "accuracy": float((called == codes).mean()),
        "balanced accuracy": float(np.mean([(called == k)[codes == k].mean() for k in seen])),
        "log loss": float(metrics.log_loss(codes, rows, labels=np.arange(count))),
        "AUC": float(auc),
        "Brier": float(square / 2 if count == 2 else square),
    }


def estimate(values: list[float], shared: float) -> Estimate:
    """The mean of folds, and the interval that counts in that they learn from the same rows.

    As in `statistics.compare`, the variance of the mean of J folds is taken to be (1/J + n₂/n₁) s².

    Source: Nadeau & Bengio 2003.
    """
    known = np.array(values)[np.isfinite(values)]
    if len(known) < 2:
        return Estimate(float(known.mean()) if len(known) else np.nan, np.nan, np.nan)
    half = stats.t.isf(0.025, len(known) - 1) * standard_error(known, shared)
    return Estimate(float(known.mean()), float(known.mean() - half), float(known.mean() + half))


def within(score: str, own: Estimate) -> Estimate:
    """The estimate without the part of its interval that no value of the score can have."""
    most = np.inf if score == "log loss" else 2.0 if score == "Brier" else 1.0
    return Estimate(own.mean, float(np.clip(own.low, 0, most)), float(np.clip(own.high, 0, most)))


def difference(
    scores: Mapping[str, Mapping[str, list[float]]], other: str, score: str, shared: float
) -> Difference:
    """The stack beside another model, fold by fold."""
    one, two = scores[STACK][score], scores[other][score]
    folds = [*range(len(one)), *range(len(two))]
    names = [STACK] * len(one) + [other] * len(two)
    return compare(np.array([*one, *two]), names, folds, test_over_train=shared).rows[0]


def importance_of(
    model: Any, frame: Any, codes: np.ndarray, seed: int
) -> dict[str, tuple[float, float, float]]:
    """By feature, how much the log loss rises where its values are shuffled over the rows.

    It is what this model makes of the feature, on the rows that it was fitted to: no more than
    that, and of two columns that say the same each may look unimportant.

    Returns:
        The mean over shuffles with an interval of 95% for it.
    """
    inspection = import_extra("sklearn.inspection", "report")
    rows = np.random.default_rng(seed).permutation(len(frame))[:MOST_ROWS]
    found = inspection.permutation_importance(
        model, frame.iloc[rows], codes[rows], scoring="neg_log_loss", n_repeats=SHUFFLES,
        random_state=seed,
    )  # fmt: skip
    half = stats.t.isf(0.025, SHUFFLES - 1) * found.importances.std(axis=1, ddof=1)
    half = half / np.sqrt(SHUFFLES)
    order = np.argsort(-found.importances_mean, kind="stable")
    return {
        str(frame.columns[place]): (
            float(found.importances_mean[place]),
            float(found.importances_mean[place] - half[place]),
            float(found.importances_mean[place] + half[place]),
        )
        for place in order
    }
