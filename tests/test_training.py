"""Training: the summed loss, one step, and the run that scans it."""

import functools
import inspect
import itertools

import chex
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings, strategies
from hypothesis.extra import numpy as arrays

import logistack as ls
from logistack.losses import cross_entropy, sigmoid_cross_entropy, softmax_cross_entropy
from logistack.training import epoch_order

KEY = jax.random.key(0)
SIZES = (3, 4, 2)
SAMPLES = 7
normal = np.random.default_rng(0).standard_normal
INPUTS = normal((SAMPLES, 3)).astype(np.float32)
LABELS = np.array([0, 1, 1, 0, 1, 0, 0])
TARGETS = np.eye(2, dtype=np.float32)[LABELS]
WEIGHTS = np.array([1.0, 0.5, 0.0, 2.0, 1.5, 1.0, 0.25], np.float32)
PARAMS = tuple(
    ls.Layer(jnp.float32(normal((fan_out, fan_in))), jnp.float32(normal(fan_out)))
    for fan_in, fan_out in itertools.pairwise(SIZES)
)


def train(optimizer=None, *, key=KEY, params=PARAMS, inputs=INPUTS, targets=TARGETS, **options):
    """A short run, for tests that change one thing."""
    optimizer = optax.sgd(0.1) if optimizer is None else optimizer
    return ls.fit(key, params, inputs, targets, **{"epochs": 3, **options}, optimizer=optimizer)


# Compiled once for all tests of equal shapes.
summed_loss = jax.jit(ls.summed_loss, static_argnames="loss")
loss_and_gradient = jax.jit(jax.value_and_grad(ls.summed_loss))
order_of = jax.jit(epoch_order, static_argnums=2)


def to_float64(tree):
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), tree)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# An independent implementation, in NumPy and float64, with backpropagation by hand.


def momentum(rate, decay, velocity=0.0):
    def update(gradient):
        nonlocal velocity
        velocity = decay * velocity + gradient
        return -rate * velocity

    return update


def adam(rate, b1=0.9, b2=0.999, eps=1e-8, mean=0.0, square=0.0):
    steps = itertools.count(1)

    def update(gradient):
        nonlocal mean, square
        step = next(steps)
        mean = b1 * mean + (1 - b1) * gradient
        square = b2 * square + (1 - b2) * gradient**2
        return -rate * (mean / (1 - b1**step)) / (np.sqrt(square / (1 - b2**step)) + eps)

    return update


def reference_gradient(theta, x, y, w, softmax):
    """The summed loss of a batch, the weight of those classified correctly, and the gradient."""
    (w1, b1), (w2, b2) = theta
    hidden = sigmoid(x @ w1.T + b1)
    z = hidden @ w2.T + b2
    if softmax:
        output = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        each = -(y * np.log(output)).sum(1)
    else:
        output = sigmoid(z)
        each = -(y * np.log(output) + (1 - y) * np.log(1 - output)).sum(1)
    delta2 = w[:, None] * (output - y)
    delta1 = delta2 @ w2 * hidden * (1 - hidden)
    gradient = (delta1.T @ x, delta1.sum(0)), (delta2.T @ hidden, delta2.sum(0))
    correct = w[z.argmax(1) == y.argmax(1)].sum()
    return w @ each, correct, gradient


def reference_fit(
    make_update, *, epochs, batch_size=SAMPLES, w=None, reduction="sum", softmax=False, key=KEY
):
    """What `fit` should return: parameters, losses and accuracies."""
    x, y, theta = (jax.tree.map(np.float64, tree) for tree in (INPUTS, TARGETS, PARAMS))
    w = np.ones(SAMPLES) if w is None else np.float64(w)
    updates = jax.tree.map(lambda _: make_update(), theta)
    history = []
    for epoch in range(epochs):
        order = np.arange(SAMPLES)
        if batch_size < SAMPLES:
            order = np.asarray(order_of(key, epoch, SAMPLES))
        seen = np.zeros(2)
        for start in range(0, SAMPLES, batch_size):
            batch = order[start : start + batch_size]
            loss, correct, gradient = reference_gradient(
                theta, x[batch], y[batch], w[batch], softmax
            )
            seen += loss, correct
            if reduction == "mean":
                total = w[batch].sum()
                gradient = jax.tree.map(lambda g, total=total: g / total, gradient)
            theta = jax.tree.map(lambda t, u, g: t + u(g), theta, updates, ls_like(theta, gradient))
        history.append(seen / (w.sum() if reduction == "mean" else 1, w.sum()))
    return theta, *np.transpose(history)


def ls_like(theta, gradient):
    return jax.tree.unflatten(jax.tree.structure(theta), jax.tree.leaves(gradient))


WEIGHTED = {"batch_size": 3, "sample_weight": WEIGHTS, "reduction": "mean"}


