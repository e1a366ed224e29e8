"""The classifier of scikit-learn: its conventions, what its users have asked for, and what it is."""

import pickle
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.parallel import Parallel, delayed

import logistack as ls
from logistack.estimator import StackClassifier

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
LABELED = make_multilabel_classification(120, 6, n_classes=3, random_state=0)


def model(**options):
    plain = {"weight_decay": 0.0, "label_smoothing": 0.0, "epochs": 30, "learning_rate": 0.05}
    return StackClassifier(
        **{"hidden_layer_sizes": (8,), "random_state": 0, **plain, **options},
    )


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one.params_, other.params_)
    jax.tree.map(np.testing.assert_array_equal, one.history_, other.history_)


# Among the samples are some of which one class counts next to nothing: a constant answer is right.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [StackClassifier(), StackClassifier(loss="sigmoid"), StackClassifier(members=3)]
)
def test_scikit_learn_finds_nothing_to_object_to(estimator, check):
    check(estimator)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("batch_size", ["auto", 32])
def test_two_fits_are_one_of_twice_the_epochs(members, batch_size):
    """scikit-learn's #6091: the optimizer is kept."""
    options = {"members": members, "batch_size": batch_size, "dropout": 0.2}
    whole = model(**options).fit(X, Y)
    twice = model(**options, warm_start=True).set_params(epochs=15)
    same(whole, twice.fit(X, Y).fit(X, Y))
    assert twice.n_iter_ == 30
    step = model(**options)
    for _ in range(30):
        step.partial_fit(X, Y)
    same(whole, step)


def test_going_on_needs_the_same_network():
    going = model(warm_start=True).fit(X, Y)
    before = going.params_
    for name, value in {"hidden_layer_sizes": (9,), "members": 2, "optimizer": "sgd"}.items():
        changed = clone(going).fit(X, Y).set_params(**{name: value})
        with pytest.raises(ValueError, match=f"^{name}: expected .* to go on"):
            changed.fit(X, Y)
    with pytest.raises(
        ValueError, match=r"^y: expected labels of the classes \[0, 1, 2\], got \[7\]"
    ):
        going.fit(X, np.where(Y == 1, 7, Y))
    assert going.params_ is before


def test_a_fit_that_fails_leaves_the_one_before():
    fitted = model().fit(pd.DataFrame(X, columns=list("abcd")), Y)
    before = dict(vars(fitted))
    for bad, labels in ((X[:, :2] * np.nan, Y), (X[:, :3], np.zeros(150)), (X, Y[:20])):
        with pytest.raises(ValueError, match=r"NaN|class|inconsistent"):
            fitted.fit(bad, labels)
    assert vars(fitted) == before


@pytest.mark.parametrize("members", [1, 4])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_probabilities_logits_and_labels_say_the_same(members, loss):
    """scikit-learn's #6094: a softmax or sigmoid head by choice."""
    for labels in (NAMES, NAMES == "setosa"):
        fitted = model(members=members, loss=loss).fit(X, labels)
        chances, z = fitted.predict_proba(X), fitted.decision_function(X)
        assert fitted.out_activation_ == ("softmax" if loss == "softmax" else "logistic")
        np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), chances, rtol=1e-5)
        np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[chances.argmax(axis=1)])
        if len(fitted.classes_) == 2:
            np.testing.assert_allclose(1 / (1 + np.exp(-z)), chances[:, 1], rtol=1e-5)
        elif loss == "softmax":
            np.testing.assert_allclose(jax.nn.softmax(z), chances, rtol=1e-5)


def test_a_committee_is_the_mean_of_single_networks():
    committee = model(members=3).fit(X, Y)
    alone = model().fit(X, Y)
    # The first member is the network that is trained by itself, whoever is beside it.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        committee.params_[0],
        alone.params_,
    )
    rows = jnp.asarray(committee.classifier_.standardize(X))
    each = [
        jax.vmap(lambda x, own=own: jax.nn.softmax(ls.logits(own, x)))(rows)
        for own in committee.params_
    ]
    np.testing.assert_allclose(committee.predict_proba(X), np.mean(each, axis=0), rtol=1e-5)
    found = committee.disagreement(X)
    assert found.information.shape == found.dissent.shape == (150,)
    # It is of samples between two classes that members think differently.
    unsure = np.sort(committee.predict_proba(X))[:, -1] < 0.8
    assert found.information[unsure].mean() > found.information[~unsure].mean()
    assert not alone.disagreement(X).information.any()


