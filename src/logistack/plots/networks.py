"""A network: every number of a small one, and what one says of an image."""

import functools
from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from logistack.plots.arguments import class_names, shaped
from logistack.plots.style import (
    BLUE,
    GREY,
    LABEL_BOX,
    VERMILLION,
    Figure,
    new_figure,
    number,
    styled,
)


@styled
def network(
    params: Sequence[tuple[ArrayLike, ArrayLike]], activations: Sequence[ArrayLike]
) -> Figure:
    """Draws a small network with every weight, bias and activation.

    Weights are written on their edges, which are solid and red-orange above 0, dashed and blue
    below; activations are written in their units, and biases under them.

    Args:
        params: a weight `(out, in)` and a bias `(out,)` for each layer: a tuple of `Layer`.
        activations: one sample `(in,)`, then the output of every layer.

    Returns:
        A figure, its height fitted to the widest layer.

    Raises:
        ValueError: if a shape does not match.

    >>> params = [(np.array([[1.0, -2.0]]), np.array([1.0]))]
    >>> texts = network(params, [np.array([1.0, -1.0]), np.array([0.98])]).axes[0].texts
    >>> [text.get_text() for text in texts if "b" in text.get_text()]
    ['$b$ = 1']
    """
    from matplotlib.patches import Circle

    if len(activations) != len(params) + 1:
        raise ValueError(
            f"activations: expected {len(params) + 1}, the sample and one a layer, "
            f"got {len(activations)}"
        )
    columns = [shaped(f"activations[{i}]", a, "units") for i, a in enumerate(activations)]
    reach = 0.65 * (max(map(len, columns)) - 1)
    places = [
        np.array([(2.2 * index, 1.3 * (len(column) - 1) / 2 - 1.3 * unit)
                  for unit in range(len(column))])
        for index, column in enumerate(columns)
    ]  # fmt: skip
    low, high = np.array([-0.45, -reach - 0.65]), np.array([2.2 * len(params) + 0.45, reach + 0.75])
    figure = new_figure(*(0.9 * (high - low)))
    axes = figure.add_subplot()
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set_axis_off()
    write = functools.partial(axes.text, ha="center", va="center")
    along = np.linspace(0.22, 0.78, 29)
    for index, (weight, bias) in enumerate(params):
        fan_in, fan_out = len(columns[index]), len(columns[index + 1])
        weight = shaped(f"params[{index}].weight", weight, fan_out, fan_in)
        bias = shaped(f"params[{index}].bias", bias, fan_out)
        starts = np.tile(places[index], (fan_out, 1))
        ends = np.repeat(places[index + 1], fan_in, axis=0)
        edges = starts[:, None] + along[:, None] * (ends - starts)[:, None]
        labels = np.empty((0, 2))
        for edge, (start, end, value) in enumerate(zip(starts, ends, weight.flat, strict=True)):
            color, dash = (BLUE, "--") if value < 0 else (VERMILLION, "-")
            axes.plot(*np.array([start, end]).T, color=color, linestyle=dash, zorder=1)
            # The weight stands off the other edges and labels; where it can, near the start.
            apart = np.abs(np.delete(edges, edge, axis=0) - edges[edge])[..., 1] / 0.2
            clear = np.max(np.abs(labels[:, None] - edges[edge]) / (0.5, 0.22), axis=2)
            room = np.concatenate([apart, clear]).min(axis=0, initial=1)
            x, y = edges[edge, np.argmax(room - 0.01 * np.abs(along - 0.3))]
            labels = np.append(labels, [(x, y)], axis=0)
            write(x, y, number(value), color=color, bbox=LABEL_BOX)
        for (x, y), value in zip(places[index + 1], bias, strict=True):
            write(x, y - 0.44, f"$b$ = {number(value)}", fontsize=8)
    for index, (column, spots) in enumerate(zip(columns, places, strict=True)):
        for (x, y), value in zip(spots, column, strict=True):
            axes.add_patch(Circle((x, y), 0.3, facecolor="white", edgecolor="black", zorder=3))
            write(x, y, number(value), zorder=4)
        heading = {0: "input", len(params): "output"}.get(index, f"layer {index}")
        write(2.2 * index, reach + 0.6, heading, color=GREY)
    return figure


@styled
def prediction(
    image: ArrayLike,
    outputs: ArrayLike,
    target: ArrayLike,
    loss: float,
    *,
    classes: Sequence[str] | None = None,
) -> Figure:
    r"""Draws one image, the network's outputs beside their targets, and the loss of the sample.

    Args:
        image: `(height, width)`; the largest value is drawn black.
        outputs: y, `(classes,)`.
        target: ŷ, `(classes,)`.
        loss: C of this sample, in nats.
        classes: the names of the outputs; 0, 1, … if None.

    Returns:
        A figure with two panels.

    Raises:
        ValueError: if a shape does not match.

    >>> figure = prediction(np.eye(16), np.full(10, 0.1), np.eye(10)[3], 2.3026)
    >>> figure.axes[1].get_title()
    '$C = -\\sum_i\\, \\hat{y}_i\\, \\ln y_i$ = 2.303'
    """
    image = shaped("image", image, "height", "width")
    outputs = shaped("outputs", outputs, "classes")
    target = shaped("target", target, len(outputs))
    names = class_names("classes", classes, len(outputs))
    figure = new_figure(6.0, 2.5)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.9))
    left.imshow(image, cmap="gray_r", interpolation="nearest")
    height, width = image.shape
    left.set(xlabel=f"input: {height} × {width} = {image.size} pixels", xticks=[], yticks=[])
    places = np.arange(len(outputs))
    wanted = target > 0
    right.bar(
        places[wanted], target[wanted], 0.8, fill=False, linestyle="--", label=r"target $\hat{y}$"
    )
    right.bar(places, outputs, 0.55, color=BLUE, label="output $y$")
    right.set(xlabel="class", ylabel="output", ylim=(0, 1.05))
    right.set_xticks(places, names)
    right.set_title(rf"$C = -\sum_i\, \hat{{y}}_i\, \ln y_i$ = {loss:.3f}")
    right.spines[["top", "right"]].set_visible(False)
    right.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure
