"""Checks of arguments: shapes and dtypes always, values whenever they are concrete."""

import importlib
import math
import sys
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def require_numeric(name: str, array: Any) -> jax.Array:
    """`require_numbers` on the device."""
    return on_device(require_numbers(name, array))


def require_numbers(name: str, array: Any) -> jax.Array | np.ndarray:
    """Returns a JAX array, or a NumPy one of a dtype JAX has: here is where arrays are read."""
    if isinstance(array, jax.Array):
        require_real(name, array.dtype)
        return array
    array = as_array(name, array)
    require_real(name, array.dtype)
    dtype = jax.dtypes.canonicalize_dtype(array.dtype)
    if array.size and array.dtype != dtype and np.issubdtype(dtype, np.integer):
        # JAX keeps the low 32 bits of a 64-bit integer: class 2³² would be class 0.
        low, high, limits = array.min(), array.max(), np.iinfo(dtype)
        if low < limits.min or high > limits.max:
            raise ValueError(f"{name}: expected integers that {dtype} holds, got {low} to {high}")
    with np.errstate(over="ignore"):  # to ±inf, which is then refused as what it is
        return array.astype(dtype, copy=False)


def as_array(name: str, array: Any) -> np.ndarray:
    """Returns a NumPy array in the byte order of this machine; what is masked is no value."""
    if has_mask(array):
        array = np.ma.array(array)  # of a list's parts, NumPy itself forgets the masks
    if np.ma.is_masked(array):
        missing = int(np.ma.getmaskarray(array).sum())
        raise ValueError(
            f"{name}: expected a value everywhere, got {missing} of {array.size} masked"
        )
    try:
        array = np.asarray(array)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name}: expected an array of numbers, got {error}") from error
    if array.dtype.isnative:
        return array
    return array.astype(array.dtype.newbyteorder("="))


def has_mask(array: Any) -> bool:
    """Whether an array, or one in a list, is of the kind that has a mask."""
    parts = array if isinstance(array, list | tuple) else [array]
    return any(isinstance(part, np.ma.MaskedArray) for part in parts)


def on_device(array: jax.Array | np.ndarray) -> jax.Array:
    """The JAX array, concrete also within a trace, so that its values can be checked."""
    if isinstance(array, jax.Array):
        return array
    with jax.ensure_compile_time_eval():
        return jnp.asarray(array)


def require_real(name: str, dtype: Any) -> None:
    """Raises TypeError for a dtype that is not of real numbers or booleans."""
    real = jnp.issubdtype(dtype, np.number) and not jnp.issubdtype(dtype, np.complexfloating)
    if not (real or jnp.issubdtype(dtype, np.bool_)) or np.issubdtype(
        dtype, np.timedelta64
    ):  # which NumPy counts as an integer
        raise TypeError(f"{name}: expected an array of real numbers, got dtype {dtype}")


