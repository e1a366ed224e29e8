"""Parameters by PyTorch's names, those of Sequential(Linear, Sigmoid, …, Linear), and back."""

import itertools
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from logistack.committees import is_committee, require_tree
from logistack.export import safetensors
from logistack.export._tensors import require_width, single_layers
from logistack.layers import Layer, Params, require_params


def state_dict(params: Params | list[Params], *, members: bool = False) -> dict[str, Any]:
    """Makes the state dict of a PyTorch model that computes the same logits.

    For one network the model is `torch.nn.Sequential(Linear, Sigmoid, Linear, Sigmoid, …, Linear)`,
    whose layers with parameters are the even ones: `0.weight`, `0.bias`, `2.weight`, `2.bias`, ….
    A `Sigmoid` or `Softmax` after the last has no parameters and changes no name.

    Args:
        params: a tuple of `Layer`, with each stack taken apart to its layers; or a list of networks
            of any sizes, for a `torch.nn.ModuleList` of such models: `0.0.weight`, `0.0.bias`, ….
        members: whether the arrays have a leading member axis, which they then keep, as the
            parameters that `torch.func.stack_module_state` returns.

    Returns:
        Tensors on the CPU, copies in the dtype that they are given in, for
        `model.load_state_dict`.

    Raises:
        ValueError: if the shapes of the parameters do not match, there is no network, or `members`
            is true of a list.
        TypeError: if `params` is not as above, or has a dtype that PyTorch lacks.
        ModuleNotFoundError: if PyTorch is not installed.

    >>> import jax, logistack as ls
    >>> from torch.nn import Linear, Sequential, Sigmoid  # doctest: +SKIP
    >>> model = Sequential(Linear(3, 2), Sigmoid(), Linear(2, 1))  # doctest: +SKIP
    >>> params = ls.init_params(jax.random.key(0), (3, 2, 1))
    >>> model.load_state_dict(state_dict(params))  # doctest: +SKIP
    <All keys matched successfully>

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Sequential.html, the names.
    """
    import torch

    tensors = {}
    for name, array in _named(params, members)[0].items():
        safetensors.require_dtype("params", name, array.dtype)
        if array.dtype == jnp.bfloat16:  # which NumPy does not know by itself
            tensors[name] = torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
        else:
            tensors[name] = torch.from_numpy(array.copy())
    return tensors


