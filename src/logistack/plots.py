"""Figures from arrays, in one style.

Every function takes arrays and returns a `matplotlib.figure.Figure` that belongs to nobody: no
window, no `pyplot`, no global state. `save` writes one to a file. Colours are those of Okabe and
Ito, which colour-blind readers tell apart; classes differ in marker and lines in dash as well.

Matplotlib is imported when a figure is drawn: `pip install 'logistack[plots]'`.
"""

import contextlib
import functools
import io
import math
import os
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeAlias

import numpy as np
from jax.typing import ArrayLike

from logistack import _checks, _files

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

# Names, for Matplotlib is not imported here.
Axes: TypeAlias = "matplotlib.axes.Axes"
Figure: TypeAlias = "matplotlib.figure.Figure"

# Okabe & Ito, "Color Universal Design", 2008; their yellow is too pale for lines.
BLUE, VERMILLION = "#0072B2", "#D55E00"
PALETTE = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
TINTS = ("#D6E8F3", "#F8E3D6")  # of the first two
GREY = "#7F7F7F"
MARKERS = "os^Dv<P"
DIVERGING = "RdBu_r"  # blue below 0, red above
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}

STYLE: dict[Any, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.titlesize": "medium",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.0,
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
}

P = ParamSpec("P")


def save(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 150) -> None:
    """Writes a figure to a file, whole or not at all.

    Args:
        figure: what a function of this module returned.
        path: where to; its ending names the format (png, pdf, svg). Folders are made as needed.
        dpi: pixels an inch.

    Raises:
        ValueError: if `path` ends in no format that Matplotlib writes.
        OSError: if the file cannot be written.

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> save(image_grid(np.eye(4)[None], ["an identity"]), folder / "eye.png")
    >>> [path.name for path in folder.iterdir()]
    ['eye.png']
    """
    path = pathlib.Path(path)
    formats = figure.canvas.get_supported_filetypes()
    ending = path.suffix[1:]
    if ending not in formats:
        raise ValueError(f"path: wanted an ending of {sorted(formats)}, got {path.name!r}")
    content = io.BytesIO()
    with _style():
        figure.savefig(content, format=ending, dpi=dpi)
    _files.write_whole(path, content.getvalue())


def _styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draws in the house style and lays the figure out before the style is gone."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _style():
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
        return figure

    return styled


@contextlib.contextmanager
def _style() -> Iterator[None]:
    matplotlib = _checks.import_extra("matplotlib", "plots")
    with matplotlib.rc_context(STYLE):
        yield


def _figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, known to no `pyplot`."""
    import matplotlib.figure

    return matplotlib.figure.Figure(figsize=(width, height))


def _row(figure: Figure, columns: int) -> list[Axes]:
    """Axes side by side."""
    return [figure.add_subplot(1, columns, column + 1) for column in range(columns)]


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


@_styled
def planes(*panels: Plane) -> Figure:
    """Draws labelled points of a plane, the lines that units cut it with, and decision regions.

    Args:
        *panels: one `Plane` each, side by side: inputs and new features, say.

    Returns:
        A figure with one panel each.

    Raises:
        ValueError: if there is no panel, or a shape does not fit.

    >>> xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> unit = np.ones((1, 2)), np.array([-0.5])
    >>> figure = planes(Plane(xor, np.array([0, 1, 1, 0]), units=unit))
    >>> figure.axes[0].get_xlabel()
    '$x_1$'
    """
    if not panels:
        raise ValueError("panels: wanted at least one Plane, got none")
    figure = _figure(3.1 * len(panels), 3.1)
    for axes, panel in zip(_row(figure, len(panels)), panels, strict=True):
        _draw_plane(figure, axes, panel)
    _legend_above(figure)
    return figure


def _legend_above(figure: Figure) -> None:
    """One legend for all panels, unless there is nothing to tell apart."""
    legend = {
        name: handle
        for axes in figure.axes
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if len(legend) > 1:
        figure.legend(
            legend.values(), legend, loc="outside upper center", ncols=min(4, len(legend))
        )


def _draw_plane(figure: Figure, axes: Axes, panel: Plane) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import MaxNLocator

    points = _shaped("points", panel.points, "n", 2)
    labels = _shaped("labels", panel.labels, len(points))
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels: wanted integer classes, got dtype {labels.dtype}")
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.3 * max(high - low) or 0.5
    low, high = low - margin, high + margin
    if panel.outputs is not None:
        columns, rows = (_shaped("outputs", part, "m") for part in panel.outputs[:2])
        outputs = _shaped("outputs", panel.outputs[2], len(rows), len(columns))
        low, high = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]])
        tints = LinearSegmentedColormap.from_list("tints", [TINTS[0], "white", TINTS[1]])
        shades = axes.contourf(columns, rows, outputs, np.linspace(0, 1, 11), cmap=tints)
        if outputs.min() < 0.5 < outputs.max():
            axes.contour(columns, rows, outputs, [0.5], colors="black", linewidths=1)
        figure.colorbar(shades, ax=axes, label="output", ticks=[0, 0.5, 1], shrink=0.85)
    if panel.units is not None:
        weights = _shaped("units", panel.units[0], "units", 2)
        biases = _shaped("units", panel.units[1], len(weights))
        alone = len(weights) == 1
        for weight, bias in zip(weights, biases, strict=True):
            ends = _segment(weight, bias, low, high)
            axes.plot(*ends.T, color="black", linestyle="-" if alone else "--")
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
        _annotate(axes, points, panel.annotations)
    axes.set(
        xlim=(low[0], high[0]),
        ylim=(low[1], high[1]),
        xlabel=panel.axis_labels[0],
        ylabel=panel.axis_labels[1],
        aspect="equal",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _segment(weight: np.ndarray, bias: float, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The part of the line w·x + b = 0 inside a box: its two ends, or none."""
    ends = []
    for along, across in ((0, 1), (1, 0)):  # where the line meets each of the box's four sides
        for side in (low[along], high[along]) if weight[across] else ():
            other = -(weight[along] * side + bias) / weight[across]
            if low[across] <= other <= high[across]:
                ends.append((side, other) if along == 0 else (other, side))
    return np.array([min(ends), max(ends)]) if ends else np.empty((0, 2))


