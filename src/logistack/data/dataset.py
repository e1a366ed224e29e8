"""Data sets of handwritten digits by name, one form for all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float32, Int32
from numpy.typing import NDArray

from logistack._checks import import_extra
from logistack.data.files import File, digest, obtain, require_digest
from logistack.data.readers import read_idx, read_semeion, read_usps


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and their classes, one sample a row.

    Attributes:
        name: what `load` calls it.
        inputs: pixels `(n, features)`, float32 from 0 (paper) to 1 (ink), row by row from the
            top left.
        targets: one-hot rows `(n, classes)`, float32.
        labels: the classes as integers `(n,)`, int32.
        image_shape: rows and columns of pixels: `inputs[i].reshape(image_shape)` is a picture.
        classes: the name of each class.
    """

    name: str
    inputs: Float32[np.ndarray, "n features"]
    targets: Float32[np.ndarray, "n classes"]
    labels: Int32[np.ndarray, " n"]
    image_shape: tuple[int, int]
    classes: tuple[str, ...]


def load(name: str, *, split: str | None = None, seed: int = 0) -> Dataset:
    """Loads a data set by name, from files whose digests are checked.

    - `"digits"`: 1,797 images of 8×8, which come with scikit-learn.
    - `"digits16"`: the same at 16×16, by Catmull-Rom cubic interpolation, the edge repeated
      beyond itself, clipped to 0 … 1. It keeps strokes as dark as they are, and is exact in
      float32.
    - `"semeion"`: 1,593 binary images of 16×16.
    - `"usps"`: 7,291 + 2,007 images of 16×16.
    - `"mnist"`: 60,000 + 10,000 images of 28×28.

    If the environment variable `LOGISTACK_DATA` is set, files come from the folder that it names,
    and from nowhere else. Otherwise Pooch downloads them from their publishers, says so, and keeps
    them in its cache for `"logistack"`.

    Args:
        name: one of the names above.
        split: `"train"`, `"test"`, or None for both, train first where the split is official.
            USPS and MNIST have official splits. Of the others, one fifth of each class, to the
            nearest sample, is for the test, chosen by `seed`; rows keep the order of the file.
        seed: a whole number from 0; it has no effect where the split is official. The same seed
            gives the same split on every machine, and `"digits"` and `"digits16"` the same rows.

    Returns:
        A `Dataset` of fresh arrays.

    Raises:
        ValueError: if the name or split is unknown, the seed is negative, or a file is not the one
            that its publisher made.
        TypeError: if the seed is not an integer.
        FileNotFoundError: if `LOGISTACK_DATA` is set and a file is not there.
        ModuleNotFoundError: if scikit-learn or Pooch is needed and not installed.
        OSError: if a file cannot be read, or not be downloaded.

    Sources: Alpaydin & Kaynak 1998 (digits); Tactile Srl, Brescia, 1994 (Semeion); Hastie,
    Tibshirani & Friedman, The Elements of Statistical Learning (USPS); LeCun, Cortes & Burges
    (MNIST).

    >>> digits = load("digits", split="test")
    >>> digits.inputs.shape, digits.targets.shape, digits.image_shape
    ((359, 64), (359, 10), (8, 8))
    """
    if name not in _SOURCES:
        raise ValueError(f"name: expected one of {sorted(_SOURCES)}, got {name!r}")
    if split not in (None, "train", "test"):
        raise ValueError(f"split: expected None, 'train' or 'test', got {split!r}")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed: expected an integer, got {seed!r}")
    if seed < 0:
        raise ValueError(f"seed: expected a whole number from 0, got {seed}")
    source = _SOURCES[name]
    official = len(source.parts) > 1
    parts = [part for part in source.parts if not official or split in (None, part)]
    samples = [source.parts[part]() for part in parts]
    pixels, labels = map(np.concatenate, zip(*samples, strict=True))
    if split and not official:
        rows = _held_out(labels, seed) == (split == "test")
        pixels, labels = pixels[rows], labels[rows]
    paper, ink = source.span
    inputs = pixels.reshape(len(pixels), -1).astype(np.float32)
    inputs -= paper
    inputs /= ink - paper
    return Dataset(
        name=name,
        inputs=inputs,
        targets=np.eye(len(source.classes), dtype=np.float32)[labels],
        labels=labels.astype(np.int32),
        image_shape=source.image_shape,
        classes=source.classes,
    )


