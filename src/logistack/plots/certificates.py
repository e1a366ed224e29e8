"""A proof that a line is enough, or that none is, as a picture."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from logistack.plots import spaces
from logistack.plots.arguments import require_samples
from logistack.plots.points import annotate
from logistack.plots.proofs import (
    Proof,
    draw_proof,
    hyperplane,
    require_proof,
)
from logistack.plots.spaces import Frame, draw_samples, frame_of
from logistack.plots.style import (
    DIVERGING,
    GREY,
    LABEL_BOX,
    PALETTE,
    TINTS,
    Axes,
    Figure,
    class_marker,
    legend_above,
    new_figure,
    panel_row,
    plain,
    styled,
)
from logistack.separability import CommonPoint, Separator

WRITTEN = 8  # so many weights, of so many letters, are written beside their samples
LETTERS = 7
STRIP = 200  # up to so many samples are drawn one by one
BINS = 40  # of the distances of more, on the side that reaches farther
BESIDE = 3  # images on either side


class Sides(NamedTuple):
    """The two sides of a certificate, in the order of their colors.

    Attributes:
        inputs: the samples `(samples, features)` of each.
        names: what each is called.
        positive: which of the two is the positive one.
    """

    inputs: tuple[np.ndarray, np.ndarray]
    names: tuple[str, str]
    positive: int

    @property
    def ranks(self) -> np.ndarray:
        """The side of each sample, those of the first before those of the second."""
        return np.repeat([0, 1], [len(side) for side in self.inputs])

    def weights(self, certificate: CommonPoint) -> list[Sequence[Fraction]]:
        """The weights of each side."""
        weights = [certificate.weights_negative, certificate.weights_positive]
        return weights if self.positive else weights[::-1]


@styled
def certificate(
    certificate: Proof,
    inputs: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    *,
    image_shape: tuple[int, int] | None = None,
    axis_labels: tuple[str, str] = spaces.INPUT_LABELS,
) -> Figure:
    """Draws what proves that a line is enough, or that none is.

    A separator of two features is a line with its margin, the nearest samples ringed; of more, the
    signed distance of every sample from it, by class. A common point of two features is a star,
    with a line to each sample that it is a mixture of, whose marker has its weight for an area; of
    more, the weights as bars. With `image_shape`, the common point is an image between the heaviest
    samples of either class, and a separator's weight one between the nearest.

    Args:
        certificate: a `Separator` or a `CommonPoint`.
        inputs: samples `(n, features)`; those that the certificate was made of if None.
        labels: `(n,)`, with `inputs` or not at all.
        image_shape: height and width, if the samples are images.
        axis_labels: what the two features are, if there are two.

    Returns:
        A figure with one panel, with two of bars, or with one for each image.

    Raises:
        ValueError: if there are no samples, or they are not those of the certificate.
        TypeError: if `certificate` is not one of two classes.

    >>> from logistack.separability import certify
    >>> xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> figure = certificate(certify(xor, [0, 1, 1, 0]))
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1/2', '1/2', '1/2', '1/2']
    """
    require_proof("certificate", certificate)
    sides = _sides(certificate, inputs, labels)
    if image_shape is not None:
        if math.prod(image_shape) != certificate.features:
            raise ValueError(
                f"image_shape: expected {certificate.features} pixels, got {image_shape}"
            )
        figure = _draw_images(certificate, sides, image_shape)
    elif certificate.features == 2:
        figure = _draw_plane(certificate, sides, axis_labels)
    elif isinstance(certificate, Separator):
        figure = _draw_distances(certificate, sides)
    else:
        figure = _draw_weights(certificate, sides)
    if not certificate.proven:
        figure.supxlabel("numerical only: not proven", fontsize="medium")
    return figure


def _sides(certificate: Proof, inputs: ArrayLike | None, labels: ArrayLike | None) -> Sides:
    if (inputs is None) != (labels is None):
        raise ValueError("inputs, labels: expected both or neither, got one of them")
    if inputs is None or labels is None:
        inputs, labels = certificate.inputs, certificate.labels
    if inputs is None or labels is None:
        raise ValueError("inputs: a certificate read from its text has no data: give it both")
    samples = require_samples(inputs, labels, certificate.features)
    classes = np.asarray(labels)
    positive = classes == certificate.positive
    negative = ~positive if certificate.negative is None else classes == certificate.negative
    if isinstance(certificate, CommonPoint):
        for side, weights, name in (
            (positive, certificate.weights_positive, "positive"),
            (negative, certificate.weights_negative, "other"),
        ):
            if side.sum() != len(weights):
                raise ValueError(
                    f"labels: expected {len(weights)} {name} samples, as the certificate has, "
                    f"got {side.sum()}"
                )
    others = np.unique(classes[negative]).tolist()
    # The class that comes first has the first color, as in other figures.
    alone = len(others) == 1
    other = f"class {plain(str(others[0]))}" if alone else "other classes"
    names = (other, f"class {plain(str(certificate.positive))}")
    parts = samples.inputs[negative], samples.inputs[positive]
    if alone and positive.any() and certificate.positive < others[0]:
        return Sides(parts[::-1], names[::-1], 0)
    return Sides(parts, names, 1)


def _draw_plane(certificate: Proof, sides: Sides, axis_labels: tuple[str, str]) -> Figure:
    points = np.concatenate(sides.inputs)
    frame = frame_of(points, 0.15)
    view = spaces.view_of(points, 0, inputs=axis_labels)
    figure = new_figure(3.6, 3.8)
    axes = figure.add_subplot()
    if isinstance(certificate, CommonPoint):
        _draw_mixtures(axes, certificate, sides)
    else:
        _draw_halves(axes, frame, certificate, sides, points)
        axes.set_title(_margin(certificate))
    draw_proof(axes, view, frame, certificate)
    spaces.set_frame(axes, frame, view.labels)
    legend_above(figure, 3)
    return figure


def _draw_halves(
    axes: Axes, frame: Frame, certificate: Separator, sides: Sides, points: np.ndarray
) -> None:
    draw_samples(axes, points, sides.ranks, sides.names)
    plane = hyperplane(certificate)
    if plane is None:
        return
    columns, rows = np.linspace(frame.low, frame.high, 201).T
    z = np.add.outer(plane.weight[1] * rows, plane.weight[0] * columns) + plane.bias
    tints = TINTS if sides.positive else TINTS[::-1]
    axes.contourf(columns, rows, z, [-np.inf, 0, np.inf], colors=tints, zorder=0)
    distances = np.abs(points @ plane.weight + plane.bias)
    nearest = points[distances <= plane.margin + 1e-6 * distances.max()]
    axes.plot(
        *nearest.T,
        "o",
        color="none",
        markeredgecolor="black",
        markersize=spaces.marker_size(len(points)) + 5,
        zorder=4,
        label="nearest samples",
    )


def _draw_mixtures(axes: Axes, certificate: CommonPoint, sides: Sides) -> None:
    place = np.array(certificate.point, np.float64)
    points, ranks = np.concatenate(sides.inputs), sides.ranks
    weights = [weight for side in sides.weights(certificate) for weight in side]
    heavy = np.array([weight > 0 for weight in weights])
    draw_samples(axes, points[~heavy], ranks[~heavy], sides.names, faint=True)
    shares = np.array([float(weight) for weight in weights])
    for rank, name in enumerate(sides.names):
        here = heavy & (ranks == rank)
        across, up = points[here].T
        for corner in points[here]:
            axes.plot(*np.stack([place, corner]).T, color=PALETTE[rank], zorder=2)
        axes.scatter(
            across,
            up,
            12 + 110 * shares[here] / shares.max(),
            marker=class_marker(rank),
            color=PALETTE[rank],
            edgecolor="white",
            linewidth=0.6,
            zorder=3,
            label=name,
        )
    texts = [str(weight) for weight in weights if weight]
    if len(texts) <= WRITTEN and max(map(len, texts)) <= LETTERS:
        annotate(axes, points[heavy], texts, away=8, zorder=6, bbox=LABEL_BOX)


def _draw_distances(certificate: Separator, sides: Sides) -> Figure:
    plane = hyperplane(certificate)
    points, margin = np.concatenate(sides.inputs), float(certificate.margin)
    if plane is None:
        distances = np.full(len(points), float(certificate.bias))
    else:
        distances = points @ plane.weight + plane.bias
    figure = new_figure(4.6, 2.6)
    axes = figure.add_subplot()
    if len(points) <= STRIP:
        frame = spaces.strip_frame(distances, 2)
        spaces.set_lanes(axes, frame, "", [name.removeprefix("class ") for name in sides.names])
        places = np.column_stack([distances, spaces.lanes(sides.ranks)])
        draw_samples(axes, places, sides.ranks, sides.names)
    else:
        # Bins begin at the margin, so that it stays empty.
        width = (np.abs(distances).max() - margin) / BINS or 1.0
        beyond = ((np.abs(distances) - margin) / width).clip(0, BINS - 1).astype(int)
        for rank, name in enumerate(sides.names):
            bins, heights = np.unique(beyond[sides.ranks == rank], return_counts=True)
            places = margin + width * (bins + 0.5)
            sign = 1 if rank == sides.positive else -1
            axes.bar(sign * places, heights, width, color=PALETTE[rank], label=name)
        axes.set(ylabel="samples")
        axes.spines[["top", "right"]].set_visible(False)
    if plane is None:
        axes.set_xlabel("weight · x + bias")
    else:
        axes.axvspan(
            -margin, margin, color=GREY, alpha=0.2, linewidth=0, zorder=0.5, label="margin"
        )
        axes.axvline(0, color="black", label="separating line")
        axes.set_xlabel("signed distance from the line")
    axes.set_title(_margin(certificate))
    legend_above(figure)
    return figure


def _draw_weights(certificate: CommonPoint, sides: Sides) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(5.6, 2.6)
    panels = figure.subplots(1, 2, sharey=True)
    weights = sides.weights(certificate)
    for axes, side, name, color in zip(panels, weights, sides.names, PALETTE, strict=False):
        heavy = sorted((float(weight) for weight in side if weight), reverse=True)
        axes.bar(range(1, len(heavy) + 1), heavy, color=color)
        axes.set(
            xlabel="samples, the heaviest first",
            title=f"{name}: {len(heavy):,} of {len(side):,} samples",
        )
        axes.set_xlim(0, max(len(heavy), 9) + 1)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("weight in the common point")
    return figure


def _draw_images(certificate: Proof, sides: Sides, shape: tuple[int, int]) -> Figure:
    """What stands between the sides as an image, the samples that tell most of it next to it."""
    chosen = []
    if isinstance(certificate, CommonPoint):
        middle, caption = np.array(certificate.point, np.float64), "common point"
        mixed = sum(1 for weights in sides.weights(certificate) for weight in weights if weight)
        below = f"of {mixed:,} samples"
        for weights in sides.weights(certificate):
            order = sorted(range(len(weights)), key=lambda row: -weights[row])[:BESIDE]
            chosen.append([(row, _share(weights[row])) for row in order if weights[row]])
    else:
        plane = hyperplane(certificate)
        if plane is None:
            raise ValueError("certificate: expected samples on both sides, got one without a line")
        middle, caption, below = plane.weight, "weight", _margin(certificate)
        for inputs in sides.inputs:
            distances = np.abs(inputs @ plane.weight + plane.bias)
            order = np.argsort(distances, kind="stable")[:BESIDE].tolist()
            chosen.append([(row, f"distance {distances[row]:.3g}") for row in order])
    left, right = chosen
    columns = len(left) + 1 + len(right)
    figure = new_figure(0.98 * columns, 1.5)
    panels = panel_row(figure, columns)
    before, between, after = panels[: len(left)], panels[len(left)], panels[len(left) + 1 :]
    shown = [
        inputs[[row for row, _ in rows]] for inputs, rows in zip(sides.inputs, chosen, strict=True)
    ]
    low, high = np.min(np.concatenate(shown)), np.max(np.concatenate(shown))
    scale = {"cmap": "gray_r", "vmin": low, "vmax": high, "interpolation": "nearest"}
    for rank, (place, rows) in enumerate(((before[::-1], left), (after, right))):
        for axes, (row, text) in zip(place, rows, strict=True):
            axes.imshow(sides.inputs[rank][row].reshape(shape), **scale)
            axes.set_title(sides.names[rank], color=PALETTE[rank], fontsize=8)
            axes.set_xlabel(text, fontsize=8, labelpad=2)
    if isinstance(certificate, Separator):
        limit = np.abs(middle).max()
        scale |= {"cmap": DIVERGING, "vmin": -limit, "vmax": limit}
    between.imshow(middle.reshape(shape), **scale)
    between.set_title(caption, fontsize=8)
    between.set_xlabel(below, fontsize=8, labelpad=2)
    for axes in panels:
        axes.set(xticks=[], yticks=[])
    for spine in between.spines.values():
        spine.set_linewidth(1.5)
    return figure


def _share(weight: Fraction) -> str:
    text = str(weight)
    return "weight " + (text if len(text) <= LETTERS else f"{float(weight):.3f}")


def _margin(certificate: Separator) -> str:
    if not any(certificate.weight):
        return "one side alone: every line will do"
    return f"margin {float(certificate.margin):.3g}"
