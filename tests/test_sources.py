"""Files of any kind are read as tables, by their content, or refused in words of our own."""

import decimal
import gzip
import io
import random
import sys
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from logistack.data import sources, table

CSV = 'a,"b, c",class\n1,0.5,no\n1e3,-.5,yes\n"2",3.,NA\ntrue,nan,"x ""y"""\n'


def read(tmp, content, **options):
    path = Path(tmp, "data.bin")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return sources.read(path, **options)


def cells(found):
    return [column.tolist() for column in found.columns]


def zipped(*names):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, CSV)
    return archive.getvalue()


def test_columns_have_names_or_positions(tmp_path):
    found = read(tmp_path, 'a, "b" \n1,x\n 2 ,y\n')
    assert found.names == ("a", "b")
    assert cells(found) == [["1", "2"], ["x", "y"]]
    found = read(tmp_path, "1;x\n2;y\n", header=False)
    assert found.names == (0, 1)
    assert table.find(found, "-1") == 1
    assert table.find(found, "2") is None


@pytest.mark.parametrize(
    ("text", "names", "first"),
    [
        ("a,char_;,y\n1,2,3\n", ("a", "char_;", "y"), ["1"]),
        ("1,5;2,5;3\n1,5;2,5;3\n", ("1,5", "2,5", "3"), ["1,5"]),
        ("when|x\n10:00, noon|1\n", ("when", "x"), ["10:00, noon"]),
        ('"a\nb;";c\n"1\n";2\n', ("a\nb;", "c"), ["1"]),
        ('  a "b c"\n 1   2 \n', ("a", "b c"), ["1"]),
        ("sep=|\na;b|c;d\n1;1|2;2\n", ("a;b", "c;d"), ["1;1"]),
        ('"sep=,"\na,b;\n1,2;\n', ("a", "b;"), ["1"]),
    ],
)
def test_the_separator_makes_rows_of_one_length(tmp_path, text, names, first):
    found = read(tmp_path, text)
    assert found.names == names
    assert found.columns[0].tolist() == first


