"""Members of a population in groups of one size: made of what was given, and put together again."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from logistack import _checks
from logistack.layers import split_like, unstack
from logistack.training.fit import prepare
from logistack.training.joining import joined_for, trains_filled_up
from logistack.training.measures import History, counted
from logistack.training.members import (
    Own,
    last_epoch,
    member_of,
    require_keys,
    require_networks,
    require_rows,
)
from logistack.training.recipe import Recipe, read_option
from logistack.training.run import FitResult, Order, Rows, Run, Samples, draws_by_place, order_bits
from logistack.training.sizes import (
    SizeGroup,
    Sizes,
    group_sizes,
    resized,
    shapes_like,
    shapes_of,
    sizes_of,
    units_of,
)
from logistack.training.spread import on_host
from logistack.training.state import TrainState


class Group(NamedTuple):
    """Members of a population in arrays of one size.

    Attributes:
        run: their run, with a leading axis of members.
        places: which members of the population they are.
        sizes: those of each of them, where they may differ.
        recipe: that of one member.
    """

    run: Run
    places: Int[np.ndarray, " members"]
    sizes: list[Sizes] | None
    recipe: Recipe


def prepare_members(
    face: str,
    keys: Any,
    params: Any,
    samples: tuple[Any, Any],
    *,
    optimizer: Any,
    batch_size: Any,
    sample_weight: Any,
    validation: Any,
    order: Any,
    options: Mapping[str, Any],
    rows: Any = None,
) -> list[Group]:
    """Checks what the user gave, and makes runs of it: `prepare` for one member of each group."""
    if order not in ("own", "shared"):
        raise ValueError(f"order: expected 'own' or 'shared', got {order!r}")
    keys = require_keys(keys)
    members = len(keys)
    networks = require_networks(params, members)
    one = networks[0] if isinstance(networks, list) else member_of(networks, 0)
    own = Own(members, one.params if isinstance(one, TrainState) else one)
    stand_ins = {name: own.stand_in(name, value) for name, value in options.items()}
    weights, sample_weight = own.rows("sample_weight", sample_weight)
    held_weights = None
    if not isinstance(validation, tuple | list):
        held_weights, validation = own.rows("validation weights", validation)
    elif len(validation) == 3:
        held_weights, row = own.rows("validation weights", validation[2])
        validation = (*validation[:2], row)
    run = prepare(
        face,
        keys[0],
        one,
        samples,
        optimizer=optimizer,
        batch_size=None if rows is not None else batch_size,
        sample_weight=sample_weight,
        validation=validation,
        options=stand_ins,
    )
    train, held = run.train, run.held
    assert train is not None
    if weights is not None:
        train = train._replace(weights=weights)
    if held_weights is not None and held is not None:
        held = held._replace(weights=held_weights)
    if rows is not None:
        if order == "shared":
            raise ValueError("rows: expected order='own', since members share no order of theirs")
        places = require_rows(rows, members, train.inputs.shape[0])
        run, train = _of_rows(run._replace(key=keys), train, places, batch_size)
    if order == "shared":
        train = _counted_by_any(train)
        run = run._replace(order=Order(keys[0], last_epoch(networks)))

    def group(places: np.ndarray, given: Any, units: Any, sizes: Any) -> Group:
        def own_weights(samples: Samples | None) -> Samples | None:
            if samples is None or samples.weights is None or samples.weights.ndim == 1:
                return samples
            return samples._replace(weights=samples.weights[places])

        network = member_of(given, 0)
        if isinstance(given, TrainState):
            state: Any = given._replace(epoch=jnp.asarray(given.epoch, jnp.int32))
            network = network.params
        else:
            state = jax.vmap(functools.partial(joined_for, run.recipe))(given)
        if "dropout" in stand_ins:  # which may have a rate for each layer
            read_option("dropout", stand_ins["dropout"], network)
        of_members = run._replace(
            key=keys[places], state=state, train=own_weights(train), held=own_weights(held),
            recipe=own.recipe(run.recipe, places), units=units,
            rows=jax.tree.map(lambda leaf: leaf[places], run.rows),
        )  # fmt: skip
        return Group(of_members, places, sizes, run.recipe)

    if not isinstance(networks, list):
        return [group(np.arange(members), networks, None, None)]
    every = [sizes_of(each.params if isinstance(each, TrainState) else each) for each in networks]
    samples_of_a_member = (train.inputs if run.rows is None else run.rows.places[0]).shape[0]
    groups = []
    for together in group_sizes(every, samples=samples_of_a_member):
        for places, widest in _trained_together(run.recipe, together, every):
            sizes = [every[place] for place in places]
            units = None
            if set(sizes) != {widest}:
                there = zip(*(units_of(size, widest) for size in sizes), strict=True)
                units = tuple(jnp.asarray(np.stack(each)) for each in there)
            given = _filled_up([networks[place] for place in places], run.recipe, widest)
            groups.append(group(places, given, units, sizes))
    return groups


def _trained_together(
    recipe: Recipe, together: SizeGroup, every: list[Sizes]
) -> Iterator[tuple[np.ndarray, Sizes]]:
    """The members of a group, or those of each size where the optimizer sees how large they are."""
    by_size: dict[Sizes, list[int]] = {}
    for place in together.members:
        by_size.setdefault(every[place], []).append(place)
    least = tuple(map(min, zip(*by_size, strict=True)))
    if len(by_size) == 1 or trains_filled_up(recipe, least, together.sizes):
        yield np.array(together.members), together.sizes
        return
    for size, places in by_size.items():
        yield np.array(places), size


def _filled_up(networks: list[Any], recipe: Recipe, widest: Sizes) -> Any:
    """Networks, or states of theirs, in arrays of one size with a leading axis."""
    if not isinstance(networks[0], TrainState):
        networks = [unstack(network) for network in networks]
    shapes = _shapes(networks[0], recipe, widest)
    traced = _checks.is_traced(networks)
    stack = jnp.stack if traced else np.stack
    every = [resized(part, shapes) for part in (networks if traced else jax.device_get(networks))]
    return jax.tree.map(lambda *leaves: jnp.asarray(stack(leaves)), *every)


def _shapes(like: Any, recipe: Recipe, sizes: Sizes) -> Any:
    """The shapes of parameters, or of a state, of a network of other sizes."""
    if not isinstance(like, TrainState):
        return shapes_of(like, sizes)
    params = shapes_of(like.params, sizes)
    return shapes_like(params, jax.eval_shape(recipe.build().init, params), like)


def _of_rows(
    run: Run, train: Samples, rows: Int[np.ndarray, "members m"], batch_size: Any
) -> tuple[Run, Samples]:
    """The run on each member's own rows, with the weights of these."""
    there = rows >= 0
    counts, most = there.sum(axis=1), rows.shape[1]
    least = int(counts.min())
    size = most
    if batch_size is not None:
        size = _checks.require_count("batch_size", batch_size, low=1, high=least)
    recipe = dataclasses.replace(run.recipe, batch_size=size)
    by_place = draws_by_place(run.key)
    if least < most:
        random = recipe.drops or recipe.augment is not None
        one_program = batch_size is None or -(-least // size) == -(-most // size)
        if not one_program or order_bits(least) != order_bits(most):
            fault = "with as many steps an epoch and one ⌈log₂ m⌉"
        elif batch_size is None and random:
            fault = "one m where steps of all samples draw at random"
        elif not by_place:
            fault = "one m where the keys are not JAX's partitionable threefry keys"
        else:
            fault = ""
        if fault:
            raise ValueError(f"rows: expected m rows a member, {fault}, got {least} to {most}")
    places = jnp.asarray(np.where(there, rows, rows[:, :1]), jnp.int32)
    weights = train.weights
    if weights is not None:
        weights = weights[places] if weights.ndim == 1 else jnp.take_along_axis(weights, places, 1)
    number = None
    if by_place:  # whatever their number is, it is the same program
        number = jnp.asarray(counts, jnp.int32)
        own = jnp.ones((), _checks.float32_or_wider(train.inputs.dtype))
        weights = jnp.where(there, own if weights is None else weights, 0)
    return run._replace(recipe=recipe, rows=Rows(places, number)), train._replace(weights=weights)


def _counted_by_any(samples: Samples) -> Samples:
    """Puts samples that count in the places of those that count for no member."""
    if samples.weights is None:
        return samples
    weights = samples.weights
    place = counted(weights.max(axis=0) if weights.ndim == 2 else weights)
    return samples._replace(inputs=samples.inputs[place], targets=samples.targets[place])


def as_given_to_members(given: Any, groups: list[Group], results: list[FitResult]) -> FitResult:
    """The result with the members' parameters as they were given: one tree, or a list."""
    if groups[0].sizes is None:
        (result,) = results
        if isinstance(given, TrainState) or len(result.params) == len(given):
            return result
        apart = jax.vmap(split_like)(result.params, jax.tree.map(jnp.asarray, tuple(given)))
        return result._replace(params=apart)
    order = np.argsort(np.concatenate([group.places for group in groups]))
    params, states = [], []
    for group, result in zip(groups, results, strict=True):
        assert group.sizes is not None
        traced = _checks.is_traced(result)
        own = (result.params, result.state)
        host = own if traced else on_host(own)
        one = jax.eval_shape(lambda own: member_of(own, 0), own)
        shapes = {
            sizes: tuple(_shapes(part, group.recipe, sizes) for part in one)
            for sizes in set(group.sizes)
        }
        for place, sizes in enumerate(group.sizes):
            mine = resized(member_of(host, place), shapes[sizes])
            params.append(mine[0])
            states.append(mine[1])
    params, states = ([parts[place] for place in order] for parts in (params, states))
    params, states = jax.device_put((params, states))
    listed: Any = [
        own if isinstance(network, TrainState) else split_like(own, network)
        for own, network in zip(params, given, strict=True)
    ]
    return FitResult(listed, states, _put_together([r.history for r in results], order))


def _put_together(histories: list[History], order: np.ndarray) -> History:
    """The history of all members; where one has fewer layers, the rest are NaN."""
    deepest = max(history.saturated.shape[-1] for history in histories)

    def of(*parts: Array) -> Array:
        if parts[0].ndim == 3:
            rooms = [((0, 0), (0, 0), (0, deepest - part.shape[2])) for part in parts]
            parts = tuple(
                jnp.pad(part, room, constant_values=jnp.nan)
                for part, room in zip(parts, rooms, strict=True)
            )
        return jnp.concatenate(parts)[order]

    return jax.tree.map(of, *histories)
