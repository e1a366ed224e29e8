"""Successive halving: a population of which, round by round, the best part trains on.

A round is a sweep of whoever is still in, from the states they have; between rounds the others are
dropped from the groups, and what is left is cut into blocks anew.
"""

import itertools
import signal
from collections.abc import Sequence
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import ArrayLike, Float, Int, PRNGKeyArray, Real

from logistack import _checks
from logistack._brief import brief
from logistack._export import exported
from logistack.layers import Params
from logistack.training.driver import Interrupted
from logistack.training.fit import Validation
from logistack.training.groups import Group, as_given_to_members, prepare_members
from logistack.training.memory import require_block_size
from logistack.training.population import (
    Ended,
    warn_of_members,
)
from logistack.training.recipe import Optimizer, Options, spells_out
from logistack.training.run import FitResult
from logistack.training.spread import require_mesh
from logistack.training.state import TrainState
from logistack.training.sweep import (
    Job,
    block_size_for,
    blocks_of,
    in_one_array,
    of_all_epochs,
    part_of,
    train,
    untrained,
)

# Epochs between two looks at the signals of the process and at who has stopped.
EVERY = 10


@exported
class HalvingResult(NamedTuple):
    """What a search by successive halving returns.

    Attributes:
        result: the members of the last round, the best first, as `fit_population` returns them.
        members: which members of the population these are, `(survivors,)`.
        scores: each member's least validation loss up to the end of each round,
            `(members, rounds)`; NaN where it was not in the round, or is not finite.
        schedule: after how many epochs each round ends, `(rounds,)`.
        epochs: how many epochs each member has run, `(members,)`.
    """

    def __repr__(self) -> str:
        return brief(self)

    result: FitResult
    members: Int[np.ndarray, " survivors"]
    scores: Float[np.ndarray, "members rounds"]
    schedule: Int[np.ndarray, " rounds"]
    epochs: Int[np.ndarray, " members"]


