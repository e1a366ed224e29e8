"""Optimizers by name, as functions of numbers that the members of a population may differ in."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax

from logistack.layers import Layer, Params
from logistack.training.joining import is_entrywise

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "nadam": optax.nadam,
    "amsgrad": optax.amsgrad,
    "adagrad": optax.adagrad,
    "rmsprop": optax.rmsprop,
    "sgd": optax.sgd,
    "nesterov": functools.partial(optax.sgd, nesterov=True),
}


def takes(optimizer: str | Callable[..., Any], name: str) -> bool:
    """Whether an optimizer has an argument of this name."""
    function = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
    return name in inspect.signature(function).parameters


def build(
    optimizer: str | Callable[..., Any], *, decays: bool
) -> Callable[..., optax.GradientTransformation]:
    """A function of the numbers that an optimizer takes, for `fit_population`.

    The decay of the weights is apart from the gradient, θ ← θ − η λ θ for weights and not for
    biases, whichever the optimizer is (Loshchilov & Hutter 2019, "Decoupled weight decay
    regularization").
    """
    function = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
    if not decays:
        return function

    def decayed(
        learning_rate: Any, weight_decay: Any, **numbers: Any
    ) -> optax.GradientTransformation:
        if takes(optimizer, "learning_rate"):
            numbers["learning_rate"] = learning_rate

        def shrink(updates: Params, params: Params) -> Params:
            def of(update: Layer, layer: Layer) -> Layer:
                share = jnp.asarray(learning_rate * weight_decay, layer.weight.dtype)
                return update._replace(weight=update.weight - share * layer.weight)

            return tuple(map(of, updates, params))

        return optax.chain(function(**numbers), optax.stateless(shrink))

    decayed.entrywise = is_entrywise(function)  # type: ignore[attr-defined]
    return decayed
