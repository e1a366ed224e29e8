"""Classifiers as ONNX files, which other languages, browsers and phones can run."""

import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logistack import _checks, _files
from logistack.committees import is_committee
from logistack.export._chains import DOUBLE, FLOAT, INT64, read_chain
from logistack.export._tensors import named
from logistack.layers import Layer, Params, require_params

if TYPE_CHECKING:  # a classifier is kept by export.numpy, and so comes after this room
    from logistack.classifier import Classifier

# ONNX 1.8 of 2020: the first opset in which Softmax is along an axis. Runtimes read what is older.
OPSET = 13
IR_VERSION = 7
# What a protobuf may have.
MOST_BYTES = 2**31 - 1
FORMAT = "1"
# The dtypes of labels that are numbers.
NUMBERS = ("bool", *(f"{kind}{size}" for kind in ("int", "uint") for size in (8, 16, 32, 64)))
NUMBERS += ("float16", "float32", "float64")


def save(path: str | os.PathLike[str], classifier: "Classifier") -> None:
    r"""Writes a classifier to an ONNX file; an interrupted write leaves the old file.

    The file takes the rows of a table as they are, and has all that a stranger needs:

    - input `inputs`, `(batch, in)` for any batch, float32, or float64 if the network is;
    - output `probabilities`, `(batch, classes)`, as `Classifier.probabilities` has them;
    - output `label`, `(batch,)`: strings, int64 for integers and booleans, or float64 for other
      numbers; of a multilabel classifier int64 `(batch, labels)`, whether each holds;
    - metadata: labels, loss and sizes as JSON, and by what version it was written.

    Its operators are those of ONNX itself, opset 13: `MatMul`, `Add` and `Sigmoid` for each layer,
    also of a stack. Features are standardized in float64, as the classifier does it, so that one
    such as 50,000 ± 1 keeps its digits.

    Runtimes round the probabilities in other ways than JAX, by some 1e-7. Over a thousand layers of
    float32 this grows to some 1e-5, which is how far either is from the truth there; float64
    agrees to 1e-13.

    Args:
        path: the file to write or to replace.
        classifier: a `Classifier` of one network or of a committee, float32 or float64.

    Raises:
        ValueError: if parts of the classifier do not fit together, an integer label is none of
            int64, the file would be larger than 2 GiB, or `path` is a URL.
        TypeError: if `classifier` is not one, or its parameters or labels have another dtype.
        OSError: if the file cannot be written.
        ModuleNotFoundError: if onnx is not installed.

    Source: https://onnx.ai/onnx/operators/, the operators.

    >>> import logistack as ls, numpy as np, onnxruntime, pathlib, tempfile
    >>> xor = (
    ...     ls.Layer(np.float32([[-9, 9], [9, -9]]), np.float32([-5, -5])),
    ...     ls.Layer(np.float32([[9, 9]]), np.float32([-5])),
    ... )
    >>> own = ls.Classifier(xor, np.zeros(2), np.ones(2), np.array(["same", "other"]), "sigmoid")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "xor.onnx")
    ...     save(path, own)
    ...     session = onnxruntime.InferenceSession(path)
    ...     label, chances = session.run(None, {"inputs": np.float32([[0, 1], [1, 1]])})
    >>> print(label, chances.round(2), sep="\n")
    ['other' 'same']
    [[0.02 0.98]
     [0.99 0.01]]
    """
    from logistack.classifier import Classifier, parts_fit

    if not isinstance(classifier, Classifier):
        raise TypeError(f"classifier: expected a Classifier, got {type(classifier).__name__}")
    networks = [_arrays_of(network) for network in classifier.networks]
    if not parts_fit(classifier):
        raise ValueError("classifier: expected parts that fit together, got others")
    dtypes = {layer.weight.dtype for layers in networks for layer in layers}
    if dtypes not in ({np.dtype("f4")}, {np.dtype("f8")}):
        names = " and ".join(sorted(dtype.name for dtype in dtypes))
        raise TypeError(f"classifier: expected float32 or float64, got {names}")
    size = sum(part.nbytes for layers in networks for layer in layers for part in layer)
    if size > MOST_BYTES - 2**24:  # for all that is not a weight
        raise ValueError(f"classifier: expected less than 2 GiB, got {size:,} bytes")
    onnx = _checks.import_extra("onnx", "onnx")
    model = _model_of(onnx, classifier, networks)
    _files.write_whole(path, model.SerializeToString(deterministic=True))


