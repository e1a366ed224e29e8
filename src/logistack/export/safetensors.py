"""Parameters as a safetensors file: one tensor for each weight and each bias."""

import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from logistack import _checks, _files
from logistack.export._tensors import named, params_of, require_width
from logistack.layers import Params

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
    write(path, named(params))


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
    return params_of(path, read(path)[0])


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes parameters by any names, and words about them."""
    for name, tensor in tensors.items():
        require_dtype("params", name, tensor.dtype)
    library = _checks.import_extra("safetensors.numpy", "export")
    _files.write_whole(path, library.save(tensors, metadata))


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads parameters and words that `write` wrote, or others that JAX can hold."""
    path = _files.local_path("path", path)
    library = _checks.import_extra("safetensors", "export")
    try:
        with library.safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            for name in names:
                stored = file.get_slice(name).get_dtype()
                require_dtype("path", name, DTYPES.get(stored, stored))
                require_width(name, DTYPES[stored])
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except library.SafetensorError as error:
        raise ValueError(f"path: expected a safetensors file, got {path}: {error}") from error


def require_dtype(argument: str, name: str, dtype: Any) -> None:
    """Raises TypeError for a dtype that readers of such files may not have."""
    if dtype not in DTYPES.values():
        raise TypeError(
            f"{argument}: expected float16, bfloat16, float32 or float64, got {dtype} for {name}"
        )