@pytest.mark.parametrize(
    ("optimizer", "make_update", "options"),
    [
        (optax.sgd(0.1), lambda: momentum(0.1, 0.0), {}),
        (optax.sgd(0.05, momentum=0.9), lambda: momentum(0.05, 0.9), {"batch_size": 3}),
        (optax.adam(0.01), lambda: adam(0.01), WEIGHTED),
    ],
    ids=["one batch", "momentum, batches", "adam, weighted"],
)
def test_training_equals_numpy_in_float64(x64, optimizer, make_update, options):
    given = train(optimizer, params=to_float64(PARAMS), epochs=4, **options)
    reference = {"w" if name == "sample_weight" else name: v for name, v in options.items()}
    params, loss, accuracy = reference_fit(make_update, epochs=4, **reference)
    chex.assert_trees_all_close(given.params, params, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(given.history.loss, loss, rtol=1e-10)
    np.testing.assert_allclose(given.history.accuracy, accuracy, rtol=1e-10)
    assert given.history.loss.shape == given.history.accuracy.shape == (4,)


@pytest.mark.parametrize("targets", [LABELS, TARGETS], ids=["classes", "rows"])
def test_training_with_softmax_equals_numpy_in_float64(x64, targets):
    given = train(
        params=to_float64(PARAMS), targets=targets, loss=softmax_cross_entropy, batch_size=5,
        sample_weight=WEIGHTS,
    )  # fmt: skip
    params, loss, accuracy = reference_fit(
        lambda: momentum(0.1, 0.0), epochs=3, batch_size=5, w=WEIGHTS, softmax=True
    )
    chex.assert_trees_all_close(given.params, params, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(given.history.loss, loss, rtol=1e-10)
    np.testing.assert_allclose(given.history.accuracy, accuracy, rtol=1e-10)


def test_training_in_float32_equals_numpy_to_its_precision():
    given = train(optax.adam(0.01), batch_size=3)
    params, loss, _ = reference_fit(lambda: adam(0.01), epochs=3, batch_size=3)
    chex.assert_trees_all_close(
        given.params, jax.tree.map(np.float32, params), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(given.history.loss, loss, rtol=1e-5)


# The order of the samples.


@pytest.mark.parametrize("samples", [1, 2, 8, 5000])
def test_an_epoch_takes_every_sample_once(samples):
    order = order_of(KEY, 3, samples)
    assert order.dtype == jnp.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(samples))


def test_epochs_and_keys_have_their_own_order():
    orders = [
        np.asarray(order_of(jax.random.key(seed), epoch, SAMPLES))
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert all((one != other).any() for one, other in itertools.combinations(orders, 2))
    np.testing.assert_array_equal(orders[1], epoch_order(KEY, jnp.int32(1), SAMPLES))


def test_all_orders_are_equally_likely():
    keys = jax.random.split(KEY, 24 * 200)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: epoch_order(key, 0, 4)))(keys))
    counts = np.unique(orders @ (64, 16, 4, 1), return_counts=True)[1]
    assert counts.shape == (24,)
    # χ² of 23 degrees of freedom exceeds 58 once in 12 000 draws.
    assert ((counts - 200) ** 2 / 200).sum() < 58


def test_every_place_of_a_large_set_is_equally_likely():
    # Large enough that one round of random bits is not sorted alone.
    keys = jax.random.split(KEY, 100)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: epoch_order(key, 0, 5000)))(keys))
    for sample in (0, 1, 2500, 4999):
        places = np.argmax(orders == sample, axis=1)
        counts = np.histogram(places, bins=4, range=(0, 5000))[0]
        assert ((counts - 25) ** 2 / 25).sum() < 21  # χ² of 3: once in 10 000
    # Neighbors do not stay neighbors: the share of i followed by i + 1 is about 1 / n.
    assert (np.diff(orders) == 1).mean() < 10 / 5000


def test_every_sample_counts_once_an_epoch_though_batches_leave_a_rest():
    still = train(optax.sgd(0.0), batch_size=3, epochs=2, sample_weight=WEIGHTS)
    loss = summed_loss(PARAMS, INPUTS, TARGETS, weights=WEIGHTS)
    z = jax.vmap(ls.logits, (None, 0))(PARAMS, INPUTS)
    accuracy = ls.metrics.accuracy(z, TARGETS, weights=WEIGHTS)
    np.testing.assert_allclose(still.history.loss, [loss] * 2, rtol=1e-5)
    np.testing.assert_allclose(still.history.accuracy, [accuracy] * 2, rtol=1e-6)


def test_a_batch_of_all_samples_is_the_full_batch():
    one, other = train(batch_size=SAMPLES), train(batch_size=None, key=jax.random.key(9))
    chex.assert_trees_all_equal(one, other)


def test_the_key_orders_the_batches():
    one, other = train(batch_size=3), train(batch_size=3, key=jax.random.key(9))
    assert (one.history.loss != other.history.loss).any()


# History, state and steps.


def test_history_is_measured_before_each_update():
    params, losses = PARAMS, []
    for _ in range(3):
        losses.append(summed_loss(params, INPUTS, TARGETS))
        params = train(params=params, epochs=1).params
    np.testing.assert_allclose(train(epochs=3).history.loss, losses, rtol=1e-5)


def test_no_epochs_change_nothing():
    result = train(optax.adam(0.1), epochs=0)
    chex.assert_trees_all_equal(result.params, PARAMS)
    chex.assert_trees_all_equal(result.state, ls.init_state(PARAMS, optax.adam(0.1)))
    assert result.history.loss.shape == result.history.accuracy.shape == (0,)


