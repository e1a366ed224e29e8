"""A classifier as a module of Python, which runs where there is no JAX and no logistack."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logistack as ls

RNG = np.random.default_rng(0)
MEAN, SCALE = np.array([0.0, 1e5, 7.0]), np.array([1.0, 1e3, 1e-3])
X = RNG.normal(size=(40, 3)) * SCALE + MEAN


def network(seed, *sizes, dtype=jnp.float32):
    params = ls.init_params(jax.random.key(seed), (3, *sizes), dtype=dtype)
    return jax.tree.map(lambda a: 3 * a, params)  # some of it is nearly sure


def classifier(params, labels, loss="softmax", multilabel=False):
    return ls.Classifier(params, MEAN, SCALE, np.array(labels), loss, multilabel)


WORDS = ["calm", "gale", "storm"]
SURE = jax.tree.map(lambda a: 1e4 * a, network(0, 3))
CLASSIFIERS = {
    "softmax": classifier(network(0, 5, 3), WORDS),
    "one_output": classifier(network(0, 5, 1), [-1.5, 2.5], "sigmoid"),
    "independent": classifier(network(0, 5, 3), WORDS, "sigmoid"),
    "multilabel": classifier(network(0, 5, 3), WORDS, "sigmoid", True),
    "logistic_regression": classifier(network(0, 3), [False, True, 7]),
    "stack": classifier(ls.stack(network(0, 4, 4, 4, 4, 3)), WORDS),
    "deep": classifier(ls.init_params(jax.random.key(0), (3, *[4] * 13, 3)), WORDS),
    "numpy_float64": classifier(jax.tree.map(np.float64, network(0, 5, 3)), WORDS),
    "sure": classifier(SURE, WORDS),
    "sure_independent": classifier(SURE, WORDS, "sigmoid"),
    "committee": classifier([network(s, 5, 3) for s in range(12)], WORDS),
    "committee_of_sizes": classifier(
        [network(0, 3), ls.stack(network(1, 4, 4, 4, 3)), network(2, 9, 3)], WORDS
    ),
    "committee_of_one": classifier([network(0, 5, 3)], WORDS),
    "committee_of_one_output": classifier(
        [network(s, 5, 1) for s in range(3)], ["no", "yes"], "sigmoid"
    ),
    "committee_multilabel": classifier(
        [network(s, 5, 3) for s in range(3)], WORDS, "sigmoid", True
    ),
    "committee_sure": classifier([SURE, SURE], WORDS, "sigmoid"),
}
RUN = """
import importlib, json, sys
import numpy as np
absent = ["jax", "jaxlib", "logistack", "optax", "scipy"]
sys.modules.update(dict.fromkeys(absent))
sys.path.insert(0, sys.argv[1])
names, rows = json.load(sys.stdin)
found = {}
for name in names:
    model = importlib.import_module(name)
    found[name] = model.predict(np.array(rows)).tolist(), model.predict_proba(rows).tolist()
assert not any(map(sys.modules.get, absent))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the modules of all classifiers predict in a process without JAX and logistack."""
    folder = tmp_path_factory.mktemp("modules")
    for name, own in CLASSIFIERS.items():
        ls.export.numpy.save_module(folder / f"{name}.py", own)
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", RUN, str(folder)],
        input=json.dumps([list(CLASSIFIERS), X.tolist()]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_module_predicts_as_the_classifier_does(found, name):
    labels, probabilities = found[name]
    own = CLASSIFIERS[name]
    np.testing.assert_allclose(probabilities, own.probabilities(X), atol=1e-6, rtol=0)
    np.testing.assert_array_equal(np.array(labels), own.predict(X))


def test_float64_is_computed_in_float64(x64, tmp_path):
    own = classifier(network(0, *[4] * 13, 3, dtype=jnp.float64), WORDS)
    model = load(tmp_path / "model.py", own)
    np.testing.assert_allclose(model.predict_proba(X), own.probabilities(X), atol=1e-12)


def load(path, own):
    import importlib.util

    ls.export.numpy.save_module(path, own)
    spec = importlib.util.spec_from_file_location("model", path)
    model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model)
    return model


def test_the_same_classifier_gives_the_same_files_which_are_short(tmp_path):
    own = CLASSIFIERS["committee"]
    for name in ("one", "two"):
        ls.export.numpy.save_module(tmp_path / name / "model.py", own)
    for name in ("model.py", "model.npz"):
        one, two = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
        assert one == two
    assert len((tmp_path / "one" / "model.py").read_text().splitlines()) < 100


def test_the_file_beside_it_is_the_classifier(tmp_path):
    own = CLASSIFIERS["committee"]
    ls.export.numpy.save_module(tmp_path / "model.py", own)
    loaded = ls.load_classifier(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.probabilities(X), own.probabilities(X))


@pytest.mark.parametrize(
    "wrong", [X[0], X[:, :2], np.where(X > 8, np.nan, X), np.full((2, 3), np.inf)]
)
def test_other_rows_are_refused(tmp_path, wrong):
    model = load(tmp_path / "model.py", CLASSIFIERS["softmax"])
    with pytest.raises(ValueError, match=r"^rows: expected finite numbers \(n, 3\), got shape"):
        model.predict(wrong)
    assert model.predict_proba(X[:0]).shape == (0, 3)


def test_what_is_no_module_is_refused(tmp_path):
    for path in (tmp_path / "model", tmp_path / "model.npz", "s3://bucket/model.py"):
        with pytest.raises(ValueError, match=r"^path: expected"):
            ls.export.numpy.save_module(path, CLASSIFIERS["softmax"])
    with pytest.raises(TypeError, match=r"^classifier: expected a Classifier, got tuple"):
        ls.export.numpy.save_module(tmp_path / "model.py", network(0, 3))
    narrow = classifier(network(0, 3, dtype=jnp.bfloat16), WORDS)
    with pytest.raises(TypeError, match=r"^params: .*bfloat16"):
        ls.export.numpy.save_module(tmp_path / "model.py", narrow)
    assert not any(tmp_path.iterdir())
