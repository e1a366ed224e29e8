"""
Untangling, layer by layer
==========================

Six digits, given by two numbers each: for how many pairs of them is a line enough? Behind each
layer of a network that was trained on these, `ls.untangle` answers again.
"""

import jax
import matplotlib.pyplot as plt
import optax
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import logistack as ls

pixels, digits = load_digits(n_class=6, return_X_y=True)
inputs = PCA(2, whiten=True, random_state=0).fit_transform(pixels[:400])
digits = digits[:400]

key = jax.random.key(0)
result = ls.fit(
    key,
    ls.init_params(key, (2, 16, 16, 6)),
    inputs,
    digits,
    optimizer=optax.adam(0.02),
    epochs=300,
    batch_size=100,
    loss=ls.losses.softmax_cross_entropy,
)
print(f"{result.history.accuracy[-1]:.1%} of the digits are read")

# %%
# Every bar is a count of exact proofs, of the 15 pairs of the digits 0 to 5.

proofs = ls.untangle(result.params, inputs, digits)
spaces = ["input", *(f"layer {layer}" for layer in range(1, len(proofs)))]
counts = [
    sum(isinstance(proof, ls.Separator) for proof in space.pairs.values()) for space in proofs
]
assert counts[0] < min(counts[1:])

figure, axes = plt.subplots(figsize=(4, 2.4), layout="constrained")
axes.bar_label(axes.bar(spaces, counts, color=ls.plots.BLUE))
axes.set(ylabel="pairs that a line separates", ylim=(0, 17))
figure
