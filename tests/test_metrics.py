"""Measures over a set of samples."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from hypothesis import given, strategies
from hypothesis.extra import numpy as arrays
from sklearn import metrics as sklearn

from logistack import metrics

# XLA takes a subnormal number for 0.
FLOATS = strategies.floats(-9, 9, width=32, allow_subnormal=False)
LOGITS = arrays.arrays(np.float32, (6, 3), elements=FLOATS)
CLASSES = arrays.arrays(np.int32, 6, elements=strategies.integers(0, 2))
WEIGHTS = arrays.arrays(np.float32, 6, elements=strategies.floats(0.125, 8, width=32))
MEASURES = (metrics.accuracy, metrics.error_rate, metrics.confusion_matrix)


@given(LOGITS, CLASSES, WEIGHTS)
def test_measures_equal_scikit_learn(logits, classes, weights):
    predicted = logits.argmax(1)
    accuracy = sklearn.accuracy_score(classes, predicted)
    np.testing.assert_allclose(metrics.accuracy(logits, classes), accuracy, rtol=1e-6)
    np.testing.assert_allclose(metrics.error_rate(logits, classes), 1 - accuracy, atol=1e-6)
    np.testing.assert_array_equal(
        metrics.confusion_matrix(logits, classes),
        sklearn.confusion_matrix(classes, predicted, labels=range(3)),
    )
    accuracy = sklearn.accuracy_score(classes, predicted, sample_weight=weights)
    given = metrics.accuracy(logits, classes, weights=weights)
    np.testing.assert_allclose(given, accuracy, rtol=1e-5)
    given = metrics.error_rate(logits, classes, weights=weights)
    np.testing.assert_allclose(given, 1 - accuracy, atol=1e-5)


@given(LOGITS, CLASSES)
def test_rows_are_the_class_of_their_largest_entry(logits, classes):
    soft = np.eye(3, dtype=np.float32)[classes] * np.float32(0.4) + np.float32(0.2)
    for targets in (np.eye(3, dtype=np.float32)[classes], soft):
        for measure in MEASURES:
            np.testing.assert_array_equal(measure(logits, targets), measure(logits, classes))


# Six logits of one output that all lie in 0 … 1 are taken for probabilities.
ONE_OUTPUT = arrays.arrays(np.float32, (6, 1), elements=FLOATS).map(
    lambda z: np.concatenate([z[:5], np.full((1, 1), -1, np.float32)])
)


@given(ONE_OUTPUT, CLASSES)
def test_one_output_means_two_classes_split_at_0(logits, classes):
    classes = np.minimum(classes, 1)
    predicted = logits[:, 0] > 0
    for targets in (classes, classes[:, None].astype(np.float32)):
        accuracy = sklearn.accuracy_score(classes, predicted)
        np.testing.assert_allclose(metrics.accuracy(logits, targets), accuracy, rtol=1e-6)
        np.testing.assert_array_equal(
            metrics.confusion_matrix(logits, targets),
            sklearn.confusion_matrix(classes, predicted, labels=range(2)),
        )


def test_a_row_of_one_number_is_class_1_above_one_half():
    logits = jnp.ones((4, 1))
    targets = jnp.array([[0.0], [0.5], [0.6], [1.0]])
    np.testing.assert_array_equal(metrics.confusion_matrix(logits, targets), [[0, 2], [0, 2]])


@pytest.mark.parametrize(
    "row",
    [
        [0, 1e-8],
        [0.3, np.nextafter(np.float32(0.3), np.float32(1))],
        [-1, -1 + 1e-7],
        [16_777_216, 16_777_217],
        [0.05, 0.95],
        [False, True],
        [0.9, 0.6, 1.0],
        [0, 1e-40],
        [-0.0, 0.0, -1e-45, 1e-45],
        [-0.0, 0.0],
        [-2.0, -1.0, -1e-45],
    ],
)
def test_the_class_of_a_row_is_that_of_its_largest_entry_however_close(row):
    row = np.array(row)
    row = row.astype(np.float32) if row.dtype == np.float64 else row
    for rows in (row[None], np.concatenate([row, row])[None]):
        assert metrics.target_class(rows) == row.argmax()


def test_the_class_of_a_row_of_float64_is_that_of_float64(x64):
    assert metrics.target_class(np.array([[0.3, 0.3 + 1e-15]])) == 1
    assert metrics.target_class(np.array([[0.5 + 1e-15]])) == 1


PROBABILITIES = np.float32([[0.9], [0.2], [0.4], [0.7]])


@pytest.mark.parametrize("measure", MEASURES)
def test_probabilities_of_one_output_are_noticed(measure):
    with pytest.warns(
        UserWarning, match=r"^logits: all 4 lie between 0\.2 and 0\.9.*ls\.logits"
    ) as seen:
        measure(PROBABILITIES, np.array([1, 0, 0, 1]))
    assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match=r"^logits: .*ls\.logits") as seen:
        metrics.predicted_class(PROBABILITIES)
    assert seen[0].filename == __file__


@pytest.mark.parametrize(
    "logits",
    [
        PROBABILITIES - 1,
        PROBABILITIES * 2,
        PROBABILITIES[1:2],  # one sample tells nothing
        np.zeros((4, 1)),  # where both readings agree, there is nothing to say
        PROBABILITIES * 0.4 + 0.6,
        np.concatenate([PROBABILITIES, 1 - PROBABILITIES], 1),
    ],
)
def test_honest_logits_are_measured_in_silence(logits):
    metrics.accuracy(logits, np.zeros(len(logits), int))  # a warning would be an error here


def test_classes_of_single_samples_and_of_batches_of_batches():
    logits = jnp.array([[[0.1, 2.0, -1.0], [3.0, 0.0, 0.0]]])
    np.testing.assert_array_equal(metrics.predicted_class(logits), [[1, 0]])
    assert metrics.predicted_class(logits[0, 0]) == 1
    np.testing.assert_array_equal(
        metrics.predicted_class(jnp.array([[0.5], [-0.5], [0.0]])), [1, 0, 0]
    )
    assert metrics.predicted_class(logits).dtype == jnp.int32


class Variants(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(*range(3))
    def test_measures_compose(self, index):
        logits = jnp.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 3.0, 1.0]])
        classes = jnp.array([0, 1, 1])
        wanted = (2 / 3, 1 / 3, [[1, 0, 0], [0, 1, 1], [0, 0, 0]])[index]
        given = self.variant(MEASURES[index])(logits, classes)
        np.testing.assert_allclose(given, wanted, rtol=1e-6)
        mapped = self.variant(jax.vmap(MEASURES[index]))(logits[None], classes[None])
        np.testing.assert_array_equal(mapped[0], given)


def test_constants_of_a_trace_are_taken():
    logits, classes, weights = jnp.eye(3), jnp.array([0, 1, 1]), jnp.array([1.0, 2.0, 1.0])
    for measure in MEASURES:
        wanted = measure(logits, classes)
        given = jax.jit(lambda z, measure=measure: measure(z, classes))(logits)
        np.testing.assert_allclose(given, wanted, rtol=1e-6)
        given = jax.jit(lambda c, measure=measure: measure(logits, c))(classes)
        np.testing.assert_allclose(given, wanted, rtol=1e-6)
    given = jax.jit(lambda z: metrics.accuracy(z, classes, weights=weights))(logits)
    np.testing.assert_allclose(given, 0.75)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64, np.uint32])
def test_classes_have_any_integer_dtype(dtype):
    classes = np.array([0, 1, 1])
    for measure in MEASURES:
        given = measure(jnp.eye(3), classes.astype(dtype))
        np.testing.assert_array_equal(given, measure(jnp.eye(3), classes))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float64, np.float16])
def test_rows_have_any_real_dtype(dtype):
    for logits, rows in ((np.eye(3), np.eye(3)[[0, 1, 1]]), (np.eye(3)[:, :1], [[1], [0], [1]])):
        rows = np.asarray(rows)
        for measure in MEASURES:
            given = measure(logits, rows.astype(dtype))
            np.testing.assert_array_equal(given, measure(logits, np.float32(rows)))


def test_weights_have_any_real_dtype():
    for weights in ([1, 0, 3], (True, False, True), np.array([1, 2, 1], np.uint8)):
        given = metrics.accuracy(jnp.eye(3), jnp.array([0, 1, 1]), weights=weights)
        wanted = np.average([1, 1, 0], weights=np.asarray(weights, float))
        np.testing.assert_allclose(given, wanted, rtol=1e-6)


GOOD, LABELS = np.eye(3, dtype=np.float32), np.array([0, 1, 2])
FAULTS = [
    (GOOD[0], LABELS, ValueError, r"^logits: expected shape \(samples, outputs\), got \(3,\)"),
    (GOOD[None], LABELS, ValueError, r"^logits: expected .*got \(1, 3, 3\)"),
    (GOOD[:0], LABELS[:0], ValueError, r"^logits: expected .*got \(0, 3\)"),
    (GOOD[:, :0], LABELS, ValueError, r"^logits: expected .*got \(3, 0\)"),
    (GOOD * np.nan, LABELS, ValueError, r"^logits: expected finite values, got 9 .*of 9"),
    (GOOD.astype(complex), LABELS, TypeError, r"^logits: .*real numbers, got dtype complex128"),
    (None, LABELS, TypeError, r"^logits: .*got dtype object"),
    (GOOD, LABELS[:2], ValueError, r"^targets: expected shape \(3,\) or \(3, 3\), got \(2,\)"),
    (GOOD, GOOD[:, :2], ValueError, r"^targets: expected shape \(3,\) or \(3, 3\), got \(3, 2\)"),
    (GOOD, LABELS + 1, ValueError, r"^targets: .*from 0 to 2, got 1 to 3"),
    (GOOD, LABELS - 1, ValueError, r"^targets: .*from 0 to 2, got -1 to 1"),
    (GOOD[:, :1], LABELS, ValueError, r"^targets: .*from 0 to 1, got 0 to 2"),
    (GOOD, LABELS + 2**32, ValueError, r"^targets: .*got .*42949672"),
    (GOOD, LABELS.astype(float), TypeError, r"^targets: .*integer classes, got dtype float"),
    (GOOD, GOOD * np.nan, ValueError, r"^targets: expected finite values, got 9 .*of 9"),
    (GOOD, ["a", "b", "c"], TypeError, r"^targets: .*got dtype <U1"),
]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(("logits", "targets", "error", "message"), FAULTS)
def test_say_what_they_wanted(measure, logits, targets, error, message):
    with pytest.raises(error, match=message):
        measure(logits, targets)


@pytest.mark.parametrize("measure", MEASURES[:2])
@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(2), ValueError, r"^weights: expected shape \(3,\), got \(2,\)"),
        (np.array([1.0, -0.5, 1.0]), ValueError, r"^weights: .*at least 0, got -0\.5"),
        (np.array([1.0, np.nan, 1.0]), ValueError, r"^weights: expected finite.*got 1 .*of 3"),
        (np.zeros(3), ValueError, r"^weights: .*above 0, got zeros"),
        (["a", "b", "c"], TypeError, r"^weights: .*got dtype <U1"),
    ],
)
def test_weights_say_what_they_wanted(measure, weights, error, message):
    with pytest.raises(error, match=message):
        measure(GOOD, LABELS, weights=weights)
