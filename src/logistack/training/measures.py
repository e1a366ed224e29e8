"""What training sees: the loss of every sample, sums over batches, and one row an epoch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Real

from logistack import _checks, losses, metrics
from logistack._brief import brief
from logistack._export import exported
from logistack._static import Static
from logistack.layers import Layer, Params, depth_of, is_stack
from logistack.network import Masks, propagate
from logistack.training.recipe import Loss, Recipe
from logistack.training.state import TrainState


@exported
class BatchSums(NamedTuple):
    """What one step saw, before its update; sums, so that batches of any size add up.

    Attributes:
        loss: Σ wᵢ Cᵢ over the samples of the batch, a scalar.
        correct: Σ wᵢ over those classified correctly, a scalar.
        weight: Σ wᵢ, a scalar.
        target: Σ wᵢ ŷᵢ, classes as rows, `(out,)`.
        examined: Σ wᵢ over the samples that `saturated` is about, a scalar: all, or none.
        saturated: Σ wᵢ times the share of units whose activation is below 0.02 or above 0.98, by
            layer, `(layers,)`.
        gradient_square: the squared norm of the gradient by layer, `(layers,)`.
    """

    def __repr__(self) -> str:
        return brief(self)

    loss: Float[Array, ""]
    correct: Float[Array, ""]
    weight: Float[Array, ""]
    target: Float[Array, " out"]
    examined: Float[Array, ""]
    saturated: Float[Array, " layers"]
    gradient_square: Float[Array, " layers"]


class Seen(NamedTuple):
    """What one epoch saw, so far as it depends on the parameters.

    Attributes:
        loss: Σ wᵢ Cᵢ over the epoch, a scalar.
        correct: Σ wᵢ over the samples classified correctly, a scalar.
        gradient_square: the squared norm of the gradient by layer, `(layers,)`.
        saturated: the share of saturated units by layer, `(layers,)`.
        validation_loss: Σ wᵢ Cᵢ over the validation samples, if there are any.
        validation_correct: Σ wᵢ over those classified correctly.
    """

    loss: Float[Array, ""]
    correct: Float[Array, ""]
    gradient_square: Float[Array, " layers"]
    saturated: Float[Array, " layers"]
    validation_loss: Float[Array, ""] | None = None
    validation_correct: Float[Array, ""] | None = None

    @classmethod
    def of(cls, sums: BatchSums) -> "Seen":
        """What the steps of an epoch saw."""
        shares = reduce(sums.saturated, sums.examined, "mean")
        return cls(sums.loss, sums.correct, sums.gradient_square, shares)


class Whole(NamedTuple):
    """What an epoch's sums are parts of, the same in every epoch.

    Attributes:
        weight: Σ wᵢ, a scalar.
        target: Σ wᵢ ŷᵢ, classes as rows, `(out,)`.
        validation_weight: Σ wᵢ over the validation samples, if there are any.
    """

    weight: Float[Array, ""]
    target: Float[Array, " out"]
    validation_weight: Float[Array, ""] | None


@exported
class History(NamedTuple):
    """One row an epoch. Each batch is measured before its own update.

    An epoch that did not run, because the run had stopped, has a row of NaN (of 0 within a trace
    where JAX is asked to find NaN, by `jax_debug_nans`). With a leading axis
    everywhere it is the history of as many members.

    Attributes:
        loss: the loss over the epoch's samples, summed or averaged as `reduction` says,
            `(epochs,)`; with dropout and smoothing, as the step computes it.
        accuracy: the share of samples classified correctly, `(epochs,)`.
        gradient_norm: each layer's norm of the gradient, weight and bias together, on the
            epoch's first batch, `(epochs, layers)`.
        saturated: the share of units whose activation is below 0.02 or above 0.98, on that batch,
            by layer, the output's being the last, `(epochs, layers)`.
        stuck: 1 where the loss is within 1% of that of predicting every sample to have the
            classes' frequencies, else 0, `(epochs,)`; its mean over members is the share of them
            that are stuck at the base rate.
        validation_loss: the loss on the validation samples after the epoch, summed or averaged
            likewise, `(epochs,)`; None without them.
        validation_accuracy: the share of these classified correctly, `(epochs,)`.
    """

    def __repr__(self) -> str:
        return brief(self)

    loss: Float[Array, " epochs"]
    accuracy: Float[Array, " epochs"]
    gradient_norm: Float[Array, "epochs layers"]
    saturated: Float[Array, "epochs layers"]
    stuck: Float[Array, " epochs"]
    validation_loss: Float[Array, " epochs"] | None = None
    validation_accuracy: Float[Array, " epochs"] | None = None


def measure(
    params: Params,
    inputs: Float[Array, "n in"],
    targets: Real[Array, "n out"] | Int[Array, " n"],
    loss: Loss,
    *,
    masks: Masks | None = None,
    without: Float[Array, " n"] | None = None,
    **options: Any,
) -> tuple[Float[Array, " n"], Float[Array, "n out"], list[Array]]:
    """Every sample's loss and logits in float32 or wider, and what is observed.

    With weights in `without`, samples of weight 0 are left out where the inputs cannot be replaced
    as by `counted`: they have logits 0, which depend on nothing, and the target of one that counts.
    `options` are those of `propagate`.
    """

    def one(x: Array, masks: Masks | None) -> tuple[Array, list[Array]]:
        return propagate(params, x, masks=masks, **options)

    logits, observed = jax.vmap(one)(inputs, masks)
    # Half-precision sums over a data set would lose whole samples.
    wide = _checks.float32_or_wider(logits.dtype)
    logits = logits.astype(wide)
    if without is not None:
        logits = jnp.where(without[:, None] > 0, logits, 0.0)
        targets = targets[counted(without)]
    try:
        each = jax.vmap(loss)(logits, targets)
    except (IndexError, TypeError, ValueError) as error:
        given = loss.value if isinstance(loss, Static) else loss
        if getattr(given, "__module__", None) == losses.__name__:  # says itself what it expects
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"loss: expected a function of one sample, its logits {logits.shape[1:]} and target "
            f"{targets.shape[1:]}, got {type(error).__name__}: {error}"
        ) from error
    if not isinstance(each, jax.Array):
        raise TypeError(f"loss: expected one scalar a sample, got {type(each).__name__}")
    if each.shape != inputs.shape[:1]:
        raise ValueError(f"loss: expected one scalar a sample, got shape {each.shape[1:]}")
    return each.astype(wide), logits, observed


def weigh(
    weights: Array | None, targets: Array, recipe: Recipe, params: Params
) -> Float[Array, " n"] | None:
    """The samples' weights times those of their classes; None if all are 1."""
    factors = recipe.class_weight
    if factors is None:
        return weights
    outputs = params[-1].weight.shape[-2]
    dtype = _checks.float32_or_wider(params[0].weight.dtype)
    classes = metrics.target_class(targets)
    if isinstance(factors, Static):  # "balanced"
        own = jnp.ones(classes.shape, dtype) if weights is None else weights
        factors = balanced(classes, own, metrics.class_count(outputs))
    own = factors[classes]
    return own if weights is None else weights * own


