"""Compiled programs that outlive their process."""

import os
import subprocess
import sys

import jax
import pytest

import logistack as ls

PROGRAM = """
import sys

import jax
import jax.numpy as jnp

import logistack as ls

seen = []
jax.monitoring.register_event_listener(lambda event, **_: seen.append(event))
print(ls.keep_compiled_programs(*sys.argv[1:]))
jax.jit(lambda x: jnp.sin(x) + 1)(jnp.ones(3)).block_until_ready()
print("hit" if "/jax/compilation_cache/cache_hits" in seen else "miss")
"""


def run(*arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, *map(str, arguments)],
        env=clean
        | {"JAX_PLATFORMS": "cpu"}
        | {name: str(path) for name, path in environment.items()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    folder = tmp_path / "programs"
    assert run(folder) == [str(folder), "miss"]
    assert list(folder.iterdir())
    assert run(folder) == [str(folder), "hit"]


@pytest.mark.parametrize(
    ("folder", "error"), [("gs://bucket/programs", ValueError), (3, TypeError)]
)
def test_what_is_no_folder_of_this_machine_is_refused(folder, error):
    before = jax.config.values["jax_compilation_cache_dir"]
    if before is not None:
        pytest.skip("JAX has a folder, which stays")
    with pytest.raises(error, match=r"^folder: expected a path"):
        ls.keep_compiled_programs(folder)
    assert jax.config.values["jax_compilation_cache_dir"] is None


@pytest.mark.parametrize("configured", [False, True])
def test_by_default_the_user_s_cache_folder_unless_jax_has_one(tmp_path, configured):
    environment = {"XDG_CACHE_HOME": tmp_path}
    wanted = tmp_path / "logistack" / "compiled"
    if configured:
        wanted = environment["JAX_COMPILATION_CACHE_DIR"] = tmp_path / "own"
    assert run(**environment)[0] == str(wanted)
