"""Classifiers as ONNX files: ONNX Runtime is the oracle."""

import dataclasses
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import logistack as ls

RNG = np.random.default_rng(0)
# A feature of 50,000 ± 1 leaves float32 eight bits, which must not be rounded once more.
MEAN, SCALE = np.array([50_000.1, -3.0, 0.7]), np.array([1.3, 40.0, 1e-4])
X = (MEAN + SCALE * RNG.normal(size=(7, 3))).astype(np.float32)
WORDS, NUMBERS = np.array(["calm", "gale", "Sturm"]), np.array([-3, 4, 2**40])


def network(seed, *sizes, **options):
    return ls.init_params(jax.random.key(seed), sizes, **options)


def made(params, labels, loss, **options):
    return ls.Classifier(params, MEAN, SCALE, np.array(labels), loss, **options)


def members(outputs):
    return [network(seed, 3, width, outputs) for seed, width in enumerate((8, 5, 8))]


CLASSIFIERS = {
    "words": made(network(0, 3, 8, 3), WORDS, "softmax"),
    "numbers": made(network(1, 3, 8, 3), NUMBERS, "softmax"),
    "booleans": made(network(2, 3, 8, 2), [False, True], "softmax"),
    "fractions": made(network(3, 3, 2), np.float32([0.1, 0.5]), "softmax"),
    "one output": made(network(4, 3, 8, 1), ["no", "yes"], "sigmoid"),
    "independent outputs": made(network(5, 3, 8, 4), [4, 5, 6, 7], "sigmoid"),
    "several labels": made(network(6, 3, 8, 3), WORDS, "sigmoid", multilabel=True),
    "a stack": made(ls.stack(network(7, 3, 5, 5, 5, 5, 3)), WORDS, "softmax"),
    "a stack of one": made(
        (*network(7, 3, 4), ls.Layer(jnp.eye(4)[None], jnp.ones((1, 4))), *network(8, 4, 1)),
        [0, 1], "sigmoid",
    ),
    "committee": made(members(3), WORDS, "softmax"),
    "committee of one": made(members(3)[:1], NUMBERS, "softmax"),
    "committee of one output": made(members(1), [4, 7], "sigmoid"),
    "committee of independent outputs": made(members(3), WORDS, "sigmoid"),
    "committee of several labels": made(members(3), WORDS, "sigmoid", multilabel=True),
}  # fmt: skip
each_classifier = pytest.mark.parametrize("own", CLASSIFIERS.values(), ids=CLASSIFIERS.keys())


def run(path, rows):
    session = onnxruntime.InferenceSession(path)
    assert [each.name for each in session.get_inputs()] == ["inputs"]
    return session.run(["label", "probabilities"], {"inputs": rows})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


@each_classifier
def test_a_stranger_s_runtime_predicts_the_same(path, own):
    ls.export.onnx.save(path, own)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    for rows in (X[:1], X):
        label, chances = run(path, rows)
        assert chances.dtype == np.float32
        np.testing.assert_allclose(chances, own.probabilities(rows), rtol=0, atol=1e-6)
        np.testing.assert_array_equal(label, own.predict(rows))
        kinds = {"U": np.dtype(object), "f": np.dtype("f8")}
        expected = np.int64 if own.multilabel else kinds.get(own.labels.dtype.kind, np.int64)
        assert label.dtype == expected


@each_classifier
def test_what_was_saved_comes_back_bit_for_bit(path, own):
    ls.export.onnx.save(path, own)
    loaded = ls.export.onnx.load(path)
    assert jax.tree.structure(loaded.params) == jax.tree.structure(own.params)
    for ours, theirs in zip(*map(jax.tree.leaves, (own.params, loaded.params)), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    for name in ("mean", "scale", "labels"):
        assert getattr(loaded, name).dtype == getattr(own, name).dtype
        np.testing.assert_array_equal(getattr(loaded, name), getattr(own, name))
    assert (loaded.loss, loaded.multilabel) == (own.loss, own.multilabel)


def test_rows_are_standardized_to_the_same_bits(path):
    own = made((ls.Layer(jnp.eye(3), jnp.zeros(3)),), WORDS, "sigmoid", multilabel=True)
    ls.export.onnx.save(path, own)
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info("standardized_narrow", 1, ["batch", 3]))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (rows,) = session.run(["standardized_narrow"], {"inputs": X})
    np.testing.assert_array_equal(rows, own.standardize(X))


