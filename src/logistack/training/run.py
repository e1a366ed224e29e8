"""A run as one pytree, and the pure function that advances it by epochs.

The loop over epochs stands outside. Members, where a caller vmaps, stand inside: `anyone` keeps
the branch that skips an epoch a branch, so that what all members have done with costs nothing.

The room is a long one: what a run, an epoch and a validation do is read, and traced, together.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32

from logistack import _checks, _static, metrics
from logistack._brief import brief
from logistack._export import exported
from logistack.coordinates import fold, unfold
from logistack.layers import Params
from logistack.training.fused import take_steps
from logistack.training.measures import (
    BatchSums,
    History,
    Seen,
    Whole,
    as_rows,
    counted,
    measure,
    reduce,
    smooth,
    summarize,
    total,
    weigh,
)
from logistack.training.recipe import Recipe
from logistack.training.sizes import by_entry
from logistack.training.spread import in_parts, on_each, own_share, summed
from logistack.training.state import Best, TrainState, averaged_params
from logistack.training.step import first_state, product_in, take_step

# As many samples are validated at once: their activations then stay in a CPU's cache.
BLOCK = 1024


class Samples(NamedTuple):
    """Samples of a run, checked.

    Attributes:
        inputs: `(n, in)`, in the dtype of the parameters.
        targets: rows `(n, out)`, or integer classes `(n,)`.
        weights: how much each counts, `(n,)`; None where it is 1.
    """

    inputs: Float[Array, "n in"]
    targets: Array
    weights: Float[Array, " n"] | None


class Order(NamedTuple):
    """One order of the samples for all members of a population.

    Attributes:
        key: the JAX random key that it is drawn from.
        epoch: the number of the first epoch to come, an int32 scalar.
    """

    key: PRNGKeyArray
    epoch: Int[Array, ""]


class Rows(NamedTuple):
    """Which of the samples a member of a population learns from.

    Attributes:
        places: theirs, `(m,)`, int32, filled up with the first.
        number: how many there are, an int32 scalar; None where it is m.
    """

    places: Int[Array, " m"]
    number: Int[Array, ""] | None


class Run(NamedTuple):
    """All that a run consists of, checked.

    Attributes:
        key: the JAX random key.
        state: the state to go on from; before `begin` it may be the parameters to start from.
        train: the samples to learn from; None beside a stream, which brings its own.
        held: the samples to validate on, if there are any.
        recipe: what the run is told.
        order: that of the samples, where it is not the run's own. Members then share the samples,
            and one that does not count for a member must be finite.
        units: which units of each hidden layer are there, as 1 and 0; all of them if None.
        rows: which of the samples are learned from; all of them if None. The weights of `train`
            are then those of these rows, and 0 where the rows are filled up.
    """

    key: PRNGKeyArray
    state: Any
    train: Samples | None
    held: Samples | None
    recipe: Recipe
    order: Order | None = None
    units: tuple[Float[Array, " width"], ...] | None = None
    rows: Rows | None = None


@exported
class FitResult(NamedTuple):
    """What a training run returns.

    Attributes:
        params: the trained parameters: where there are validation samples, those that did best on
            them; with `ema_decay`, their moving average.
        state: the state to continue from: pass it to `fit` in place of parameters.
        history: one row an epoch.
    """

    def __repr__(self) -> str:
        return brief(self)

    params: Params
    state: TrainState
    history: History

    @property
    def epoch(self) -> Int[Array, ""]:
        """After how many epochs `params` were reached."""
        if isinstance(self.state, list):  # of members of several sizes
            return jnp.stack([self._replace(state=state).epoch for state in self.state])
        return self.state.epoch if self.state.best is None else self.state.best.epoch


class Ends(NamedTuple):
    """Whether an epoch was kept, and whether another one follows."""

    kept: Bool[Array, ""]
    going: Bool[Array, ""]


def begin(run: Run) -> Run:
    """The run with a state that has room for all that its recipe asks for."""
    recipe, state = run.recipe, run.state
    if not isinstance(state, TrainState):
        state = first_state(state, recipe)
    else:
        state = _continued(state, recipe)
    best = None if run.held is None else _best_so_far(state, run)
    return run._replace(state=state._replace(best=best))


def _best_so_far(state: TrainState, run: Run) -> Best:
    """The best parameters of the state, with their loss on the run's validation samples."""
    recipe, held = run.recipe, run.held
    assert held is not None
    own = _checksum(held, recipe)
    dtype = _checks.float32_or_wider(state.params[0].weight.dtype)
    none = np.finfo(dtype).max
    best = state.best
    if best is None:
        return Best(state.params, jnp.asarray(none, dtype), state.epoch, own)

    def anew() -> Array:
        loss, _ = validate(best.params, run)
        loss = reduce(loss, weight_of(held, dtype), recipe.reduction).astype(best.loss.dtype)
        return jnp.where(best.loss < none, loss, best.loss)

    loss = jax.lax.cond(best.measure == own, lambda: best.loss, anew)
    return best._replace(loss=loss, measure=own)


