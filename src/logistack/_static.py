"""Functions as compile-time constants, compared by what they compute; and digests of content.

A program may be used again only for a function that computes the same. Two functions do so when
their code is the same and everything they can reach is: what they captured, their defaults, the
globals they name, the attributes they read, and so on, recursively. Where all of that can be
compared, it is compared; where any of it cannot, as with an object whose state is kept in C, the
function is equal to itself alone. Either way what is known of the content must be equal too, so
that a function that was changed in place is another one.

Python's built-in functions, its modules of pure functions, and what is defined in installed
packages, this one among them, are taken to be constants.
"""

import dataclasses
import functools
import hashlib
import types
import weakref
from pathlib import Path
from typing import Any, Generic, TypeVar

from logistack._content import Array, Identity, Reader
from logistack._origins import CONSTANTS, Origin, class_origin

T = TypeVar("T")


class Static(Generic[T]):
    """A function, or a tuple or dataclass of some, that keys a compiled program.

    `optax.sgd(0.1)` builds new closures at every call. By identity they differ, and `jax.jit`
    would compile the same program again; here they are equal, because their content is. Each
    function is compared by its content if that is known completely, and else by identity, as
    `jax.jit` does. The content is taken when the key is made: a function that reads a global,
    an attribute or an array that has changed since makes another key.

    A number inside a function is part of its content: `optax.sgd(0.1)` and `optax.sgd(0.2)` are
    two programs, of about 7 MB each, which JAX keeps until `jax.clear_caches()`.

    Attributes:
        value: the function or functions; calling the key calls it.
        traced: whether a value that is being traced was captured. Such a function belongs to one
            trace and must not key a program that outlives it.
    """

    def __init__(self, value: T) -> None:
        self.value = value
        self._content, self.traced = _content_of(value)
        self._hash = hash(self._content)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        function: Any = self.value
        return function(*arguments, **keywords)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self._content == other._content


def digest(value: Any) -> str:
    """Returns the SHA-256 of the content of a value, the same in every process.

    Arrays, NumPy's and JAX's alike, count by dtype, shape and bytes; random keys by their
    implementation and data; numbers and texts by type and value; functions by their code, without
    its place in the file, and by what they can reach. What is defined in installed packages counts
    by its qualified name. What is not known completely, as an object whose state is kept in C,
    counts by its class and by what is known. So equal content has equal digests, under one version
    of Python, of JAX and of the packages in use, and different digests mean different content;
    equal digests mean equal content but for that which is not known.

    Args:
        value: a pytree, a function, or plain data.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: if a value is being traced.

    >>> import jax.numpy as jnp, numpy as np, optax
    >>> digest(optax.sgd(0.1)) == digest(optax.sgd(0.1)) != digest(optax.sgd(0.2))
    True
    >>> digest({"weight": jnp.ones(2)}) == digest({"weight": np.ones(2, np.float32)})
    True
    """
    content, traced = _content_of(value)
    if traced:
        raise ValueError("value: expected concrete values, got some that are being traced")
    return _digest_of(content).hex()


def _content_of(value: Any) -> tuple[Any, bool]:
    """A hashable value, equal for equal content, and whether something in it is being traced."""
    kind = type(value)
    if kind is types.FunctionType and value in _frozen:
        return _frozen[value], False
    names = _fields_of(kind)  # type: ignore[arg-type]
    if names is not None:
        parts = value if kind is tuple else [getattr(value, name) for name in names]
        read = [*map(_content_of, parts)]
        return (kind, *[content for content, _ in read]), True in [traced for _, traced in read]
    reader = Reader()
    try:
        content = reader.read(value)
    except RecursionError:
        reader.complete, content = False, None
    if not reader.complete:
        content = ("itself", Identity(value), content)
    elif reader.frozen and kind is types.FunctionType:
        content = _frozen[value] = _Frozen(content)
    return content, reader.traced


class _Frozen:
    """Content that cannot change, with its hash."""

    __slots__ = ("_hash", "content")

    def __init__(self, content: Any) -> None:
        self.content = content
        self._hash = hash(content)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, _Frozen) and self.content == other.content)


# Most functions are keyed again and again, as the optimizer of one run after another: the content
# of one in which nothing can change is kept for as long as it lives.
_frozen: weakref.WeakKeyDictionary[types.FunctionType, _Frozen] = weakref.WeakKeyDictionary()


@functools.lru_cache(256)
def _fields_of(kind: type) -> tuple[str, ...] | None:
    """The fields of an installed class whose instances are read part by part."""
    if class_origin(kind) is Origin.USER:
        return None
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return getattr(kind, "_fields", () if kind is tuple else None)


# Digests.


def _digest_of(content: Any) -> bytes:
    parts: list[Any]
    match content:
        case _Frozen():
            return _digest_of(content.content)
        case Array():
            parts = ["array", content.dtype, content.shape, content.digest]
        case Identity():
            parts = ["named", _name_of(content.value)]
        case tuple():
            parts = ["tuple", *content]
        case frozenset():
            return hashlib.sha256(b"set" + b"".join(sorted(map(_digest_of, content)))).digest()
        case types.CodeType():
            parts = ["code", content.co_code, content.co_exceptiontable, content.co_consts]
            parts += [content.co_names, content.co_varnames, content.co_freevars]
            parts += [content.co_argcount, content.co_posonlyargcount, content.co_kwonlyargcount]
            parts += [content.co_flags]
        case type():
            parts = ["named", _name_of(content)]
        case float() | complex():  # a constant of code
            parts = [type(content).__name__, repr(content)]
        case int():
            text = f"{type(content).__name__} {content:x}"
            return hashlib.sha256(text.encode()).digest()
        case str():
            return hashlib.sha256(b"str" + content.encode("utf-8", "surrogatepass")).digest()
        case bytes():
            return hashlib.sha256(b"bytes" + content).digest()
        case _:  # None, an ellipsis, a range, a dtype
            return hashlib.sha256(f"{type(content).__name__} {content!r}".encode()).digest()
    return hashlib.sha256(b"".join(map(_digest_of, parts))).digest()


def _name_of(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return f"{Path(value.co_filename).name} {value.co_qualname}"
    says = isinstance(value, type | types.FunctionType) or id(value) in CONSTANTS
    named = value if says else type(value)
    name = getattr(named, "__qualname__", None) or getattr(named, "__name__", None)
    return f"{named.__module__}.{name}"
