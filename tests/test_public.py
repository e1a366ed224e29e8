"""The public face, with nothing but the runtime dependencies: it also runs on the installed wheel."""

import doctest
import importlib.metadata
import importlib.resources
import inspect
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logistack as ls

CONTRACT = {
    "Layer": ["weight", "bias"],
    "init_params": ["key", "sizes", "scheme", "dtype", "stacked"],
    "sigmoid_layer": ["layer", "a"],
    "logits": ["params", "x"],
    "forward": ["params", "x"],
    "activations": ["params", "x"],
    "jacobian_spectrum": ["params", "x"],
    "probabilities": ["params", "x", "loss"],
    "predict": ["params", "x"],
    "stack": ["params", "shortest"],
    "unstack": ["params"],
    "fold": ["centred"],
    "unfold": ["plain"],
    "losses.cross_entropy": ["outputs", "target"],
    "losses.sigmoid_cross_entropy": ["logits", "target"],
    "losses.softmax_cross_entropy": ["logits", "target"],
    "metrics.accuracy": ["logits", "targets", "weights"],
    "metrics.error_rate": ["logits", "targets", "weights"],
    "metrics.confusion_matrix": ["logits", "targets"],
    "summed_loss": ["params", "inputs", "targets", "loss", "weights"],
    "init_state": ["params", "optimizer", "ema_decay", "coordinates"],
    "make_step": [
        "optimizer", "loss", "reduction", "class_weight", "label_smoothing", "dropout",
        "ema_decay", "coordinates", "augment", "compute_dtype", "remat",
    ],
    "deep_sgd": ["depth", "steps", "learning_rate", "momentum"],
    "fit": [
        "key", "params", "inputs", "targets", "optimizer", "epochs", "batch_size", "loss",
        "reduction", "sample_weight", "class_weight", "validation", "patience", "min_delta",
        "dropout", "label_smoothing", "ema_decay", "hyperparams", "coordinates", "augment",
        "compute_dtype", "remat", "mesh",
    ],
    "fit_with_callbacks": [
        "key", "params", "inputs", "targets", "optimizer", "epochs", "callbacks", "every",
        "checkpoint_path", "save_every", "mesh",
    ],
    "fit_stream": [
        "key", "params", "batches", "optimizer", "epochs", "steps_per_epoch", "loss", "reduction",
        "validation", "coordinates", "augment", "compute_dtype", "remat", "callbacks",
        "checkpoint_path", "save_every", "mesh",
    ],
    "fit_population": [
        "keys", "params", "inputs", "targets", "optimizer", "epochs", "batch_size",
        "sample_weight", "validation", "order", "mesh", "loss", "hyperparams", "patience",
        "dropout",
    ],
    "sweep": [
        "keys", "params", "inputs", "targets", "optimizer", "epochs", "batch_size",
        "sample_weight", "validation", "order", "mesh", "block_size", "every", "callbacks",
        "checkpoint_path", "save_every", "executor", "loss", "hyperparams", "patience", "dropout",
    ],
    "use_cores_as_devices": ["count"],
    "successive_halving": [
        "keys", "params", "inputs", "targets", "optimizer", "epochs", "validation", "factor",
        "rounds", "batch_size", "sample_weight", "order", "mesh", "block_size", "hyperparams",
    ],
    "HalvingResult": ["result", "members", "scores", "schedule", "epochs"],
    "checkpoint.save": ["path", "state", "notes", "keep"],
    "checkpoint.restore": ["path", "like", "version"],
    "checkpoint.resume": ["path", "like"],
    "diagnose": ["history"],
    "FitResult": ["params", "state", "history"],
    "certify": ["inputs", "labels", "positive", "negative", "budget"],
    "separation": ["inputs", "labels", "positive", "negative", "budget"],
    "Separation": [
        "rows", "separated", "directions", "weights", "all_rows", "other_rows", "coefficients",
    ],
    "untangle": ["params", "inputs", "labels", "positive", "negative", "budget"],
    "Separator": ["weight", "bias", "margin"],
    "committee": ["params", "x", "weights", "outputs"],
    "committees.committee_logits": ["params", "x", "loss"],
    "committees.member_probabilities": ["params", "x", "outputs"],
    "committees.disagreement": ["probabilities", "weights", "independent"],
    "committees.greedy_weights": ["probabilities", "targets", "steps", "score"],
    "summarize": ["values", "settings", "confidence", "resamples", "seed"],
    "compare": ["values", "settings", "runs", "test_over_train", "against", "confidence"],
    "metrics.brier_score": ["probabilities", "targets", "weights"],
    "metrics.log_loss": ["probabilities", "targets", "weights", "independent"],
    "metrics.reliability": ["probabilities", "targets", "bins", "equal", "weights"],
    "metrics.expected_calibration_error": [
        "probabilities", "targets", "bins", "equal", "weights",
    ],
    "conformal.threshold": ["probabilities", "targets", "alpha", "score"],
    "conformal.prediction_set": ["probabilities", "threshold", "score"],
    "conformal.coverage": ["sets", "targets", "confidence"],
    "hidden_bound": ["inputs", "labels", "budget"],
    "selection.folds": ["key", "labels", "count"],
    "selection.hold_out": ["key", "labels", "share"],
    "selection.choose": ["errors"],
    "fit_classifier": [
        "key", "inputs", "labels", "hidden", "optimizer", "epochs", "test", "validation", "loss",
    ],
    "load_classifier": ["path"],
    "export.numpy.save": ["path", "params"],
    "export.numpy.load": ["path"],
    "export.numpy.save_module": ["path", "classifier"],
    "export.onnx.save": ["path", "classifier"],
    "export.onnx.load": ["path", "loss"],
    "export.sklearn.params_of": ["model"],
    "export.sklearn.mlp_classifier": ["params", "labels", "loss", "multilabel"],
    "export.sklearn.logistic_regression": ["params", "labels"],
    "export.torch.state_dict": ["params", "members"],
    "export.torch.params_of": ["state_dict"],
    "export.torch.save": ["path", "params", "members"],
    "export.torch.load": ["path"],
    "CommonPoint": ["point", "weights_positive", "weights_negative", "weak_line"],
    "certificate_from_json": ["text"],
}  # fmt: skip
KEY = jax.random.key(0)
XOR = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
ARTICLE = (
    ls.Layer(jnp.array([[1.0, -2.0], [-1.0, 1.0]]), jnp.array([1.0, 0.0])),
    ls.Layer(jnp.array([[2.0, -1.0], [-2.0, -1.0]]), jnp.array([0.0, 0.0])),
    ls.Layer(jnp.array([[3.0, -1.0], [-1.0, 4.0]]), jnp.array([-2.0, 2.0])),
)


