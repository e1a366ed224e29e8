"""The benchmark of separations: its tables are what they are called, and ratios are of a round."""

import numpy as np
import pytest

import logistack as ls
from experiments.benchmarks import separation, separation_scale


def test_tables_are_what_they_are_called():
    for kind in ("overlap", "quasi-complete", "complete"):
        inputs, labels = separation.table_of(kind, 200, 3)
        assert inputs.shape == (200, 3)
        assert ls.separation(inputs, labels).kind == kind
        again, _ = separation.table_of(kind, 200, 3)
        np.testing.assert_array_equal(again, inputs)


def test_the_program_gains_nothing_where_classes_overlap():
    assert separation.solve_program(*separation.table_of("overlap", 200, 3)) < 1e-6
    assert separation.solve_program(*separation.table_of("complete", 200, 3)) > 1


def test_a_ratio_is_the_median_of_those_within_a_round():
    row = separation.Row("overlap", 9, 3, "overlap", [1.0, 2.0, 4.0], [2.0, 6.0, 4.0], [1.0] * 3)
    assert row.ratio() == 2
    said = separation.report([row])
    assert said.endswith("median of 1 tables: 2.0 times the program")


@pytest.mark.parametrize(
    ("words", "wrong"),
    [("--rounds 0", "rounds: expected at least 1"), ("--kinds some", "kinds: expected some of")],
)
def test_wrong_arguments_are_refused_in_one_line(words, wrong, monkeypatch, capsys):
    monkeypatch.setattr(separation, "run", lambda _: pytest.fail("ran"))
    with pytest.raises(SystemExit) as ended:
        separation.main(words.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(wrong)


def test_it_runs():
    config = separation.Config(rows=(50,), columns=(3,), kinds=("indicators",), rounds=1)
    (row,) = separation.run(config)
    assert (row.kind, row.rows, row.columns) == ("indicators", 50, 3)
    assert min(row.program + row.separation + row.verify) > 0


def test_a_large_table_is_asked_about_in_a_process_of_its_own():
    inputs, labels, options = separation_scale.table_of("separated")
    assert (inputs.shape, labels.shape, options) == ((2000, 256), (2000,), {})
    row = separation_scale.ask("separated", "certify")
    assert row[:4] == ("separated", "2,000 x 256", "certify", "a line is enough")
    assert all(float(text) > 0 for text in row[4:])


def test_an_unknown_table_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(separation_scale, "ask", lambda *_: pytest.fail("asked"))
    with pytest.raises(SystemExit):
        separation_scale.main(["--tables", "some"])
    assert capsys.readouterr().err.startswith("tables: expected some of")
