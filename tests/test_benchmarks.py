"""The benchmark runs, small: every way to train that is here does the work it is timed for."""

import dataclasses
import importlib
import json

import jax
import numpy as np
import pytest

from experiments.benchmarks import startup, timing, training, workloads

TINY = training.Config(
    parts=("training", "validation", "overhead"),
    sizes=("small", "medium"),
    rounds=2,
    peers=("sklearn",),
    scale=0.002,
)


@pytest.fixture(scope="module")
def sections():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "clear_caches", lambda: None)  # the suite compiles as little as it can
        patch.setattr(timing, "prepare_products", lambda _: (0.0, {}))
        yield list(training.run(TINY))


def test_times_every_part_size_and_library(sections):
    assert [(section.part, section.size) for section in sections] == [
        ("training", "small"), ("training", "medium"), ("validation", "medium"),
        ("overhead", "small"), ("overhead", "medium"),
    ]  # fmt: skip
    for section in sections:
        names = ["bare", "fit", "validated"]
        if section.part != "overhead":
            names = ["logistack", "sklearn"]
        seconds = section.numbers["seconds_of_rounds"]
        assert list(seconds) == list(section.numbers["first_run_seconds"]) == names
        assert all(len(own) == 2 and min(own) > 0 for own in seconds.values())
        assert section.numbers["work"]["epochs"] >= 1
        for name in names:
            assert f"\n{training.WAYS[name].label} " in section.table


def test_says_what_is_expected(sections):
    small, medium = sections[3:]
    assert "at most 1.10×" not in small.table
    assert "µs/epoch" in small.table
    assert medium.table.endswith("at most 1.10×")


def test_ratios_are_medians_of_ratios_within_a_round():
    measured = timing.Measured(
        workloads.WORKLOADS["medium"], {"logistack": 1.0, "torch": 2.0},
        {"logistack": [1.0, 2.0, 4.0], "torch": [5.0, 4.0, 16.0]}, {},
    )  # fmt: skip
    line = training.tabulate(measured, "logistack is")[-1]
    assert line.startswith("PyTorch eager")
    assert line.endswith("4.00×  (2.00 to 5.00)")


@pytest.mark.parametrize("name", ["logistack", "sklearn", "bare"])
def test_a_library_does_all_of_the_work(name):
    work = workloads.Workload((6, 5, 3), samples=12, batch_size=4, epochs=3)
    result = training.prepare(name, work)()
    if name == "logistack":
        assert int(result.state.epoch) == work.epochs
    elif name == "sklearn":
        assert result.n_iter_ == work.epochs
        assert result.t_ == work.epochs * work.samples
    else:
        fitted = training.prepare("logistack", work)().params
        for own, other in zip(jax.tree.leaves(result), jax.tree.leaves(fitted), strict=True):
            np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", training.WAYS)
def test_every_peer_is_there_also_without_its_library(name):
    way = training.WAYS[name]
    peer = importlib.import_module(f"experiments.benchmarks.peers.{way.file}")
    assert callable(peer.prepare)
    assert peer.__name__.startswith("experiments.")


@pytest.mark.parametrize(
    ("load", "words", "warned"),
    [(0.3, "load 0.30", False), (0.7, "load 0.70", True), (None, "load unknown", False)],
)
def test_the_heading_tells_the_load_and_warns_above_a_half(load, words, warned):
    said = training.heading(load)
    assert words in said.splitlines()[0]
    assert ("Warning: the load is above 0.5" in said) == warned


def test_the_command_prints_and_saves(sections, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(training, "run", lambda _: iter(sections))
    monkeypatch.setattr(training, "load_now", lambda: 1.25)
    training.main(["--peers", "sklearn", "--save", str(tmp_path / "new")])
    said = capsys.readouterr().out
    assert all(section.table in said for section in sections)
    (path,) = (tmp_path / "new").iterdir()
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["machine"]["load"] == 1.25
    assert kept["command"].startswith("python experiments/benchmarks/training.py --peers sklearn")
    assert [each["table"] for each in kept["sections"]] == [
        section.table.splitlines() for section in sections
    ]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("--rounds 0", "rounds: expected at least 1, got 0"),
        ("--scale 0", "scale: expected finite numbers above 0, got 0.0"),
        ("--sizes huge", "invalid choice 'huge'"),
        ("--save /dev/null/new", "save: expected a folder to write to"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(words, wrong, monkeypatch, capsys):
    monkeypatch.setattr(training, "run", lambda _: pytest.fail("ran"))
    with pytest.raises(SystemExit) as ended:
        training.main(words.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(wrong)


def test_the_overhead_of_the_small_network_lasts_long_enough_to_be_timed():
    config = dataclasses.replace(TINY, scale=1.0)
    assert training.workloads(config, "overhead")["small"].epochs == 100_000
    assert training.workloads(config, "training")["small"].epochs == 5_000


def test_a_process_is_timed_to_its_end():
    assert startup.end_of("pass") > 0
