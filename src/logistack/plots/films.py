"""A training run as a film: one page of HTML that needs nothing else."""

import html
import importlib.resources
import json
import math
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from logistack import _checks, _files
from logistack.layers import Params
from logistack.plots import spaces
from logistack.plots.arguments import Samples, require_samples
from logistack.plots.style import GRID_COLOURS, class_color, class_marker

UNITS = 10_000  # per side of a panel: a coordinate takes four digits, and nobody sees the rounding
BYTES = 2_000_000  # that a film should stay below
NUMBER = 5  # bytes, with its comma
PLAIN = {f"${letter}_{digit}$": letter + "₀₁₂"[digit] for letter in "xa" for digit in (1, 2)}


def film(
    frames: Sequence[Params],
    inputs: ArrayLike,
    labels: ArrayLike,
    path: str | os.PathLike[str],
    *,
    captions: Sequence[str] | None = None,
    title: str = "The input plane, layer by layer",
    layers: Sequence[int] | None = None,
    cells: int = 12,
    axis_labels: tuple[str, str] = spaces.INPUT_LABELS,
    frames_per_second: float = 10.0,
) -> None:
    """Writes a film of how training bends the input's grid: `warped_grid` for each snapshot.

    It is one HTML file that loads nothing else. A slider, the arrow keys, Home and End
    choose the frame, the button and the space bar play, and an address that ends in `#frame=12`
    opens there. Axes are fixed: those of a layer wider than two are the principal components of
    its last frame.

    The file takes 10 bytes per frame and layer for each sample and for each point of the grid's
    lines. A line has 9 to 81 points, as many as keep the file below about 2 MB.

    Args:
        frames: parameters of one shape, from first to last.
        inputs: samples `(n, 2)`.
        labels: their classes `(n,)`, of any dtype.
        path: the file to write; folders are created as needed.
        captions: a text for each frame, such as its epoch and loss; none if None.
        title: the heading of the page.
        layers: the layers to show, 0 being the input; all if None.
        cells: squares along the grid's longer side.
        axis_labels: what the two inputs are.
        frames_per_second: how fast it plays.

    Raises:
        ValueError: if a shape does not match, there is no frame, or a layer does not exist.
        TypeError: if a frame is not a tuple of `Layer`, or a dtype is wrong.
        OSError: if the file cannot be written.

    >>> import jax, pathlib, tempfile
    >>> from logistack.initialization import init_params
    >>> xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> frames = [init_params(jax.random.key(seed), (2, 2, 1)) for seed in range(3)]
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "film.html"
    >>> film(frames, xor, [0, 1, 1, 0], path, captions=["one", "two", "three"])
    >>> path.read_text(encoding="utf-8")[:15]
    '<!DOCTYPE html>'
    """
    if not len(frames):
        raise ValueError("frames: expected the params of at least one frame, got none")
    snapshots = [
        spaces.require_network(params, 2, name=f"frames[{index}]")
        for index, params in enumerate(frames)
    ]
    shapes = [[layer.weight.shape for layer in params] for params in snapshots]
    for index, shape in enumerate(shapes):
        if shape != shapes[-1]:
            raise ValueError(
                f"frames[{index}]: expected weights {shapes[-1]}, as the last, got {shape}"
            )
    samples = require_samples(inputs, labels, 2)
    texts = [""] * len(frames) if captions is None else list(map(str, captions))
    if len(texts) != len(frames):
        raise ValueError(f"captions: expected {len(frames)}, one a frame, got {len(texts)}")
    if not 0 < frames_per_second < math.inf:
        raise ValueError(f"frames_per_second: expected more than 0, got {frames_per_second}")
    cells = _checks.require_count("cells", cells, low=1)
    depth = spaces.depth(snapshots[0])
    chosen = spaces.require_layers("layers", layers, depth)
    widths = spaces.widths(snapshots[0])
    moving = [layer for layer in chosen if layer]
    steps = _steps(
        len(frames) * len(moving) * len(samples.inputs),
        len(frames) * sum(widths[layer] > 1 for layer in moving),
        len(spaces.grid_over(samples.inputs, cells, 2).points),
    )
    grid = spaces.grid_over(samples.inputs, cells, steps)
    points = np.concatenate([samples.inputs, grid.points.reshape(-1, 2)])
    final = spaces.through_layers(snapshots[-1], points)
    views = {layer: spaces.view_of(final[layer], layer, inputs=axis_labels) for layer in chosen}
    seen: dict[int, list[np.ndarray]] = {layer: [] for layer in views}
    for params in snapshots:
        carried = spaces.through_layers(params, points)
        for layer in views:
            if layer or not seen[layer]:  # no training moves the input
                seen[layer].append(views[layer](carried[layer]))
    data = {
        "units": UNITS,
        "radius": round(spaces.marker_size(len(samples.inputs)) * 26),
        "hues": GRID_COLOURS,
        "frames_per_second": frames_per_second,
        "classes": [
            {"name": name, "color": class_color(rank), "marker": class_marker(rank)}
            for rank, name in enumerate(samples.names)
        ],
        "ranks": samples.ranks.tolist(),
        "captions": texts,
        "panels": [
            {
                "title": spaces.layer_title(layer, depth, widths[layer]),
                "steps": steps,
                "constant_first": grid.constant_first,
                **_panel(seen[layer], views[layer].labels, samples),
            }
            for layer in chosen
        ],
    }
    page = importlib.resources.files("logistack.plots").joinpath("film.html")
    _files.write_whole(path, _filled(page.read_text(encoding="utf-8"), title, data))