def _annotate(axes: Axes, points: np.ndarray, annotations: Sequence[str]) -> None:
    if len(annotations) != len(points):
        raise ValueError(f"annotations: wanted {len(points)}, got {len(annotations)}")
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
        axes.annotate(
            ", ".join(here),
            place,
            (5 * across, 5 * up),
            textcoords="offset points",
            ha=("right", "center", "left")[across + 1],
            va=("top", "center", "bottom")[up + 1],
            fontsize=8,
        )


@_styled
def network(
    params: Sequence[tuple[ArrayLike, ArrayLike]], activations: Sequence[ArrayLike]
) -> Figure:
    """Draws a small network with every weight, bias and activation.

    Weights stand on their edges, solid and red-orange above 0, dashed and blue below; activations
    stand in their units and biases under them.

    Args:
        params: a weight `(out, in)` and a bias `(out,)` for each layer: a tuple of `Layer`.
        activations: one sample `(in,)`, then the output of every layer.

    Returns:
        A figure, its height fitted to the widest layer.

    Raises:
        ValueError: if a shape does not fit.

    >>> params = [(np.array([[1.0, -2.0]]), np.array([1.0]))]
    >>> texts = network(params, [np.array([1.0, -1.0]), np.array([0.98])]).axes[0].texts
    >>> [text.get_text() for text in texts if "b" in text.get_text()]
    ['$b$ = 1']
    """
    from matplotlib.patches import Circle

    if len(activations) != len(params) + 1:
        raise ValueError(
            f"activations: wanted {len(params) + 1}, the sample and one a layer, "
            f"got {len(activations)}"
        )
    columns = [_shaped(f"activations[{i}]", a, "units") for i, a in enumerate(activations)]
    reach = 0.65 * (max(map(len, columns)) - 1)
    places = [
        np.array([(2.2 * index, 1.3 * (len(column) - 1) / 2 - 1.3 * unit)
                  for unit in range(len(column))])
        for index, column in enumerate(columns)
    ]  # fmt: skip
    low, high = np.array([-0.45, -reach - 0.65]), np.array([2.2 * len(params) + 0.45, reach + 0.75])
    figure = _figure(*(0.9 * (high - low)))
    axes = figure.add_subplot()
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    axes.set_axis_off()
    write = functools.partial(axes.text, ha="center", va="center")
    along = np.linspace(0.22, 0.78, 29)
    for index, (weight, bias) in enumerate(params):
        fan_in, fan_out = len(columns[index]), len(columns[index + 1])
        weight = _shaped(f"params[{index}].weight", weight, fan_out, fan_in)
        bias = _shaped(f"params[{index}].bias", bias, fan_out)
        starts = np.tile(places[index], (fan_out, 1))
        ends = np.repeat(places[index + 1], fan_in, axis=0)
        edges = starts[:, None] + along[:, None] * (ends - starts)[:, None]
        labels = np.empty((0, 2))
        for edge, (start, end, value) in enumerate(zip(starts, ends, weight.flat, strict=True)):
            colour, dash = (BLUE, "--") if value < 0 else (VERMILLION, "-")
            axes.plot(*np.array([start, end]).T, color=colour, linestyle=dash, zorder=1)
            # The weight stands off the other edges and labels; where it can, near the start.
            apart = np.abs(np.delete(edges, edge, axis=0) - edges[edge])[..., 1] / 0.2
            clear = np.max(np.abs(labels[:, None] - edges[edge]) / (0.5, 0.22), axis=2)
            room = np.concatenate([apart, clear]).min(axis=0, initial=1)
            x, y = edges[edge, np.argmax(room - 0.01 * np.abs(along - 0.3))]
            labels = np.append(labels, [(x, y)], axis=0)
            write(x, y, _number(value), color=colour, bbox=LABEL_BOX)
        for (x, y), value in zip(places[index + 1], bias, strict=True):
            write(x, y - 0.44, f"$b$ = {_number(value)}", fontsize=8)
    for index, (column, spots) in enumerate(zip(columns, places, strict=True)):
        for (x, y), value in zip(spots, column, strict=True):
            axes.add_patch(Circle((x, y), 0.3, facecolor="white", edgecolor="black", zorder=3))
            write(x, y, _number(value), zorder=4)
        heading = {0: "input", len(params): "output"}.get(index, f"layer {index}")
        write(2.2 * index, reach + 0.6, heading, color=GREY)
    return figure


