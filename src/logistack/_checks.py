"""Checks of arguments: shapes and dtypes always, values whenever they are concrete."""

import importlib
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_concrete(*arrays: Any) -> bool:
    """Whether every array has values now, that is, whether none of them is being traced."""
    return not any(isinstance(array, jax.core.Tracer) for array in arrays)


def require_numeric(name: str, array: Any) -> jax.Array:
    """Returns `array` as a JAX array, refusing what is not real numbers."""
    if not isinstance(array, jax.Array):
        try:
            array = np.asarray(array)
        except ValueError as error:  # rows of different lengths
            raise ValueError(f"{name}: wanted an array of numbers, got {error}") from error
        if not (np.issubdtype(array.dtype, np.number) or jnp.issubdtype(array.dtype, jnp.bool_)
                or jnp.issubdtype(array.dtype, jnp.floating)):  # fmt: skip
            raise TypeError(f"{name}: wanted an array of real numbers, got dtype {array.dtype}")
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name}: wanted an array of real numbers, got dtype {array.dtype}")
    return jnp.asarray(array)


def require_finite(name: str, array: jax.Array) -> None:
    """Refuses NaN and ±inf in a concrete array of floats."""
    if not is_concrete(array) or not jnp.issubdtype(array.dtype, jnp.floating):
        return
    bad = int(_count_non_finite(array))
    if bad:
        raise ValueError(f"{name}: wanted finite values, got {bad} NaN or ±inf of {array.size}")


@jax.jit
def _count_non_finite(array: jax.Array) -> jax.Array:
    return jnp.sum(~jnp.isfinite(array))


def require_labels(name: str, labels: jax.Array, classes: int) -> None:
    """Refuses a concrete integer label outside 0 … classes − 1."""
    if not is_concrete(labels) or labels.size == 0:
        return
    low, high = int(jnp.min(labels)), int(jnp.max(labels))
    if low < 0 or high >= classes:
        raise ValueError(
            f"{name}: wanted integer classes from 0 to {classes - 1}, got {low} to {high}"
        )


def require_count(name: str, count: Any, *, low: int, high: int | None = None) -> int:
    """Returns `count` as an int, refusing what is no integer or lies outside low … high."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer):
        raise TypeError(f"{name}: wanted an integer, got {count!r}")
    if count < low or (high is not None and count > high):
        limit = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name}: wanted {limit}, got {count}")
    return int(count)


def import_extra(module: str, extra: str) -> ModuleType:
    """Imports a module of an optional dependency, or names the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{module} is not installed: pip install 'logistack[{extra}]'", name=module
        ) from error
