"""Committees: a mean of members, by weights that a greedy search finds; and where they disagree."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

import logistack as ls
from logistack.committees import disagreement, greedy_weights, member_probabilities

KEY = jax.random.key(0)


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

    def test_weights_are_copies_of_members(self):
        members, x = self.members(4, 3, 2), jnp.linspace(-1, 1, 4)
        copies = self.stacked([members[place] for place in (0, 0, 0, 2)])
        found = ls.committee(self.stacked(members), x, weights=[3, 0, 1])
        np.testing.assert_allclose(found, ls.committee(copies, x), rtol=1e-6)

    def test_a_member_of_weight_0_is_not_there(self):
        members, x = self.members(4, 2), jnp.ones(4)
        members[1] = jax.tree.map(lambda part: part * jnp.nan, members[1])
        found = ls.committee(self.stacked(members), x, weights=[1, 0, 1])
        wanted = ls.committee(self.stacked(members[::2]), x)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)

    def test_members_may_be_of_any_widths_and_depths(self):
        sizes = [(4, 2), (4, 7, 2), (4, 3, 2), (4, 7, 2), (4, 5, 5, 5, 2)]
        members = [self.members(*own, count=place + 1)[place] for place, own in enumerate(sizes)]
        members[-1] = ls.stack(members[-1])
        x, weights = jnp.linspace(-1, 1, 4), jnp.array([1.0, 2, 3, 4, 5])
        shares = jax.jit(lambda members, x: [ls.forward(params, x) for params in members])(
            members, x
        )
        each, found = jax.jit(
            lambda members, x: (
                member_probabilities(members, x), ls.committee(members, x, weights=weights)
            )
        )(members, x)  # fmt: skip
        np.testing.assert_allclose(each, shares, rtol=1e-6)
        np.testing.assert_allclose(found, np.average(shares, axis=0, weights=weights), rtol=1e-6)

    def test_a_tree_and_a_list_of_its_members_are_the_same(self):
        members, x = self.members(4, 3, 2), jnp.ones(4)
        for outputs in (jax.nn.sigmoid, jax.nn.softmax):
            one, other = (
                ls.committee(given, x, outputs=outputs)
                for given in (members, self.stacked(members))
            )
            np.testing.assert_array_equal(one, other)

    def test_refuses_members_of_a_list_that_are_not_alike(self):
        one, x = self.members(4, 2)[0], jnp.ones(4)
        with pytest.raises(
            ValueError, match=r"^params\[1\]: expected 4 inputs, 2 outputs .*5 inputs"
        ):
            ls.committee([one, self.members(5, 2)[0]], x)
        with pytest.raises(ValueError, match=r"^params: expected at least one network, got none"):
            ls.committee([], x)
        with pytest.raises(TypeError, match=r"^params\[1\]: expected a tuple of Layer, got str"):
            ls.committee([one, "two"], x)

    @pytest.mark.parametrize(
        ("weights", "words"),
        [
            ([1, 1], r"weights: expected shape \(3,\), got \(2,\)"),
            ([0, 0, 0], "weights: expected a weight above 0, got zeros alone"),
            ([1, -1, 1], "weights: expected weights of at least 0, got -1"),
        ],
    )
    def test_refuses_weights_that_are_none(self, weights, words):
        with pytest.raises(ValueError, match=f"^{words}"):
            ls.committee(self.stacked(self.members(4, 2)), jnp.ones(4), weights=weights)


def draw(seed, *shape):
    """Probabilities of classes."""
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1])


class TestDisagreement:
    @pytest.mark.parametrize("weights", [None, [1, 2, 3, 0, 1]])
    def test_is_the_entropy_of_the_mean_less_the_mean_entropy(self, weights):
        shares = draw(0, 5, 4)
        mean = np.average(shares, axis=0, weights=weights)
        own = np.average(stats.entropy(shares, axis=1), weights=weights)
        found = disagreement(shares, weights=weights)
        np.testing.assert_allclose(found.information, stats.entropy(mean) - own, rtol=1e-4)
        other = shares.argmax(axis=1) != mean.argmax()
        np.testing.assert_allclose(found.dissent, np.average(other, weights=weights), rtol=1e-6)

    def test_of_two_is_scipy_s_jensen_shannon_divergence(self):
        one, other = draw(1, 2, 6)
        found = disagreement(np.stack([one, other])).information
        np.testing.assert_allclose(found, jensenshannon(one, other) ** 2, rtol=1e-5)

    def test_of_independent_outputs_is_that_of_each_summed(self):
        shares = np.random.default_rng(2).random((5, 3))
        found = disagreement(shares, independent=True).information
        pairs = [np.stack([1 - column, column], axis=1) for column in shares.T]
        wanted = [disagreement(pair).information for pair in pairs]
        np.testing.assert_allclose(found, np.sum(wanted), rtol=1e-5)
        one = disagreement(shares[:, :1])  # which is always one of two
        np.testing.assert_allclose(one.information, wanted[0], rtol=1e-5)
        vote = shares[:, 0] > 0.5
        assert one.dissent == np.mean(vote != (shares[:, 0].mean() > 0.5))

    def test_has_its_limits(self):
        same = disagreement(np.tile(draw(3, 4), (6, 1)))
        np.testing.assert_allclose(same.information, 0, atol=1e-6)
        assert same.dissent == 0
        apart = disagreement(np.eye(4))
        np.testing.assert_allclose(apart.information, np.log(4), rtol=1e-6)
        assert apart.dissent == 0.75

    def test_is_mapped_over_samples_and_leaves_out_what_does_not_count(self):
        shares = draw(4, 7, 3, 4)
        many = jax.jit(jax.vmap(disagreement))(shares)
        np.testing.assert_allclose(many.information[2], disagreement(shares[2])[0], rtol=1e-5)
        shares[2, 1] = np.nan
        found = disagreement(shares[2], weights=[1, 0, 1])
        np.testing.assert_allclose(found, disagreement(shares[2, ::2]), rtol=1e-5)

    @pytest.mark.parametrize(
        ("shares", "words"),
        [
            (np.ones(3), r"probabilities: expected shape \(members, outputs\), got \(3,\)"),
            ([[0.5, 1.5]], "probabilities: expected values from 0 to 1, got 0.5 to 1.5"),
            ([[0.75, 0.75]], "probabilities: expected those of exclusive classes"),
        ],
    )
    def test_refuses_what_are_no_probabilities(self, shares, words):
        with pytest.raises(ValueError, match=f"^{words}"):
            disagreement(np.array(shares))


def brier(shares, labels):
    return ((shares - np.eye(shares.shape[1])[labels]) ** 2).sum(axis=1).mean()


def by_hand(shares, labels, steps, score):
    """Greedy selection as the paper tells it: the members in the committee, a list."""
    members = range(shares.shape[1])

    def of(places):
        return score(shares[:, list(places)].mean(axis=1), labels)

    order = sorted(members, key=lambda place: of([place]))
    chosen = min((order[: size + 1] for size in members), key=of)
    seen = [chosen]
    for _ in range(steps):
        chosen = [*chosen, min(members, key=lambda place: of([*chosen, place]))]
        seen.append(chosen)
    return min(seen, key=of), [of(places) for places in seen]


class TestGreedyWeights:
    @pytest.mark.parametrize("seed", [5, 6, 7])
    def test_is_the_search_by_hand(self, seed):
        shares, labels = draw(seed, 40, 6, 3), np.random.default_rng(seed).integers(0, 3, 40)
        places, scores = by_hand(shares, labels, 12, brier)
        found = greedy_weights(shares, labels, steps=12)
        np.testing.assert_allclose(found.scores, scores, rtol=1e-5)
        wanted = np.bincount(places, minlength=6) / len(places)
        np.testing.assert_allclose(found.weights, wanted, rtol=1e-6)
        np.testing.assert_array_equal(found.ties, 1)

    def test_takes_another_score(self):
        shares, labels = draw(8, 60, 5, 2), np.random.default_rng(8).integers(0, 2, 60)
        wanted = by_hand(shares, labels, 8, lambda p, y: -np.log(p[np.arange(60), y]).mean())[0]
        found = greedy_weights(shares, labels, steps=8, score=ls.metrics.log_loss)
        np.testing.assert_allclose(found.weights, np.bincount(wanted, minlength=5) / len(wanted))

    def test_weights_give_the_score_that_it_says(self):
        shares, labels = draw(9, 50, 8, 4), np.random.default_rng(9).integers(0, 4, 50)
        found = greedy_weights(shares, labels, steps=20)
        together = np.einsum("m,nmk->nk", found.weights, shares)
        np.testing.assert_allclose(brier(together, labels), found.scores.min(), rtol=1e-5)
        alone = [brier(shares[:, place], labels) for place in range(8)]
        assert found.scores.min() <= min(alone)

    def test_of_equals_the_first_is_taken_and_their_number_told(self):
        shares = np.full((4, 3, 1), 0.25)
        shares[:, 1:] = 0.75  # two that are equal, and better
        found = greedy_weights(shares, np.ones(4, int), steps=2)
        np.testing.assert_array_equal(found.weights, [0, 1, 0])
        np.testing.assert_array_equal(found.ties, [2, 2, 2])

    def test_leaves_out_members_that_diverged(self):
        shares, labels = draw(10, 30, 4, 3), np.random.default_rng(10).integers(0, 3, 30)
        without = greedy_weights(shares[:, 1:], labels, steps=5)
        shares[:, 0] = np.nan
        found = greedy_weights(shares, labels, steps=5)
        np.testing.assert_allclose(found.weights, [0, *without.weights])
        with pytest.raises(
            ValueError, match=r"^probabilities: expected a member whose score is fin"
        ):
            greedy_weights(shares[:, :1], labels)

    def test_is_traced(self):
        shares, labels = draw(11, 30, 4, 3), np.random.default_rng(11).integers(0, 3, 30)
        traced = jax.jit(lambda p, y: greedy_weights(p, y, steps=5))(shares, labels)
        wanted = greedy_weights(shares, labels, steps=5)
        np.testing.assert_allclose(traced.weights, wanted.weights, rtol=1e-6)

    @pytest.mark.parametrize(
        ("shares", "labels", "steps", "words"),
        [
            (np.ones((2, 3)), [0, 1], 1, r"probabilities: expected shape \(samples, members, out"),
            (2 * np.ones((2, 3, 1)), [0, 1], 1, "probabilities: expected values from 0 to 1"),
            (np.ones((2, 3, 1)), [0, 2], 1, "targets: expected integer classes from 0 to 1"),
            (np.ones((2, 3, 1)), [0], 1, r"targets: expected shape \(2,\)"),
            (np.ones((2, 3, 1)), [0, 1], -1, "steps: expected at least 0, got -1"),
        ],
    )
    def test_refuses_what_does_not_fit(self, shares, labels, steps, words):
        with pytest.raises(ValueError, match=f"^{words}"):
            greedy_weights(shares, np.array(labels), steps=steps)


def test_a_committee_of_digits_is_better_than_its_members():
    train, test = (ls.data.load("digits", split=split) for split in ("train", "test"))
    held_out = ls.selection.hold_out(KEY, train.labels, 0.2)
    keys = jax.random.split(KEY, 6)
    params = [
        ls.init_params(key, (64, width, 10))
        for key, width in zip(keys, itertools.cycle([2, 12]), strict=False)
    ]
    result = ls.fit_population(
        keys, params, train.inputs, train.targets, optimizer=optax.adam(0.01), epochs=8,
        batch_size=32, sample_weight=~held_out, loss=ls.losses.softmax_cross_entropy,
    )  # fmt: skip

    def shares(inputs):
        def of(x):
            return member_probabilities(result.params, x, outputs=jax.nn.softmax)

        return jax.vmap(of)(inputs)

    found = greedy_weights(shares(train.inputs[held_out]), train.labels[held_out], steps=20)
    rows = shares(test.inputs)

    def committee(x):
        return ls.committee(result.params, x, weights=found.weights, outputs=jax.nn.softmax)

    together = jax.vmap(committee)(test.inputs)
    alone = [brier(rows[:, place], test.labels) for place in range(6)]
    assert brier(np.asarray(together), test.labels) < min(alone)
    # Two units do not tell ten digits apart, which the search sees.
    assert found.weights[::2].sum() < 0.2
    wrong = together.argmax(axis=1) != test.labels
    unsure = jax.vmap(lambda row: disagreement(row, weights=found.weights))(rows).information
    assert unsure[wrong].mean() > 1.2 * unsure[~wrong].mean()
