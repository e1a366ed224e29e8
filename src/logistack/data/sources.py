"""Files of any kind that a table comes in: their bytes tell which, and not their names.

Text is read as text, so that nothing is rounded, dropped or guessed before it is looked at.
"""

import codecs
import contextlib
import csv
import gzip
import io
import itertools
import re
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

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
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
START = 2**16
"""So many bytes are looked at to tell what a file is."""
DAMAGED = (
    "{}: expected a whole compressed file without a password, got one that cannot be decompressed"
)
MOST_BYTES = 2**30
"""A compressed file that becomes longer is refused: a few kilobytes can be as many gigabytes."""


class Reading(NamedTuple):
    """How a file is read, where this is not the usual way."""

    encoding: str | None = None
    decimal: str = "."
    missing: bool = True
    """Whether labels and levels such as NA are missing ones."""

    @classmethod
    def of(cls, content: Any) -> "Reading":
        """From the JSON of a proof.

        Raises:
            ValueError: if it is not what `changed` made.
        """
        types = {"encoding": str, "decimal": str, "missing": bool}
        good = isinstance(content, dict) and all(
            type(value) is types.get(name) for name, value in content.items()
        )
        if not good or content.get("decimal") not in (None, ".", ","):
            words = short(str(content))
            raise ValueError(f'expected as "reading" how the data were read, got {words}')
        return cls(**content)

    def changed(self) -> dict[str, Any]:
        """What is not usual, by name."""
        usual = self._field_defaults
        return {name: value for name, value in self._asdict().items() if value != usual[name]}

    def options(self) -> list[str]:
        """The same as the words of a command line."""
        encoding = [] if self.encoding is None else ["--encoding", self.encoding]
        decimal = [] if self.decimal == "." else ["--decimal", self.decimal]
        return [*encoding, *decimal, *([] if self.missing else ["--no-missing"])]


def read(path: Path, **reading: Any) -> Table:
    """Reads the whole of a table from a file, as `tables` does, which has the arguments.

    Raises:
        ValueError: if `tables` does, or a compressed file becomes longer than a gigabyte.
        ModuleNotFoundError, OSError: if `tables` does.
    """
    (whole,) = tables(path, None, **reading)
    return whole