@pytest.mark.parametrize(
    ("make", "batch_size"),
    [
        (lambda: optax.sgd(0.1, momentum=0.9), None),
        (lambda: optax.adam(0.01), 3),
    ],
    ids=["momentum", "adam, batches"],
)
def test_a_run_continues_bit_for_bit(make, batch_size):
    whole = train(make(), epochs=6, batch_size=batch_size)
    half = train(make(), epochs=3, batch_size=batch_size)
    # One epoch alone, which XLA may compile as no loop at all, and the rest.
    for first, other in ((half, 3), (train(make(), epochs=1, batch_size=batch_size), 5)):
        rest = train(make(), epochs=other, batch_size=batch_size, params=first.state)
        joined = jax.tree.map(lambda *rows: np.concatenate(rows), first.history, rest.history)
        chex.assert_trees_all_equal((*rest[:2], joined), tuple(whole))
    assert whole.state.epoch == 6
    chex.assert_trees_all_equal(whole.state.params, whole.params)


def test_a_run_is_a_pure_function_of_its_arguments():
    state = ls.init_state(PARAMS, optax.adam(0.01))
    before = jax.tree.map(np.array, state)
    one, other = (train(optax.adam(0.01), params=state, batch_size=3) for _ in range(2))
    chex.assert_trees_all_equal(one, other)
    chex.assert_trees_all_equal(state, before)


def test_a_state_of_numpy_arrays_continues():
    half = train(optax.adam(0.01), batch_size=3)
    state = jax.tree.map(np.asarray, half.state)
    chex.assert_trees_all_equal(
        train(optax.adam(0.01), batch_size=3, params=state),
        train(optax.adam(0.01), batch_size=3, params=half.state),
    )


def test_a_loop_of_steps_is_fit():
    optimizer = optax.adam(0.01)
    step = jax.jit(ls.make_step(optimizer))
    state, rows = ls.init_state(PARAMS, optimizer), []
    for epoch in range(3):
        order = order_of(KEY, epoch, SAMPLES)
        batches = []
        for place, batch in enumerate((order[:3], order[3:6], order[6:])):
            first = jnp.asarray(place == 0)
            state, seen = step(state, INPUTS[batch], TARGETS[batch], examined=first)
            batches.append(seen)
        rows.append(ls.BatchSums(*map(sum, zip(*batches, strict=True))))
    result = train(optimizer, batch_size=3)
    chex.assert_trees_all_close(result.params, state.params, rtol=1e-5, atol=1e-6)
    history = result.history
    for epoch, row in enumerate(rows):
        assert row.weight == SAMPLES
        np.testing.assert_allclose(history.loss[epoch], row.loss, rtol=1e-5)
        np.testing.assert_allclose(history.accuracy[epoch], row.correct / SAMPLES, rtol=1e-5)
        np.testing.assert_allclose(history.saturated[epoch], row.saturated / 3, rtol=1e-5)
        norm = jnp.sqrt(row.gradient_square)
        np.testing.assert_allclose(history.gradient_norm[epoch], norm, rtol=1e-5)


def test_what_a_step_saw_adds_up():
    step = jax.jit(ls.make_step(optax.sgd(0.1)))
    state = ls.init_state(PARAMS, optax.sgd(0.1))
    (after, whole), *parts = (
        step(state, INPUTS[part], TARGETS[part], WEIGHTS[part])
        for part in (slice(None), slice(4), slice(4, None))
    )
    assert after.epoch == state.epoch
    # All but the gradient's square is a sum over samples, whatever the batch.
    *sums, gradient_square = zip(*(seen for _, seen in parts), strict=True)
    chex.assert_trees_all_close(tuple(map(sum, sums)), whole[:-1], rtol=1e-6)
    np.testing.assert_allclose(whole.weight, WEIGHTS.sum())
    np.testing.assert_allclose(whole.target, WEIGHTS @ TARGETS)
    gradient = loss_and_gradient(PARAMS, INPUTS, TARGETS, weights=WEIGHTS)[1]
    squares = [sum((part**2).sum() for part in layer) for layer in gradient]
    np.testing.assert_allclose(whole.gradient_square, squares, rtol=1e-5)
    assert (abs(sum(gradient_square) - whole.gradient_square) > 0.1).all()


# The summed loss.


def test_summed_loss_is_the_sum_over_samples():
    x, y, theta = (jax.tree.map(np.float64, tree) for tree in (INPUTS, TARGETS, PARAMS))
    for weights in (np.ones(SAMPLES), np.float64(WEIGHTS)):
        wanted, _, _ = reference_gradient(theta, x, y, weights, softmax=False)
        given = summed_loss(PARAMS, INPUTS, TARGETS, weights=np.float32(weights))
        np.testing.assert_allclose(given, wanted, rtol=1e-6)
    np.testing.assert_allclose(ls.summed_loss(PARAMS, INPUTS, TARGETS, weights=WEIGHTS), given)
    by_rows, by_class = (
        summed_loss(PARAMS, INPUTS, targets, loss=softmax_cross_entropy)
        for targets in (TARGETS, LABELS)
    )
    np.testing.assert_allclose(by_rows, by_class, rtol=1e-6)


