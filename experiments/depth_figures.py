"""The figures of `depth.py`."""

import math
from typing import TYPE_CHECKING

import numpy as np

import logistack as ls
from experiments.depth_cells import CHANCE, DEEP, OURS, Result, accuracies, by_scheme, mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot(result: Result) -> dict[str, "Figure"]:
    """Draws accuracy by depth as lines and as a table of colors, and the loss by epoch."""
    import matplotlib

    with matplotlib.rc_context(ls.plots.STYLE):
        figures = {
            "depth": draw_lines(result),
            "depth-map": draw_map(result),
            "depth-curves": draw_curves(result),
        }
        for figure in figures.values():
            figure.draw_without_rendering()
    return figures


def draw_lines(result: Result) -> "Figure":
    """Test accuracy by depth: a line for each scheme, and a band from its worst to its best seed.

    A line's name stands where the line falls, scheme after scheme further down; or at its end.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.5))
    axes = figure.add_subplot()
    schemes = {name: cells for name, cells in by_scheme(result).items() if cells}
    ends = [cells[-1].depth for cells in schemes.values()]
    for index, (name, cells) in enumerate(schemes.items()):
        # Ours comes last, in the first color.
        color = ls.plots.PALETTE[len(schemes) - 1 - index]
        depths = [cell.depth for cell in cells]
        each = [100 * accuracies(cell) for cell in cells]  # not of equally many seeds
        lowest, middle, highest = (
            np.array([of(shares) for shares in each]) for of in (np.min, np.mean, np.max)
        )
        ours = name in (OURS, DEEP)
        axes.fill_between(depths, lowest, highest, color=color, alpha=0.2, lw=0)
        axes.plot(
            depths,
            middle,
            color=color,
            marker=ls.plots.MARKERS[len(schemes) - 1 - index],
            markersize=4,
            markeredgecolor="white",
            markeredgewidth=0.5,
            linewidth=1.8 if ours else 1.1,
            label=name,
        )
        if name == OURS or ends.count(depths[-1]) == 1:
            side = "over"
        else:
            side = "behind" if depths[-1] < max(ends) else "below"
        height = 70 - 12 * index
        label_line(axes, name, np.log(depths), middle, height=height, color=color, side=side)
    axes.axhline(100 * CHANCE, color=ls.plots.GREY, linestyle=":", linewidth=0.8, zorder=0)
    axes.annotate(
        "chance",
        (1, 100 * CHANCE),
        (2, -3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="top",
        ha="right",
        color=ls.plots.GREY,
        fontsize=8,
    )
    show_depths(axes, result)
    axes.set(ylabel="test accuracy (%)", ylim=(0, 109), yticks=range(0, 101, 20))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def label_line(
    axes: "Axes",
    name: str,
    at: np.ndarray,
    values: np.ndarray,
    *,
    height: float,
    color: str,
    side: str,
) -> None:
    """Writes a line's name beside its last fall through a height, or at a side of its end."""
    falls = np.flatnonzero((values[:-1] >= height) & (values[1:] < height))
    if len(falls):
        i = falls[-1]
        share = (values[i] - height) / (values[i] - values[i + 1])
        x, y = at[i] + share * (at[i + 1] - at[i]), height
        left = x - at[0] > 0.6 * (at[-1] - at[0])  # where there is room
        offset, across, up = ((-6, 0), "right", "center") if left else ((6, 0), "left", "center")
    elif values[-1] >= height:
        x, y = at[-1], values[-1]
        offset, across, up = {
            "over": ((0, 6), "right", "bottom"),
            "below": ((0, -7), "right", "top"),
            "behind": ((7, 0), "left", "center"),
        }[side]
    else:
        x, y, offset, across, up = at[0], values[0], (6, 6), "left", "bottom"
    axes.annotate(
        name,
        (math.exp(x), y),
        offset,
        textcoords="offset points",
        ha=across,
        va=up,
        color=color,
        fontweight="bold" if name in (OURS, DEEP) else "normal",
    )


def show_depths(axes: "Axes", result: Result) -> None:
    """A logarithmic axis of depths, each of them written out."""
    from matplotlib.ticker import NullLocator

    depths = sorted({cell.depth for cell in result.cells})
    axes.set(xscale="log", xlabel="hidden layers")
    axes.set_xticks(depths, [f"{depth:,}" for depth in depths])
    axes.xaxis.set_minor_locator(NullLocator())


def draw_map(result: Result) -> "Figure":
    """Mean test accuracy in percent: schemes down, depths across, white at chance."""
    from matplotlib.figure import Figure

    depths = sorted({cell.depth for cell in result.cells})
    schemes = {name: cells for name, cells in by_scheme(result).items() if cells}
    shares = np.full((len(schemes), len(depths)), np.nan)
    for row, cells in enumerate(schemes.values()):
        for cell in cells:
            shares[row, depths.index(cell.depth)] = 100 * mean(cell)
    figure = Figure(figsize=(2.6 + 0.5 * len(depths), 0.8 + 0.36 * len(schemes)))
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=100 * CHANCE, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            color = "white" if share > 62 else "black"
            axes.text(
                column, row, f"{share:.1f}", ha="center", va="center", color=color, fontsize=8
            )
    axes.set_xticks(range(len(depths)), [f"{depth:,}" for depth in depths])
    axes.set_yticks(range(len(schemes)), list(schemes))
    axes.set_xlabel("hidden layers")
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, label="test accuracy (%)", ticks=[10, 40, 70, 100], pad=0.02)
    return figure


CONTRAST = "4 × Glorot"


def draw_curves(result: Result) -> "Figure":
    """The loss by epoch, averaged over seeds: a line for each depth, a panel for two schemes."""
    import matplotlib
    from matplotlib.colors import BoundaryNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    depths = sorted({cell.depth for cell in result.cells})
    colors = matplotlib.colormaps["viridis_r"].resampled(max(2, len(depths)))
    figure = Figure(figsize=(6.4, 2.9))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, name in zip(panels, (CONTRAST, OURS), strict=True):
        for cell in by_scheme(result)[name]:
            losses = np.array([network.losses for network in cell.networks], float).mean(axis=0)
            color = colors(depths.index(cell.depth))
            axes.plot(np.arange(1, len(losses) + 1), losses, color=color, label=f"{cell.depth}")
        axes.set(title=name, xlabel="epoch", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("summed training loss (nats)")
    edges = np.arange(colors.N + 1) - 0.5
    scale = matplotlib.cm.ScalarMappable(BoundaryNorm(edges, colors.N), colors)
    bar = figure.colorbar(scale, ax=panels, label="hidden layers", pad=0.02)
    bar.set_ticks(range(len(depths)), labels=[f"{depth:,}" for depth in depths])
    bar.ax.tick_params(length=0)
    return figure
