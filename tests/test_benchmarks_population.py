"""The benchmark of populations runs, small: every peer that is here ends where float64 does."""

import functools
import importlib.util
import json
import statistics

import numpy as np
import pytest

from experiments.benchmarks import population, population_questions, population_reach
from experiments.benchmarks import populations as works
from experiments.benchmarks.machine import Section
from experiments.benchmarks.processes import Apart, Task, Turns, take_turns
from experiments.benchmarks.workloads import Workload, scaled

WORK = Workload((12, 6, 5), samples=32, batch_size=8, epochs=3)
TIMED = [(name, order) for name, way in population.WAYS.items() for order in way.orders]


def turns_of(tasks):
    """What `take_turns` measures in one round, in this process."""
    first, rounds, told = {}, {}, {}
    for name, task in tasks.items():
        ready = task.prepare()
        result = ready.run()
        first[name], rounds[name], told[name] = 2.0, [1.0], ready.tell(result)
    return Turns(first, rounds, told)


@pytest.mark.parametrize(("name", "order"), TIMED)
def test_every_way_ends_where_the_same_steps_in_float64_do(name, order):
    if not population.is_there(name):
        pytest.skip(f"{name} is not installed")
    members = works.Population(WORK, 6, order)
    ready = population.WAYS[name].prepare(members)
    told, expected = ready.tell(ready.run()), works.expected_losses(members)
    assert len(told) == len(expected) == works.CHECKED
    if name == "sklearn":
        np.testing.assert_allclose(np.mean(told), np.mean(expected), rtol=population.NEAR)
    else:
        np.testing.assert_allclose(told, expected, rtol=population.TOLERANCE)


def test_losses_tell_the_orders_apart_and_show_what_was_learned():
    own, shared = (
        np.array(works.expected_losses(works.Population(WORK, 6, order)))
        for order in ("own", "shared")
    )
    start = works.tell_losses(
        works.Population(WORK, 6), works.make_starts(works.Population(WORK, 6))
    )
    np.testing.assert_allclose(own[0], shared[0], rtol=1e-12)
    assert (np.abs(own / shared - 1)[1:] > 2 * population.TOLERANCE).all()
    assert (own < (1 - population.NEAR) * np.array(start)).all()


def test_work_that_is_not_the_same_is_found():
    told = {
        order: works.expected_losses(works.Population(WORK, 6, order))
        for order in ("own", "shared")
    }
    turns = Turns({}, {}, {"scanned, own": told["own"], "prototype, shared": told["shared"]})
    population.require_same_work(turns, WORK, 6)
    turns.told["scanned, own"] = told["shared"]
    with pytest.raises(AssertionError, match="scanned, own"):
        population.require_same_work(turns, WORK, 6)


def test_operations_and_bytes_of_a_population():
    work = Workload((3, 2, 1), samples=8, batch_size=4, epochs=5)
    own, shared = (works.Population(work, 7, order) for order in ("own", "shared"))
    assert own.samples == 7 * 5 * 8
    # Forward and the weights' gradient in each layer, and the inputs' gradient of the second.
    assert own.operations == 7 * 5 * 2 * (2 * 4) * (2 * 3 * 2 + 3 * 2 * 1)
    params = 3 * 2 + 2 + 2 * 1 + 1
    assert own.bytes == 4 * 10 * (3 * 7 * params + 7 * 4 * (3 + 1))
    assert shared.bytes == 4 * 10 * (3 * 7 * params + 4 * (3 + 1))


def environment_of(name):
    import os

    return works.Ready(lambda: os.environ[name], lambda value: [value])


def fail():
    raise MemoryError("no room")