def test_a_file_says_what_it_is(path):
    ls.export.onnx.save(path, CLASSIFIERS["committee"])
    model = onnx.load(path)
    assert (model.producer_name, model.producer_version) == ("logistack", ls.__version__)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 13)]
    assert model.ir_version == 7
    assert {node.domain for node in model.graph.node} == {""}
    operators = [node.op_type for node in model.graph.node if "members.0.layers" in node.name]
    assert operators == ["MatMul", "Add", "Sigmoid", "MatMul", "Add"]
    said = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert said["labels"] == '["calm", "gale", "Sturm"]'
    assert (said["loss"], said["sizes"]) == ("softmax", "[[3, 8, 3], [3, 5, 3], [3, 8, 3]]")


def test_of_two_labels_that_are_sure_the_surer_is_told(path):
    sure = [(ls.Layer(jnp.zeros((2, 3)), jnp.array([20.0, 40.0])),)] * 2
    own = ls.Classifier(sure, MEAN, SCALE, np.array([0, 1]), "sigmoid")
    ls.export.onnx.save(path, own)
    label, chances = run(path, X[:1])
    assert chances.tolist() == [[1, 1]]
    assert label == own.predict(X[:1]) == [1]


def test_float64_stays_float64(path, x64):
    params = network(0, 3, 8, 3, dtype=jnp.float64)
    rows = X + RNG.normal(size=X.shape)
    for own in (made(params, WORDS, "softmax"), made([params] * 2, WORDS, "sigmoid")):
        ls.export.onnx.save(path, own)
        label, chances = run(path, rows)
        np.testing.assert_allclose(chances, own.probabilities(rows), rtol=0, atol=1e-14)
        np.testing.assert_array_equal(label, own.predict(rows))
        jax.tree.map(np.testing.assert_array_equal, ls.export.onnx.load(path).params, own.params)
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"^path: .*jax_enable_x64"):
        ls.export.onnx.load(path)


def test_a_thousand_layers_are_as_near_to_the_truth_as_jax_is(path):
    plain = network(0, 3, *[16] * 1000, 3)
    own = made(ls.stack(plain), WORDS, "softmax")
    ls.export.onnx.save(path, own)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    _, chances = run(path, X)
    a = own.standardize(X).astype(np.float64)
    for layer in plain:
        z = a @ np.float64(layer.weight).T + np.float64(layer.bias)
        a = 1 / (1 + np.exp(-z))
    exact = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    # Float32 errs by a few parts in a million over so many layers that keep all differences.
    ours = np.abs(own.probabilities(X) - exact).max()
    assert np.abs(chances - exact).max() < max(2 * ours, 1e-6) < 1e-5
    loaded = ls.export.onnx.load(path)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, own.params)


def test_a_thousand_layers_of_float64_agree(path, x64):
    own = made(ls.stack(network(0, 3, *[8] * 1000, 3, dtype=jnp.float64)), WORDS, "softmax")
    ls.export.onnx.save(path, own)
    rows = X.astype(np.float64)
    np.testing.assert_allclose(run(path, rows)[1], own.probabilities(rows), rtol=0, atol=1e-12)


GOOD = CLASSIFIERS["words"]


