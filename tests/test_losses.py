"""The losses of one sample."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from hypothesis import given, strategies
from hypothesis.extra import numpy as arrays
from sklearn.metrics import log_loss

from logistack.losses import cross_entropy, sigmoid_cross_entropy, softmax_cross_entropy

LOGITS = arrays.arrays(np.float32, 4, elements=strategies.floats(-30, 30, width=32))
SHARES = arrays.arrays(np.float32, 4, elements=strategies.floats(0, 1, width=32))
HUGE = np.array(
    [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]], np.float32
)


def log_softmax(z):
    z = np.asarray(z, np.float64)
    return z - z.max() - np.log(np.exp(z - z.max()).sum())


def log_sigmoid(z):
    return -np.logaddexp(0, -np.asarray(z, np.float64))


class Variants(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(
        ((0.25, 0.75), (0, 1), -math.log(0.75)),
        ((0.25, 0.75), (0.5, 0.5), -0.5 * math.log(0.25 * 0.75)),
        ((0.0, 1.0), (0, 1), 0.0),
        ((0.0, 0.5), (0, 1), math.log(2)),
        ((0.0, 1.0), (1, 0), math.inf),
        ((0.9, 0.9), (1, 1), -2 * math.log(0.9)),
    )
    def test_cross_entropy_is_the_article_formula(self, outputs, target, wanted):
        outputs, target = jnp.array(outputs), jnp.array(target, jnp.float32)
        np.testing.assert_allclose(self.variant(cross_entropy)(outputs, target), wanted, rtol=1e-6)

    @chex.variants(with_jit=True, without_jit=True)
    def test_losses_on_logits_equal_scikit_learn(self):
        z = np.array([0.3, -2.0, 5.0, 0.0, 1.5], np.float32)
        softmax_loss = self.variant(softmax_cross_entropy)
        sigmoid_loss = self.variant(sigmoid_cross_entropy)
        for label, row in enumerate(np.eye(5, dtype=np.float32)):
            wanted = log_loss([label], np.exp(log_softmax(z))[None], labels=range(5))
            np.testing.assert_allclose(softmax_loss(z, row), wanted, rtol=1e-5)
            np.testing.assert_allclose(softmax_loss(z, label), wanted, rtol=1e-5)
            units = [
                log_loss([unit], [np.exp(log_sigmoid(z_unit))], labels=[0, 1])
                for unit, z_unit in zip(row, z, strict=True)
            ]
            np.testing.assert_allclose(sigmoid_loss(z, row), sum(units), rtol=1e-5)

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(([1.0, 0.0, 0.0],), ([0.0, 0.5, 0.5],))
    def test_huge_logits_leave_loss_and_gradient_finite_and_right(self, target):
        target = np.array(target, np.float32)
        sigmoid = self.variant(jax.value_and_grad(sigmoid_cross_entropy))
        softmax = self.variant(jax.value_and_grad(softmax_cross_entropy))
        for z in HUGE:
            value, slope = sigmoid(z, target)
            wanted = -target @ log_sigmoid(z) - (1 - target) @ log_sigmoid(-z)
            np.testing.assert_allclose(value, wanted, rtol=1e-6)
            np.testing.assert_allclose(slope, np.exp(log_sigmoid(z)) - target, atol=1e-6)
            value, slope = softmax(z, target)
            np.testing.assert_allclose(value, -target @ log_softmax(z), rtol=1e-6)
            np.testing.assert_allclose(slope, np.exp(log_softmax(z)) - target, atol=1e-6)

    @chex.variants(with_jit=True, without_jit=True)
    def test_samples_are_mapped_by_vmap(self):
        z, labels = jnp.float32(np.arange(12).reshape(4, 3) % 5), jnp.array([0, 2, 1, 1])
        rows = jax.nn.one_hot(labels, 3)
        for loss, targets in (
            (softmax_cross_entropy, labels),
            (softmax_cross_entropy, rows),
            (sigmoid_cross_entropy, rows),
        ):
            each = [loss(*sample) for sample in zip(z, targets, strict=True)]
            np.testing.assert_allclose(self.variant(jax.vmap(loss))(z, targets), each, rtol=1e-6)


@given(LOGITS, SHARES)
def test_losses_equal_their_formulas_in_float64(z, target):
    sigmoid = -target @ log_sigmoid(z) - (1 - target) @ log_sigmoid(-z)
    softmax = -target @ log_softmax(z)
    np.testing.assert_allclose(sigmoid_cross_entropy(z, target), sigmoid, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(softmax_cross_entropy(z, target), softmax, rtol=1e-5, atol=1e-5)


@given(LOGITS, SHARES)
def test_gradients_are_output_minus_target(z, target):
    sigmoid, softmax = np.exp(log_sigmoid(z)), np.exp(log_softmax(z))
    slope = jax.grad(sigmoid_cross_entropy)(z, target)
    np.testing.assert_allclose(slope, sigmoid - target, atol=1e-6)
    slope = jax.grad(softmax_cross_entropy)(z, target)
    np.testing.assert_allclose(slope, softmax * target.sum(dtype=float) - target, atol=1e-5)


def test_derivatives_at_the_kinks_of_the_formula_are_those_of_sigma():
    # |z| and max(z, 0) have no derivative at 0, where a network of zeros starts; the loss has all.
    z = jnp.array([0.0, -0.0, 1.0, -30.0])
    target = jnp.array([0.0, 1.0, 0.25, 0.0])
    sigma = np.exp(log_sigmoid(z))
    slope, target_slope = jax.grad(sigmoid_cross_entropy, argnums=(0, 1))(z, target)
    np.testing.assert_allclose(slope, sigma - target, rtol=1e-5)
    np.testing.assert_allclose(target_slope, -z, rtol=1e-5)
    curvature = jax.hessian(sigmoid_cross_entropy)(z, target)
    np.testing.assert_allclose(curvature, np.diag(sigma * (1 - sigma)), rtol=1e-5)


def every_way(function):
    """A function of arrays as it is, compiled, mapped, and both."""
    mapped = jax.vmap(function)
    return [
        function,
        jax.jit(function),
        lambda *arrays: mapped(*(np.asarray(array)[None] for array in arrays))[0],
        lambda *arrays: jax.jit(mapped)(*(np.asarray(array)[None] for array in arrays))[0],
    ]


def exact(loss, z, target):
    """A loss of logits, and its gradient, by NumPy in float64."""
    z, target = np.float64(z), np.float64(target)
    with np.errstate(over="ignore"):  # exp(−∞) is the 0 it stands for
        if loss is sigmoid_cross_entropy:
            value = np.where(target == 0, 0, target * np.logaddexp(0, -z))
            value = value + np.where(target == 1, 0, (1 - target) * np.logaddexp(0, z))
            return value.sum(), np.exp(log_sigmoid(z)) - target
        return -(target * log_softmax(z)).sum(), np.exp(log_softmax(z)) * target.sum() - target


EXTREMES = [
    (dtype, np.array(z, np.float64) * float(jnp.finfo(dtype).max), target)
    for dtype in (np.float32, np.float16, jnp.bfloat16)
    for z in ([1, -1], [-1, 1], [1, 1], [-1, -1], [0.6, -0.6], [1, 0], [-1, 0.25])
    for target in ([1, 0], [0, 1], [0.5, 0.5], [0, 0.25], [1, 1], [0, 0], [0.75, 1])
]


@pytest.mark.parametrize("loss", [sigmoid_cross_entropy, softmax_cross_entropy])
def test_losses_are_right_up_to_the_largest_logits_and_infinite_only_beyond_the_dtype(loss):
    values, gradients = every_way(loss), every_way(jax.grad(loss))
    for dtype, z, target in EXTREMES:
        z, target = np.asarray(z, dtype), np.asarray(target, np.float32)
        value, slope = exact(loss, z, target)
        rtol = 2 * float(jnp.finfo(dtype).eps)
        with np.errstate(over="ignore"):  # to ∞, beyond the dtype
            value = np.float64(value).astype(dtype).astype(float)
        for way in values:
            given = way(z, target)
            assert given.dtype == dtype
            np.testing.assert_allclose(np.float64(given), value, rtol=rtol)
        for way in gradients:
            np.testing.assert_allclose(np.float64(way(z, target)), slope, atol=rtol)


def test_soft_targets_next_to_0_and_1_do_not_cancel():
    z, target = np.float32([1e4, -1e4, 30]), np.float32([1 - 2**-24, 2**-24, 1 - 2**-24])
    wanted, _ = exact(sigmoid_cross_entropy, z, target)
    np.testing.assert_allclose(sigmoid_cross_entropy(z, target), wanted, rtol=1e-6)


@pytest.mark.parametrize("label", [0, 1])
def test_large_equal_logits_do_not_swallow_the_rest(label):
    z = np.float32([1e30, 1e30])
    np.testing.assert_allclose(softmax_cross_entropy(z, label), math.log(2), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16, np.float64])
def test_cross_entropy_of_subnormal_probabilities(dtype):
    with jax.enable_x64(dtype is np.float64):
        smallest = float(jnp.finfo(dtype).smallest_subnormal)
        for multiple in (1, 3, 64):
            y = np.array([smallest * multiple, 1]).astype(dtype)
            # Python's logarithm of an integer is exact also where a float's exponent ends.
            numerator, denominator = float(y[0]).as_integer_ratio()
            wanted = math.log(denominator) - math.log(numerator)
            for way in every_way(cross_entropy):
                given = way(y, np.array([1, 0], np.float32))
                np.testing.assert_allclose(np.float64(given), wanted, rtol=jnp.finfo(dtype).eps)
                assert way(np.zeros(2, dtype), np.array([1, 0], np.float32)) == math.inf


def test_the_slope_of_the_logarithm_is_that_of_the_number_as_it_is():
    for y in (5e-39, 1.1754942e-38, 1.1754944e-38, 0.25):  # subnormal up to the second
        for way in every_way(jax.grad(cross_entropy)):
            slope = way(np.float32([y, 1]), np.float32([1, 0]))
            np.testing.assert_allclose(slope, [-1 / float(np.float32(y)), 0], rtol=1e-6)
    curvature = jax.hessian(cross_entropy)(jnp.array([0.5, 1.0]), jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(curvature, [[4, 0], [0, 0]])


def test_a_single_logit_takes_its_class():
    for z in (-3.0, 0.0, 1e4):
        for label in (0, 1):
            by_class, by_row = (sigmoid_cross_entropy([z], t) for t in (label, [label]))
            np.testing.assert_array_equal(by_class, by_row)
    z, labels = jnp.array([[0.5], [-1.0], [2.0]]), jnp.array([0, 1, 1])
    mapped = jax.jit(jax.vmap(sigmoid_cross_entropy))
    np.testing.assert_array_equal(mapped(z, labels), mapped(z, labels[:, None]))


def test_a_class_that_is_not_there_makes_a_traced_loss_nan():
    assert jnp.isnan(jax.jit(softmax_cross_entropy)(jnp.zeros(3), 3))


@given(LOGITS, strategies.integers(0, 3))
def test_a_class_is_its_one_hot_row(z, label):
    row = np.eye(4, dtype=np.float32)[label]
    by_class, by_row = softmax_cross_entropy(z, label), softmax_cross_entropy(z, row)
    np.testing.assert_allclose(by_class, by_row, rtol=1e-5, atol=1e-5)


@given(LOGITS, SHARES)
def test_symmetries(z, target):
    def close(one, other):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)

    close(sigmoid_cross_entropy(z, target), sigmoid_cross_entropy(-z, 1 - target))
    close(softmax_cross_entropy(z, target), softmax_cross_entropy(z + np.float32(8), target))
    close(softmax_cross_entropy(z, target), softmax_cross_entropy(z[::-1], target[::-1]))


@given(SHARES, SHARES)
def test_no_output_beats_the_target_itself(outputs, target):
    outputs, target = (row + np.float32(1e-3) for row in (outputs, target))
    outputs, target = (row / row.sum(dtype=np.float32) for row in (outputs, target))
    assert cross_entropy(target, target) <= cross_entropy(outputs, target) + 1e-5


def test_cross_entropy_of_softmax_outputs_is_that_of_logits():
    z, target = jnp.array([0.5, -1.0, 3.0]), jnp.array([0.2, 0.3, 0.5])
    one, other = cross_entropy(jax.nn.softmax(z), target), softmax_cross_entropy(z, target)
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_article_formula_leaves_out_what_pushes_outputs_down():
    z, target = jnp.array([0.5, -1.0, 3.0]), jnp.array([0.0, 1.0, 0.0])
    y = jax.nn.sigmoid(z)
    whole = cross_entropy(y, target) + cross_entropy(1 - y, 1 - target)
    np.testing.assert_allclose(sigmoid_cross_entropy(z, target), whole, rtol=1e-6)


def test_0_ln_0_is_0_and_flat():
    value, slope = jax.value_and_grad(cross_entropy)(jnp.array([0.0, 0.25]), jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(value, math.log(4), rtol=1e-6)
    np.testing.assert_allclose(slope, [0, -4])


@pytest.mark.parametrize("loss", [cross_entropy, sigmoid_cross_entropy, softmax_cross_entropy])
def test_targets_are_taken_to_the_dtype_of_the_values(loss):
    values = jnp.array([0.25, 0.75])
    wanted = loss(values, jnp.array([0.0, 1.0]))
    for target in ([0, 1], [False, True], np.array([0, 1], np.uint8), np.array([0.0, 1.0])):
        given = loss(values, target)
        np.testing.assert_array_equal(given, wanted)
        assert given.dtype == jnp.float32
    half = loss(values.astype(jnp.bfloat16), [0, 1])
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(half), wanted, rtol=2e-2)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64])
def test_classes_have_any_integer_dtype(dtype):
    z = jnp.array([0.0, 1.0, 2.0])
    given, wanted = softmax_cross_entropy(z, np.array(2, dtype)), softmax_cross_entropy(z, 2)
    np.testing.assert_array_equal(given, wanted)
    one = z[2:]
    given, wanted = sigmoid_cross_entropy(one, np.array(1, dtype)), sigmoid_cross_entropy(one, [1])
    np.testing.assert_array_equal(given, wanted)


def test_constants_of_a_trace_are_taken():
    target, label = jnp.array([0.0, 1.0]), jnp.array(1)
    values = jnp.array([0.25, 0.75])
    for loss in (cross_entropy, sigmoid_cross_entropy, softmax_cross_entropy):
        given = jax.jit(lambda values, loss=loss: loss(values, target))(values)
        np.testing.assert_allclose(given, loss(values, target), rtol=1e-6)
        given = jax.jit(lambda target, loss=loss: loss(values, target))(target)
        np.testing.assert_allclose(given, loss(values, target), rtol=1e-6)
    given = jax.jit(lambda values: softmax_cross_entropy(values, label))(values)
    np.testing.assert_allclose(given, softmax_cross_entropy(values, 1), rtol=1e-6)


ALL = (cross_entropy, sigmoid_cross_entropy, softmax_cross_entropy)
SIGMOID, SOFTMAX, ARTICLE = ALL[1:2], ALL[2:], ALL[:1]


@pytest.mark.parametrize(
    ("losses", "values", "target", "error", "message"),
    [
        (ALL, [0.5, 0.5], [1.0, 0.0, 0.0], ValueError, r"^target: expected shape \(2,\).*got \(3,\)$"),
        (ALL, [[0.5, 0.5]], [[1.0, 0.0]], ValueError, r"^(logits|outputs): .*got \(1, 2\).*jax\.vmap"),
        (ALL, 0.5, [1.0], ValueError, r"^(logits|outputs): expected shape \(out,\), got \(\)"),
        (ALL, [], [], ValueError, r"^(logits|outputs): expected shape \(out,\), got \(0,\)"),
        (ALL, [0.5, math.nan], [1.0, 0.0], ValueError, r"^(logits|outputs): .*got 1 NaN"),
        (ALL, [0.5, math.inf], [1.0, 0.0], ValueError, r"^(logits|outputs): .*got 1 NaN"),
        (ALL, [0.5, 0.5], [2.0, 0.0], ValueError, r"^target: .*from 0 to 1, got 0\.0 to 2\.0$"),
        (ALL, [0.5, 0.5], [1.0, -1.0], ValueError, r"^target: .*from 0 to 1, got -1\.0 to 1\.0$"),
        (ALL, [0.5, 0.5], [1.0, math.nan], ValueError, r"^target: .*got nan"),
        (ALL, ["a", "b"], [1.0, 0.0], TypeError, r"^(logits|outputs): .*got dtype <U1$"),
        (ALL, [0.5, 0.5], [1.0, 1j], TypeError, r"^target: .*got dtype complex128$"),
        (ARTICLE, [0.5, 1.5], [1.0, 0.0], ValueError, r"^outputs: .*from 0 to 1, got 0\.5 to 1\.5$"),
        (ARTICLE, [0.5, -0.5], [1.0, 0.0], ValueError, r"^outputs: .*from 0 to 1, got -0\.5 to 0\.5$"),
        (ARTICLE, [0.5, 0.5], 1, ValueError, r"^target: expected shape \(2,\).*got \(\) .*one_hot\(targets, 2\)"),
        (ARTICLE, [0.5], 1, ValueError, r"^target: expected shape \(1,\).*got \(\) .*targets\[:, None\]"),
        (SIGMOID, [0.5, 0.5], 1, ValueError, r"^target: expected shape \(2,\).*got \(\) .*one_hot\(targets, 2\)"),
        (SIGMOID, [0.5], 1.0, ValueError, r"^target: expected shape \(1,\).*got \(\) .*targets\[:, None\]"),
        (SIGMOID, [0.5], 2, ValueError, r"^target: .*from 0 to 1, got 2"),
        (SIGMOID, [0.5], -1, ValueError, r"^target: .*from 0 to 1, got -1"),
        (SOFTMAX, [0.5, 0.5], 2, ValueError, r"^target: expected .*from 0 to 1, got 2"),
        (SOFTMAX, [0.5, 0.5], -1, ValueError, r"^target: expected .*from 0 to 1, got -1"),
        (SOFTMAX, [0.5, 0.5], np.int64(2**32), ValueError, r"^target: .*got .*4294967296"),
        (SOFTMAX, [0.5, 0.5], 1.0, TypeError, r"^target: .*integer, got dtype float"),
        (SOFTMAX, [0.5, 0.5], True, TypeError, r"^target: .*integer, got dtype bool$"),
    ],
)  # fmt: skip
def test_say_what_they_wanted(losses, values, target, error, message):
    for loss in losses:
        with pytest.raises(error, match=message):
            loss(values, target)
