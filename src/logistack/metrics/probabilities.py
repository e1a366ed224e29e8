"""How far probabilities can be trusted: scores of them, and calibration."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from logistack import _checks, losses
from logistack._export import exported
from logistack.metrics.classes import require_pair, target_class


def brier_score(
    probabilities: Real[ArrayLike, "n out"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    weights: Real[ArrayLike, " n"] | None = None,
) -> Float[Array, ""]:
    """Computes the mean squared error of probabilities: Σᵢ wᵢ Σₖ (pᵢₖ − ŷᵢₖ)² / Σᵢ wᵢ.

    It is least, in expectation, for the true probabilities, and finite for any.

    Args:
        probabilities: `(n, out)`, of exclusive classes or of independent outputs; of one output,
            that of class 1. Two classes in two columns have twice the score of one column.
        targets: integer classes `(n,)`, or rows `(n, out)`.
        weights: how much each sample counts, `(n,)`; 1 each if None.

    Returns:
        A scalar from 0 to the number of outputs; to 2 for exclusive classes.

    Raises:
        ValueError: if shapes do not match, there is no sample, a value is out of range, or weights
            are negative or all zero.
        TypeError: if a dtype is not a real number's.

    Source: Brier 1950, "Verification of forecasts expressed in terms of probability".

    >>> print(brier_score(jnp.array([[0.75, 0.25], [0.5, 0.5]]), jnp.array([0, 1])))
    0.3125
    """
    probabilities, rows = _require_rows(probabilities, targets)
    return _mean(jnp.sum((probabilities - rows) ** 2, axis=1), weights)


def log_loss(
    probabilities: Real[ArrayLike, "n out"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    weights: Real[ArrayLike, " n"] | None = None,
    independent: bool = False,
) -> Float[Array, ""]:
    """Computes the mean cross-entropy of probabilities: −Σᵢ wᵢ Σₖ ŷᵢₖ ln pᵢₖ / Σᵢ wᵢ.

    For one network, the losses of its logits are more exact: a probability that was rounded to 0
    or 1 has no logarithm, and one such sample of the other class makes the loss infinite. This is
    for what has no logits, such as the probabilities of a committee.

    Args:
        probabilities: `(n, out)`; of one output, that of class 1.
        targets: integer classes `(n,)`, or rows `(n, out)`.
        weights: how much each sample counts, `(n,)`; 1 each if None.
        independent: whether the outputs are independent units, and each also has
            −(1 − ŷ) ln(1 − p), as one output always has.

    Returns:
        A scalar in nats.

    Raises:
        ValueError: if shapes do not match, there is no sample, a value is out of range, the rows of
            exclusive classes do not sum to 1, or weights are negative or all zero.
        TypeError: if a dtype is not a real number's.

    >>> print(log_loss(jnp.array([[0.5, 0.5], [0.25, 0.75]]), jnp.array([0, 1])).round(4))
    0.4904
    """
    probabilities, rows = _require_rows(probabilities, targets)
    independent = require_exclusive("probabilities", probabilities, independent)
    loss = jax.vmap(losses.cross_entropy)
    each = loss(probabilities, rows)
    return _mean(each + loss(1 - probabilities, 1 - rows) if independent else each, weights)


@exported
class Reliability(NamedTuple):
    """How often predictions of about one confidence are right, bin by bin.

    Attributes:
        confidence: the mean confidence of each bin's samples, `(bins,)`; NaN without samples.
        accuracy: the share of them whose class was predicted, `(bins,)`; NaN without samples.
        weight: how many samples each bin has, `(bins,)`, or the sum of their weights.
    """

    confidence: Float[Array, " bins"]
    accuracy: Float[Array, " bins"]
    weight: Float[Array, " bins"]


def reliability(
    probabilities: Real[ArrayLike, "n out"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    bins: int = 15,
    equal: str = "width",
    weights: Real[ArrayLike, " n"] | None = None,
) -> Reliability:
    """Computes what a reliability diagram shows: accuracy by confidence.

    The confidence of a prediction is the largest probability; of a single output p, which is that
    of class 1, the larger of p and 1 − p.

    Args:
        probabilities: `(n, out)`, of exclusive classes or of independent outputs.
        targets: integer classes `(n,)`, or rows `(n, out)` whose largest entry is the class.

    Other Arguments:
        bins: into how many the samples are put by their confidence.
        equal: `"width"` for the bins (0, 1/B], (1/B, 2/B], …, or `"mass"` for as many samples in
            each, up to those of equal confidence, which are together.
        weights: how much each sample counts, `(n,)`; 1 each if None.

    Returns:
        A `Reliability`, which `ls.plots.reliability` draws.

    Raises:
        ValueError: if shapes do not match, there is no sample, a value is out of range, `equal` is
            another word, or weights are negative or all zero.
        TypeError: if a dtype is not a real number's, or `bins` no integer.

    Source: Guo et al. 2017, "On calibration of modern neural networks", section 2.

    >>> shares = jnp.array([[0.75, 0.25], [0.625, 0.375], [0.125, 0.875], [0.0, 1.0]])
    >>> found = reliability(shares, jnp.array([0, 1, 1, 1]), bins=2, equal="mass")
    >>> print(found.confidence, found.accuracy, found.weight)
    [0.6875 0.9375] [0.5 1. ] [2. 2.]
    """
    probabilities, targets = _require_probabilities(probabilities, targets)
    bins = _checks.require_count("bins", bins, low=1)
    if equal not in ("width", "mass"):
        raise ValueError(f"equal: expected 'width' or 'mass', got {equal!r}")
    weights = _require_weights(weights, probabilities)
    return _binned(probabilities, target_class(targets), weights, bins, equal)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _binned(
    probabilities: Array, classes: Array, weights: Array, bins: int, equal: str
) -> Reliability:
    if probabilities.shape[1] == 1:
        probabilities = jnp.concatenate([1 - probabilities, probabilities], axis=1)
    confidence = jnp.max(probabilities, axis=1)
    correct = jnp.argmax(probabilities, axis=1) == classes
    if equal == "width":
        edges = jnp.asarray(np.arange(1, bins) / bins, confidence.dtype)
        place = jnp.searchsorted(edges, confidence)
    else:
        order = jnp.argsort(confidence)
        before = jnp.cumsum(weights[order]) - weights[order]
        lower = before[jnp.searchsorted(confidence[order], confidence)]
        # Products alone, which are exact of whole numbers: a compiled quotient is not.
        edges = jnp.arange(1, bins) * weights.sum()
        place = jnp.searchsorted(edges, lower * bins, side="right")

    def sums(values: Array) -> Array:
        return jnp.zeros(bins, weights.dtype).at[place].add(weights * values)

    total = sums(jnp.ones_like(weights))
    return Reliability(sums(confidence) / total, sums(correct) / total, total)


def expected_calibration_error(
    probabilities: Real[ArrayLike, "n out"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    bins: int = 15,
    equal: str = "width",
    weights: Real[ArrayLike, " n"] | None = None,
) -> Float[Array, ""]:
    """Computes by how much confidence and accuracy differ, over bins: `Σ_b n_b/n |acc_b − conf_b|`.

    It is biased, and so no measure of a network by itself, but one to compare networks by, over
    the same samples and bins. Upward, since a bin's accuracy is that of few samples, which differs
    from its confidence by chance: for a network that is calibrated it is about √(2/π) times the
    standard error of a bin's accuracy, and so grows with the number of bins and falls with √n.
    Downward, since within a bin too high and too low confidences cancel. Nor does a small one mean
    much by itself: whoever gives every sample the shares of the classes is calibrated.

    Arguments, errors and what the confidence is are those of `reliability`.

    Returns:
        A scalar between 0 and 1.

    Source: Guo et al. 2017, "On calibration of modern neural networks", equation 3 (bins of equal
    width); Nguyen & O'Connor 2015, "Posterior calibration and exploratory analysis for natural
    language processing models" (of equal mass); Roelofs et al. 2022, "Mitigating bias in
    calibration error estimation", and Kumar et al. 2019, "Verified uncertainty calibration" (bias).

    >>> shares = jnp.array([[0.75, 0.25], [0.625, 0.375], [0.125, 0.875], [0.0, 1.0]])
    >>> print(expected_calibration_error(shares, jnp.array([0, 1, 1, 1]), bins=2, equal="mass"))
    0.125
    """
    found = reliability(probabilities, targets, bins=bins, equal=equal, weights=weights)
    gaps = jnp.where(found.weight > 0, jnp.abs(found.accuracy - found.confidence), 0)
    return jnp.sum(found.weight * gaps) / jnp.sum(found.weight)


def require_exclusive(name: str, probabilities: jax.Array, independent: bool) -> bool:
    """Returns whether outputs are independent, after checking that exclusive ones sum to 1."""
    if independent or probabilities.shape[-1] == 1:
        return True
    sums = probabilities.sum(axis=-1, dtype=jnp.float32)
    limits = _checks.range_of(jnp.where(jnp.isnan(sums), 1, sums))
    if limits is not None and not 0.99 <= limits[0] <= limits[1] <= 1.01:
        raise ValueError(
            f"{name}: expected those of exclusive classes, which sum to 1, got sums from "
            f"{limits[0]:.3g} to {limits[1]:.3g}: independent=True is for outputs of σ"
        )
    return False


def _require_probabilities(probabilities: Any, targets: Any) -> tuple[jax.Array, jax.Array]:
    probabilities, targets = require_pair("probabilities", probabilities, targets)
    _checks.require_range("probabilities", probabilities, 0, 1, "values")
    return probabilities.astype(_checks.float32_or_wider(probabilities.dtype)), targets


def _require_rows(probabilities: Any, targets: Any) -> tuple[jax.Array, jax.Array]:
    """Probabilities and a row of targets for each sample."""
    probabilities, targets = _require_probabilities(probabilities, targets)
    width = probabilities.shape[1]
    if targets.ndim == 2:
        _checks.require_range("targets", targets, 0, 1, "values")
    elif width == 1:
        targets = targets[:, None]
    else:
        targets = jax.nn.one_hot(targets, width)
    return probabilities, targets.astype(probabilities.dtype)


def _require_weights(weights: Any, probabilities: jax.Array) -> jax.Array:
    samples = probabilities.shape[0]
    if weights is None:
        return jnp.ones(samples, probabilities.dtype)
    return _checks.require_weights("weights", weights, samples).astype(probabilities.dtype)


def _mean(values: Float[Array, " n"], weights: Any) -> Float[Array, ""]:
    weights = _require_weights(weights, values)
    # What does not count may be infinite.
    return jnp.sum(jnp.where(weights > 0, weights * values, 0)) / jnp.sum(weights)
