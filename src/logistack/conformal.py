"""Prediction sets that hold the true class as often as was asked, whatever the network is worth.

Split conformal prediction: samples that the network was not trained on say which classes a set
must have. All that is assumed is that they and the samples to come are exchangeable.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from logistack import _checks
from logistack.metrics.classes import require_pair, target_class

# Of one sample's probabilities, a score of each class: the less, the likelier.
Score: TypeAlias = Callable[[Array], Array]


def least_ambiguous(probabilities: Float[Array, " classes"]) -> Float[Array, " classes"]:
    """Scores the classes of one sample by 1 − pₖ, which makes the smallest sets on average.

    Hard samples are missed more often than easy ones for it, and a set may be empty.

    Source: Sadinle, Lei & Wasserman 2019, "Least ambiguous set-valued classifiers with bounded
    error levels".

    >>> print(least_ambiguous(jnp.array([0.5, 0.25, 0.25])))
    [0.5  0.75 0.75]
    """
    return 1 - probabilities


def adaptive(probabilities: Float[Array, " classes"]) -> Float[Array, " classes"]:
    """Scores the classes of one sample by the sum of the probabilities that are above pₖ.

    A set has the likeliest classes up to a sum, and so is larger where the network is less sure,
    and never empty. It is the score of the source without its random part, by which a set loses
    its last class at times. Where the network is right more often than 1 − α, so are the sets.

    Source: Romano, Sesia & Candès 2020, "Classification with valid and adaptive coverage".

    >>> print(adaptive(jnp.array([0.5, 0.25, 0.25])))
    [0.  0.5 0.5]
    """
    above = probabilities[None] > probabilities[:, None]
    return jnp.sum(jnp.where(above, probabilities[None], 0), axis=1)


def threshold(
    probabilities: Real[ArrayLike, "n classes"],
    targets: Int[ArrayLike, " n"],
    *,
    alpha: float = 0.1,
    score: Score = least_ambiguous,
) -> Float[Array, ""]:
    """Computes up to which score a class belongs to a set: the ⌈(n + 1)(1 − α)⌉-th smallest of n.

    These are the scores of the true classes of n samples that had no part in training the network
    or in choosing it. Then a set of the next sample holds its class with probability of at least
    1 − α, over the draw of all n + 1 samples. For one such draw of n, the share of sets that do
    differs from 1 − α by chance, about √(α (1 − α) / n): `coverage` measures it.

    Args:
        probabilities: `(n, classes)`; of one column, that of class 1.
        targets: integer classes `(n,)`, or rows `(n, classes)` whose largest entry is the class.

    Other Arguments:
        alpha: how often a set may miss the class, above 0 and below 1, as the decimal that it
            prints as.
        score: a function of one sample's probabilities `(classes,)` that gives a score of each
            class, the less the likelier: `least_ambiguous`, `adaptive` or one's own.

    Returns:
        A scalar; ∞ where n is less than 1/α − 1, too small for any other to be enough: every set
        has all classes then.

    Raises:
        ValueError: if shapes do not match, there is no sample, or a value is out of range.
        TypeError: if a dtype is not a real number's.

    Source: Vovk, Gammerman & Shafer 2005, "Algorithmic learning in a random world"; Angelopoulos &
    Bates 2023, "Conformal prediction: a gentle introduction", section 1.

    >>> shares = jnp.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]])
    >>> print(threshold(shares, jnp.array([0, 0, 1]), alpha=0.25))
    0.5
    """
    probabilities = _require_probabilities(probabilities, targets)
    alpha = _checks.require_inside("alpha", alpha)
    scores = jax.vmap(score)(probabilities)
    own = jnp.take_along_axis(scores, target_class(targets)[:, None], axis=1)[:, 0]
    # In binary, 10 · (1 − 0.1) would round up to 10.
    rank = math.ceil((len(own) + 1) * (1 - Fraction(repr(alpha))))
    return jnp.sort(own)[rank - 1] if rank <= len(own) else jnp.full((), jnp.inf, own.dtype)


def prediction_set(
    probabilities: Real[ArrayLike, " classes"],
    threshold: Real[ArrayLike, ""],
    *,
    score: Score = least_ambiguous,
) -> Bool[Array, " classes"]:
    """Returns which classes of one sample have scores up to the threshold.

    Args:
        probabilities: `(classes,)`; a single one is that of class 1.
        threshold: what the function of that name found.
        score: the one that it was found with.

    Returns:
        Whether each class is in the set, `(classes,)`; `(2,)` for a single probability.

    Raises:
        ValueError: if a shape does not fit, or a value is out of range.
        TypeError: if a dtype is not a real number's.

    >>> shares = jnp.array([[0.75, 0.25], [0.5, 0.5]])
    >>> print(jax.vmap(prediction_set, (0, None))(shares, 0.5))
    [[ True False]
     [ True  True]]
    """
    probabilities = _checks.require_numeric("probabilities", probabilities)
    if probabilities.ndim != 1 or not probabilities.size:
        hint = " (this takes one sample: use jax.vmap)" if probabilities.ndim == 2 else ""
        raise ValueError(
            f"probabilities: expected shape (classes,), got {probabilities.shape}{hint}"
        )
    _checks.require_range("probabilities", probabilities, 0, 1, "values")
    threshold = _checks.require_numeric("threshold", threshold)
    if threshold.ndim:
        raise ValueError(f"threshold: expected a scalar, got shape {threshold.shape}")
    return score(_of_classes(probabilities)) <= threshold


class Coverage(NamedTuple):
    """How often sets hold the true class, measured.

    Attributes:
        share: of the samples, those whose set does.
        low: where the interval for the probability begins.
        high: where it ends.
        size: how many classes a set has, on average.
        empty: the share of sets that have none.
        samples: how many samples there are.
    """

    share: float
    low: float
    high: float
    size: float
    empty: float
    samples: int


def coverage(
    sets: Bool[ArrayLike, "n classes"],
    targets: Int[ArrayLike, " n"],
    *,
    confidence: float = 0.95,
) -> Coverage:
    """Measures how often sets hold the true class, over samples that had no part in them.

    Args:
        sets: for each sample, whether each class is in its set, `(n, classes)`.
        targets: integer classes `(n,)`, or rows `(n, classes)` whose largest entry is the class.
        confidence: of the interval.

    Returns:
        A `Coverage`, with the interval of Clopper and Pearson for the probability.

    Raises:
        ValueError: if shapes do not match, there is no sample, or a class is out of range.
        TypeError: if `sets` are not booleans.

    Source: Clopper & Pearson 1934, "The use of confidence or fiducial limits".

    >>> sets = jnp.array([[True, False], [True, True], [True, False], [False, False]])
    >>> found = coverage(sets, jnp.array([0, 1, 0, 0]))
    >>> print(f"{found.share} ({found.low:.2f} to {found.high:.2f}), of size {found.size}")
    0.75 (0.19 to 0.99), of size 1.0
    """
    from scipy import stats

    rows = _checks.require_numeric("sets", sets)
    if rows.dtype != bool:
        raise TypeError(f"sets: expected booleans, got dtype {rows.dtype}")
    rows, targets = require_pair("sets", rows, targets)
    confidence = _checks.require_inside("confidence", confidence)
    own = np.asarray(rows)
    held = own[np.arange(len(own)), np.asarray(target_class(targets))]
    interval = stats.binomtest(int(held.sum()), len(own)).proportion_ci(confidence)
    return Coverage(
        float(held.mean()),
        float(interval.low),
        float(interval.high),
        float(own.sum(axis=1).mean()),
        float((~own.any(axis=1)).mean()),
        len(own),
    )


def _require_probabilities(probabilities: Any, targets: Any) -> Float[Array, "n classes"]:
    rows, _ = require_pair("probabilities", probabilities, targets)
    _checks.require_range("probabilities", rows, 0, 1, "values")
    return _of_classes(rows)


def _of_classes(probabilities: Real[Array, "... out"]) -> Float[Array, "... classes"]:
    """Of a single output, a probability for either class."""
    probabilities = probabilities.astype(_checks.float32_or_wider(probabilities.dtype))
    if probabilities.shape[-1] > 1:
        return probabilities
    return jnp.concatenate([1 - probabilities, probabilities], axis=-1)
