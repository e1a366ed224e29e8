"""Samples held out, as rows of weights, and the candidate with the fewest errors."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Int, PRNGKeyArray, Real

from logistack import _checks


def folds(key: PRNGKeyArray, labels: Int[ArrayLike, " n"], count: int) -> Bool[Array, "count n"]:
    """Draws stratified folds: which samples each of them holds out.

    Every sample is held out by one fold. The folds are as even as can be, in every class and in
    all: two of them differ by one sample at most. A row is a weight for `fit`, so that folds copy
    no data and can be members of a `vmap`: `sample_weight=~row, validation=row`. The first row of
    `folds(key, labels, 6)` is a sixth of the samples to hold out once.

    Args:
        key: a JAX random key.
        labels: the class of each sample, integers `(n,)`.
        count: how many folds, from 2 to n.

    Returns:
        For each fold, whether a sample is held out.

    Raises:
        ValueError: if a shape or the count does not fit.
        TypeError: if the labels are not integers, or the count is none.

    >>> held_out = folds(jax.random.key(0), jnp.array([0, 0, 0, 0, 1, 1]), 2)
    >>> print(held_out.sum(axis=0), held_out.sum(axis=1), held_out[:, 4:].sum(axis=1))
    [1 1 1 1 1 1] [3 3] [1 1]
    """
    order = _class_after_class(key, labels)
    samples = order.shape[0]
    count = _checks.require_count("count", count, low=2, high=samples)
    fold = jnp.zeros(samples, int).at[order].set(jnp.arange(samples) % count)
    return fold[None] == jnp.arange(count)[:, None]


def hold_out(key: PRNGKeyArray, labels: Int[ArrayLike, " n"], share: float) -> Bool[Array, " n"]:
    """Draws a share of the samples to hold out, stratified.

    There are round(n · share) of them, and of each class as many as its own share of these, up to
    one. The row is a weight for `fit`: `sample_weight=~row, validation=row`.

    Args:
        key: a JAX random key.
        labels: the class of each sample, integers `(n,)`.
        share: how many of the samples, above 0 and below 1.

    Returns:
        Whether each sample is held out.

    Raises:
        ValueError: if a shape does not fit, or the share comes to no sample or to all.
        TypeError: if the labels are not integers.

    >>> print(hold_out(jax.random.key(0), jnp.array([0, 0, 0, 0, 1, 1]), 1 / 2).astype(int))
    [0 1 1 0 1 0]
    """
    order = _class_after_class(key, labels)
    samples = order.shape[0]
    share = float(_checks.require_scalar("share", share, low=0, below=1))
    count = round(samples * share)
    if not 0 < count < samples:
        raise ValueError(
            f"share: expected one that is some of {samples} samples and leaves some, got {share}"
        )
    place = np.arange(samples)
    chosen = (place + 1) * count // samples > place * count // samples  # evenly along the order
    return jnp.zeros(samples, bool).at[order].set(jnp.asarray(chosen))


def _class_after_class(key: PRNGKeyArray, labels: Int[ArrayLike, " n"]) -> Int[Array, " n"]:
    """The samples, class after class, each in an order of its own."""
    key = _checks.require_key("key", key)
    labels = _checks.require_numeric("labels", labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels: expected integer classes, got dtype {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"labels: expected shape (n,), got {labels.shape}")
    shuffled = jax.random.permutation(key, labels.shape[0])
    return shuffled[jnp.argsort(labels[shuffled], stable=True)]


def choose(errors: Real[ArrayLike, "candidates ..."]) -> Int[Array, ""]:
    """Chooses the candidate with the least mean error; of equals, the first.

    A candidate with a run that diverged, whose error is NaN or infinite, comes last.

    Args:
        errors: what each candidate's runs, of several seeds or folds, get wrong: a row for each.

    Returns:
        The number of the candidate.

    Raises:
        ValueError: if there is no candidate, or none of which all errors are finite.
        TypeError: if `errors` is not an array of real numbers.

    >>> print(choose(jnp.array([[0.0, jnp.nan], [0.2, 0.4], [0.3, 0.1]])))
    2
    """
    errors = _checks.require_numeric("errors", errors)
    if not errors.ndim or not errors.size:
        raise ValueError(f"errors: expected shape (candidates, …), got {errors.shape}")
    means = errors.reshape(errors.shape[0], -1).astype(float).mean(axis=1)
    means = jnp.where(jnp.isfinite(means), means, jnp.inf)
    if not isinstance(means, jax.core.Tracer) and not np.isfinite(means).any():
        raise ValueError("errors: expected a candidate whose errors are finite, got none")
    return jnp.argmin(means)
