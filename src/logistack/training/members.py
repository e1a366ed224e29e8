"""What the members of a population are given, each for itself: read and checked.

A number, or a row of weights, is one for all members or has a leading axis of them. `prepare` reads
a run of one member; what it is given then is a stand-in, and the values of all are kept here.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from logistack import _checks
from logistack.layers import Layer, Params, require_params
from logistack.training.recipe import MEMBERWISE, Recipe, read_number
from logistack.training.state import TrainState


def require_keys(keys: Any) -> PRNGKeyArray:
    """One JAX random key for each member, of the new kind or the old."""
    if not isinstance(keys, jax.Array) or not keys.ndim:
        raise TypeError(f"keys: expected JAX random keys, as from jax.random.split, got {keys!r}")
    if not len(keys):
        raise ValueError("keys: expected a key for each member, at least one, got none")
    _checks.require_key("keys", keys[0])
    return keys


def require_networks(params: Any, members: int) -> Any:
    """One tree with a leading axis of so many members everywhere, or a list of networks."""
    if isinstance(params, list) and not all(isinstance(part, Layer) for part in params):
        return _require_list(params, members)
    if not isinstance(params, TrainState | tuple | list) or isinstance(params, Layer):
        raise TypeError(
            "params: expected a tuple of Layer with a leading axis of members, or a TrainState "
            f"so, or a list of either without, got {type(params).__name__}"
        )
    leaves = jax.tree.leaves(params)
    lengths = {np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in leaves}
    if lengths != {members}:
        raise ValueError(
            f"params: expected a leading axis of {members} members everywhere, as many as keys, "
            f"got {' and '.join(sorted(map(str, lengths)))}"
        )
    return jax.tree.map(jnp.asarray, params if isinstance(params, TrainState) else tuple(params))


def _require_list(params: list[Any], members: int) -> list[Any]:
    """As many networks, or states, of the same inputs, outputs and dtype."""
    if len(params) != members:
        raise ValueError(f"params: expected {members} networks, as many as keys, got {len(params)}")
    networks: list[Any] = []
    for place, given in enumerate(params):
        state = isinstance(given, TrainState)
        network = require_params(given.params if state else given, name=f"params[{place}]")
        networks.append(given._replace(params=network) if state else network)
        first, *_ = networks
        if isinstance(first, TrainState) != state:
            raise TypeError(f"params[{place}]: expected what the first is, got another type")
        ends = [
            (own[0].weight.shape[-1], own[-1].weight.shape[-2], own[0].weight.dtype.name)
            for own in (first.params if state else first, network)
        ]
        if ends[0] != ends[1]:
            expected, got = (f"{i} inputs, {o} outputs and {dtype}" for i, o, dtype in ends)
            raise ValueError(f"params[{place}]: expected {expected}, as the first, got {got}")
    return networks


def require_rows(rows: Any, members: int, samples: int) -> np.ndarray:
    """The places of each member's samples, `(members, m)`, filled up with -1."""
    if _checks.is_traced(rows):
        raise TypeError("rows: expected places that are known when JAX traces, got traced ones")
    if isinstance(rows, str) or not hasattr(rows, "__len__") or len(rows) != members:
        got = f"{len(rows)}" if hasattr(rows, "__len__") else f"{rows!r}"
        raise ValueError(
            f"rows: expected an array of places for each of {members} members, got {got}"
        )
    every = [np.asarray(own) for own in rows]
    for member, own in enumerate(every):
        if own.dtype.kind not in "iu" or own.ndim != 1:
            raise TypeError(
                f"rows[{member}]: expected integers of shape (m,), got {own.dtype} of shape "
                f"{own.shape}"
            )
        places = own[: len(own) - np.argmax(own[::-1] != -1)] if (own != -1).any() else own[:0]
        if not places.size or places.min() < 0 or places.max() >= samples:
            got = f"{places.min()} to {places.max()}" if places.size else "none"
            raise ValueError(f"rows[{member}]: expected places from 0 to {samples - 1}, got {got}")
    most = max(map(len, every))
    return np.stack([np.pad(own, (0, most - len(own)), constant_values=-1) for own in every])