@pytest.mark.parametrize(
    ("own", "error", "message"),
    [
        (GOOD.params, TypeError, "^classifier: expected a Classifier, got tuple"),
        (dataclasses.replace(GOOD, labels=WORDS[:2]), ValueError, "^classifier: .* fit together"),
        (dataclasses.replace(GOOD, mean=MEAN[:2]), ValueError, "^classifier: .* fit together"),
        (dataclasses.replace(GOOD, loss="hinge"), ValueError, "^classifier: .* fit together"),
        (
            dataclasses.replace(GOOD, params=[GOOD.params, network(0, 2, 3)]),
            ValueError,
            "^classifier: .* fit together",
        ),
        (
            dataclasses.replace(GOOD, params=network(0, 3, 3, dtype=jnp.bfloat16)),
            TypeError,
            "^classifier: expected float32 or float64, got bfloat16",
        ),
        (
            dataclasses.replace(GOOD, labels=np.uint64([0, 1, 2**63])),
            ValueError,
            "^labels: expected integers that int64 holds",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(path, own, error, message):
    with pytest.raises(error, match=message):
        ls.export.onnx.save(path, own)
    assert not path.exists()


def test_a_missing_extra_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    for call in (lambda: ls.export.onnx.save(path, GOOD), lambda: ls.export.onnx.load(path)):
        with pytest.raises(ModuleNotFoundError, match=r"logistack\[onnx\]"):
            call()


# --- Files of others -----------------------------------------------------------------------------

WEIGHTS = [RNG.normal(size=shape).astype(np.float32) for shape in ((4, 3), (2, 4), (1, 4))]
BIASES = [RNG.normal(size=size).astype(np.float32) for size in (4, 2, 1)]
GEMM = {"transB": 1, "alpha": 1.0, "beta": 1.0}


def write(path, nodes, constants, outputs=("y",), opset=13, **options):
    """A file of nodes (operator, inputs, output, attributes), whose input is X."""
    domains = {"": opset, "ai.onnx.ml": 1}
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(
                    operator.split(":")[-1], inputs.split(), [output],
                    domain="ai.onnx.ml" * operator.startswith("ml:"), **attributes,
                )
                for operator, inputs, output, attributes in nodes
            ],
            "others",
            [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["batch", 3])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", None]) for name in outputs],
            [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
        ),
        opset_imports=[helper.make_opsetid(*each) for each in domains.items()],
        ir_version=8,
        **options,
    )  # fmt: skip
    path.write_bytes(model.SerializeToString())
    return model


def torch_like(end="Softmax", activation="Sigmoid", **gemm):
    """As PyTorch writes Sequential(Linear, Sigmoid, Linear, Softmax)."""
    last = 1 if end == "Softmax" or end is None else 2
    nodes = [
        ("Gemm", "X w0 b0", "h", GEMM | gemm),
        (activation, "h", "a", {}),
        ("Gemm", f"a w{last} b{last}", "y" if end is None else "z", GEMM),
    ]
    if end is not None:
        nodes.append((end, "z", "y", {"axis": -1} if end == "Softmax" else {}))
    constants = {f"w{i}": w for i, w in enumerate(WEIGHTS)}
    constants |= {f"b{i}": b for i, b in enumerate(BIASES)}
    return nodes, constants


@pytest.mark.parametrize("end", ["Softmax", "Sigmoid"])
def test_chains_of_pytorch_are_read(path, end):
    write(path, *torch_like(end))
    loaded = ls.export.onnx.load(path)
    assert loaded.loss == end.lower()
    assert loaded.labels.tolist() == [0, 1]
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"X": np.cos(X)})
    chances = loaded.probabilities(np.cos(X))[:, -expected.shape[1] :]
    np.testing.assert_allclose(chances, expected, rtol=0, atol=1e-6)


def test_logits_are_read_as_one_says(path):
    write(path, *torch_like(None))
    with pytest.raises(ValueError, match=r"^path: .*ends in logits: say by what loss"):
        ls.export.onnx.load(path)
    loaded = ls.export.onnx.load(path, loss="softmax")
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"X": np.cos(X)})
    np.testing.assert_allclose(loaded.logits(np.cos(X)), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"^loss: expected one of .* got 'hinge'"):
        ls.export.onnx.load(path, loss="hinge")


