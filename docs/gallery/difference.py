"""
Is the difference real?
=======================

Three learning rates, ten folds each, all thirty networks in one call. Which rate reads digits
best, and would other folds say the same?
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import logistack as ls

pixels, digits = load_digits(return_X_y=True)
inputs = pixels / 16 - 0.5

rates, folds = np.repeat([0.001, 0.01, 0.03], 10), np.tile(np.arange(10), 3)
held_out = ls.selection.folds(jax.random.key(0), digits, 10)[folds]
keys = jax.random.split(jax.random.key(1), len(rates))
result = ls.fit_population(
    keys,
    jax.vmap(lambda key: ls.init_params(key, (64, 16, 10)))(keys),
    inputs,
    digits,
    optimizer=optax.adam,
    hyperparams={"learning_rate": jnp.float32(rates)},
    epochs=20,
    batch_size=64,
    loss=ls.losses.softmax_cross_entropy,
    sample_weight=~held_out,
    validation=held_out,
)
errors = 100 * (1 - result.history.validation_accuracy[:, -1])
settings = {"learning rate": rates}
ls.plots.intervals(ls.summarize(errors, settings), quantity="error (%)", log=["learning rate"])

# %%
# The differences by fold, with intervals that count in that folds share samples and that hold all
# at once. A hollow one holds 0: the folds do not show which of the two is better.

compared = ls.compare(errors, settings, folds, test_over_train=1 / 9)
print(compared)
ls.plots.differences(compared, quantity="error, in points")
