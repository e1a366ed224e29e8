"""An optimizer for stacks of any depth, whose learning rate the depth decides."""

import math

import optax

from logistack import _checks
from logistack.layers import Layer, Params


def deep_sgd(
    depth: int, steps: int, *, learning_rate: float | None = None, momentum: float = 0.9
) -> optax.GradientTransformation:
    r"""Makes the optimizer that trains a stack of any depth in centered coordinates.

    SGD with momentum β, of gradients that are cut to length 1, with a rate that falls from η to 0
    along half a cosine. Unless one is given,

        η = (1 − β) / √L.

    A step moves the parameters by η / (1 − β) at most. Near isometry every one of L layers has as
    much of that as the others, η / ((1 − β) √L), along the activations that come in: it changes
    them by that share of their size. The changes of L layers add up to √L η / (1 − β) of what is
    computed, and the rule is that this is at most 1. Larger steps undo what was learned.

    The biases are trained as c = c̃ / √L, by steps in c̃. A bias shifts all samples alike, and near
    isometry the L layers shift them by nearly the same, which would leave the weights little of a
    gradient's length. So they count as one layer's.

    Args:
        depth: L, how many hidden layers the network has, at least 1.
        steps: after how many steps the rate is 0, at least 1: epochs times batches.
        learning_rate: η, if not by the rule.
        momentum: β, from 0 to below 1.

    Returns:
        An Optax gradient transformation of tuples of `Layer`, for `fit(..., coordinates="centred")`
        from `init_params(..., scheme="deep")`.

    Raises:
        ValueError: if `depth` or `steps` are below 1, or a number is out of range.
        TypeError: if they are not integers, or another argument is not a number.

    Source: Pascanu, Mikolov & Bengio 2013, section 3.2, for cutting; the rule is explained and
    measured in the page on deep stacks.

    >>> import jax.numpy as jnp
    >>> optimizer = deep_sgd(100, steps=10)
    >>> gradient = (Layer(jnp.array([[30.0, 40.0]]), jnp.array([0.0])),)
    >>> update, _ = optimizer.update(gradient, optimizer.init(gradient))
    >>> print(update[0].weight)  # of length 0.1 / √100
    [[-0.006 -0.008]]
    """
    depth = _checks.require_count("depth", depth, low=1)
    steps = _checks.require_count("steps", steps, low=1)
    momentum = _checks.require_scalar("momentum", momentum, low=0, below=1)
    if learning_rate is None:
        learning_rate = (1 - momentum) / math.sqrt(depth)
    learning_rate = _checks.require_scalar("learning_rate", learning_rate, low=0)
    share = 1 / math.sqrt(depth)

    def biases_scaled(updates: Params, _: Params | None) -> Params:
        return tuple(Layer(weight, share * bias) for weight, bias in updates)

    return optax.chain(
        optax.stateless(biases_scaled),  # the gradient with respect to c̃
        optax.clip_by_global_norm(1.0),
        optax.sgd(optax.cosine_decay_schedule(learning_rate, steps), momentum=momentum),
        optax.stateless(biases_scaled),  # the step of c̃, in c
    )
