"""Named tuples that `jax.export` writes into a file and reads back."""

from typing import TypeVar

import jax

T = TypeVar("T", bound=type)


def exported(kind: T) -> T:
    """Registers a named tuple of this library, by its name, for `jax.export`.

    A process that reads an exported function back knows the type once its room is imported. The
    states of an optimizer are Optax's to register, or the user's: JAX takes one name for a type.
    """
    jax.export.register_namedtuple_serialization(kind, serialized_name=f"logistack.{kind.__name__}")
    return kind
