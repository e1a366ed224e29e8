"""Readers of the files that data sets come in: IDX, and the text forms of USPS and Semeion."""

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32, Int32, Shaped
from numpy.typing import NDArray

PathLike: TypeAlias = str | os.PathLike[str]

_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


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
        ValueError: if the file is empty, is not IDX, has an unknown dtype code, holds fewer or
            more bytes than its header tells, or is a broken gzip stream.
        OSError: if the file cannot be read.

    Source: LeCun, Cortes & Burges, The MNIST database of handwritten digits.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "pairs.idx")
    ...     _ = path.write_bytes(bytes([0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 255, 255]))
    ...     read_idx(path)
    array([[ 7, -1]], dtype=int16)
    """
    content = _read_content(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise ValueError(
            f"{path}: expected an IDX file, two zero bytes, a dtype code and a rank, "
            f"got a file that begins with {content[:4]!r}"
        )
    code, rank = content[2:4]
    if code not in _IDX_DTYPES:
        known = ", ".join(f"0x{known:02X}" for known in _IDX_DTYPES)
        raise ValueError(f"{path}: expected an IDX dtype code of {known}, got 0x{code:02X}")
    start = 4 + 4 * rank
    if len(content) < start:
        raise ValueError(
            f"{path}: expected a header of {start} bytes for rank {rank}, got {len(content)} bytes"
        )
    dtype = np.dtype(_IDX_DTYPES[code])
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
    # Python's integers do not overflow, and nothing is allocated before the sizes agree.
    wanted, found = math.prod(shape) * dtype.itemsize, len(content) - start
    if found != wanted:
        raise ValueError(
            f"{path}: expected {wanted} bytes after the header for shape {shape} of "
            f"{dtype.name}, got {found}"
        )
    try:
        array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    except ValueError as error:  # more axes than NumPy has, or an empty array too wide for it
        raise ValueError(f"{path}: expected a shape that NumPy holds, got {shape}") from error
    return array.astype(dtype.newbyteorder("="))


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
            is empty or a broken gzip stream.
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
            empty or a broken gzip stream.
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


def _read_content(path: PathLike) -> bytes:
    """The bytes of a file that is not empty, unpacked if they are a gzip stream."""
    content = Path(path).read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(
                f"{path}: expected a whole gzip stream, got a broken one: {error}"
            ) from error
    if not content:
        raise ValueError(f"{path}: expected data, got an empty file")
    return content


def _read_table(path: PathLike, columns: int) -> NDArray[np.float64]:
    """The numbers of a text file, one row a line, the same number of fields in each."""
    rows = []
    for number, line in enumerate(_read_content(path).splitlines(), start=1):
        fields = line.split()
        if len(fields) != columns:
            raise ValueError(
                f"{path}, line {number}: expected {columns} numbers, got {len(fields)}"
            )
        try:
            rows.append(np.fromiter(map(float, fields), np.float64, columns))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: expected numbers, {error}") from error
    return np.stack(rows)


def _require(path: PathLike, values: Any, good: Any, wanted: str) -> None:
    """Refuses values that are not `good`, naming the first line that holds one."""
    bad = ~np.broadcast_to(good, values.shape)
    if bad.any():
        row = int(bad.any(axis=1).argmax())
        found = values[row, bad[row]].tolist()
        raise ValueError(f"{path}, line {row + 1}: expected {wanted}, got {found}")
