"""Validation, the best parameters, patience, hyperparameters, divergence, and the history."""

import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings, strategies
from scipy import optimize, special

import logistack as ls
from logistack.losses import sigmoid_cross_entropy, softmax_cross_entropy

KEY = jax.random.key(0)
EPOCHS = 24
SAMPLES, HELD_OUT = 7, 11
# Drawn so that validation loss goes up and down, and has its minimum late.
normal = np.random.default_rng(24).standard_normal


def draw_samples(samples, normal=normal):
    """Samples of two classes that a curve divides."""
    inputs = normal((samples, 3)).astype(np.float32)
    classes = inputs[:, 0] + inputs[:, 1] * inputs[:, 2] > 0
    return inputs, np.eye(2, dtype=np.float32)[classes.astype(int)]


INPUTS, TARGETS = draw_samples(SAMPLES)
HELD = draw_samples(HELD_OUT)
HELD_WEIGHTS = np.linspace(0, 2, HELD_OUT, dtype=np.float32)
ROW = np.array([1, 0.5, 0, 2, 0, 1, 0.25], np.float32)
PARAMS = tuple(
    ls.Layer(jnp.float32(normal((fan_out, fan_in))), jnp.float32(normal(fan_out)))
    for fan_in, fan_out in itertools.pairwise((3, 4, 2))
)
ZEROS = ls.init_params(KEY, (3, 2), scheme="zeros")


def train(rate=1.0, *, key=KEY, params=PARAMS, inputs=INPUTS, targets=TARGETS, **options):
    """A run at a rate so high that the validation loss wanders; tests change one thing."""
    if "optimizer" not in options:
        options = {"optimizer": optax.sgd, "hyperparams": {"learning_rate": rate}, **options}
    defaults = {"epochs": EPOCHS, "batch_size": 3, "validation": HELD}
    return ls.fit(key, params, inputs, targets, **{**defaults, **options})


def epoch_by_epoch(epochs=EPOCHS, **options):
    """The results of 1, 2, … epochs without validation, each continued from the one before."""
    results = [train(**options, epochs=1, validation=None)]
    while len(results) < epochs:
        options["params"] = results[-1].state
        results.append(train(**options, epochs=1, validation=None))
    return results


def stop(losses, patience=math.inf, min_delta=0.0):
    """After how many epochs a run stops, and after how many its parameters were best."""
    best, best_epoch = np.float32(np.inf), 0
    for epoch, value in enumerate(np.float32(losses), start=1):
        if value < best - np.float32(min_delta):
            best, best_epoch = value, epoch
        if epoch - best_epoch >= patience:
            return epoch, best_epoch
    return len(losses), best_epoch


def concatenate(*histories):
    return jax.tree.map(lambda *rows: np.concatenate(rows), *histories)


def rows_of(history, *index):
    return jax.tree.map(lambda rows: np.asarray(rows)[slice(*index)], history)


def member_of(tree, member):
    return jax.tree.map(lambda a: np.asarray(a)[member], tree)


def assert_no_row(history):
    for rows in jax.tree.leaves(history):
        assert np.isnan(rows).all()


# Its patience never ends, and is a number: shorter ones are the same program.
@pytest.fixture(scope="module")
def wandering():
    return train(patience=EPOCHS)


@pytest.fixture(scope="module")
def wandered():
    return epoch_by_epoch()


# Validation.

