"""A fused epoch: what a kernel does in place of the steps, and what it cannot do."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float, Int

from logistack import losses, metrics
from logistack._static import Static
from logistack.layers import Layer, Params, is_stack
from logistack.training.kernel import PARTS, ROWS, Plan, make_kernel, split
from logistack.training.measures import BatchSums, as_rows, no_sums, reduce, smooth
from logistack.training.recipe import Recipe
from logistack.training.state import TrainState

WIDEST = 128
DEEPEST = 4
MEMORY = 227 * 1024 - 4096  # of a block on Hopper, but for barriers, sums over warps and alignment
OFF = -1e4  # the bias of a unit that is not there: its activation is 0, and so is its gradient

NUMBERS: dict[Any, tuple[str, ...]] = {
    optax.sgd: ("learning_rate", "momentum"),
    optax.adam: ("learning_rate", "b1", "b2", "eps", "eps_root"),
}
DEFAULTS = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "eps_root": 0.0}  # of optax.adam
LOSSES = (losses.sigmoid_cross_entropy, losses.softmax_cross_entropy)


def plan_of(recipe: Recipe, params: Params) -> Plan:
    """The kernel for members that are told this and have these parameters."""
    *hidden, outputs = _sizes_of(params)
    adam = recipe.optimizer.value is optax.adam
    assert recipe.batch_size is not None
    return Plan(
        sizes=(*(ROWS * math.ceil(size / ROWS) for size in hidden), 16 * math.ceil(outputs / 16)),
        batch=recipe.batch_size,
        parts=PARTS if recipe.compute_dtype is None else 1,
        adam=adam,
        moments=2 if adam else int("momentum" in (recipe.hyperparams or {})),
        softmax=recipe.loss.value is losses.softmax_cross_entropy,
        interpret=None if recipe.fused in (True, False) else recipe.fused,
    )


def _sizes_of(params: Params) -> list[int]:
    return [params[0].weight.shape[-1], *(layer.weight.shape[-2] for layer in params)]


def why_not(recipe: Recipe, params: Params, samples: int) -> str | None:
    """What of a run the kernel does not do, by the argument's name; None if it does all of it.

    Args:
        recipe: what the run is told.
        params: the parameters of one member.
        samples: how many an epoch goes through.
    """
    optimizer, batch, sizes = recipe.optimizer.value, recipe.batch_size, _sizes_of(params)
    numbers = {*(recipe.hyperparams or {})}
    if any(map(is_stack, params)) or len(params) > DEEPEST:
        return f"params: expected at most {DEEPEST} layers, one by one, got {len(params)}"
    if max(sizes) > WIDEST:
        return f"params: expected widths to {WIDEST}, got {sizes}"
    if params[0].weight.dtype != jnp.float32:
        return f"params: expected float32, got {params[0].weight.dtype}"
    if batch is None or batch % ROWS or batch >= samples:
        return f"batch_size: expected a multiple of {ROWS} below {samples:,}, got {batch}"
    if recipe.batch_axis is not None:
        return f"mesh: expected no axis {recipe.batch_axis!r}"
    if recipe.loss.value not in LOSSES:
        return f"loss: expected one of {[loss.__name__ for loss in LOSSES]}, got another"
    if optimizer not in NUMBERS:
        return "optimizer: expected optax.sgd or optax.adam itself, its numbers in hyperparams"
    if "learning_rate" not in numbers or not numbers <= {*NUMBERS[optimizer]}:
        expected = ", ".join(NUMBERS[optimizer])
        return f"hyperparams: expected the first and any of {expected}, got {sorted(numbers)}"
    if recipe.coordinates != "plain":
        return f"coordinates: expected 'plain', got {recipe.coordinates!r}"
    if recipe.drops:
        return "dropout: expected 0"
    for name in ("augment", "ema_decay"):
        if getattr(recipe, name) is not None:
            return f"{name}: expected none"
    memory = plan_of(recipe, params).memory
    if memory > MEMORY:
        return (
            f"params: expected weights, moments and activations of at most {MEMORY:,} bytes of "
            f"shared memory, got {memory:,} for {sizes}, batch {batch}"
        )
    return None


def why_not_on(device: Any) -> str | None:
    """Why the kernel does not run on a device; None if it should."""
    capability = getattr(device, "compute_capability", "")
    if device.platform == "gpu" and str(capability).startswith("9."):
        return None
    kind = f"{device.device_kind} {capability}".rstrip()
    return f"device: expected an NVIDIA GPU of compute capability 9, got {kind}"


def is_interpreter(fused: Any) -> bool:
    """Whether these are parameters of Pallas's interpreter of GPU kernels, if this JAX has one."""
    if isinstance(fused, bool | str):
        return False  # Pallas takes a moment to import
    from jax.experimental.pallas import mosaic_gpu

    return isinstance(fused, getattr(mosaic_gpu, "InterpretGPUParams", ()))


# --- Steps ---------------------------------------------------------------------------------------


