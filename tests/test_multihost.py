"""Several processes on loopback, as many hosts have them: gloo between them, two devices in each.

Run as a script, this file is one of the processes: `python test_multihost.py process count port
folder what`. One process alone, with the devices of all, is the oracle.
"""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import optax

import logistack as ls
from logistack.training.spread import on_host

DEVICES = 4
LIMIT = 150  # seconds for one process; it takes about 10
HEARTBEAT = 10  # seconds


def main(process, count, port, folder, what):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 2 if count > 1 else DEVICES)
    if count > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(
            f"127.0.0.1:{port}", count, process, heartbeat_timeout_seconds=HEARTBEAT
        )
    for line in globals()[what](Path(folder), process, count):
        say(line)


def say(line):
    print(f"\nsays {json.dumps(line)}", flush=True)


def heard(line):
    """What was said by a line, if anything was; gloo writes there, too."""
    return json.loads(line.removeprefix("says ")) if line.startswith("says ") else None


def problem():
    x = np.random.default_rng(0).standard_normal((48, 4)).astype(np.float32)
    keys = jax.random.split(jax.random.key(3), 8)
    start = jax.vmap(lambda key: ls.init_params(key, (4, 8, 3)))(keys)
    options = {
        "optimizer": optax.adam(0.05),
        "loss": ls.losses.softmax_cross_entropy,
    }
    return x, np.arange(48) % 3, keys, start, options


def digest(tree):
    leaves = jax.tree.leaves(on_host(tree))
    return hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest()


def numbers(result):
    return [np.asarray(leaf, float).ravel().tolist() for leaf in jax.tree.leaves(result.params)]


def parts(arrays, size, process, count):
    """This process's part of every batch."""
    own = size // count
    for start in range(process * own, len(arrays[0]), size):
        yield tuple(array[start : start + own] for array in arrays)


def training(folder, process, count):
    """A population in parts, as a sweep too, a data-parallel network, and a stream."""
    x, y, keys, start, options = problem()
    members = jax.make_mesh((len(jax.devices()),), ("members",))
    batch = jax.make_mesh((len(jax.devices()),), ("batch",))
    options |= {"epochs": 2}
    result = ls.fit_population(keys, start, x, y, mesh=members, batch_size=8, **options)
    yield "population", digest(result)
    swept = ls.sweep(
        keys, start, x, y, mesh=members, batch_size=8, block_size=8, every=2,
        checkpoint_path=folder / f"sweep-{count}", **options,
    )  # fmt: skip
    yield "sweep", digest((swept.params, swept.state))
    one = jax.tree.map(lambda leaf: leaf[0], start)
    result = ls.fit(keys[0], one, x, y, mesh=batch, batch_size=8, **options)
    yield "fit", numbers(result)
    local = [*parts((x, y), 8, process, count)] * 2
    streamed = ls.fit_stream(
        keys[0], one, local, mesh=batch, steps_per_epoch=6,
        checkpoint_path=folder / f"stream-{count}", **options,
    )  # fmt: skip
    yield "stream", numbers(streamed)


def saving(folder, process, count):
    """A population in parts, to the folder `parts`."""
    x, y, keys, start, options = problem()
    mesh = jax.make_mesh((len(jax.devices()),), ("members",))
    result = ls.fit_population(keys, start, x, y, mesh=mesh, epochs=1, **options)
    version = ls.checkpoint.save(folder / "parts", result.state, notes={"by": count})
    yield version, digest(result.state)