summed_loss = jax.jit(ls.summed_loss, static_argnames="loss")
logits_of = jax.jit(jax.vmap(ls.logits, (None, 0)))
REGULARISED = {
    "targets": TARGETS.argmax(1), "loss": softmax_cross_entropy, "reduction": "mean",
    "dropout": (0.1, 0.4), "label_smoothing": 0.2, "ema_decay": 0.8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "validation", "measured"),
    [
        ({}, HELD, (*HELD, np.ones(HELD_OUT))),
        ({}, ROW, (INPUTS, TARGETS, ROW)),
        (REGULARISED, (HELD[0], HELD[1].argmax(1), HELD_WEIGHTS), (*HELD, HELD_WEIGHTS)),
    ],
    ids=["pair", "row", "classes, weights, mean, dropout, smoothing, average"],
)
def test_each_epoch_is_validated_after_it_and_trained_as_without(options, validation, measured):
    result = train(**options, validation=validation)
    inputs, targets, weights = measured
    results = epoch_by_epoch(**options)
    for epoch, after in enumerate(results):
        loss = summed_loss(
            after.params, inputs, targets, weights=weights,
            loss=options.get("loss", sigmoid_cross_entropy),
        )  # fmt: skip
        if options.get("reduction") == "mean":
            loss = loss / weights.sum()
        accuracy = ls.metrics.accuracy(logits_of(after.params, inputs), targets, weights=weights)
        np.testing.assert_allclose(result.history.validation_loss[epoch], loss, rtol=1e-5)
        np.testing.assert_allclose(result.history.validation_accuracy[epoch], accuracy, rtol=1e-5)
    chex.assert_trees_all_equal(result.state._replace(best=None), results[-1].state)
    unvalidated = result.history._replace(validation_loss=None, validation_accuracy=None)
    chex.assert_trees_all_equal(unvalidated, concatenate(*(each.history for each in results)))
    # The best parameters, and with an average those of the average.
    best = int(np.argmin(result.history.validation_loss))
    assert result.epoch == best + 1
    chex.assert_trees_all_equal(result.params, results[best].params)


def test_weights_of_1_are_no_validation_weights(wandering):
    weighted = train(patience=EPOCHS, validation=[*HELD, np.ones(HELD_OUT, int)])
    chex.assert_trees_all_equal(weighted, wandering)


def test_more_validation_samples_than_are_measured_at_once_all_count():
    inputs, targets = draw_samples(1501, np.random.default_rng(0).standard_normal)
    weights = np.linspace(0, 2, 1501, dtype=np.float32)
    shares = np.float32(0.9 * targets + 0.05)

    def divergence(z, target):
        # Not finite for a target of zeros, which no distribution is: such as fills up a block.
        return jnp.sum(target * (jnp.log(target) - jax.nn.log_softmax(z)))

    result = train(
        0.0, params=ZEROS, targets=0.9 * TARGETS + 0.05, loss=divergence, epochs=1,
        validation=(inputs, shares, weights),
    )  # fmt: skip
    loss = weights @ np.sum(shares * (np.log(shares) + np.log(2)), 1)
    np.testing.assert_allclose(result.history.validation_loss, [loss], rtol=1e-5)
    accuracy = weights @ targets[:, 0] / weights.sum()  # of logits that are all 0
    np.testing.assert_allclose(result.history.validation_accuracy, [accuracy], rtol=1e-5)


@pytest.mark.parametrize(
    ("validation", "error", "message"),
    [
        ((HELD[0],), ValueError, r"^validation: .*got 1 parts"),
        ((*HELD, HELD_WEIGHTS, HELD_WEIGHTS), ValueError, r"^validation: .*got 4 parts"),
        ((HELD[0][:, :2], HELD[1]), ValueError, r"^validation inputs: .*\(samples, 3\), got \(11, 2\)"),
        ((HELD[0], 2 * HELD[1]), ValueError, r"^validation targets: .*from 0 to 1, got 0\.0 to 2\.0"),
        ((*HELD, -HELD_WEIGHTS), ValueError, r"^validation weights: .*at least 0, got -2\.0"),
        (ROW[:5], ValueError, r"^validation weights: expected shape \(7,\), got \(5,\)"),
        (0.2, ValueError, r"^validation weights: expected shape \(7,\), got \(\)"),
        ("last", TypeError, r"^validation.*: .*got dtype"),
    ],
)  # fmt: skip
def test_validation_says_what_it_expected(validation, error, message):
    with pytest.raises(error, match=message):
        train(validation=validation)


# The best parameters.


