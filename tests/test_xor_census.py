"""The census: which networks learn XOR is what gradient descent in NumPy says."""

import dataclasses

import jax
import numpy as np
import pytest

import logistack as ls
from experiments import keeping, xor_census
from experiments.limits_plane import xor

SMALL = xor_census.Config(rates=(0.05, 1.0), scales=(5.0, 0.2), seeds=8, epochs=1_000, seed=3)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def solves(params, rate, epochs):
    """Whether plain gradient descent is right on all four points in the end, in float64."""
    inputs, labels = xor()
    (w, b), (v, c) = (tuple(np.asarray(part, float) for part in layer) for layer in params)
    for _ in range(epochs):
        a = sigmoid(inputs @ w.T + b)
        delta = sigmoid(a @ v.T + c) - labels[:, None]
        back = (delta @ v) * a * (1 - a)
        v, c = v - rate * delta.T @ a, c - rate * delta.sum(axis=0)
        w, b = w - rate * back.T @ inputs, b - rate * back.sum(axis=0)
    logits = sigmoid(inputs @ w.T + b) @ v.T + c
    return bool(np.all((logits[:, 0] > 0) == labels))


def kept(*solved):
    pairs = [(rate, scale) for rate in SMALL.rates for scale in SMALL.scales]
    cells = [
        {"rate": rate, "scale": scale, "solved": count}
        for (rate, scale), count in zip(pairs, solved, strict=True)
    ]
    settings = {"rates": [*SMALL.rates], "scales": [*SMALL.scales], "seeds": 8, "epochs": 1_000}
    return {"settings": settings, "found": cells}


def test_a_network_starts_as_drawn_with_its_weights_scaled():
    key = jax.random.key(1)
    for layer, drawn in zip(
        xor_census.begin(key, 3.0), ls.init_params(key, (2, 2, 1)), strict=True
    ):
        np.testing.assert_allclose(layer.weight, 3 * drawn.weight, rtol=1e-6)
        np.testing.assert_array_equal(layer.bias, drawn.bias)


def test_counts_those_that_gradient_descent_brings_to_solve_xor():
    keys = jax.random.split(jax.random.key(3), 8)
    cells = xor_census.run(SMALL)
    for cell in cells:
        starts = [xor_census.begin(key, cell["scale"]) for key in keys]
        wanted = sum(solves(start, cell["rate"], SMALL.epochs) for start in starts)
        assert cell["solved"] == wanted, cell
    assert len({cell["solved"] for cell in cells}) > 2  # or the pairs could be exchanged


def test_the_map_has_scales_across_and_rates_upward():
    axes, bar = xor_census.plot(kept(0, 2, 4, 8))["xor-census"].axes
    # The scales in their order: 0.2 to the left.
    assert [text.get_text() for text in axes.texts] == ["100", "50", "25", "0"]
    assert (axes.get_ylabel(), bar.get_ylabel()) == (
        "learning rate",
        "networks that solve XOR (%)",
    )


def test_the_report_has_the_counts_and_the_best_pair():
    lines = xor_census.report(kept(0, 2, 7, 5)).splitlines()
    assert [line.split() for line in lines[2:5]] == [
        ["rate", "×", "5", "×", "0.2"],
        ["0.05", "0", "2"],
        ["1", "7", "5"],
    ]
    assert lines[5] == "in all 14 of 32; most at rate 1 and × 5: 7 of 8"


@pytest.mark.parametrize("name", ["rates", "scales"])
def test_what_is_named_twice_is_refused(name):
    config = dataclasses.replace(SMALL, **{name: (1.0, 1.0)})
    with pytest.raises(keeping.RefusedError, match=f"{name}: expected each once"):
        xor_census.run(config)
