"""How good the models are on rows that they have not seen: scores, intervals, differences."""

import contextlib
import functools
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import stats

from logistack import conformal
from logistack._checks import import_extra
from logistack.reporting import models
from logistack.reporting.models import ALL, BOOSTING, LINE, STACK, Effort
from logistack.reporting.sides import Sides, inner
from logistack.reporting.unfinished import Unfinished
from logistack.statistics import Difference, compare
from logistack.statistics.comparison import standard_error
from logistack.training.elsewhere import finished

ALPHA = 0.1
"""How often a prediction set may miss the label."""
MOST_ROWS = 1_000
"""So many rows of a fold are shuffled, at most."""
MOST_COLUMNS = 300
"""With more, columns are not shuffled one by one."""
FRACTIONS = (0.25, 0.5)
"""Of the rows to learn from, beside all of them."""
SEVERAL = 2
"""The least number of folds that an interval is made of."""
HIGHER = {
    "accuracy": True,
    "balanced accuracy": True,
    "AUC": True,
    "log loss": False,
    "Brier": False,
}
"""The scores, and whether more is better."""


class Rows(NamedTuple):
    """What is learned from.

    Attributes:
        frame: the features, a row for each label.
        codes: the labels as 0 … K − 1, `(n,)`.
        columns: what the features hold.
        sides: what binds rows to a side of a fold.
    """

    frame: Any
    codes: np.ndarray
    columns: Sequence[Any]
    sides: Sides

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return int(self.codes.max()) + 1


class Fold(NamedTuple):
    """What one fold has shown, in arrays.

    Attributes:
        draw: of which draw of the folds it is.
        train: the rows learned from.
        test: the rows held out.
        probabilities: `(models, rows held out, classes)`, in the order of `ALL`.
        nats: how far the members of the stack disagree about each row held out.
        chosen: which of the stack's candidates did best on the inner folds.
        losses: the log loss of every candidate of the stack on the rows held out.
        importance: by feature, how much the log loss rises where it is shuffled; empty if that was
            not asked.
    """

    draw: np.ndarray
    train: np.ndarray
    test: np.ndarray
    probabilities: np.ndarray
    nats: np.ndarray
    chosen: np.ndarray
    losses: np.ndarray
    importance: np.ndarray


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


class Size(NamedTuple):
    """One of the sizes that a stack may have.

    Attributes:
        hidden: the units of each hidden layer.
        loss: its log loss on rows held out.
        worse: how much that is above the best size's, fold by fold; None for the best.
    """

    hidden: tuple[int, ...]
    loss: Estimate
    worse: Difference | None


class Evaluation(NamedTuple):
    """What the folds have shown.

    Attributes:
        rows: which rows were held out at least once.
        codes: their labels as 0 … K − 1.
        scores: by model and score, a number for each fold.
        estimates: by model and score.
        differences: by the other model and score, the stack beside it.
        probabilities: by model, those of each row that was held out, the mean over draws.
        coverage: how often a prediction set for 90% holds the label of a row held out.
        set_size: how many labels such a set has, on average.
        disagreement: of the members of the stack about each row held out, in nats.
        chosen: which sizes of hidden layers were chosen, and how often.
        sizes: every size that was tried.
        best: which of them is best, and delivered.
        importance: by feature, how much log loss rises where its values are shuffled.
        folds: how many folds were evaluated.
        draws: how often the folds were drawn.
        unfinished: whether some were left out, for time or since it was interrupted.
    """

    rows: np.ndarray
    codes: np.ndarray
    scores: dict[str, dict[str, list[float]]]
    estimates: dict[str, dict[str, Estimate]]
    differences: dict[str, dict[str, Difference]]
    probabilities: dict[str, np.ndarray]
    coverage: Estimate
    set_size: float
    disagreement: np.ndarray
    chosen: dict[str, int]
    sizes: list[Size]
    best: int
    importance: dict[str, Estimate]
    folds: int
    draws: int
    unfinished: bool

    def accuracy_by_disagreement(self) -> list[float]:
        """The accuracy of the stack on the third of the rows its members agree most on, and so on.

        Where it falls from third to third, disagreement tells which predictions to doubt.
        """
        right = self.probabilities[STACK].argmax(axis=1) == self.codes
        order = np.argsort(self.disagreement, kind="stable")
        return [float(right[part].mean()) for part in np.array_split(order, 3) if len(part)]


Cut = tuple[int, np.ndarray, np.ndarray]
"""Of which draw a fold is, the rows it learns from, and those held out."""