def test_the_best_parameters_are_returned(wandering, wandered):
    losses = np.asarray(wandering.history.validation_loss)
    # A run that wanders: its best epoch is neither first nor last, and not found by going down.
    best = int(np.argmin(losses)) + 1
    assert 2 < best < EPOCHS
    assert (np.diff(losses[:best]) > 0).any()
    assert wandering.epoch == wandering.state.best.epoch == best
    assert wandering.state.best.loss == losses.min()
    assert wandering.state.epoch == EPOCHS
    chex.assert_trees_all_equal(wandering.params, wandered[best - 1].params)
    chex.assert_trees_all_equal(wandering.state.best.params, wandering.params)
    chex.assert_trees_all_equal(wandering.state.params, wandered[-1].params)
    direct = train(epochs=best, validation=None)
    chex.assert_trees_all_equal(direct.params, wandering.params)
    assert direct.epoch == best


def test_of_equal_losses_the_first_is_best():
    still = train(0.0, patience=EPOCHS)
    assert np.ptp(still.history.validation_loss) == 0
    assert still.epoch == 1
    assert train(0.0, patience=5).state.epoch == 6


def test_a_run_begun_without_validation_goes_on_with_it(wandering, wandered):
    before = wandered[2].state
    result = train(params=before, patience=EPOCHS)
    chex.assert_trees_all_equal(rows_of(result.history, -3), rows_of(wandering.history, 3, None))
    assert result.epoch == 4 + np.argmin(result.history.validation_loss)
    assert train(0.0, params=before, patience=2).state.epoch == 6
    # And the other way round the best is forgotten.
    after = train(params=wandering.state, epochs=1, validation=None)
    assert after.state.best is None
    assert after.epoch == EPOCHS + 1
    chex.assert_trees_all_equal(after.params, after.state.params)


# Patience.


@settings(max_examples=40)
@given(strategies.integers(1, EPOCHS), strategies.floats(0, 16, width=32))
def test_a_run_stops_when_its_patience_ends(wandering, wandered, patience, min_delta):
    result = train(patience=patience, min_delta=min_delta)
    last, best = stop(wandering.history.validation_loss, patience, min_delta)
    assert (result.state.epoch, result.epoch) == (last, best)
    assert result.state.best.loss == wandering.history.validation_loss[best - 1]
    chex.assert_trees_all_equal(result.params, wandered[best - 1].params)
    chex.assert_trees_all_equal(result.state._replace(best=None), wandered[last - 1].state)
    chex.assert_trees_all_equal(rows_of(result.history, last), rows_of(wandering.history, last))
    assert_no_row(rows_of(result.history, last, None))


def test_some_of_these_runs_stop_early_some_late_and_some_not(wandering):
    losses = np.asarray(wandering.history.validation_loss)
    stops = {stop(losses, patience) for patience in range(1, EPOCHS + 1)}
    assert len(stops) >= 3
    assert stop(losses, EPOCHS) == (EPOCHS, int(np.argmin(losses)) + 1)
    assert stop(losses, 3, 4.0) != stop(losses, 3)


def test_an_improvement_of_just_min_delta_does_not_count(wandering):
    losses = np.asarray(wandering.history.validation_loss)
    fall = losses[0] - losses.min()
    assert train(patience=EPOCHS, min_delta=fall + 0.01).epoch == 1
    assert train(patience=EPOCHS, min_delta=fall - 0.01).epoch == np.argmin(losses) + 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"patience": 3, "validation": None}, ValueError, r"^patience: .*validation.*got none"),
        ({"patience": 0}, ValueError, r"^patience: .*at least 1, got 0"),
        ({"patience": 3.0}, TypeError, r"^patience: .*integer, got float"),
        ({"patience": True}, TypeError, r"^patience: .*integer, got bool"),
        ({"patience": [3, 4]}, ValueError, r"^patience: .*scalar, got shape \(2,\)"),
        ({"min_delta": -0.1}, ValueError, r"^min_delta: .*at least 0, got -0\.1"),
        ({"min_delta": np.inf}, ValueError, r"^min_delta: .*finite"),
        ({"min_delta": [0.0, 1.0]}, ValueError, r"^min_delta: .*scalar, got shape \(2,\)"),
    ],
)
def test_patience_says_what_it_expected(options, error, message):
    with pytest.raises(error, match=message):
        train(**options)


