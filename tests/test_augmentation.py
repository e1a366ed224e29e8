"""Deformed images: the affine and elastic maps of the papers, against SciPy and on real digits."""

import functools
import math
import os
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

import logistack as ls
from logistack.data import augmentation

KEY = jax.random.key(0)
SHAPE = (12, 9)  # not square, so that an axis taken for the other shows
IMAGE = np.random.default_rng(0).uniform(-0.5, 0.5, SHAPE).astype(np.float32)
OFF = {"rotation": 0.0, "shear": 0.0, "scaling": 0.0, "elastic_strength": 0.0}
DEFAULTS = {"rotation": 15.0, "shear": 15.0, "scaling": 0.15, "elastic_strength": 36.0}

augment = jax.jit(ls.data.augment, static_argnames="elastic_scale")


def affine(rotation, shear, scales):
    """The matrix that (y, x) from the center is multiplied by; angles in degrees."""
    turn, lean = np.deg2rad([rotation, shear])
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return rotate @ np.array([[1, 0], [-np.tan(lean), 1]]) @ np.diag(scales)


@functools.partial(jax.jit, static_argnames="shape")
def many_places(shape, keys, magnitudes):
    """Where pixels come from, seen from outside: images whose values are their coordinates."""
    ramps = jnp.stack(jnp.meshgrid(*map(jnp.arange, map(float, shape)), indexing="ij"))
    one = functools.partial(ls.data.augment, **magnitudes)
    return jax.vmap(lambda key: jax.vmap(one, (None, 0))(key, ramps))(keys)


def drawn_matrices(draws, **magnitudes):
    """The affine matrices of so many keys, of which interpolation of a ramp loses nothing."""
    keys = jax.random.split(KEY, draws)
    places = np.asarray(many_places((7, 7), keys, {**OFF, **magnitudes}), np.float64)
    np.testing.assert_allclose(places[:, :, 3, 3], 3, atol=1e-6)  # the center stays
    slopes = [places[:, :, 4, 3] - places[:, :, 2, 3], places[:, :, 3, 4] - places[:, :, 3, 2]]
    return np.linalg.inv(np.stack(slopes, axis=-1) / 2)


# Float32 coordinates of an image of 12 rows are right to 1e-6, and values change by 1 a pixel.
CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.mark.parametrize(
    ("rotation", "shear", "scales"),
    [
        (0, 0, (1, 1)),
        (15, 0, (1, 1)),
        (-30, 0, (1, 1)),
        (0, 15, (1, 1)),
        (0, 0, (1.15, 0.85)),
        (-12, 20, (0.7, 1.3)),
    ],
)
def test_the_affine_map_is_scipys(rotation, shear, scales):
    inverse = np.linalg.inv(affine(rotation, shear, scales))
    center = (np.array(SHAPE) - 1) / 2
    wanted = ndimage.affine_transform(
        np.float64(IMAGE), inverse, offset=center - inverse @ center, order=1, mode="nearest"
    )
    places = augmentation._affine_coordinates(
        SHAPE, jnp.float32(rotation), jnp.float32(shear), jnp.float32(scales)
    )
    given = augmentation._resample(jnp.asarray(IMAGE), places)
    np.testing.assert_allclose(given, wanted, **CLOSE)


def test_maps_known_by_heart():
    def map_(rotation, shear, scales):
        places = augmentation._affine_coordinates(
            (5, 5), jnp.float32(rotation), jnp.float32(shear), jnp.float32(scales)
        )
        return augmentation._resample(jnp.asarray(image), places)

    image = np.pad(IMAGE[:3, :3], 1)
    np.testing.assert_allclose(map_(90, 0, (1, 1)), np.rot90(image), **CLOSE)
    np.testing.assert_allclose(map_(0, 0, (2, 2))[::2, ::2], image[1:4, 1:4], **CLOSE)
    image = np.zeros((5, 5), np.float32)
    image[1:4, 2] = 1  # an upright stroke leans to the right
    np.testing.assert_allclose(map_(0, 45, (1, 1)), np.fliplr(np.diag([0, 1, 1, 1, 0])), **CLOSE)


