"""A search over stacks: scikit-learn's in what it says, and a population in what it does."""

import concurrent.futures
import functools

import numpy as np
import optax
import pytest
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    RandomizedSearchCV,
    ShuffleSplit,
    StratifiedKFold,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from logistack.estimator import StackClassifier, StackSearchCV, desk, training
from logistack.training import fit_population

# A rate that is too small is among what is searched.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]


def stack(**options):
    plain = {"weight_decay": 0.0, "label_smoothing": 0.0, "epochs": 20, "learning_rate": 0.03}
    return StackClassifier(
        **{"hidden_layer_sizes": (6,), "random_state": 0, **plain, **options},
    )


@pytest.fixture
def trained(monkeypatch):
    """How many jobs each call has trained; a fit that finds no request trains one by itself."""
    calls = []
    train = desk.train

    def count(jobs, **options):
        calls.append(len(jobs))
        return train(jobs, **options)

    monkeypatch.setattr(desk, "train", count)
    alone = StackClassifier._job

    def job(self, *arguments, **options):
        found = alone(self, *arguments, **options)
        if desk.open_desk() is None or not desk.open_desk().asks:
            calls.append("alone")
        return found

    monkeypatch.setattr(StackClassifier, "_job", job)
    return calls


GRIDS = {
    "numbers": {"learning_rate": [0.003, 0.1], "weight_decay": [0, 0.1], "dropout": [0, 0.2]},
    "sizes": {"hidden_layer_sizes": [(), (3,), (4,), (5, 4)], "learning_rate": [0.01, 0.1]},
    "words": [
        {"loss": ["softmax", "sigmoid"], "optimizer": ["adam", "sgd"], "batch_size": [32]},
        {"members": [1, 3], "random_state": [1, 2], "standardize": [True, False]},
        {"patience": [2, 5], "validation_fraction": [0.1, 0.2], "class_weight": [None, "balanced"]},
        {"optimizer": [optax.adabelief, functools.partial(optax.adam, b1=0.8)]},
    ],
}


def test_what_is_sent_to_an_executor_is_what_is_trained_here(trained):
    class Taking(concurrent.futures.ThreadPoolExecutor):
        """Takes one population, and then no more."""

        def submit(self, *args):
            taken.append(super().submit(*args))
            self.shutdown()
            return taken[-1]

    taken = []
    grid = {
        "hidden_layer_sizes": [(), (3,)],
        "optimizer": ["adam", "sgd"],
        "learning_rate": [0.1, 1],
    }
    here = StackSearchCV(stack(), grid, cv=2).fit(X, NAMES)
    with (
        Taking(1) as pool,
        pytest.warns(RuntimeWarning, match=r"^executor: it did not finish \d+ of \d+ blocks"),
    ):
        there = StackSearchCV(stack(), grid, cv=2).fit(X, NAMES, executor=pool)
    assert len(taken) == 1
    assert trained == [16, "alone"] * 2  # the best, on all samples
    for name in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(there.cv_results_[name], here.cv_results_[name])
    with pytest.raises(TypeError, match=r"^executor: expected a concurrent\.futures\.Executor"):
        there.fit(X, NAMES, executor=2)


@pytest.mark.parametrize("name", GRIDS)
def test_scores_are_those_of_fitting_each_candidate_alone(name, trained):
    cv = StratifiedKFold(3, shuffle=True, random_state=1)
    options = {"cv": cv, "scoring": "neg_log_loss", "refit": False, "return_train_score": True}
    found = StackSearchCV(stack(), GRIDS[name], **options).fit(X, NAMES).cv_results_
    # All folds of all candidates at once.
    assert trained == [3 * len(found["params"])]
    expected = GridSearchCV(stack(), GRIDS[name], **options).fit(X, NAMES).cv_results_
    assert found.keys() == expected.keys()
    assert found["params"] == expected["params"]
    for key in expected:
        if key.startswith(("split", "mean_t", "std_t")):
            # What a member is among has it rounded otherwise, and steps enlarge that.
            np.testing.assert_allclose(found[key], expected[key], rtol=2e-3, atol=1e-4)
        elif key.startswith("param_"):
            np.testing.assert_array_equal(found[key].mask, expected[key].mask)
    assert (found["mean_fit_time"] > 0).all()