def load(path: str | os.PathLike[str], *, loss: str | None = None) -> "Classifier":
    """Reads a classifier that `save` wrote, bit for bit; or another chain of logistic layers.

    Such chains are what PyTorch writes for a sequence of `Linear` and `Sigmoid`, with or without a
    `Softmax` at the end, and skl2onnx for scikit-learn's `MLPClassifier(activation="logistic")`,
    also behind a `StandardScaler`. Nothing in the file is executed.

    Args:
        path: the file to read.
        loss: `"softmax"` or `"sigmoid"`, for a file whose last layer gives logits and which does
            not say how they become probabilities.

    Returns:
        A `Classifier`. Its labels are 0 … k − 1 if the file has none; without a standardization
        in the file, it has mean 0 and scale 1.

    Raises:
        ValueError: if the file is damaged, larger than 2 GiB, no chain of `MatMul` and `Add`, or
            `Gemm`, and `Sigmoid`, has tensors outside of it, or holds float64 while JAX has 64-bit
            numbers disabled; or if `path` is a URL.
        FileNotFoundError: if the file does not exist.
        ModuleNotFoundError: if onnx is not installed.

    >>> import jax, logistack as ls, numpy as np, pathlib, tempfile
    >>> params = ls.init_params(jax.random.key(0), (4, 8, 3))
    >>> own = ls.Classifier(params, np.zeros(4), np.ones(4), np.array([2, 3, 5]), "softmax")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.onnx")
    ...     save(path, own)
    ...     load(path)
    Classifier(4-8-3, softmax, labels 2, 3, 5)
    """
    from logistack.classifier import LOSSES

    if loss not in (None, *LOSSES):
        raise ValueError(f"loss: expected one of {sorted(LOSSES)}, got {loss!r}")
    path = _files.local_path("path", path)
    onnx = _checks.import_extra("onnx", "onnx")
    try:
        model = _read(onnx, path)
        own = model.producer_name == "logistack"
        return _own(onnx, model) if own else _other(onnx, model, loss)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"path: expected an ONNX file of layers of logistic units, got {path}: {error}"
        ) from error


# --- What a file is made of ----------------------------------------------------------------------


class _Graph:
    """The nodes and constants of a model, one after another."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def add(self, name: str, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node, which is called like its output."""
        self.nodes.append(self._onnx.helper.make_node(operator, inputs, [name], name, **attributes))
        return name


def _model_of(onnx: Any, own: "Classifier", networks: Sequence[Params]) -> Any:
    """The model of a classifier, given the layers of its networks one by one, as NumPy arrays."""
    graph, dtype = _Graph(onnx), networks[0][0].weight.dtype
    rows = _standardized(graph, own, dtype)
    prefixes = [f"members.{place}." for place in range(len(networks))]
    if not is_committee(own.params):
        prefixes = [""]
    logits = {
        prefix: _logits(graph, prefix, layers, rows)
        for prefix, layers in zip(prefixes, networks, strict=True)
    }
    label = _outputs(graph, own, logits, dtype)
    kind, of = onnx.helper.np_dtype_to_tensor_dtype, onnx.helper.make_tensor_value_info
    batch = ["batch", len(own.labels)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "classifier",
            [of("inputs", kind(dtype), ["batch", len(own.mean)], "a sample a row, as it is")],
            [
                of("label", kind(label.dtype), batch if own.multilabel else ["batch"]),
                of("probabilities", kind(dtype), batch, "one for each label"),
            ],
            graph.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="logistack",
        producer_version=version("logistack"),
        doc_string="Layers of logistic units that classify the rows of a table, which it takes as "
        "they are and standardizes.",
    )
    onnx.helper.set_model_props(model, _metadata(own, networks))
    return model


def _standardized(graph: _Graph, own: "Classifier", dtype: Any) -> str:
    """(x − mean) / scale in float64, and then in the dtype of the network."""
    wide = dtype == np.float64
    rows = "inputs" if wide else graph.add("inputs_wide", "Cast", "inputs", to=DOUBLE)
    rows = graph.add("centered", "Sub", rows, graph.constant("mean", own.mean))
    rows = graph.add("standardized", "Div", rows, graph.constant("scale", own.scale))
    return rows if wide else graph.add("standardized_narrow", "Cast", rows, to=FLOAT)