def member_of(tree: Any, place: int) -> Any:
    """One member of a tree with a leading axis of members."""
    return jax.tree.map(lambda leaf: leaf[place], tree)


def last_epoch(networks: Any) -> Int[Array, ""]:
    """How many epochs lie behind, of the member that went on longest."""
    states = networks if isinstance(networks, list) else [networks]
    if not isinstance(states[0], TrainState):
        return jnp.zeros((), jnp.int32)
    return jnp.max(jnp.stack([jnp.max(state.epoch) for state in states])).astype(jnp.int32)


class Own:
    """What the members of a population have each for itself, among what the user gave.

    Attributes:
        values: by the name of an option and the place of a number in it, an array whose first
            axis is that of the members.
    """

    def __init__(self, members: int, network: Params) -> None:
        self.members, self.network = members, network
        self.values: dict[tuple[str, Any], Array] = {}

    def stand_in(self, name: str, value: Any) -> Any:
        """The option with the number of one member in place of all, for what reads it of one."""
        if name == "hyperparams" and isinstance(value, Mapping):
            return {
                key: self._one(name, key, number, f"{name}[{key!r}]")
                for key, number in value.items()
            }
        if name == "dropout":
            rates = value if isinstance(value, tuple | list) else (0.0, value)
            return tuple(self._one(name, place, rate, name) for place, rate in enumerate(rates))
        return self._one(name, None, value, name) if name in MEMBERWISE else value

    def _one(self, name: str, place: Any, value: Any, label: str) -> Any:
        axes = MEMBERWISE[name]
        if value is None or isinstance(value, str) or np.ndim(value) <= axes:
            return value
        array = _checks.require_numeric(label, value)
        if array.ndim != axes + 1 or len(array) != self.members:
            raise ValueError(
                f"{label}: expected one for all members, or {self.members} along the first axis, "
                f"got shape {array.shape}"
            )

        def read(number: Any) -> Any:
            return read_number(name, label, number, self.network)

        stand_in = array[0]
        if not _checks.is_traced(array):
            host = np.asarray(array)
            rows, firsts = np.unique(host, axis=0, return_index=True)
            for row, first in zip(rows, firsts, strict=True):
                with _naming_member(int(first)):
                    read(row if axes else row.item())
            if not axes:  # the largest: of a share that is 0 for all nothing need be computed
                stand_in = array[int(host.argmax())]
        self.values[name, place] = jax.vmap(read)(array)
        return stand_in

    def rows(self, name: str, weights: Any) -> tuple[Array | None, Any]:
        """A row of weights for each member, if there are such, and what stands for them."""
        if weights is None or np.ndim(weights) < 2:
            return None, weights
        weights = _checks.require_numeric(name, weights)
        if weights.ndim != 2 or len(weights) != self.members:
            raise ValueError(
                f"{name}: expected shape (n,), or a row for each of {self.members} members, got "
                f"{weights.shape}"
            )
        if not _checks.is_traced(weights):
            host = np.asarray(weights, np.float64)
            wrong = ~np.isfinite(host).all(axis=1) | (host < 0).any(axis=1) | ~host.any(axis=1)
            for member in np.flatnonzero(wrong)[:1]:
                with _naming_member(int(member)):
                    _checks.require_weights(name, weights[member], weights.shape[1])
        return weights.astype(_checks.float32_or_wider(weights.dtype)), weights[0]

    def recipe(self, one: Recipe, places: np.ndarray) -> Recipe:
        """The recipe of one member with the values of some."""
        recipe = one
        for (name, place), of_all in self.values.items():
            now, own = getattr(recipe, name), of_all[places]
            if isinstance(now, dict):
                now = {**now, place: own}
            elif isinstance(now, tuple):
                now = tuple(
                    own if at == place and rate is not None else rate for at, rate in enumerate(now)
                )
            elif now is not None:  # None is a share of 0
                now = own
            recipe = dataclasses.replace(recipe, **{name: now})
        return recipe


@contextlib.contextmanager
def _naming_member(member: int) -> Iterator[None]:
    """Names the member in what is raised about its own value."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise type(error)(f"{error} (member {member})") from error
