"""A population in blocks and chunks: what it gives is `fit_population`'s, however it came about.

Run as a script, this file is a sweep that kills itself after so many chunks.
"""

import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings

import jax
import numpy as np
import optax
import pytest

import logistack as ls
from logistack.training import elsewhere
from logistack.training.groups import prepare_members
from logistack.training.memory import bytes_of_member
from logistack.training.population import begin_members, compiled_advance_members
from logistack.training.sweep import _width

pytest.importorskip("orbax.checkpoint")

MEMBERS = 7
EPOCHS = 12
normal = np.random.default_rng(0).standard_normal
X = normal((40, 5), np.float32)
Y = np.argmax(X[:, :3] + 0.3 * normal((40, 3), np.float32), axis=1)
FOLDS = (np.arange(40) % MEMBERS == np.arange(MEMBERS)[:, None]).astype(np.float32)
PATIENCE = np.array([1, 2, 3, 20, 20, 4, 20])
OPTIONS = {
    "optimizer": optax.adam,
    "hyperparams": {"learning_rate": np.linspace(0.01, 0.3, MEMBERS, dtype=np.float32)},
    "epochs": EPOCHS,
    "batch_size": 16,
    "loss": ls.losses.softmax_cross_entropy,
    "validation": FOLDS,
    "sample_weight": 1 - FOLDS,
    "dropout": 0.1,
    "min_delta": np.float32([9, 9, 9, 0, 0, 9, 0]),  # these stop when their patience has run out
}


def keys_and_start():
    keys = jax.random.split(jax.random.key(0), MEMBERS)
    return keys, jax.vmap(lambda key: ls.init_params(key, (5, 8, 3)))(keys)


def sweep(**options):
    keys, start = keys_and_start()
    start = options.pop("params", start)
    options = {"block_size": 3, "every": 5, "patience": PATIENCE, **OPTIONS, **options}
    return ls.sweep(keys, start, X, Y, **options)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.fixture(scope="module")
def whole():
    return sweep()


@pytest.mark.parametrize(
    ("options", "params"),
    [
        ({"block_size": 3}, None),
        ({"block_size": None, "every": 4, "order": "shared"}, None),
        ({"block_size": 2}, [(5, 4, 3), (5, 8, 3), (5, 3), (5, 6, 6, 3), (5, 7, 3), (5, 3), (5, 8, 3)]),
    ],
    ids=["blocks", "chunks in one order", "sizes"],
)  # fmt: skip
def test_gives_what_fit_population_gives(options, params):
    keys, start = keys_and_start()
    if params is not None:
        start = [ls.init_params(key, sizes) for key, sizes in zip(keys, params, strict=True)]
    order = {"order": options["order"]} if "order" in options else {}
    wanted = ls.fit_population(keys, start, X, Y, patience=PATIENCE, **OPTIONS, **order)
    found = sweep(params=start, **options)
    stopped = np.array([state.epoch for state in found.state]) if params else found.state.epoch
    assert min(stopped) == 2 < max(stopped) == EPOCHS  # some are set aside after the first chunk
    for ours, theirs in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
        scale = np.nanmax(np.abs(np.asarray(theirs, float)), initial=0)
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5 * scale)


def test_a_quarter_of_a_block_goes_on_in_a_quarter_of_its_arrays():
    assert [_width(going, 64) for going in (64, 17, 16, 5, 4, 1)] == [64, 64, 16, 16, 4, 1]
    assert [_width(going, 7) for going in (3, 2, 1)] == [7, 2, 1]


def test_a_state_goes_on():
    keys, _ = keys_and_start()
    half = sweep(epochs=6, patience=None, every=3)
    rest = ls.sweep(keys, half.state, X, Y, block_size=3, every=3, **OPTIONS | {"epochs": 6})
    both = sweep(patience=None, every=3)
    assert_same(rest.state, both.state)
    assert_same(rest.history, jax.tree.map(lambda rows: rows[:, 6:], both.history))


class TestCheckpoints:
    @pytest.mark.parametrize("chunks", [1, 3])
    def test_a_killed_sweep_goes_on_to_the_same_bits(self, tmp_path, whole, chunks):
        killed = subprocess.run(
            [sys.executable, __file__, tmp_path, str(chunks)], capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=False,
        )  # fmt: skip
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        told = []
        again = sweep(
            checkpoint_path=tmp_path, save_every=1,
            callbacks=[lambda now: told.append((now.members[0], now.epochs_before))],
        )  # fmt: skip
        assert_same(again, whole)
        # The chunk that was killed in its callback was not saved yet; those before it were.
        every = [(0, 0), (3, 0), (3, 5), (3, 10), (6, 0), (6, 5), (6, 10)]
        assert told == every[chunks - 1 :]

    def test_ctrl_c_ends_it_with_what_there_is(self, tmp_path, whole):
        def interrupt(progress):
            if progress.members[0] == 3:
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(
            ls.Interrupted, match="SIGINT with 6 of 7 members begun: all is saved"
        ) as e:
            sweep(checkpoint_path=tmp_path, callbacks=[interrupt])
        assert_same(
            jax.tree.map(lambda leaf: leaf[:3], e.value.result),
            jax.tree.map(lambda leaf: leaf[:3], whole),
        )
        assert np.isnan(e.value.result.history.loss[3:, 5:]).all()
        assert e.value.result.state.epoch[6] == 0
        assert_same(sweep(checkpoint_path=tmp_path, block_size=None), whole)  # in its blocks

    def test_another_sweep_is_refused(self, tmp_path):
        sweep(checkpoint_path=tmp_path, epochs=1)
        with pytest.raises(ValueError, match=r"^block_size: expected the 7 members in blocks of 3"):
            sweep(checkpoint_path=tmp_path, epochs=1, block_size=4)
        with pytest.raises(ValueError, match=r"^batch_size: expected that of the run"):
            sweep(checkpoint_path=tmp_path, epochs=1, batch_size=8)
        (tmp_path / "sweep.json").write_text("{}")
        with pytest.raises(ValueError, match=r"^checkpoint_path: expected a folder of a sweep"):
            sweep(checkpoint_path=tmp_path, epochs=1)

    def test_no_files_without_a_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        sweep(epochs=1)
        assert not list(tmp_path.iterdir())