def _logits(graph: _Graph, prefix: str, layers: Params, a: str) -> str:
    """The logits of one network. A product with Wᵀ on the right takes any leading axes."""
    for index, layer in enumerate(layers):
        name = f"{prefix}layers.{index}."
        weight = graph.constant(f"{name}weight.T", np.ascontiguousarray(np.transpose(layer.weight)))
        product = graph.add(f"{name}product", "MatMul", a, weight)
        a = graph.add(
            f"{name}z", "Add", product, graph.constant(f"{name}bias", np.asarray(layer.bias))
        )
        if index < len(layers) - 1:
            a = graph.add(f"{name}a", "Sigmoid", a)
    return a


def _outputs(graph: _Graph, own: "Classifier", logits: Mapping[str, str], dtype: Any) -> np.ndarray:
    """Adds the outputs, of the logits of each network; returns an array like the first output."""
    softmax, single = own.loss == "softmax", own.networks[0][-1].bias.shape[-1] == 1
    z = dict(logits)
    if single:  # σ(−z) is 1 − σ(z) without its rounding
        for prefix, one in logits.items():
            minus = graph.add(f"{prefix}minus", "Neg", one)
            z[prefix] = graph.add(f"{prefix}both", "Concat", minus, one, axis=-1)
    shares = [
        graph.add(f"{prefix}probabilities", "Softmax", one, axis=-1)
        if softmax
        else graph.add(f"{prefix}probabilities", "Sigmoid", one)
        for prefix, one in z.items()
    ]
    # The greatest score has the label; each has its own where it is greater than what is against.
    (score, *_), against = z.values(), ""
    if is_committee(own.params):
        members = graph.constant("members", np.array(len(shares), dtype))
        graph.add("probabilities", "Div", graph.add("sum", "Sum", *shares), members)
        score = "probabilities"
        if not softmax and not single:
            score, against = _shares_for_and_against(graph, z, dtype)
            if not own.multilabel:
                score = graph.add("odds", "Div", score, against)
    if own.multilabel:
        against = against or graph.constant("zero", np.zeros((), dtype))
        graph.add("label", "Cast", graph.add("holds", "Greater", score, against), to=INT64)
        return np.empty(0, np.int64)
    labels = _label_array(own.labels)
    place = graph.add("class", "ArgMax", score, axis=-1, keepdims=0)
    graph.add("label", "Gather", graph.constant("labels", labels), place, axis=0)
    return labels


def _shares_for_and_against(graph: _Graph, z: Mapping[str, str], dtype: Any) -> list[str]:
    """Σ σ(z) and Σ σ(−z) over the members: of two that are 1 to rounding, the odds tell the surer.

    Made of exponentials, as runtimes cut off σ, ONNX Runtime where z is ±18.
    """
    one = graph.constant("one", np.ones((), dtype))
    sums = []
    for side in ("for", "against"):
        shares = []
        for prefix, exponent in z.items():
            name = f"{prefix}{side}"
            if side == "for":
                exponent = graph.add(f"{name}.minus", "Neg", exponent)
            power = graph.add(f"{name}.exp", "Exp", exponent)
            shares.append(graph.add(name, "Div", one, graph.add(f"{name}.plus", "Add", one, power)))
        sums.append(graph.add(f"sum_{side}", "Sum", *shares))
    return sums


def _label_array(labels: np.ndarray) -> np.ndarray:
    """Labels in a dtype that all runtimes have."""
    if labels.dtype.kind == "U":
        return labels.astype(object)
    if labels.dtype.name not in NUMBERS:
        raise TypeError(f"labels: expected numbers of at most 64 bits, got {labels.dtype}")
    if labels.dtype.kind == "f":
        return labels.astype(np.float64)
    if (labels > np.iinfo(np.int64).max).any():
        raise ValueError(f"labels: expected integers that int64 holds, got {labels.max()}")
    return labels.astype(np.int64)


def _metadata(own: "Classifier", networks: Sequence[Params]) -> dict[str, str]:
    """What the file says of the classifier: its values are JSON, but for the name of the loss."""
    depths = [
        [layer.weight.shape[0] if layer.weight.ndim == 3 else 0 for layer in network]
        for network in own.networks
    ]
    sizes = [
        [layers[0].weight.shape[1], *(len(layer.bias) for layer in layers)] for layers in networks
    ]
    return {
        "format": FORMAT,
        "labels": json.dumps(own.labels.tolist()),
        "labels_dtype": json.dumps(
            "str" if own.labels.dtype.kind == "U" else own.labels.dtype.name
        ),
        "loss": own.loss,
        "multilabel": json.dumps(own.multilabel),
        "committee": json.dumps(is_committee(own.params)),
        "sizes": json.dumps(sizes),
        "stacks": json.dumps(depths),  # of each Layer; 0 for one that is no stack
    }


