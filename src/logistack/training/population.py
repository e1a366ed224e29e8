"""Populations: many networks trained at once, each as `fit` would train it alone.

A population is a `Run` of which some leaves have a leading axis of members: the keys and states
always, a number of the recipe or a row of weights where each member has its own. `vmap` takes it
through the two functions that every run goes through, `begin` and `advance`.
"""

import dataclasses
import functools
import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, Unpack

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, ArrayLike, Bool, Int, PRNGKeyArray, Real

from logistack import _checks
from logistack.layers import Params
from logistack.training.fit import Validation, marked, may_mark
from logistack.training.fused import is_interpreter, why_not, why_not_on
from logistack.training.groups import Group, as_given_to_members, prepare_members
from logistack.training.recipe import MEMBERWISE, Optimizer, Options, spells_out
from logistack.training.run import FitResult, Run, Samples, advance, begin, goes_on
from logistack.training.spread import (
    MEMBERS,
    WHOLE,
    brought_together,
    in_parts,
    mesh_for,
    on_host,
    placed,
    require_mesh,
    require_parts,
    spread,
)
from logistack.training.state import TrainState

T = TypeVar("T")


@spells_out(Options)
def fit_population(  # noqa: D417 (they come in two parts)
    keys: PRNGKeyArray,
    params: Params | TrainState | list[Params] | list[TrainState],
    inputs: Real[ArrayLike, "n in"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int | None = None,
    sample_weight: Real[ArrayLike, "*members n"] | None = None,
    validation: Validation | Real[ArrayLike, "members n"] | None = None,
    rows: Sequence[Int[ArrayLike, " m"]] | None = None,
    order: str = "own",
    mesh: Mesh | None = None,
    fused: Any = False,
    **options: Unpack[Options],
) -> FitResult:
    """Trains the members of a population at once, each as `fit` would train it alone.

    One pure function of its arrays and one compiled program, over one copy of the samples. A
    member that stops, early or because its loss is no longer finite, stays as it is while the
    others go on; a `RuntimeWarning` names those of the latter kind.

    Any number that `fit` takes may be one for all members or an array with a value for each, by
    its first axis: `hyperparams`, `dropout` (and each rate in a sequence of them),
    `label_smoothing`, `ema_decay`, `class_weight`, `patience` and `min_delta`. So may a row of
    weights, of which folds, bootstraps and learning curves consist.

    Networks of a list are trained in groups, as `training.group_sizes` puts them together: the
    smaller have units that are not there, which neither the optimizer nor dropout sees. An
    optimizer that sees how large an array is, as Muon does, gets groups of one size. Each group
    adds to the program, and to the time it takes to compile.

    Main arguments:
        keys: a JAX random key for each member, `(members,)`, as from `jax.random.split`.
        params: the parameters to start from, with a leading axis of members everywhere, as
            `jax.vmap(lambda key: init_params(key, sizes))(keys)` gives them; or a list of networks
            of any widths and depths, of the same inputs and outputs. Likewise a `TrainState`, or
            a list of them, to continue from.
        inputs: samples, `(n, in)`, the same for all.
        targets: rows `(n, out)`, or integer classes `(n,)`.
        optimizer: any Optax gradient transformation; with `hyperparams`, a function of them that
            returns one, such as `optax.sgd`.
        epochs: how many times to go through the samples, 0 or more.
        batch_size: samples a step; all of them, unshuffled, if None.
        sample_weight: how much each sample counts, `(n,)`, or for each member, `(members, n)`.
        validation: as `fit` takes it, weights being `(n,)` or `(members, n)`.
        rows: the samples that each member learns from, a sequence of arrays of their places: each
            is trained as `fit` trains it on `inputs[rows[i]]` and `targets[rows[i]]`. They may be
            of several lengths m if the steps of an epoch are as many, and ⌈log₂ m⌉ is one number.
            Weights are those of all samples.
        order: `"own"`: every member takes the samples in the order that its key gives it, as in
            `fit`. `"shared"`: all take them in that of the first key, so that the products of the
            first layer are one for all. On two cores that trains 64 networks of 64-32-10 at about
            1.1 times the rate, of 256-64-10 at 1.4 times.
        mesh: devices to spread the members over, a `jax.sharding.Mesh` with the axis
            `"members"`, along which no device waits for another; or the batches, along the axis
            `"batch"`, over which sums are taken; or both. Results stay there. If None, members
            over all devices of the process, unless the call is traced or an array or
            `jax.default_device` says which; `use_cores_as_devices` makes several of a CPU.
        fused: True: one kernel takes a member through an epoch, its weights on the chip, and what
            the kernel does not do is an error. "auto": where it does all that is asked for. It is
            made for NVIDIA's Hopper and has never run on one: see
            [Accelerators](../accelerators.md). Pallas's `InterpretGPUParams()` runs it on a CPU.

    Other Arguments:
        options: the other options of `fit`, which describes them.

    Returns:
        A `FitResult` with a leading axis of members everywhere. For a list, its `params` and
        `state` are lists, and its history has NaN for the layers that a member does not have.

    Raises:
        ValueError: if the number of keys, of parameters and of the values for each member differ,
            if there is no member, if `fused` asks for what the kernel does not do, and whatever
            `fit` raises, naming the member.
        TypeError: if `keys` are no JAX random keys, and whatever `fit` raises.

    >>> import jax, jax.numpy as jnp, optax
    >>> from logistack import init_params
    >>> x, y = jnp.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), jnp.array([[0.0], [1], [1], [0]])
    >>> keys = jax.random.split(jax.random.key(0), 100)
    >>> start = jax.vmap(lambda key: init_params(key, (2, 8, 1)))(keys)
    >>> result = fit_population(
    ...     keys, start, x, y, optimizer=optax.adam, epochs=300,
    ...     hyperparams={"learning_rate": jnp.repeat(jnp.array([0.001, 0.05]), 50)},
    ... )
    >>> print(result.history.accuracy[:, -1].reshape(2, 50).mean(axis=1) > 0.9)
    [False  True]
    """
    epochs = _checks.require_count("epochs", epochs, low=0)
    mesh = None if mesh is None else require_mesh(mesh)
    population = prepare_members(
        "fit_population",
        keys,
        params,
        (inputs, targets),
        optimizer=optimizer,
        batch_size=batch_size,
        sample_weight=sample_weight,
        validation=validation,
        rows=rows,
        order=order,
        options=options,
    )
    runs = tuple(group.run for group in population)
    alive = runs[0].recipe.traced
    for run in runs:
        require_parts(mesh, run.recipe.batch_size)
    if not (is_interpreter(fused) or isinstance(fused, bool) or fused == "auto"):
        raise ValueError(f"fused: expected True, False or 'auto', got {fused!r}")
    if fused is not False:
        runs = tuple(_fused(run, fused, mesh) for run in runs)
    runs = (begin_members if alive else compiled_begin_members)(runs)
    on_one = mesh is not None or is_interpreter(fused)  # which has one device
    several = None if on_one else mesh_for(len(keys), runs)
    if mesh is not None and not alive:
        runs = tuple(placed_members(run, mesh) for run in runs)
    go_on: Any = advance_members if alive else compiled_advance_members(mesh or several)
    advanced = go_on(runs, epochs, epochs=epochs, mark=may_mark())
    if several is not None:
        advanced = brought_together(advanced)
    results = list(itertools.starmap(marked, advanced))
    population = [group._replace(run=run) for group, run in zip(population, runs, strict=True)]
    if not _checks.is_traced((runs, results)):
        every = []
        for group, result in zip(population, results, strict=True):
            done = on_host(result.state.epoch) - on_host(group.run.state.epoch)
            every.append(ended_of(group, result, done < epochs))
        warn_of_members(every, len(keys))
    return as_given_to_members(params, population, results)


def _fused(run: Run, fused: Any, mesh: Mesh | None) -> Run:
    """The run, through whose epochs a kernel is to take it, where it can."""
    interpreted = is_interpreter(fused)
    assert run.train is not None
    params = run.state.params if isinstance(run.state, TrainState) else run.state
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), params)
    inputs = run.train.inputs
    samples = inputs.shape[0] if run.rows is None else run.rows.places.shape[1]
    why = why_not(in_parts(run, mesh).recipe, one, samples)
    if run.units is not None:
        why = "params: expected networks of one size"
    if why is None and not interpreted:
        if not _checks.is_traced(run):
            why = why_not_on(mesh.devices.flat[0] if mesh else next(iter(inputs.devices())))
        elif fused == "auto":
            why = "device: not known within a trace"
    if why is None:
        recipe = dataclasses.replace(run.recipe, fused=fused if interpreted else True)
        return run._replace(recipe=recipe)
    if fused == "auto":
        return run
    raise ValueError(f"fused: the kernel does not do what is asked for. {why}")


