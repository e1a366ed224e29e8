"""Stacks of logistic units as scikit-learn's estimators: everything they train is a population."""

from logistack._checks import import_extra

import_extra("sklearn", "sklearn")

from logistack.estimator.classifier import StackClassifier  # noqa: E402
from logistack.estimator.search import StackSearchCV  # noqa: E402

__all__ = ["StackClassifier", "StackSearchCV"]
