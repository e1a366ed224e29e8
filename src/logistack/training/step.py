"""The summed loss of a set of samples, and one step of an optimizer."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray, Real

from logistack import _checks, losses, metrics
from logistack.coordinates import in_coordinates
from logistack.layers import Layer, Params, Product, depth_of, is_stack, require_params
from logistack.network import Masks, propagate
from logistack.training.arguments import (
    Augment,
    Loss,
    Program,
    require_loss,
    require_optimizer,
    require_program,
    require_samples,
)
from logistack.training.dropout import Rates, Share, check_rates, draw_masks, require_rates
from logistack.training.state import BatchSums, TrainState, moving_average, no_sums

Step: TypeAlias = Callable[..., tuple[TrainState, BatchSums]]


def summed_loss(
    params: Params,
    inputs: Real[ArrayLike, "n in"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    loss: Loss = losses.sigmoid_cross_entropy,
    weights: Real[ArrayLike, " n"] | None = None,
) -> Float[Array, ""]:
    """Computes the loss of a data set: Σᵢ wᵢ C(logits(params, xᵢ), ŷᵢ).

    Args:
        params: a tuple of `Layer`.
        inputs: samples, `(n, in)`; taken to the dtype of the parameters.
        targets: rows `(n, out)`, or integer classes `(n,)` where the loss takes them.
        loss: C, a function of one sample's logits and target.
        weights: how much each sample counts, `(n,)`; 1 each if None.

    Returns:
        A scalar, in nats, summed in float32 or wider.

    Raises:
        ValueError: if shapes do not fit, the set is empty, values are not finite, a class is out
            of range, or weights are negative or all zero.
        TypeError: if a dtype is not of real numbers.

    >>> import jax.numpy as jnp
    >>> from logistack.layers import Layer
    >>> params = (Layer(jnp.zeros((1, 2)), jnp.zeros(1)),)
    >>> print(summed_loss(params, jnp.eye(2), jnp.array([[0.0], [1.0]])).round(4))
    1.3863
    """
    require_loss(loss)
    params = require_params(params)
    inputs, targets = require_samples(params, inputs, targets, loss)
    if weights is not None:
        weights = _checks.require_weights("weights", weights, inputs.shape[0])
    each, _, _ = measure(params, inputs, targets, loss)
    return each.sum() if weights is None else jnp.sum(weights.astype(each.dtype) * each)


def measure(
    params: Params,
    inputs: Float[Array, "n in"],
    targets: Real[Array, "n out"] | Int[Array, " n"],
    loss: Loss,
    *,
    masks: Masks | None = None,
    **options: Any,
) -> tuple[Float[Array, " n"], Float[Array, "n out"], list[Array]]:
    """Every sample's loss and logits, and what is observed; nothing is checked here.

    `options` are those of `propagate`.
    """

    def one(x: Array, masks: Masks | None) -> tuple[Array, list[Array]]:
        return propagate(params, x, masks=masks, **options)

    logits, observed = jax.vmap(one)(inputs, masks)
    # Half-precision sums over a data set would lose whole samples.
    logits = logits.astype(_checks.float32_or_wider(logits.dtype))
    each = jax.vmap(loss)(logits, targets)
    if each.shape != inputs.shape[:1]:
        raise ValueError(f"loss: expected one scalar a sample, got shape {each.shape[1:]}")
    return each, logits, observed


def make_step(
    optimizer: optax.GradientTransformation,
    *,
    loss: Loss = losses.sigmoid_cross_entropy,
    reduction: str = "sum",
    class_weight: Real[ArrayLike, " classes"] | None = None,
    label_smoothing: Share = 0.0,
    dropout: Rates = 0.0,
    ema_decay: Share = 0.0,
    coordinates: str = "plain",
    augment: Augment | None = None,
    compute_dtype: Any = None,
    remat: bool = False,
) -> Step:
    """Builds the step that `fit` scans, for a loop of one's own.

    The step takes a batch, differentiates its loss Σᵢ wᵢ C(logits(params, xᵢ), ŷᵢ) and applies
    the optimizer's update. It is pure and not compiled: wrap it in `jax.jit`, `jax.vmap` or
    `jax.lax.scan`. Optimizers that ask for the loss or its function (line searches, L-BFGS,
    Polyak steps) get them.

    Args:
        optimizer: any Optax gradient transformation.
        loss: C, a function of one sample's logits and target.
        reduction: `"sum"`, or `"mean"` to divide a batch's loss by its weight Σᵢ wᵢ, which
            rescales the learning rate.
        class_weight: a factor for the weight of each sample of a class, `(classes,)`.
        label_smoothing: α, from 0 to below 1: the loss has (1 − α) ŷ + α / K in place of ŷ, with
            K classes.
        dropout: how many of the activations a step leaves out, as shares from 0 to below 1: one
            for all hidden layers; or a sequence, first that of the inputs, then that of all
            hidden layers or of each. What is dropped is 0, what is kept is divided by 1 − rate;
            in centred coordinates so is the distance of an activation from its rest at ½.
        ema_decay: β, from 0 to below 1: `state.average` follows the parameters by
            m ← β m + (1 − β) θ, which `optax.ema` computes.
        coordinates: `"plain"`, or `"centred"` to take the steps in the parameters φ of the network
            of centred units, θ = `fold(φ)`: the optimizer sees φ and the gradient with respect to
            φ. The state has θ, and the optimizer's part of it is about φ.
        augment: a function of a JAX random key and one sample, `(in,)`, that returns the sample
            to learn from in its place, such as a deformed image.
        compute_dtype: `jnp.bfloat16` has the products of matrices take bfloat16 operands and sum
            them in float32, those of the way back being rounded to bfloat16 after that; all else
            stays in the dtype of the parameters, as everything does for None.
        remat: whether a stack keeps but every √depth-th of its activations, and computes the
            others again on the way back, for memory.

    Returns:
        `step(state, inputs, targets, weights=None, *, key=None, examined=None)`, which returns
        `(state, BatchSums)`, with inputs `(batch, in)`, targets as in `summed_loss`, weights
        `(batch,)`, for dropout and `augment` a JAX random key of this step alone, and a scalar
        that says whether to measure the gradient and the saturated units, as it does if None.

    Raises:
        ValueError: for another reduction or coordinates, or a share outside 0 … 1.
        TypeError: if `optimizer` is not an Optax one, `loss` or `augment` not a function, or
            `compute_dtype` neither None nor bfloat16.

    Sources: Srivastava et al. 2014 for dropout; Szegedy et al. 2016, section 7, for label
    smoothing; Polyak & Juditsky 1992 for averaging; Micikevicius et al. 2018 for mixed precision.

    >>> import jax, jax.numpy as jnp, optax
    >>> from logistack import init_params, init_state
    >>> optimizer = optax.sgd(0.1)
    >>> state = init_state(init_params(jax.random.key(0), (2, 1), scheme="zeros"), optimizer)
    >>> step = jax.jit(make_step(optimizer))
    >>> state, seen = step(state, jnp.eye(2), jnp.array([[1.0], [1.0]]))
    >>> print(seen.loss.round(4), state.params[0].bias)
    1.3863 [0.1]
    """
    require_optimizer(optimizer)
    require_program(Program(optimizer, loss, reduction, coordinates, augment, compute_dtype, remat))
    smoothing = _checks.require_share("label_smoothing", label_smoothing)
    rates = require_rates(dropout)
    decay = _checks.require_share("ema_decay", ema_decay)
    product = require_product(compute_dtype)
    update = in_coordinates(optimizer, coordinates).update
    # With the activations of a deep stack no longer kept, what is seen of them is small.
    observe = share_saturated if remat else _as_they_are

    def step(
        state: TrainState,
        inputs: Array,
        targets: Array,
        weights: Array | None = None,
        *,
        key: PRNGKeyArray | None = None,
        examined: Bool[Array, ""] | None = None,
    ) -> tuple[TrainState, BatchSums]:
        params = require_params(state.params)
        inputs, targets = require_samples(params, inputs, targets, loss)
        samples, outputs = inputs.shape[0], params[-1].weight.shape[-2]
        if weights is not None:
            weights = _checks.require_weights("weights", weights, samples)
        weights = weigh(weights, targets, class_weight, outputs)
        check_rates(rates, sum(map(depth_of, params)))
        masks = None
        if any(rate is not None for rate in rates):
            masks = draw_masks(_checks.require_key("key", key), params, rates, samples)
        if augment is not None:
            inputs = _augmented(augment, _checks.require_key("key", key), inputs)
        dtype = params[0].weight.dtype
        goals = targets if smoothing is None else smooth(targets, smoothing, outputs, dtype)

        def objective(params: Params) -> tuple[Array, tuple[BatchSums, list[Array]]]:
            each, logits, hidden = measure(
                params,
                inputs,
                goals,
                loss,
                masks=masks,
                rest=0.5 if coordinates == "centred" else 0.0,
                product=product,
                observe=observe,
                remat=remat,
            )
            correct = metrics.predicted_class(logits) == metrics.target_class(targets)
            nothing = no_sums(params)
            seen = nothing._replace(
                loss=total(each, weights),
                correct=total(correct.astype(each.dtype), weights),
                weight=total(jnp.ones_like(each), weights),
                target=total(as_rows(goals, outputs, each.dtype), weights),
            )
            aux = seen, [*hidden, observe(jax.nn.sigmoid(logits))]
            return reduce(seen.loss, seen.weight, reduction), aux

        (value, (seen, observed)), gradient = jax.value_and_grad(objective, has_aux=True)(params)

        def examine() -> BatchSums:
            shares = observed if remat else map(share_saturated, observed)
            return seen._replace(
                examined=seen.weight,
                saturated=jnp.concatenate(
                    [total(share.astype(value.dtype), weights).reshape(-1) for share in shares]
                ),
                gradient_square=squared_norms(gradient),
            )

        seen = examine() if examined is None else jax.lax.cond(examined, examine, lambda: seen)
        updates, opt_state = update(
            gradient,
            state.opt_state,
            params,
            value=value,
            grad=gradient,
            value_fn=lambda params: objective(params)[0],
        )
        params = optax.apply_updates(params, updates)
        average = state.average
        if decay is not None:
            if average is None:
                raise ValueError("state: expected an average, as from init_state(..., ema_decay=…)")
            average = moving_average(decay, params).update(params, average)[1]
        return state._replace(params=params, opt_state=opt_state, average=average), seen

    return step


def _as_they_are(a: Array) -> Array:
    return a


def _augmented(augment: Augment, key: PRNGKeyArray, inputs: Array) -> Array:
    # Dropout draws from the step's key at places counted from 0.
    keys = jax.random.split(jax.random.fold_in(key, 2**32 - 1), inputs.shape[0])
    augmented = jax.vmap(augment)(keys, inputs)
    if augmented.shape != inputs.shape:
        raise ValueError(
            f"augment: expected a sample of shape {inputs.shape[1:]}, got {augmented.shape[1:]}"
        )
    return augmented.astype(inputs.dtype)


def total(values: Float[Array, "n ..."], weights: Array | None) -> Array:
    """Σ wᵢ vᵢ over samples."""
    return values.sum(0) if weights is None else weights.astype(values.dtype) @ values


def weigh(
    weights: Array | None, targets: Array, class_weight: Any, outputs: int
) -> Float[Array, " n"] | None:
    """The samples' weights times those of their classes; None if all are 1."""
    if class_weight is None:
        return weights
    factors = _checks.require_weights("class_weight", class_weight, metrics.class_count(outputs))
    factors = factors[metrics.target_class(targets)]
    return factors if weights is None else weights * factors