def _axes_of(run: Run) -> list[int | None]:
    """Which leaves of a run of members have their axis, as `vmap` is told."""

    def of_weights(samples: Samples | None) -> Any:
        if samples is None:
            return None
        weights = samples.weights
        return Samples(False, False, None if weights is None else weights.ndim == 2)  # type: ignore[arg-type]

    numbers = {
        name: jax.tree.map(lambda leaf, axes=axes: np.ndim(leaf) > axes, getattr(run.recipe, name))
        for name, axes in MEMBERWISE.items()
    }
    marks = Run(
        key=True,  # type: ignore[arg-type]
        state=jax.tree.map(lambda _: True, run.state),
        train=of_weights(run.train),
        held=of_weights(run.held),
        recipe=dataclasses.replace(run.recipe, **numbers),
        order=jax.tree.map(lambda _: False, run.order),
        units=jax.tree.map(lambda _: True, run.units),
        rows=jax.tree.map(lambda _: True, run.rows),
    )
    return [0 if mark else None for mark in jax.tree.leaves(marks)]


def over_members(function: Callable[[Run], T], run: Run, mesh: Mesh | None = None) -> T:
    """A function of one member's run, of every member, a part of them on each device."""
    leaves, tree = jax.tree.flatten(run)
    axes = _axes_of(run)

    def of_member(*leaves: Any) -> T:
        return function(jax.tree.unflatten(tree, leaves))

    of_members = jax.vmap(of_member, in_axes=axes)
    return of_members(*leaves) if mesh is None else spread(of_members, leaves, axes, mesh)


