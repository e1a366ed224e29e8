"""Checkpoints: numbered versions of a pytree of arrays in a folder, each one whole or absent.

A version is a folder with the arrays as Orbax stores them, `state`, and `manifest.json`: the
format, the shape and dtype of every leaf, the notes, and the digest of every file. It is written
under another name and takes its own last. What has no manifest of ours is not a version, and is
neither counted nor touched. Rows, such as a history, lie beside the versions in a file that only
grows, of which a version refers to a prefix. One process at a time may save to a folder; any
number may read.

Arrays in parts on several devices are written and read part by part, and never gathered. Where
those are devices of several processes, all of these call `save`, with one folder for all: each
writes its parts, and the first process what is shared.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import jax
import numpy as np
from numpy.typing import NDArray

from logistack import _checks, _files, _leaves, _processes, _rows, _versions
from logistack._lock import locked

_FORMAT = 1


def save(
    path: str | os.PathLike[str],
    state: Any,
    *,
    notes: Mapping[str, Any] | None = None,
    rows: Mapping[str, Any] | None = None,
    after: int | None = None,
    keep: int = 2,
) -> int:
    """Writes a new version of a checkpoint, then removes all but the newest few.

    A process that is killed at any moment leaves the earlier versions as they were. Where arrays
    are on devices of several processes, all of them call it.

    Args:
        path: the folder of the versions, the same for all processes; made if it is not there. `~`
            is the home folder.
        state: any pytree of arrays, random keys and numbers, as `TrainState`; every bit is kept.
        notes: what else to keep in this version, as JSON has it; NaN and ±inf are kept.
        rows: what to add to a table, arrays of one length by name, one entry a row. Only these
            are written, however long the table is; `read_rows` returns all.
        after: the version whose table they are added to, with the same columns; a new table if
            None.
        keep: how many versions stay, at least 1.

    Returns:
        The number of the new version.

    Raises:
        ValueError: if `keep` is less than 1, the state has no leaf or two of one name, the path
            is a URL, or rows do not fit those of `after`.
        TypeError: if a leaf is not an array of a dtype that JAX has, JSON cannot hold the notes,
            or a row is not of real numbers.
        BlockingIOError: if another process is writing to the folder.
        NotADirectoryError: if `path` is a file.
        ModuleNotFoundError: if Orbax is not installed.
        RuntimeError: in other processes than the first, if any of these was raised there.

    >>> import jax.numpy as jnp, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = save(folder, {"weight": jnp.ones((2, 3))}, rows={"loss": [0.5, 0.25]})
    ...     second = save(folder, {"weight": jnp.zeros((2, 3))}, rows={"loss": [0.1]}, after=first)
    ...     versions(folder), read_rows(folder)["loss"].tolist()
    ([1, 2], [0.5, 0.25, 0.1])

    Source: https://orbax.readthedocs.io, the storage of the arrays.
    """
    folder = _folder(path)
    keep = _checks.require_count("keep", keep, low=1)
    named = _leaves.named_leaves(state)
    packed = {name: _leaves.pack(name, leaf) for name, leaf in named.items()}
    if not packed:
        raise ValueError("state: expected a pytree of arrays, got one without a leaf")
    leaves = {name: entry for name, (entry, _) in packed.items()}
    arrays = {name: array for name, (_, array) in packed.items()}
    columns = _rows.require_rows(rows or {})
    content = {"format": _FORMAT, "leaves": leaves, "notes": _to_json(notes)}
    versions(folder)  # which says so if it is a file
    together = any(not getattr(leaf, "is_fully_addressable", True) for leaf in named.values())

    def by_one(function: Callable[[], int]) -> int:
        if not together:
            return function()
        return _processes.by_first(f"write a version at {folder}", function)

    with contextlib.ExitStack() as held, _orbax() as orbax:
        checkpointer = held.enter_context(_checkpointer(orbax, together))

        def make() -> int:
            held.enter_context(locked(folder))
            _remove_unfinished(folder)
            number = _versions.free_number(folder)
            before = None if after is None else _parse_manifest(_find(folder, after))["rows"]
            if columns:
                content["rows"] = _rows.append(folder, columns, before, _tables(folder))
            elif before is not None:
                content["rows"] = before
            _versions.make(folder / f"{number}{_versions.UNFINISHED}")
            return number

        number = by_one(make)
        unfinished = folder / f"{number}{_versions.UNFINISHED}"
        checkpointer.save(unfinished / "state", args=orbax.args.PyTreeSave(arrays))
        by_one(lambda: _finish(folder, number, content, keep))
    return number


def _finish(folder: Path, number: int, content: dict[str, Any], keep: int) -> int:
    """Gives a version whose arrays are written its manifest and its name; removes old ones."""
    unfinished = folder / f"{number}{_versions.UNFINISHED}"
    files = sorted(f for f in (unfinished / "state").rglob("*") if f.is_file())
    content["files"] = {file.relative_to(unfinished).as_posix(): _digest(file) for file in files}
    manifest = {"content": content, "sha256": _digest_of(content)}
    _files.write_whole(unfinished / "manifest.json", json.dumps(manifest).encode())
    os.rename(unfinished, folder / str(number))
    for version in versions(folder)[:-keep]:
        # Files go one by one, so a version loses its name before it loses the first of them.
        if not (folder / str(version)).is_symlink():
            os.rename(folder / str(version), _versions.free_name(folder, version))
    _remove_unfinished(folder)
    _rows.remove_unused(folder, _tables(folder))
    return number


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Holds a folder of checkpoints for a whole run, so that no other run saves to it.

    `save` holds it by itself while it writes. The hold ends with the process at the latest.

    Args:
        path: the folder; made if it is not there.

    Yields:
        Nothing; this thread may save within.

    Raises:
        BlockingIOError: if another process or thread is writing to the folder, saying which.
        ValueError: if the path is a URL.
        NotADirectoryError: if `path` is a file.
        OSError: if the folder cannot be written to.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, writing(folder):
    ...     save(folder, {"epoch": 1})
    1
    """
    folder = _folder(path)
    versions(folder)  # which says so if it is a file
    with locked(folder):
        yield


