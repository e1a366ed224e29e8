"""The leaves of a pytree as named arrays of bits that Orbax can store."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves by name, as `params[0].weight`; a tree that is a leaf itself is named `state`."""
    pairs = jax.tree.leaves_with_path(tree)
    named = {jax.tree_util.keystr(p).removeprefix(".") or "state": leaf for p, leaf in pairs}
    if len(named) != len(pairs):
        raise ValueError(f"state: expected leaves of different names, got {len(pairs)}: {[*named]}")
    return named


def is_key(leaf: Any) -> bool:
    """Whether it is of JAX random keys of the new kind."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def describe(name: str, leaf: Any) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of a leaf; a plain number has the dtype that JAX gives it."""
    if isinstance(leaf, int | float | complex) and not hasattr(leaf, "dtype"):
        return (), jnp.result_type(leaf).name
    if not is_key(leaf):
        try:
            dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
            jax.eval_shape(lambda: jnp.empty((), dtype))  # which computes nothing
        except (AttributeError, TypeError) as error:
            kind = getattr(leaf, "dtype", type(leaf).__name__)
            raise TypeError(f"{name}: expected an array of a dtype JAX has, got {kind}") from error
    return leaf.shape, leaf.dtype.name


def pack(name: str, leaf: Any) -> tuple[dict[str, Any], Any]:
    """A leaf's entry in the manifest, and the array that Orbax stores for it."""
    shape, dtype = describe(name, leaf)
    entry: dict[str, Any] = {"shape": shape, "dtype": dtype}
    array = leaf
    if is_key(leaf):
        array = jax.random.key_data(leaf)
        entry |= {"impl": jax.random.key_impl(leaf), "data_shape": array.shape}
    if sharding_of(leaf) is None:
        # A NumPy array is stored once, by one process, and without the devices it was on.
        array = np.asarray(array).astype(array.dtype if array is not leaf else dtype, copy=False)
    if array.size == 0:  # which Orbax does not store
        return entry, np.zeros(1, np.uint8)
    # TensorStore lacks some of the dtypes of 8 bits and less.
    return entry, array.view(np.uint8) if array.dtype.itemsize == 1 else array


def sharding_of(leaf: Any) -> NamedSharding | None:
    """How the parts of a leaf lie on several devices; None where it is whole on one, or on all."""
    sharding = getattr(leaf, "sharding", None)
    apart = isinstance(sharding, NamedSharding) and not sharding.is_fully_replicated
    return sharding if apart else None


def unpack(entry: dict[str, Any], array: Any) -> jax.Array:
    leaf = array if isinstance(array, jax.Array) else jnp.array(array)
    return jax.random.wrap_key_data(leaf, impl=entry["impl"]) if "impl" in entry else leaf
