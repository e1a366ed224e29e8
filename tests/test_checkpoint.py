"""Checkpoints: every bit comes back, every version is whole or absent, every misfit is named."""

import collections
import contextlib
import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logistack as ls
from logistack import _leaves, checkpoint

pytest.importorskip("orbax.checkpoint")

DTYPES = [
    *("bool", "int2", "int4", "int8", "int16", "int32", "int64"),
    *("uint2", "uint4", "uint8", "uint16", "uint32", "uint64"),
    *("bfloat16", "float16", "float32", "float64", "complex64", "complex128"),
    *("float4_e2m1fn", "float8_e4m3", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"),
]
STATE = {"weight": jnp.arange(6.0).reshape(2, 3), "bias": jnp.arange(3)}


def bits(tree):
    """Structure, and dtype, shape and bytes of every leaf."""
    leaves, structure = jax.tree.flatten(tree)
    described = []
    for leaf in leaves:
        dtype = str(leaf.dtype)
        if dtype.startswith("key"):
            leaf = jax.random.key_data(leaf)
        described.append((dtype, leaf.shape, np.asarray(leaf).tobytes()))
    return structure, described


def train_state(optimizer, sizes=(3, 4, 2), epoch=7):
    state = ls.init_state(ls.init_params(jax.random.key(1), sizes), optimizer)
    filled = jax.tree.map(lambda leaf: leaf + jnp.ones((), leaf.dtype), state)
    return filled._replace(epoch=jnp.int32(epoch))


def any_bits(dtype, shape):
    """An array of any bits that the dtype can have."""
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    raw = np.random.default_rng(0).integers(0, 256, count * dtype.itemsize, np.uint8)
    narrow = {"bool": 1, "int2": 3, "uint2": 3, "int4": 15, "uint4": 15, "float4_e2m1fn": 15}
    if dtype.name in narrow:
        # The byte of a narrow number has one form alone, which NumPy's own cast writes.
        raw = (raw & narrow[dtype.name]).view(dtype).astype(np.float32).astype(dtype)
    return raw.view(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_of_every_dtype_comes_back(tmp_path, x64, dtype):
    state = {
        "numpy": any_bits(dtype, (3, 5)),
        "jax": jnp.array(any_bits(dtype, (7,))),
        "scalar": any_bits(dtype, (4,))[3],
        "none": any_bits(dtype, (2, 0, 3)),
        "columns": np.asfortranarray(any_bits(dtype, (3, 2))),
        "every second": any_bits(dtype, (6,))[::2],
    }
    checkpoint.save(tmp_path, state)
    restored = checkpoint.restore(tmp_path, state)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(restored))
    assert bits(restored) == bits(state)


def test_nan_payloads_negative_zeros_and_subnormals_come_back(tmp_path):
    patterns = np.array([0x7FC00001, 0x7F800001, 0xFFBADBAD, 0x80000000, 1, 0x807FFFFF, 0x7F800000])
    state = patterns.astype(np.uint32).view(np.float32)
    checkpoint.save(tmp_path, jnp.array(state))
    restored = np.asarray(checkpoint.restore(tmp_path, state))
    np.testing.assert_array_equal(restored.view(np.uint32), patterns)
    checkpoint.save(tmp_path, np.full(3, -0.0, np.float32))
    zeros = checkpoint.restore(tmp_path, np.zeros(3, np.float32))
    assert np.signbit(np.asarray(zeros)).all()


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("shape", [(), (2, 2), (0,)])
def test_random_keys_come_back_and_draw_the_same(tmp_path, impl, shape):
    key = jax.random.split(jax.random.key(5, impl=impl), shape)
    checkpoint.save(tmp_path, [key, jax.random.PRNGKey(3)])
    restored, old = checkpoint.restore(
        tmp_path, jax.eval_shape(lambda: [key, jax.random.PRNGKey(0)])
    )
    assert bits(restored) == bits(key)
    assert bits(old) == bits(jax.random.PRNGKey(3))
    if shape == ():
        assert jax.random.bits(restored) == jax.random.bits(key)
    other = jax.random.key(0, impl="rbg" if impl != "rbg" else "threefry2x32")
    with pytest.raises(ValueError, match=r"^\[0\]: expected \(\) key<\w+>, .* has .*key<\w+>$"):
        checkpoint.restore(tmp_path, [other, old])


@pytest.mark.parametrize(
    "optimizer",
    [optax.sgd(0.1), optax.sgd(0.1, momentum=0.9), optax.adam(optax.linear_schedule(0.1, 0.0, 9))],
    ids=["sgd", "momentum", "adam"],
)
def test_a_train_state_comes_back_whole(tmp_path, optimizer):
    state = train_state(optimizer)
    checkpoint.save(tmp_path, state)
    for like in (state, jax.eval_shape(lambda: state), jax.tree.map(np.zeros_like, state)):
        assert bits(checkpoint.restore(tmp_path, like)) == bits(state)


def test_training_goes_on_as_if_never_interrupted(tmp_path):
    key = jax.random.key(0)
    inputs = jax.random.normal(jax.random.key(1), (12, 3))
    targets = jnp.arange(12) % 2
    options = {
        "optimizer": optax.adam(0.05),
        "loss": ls.losses.softmax_cross_entropy,
    }
    params = ls.init_params(key, (3, 4, 2))
    half = ls.fit(key, params, inputs, targets, epochs=2, **options)
    checkpoint.save(tmp_path, half.state)
    restored = checkpoint.restore(tmp_path, jax.eval_shape(lambda: half.state))
    second = ls.fit(key, restored, inputs, targets, epochs=2, **options)
    whole = ls.fit(key, params, inputs, targets, epochs=4, **options)
    assert bits(second.state) == bits(whole.state)


def test_nothing_is_structure_and_numbers_are_leaves(tmp_path):
    state = {"a": None, "b": (), "c": optax.EmptyState(), "d": [1, 2.5, True, np.float32(0.1)]}
    checkpoint.save(tmp_path, state)
    restored = checkpoint.restore(tmp_path, state)
    assert restored["a"] is None
    assert restored["c"] == optax.EmptyState()
    assert [leaf.dtype.name for leaf in restored["d"]] == ["int32", "float32", "bool", "float32"]
    assert [leaf.item() for leaf in restored["d"]] == [1, 2.5, True, np.float32(0.1).item()]


def test_leaves_go_by_name_and_not_by_order(tmp_path):
    checkpoint.save(tmp_path, collections.OrderedDict(a=jnp.zeros(2), b=jnp.ones(2)))
    like = collections.OrderedDict(b=jnp.zeros(2), a=jnp.zeros(2))
    restored = checkpoint.restore(tmp_path, like)
    assert [*restored] == ["b", "a"]
    assert restored["b"].tolist() == [1, 1]
    assert restored["a"].tolist() == [0, 0]


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".", "", "é ü", "x" * 300, "a\nb", "'", "[0]", "manifest"]
)
def test_any_name_will_do(tmp_path, name):
    state = {name: jnp.arange(3), "other": {name: jnp.zeros(2)}}
    checkpoint.save(tmp_path, state)
    assert bits(checkpoint.restore(tmp_path, state)) == bits(state)
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]


