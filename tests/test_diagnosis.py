"""What a history says, in words."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logistack as ls

EPOCHS, LAYERS = 20, 3


def history(**rows):
    """A healthy run of 20 epochs and 3 layers, with what a test changes."""
    ones = np.ones((EPOCHS, LAYERS))
    healthy = {
        "loss": np.geomspace(100, 50, EPOCHS),
        "accuracy": np.linspace(0.3, 0.9, EPOCHS),
        "gradient_norm": ones * (1, 2, 3),
        "saturated": ones * 0.1,
        "stuck": np.zeros(EPOCHS),
    }
    return ls.History(**{**healthy, **rows})


def only(found):
    assert len(found) == 1, found
    return found[0]


def test_a_healthy_run_has_no_findings():
    assert ls.diagnose(history()) == []


def test_a_diverged_run_names_the_epoch_and_the_remedy():
    loss = np.full(EPOCHS, 10.0)
    loss[:7] = np.geomspace(100, 50, 7)
    for bad in (np.inf, np.nan):
        loss[7] = bad
        accuracy = np.where(np.arange(EPOCHS) < 8, 0.5, np.nan)
        found = only(ls.diagnose(history(loss=loss, accuracy=accuracy)))
        assert "finite in epoch 8" in found
        assert "after epoch 7" in found
        assert "clip_by_global_norm" in found
    gradient = np.ones((EPOCHS, LAYERS))
    gradient[4, 1] = np.nan
    assert "finite in epoch 5" in ls.diagnose(history(gradient_norm=gradient))[0]
    assert "in epoch 1," in only(ls.diagnose(history(loss=np.full(EPOCHS, np.nan))))


def test_a_run_that_stopped_early_is_judged_by_the_epochs_that_ran():
    ran = np.arange(EPOCHS) < 12
    cut = jax.tree.map(
        lambda rows: np.where(ran.reshape(-1, *[1] * (rows.ndim - 1)), rows, np.nan), history()
    )
    assert ls.diagnose(cut) == []


def test_a_run_at_the_base_rate_is_stuck():
    found = only(ls.diagnose(history(loss=np.full(EPOCHS, 69.3), stuck=np.ones(EPOCHS))))
    assert "frequencies of the classes" in found
    was = np.ones(EPOCHS)
    was[-1] = 0
    assert ls.diagnose(history(stuck=was)) == []


def test_a_vanishing_gradient_names_the_layers():
    found = only(ls.diagnose(history(gradient_norm=np.ones((EPOCHS, LAYERS)) * (2e-6, 1, 0.5))))
    assert "2e-06 of that at layer 2 of 3" in found
    assert ls.diagnose(history(gradient_norm=np.ones((EPOCHS, LAYERS)) * (2e-3, 1, 0.5))) == []
    assert ls.diagnose(history(gradient_norm=np.zeros((EPOCHS, LAYERS)))) == []


def test_saturation_names_the_layer_and_explains_the_vanishing_gradient():
    saturated = np.ones((EPOCHS, LAYERS)) * (0.2, 0.7, 1.0)
    gradient = np.ones((EPOCHS, LAYERS)) * (1e-9, 1e-9, 1.0)
    idle = np.full(EPOCHS, 80.0)
    found = only(ls.diagnose(history(loss=idle, saturated=saturated, gradient_norm=gradient)))
    assert "70% of the units of layer 2" in found
    # A network that learns may well be saturated, and the output of one that has learned is.
    assert ls.diagnose(history(saturated=saturated)) == []


def test_a_burst_of_the_gradient_names_its_epoch():
    gradient = np.ones((EPOCHS, LAYERS))
    gradient[5] = 1e5
    assert "in epoch 6" in only(ls.diagnose(history(gradient_norm=gradient)))


def test_a_rising_loss_is_told():
    loss = np.geomspace(100, 50, EPOCHS)
    loss[-1] = 60
    assert "is 60 now" in only(ls.diagnose(history(loss=loss)))
    trained = np.full(EPOCHS, 1e-9)
    trained[-1] = 1.2e-9
    assert not any("is 1.2e-09 now" in told for told in ls.diagnose(history(loss=trained)))


def test_overfitting_says_when_it_began():
    risen = np.concatenate([np.linspace(50, 20, 10), np.linspace(22, 30, EPOCHS - 10)])
    found = only(ls.diagnose(history(validation_loss=risen, validation_accuracy=risen / 100)))
    assert "after epoch 10" in found
    assert "50%" in found
    fallen = np.linspace(50, 20, EPOCHS)
    assert ls.diagnose(history(validation_loss=fallen, validation_accuracy=fallen / 100)) == []


def test_a_run_that_does_not_move_and_one_that_is_not_done():
    assert "larger learning rate" in only(ls.diagnose(history(loss=np.linspace(100, 99.9, EPOCHS))))
    found = only(ls.diagnose(history(loss=np.geomspace(100, 1e-3, EPOCHS))))
    assert "Try more epochs" in found


def test_several_runs_are_counted():
    stuck = history(loss=np.full(EPOCHS, 69.3), stuck=np.ones(EPOCHS))
    runs = jax.tree.map(lambda *rows: jnp.stack(rows), history(), stuck, history(), stuck)
    assert only(ls.diagnose(runs)).startswith("2 of 4 runs, such as run 1: The loss is that")


def test_no_epoch_is_refused():
    none = jax.tree.map(lambda rows: rows[:0], history())
    with pytest.raises(ValueError, match="history: expected one of at least one epoch"):
        ls.diagnose(none)


def test_textbook_networks_vanish_with_depth_and_ours_do_not():
    x = jnp.linspace(-0.5, 0.5, 64).reshape(8, 8)
    y = jnp.eye(2)[jnp.arange(8) % 2]
    sizes = (8, *[8] * 12, 2)
    textbook, ours = (
        ls.diagnose(
            ls.fit(
                jax.random.key(0),
                ls.init_params(jax.random.key(1), sizes, scheme=scheme),
                x,
                y,
                optimizer=optax.sgd(1e-3),
                epochs=2,
            ).history
        )
        for scheme in ("normal", "orthogonal")
    )
    assert any("The gradient vanishes" in found for found in textbook)
    assert not any("The gradient vanishes" in found for found in ours)
