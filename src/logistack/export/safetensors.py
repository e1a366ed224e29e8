"""Parameters as a safetensors file: one tensor for each weight and each bias."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from logistack import _checks, _files
from logistack.layers import Layer, Params, require_params

# What safetensors calls the floating dtypes that every reader of its files has.
DTYPES = {"F16": jnp.float16, "BF16": jnp.bfloat16, "F32": jnp.float32, "F64": jnp.float64}


def save(path: str | os.PathLike[str], params: Params) -> None:
    """Writes parameters to a safetensors file; an interrupted write leaves the old file.

    The tensors are named `layers.0.weight`, `layers.0.bias`, `layers.1.weight`, …, and keep the
    dtype that they are given in.

    Args:
        path: the file to write or to replace.
        params: a tuple of `Layer` of float16, bfloat16, float32 or float64.

    Raises:
        ValueError: if the shapes of the parameters do not match.
        TypeError: if `params` is not a tuple of `Layer`, or has another dtype.
        ModuleNotFoundError: if safetensors is not installed.

    >>> import jax, logistack as ls, tempfile, pathlib
    >>> params = ls.init_params(jax.random.key(0), (3, 2, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "params.safetensors")
    ...     save(path, params)
    ...     [layer.weight.shape for layer in load(path)]
    [(2, 3), (1, 2)]

    Source: https://huggingface.co/docs/safetensors, the format.
    """
    require_params(params)
    # As given, not as JAX holds it: without 64-bit numbers it would round NumPy's float64.
    tensors = {
        f"layers.{index}.{part}": np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        for index, layer in enumerate(params)
        for part, array in layer._asdict().items()
    }
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES.values():
            raise _wrong_dtype("params", name, tensor.dtype)
    library = _checks.import_extra("safetensors.numpy", "export")
    _files.write_whole(path, library.save(tensors))


def load(path: str | os.PathLike[str]) -> Params:
    """Reads parameters that `save` wrote, bit for bit.

    Args:
        path: the file to read.

    Returns:
        A tuple of `Layer`.

    Raises:
        ValueError: if the file is truncated, is not a safetensors file, holds other tensors, or
            holds float64 while JAX has 64-bit numbers disabled; or if `path` is a URL.
        TypeError: if a tensor has another dtype than those `save` takes.
        FileNotFoundError: if the file does not exist.
        ModuleNotFoundError: if safetensors is not installed.
    """
    path = _files.local_path("path", path)
    library = _checks.import_extra("safetensors", "export")
    try:
        with library.safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            for name in names:
                _require_dtype(name, file.get_slice(name).get_dtype())
            tensors = {name: file.get_tensor(name) for name in names}
    except library.SafetensorError as error:
        raise ValueError(f"path: expected a safetensors file, got {path}: {error}") from error
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


def _require_dtype(name: str, stored: str) -> None:
    if stored not in DTYPES:
        raise _wrong_dtype("path", name, stored)
    if jax.dtypes.canonicalize_dtype(DTYPES[stored]) != DTYPES[stored]:
        raise ValueError(
            f"path: {name} is float64, which needs 64-bit numbers: "
            "jax.config.update('jax_enable_x64', True)"
        )


def _wrong_dtype(argument: str, name: str, dtype: Any) -> TypeError:
    return TypeError(
        f"{argument}: expected float16, bfloat16, float32 or float64, got {dtype} for {name}"
    )
