"""Cross-validation: a member is trained as on its own fold's standardized samples, peers alike."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import logistack as ls
from experiments import cross_validation, keeping

TINY = cross_validation.Config(
    data=("wine",), repeats=2, folds=3, hidden=3, epochs=2, batch_size=40, jobs=1
)


@pytest.fixture(scope="module")
def wine():
    return cross_validation.wine()


@pytest.fixture(scope="module")
def tested(wine):
    return cross_validation.divide(TINY, wine)


def test_every_repeat_divides_the_samples_into_folds_with_as_many_of_each_class(wine, tested):
    assert tested.shape == (6, 178)
    for repeat in tested.reshape(2, 3, 178):
        np.testing.assert_array_equal(repeat.sum(axis=0), 1)
    for fold in tested:
        shares = np.bincount(wine.labels[fold]) - np.bincount(wine.labels) / 3
        assert np.abs(shares).max() < 1
    assert len(np.unique(tested, axis=0)) == 6


def test_moments_are_of_the_training_samples_alone():
    inputs = np.array([[1.0, 7.0], [3.0, 7.0], [1000.0, 0.0]])
    mean, scale = cross_validation.moments(inputs, np.array([[True, True, False]]))
    np.testing.assert_array_equal(mean, [[2, 7]])
    np.testing.assert_array_equal(scale, [[1, 1]])  # where nothing varies, 1


def test_an_absorbed_network_of_inputs_is_the_network_of_standardized_ones():
    params = ls.init_params(jax.random.key(0), (3, 4, 2))
    x, mean, scale = np.array([[2.0, -1.0, 5.0], [1.0, 3.0, 4.0], [0.5, 2.0, 3.0]], np.float32)
    absorbed = cross_validation.absorbed(params, mean, scale)
    np.testing.assert_allclose(
        ls.logits(absorbed, x), ls.logits(params, (x - mean) / scale), rtol=1e-5
    )


@pytest.mark.parametrize("standardized", [True, False])
def test_a_member_is_trained_as_fit_trains_on_the_samples_of_its_fold_standardized(
    standardized, wine, tested
):
    table = wine._replace(standardized=standardized)
    if not standardized:  # of one size, as pixels are
        table = table._replace(inputs=cross_validation.shared_inputs(wine))
    params = cross_validation.train(TINY, table, tested)
    shared = cross_validation.shared_inputs(table)
    for member in (0, 4):
        learned = ~tested[member]
        inputs = table.inputs
        if standardized:
            inputs = (inputs - inputs[learned].mean(axis=0)) / inputs[learned].std(axis=0)
        key = jax.random.split(jax.random.key(TINY.seed), len(tested))[member]
        alone = ls.fit(
            key,
            ls.init_params(key, (13, 3, 3)),
            inputs.astype(np.float32),
            wine.labels,
            optimizer=optax.adam(TINY.learning_rate),
            epochs=TINY.epochs,
            batch_size=TINY.batch_size,
            reduction="mean",
            loss=ls.losses.softmax_cross_entropy,
            sample_weight=learned,
        ).params
        logits = jax.vmap(ls.logits, in_axes=(None, 0))
        own = logits(keeping.member(params, member), jnp.asarray(shared, jnp.float32))
        wanted = logits(alone, jnp.asarray(inputs, jnp.float32))
        # Adam divides by the size of a gradient: rounding in small ones is seen.
        np.testing.assert_allclose(own, wanted, atol=2e-4)


def test_errors_are_those_on_the_samples_tested_on(wine, tested, monkeypatch):
    params = cross_validation.train(TINY, wine, tested)
    monkeypatch.setattr(cross_validation, "train", lambda *_: params)
    errors = cross_validation.errors_of_network(TINY, wine, tested)
    inputs = jnp.asarray(cross_validation.shared_inputs(wine), jnp.float32)
    for member, own in enumerate(errors):
        fold = tested[member]
        read = jax.vmap(ls.logits, in_axes=(None, 0))(keeping.member(params, member), inputs[fold])
        assert own == pytest.approx(np.mean(np.argmax(read, axis=1) != wine.labels[fold]))


def test_a_peer_learns_and_is_tested_on_the_same_samples_standardized_alike(wine, tested):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1_000)
    errors = cross_validation.errors_of_peer(model, TINY, wine, tested)
    for fold, own in zip(tested, errors, strict=True):
        learned = wine.inputs[~fold]
        inputs = (wine.inputs - learned.mean(axis=0)) / learned.std(axis=0)
        fitted = model.fit(inputs[~fold], wine.labels[~fold])
        assert own == pytest.approx(np.mean(fitted.predict(inputs[fold]) != wine.labels[fold]))


def test_the_perceptron_is_told_what_the_network_is_told():
    told = cross_validation.peers(TINY)["MLPClassifier"].get_params()
    wanted = {
        "hidden_layer_sizes": (3,), "activation": "logistic", "solver": "adam", "alpha": 0.0,
        "batch_size": 40, "learning_rate_init": 0.003, "max_iter": 2, "early_stopping": False,
    }  # fmt: skip
    assert {name: told[name] for name in wanted} == wanted


@pytest.fixture(scope="module")
def found():
    return cross_validation.run(TINY)


def kept(found, **settings):
    return {"settings": {"repeats": 2, "folds": 3, **settings}, "found": found}


def test_all_three_are_validated_on_every_fold(found):
    (row,) = found
    assert (row["data"], row["samples"], row["features"]) == ("wine", 178, 13)
    assert list(row["errors"]) == ["logistack", "MLPClassifier", "LogisticRegression"]
    for errors in row["errors"].values():
        assert len(errors) == 6
        assert min(errors) >= 0
        assert max(errors) <= 1
    assert np.mean(row["errors"]["LogisticRegression"]) < 0.1


def test_differences_are_paired_by_fold_and_corrected_for_shared_samples():
    errors = {"logistack": [0.1, 0.2, 0.15], "MLPClassifier": [0.12, 0.19, 0.2]}
    (row,) = cross_validation.compared({"errors": errors}, folds=10).rows
    difference = np.array([-2.0, 1.0, -5.0])
    error = np.sqrt((1 / 3 + 1 / 9) * difference.var(ddof=1))
    assert row.difference == pytest.approx(-2)
    assert row.high == pytest.approx(-2 + stats.t.isf(0.025, 2) * error)
    assert row.words == "no difference shown"


def test_the_report_has_the_means_and_the_verdicts(found):
    report = cross_validation.report(kept(found))
    (row,) = found
    for model, errors in row["errors"].items():
        line = next(line for line in report.splitlines() if f" {model} " in line)
        assert f"{100 * np.mean(errors):.2f}" in line.split()
    assert report.count("\nwine: ") == 3


def test_a_figure_a_data_set(found):
    row = {**found[0], "data": "breast cancer"}
    figures = cross_validation.plot(kept([*found, row]))
    assert list(figures) == ["cross-validation-wine", "cross-validation-breast-cancer"]
    axes = figures["cross-validation-wine"].axes[0]
    assert len(axes.get_yticklabels()) == 3


def test_a_data_set_that_was_finished_is_not_validated_again(found, monkeypatch):
    monkeypatch.setattr(cross_validation, "validate", lambda *_: pytest.fail("validated"))
    assert cross_validation.run(TINY, lambda name, _: {"wine": found[0]}[name]) == found