@pytest.fixture
def shapes(monkeypatch):
    """The shapes of samples, rows and weights that populations are trained with."""
    seen = set()

    def fit(keys, params, inputs, targets, **options):
        rows, weights = (np.shape(options.get(name)) for name in ("rows", "sample_weight"))
        seen.add((len(inputs), rows, weights))
        return fit_population(keys, params, inputs, targets, **options)

    monkeypatch.setattr(training, "fit_population", fit)
    return seen


@pytest.mark.parametrize("batch_size", [32, 200])
def test_folds_of_several_lengths_are_one_program(shapes, batch_size):
    model = stack(batch_size=batch_size, epochs=2)
    StackSearchCV(model, {"learning_rate": [0.01, 0.1]}, cv=4, refit=False).fit(X[:147], Y[:147])
    assert len(shapes) == 1  # of 110 and of 111 samples


@pytest.mark.parametrize(("few", "programs"), [(training.FEW, 1), (0, 2)])
def test_folds_within_folds_are_the_same_program_unless_that_is_much_work(
    shapes, monkeypatch, few, programs
):
    monkeypatch.setattr(training, "FEW", few)
    model, parts = stack(batch_size=200), [(X[::own], Y[::own]) for own in (1, 2)]
    together = desk.fit_together([(model, *part) for part in parts])
    assert len(shapes) == programs
    for own, part in zip(together, parts, strict=True):
        alone = clone(model).fit(*part).predict_proba(X)
        # Sums over more rows are rounded otherwise, and steps enlarge that.
        np.testing.assert_allclose(own.predict_proba(X), alone, rtol=2e-3, atol=1e-4)


def test_the_best_is_fitted_and_predicts():
    search = StackSearchCV(stack(), {"learning_rate": [1e-5, 0.05]}, cv=3).fit(X, NAMES)
    assert search.best_params_ == {"learning_rate": 0.05}
    alone = stack(learning_rate=0.05).fit(X, NAMES)
    np.testing.assert_array_equal(search.predict_proba(X), alone.predict_proba(X))
    assert search.score(X, NAMES) == alone.score(X, NAMES)
    assert search.classes_.tolist() == alone.classes_.tolist()
    assert search.best_estimator_.certificate_.verify()


def test_several_scores_by_name_or_function():
    scoring = {"loss": "neg_log_loss", "own": make_scorer(accuracy_score)}
    grid = {"learning_rate": [1e-5, 0.05]}
    search = StackSearchCV(stack(), grid, cv=3, scoring=scoring, refit="loss").fit(X, NAMES)
    assert {"mean_test_loss", "rank_test_own", "split2_test_own"} <= search.cv_results_.keys()
    assert search.best_index_ == 1


def test_candidates_are_drawn_as_by_a_randomized_search():
    drawn = {"learning_rate": loguniform(1e-4, 0.1), "hidden_layer_sizes": [(2,), (3,)]}
    options = {"cv": 2, "refit": False, "random_state": 3}
    ours = StackSearchCV(stack(epochs=2), drawn, n_iter=4, **options).fit(X, Y)
    theirs = RandomizedSearchCV(stack(epochs=2), drawn, n_iter=4, **options).fit(X, Y)
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    with pytest.raises(ValueError, match=r"^n_iter: expected how many candidates to draw"):
        StackSearchCV(stack(), drawn).fit(X, Y)


def test_a_pipeline_is_searched_with_its_steps(trained):
    piped = make_pipeline(StandardScaler(), PolynomialFeatures(), stack())
    grid = {
        "polynomialfeatures__degree": [1, 2],
        "stackclassifier__learning_rate": [0.003, 0.03],
    }
    options = {"cv": 3, "refit": False, "scoring": "neg_log_loss"}
    found = StackSearchCV(piped, grid, **options).fit(X, NAMES).cv_results_
    assert trained == [12]
    expected = GridSearchCV(piped, grid, **options).fit(X, NAMES).cv_results_
    for name in ("mean_test_score", "split1_test_score"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-3)


def test_folds_may_be_of_groups_or_drawn_anew(trained):
    groups = np.arange(150) % 5
    grid = {"learning_rate": [0.003, 0.03]}
    options = {"refit": False, "scoring": "neg_log_loss"}
    found = StackSearchCV(stack(), grid, cv=GroupKFold(5), **options).fit(X, Y, groups=groups)
    expected = GridSearchCV(stack(), grid, cv=GroupKFold(5), **options).fit(X, Y, groups=groups)
    np.testing.assert_allclose(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], rtol=1e-3
    )
    trained.clear()
    anew = ShuffleSplit(3, random_state=np.random.RandomState(0))
    StackSearchCV(stack(random_state=None), grid, cv=anew, **options).fit(X, Y)
    assert trained == [6]


