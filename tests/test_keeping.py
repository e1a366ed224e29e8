"""What experiments share: names of folders, files that are whole, starts and stops."""

import dataclasses
import errno
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import keeping

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Config:
    """Tries things."""

    data: tuple[str, ...] = ("XOR", "one turn")
    rates: tuple[float, ...] = (0.1, 1.0)
    seed: int = 0
    samples: int | None = None
    fresh: bool = False
    out: Path = Path("out")


class TestFolder:
    @pytest.mark.parametrize(
        ("changes", "name"),
        [
            ({}, "out"),
            ({"out": Path("there")}, "there"),
            ({"seed": 3}, "out/seed-3"),
            ({"data": ("one turn", "XOR")}, "out/one-turn-XOR"),
            ({"rates": (0.5,), "samples": 9, "fresh": True}, "out/rates-0.5-samples-9-fresh"),
        ],
    )
    def test_is_named_after_what_is_not_the_default(self, changes, name):
        assert keeping.folder_of(Config(**changes)) == Path(name)

    def test_names_also_what_it_is_told_to(self):
        assert keeping.folder_of(Config(), always=["data"]) == Path("out/XOR-one-turn")

    def test_long_names_differ(self):
        one, other = (
            keeping.folder_of(Config(rates=tuple(range(count)))).name for count in (90, 91)
        )
        assert one != other
        assert max(len(one), len(other)) < 120


class TestFiles:
    def test_are_whole_or_absent(self, tmp_path, monkeypatch):
        path = tmp_path / "new" / "file"
        keeping.write_whole(path, "one")

        def fill(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Path, "write_bytes", fill)
        with pytest.raises(OSError, match=rf"No space left on device: '{path}'"):
            keeping.write_whole(path, "two")
        assert path.read_text() == "one"
        assert list(path.parent.iterdir()) == [path]

    def test_a_link_stays_and_what_is_no_file_is_refused(self, tmp_path):
        (tmp_path / "link").symlink_to("file")
        keeping.write_whole(tmp_path / "link", "one")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "file").read_text() == "one"
        keeping.require_file("results", tmp_path / "link")
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path, tmp_path / "pipe", Path("/dev/full")):
            for act in (
                lambda path: keeping.require_file("results", path),
                keeping.read_json,
                lambda path: keeping.write_json(path, {}),
            ):
                with pytest.raises(keeping.RefusedError, match=f"expected a file, got {path}"):
                    act(path)
        assert (tmp_path / "pipe").is_fifo()

    def test_time_goes_on_from_what_was_noted(self, tmp_path):
        watch = keeping.Stopwatch(tmp_path / "seconds")
        assert watch.seconds == 0
        time.sleep(0.01)
        watch(None)
        assert watch.seconds >= 0.01
        again = keeping.Stopwatch(tmp_path / "seconds")
        assert again.seconds == watch.seconds
        again(None)
        assert again.seconds > watch.seconds


class TestCommand:
    def ended(self, error, capsys):
        @keeping.command
        def main(arguments):
            raise error

        with pytest.raises(SystemExit) as end:
            main([])
        (line,) = capsys.readouterr().err.splitlines()
        return end.value.code, line

    def test_an_error_is_one_line(self, capsys):
        assert self.ended(keeping.RefusedError("a:\n b"), capsys) == (2, "a: b")
        full = OSError(errno.ENOSPC, "No space left on device", "a/file")
        assert self.ended(full, capsys) == (2, "a/file: No space left on device")

    def test_an_interruption_is_one_line(self, capsys):
        assert self.ended(KeyboardInterrupt(), capsys) == (130, "interrupted")

    def test_a_path_is_of_this_machine_and_knows_the_home_folder(self, monkeypatch):
        monkeypatch.setenv("HOME", "/home/mine")
        assert keeping.parse(Config, ["--out", "~/new"]).out == Path("/home/mine/new")
        with pytest.raises(keeping.RefusedError, match=r"^out: expected a path in the local file"):
            keeping.parse(Config, ["--out", "s3://bucket/run"])

    @pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf, 1e39, 1e-60])
    def test_numbers_are_those_of_float32(self, rate):
        keeping.require_numbers(Config(rates=(1e-30, 1e30)), "rates")
        with pytest.raises(
            keeping.RefusedError,
            match=r"^rates: expected finite numbers (above 0|from 1.*e-38 to 3.*e.38), got",
        ):
            keeping.require_numbers(Config(rates=(rate,)), "rates")

    def test_what_is_no_fault_of_the_user_is_not_hidden(self):
        @keeping.command
        def main(arguments):
            raise ValueError("a mistake in the script")

        with pytest.raises(ValueError, match="a mistake"):
            main([])

    @pytest.mark.parametrize("name", ["digits", "article", "backpropagation", "depth", "limits",
                                      "published", "benchmarks/training", "benchmarks/depth"])  # fmt: skip
    def test_ctrl_c_during_imports_prints_no_traceback(self, name, tmp_path):
        # A stand-in for JAX, whose import takes long.
        (tmp_path / "jax.py").write_text("print('here', flush=True)\nimport time\ntime.sleep(60)")
        path = ROOT / "experiments" / f"{name}.py"
        with subprocess.Popen(
            [sys.executable, path],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout.readline() == "here\n"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate()
        assert err == ""
        assert process.returncode == -signal.SIGINT
