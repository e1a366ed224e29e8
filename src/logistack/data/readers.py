"""Readers of the files that data sets come in: IDX, and the text forms of USPS and Semeion."""

import contextlib
import gzip
import io
import math
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
from jaxtyping import Float32, Int32, Shaped
from numpy.typing import NDArray

PathLike: TypeAlias = str | os.PathLike[str]

_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_EXCESS = 1 << 12  # of bytes too many so many are counted


def read_idx(path: PathLike) -> Shaped[np.ndarray, "..."]:
    """Reads an IDX file, the form of MNIST: an array of any rank, big-endian after a short header.

    The header is two zero bytes, one for the dtype, one for the rank, and an unsigned 32-bit size
    for each axis.

    Args:
        path: the file, gzipped or not; its content tells, not its name.

    Returns:
        The array, in the byte order of this machine: uint8 (dtype code 0x08), int8 (0x09), int16
        (0x0B), int32 (0x0C), float32 (0x0D) or float64 (0x0E).

    Raises:
        ValueError: if the file is empty, not a regular one, not IDX, has an unknown dtype code,
            holds fewer or more bytes than its header says, or is a broken gzip stream.
        OSError: if the file cannot be read.

    Source: LeCun, Cortes & Burges, The MNIST database of handwritten digits.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "pairs.idx")
    ...     _ = path.write_bytes(bytes([0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 255, 255]))
    ...     read_idx(path)
    array([[ 7, -1]], dtype=int16)
    """
    with _opened(path) as file:
        start = file.read(4)
        if not start:
            raise ValueError(f"{path}: expected data, got an empty file")
        if len(start) < 4 or start[:2] != b"\0\0":
            raise ValueError(
                f"{path}: expected an IDX file, two zero bytes, a dtype code and a rank, "
                f"got a file that begins with {start!r}"
            )
        code, rank = start[2:]
        if code not in _IDX_DTYPES:
            known = ", ".join(f"0x{known:02X}" for known in _IDX_DTYPES)
            raise ValueError(f"{path}: expected an IDX dtype code of {known}, got 0x{code:02X}")
        sizes = file.read(4 * rank)
        if len(sizes) < 4 * rank:
            raise ValueError(
                f"{path}: expected a header of {4 + 4 * rank} bytes for rank {rank}, "
                f"got {4 + len(sizes)} bytes"
            )
        dtype = np.dtype(_IDX_DTYPES[code])
        shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
        # Python's integers do not overflow. What the header does not allow is read for the message.
        expected = math.prod(shape) * dtype.itemsize
        content = _read_at_most(file, expected)
        excess = _read_at_most(file, _EXCESS)
    found = len(content) + len(excess)
    if found != expected:
        raise ValueError(
            f"{path}: expected {expected} bytes after the header for shape {shape} of "
            f"{dtype.name}, got {found}{' or more' if len(excess) == _EXCESS else ''}"
        )
    try:
        array = np.frombuffer(content, dtype).reshape(shape)
    except ValueError as error:  # more axes than NumPy has, or an empty array too wide for it
        raise ValueError(f"{path}: expected a shape that NumPy holds, got {shape}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def read_usps(path: PathLike) -> tuple[Float32[np.ndarray, "n 256"], Int32[np.ndarray, " n"]]:
    r"""Reads the USPS digits in their text form: the label, then 256 numbers a line.

    Args:
        path: the file, gzipped or not; its content tells, not its name.

    Returns:
        Pixels `(n, 256)`, float32 between −1 (paper) and 1 (ink), 16 rows of 16 each, top row
        first; and labels `(n,)`, int32 from 0 to 9.

    Raises:
        ValueError: naming the line, if one has other than 257 fields, a field is not a number, a
            label is not a whole number from 0 to 9, or a pixel lies outside −1 … 1; if the file
            is empty, not a regular one, or a broken gzip stream.
        OSError: if the file cannot be read.

    Source: Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, "ZIP code".

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "zip.txt")
    ...     _ = path.write_text("6.0000 " + "-1.0000 " * 255 + "0.3180\n")
    ...     pixels, labels = read_usps(path)
    >>> pixels.shape, labels
    ((1, 256), array([6], dtype=int32))
    """
    table = _read_table(path, 257)
    labels, pixels = table[:, :1], table[:, 1:]
    _require(path, labels, np.isin(labels, range(10)), "a label from 0 to 9")
    _require(path, pixels, abs(pixels) <= 1, "pixels from -1 to 1")
    return pixels.astype(np.float32), labels[:, 0].astype(np.int32)


def read_semeion(path: PathLike) -> tuple[Float32[np.ndarray, "n 256"], Int32[np.ndarray, " n"]]:
    r"""Reads the Semeion digits: 256 binary pixels, then a label as ten one-hot columns, a line.

    Args:
        path: the file, gzipped or not; its content tells, not its name.

    Returns:
        Pixels `(n, 256)`, float32, 0 (paper) or 1 (ink), 16 rows of 16 each, top row first; and
        labels `(n,)`, int32 from 0 to 9.

    Raises:
        ValueError: naming the line, if one has other than 266 fields, a field is not a number, a
            pixel is not 0 or 1, or the last ten columns are not one 1 and nine 0; if the file is
            empty, not a regular one, or a broken gzip stream.
        OSError: if the file cannot be read.

    Source: Semeion Handwritten Digit, UCI Machine Learning Repository, Tactile Srl, Brescia.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "semeion.data")
    ...     _ = path.write_text("1.0000 " * 256 + "0 0 0 1 0 0 0 0 0 0\n")
    ...     pixels, labels = read_semeion(path)
    >>> pixels.shape, labels
    ((1, 256), array([3], dtype=int32))
    """
    table = _read_table(path, 266)
    pixels, hot = table[:, :256], table[:, 256:]
    _require(path, pixels, np.isin(pixels, (0, 1)), "pixels of 0 or 1")
    one_hot = np.isin(hot, (0, 1)).all(axis=1) & (hot.sum(axis=1) == 1)
    _require(path, hot, one_hot[:, None], "one 1 and nine 0 for the label")
    return pixels.astype(np.float32), hot.argmax(axis=1).astype(np.int32)


@contextlib.contextmanager
def _opened(path: PathLike) -> Iterator[BinaryIO]:
    """A regular file, unpacked if it is a gzip stream, to be read from its start to its end."""
    require_regular(Path(path))
    with open(path, "rb") as packed:
        if packed.read(2) != b"\x1f\x8b":
            packed.seek(0)
            yield packed
            return
        packed.seek(0)
        try:
            with gzip.GzipFile(fileobj=packed) as file:
                yield cast(BinaryIO, file)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(
                f"{path}: expected a whole gzip stream, got a broken one: {error}"
            ) from error


def require_regular(path: Path) -> None:
    """Refuses what is there and is neither a regular file nor a folder, before it is opened.

    To open a FIFO is to wait for who writes to it, and a device may have no end.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError(f"{path}: expected a regular file, got a FIFO, a socket or a device")


def _read_at_most(file: BinaryIO, size: int) -> bytearray:
    """The next `size` bytes, or as many as there are; memory grows with what comes."""
    content = bytearray()
    while len(content) < size:
        part = file.read(min(size - len(content), 1 << 18))
        if not part:
            break
        content += part
    return content


def _read_table(path: PathLike, columns: int) -> NDArray[np.float64]:
    """The numbers of a text file, one row a line, the same number of fields in each."""
    rows = []
    longest = 64 * columns  # no number is longer, so that no line needs more memory than its row
    with _opened(path) as file:
        text = io.TextIOWrapper(file, "ascii", errors="surrogateescape")
        number = 0
        while line := text.readline(longest + 1):
            number += 1
            if len(line) > longest:
                raise ValueError(
                    f"{path}, line {number}: expected {columns} numbers, got a line of more than "
                    f"{longest} bytes"
                )
            fields = line.encode("ascii", "surrogateescape").split()
            if len(fields) != columns:
                raise ValueError(
                    f"{path}, line {number}: expected {columns} numbers, got {len(fields)}"
                )
            rows.append(_numbers(f"{path}, line {number}", fields))
    if not rows:
        raise ValueError(f"{path}: expected data, got an empty file")
    return np.stack(rows)


def _numbers(where: str, fields: list[bytes]) -> NDArray[np.float64]:
    for field in fields:
        if b"_" in field:  # which Python takes for a digit separator
            raise ValueError(f"{where}: expected numbers, got {field!r}")
    try:
        return np.fromiter(map(float, fields), np.float64, len(fields))
    except ValueError as error:
        raise ValueError(f"{where}: expected numbers, {error}") from error


def _require(path: PathLike, values: Any, good: Any, expected: str) -> None:
    """Refuses values that are not `good`, naming the first line that holds one."""
    bad = ~np.broadcast_to(good, values.shape)
    if bad.any():
        row = int(bad.any(axis=1).argmax())
        found = values[row, bad[row]].tolist()
        raise ValueError(f"{path}, line {row + 1}: expected {expected}, got {found}")
