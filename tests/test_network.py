"""The network as a function of one sample."""

import itertools

import chex
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

import logistack as ls

ARTICLE = (
    ls.Layer(jnp.array([[1.0, -2.0], [-1.0, 1.0]]), jnp.array([1.0, 0.0])),
    ls.Layer(jnp.array([[2.0, -1.0], [-2.0, -1.0]]), jnp.array([0.0, 0.0])),
    ls.Layer(jnp.array([[3.0, -1.0], [-1.0, 4.0]]), jnp.array([-2.0, 2.0])),
)
FUNCTIONS = (ls.logits, ls.forward, ls.activations)


def every(params, x):
    return [function(params, x) for function in FUNCTIONS]


def draw(*sizes, seed=0, dtype=jnp.float32):
    """Layers of normal weights and biases, drawn by NumPy."""
    normal = np.random.default_rng(seed).standard_normal
    return tuple(
        ls.Layer(jnp.asarray(normal((fan_out, fan_in)), dtype), jnp.asarray(normal(fan_out), dtype))
        for fan_in, fan_out in itertools.pairwise(sizes)
    )


def stack(*layers):
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *layers)


def reference(params, x):
    """The pre-activations and the activations of every layer, by NumPy in float64."""
    a, zs, outputs = np.asarray(x, np.float64), [], []
    for weight, bias in params:
        zs.append(np.asarray(weight, np.float64) @ a + np.asarray(bias, np.float64))
        a = 1 / (1 + np.exp(-zs[-1]))
        outputs.append(a)
    return zs, outputs


# The same five layers of 4 units, one by one and as stacks wherever a stack can stand.
FIVE = draw(4, 4, 4, 4, 4, 4, seed=5)
STACKED = {
    "first": (stack(*FIVE[:2]), *FIVE[2:]),
    "middle": (FIVE[0], stack(*FIVE[1:4]), FIVE[4]),
    "last": (*FIVE[:3], stack(*FIVE[3:])),
    "two": (stack(*FIVE[:2]), stack(*FIVE[2:])),
    "whole": (stack(*FIVE),),
    "of one layer": (*FIVE[:4], stack(FIVE[4])),
}


