"""Members and batches over devices: members wait for no one, and parts of a batch for their sum."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from logistack import _checks, _leaves

T = TypeVar("T")

MEMBERS, BATCH = "members", "batch"
WHOLE = PartitionSpec()


def require_mesh(mesh: Any, *, of: Sequence[str] = (MEMBERS, BATCH)) -> Mesh:
    """A mesh whose axes are among these, one of which it has at least."""
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh: expected a jax.sharding.Mesh, got {type(mesh).__name__}")
    if not mesh.axis_names or not set(mesh.axis_names) <= set(of):
        axes = " or ".join(map(repr, of))
        kind = f"an axis {axes}" if len(of) == 1 else f"the axes {axes}, or both"
        raise ValueError(f"mesh: expected {kind}, got {mesh.axis_names}")
    # Which part of an array is where is said here, not by the types of what comes.
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def require_parts(mesh: Mesh | None, batch_size: int | None) -> None:
    """Raises ValueError if a batch has fewer samples than there are devices for its parts."""
    parts = 1 if mesh is None else mesh.shape.get(BATCH, 1)
    if batch_size is not None and batch_size < parts:
        raise ValueError(
            f"batch_size: expected at least {parts}, one sample for each device along the axis "
            f"{BATCH!r} of mesh, got {batch_size}"
        )


def batch_axis_of(mesh: Mesh | None) -> str | None:
    """The axis of a mesh that has parts of batches, if there is one."""
    return BATCH if mesh is not None and BATCH in mesh.axis_names else None


def in_parts(run: Any, mesh: Mesh | None) -> Any:
    """The run as the program of one device of a mesh has it, which is given a part of a batch."""
    axis = batch_axis_of(mesh)
    if axis is None:
        return run
    return run._replace(recipe=dataclasses.replace(run.recipe, batch_axis=axis))


# What the program of one device of a mesh does with its part of a batch. An axis of None is one
# program with the whole.


def devices_of(axis: str | None) -> int:
    """How many parts there are."""
    return 1 if axis is None else int(jax.lax.axis_size(axis))


def varying(axis: str | None, tree: T) -> T:
    """The same values as a part's own: the sum over the parts is taken of their derivatives."""
    return tree if axis is None else jax.lax.pcast(tree, axis, to="varying")


def summed(axis: str | None, tree: T) -> T:
    """The sums over all parts."""
    return tree if axis is None else jax.lax.psum(tree, axis)


def own_part(axis: str | None, tree: T) -> T:
    """This part of arrays whose first axis is that of a batch, filled up with the last sample."""
    if axis is None:
        return tree
    samples = jax.tree.leaves(tree)[0].shape[0]
    places = jnp.minimum(_own_places(axis, samples), samples - 1)
    return jax.tree.map(lambda leaf: leaf[places], tree)


def _own_places(axis: str, samples: int) -> Int[Array, " part"]:
    size = -(-samples // devices_of(axis))
    return jax.lax.axis_index(axis) * size + jnp.arange(size, dtype=jnp.int32)


def own_share(axis: str | None, *arrays: Any) -> tuple[Any, ...]:
    """This part of a batch, whose last array is its weights; filled up with the last at weight 0.

    Without weights, and where there is nothing to fill up, there are none afterwards.
    """
    if axis is None:
        return arrays
    *parts, weights = own_part(axis, arrays)
    samples = arrays[0].shape[0]
    if samples % devices_of(axis):
        there = (_own_places(axis, samples) < samples).astype(jnp.float32)
        weights = there if weights is None else weights * there
    return (*parts, weights)


def mesh_for(members: int, arrays: Any) -> Mesh | None:
    """All devices of this process, where there are several and nothing says which to take."""
    if jax.config.values["jax_default_device"] is not None or _checks.is_traced(arrays):
        return None
    if any(getattr(leaf, "committed", False) for leaf in jax.tree.leaves(arrays)):
        return None
    devices = jax.local_devices()[:members]
    return Mesh(np.array(devices), (MEMBERS,)) if len(devices) > 1 else None


def spread(
    function: Callable[..., T], leaves: Sequence[Any], axes: Sequence[int | None], mesh: Mesh
) -> T:
    """`function(*leaves)`, of members along axis 0 where `axes` says so, a part on each device.

    Devices that have no member of their own repeat one of another.
    """
    members = next(len(leaf) for leaf, axis in zip(leaves, axes, strict=True) if axis == 0)
    devices = mesh.shape.get(MEMBERS, 1)
    places = np.arange(-(-members // devices) * devices) % members
    if len(places) > members:
        leaves = [
            leaf if axis is None else leaf[places] for leaf, axis in zip(leaves, axes, strict=True)
        ]
    along = PartitionSpec(MEMBERS if MEMBERS in mesh.axis_names else None)
    specs = tuple(PartitionSpec() if axis is None else along for axis in axes)
    result = on_each(function, mesh, specs, along)(*leaves)
    return jax.tree.map(lambda leaf: leaf[:members], result) if len(places) > members else result


def on_each(
    function: Callable[..., T],
    mesh: Mesh,
    in_specs: Any = WHOLE,
    out_specs: Any = WHOLE,
) -> Callable[..., T]:
    """`jax.shard_map` over this mesh, whatever `jax.set_mesh` says."""
    own = jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs)

    def over(*args: Any) -> T:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            result: T = own(*args)
        return result

    return over


def placed(tree: T, mesh: Mesh, spec: PartitionSpec = WHOLE) -> T:
    """Arrays on the devices of a mesh, wherever they were; each process has the whole of them."""
    sharding = NamedSharding(mesh, spec)

    def of(leaf: Any) -> Any:
        if isinstance(leaf, jax.core.Tracer) or not hasattr(leaf, "dtype"):
            return leaf
        if isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(sharding, leaf.ndim):
            return leaf
        if sharding.is_fully_addressable or not getattr(leaf, "is_fully_addressable", True):
            return jax.device_put(leaf, sharding)
        if _leaves.is_key(leaf):
            data = of(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda own: host[own])

    return jax.tree.map(of, tree)


def brought_together(tree: T) -> T:
    """Arrays that lie on many devices, where arrays lie that nothing is said about."""

    def of(leaf: jax.Array) -> jax.Array:
        if _leaves.is_key(leaf):
            data = jnp.asarray(on_host(jax.random.key_data(leaf)))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return jnp.asarray(on_host(leaf))

    return jax.tree.map(of, tree)


def on_host(tree: T) -> Any:
    """Arrays in NumPy, those of other processes too, who must ask for them as well."""

    def of(leaf: Any) -> Any:
        if getattr(leaf, "is_fully_addressable", True) or leaf.is_fully_replicated:
            return leaf
        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.device_get(jax.tree.map(of, tree))