def test_quoted_decimal_commas_may_stand_between_commas(tmp_path):
    found = read(tmp_path, 'a,y\n"1,5",0\n"2,5",1\n', decimal=",")
    assert table.numbers(found, [table.Feature(0)]).integers.tolist() == [[3], [5]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b c\n1,2,3\n4\n", "as many in every row, got the first line 'a,b c'"),
        ("sep=x\n1x2\n", "expected a separator of tabs, semicolons, commas, bars or blanks, got 'x'"),
        ("a,b\n1,2\n3,4,5\n", "rows as long as the first, 2 cells, got 3 in line 3"),
        ("sep=,\n", "the file is empty"),
        (zipped("a/"), "expected one file in the archive, got 0"),
        (zipped("a.csv", "b.csv"), "expected one file in the archive, got 2"),
        (zipped("xl/workbook.xml", "b"), "got an Excel workbook: save its sheet as CSV"),
        (bytes.fromhex("d0cf11e0a1b11ae1") + b"x" * 600, "got an Excel workbook"),
        (b"BZh91AY&SY", "got what bzip2 compressed: decompress it"),
        (gzip.compress(CSV.encode(), mtime=0)[:-9], "got one that cannot be decompressed"),
        (zipped("a.csv")[:-30], "got one that cannot be decompressed"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_named(tmp_path, content, words):
    with pytest.raises(ValueError, match=rf"data.bin: .*({words})"):
        read(tmp_path, content)


def test_compressed_files_are_read_within_bounds(tmp_path, monkeypatch):
    for content in (gzip.compress(CSV.encode()), zipped("a/", "a/b.csv", "__MACOSX/a/b.csv")):
        assert cells(read(tmp_path, content)) == cells(read(tmp_path, CSV))
    monkeypatch.setattr(sources, "MOST_BYTES", 1000)
    bomb = gzip.compress(b"1,2\n" * 251, mtime=0)
    with pytest.raises(ValueError, match="expected at most 1,000 bytes when decompressed"):
        read(tmp_path, bomb)
    assert (
        len(read(tmp_path, gzip.compress(b"1,2\n" * 250, mtime=0), header=False).columns[0]) == 250
    )


def test_a_column_may_have_the_name_of_a_format(tmp_path):
    assert read(tmp_path, "PAR1,ARROW1\n1,2\n").names == ("PAR1", "ARROW1")
    assert read(tmp_path, "ARROW1,BZh\n1,2\n").names == ("ARROW1", "BZh")


def test_encodings(tmp_path):
    text = "größe,y\n1,é\n"
    for name in ("cp1252", "latin-1", "utf-16-le"):
        found = read(tmp_path, text.encode(name), encoding=name)
        assert (found.names, cells(found)) == (("größe", "y"), [["1"], ["é"]])
    # A byte order mark tells more than an option.
    for name in ("utf-8-sig", "utf-16"):
        assert read(tmp_path, text.encode(name), encoding="cp1252").names == ("größe", "y")
    for name in ("nix", "base64", "\0"):
        with pytest.raises(ValueError, match="--encoding: expected the name of an encoding, such"):
            read(tmp_path, text, encoding=name)
    with pytest.raises(ValueError, match=r"expected text in UTF-8, got .*try --encoding cp1252"):
        read(tmp_path, text.encode("cp1252"))


def test_what_is_wrong_is_found_wherever_it_stands(tmp_path):
    path, rows = tmp_path / "data.csv", b"1,2\n" * 50_000
    path.write_bytes(b"a,b\n" + rows + b"1,\xff\n")
    for size in (None, 999):
        with pytest.raises(ValueError, match=r"in UTF-8, got the byte 0xff at position 200,006"):
            list(sources.tables(path, size))
    for place in (6, 7, 8, 35_000):  # at the start of a part, and elsewhere
        path.write_bytes(b"a,b\n" + rows[: 4 * place] + b"1,2,3\n" + rows)
        with pytest.raises(ValueError, match=f"2 cells, got 3 in line {place + 2}"):
            list(sources.tables(path, 7 if place < 9 else 7_000))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_parts_are_cut_from_the_whole(tmp_path, size):
    texts = [CSV, 'sep=;\na;b\n1;"x\n\n;y"\n2\n\n3;z\n', " 1  2 \n3 4\n\n 5 6", "a\tb\n1\t2"]
    for text in texts:
        for header in (True, False):
            whole = read(tmp_path, text, header=header)
            parts = list(sources.tables(tmp_path / "data.bin", size, header=header))
            assert {part.names for part in parts} == {whole.names}
            assert [len(part.columns[0]) for part in parts[:-1]] == [size] * (len(parts) - 1)
            assert [row for part in parts for row in part.places(range(len(part.rows)))] == list(
                range(len(whole.columns[0]))
            )
            joined = map(np.concatenate, zip(*(part.columns for part in parts), strict=True))
            assert [column.tolist() for column in joined] == cells(whole)


@pytest.fixture
def frame():
    pyarrow = pytest.importorskip("pyarrow")
    columns = {
        "int": pyarrow.array([2**63, 1, 2], pyarrow.uint64()),
        "holes": pyarrow.array([2**53 + 1, None, 2]),
        "float": pyarrow.array([0.1, 5e-324, -3.0]),
        "half": pyarrow.array(np.array([0.5, 1, 2], np.float16)),
        "decimal": pyarrow.array([decimal.Decimal("0.10"), decimal.Decimal("-7.25"), None]),
        "bool": pyarrow.array([True, False, True]),
        "text": pyarrow.array(["u ", None, "v"]).dictionary_encode(),
        "__index_level_0__": pyarrow.array([5, 6, 7]),
    }
    return pyarrow.table(columns)


@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_parquet_and_feather_are_exact(tmp_path, frame, kind):
    import pyarrow
    import pyarrow.parquet

    content = io.BytesIO()
    if kind == "parquet":
        pyarrow.parquet.write_table(frame, content)
    else:
        with pyarrow.ipc.new_file(content, frame.schema) as file:
            file.write_table(frame)
    found = read(tmp_path, content.getvalue())
    assert found.names == (*frame.column_names[:-1], "")
    assert cells(found) == [
        *([2**63, 1, 2], ["9007199254740993", "", "2"], [0.1, 5e-324, -3.0], [0.5, 1.0, 2.0]),
        *(["0.10", "-7.25", ""], ["True", "False", "True"], ["u", "", "v"], [5, 6, 7]),
    ]
    numbers = table.numbers(found, [*map(table.Feature, (0, 2, 5))])
    assert numbers.integers[0, 0] * numbers.units[0] == 2**63
    assert numbers.integers[0, 1] * numbers.units[1] == Fraction(0.1)
    assert numbers.integers[:, 2].tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="expected text without a header, got a file with names"):
        read(tmp_path, content.getvalue(), header=False)
    with pytest.raises(ValueError, match=f"expected a whole {kind.capitalize()} file, got one"):
        read(tmp_path, content.getvalue()[:-20])


@pytest.mark.parametrize(("start", "kind"), [(b"PAR1\0", "Parquet"), (b"ARROW1\0\0", "Feather")])
def test_without_pyarrow_it_says_what_the_file_is(tmp_path, monkeypatch, start, kind):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    words = rf"data.bin is a {kind} file, and pyarrow is not .* pip install 'logistack\[parquet\]'"
    with pytest.raises(ModuleNotFoundError, match=words):
        read(tmp_path, start)


INSERTED = [
    *(mark.encode() for mark in "\",;\n\r\0\t |'-٣\u2028\x0b\x1c\x85"),
    *(b"1e999999999", b"1e" + b"9" * 5000, b"9" * 5001, b"\xff", b"sep=", b"inf", b"#REF!"),
]


def mutated(chance):
    """Bytes at random, or a good file with a few bytes changed."""
    if chance.random() < 0.3:
        return bytes(
            chance.choice(b'019.,;"\n\r \t|eE+-naN\xff\xfe\0') for _ in range(chance.randrange(60))
        )
    content = bytearray(
        chance.choice(
            [
                *(CSV.replace(",", mark).encode() for mark in ",;\t| "),
                *(CSV.encode("utf-16"), b"sep=;\na;b\n1,5;2\n", CSV.replace("\n", "\r").encode()),
                *(gzip.compress(CSV.encode()), zipped("a.csv")),
            ]
        )
    )
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(content) + 1)
        if chance.random() < 0.5:
            content[place:place] = chance.choice(INSERTED)
        else:
            content[place : place + chance.randrange(4)] = bytes([chance.randrange(256)])
    return bytes(content)


