"""Labeled points of a plane, and the lines that cut it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from logistack.plots.arguments import shaped
from logistack.plots.style import (
    MARKERS,
    PALETTE,
    TINTS,
    Axes,
    Figure,
    legend_above,
    new_figure,
    panel_row,
    styled,
)


class Plane(NamedTuple):
    """What `planes` draws in one panel.

    Attributes:
        points: `(n, 2)`.
        labels: integer classes `(n,)`.
        units: weights `(units, 2)` and biases `(units,)`, a `Layer` that takes the plane: each
            unit's line w·x + b = 0, dashed; the line of a single unit is solid, its sides tinted.
        outputs: a network's output over a grid: x₁ `(columns,)`, x₂ `(rows,)`, and probabilities
            `(rows, columns)`, whose decision regions are tinted and parted at ½.
        annotations: a text for each point; points that coincide share a place.
        axis_labels: what the two axes show.
    """

    points: ArrayLike
    labels: ArrayLike
    units: tuple[ArrayLike, ArrayLike] | None = None
    outputs: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None
    annotations: Sequence[str] | None = None
    axis_labels: tuple[str, str] = ("$x_1$", "$x_2$")


@styled
def planes(*panels: Plane) -> Figure:
    """Draws labeled points of a plane, the lines of units, and decision regions.

    Args:
        *panels: a `Plane` for each panel, such as inputs and new features, side by side.

    Returns:
        A figure with one panel each.

    Raises:
        ValueError: if there is no panel, or a shape does not match.

    >>> xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> unit = np.ones((1, 2)), np.array([-0.5])
    >>> figure = planes(Plane(xor, np.array([0, 1, 1, 0]), units=unit))
    >>> figure.axes[0].get_xlabel()
    '$x_1$'
    """
    if not panels:
        raise ValueError("panels: expected at least one Plane, got none")
    figure = new_figure(3.1 * len(panels), 3.1)
    for axes, panel in zip(panel_row(figure, len(panels)), panels, strict=True):
        _draw_plane(figure, axes, panel)
    legend_above(figure)
    return figure


def _draw_plane(figure: Figure, axes: Axes, panel: Plane) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import MaxNLocator

    points = shaped("points", panel.points, "n", 2)
    labels = shaped("labels", panel.labels, len(points))
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels: expected integer classes, got dtype {labels.dtype}")
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.3 * max(high - low) or 0.5
    low, high = low - margin, high + margin
    if panel.outputs is not None:
        columns, rows = (shaped("outputs", part, "m") for part in panel.outputs[:2])
        outputs = shaped("outputs", panel.outputs[2], len(rows), len(columns))
        low, high = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]])
        tints = LinearSegmentedColormap.from_list("tints", [TINTS[0], "white", TINTS[1]])
        shades = axes.contourf(columns, rows, outputs, np.linspace(0, 1, 11), cmap=tints)
        if outputs.min() < 0.5 < outputs.max():
            axes.contour(columns, rows, outputs, [0.5], colors="black", linewidths=1)
            axes.plot([], [], color="black", label="output ½")
        figure.colorbar(shades, ax=axes, label="output", ticks=[0, 0.5, 1], shrink=0.85)
    if panel.units is not None:
        weights = shaped("units", panel.units[0], "units", 2)
        biases = shaped("units", panel.units[1], len(weights))
        alone = len(weights) == 1
        for weight, bias in zip(weights, biases, strict=True):
            ends = segment(weight, bias, low, high)
            axes.plot(
                *ends.T,
                color="black",
                linestyle="-" if alone else "--",
                label="line of the unit" if alone else "line of each unit",
            )
        if alone and panel.outputs is None:
            columns, rows = np.linspace(low, high, 201).T
            z = np.add.outer(weight[1] * rows, weight[0] * columns) + bias
            axes.contourf(columns, rows, z, [-np.inf, 0, np.inf], colors=TINTS)
    for label in np.unique(labels).tolist():
        axes.plot(
            *points[labels == label].T,
            MARKERS[label % len(MARKERS)],
            color=PALETTE[label % len(PALETTE)],
            markeredgecolor="white",
            markersize=8,
            label=f"target {label}",
        )
    if panel.annotations is not None:
        annotate(axes, points, panel.annotations)
    axes.set(
        xlim=(low[0], high[0]),
        ylim=(low[1], high[1]),
        xlabel=panel.axis_labels[0],
        ylabel=panel.axis_labels[1],
        aspect="equal",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def segment(weight: np.ndarray, bias: float, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The part of the line w·x + b = 0 inside a box: its two ends, or none."""
    ends = []
    for along, across in ((0, 1), (1, 0)):  # where the line meets each of the box's four sides
        for side in (low[along], high[along]) if weight[across] else ():
            other = -(weight[along] * side + bias) / weight[across]
            if low[across] <= other <= high[across]:
                ends.append((side, other) if along == 0 else (other, side))
    return np.array([min(ends), max(ends)]) if ends else np.empty((0, 2))


def annotate(
    axes: Axes, points: np.ndarray, annotations: Sequence[str], away: float = 5, **how: Any
) -> None:
    """Writes a text beside each point, on the side that its neighbors leave free.

    Args:
        axes: where to.
        points: `(n, 2)`; those that coincide share a place.
        annotations: n texts.
        away: how far from the point, in points of 1/72 inch.
        **how: further options of the text.
    """
    if len(annotations) != len(points):
        raise ValueError(f"annotations: expected {len(points)}, got {len(annotations)}")
    texts: dict[Any, list[str]] = {}
    for point, text in zip(points.round(6).tolist(), annotations, strict=True):
        texts.setdefault(tuple(point), []).append(text)
    places = np.array(list(texts))
    for place, here in texts.items():
        others = places[(places != place).any(axis=1)]
        # Each text goes where its point would be pushed if points repelled like charges.
        apart = place - others
        force = (apart / np.linalg.norm(apart, axis=1, keepdims=True) ** 3).sum(axis=0)
        across, up = np.rint(force / (np.abs(force).max(initial=0) or 1)).astype(int).tolist()
        up = up if across or up else 1
        axes.annotate(
            ", ".join(here),
            place,
            (away * across, away * up),
            textcoords="offset points",
            ha=("right", "center", "left")[across + 1],
            va=("top", "center", "bottom")[up + 1],
            fontsize=8,
            **how,
        )
