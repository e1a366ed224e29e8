"""What a script says before its first use of JAX."""

import os
import subprocess
import sys

import jax
import numpy as np
import optax
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


def run(*arguments, program=PROGRAM, **environment):
    clean = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
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
    jax.config.update("jax_compilation_cache_dir", None)  # one that JAX has would stay
    try:
        with pytest.raises(error, match=r"^folder: expected a path"):
            ls.keep_compiled_programs(folder)
        assert jax.config.values["jax_compilation_cache_dir"] is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize("configured", [False, True])
def test_by_default_the_user_s_cache_folder_unless_jax_has_one(tmp_path, configured):
    environment = {"XDG_CACHE_HOME": tmp_path}
    wanted = tmp_path / "logistack" / "compiled"
    if configured:
        wanted = environment["JAX_COMPILATION_CACHE_DIR"] = tmp_path / "own"
    assert run(**environment)[0] == str(wanted)


def optimizers_states(tree):
    """The types of Optax's named tuples in a tree."""
    kinds = set()
    if isinstance(tree, tuple):
        kinds = set().union(*map(optimizers_states, tree))
        if type(tree).__module__.startswith("optax"):
            kinds.add(type(tree))
    return kinds


def test_a_run_is_exported_for_every_platform_and_read_back():
    optimizer = optax.sgd(0.1, momentum=0.9)
    inputs = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 1, 0, 0]]

    @jax.jit
    def run(key, params):
        result = ls.fit(
            key, params, inputs, targets, optimizer=optimizer, epochs=3, batch_size=3,
            validation=(inputs, targets), ema_decay=0.5,
        )  # fmt: skip
        step = ls.make_step(optimizer, ema_decay=0.5)
        return result, step(result.state, inputs, targets)[1]

    arguments = jax.random.key(0), ls.init_params(jax.random.key(1), (3, 4, 2))
    plain = run(*arguments)
    assert isinstance(plain[1], ls.BatchSums)
    for kind in optimizers_states(plain):  # whose registration is not this library's
        jax.export.register_namedtuple_serialization(kind, serialized_name=str(kind))
    platforms = ("cpu", "cuda", "rocm", "tpu")
    program = jax.export.export(run, platforms=platforms)(*arguments)
    again = jax.export.deserialize(program.serialize())
    assert again.platforms == platforms
    given, wanted = again.call(*arguments), program.call(*arguments)
    assert jax.tree.structure(given) == jax.tree.structure(plain)
    for leaves in zip(*map(jax.tree.leaves, (given, wanted, plain)), strict=True):
        np.testing.assert_array_equal(*leaves[:2], strict=True)
        # XLA may fuse the program of many platforms otherwise.
        np.testing.assert_allclose(leaves[0], leaves[2], rtol=1e-5, atol=1e-6)


CORES = """
import jax, logistack as ls
{before}
try:
    print(ls.use_cores_as_devices(3), jax.device_count())
except RuntimeError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("before", "environment", "told"),
    [
        ("", {}, "3 3"),
        ("ls.use_cores_as_devices(3)", {}, "3 3"),
        ("", {"JAX_NUM_CPU_DEVICES": 2}, "2 2"),
        (
            "jax.devices()",
            {},
            "use_cores_as_devices: expected to be called before JAX is first used, which has 1 CPU "
            "devices now, not 3: call it at the top of the script",
        ),
    ],
)
def test_cores_become_devices_before_jax_is_used(before, environment, told):
    program = CORES.format(before=before)
    assert run(program=program, XLA_FLAGS="", **environment) == told.split()


@pytest.mark.parametrize(("count", "error"), [(0, ValueError), (1.5, TypeError)])
def test_devices_are_counted_in_integers(count, error):
    with pytest.raises(error, match=r"^count: expected"):
        ls.use_cores_as_devices(count)
