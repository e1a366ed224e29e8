"""What the pages are made of beside text: the figures of the gallery, and the kept results."""

import contextlib
import importlib
import io
import itertools
import re
from pathlib import Path
from typing import Any

import docutils.nodes
import matplotlib
import matplotlib.figure
import matplotlib.pyplot
from sphinx.util.docutils import SphinxDirective
from sphinx_gallery.scrapers import figure_rst

from logistack import keep_compiled_programs, plots

ROOT = Path(__file__).parents[1]


def figure(block: Any, variables: dict[str, Any], settings: dict[str, Any]) -> str:
    """Shows the figure that a block of an example ends with."""
    scope = variables["example_globals"]
    last, scope["___"] = scope.get("___"), None
    matplotlib.pyplot.close("all")
    if not isinstance(last, matplotlib.figure.Figure):
        return ""
    path = next(variables["image_path_iterator"])
    plots.save(last, path)
    return figure_rst([path], settings["src_dir"])


def prepare(settings: dict[str, Any], example: str) -> None:
    """Has an example draw by itself in the style of the library, and find what was compiled."""
    matplotlib.rcParams.update(plots.STYLE)
    keep_compiled_programs()


class Kept(SphinxDirective):
    """What an experiment prints and draws of the results that the repository keeps: `--table`."""

    required_arguments = 1

    def run(self) -> list[docutils.nodes.Node]:
        """Shows what is printed as it is, its tables of Markdown as tables, and the figures."""
        (name,) = self.arguments
        folder = Path(self.env.srcdir) / "_kept" / name
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            importlib.import_module(f"experiments.{name}").main(["--table", "--out", str(folder)])
        text = re.sub(r"^(figure|results) .*\n", "", said.getvalue(), flags=re.MULTILINE)
        paragraphs = re.split(r"\n{2,}", text.replace(f"{ROOT}/", "").strip())
        nodes: list[docutils.nodes.Node] = []
        for is_table, parts in itertools.groupby(paragraphs, lambda part: part.startswith("|")):
            part = "\n\n".join(parts)
            plain = docutils.nodes.literal_block(part, part, language="none")
            nodes += self.parse_text_to_nodes(part) if is_table else [plain]
        for path in sorted(folder.glob("*.png")):
            drawn = f"/{path.relative_to(self.env.srcdir).as_posix()}"
            nodes.append(docutils.nodes.image(uri=drawn, alt=path.stem.replace("-", " ")))
        return nodes