def _checksum(held: Samples, recipe: Recipe) -> UInt32[Array, ""]:
    """A number that tells validation samples, and ways to measure on them, apart."""
    ways = None if recipe.traced else (recipe.loss.value, recipe.reduction, recipe.compute_dtype)
    total = jnp.asarray(np.uint32(int(_static.digest(ways)[:8], 16)))
    for part in jax.tree.leaves(held):
        kind = {1: jnp.uint8, 2: jnp.uint16}.get(part.dtype.itemsize, jnp.uint32)
        words = jax.lax.bitcast_convert_type(part, kind).ravel().astype(jnp.uint32)
        # Each word is mixed with its place: an exchange of two samples is seen.
        mixed = (words + np.uint32(1)) * (
            jnp.arange(words.size, dtype=jnp.uint32) * np.uint32(2654435761) + total
        )
        mixed = (mixed ^ (mixed >> 15)) * np.uint32(2246822519)
        total = total * np.uint32(31) + jnp.sum(mixed ^ (mixed >> 13), dtype=jnp.uint32)
    return total


def _continued(state: TrainState, recipe: Recipe) -> TrainState:
    def start(params: Params) -> TrainState:
        return first_state(params, recipe)

    expected = jax.eval_shape(start, state.params)
    described = [
        jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)
        for tree in (expected.opt_state, state.opt_state)
    ]
    if described[0] != described[1]:
        raise ValueError(
            f"params: expected a TrainState of this optimizer and network, whose opt_state is "
            f"{described[0]}, got {described[1]}"
        )
    if recipe.ema_decay is None:
        return state._replace(average=None)
    if state.average is None:
        state = state._replace(average=start(state.params).average)
    return state


def advance(
    run: Run, limit: int | Int[Array, ""], *, epochs: int, mark: bool = False
) -> tuple[FitResult, Bool[Array, " epochs"]]:
    """Advances a run that has begun by `limit` epochs; says of each whether it ran.

    Args:
        run: from `begin`, or with the state that came back.
        limit: how many epochs to run; it may be traced.
        epochs: how many rows the history has, at least `limit`: a compiled program is of one such
            number.
        mark: whether the rows of epochs that did not run are NaN rather than 0.
    """
    recipe, samples = run.recipe, run.train
    assert samples is not None
    outputs = run.state.params[-1].weight.shape[-2]
    own, rows = samples, run.rows
    if rows is not None:
        own = samples._replace(targets=samples.targets[rows.places])
        if recipe.batch_size == rows.places.shape[0]:
            samples, rows = own._replace(inputs=samples.inputs[rows.places]), None
    own = own._replace(weights=weigh(own.weights, own.targets, recipe, run.state.params))
    samples = samples._replace(weights=own.weights)
    if rows is None and recipe.batch_size == samples.inputs.shape[0] and run.order is None:
        samples = those_that_count(samples)
    run = run._replace(train=samples, rows=rows)
    whole = whole_of(own, run.held, recipe, outputs)

    per_member = functools.partial(_as_own_as, _of_member(run))
    start = per_member((run.state, goes_on(run.state, recipe)))
    epoch: Callable[..., Any] = _epoch if recipe.traced else _traced_once
    first = *start, jnp.zeros((), jnp.int32), run
    captured: list[Array] = []
    if recipe.traced:  # what a derivative is taken with respect to must be an argument
        epoch, captured = jax.closure_convert(epoch, *first)
    epoch = _passing_on_what_was_kept(epoch)

    def one(
        carry: tuple[TrainState, Bool[Array, ""]], place: Int[Array, ""]
    ) -> tuple[tuple[TrainState, Bool[Array, ""]], tuple[Bool[Array, ""], Seen]]:
        state, going = carry
        runs = going & (place < limit)
        state, ends, seen = jax.lax.cond(
            anyone(runs), whole_epoch, rest, state, runs, place, run, *captured
        )
        return (state, ends.going), (runs, seen)

    def whole_epoch(*args: Any) -> tuple[TrainState, Ends, Seen]:
        return per_member(epoch(*args))

    def rest(state: TrainState, runs: Array, *_: Any) -> tuple[TrainState, Ends, Seen]:
        seen = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), unseen)
        return per_member((state, Ends(runs, runs), seen))

    *_, unseen = jax.eval_shape(epoch, *first, *captured)
    # XLA takes a loop of one turn apart and rounds otherwise in what it makes of it: n epochs at
    # once and one at a time would differ. A second turn, which runs nothing, keeps it a loop.
    places = jnp.arange(max(2, epochs), dtype=jnp.int32)
    (state, _), (ran, each) = jax.lax.scan(one, start, places)

    def row(ran: Array, seen: Seen) -> History:
        own = summarize(seen, whole, recipe, classes=samples.targets.ndim == 1)
        absent = jnp.nan if mark else 0.0
        return jax.tree.map(lambda value: jnp.where(ran, value, absent), own)

    # XLA divides by a constant otherwise than by a variable.
    history = jax.vmap(row)(*jax.lax.optimization_barrier((ran, each)))
    history = jax.tree.map(lambda rows: rows[:epochs], history)
    return result_of(state, history, recipe), ran[:epochs]


