"""Functions compared by what they compute."""

import argparse
import collections
import dataclasses
import enum
import fractions
import functools
import itertools
import os
import subprocess
import sys
import threading
import time
import types
import weakref
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies

import logistack as ls
from logistack import _origins
from logistack._static import Static, digest


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


def impure():
    return lambda: open("no such file")


def importing():
    def inner():
        import math

        return math.pi

    return inner


@dataclasses.dataclass(frozen=True)
class Frozen:
    scale: float

    def loss(self):
        return lambda z, target: self.scale * z * target


class Pair(NamedTuple):
    a: Any
    b: Any


class Slots:
    __slots__ = ("scale",)

    def __init__(self, scale):
        self.scale = scale


class Counted(float):
    """A number with more to it."""


class Mode(enum.Enum):
    ONE = 1
    TWO = 2

    def times(self, z):
        return self.value * z


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


def test_objects_are_compared_by_what_they_hold():
    for make in (
        lambda x: Loss(x), lambda x: Frozen(x), lambda x: Pair(x, None), lambda x: {Frozen(x)},
        lambda x: Slots(x), lambda x: types.SimpleNamespace(scale=x), lambda x: frozenset([x]),
        lambda x: argparse.Namespace(scale=x), lambda x: fractions.Fraction(x), Counted,
        lambda x: jnp.full(2, x), lambda x: jax.random.key(int(x)), lambda x: jnp.float32(x),
        lambda x: Frozen(x).loss(), lambda x: Loss(x).method, lambda x: collections.deque([x]),
        lambda x: functools.partial(Loss.method, Loss(x)), lambda x: jax.vmap(lambda z: x * z),
        lambda x: jax.custom_jvp(lambda z: x * z), lambda x: Mode(int(x)), lambda x: Mode(int(x)).times,
        lambda x: (np.exp, *[[x]] * 2),
    ):  # fmt: skip
        _origins.CONSTANTS.clear()  # as in a new process
        _origins._classes.clear()
        assert Static(capture(make(1.0))) == Static(capture(make(1.0)))
        assert Static(capture(make(1.0))) != Static(capture(make(2.0)))
        assert Static(make(1.0)) == Static(make(1.0)) != Static(make(2.0))
        assert digest(make(1.0)) == digest(make(1.0)) != digest(make(2.0))


def test_what_python_cannot_read_makes_its_function_equal_to_itself_alone():
    unknown = threading.Lock(), iter([1]), np.random.default_rng(0), weakref.ref(Loss), sys
    for value in (*unknown, Loss(sys), [Loss(iter([1]))], functools.partial(Loss.method, sys)):
        for function in capture(value), default(value), capture(capture(value)):
            assert Static(function) == Static(function)
        assert Static(capture(value)) != Static(capture(value))
        # Beside it, others are still compared by content.
        assert Static((function, capture(1))) == Static((function, capture(1)))
    assert Static(lambda z: vars(sys)) != Static(lambda z: vars(sys))
    assert Static(lambda z: time.time()) != Static(lambda z: time.time())
    assert Static(impure()) != Static(impure())
    assert Static(importing()) != Static(importing())


def test_an_array_on_another_device_or_weakly_typed_is_another():
    one, other = jax.devices()[:2]
    arrays = [jax.device_put(jnp.ones(2), one), jax.device_put(jnp.ones(2), other), jnp.ones(2)]
    arrays += [jnp.ones(()), jnp.asarray(1.0)]
    for a, b in itertools.combinations(arrays, 2):
        assert Static(capture(a)) != Static(capture(b))
    assert digest(arrays[0]) == digest(arrays[1]) == digest(np.ones(2, np.float32))


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


def test_methods_are_compared_with_their_objects():
    loss = Loss(1.0)
    assert Static(loss.method) == Static(loss.method) == Static(Loss(1.0).method)
    assert hash(Static(loss.method)) == hash(Static(loss.method))
    assert Static(loss.method) != Static(Loss(2.0).method)
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