def find(name):
    found = ls
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", CONTRACT)
def test_the_contract_is_kept(name):
    parameters = inspect.signature(find(name)).parameters
    assert set(CONTRACT[name]) <= parameters.keys()
    positional = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == CONTRACT[name][: len(positional)]


def test_every_public_name_is_there():
    assert sorted(ls.__all__) == list(ls.__all__)
    assert {name.partition(".")[0] for name in CONTRACT} <= set(ls.__all__)
    assert all(hasattr(ls, name) for name in ls.__all__)


@pytest.mark.parametrize("name", [name for name in CONTRACT if inspect.isfunction(find(name))])
def test_every_public_function_shows_itself(name):
    assert doctest.DocTestFinder(recurse=False).find(find(name), name)[0].examples


def test_the_version_is_that_of_the_distribution():
    assert ls.__version__ == importlib.metadata.version("logistack")


def test_the_package_says_it_is_typed():
    assert (importlib.resources.files("logistack") / "py.typed").is_file()


def files(folder):
    """Every file below a folder but compiled ones, with its bytes."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_the_wheel_has_every_file():
    sources = pathlib.Path(__file__).parent.parent / "src" / "logistack"
    installed = pathlib.Path(ls.__file__).parent
    if installed.samefile(sources):
        pytest.skip("the sources themselves are installed here, and no wheel")
    assert files(installed) == files(sources)


def python(code):
    """What a fresh interpreter prints, as JSON."""
    environment = {
        name: os.environ[name] for name in os.environ if not name.startswith(("XLA", "JAX"))
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_importing_loads_no_extra_changes_no_setting_and_starts_no_device():
    loaded, changed, devices = python(
        "import json, sys, jax\n"
        "before = dict(jax.config.values)\n"
        "import logistack\n"
        "after = dict(jax.config.values)\n"
        "changed = [name for name in after if after[name] != before.get(name)]\n"
        # JAX refuses this once its devices have started.
        "jax.config.update('jax_num_cpu_devices', 3)\n"
        "print(json.dumps([sorted(sys.modules), changed, jax.device_count()]))"
    )
    extras = {
        "matplotlib", "sklearn", "pooch", "tyro", "tqdm", "safetensors", "orbax", "scipy.optimize",
        "pandas", "torch", "flax", "equinox", "chex", "onnx",
    }  # fmt: skip
    # What Optax brings by itself is not this library's doing.
    brought = set(python("import json, sys, jax, optax; print(json.dumps(sorted(sys.modules)))"))
    assert not (extras - brought) & set(loaded)
    assert changed == []
    assert devices == 3


def test_the_article_numbers():
    x = jnp.array([1.0, -1.0])
    first, second, third = ls.activations(ARTICLE, x)
    np.testing.assert_allclose(first, (0.98, 0.12), atol=5e-3)
    np.testing.assert_allclose(second, (0.86, 0.11), atol=5e-3)
    np.testing.assert_allclose(third, (0.62, 0.83), atol=5e-3)
    np.testing.assert_allclose(ls.forward(ARTICLE, x), third)
    np.testing.assert_allclose(ls.forward(ARTICLE, jnp.zeros(2)), (0.51, 0.85), atol=5e-3)
    features = ls.Layer(jnp.array([[-2.0, 2.0], [2.0, -2.0]]), jnp.array([-1.0, -1.0]))
    np.testing.assert_allclose(
        jax.vmap(ls.sigmoid_layer, (None, 0))(features, XOR),
        [(0.27, 0.27), (0.73, 0.05), (0.05, 0.73), (0.27, 0.27)],
        atol=5e-3,
    )


def train(sizes, targets, optimizer, epochs):
    start = ls.init_params(KEY, sizes)
    return ls.fit(KEY, start, XOR, targets, optimizer=optimizer, epochs=epochs)


def test_one_unit_learns_and_but_not_xor():
    both, either = jnp.array([[0.0], [0], [0], [1]]), jnp.array([[0.0], [1], [1], [0]])
    result = train((2, 1), both, optax.sgd(1.0), 300)
    assert result.history.accuracy[-1] == 1
    outputs = jax.vmap(ls.forward, (None, 0))(result.params, XOR)
    np.testing.assert_allclose(outputs, both, atol=0.2)
    result = train((2, 1), either, optax.sgd(1.0), 300)
    assert result.history.accuracy.max() <= 0.75
    # No line does better than giving every point one half.
    np.testing.assert_allclose(result.history.loss[-1], 4 * np.log(2), rtol=1e-3)


def test_one_output_learns_from_integer_classes_as_from_rows():
    classes = jnp.array([0, 1, 1, 1])
    by_class, by_row = (train((2, 1), y, optax.sgd(1.0), 50) for y in (classes, classes[:, None]))
    for one, other in zip(jax.tree.leaves(by_class), jax.tree.leaves(by_row), strict=True):
        np.testing.assert_array_equal(one, other)
    predict = jax.vmap(ls.predict, (None, 0))
    np.testing.assert_array_equal(predict(by_class.params, XOR), classes)
    shares = jax.vmap(ls.probabilities, (None, 0))(by_class.params, XOR)
    np.testing.assert_allclose(shares.sum(1), np.ones(4), rtol=1e-6)
    np.testing.assert_array_equal(shares[:, 1] > 0.5, classes)
    for given in (classes.astype(bool), classes.astype(float)):
        with pytest.raises(TypeError, match=r"^targets: .*\(as rows: targets\[:, None\]\)"):
            train((2, 1), given, optax.sgd(1.0), 1)


def test_a_hidden_layer_learns_xor():
    either = jnp.array([[0.0], [1], [1], [0]])
    result = train((2, 8, 1), either, optax.adam(0.1), 300)
    assert result.history.accuracy[-1] == 1
    assert result.history.loss[-1] < 0.1
    logits = jax.vmap(ls.logits, (None, 0))(result.params, XOR)
    assert ls.metrics.error_rate(logits, either) == 0
    np.testing.assert_array_equal(ls.metrics.confusion_matrix(logits, either), 2 * np.eye(2))


def test_a_line_is_enough_or_none_is():
    points = np.array(XOR)
    none = ls.certify(points, [0, 1, 1, 0])
    assert none.point == none.weights_positive == none.weights_negative == (0.5, 0.5)
    line = ls.certify(points, [0, 0, 0, 1])
    np.testing.assert_allclose(float(line.margin), np.sqrt(2) / 4)
    for proof, labels in ((none, [0, 1, 1, 0]), (line, [0, 0, 0, 1])):
        assert proof.verify()
        assert ls.certificate_from_json(proof.to_json()).verify(points, labels)
    features = ls.Layer(jnp.array([[-2.0, 2.0], [2.0, -2.0]]), jnp.array([-1.0, -1.0]))
    assert ls.untangle((features,), points, [0, 1, 1, 0]).layer == 1


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"^x: expected shape \(2,\), got \(3,\)"):
        ls.forward(ARTICLE, jnp.ones(3))
    with pytest.raises(ValueError, match=r"^inputs: .*got 1 NaN or ±inf"):
        ls.summed_loss(ARTICLE, np.array([[0.0, np.nan]]), np.ones((1, 2)))
    with pytest.raises(TypeError, match=r"^optimizer: .*got str"):
        ls.fit(KEY, ARTICLE, XOR, jnp.ones((4, 2)), optimizer="adam", epochs=1)