def article_loss(z, target):
    return cross_entropy(jax.nn.sigmoid(z), target)


@pytest.mark.parametrize("loss", [sigmoid_cross_entropy, article_loss])
def test_the_gradient_of_the_summed_loss_equals_central_differences(x64, loss):
    flat, unravel = jax.flatten_util.ravel_pytree(to_float64(PARAMS))
    value = jax.jit(
        lambda flat: ls.summed_loss(unravel(flat), INPUTS, TARGETS, loss=loss, weights=WEIGHTS)
    )
    step = 1e-6
    nudges = step * jnp.eye(flat.size)
    differences = [(value(flat + nudge) - value(flat - nudge)) / (2 * step) for nudge in nudges]
    np.testing.assert_allclose(jax.grad(value)(flat), differences, rtol=1e-6, atol=1e-8)


def test_the_gradient_at_pre_activation_0_is_that_of_the_formula():
    # All pre-activations of a network of zeros are exactly 0, where |z| and max(z, 0) have kinks.
    params = ls.init_params(KEY, SIZES, scheme="zeros")
    _, (_, last) = loss_and_gradient(params, INPUTS, TARGETS)
    wanted = (0.5 - TARGETS).sum(0)
    np.testing.assert_allclose(last.bias, wanted, atol=1e-6)
    np.testing.assert_allclose(last.weight, np.outer(wanted, np.full(4, 0.5)), atol=1e-6)


@settings(max_examples=15)
@given(arrays.arrays(np.float32, (2, SAMPLES), elements=strategies.floats(0.125, 4, width=32)))
def test_the_summed_loss_is_linear_in_the_weights(rows):
    def both(weights):
        return loss_and_gradient(PARAMS, INPUTS, TARGETS, weights=weights)

    one, other = map(both, rows)
    together = both(rows[0] + 3 * rows[1])
    combined = jax.tree.map(lambda a, b: a + 3 * b, one, other)
    chex.assert_trees_all_close(together, combined, rtol=1e-4, atol=1e-4)


def test_weight_2_is_a_sample_twice_and_weight_0_a_sample_left_out():
    weights = np.array([1, 2, 0, 1, 1, 0, 2], np.float32)
    rows = np.repeat(np.arange(SAMPLES), weights.astype(int))
    chex.assert_trees_all_close(
        loss_and_gradient(PARAMS, INPUTS, TARGETS, weights=weights),
        loss_and_gradient(PARAMS, INPUTS[rows], TARGETS[rows]),
        rtol=1e-5,
        atol=1e-6,
    )
    weighted = train(sample_weight=weights, reduction="mean")
    repeated = train(inputs=INPUTS[rows], targets=TARGETS[rows], reduction="mean")
    chex.assert_trees_all_close(weighted, repeated, rtol=1e-5, atol=1e-6)


def test_weights_of_1_are_no_weights():
    one = train(batch_size=3, sample_weight=np.ones(SAMPLES, int))
    chex.assert_trees_all_close(one, train(batch_size=3), rtol=1e-6)


def test_a_batch_whose_samples_all_have_weight_0_changes_nothing():
    weights = np.eye(SAMPLES)[2]
    result = train(batch_size=1, sample_weight=weights, reduction="mean", epochs=1)
    alone = train(inputs=INPUTS[2:3], targets=TARGETS[2:3], epochs=1)
    chex.assert_trees_all_close(result.params, alone.params, rtol=1e-6)
    chex.assert_tree_all_finite(result)


# Composition.


def member_of(tree, member):
    # In NumPy: every shape of a JAX array would be another program.
    return jax.tree.map(lambda a: np.asarray(a)[member], tree)


def test_fit_inside_jit_is_fit():
    def run(key, params, inputs, targets, weights):
        return train(
            key=key, params=params, inputs=inputs, targets=targets, sample_weight=weights,
            batch_size=3,
        )  # fmt: skip

    arguments = (KEY, PARAMS, INPUTS, TARGETS, WEIGHTS)
    chex.assert_trees_all_close(jax.jit(run)(*arguments), run(*arguments), rtol=1e-5, atol=1e-6)


def test_data_may_be_constants_of_a_trace():
    data = {
        "inputs": jnp.array(INPUTS),
        "targets": jnp.array(LABELS),
        "loss": softmax_cross_entropy,
    }
    weights = jnp.array(WEIGHTS)

    def run(key):
        return train(key=key, sample_weight=weights, batch_size=3, **data)

    chex.assert_trees_all_close(jax.jit(run)(KEY), run(KEY), rtol=1e-5, atol=1e-6)
    for rows in (data, {**data, "targets": jnp.array(TARGETS), "loss": sigmoid_cross_entropy}):
        total = jax.jit(lambda params, rows=rows: ls.summed_loss(params, **rows, weights=weights))
        wanted = summed_loss(PARAMS, **rows, weights=weights)
        np.testing.assert_allclose(total(PARAMS), wanted, rtol=1e-6)