def restore(path: str | os.PathLike[str], like: Any, *, version: int | None = None) -> Any:
    """Reads a version of a checkpoint, checked bit for bit against what was saved.

    Args:
        path: the folder that `save` wrote to.
        like: a pytree of the saved structure; its leaves are arrays, random keys, numbers or
            `jax.ShapeDtypeStruct`, of which only shape, dtype and sharding count.
        version: which version; the newest that is whole if None.

    Returns:
        The structure of `like` with the saved leaves, as JAX arrays, whatever devices they were
        on: in parts where a leaf of `like` is, of which each process reads its own, and else on
        the default device.

    Raises:
        ValueError: if a leaf has another shape or dtype than in `like`, is missing or is one too
            many; if it needs 64-bit numbers and JAX has them off; if the version that was asked
            for, or every version, is damaged; or if it is of a newer format.
        FileNotFoundError: if there is no checkpoint, or no such version of it.
        NotADirectoryError: if `path` is a file.
        ModuleNotFoundError: if Orbax is not installed.

    >>> import jax, jax.numpy as jnp, logistack as ls, optax, tempfile
    >>> params = ls.init_params(jax.random.key(0), (2, 3, 1))
    >>> state = ls.init_state(params, optax.adam(0.1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     version = save(folder, state)
    ...     like = jax.eval_shape(lambda: state)
    ...     bool(jnp.all(restore(folder, like).params[0].weight == params[0].weight))
    True
    """
    folder, content = _read_version(path, version)
    leaves = content["leaves"]
    templates = _leaves.named_leaves(like)
    wanted = {
        name: "{} {}".format(*_leaves.describe(name, leaf)) for name, leaf in templates.items()
    }
    has = {name: f"{tuple(entry['shape'])} {entry['dtype']}" for name, entry in leaves.items()}
    for name in wanted | has:
        if wanted.get(name) != has.get(name):
            raise ValueError(
                f"{name}: expected {wanted.get(name, 'no such leaf')}, the checkpoint at {folder} "
                f"has {has.get(name, 'no such leaf')}"
            )
    with _other_version_named(folder):
        arrays = _read_arrays(folder, leaves, templates)
    for name, array in arrays.items():
        if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
            raise ValueError(
                f"{name}: expected jax_enable_x64 on, the checkpoint at {folder} has {array.dtype}"
            )
    restored = [_leaves.unpack(leaves[name], arrays[name]) for name in wanted]
    return jax.tree.unflatten(jax.tree.structure(like), restored)


