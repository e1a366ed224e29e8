"""The step's options: optimizers, smoothing, class weights, dropout, averaging, half precision."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import datasets

import logistack as ls
from logistack.losses import softmax_cross_entropy
from logistack.training import epoch_order, step_key
from tests.masks import LOOK, drawn, plain, sigmoid

KEY = jax.random.key(0)
SAMPLES = 7
normal = np.random.default_rng(0).standard_normal
INPUTS = normal((SAMPLES, 3)).astype(np.float32)
LABELS = np.array([0, 1, 1, 0, 1, 0, 0])
TARGETS = np.eye(2, dtype=np.float32)[LABELS]
WEIGHTS = np.array([1.0, 0.5, 0.0, 2.0, 1.5, 1.0, 0.25], np.float32)
SGD = optax.sgd(0.1)


def network(*shapes):
    """Layers so wide of range that some of their units are saturated and some are not."""
    return tuple(
        ls.Layer(np.float32(2 * normal(shape)), np.float32(2 * normal(shape[:-1])))
        for shape in shapes
    )


PARAMS = network((4, 3), (2, 4))
DEEP = network((4, 3), (4, 4), (2, 4))
STACKED = network((3, 3, 3), (2, 3))
STACK_ALONE = network((4, 3, 3))
NETWORKS = {"plain": PARAMS, "deep": DEEP, "stack": STACKED, "stack at the end": STACK_ALONE}


def to_float64(tree):
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), tree)


def train(optimizer=SGD, *, key=KEY, params=PARAMS, inputs=INPUTS, targets=TARGETS, **options):
    """A short run, for tests that change one thing."""
    return ls.fit(key, params, inputs, targets, **{"epochs": 3, **options}, optimizer=optimizer)


def take_step(state, *batch, key=None, optimizer=SGD, **options):
    return jax.jit(ls.make_step(optimizer, **options))(state, *batch, key=key)


# An independent implementation, in NumPy and float64, with backpropagation by hand.


def backpropagate(theta, x, goals, w=None, *, classes=None, masks=None, softmax=False):
    """The gradient of Σ wᵢ Cᵢ, and what a step sees."""
    x, goals = np.float64(x), np.float64(goals)
    w = np.ones(len(x)) if w is None else np.float64(w)
    masks = masks or [1.0] * len(theta)
    before, fed, saturated, a = [], [], [], x
    for (weight, bias), mask in zip(theta, masks, strict=True):
        before.append(a)
        fed.append(a * mask)
        z = fed[-1] @ weight.T + bias
        a = sigmoid(z)
        saturated.append(w @ ((a < 0.02) | (a > 0.98)).mean(1))
    if softmax:
        a = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        each = -(goals * np.log(a)).sum(1)
    else:
        each = -(goals * np.log(a) + (1 - goals) * np.log(1 - a)).sum(1)
    delta, gradient = w[:, None] * (a - goals), []
    for layer in reversed(range(len(theta))):
        gradient.insert(0, (delta.T @ fed[layer], delta.sum(0)))
        slope = before[layer] * (1 - before[layer]) * masks[layer]
        delta = delta @ theta[layer][0] * slope
    predicted = z[:, 0] > 0 if z.shape[1] == 1 else z.argmax(1)
    classes = goals.argmax(1) if classes is None else classes
    seen = ls.BatchSums(
        loss=w @ each,
        correct=w @ (predicted == classes),
        weight=w.sum(),
        target=w @ goals,
        examined=w.sum(),
        saturated=np.array(saturated),
        gradient_square=np.array([(g**2).sum() + (h**2).sum() for g, h in gradient]),
    )
    return gradient, seen


def assert_close(given, wanted, rtol=1e-12):
    for one, other in zip(jax.tree.leaves(given), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)


def assert_step_of_sgd(result, params, gradient, seen):
    state, given = result
    moved = [
        (weight - 0.1 * dw, bias - 0.1 * db)
        for (weight, bias), (dw, db) in zip(plain(params), gradient, strict=True)
    ]
    assert_close(plain(state.params), moved)
    # Shares of units are counted in float32.
    assert_close(given.saturated, seen.saturated, rtol=1e-6)
    assert_close(given._replace(saturated=0), seen._replace(saturated=0))


# Optimizers, by Optax's names, as textbooks have them. Each rule takes the gradients g₁ … gₜ so far
# to the change θₜ₋₁ − θₜ.


def decayed(g, decay):
    """Σⱼ βᵗ⁻ʲ gⱼ, which is vₜ = β vₜ₋₁ + gₜ from v₀ = 0."""
    return np.tensordot(decay ** np.arange(len(g))[::-1], g, axes=1)


def adagrad(g):
    # Optax starts the sum of squares at 0.1 and adds ε = 1e-7 to it, inside the root.
    return 0.5 * g[-1] / np.sqrt(0.1 + (g**2).sum(0) + 1e-7)


def rmsprop(g):
    # Optax starts the mean square at 0 and adds ε = 1e-8 inside the root.
    return 0.05 * g[-1] / np.sqrt(0.1 * decayed(g**2, 0.9) + 1e-8)


def adam(g):
    # Kingma & Ba 2015, algorithm 1: ε = 1e-8 is added outside the root.
    mean = 0.1 * decayed(g, 0.9) / (1 - 0.9 ** len(g))
    square = 0.001 * decayed(g**2, 0.999) / (1 - 0.999 ** len(g))
    return 0.01 * mean / (np.sqrt(square) + 1e-8)


OPTIMIZERS = {
    "sgd": (optax.sgd(0.1), lambda g: 0.1 * g[-1]),
    "momentum": (optax.sgd(0.05, momentum=0.9), lambda g: 0.05 * decayed(g, 0.9)),
    # Nesterov's gradient is taken ahead of θ, at θ − ημv; Optax keeps that point in place of θ.
    "nesterov": (
        optax.sgd(0.05, momentum=0.9, nesterov=True),
        lambda g: 0.05 * (g[-1] + 0.9 * decayed(g, 0.9)),
    ),
    "adagrad": (optax.adagrad(0.5), adagrad),
    "rmsprop": (optax.rmsprop(0.05), rmsprop),
    "adam": (optax.adam(0.01), adam),
}


def descend(rule, params, steps, penalty=0.0):
    """The parameters after every step, and the loss before it; penalty is λ of ½ λ‖θ‖²."""
    theta, gradients, path, losses = plain(params), [], [], []
    for _ in range(steps):
        gradient, seen = backpropagate(theta, INPUTS, TARGETS)
        gradients.append(jax.tree.map(lambda g, t: g + penalty * t, gradient, theta))
        theta = jax.tree.map(lambda t, *g: t - rule(np.stack(g)), theta, *gradients)
        path.append(theta)
        losses.append(seen.loss)
    return path, np.array(losses)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_follows_its_textbook_rule(x64, name):
    optimizer, rule = OPTIMIZERS[name]
    path, losses = descend(rule, PARAMS, 4)
    result = train(optimizer, params=to_float64(PARAMS), epochs=4)
    assert_close(result.history.loss, losses)
    assert_close(plain(result.params), path[-1])


def test_nesterov_looks_ahead():
    # Nesterov as he has it, with the gradient ahead of θ: v ← μv + ∇C(θ − ημv), θ ← θ − ηv.
    theta = plain(PARAMS)
    velocity = jax.tree.map(np.zeros_like, theta)
    path, _ = descend(OPTIMIZERS["nesterov"][1], PARAMS, 4)
    for _ in range(4):
        ahead = jax.tree.map(lambda t, v: t - 0.05 * 0.9 * v, theta, velocity)
        gradient, _ = backpropagate(ahead, INPUTS, TARGETS)
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
        theta = jax.tree.map(lambda t, v: t - 0.05 * v, theta, velocity)
    assert_close(jax.tree.map(lambda t, v: t - 0.05 * 0.9 * v, theta, velocity), path[-1])


@pytest.mark.parametrize("name", ["sgd", "momentum"])
def test_decayed_weights_are_a_penalty_on_their_squares(x64, name):
    optimizer, rule = OPTIMIZERS[name]
    optimizer = optax.chain(optax.add_decayed_weights(0.3), optimizer)
    path, _ = descend(rule, PARAMS, 3, penalty=0.3)
    assert_close(plain(train(optimizer, params=to_float64(PARAMS)).params), path[-1])


# What a step sees.


@pytest.mark.parametrize("name", ["deep", "stack at the end"])
def test_a_step_sees_what_numpy_sees(x64, name):
    params = to_float64(NETWORKS[name])
    theta = plain(params)
    targets = np.eye(theta[-1][1].size)[LABELS]
    result = take_step(ls.init_state(params, SGD), INPUTS, targets)
    assert_step_of_sgd(result, params, *backpropagate(theta, INPUTS, targets))
    seen = result[1]
    assert seen.saturated.shape == seen.gradient_square.shape == (len(theta),)
    assert ((seen.saturated > 0) & (seen.saturated < seen.weight)).any()


def test_the_mean_divides_the_gradient_and_no_other_sum(x64):
    params = to_float64(PARAMS)
    state = ls.init_state(params, SGD)
    result = take_step(state, INPUTS, TARGETS, WEIGHTS, reduction="mean")
    gradient, seen = backpropagate(plain(params), INPUTS, TARGETS, WEIGHTS)
    total = WEIGHTS.sum(dtype=float)
    seen = seen._replace(gradient_square=seen.gradient_square / total**2)
    assert_step_of_sgd(result, params, jax.tree.map(lambda g: g / total, gradient), seen)


@pytest.mark.parametrize("share", [0.0199, 0.0201, 0.9799, 0.9801])
def test_a_unit_is_saturated_below_0_02_and_above_0_98(share):
    layer = ls.Layer(np.zeros((1, 3), np.float32), np.float32([np.log(share / (1 - share))]))
    _, seen = take_step(ls.init_state((layer,), SGD), INPUTS, LABELS[:, None])
    np.testing.assert_array_equal(seen.saturated, [0 if 0.02 < share < 0.98 else SAMPLES])


# Label smoothing.

KINDS = {
    "rows": (PARAMS, TARGETS, {}),
    "rows, softmax": (PARAMS, TARGETS, {"loss": softmax_cross_entropy}),
    "classes": (PARAMS, LABELS, {"loss": softmax_cross_entropy}),
    "one output": (network((4, 3), (1, 4)), LABELS[:, None], {}),
}


def rows_of(kind):
    targets = KINDS[kind][1]
    return np.eye(2)[targets] if targets.ndim == 1 else np.float64(targets)


@pytest.mark.parametrize("kind", KINDS)
def test_smoothed_targets_are_moved_toward_equal_shares(x64, kind):
    params, targets, options = KINDS[kind]
    params = to_float64(params)
    state = ls.init_state(params, SGD)
    wanted = backpropagate(
        plain(params), INPUTS, 0.7 * rows_of(kind) + 0.3 / 2, WEIGHTS,
        classes=LABELS, softmax="loss" in options,
    )  # fmt: skip
    result = take_step(state, INPUTS, targets, WEIGHTS, label_smoothing=0.3, **options)
    assert_step_of_sgd(result, params, *wanted)


def test_accuracy_is_that_on_the_targets_themselves():
    # With one output a target of 1 becomes, rounded, ½, which would stand for class 0.
    params, targets, _ = KINDS["one output"]
    share = np.float32(1 - 2.0**-24)
    assert 1 + share * (np.float32(0.5) - 1) == 0.5
    state = ls.init_state(params, SGD)
    _, seen = take_step(state, INPUTS, targets, label_smoothing=share)
    _, wanted = backpropagate(plain(params), INPUTS, targets, classes=LABELS)
    assert seen.correct == wanted.correct != 0


# Class weights.


@pytest.mark.parametrize(
    ("kind", "weights"), [("rows", None), ("classes", WEIGHTS), ("one output", WEIGHTS)]
)
def test_class_weights_multiply_sample_weights(x64, kind, weights):
    params, targets, options = KINDS[kind]
    params = to_float64(params)
    by_hand = np.array([3.0, 0.5])[LABELS] * (1 if weights is None else weights)
    wanted = backpropagate(
        plain(params), INPUTS, rows_of(kind), by_hand, classes=LABELS, softmax="loss" in options
    )
    state = ls.init_state(params, SGD)
    result = take_step(state, INPUTS, targets, weights, class_weight=[3, 0.5], **options)
    assert_step_of_sgd(result, params, *wanted)


THREE = network((3, 3))
BALANCED = {
    "samples": (PARAMS, LABELS, None),
    "weighted": (PARAMS, LABELS, np.float64(WEIGHTS)),
    "a class absent": (THREE, 2 * LABELS, None),
    "a class of weight 0": (THREE, np.array([0, 1, 2, 0, 1, 0, 0]), np.float64(WEIGHTS)),
}


@pytest.mark.parametrize("case", BALANCED)
def test_balanced_classes_weigh_the_same_and_together_what_they_did(x64, case):
    params, labels, weights = BALANCED[case]
    own = np.ones(SAMPLES) if weights is None else np.float64(weights)
    totals = np.bincount(labels, own, minlength=params[-1].bias.size)
    present = totals > 0
    factors = np.where(present, own.sum() / present.sum() / np.where(present, totals, 1), 0)
    shares = np.bincount(labels, own * factors[labels])
    np.testing.assert_allclose(shares[shares > 0], own.sum() / present.sum())
    assert (abs(factors[present] - 1) > 0.05).all()
    options = {"params": to_float64(params), "targets": labels, "loss": softmax_cross_entropy}
    given, wanted = (
        train(sample_weight=weights, class_weight=class_weight, epochs=2, **options)
        for class_weight in ("balanced", factors)
    )
    assert_close(given, wanted)


# Dropout.

RATES = {
    "plain": (0.0, 0.5),
    "deep": (0.25, 0.5, 0.1),
    "stack": (0.2, 0.3, 0.0, 0.6),
    "stack at the end": (0.2, 0.4, 0.1, 0.3),
}


@pytest.mark.parametrize("name", ["plain", "stack", "stack at the end"])
def test_a_step_with_dropout_goes_forward_and_back_through_its_masks(x64, name):
    params = to_float64(NETWORKS[name])
    theta = plain(params)
    targets = np.eye(theta[-1][1].size)[LABELS]
    masks = drawn(KEY, params, RATES[name], SAMPLES)
    state = ls.init_state(params, SGD)
    result = take_step(state, INPUTS, targets, WEIGHTS, key=KEY, dropout=RATES[name])
    wanted = backpropagate(theta, INPUTS, targets, WEIGHTS, masks=masks)
    assert_step_of_sgd(result, params, *wanted)
    _, whole = backpropagate(theta, INPUTS, targets, WEIGHTS)
    assert abs(result[1].loss - whole.loss) > 1e-3


def test_a_run_with_dropout_draws_new_masks_at_every_step(x64):
    # The last batch is filled up with sample 0 at weight 0.
    params, rates = to_float64(DEEP), (0.25, 0.5, 0.1)
    theta, losses = plain(params), []
    for epoch in range(2):
        order, seen = np.asarray(epoch_order(KEY, epoch, SAMPLES)), []
        batches = np.append(order, [0, 0]).reshape(3, 3)
        for place, batch in enumerate(batches):
            w = np.array([1.0, 0.0, 0.0]) if place == 2 else np.ones(3)
            masks = drawn(step_key(KEY, epoch, place), params, rates, 3)
            gradient, sums = backpropagate(theta, INPUTS[batch], TARGETS[batch], w, masks=masks)
            theta = jax.tree.map(lambda t, g: t - 0.1 * g, theta, gradient)
            seen.append(sums.loss)
        losses.append(sum(seen))
    result = train(params=params, dropout=rates, batch_size=3, epochs=2)
    assert_close((plain(result.params), result.history.loss), (theta, np.array(losses)))


@pytest.mark.parametrize("rate", [0.5, 0.1, 1 / 3, 0.9, 1e-6, 1 - 1e-6])
def test_a_mask_is_0_or_what_makes_its_mean_1(rate):
    kept = max(2**-16, 1 - rate)  # which is rounded to 16 bits
    for mask in drawn(KEY, network((50, 40), (2, 50)), (rate, rate), 100):
        error = (kept * (1 - kept) / mask.size) ** 0.5
        assert abs((mask > 0).mean() - kept) <= 5 * error + 2**-16
        if mask.any():
            assert abs(1 / mask.max() - kept) <= 2**-16 + 1e-5


def test_every_layer_drops_its_own_share():
    params = network((60, 40), (3, 60, 60), (50, 60), (2, 50))
    rates = (0.1, 0.5, 0.2, 0.4, 0.6, 0.3)
    for rate, mask in zip(rates, drawn(KEY, params, rates, 100), strict=True):
        error = (rate * (1 - rate) / mask.size) ** 0.5
        assert abs((mask == 0).mean() - rate) < 5 * error
        # … and so does every unit, and every sample.
        for axis in (0, 1):
            shares = (mask == 0).mean(axis)
            assert abs(shares - rate).max() < 5.5 * (rate * (1 - rate) / mask.shape[axis]) ** 0.5


@pytest.mark.parametrize(
    ("name", "rates", "each"),
    [("plain", 0.5, (0.0, 0.5)), ("stack", (0.2, 0.5), (0.2, 0.5, 0.5, 0.5))],
    ids=["one rate", "pair"],
)
def test_one_rate_is_that_of_all_hidden_layers_and_a_pair_has_the_inputs_first(name, rates, each):
    params = NETWORKS[name]
    state, targets = ls.init_state(params, SGD), np.eye(params[-1].bias.size)[LABELS]
    one, other = (
        take_step(state, INPUTS, targets, key=KEY, dropout=dropout) for dropout in (rates, each)
    )
    assert_close(one, other, rtol=0)


def assert_independent(rows):
    """Correlations of independent rows are about normal, with variance 1 / length."""
    rows = np.reshape(rows, (len(rows), -1)) == 0
    pairs = np.triu_indices(len(rows), 1)
    correlations = np.corrcoef(rows)[pairs] * rows.shape[1] ** 0.5
    assert abs(correlations).max() < 6
    assert abs((correlations**2).mean() - 1) < 6 * (2 / correlations.size) ** 0.5


def test_masks_are_independent():
    params = network((60, 60), (4, 60, 60), (60, 60), (2, 60))
    masks = np.stack(drawn(KEY, params, (0.5,) * 7, 60))
    assert masks.shape == (7, 60, 60)
    for axis in range(3):  # layers, samples and units
        assert_independent(np.moveaxis(masks, axis, 0))
    steps = [
        drawn(step_key(key, epoch, step), network((2, 60)), (0.5,), 60)[0]
        for key in jax.random.split(KEY, 2)
        for epoch in range(3)
        for step in range(3)
    ]
    assert_independent(np.array(steps))


def test_a_step_with_dropout_asks_for_its_key():
    with pytest.raises(TypeError, match=r"^key: .*got None"):
        take_step(ls.init_state(PARAMS, SGD), INPUTS, TARGETS, dropout=0.5)


# The moving average of the parameters.


def test_the_average_is_the_sum_of_decayed_parameters(x64):
    decay, (optimizer, rule) = 0.8, OPTIMIZERS["adam"]
    path, _ = descend(rule, PARAMS, 4)
    params = to_float64(PARAMS)
    step = jax.jit(ls.make_step(optimizer, ema_decay=decay))
    state = ls.init_state(params, optimizer, ema_decay=decay)
    for count in range(1, 5):
        state, _ = step(state, INPUTS, TARGETS)
        wanted = jax.tree.map(lambda *t: (1 - decay) * decayed(np.stack(t), decay), *path[:count])
        assert_close(plain(state.average.ema), wanted)
        assert_close(plain(state.params), path[count - 1])  # what is averaged changes no step
        assert state.average.count == count
    run = train(optimizer, params=params, epochs=4, ema_decay=decay)
    assert_close(run.state, state._replace(epoch=4))
    assert_close(plain(run.params), jax.tree.map(lambda mean: mean / (1 - decay**4), wanted))


def test_the_average_of_no_steps_is_the_parameters():
    assert_close(train(ema_decay=0.9, epochs=0).params, PARAMS, rtol=0)


def test_a_step_that_averages_asks_for_a_state_with_an_average():
    with pytest.raises(ValueError, match=r"^state: .*average.*ema_decay"):
        take_step(ls.init_state(PARAMS, SGD), INPUTS, TARGETS, ema_decay=0.9)


# Half precision.

IMAGES = np.float32(datasets.load_digits().data / 16)
DIGITS = datasets.load_digits().target
# How far rounding to bfloat16, with its 8 bits, moves a number, as a share of it: 2⁻⁸.
ROUNDING = float(jnp.finfo(jnp.bfloat16).eps) / 2


def logits_and_gradient(params, compute_dtype):
    """Of the summed loss of 100 digits."""
    images, rows = IMAGES[:100], np.float32(np.eye(10)[DIGITS[:100]])
    step = ls.make_step(LOOK, compute_dtype=compute_dtype)

    def gradient(weights):
        return step(ls.init_state(params, LOOK), images, rows, weights)[0].opt_state

    @jax.jit
    def run():
        return jax.vmap(gradient)(jnp.eye(100))[-1].bias, gradient(jnp.ones(100))

    slope, whole = jax.tree.map(np.float64, run())
    outputs = slope + rows  # ∂C/∂z = σ(z) − ŷ, of each sample
    return np.log(outputs / (1 - outputs)), whole


def test_half_precision_of_one_layer_is_within_the_rounding_of_its_operands():
    # Two operands rounded: |Δz| ≤ 2u |W||x|. Back, ∂C/∂z moves by up to ¼ |Δz|, and two operands
    # and the result are rounded: 3u |∂C/∂z||x|. Terms of u² and of float32 are within the 1.05.
    params = ls.init_params(KEY, (64, 10))
    weight, images = np.float64(params[0].weight), np.float64(IMAGES[:100])
    moved = 2 * ROUNDING * abs(images) @ abs(weight).T
    exact, (whole,) = logits_and_gradient(params, None)
    rounded, (half,) = logits_and_gradient(params, jnp.bfloat16)
    error = abs(rounded - exact)
    assert (error <= 1.05 * moved).all()
    assert error.max() > 1e-3 * abs(exact).max()
    slope = abs(sigmoid(exact) - np.eye(10)[DIGITS[:100]])
    bound = (moved / 4 + 3 * ROUNDING * slope).T @ images
    error = abs(half.weight - whole.weight)
    assert (error <= 1.05 * bound + 1e-5).all()
    assert error.max() > 1e-4 * abs(whole.weight).max()


def test_half_precision_of_a_deep_network_loses_a_few_roundings():
    # Norm-wise: about two roundings a product, two products on the way forward and two back.
    params = ls.init_params(KEY, (64, 16, 10))
    half, whole = (
        jax.tree.leaves(logits_and_gradient(params, dtype)) for dtype in (jnp.bfloat16, None)
    )
    errors = [
        np.linalg.norm(one - other) / np.linalg.norm(other)
        for one, other in zip(half, whole, strict=True)
    ]
    assert min(errors) > ROUNDING / 100
    assert errors[0] < 4 * ROUNDING
    assert max(errors[1:]) < ROUNDING


@pytest.mark.parametrize("name", NETWORKS)
def test_every_product_has_operands_of_half_precision(name):
    params = NETWORKS[name]
    targets = np.eye(params[-1].bias.shape[-1])[LABELS]

    def products(compute_dtype):
        step = ls.make_step(SGD, compute_dtype=compute_dtype, dropout=(0.5, 0.5))
        traced = jax.jit(step).trace(ls.init_state(params, SGD), INPUTS, targets, key=KEY)
        program = traced.lower(lowering_platforms=("cuda",)).as_text()  # on a CPU they are wide
        named = re.findall(r"dot_general .* : \(tensor<(.*)>, tensor<(.*)>\)", program)
        return [{shape.split("x")[-1] for shape in shapes} for shapes in named]

    half = products(jnp.bfloat16)  # which has one more, of no use, that XLA leaves out
    assert half == [{"bf16"}] * len(half)
    assert len(half) >= len(products(None))
    # Two products a layer, weight by activations and gradient by activations, and a third where
    # there is a layer before; a stack's are there once, for all its layers but the network's last.
    hidden = 2 if name == "deep" else 1
    assert len(products(None)) >= 3 * hidden + 2
    assert all(kinds == {"f32"} for kinds in products(None))


def test_half_precision_takes_shapes_that_have_no_such_product_on_a_cpu():
    start, inputs = ls.init_params(KEY, (1, 4, 4, 5)), np.ones((35, 1))
    half = train(
        params=start, inputs=inputs, targets=np.zeros((35, 5)), batch_size=8,
        compute_dtype=jnp.bfloat16,
    )  # fmt: skip
    assert jnp.isfinite(half.history.loss).all()


def test_digits_are_learned_in_half_precision_as_in_single():
    start = ls.init_params(KEY, (64, 16, 10))

    def run(compute_dtype):
        return train(
            optax.adam(0.02), params=start, inputs=IMAGES, targets=np.eye(10)[DIGITS],
            batch_size=32, epochs=4, compute_dtype=compute_dtype,
        )  # fmt: skip

    half, whole = run(jnp.bfloat16), run(None)
    assert {leaf.dtype for leaf in jax.tree.leaves(half.state)} <= {jnp.dtype("float32"), jnp.dtype("int32")}  # fmt: skip
    assert half.history.loss.dtype == jnp.float32
    assert whole.history.accuracy[-1] > 0.9
    assert abs(half.history.accuracy[-1] - whole.history.accuracy[-1]) < 0.01
    assert (half.history.loss != whole.history.loss).all()


# All options, together and in turn.

OPTIONS = {
    "dropout": (0.25, 0.5),
    "label_smoothing": 0.1,
    "ema_decay": 0.9,
    "class_weight": np.array([2.0, 0.5]),
    "compute_dtype": jnp.bfloat16,
}


def run_all(*, epochs=4, params=PARAMS, key=KEY, **changed):
    options = {**OPTIONS, "batch_size": 3, "sample_weight": WEIGHTS, **changed}
    return train(optax.adam(0.01), params=params, key=key, epochs=epochs, **options)


def test_a_run_with_all_options_continues_bit_for_bit():
    whole, half = run_all(), run_all(epochs=2)
    rest = run_all(epochs=2, params=half.state)
    joined = jax.tree.map(lambda *rows: np.concatenate(rows), half.history, rest.history)
    assert_close((rest.params, rest.state, joined), tuple(whole), rtol=0)
    assert_close(run_all(), whole, rtol=0)
    other = run_all(key=jax.random.key(1))
    assert (other.history.loss != whole.history.loss).all()


def test_another_value_of_an_option_compiles_nothing_and_counts(compilations):
    first = run_all()
    run_all(class_weight="balanced")  # which counts the classes in programs of its own
    for changed in (
        {"dropout": (0.1, 0.9)}, {"label_smoothing": 0.5}, {"ema_decay": 0.5},
        {"class_weight": [1.0, 3.0]}, {"class_weight": "balanced"},
    ):  # fmt: skip
        seen = len(compilations)
        result = run_all(**changed)
        assert len(compilations) == seen, changed
        leaves = zip(*map(jax.tree.leaves, (result.params, first.params)), strict=True)
        assert all((one != other).any() for one, other in leaves)


@pytest.mark.parametrize(
    "nothing",
    [{"dropout": 0}, {"dropout": (0.0, 0.0)}, {"dropout": np.zeros(2)}, {"dropout": None},
     {"label_smoothing": 0.0}, {"label_smoothing": None}, {"ema_decay": 0.0},
     {"class_weight": None}, {"compute_dtype": None}],
    ids=str,
)  # fmt: skip
def test_an_option_of_0_asks_for_nothing(nothing):
    state = ls.init_state(PARAMS, SGD)
    programs = (
        jax.make_jaxpr(ls.make_step(SGD, **options))(state, INPUTS, TARGETS)
        for options in ({}, nothing)
    )
    assert len(set(map(str, programs))) == 1
    assert_close(train(**nothing), train(), rtol=0)


def test_members_each_have_their_own_traced_options():
    keys = jax.random.split(KEY, 3)
    starts = jax.tree.map(lambda a: np.stack([a, -a, 0.5 * a]), PARAMS)
    rates = np.float32([[0.0, 0.0], [0.5, 0.1], [0.0, 0.9]])
    shares, decays = np.float32([0.5, 0.0, 0.1]), np.float32([0.9, 0.5, 0.0])

    def run(key, params, rates, share, decay):
        step = ls.make_step(SGD, dropout=rates, label_smoothing=share, ema_decay=decay)
        return step(ls.init_state(params, SGD, ema_decay=decay), INPUTS, TARGETS, key=key)

    arguments = keys, starts, rates, shares, decays
    members = jax.jit(jax.vmap(run))(*arguments)
    for member in range(3):
        key, rest = keys[member], arguments[1:]
        (state, given), own = jax.tree.map(lambda a, i=member: np.asarray(a)[i], (members, rest))
        params, rates, share, decay = own
        masks = drawn(key, params, rates, SAMPLES)
        goals = (1 - float(share)) * TARGETS + float(share) / 2
        gradient, seen = backpropagate(plain(params), INPUTS, goals, masks=masks)
        assert_close(given, seen, rtol=1e-5)
        moved = jax.tree.map(lambda t, g: t - 0.1 * g, plain(params), gradient)
        assert_close(plain(state.params), moved, rtol=1e-5)
        mean = jax.tree.map(lambda a, decay=decay: (1 - decay) * a, state.params)
        assert_close(state.average.ema, mean, rtol=1e-6)


def test_a_run_may_have_traced_options():
    def run(rates, share, decay):
        return train(dropout=rates, label_smoothing=share, ema_decay=decay, batch_size=3)

    members = jax.eval_shape(jax.vmap(run), jnp.ones((5, 2)), jnp.ones(5), jnp.ones(5))
    assert members.history.loss.shape == (5, 3)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    ("dtype", "bits"), [("bfloat16", 32), ("bfloat16", 64), ("float32", 64), ("float64", 64)]
)
def test_an_option_keeps_every_dtype(dtype, bits, option):
    options = {option: OPTIONS[option]}
    with jax.enable_x64(bits == 64):
        params = jax.tree.map(lambda a: jnp.asarray(a, jnp.dtype(dtype)), STACKED)
        state = ls.init_state(params, SGD, ema_decay=options.get("ema_decay", 0.0))
        step = ls.make_step(SGD, **options)
        after, seen = jax.eval_shape(step, state, INPUTS, TARGETS, WEIGHTS, key=KEY)
        before = jax.eval_shape(lambda: state)
        assert jax.tree.leaves(after) == jax.tree.leaves(before)
        assert seen.loss.dtype == seen.weight.dtype == jnp.dtype("float64" if dtype == "float64" else "float32")  # fmt: skip


# Bad input.

REFUSED = [
    # A share is a number from 0 to below 1.
    ({"label_smoothing": 1.0}, ValueError, r"^label_smoothing: .*below 1, got 1\.0"),
    ({"label_smoothing": -0.1}, ValueError, r"^label_smoothing: .*at least 0.*got -0\.1"),
    ({"label_smoothing": np.nan}, ValueError, r"^label_smoothing: .*got nan"),
    ({"label_smoothing": [0.1, 0.2]}, ValueError, r"^label_smoothing: .*scalar.*\(2,\)"),
    ({"label_smoothing": "a"}, TypeError, r"^label_smoothing: .*got dtype <U1"),
    ({"dropout": 1.0}, ValueError, r"^dropout: .*below 1, got 1\.0"),
    ({"dropout": (0.0, 1.5)}, ValueError, r"^dropout: .*below 1, got 1\.5"),
    ({"dropout": (0.1, 0.2, 0.3)}, ValueError, r"^dropout: .*2 .*got 3"),
    ({"dropout": ()}, ValueError, r"^dropout: .*got 0"),
    ({"dropout": np.full((2, 1), 0.1)}, ValueError, r"^dropout: .*got shape \(2, 1\)"),
    ({"dropout": ("a", "b")}, TypeError, r"^dropout: .*got dtype <U1"),
    ({"ema_decay": 1.0}, ValueError, r"^ema_decay: .*below 1, got 1\.0"),
    ({"class_weight": [1.0, 2.0, 3.0]}, ValueError, r"^class_weight: .*\(2,\), got \(3,\)"),
    ({"class_weight": [1.0, -1.0]}, ValueError, r"^class_weight: .*at least 0, got -1\.0"),
    ({"class_weight": "even"}, (TypeError, ValueError), r"^class_weight: .*got "),
    ({"compute_dtype": jnp.float16}, TypeError, r"^compute_dtype: .*bfloat16, got .*float16"),
    ({"compute_dtype": "bfloat16x"}, TypeError, r"^compute_dtype: .*got 'bfloat16x'"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "error", "message"), REFUSED)
def test_options_say_what_they_expected(option, error, message):
    with pytest.raises(error, match=message):
        train(**option)


def test_a_step_and_a_state_check_their_options_too():
    state = ls.init_state(PARAMS, SGD, ema_decay=0.5)
    for name, wrong in {**dict.fromkeys(OPTIONS, 1.0), "class_weight": [1.0, -1.0]}.items():
        with pytest.raises((TypeError, ValueError), match=f"^{name}: "):
            ls.make_step(SGD, **{name: wrong})(state, INPUTS, TARGETS, key=KEY)
    with pytest.raises(ValueError, match=r"^ema_decay: .*below 1, got 1\.0"):
        ls.init_state(PARAMS, SGD, ema_decay=1.0)


def test_a_step_that_is_not_examined_leaves_its_health_out():
    step = jax.jit(ls.make_step(SGD))
    state = ls.init_state(PARAMS, SGD)
    after, whole = step(state, INPUTS, TARGETS)
    for examined in (True, False):
        same, seen = step(state, INPUTS, TARGETS, examined=jnp.asarray(examined))
        assert_close(same, after, rtol=1e-6)
        health = jax.tree.map(lambda value, kept=examined: value * kept, whole[4:])
        assert_close(seen, (*whole[:4], *health), rtol=1e-6)
