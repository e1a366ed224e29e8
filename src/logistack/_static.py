"""Functions as compile-time constants, compared by what they compute rather than by identity."""

import functools
import types
from typing import Any, Generic, TypeVar

import jax
import numpy as np

T = TypeVar("T")


class Static(Generic[T]):
    """A function, or a tuple of functions, that keys a compiled program by its content.

    `optax.sgd(0.1)` builds new closures at every call. By identity they differ, and `jax.jit`
    would compile the same program again; here two functions are equal when their code, their
    defaults, their globals and, recursively, everything they captured are equal. What has no
    content that can be compared (an array, an object of an unknown class) is compared by identity.

    Attributes:
        value: the function or functions.
        traced: whether a value that is being traced was captured. Such a function belongs to one
            trace and must not key a program that outlives it.
    """

    def __init__(self, value: T) -> None:
        self.value = value
        self.traced = False
        self._content = self._fingerprint(value, ())
        self._hash = hash(self._content)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self._content == other._content

    def _fingerprint(self, value: Any, outer: tuple[int, ...]) -> Any:
        """A hashable value, equal for equal content; `outer` are the values being taken apart."""
        if id(value) in outer:  # a function that captured itself
            return ("outer", outer.index(id(value)))
        outer = (*outer, id(value))

        def inside(part: Any) -> Any:
            return self._fingerprint(part, outer)

        match value:
            case types.FunctionType():
                captured = tuple(inside(_contents(cell)) for cell in value.__closure__ or ())
                defaults = (inside(value.__defaults__), inside(value.__kwdefaults__))
                return ("function", value.__code__, id(value.__globals__), defaults, captured)
            case functools.partial():
                return ("partial", inside(value.func), inside(value.args), inside(value.keywords))
            case tuple() | list():
                return (type(value), tuple(inside(item) for item in value))
            case dict():
                return (dict, tuple((inside(k), inside(v)) for k, v in value.items()))
            case float():  # 0.0 == −0.0, but 1 / ±0 differ
                return (float, value.hex())
            case None | bool() | int() | complex() | str() | bytes() | np.dtype() | type():
                return (type(value), value)
            case np.generic():
                return (value.dtype, value.tobytes())
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


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is not bound yet
        return cell
