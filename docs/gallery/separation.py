"""
Coefficients that run off
=========================

A logistic regression that does not converge has samples that are separated. `ls.separation` proves
which, and which coefficients then have no finite estimate. Here all patients who were given the
drug recovered, and of the others some.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax

import logistack as ls

draws = np.random.default_rng(0)
age, drug = draws.normal(size=60), np.repeat([0.0, 1.0], [45, 15])
recovered = np.where(drug == 1, 1, age + draws.logistic(size=60) < 0).astype(int)
x = np.stack([age, drug], axis=1)

found = ls.separation(x, recovered)
names = ("age", "drug", "intercept")
print(found.kind, dict(zip(names, found.estimates, strict=True)))
assert found.estimates == ("finite", "+∞", "finite")
assert found.verify()

# %%
# Gradient descent shows the same. The one coefficient rises without end, like the logarithm of the
# number of steps; the others settle.

key, curves = jax.random.key(0), []
state = ls.init_params(key, (2, 1), scheme="zeros")
for _ in range(50):
    state = ls.fit(
        key, state, x, recovered, optimizer=optax.sgd(0.5), epochs=200, reduction="mean"
    ).state
    curves.append([*state.params[0].weight[0], *state.params[0].bias])

figure, axes = plt.subplots(figsize=(4.5, 2.8), layout="constrained")
for name, curve in zip(names, np.transpose(curves), strict=True):
    axes.semilogx(range(200, 10_001, 200), curve, label=name)
axes.set(xlabel="steps of gradient descent", ylabel="coefficient")
axes.legend()
figure
