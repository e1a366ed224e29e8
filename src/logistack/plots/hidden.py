"""How layers move samples: the space after one, and the input's grid carried through all."""

import math
from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from logistack import _checks
from logistack.layers import Params
from logistack.plots import spaces
from logistack.plots.arguments import Samples, require_samples
from logistack.plots.proofs import (
    Proof,
    draw_proof,
    hyperplane,
    require_proof,
)
from logistack.plots.spaces import draw_samples, frame_of, layer_title, through_layers
from logistack.plots.style import GRID_COLOURS, Axes, Figure, legend_above, new_figure, styled


@styled
def hidden_space(
    params: Params,
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    layer: int,
    certificate: Proof | None = None,
) -> Figure:
    """Draws samples as one layer represents them, and what is proved about them there.

    One unit is drawn as a strip, and two as they are. More are drawn in a plane: that of the first
    two principal components, or, with a separator, of its normal and the first principal component
    of the rest, in which the separator is the vertical line at 0, the distance from it is true,
    and so is the margin. A weak line of a common point is taken for a separator of margin 0.

    Args:
        params: a tuple of `Layer`.
        inputs: samples `(n, in)`.
        labels: their classes `(n,)`, of any dtype.
        layer: which layer; 0 is the input itself.
        certificate: what was proved about this layer, as an entry of `logistack.untangle`.

    Returns:
        A figure with one panel.

    Raises:
        ValueError: if a shape does not match, or a layer does not exist.
        TypeError: if a dtype is wrong, or `certificate` is not one of two classes.

    >>> import jax
    >>> from logistack.initialization import init_params
    >>> xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> params = init_params(jax.random.key(0), (2, 8, 1))
    >>> figure = hidden_space(params, xor, np.array([0, 1, 1, 0]), layer=1)
    >>> figure.axes[0].get_title()
    'layer 1 (8 units)'
    """
    params = spaces.require_network(params)
    samples = require_samples(inputs, labels, params[0].weight.shape[-1])
    depth = spaces.depth(params)
    layer = _checks.require_count("layer", layer, low=0, high=depth)
    points = through_layers(params, samples.inputs)[layer]
    if certificate is not None:
        require_proof("certificate", certificate, points.shape[1])
    strip = points.shape[1] == 1
    figure = new_figure(3.6, 1.1 + 0.4 * len(samples.classes) if strip else 3.6)
    axes = figure.add_subplot()
    _draw_space(axes, layer, points, samples, certificate)
    axes.set_title(layer_title(layer, depth, points.shape[1]))
    legend_above(figure, 3)
    return figure


@styled
def warped_grid(
    params: Params,
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    layers: Sequence[int] | None = None,
    certificates: Sequence[Proof | None] | None = None,
    cells: int = 16,
    axis_labels: tuple[str, str] = spaces.INPUT_LABELS,
) -> Figure:
    """Draws the input's square grid as every layer bends it, and the samples on it.

    Lines of constant x₁ have one hue and those of constant x₂ another, through all panels. A layer
    wider than two is drawn by the principal components of grid and samples, or as `hidden_space`
    draws it where there is a certificate; one of a single unit, onto which the whole plane falls,
    is a strip of samples alone.

    Args:
        params: a tuple of `Layer` that takes two features.
        inputs: samples `(n, 2)`.
        labels: their classes `(n,)`, of any dtype.
        layers: the layers to show, 0 being the input; all if None.
        certificates: what was proved about each space, the input first, as from
            `logistack.untangle`; None for nothing.
        cells: squares along the longer side.
        axis_labels: what the two inputs are.

    Returns:
        A figure with a panel for each layer, four in a row.

    Raises:
        ValueError: if a shape does not match, or a layer does not exist.
        TypeError: if a dtype is wrong, or a certificate is not one of two classes.

    >>> import jax
    >>> from logistack.initialization import init_params
    >>> xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> figure = warped_grid(init_params(jax.random.key(0), (2, 2, 1)), xor, [0, 1, 1, 0])
    >>> [axes.get_title() for axes in figure.axes]
    ['input', 'layer 1', 'output']
    """
    params = spaces.require_network(params, 2)
    samples = require_samples(inputs, labels, 2)
    cells = _checks.require_count("cells", cells, low=1)
    depth = spaces.depth(params)
    chosen = spaces.require_layers("layers", layers, depth)
    if certificates is None:
        certificates = [None] * (depth + 1)
    if len(certificates) != depth + 1:
        raise ValueError(
            f"certificates: expected {depth + 1}, of the input and of each layer, "
            f"got {len(certificates)}"
        )
    grid = spaces.grid_over(samples.inputs, cells, 201)
    carried = through_layers(params, grid.points.reshape(-1, 2))
    points = through_layers(params, samples.inputs)
    columns = min(4, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure = new_figure(2.7 * columns, 2.8 * rows + 0.2)
    for index, layer in enumerate(chosen):
        certificate, width = certificates[layer], points[layer].shape[1]
        if certificate is not None:
            require_proof(f"certificates[{layer}]", certificate, width)
        axes = figure.add_subplot(rows, columns, index + 1)
        lines = carried[layer].reshape(*grid.points.shape[:2], width)
        moved = grid._replace(points=lines)
        _draw_space(axes, layer, points[layer], samples, certificate, moved, axis_labels)
        axes.set_title(layer_title(layer, depth, width))
    legend_above(figure, 3 if columns == 1 else 5)
    return figure


def _draw_space(
    axes: Axes,
    layer: int,
    points: np.ndarray,
    samples: Samples,
    certificate: Proof | None,
    grid: spaces.Grid | None = None,
    inputs: tuple[str, str] = spaces.INPUT_LABELS,
) -> None:
    """Draws one layer's samples `(n, width)`, with its grid and certificate if there are any."""
    width = points.shape[1]
    everything = points
    if grid is not None and width > 1:
        everything = np.concatenate([points, grid.points.reshape(-1, width)])
    normal = None if certificate is None else hyperplane(certificate)
    view = spaces.view_of(everything, layer, normal and (normal.weight, normal.bias), inputs)
    if width == 1:
        frame = spaces.strip_frame(points[:, 0], len(samples.classes))
        spaces.set_lanes(axes, frame, view.labels[0], samples.classes)
        places = np.column_stack([points, spaces.lanes(samples.ranks)])
    else:
        frame = frame_of(view(everything), 0.08)
        spaces.set_frame(axes, frame, view.labels)
        places = view(points)
    if grid is not None and width > 1:
        draw_grid(axes, view(grid.points), grid.constant_first)
    draw_samples(axes, places, samples.ranks, samples.names)
    if certificate is not None:
        draw_proof(axes, view, frame, certificate)


def draw_grid(axes: Axes, lines: np.ndarray, constant_first: int) -> None:
    """Draws polylines `(lines, steps, 2)`, the first ones in one hue and the rest in another."""
    from matplotlib.collections import LineCollection

    for color, part in zip(
        GRID_COLOURS, (lines[:constant_first], lines[constant_first:]), strict=True
    ):
        axes.add_collection(
            LineCollection(list(part), colors=color, linewidths=0.6, alpha=0.8, zorder=1),
            autolim=False,
        )