def resume(path: str | os.PathLike[str], like: Any) -> Any:
    """Returns the newest whole version at `path`, or `like` itself if there is none yet.

    Args:
        path: the folder that `save` writes to.
        like: the state to start from, which is also the template of `restore`.

    Returns:
        A pytree of the structure of `like`.

    Raises:
        ValueError: if there are versions and the newest does not fit, or all are damaged.
        NotADirectoryError: if `path` is a file.
        ModuleNotFoundError: if there are versions and Orbax is not installed.

    >>> resume("no/such/folder", {"epoch": 0})
    {'epoch': 0}
    """
    return restore(path, like) if _versions.candidates(_folder(path)) else like


def read_notes(path: str | os.PathLike[str], *, version: int | None = None) -> dict[str, Any]:
    """Reads the notes that were saved with a version.

    Args:
        path: the folder that `save` wrote to.
        version: which version; the newest that is whole if None.

    Returns:
        The notes; an empty dictionary if there were none.

    Raises:
        ValueError: if the version that was asked for, or every version, is damaged, or if it is
            of a newer format.
        FileNotFoundError: if there is no checkpoint, or no such version of it.
        NotADirectoryError: if `path` is a file.
    """
    return _read_version(path, version)[1]["notes"]


def read_rows(
    path: str | os.PathLike[str], *, version: int | None = None
) -> dict[str, NDArray[Any]]:
    """Reads the rows that were saved up to a version.

    Args:
        path: the folder that `save` wrote to.
        version: which version; the newest that is whole if None.

    Returns:
        An array by name, one entry a row; an empty dictionary if there were none.

    Raises:
        ValueError: if the version that was asked for, or every version, is damaged, or if it is
            of a newer format.
        FileNotFoundError: if there is no checkpoint, or no such version of it.
        NotADirectoryError: if `path` is a file.
    """
    folder, content = _read_version(path, version)
    return {} if content["rows"] is None else _rows.read(folder.parent, content["rows"])


def newest(path: str | os.PathLike[str]) -> int | None:
    """Returns the number of the newest whole version, or None if there is none yet.

    A newer version that cannot be read is passed over, with a `RuntimeWarning` that says so.

    Args:
        path: the folder that `save` wrote to.

    Raises:
        ValueError: if there are versions and all are damaged, or the newest is of a newer format.
        NotADirectoryError: if `path` is a file.

    >>> newest("no/such/folder") is None
    True
    """
    folder = _folder(path)
    return int(_read_newest(folder)[0].name) if _versions.candidates(folder) else None


def versions(path: str | os.PathLike[str]) -> list[int]:
    """Lists the versions at `path`, oldest first; none if there is no such folder.

    Raises:
        NotADirectoryError: if `path` is a file.
    """
    folder = _folder(path)
    return [
        version for version in _versions.numbers(folder) if _versions.is_ours(folder / str(version))
    ]


def _folder(path: str | os.PathLike[str]) -> Path:
    return _files.local_path("path", path).absolute()


def _find(folder: Path, version: int) -> Path:
    """The folder of one version."""
    found = versions(folder)
    version = _checks.require_count("version", version, low=1)
    if version not in found and version not in _versions.candidates(folder):
        if not found:
            _refuse_empty(folder)
        raise FileNotFoundError(f"version: expected one of {found} at {folder}, got {version}")
    return folder / str(version)


def _refuse_empty(folder: Path) -> NoReturn:
    entries = sorted(os.listdir(folder)) if folder.exists() else "no such folder"
    raise FileNotFoundError(
        f"path: expected a checkpoint at {folder}, found {entries or 'an empty folder'}"
    )


