"""Members of a population over devices: each has its share, and none waits for another."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec

from logistack import _checks

T = TypeVar("T")

AXIS = "members"


def require_mesh(mesh: Any) -> Mesh:
    """A mesh with an axis of members."""
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh: expected a jax.sharding.Mesh, got {type(mesh).__name__}")
    if AXIS not in mesh.axis_names:
        raise ValueError(f"mesh: expected an axis {AXIS!r}, got {mesh.axis_names}")
    # Which part of an array is where is said here, not by the types of what comes.
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def mesh_for(members: int, arrays: Any) -> Mesh | None:
    """All devices of this process, where there are several and nothing says which to take."""
    if jax.config.values["jax_default_device"] is not None or _checks.is_traced(arrays):
        return None
    if any(getattr(leaf, "committed", False) for leaf in jax.tree.leaves(arrays)):
        return None
    devices = jax.local_devices()[:members]
    return Mesh(np.array(devices), (AXIS,)) if len(devices) > 1 else None


def spread(
    function: Callable[..., T], leaves: Sequence[Any], axes: Sequence[int | None], mesh: Mesh
) -> T:
    """`function(*leaves)`, of members along axis 0 where `axes` says so, a part on each device.

    Devices that have no member of their own repeat one of another.
    """
    members = next(len(leaf) for leaf, axis in zip(leaves, axes, strict=True) if axis == 0)
    devices = mesh.shape[AXIS]
    places = np.arange(-(-members // devices) * devices) % members
    if len(places) > members:
        leaves = [
            leaf if axis is None else leaf[places] for leaf, axis in zip(leaves, axes, strict=True)
        ]
    specs = tuple(PartitionSpec() if axis is None else PartitionSpec(AXIS) for axis in axes)
    own = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(AXIS))
    result: T = own(*leaves)
    return jax.tree.map(lambda leaf: leaf[:members], result) if len(places) > members else result


def brought_together(tree: T) -> T:
    """Arrays that lie on many devices, where arrays lie that nothing is said about."""

    def of(leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = jnp.asarray(np.asarray(jax.random.key_data(leaf)))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return jnp.asarray(np.asarray(leaf))

    return jax.tree.map(of, tree)