def placed_members(run: Run, mesh: Mesh) -> Run:
    """The run on the devices of a mesh, members where they are trained."""
    leaves, tree = jax.tree.flatten(run)
    devices = mesh.shape.get(MEMBERS, 1)

    def on(leaf: Any, axis: int | None) -> Any:
        own = axis is not None and devices > 1 and len(leaf) % devices == 0
        return placed(leaf, mesh, PartitionSpec(MEMBERS) if own else WHOLE)

    return jax.tree.unflatten(tree, map(on, leaves, _axes_of(run)))


def taken(run: Run, places: Any) -> Run:
    """The run of some of the members."""
    leaves, tree = jax.tree.flatten(run)
    pairs = zip(leaves, _axes_of(run), strict=True)
    return jax.tree.unflatten(
        tree, [leaf if axis is None else leaf[places] for leaf, axis in pairs]
    )


def begin_members(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """`begin` of every member."""
    return tuple(
        run._replace(state=over_members(lambda run: begin(run).state, run)) for run in runs
    )


def advance_members(
    runs: tuple[Run, ...], limit: Any, *, epochs: int, mark: bool = False, mesh: Mesh | None = None
) -> tuple[tuple[FitResult, Bool[Array, "members epochs"]], ...]:
    """`advance` of every member, a part of them on each device of a mesh."""
    go_on = functools.partial(advance, limit=limit, epochs=epochs, mark=mark)
    return tuple(over_members(lambda run: go_on(in_parts(run, mesh)), run, mesh) for run in runs)


compiled_begin_members = jax.jit(begin_members)


@functools.cache
def compiled_advance_members(mesh: Mesh | None) -> Any:
    """`advance_members` over these devices, compiled."""
    options: dict[str, Any] | None = None
    if mesh is not None and mesh.devices.flat[0].platform == "cpu":
        # Each core has a part of its own, and nothing to gain by helping another.
        options = {"xla_cpu_multi_thread_eigen": False}
    over = functools.partial(advance_members, mesh=mesh)
    return jax.jit(over, static_argnames=("epochs", "mark"), compiler_options=options)


class Ended(NamedTuple):
    """Members that were not finite.

    Attributes:
        loss: by member, the epochs before the one whose loss or parameters were not finite.
        validation: the members of which no validation loss was.
    """

    loss: dict[int, int]
    validation: list[int]


def patience_left(run: Run) -> Bool[np.ndarray, " members"]:
    """Which members may go on."""
    left: np.ndarray = on_host(over_members(lambda run: goes_on(run.state, run.recipe), run))
    return left


def ended_of(group: Group, result: FitResult, early: Bool[np.ndarray, " members"]) -> Ended:
    """Which members of a group, whose run has begun, were not finite.

    Those that ended `early` were, unless their patience was at its end.
    """
    run = group.run
    start, last = on_host(run.state.epoch), on_host(result.state.epoch)
    early = early & patience_left(run._replace(state=result.state))
    ended = dict(zip(group.places[early].tolist(), last[early].tolist(), strict=True))
    if run.held is None:
        return Ended(ended, [])
    losses: Any = on_host(result.history.validation_loss)
    never = group.places[(last > start) & ~np.isfinite(losses).any(axis=1)]
    return Ended(ended, never.tolist())


def warn_of_members(every: Sequence[Ended], members: int) -> None:
    """Warns of members whose loss or parameters were not finite."""
    ended = {member: epoch for of in every for member, epoch in of.loss.items()}
    never = [member for of in every for member in of.validation]
    if ended:
        first = min(ended)
        warnings.warn(
            f"the loss or the parameters of {len(ended):,} of {members:,} members stopped being "
            f"finite, of member {first} in epoch {ended[first] + 1}: their parameters are those of "
            "the epoch before. Try smaller learning rates, optax.clip_by_global_norm before the "
            "optimizer, or reduction='mean' if the rates were meant for the mean.",
            RuntimeWarning,
            stacklevel=_checks.level_of_user(),
        )
    if never:
        warnings.warn(
            f"the validation loss of {len(never):,} of {members:,} members, member {min(never)} "
            "the first, was not finite after any epoch: their parameters are those before. Look "
            "for values that are not finite, or very large, among the validation samples.",
            RuntimeWarning,
            stacklevel=_checks.level_of_user(),
        )