Part = tuple[Any, np.ndarray, Any, np.ndarray]
"""Numbers to learn from, with their labels, and such to be tested on."""


def cuts_of(rows: Rows, effort: Effort, seed: int) -> list[Cut]:
    """All folds that there may be."""
    draws = 1 if rows.sides.times is not None else effort.repeats
    return [
        (draw, *split)
        for draw in range(draws)
        for split in rows.sides.splits(rows.codes, effort.folds, seed + draw)
    ]


def folds_of(
    rows: Rows,
    effort: Effort,
    cuts: Sequence[Cut],
    seed: int,
    *,
    deadline: float,
    unfinished: Unfinished,
    executor: Executor | None,
    tell: Callable[[float], None],
) -> Iterator[Fold]:
    """Evaluates every model on one fold after the other, tuned within the rows it learns from.

    An executor gets all folds that are not kept; what it does not finish is evaluated here.

    Args:
        rows: what is learned from.
        effort: how much is tried.
        cuts: the folds.
        seed: what everything is drawn from.
        deadline: no fold but the first two begins that would end after this time of
            `time.monotonic`, if it took as long as the one before. It is for those evaluated here.
        unfinished: where finished folds are kept.
        executor: what folds are sent to, if there is anything.
        tell: called with the share that is done.
    """
    own = functools.partial(_fold, rows, effort, seed)
    names = [f"fold-{place}" for place in range(len(cuts))]
    sent = []
    arrivals: Iterator[tuple[int, Any]] = iter(())
    if executor is not None:
        sent = [(at, cut) for at, cut in enumerate(cuts) if not unfinished.has(names[at])]
        arrivals = finished(executor, own, sent)
    waiting = {at for at, _ in sent}
    arrived: dict[int, dict[str, np.ndarray]] = {}
    spent = 0.0
    for place, cut in enumerate(cuts):
        while place in waiting - arrived.keys() and (one := next(arrivals, None)) is not None:
            at, found = one
            arrived[at] = unfinished.kept(names[at], functools.partial(dict, found))
        begun = time.monotonic()
        if place in arrived:
            yield Fold(**arrived[place])
        elif place >= SEVERAL and begun + spent > deadline:
            return
        else:
            yield Fold(**unfinished.kept(names[place], functools.partial(own, cut)))
        spent = time.monotonic() - begun
        tell((place + 1) / len(cuts))


def _fold(rows: Rows, effort: Effort, seed: int, cut: Cut) -> dict[str, np.ndarray]:
    """Tunes, fits and asks every kind of model; what a `Fold` has."""
    draw, train, test = cut
    own = rows.codes[train]
    tuning = inner(rows.sides.taken(train), own, effort.inner, seed)
    sides = [(train, test), *((train[one], train[other]) for one, other in tuning)]
    # What is prepared here is the same for all models.
    preparations, parts = zip(*(_prepared(rows, *side) for side in sides), strict=True)
    # The stacks are compiled and trained beside the others, for which one thread is left: where the
    # cores have other work, OpenMP's threads wait for each other in loops that take all the time.
    with quiet(), ThreadPoolExecutor(1) as beside:
        others = {
            name: beside.submit(_on_one_thread, name, parts, rows.classes, effort, seed)
            for name in ALL
            if name != STACK
        }
        stack = _tuned(STACK, parts, rows.classes, effort, seed)
        found = {name: stack if name == STACK else others[name].result() for name in ALL}
    best = stack.fitted[stack.chosen]
    return Fold(
        draw=np.array(draw),
        train=train,
        test=test,
        probabilities=np.stack([own.rows[own.chosen] for own in found.values()]),
        nats=np.asarray(best.disagreement(parts[0][2]).information),
        chosen=np.array(stack.chosen),
        losses=np.array([_log_loss(parts[0][3], own) for own in stack.rows]),
        importance=np.zeros(0)
        if draw or rows.frame.shape[1] > MOST_COLUMNS
        else _importance(preparations[0], best, rows, test, seed),
    )._asdict()


def _prepared(rows: Rows, train: np.ndarray, test: np.ndarray) -> tuple[Any, Part]:
    """What makes numbers of the features, and these numbers with the labels of both sides."""
    preparation = models.prepared(rows.columns).fit(rows.frame.iloc[train])
    learned, held = (preparation.transform(rows.frame.iloc[side]) for side in (train, test))
    return preparation, (learned, rows.codes[train], held, rows.codes[test])


def _on_one_thread(*asked: Any) -> "_Tuned":
    with import_extra("threadpoolctl", "report").threadpool_limits(1):
        return _tuned(*asked)


