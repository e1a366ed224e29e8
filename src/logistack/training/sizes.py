"""Networks of different sizes in one: the smaller fill up with units that are not there.

A unit that is not there has weights 0, and its activation is 0: nothing depends on it, and it gets
no gradient. What looks at the parameters, the optimizer and the dropout, sees only what is there,
so that a network is trained as it would be by itself.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from logistack.layers import SCANNED, Layer, Params, depth_of, is_stack
from logistack.network import Masks, hidden_layers
from logistack.training.state import TrainState

Sizes: TypeAlias = tuple[int, ...]

# By how much the work of a group may exceed that of its members by themselves.
WASTE = 1.3
# So many multiplications more an epoch take milliseconds, and one more program takes seconds.
FEW = 2**22


class SizeGroup(NamedTuple):
    """Networks that are trained in arrays of one size.

    Attributes:
        sizes: that size, the inputs first, as `init_params` takes it.
        members: which networks these are.
        waste: the multiplications of the group over those of its members by themselves, at least 1.
    """

    sizes: Sizes
    members: tuple[int, ...]
    waste: float


def group_sizes(sizes: Sequence[Sequence[int]], *, samples: int | None = None) -> list[SizeGroup]:
    """Groups networks by depth, and by width so that filling up wastes at most a factor of 1.3.

    Of each depth the networks are taken by their numbers of multiplications, Σ nₗ nₗ₋₁, the
    smallest first, and a group ends before it would waste more. For few and small networks and
    samples it may waste more, up to 2²² multiplications an epoch: one program less is worth them.

    Args:
        sizes: those of each network, the inputs first, as `init_params` takes them.
        samples: how many each learns from; None for many.

    Returns:
        The groups, in which every network is once.

    >>> for group in group_sizes([(64, 8, 10), (64, 12, 10), (64, 64, 10), (64, 8, 8, 10)]):
    ...     print(group.sizes, group.members, round(group.waste, 2))
    (64, 12, 10) (0, 1) 1.2
    (64, 64, 10) (2,) 1.0
    (64, 8, 8, 10) (3,) 1.0
    """
    own = [tuple(size) for size in sizes]
    by_shape: dict[Any, list[int]] = {}
    for place, size in enumerate(own):
        by_shape.setdefault(_runs(size), []).append(place)
    return [
        group
        for runs, places in sorted(by_shape.items())
        for group in _groups(own, places, runs, 0 if samples is None else FEW // samples)
    ]


def _groups(own: Sequence[Sizes], places: list[int], runs: Any, few: int) -> Iterator[SizeGroup]:
    members: list[int] = []
    work, widest = 0, own[places[0]]
    for place in sorted(places, key=lambda place: (_work(own[place]), own[place])):
        wider = tuple(np.maximum(widest, own[place]).tolist()) if members else own[place]
        more = work + _work(own[place])
        filled = (len(members) + 1) * _work(wider)
        fits = filled <= max(WASTE * more, more + few) and _runs(wider) == runs
        if members and not fits:
            yield SizeGroup(widest, tuple(members), len(members) * _work(widest) / work)
            members, wider, more = [], own[place], _work(own[place])
        members.append(place)
        work, widest = more, wider
    yield SizeGroup(widest, tuple(members), len(members) * _work(widest) / work)


def _work(sizes: Sizes) -> int:
    return int(np.dot(sizes[1:], sizes[:-1]))


def _runs(sizes: Sizes) -> tuple[int, ...]:
    """How many layers each entry of `hidden_layers` has, by which dropout draws its masks."""
    runs: list[int] = []
    for (before, units), run in itertools.groupby(itertools.pairwise(sizes[:-1])):
        count = len(list(run))
        joined = before == units and count >= SCANNED
        runs += [count] if joined else [1] * count
    return tuple(runs)


def sizes_of(params: Params) -> Sizes:
    """The sizes of a network, the inputs first."""
    units = [layer.weight.shape[-2] for layer in params for _ in range(depth_of(layer))]
    return (params[0].weight.shape[-1], *units)


def shapes_of(like: Params, sizes: Sizes) -> Params:
    """The shapes of a network of other sizes, in entries of as many layers."""
    rest = itertools.pairwise(sizes)

    def of(layer: Layer) -> Layer:
        (before, units), *_ = [next(rest) for _ in range(depth_of(layer))]
        deep = layer.weight.shape[:-2] if is_stack(layer) else ()
        dtype = layer.weight.dtype
        return Layer(
            jax.ShapeDtypeStruct((*deep, units, before), dtype),  # type: ignore[arg-type]
            jax.ShapeDtypeStruct((*deep, units), dtype),  # type: ignore[arg-type]
        )

    return tuple(map(of, like))


def units_of(sizes: Sizes, widest: Sizes) -> tuple[Float[np.ndarray, " width"], ...]:
    """For each hidden layer of the widest, 1 for the units that a network has, and 0 for others."""
    return tuple(
        (np.arange(most) < own).astype(np.float32)
        for own, most in zip(sizes[1:-1], widest[1:-1], strict=True)
    )


def by_entry(units: Sequence[Array] | None, params: Params) -> Masks | None:
    """The units of each entry of `hidden_layers(params)`, in the dtype of the parameters."""
    if units is None:
        return None
    dtype = params[0].weight.dtype
    rest = iter(units)

    def of(layer: Layer) -> Array:
        if not is_stack(layer):
            return next(rest).astype(dtype)
        return jnp.stack([next(rest).astype(dtype) for _ in range(depth_of(layer))])

    return tuple(map(of, hidden_layers(params)[0]))


def present(params: Params, units: Sequence[Any] | None) -> Params | None:
    """1 for the weights and biases between units that are there, and 0 for the others."""
    if units is None:
        return None
    dtype = params[0].weight.dtype
    features, outputs = params[0].weight.shape[-1], params[-1].weight.shape[-2]
    there = [jnp.ones(features, dtype), *(own.astype(dtype) for own in units)]
    there.append(jnp.ones(outputs, dtype))
    rest = itertools.pairwise(there)

    def of(layer: Layer) -> Layer:
        pairs = [next(rest) for _ in range(depth_of(layer))]
        weights = [jnp.outer(after, before) for before, after in pairs]
        biases = [after for _, after in pairs]
        if not is_stack(layer):
            return Layer(weights[0], biases[0])
        return Layer(jnp.stack(weights), jnp.stack(biases))

    return tuple(map(of, params))


def filling(units: Sequence[Array] | None, dtype: Any) -> Any:
    """By layer, the units of the arrays over those that are there: of means over all of them."""
    if units is None:
        return 1
    own = [own.shape[-1] / jnp.sum(own.astype(dtype)) for own in units]
    return jnp.stack([*own, jnp.ones((), dtype)])


def resized(tree: Any, like: Any) -> Any:
    """Arrays cut, or filled up with zeros, at the ends of their axes to the shapes of others."""

    def of(array: Any, other: Any) -> Any:
        array = array[tuple(map(slice, other.shape))]
        room = [(0, most - own) for own, most in zip(array.shape, other.shape, strict=True)]
        if not any(most for _, most in room):
            return array
        return (np if isinstance(array, np.ndarray) else jnp).pad(array, room)

    return jax.tree.map(of, tree, like)


def shapes_like(params: Params, opt_state: Any, state: TrainState) -> TrainState:
    """The shapes of a state with the parts of another, for a network and its optimizer's state."""
    average, best = state.average, state.best
    return state._replace(
        params=params,
        opt_state=opt_state,
        average=average and average._replace(ema=params),
        best=best and best._replace(params=params),
    )
