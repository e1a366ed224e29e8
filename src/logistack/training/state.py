"""What training carries from step to step, and what a step and an epoch see."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from logistack import _checks
from logistack.coordinates import in_coordinates, require_coordinates
from logistack.layers import SCANNED, Params, depth_of, join_runs, require_params
from logistack.training.arguments import require_optimizer
from logistack.training.dropout import Share


class Best(NamedTuple):
    """The parameters that did best on the validation samples so far.

    Attributes:
        params: the parameters, averaged if `ema_decay` is given.
        loss: their validation loss, a scalar; ∞ before the first.
        epoch: after how many epochs they were reached, an int32 scalar.
    """

    params: Params
    loss: Float[Array, ""]
    epoch: Int[Array, ""]


class TrainState(NamedTuple):
    """What the next step needs, and nothing else.

    Attributes:
        params: the parameters.
        opt_state: the optimizer's state.
        epoch: how many epochs lie behind, an int32 scalar; it seeds the next epoch's shuffle.
        average: the moving average of the parameters, where `ema_decay` is given.
        best: the best parameters so far, where there are validation samples.
    """

    params: Params
    opt_state: optax.OptState
    epoch: Int[Array, ""]
    average: optax.EmaState | None = None
    best: Best | None = None


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

    loss: Float[Array, ""]
    correct: Float[Array, ""]
    weight: Float[Array, ""]
    target: Float[Array, " out"]
    examined: Float[Array, ""]
    saturated: Float[Array, " layers"]
    gradient_square: Float[Array, " layers"]


def no_sums(params: Params) -> BatchSums:
    """The sums over no batch."""
    dtype = _checks.float32_or_wider(params[0].weight.dtype)
    zero, layers = jnp.zeros((), dtype), jnp.zeros(sum(map(depth_of, params)), dtype)
    outputs = jnp.zeros(params[-1].weight.shape[-2], dtype)
    return BatchSums(zero, zero, zero, outputs, zero, layers, layers)


class ValidationSums(NamedTuple):
    """What the parameters at the end of an epoch do on the validation samples.

    Attributes:
        loss: Σ wᵢ Cᵢ, a scalar.
        correct: Σ wᵢ over those classified correctly, a scalar.
        weight: Σ wᵢ, a scalar.
    """

    loss: Float[Array, ""]
    correct: Float[Array, ""]
    weight: Float[Array, ""]


def init_state(
    params: Params,
    optimizer: optax.GradientTransformation,
    *,
    ema_decay: Share = 0.0,
    coordinates: str = "plain",
) -> TrainState:
    """Returns the state that training starts from.

    Args:
        params: a tuple of `Layer`.
        optimizer: any Optax gradient transformation.
        ema_decay: as `make_step` is given it; above 0, the state has room for the average.
        coordinates: as `make_step` is given them.

    Returns:
        A `TrainState` at epoch 0.

    Raises:
        ValueError: if the shapes of the parameters do not fit, or for other coordinates.
        TypeError: if `params` is not a tuple of `Layer`, or `optimizer` not an Optax one.

    >>> import jax, optax
    >>> from logistack.initialization import init_params
    >>> init_state(init_params(jax.random.key(0), (2, 2, 1)), optax.sgd(0.1)).epoch
    Array(0, dtype=int32)
    """
    params = require_params(params)
    require_optimizer(optimizer)
    require_coordinates(coordinates)
    decay = _checks.require_share("ema_decay", ema_decay)
    average = None if decay is None else moving_average(decay, params).init(params)
    opt_state = in_coordinates(optimizer, coordinates).init(params)
    return TrainState(params, opt_state, jnp.zeros((), jnp.int32), average)


def moving_average(decay: Float[Array, ""], params: Params) -> optax.GradientTransformation:
    """The average m ← β m + (1 − β) θ, in float32 or wider: bfloat16 would lose small steps."""
    wide = _checks.float32_or_wider(params[0].weight.dtype)
    return optax.ema(decay.astype(wide), debias=False, accumulator_dtype=wide)


def averaged_params(state: TrainState, decay: Float[Array, ""]) -> Params:
    """The moving average of the parameters, corrected for its start from 0; at first, themselves.

    Source: Kingma & Ba 2015, section 3, for the correction.
    """
    average: optax.EmaState = state.average
    corrected = optax.tree.bias_correction(average.ema, decay, jnp.maximum(average.count, 1))
    return jax.tree.map(
        lambda mean, now: jnp.where(average.count > 0, mean.astype(now.dtype), now),
        corrected,
        state.params,
    )


def require_state(
    params: Any,
    optimizer: optax.GradientTransformation,
    *,
    ema_decay: Float[Array, ""] | None,
    coordinates: str,
    validated: bool,
) -> TrainState:
    """Returns the state to start or go on from, with room for what the run asks for.

    Parameters have their long runs of equal layers joined, which a state is taken to have already.
    """
    begin = functools.partial(init_state, optimizer=optimizer, coordinates=coordinates)
    if not isinstance(params, TrainState):
        *hidden, last = require_params(params)
        params = (*join_runs(hidden, SCANNED), last)
        state = begin(params, ema_decay=ema_decay)
    else:
        state = params._replace(
            params=require_params(params.params), epoch=jnp.asarray(params.epoch, jnp.int32)
        )
        require_optimizer(optimizer)
        wanted = jax.eval_shape(begin, state.params)
        described = [
            jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)
            for tree in (wanted.opt_state, state.opt_state)
        ]
        if described[0] != described[1]:
            raise ValueError(
                f"params: expected a TrainState of this optimizer and network, whose opt_state is "
                f"{described[0]}, got {described[1]}"
            )
        if ema_decay is None or state.average is None:
            started = begin(state.params, ema_decay=ema_decay)
            state = state._replace(average=started.average)
    if not validated:
        return state._replace(best=None)
    if state.best is None:
        dtype = _checks.float32_or_wider(state.params[0].weight.dtype)
        state = state._replace(best=Best(state.params, jnp.array(jnp.inf, dtype), state.epoch))
    return state