def test_chains_of_scikit_learn_are_read_with_their_labels_and_scaler(path):
    nodes = [
        ("ml:Scaler", "X", "s", {"offset": MEAN.tolist(), "scale": (1 / SCALE).tolist()}),
        ("Cast", "s", "c", {"to": TensorProto.FLOAT}),
        ("MatMul", "c w0", "p0", {}),
        ("Add", "p0 b0", "z0", {}),
        ("Sigmoid", "z0", "a0", {}),
        ("MatMul", "a0 w1", "p1", {}),
        ("Add", "p1 b1", "z1", {}),
        ("Sigmoid", "z1", "yes", {}),
        ("Sub", "one yes", "no", {}),
        ("Concat", "no yes", "probabilities", {"axis": 1}),
        ("ArgMax", "probabilities", "place", {"axis": 1}),
        ("ml:ArrayFeatureExtractor", "classes place", "found", {}),
        ("Reshape", "found shape", "label", {}),
        ("Identity", "probabilities", "output_probability", {}),
    ]
    constants = {
        "w0": WEIGHTS[0].T, "b0": BIASES[0][None], "w1": WEIGHTS[2].T, "b1": BIASES[2][None],
        "one": np.float32(1), "classes": np.array(["no", "yes"], object), "shape": [-1],
    }  # fmt: skip
    write(path, nodes, constants, ("label", "output_probability"))
    loaded = ls.export.onnx.load(path)
    assert loaded.labels.tolist() == ["no", "yes"]
    np.testing.assert_allclose(loaded.scale, SCALE, rtol=1e-7)
    a = 1 / (1 + np.exp(-((X - MEAN.astype("f")) / SCALE @ WEIGHTS[0].T + BIASES[0])))
    yes = 1 / (1 + np.exp(-(a @ WEIGHTS[2].T + BIASES[2])))
    np.testing.assert_allclose(loaded.probabilities(X)[:, 1:], yes, rtol=0, atol=1e-3)


# --- Files that are refused ----------------------------------------------------------------------


def other(nodes, constants, **options):
    return lambda path: write(path, nodes, constants, **options)


def replaced(**constants):
    nodes, own = torch_like()
    return other(nodes, own | constants)


def with_external_data(path):
    model = write(path, *torch_like())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    path.write_bytes(model.SerializeToString())


def with_functions(path):
    model = write(path, *torch_like())
    model.functions.add(name="Sigmoid", domain="")
    path.write_bytes(model.SerializeToString())


def of_claimed_size(path):
    model = write(path, *torch_like())
    model.graph.initializer[0].dims[:] = [2**31, 2**31]
    path.write_bytes(model.SerializeToString())


def in_a_circle(path):
    nodes, constants = torch_like()
    write(path, [("Sigmoid", "y", "h", {}), *nodes[1:]], constants)


def too_large(path):
    with path.open("wb") as file:
        file.truncate(2**31)


