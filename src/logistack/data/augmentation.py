"""Deformed images of handwritten digits, new ones for every epoch."""

import math
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real
from numpy.typing import NDArray

from logistack import _checks

Magnitude: TypeAlias = float | Float[ArrayLike, ""]


def augment(
    key: PRNGKeyArray,
    image: Real[ArrayLike, "height width"],
    *,
    rotation: Magnitude = 15.0,
    shear: Magnitude = 15.0,
    scaling: Magnitude = 0.15,
    elastic_strength: Magnitude = 36.0,
    elastic_scale: float = 5.5,
) -> Float[Array, "height width"]:
    r"""Deforms one image at random, by an affine map and an elastic one in a single resampling.

    The pixel at p becomes the image's value at c + A⁻¹(p − c) + α (G ∗ u)(p). A scales the two
    axes, shears rows sideways and rotates, about the center c. The displacements u are uniform on
    ±1 for each pixel and axis, 0 outside the image, and G is a Gaussian of sum 1, so that pixels
    at the border, where no ink is, move least. Between pixels the interpolation is bilinear;
    beyond the border the nearest pixel repeats, whatever the value of paper is.

    Every magnitude except `elastic_scale` may be traced, and may differ between the images of a
    batch: Cireşan et al. halve `rotation` and `shear` for the similar digits 1 and 7.

    Args:
        key: a JAX random key, for this image alone.
        image: `(height, width)`; integers are converted to float32. For a batch,
            `jax.vmap(augment)(keys, images)`.
        rotation: β; the angle is uniform on ±β, in degrees.
        shear: the angle by which upright strokes lean is uniform on ± this many degrees, below 90.
        scaling: γ, below 1; the factor of each axis is uniform on 1 ± γ.
        elastic_strength: α, in pixels. Away from the border the displacements have a standard
            deviation of α / (σ √(12π)), which is 1.07 for the defaults.
        elastic_scale: σ, the standard deviation of G in pixels. Changing it compiles a new
            program.

    Returns:
        The deformed image, `(height, width)`, in the image's dtype; the image itself, exactly,
        where `rotation`, `shear`, `scaling` and `elastic_strength` are 0.

    Raises:
        ValueError: if the image does not have two axes or is not finite, or a magnitude lies
            outside its limits.
        TypeError: if `key` is not a random key, a dtype is not a real number's, or
            `elastic_scale` is traced.

    Sources: Simard, Steinkraus & Platt 2003, section 2, for the elastic deformation; Cireşan,
    Meier, Gambardella & Schmidhuber 2010, section 2, for the defaults.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> images = jnp.zeros((3, 28, 28)).at[:, 4:24, 12:16].set(1.0)
    >>> keys = jax.random.split(jax.random.key(0), 3)
    >>> jax.jit(jax.vmap(augment))(keys, images).shape
    (3, 28, 28)
    """
    _checks.require_key("key", key)
    image = _require_image("image", image)
    dtype = _checks.float32_or_wider(image.dtype)
    rotation = _require_magnitude("rotation", rotation, dtype)
    shear = _require_magnitude("shear", shear, dtype, below=90.0)
    scaling = _require_magnitude("scaling", scaling, dtype, below=1.0)
    strength = _require_magnitude("elastic_strength", elastic_strength, dtype)
    scale = _require_scale("elastic_scale", elastic_scale)

    affine_key, elastic_key = jax.random.split(key)
    draws = jax.random.uniform(affine_key, (4,), dtype, -1.0, 1.0)
    places = _affine_coordinates(
        image.shape, rotation * draws[0], shear * draws[1], 1.0 + scaling * draws[2:]
    )
    places += strength * _smooth_field(elastic_key, image.shape, scale, dtype)
    return _resample(image, places)


