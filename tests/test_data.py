"""The data room: files read right or refused by name, sets the publishers' own, splits fair."""

import contextlib
import functools
import gzip
import hashlib
import http.server
import os
import re
import shutil
import struct
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import hypothesis.extra.numpy as hnp
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import logistack as ls

# Code, NumPy's name and struct's letter of each dtype that IDX knows.
IDX_DTYPES = [
    (0x08, "uint8", "B"),
    (0x09, "int8", "b"),
    (0x0B, "int16", "h"),
    (0x0C, "int32", "i"),
    (0x0D, "float32", "f"),
    (0x0E, "float64", "d"),
]
ONE_PART = ("digits", "digits16", "semeion")
# Published: scikit-learn's and UCI's descriptions, zip.info of the book's site, LeCun's page.
COUNTS = {
    ("digits", None): [178, 182, 177, 183, 181, 182, 181, 179, 174, 180],
    ("digits16", None): [178, 182, 177, 183, 181, 182, 181, 179, 174, 180],
    ("semeion", None): [161, 162, 159, 159, 161, 159, 161, 158, 155, 158],
    ("usps", "train"): [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644],
    ("usps", "test"): [359, 264, 198, 166, 200, 160, 170, 147, 166, 177],
    ("mnist", "train"): [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    ("mnist", "test"): [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


@pytest.fixture
def published():
    """The folder of published files."""
    folder = os.environ.get("LOGISTACK_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("LOGISTACK_DATA names no folder with the published files")
    return Path(folder)


@pytest.fixture
def available(name, request):
    """The folder of published files, if the set `name` is not one that scikit-learn brings."""
    return None if name.startswith("digits") else request.getfixturevalue("published")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder that LOGISTACK_DATA names."""
    monkeypatch.setenv("LOGISTACK_DATA", str(tmp_path))
    return tmp_path


def idx_bytes(array):
    code, _, letter = next(row for row in IDX_DTYPES if row[1] == array.dtype.name)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + struct.pack(f">{array.size}{letter}", *array.ravel().tolist())


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def refused(read, path, *said):
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read(path)
    for part in said:
        assert part in str(caught.value)


@functools.cache
def loaded(name, split=None):
    """What `load` returns, once for all tests that only look at it."""
    return ls.data.load(name, split=split)


# IDX

PAIRS = idx_bytes(np.array([[1, -2, 300], [4, 5, -600]], np.int16))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("code", "dtype", "letter"), IDX_DTYPES)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_idx_round_trip(code, dtype, letter, packed, data, tmp_path_factory):
    array = data.draw(
        hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
    )
    content = idx_bytes(array)
    path = tmp_path_factory.getbasetemp() / "round-trip"
    path.write_bytes(gzip.compress(content) if packed else content)
    found = ls.data.read_idx(path)
    assert found.dtype == np.dtype(dtype)
    assert found.dtype.isnative
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


def test_idx_by_hand(tmp_path):
    """Byte by byte: rank 2, big-endian int16, two rows of three."""
    header = bytes([0, 0, 0x0B, 2, 0, 0, 0, 2, 0, 0, 0, 3])
    body = bytes([0, 1, 255, 254, 1, 44, 0, 4, 0, 5, 253, 168])
    path = write(tmp_path / "a", header + body)
    assert ls.data.read_idx(path).tolist() == [[1, -2, 300], [4, 5, -600]]
    assert ls.data.read_idx(str(path)).dtype == np.int16


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_truncated_anywhere(pack, tmp_path):
    whole = pack(PAIRS)
    path = tmp_path / "cut.idx"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        refused(ls.data.read_idx, path)
    path.write_bytes(whole)
    assert ls.data.read_idx(path).shape == (2, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (PAIRS + b"\0", "expected 12 bytes after the header for shape (2, 3) of int16, got 13"),
        (gzip.compress(PAIRS + b"\0", mtime=0), "got 13"),
        (gzip.compress(PAIRS, mtime=0) + b"more", "gzip"),
        (b"\1" + PAIRS[1:], "two zero bytes"),
        (b"\0\1" + PAIRS[2:], "two zero bytes"),
        (b"PK\3\4" + PAIRS, "two zero bytes"),
        (b"\0\0\x0b\x02\0\0\0\x02", "expected a header of 12 bytes for rank 2, got 8"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x", "expected a shape that NumPy holds"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_idx_refuses(content, said, tmp_path):
    refused(ls.data.read_idx, write(tmp_path / "bad.idx", content), said)


def test_idx_refuses_unknown_dtypes(tmp_path):
    known = {code for code, _, _ in IDX_DTYPES}
    for code in set(range(256)) - known:
        path = write(tmp_path / "bad.idx", bytes([0, 0, code, 0, 0]))
        refused(ls.data.read_idx, path, "dtype code", f"got 0x{code:02X}")


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((2**32 - 1,), "expected 4294967295 bytes after the header"),
        ((2**32 - 1,) * 4, f"expected {(2**32 - 1) ** 4} bytes"),
        ((2**16,) * 4, "expected 18446744073709551616 bytes"),  # 0 to whoever counts in 64 bits
        ((0, *(2**32 - 1,) * 4), "expected a shape that NumPy holds"),
    ],
)
def test_idx_allocates_nothing_for_a_lying_header(shape, said, tmp_path):
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 0x08, len(shape), *shape)
    path = write(tmp_path / "huge.idx", header)
    tracemalloc.start()
    refused(ls.data.read_idx, path, str(shape), said)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@given(
    st.binary(max_size=40), st.sampled_from([b"", b"\0\0", b"\0\0\x08\1\0\0\0", b"\x1f\x8b\x08\0"])
)
@settings(max_examples=300, deadline=None)
def test_idx_reads_or_refuses_any_bytes(tmp_path_factory, tail, head):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(head + tail)
    with contextlib.suppress(ValueError):
        assert ls.data.read_idx(path).nbytes <= len(head + tail)


def test_idx_damaged_gzip_never_reads_as_something_else(tmp_path):
    whole = gzip.compress(PAIRS, mtime=0)
    path = tmp_path / "damaged.idx.gz"
    for position in range(10, len(whole)):  # the ten bytes before are a header without a sum
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        try:
            found = gzip.decompress(damaged)
        except Exception:
            refused(ls.data.read_idx, path, "gzip")
        else:  # a bit of padding
            assert found == PAIRS
            assert ls.data.read_idx(path).tolist() == [[1, -2, 300], [4, 5, -600]]


def test_a_missing_file_is_the_system_error(tmp_path):
    for read in (ls.data.read_idx, ls.data.read_usps, ls.data.read_semeion):
        with pytest.raises(FileNotFoundError, match="nothing-here"):
            read(tmp_path / "nothing-here")


# What is hostile, or not a file.

READERS = ls.data.read_idx, ls.data.read_usps, ls.data.read_semeion


def test_no_more_is_unpacked_than_an_idx_header_allows(tmp_path):
    header = struct.pack(">BBBBI", 0, 0, 0x08, 1, 10)
    path = write(tmp_path / "bomb.gz", gzip.compress(header + bytes(1 << 28)))
    tracemalloc.start()
    refused(ls.data.read_idx, path, "expected 10 bytes after the header", "or more")
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_no_more_is_allocated_than_an_idx_file_holds(tmp_path):
    header = struct.pack(">BBBB3I", 0, 0, 0x0E, 3, *[2**32 - 1] * 3)
    for content in (header + bytes(8), gzip.compress(header + bytes(8))):
        refused(ls.data.read_idx, write(tmp_path / "tall", content), "got 8")


@pytest.mark.parametrize("read", READERS[1:])
@pytest.mark.parametrize("filler", [b" ", b"1", b"1 "])
def test_no_line_is_unpacked_beyond_what_a_row_needs(tmp_path, read, filler):
    path = write(tmp_path / "bomb.gz", gzip.compress(filler * (1 << 26)))
    tracemalloc.start()
    refused(read, path, "line 1", "numbers, got a line of more than")
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs special files")
@pytest.mark.parametrize("read", READERS)
def test_what_is_no_regular_file_is_refused_unopened(tmp_path, read):
    os.mkfifo(tmp_path / "fifo")
    os.symlink("fifo", tmp_path / "link")
    for path in (tmp_path / "fifo", tmp_path / "link", Path("/dev/zero"), Path("/dev/null")):
        refused(read, path, "expected a regular file, got a FIFO, a socket or a device")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")


@pytest.mark.parametrize("read", READERS)
def test_a_gzip_stream_that_is_cut_off_or_changed_is_refused(tmp_path, read):
    content = {
        ls.data.read_idx: PAIRS,
        ls.data.read_usps: b"1 " + b"0 " * 256,
        ls.data.read_semeion: b"0 " * 256 + b"1 0 0 0 0 0 0 0 0 0",
    }[read]
    packed = gzip.compress(content)
    read(write(tmp_path / "whole", packed))
    for end in (3, 10, len(packed) // 2, len(packed) - 1):
        refused(read, write(tmp_path / "cut", packed[:end]), "expected a whole gzip stream")
    changed = packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:]  # in its checksum
    refused(read, write(tmp_path / "changed", changed), "expected a whole gzip stream")
    refused(read, write(tmp_path / "none", gzip.compress(b"")), "got an empty file")


@pytest.mark.parametrize("field", ["0.3_18", "0_1", "1_0e-1", "\u0661", "0x1", "1,0", "--1", "\0"])
def test_what_is_a_number_in_python_alone_is_refused(tmp_path, field):
    line = f"6 {'0 ' * 255}{field}\n".encode()
    refused(ls.data.read_usps, write(tmp_path / "usps", line), "line 1: expected numbers")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_on_any_system(tmp_path, end):
    path = write(tmp_path / "usps", end.join([f"{n} " + "0 " * 256 for n in (3, 4)]).encode())
    assert ls.data.read_usps(path)[1].tolist() == [3, 4]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs special files")
def test_what_is_no_regular_file_is_never_replaced_by_a_download(tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")
    monkeypatch.delenv("LOGISTACK_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda _: tmp_path)
    (tmp_path / "semeion").mkdir()
    os.mkfifo(tmp_path / "semeion" / "semeion.data")
    with pytest.raises(FileExistsError, match=r"semeion\.data: expected a regular file or none"):
        ls.data.load("semeion")


# USPS and Semeion


def usps_line(label="3.0000", pixels=256, last="0.5000"):
    return " ".join([label, *["-1.0000"] * (pixels - 1), last])


def semeion_line(hot="0 0 0 1 0 0 0 0 0 0", pixels=256, last="1.0000"):
    return " ".join([*["0.0000"] * (pixels - 1), last, hot])


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("end", ["\n", " \n", "\r\n", " \r\n"])
def test_text_round_trip(pack, end, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.array([*range(10), 7])
    gray, binary = rng.integers(-1000, 1001, (11, 256)) / 1000, rng.integers(0, 2, (11, 256))
    hot = np.eye(10, dtype=int)[labels]
    usps = "".join(
        f"{label}.0000 " + " ".join(f"{pixel:.4f}" for pixel in row) + end
        for label, row in zip(labels, gray, strict=True)
    )
    semeion = "".join(
        " ".join(f"{pixel:.4f}" for pixel in row) + " " + " ".join(map(str, one)) + end
        for row, one in zip(binary, hot, strict=True)
    )
    for read, text, wanted in (
        (ls.data.read_usps, usps, gray),
        (ls.data.read_semeion, semeion, binary),
    ):
        pixels, found = read(write(tmp_path / "digits", pack(text.encode())))
        assert (pixels.dtype, found.dtype) == (np.float32, np.int32)
        np.testing.assert_array_equal(pixels, wanted.astype(np.float32))
        np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (usps_line(pixels=255), "expected 257 numbers, got 256"),
        (usps_line(pixels=257), "expected 257 numbers, got 258"),
        ("", "expected 257 numbers, got 0"),
        (usps_line(last="0.5x"), "0.5x"),
        (usps_line(last="nan"), "expected pixels from -1 to 1, got [nan]"),
        (usps_line(last="1.0001"), "got [1.0001]"),
        (usps_line(last="-inf"), "got [-inf]"),
        (usps_line(label="10"), "expected a label from 0 to 9, got [10.0]"),
        (usps_line(label="-1"), "got [-1.0]"),
        (usps_line(label="2.5"), "got [2.5]"),
        (usps_line(label="nan"), "got [nan]"),
        (usps_line(label="three"), "three"),
    ],
)
def test_usps_refuses_and_names_the_line(line, said, tmp_path):
    text = "\n".join([usps_line(), usps_line(), line, usps_line()])
    refused(ls.data.read_usps, write(tmp_path / "zip", text.encode()), "line 3:", said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (semeion_line(pixels=255), "expected 266 numbers, got 265"),
        (semeion_line(pixels=257), "expected 266 numbers, got 267"),
        (semeion_line(last="O"), "b'O'"),
        (semeion_line(last="0.5"), "expected pixels of 0 or 1, got [0.5]"),
        (semeion_line(last="nan"), "got [nan]"),
        (semeion_line(hot="0 0 0 0 0 0 0 0 0 0"), "expected one 1 and nine 0"),
        (semeion_line(hot="0 0 1 0 0 1 0 0 0 0"), "expected one 1 and nine 0"),
        (semeion_line(hot="0 0 .5 0 0 .5 0 0 0 0"), "expected one 1 and nine 0"),
        (semeion_line(hot="2 0 0 -1 0 0 0 0 0 0"), "expected one 1 and nine 0"),
        (semeion_line(hot="nan 0 0 1 0 0 0 0 0 0"), "expected one 1 and nine 0"),
    ],
)
def test_semeion_refuses_and_names_the_line(line, said, tmp_path):
    text = "\n".join([semeion_line(), line, semeion_line()])
    refused(ls.data.read_semeion, write(tmp_path / "data", text.encode()), "line 2:", said)


@pytest.mark.parametrize("read", [ls.data.read_usps, ls.data.read_semeion])
def test_text_refuses_what_is_not_text(read, tmp_path):
    refused(read, write(tmp_path / "a", b""), "empty")
    refused(read, write(tmp_path / "a", bytes(range(256))), "line 1")
    line = usps_line().encode() if read is ls.data.read_usps else semeion_line().encode()
    packed = gzip.compress(line)
    for end in (2, 9, 10, 20, len(packed) // 2, len(packed) - 8, len(packed) - 1):
        refused(read, write(tmp_path / "a", packed[:end]), "gzip")


# The sets


def published_arrays(folder, name, split):
    """Pixels between paper 0 and ink 1, and labels, read without this library."""
    if name in ("digits", "digits16"):
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        if name == "digits16":
            images = np.pad(pixels.reshape(-1, 8, 8), ((0, 0), (3, 3), (3, 3)), mode="edge")
            larger = jax.image.resize(images.astype(np.float32), (len(images), 28, 28), "cubic")
            pixels = np.asarray(larger)[:, 6:-6, 6:-6].reshape(-1, 256).clip(0, 16)
        return pixels / 16, labels
    if name == "semeion":
        table = np.loadtxt(folder / "semeion/semeion.data")
        return table[:, :256], table[:, 256:] @ np.arange(10)
    if name == "usps":
        table = np.loadtxt(folder / f"usps/zip.{split}.gz")
        return (table[:, 1:] + 1) / 2, table[:, 0]
    part = {"train": "train", "test": "t10k"}[split]
    images = gzip.decompress((folder / f"mnist/{part}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / f"mnist/{part}-labels-idx1-ubyte.gz").read_bytes())[8:]
    pixels = np.frombuffer(images, np.uint8).reshape(-1, 784)
    return np.divide(pixels, 255, dtype=np.float32), np.frombuffer(labels, np.uint8)


@pytest.mark.parametrize(("name", "split"), COUNTS)
def test_sets_are_the_published_ones(name, split, available):
    found = loaded(name, split)
    pixels, labels = published_arrays(available, name, split)
    assert found.inputs.shape == pixels.shape
    some = slice(None, None, 1 + len(pixels) // 10_000)  # MNIST is large, and has a digest
    assert np.abs(found.inputs[some] - pixels[some]).max() < 1e-7
    np.testing.assert_array_equal(found.labels, labels)
    assert np.bincount(found.labels).tolist() == COUNTS[name, split]


@pytest.mark.parametrize("name", ["digits", "digits16", "semeion", "usps", "mnist"])
def test_every_set_has_one_form(name, available):
    found = loaded(name, "test")
    samples, features = found.inputs.shape
    assert found.name == name
    assert found.classes == tuple("0123456789")
    assert found.image_shape[0] * found.image_shape[1] == features
    assert (found.inputs.dtype, found.targets.dtype) == (np.float32, np.float32)
    assert found.labels.dtype == np.int32
    assert found.labels.shape == (samples,)
    assert (found.inputs.min(), found.inputs.max()) == (0, 1)
    np.testing.assert_array_equal(found.targets, np.eye(10)[found.labels])


@pytest.mark.parametrize("name", ["digits", "digits16", "semeion", "usps", "mnist"])
def test_pictures_stand_upright_and_ink_is_one(name, published):
    """Of the eight ways to turn or mirror it, the set as it is looks most like USPS."""

    def mean_digits(name):
        found = loaded(name, "test")
        images = found.inputs.reshape(-1, *found.image_shape)
        images = images[:, 4:-4, 4:-4] if name == "mnist" else images  # its margin
        means = np.stack([images[found.labels == label].mean(axis=0) for label in range(10)])
        return np.asarray(jax.image.resize(means, (10, 16, 16), "linear"))

    reference, means = mean_digits("usps"), mean_digits(name)
    seven = reference[7]  # a bar on top and a stroke on the right, of ink on paper
    assert seven[:8].sum() > 1.5 * seven[8:].sum()
    assert seven[:, 8:].sum() > 1.5 * seven[:, :8].sum()
    turned = [np.rot90(means, turns, (1, 2)) for turns in range(4)]
    turned += [image.swapaxes(1, 2) for image in turned]
    likeness = [np.corrcoef(image.ravel(), reference.ravel())[0, 1] for image in turned]
    assert np.argmax(likeness) == 0
    assert likeness[0] > 0.3


def test_mnist_figures(published):
    """The figures that everybody normalizes MNIST by, and its first labels."""
    train = loaded("mnist", "train")
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert train.inputs.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert train.inputs.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)


def test_no_split_is_train_then_test(published):
    whole = loaded("usps")
    train, test = loaded("usps", "train"), ls.data.load("usps", split="test", seed=5)
    assert (len(train.labels), len(test.labels)) == (7291, 2007)
    for field in ("inputs", "targets", "labels"):
        parts = [getattr(train, field), getattr(test, field)]
        np.testing.assert_array_equal(getattr(whole, field), np.concatenate(parts))


def rows(found):
    """Each sample as bytes, label included."""
    return [
        pixels.tobytes() + bytes([label])
        for pixels, label in zip(found.inputs, found.labels, strict=True)
    ]


@pytest.mark.parametrize("name", ONE_PART)
@pytest.mark.parametrize("seed", [0, 1, 2**70])
def test_seeded_split_is_stratified(name, seed, available):
    whole = loaded(name)
    train, test = (ls.data.load(name, split=split, seed=seed) for split in ("train", "test"))
    assert sorted(rows(train) + rows(test)) == sorted(rows(whole))
    everyone, held_out = np.bincount(whole.labels), np.bincount(test.labels)
    assert abs(held_out - everyone / 5).max() <= 0.5
    for part in (train, test):  # rows keep their order
        remaining = iter(rows(whole))
        assert all(row in remaining for row in rows(part))


def test_split_follows_the_seed_alone():
    splits = {
        seed: [ls.data.load(name, split="test", seed=seed) for name in ("digits", "digits16")]
        for seed in (0, np.int64(1), 2)
    }
    for seed, (digits, digits16) in splits.items():
        again = ls.data.load("digits", split="test", seed=seed)
        np.testing.assert_array_equal(digits.inputs, again.inputs)
        np.testing.assert_array_equal(digits.labels, digits16.labels)
    first, second, third = (rows(digits) for digits, _ in splits.values())
    # Two independent fifths share a fifth of their samples: 359 / 5 ≈ 72.
    for one, other in ((first, second), (second, third), (first, third)):
        assert 40 < len(set(one) & set(other)) < 110
    # Published results name a seed: it must mean the same samples in every version.
    assert hashlib.sha256(b"".join(first)).hexdigest()[:16] == "0e689df3c7c0a3e4"


def test_loads_are_independent():
    first = ls.data.load("digits")
    first.inputs[:] = 7
    assert ls.data.load("digits").inputs.max() == 1
    with pytest.raises(AttributeError):
        first.name = "mine"


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"name": "minst"}, ValueError, r"name: .*'digits', 'digits16', 'mnist', .*'minst'"),
        ({"name": "digits", "split": "valid"}, ValueError, "split: .*'train' or 'test'.*'valid'"),
        ({"name": "digits", "split": "all"}, ValueError, "split: .*'all'"),
        ({"name": "digits", "split": ""}, ValueError, "split: "),
        ({"name": "digits", "seed": -1}, ValueError, "seed: .*-1"),
        ({"name": "digits", "seed": 1.0}, TypeError, "seed: .*1.0"),
        ({"name": "digits", "seed": None}, TypeError, "seed: .*None"),
        ({"name": "digits", "seed": True}, TypeError, "seed: .*True"),
    ],
)
def test_load_refuses(arguments, error, said):
    with pytest.raises(error, match=said):
        ls.data.load(**arguments)


# The folder that LOGISTACK_DATA names


@pytest.mark.parametrize("name", ["semeion", "usps", "mnist"])
def test_a_missing_file_names_path_and_variable(name, folder):
    with pytest.raises(FileNotFoundError, match="LOGISTACK_DATA") as caught:
        ls.data.load(name)
    assert str(folder / name) in str(caught.value)


def unpacked(published, path):
    content = (published / path).read_bytes()
    return gzip.decompress(content) if path.endswith(".gz") else content


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("semeion", "semeion/semeion.data"),
        ("usps", "usps/zip.test.gz"),
        ("mnist", "mnist/t10k-images-idx3-ubyte.gz"),
        ("mnist", "mnist/t10k-labels-idx1-ubyte.gz"),
    ],
)
def test_a_changed_file_is_refused(name, path, published, folder):
    """One pixel or label other than published, in a file that is whole and well-formed."""
    shutil.copytree(published / name, folder / name, copy_function=os.symlink)
    content = bytearray(unpacked(published, path))
    if name == "mnist":
        content[-1] ^= 1
    else:
        old, new = {"semeion": (b"0.0000", b"1.0000"), "usps": (b"-1.0000", b"-0.9990")}[name]
        content = content.replace(old, new, 1)
    (folder / path).unlink()
    write(folder / path, gzip.compress(content, 1) if path.endswith(".gz") else bytes(content))
    with pytest.raises(ValueError, match=r"SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}") as caught:
        ls.data.load(name, split="test")
    assert str(folder / path) in str(caught.value)


def test_usps_is_known_by_its_numbers(published, folder):
    """Unpacked, and written with other digits, it is still the published set."""
    numbers = unpacked(published, "usps/zip.test.gz").replace(b"-1.0000", b"-1")
    write(folder / "usps/zip.test.gz", numbers)
    assert len(ls.data.load("usps", split="test").labels) == 2007


# The cache and the publishers

FILES = {
    "semeion": ["https://archive.ics.uci.edu/ml/machine-learning-databases/semeion/semeion.data"],
    "usps": ["https://hastie.su.domains/ElemStatLearn/datasets/zip.test.gz"],
    "mnist": [
        "https://storage.googleapis.com/cvdf-datasets/mnist/t10k-images-idx3-ubyte.gz",
        "https://storage.googleapis.com/cvdf-datasets/mnist/t10k-labels-idx1-ubyte.gz",
    ],
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no LOGISTACK_DATA."""
    import pooch

    monkeypatch.delenv("LOGISTACK_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    return tmp_path / "cache" / "logistack"


@pytest.fixture
def publisher(cache, monkeypatch):
    """A loopback server that all downloads go to: set `files`, `cut` or `sized`, read `asked`."""
    import pooch

    class Publisher(http.server.BaseHTTPRequestHandler):
        files, asked, cut, sized = {}, [], None, True

        def do_GET(self):
            content = self.files.get(self.path[1:])
            self.send_response(404 if content is None else 200)
            if self.sized:
                self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write((content or b"")[: self.cut])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    download = pooch.HTTPDownloader.__call__

    def redirect(self, url, output, source):
        Publisher.asked.append(url)
        name = url.rpartition("/")[2]
        return download(self, f"http://127.0.0.1:{server.server_port}/{name}", output, source)

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", redirect)
    yield Publisher
    server.shutdown()
    server.server_close()
    thread.join()


def files_in(cache):
    return {str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FILES)
def test_downloads_once_and_says_so(name, published, cache, publisher, caplog, monkeypatch):
    import pooch

    monkeypatch.setattr(pooch.get_logger(), "handlers", [caplog.handler])
    names = {f"{name}/{url.rpartition('/')[2]}" for url in FILES[name]}
    publisher.files |= {file.rpartition("/")[2]: (published / file).read_bytes() for file in names}
    found = ls.data.load(name, split="test")
    assert publisher.asked == FILES[name]
    said = [record.getMessage() for record in caplog.records]
    assert all(url in line for url, line in zip(FILES[name], said, strict=True))
    assert files_in(cache) == names
    again = ls.data.load(name, split="test")
    assert len(publisher.asked) == len(names)
    np.testing.assert_array_equal(found.inputs, again.inputs)


@pytest.mark.parametrize("name", ["semeion", "usps"])
@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        ({"cut": 5000}, OSError),
        ({"cut": 5000, "sized": False}, ValueError),
        ({"wrong": b"<html>We have moved</html>"}, ValueError),
        ({"wrong": b""}, ValueError),
        ({"wrong": None}, OSError),
    ],
)
def test_a_bad_download_leaves_nothing(name, trouble, error, published, cache, publisher):
    (url,) = FILES[name]
    file = url.rpartition("/")[2]
    right = (published / name / file).read_bytes()
    publisher.files[file] = trouble.get("wrong", right)
    publisher.cut, publisher.sized = trouble.get("cut"), trouble.get("sized", True)
    with pytest.raises(error) as caught:
        ls.data.load(name, split="test")
    if error is ValueError:
        assert url in str(caught.value)
    else:
        assert "LOGISTACK_DATA" in "".join(caught.value.__notes__)
    assert files_in(cache) == set()
    publisher.files[file], publisher.cut = right, None
    ls.data.load(name, split="test")
    assert files_in(cache) == {f"{name}/{file}"}


def test_an_interrupted_download_leaves_nothing(cache, monkeypatch):
    import pooch

    def interrupt(self, url, output, source):
        Path(output).write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ls.data.load("semeion")
    assert files_in(cache) == set()


@pytest.mark.parametrize("name", ["semeion", "usps"])
def test_a_damaged_cache_heals(name, published, cache, publisher):
    (url,) = FILES[name]
    file = url.rpartition("/")[2]
    right = (published / name / file).read_bytes()
    write(cache / name / file, right[:-100])
    with pytest.raises(OSError, match="404"):
        ls.data.load(name, split="test")
    write(cache / name / file, right[:-100])
    publisher.files[file] = right
    ls.data.load(name, split="test")
    assert (cache / name / file).read_bytes() == right


def test_a_named_folder_is_never_filled(folder, publisher, monkeypatch):
    monkeypatch.setenv("LOGISTACK_DATA", str(folder))
    with pytest.raises(FileNotFoundError):
        ls.data.load("usps")
    assert publisher.asked == []


# Extras


@pytest.mark.parametrize(("module", "name"), [("sklearn.datasets", "digits"), ("pooch", "usps")])
def test_a_missing_package_names_the_extra(module, name, monkeypatch):
    monkeypatch.delenv("LOGISTACK_DATA", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'logistack\[data\]'") as caught:
        ls.data.load(name)
    assert module in str(caught.value)


def test_importing_needs_no_extra():
    program = (
        "import sys, jax, optax; before = set(sys.modules); import logistack.data;"
        "print({name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "logistack" in done.stdout
    assert not any(f"'{name}'" in done.stdout for name in ("pooch", "sklearn", "scipy", "requests"))