def tables(
    path: Path,
    rows: int | None,
    *,
    header: bool = True,
    encoding: str | None = None,
    decimal: str = ".",
    missing: bool = True,
) -> Iterator[Table]:
    """Reads a table of samples, one a row, from a file of delimited text, Parquet or Feather.

    Args:
        path: the file, which may be compressed by gzip or the only one in a zip archive; `-` is
            the standard input. In text, columns are separated by tabs, semicolons, commas, bars or
            runs of blanks: the first of these that makes as many columns, at least two, of each of
            the first hundred rows; or as a first line such as `sep=;` says.
        rows: how many each table has, but the last; one table has all of them if None.
        header: whether the first row has the names of the columns; they go by position if not.
        encoding: that of text without a byte order mark, by the name that Python has for it;
            UTF-8 if None.
        decimal: the decimal mark of numbers in text.
        missing: whether labels and levels such as NA are missing ones, and not texts.

    Yields:
        Tables of one row or more, which know where their rows are in the file. Of delimited text
        no more than one is in memory, and of the others one of the parts they were written in.

    Raises:
        ValueError: if it is not such a file, has no samples, or two columns have the same name.
        ModuleNotFoundError: if pandas is not installed, or PyArrow if it is needed.
        OSError: if the file cannot be read.
    """
    with contextlib.ExitStack() as opened:
        if str(path) == "-":
            source, raw = "standard input", sys.stdin.buffer
        else:
            source, raw = str(path), opened.enter_context(path.open("rb"))
        file = _Bytes(source, raw)
        if file.start.startswith((GZIP, ZIP)):
            file = _unpacked(source, file, MOST_BYTES if rows is None else None)
        # A column of text may be called PAR1, but no text has zeros.
        stored = file.start.startswith((PARQUET, ARROW)) and b"\0" in file.start
        if stored and not header:
            raise ValueError(f"{source}: expected text without a header, got a file with names")
        if stored:
            names, parts = _read_arrow(source, file, rows)
        else:
            names, parts = _read_text(source, _Text(source, file, encoding), rows, header, decimal)
        twice = next((name for name in names if name and names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(
                f"{source}: expected columns of different names, got {names.count(twice)} columns "
                f"{twice!r}{'' if stored else ' (the first row was taken for a header)'}"
            )
        start = 0
        for columns in parts:
            count = len(columns[0]) if columns else 0
            if count:
                places = None if rows is None else np.arange(start, start + count)
                first_row = header and not stored
                yield Table(source, names, columns, decimal, first_row, missing, places)
            start += count
        if not start:
            raise ValueError(f"{source}: expected samples, got a table without any")


def table_of(data: Any, **reading: Any) -> Table:
    """The table in a file, or of a frame of pandas or Polars, of which text may have a `decimal`.

    Raises:
        TypeError: if it is neither.
        ValueError: if it has no rows, or what `read` raises.
    """
    if isinstance(data, str | Path):
        return read(Path(data), **reading)
    if not hasattr(data, "columns") or not hasattr(data, "to_dict"):
        raise TypeError(f"data: expected a path or a frame, got {type(data).__name__}")
    names = tuple(map(str, data.columns))
    if not len(data) or not names:
        raise ValueError(f"data: expected rows and columns, got a frame of shape {data.shape}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"data: expected columns of different names, got {twice!r} twice")
    columns = tuple(_of_values(data[name].to_list()) for name in data.columns)
    text = {name: reading[name] for name in ("decimal", "missing") if name in reading}
    return Table("the frame", names, columns, first_row=False, **text)


def _of_values(values: list[Any]) -> np.ndarray:
    """Values of Python as numbers if all are, or else as text; a float may be missing, as NaN."""
    lacks = import_extra("pandas", "cli").isna(np.fromiter(values, object, len(values)))
    known = [value for value, lack in zip(values, lacks, strict=True) if not lack]
    float_or_int = (float, np.floating) if lacks.any() else (int, float, np.number)
    if known and all(isinstance(own, float_or_int) and type(own) is not bool for own in known):
        numbers = np.array(
            [np.nan if lack else own for own, lack in zip(values, lacks, strict=True)]
            if lacks.any()
            else values
        )
        if numbers.dtype.kind in "iuf":
            return numbers
    return _texts(None if lack else own for own, lack in zip(values, lacks, strict=True))


class _Bytes(io.RawIOBase):
    """A file whose first bytes are looked at before it is read."""

    def __init__(
        self, source: str, file: Any, *, packed: bool = False, most: int | None = None
    ) -> None:
        self.source, self.file, self.packed, self.most = source, file, packed, most
        self.taken = self.given = 0
        """So many bytes were read, and handed on."""
        self.start = b""
        self.start = self._take(START)
        self.again = memoryview(self.start)

    def _take(self, size: int) -> bytes:
        try:
            # Of a pipe this is less than is asked for only at its end.
            data: bytes = self.file.read(size)
        except Exception as error:
            if self.packed:  # a damaged file raises whatever the damage leads to
                raise ValueError(DAMAGED.format(self.source)) from error
            raise
        self.taken += len(data)
        if self.most is not None and self.taken > self.most:
            raise ValueError(
                f"{self.source}: expected at most {self.most:,} bytes when decompressed, got more: "
                "decompress it first if they are meant"
            )
        return data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.again[: len(buffer)] if self.again else self._take(len(buffer))
        self.again = self.again[len(data) :]
        buffer[: len(data)] = data
        self.given += len(data)
        return len(data)

    def read1(self, size: int = -1) -> bytes:
        """What one reading gives, as `io.TextIOWrapper` asks for it."""
        return self.read(size) or b""

    def seekable_file(self) -> Any:
        """The same from its start on, as a file in which PyArrow and zipfile find their way."""
        if not self.packed and self.file.seekable():
            self.file.seek(-len(self.start), io.SEEK_CUR)
            return self.file
        self.most = self.most or MOST_BYTES
        return io.BytesIO(self.readall())


def _unpacked(source: str, packed: _Bytes, most: int | None) -> _Bytes:
    """What is in a compressed file."""
    names = [""]
    file: Any
    try:
        if packed.start.startswith(GZIP):
            file = gzip.GzipFile(fileobj=io.BufferedReader(packed))
        else:
            archive = zipfile.ZipFile(packed.seekable_file())
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
            names = [name for name in names if not name.endswith("/")]
            file = archive.open(names[0]) if len(names) == 1 else io.BytesIO()
    except Exception as error:  # a damaged file raises whatever the damage leads to
        raise ValueError(DAMAGED.format(source)) from error
    if any(name.startswith("xl/") for name in names):
        raise ValueError(f"{source}: expected text, Parquet or Feather, got {EXCEL}")
    if len(names) != 1:
        raise ValueError(f"{source}: expected one file in the archive, got {len(names):,}")
    return _Bytes(source, file, packed=True, most=most)


def _read_arrow(
    source: str, file: _Bytes, rows: int | None
) -> tuple[tuple[Name, ...], Iterator[tuple[np.ndarray, ...]]]:
    """Names of a Parquet or Feather file, and its columns in parts."""
    kind = "Parquet" if file.start.startswith(PARQUET) else "Feather"
    try:
        pyarrow = import_extra("pyarrow", "parquet")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{source} is a {kind} file, and {error}") from error
    content = file.seekable_file()

    def parts() -> Iterator[Any]:
        if kind == "Parquet":
            stored = import_extra("pyarrow.parquet", "parquet").ParquetFile(content)
            yield stored.schema_arrow.names
            batches = [stored.read()] if rows is None else stored.iter_batches(rows)
        else:
            stored = import_extra("pyarrow.ipc", "parquet").open_file(content)
            yield stored.schema.names
            batches = [stored.read_all()] if rows is None else _batches(stored, rows)
        for batch in batches:
            batch.validate(full=True)
            yield tuple(
                _cells(pyarrow.chunked_array([column]) if rows else column, pyarrow.types)
                for column in batch.columns
            )

    def guarded() -> Iterator[Any]:
        try:
            yield from parts()
        except Exception as error:  # a damaged file raises whatever the damage leads to
            raise ValueError(
                f"{source}: expected a whole {kind} file, got one that cannot be read"
            ) from error

    found = guarded()
    # pandas keeps the row numbers of a frame so, where they are more than a range.
    indices = re.compile(r"__index_level_[0-9]+__")
    return tuple("" if indices.fullmatch(name) else name for name in next(found)), found


def _batches(stored: Any, rows: int) -> Iterator[Any]:
    """The batches of a Feather file, none longer than so many rows."""
    for place in range(stored.num_record_batches):
        batch = stored.get_batch(place)
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def _cells(column: Any, types: Any) -> np.ndarray:
    """A column of PyArrow's as numbers if all are there, or else as text."""
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_floating(column.type):
        return column.to_numpy().astype(np.float64)
    if types.is_integer(column.type) and not column.null_count:
        return column.to_numpy()
    return _texts(column.to_pylist())


def _texts(values: Iterable[Any]) -> np.ndarray:
    """Values of Python as text, None as an empty one; decimals with all their digits."""
    texts = (
        "" if value is None else format(value, "f") if type(value) is Decimal else str(value)
        for value in values
    )
    return np.array([text.strip() for text in texts], object)


class _Text(io.TextIOBase):
    """Text that is decoded as it is read, and whose first lines are looked at before."""

    def __init__(self, source: str, file: _Bytes, encoding: str | None) -> None:
        kind = next((words for start, words in REFUSED.items() if file.start.startswith(start)), "")
        if kind:
            raise ValueError(f"{source}: expected text, Parquet or Feather, got {kind}")
        marked = next((name for mark, name in MARKS.items() if file.start.startswith(mark)), None)
        self.source, self.file = source, file
        self.name = marked or encoding or "utf-8"
        self.advice = "" if marked or encoding else " (try --encoding cp1252 or latin-1)"
        self.looked: list[str] = []
        self.again: io.StringIO | None = None
        try:
            self.stream = io.TextIOWrapper(file, self.name, newline="")  # type: ignore[type-var]
        except (LookupError, ValueError) as error:
            raise self._unknown() from error

    def lines(self) -> Iterator[str]:
        """The lines from the first on, which are still there to be read."""
        for place in itertools.count():
            if place == len(self.looked):
                self.looked.append(self._checked(self.stream.readline))
            if not self.looked[place]:
                return
            yield self.looked[place]

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> str:
        if self.again is None:
            self.again, self.looked = io.StringIO("".join(self.looked), newline=""), []
        return self.again.read(size) or self._checked(lambda: self.stream.read(size))

    def _checked(self, take: Callable[[], str]) -> str:
        try:
            text = take()
            if self.name != "utf-8":
                text.encode()  # some encodings have halves of characters
        except UnicodeError as error:
            where, kind = "", self.name.upper().removesuffix("-SIG")
            if isinstance(error, UnicodeDecodeError):
                place = self.file.given - len(error.object) + error.start
                where = f", got the byte 0x{error.object[error.start]:02x} at position {place:,}"
            words = f"{self.source}: expected text in {kind}{where}{self.advice}"
            raise ValueError(words) from error
        except LookupError as error:
            raise self._unknown() from error
        if "\0" in text:
            raise ValueError(f"{self.source}: expected text, got the byte 0x00")
        return text

    def _unknown(self) -> ValueError:
        return ValueError(
            f"--encoding: expected the name of an encoding, such as cp1252, got {self.name!r}"
        )


def _read_text(
    source: str, text: _Text, rows: int | None, header: bool, decimal: str
) -> tuple[tuple[Name, ...], Iterator[tuple[np.ndarray, ...]]]:
    """Names of delimited text, and its columns in parts, as text."""
    pandas = import_extra("pandas", "cli")
    filled = next((line for line in text.lines() if line.strip()), None)
    if filled is None:
        raise ValueError(f"{source}: the file is empty")
    said = re.fullmatch(r'"?sep=(.)"?[ \t]*[\r\n]+', next(text.lines()), re.IGNORECASE)
    separator = said[1] if said else _separator(source, text, filled, decimal)
    separator = BLANKS if separator == " " else separator
    if separator not in SEPARATORS:
        raise ValueError(f"{source}: expected a separator of {_listed()}, got {separator!r}")

    def frames() -> Iterator[Any]:
        try:
            # Of a row that is too short, pandas makes one that ends in empty cells.
            reader = pandas.read_csv(
                text,
                sep=separator,
                header=None,
                dtype=object,
                na_filter=False,
                skipinitialspace=True,
                skiprows=1 if said else 0,
                iterator=True,
            )
            yield reader.read(None if rows is None else rows + header)
            while rows is not None:
                yield reader.read(rows)
        except StopIteration:
            return
        except pandas.errors.EmptyDataError as error:
            raise ValueError(f"{source}: the file is empty") from error
        except pandas.errors.ParserError as error:
            raise ValueError(
                f"{source}: expected rows as long as the first{_why(error)}"
            ) from error

    parts = (tuple(_stripped(column.to_numpy()) for _, column in own.items()) for own in frames())
    first = next(parts)
    if not header:
        return tuple(range(len(first))), itertools.chain([first], parts)
    if len(first[0]) == 1:
        raise ValueError(f"{source}: expected samples, got one row alone, which is the header")
    own = tuple(column[1:] for column in first)
    return tuple(column[0] for column in first), itertools.chain([own], parts)


def _stripped(cells: np.ndarray) -> np.ndarray:
    """The cells without blanks at their ends; equal ones are one object."""
    codes, texts = import_extra("pandas", "cli").factorize(cells)
    return np.array([text.strip() for text in texts], object)[codes]


def _why(error: Exception) -> str:
    """What pandas says of a row that is too long, or of a quotation mark alone."""
    found = re.search(r"Expected ([0-9]+) fields in line ([0-9]+), saw ([0-9]+)", str(error))
    if found:
        return f", {found[1]} cells, got {found[3]} in line {found[2]}"
    return ", got a quotation mark that is not closed" * ("EOF inside string" in str(error))


def _separator(source: str, text: _Text, filled: str, decimal: str) -> str:
    """What separates the columns of a text, of which a line is the first with anything in it."""
    best, most = None, 0
    for mark in sorted(SEPARATORS, key=lambda mark: mark == decimal):
        lengths = _lengths(text.lines(), mark)
        if len(lengths) and lengths[0] > 1:
            alike = lengths.count(lengths[0])
            if alike == len(lengths):
                return mark
            # A row too short or too long is an error of its own, which names its line.
            if 2 * alike >= len(lengths) and alike > most:
                best, most = mark, alike
    if best is None:
        raise ValueError(
            f"{source}: expected columns separated by {_listed()}, as many in every row, got the "
            f"first line {short(filled.strip())}"
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