def alter():
    """Ways to read something that is changed after the first key: to build a reader, to change it."""
    space = types.SimpleNamespace
    cfg = argparse.Namespace(scale=1.0, deep=space(scale=1.0))
    module = types.ModuleType("settings")
    module.scale, module.cfg = 1.0, space(scale=1.0)
    table, chosen = {"scale": 1.0}, {1}

    class Settings:
        scale = 1.0
        flags: ClassVar = ["a"]

    class Meta(type):
        scale = 1.0

    class Child(Settings, metaclass=Meta):
        pass

    class Holder:
        @property
        def scale(self):
            return Settings.scale

        @staticmethod
        def static():
            return cfg.scale

    def noted(z):
        return noted.scale * z

    def aliased(z):
        own = noted
        return own.scale * z

    noted.scale = 1.0
    held, child, cached = Holder(), Child(), jax.jit(lambda z: cfg.scale * z)
    callable_object, by_code = Loss(1.0), Loss(1.0)
    environment = os.environ

    def later(z):
        return unbound_yet * z  # noqa: F821

    def set_to(owner, name, new=2.0):
        return lambda: setattr(owner, name, new)

    return [
        (lambda: lambda z: cfg.scale * z, set_to(cfg, "scale")),
        (lambda: lambda z: cfg.deep.scale * z, set_to(cfg.deep, "scale")),
        (lambda: lambda z: getattr(cfg, "scale") * z, set_to(cfg, "scale", 3.0)),  # noqa: B009
        (lambda: lambda z: (lambda: cfg.scale)() * z, set_to(cfg, "scale", 4.0)),
        (lambda: lambda z: sum(cfg.scale * x for x in z), set_to(cfg, "scale", 5.0)),
        (lambda: optax.sgd(lambda step: cfg.scale), set_to(cfg, "scale", 6.0)),
        (lambda: functools.partial(lambda z, c: c.scale * z, c=cfg), set_to(cfg, "scale", 7.0)),
        (lambda: lambda z: cached(z), set_to(cfg, "scale", 8.0)),
        (lambda: held.static, set_to(cfg, "scale", 9.0)),
        (lambda: lambda z: module.scale * z, set_to(module, "scale")),
        (lambda: lambda z: module.cfg.scale * z, set_to(module.cfg, "scale")),
        (lambda: lambda z: module.added * z, set_to(module, "added")),
        (lambda: lambda z: Settings.scale * z, set_to(Settings, "scale")),
        (lambda: lambda z: Settings().scale * z, set_to(Settings, "scale", 3.0)),
        (lambda: lambda z: child.scale * z, set_to(Settings, "scale", 4.0)),
        (lambda: lambda z: held.scale * z, set_to(Settings, "scale", 5.0)),
        (lambda: lambda z: len(Settings.flags) * z, lambda: Settings.flags.append("b")),
        (lambda: lambda z: Meta.scale * z, set_to(Meta, "scale")),
        (lambda: lambda z: type(child).__class__.scale * z, set_to(Meta, "scale", 3.0)),
        (lambda: lambda z: noted(z), set_to(noted, "scale")),
        (lambda: lambda z: noted.scale * z, set_to(noted, "scale", 3.0)),
        (lambda: aliased, set_to(noted, "scale", 4.0)),
        (lambda: lambda z: table["scale"] * z, lambda: table.update(scale=2.0)),
        (lambda: lambda z: len(chosen) * z, lambda: chosen.add(2)),
        (lambda: callable_object, set_to(callable_object, "scale")),
        (lambda: callable_object.method, set_to(callable_object, "scale", 3.0)),
        (lambda: by_code, set_to(Loss, "method", lambda self, z, target: -z)),
        (lambda: lambda z: float(os.environ["SCALE"]) * z, lambda: environment.update(SCALE="2")),
        (lambda: later, lambda: later.__globals__.update(unbound_yet=1.0)),
    ]  # fmt: skip


@pytest.mark.parametrize("case", range(29))
def test_what_is_read_of_something_that_changed_is_never_stale(case, monkeypatch):
    monkeypatch.setenv("SCALE", "1")
    monkeypatch.setattr(Loss, "method", Loss.method)  # which a case replaces
    cases = alter()
    assert len(cases) == 29
    make, change = cases[case]
    kept = make()
    before, built = Static(kept), Static(make())
    change()
    assert built != Static(make())
    # A function that is kept is told apart, too, where what it reads is known.
    assert before != Static(kept)
    vars(sys.modules[__name__]).pop("unbound_yet", None)


