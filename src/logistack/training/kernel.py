"""The kernel of a fused epoch: one block of threads takes one member through all steps of it.

It is Pallas's, for the Mosaic GPU backend and the tensor cores of NVIDIA's Hopper. These multiply
bfloat16 and sum in float32. A number of float32 is the sum of three of bfloat16, so that six
products give what float32 gives; the tensor cores' own format for float32 keeps 10 bits of 23.

It has never run on a GPU. It has been run in Pallas's interpreter, and lowered for CUDA.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

ROWS = 64  # of one instruction of the tensor cores
PARTS = 3  # of bfloat16, whose sum a number of float32 is
LEAST = float(np.finfo(np.float32).tiny)


class Plan(NamedTuple):
    """What a kernel is made for.

    Attributes:
        sizes: the units of the input and of every layer, filled up.
        batch: samples a step.
        parts: how many numbers of bfloat16 an operand of a product is the sum of.
        adam: whether it is Adam and not SGD.
        moments: how many arrays as large as the weights the optimizer keeps.
        softmax: which of the losses it is.
        interpret: the parameters of Pallas's interpreter, or None for a GPU.
    """

    sizes: tuple[int, ...]
    batch: int
    parts: int
    adam: bool
    moments: int
    softmax: bool
    interpret: Any = None

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of every layer."""
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    def held(self, layer: int) -> int:
        """In how many parts a layer's inputs are kept: σ′ takes activations in float32."""
        return self.parts if layer == 0 else PARTS

    @property
    def memory(self) -> int:
        """The bytes of shared memory that it takes."""
        total = 2 * self.parts * self.batch * self.sizes[-1]
        for layer, (inputs, outputs) in enumerate(self.layers):
            total += 2 * self.parts * inputs * outputs
            total += 4 * (1 + self.moments) * (inputs + 1) * outputs
            total += 2 * self.held(layer) * self.batch * inputs
        return total


def updated(plan: Plan, gradient: Array, now: list[Array], n: list[Any]) -> list[Array]:
    """The weights, which come first, and their moments after a step with the numbers n."""
    weight, *moments = now
    if plan.adam:
        rate, b1, b2, eps, eps_root, new1, new2, left1, left2 = n
        mean = new1 * gradient + b1 * moments[0]
        square = new2 * (gradient * gradient) + b2 * moments[1]
        under = square / left2 + eps_root
        root = under * jax.lax.rsqrt(jnp.maximum(under, LEAST))  # JAX 0.10 has no root there
        return [weight - rate * (mean / left1) / (root + eps), mean, square]
    if plan.moments:
        trace = gradient + n[1] * moments[0]
        return [weight - n[0] * trace, trace]
    return [weight - n[0] * gradient]


def split(array: Array, parts: int) -> list[Array]:
    """Numbers of bfloat16 whose sum the array is, the largest first."""
    split = []
    for _ in range(parts):
        split.append(array.astype(jnp.bfloat16))
        array = array - split[-1].astype(jnp.float32)
    return split


