"""A lock on a folder, for one writer at a time, that ends with its process."""

import contextlib
import json
import os
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from logistack._files import writing_to

if sys.platform != "win32":
    import fcntl

_NAME = "logistack.lock"
_held: dict[Path, tuple[int, int]] = {}  # by folder: the file, and the thread that holds it


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder, which is made if it is not there, against other processes and threads.

    The thread that holds a folder may take it again. The lock is the operating system's, on a
    file that is there while it is held: when the process ends, however it ends, so does the lock.
    Windows has no such lock, and none is taken there.

    Raises:
        BlockingIOError: if another process or thread holds the folder, saying which.
        FileExistsError: if a file of the lock's name is there that is no lock.
        OSError: if the folder cannot be written to.
    """
    with writing_to("path", folder):
        folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    mine = threading.get_ident()
    if sys.platform == "win32" or _held.get(folder, (0, 0))[1] == mine:
        yield
        return
    path = folder / _NAME
    file = _take(path)
    if not _is_ours(file):
        os.close(file)
        raise FileExistsError(f"path: expected no other file of the lock's name, got {path}")
    _held[folder] = file, mine
    try:
        os.ftruncate(file, 0)
        holder = {"process": os.getpid(), "host": socket.gethostname()}
        os.write(file, json.dumps(holder).encode())
        yield
    finally:
        if _held.pop(folder, None) is not None:  # None in a process that was forked meanwhile
            # The name goes first: who opened the file before sees that it is no longer there.
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(file)


def _take(path: Path) -> int:
    """The open lock file, locked."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        with writing_to("path", path.parent):
            file = os.open(path, flags, 0o666)
        try:
            with contextlib.suppress(FileNotFoundError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file), os.stat(path)):
                    return file
        except BlockingIOError:
            message = (
                f"path: expected a folder that no other run writes to, got {path.parent}, which "
                f"{_holder(file) or 'another process'} is writing to"
            )
            os.close(file)
            raise BlockingIOError(message) from None
        except OSError:  # a file system without locks
            return file
        os.close(file)  # its holder has removed it since it was opened


def _is_ours(file: int) -> bool:
    """Whether it is a lock: a regular file that is new, or says whose it is or was."""
    state = os.fstat(file)
    return stat.S_ISREG(state.st_mode) and (state.st_size == 0 or _holder(file) is not None)


def _holder(file: int) -> str | None:
    try:
        said = json.loads(os.pread(file, 4096, 0))
        return f"process {said['process']} on {said['host']}"
    except (ValueError, KeyError, TypeError):
        return None


def _forget() -> None:
    """Leaves the locks to the process that this one was forked from."""
    for file, _ in _held.values():
        os.close(file)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