SCHEDULES = {
    "cosine": lambda: optax.cosine_decay_schedule(0.1, 10),
    "exponential": lambda: optax.exponential_decay(0.1, 5, 0.9),
    "warm": lambda: optax.warmup_cosine_decay_schedule(0.0, 0.1, 2, 10),
    "joined": lambda: optax.join_schedules([optax.constant_schedule(0.1)] * 2, [3]),
    "pieces": lambda: optax.piecewise_constant_schedule(0.1, {3: 0.5}),
    "own": lambda: lambda step: 0.1 * jnp.exp(-step) + optax.linear_schedule(0.1, 0.2, 3)(step),
}
OPTIMIZERS = {
    "array": lambda: optax.sgd(jnp.float32(0.1)),
    "momentum": lambda: functools.partial(optax.sgd, momentum=0.9)(0.1),
    "chain": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.rmsprop(1e-2)),
    "noise": lambda: optax.chain(optax.add_noise(0.1, 0.5, key=jax.random.key(1)), optax.sgd(0.1)),
    "masked": lambda: optax.adamw(0.1, mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p)),
    "injected": lambda: optax.inject_hyperparams(optax.adam)(optax.linear_schedule(0.1, 0.2, 3)),
    "every two": lambda: optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation(),
    "parts": lambda: optax.partition({"x": optax.adam(0.1)}, lambda p: jax.tree.map(lambda _: "x", p)),
    "schedule-free": lambda: optax.contrib.schedule_free_adamw(0.1),
    "lbfgs": optax.lbfgs,
    **{name: lambda make=make: optax.sgd(make()) for name, make in SCHEDULES.items()},
    **{
        name: lambda name=name: getattr(optax, name)(0.1)
        for name in ["adam", "adabelief", "adafactor", "adagrad", "lamb", "lion", "nadam", "radam", "yogi", "novograd"]
    },
    **{
        name: lambda name=name: getattr(optax.contrib, name)(0.1)
        for name in ("ademamix", "muon", "prodigy", "dowg")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_built_anew_is_the_same_before_and_after_a_step(name):
    make = OPTIMIZERS[name]
    _origins.CONSTANTS.clear()  # as in a new process
    _origins._classes.clear()
    optimizer, before = make(), Static(make())
    assert Static(optimizer) == before == Static(make())
    assert hash(Static(optimizer)) == hash(before)
    assert digest(optimizer) == digest(make())
    if name != "lbfgs":  # which asks for the loss
        params = {"weight": jnp.ones((2, 2))}
        optimizer.update(params, optimizer.init(params), params)
    assert Static(optimizer) == before == Static(make())


SPACES = {"jnp": jnp, "jax.nn": jax.nn, "jax.lax": jax.lax, "ls": ls, "ls.losses": ls.losses, "optax": optax, "np": np}  # fmt: skip


@pytest.mark.parametrize("space", SPACES)
def test_a_function_of_what_is_installed_is_the_same_when_written_anew(space):
    found = SPACES[space]
    for name in dir(found):
        value = getattr(found, name)
        if isinstance(value, types.FunctionType | type(jnp.sin) | type(jnp.add) | np.ufunc):
            make = eval(f"lambda: lambda z, t: {space}.{name}(z) * t")
            _origins.CONSTANTS.clear()  # as in a new process
            _origins._classes.clear()
            assert Static(make()) == Static(make()), name
            assert not Static(make()).traced


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


def test_a_schedule_that_rebinds_what_it_captured_is_still_that_of_its_numbers():
    assert Static(optax.sgd(optax.cosine_decay_schedule(0.1, 10))) != Static(
        optax.sgd(optax.cosine_decay_schedule(0.1, 11))
    )


def test_a_captured_integer_is_no_float():
    def power(exponent):
        return lambda x: x**exponent

    assert Static(power(2)) != Static(power(2.0))


def test_a_key_is_called_as_its_function_is():
    assert Static(lambda x, *, y: (x, y))(1, y=2) == (1, 2)


def test_a_value_that_holds_itself_is_read():
    value = [1]
    value.append(value)
    assert Static(capture(value)) == Static(capture(value))
    assert Static(value) == Static(value)
    deep = []
    for _ in range(10**5):
        deep = [deep]
    assert Static(capture(deep)) != Static(capture([]))


# Digests.


def test_a_digest_is_of_dtype_shape_and_bytes():
    arrays = [
        np.arange(4),
        np.arange(4.0),
        np.arange(4, dtype=np.float32),
        np.arange(4).reshape(2, 2),
    ]
    arrays += [np.array([0.0]), np.array([-0.0]), np.array([]), np.arange(4).astype(">i8")]
    arrays += [jnp.ones(2, jnp.bfloat16), jnp.ones(2, jnp.float16), jax.random.key(0)]
    arrays += [jax.random.key(0, impl="rbg"), jax.random.key_data(jax.random.key(0))]
    assert len(set(map(digest, arrays))) == len(arrays)
    assert digest(np.arange(6).reshape(2, 3).T.copy()) == digest(np.arange(6).reshape(2, 3).T)
    assert digest(np.arange(9)[::2]) == digest(np.arange(9)[::2].copy())
    shared = np.ones(2)
    assert digest((shared, shared)) == digest((np.ones(2), np.ones(2)))


def test_a_digest_of_what_is_traced_is_refused():
    with pytest.raises(ValueError, match=r"^value: expected concrete values"):
        jax.jit(digest)(1.0)


ELSEWHERE = """
import functools, threading
import jax, jax.numpy as jnp, optax
import logistack as ls
from logistack import _origins
from logistack._static import digest
class Own:
    def __init__(self): self.scale, self.lock = 1.0, threading.Lock()
    def __call__(self, z, t): return self.scale * z * len({"a", "b", "c"})
names = {"one", "two", "three"}
params = ls.init_params(jax.random.key(0), (2, 3, 1))
for value in (
    params, ls.init_state(params, optax.adam(0.1)), optax.adam(optax.cosine_decay_schedule(0.1, 9)),
    lambda z, t: jnp.sum(z) * len(names) * ls.losses.sigmoid_cross_entropy(z, t), Own(), Own().__call__,
    functools.partial(optax.sgd, momentum=0.9), jax.jit(lambda x: -x), jnp.sin, {"a": [1, 2.5, None, "b", b"c"]}, names, 2**70, print,
):
    print(digest(value))
"""


def test_a_digest_is_the_same_in_every_process():
    said = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout.split()
        for seed, script in (("1", ELSEWHERE), ("2", "# moved\n\n" + ELSEWHERE))
    ]  # fmt: skip
    assert said[0] == said[1]
    assert len(set(said[0])) == 13