def over(devices):
    """Arrays in so many parts."""
    if len(jax.devices()) < 8:
        pytest.skip("needs eight devices")
    types = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((devices,), ("i",), axis_types=types, devices=jax.devices()[:devices])
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("i"))


def test_leaves_come_from_any_device_to_where_the_like_is_or_to_the_default_one(tmp_path):
    state = {
        "sharded": jax.device_put(jnp.arange(16.0), over(8)),
        "elsewhere": jax.device_put(jnp.arange(3), jax.devices()[5]),
    }
    whole = jax.tree.map(np.asarray, state)
    checkpoint.save(tmp_path, state)
    restored = checkpoint.restore(tmp_path, whole)
    assert bits(restored) == bits(state)
    first, _, _, fourth, *_ = jax.devices()
    assert [leaf.devices() for leaf in jax.tree.leaves(restored)] == [{first}] * 2
    with jax.default_device(fourth):
        assert checkpoint.restore(tmp_path, whole)["sharded"].devices() == {fourth}
    assert checkpoint.restore(tmp_path, state)["elsewhere"].devices() == {first}


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_parts_are_saved_and_come_to_other_numbers_of_devices(tmp_path, devices):
    keys = jax.random.split(jax.random.key(0), 8)
    state = {
        "weight": jnp.arange(16.0).reshape(8, 2),
        "small": jnp.arange(8, dtype=jnp.int8),
        "keys": keys,
        "none": jnp.zeros((8, 0)),
        "whole": jnp.ones(3),
    }
    parts = {name: jax.device_put(leaf, over(4)) for name, leaf in state.items() if name != "whole"}
    for name, leaf in parts.items():  # nothing in parts is gathered
        stored = _leaves.pack(name, leaf)[1]
        assert name == "none" or stored.sharding.is_equivalent_to(over(4), stored.ndim)
    checkpoint.save(tmp_path, state | parts)
    wanted = {name: jax.device_put(leaf, over(devices)) for name, leaf in parts.items()}
    like = jax.eval_shape(lambda: state | wanted)
    like = jax.tree.map(
        lambda leaf, given: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=given.sharding),
        like,
        state | wanted,
    )
    restored = checkpoint.restore(tmp_path, like)
    for name, leaf in restored.items():
        assert leaf.dtype == state[name].dtype
        if name != "keys":
            np.testing.assert_array_equal(leaf, state[name])
        if name not in ("whole", "none"):
            assert leaf.sharding.is_equivalent_to(over(devices), leaf.ndim)
    assert bits(jax.random.key_data(restored["keys"])) == bits(jax.random.key_data(keys))


