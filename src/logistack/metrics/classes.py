"""Measures of the classes that a network predicts for a set of samples, from its logits."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from logistack import _checks
from logistack._bits import bits_of


def predicted_class(logits: Real[ArrayLike, "*n out"]) -> Int[Array, "*n"]:
    """Returns the class of each row of logits: that of the largest, or for a single one [z > 0].

    Args:
        logits: `(..., out)`. One logit means two classes, 1 where it is positive.

    Returns:
        Integer classes `(...)`; of equal logits, the first one's.

    Raises:
        ValueError: if there is no last axis, or it is empty.
        TypeError: if the dtype is not a real number's.

    Warns:
        UserWarning: if the concrete logits of a single output look like probabilities: all lie
            between 0 and 1, and some at ½ or below, where a probability would mean class 0.

    >>> import jax.numpy as jnp
    >>> print(predicted_class(jnp.array([[0.1, 2.0, -1.0], [3.0, 0.0, 0.0]])))
    [1 0]
    >>> print(predicted_class(jnp.array([[0.5], [-0.5]])))
    [1 0]
    """
    logits = _checks.require_numeric("logits", logits)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(f"logits: expected shape (..., outputs), got {logits.shape}")
    if logits.shape[-1] == 1:
        _warn_of_probabilities(logits)
        return (logits[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def _warn_of_probabilities(logits: jax.Array) -> None:
    """Warns if what should be the logits of a single output are more likely its probabilities.

    With several outputs it hardly matters, since σ and softmax keep the order. But a single logit
    is compared with 0, and a probability with ½. That all the logits of several samples lie between
    0 and 1 is possible, so it is no error, but then the network tells no classes apart.
    """
    limits = _checks.range_of(logits) if logits.size > 1 else None
    if limits is None or limits[0] < 0 or limits[1] > 1:
        return
    with jax.ensure_compile_time_eval():
        undecided = jnp.any((logits > 0) & (logits <= 0.5)).item()
    if undecided:
        warnings.warn(
            f"logits: all {logits.size} lie between {limits[0]:.3g} and {limits[1]:.3g}, as "
            "probabilities do, but are read as logits: above 0 is class 1. Expected the values of "
            "ls.logits, not of ls.forward or ls.probabilities",
            stacklevel=_checks.level_of_user(),
        )


def target_class(targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"]) -> Int[Array, " n"]:
    """Returns the class of each target: an integer itself, or the place of a row's largest entry.

    Args:
        targets: integer classes `(n,)`, or rows `(n, out)`, one-hot, smoothed or any distribution.
            A row of one number means class 1 where it is above ½.

    Returns:
        Integer classes `(n,)`; of equal entries, the first one's.

    >>> import jax.numpy as jnp
    >>> print(target_class(jnp.array([[0.0, 1.0], [1.0, 0.0]])))
    [1 0]
    >>> print(target_class(jnp.array([[0.9], [0.1]])))
    [1 0]
    """
    targets = _checks.require_numeric("targets", targets)
    if targets.ndim == 1:
        return targets.astype(jnp.int32)
    if targets.shape[-1] == 1:
        numbers = targets[..., 0].astype(_checks.float32_or_wider(targets.dtype))
        return (numbers > 0.5).astype(jnp.int32)
    return jnp.argmax(_in_order(targets), axis=-1).astype(jnp.int32)


def _in_order(numbers: jax.Array) -> jax.Array:
    """Integers in the order of numbers; XLA takes a subnormal float for 0."""
    if not jnp.issubdtype(numbers.dtype, jnp.floating):
        return numbers
    bits = bits_of(numbers.astype(_checks.float32_or_wider(numbers.dtype)))
    return jnp.where(bits < 0, np.iinfo(bits.dtype).min - bits, bits)  # -0.0 becomes 0


def accuracy(
    logits: Real[ArrayLike, "n out"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    weights: Real[ArrayLike, " n"] | None = None,
) -> Float[Array, ""]:
    """Computes the share of samples whose predicted class is the target's.

    Σᵢ wᵢ [ĉᵢ = cᵢ] / Σᵢ wᵢ.

    Args:
        logits: `(n, out)`, from `ls.logits`; one output means two classes, split at 0.
        targets: integer classes `(n,)`, or rows `(n, out)` whose largest entry is the class; of one
            number, class 1 where it is above ½.
        weights: how much each sample counts, `(n,)`; 1 each if None.

    Returns:
        A scalar between 0 and 1.

    Raises:
        ValueError: if shapes do not match, there is no sample, a class is out of range, or weights
            are negative or all zero.
        TypeError: if a dtype is not a real number's.

    Warns:
        UserWarning: if the logits of a single output look like probabilities.

    >>> import jax.numpy as jnp
    >>> print(accuracy(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0])))
    0.5
    """
    logits, classes = _require_pair(logits, targets)
    correct = predicted_class(logits) == classes
    if weights is None:
        return jnp.mean(correct.astype(jnp.float32))
    weights = _checks.require_weights("weights", weights, classes.shape[0])
    return jnp.sum(jnp.where(correct, weights, jnp.zeros_like(weights))) / jnp.sum(weights)


def error_rate(
    logits: Real[ArrayLike, "n out"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    weights: Real[ArrayLike, " n"] | None = None,
) -> Float[Array, ""]:
    """Computes the share of samples whose predicted class is not the target's: 1 − accuracy.

    Arguments, errors and warnings are those of `accuracy`.

    >>> import jax.numpy as jnp
    >>> print(error_rate(jnp.array([[2.0], [-1.0], [3.0], [1.0]]), jnp.array([1, 0, 1, 0])))
    0.25
    """
    return 1.0 - accuracy(logits, targets, weights=weights)


def confusion_matrix(
    logits: Real[ArrayLike, "n out"], targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"]
) -> Int[Array, "classes classes"]:
    """Counts the samples of each class (row) that were predicted as each class (column).

    Args:
        logits: `(n, out)`, from `ls.logits`; one output means two classes, split at 0.
        targets: integer classes `(n,)`, or rows `(n, out)` whose largest entry is the class; of one
            number, class 1 where it is above ½.

    Returns:
        Integers `(classes, classes)` that sum to n.

    Raises:
        ValueError: if shapes do not match, there is no sample, or a class is out of range.
        TypeError: if a dtype is not a real number's.

    Warns:
        UserWarning: if the logits of a single output look like probabilities.

    >>> import jax.numpy as jnp
    >>> print(confusion_matrix(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0])))
    [[1 1]
     [0 0]]
    """
    logits, classes = _require_pair(logits, targets)
    width = class_count(logits.shape[-1])
    counts = jnp.zeros((width, width), jnp.int32)
    return counts.at[classes, predicted_class(logits)].add(1)


def class_count(outputs: int) -> int:
    """How many classes so many outputs tell apart: as many, but two for a single one."""
    return max(2, outputs)


def _require_pair(logits: Any, targets: Any) -> tuple[jax.Array, jax.Array]:
    logits, targets = require_pair("logits", logits, targets)
    return logits, target_class(targets)


def require_pair(name: str, outputs: Any, targets: Any) -> tuple[jax.Array, jax.Array]:
    """Returns a network's outputs for samples, which go by `name`, and their targets, checked."""
    outputs = _checks.require_numeric(name, outputs)
    targets = _checks.require_numeric("targets", targets)
    if outputs.ndim != 2 or 0 in outputs.shape:
        raise ValueError(f"{name}: expected shape (samples, outputs), got {outputs.shape}")
    if targets.shape not in (outputs.shape, outputs.shape[:1]):
        raise ValueError(
            f"targets: expected shape {outputs.shape[:1]} or {outputs.shape}, got {targets.shape}"
        )
    _checks.require_finite(name, outputs)
    if targets.ndim == 1:
        if not jnp.issubdtype(targets.dtype, jnp.integer):
            raise TypeError(f"targets: expected integer classes, got dtype {targets.dtype}")
        _checks.require_range(
            "targets", targets, 0, class_count(outputs.shape[-1]) - 1, "integer classes"
        )
    else:
        _checks.require_finite("targets", targets)
    return outputs, targets
