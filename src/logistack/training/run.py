"""The training run: every epoch shuffles, steps through the batches, and validates."""

import functools
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray, Real

from logistack import _checks, losses
from logistack._static import Static
from logistack.layers import Params, split_like
from logistack.training.arguments import (
    Augment,
    Loss,
    Program,
    Recipe,
    require_optimizer,
    require_program,
    require_recipe,
    require_samples,
)
from logistack.training.dropout import Rates, Share
from logistack.training.epoch import (
    Blocks,
    Epoch,
    Validation,
    close_epoch,
    goes_on,
    require_validation,
    result_params,
)
from logistack.training.history import History, summarize
from logistack.training.state import BatchSums, TrainState, require_state
from logistack.training.step import Step, balanced, make_step


class FitResult(NamedTuple):
    """What a training run returns.

    Attributes:
        params: the trained parameters: where there are validation samples, those that did best on
            them; with `ema_decay`, their moving average.
        state: the state to continue from: pass it to `fit` in place of parameters.
        history: one row an epoch.
    """

    params: Params
    state: TrainState
    history: History

    @property
    def epoch(self) -> Int[Array, ""]:
        """After how many epochs `params` were reached."""
        return self.state.epoch if self.state.best is None else self.state.best.epoch


def fit(
    key: PRNGKeyArray,
    params: Params | TrainState,
    inputs: Real[ArrayLike, "n in"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    optimizer: optax.GradientTransformation | Callable[..., optax.GradientTransformation],
    epochs: int,
    batch_size: int | None = None,
    loss: Loss = losses.sigmoid_cross_entropy,
    reduction: str = "sum",
    sample_weight: Real[ArrayLike, " n"] | None = None,
    class_weight: Real[ArrayLike, " classes"] | str | None = None,
    validation: Validation | None = None,
    patience: int | Int[Array, ""] | None = None,
    min_delta: float | Float[Array, ""] = 0.0,
    dropout: Rates = 0.0,
    label_smoothing: Share = 0.0,
    ema_decay: Share = 0.0,
    hyperparams: Mapping[str, Real[ArrayLike, "..."]] | None = None,
    coordinates: str = "plain",
    augment: Augment | None = None,
    compute_dtype: Any = None,
    remat: bool = False,
) -> FitResult:
    """Trains a network: every epoch shuffles, steps through the batches, and validates.

    One pure function of its arrays and one compiled program, however many epochs. It can be
    jitted, differentiated, and vmapped over keys, parameters, data, weights or hyperparameters.
    A second call with the same shapes and an equal optimizer, freshly built or not, compiles
    nothing; nor does one with other `hyperparams`.

    Runs of 16 or more equal layers are joined to stacks, which are scanned. The optimizer sees
    them so, and `state` has them so; `params` come back as they were given. A `TrainState` is
    trained as it is.

    Every sample counts: the last, smaller batch is padded with samples of weight 0. Epoch e is
    shuffled by `jax.random.fold_in(key, e)`, and e is counted in the state, so that 2n epochs
    are n epochs and, continued from `result.state` with the same key, n more, bit for bit.

    A run stops early when the validation loss has not fallen for `patience` epochs, or when an
    epoch's loss or parameters are not finite: that epoch is taken back, its loss stands in the
    history, and outside of a trace a `RuntimeWarning` says so. `state.epoch` counts the epochs
    that ran. Under `vmap`, a member that has stopped stays as it is while others go on.

    Args:
        key: a JAX random key.
        params: the parameters to start from, or the `TrainState` to continue from.
        inputs: samples, `(n, in)`; taken to the dtype of the parameters.
        targets: rows `(n, out)`, or integer classes `(n,)` where the loss takes them.
        optimizer: any Optax gradient transformation; with `hyperparams`, a function of them that
            returns one, such as `optax.sgd`.
        epochs: how many times to go through the samples, 0 or more.
        batch_size: samples a step; all of them, unshuffled, if None.
        loss: C, a function of one sample's logits and target.
        reduction: `"sum"` over the samples of a batch, or `"mean"`, which divides by the batch's
            weight and so rescales the learning rate.
        sample_weight: how much each sample counts in the loss, `(n,)`; 1 each if None.
        class_weight: a factor for the weight of each sample of a class, `(classes,)`; or
            `"balanced"`, which makes the classes' weights equal and keeps their sum.
        validation: samples to validate on after each epoch: `(inputs, targets)`, or these and
            their weights; or the weights alone, `(n,)`, that the training samples have in it.
        patience: for how many epochs the validation loss may fail to fall before the run stops,
            1 or more; it never stops so if None.
        min_delta: by how much the validation loss must fall below the best to count, in its own
            unit, 0 or more.
        dropout: how many of the activations a step leaves out, as in `make_step`.
        label_smoothing: how far targets move toward 1 / K, as in `make_step`; validation has
            them as they are.
        ema_decay: of a moving average of the parameters, as in `make_step`; the average is then
            what is validated and returned.
        hyperparams: numbers for `optimizer`, by name. They may be traced, so that changing one
            compiles nothing and `vmap` trains a member for each.
        coordinates: `"plain"`, or `"centred"` to take the steps in the coordinates of a network of
            centred units, as in `make_step`: what lets deep stacks train.
        augment: a function of a JAX random key and one sample that returns what to learn from in
            its place, anew in every epoch, as in `make_step`.
        compute_dtype: `jnp.bfloat16` for mixed precision, as in `make_step`.
        remat: whether stacks save memory by computing activations again, as in `make_step`.

    Returns:
        A `FitResult` of the trained parameters, the state to continue from, and the history.

    Raises:
        ValueError: if shapes do not fit, the set is empty, values are not finite, a class is out
            of range, weights are negative or all zero, `batch_size` is below 1 or above n,
            `epochs` is negative, `patience` is below 1 or without validation, a share lies
            outside 0 … 1, or `reduction` or `coordinates` are unknown.
        TypeError: for a dtype not of real numbers, or an argument of the wrong type.

    Sources: Prechelt 1998 for early stopping; Pennington, Schoenholz & Ganguli 2017 for depth.

    >>> import jax, jax.numpy as jnp, optax
    >>> from logistack.initialization import init_params
    >>> x, y = jnp.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), jnp.array([[0.0], [0], [0], [1]])
    >>> start = init_params(jax.random.key(0), (2, 1))
    >>> result = fit(jax.random.key(1), start, x, y, optimizer=optax.sgd(1.0), epochs=200)
    >>> print(result.history.accuracy[-1])
    1.0
    >>> def train(rate):
    ...     return fit(
    ...         jax.random.key(1), start, x, y, optimizer=optax.sgd, epochs=200,
    ...         hyperparams={"learning_rate": rate},
    ...     )
    >>> print(jax.vmap(train)(jnp.array([0.01, 1.0])).history.accuracy[:, -1])
    [0.75 1.  ]
    """
    _checks.require_key("key", key)
    epochs = _checks.require_count("epochs", epochs, low=0)
    program = Program(optimizer, loss, reduction, coordinates, augment, compute_dtype, remat)
    recipe, state = prepare(
        params,
        program,
        class_weight=class_weight,
        validation=validation,
        patience=patience,
        min_delta=min_delta,
        dropout=dropout,
        label_smoothing=label_smoothing,
        ema_decay=ema_decay,
        hyperparams=hyperparams,
    )
    inputs, targets = require_samples(state.params, inputs, targets, loss)
    samples = inputs.shape[0]
    if sample_weight is not None:
        sample_weight = _checks.require_weights("sample_weight", sample_weight, samples)
    if isinstance(class_weight, str):
        recipe = recipe._replace(class_weight=balanced(targets, sample_weight, state.params))
    if batch_size is None:
        batch_size = samples
    batch_size = _checks.require_count("batch_size", batch_size, low=1, high=samples)
    fixed = Static(program)
    # A function that captured a traced value, a learning rate under vmap say, lives in that trace.
    run = _fit if fixed.traced else _compiled_fit
    result = run(
        key,
        state,
        inputs,
        targets,
        sample_weight,
        require_validation(validation, state.params, loss, samples=(inputs, targets)),
        recipe,
        program=fixed,
        epochs=epochs,
        batch_size=batch_size,
    )
    warn_if_diverged(result, first=state.epoch, epochs=epochs, recipe=recipe)
    return as_given(params, result)


def as_given(params: Params | TrainState, result: FitResult) -> FitResult:
    """The result with its parameters in as many layers and stacks as those it started from."""
    if isinstance(params, TrainState):
        return result
    return result._replace(params=split_like(result.params, params))


def prepare(
    params: Params | TrainState, program: Program, *, validation: Any, **numbers: Any
) -> tuple[Recipe, TrainState]:
    """The numbers of a run, and the state that it starts from."""
    require_program(program)
    started = params.params if isinstance(params, TrainState) else params
    recipe = require_recipe(started, **numbers)
    if recipe.patience is not None and validation is None:
        raise ValueError("patience: expected validation samples to judge by, got none")
    state = require_state(
        params,
        build(program.optimizer, recipe.hyperparams),
        ema_decay=recipe.ema_decay,
        coordinates=program.coordinates,
        validated=validation is not None,
    )
    return recipe, state


def _fit(
    key: PRNGKeyArray,
    state: TrainState,
    inputs: Array,
    targets: Array,
    sample_weight: Array | None,
    blocks: Blocks | None,
    recipe: Recipe,
    *,
    program: Static[Program],
    epochs: int,
    batch_size: int,
) -> FitResult:
    samples = inputs.shape[0]
    steps = math.ceil(samples / batch_size)
    step = step_of(program.value, recipe)

    def step_on(
        state: TrainState, batch: tuple[Array, Array, Array | None]
    ) -> tuple[TrainState, BatchSums]:
        place, index, weights = batch
        own_key = step_key(key, state.epoch, place)
        # One batch an epoch tells its health; on all of them it would cost a tenth of a small step.
        return step(state, inputs[index], targets[index], weights, key=own_key, examined=place == 0)

    def run_epoch(before: TrainState) -> tuple[TrainState, Bool[Array, ""], Epoch]:
        if steps == 1:
            own_key = step_key(key, before.epoch, 0)
            after, seen = step(before, inputs, targets, sample_weight, key=own_key)
        else:
            order = epoch_order(key, before.epoch, samples)
            batches = (jnp.arange(steps), *_batches(order, sample_weight, batch_size))
            after, each = jax.lax.scan(step_on, before, batches)
            seen = jax.tree.map(lambda sums: sums.sum(0), each)
        return close_epoch(before, after, seen, blocks, recipe, program.value)

    def rest(state: TrainState) -> tuple[TrainState, Bool[Array, ""], Epoch]:
        nothing = jax.tree.map(lambda seen: jnp.full(seen.shape, jnp.nan, seen.dtype), unseen)
        return state, jnp.zeros((), bool), nothing

    def epoch(
        carry: tuple[TrainState, Bool[Array, ""]], _: None
    ) -> tuple[tuple[TrainState, Bool[Array, ""]], Epoch]:
        state, going = carry
        state, going, seen = jax.lax.cond(going, run_epoch, rest, state)
        return (state, going), seen

    *_, unseen = jax.eval_shape(run_epoch, state)
    (state, _), seen = jax.lax.scan(epoch, (state, goes_on(state, recipe)), None, length=epochs)
    row = functools.partial(
        summarize,
        loss=program.value.loss,
        reduction=program.value.reduction,
        classes=targets.ndim == 1 and recipe.label_smoothing is None,
    )
    # XLA divides by a constant otherwise than by a variable: a run of one epoch, which is no loop,
    # would differ in the last bit from the same epoch in a longer one.
    history = jax.vmap(row)(*jax.lax.optimization_barrier(seen))
    return result_of(state, history, recipe)


_compiled_fit = jax.jit(_fit, static_argnames=("program", "epochs", "batch_size"))


def step_of(program: Program, recipe: Recipe) -> Step:
    """The step of a run."""
    optimizer, *words = program
    return make_step(
        build(optimizer, recipe.hyperparams),
        **dict(zip(Program._fields[1:], words, strict=True)),
        class_weight=recipe.class_weight,
        label_smoothing=recipe.label_smoothing,
        dropout=recipe.dropout,
        ema_decay=recipe.ema_decay,
    )


def result_of(state: TrainState, history: History, recipe: Recipe) -> FitResult:
    """What a run returns: the best parameters where there are such, else those it has now."""
    params = result_params(state, recipe.ema_decay) if state.best is None else state.best.params
    return FitResult(params, state, history)


def build(optimizer: Any, hyperparams: Mapping[str, Array] | None) -> optax.GradientTransformation:
    """The optimizer, made from its hyperparameters if they are given."""
    if hyperparams is not None:
        if not callable(optimizer):
            raise TypeError(
                f"optimizer: expected a function of hyperparams, such as optax.sgd, got "
                f"{type(optimizer).__name__}"
            )
        optimizer = optimizer(**hyperparams)
    require_optimizer(optimizer)
    return optimizer


def step_key(
    key: PRNGKeyArray, epoch: int | Int[Array, ""], step: int | Int[Array, ""]
) -> PRNGKeyArray:
    """Returns the key from which `fit` draws what one step drops out.

    Args:
        key: the JAX random key given to `fit`.
        epoch: the epoch, counted from 0.
        step: the step within the epoch, counted from 0.

    Returns:
        A JAX random key.

    >>> import jax
    >>> step_key(jax.random.key(0), 3, 5).shape
    ()
    """
    # The order of the samples is drawn from the epoch's key itself, at places counted from 0.
    own_key = jax.random.fold_in(jax.random.fold_in(key, epoch), 2**32 - 1)
    return jax.random.fold_in(own_key, step)


def warn_if_diverged(result: FitResult, *, first: Array, epochs: int, recipe: Recipe) -> None:
    """Warns, outside of a trace, where the loss or the parameters stopped being finite."""
    last = result.state.epoch
    if any(
        isinstance(value, jax.core.Tracer)
        for value in jax.tree.leaves((first, result.state, result.history.loss, recipe))
    ):
        return
    done = int(last) - int(first)
    if done == epochs or not goes_on(result.state, recipe):
        return
    warnings.warn(
        f"the loss or the parameters stopped being finite in epoch {int(last) + 1} (loss "
        f"{result.history.loss[done]:.4g}): the parameters are those after epoch {int(last)}. "
        "Try a smaller learning rate, optax.clip_by_global_norm before the optimizer, or "
        "reduction='mean' if the rate was meant for the mean.",
        RuntimeWarning,
        stacklevel=3,
    )


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
