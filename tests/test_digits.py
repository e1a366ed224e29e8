"""The main job, small."""

import dataclasses

import numpy as np
import pytest

import logistack as ls
from experiments import digits

TINY = digits.Config(hidden=(16,), epochs=4, progress=False)


@pytest.fixture(scope="module")
def result():
    return digits.run(TINY)


def test_trains_the_stack_and_the_single_layer_on_the_article_s_256_pixels(result):
    assert [digits.name_of(run) for run in (result.stack, result.single)] == ["256-16-10", "256-10"]
    for run in (result.stack, result.single):
        assert run.history.loss.shape == run.history.validation_loss.shape == (4,)
        assert run.history.loss[-1] < run.history.loss[0] / 2
        assert run.history.validation_accuracy[-1] > 0.8


def test_reports_the_errors_that_the_logits_have(result):
    predicted = result.stack.test_logits.argmax(axis=1)
    wrong = int((predicted != result.test.labels).sum())
    lines = digits.report(result).splitlines()
    row = next(line for line in lines if line.startswith("256-16-10  ")).split()
    assert row[3] == str(wrong)
    assert row[2] == f"{wrong / len(predicted):.2%}"
    matrix = [line.replace("·", "0").split()[1:] for line in lines[-10:]]
    diagonal = sum(int(row[index]) for index, row in enumerate(matrix))
    assert diagonal == len(predicted) - wrong
    assert int(matrix[3][8]) == ((result.test.labels == 3) & (predicted == 8)).sum()


def test_the_single_layer_is_trained_the_same_way(result):
    alone = digits.train(TINY, (256, 10), result.train, result.test)
    np.testing.assert_array_equal(alone.params[0].weight, result.single.params[0].weight)


def test_saves_parameters_and_figures_and_says_where(tmp_path, capsys):
    out = tmp_path / "out"
    digits.main(["--hidden", "8", "--epochs", "1", "--no-progress", "--out", str(out)])
    said = capsys.readouterr().out
    names = {path.name for path in out.iterdir()}
    assert names == {
        "stack.safetensors",
        "single_layer.safetensors",
        "curves.png",
        "confusion.png",
        "first_layer.png",
        "misclassified.png",
    }
    assert all(str(out / name) in said for name in names)
    params = ls.export.safetensors.load(out / "stack.safetensors")
    assert digits.sizes_of(params) == (256, 8, 10)


def test_seed_changes_the_run_and_nothing_else_does(result):
    again = digits.run(TINY)
    np.testing.assert_array_equal(again.stack.test_logits, result.stack.test_logits)
    other = digits.run(dataclasses.replace(TINY, seed=1))
    assert not np.array_equal(other.stack.params[0].weight, result.stack.params[0].weight)


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        digits.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for option in ("--data", "--hidden", "--epochs", "--learning-rate", "--seed", "--out"):
        assert option in said


def test_an_unknown_data_set_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as ended:
        digits.main(["--data", "letters"])
    assert ended.value.code == 2
    assert "semeion" in "".join(capsys.readouterr())
