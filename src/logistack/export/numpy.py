"""Parameters as one of NumPy's .npz files, and classifiers as modules that need NumPy alone."""

import importlib.resources
import io
import os
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from logistack import _files
from logistack.export._tensors import named, params_of, require_width
from logistack.layers import Params

if TYPE_CHECKING:
    from logistack.classifier import Classifier


def save(path: str | os.PathLike[str], params: Params) -> None:
    """Writes parameters to an .npz file; an interrupted write leaves the old file.

    The arrays are named `layers.0.weight`, `layers.0.bias`, `layers.1.weight`, …, and keep the
    dtype that they are given in. `numpy.load` reads them.

    Args:
        path: the file to write or to replace, under this name as it is.
        params: a tuple of `Layer` of float16, float32 or float64.

    Raises:
        ValueError: if the shapes of the parameters do not match, or `path` is a URL.
        TypeError: if `params` is not a tuple of `Layer`, or has another dtype.
        OSError: if the file cannot be written.

    >>> import jax, logistack as ls, tempfile, pathlib
    >>> params = ls.init_params(jax.random.key(0), (3, 2, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "params.npz")
    ...     save(path, params)
    ...     [layer.weight.shape for layer in load(path)]
    [(2, 3), (1, 2)]

    Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, the format.
    """
    write(path, named(params))


def load(path: str | os.PathLike[str]) -> Params:
    """Reads parameters that `save` wrote, bit for bit.

    Args:
        path: the file to read.

    Returns:
        A tuple of `Layer`.

    Raises:
        ValueError: if the file is truncated or damaged, is not one that `save` wrote, or holds
            float64 while JAX has 64-bit numbers disabled.
        TypeError: if an array has another dtype than those `save` takes.
        FileNotFoundError: if the file does not exist.

    >>> import jax, numpy, logistack as ls, tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "params.npz")
    ...     numpy.savez(path, **{"layers.0.weight": [[0.5, 2.0]], "layers.0.bias": [1.0]})
    ...     with jax.enable_x64(True):  # which NumPy's numbers are
    ...         ls.forward(load(path), numpy.array([0.0, -0.5]))
    Array([0.5], dtype=float64)
    """
    return read_params(path, read(path))


def save_module(path: str | os.PathLike[str], classifier: "Classifier") -> None:
    """Writes a module that predicts as a classifier does, without logistack and without JAX.

    It is a page of NumPy, the same for every classifier, with two functions: `predict(rows)` and
    `predict_proba(rows)`, of rows of features as they were given to the training. What was learned
    is written beside it, to a file of the same name that ends in .npz, which `Classifier.save`
    writes and `ls.load_classifier` reads. The two files go together to wherever they are used.

    Probabilities are those of `Classifier.probabilities`, computed in float64 from the parameters
    as they are: the two differ by what JAX rounds, in float32 less than 1e-6 for a few layers.

    Args:
        path: the module to write or to replace, a name that ends in .py.
        classifier: what `ls.fit_classifier` makes: one network, or a committee.

    Raises:
        ValueError: if `path` does not end in .py, or is a URL.
        TypeError: if `classifier` is not a `Classifier`, or its parameters are bfloat16, which an
            .npz file cannot hold.
        OSError: if a file cannot be written.

    >>> import importlib.util, jax, logistack as ls, optax, pathlib, tempfile
    >>> fitted = ls.fit_classifier(
    ...     jax.random.key(0), [[0.0], [1.0], [2.0], [3.0]], ["low", "low", "high", "high"],
    ...     hidden=(), optimizer=optax.sgd(0.1), epochs=100, test=0,
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.py")
    ...     save_module(path, fitted.classifier)
    ...     print(sorted(file.name for file in path.parent.iterdir()))
    ...     spec = importlib.util.spec_from_file_location("model", path)
    ...     model = importlib.util.module_from_spec(spec)  # elsewhere: import model
    ...     spec.loader.exec_module(model)
    ...     print(model.predict([[0.5], [2.5]]))
    ['model.npz', 'model.py']
    ['low' 'high']
    """
    from logistack.classifier import Classifier  # which needs this room

    path = _files.local_path("path", path)
    if path.suffix != ".py":
        raise ValueError(f"path: expected a name that ends in .py, got {path}")
    if not isinstance(classifier, Classifier):
        raise TypeError(f"classifier: expected a Classifier, got {type(classifier).__name__}")
    # In this order, so that a module that is there has what it needs.
    classifier.save(path.with_suffix(".npz"))
    text = importlib.resources.files("logistack.export").joinpath("_predictor.py").read_bytes()
    _files.write_whole(path, text)


def write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes parameters, and other arrays of numbers or text beside them."""
    for name, array in arrays.items():
        if "layers." in name:
            _require_dtype("params", name, array.dtype)
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    _files.write_whole(path, content.getvalue())


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads the arrays that `write` wrote: in memory of the size of the file, and no pickle."""
    try:
        with zipfile.ZipFile(_files.local_path("path", path)) as file:
            members = file.infolist()
            for member in members:
                # `write` compresses nothing, and what is compressed can be of any size.
                if member.compress_type != zipfile.ZIP_STORED or not member.filename.endswith(
                    ".npy"
                ):
                    raise ValueError(f"it has a member {member.filename!r}")
            return {m.filename.removesuffix(".npy"): _array(file.read(m)) for m in members}
    except (ValueError, EOFError, SyntaxError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(
            f"path: expected an .npz file of logistack, got {path}: {error}"
        ) from error


def read_params(path: Any, arrays: Mapping[str, np.ndarray]) -> Params:
    """Makes parameters of the arrays of a file, which are checked."""
    for name, array in arrays.items():
        _require_dtype("path", name, array.dtype)
        require_width(name, array.dtype)
    return params_of(path, arrays)


def _array(content: bytes) -> np.ndarray:
    """An array of exactly as many bytes as its header claims."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array is of another version of the format")
    shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
    values = content[file.tell() :]
    if dtype.hasobject:
        raise ValueError("an array has Python's objects")
    array = np.frombuffer(values, dtype).reshape(shape, order="F" if by_column else "C")
    return array.copy()


def _require_dtype(argument: str, name: str, dtype: Any) -> None:
    if dtype not in (np.float16, np.float32, np.float64):
        raise TypeError(
            f"{argument}: expected float16, float32 or float64, got {dtype} for {name}; "
            "export.safetensors has bfloat16 as well"
        )
