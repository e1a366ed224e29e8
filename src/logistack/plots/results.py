"""Results of training: curves, and which classes were predicted as which."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jax.typing import ArrayLike

from logistack.plots.arguments import class_names, shaped
from logistack.plots.style import (
    PALETTE,
    Axes,
    Figure,
    legend_above,
    new_figure,
    panel_row,
    styled,
)


@styled
def training_curves(
    runs: Mapping[str, Mapping[str, ArrayLike]], *, log: Collection[str] = ()
) -> Figure:
    """Draws what was measured after every epoch, a panel for each quantity.

    Args:
        runs: for each quantity, which names its axis, the named runs: `(epochs,)`, or
            `(2, epochs)` for training (solid) and test (dashed). A name has one color.
        log: the quantities with a logarithmic axis; one that is 0 at times has a place for 0
            below the smallest number above it.

    Returns:
        A figure with one panel per quantity, side by side.

    Raises:
        ValueError: if there is nothing to draw, or a shape does not match.

    >>> figure = training_curves({"loss": {"SGD": np.array([2.0, 1.0, 0.5])}}, log=["loss"])
    >>> figure.axes[0].get_ylabel(), figure.axes[0].get_xlabel()
    ('loss', 'epoch')
    """
    from matplotlib.ticker import MaxNLocator

    if not runs or not all(runs.values()):
        raise ValueError(f"runs: expected a run for each quantity, got {dict(runs)}")
    figure = new_figure(0.4 + 2.9 * len(runs), 2.7)
    names = list(dict.fromkeys(name for panel in runs.values() for name in panel))
    tested = {name for panel in runs.values() for name, rows in panel.items() if np.ndim(rows) == 2}
    for axes, (quantity, panel) in zip(panel_row(figure, len(runs)), runs.items(), strict=True):
        for name, values in panel.items():
            where, rows = f"runs[{quantity!r}][{name!r}]", np.asarray(values)
            rows = shaped(where, rows if rows.ndim == 2 else rows[None], "splits", "epochs")
            if len(rows) > 2:
                raise ValueError(f"{where}: expected one row, or two, got shape {rows.shape}")
            for row, dash, split in zip(rows, ("-", "--"), ("training", "test"), strict=False):
                axes.plot(
                    np.arange(1, len(row) + 1),
                    row,
                    color=PALETTE[names.index(name) % len(PALETTE)],
                    linestyle=dash,
                    linewidth=1.0 if len(row) <= 1000 else 0.6,
                    label=f"{name}, {split}" if name in tested else name,
                )
        axes.set(xlabel="epoch", ylabel=quantity)
        if quantity in log:
            make_logarithmic(axes)
        axes.margins(x=0.02)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    legend_above(figure)
    return figure


def make_logarithmic(axes: Axes) -> None:
    """Gives axes a logarithmic scale, and zeros a tick of their own under what is above 0."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, NullFormatter

    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    values = values[np.isfinite(values)]
    above = values[values > 0]
    if len(above) == len(values):
        axes.set_yscale("log")
    elif not len(above):
        return
    else:
        # Linear from 0 to a little below the smallest, for a third of a decade.
        least = above.min() / 1.5
        axes.set_yscale("symlog", linthresh=least, linscale=1 / 3)
        axes.set_ylim(-0.15 * least, 1.5 * above.max())
    low, high = above.min(), axes.get_ylim()[1]
    few = high < 200 * low  # 0.1, 0.2, 0.5 rather than a lone power of ten
    if len(above) < len(values):
        ticks = LogLocator(subs=(1, 2, 5) if few else (1,)).tick_values(low, high)
        ticks = [0, *(tick for tick in ticks if low <= tick <= high)]
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
        axes.yaxis.set_minor_locator(FixedLocator([]))
    elif few:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


@styled
def confusion_matrix(counts: ArrayLike, *, classes: Sequence[str] | None = None) -> Figure:
    """Draws how often each class (row) was predicted as each class (column).

    A cell is shaded by its share of the row, with small shares brought out.

    Args:
        counts: `(classes, classes)`, as from `logistack.metrics.confusion_matrix`.
        classes: names of the classes; 0, 1, … if None.

    Returns:
        A figure with one panel.

    Raises:
        ValueError: if a shape does not match.

    >>> len(confusion_matrix(np.array([[9, 1], [0, 5]])).axes[0].texts)
    4
    """
    counts = shaped("counts", counts, "classes", "classes")
    size = len(counts)
    names = class_names("classes", classes, size)
    side = 1.2 + 0.34 * size
    figure = new_figure(side, side)
    axes = figure.add_subplot()
    shade = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    axes.imshow(shade, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(size, size):
        count, dark = counts[row, column], shade[row, column] > 0.55
        color = "white" if dark else "black" if count else "#B0B0B0"
        axes.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize=8)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_xticks(range(size), names)
    axes.set_yticks(range(size), names)
    axes.tick_params(length=0)
    return figure