def balanced(
    classes: Int[Array, " n"], own: Float[Array, " n"], count: int
) -> Float[Array, " classes"]:
    """Factors that give every class the same weight, and all together the weight they have."""
    totals = jnp.zeros(count, own.dtype).at[classes].add(own)
    present = totals > 0
    share = own.sum() / present.sum().astype(own.dtype)
    return jnp.where(present, share / jnp.where(present, totals, jnp.ones_like(totals)), 0.0)


def counted(weights: Float[Array, " n"]) -> Int[Array, " n"]:
    """Where each sample is, or, in place of one of weight 0, one that counts.

    A sample that does not count may hold anything. Its loss and gradient are those of another,
    times 0, and 0 times what it holds is never computed: 0 · ∞ is not 0.
    """
    return jnp.where(weights > 0, jnp.arange(weights.shape[0]), jnp.argmax(weights))


def as_rows(targets: Array, outputs: int, dtype: Any) -> Float[Array, "n out"]:
    """Targets as rows as wide as the output, integer classes among them."""
    if targets.ndim == 2:
        return targets.astype(dtype)
    if outputs == 1:
        return targets.astype(dtype)[:, None]
    return jax.nn.one_hot(targets, outputs, dtype=dtype)


def smooth(targets: Array, recipe: Recipe, outputs: int, dtype: Any) -> Array:
    """The targets of a step: as they are, or rows moved by a share of the way toward 1 / K."""
    if recipe.label_smoothing is None:
        return targets
    rows = as_rows(targets, outputs, dtype)
    smoothing = jnp.asarray(recipe.label_smoothing, rows.dtype)
    return rows + smoothing * (1 / metrics.class_count(outputs) - rows)