def test_processes_have_their_environment_and_take_turns(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--mine")
    prepare = functools.partial(environment_of, "XLA_FLAGS")
    turns = take_turns(
        {"plain": Task(prepare), "with": Task(prepare, {"XLA_FLAGS": "--yours"})}, 2, 0.0
    )
    assert turns.told == {"plain": ["--mine"], "with": ["--mine --yours"]}
    assert all(len(own) == 2 and min(own) > 0 for own in turns.rounds.values())
    with pytest.raises(MemoryError, match="no room"):
        Apart(Task(fail))


def test_ratios_are_of_the_rows_own_round_and_order():
    rounds = {
        "population, own": [1.0, 2.0, 4.0], "population, shared": [1.0, 1.0, 1.0],
        "eager, own": [50.0, 40.0, 160.0], "products, own": [2.0, 4.0, 8.0],
        "products, shared": [3.0, 3.0, 3.0], "fit, own": [5.0, 5.0, 5.0], "matrix": [1.0, 1.0, 1.0],
    }  # fmt: skip
    turns = Turns(dict.fromkeys(rounds, 9.0), rounds, {})
    lines = population.tabulate(turns, works.Population(WORK, 6), [1e9, 1e9, 1e9])
    own, shared = (line.split() for line in lines[2:4])
    assert own[-5:-1] == ["40.00×", "2.00×", "2.50×", "7.0"]
    assert shared[-5:-1] == ["50.00×", "3.00×", "5.00×", "8.0"]
    assert "matrix" not in "".join(line.split()[0] for line in lines[2:-1])


def test_questions_are_measured_and_told(monkeypatch):
    monkeypatch.setattr(population_questions, "WIDTHS", (4, 6))
    monkeypatch.setattr(population_questions, "DEPTHS", (1, 2))
    monkeypatch.setattr(population_questions, "SPIRALS", 3)
    monkeypatch.setattr(population_questions, "STOPPED", 2)
    tables = {
        part: measure(0.001, 4, turns_of)
        for part, measure in population_questions.PARTS.items()
        if part != "folds"
    }
    assert tables["mixed"].numbers["waste"] >= 1
    assert "operations a second over those of one size" in tables["mixed"].table
    assert "fit_population, 3 networks" in tables["spirals"].table
    assert "after 2 of 2 epochs" in tables["stopped"].table


def test_two_searches_find_settings_as_good():
    section = population_questions.measure_folds(0.1, 1, turns_of)
    theirs, own = section.numbers["told"].values()
    assert len(theirs) == len(own) == 20
    # Both have the settings in one order, of rates and then of momenta.
    otherwise = np.reshape(own, (5, 4)).T.ravel()
    assert np.corrcoef(theirs, own)[0, 1] > 0.8 > np.corrcoef(theirs, otherwise)[0, 1]
    assert "fit_population is 1.0× as fast" in section.table


@pytest.fixture(scope="module")
def reached():
    def tasks(work, members):
        if members > 4:
            return {("population", "own"): Task(fail)}
        prepare = functools.partial(works.prepare_copy, 4096)
        return {("population", "own"): Task(prepare)}

    return population_reach.measure(
        {"12-6-5": WORK}, (1, 4, 8, 16), tasks, {"population": "ours"},
        rounds=1, at_least=0.0, matrix=64, copied=4096,
    )  # fmt: skip


def test_reach_ends_where_memory_does(reached, tmp_path, capsys):
    rows = reached.numbers["rows"]
    assert [row["members"] for row in rows] == [1, 4, 8]
    assert rows[-1]["error"] == "MemoryError: no room"
    assert "did not run" in reached.table
    seconds = statistics.median(rows[1]["seconds_of_rounds"])
    assert rows[1]["operations_per_second"] == pytest.approx(
        works.Population(WORK, 4).operations / seconds
    )
    population_reach.save(reached, tmp_path / "population-cpu.json")
    said = (tmp_path / "population-cpu-reach.md").read_text(encoding="utf-8")
    assert "| 12-6-5 | ours, own | 4 |" in said
    assert (tmp_path / "population-cpu-reach.png").stat().st_size > 0


def test_the_largest_population_in_the_time_of_two_is_between_those_timed():
    def rows(*pairs):
        return [{"members": count, "seconds_of_rounds": [seconds]} for count, seconds in pairs]

    largest = population_reach.largest
    assert largest(rows((1, 1.0), (4, 1.0), (16, 4.0))) == pytest.approx(8)
    assert largest(rows((1, 1.0), (4, 1.5))) == 4
    assert largest(rows((1, 1.0), (4, 4.0))) == pytest.approx(2)
    assert largest(rows((4, 1.0), (16, 1.0))) is None


def test_the_command_prints_and_saves(reached, monkeypatch, tmp_path, capsys):
    sections = [Section("equal", "64-32-10", {"members": 64}, "a table"), reached]
    monkeypatch.setattr(population, "run", lambda _: iter(sections))
    monkeypatch.setattr(population, "load_now", lambda: 1.25)
    population.main(["--save", str(tmp_path / "new"), "--rounds", "2"])
    said = capsys.readouterr().out
    assert all(section.table in said for section in sections)
    (path,) = (tmp_path / "new").glob("*.json")
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["machine"]["load"] == 1.25
    assert kept["command"].startswith("python experiments/benchmarks/population.py --save")
    assert [each["part"] for each in kept["sections"]] == ["equal", "reach"]
    assert {each.suffix for each in path.parent.iterdir()} == {".json", ".md", ".png"}


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("--rounds 0", "rounds: expected at least 1, got 0"),
        ("--members 0", "members: expected at least 1, got 0"),
        ("--reach 4 1", "reach: expected rising numbers, got (4, 1)"),
        ("--scale 0", "scale: expected finite numbers above 0, got 0.0"),
        ("--peers caffe", "invalid choice 'caffe'"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(words, wrong, monkeypatch, capsys):
    monkeypatch.setattr(population, "run", lambda _: pytest.fail("ran"))
    with pytest.raises(SystemExit) as ended:
        population.main(words.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(wrong)


def test_peers_are_found_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert [name for name in population.WAYS if not population.is_there(name)] == [
        "eager", "products", "torch-vmap", "sklearn",
    ]  # fmt: skip


def test_a_share_of_the_epochs_is_at_least_one():
    assert scaled(WORK, 0.5).epochs == 2
    assert scaled(WORK, 0.01).epochs == 1
