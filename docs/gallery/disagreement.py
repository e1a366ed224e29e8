"""
Where a committee disagrees
===========================

Sixteen networks learn the same two moons. They agree at the samples. Where the boundary has left
the samples, each draws it elsewhere, and their disagreement says that none of them is to be
trusted there.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import make_moons

import logistack as ls

x, y = make_moons(80, noise=0.15, random_state=0)

keys = jax.random.split(jax.random.key(0), 16)
start = jax.vmap(lambda key: ls.init_params(key, (2, 16, 1)))(keys)
members = ls.fit_population(keys, start, x, y, optimizer=optax.adam(0.03), epochs=500).params

columns, rows = np.linspace(-2.5, 3.5, 120), np.linspace(-2, 2.5, 90)
grid = np.stack(np.meshgrid(columns, rows), axis=-1)


@jax.jit
@jax.vmap
def seen(point):
    shares = ls.committees.member_probabilities(members, point)
    return shares.mean(), ls.committees.disagreement(shares).information


mean, information = (each.reshape(90, 120) for each in seen(np.float32(grid.reshape(-1, 2))))

figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
shades = axes.contourf(columns, rows, information.clip(0), levels=7, cmap="Greys")
figure.colorbar(shades, label="disagreement (nats)")
axes.contour(columns, rows, mean, levels=[0.5], colors="black")
for label in (0, 1):
    axes.plot(*x[y == label].T, ls.plots.MARKERS[label], color=ls.plots.PALETTE[label], ms=4)
figure

# %%
# The black line is where the committee as a whole is undecided.

at_samples = seen(np.float32(x))[1]
print(f"{at_samples.mean():.3f} at the samples, {information.max():.3f} at most elsewhere")
assert at_samples.mean() < information.mean() < information.max()
