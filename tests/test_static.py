"""Functions compared by what they compute."""

import functools
import itertools
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies

from logistack._static import Static


def capture(value):
    return lambda: value


def default(value):
    def inner(x=value):
        return x

    return inner


def keyword(value):
    def inner(*, x=value):
        return x

    return inner


def nest(value):
    return capture(capture([{"value": (value,)}]))


def recurse(value):
    def inner(n):
        return value if n == 0 else inner(n - 1)

    return inner


def mutually_recurse(value):
    def one(n):
        return value if n == 0 else other(n - 1)

    def other(n):
        return one(n)

    return one


def unbound():
    def inner():
        return later

    if inner:
        return inner
    later = 1
    return later


class Loss:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, z, target):
        return self.scale * z * target

    def method(self, z, target):
        return self(z, target)


WRAPPERS = [
    capture, default, keyword, nest, recurse, mutually_recurse,
    lambda value: functools.partial(capture, value),
    lambda value: functools.partial(capture, value=value),
    lambda value: (capture(value), None),
]  # fmt: skip
SHARED = Loss(1.0), jnp.ones(2), jax.jit(jnp.sin), len, object(), {1, 2}
# Every two of these are different constants.
CONSTANTS = (
    1, 1.0, True, 1 + 0j, "1", b"1", None, 0, 0.0, -0.0, False, (), [], {}, (1,), [1], (1.0,), ((1,),),
    {"a": 1}, {"a": 1.0}, float("inf"), float("nan"), jnp.float32, np.dtype("float32"), int,
    np.float32(1), np.float64(1), np.int32(1), np.bool_(True), np.float32(0), np.float32(-0.0),
    np.array([1.0]), np.array([1]), np.array([[1.0]]), np.array([0.0]), np.array([-0.0]),
    *SHARED,
)  # fmt: skip


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_equal_content_is_equal_with_an_equal_hash(wrap):
    for value in CONSTANTS:
        one, other = Static(wrap(value)), Static(wrap(value))
        assert one == other
        assert hash(one) == hash(other)
        assert not one.traced


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_different_content_is_different(wrap):
    statics = [Static(wrap(value)) for value in CONSTANTS]
    for one, other in itertools.combinations(statics, 2):
        assert one != other


def test_wrappers_differ():
    for one, other in itertools.combinations([Static(wrap(1)) for wrap in WRAPPERS], 2):
        assert one != other