def test_a_stopped_run_goes_on_with_more_patience(wandering, wandered):
    last, _ = stop(wandering.history.validation_loss, 2)
    assert last < EPOCHS
    stopped = train(patience=2)
    again = train(patience=2, params=stopped.state)
    chex.assert_trees_all_equal(again[:2], stopped[:2])
    assert_no_row(again.history)
    # Both to the same epoch, beyond the end of the run that had the patience from the start.
    rest = train(patience=EPOCHS, params=stopped.state)
    whole = concatenate(wandering.history, train(patience=EPOCHS, params=wandering.state).history)
    joined = concatenate(rows_of(stopped.history, last), rest.history)
    chex.assert_trees_all_equal(joined, rows_of(whole, last + EPOCHS))
    assert (rest.state.epoch, rest.epoch) == stop(joined.validation_loss)
    chex.assert_trees_all_equal(rest.params, wandered[int(rest.epoch) - 1].params)
    after = epoch_by_epoch(last, params=wandered[-1].state)[-1]
    chex.assert_trees_all_equal(rest.state._replace(best=None), after.state)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": optax.sgd(0.3, momentum=0.9), "dropout": 0.3},
        {"optimizer": optax.adam(2.0), "ema_decay": 0.5},
    ],
    ids=["momentum, dropout", "adam, average"],
)
def test_a_validated_run_continues_bit_for_bit(options):
    half = EPOCHS // 2
    stops = set()
    for patience in (1, 2, 4, 6, 8, EPOCHS):
        whole = train(**options, patience=patience)
        first = train(**options, patience=patience, epochs=half)
        rest = train(**options, patience=patience, epochs=half, params=first.state)
        joined = concatenate(first.history, rest.history)
        chex.assert_trees_all_equal((*rest[:2], joined), tuple(whole))
        assert (whole.state.epoch, whole.epoch) == stop(
            rows_of(joined.validation_loss, int(whole.state.epoch)), patience
        )
        stops.add(int(whole.state.epoch))
    # Stopped in the first half, in the second, and not at all.
    assert min(stops) < half
    assert any(half < last < EPOCHS for last in stops)
    assert max(stops) == EPOCHS


# Members.


def test_members_stop_each_as_it_would_alone():
    keys = jax.random.split(KEY, 4)
    rates = jnp.array([0.5, 1.0, 1.0, 2.0])
    patiences = jnp.array([2, 1, EPOCHS, 3])

    @jax.jit
    @jax.vmap
    def run(params, key, rate, patience):
        return train(rate, key=key, patience=patience, params=params)

    # With room for the best, so that going on is the same program.
    best = ls.training.Best(PARAMS, jnp.float32(np.inf), jnp.int32(0))
    start = ls.init_state(PARAMS, optax.sgd(1.0))._replace(best=best)
    starts = jax.tree.map(lambda a: jnp.stack([a] * 4), start)
    members = run(starts, keys, rates, patiences)
    lasts = set()
    for member, arguments in enumerate(zip(keys, rates, patiences, strict=True)):
        key, rate, patience = arguments
        alone = train(rate, key=key, patience=patience)
        own = member_of(members, member)
        assert (own.state.epoch, own.epoch) == (alone.state.epoch, alone.epoch)
        chex.assert_trees_all_close(own, alone, rtol=1e-3, atol=1e-4)
        assert_no_row(rows_of(own.history, int(own.state.epoch), None))
        lasts.add(int(own.state.epoch))
    assert len(lasts) >= 3
    assert max(lasts) == EPOCHS
    # Those that have stopped stay as they are while another goes on.
    on = run(members.state, keys, rates, patiences)
    for member, last in enumerate(members.state.epoch):
        if last < EPOCHS:
            chex.assert_trees_all_equal(member_of(on[:2], member), member_of(members[:2], member))
            assert_no_row(member_of(on.history, member))
    assert on.state.epoch.max() > EPOCHS


