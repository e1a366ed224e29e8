"""Whether an optimizer trains arrays put together as it would train them one by one.

Most do: they treat every number by itself, or the whole network at once. Some look at the axes of
an array, as Muon, LAMB, factored second moments and masks by number of axes do, or draw noise for
each array. A run of equal layers may become a stack, and a network may be filled up with units that
are not there, only before the former.
"""

import functools
import itertools
import math
import re
import threading
from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from logistack._static import Static
from logistack.layers import SCANNED, Layer, Params, depth_of, join_runs, unstack
from logistack.training.recipe import Recipe
from logistack.training.sizes import Sizes, present, resized, units_of

# So many layers stand for a run of any length where two ways to train it are compared.
FEW = 3
# Sizes, and those that they are filled up to: layers grow taller, wider, or less of either.
TALL_AND_WIDE = (
    ((3, 2, 5, 4), (3, 7, 6, 4)),
    ((3, 6, 2, 4), (3, 7, 7, 4)),
    ((3, 2, 2, 4), (3, 2, 7, 4)),
)
# Of these functions it is known, so that a first fit need not find out.
ENTRYWISE = {optax.adam, optax.nadam, optax.amsgrad, optax.adagrad, optax.rmsprop, optax.sgd}
# Threads that train at once would try all of it each for itself.
_ONE_AT_A_TIME = threading.Lock()


def joined_for(recipe: Recipe, params: Params) -> Params:
    """The parameters with runs of equal hidden layers as stacks, if the optimizer is indifferent.

    Else, and where that cannot be told because a function captured a value of a trace, they are
    as they were given.
    """
    *hidden, last = params
    joined = (*join_runs(hidden, SCANNED), last)
    if len(joined) == len(params) or recipe.traced:
        return params
    numbers = _kinds(recipe)
    shapes = tuple((layer.weight.shape, depth_of(layer)) for layer in joined)
    dtype = params[0].weight.dtype.name
    alike = _indifferent(recipe.optimizer, recipe.coordinates, numbers, shapes, dtype)
    return joined if alike else params


def trains_filled_up(recipe: Recipe, least: Sizes, widest: Sizes) -> bool:
    """Whether the optimizer trains networks as they are when absent units fill them up.

    That is tried from the least sizes to the widest, between which a threshold would lie, and on
    layers that are taller or wider when they are filled up, or no longer so.
    """
    if is_entrywise(recipe.optimizer.value):
        return True
    if recipe.traced:
        return False
    kind = recipe.optimizer, recipe.coordinates, _kinds(recipe)
    with _ONE_AT_A_TIME:
        return all(_trains_filled_up(*kind, *pair) for pair in (*TALL_AND_WIDE, (least, widest)))


def is_entrywise(optimizer: Any) -> bool:
    """Whether an optimizer is known to treat every number by itself, or says that it does."""
    if isinstance(optimizer, functools.partial):
        optimizer = optimizer.func
    known = isinstance(optimizer, Hashable) and optimizer in ENTRYWISE
    return known or getattr(optimizer, "entrywise", False) is True


@functools.lru_cache(maxsize=256)
def _trains_filled_up(
    optimizer: Static[Any], coordinates: str, numbers: Any, sizes: Sizes, widest: Sizes
) -> bool:
    """Compares two updates of a network by itself with those of its numbers among zeros."""
    draw = _draws()
    try:
        with jax.ensure_compile_time_eval():
            recipe = Recipe(
                optimizer=optimizer, hyperparams=_stand_ins(numbers), coordinates=coordinates
            )

            @jax.jit  # one program: operation by operation they would be hundreds
            def both(own: list[Params]) -> tuple[list[Params], list[Params]]:
                large = _network(jnp.zeros, _shapes(widest), FEW)
                there = present(large, units_of(sizes, widest))
                filled = _updates(recipe.build(there), *(resized(each, large) for each in own))
                return [resized(each, own[0]) for each in filled], _updates(recipe.build(), *own)

            own = [_network(draw, _shapes(sizes), FEW) for _ in range(3)]
            return all(map(_near, *map(jax.tree.leaves, both(own))))
    except Exception:  # an optimizer of one structure or of certain shapes
        return False


def _kinds(recipe: Recipe) -> Any:
    """The hyperparameters so far as they tell programs apart."""
    if recipe.hyperparams is None:
        return None
    return tuple((name, _kind(value)) for name, value in sorted(recipe.hyperparams.items()))


