"""Conformal sets: they hold the class as often as was asked, over and over, of any network."""

import fractions

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import logistack as ls
from logistack.conformal import adaptive, coverage, least_ambiguous, prediction_set, threshold

SCORES = (least_ambiguous, adaptive)


def draw(seed, samples, classes=5):
    """Classes, and probabilities that are far from theirs."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, samples)
    logits = random.normal(size=(samples, classes)) + 2 * np.eye(classes)[labels]
    shares = np.exp(3 * logits)  # overconfident
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32), labels


def sets_of(shares, found, score=least_ambiguous):
    return jax.vmap(lambda own: prediction_set(own, found, score=score))(shares)


class TestThreshold:
    @pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2, 0.3, 0.5, 0.7])
    @pytest.mark.parametrize("samples", [9, 19, 99, 50])
    def test_is_the_smallest_score_that_is_enough(self, alpha, samples):
        shares, labels = draw(0, samples)
        found = threshold(shares, labels, alpha=alpha)
        scores = np.append(1 - shares[np.arange(samples), labels], np.inf)
        # Of n + 1 scores of which the last is ∞, so many at least are at most the threshold.
        wanted = (samples + 1) * (1 - fractions.Fraction(str(alpha)))
        enough = [score for score in np.sort(scores) if (scores <= score).sum() >= wanted]
        assert found == np.float32(enough[0])

    def test_decimals_are_what_they_say(self):
        # In binary, 10 · (1 − 0.1) is more than 9, whose ceiling is 10, and there are 9 scores.
        shares, labels = draw(1, 9)
        assert threshold(shares, labels, alpha=0.1) == (1 - shares[np.arange(9), labels]).max()

    def test_is_infinite_where_there_are_too_few(self):
        shares, labels = draw(2, 8)
        found = threshold(shares, labels, alpha=0.1)
        assert found == np.inf
        assert sets_of(shares, found).all()


class TestSets:
    @pytest.mark.parametrize("score", SCORES)
    def test_hold_the_class_as_often_as_was_asked(self, score):
        # 200 times, 49 samples to calibrate and 200 to try, of a network that is overconfident.
        @jax.jit
        def held(shares, labels):
            found = threshold(shares[:49], labels[:49], alpha=0.2, score=score)
            sets = sets_of(shares[49:], found, score)
            return jnp.take_along_axis(sets, labels[49:, None], axis=1).mean()

        shares, labels = draw(3, 200 * 249)
        shares, labels = shares.reshape(200, 249, 5), labels.reshape(200, 249)
        share = np.mean([held(*each) for each in zip(shares, labels, strict=True)])
        # At least 0.8, and at most 1 / 50 more without ties; a deviation of 0.004 is chance.
        assert share > 0.79
        if score is least_ambiguous:
            assert share < 0.83

    def test_adaptive_ones_are_never_empty_and_in_order_of_probability(self):
        shares, labels = draw(4, 300)
        sets = np.asarray(sets_of(shares, threshold(shares, labels, score=adaptive), adaptive))
        assert sets[np.arange(300), shares.argmax(axis=1)].all()
        ranked = np.take_along_axis(sets, np.argsort(-shares, axis=1), axis=1)
        np.testing.assert_array_equal(ranked, np.sort(ranked, axis=1)[:, ::-1])

    def test_adaptive_scores_are_sums_in_order(self):
        (shares,), _ = draw(5, 1)
        order = np.argsort(-shares)
        wanted = np.empty(5)
        wanted[order] = np.cumsum(shares[order]) - shares[order]
        np.testing.assert_allclose(adaptive(jnp.asarray(shares)), wanted, atol=1e-6)

    def test_of_one_output_are_those_of_its_two_classes(self):
        shares, labels = draw(6, 60, classes=2)
        one = threshold(shares[:, 1:], labels)
        np.testing.assert_allclose(one, threshold(shares, labels), rtol=1e-5)
        np.testing.assert_array_equal(sets_of(shares[:, 1:], 0.6), sets_of(shares, 0.6))

    def test_of_digits_are_covered(self):
        train, test = (ls.data.load("digits", split=split) for split in ("train", "test"))
        key = jax.random.key(0)
        held_out = ls.selection.hold_out(key, train.labels, 0.3)
        result = ls.fit(
            key, ls.init_params(key, (64, 10)), train.inputs, train.targets,
            optimizer=optax.adam(0.01), epochs=10, batch_size=32, sample_weight=~held_out,
            loss=ls.losses.softmax_cross_entropy,
        )  # fmt: skip
        logits = jax.jit(jax.vmap(ls.logits, (None, 0)))
        calibration, trial = (
            jax.nn.softmax(logits(result.params, inputs))
            for inputs in (train.inputs[held_out], test.inputs)
        )
        found = threshold(calibration, train.labels[held_out], alpha=0.02)
        measured = coverage(sets_of(trial, found), test.labels)
        assert measured.low < 0.98 < measured.high
        assert 1 < measured.size < 2


class TestCoverage:
    def test_counts_and_has_the_interval_of_clopper_and_pearson(self):
        random = np.random.default_rng(7)
        sets, labels = random.random((40, 3)) < 0.4, random.integers(0, 3, 40)
        found = coverage(sets, labels, confidence=0.9)
        held = sum(own[label] for own, label in zip(sets, labels, strict=True))
        assert found.share == held / 40
        assert (found.size, found.samples) == (sets.sum() / 40, 40)
        assert found.empty == np.mean([not own.any() for own in sets])
        # Its ends are where so many, or more, and so many, or fewer, have probability 5%.
        np.testing.assert_allclose(stats.binom.sf(held - 1, 40, found.low), 0.05)
        np.testing.assert_allclose(stats.binom.cdf(held, 40, found.high), 0.05)

    def test_of_all_and_of_none(self):
        labels = np.zeros(10, int)
        whole, none = (coverage(np.full((10, 2), each), labels) for each in (True, False))
        assert (whole.share, whole.high, whole.size, whole.empty) == (1, 1, 2, 0)
        assert (none.share, none.low, none.size, none.empty) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: threshold(np.ones(3), [0]), ValueError, r"probabilities: expected shape \(sam"),
        (lambda: threshold([[2.0, 0]], [0]), ValueError, "probabilities: expected values from 0"),
        (lambda: threshold([[0.5, 0.5]], [2]), ValueError, "targets: expected integer classes"),
        (lambda: threshold([[0.5, 0.5]], [0], alpha=0), ValueError, "alpha: expected a number abo"),
        (lambda: threshold([[0.5, 0.5]], [0], alpha=1), ValueError, "alpha: expected a number abo"),
        (lambda: threshold([[0.5, 0.5]], [0], alpha="a"), TypeError, "alpha: expected a number"),
        (lambda: prediction_set(np.ones((2, 2)), 1), ValueError, "probabilities: .*use jax.vmap"),
        (lambda: prediction_set([0.5, 2], 1), ValueError, "probabilities: expected values from 0"),
        (lambda: prediction_set([0.5, 0.5], [1]), ValueError, "threshold: expected a scalar"),
        (lambda: coverage([[1, 0]], [0]), TypeError, "sets: expected booleans, got dtype int"),
        (lambda: coverage([[True]], [2]), ValueError, "targets: expected integer classes from 0"),
    ],
)
def test_refuses_what_does_not_fit(call, error, words):
    with pytest.raises(error, match=f"^{words}"):
        call()
