"""Named tuples of arrays that say in one line what they are, rather than every number."""

from typing import Any

import jax


def brief(named: Any) -> str:
    """The fields of a named tuple: arrays by dtype and shape, numbers by value.

    >>> import jax.numpy as jnp, optax, logistack as ls
    >>> ls.init_state(ls.init_params(jax.random.key(0), (2, 3, 1)), optax.sgd(0.1))
    ... # doctest: +NORMALIZE_WHITESPACE
    TrainState(params=(2 layers, 13 numbers), opt_state=(no numbers), epoch=0, average=None,
    best=None)
    """
    fields = (f"{name}={_said(value)}" for name, value in named._asdict().items())
    return f"{type(named).__name__}({', '.join(fields)})"


def _said(value: Any) -> str:
    own = vars(type(value)).get("__repr__")
    if value is None or str(getattr(own, "__module__", None)).startswith(f"{__package__}."):
        return repr(value)
    if not hasattr(value, "dtype"):
        count = sum(getattr(leaf, "size", 1) for leaf in jax.tree.leaves(value))
        numbers = f"{count:,} numbers" if count else "no numbers"
        layers = type(value) is tuple and len(value) > 0 and hasattr(value[0], "weight")
        if not layers:
            return f"({numbers})"
        return f"({len(value)} layer{'s' if len(value) > 1 else ''}, {numbers})"
    if value.ndim or isinstance(value, jax.core.Tracer):
        return f"{value.dtype}{list(value.shape)}"
    return f"{value:.6g}" if value.dtype.kind == "f" else f"{value}"
