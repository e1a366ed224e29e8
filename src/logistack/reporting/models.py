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
        return Effort(((32,), (32, 32)), 2, 60 if work > 300_000 else 100, 5, 2, 1)
    if work > 60_000:
        return Effort(((8,), (32,), (32, 32)), 4, 100, 5, 3, 1)
    return Effort(((8,), (32,), (32, 32)), 4, 200, 5, 3, 2)


def prepared(columns: Sequence[Column]) -> Any:
    """A transformer from the frame to numbers: imputed and indicated, categories spelled out.

    Which texts a category has is known from the whole table, so that every fold has the same
    columns; medians and means are those of the rows that are learned from.
    """
    compose = import_extra("sklearn.compose", "report")
    impute = import_extra("sklearn.impute", "report")
    preprocessing = import_extra("sklearn.preprocessing", "report")
    counted = [own for own in columns if own.kind not in ("category", "left out")]
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


def line(columns: Sequence[Column], effort: Effort, folds: Any, seed: int) -> Any:
    """Logistic regression, tuned in its strength of regularization."""
    pipeline = import_extra("sklearn.pipeline", "report")
    preprocessing = import_extra("sklearn.preprocessing", "report")
    linear = import_extra("sklearn.linear_model", "report")
    selection = import_extra("sklearn.model_selection", "report")
    steps = [
        ("prepare", prepared(columns)),
        ("scale", preprocessing.StandardScaler()),
        ("line", linear.LogisticRegression(max_iter=2_000)),
    ]
    return selection.GridSearchCV(
        pipeline.Pipeline(steps), {"line__C": STRENGTHS}, cv=folds, scoring="neg_log_loss"
    )


def stack(columns: Sequence[Column], effort: Effort, folds: Any, seed: int) -> Any:
    """A committee of stacks, tuned in its sizes."""
    from logistack.estimator import StackClassifier, StackSearchCV

    pipeline = import_extra("sklearn.pipeline", "report")
    network = StackClassifier(members=effort.members, epochs=effort.epochs, random_state=seed)
    steps = [("prepare", prepared(columns)), ("stack", network)]
    return StackSearchCV(
        pipeline.Pipeline(steps),
        {"stack__hidden_layer_sizes": list(effort.hidden)},
        cv=folds,
        scoring="neg_log_loss",
    )


def boosting(columns: Sequence[Column], effort: Effort, folds: Any, seed: int) -> Any:
    """scikit-learn's gradient boosting as it comes, a yardstick."""
    pipeline = import_extra("sklearn.pipeline", "report")
    ensemble = import_extra("sklearn.ensemble", "report")
    trees = ensemble.HistGradientBoostingClassifier(random_state=seed)
    return pipeline.Pipeline([("prepare", prepared(columns)), ("trees", trees)])


ALL: dict[str, Callable[[Sequence[Column], Effort, Any, int], Any]] = {
    LINE: line,
    STACK: stack,
    BOOSTING: boosting,
}
"""What makes each model, tuned on the folds that it is given if there is something to tune."""
