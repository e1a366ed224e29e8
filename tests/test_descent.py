"""The optimizer whose learning rate the depth decides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logistack as ls

KEY = jax.random.key(0)


def gradient(seed, size):
    normal = np.random.default_rng(seed).standard_normal
    return (
        ls.Layer(
            *(jnp.asarray(size * normal(shape), jnp.float32) for shape in ((3, 4, 4), (3, 4)))
        ),
        ls.Layer(*(jnp.asarray(size * normal(shape), jnp.float32) for shape in ((2, 4), (2,)))),
    )


def flattened(layers, scale):
    """All numbers in a row, the biases times `scale`."""
    weights, biases = zip(*layers, strict=True)
    return np.concatenate([*map(np.ravel, weights), *(scale * np.ravel(bias) for bias in biases)])


@pytest.mark.parametrize("size", [1e-3, 10.0], ids=["short", "cut"])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.5}, {"learning_rate": 0.3}])
def test_updates_are_those_of_the_formula(size, options):
    depth, steps = 25, 4
    beta = options.get("momentum", 0.9)
    eta = options.get("learning_rate", (1 - beta) / 5)
    optimizer = ls.deep_sgd(depth, steps, **options)
    state = optimizer.init(gradient(0, size))
    velocity = 0.0
    for step in range(steps + 1):
        given = gradient(step, size)
        update, state = optimizer.update(given, state)
        # With c = c̃ / 5, the gradient with respect to c̃ is a fifth, and c̃ moves by 5 times as much.
        own = flattened(given, 1 / 5)
        velocity = beta * velocity + own / max(1, np.linalg.norm(own))
        wanted = -eta * (1 + np.cos(np.pi * step / steps)) / 2 * velocity
        np.testing.assert_allclose(flattened(update, 5), wanted, rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"depth": 0}, ValueError, r"^depth: expected at least 1, got 0$"),
        ({"depth": 2.0}, TypeError, r"^depth: expected an integer, got 2\.0$"),
        ({"steps": 0}, ValueError, r"^steps: expected at least 1, got 0$"),
        ({"momentum": 1.0}, ValueError, r"^momentum: expected at least 0 and below 1, got 1\.0$"),
        ({"momentum": "0.9"}, TypeError, r"^momentum: "),
        ({"learning_rate": -0.1}, ValueError, r"^learning_rate: expected at least 0, got -0\.1$"),
        ({"learning_rate": np.nan}, ValueError, r"^learning_rate: expected a finite number"),
    ],
)
def test_says_what_it_wanted(arguments, error, message):
    with pytest.raises(error, match=message):
        ls.deep_sgd(**{"depth": 3, "steps": 3, **arguments})


def test_the_rate_may_be_a_hyperparameter():
    def train(rate):
        return ls.fit(
            KEY, ls.init_params(KEY, (2, 3, 2)), np.eye(2), np.eye(2), epochs=2,
            optimizer=lambda learning_rate: ls.deep_sgd(1, 2, learning_rate=learning_rate),
            hyperparams={"learning_rate": rate},
        ).history.loss  # fmt: skip

    one, other = jax.vmap(train)(jnp.array([0.01, 0.1]))
    np.testing.assert_allclose(one, train(0.01), rtol=1e-5)
    assert other[-1] < one[-1]