Samples: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
Read: TypeAlias = Callable[[], Samples]


class _Source(NamedTuple):
    """Where a set comes from: a reader of pixels and labels for each official part, or for all."""

    parts: Mapping[str, Read]
    image_shape: tuple[int, int]
    span: tuple[float, float]  # the values of paper and of ink
    classes: tuple[str, ...] = tuple("0123456789")


def _semeion(sha256: str) -> Read:
    """The one file of Semeion."""
    url = "https://archive.ics.uci.edu/ml/machine-learning-databases/semeion/semeion.data"
    return _files(File("semeion/semeion.data", url, read_semeion, sha256))


def _usps(part: str, sha256: str) -> Read:
    """One of the two files of USPS, known by its numbers."""
    url = f"https://hastie.su.domains/ElemStatLearn/datasets/zip.{part}.gz"
    return _files(File(f"usps/zip.{part}.gz", url, read_usps, sha256, decoded=True))


def _mnist(part: str, images: str, labels: str) -> Read:
    """One of the two pairs of files of MNIST."""

    def file(name: str, sha256: str) -> File:
        url = f"https://storage.googleapis.com/cvdf-datasets/mnist/{name}"
        return File(f"mnist/{name}", url, lambda path: (read_idx(path),), sha256)

    return _files(
        file(f"{part}-images-idx3-ubyte.gz", images), file(f"{part}-labels-idx1-ubyte.gz", labels)
    )


def _files(*files: File) -> Read:
    """Reads pixels and labels from one file that holds both, or from one each."""

    def read() -> Samples:
        pixels, labels = (array for file in files for array in obtain(file))
        return pixels, labels

    return read


def _digits() -> Samples:
    bundled = import_extra("sklearn.datasets", "data").load_digits()
    samples = bundled.data.astype(np.uint8), bundled.target.astype(np.int32)
    expected = "fe61bc84cd6a594d5ed1b937b7d8f8f791d4091d2a9df91fe5d6066156a4db6e"
    require_digest(
        "scikit-learn's digits, pixels as uint8, labels as int32", digest(samples), expected
    )
    return samples


def _digits16() -> Samples:
    pixels, labels = _digits()
    return _double(pixels.reshape(-1, 8, 8)).clip(0, 16), labels


def _double(images: NDArray[Any]) -> NDArray[Any]:
    """Doubles height and width by cubic interpolation, the edge repeated beyond itself."""
    for axis in (1, 2):
        last = images.shape[axis] - 1
        fine = np.arange(2 * last + 2)
        toward = np.where(fine % 2, 1, -1)  # each new pixel lies a quarter off an old one
        images = sum(
            weight / 128 * images.take(np.clip(fine // 2 + step * toward, 0, last), axis)
            for step, weight in ((-1, -9), (0, 111), (1, 29), (2, -3))
        )
    return images


def _held_out(labels: NDArray[Any], seed: int) -> NDArray[np.bool_]:
    """Marks one fifth of each class, to the nearest sample, for the test."""
    # NumPy keeps the raw bits of a bit generator the same in every version, but no permutation.
    draws = np.random.PCG64(seed).random_raw(len(labels))
    held_out = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = members[np.argsort(draws[members], kind="stable")]
        held_out[order[: round(len(members) / 5)]] = True
    return held_out


_SOURCES: dict[str, _Source] = {
    "digits": _Source({"all": _digits}, (8, 8), (0, 16)),
    "digits16": _Source({"all": _digits16}, (16, 16), (0, 16)),
    "semeion": _Source(
        {"all": _semeion("f43228ae3da5ea6a3c95069d53450b86166770e3b719dcc333182128fe08d4b1")},
        (16, 16),
        (0, 1),
    ),
    "usps": _Source(
        {
            "train": _usps(
                "train", "4bb335930d866f49389c89c3187db883539b94f339534b2cec7e437a70013480"
            ),
            "test": _usps(
                "test", "9b820bf496e41b50276df711338c52f899ffc0d63a06d09ff82b405d456381dc"
            ),
        },
        (16, 16),
        (-1, 1),
    ),
    "mnist": _Source(
        {
            "train": _mnist(
                "train",
                images="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                labels="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            "test": _mnist(
                "t10k",
                images="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                labels="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        },
        (28, 28),
        (0, 255),
    ),
}