def test_what_comes_back_can_be_donated_and_is_a_copy(tmp_path):
    checkpoint.save(tmp_path, STATE)
    first = checkpoint.restore(tmp_path, STATE)
    jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)(first)
    assert bits(checkpoint.restore(tmp_path, STATE)) == bits(STATE)


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"weight": jnp.zeros((2, 4)), "bias": jnp.arange(3)}, r"['weight']: expected (2, 4) float32, the checkpoint at {folder} has (2, 3) float32"),
        ({"weight": jnp.zeros((3, 2)), "bias": jnp.arange(3)}, r"['weight']: expected (3, 2) float32, the checkpoint at {folder} has (2, 3) float32"),
        ({"weight": STATE["weight"], "bias": jnp.zeros(3)}, r"['bias']: expected (3,) float32, the checkpoint at {folder} has (3,) int32"),
        ({"weight": jnp.zeros((2, 3), jnp.bfloat16), "bias": jnp.arange(3)}, r"['weight']: expected (2, 3) bfloat16, the checkpoint at {folder} has (2, 3) float32"),
        ({"weight": STATE["weight"]}, r"['bias']: expected no such leaf, the checkpoint at {folder} has (3,) int32"),
        (STATE | {"scale": 1.0}, r"['scale']: expected () float32, the checkpoint at {folder} has no such leaf"),
        ({"weight": STATE["weight"], "bias": None}, r"['bias']: expected no such leaf, the checkpoint at {folder} has (3,) int32"),
        ({"weight": [STATE["weight"]], "bias": jnp.arange(3)}, r"['weight'][0]: expected (2, 3) float32, the checkpoint at {folder} has no such leaf"),
        (jnp.zeros(2), r"state: expected (2,) float32, the checkpoint at {folder} has no such leaf"),
        (None, r"['bias']: expected no such leaf, the checkpoint at {folder} has (3,) int32"),
    ],
)  # fmt: skip
def test_a_template_that_does_not_fit_is_refused_by_leaf(tmp_path, like, message):
    checkpoint.save(tmp_path, STATE)
    with pytest.raises(ValueError, match=f"^{re.escape(message.format(folder=tmp_path / '1'))}$"):
        checkpoint.restore(tmp_path, like)


def test_another_network_or_optimizer_is_refused_by_leaf(tmp_path):
    checkpoint.save(tmp_path, train_state(optax.sgd(0.1, momentum=0.9)))
    with pytest.raises(
        ValueError, match=r"^params\[0\]\.weight: expected \(5, 3\) float32, .* has \(4, 3\)"
    ):
        checkpoint.restore(tmp_path, train_state(optax.sgd(0.1, momentum=0.9), sizes=(3, 5, 2)))
    with pytest.raises(
        ValueError, match=r"^opt_state\[0\]\.trace\[0\]\.weight: expected no such leaf"
    ):
        checkpoint.restore(tmp_path, train_state(optax.sgd(0.1)))
    with pytest.raises(
        ValueError, match=r"^opt_state\[0\]\.count: expected \(\) int32, .* no such leaf"
    ):
        checkpoint.restore(tmp_path, train_state(optax.adam(0.1)))


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint64", "complex128"])
def test_64_bits_are_never_cut_to_32(tmp_path, dtype):
    state = {"a": np.array([1], dtype) / 3 if dtype == "float64" else np.array([1], dtype)}
    checkpoint.save(tmp_path, state)
    with pytest.raises(
        ValueError, match=rf"^\['a'\]: expected jax_enable_x64 on, .*/1 has {dtype}$"
    ):
        checkpoint.restore(tmp_path, state)
    with pytest.raises(
        ValueError, match=rf"^\['a'\]: expected \(1,\) \w+32, .*/1 has \(1,\) {dtype}$"
    ):
        checkpoint.restore(
            tmp_path,
            {"a": jnp.zeros(1, dtype.replace("64", "32"))}
            if dtype != "complex128"
            else {"a": np.zeros(1, np.float32)},
        )
    with jax.enable_x64(True):
        assert bits(checkpoint.restore(tmp_path, state)) == bits(state)


def test_notes_stay_with_their_version(tmp_path):
    notes = {
        "loss": [1.5, math.nan, math.inf, -math.inf, -0.0, 1e-310],
        "name": "é\n",
        "deep": {"a": None, "b": [True, 2**70]},
    }
    checkpoint.save(tmp_path, STATE, notes=notes)
    checkpoint.save(tmp_path, STATE)
    assert repr(checkpoint.read_notes(tmp_path, version=1)) == repr(notes)
    assert checkpoint.read_notes(tmp_path) == {}
    checkpoint.save(tmp_path, STATE, notes={1: (2, 3), "1": "twice"})
    assert checkpoint.read_notes(tmp_path) == {"1": "twice"}
    assert bits(checkpoint.restore(tmp_path, STATE)) == bits(STATE)


@pytest.mark.parametrize("notes", [{"a": np.zeros(2)}, {"a": {1, 2}}, [1], 3, "text", {(1, 2): 3}])
def test_notes_that_json_cannot_hold_are_refused_before_anything_is_written(tmp_path, notes):
    with pytest.raises(TypeError, match=r"^notes: expected a mapping that JSON can hold"):
        checkpoint.save(tmp_path / "new", STATE, notes=notes)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "leaf",
    ["float32", object(), np.array(["a"]), np.array([None]), np.zeros(1, "M8[s]"), np.zeros(1, np.longdouble), np.zeros(1, ">f4"), np.zeros(1, "i4,f4"), print],
)  # fmt: skip
def test_a_leaf_that_is_no_array_of_jax_is_refused_by_name(tmp_path, leaf):
    with pytest.raises(
        TypeError, match=r"^\['a'\]\[1\]: expected an array of a dtype JAX has, got \S+"
    ):
        checkpoint.save(tmp_path / "new", {"a": [1, leaf]})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("state", [None, (), {}, optax.EmptyState()])