@spells_out(Options)
def successive_halving(  # noqa: D417 (they come in two parts)
    keys: PRNGKeyArray,
    params: Params | TrainState | list[Params] | list[TrainState],
    inputs: Real[ArrayLike, "n in"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    optimizer: Optimizer,
    epochs: int,
    validation: Validation | Real[ArrayLike, "members n"],
    factor: int = 2,
    rounds: int | None = None,
    batch_size: int | None = None,
    sample_weight: Real[ArrayLike, "*members n"] | None = None,
    order: str = "own",
    mesh: Mesh | None = None,
    block_size: int | None = None,
    **options: Unpack[Options],
) -> HalvingResult:
    """Searches a population for its best members, and trains the others for fewer epochs.

    With factor η and K rounds, round k = 1 … K ends when its members have run ⌊epochs / ηᴷ⁻ᵏ⌋
    epochs. Of n members, the ⌈n / η⌉ of the least validation loss then go on from their states;
    the rest are dropped. So no round costs much more than the first, and a member that comes
    through all of them is what `fit` makes of it in `epochs` epochs with its key.

    A member is judged by the best of its validation losses so far, as `fit` keeps it; of equals,
    the one that comes first goes on. One that stops early, by its `patience`, remains in the
    search with what it has. One whose loss or parameters stop being finite, or that has no finite
    validation loss, is out; where that is so of all, the search ends there. With validation
    weights of their own, members are comparable only if their samples are.

    Main arguments:
        keys: a JAX random key for each member, `(members,)`.
        params: the parameters, or states, to start from, as `fit_population` takes them.
        inputs: samples, `(n, in)`, the same for all.
        targets: rows `(n, out)`, or integer classes `(n,)`.
        optimizer: as `fit_population` takes it.
        epochs: how many epochs a member runs that comes through all rounds, 1 or more.
        validation: the samples to judge by, as `fit_population` takes them.
        factor: η, one of how many members goes on, 2 or more.
        rounds: K, how many rounds there are; if None, as many as leave one member in the last, or
            fewer, where the first would have no epoch.
        batch_size: samples a step, as `fit_population` takes it.
        sample_weight: as `fit_population` takes it.
        order: as `fit_population` takes it.
        mesh: devices to spread each block over, as `fit_population` takes it.
        block_size: how many members are trained at once, as `sweep` takes it.

    Other Arguments:
        options: the other options of `fit`, which describes them.

    Returns:
        A `HalvingResult`.

    Raises:
        ValueError: if `validation` is None, if `factor` is below 2, if `epochs` are too few for
            the `rounds`, and whatever `fit_population` raises.
        TypeError: if arrays are traced, and whatever `fit_population` raises.
        Interrupted: after Ctrl-C or SIGTERM; its `result` has the members that were still in, as
            the round before left them.

    >>> import jax, jax.numpy as jnp, optax
    >>> from logistack import init_params
    >>> x, y = jnp.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), jnp.array([[0.0], [1], [1], [0]])
    >>> keys = jax.random.split(jax.random.key(0), 8)
    >>> start = jax.vmap(lambda key: init_params(key, (2, 4, 1)))(keys)
    >>> rates = jnp.array([0.0001, 0.001, 0.01, 0.1] * 2)
    >>> found = successive_halving(
    ...     keys, start, x, y, optimizer=optax.adam, hyperparams={"learning_rate": rates},
    ...     epochs=400, validation=(x, y), rounds=3,
    ... )
    >>> found.schedule.tolist(), found.epochs.tolist()
    ([100, 200, 400], [100, 100, 200, 400, 100, 100, 200, 400])
    >>> print(rates[found.members])
    [0.1 0.1]

    Source: Jamieson & Talwalkar 2016, section 3; Li et al. 2018, "Hyperband", section 3, whose
    brackets are calls of this with other `rounds`.
    """
    epochs = _checks.require_count("epochs", epochs, low=1)
    factor = _checks.require_count("factor", factor, low=2)
    if validation is None:
        raise ValueError("validation: expected samples to judge the members by, got none")
    mesh = None if mesh is None else require_mesh(mesh)
    groups = prepare_members(
        "successive_halving",
        keys,
        params,
        (inputs, targets),
        optimizer=optimizer,
        batch_size=batch_size,
        sample_weight=sample_weight,
        validation=validation,
        order=order,
        options=options,
    )
    if _checks.is_traced([group.run for group in groups]):
        raise TypeError("successive_halving: expected concrete arrays, got traced ones")
    members = len(keys)
    schedule = schedule_of(epochs, factor, members, rounds)
    block_size = require_block_size(block_size, members)
    if block_size is None:
        block_size = block_size_for(groups, epochs, mesh)

    field = [_entered(group) for group in groups]
    ranked = np.arange(members)
    scores = np.full((members, len(schedule)), np.nan)
    ran = np.zeros(members, int)
    ended: list[Ended] = []
    for place, (begun, until) in enumerate(itertools.pairwise([0, *schedule])):
        try:
            trained = [_trained(each, until - begun, block_size, mesh) for each in field]
        except KeyboardInterrupt as stop:
            number = stop.signal if isinstance(stop, Interrupted) else signal.SIGINT
            told = Interrupted(
                f"{signal.Signals(number).name} in round {place + 1} of {len(schedule)}, with "
                f"{ranked.size:,} of {members:,} members: this exception has the `result` of the "
                "round before"
            )
            told.result, told.signal = _as_given(params, field, ranked, epochs), number
            raise told from None
        for before, after in zip(field, trained, strict=True):
            own = after.group.places
            ran[own] += np.asarray(after.result.state.epoch - before.result.state.epoch)
            scores[own, place] = _scores(after)
            ended += after.ended
        now = scores[ranked, place]
        finite = np.isfinite(now).sum()
        ranked = ranked[np.lexsort((ranked, now))]  # NaN comes last
        if finite and until < epochs:
            ranked = ranked[: min(-(-ranked.size // factor), finite)]
        field = [_those_of(each, ranked) for each in trained]
        field = [each for each in field if each.group.places.size]
        if not finite:
            break
    warn_of_members(ended, members)
    result = _as_given(params, field, ranked, epochs)
    return HalvingResult(result, ranked, scores, np.array(schedule), ran)


def schedule_of(epochs: int, factor: int, members: int, rounds: Any) -> list[int]:
    """After how many epochs each round ends."""
    most = _digits(epochs, factor)
    if rounds is None:
        rounds = min(most, 1 + _digits(members - 1, factor))
    elif _checks.require_count("rounds", rounds, low=1) > most:
        raise ValueError(
            f"rounds: expected at most {most} for {epochs:,} epochs and a factor of {factor}, so "
            f"that the first has one, got {rounds}"
        )
    return [epochs // factor**left for left in reversed(range(rounds))]


def _digits(number: int, base: int) -> int:
    """How often a number can be divided before it is 0."""
    count = 0
    while number:
        number, count = number // base, count + 1
    return count


class Field(NamedTuple):
    """Members of a group that are still in, and how far they have come.

    Attributes:
        group: who they are, and what they are told.
        result: what they have become, with a row for each epoch of the search so far.
        ended: who was not finite in the last round.
    """

    group: Group
    result: FitResult
    ended: Sequence[Ended] = ()


def _entered(group: Group) -> Field:
    return Field(group, untrained(_job(group, 0, None)).result)


def _job(block: Group, epochs: int, mesh: Mesh | None) -> Job:
    return Job(block, epochs, EVERY, mesh, EVERY, None)


def _trained(field: Field, epochs: int, block_size: int, mesh: Mesh | None) -> Field:
    """The same members after so many more epochs."""
    run = field.group.run._replace(state=field.result.state)
    blocks = blocks_of([field.group._replace(run=run)], block_size)
    each = [train(_job(block, epochs, mesh)) for block in blocks]
    result: FitResult = jax.tree.map(in_one_array, *(block.result for block in each))
    history = jax.tree.map(
        lambda *rows: np.concatenate(rows, axis=1), field.result.history, result.history
    )
    if run.order is not None:
        run = run._replace(order=run.order._replace(epoch=run.order.epoch + epochs))
    group = field.group._replace(run=run._replace(state=result.state))
    return Field(group, result._replace(history=history), [block.ended for block in each])


def _scores(field: Field) -> Float[np.ndarray, " members"]:
    """The least validation loss of each member; NaN of one that is not finite."""
    best = field.result.state.best
    assert best is not None
    loss = np.asarray(best.loss)
    out = np.isin(field.group.places, [member for each in field.ended for member in each.loss])
    return np.where(out | (loss == np.finfo(loss.dtype).max), np.nan, loss)


def _those_of(field: Field, ranked: Int[np.ndarray, " some"]) -> Field:
    """Those members of a group that are among some, in their order."""
    at = {member: place for place, member in enumerate(field.group.places.tolist())}
    own = np.array([at[member] for member in ranked.tolist() if member in at], int)
    return Field(part_of(field.group, own), jax.tree.map(lambda leaf: leaf[own], field.result))


def _as_given(
    params: Any, fields: Sequence[Field], ranked: Int[np.ndarray, " some"], epochs: int
) -> FitResult:
    """One result of all that are still in, in their order, as `fit_population` gives it."""
    given: Any
    if fields[0].group.sizes is None:
        given = jax.tree.map(lambda leaf: jnp.asarray(leaf)[ranked], params)
    else:
        given = [params[member] for member in ranked]
    # A group has them in this order, too; their places are now those in it.
    groups = [
        each.group._replace(places=np.flatnonzero(np.isin(ranked, each.group.places)))
        for each in fields
    ]
    results = [of_all_epochs(each.result, epochs) for each in fields]
    results = [each._replace(history=jax.tree.map(jnp.asarray, each.history)) for each in results]
    return as_given_to_members(given, groups, results)
