"""
Can its probabilities be believed?
==================================

A network that was trained until it makes no error is too sure of itself on rows that it has not
seen. A committee of sixteen such networks is less sure, and more often right when it is.
"""

import jax
import optax
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

import logistack as ls

X, y = make_classification(2000, 20, n_informative=6, flip_y=0.1, random_state=0)
x, x_test, y, y_test = train_test_split(X, y, train_size=500, random_state=0)

keys = jax.random.split(jax.random.key(0), 16)
start = jax.vmap(lambda key: ls.init_params(key, (20, 32, 1)))(keys)
result = ls.fit_population(
    keys, start, x, y, optimizer=optax.adam(0.02), epochs=150, batch_size=100
)
print(f"{result.history.accuracy[:, -1].min():.0%} of the rows that they learned from are right")

# %%
# Below the dashed line a network is more confident than it is right.

shares = jax.jit(jax.vmap(ls.committees.member_probabilities, in_axes=(None, 0)))(
    result.params, x_test
)

found, error = {}, {}
for name, share in {"one network": shares[:, 0], "sixteen": shares.mean(axis=1)}.items():
    found[name] = ls.metrics.reliability(share, y_test, bins=6)
    error[name] = ls.metrics.expected_calibration_error(share, y_test, bins=6)
    print(
        f"{name}: log loss {ls.metrics.log_loss(share, y_test):.2f}, error of calibration "
        f"{error[name]:.3f}"
    )
assert error["sixteen"] < error["one network"]
ls.plots.reliability(found)