def test_fit_inside_vmap_over_keys_is_fit():
    keys = jax.random.split(KEY, 3)
    members = jax.vmap(lambda key: train(key=key, batch_size=3))(keys)
    for member, key in enumerate(keys):
        alone = train(key=key, batch_size=3)
        chex.assert_trees_all_close(member_of(members, member), alone, rtol=1e-4, atol=1e-5)
    assert len(np.unique(members.history.loss[:, -1])) == 3


def test_fit_inside_vmap_over_parameters_and_weights_is_fit():
    folds = np.float32(np.arange(SAMPLES) % 3 != np.arange(3)[:, None])
    starts = jax.tree.map(lambda a: np.stack([a, -a, 2 * a]), PARAMS)

    def run(params, weights):
        return train(params=params, sample_weight=weights, batch_size=3)

    members = jax.vmap(run)(starts, folds)
    for member, fold in enumerate(folds):
        alone = run(member_of(starts, member), fold)
        chex.assert_trees_all_close(member_of(members, member), alone, rtol=1e-4, atol=1e-5)


def test_optimizers_and_losses_of_traced_values_train():
    def run(rate, sharpness):
        decay = optax.exponential_decay(rate, transition_steps=1, decay_rate=0.5)
        return train(
            optax.chain(optax.scale(rate), optax.sgd(decay)),
            loss=lambda z, target: sigmoid_cross_entropy(z * sharpness, target),
        )

    values = (np.float32([0.5, 1.0]), np.float32([2.0, 0.5]))
    members = jax.vmap(run)(*values)
    for member in range(2):
        alone = run(*(float(value[member]) for value in values))
        chex.assert_trees_all_close(member_of(members, member), alone, rtol=1e-4, atol=1e-5)


def test_a_run_is_differentiable_in_weights_rate_and_data(x64):
    def final(weights, rate, inputs):
        result = train(
            optax.sgd(rate), params=to_float64(PARAMS), sample_weight=weights, inputs=inputs,
            batch_size=3, epochs=2,
        )  # fmt: skip
        return ls.summed_loss(result.params, INPUTS, TARGETS)

    at = (jnp.linspace(0.5, 2.0, SAMPLES), jnp.float64(0.1), jnp.float64(INPUTS))
    flat, unravel = jax.flatten_util.ravel_pytree(at)
    value = jax.jit(lambda flat: final(*unravel(flat)))
    slope = jax.jit(jax.grad(value))(flat)
    for index in (0, 3, SAMPLES - 1, SAMPLES, SAMPLES + 5):
        nudge = 1e-6 * np.eye(flat.size)[index]
        difference = (value(flat + nudge) - value(flat - nudge)) / 2e-6
        np.testing.assert_allclose(slope[index], difference, rtol=1e-6)
    assert (jnp.abs(slope[: SAMPLES + 1]) > 1e-6).all()


# Compilation.


def schedule(rate):
    return optax.warmup_cosine_decay_schedule(0.0, rate, 2, 10)


MAKERS = {
    "sgd": lambda rate: optax.sgd(rate, momentum=0.9),
    "adam": optax.adam,
    "chain": lambda rate: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule(rate))),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_second_run_compiles_nothing(compilations, make):
    def run(rate, scale):
        return train(make(rate), loss=lambda z, target: scale * sigmoid_cross_entropy(z, target))

    first = run(1e-2, 0.5)
    seen = len(compilations)
    chex.assert_trees_all_equal(run(1e-2, 0.5), first)
    assert len(compilations) == seen


def test_another_rate_or_loss_is_another_program(compilations):
    def run(rate, scale):
        return train(
            optax.sgd(rate), loss=lambda z, target: scale * sigmoid_cross_entropy(z, target)
        )

    first = run(0.1, 1).history.loss
    for rate, scale in ((0.2, 1), (0.1, 2)):
        seen = len(compilations)
        other = run(rate, scale).history.loss
        assert len(compilations) > seen
        np.testing.assert_allclose(other[0], scale * first[0], rtol=1e-6)
        assert abs(other[1] - scale * first[1]) > 1e-2


def test_other_data_of_the_same_shapes_compiles_nothing(compilations):
    other = jax.tree.map(lambda a: a * 2, PARAMS)
    keys = jax.random.split(KEY, 3)
    train(batch_size=3, sample_weight=WEIGHTS, key=keys[0])
    seen = len(compilations)
    train(batch_size=3, sample_weight=WEIGHTS[::-1], key=keys[1], params=other)
    train(batch_size=3, sample_weight=WEIGHTS, key=keys[2], inputs=-INPUTS, targets=1 - TARGETS)
    assert len(compilations) == seen


def test_a_run_is_one_program_however_many_epochs(compilations):
    train(batch_size=3)
    seen = len(compilations)
    train(batch_size=3, epochs=1234)
    assert len(compilations) == seen + 1


def test_a_loss_changed_between_runs_is_not_the_loss_compiled_before():
    captured = np.ones(2, np.float32)
    namespace = {"scale": 1.0}
    exec("def by_global(z, target): return scale * ((z - target) ** 2).sum()", namespace)

    def by_array(z, target):
        return (captured * (z - target) ** 2).sum()

    before = [train(loss=loss).history.loss for loss in (by_array, namespace["by_global"])]
    captured[:], namespace["scale"] = 2.0, 2.0
    after = [train(loss=loss).history.loss for loss in (by_array, namespace["by_global"])]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(other[0], 2 * one[0], rtol=1e-6)


