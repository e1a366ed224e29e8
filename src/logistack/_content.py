"""The content of values, functions among them, as something that can be compared."""

import builtins
import collections
import contextlib
import copyreg
import enum
import functools
import hashlib
import struct
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from logistack._origins import (
    CONSTANTS,
    Origin,
    class_origin,
    is_constant,
    module_origin,
    origin_of,
    rebound,
    uses_of,
)


class Identity:
    """Equal to the same object alone, which it keeps alive, so that no other takes its address."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.value is other.value


class Array(NamedTuple):
    """An array: what its numbers are, and how JAX treats them."""

    dtype: str
    shape: tuple[int, ...]
    digest: bytes
    treatment: Any


# Reading.


class Reader:
    """Reads the content of one value.

    Attributes:
        complete: whether everything that the value can reach is in the content.
        traced: whether a value that is being traced is in it.
        frozen: whether nothing in it can change: constants, and installed functions that captured
            such and bind none of them anew.
    """

    def __init__(self) -> None:
        self.complete = True
        self.traced = False
        self.frozen = True
        self._places: dict[int, tuple[int, Any]] = {}

    def read(self, value: Any) -> Any:
        """A hashable value, equal for equal content."""
        kind = type(value)
        if kind in _PLAIN:
            return (kind, value)
        if kind is float:  # 0.0 == −0.0, but 1 / ±0 differ
            return (kind, value.hex())
        if kind is complex:
            return (kind, value.real.hex(), value.imag.hex())
        if kind is tuple:
            return (kind, *map(self.read, value))
        if id(value) in CONSTANTS:
            return Identity(value)
        self.frozen &= kind is types.FunctionType or (
            isinstance(value, tuple)
            and class_origin(kind) is not Origin.USER
            and not hasattr(value, "__dict__")
        )
        if isinstance(value, jax.core.Tracer):
            self.traced = True
            return self._unknown(value)
        if isinstance(value, jax.Array):
            return self._jax_array(value)
        if kind is np.ndarray or isinstance(value, np.generic):
            return self._array(value)
        if isinstance(value, np.dtype):
            return (np.dtype, value)
        # Read once and then told by its place: it may hold itself, or stand often.
        if id(value) in self._places:
            return ("place", self._places[id(value)][0])
        self._places[id(value)] = len(self._places), value
        content = self._parts(value)
        if type(content) is Identity:
            # Without parts it takes no number, or those after it would depend on what is cached.
            del self._places[id(value)]
        return content

    def _parts(self, value: Any) -> Any:
        """The content of what may have parts that are read in turn."""
        reads = _READS.get(type(value))
        if reads is not None:
            return reads(self, value)
        if isinstance(value, type):
            return self._class(value)
        if is_constant(value):
            return Identity(value)
        return self._object(value)

    def _unknown(self, value: Any) -> Any:
        """What is known of an object whose content is not."""
        self.complete = False
        return Identity(value)

    def _all(self, values: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(map(self.read, values))

    def _mapping(self, value: Mapping[Any, Any]) -> Any:
        return (type(value), *self._all(value), *self._all(value.values()))

    def _sequence(self, value: Iterable[Any]) -> Any:
        return (type(value), *self._all(value))

    def _set(self, value: Iterable[Any]) -> Any:
        return (type(value), frozenset(self._all(value)))

    def _array(self, value: Any) -> Any:
        dtype = value.dtype
        if dtype.hasobject or dtype.names or dtype.kind == "T":  # whose bytes are not their content
            return self._unknown(value)
        flat = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        name = dtype.name if dtype.isnative else dtype.str
        return Array(name, value.shape, hashlib.sha256(flat.data).digest(), type(value))

    def _jax_array(self, value: jax.Array) -> Any:
        if value.is_deleted() or not value.is_fully_addressable:
            return self._unknown(value)
        treatment: Any = (jax.Array, value.sharding, value.committed)
        if jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
            data = self._array(np.asarray(jax.random.key_data(value)))
            return data._replace(dtype=value.dtype.name, treatment=treatment)
        treatment += (value.weak_type,)
        return self._array(np.asarray(value))._replace(treatment=treatment)

    def _partial(self, value: functools.partial[Any]) -> Any:
        return ("partial", *self._all((value.func, value.args, value.keywords, vars(value))))

    def _method(self, value: types.MethodType) -> Any:
        return ("method", self.read(value.__func__), self.read(value.__self__))

    def _builtin(self, value: types.BuiltinFunctionType) -> Any:
        """A function written in C, which may be a method of an object or of a class."""
        if is_constant(value):
            return Identity(value)
        if value.__self__ is None or isinstance(value.__self__, types.ModuleType):
            return self._unknown(value)
        return ("method", value.__name__, self.read(value.__self__))

    def _wrapper(self, value: Any) -> Any:
        """A function as `jax.jit` or `functools.cache` returns it."""
        if is_constant(value):
            return Identity(value)
        # Two of them may treat their function otherwise, so that each is itself, too.
        given = {name: part for name, part in vars(value).items() if not name.startswith("_")}
        return (Identity(value), *self._all((value.__wrapped__, given)))

    def _descriptor(self, value: Any) -> Any:
        parts = [
            getattr(value, name, None) for name in ("__func__", "func", "fget", "fset", "fdel")
        ]
        return (type(value), *self._all(parts))

    def _itself(self, value: Any) -> Any:
        return Identity(value)

    def _function(self, function: types.FunctionType) -> Any:
        code = function.__code__
        origin = origin_of(code.co_filename, function.__module__)
        self.complete &= origin is not Origin.EFFECTS
        if origin is not Origin.USER and "<locals>" not in code.co_qualname:
            return Identity(function)
        state = self._all((function.__defaults__, function.__kwdefaults__, vars(function) or None))
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        self.frozen &= origin is Origin.CONSTANT and not rebound(code)
        if origin is Origin.USER:
            captured = self._used(function, dict(cells))
            return ("function", code, state, captured)
        return ("function", Identity(code), state, tuple(self._held(code, *c) for c in cells))

    def _held(self, code: types.CodeType, name: str, cell: types.CellType) -> Any:
        """What an installed function captured under a name."""
        try:
            content = cell.cell_contents
        except ValueError:  # a name that is not bound yet
            return ("unbound",)
        # Optax's cosine schedule makes its number of steps a float at its first call.
        changes = type(content) is int and name in rebound(code)
        return self.read(float(content) if changes else content)

    def _used(self, function: types.FunctionType, cells: dict[str, types.CellType]) -> Any:
        """What a user's function reads of what it captured, and of the globals."""
        uses = uses_of(function.__code__)
        self.complete &= not uses.imports
        inherent = function.__globals__.get("__builtins__", builtins)
        inherent = inherent if isinstance(inherent, dict) else vars(inherent)
        found = []
        for name, path in uses.paths:
            # What is not bound yet is left out, and makes another function once it is.
            if name not in cells:
                space = function.__globals__ if name in function.__globals__ else inherent
            else:
                space = {}
                with contextlib.suppress(ValueError):
                    space[name] = cells[name].cell_contents
            if name in space:
                found.append((name, path, self._at(space[name], path)))
        return tuple(found)

    def _at(self, value: Any, path: tuple[str, ...]) -> Any:
        """What code that reads attributes of a value, one after another, can learn of it."""
        for name in path:
            if isinstance(value, types.ModuleType):
                found = vars(value).get(name, value)
                if found is value and module_origin(value) is not Origin.USER:
                    with contextlib.suppress(Exception):
                        found = getattr(value, name)  # which may import it now
                if found is value:
                    break
            elif isinstance(value, enum.EnumMeta):
                found = value.__members__.get(name, value)
            elif isinstance(value, type) and class_origin(type(value)) is not Origin.USER:
                owners = (base for base in value.__mro__ if name in vars(base))
                found = vars(next(owners, value)).get(name, value)
                if hasattr(type(found), "__get__"):
                    break
            elif type(value) in (types.FunctionType, *_WRAPPERS) and name in vars(value):
                found = vars(value)[name]
            else:
                # What a function says of itself, its name say, can be set.
                self.complete &= not isinstance(value, types.FunctionType) or is_constant(value)
                break
            value = found
        return self.read(value)

    def _class(self, value: type) -> Any:
        origin = class_origin(value)
        self.complete &= origin is not Origin.EFFECTS
        if origin is not Origin.USER:
            return Identity(value)
        members = {name: part for name, part in vars(value).items() if name not in _INERT}
        bases = tuple(map(self._class_behind, (type(value), *value.__bases__)))
        return ("class", Identity(value), bases, tuple(members), self._all(members.values()))

    def _class_behind(self, value: type) -> Any:
        """The class of an object, or the base of a class, which nobody calls."""
        return Identity(value) if class_origin(value) is not Origin.USER else self.read(value)

    def _object(self, value: Any) -> Any:
        """An instance of a class that has all its state in what Python can read."""
        kind = type(value)
        base = next(base for base in kind.__mro__ if base in _CORES)
        if kind is not types.SimpleNamespace and _has_state_in_c(kind, base):
            return self._unknown(value)
        slots = copyreg._slotnames(kind)  # type: ignore[attr-defined]
        state = []
        for name in slots:
            with contextlib.suppress(AttributeError):
                state.append((name, self.read(object.__getattribute__(value, name))))
        with contextlib.suppress(AttributeError):
            attributes = object.__getattribute__(value, "__dict__")
            state += [(name, self.read(part)) for name, part in attributes.items()]
        return ("object", self._class_behind(kind), self._all(_CORES[base](value)), tuple(state))