VALUES = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers(-2, 2)
    | strategies.floats(allow_subnormal=False) | strategies.sampled_from("ab"),
    lambda inner: strategies.lists(inner, max_size=2) | strategies.tuples(inner, inner)
    | strategies.dictionaries(strategies.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@given(VALUES, VALUES)
def test_constants_are_equal_as_their_text_is(one, other):
    # repr tells 1, 1.0 and True apart, and 0.0 from −0.0, and not two NaN.
    assert (Static(capture(one)) == Static(capture(other))) == (repr(one) == repr(other))


def test_numbers_of_numpy_are_not_those_of_python():
    # One is weakly typed in JAX, the other is not: they make different programs.
    assert Static(capture(np.float64(0.1))) != Static(capture(0.1))


def test_other_objects_are_equal_to_themselves_alone():
    for make in (lambda: Loss(1.0), lambda: jnp.ones(2), object, lambda: jax.jit(lambda x: x)):
        one, other = make(), make()
        assert Static(capture(one)) == Static(capture(one))
        assert Static(capture(one)) != Static(capture(other))


def test_an_object_keeps_its_identity_after_its_name_is_gone():
    # Were it kept by address alone, the next object could take the same one.
    seen = {Static(capture(object())) for _ in range(100)}
    assert len(seen) == 100


def test_what_is_shared_many_times_is_taken_apart_once():
    # Decorated functions share much of what they capture: two to the power of 20 ways lead down.
    value = capture(1)
    for _ in range(20):
        value = capture((value, value))
    start = time.perf_counter()
    assert Static(value) == Static(value)
    assert time.perf_counter() - start < 1


def test_methods_of_one_object_are_equal():
    loss = Loss(1.0)
    assert Static(loss.method) == Static(loss.method)
    assert hash(Static(loss.method)) == hash(Static(loss.method))
    assert Static(loss.method) != Static(Loss(1.0).method)
    assert Static(loss.method) != Static(loss.__call__)


def test_what_is_captured_is_seen_as_it_was():
    for captured, change in (
        ([1], lambda a: a.append(2)),
        ({"a": 1}, lambda a: a.update(a=2)),
        (np.zeros(2), lambda a: a.fill(1)),
    ):
        before = Static(capture(captured))
        change(captured)
        assert before != Static(capture(captured))
        assert Static(capture(captured)) == Static(capture(captured))


def test_functions_of_one_code_but_other_globals_differ():
    code = compile("def f(): return scale", "f", "exec")
    spaces = {"scale": 1}, {"scale": 1}, {"scale": 2}
    for space in spaces:
        exec(code, space)
    one, _, other = (Static(space["f"]) for space in spaces)
    assert one == Static(spaces[0]["f"])
    assert one != other


def test_a_global_that_changed_makes_another_function():
    space = {"scale": 1, "unused": 1}
    exec("def f(): return scale\ndef g(): return f()\ndef h(): return (lambda: f())()", space)
    for name in "fgh":
        space.update(scale=1, unused=1)
        before = Static(space[name])
        space["unused"] = 2
        assert before == Static(space[name])
        space["scale"] = 2
        assert before != Static(space[name])


def test_functions_of_other_code_differ():
    assert Static(lambda x: x + 1) != Static(lambda x: x - 1)
    assert Static(jnp.sin) != Static(jnp.cos)
    assert Static(capture(lambda x: x + 1)) != Static(capture(lambda x: x - 1))


def test_names_not_bound_yet_do_not_matter():
    static = Static(unbound())
    assert hash(static) == hash(static)
    assert static == static


def test_a_static_is_equal_to_statics_alone():
    assert Static(capture(1)) != capture(1)
    assert Static(1) != 1
    assert Static(capture(1)).value() == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: optax.sgd(0.1, momentum=0.9, nesterov=True),
        lambda: optax.adam(1e-3, b1=0.8),
        lambda: optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 0.1, 2, 10)),
        lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.rmsprop(1e-2)),
        lambda: optax.lion(optax.join_schedules([optax.constant_schedule(0.1)] * 2, [3])),
        lambda: optax.sgd(optax.piecewise_constant_schedule(0.1, {3: 0.5})),
        optax.lbfgs,
    ],
)
def test_an_optimizer_built_anew_is_the_same(make):
    assert Static(make()) == Static(make())
    assert hash(Static(make())) == hash(Static(make()))


def test_optimizers_differ():
    makers = optax.sgd, optax.adam, optax.adagrad, optax.rmsprop, optax.lion
    statics = [Static(make(rate)) for make in makers for rate in (0.1, 0.2)]
    statics += [
        Static(optax.sgd(0.1, momentum=0.9)),
        Static(optax.sgd(0.1, momentum=0.8)),
        Static(optax.sgd(0.1, momentum=0.9, nesterov=True)),
        Static(optax.sgd(optax.linear_schedule(0.1, 0.2, 3))),
        Static(optax.sgd(optax.linear_schedule(0.1, 0.2, 4))),
    ]
    for one, other in itertools.combinations(statics, 2):
        assert one != other


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_a_traced_value_is_noticed(wrap):
    seen = []

    def run(value):
        seen.append(Static(wrap(value)).traced)
        return value

    jax.jit(run)(1.0)
    jax.vmap(run)(jnp.ones(2))
    jax.grad(run)(1.0)
    assert seen == [True] * 3
    assert not Static(wrap(jnp.ones(2))).traced


def test_a_traced_object_of_a_method_is_noticed():
    def run(value):
        static = Static(functools.partial(types.MethodType(Loss.method, [value])))
        assert static.traced
        return value

    jax.jit(run)(1.0)


def test_a_schedule_that_rebinds_what_it_captured_stays_itself():
    # At its first call Optax's cosine schedule turns its captured number of steps into a float.
    optimizer = optax.sgd(optax.cosine_decay_schedule(0.1, 10))
    before = Static(optimizer)
    optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)))
    assert Static(optimizer) == before
    assert Static(optax.sgd(optax.cosine_decay_schedule(0.1, 11))) != before


def test_a_captured_integer_is_no_float():
    def power(exponent):
        return lambda x: x**exponent

    assert Static(power(2)) != Static(power(2.0))
