"""What is told between epochs: rows, lines of JSON, TensorBoard's events and a bar."""

import itertools
import json
import logging
import struct
import sys
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logistack as ls
from logistack.training import driver

KEY = jax.random.key(0)
INPUTS = np.asarray(jax.random.normal(jax.random.key(1), (10, 3)))
TARGETS = np.asarray(INPUTS[:, :1] > 0, np.float32)
PARAMS = ls.init_params(KEY, (3, 2, 1))
MEASURES = ["loss", "accuracy", "gradient_norm", "saturated", "stuck"]
VALIDATED = [*MEASURES, "validation_loss", "validation_accuracy"]


def train(epochs, *callbacks, optimizer=optax.sgd(0.1), **options):  # noqa: B008
    return ls.fit_with_callbacks(
        KEY,
        PARAMS,
        INPUTS,
        TARGETS,
        optimizer=optimizer,
        epochs=epochs,
        callbacks=callbacks,
        batch_size=4,
        **options,
    )


def row_of(history, epoch):
    """An epoch's row, counted from 1, read from the whole history."""
    measures = {name: values for name, values in history._asdict().items() if values is not None}
    return {name: np.asarray(values)[epoch - 1].tolist() for name, values in measures.items()}


def test_progress_has_the_chunk_the_epochs_and_the_rate(monkeypatch):
    seconds = itertools.count(step=2)
    monkeypatch.setattr(driver, "time", types.SimpleNamespace(perf_counter=seconds.__next__))
    told = []
    result = train(5, told.append, every=2)
    assert [progress.epochs_done for progress in told] == [2, 4, 5]
    assert [progress.samples_per_second for progress in told] == [10, 10, 5]
    losses = [progress.result.history.loss for progress in told]
    assert [loss.shape for loss in losses] == [(2,), (2,), (1,)]
    np.testing.assert_array_equal(np.concatenate(losses), result.history.loss)
    last = told[-1].result
    assert last.state is result.state or jax.tree.all(
        jax.tree.map(jnp.array_equal, last.state, result.state)
    )


def test_callbacks_are_called_in_order():
    told = []
    train(2, lambda _: told.append("a"), lambda _: told.append("b"))
    assert told == ["a", "b", "a", "b"]


@pytest.mark.parametrize("every", [1, 2, 9])
def test_rows_are_plain_numbers_of_every_epoch(every):
    told = []
    result = train(5, told.append, every=every, validation=(INPUTS, TARGETS))
    rows = [row for progress in told for row in ls.callbacks.rows_of(progress)]
    assert rows == [{"epoch": e} | row_of(result.history, e) for e in range(1, 6)]
    assert list(rows[0]) == ["epoch", *VALIDATED]
    assert type(rows[0]["epoch"]) is int
    assert type(rows[0]["loss"]) is float
    assert [type(part) for part in rows[0]["saturated"]] == [float, float]
    json.dumps(rows, allow_nan=False)


def test_rows_without_validation_have_none_of_it():
    told = []
    train(1, told.append)
    assert list(ls.callbacks.rows_of(told[0])[0]) == ["epoch", *MEASURES]


@pytest.mark.parametrize(
    ("callbacks", "name"),
    [(print, "callbacks"), (None, "callbacks"), ("ab", "callbacks"), ({print}, "callbacks"),
     (iter([print]), "callbacks"), ([print, 3], r"callbacks\[1\]"), ([None], r"callbacks\[0\]"),
     ((ls.callbacks.progress_bar(3),), r"callbacks\[0\]")],
)  # fmt: skip
def test_what_are_no_callbacks_is_refused_by_name(callbacks, name):
    with pytest.raises(TypeError, match=f"^{name}: expected "):
        ls.callbacks.require_callbacks(callbacks)


def test_callbacks_are_functions_in_a_list_or_tuple():
    assert ls.callbacks.require_callbacks([]) == ()
    with ls.callbacks.progress_bar(1, disable=True) as show:
        assert ls.callbacks.require_callbacks((print, show)) == (print, show)


