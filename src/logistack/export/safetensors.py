"""Parameters as a safetensors file: one tensor for each weight and each bias."""

import os
from pathlib import Path

import numpy as np

from logistack import _checks, _files
from logistack.layers import Layer, Params, require_params


def save(path: str | os.PathLike[str], params: Params) -> None:
    """Writes parameters to a safetensors file, whole or not at all.

    The tensors are named `layers.0.weight`, `layers.0.bias`, `layers.1.weight`, ….

    Args:
        path: the file; one that is there is replaced.
        params: a tuple of `Layer`.

    Raises:
        ValueError: if the shapes of the parameters do not fit.
        TypeError: if `params` is not a tuple of `Layer`.
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
    params = require_params(params)
    tensors = {
        f"layers.{index}.{part}": np.asarray(array)
        for index, layer in enumerate(params)
        for part, array in layer._asdict().items()
    }
    library = _checks.import_extra("safetensors.numpy", "export")
    _files.write_whole(path, library.save(tensors))


def load(path: str | os.PathLike[str]) -> Params:
    """Reads parameters that `save` wrote.

    Args:
        path: the file.

    Returns:
        A tuple of `Layer`.

    Raises:
        ValueError: if the file is truncated, is no safetensors file, or holds another structure.
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: if safetensors is not installed.
    """
    library = _checks.import_extra("safetensors", "export")
    try:
        with library.safe_open(Path(path), framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except library.SafetensorError as error:
        raise ValueError(
            f"path: expected a safetensors file, but {path} is none: {error}"
        ) from error
    depth = len(tensors) // 2
    wanted = {f"layers.{index}.{part}" for index in range(depth) for part in Layer._fields}
    if not tensors or set(tensors) != wanted:
        raise ValueError(
            f"path: expected tensors layers.0.weight, layers.0.bias, …, but {path} has "
            f"{sorted(tensors)}"
        )
    params = tuple(
        Layer(*(tensors[f"layers.{index}.{part}"] for part in Layer._fields))
        for index in range(depth)
    )
    return require_params(params, name=str(path))