MANY = draw_samples(10)
FOLDS = np.float32(np.arange(10) % 5 != np.arange(5)[:, None])
COUNTS = np.random.default_rng(0).multinomial(10, [0.1] * 10, size=5)


@pytest.fixture(scope="module")
def train_rows():
    """A member for each row of weights, over one copy of the data."""

    def run(row, held_out):
        return train(
            inputs=MANY[0], targets=MANY[1], batch_size=None, sample_weight=row,
            validation=held_out,
        )  # fmt: skip

    return jax.jit(jax.vmap(run))


def test_folds_are_rows_of_weights(train_rows):
    members = train_rows(FOLDS, 1 - FOLDS)
    for member, row in enumerate(FOLDS):
        inside, outside = row == 1, row == 0
        assert outside.sum() == 2
        alone = train(
            inputs=MANY[0][inside], targets=MANY[1][inside], batch_size=None,
            validation=(MANY[0][outside], MANY[1][outside]),
        )  # fmt: skip
        own = member_of(members, member)
        # What the best was measured on is not the same set, but for samples that do not count.
        best = own.state.best._replace(measure=alone.state.best.measure)
        own = own._replace(state=own.state._replace(best=best))
        chex.assert_trees_all_close(own, alone, rtol=1e-3, atol=1e-4)
    assert np.unique(members.epoch).size > 1


def test_bootstraps_are_rows_of_counts(train_rows):
    left_out = np.int32(COUNTS == 0)
    members = train_rows(COUNTS, left_out)
    for member, row in enumerate(COUNTS):
        drawn = np.repeat(np.arange(10), row)
        assert 0 < left_out[member].sum() < 9
        alone = train(
            inputs=MANY[0][drawn], targets=MANY[1][drawn], batch_size=None,
            validation=(*MANY, left_out[member]),
        )  # fmt: skip
        own = member_of(members, member)
        chex.assert_trees_all_close(own, alone, rtol=1e-3, atol=1e-4)


# Hyperparameters.


def clipped(learning_rate, decay, norm):
    """An optimizer of one's own."""
    return optax.chain(
        optax.clip_by_global_norm(norm), optax.add_decayed_weights(decay), optax.adam(learning_rate)
    )


@pytest.mark.parametrize(
    ("optimizer", "sets"),
    [
        (optax.sgd, [{"learning_rate": 0.1, "momentum": 0.9}, {"learning_rate": 0.3, "momentum": 0.5}]),
        (clipped, [{"learning_rate": 0.1, "decay": 0.1, "norm": 0.5}, {"learning_rate": 0.2, "decay": 0.0, "norm": 2.0}]),
    ],
    ids=["momentum", "own"],
)  # fmt: skip
def test_hyperparams_are_those_of_the_optimizer(compilations, optimizer, sets):
    def run(hyperparams):
        return train(optimizer=optimizer, hyperparams=hyperparams, epochs=6)

    first = run(sets[0])
    seen = len(compilations)
    second = run(sets[1])
    assert len(compilations) == seen
    assert (second.history.loss[1:] != first.history.loss[1:]).all()
    built = train(optimizer=optimizer(**sets[1]), epochs=6)
    chex.assert_trees_all_close(second, built, rtol=1e-4, atol=1e-5)


