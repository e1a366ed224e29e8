"""What does backpropagation compute, and where does the gradient vanish?

Writes the chain rule out by hand, one pass forward and one backward, holds the gradient beside
`jax.grad` and central differences, and draws how large δ = ∂C/∂z is in every layer of networks of
many depths, by how they were initialized.

    python experiments/backpropagation.py
    python experiments/backpropagation.py --loss softmax --depths 2 8 64
"""

import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while all is imported: no traceback
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import logistack as ls
from experiments import keeping

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The largest relative differences allowed from jax.grad and from central differences, in float64.
GRAD_LIMIT, QUOTIENT_LIMIT = 1e-12, 1e-7

# Where the weights start: the `scheme` of `ls.init_params`.
SCHEMES = ("orthogonal", "glorot", "normal", "zeros")

# The output y of the logits z, and the loss for which ∂C/∂z is y − ŷ.
OUTPUTS = {"sigmoid": jax.nn.sigmoid, "softmax": jax.nn.softmax}
LOSSES = {
    "sigmoid": ls.losses.sigmoid_cross_entropy,
    "softmax": ls.losses.softmax_cross_entropy,
}

WHY = """\
Each step down multiplies δ by Wᵀ and by σ′, which is ¼ at most and less at a saturated unit: the
weights decide whether it vanishes. Weights of 0 leave no δ below the output, so no factor either,
and there two gradients of 0 agree."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Backpropagates by hand through networks of every depth and initialization."""

    depths: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Hidden layers of each network."""
    width: int = 64
    """Units of a hidden layer."""
    samples: int = 32
    """How many 8×8 digits the loss is summed over."""
    loss: Literal["sigmoid", "softmax"] = "sigmoid"
    """Which cross-entropy."""
    directions: int = 8
    """How many random directions to take central differences along."""
    seed: int = 0
    """Seeds the weights and the directions."""
    out: Path = Path("results/backpropagation")
    """Folder for the figure; other settings have a folder in it."""


def require_config(config: Config) -> None:
    """Raises RefusedError if a Config leaves nothing to study."""
    keeping.require_some(config, "depths")
    keeping.require_counts(config, "depths", "width", "samples", "directions")
    keeping.require_seed(config)


class Study(NamedTuple):
    """One network: how far its gradient is from the two others, and the size of δ by layer."""

    scheme: str
    depth: int
    from_grad: float
    from_quotients: float
    delta_sizes: np.ndarray


def sigmoid_slope(z: jax.Array) -> jax.Array:
    """σ′(z) = σ(z) (1 − σ(z))."""
    y = jax.nn.sigmoid(z)
    return y * (1 - y)


def pass_forward(params: ls.Params, x: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
    """Records what enters each layer, which is ∂z/∂w, and the z that each computes from it."""
    entering, z = [], []
    a = x
    for layer in params:
        entering.append(a)
        z.append(layer.weight @ a + layer.bias)
        a = jax.nn.sigmoid(z[-1])
    return entering, z


def pass_backward(params: ls.Params, z: list[jax.Array], delta: jax.Array) -> list[jax.Array]:
    """Carries δ = ∂C/∂z from the output to the first layer: δˡ = σ′(zˡ) ⊙ (Wˡ⁺¹)ᵀ δˡ⁺¹."""
    deltas = [delta]
    for above, z_below in zip(params[:0:-1], z[-2::-1], strict=True):
        delta = sigmoid_slope(z_below) * (above.weight.T @ delta)
        deltas.append(delta)
    return deltas[::-1]


def backpropagate(
    params: ls.Params, x: jax.Array, target: jax.Array, output: Callable[[jax.Array], jax.Array]
) -> tuple[ls.Params, list[jax.Array]]:
    """Returns one sample's ∂C/∂W = δ aᵀ and ∂C/∂b = δ, a layer each, and every layer's δ."""
    entering, z = pass_forward(params, x)
    deltas = pass_backward(params, z, output(z[-1]) - target)
    gradient = [
        ls.Layer(jnp.outer(delta, a), delta) for delta, a in zip(deltas, entering, strict=True)
    ]
    return tuple(gradient), deltas


def relative(difference: float, size: float) -> float:
    """Difference over size; 0/0 is 0, for two gradients that are 0 in every entry agree."""
    return 0.0 if difference == 0 else difference / size if size else math.inf


def difference_by_layer(gradient: ls.Params, other: ls.Params) -> float:
    """The largest of the layers' relative differences, in the maximum norm over a layer."""

    # NumPy's maximum keeps what is no number; Python's may not.
    def largest(layer: ls.Layer) -> float:
        return float(np.max([np.abs(array).max() for array in layer]))

    gradient, other = jax.tree.map(np.asarray, (gradient, other))
    differences = map(largest, optax.tree.sub(gradient, other))
    return float(np.max(list(map(relative, differences, map(largest, other)))))


