"""Files that are whole or absent."""

import contextlib
import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file as `whole` does, which has what it raises, of content that is there."""
    with whole(path) as file:
        file.write(content)


@contextlib.contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write, so that an interruption leaves the old one, or none, but never a part.

    The content goes to a temporary file in the same folder, which takes the name where the block
    ends without an error. Folders on the way are made. A symbolic link stays, and the file that it
    names is written; a pipe or a terminal takes the content as a program's output.

    Raises:
        ValueError: if `path` is a URL.
        OSError: with the path, if the file cannot be written, if `path` is anything else that is
            not a regular file, or if it is a pipe that nobody reads.
    """
    path = local_path("path", path)
    try:
        with _opened(path) as file:
            yield file
    except OSError as error:
        if error.errno and not error.filename:  # as of a full disk
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        # As readable as its neighbors; mkstemp makes files for their owner alone.
        umask = os.umask(0)
        os.umask(umask)
        mode = stat.S_IFREG | (0o666 & ~umask)
    if stat.S_ISREG(mode):
        with _replacing(Path(os.path.realpath(path)), stat.S_IMODE(mode)) as file:
            yield file
    elif stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        # Opened without waiting, a pipe that nobody reads is an error and not a standstill.
        handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        os.set_blocking(handle, True)
        with os.fdopen(handle, "wb") as file:
            yield file
    else:
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(code, "expected a file, got what cannot be written as one", os.fspath(path))


@contextlib.contextmanager
def _replacing(path: Path, mode: int) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def local_path(name: str, path: str | os.PathLike[str]) -> Path:
    """Returns a path in the file system of this machine, with `~` taken for the home folder.

    Raises:
        ValueError: naming the argument, if the path is empty or a URL, as of an object store,
            which would become a local folder of that name, or if there is no home folder.
        TypeError: naming the argument, if it is not a path.
    """
    try:
        text = os.fsdecode(path)
    except TypeError as error:
        raise TypeError(f"{name}: expected a path, got {path!r}") from error
    # A Path has made one slash of two.
    if not text or "\0" in text or re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        raise ValueError(f"{name}: expected a path in the local file system, got {text!r}")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{name}: expected a home folder for {text!r}, got none") from error


@contextlib.contextmanager
def writing_to(name: str, path: Path) -> Iterator[None]:
    """Names the argument, the path and the reason in what the file system raises."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        message = f"{name}: expected a place that can be written to, got {path}: {reason}"
        raise type(error)(message) from error
