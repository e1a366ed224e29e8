"""What is found is kept, goes on where it was interrupted, and is recalled as what it is."""

import dataclasses
import json
from pathlib import Path

import pytest

from experiments import answering, cross_validation, keeping, width, xor_census

EXPERIMENTS = {
    "width": width,
    "xor_census": xor_census,
    "cross_validation": cross_validation,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Squares things."""

    numbers: tuple[int, ...] = (2, 3)
    table: bool = False
    results: Path | None = None
    out: Path = Path("out")


def square(config, once):
    return [once(f"{number}", lambda number=number: number**2) for number in config.numbers]


def answer(config, run=square):
    answering.answer(
        "square", config, ["--some"], run=run, report=lambda kept: f"{kept['found']}",
        plot=lambda _: {},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_keeps_what_it_found_how_and_from_what(tmp_path, capsys):
    answer(Config(numbers=(4,)))
    (path,) = tmp_path.rglob("*.json")
    assert path == tmp_path / "out" / "numbers-4" / "square.json"
    kept = answering.recall("square", path)
    assert kept["found"] == [16]
    assert kept["settings"] == {"numbers": [4]}
    assert kept["origin"]["command"] == "python experiments/square.py --some"
    assert capsys.readouterr().out.splitlines()[1] == "[16]"


def test_goes_on_behind_the_parts_that_were_finished(tmp_path, capsys):
    def interrupted(config, once):
        once("2", lambda: 4)
        raise KeyboardInterrupt

    path = tmp_path / "r.json"
    with pytest.raises(KeyboardInterrupt, match="run the same again to go on"):
        answer(Config(results=path), interrupted)
    assert not path.exists()

    def without_the_first(config, once):
        return [once("2", lambda: pytest.fail("found again")), once("3", lambda: 9)]

    # With other settings, other parts.
    answer(Config(numbers=(2,), results=tmp_path / "other.json"))
    assert "found before" not in capsys.readouterr().err
    answer(Config(results=path), without_the_first)
    assert answering.recall("square", path)["found"] == [4, 9]
    assert {each.name for each in tmp_path.iterdir()} == {"r.json", "other.json", "out"}


def test_a_table_is_of_what_is_kept_and_says_so(tmp_path, capsys):
    path = tmp_path / "r.json"
    answer(Config(results=path))
    capsys.readouterr()
    answer(Config(results=path, table=True), lambda *_: pytest.fail("ran"))
    said = capsys.readouterr().out
    assert said.startswith("Kept from an earlier run, not measured now: python experiments/square")
    assert said.splitlines()[2] == "[4, 9]"


@pytest.mark.parametrize(
    "content",
    [{}, {"experiment": "cube", "settings": {}, "origin": {}, "found": []}],
    ids=["without parts", "of another experiment"],
)
def test_refuses_other_json_and_does_not_write_over_it(content, tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    for table in (True, False):
        with pytest.raises(keeping.RefusedError, match=r"expected what square\.py keeps in"):
            answer(Config(results=path, table=table), lambda *_: pytest.fail("ran"))
    assert json.loads(path.read_text(encoding="utf-8")) == content


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_the_repository_keeps_is_of_the_default_settings_and_only_read(
    name, monkeypatch, capsys
):
    experiment, path = EXPERIMENTS[name], keeping.KEPT / f"{name}.json"
    before = path.read_bytes()
    monkeypatch.setattr(experiment, "run", lambda *_: pytest.fail("ran"))
    monkeypatch.setattr(experiment, "plot", lambda _: {})
    assert experiment.main(["--table"]) == 0
    kept = answering.recall(name, path)
    assert experiment.report(kept) in capsys.readouterr().out
    assert kept["settings"] == answering.settings_of(experiment.Config())
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "words", "wrong"),
    [
        ("width", "--widths 0", "widths: expected each at least 1, got (0,)"),
        ("width", "--widths 8 8", "widths: expected each once, got (8, 8)"),
        ("width", "--data usps", "data: expected some of digits, digits16, semeion, got usps"),
        ("width", "--seeds 1", "seeds: expected at least 2, got 1"),
        ("width", "--samples 100", "samples: expected at least 200, got 100"),
        ("width", "--rates 0", "rates: expected finite numbers above 0, got (0.0,)"),
        ("xor_census", "--scales 0", "scales: expected finite numbers above 0, got (0.0,)"),
        ("xor_census", "--rates", "rates: expected at least one, got none"),
        ("xor_census", "--epochs 0", "epochs: expected at least 1, got 0"),
        ("cross_validation", "--data iris", "data: expected some of semeion, breast cancer, wine"),
        ("cross_validation", "--folds 1", "folds: expected from 2 to 48, got 1"),
        ("cross_validation", "--batch-size 90", "batch_size: expected from 1 to 89, got 90"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(name, words, wrong, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(EXPERIMENTS[name], "run", lambda *_: pytest.fail("ran"))
    with pytest.raises(SystemExit) as ended:
        EXPERIMENTS[name].main(words.split())
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(wrong)
    assert list(tmp_path.iterdir()) == []
