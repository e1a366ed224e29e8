"""Selection: folds hold every sample out once, classes spread evenly; a recipe is chosen."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logistack as ls

KEY = jax.random.key(0)
folds, choose = ls.selection.folds, ls.selection.choose


class TestFolds:
    @pytest.mark.parametrize(
        ("sizes", "count"), [((7, 12, 3), 5), ((1, 1, 1), 3), ((10,), 10), ((101, 2), 2)]
    )
    def test_each_sample_is_held_out_once_and_classes_are_even(self, sizes, count):
        labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
        held_out = np.asarray(folds(KEY, labels, count))
        assert held_out.shape == (count, len(labels))
        np.testing.assert_array_equal(held_out.sum(axis=0), 1)
        assert np.ptp(held_out.sum(axis=1)) <= 1
        for label in range(len(sizes)):
            assert np.ptp(held_out[:, labels == label].sum(axis=1)) <= 1

    def test_are_drawn_by_the_key(self):
        labels = jnp.zeros(60, int)
        one, other = (np.asarray(folds(jax.random.key(seed), labels, 3)) for seed in (0, 1))
        np.testing.assert_array_equal(one, folds(jax.random.key(0), labels, 3))
        # Two of 60 samples in three folds, drawn apart, agree at a third of the places.
        assert 0.1 < (one & other).sum() / 60 < 0.6

    def test_are_members_of_one_program(self):
        x = jnp.linspace(-1.0, 1.0, 30)[:, None]
        y = (x > 0.1).astype(jnp.float32)
        start = ls.init_params(KEY, (1, 1))

        def accuracy(held_out):
            result = ls.fit(
                KEY, start, x, y, optimizer=optax.sgd(0.5), epochs=30,
                sample_weight=~held_out, validation=held_out,
            )  # fmt: skip
            return result.params[0].weight, result.history.validation_accuracy[-1]

        labels = y[:, 0].astype(int)
        weights, accuracies = jax.vmap(accuracy)(folds(KEY, labels, 3))
        rows = np.asarray(folds(KEY, labels, 3))
        assert accuracies.shape == (3,)
        for own, row in zip(weights, rows, strict=True):
            alone = ls.fit(
                KEY, start, x[~row], y[~row], optimizer=optax.sgd(0.5), epochs=30
            )  # fmt: skip
            np.testing.assert_allclose(own, alone.params[0].weight, rtol=1e-5)

    def test_are_traced(self):
        labels = jnp.array([0, 1, 0, 1, 1, 0])
        traced = jax.jit(lambda key, labels: folds(key, labels, 2))(KEY, labels)
        np.testing.assert_array_equal(traced, folds(KEY, labels, 2))

    @pytest.mark.parametrize(
        ("labels", "count", "error", "words"),
        [
            (np.zeros(5, int), 1, ValueError, "count: expected 2 to 5, got 1"),
            (np.zeros(5, int), 6, ValueError, "count: expected 2 to 5, got 6"),
            (np.zeros(5, int), 2.0, TypeError, "count: expected an integer"),
            (np.zeros(5), 2, TypeError, "labels: expected integer classes, got dtype float32"),
            (np.zeros((5, 2), int), 2, ValueError, r"labels: expected shape \(n,\), got \(5, 2\)"),
        ],
    )
    def test_refuse_what_does_not_fit(self, labels, count, error, words):
        with pytest.raises(error, match=f"^{words}"):
            folds(KEY, labels, count)


class TestChoose:
    def test_takes_the_least_mean_and_the_first_of_equals(self):
        assert choose(np.array([3, 1, 2])) == 1
        assert choose(np.array([[0.5, 0.1], [0.2, 0.2], [0.1, 0.3]])) == 1

    def test_a_run_that_diverged_comes_last(self):
        assert choose(np.array([[np.nan, 0.0], [np.inf, 0.0], [0.9, 0.9]])) == 2
        # No -∞ wins either: it is no error that a run can have.
        assert choose(np.array([-np.inf, 0.5])) == 1

    def test_is_traced(self):
        assert jax.jit(choose)(jnp.array([0.3, jnp.nan, 0.2])) == 2

    @pytest.mark.parametrize(
        ("errors", "words"),
        [
            (np.array([np.nan, np.inf]), "errors: expected a candidate whose errors are finite"),
            (np.zeros(0), r"errors: expected shape \(candidates, …\), got \(0,\)"),
            (np.float32(1), r"errors: expected shape \(candidates, …\), got \(\)"),
        ],
    )
    def test_refuses_where_there_is_no_choice(self, errors, words):
        with pytest.raises(ValueError, match=f"^{words}"):
            choose(errors)


class TestHoldOut:
    @pytest.mark.parametrize("share", [0.2, 1 / 3, 0.5, 0.9])
    def test_each_class_gives_its_share(self, share):
        labels = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], [7, 12, 41]))
        row = np.asarray(ls.selection.hold_out(KEY, labels, share))
        assert row.sum() == round(share * 60)
        for label, size in enumerate((7, 12, 41)):
            assert abs(row[labels == label].sum() - share * size) < 1
        other = np.asarray(ls.selection.hold_out(jax.random.key(1), labels, share))
        assert not np.array_equal(row, other)

    @pytest.mark.parametrize("share", [0, 1e-3, 0.99, 1.0, -0.1])
    def test_a_share_is_some_samples_and_leaves_some(self, share):
        with pytest.raises(ValueError, match=r"^share: expected"):
            ls.selection.hold_out(KEY, jnp.zeros(20, int), share)
