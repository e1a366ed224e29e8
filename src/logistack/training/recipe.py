"""What a run is told: every option of training once, with its default and how it is read.

An option is a field of `Recipe` and a line of `Options`. From there the public functions have it:
their signatures, the check that a keyword is known, and the error that names it. Numbers are
leaves of the recipe, a pytree, so that any of them may be traced or have an axis of members; words
and functions are static, so that a compiled program is of one of each.

The room is a long one: whoever adds an option finds all that it takes in one place.
"""

import dataclasses
import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypedDict, TypeVar, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, Real

from logistack import _checks, losses, metrics
from logistack._static import Static
from logistack.coordinates import in_coordinates, require_coordinates
from logistack.layers import Params, depth_of
from logistack.training.dropout import Rates, Share

Loss: TypeAlias = Callable[[Array, Array], Array]
Augment: TypeAlias = Callable[[PRNGKeyArray, Array], Array]
EvalParams: TypeAlias = Callable[[Any, Params], Params]
Optimizer: TypeAlias = optax.GradientTransformation | Callable[..., optax.GradientTransformation]

jax.tree_util.register_static(Static)  # a pytree without leaves

Read: TypeAlias = Callable[[str, Any, Params | None], Any]
F = TypeVar("F", bound=Callable[..., Any])


class StepOptions(TypedDict, total=False):
    """The options that act within a step, as `make_step` takes them; `fit` describes them."""

    loss: Loss
    reduction: str
    class_weight: Real[ArrayLike, " classes"] | str | None
    dropout: Rates
    label_smoothing: Share
    ema_decay: Share
    coordinates: str
    augment: Augment | None
    compute_dtype: Any
    remat: bool


class Options(StepOptions, total=False):
    """The options of a run, as `fit` takes and describes them."""

    patience: int | Int[Array, ""] | None
    min_delta: float | Float[Array, ""]
    eval_params: EvalParams | None
    hyperparams: Mapping[str, Real[ArrayLike, "..."]] | None


def _read_loss(_: str, value: Any, __: Params | None) -> Static[Any]:
    require_loss(value)
    return Static(value)


def _read_augment(name: str, value: Any, _: Params | None) -> Static[Any] | None:
    return _function_or_none(name, value, "a JAX random key and a sample")


def _read_eval_params(name: str, value: Any, _: Params | None) -> Static[Any] | None:
    return _function_or_none(name, value, "the optimizer's state and the parameters")


def _function_or_none(name: str, value: Any, of: str) -> Static[Any] | None:
    if value is not None and not callable(value):
        raise TypeError(f"{name}: expected a function of {of}, or None, got {value!r}")
    return None if value is None else Static(value)


def _read_reduction(name: str, value: Any, _: Params | None) -> str:
    if value not in ("sum", "mean"):
        raise ValueError(f"{name}: expected 'sum' or 'mean', got {value!r}")
    return str(value)


def _read_coordinates(_: str, value: Any, __: Params | None) -> str:
    require_coordinates(value)
    return str(value)


def _read_compute_dtype(name: str, value: Any, _: Params | None) -> Any:
    if value is not None and value != jnp.bfloat16:
        raise TypeError(f"{name}: expected None or jnp.bfloat16, got {value!r}")
    return None if value is None else jnp.bfloat16


def _read_flag(name: str, value: Any, _: Params | None) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return value


def _read_class_weight(name: str, value: Any, params: Params | None) -> Any:
    if value is None:
        return None
    if isinstance(value, str):
        if value != "balanced":
            raise ValueError(f"{name}: expected an array, 'balanced' or None, got {value!r}")
        return Static(value)
    if params is None:
        return _checks.require_numeric(name, value)
    classes = metrics.class_count(params[-1].weight.shape[-2])
    return _checks.require_weights(name, value, classes)


def _read_share(name: str, value: Any, _: Params | None) -> Any:
    return _checks.require_share(name, value)


def _read_rates(name: str, value: Any, params: Params | None) -> tuple[Any, ...]:
    """The rate of the inputs, and that of all hidden layers or of each; None where it is 0."""
    if isinstance(value, jax.Array | np.ndarray) and value.ndim == 1:
        value = tuple(value)
    rates = value if isinstance(value, tuple | list) else (0.0, value)
    layers = len(rates) if params is None else sum(map(depth_of, params))
    if len(rates) not in (2, layers):
        raise ValueError(
            f"{name}: expected one rate, or those of the inputs and of the hidden layers, or "
            f"{layers} (of the inputs and of each hidden layer), got {len(rates)}"
        )
    return tuple(_checks.require_share(name, rate) for rate in rates)


