"""The documentation is whole: what is public has a place in it, and what it lists is there."""

import importlib
import pathlib
import re

import logistack as ls

ROOT = pathlib.Path(__file__).parents[1]
ROOMS = (
    "callbacks", "checkpoint", "committees", "conformal", "data", "estimator", "losses", "metrics",
    "plots", "selection", "separability", "statistics", "training",
)  # fmt: skip


def documented():
    """The names that the pages of the reference have a description of, without `logistack.`."""
    found = set()
    for page in (ROOT / "docs" / "api").glob("*.rst"):
        text = page.read_text(encoding="utf-8")
        found |= set(
            re.findall(r"^\.\. auto(?:function|class|exception):: logistack\.(.+)$", text, re.M)
        )
        for name, room in re.findall(r"^\.\. py:data:: (.+)\n   :module: (.+)$", text, re.M):
            found.add(f"{room}.{name}".removeprefix("logistack."))
    return found


def test_everything_public_is_in_the_reference():
    names = documented()
    last = {name.rpartition(".")[2] for name in names}
    public = {name for name in ls.__all__ if name not in (*ROOMS, "export")}
    assert public <= names
    for room in ROOMS:
        module = importlib.import_module(f"logistack.{room}")
        assert set(getattr(module, "__all__", [])) <= last, room


def test_every_page_is_in_the_table_of_contents_and_in_the_index_for_models():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    short = (ROOT / "llms.txt").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.stem == "index" or f"\n{page.stem}\n" in index, page
        included = "{include}" in page.read_text(encoding="utf-8").splitlines()[0]
        assert page.stem == "index" or included or f"(docs/{page.name})" in short, page
    for path in re.findall(r"\]\(([\w./-]+)\)", short):
        assert (ROOT / path).is_file(), path


def test_the_reference_summarizes_what_it_describes():
    for page in (ROOT / "docs" / "api").glob("*.rst"):
        text = page.read_text(encoding="utf-8")
        if page.stem == "index":
            continue
        summary = re.search(r"autosummary::\n   :nosignatures:\n\n((?:   .+\n)+)", text)[1].split()
        described = re.findall(r"^\.\. auto(?:function|class|exception):: (.+)$", text, re.M)
        assert [name.endswith(own) for name, own in zip(described, summary, strict=True)], page