def _arrays_of(params: Params) -> Params:
    """The layers of a network one by one, as NumPy arrays."""
    named(params)  # checks them
    layers = [Layer(*map(np.asarray, layer)) for layer in params]  # type: ignore[arg-type]
    return tuple(
        Layer(*parts)
        for layer in layers
        for parts in (zip(*layer, strict=True) if layer.weight.ndim == 3 else [layer])
    )


# --- What is in a file ---------------------------------------------------------------------------


def _read(onnx: Any, path: Path) -> Any:
    """The model in a file, all of whose tensors are in it."""
    decode_error = _checks.import_extra("google.protobuf.message", "onnx").DecodeError
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise ValueError(f"it has {size:,} bytes, more than 2 GiB")
        content = file.read(MOST_BYTES)
    try:
        model = onnx.load_model_from_string(content)
    except decode_error as error:
        raise ValueError("it is none, or a part of one") from error
    if any(tensor.data_location or tensor.external_data for tensor in model.graph.initializer):
        raise ValueError("it has external data, that is, tensors in other files")
    if model.functions or model.graph.sparse_initializer:
        raise ValueError("it has functions or sparse tensors")
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ValueError(f"{error}".split("\n")[0]) from error
    return model


def _own(onnx: Any, model: Any) -> "Classifier":
    """The classifier of a file that `save` wrote: saved again, it is the same file."""
    from logistack.classifier import Classifier, parts_fit

    said = {entry.key: entry.value for entry in model.metadata_props}
    if said.get("format") != FORMAT:
        raise ValueError(f"it is of format {said.get('format')} of logistack, not {FORMAT}")
    chain = read_chain(onnx, model)
    try:
        stacks = json.loads(said["stacks"])
        networks = [_joined(*pair) for pair in zip(chain.networks, stacks, strict=True)]
        labels = np.array(json.loads(said["labels"]))
        dtype = json.loads(said["labels_dtype"])
        if dtype in NUMBERS:
            with np.errstate(all="ignore"):
                labels = labels.astype(dtype)
        found = Classifier(
            networks if json.loads(said["committee"]) else networks[0],
            chain.mean,
            chain.scale,
            labels,
            said["loss"],
            json.loads(said["multilabel"]) is True,
        )
        same = parts_fit(found) and _same(model, _model_of(onnx, found, chain.networks))
    except (
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
        StopIteration,
    ) as error:
        raise ValueError(f"its metadata is damaged: {error!r}") from error
    if not same:
        raise ValueError("its graph is not the one that logistack writes")
    return found


def _same(model: Any, expected: Any) -> bool:
    expected.producer_version = model.producer_version
    return model == expected


def _joined(layers: Sequence[Layer], depths: Sequence[int]) -> Params:
    """The layers of a network, some of them in stacks as they were when they were saved."""
    rest = iter(layers)
    params = []
    for depth in depths:
        own = [next(rest) for _ in range(max(1, depth))]
        stacked = Layer(*map(np.stack, zip(*own, strict=True)))  # type: ignore[arg-type]
        params.append(stacked if depth else own[0])
    if next(rest, None) is not None:
        raise ValueError("it has more layers than its metadata says")
    return require_params(tuple(params))


def _other(onnx: Any, model: Any, loss: str | None) -> "Classifier":
    """The classifier of a file that others wrote."""
    from logistack.classifier import Classifier, parts_fit

    chain = read_chain(onnx, model)
    loss = chain.loss or loss
    if loss is None:
        raise ValueError("it ends in logits: say by what loss they are read, softmax or sigmoid")
    networks = [require_params(layers) for layers in chain.networks]
    outputs = len(chain.networks[0][-1].bias)
    labels = np.arange(max(2, outputs)) if chain.labels is None else chain.labels
    params = networks[0] if len(networks) == 1 else networks
    found = Classifier(params, chain.mean, chain.scale, labels, loss, chain.multilabel)
    if not parts_fit(found):
        raise ValueError("its parts do not fit together")
    return found