def _read_patience(name: str, value: Any, _: Params | None) -> Any:
    return None if value is None else _checks.require_scalar(name, value, low=1, integer=True)


def _read_min_delta(name: str, value: Any, _: Params | None) -> Any:
    return _checks.require_scalar(name, value, low=0)


def _read_hyperparams(name: str, value: Any, params: Params | None) -> dict[str, Any] | None:
    """Numbers by name. An integer of Python or NumPy stays one: a size, which no trace may have."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: expected numbers by name, got {value!r}")
    return {
        key: _read_hyperparam(f"{name}[{key!r}]", number, params) for key, number in value.items()
    }


def _read_hyperparam(label: str, value: Any, params: Params | None) -> Any:
    if isinstance(value, np.generic):  # as Python's own
        value = value.item()
    if isinstance(value, bool):
        raise TypeError(f"{label}: expected a number, got {value}: bind flags by functools.partial")
    if isinstance(value, int):
        return Static(value)
    if isinstance(value, float):  # JAX takes it to the dtype of what it meets
        if not math.isfinite(value):
            raise ValueError(f"{label}: expected finite values, got {value}")
        return value
    array = _checks.require_numeric(label, value)
    _checks.require_finite(label, array)
    assert params is not None  # only runs have these
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    return array.astype(params[0].weight.dtype) if floating else array


def _field(public: Any, read: Read, stored: Any, **metadata: Any) -> Any:
    return dataclasses.field(default=stored, metadata={"public": public, "read": read, **metadata})


def _option(
    public: Any, read: Read, stored: Any, *, axes: int = 0, each: Read | None = None
) -> Any:
    return _field(public, read, stored, axes=axes, each=each or read)


def _word(public: Any, read: Read, stored: Any) -> Any:
    return _field(public, read, stored, static=True)


# None stands for the default.
_OF_PROBABILITIES = (
    None,
    losses.sigmoid_cross_entropy,
    losses.softmax_cross_entropy,
)
_SIGMOID = Static(losses.sigmoid_cross_entropy)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a run is told; None where something is not asked for.

    `_option` and `_word` give a field the default that users see, the function that reads what
    they give, and the default as it is read. An option consists of numbers, each of so many axes,
    of which the members of a population may have their own.

    Attributes:
        optimizer: an Optax gradient transformation, or a function of the hyperparameters.
        batch_size: samples a step; None where the data come batch by batch.
        batch_axis: the axis of a mesh over which this program has a part of each batch, if any.
        fused: whether a kernel takes the steps of an epoch after the first; or, in place of True,
            the parameters of Pallas's interpreter, which is then to run it.
    """

    optimizer: Static[Optimizer] = dataclasses.field(metadata={"static": True})
    batch_size: int | None = dataclasses.field(default=None, metadata={"static": True})
    batch_axis: str | None = dataclasses.field(default=None, metadata={"static": True})
    fused: Any = dataclasses.field(default=False, metadata={"static": True})
    loss: Static[Loss] = _word(losses.sigmoid_cross_entropy, _read_loss, _SIGMOID)
    reduction: str = _word("sum", _read_reduction, "sum")
    class_weight: Any = _option(None, _read_class_weight, None, axes=1)
    dropout: tuple[Any, ...] = _option(0.0, _read_rates, (None, None), each=_read_share)
    label_smoothing: Any = _option(0.0, _read_share, None)
    ema_decay: Any = _option(0.0, _read_share, None)
    coordinates: str = _word("plain", _read_coordinates, "plain")
    augment: Static[Augment] | None = _word(None, _read_augment, None)
    compute_dtype: Any = _word(None, _read_compute_dtype, None)
    remat: bool = _word(False, _read_flag, False)
    patience: Any = _option(None, _read_patience, None)
    min_delta: Any = _option(0.0, _read_min_delta, 0.0)
    eval_params: Static[EvalParams] | None = _word(None, _read_eval_params, None)
    hyperparams: dict[str, Any] | None = _option(
        None, _read_hyperparams, None, each=_read_hyperparam
    )

    @classmethod
    def names(cls) -> list[str]:
        """The names of all that a recipe says, which are those of the arguments."""
        own = ("batch_axis", "fused")
        return [field.name for field in dataclasses.fields(cls) if field.name not in own]

    @property
    def drops(self) -> bool:
        """Whether a step leaves out inputs or activations."""
        return any(rate is not None for rate in self.dropout)

    @property
    def traced(self) -> bool:
        """Whether a function captured a value of a trace, and so lives in that trace alone."""
        words = (self.optimizer, self.loss, self.augment, self.eval_params)
        return True in [getattr(word, "traced", False) for word in words]

    def build(self, present: Params | None = None) -> optax.GradientTransformationExtraArgs:
        """The optimizer of plain parameters, made of its hyperparameters where they are given.

        With `present`, it sees and changes only the numbers for which that is 1 and not 0.
        """
        optimizer = self.optimizer.value
        if self.hyperparams is not None:
            numbers = {
                name: number.value if isinstance(number, Static) else number
                for name, number in self.hyperparams.items()
            }
            optimizer = optimizer(**numbers)
        require_optimizer(optimizer)
        optimizer = _given_what_it_takes(optimizer)
        if present is not None:
            optimizer = _of_present(optimizer, present)
        plain = self.coordinates == "plain"
        return optimizer if plain else in_coordinates(optimizer, self.coordinates)