def test_a_state_without_a_leaf_is_refused(tmp_path, state):
    with pytest.raises(ValueError, match=r"^state: expected a pytree of arrays"):
        checkpoint.save(tmp_path / "new", state)


def test_leaves_of_one_name_are_refused(tmp_path):
    class Pair:
        def __init__(self, *parts):
            self.parts = parts

    same = jax.tree_util.GetAttrKey("part")
    jax.tree_util.register_pytree_with_keys(
        Pair,
        lambda pair: ([(same, part) for part in pair.parts], None),
        lambda _, parts: Pair(*parts),
    )
    with pytest.raises(
        ValueError, match=r"^state: expected leaves of different names, got 2: .*part"
    ):
        checkpoint.save(tmp_path / "new", Pair(1, 2))


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_versions_stay(tmp_path, keep):
    for epoch in range(1, 5):
        checkpoint.save(tmp_path, {"epoch": epoch}, keep=keep)
        assert checkpoint.versions(tmp_path) == list(range(max(1, epoch - keep + 1), epoch + 1))
        assert checkpoint.restore(tmp_path, {"epoch": 0})["epoch"] == epoch
    assert sorted(os.listdir(tmp_path)) == [str(v) for v in checkpoint.versions(tmp_path)]
    for version in checkpoint.versions(tmp_path):
        assert checkpoint.restore(tmp_path, {"epoch": 0}, version=version)["epoch"] == version


def test_the_tenth_version_is_newer_than_the_ninth(tmp_path):
    checkpoint.save(tmp_path, {"epoch": 9})
    os.rename(tmp_path / "1", tmp_path / "9")
    checkpoint.save(tmp_path, {"epoch": 10})
    assert checkpoint.versions(tmp_path) == [9, 10]
    assert checkpoint.restore(tmp_path, {"epoch": 0})["epoch"] == 10