def params_of(state_dict: Mapping[str, Any]) -> Params | list[Params]:
    """Makes parameters of a state dict, the inverse of `state_dict`; needs no PyTorch.

    A state dict names no activations. Those of its model have to be `Sigmoid`: with others the
    parameters are the same, and the network of logistic units computes something else.

    Args:
        state_dict: tensors of PyTorch on any device, or arrays, by the names that `state_dict`
            gives them, and by no other. All weights have two axes, or all a third in front, of
            members.

    Returns:
        A tuple of `Layer`, copies of the tensors in their dtype; for the names of a `ModuleList`, a
        list of such tuples.

    Raises:
        ValueError: if names are missing or others are there, as of a `Linear` without bias or of
            `Dropout` between layers; if shapes do not fit; or if there is float64 while JAX has
            64-bit numbers disabled.
        TypeError: if `state_dict` is not a mapping, such as a model itself, or a dtype is not
            float16, bfloat16, float32 or float64, the same throughout.

    >>> import numpy as np, logistack as ls
    >>> params = params_of({"0.weight": np.ones((1, 2), "f"), "0.bias": np.zeros(1, "f")})
    >>> print(ls.logits(params, np.array([2.0, 3.0])))
    [5.]
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            "state_dict: expected a mapping of names to tensors, as of model.state_dict(), got "
            f"{type(state_dict).__name__}"
        )
    arrays = {str(name): _array(name, tensor) for name, tensor in state_dict.items()}
    for name, array in arrays.items():
        safetensors.require_dtype("state_dict", name, array.dtype)
        require_width(name, array.dtype, "state_dict")
    return _params_in("state_dict", arrays)


def save(
    path: str | os.PathLike[str], params: Params | list[Params], *, members: bool = False
) -> None:
    """Writes parameters to a safetensors file by PyTorch's names; needs no PyTorch.

    `model.load_state_dict(safetensors.torch.load_file(path))` reads it, with a model as
    `state_dict` describes it. An interrupted write leaves the old file.

    Args:
        path: the file to write or to replace.
        params: what `state_dict` takes. That layers were in a stack is kept as metadata.
        members: whether the arrays have a leading member axis.

    Raises:
        ValueError: if the shapes of the parameters do not match, there is no network, `members` is
            true of a list, or `path` is a URL.
        TypeError: if `params` is not what `state_dict` takes, or has another dtype than float16,
            bfloat16, float32 or float64.
        OSError: if the file cannot be written.
        ModuleNotFoundError: if safetensors is not installed.

    >>> import jax, logistack as ls, tempfile, pathlib
    >>> keys = jax.random.split(jax.random.key(0), 5)
    >>> five = jax.vmap(lambda key: ls.init_params(key, (3, 2, 1)))(keys)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "five.safetensors")
    ...     save(path, five, members=True)
    ...     [layer.weight.shape for layer in load(path)]
    [(5, 2, 3), (5, 1, 2)]

    Source: https://huggingface.co/docs/safetensors, the format.
    """
    arrays, depths = _named(params, members)
    # Of one entry at most: safetensors writes several in any order.
    stacked = any(map(any, depths if is_committee(params) else [depths]))
    safetensors.write(path, arrays, {"depths": json.dumps(depths)} if stacked else None)


def load(path: str | os.PathLike[str]) -> Params | list[Params]:
    """Reads parameters that `save` wrote, bit for bit, or that PyTorch wrote by the same names.

    As with `params_of`, the activations of the model have to be `Sigmoid`; the file does not say.

    Args:
        path: the file to read.

    Returns:
        A tuple of `Layer`, or a list of such tuples: what `save` was given.

    Raises:
        ValueError: if the file is truncated, is not a safetensors file, holds other tensors than
            `params_of` takes, or holds float64 while JAX has 64-bit numbers disabled; or if `path`
            is a URL.
        TypeError: if a tensor has another dtype than those `save` takes.
        FileNotFoundError: if the file does not exist.
        ModuleNotFoundError: if safetensors is not installed.

    >>> import numpy, safetensors.numpy, logistack as ls, tempfile, pathlib
    >>> unit = {"0.weight": numpy.ones((1, 2), "f"), "0.bias": numpy.zeros(1, "f")}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "unit.safetensors")
    ...     safetensors.numpy.save_file(unit, path)
    ...     print(ls.forward(load(path), numpy.zeros(2)))
    [0.5]
    """
    arrays, metadata = safetensors.read(path)
    return _params_in(f"path: {os.fspath(path)}", arrays, metadata.get("depths"))


def _named(params: Any, members: bool) -> tuple[dict[str, np.ndarray], list[Any]]:
    """Arrays by PyTorch's names, and of each `Layer` the depth of its stack, 0 for one layer."""
    if not is_committee(params):
        return _named_layers(params, members)
    if members or not params:
        wrong = "none" if not params else "a list of networks, each a member by itself"
        raise ValueError(f"params: expected networks with a leading member axis, got {wrong}")
    each = [
        _named_layers(network, members, f"params[{place}]") for place, network in enumerate(params)
    ]
    arrays = {
        f"{place}.{name}": array
        for place, (own, _) in enumerate(each)
        for name, array in own.items()
    }
    return arrays, [depths for _, depths in each]


def _named_layers(
    params: Any, members: bool, name: str = "params"
) -> tuple[dict[str, np.ndarray], list[int]]:
    if members:
        params = require_tree(params)
        require_params(jax.tree.map(lambda array: array[0], params), name=name)
    else:
        require_params(params, name=name)
    axis = int(members)  # of the depth of a stack
    depths = [layer.weight.shape[axis] if layer.bias.ndim == axis + 2 else 0 for layer in params]
    layers = single_layers(params, axis)
    arrays = {
        name: np.ascontiguousarray(part, part.dtype.newbyteorder("="))
        for pair, layer in zip(_pairs(len(layers)), layers, strict=True)
        for name, part in zip(pair, layer, strict=True)
    }
    return arrays, depths


def _pairs(depth: int) -> list[tuple[str, str]]:
    """The names of each layer's weight and bias: a Sigmoid lies between any two layers."""
    return [(f"{2 * place}.weight", f"{2 * place}.bias") for place in range(depth)]