@functools.lru_cache(maxsize=256)
def _indifferent(
    optimizer: Static[Any], coordinates: str, numbers: Any, shapes: Any, dtype: str
) -> bool:
    """Compares two updates of a few layers by themselves with those of a stack of as many.

    That a depth such as the stack's makes no difference is seen in the programs of both depths:
    they are the same but for this one number.
    """
    widths = {size for shape, _ in shapes for size in shape[-2:]}
    depths = {depth for shape, depth in shapes if len(shape) == 3}
    draw = _draws()
    try:
        with jax.ensure_compile_time_eval():
            transformation = Recipe(
                optimizer=optimizer, hyperparams=_stand_ins(numbers), coordinates=coordinates
            ).build()

            @jax.jit
            def both(networks: list[Params]) -> tuple[list[Params], list[Params]]:
                joined = map(unstack, _updates(transformation, *networks))
                return [*joined], _updates(transformation, *map(unstack, networks))

            networks = [_network(draw, shapes, FEW) for _ in range(3)]
            near = all(map(_near, *map(jax.tree.leaves, both(networks))))
        return near and all(
            _program(transformation, shapes, dtype, _prime_from(max(depth, *widths)))
            == _program(transformation, shapes, dtype, FEW)
            for depth in depths
        )
    except Exception:  # an optimizer of one structure, such as that of the layers as given
        return False


def _draws() -> Any:
    """A function of a shape that draws normal numbers, the same ones each time it is made."""
    random = np.random.default_rng(0)
    return lambda shape: jnp.asarray(random.normal(size=shape), jnp.float32)


def _near(one: Array, other: Array) -> bool:
    """Whether two updates differ by no more than the rounding of a sum over all parameters."""
    return np.allclose(one, other, rtol=0, atol=1e-5 * float(np.max(np.abs(other))))


def _shapes(sizes: Sizes) -> Any:
    """The shapes of the layers of a network without stacks."""
    return [((units, before), 1) for before, units in itertools.pairwise(sizes)]


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


def _stand_ins(numbers: Any) -> dict[str, Any] | None:
    if numbers is None:
        return None
    return {
        name: jnp.full(value[0], 0.1, value[1]) if isinstance(value, tuple) else value or 0.1
        for name, value in numbers
    }


def _updates(optimizer: Any, params: Params, *ways: Params) -> list[Params]:
    """The updates of a descent, each in a way of its own, far from 0, where decay shows."""
    params = jax.tree.map(lambda leaf: 100 * leaf, params)
    state, updates = optimizer.init(params), []
    for way in ways:
        update, state = _update(optimizer, way, state, params)
        params = optax.apply_updates(params, update)
        updates.append(update)
    return updates


def _update(optimizer: Any, way: Params, state: Any, params: Params) -> Any:
    """An update of a run on half the squared distance to a goal, which is that way off.

    The goal itself is never formed: beside parameters that are large it would be rounded, otherwise
    in a stack than layer by layer.
    """

    def value(at: Params) -> Any:
        left = optax.tree.sub(way, optax.tree.sub(at, params))
        return optax.tree.norm(left, squared=True) / 2

    gradient = optax.tree.scale(-1, way)
    extra = {"value": value(params), "grad": gradient, "value_fn": value}
    return optimizer.update(gradient, state, params, **extra)


def _program(optimizer: Any, shapes: Any, dtype: str, depth: int) -> str:
    """The program of an update with stacks of `depth` layers, a prime, written as if of `FEW`."""
    params = _network(lambda shape: jax.ShapeDtypeStruct(shape, dtype), shapes, depth)
    state = jax.eval_shape(optimizer.init, params)
    text = str(jax.make_jaxpr(functools.partial(_update, optimizer))(params, state, params))

    def rewritten(number: re.Match[str]) -> str:
        times, rest = divmod(int(number[0]), depth)
        return number[0] if rest else str(times * FEW)

    text = " ".join(re.sub(r"0x[0-9a-f]+", "", text).split())
    return re.sub(r"(?<![\w.\-])[1-9][0-9]*(?![\w.])", rewritten, text)


def _prime_from(least: int) -> int:
    """A prime of at least so much, which divides no width and so tells itself apart."""
    return next(
        n for n in itertools.count(least + 1) if all(n % k for k in range(2, math.isqrt(n) + 1))
    )
