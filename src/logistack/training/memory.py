"""How many members of a population are trained at once in the memory there is."""

import math
import os
from typing import Any

import jax

from logistack import _checks
from logistack.layers import depth_of
from logistack.training.run import BLOCK, Run, begin

# More members at once are hardly faster, and less is lost with a block of fewer.
MOST = 4096


def members_that_fit(run: Run, epochs: int, *, devices: int = 1) -> int:
    """How many members of a run like this one, of a single member, fit in half of what is free."""
    free = _free_bytes()
    members = max(1, int(free // 2 // bytes_of_member(run, epochs)))
    return min(members, MOST) * (devices if jax.default_backend() != "cpu" else 1)


def bytes_of_member(run: Run, epochs: int) -> int:
    """About how much memory a member takes while it is trained, in bytes."""
    assert run.train is not None
    assert run.recipe.batch_size is not None
    state = jax.eval_shape(begin, run).state
    width = state.params[0].weight.dtype.itemsize
    units = sum(layer.bias.size for layer in state.params)
    layers = sum(map(depth_of, state.params))
    samples, features = run.train.inputs.shape
    held = 0 if run.held is None else run.held.inputs.shape[0]
    # The state before and after, that of an epoch that is taken back, the gradient and the update.
    arrays = 3 * _bytes(state) + 3 * _bytes(state.params)
    # The activations forward and backward, and what of them is measured, for a batch of its own.
    batch = run.recipe.batch_size * (features + 6 * units) * width
    validated = min(held, BLOCK) * 3 * units * width
    order = 16 * samples + 8 * held
    rows = epochs * (5 + 2 * layers) * 4
    return arrays + max(batch, validated) + order + rows


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _free_bytes() -> int:
    """The memory of one device that nothing has taken, or of the machine for a CPU."""
    device = jax.local_devices()[0]
    try:
        stats = device.memory_stats()
    except jax.errors.JaxRuntimeError:  # of a device that does not say
        stats = None
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats["bytes_in_use"])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not of this system
        return 2**31


def require_block_size(block_size: Any, members: int) -> int | None:
    """How many members a block has, checked."""
    if block_size is None:
        return None
    return min(members, _checks.require_count("block_size", block_size, low=1))