def _array(name: str, tensor: Any) -> np.ndarray:
    """A copy of a tensor, which training goes on to change."""
    if isinstance(tensor, np.ndarray | jax.Array):
        return np.array(tensor, tensor.dtype.newbyteorder("="))
    try:
        tensor = tensor.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":
            return tensor.float().numpy().astype(jnp.bfloat16)
        return np.array(tensor.numpy())
    except (AttributeError, TypeError, RuntimeError) as error:  # it is sparse, or has no values
        raise TypeError(
            f"state_dict: expected a tensor of numbers for {name}, got {type(tensor).__name__}"
        ) from error


def _params_in(
    name: str, arrays: Mapping[str, np.ndarray], depths: str | None = None
) -> Params | list[Params]:
    """Makes parameters of arrays by name, joining to stacks what was in stacks."""
    by_member: dict[str, dict[str, np.ndarray]] = {}
    for own, array in arrays.items():
        member, _, rest = own.partition(".")
        by_member.setdefault(member, {})[rest] = array
    places = [str(place) for place in range(len(by_member))]
    nested = set(by_member) == set(places) and {own.count(".") for own in arrays} == {2}
    parts = [(f"{place}.", by_member[place]) for place in places] if nested else [("", arrays)]
    networks = [_layers(name, prefix, own) for prefix, own in parts]
    if depths is not None:
        try:
            each = json.loads(depths)
            pairs = zip(networks, each if nested else [each], strict=True)
            networks = [_joined(network, own) for network, own in pairs]
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name}: expected depths of its stacks, got {depths}") from error
    found = [tuple(Layer(*map(jnp.asarray, layer)) for layer in network) for network in networks]
    return found if nested else found[0]


def _layers(name: str, prefix: str, arrays: Mapping[str, np.ndarray]) -> list[Layer]:
    """The layers of one network, first to last, checked."""
    pairs = _pairs((len(arrays) + 1) // 2)
    if not arrays or set(arrays) != set(itertools.chain(*pairs)):
        got = ", ".join([f"{prefix}{own}" for own in arrays][:12]) or "none"
        raise ValueError(
            f"{name}: expected {prefix}0.weight, {prefix}0.bias, {prefix}2.weight, "
            f"{prefix}2.bias, … and no others, as of Sequential(Linear, Sigmoid, …, Linear), got "
            f"{got}{', …' * (len(arrays) > 12)}"
        )
    layers = [Layer(arrays[weight], arrays[bias]) for weight, bias in pairs]  # type: ignore
    first = layers[0].weight
    members = first.shape[:1] if first.ndim == 3 else ()
    inputs: tuple[Any, ...] = ("in",)
    for (own, own_bias), (weight, bias) in zip(pairs, layers, strict=True):
        *lead, _, given = weight.shape if weight.ndim in (2, 3) and weight.size else [None] * 3
        if (*lead,) != members or inputs not in (("in",), (given,)):
            expected = ", ".join(map(str, (*members, "out", *inputs)))
            raise ValueError(
                f"{name}: expected {prefix}{own} of shape ({expected}), got {weight.shape}"
            )
        if bias.shape != weight.shape[:-1]:
            raise ValueError(
                f"{name}: expected {prefix}{own_bias} of shape {weight.shape[:-1]}, got "
                f"{bias.shape}"
            )
        for part, array in ((own, weight), (own_bias, bias)):
            if array.dtype != first.dtype:
                raise TypeError(
                    f"{name}: expected {first.dtype}, as the first, got {array.dtype} for "
                    f"{prefix}{part}"
                )
        inputs = weight.shape[-2:-1]
    return layers


def _joined(layers: list[Layer], depths: Iterable[int]) -> list[Layer]:
    """The layers with runs of them stacked, along the axis after that of members."""
    axis = layers[0].bias.ndim - 1
    rest = iter(layers)
    joined = []
    for depth in depths:
        own = list(itertools.islice(rest, depth or 1))
        stack = Layer(*(np.stack(parts, axis) for parts in zip(*own, strict=True)))  # type: ignore
        if depth and (len(own) < depth or stack.weight.shape[-1] != stack.weight.shape[-2]):
            raise ValueError("expected square layers, as many as there are")
        joined.append(stack if depth else own[0])
    if next(rest, None) is not None:
        raise ValueError("expected all layers")
    return joined