def restoring(folder, process, count):
    """The same on the devices of other processes."""
    x, y, keys, start, options = problem()
    mesh = jax.make_mesh((len(jax.devices()),), ("members",))
    like = ls.fit_population(keys, start, x, y, mesh=mesh, epochs=0, **options).state
    state = ls.checkpoint.restore(folder / "parts", like)
    own = state.params[0].weight.addressable_shards
    assert [len(shard.data) for shard in own] == [8 // len(jax.devices())] * len(own)
    yield ls.checkpoint.newest(folder / "parts"), digest(state)


def going_on(folder, process, count):
    """A long run on a stream from Grain; slowly, where the folder says so, to be killed."""
    import grain

    x, y, keys, start, options = problem()
    mesh = jax.make_mesh((len(jax.devices()),), ("batch",))
    data = [(row, label) for row, label in zip(x, y, strict=True)]
    own = grain.MapDataset.source(data).seed(7).shuffle().repeat().batch(8 // count)
    stream = own[process::count].to_iter_dataset()

    def pause(progress):
        say(["epoch", progress.epochs_done])
        if (folder / "slow").exists():
            time.sleep(0.5)

    result = ls.fit_stream(
        keys[0], jax.tree.map(lambda leaf: leaf[0], start), stream, mesh=mesh, epochs=8,
        steps_per_epoch=3, callbacks=[pause], checkpoint_path=folder / "run", **options,
    )  # fmt: skip
    yield "end", digest((result.params, result.history))


# The tests, which start them.


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def begin(count, folder, what):
    port = free_port()
    kept = ("PATH", "HOME", "PYTHONPATH", "LANG", "JAX_DISABLE_MOST_OPTIMIZATIONS")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    # As this process compiles, but with devices of its own.
    flags = os.environ.get("XLA_FLAGS", "").split()
    environment["XLA_FLAGS"] = " ".join(flag for flag in flags if "device_count" not in flag)
    programs = jax.config.values["jax_compilation_cache_dir"]
    if programs is not None:
        environment["JAX_COMPILATION_CACHE_DIR"] = programs
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    return [
        subprocess.Popen(
            [sys.executable, __file__, str(process), str(count), str(port), str(folder), what],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for process in range(count)
    ]  # fmt: skip


def ended(processes):
    """What each has said, in lines and as errors, when all have ended."""
    try:
        return [process.communicate(timeout=LIMIT) for process in processes]
    finally:
        for process in processes:
            process.kill()


def lines_of(count, folder, what):
    """What processes say, each of which succeeds."""
    processes = begin(count, folder, what)
    said = ended(processes)
    for process, (_, errors) in zip(processes, said, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [list(filter(None, map(heard, lines.splitlines()))) for lines, _ in said]


def test_two_processes_train_as_one_does(tmp_path):
    one, other = map(dict, lines_of(2, tmp_path, "training"))
    (alone,) = map(dict, lines_of(1, tmp_path, "training"))
    assert one == other
    for name in ("population", "sweep"):
        assert one[name] == alone[name]
    for name in ("fit", "stream"):
        for value, wanted in zip(one[name], alone[name], strict=True):
            np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)


def test_what_four_processes_save_two_and_one_restore(tmp_path):
    by_four = lines_of(4, tmp_path, "saving")
    assert len({tuple(lines[0]) for lines in by_four}) == 1
    for count in (2, 1):
        assert lines_of(count, tmp_path, "restoring") == by_four[:count]


def test_a_lost_process_is_named_and_the_run_goes_on_to_the_same_bits(tmp_path):
    folder, whole = tmp_path / "lossy", tmp_path / "whole"
    folder.mkdir()
    whole.mkdir()
    (folder / "slow").touch()
    for victim, epoch, sign in ((1, 2, "tasks are unhealthy"), (0, 4, "leader task")):
        processes = begin(2, folder, "going_on")
        alarm = threading.Timer(LIMIT, lambda of=processes: [each.kill() for each in of])
        alarm.start()
        try:
            while heard(processes[0].stdout.readline()) != ["epoch", epoch]:
                assert processes[0].poll() is None
            processes[victim].send_signal(signal.SIGKILL)
            other = processes[1 - victim]
            # Some seconds more than the heartbeat, for a machine that is busy.
            _, errors = other.communicate(timeout=HEARTBEAT + 20)
        finally:
            alarm.cancel()
            for process in processes:
                process.kill()
                process.communicate()
        assert other.returncode
        assert sign in errors
        assert victim == 0 or "\n1\n" in errors  # which is what JAX says of it
        assert f"To go on from the last checkpoint in {folder / 'run'}" in errors
        assert f"{Path(__file__).name} {1 - victim} 2" in errors
    (folder / "slow").unlink()
    again = lines_of(2, folder, "going_on")
    assert again[0][0][0] == "epoch"
    assert again[0][0][1] >= 4  # it did not begin anew, nor from where it first was lost
    wanted = lines_of(2, whole, "going_on")
    assert [lines[-1] for lines in again] == [lines[-1] for lines in wanted]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), *sys.argv[4:])
