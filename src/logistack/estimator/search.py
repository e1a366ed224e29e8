"""A search over hyperparameters, of which every candidate, fold and seed is a member.

scikit-learn's own search goes through its candidates and folds one by one. Here each of these fits
is called twice. The first time it says what it would train, and no more; then all of it is trained
at once; the second time, when scikit-learn calls it, it gets what it asked for. So splitting,
scoring, errors, results and refitting are scikit-learn's, whatever its version, and a pipeline's
steps before the stack are, too. A fit whose request is not found trains by itself.
"""

import contextlib
import inspect
import math
import numbers
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid, ParameterSampler, check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import indexable
from sklearn.utils._metadata_requests import UNUSED
from sklearn.utils._param_validation import Interval
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from logistack.estimator.desk import Asked, Desk
from logistack.training.elsewhere import require_executor


class StackSearchCV(BaseSearchCV):
    """Searches for hyperparameters of stacks by cross-validation, training all of them at once.

    As `GridSearchCV` and `RandomizedSearchCV`: the same folds for the same `cv`, the same
    `cv_results_` with the scores of fitting each candidate alone. The candidates of a fold are
    members of one population as far as they differ in numbers (learning rate, momentum, weight
    decay, dropout, smoothing, patience, class weights), widths, depths or seeds; others are a
    population each.

    Main arguments:
        estimator: a `StackClassifier`, or a pipeline that ends in one.
        param_distributions: what to try, by name: lists, of which all combinations are tried, or
            distributions with a method `rvs`; or a list of such dicts.
        n_iter: how many candidates to draw; all combinations if None.
        scoring: as `GridSearchCV` takes it: a name, a function, or several.
        cv: as `GridSearchCV` takes it.
        refit: whether, or by which of several scores, to fit the best candidate on all samples.

    Other Arguments:
        halving_factor: if given, all candidates are trained for a few epochs, the best one in so
            many goes on, and so forth until one has run all epochs; training goes on from where
            it was. The results have columns `iter` and `n_resources` then.
        resource: the name of the parameter that counts epochs, with its prefix in a pipeline.
        random_state: for the candidates that are drawn.
        error_score: the score of a fit that fails, or `"raise"`.
        return_train_score: whether to score on the training samples, too.
        verbose: as `GridSearchCV` takes it.

    Attributes:
        cv_results_, best_index_, best_params_, best_score_, best_estimator_, scorer_, n_splits_,
        refit_time_, multimetric_: as those of `GridSearchCV`. Each fit has taken an equal share of
        the time of all.

    >>> from sklearn.datasets import load_iris
    >>> from logistack.estimator import StackClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> search = StackSearchCV(
    ...     StackClassifier(epochs=50, random_state=0),
    ...     {"hidden_layer_sizes": [(4,), (16,), (8, 8)], "learning_rate": [0.001, 0.01]}, cv=3,
    ... ).fit(X, y)
    >>> len(search.cv_results_["params"]), bool(search.best_score_ > 0.9)
    (6, True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{
            name: kinds
            for name, kinds in BaseSearchCV._parameter_constraints.items()
            if name not in ("n_jobs", "pre_dispatch")
        },
        "param_distributions": [dict, list],
        "n_iter": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "halving_factor": [Interval(numbers.Integral, 2, None, closed="left"), None],
        "resource": [str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        param_distributions: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        n_iter: int | None = None,
        scoring: Any = None,
        cv: Any = None,
        refit: Any = True,
        halving_factor: int | None = None,
        resource: str = "epochs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.param_distributions = param_distributions
        self.n_iter = n_iter
        self.scoring = scoring
        self.cv = cv
        self.refit = refit
        self.halving_factor = halving_factor
        self.resource = resource
        self.random_state = random_state
        self.error_score = error_score
        self.return_train_score = return_train_score
        self.verbose = verbose

    # Of scikit-learn's search, which has them as parameters: all runs in this process, at once.
    n_jobs = None
    pre_dispatch = None

    # No metadata of the estimator, splitter or scorer.
    __metadata_request__fit: ClassVar[dict[str, str]] = {"executor": UNUSED}

    def fit(
        self, X: Any, y: Any = None, *, executor: Executor | None = None, **params: Any
    ) -> "StackSearchCV":
        """Trains every candidate on every fold at once, scores them, and fits the best.

        Args:
            X: samples, `(n, in)`.
            y: labels, `(n,)`, or `(n, labels)`.
            executor: as `sweep` takes it, to which the populations of the search are sent; what it
                does not finish, and the best on all samples, is trained here.
            params: what `GridSearchCV.fit` takes: for the estimator's `fit`, such as
                `sample_weight`, the splitter, such as `groups`, and the scorer.

        Returns:
            The search.

        Raises:
            ValueError: if a parameter or an argument does not fit, or all fits fail.
        """
        require_executor(executor)
        self._given, self._executor = (X, y, params), executor
        try:
            super().fit(X, y, **params)
        finally:
            del self._given, self._executor
        results = self.cv_results_
        results["mean_fit_time"] = np.full(len(results["params"]), self._seconds_a_fit)
        results["std_fit_time"] = np.zeros(len(results["params"]))
        return self

    def _splitter(self, evaluate_candidates: Any) -> Any:
        """What makes the folds, which older versions keep in the function alone."""
        own = getattr(self, "_checked_cv_orig", None)
        return own or inspect.getclosurevars(evaluate_candidates).nonlocals["cv_orig"]

    def _run_search(self, evaluate_candidates: Any) -> None:
        X, y, params = self._given
        X, y = indexable(X, y)
        routed = self._get_routed_params_for_fit(_check_method_params(X, params=params))
        # The same in every round, whatever the splitter draws.
        splits = list(self._splitter(evaluate_candidates).split(X, y, **routed.splitter.split))
        desk, fits, seconds = Desk(), 0, 0.0

        def evaluate(candidates: list[dict[str, Any]], more: dict[str, Any] | None = None) -> Any:
            nonlocal fits, seconds
            start = time.perf_counter()
            with desk.open(asks=True):
                for train, _ in splits:
                    own_params = _check_method_params(X, params=routed.estimator.fit, indices=train)
                    rows = _safe_split(self.estimator, X, y, train)
                    for candidate in candidates:
                        _ask(self.estimator, candidate, rows, own_params)
            desk.train(self._executor)
            seconds += time.perf_counter() - start
            fits += len(candidates) * len(splits)
            with desk.open(asks=False):
                return evaluate_candidates(candidates, cv=check_cv(splits), more_results=more)

        candidates = self._candidates()
        if self.halving_factor is None:
            evaluate(candidates)
        else:
            self._halve(candidates, evaluate)
        self._seconds_a_fit = seconds / fits

    def _candidates(self) -> list[dict[str, Any]]:
        if self.n_iter is not None:
            drawn = ParameterSampler(
                self.param_distributions, self.n_iter, random_state=self.random_state
            )
            return list(drawn)
        given: Any = self.param_distributions
        for grid in [given] if isinstance(given, Mapping) else given:
            for name, values in grid.items():
                if hasattr(values, "rvs"):
                    raise ValueError(
                        f"n_iter: expected how many candidates to draw, since {name!r} is a "
                        "distribution, got None"
                    )
        return list(ParameterGrid(given))

    def _halve(self, candidates: list[dict[str, Any]], evaluate: Any) -> None:
        """Rounds of more and more epochs for fewer and fewer candidates."""
        if any(self.resource in candidate for candidate in candidates):
            raise ValueError(
                f"param_distributions: expected no {self.resource!r}, of which halving decides"
            )
        metric = self.refit if isinstance(self.refit, str) else "score"
        factor: Any = self.halving_factor
        whole = self.estimator.get_params()[self.resource]
        # Rounds until one is left, as far as there are epochs for them.
        rounds = 0
        while factor ** (rounds + 1) <= min(len(candidates), whole):
            rounds += 1
        for place in range(rounds + 1):
            epochs = whole // factor ** (rounds - place)
            these = [candidate | {self.resource: epochs} for candidate in candidates]
            more = {"iter": [place] * len(these), "n_resources": [epochs] * len(these)}
            results = evaluate(these, more)
            if f"mean_test_{metric}" not in results:
                raise ValueError(
                    "refit: expected the name of the score by which halving chooses, got "
                    f"{self.refit!r}"
                )
            scores = results[f"mean_test_{metric}"][-len(these) :]
            best = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
            kept = best[: math.ceil(len(these) / factor)]
            candidates = [candidates[own] for own in np.sort(kept)]

    @staticmethod
    def _select_best_index(refit: Any, refit_metric: str, results: Any) -> int:
        """The best of the last round."""
        if callable(refit) or "iter" not in results:
            return BaseSearchCV._select_best_index(refit, refit_metric, results)
        last = np.flatnonzero(results["iter"] == results["iter"].max())
        scores = np.nan_to_num(results[f"mean_test_{refit_metric}"][last], nan=-np.inf)
        return int(last[scores.argmax()])


def _ask(estimator: Any, candidate: dict[str, Any], rows: tuple[Any, Any], params: Any) -> None:
    """Has a fit say what it would train."""
    X, y = rows
    # If it fails, it fails again when it is called in earnest, and is heard then.
    with warnings.catch_warnings(), contextlib.suppress(Asked, Exception):
        warnings.simplefilter("ignore")
        clone(estimator).set_params(**clone(candidate, safe=False)).fit(X, y, **params)
