"""Parameters in the formats of other tools."""

import os
import sys
import tracemalloc
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import logistack as ls
from logistack import _files

PARAMS = ls.init_params(jax.random.key(0), (3, 4, 2))
FORMATS = [ls.export.safetensors, ls.export.numpy]
each_format = pytest.mark.parametrize("form", FORMATS, ids=["safetensors", "numpy"])


@pytest.mark.parametrize(
    ("form", "dtype"),
    [(form, dtype) for form in FORMATS for dtype in (jnp.float32, jnp.float16)]
    + [(ls.export.safetensors, jnp.bfloat16)],
)
def test_what_was_saved_comes_back_bit_for_bit(tmp_path, form, dtype):
    params = jax.tree.map(lambda a: a.astype(dtype), PARAMS)
    form.save(tmp_path / "params", params)
    loaded = form.load(tmp_path / "params")
    for ours, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(loaded), strict=True):
        assert theirs.dtype == dtype
        np.testing.assert_array_equal(ours, theirs)


WIDE = (ls.Layer(np.full((1, 2), 1e300), np.array([0.1])),)


@each_format
def test_float64_is_never_rounded(tmp_path, form):
    form.save(tmp_path / "wide", WIDE)  # of NumPy, without 64-bit numbers
    with pytest.raises(ValueError, match=r"^path: layers\.0\..* float64.*jax_enable_x64"):
        form.load(tmp_path / "wide")
    with jax.enable_x64(True):
        (layer,) = form.load(tmp_path / "wide")
    np.testing.assert_array_equal(layer.weight, WIDE[0].weight)
    np.testing.assert_array_equal(layer.bias, WIDE[0].bias)


@pytest.mark.parametrize("dtype", [jnp.float8_e4m3fn, jnp.float8_e5m2, jnp.float8_e4m3b11fnuz])
def test_dtypes_that_other_tools_lack_are_refused(tmp_path, dtype):
    params = (ls.Layer(jnp.ones((1, 2), dtype), jnp.ones(1, dtype)),)
    with pytest.raises(TypeError, match=r"^params: expected float16.*got float8.*weight"):
        ls.export.safetensors.save(tmp_path / "narrow", params)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.int32])
def test_npz_files_have_numpy_s_own_dtypes(tmp_path, dtype):
    params = (ls.Layer(jnp.ones((1, 2), dtype), jnp.ones(1, dtype)),)
    with pytest.raises(TypeError, match=r"^params.*float"):
        ls.export.numpy.save(tmp_path / "params", params)
    assert not any(tmp_path.iterdir())
    with (tmp_path / "file").open("wb") as file:
        np.savez(file, **{"layers.0.weight": np.ones((1, 2), int), "layers.0.bias": np.ones(1)})
    with pytest.raises(TypeError, match=r"^path: expected float16.*got int64 for layers"):
        ls.export.numpy.load(tmp_path / "file")


class Trap:
    def __reduce__(self):
        return pytest.fail, ("a file has run code",)


def test_hostile_npz_files_are_refused_before_they_take_memory_or_run(tmp_path):
    path = tmp_path / "file"

    def member(header, values=b""):
        with zipfile.ZipFile(path, "w") as file:
            head = f"{header:<117}\n".encode()
            content = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + values
            file.writestr("layers.0.weight.npy", content)

    members = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999)}": b"",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)}": bytes(8),
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}": bytes(8),
        "{'descr': '<f4'}": b"",
        "open('/dev/null')": b"",
    }
    tracemalloc.start()
    for header, values in members.items():
        member(header, values)
        with pytest.raises(ValueError, match=r"^path: expected an \.npz file of logistack"):
            ls.export.numpy.load(path)
    with path.open("wb") as file:
        np.savez(file, **{"layers.0.weight": np.array([Trap()])})
    with pytest.raises(ValueError, match=r"^path: expected an \.npz file of logistack"):
        ls.export.numpy.load(path)
    with path.open("wb") as file:
        np.savez_compressed(file, **{"layers.0.weight": np.zeros((3000, 3000))})
    with pytest.raises(ValueError, match=r"^path: expected an \.npz file of logistack"):
        ls.export.numpy.load(path)
    assert tracemalloc.get_traced_memory()[1] < 200_000_000  # that of the zeros above, twice
    tracemalloc.stop()


@pytest.mark.parametrize("dtype", [jnp.float8_e5m2, np.int32])
def test_files_of_other_dtypes_are_refused(tmp_path, dtype):
    from safetensors.numpy import save_file

    tensors = {"layers.0.weight": np.ones((1, 2), dtype), "layers.0.bias": np.ones(1, dtype)}
    save_file(tensors, tmp_path / "file")
    with pytest.raises(TypeError, match=r"^path: expected float16.*got (F8_E5M2|I32) for layers"):
        ls.export.safetensors.load(tmp_path / "file")


@each_format
def test_what_was_saved_at_home_is_found_there(tmp_path, monkeypatch, form):
    monkeypatch.setenv("HOME", str(tmp_path))
    form.save("~/file", PARAMS)
    assert len(form.load("~/file")) == len(PARAMS)
    with pytest.raises(ValueError, match="path: expected a path in the local file system"):
        form.load("s3://bucket/file")


@each_format
def test_the_layout_of_an_array_does_not_matter(tmp_path, form):
    weight = np.arange(6, dtype=np.float32).reshape(3, 2).T
    form.save(tmp_path / "file", (ls.Layer(weight, np.zeros(6)[::3].astype("f")),))
    (layer,) = form.load(tmp_path / "file")
    np.testing.assert_array_equal(layer.weight, weight)


@each_format
def test_a_stack_keeps_its_depth(tmp_path, form):
    stack = ls.Layer(jnp.ones((5, 3, 3)), jnp.zeros((5, 3)))
    form.save(tmp_path / "stack", (stack,))
    assert form.load(tmp_path / "stack")[0].weight.shape == (5, 3, 3)


@each_format
def test_the_layers_come_back_in_order_beyond_ten(tmp_path, form):
    params = tuple(ls.Layer(jnp.full((1, 1), float(i)), jnp.zeros(1)) for i in range(12))
    form.save(tmp_path / "deep", params)
    loaded = form.load(tmp_path / "deep")
    assert [float(layer.weight[0, 0]) for layer in loaded] == list(range(12))


@each_format
def test_every_truncation_is_refused(tmp_path, form):
    path = tmp_path / "params"
    form.save(path, PARAMS)
    content = path.read_bytes()
    for length in (0, 4, 8, 20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="params"):
            form.load(path)


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


@each_format
def test_a_missing_file_is_said_so(tmp_path, form):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        form.load(tmp_path / "nowhere")


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