def test_weights_are_split_with_the_samples():
    weights = np.arange(150) % 3 + 0.5
    grid = {"learning_rate": [0.003, 0.03]}
    options = {"cv": 3, "refit": False, "scoring": "neg_log_loss"}
    found = StackSearchCV(stack(), grid, **options).fit(X, Y, sample_weight=weights)
    expected = GridSearchCV(stack(), grid, **options).fit(X, Y, sample_weight=weights)
    np.testing.assert_allclose(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], rtol=1e-3
    )


@pytest.mark.parametrize("patience", [None, 3])
def test_halving_goes_on_with_the_best(trained, patience):
    grid = {"learning_rate": [1e-4, 1e-3, 3e-3, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2]}
    search = StackSearchCV(
        stack(epochs=18, patience=patience), grid, cv=3, halving_factor=3, scoring="neg_log_loss",
        refit=False,
    ).fit(X, Y)  # fmt: skip
    found = search.cv_results_
    assert found["iter"].tolist() == [0] * 9 + [1] * 3 + [2]
    assert found["n_resources"].tolist() == [2] * 9 + [6] * 3 + [18]
    assert trained == [27, 9, 3]
    assert search.best_index_ == 12
    # Who goes on does so from where it was, and is what it would be by itself.
    for place in (0, 9, 12):
        own = clone(stack(patience=patience)).set_params(**found["params"][place])
        alone = GridSearchCV(own, {"members": [1]}, cv=3, scoring="neg_log_loss", refit=False)
        score = alone.fit(X, Y).cv_results_["mean_test_score"][0]
        np.testing.assert_allclose(found["mean_test_score"][place], score, rtol=1e-3)
    first, second = found["mean_test_score"][:9], found["params"][9:12]
    best = [found["params"][own]["learning_rate"] for own in np.sort(np.argsort(-first)[:3])]
    assert [own["learning_rate"] for own in second] == best


def test_halving_says_what_it_needs():
    with pytest.raises(ValueError, match=r"^param_distributions: expected no 'epochs'"):
        StackSearchCV(stack(), {"epochs": [2, 4]}, halving_factor=2, cv=2).fit(X, Y)
    with pytest.raises(ValueError, match=r"^refit: expected the name of the score"):
        StackSearchCV(
            stack(epochs=2), {"members": [1, 2]}, halving_factor=2, cv=2,
            scoring=["accuracy", "neg_log_loss"], refit=False,
        ).fit(X, Y)  # fmt: skip


def test_a_candidate_that_fails_is_told_as_by_scikit_learn(trained):
    grid = {"hidden_layer_sizes": [(4,), (0,)]}
    with pytest.warns(Warning, match="3 fits failed|non-finite"):
        search = StackSearchCV(stack(), grid, cv=3).fit(X, Y)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]
    assert trained[0] == 3
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        StackSearchCV(stack(), grid, cv=3, error_score="raise").fit(X, Y)
    with pytest.raises(ValueError, match="Invalid parameter 'rate'"):
        StackSearchCV(stack(), {"rate": [1]}, cv=3).fit(X, Y)


def test_a_class_that_a_fold_lacks_is_told_as_by_scikit_learn():
    order = np.argsort(Y, kind="stable")
    splits = [(np.arange(100), np.arange(100, 150)), (np.arange(50, 150), np.arange(50))]
    grid = {"learning_rate": [0.003, 0.03]}
    search = StackSearchCV(stack(), grid, cv=splits, refit=False).fit(X[order], NAMES[order])
    assert search.cv_results_["mean_test_score"].tolist() == [0, 0]


def test_parameters_that_cannot_be_compared_are_trained_together_too(trained):
    grid = {"optimizer": [lambda learning_rate: optax.adam(learning_rate), "adam"]}
    StackSearchCV(stack(epochs=2), grid, cv=3, refit=False).fit(X, Y)
    assert trained == [6]


# scikit-learn casts labels that are not finite before it refuses them.
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@parametrize_with_checks(
    [
        StackSearchCV(
            stack(epochs=40), {"hidden_layer_sizes": [(6,), (9,)]}, cv=2, error_score="raise"
        )
    ]
)
def test_scikit_learn_finds_nothing_to_object_to(estimator, check):
    check(estimator)
