"""The README is true: its code runs as written, and its tables are what the scripts print."""

import pathlib
import re
import subprocess
import sys

from experiments import article, depth, depth_cells, limits, published
from logistack import cli

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
RESULTS = pathlib.Path(__file__).parents[1] / "experiments" / "results"


def blocks(language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [content for own, content in found if own == language]


def test_the_code_prints_what_its_comments_say():
    first, *more = blocks("python")
    assert len(first.splitlines()) <= 35
    code = "\n".join([first, *more])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = re.findall(r"^print\(.*# (.+)$", code, re.MULTILINE)
    assert said
    assert done.stdout.splitlines() == said


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
    for name, cells in depth.by_scheme(kept).items():
        (line,) = (line for line in table.splitlines() if line.startswith(name))
        wanted = [f"{100 * depth.mean(cell):.1f}" for cell in cells]
        assert line.removeprefix(name).split() == wanted
    lowest = [f"{100 * depth_cells.accuracies(cell).min():.1f}" for cell in cells]
    assert table.splitlines()[-1].split()[-len(lowest) :] == lowest


def test_the_table_beside_the_published_figures_is_what_the_script_prints():
    (table,) = (block for block in blocks("") if "published" in block)
    kept = published.Book(RESULTS / "published.json").entries
    assert published.report(kept).startswith(table)


def test_the_limits_are_what_the_script_prints():
    printed = limits.report(limits.recall(RESULTS / "limits.json"))
    tables = [block for block in blocks("") if re.search(r"\b(enough|all ten)\b", block)]
    tables = [block for block in tables if "$ logistack" not in block]
    assert len(tables) == 3
    for table in tables:
        assert table in f"{printed}\n", table


def test_the_shell_prints_what_is_shown(tmp_path, monkeypatch, capsys):
    (session,) = (block for block in blocks("") if "$ logistack" in block)
    monkeypatch.chdir(tmp_path)
    rows = ["x1,x2,label", "0,0,no", "0,1,yes", "1,0,yes", "1,1,no"]
    pathlib.Path("xor.csv").write_text("\n".join(rows))
    for part in re.split(r"^\$ logistack ", session, flags=re.MULTILINE)[1:]:
        command, _, wanted = part.partition("\n")
        assert cli.main(command.split()) == 0
        assert capsys.readouterr().out == wanted


def test_every_command_and_figure_named_is_there():
    root = pathlib.Path(__file__).parents[1]
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE)):
        assert f"\n{target}:" in makefile, target
    for path in re.findall(r"(?:\]\(|python )((?:experiments|src|docs)/[\w./-]+)", README):
        assert (root / path).is_file(), path


def test_every_extra_named_is_there():
    project = (pathlib.Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"\.\[(\w+)\]", README):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
