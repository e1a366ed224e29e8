"""The regions of the plane that a network gives to each class."""

import jax
import numpy as np
from jax.typing import ArrayLike

from logistack import _checks
from logistack.layers import Params
from logistack.network import logits
from logistack.plots.arguments import Samples, require_samples
from logistack.plots.spaces import Frame, draw_samples, frame_of, require_network, set_frame
from logistack.plots.style import (
    TINTS,
    Axes,
    Figure,
    class_tint,
    legend_above,
    new_figure,
    styled,
)

_logits = jax.jit(jax.vmap(logits, in_axes=(None, 0)))


@styled
def decision_regions(
    params: Params,
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    axis_labels: tuple[str, str] = ("$x_1$", "$x_2$"),
    resolution: int = 300,
) -> Figure:
    """Draws the regions of the plane that a network assigns to each class, and the samples.

    A network of one output assigns a point to the second class where σ(z) > ½, and its panel is
    shaded by σ(z). A network of several assigns it to the class of its largest output.

    Args:
        params: a tuple of `Layer` that takes two features.
        inputs: samples `(n, 2)`.
        labels: their classes `(n,)`: at most two of any dtype for a network of one output, else
            integers, the index of an output.
        axis_labels: the labels of the two axes.
        resolution: how many points per side the network is evaluated at.

    Returns:
        A figure with one panel.

    Raises:
        ValueError: if a shape or a label does not match the network.
        TypeError: if `params` is not a tuple of `Layer`, or a dtype is wrong.

    >>> import jax
    >>> from logistack.initialization import init_params
    >>> xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> params = init_params(jax.random.key(0), (2, 8, 1))
    >>> decision_regions(params, xor, np.array([0, 1, 1, 0])).axes[0].get_xlabel()
    '$x_1$'
    """
    params = require_network(params, 2)
    resolution = _checks.require_count("resolution", resolution, low=2)
    samples = require_samples(inputs, labels, 2)
    outputs = params[-1].weight.shape[-2]
    samples = _classes_of_outputs(samples, np.asarray(labels), outputs)
    frame = frame_of(samples.inputs, 0.15)
    columns, rows = np.linspace(frame.low, frame.high, resolution).T
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    z = np.asarray(_logits(params, grid.astype(params[0].weight.dtype)), np.float64)
    z = z.reshape(resolution, resolution, outputs)
    figure = new_figure(3.9 if outputs == 1 else 3.4, 3.4)
    axes = figure.add_subplot()
    if outputs == 1:
        _shade_by_output(figure, axes, columns, rows, z[..., 0])
    else:
        _shade_by_class(axes, frame, z)
        for output in range(outputs):
            lead = z[..., output] - np.delete(z, output, axis=-1).max(axis=-1)
            _draw_boundary(axes, columns, rows, lead)
    draw_samples(axes, samples.inputs, samples.ranks, samples.names)
    if outputs == 1 and z.min() < 0 < z.max():
        axes.plot([], [], color="black", label="output ½")
    set_frame(axes, frame, axis_labels)
    legend_above(figure, 3)
    return figure


def _classes_of_outputs(samples: Samples, labels: np.ndarray, outputs: int) -> Samples:
    if outputs == 1:
        if len(samples.classes) > 2:
            raise ValueError(
                "labels: expected at most two classes for a network of one output, got "
                f"{len(samples.classes)}"
            )
        return samples
    if labels.dtype.kind not in "biu":
        raise TypeError(
            f"labels: expected integer classes for a network of {outputs} outputs, "
            f"got dtype {labels.dtype}"
        )
    _checks.require_range("labels", labels, 0, outputs - 1, "classes")
    return Samples(samples.inputs, labels.astype(int), tuple(map(str, range(outputs))))


def _shade_by_output(
    figure: Figure, axes: Axes, columns: np.ndarray, rows: np.ndarray, z: np.ndarray
) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    tints = LinearSegmentedColormap.from_list("tints", [TINTS[0], "white", TINTS[1]])
    outputs = np.exp(-np.logaddexp(0, -z))
    shades = axes.contourf(columns, rows, outputs, np.linspace(0, 1, 11), cmap=tints)
    figure.colorbar(shades, ax=axes, label="output", ticks=[0, 0.5, 1], shrink=0.85)
    _draw_boundary(axes, columns, rows, z)


def _shade_by_class(axes: Axes, frame: Frame, z: np.ndarray) -> None:
    from matplotlib.colors import ListedColormap

    count = z.shape[-1]
    half = (frame.high - frame.low) / (len(z) - 1) / 2  # of a pixel, whose middle was asked
    (left, bottom), (right, top) = frame.low - half, frame.high + half
    axes.imshow(
        z.argmax(axis=-1),
        cmap=ListedColormap([class_tint(rank) for rank in range(count)]),
        vmin=-0.5,
        vmax=count - 0.5,
        interpolation="nearest",
        origin="lower",
        extent=(left, right, bottom, top),
        aspect="auto",
    )


def _draw_boundary(axes: Axes, columns: np.ndarray, rows: np.ndarray, lead: np.ndarray) -> None:
    # Where logits change sign, not where outputs pass ½: those are flat on both sides of a step.
    if lead.min() < 0 < lead.max():
        axes.contour(columns, rows, lead, [0], colors="black", linewidths=1)
