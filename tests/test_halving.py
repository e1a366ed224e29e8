"""Successive halving: who goes on, in how many epochs, and that those who do lose nothing by it.

The oracle of the search is the whole population trained to the end by `fit_population`, of which
the rule picks by hand; that of a survivor is `fit`. They agree within 1e-5, as XLA rounds
otherwise in products of another number of members.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logistack as ls
from logistack.training import halving

MEMBERS, EPOCHS = 6, 8
KEYS = jax.random.split(jax.random.key(0), MEMBERS)
X = jax.random.normal(jax.random.key(1), (32, 4))
Y = jnp.argmax(X[:, :3] + 0.5 * jax.random.normal(jax.random.key(2), (32, 3)), axis=1)
START = jax.vmap(lambda key: ls.init_params(key, (4, 6, 3)))(KEYS)
RATES = jnp.array([0.0003, 0.03, 0.001, 0.1, 0.003, 0.01])
OPTIONS = {
    "optimizer": optax.adam,
    "hyperparams": {"learning_rate": RATES},
    "epochs": EPOCHS,
    "batch_size": 8,
    "loss": ls.losses.softmax_cross_entropy,
    "sample_weight": jax.random.bernoulli(jax.random.key(3), 0.7, (MEMBERS, 20)),
    "validation": (X[20:], Y[20:]),
    "dropout": jnp.linspace(0.0, 0.3, MEMBERS),
    "patience": jnp.full(MEMBERS, 20),
}


def search(keys=KEYS, params=START, rounds=3, **options):
    options = {**OPTIONS, **options}
    return ls.successive_halving(keys, params, X[:20], Y[:20], rounds=rounds, **options)


def rates(values):
    return {"learning_rate": jnp.array(values, jnp.float32)}


def by_hand(losses, schedule, factor):
    """Who goes on after each round, of validation losses `(members, epochs)` of all to the end."""
    scores = np.full((len(losses), len(schedule)), np.nan)
    members = list(range(len(losses)))
    for place, epoch in enumerate(schedule):
        for member in members:
            scores[member, place] = min(losses[member, :epoch])
        members.sort(key=lambda member: (scores[member, place], member))
        if epoch != schedule[-1]:
            members = members[: math.ceil(len(members) / factor)]
    return members, scores


def assert_near(ours, theirs, rtol=1e-5):
    for one, other in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        scale = np.nanmax(np.abs(np.asarray(other, float)), initial=0)
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * scale)


@pytest.fixture(scope="module")
def found():
    return search()


class TestSearch:
    def test_the_best_of_each_round_go_on(self, found):
        whole = ls.fit_population(KEYS, START, X[:20], Y[:20], **OPTIONS)
        members, scores = by_hand(np.asarray(whole.history.validation_loss), [2, 4, 8], 2)
        np.testing.assert_array_equal(found.schedule, [2, 4, 8])
        np.testing.assert_array_equal(found.members, members)
        np.testing.assert_allclose(found.scores, scores, rtol=1e-5)

    def test_a_survivor_is_what_fit_makes_of_it_with_its_own_numbers_and_weights(self, found):
        for place, member in enumerate(found.members):
            own = {name: OPTIONS[name][member] for name in ("sample_weight", "dropout", "patience")}
            alone = ls.fit(
                KEYS[member], jax.tree.map(lambda leaf, m=member: leaf[m], START), X[:20], Y[:20],
                **OPTIONS | own | {"hyperparams": {"learning_rate": RATES[member]}},
            )  # fmt: skip
            assert_near(jax.tree.map(lambda leaf, p=place: leaf[p], found.result), alone)

    def test_runs_as_many_epochs_as_the_schedule_says(self, found):
        # Six members run 2 epochs, three of them 2 more, and two of these 4 more.
        assert sorted(found.epochs) == [2, 2, 2, 4, 8, 8]
        assert found.epochs.sum() == 6 * 2 + 3 * 2 + 2 * 4 < MEMBERS * EPOCHS
        np.testing.assert_array_equal((~np.isnan(found.scores)).sum(axis=0), [6, 3, 2])
        np.testing.assert_array_equal(found.result.state.epoch, found.epochs[found.members])

    def test_is_the_same_in_blocks(self, found):
        blocks = search(block_size=2)
        np.testing.assert_array_equal(blocks.members, found.members)
        np.testing.assert_array_equal(blocks.epochs, found.epochs)
        assert_near(blocks.result, found.result)

    def test_of_equals_the_first_go_on(self):
        same = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * MEMBERS), (KEYS, START))
        options = {"sample_weight": None, "dropout": jnp.zeros(MEMBERS)}
        equal = search(*same, hyperparams=rates([0.01] * MEMBERS), **options)
        np.testing.assert_array_equal(equal.members, [0, 1])

    def test_one_that_has_stopped_by_its_patience_keeps_what_it_has(self, found):
        # The first starts from the best of before, and never learns.
        params = jax.tree.map(
            lambda all_, best: all_.at[0].set(best[0]), START, found.result.params
        )
        patience = OPTIONS["patience"].at[0].set(1)
        stopped = search(
            params=params, patience=patience, hyperparams={"learning_rate": RATES.at[0].set(0.0)}
        )
        place = stopped.members.tolist().index(0)
        assert stopped.epochs[0] == 2
        assert np.isnan(stopped.result.history.loss[place, 2:]).all()
        np.testing.assert_allclose(stopped.scores[0], found.scores[found.members[0], -1], 1e-5)

    def test_networks_of_several_sizes_in_one_order_come_back_by_rank(self):
        sizes = [(4, 5, 3), (4, 3), (4, 6, 3), (4, 3), (4, 6, 3), (4, 3)]
        networks = [ls.init_params(key, own) for key, own in zip(KEYS, sizes, strict=True)]
        options = {
            "order": "shared", "dropout": 0.0, "hyperparams": rates([0.03, 1e-5, 0.1, 1e-5, 0.05, 1e-4])
        }  # fmt: skip
        found = search(params=networks, rounds=2, factor=3, **options)
        whole = ls.fit_population(KEYS, networks, X[:20], Y[:20], **OPTIONS | options)
        members, scores = by_hand(np.asarray(whole.history.validation_loss), [2, 8], 3)
        assert set(members) < {0, 2, 4}  # the group without a hidden layer is gone
        np.testing.assert_array_equal(found.members, members)
        np.testing.assert_allclose(found.scores, scores, rtol=1e-4)
        for place, member in enumerate(members):
            ours = found.result.params[place], found.result.state[place]
            assert_near(ours, (whole.params[member], whole.state[member]), rtol=1e-4)
            assert_near(found.result.history.loss[place], whole.history.loss[member])


class TestNotFinite:
    def test_members_that_are_not_finite_go_before_any_that_is(self, found):
        # Of the six, fewer are left than might go on.
        wild = np.where([True, False, True, True, False, True], np.inf, 1.0)
        with pytest.warns(RuntimeWarning, match="of 4 of 6 members .* member 0 in epoch 1"):
            left = search(hyperparams=rates(np.minimum(RATES * wild, 3e38)))
        assert left.members == [1]  # two went on, not three
        np.testing.assert_array_equal(left.epochs, [0, 8, 0, 0, 4, 0])
        np.testing.assert_array_equal(np.isnan(left.scores[:, 0]), wild == np.inf)
        np.testing.assert_allclose(left.scores[1, 0], found.scores[1, 0], rtol=1e-5)

    def test_where_none_is_finite_the_search_ends(self):
        with pytest.warns(RuntimeWarning, match="of 6 of 6 members"):
            none = search(hyperparams=rates([3e38] * MEMBERS))
        np.testing.assert_array_equal(none.members, range(MEMBERS))
        assert np.isnan(none.scores).all()
        assert none.result.history.loss.shape == (MEMBERS, EPOCHS)
        assert_near(none.result.params, START, rtol=0)


@pytest.mark.parametrize(
    ("epochs", "factor", "members", "rounds", "schedule"),
    [
        (81, 3, 81, None, [1, 3, 9, 27, 81]),  # Li et al. 2018, table 1, s = 4
        (81, 3, 27, None, [3, 9, 27, 81]),  # s = 3
        (81, 3, 28, None, [1, 3, 9, 27, 81]),
        (100, 2, 3, None, [25, 50, 100]),
        (10, 2, 1000, None, [1, 2, 5, 10]),
        (10, 4, 1, None, [10]),
        (10, 2, 2, 4, [1, 2, 5, 10]),
        (7, 9, 50, 1, [7]),
    ],
)
def test_rounds_end_at_epochs_that_grow_by_the_factor(epochs, factor, members, rounds, schedule):
    assert halving.schedule_of(epochs, factor, members, rounds) == schedule


def test_ctrl_c_leaves_those_that_were_in_as_the_round_before_left_them(found, monkeypatch):
    train = halving.train

    def interrupted(job):
        if job.epochs == 4:  # the last round
            raise KeyboardInterrupt
        return train(job)

    monkeypatch.setattr(halving, "train", interrupted)
    with pytest.raises(ls.Interrupted, match="SIGINT in round 3 of 3, with 2 of 6 members") as stop:
        search()
    np.testing.assert_array_equal(stop.value.result.state.epoch, [4, 4])
    history = stop.value.result.history
    # Both went on, the better of round 2 first.
    best = sorted(found.members, key=lambda member: found.scores[member, 1])
    order = [found.members.tolist().index(member) for member in best]
    assert_near(history.loss[:, :4], found.result.history.loss[jnp.array(order), :4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 1}, "^factor: expected at least 2, got 1"),
        ({"factor": 2.5}, r"^factor: expected an integer, got 2\.5"),
        ({"validation": None}, "^validation: expected samples to judge the members by, got none"),
        ({"rounds": 5}, "^rounds: expected at most 4 for 8 epochs and a factor of 2"),
        ({"rounds": 0}, "^rounds: expected at least 1, got 0"),
        ({"epochs": 0}, "^epochs: expected at least 1, got 0"),
        ({"block_size": 0}, "^block_size: expected at least 1, got 0"),
        ({"mesh": 2}, r"^mesh: expected a jax\.sharding\.Mesh, got int"),
        ({"keys": KEYS[:2]}, "^params: expected a leading axis of 2 members everywhere"),
        ({"droput": 0.5}, r"^successive_halving\(\) got an unexpected keyword argument 'droput'"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        search(**options)


def test_traced_arrays_are_refused():
    with pytest.raises(TypeError, match=r"^successive_halving: expected concrete arrays"):
        jax.jit(lambda params: search(params=params).result)(START)
