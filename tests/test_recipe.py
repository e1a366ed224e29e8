"""What a run is told: one list of options, and every public function that takes them."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logistack as ls
from logistack.training.joining import joined_for
from logistack.training.recipe import Options, Recipe, StepOptions, read_recipe

KEY = jax.random.key(0)
SGD = optax.sgd(0.1)
X = jnp.eye(2)
FACES = {
    ls.fit: Options,
    ls.fit_with_callbacks: Options,
    ls.fit_stream: Options,
    ls.make_step: StepOptions,
}


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_every_face_spells_out_every_option_with_its_default(face):
    taken = inspect.signature(face).parameters
    fit = inspect.signature(ls.fit).parameters
    for name in FACES[face].__annotations__:
        assert taken[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert taken[name].default is fit[name].default
    assert not any(p.kind is p.VAR_KEYWORD for p in taken.values())


def test_every_option_is_a_field_and_described_where_fit_is():
    fields = set(Recipe.names()) - {"optimizer", "batch_size"}
    assert fields == set(Options.__annotations__)
    for name in inspect.signature(ls.fit).parameters:
        assert f"\n    {name}: " in inspect.getdoc(ls.fit)


def test_a_default_is_what_is_read_of_it():
    params = ls.init_params(KEY, (2, 3, 1))
    said = {
        name: parameter.default
        for name, parameter in inspect.signature(ls.fit).parameters.items()
        if name in Options.__annotations__
    }
    given, left = (read_recipe("fit", params, SGD, options) for options in (said, {}))
    assert jax.tree.leaves(given) == jax.tree.leaves(left)
    assert jax.tree.structure(given) == jax.tree.structure(left)


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_an_unknown_option_names_the_function_and_its_like(face):
    arguments = {
        "key": KEY,
        "params": ls.init_params(KEY, (2, 2)),
        "inputs": X,
        "targets": X,
        "batches": [(X, X)],
        "optimizer": SGD,
        "epochs": 1,
    }
    own = {
        name: arguments[name] for name in inspect.signature(face).parameters if name in arguments
    }
    message = rf"^{face.__name__}\(\) got an unexpected keyword argument 'droput'.*'dropout'\?$"
    with pytest.raises(TypeError, match=message):
        face(**own, droput=0.1)


def train(optimizer, params=None, **options):
    params = ls.init_params(KEY, (3, 4, 2)) if params is None else params
    inputs = jnp.linspace(-1, 1, 30).reshape(10, 3)
    targets = jax.nn.one_hot(jnp.arange(10) % 2, 2)
    return ls.fit(KEY, params, inputs, targets, optimizer=optimizer, **{"epochs": 4, **options})


# Optimizers that are told more than they take, or take other things than numbers.


@pytest.mark.parametrize("within", [lambda o: o, lambda o: optax.chain(optax.identity(), o)])
def test_an_optimizer_is_given_what_it_takes(within):
    ascent = optax.chain(optax.contrib.normalize(), optax.sgd(0.1))
    sharp = within(optax.contrib.sam(optax.sgd(0.1), ascent, opaque_mode=True))
    loss = train(sharp).history.loss
    assert loss[-1] < loss[0]
    assert not np.array_equal(loss, train(optax.sgd(0.1)).history.loss)


def test_an_optimizer_may_evaluate_at_other_parameters():
    optimizer = optax.contrib.schedule_free_sgd(0.5)
    samples = jnp.linspace(1, -1, 12).reshape(4, 3), jax.nn.one_hot(jnp.array([0, 1, 1, 0]), 2)
    options = {"eval_params": optax.contrib.schedule_free_eval_params}
    result = train(optimizer, validation=samples, **options)
    last = optax.contrib.schedule_free_eval_params(result.state.opt_state, result.state.params)
    loss = ls.summed_loss(last, *samples)
    np.testing.assert_allclose(result.history.validation_loss[-1], loss, rtol=1e-6)
    given = train(optimizer, **options).params
    jax.tree.map(lambda own, at: np.testing.assert_allclose(own, at, rtol=1e-6), given, last)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_hyperparams_have_the_dtype_of_the_parameters(x64, dtype):
    params = ls.init_params(KEY, (3, 4, 2), dtype=dtype)
    given = {"learning_rate": 0.02, "momentum": np.float64(0.9)}
    result = train(optax.sgd, params, hyperparams=given)
    assert {leaf.dtype for leaf in jax.tree.leaves(result.params)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("size", [3, np.int64(3)])
def test_an_integer_among_the_hyperparams_is_one(size):
    history = train(optax.lbfgs, hyperparams={"memory_size": size}).history
    assert np.array_equal(history.loss, train(optax.lbfgs(memory_size=3)).history.loss)


# Stacks.

ALIKE = {
    "sgd": optax.sgd(0.1, momentum=0.9),
    "adamw": optax.adamw(0.1),
    "clipped": optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1)),
    "deep": ls.deep_sgd(20, 5),
    "line search": optax.chain(optax.sgd(0.1), optax.scale_by_backtracking_linesearch(5)),
}
APART = {
    "muon": optax.contrib.muon(0.1),
    "lamb": optax.lamb(0.1),
    "mask": optax.adamw(
        0.1, weight_decay=0.1, mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim == 2, tree)
    ),
    "noise": optax.chain(optax.sgd(0.1), optax.add_noise(0.1, 0.5, key=0)),
}


@pytest.mark.parametrize("name", ALIKE | APART)
@pytest.mark.parametrize("coordinates", ["plain", "centred"])
def test_layers_are_joined_where_that_makes_no_difference(name, coordinates):
    optimizer = (ALIKE | APART)[name]
    params = ls.init_params(KEY, (3, *[4] * 20, 2))
    recipe = read_recipe("fit", params, optimizer, {"coordinates": coordinates})
    assert len(joined_for(recipe, params)) == (3 if name in ALIKE else 21)


def test_sixteen_layers_are_trained_as_fifteen_are_by_an_optimizer_that_reads_shapes():
    params = ls.init_params(KEY, (3, *[4] * 20, 2))
    inputs = jnp.linspace(-1, 1, 30).reshape(10, 3)
    targets = jax.nn.one_hot(jnp.arange(10) % 2, 2)
    optimizer = APART["muon"]
    state, step = ls.init_state(params, optimizer), jax.jit(ls.make_step(optimizer))
    for _ in range(2):
        state, _ = step(state, inputs, targets)
    given = train(optimizer, params, epochs=2)
    jax.tree.map(
        lambda own, other: np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-6),
        given.params,
        state.params,
    )
