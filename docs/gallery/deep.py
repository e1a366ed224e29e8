"""
Fifty layers from three starts
==============================

A stack of fifty logistic layers, trained from the textbook start, and from the library's in plain
and in centred coordinates. The start decides whether there is a gradient at all, the coordinates
how far its steps lead.
"""

import jax
import optax
from sklearn.datasets import load_digits

import logistack as ls

pixels, digits = load_digits(return_X_y=True)
inputs = pixels / 16 - 0.5

key = jax.random.key(0)
sizes = (64, *[32] * 50, 10)
starts = {
    "textbook": ("glorot", "plain"),
    "orthogonal": ("orthogonal", "plain"),
    "orthogonal, centred": ("orthogonal", "centred"),
}
accuracy = {}
for name, (scheme, coordinates) in starts.items():
    result = ls.fit(
        key,
        ls.init_params(key, sizes, scheme=scheme),
        inputs,
        digits,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.02, momentum=0.9)),
        epochs=4,
        batch_size=64,
        loss=ls.losses.softmax_cross_entropy,
        coordinates=coordinates,
    )
    accuracy[name] = result.history.accuracy
    print(f"{name}: {accuracy[name][-1]:.1%}")

textbook, plain, centred = (curve[-1] for curve in accuracy.values())
assert textbook < 0.2 < plain < centred
ls.plots.training_curves({"training accuracy": accuracy})
