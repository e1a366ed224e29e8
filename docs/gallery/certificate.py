"""
A proof, drawn
==============

`ls.certify` proves that a line is enough for two classes, or that none is. Of the three species of
iris, setosa is told from the others by its petals alone.
"""

from sklearn.datasets import load_iris

import logistack as ls

flowers = load_iris()
petals, species = flowers.data[:, 2:], flowers.target_names[flowers.target]
names = tuple(flowers.feature_names[2:])

setosa = ls.certify(petals, species, positive="setosa")
assert isinstance(setosa, ls.Separator)
ls.plots.certificate(setosa, axis_labels=names)

# %%
# The line has the widest margin, and touches the samples that are ringed. Versicolor and virginica
# overlap: the proof is one point, the star, that is a mixture of samples of either class. The
# lines lead to the samples that it is a mixture of.

others = ls.certify(petals, species, positive="versicolor", negative="virginica")
assert isinstance(others, ls.CommonPoint)
print(others)
ls.plots.certificate(others, axis_labels=names)

# %%
# Whoever doubts either can check it with integers alone.

print(setosa.verify(), others.verify())