def whole_of(samples: Samples, held: Samples | None, recipe: Recipe, outputs: int) -> Whole:
    """The sums of weights and targets over all samples, which no parameter changes."""
    dtype = _checks.float32_or_wider(samples.inputs.dtype)
    rows = as_rows(smooth(samples.targets, recipe, outputs, samples.inputs.dtype), outputs, dtype)
    weight = total(jnp.ones(rows.shape[:1], dtype), samples.weights)
    return Whole(weight, total(rows, samples.weights), weight_of(held, dtype))


def weight_of(held: Samples | None, dtype: Any) -> Any:
    """Σ wᵢ over the validation samples, if there are any."""
    return None if held is None else total(jnp.ones(held.inputs.shape[:1], dtype), held.weights)


# A run that begins and one that goes on are advanced by the same program.
compiled_begin = jax.jit(begin)
compiled_advance = jax.jit(advance, static_argnames=("epochs", "mark"))


@functools.cache
def compiled_advance_over(mesh: Mesh | None) -> Any:
    """`advance` with a part of each batch on each device of a mesh, compiled."""
    if mesh is None:
        return compiled_advance

    def over(run: Run, limit: Any, *, epochs: int, mark: bool = False) -> Any:
        def own(run: Run, limit: Any) -> Any:
            return advance(in_parts(run, mesh), limit, epochs=epochs, mark=mark)

        return on_each(own, mesh)(run, limit)

    return jax.jit(over, static_argnames=("epochs", "mark"))


def _of_member(run: Run) -> Bool[Array, ""]:
    """A value that is a member's own, or differs from device to device, where anything of it is."""
    firsts = []
    for leaf in jax.tree.leaves(run):
        if isinstance(leaf, jax.Array) and leaf.size:
            is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            firsts.append((jax.random.key_data(leaf) if is_key else leaf).ravel()[:1])
    return jnp.stack([first == first for first in firsts]).any()


def _as_own_as(flag: Bool[Array, ""], tree: Any) -> Any:
    """The same values, as much a member's own as `flag` is: branches and loops want one kind."""
    return jax.tree.map(lambda leaf: jnp.where(flag, leaf, leaf), tree)


@jax.custom_batching.custom_vmap
def anyone(flag: Bool[Array, ""]) -> Bool[Array, ""]:
    """Whether the flag is set for any member of the `vmap`s around: one answer for all of them."""
    return flag


