"""The masks of dropout, as a step that applies them gives them away."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

import logistack as ls

# An optimizer that changes nothing, and whose state is the gradient.
LOOK = optax.GradientTransformation(
    lambda params: params,
    lambda gradient, state, params=None: (jax.tree.map(jnp.zeros_like, gradient), gradient),
)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def plain(params):
    """The weight and bias of every layer, those of a stack one by one."""
    each = (zip(*layer, strict=True) if layer.weight.ndim == 3 else [layer] for layer in params)
    return [tuple(map(np.float64, pair)) for pair in itertools.chain.from_iterable(each)]


@functools.partial(jax.jit, static_argnames="samples")
def gradients(key, params, rates, samples):
    """Of each sample alone, where each layer alone drops units: with axes (layer, sample)."""
    ones = jnp.ones((samples, params[0].weight.shape[-1]))
    zeros = jnp.zeros((samples, params[-1].weight.shape[-2]))

    def gradient(rates, weights):
        step = ls.make_step(LOOK, dropout=rates)
        return step(ls.init_state(params, LOOK), ones, zeros, weights, key=key)[0].opt_state

    of_samples = jax.vmap(gradient, (None, 0))
    return jax.vmap(of_samples, (0, None))(jnp.diag(rates), jnp.eye(samples))


def drawn(key, params, rates, samples):
    """The masks of the inputs and of every hidden layer, those of a stack one by one.

    They are what a step multiplies activations by, which its gradient ∂C/∂W = ∂C/∂b aᵀ gives away.
    They depend on the shapes of the parameters alone, so these are some that let gradients pass.
    """
    draw = np.random.default_rng(5).standard_normal
    params = jax.tree.map(
        lambda a: jnp.asarray(4 * draw(a.shape) / a.shape[-1] ** 0.5, a.dtype), params
    )
    seen = []
    for layer in jax.tree.map(np.float64, gradients(key, params, jnp.array(rates), samples)):
        stacked = layer.weight.ndim == 5
        seen += zip(*(np.moveaxis(a, 2, 0) for a in layer), strict=True) if stacked else [layer]
    masks, a = [], np.ones((samples, params[0].weight.shape[-1]))
    for place, ((weight, bias), own) in enumerate(zip(plain(params), seen, strict=True)):
        dw, db = (part[place] for part in own)
        unit = abs(db).argmax(1)[:, None]
        fed = np.take_along_axis(dw, unit[..., None], 1)[:, 0] / np.take_along_axis(db, unit, 1)
        mask = fed / a
        kept = mask[mask != 0]
        scale = np.median(kept) if kept.size else 1.0
        np.testing.assert_allclose(kept, scale, rtol=1e-3)  # one number, but for rounding
        masks.append(np.where(mask != 0, scale, 0.0))
        a = sigmoid(a @ weight.T + bias)
    return masks
