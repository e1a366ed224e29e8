"""What code reads of what lies outside of it, and where code comes from."""

import dis
import enum
import functools
import itertools
import re
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

# What code reads.


class Uses(NamedTuple):
    """What code, functions defined inside it included, may look up outside of it.

    Attributes:
        paths: names, of globals or of what it captured, each with the attributes read of it.
        imports: whether it imports a module.
    """

    paths: tuple[tuple[str, tuple[str, ...]], ...]
    imports: bool


_LOADS = {
    *("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"),
    *("LOAD_FROM_DICT_OR_GLOBALS", "LOAD_FROM_DICT_OR_DEREF"),
}


@functools.lru_cache(4096)
def uses_of(code: types.CodeType) -> Uses:
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    paths: list[tuple[str, tuple[str, ...]]] = []
    for place, step in enumerate(steps):
        if step.opname in _LOADS:
            reads = itertools.takewhile(
                lambda step: step.opname in ("LOAD_ATTR", "LOAD_METHOD"), steps[place + 1 :]
            )
            paths.append((step.argval, tuple(step.argval for step in reads)))
    if "__class__" in code.co_freevars:  # which `super()` reads
        paths.append(("__class__", ()))
    imports = any(step.opname == "IMPORT_NAME" for step in steps)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = uses_of(constant)
            paths += inner.paths
            imports |= inner.imports
    return Uses(tuple(dict.fromkeys(paths)), imports)


@functools.lru_cache(4096)
def rebound(code: types.CodeType) -> frozenset[str]:
    """The captured names that a function binds anew when it is called."""
    stored = {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_DEREF"}
    return frozenset(stored & set(code.co_freevars))


# What is a constant.


class Origin(enum.Enum):
    USER = enum.auto()  # can be changed while a process runs
    CONSTANT = enum.auto()  # installed
    EFFECTS = enum.auto()  # installed, but what it does is not a matter of its arguments alone


_INSTALLED = [
    *(sysconfig.get_path(name) for name in ("purelib", "platlib")),
    *(str(Path(str(module.__file__)).parent) for module in (jax, np, optax)),
    str(Path(__file__).parent),
]
_STANDARD = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
_PURE = {
    *("_collections", "_functools", "_operator", "abc", "argparse", "bisect", "builtins", "cmath"),
    *("collections", "contextlib", "copy", "dataclasses", "enum", "fractions", "functools"),
    *(
        "heapq",
        "itertools",
        "math",
        "numbers",
        "operator",
        "re",
        "reprlib",
        "statistics",
        "string",
        "types",
    ),
    *("typing", "warnings"),
}
_EFFECTS = {
    *("open", "input", "eval", "exec", "compile", "__import__", "globals", "locals", "vars", "id"),
    "breakpoint",
}


@functools.lru_cache(4096)
def origin_of(file: str | None, module: str | None) -> Origin:
    """What is to be expected of code in a file, or of a module without one."""
    if file is None or file.startswith("<frozen "):
        name = (file or module or "").removeprefix("<frozen ")
    else:
        path = Path(file)
        if "numpy" in path.parts and "random" in path.parts:
            return Origin.EFFECTS
        installed = any(path.is_relative_to(folder) for folder in _INSTALLED)
        if installed or not {"site-packages", "dist-packages"}.isdisjoint(path.parts):
            return Origin.CONSTANT
        within = [path.relative_to(f) for f in _STANDARD if path.is_relative_to(f)]
        name = within[0].as_posix().removeprefix("lib-dynload/") if within else ""
    root = re.split(r"[./>]", name)[0]
    if root not in sys.stdlib_module_names:
        return Origin.USER
    return Origin.CONSTANT if root in _PURE else Origin.EFFECTS


def module_origin(module: types.ModuleType) -> Origin:
    """What is to be expected of what a module defines."""
    return origin_of(getattr(module, "__file__", None), module.__name__)


CONSTANTS: dict[int, Any] = {}  # by address: what is constant is kept


def _named(value: Any) -> Origin:
    """The origin of the module that has a value under the name the value gives itself."""
    place = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not (isinstance(place, str) and isinstance(name, str) and place in sys.modules):
        return Origin.USER
    module: Any = sys.modules[place]
    found = module
    for part in name.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return module_origin(module) if found is value else Origin.USER


def is_constant(value: Any) -> bool:
    """Whether a value that is no class is a constant of an installed module."""
    if id(value) in CONSTANTS:
        return True
    if class_origin(type(value)) is Origin.USER or _named(value) is not Origin.CONSTANT:
        return False
    if type(value) is types.BuiltinFunctionType and value.__name__ in _EFFECTS:
        return False
    CONSTANTS[id(value)] = value
    return True


_classes: dict[int, tuple[type, Origin]] = {}  # by address: those installed are kept


def class_origin(value: type) -> Origin:
    """What is to be expected of a class."""
    if id(value) in _classes:
        return _classes[id(value)][1]
    origin = _named(value)
    # Python's own classes cannot be changed, and some of JAX's do not stand where they say.
    immutable = value.__flags__ & 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE
    if origin is Origin.USER and (
        immutable or str(value.__module__).split(".")[0] in ("jax", "jaxlib")
    ):
        origin = Origin.CONSTANT
    if origin is not Origin.USER:
        _classes[id(value)] = value, origin
    return origin
