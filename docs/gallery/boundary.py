"""
A line beside a stack
=====================

scikit-learn's logistic regression, and the stack as an estimator of scikit-learn, on the same
samples.
"""

import numpy as np
from sklearn.datasets import make_circles
from sklearn.linear_model import LogisticRegression

import logistack as ls
from logistack.estimator import StackClassifier

X, y = make_circles(150, noise=0.1, factor=0.4, random_state=0)
axis = np.linspace(-1.6, 1.6, 200)
grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)

panels, scores = [], []
for model in (LogisticRegression(), StackClassifier((8,), random_state=0)):
    model.fit(X, y)
    scores.append(model.score(X, y))
    probabilities = model.predict_proba(grid)[:, 1].reshape(200, 200)
    panels.append(ls.plots.Plane(X, y, outputs=(axis, axis, probabilities)))
    print(f"{type(model).__name__}: {scores[-1]:.0%} of the samples right")
assert scores[0] < 0.7 < 0.95 < scores[1]
ls.plots.planes(*panels)

# %%
# A stack knows whether a line would have been enough for what it has learned from:

print(model.certificate_)