@pytest.mark.parametrize("write", [ls.callbacks.json_lines, ls.callbacks.tensorboard])
def test_where_nothing_can_be_written_is_said_before_training(tmp_path, monkeypatch, write):
    pytest.importorskip("tensorboardX")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "file").touch()
    name = r"^(path|folder): expected a"
    with pytest.raises(OSError, match=rf"{name} place that can be written to, got .*file/log: "):
        write(tmp_path / "file" / "log").__enter__()
    for path in ("s3://bucket/log", "gs://bucket/log"):
        with pytest.raises(
            ValueError, match=rf"{name} path in the local file system, got '{path}'"
        ):
            write(path).__enter__()
    with write("~/log"):
        assert (tmp_path / "home" / "log").exists()


# Lines of JSON.


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("every", [1, 2])
def test_a_line_comes_with_every_epoch(tmp_path, every):
    path = tmp_path / "new" / "log.jsonl"
    seen = []
    with ls.callbacks.json_lines(path) as log:
        result = train(3, log, lambda _: seen.append(len(read_lines(path))), every=every)
    lines = read_lines(path)
    assert all(line.pop("samples_per_second") > 0 for line in lines)
    assert lines == [{"epoch": e} | row_of(result.history, e) for e in (1, 2, 3)]
    assert seen == ([1, 2, 3] if every == 1 else [2, 3])  # on disk as they come


def test_a_resumed_run_goes_on_counting(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    path = tmp_path / "log.jsonl"
    for epochs in (2, 5, 5):
        with ls.callbacks.json_lines(str(path)) as log:
            result = train(epochs, log, every=2, checkpoint_path=tmp_path / "run")
    lines = read_lines(path)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["loss"] for line in lines] == result.history.loss.tolist()


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (b"", []),
        (b'{"epoch": 1}\n', ['{"epoch": 1}']),
        (b'{"epoch": 1}\n{"epo', ['{"epoch": 1}', '{"epo']),
        (b"{", ["{"]),
    ],
    ids=["empty", "whole", "cut off", "one byte"],
)
def test_a_line_that_was_cut_off_spoils_no_other(tmp_path, before, kept):
    path = tmp_path / "log.jsonl"
    path.write_bytes(before)
    with ls.callbacks.json_lines(path) as log:
        train(2, log)
    lines = path.read_text().split("\n")
    assert lines[: len(kept)] == kept
    assert [json.loads(line)["epoch"] for line in lines[len(kept) : -1]] == [1, 2]
    assert lines[-1] == ""


def test_json_has_null_for_what_is_no_number(tmp_path):
    def told(loss, norms):
        history = ls.History(*map(jnp.array, (loss, [0.5, 1.0], norms, norms, [0.0, 1.0])))
        result = ls.FitResult(PARAMS, None, history)
        return ls.callbacks.Progress(result, 0, 2, float("inf"))

    path = tmp_path / "log.jsonl"
    with ls.callbacks.json_lines(path) as log:
        log(told([float("nan"), 2.0], [[1.0, float("inf")], [-float("inf"), 3.0]]))
    assert "NaN" not in path.read_text()
    assert "Infinity" not in path.read_text()
    first, second = read_lines(path)
    assert (first["loss"], first["gradient_norm"]) == (None, [1, None])
    assert (second["loss"], second["gradient_norm"]) == (2, [None, 3])
    assert first["samples_per_second"] is None


def test_a_run_that_diverged_is_logged_to_its_last_epoch(tmp_path):
    # Three steps an epoch: the second of the third epoch leaves infinite parameters.
    optimizer = optax.sgd(lambda count: jnp.where(count >= 7, jnp.inf, 0.1))
    path = tmp_path / "log.jsonl"
    with pytest.warns(RuntimeWarning, match="epoch 3"), ls.callbacks.json_lines(path) as log:
        train(9, log, optimizer=optimizer)
    lines = read_lines(path)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["loss"] is None for line in lines] == [False, False, True]


def test_the_file_is_closed_after_an_error(tmp_path):
    path = tmp_path / "log.jsonl"

    def fail(_):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), ls.callbacks.json_lines(path) as log:
        train(3, log, fail)
    assert [line["epoch"] for line in read_lines(path)] == [1]
    with pytest.raises(ValueError, match="closed file"):
        train(1, log)