def _number(value: float) -> str:
    """Two decimals at most, and a minus sign as long as a plus."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text.replace("-", "−")


@_styled
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
        classes: what the outputs stand for; 0, 1, … if None.

    Returns:
        A figure with two panels.

    Raises:
        ValueError: if a shape does not fit.

    >>> figure = prediction(np.eye(16), np.full(10, 0.1), np.eye(10)[3], 2.3026)
    >>> figure.axes[1].get_title()
    '$C = -\\sum_i\\, \\hat{y}_i\\, \\ln y_i$ = 2.303'
    """
    image = _shaped("image", image, "height", "width")
    outputs = _shaped("outputs", outputs, "classes")
    target = _shaped("target", target, len(outputs))
    names = _class_names("classes", classes, len(outputs))
    figure = _figure(6.0, 2.5)
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


@_styled
def training_curves(
    runs: Mapping[str, Mapping[str, ArrayLike]], *, log: Collection[str] = ()
) -> Figure:
    """Draws what was measured after every epoch, a panel for each quantity.

    Args:
        runs: for each quantity, which names its axis, the named runs: `(epochs,)`, or
            `(2, epochs)` for training (solid) and test (dashed). A name has one colour.
        log: the quantities with a logarithmic axis.

    Returns:
        A figure with one panel a quantity, side by side.

    Raises:
        ValueError: if there is nothing to draw, or a shape does not fit.

    >>> figure = training_curves({"loss": {"SGD": np.array([2.0, 1.0, 0.5])}}, log=["loss"])
    >>> figure.axes[0].get_ylabel(), figure.axes[0].get_xlabel()
    ('loss', 'epoch')
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    if not runs or not all(runs.values()):
        raise ValueError(f"runs: wanted a run for each quantity, got {dict(runs)}")
    figure = _figure(0.4 + 2.9 * len(runs), 2.7)
    names = list(dict.fromkeys(name for panel in runs.values() for name in panel))
    tested = {name for panel in runs.values() for name, rows in panel.items() if np.ndim(rows) == 2}
    for axes, (quantity, panel) in zip(_row(figure, len(runs)), runs.items(), strict=True):
        for name, values in panel.items():
            where, rows = f"runs[{quantity!r}][{name!r}]", np.asarray(values)
            rows = _shaped(where, rows if rows.ndim == 2 else rows[None], "splits", "epochs")
            if len(rows) > 2:
                raise ValueError(f"{where}: wanted one row, or two, got shape {rows.shape}")
            for row, dash, split in zip(rows, ("-", "--"), ("training", "test"), strict=False):
                axes.plot(
                    np.arange(1, len(row) + 1),
                    row,
                    color=PALETTE[names.index(name) % len(PALETTE)],
                    linestyle=dash,
                    linewidth=1.0 if len(row) <= 1000 else 0.6,
                    label=f"{name}, {split}" if name in tested else name,
                )
        axes.set(xlabel="epoch", ylabel=quantity, yscale="log" if quantity in log else "linear")
        axes.margins(x=0.02)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        low, high = axes.get_ylim()
        if quantity in log and high < 200 * low:  # 0.1, 0.2, 0.5 rather than a lone power of ten
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
    _legend_above(figure)
    return figure


@_styled
def confusion_matrix(counts: ArrayLike, *, classes: Sequence[str] | None = None) -> Figure:
    """Draws how often each class (row) was predicted as each class (column).

    A cell is shaded by its share of the row, with small shares brought out.

    Args:
        counts: `(classes, classes)`, as from `logistack.metrics.confusion_matrix`.
        classes: names of the classes; 0, 1, … if None.

    Returns:
        A figure with one panel.

    Raises:
        ValueError: if a shape does not fit.

    >>> len(confusion_matrix(np.array([[9, 1], [0, 5]])).axes[0].texts)
    4
    """
    counts = _shaped("counts", counts, "classes", "classes")
    size = len(counts)
    names = _class_names("classes", classes, size)
    side = 1.2 + 0.34 * size
    figure = _figure(side, side)
    axes = figure.add_subplot()
    shade = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    axes.imshow(shade, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(size, size):
        count, dark = counts[row, column], shade[row, column] > 0.55
        colour = "white" if dark else "black" if count else "#B0B0B0"
        axes.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=8)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_xticks(range(size), names)
    axes.set_yticks(range(size), names)
    axes.tick_params(length=0)
    return figure


@_styled
def image_grid(images: ArrayLike, captions: Sequence[str], *, columns: int = 10) -> Figure:
    """Draws a page of images, each over its caption: misread digits, say.

    Args:
        images: `(n, height, width)`; each one's largest value is drawn black.
        captions: n texts, such as "true → predicted".
        columns: how many in a row.

    Returns:
        A figure with n panels.

    Raises:
        ValueError: if a shape does not fit, or there is nothing to draw.

    >>> figure = image_grid(np.zeros((3, 16, 16)), ["4 → 9", "3 → 5", "7 → 1"])
    >>> figure.axes[0].get_xlabel()
    '4 → 9'
    """
    images = _shaped("images", images, "n", "height", "width")
    if len(captions) != len(images):
        raise ValueError(f"captions: wanted {len(images)}, one an image, got {len(captions)}")
    return _image_page(images, captions, columns, cmap="gray_r")


@_styled
def weight_images(weight: ArrayLike, image_shape: tuple[int, int], *, columns: int = 8) -> Figure:
    """Draws the weights of units that look at an image, as images on one scale.

    White is 0, red above and blue below.

    Args:
        weight: `(units, height · width)`: the first layer's weight.
        image_shape: height and width of the input image.
        columns: how many in a row.

    Returns:
        A figure with one panel a unit, and the scale.

    Raises:
        ValueError: if a shape does not fit.

    >>> figure = weight_images(np.ones((3, 256)), (16, 16))
    >>> len(figure.axes)
    4
    """
    weight = _shaped("weight", weight, "units", math.prod(image_shape))
    limit = float(np.abs(weight).max(initial=0)) or 1.0
    figure = _image_page(
        weight.reshape(-1, *image_shape),
        [f"unit {unit}" for unit in range(1, len(weight) + 1)],
        columns,
        room=0.8,
        cmap=DIVERGING,
        vmin=-limit,
        vmax=limit,
    )
    panels = figure.axes
    figure.colorbar(panels[0].images[0], ax=panels, label="weight", aspect=30, pad=0.02)
    return figure


def _image_page(
    images: np.ndarray, captions: Sequence[str], columns: int, room: float = 0.0, **how: Any
) -> Figure:
    """Images over captions, with `room` inches for a scale beside them."""
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    figure = _figure(0.72 * columns + room, 0.88 * rows)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.imshow(image, interpolation="nearest", **how)
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(caption, fontsize=8, labelpad=2)
    return figure


def _class_names(name: str, classes: Sequence[str] | None, count: int) -> list[str]:
    names = [str(index) for index in range(count)] if classes is None else list(classes)
    if len(names) != count:
        raise ValueError(f"{name}: wanted {count} names, got {len(names)}")
    return names


def _shaped(name: str, values: ArrayLike, *shape: int | str) -> np.ndarray:
    """Returns `values` in NumPy, refusing another shape; equal words are equal lengths above 0."""
    array = np.asarray(values)
    lengths: dict[int | str, int] = {size: size for size in shape if isinstance(size, int)}
    if array.ndim != len(shape) or not all(
        0 < got == lengths.setdefault(wanted, got)
        for wanted, got in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise ValueError(f"{name}: wanted shape ({wanted}), got {array.shape}")
    return array
