"""A population: every member is what `fit` makes of it alone.

Members agree with `fit` within 2e-6 of the largest number of an array in float32, after 10 epochs:
XLA multiplies many matrices at once in another order than one. `==` holds between calls of one
program: chunks of epochs, and members whose keys alone differ from those of another call.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import logistack as ls
from logistack._static import Static
from logistack.estimator.optimizers import OPTIMIZERS, build
from logistack.training import joining
from logistack.training import sizes as sizes_module
from logistack.training.groups import prepare_members
from logistack.training.population import compiled_advance_members
from logistack.training.spread import mesh_for

KEY = jax.random.key(0)
MEMBERS = 3
KEYS = jax.random.split(KEY, MEMBERS)
X = jax.random.normal(jax.random.key(1), (24, 4))
CLASSES = jax.random.randint(jax.random.key(2), (24,), 0, 3)
START = jax.vmap(lambda key: ls.init_params(key, (4, 6, 3)))(KEYS)
FOLDS = ls.selection.folds(KEY, CLASSES, MEMBERS)
RATES = jnp.array([0.003, 0.01, 0.03])


def population(keys=KEYS, params=START, x=X, y=CLASSES, **options):
    options = {
        "optimizer": optax.sgd(0.02), "epochs": 10, "batch_size": 8,
        "loss": ls.losses.softmax_cross_entropy, **options,
    }  # fmt: skip
    return ls.fit_population(keys, params, x, y, **options)


def member(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def of_member(value, index):
    """An option of `fit_population` as `fit` takes it for one member."""
    if isinstance(value, dict):
        return {name: of_member(number, index) for name, number in value.items()}
    if type(value) is tuple:
        return tuple(of_member(number, index) for number in value)
    return value[index] if isinstance(value, jax.Array) and len(value) == MEMBERS else value


def alone(index, keys=KEYS, params=START, x=X, y=CLASSES, **options):
    options = {
        "optimizer": optax.sgd(0.02), "epochs": 10, "batch_size": 8,
        "loss": ls.losses.softmax_cross_entropy, **options,
    }  # fmt: skip
    options = {name: of_member(value, index) for name, value in options.items()}
    return ls.fit(keys[index], member(params, index), x, y, **options)


def assert_near(ours, theirs, rtol=2e-6):
    # An average with β = 0 is the parameters themselves, of which `fit` alone keeps none.
    parts = [
        jax.tree.leaves((result.params, result.history, result.state._replace(average=None)))
        for result in (ours, theirs)
    ]
    for one, other in zip(*parts, strict=True):
        if jnp.issubdtype(one.dtype, jnp.floating):
            scale = float(jnp.max(jnp.abs(jnp.nan_to_num(other)), initial=0.0))
            np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * scale)
        else:
            np.testing.assert_array_equal(one, other)


ONE_OR_EACH = {
    "optimizer": st.sampled_from([optax.sgd, optax.nadam, optax.adamw]),
    "hyperparams": st.sampled_from([{"learning_rate": 0.01}, {"learning_rate": RATES}]),
    "batch_size": st.sampled_from([None, 8, 10]),
    "loss": st.sampled_from([ls.losses.softmax_cross_entropy, ls.losses.sigmoid_cross_entropy]),
    "reduction": st.sampled_from(["sum", "mean"]),
    "coordinates": st.sampled_from(["plain", "centred"]),
    "sample_weight": st.sampled_from([None, 1.0 - FOLDS, jnp.arange(24.0) % 4]),
    "validation": st.sampled_from([FOLDS, FOLDS[0], (X[:9], jnp.eye(3)[CLASSES[:9]])]),
    "patience": st.sampled_from([None, 2, jnp.array([1, 2, 20])]),
    "min_delta": st.sampled_from([0.0, jnp.array([0.0, 0.1, 0.5])]),
    "class_weight": st.sampled_from([None, "balanced", 100 * jnp.outer(RATES, RATES)]),
    "label_smoothing": st.sampled_from([0.0, jnp.array([0.0, 0.1, 0.3])]),
    "ema_decay": st.sampled_from([0.0, jnp.array([0.5, 0.0, 0.9])]),
    "dropout": st.sampled_from(
        [0.0, jnp.array([0.0, 0.2, 0.5]), (0.1, jnp.array([0.3, 0.0, 0.5]))]
    ),
}


class TestMembers:
    @given(st.fixed_dictionaries(ONE_OR_EACH))
    @settings(max_examples=5)
    def test_each_is_what_fit_makes_of_it(self, options):
        y = jnp.eye(3)[CLASSES]
        together = population(y=y, **options)
        for index in range(MEMBERS):
            assert_near(member(together, index), alone(index, y=y, **options))

    @given(st.fixed_dictionaries(ONE_OR_EACH | {"dropout": st.just(0.0)}))
    @settings(max_examples=3)
    def test_in_a_shared_order_each_is_what_fit_with_the_first_key_makes_of_it(self, options):
        y = jnp.eye(3)[CLASSES]
        together = population(y=y, order="shared", **options)
        keys = jnp.stack([KEYS[0]] * MEMBERS)
        for index in range(MEMBERS):
            assert_near(member(together, index), alone(index, keys=keys, y=y, **options))

    @pytest.mark.parametrize("order", ["own", "shared"])
    def test_those_that_are_masked_have_nothing_of_what_they_leave_out(self, order):
        # A target of −1 has an infinite loss here, and only the second member looks at it.
        def loss(z, target):
            return jnp.sum((z - jnp.log(1 + target)) ** 2)

        y = jnp.eye(3)[CLASSES].at[5].set(-1.0)
        weights = jnp.ones((MEMBERS, 24)).at[jnp.array([0, 2]), 5].set(0.0)
        with pytest.warns(RuntimeWarning, match="of 1 of 3 members .* member 1 in epoch 1"):
            result = population(
                y=y, loss=loss, sample_weight=weights, validation=weights, order=order,
                optimizer=optax.sgd(0.001),
            )  # fmt: skip
        np.testing.assert_array_equal(result.state.epoch, [10, 0, 10])
        assert np.isfinite(result.history.validation_loss[jnp.array([0, 2])]).all()
        jax.tree.map(np.testing.assert_array_equal, member(result.params, 1), member(START, 1))

    @pytest.mark.parametrize(
        "options",
        [
            {"batch_size": 5, "dropout": 0.3},
            {"batch_size": 10, "class_weight": "balanced", "sample_weight": jnp.arange(24.0) % 4},
            {"batch_size": None, "class_weight": "balanced"},
            {"batch_size": None, "sample_weight": 1.0 - FOLDS, "validation": FOLDS},
        ],
    )
    @pytest.mark.parametrize("numbers", [(17, 20, 18), (32, 32, 32)])  # these are 24 samples
    def test_each_learns_from_rows_of_its_own(self, options, numbers):
        rng = np.random.default_rng(0)
        rows = [rng.choice(24, number, replace=number > 24) for number in numbers]
        together = population(rows=rows, **options)
        for index, own in enumerate(rows):
            held = options.get("validation")
            mine = {"validation": (X, CLASSES, held[index])} if held is not None else {}
            weights = options.get("sample_weight")
            if weights is not None:
                mine["sample_weight"] = (weights if weights.ndim == 1 else weights[index])[own]
            one = ls.fit(
                KEYS[index], member(START, index), X[own], CLASSES[own],
                **{"optimizer": optax.sgd(0.02), "epochs": 10,
                   "loss": ls.losses.softmax_cross_entropy, **options, **mine},
            )  # fmt: skip
            ours = member(together, index)
            assert_near(ours, one)

    def test_deep_runs_of_equal_layers_come_back_as_they_were_given(self):
        start = jax.vmap(lambda key: ls.init_params(key, (4, *[5] * 17, 3)))(KEYS)
        result = population(params=start, epochs=2, coordinates="centred")
        assert jax.tree.structure(result.params) == jax.tree.structure(start)
        for index in range(MEMBERS):
            one = alone(index, params=start, epochs=2, coordinates="centred")
            assert_near(member(result, index), one, rtol=1e-5)

    def test_a_key_of_the_old_kind_is_a_key(self):
        keys = jax.random.split(jax.random.PRNGKey(0), MEMBERS)
        result = population(keys=keys, epochs=2, dropout=0.5)
        assert_near(member(result, 1), alone(1, keys=keys, epochs=2, dropout=0.5))


class TestRuns:
    @pytest.mark.parametrize("order", ["own", "shared"])
    def test_epochs_at_once_and_in_parts_are_the_same_bits(self, order):
        options = {
            "optimizer": optax.adam, "hyperparams": {"learning_rate": RATES}, "order": order,
            "validation": FOLDS, "sample_weight": ~FOLDS, "dropout": 0.3, "ema_decay": 0.9,
        }  # fmt: skip
        whole = population(epochs=4, **options)
        part = population(epochs=3, **options)
        part = population(params=part.state, epochs=1, **options)
        jax.tree.map(np.testing.assert_array_equal, part.state, whole.state)
        jax.tree.map(np.testing.assert_array_equal, part.params, whole.params)

    def test_is_one_program_whatever_the_numbers(self):
        def run(rates):
            return population(
                optimizer=optax.sgd, hyperparams={"learning_rate": rates}, epochs=2,
                label_smoothing=rates,
            )  # fmt: skip

        run(RATES)
        program = compiled_advance_members(mesh_for(MEMBERS, ()))
        before = program._cache_size()
        run(RATES * 2)
        assert program._cache_size() == before > 0

    def test_composes_with_jit_grad_and_vmap(self):
        def loss(rates):
            result = population(optimizer=optax.sgd, hyperparams={"learning_rate": rates}, epochs=3)
            return result.history.loss[:, -1].sum()

        gradient = jax.jit(jax.grad(loss))(RATES)
        for index in range(MEMBERS):
            step = jnp.zeros(MEMBERS).at[index].set(1e-3)
            slope = (loss(RATES + step) - loss(RATES - step)) / 2e-3
            np.testing.assert_allclose(gradient[index], slope, rtol=0.02)
        both = jax.vmap(loss)(jnp.stack([RATES, 2 * RATES]))
        np.testing.assert_allclose(both[1], loss(2 * RATES), rtol=1e-5)

    def test_members_that_stopped_cost_no_epochs(self):
        result = population(
            epochs=100_000, validation=FOLDS, patience=1, optimizer=optax.sgd(0.0), batch_size=None
        )
        np.testing.assert_array_equal(result.state.epoch, 2)

    def test_epochs_that_did_not_run_are_nan_where_jax_looks_for_nan(self):
        options = {"validation": FOLDS, "patience": jnp.array([1, 20, 20]), "epochs": 5}
        options |= {"optimizer": optax.sgd(0.0)}
        expected = population(**options)
        with jax.debug_nans(True):
            found = population(**options)
        assert np.isnan(found.history.loss[0, 2:]).all()
        jax.tree.map(np.testing.assert_array_equal, found.history, expected.history)


SIZES = [(4, 8, 3), (4, 3), (4, 9, 3), (4, 5, 6, 3), (4, 6, 5, 3), (4, 3, 3), (4, *[5] * 17, 3)]
NETWORKS = [
    ls.init_params(key, own) for key, own in zip(jax.random.split(KEY, 7), SIZES, strict=True)
]
SEVEN = jax.random.split(jax.random.key(5), 7)


class TestSizes:
    @pytest.mark.parametrize(
        ("optimizer", "options"),
        [
            (optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.01)), {"ema_decay": 0.9}),
            (
                optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.05, momentum=0.9)),
                {"coordinates": "centred", "validation": (X, CLASSES), "patience": 3},
            ),
            (optax.contrib.muon(0.01), {"dropout": 0.0}),  # which sees how large a layer is
        ],
        ids=["adamw", "centred", "muon"],
    )
    def test_each_network_is_what_fit_makes_of_it(self, optimizer, options):
        options = {"dropout": (0.1, 0.3), **options, "optimizer": optimizer}
        count = 6 if "centred" not in options.get("coordinates", "") else 7
        result = population(SEVEN[:count], NETWORKS[:count], **options)
        layers = result.history.saturated.shape[2]
        assert isinstance(result.params, list)
        for index, network in enumerate(NETWORKS[:count]):
            one = ls.fit(
                SEVEN[index], network, X, CLASSES, epochs=10, batch_size=8,
                loss=ls.losses.softmax_cross_entropy, **options,
            )  # fmt: skip
            own = member(result.history, index)
            there = np.arange(layers) < len(SIZES[index]) - 1
            assert np.isnan(own.saturated[:, ~there]).all()
            own = own._replace(
                saturated=own.saturated[:, there], gradient_norm=own.gradient_norm[:, there]
            )
            mine = ls.FitResult(result.params[index], result.state[index], own)
            assert jax.tree.structure(mine.state) == jax.tree.structure(one.state)
            assert mine.epoch == one.epoch == result.epoch[index]
            # Muon amplifies what rounding leaves, and so does depth.
            assert_near(mine, one, rtol=2e-4 if len(SIZES[index]) > 5 else 2e-5)

    def test_steps_of_all_samples_leave_out_units_that_are_not_there(self):
        options = {"optimizer": optax.adam(0.05), "epochs": 5, "batch_size": None}
        networks = [ls.init_params(KEY, (4, width, 3)) for width in (4, 3)]
        result = population(SEVEN[:2], networks, **options)
        for index, network in enumerate(networks):
            one = ls.fit(
                SEVEN[index], network, X, CLASSES,
                loss=ls.losses.softmax_cross_entropy, **options,
            )  # fmt: skip
            for mine, theirs in zip(result.params[index], one.params, strict=True):
                np.testing.assert_allclose(mine.weight, theirs.weight, rtol=1e-4, atol=1e-6)

    def test_epochs_at_once_and_in_parts_are_the_same_bits(self):
        options = {"optimizer": optax.adam(0.01), "dropout": 0.2, "order": "shared"}
        whole = population(SEVEN[:6], NETWORKS[:6], epochs=4, **options)
        part = population(SEVEN[:6], NETWORKS[:6], epochs=2, **options)
        part = population(SEVEN[:6], part.state, epochs=2, **options)
        jax.tree.map(np.testing.assert_array_equal, part.state, whole.state)

    def test_rows_and_numbers_go_to_their_members(self):
        weights = jax.random.bernoulli(KEY, 0.7, (6, 24))
        rates = jnp.linspace(0.001, 0.03, 6)
        result = population(
            SEVEN[:6], NETWORKS[:6], optimizer=optax.sgd, hyperparams={"learning_rate": rates},
            sample_weight=weights, validation=~weights,
        )  # fmt: skip
        for index, network in enumerate(NETWORKS[:6]):
            one = ls.fit(
                SEVEN[index], network, X, CLASSES, epochs=10, batch_size=8,
                loss=ls.losses.softmax_cross_entropy, optimizer=optax.sgd(rates[index]),
                sample_weight=weights[index], validation=~weights[index],
            )  # fmt: skip
            np.testing.assert_allclose(result.params[index][0].weight, one.params[0].weight, 1e-4)
            np.testing.assert_allclose(
                result.history.validation_loss[index], one.history.validation_loss, 1e-5
            )

    @given(st.lists(st.tuples(st.just(7), *[st.integers(1, 40)] * 2, st.just(3)), min_size=1))
    def test_groups_hold_every_network_once_and_waste_little(self, sizes):
        groups = ls.training.group_sizes(sizes)
        assert sorted(m for group in groups for m in group.members) == list(range(len(sizes)))
        for group in groups:
            own = [np.dot(sizes[m][1:], sizes[m][:-1]) for m in group.members]
            work = len(own) * np.dot(group.sizes[1:], group.sizes[:-1])
            assert all(np.less_equal(sizes[m], group.sizes).all() for m in group.members)
            assert group.waste == pytest.approx(work / sum(own))
            assert group.waste <= 1.3

    def test_few_small_networks_of_one_depth_are_one_group(self):
        sizes = [(7, width, 3) for width in (1, 4, 16, 64)]
        more = 4 * 64 * 10 - sum(width * 10 for width in (1, 4, 16, 64))
        samples = sizes_module.FEW // more
        (group,) = ls.training.group_sizes(sizes, samples=samples)
        assert group.sizes == (7, 64, 3)
        assert len(ls.training.group_sizes(sizes, samples=samples + 1)) > 1

    @pytest.mark.parametrize("name", sorted(OPTIMIZERS))
    def test_optimizers_that_are_known_to_be_entrywise_are(self, name):
        for decays in (False, True):
            function = build(name, decays=decays)
            assert joining.is_entrywise(function)
            numbers = {"learning_rate": 0.1} | ({"weight_decay": 0.3} if decays else {})
            optimizer = function(**numbers)
            for sizes, widest in joining.TALL_AND_WIDE:
                assert joining._trains_filled_up(Static(optimizer), "plain", None, sizes, widest)


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({4: ls.init_params(KEY, (5, 3))}, r"^params\[4\]: expected 4 inputs, 3 outputs and"),
            ({2: (NETWORKS[2][0], NETWORKS[0][1])}, r"^params\[2\]\[1\]: expected a weight for 9"),
            ({1: ls.init_state(NETWORKS[1], optax.sgd(0.1))}, r"^params\[1\]: expected what the"),
            ({6: 3}, r"^params\[6\]: expected a tuple of Layer"),
        ],
    )
    def test_the_network_is_named(self, change, message):
        networks = [change.get(place, network) for place, network in enumerate(NETWORKS)]
        with pytest.raises((ValueError, TypeError), match=message):
            population(SEVEN, networks)
        with pytest.raises(ValueError, match=r"^params: expected 6 networks, as many as keys"):
            population(SEVEN[:6], NETWORKS)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"keys": KEY}, "^keys: expected JAX random keys"),
            ({"keys": KEYS[:0]}, "^keys: expected a key for each member, at least one"),
            ({"keys": KEYS[:2]}, "^params: expected a leading axis of 2 members everywhere"),
            ({"params": member(START, 0)}, "^params: expected a leading axis of 3 members"),
            ({"params": START[0]}, "^params: expected a tuple of Layer"),
            ({"order": "mine"}, "^order: expected 'own' or 'shared', got 'mine'"),
            (
                {"label_smoothing": jnp.zeros(2)},
                r"^label_smoothing: expected one .* got shape \(2,",
            ),
            ({"label_smoothing": jnp.array([0, 0.5, 1])}, r"^label_smoothing: .*1.0 \(member 2\)"),
            ({"patience": jnp.array([1, 0, 1]), "validation": FOLDS}, r"^patience: .*\(member 1\)"),
            ({"dropout": jnp.array([0, 0.5, -1])}, r"^dropout: .*-1.0 \(member 2\)"),
            ({"class_weight": jnp.ones((3, 2))}, r"^class_weight: .*shape \(3,\).*\(member 0\)"),
            ({"sample_weight": jnp.ones((2, 24))}, r"^sample_weight: .* each of 3 members"),
            ({"sample_weight": jnp.ones((3, 23))}, r"^sample_weight: expected shape \(24,\)"),
            ({"sample_weight": jnp.ones((3, 24)).at[1].set(0)}, r"^sample_weight.*\(member 1\)"),
            ({"validation": -FOLDS.astype(int)}, r"^validation weights.*\(member 0\)"),
            (
                {"optimizer": optax.sgd, "hyperparams": {"learning_rate": RATES[:2]}},
                r"^hyperparams\['learning_rate'\]: expected one for all members, or 3",
            ),
            (
                {"optimizer": optax.sgd, "hyperparams": {"learning_rate": RATES.at[2].set(np.inf)}},
                r"^hyperparams\['learning_rate'\]: expected finite .*\(member 2\)",
            ),
            ({"patience": 3}, "^patience: expected validation samples"),
            (
                {"rows": [[0], [1]]},
                "^rows: expected an array of places for each of 3 members, got 2",
            ),
            (
                {"rows": [[0], [], [1]]},
                r"^rows\[1\]: expected integers of shape \(m,\), got float64",
            ),
            (
                {"rows": [[0], [1], [-1, 2]]},
                r"^rows\[2\]: expected places from 0 to 23, got -1 to 2",
            ),
            ({"rows": [[0], [24], [1]]}, r"^rows\[1\]: expected places from 0 to 23, got 24 to 24"),
            (
                {"rows": [np.arange(n) for n in (15, 16, 17)], "batch_size": 5},
                r"^rows: expected m rows a member, with as many steps an epoch .*, got 15 to 17",
            ),
            (
                {"rows": [np.arange(n) for n in (18, 19, 20)], "batch_size": None, "dropout": 0.1},
                r"^rows: expected m rows a member, one m where steps .* at random, got 18 to 20",
            ),
            ({"rows": [[0, 1]] * 3}, "^batch_size: expected 1 to 2, got 8"),
            ({"rows": [[0, 1]] * 3, "order": "shared"}, "^rows: expected order='own'"),
            ({"droput": 0.5}, r"^fit_population\(\) got an unexpected keyword argument 'droput'"),
            ({"y": CLASSES + 1}, "^targets: expected integer classes from 0 to 2"),
        ],
    )
    def test_the_argument_and_the_member_are_named(self, change, message):
        with pytest.raises((ValueError, TypeError), match=message):
            population(**change)


def mesh_of(devices, axis="members"):
    return jax.sharding.Mesh(np.array(jax.devices()[:devices]), (axis,))


class TestDevices:
    """Members over devices; the suite has eight virtual ones, and takes them all by default."""

    @pytest.mark.parametrize("order", ["own", "shared"])
    @pytest.mark.parametrize("devices", [1, 2, 8])  # three members: one is repeated, five are idle
    def test_any_number_of_devices_trains_the_same(self, order, devices):
        options = {
            "order": order,
            "validation": FOLDS,
            "sample_weight": 1.0 - FOLDS,
            "dropout": 0.2,
        }
        with jax.default_device(jax.devices()[0]):
            wanted = population(**options)
        assert_near(population(mesh=mesh_of(devices), **options), wanted)

    def test_members_wait_for_no_one(self):
        groups = prepare_members(
            "fit_population", KEYS, START, (X, CLASSES), optimizer=optax.adam(0.1), batch_size=8,
            sample_weight=None, validation=None, order="shared",
            options={"loss": ls.losses.softmax_cross_entropy},
        )  # fmt: skip
        runs = ls.training.population.begin_members(tuple(group.run for group in groups))
        program = compiled_advance_members(mesh_of(3)).lower(runs, 2, epochs=2).compile().as_text()
        assert "all-reduce" not in program
        assert (
            "all-gather" not in program.split("ENTRY")[0]
        )  # what puts results together at the end

    def test_results_stay_on_a_mesh_that_was_given_and_else_come_back(self):
        params = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), START)
        keys = jnp.concatenate([KEYS, KEYS])
        given = population(keys, params, mesh=mesh_of(2)).params[0].weight
        assert len(given.sharding.device_set) == 2
        assert not population().params[0].weight.committed
        apart = jax.device_put(START, jax.devices()[3])
        assert population(params=apart).params[0].weight.devices() == {jax.devices()[3]}

    def test_a_list_of_sizes_is_spread_group_by_group(self):
        networks = [ls.init_params(KEY, (4, *hidden, 3)) for hidden in ((5,), (6,), (3, 3))]
        result = population(params=networks, mesh=mesh_of(2))
        for index, start in enumerate(networks):
            wanted = ls.fit(
                KEYS[index], start, X, CLASSES, optimizer=optax.sgd(0.02), epochs=10, batch_size=8,
                loss=ls.losses.softmax_cross_entropy,
            )  # fmt: skip
            for ours, theirs in zip(
                jax.tree.leaves(result.params[index]), jax.tree.leaves(wanted.params), strict=True
            ):
                np.testing.assert_allclose(ours, theirs, atol=2e-5 * np.abs(theirs).max())

    def test_a_mesh_is_one_with_members(self):
        with pytest.raises(ValueError, match=r"mesh: expected the axes 'members' or 'batch'"):
            population(mesh=mesh_of(2, "rows"))
        with pytest.raises(TypeError, match=r"mesh: expected a jax\.sharding\.Mesh, got int"):
            population(mesh=2)
