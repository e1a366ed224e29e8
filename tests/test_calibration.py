"""Scores of probabilities, and calibration: against scikit-learn, loops in NumPy, and chance."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import metrics as sklearn

import logistack as ls
from logistack import metrics

MEASURES = (
    metrics.brier_score, metrics.log_loss, metrics.expected_calibration_error, metrics.reliability,
)  # fmt: skip


def draw(seed, samples=200, classes=4):
    """Probabilities, classes that follow them, and weights."""
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.ones(classes), samples).astype(np.float32)
    drawn = (random.random((samples, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    return shares, np.minimum(drawn, classes - 1), random.integers(0, 4, samples)


class TestScores:
    def test_of_exclusive_classes_are_scikit_learn_s(self):
        shares, labels, weights = draw(0)
        for own in (None, weights):
            wanted = sklearn.log_loss(labels, shares, sample_weight=own)
            np.testing.assert_allclose(metrics.log_loss(shares, labels, weights=own), wanted, 1e-5)
            wanted = sklearn.brier_score_loss(
                labels, shares, sample_weight=own, scale_by_half=False
            )
            found = metrics.brier_score(shares, labels, weights=own)
            np.testing.assert_allclose(found, wanted, 1e-5)

    def test_of_one_output_are_those_of_its_class_1(self):
        shares, labels, _ = draw(1, classes=2)
        one, both = (score(shares[:, 1:], labels) for score in MEASURES[:2])
        np.testing.assert_allclose(one, sklearn.brier_score_loss(labels, shares[:, 1]), 1e-5)
        np.testing.assert_allclose(both, sklearn.log_loss(labels, shares), 1e-5)
        rows = labels[:, None].astype(float)
        assert metrics.log_loss(shares[:, 1:], rows) == both

    def test_of_independent_outputs_are_those_of_each_summed(self):
        random = np.random.default_rng(2)
        shares, rows = random.random((50, 3)), random.integers(0, 2, (50, 3)).astype(float)
        wanted = sum(map(sklearn.log_loss, rows.T, shares.T))
        found = metrics.log_loss(shares, rows, independent=True)
        np.testing.assert_allclose(found, wanted, 1e-5)
        wanted = sum(map(sklearn.brier_score_loss, rows.T, shares.T))
        np.testing.assert_allclose(metrics.brier_score(shares, rows), wanted, 1e-5)

    def test_a_loss_that_is_infinite_counts_where_it_has_weight(self):
        shares, labels = jnp.array([[1.0, 0.0], [0.5, 0.5]]), jnp.array([1, 0])
        assert metrics.log_loss(shares, labels) == np.inf
        found = metrics.log_loss(shares, labels, weights=[0, 1])
        np.testing.assert_allclose(found, np.log(2), rtol=1e-6)


def binned(confidence, correct, weights, place, bins):
    """What a reliability diagram shows, by a loop."""
    found = []
    for own in range(bins):
        here = (place == own) & (weights > 0)
        total = weights[here].sum()
        if total:
            found.append([(weights * part)[here].sum() / total for part in (confidence, correct)])
        else:
            found.append([np.nan, np.nan])
        found[-1].append(total)
    return np.array(found).T


class TestReliability:
    @pytest.mark.parametrize("bins", [1, 7, 15])
    def test_bins_of_equal_width_are_those_of_a_loop(self, bins):
        shares, labels, weights = draw(3)
        confidence, correct = shares.max(axis=1), shares.argmax(axis=1) == labels
        place = np.ceil(confidence * bins) - 1
        wanted = binned(confidence, correct, weights, place, bins)
        found = metrics.reliability(shares, labels, bins=bins, weights=weights)
        np.testing.assert_allclose(np.stack(found), wanted, rtol=1e-5)
        gaps = np.abs(wanted[0] - wanted[1])
        error = metrics.expected_calibration_error(shares, labels, bins=bins, weights=weights)
        np.testing.assert_allclose(error, np.nansum(gaps * wanted[2]) / weights.sum(), rtol=1e-5)

    @pytest.mark.parametrize("bins", [1, 7, 15])
    def test_bins_of_equal_mass_have_as_many_samples_in_order(self, bins):
        shares, labels, _ = draw(4)
        confidence, correct = shares.max(axis=1), shares.argmax(axis=1) == labels
        place = np.argsort(np.argsort(confidence)) * bins // 200
        wanted = binned(confidence, correct, np.ones(200), place, bins)
        found = metrics.reliability(shares, labels, bins=bins, equal="mass")
        np.testing.assert_allclose(np.stack(found), wanted, rtol=1e-5)
        assert np.ptp(found.weight) <= 1

    def test_weights_are_copies(self):
        shares, labels, weights = draw(5)
        copies = np.repeat(np.arange(200), weights)
        for equal in ("width", "mass"):
            wanted = metrics.reliability(shares[copies], labels[copies], bins=6, equal=equal)
            found = metrics.reliability(shares, labels, bins=6, equal=equal, weights=weights)
            np.testing.assert_allclose(np.stack(found), np.stack(wanted), rtol=1e-5)

    def test_samples_of_equal_confidence_are_together(self):
        one = np.repeat([0.6, 0.9], [5, 3])[:, None]
        found = metrics.reliability(one, np.ones(8, int), bins=4, equal="mass")
        np.testing.assert_array_equal(found.weight, [5, 0, 3, 0])
        edge = metrics.reliability(np.full((3, 1), 0.8), np.ones(3, int), bins=5)
        np.testing.assert_array_equal(edge.weight, [0, 0, 0, 3, 0])  # (3/5, 4/5]

    def test_the_confidence_of_one_output_is_that_of_the_likelier_class(self):
        shares, labels, _ = draw(6, classes=2)
        for measure in MEASURES[2:]:
            one, both = measure(shares[:, 1:], labels), measure(shares, labels)
            for part, other in zip(jax.tree.leaves(one), jax.tree.leaves(both), strict=True):
                np.testing.assert_allclose(part, other, rtol=1e-5)

    def test_chance_alone_makes_an_error_that_falls_with_the_samples(self):
        # Calibrated by construction: what is found is the bias that the docstring gives.
        for samples in (500, 50_000):
            shares, labels, _ = draw(7, samples)
            found = metrics.expected_calibration_error(shares, labels, bins=10, equal="mass")
            bins = metrics.reliability(shares, labels, bins=10, equal="mass")
            noise = np.sqrt(bins.confidence * (1 - bins.confidence) / bins.weight)
            wanted = np.sqrt(2 / np.pi) * noise.mean()
            assert 0.4 * wanted < found < 1.8 * wanted

    def test_of_digits_overconfidence_is_seen(self):
        train, test = (ls.data.load("digits", split=split) for split in ("train", "test"))
        key = jax.random.key(0)
        result = ls.fit(
            key, ls.init_params(key, (64, 10)), train.inputs, train.targets,
            optimizer=optax.adam(0.05), epochs=30, batch_size=64,
            loss=ls.losses.softmax_cross_entropy,
        )  # fmt: skip
        logits = jax.vmap(ls.logits, (None, 0))(result.params, test.inputs)

        def error(sharpness):
            shares = jax.nn.softmax(sharpness * logits)
            return metrics.expected_calibration_error(shares, test.labels)

        found = [float(error(sharpness)) for sharpness in (0.1, 1.0, 10.0)]
        assert found[1] < 0.03
        assert min(found[0], found[2]) > found[1]


def test_measures_are_traced_and_mapped_over_members():
    shares, labels, _ = draw(8)
    members = jnp.stack([shares, shares[::-1]])
    for measure in MEASURES:
        many = jax.jit(jax.vmap(measure, (0, None)))(members, labels)
        wanted = measure(shares[::-1], labels)
        for part, other in zip(jax.tree.leaves(many), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(part[1], other, rtol=1e-5)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("shares", "targets", "options", "words"),
    [
        (np.ones(3), [0], {}, r"probabilities: expected shape \(samples, outputs\), got \(3,\)"),
        ([[0.5, 1.5]], [0], {}, "probabilities: expected values from 0 to 1, got 0.5 to 1.5"),
        ([[0.5, np.nan]], [0], {}, "probabilities: expected finite values"),
        ([[0.5, 0.5]], [2], {}, "targets: expected integer classes from 0 to 1, got 2"),
        ([[0.5, 0.5]], [0, 1], {}, r"targets: expected shape \(1,\) or \(1, 2\), got \(2,\)"),
        ([[0.5, 0.5]], [0], {"weights": [0]}, "weights: expected a weight above 0"),
        ([[0.5, 0.5]], [0], {"weights": [1, 1]}, r"weights: expected shape \(1,\), got \(2,\)"),
    ],
)
def test_measures_refuse_what_are_no_probabilities(measure, shares, targets, options, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        measure(np.array(shares), np.array(targets), **options)


def test_refuses_what_is_not_exclusive_and_bins_that_are_none():
    with pytest.raises(ValueError, match=r"^probabilities: .* sums from 1.5 to 1.5: independent="):
        metrics.log_loss(jnp.array([[0.75, 0.75]]), jnp.array([0]))
    with pytest.raises(ValueError, match=r"^targets: expected values from 0 to 1, got -1"):
        metrics.brier_score(jnp.array([[0.5, 0.5]]), jnp.array([[-1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"^bins: expected at least 1, got 0"):
        metrics.reliability(jnp.array([[0.5, 0.5]]), jnp.array([0]), bins=0)
    with pytest.raises(ValueError, match=r"^equal: expected 'width' or 'mass', got 'area'"):
        metrics.reliability(jnp.array([[0.5, 0.5]]), jnp.array([0]), equal="area")