@pytest.mark.parametrize(
    ("keep", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_keep_is_a_count(tmp_path, keep, error):
    with pytest.raises(error, match=r"^keep: expected"):
        checkpoint.save(tmp_path / "new", STATE, keep=keep)
    assert not (tmp_path / "new").exists()


def test_what_is_not_there_is_said_so(tmp_path):
    for read in (checkpoint.read_notes, lambda *a, **k: checkpoint.restore(*a, STATE, **k)):
        with pytest.raises(
            FileNotFoundError, match=r"^path: expected a checkpoint at .*new, found no such folder"
        ):
            read(tmp_path / "new")
        with pytest.raises(FileNotFoundError, match="found an empty folder"):
            read(tmp_path)
    (tmp_path / "thesis.txt").touch()
    (tmp_path / "7").touch()
    (tmp_path / "007").mkdir()
    (tmp_path / "3.unfinished").mkdir()
    assert checkpoint.versions(tmp_path) == []
    with pytest.raises(
        FileNotFoundError, match=r"found \['007', '3\.unfinished', '7', 'thesis\.txt'\]"
    ):
        checkpoint.restore(tmp_path, STATE)
    checkpoint.save(tmp_path, STATE)
    assert sorted(os.listdir(tmp_path)) == ["007", "1", "3.unfinished", "7", "thesis.txt"]
    with pytest.raises(FileNotFoundError, match=r"^version: expected one of \[1\] at .*, got 2"):
        checkpoint.restore(tmp_path, STATE, version=2)
    with pytest.raises(TypeError, match=r"^version: expected an integer"):
        checkpoint.restore(tmp_path, STATE, version="1")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    for act in (
        lambda: checkpoint.save(path, STATE),
        lambda: checkpoint.restore(path, STATE),
        lambda: checkpoint.resume(path, STATE),
        lambda: checkpoint.read_notes(path),
        lambda: checkpoint.versions(path),
    ):
        with pytest.raises(NotADirectoryError, match="file"):
            act()
    assert path.read_text() == "mine"


def test_resume_starts_afresh_or_goes_on(tmp_path):
    assert checkpoint.resume(tmp_path / "new", STATE) is STATE
    assert checkpoint.resume(tmp_path, STATE) is STATE
    checkpoint.save(tmp_path, jax.tree.map(lambda leaf: leaf + 1, STATE))
    assert bits(checkpoint.resume(tmp_path, STATE)) == bits(
        jax.tree.map(lambda leaf: leaf + 1, STATE)
    )


@pytest.mark.parametrize("kind", [str, Path])
def test_relative_paths_are_from_here(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    checkpoint.save(kind("deep/run"), STATE)
    monkeypatch.chdir(tmp_path / "deep")
    assert checkpoint.versions(kind("run")) == [1]
    assert bits(checkpoint.restore(kind("run"), STATE)) == bits(STATE)


def test_a_moved_folder_is_the_same_checkpoint(tmp_path):
    checkpoint.save(tmp_path / "here", STATE)
    os.rename(tmp_path / "here", tmp_path / "there")
    assert bits(checkpoint.restore(tmp_path / "there", STATE)) == bits(STATE)


def damage(kind, content):
    middle = len(content) // 2
    return {
        "empty": b"",
        "half": content[:middle],
        "one byte less": content[:-1],
        "first bit": bytes([content[0] ^ 1]) + content[1:],
        "middle bit": content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :],
        "last bit": content[:-1] + bytes([content[-1] ^ 128]),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["removed", "empty", "half", "one byte less", "first bit", "middle bit", "last bit"]
)
def test_a_version_with_a_damaged_file_is_said_and_the_one_before_it_used(tmp_path, capfd, kind):
    older = jax.tree.map(lambda leaf: leaf + 1, STATE)
    checkpoint.save(tmp_path, older)
    checkpoint.save(tmp_path, STATE, notes={"loss": 0.25})
    newest = tmp_path / "2"
    files = [file for file in newest.rglob("*") if file.is_file()]
    assert newest / "manifest.json" in files
    assert len(files) > 5
    for file in files:
        content = file.read_bytes()
        file.unlink() if kind == "removed" else file.write_bytes(damage(kind, content))
        # A file has its name in the message; the inside of the manifest may be anything.
        name = (
            ".*"
            if file.name == "manifest.json"
            else f".*{re.escape(str(file.relative_to(newest)))}.*"
        )
        problem = rf"^{re.escape(str(newest))}: the version cannot be read: {name}; version 1"
        for read in (checkpoint.restore, lambda path, _, **k: checkpoint.read_notes(path, **k)):
            with pytest.raises(ValueError, match=f"{problem} is whole: pass version=1$"):
                read(tmp_path, STATE, version=2)
        for read, wanted in (
            (lambda: bits(checkpoint.restore(tmp_path, STATE)), bits(older)),
            (lambda: bits(checkpoint.resume(tmp_path, STATE)), bits(older)),
            (lambda: checkpoint.read_notes(tmp_path), {}),
            (lambda: checkpoint.newest(tmp_path), 1),
        ):
            with pytest.warns(
                RuntimeWarning, match=f"{problem}, the newest that is whole, is used$"
            ):
                assert read() == wanted
        file.write_bytes(content)
    assert bits(checkpoint.restore(tmp_path, STATE)) == bits(STATE)
    assert bits(checkpoint.restore(tmp_path, STATE, version=1)) == bits(older)
    assert capfd.readouterr() == ("", "")


def test_a_manifest_that_says_something_else_is_refused(tmp_path):
    checkpoint.save(tmp_path, STATE, notes={"loss": 0.25})
    manifest = tmp_path / "1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("0.25", "0.35"))
    for read in (
        lambda: checkpoint.restore(tmp_path, STATE),
        lambda: checkpoint.read_notes(tmp_path),
    ):
        with pytest.raises(ValueError, match=r"manifest\.json is not what was saved"):
            read()


def test_the_newest_whole_version_is_the_one_named(tmp_path):
    for _ in range(4):
        checkpoint.save(tmp_path, STATE, keep=4)
    (tmp_path / "4" / "manifest.json").write_text("{}")
    (tmp_path / "2" / "manifest.json").unlink()
    for version in (4, 2):
        with pytest.raises(ValueError, match="version 3 is whole: pass version=3"):
            checkpoint.restore(tmp_path, STATE, version=version)
    with pytest.warns(RuntimeWarning, match=r"4: .*; version 3, the newest that is whole, is used"):
        checkpoint.restore(tmp_path, STATE)


def test_if_no_version_is_whole_that_is_said(tmp_path):
    checkpoint.save(tmp_path, STATE)
    checkpoint.save(tmp_path, STATE)
    for version in ("1", "2"):
        (tmp_path / version / "state" / "_METADATA").unlink()
    with pytest.raises(
        ValueError, match=r"2: the version cannot be read: .*; no other version is whole$"
    ):
        checkpoint.restore(tmp_path, STATE)


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, STATE)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_FORMAT", 2)
        checkpoint.save(tmp_path, STATE)
        assert bits(checkpoint.restore(tmp_path, STATE, version=1)) == bits(STATE)
    message = "2: the version cannot be read: expected format 1 at most, got 2 of a newer logistack; version 1 is whole"
    for read in (
        lambda: checkpoint.restore(tmp_path, STATE),
        lambda: checkpoint.read_notes(tmp_path),
    ):
        with pytest.raises(ValueError, match=message):
            read()


@pytest.mark.parametrize("where", ["json", "orbax", "publish", "remove"])
def test_a_save_that_fails_leaves_what_was_there(tmp_path, monkeypatch, where):
    import orbax.checkpoint as orbax

    checkpoint.save(tmp_path, {"epoch": 1})
    checkpoint.save(tmp_path, {"epoch": 2})

    def fail(*_, **__):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        if where == "json":
            patch.setattr(checkpoint._files, "write_whole", fail)
        elif where == "orbax":
            patch.setattr(orbax.PyTreeCheckpointHandler, "finalize", fail)
        elif where == "publish":
            rename = os.rename
            patch.setattr(
                os, "rename", lambda a, b: fail() if Path(b).name == "3" else rename(a, b)
            )
        else:
            patch.setattr(checkpoint.shutil, "rmtree", fail)
        with pytest.raises(OSError, match="no space left"):
            checkpoint.save(tmp_path, {"epoch": 3})
    newest = 3 if where == "remove" else 2
    assert checkpoint.versions(tmp_path) == [newest - 1, newest]
    assert any(entry.name.endswith(".unfinished") for entry in tmp_path.iterdir())
    for version in (newest - 1, newest):
        assert checkpoint.restore(tmp_path, {"epoch": 0}, version=version)["epoch"] == version
    checkpoint.save(tmp_path, {"epoch": newest + 1})
    assert sorted(os.listdir(tmp_path)) == [str(newest), str(newest + 1)]
    assert checkpoint.restore(tmp_path, {"epoch": 0})["epoch"] == newest + 1


def test_what_is_the_user_s_stays(tmp_path):
    for name in ("2022", "2023", "2024", "1.unfinished", "2.unfinished", "backup.unfinished"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "photo").write_text(name)
    (tmp_path / "2025").mkdir()
    (tmp_path / "2025" / "manifest.json").write_text('{"content": "of another program"}')
    (tmp_path / "rows.1").write_text("mine")
    os.symlink("2022", tmp_path / "3")
    before = {path.relative_to(tmp_path): path.is_file() and path.read_text() for path in tmp_path.rglob("*")}  # fmt: skip
    for epoch in range(4):
        version = checkpoint.save(tmp_path, {"epoch": epoch}, rows={"loss": [1.0]}, keep=1)
        assert checkpoint.versions(tmp_path) == [version]
        assert checkpoint.restore(tmp_path, {"epoch": 0})["epoch"] == epoch
    after = {path.relative_to(tmp_path): path.is_file() and path.read_text() for path in tmp_path.rglob("*") if path.relative_to(tmp_path) in before}  # fmt: skip
    assert after == before
    assert len(os.listdir(tmp_path)) == 9 + 2  # one version and its rows


@pytest.mark.parametrize("name", [".logistack", ".logistack/manifest.json", "logistack.lock"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_has_a_name_of_ours_and_is_the_user_s_stays(tmp_path, name, kind):
    mine, path = tmp_path / "mine", tmp_path / "run" / name
    mine.write_text("mine")
    path.parent.mkdir(parents=True)
    if kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to(mine)
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "run"))):
        checkpoint.save(tmp_path / "run", STATE)
    assert path.read_text() == mine.read_text() == "mine"
    assert path.is_symlink() == (kind == "link")


