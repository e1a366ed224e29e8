"""Populations: how members differ as they train, by setting, and one setting beside another."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from logistack import _checks
from logistack.plots.arguments import shaped
from logistack.plots.results import make_logarithmic
from logistack.plots.style import (
    BLUE,
    GREY,
    Axes,
    Figure,
    class_color,
    class_marker,
    legend_above,
    new_figure,
    panel_row,
    styled,
)
from logistack.statistics import Comparison, SettingSummary, Summary
from logistack.statistics.tables import rounded, word

DASHES = ("-", "--", "-.", ":")


@styled
def bands(
    runs: Mapping[str, Mapping[str, ArrayLike]],
    *,
    share: float = 0.8,
    log: Collection[str] = (),
) -> Figure:
    """Draws what was measured of many members after every epoch: medians in bands.

    A band holds the middle share of the members that have a value in an epoch. Those that have
    none in the last one, since they diverged or stopped early, are counted in the legend; the rest
    is what median and band are of from then on.

    Args:
        runs: for each quantity, which names its axis, the named settings: `(members, epochs)`,
            such as `result.history.loss`. A name has one color and one dash.
        share: of the members in a band, above 0 and below 1.
        log: the quantities with a logarithmic axis.

    Returns:
        A figure with one panel per quantity, side by side.

    Raises:
        ValueError: if there is nothing to draw, or a shape does not match.

    >>> figure = bands({"loss": {"width 8": np.array([[3.0, 2.0], [2.0, 1.0], [2.5, 1.2]])}})
    >>> figure.axes[0].lines[0].get_ydata().tolist()
    [2.5, 1.2]
    """
    from matplotlib.ticker import MaxNLocator

    share = _checks.require_inside("share", share)
    if not runs or not all(runs.values()):
        raise ValueError(f"runs: expected members for each quantity, got {dict(runs)}")
    names = list(dict.fromkeys(name for panel in runs.values() for name in panel))
    ended = dict.fromkeys(names, "")
    figure = new_figure(0.4 + 2.9 * len(runs), 2.9)
    for axes, (quantity, panel) in zip(panel_row(figure, len(runs)), runs.items(), strict=True):
        for name, values in panel.items():
            where = f"runs[{quantity!r}][{name!r}]"
            rows = shaped(where, values, "members", "epochs").astype(np.float64)
            rows = np.where(np.isfinite(rows), rows, np.nan)
            epochs = np.flatnonzero(np.isfinite(rows).any(axis=0))
            if not epochs.size:
                raise ValueError(f"{where}: expected a finite value, got none")
            tails = [0.5, (1 - share) / 2, (1 + share) / 2]
            median, low, high = np.nanquantile(rows[:, epochs], tails, axis=0)
            color = class_color(names.index(name))
            dash = DASHES[names.index(name) % len(DASHES)]
            axes.plot(epochs + 1, median, color=color, linestyle=dash, label=name)
            axes.fill_between(epochs + 1, low, high, color=color, alpha=0.18, linewidth=0)
            gone = np.isnan(rows[:, -1]).sum()
            if gone:
                ended[name] = f" ({gone} of {len(rows)} ended early)"
        axes.set(xlabel="epoch", ylabel=quantity)
        if quantity in log:
            make_logarithmic(axes)
        axes.margins(x=0.02)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for axes in figure.axes:
        for line in axes.lines:
            line.set_label(f"{line.get_label()}{ended[str(line.get_label())]}")
    legend_above(figure, columns=2)
    return figure


@styled
def intervals(summary: Summary, *, quantity: str = "mean", log: Collection[str] = ()) -> Figure:
    """Draws means with their intervals against the first label of each setting, such as a width.

    Settings that differ in their other labels are lines of their own. How many members had no
    finite value is said above.

    Args:
        summary: what `logistack.summarize` found, by settings of one label or more.
        quantity: what it is the mean of, for the axis.
        log: which axes are logarithmic: the name of the first label, the quantity, or both.

    Returns:
        A figure with one panel.

    Raises:
        ValueError: if there are no labels, or no mean to draw.

    >>> from logistack import summarize
    >>> found = summarize([0.3, 0.2, 0.1, 0.2], {"width": [8, 8, 16, 16]})
    >>> intervals(found, quantity="error").axes[0].get_xlabel()
    'width'
    """
    if not summary.names:
        raise ValueError("summary: expected settings with a label, got members of one setting")
    _require_means(summary)
    name = summary.names[0]
    places = _order([row.setting[0] for row in summary.rows])
    numeric = _are_numbers(places)
    lines: dict[Any, list[SettingSummary]] = {}
    for row in summary.rows:
        lines.setdefault(row.setting[1:], []).append(row)
    figure = new_figure(4.2, 3.0)
    axes = figure.add_subplot()
    for rank, (rest, rows) in enumerate(lines.items()):
        rows = sorted(rows, key=lambda row: places.index(row.setting[0]))
        rows = [row for row in rows if np.isfinite(row.mean)]
        x = [float(row.setting[0] if numeric else places.index(row.setting[0])) for row in rows]
        mean, low, high = np.array([(row.mean, row.low, row.high) for row in rows]).T.reshape(3, -1)
        axes.errorbar(
            np.array(x),
            mean,
            # A single member has no interval.
            yerr=np.nan_to_num([mean - low, high - mean]),
            color=class_color(rank),
            marker=class_marker(rank),
            linestyle=DASHES[rank % len(DASHES)] if numeric else "",
            markersize=4,
            capsize=2.5,
            elinewidth=0.8,
            label=_named(summary.names[1:], rest),
        )
    axes.set(xlabel=name, ylabel=quantity)
    if not numeric:
        axes.margins(x=0.15)
    elif name in log:
        axes.set_xscale("log")
        axes.minorticks_off()
    if quantity in log:
        make_logarithmic(axes)
    if len(places) <= 12:
        axes.set_xticks(places if numeric else range(len(places)), list(map(_tick, places)))
    axes.spines[["top", "right"]].set_visible(False)
    _tell(axes, summary.rows)
    legend_above(figure, columns=3)
    return figure


@styled
def heat_map(summary: Summary, *, quantity: str = "mean") -> Figure:
    """Draws the means over two hyperparameters as a map.

    A cell in which members had no finite value is hatched, and its mean is that of the others;
    a cell of no setting is empty.

    Args:
        summary: what `logistack.summarize` found, by settings of two labels: the first names the
            rows of the map, the second its columns.
        quantity: what it is the mean of, for the color bar.

    Returns:
        A figure with a map and its color bar.

    Raises:
        ValueError: if the settings have not two labels, or there is no mean to draw.

    >>> from logistack import summarize
    >>> settings = {"width": [8, 8, 16, 16], "rate": [0.1, 0.2, 0.1, 0.2]}
    >>> [text.get_text() for text in heat_map(summarize([1, 2, 3, 4], settings)).axes[0].texts]
    ['3', '4', '1', '2']
    """
    from matplotlib.patches import Patch, Rectangle

    if len(summary.names) != 2:
        raise ValueError(f"summary: expected settings of two labels, got {len(summary.names)}")
    _require_means(summary)
    # Upward, as on any other axis.
    rows, columns = (_order([row.setting[side] for row in summary.rows]) for side in (0, 1))
    rows = rows[::-1]
    cells = np.full((len(rows), len(columns)), np.nan)
    hatched = []
    for row in summary.rows:
        place = rows.index(row.setting[0]), columns.index(row.setting[1])
        cells[place] = row.mean
        if row.not_finite:
            hatched.append(place)
    side = 0.52 if max(cells.shape) <= 12 else 4.5 / max(cells.shape)
    figure = new_figure(1.9 + side * len(columns), 1.1 + side * len(rows))
    axes = figure.add_subplot()
    image = axes.imshow(np.ma.masked_invalid(cells), cmap="viridis", aspect="auto")
    bar = figure.colorbar(image, ax=axes)
    bar.set_label(quantity)
    least, most = np.nanmin(cells), np.nanmax(cells)
    if max(cells.shape) <= 12:
        for down, right in np.argwhere(np.isfinite(cells)):
            cell = cells[down, right]
            dark = cell < least + 0.6 * (most - least)
            axes.text(
                right, down, rounded(cell, 2), ha="center", va="center", fontsize=8,
                color="white" if dark else "black",
            )  # fmt: skip
    style: dict[str, Any] = {"fill": False, "hatch": "///", "edgecolor": GREY, "linewidth": 0}
    for down, right in hatched:
        axes.add_patch(Rectangle((right - 0.5, down - 0.5), 1, 1, **style))
    axes.set(xlabel=summary.names[1], ylabel=summary.names[0])
    for labels, set_ticks in ((columns, axes.set_xticks), (rows, axes.set_yticks)):
        every = math.ceil(len(labels) / 12)
        set_ticks(range(0, len(labels), every), list(map(_tick, labels[::every])))
    axes.tick_params(length=0)
    if hatched:
        patch = Patch(**style, label="members not finite")
        figure.legend(handles=[patch], loc="outside upper center")
    return figure


@styled
def differences(comparison: Comparison, *, quantity: str = "mean") -> Figure:
    """Draws the difference of each pair of settings with its interval, and what that shows.

    Args:
        comparison: what `logistack.compare` found.
        quantity: what it is the difference of, for the axis.

    Returns:
        A figure with one panel: a line for each pair, hollow and grey where no difference is
        shown, which is said beside it.

    >>> from logistack import compare
    >>> found = compare([1, 2, 3, 1.1, 1.9, 3], [8, 8, 8, 16, 16, 16], [0, 1, 2, 0, 1, 2])
    >>> [text.get_text() for text in differences(found).axes[0].texts]
    ['no difference shown']
    """
    rows = comparison.rows
    figure = new_figure(5.6, 0.9 + 0.26 * len(rows))
    axes = figure.add_subplot()
    axes.axvline(0, color="black", linewidth=0.6, linestyle="--")
    for place, row in enumerate(rows):
        color = BLUE if row.shown else GREY
        axes.plot([row.low, row.high], [place, place], color=color, linewidth=1.4)
        axes.plot(
            row.difference, place, color=color, marker="o", markersize=5,
            markerfacecolor=color if row.shown else "white",
        )  # fmt: skip
        axes.text(
            1.02, place, row.words, transform=axes.get_yaxis_transform(), va="center", fontsize=8,
            color="black" if row.shown else "#595959",
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [f"{word(row.first)} and {word(row.second)}" for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set(
        xlabel=f"difference in {quantity}, first less second, with "
        f"simultaneous {100 * comparison.confidence:g}% intervals",
        ylabel=", ".join(comparison.names),
    )
    axes.spines[["top", "right"]].set_visible(False)
    lost = sum(len(row.not_finite) for row in rows)
    if lost:
        total = sum(row.runs for row in rows)
        axes.set_title(f"{lost} of {total} differences not finite", fontsize=8, loc="left")
    return figure


def _require_means(summary: Summary) -> None:
    if not any(np.isfinite(row.mean) for row in summary.rows):
        raise ValueError("summary: expected a setting with a mean, got none")


def _order(labels: Iterable[Any]) -> list[Any]:
    """Each label once: numbers in their order, others in that of their first members."""
    each = list(dict.fromkeys(labels))
    return sorted(each) if _are_numbers(each) else each


def _are_numbers(labels: Sequence[Any]) -> bool:
    return all(isinstance(label, int | float) for label in labels)


def _tick(label: Any) -> str:
    return rounded(label, 3) if isinstance(label, float) else word(label)


def _named(names: Sequence[str], labels: Sequence[Any]) -> str | None:
    """Labels with what they are called, for a legend."""
    return ", ".join(f"{name} {word(own)}" for name, own in zip(names, labels, strict=True)) or None


def _tell(axes: Axes, rows: Sequence[SettingSummary]) -> None:
    """Says above how many members are not among those drawn."""
    lost = sum(len(row.not_finite) for row in rows)
    if lost:
        total = sum(row.members for row in rows)
        axes.set_title(f"{lost} of {total} members not finite", fontsize=8, loc="left")
