"""Training from the host's side: a run that is stopped, however it is, goes on to the same bits.

Run as a script, this file is a server that forks a new process for every run that it is told of.
"""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logistack as ls

pytest.importorskip("orbax.checkpoint")  # and imported once for all processes

normal = np.random.default_rng(0).standard_normal
INPUTS = normal((10, 3), np.float32)
TARGETS = (INPUTS[:, :1] > 0).astype(np.float32)
# No JAX array yet: that would start JAX's threads, and processes are forked before.
PARAMS = (
    ls.Layer(normal((4, 3), np.float32), normal(4, np.float32)),
    ls.Layer(normal((1, 4), np.float32), normal(1, np.float32)),
)
VALIDATION = (normal((6, 3), np.float32), np.float32([[1], [0], [1], [0], [0], [1]]))
MOMENTUM = optax.sgd(0.1, momentum=0.9)
EARLY = {"optimizer": optax.sgd(0.3), "validation": VALIDATION, "patience": 3}
CASES = {
    "momentum and dropout": {"optimizer": MOMENTUM, "dropout": (0.1, 0.5)},
    "adam and average": {
        "optimizer": optax.adam(optax.linear_schedule(0.1, 0.01, 20)),
        "ema_decay": 0.9,
        "validation": VALIDATION,
        "reduction": "mean",
    },
    "early stopping": EARLY | {"patience": 6},
}
DROPPING = "momentum and dropout"
HALF = 5
SHORT, LONG = 40, 160


def train(epochs, *, optimizer=MOMENTUM, inputs=INPUTS, seed=0, params=PARAMS, **options):
    return ls.fit_with_callbacks(
        jax.random.key(seed),
        params,
        inputs,
        TARGETS,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=4,
        **options,
    )


def fit(epochs, *, optimizer=MOMENTUM, params=PARAMS, **options):
    return ls.fit(
        jax.random.key(0),
        params,
        INPUTS,
        TARGETS,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=4,
        **options,
    )


def bits(tree):
    """Structure, and dtype, shape and bytes of every leaf."""
    leaves, structure = jax.tree.flatten(tree)
    arrays = map(np.asarray, leaves)
    return structure, [(array.dtype, array.shape, array.tobytes()) for array in arrays]


def digest(tree):
    return hashlib.sha256(repr(bits(tree)).encode()).hexdigest()


