"""Parameters as named arrays, layers.0.weight, layers.0.bias, …, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from logistack.layers import Layer, Params, require_params


def named(params: Params) -> dict[str, np.ndarray]:
    """Returns the arrays of parameters, which it checks, by name and as given.

    Not as JAX holds them: without 64-bit numbers it would round NumPy's float64.
    """
    require_params(params)
    return {
        f"layers.{index}.{part}": np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        for index, layer in enumerate(params)
        for part, array in layer._asdict().items()
    }


def single_layers(params: Params, axis: int = 0) -> list[Layer]:
    """Returns the layers as given, but of NumPy and one by one: a stack has them along `axis`."""
    layers = []
    for layer in params:
        parts: Any = [np.asarray(part) for part in layer]
        if layer.weight.ndim == axis + 3:
            rows = zip(*(np.moveaxis(part, axis, 0) for part in parts), strict=True)
            layers += [Layer(*row) for row in rows]
        else:
            layers.append(Layer(*parts))
    return layers


def params_of(path: Any, tensors: Mapping[str, Any]) -> Params:
    """Makes parameters of the arrays that a file has, raising ValueError for other names."""
    depth = len(tensors) // 2
    expected = {f"layers.{index}.{part}" for index in range(depth) for part in Layer._fields}
    if not tensors or set(tensors) != expected:
        raise ValueError(
            f"path: expected tensors layers.0.weight, layers.0.bias, …, but {path} has "
            f"{sorted(tensors)}"
        )
    params = tuple(
        Layer(*(tensors[f"layers.{index}.{part}"] for part in Layer._fields))
        for index in range(depth)
    )
    return require_params(params, name=str(path))


def require_width(name: str, dtype: Any, argument: str = "path") -> None:
    """Raises ValueError for float64 that JAX would round."""
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(
            f"{argument}: {name} is float64, which needs 64-bit numbers: "
            "jax.config.update('jax_enable_x64', True)"
        )
