"""What a certificate of separability proves, as numbers to draw."""

from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from logistack.plots.points import segment
from logistack.plots.spaces import Frame, View
from logistack.plots.style import GREY, Axes
from logistack.separability import ClassCertificates, CommonPoint, Separator

Proof: TypeAlias = Separator | CommonPoint


class Hyperplane(NamedTuple):
    """Where weight · x + bias = 0, weight being of length 1, and how far the samples keep off."""

    weight: np.ndarray
    bias: float
    margin: float


def require_proof(name: str, certificate: Any, features: int | None = None) -> None:
    """Raises unless this is a certificate of two classes, in `features` dimensions if given."""
    if not isinstance(certificate, Separator | CommonPoint):
        many = isinstance(certificate, ClassCertificates)
        raise TypeError(
            f"{name}: expected a Separator or a CommonPoint, got {type(certificate).__name__}"
            + (" (take one of its pairs, or of its rest)" if many else "")
        )
    if features not in (None, certificate.features):
        raise ValueError(
            f"{name}: expected one in {features} dimensions, got one in {certificate.features}"
        )


def hyperplane(certificate: Proof) -> Hyperplane | None:
    """The separator, or the weak line of hulls that touch; None if there is none to draw."""
    line = certificate.line
    # A weak line's numbers may be beyond what a float holds; their ratios are not.
    largest = max(map(abs, line.weight)) if line else 0
    if line is None or not largest:  # with no sample on one side, a separator has no place
        return None
    weight = np.array([float(part / largest) for part in line.weight])
    margin = certificate.margin if isinstance(certificate, Separator) else Fraction(0)
    length = float(np.linalg.norm(weight))
    return Hyperplane(
        weight / length, float(line.bias / largest) / length, float(margin / largest) / length
    )


def draw_proof(axes: Axes, view: View, frame: Frame, certificate: Proof) -> None:
    """Draws a separator with its margin, or a common point and the weak line, in a view.

    Args:
        axes: where to.
        view: a line, or a plane that contains the separator's normal.
        frame: the corners of the panel, two of a strip as well.
        certificate: what was proved of the space that is viewed.
    """
    plane = hyperplane(certificate)
    if plane is not None:
        bias = float(plane.weight @ view.origin + plane.bias)
        _draw_line(axes, frame, Hyperplane(view.axes @ plane.weight, bias, plane.margin))
    if isinstance(certificate, CommonPoint):
        place = view(np.array(certificate.point, np.float64))
        draw_common_point(axes, place if len(place) == 2 else np.append(place, 0.5))


def draw_common_point(axes: Axes, place: np.ndarray) -> None:
    """Draws the point that both hulls have, hollow so that it hides no sample."""
    from matplotlib.patheffects import withStroke

    axes.plot(
        *place[:, None],
        "*",
        markerfacecolor="none",
        markeredgecolor="black",
        markeredgewidth=0.8,
        markersize=16,
        zorder=5,
        label="common point",
        linestyle="none",
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )


def _draw_line(axes: Axes, frame: Frame, plane: Hyperplane) -> None:
    low, high = frame.low, frame.high
    weight = np.append(plane.weight, 0.0)[:2]  # a strip has its samples along the first axis
    if plane.margin:
        along = np.array([-weight[1], weight[0]]) * 2 * np.linalg.norm(high - low)
        middle = (low + high) / 2
        foot = middle - (weight @ middle + plane.bias) * weight
        near, far = foot - plane.margin * weight, foot + plane.margin * weight
        band = np.stack([near - along, near + along, far + along, far - along])
        axes.fill(*band.T, facecolor=GREY, alpha=0.2, linewidth=0, zorder=0.5, label="margin")
    axes.plot(
        *segment(weight, plane.bias, low, high).T,
        color="black",
        linestyle="-" if plane.margin else "--",
        zorder=2,
        label="separating line" if plane.margin else "weak line",
    )