class Variants(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_the_article_network(self):
        first, second, third = self.variant(ls.activations)(ARTICLE, jnp.array([1.0, -1.0]))
        np.testing.assert_allclose(first, (0.98, 0.12), atol=5e-3)
        np.testing.assert_allclose(second, (0.86, 0.11), atol=5e-3)
        np.testing.assert_allclose(third, (0.62, 0.83), atol=5e-3)
        forward = self.variant(ls.forward)
        np.testing.assert_allclose(
            forward(ARTICLE, jnp.array([1.0, -1.0])), (0.62, 0.83), atol=5e-3
        )
        np.testing.assert_allclose(forward(ARTICLE, jnp.array([0.0, 0.0])), (0.51, 0.85), atol=5e-3)

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters((1, 1), (4, 7, 3), (2, 3, 5, 4, 1))
    def test_equals_numpy_in_float64(self, *sizes):
        params, x = draw(*sizes), np.float32(np.linspace(-2, 1.5, sizes[0]))
        zs, wanted = reference(params, x)
        logits, output, outputs = self.variant(every)(params, x)
        np.testing.assert_allclose(logits, zs[-1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(output, wanted[-1], rtol=1e-5)
        assert isinstance(outputs, tuple)
        chex.assert_trees_all_close(outputs, tuple(map(np.float32, wanted)), rtol=1e-5)

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(*STACKED)
    def test_a_stack_equals_its_layers(self, where):
        x = jnp.array([0.5, -1.0, 2.0, 0.0])
        given = self.variant(every)(STACKED[where], x)
        chex.assert_trees_all_close(given, every(FIVE, x), rtol=1e-6)

    @chex.variants(with_jit=True, without_jit=True)
    def test_samples_are_mapped_by_vmap(self):
        params, inputs = draw(4, 7, 3), jnp.linspace(-1.0, 1.0, 20).reshape(5, 4)
        mapped = self.variant(jax.vmap(every, in_axes=(None, 0)))(params, inputs)
        for index, x in enumerate(inputs):
            sample = jax.tree.map(lambda a, index=index: a[index], mapped)
            chex.assert_trees_all_close(sample, every(params, x), rtol=1e-5)


def test_float64_is_exact_to_float64(x64):
    params, x = draw(4, 7, 3, dtype=jnp.float64), np.array([1.0, -2.0, 0.1, 3.0])
    zs, outputs = reference(params, x)
    np.testing.assert_allclose(ls.logits(params, x), zs[-1], rtol=1e-13)
    np.testing.assert_allclose(ls.forward(params, x), outputs[-1], rtol=1e-13)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_outputs_have_the_dtype_of_the_parameters(dtype):
    params = (*draw(4, 4, dtype=dtype), stack(*draw(4, 4, 4, dtype=dtype)))
    x = jnp.array([1.0, -2.0, 0.1, 3.0])
    assert {a.dtype for a in jax.tree.leaves(every(params, x))} == {jnp.dtype(dtype)}
    _, outputs = reference([*params[:1], *zip(*params[1], strict=True)], x)
    np.testing.assert_allclose(np.float64(ls.forward(params, x)), outputs[-1], atol=2e-2)


@pytest.mark.parametrize(
    "x",
    [
        [1, 0],
        (True, False),
        np.array([1, 0], np.uint8),
        np.array([1, 0], np.int64),
        np.array([1, 0], np.float64),
        np.array([1, 0], np.float16),
        jnp.array([1, 0], jnp.bfloat16),
        jnp.array([True, False]),
    ],
    ids=lambda x: f"{type(x).__name__} {getattr(x, 'dtype', '')}",
)
def test_samples_of_any_real_dtype_are_taken_to_that_of_the_parameters(x):
    chex.assert_trees_all_equal(every(ARTICLE, x), every(ARTICLE, jnp.array([1.0, 0.0])))


def test_parameters_of_numpy_are_parameters():
    for dtype in (np.float32, np.float64):
        params = jax.tree.map(lambda a, dtype=dtype: np.asarray(a, dtype), ARTICLE)
        x = np.array([1.0, -1.0])
        chex.assert_trees_all_close(every(params, x), every(ARTICLE, jnp.float32(x)))


def test_a_list_of_layers_is_a_network():
    assert jnp.all(ls.forward([*ARTICLE], jnp.ones(2)) == ls.forward(ARTICLE, jnp.ones(2)))


def test_samples_may_be_constants_of_a_trace():
    x = jnp.array([1.0, -1.0])
    wanted = every(ARTICLE, x)
    chex.assert_trees_all_close(jax.jit(lambda params: every(params, x))(ARTICLE), wanted)
    chex.assert_trees_all_close(jax.jit(lambda x: every(ARTICLE, x))(x), wanted)


def test_saturated_networks_stay_finite_with_finite_gradients():
    params = jax.tree.map(lambda a: a * 1e6, ARTICLE)
    for x in (jnp.array([1e30, -1e30]), jnp.zeros(2)):
        values, gradients = jax.vmap(jax.value_and_grad(lambda p, x=x: ls.forward(p, x).sum()))(
            jax.tree.map(lambda a: a[None], params)
        )
        chex.assert_tree_all_finite((values, gradients))


def test_gradients_equal_central_differences(x64):
    params = (*draw(3, 4, dtype=jnp.float64), stack(*draw(4, 4, 4, seed=1, dtype=jnp.float64)))
    x, direction = np.array([0.3, -1.0, 2.0]), np.array([1.0, -2.0, 0.5, 3.0])
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    value = jax.jit(lambda flat: ls.logits(unravel(flat), x) @ direction)
    step = 1e-6
    differences = [
        (value(flat.at[i].add(step)) - value(flat.at[i].add(-step))) / (2 * step)
        for i in range(flat.size)
    ]
    np.testing.assert_allclose(jax.grad(value)(flat), differences, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("function", FUNCTIONS[:2])
def test_the_program_does_not_grow_with_depth(function):
    def equations(depth):
        params = (ls.Layer(jnp.zeros((depth, 2, 2)), jnp.zeros((depth, 2))),)
        return str(jax.make_jaxpr(function)(params, jnp.ones(2))).count(" = ")

    assert equations(1000) == equations(3)


def test_a_deep_stack_has_one_output_a_layer():
    params = (ls.Layer(jnp.zeros((100, 2, 2)), jnp.zeros((100, 2))), *draw(2, 3))
    outputs = ls.activations(params, jnp.ones(2))
    assert [a.shape for a in outputs] == [(2,)] * 100 + [(3,)]


ONE = ls.Layer(jnp.ones((1, 2)), jnp.ones(1))


@pytest.mark.parametrize(
    ("params", "x", "error", "message"),
    [
        (ARTICLE, jnp.ones(3), ValueError, r"^x: expected shape \(2,\), got \(3,\)"),
        (ARTICLE, jnp.ones((4, 2)), ValueError, r"^x: expected shape \(2,\), got \(4, 2\).*jax\.vmap"),
        (ARTICLE, jnp.ones(()), ValueError, r"^x: expected shape \(2,\), got \(\)"),
        (ARTICLE, [], ValueError, r"^x: expected shape \(2,\), got \(0,\)"),
        (ARTICLE, [1.0, float("nan")], ValueError, r"^x: expected finite values, got 1 .* of 2$"),
        (ARTICLE, jnp.array([1, 2j]), TypeError, r"^x: expected .*real numbers, got dtype complex64"),
        (ARTICLE, jax.random.split(jax.random.key(0)), TypeError, r"^x: expected .*numbers, got .*key"),
        ((), jnp.ones(2), ValueError, r"^params: expected at least one Layer, got none"),
        (ONE, jnp.ones(2), TypeError, r"^params: expected a tuple of Layer, got Layer"),
        (None, jnp.ones(2), TypeError, r"^params: expected a tuple of Layer, got NoneType"),
        ({"a": ONE}, jnp.ones(2), TypeError, r"^params: expected a tuple of Layer, got dict"),
        ((ONE, (1, 2)), jnp.ones(2), TypeError, r"^params\[1\]: expected a Layer, got tuple"),
        ((ONE, ONE), jnp.ones(2), ValueError, r"^params\[1\]: expected .*for 1 inputs.*got one for 2"),
        ((ls.Layer(jnp.ones((2, 2)), jnp.ones(1)),), jnp.ones(2), ValueError, r"^params\[0\]: .*got weight \(2, 2\) and bias \(1,\)"),
        ((ls.Layer(jnp.ones((3, 1, 2)), jnp.ones((3, 1))),), jnp.ones(2), ValueError, r"^params\[0\]: expected square.*got .*\(3, 1, 2\)"),
        ((ls.Layer(jnp.ones((0, 2)), jnp.ones(0)),), jnp.ones(2), ValueError, r"^params\[0\]: .*at least 1.*\(0, 2\)"),
        ((ls.Layer(jnp.ones((0, 2, 2)), jnp.ones((0, 2))),), jnp.ones(2), ValueError, r"^params\[0\]: .*at least 1.*\(0, 2, 2\)"),
        ((ls.Layer(jnp.ones((1, 2), int), jnp.ones(1)),), jnp.ones(2), TypeError, r"^params\[0\]\.weight: .*got int32"),
        ((ls.Layer(jnp.ones((1, 2)), jnp.ones(1, jnp.bfloat16)),), jnp.ones(2), TypeError, r"^params\[0\]\.bias: .*float32.*got bfloat16"),
        ((ls.Layer(np.ones((1, 2), "U1"), np.ones(1)),), jnp.ones(2), TypeError, r"^params\[0\]\.weight: .*got <U1"),
        ((ls.Layer([[1.0, 2.0]], [1.0]),), jnp.ones(2), TypeError, r"^params\[0\]\.weight: .*got list"),
    ],
)  # fmt: skip
def test_logits_says_what_it_expected(params, x, error, message):
    with pytest.raises(error, match=message):
        ls.logits(params, x)


@pytest.mark.parametrize("function", FUNCTIONS[1:])
def test_the_others_check_the_same(function):
    with pytest.raises(ValueError, match=r"^x: expected shape \(2,\), got \(3,\)"):
        function(ARTICLE, jnp.ones(3))
    with pytest.raises(ValueError, match=r"^x: expected finite values, got 1 .* of 2$"):
        function(ARTICLE, [1.0, float("nan")])
    with pytest.raises(TypeError, match=r"^params: expected a tuple of Layer, got Layer"):
        function(ONE, jnp.ones(2))


def test_shapes_are_checked_inside_a_trace_too():
    with pytest.raises(ValueError, match=r"^x: expected shape \(2,\), got \(3,\)"):
        jax.jit(ls.forward)(ARTICLE, jnp.ones(3))
