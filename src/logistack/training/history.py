"""What a run saw, epoch by epoch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from logistack import _checks
from logistack.layers import depth_of
from logistack.training.arguments import Loss
from logistack.training.state import BatchSums, TrainState, ValidationSums
from logistack.training.step import reduce


class History(NamedTuple):
    """One row an epoch. Each batch is measured before its own update.

    An epoch that did not run, because the run had stopped, has a row of NaN. With a leading axis
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

    loss: Float[Array, " epochs"]
    accuracy: Float[Array, " epochs"]
    gradient_norm: Float[Array, "epochs layers"]
    saturated: Float[Array, "epochs layers"]
    stuck: Float[Array, " epochs"]
    validation_loss: Float[Array, " epochs"] | None = None
    validation_accuracy: Float[Array, " epochs"] | None = None


def summarize(
    seen: BatchSums,
    validation: ValidationSums | None,
    *,
    loss: Loss,
    reduction: str,
    classes: bool,
) -> History:
    """One epoch's row from the sums over its batches; `classes` says that targets are integers."""
    base = seen.weight * base_rate_loss(loss, seen.target / seen.weight, classes)
    stuck = (jnp.abs(seen.loss - base) <= 0.01 * base).astype(seen.loss.dtype)
    row = History(
        loss=reduce(seen.loss, seen.weight, reduction),
        accuracy=seen.correct / seen.weight,
        gradient_norm=jnp.sqrt(seen.gradient_square),
        saturated=reduce(seen.saturated, seen.examined, "mean"),
        stuck=jnp.where(jnp.isnan(seen.weight), seen.weight, stuck),
    )
    if validation is None:
        return row
    return row._replace(
        validation_loss=reduce(validation.loss, validation.weight, reduction),
        validation_accuracy=validation.correct / validation.weight,
    )


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
