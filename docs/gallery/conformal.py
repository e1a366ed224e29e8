"""
Sets that hold the digit
========================

In place of one digit, a classifier may answer with a set that holds the right one in at least 98%
of cases, whatever the network is worth. A good one gives small sets, and large ones where it is
unsure.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import logistack as ls
from logistack.estimator import StackClassifier

pixels, digits = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(pixels, digits, train_size=900, random_state=0)

model = StackClassifier((32,), epochs=40, calibration_fraction=0.5, random_state=0).fit(X, y)
sets = model.predict_set(X_test, coverage=0.98)

found = ls.conformal.coverage(sets, y_test)
print(f"{found.share:.1%} of the sets hold the digit ({found.low:.1%} to {found.high:.1%})")
print(f"a set has {found.size:.2f} digits on average")
assert found.high > 0.98 > found.low

# %%
# The images with the largest sets are hard to read for people, too:

largest = (-sets.sum(axis=1)).argsort(kind="stable")[:12]
captions = [" ".join(map(str, sets[row].nonzero()[0])) for row in largest]
ls.plots.image_grid(X_test[largest].reshape(-1, 8, 8), captions, columns=6)