def take_steps(
    recipe: Recipe,
    state: TrainState,
    inputs: Float[Array, "n in"],
    targets: Array,
    index: Int[Array, "steps batch"],
    weights: Float[Array, "steps batch"] | None,
) -> tuple[TrainState, BatchSums]:
    """The steps that `take_step` takes one by one, none of them examined.

    Args:
        recipe: what the run is told, in which `why_not` has found nothing.
        state: the state before the steps.
        inputs: all samples.
        targets: rows, or integer classes, of all samples.
        index: which of them each step is on.
        weights: theirs, if they are not 1.
    """
    params, outputs = state.params, state.params[-1].weight.shape[-2]
    plan = plan_of(recipe, params)
    goals = smooth(targets, recipe, outputs, inputs.dtype)
    rows = as_rows(goals, outputs, inputs.dtype)
    own = jnp.ones(index.shape, inputs.dtype) if weights is None else weights.astype(inputs.dtype)
    scaled = jax.vmap(lambda own: reduce(own, own.sum(), recipe.reduction))(own)
    adam = state.opt_state[0]
    moments: list[Params] = []
    if plan.moments:
        moments = [adam.mu, adam.nu] if plan.adam else [state.opt_state[0].trace]
    steps = jnp.arange(1, 1 + index.shape[0]) + (adam.count if plan.adam else 0)
    # (in, out) in the kernel: the tensor cores turn what they multiply, but not what they sum.
    trees = [jax.tree.map(jnp.transpose, tree) for tree in (params, *moments)]
    numbers = _numbers(recipe, plan, steps)
    logits, trees = _steps_of_members(plan)(rows, index, trees, inputs, scaled, numbers)
    params, *moments = [jax.tree.map(jnp.transpose, tree) for tree in trees]

    logits, index, own = logits.reshape(-1, outputs), index.ravel(), own.ravel()
    each = jax.vmap(recipe.loss.value)(logits, goals[index])
    correct = metrics.predicted_class(logits) == metrics.target_class(targets[index])
    sums = no_sums(params)._replace(loss=own @ each, correct=own @ correct.astype(each.dtype))
    kept: Any = state.opt_state[0]
    if plan.adam:
        kept = kept._replace(mu=moments[0], nu=moments[1], count=steps[-1])
    elif plan.moments:
        kept = kept._replace(trace=moments[0])
    return state._replace(params=params, opt_state=(kept, *state.opt_state[1:])), sums


def _numbers(recipe: Recipe, plan: Plan, steps: Int[Array, " steps"]) -> Float[Array, "steps n"]:
    """The optimizer's numbers at every step."""
    given = {
        name: number.value if isinstance(number, Static) else number
        for name, number in (DEFAULTS | dict(recipe.hyperparams or {})).items()
    }
    names = NUMBERS[recipe.optimizer.value]
    columns = [given[name] for name in (names if plan.adam else names[: 1 + plan.moments])]
    if plan.adam:
        # Optax's own expressions: near 1, the rounding of others would be seen.
        columns += [1 - given["b1"], 1 - given["b2"]]
        columns += [1 - given["b1"] ** steps, 1 - given["b2"] ** steps]
    return jnp.stack(
        [jnp.broadcast_to(jnp.asarray(column, jnp.float32), steps.shape) for column in columns], 1
    )


@functools.cache
def _steps_of_members(plan: Plan) -> Callable[..., Any]:
    """The steps of one member, which under `vmap` are one kernel for all members."""

    @custom_vmap
    def steps(rows: Array, index: Array, trees: list[Params], *_: Any) -> Any:
        # `fit_population` maps this over members; alone, it is only asked for its shapes.
        logits = jnp.full((*index.shape, rows.shape[-1]), jnp.nan, rows.dtype)
        return logits, jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), trees)

    @steps.def_vmap
    def _(members: int, mapped: Any, *args: Any) -> tuple[Any, Any]:
        def of_members(array: Array, is_own: bool) -> Array:
            return array if is_own else jnp.broadcast_to(array, (members, *array.shape))

        rows, index, trees, inputs, weights, numbers = args
        rows_own, index_own, trees_own, inputs_own, weights_own, numbers_own = mapped

        def batches(table: Array, own: bool) -> Array:
            if not (own or index_own):
                return table[index][None]  # the same for all members, and there once
            axes = (0 if own else None, 0 if index_own else None)
            return jax.vmap(lambda table, index: table[index], in_axes=axes)(table, index)

        parts = jnp.stack(split(_filled(inputs, plan.sizes[0]), plan.parts), axis=-2)
        x = jnp.moveaxis(batches(parts, inputs_own), -2, -3)
        trees = jax.tree.map(of_members, trees, trees_own)
        leaves = []
        for layer, sizes in enumerate(plan.layers):
            for place, tree in enumerate(trees):
                leaves += [
                    _filled(tree[layer].weight, *sizes),
                    _filled(tree[layer].bias, sizes[1], value=OFF if place == 0 else 0.0),
                ]
        logits, *leaves = make_kernel(plan, members, index.shape[-2])(
            x.reshape(-1, *x.shape[-2:]),
            batches(_filled(rows, plan.sizes[-1]), rows_own),
            weights if weights_own else weights[None],
            of_members(numbers, numbers_own),
            *leaves,
        )
        after = iter(leaves)
        layers = [
            [
                Layer(*(next(after)[tuple(map(slice, own.shape))] for own in tree[layer]))
                for tree in trees
            ]
            for layer in range(len(plan.layers))
        ]
        out = logits[..., : rows.shape[-1]], list(zip(*layers, strict=True))
        return out, jax.tree.map(lambda _: True, out)

    return steps


def _filled(array: Array, *sizes: int, value: float = 0.0) -> Array:
    """The array with its last axes filled up to these sizes."""
    own = array.shape[-len(sizes) :]
    room = [(0, size - there) for size, there in zip(sizes, own, strict=True)]
    return jnp.pad(array, [(0, 0)] * (array.ndim - len(sizes)) + room, constant_values=value)
