"""Functions as compile-time constants, compared by what they compute rather than by identity."""

import dis
import functools
import hashlib
import types
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import jax
import numpy as np

T = TypeVar("T")


class Static(Generic[T]):
    """A function, or a tuple of functions, that keys a compiled program by its content.

    `optax.sgd(0.1)` builds new closures at every call. By identity they differ, and `jax.jit`
    would compile the same program again; here two functions are equal when their code, their
    defaults and, recursively, everything they captured and every global they name are equal. The
    content is taken when the key is made, so that a changed global or array makes another key.
    What has no content that can be compared (an object of an unknown class) is compared by
    identity.

    Attributes:
        value: the function or functions.
        traced: whether a value that is being traced was captured. Such a function belongs to one
            trace and must not key a program that outlives it.
    """

    def __init__(self, value: T) -> None:
        self.value = value
        self.traced = False
        self._places: dict[int, int] = {}
        self._content = self._fingerprint(value)
        self._hash = hash(self._content)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.value(*args, **kwargs)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self._content == other._content

    def _fingerprint(self, value: Any) -> Any:
        """A hashable value, equal for equal content."""
        if isinstance(value, types.FunctionType | list | dict):
            # Taken apart once and then called by its place: it may hold itself, or stand often.
            if id(value) in self._places:
                return ("place", self._places[id(value)])
            self._places[id(value)] = len(self._places)

        def inside(*parts: Any) -> tuple[Any, ...]:
            return tuple(map(self._fingerprint, parts))

        match value:
            case types.FunctionType():
                captured = inside(*_captured(value))
                named = [
                    (name, *inside(value.__globals__[name]))
                    for name in sorted(set(_names(value.__code__)) & value.__globals__.keys())
                ]
                defaults = inside(value.__defaults__, value.__kwdefaults__)
                return ("function", value.__code__, defaults, captured, tuple(named))
            case functools.partial():
                return ("partial", *inside(value.func, value.args, value.keywords))
            case types.MethodType():
                return ("method", *inside(value.__func__, value.__self__))
            case tuple() | list():
                return (type(value), *inside(*value))
            case dict():
                return (dict, *inside(*value, *value.values()))
            case np.generic() | np.ndarray() if not value.dtype.hasobject:
                content = hashlib.sha256(value.tobytes()).digest()
                return (type(value), value.dtype, value.shape, content)
            case float():  # 0.0 == −0.0, but 1 / ±0 differ
                return (float, value.hex())
            case None | bool() | int() | complex() | str() | bytes() | np.dtype() | type():
                return (type(value), value)
        self.traced |= isinstance(value, jax.core.Tracer)
        return _Identity(value)


class _Identity:
    """Equal to the same object alone, which it keeps alive, so that no other takes its address."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.value is other.value


def _names(code: types.CodeType) -> Iterator[str]:
    """The names that code may look up in its globals, functions defined inside it included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _captured(function: types.FunctionType) -> Iterator[Any]:
    """What a function captured, in order."""
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            content = cell.cell_contents
        except ValueError:  # a name that is not bound yet
            content = cell
        # Optax's cosine schedule makes its number of steps a float at its first call.
        changes = type(content) is int and name in _rebound(code)
        yield float(content) if changes else content


@functools.cache
def _rebound(code: types.CodeType) -> frozenset[str]:
    """The captured names that a function binds anew when it is called."""
    stored = {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_DEREF"}
    return frozenset(stored & set(code.co_freevars))
