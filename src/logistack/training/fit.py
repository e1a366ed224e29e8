"""The face of training: what the user gave is checked once and becomes a `Run`, which runs."""

import warnings
from collections.abc import Mapping
from typing import Any, TypeAlias, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import ArrayLike, Int, PRNGKeyArray, Real

from logistack import _checks
from logistack.layers import SCANNED, Params, depth_of, require_params, split_like
from logistack.training.joining import joined_for
from logistack.training.recipe import (
    Loss,
    Optimizer,
    Options,
    read_recipe,
    read_samples,
    spells_out,
)
from logistack.training.run import (
    FitResult,
    Run,
    Samples,
    advance,
    begin,
    compiled_advance_over,
    compiled_begin,
    goes_on,
)
from logistack.training.spread import BATCH, placed, require_mesh, require_parts
from logistack.training.state import TrainState

Validation: TypeAlias = (
    Real[ArrayLike, " n"]
    | tuple[ArrayLike, ArrayLike]
    | tuple[ArrayLike, ArrayLike, Real[ArrayLike, " n"]]
)


@spells_out(Options)
def fit(  # noqa: D417 (they come in two parts)
    key: PRNGKeyArray,
    params: Params | TrainState,
    inputs: Real[ArrayLike, "n in"],
    targets: Real[ArrayLike, "n out"] | Int[ArrayLike, " n"],
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int | None = None,
    sample_weight: Real[ArrayLike, " n"] | None = None,
    validation: Validation | None = None,
    mesh: Mesh | None = None,
    **options: Unpack[Options],
) -> FitResult:
    """Trains a network: every epoch shuffles, steps through the batches, and validates.

    One pure function of its arrays and one compiled program, however many epochs. It can be
    jitted, differentiated, and vmapped over keys, parameters, data, weights or hyperparameters.
    A second call with the same shapes and an equal optimizer, freshly built or not, compiles
    nothing; nor does one with other `hyperparams`.

    Every sample counts: the last, smaller batch is padded with samples of weight 0. Epoch e is
    shuffled by `jax.random.fold_in(key, e)`, and e is counted in the state, so that 2n epochs
    are n epochs and, continued from `result.state` with the same key, n more, bit for bit.

    A run stops early when the validation loss has not fallen for `patience` epochs, or when an
    epoch's loss or parameters are not finite: that epoch is taken back, its loss stands in the
    history, and outside of a trace a `RuntimeWarning` says so. `state.epoch` counts the epochs
    that ran. Under `vmap`, a member that has stopped stays as it is while others go on, and an
    epoch that all members have done with costs nothing.

    Runs of 16 or more equal layers are joined to stacks, which are scanned, where that makes no
    difference to the optimizer; one that looks at the axes of an array, as Muon does, sees the
    layers as they were given, and its program grows with their number. `state` has them as the
    optimizer sees them; `params` come back as they were given. A `TrainState` is trained as it is.

    Main arguments:
        key: a JAX random key.
        params: the parameters to start from, or the `TrainState` to continue from.
        inputs: samples, `(n, in)`; converted to the dtype of the parameters.
        targets: rows `(n, out)`, or integer classes `(n,)` where the loss takes them.
        optimizer: any Optax gradient transformation; with `hyperparams`, a function of them that
            returns one, such as `optax.sgd`.
        epochs: how many times to go through the samples, 0 or more.
        batch_size: samples a step; all of them, unshuffled, if None.
        loss: C, a function of one sample's logits and target.
        validation: samples to validate on after each epoch: `(inputs, targets)`, or these and
            their weights; or the weights alone, `(n,)`, that the training samples have in it.
        patience: for how many epochs the validation loss may fail to fall before the run stops,
            1 or more; it never stops so if None.
        mesh: devices that each take a part of every batch, a `jax.sharding.Mesh` with the axis
            `"batch"`: sums are over all of them, so that the result is that of one device but for
            rounding. Each holds all samples; results stay there. One device if None.

    Other Arguments:
        reduction: `"sum"` over the samples of a batch, or `"mean"`, which divides by the batch's
            weight Σᵢ wᵢ and so rescales the learning rate.
        sample_weight: how much each sample counts in the loss, `(n,)`; 1 each if None.
        class_weight: a factor for the weight of each sample of a class, `(classes,)`; or
            `"balanced"`, which makes the classes' weights equal and keeps their sum.
        min_delta: by how much the validation loss must fall below the best to count, in its own
            unit, 0 or more.
        dropout: how many of the activations a step leaves out, as shares from 0 to below 1: one
            for all hidden layers; or a sequence, first that of the inputs, then that of all
            hidden layers or of each. What is dropped is 0, what is kept is divided by 1 − rate;
            in centred coordinates so is the distance of an activation from its rest at ½. Rates
            are rounded to multiples of 1 / 65,536.
        label_smoothing: α, from 0 to below 1: a step's loss has (1 − α) ŷ + α / K in place of ŷ,
            with K classes; validation has targets as they are.
        ema_decay: β, from 0 to below 1, of a moving average of the parameters, m ← β m +
            (1 − β) θ, which is then what is validated and returned.
        eval_params: a function of the optimizer's state and the parameters that returns those to
            validate and return in their place, such as
            `optax.contrib.schedule_free_eval_params`; without effect beside `ema_decay`.
        hyperparams: numbers for `optimizer`, by name. Floats and arrays may be traced, so that
            changing one compiles nothing and `vmap` trains a member for each; integers,
            such as a memory size, stay what they are, and another one is another program. (A
            number inside `optimizer` is part of the program, too: about 7 MB for each value,
            which are kept until `jax.clear_caches()`.)
        coordinates: `"plain"`, or `"centred"` to take the steps in the parameters φ of the network
            of centred units, θ = `fold(φ)`: the optimizer sees φ and the gradient with respect to
            φ. That lets deep stacks train. The state has θ, and its optimizer's part is about φ.
        augment: a function of a JAX random key and one sample, `(in,)`, that returns the sample
            to learn from in its place, such as a deformed image, anew in every epoch.
        compute_dtype: `jnp.bfloat16` has the products of matrices take bfloat16 operands and sum
            them in float32, those of the way back being rounded to bfloat16 after that; all else
            stays in the dtype of the parameters, as everything does for None.
        remat: whether a stack keeps only every √depth-th of its activations and computes the
            others again on the way back, which saves memory.

    Returns:
        A `FitResult` of the trained parameters, the state to continue from, and the history.

    Raises:
        ValueError: if shapes do not fit, the set is empty, values are not finite, a class is out
            of range, weights are negative or all zero, `batch_size` is below 1, above n or below
            the number of devices, `epochs` is negative, `patience` is below 1 or without
            validation, a share lies outside 0 … 1, or `reduction` or `coordinates` are unknown.
        TypeError: for a dtype not of real numbers, or an argument of the wrong type.

    Sources: Prechelt 1998 for early stopping; Srivastava et al. 2014 for dropout; Szegedy et al.
    2016, section 7, for label smoothing; Polyak & Juditsky 1992 for averaging; Micikevicius et al.
    2018 for mixed precision; Pennington, Schoenholz & Ganguli 2017 for depth.

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
    epochs = _checks.require_count("epochs", epochs, low=0)
    mesh = None if mesh is None else require_mesh(mesh, of=(BATCH,))
    run = prepare(
        "fit",
        key,
        params,
        (inputs, targets),
        optimizer=optimizer,
        batch_size=batch_size,
        sample_weight=sample_weight,
        validation=validation,
        options=options,
    )
    # A function that captured a traced value, a rate under vmap say, lives in that trace.
    alive = run.recipe.traced
    run = (begin if alive else compiled_begin)(run)
    go_on: Any = advance if alive else compiled_advance_over(mesh)
    if mesh is not None:
        require_parts(mesh, run.recipe.batch_size)
        run = placed(run, mesh)
    result = marked(*go_on(run, epochs, epochs=epochs, mark=may_mark()))
    warn_of_validation(result, run.state.epoch)
    warn_of(run, result, epochs)
    return as_given(params, result)


def may_mark() -> bool:
    """Whether a program may say by NaN that an epoch did not run: JAX may be asked to find them."""
    return not jax.config.values["jax_debug_nans"]


def marked(result: FitResult, ran: Any) -> FitResult:
    """The result with NaN in the rows of epochs that did not run, by NumPy if no program may."""
    if may_mark() or _checks.is_traced((result.history, ran)):
        return result

    def rows(values: Any) -> Any:
        values = np.array(values)
        values[~np.asarray(ran)] = np.nan
        with jax.debug_nans(False):
            return jnp.asarray(values)

    return result._replace(history=jax.tree.map(rows, result.history))


def prepare(
    face: str,
    key: Any,
    params: Any,
    samples: tuple[Any, Any] | None,
    *,
    optimizer: Any,
    options: Mapping[str, Any],
    batch_size: Any = None,
    sample_weight: Any = None,
    validation: Any = None,
) -> Run:
    """Checks what the user gave, once, and makes a `Run` of it; `face` is the function called.

    Without `samples`, inputs and targets, the run is of a stream, which brings its own.
    """
    _checks.require_key("key", key)
    if isinstance(params, TrainState):
        state: Any = params._replace(
            params=require_params(params.params), epoch=jnp.asarray(params.epoch, jnp.int32)
        )
        network = state.params
    else:
        state = network = require_params(params)
    loss = options.get("loss")
    train = held = None
    if samples is not None:
        train = Samples(*read_samples(network, *samples, loss), None)
        count = train.inputs.shape[0]
        if sample_weight is not None:
            weights = _checks.require_weights("sample_weight", sample_weight, count)
            train = train._replace(weights=weights)
        batch_size = count if batch_size is None else batch_size
        batch_size = _checks.require_count("batch_size", batch_size, low=1, high=count)
    recipe = read_recipe(face, network, optimizer, options, batch_size=batch_size)
    if validation is not None:
        held = _read_validation(validation, network, loss, train)
    elif recipe.patience is not None:
        raise ValueError("patience: expected validation samples to judge by, got none")
    # A run of layers has at least two entries before the last layer.
    if network is state and len(network) > 2 and sum(map(depth_of, network)) > SCANNED:
        state = joined_for(recipe, network)
    return Run(key, state, train, held, recipe)


def _read_validation(
    validation: Any, params: Params, loss: Loss | None, train: Samples | None
) -> Samples:
    """Returns the validation samples: some of their own, or `train` with other weights."""
    weights = None
    if isinstance(validation, tuple | list):
        if len(validation) not in (2, 3):
            raise ValueError(
                f"validation: expected (inputs, targets), or these and their weights, got "
                f"{len(validation)} parts"
            )
        inputs, targets, *more = validation
        held = Samples(*read_samples(params, inputs, targets, loss, of="validation "), None)
        weights = more[0] if more else None
    elif train is None:
        raise TypeError(f"validation: expected (inputs, targets), got {type(validation).__name__}")
    else:
        held, weights = train, validation
    if weights is not None:
        weights = _checks.require_weights("validation weights", weights, held.inputs.shape[0])
        if _checks.range_of(weights) == (1, 1):
            weights = None
    return held._replace(weights=weights)


def as_given(params: Params | TrainState, result: FitResult) -> FitResult:
    """The result with its parameters in as many layers and stacks as those it started from."""
    if isinstance(params, TrainState) or len(result.params) == len(params):
        return result
    return result._replace(params=split_like(result.params, params))


def warn_of_validation(result: FitResult, first: Any) -> None:
    """Warns, outside of a trace, where no epoch after `first` has a finite validation loss."""
    losses: Any = result.history.validation_loss
    if losses is None or _checks.is_traced((result.state.epoch, losses, first)):
        return
    if np.any(np.asarray(result.state.epoch) > first) and not np.isfinite(losses).any():
        warnings.warn(
            "the validation loss was not finite after any epoch, so that none is the best: the "
            "parameters are those before. Look for values that are not finite, or very large, "
            "among the validation samples.",
            RuntimeWarning,
            stacklevel=_checks.level_of_user(),
        )


def warn_of(run: Run, result: FitResult, epochs: int) -> None:
    """Warns, outside of a trace, where the loss or the parameters are not finite."""
    if _checks.is_traced((run, result.state, result.history.loss)):
        return
    last = int(result.state.epoch)
    done = last - int(run.state.epoch)
    if done == epochs or not goes_on(result.state, run.recipe):
        return
    warnings.warn(
        f"the loss or the parameters stopped being finite in epoch {last + 1} (loss "
        f"{result.history.loss[done]:.4g}): the parameters are those after epoch {last}. "
        "Try a smaller learning rate, optax.clip_by_global_norm before the optimizer, or "
        "reduction='mean' if the rate was meant for the mean.",
        RuntimeWarning,
        stacklevel=_checks.level_of_user(),
    )
