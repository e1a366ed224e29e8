"""The first state and the step, a pair as Optax has it, and the loss of a data set."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, Unpack

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray, Real

from logistack import _checks, losses, metrics
from logistack.layers import Params, Product, require_params
from logistack.training.dropout import Share, draw_masks
from logistack.training.measures import (
    BatchSums,
    as_rows,
    counted,
    measure,
    no_sums,
    reduce,
    share_saturated,
    smooth,
    squared_norms,
    total,
    weigh,
)
from logistack.training.recipe import (
    Augment,
    Loss,
    Recipe,
    StepOptions,
    read_recipe,
    read_samples,
    require_factors,
    require_loss,
    spells_out,
)
from logistack.training.sizes import by_entry, filling, present
from logistack.training.spread import devices_of, own_part, summed, varying
from logistack.training.state import TrainState, moving_average

Step: TypeAlias = Callable[..., tuple[TrainState, BatchSums]]


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
    options: StepOptions = {"ema_decay": ema_decay, "coordinates": coordinates}
    return first_state(params, read_recipe("init_state", params, optimizer, options))


def first_state(params: Params, recipe: Recipe) -> TrainState:
    """`init_state` without its checks."""
    decay = recipe.ema_decay
    average = None if decay is None else moving_average(decay, params).init(params)
    return TrainState(params, recipe.build().init(params), jnp.zeros((), jnp.int32), average)


@spells_out(StepOptions)
def make_step(optimizer: optax.GradientTransformation, **options: Unpack[StepOptions]) -> Step:
    """Builds the step that `fit` scans, for a loop of one's own.

    The step takes a batch, differentiates its loss Σᵢ wᵢ C(logits(params, xᵢ), ŷᵢ) and applies
    the optimizer's update. It is pure and not compiled: wrap it in `jax.jit`, `jax.vmap` or
    `jax.lax.scan`. Optimizers that ask for the loss or its function (line searches, L-BFGS,
    Polyak steps) get them.

    Args:
        optimizer: any Optax gradient transformation.
        options: those of `fit` that act within a step: `loss`, `reduction`, `class_weight` (an
            array), `dropout`, `label_smoothing`, `ema_decay`, `coordinates`, `augment`,
            `compute_dtype` and `remat`.

    Returns:
        `step(state, inputs, targets, weights=None, *, key=None, examined=None)`, which returns
        `(state, BatchSums)`, with inputs `(batch, in)`, targets as in `summed_loss`, weights
        `(batch,)`, for dropout and `augment` a JAX random key of this step alone, and a scalar
        that says whether to measure the gradient and the saturated units, as it does if None.

    Raises:
        ValueError: for another reduction or coordinates, or a share outside 0 … 1.
        TypeError: if `optimizer` is not an Optax one, `loss` or `augment` not a function, or
            `compute_dtype` neither None nor bfloat16.

    >>> import jax, jax.numpy as jnp, optax
    >>> from logistack import init_params, init_state
    >>> optimizer = optax.sgd(0.1)
    >>> state = init_state(init_params(jax.random.key(0), (2, 1), scheme="zeros"), optimizer)
    >>> step = jax.jit(make_step(optimizer))
    >>> state, seen = step(state, jnp.eye(2), jnp.array([[1.0], [1.0]]))
    >>> print(seen.loss.round(4), state.params[0].bias)
    1.3863 [0.1]
    """
    read = functools.partial(
        read_recipe, "make_step", optimizer=optimizer, options=options, of=StepOptions
    )
    require_factors(read(None))

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
        recipe = read(params)
        inputs, targets = read_samples(params, inputs, targets, recipe.loss.value)
        if weights is not None:
            weights = _checks.require_weights("weights", weights, inputs.shape[0], some=False)
        if recipe.augment is not None or recipe.drops:
            _checks.require_key("key", key)
        health = True if examined is None else examined
        return take_batch(recipe, state, inputs, targets, weights, key=key, examined=health)

    return step


def take_batch(
    recipe: Recipe,
    state: TrainState,
    inputs: Array,
    targets: Array,
    weights: Array | None,
    *,
    key: PRNGKeyArray | None,
    examined: bool | Array,
) -> tuple[TrainState, BatchSums]:
    """One step on a batch as it comes: `take_step` on those of its samples that count."""
    weights = weigh(weights, targets, recipe, state.params)
    if weights is not None:
        place = counted(weights)
        inputs, targets = inputs[place], targets[place]
        if recipe.batch_axis is not None:  # none of this device's part may count
            inputs = jnp.where(weights.max() > 0, inputs, jnp.zeros_like(inputs))
    return take_step(recipe, state, inputs, targets, weights, key=key, examined=examined)


def take_step(
    recipe: Recipe,
    state: TrainState,
    inputs: Array,
    targets: Array,
    weights: Array | None,
    *,
    key: Any,
    examined: bool | Array,
    shared: bool = False,
    units: Sequence[Array] | None = None,
) -> tuple[TrainState, BatchSums]:
    """One step of a run; nothing is checked here.

    Args:
        recipe: what the run is told.
        state: the state before the step.
        inputs: the batch, or this device's part of it, in the dtype of the parameters.
        targets: rows, or integer classes.
        weights: those of the samples times those of their classes; a sample of weight 0 must
            have a finite loss, as `counted` sees to, unless the samples are `shared`.
        key: of this step alone; None where nothing is random.
        examined: whether to measure the gradient and the saturated units; one that is traced
            costs a branch.
        shared: whether other members, for whom other samples count, share the inputs.
        units: which units of each hidden layer are there, as 1 and 0; all of them if None.
    """
    params = state.params
    axis = recipe.batch_axis
    # What a sample draws does not depend on the device that it is on.
    samples, outputs = inputs.shape[0], params[-1].weight.shape[-2]
    if axis is not None:
        samples = recipe.batch_size or samples * devices_of(axis)
    dtype = params[0].weight.dtype
    there = by_entry(units, params)
    masks = None
    if recipe.drops:
        masks = own_part(axis, draw_masks(key, params, recipe.dropout, samples, there))
    if recipe.augment is not None:
        # Dropout draws from the step's key at places counted from 0.
        keys = jax.random.split(jax.random.fold_in(key, 2**32 - 1), samples)
        inputs = _augmented(recipe.augment, own_part(axis, keys), inputs)
    goals = smooth(targets, recipe, outputs, dtype)
    # With the activations of a deep stack no longer kept, what is seen of them is small.
    observe = share_saturated if recipe.remat else _as_they_are

    def objective(params: Params) -> tuple[Array, tuple[BatchSums, list[Array]]]:
        # The derivative of this is the sum over the devices, one for all parameters.
        params = varying(axis, params)
        each, logits, hidden = measure(
            params,
            inputs,
            goals,
            recipe.loss,
            masks=masks,
            rest=0.5 if recipe.coordinates == "centred" else 0.0,
            product=product_in(recipe.compute_dtype),
            observe=observe,
            remat=recipe.remat,
            without=weights if shared else None,
            units=there,
        )
        correct = metrics.predicted_class(logits) == metrics.target_class(targets)
        sums = {
            "loss": total(each, weights),
            "correct": total(correct.astype(each.dtype), weights),
            "weight": total(jnp.ones_like(each), weights),
            "target": total(as_rows(goals, outputs, each.dtype), weights),
        }
        seen = no_sums(params)._replace(**summed(axis, sums))
        aux = seen, [*hidden, observe(jax.nn.sigmoid(logits))]
        return reduce(seen.loss, seen.weight, recipe.reduction), aux

    (value, (seen, observed)), gradient = jax.value_and_grad(objective, has_aux=True)(params)

    def examine() -> BatchSums:
        shares = observed if recipe.remat else map(share_saturated, observed)
        saturated = jnp.concatenate(
            [total(share.astype(value.dtype), weights).reshape(-1) for share in shares]
        )
        return seen._replace(
            examined=seen.weight,
            saturated=summed(axis, saturated) * filling(units, value.dtype),
            gradient_square=squared_norms(gradient),
        )

    if not isinstance(examined, bool):
        seen = jax.lax.cond(examined, examine, lambda: seen)
    elif examined:
        seen = examine()
    updates, opt_state = recipe.build(present(params, units)).update(
        gradient,
        state.opt_state,
        params,
        value=value,
        grad=gradient,
        value_fn=lambda params: objective(params)[0],
    )
    params = optax.apply_updates(params, updates)
    average = state.average
    if recipe.ema_decay is not None:
        if average is None:
            raise ValueError("state: expected an average, as from init_state(..., ema_decay=…)")
        average = moving_average(recipe.ema_decay, params).update(params, average)[1]
    return state._replace(params=params, opt_state=opt_state, average=average), seen


def _as_they_are(a: Array) -> Array:
    return a


def _augmented(augment: Augment, keys: Array, inputs: Array) -> Array:
    augmented = jax.vmap(augment)(keys, inputs)
    if augmented.shape != inputs.shape:
        raise ValueError(
            f"augment: expected a sample of shape {inputs.shape[1:]}, got {augmented.shape[1:]}"
        )
    return augmented.astype(inputs.dtype)


def product_in(compute_dtype: Any) -> Product:
    """W a as it is to be computed."""
    return jnp.matmul if compute_dtype is None else _bfloat16_product


@jax.custom_jvp
def _bfloat16_product(weight: Array, a: Array) -> Array:
    """W a from operands rounded to bfloat16, summed in float32."""

    def product(weight: Array, a: Array) -> Array:
        half_weight, half_a = weight.astype(jnp.bfloat16), a.astype(jnp.bfloat16)
        return jnp.matmul(half_weight, half_a, preferred_element_type=jnp.float32)

    def product_on_cpu(weight: Array, a: Array) -> Array:
        # XLA has no product of these dtypes for some shapes there. Rounded operands in float32
        # have the same products, and a rounding by `astype` and back would be optimized away.
        wide = weight.astype(jnp.float32), a.astype(jnp.float32)
        return jnp.matmul(*[jax.lax.reduce_precision(each, 8, 7) for each in wide])

    total = jax.lax.platform_dependent(weight, a, cpu=product_on_cpu, default=product)
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
    inputs, targets = read_samples(params, inputs, targets, loss)
    if weights is not None:
        weights = _checks.require_weights("weights", weights, inputs.shape[0])
        place = counted(weights)
        inputs, targets = inputs[place], targets[place]
    return total(measure(params, inputs, targets, loss)[0], weights)