LOOP = ("Loop", "X", "h", {"body": helper.make_graph([], "body", [], [])})
HOSTILE = {
    "another activation": (other(*torch_like(activation="Relu")), "made by Relu"),
    "a transposed input": (other(*torch_like(transA=1)), "has transA = 1"),
    "a factor": (other(*torch_like(alpha=2.0)), "has alpha = 2.0"),
    "a loop": (other([LOOP, *torch_like()[0][1:]], torch_like()[1]), ""),
    "a function of its own": (with_functions, "functions"),
    "external data": (with_external_data, "external data"),
    "a shape without its values": (of_claimed_size, ""),
    "a circle": (in_a_circle, ""),
    "more than 2 GiB": (too_large, "2,147,483,648 bytes"),
    "both sides of several outputs": (
        other(
            [
                *torch_like("Sigmoid")[0][:2],
                ("Gemm", "a w1 b1", "z", GEMM),
                ("Neg", "z", "n", {}),
                ("Concat", "n z", "c", {"axis": 1}),
                ("Sigmoid", "c", "y", {}),
            ],
            torch_like()[1],
        ),
        "both sides",
    ),
    "logits that are averaged": (
        other(
            [*torch_like(None)[0], ("Sum", "y y", "s", {}), ("Div", "s two", "mean", {})],
            torch_like()[1] | {"two": np.float32(2)},
            outputs=("mean",),
        ),
        "no mean of probabilities",
    ),
    "integers": (replaced(w0=np.ones((4, 3), np.int32)), ""),
    "half precision": (replaced(w0=WEIGHTS[0].astype(np.float16)), ""),
    "layers that do not fit": (replaced(w1=np.ones((2, 5), np.float32)), "expected a weight for 4"),
    "a bias that does not fit": (replaced(b1=np.ones(3, np.float32)), "b1 has the shape"),
    "no network": (other([("Identity", "X", "y", {})], {}), "y is made by nothing, and not by"),
    "a weight that comes in": (
        other([("MatMul", "X X", "h", {}), ("Add", "h b0", "y", {})], torch_like()[1]),
        "X is made by nothing, and no constant",
    ),
    "two outputs": (other(*torch_like(), outputs=("y", "a")), r"its outputs are \['y', 'a'\]"),
    "an old opset": (other(*torch_like(), opset=6), ""),
    "our name alone": (other(*torch_like(), producer_name="logistack"), "format None"),
    "a text": (lambda path: path.write_text("a,b\n1,2\n"), "it is none, or a part"),
    "nothing": (lambda path: path.write_bytes(b""), ""),
}


@pytest.mark.parametrize(("make", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_other_files_are_refused(path, make, message):
    make(path)
    said = rf"^path: expected an ONNX file of layers of logistic units, got {re.escape(str(path))}"
    with pytest.raises(ValueError, match=f"{said}: .*{message}"):
        ls.export.onnx.load(path)


def test_every_truncation_is_refused(path):
    ls.export.onnx.save(path, GOOD)
    content = path.read_bytes()
    for length in range(0, len(content), 17):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"^path: expected an ONNX file"):
            ls.export.onnx.load(path)


def test_a_file_of_ours_that_was_changed_is_refused(path):
    ls.export.onnx.save(path, CLASSIFIERS["committee"])
    whole = path.read_bytes()

    def changed(**entries):
        model = onnx.load_model_from_string(whole)
        for entry in model.metadata_props:
            entry.value = entries.get(entry.key, entry.value)
        return model

    models = [
        changed(**{key: value})
        for key, values in {
            "format": ["2"], "labels": ["[1,2,3]", "[", '["a"]', "{}"], "labels_dtype": ["0", '"O"'],
            "loss": ["sigmoid", "hinge"], "multilabel": ["true", "[1]"], "committee": ["false", "1"],
            "sizes": ["[[3, 8, 3]]"],
            "stacks": ["[[0, 0]]", "[[0], [0], [0]]", "[[0, 1e999], [0, 0], [0, 0]]", "[" * 10**5,
                       "[[0, 0, 0], [0, 0], [0, 0]]", "[[0, 1], [0, 0], [0, 0]]"],
        }.items()
        for value in values
    ]  # fmt: skip
    labels = changed()
    (tensor,) = (each for each in labels.graph.initializer if each.name == "labels")
    tensor.string_data.reverse()
    more = changed()
    more.graph.node.append(helper.make_node("Neg", ["probabilities"], ["more"]))
    for model in (*models, labels, more):
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ValueError, match=r"^path: expected an ONNX file"):
            ls.export.onnx.load(path)


def test_files_are_found_as_with_the_other_formats(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    ls.export.onnx.save("~/model.onnx", GOOD)
    assert repr(ls.export.onnx.load("~/model.onnx")) == repr(GOOD)
    with pytest.raises(ValueError, match=r"^path: expected a path in the local file system"):
        ls.export.onnx.load("s3://bucket/model.onnx")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ls.export.onnx.load(tmp_path / "nowhere")
