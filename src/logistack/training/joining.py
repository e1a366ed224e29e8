"""Whether an optimizer trains a stack of layers as it would train them one by one.

Most do: they treat every number by itself, or the whole network at once. Some look at the axes of
an array, as Muon, LAMB, factored second moments and masks by number of axes do, or draw noise for
each array. A run of equal layers may become a stack only before the former.
"""

import functools
import itertools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from logistack._static import Static
from logistack.coordinates import in_coordinates
from logistack.layers import SCANNED, Layer, Params, depth_of, is_stack, join_runs
from logistack.training.recipe import Recipe

# So many layers stand for a run of any length where two ways to train it are compared.
FEW = 3


def joined_for(recipe: Recipe, params: Params) -> Params:
    """The parameters with runs of equal hidden layers as stacks, if the optimizer is indifferent.

    Else, and where that cannot be told because a function captured a value of a trace, they are
    as they were given.
    """
    *hidden, last = params
    joined = (*join_runs(hidden, SCANNED), last)
    if len(joined) == len(params) or recipe.traced:
        return params
    numbers = None
    if recipe.hyperparams is not None:
        numbers = tuple((name, _kind(value)) for name, value in sorted(recipe.hyperparams.items()))
    shapes = tuple((layer.weight.shape, depth_of(layer)) for layer in joined)
    dtype = params[0].weight.dtype.name
    alike = _indifferent(recipe.optimizer, recipe.coordinates, numbers, shapes, dtype)
    return joined if alike else params


@functools.lru_cache(maxsize=256)
def _indifferent(
    optimizer: Static[Any], coordinates: str, numbers: Any, shapes: Any, dtype: str
) -> bool:
    """Compares two updates of a few layers by themselves with those of a stack of as many.

    That the stack's true depth makes no difference is seen in the programs of both depths: they
    are the same but for this one number.
    """
    depths = {depth for shape, depth in shapes if len(shape) == 3}
    taken = {size for shape, _ in shapes for size in shape[-2:]} | {FEW}
    # A depth that is also a width could not be told from it in the program.
    other = {depth: next(d for d in itertools.count(depth) if d not in taken) for depth in depths}

    random = np.random.default_rng(0)

    def draw(shape: tuple[int, ...]) -> Any:
        return jnp.asarray(random.normal(size=shape), dtype)

    try:
        with jax.ensure_compile_time_eval():
            transformation = in_coordinates(
                Recipe(optimizer=optimizer, hyperparams=_stand_ins(numbers, dtype)).build(),
                coordinates,
            )
            start, *gradients = (_network(draw, shapes, FEW) for _ in range(3))
            ways = [
                _two_updates(transformation, *map(take, (start, *gradients)))
                for take in (lambda params: params, _one_by_one)
            ]
            near = all(
                np.allclose(a, b, rtol=1e-3, atol=1e-4 * float(jnp.max(jnp.abs(b)) + 1e-30))
                for a, b in zip(
                    jax.tree.leaves(_one_by_one(ways[0])), jax.tree.leaves(ways[1]), strict=True
                )
            )
        return near and all(
            _program(transformation, shapes, dtype, other[depth], FEW)
            == _program(transformation, shapes, dtype, FEW, FEW)
            for depth in depths
        )
    except Exception:  # an optimizer of one structure, such as that of the layers as given
        return False


def _network(of: Any, shapes: Any, depth: int) -> Params:
    """A network of these shapes, its stacks of `depth` layers, with arrays that `of` makes."""
    layers = []
    for shape, _ in shapes:
        deep = (depth,) if len(shape) == 3 else ()
        layers.append(Layer(of((*deep, *shape[-2:])), of((*deep, shape[-2]))))
    return tuple(layers)


def _kind(value: Any) -> Any:
    """What stands for a number: itself where it is static, else its shape and dtype."""
    if isinstance(value, Static | float):
        return value if isinstance(value, Static) else None
    return value.shape, value.dtype.name


def _stand_ins(numbers: Any, dtype: str) -> dict[str, Any] | None:
    if numbers is None:
        return None
    return {
        name: jnp.full(value[0], 0.1, value[1]) if isinstance(value, tuple) else value or 0.1
        for name, value in numbers
    }


def _one_by_one(params: Params) -> Params:
    return tuple(
        Layer(weight, bias)
        for layer in params
        for weight, bias in (zip(*layer, strict=True) if is_stack(layer) else [layer])
    )


def _two_updates(
    optimizer: optax.GradientTransformationExtraArgs, params: Params, *gradients: Params
) -> Params:
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = _update(optimizer, gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def _update(optimizer: Any, gradient: Params, state: Any, params: Params) -> Any:
    """An update of a run on the loss Σ g · θ, whose gradient it is."""

    def value(params: Params) -> Any:
        return optax.tree.vdot(gradient, params)

    extra = {"value": value(params), "grad": gradient, "value_fn": value}
    return optimizer.update(gradient, state, params, **extra)


def _program(optimizer: Any, shapes: Any, dtype: str, depth: int, name: int) -> str:
    """The program of an update with stacks of `depth` layers, which is written as `name`."""
    params = _network(lambda shape: jax.ShapeDtypeStruct(shape, dtype), shapes, depth)
    state = jax.eval_shape(optimizer.init, params)
    text = str(jax.make_jaxpr(functools.partial(_update, optimizer))(params, state, params))
    return re.sub(r"0x[0-9a-f]+", "", re.sub(rf"\b{depth}\b", str(name), text))