def test_resampling_is_bilinear_and_repeats_the_border():
    places = np.random.default_rng(1).uniform(-6, 18, (2, *SHAPE)).astype(np.float32)
    # Inside the image there is nothing to repeat.
    inside = np.clip(np.float64(places), 0, np.array(SHAPE).reshape(2, 1, 1) - 1)
    given = augmentation._resample(jnp.asarray(IMAGE), jnp.asarray(places))
    np.testing.assert_allclose(
        given, ndimage.map_coordinates(np.float64(IMAGE), inside, order=1), **CLOSE
    )


@pytest.mark.parametrize("scale", [0.7, 5.5, 40.0])
def test_the_field_is_smoothed_as_by_scipy(scale):
    noise = augmentation._smooth_field(KEY, SHAPE, 1e-3, jnp.float32)  # a kernel of one pixel
    wanted = [
        ndimage.gaussian_filter(np.float64(axis), scale, mode="constant", truncate=6)
        for axis in noise
    ]
    given = augmentation._smooth_field(KEY, SHAPE, scale, jnp.float32)
    np.testing.assert_allclose(given, wanted, atol=1e-6)


def test_the_noise_is_uniform_and_independent():
    noise = np.asarray(augmentation._smooth_field(KEY, (200, 150), 1e-3, jnp.float32))
    assert stats.kstest(noise.ravel(), stats.uniform(-1, 2).cdf).pvalue > 0.01
    # The middles of 2¹⁶ steps, which no direction is favored by.
    np.testing.assert_array_equal((noise + 1) * 2**15 % 1, 0.5)
    # Correlations of 30,000 pairs of independent numbers have standard deviation 0.006.
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.02
    for axis in (1, 2):
        ahead, behind = np.roll(noise, 1, axis).ravel(), noise.ravel()
        assert abs(np.corrcoef(ahead, behind)[0, 1]) < 0.02


def deformed(key, image):
    """What `augment` makes of an image of its dtype, in float64 and by SciPy."""
    affine_key, elastic_key = jax.random.split(key)  # as augment draws
    draws = np.float64(jax.random.uniform(affine_key, (4,), image.dtype, -1.0))
    matrix = affine(15 * draws[0], 15 * draws[1], 1 + 0.15 * draws[2:])
    center = ((np.array(SHAPE) - 1) / 2).reshape(2, 1, 1)
    places = np.tensordot(np.linalg.inv(matrix), np.indices(SHAPE) - center, 1) + center
    noise = augmentation._smooth_field(elastic_key, SHAPE, 1e-3, jnp.float32)
    for place, axis in zip(places, np.float64(noise), strict=True):
        # Untruncated, as far as an image of this size can tell.
        place += 36 * ndimage.gaussian_filter(axis, 5.5, mode="constant", truncate=8)
    return ndimage.map_coordinates(np.float64(image), places, order=1, mode="nearest")


def test_affine_and_elastic_maps_are_one_resampling():
    np.testing.assert_allclose(augment(KEY, IMAGE), deformed(KEY, IMAGE), **CLOSE)


def test_angles_and_factors_are_uniform():
    # Within the limits, and by the test of Kolmogorov and Smirnov from one end to the other.
    def require_uniform(values, low, high):
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.01

    rotations = drawn_matrices(1000, rotation=15.0)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-5)
    angles = np.rad2deg(np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0]))
    np.testing.assert_allclose(rotations, [affine(a, 0, (1, 1)) for a in angles], atol=1e-5)
    require_uniform(angles, -15, 15)

    shears = drawn_matrices(1000, shear=20.0)
    angles = np.rad2deg(np.arctan(-shears[:, 1, 0]))
    np.testing.assert_allclose(shears, [affine(0, a, (1, 1)) for a in angles], atol=1e-5)
    require_uniform(angles, -20, 20)

    scalings = drawn_matrices(1000, scaling=0.15)
    factors = np.diagonal(scalings, axis1=1, axis2=2)
    np.testing.assert_allclose(scalings, [affine(0, 0, f) for f in factors], atol=1e-5)
    require_uniform(factors[:, 0], 0.85, 1.15)
    require_uniform(factors[:, 1], 0.85, 1.15)
    # 1,000 pairs of independent numbers correlate with standard deviation 0.03.
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.12