@pytest.mark.parametrize("members", [1, 3])
def test_multilabel_targets_have_an_output_a_label(members):
    inputs, labels = LABELED
    fitted = model(loss="sigmoid", members=members, epochs=100).fit(inputs, labels)
    found = fitted.predict(inputs)
    assert found.shape == labels.shape
    assert (found == labels).mean() > 0.9
    np.testing.assert_array_equal(found, fitted.predict_proba(inputs) > 0.5)
    with pytest.raises(ValueError, match="multilabel targets need loss='sigmoid'"):
        model().fit(inputs, labels)
    with pytest.raises(ValueError, match="predict_set: expected exclusive classes"):
        fitted.predict_set(inputs)


def test_samples_of_weight_0_are_not_there_and_of_weight_2_twice():
    """scikit-learn's #9113: sample weights."""
    weights = np.arange(150) % 3
    weighted = model(members=2).fit(X, NAMES, sample_weight=weights)
    repeated = model(members=2).fit(np.repeat(X, weights, axis=0), np.repeat(NAMES, weights))
    same(weighted, repeated)
    batches = {"batch_size": 20}
    same(
        model(**batches).fit(X, NAMES, sample_weight=(weights > 0) * 2.0),
        model(**batches).fit(X[weights > 0], NAMES[weights > 0], sample_weight=np.full(100, 2.0)),
    )


def test_class_weights_are_weights_of_the_samples():
    """scikit-learn's #25326: class weights."""
    skew = np.concatenate([np.arange(0, 20), np.arange(50, 100)])
    inputs, labels = X[skew], NAMES[skew]
    counts = {"setosa": 20, "versicolor": 50}
    balanced = {name: 70 / (2 * count) for name, count in counts.items()}
    # Features are standardized by samples as they are there, whatever their class.
    raw = {"standardize": False}
    by_name = model(**raw, class_weight=balanced).fit(inputs, labels)
    same(by_name, model(**raw, class_weight="balanced").fit(inputs, labels))
    own = np.vectorize(balanced.get)(labels)
    same(by_name, model(**raw).fit(inputs, labels, sample_weight=own))
    with pytest.raises(ValueError, match=r"^class_weight: .* got \['rose'\] as well"):
        model(class_weight={"rose": 2}).fit(inputs, labels)


def test_samples_to_validate_on_can_be_given():
    """scikit-learn's #18748: one's own validation set."""
    train, held = np.arange(150) % 3 > 0, np.arange(150) % 3 == 0
    options = {"learning_rate": 0.1, "epochs": 200, "patience": 5}
    fitted = model(**options).fit(X[train], NAMES[train], X_val=X[held], y_val=NAMES[held])
    assert fitted.n_iter_ < 200
    best = min(fitted.validation_curve_)
    own = log_loss(NAMES[held], fitted.predict_proba(X[held]))
    np.testing.assert_allclose(own, best, rtol=1e-4)
    # Nothing of them is learned, nor standardized by.
    shifted = model(**options | {"patience": None, "epochs": 3})
    one = clone(shifted).fit(X[train], NAMES[train], X_val=X[held], y_val=NAMES[held])
    other = clone(shifted).fit(X[train], NAMES[train], X_val=X[held] + 9, y_val=NAMES[held])
    np.testing.assert_array_equal(one.classifier_.mean, other.classifier_.mean)
    np.testing.assert_array_equal(one.loss_curve_, other.loss_curve_)
    with pytest.raises(ValueError, match="X_val, y_val: expected both"):
        model().fit(X, Y, X_val=X)
    with pytest.raises(ValueError, match=r"^y_val: expected labels of the classes .* \['rose'\]"):
        model().fit(X, NAMES, X_val=X[:1], y_val=["rose"])


def test_samples_to_validate_on_go_through_a_pipeline():
    """scikit-learn's #18748 again: metadata routing transforms them as those of the training."""
    with sklearn.config_context(enable_metadata_routing=True):
        stack = model().set_fit_request(X_val=True, y_val=True)
        scaled = make_pipeline(StandardScaler(), stack, transform_input=["X_val"])
        scaled.fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2])
        alone = model().fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2])
    found = scaled[-1].validation_curve_
    np.testing.assert_allclose(found, alone.validation_curve_, rtol=1e-4)


