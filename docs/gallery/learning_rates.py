"""
A map of learning rates
=======================

Which learning rate should a network of two hidden units have for XOR, and how large should its
weights be at first? All 1,120 networks of this map are one call of `ls.fit_population`: a member
may have a learning rate of its own.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

import logistack as ls

x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = jnp.array([0, 1, 1, 0])

rates, scales = [0.02, 0.05, 0.2, 0.5, 1.0, 2.0, 5.0], [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
rate, scale, seed = np.array(list(itertools.product(rates, scales, range(20)))).T
keys = jax.vmap(jax.random.key)(seed.astype(int))
drawn = jax.vmap(
    lambda key, scale: jax.tree.map(lambda a: scale * a, ls.init_params(key, (2, 2, 1)))
)
assert len(keys) == 1_120
result = ls.fit_population(
    keys,
    drawn(keys, jnp.float32(scale)),
    x,
    y,
    optimizer=optax.sgd,
    hyperparams={"learning_rate": jnp.float32(rate)},
    epochs=3000,
)

# %%
# Each cell is the share of twenty networks that have all four points right.

solved = result.history.accuracy[:, -1] == 1
share = ls.summarize(solved, {"learning rate": rate, "factor on the initial weights": scale})
best = max(share.rows, key=lambda row: row.mean)
print(f"most with a learning rate of {best.setting[0]} and the weights × {best.setting[1]}")
assert best.setting[1] < 1
ls.plots.heat_map(share, quantity="share that learns XOR")