def balanced(targets: Array, weights: Array | None, params: Params) -> Float[Array, " classes"]:
    """Factors that give every class the same weight, and all together the weight they have."""
    classes = metrics.class_count(params[-1].weight.shape[-2])
    own = jnp.ones(targets.shape[:1]) if weights is None else weights
    totals = jnp.zeros(classes, own.dtype).at[metrics.target_class(targets)].add(own)
    present = totals > 0
    share = own.sum() / present.sum().astype(own.dtype)
    return jnp.where(present, share / jnp.where(present, totals, jnp.ones_like(totals)), 0.0)


def as_rows(targets: Array, outputs: int, dtype: Any) -> Float[Array, "n out"]:
    """Targets as rows as wide as the output, integer classes among them."""
    if targets.ndim == 2:
        return targets.astype(dtype)
    if outputs == 1:
        return targets.astype(dtype)[:, None]
    return jax.nn.one_hot(targets, outputs, dtype=dtype)


def smooth(targets: Array, smoothing: Array, outputs: int, dtype: Any) -> Float[Array, "n out"]:
    """Rows moved by a share of the way toward 1 / K."""
    rows = as_rows(targets, outputs, dtype)
    smoothing = smoothing.astype(rows.dtype)
    return rows + smoothing * (1 / metrics.class_count(outputs) - rows)


