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


class TestCommittee:
    def members(self, *sizes, count=3):
        keys = jax.random.split(KEY, count)
        return [ls.init_params(key, sizes) for key in keys]

    def stacked(self, members):
        return jax.tree.map(lambda *each: jnp.stack(each), *members)

    @pytest.mark.parametrize("join", [lambda params: params, ls.stack])
    def test_is_the_mean_of_its_members_in_numpy(self, join):
        members = self.members(4, 5, 5, 5, 2)
        x = np.linspace(-1, 1, 4)
        shares = []
        for params in members:
            a = x
            for weight, bias in jax.tree.map(lambda part: np.asarray(part, float), params):
                a = 1 / (1 + np.exp(-(weight @ a + bias)))
            shares.append(a)
        found = ls.committee(self.stacked([join(params) for params in members]), x)
        np.testing.assert_allclose(found, np.mean(shares, axis=0), rtol=1e-5)

    def test_of_softmax_members_has_a_sum_of_1(self):
        members = self.members(4, 3)
        x = jnp.ones(4)
        found = ls.committee(self.stacked(members), x, outputs=jax.nn.softmax)
        wanted = []
        for weight, bias in (params[0] for params in members):
            z = np.exp(np.asarray(weight @ x + bias, float))
            wanted.append(z / z.sum())
        np.testing.assert_allclose(found, np.mean(wanted, axis=0), rtol=1e-5)
        np.testing.assert_allclose(found.sum(), 1, rtol=1e-6)

    def test_takes_one_sample_and_is_mapped_over_many(self):
        params = self.stacked(self.members(4, 2))
        many = jax.jit(jax.vmap(ls.committee, in_axes=(None, 0)))(params, jnp.eye(4))
        np.testing.assert_allclose(many[1], ls.committee(params, jnp.eye(4)[1]), rtol=1e-6)
        with pytest.raises(ValueError, match=r"^x: expected shape \(4,\), got \(2, 4\)"):
            ls.committee(params, jnp.ones((2, 4)))

    def test_refuses_members_that_are_not_there_or_not_alike(self):
        (layer,) = self.stacked(self.members(4, 2))
        with pytest.raises(ValueError, match=r"^params: expected arrays with one .* \[2, 3\]"):
            ls.committee((layer._replace(bias=layer.bias[:2]),), jnp.ones(4))
        empty = jax.tree.map(lambda part: part[:0], (layer,))
        with pytest.raises(ValueError, match=r"^params: expected arrays with one leading member"):
            ls.committee(empty, jnp.ones(4))
        with pytest.raises(TypeError, match=r"^params: expected a tuple of Layer, got Layer"):
            ls.committee(layer, jnp.ones(4))
        alone = self.members(4, 2)[0]
        with pytest.raises(ValueError, match=r"params\[0\]"):  # no member axis
            ls.committee(alone, jnp.ones(4))


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
