"""Stacks of logistic units in JAX.

>>> import jax
>>> import logistack as ls
>>> params = ls.init_params(jax.random.key(0), (2, 2, 1))
>>> ls.forward(params, jax.numpy.array([0.0, 1.0])).shape
(1,)
"""

from importlib.metadata import version

import lazy_loader

# A room is imported when it is first used: Optax alone takes longer than all of logistack. What
# is public stands in __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = version("logistack")
