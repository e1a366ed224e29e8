"""Dropout: which inputs and activations a step leaves out."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt16

from logistack import _checks
from logistack.layers import Params
from logistack.network import Masks, hidden_layers

# None is 0, and keeps a program from computing what nothing asks for.
Share: TypeAlias = float | Float[Array, ""] | None
Rates: TypeAlias = Share | Sequence[Share]


def draw_masks(
    key: PRNGKeyArray,
    params: Params,
    rates: tuple[Any, ...],
    samples: int,
    units: Masks | None = None,
) -> Masks:
    """Draws what a batch's inputs and activations are multiplied by: 0, or 1 / (1 − rate).

    Args:
        key: a JAX random key, for this step alone.
        params: the network's parameters.
        rates: one for the inputs, and one for all hidden layers or for each; None where nothing is
            dropped.
        samples: how many samples the batch has.
        units: which units are there, as `propagate` takes them: these get the masks that they get
            in a network of nothing else.

    Returns:
        Masks as `propagate` takes them, each with a leading sample axis.
    """
    hidden, _ = hidden_layers(params)
    dtype = params[0].weight.dtype
    shapes = [params[0].weight.shape[-1:], *(layer.bias.shape for layer in hidden)]
    masks: list[Array | None] = []
    start = 0
    for place, shape in enumerate(shapes):
        depth = shape[0] if len(shape) == 2 else 1
        one_for_all = len(rates) == 2 and place > 0
        own = rates[1:] if one_for_all else rates[start : start + depth]
        start += depth
        if all(rate is None for rate in own):
            masks.append(None)
            continue
        rate = jnp.stack([jnp.asarray(0.0 if rate is None else rate, jnp.float32) for rate in own])
        rate = rate[0] if len(own) == 1 else rate.reshape(1, depth, 1)
        # The share that is kept, in the steps that 16 random bits make.
        kept = jnp.maximum(1, 65536 - jnp.round(rate * 65536.0).astype(jnp.int32))
        draws = _random_bits(jax.random.fold_in(key, place), (samples, *shape))
        if units is not None and place > 0:
            draws = _closed_up(draws, units[place - 1])
        scale = 65536 / kept.astype(_checks.float32_or_wider(dtype))
        mask = jnp.where(draws.astype(jnp.int32) < kept, scale, jnp.zeros_like(scale))
        masks.append(mask.astype(dtype))
    return tuple(masks)


def _closed_up(draws: Array, present: Array | None) -> Array:
    """The draws as they fall, one after another, to those units alone that are there."""
    if present is None:
        return draws
    width = jnp.sum(present[(0,) * (present.ndim - 1)] > 0)
    rows = jnp.arange(math.prod(draws.shape[:-1])).reshape(draws.shape[:-1])
    place = rows[..., None] * width + jax.lax.broadcasted_iota(int, draws.shape, draws.ndim - 1)
    return draws.reshape(-1)[jnp.minimum(place, draws.size - 1)]


def _random_bits(key: PRNGKeyArray, shape: tuple[int, ...]) -> UInt16[Array, "..."]:
    """Two numbers of 16 random bits from each 32 drawn, since drawing them is what costs."""
    size = int(np.prod(shape))
    pairs = jax.random.bits(key, (-(-size // 2),), jnp.uint32)
    return jax.lax.bitcast_convert_type(pairs, jnp.uint16).reshape(-1)[:size].reshape(shape)
