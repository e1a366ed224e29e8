"""One program over many devices: members that wait for no one, and batches in parts.

The oracle is one device, whose result is the same but for rounding: sums over a batch are taken in
another order, and XLA compiles another number of members otherwise.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logistack as ls
from logistack.losses import softmax_cross_entropy
from logistack.training.fit import prepare
from logistack.training.run import begin, compiled_advance_over
from logistack.training.spread import require_mesh

KEY = jax.random.key(0)
X = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
CLASSES = np.arange(50) % 3
START = ls.init_params(KEY, (4, 8, 8, 3))
KEYS = jax.random.split(KEY, 4)
MEMBERS = jax.vmap(lambda key: ls.init_params(key, (4, 8, 3)))(KEYS)
COLLECTIVES = re.compile(r"all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter")
# A few times the rounding of float32: what was measured is 2e-7 to 7e-7.
ROUNDING = 5e-6


def mesh_of(**axes):
    size = int(np.prod([*axes.values()]))
    if len(jax.devices()) < size:
        pytest.skip(f"needs {size} devices")
    return jax.make_mesh((*axes.values(),), (*axes,), devices=jax.devices()[:size])


def distance(result, wanted):
    """The largest difference of an array's numbers, as a share of its largest."""
    assert jax.tree.structure(result) == jax.tree.structure(wanted)
    worst = 0.0
    for value, other in zip(jax.tree.leaves(result), jax.tree.leaves(wanted), strict=True):
        assert value.dtype == other.dtype
        value, other = (np.asarray(leaf, np.float64) for leaf in (value, other))
        if value.size:
            size = np.abs(other).max()
            worst = max(worst, np.abs(value - other).max() / (size or 1.0))
    return worst


def assert_same_bits(result, wanted):
    for value, other in zip(jax.tree.leaves(result), jax.tree.leaves(wanted), strict=True):
        assert np.asarray(value).tobytes() == np.asarray(other).tobytes()


def options(**changes):
    return {
        "optimizer": optax.adam(0.05),
        "epochs": 2,
        "batch_size": 10,
        "loss": softmax_cross_entropy,
    } | changes


def fit(mesh, params=START, **changes):
    return ls.fit(KEY, params, X, CLASSES, mesh=mesh, **options(**changes))


def jitter(key, x):
    return x + 0.1 * jax.random.normal(key, x.shape)


EVERYTHING = {
    "batch_size": 9,  # in parts of 3, 3, 3 and none
    "dropout": (0.2, 0.3),
    "augment": jitter,
    "validation": (X[:21], CLASSES[:21]),
    "patience": 9,
    "sample_weight": (np.arange(50) % 4 > 0) * 1.0,
    "class_weight": "balanced",
    "label_smoothing": 0.1,
    "reduction": "mean",
    "ema_decay": 0.5,
}


class TestBatches:
    @pytest.mark.parametrize(
        "changes",
        [{}, {"batch_size": None}, {"batch_size": None, "optimizer": optax.lbfgs()}, EVERYTHING],
        ids=["whole parts", "all samples", "a line search", "everything"],
    )
    def test_parts_of_a_batch_train_as_one_device_does(self, changes):
        result = fit(mesh_of(batch=4), **changes)
        assert distance(result, fit(None, **changes)) < ROUNDING
        assert len(result.params[0].weight.sharding.device_set) == 4

    @pytest.mark.parametrize("remat", [False, True])
    def test_deep_stacks_too(self, remat):
        deep = ls.init_params(KEY, (4, *(6,) * 18, 3))
        changes = {"params": deep, "coordinates": "centred", "remat": remat, "epochs": 1}
        changes["optimizer"] = optax.sgd(0.001)  # Adam makes steps of what is rounding at depth
        assert distance(fit(mesh_of(batch=4), **changes), fit(None, **changes)) < ROUNDING

    def test_a_sum_is_taken_over_the_devices_once_for_the_whole_gradient(self):
        mesh = require_mesh(mesh_of(batch=4))
        run = begin(
            prepare(
                "fit", KEY, START, (X, CLASSES), optimizer=optax.sgd(0.1), batch_size=10,
                options={"loss": softmax_cross_entropy},
            )
        )  # fmt: skip
        program = str(compiled_advance_over(mesh).lower(run, 2, epochs=2).compile().as_text())
        found = set(COLLECTIVES.findall(program))
        assert found == {"all-reduce"}
        alone = compiled_advance_over(None).lower(run, 2, epochs=2).compile().as_text()
        assert not COLLECTIVES.search(alone)

    def test_it_can_be_jitted_and_goes_on_to_the_same_bits(self):
        mesh = mesh_of(batch=2)
        whole = fit(mesh, epochs=4)
        half = fit(mesh)
        assert_same_bits(fit(mesh, half.state).params, whole.params)
        jitted = jax.jit(functools.partial(fit, mesh))()
        assert distance(jitted.params, half.params) < ROUNDING

    def test_the_mesh_may_be_set_too(self):
        mesh = mesh_of(batch=2)
        wanted = fit(mesh)
        with jax.set_mesh(mesh):
            assert_same_bits(fit(mesh).params, wanted.params)

    def test_a_second_call_compiles_nothing(self, compilations):
        mesh = mesh_of(batch=2)
        fit(mesh)
        before = len(compilations)
        fit(mesh_of(batch=2))
        assert before
        assert len(compilations) == before

    def test_chunks_and_checkpoints_are_those_of_one_call(self, tmp_path):
        pytest.importorskip("orbax.checkpoint")
        mesh = mesh_of(batch=2)
        result = None
        for epochs in (1, 3):
            result = ls.fit_with_callbacks(
                KEY, START, X, CLASSES, mesh=mesh, checkpoint_path=tmp_path,
                **options(epochs=epochs),
            )  # fmt: skip
        assert_same_bits(result, fit(mesh, epochs=3))