# Optimizers: any Optax gradient transformation.

# Those that ask for more than a gradient, or count on their own; textbook ones are in test_step.
OPTIMIZERS = {
    "lbfgs": optax.lbfgs(),  # which asks for the loss as a function
    "polyak": optax.polyak_sgd(max_learning_rate=0.5),  # and this for its value
    "chain": optax.chain(  # which counts its steps
        optax.clip_by_global_norm(1.0), optax.sgd(optax.linear_schedule(1.0, 0.1, 60))
    ),
    "accumulating": optax.MultiSteps(optax.sgd(0.5), 2).gradient_transformation(),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_lowers_a_convex_loss(name):
    start = ls.init_params(KEY, (3, 2), scheme="zeros")

    @jax.jit
    def run(params):
        return train(OPTIMIZERS[name], params=params, epochs=50)

    result = run(start)
    assert result.history.loss[-1] < 0.75 * result.history.loss[0]
    chex.assert_trees_all_equal_shapes_and_dtypes(result.params, start)
    chex.assert_tree_all_finite(result)


# Shapes and dtypes.


def test_a_stack_trains_as_its_layers():
    layers = tuple(ls.Layer(jnp.float32(normal((3, 3))), jnp.float32(normal(3))) for _ in range(4))
    stack = jax.tree.map(lambda *arrays: jnp.stack(arrays), *layers[:3])
    targets = np.ones((SAMPLES, 3), np.float32)
    plain = train(optax.adam(0.01), params=layers, targets=targets, batch_size=3)
    mixed = train(optax.adam(0.01), params=(stack, layers[3]), targets=targets, batch_size=3)
    chex.assert_trees_all_close(mixed.history, plain.history, rtol=1e-5)
    unstacked = [ls.Layer(*parts) for parts in zip(*mixed.params[0], strict=True)]
    chex.assert_trees_all_close((*unstacked, mixed.params[1]), plain.params, rtol=1e-4, atol=1e-5)


def test_bfloat16_trains_and_stays_bfloat16():
    start, adam = jax.tree.map(lambda a: a.astype(jnp.bfloat16), PARAMS), optax.adam(0.1)
    result = train(adam, params=start, epochs=30, batch_size=3, sample_weight=WEIGHTS)
    chex.assert_trees_all_equal_shapes_and_dtypes(result.params, start)
    chex.assert_trees_all_equal_shapes_and_dtypes(result.state, ls.init_state(start, adam))
    assert result.history.loss.dtype == result.history.accuracy.dtype == jnp.float32
    assert result.history.loss[-1] < 0.9 * result.history.loss[0]


def test_bfloat16_sums_over_many_samples_lose_none():
    params = ls.init_params(KEY, (1, 1), scheme="zeros", dtype=jnp.bfloat16)
    total = ls.summed_loss(params, np.ones((1000, 1)), np.ones((1000, 1)))
    np.testing.assert_allclose(total, 1000 * np.log(2), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64, bool])
def test_data_of_any_real_dtype_is_taken_to_that_of_the_parameters(dtype):
    inputs = (INPUTS > 0).astype(dtype)
    given = train(inputs=inputs, targets=TARGETS.astype(dtype), batch_size=3)
    chex.assert_trees_all_equal(given, train(inputs=inputs.astype(np.float32), batch_size=3))
    if np.issubdtype(dtype, np.integer):
        options = {"loss": softmax_cross_entropy, "batch_size": 3}
        given = train(targets=LABELS.astype(dtype), **options)
        chex.assert_trees_all_equal(given, train(targets=LABELS, **options))


def test_parameters_of_numpy_train():
    params = jax.tree.map(lambda a: np.asarray(a, np.float64), PARAMS)
    chex.assert_trees_all_equal(train(params=params), train())
    np.testing.assert_array_equal(
        ls.summed_loss(params, INPUTS, TARGETS), ls.summed_loss(PARAMS, INPUTS, TARGETS)
    )


def test_one_output_tells_two_classes_apart():
    params = ls.init_params(KEY, (3, 1))
    result = train(params=params, targets=LABELS[:, None], epochs=1)
    z = jax.vmap(ls.logits, (None, 0))(params, INPUTS)[:, 0]
    np.testing.assert_allclose(
        result.history.accuracy, [np.mean(np.array(z > 0) == LABELS)], rtol=1e-6
    )


def test_nothing_of_our_own_promotes_a_dtype():
    # Optax's Adam and schedules do, so that the suite as a whole cannot be strict. Promotion is an
    # error of tracing: nothing need be compiled.
    def run(dtype, loss, targets, **options):
        params = ls.init_params(KEY, (3, 4, 2), dtype=dtype)
        result = ls.fit(
            KEY, params, INPUTS, targets, optimizer=optax.sgd(0.1, momentum=0.9), epochs=2,
            batch_size=3, loss=loss, **options,
        )  # fmt: skip
        z = jax.vmap(ls.logits, (None, 0))(result.params, INPUTS)
        return (
            ls.activations(params, INPUTS[0]),
            ls.metrics.accuracy(z, LABELS, weights=WEIGHTS),
            ls.metrics.confusion_matrix(z, TARGETS),
        )

    with jax.numpy_dtype_promotion("strict"):
        for dtype, (loss, targets), options in itertools.product(
            (jnp.float32, jnp.bfloat16),
            ((sigmoid_cross_entropy, TARGETS), (softmax_cross_entropy, LABELS)),
            ({}, {"sample_weight": WEIGHTS, "reduction": "mean"}),
        ):
            jax.eval_shape(functools.partial(run, dtype, loss, targets, **options))