@pytest.mark.parametrize("dropout", [0.3, (0.1, 0.3), (0.0, 0.3, 0.5)])
def test_dropout_is_a_rate_or_one_a_layer(dropout):
    """scikit-learn's #6175: dropout."""
    options = {"hidden_layer_sizes": (16, 16)}
    with_it = model(**options, dropout=dropout).fit(X, Y)
    assert with_it.score(X, Y) > 0.9
    assert with_it.loss_curve_[-1] > model(**options).fit(X, Y).loss_curve_[-1]
    with pytest.raises(ValueError, match=r"^dropout: expected rates from 0 to below 1: one"):
        model(**options, dropout=(0.1,) * 4).fit(X, Y)


@pytest.mark.parametrize("members", [1, 3])
def test_activations_come_layer_by_layer(members):
    """scikit-learn's #9468 and #10097: what every layer makes of the samples."""
    fitted = model(hidden_layer_sizes=(7, 5), members=members).fit(X, Y)
    layers = fitted.activations(X)
    several = () if members == 1 else (members,)
    assert [layer.shape for layer in layers] == [(150, *several, width) for width in (7, 5, 3)]
    mean = layers[-1] if members == 1 else layers[-1].mean(axis=1)
    np.testing.assert_allclose(mean, fitted.predict_proba(X), rtol=1e-5)
    first = fitted.params_ if members == 1 else fitted.params_[0]
    rows = fitted.classifier_.standardize(X)
    expected = 1 / (1 + np.exp(-(rows @ np.asarray(first[0].weight).T + np.asarray(first[0].bias))))
    own = layers[0] if members == 1 else layers[0][:, 0]
    np.testing.assert_allclose(own, expected, rtol=1e-5)


def test_a_run_stuck_near_a_constant_says_so():
    """scikit-learn's #31235: no warning was given of it."""
    deep = {"hidden_layer_sizes": [4] * 60, "coordinates": "plain", "epochs": 60}
    with pytest.warns(ConvergenceWarning) as told:
        model(**deep, learning_rate=0.01).fit(X, Y)
    assert "The loss is that of predicting the frequencies" in str(told[0].message)
    with pytest.warns(ConvergenceWarning, match=r"3 of 3 runs, .* fell by 0.0% in 30 epochs"):
        model(members=3, optimizer="sgd", learning_rate=1e-7).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="stopped being finite in epoch"):
        fitted = model(optimizer="sgd", learning_rate=1e38).fit(X, Y)
    assert np.isfinite(fitted.predict_proba(X)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model().fit(X, Y)


def test_sets_hold_the_class_as_often_as_asked():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(3000, 2))
    labels = (inputs + rng.normal(size=(3000, 2)) > 0).sum(axis=1)
    fitted = model(calibration_fraction=0.5, epochs=10).fit(inputs[:1500], labels[:1500])
    later = inputs[1500:], labels[1500:]
    for coverage in (0.8, 0.95):
        sets = fitted.predict_set(later[0], coverage=coverage)
        found = ls.conformal.coverage(sets, later[1], confidence=0.999)
        # About the calibration's own draw of 750, too.
        assert found.low - 0.03 < coverage < found.high + 0.03
    unseen = model(epochs=10).fit(inputs[:1000], labels[:1000])
    with pytest.raises(NotFittedError, match="calibration_fraction"):
        unseen.predict_set(later[0])
    unseen.conformalize(inputs[1000:1500], labels[1000:1500])
    assert 0.85 < ls.conformal.coverage(unseen.predict_set(later[0]), later[1]).share < 0.95


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_have_names_and_another_order_is_refused(frame):
    table = frame({name: X[:, place] for place, name in enumerate("abcd")})
    fitted = model().fit(table, NAMES)
    # scikit-learn 1.6 does not know the names of the newest Polars.
    if frame is pd.DataFrame or hasattr(StandardScaler().fit(table), "feature_names_in_"):
        assert fitted.feature_names_in_.tolist() == list("abcd")
        with pytest.raises(ValueError, match="feature names"):
            fitted.predict(table[["b", "a", "c", "d"]])
    np.testing.assert_array_equal(fitted.predict(table), model().fit(X, NAMES).predict(X))


