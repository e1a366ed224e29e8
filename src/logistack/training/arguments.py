"""The arguments of training: what is refused, and what the rest becomes."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from logistack import _checks, losses, metrics
from logistack.coordinates import require_coordinates
from logistack.layers import Params, depth_of, require_params
from logistack.training.dropout import check_rates, require_rates

Loss: TypeAlias = Callable[[Array, Array], Array]
Augment: TypeAlias = Callable[[PRNGKeyArray, Array], Array]


class Program(NamedTuple):
    """What of a run is fixed when it is compiled: functions and words."""

    optimizer: Any
    loss: Loss = losses.sigmoid_cross_entropy
    reduction: str = "sum"
    coordinates: str = "plain"
    augment: Augment | None = None
    compute_dtype: Any = None
    remat: bool = False


class Recipe(NamedTuple):
    """The numbers of a run that may be traced; None where something is not asked for."""

    class_weight: Float[Array, " classes"] | None
    label_smoothing: Float[Array, ""] | None
    dropout: tuple[Float[Array, ""] | None, ...]
    ema_decay: Float[Array, ""] | None
    hyperparams: dict[str, Array] | None
    patience: Int[Array, ""] | None
    min_delta: Float[Array, ""]


def require_recipe(
    params: Any,
    *,
    class_weight: Any = None,
    label_smoothing: Any = None,
    dropout: Any = None,
    ema_decay: Any = None,
    hyperparams: Any = None,
    patience: Any = None,
    min_delta: Any = 0.0,
) -> Recipe:
    """Returns the numbers of a run as arrays, refusing what does not fit.

    "balanced" class weights are left None: they wait for the targets.
    """
    params = require_params(params)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(
                f"class_weight: expected an array, 'balanced' or None, got {class_weight!r}"
            )
        class_weight = None
    if class_weight is not None:
        classes = metrics.class_count(params[-1].weight.shape[-2])
        class_weight = _checks.require_weights("class_weight", class_weight, classes)
    rates = require_rates(dropout)
    check_rates(rates, sum(map(depth_of, params)))
    if patience is not None:
        patience = _require_scalar("patience", patience, jnp.integer, low=1)
    return Recipe(
        class_weight=class_weight,
        label_smoothing=_checks.require_share("label_smoothing", label_smoothing),
        dropout=rates,
        ema_decay=_checks.require_share("ema_decay", ema_decay),
        hyperparams=_require_hyperparams(hyperparams),
        patience=patience,
        min_delta=_require_scalar("min_delta", min_delta, None, low=0),
    )


def _require_scalar(name: str, value: Any, kind: Any, *, low: int) -> Array:
    value = _checks.require_numeric(name, value)
    if value.ndim:
        raise ValueError(f"{name}: expected a scalar, got shape {value.shape}")
    if kind is not None and not jnp.issubdtype(value.dtype, kind):
        raise TypeError(f"{name}: expected an integer, got dtype {value.dtype}")
    _checks.require_finite(name, value)
    limits = _checks.range_of(value)
    if limits is not None and limits[0] < low:
        raise ValueError(f"{name}: expected at least {low}, got {limits[0]}")
    return value.astype(jnp.int32 if kind is not None else _checks.float32_or_wider(value.dtype))


def _require_hyperparams(hyperparams: Any) -> dict[str, Array] | None:
    if hyperparams is None:
        return None
    if not isinstance(hyperparams, Mapping):
        raise TypeError(f"hyperparams: expected numbers by name, got {hyperparams!r}")
    arrays = {}
    for name, value in hyperparams.items():
        label = f"hyperparams[{name!r}]"
        if isinstance(value, bool):
            raise TypeError(
                f"{label}: expected a number, got {value}: bind flags by functools.partial"
            )
        arrays[name] = _checks.require_numeric(label, value)
        _checks.require_finite(label, arrays[name])
    return {
        name: array.astype(_checks.float32_or_wider(array.dtype)) for name, array in arrays.items()
    }


def require_samples(
    params: Params, inputs: Any, targets: Any, loss: Loss, *, of: str = ""
) -> tuple[Array, Array]:
    """Returns inputs and targets as arrays of the network's dtype, refusing what does not fit.

    Args:
        params: the network's parameters, already checked.
        inputs: samples, `(n, in)`.
        targets: rows `(n, out)`, or integer classes `(n,)`.
        loss: what they are for; this package's losses want rows of values from 0 to 1.
        of: what messages put before the names of the arguments.

    Returns:
        Inputs in the dtype of the parameters; targets likewise, or as int32 classes.

    Raises:
        ValueError: if shapes do not fit, the set is empty, values are not finite, or a class is
            out of range.
        TypeError: if a dtype is not of real numbers, or classes are not integers.
    """
    inputs, targets = map(_checks.on_device, check_samples(params, inputs, targets, loss, of=of))
    dtype = params[0].weight.dtype
    return inputs.astype(dtype), targets.astype(dtype if targets.ndim == 2 else jnp.int32)


def check_samples(
    params: Params, inputs: Any, targets: Any, loss: Loss, *, of: str = ""
) -> tuple[Array | np.ndarray, Array | np.ndarray]:
    """`require_samples` that leaves arrays where they are, and in the dtype that they have."""
    inputs = _checks.require_numbers(f"{of}inputs", inputs)
    targets = _checks.require_numbers(f"{of}targets", targets)
    features, outputs = params[0].weight.shape[-1], params[-1].weight.shape[-2]
    if inputs.ndim != 2 or inputs.shape[1] != features:
        raise ValueError(f"{of}inputs: expected shape (samples, {features}), got {inputs.shape}")
    if inputs.shape[0] == 0:
        raise ValueError(f"{of}inputs: expected at least one sample, got shape {inputs.shape}")
    rows = (inputs.shape[0], outputs)
    if targets.shape not in (rows, rows[:1]):
        raise ValueError(
            f"{of}targets: expected shape {rows}, or integer classes of shape {rows[:1]}, "
            f"got {targets.shape}"
        )
    _checks.require_finite(f"{of}inputs", inputs)
    if targets.ndim == 2:
        _checks.require_finite(f"{of}targets", targets)
        if loss in (
            losses.cross_entropy,
            losses.sigmoid_cross_entropy,
            losses.softmax_cross_entropy,
        ):
            _checks.require_range(f"{of}targets", targets, 0, 1, "values")
        return inputs, targets
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(
            f"{of}targets: expected integer classes for one axis, got dtype {targets.dtype}"
        )
    _checks.require_range(
        f"{of}targets", targets, 0, metrics.class_count(outputs) - 1, "integer classes"
    )
    return inputs, targets


def require_optimizer(optimizer: Any) -> None:
    """Refuses what is not an Optax gradient transformation."""
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"optimizer: expected an optax.GradientTransformation, got {type(optimizer).__name__}"
        )


def require_loss(loss: Any) -> None:
    """Refuses a loss that is no function."""
    if not callable(loss):
        raise TypeError(f"loss: expected a function of logits and target, got {loss!r}")


def require_program(program: Program) -> None:
    """Refuses what is no function where one is wanted, and unknown words."""
    require_loss(program.loss)
    if program.reduction not in ("sum", "mean"):
        raise ValueError(f"reduction: expected 'sum' or 'mean', got {program.reduction!r}")
    require_coordinates(program.coordinates)
    if not (program.augment is None or callable(program.augment)):
        raise TypeError(
            f"augment: expected a function of a key and a sample, or None, got {program.augment!r}"
        )
    if not isinstance(program.remat, bool):
        raise TypeError(f"remat: expected True or False, got {program.remat!r}")
