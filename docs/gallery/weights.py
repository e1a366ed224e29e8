"""
What hidden units look at
=========================

The weights of a hidden unit are an image: where it is red, ink makes the unit answer 1, and where
it is blue, 0.
"""

import jax
import optax
from sklearn.datasets import load_digits

import logistack as ls

pixels, digits = load_digits(return_X_y=True)
inputs = pixels / 16 - 0.5

key = jax.random.key(0)
result = ls.fit(
    key,
    ls.init_params(key, (64, 16, 10)),
    inputs,
    digits,
    optimizer=optax.adamw(0.01, weight_decay=0.3),
    epochs=40,
    batch_size=64,
    loss=ls.losses.softmax_cross_entropy,
)
print(f"{result.history.accuracy[-1]:.1%} of the digits are read")
ls.plots.weight_images(result.params[0].weight, (8, 8))
