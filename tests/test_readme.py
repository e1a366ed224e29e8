"""The README is true: its code runs as written, and its tables are what the scripts print."""

import pathlib
import re
import subprocess
import sys

from experiments import article

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


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