def _read_version(path: str | os.PathLike[str], version: int | None) -> tuple[Path, dict[str, Any]]:
    """The folder of a version and what its manifest says."""
    if version is None:
        return _read_newest(_folder(path))
    folder = _find(_folder(path), version)
    with _other_version_named(folder):
        return folder, _read_manifest(folder)


def _read_newest(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The newest version that can be read, saying which could not."""
    numbers = _versions.candidates(folder)
    if not numbers:
        _refuse_empty(folder)
    problems = []
    for number in reversed(numbers):
        try:
            content = _read_manifest(folder / str(number))
        except _NewerFormatError:
            with _other_version_named(folder / str(number)):
                raise
        except Exception as error:  # the file system and JSON have many kinds
            problems.append(f"{folder / str(number)}: the version cannot be read: {error}")
            continue
        for problem in problems:
            message = f"{problem}; version {number}, the newest that is whole, is used"
            warnings.warn(message, RuntimeWarning, stacklevel=4)
        return folder / str(number), content
    raise ValueError(f"{problems[0]}; no other version is whole")


def _tables(folder: Path) -> list[dict[str, Any]]:
    """What the versions refer to of the rows beside them."""
    found = []
    for version in versions(folder):
        with contextlib.suppress(Exception):
            found.append(_parse_manifest(folder / str(version))["rows"])
    return [entry for entry in found if entry is not None]


class _NewerFormatError(ValueError):
    """A version that is whole, and that this module does not know how to read."""


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a version, all of whose files are as they were saved."""
    content = _parse_manifest(folder)
    for name, digest in content["files"].items():
        if _digest(folder / name) != digest:
            raise ValueError(f"{name} is not what was saved")
    if content["rows"] is not None:
        _rows.require_whole(folder.parent, content["rows"])
    return content


def _parse_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a version, which is as it was saved itself."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    content = manifest["content"]
    if _digest_of(content) != manifest["sha256"]:
        raise ValueError("manifest.json is not what was saved")
    if content["format"] > _FORMAT:
        raise _NewerFormatError(
            f"expected format {_FORMAT} at most, got {content['format']} of a newer logistack"
        )
    return {"rows": None} | content


def _read_arrays(
    folder: Path, leaves: dict[str, Any], templates: Mapping[str, Any]
) -> dict[str, Any]:
    shardings = {name: _leaves.sharding_of(leaf) for name, leaf in templates.items()}
    together = any(
        sharding and not sharding.is_fully_addressable for sharding in shardings.values()
    )
    with _orbax() as orbax, _checkpointer(orbax, together) as checkpointer:
        # Each leaf is read to where it is to be; without a word it would go where it was.
        ways = {
            name: orbax.RestoreArgs(restore_type=np.ndarray)
            if sharding is None or 0 in leaves[name]["shape"]
            else orbax.ArrayRestoreArgs(restore_type=jax.Array, sharding=sharding)
            for name, sharding in shardings.items()
        }
        args = orbax.args.PyTreeRestore(restore_args=ways)
        stored = checkpointer.restore(folder / "state", args=args)
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
    _versions.remove_marked(folder)
    for entry in folder.glob(f"[1-9]*{_versions.UNFINISHED}"):
        if entry.is_symlink() or not _versions.is_ours(entry):
            continue
        for part in entry.iterdir():
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part)
            elif part.name != "manifest.json":
                part.unlink()
        _versions.remove(entry)


def _to_json(notes: Mapping[str, Any] | None) -> Any:
    """The notes as they will be read."""
    try:
        return json.loads(json.dumps(dict(notes or {})))
    except (TypeError, ValueError) as error:
        raise TypeError(f"notes: expected a mapping that JSON can hold, got {error}") from error


def _checkpointer(orbax: ModuleType, together: bool) -> Any:
    """That of all processes, or of this one alone, which then waits for no other."""
    own = jax.process_index()
    options = orbax.options.MultiprocessingOptions(
        primary_host=0 if together else own,
        active_processes={*range(jax.process_count())} if together else {own},
    )
    handler = orbax.PyTreeCheckpointHandler(multiprocessing_options=options)
    return orbax.Checkpointer(handler, multiprocessing_options=options)


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