def contents(folder):
    """Every file in a folder, with its bytes."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return [(file.relative_to(folder), file.read_bytes()) for file in files]


def saved_epochs(folder):
    """How many epochs the last checkpoint of a run with momentum has behind it."""
    if not ls.checkpoint.versions(folder):
        return 0
    return int(ls.checkpoint.restore(folder, ls.init_state(PARAMS, MOMENTUM)).epoch)


def say(*words):
    os.write(1, json.dumps(words).encode() + b"\n")


def finish(folder):
    """Finishes all that `test_a_new_process_goes_on_to_the_same_bits` has begun."""
    for name, options in CASES.items():
        result = train(2 * HALF, checkpoint_path=f"{folder}/{name}", **options)
        say(name, digest(result))


def go_on(folder, epochs):
    """A run that says how far it is."""

    def tell(progress):
        say("epoch", progress.epochs_done)
        time.sleep(0.01)

    result = train(
        epochs, checkpoint_path=folder, save_every=1, callbacks=[tell], **CASES[DROPPING]
    )
    say("result", digest(result))


def serve():
    """Forks a process for each line of standard input, and says how it ended."""
    warnings.simplefilter("ignore")  # of forks: JAX has not started
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            signal.alarm(120)
            say("process", os.getpid())
            task, *arguments = json.loads(line)
            try:
                {"finish": finish, "go on": go_on}[task](*arguments)
            except BaseException as error:
                traceback.print_exc()
                say(type(error).__name__, str(error))
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        say("ended", os.waitstatus_to_exitcode(status))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts a task in a new process; gives its number and what it says until it has ended."""
    cache = tmp_path_factory.mktemp("compiled")
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        # The flags that this process compiles with, and one device, which starts faster.
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1",
    }
    server = subprocess.Popen(
        [sys.executable, __file__],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def start(task, folder, *arguments):
        server.stdin.write(json.dumps([task, str(folder), *arguments]) + "\n")
        server.stdin.flush()
        word, number = json.loads(server.stdout.readline())
        assert word == "process"

        def said():
            while True:
                words = json.loads(server.stdout.readline())
                yield words
                if words[0] == "ended":
                    return

        return number, said()

    with server:
        yield start
        server.stdin.close()


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and POSIX signals")


@needs_fork
def test_a_new_process_goes_on_to_the_same_bits(tmp_path, start):
    for name, options in CASES.items():
        half = train(HALF, checkpoint_path=tmp_path / name, save_every=2, **options)
        assert int(half.state.epoch) == HALF
    _, said = start("finish", tmp_path)
    whole = {name: fit(2 * HALF, **options) for name, options in CASES.items()}
    stopped = whole["early stopping"]
    assert HALF < int(stopped.state.epoch) < 2 * HALF
    # The rows of epochs that did not run are `fit`'s alone.
    ran = ~np.isnan(stopped.history.loss)
    whole["early stopping"] = stopped._replace(
        history=jax.tree.map(lambda rows: rows[ran], stopped.history)
    )
    wanted = [[name, digest(result)] for name, result in whole.items()]
    assert list(said) == [*wanted, ["ended", 0]]


@needs_fork
def test_a_process_killed_again_and_again_ends_with_the_same_bits(tmp_path, start):
    folder = tmp_path / "run"
    chance = random.Random(0)
    unfinished, reached, told_again = 0, [0], 0
    kills = 26
    for kill in range(kills):
        process, said = start("go on", folder, LONG)
        epochs = []
        if kill % 5 == 4:  # while it starts, reads its checkpoint or trains its first epoch
            time.sleep(chance.uniform(0, 0.6))
        else:
            epochs.extend(next(said) for _ in range(chance.randint(1, 5)))
            time.sleep(chance.uniform(0, 0.04))
        os.kill(process, signal.SIGKILL)
        *more, end = said
        assert end == ["ended", -signal.SIGKILL]
        epochs = [number for _, number in epochs + more]
        saved = saved_epochs(folder)
        if epochs:
            # It goes on right behind the last checkpoint, and loses an epoch that it told of at
            # most, since it tells before it saves.
            assert epochs == [*range(reached[-1] + 1, reached[-1] + 1 + len(epochs))]
            assert saved in (epochs[-1] - 1, epochs[-1])
            told_again += saved < epochs[-1]
        else:
            assert saved in (reached[-1], reached[-1] + 1)
        unfinished += any(entry.name.endswith(".unfinished") for entry in folder.iterdir())
        reached.append(saved)
    assert reached == sorted(reached)
    assert len(set(reached)) > kills / 2  # the kills are spread over the run
    assert reached[-1] < LONG
    assert unfinished > 0  # some fell within a save
    assert told_again > 0
    _, said = start("go on", folder, LONG)
    *epochs, result, end = said
    assert [number for _, number in epochs] == [*range(reached[-1] + 1, LONG + 1)]
    assert result == ["result", digest(fit(LONG, **CASES[DROPPING]))]
    assert end == ["ended", 0]
    versions = ls.checkpoint.versions(folder)
    assert len(versions) == 2
    names = os.listdir(folder)
    assert sorted(filter(str.isdigit, names)) == sorted(map(str, versions))
    assert not any(name.endswith(".unfinished") for name in names)


@needs_fork
def test_a_process_asked_to_end_saves_and_says_how_to_go_on(tmp_path, start):
    folder, last = tmp_path / "run", 0
    for number in (signal.SIGTERM, signal.SIGINT):
        process, said = start("go on", folder, SHORT)
        for _ in range(3):
            next(said)
        os.kill(process, number)
        *epochs, (error, message), end = said
        assert (error, end) == ("Interrupted", ["ended", 1])
        last = saved_epochs(folder)
        assert message == (
            f"{number.name} after epoch {last} of {SHORT}: all is saved in {folder}: run the same "
            "again to go on"
        )
        assert epochs == [] or epochs[-1] == ["epoch", last]
    _, said = start("go on", folder, SHORT)
    *epochs, result, end = said
    assert epochs[0] == ["epoch", last + 1]
    assert result == ["result", digest(fit(SHORT, **CASES[DROPPING]))]


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@contextlib.contextmanager
def handlers_stay():
    before = handlers()
    yield
    assert handlers() == before


def raising(number, *, at, times=1):
    """A callback that gets the process a signal at an epoch."""

    def send(progress):
        if progress.epochs_done == at:
            for _ in range(times):
                signal.raise_signal(number)

    return send


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_saved_and_goes_on(tmp_path, number):
    with (
        handlers_stay(),
        pytest.raises(
            ls.Interrupted,
            match=rf"^{number.name} after epoch 4 of 10: all is saved in .*run: run the same again to go on$",
        ) as caught,
    ):
        train(10, every=2, callbacks=[raising(number, at=4)], checkpoint_path=tmp_path / "run")
    assert caught.value.signal == number
    assert isinstance(caught.value, KeyboardInterrupt)  # which `except Exception` lets pass
    assert bits(caught.value.result) == bits(fit(4))
    state = ls.checkpoint.restore(tmp_path / "run", caught.value.result.state)
    assert bits(state) == bits(caught.value.result.state)
    assert saved_epochs(tmp_path / "run") == 4
    assert bits(train(10, checkpoint_path=tmp_path / "run")) == bits(fit(10))


def test_without_a_path_an_interrupted_run_is_in_the_exception():
    with (
        handlers_stay(),
        pytest.raises(
            ls.Interrupted,
            match=r"^SIGTERM after epoch 2 of 6: nothing is saved without a checkpoint_path, but this exception has the `result`$",
        ) as caught,
    ):
        train(6, callbacks=[raising(signal.SIGTERM, at=2)])
    half = caught.value.result
    assert half.history.loss.shape == (2,)
    assert bits(fit(4, params=half.state).state) == bits(fit(6).state)


def test_all_callbacks_hear_of_the_epoch_that_was_interrupted():
    told = []
    with pytest.raises(ls.Interrupted):
        train(6, callbacks=[raising(signal.SIGINT, at=2), lambda p: told.append(p.epochs_done)])
    assert told == [1, 2]


def test_a_signal_in_the_last_epoch_is_not_lost(tmp_path):
    with handlers_stay(), pytest.raises(ls.Interrupted, match="SIGTERM after epoch 3 of 3") as stop:
        train(3, callbacks=[raising(signal.SIGTERM, at=3)], checkpoint_path=tmp_path)
    assert bits(stop.value.result) == bits(fit(3))
    assert bits(train(3, checkpoint_path=tmp_path)) == bits(fit(3))


def test_a_second_signal_ends_at_once(tmp_path):
    told = []
    callbacks = [
        raising(signal.SIGINT, at=3, times=2),
        lambda progress: told.append(progress.epochs_done),
    ]
    with handlers_stay(), pytest.raises(KeyboardInterrupt) as caught:
        train(6, callbacks=callbacks, checkpoint_path=tmp_path, save_every=1)
    assert type(caught.value) is KeyboardInterrupt
    assert str(caught.value) == (
        f"SIGINT a second time: what was learned up to epoch 2 is in {tmp_path}, and nothing after "
        "it: run the same again to go on from there"
    )
    assert told == [1, 2]
    assert saved_epochs(tmp_path) == 2
    assert bits(train(6, checkpoint_path=tmp_path)) == bits(fit(6))


@pytest.mark.parametrize("kept", ["without a checkpoint_path", "yet"])
def test_a_second_signal_says_that_nothing_is_saved(tmp_path, kept):
    path = tmp_path if kept == "yet" else None
    with pytest.raises(KeyboardInterrupt, match=f"^SIGTERM a second time: nothing is saved {kept}"):
        train(6, callbacks=[raising(signal.SIGTERM, at=3, times=2)], checkpoint_path=path)


def test_handlers_are_those_before_after_any_end():
    seen = []
    before = handlers()

    def fail(progress):
        seen.extend(handlers())
        raise RuntimeError(f"after {progress.epochs_done}")

    with handlers_stay(), pytest.raises(RuntimeError, match=r"^after 2$"):
        train(6, every=2, callbacks=[fail])
    assert all(now not in before for now in seen)
    with handlers_stay():
        train(1)
    with handlers_stay(), pytest.raises(ValueError, match=r"^inputs: expected"):
        train(1, inputs=INPUTS[:, :2])


def test_another_thread_trains_and_leaves_signals_alone():
    before, during, results = handlers(), [], []

    def work():
        results.append(train(4, callbacks=[lambda _: during.append(handlers())]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert during == [before] * 4
    assert bits(results) == bits([fit(4)])


# What is saved, and when.


@pytest.mark.parametrize(
    ("every", "save_every", "epochs", "wanted"),
    [
        (1, 1, 3, [1, 2, 3]),
        (1, 10, 7, [7]),
        (1, 3, 7, [3, 6, 7]),
        (1, 3, 6, [3, 6]),
        (3, 4, 10, [6, 10]),
        (2, 3, 8, [4, 8]),
        (4, 2, 6, [4, 6]),
        (1, 3, 0, []),
    ],
)
def test_checkpoints_come_every_so_many_epochs_and_at_the_end(
    tmp_path, every, save_every, epochs, wanted
):
    saved = []

    def look(_=None):
        versions = ls.checkpoint.versions(tmp_path)
        if len(saved) < max(versions, default=0):
            saved.append(saved_epochs(tmp_path))

    result = train(
        epochs, every=every, save_every=save_every, callbacks=[look], checkpoint_path=tmp_path
    )
    look()
    assert saved == wanted
    assert ls.checkpoint.versions(tmp_path) == [*range(1, len(wanted) + 1)][-2:]
    if wanted:
        state = ls.checkpoint.restore(tmp_path, result.state)
        assert bits(state) == bits(result.state) == bits(fit(epochs).state)


def forbidden(_):
    raise AssertionError("called")


@pytest.mark.parametrize(
    "options", [CASES["adam and average"], EARLY], ids=["ended", "stopped early"]
)
def test_a_run_that_is_complete_trains_no_more(tmp_path, options):
    first = train(14, every=7, checkpoint_path=tmp_path, **options)
    before = contents(tmp_path)
    again = train(14, every=7, checkpoint_path=tmp_path, callbacks=[forbidden], **options)
    assert bits(again) == bits(first)
    assert contents(tmp_path) == before
    fewer = train(2, checkpoint_path=tmp_path, callbacks=[forbidden], **options)
    assert bits(fewer) == bits(first)
    assert contents(tmp_path) == before


def test_more_epochs_go_on_from_the_end(tmp_path):
    told = []
    train(3, checkpoint_path=tmp_path)
    more = train(
        8, every=4, checkpoint_path=tmp_path, callbacks=[lambda p: told.append(p.epochs_done)]
    )
    assert told == [7, 8]
    assert bits(more) == bits(fit(8))


def test_a_checkpoint_within_a_chunk_moves_the_chunks_alone(tmp_path):
    train(2, every=2, checkpoint_path=tmp_path)
    assert bits(train(8, every=3, checkpoint_path=tmp_path)) == bits(fit(8))


def test_epochs_are_those_after_the_state_to_continue_from(tmp_path):
    third = fit(3)
    told = []
    options = {"params": third.state, "checkpoint_path": tmp_path}
    train(2, **options)
    result = train(5, callbacks=[lambda p: told.append(p.epochs_done)], **options)
    assert told == [3, 4, 5]
    assert int(result.state.epoch) == 8
    assert result.history.loss.shape == (5,)
    assert bits(result.state) == bits(fit(8).state)


def test_no_epoch_after_the_first_compiles(tmp_path, compilations):
    seen = []
    train(
        6,
        params=deeper(),  # which no other test has trained so long
        callbacks=[lambda _: seen.append(len(compilations))],
        checkpoint_path=tmp_path,
        save_every=1,
    )
    assert seen[2:] == seen[1:2] * 4  # the first epoch is saved after its callback


@pytest.mark.parametrize("every", [1, 2, 5, 9])
def test_chunks_give_the_run_of_fit_bit_for_bit(every):
    assert bits(train(5, every=every)) == bits(fit(5))


def test_a_relative_path_and_a_string_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(2, checkpoint_path="deep/run")
    assert ls.checkpoint.versions(tmp_path / "deep" / "run") == [1]


# What is refused loses nothing.

ANOTHER = r"^{}: expected that of the run that .* has a checkpoint of, got another"


def deeper():
    return ls.init_params(jax.random.key(0), (3, 4, 4, 1))


def wider():
    return ls.init_params(jax.random.key(0), (3, 5, 1))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda: {"params": wider()}, ValueError, ANOTHER.format("params")),
        (lambda: {"params": jax.tree.map(jnp.negative, PARAMS)}, ValueError, ANOTHER.format("params")),
        (lambda: {"optimizer": optax.adam(0.1)}, ValueError, ANOTHER.format("optimizer")),
        (lambda: {"optimizer": optax.sgd(0.2, momentum=0.9)}, ValueError, ANOTHER.format("optimizer")),
        (lambda: {"ema_decay": 0.9}, ValueError, ANOTHER.format("ema_decay")),
        (lambda: {"validation": VALIDATION}, ValueError, ANOTHER.format("validation inputs, validation targets, validation weights")),
        (lambda: {"inputs": INPUTS + 1}, ValueError, ANOTHER.format("inputs")),
        (lambda: {"sample_weight": np.arange(len(INPUTS))}, ValueError, ANOTHER.format("sample_weight")),
        (lambda: {"loss": ls.losses.softmax_cross_entropy}, ValueError, ANOTHER.format("loss")),
        (lambda: {"reduction": "mean"}, ValueError, ANOTHER.format("reduction")),
        (lambda: {"coordinates": "centred"}, ValueError, ANOTHER.format("coordinates")),
        (lambda: {"seed": 1}, ValueError, ANOTHER.format("key")),
        (lambda: {"every": 0}, ValueError, r"^every: expected at least 1, got 0$"),
        (lambda: {"save_every": 0}, ValueError, r"^save_every: expected at least 1, got 0$"),
        (lambda: {"epochs": -1}, ValueError, r"^epochs: expected at least 0, got -1$"),
        (lambda: {"wrong": 1}, TypeError, "wrong"),
        (lambda: {"inputs": INPUTS[:, :2]}, ValueError, r"^inputs: expected shape"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_lost(tmp_path, change, error, message):
    train(2, checkpoint_path=tmp_path)
    train(3, checkpoint_path=tmp_path)
    before = contents(tmp_path)
    assert ls.checkpoint.versions(tmp_path) == [1, 2]
    with pytest.raises(error, match=message):
        train(**{"epochs": 6, "checkpoint_path": tmp_path} | change())
    assert contents(tmp_path) == before
    assert bits(train(6, checkpoint_path=tmp_path)) == bits(fit(6))


def test_no_key_is_refused_as_such(tmp_path):
    for options in ({}, {"checkpoint_path": tmp_path}):
        with pytest.raises(TypeError, match=r"^key: expected a JAX random key, .*got 0$"):
            ls.fit_with_callbacks(
                0, PARAMS, INPUTS, TARGETS, optimizer=MOMENTUM, epochs=1, **options
            )


def test_a_damaged_checkpoint_is_passed_over_and_nothing_lost(tmp_path):
    train(2, checkpoint_path=tmp_path)
    train(3, checkpoint_path=tmp_path)
    files = [file for file in (tmp_path / "2" / "state").rglob("*") if file.is_file()]
    file = max(files, key=lambda file: file.stat().st_size)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.warns(RuntimeWarning, match="2: the version cannot be read: .*; version 1, .*used"):
        result = train(6, checkpoint_path=tmp_path)
    assert bits(result) == bits(fit(6))


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(NotADirectoryError, match="file"):
        train(1, checkpoint_path=path)
    assert path.read_text() == "mine"


def test_a_missing_orbax_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with handlers_stay(), pytest.raises(ModuleNotFoundError, match=r"logistack\[checkpoint\]"):
        train(1, checkpoint_path=tmp_path / "run")
    assert train(1).history.loss.shape == (1,)  # which needs none


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_what_was_learned_is_saved_before_a_callback_s_error_is_raised(tmp_path, error):
    def fail(progress):
        if progress.epochs_done == 3:
            raise error("mine")

    with handlers_stay(), pytest.raises(error, match=r"^mine") as caught:
        train(6, callbacks=[fail], checkpoint_path=tmp_path)
    assert caught.value.__notes__ == [f"What was learned up to epoch 3 is in {tmp_path}"]
    assert saved_epochs(tmp_path) == 3
    assert bits(train(6, checkpoint_path=tmp_path)) == bits(fit(6))


def test_what_was_learned_is_saved_before_an_error_within_an_epoch_is_raised(tmp_path):
    def fail():
        if ls.checkpoint.versions(tmp_path):
            raise RuntimeError("mine")

    def augment(_, sample):
        jax.debug.callback(fail)
        return sample

    train(2, checkpoint_path=tmp_path, augment=augment)
    with pytest.raises(Exception, match="mine"):
        train(6, checkpoint_path=tmp_path, augment=augment)
    assert saved_epochs(tmp_path) == 2


# Runs that end by themselves.


def test_a_callback_may_stop_the_run(tmp_path):
    told = []

    def stop(progress):
        if progress.epochs_done == 3:
            raise ls.callbacks.StopTraining

    result = train(6, callbacks=[stop, told.append], checkpoint_path=tmp_path)
    assert bits(result) == bits(fit(3))
    assert len(told) == 2
    assert saved_epochs(tmp_path) == 3


# Three steps an epoch: the second of the third epoch leaves infinite parameters.
EXPLODING = optax.sgd(lambda count: jnp.where(count >= 7, jnp.inf, 0.1))


@pytest.mark.parametrize("every", [1, 2, 5])
def test_a_run_that_diverges_ends_with_what_was_finite(tmp_path, every):
    told = []
    with pytest.warns(RuntimeWarning, match="stopped being finite in epoch 3 "):
        result = train(
            9,
            optimizer=EXPLODING,
            every=every,
            callbacks=[told.append],
            checkpoint_path=tmp_path,
        )
    assert int(result.state.epoch) == 2
    assert bits(result.state) == bits(fit(2, optimizer=EXPLODING).state)
    assert np.isfinite(result.history.loss).tolist() == [True, True, False]
    assert [progress.epochs_done for progress in told][-1] == 2
    assert bits(ls.checkpoint.restore(tmp_path, result.state)) == bits(result.state)
    rows = [row["epoch"] for progress in told for row in ls.callbacks.rows_of(progress)]
    assert rows == [1, 2, 3]


@pytest.mark.parametrize("save_every", [1, 10])
def test_a_run_that_diverged_does_so_again(tmp_path, save_every):
    options = {"optimizer": EXPLODING, "checkpoint_path": tmp_path, "save_every": save_every}
    with pytest.warns(RuntimeWarning, match="epoch 3"):
        first = train(9, **options)
    with pytest.warns(RuntimeWarning, match="epoch 3"):
        again = train(9, **options)
    assert bits(again) == bits(first)


@pytest.mark.parametrize("every", [1, 3, 30])
def test_patience_ends_the_run_within_a_chunk(every):
    told = []
    stopped = train(30, every=every, callbacks=[told.append], **EARLY)
    whole = fit(30, **EARLY)
    ran = int(whole.state.epoch)
    assert 3 < ran < 30
    assert ran % 3
    assert int(stopped.epoch) == ran - 3
    assert bits(stopped[:2]) == bits(whole[:2])
    assert bits(stopped.history) == bits(jax.tree.map(lambda rows: rows[:ran], whole.history))
    assert told[-1].epochs_done == ran
    rows = [row["epoch"] for progress in told for row in ls.callbacks.rows_of(progress)]
    assert rows == [*range(1, ran + 1)]


if __name__ == "__main__":
    serve()
