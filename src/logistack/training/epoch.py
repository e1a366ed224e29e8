"""What ends an epoch: validation, the best parameters so far, and whether to go on."""

import math
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from logistack import _checks, metrics
from logistack.layers import Params
from logistack.training.arguments import Loss, Program, Recipe, require_samples
from logistack.training.state import (
    BatchSums,
    Best,
    TrainState,
    ValidationSums,
    averaged_params,
)
from logistack.training.step import measure, reduce, require_product

Validation: TypeAlias = (
    Real[ArrayLike, " n"]
    | tuple[ArrayLike, ArrayLike]
    | tuple[ArrayLike, ArrayLike, Real[ArrayLike, " n"]]
)
Blocks: TypeAlias = tuple[Array, Array, Array]

# As many samples are validated at once: their activations then stay in a CPU's cache.
BLOCK = 1024


class Epoch(NamedTuple):
    """What one epoch saw."""

    seen: BatchSums
    validation: ValidationSums | None


def require_validation(
    validation: Any, params: Params, loss: Loss, *, samples: tuple[Array, Array] | None
) -> Blocks | None:
    """Returns inputs, targets and weights in blocks; `samples` are those of weights alone."""
    if validation is None:
        return None
    weights = None
    if isinstance(validation, tuple | list):
        if len(validation) not in (2, 3):
            raise ValueError(
                f"validation: expected (inputs, targets), or these and their weights, got "
                f"{len(validation)} parts"
            )
        inputs, targets, *more = validation
        inputs, targets = require_samples(params, inputs, targets, loss, of="validation ")
        weights = more[0] if more else None
    elif samples is None:
        raise TypeError(f"validation: expected (inputs, targets), got {type(validation).__name__}")
    else:
        (inputs, targets), weights = samples, validation
    if weights is None:
        weights = jnp.ones(inputs.shape[0])
    weights = _checks.require_weights("validation weights", weights, inputs.shape[0])
    blocks = math.ceil(inputs.shape[0] / BLOCK)
    size = math.ceil(inputs.shape[0] / blocks)

    def split(array: Array, mode: str) -> Array:
        padding = [(0, blocks * size - array.shape[0])] + [(0, 0)] * (array.ndim - 1)
        return jnp.pad(array, padding, mode=mode).reshape(blocks, size, *array.shape[1:])

    # What fills up the last block is the last sample again, at weight 0.
    return split(inputs, "edge"), split(targets, "edge"), split(weights, "constant")


def validate(params: Params, blocks: Blocks, program: Program) -> ValidationSums:
    """Measures parameters on the validation samples."""
    product = require_product(program.compute_dtype)

    def add(sums: ValidationSums, block: Blocks) -> tuple[ValidationSums, None]:
        inputs, targets, weights = block
        each, logits, _ = measure(params, inputs, targets, program.loss, product=product)
        weights = weights.astype(each.dtype)
        correct = metrics.predicted_class(logits) == metrics.target_class(targets)
        seen = ValidationSums(weights @ each, weights @ correct.astype(each.dtype), weights.sum())
        return jax.tree.map(jnp.add, sums, seen), None

    zero = jnp.zeros((), _checks.float32_or_wider(params[0].weight.dtype))
    return jax.lax.scan(add, ValidationSums(zero, zero, zero), blocks)[0]


def close_epoch(
    before: TrainState,
    after: TrainState,
    seen: BatchSums,
    blocks: Blocks | None,
    recipe: Recipe,
    program: Program,
) -> tuple[TrainState, Bool[Array, ""], Epoch]:
    """Ends an epoch: the state to go on from, whether to go on, and what was seen.

    An epoch whose loss or parameters are not finite is taken back: the state is that before it.
    """
    leaves = (seen.loss, *jax.tree.leaves(after.params))
    finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]).all()
    after = after._replace(epoch=before.epoch + 1)
    measured = None
    if blocks is not None:
        params = result_params(after, recipe.ema_decay)
        measured = validate(params, blocks, program)
        value = reduce(measured.loss, measured.weight, program.reduction)
        after = after._replace(best=_better(after, params, value, recipe))
    state = choose(finite, after, before)
    return state, finite & goes_on(state, recipe), Epoch(seen, measured)


def _better(state: TrainState, params: Params, value: Array, recipe: Recipe) -> Best:
    best = state.best
    assert best is not None  # `require_state` has made room for it
    now = Best(params, value.astype(best.loss.dtype), state.epoch)
    return choose(now.loss < best.loss - recipe.min_delta.astype(best.loss.dtype), now, best)


def goes_on(state: TrainState, recipe: Recipe) -> Bool[Array, ""]:
    """Whether patience is left."""
    if recipe.patience is None or state.best is None:
        return jnp.ones((), bool)
    return state.epoch - state.best.epoch < recipe.patience


def result_params(state: TrainState, decay: Float[Array, ""] | None) -> Params:
    """The parameters, or their moving average."""
    return state.params if decay is None else averaged_params(state, decay)


def choose(condition: Bool[Array, ""], one: Any, other: Any) -> Any:
    """One tree or the other, of the same structure."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
