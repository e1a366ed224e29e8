"""The benchmark of estimators runs, small: all peers learn as much, and ratios are of a round."""

import importlib.util
import json

import numpy as np
import pytest

from experiments.benchmarks import estimator, estimators, startup
from experiments.benchmarks.machine import Section
from experiments.benchmarks.processes import Turns
from experiments.benchmarks.workloads import Workload

WORK = Workload((64, 8, 10), samples=400, batch_size=50, epochs=20)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(estimators.WORK, "digits", WORK)
    monkeypatch.setitem(
        estimators.GRIDS, "numbers", {"learning_rate": [1e-5, 0.5], "momentum": [0.0, 0.5]}
    )
    sizes = {"hidden_layer_sizes": [(8,), (6, 6)], "learning_rate": [1e-6, 0.03]}
    monkeypatch.setitem(estimators.GRIDS, "sizes", sizes)
    monkeypatch.setattr(estimator, "APART", 0.2)


def turns_of(tasks):
    """What `take_turns` measures in one round, in this process."""
    first, rounds, told = {}, {}, {}
    for place, (name, task) in enumerate(tasks.items(), 1):
        ready = task.prepare()
        first[name], rounds[name], told[name] = 6.0, [12.0 / place], ready.tell(ready.run())
    return Turns(first, rounds, told)


@pytest.mark.parametrize("members", [1, 2])
def test_a_network_and_a_committee_beside_scikit_learn_s(members):
    found = estimator.measure_fits("digits", WORK, members, turns_of)
    assert (found.part, found.size) == (("one", "committee")[members - 1], "digits")
    assert len(found.numbers["told"]) == members + 1
    assert min(np.ravel([*found.numbers["told"].values()])) > 0.6
    assert "is 2.00× as fast as" in found.table
    assert "64-8-10 on 400 samples, batch 50, 20 epochs, Adam" in found.table


@pytest.mark.parametrize("search", ["numbers", "sizes"])
def test_searches_try_the_same_candidates_in_one_order(search):
    peers = ["skorch"] if estimator.is_there("skorch") else []
    found = estimator.measure_search(search, WORK, peers, turns_of)
    theirs, *others = found.numbers["told"].values()
    assert len(theirs) == 4
    assert len(others) == 2 + len(peers)
    assert others[-1] == pytest.approx(others[-2], abs=0.02)  # on any number of devices
    for own in others:
        assert np.corrcoef(theirs, own)[0, 1] > 0.9
    assert "4 candidates × 5 folds" in found.table


@pytest.mark.parametrize("members", [1, 3])
def test_probabilities_are_those_of_numpy(members):
    found = estimator.measure_prediction("digits", WORK, members, 500, turns_of)
    numpy, own, theirs = (np.array(told) for told in found.numbers["told"].values())
    np.testing.assert_allclose(own, numpy, atol=1e-5)
    assert np.abs(theirs - numpy).max() > 0.01
    np.testing.assert_allclose([own[:10].sum(), own[10:].sum()], 1, rtol=1e-5)


def test_accuracies_stand_beside_the_seconds_of_a_first_fit(monkeypatch):
    class Here:
        def __init__(self, task):
            self.ready, self.first = task.prepare(), 3.0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def told(self):
            return self.ready.tell(self.ready.run())

    monkeypatch.setattr(estimator, "Apart", Here)
    found = estimator.measure_tabular(WORK, 2, [])
    assert [*found.numbers] == [
        "StackClassifier", "StackClassifier, 2 members", "2 members of StackSearchCV's best",
    ]  # fmt: skip
    assert all(own["seconds"] == 3 and own["accuracy"] > 0.6 for own in found.numbers.values())


def test_a_process_begins_with_what_another_compiled(monkeypatch):
    seen = []
    monkeypatch.setattr(startup, "end_of", lambda code: seen.append(code) or 0.0)
    found = estimator.measure_start(2)
    assert [*found.numbers["seconds_of_rounds"]] == [
        "MLPClassifier", "StackClassifier, nothing kept", "StackClassifier, a second process",
    ]  # fmt: skip
    assert len(seen) == 2 + 2 * 3
    assert seen[3] == seen[4] != seen[6] == seen[7]  # each round has a folder of its own
    for code in seen[:2]:
        compile(code, "program", "exec")


def test_the_parts_are_run_in_turn(monkeypatch):
    config = estimator.Config(
        parts=("one", "committee"), data=("digits",), members=2, scale=0.1, peers=()
    )
    monkeypatch.setattr(estimator, "APART", 1.0)  # after two epochs
    found = [*estimator.run(config, turns_of)]
    assert [each.part for each in found] == ["one", "committee"]
    assert all("2 epochs" in each.table for each in found)


def test_the_command_prints_and_saves(monkeypatch, tmp_path, capsys):
    sections = [Section("one", "digits", {"members": 1}, "a table")]
    monkeypatch.setattr(estimator, "run", lambda _: iter(sections))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    estimator.main(["--save", str(tmp_path), "--peers", "skorch", "tabm"])
    said = capsys.readouterr().out
    assert "a table" in said
    assert "TabM is not installed, and is left out" in said
    (path,) = tmp_path.glob("estimator-*.json")
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["command"].startswith("python experiments/benchmarks/estimator.py --save")
    assert kept["sections"][0]["table"] == ["a table"]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("--rounds 0", "rounds: expected at least 1, got 0"),
        ("--scale 0", "scale: expected finite numbers above 0, got 0.0"),
        ("--peers caffe", "invalid choice 'caffe'"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(words, wrong, monkeypatch, capsys):
    monkeypatch.setattr(estimator, "run", lambda _: pytest.fail("ran"))
    with pytest.raises(SystemExit) as ended:
        estimator.main(words.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(wrong)