class TestExecutors:
    def test_blocks_of_a_killed_process_run_again(self, whole):
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
            alive = sweep(executor=pool)
            assert_same(alive, whole)

            def kill(progress):
                for process in list(pool._processes):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)

            told = []
            with pytest.warns(RuntimeWarning, match=r"executor: it did not finish \d of 3 blocks"):
                again = sweep(
                    executor=pool, block_size=3,
                    callbacks=[kill, lambda now: told.append(now.members[0])],
                )  # fmt: skip
        assert_same(again, whole)
        assert set(told) == {0, 3, 6}

    def test_threads_do(self, whole):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            assert_same(
                sweep(executor=pool, order="own"),
                whole,
            )

    def test_blocks_that_it_refuses_run_here(self, whole):
        class Refusing(concurrent.futures.ThreadPoolExecutor):
            def submit(self, function, *args):
                sent = super().submit(function, *args)
                self.shutdown()
                return sent

        with pytest.warns(RuntimeWarning, match=r"2 of 3 blocks.*after shutdown"):
            assert_same(sweep(executor=Refusing(1), block_size=3), whole)

    def test_blocks_that_it_loses_run_here(self, whole):
        class Losing(concurrent.futures.Executor):
            def submit(self, function, *args):
                lost = concurrent.futures.Future()
                lost.set_exception(OSError("no such worker"))
                return lost

        with pytest.warns(RuntimeWarning, match=r"3 of 3 blocks.*OSError: no such worker"):
            assert_same(sweep(executor=Losing(), block_size=3), whole)

    def test_it_has_only_so_many_blocks_at_a_time(self, whole, monkeypatch):
        class Counting(concurrent.futures.ThreadPoolExecutor):
            def submit(self, function, *args):
                sent.append(super().submit(function, *args))
                left.append(sum(not future.done() for future in sent))
                return sent[-1]

        sent, left = [], []
        monkeypatch.setattr(elsewhere, "AT_ONCE", 2)
        with Counting(1) as pool:
            assert_same(sweep(executor=pool, block_size=3), whole)
        assert len(sent) == 3
        assert max(left) <= 2

    def test_a_block_that_a_lost_worker_is_still_at_is_waited_for(self, tmp_path, whole):
        def hold():
            with ls.checkpoint.writing(tmp_path / "block-000001"):
                held.set()
                assert told.wait(60)

        held, told = threading.Event(), threading.Event()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            lost = pool.submit(hold)
            assert held.wait(60)
            with pytest.raises(BlockingIOError):  # with no executor, it is another sweep's
                sweep(checkpoint_path=tmp_path)
            once = lambda _: told.set()  # noqa: E731
            assert_same(sweep(executor=pool, checkpoint_path=tmp_path, callbacks=[once]), whole)
            lost.result()

    def test_what_is_no_executor_is_refused(self):
        with pytest.raises(
            TypeError, match=r"^executor: expected a concurrent\.futures\.Executor, got int"
        ):
            sweep(executor=2)
        with pytest.raises(TypeError, match=r"^executor: .*, got ThreadPoolExecutor"):
            sweep(executor=concurrent.futures.ThreadPoolExecutor)
        fork = multiprocessing.get_context("fork")
        with (
            concurrent.futures.ProcessPoolExecutor(1, fork) as pool,
            pytest.raises(ValueError, match=r"^executor: expected processes that are spawned"),
        ):
            sweep(executor=pool)

    def test_an_error_is_the_block_s_own(self):
        def loss(logits, target):
            raise RuntimeError("no such loss")

        with (
            concurrent.futures.ThreadPoolExecutor(1) as pool,
            pytest.raises(RuntimeError, match="no such"),
        ):
            sweep(executor=pool, loss=loss)


