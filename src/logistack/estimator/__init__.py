"""Stacks of logistic units as scikit-learn's estimators: everything they train is a population."""

import importlib
from typing import TYPE_CHECKING, Any

from logistack._checks import import_extra

if TYPE_CHECKING:
    from logistack.estimator.classifier import StackClassifier as StackClassifier
    from logistack.estimator.search import StackSearchCV as StackSearchCV

_HOMES = {"StackClassifier": "classifier", "StackSearchCV": "search"}
__all__ = ["StackClassifier", "StackSearchCV"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_extra("sklearn", "sklearn")  # which these are made of, and nothing else needs
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
