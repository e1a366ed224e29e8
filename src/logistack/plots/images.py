"""Pages of images."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from logistack.plots.arguments import shaped
from logistack.plots.style import DIVERGING, Figure, new_figure, styled


@styled
def image_grid(images: ArrayLike, captions: Sequence[str], *, columns: int = 10) -> Figure:
    """Draws a page of images, such as misread digits, each above its caption.

    Args:
        images: `(n, height, width)`; each one's largest value is drawn black.
        captions: n texts, such as "true → predicted".
        columns: how many in a row.

    Returns:
        A figure with n panels.

    Raises:
        ValueError: if a shape does not match, or there is nothing to draw.

    >>> figure = image_grid(np.zeros((3, 16, 16)), ["4 → 9", "3 → 5", "7 → 1"])
    >>> figure.axes[0].get_xlabel()
    '4 → 9'
    """
    images = shaped("images", images, "n", "height", "width")
    if len(captions) != len(images):
        raise ValueError(f"captions: expected {len(images)}, one an image, got {len(captions)}")
    return _image_page(images, captions, columns, cmap="gray_r")


@styled
def weight_images(weight: ArrayLike, image_shape: tuple[int, int], *, columns: int = 8) -> Figure:
    """Draws the weights of units that look at an image, as images on one scale.

    White is 0, red above and blue below.

    Args:
        weight: `(units, height · width)`: the first layer's weight.
        image_shape: height and width of the input image.
        columns: how many in a row.

    Returns:
        A figure with one panel per unit, and the scale.

    Raises:
        ValueError: if a shape does not match.

    >>> figure = weight_images(np.ones((3, 256)), (16, 16))
    >>> len(figure.axes)
    4
    """
    weight = shaped("weight", weight, "units", math.prod(image_shape))
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
    figure = new_figure(0.72 * columns + room, 0.88 * rows)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.imshow(image, interpolation="nearest", **how)
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(caption, fontsize=8, labelpad=2)
    return figure