def test_it_works_where_scikit_learn_puts_estimators(tmp_path):
    table = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.where(X[:, 0] > 6, "big", "small"))
    columns = ColumnTransformer([("kind", OneHotEncoder(), ["kind"])], remainder="passthrough")
    piped = make_pipeline(columns, model())
    assert piped.fit(table, NAMES).score(table, NAMES) > 0.9
    assert "StackClassifier" in piped._repr_html_()
    calibrated = CalibratedClassifierCV(model(), cv=3).fit(X, NAMES)
    assert calibrated.score(X, NAMES) > 0.9
    assert (cross_val_predict(model(), X, NAMES, cv=3) == NAMES).mean() > 0.9
    grid = GridSearchCV(model(), {"learning_rate": [1e-4, 0.03]}, cv=3).fit(X, NAMES)
    assert grid.best_params_ == {"learning_rate": 0.03}
    fitted = piped[-1]
    again = pickle.loads(pickle.dumps(fitted))
    rows = columns.transform(table)
    np.testing.assert_array_equal(again.predict_proba(rows), fitted.predict_proba(rows))
    (threaded,) = Parallel(n_jobs=2, prefer="threads")([delayed(clone(piped).fit)(table, NAMES)])
    np.testing.assert_array_equal(threaded.predict(table), piped.predict(table))
    path = tmp_path / "model"
    fitted.classifier_.save(path)
    np.testing.assert_array_equal(
        ls.load_classifier(path).probabilities(np.asarray(rows)), fitted.predict_proba(rows)
    )


def test_the_certificate_is_of_the_samples_of_the_last_fit():
    fitted = model().fit(X[:100], NAMES[:100])
    proof = fitted.certificate_
    assert isinstance(proof, ls.Separator)
    assert proof.verify()
    assert fitted.certificate_ is proof
    shown = model().fit(X[:100], NAMES[:100])
    assert "classes_" in dir(shown)
    assert shown._repr_html_()
    assert shown._certificate is None  # nobody has asked
    assert pickle.loads(pickle.dumps(fitted)).certificate_.verify()
    fitted.fit(X[50:], NAMES[50:])
    assert isinstance(fitted.certificate_, ls.CommonPoint)
    later = pickle.loads(pickle.dumps(model().fit(X, Y)))
    with pytest.raises(AttributeError, match="certificate_: the samples are not in a pickle"):
        _ = later.certificate_


def test_an_optimizer_is_a_name_or_a_function():
    def falling(learning_rate):
        return optax.adam(optax.cosine_decay_schedule(learning_rate, 30))

    for optimizer in ("sgd", "nesterov", "rmsprop", "nadam", "amsgrad", "adagrad", falling):
        fitted = model(optimizer=optimizer, learning_rate=0.1).fit(X, Y)
        assert fitted.loss_curve_[-1] < 0.7 * fitted.loss_curve_[0]
    fixed = model(optimizer=lambda: optax.adam(0.003)).fit(X, Y)
    np.testing.assert_allclose(
        fixed.loss_curve_, model(learning_rate=0.003).fit(X, Y).loss_curve_, rtol=1e-5
    )


def test_weight_decay_is_that_of_adamw():
    ours = model(weight_decay=0.1, learning_rate=0.01).fit(X, Y)

    def theirs(learning_rate):
        weights = lambda params: tuple(ls.Layer(True, False) for _ in params)  # noqa: E731
        return optax.adamw(learning_rate, weight_decay=0.1, mask=weights)

    expected = model(optimizer=theirs, learning_rate=0.01).fit(X, Y)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        ours.params_,
        expected.params_,
    )


def test_augmentation_and_label_smoothing_reach_the_training():
    def jitter(key, x):
        return x + jax.random.normal(key, x.shape)

    plain = model().fit(X, Y).loss_curve_[-1]
    assert model(augment=jitter).fit(X, Y).loss_curve_[-1] > plain + 0.05
    assert model(label_smoothing=0.2).fit(X, Y).loss_curve_[-1] > plain + 0.05


def test_features_are_standardized_unless_asked_not_to():
    shifted = X * [1, 100, 1e-3, 1] + [1e5, 0, 0, 0]
    assert model().fit(shifted, Y).score(shifted, Y) > 0.9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        raw = model(standardize=False).fit(shifted, Y)
    np.testing.assert_array_equal(raw.classifier_.mean, 0)
    assert raw.score(shifted, Y) < 0.9


def test_losses_are_printed_ten_times_or_every_so_many_epochs(capsys):
    quiet = model(patience=30).fit(X, Y)
    assert not capsys.readouterr().out
    loud = model(patience=30, verbose=True).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith(f"epoch 30/30: loss {loud.loss_curve_[-1]:.4g}, validation loss")
    model(verbose=6).fit(X, Y)
    assert len(capsys.readouterr().out.splitlines()) == 5
    same(quiet, loud)