def total(values: Float[Array, "n ..."], weights: Array | None) -> Array:
    """Σ wᵢ vᵢ over samples."""
    return values.sum(0) if weights is None else weights.astype(values.dtype) @ values


def reduce(total: Array, weight: Array, reduction: str) -> Array:
    """The total, or the mean; a batch whose samples all have weight 0 has mean 0."""
    if reduction == "sum":
        return total
    return total / jnp.where(weight > 0, weight, jnp.ones_like(weight))


def share_saturated(a: Float[Array, "*n width"]) -> Float[Array, "*n"]:
    """The share of units whose activation is below 0.02 or above 0.98, where σ′ is below 0.02."""
    return jnp.mean(jnp.abs(a.astype(jnp.float32) - 0.5) > 0.48, axis=-1)


def squared_norms(gradient: Params) -> Float[Array, " layers"]:
    """The squared norm of each layer's gradient, a stack counting as its `depth` layers."""

    def of(layer: Layer) -> Array:
        own = (1, 2) if is_stack(layer) else (0, 1)
        return jnp.sum(layer.weight**2, axis=own) + jnp.sum(layer.bias**2, axis=-1)

    wide = jax.tree.map(lambda g: g.astype(_checks.float32_or_wider(g.dtype)), gradient)
    return jnp.concatenate([of(layer).reshape(-1) for layer in wide])


def no_sums(params: Params) -> BatchSums:
    """The sums over no batch."""
    dtype = _checks.float32_or_wider(params[0].weight.dtype)
    zero, layers = jnp.zeros((), dtype), jnp.zeros(sum(map(depth_of, params)), dtype)
    outputs = jnp.zeros(params[-1].weight.shape[-2], dtype)
    return BatchSums(zero, zero, zero, outputs, zero, layers, layers)


def summarize(seen: Any, whole: Whole, recipe: Recipe, *, classes: bool) -> History:
    """One epoch's row; `classes` says that targets are integers."""
    as_classes = classes and recipe.label_smoothing is None
    base = whole.weight * base_rate_loss(recipe.loss, whole.target / whole.weight, as_classes)
    row = History(
        loss=reduce(seen.loss, whole.weight, recipe.reduction),
        accuracy=seen.correct / whole.weight,
        gradient_norm=_root(seen.gradient_square),
        saturated=seen.saturated,
        stuck=(jnp.abs(seen.loss - base) <= 0.01 * base).astype(seen.loss.dtype),
    )
    weight: Any = whole.validation_weight
    if weight is None:
        return row
    return row._replace(
        validation_loss=reduce(seen.validation_loss, weight, recipe.reduction),
        validation_accuracy=reduce(seen.validation_correct, weight, "mean"),
    )


def _root(square: Array) -> Array:
    """√x, whose derivative at 0, where an epoch did not run, is 0 rather than ∞."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, jnp.ones_like(square))), square)


def no_history(state: TrainState) -> History:
    """The history of no epoch."""
    dtype = _checks.float32_or_wider(state.params[0].weight.dtype)
    numbers, layers = jnp.zeros(0, dtype), jnp.zeros((0, sum(map(depth_of, state.params))), dtype)
    validated = None if state.best is None else numbers
    return History(numbers, numbers, layers, layers, numbers, validated, validated)


def base_rate_loss(loss: Loss, frequencies: Float[Array, " out"], classes: bool) -> Array:
    """The mean loss of answering every sample with the frequencies of the classes.

    The logits that mean these frequencies are log p for a softmax and log p − log(1 − p) for
    logistic units: whichever loses less. A loss of rows is taken to be linear in the target, as
    cross-entropies are.
    """
    epsilon = 1e-7 if frequencies.dtype == jnp.float32 else 1e-15
    p = jnp.clip(frequencies, epsilon, 1 - epsilon)

    def at(logits: Array) -> Array:
        if not classes:
            return loss(logits, jnp.clip(frequencies, 0, 1))
        shares = jnp.stack([1 - p[0], p[0]]) if p.shape == (1,) else p
        each = jax.vmap(lambda label: loss(logits, label))(jnp.arange(shares.shape[0]))
        return shares @ each

    return jnp.minimum(at(jnp.log(p)), at(jnp.log(p) - jnp.log1p(-p)))
