"""
Two units bend the plane
========================

No line separates the corners of XOR. Two logistic units move them so that one does.
"""

import jax
import jax.numpy as jnp
import optax

import logistack as ls

x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = jnp.array([0, 1, 1, 0])

key = jax.random.key(0)
small = jax.tree.map(lambda leaf: leaf / 10, ls.init_params(key, (2, 2, 1)))
params = ls.fit(key, small, x, y, optimizer=optax.sgd(1.0), epochs=500).params

ls.plots.decision_regions(params, x, y)

# %%
# The network answers 1 in a band, of which each hidden unit makes one side. This is the same
# plane, and the grid on it, before and behind the hidden layer. `ls.untangle` proves what the
# picture shows: before, one point (the star) is a mixture of either class; behind, a line parts
# them.

proofs = ls.untangle(params, x, y)
print(proofs[0])
print(proofs[1])
assert isinstance(proofs[0], ls.CommonPoint)
assert isinstance(proofs[1], ls.Separator)
ls.plots.warped_grid(params, x, y, layers=[0, 1], certificates=proofs)