_READ = {
    field.name: field.metadata for field in dataclasses.fields(Recipe) if "read" in field.metadata
}

# The options that consist of numbers, and how many axes one of these has.
MEMBERWISE: dict[str, int] = {
    name: metadata["axes"] for name, metadata in _READ.items() if "axes" in metadata
}


def read_option(name: str, value: Any, params: Params) -> Any:
    """Reads one option for a network, raising ValueError or TypeError for what does not fit."""
    return _READ[name]["read"](name, value, params)


def read_number(name: str, label: str, value: Any, params: Params) -> Any:
    """Reads one of the numbers that an option consists of, calling it by `label` in errors."""
    return _READ[name]["each"](label, value, params)


def require_optimizer(optimizer: Any) -> None:
    """Raises TypeError for what is not an Optax gradient transformation."""
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"optimizer: expected an optax.GradientTransformation, got {type(optimizer).__name__}"
        )


def _given_what_it_takes(
    optimizer: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """The optimizer, whose update is given of the loss and its functions what it has a name for.

    Some updates take any keyword and some only their own, deep within a chain too, where no
    signature tells: so one that is refused is left out, when the step is traced.
    """
    known = optax.with_extra_args_support(optimizer)

    def update(
        gradient: Any, state: Any, params: Any = None, *, value_fn: Any, **extra: Any
    ) -> tuple[Any, Any]:
        extra["value_fn"] = value_fn
        extra["grad_fn"] = lambda params, _: jax.grad(value_fn)(params)
        while True:
            try:
                return known.update(gradient, state, params, **extra)
            except TypeError as error:
                refused = [name for name in extra if f"'{name}'" in str(error)]
                if not refused:
                    raise
                extra = {name: extra[name] for name in extra.keys() - set(refused)}

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def _of_present(
    optimizer: optax.GradientTransformationExtraArgs, present: Params
) -> optax.GradientTransformationExtraArgs:
    def update(gradient: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        gradient = jax.tree.map(jnp.multiply, gradient, present)
        update, state = optimizer.update(gradient, state, params, **extra)
        return jax.tree.map(jnp.multiply, update, present), state

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def require_loss(loss: Any) -> None:
    """Raises TypeError or ValueError for what is not a function of logits and target."""
    if not callable(loss):
        raise TypeError(f"loss: expected a function of logits and target, got {loss!r}")
    if loss is losses.cross_entropy:
        raise ValueError(
            "loss: expected a function of logits, such as losses.sigmoid_cross_entropy or "
            "losses.softmax_cross_entropy, got cross_entropy, which takes probabilities"
        )


def read_recipe(
    face: str,
    params: Params | None,
    optimizer: Any,
    options: Mapping[str, Any],
    *,
    batch_size: int | None = None,
    of: Any = Options,
) -> Recipe:
    """Reads what a user gave, raising ValueError or TypeError for what does not fit.

    Args:
        face: the public function that was called, for the message about an unknown keyword.
        params: the network, already checked; None where it is not known yet, and what depends
            on it is not checked.
        optimizer: as it was given.
        options: the keyword arguments, by name.
        batch_size: samples a step, already checked.
        of: `Options`, or those of a step alone.
    """
    if options.get("hyperparams") is None:
        require_optimizer(optimizer)
    elif not callable(optimizer):
        raise TypeError(
            "optimizer: expected a function of hyperparams, such as optax.sgd, got "
            f"{type(optimizer).__name__}"
        )
    known = of.__annotations__
    read = {}
    for name, value in options.items():
        if name not in known:
            raise TypeError(
                f"{face}() got an unexpected keyword argument {name!r}{_guess(name, known)}"
            )
        read[name] = _READ[name]["read"](name, value, params)
    return Recipe(optimizer=Static(optimizer), batch_size=batch_size, **read)


def _guess(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f". Did you mean {near[0]!r}?" if near else ""


def spells_out(options: Any) -> Callable[[F], F]:
    """Gives a function of `**options` the signature with every option and its default in it."""
    hints = get_type_hints(options)

    def spell(function: F) -> F:
        signature = inspect.signature(function)
        kind = inspect.Parameter.KEYWORD_ONLY
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        more = [
            inspect.Parameter(name, kind, default=_READ[name]["public"], annotation=hints[name])
            for name in hints
        ]
        function.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
        return function

    return spell


def require_factors(recipe: Recipe) -> None:
    """Raises ValueError for "balanced", which only a whole data set can be."""
    if isinstance(recipe.class_weight, Static):
        raise ValueError(
            "class_weight: expected an array where samples come batch by batch, got 'balanced'"
        )


def read_samples(
    params: Params, inputs: Any, targets: Any, loss: Loss | None, *, of: str = ""
) -> tuple[Array, Array]:
    """Returns inputs and targets as arrays of the network's dtype, checked.

    Args:
        params: the network's parameters, already checked.
        inputs: samples, `(n, in)`.
        targets: rows `(n, out)`, or integer classes `(n,)`.
        loss: what they are for; this package's losses want rows of values from 0 to 1.
        of: what messages put before the names of the arguments.

    Returns:
        Inputs in the dtype of the parameters; targets likewise, or as int32 classes.

    Raises:
        ValueError: if shapes do not fit, the set is empty, values are not finite, or a class is
            out of range.
        TypeError: if a dtype is not of real numbers, or classes are not integers.
    """
    inputs, targets = map(_checks.on_device, check_samples(params, inputs, targets, loss, of=of))
    return in_dtypes_of(params, inputs, targets)


def in_dtypes_of(params: Params, inputs: Array, targets: Array) -> tuple[Array, Array]:
    """Inputs and rows in the dtype of the parameters, classes as int32."""
    dtype = params[0].weight.dtype
    return inputs.astype(dtype), targets.astype(dtype if targets.ndim == 2 else jnp.int32)


def check_samples(
    params: Params, inputs: Any, targets: Any, loss: Loss | None, *, of: str = ""
) -> tuple[Array | np.ndarray, Array | np.ndarray]:
    """`read_samples` that leaves arrays where they are, and in the dtype that they have."""
    inputs = _checks.require_numbers(f"{of}inputs", inputs)
    given = getattr(targets, "dtype", None)
    targets = _checks.require_numbers(f"{of}targets", targets)
    features, outputs = params[0].weight.shape[-1], params[-1].weight.shape[-2]
    if inputs.ndim != 2 or inputs.shape[1] != features:
        raise ValueError(f"{of}inputs: expected shape (samples, {features}), got {inputs.shape}")
    if inputs.shape[0] == 0:
        raise ValueError(f"{of}inputs: expected at least one sample, got shape {inputs.shape}")
    rows = (inputs.shape[0], outputs)
    if targets.shape not in (rows, rows[:1]):
        raise ValueError(
            f"{of}targets: expected shape {rows}, or integer classes of shape {rows[:1]}, "
            f"got {targets.shape}"
        )
    _checks.require_finite(f"{of}inputs", inputs)
    if targets.ndim == 2:
        _checks.require_finite(f"{of}targets", targets)
        if loss in _OF_PROBABILITIES:
            _checks.require_range(f"{of}targets", targets, 0, 1, "values")
        return inputs, targets
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        hint = " (as rows: targets[:, None])" if outputs == 1 else ""
        raise TypeError(
            f"{of}targets: expected integer classes of shape {rows[:1]}, got dtype "
            f"{given or targets.dtype}{hint}"
        )
    _checks.require_range(
        f"{of}targets", targets, 0, metrics.class_count(outputs) - 1, "integer classes"
    )
    return inputs, targets