def test_hyperparams_may_be_injected_into_the_state(wandering, compilations):
    def run(params, rate=0.1):
        optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)
        if params is PARAMS:
            params = ls.init_state(PARAMS, optimizer)
        hyperparams = {"learning_rate": jnp.float32(rate)}
        opt_state = params.opt_state._replace(hyperparams=hyperparams)
        params = params._replace(opt_state=opt_state)
        return train(optimizer=optimizer, params=params, validation=None)

    slow = run(PARAMS)
    seen = len(compilations)
    fast, on = run(PARAMS, 1.0), run(slow.state, 1.0)
    assert len(compilations) == seen
    wanted = train(patience=EPOCHS, params=train(0.1, patience=EPOCHS).state)
    for injected, validated in ((fast, wandering), (on, wanted)):
        np.testing.assert_allclose(injected.history.loss, validated.history.loss, rtol=1e-3)
        chex.assert_trees_all_close(injected.params, validated.state.params, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("optimizer", "hyperparams", "error", "message"),
    [
        (optax.sgd, 0.1, TypeError, r"^hyperparams: .*by name, got 0\.1"),
        (optax.sgd, [("learning_rate", 0.1)], TypeError, r"^hyperparams: .*by name, got \["),
        (optax.sgd, {"learning_rate": np.nan}, ValueError, r"^hyperparams\['learning_rate'\]: expected finite"),
        (optax.sgd, {"learning_rate": np.inf}, ValueError, r"^hyperparams\['learning_rate'\]: expected finite"),
        (optax.sgd, {"learning_rate": "high"}, TypeError, r"^hyperparams\['learning_rate'\]: .*got dtype <U4"),
        (optax.sgd, {"rate": 0.1}, TypeError, r"rate"),
        (optax.sgd(0.1), {"learning_rate": 0.1}, TypeError, r"^optimizer: .*function.*got GradientTransformation"),
        ("sgd", {"learning_rate": 0.1}, TypeError, r"^optimizer: .*function.*got str"),
        (lambda learning_rate: -learning_rate, {"learning_rate": 0.1}, TypeError, r"^optimizer: .*GradientTransformation, got "),
        (optax.sgd, None, TypeError, r"^optimizer: .*GradientTransformation, got function"),
    ],
)  # fmt: skip
def test_hyperparams_say_what_they_expected(optimizer, hyperparams, error, message):
    with pytest.raises(error, match=message):
        train(optimizer=optimizer, hyperparams=hyperparams)


# Divergence.


def bursting(at, burst):
    """Plain descent whose rate jumps after so many steps."""
    return optax.sgd(lambda count: jnp.where(count < at, 0.01, burst))


def burst(at, rate, *, params=ZEROS, **options):
    options = {"epochs": 6, "batch_size": None, "validation": None, **options}
    return train(
        optimizer=bursting, hyperparams={"at": at, "burst": rate}, params=params,
        inputs=10 * INPUTS, **options,
    )  # fmt: skip


BURSTS = {
    "parameters": {"at": 3, "rate": 3e38},  # to infinity at once
    "loss": {"at": 2, "rate": 1e37},  # whose logits overflow an epoch later
}


@pytest.mark.parametrize("kind", BURSTS)
def test_an_epoch_that_is_not_finite_is_taken_back(kind):
    with pytest.warns(RuntimeWarning, match=r"epoch 4\b.*after epoch 3\b.*learning rate") as caught:
        result = burst(**BURSTS[kind])
    assert [warning.filename for warning in caught] == [__file__]
    assert result.state.epoch == result.epoch == 3
    before = burst(**BURSTS[kind], epochs=3)
    chex.assert_tree_all_finite(before)
    chex.assert_trees_all_equal(result[:2], before[:2])
    chex.assert_trees_all_equal(rows_of(result.history, 3), before.history)
    # Its loss stands as it was seen, before the update.
    assert np.isfinite(result.history.loss[3]) == (kind == "parameters")
    assert_no_row(rows_of(result.history, 4, None))


def test_a_run_goes_on_from_before_the_epoch_that_was_not_finite():
    with pytest.warns(RuntimeWarning, match="epoch 4"):
        diverged = burst(3, 3e38)
    result = burst(3, 0.01, params=diverged.state)
    assert result.state.epoch == 9
    chex.assert_tree_all_finite(result)
    whole = concatenate(rows_of(diverged.history, 3), result.history)
    np.testing.assert_allclose(whole.loss[:6], burst(9, 3e38).history.loss, rtol=1e-5)
    # Epochs are counted from the start of the training, not of the run.
    with pytest.warns(RuntimeWarning, match=r"epoch 11\b.*after epoch 10\b"):
        later = burst(10, 3e38, params=result.state)
    assert later.state.epoch == 10
    assert_no_row(rows_of(later.history, 2, None))


