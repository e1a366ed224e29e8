"""Reads an ONNX graph as chains of logistic layers, from its last node to its first."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from logistack.export._tensors import require_width
from logistack.layers import Layer, Params

# As ONNX numbers the dtypes of tensors.
FLOAT, INT64, DOUBLE = 1, 7, 11
LABELS = range(1, 14)  # float, integers, strings, booleans

# Before it, operators broadcast in other ways.
OLDEST_OPSET = 7


class Chain(NamedTuple):
    """What a graph computes.

    Attributes:
        networks: the layers of each network whose probabilities are averaged, as NumPy arrays.
        mean: what is subtracted from each feature.
        scale: what each feature is divided by.
        loss: `"softmax"` or `"sigmoid"`, or None if the graph ends in logits.
        labels: what its classes are called, or None if it does not say.
        multilabel: whether the output `label` has an entry for each label.
    """

    networks: list[Params]
    mean: np.ndarray
    scale: np.ndarray
    loss: str | None
    labels: np.ndarray | None
    multilabel: bool


class Head(NamedTuple):
    """What makes probabilities of logits: by what loss, and whether of 1 − y and y for one y."""

    loss: str | None
    both: bool = False


def read_chain(onnx: Any, model: Any) -> Chain:
    """Reads a model that the checker of ONNX has found to be a model.

    Raises:
        ValueError: saying what it expected and what it found, if the graph is no such chain.
    """
    versions = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
    if min(versions, default=0) < OLDEST_OPSET:
        raise ValueError(f"its opset is {versions}, older than {OLDEST_OPSET}")
    graph = _Graph(onnx, model.graph)
    output, label = graph.outputs()
    members, (loss, both) = graph.probabilities(output)
    networks, sources = zip(*map(graph.network, members), strict=True)
    if both and any(len(layers[-1].bias) != 1 for layers in networks):
        raise ValueError("its networks have several outputs, of which it takes both sides")
    if len(set(sources)) > 1:
        raise ValueError("its networks take different inputs")
    mean, scale = graph.standardization(sources[0], networks[0][0].weight.shape[1])
    return Chain(list(networks), mean, scale, loss, *graph.labels(label))


class _Graph:
    """A graph by the names of its tensors. There is no cycle in it: that has been checked."""

    def __init__(self, onnx: Any, graph: Any) -> None:
        self._onnx, self._graph = onnx, graph
        self._made = {name: node for node in graph.node for name in node.output}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._same: dict[str, str] = {}  # what an Identity makes, by another name
        for node in graph.node:
            if node.op_type == "Identity":
                self._same[node.output[0]] = self._first(node.input[0])
            if node.op_type == "Constant":
                values = [each.t for each in node.attribute if each.name == "value"]
                self._constants |= dict(zip(node.output, values, strict=False))

    def outputs(self) -> tuple[str, str | None]:
        """The tensor with the probabilities, and the one with the labels, if there is one."""
        outputs = {each.name: each for each in self._graph.output}
        label = outputs.pop("label", outputs.pop("output_label", None))
        if len(outputs) != 1:
            raise ValueError(f"its outputs are {list(outputs)}, and not one with probabilities")
        (output,) = outputs
        if self._operator(output) == "ai.onnx.ml.ZipMap":  # which makes dictionaries of rows
            output = self._node(output, "ai.onnx.ml.ZipMap").input[0]
        return output, label and label.name

    def probabilities(self, name: str) -> tuple[list[str], Head]:
        """The logits of each network whose probabilities are averaged, and what is made of them."""
        node = self._node(name, "Softmax", "Sigmoid", "Concat", "Div", "Add", "Gemm")
        members = [name]
        if node.op_type == "Div":
            total = self._node(node.input[0], "Sum")
            members = list(total.input)
            if not np.array_equal(self._array(node.input[1]).ravel(), [len(members)]):
                raise ValueError(f"{name} is no mean of {len(members)}")
        read = [self._head(member) for member in members]
        heads = {head for _, head in read}
        if len(heads) > 1 or (node.op_type == "Div" and Head(None) in heads):
            raise ValueError(f"{name} is no mean of probabilities of one kind")
        return [z for z, _ in read], read[0][1]

    def _head(self, name: str) -> tuple[str, Head]:
        """The logits of one network, and what is made of them."""
        node = self._node(name, "Softmax", "Sigmoid", "Concat", "Add", "Gemm")
        if node.op_type == "Softmax":
            self._require(node, axis=(1, -1))
            return node.input[0], Head("softmax")
        if node.op_type == "Sigmoid":
            z = node.input[0]
            if self._operator(z) != "Concat":
                return z, Head("sigmoid")
            minus, z = self._pair(z)
            if self._node(minus, "Neg").input[0] == z:
                return z, Head("sigmoid", both=True)
            raise ValueError(f"{name} is not of −z and z")
        if node.op_type == "Concat":  # of 1 − y and y, as skl2onnx has it
            rest, y = self._pair(name)
            one, own = self._node(rest, "Sub").input
            if own == y and np.array_equal(self._array(one).ravel(), [1]):
                return self._node(y, "Sigmoid").input[0], Head("sigmoid", both=True)
            raise ValueError(f"{name} is not of 1 − y and y")
        return name, Head(None)

    def _pair(self, name: str) -> tuple[str, str]:
        node = self._node(name, "Concat")
        self._require(node, axis=(1, -1))
        if len(node.input) != 2:
            raise ValueError(f"{name} is of {len(node.input)} tensors, and not of 2")
        return tuple(node.input)

    def network(self, name: str) -> tuple[Params, str]:
        """The layers before logits, first to last, and what the first takes."""
        layers = []
        while True:
            layer, name = self._affine(name)
            layers.append(layer)
            if self._operator(name) != "Sigmoid":
                return tuple(reversed(layers)), name
            name = self._node(name, "Sigmoid").input[0]

    def _affine(self, name: str) -> tuple[Layer, str]:
        node = self._node(name, "Add", "Gemm")
        if node.op_type == "Gemm":
            self._require(node, alpha=(1,), beta=(1,), transA=(0,), transB=(0, 1))
            if len(node.input) != 3:
                raise ValueError(f"{name} has no bias")
            a, weight, bias = node.input
            of = {each.name: each.i for each in node.attribute}
            weight = self._array(weight)
            weight = weight if of.get("transB") else weight.T
        else:
            product, bias = sorted(node.input, key=self._is_constant)
            a, weight = self._node(product, "MatMul").input
            weight = self._array(weight).T
        if weight.ndim != 2:
            raise ValueError(f"{name} has a weight of the shape {weight.shape}")
        require_width(name, weight.dtype)
        return Layer(weight, self._vector(bias, len(weight))), a  # type: ignore[arg-type]

    def standardization(self, name: str, features: int) -> tuple[np.ndarray, np.ndarray]:
        """What is subtracted from the inputs of the graph, and what they are then divided by."""
        mean, scale = np.zeros(features), np.ones(features)
        name = self._uncast(name)
        if self._operator(name) == "ai.onnx.ml.Scaler":
            node = self._node(name, "ai.onnx.ml.Scaler")
            of = {each.name: np.array(each.floats, np.float64) for each in node.attribute}
            mean = np.broadcast_to(of.get("offset", mean), features)
            with np.errstate(divide="ignore"):
                scale = 1 / np.broadcast_to(of.get("scale", scale), features)
            name = node.input[0]
        if self._operator(name) == "Div":
            name, divisor = self._node(name, "Div").input
            scale = self._vector(divisor, features).astype(np.float64)
            name = self._uncast(name)
        if self._operator(name) == "Sub":
            name, shift = self._node(name, "Sub").input
            mean = self._vector(shift, features).astype(np.float64)
        name = self._uncast(name)
        self._require_input(name, features)
        return mean, scale

    def _uncast(self, name: str) -> str:
        """A tensor before it was taken to another floating dtype."""
        while self._operator(name) == "Cast":
            node = self._node(name, "Cast")
            self._require(node, to=(FLOAT, DOUBLE))
            name = node.input[0]
        return self._first(name)

    def _require_input(self, name: str, features: int) -> None:
        own = {each.name: each.type.tensor_type for each in self._graph.input}
        if name not in own or name in self._constants:
            raise ValueError(f"{name} is made by {self._operator(name)}, and no input of the graph")
        if own[name].elem_type not in (FLOAT, DOUBLE):
            raise ValueError(f"its input has the dtype {own[name].elem_type}, none of 1, 11")
        sizes = [size.dim_value for size in own[name].shape.dim]
        if own[name].HasField("shape") and (len(sizes) != 2 or sizes[1] not in (0, features)):
            raise ValueError(f"its input has the shape {sizes}, and not (batch, {features})")

    def labels(self, name: str | None) -> tuple[np.ndarray | None, bool]:
        """What the classes are called, and whether a row may have several."""
        if name is None:
            return None, False
        gathers = "Gather", "ai.onnx.ml.ArrayFeatureExtractor"
        while self._operator(name) in ("Cast", "Reshape"):
            name = self._node(name, "Cast", "Reshape").input[0]
        if self._operator(name) not in gathers:
            return None, self._operator(name) in ("Greater", "ai.onnx.ml.Binarizer")
        labels = self._constant(self._node(name, *gathers).input[0], LABELS).ravel()
        return labels.astype(str) if labels.dtype == object else labels, False

    def _vector(self, name: str, size: int) -> np.ndarray:
        """A constant of this size, whose leading axes are of 1."""
        array = self._array(name)
        if array.size != size or array.shape[-1:] != (size,):
            raise ValueError(f"{name} has the shape {array.shape}, and not ({size},)")
        return array.reshape(-1)

    def _is_constant(self, name: str) -> bool:
        return self._first(name) in self._constants

    def _array(self, name: str) -> np.ndarray:
        """A constant of float32 or float64."""
        return self._constant(name, (FLOAT, DOUBLE))

    def _constant(self, name: str, dtypes: Sequence[int]) -> np.ndarray:
        if not self._is_constant(name):
            raise ValueError(f"{name} is made by {self._operator(name)}, and no constant")
        tensor = self._constants[self._first(name)]
        if tensor.data_location or tensor.external_data:
            raise ValueError(f"{name} is external data, in another file")
        if tensor.data_type not in dtypes:
            raise ValueError(f"{name} has the dtype {tensor.data_type}, none of {[*dtypes]}")
        return self._onnx.numpy_helper.to_array(tensor)

    def _first(self, name: str) -> str:
        return self._same.get(name, name)

    def _operator(self, name: str) -> str:
        """The operator that makes a tensor, with its domain if that is not ONNX itself."""
        node = self._made.get(self._first(name))
        if node is None:
            return "nothing"
        return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"

    def _node(self, name: str, *operators: str) -> Any:
        """The node that makes a tensor, which is of these operators."""
        if self._operator(name) not in operators:
            wanted = " or ".join(operators)
            raise ValueError(f"{name} is made by {self._operator(name)}, and not by {wanted}")
        return self._made[self._first(name)]

    def _require(self, node: Any, **allowed: Sequence[float]) -> None:
        """Raises ValueError for an attribute that is not one of its allowed values."""
        for attribute in node.attribute:
            value = self._onnx.helper.get_attribute_value(attribute)
            if value not in allowed.get(attribute.name, ()):
                raise ValueError(f"{node.output[0]} has {attribute.name} = {value}")
