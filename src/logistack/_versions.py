"""Folders of numbered versions: which of what is there is ours, and which names are free."""

import contextlib
import os
import re
from pathlib import Path

# How every manifest begins, and the one of a version that is being made.
_OURS = re.compile(rb'\{"content": \{"format": [0-9]{1,9}, "leaves": \{')
_BEING_MADE = b'{"content": {"format": 0, "leaves": {}}}'
UNFINISHED = ".unfinished"  # the end of the name of what is being written, or being removed

# The name of a folder that has nothing but a manifest of ours, or not yet, or not any more. So a
# folder of any other name is ours by its manifest alone, whenever a process is killed.
_MARKED = ".logistack"


def make(folder: Path) -> None:
    """Makes a folder that is ours from the start."""
    marked = folder.with_name(_MARKED)
    marked.mkdir()
    (marked / "manifest.json").write_bytes(_BEING_MADE)
    os.rename(marked, folder)


def remove(folder: Path) -> None:
    """Removes a folder of ours that has nothing but its manifest."""
    os.rename(folder, folder.with_name(_MARKED))
    remove_marked(folder.parent)


def remove_marked(parent: Path) -> None:
    """Removes what a killed process left of `make` or `remove`."""
    marked = parent / _MARKED
    if marked.is_symlink():
        return
    manifest = marked / "manifest.json"
    if is_ours(marked) or (manifest.is_file() and not manifest.stat().st_size):
        manifest.unlink()
    with contextlib.suppress(OSError):  # it is not there, is a file, or has what is not ours
        marked.rmdir()


def numbers(folder: Path) -> list[int]:
    """The numbers that folders have for names."""
    try:
        names = [entry.name for entry in folder.iterdir() if entry.is_dir()]
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if re.fullmatch("[1-9][0-9]*", name))


def is_ours(folder: Path) -> bool:
    """Whether a folder has a manifest as this module writes it, be it damaged further on."""
    try:
        with (folder / "manifest.json").open("rb") as file:
            return _OURS.match(file.read(64)) is not None
    except OSError:
        return False


def candidates(folder: Path) -> list[int]:
    """The versions, and what may have been one before it was damaged."""
    return [
        number
        for number in numbers(folder)
        if is_ours(folder / str(number)) or (folder / str(number) / "state").is_dir()
    ]


def free_number(folder: Path) -> int:
    """A number above all versions, whose names nobody has."""
    number = max(candidates(folder), default=0) + 1
    while any(os.path.lexists(folder / f"{number}{end}") for end in ("", UNFINISHED)):
        number += 1
    return number


def free_name(folder: Path, version: int) -> Path:
    """A name for a version that is to be removed."""
    name = folder / f"{version}{UNFINISHED}"
    while os.path.lexists(name):
        name = name.with_name(f"{version}.{name.name.removeprefix(f'{version}.')}")
    return name