@anyone.def_vmap
def _anyone_of_members(
    _: int, in_batched: list[bool], flags: Bool[Array, "..."]
) -> tuple[Bool[Array, ""], bool]:
    return anyone(flags.any(0) if in_batched[0] else flags), False


def _epoch(
    before: TrainState, runs: Bool[Array, ""], place: Int[Array, ""], run: Run
) -> tuple[TrainState, Ends, Seen]:
    """One epoch of a member that runs, the `place`-th of this call; the others stay as they are."""
    recipe, samples, shared = run.recipe, run.train, run.order is not None
    assert samples is not None
    assert recipe.batch_size is not None
    rows = run.rows
    if rows is None and recipe.batch_size == samples.inputs.shape[0]:
        own_key = step_key(run.key, before.epoch, 0)
        own_samples = own_share(recipe.batch_axis, *samples)
        after, sums = take_step(
            recipe, before, *own_samples, key=own_key, examined=True, shared=shared,
            units=run.units,
        )  # fmt: skip
    else:
        key, epoch = run.key, before.epoch
        if run.order is not None:
            key, epoch = run.order.key, run.order.epoch + place
        order = _order(key, epoch, samples.inputs.shape[0], rows)
        batches = _batches(order, samples.weights, recipe.batch_size, shared=shared)
        if rows is not None:
            place, own, weights = batches
            batches = place, rows.places[own], weights

        def step_on(
            state: TrainState, batch: tuple[Array, Array, Array | None], *, examined: bool = False
        ) -> tuple[TrainState, BatchSums]:
            place, index, weights = batch
            own_key = step_key(run.key, state.epoch, place)
            index, weights = own_share(recipe.batch_axis, index, weights)
            inputs, targets = samples.inputs[index], samples.targets[index]
            return take_step(
                recipe, state, inputs, targets, weights, key=own_key, examined=examined,
                shared=shared, units=run.units,
            )  # fmt: skip

        # One batch an epoch tells its health; on all of them it would cost a quarter of a small
        # step, and a branch in each of them still a tenth.
        first = jax.tree.map(lambda rows: rows[0], batches)
        others = jax.tree.map(lambda rows: rows[1:], batches)
        after, sums = step_on(before, first, examined=True)
        if recipe.fused:
            stepped = take_steps(recipe, after, samples.inputs, samples.targets, *others[1:])
            # A kernel does not say that what it gives differs from device to device.
            after, more = _as_own_as(_of_member(run), stepped)
        else:
            after, more = jax.lax.scan(step_on, after, others)
        sums = sums._replace(
            loss=sums.loss + more.loss.sum(), correct=sums.correct + more.correct.sum()
        )
    return close_epoch(before, after, sums, run, runs)


# Its shapes are asked for before it is run, and its operations stand in the program that asks.
_traced_once = jax.jit(_epoch, inline=True)


def _passing_on_what_was_kept(epoch: Callable[..., Any]) -> Callable[..., Any]:
    """An epoch whose derivative, if it was taken back, is that of leaving the state as it is.

    Its own derivative is not finite then, and a selection passes 0 times it on, which is NaN. So
    what the linear map of the tangents is made of, the values kept on the way there, is selected:
    where the epoch was taken back they are 1, and what comes of them is finite and not used.
    """

    @jax.custom_jvp
    def guarded(*args: Any) -> Any:
        return epoch(*args)

    @guarded.defjvp
    def differentiate(primals: Any, tangents: Any) -> Any:
        out, linear = jax.linearize(epoch, *primals)
        leaves, tree = jax.tree.flatten(tangents)
        moving = [leaf for leaf in leaves if leaf.dtype != jax.dtypes.float0]

        def along(*floats: Array) -> Any:
            rest = iter(floats)
            each = [leaf if leaf.dtype == jax.dtypes.float0 else next(rest) for leaf in leaves]
            return linear(*jax.tree.unflatten(tree, each))

        hoisted, values = jax.closure_convert(along, *moving)
        kept = out[1].kept
        values = [jnp.where(kept, value, jnp.ones_like(value)) for value in values]
        state, ends, seen = hoisted(*moving, *values)
        seen = jax.tree.map(lambda t: jnp.where(kept, t, jnp.zeros_like(t)), seen)
        return out, (state, ends, seen)

    return guarded