def test_a_stream_is_logged_too(tmp_path):
    path = tmp_path / "log.jsonl"
    with ls.callbacks.json_lines(path) as log:
        result = ls.fit_stream(
            KEY, PARAMS, [(INPUTS, TARGETS)], optimizer=optax.sgd(0.1), epochs=2, callbacks=[log]
        )
    assert [line["loss"] for line in read_lines(path)] == result.history.loss.tolist()


# TensorBoard's events.


def scalars(folder):
    """Every scalar of the event files in a folder, by tag: a list of (step, value)."""
    events = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        content, start = file.read_bytes(), 0
        while start < len(content):
            (length,) = struct.unpack_from("<Q", content, start)  # and 4 bytes of checksum
            event = events.Event.FromString(content[start + 12 : start + 12 + length])
            start += 16 + length
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


@pytest.mark.parametrize("every", [1, 2])
def test_tensorboard_has_every_measure_of_every_epoch(tmp_path, every):
    pytest.importorskip("tensorboardX")
    with ls.callbacks.tensorboard(tmp_path / "log") as log:
        result = train(3, log, every=every, validation=(INPUTS, TARGETS))
    found = scalars(tmp_path / "log")
    history = result.history
    wanted = {
        "loss": history.loss,
        "accuracy": history.accuracy,
        "stuck": history.stuck,
        "validation_loss": history.validation_loss,
        "validation_accuracy": history.validation_accuracy,
        "gradient_norm/layer 1": history.gradient_norm[:, 0],
        "gradient_norm/layer 2": history.gradient_norm[:, 1],
        "saturated/layer 1": history.saturated[:, 0],
        "saturated/layer 2": history.saturated[:, 1],
    }
    found = {tag.replace("_layer", "/layer").replace("layer_", "layer "): v for tag, v in found.items()}  # fmt: skip
    assert found.keys() == wanted.keys()
    for tag, values in wanted.items():
        assert [step for step, _ in found[tag]] == [1, 2, 3]
        np.testing.assert_array_equal(np.float32([value for _, value in found[tag]]), values)


def test_tensorboard_goes_on_where_a_run_is_resumed(tmp_path, caplog):
    pytest.importorskip("orbax.checkpoint")
    pytest.importorskip("tensorboardX")
    for epochs in (2, 4):
        time.sleep(1)  # whose number is in the name of the file
        with ls.callbacks.tensorboard(str(tmp_path / "log")) as log:
            train(epochs, log, checkpoint_path=tmp_path / "run")
    assert sorted(step for step, _ in scalars(tmp_path / "log")["loss"]) == [1, 2, 3, 4]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_missing_writer_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with (
        pytest.raises(ModuleNotFoundError, match=r"logistack\[tensorboard\]"),
        ls.callbacks.tensorboard(tmp_path),
    ):
        pass


# The bar.


def test_the_bar_shows_epoch_loss_accuracy_and_rate(capsys):
    with ls.callbacks.progress_bar(3, description="2-1") as show:
        result = train(3, show)
    said = capsys.readouterr().err
    assert "2-1: 100%" in said
    assert "3/3" in said
    assert f"loss={result.history.loss[-1]:.4g}" in said
    assert f"accuracy={result.history.accuracy[-1]:.2%}" in said
    assert "samples/s=" in said


def test_the_bar_of_a_resumed_run_starts_where_that_does(tmp_path, capsys):
    pytest.importorskip("orbax.checkpoint")
    train(2, checkpoint_path=tmp_path)
    with ls.callbacks.progress_bar(3) as show:
        train(3, show, checkpoint_path=tmp_path)
    assert "3/3" in capsys.readouterr().err


def test_the_bar_can_be_silenced(capsys):
    with ls.callbacks.progress_bar(1, disable=True) as show:
        train(1, show)
    assert capsys.readouterr() == ("", "")


def test_a_missing_bar_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with (
        pytest.raises(ModuleNotFoundError, match=r"logistack\[progress\]"),
        ls.callbacks.progress_bar(1),
    ):
        pass