def refusal(make, *words, **options):
    """The error that there is, or None."""
    try:
        make(*words, **options)
    except ValueError as error:
        return error
    return None


def test_no_bytes_end_in_an_error_of_python(tmp_path):
    chance, tables = random.Random(0), 0
    for _ in range(2000):
        content = mutated(chance)
        options = {
            "header": chance.random() < 0.5,
            "encoding": chance.choice([None, None, "latin-1", "cp1252", "utf-16", "utf-7", "idna"]),
            "decimal": chance.choice(".,"),
        }
        error = refusal(read, tmp_path, content, **options)
        if error is not None:
            assert type(error) is ValueError
            assert str(error).startswith(f"{tmp_path / 'data.bin'}: ")
            assert "expected" in str(error) or "empty" in str(error)
            assert "\n" not in str(error)
            continue
        tables += 1
        found = read(tmp_path, content, **options)
        for place in range(len(found.names)):
            for error in (
                refusal(table.numbers, found, [table.Feature(place)]),
                refusal(table.labels, found, place),
                refusal(table.labels, found._replace(missing=False), place),
            ):
                if error is not None:
                    assert type(error) is table.ColumnError
                    assert str(error).startswith(f"{found.source}: column ")
                    assert ": expected " in str(error)
    assert 200 < tables < 1900
