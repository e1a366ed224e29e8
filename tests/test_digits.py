"""The main job, small."""

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pytest

import logistack as ls
from experiments import digits

TINY = digits.Config(hidden=(16,), epochs=4, progress=False)


WORDS = ["--hidden", "16", "--epochs", "4", "--no-progress"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return dataclasses.replace(TINY, out=tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def result(tiny):
    return digits.run(tiny)


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


def test_the_single_layer_is_trained_the_same_way(result, tmp_path):
    config = dataclasses.replace(TINY, out=tmp_path)
    alone = digits.train(config, (256, 10), result.train, result.test, 0)
    np.testing.assert_array_equal(alone.params[0].weight, result.single.params[0].weight)


def test_saves_parameters_and_figures_in_a_folder_named_after_the_inputs(tmp_path, capsys):
    out = tmp_path / "out"
    digits.main(["--hidden", "8", "--epochs", "1", "--no-progress", "--out", str(out)])
    said = capsys.readouterr().out
    (folder,) = out.iterdir()
    assert folder.name == "digits-hidden-8-epochs-1"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "stack.safetensors",
        "single_layer.safetensors",
        "curves.png",
        "confusion.png",
        "first_layer.png",
        "misclassified.png",
    }
    assert all(str(folder / name) in said for name in names)
    params = ls.export.safetensors.load(folder / "stack.safetensors")
    assert digits.sizes_of(params) == (256, 8, 10)


def test_seed_changes_the_run_and_nothing_else_does(result, tiny):
    assert list(tiny.out.iterdir()) == []  # nothing that a second run could go on from
    again = digits.run(tiny)
    np.testing.assert_array_equal(again.stack.test_logits, result.stack.test_logits)
    other = digits.run(dataclasses.replace(tiny, seed=1))
    assert not np.array_equal(other.stack.params[0].weight, result.stack.params[0].weight)


def test_several_seeds_tell_mean_and_range(result, tiny):
    several = digits.run(dataclasses.replace(tiny, seeds=3))
    np.testing.assert_array_equal(several.stack.test_logits, result.stack.test_logits)
    alone = [digits.run(dataclasses.replace(tiny, seed=seed)) for seed in (1, 2)]
    wanted = [ls.metrics.error_rate(run.stack.test_logits, run.test.labels)
              for run in (result, *alone)]  # fmt: skip
    assert several.errors["256-16-10"] == pytest.approx(list(map(float, wanted)))
    head, single, stack = digits.report(several).splitlines()[-3:]
    assert head.startswith("test error over 3 seeds")
    assert single.startswith("256-10 ")
    told = [f"{each:.2%}" for each in (np.mean(wanted), min(wanted), max(wanted))]
    assert stack.split() == ["256-16-10", *told]
    assert "over" not in digits.report(result)


def test_an_interruption_in_the_second_network_keeps_the_first(
    result, tmp_path, monkeypatch, capsys
):
    told, note = [], digits.keeping.Stopwatch.__call__

    def watch(self, progress):
        note(self, progress)
        told.append((progress.result.params[0].weight.shape, progress.epochs_done, self.seconds))
        if interrupt and told[-1][:2] == ((10, 256), 2):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(digits.keeping.Stopwatch, "__call__", watch)
    interrupt = True
    with pytest.raises(SystemExit) as ended:
        digits.main([*WORDS, "--out", str(tmp_path)])
    assert ended.value.code == 128 + signal.SIGINT
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("SIGINT after epoch 2 of 4: all is saved in ")
    assert [each[:2] for each in told] == [
        *(((16, 256), epoch) for epoch in (1, 2, 3, 4)),
        *(((10, 256), epoch) for epoch in (1, 2)),
    ]
    interrupt, before = False, list(told)
    told.clear()
    again = digits.run(dataclasses.replace(TINY, out=tmp_path))
    assert [each[:2] for each in told] == [((10, 256), 3), ((10, 256), 4)]
    assert again.stack.seconds == before[3][2]
    assert again.single.seconds > before[-1][2]
    for name in ("stack", "single"):
        own, wanted = getattr(again, name), getattr(result, name)
        np.testing.assert_array_equal(own.params[0].weight, wanted.params[0].weight)
        np.testing.assert_array_equal(own.history.loss, wanted.history.loss)


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        digits.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for option in ("--data", "--hidden", "--epochs", "--learning-rate", "--seed", "--out"):
        assert option in said


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("--batch-size 0", "batch_size: expected at least 1, got 0"),
        ("--epochs 0", "epochs: expected at least 1, got 0"),
        ("--epochs -3", "epochs: expected at least 1, got -3"),
        ("--epochs some", "Error parsing --epochs: "),
        ("--hidden 0", "hidden: expected each at least 1, got (0,)"),
        ("--hidden", "hidden: expected at least one, got none"),
        ("--learning-rate -1", "learning_rate: expected finite numbers above 0, got -1.0"),
        ("--learning-rate nan", "learning_rate: expected finite numbers above 0, got nan"),
        ("--seed -1", "seed: expected from 0 to 4294967295, got -1"),
        ("--seeds 0", "seeds: expected at least 1, got 0"),
        ("--data letters", "invalid choice 'letters' for argument '--data'. Expected one of ("),
        ("--out /dev/null/folder", "out: expected a folder to write to, got /dev/null/folder/"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line_before_work(words, wrong, monkeypatch, capsys):
    monkeypatch.setattr(digits, "run", lambda _: pytest.fail("worked"))
    with pytest.raises(SystemExit) as ended:
        digits.main(words.split())
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(wrong)


def test_a_missing_data_set_is_refused_in_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LOGISTACK_DATA", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        digits.main(["--data", "usps", "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("data: expected the files of usps, got ")
    assert str(Path(tmp_path, "usps")) in line
