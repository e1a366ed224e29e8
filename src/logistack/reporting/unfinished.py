"""What is finished of a report, kept so that the same call goes on."""

import contextlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from logistack import _files
from logistack._checks import import_extra

NAMES = ("fold-*.npz", "asked.txt")


class Unfinished:
    """Arrays by name, in a folder that belongs to one question.

    Attributes:
        folder: where they are; None to keep nothing.
    """

    def __init__(self, folder: Path | None, *question: Any) -> None:
        """Begins, or goes on where the same question was asked; what is of another is removed."""
        self.folder = folder
        if folder is None:
            return
        asked = import_extra("joblib", "report").hash(question)
        try:
            same = (folder / "asked.txt").read_text(encoding="utf-8") == asked
        except (OSError, ValueError):
            same = False
        if not same:
            self.clear()
            _files.write_whole(folder / "asked.txt", asked.encode())

    def has(self, name: str) -> bool:
        """Whether arrays of a name are there."""
        return self.folder is not None and (self.folder / f"{name}.npz").exists()

    def kept(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of a name, made now if they are not there."""
        if self.folder is None:
            return make()
        path = self.folder / f"{name}.npz"
        broken = contextlib.suppress(OSError, ValueError, zipfile.BadZipFile)
        with broken, np.load(path, allow_pickle=False) as found:
            return dict(found)
        made = make()
        content = io.BytesIO()
        np.savez(content, **made)  # type: ignore[arg-type]
        _files.write_whole(path, content.getvalue())
        return made

    def clear(self) -> None:
        """Removes what was kept, and the folder if nothing else is in it."""
        if self.folder is None:
            return
        for pattern in NAMES:
            for path in self.folder.glob(pattern):
                path.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()
