"""A run: members together, epochs one by one, and what is taken back."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logistack as ls

KEY = jax.random.key(0)
INPUTS = jax.random.normal(jax.random.key(1), (12, 3))
TARGETS = jax.nn.one_hot(jax.random.randint(jax.random.key(2), (12,), 0, 2), 2)
PARAMS = ls.init_params(KEY, (3, 4, 2))
SGD = optax.sgd(0.1)


def train(params=PARAMS, *, inputs=INPUTS, targets=TARGETS, key=KEY, **options):
    return ls.fit(key, params, inputs, targets, **{"optimizer": SGD, "epochs": 3, **options})


def size(result):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(result.params))


# Members.


@pytest.mark.parametrize("nested", [False, True])
def test_epochs_that_all_members_have_done_with_are_not_run(nested):
    updates = itertools.count()

    def update(gradient, state, params=None):
        jax.debug.callback(lambda: next(updates))
        return jax.tree.map(jnp.zeros_like, gradient), state

    optimizer = optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    def member(patience, key=KEY):
        run = train(
            key=key, optimizer=optimizer, epochs=50, validation=(INPUTS, TARGETS), patience=patience
        )
        return run.state.epoch

    vmapped = jax.vmap(member)
    if nested:
        vmapped = jax.vmap(vmapped, (None, 0))
        epochs = vmapped(jnp.array([1, 3]), jnp.stack([jax.random.split(KEY, 2)] * 2))
    else:
        epochs = vmapped(jnp.array([1, 3]))
    jax.effects_barrier()
    # Nothing changes, so that the first epoch is the best; the loop goes round four times.
    np.testing.assert_array_equal(epochs, np.broadcast_to([2, 4], epochs.shape))
    assert next(updates) == 4


def test_members_of_shard_map_are_those_of_vmap():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("members",))
    shards = jax.sharding.PartitionSpec("members")

    def members(rates):
        def member(rate):
            run = train(
                optimizer=optax.sgd, hyperparams={"learning_rate": rate}, epochs=6, batch_size=5,
                validation=(-INPUTS, TARGETS), patience=2,
            )  # fmt: skip
            return run.history, run.params

        return jax.vmap(member)(rates)

    rates = jnp.array([0.1, 1.0, 3.0, 0.01])
    split = jax.jit(jax.shard_map(members, mesh=mesh, in_specs=shards, out_specs=shards))
    chex.assert_trees_all_close(split(rates), jax.jit(members)(rates), rtol=1e-5)


# Epochs one by one.


@pytest.mark.parametrize("batch_size", [None, 12, 6, 5])
@pytest.mark.parametrize("sizes", [(3, 8, 2), (3, 2), (3, 5, 4, 2)])
def test_epochs_one_at_a_time_are_those_at_once(batch_size, sizes):
    options = {"optimizer": optax.adam(0.1), "batch_size": batch_size}
    for seed in range(5):
        start = ls.init_params(jax.random.key(seed), sizes)
        at_once = train(start, epochs=6, **options)
        each = train(start, epochs=1, **options)
        for _ in range(5):
            each = train(each.state, epochs=1, **options)
        chex.assert_trees_all_equal(each.state, at_once.state)


def test_no_epoch_runs_without_jit_too():
    with jax.disable_jit():
        none, two = train(epochs=0), train(epochs=2, batch_size=5)
    chex.assert_trees_all_equal(none.params, PARAMS)
    assert none.history.loss.shape == (0,)
    chex.assert_trees_all_close(two.params, train(epochs=2, batch_size=5).params, rtol=1e-5)


@pytest.mark.parametrize("look", [jax.debug_nans, jax.debug_infs])
def test_a_run_that_stops_early_has_no_nan_or_infinity_of_its_own(look):
    options = {"epochs": 30, "validation": (-INPUTS, TARGETS), "patience": 2}
    plain = train(**options)
    assert int(plain.state.epoch) < 30
    with look(True):
        looked = train(**options)
    if look is jax.debug_nans:
        chex.assert_trees_all_equal(looked, plain)


# What is taken back.

BAR = float(jax.vmap(ls.logits, (None, 0))(PARAMS, INPUTS).max()) + 0.2


def barred(z, target):
    """A loss that is infinite, and whose slope is NaN, once a logit passes a bar."""
    over = jnp.max(z) > BAR
    return jnp.where(over, jnp.inf, 1.0) * ls.losses.softmax_cross_entropy(z, target)


def descend(rate, epochs):
    return train(
        optimizer=optax.sgd, hyperparams={"learning_rate": rate}, loss=barred, epochs=epochs
    )


@pytest.mark.filterwarnings("ignore:the loss or the parameters:RuntimeWarning")
def test_the_derivative_of_a_run_is_that_of_the_epochs_that_were_kept():
    rates = jnp.array([1e-4, 0.02, 0.1, 0.5])
    kept = [int(descend(rate, 8).state.epoch) for rate in rates]
    assert kept[0] == 8
    assert 0 < min(kept) < 8
    wanted = [
        jax.grad(lambda rate, n=n: size(descend(rate, n)))(rate)
        for rate, n in zip(rates, kept, strict=True)
    ]
    slopes = jax.vmap(jax.grad(lambda rate: size(descend(rate, 8))))
    np.testing.assert_allclose(slopes(rates), wanted, rtol=1e-4)
    forward = jax.jvp(lambda rate: size(descend(rate, 8)), (rates[2],), (jnp.ones(()),))
    np.testing.assert_allclose(forward[1], wanted[2], rtol=1e-4)

    # One member that diverged does not spoil what the others say of a number they share.
    def all_of_them(factor):
        return jnp.sum(jax.vmap(lambda rate: size(descend(factor * rate, 8)))(rates))

    np.testing.assert_allclose(jax.grad(all_of_them)(1.0), jnp.dot(rates, jnp.array(wanted)), 1e-3)


def test_a_captured_rate_has_a_derivative():
    captured = jax.grad(lambda rate: size(train(optimizer=optax.sgd(rate))))(0.1)
    given = jax.grad(
        lambda rate: size(train(optimizer=optax.sgd, hyperparams={"learning_rate": rate}))
    )(0.1)
    np.testing.assert_allclose(captured, given, rtol=1e-5)


# What does not count.


@pytest.mark.parametrize("spoilt", [jnp.nan, jnp.inf, 3e38])
@pytest.mark.parametrize("batch_size", [None, 5])
def test_a_sample_of_weight_0_may_hold_anything(spoilt, batch_size):
    weights = jnp.ones(12).at[jnp.array([3, 7])].set(0.0)
    rows = INPUTS.at[3].set(spoilt)

    @functools.partial(jax.jit, static_argnums=1)
    def run(inputs, by):
        options = {"class_weight": by, "sample_weight": weights, "batch_size": batch_size}
        validation = (inputs, TARGETS, weights)
        return train(inputs=inputs, validation=validation, **options)

    for by in (None, "balanced"):
        chex.assert_trees_all_close(
            run(rows, by)._replace(state=None), run(INPUTS, by)._replace(state=None), rtol=1e-6
        )
    slope = jax.jit(jax.grad(lambda p, x: ls.summed_loss(p, x, TARGETS, weights=weights)))
    chex.assert_trees_all_close(slope(PARAMS, rows), slope(PARAMS, INPUTS), rtol=1e-6)


def test_a_batch_of_weight_0_changes_nothing():
    step = ls.make_step(SGD)
    state, seen = step(ls.init_state(PARAMS, SGD), INPUTS, TARGETS, jnp.zeros(12))
    chex.assert_trees_all_equal(state.params, PARAMS)
    assert seen.weight == seen.loss == 0


# Validation.


def test_the_best_is_measured_anew_on_other_validation_samples():
    first = train(epochs=5, validation=(INPUTS, TARGETS))
    other = (INPUTS[::-1], TARGETS)
    again = train(first.state, epochs=0, validation=other)
    loss = ls.summed_loss(first.state.best.params, *other)
    np.testing.assert_allclose(again.state.best.loss, loss, rtol=1e-6)
    mean = train(first.state, epochs=0, validation=other, reduction="mean")
    np.testing.assert_allclose(mean.state.best.loss, loss / 12, rtol=1e-6)
    same = train(first.state, epochs=0, validation=(INPUTS, TARGETS))
    chex.assert_trees_all_equal(same.state.best, first.state.best)
    # Parameters that are worse there do not stay the best.
    steps = train(first.state, epochs=20, validation=other)
    assert steps.state.best.loss <= loss


def test_validation_that_is_never_finite_is_said():
    def undefined(z, target):
        return jnp.where(target[0] < 0.5, 1.0, jnp.nan) * ls.losses.sigmoid_cross_entropy(z, target)

    only = jnp.array([[0.0, 1.0]] * 12)
    with pytest.warns(RuntimeWarning, match="validation loss was not finite after any epoch"):
        result = train(targets=only, loss=undefined, validation=(INPUTS, 1 - only))
    chex.assert_trees_all_equal(result.params, PARAMS)
    assert any("validation loss is not finite" in said for said in ls.diagnose(result.history))


# Reading.


def test_arrays_of_any_byte_order_are_read():
    swapped = train(inputs=np.asarray(INPUTS).astype(">f4"), targets=np.asarray(TARGETS, ">f8"))
    chex.assert_trees_all_equal(swapped, train())
    classes = np.argmax(np.asarray(TARGETS), axis=1)
    loss = ls.losses.softmax_cross_entropy
    given = train(targets=classes.astype(">i8"), loss=loss)
    chex.assert_trees_all_equal(given, train(targets=classes, loss=loss))


def test_masked_arrays_are_no_arrays_of_values():
    masked = np.ma.masked_greater(np.asarray(INPUTS), 1.0)
    with pytest.raises(ValueError, match=r"^inputs: expected a value everywhere, got \d+ of 36"):
        train(inputs=masked)
    with pytest.raises(ValueError, match=r"^inputs: expected a value everywhere, got \d+ of 36"):
        train(inputs=list(masked))
    chex.assert_trees_all_equal(train(inputs=np.ma.array(INPUTS)), train())


def test_a_loss_has_its_dtype_made_that_of_the_sums():
    def half(z, target):
        return ls.losses.sigmoid_cross_entropy(z, target).astype(jnp.bfloat16)

    assert train(loss=half, batch_size=5).history.loss.dtype == jnp.float32


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda z, target: jnp.sum(z[:, 0]), "^loss: expected a function of one sample"),
        (ls.losses.cross_entropy, "^loss: expected a function of logits.*takes probabilities"),
    ],
)
def test_a_loss_is_of_one_sample_and_its_logits(loss, message):
    with pytest.raises(ValueError, match=message):
        train(loss=loss)
    with pytest.raises(ValueError, match=message):
        ls.summed_loss(PARAMS, INPUTS, TARGETS, loss=loss)


def test_results_say_in_a_line_what_they_are():
    result = train(epochs=3, validation=(INPUTS, TARGETS), ema_decay=0.5)
    said = repr(result)
    assert said.startswith("FitResult(params=(2 layers, 26 numbers), state=TrainState(")
    assert "loss=float32[3]" in said
    assert len(said) < 1000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("face", [ls.fit, ls.fit_with_callbacks, ls.fit_stream])
def test_a_warning_points_to_the_line_of_the_user(face):
    def undefined(z, target):
        return jnp.sum(z) * jnp.nan

    data = ([(INPUTS, TARGETS)],) if face is ls.fit_stream else (INPUTS, TARGETS)
    with pytest.warns(RuntimeWarning, match="stopped being finite in epoch 1") as caught:
        face(KEY, PARAMS, *data, optimizer=SGD, epochs=2, loss=undefined)
    assert [warning.filename for warning in caught] == [__file__]