def test_callbacks_of_scikit_learn_hear_of_every_epoch():
    callback = pytest.importorskip("sklearn.callback")
    told = []

    class Listener:
        max_propagation_depth = 1

        def setup(self, estimator, context):
            told.append("setup")

        def on_fit_task_begin(self, estimator, context, *, X=None):  # noqa: N803
            told.append(context.task_name)

        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            if context.task_name == "epoch":
                told.append(fitted_estimator.score(X, NAMES))
                return context.task_id == 3
            return None

        def teardown(self, estimator, context):
            told.append("teardown")

    heard = model().set_callbacks(Listener()).fit(X, NAMES)
    assert [word for word in told if isinstance(word, str)] == [
        "setup",
        "fit",
        *["epoch"] * 4,
        "teardown",
    ]
    assert heard.n_iter_ == 4
    same(heard, model(epochs=4).fit(X, NAMES))
    assert told[-2] == heard.score(X, NAMES)
    monitor = callback.ScoringMonitor(scoring="neg_log_loss")
    with_progress = model(epochs=3).set_callbacks(monitor, callback.ProgressBar())
    with_progress.fit(X, NAMES)
    assert "_callback_fit_ctx" not in vars(with_progress)
    assert len(monitor.get_logs().data_as_pandas) >= 3


def test_what_cannot_be_used_is_named():
    for bad, labels, message in [
        (X, np.where(Y == 0, np.nan, Y), "NaN"),
        (X, np.array([*"ab" * 50, *range(50)], object), "label|type"),
        (X, np.ones(150), "one class"),
        (X, X[:, 0], "Unknown label type"),
        (
            X,
            np.stack([Y, Y], axis=1),
            "expected one label a sample|not supported|multiclass-multioutput",
        ),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            model().fit(bad, labels)
    with pytest.raises(ValueError, match=r"(?i)^sample.weight.*zero"):
        model().fit(X, Y, sample_weight=np.zeros(150))
    with pytest.raises(ValueError, match=r"^sample_weight: .* got -1"):
        model().fit(X, Y, sample_weight=np.where(Y == 0, -1.0, 1.0))
    for name, value in {
        "members": 0, "loss": "hinge", "optimizer": optax.adam(0.1), "epochs": 0.5, "patience": 0,
        "coordinates": "polar", "dropout": 1.0, "batch_size": "all", "learning_rate": 0,
        "hidden_layer_sizes": 0, "standardize": 1, "validation_fraction": 1.0,
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=name):
            model(**{name: value}).fit(X, Y)
    with pytest.raises(ValueError, match=r"^hidden_layer_sizes: expected integers above 0"):
        model(hidden_layer_sizes=(3, 0)).fit(X, Y)


def test_few_samples_are_enough_or_said_not_to_be():
    few = model(batch_size=1).fit([[0.0], [1.0], [2.0]], ["a", "b", "c"])
    assert few.predict([[0.0]]).shape == (1,)
    constant = np.column_stack([X, np.ones(150)])
    assert model().fit(constant, Y).score(constant, Y) > 0.9
    with pytest.raises(ValueError, match=r"^(y|validation_fraction): expected"):
        model(patience=3, validation_fraction=0.6).fit([[0.0], [1.0], [2.0]], ["a", "b", "c"])


def test_numbers_that_change_compile_nothing(compilations):
    model(batch_size=32, members=2).fit(X, Y)
    seen = len(compilations)
    model(batch_size=32, members=2, learning_rate=0.02, random_state=5).fit(X, Y)
    assert len(compilations) == seen


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_predictions_do_not_depend_on_the_kind_of_numbers(dtype):
    whole = np.round(X * 10)
    fitted = model().fit(whole.astype(dtype), Y)
    expected = model().fit(whole, Y).predict_proba(whole)
    np.testing.assert_allclose(fitted.predict_proba(whole.astype(dtype)), expected, rtol=1e-4)


def test_a_deep_stack_learns():
    inputs, held, labels, answers = train_test_split(X, Y, random_state=0)
    stack = model(hidden_layer_sizes=[16] * 30, epochs=100, learning_rate=0.003)
    deep = stack.fit(inputs, labels)
    assert deep.score(held, answers) > 0.85


def test_without_scikit_learn_the_extra_is_named(monkeypatch):

    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'logistack\[sklearn\]'"):
        _ = ls.estimator.StackClassifier