_CORES: dict[type, Callable[[Any], Iterable[Any]]] = {
    object: lambda _: (),
    dict: lambda value: (*dict.keys(value), *dict.values(value)),
    **{base: base.__iter__ for base in (tuple, list)},
    set: lambda value: (frozenset(set.__iter__(value)),),
    frozenset: lambda value: (frozenset(frozenset.__iter__(value)),),
    **{base: base.__getnewargs__ for base in (str, bytes, int, float, complex)},  # type: ignore[union-attr]
}
_WRAPPERS = type(jax.jit(lambda: None)), type(functools.cache(lambda: None))
_PLAIN = {type(None), bool, int, str, bytes, type(...), type(NotImplemented), range}
_READS: dict[type, Callable[[Reader, Any], Any]] = {
    types.FunctionType: Reader._function,
    types.MethodType: Reader._method,
    types.BuiltinFunctionType: Reader._builtin,
    types.ModuleType: Reader._unknown,
    object: Reader._itself,
    functools.partial: Reader._partial,
    jax.tree_util.Partial: Reader._partial,
    **dict.fromkeys((list, collections.deque), Reader._sequence),
    **dict.fromkeys((dict, collections.OrderedDict, types.MappingProxyType), Reader._mapping),
    **dict.fromkeys((set, frozenset), Reader._set),
    **dict.fromkeys(_WRAPPERS, Reader._wrapper),
    **dict.fromkeys(
        (staticmethod, classmethod, property, functools.cached_property), Reader._descriptor
    ),
    # What a class written in C, or one with slots or named fields, has in place of functions.
    **dict.fromkeys(
        (
            types.MemberDescriptorType,
            types.GetSetDescriptorType,
            types.MethodDescriptorType,
            types.WrapperDescriptorType,
            types.ClassMethodDescriptorType,
            type(vars(optax.ScaleByAdamState)["mu"]),
        ),
        Reader._itself,
    ),
}
# Entries of a class that Python makes, and that say nothing which its code does not.
_INERT = {
    *("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__slotnames__"),
    *("__annotations__", "__annotations_cache__", "__annotate__", "__annotate_func__"),
    *("__abstractmethods__", "_abc_impl", "__parameters__", "__orig_bases__", "__type_params__"),
    *("__dataclass_params__", "__dataclass_fields__", "__match_args__"),
    *("__static_attributes__", "__firstlineno__"),
}


def _has_state_in_c(kind: type, base: type) -> bool:
    """Whether an object is larger than its base, its slots, and what Python adds to them."""
    managed = 1 << 4, 1 << 3  # Py_TPFLAGS_MANAGED_DICT and _WEAKREF, which lie before the object
    words = len(copyreg._slotnames(kind))  # type: ignore[attr-defined]
    words += kind.__dictoffset__ != 0 and not kind.__flags__ & managed[0]
    words += kind.__weakrefoffset__ > 0 and not kind.__flags__ & managed[1]
    return kind.__basicsize__ > base.__basicsize__ + words * struct.calcsize("P")