def close_epoch(
    before: TrainState, after: TrainState, sums: BatchSums, run: Run, runs: bool | Array = True
) -> tuple[TrainState, Ends, Seen]:
    """Ends an epoch: the state to go on from, how it ended, and what was seen.

    An epoch whose loss or parameters are not finite is taken back: the state is that before it.
    """
    recipe = run.recipe
    leaves = (sums.loss, *jax.tree.leaves(after.params))
    finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]).all() & runs
    after = after._replace(epoch=before.epoch + 1)
    seen = Seen.of(sums)
    if run.held is not None:
        params = result_params(after, recipe)
        loss, correct = validate(params, run)
        seen = seen._replace(validation_loss=loss, validation_correct=correct)
        value = reduce(loss, weight_of(run.held, loss.dtype), recipe.reduction)
        after = after._replace(best=_better(after, params, value, recipe))
    state = choose(finite, after, before)
    return state, Ends(finite, finite & goes_on(state, recipe)), seen


def those_that_count(samples: Samples) -> Samples:
    """Puts samples that count in the places of those of weight 0."""
    if samples.weights is None:
        return samples
    place = counted(samples.weights)
    return samples._replace(inputs=samples.inputs[place], targets=samples.targets[place])


def validate(params: Params, run: Run) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Σ wᵢ Cᵢ over the validation samples, and Σ wᵢ over those that are right, block by block.

    The last block begins so that it ends with the last sample; what the block before has seen
    already has weight 0 in it.
    """
    recipe, held, shared = run.recipe, run.held, run.order is not None
    assert held is not None
    samples = held.inputs.shape[0]
    blocks = math.ceil(samples / BLOCK)
    size = math.ceil(samples / blocks)

    def block_of(start: Array) -> tuple[Array, Array]:
        first = jnp.minimum(start, samples - size)
        block = jax.tree.map(lambda part: jax.lax.dynamic_slice_in_dim(part, first, size), held)
        if blocks * size > samples:
            fresh = (first + jnp.arange(size) >= start).astype(jnp.float32)
            weights = fresh if block.weights is None else block.weights * fresh
            block = block._replace(weights=weights)
        block = block if shared else those_that_count(block)
        inputs, targets, weights = own_share(recipe.batch_axis, *block)
        each, logits, _ = measure(
            params,
            inputs,
            targets,
            recipe.loss,
            without=weights if shared else None,
            units=by_entry(run.units, params),
            product=product_in(recipe.compute_dtype),
        )
        correct = metrics.predicted_class(logits) == metrics.target_class(targets)
        return total(each, weights), total(correct.astype(each.dtype), weights)

    losses, right = jax.lax.map(block_of, size * jnp.arange(blocks))
    loss, correct = summed(recipe.batch_axis, (losses.sum(), right.sum()))
    return loss, correct


def _better(state: TrainState, params: Params, value: Array, recipe: Recipe) -> Best:
    best = state.best
    assert best is not None  # `begin` has made room for it
    now = Best(params, value.astype(best.loss.dtype), state.epoch, best.measure)
    least = best.loss - jnp.asarray(recipe.min_delta, best.loss.dtype)
    return choose(now.loss < least, now, best)


def goes_on(state: TrainState, recipe: Recipe) -> Bool[Array, ""]:
    """Whether patience is left."""
    if recipe.patience is None or state.best is None:
        return jnp.ones((), bool)
    return state.epoch - state.best.epoch < recipe.patience


def result_params(state: TrainState, recipe: Recipe) -> Params:
    """The parameters, those the optimizer evaluates at, or a moving average."""
    if recipe.ema_decay is not None:
        return averaged_params(state, recipe.ema_decay)
    if recipe.eval_params is None:
        return state.params
    if recipe.coordinates == "plain":
        return recipe.eval_params(state.opt_state, state.params)
    return fold(recipe.eval_params(state.opt_state, unfold(state.params)))


def result_of(state: TrainState, history: History, recipe: Recipe) -> FitResult:
    """What a run returns: the best parameters where there are such, else those it has now."""
    params = result_params(state, recipe) if state.best is None else state.best.params
    return FitResult(params, state, history)


def choose(condition: Bool[Array, ""], one: Any, other: Any) -> Any:
    """One tree or the other, of the same structure."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def step_key(
    key: PRNGKeyArray, epoch: int | Int[Array, ""], step: int | Int[Array, ""]
) -> PRNGKeyArray:
    """Returns the key from which `fit` draws what one step drops out.

    Args:
        key: the JAX random key given to `fit`.
        epoch: the epoch, counted from 0.
        step: the step within the epoch, counted from 0.

    Returns:
        A JAX random key.

    >>> import jax
    >>> step_key(jax.random.key(0), 3, 5).shape
    ()
    """
    # The order of the samples is drawn from the epoch's key itself, at places counted from 0.
    own_key = jax.random.fold_in(jax.random.fold_in(key, epoch), 2**32 - 1)
    return jax.random.fold_in(own_key, step)


