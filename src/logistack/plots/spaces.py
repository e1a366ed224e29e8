"""Where a layer takes samples and a grid, and the plane it is looked at in."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from logistack import _checks, network
from logistack.layers import Params, depth_of, require_params
from logistack.plots.style import Axes, class_color, class_marker, class_tint


class View(NamedTuple):
    """An orthogonal projection of a space to a line or a plane: (x − origin) · axesᵀ.

    Attributes:
        origin: `(width,)`.
        axes: `(1 or 2, width)`, orthonormal.
        labels: what each axis shows.
    """

    origin: np.ndarray
    axes: np.ndarray
    labels: tuple[str, ...]

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Takes points `(…, width)` to the line or plane."""
        return (points - self.origin) @ self.axes.T


class Frame(NamedTuple):
    """The corners of a panel, and whether its two axes have one scale."""

    low: np.ndarray
    high: np.ndarray
    equal: bool


def require_network(params: Params, features: int | None = None, *, name: str = "params") -> Params:
    """Returns the parameters, after checking that they are finite and take so many features."""
    params = require_params(params, name=name)
    for index, layer in enumerate(params):
        for part, array in layer._asdict().items():
            _checks.require_finite(f"{name}[{index}].{part}", array)
    takes = params[0].weight.shape[-1]
    if features is not None and takes != features:
        raise ValueError(f"{name}: expected a network of {features} inputs, got one of {takes}")
    return params


def depth(params: Params) -> int:
    """How many layers a network has, those in stacks too."""
    return sum(map(depth_of, params))


def widths(params: Params) -> list[int]:
    """How many features there are, then units in every layer."""
    inner = (depth_of(layer) * [layer.weight.shape[-2]] for layer in params)
    return [params[0].weight.shape[-1], *itertools.chain.from_iterable(inner)]


# One program for all snapshots of a run.
_activations = jax.jit(jax.vmap(network.activations, in_axes=(None, 0)))


def through_layers(params: Params, points: np.ndarray) -> list[np.ndarray]:
    """Points `(n, features)` of the input, then as every layer has them, in float64."""
    carried = _activations(params, points.astype(params[0].weight.dtype))
    return [points, *(np.asarray(layer, np.float64) for layer in carried)]


def layer_title(layer: int, layers: int, width: int) -> str:
    """What a panel calls the space after so many of the layers, and how wide it is beyond two."""
    name = {0: "input", layers: "output"}.get(layer, f"layer {layer}")
    return name if width <= 2 else f"{name} ({width} {'units' if layer else 'features'})"


INPUT_LABELS = ("$x_1$", "$x_2$")


def view_of(
    points: np.ndarray,
    layer: int,
    normal: tuple[np.ndarray, float] | None = None,
    inputs: tuple[str, str] = INPUT_LABELS,
) -> View:
    """The plane to look at points of a space in.

    Args:
        points: `(n, width)`.
        layer: after which layer the space comes; 0 is the input.
        normal: a hyperplane w·x + b = 0, w of length 1. In more than two dimensions the first axis
            is its normal: the hyperplane is then the vertical line at 0.
        inputs: what two inputs are called.

    Returns:
        Units as they are, if there are one or two; else the normal, if there is one, and
        principal components of what is left.
    """
    width = points.shape[1]
    if width <= 2:
        labels = (("$a_1$", "$a_2$") if layer else inputs)[:width]
        return View(np.zeros(width), np.eye(width), labels)
    mean = points.mean(axis=0)
    if normal is None:
        axes, shares = _principal(points - mean, 2)
        labels = tuple(
            f"principal component {index} ({share:.0%})" for index, share in enumerate(shares, 1)
        )
        return View(mean, axes, labels)
    weight, bias = normal
    origin = mean - (weight @ mean + bias) * weight
    rest = points - mean
    axes, shares = _principal(rest - np.outer(rest @ weight, weight), 1)
    labels = ("signed distance from the line", f"principal component of the rest ({shares[0]:.0%})")
    return View(origin, np.stack([weight, axes[0]]), labels)


