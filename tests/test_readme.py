"""The pages are true: their code runs as written, and their tables are what the scripts print."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from experiments import (
    answering,
    article,
    cross_validation,
    depth,
    depth_cells,
    limits,
    published,
    width,
)
from logistack import cli

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("**/*.md")),
    *sorted((ROOT / "experiments").glob("**/README.md")),
]
RESULTS = ROOT / "experiments" / "results"


def blocks(language, pages=PAGES):
    """The blocks of a language on some pages, all by default."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    found = re.findall(r"^```([^`\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [content for own, content in found if own == language]


# A page starts from nothing but the names of Python, and what it has defined it has further on.
RUN = """
import json, sys
names = {"__name__": "__main__"}
for code in json.load(sys.stdin):
    exec(compile(code, sys.argv[1], "exec"), names)
"""


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks("python", [page])], ids=lambda page: page.stem
)
def test_each_snippet_prints_what_its_comments_say(page, tmp_path):
    snippets = blocks("python", [page])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, page.name],
        input=json.dumps(snippets),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    said = re.findall(r"^print\(.*# (.+)$", "\n".join(snippets), re.MULTILINE)
    assert len(said) >= len(snippets) - 1  # a snippet that prints nothing has nothing to compare
    assert done.stdout.splitlines() == said
    assert not any(tmp_path.iterdir())


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 160
    assert len(blocks("python", [ROOT / "README.md"])[0].splitlines()) <= 35


def test_the_article_s_table_is_what_the_script_prints():
    (table,) = (block for block in blocks("") if "computed" in block)
    rows = [article.check(row) for row in article.ARTICLE]
    for row, line in zip(rows, table.splitlines()[1:], strict=False):
        assert re.split(r"\s{2,}", line.strip()) == [
            row.what.strip(), row.stated, row.computed, "yes",
        ]  # fmt: skip


def test_the_accuracies_by_depth_are_those_kept():
    (table,) = (block for block in blocks("") if "by hidden layers" in block)
    kept = depth.recall(RESULTS / "depth.json")
    lines = table.splitlines()
    for name, cells in depth.by_scheme(kept).items():
        (at,) = (at for at, line in enumerate(lines) if line.startswith(name))
        wanted = [f"{100 * depth.mean(cell):.1f}" for cell in cells]
        assert lines[at].removeprefix(name).split() == wanted
        if depth_cells.SCHEMES[name].coordinates == "centred":
            lowest = [f"{100 * depth_cells.accuracies(cell).min():.1f}" for cell in cells]
            assert lines[at + 1].split() == ["its", "lowest", "seed", *lowest]


def test_the_table_beside_the_published_figures_is_what_the_script_prints():
    (table,) = (block for block in blocks("") if "published" in block)
    kept = published.Book(RESULTS / "published.json").entries
    assert published.report(kept).startswith(table)


def test_the_limits_are_what_the_script_prints():
    printed = limits.report(limits.recall(RESULTS / "limits.json"))
    tables = [block for block in blocks("") if re.search(r"\b(enough|all ten)\b", block)]
    tables = [block for block in tables if "$ logistack" not in block and "jax" not in block]
    assert len(tables) == 3
    for table in tables:
        assert table in f"{printed}\n", table


def kept_of(name):
    """What the repository keeps of an experiment, and the page of all of them, unbroken."""
    page = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    return answering.recall(name, RESULTS / f"{name}.json"), " ".join(page.split())


def test_the_units_that_digits_need_are_those_kept():
    kept, page = kept_of("width")
    least, _, enough = width.elbow(width.by_width(kept))
    assert f"**{enough.width} logistic units are enough**" in page
    assert (
        f"mean error of {enough.percent.mean():.1f}% is within a standard error of the least, "
        f"{least.percent.mean():.1f}% with {least.width}, and by seed no difference"
    ) in page
    assert "no difference shown" in width.report(kept).splitlines()[-1]
    (eight,) = (own for own in width.by_width(kept) if own.width == 8)
    assert f"8 units err on {eight.percent.mean():.1f}%" in page
    networks = sum(len(cell["wrong"]) for cell in kept["found"])
    assert f"trains {networks} networks" in page


def test_the_census_is_the_one_kept():
    kept, page = kept_of("xor_census")
    solved = {(cell["rate"], cell["scale"]): cell["solved"] for cell in kept["found"]}
    assert f"trains {kept['settings']['seeds'] * len(solved):,} 2-2-1 networks" in page
    assert f"{sum(solved.values()):,} of them learn it" in page
    assert f"draws them, {solved[1, 1]} of 100 at a learning rate of 1" in page
    assert f"with a tenth of those weights {solved[1, 0.1]}." in page
    assert solved[1, 0.1] == max(solved.values())


def test_the_cross_validation_is_what_the_script_prints():
    kept, _ = kept_of("cross_validation")
    (table,) = (block for block in blocks("") if "Errors, in points" in block)
    assert table == f"{cross_validation.report(kept)}\n"
    verdicts = table.partition("Errors, in points")[2].splitlines()[1:]
    assert all("no difference shown" in verdict for verdict in verdicts)


def test_the_shell_prints_what_is_shown(tmp_path, monkeypatch, capsys):
    (session,) = (block for block in blocks("") if "$ logistack" in block)
    monkeypatch.chdir(tmp_path)
    data, *parts = re.split(r"^\$ logistack ", session, flags=re.MULTILINE)
    subprocess.run(data.removeprefix("$ "), shell=True, check=True, cwd=tmp_path)
    for part in parts:
        command, _, wanted = part.partition("\n")
        assert cli.main(command.split()) == 0
        assert capsys.readouterr().out == wanted

    (doubt,) = (block for block in blocks("") if "check.py" in block)
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    for part in re.split(r"^\$ ", doubt, flags=re.MULTILINE)[1:]:
        command, _, wanted = part.partition("\n")
        done = subprocess.run(
            command, shell=True, check=True, env=os.environ | {"PATH": path}, capture_output=True
        )
        assert done.stdout.decode() == wanted


def whole(page):
    """The text of a page with what it includes."""
    return re.sub(
        r"^```{include} (\S+)\n.*?^```$",
        lambda found: whole(page.parent / found[1]),
        page.read_text(encoding="utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )


def test_every_command_and_file_named_is_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)):
            assert f"\n{target}:" in makefile, target
        for path in re.findall(r"python (experiments/[\w./-]+)", text):
            assert (ROOT / path).is_file(), path
        for path, heading in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", text):
            linked = page.parent / path if path else page
            assert linked.is_file(), path
            headings = re.findall(r"^#+ (.+)$", whole(linked), re.MULTILINE) if heading else []
            slugs = [re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headings]
            assert not heading or heading in slugs, heading


def test_every_extra_named_is_there():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = {extra for names in re.findall(r"\.\[([\w,]+)\]", README) for extra in names.split(",")}
    assert named
    for extra in named:
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