def test_defaults():
    parameters = inspect.signature(ls.fit).parameters
    assert parameters["loss"].default is sigmoid_cross_entropy
    assert parameters["reduction"].default == "sum"
    assert [name for name, p in parameters.items() if p.kind == p.POSITIONAL_OR_KEYWORD] == [
        "key", "params", "inputs", "targets",
    ]  # fmt: skip


# Bad input: each rule once, and of every entry that it applies the rules.


def replaced(array, value):
    array = np.array(array, np.float64)
    array.flat[4] = value
    return array


SAMPLES_RULES = [
    # What is no array of finite real numbers.
    ({"inputs": replaced(INPUTS, np.nan)}, ValueError, r"^inputs: expected finite.*got 1 .*of 21"),
    ({"inputs": replaced(INPUTS, 1e300)}, ValueError, r"^inputs: expected finite.*got 1 .*of 21"),
    ({"inputs": replaced(INPUTS, 2**40).astype(int)}, ValueError, r"^inputs: .*got .*1099511627776"),
    ({"inputs": INPUTS.astype(complex)}, TypeError, r"^inputs: .*real.*got dtype complex128"),
    ({"inputs": [["a", "b", "c"]] * 7}, TypeError, r"^inputs: .*got dtype <U1"),
    ({"inputs": [[1, 2, 3], [4]]}, ValueError, r"^inputs: expected an array of numbers, got "),
    ({"inputs": None}, TypeError, r"^inputs: .*got dtype object"),
    ({"inputs": INPUTS.astype("m8[s]")}, TypeError, r"^inputs: .*real.*got dtype timedelta64"),
    # Shapes.
    ({"inputs": INPUTS[0]}, ValueError, r"^inputs: expected shape \(samples, 3\), got \(3,\)"),
    ({"inputs": INPUTS[None]}, ValueError, r"^inputs: expected .*got \(1, 7, 3\)"),
    ({"inputs": INPUTS[:, :2]}, ValueError, r"^inputs: expected shape \(samples, 3\), got \(7, 2\)"),
    ({"inputs": INPUTS[:0], "targets": TARGETS[:0]}, ValueError, r"^inputs: .*at least one sample.*got .*\(0, 3\)"),
    ({"targets": TARGETS[:5]}, ValueError, r"^targets: expected shape \(7, 2\).*got \(5, 2\)"),
    ({"targets": TARGETS[:, :1]}, ValueError, r"^targets: expected shape \(7, 2\).*got \(7, 1\)"),
    # Rows and classes.
    ({"targets": replaced(TARGETS, np.inf)}, ValueError, r"^targets: .*got 1 NaN"),
    ({"targets": replaced(TARGETS, 1.5)}, ValueError, r"^targets: .*from 0 to 1, got 0\.0 to 1\.5"),
    ({"targets": 2 * TARGETS - 1}, ValueError, r"^targets: .*from 0 to 1, got -1\.0 to 1\.0"),
    ({"targets": LABELS}, ValueError, r"^targets?: .*got \(\)|^targets: .*rows"),
    ({"targets": LABELS.astype(float)}, TypeError, r"^targets: .*integer classes.*got dtype float"),
    ({"targets": LABELS + 1, "loss": softmax_cross_entropy}, ValueError, r"^targets: .*from 0 to 1, got 1 to 2"),
    ({"targets": LABELS - 1, "loss": softmax_cross_entropy}, ValueError, r"^targets: .*from 0 to 1, got -1 to 0"),
    ({"targets": LABELS + 2**32, "loss": softmax_cross_entropy}, ValueError, r"^targets: .*got .*42949672"),
    # Weights.
    ({"weights": WEIGHTS[:, None]}, ValueError, r"^weights: expected shape \(7,\), got \(7, 1\)"),
    ({"weights": replaced(WEIGHTS, -0.5)}, ValueError, r"^weights: .*at least 0, got -0\.5"),
    ({"weights": replaced(WEIGHTS, np.nan)}, ValueError, r"^weights: expected finite.*got 1 .*of 7"),
    ({"weights": 0 * WEIGHTS}, ValueError, r"^weights: .*above 0, got zeros"),
    ({"weights": ["a"] * 7}, TypeError, r"^weights: .*got dtype <U1"),
    # Parameters and the loss.
    ({"params": ()}, ValueError, r"^params: .*at least one Layer, got none"),
    ({"params": PARAMS[0]}, TypeError, r"^params: expected a tuple of Layer, got Layer"),
    ({"params": PARAMS[::-1]}, ValueError, r"^params\[1\]: expected .*for 2 inputs.*got one for 3"),
    ({"loss": None}, TypeError, r"^loss: .*got None"),
    ({"loss": lambda z, _: z}, ValueError, r"^loss: expected one scalar a sample, got shape \(2,\)"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), SAMPLES_RULES)