class _Tuned(NamedTuple):
    """The candidates of a kind fitted to the rows of a fold, and which of them is chosen."""

    fitted: list[Any]
    rows: list[np.ndarray]
    chosen: int


def _tuned(name: str, parts: Sequence[Any], classes: int, effort: Effort, seed: int) -> _Tuned:
    """Fits all candidates to all parts, and chooses by all parts but the first."""
    candidates = ALL[name].candidates(effort, seed)
    if len(candidates) == 1:
        parts = parts[:1]
    fitted = ALL[name].fit([(model, *part[:2]) for part in parts for model in candidates])
    count = len(candidates)
    losses = np.zeros(count)
    for place, part in enumerate(parts[1:], 1):
        for candidate in range(count):
            own = spread_out(fitted[place * count + candidate], part[2], classes)
            losses[candidate] += _log_loss(part[3], own)
    return _Tuned(
        fitted[:count],
        [spread_out(model, parts[0][2], classes) for model in fitted[:count]],
        int(losses.argmin()),
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Says nothing of fits that do not converge: of the one that is delivered the report tells."""
    exceptions = import_extra("sklearn.exceptions", "report")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=exceptions.ConvergenceWarning)
        yield


def _importance(
    preparation: Any, model: Any, rows: Rows, test: np.ndarray, seed: int
) -> np.ndarray:
    """By feature, how much the log loss rises where its values are shuffled over the rows."""
    inspection = import_extra("sklearn.inspection", "report")
    pipeline = import_extra("sklearn.pipeline", "report")
    test = np.random.default_rng(seed).permutation(test)[:MOST_ROWS]

    def score(model: Any, frame: Any, codes: np.ndarray) -> float:
        return -_log_loss(codes, spread_out(model, frame, rows.classes))

    found = inspection.permutation_importance(
        pipeline.Pipeline([("prepare", preparation), ("stack", model)]), rows.frame.iloc[test],
        rows.codes[test], scoring=score, n_repeats=2, random_state=seed,
    )  # fmt: skip
    return np.asarray(found.importances_mean)


def summarized(
    rows: Rows, effort: Effort, folds: Sequence[Fold], *, unfinished: bool
) -> Evaluation:
    """What folds say together.

    Raises:
        ValueError: if there are none.
    """
    if not folds:
        raise ValueError("folds: expected one or more, got none")
    shared = shared_by(folds)
    scores: dict[str, dict[str, list[float]]] = {
        name: {score: [] for score in HIGHER} for name in ALL
    }
    totals, times = np.zeros((len(ALL), len(rows.codes), rows.classes)), np.zeros(len(rows.codes))
    nats = np.zeros(len(rows.codes))
    for fold in folds:
        times[fold.test] += 1
        nats[fold.test] += fold.nats
        totals[:, fold.test] += fold.probabilities
        for name, own in zip(ALL, fold.probabilities, strict=True):
            for score, value in scored(rows.codes[fold.test], own).items():
                scores[name][score].append(value)
    held = np.flatnonzero(times)
    covered, lengths = _coverage(rows, folds)
    chosen = dict.fromkeys(map(str, effort.hidden), 0)
    for fold in folds:
        chosen[str(effort.hidden[fold.chosen])] += 1
    sizes, best = _sizes(effort, np.stack([fold.losses for fold in folds]), shared)
    asked = [fold.importance for fold in folds if fold.importance.size]
    importance = {
        str(name): estimate(list(values), shared)
        for name, values in zip(rows.frame.columns, np.transpose(asked), strict=True)
    } if asked else {}  # fmt: skip
    return Evaluation(
        rows=held,
        codes=rows.codes[held],
        scores=scores,
        estimates={
            name: {score: within(score, estimate(values, shared)) for score, values in own.items()}
            for name, own in scores.items()
        },
        differences={
            other: {
                score: difference(scores[STACK][score], scores[other][score], other, shared)
                for score in HIGHER
            }
            for other in (LINE, BOOSTING)
        },
        probabilities={
            name: total[held] / times[held, None] for name, total in zip(ALL, totals, strict=True)
        },
        coverage=within("coverage", estimate(covered, shared)),
        set_size=float(np.mean(lengths)) if lengths else np.nan,
        disagreement=nats[held] / times[held],
        chosen=chosen,
        sizes=sizes,
        best=best,
        importance=dict(sorted(importance.items(), key=lambda item: -item[1].mean)),
        folds=len(folds),
        draws=len({int(fold.draw) for fold in folds}),
        unfinished=unfinished,
    )


def shared_by(folds: Sequence[Fold]) -> float:
    """How many rows are held out for each that is learned from, on average."""
    return float(np.mean([len(fold.test) / len(fold.train) for fold in folds]))


def _coverage(rows: Rows, folds: Sequence[Fold]) -> tuple[list[float], list[float]]:
    """Of each fold, how often its prediction sets hold the label, and how many labels they have.

    What the other folds of its draw say of the rows that they have not seen sets the limit for it;
    in time, the folds before it.
    """
    stack = list(ALL).index(STACK)
    covered, lengths = [], []
    for place, fold in enumerate(folds):
        others = [
            own
            for at, own in enumerate(folds)
            if own.draw == fold.draw and at != place
            and (rows.sides.times is None or at < place)
        ]  # fmt: skip
        if not others:
            continue
        known = np.concatenate([own.probabilities[stack] for own in others])
        codes = rows.codes[np.concatenate([own.test for own in others])]
        sets = sets_of(fold.probabilities[stack], conformal.threshold(known, codes, alpha=ALPHA))
        covered.append(float(sets[np.arange(len(sets)), rows.codes[fold.test]].mean()))
        lengths.append(float(sets.sum(axis=1).mean()))
    return covered, lengths


def _sizes(effort: Effort, losses: np.ndarray, shared: float) -> tuple[list[Size], int]:
    """Every size with its loss, `losses` having a row for each fold, and which is best."""
    best = int(losses.mean(axis=0).argmin())
    name = str(effort.hidden[best])
    return [
        Size(
            hidden,
            within("log loss", estimate(list(own), shared)),
            None
            if place == best
            else difference(list(own), list(losses[:, best]), name, shared, first=str(hidden)),
        )
        for place, (hidden, own) in enumerate(zip(effort.hidden, losses.T, strict=True))
    ], best


def curve_parts(rows: Rows, folds: Sequence[Fold], seed: int) -> list[Part]:
    """The first rows of each fold's to learn from, by fraction, with those that it holds out."""
    rng = np.random.default_rng(seed)
    return [
        _prepared(rows, _part(rows, fold.train, fraction, rng), fold.test)[1]
        for fold in folds
        for fraction in FRACTIONS
    ]


def learning_curve(
    folds: Sequence[Fold], best: int, parts: Sequence[Part], fitted: Sequence[Any], classes: int
) -> np.ndarray:
    """The log loss on the rows held out by a part of the rows to learn from.

    Args:
        folds: those of the first draw.
        best: which size of the stack.
        parts: `curve_parts` of the folds.
        fitted: the stacks that have learned from them.
        classes: how many labels there are.

    Returns:
        Those of each fold, `(folds, fractions + 1)`, that of all rows last.
    """
    losses = [
        _log_loss(part[3], spread_out(model, part[2], classes))
        for model, part in zip(fitted, parts, strict=True)
    ]
    whole = np.array([fold.losses[best] for fold in folds])
    return np.column_stack([np.reshape(losses, (len(folds), len(FRACTIONS))), whole])


def _part(rows: Rows, train: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """A part of the rows to learn from: the last ones in time, else some of each label."""
    if rows.sides.times is not None:
        late = np.argsort(rows.sides.times[train], kind="stable")[-int(len(train) * fraction) :]
        return np.sort(train[late])
    mixed = rng.permutation(train)
    place = np.zeros(len(train), int)
    for code in np.unique(rows.codes[mixed]):
        own = rows.codes[mixed] == code
        place[own] = np.arange(own.sum()) / own.sum() * len(train)
    return np.sort(mixed[np.argsort(place, kind="stable")][: int(len(train) * fraction)])


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
        "log loss": _log_loss(codes, rows),
        "AUC": float(auc),
        "Brier": float(square / 2 if count == 2 else square),
    }


def _log_loss(codes: np.ndarray, rows: np.ndarray) -> float:
    """As scikit-learn has it: a probability of 0 counts as the least above it."""
    least = np.finfo(rows.dtype).eps
    return float(-np.log(np.clip(rows[np.arange(len(codes)), codes], least, 1 - least)).mean())


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
    one: list[float], two: list[float], other: str, shared: float, *, first: str = STACK
) -> Difference:
    """The stack beside another model, fold by fold."""
    folds = [*range(len(one)), *range(len(two))]
    names = [first] * len(one) + [other] * len(two)
    return compare(np.array([*one, *two]), names, folds, test_over_train=shared).rows[0]
