"""Checkpoints: numbered versions of a pytree of arrays in a folder, each one whole or absent.

A version is a folder with the arrays as Orbax stores them, `state`, and `manifest.json`: the
format, the shape and dtype of every leaf, the notes, and the digest of every file. It is written
under another name and takes its own last. One process at a time may save to a folder; any number
may read.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from logistack import _checks, _files

_FORMAT = 1
_UNFINISHED = ".unfinished"  # the end of the name of what is being written, or being removed


def save(
    path: str | os.PathLike[str],
    state: Any,
    *,
    notes: Mapping[str, Any] | None = None,
    keep: int = 2,
) -> None:
    """Writes a new version of a checkpoint, then removes all but the newest few.

    A process that is killed at any moment leaves the earlier versions as they were.

    Args:
        path: the folder of the versions; made if it is not there.
        state: any pytree of arrays, random keys and numbers, as `TrainState`; every bit is kept.
        notes: what else to keep in this version, as JSON has it; NaN and ±inf are kept.
        keep: how many versions stay, at least 1.

    Raises:
        ValueError: if `keep` is less than 1, or the state has no leaf or two of one name.
        TypeError: if a leaf is no array of a dtype that JAX has, or JSON cannot hold the notes.
        NotADirectoryError: if `path` is a file.
        ModuleNotFoundError: if Orbax is not installed.

    >>> import jax.numpy as jnp, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder, {"weight": jnp.ones((2, 3))}, notes={"epochs": 1})
    ...     save(folder, {"weight": jnp.zeros((2, 3))}, notes={"epochs": 2})
    ...     versions(folder), read_notes(folder)
    ([1, 2], {'epochs': 2})

    Source: https://orbax.readthedocs.io, the storage of the arrays.
    """
    keep = _checks.require_count("keep", keep, low=1)
    packed = {name: _pack(name, leaf) for name, leaf in _named_leaves(state).items()}
    if not packed:
        raise ValueError("state: expected a pytree of arrays, got one without a leaf")
    leaves = {name: entry for name, (entry, _) in packed.items()}
    arrays = {name: array for name, (_, array) in packed.items()}
    content = {"format": _FORMAT, "leaves": leaves, "notes": _to_json(notes)}
    folder = Path(path).absolute()
    newest = max(versions(folder), default=0)
    unfinished = folder / f"{newest + 1}{_UNFINISHED}"
    with _orbax() as orbax, orbax.PyTreeCheckpointer() as checkpointer:
        _remove_unfinished(folder)
        checkpointer.save(unfinished / "state", args=orbax.args.PyTreeSave(arrays))
    files = sorted(file for file in unfinished.rglob("*") if file.is_file())
    content["files"] = {file.relative_to(unfinished).as_posix(): _digest(file) for file in files}
    manifest = {"content": content, "sha256": _digest_of(content)}
    _files.write_whole(unfinished / "manifest.json", json.dumps(manifest).encode())
    os.rename(unfinished, folder / str(newest + 1))
    for version in versions(folder)[:-keep]:
        # Files go one by one, so a version loses its name before it loses the first of them.
        os.rename(folder / str(version), folder / f"{version}{_UNFINISHED}")
    _remove_unfinished(folder)


def restore(path: str | os.PathLike[str], like: Any, *, version: int | None = None) -> Any:
    """Reads a version of a checkpoint, checked bit for bit against what was saved.

    Args:
        path: the folder that `save` wrote to.
        like: a pytree of the saved structure; its leaves are arrays, random keys, numbers or
            `jax.ShapeDtypeStruct`, of which only shape and dtype count.
        version: which version; the newest if None.

    Returns:
        The structure of `like` with the saved leaves, as JAX arrays on the default device
        whatever devices they were on.

    Raises:
        ValueError: if a leaf has another shape or dtype than in `like`, is missing or is one too
            many; if it needs 64-bit numbers and JAX has them off; if the version is damaged, or
            of a newer format.
        FileNotFoundError: if there is no checkpoint, or no such version of it.
        NotADirectoryError: if `path` is a file.
        ModuleNotFoundError: if Orbax is not installed.

    >>> import jax, jax.numpy as jnp, logistack as ls, optax, tempfile
    >>> params = ls.init_params(jax.random.key(0), (2, 3, 1))
    >>> state = ls.init_state(params, optax.adam(0.1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder, state)
    ...     like = jax.eval_shape(lambda: state)
    ...     bool(jnp.all(restore(folder, like).params[0].weight == params[0].weight))
    True
    """
    folder = _find(path, version)
    with _other_version_named(folder):
        leaves = _read_manifest(folder)["leaves"]
    templates = _named_leaves(like)
    wanted = {name: "{} {}".format(*_describe(name, leaf)) for name, leaf in templates.items()}
    has = {name: f"{tuple(entry['shape'])} {entry['dtype']}" for name, entry in leaves.items()}
    for name in wanted | has:
        if wanted.get(name) != has.get(name):
            raise ValueError(
                f"{name}: expected {wanted.get(name, 'no such leaf')}, the checkpoint at {folder} "
                f"has {has.get(name, 'no such leaf')}"
            )
    with _other_version_named(folder):
        arrays = _read_arrays(folder, leaves)
    for name, array in arrays.items():
        if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
            raise ValueError(
                f"{name}: expected jax_enable_x64 on, the checkpoint at {folder} has {array.dtype}"
            )
    restored = [_unpack(leaves[name], arrays[name]) for name in wanted]
    return jax.tree.unflatten(jax.tree.structure(like), restored)


def resume(path: str | os.PathLike[str], like: Any) -> Any:
    """Returns the newest version at `path`, or `like` itself if there is none yet.

    Args:
        path: the folder that `save` writes to.
        like: the state to start from, which is also the template of `restore`.

    Returns:
        A pytree of the structure of `like`.

    Raises:
        ValueError: if there are versions and the newest one does not fit or is damaged.
        NotADirectoryError: if `path` is a file.
        ModuleNotFoundError: if there are versions and Orbax is not installed.

    >>> resume("no/such/folder", {"epoch": 0})
    {'epoch': 0}
    """
    return restore(path, like) if versions(path) else like


def read_notes(path: str | os.PathLike[str], *, version: int | None = None) -> dict[str, Any]:
    """Reads the notes that were saved with a version.

    Args:
        path: the folder that `save` wrote to.
        version: which version; the newest if None.

    Returns:
        The notes; an empty dictionary if there were none.

    Raises:
        ValueError: if the version is damaged, or of a newer format.
        FileNotFoundError: if there is no checkpoint, or no such version of it.
        NotADirectoryError: if `path` is a file.
        ModuleNotFoundError: if Orbax is not installed.
    """
    folder = _find(path, version)
    with _other_version_named(folder):
        return _read_manifest(folder)["notes"]


def versions(path: str | os.PathLike[str]) -> list[int]:
    """Lists the versions at `path`, oldest first; none if there is no such folder.

    Raises:
        NotADirectoryError: if `path` is a file.
    """
    try:
        names = [entry.name for entry in Path(path).iterdir() if entry.is_dir()]
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if re.fullmatch("[1-9][0-9]*", name))


def _find(path: str | os.PathLike[str], version: int | None) -> Path:
    """The folder of one version."""
    folder = Path(path).absolute()
    found = versions(folder)
    if not found:
        entries = sorted(os.listdir(folder)) if folder.exists() else "no such folder"
        raise FileNotFoundError(
            f"path: expected a checkpoint at {folder}, found {entries or 'an empty folder'}"
        )
    version = found[-1] if version is None else _checks.require_count("version", version, low=1)
    if version not in found:
        raise FileNotFoundError(f"version: expected one of {found} at {folder}, got {version}")
    return folder / str(version)


def _named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves by name, as `params[0].weight`; a tree that is a leaf itself is named `state`."""
    pairs = jax.tree.leaves_with_path(tree)
    named = {jax.tree_util.keystr(p).removeprefix(".") or "state": leaf for p, leaf in pairs}
    if len(named) != len(pairs):
        raise ValueError(f"state: expected leaves of different names, got {len(pairs)}: {[*named]}")
    return named


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _describe(name: str, leaf: Any) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of a leaf; a plain number has the dtype that JAX gives it."""
    if isinstance(leaf, int | float | complex) and not hasattr(leaf, "dtype"):
        return (), jnp.result_type(leaf).name
    if not _is_key(leaf):
        try:
            jnp.empty((), jax.dtypes.canonicalize_dtype(leaf.dtype))
        except (AttributeError, TypeError) as error:
            kind = getattr(leaf, "dtype", type(leaf).__name__)
            raise TypeError(f"{name}: expected an array of a dtype JAX has, got {kind}") from error
    return leaf.shape, leaf.dtype.name


def _pack(name: str, leaf: Any) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """A leaf's entry in the manifest, and the array that Orbax stores for it."""
    # Orbax reads a NumPy array back as one, without asking for the devices it came from.
    shape, dtype = _describe(name, leaf)
    entry: dict[str, Any] = {"shape": shape, "dtype": dtype}
    if _is_key(leaf):
        array = np.asarray(jax.random.key_data(leaf))
        entry |= {"impl": jax.random.key_impl(leaf), "data_shape": array.shape}
    else:
        array = np.asarray(leaf, dtype)
    if array.size == 0:  # which Orbax does not store
        return entry, np.zeros(1, np.uint8)
    # TensorStore lacks some of the dtypes of 8 bits and less.
    return entry, array.view(np.uint8) if array.itemsize == 1 else array


def _unpack(entry: dict[str, Any], array: np.ndarray[Any, Any]) -> jax.Array:
    leaf = jnp.array(array)
    return jax.random.wrap_key_data(leaf, impl=entry["impl"]) if "impl" in entry else leaf


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a version, all of whose files are as they were saved."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    content = manifest["content"]
    if _digest_of(content) != manifest["sha256"]:
        raise ValueError("manifest.json is not what was saved")
    if content["format"] > _FORMAT:
        raise ValueError(
            f"expected format {_FORMAT} at most, got {content['format']} of a newer logistack"
        )
    for name, digest in content["files"].items():
        if _digest(folder / name) != digest:
            raise ValueError(f"{name} is not what was saved")
    return content


def _read_arrays(folder: Path, leaves: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    with _orbax() as orbax, orbax.PyTreeCheckpointer() as checkpointer:
        stored = checkpointer.restore(folder / "state", args=orbax.args.PyTreeRestore())
    arrays = {}
    for name, entry in leaves.items():
        dtype = np.dtype(np.uint32 if "impl" in entry else entry["dtype"])
        shape = entry.get("data_shape", entry["shape"])
        arrays[name] = np.empty(shape, dtype) if 0 in shape else stored[name].view(dtype)
    return arrays


@contextlib.contextmanager
def _other_version_named(folder: Path) -> Iterator[None]:
    """Makes whatever fails in reading a version one kind of error, with the way out of it."""
    try:
        yield
    except ModuleNotFoundError:
        raise
    except Exception as error:  # the file system, JSON and Orbax have many kinds
        advice = "no other version is whole"
        for version in reversed(versions(folder.parent)):
            other = folder.parent / str(version)
            with contextlib.suppress(Exception):
                _read_manifest(other)
                advice = f"version {version} is whole: pass version={version}"
                break
        raise ValueError(f"{folder}: the version cannot be read: {error}; {advice}") from error


def _remove_unfinished(folder: Path) -> None:
    """Removes what killed processes, and `save` itself, left under other names."""
    for entry in folder.glob(f"[1-9]*{_UNFINISHED}"):
        shutil.rmtree(entry)


def _to_json(notes: Mapping[str, Any] | None) -> Any:
    """The notes as they will be read."""
    try:
        return json.loads(json.dumps(dict(notes or {})))
    except (TypeError, ValueError) as error:
        raise TypeError(f"notes: expected a mapping that JSON can hold, got {error}") from error


@contextlib.contextmanager
def _orbax() -> Iterator[ModuleType]:
    """Lends Orbax, whose logging would give a root logger without a handler one that stays."""
    placeholder = logging.NullHandler()
    logging.root.addHandler(placeholder)
    try:
        yield _checks.import_extra("orbax.checkpoint", "checkpoint")
    finally:
        logging.root.removeHandler(placeholder)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
