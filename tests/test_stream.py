"""Training on batches as they come: the steps are `fit`'s, and no batch is lost or seen twice.

Run as a script, this file trains on more than memory holds, and says how much it took.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import logistack as ls
from logistack.losses import sigmoid_cross_entropy, softmax_cross_entropy
from logistack.training import epoch_order, stream

pytest.importorskip("orbax.checkpoint")

SEED = 3
SAMPLES, SIZE, STEPS = 12, 4, 3
normal = np.random.default_rng(0).standard_normal
INPUTS = normal((SAMPLES, 3), np.float32)
LABELS = np.arange(SAMPLES) % 2
TARGETS = np.eye(2, dtype=np.float32)[LABELS]
WEIGHTS = np.random.default_rng(1).uniform(0.1, 2, SAMPLES).astype(np.float32)
PARAMS = (
    ls.Layer(normal((4, 3), np.float32), normal(4, np.float32)),
    ls.Layer(normal((2, 4), np.float32), normal(2, np.float32)),
)
VALIDATION = (normal((6, 3), np.float32), TARGETS[:6])
MOMENTUM = optax.sgd(0.1, momentum=0.9)
BATCHES = [
    (INPUTS[start : start + SIZE], LABELS[start : start + SIZE])
    for start in range(0, SAMPLES, SIZE)
]


def train(batches, epochs, *, steps_per_epoch=STEPS, optimizer=MOMENTUM, params=PARAMS, **options):
    return ls.fit_stream(
        jax.random.key(SEED),
        params,
        batches,
        optimizer=optimizer,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        **{"loss": softmax_cross_entropy} | options,
    )


def train_on_all(epochs, inputs=INPUTS, targets=LABELS, **options):
    """What `fit` makes of the same samples."""
    key = jax.random.key(SEED)
    options = {"optimizer": MOMENTUM, "loss": softmax_cross_entropy, "batch_size": SIZE} | options
    return ls.fit(key, PARAMS, inputs, targets, epochs=epochs, **options)


def in_order(*arrays, samples, size=SIZE):
    """The batches of `fit`, epoch after epoch, without end."""
    for epoch in itertools.count():
        order = np.asarray(epoch_order(jax.random.key(SEED), epoch, samples))
        for start in range(0, samples, size):
            yield tuple(array[order[start : start + size]] for array in arrays)


def bits(tree):
    """Structure, and dtype, shape and bytes of every leaf."""
    leaves, structure = jax.tree.flatten(tree)
    arrays = map(np.asarray, leaves)
    return structure, [(array.dtype, array.shape, array.tobytes()) for array in arrays]


def assert_close(result, wanted, **tolerance):
    assert jax.tree.structure(result) == jax.tree.structure(wanted)
    for value, other in zip(jax.tree.leaves(result), jax.tree.leaves(wanted), strict=True):
        assert value.dtype == other.dtype
        np.testing.assert_allclose(value, other, **{"rtol": 2e-5, "atol": 2e-6} | tolerance)


# The steps are `fit`'s.


@pytest.mark.parametrize("samples", [12, 10], ids=["whole", "smaller last batch"])
@pytest.mark.parametrize(
    ("targets", "options"),
    [
        (TARGETS, {"loss": sigmoid_cross_entropy}),
        (LABELS, {"optimizer": optax.adam(0.05), "reduction": "mean"}),
        (
            TARGETS,
            {
                "optimizer": optax.sgd,
                "hyperparams": {"learning_rate": 0.2, "momentum": 0.5},
                "dropout": (0.2, 0.4),
                "label_smoothing": 0.1,
                "class_weight": np.array([1.0, 3.0]),
                "ema_decay": 0.8,
                "validation": (*VALIDATION, WEIGHTS[:6]),
                "min_delta": 0.01,
                "patience": 9,
            },
        ),
    ],
    ids=["plain", "adam, softmax of classes, mean", "all options"],
)  # fmt: skip
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
def test_the_batches_of_fit_give_the_result_of_fit(samples, targets, options, weights):
    inputs, targets = INPUTS[:samples], targets[:samples]
    weights = None if weights is None else weights[:samples]
    wanted = train_on_all(4, inputs, targets, sample_weight=weights, **options)
    arrays = (inputs, targets) if weights is None else (inputs, targets, weights)
    assert_close(train(in_order(*arrays, samples=samples), 4, **options), wanted)


def test_inputs_stay_bytes_until_they_are_on_the_device(monkeypatch):
    pixels = np.random.default_rng(2).integers(0, 256, (SAMPLES, 3), np.uint8)
    options = {"optimizer": optax.sgd(1e-4), "reduction": "mean"}
    wanted = train_on_all(3, pixels, batch_size=5, **options)
    put, real = [], jax.device_put
    monkeypatch.setattr(jax, "device_put", lambda batch: put.append(batch) or real(batch))
    result = train(in_order(pixels, LABELS, samples=SAMPLES, size=5), 3, **options)
    assert_close(result, wanted)
    assert {batch.inputs.dtype.name for batch in put} == {"uint8"}
    assert {batch.inputs.shape for batch in put} == {(5, 3)}


def test_mixed_precision_is_that_of_fit():
    options = {"compute_dtype": jnp.bfloat16}
    batches = in_order(INPUTS, LABELS, samples=SAMPLES)
    result = train(batches, 2, **options)
    assert_close(result, train_on_all(2, **options), rtol=1e-3, atol=1e-4)
    plain = train(in_order(INPUTS, LABELS, samples=SAMPLES), 2)
    assert np.any(np.asarray(plain.params[0].weight) != result.params[0].weight)


def test_patience_ends_the_stream_after_the_epoch_of_fit():
    options = {"optimizer": optax.sgd(0.3), "validation": VALIDATION, "patience": 3}
    wanted = train_on_all(60, **options)
    ran = int(wanted.state.epoch)
    assert 3 < ran < 60
    pulled = itertools.count()
    batches = (batch for batch, _ in zip(in_order(INPUTS, LABELS, samples=12), pulled, strict=False))  # fmt: skip
    told = []
    result = train(batches, 60, callbacks=[lambda p: told.append(p.epochs_done)], **options)
    assert_close(result[:2], wanted[:2])
    assert_close(result.history, jax.tree.map(lambda rows: rows[:ran], wanted.history))
    assert told == [*range(1, ran + 1)]
    assert next(pulled) == ran * STEPS


def test_divergence_ends_the_stream_with_what_was_finite():
    # Three steps an epoch: the second of the third epoch leaves infinite parameters.
    optimizer = optax.sgd(lambda count: jnp.where(count >= 7, jnp.inf, 0.1))
    with pytest.warns(RuntimeWarning, match="stopped being finite in epoch 3 "):
        result = train(itertools.cycle(BATCHES), 9, optimizer=optimizer)
    wanted = train(itertools.cycle(BATCHES), 2, optimizer=optimizer)
    assert bits(result.state) == bits(wanted.state)
    assert np.isfinite(result.history.loss).tolist() == [True, True, False]


def test_what_it_starts_from_is_left_alone():
    start = ls.init_state(jax.tree.map(jnp.asarray, PARAMS), MOMENTUM)
    options = {"steps_per_epoch": None}
    first = train(BATCHES, 2, params=start, **options)
    again = train(BATCHES, 2, params=start, **options)
    assert bits(first) == bits(again)
    rest = train(BATCHES, 2, params=first.state, **options)
    assert bits(rest.state) == bits(train(BATCHES, 4, params=start, **options).state)


@pytest.mark.parametrize("wrap", [np.asarray, jnp.asarray, np.ndarray.tolist])
def test_arrays_of_any_kind_are_batches(wrap):
    batches = [(wrap(inputs), wrap(labels)) for inputs, labels in BATCHES]
    assert bits(train(batches, 1)) == bits(train(BATCHES, 1))


def test_the_rate_counts_samples_and_not_their_padding(monkeypatch):
    clock = [0.0]  # which goes on by a second a batch
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    told = []

    def batches():
        for batch in itertools.cycle([*BATCHES, (INPUTS[:1], LABELS[:1])]):
            clock[0] += 1
            yield batch

    train(batches(), 2, steps_per_epoch=4, callbacks=[told.append])
    assert [progress.samples_per_second for progress in told] == [13 / 4, 13 / 4]
    assert [progress.epochs_done for progress in told] == [1, 2]
    assert [progress.result.history.loss.shape for progress in told] == [(1,), (1,)]


def test_no_epochs_take_no_batch():
    def batches():
        raise AssertionError("pulled")
        yield

    result = train(batches(), 0)
    assert bits(result.params) == bits(PARAMS)
    assert result.history.loss.shape == (0,)


# What an epoch is.


@pytest.mark.parametrize("batches", [BATCHES, tuple(BATCHES)], ids=["list", "tuple"])
def test_without_a_number_of_steps_an_epoch_is_an_iteration(batches):
    wanted = train(itertools.cycle(BATCHES), 3)
    assert bits(train(batches, 3, steps_per_epoch=None)) == bits(wanted)


def test_epochs_may_have_different_numbers_of_batches():
    class Growing:
        def __init__(self):
            self.lengths = iter([1, 3])

        def __iter__(self):
            return iter(BATCHES[: next(self.lengths)])

    growing = Growing()
    growing.lengths = iter([99, 1, 3])  # the first is what `iter` is tried with
    result = train(growing, 2, steps_per_epoch=None)
    first = train(BATCHES, 1, steps_per_epoch=1)
    wanted = train(BATCHES, 1, params=first.state)
    assert bits(result.state) == bits(wanted.state)


def test_a_generator_is_one_epoch():
    wanted = train(BATCHES, 1, steps_per_epoch=None)
    assert bits(train(iter(BATCHES), 1, steps_per_epoch=None)) == bits(wanted)
    with pytest.raises(ls.StreamError, match=r"^batches: expected at least one, got 0 in this epoch and 3 in all") as caught:  # fmt: skip
        train(iter(BATCHES), 2, steps_per_epoch=None)
    assert bits(caught.value.result) == bits(wanted)


def test_a_list_is_not_gone_through_twice_where_steps_are_counted():
    with pytest.raises(ls.StreamError, match=r"^batches: expected at least 2 in each epoch, got 1 in this epoch and 3 in all"):  # fmt: skip
        train(BATCHES, 2, steps_per_epoch=2)


# A run that is resumed goes on at the batch where it stopped.


class Pairs:
    """A source of samples for Grain, which knows it by its name."""

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        return INPUTS[index], LABELS[index]

    def __repr__(self):
        return "Pairs()"


def loader():
    grain = pytest.importorskip("grain")
    sampler = grain.samplers.IndexSampler(
        SAMPLES, shard_options=grain.sharding.NoSharding(), shuffle=True, num_epochs=None, seed=1
    )
    return grain.DataLoader(
        data_source=Pairs(),
        sampler=sampler,
        operations=[grain.transforms.Batch(SIZE)],
        read_options=grain.ReadOptions(num_threads=1, prefetch_buffer_size=4),
    )


def dataset():
    grain = pytest.importorskip("grain")
    samples = grain.MapDataset.source(Pairs()).seed(5).shuffle().repeat()
    ahead = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
    return samples.batch(SIZE).to_iter_dataset(ahead)


class Own:
    """An iterator that tells its place, and how many batches it gave."""

    def __init__(self, binary=False):
        self.place, self.given, self.binary = 0, 0, binary

    def __iter__(self):
        return self

    def __next__(self):
        generator = np.random.default_rng(self.place)
        self.place, self.given = self.place + 1, self.given + 1
        chosen = generator.integers(0, SAMPLES, SIZE)
        return INPUTS[chosen], LABELS[chosen]

    def get_state(self):
        return bytes([self.place, 255]) if self.binary else {"place": self.place}

    def set_state(self, state):
        self.place = state[0] if self.binary else state["place"]


def generator():
    for place in itertools.count():
        chosen = np.random.default_rng(place).integers(0, SAMPLES, SIZE)
        yield INPUTS[chosen], LABELS[chosen]


@pytest.mark.parametrize("make", [loader, dataset, generator, Own, lambda: Own(binary=True)])
@pytest.mark.parametrize("steps", [3, 2])
def test_a_resumed_run_sees_the_batches_that_it_had_not_seen(tmp_path, make, steps):
    options = {"steps_per_epoch": steps, "dropout": 0.2, "checkpoint_path": tmp_path / "run"}
    whole = train(make(), 6, **options | {"checkpoint_path": None})
    for epochs in (1, 3, 6):
        batches = make()
        result = train(batches, epochs, **options)
        assert int(result.state.epoch) == epochs
    assert bits(result) == bits(whole)
    if isinstance(batches, Own):
        assert batches.given == 3 * steps
    again = make()
    assert bits(train(again, 6, **options)) == bits(whole)
    if isinstance(again, Own):
        assert again.given == 0


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_run_may_be_resumed_where_a_smaller_batch_comes(tmp_path, epochs):
    def batches():
        while True:
            yield from BATCHES[:2]
            yield INPUTS[8:10], LABELS[8:10]

    whole = train(batches(), 4, steps_per_epoch=2)
    options = {"steps_per_epoch": 2, "checkpoint_path": tmp_path}
    train(batches(), epochs, **options)
    assert bits(train(batches(), 4, **options)) == bits(whole)


def test_a_list_starts_anew_in_the_epoch_after_the_checkpoint(tmp_path):
    options = {"steps_per_epoch": None, "checkpoint_path": tmp_path}
    train(BATCHES, 2, **options)
    assert bits(train(BATCHES, 5, **options)) == bits(train(BATCHES, 5, steps_per_epoch=None))


def test_an_interrupted_stream_goes_on(tmp_path):
    def stop(progress):
        if progress.epochs_done == 2:
            signal.raise_signal(signal.SIGTERM)

    whole = train(Own(), 5)
    with pytest.raises(ls.Interrupted, match=r"^SIGTERM after epoch 2 of 5"):
        train(Own(), 5, callbacks=[stop], checkpoint_path=tmp_path, save_every=10)
    assert bits(train(Own(), 5, checkpoint_path=tmp_path)) == bits(whole)


def test_another_thread_may_train():
    results = []
    thread = threading.Thread(target=lambda: results.append(train(BATCHES, 1)))
    thread.start()
    thread.join(60)
    assert bits(results) == bits([train(BATCHES, 1)])


def test_an_iterator_that_cannot_be_set_is_refused(tmp_path):
    train(Own(), 2, checkpoint_path=tmp_path)
    with pytest.raises(TypeError, match=r"^batches: expected an iterator with set_state, as that of the run to continue, got generator$"):  # fmt: skip
        train(generator(), 4, checkpoint_path=tmp_path)
    assert ls.checkpoint.versions(tmp_path) == [1, 2]


def test_a_checkpoint_without_a_place_in_a_stream_is_refused(tmp_path):
    arrays = (INPUTS, LABELS)
    options = {"loss": softmax_cross_entropy, "optimizer": MOMENTUM, "checkpoint_path": tmp_path}
    ls.fit_with_callbacks(jax.random.key(SEED), PARAMS, *arrays, epochs=2, **options)
    with pytest.raises(ValueError, match=r"checkpoint.*stream|stream.*checkpoint"):
        train(BATCHES, 4, checkpoint_path=tmp_path)


# Streams that go wrong.


def end():
    return
    yield


def fail():
    raise OSError("the disk is gone")
    yield


def giving(*batch):
    return lambda: iter([batch])


X, Y = BATCHES[0]
FAULTS = {
    "ends": (end, r"expected at least 3 in each epoch, got {in_epoch} in this epoch and {before} in all before the stream ended"),
    "cannot be read": (fail, r"(?s)OSError.*the disk is gone"),
    "width": (giving(X[:, :2], Y), r"^batch {number}, inputs: expected shape \(samples, 3\), got \(4, 2\)"),
    "lengths": (giving(X, Y[:3]), r"^batch {number}, targets: expected shape \(4, 2\), or integer classes of shape \(4,\), got \(3,\)"),
    "not a number": (giving(X * np.nan, Y), r"^batch {number}, inputs: expected finite values, got 12 NaN"),
    "weights": (giving(X, Y, -WEIGHTS[:4]), r"^batch {number}, weights: expected weights of at least 0"),
    "not a tuple": (lambda: iter([X]), r"^TypeError: batch {number}: expected \(inputs, targets\) or \(inputs, targets, weights\), got ndarray"),
    "one part": (giving(X), r"^TypeError: batch {number}: expected .*"),
}  # fmt: skip
# These are faults beside other batches alone.
MISFITS = {
    "dtype": (giving(X.astype(np.int32), Y), r"^batch {number}, inputs: expected float32 of shape \(4, 3\), as in the first, got int32 of shape \(4, 3\)"),
    "rows": (giving(X, TARGETS[:4]), r"^batch {number}, targets: expected int\d+ of shape \(4,\), as in the first, got float32 of shape \(4, 2\)"),
    "larger": (giving(INPUTS[:5], LABELS[:5]), r"^batch {number}: expected at most 4 samples, as in the first, got 5"),
}  # fmt: skip


@pytest.mark.parametrize("before", [0, 3, 4], ids=["at first", "between epochs", "within an epoch"])
@pytest.mark.parametrize("fault", [*FAULTS, *MISFITS])
def test_a_stream_that_goes_wrong_keeps_what_it_taught(tmp_path, before, fault):
    if fault in MISFITS and not before:
        pytest.skip("fits as the first")
    wrong, message = (FAULTS | MISFITS)[fault]
    message = message.format(number=before + 1, in_epoch=before % STEPS, before=before)
    good = list(itertools.islice(itertools.cycle(BATCHES), 20))
    stream = itertools.chain(good[:before], wrong())
    # Two runs by hand: the whole epochs, and one of the batches of the last.
    wanted = train(good, before // STEPS)
    if before % STEPS:
        rest = train(good[STEPS:], 1, steps_per_epoch=before % STEPS, params=wanted.state)
        rows = jax.tree.map(lambda *rows: jnp.concatenate(rows), wanted.history, rest.history)
        wanted = rest._replace(history=rows)

    with pytest.raises(ls.StreamError, match=message) as caught:
        train(stream, 4, checkpoint_path=tmp_path, save_every=10)
    assert bits(caught.value.result) == bits(wanted)
    assert int(caught.value.result.state.epoch) == -(-before // STEPS)
    # What is saved is of whole epochs, and that in which it went wrong begins anew.
    whole = before // STEPS
    if not whole:
        assert ls.checkpoint.versions(tmp_path) == []
        return
    assert caught.value.__notes__ == [f"What was learned up to epoch {whole} is in {tmp_path}"]
    kept = train(good, whole)
    assert bits(ls.checkpoint.restore(tmp_path, kept.state)) == bits(kept.state)
    again = train(iter(good), 4, checkpoint_path=tmp_path)
    assert bits(again) == bits(train(good, 4))


def test_a_batch_that_cannot_be_read_is_named():
    with pytest.raises(ls.StreamError, match=r"batch 5\b.*OSError|OSError.*batch 5\b") as caught:
        train(itertools.chain(BATCHES, BATCHES[:1], fail()), 4)
    assert isinstance(caught.value.__cause__, OSError)


def test_ctrl_c_within_a_batch_is_no_fault_of_the_stream_and_what_was_learned_is_saved(tmp_path):
    def batches():
        yield from BATCHES * 2
        yield BATCHES[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        train(batches(), 4, checkpoint_path=tmp_path, save_every=10)
    assert type(caught.value) is KeyboardInterrupt
    assert bits(train(iter(BATCHES * 4), 4, checkpoint_path=tmp_path)) == bits(
        train(BATCHES * 4, 4)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps_per_epoch": 2}, "^steps_per_epoch: expected that of the run that"),
        ({"batches": iter([(X[:2], Y[:2])] * 20)}, "^batches: expected the first as in the run"),
    ],
)
def test_another_stream_is_refused_where_it_can_be_told(tmp_path, change, message):
    train(iter(BATCHES * 2), 2, checkpoint_path=tmp_path)
    with pytest.raises(ValueError, match=message):
        train(**{"batches": iter(BATCHES * 4), "epochs": 2, "checkpoint_path": tmp_path} | change)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"batches": 3}, TypeError, "^batches: expected an iterable, got int$"),
        ({"steps_per_epoch": 0}, ValueError, "^steps_per_epoch: expected at least 1, got 0$"),
        ({"epochs": -1}, ValueError, "^epochs: expected at least 0, got -1$"),
        ({"save_every": 0}, ValueError, "^save_every: expected at least 1, got 0$"),
        ({"class_weight": "balanced"}, ValueError, "^class_weight: expected an array where samples come batch by batch, got 'balanced'$"),
        ({"validation": WEIGHTS}, TypeError, r"^validation: expected \(inputs, targets\), got ndarray$"),
        ({"patience": 3}, ValueError, "^patience: expected validation samples"),
        ({"dropout": 1.0}, ValueError, "^dropout"),
        ({"batch_size": 3}, TypeError, "batch_size"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_before_a_batch_is_taken(change, error, message):
    pulled = []
    batches = (pulled.append(batch) or batch for batch in BATCHES)
    with pytest.raises(error, match=message):
        train(**{"batches": batches, "epochs": 1} | change)
    assert pulled == []


# What it takes.


def test_nothing_compiles_after_the_first_epoch(compilations):
    options = {"optimizer": optax.sgd(0.07), "validation": VALIDATION}
    batches = [*BATCHES[:2], (INPUTS[:3], LABELS[:3])]
    options["params"] = ls.init_params(jax.random.key(0), (3, 4, 4, 4, 2))  # this test's alone
    seen = []
    train(
        itertools.cycle(batches), 6, callbacks=[lambda _: seen.append(len(compilations))], **options
    )
    assert seen == seen[:1] * 6
    before = len(compilations)
    train(itertools.cycle(batches), 6, **options | {"optimizer": optax.sgd(0.07)})
    assert len(compilations) == before


def test_few_batches_are_ahead_of_the_steps(monkeypatch):
    marks, ahead = [], []
    step, close = stream.compiled_step(None)

    def watch(*arguments, **options):
        state, sums, mark = step(*arguments, **options)
        marks.append(mark)
        return state, sums, mark

    def batches():
        inputs, targets = normal((2000, 400), np.float32), np.zeros((2000, 1), np.float32)
        while True:
            ahead.append(sum(not mark.is_ready() for mark in marks))
            yield inputs, targets

    monkeypatch.setattr(stream, "compiled_step", lambda _: (watch, close))
    params = ls.init_params(jax.random.key(0), (400, 800, 1))
    train(
        batches(),
        1,
        steps_per_epoch=15,
        params=params,
        optimizer=optax.sgd(1e-6),
        loss=sigmoid_cross_entropy,
    )
    assert len(ahead) == 15
    assert 1 <= max(ahead) <= stream.PREFETCHED


@pytest.mark.parametrize("offset", [0, 1], ids=["aligned", "not aligned"])
def test_an_iterator_may_fill_the_same_buffer_again(offset):
    width, samples = 400, 2000
    memory = np.empty(samples * width + 32, np.float32)
    offset += -memory.ctypes.data % 64 // 4  # XLA could use aligned memory as it is
    buffer = memory[offset : offset + samples * width].reshape(samples, width)
    targets = np.zeros((samples, 1), np.float32)

    def batches(buffer=None):
        for batch in range(10):
            array = np.empty((samples, width), np.float32) if buffer is None else buffer
            array[:] = batch + 1
            yield array, targets

    params = ls.init_params(jax.random.key(0), (width, 300, 1))
    options = {
        "params": params,
        "optimizer": optax.sgd(1e-6),
        "steps_per_epoch": 10,
        "loss": sigmoid_cross_entropy,
    }
    assert bits(train(batches(buffer), 1, **options)) == bits(train(batches(), 1, **options))


GIGABYTES = 20


def resident():
    """The bytes of memory that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def train_on_much():
    """Trains on views of one buffer at moving places; says what it saw and took."""
    width, size = 784, 8192
    buffer = np.random.default_rng(0).random((21_000, width), np.float32)
    steps = -(-GIGABYTES * 10**9 // (size * width * 4))
    places = np.random.default_rng(1).integers(0, len(buffer) - size, steps)
    targets = np.zeros((size, 1), np.float32)
    seen, taken = 0, []

    def batches():
        nonlocal seen
        for number, place in enumerate(places):
            inputs = buffer[place : place + size]
            seen += inputs.nbytes
            if number in (steps // 10, steps - 1):
                taken.append(resident())
            yield inputs, targets

    params = (ls.Layer(jnp.zeros((1, width)), jnp.zeros(1)),)
    ls.fit_stream(
        jax.random.key(0), params, batches(), optimizer=optax.sgd(1e-9), epochs=1, steps_per_epoch=steps
    )  # fmt: skip
    print(json.dumps([seen, *taken]))


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_memory_does_not_grow_with_the_stream():
    environment = os.environ | {"XLA_FLAGS": ""}
    run = subprocess.run(
        [sys.executable, __file__], env=environment, check=True, capture_output=True, timeout=300
    )
    seen, early, late = json.loads(run.stdout)
    assert seen >= GIGABYTES * 10**9
    assert late - early < 100e6


if __name__ == "__main__":
    train_on_much()
