"""Files of any kind that a table comes in: their bytes tell which, and not their names.

Text is read as text, so that nothing is rounded, dropped or guessed before it is looked at.
"""

import codecs
import csv
import gzip
import io
import itertools
import re
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from logistack._checks import import_extra
from logistack.data.table import Name, Table, short

BLANKS = r"\s+"
SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars", BLANKS: "blanks"}
"""The first is taken where several would do."""
ROWS = 100
"""So many are looked at to find the separator."""
GZIP, ZIP, PARQUET, ARROW = b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"ARROW1\0\0"
EXCEL = "an Excel workbook: save its sheet as CSV"
REFUSED = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": EXCEL,
    b"BZh91AY&SY": "what bzip2 compressed: decompress it",
    b"\xfd7zXZ": "what xz compressed: decompress it",
    b"\x28\xb5\x2f\xfd": "what zstd compressed: decompress it",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it",
}
"""How files begin that are no table, and what to do with them."""
MOST_BYTES = 2**30
"""A compressed file that becomes longer is refused: a few kilobytes can be as many gigabytes."""


def read(
    path: Path,
    *,
    header: bool = True,
    encoding: str | None = None,
    decimal: str = ".",
    missing: bool = True,
) -> Table:
    """Reads a table of samples, one a row, from a file of delimited text, Parquet or Feather.

    Args:
        path: the file, which may be compressed by gzip or the only one in a zip archive; `-` is
            the standard input. In text, columns are separated by tabs, semicolons, commas, bars or
            runs of blanks: the first of these that makes as many columns, at least two, of each of
            the first hundred rows; or as a first line such as `sep=;` says.
        header: whether the first row has the names of the columns; they go by position if not.
        encoding: that of text without a byte order mark, by the name that Python has for it;
            UTF-8 if None.
        decimal: the decimal mark of numbers in text.
        missing: whether labels and levels such as NA are missing ones, and not texts.

    Raises:
        ValueError: if it is not such a file, has no samples, or two columns have the same name.
        ModuleNotFoundError: if pandas is not installed, or PyArrow if it is needed.
        OSError: if the file cannot be read.
    """
    if str(path) == "-":
        source, content = "standard input", sys.stdin.buffer.read()
    else:
        source, content = str(path), path.read_bytes()
    content = _unpacked(source, content)
    names: tuple[Name, ...]
    # A column of text may be called PAR1, but no text has zeros.
    stored = content.startswith((PARQUET, ARROW)) and b"\0" in content
    if stored:
        if not header:
            raise ValueError(f"{source}: expected text without a header, got a file with names")
        names, columns = _read_arrow(source, content)
    else:
        columns = _read_text(source, content, encoding, decimal)
        if not header:
            return Table(source, tuple(range(len(columns))), columns, decimal, missing=missing)
        names = tuple(column[0] for column in columns)
        columns = tuple(column[1:] for column in columns)
        if not len(columns[0]):
            raise ValueError(f"{source}: expected samples, got one row alone, which is the header")
    if not columns or not len(columns[0]):
        raise ValueError(f"{source}: expected samples, got a table without any")
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"{source}: expected columns of different names, got {names.count(twice)} columns "
            f"{twice!r}{'' if stored else ' (the first row was taken for a header)'}"
        )
    return Table(source, names, columns, decimal, not stored, missing)


def _unpacked(source: str, content: bytes) -> bytes:
    """What is in a compressed file, or the content itself of any other."""
    if not content.startswith((GZIP, ZIP)):
        return content
    names = [""]
    try:
        file: Any
        if content.startswith(GZIP):
            file = gzip.GzipFile(fileobj=io.BytesIO(content))
        else:
            archive = zipfile.ZipFile(io.BytesIO(content))
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
            names = [name for name in names if not name.endswith("/")]
            file = archive.open(names[0]) if len(names) == 1 else io.BytesIO()
        unpacked = file.read(MOST_BYTES + 1)
    except Exception as error:  # a damaged file raises whatever the damage leads to
        raise ValueError(
            f"{source}: expected a whole compressed file without a password, got one that cannot "
            "be decompressed"
        ) from error
    if any(name.startswith("xl/") for name in names):
        raise ValueError(f"{source}: expected text, Parquet or Feather, got {EXCEL}")
    if len(names) != 1:
        raise ValueError(f"{source}: expected one file in the archive, got {len(names):,}")
    if len(unpacked) > MOST_BYTES:
        raise ValueError(
            f"{source}: expected at most {MOST_BYTES:,} bytes when decompressed, got more: "
            "decompress it first if they are meant"
        )
    return unpacked


def _read_arrow(source: str, content: bytes) -> tuple[tuple[Name, ...], tuple[np.ndarray, ...]]:
    """Names and columns of a Parquet or Feather file."""
    kind = "Parquet" if content.startswith(PARQUET) else "Feather"
    try:
        pyarrow = import_extra("pyarrow", "parquet")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{source} is a {kind} file, and {error}") from error
    try:
        buffer = pyarrow.BufferReader(content)
        if kind == "Parquet":
            table = import_extra("pyarrow.parquet", "parquet").ParquetFile(buffer).read()
        else:
            table = import_extra("pyarrow.ipc", "parquet").open_file(buffer).read_all()
        table.validate(full=True)
        columns = tuple(_cells(column, pyarrow.types) for column in table.columns)
    except Exception as error:  # a damaged file raises whatever the damage leads to
        raise ValueError(
            f"{source}: expected a whole {kind} file, got one that cannot be read"
        ) from error
    # pandas keeps the row numbers of a frame so, where they are more than a range.
    indices = re.compile(r"__index_level_[0-9]+__")
    return tuple("" if indices.fullmatch(name) else name for name in table.column_names), columns


