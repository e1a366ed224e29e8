"""Training on samples made anew in every epoch: the `augment` of `fit` and `make_step`."""

import chex
import jax
import numpy as np
import optax
import pytest

import logistack as ls
from logistack.training import epoch_order, step_key

KEY = jax.random.key(0)
SAMPLES = 8
INPUTS = np.random.default_rng(0).standard_normal((SAMPLES, 3)).astype(np.float32)
TARGETS = np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 1, 0, 0, 1]]
PARAMS = (
    ls.Layer(np.float32(np.linspace(-1, 1, 12).reshape(4, 3)), np.zeros(4, np.float32)),
    ls.Layer(np.float32(np.linspace(1, -1, 8).reshape(2, 4)), np.zeros(2, np.float32)),
)


def noisy(scale=1.0):
    """A function built anew at every call."""

    def augment(key, x):
        # One sample; an assert, which pytest rewrites, would read what no key knows completely.
        if x.shape != (3,):
            raise AssertionError(x.shape)
        return x + scale * jax.random.normal(key, x.shape)

    return augment


def train(*, params=PARAMS, fit=ls.fit, key=KEY, **options):
    options = {
        "optimizer": optax.sgd(0.1), "epochs": 4, "batch_size": 4, "augment": noisy(), **options,
    }  # fmt: skip
    return fit(key, params, INPUTS, TARGETS, **options)


augmented = jax.jit(jax.vmap(noisy()))


def of_step(key, inputs):
    """What a step learns from: each sample with a key of its own."""
    return augmented(jax.random.split(jax.random.fold_in(key, 2**32 - 1), len(inputs)), inputs)


def test_fit_learns_from_each_sample_as_its_own_key_makes_it():
    step = jax.jit(ls.make_step(optax.sgd(0.1)))
    state, losses = ls.init_state(PARAMS, optax.sgd(0.1)), []
    for epoch in range(4):
        loss = 0.0
        for place, batch in enumerate(epoch_order(KEY, epoch, SAMPLES).reshape(2, 4)):
            made = of_step(step_key(KEY, epoch, place), INPUTS[batch])
            state, seen = step(state, made, TARGETS[batch])
            loss += seen.loss
        losses.append(loss)
    result = train()
    # Rounding of programs that are compiled otherwise.
    np.testing.assert_allclose(result.history.loss, losses, rtol=1e-5)
    chex.assert_trees_all_close(result.params, state.params, rtol=1e-4, atol=1e-5)


def test_a_step_makes_every_sample_with_a_key_of_its_own():
    def of(key, inputs, **options):
        step = jax.jit(ls.make_step(optax.sgd(0.1), **options))
        return step(ls.init_state(PARAMS, optax.sgd(0.1)), inputs, TARGETS, key=key)

    equal = np.ones_like(INPUTS)
    made = np.asarray(of_step(KEY, equal))
    assert np.unique(made).size == made.size
    given = of(KEY, equal, augment=noisy())
    chex.assert_trees_all_close(given, of(None, made), rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_equal(given, of(KEY, equal, augment=noisy()))
    other = of(jax.random.key(1), equal, augment=noisy())
    assert abs(given[1].loss - other[1].loss) > 1e-3


def test_every_epoch_makes_others_and_an_equal_key_the_same():
    # Nothing is learned and all samples are there at once, so that noise alone is what differs.
    still = {"optimizer": optax.sgd(0.0), "batch_size": None}
    losses = np.asarray(train(**still).history.loss)
    assert np.unique(losses).size == 4
    np.testing.assert_array_equal(train(**still).history.loss, losses)
    other = train(**still, key=jax.random.key(1)).history.loss
    assert np.all(np.abs(other - losses) > 1e-5)


def test_validation_has_the_samples_as_they_are():
    result = train(
        optimizer=optax.sgd(0.0), batch_size=None, augment=noisy(), validation=(INPUTS, TARGETS)
    )
    plain = ls.summed_loss(PARAMS, INPUTS, TARGETS)
    np.testing.assert_allclose(result.history.validation_loss, np.full(4, plain), rtol=1e-5)
    assert np.all(np.abs(result.history.loss - plain) > 1e-3)


def test_a_run_continues_bit_for_bit():
    whole, half = train(), train(epochs=2)
    rest = train(epochs=2, params=half.state)
    chex.assert_trees_all_equal(rest[:2], whole[:2])
    np.testing.assert_array_equal([*half.history.loss, *rest.history.loss], whole.history.loss)
    chex.assert_trees_all_equal(train(fit=ls.fit_with_callbacks, every=2), whole)


def test_a_stream_makes_the_same_samples():
    def batches():
        for epoch in range(4):
            for batch in np.asarray(epoch_order(KEY, epoch, SAMPLES)).reshape(2, 4):
                yield INPUTS[batch], TARGETS[batch]

    result = ls.fit_stream(
        KEY, PARAMS, batches(), optimizer=optax.sgd(0.1), epochs=4, steps_per_epoch=2,
        augment=noisy(),
    )  # fmt: skip
    chex.assert_trees_all_close(result.params, train().params, rtol=1e-4, atol=1e-5)


def test_runs_are_members_of_a_vmap():
    keys = jax.random.split(KEY, 2)
    members = jax.vmap(lambda key: train(key=key))(keys)
    for member, key in enumerate(keys):
        alone = train(key=key)
        np.testing.assert_allclose(members.history.loss[member], alone.history.loss, rtol=1e-5)


def test_an_equal_function_compiles_nothing_and_another_one_counts(compilations):
    first = train()
    seen = len(compilations)
    chex.assert_trees_all_equal(train(augment=noisy(1.0)), first)
    assert len(compilations) == seen
    assert (train(augment=noisy(2.0)).history.loss != first.history.loss).all()
    assert len(compilations) > seen


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: train(augment=lambda key, x: x[:2]),
            ValueError,
            r"^augment: expected a sample of shape \(3,\), got \(2,\)",
        ),
        (
            lambda: train(augment=lambda key, x: x[None]),
            ValueError,
            r"^augment: expected a sample of shape \(3,\), got \(1, 3\)",
        ),
        (
            lambda: train(augment="noise"),
            TypeError,
            r"^augment: expected a function .*got 'noise'$",
        ),
        (
            lambda: ls.make_step(optax.sgd(0.1), augment=0.1),
            TypeError,
            r"^augment: expected a function .*got 0\.1$",
        ),
        (
            lambda: ls.make_step(optax.sgd(0.1), augment=noisy())(
                ls.init_state(PARAMS, optax.sgd(0.1)), INPUTS, TARGETS
            ),
            TypeError,
            r"^key: expected a JAX random key.*got None$",
        ),
    ],
)
def test_augment_is_refused_where_it_does_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call()