def _steps(samples: int, grids: int, lines: int) -> int:
    """How many points a line may have, for so many samples and grids in all frames together."""
    left = BYTES - 2 * NUMBER * samples
    return int(np.clip(left // (2 * NUMBER * lines * max(grids, 1)), 9, 81))


def _panel(seen: list[np.ndarray], labels: tuple[str, ...], samples: Samples) -> dict[str, Any]:
    """What one panel shows: in each frame the samples, then the points of the grid, in its view."""
    count = len(samples.inputs)
    strip = len(labels) == 1
    if strip:
        heights = spaces.lanes(samples.ranks)
        seen = [np.column_stack([places[:count], heights]) for places in seen]
        frame = spaces.strip_frame(np.concatenate(seen)[:, 0], len(samples.classes))
    else:
        frame = spaces.frame_of(np.concatenate(seen), 0.05)
    frames = []
    for places in seen:
        whole = np.rint((places - frame.low) / (frame.high - frame.low) * UNITS).astype(int)
        frames.append(
            {"samples": whole[:count].ravel().tolist(), "lines": whole[count:].ravel().tolist()}
        )
    across, up = zip(frame.low.tolist(), frame.high.tolist(), strict=True)
    lanes = list(enumerate(samples.classes))
    values = [_ticks(*across), lanes if strip else _ticks(*up)]
    return {
        "labels": [PLAIN.get(label, label) for label in (*labels, "class")[:2]],
        "low": frame.low.tolist(),
        "high": frame.high.tolist(),
        "ticks": [
            [[round((value - low) / (high - low) * UNITS), text] for value, text in axis]
            for axis, (low, high) in zip(values, (across, up), strict=True)
        ],
        "frames": frames,
    }


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """At most six multiples of 1, 2 or 5 times a power of ten, and what stands beside them."""
    power = 10.0 ** math.floor(math.log10((high - low) / 5))
    step = next(power * lead for lead in (1, 2, 5, 10, 20) if (high - low) / (power * lead) <= 5)
    wholes = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [(whole * step, f"{whole * step:.6g}".replace("-", "−")) for whole in wholes]


def _filled(page: str, title: str, data: dict[str, Any]) -> bytes:
    # Within a script, no letter but < can begin what ends it.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    values = {"title": html.escape(title), "data": text}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], page).encode()