def test_displacements_have_the_variance_that_smoothing_leaves():
    keys = jax.random.split(KEY, 1000)
    field = jax.vmap(lambda key: augmentation._smooth_field(key, (28, 28), 5.5, jnp.float32))(keys)
    moved = 36 * np.asarray(field, np.float64)
    # Σ G² of a Gaussian of sum 1 is 1 / (4πσ²), and noise uniform on ±1 has variance ⅓.
    sigma = 36 / (5.5 * math.sqrt(12 * math.pi))
    assert round(sigma, 2) == 1.07
    # 2,000 draws of each pixel: standard errors of 2% of σ for means, of 1.6% for deviations.
    np.testing.assert_allclose(moved.mean((0, 1)) / sigma, 0, atol=0.1)
    spread = moved.std((0, 1)) / sigma
    np.testing.assert_allclose(spread[12:16, 12:16], 1, atol=0.08)
    # Outside the image nothing moves: of the sum at an edge half is left, at a corner a quarter,
    # but for the part of G at the edge itself.
    kernel = stats.norm(0, 5.5).pdf(np.arange(28))
    half = np.sum(kernel**2) * 2 * math.sqrt(math.pi) * 5.5
    np.testing.assert_allclose(spread[0, 12:16], math.sqrt(half), atol=0.08)
    np.testing.assert_allclose(spread[-1, -1], half, atol=0.08)


def test_nothing_folds_at_the_default_strength():
    shape = (28, 28)
    places = many_places(shape, jax.random.split(KEY, 200), DEFAULTS)
    inner = np.asarray(places, np.float64)[:, :, 8:20, 8:20]  # what comes from within
    down, right = np.gradient(inner, axis=(2, 3))
    area = down[:, 0] * right[:, 1] - down[:, 1] * right[:, 0]
    assert area.min() > 0
    # In the mean, 1/s of either axis; the elastic part adds nothing on average.
    assert abs(area.mean() - (math.log(1.15 / 0.85) / 0.3) ** 2) < 0.05


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16, np.float16])
def test_without_magnitudes_the_image_itself_comes_back(dtype):
    image = jnp.asarray(IMAGE, dtype)
    given = augment(KEY, image, **OFF)
    assert given.dtype == dtype
    assert np.asarray(given).tobytes() == np.asarray(image).tobytes()


