"""Plain and centred units: the map between their parameters, and training in either."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings, strategies

import logistack as ls
from logistack.training import epoch_order
from tests.masks import drawn

KEY = jax.random.key(0)
SAMPLES = 8
normal = np.random.default_rng(0).standard_normal
INPUTS = normal((SAMPLES, 3))
TARGETS = np.eye(2)[[0, 1, 1, 0, 1, 0, 0, 1]]
# Every kind of layer: the first, a stack, the last.
SHAPES = ((4, 3), (2, 4, 4), (2, 4))


def network(generator, shapes, dtype=np.float64):
    """Parameters of tanh units of moderate slope, biases as large as the weights."""
    return tuple(
        ls.Layer(
            dtype(generator.standard_normal(shape) / np.sqrt(shape[-1])),
            dtype(generator.standard_normal(shape[:-1])),
        )
        for shape in shapes
    )


CENTRED = network(np.random.default_rng(1), SHAPES)


# An independent implementation: tanh units, layer by layer, in NumPy and float64.


def one_by_one(params):
    """Weights and biases of every layer, those of a stack one by one, in float64."""
    each = (zip(*layer, strict=True) if layer.weight.ndim == 3 else [layer] for layer in params)
    return [tuple(map(np.float64, pair)) for pair in itertools.chain.from_iterable(each)]


def tanh_logits(layers, x):
    *hidden, (weight, bias) = layers
    for v, c in hidden:
        x = np.tanh(x @ v.T + c)
    return x @ weight.T + bias


def sigma_logits(layers, x):
    *hidden, (weight, bias) = layers
    for w, b in hidden:
        x = 1 / (1 + np.exp(-(x @ w.T + b)))
    return x @ weight.T + bias


def folded(layers):
    """tanh z = 2σ(2z) − 1, put into each layer: what feeds a unit doubles, what it feeds too."""
    last, plain = len(layers) - 1, []
    for place, (v, c) in enumerate(map(np.array, pair) for pair in layers):
        if place > 0:  # v (2a − 1) + c
            c -= v.sum(1)
            v *= 2
        plain.append((v, c) if place == last else (2 * v, 2 * c))
    return plain


def unfolded(layers):
    last, centred = len(layers) - 1, []
    for place, (v, c) in enumerate(map(np.array, pair) for pair in layers):
        if place < last:
            v, c = v / 2, c / 2
        if place > 0:  # w a + b with a = (1 + t) / 2
            v = v / 2
            c = c + v.sum(1)
        centred.append((v, c))
    return centred


def in_shape(layers):
    """Single layers in the shapes of CENTRED."""
    first, *stack, last = layers
    return ls.Layer(*first), ls.Layer(*map(np.stack, zip(*stack, strict=True))), ls.Layer(*last)


PLAIN = in_shape(folded(one_by_one(CENTRED)))


def assert_layers_close(given, wanted, rtol=1e-12, atol=1e-12):
    for one, other in zip(jax.tree.leaves(one_by_one(given)), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)


# The map.

# Few sizes: each shape of a layer compiles anew.
NETWORKS = strategies.builds(
    lambda sizes, seed, dtype: network(
        np.random.default_rng(seed), [(n, m) for m, n in itertools.pairwise(sizes)], dtype
    ),
    strategies.lists(strategies.sampled_from([1, 3]), min_size=2, max_size=7),
    strategies.integers(0, 2**32 - 1),
    strategies.sampled_from([np.float32, np.float64]),
)


@given(NETWORKS, strategies.booleans())
@settings(max_examples=40)
def test_logistic_units_with_folded_parameters_compute_what_tanh_units_do(centred, joined):
    with jax.enable_x64(True):
        plain = ls.fold(ls.stack(centred) if joined else centred)
        assert {a.dtype for a in jax.tree.leaves(plain)} == {centred[0].weight.dtype}
    x = np.linspace(-2, 2, centred[0].weight.shape[1])
    # A logit of the last layer is rounded to that of the terms it is summed from, which are of
    # the order of 1; a hidden layer passes a change of its input on about as large as it came.
    close = 1e-12 if centred[0].weight.dtype == np.float64 else 1e-5
    np.testing.assert_allclose(
        sigma_logits(one_by_one(plain), x),
        tanh_logits(one_by_one(centred), x),
        rtol=close,
        atol=close,
    )


@given(NETWORKS, strategies.booleans())
@settings(max_examples=40)
def test_there_and_back_changes_biases_by_rounding_alone(params, joined):
    def assert_same(given, wanted, row_sum):
        eps = np.finfo(wanted.weight.dtype).eps
        np.testing.assert_array_equal(given.weight, wanted.weight)
        assert given.bias.dtype == wanted.bias.dtype
        # Of c − s and back, with s = V·1 the same both times, each of two roundings is at most
        # ½ ε times a number below |c| + |s|. Powers of 2 round nothing.
        error = np.abs(np.float64(given.bias) - np.float64(wanted.bias))
        assert np.all(error <= eps * (np.abs(wanted.bias) + np.abs(row_sum)))

    with jax.enable_x64(True):
        params = ls.stack(params) if joined else params
        there, back = ls.fold(params), ls.unfold(params)
        for before, given, other, plain, centred in zip(
            params, ls.unfold(there), ls.fold(back), there, back, strict=True
        ):
            assert_same(given, before, np.float64(before.weight).sum(-1))
            # b/2 + s and back: the bound is the same for the bias in units of its own.
            assert_same(other, before, 2 * np.float64(centred.weight).sum(-1))
            assert plain.weight.shape == before.weight.shape == centred.weight.shape


def test_unfold_is_the_inverse(x64):
    assert_layers_close(ls.unfold(PLAIN), one_by_one(CENTRED), 1e-15, 1e-15)
    assert_layers_close(ls.fold(CENTRED), one_by_one(PLAIN), 1e-15, 1e-15)


def test_a_single_layer_is_its_own_image():
    single = (ls.Layer(jnp.array([[1.5, -2.0]]), jnp.array([0.3])),)
    for map_ in (ls.fold, ls.unfold):
        chex.assert_trees_all_equal(map_(single), single)
        stack = jax.tree.map(lambda a: a[None], (ls.Layer(jnp.eye(2), jnp.ones(2)),))
        chex.assert_trees_all_equal(map_(stack), stack)


@pytest.mark.parametrize("map_", [ls.fold, ls.unfold])
def test_a_stack_is_mapped_as_its_layers(x64, map_):
    for shapes in (((3, 4, 4),), ((2, 4, 4), (2, 4)), ((4, 2), (2, 4, 4))):
        params = network(np.random.default_rng(2), shapes)
        assert_layers_close(map_(params), one_by_one(map_(ls.unstack(params))), 1e-15, 1e-15)


def test_it_is_linear(x64):
    p, q, v = (network(np.random.default_rng(seed), SHAPES) for seed in (2, 3, 4))
    mixed = jax.tree.map(lambda a, b: 2.5 * a - 0.3 * b, p, q)
    wanted = jax.tree.map(lambda a, b: 2.5 * a - 0.3 * b, ls.fold(p), ls.fold(q))
    chex.assert_trees_all_close(ls.fold(mixed), wanted, rtol=1e-13, atol=1e-13)
    for at in (p, q):  # of which a linear map's derivative knows nothing
        _, tangent = jax.linearize(ls.fold, at)
        chex.assert_trees_all_close(tangent(v), ls.fold(v), rtol=1e-14, atol=1e-14)


def test_the_gradient_equals_differences_of_the_tanh_network(x64):
    def loss(layers):
        z = tanh_logits(layers, INPUTS)
        return np.sum(np.logaddexp(0, z) - TARGETS * z)

    of_folded = jax.grad(lambda centred: ls.summed_loss(ls.fold(centred), INPUTS, TARGETS))
    gradient = jax.jit(of_folded)(CENTRED)
    theta, slope = one_by_one(CENTRED), jax.tree.leaves(one_by_one(gradient))
    for seed in range(3):
        draw = np.random.default_rng(seed).standard_normal
        direction = jax.tree.map(lambda a, draw=draw: draw(a.shape), theta)
        ahead, behind = (
            loss(jax.tree.map(lambda t, d, h=h: t + h * d, theta, direction)) for h in (1e-5, -1e-5)
        )
        along = sum(np.sum(g * d) for g, d in zip(slope, jax.tree.leaves(direction), strict=True))
        # h² of the third derivative, 1e-10, and rounding 1e-16 / h, 1e-11.
        np.testing.assert_allclose(along, (ahead - behind) / 2e-5, rtol=1e-7)


def both(params):
    return ls.fold(params), ls.unfold(params)


def test_it_maps_in_jit_and_in_vmap():
    members = jax.tree.map(lambda a: np.float32(np.stack([a, -a, 2 * a])), CENTRED)
    mapped = jax.jit(jax.vmap(both))(members)
    for member in range(3):
        own, *images = (jax.tree.map(lambda a, i=member: a[i], m) for m in (members, *mapped))
        for one, oracle in zip(images, (folded, unfolded), strict=True):
            assert_layers_close(one, oracle(one_by_one(own)), 1e-5, 1e-5)


def test_half_precision_stays_half_precision():
    half = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), CENTRED)
    for mapped, oracle in zip(jax.jit(both)(half), (folded, unfolded), strict=True):
        assert {a.dtype for a in jax.tree.leaves(mapped)} == {jnp.dtype(jnp.bfloat16)}
        # Sums of four numbers of 8 bits.
        assert_layers_close(mapped, oracle(one_by_one(half)), 2e-2, 4e-2)


def test_a_thousand_layers_compute_what_tanh_units_do_in_float32():
    draw = np.random.default_rng(5).standard_normal
    weights = np.linalg.qr(draw((1000, 16, 16)))[0]
    centred = (
        ls.Layer(np.float32(1.01 * weights), np.float32(0.01 * draw((1000, 16)))),
        ls.Layer(np.float32(np.linalg.qr(draw((16, 3)))[0].T), np.zeros(3, np.float32)),
    )
    x = np.float32(draw((5, 16)) / 4)
    given = jax.jit(jax.vmap(ls.logits, (None, 0)))(ls.fold(centred), x)
    wanted = tanh_logits(one_by_one(centred), x)
    # A logistic unit's activation is near ½, its rounding 3e-8, four times of which reaches its
    # tanh twin; orthogonal layers pass it on as it is, so that a thousand add up at random to
    # √1000 · 1e-7 = 4e-6. Measured: 2.3e-6.
    np.testing.assert_allclose(given, wanted, atol=1e-5)
    assert np.abs(wanted).mean() > 0.05


@pytest.mark.parametrize(("map_", "name"), [(ls.fold, "centred"), (ls.unfold, "plain")])
def test_the_maps_say_what_they_wanted(map_, name):
    with pytest.raises(TypeError, match=rf"^{name}: expected a tuple of Layer, got Layer$"):
        map_(PLAIN[0])
    with pytest.raises(ValueError, match=rf"^{name}\[1\]: expected .*for 2 inputs.*got one for 4$"):
        map_((PLAIN[2], PLAIN[2]))


# Training in them.


def tanh_loss(theta, x, y, masks=None):
    """Of one batch, in JAX, for its gradient: no logistic unit and no fold in it."""
    masks = [1.0] * len(theta) if masks is None else masks
    x = x * masks[0]
    for (v, c), mask in zip(theta[:-1], masks[1:], strict=True):
        x = jnp.tanh(x @ v.T + c[None]) * mask
    z = x @ theta[-1][0].T + theta[-1][1][None]
    return optax.sigmoid_binary_cross_entropy(z, y).sum()


loss_and_gradient = jax.jit(jax.value_and_grad(tanh_loss))


def oracle(optimizer, *, epochs, batch_size=SAMPLES, reduction="sum"):
    """The parameters after each step of the optimizer on those of the tanh network, folded."""
    optimizer = optax.with_extra_args_support(optimizer)
    theta = one_by_one(CENTRED)
    state = optimizer.init(theta)

    @jax.jit
    def update(theta, state, x, y, value, gradient):
        updates, state = optimizer.update(
            gradient, state, theta, value=value, grad=gradient,
            value_fn=lambda theta: tanh_loss(theta, x, y),
        )  # fmt: skip
        return optax.apply_updates(theta, updates), state

    path, losses = [], []
    for epoch in range(epochs):
        order = np.arange(SAMPLES)
        if batch_size < SAMPLES:
            order = np.asarray(epoch_order(KEY, epoch, SAMPLES))
        for batch in order.reshape(-1, batch_size):
            x, y = INPUTS[batch], TARGETS[batch]
            value, gradient = loss_and_gradient(theta, x, y)
            if reduction == "mean":
                gradient = jax.tree.map(lambda g: np.asarray(g) / batch_size, gradient)
            theta, state = update(theta, state, x, y, value, gradient)
            path.append(folded(theta))
            losses.append(float(value))
    return path, losses


def train(optimizer, *, params=PLAIN, fit=ls.fit, **options):
    options = {"epochs": 4, "coordinates": "centred", **options}
    return fit(KEY, params, INPUTS, TARGETS, optimizer=optimizer, **options)


def adam():
    return optax.adam(0.01)


BATCHES = {"batch_size": 4, "reduction": "mean"}
OPTIMIZERS = {
    "adam, batches": (adam(), BATCHES),
    # The clip is felt at every step; weight decay pulls the tanh network's weights to 0.
    "clipped adamw": (
        optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.05, weight_decay=0.3)),
        {},
    ),
    # Tries steps along the gradient by the loss that each leads to.
    "line search": (
        optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(6)),
        {},
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fit_takes_the_steps_of_an_optimizer_of_tanh_units(x64, name):
    optimizer, options = OPTIMIZERS[name]
    result = train(optimizer, **options)
    path, losses = oracle(optimizer, epochs=4, **options)
    # Rounding alone, which Adam enlarges where a gradient is small.
    assert_layers_close(result.params, path[-1], 1e-9, 1e-10)
    chex.assert_trees_all_equal(result.params, result.state.params)
    if not options:
        np.testing.assert_allclose(result.history.loss, losses, rtol=1e-10)
    assert [layer.weight.shape for layer in result.params] == [*SHAPES]


def test_a_loop_of_steps_is_fit(x64):
    step = jax.jit(ls.make_step(adam(), reduction="mean", coordinates="centred"))
    state = ls.init_state(PLAIN, adam(), coordinates="centred")
    for epoch in range(4):
        order = epoch_order(KEY, epoch, SAMPLES)
        for batch in order.reshape(2, 4):
            state, _ = step(state, INPUTS[batch], TARGETS[batch])
    result = train(adam(), **BATCHES)
    chex.assert_trees_all_close(result.params, state.params, rtol=1e-12, atol=1e-12)
    # Adam's mean is of the gradient with respect to the tanh network's parameters.
    chex.assert_trees_all_close(result.state.opt_state, state.opt_state, rtol=1e-12, atol=1e-12)


def test_a_run_continues_bit_for_bit(x64):
    whole, half = train(adam(), **BATCHES), train(adam(), **BATCHES, epochs=2)
    rest = train(adam(), **BATCHES, epochs=2, params=half.state)
    chex.assert_trees_all_equal(rest[:2], whole[:2])
    np.testing.assert_array_equal([*half.history.loss, *rest.history.loss], whole.history.loss)
    chunks = train(adam(), **BATCHES, fit=ls.fit_with_callbacks, every=2)
    chex.assert_trees_all_equal(chunks, whole)


def test_a_stream_is_trained_in_them_too(x64):
    def batches():
        for epoch in range(4):
            order = np.asarray(epoch_order(KEY, epoch, SAMPLES))
            yield from ((INPUTS[batch], TARGETS[batch]) for batch in order.reshape(2, 4))

    result = ls.fit_stream(
        KEY, PLAIN, batches(), optimizer=adam(), epochs=4, steps_per_epoch=2, reduction="mean",
        coordinates="centred",
    )  # fmt: skip
    chex.assert_trees_all_close(
        result.params, train(adam(), **BATCHES).params, rtol=1e-12, atol=1e-12
    )


def test_the_average_is_that_of_plain_parameters_whatever_the_rate(x64):
    def averaged(rate):
        return train(optax.sgd, hyperparams={"learning_rate": rate}, ema_decay=0.8)

    rates = np.array([0.01, 0.1])
    results = jax.vmap(averaged)(rates)
    for member, rate in enumerate(rates):
        path, _ = oracle(optax.sgd(rate), epochs=4)
        mean = jax.tree.map(lambda *t: np.average(t, 0, weights=0.8 ** np.arange(4)[::-1]), *path)
        own = jax.tree.map(lambda a, i=member: a[i], results)
        assert_layers_close(own.params, mean)
        assert_layers_close(own.state.params, path[-1])


def test_a_dropped_unit_rests_at_one_half(x64):
    rates = (0.2, 0.5, 0.4, 0.5)
    step = jax.jit(ls.make_step(optax.sgd(0.1), dropout=rates, coordinates="centred"))
    state, seen = step(ls.init_state(PLAIN, optax.sgd(0.1)), INPUTS, TARGETS, key=KEY)
    masks = drawn(KEY, PLAIN, rates, SAMPLES)
    assert all(0 < np.mean(mask == 0) < 1 for mask in masks)

    *hidden, (weight, bias) = one_by_one(PLAIN)
    a = INPUTS * masks[0]  # an input's rest is 0 in either coordinates
    for (w, b), mask in zip(hidden, masks[1:], strict=True):
        a = 1 / (1 + np.exp(-(a @ w.T + b)))
        a = np.where(mask == 0, 0.5, 0.5 + (a - 0.5) * mask)
    z = a @ weight.T + bias
    np.testing.assert_allclose(seen.loss, np.sum(np.logaddexp(0, z) - TARGETS * z), rtol=1e-12)
    theta = one_by_one(CENTRED)
    _, gradient = loss_and_gradient(theta, INPUTS, TARGETS, masks)
    moved = jax.tree.map(lambda t, g: np.asarray(t - 0.1 * g), theta, gradient)
    assert_layers_close(state.params, folded(moved))


@pytest.mark.parametrize("coordinates", ["Centred", None, 1, ["centred"]])
def test_other_coordinates_are_refused(coordinates):
    calls = (
        lambda: train(adam(), coordinates=coordinates),
        lambda: train(adam(), coordinates=coordinates, fit=ls.fit_with_callbacks),
        lambda: ls.make_step(adam(), coordinates=coordinates),
        lambda: ls.init_state(PLAIN, adam(), coordinates=coordinates),
        lambda: ls.fit_stream(KEY, PLAIN, [], optimizer=adam(), epochs=1, coordinates=coordinates),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"^coordinates: expected one of .*'plain', 'centred'"):
            call()
