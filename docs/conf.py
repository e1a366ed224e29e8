"""How the documentation is built: `make docs`, from these pages and the docstrings.

Furo is the theme because it reads well on a phone and prints well, and needs neither a network
connection nor a build of its own.
"""

import re
import warnings
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import docutils.nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

from docs import generate

project = "logistack"
copyright = "the logistack authors"
version = release = version_of(project)
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["gallery"]  # from which the pages in _gallery are made

# A worker that has compiled much is replaced by a fresh one.
warnings.filterwarnings("ignore", "A worker stopped", UserWarning)

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "_gallery",
    "filename_pattern": "",
    "image_scrapers": ("docs.generate.figure",),
    "reset_modules": ("matplotlib", "docs.generate.prepare"),
    "capture_repr": (),
    "abort_on_example_error": True,
    "run_stale_examples": True,
    "download_all_examples": False,
    "min_reported_time": 3600,
    "write_computation_times": False,
    "show_signature": False,
    "parallel": 2,
}

html_theme = "furo"
html_title = f"logistack {version}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 3
# GitHub's two hundred kinds of highlighting are not Pygments's: output has no language.
highlight_language = "none"

# Shapes stand in the docstrings; those of annotations, spelled out, would bury the names.
autodoc_typehints = "none"
maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autosummary_generate = False
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False
napoleon_custom_sections = [
    (name, "params_style") for name in ("Main arguments", "Other Arguments", "Attributes")
]
# Names in backticks are code; those that are documented become links, see `link_or_code`.
default_role = "py:obj"
nitpicky = True

# Where what a docstring names is looked for, as its reader would import it.
ROOMS = ("logistack", "logistack.training", "logistack.separability", "logistack.export")


def link_or_code(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: docutils.nodes.Element
) -> docutils.nodes.Node | None:
    """Makes a link of the names of what is documented, and leaves what is not as it is."""
    if node["reftype"] not in ("obj", "class", "exc"):
        return None
    domain = env.domains.python_domain
    for room in ROOMS:
        name = f"{room}.{node['reftarget'].removeprefix('ls.')}"
        if name in domain.objects:
            own = node["refdoc"], app.builder, "obj", name, node, content
            return domain.resolve_xref(env, *own)
    return content


def link_code(app: Sphinx, doctree: docutils.nodes.document, page: str) -> None:
    """Makes links of what guides name as in their code, such as `ls.fit`."""
    domain = app.env.domains.python_domain
    for literal in list(doctree.findall(docutils.nodes.literal)):
        said = re.match(r"ls\.([\w.]+)", literal.astext())
        name = f"logistack.{said[1]}" if said else ""
        if name in domain.objects and not isinstance(literal.parent, docutils.nodes.reference):
            there, anchor = domain.objects[name].docname, domain.objects[name].node_id
            linked = make_refnode(app.builder, page, there, anchor, literal.deepcopy())
            literal.replace_self(linked)


def link_pages(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    """Has the links of what is included, which are right where it stands, lead to its page here."""
    page = re.sub(r"\]\((?:docs/)?benchmarks/README\.md", "](benchmarks.md", content[0])
    content[0] = re.sub(r"\]\(docs/([\w-]+\.md)", r"](\1", page)


def skip(app: Sphinx, what: str, name: str, member: Any, skipped: bool, options: Any) -> bool:
    """Leaves out fields, which stand among the attributes, and what others add to a class."""
    field = type(member).__name__ in ("_tuplegetter", "member_descriptor")
    routed = name.startswith("set_") and name.endswith("_request")
    return skipped or field or routed


def name_functions(
    app: Sphinx, what: str, name: str, of: Any, options: Any, signature: str | None, returns: str
) -> tuple[str, str] | None:
    """Calls the functions among the defaults by their names, not by where they lie in memory."""
    if signature is None:
        return None
    return re.sub(r"<(?:function|class) '?(?:[\w.]*\.)?(\w+)'?[^>]*>", r"\1", signature), returns


def setup(app: Sphinx) -> None:
    """Joins the functions above to Sphinx."""
    app.add_directive("kept", generate.Kept)
    app.connect("doctree-resolved", link_code)
    app.connect("include-read", link_pages)
    app.connect("missing-reference", link_or_code)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", name_functions)
