"""A classifier of a table: held-out rows, standardized features, labels of any kind, one file."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_iris, load_wine
from sklearn.preprocessing import StandardScaler

import logistack as ls

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3)) * [1.0, 1e3, 1e-3] + [0.0, 1e5, 7.0]
Y = np.array(["calm", "gale", "storm"])[np.digitize((X[:, 0] + (X[:, 1] - 1e5) / 1e3), [-0.5, 0.5])]


def fitted(inputs=X, labels=Y, **options):
    options = {"hidden": (8,), "optimizer": optax.adam(0.03), "epochs": 60, **options}
    return ls.fit_classifier(KEY, inputs, labels, **options)


@pytest.fixture(scope="module")
def model():
    return fitted(batch_size=32, validation=0.2, patience=20)


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_a_table_of_scikit_learn_is_learned(load):
    table = load()
    names = table.target_names[table.target]
    done = fitted(table.data, names, epochs=150, batch_size=32)
    assert done.test.sum() == round(0.2 * len(names))
    assert done.accuracy >= 0.9
    predicted = done.classifier.predict(table.data[done.test])
    assert done.accuracy == np.mean(predicted == names[done.test])


def test_rows_held_out_have_no_part_in_what_is_learned():
    rows = np.arange(len(X)) % 5
    options = {"test": rows == 0, "validation": rows == 1, "batch_size": 32}
    one = fitted(**options)
    changed = X.copy()
    changed[rows == 0] *= -50
    names = np.where(rows == 0, np.roll(Y, 1), Y)
    other = fitted(changed, names, **options)
    changed[rows == 1] += 1e6
    third = fitted(changed, names, **options)
    for name in ("mean", "scale"):
        mine = getattr(one.classifier, name)
        np.testing.assert_array_equal(mine, getattr(other.classifier, name))
        np.testing.assert_array_equal(mine, getattr(third.classifier, name))
    jax.tree.map(np.testing.assert_array_equal, one.result, other.result)
    # What is validated on chooses among the epochs, and teaches nothing.
    jax.tree.map(np.testing.assert_array_equal, one.result.state.params, third.result.state.params)
    assert not np.array_equal(
        one.result.history.validation_loss, third.result.history.validation_loss
    )


def test_features_are_standardized_as_scikit_learn_does(model):
    done = fitted(test=np.arange(len(X)) < 20)
    ours = done.classifier.standardize(X[20:])
    np.testing.assert_allclose(ours, StandardScaler().fit_transform(X[20:]), rtol=1e-5, atol=1e-6)
    assert model.classifier.mean.dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("value", [0, 3, 1e30])
def test_a_constant_feature_is_one_that_says_nothing(dtype, value):
    if dtype == np.int64 and value > 10:
        value = 2**62
    constant = np.full((len(X), 1), value).astype(dtype)
    done = fitted(constant, Y, epochs=1)
    assert done.classifier.scale == 1
    assert not done.classifier.standardize(constant).any()


def test_values_of_any_size_are_standardized():
    large = np.stack([np.linspace(-1, 1, 40) * 1.7e308, 1.7e9 + np.arange(40) * 1e-2], axis=1)
    done = fitted(large, np.arange(40) // 20, test=0, epochs=1)
    rows = done.classifier.standardize(large)
    np.testing.assert_allclose(rows.std(axis=0), 1, rtol=1e-4)  # of times in float64, to 2e-7 s
    np.testing.assert_allclose(rows[:, 1], rows[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    ("labels", "loss", "outputs"),
    [
        (np.digitize(X[:, 0], [0.0]) * 7 - 3, "softmax", 2),
        (np.digitize(X[:, 0], [0.0]) * 7 - 3, "sigmoid", 1),
        (X[:, 0] > 0, "sigmoid", 1),
        (np.digitize(X[:, 0], [-0.5, 0.5]) / 2, "sigmoid", 3),
        (Y.tolist(), "softmax", 3),
        (Y.astype(object), "softmax", 3),
    ],
)
def test_labels_come_back_as_they_were_given(labels, loss, outputs):
    done = fitted(labels=labels, loss=loss, epochs=150)
    classifier = done.classifier
    assert classifier.params[-1].bias.shape == (outputs,)
    predicted = classifier.predict(X)
    assert set(predicted.tolist()) <= set(np.asarray(labels).tolist())
    assert classifier.accuracy(X, labels) > 0.85
    chances = classifier.probabilities(X)
    assert chances.shape == (len(X), len(classifier.labels))
    np.testing.assert_array_equal(classifier.labels[chances.argmax(axis=1)], predicted)
    alone = jax.nn.softmax(classifier.logits(X)) if loss == "softmax" else None
    if alone is not None:
        np.testing.assert_allclose(chances, alone, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 120, 4096])
def test_the_size_of_a_batch_makes_no_difference(model, batch_size):
    classifier = model.classifier
    rows = jnp.asarray(classifier.standardize(X))
    expected = jax.vmap(ls.logits, (None, 0))(classifier.params, rows)
    found = classifier.logits(X, batch_size=batch_size)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_file_keeps_every_bit(model, tmp_path):
    for name, own in (
        ("words", model.classifier),
        ("numbers", fitted(labels=X[:, 0] > 0, loss="sigmoid", epochs=1).classifier),
    ):
        path = tmp_path / name
        own.save(path)
        loaded = ls.load_classifier(path)
        assert repr(loaded) == repr(own)
        np.testing.assert_array_equal(loaded.labels, own.labels)
        np.testing.assert_array_equal(loaded.logits(X), own.logits(X))
    assert repr(model.classifier) == "Classifier(3-8-3, softmax, labels 'calm', 'gale', 'storm')"
    assert len(repr(model)) < 1000


@pytest.fixture(scope="module")
def committees():
    """Networks of two sizes, for exclusive classes, one output, and several labels a row."""
    rng = np.random.default_rng(1)

    def of(outputs, labels, loss, **options):
        networks = [
            ls.init_params(jax.random.key(seed), (3, width, outputs))
            for seed, width in enumerate((8, 5, 8))
        ]
        rows = 1 + rng.normal(size=(2, 3)) ** 2
        return ls.Classifier(networks, rows[0], rows[1], np.array(labels), loss, **options)

    return [
        of(3, ["a", "b", "c"], "softmax"),
        of(1, [4, 7], "sigmoid"),
        of(2, [4, 7], "sigmoid"),
        of(3, ["a", "b", "c"], "sigmoid", multilabel=True),
    ]


def test_a_committee_has_the_mean_of_its_members_probabilities(committees):
    for own in committees:
        alone = [dataclasses.replace(own, params=network) for network in own.params]
        mean = np.mean([member.probabilities(X) for member in alone], axis=0)
        np.testing.assert_allclose(own.probabilities(X), mean, rtol=1e-5, atol=1e-7)
        expected = mean > 0.5 if own.multilabel else own.labels[mean.argmax(axis=1)]
        np.testing.assert_array_equal(own.predict(X), expected)
    assert repr(committees[3]) == (
        "Classifier(3 of several sizes, sigmoid, multilabel, labels 'a', 'b', 'c')"
    )
    deep = dataclasses.replace(committees[0], params=ls.init_params(KEY, (4, 8, *[5] * 1000, 3)))
    assert repr(deep).startswith("Classifier(4-8-5 (1,000 times)-3, ")
    with pytest.raises(ValueError, match=r"^labels: expected one a row, but .* multilabel"):
        committees[3].accuracy(X, Y)


def test_a_committee_that_is_sure_has_logits_that_tell_how_sure():
    sure = (ls.Layer(jnp.full((1, 1, 1), 300.0), jnp.zeros((1, 1))),)
    two = jax.tree.map(lambda part: jnp.concatenate([part, part]), sure)
    found = ls.committees.committee_logits(two, jnp.ones(1))
    np.testing.assert_allclose(found, 300.0, rtol=1e-6)


def test_a_file_keeps_a_committee(committees, tmp_path):
    for own in committees:
        own.save(tmp_path / "committee")
        loaded = ls.load_classifier(tmp_path / "committee")
        assert repr(loaded) == repr(own)
        np.testing.assert_array_equal(loaded.probabilities(X), own.probabilities(X))


def test_any_function_of_a_sample_is_applied_to_rows(model):
    found = model.classifier.apply(ls.activations, X, batch_size=50)
    assert [part.shape for part in found] == [(120, 8), (120, 3)]
    rows = jnp.asarray(model.classifier.standardize(X))
    expected = jax.vmap(ls.activations, (None, 0))(model.classifier.params, rows)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


def test_files_that_are_not_a_classifier_are_refused(model, tmp_path):
    model.classifier.save(tmp_path / "model")
    whole = (tmp_path / "model").read_bytes()
    for size in range(0, len(whole), 61):
        (tmp_path / "part").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"^path: expected "):
            ls.load_classifier(tmp_path / "part")
    ls.export.numpy.save(tmp_path / "params", model.classifier.params)
    with pytest.raises(ValueError, match=r"^path: expected a classifier, with mean"):
        ls.load_classifier(tmp_path / "params")
    with np.load(tmp_path / "model") as file:
        arrays = dict(file)
    for name, other in {
        "mean": np.zeros(2), "scale": np.zeros(3), "labels": Y[:2], "loss": np.asarray("hinge"),
    }.items():  # fmt: skip
        with (tmp_path / "other").open("wb") as file:
            np.savez(file, **(arrays | {name: other}))
        with pytest.raises(ValueError, match=r"^path: .* whose parts fit together"):
            ls.load_classifier(tmp_path / "other")


def test_weights_classes_and_seeds_are_those_of_fit():
    one, same = fitted(epochs=3), fitted(epochs=3)
    jax.tree.map(np.testing.assert_array_equal, one.result, same.result)
    weights = (np.arange(len(X)) % 3 > 0).astype(float)
    done = fitted(epochs=3, test=0, sample_weight=weights)
    np.testing.assert_allclose(done.classifier.mean, X[weights > 0].mean(axis=0), rtol=1e-12)
    assert done.accuracy is None
    assert not done.test.any()


def test_a_label_that_was_not_learned_is_an_error_in_the_score(model):
    score = model.classifier.accuracy(X[:4], ["hurricane", *Y[1:4]])
    assert score == np.mean(model.classifier.predict(X[1:4]) == Y[1:4]) * 3 / 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(120)}, "^labels: expected at least two"),
        ({"labels": Y[:-1]}, r"^labels: expected shape \(120,\)"),
        ({"labels": ["only", *["calm"] * 119], "test": np.arange(120) == 0}, "^labels: .*'only'"),
        ({"inputs": X[:, 0]}, r"^inputs: expected shape \(samples, features\)"),
        ({"inputs": np.where(X[3] == X, np.nan, X)}, "^inputs: expected finite"),
        ({"inputs": np.full((120, 1), "x")}, "^inputs: .* real numbers"),
        ({"inputs": np.ma.masked_less(X, 0)}, "^inputs: .* masked"),
        ({"test": 1.0}, "^test: expected"),
        ({"test": 0.001}, "^share: expected"),
        ({"test": np.arange(120)}, "^test: expected a share, or booleans"),
        ({"test": np.ones(120, bool), "validation": np.ones(120, bool)}, "^validation: .* test"),
        ({"loss": "hinge"}, "^loss: expected one of"),
        ({"droput": 0.5}, "droput.*Did you mean 'dropout'"),
        ({"patience": 3}, "^patience: expected validation"),
    ],
)
def test_errors_name_the_argument(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fitted(**{"epochs": 1, **change})


def test_a_classifier_s_inputs_and_labels_are_checked(model):
    classifier = model.classifier
    with pytest.raises(ValueError, match=r"^inputs: expected shape \(samples, 3\)"):
        classifier.predict(X[:, :2])
    with pytest.raises(ValueError, match=r"^inputs: expected finite"):
        classifier.probabilities(X * np.inf)
    with pytest.raises(ValueError, match=r"^labels: expected labels such as 'calm', got 0"):
        classifier.accuracy(X, np.zeros(120, int))
    with pytest.raises(ValueError, match=r"^batch_size: expected"):
        classifier.predict(X, batch_size=0)
