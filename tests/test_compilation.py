"""What a script says before its first use of JAX."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
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


INPUTS = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
TARGETS = np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 1, 0, 0]]
EVERYTHING = {
    "epochs": 3, "batch_size": 3, "validation": (INPUTS, TARGETS), "patience": 2,
}  # fmt: skip


def trained(seed, params):
    optimizer = optax.adam(0.1)
    result = ls.fit(
        jax.random.key(seed), params, INPUTS, TARGETS, optimizer=optimizer, ema_decay=0.5,
        dropout=0.2, coordinates="centred", **EVERYTHING,
    )  # fmt: skip
    step = ls.make_step(optimizer, ema_decay=0.5, coordinates="centred")
    return result, step(result.state, INPUTS, TARGETS)[1]


def populated(seed, params):
    result = ls.fit_population(
        jax.random.split(jax.random.key(seed), 3), params, INPUTS, TARGETS, optimizer=optax.adam,
        hyperparams={"learning_rate": jnp.array([0.01, 0.03, 0.1])}, **EVERYTHING,
    )  # fmt: skip
    return result.params, result.history


def judged(seed, params):
    shares = ls.committees.member_probabilities
    members = jax.vmap(lambda key: ls.init_params(key, (3, 2)))(
        jax.random.split(jax.random.key(seed), 4)
    )
    probabilities = jax.vmap(shares, (None, 0))((*members, *params), INPUTS)
    return (
        ls.committees.greedy_weights(probabilities, TARGETS, steps=5),
        jax.vmap(lambda own: ls.committees.disagreement(own, independent=True))(probabilities),
        ls.metrics.reliability(probabilities[:, 0], TARGETS),
    )


def draw(*hidden):
    return ls.init_params(jax.random.key(1), (3, *hidden, 2))


EXPORTED = {
    "1,000 layers": (trained, ls.stack(draw(*[4] * 1000))),
    "a population": (populated, jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), draw(4))),
    "sizes": (populated, [draw(4), draw(5, 3), draw(4)]),
    "a committee": (judged, ()),
}
# The states of an optimizer are registered by whoever exports them.
STATES = """
import jax, optax
for kind in (optax.EmptyState, optax.EmaState, optax.ScaleByAdamState):
    jax.export.register_namedtuple_serialization(kind, serialized_name=f"optax.{kind.__name__}")
"""
READ = (
    STATES
    + """
import sys
import numpy as np
import logistack.committees, logistack.training  # which register their named tuples
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        program = jax.export.deserialize(bytearray(file.read()))
    leaves = np.load(path + ".npz").values()
    arguments, named = jax.tree.unflatten(program.in_tree, leaves)
    leaves, tree = jax.tree.flatten(program.call(*arguments, **named))
    np.savez(path + ".npz", *leaves, tree=str(tree))
"""
)


def test_training_is_exported_for_every_platform_and_read_by_a_new_process(tmp_path):
    exec(STATES, {})
    platforms = ("cpu", "cuda", "rocm", "tpu")
    wanted = {}
    for name, (function, params) in EXPORTED.items():
        program = jax.export.export(jax.jit(function), platforms=platforms)(5, params)
        assert program.platforms == platforms
        (tmp_path / name).write_bytes(program.serialize())
        np.savez(tmp_path / f"{name}.npz", *jax.tree.leaves((5, params)))
        wanted[name] = program.call(5, params)
    run(*[tmp_path / name for name in EXPORTED], program=READ)
    for name, result in wanted.items():
        tree, *given = np.load(tmp_path / f"{name}.npz").values()
        leaves, own = jax.tree.flatten(result)
        assert str(tree) == str(own)
        for one, same in zip(given, leaves, strict=True):
            np.testing.assert_array_equal(one, same, strict=True, err_msg=name)
    # XLA may fuse the program of many platforms otherwise.
    function, params = EXPORTED["a population"]
    own, plain = wanted["a population"], jax.jit(function)(5, params)
    assert jax.tree.structure(own) == jax.tree.structure(plain)
    for one, near in zip(*map(jax.tree.leaves, (own, plain)), strict=True):
        np.testing.assert_allclose(one, near, rtol=1e-5, atol=1e-6)


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