def epoch_order(key: PRNGKeyArray, epoch: int | Int[Array, ""], samples: int) -> Int[Array, " n"]:
    """Draws the order in which `fit` takes the samples in one epoch.

    The samples are sorted by random keys drawn from `jax.random.fold_in(key, epoch)`.

    Args:
        key: the JAX random key given to `fit`.
        epoch: the epoch, counted from 0.
        samples: n, how many samples there are.

    Returns:
        A permutation of 0 … n − 1, int32.

    >>> import jax
    >>> sorted(epoch_order(jax.random.key(0), 3, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    return _order(key, epoch, samples, None)


def _order(
    key: PRNGKeyArray, epoch: int | Int[Array, ""], samples: int, rows: Rows | None
) -> Int[Array, " n"]:
    """The order of one epoch: of the samples, or of a member's rows, what fills them up last."""
    # On a CPU XLA sorts one array of integers about eight times faster than pairs of key and
    # value, which is what `jax.random.permutation` sorts. So each place travels in the low bits of
    # its own key, and a further, stable round adds the random bits that did not fit, until no more
    # than one pair of samples is expected to tie.
    room = samples if rows is None else rows.places.shape[0]
    width = max(1, order_bits(room))
    rounds = math.ceil((2 * width - 1) / (32 - width))
    draws = jax.random.bits(jax.random.fold_in(key, epoch), (rounds, room), jnp.uint32)
    place = jnp.arange(room, dtype=jnp.uint32)
    if rows is not None and rows.number is not None:
        # What fewer samples would draw are the first of the same numbers, row after row.
        starts = jnp.arange(rounds, dtype=jnp.int32) * rows.number
        draws = draws.ravel()[starts[:, None] + jnp.arange(room, dtype=jnp.int32)[None]]
        last = jnp.uint32(2**32 - 1)
        draws = jnp.where(place[None] < rows.number.astype(jnp.uint32), draws, last)
    order = jnp.arange(room, dtype=jnp.int32)
    for draw in draws:
        order = order[jnp.sort((draw << width) | place) & jnp.uint32((1 << width) - 1)]
    return order


def draws_by_place(keys: PRNGKeyArray) -> bool:
    """Whether the first numbers that these keys draw do not depend on how many are drawn."""
    typed = jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
    kind = str(jax.random.key_impl(keys)) if typed else jax.config.values["jax_default_prng_impl"]
    return "threefry2x32" in kind and bool(jax.config.values["jax_threefry_partitionable"])


def order_bits(samples: int) -> int:
    """How many bits hold the place of a sample. Orders of as many bits are drawn alike."""
    return (samples - 1).bit_length()


def _batches(
    order: Int[Array, " n"],
    sample_weight: Float[Array, " n"] | None,
    batch_size: int,
    *,
    shared: bool,
) -> tuple[Int[Array, " steps"], Int[Array, "steps batch"], Float[Array, "steps batch"] | None]:
    """The place of each step, its samples, and their weights: None if all are 1.

    The last batch is filled up with sample 0 at weight 0.
    """
    samples = order.shape[0]
    steps = math.ceil(samples / batch_size)
    padding = (0, steps * batch_size - samples)
    shape = (steps, batch_size)
    weights = None
    if sample_weight is not None:
        weights = jnp.pad(sample_weight[order], padding).reshape(shape)
        order = order if shared else counted(sample_weight)[order]
    elif padding[1]:
        weights = jnp.pad(jnp.ones(samples), padding).reshape(shape)
    return jnp.arange(steps), jnp.pad(order, padding).reshape(shape), weights
