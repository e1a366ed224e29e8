"""The documentation is whole: what is public has a place in it, and what it lists is there."""

import functools
import importlib
import pathlib
import re

import logistack as ls

ROOT = pathlib.Path(__file__).parents[1]
ROOMS = (
    "callbacks", "checkpoint", "committees", "conformal", "data", "estimator", "losses", "metrics",
    "plots", "selection", "separability", "statistics", "training",
    "export.numpy", "export.onnx", "export.safetensors", "export.sklearn", "export.torch",
)  # fmt: skip
# What the formats share among themselves.
INNER = {"read", "read_params", "require_dtype", "write"}


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


def public_in(room):
    """The names of a room that are its own, and public."""
    module = importlib.import_module(f"logistack.{room}")
    own = [
        name
        for name, of in vars(module).items()
        if not name.startswith("_") and getattr(of, "__module__", "").startswith(module.__name__)
    ]
    return getattr(module, "__all__", own)


def test_everything_public_is_in_the_reference():
    names, rooms = documented(), {*ROOMS, "export"}
    assert set(ls.__all__) - rooms <= names
    for room in ROOMS:
        missing = {name for name in public_in(room) if not {name, f"{room}.{name}"} & names}
        assert missing <= INNER, room


def test_every_name_that_a_page_uses_is_public():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for name in set(
            re.findall(r"\bls\.([a-zA-Z_]+(?:\.[a-zA-Z_]+)*)", page.read_text("utf-8"))
        ):
            assert functools.reduce(getattr, name.split("."), ls), (page, name)


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


def test_what_is_cited_is_this_version():
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert f"\nversion: {ls.__version__}\n" in cited
    assert f"version = {{{ls.__version__}}}" in index


def test_the_workflow_calls_targets_that_are_there():
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"run: make ([\w-]+)", workflow)
    assert targets
    for target in targets:
        assert f"\n{target}:" in makefile, target
