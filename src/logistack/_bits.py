"""What floating-point numbers are made of."""

import jax
import jax.numpy as jnp
from jaxtyping import Array


def bits_of(x: Array) -> Array:
    """The bits of float32 or float64 as signed integers: for x ≥ 0 in the order of the numbers."""
    return jax.lax.bitcast_convert_type(x, jnp.int64 if x.dtype == jnp.float64 else jnp.int32)
