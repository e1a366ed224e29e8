"""Two coordinates for one network: plain logistic units, and units centered about 0.

tanh z = 2σ(2z) − 1, so a network of centred units, t = tanh(V t′ + c) with linear logits, is a
network of logistic units with other weights. The map between the two is linear and exact.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from logistack.layers import Layer, Params, depth_of, is_stack, require_params

COORDINATES = ("plain", "centred")


def fold(centred: Params) -> Params:
    """Maps the parameters of a network of centred units to those of logistic units.

    tanh z = 2σ(2z) − 1, so that, layer by layer and with the last layer linear,

        W¹ = 2V¹,  b¹ = 2c¹;  Wˡ = 4Vˡ,  bˡ = 2(cˡ − Vˡ·1);  Wᴸ = 2Vᴸ,  bᴸ = cᴸ − Vᴸ·1.

    A network of a single layer is its own image. The map is linear; `unfold` is its inverse. With
    W, b in `logits` the network computes what tanh units compute with V, c; each activation is
    (1 + t) / 2.

    Args:
        centred: V and c, a tuple of `Layer`, which may contain stacks.

    Returns:
        W and b, of the same shapes and dtype.

    Raises:
        ValueError: if shapes do not match.
        TypeError: if `centred` is not a tuple of `Layer` of one floating dtype.

    Source: the identity is elementary; LeCun et al. 1998, "Efficient BackProp", section 4.4, for
    units centered about 0.

    >>> import jax.numpy as jnp
    >>> from logistack.network import logits
    >>> centred = (
    ...     Layer(jnp.array([[1.0, -2.0]]), jnp.array([0.5])),
    ...     Layer(jnp.array([[3.0]]), jnp.array([1.0])),
    ... )
    >>> print(logits(fold(centred), jnp.array([1.0, 0.5])), 3 * jnp.tanh(0.5) + 1)
    [2.3863516] 2.3863516
    """
    return tuple(
        fold_layer(layer, fed, feeds)
        for layer, fed, feeds in _factors(require_params(centred, name="centred"))
    )


def fold_layer(layer: Layer, fed: Array, feeds: Array) -> Layer:
    """One layer of `fold`, or several on a leading axis, with their factors."""
    return Layer(
        (feeds * fed)[..., None, None] * layer.weight,
        feeds[..., None] * (layer.bias - (fed - 1)[..., None] * layer.weight.sum(-1)),
    )


def unfold(plain: Params) -> Params:
    """Maps the parameters of a network of logistic units to those of centred units.

    The inverse of `fold`: V¹ = W¹/2, c¹ = b¹/2; Vˡ = Wˡ/4, cˡ = bˡ/2 + Vˡ·1; Vᴸ = Wᴸ/2,
    cᴸ = bᴸ + Vᴸ·1. Weights survive the way there and back bit for bit, since they are divided by
    powers of 2; biases to the rounding of Vˡ·1.

    Args:
        plain: W and b, a tuple of `Layer`, which may contain stacks.

    Returns:
        V and c, of the same shapes and dtype.

    Raises:
        ValueError: if shapes do not match.
        TypeError: if `plain` is not a tuple of `Layer` of one floating dtype.

    >>> import jax.numpy as jnp
    >>> plain = (
    ...     Layer(jnp.array([[2.0, -4.0]]), jnp.array([1.0])),
    ...     Layer(jnp.array([[6.0]]), jnp.array([-2.0])),
    ... )
    >>> [(layer.weight.tolist(), layer.bias.tolist()) for layer in unfold(plain)]
    [([[1.0, -2.0]], [0.5]), ([[3.0]], [1.0])]
    """
    centred = []
    for layer, fed, feeds in _factors(require_params(plain, name="plain")):
        weight = layer.weight / (feeds * fed)[..., None, None]
        bias = layer.bias / feeds[..., None] + (fed - 1)[..., None] * weight.sum(-1)
        centred.append(Layer(weight, bias))
    return tuple(centred)


def unit_factors(depth: int) -> tuple[np.ndarray, np.ndarray]:
    """For every layer, the factors of what feeds it, and of what it feeds: 2 for units, else 1.

    The first layer takes data as they are, the last gives logits as they are.
    """
    fed, feeds = np.full((2, depth), 2.0, np.float32)
    fed[0] = feeds[-1] = 1
    return fed, feeds


def _factors(params: Params) -> list[tuple[Layer, Array, Array]]:
    """Each entry with the factors of its layers."""
    depths = [depth_of(layer) for layer in params]
    fed, feeds = unit_factors(sum(depths))
    ends = itertools.accumulate(depths)

    def of(factors: np.ndarray, layer: Layer, end: int) -> Array:
        own = factors[end - depth_of(layer) : end] if is_stack(layer) else factors[end - 1]
        return jnp.asarray(own, layer.weight.dtype)

    return [
        (layer, of(fed, layer, end), of(feeds, layer, end))
        for layer, end in zip(params, ends, strict=True)
    ]


def require_coordinates(coordinates: Any) -> None:
    """Raises ValueError unless `coordinates` is a name of coordinates."""
    if not isinstance(coordinates, str) or coordinates not in COORDINATES:
        raise ValueError(f"coordinates: expected one of {COORDINATES}, got {coordinates!r}")


def in_coordinates(
    optimizer: optax.GradientTransformation, coordinates: str
) -> optax.GradientTransformationExtraArgs:
    """An optimizer of plain parameters that takes its steps in the coordinates named.

    What `optimizer` sees of θ = fold(φ) is φ and the gradient with respect to φ; its update of φ,
    folded, is the update of θ. The parameters stay plain throughout, so no rounding of the map
    builds up in them.

    """
    optimizer = optax.with_extra_args_support(optimizer)
    if coordinates == "plain":
        return optimizer

    def init(params: Params) -> Any:
        return optimizer.init(unfold(params))

    def update(
        gradient: Params, state: Any, params: Params, *, grad: Params, value_fn: Any, **extra: Any
    ) -> tuple[Params, Any]:
        (pulled,) = jax.linear_transpose(fold, params)(gradient)
        update, state = optimizer.update(
            pulled,
            state,
            unfold(params),
            grad=pulled,
            value_fn=lambda centred: value_fn(fold(centred)),
            **extra,
        )
        return fold(update), state

    return optax.GradientTransformationExtraArgs(init, update)