def difference_from_quotients(
    loss: Callable[[ls.Params], jax.Array], params: ls.Params, gradient: ls.Params, config: Config
) -> float:
    """The largest of |(C(θ + hv) − C(θ − hv)) / 2h − v·g| / ‖g‖ over random directions v of ±1.

    Every v moves every parameter, and an error e of the gradient shows as v·e, whose root mean
    square over all v is ‖e‖.
    """
    # Truncation costs about s² and rounding ε/s where the z move by s: least together near s = ∛ε.
    # A step of ±h in every weight of a unit moves its z by about s = h √(its inputs).
    inputs = max(layer.weight.shape[1] for layer in params)
    h = float(np.cbrt(np.finfo(params[0].weight.dtype).eps) / math.sqrt(inputs))
    random = np.random.default_rng(config.seed)

    def draw(parameter: jax.Array) -> np.ndarray:
        return random.choice([-1.0, 1.0], (config.directions, *parameter.shape))

    def deviate(v: ls.Params) -> jax.Array:
        ahead, behind = (loss(optax.tree.add_scale(params, step, v)) for step in (h, -h))
        return abs((ahead - behind) / (2 * h) - optax.tree.vdot(v, gradient))

    deviations = jax.vmap(deviate)(jax.tree.map(draw, params))
    norm = math.sqrt(optax.tree.vdot(gradient, gradient))
    return relative(float(deviations.max()), norm)


def study(config: Config, inputs: jax.Array, targets: jax.Array, scheme: str, depth: int) -> Study:
    """Backpropagates through one network, in the precision of the inputs."""
    sizes = (inputs.shape[1], *[config.width] * depth, targets.shape[1])
    key = jax.random.key(config.seed)
    params = ls.init_params(key, sizes, scheme=scheme, dtype=inputs.dtype)

    def loss(params: ls.Params) -> jax.Array:
        return ls.summed_loss(params, inputs, targets, loss=LOSSES[config.loss])

    def of_sample(x: jax.Array, target: jax.Array) -> tuple[ls.Params, list[jax.Array]]:
        return backpropagate(params, x, target, OUTPUTS[config.loss])

    of_samples, deltas = jax.vmap(of_sample)(inputs, targets)
    gradient = jax.tree.map(lambda each: each.sum(axis=0), of_samples)
    return Study(
        scheme,
        depth,
        difference_by_layer(gradient, jax.grad(loss)(params)),
        difference_from_quotients(loss, params, gradient, config),
        np.array([np.sqrt(np.mean(np.square(delta))) for delta in deltas]),
    )


def run(config: Config) -> tuple[Study, ...]:
    """Studies every scheme at every depth, in float64."""
    require_config(config)
    digits = keeping.load("digits")
    with jax.enable_x64(True):
        inputs, targets = (
            jnp.asarray(rows[: config.samples], jnp.float64)
            for rows in (digits.inputs - np.float32(0.5), digits.targets)
        )
        return tuple(
            study(config, inputs, targets, scheme, depth)
            for scheme in SCHEMES
            for depth in config.depths
        )


def agrees(study: Study) -> bool:
    """Whether both differences are within their limits; NaN is not."""
    return study.from_grad <= GRAD_LIMIT and study.from_quotients <= QUOTIENT_LIMIT


def factor_a_layer(study: Study) -> float:
    """What δ is multiplied by from one hidden layer to the one below: a line fitted to ln δ."""
    hidden = study.delta_sizes[:-1]
    layers = np.flatnonzero(hidden)
    if len(layers) < 2:
        return math.nan
    slope, _ = np.polyfit(layers, np.log(hidden[layers]), 1)
    return math.exp(-slope)


def by_scheme(result: Sequence[Study]) -> dict[str, list[Study]]:
    """The networks of each scheme, shallowest first."""
    studies = sorted(result, key=lambda study: study.depth)
    return {
        scheme: [study for study in studies if study.scheme == scheme]
        for scheme in dict.fromkeys(study.scheme for study in result)
    }