def test_half_precision_moves_pixels_as_far():
    # Places in bfloat16 would be 1/16 of a pixel off at row 12; values are rounded but once.
    half = augment(KEY, jnp.asarray(IMAGE, jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    full = augment(KEY, np.float32(jnp.asarray(IMAGE, jnp.bfloat16)))
    np.testing.assert_array_equal(half, full.astype(jnp.bfloat16))


def test_float64_is_kept(x64):
    image = np.float64(IMAGE)
    given = augment(KEY, image)
    assert given.dtype == jnp.float64
    # The Gaussian's sum leaves 2e-9 out; a draw, place or value in float32 would be 1e-7 off.
    np.testing.assert_allclose(given, deformed(KEY, image), rtol=0, atol=2e-8)
    np.testing.assert_array_equal(augment(KEY, image, **OFF), image)
    assert augment(KEY, IMAGE).dtype == jnp.float32


def test_other_numbers_become_float32():
    image = np.arange(108, dtype=np.uint8).reshape(SHAPE)
    given = augment(KEY, image)
    assert given.dtype == jnp.float32
    np.testing.assert_array_equal(given, augment(KEY, np.float32(image)))


@pytest.mark.parametrize("paper", [0.0, -0.5])
def test_paper_stays_paper(optimized, paper):
    # However far a pixel comes from, and with weights whose sum is 1 but for rounding.
    given = augment(KEY, np.full(SHAPE, paper, np.float32), elastic_strength=1e4)
    np.testing.assert_allclose(given, paper, rtol=1e-6)


def test_a_key_gives_one_image_and_another_key_another():
    first = augment(KEY, IMAGE)
    np.testing.assert_array_equal(first, augment(KEY, IMAGE))
    np.testing.assert_array_equal(first, augment(jax.random.PRNGKey(0), IMAGE))  # the old kind
    np.testing.assert_allclose(first, ls.data.augment(KEY, IMAGE), **CLOSE)  # not compiled
    for only in OFF:
        one, other = (
            augment(key, IMAGE, **{**OFF, only: DEFAULTS[only]})
            for key in jax.random.split(jax.random.key(1))
        )
        assert np.abs(one - other).max() > 1e-3
        assert np.abs(one - IMAGE).max() > 1e-3


def test_a_batch_is_its_images_each_with_magnitudes_of_its_own():
    keys = jax.random.split(KEY, 3)
    images = np.stack([IMAGE, IMAGE[::-1], -IMAGE])
    magnitudes = {"rotation": jnp.array([15.0, 7.5, 0.0]), "scaling": jnp.array([0.0, 0.15, 0.3])}
    mapped = jax.jit(jax.vmap(lambda key, x, m: ls.data.augment(key, x, **m)))
    loop = [
        augment(key, image, **{name: values[i] for name, values in magnitudes.items()})
        for i, (key, image) in enumerate(zip(keys, images, strict=True))
    ]
    np.testing.assert_allclose(mapped(keys, images, magnitudes), loop, **CLOSE)
    _, scanned = jax.lax.scan(
        lambda carry, pair: (carry, ls.data.augment(*pair)), None, (keys, jnp.asarray(images))
    )
    loop = [augment(*pair) for pair in zip(keys, images, strict=True)]
    np.testing.assert_allclose(scanned, loop, **CLOSE)


def test_it_is_linear_in_the_image_and_its_gradient_is_the_transpose():
    other, weights = IMAGE[::-1], np.random.default_rng(2).standard_normal(SHAPE, np.float32)
    both = augment(KEY, 2 * IMAGE - 3 * other)
    np.testing.assert_allclose(both, 2 * augment(KEY, IMAGE) - 3 * augment(KEY, other), **CLOSE)
    # ⟨w, A x⟩ = ⟨Aᵀ w, x⟩: over 108 numbers of about 1, float32 sums are right to 1e-5.
    _, back = jax.vjp(lambda x: augment(KEY, x), IMAGE)
    (gradient,) = back(weights)
    np.testing.assert_allclose(
        np.vdot(gradient, other), np.vdot(weights, augment(KEY, other)), atol=1e-4
    )
    np.testing.assert_allclose(gradient.sum(), weights.sum(), atol=1e-4)  # the weights sum to 1


def test_other_magnitudes_compile_nothing(compilations):
    augment(KEY, IMAGE, **DEFAULTS)
    del compilations[:]
    augment(KEY, IMAGE, rotation=7.5, shear=7.5, scaling=0.2, elastic_strength=38.0)
    assert not compilations


def test_one_pixel_is_an_image():
    np.testing.assert_allclose(ls.data.augment(KEY, np.full((1, 1), 0.25)), [[0.25]], rtol=1e-6)


def test_digits_stay_digits():
    folder = os.environ.get("LOGISTACK_DATA")
    if not folder or not (Path(folder) / "mnist").is_dir():
        pytest.skip("LOGISTACK_DATA names no folder with MNIST")
    train, test = (ls.data.load("mnist", split=split) for split in ("train", "test"))
    labels, images = train.labels[:2000], train.inputs[:2000].reshape(-1, 28, 28)

    @jax.jit
    def deform(keys, images, magnitudes):
        return jax.vmap(lambda key, x: ls.data.augment(key, x, **magnitudes))(keys, images)

    def accuracy(**magnitudes):
        """How many test digits lie nearest to the mean deformed digit of their class."""
        deformed = deform(jax.random.split(KEY, 2000), images, {**DEFAULTS, **magnitudes})
        flat = np.asarray(deformed).reshape(2000, -1)
        means = np.stack([flat[labels == digit].mean(0) for digit in range(10)])
        nearest = ((means**2).sum(1) - 2 * test.inputs @ means.T).argmin(1)
        return (nearest == test.labels).mean()

    # Plain digits give 0.79 and deformed ones 0.78; displacements four times as wide, 0.5.
    assert accuracy() > accuracy(**OFF) - 0.04
    assert accuracy(elastic_strength=150.0) < accuracy() - 0.1


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"key": 0}, TypeError, r"^key: expected a JAX random key"),
        ({"key": jax.random.split(KEY)}, ValueError, r"^key: expected one JAX random key"),
        (
            {"image": np.zeros(9)},
            ValueError,
            r"^image: expected shape \(height, width\), got \(9,\)",
        ),
        ({"image": np.zeros((2, 9, 9))}, ValueError, r"^image: .*\(2, 9, 9\) .*jax\.vmap"),
        ({"image": np.zeros((0, 9))}, ValueError, r"^image: .*\(0, 9\)"),
        ({"image": np.full((2, 2), np.nan)}, ValueError, r"^image: expected finite values, got 4"),
        ({"image": np.zeros((2, 2), complex)}, TypeError, r"^image: .*complex128"),
        ({"rotation": -1}, ValueError, r"^rotation: expected at least 0 and finite, got -1"),
        ({"rotation": math.inf}, ValueError, r"^rotation: expected at least 0 and finite, got inf"),
        ({"rotation": "15"}, TypeError, r"^rotation: expected an array of real numbers"),
        ({"shear": 90.0}, ValueError, r"^shear: expected at least 0 and below 90, got 90"),
        ({"shear": np.ones(2)}, ValueError, r"^shear: expected a scalar, got shape \(2,\)"),
        ({"scaling": 1.0}, ValueError, r"^scaling: expected at least 0 and below 1, got 1"),
        ({"scaling": math.nan}, ValueError, r"^scaling: expected .*, got nan"),
        ({"elastic_strength": -36.0}, ValueError, r"^elastic_strength: .*at least 0.*got -36"),
        ({"elastic_scale": 0}, ValueError, r"^elastic_scale: expected above 0 and finite, got 0"),
        ({"elastic_scale": math.nan}, ValueError, r"^elastic_scale: .*got nan"),
        (
            {"elastic_scale": "5"},
            TypeError,
            r"^elastic_scale: expected a number that is not traced",
        ),
        ({"elastic_scale": True}, TypeError, r"^elastic_scale: expected a number"),
    ],
)
def test_errors_name_the_argument(changed, error, message):
    with pytest.raises(error, match=message):
        ls.data.augment(**{"key": KEY, "image": IMAGE, **changed})


def test_a_traced_scale_is_refused():
    with pytest.raises(TypeError, match=r"^elastic_scale: expected a number that is not traced"):
        jax.jit(lambda scale: ls.data.augment(KEY, IMAGE, elastic_scale=scale))(5.5)


def test_dtypes_are_strict():
    with jax.numpy_dtype_promotion("strict"):
        for dtype in (jnp.float32, jnp.bfloat16):
            image = jnp.asarray(IMAGE, dtype)
            chex.assert_shape(jax.eval_shape(ls.data.augment, KEY, image), SHAPE)
        jax.eval_shape(lambda a: ls.data.augment(KEY, IMAGE, rotation=a, shear=15), jnp.float32(7))
