"""Files are written whole, and nothing but a regular file is ever replaced."""

import os
import socket
import stat
import threading

import jax
import numpy as np
import optax
import pytest

import logistack as ls
from logistack import _files, cli


@pytest.mark.parametrize("there", [True, False], ids=["file", "dangling"])
def test_a_link_stays_and_what_it_names_is_written(tmp_path, there):
    (tmp_path / "kept").mkdir()
    target, link = tmp_path / "kept" / "file", tmp_path / "link"
    if there:
        target.write_bytes(b"old")
    link.symlink_to("kept/file")
    second = tmp_path / "second"
    second.symlink_to(link)
    _files.write_whole(second, b"new")
    assert second.is_symlink()
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "kept", "link", "second"]


def test_links_in_a_circle_are_an_error(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.symlink_to(two)
    two.symlink_to(one)
    with pytest.raises(OSError, match="symbolic links"):
        _files.write_whole(one, b"new")
    assert one.is_symlink()


def test_a_pipe_takes_the_content(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = bytes(1_000_000)  # more than a pipe holds
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    read = []

    def drain():
        while part := os.read(reading, 65536):
            read.append(part)

    thread = threading.Thread(target=drain)
    # Without another writer, a reader that is there first would see the end at once.
    keeping = os.open(pipe, os.O_WRONLY)
    thread.start()
    _files.write_whole(pipe, content)
    os.close(keeping)
    thread.join()
    os.close(reading)
    assert b"".join(read) == content
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_pipe_without_a_reader_is_an_error_and_no_standstill(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="No such device"):
        _files.write_whole(pipe, b"new")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_device_stays_one(tmp_path):
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    _files.write_whole(link, b"new")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert link.is_symlink()


def test_a_full_disk_is_named():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        _files.write_whole("/dev/full", b"new")


def test_a_folder_and_a_socket_are_refused(tmp_path):
    with pytest.raises(IsADirectoryError):
        _files.write_whole(tmp_path, b"new")
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        with pytest.raises(OSError, match="expected a file"):
            _files.write_whole(path, b"new")
    assert stat.S_ISSOCK(path.stat().st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_a_full_disk_is_an_error_that_names_the_file():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        _files.write_whole("/dev/full", b"new")
    with (
        ls.callbacks.json_lines("/dev/full") as log,
        pytest.raises(OSError, match=r"^path: expected .*, got /dev/full: No space left on device"),
    ):
        ls.fit_with_callbacks(
            jax.random.key(0),
            ls.init_params(jax.random.key(0), (2, 2)),
            np.eye(2),
            np.eye(2),
            optimizer=optax.sgd(0.1),
            epochs=1,
            callbacks=[log],
        )


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_a_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    _files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_names_as_long_as_they_may_be(tmp_path):
    path = tmp_path / ("n" * 255)
    _files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def save_parameters(path):
    ls.export.safetensors.save(path, ls.init_params(jax.random.key(0), (2, 1)))


def save_figure(path):
    ls.plots.save(ls.plots.confusion_matrix([[9, 1], [0, 5]]), path)


def save_proof(path):
    data = path.with_name("data.csv")
    data.write_text("x,class\n0,0\n1,1\n")
    assert cli.main(["certify", str(data), "--target", "class", "--out", str(path)]) in (0, 2)


def save_film(path):
    params = ls.init_params(jax.random.key(0), (2, 1))
    ls.plots.film([params, params], np.eye(2), [0, 1], path)


@pytest.mark.parametrize("save", [save_parameters, save_figure, save_proof, save_film])
def test_no_writer_replaces_what_is_not_a_file(tmp_path, save):
    target, link, pipe = (tmp_path / f"{name}.png" for name in ("target", "link", "pipe"))
    link.symlink_to(target)
    save(link)
    assert link.is_symlink()
    assert target.stat().st_size > 100
    os.mkfifo(pipe)
    if save is save_proof:
        save(pipe)
    else:
        with pytest.raises(OSError, match="No such device"):
            save(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
