"""A classifier as a module of Python that needs nothing but NumPy."""

import importlib.resources
import os
from typing import TYPE_CHECKING

from logistack import _files

if TYPE_CHECKING:
    from logistack.classifier import Classifier


def save(path: str | os.PathLike[str], classifier: "Classifier") -> None:
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
    ...     save(path, fitted.classifier)
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
