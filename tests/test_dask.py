"""A sweep on a Dask cluster of four processes, which die: nothing is lost, nor trained twice.

Each start of a block is written down by the worker it starts in, with the checkpoint it starts
from. A block that starts from its last one is read, not trained.
"""

import concurrent.futures
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import optax
import pytest

import logistack as ls
from logistack.cli import main

distributed = pytest.importorskip("distributed")
pytest.importorskip("orbax.checkpoint")

from experiments.benchmarks import many_machines  # noqa: E402 (which imports distributed)

MEMBERS = 12
BLOCKS = 6
EPOCHS = 4
LIMIT = 150  # seconds that anything may take
X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([0, 1, 1, 0])


def sweep(**options):
    keys = jax.random.split(jax.random.key(0), MEMBERS)
    start = jax.vmap(lambda key: ls.init_params(key, (2, 2, 1)))(keys)
    return ls.sweep(
        keys, start, X, Y, optimizer=optax.adam, hyperparams={"learning_rate": 0.1},
        epochs=EPOCHS, batch_size=2, block_size=MEMBERS // BLOCKS, every=1, save_every=1, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole():
    return sweep()


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


class Told(concurrent.futures.Executor):
    """Hands on to an executor, and has workers write down what they start.

    Attributes:
        folder: that of the sweep; starts are in `starts` beside it.
        before: a function of the number of a block and how often it has started before, called in
            the worker before each start.
    """

    def __init__(self, executor, folder, before=lambda block, times: None):
        self._executor, self._count = executor, itertools.count()
        self.folder, self.before = folder, before
        self.starts = folder.parent / "starts"
        self.starts.mkdir(exist_ok=True)

    def submit(self, function, *args):
        block, before, starts = next(self._count), self.before, self.starts
        of_block = self.block(block)

        def told(*args):  # pickled by value, since workers do not know this file
            times = len(list(starts.glob(f"{block}-*")))
            kept = ls.checkpoint.newest(of_block) or 0
            name = f"{block}-{times}-{kept}-{os.getpid()}-{os.environ.get('NAME', '')}"
            (starts / name).touch()
            before(block, times)
            return function(*args)

        return self._executor.submit(told, *args)

    def block(self, number):
        return self.folder / f"block-{number:06}"

    def found(self):
        """The process, the last checkpoint, and the name of the worker of each start, by block."""
        starts = {block: [] for block in range(BLOCKS)}
        for path in sorted(self.starts.iterdir()):
            block, _, kept, process, name = path.name.split("-")
            starts[int(block)].append((int(process), int(kept), name))
        return starts

    def assert_trained_once(self, victims=()):
        """No block but the victims was begun twice, and these went on from what they had saved."""
        for block, starts in self.found().items():
            last = ls.checkpoint.newest(self.block(block))
            (_, first, _), *again = starts
            assert first == 0
            if block not in victims:
                assert all(kept == last for _, kept, _ in again)
        assert all(len(self.found()[block]) == 2 for block in victims)


class Cluster:
    """A scheduler on loopback and its workers, each a process of its own that a nanny watches."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._folder, self._held = folder, contextlib.ExitStack()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler = self.client = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._held.close()

    def start(self):
        """A scheduler, four workers and a client of theirs."""
        self.scheduler = self._run("scheduler", "--port", str(self.port), "--no-dashboard")
        self.add_workers(4)
        self.client = distributed.Client(self.address, timeout=LIMIT, set_as_default=False)
        self._held.callback(self.client.close)
        self.client.wait_for_workers(4, timeout=LIMIT)

    def add_workers(self, count, name=""):
        return self._run(
            "worker", self.address, f"--nworkers={count}", "--nthreads=1", "--memory-limit=1GiB",
            "--no-dashboard", "--death-timeout=60", "--local-directory", self._folder, NAME=name,
        )  # fmt: skip

    def _run(self, command, *options, **environment):
        # Workers compile as this process does, and do not compile again what it has.
        environment |= {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "JAX_COMPILATION_CACHE_DIR": jax.config.values["jax_compilation_cache_dir"],
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "60s",
        }
        module = f"distributed.cli.dask_{command}"
        log = self._held.enter_context((self._folder / f"{command}.log").open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--host", "127.0.0.1", *options],
            env=os.environ | environment, stdout=log, stderr=log,
        )  # fmt: skip
        self._held.callback(end, process)
        return process


def end(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("dask")) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture(autouse=True)
def limit():
    def late(*_):
        raise TimeoutError(f"{LIMIT} seconds have gone by")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def wait_for(condition):
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError):
            if found := condition():
                return found
        time.sleep(0.01)
    raise TimeoutError


@contextlib.contextmanager
def meanwhile(function):
    """Another thread does it; what it raises is raised at the end."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(function)
        yield
        done.result(LIMIT)


def test_a_killed_worker_s_block_goes_on_in_another(cluster, tmp_path, whole):
    told = Told(cluster.client.get_executor(), tmp_path / "sweep")

    def kill():
        wait_for(lambda: ls.checkpoint.newest(told.block(1)))
        os.kill(told.found()[1][0][0], signal.SIGKILL)

    with meanwhile(kill):
        assert_same(sweep(executor=told, checkpoint_path=told.folder), whole)
    told.assert_trained_once(victims=[1])
    (_, first, _), (_, second, _) = told.found()[1]
    assert 0 == first < second < ls.checkpoint.newest(told.block(1))


def test_a_worker_out_of_memory_is_replaced(cluster, tmp_path, whole):
    def fill(block, times):
        if block == 2 and times == 0:
            held = []
            while True:  # until the nanny has seen it
                held.append(bytearray(os.urandom(1 << 16)) * (1 << 7))
                time.sleep(0.01)

    told = Told(cluster.client.get_executor(), tmp_path / "sweep", fill)
    assert_same(sweep(executor=told, checkpoint_path=told.folder), whole)
    told.assert_trained_once(victims=[2])


def test_a_worker_that_comes_late_takes_a_block(cluster, tmp_path, whole):
    starts = tmp_path / "starts"

    def wait(block, times):
        until = time.monotonic() + 60
        while not list(starts.glob("*-late")) and time.monotonic() < until:
            time.sleep(0.05)

    told = Told(cluster.client.get_executor(), tmp_path / "sweep", wait)

    def add():
        wait_for(lambda: len(list(starts.iterdir())) == 4)
        late.append(cluster.add_workers(1, "late"))

    late = []
    with meanwhile(add):
        assert_same(sweep(executor=told, checkpoint_path=told.folder), whole)
    assert "late" in {name for starts in told.found().values() for _, _, name in starts}
    told.assert_trained_once()
    end(*late)


def test_a_block_that_kills_its_workers_runs_here(cluster, tmp_path, whole):
    def die(block, times):
        if block == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    told = Told(cluster.client.get_executor(), tmp_path / "sweep", die)
    with pytest.warns(
        RuntimeWarning, match=r"1 of 6 blocks, which run .*: KilledWorker: Attempted"
    ):
        assert_same(sweep(executor=told, checkpoint_path=told.folder), whole)
    told.assert_trained_once(victims=[0])


def test_the_benchmark_counts_bits_and_bytes(cluster):
    config = many_machines.Config(
        members=6, epochs=2, block_size=4, workers=4, rounds=1, tasks=3
    )  # fmt: skip
    found = many_machines.run(config, cluster.client)
    assert found.same
    assert found.sent > 9 * 4 + 8  # the weights and a key
    assert found.returned > found.sent
    assert "overhead of a block of Dask, ms" in many_machines.report(config, found)


def test_a_sweep_whose_scheduler_restarts_goes_on_from_its_folder(cluster, tmp_path, whole):
    told = Told(cluster.client.get_executor(), tmp_path / "sweep")

    def die(progress):
        cluster.scheduler.kill()
        raise KeyboardInterrupt

    with pytest.raises(ls.Interrupted, match=r"2 of 12 members begun: all is saved"):
        sweep(executor=told, checkpoint_path=told.folder, callbacks=[die])
    saved = [ls.checkpoint.newest(told.block(block)) or 0 for block in range(BLOCKS)]
    cluster.client.close()
    cluster.scheduler.wait(LIMIT)
    cluster.start()
    again = Told(cluster.client.get_executor(), told.folder)
    assert_same(sweep(executor=again, checkpoint_path=told.folder), whole)
    last = ls.checkpoint.newest(told.block(0))
    assert last in saved
    # What a worker has saved since its scheduler died counts, too.
    assert all(starts[-1][1] >= saved[block] for block, starts in told.found().items())


def test_the_command_sends_the_folds_of_a_report(tmp_path):
    """In threads of this process, where the programs are compiled already."""
    data = tmp_path / "data.csv"
    rows = [f"{x},{x % 7},{'yes' if x % 7 > 2 else 'no'}" for x in range(40, 0, -1)]
    data.write_text("\n".join(["x,y,label", *rows]))
    ask = ["report", str(data), "--target", "label", "--quick", "--time-limit", "600"]
    assert main([*ask, "--out", str(tmp_path / "here")]) == 0
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        address = ["--scheduler", cluster.scheduler_address]
        assert main([*ask, "--out", str(tmp_path / "there"), *address]) == 0
        done = cluster.scheduler.transition_counter
    assert done > 0
    here, there = ((tmp_path / each / "report.json").read_bytes() for each in ("here", "there"))
    assert here == there


def test_the_command_names_an_address_that_is_none(capsys):
    assert main(["report", "data.csv", "--target", "label", "--scheduler", "no address"]) != 0
    assert "--scheduler: expected the address of a Dask scheduler" in capsys.readouterr().err
