"""
How wide for a spiral
=====================

Two arms of a spiral, a turn long each. A population of 48 networks, 16 of each width, shows how
many hidden units learn them.
"""

import jax
import numpy as np
import optax

import logistack as ls

angle = np.linspace(0.5, 2.5, 40) * np.pi
arm = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) / 4
x, y = np.concatenate([arm, -arm]), np.repeat([0, 1], 40)

bound = ls.hidden_bound(x, y)
print(f"proven: fewer than {bound.hidden} fail, since {bound.why}")

widths = np.repeat([2, 4, 8], 16)
keys = jax.random.split(jax.random.key(0), len(widths))
result = ls.fit_population(
    keys,
    [ls.init_params(key, (2, width, 1)) for key, width in zip(keys, widths, strict=True)],
    x,
    y,
    optimizer=optax.adam(0.05),
    epochs=1000,
)
errors = 1 - result.history.accuracy[:, -1]
ls.plots.intervals(ls.summarize(errors, {"hidden units": widths}), quantity="training error")

# %%
# The narrowest network without an error:

best = min(np.flatnonzero(errors == 0), key=lambda member: widths[member])
print(widths[best], "hidden units are enough")
assert widths[best] >= bound.hidden
ls.plots.decision_regions(result.params[best], x, y)