def share_saturated(a: Float[Array, "*n width"]) -> Float[Array, "*n"]:
    """The share of units whose activation is below 0.02 or above 0.98, where σ′ is below 0.02."""
    return jnp.mean(jnp.abs(a.astype(jnp.float32) - 0.5) > 0.48, axis=-1)


def squared_norms(gradient: Params) -> Float[Array, " layers"]:
    """The squared norm of each layer's gradient, a stack counting as its `depth` layers."""

    def of(layer: Layer) -> Array:
        own = (1, 2) if is_stack(layer) else (0, 1)
        return jnp.sum(layer.weight**2, axis=own) + jnp.sum(layer.bias**2, axis=-1)

    wide = jax.tree.map(lambda g: g.astype(_checks.float32_or_wider(g.dtype)), gradient)
    return jnp.concatenate([of(layer).reshape(-1) for layer in wide])


def reduce(total: Array, weight: Array, reduction: str) -> Array:
    """The total, or the mean; a batch whose samples all have weight 0 has mean 0."""
    if reduction == "sum":
        return total
    return total / jnp.where(weight > 0, weight, jnp.ones_like(weight))


def require_product(compute_dtype: Any) -> Product:
    """Returns W a as it is to be computed."""
    if compute_dtype is None:
        return jnp.matmul
    if compute_dtype == jnp.bfloat16:
        return _bfloat16_product
    raise TypeError(f"compute_dtype: expected None or jnp.bfloat16, got {compute_dtype!r}")


@jax.custom_jvp
def _bfloat16_product(weight: Array, a: Array) -> Array:
    """W a from operands rounded to bfloat16, summed in float32."""
    half_weight, half_a = weight.astype(jnp.bfloat16), a.astype(jnp.bfloat16)
    total = jnp.matmul(half_weight, half_a, preferred_element_type=jnp.float32)
    return total.astype(weight.dtype)


@_bfloat16_product.defjvp
def _bfloat16_product_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    # JAX's own derivative would multiply float32 by bfloat16 on the way back: no device does that
    # at bfloat16's rate. Here what comes back is rounded to bfloat16 first.
    def half(array: Array) -> Array:
        return array.astype(jnp.bfloat16)

    (weight, a), (weight_tangent, a_tangent) = primals, tangents
    tangent = half(weight_tangent) @ half(a) + half(weight) @ half(a_tangent)
    return _bfloat16_product(weight, a), tangent.astype(weight.dtype)
