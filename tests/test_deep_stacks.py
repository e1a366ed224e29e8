"""Deep networks: stacks, how gradients pass them, and what they cost in programs and memory."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logistack as ls

KEY = jax.random.key(0)
SAMPLES = 6
INPUTS = np.random.default_rng(0).standard_normal((SAMPLES, 3)).astype(np.float32)
TARGETS = np.eye(3, dtype=np.float32)[[0, 1, 2, 2, 1, 0]]


def draw(*shapes, seed=0, dtype=np.float32):
    """Layers steep enough that what comes in still shows after many of them."""
    normal = np.random.default_rng(seed).standard_normal
    return tuple(
        ls.Layer(dtype(4 * normal(shape) / np.sqrt(shape[-1])), dtype(normal(shape[:-1]) / 2))
        for shape in shapes
    )


def one_by_one(params):
    """Weights and biases of every layer, those of a stack one by one, in float64."""
    each = (zip(*layer, strict=True) if layer.weight.ndim == 3 else [layer] for layer in params)
    return [tuple(map(np.float64, pair)) for pair in itertools.chain.from_iterable(each)]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def shapes_of(params):
    return [layer.weight.shape for layer in params]


# Layers and stacks.


@pytest.mark.parametrize(
    ("shapes", "shortest", "wanted"),
    [
        ([(3, 5), (3, 3), (3, 3), (2, 3)], 2, [(3, 5), (2, 3, 3), (2, 3)]),
        ([(3, 3), (3, 3), (3, 3)], 2, [(3, 3, 3)]),
        ([(3, 3), (3, 3), (2, 3), (2, 2), (2, 2)], 2, [(2, 3, 3), (2, 3), (2, 2, 2)]),
        ([(3, 3), (2, 3), (3, 2), (3, 3)], 2, [(3, 3), (2, 3), (3, 2), (3, 3)]),
        ([(1, 1), (1, 1)], 2, [(2, 1, 1)]),
        # A stack joins what is beside it, another stack too, and is left alone by itself.
        ([(3, 3), (2, 3, 3), (1, 3, 3), (3, 3), (2, 3)], 2, [(5, 3, 3), (2, 3)]),
        ([(2, 3), (1, 2, 2), (3, 2)], 2, [(2, 3), (1, 2, 2), (3, 2)]),
        ([(3, 3), (3, 3), (2, 3)], 3, [(3, 3), (3, 3), (2, 3)]),
        ([(3, 3), (2, 3, 3), (2, 3), (2, 2), (2, 2)], 3, [(3, 3, 3), (2, 3), (2, 2), (2, 2)]),
        ([(2, 3, 3), (2, 3)], 3, [(2, 3, 3), (2, 3)]),
    ],
)
def test_runs_of_equal_layers_are_joined_in_order(shapes, shortest, wanted):
    params = draw(*shapes)
    joined = ls.stack(params, shortest=shortest)
    assert isinstance(joined, tuple)
    assert shapes_of(joined) == wanted
    apart = ls.unstack(joined)
    assert all(layer.weight.ndim == 2 and layer.bias.ndim == 1 for layer in apart)
    chex.assert_trees_all_equal(one_by_one(joined), one_by_one(params))
    chex.assert_trees_all_equal(one_by_one(apart), one_by_one(params))


@pytest.mark.parametrize("count", [31, 32, 33, 70])
def test_runs_longer_than_what_is_joined_at_once_keep_their_order(count):
    params = draw(*[(2, 2)] * count, (40, 2, 2), *[(2, 2)] * count)
    joined = ls.stack(params)
    assert shapes_of(joined) == [(2 * count + 40, 2, 2)]
    chex.assert_trees_all_equal(one_by_one(joined), one_by_one(params))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ls.stack(draw((3, 3)), shortest=1), ValueError, r"^shortest: expected at least 2, got 1$"),
        (lambda: ls.stack(draw((3, 3)), shortest=2.0), TypeError, r"^shortest: expected an integer, got 2\.0$"),
        (lambda: ls.stack(draw((3, 3))[0]), TypeError, r"^params: expected a tuple of Layer, got Layer$"),
        (lambda: ls.stack(draw((3, 3), (2, 2))), ValueError, r"^params\[1\]: expected .*for 3 inputs.*got one for 2$"),
        (lambda: ls.unstack(draw((3, 3))[0]), TypeError, r"^params: expected a tuple of Layer, got Layer$"),
        (lambda: ls.unstack(()), ValueError, r"^params: expected at least one Layer, got none$"),
    ],
)  # fmt: skip
def test_stack_and_unstack_say_what_they_wanted(call, error, message):
    with pytest.raises(error, match=message):
        call()


TWENTY = draw(*[(3, 3)] * 20)


def test_a_long_run_of_layers_computes_what_numpy_does(x64):
    params, a = jax.tree.map(np.float64, TWENTY), np.float64(INPUTS[0])
    outputs = []
    for weight, bias in params:
        z = weight @ a + bias
        a = sigmoid(z)
        outputs.append(a)
    given = jax.jit(lambda params, x: (ls.logits(params, x), ls.activations(params, x)))
    logits, activations = given(params, np.float64(INPUTS[0]))
    np.testing.assert_allclose(logits, z, rtol=1e-12)
    chex.assert_trees_all_close(activations, tuple(outputs), rtol=1e-12)


def test_hidden_runs_of_sixteen_layers_are_scanned():
    def scans(hidden):
        layers = draw(*[(3, 3)] * hidden, (2, 3))
        return str(jax.make_jaxpr(ls.logits)(layers, INPUTS[0])).count("scan[")

    assert scans(15) == 0
    assert scans(16) == 1


def train(params, *, fit=ls.fit, **options):
    options = {"optimizer": optax.adam(0.01), "epochs": 3, **options}
    return fit(KEY, params, INPUTS, TARGETS, **options)


VALIDATED = {"validation": (-INPUTS, TARGETS), "coordinates": "centred"}


def test_fit_trains_a_long_run_as_a_stack_and_gives_it_back_as_it_came():
    *hidden, last = TWENTY
    joined = (*ls.stack(tuple(hidden)), last)
    single, stacked = train(TWENTY, **VALIDATED), train(joined, **VALIDATED)
    assert shapes_of(single.params) == [(3, 3)] * 20
    assert shapes_of(stacked.params) == [(19, 3, 3), (3, 3)]
    chex.assert_trees_all_equal(single.history, stacked.history)
    chex.assert_trees_all_equal(single.params, ls.unstack(stacked.params))
    best = (result.state.best.params for result in (single, stacked))
    chex.assert_trees_all_equal(*map(ls.unstack, best))
    changed = np.abs(single.params[7].weight - TWENTY[7].weight)
    assert changed.max() > 1e-3
    # Whoever drives it.
    driven = train(list(TWENTY), fit=ls.fit_with_callbacks, every=3, **VALIDATED)
    chex.assert_trees_all_equal(driven, single)


def test_layers_beside_a_run_come_back_in_their_places():
    params = draw((2, 3), (2, 2), (14, 2, 2), (2, 2), (3, 2))
    start = train(params, epochs=0)
    chex.assert_trees_all_equal(start.params, jax.tree.map(jnp.asarray, params))
    # A state is trained as it is.
    state = ls.init_state(TWENTY, optax.adam(0.01))
    assert shapes_of(train(state, epochs=0).params) == [(3, 3)] * 20


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 2, "coordinates": "centred", "validation": (INPUTS, TARGETS)},
        {"batch_size": 2, "coordinates": "centred", "remat": True},
    ],
    ids=["plain", "remat"],
)
def test_the_program_of_a_run_does_not_grow_with_depth(options):
    def equations(depth):
        run = jax.make_jaxpr(lambda params: train(params, **options))
        return str(run(draw((4, 3), (depth, 4, 4), (3, 4)))).count(" = ")

    # 22 = 4 · 4 + 6 and 200 = 14 · 14 + 4 both leave a rest.
    assert equations(22) == equations(200)


# Activations computed again.


@pytest.mark.parametrize("depth", [1, 9, 11])
def test_remat_changes_no_number(x64, depth):
    # 9 = 3 · 3 leaves no rest, 11 = 3 · 3 + 2 does. A dropped unit rests at ½.
    params = jax.tree.map(jnp.asarray, draw((4, 3), (depth, 4, 4), (3, 4), dtype=np.float64))
    state = ls.init_state(params, optax.sgd(1.0))
    options = {"dropout": (0.0, 0.25), "coordinates": "centred"}
    once, again = (
        jax.jit(ls.make_step(optax.sgd(1.0), remat=remat, **options))(
            state, INPUTS, TARGETS, key=KEY
        )
        for remat in (False, True)
    )
    # The same operations in the same order, but in loops of other lengths, which XLA may fuse
    # otherwise.
    after, seen = again
    chex.assert_trees_all_close(after, once[0], rtol=1e-12, atol=1e-14)
    # Shares of units are counted in float32.
    chex.assert_trees_all_close(seen, once[1], rtol=1e-6)
    assert seen.saturated.shape == (depth + 2,)
    assert np.all(np.abs(after.params[1].weight - params[1].weight).max((1, 2)) > 0)


def test_remat_changes_no_training():
    params = draw((4, 3), (10, 4, 4), (3, 4))
    options = {"dropout": 0.2}
    once, again = (train(params, remat=remat, **options) for remat in (False, True))
    # Shares are counts of units; all else is float32 that Adam divides by its own size.
    np.testing.assert_allclose(again.history.saturated, once.history.saturated, atol=1e-7)
    assert again.history.saturated.shape == (3, 12)
    assert np.mean(once.history.saturated > 0) > 0.3
    norms = again.history.gradient_norm, once.history.gradient_norm
    np.testing.assert_allclose(*norms, rtol=1e-4)
    chex.assert_trees_all_close(again.params, once.params, rtol=1e-3, atol=1e-4)


def test_remat_keeps_a_root_of_the_memory():
    params = draw((256, 32, 32), (3, 32))
    optimizer = optax.sgd(0.1)
    state = jax.eval_shape(lambda: ls.init_state(params, optimizer))
    batch = jax.ShapeDtypeStruct((64, 32), np.float32), jax.ShapeDtypeStruct((64, 3), np.float32)

    def temporary(remat):
        step = jax.jit(ls.make_step(optimizer, remat=remat))
        return step.lower(state, *batch).compile().memory_analysis().temp_size_in_bytes

    once, again = temporary(False), temporary(True)
    activations = 256 * 64 * 32 * 4
    # Measured: 9.5 MB and 1.5 MB, of which the gradient has 1.0.
    assert once > activations
    assert again < once / 3


def test_a_network_of_one_layer_may_be_a_stack_of_one():
    params = draw((1, 3, 3))
    step = ls.make_step(optax.sgd(0.1), remat=True)
    state, seen = step(ls.init_state(params, optax.sgd(0.1)), INPUTS, TARGETS)
    wanted, _ = step(ls.init_state(ls.unstack(params), optax.sgd(0.1)), INPUTS, TARGETS)
    chex.assert_trees_all_close(ls.unstack(state.params), wanted.params, rtol=1e-6)
    assert seen.saturated.shape == (1,)


@pytest.mark.parametrize("remat", [1, None, "yes"])
def test_remat_is_a_yes_or_no(remat):
    for call in (
        lambda: ls.make_step(optax.sgd(0.1), remat=remat),
        lambda: train(TWENTY, remat=remat),
    ):
        with pytest.raises(TypeError, match=r"^remat: expected True or False, got "):
            call()


# The Jacobian.


def jacobian(params, x):
    """W σ′(z) W σ′(z) … W, first to last, in NumPy."""
    *hidden, (weight, _) = one_by_one(params)
    a, product = np.float64(x), np.eye(len(x))
    for w, b in hidden:
        a = sigmoid(w @ a + b)
        product = (a * (1 - a))[:, None] * (w @ product)
    return weight @ product


SPECTRA = {
    "wide": draw((4, 5), (3, 4, 4), (2, 4)),
    "tall": draw((4, 2), (4, 4), (5, 4)),
    "one layer": draw((3, 3)),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_the_spectrum_is_that_of_the_product_of_the_layers(x64, name):
    params = jax.tree.map(np.float64, SPECTRA[name])
    inputs = np.random.default_rng(3).standard_normal((3, params[0].weight.shape[-1]))
    given = jax.jit(jax.vmap(ls.jacobian_spectrum, (None, 0)))(params, inputs)
    wanted = [np.linalg.svd(jacobian(params, x), compute_uv=False) for x in inputs]
    # Singular values are as exact as the largest.
    np.testing.assert_allclose(given, wanted, rtol=1e-10, atol=1e-14)
    assert given.shape == (3, min(params[0].weight.shape[-1], params[-1].weight.shape[-2]))
    assert np.all(np.diff(given) <= 0)


def test_the_spectrum_of_half_precision_is_in_float32():
    half = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), SPECTRA["one layer"])
    given = jax.jit(ls.jacobian_spectrum)(half, INPUTS[0])
    assert given.dtype == jnp.float32
    wanted = np.linalg.svd(np.float64(half[0].weight), compute_uv=False)
    np.testing.assert_allclose(given, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("params", "x", "error", "message"),
    [
        (SPECTRA["wide"], np.ones(4), ValueError, r"^x: expected shape \(5,\), got \(4,\)$"),
        (SPECTRA["wide"], np.full(5, np.nan), ValueError, r"^x: expected finite values, got 5 NaN"),
        (SPECTRA["wide"][0], np.ones(5), TypeError, r"^params: expected a tuple of Layer, got Layer$"),
        (SPECTRA["tall"], ["a", "b"], TypeError, r"^x: expected an array of real numbers"),
    ],
)  # fmt: skip
def test_the_spectrum_says_what_it_wanted(params, x, error, message):
    with pytest.raises(error, match=message):
        ls.jacobian_spectrum(params, x)