def is_traced(tree: Any) -> bool:
    """Whether any leaf of a tree is being traced."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def range_of(array: jax.Array | np.ndarray) -> tuple[Any, Any] | None:
    """The smallest and largest value of an array, or None if it is being traced or empty."""
    if isinstance(array, jax.core.Tracer) or array.size == 0:
        return None
    if isinstance(array, np.ndarray):
        plain = array if array.dtype.kind in "biuf" else array.astype(np.float32)  # bfloat16
        return plain.min().item(), plain.max().item()
    with jax.ensure_compile_time_eval():  # a constant of a trace has its values, too
        low, high = jax.device_get(_extremes(array))
    return low.item(), high.item()


@jax.jit
def _extremes(array: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.min(array), jnp.max(array)


def require_finite(name: str, array: jax.Array | np.ndarray) -> None:
    """Raises ValueError for NaN and ±inf in a concrete array."""
    # Two reductions find out, and a NaN is its own smallest and largest value.
    limits = range_of(array)
    if limits is None or all(map(math.isfinite, limits)):
        return
    with jax.ensure_compile_time_eval():
        bad = jnp.sum(~jnp.isfinite(array)).item()
    raise ValueError(f"{name}: expected finite values, got {bad} NaN or ±inf of {array.size}")


def require_range(name: str, array: jax.Array | np.ndarray, low: int, high: int, kind: str) -> None:
    """Raises ValueError for a concrete value outside low … high; `kind` names them."""
    limits = range_of(array)
    if limits is None or (low <= limits[0] and limits[1] <= high):  # false for NaN
        return
    found = f"{limits[0]}" if array.ndim == 0 else f"{limits[0]} to {limits[1]}"
    raise ValueError(f"{name}: expected {kind} from {low} to {high}, got {found}")


def require_weights(name: str, weights: Any, samples: int, *, some: bool = True) -> jax.Array:
    """Returns sample weights in float32 or wider, checked; with `some`, one of them is above 0."""
    weights = require_numeric(name, weights)
    if weights.shape != (samples,):
        raise ValueError(f"{name}: expected shape ({samples},), got {weights.shape}")
    require_finite(name, weights)
    limits = range_of(weights)
    if limits is not None and limits[0] < 0:
        raise ValueError(f"{name}: expected weights of at least 0, got {limits[0]}")
    if some and limits is not None and limits[1] == 0:
        raise ValueError(f"{name}: expected a weight above 0, got zeros alone")
    return weights.astype(float32_or_wider(weights.dtype))


def float32_or_wider(dtype: Any) -> Any:
    """The dtype to work and to sum in: float64 for float64, else float32."""
    return jnp.float64 if dtype == jnp.float64 else jnp.float32


def require_key(name: str, key: Any) -> jax.Array:
    """Returns one JAX random key, of the new kind or the old."""
    if not isinstance(key, jax.Array):
        raise TypeError(f"{name}: expected a JAX random key, as from jax.random.key, got {key!r}")
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.ndim:
            raise ValueError(f"{name}: expected one JAX random key, got {key.shape} of them")
    elif key.dtype != jnp.uint32 or key.ndim != 1:
        raise TypeError(f"{name}: expected a JAX random key, got {key.dtype} of shape {key.shape}")
    return key


def require_scalar(
    name: str, value: Any, *, low: float, below: float = math.inf, integer: bool = False
) -> Any:
    """Returns one number from `low` to less than `below`: Python's own, or a JAX scalar.

    A Python number stays one, for JAX to take to the dtype of what it meets.
    """
    if isinstance(value, np.number):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        value = require_numeric(name, value)
        if value.ndim:
            raise ValueError(f"{name}: expected a scalar, got shape {value.shape}")
    dtype = value.dtype if isinstance(value, jax.Array) else np.dtype(type(value))
    if integer and not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(f"{name}: expected an integer, got {dtype} {value!r}")
    number = value if isinstance(value, int | float) else (range_of(value) or (None,))[0]
    if number is not None and not math.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {number}")
    if number is not None and not low <= number < below:
        limits = f"at least {low}" + ("" if below == math.inf else f" and below {below}")
        raise ValueError(f"{name}: expected {limits}, got {number}")
    return value if integer or not isinstance(value, int) else float(value)


def require_share(name: str, share: Any) -> Any:
    """Returns a number from 0 to below 1, or None for a concrete 0, which asks for nothing."""
    if share is None:
        return None
    share = require_scalar(name, share, low=0, below=1)
    limits = (share, share) if isinstance(share, float) else range_of(share)
    return None if limits == (0, 0) else share


def require_inside(name: str, share: Any) -> float:
    """Returns a number above 0 and below 1, as Python's own."""
    if isinstance(share, bool) or not isinstance(share, int | float | np.number):
        raise TypeError(f"{name}: expected a number, got {share!r}")
    if not 0 < share < 1:
        raise ValueError(f"{name}: expected a number above 0 and below 1, got {share}")
    return float(share)


def require_count(name: str, count: Any, *, low: int, high: int | None = None) -> int:
    """Returns `count` as an int from `low` to `high`."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer):
        raise TypeError(f"{name}: expected an integer, got {count!r}")
    if count < low or (high is not None and count > high):
        limit = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name}: expected {limit}, got {count}")
    return int(count)


def level_of_user() -> int:
    """The `stacklevel` that makes a warning of the calling function point to the user's line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals["__name__"].startswith(f"{__package__}."):
        frame, level = frame.f_back, level + 1
    return level


def import_extra(module: str, extra: str) -> ModuleType:
    """Imports a module of an optional dependency, or names the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{module} is not installed: pip install 'logistack[{extra}]'", name=module
        ) from error