def _affine_coordinates(
    shape: tuple[int, ...], rotation: Array, shear: Array, scales: Float[Array, "2"]
) -> Float[Array, "2 height width"]:
    """Where the pixels come from of an image that is scaled, then sheared, then rotated.

    In degrees, a positive shear leans upright strokes to the right, and a positive rotation turns
    counterclockwise.
    """
    height, width = shape
    center_y, center_x = (height - 1) / 2, (width - 1) / 2
    y = (jnp.arange(height, dtype=scales.dtype) - center_y)[:, None]
    x = (jnp.arange(width, dtype=scales.dtype) - center_x)[None]
    # Element by element, and each step the inverse of its own: matrices would round what is 0.
    turn = jnp.deg2rad(rotation)
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    y, x = cos * y + sin * x, cos * x - sin * y
    x = x + jnp.tan(jnp.deg2rad(shear)) * y
    return jnp.stack([y / scales[0] + center_y, x / scales[1] + center_x])


def _smooth_field(
    key: PRNGKeyArray, shape: tuple[int, ...], scale: float, dtype: Any
) -> Float[Array, "2 height width"]:
    """Displacements uniform on ±1, convolved with a Gaussian of sum 1."""
    # Drawing is what costs: the 32 bits of a pixel are 16 for each of its two displacements.
    bits = jax.lax.bitcast_convert_type(jax.random.bits(key, shape, jnp.uint32), jnp.uint16)
    noise = (bits.astype(dtype) + 0.5) / 2.0**15 - 1.0
    rows, columns = (jnp.asarray(_gaussian_matrix(size, scale), dtype) for size in shape)
    return jnp.einsum("ij,jka,lk->ail", rows, noise, columns)


def _gaussian_matrix(size: int, scale: float) -> NDArray[np.float64]:
    """The matrix (size, size) that convolves with a sampled Gaussian of sum 1, and 0 outside."""
    # Beyond six standard deviations there are 2e-9 of the sum.
    reach = np.arange(-math.ceil(6 * scale), math.ceil(6 * scale) + 1)
    offsets = np.arange(size)[:, None] - np.arange(size)
    return np.exp(-0.5 * (offsets / scale) ** 2) / np.exp(-0.5 * (reach / scale) ** 2).sum()


def _resample(
    image: Float[Array, "height width"], places: Float[Array, "2 height width"]
) -> Float[Array, "height width"]:
    """The image's values at the places (y, x), bilinear, the border repeated beyond itself."""
    values = map_coordinates(image.astype(places.dtype), list(places), order=1, mode="nearest")
    return values.astype(image.dtype)


def _require_image(name: str, image: Any) -> Float[Array, "height width"]:
    image = _checks.require_numeric(name, image)
    if not jnp.issubdtype(image.dtype, jnp.floating):
        image = image.astype(jnp.float32)
    if image.ndim != 2 or image.size == 0:
        hint = " (this function takes one image: use jax.vmap)" if image.ndim == 3 else ""
        raise ValueError(f"{name}: expected shape (height, width), got {image.shape}{hint}")
    _checks.require_finite(name, image)
    return image


def _require_magnitude(name: str, value: Any, dtype: Any, below: float = math.inf) -> Array:
    value = _checks.require_numeric(name, value)
    if value.ndim:
        raise ValueError(f"{name}: expected a scalar, got shape {value.shape}")
    limits = _checks.range_of(value)
    if limits is not None and not 0 <= limits[0] < below:  # true for NaN
        limit = "finite" if below == math.inf else f"below {below:g}"
        raise ValueError(f"{name}: expected at least 0 and {limit}, got {limits[0]}")
    return value.astype(dtype)


def _require_scale(name: str, scale: Any) -> float:
    # How far the Gaussian reaches is the length of an array, which no tracer can be.
    if isinstance(scale, bool) or not isinstance(scale, int | float | np.integer | np.floating):
        raise TypeError(f"{name}: expected a number that is not traced, got {scale!r}")
    if not 0 < scale < math.inf:
        raise ValueError(f"{name}: expected above 0 and finite, got {scale}")
    return float(scale)