def make_kernel(plan: Plan, members: int, steps: int) -> Callable[..., Any]:
    """The kernel, with a block of 128 threads for each member.

    Its arguments are the batches in parts, `(members · steps · parts, batch, in)`, bfloat16; their
    targets, `(members, steps, batch, out)`, and weights, `(members, steps, batch)`; the optimizer's
    numbers, `(members, steps, n)`; then for each layer its parameters and each of their moments, as
    `(members, in, out)` and `(members, out)`. Of batches, targets and weights there may be those of
    one member, for all. It returns the logits before each step, shaped as the targets, and
    parameters and moments as they came.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import mosaic_gpu as gpu

    layers, batch, parts = plan.layers, plan.batch, plan.parts
    kept = 1 + plan.moments
    matrix = gpu.Layout.WGMMA
    by_row, by_column = matrix.reduce(1), matrix.reduce(0)
    # How the tensor cores want bfloat16 to lie, and float32 likewise.
    halves = (gpu.TilingTransform((8, 16)), gpu.SwizzleTransform(32))
    wholes = (gpu.TilingTransform((8, 16)), gpu.SwizzleTransform(64))

    def load(ref: Any, layout: Any) -> Array:
        old = {"idx": ()} if "idx" in inspect.signature(gpu.load).parameters else {}  # JAX 0.10
        loaded: Array = gpu.load(ref, **old, layout=layout, optimized=False)
        return loaded

    def give(ref: Any, value: Array) -> None:
        """Stores to the GPU's memory, out of the chip."""
        if hasattr(gpu, "store"):
            gpu.store(ref, value, optimized=False)
        else:  # JAX 0.10
            ref[...] = value

    def put(ref: Any, value: Array, parts: int = parts) -> None:
        """Stores an operand of products."""
        for place, part in enumerate(split(value, parts)):
            ref[place] = part

    def turned(ref: Any) -> Any:
        return ref.T if hasattr(type(ref), "T") else gpu.transpose_ref(ref, (1, 0))  # JAX 0.10

    def along(axis: int, row: Array, shape: tuple[int, ...]) -> Array:
        return jax.lax.broadcast_in_dim(row, shape, (axis,))

    def product(one: list[Any], other: list[Any]) -> Array:
        """The product of two operands, each in its parts."""
        # Makes what was stored visible to the tensor cores. It stands here, before every product,
        # because the interpreter does not find that it is missing.
        gpu.commit_smem()

        def summed(total: Any) -> Array:
            pairs = [(i, j) for i in range(parts) for j in range(parts - i)]
            for i, j in sorted(pairs, key=sum, reverse=True):  # the smallest first
                gpu.wgmma(total, one[i], other[j])
            whole: Array = total[...]
            return whole

        shape = (one[0].shape[0], other[0].shape[1])
        result: Array = pl.run_scoped(summed, gpu.WGMMAAccumulatorRef(shape, jnp.float32))
        return result

    def by_layer(refs: Any) -> list[tuple[Any, Any]]:
        """Of each layer the matrices, weights first, and the rows, biases first."""
        own = [refs[2 * kept * place : 2 * kept * (place + 1)] for place in range(len(layers))]
        return [(each[::2], each[1::2]) for each in own]

    def blocks(inputs: int) -> list[Any]:
        return [pl.ds(first, ROWS) for first in range(0, inputs, ROWS)]

    def body(*refs: Any) -> None:
        x, y, w, numbers, *refs_left = refs
        count = 2 * kept * len(layers)
        before, logits, after = refs_left[:count], refs_left[count], refs_left[count + 1 :]
        after, scratch = after[:count], after[count:]
        arrays, factors = by_layer(scratch[:count]), scratch[count : count + len(layers)]
        *inputs_of, top, arrived = scratch[count + len(layers) :]
        member = jax.lax.axis_index("member")

        def own(ref: Any, once: int = 1) -> Any:
            return 0 if ref.shape[0] == once else member

        def fetch(step: Any) -> None:
            gpu.commit_smem()  # all threads are done with the batch before
            first = (own(x, steps * parts) * steps + step) * parts
            for part in range(parts):
                gpu.copy_gmem_to_smem(x.at[first + part], inputs_of[0].at[part], arrived)

        def forward() -> Array:
            """The logits; the inputs of every layer are kept."""
            for layer, (_, outputs) in enumerate(layers):
                a, factor = inputs_of[layer], factors[layer]
                z = product([a.at[i] for i in range(parts)], [factor.at[i] for i in range(parts)])
                bias = arrays[layer][1][0]
                z = z + along(1, load(bias, by_column), (batch, outputs))
                if layer + 1 < len(layers):
                    put(inputs_of[layer + 1], jax.nn.sigmoid(z), plan.held(layer + 1))
            return z

        def slope_of(z: Array, goals: Array) -> Array:
            """The derivative of the loss with respect to the logits."""
            if not plan.softmax:
                return jax.nn.sigmoid(z) - goals
            power = jnp.exp(z - along(0, jnp.max(z, axis=1), z.shape))
            share = jnp.sum(goals, axis=1) / jnp.sum(power, axis=1)
            return power * along(0, share, z.shape) - goals

        def backward(slope: Array, n: list[Any]) -> None:
            """Updates every layer, the last one first."""
            for layer in reversed(range(len(layers))):
                # When a layer is updated, its inputs are done with, and what comes back to the
                # layer below takes their place.
                slopes = top if layer + 1 == len(layers) else inputs_of[layer + 1]
                a, factor, (matrices, rows) = inputs_of[layer], factors[layer], arrays[layer]
                put(slopes, slope)
                operand = [slopes.at[i] for i in range(parts)]
                now = [load(ref, by_column) for ref in rows]
                for ref, value in zip(rows, updated(plan, jnp.sum(slope, 0), now, n), strict=True):
                    ref[...] = value
                if layer > 0:
                    held = [load(a.at[i], matrix) for i in reversed(range(PARTS))]
                    active = sum(part.astype(jnp.float32) for part in held)
                    slope = product(operand, [turned(factor.at[i]) for i in range(parts)])
                    slope = slope * (active * (1 - active))
                for block in blocks(layers[layer][0]):
                    turned_inputs = [turned(a.at[i, :, block]) for i in range(parts)]
                    gradient = product(turned_inputs, operand)
                    now = [load(ref.at[block], matrix) for ref in matrices]
                    values = updated(plan, gradient, now, n)
                    for ref, value in zip(matrices, values, strict=True):
                        ref[block] = value
                    put(factor.at[:, block], values[0])

        def pieces(outside: Any) -> Iterator[tuple[Any, Any, Any]]:
            """Of every array, a part on the chip, the same outside, and how its values lie."""
            given = by_layer(outside)
            for (inputs, _), ours, theirs in zip(layers, arrays, given, strict=True):
                for one, other in zip(ours[0], theirs[0], strict=True):
                    for block in blocks(inputs):
                        yield one.at[block], other.at[member, block], matrix
                for one, other in zip(ours[1], theirs[1], strict=True):
                    yield one, other.at[member], by_column

        fetch(0)
        for here, outside, layout in pieces(before):
            here[...] = load(outside, layout)
        for (inputs, _), factor, (matrices, _) in zip(layers, factors, arrays, strict=True):
            for block in blocks(inputs):
                put(factor.at[:, block], load(matrices[0].at[block], matrix))

        @pl.loop(0, steps)
        def _step(step: Any) -> None:
            n = [numbers[member, step, place] for place in range(numbers.shape[2])]
            goals = load(y.at[own(y), step], matrix)
            counts = load(w.at[own(w), step], by_row)
            gpu.barrier_wait(arrived)
            z = forward()
            give(logits.at[member, step], z)
            backward(slope_of(z, goals) * along(0, counts, z.shape), n)
            pl.when(step + 1 < steps)(lambda: fetch(step + 1))

        for here, outside, layout in pieces(after):
            give(outside, load(here, layout))

    def each(matrix: Callable[..., Any], row: Callable[..., Any]) -> list[Any]:
        shapes = [sizes for sizes in layers for _ in range(kept)]
        return [array for sizes in shapes for array in (matrix(sizes), row(sizes[1:]))]

    def result(shape: tuple[int, ...]) -> Any:
        return jax.ShapeDtypeStruct((members, *shape), jnp.float32)

    half = functools.partial(gpu.SMEM, dtype=jnp.bfloat16, transforms=halves)
    whole = functools.partial(gpu.SMEM, dtype=jnp.float32)
    results = [result((steps, batch, plan.sizes[-1])), *each(result, result)]
    scratch = [
        *each(functools.partial(whole, transforms=wholes), whole),
        *(half((parts, *sizes)) for sizes in layers),
        *(half((plan.held(layer), batch, inputs)) for layer, (inputs, _) in enumerate(layers)),
        half((parts, batch, plan.sizes[-1])),
        gpu.Barrier(num_arrivals=parts),
    ]
    typed: dict[str, Any] = {"out_type": results, "scratch_types": scratch}
    if "out_type" not in inspect.signature(gpu.kernel).parameters:  # JAX 0.10
        typed = {"out_shape": results, "scratch_shapes": scratch}
    grid: dict[str, Any] = {"grid": (members,), "grid_names": ("member",)}
    kernel: Callable[..., Any] = gpu.kernel(body, **typed, **grid, interpret=plan.interpret)
    return kernel
