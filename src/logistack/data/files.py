"""The publishers' files: found in a folder, or downloaded into a cache, and checked either way."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import NDArray

from logistack._checks import import_extra
from logistack._files import local_path

Arrays: TypeAlias = tuple[NDArray[Any], ...]


class File(NamedTuple):
    """A file, where it comes from, and how to tell that it is the right one.

    Attributes:
        path: where it lies in the folder that `LOGISTACK_DATA` names, and in the cache.
        url: where its publisher serves it.
        read: decodes it.
        sha256: the digest of its bytes; or, if `decoded`, of the arrays that `read` returns.
        decoded: for a file whose content is known, but not how its publisher compressed it.
    """

    path: str
    url: str
    read: Callable[[Path], Arrays]
    sha256: str
    decoded: bool = False


def obtain(file: File) -> Arrays:
    """Reads a file whose digest is right: from `LOGISTACK_DATA` if set, else from the cache.

    A file that the cache does not hold, or holds damaged, is downloaded.

    Raises:
        FileNotFoundError: if `LOGISTACK_DATA` is set and the file is not there.
        ValueError: if the file, or what the publisher sent, has another digest.
        ModuleNotFoundError: if Pooch is needed and not installed.
        OSError: if the file cannot be read, or not be downloaded.
    """
    folder = os.environ.get("LOGISTACK_DATA")
    if folder:
        path = local_path("LOGISTACK_DATA", folder) / file.path
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: expected this file in the folder that LOGISTACK_DATA names, got none; "
                f"without LOGISTACK_DATA it is downloaded from {file.url}"
            )
        return _read_checked(file, path)
    cache = Path(import_extra("pooch", "data").os_cache("logistack"))
    path = cache / file.path
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path}: expected a regular file or none, got something else")
    try:
        return _read_checked(file, path)
    except (FileNotFoundError, ValueError):
        path.unlink(missing_ok=True)
    _download(file, cache)
    return _read_checked(file, path)


def require_digest(name: object, found: str, expected: str) -> None:
    """Raises ValueError for another digest than the one expected."""
    if found != expected:
        raise ValueError(f"{name}: expected SHA-256 {expected}, got {found}")


def digest(arrays: Arrays) -> str:
    """The SHA-256 of arrays one after another, each in C order and little-endian, in its dtype."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return total.hexdigest()


def _read_checked(file: File, path: Path) -> Arrays:
    """The arrays of the file at `path`, which must have its digest."""
    if not file.decoded:
        with path.open("rb") as content:
            require_digest(path, hashlib.file_digest(content, "sha256").hexdigest(), file.sha256)
    arrays = file.read(path)
    if file.decoded:
        require_digest(f"{path}, decoded", digest(arrays), file.sha256)
    return arrays


def _download(file: File, cache: Path) -> None:
    """Fetches a file into the cache, where it appears whole and right or not at all."""
    pooch = import_extra("pooch", "data")

    # Pooch has this write to a temporary file, which it renames afterward, or deletes if this
    # raises. Its own check of digests knows none of decoded arrays.
    def fetch(url: str, output: str, _: Any) -> None:
        # Read whole, not streamed, so that a connection that fails is closed.
        pooch.HTTPDownloader(stream=False)(url, output, None)
        try:
            _read_checked(file, Path(output))
        except ValueError as error:
            raise ValueError(f"{url}: downloaded and thrown away: {error}") from error

    source = pooch.create(
        path=cache, base_url="", registry={file.path: None}, urls={file.path: file.url}
    )
    try:
        source.fetch(file.path, downloader=fetch)
    except OSError as error:
        error.add_note(
            f"To use a copy instead, save it as {file.path} in a folder, and set LOGISTACK_DATA "
            "to that folder."
        )
        raise
