"""Parameters in the formats of other tools."""

import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logistack as ls
from logistack import _files

PARAMS = ls.init_params(jax.random.key(0), (3, 4, 2))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_was_saved_comes_back_bit_for_bit(tmp_path, dtype):
    params = ls.init_params(jax.random.key(1), (3, 4, 2), dtype=dtype)
    ls.export.safetensors.save(tmp_path / "params.safetensors", params)
    loaded = ls.export.safetensors.load(tmp_path / "params.safetensors")
    for ours, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(loaded), strict=True):
        assert theirs.dtype == dtype
        np.testing.assert_array_equal(ours, theirs)


WIDE = (ls.Layer(np.full((1, 2), 1e300), np.array([0.1])),)


def test_float64_is_never_rounded(tmp_path):
    ls.export.safetensors.save(tmp_path / "wide", WIDE)  # of NumPy, without 64-bit numbers
    with pytest.raises(ValueError, match=r"^path: layers\.0\..* float64.*jax_enable_x64"):
        ls.export.safetensors.load(tmp_path / "wide")
    with jax.enable_x64(True):
        (layer,) = ls.export.safetensors.load(tmp_path / "wide")
    np.testing.assert_array_equal(layer.weight, WIDE[0].weight)
    np.testing.assert_array_equal(layer.bias, WIDE[0].bias)


@pytest.mark.parametrize("dtype", [jnp.float8_e4m3fn, jnp.float8_e5m2, jnp.float8_e4m3b11fnuz])
def test_dtypes_that_other_tools_lack_are_refused(tmp_path, dtype):
    params = (ls.Layer(jnp.ones((1, 2), dtype), jnp.ones(1, dtype)),)
    with pytest.raises(TypeError, match=r"^params: expected float16.*got float8.*weight"):
        ls.export.safetensors.save(tmp_path / "narrow", params)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [jnp.float8_e5m2, np.int32])
def test_files_of_other_dtypes_are_refused(tmp_path, dtype):
    from safetensors.numpy import save_file

    tensors = {"layers.0.weight": np.ones((1, 2), dtype), "layers.0.bias": np.ones(1, dtype)}
    save_file(tensors, tmp_path / "file")
    with pytest.raises(TypeError, match=r"^path: expected float16.*got (F8_E5M2|I32) for layers"):
        ls.export.safetensors.load(tmp_path / "file")


def test_what_was_saved_at_home_is_found_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    ls.export.safetensors.save("~/file", PARAMS)
    assert len(ls.export.safetensors.load("~/file")) == len(PARAMS)
    with pytest.raises(ValueError, match="path: expected a path in the local file system"):
        ls.export.safetensors.load("s3://bucket/file")


def test_the_layout_of_an_array_does_not_matter(tmp_path):
    weight = np.arange(6, dtype=np.float32).reshape(3, 2).T
    ls.export.safetensors.save(tmp_path / "file", (ls.Layer(weight, np.zeros(6)[::3].astype("f")),))
    (layer,) = ls.export.safetensors.load(tmp_path / "file")
    np.testing.assert_array_equal(layer.weight, weight)


def test_a_stack_keeps_its_depth(tmp_path):
    stack = ls.Layer(jnp.ones((5, 3, 3)), jnp.zeros((5, 3)))
    ls.export.safetensors.save(tmp_path / "stack", (stack,))
    assert ls.export.safetensors.load(tmp_path / "stack")[0].weight.shape == (5, 3, 3)


def test_the_layers_come_back_in_order_beyond_ten(tmp_path):
    params = tuple(ls.Layer(jnp.full((1, 1), float(i)), jnp.zeros(1)) for i in range(12))
    ls.export.safetensors.save(tmp_path / "deep", params)
    loaded = ls.export.safetensors.load(tmp_path / "deep")
    assert [float(layer.weight[0, 0]) for layer in loaded] == list(range(12))


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "params"
    ls.export.safetensors.save(path, PARAMS)
    content = path.read_bytes()
    for length in (0, 4, 8, 20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="params"):
            ls.export.safetensors.load(path)


def test_other_tensors_are_refused_by_name(tmp_path):
    from safetensors.numpy import save_file

    save_file({"layers.0.weight": np.ones((2, 2), np.float32)}, tmp_path / "half")
    with pytest.raises(ValueError, match=r"expected tensors .*half has .*layers\.0\.weight"):
        ls.export.safetensors.load(tmp_path / "half")
    save_file(
        {
            "layers.0.weight": np.ones((2, 2), np.float32),
            "layers.0.bias": np.ones(3, np.float32),
        },
        tmp_path / "misfit",
    )
    with pytest.raises(ValueError, match=r"misfit.*weight \(2, 2\) and bias \(3,\)"):
        ls.export.safetensors.load(tmp_path / "misfit")


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ModuleNotFoundError, match=r"logistack\[export\]"):
        ls.export.safetensors.save(tmp_path / "params", PARAMS)
    assert not (tmp_path / "params").exists()


def test_a_missing_file_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ls.export.safetensors.load(tmp_path / "nowhere")


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "params"
    _files.write_whole(path, b"old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _files.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_is_as_readable_as_its_neighbors(tmp_path):
    (tmp_path / "neighbor").write_bytes(b"")
    _files.write_whole(tmp_path / "folder" / "file", b"content")
    written = (tmp_path / "folder" / "file").stat().st_mode
    assert written == (tmp_path / "neighbor").stat().st_mode
