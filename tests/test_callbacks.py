"""Host work around a training run."""

import sys

import chex
import jax
import numpy as np
import optax
import pytest

import logistack as ls

KEY = jax.random.key(0)
INPUTS = np.asarray(jax.random.normal(jax.random.key(1), (10, 3)))
TARGETS = np.asarray(INPUTS[:, :1] > 0, np.float32)
PARAMS = ls.init_params(KEY, (3, 2, 1))
OPTIONS = {"optimizer": optax.sgd(0.1, momentum=0.9), "batch_size": 4}


@pytest.mark.parametrize("every", [1, 2, 5, 9])
def test_chunks_give_the_run_of_fit_bit_for_bit(every):
    whole = ls.fit(KEY, PARAMS, INPUTS, TARGETS, epochs=5, **OPTIONS)
    told = []
    chunked = ls.callbacks.fit_with_callbacks(
        KEY, PARAMS, INPUTS, TARGETS, epochs=5, every=every, callbacks=[told.append], **OPTIONS
    )
    chex.assert_trees_all_equal(chunked, whole)
    assert [progress.epochs_done for progress in told] == [*range(every, 5, every), 5]
    losses = np.concatenate([progress.result.history.loss for progress in told])
    np.testing.assert_array_equal(losses, whole.history.loss)
    assert all(progress.samples_per_second > 0 for progress in told)


def test_no_epochs_is_the_start():
    result = ls.callbacks.fit_with_callbacks(
        KEY, PARAMS, INPUTS, TARGETS, epochs=0, callbacks=[], **OPTIONS
    )
    chex.assert_trees_all_equal(result.params, PARAMS)
    assert result.history.loss.shape == (0,)


def test_a_callback_that_raises_ends_the_run():
    def stop(progress):
        raise RuntimeError(f"after {progress.epochs_done}")

    with pytest.raises(RuntimeError, match="after 2"):
        ls.callbacks.fit_with_callbacks(
            KEY, PARAMS, INPUTS, TARGETS, epochs=6, every=2, callbacks=[stop], **OPTIONS
        )


@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        ("every", 0, ValueError, "every: wanted at least 1, got 0"),
        ("every", 1.5, TypeError, "every: wanted an integer, got 1.5"),
        ("epochs", -1, ValueError, "epochs: wanted at least 0, got -1"),
    ],
)
def test_bad_counts_are_refused(argument, value, error, message):
    options = {"epochs": 2, "callbacks": [], **OPTIONS, argument: value}
    with pytest.raises(error, match=message):
        ls.callbacks.fit_with_callbacks(KEY, PARAMS, INPUTS, TARGETS, **options)


def test_the_bar_shows_epoch_loss_accuracy_and_rate(capsys):
    with ls.callbacks.progress_bar(3, description="2-1") as show:
        result = ls.callbacks.fit_with_callbacks(
            KEY, PARAMS, INPUTS, TARGETS, epochs=3, callbacks=[show], **OPTIONS
        )
    said = capsys.readouterr().err
    assert "2-1: 100%" in said
    assert "3/3" in said
    assert f"loss={result.history.loss[-1]:.4g}" in said
    assert f"accuracy={result.history.accuracy[-1]:.2%}" in said
    assert "samples/s=" in said


def test_the_bar_can_be_silenced(capsys):
    with ls.callbacks.progress_bar(1, disable=True) as show:
        ls.callbacks.fit_with_callbacks(
            KEY, PARAMS, INPUTS, TARGETS, epochs=1, callbacks=[show], **OPTIONS
        )
    assert capsys.readouterr() == ("", "")


def test_a_missing_bar_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with (
        pytest.raises(ModuleNotFoundError, match=r"logistack\[progress\]"),
        ls.callbacks.progress_bar(1),
    ):
        pass
