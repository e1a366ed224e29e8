"""Tables of numbers that only grow, each in a file of its own, of which a reader takes a prefix.

The file is a line that says what it is, and then one record of fixed size a row. Whoever refers to
it keeps an entry: the name of the file, the columns, the number of rows, and the digest of all
bytes up to there. Rows that were written and never referred to are overwritten.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST_LINE = b"rows of a logistack checkpoint\n"
_NAME = "rows."
# By file: how many bytes it is the digest of. What was hashed once need not be read again.
_hashed: dict[Path, tuple[int, Any]] = {}


def require_rows(rows: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Returns columns by name, of one length and of real numbers.

    Raises:
        ValueError: if a column has no axis, or they are not of one length.
        TypeError: if a column is not of real numbers as NumPy has them.
    """
    columns = {name: np.asarray(column) for name, column in rows.items()}
    for name, column in columns.items():
        if column.dtype.kind not in "biuf" or not column.dtype.isbuiltin:
            raise TypeError(f"rows[{name!r}]: expected real numbers, got dtype {column.dtype}")
        if column.ndim == 0 or 0 in column.shape[1:]:
            raise ValueError(f"rows[{name!r}]: expected numbers in rows, got shape {column.shape}")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"rows: expected columns of one length, got {lengths}")
    return columns


def append(
    folder: Path,
    columns: Mapping[str, NDArray[Any]],
    before: Mapping[str, Any] | None,
    others: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """Adds rows after those of an entry and returns the entry of all.

    Args:
        folder: where the file is.
        columns: the new rows, as `require_rows` returns them.
        before: the entry whose rows come first; None for a new table.
        others: every entry that must stay readable.

    Raises:
        ValueError: if the columns are not those of the rows before, or these are damaged.
    """
    kinds = {name: [c.dtype.newbyteorder("<").str, [*c.shape[1:]]] for name, c in columns.items()}
    if before is not None and before["columns"] != kinds:
        raise ValueError(f"rows: expected columns {before['columns']}, got {kinds}")
    count = len(next(iter(columns.values())))
    table = np.empty(count, _record(kinds))
    for place, column in enumerate(columns.values()):
        table[f"f{place}"] = column
    content = table.tobytes()
    if before is not None:
        count += before["rows"]
        if any(e["file"] == before["file"] and e["rows"] > before["rows"] for e in others):
            # Another version has other rows after these: they go on in a file of their own.
            content, before = _prefix(folder, before)[len(_FIRST_LINE) :] + content, None
    if before is None:
        path, length, hashed = _new_file(folder), len(_FIRST_LINE), hashlib.sha256(_FIRST_LINE)
    else:
        path, length = folder / before["file"], _length(before)
        known, hashed = _hashed.get(path, (0, hashlib.sha256()))
        if known != length or hashed.hexdigest() != before["digest"]:
            hashed = hashlib.sha256(_prefix(folder, before))
    with path.open("r+b") as file:
        file.truncate(length)
        file.seek(length)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    hashed.update(content)
    _hashed[path] = length + len(content), hashed
    return {"file": path.name, "columns": kinds, "rows": count, "digest": hashed.hexdigest()}


def read(folder: Path, entry: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The columns of an entry.

    Raises:
        ValueError: if the rows are not those that were written.
        OSError: if the file cannot be read.
    """
    content = _prefix(folder, entry)
    table = np.frombuffer(content, _record(entry["columns"]), offset=len(_FIRST_LINE))
    columns = (np.array(table[f"f{place}"]) for place in range(len(entry["columns"])))
    return {
        name: column.astype(column.dtype.newbyteorder("="))
        for name, column in zip(entry["columns"], columns, strict=True)
    }


def require_whole(folder: Path, entry: Mapping[str, Any]) -> None:
    """Refuses an entry whose rows are not those that were written."""
    _prefix(folder, entry)


def remove_unused(folder: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Removes the tables that no entry refers to."""
    used = {entry["file"] for entry in entries}
    for path in folder.glob(f"{_NAME}[1-9]*"):
        if path.name not in used and path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                ours = file.readline(len(_FIRST_LINE)) == _FIRST_LINE
            if ours:
                path.unlink()
                _hashed.pop(path, None)


def _record(kinds: Mapping[str, Any]) -> np.dtype[Any]:
    return np.dtype([(f"f{i}", d, tuple(shape)) for i, (d, shape) in enumerate(kinds.values())])


def _length(entry: Mapping[str, Any]) -> int:
    return len(_FIRST_LINE) + int(entry["rows"]) * _record(entry["columns"]).itemsize


def _prefix(folder: Path, entry: Mapping[str, Any]) -> bytes:
    with (folder / entry["file"]).open("rb") as file:
        content = file.read(_length(entry))
    if hashlib.sha256(content).hexdigest() != entry["digest"]:
        raise ValueError(f"{entry['file']} is not what was saved")
    return content


def _new_file(folder: Path) -> Path:
    number = 1
    while os.path.lexists(folder / f"{_NAME}{number}"):
        number += 1
    path = folder / f"{_NAME}{number}"
    with path.open("xb") as file:
        file.write(_FIRST_LINE)
    return path