def test_a_folder_whose_manifest_begins_like_ours_is_the_user_s(tmp_path):
    for name in ("1", "2", "3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text('{"content": {"format": "zip"}}')
    assert checkpoint.save(tmp_path, STATE, keep=1) == 4
    assert checkpoint.save(tmp_path, STATE, keep=1) == 5
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "3", "5"]


@pytest.mark.parametrize(
    "path",
    ["s3://bucket/run", "gs://bucket/run", Path("s3://bucket/run"), "file:///run", "", "a\0b"],
)
def test_what_is_no_path_of_this_machine_is_refused(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    for act in (
        lambda: checkpoint.save(path, STATE),
        lambda: checkpoint.restore(path, STATE),
        lambda: checkpoint.versions(path),
        lambda: checkpoint.writing(path).__enter__(),
    ):
        with pytest.raises(ValueError, match=r"^path: expected a path in the local file system"):
            act()
    with pytest.raises(TypeError, match=r"^path: expected a path, got 3"):
        checkpoint.save(3, STATE)
    assert not os.listdir(tmp_path)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    checkpoint.save("~/run", STATE)
    assert checkpoint.versions(tmp_path / "run") == [1]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "run"
    for act in (lambda: checkpoint.save(path, STATE), lambda: checkpoint.writing(path).__enter__()):
        with pytest.raises(
            OSError, match=rf"^path: expected .* written to, got {path}: Not a dir|file"
        ):
            act()


# Rows.


def rows_like(count, start=0):
    place = np.arange(start, start + count)
    return {
        "loss": place.astype(np.float32) / 3,
        "norm": np.stack([place, -place], 1).astype(np.float64),
        "stopped": place % 2 == 0,
    }


def assert_rows(found, count):
    wanted = rows_like(count)
    assert list(found) == list(wanted)
    for name, column in wanted.items():
        assert found[name].dtype == column.dtype
        np.testing.assert_array_equal(found[name], column)


def test_rows_are_added_to_those_of_the_version_before(tmp_path):
    done, version, sizes = 0, None, []
    for count in (3, 0, 1, 5):
        version = checkpoint.save(tmp_path, STATE, rows=rows_like(count, done), after=version)
        done += count
        assert_rows(checkpoint.read_rows(tmp_path), done)
        sizes += [path.stat().st_size for path in tmp_path.glob("rows.*")]
    row = 4 + 16 + 1
    assert np.diff(sizes).tolist() == [0, row, 5 * row]
    assert_rows(checkpoint.read_rows(tmp_path, version=version - 1), 4)
    checkpoint.save(tmp_path, STATE, after=version)
    assert_rows(checkpoint.read_rows(tmp_path), 9)
    checkpoint.save(tmp_path, STATE)
    assert checkpoint.read_rows(tmp_path) == {}


def test_rows_go_on_from_any_version_and_from_any_process(tmp_path):
    first = checkpoint.save(tmp_path, STATE, rows=rows_like(2), keep=3)
    second = checkpoint.save(tmp_path, STATE, rows=rows_like(9, 50), after=first, keep=3)
    checkpoint._rows._hashed.clear()  # as in another process
    third = checkpoint.save(tmp_path, STATE, rows=rows_like(1, 2), after=first, keep=3)
    assert_rows(checkpoint.read_rows(tmp_path, version=third), 3)
    assert len(checkpoint.read_rows(tmp_path, version=second)["loss"]) == 11
    checkpoint.save(tmp_path, STATE, rows=rows_like(1, 3), after=third, keep=1)
    assert_rows(checkpoint.read_rows(tmp_path), 4)
    assert len(list(tmp_path.glob("rows.*"))) == 1


def test_rows_of_a_save_that_failed_are_written_over(tmp_path, monkeypatch):
    first = checkpoint.save(tmp_path, STATE, rows=rows_like(2))
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint._files, "write_whole", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            checkpoint.save(tmp_path, STATE, rows=rows_like(7, 2), after=first)
    assert_rows(checkpoint.read_rows(tmp_path), 2)
    checkpoint.save(tmp_path, STATE, rows=rows_like(1, 2), after=first)
    assert_rows(checkpoint.read_rows(tmp_path), 3)
    assert len(list(tmp_path.glob("rows.*"))) == 1


def test_damaged_rows_are_said_and_the_version_before_used(tmp_path):
    first = checkpoint.save(tmp_path, STATE, rows=rows_like(2))
    checkpoint.save(tmp_path, STATE, rows=rows_like(2, 2), after=first)
    (file,) = tmp_path.glob("rows.*")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.warns(
        RuntimeWarning, match=r"2: the version cannot be read: rows\.1 is not what was"
    ):
        assert_rows(checkpoint.read_rows(tmp_path), 2)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ({"a": [1.0], "b": [1.0, 2.0]}, ValueError, r"^rows: expected columns of one length, got {'a': 1, 'b': 2}"),
        ({"a": 1.0}, ValueError, r"^rows\['a'\]: expected numbers in rows, got shape \(\)"),
        ({"a": np.zeros((2, 0))}, ValueError, r"^rows\['a'\]: expected numbers in rows"),
        ({"a": ["x"]}, TypeError, r"^rows\['a'\]: expected real numbers"),
        ({"a": jnp.ones(2, jnp.bfloat16)}, TypeError, r"^rows\['a'\]: expected real numbers, got dtype bfloat16"),
        ({"other": [1.0]}, ValueError, r"^rows: expected columns {'loss'"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_are_refused(tmp_path, rows, error, message):
    first = checkpoint.save(tmp_path, STATE, rows={"loss": [0.5]})
    with pytest.raises(error, match=message):
        checkpoint.save(tmp_path, STATE, rows=rows, after=first)
    assert checkpoint.versions(tmp_path) == [1]
    with pytest.raises(FileNotFoundError, match=r"^version: expected one of \[1\]"):
        checkpoint.save(tmp_path, STATE, rows={"loss": [1.0]}, after=7)


# Two writers.

HOLDS = """
import os, sys, time
from logistack import checkpoint
with checkpoint.writing(sys.argv[1]):
    if sys.argv[2] == "fork" and os.fork() == 0:
        time.sleep(60)
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a lock of the operating system")
@pytest.mark.parametrize("child", ["none", "fork"])
def test_a_second_writer_is_told_of_the_first_until_that_is_gone(tmp_path, child):
    checkpoint.save(tmp_path, STATE)
    with run_python(HOLDS, tmp_path, child, start_new_session=True) as process:
        number = int(process.stdout.readline())
        try:
            for act in (
                lambda: checkpoint.save(tmp_path, STATE),
                lambda: checkpoint.writing(tmp_path).__enter__(),
            ):
                with pytest.raises(
                    BlockingIOError, match=rf"{tmp_path}, which process {number} on "
                ):
                    act()
            assert bits(checkpoint.restore(tmp_path, STATE)) == bits(STATE)
            os.kill(number, signal.SIGKILL)  # and not the child that it has forked
            process.wait(60)
            checkpoint.save(tmp_path, STATE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(number, signal.SIGKILL)
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


def test_a_second_thread_is_a_second_writer(tmp_path):
    refused = []

    def act():
        try:
            checkpoint.save(tmp_path, STATE)
        except BlockingIOError as error:
            refused.append(str(error))

    with checkpoint.writing(tmp_path), checkpoint.writing(tmp_path):
        checkpoint.save(tmp_path, STATE)
        thread = threading.Thread(target=act)
        thread.start()
        thread.join(60)
    assert len(refused) == 1
    assert f"process {os.getpid()} " in refused[0]
    act()
    assert checkpoint.versions(tmp_path) == [1, 2]


# One import serves every kill: the children are forked before JAX starts in any of them.
KILLED_SAVES = """
import os, signal, sys, time, warnings
import numpy as np
import orbax.checkpoint
from logistack import checkpoint
warnings.simplefilter("ignore")  # of forks
for run in range(5):
    path = os.path.join(sys.argv[1], str(run))
    saved, say = os.pipe()
    child = os.fork()
    if child == 0:
        for epoch in range(1, 10**6):
            state = {"weight": np.full((64, 64), epoch, np.float32), "epoch": np.int32(epoch)}
            checkpoint.save(path, state, notes={"epoch": epoch}, rows={"epoch": [epoch]}, after=epoch - 1 or None)
            os.write(say, bytes([epoch]))
    heard = os.read(saved, 2)
    time.sleep(0.012 * run)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(say)
    print((heard + os.read(saved, 256))[-1])
"""


def run_python(script, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_process_killed_while_saving_leaves_a_whole_checkpoint(tmp_path):
    like = {"weight": jax.ShapeDtypeStruct((64, 64), jnp.float32), "epoch": 0}
    with run_python(KILLED_SAVES, tmp_path) as process:
        said = [int(line) for line in process.stdout]
    assert process.returncode == 0
    assert len(said) == 5
    unfinished = 0
    for run, epochs in enumerate(said):
        path = tmp_path / str(run)
        unfinished += any(entry.name.endswith(".unfinished") for entry in path.iterdir())
        state = checkpoint.restore(path, like)
        epoch = int(state["epoch"])
        assert epoch - epochs in (0, 1)  # killed after the save and before its word
        assert (state["weight"] == epoch).all()
        assert checkpoint.read_notes(path) == {"epoch": epoch}
        assert checkpoint.read_rows(path)["epoch"].tolist() == list(range(1, epoch + 1))
        for version in checkpoint.versions(path):
            assert checkpoint.restore(path, like, version=version)["epoch"] == version
        checkpoint.save(path, state)
        names = [name for name in os.listdir(path) if name != "rows.1"]
        assert sorted(map(int, names)) == checkpoint.versions(path) == [epoch, epoch + 1]
    assert unfinished > 0


FRESH = """
import signal, sys, threading
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGINT, lambda *_: None)
handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
import logging
before = logging.root.level, list(logging.root.handlers)
import jax, jax.numpy as jnp
from logistack import checkpoint
assert "orbax" not in sys.modules
state = checkpoint.restore(sys.argv[1], {"weight": jnp.zeros((2, 3)), "bias": jnp.arange(3)})
checkpoint.save(sys.argv[1], jax.tree.map(lambda leaf: leaf + 1, state))
assert before == (logging.root.level, list(logging.root.handlers))
assert handlers == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
assert [thread for thread in threading.enumerate() if not thread.daemon] == [threading.main_thread()]
"""


def test_a_fresh_process_reads_and_writes_in_silence_and_ends(tmp_path):
    checkpoint.save(tmp_path, STATE)
    with run_python(FRESH, tmp_path, stderr=subprocess.PIPE) as process:
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    assert bits(checkpoint.restore(tmp_path, STATE)) == bits(
        jax.tree.map(lambda leaf: leaf + 1, STATE)
    )


def test_nothing_is_said_and_no_logger_changed(tmp_path, capfd, caplog):
    levels = [(name, logging.getLogger(name).level) for name in ("", "absl", "asyncio", "jax")]
    checkpoint.save(tmp_path, STATE)
    checkpoint.restore(tmp_path, STATE)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert levels == [
        (name, logging.getLogger(name).level) for name in ("", "absl", "asyncio", "jax")
    ]


def test_any_thread_and_a_running_event_loop_may_save(tmp_path):
    import asyncio

    restored = []

    def act():
        checkpoint.save(tmp_path, STATE)
        restored.append(checkpoint.restore(tmp_path, STATE))

    async def act_inside():
        act()

    thread = threading.Thread(target=act)
    thread.start()
    thread.join(30)
    asyncio.run(act_inside())
    assert [bits(tree) for tree in restored] == [bits(STATE)] * 2


def test_plain_orbax_reads_the_arrays_by_name(tmp_path):
    import orbax.checkpoint as orbax

    state = train_state(optax.adam(0.1))
    checkpoint.save(tmp_path, state)
    with orbax.PyTreeCheckpointer() as checkpointer:
        arrays = checkpointer.restore(tmp_path / "1" / "state")
    assert arrays["params[1].weight"].dtype == np.float32
    np.testing.assert_array_equal(arrays["params[1].weight"], state.params[1].weight)
    assert len(arrays) == len(jax.tree.leaves(state))


def test_no_pickle_is_written_or_read(tmp_path):
    import pickle

    assert "pickle" not in Path(checkpoint.__file__).read_text()
    checkpoint.save(tmp_path, STATE)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            with pytest.raises(Exception):  # noqa: B017, PT011
                pickle.loads(file.read_bytes())
    manifest = json.loads((tmp_path / "1" / "manifest.json").read_text())
    assert manifest["content"]["leaves"]["['weight']"] == {"shape": [2, 3], "dtype": "float32"}


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, STATE)
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ModuleNotFoundError, match=r"logistack\[checkpoint\]"):
        checkpoint.save(tmp_path / "new", STATE)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ModuleNotFoundError, match=r"logistack\[checkpoint\]"):
        checkpoint.restore(tmp_path, STATE)