def _principal(centred: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first principal components of centred points, and their shares of the variance."""
    variances, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, :count].T
    # Either sign is right; the largest entry is positive so that a picture is not mirrored.
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    shares = variances[::-1][:count] / (variances.sum() or 1.0)
    return axes * np.sign(largest), shares.clip(0, 1)


def frame_of(points: np.ndarray, margin: float) -> Frame:
    """The corners of a square panel that shows points `(n, axes)`, with a margin."""
    low, high, equal = _bounds(points, margin)
    if equal:
        middle, half = (low + high) / 2, (high - low).max() / 2
        low, high = middle - half, middle + half
    return Frame(low, high, equal)


def strip_frame(values: np.ndarray, classes: int) -> Frame:
    """The corners of a strip that shows numbers `(n,)` in a lane for each class."""
    (low,), (high,), _ = _bounds(values[:, None], 0.08)
    return Frame(np.array([low, -0.6]), np.array([high, classes - 0.4]), False)


def _bounds(points: np.ndarray, margin: float) -> Frame:
    """The box of points, and a margin: one scale unless one side is four times the other."""
    low, high = points.min(axis=0), points.max(axis=0)
    span = high - low
    longest = span.max() or 1.0
    equal = not span.any() or bool(4 * span.min() >= longest)
    room = margin * np.where(equal | (span == 0), longest, span)
    return Frame(low - room, high + room, equal)


def lanes(ranks: np.ndarray) -> np.ndarray:
    """A height for each sample of a strip: near its class's rank, spread so that none hide."""
    heights = ranks.astype(float)
    for rank in np.unique(ranks):
        here = np.flatnonzero(ranks == rank)
        # Multiples of the golden ratio, modulo 1, fill an interval evenly at any number.
        heights[here] += 0.5 * ((np.arange(1, len(here) + 1) * 0.618034) % 1 - 0.5)
    return heights


class Grid(NamedTuple):
    """A grid of the input plane as polylines.

    Attributes:
        points: `(lines, steps, 2)`.
        constant_first: how many lines, the first ones, have x₁ constant; the others have x₂.
    """

    points: np.ndarray
    constant_first: int


def grid_over(inputs: np.ndarray, cells: int, steps: int) -> Grid:
    """A grid over samples of a plane, `cells` along its longer side, square if it can be."""
    low, high, equal = _bounds(inputs, 0.12)
    span = high - low
    counts = np.maximum(1, np.rint(cells * span / span.max())) if equal else (cells, cells)
    lines = []
    for constant in (0, 1):
        for level in np.linspace(low[constant], high[constant], int(counts[constant]) + 1):
            line = np.linspace(low, high, steps)
            line[:, constant] = level
            lines.append(line)
    return Grid(np.stack(lines), int(counts[0]) + 1)


def draw_samples(
    axes: Axes, points: np.ndarray, ranks: np.ndarray, names: Sequence[str], *, faint: bool = False
) -> None:
    """Draws samples by class: smaller the more there are, and as pixels where there are many.

    Args:
        axes: where to.
        points: `(n, 2)`.
        ranks: `(n,)`, the class of each.
        names: what the classes are called in the legend.
        faint: whether others are to stand out.
    """
    size = marker_size(len(points))
    for rank, name in enumerate(names):
        color = class_color(rank)
        axes.plot(
            *points[ranks == rank].T,
            class_marker(rank),
            color=class_tint(rank) if faint else color,
            markeredgecolor=color if faint else "white",
            markeredgewidth=0.6 if size > 4 else 0.2,
            markersize=size,
            label=None if faint else name,
            rasterized=len(points) > 2000,
            zorder=1.5 if faint else 3,
        )


def marker_size(count: int) -> float:
    """How wide, in points, the markers of so many samples are."""
    return float(np.clip(8 * (30 / max(count, 1)) ** 0.25, 2, 7.5))


def set_frame(axes: Axes, frame: Frame, labels: Sequence[str]) -> None:
    """Makes a square panel of these corners, with few ticks."""
    from matplotlib.ticker import MaxNLocator

    axes.set(
        xlim=(frame.low[0], frame.high[0]),
        ylim=(frame.low[1], frame.high[1]),
        xlabel=labels[0],
        ylabel=labels[1],
        box_aspect=1,
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def set_lanes(axes: Axes, frame: Frame, label: str, classes: Sequence[str]) -> None:
    """Makes a strip, with a lane for each class."""
    from matplotlib.ticker import MaxNLocator

    axes.set(
        xlim=(frame.low[0], frame.high[0]),
        ylim=(frame.low[1], frame.high[1]),
        xlabel=label,
        ylabel="class",
    )
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(axis="y", length=0)


def require_layers(name: str, layers: Sequence[int] | None, depth: int) -> list[int]:
    """The layers to draw, 0 being the input: those that are asked for, or all."""
    if layers is None:
        return list(range(depth + 1))
    if not len(layers):
        raise ValueError(f"{name}: expected at least one layer, got none")
    return [
        _checks.require_count(f"{name}[{index}]", layer, low=0, high=depth)
        for index, layer in enumerate(layers)
    ]