def _cells(column: Any, types: Any) -> np.ndarray:
    """A column of PyArrow's as numbers if all are there, or else as text."""
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_floating(column.type):
        return column.to_numpy().astype(np.float64)
    if types.is_integer(column.type) and not column.null_count:
        return column.to_numpy()
    as_text = format if types.is_decimal(column.type) else lambda value, _: str(value).strip()
    texts = ("" if value is None else as_text(value, "f") for value in column.to_pylist())
    return np.array([*texts], object)


def _read_text(
    source: str, content: bytes, encoding: str | None, decimal: str
) -> tuple[np.ndarray, ...]:
    """The columns of delimited text, as text."""
    pandas = import_extra("pandas", "cli")
    kind = next((words for start, words in REFUSED.items() if content.startswith(start)), None)
    if kind is not None:
        raise ValueError(f"{source}: expected text, Parquet or Feather, got {kind}")
    content = _in_utf8(source, content, encoding)
    if not content.strip():
        raise ValueError(f"{source}: the file is empty")
    said = re.match(rb'"?sep=(.)"?[ \t]*(\r\n|\r|\n)', content, re.IGNORECASE)
    separator = said[1].decode("latin-1") if said else _separator(source, content, decimal)
    separator = BLANKS if separator == " " else separator
    if separator not in SEPARATORS:
        raise ValueError(f"{source}: expected a separator of {_listed()}, got {separator!r}")
    try:
        # Of a row that is too short, pandas makes one that ends in empty cells.
        frame = pandas.read_csv(
            io.BytesIO(content),
            sep=separator,
            header=None,
            dtype=object,
            na_filter=False,
            skipinitialspace=True,
            skiprows=1 if said else 0,
        )
    except pandas.errors.EmptyDataError as error:
        raise ValueError(f"{source}: the file is empty") from error
    except pandas.errors.ParserError as error:
        raise ValueError(f"{source}: expected rows as long as the first{_why(error)}") from error
    columns = []
    for _, column in frame.items():
        codes, texts = pandas.factorize(column.to_numpy())
        columns.append(np.array([text.strip() for text in texts], object)[codes])
    return tuple(columns)


def _why(error: Exception) -> str:
    """What pandas says of a row that is too long, or of a quotation mark alone."""
    found = re.search(r"Expected ([0-9]+) fields in line ([0-9]+), saw ([0-9]+)", str(error))
    if found:
        return f", {found[1]} cells, got {found[3]} in line {found[2]}"
    return ", got a quotation mark that is not closed" * ("EOF inside string" in str(error))


def _in_utf8(source: str, content: bytes, encoding: str | None) -> bytes:
    """Text without a byte order mark."""
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16"}
    marks |= {codecs.BOM_UTF16_BE: "utf-16"}
    marked = next((name for mark, name in marks.items() if content.startswith(mark)), None)
    name = marked or encoding or "utf-8"
    try:
        text = content.decode(name).encode()
    except (LookupError, ValueError) as error:
        if not isinstance(error, UnicodeError):
            raise ValueError(
                f"--encoding: expected the name of an encoding, such as cp1252, got {name!r}"
            ) from error
        where, kind = "", name.upper().removesuffix("-SIG")
        if isinstance(error, UnicodeDecodeError):
            where = f", got the byte 0x{content[error.start]:02x} at position {error.start:,}"
        advice = "" if marked or encoding else " (try --encoding cp1252 or latin-1)"
        raise ValueError(f"{source}: expected text in {kind}{where}{advice}") from error
    if b"\0" in text:
        raise ValueError(f"{source}: expected text, got the byte 0x00")
    return text


def _separator(source: str, content: bytes, decimal: str) -> str:
    """What separates the columns of a text in UTF-8."""
    best, most = None, 0
    for mark in sorted(SEPARATORS, key=lambda mark: mark == decimal):
        lengths = _lengths(io.TextIOWrapper(io.BytesIO(content), "utf-8", newline=""), mark)
        if len(lengths) and lengths[0] > 1:
            alike = lengths.count(lengths[0])
            if alike == len(lengths):
                return mark
            # A row too short or too long is an error of its own, which names its line.
            if 2 * alike >= len(lengths) and alike > most:
                best, most = mark, alike
    if best is None:
        first = re.search(r"\S.*", content[:9999].decode(errors="ignore"))
        raise ValueError(
            f"{source}: expected columns separated by {_listed()}, as many in every row, got the "
            f"first line {short(first[0] if first else '')}"
        )
    return best


def _lengths(lines: Iterable[str], mark: str) -> list[int]:
    """How many cells the first rows have, or nothing if there is no end to a quotation."""
    blanks = mark == BLANKS
    if blanks:
        lines = (f"{re.sub(BLANKS, ' ', line).strip()}\n" for line in lines)
    rows = csv.reader(lines, delimiter=" " if blanks else mark, skipinitialspace=not blanks)
    try:
        filled = (row for row in rows if any(cell.strip() for cell in row))
        return [len(row) for row in itertools.islice(filled, ROWS)]
    except csv.Error:
        return []


def _listed() -> str:
    *some, last = SEPARATORS.values()
    return f"{', '.join(some)} or {last}"
