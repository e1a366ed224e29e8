"""The house style: colors, markers, figures that belong to nobody, and files of them."""

import contextlib
import functools
import io
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias

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
GRID_COLOURS = (PALETTE[2], PALETTE[3])  # of the lines of constant x₁, and of constant x₂

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
    """Writes a figure to a file; an interrupted write leaves the old file.

    Args:
        figure: what a function of this package returned.
        path: the file; its extension is the format (png, pdf, svg). Folders are created as needed.
        dpi: pixels per inch.

    Raises:
        ValueError: if Matplotlib does not write files with the extension of `path`.
        OSError: if the file cannot be written.

    >>> import pathlib, tempfile
    >>> from logistack import plots
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> save(plots.confusion_matrix([[9, 1], [0, 5]]), folder / "counts.png")
    >>> [path.name for path in folder.iterdir()]
    ['counts.png']
    """
    path = pathlib.Path(path)
    formats = figure.canvas.get_supported_filetypes()
    ending = path.suffix[1:]
    if ending not in formats:
        raise ValueError(f"path: expected an extension of {sorted(formats)}, got {path.name!r}")
    content = io.BytesIO()
    with house_style():
        figure.savefig(content, format=ending, dpi=dpi)
    _files.write_whole(path, content.getvalue())


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draws in the house style and lays the figure out before the style is gone."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with house_style():
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
        return figure

    return styled


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """The house style while it lasts."""
    matplotlib = _checks.import_extra("matplotlib", "plots")
    with matplotlib.rc_context(STYLE):
        yield


def class_color(rank: int) -> str:
    """The color of the class of this rank."""
    return PALETTE[rank % len(PALETTE)]


def class_marker(rank: int) -> str:
    """The marker of the class of this rank; ranks that share a color differ in it."""
    return MARKERS[(rank + rank // len(PALETTE)) % len(MARKERS)]


def class_tint(rank: int) -> str:
    """The color of the class of this rank, thinned with white as `TINTS` are."""
    if rank < len(TINTS):
        return TINTS[rank]
    color = class_color(rank)
    parts = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(255 - 0.16 * (255 - part)):02X}" for part in parts)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, known to no `pyplot`."""
    import matplotlib.figure

    return matplotlib.figure.Figure(figsize=(width, height))


def plain(text: str) -> str:
    """A text whose dollar signs begin no formula."""
    return text.replace("$", r"\$")


def panel_row(figure: Figure, columns: int) -> list[Axes]:
    """Axes side by side."""
    return [figure.add_subplot(1, columns, column + 1) for column in range(columns)]


def legend_above(figure: Figure, columns: int = 4) -> None:
    """One legend for all panels, unless there is nothing to tell apart."""
    legend = {
        name: handle
        for axes in figure.axes
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if len(legend) > 1:
        columns = min(columns, len(legend))
        figure.legend(legend.values(), legend, loc="outside upper center", ncols=columns)


def number(value: float) -> str:
    """Two decimals at most, and a minus sign as long as a plus."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text.replace("-", "−")
