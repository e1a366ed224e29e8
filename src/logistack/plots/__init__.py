"""Figures from arrays, in one style.

Every function takes arrays, or what the library made of them, and returns a
`matplotlib.figure.Figure`, without `pyplot`, windows or global state. `save` writes one to a file.
Colors are those of Okabe and Ito, which color-blind readers tell apart; classes differ in marker
and lines in dash as well.

Matplotlib is imported when a figure is drawn: `pip install 'logistack[plots]'`.
"""

from logistack.plots.calibration import reliability
from logistack.plots.certificates import certificate
from logistack.plots.films import film
from logistack.plots.hidden import hidden_space, warped_grid
from logistack.plots.images import image_grid, weight_images
from logistack.plots.networks import network, prediction
from logistack.plots.points import Plane, planes
from logistack.plots.populations import bands, differences, heat_map, intervals
from logistack.plots.regions import decision_regions
from logistack.plots.results import confusion_matrix, training_curves
from logistack.plots.style import (
    BLUE,
    DIVERGING,
    GREY,
    LABEL_BOX,
    MARKERS,
    PALETTE,
    STYLE,
    TINTS,
    VERMILLION,
    Axes,
    Figure,
    save,
)

__all__ = [
    "BLUE",
    "DIVERGING",
    "GREY",
    "LABEL_BOX",
    "MARKERS",
    "PALETTE",
    "STYLE",
    "TINTS",
    "VERMILLION",
    "Axes",
    "Figure",
    "Plane",
    "bands",
    "certificate",
    "confusion_matrix",
    "decision_regions",
    "differences",
    "film",
    "heat_map",
    "hidden_space",
    "image_grid",
    "intervals",
    "network",
    "planes",
    "prediction",
    "reliability",
    "save",
    "training_curves",
    "warped_grid",
    "weight_images",
]