def test_a_run_that_diverges_keeps_its_best():
    with pytest.warns(RuntimeWarning, match="epoch 4"):
        result = burst(3, 3e38, validation=HELD, patience=6)
    losses = result.history.validation_loss[:3]
    assert np.isfinite(losses).all()
    assert result.epoch == np.argmin(losses) + 1
    assert result.state.best.loss == losses.min()
    assert result.state.epoch == 3
    chex.assert_tree_all_finite((result.params, result.state))
    # One whose patience ends says nothing of the kind.
    assert burst(9, 3e38, validation=(HELD[0], 1 - HELD[1]), patience=1).state.epoch == 2


def test_only_the_member_that_diverges_stops():
    ats = jnp.array([3, 100, 1])
    members = jax.vmap(lambda at: burst(at, 3e38))(ats)
    np.testing.assert_array_equal(members.state.epoch, [3, 6, 1])
    steady = burst(100, 3e38)  # which warns of nothing
    chex.assert_trees_all_close(member_of(members, 1), steady, rtol=1e-5, atol=1e-6)
    for member in (0, 2):
        with pytest.warns(RuntimeWarning, match="stopped being finite"):
            alone = burst(ats[member], 3e38)
        chex.assert_trees_all_close(member_of(members, member), alone, rtol=1e-5, atol=1e-6)


def test_a_run_is_differentiable_and_warns_of_nothing_inside_a_trace():
    def slope(at):
        def run(params):
            return burst(at, 3e38, params=params, validation=HELD).history.validation_loss[1]

        return jax.grad(run)(ZEROS)

    def by_hand(params):
        for _ in range(2):
            gradient = jax.grad(ls.summed_loss)(params, 10 * INPUTS, TARGETS)
            params = jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient)
        return ls.summed_loss(params, *HELD)

    chex.assert_trees_all_close(slope(100), jax.jit(jax.grad(by_hand))(ZEROS), rtol=1e-4)
    slope(3)


# The history.

loss_and_gradient = jax.jit(jax.value_and_grad(ls.summed_loss))
activations_of = jax.jit(jax.vmap(ls.activations, (None, 0)))
WEIGHTS = np.array([1.0, 0.5, 0.0, 2.0, 1.5, 1.0, 0.25], np.float32)


@pytest.mark.parametrize(
    ("batch_size", "reduction", "weights"),
    [(SAMPLES, "sum", np.ones(SAMPLES)), (3, "mean", WEIGHTS)],
    ids=["one batch", "batches, weights, mean"],
)
def test_gradients_and_saturation_are_those_of_each_epoch_s_first_batch(
    batch_size, reduction, weights
):
    rate = 1.0
    params = start = jax.tree.map(lambda a: 2 * a, PARAMS)
    norms, shares = [], []
    for epoch in range(3):
        order = np.arange(SAMPLES)
        if batch_size < SAMPLES:
            order = np.asarray(ls.training.epoch_order(KEY, epoch, SAMPLES))
        for first in range(0, SAMPLES, batch_size):
            own = np.zeros(SAMPLES)
            own[order[first : first + batch_size]] = weights[order[first : first + batch_size]]
            each = [np.abs(np.asarray(a) - 0.5) > 0.48 for a in activations_of(params, INPUTS)]
            saturated = [own @ share.mean(1) / own.sum() for share in each]
            _, gradient = loss_and_gradient(params, INPUTS, TARGETS, weights=own)
            divisor = own.sum() if reduction == "mean" else 1
            gradient = jax.tree.map(lambda g, by=divisor: g / by, gradient)
            if first == 0:
                shares.append(saturated)
                norms.append([np.sqrt(np.sum(g.weight**2) + np.sum(g.bias**2)) for g in gradient])
            params = jax.tree.map(lambda p, g: p - rate * g, params, gradient)
    history = train(
        rate, params=start, epochs=3, batch_size=batch_size, reduction=reduction,
        sample_weight=weights, validation=None,
    ).history  # fmt: skip
    np.testing.assert_allclose(history.gradient_norm, norms, rtol=1e-4)
    np.testing.assert_allclose(history.saturated, shares, rtol=1e-5)
    assert np.unique(shares).size > 2
    assert np.isnan(history.stuck).sum() == 0