class TestMemory:
    @pytest.mark.parametrize(
        ("sizes", "optimizer", "batch_size", "samples"),
        [
            ((64, 32, 10), optax.sgd(0.1), 32, 500),
            ((256, 64, 10), optax.adam(0.1), 32, 300),
            ((20, 64, 64, 64, 3), optax.sgd(0.1, momentum=0.9), None, 200),
        ],
    )
    def test_a_member_takes_about_what_is_estimated(self, sizes, optimizer, batch_size, samples):
        def groups(members):
            keys = jax.random.split(jax.random.key(0), members)
            start = jax.vmap(lambda key: ls.init_params(key, sizes))(keys)
            x, y = np.zeros((samples, sizes[0]), np.float32), np.zeros(samples, int)
            folds = np.eye(members, samples, dtype=np.float32)
            return prepare_members(
                "sweep", keys, start, (x, y), optimizer=optimizer, batch_size=batch_size,
                sample_weight=1 - folds, validation=folds, order="own",
                options={"loss": ls.losses.softmax_cross_entropy},
            )  # fmt: skip

        def taken(members):
            runs = begin_members(tuple(group.run for group in groups(members)))
            found = (
                compiled_advance_members(None).lower(runs, 2, epochs=2).compile().memory_analysis()
            )
            return (
                found.temp_size_in_bytes + found.output_size_in_bytes + found.argument_size_in_bytes
            )

        (group,) = groups(2)
        state = jax.tree.map(lambda leaf: leaf[0], group.run.state)
        estimated = bytes_of_member(group.run._replace(key=group.run.key[0], state=state), 2)
        measured = (taken(10) - taken(2)) / 8
        assert 0.7 * measured < estimated < 3 * measured

    def test_a_block_that_does_not_fit_is_named(self, monkeypatch, tmp_path, whole):
        module = sys.modules["logistack.training.sweep"]

        def refuse(mesh):
            def advance(runs, *_, **__):
                if len(runs[0].key) == 1:  # the last block
                    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
                return compiled_advance_members(mesh)(runs, *_, **__)

            return advance

        with monkeypatch.context() as patched:
            patched.setattr(module, "compiled_advance_members", refuse)
            with pytest.raises(
                MemoryError, match=r"^block_size: 1 members, from member 6 on, do not"
            ):
                sweep(checkpoint_path=tmp_path)
        assert_same(sweep(checkpoint_path=tmp_path), whole)


class TestTelling:
    def test_the_bar_counts_members_and_their_epochs(self, capfd):
        with ls.callbacks.progress_bar(EPOCHS, members=MEMBERS, description="seven") as show:
            sweep(callbacks=[show])
        last = capfd.readouterr().err.split("\r")[-1]
        assert "seven: 100%" in last
        assert "84/84" in last
        assert "members=7/7" in last

    def test_lines_of_json_have_a_number_for_each_member(self, tmp_path):
        with ls.callbacks.json_lines(tmp_path / "log.jsonl") as log:
            sweep(epochs=2, callbacks=[log])
        rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert [(row["epoch"], row["members"]) for row in rows[-2:]] == [(1, [6]), (2, [6])]
        assert len(rows[0]["loss"]) == 3
        assert len(rows[0]["saturated"][0]) == 2

    def test_stopping_ends_a_block(self):
        def stop(progress):
            if progress.members[0] == 3:
                raise ls.callbacks.StopTraining

        result = sweep(patience=None, callbacks=[stop])
        assert result.state.epoch.tolist() == [EPOCHS] * 3 + [5] * 3 + [EPOCHS]

    def test_members_that_are_not_finite_are_named_once(self):
        rates = {"learning_rate": np.float32([0.1] * 5 + [np.finfo(np.float32).max, 0.1])}
        with pytest.warns(
            RuntimeWarning, match="1 of 7 members stopped being finite, of member 5"
        ) as told:
            result = sweep(optimizer=optax.sgd, hyperparams=rates, patience=None)
        assert len(told) == 1
        assert result.state.epoch.tolist() == [EPOCHS] * 5 + [0, EPOCHS]
        assert np.isfinite(result.params[0].weight).all()

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"block_size": 0}, ValueError, "block_size: expected"),
            ({"every": 0}, ValueError, "every: expected"),
            ({"save_every": 1.5}, TypeError, "save_every: expected"),
            ({"order": "none"}, ValueError, "order: expected"),
            ({"callbacks": print}, TypeError, "callbacks: expected"),
            ({"checkpoint_path": "gs://bucket"}, ValueError, "checkpoint_path: expected"),
            ({"hyperparams": {"learning_rate": np.ones(6)}}, ValueError, "learning_rate"),
        ],
    )
    def test_bad_input_is_named(self, options, error, message):
        with pytest.raises(error, match=message):
            sweep(**options)

    def test_within_a_trace_fit_population_is_meant(self):
        keys, start = keys_and_start()

        def traced(x):
            return ls.sweep(keys, start, x, Y, patience=PATIENCE, **OPTIONS).history.loss

        with pytest.raises(TypeError, match="sweep: expected concrete arrays"):
            jax.jit(traced)(X)


if __name__ == "__main__":
    left = int(sys.argv[2])

    def kill(_):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    warnings.simplefilter("error")
    sweep(checkpoint_path=sys.argv[1], save_every=1, callbacks=[kill])
