"""What training carries from step to step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt32

from logistack import _checks
from logistack._brief import brief
from logistack._export import exported
from logistack.layers import Params


@exported
class Best(NamedTuple):
    """The parameters that did best on the validation samples so far.

    Attributes:
        params: the parameters, averaged if `ema_decay` is given.
        loss: their validation loss, a scalar; the largest number of its dtype before the first.
        epoch: after how many epochs they were reached, an int32 scalar.
        measure: a checksum of what `loss` was measured by, the samples and how, a uint32 scalar:
            a run that validates otherwise measures `params` anew.
    """

    def __repr__(self) -> str:
        return brief(self)

    params: Params
    loss: Float[Array, ""]
    epoch: Int[Array, ""]
    measure: UInt32[Array, ""] | np.uint32 = np.uint32(0)


@exported
class TrainState(NamedTuple):
    """What the next step needs, and nothing else.

    Attributes:
        params: the parameters.
        opt_state: the optimizer's state.
        epoch: how many epochs lie behind, an int32 scalar; it seeds the next epoch's shuffle.
        average: the moving average of the parameters, where `ema_decay` is given.
        best: the best parameters so far, where there are validation samples.
    """

    def __repr__(self) -> str:
        return brief(self)

    params: Params
    opt_state: optax.OptState
    epoch: Int[Array, ""]
    average: optax.EmaState | None = None
    best: Best | None = None


def moving_average(decay: Any, params: Params) -> optax.GradientTransformation:
    """The average m ← β m + (1 − β) θ, in float32 or wider: bfloat16 would lose small steps."""
    wide = _checks.float32_or_wider(params[0].weight.dtype)
    return optax.ema(jnp.asarray(decay, wide), debias=False, accumulator_dtype=wide)


def averaged_params(state: TrainState, decay: Any) -> Params:
    """The moving average of the parameters, corrected for its start from 0; at first, themselves.

    Source: Kingma & Ba 2015, section 3, for the correction.
    """
    average: optax.EmaState = state.average
    wide = jax.tree.leaves(average.ema)[0].dtype
    count = jnp.maximum(average.count, 1).astype(wide)
    # 1 − βⁿ, of which nothing cancels where β is almost 1.
    total = -jnp.expm1(count * jnp.log1p(jnp.asarray(decay, wide) - 1))
    corrected = jax.tree.map(lambda mean: mean / total, average.ema)
    return jax.tree.map(
        lambda mean, now: jnp.where(average.count > 0, mean.astype(now.dtype), now),
        corrected,
        state.params,
    )


def done_since(first: Any, state: TrainState) -> int:
    """How many epochs lie behind since `first`, of the member that went on longest."""
    return int(np.max(np.asarray(state.epoch) - first))