def plot(result: Sequence[Study]) -> dict[str, "Figure"]:
    """Draws δ by layer, a panel for each scheme and a line for each depth of at least 2."""
    import matplotlib
    from matplotlib.figure import Figure

    schemes = by_scheme([study for study in result if study.depth > 1])
    if not schemes:
        return {}
    with matplotlib.rc_context(ls.plots.STYLE):
        figure = Figure(figsize=(0.5 + 2.1 * len(schemes), 2.9))
        panels = figure.subplots(1, len(schemes), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (scheme, studies) in zip(panels, schemes.items(), strict=True):
            draw_deltas(axes, scheme, studies)
        panels[0].set(yscale="log", ylabel=r"$\delta$ (root mean square)")
        figure.supxlabel(
            r"A ring is the output, where $\delta = y - \hat{y}$; "
            "the number over it says how many hidden layers are below.",
            fontsize=8,
        )
        figure.draw_without_rendering()
    return {"delta": figure}


def draw_deltas(axes: "Axes", scheme: str, studies: Sequence[Study]) -> None:
    """One scheme: a line for each depth, and by how much δ shrinks."""
    for study in studies:
        sizes = np.where(study.delta_sizes > 0, study.delta_sizes, np.nan)
        layers = np.arange(1, len(sizes) + 1)
        axes.plot(layers, sizes, ".-", color=ls.plots.BLUE, markersize=3, linewidth=0.8)
        axes.plot(layers[-1:], sizes[-1:], "o", color=ls.plots.BLUE, mfc="white", markersize=3.5)
        axes.annotate(
            str(study.depth),
            (layers[-1], sizes[-1]),
            (0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    factor, deepest = factor_a_layer(studies[-1]), studies[-1].depth
    finding = "0 below the output" if math.isnan(factor) else f"× {factor:.2f} a layer down"
    axes.set_xlabel("layer")
    axes.set_title(f"{scheme}\n{finding}", pad=10)
    axes.set_xticks([1, *(study.depth for study in studies if 4 * study.depth >= deepest)])
    axes.spines[["top", "right"]].set_visible(False)


def report(result: Sequence[Study]) -> str:
    """How well the gradients agree, and by how much δ shrinks."""
    schemes = by_scheme(result)
    depths = [study.depth for study in next(iter(schemes.values()))]
    margin = max(map(len, schemes)) + 2
    lines = ["Largest relative difference of the gradient by hand, at each number of hidden layers"]
    for name, field, limit in (
        ("jax.grad, layer by layer", "from_grad", GRAD_LIMIT),
        ("central differences", "from_quotients", QUOTIENT_LIMIT),
    ):
        lines += ["", f"from {name}: at most {limit:.0e}"]
        lines.append(" " * margin + "".join(f"{depth:>9}" for depth in depths) + "  agrees")
        for scheme, studies in schemes.items():
            values = [getattr(study, field) for study in studies]
            numbers = "".join(f"{value:>9.1e}" if value else f"{'0':>9}" for value in values)
            kept = all(value <= limit for value in values)
            lines.append(f"{scheme:<{margin}}{numbers}  {'yes' if kept else 'NO'}")
    lines += ["", f"δ through {depths[-1]} hidden layers: root mean square over samples and units"]
    lines.append(f"{'':<{margin}}{'factor a layer':>16}{f'layer 1 / layer {depths[-1]}':>20}")
    for scheme, studies in schemes.items():
        hidden, factor = studies[-1].delta_sizes[:-1], factor_a_layer(studies[-1])
        numbers = (
            f"{'–':>16}{'–':>20}"
            if math.isnan(factor)
            else f"{factor:>16.3f}{hidden[0] / hidden[-1]:>20.1e}"
        )
        lines.append(f"{scheme:<{margin}}{numbers}")
    return "\n".join([*lines, WHY])


@keeping.command
def main(arguments: list[str]) -> int:
    """Runs the experiment from the command line; 1 if a gradient does not agree."""
    config = keeping.parse(Config, arguments)
    require_config(config)
    folder = keeping.folder_of(config)
    keeping.require_folder("out", folder)
    result = run(config)
    print(report(result))
    print()
    keeping.save_figures(plot(result), folder)
    return 0 if all(map(agrees, result)) else 1


if __name__ == "__main__":
    ls.keep_compiled_programs()
    keeping.start(main)