def test_summed_loss_says_what_it_expected(arguments, error, message):
    arguments = {"params": PARAMS, "inputs": INPUTS, "targets": TARGETS, **arguments}
    with pytest.raises(error, match=message):
        ls.summed_loss(**arguments)


def test_shapes_are_checked_inside_a_trace():
    with pytest.raises(ValueError, match=r"^targets: .*\(3, 2\).*got \(7, 2\)"):
        jax.eval_shape(ls.summed_loss, PARAMS, INPUTS[:3], TARGETS)


ENTRIES = {
    "fit": lambda **data: train(**data),
    "fit_with_callbacks": lambda inputs=INPUTS, targets=TARGETS, **options: ls.fit_with_callbacks(
        KEY, PARAMS, inputs, targets, optimizer=optax.sgd(0.1), epochs=1, **options
    ),
    "step": lambda inputs=INPUTS, targets=TARGETS, sample_weight=None: ls.make_step(optax.sgd(0.1))(
        ls.init_state(PARAMS, optax.sgd(0.1)), inputs, targets, sample_weight
    ),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"inputs": replaced(INPUTS, np.nan)}, r"^inputs: expected finite.*got 1 .*of 21"),
        ({"inputs": INPUTS[:, :2]}, r"^inputs: expected shape \(samples, 3\), got \(7, 2\)"),
        ({"targets": replaced(TARGETS, 1.5)}, r"^targets: .*from 0 to 1, got 0\.0 to 1\.5"),
        ({"sample_weight": -WEIGHTS}, r"^(sample_)?weights?: .*at least 0, got -2\.0"),
    ],
    ids=["values", "shape", "targets", "weights"],
)
def test_every_entry_checks_its_samples(entry, data, message):
    with pytest.raises(ValueError, match=message):
        ENTRIES[entry](**data)


OPTIONS = [
    # A count is an integer in its range.
    ({"epochs": -1}, ValueError, r"^epochs: .*at least 0.*got -1"),
    ({"epochs": 2.0}, TypeError, r"^epochs: .*integer, got 2\.0"),
    ({"epochs": True}, TypeError, r"^epochs: .*integer, got True"),
    ({"batch_size": 0}, ValueError, r"^batch_size: .*1 to 7.*got 0"),
    ({"batch_size": 8}, ValueError, r"^batch_size: .*1 to 7.*got 8"),
    ({"batch_size": 3.0}, TypeError, r"^batch_size: .*integer, got 3\.0"),
    ({"optimizer": "adam"}, TypeError, r"^optimizer: .*GradientTransformation, got str"),
    ({"optimizer": optax.adam}, TypeError, r"^optimizer: .*GradientTransformation, got function"),
    ({"loss": None}, TypeError, r"^loss: .*got None"),
    ({"reduction": "average"}, ValueError, r"^reduction: .*'sum'.*'mean'.*got 'average'"),
    ({"params": None}, TypeError, r"^params: .*got NoneType"),
    ({"params": ls.init_state(PARAMS, optax.sgd(0.1)), "optimizer": optax.adam(0.1)}, ValueError, r"^params: .*opt_state"),
    ({"params": ls.init_state(PARAMS, optax.adam(0.1)), "optimizer": optax.sgd(0.1)}, ValueError, r"^params: .*opt_state"),
    ({"params": ls.init_state(PARAMS, optax.adam(0.1))._replace(params=PARAMS[:1]), "targets": np.ones((7, 4)), "optimizer": optax.adam(0.1)}, ValueError, r"^params: .*opt_state"),
    ({"key": None}, TypeError, r"^key: .*got None"),
    ({"key": 7, "batch_size": 3}, TypeError, r"^key: .*got 7"),
    ({"key": jax.random.split(KEY), "batch_size": 3}, ValueError, r"^key: .*got .*\(2,\)"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), OPTIONS)
def test_fit_says_what_it_expected(arguments, error, message):
    with pytest.raises(error, match=message):
        train(**arguments)


def test_classes_of_one_output_are_refused_by_softmax():
    # With one output the softmax is always 1, and class 1 has no logit.
    params = ls.init_params(KEY, (3, 1))
    with pytest.raises(ValueError, match=r"^(logits|targets?): .*got .*1"):
        train(params=params, targets=LABELS, loss=softmax_cross_entropy)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ls.init_state((), optax.sgd(0.1)), ValueError, r"^params: .*got none"),
        (lambda: ls.init_state(PARAMS, "sgd"), TypeError, r"^optimizer: .*got str"),
        (lambda: ls.make_step(None), TypeError, r"^optimizer: .*got NoneType"),
        (lambda: ls.make_step(optax.sgd(0.1), loss="mse"), TypeError, r"^loss: .*got 'mse'"),
        (lambda: ls.make_step(optax.sgd(0.1), reduction=None), ValueError, r"^reduction: .*got None"),
    ],
)  # fmt: skip
def test_builders_say_what_they_expected(call, error, message):
    with pytest.raises(error, match=message):
        call()
