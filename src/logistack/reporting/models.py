"""The models that a report compares, each with its preparation, as scikit-learn has them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from logistack._checks import import_extra
from logistack.reporting.columns import Column

LINE, STACK, BOOSTING = "logistic regression", "stack", "gradient boosting"
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""Inverse strengths of regularization that the line is tuned over."""


class Effort(NamedTuple):
    """How much is tried.

    Attributes:
        hidden: the sizes of hidden layers that the stack is tuned over.
        members: how many networks a committee has.
        epochs: how long each trains.
        folds: outer folds.
        inner: folds within each, to tune on.
        repeats: how often the outer folds are drawn anew, at most.
    """

    hidden: tuple[tuple[int, ...], ...]
    members: int
    epochs: int
    folds: int
    inner: int
    repeats: int


def effort_for(rows: int, features: int, *, quick: bool) -> Effort:
    """As much as two cores do in a minute or so."""
    work = rows * (features + 20)
    if quick or work > 300_000:
        few = ((4,), (32,)) if quick else ((8,), (32,), (32, 32))
        return Effort(few, 2, 60 if work > 300_000 else 100, 5, 2, 1)
    hidden = (2,), (8,), (32,), (32, 32)
    return Effort(hidden, 4, 100, 5, 3, 1) if work > 60_000 else Effort(hidden, 4, 200, 5, 3, 2)


def prepared(columns: Sequence[Column]) -> Any:
    """A transformer from the frame to numbers: imputed and indicated, categories spelled out.

    Which texts a category has is known from the whole table, so that every fold has the same
    columns; medians and means are those of the rows that are learned from.
    """
    compose = import_extra("sklearn.compose", "report")
    impute = import_extra("sklearn.impute", "report")
    preprocessing = import_extra("sklearn.preprocessing", "report")
    counted = [own for own in columns if own.used and own.kind != "category"]
    numbers = [name for column in counted for name in column.features]
    gaps = [column.features[0] for column in counted if column.missing]
    parts: list[tuple[str, Any, list[str]]] = []
    if numbers:
        # A column without a value in some fold stays one.
        imputer = impute.SimpleImputer(strategy="median", keep_empty_features=True)
        parts.append(("numbers", imputer, numbers))
    if gaps:
        parts.append(("gaps", impute.MissingIndicator(features="all"), gaps))
    for column in columns:
        if column.kind == "category":
            # What is missing or unknown has none of the levels.
            known = preprocessing.OneHotEncoder(
                categories=[list(column.levels)],
                handle_unknown="ignore",
                sparse_output=False,
                dtype=np.float64,
            )
            parts.append((f"levels of {column.name}", known, [column.name]))
    return compose.ColumnTransformer(parts, verbose_feature_names_out=False)


def medians_of(preparation: Any) -> dict[str, float]:
    """All that a transformer of `prepared` has learned from its rows: a number for each feature."""
    imputer = preparation.named_transformers_.get("numbers")
    if imputer is None:
        return {}
    return dict(zip(imputer.feature_names_in_, imputer.statistics_.tolist(), strict=True))


def prepared_by(columns: Sequence[Column], medians: dict[str, float]) -> Any:
    """The transformer of `prepared` that has learned these medians."""
    pandas = import_extra("pandas", "report")
    row = {name: [medians.get(name)] for column in columns for name in column.features}
    return prepared(columns).fit(pandas.DataFrame(row))  # of one row, they are its numbers


def lines(effort: Effort, seed: int) -> list[Any]:
    """Logistic regressions of several strengths of regularization."""
    pipeline = import_extra("sklearn.pipeline", "report")
    preprocessing = import_extra("sklearn.preprocessing", "report")
    linear = import_extra("sklearn.linear_model", "report")
    return [
        pipeline.make_pipeline(
            preprocessing.StandardScaler(), linear.LogisticRegression(C=strength, max_iter=2_000)
        )
        for strength in STRENGTHS
    ]


def stacks(effort: Effort, seed: int) -> list[Any]:
    """Committees of stacks of several sizes."""
    from logistack.estimator import StackClassifier

    return [
        StackClassifier(
            hidden_layer_sizes=sizes, members=effort.members, epochs=effort.epochs,
            random_state=seed,
        )
        for sizes in effort.hidden
    ]  # fmt: skip


def trees(effort: Effort, seed: int) -> list[Any]:
    """scikit-learn's gradient boosting as it comes, a yardstick."""
    ensemble = import_extra("sklearn.ensemble", "report")
    return [ensemble.HistGradientBoostingClassifier(random_state=seed)]


def fit_one_by_one(asked: Sequence[tuple[Any, Any, Any]]) -> list[Any]:
    """Fits a copy of each classifier to its rows."""
    base = import_extra("sklearn.base", "report")
    return [base.clone(model).fit(X, y) for model, X, y in asked]


def fit_stacks(asked: Sequence[tuple[Any, Any, Any]]) -> list[Any]:
    """Fits all the stacks at once."""
    from logistack.estimator.desk import fit_together

    return fit_together(asked)


class Kind(NamedTuple):
    """A kind of model.

    Attributes:
        candidates: makes the classifiers among which one is chosen, given numbers alone.
        fit: fits copies of such to rows and labels.
    """

    candidates: Callable[[Effort, int], list[Any]]
    fit: Callable[[Sequence[tuple[Any, Any, Any]]], list[Any]]


ALL = {
    LINE: Kind(lines, fit_one_by_one),
    STACK: Kind(stacks, fit_stacks),
    BOOSTING: Kind(trees, fit_one_by_one),
}
