"""Calibration: how often predictions of about one confidence are right."""

from collections.abc import Mapping

import numpy as np

from logistack.metrics import Reliability
from logistack.plots.style import (
    Figure,
    class_color,
    class_marker,
    legend_above,
    new_figure,
    styled,
)


@styled
def reliability(found: Reliability | Mapping[str, Reliability]) -> Figure:
    """Draws a reliability diagram: accuracy by confidence, and how many samples have it.

    The bars are 95% intervals of Clopper and Pearson, which take a bin's weight for a number of
    samples. Below the dashed line a network is more confident than it is right.

    Args:
        found: what `logistack.metrics.reliability` found, or several by name.

    Returns:
        A figure with the diagram, and under it the share of samples in each bin.

    Raises:
        ValueError: if there is nothing to draw.

    >>> from logistack import metrics
    >>> shares = np.array([[0.75, 0.25], [0.625, 0.375], [0.125, 0.875], [0.0, 1.0]])
    >>> figure = reliability(metrics.reliability(shares, np.array([0, 1, 1, 1]), bins=2))
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['accuracy', 'share']
    """
    from scipy import stats

    named = {"": found} if isinstance(found, Reliability) else found
    if not named:
        raise ValueError("found: expected a Reliability, got none")
    figure = new_figure(3.3, 4.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    above.plot([0, 1], [0, 1], color="black", linewidth=0.6, linestyle="--", label="calibrated")
    for rank, (name, own) in enumerate(named.items()):
        there = np.asarray(own.weight) > 0
        confidence, accuracy, weight = (np.asarray(part, float)[there] for part in own)
        right, wrong = weight * accuracy, weight * (1 - accuracy)
        low = np.where(right > 0, stats.beta.ppf(0.025, right, wrong + 1), 0)
        high = np.where(wrong > 0, stats.beta.ppf(0.975, right + 1, wrong), 1)
        color, marker = class_color(rank), class_marker(rank)
        above.errorbar(
            confidence, accuracy, yerr=[accuracy - low, high - accuracy], color=color,
            marker=marker, markersize=4, capsize=2, elinewidth=0.8, label=name,
        )  # fmt: skip
        below.plot(
            confidence, weight / weight.sum(), color=color, marker=marker, markersize=4,
            drawstyle="steps-mid", linewidth=0.8,
        )  # fmt: skip
    above.set(ylabel="accuracy", ylim=(-0.02, 1.02))
    below.set(xlabel="confidence", ylabel="share")
    least = min(float(np.nanmin(own.confidence)) for own in named.values())
    below.set_xlim(min(0.45, least - 0.05), 1.02)
    below.set_ylim(0, None)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    legend_above(figure, columns=2)
    return figure
