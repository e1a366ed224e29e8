"""Training: the summed loss, one step of an optimiser, and the run that scans it."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, Real

from logistack import _checks, losses, metrics
from logistack._static import Static
from logistack.layers import Params, require_params
from logistack.network import apply_logits

Loss: TypeAlias = Callable[[Array, Array], Array]


class TrainState(NamedTuple):
    """What the next step needs, and nothing else.

    Attributes:
        params: the parameters.
        opt_state: the optimiser's state.
        epoch: how many epochs lie behind, an int32 scalar; it seeds the next epoch's shuffle.
    """

    params: Params
    opt_state: optax.OptState
    epoch: Int[Array, ""]


class BatchSums(NamedTuple):
    """What one step saw, before its update; sums, so that batches of any size add up.

    Attributes:
        loss: Σ wᵢ Cᵢ over the samples of the batch, a scalar.
        correct: Σ wᵢ over those classified correctly, a scalar.
        weight: Σ wᵢ, a scalar.
    """

    loss: Float[Array, ""]
    correct: Float[Array, ""]
    weight: Float[Array, ""]


class History(NamedTuple):
    """One row an epoch. Each batch is measured before its own update.

    Attributes:
        loss: the loss over the epoch's samples, summed or averaged as `reduction` says,
            `(epochs,)`.
        accuracy: the share of samples classified correctly, `(epochs,)`.
    """

    loss: Float[Array, " epochs"]
    accuracy: Float[Array, " epochs"]


class FitResult(NamedTuple):
    """What a training run returns.

    Attributes:
        params: the trained parameters.
        state: the state to continue from: pass it to `fit` in place of parameters.
        history: one row an epoch.
    """

    params: Params
    state: TrainState
    history: History


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
    _require_loss(loss, "sum")
    params = require_params(params)
    inputs, targets = require_samples(params, inputs, targets, loss)
    if weights is not None:
        weights = _checks.require_weights("weights", weights, inputs.shape[0])
    return _summed_loss(params, inputs, targets, weights, loss)[0]


def _summed_loss(
    params: Params, inputs: Array, targets: Array, weights: Array | None, loss: Loss
) -> tuple[Array, Array]:
    """The summed loss, and the logits of every sample."""
    logits = jax.vmap(apply_logits, in_axes=(None, 0))(params, inputs)
    # Half-precision sums over a data set would lose whole samples.
    logits = logits.astype(_checks.float32_or_wider(logits.dtype))
    each = jax.vmap(loss)(logits, targets)
    if each.shape != inputs.shape[:1]:
        raise ValueError(f"loss: wanted one scalar a sample, got shape {each.shape[1:]}")
    if weights is not None:
        each *= weights.astype(each.dtype)
    return each.sum(), logits


def init_state(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """Returns the state that training starts from.

    Args:
        params: a tuple of `Layer`.
        optimizer: any Optax gradient transformation.

    Returns:
        A `TrainState` at epoch 0.

    Raises:
        ValueError: if the shapes of the parameters do not fit.
        TypeError: if `params` is not a tuple of `Layer`, or `optimizer` not an Optax one.

    >>> import jax, optax
    >>> from logistack.layers import init_params
    >>> init_state(init_params(jax.random.key(0), (2, 2, 1)), optax.sgd(0.1)).epoch
    Array(0, dtype=int32)
    """
    params = require_params(params)
    _require_optimizer(optimizer)
    return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))


def make_step(
    optimizer: optax.GradientTransformation,
    *,
    loss: Loss = losses.sigmoid_cross_entropy,
    reduction: str = "sum",
) -> Step:
    """Builds the step that `fit` scans, for a loop of one's own.

    The step takes a batch, differentiates its loss Σᵢ wᵢ C(logits(params, xᵢ), ŷᵢ) and applies
    the optimiser's update. It is pure and not compiled: wrap it in `jax.jit`, `jax.vmap` or
    `jax.lax.scan`. Optimisers that ask for the loss or its function (line searches, L-BFGS,
    Polyak steps) get them.

    Args:
        optimizer: any Optax gradient transformation.
        loss: C, a function of one sample's logits and target.
        reduction: `"sum"`, or `"mean"` to divide a batch's loss by its weight Σᵢ wᵢ, which
            rescales the learning rate.

    Returns:
        `step(state, inputs, targets, weights=None) -> (state, BatchSums)`, with inputs
        `(batch, in)`, targets as in `summed_loss`, and weights `(batch,)`.

    Raises:
        ValueError: for another reduction.
        TypeError: if `optimizer` is not an Optax one, or `loss` not a function.

    >>> import jax, jax.numpy as jnp, optax
    >>> from logistack.layers import init_params
    >>> optimizer = optax.sgd(0.1)
    >>> state = init_state(init_params(jax.random.key(0), (2, 1), scheme="zeros"), optimizer)
    >>> step = jax.jit(make_step(optimizer))
    >>> state, seen = step(state, jnp.eye(2), jnp.array([[1.0], [1.0]]))
    >>> print(seen.loss.round(4), state.params[0].bias)
    1.3863 [0.1]
    """
    _require_optimizer(optimizer)
    _require_loss(loss, reduction)
    update = optax.with_extra_args_support(optimizer).update

    def step(
        state: TrainState, inputs: Array, targets: Array, weights: Array | None = None
    ) -> tuple[TrainState, BatchSums]:
        params = require_params(state.params)
        inputs, targets = require_samples(params, inputs, targets, loss)
        if weights is not None:
            weights = _checks.require_weights("weights", weights, inputs.shape[0])

        def objective(params: Params) -> tuple[Array, BatchSums]:
            total, logits = _summed_loss(params, inputs, targets, weights, loss)
            correct = metrics.predicted_class(logits) == metrics.target_class(targets)
            each = jnp.ones(correct.shape, total.dtype) if weights is None else weights
            each = each.astype(total.dtype)
            seen = BatchSums(total, jnp.sum(each * correct.astype(total.dtype)), each.sum())
            return _reduce(total, seen.weight, reduction), seen

        (value, seen), gradient = jax.value_and_grad(objective, has_aux=True)(params)
        updates, opt_state = update(
            gradient,
            state.opt_state,
            params,
            value=value,
            grad=gradient,
            value_fn=lambda params: objective(params)[0],
        )
        params = optax.apply_updates(params, updates)
        return TrainState(params, opt_state, state.epoch), seen

    return step


def fit(
    key: PRNGKeyArray,
    params: Params | TrainState,
    inputs: Real[ArrayLike, "n in"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int | None = None,
    loss: Loss = losses.sigmoid_cross_entropy,
    reduction: str = "sum",
    sample_weight: Real[ArrayLike, " n"] | None = None,
) -> FitResult:
    """Trains a network: every epoch shuffles, and steps through the batches, on the device.

    One pure function of its arrays and one compiled program, however many epochs. It can be
    jitted, differentiated, and vmapped over keys, parameters, data or weights. A second call with
    the same shapes and an equal optimiser, freshly built or not, compiles nothing.

    Every sample counts: the last, smaller batch is padded with samples of weight 0. Epoch e is
    shuffled by `jax.random.fold_in(key, e)`, and e is counted in the state, so that 2n epochs
    are n epochs and, continued from `result.state` with the same key, n more, bit for bit.

    Args:
        key: a JAX random key.
        params: the parameters to start from, or the `TrainState` to continue from.
        inputs: samples, `(n, in)`; taken to the dtype of the parameters.
        targets: rows `(n, out)`, or integer classes `(n,)` where the loss takes them.
        optimizer: any Optax gradient transformation.
        epochs: how many times to go through the samples, 0 or more.
        batch_size: samples a step; all of them, unshuffled, if None.
        loss: C, a function of one sample's logits and target.
        reduction: `"sum"` over the samples of a batch, or `"mean"`, which divides by the batch's
            weight and so rescales the learning rate.
        sample_weight: how much each sample counts in the loss, `(n,)`; 1 each if None.

    Returns:
        A `FitResult` of the trained parameters, the state to continue from, and the history.

    Raises:
        ValueError: if shapes do not fit, the set is empty, values are not finite, a class is out
            of range, weights are negative or all zero, `batch_size` is below 1 or above n,
            `epochs` is negative, or `reduction` is unknown.
        TypeError: for a dtype not of real numbers, or an argument of the wrong type.

    >>> import jax, jax.numpy as jnp, optax
    >>> from logistack.layers import init_params
    >>> x, y = jnp.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), jnp.array([[0.0], [0], [0], [1]])
    >>> start = init_params(jax.random.key(0), (2, 1))
    >>> result = fit(jax.random.key(1), start, x, y, optimizer=optax.sgd(1.0), epochs=200)
    >>> print(result.history.accuracy[-1])
    1.0
    """
    _require_optimizer(optimizer)
    _require_loss(loss, reduction)
    _checks.require_key("key", key)
    if isinstance(params, TrainState):
        state = _require_state(params, optimizer)
    else:
        state = init_state(params, optimizer)
    inputs, targets = require_samples(state.params, inputs, targets, loss)
    if sample_weight is not None:
        sample_weight = _checks.require_weights("sample_weight", sample_weight, inputs.shape[0])
    epochs = _checks.require_count("epochs", epochs, low=0)
    samples = inputs.shape[0]
    if batch_size is None:
        batch_size = samples
    batch_size = _checks.require_count("batch_size", batch_size, low=1, high=samples)
    how, cost = Static(optimizer), Static(loss)
    # A function that captured a traced value, a learning rate under vmap say, lives in that trace.
    run = _fit if how.traced or cost.traced else _compiled_fit
    return run(
        key,
        state,
        inputs,
        targets,
        sample_weight,
        optimizer=how,
        loss=cost,
        epochs=epochs,
        batch_size=batch_size,
        reduction=reduction,
    )


def _fit(
    key: PRNGKeyArray,
    state: TrainState,
    inputs: Array,
    targets: Array,
    sample_weight: Array | None,
    *,
    optimizer: Static[optax.GradientTransformation],
    loss: Static[Loss],
    epochs: int,
    batch_size: int,
    reduction: str,
) -> FitResult:
    step = make_step(optimizer.value, loss=loss.value, reduction=reduction)

    def step_on(
        state: TrainState, batch: tuple[Array, Array | None]
    ) -> tuple[TrainState, BatchSums]:
        index, weights = batch
        return step(state, inputs[index], targets[index], weights)

    def epoch(state: TrainState, _: None) -> tuple[TrainState, History]:
        if batch_size == inputs.shape[0]:
            state, seen = step(state, inputs, targets, sample_weight)
        else:
            order = epoch_order(key, state.epoch, inputs.shape[0])
            batches = _batches(order, sample_weight, batch_size)
            state, each = jax.lax.scan(step_on, state, batches)
            seen = jax.tree.map(jnp.sum, each)
        row = History(
            loss=_reduce(seen.loss, seen.weight, reduction), accuracy=seen.correct / seen.weight
        )
        return state._replace(epoch=state.epoch + 1), row

    state, history = jax.lax.scan(epoch, state, None, length=epochs)
    return FitResult(state.params, state, history)


_compiled_fit = functools.partial(
    jax.jit, static_argnames=("optimizer", "loss", "epochs", "batch_size", "reduction")
)(_fit)


def epoch_order(key: PRNGKeyArray, epoch: int | Int[Array, ""], samples: int) -> Int[Array, " n"]:
    """Draws the order in which `fit` takes the samples in one epoch.

    The samples are sorted by random keys drawn from `jax.random.fold_in(key, epoch)`.

    Args:
        key: the JAX random key given to `fit`.
        epoch: the epoch, counted from 0.
        samples: n, how many samples there are.

    Returns:
        A permutation of 0 … n − 1, int32.

    >>> import jax
    >>> sorted(epoch_order(jax.random.key(0), 3, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    # On a CPU XLA sorts one array of integers about eight times faster than pairs of key and
    # value, which is what `jax.random.permutation` sorts. So each place travels in the low bits of
    # its own key, and a further, stable round adds the random bits that did not fit, until no more
    # than one pair of samples is expected to tie.
    width = max(1, (samples - 1).bit_length())
    rounds = math.ceil((2 * width - 1) / (32 - width))
    draws = jax.random.bits(jax.random.fold_in(key, epoch), (rounds, samples), jnp.uint32)
    place = jnp.arange(samples, dtype=jnp.uint32)
    order = jnp.arange(samples, dtype=jnp.int32)
    for draw in draws:
        order = order[jnp.sort((draw << width) | place) & jnp.uint32((1 << width) - 1)]
    return order


def _batches(
    order: Int[Array, " n"], sample_weight: Float[Array, " n"] | None, batch_size: int
) -> tuple[Int[Array, "steps batch"], Float[Array, "steps batch"] | None]:
    """The samples of each step, and their weights: None if all are 1.

    The last batch is filled up with sample 0 at weight 0.
    """
    samples = order.shape[0]
    steps = math.ceil(samples / batch_size)
    padding = (0, steps * batch_size - samples)
    weights = None
    if sample_weight is not None:
        weights = sample_weight[order]
    elif padding[1]:
        weights = jnp.ones(samples)
    shape = (steps, batch_size)
    if weights is not None:
        weights = jnp.pad(weights, padding).reshape(shape)
    return jnp.pad(order, padding).reshape(shape), weights


def _reduce(total: Array, weight: Array, reduction: str) -> Array:
    """The total, or the mean; a batch whose samples all have weight 0 has mean 0."""
    if reduction == "sum":
        return total
    return total / jnp.where(weight > 0, weight, jnp.ones_like(weight))


def require_samples(params: Params, inputs: Any, targets: Any, loss: Loss) -> tuple[Array, Array]:
    """Returns inputs and targets as arrays of the network's dtype, refusing what does not fit.

    Args:
        params: the network's parameters, already checked.
        inputs: samples, `(n, in)`.
        targets: rows `(n, out)`, or integer classes `(n,)`.
        loss: what they are for; this package's losses want rows of values from 0 to 1.

    Returns:
        Inputs in the dtype of the parameters; targets likewise, or as int32 classes.

    Raises:
        ValueError: if shapes do not fit, the set is empty, values are not finite, or a class is
            out of range.
        TypeError: if a dtype is not of real numbers, or classes are not integers.
    """
    inputs = _checks.require_numeric("inputs", inputs)
    targets = _checks.require_numeric("targets", targets)
    features, outputs = params[0].weight.shape[-1], params[-1].weight.shape[-2]
    dtype = params[0].weight.dtype
    if inputs.ndim != 2 or inputs.shape[1] != features:
        raise ValueError(f"inputs: wanted shape (samples, {features}), got {inputs.shape}")
    if inputs.shape[0] == 0:
        raise ValueError(f"inputs: wanted at least one sample, got shape {inputs.shape}")
    rows = (inputs.shape[0], outputs)
    if targets.shape not in (rows, rows[:1]):
        raise ValueError(
            f"targets: wanted shape {rows}, or integer classes of shape {rows[:1]}, "
            f"got {targets.shape}"
        )
    _checks.require_finite("inputs", inputs)
    if targets.ndim == 2:
        _checks.require_finite("targets", targets)
        if loss in (
            losses.cross_entropy,
            losses.sigmoid_cross_entropy,
            losses.softmax_cross_entropy,
        ):
            _checks.require_range("targets", targets, 0, 1, "values")
        return inputs.astype(dtype), targets.astype(dtype)
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f"targets: wanted integer classes for one axis, got dtype {targets.dtype}")
    _checks.require_range(
        "targets", targets, 0, metrics.class_count(outputs) - 1, "integer classes"
    )
    return inputs.astype(dtype), targets.astype(jnp.int32)


def _require_state(state: TrainState, optimizer: optax.GradientTransformation) -> TrainState:
    params = require_params(state.params)
    wanted = jax.eval_shape(optimizer.init, params)
    described = [
        jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)
        for tree in (wanted, state.opt_state)
    ]
    if described[0] != described[1]:
        raise ValueError(
            f"params: wanted a TrainState of this optimizer and network, whose opt_state is "
            f"{described[0]}, got {described[1]}"
        )
    return TrainState(params, state.opt_state, jnp.asarray(state.epoch, jnp.int32))


def _require_optimizer(optimizer: Any) -> None:
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"optimizer: wanted an optax.GradientTransformation, got {type(optimizer).__name__}"
        )


def _require_loss(loss: Any, reduction: Any) -> None:
    if not callable(loss):
        raise TypeError(f"loss: wanted a function of logits and target, got {loss!r}")
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction: wanted 'sum' or 'mean', got {reduction!r}")