XOR = np.float32([[0, 0], [0, 1], [1, 0], [1, 1]]), np.float32([[0], [1], [1], [0]])


def test_a_run_that_answers_every_sample_alike_is_stuck():
    def run(params, rate):
        return train(
            rate, params=params, inputs=XOR[0], targets=XOR[1], epochs=400, batch_size=None,
            validation=None,
        )  # fmt: skip

    zeros = ls.init_params(KEY, (2, 4, 1), scheme="zeros")
    np.testing.assert_array_equal(run(zeros, 0.0).history.stuck, np.ones(400))
    trained = run(jax.tree.map(lambda a: 4 * a, ls.init_params(KEY, (2, 4, 1))), 1.0)
    assert trained.history.accuracy[-1] == 1
    assert trained.history.stuck[-1] == 0


def by_class(z, label):
    """A loss of one's own, of classes and one output."""
    return jax.nn.softplus(jnp.where(label == 1, -z[0], z[0]))


CLASSES = TARGETS.argmax(1)
BASES = {
    "softmax of rows, a class absent": (softmax_cross_entropy, np.eye(3)[CLASSES]),
    "softmax of classes": (softmax_cross_entropy, CLASSES),
    "logistic rows": (sigmoid_cross_entropy, 0.8 * TARGETS + 0.1),
    "one output": (sigmoid_cross_entropy, CLASSES[:, None]),
    "classes of one output": (by_class, CLASSES),
}


@pytest.mark.parametrize("case", BASES)
def test_stuck_is_within_1_percent_of_the_loss_of_the_weighted_base_rate(case):
    loss, targets = BASES[case]
    softmax, weights = loss is softmax_cross_entropy, ROW[:, None] / ROW.sum()
    if targets.ndim == 2:
        p = np.sum(weights * targets, 0)
    else:
        p = np.sum(weights * (np.eye(2)[targets] if softmax else targets[:, None]), 0)

    def of_logits(z):  # the same whatever the input, by way of a bias
        return (special.logsumexp(z) if softmax else np.logaddexp(0, z).sum()) - p @ z

    base = np.log(np.maximum(p, 1e-9)) if softmax else special.logit(p)
    first = np.eye(p.size)[0]
    for excess, stuck in ((0.009, 1), (0.011, 0)):
        shift = optimize.brentq(
            lambda t, by=1 + excess: of_logits(base + t * first) - by * of_logits(base), 0, 5
        )
        bias = np.float32(base + shift * first)
        params = (ls.Layer(np.zeros((p.size, 3), np.float32), bias),)
        history = train(
            0.0, params=params, targets=targets, loss=loss, epochs=1, sample_weight=ROW,
            validation=None,
        ).history  # fmt: skip
        wanted = (1 + excess) * ROW.sum() * of_logits(base)
        np.testing.assert_allclose(history.loss, [wanted], rtol=1e-5)
        np.testing.assert_array_equal(history.stuck, [stuck])


# Compilation.


def test_a_second_validated_run_compiles_nothing(compilations):
    def run(sign, rate, patience, min_delta, seed, state):
        held = (sign * HELD[0], HELD[1], HELD_WEIGHTS)
        train(rate, patience=patience, min_delta=min_delta, validation=held)
        train(patience=np.int64(patience), min_delta=1, key=jax.random.key(seed))
        return train(patience=patience, params=state).state

    state = run(1, 1.0, EPOCHS, 0.5, 2, train(patience=EPOCHS).state)
    seen = len(compilations)
    run(-1, 0.5, 3, 0.25, 3, state)
    assert len(compilations) == seen