class TestStreams:
    @pytest.mark.parametrize("size", [8, 10, 16])  # the last batch has 2, 10 and 2
    def test_parts_of_a_stream_train_as_one_device_does(self, size):
        batches = [(X[at : at + size], CLASSES[at : at + size]) for at in range(0, 50, size)]
        changes = options(validation=(X[:21], CLASSES[:21]))
        del changes["batch_size"]
        one, many = (
            ls.fit_stream(KEY, START, batches, mesh=mesh, **changes)
            for mesh in (None, mesh_of(batch=4))
        )
        assert distance(many, one) < ROUNDING

    def test_a_part_in_which_no_sample_counts_is_not_looked_at(self):
        x = X[:8].copy()
        x[4:] = 3e38  # whose logits are not finite
        weights = np.repeat([1.0, 0.0], 4).astype(np.float32)
        changes = options(epochs=1)
        del changes["batch_size"]
        one, many = (
            ls.fit_stream(KEY, START, [(x, CLASSES[:8], weights)], mesh=mesh, **changes)
            for mesh in (None, mesh_of(batch=2))
        )
        assert distance(many, one) < ROUNDING


def population(mesh, keys=KEYS, params=MEMBERS, face=ls.fit_population, **changes):
    return face(keys, params, X, CLASSES, mesh=mesh, **options(**changes))


class TestMembers:
    def test_members_have_the_same_bits_on_any_devices_that_have_as_many(self):
        changes = {"dropout": 0.2, "validation": (X[:21], CLASSES[:21])}
        result = population(mesh_of(members=4), **changes)
        for own in (slice(0, 2), slice(2, 4)):
            part = jax.tree.map(lambda leaf, own=own: leaf[own], MEMBERS)
            others = population(mesh_of(members=2), KEYS[own], part, **changes)
            assert_same_bits(jax.tree.map(lambda leaf, own=own: leaf[own], result), others)

    @pytest.mark.parametrize(
        "axes", [{"batch": 2}, {"members": 2, "batch": 2}, {"batch": 2, "members": 4}]
    )
    @pytest.mark.parametrize("order", ["own", "shared"])
    def test_batches_in_parts_and_both_at_once(self, axes, order):
        with jax.default_device(jax.devices()[0]):
            wanted = population(None, order=order)
        assert distance(population(mesh_of(**axes), order=order), wanted) < ROUNDING

    def test_a_sweep_passes_the_mesh_on(self):
        mesh = mesh_of(members=2, batch=2)
        swept = population(mesh, face=ls.sweep, block_size=2, every=1)
        assert distance(swept, population(mesh)) < ROUNDING

    def test_arrays_come_from_any_device(self):
        apart = jax.device_put(MEMBERS, jax.devices()[-1])
        mesh = mesh_of(members=2)
        assert_same_bits(population(mesh, params=apart).params, population(mesh).params)


BOTH = r"mesh: expected the axes 'members' or 'batch', or both, got \('rows',\)"


@pytest.mark.parametrize(
    ("call", "axes", "message"),
    [
        (fit, {"members": 2}, r"^mesh: expected an axis 'batch', got \('members',\)"),
        (fit, {"batch": 2, "members": 1}, r"^mesh: expected an axis 'batch', got"),
        (functools.partial(fit, batch_size=3), {"batch": 4}, "^batch_size: expected at least 4, one sample for each device"),
        (population, {"rows": 2}, BOTH),
        (functools.partial(population, batch_size=3), {"batch": 4}, "^batch_size: expected at least 4"),
        (functools.partial(population, face=ls.sweep), {"rows": 2}, BOTH),
    ],
)  # fmt: skip
def test_a_mesh_that_does_not_fit_is_named(call, axes, message):
    with pytest.raises(ValueError, match=message):
        call(mesh_of(**axes))
    with pytest.raises(TypeError, match=r"^mesh: expected a jax\.sharding\.Mesh, got int"):
        call(2)


def test_the_stream_wants_batches_too():
    with pytest.raises(ValueError, match=r"^mesh: expected an axis 'batch', got \('members',\)"):
        ls.fit_stream(
            KEY, START, [(X, CLASSES)], optimizer=optax.sgd(0.1), epochs=1, mesh=mesh_of(members=2)
        )


def test_nothing_of_the_sums_is_lost_in_rounding():
    """The gradient of one step in parts against that in float64."""
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), START)
        wide = ls.fit(
            KEY,
            params,
            X.astype(np.float64),
            CLASSES,
            **options(optimizer=optax.sgd(0.01), epochs=1),
        )
        parts = ls.fit(
            KEY, params, X.astype(np.float64), CLASSES, mesh=mesh_of(batch=4),
            **options(optimizer=optax.sgd(0.01), epochs=1),
        )  # fmt: skip
    assert distance(parts, wide) < 1e-13
