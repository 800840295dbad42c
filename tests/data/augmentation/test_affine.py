import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from hierjax.data.augmentation import AUGMENTATIONS, affine, random_affine_flip

RNG = np.random.default_rng(0)
SQUARE = RNG.integers(1, 256, (16, 16, 3)).astype(np.float32)
WIDE = RNG.integers(1, 256, (12, 20, 1)).astype(np.uint8)


@jax.jit
def jitted(image, angle=0.0, translation=(0.0, 0.0), scale=1.0, shear=0.0, flip=False):
    return affine(
        image,
        angle=angle,
        translation=translation,
        scale=scale,
        shear=shear,
        flip=flip,
    )


def moved(image, **parts):
    result = jitted(jnp.asarray(image), **parts)
    assert result.dtype == image.dtype and result.shape == image.shape
    return np.asarray(result)


@pytest.mark.parametrize("image", [SQUARE, WIDE])
def test_exact_parts(image):
    np.testing.assert_array_equal(moved(image), image)
    np.testing.assert_array_equal(moved(image, flip=True), image[:, ::-1])
    np.testing.assert_array_equal(moved(image, angle=180.0), image[::-1, ::-1])
    shifted = np.zeros_like(image)
    shifted[:-2, 3:] = image[2:, :-3]
    np.testing.assert_array_equal(moved(image, translation=(3.0, -2.0)), shifted)
    np.testing.assert_array_equal(
        moved(image, translation=(3.0, -2.0), flip=True), shifted[:, ::-1]
    )
    assert (moved(image, translation=(99.0, 0.0)) == 0).all()


def test_right_angles_are_exact_and_clockwise():
    for turns in range(4):
        np.testing.assert_array_equal(
            moved(SQUARE, angle=90.0 * turns), np.rot90(SQUARE, -turns)
        )


def test_scale_about_the_centre():
    doubled = np.repeat(np.repeat(SQUARE[4:12, 4:12], 2, axis=0), 2, axis=1)
    np.testing.assert_array_equal(moved(SQUARE, scale=2.0), doubled)
    halved = moved(SQUARE, scale=0.5).copy()
    np.testing.assert_array_equal(halved[4:12, 4:12], SQUARE[1::2, 1::2])
    halved[4:12, 4:12] = 0
    assert (halved == 0).all()


def test_shear_moves_the_upper_part_to_the_right():
    # Half a pixel a row: the row 3.5 above the centre goes 1.75 to the right.
    degrees = float(np.rad2deg(np.arctan(0.5)))
    sheared = moved(SQUARE, shear=degrees)
    for row in range(16):
        shift = (7.5 - row) * 0.5
        for column in range(16):
            source = int(np.floor(column + 0.5 - shift))
            expected = SQUARE[row, source] if 0 <= source < 16 else 0
            np.testing.assert_array_equal(sheared[row, column], expected)


def by_matrices(angle, translation, scale, shear, shape):
    """The map from output to input, in (x, y, 1) from the upper left corner."""
    a, h = np.deg2rad(angle), np.deg2rad(shear)
    centre = np.eye(3)
    centre[:2, 2] = shape[1] / 2, shape[0] / 2
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    lean = np.array([[1, -np.tan(h), 0], [0, 1, 0], [0, 0, 1]])
    size = np.diag([scale, scale, 1])
    shift = np.eye(3)
    shift[:2, 2] = translation
    forward = shift @ centre @ turn @ size @ lean @ np.linalg.inv(centre)
    return np.linalg.inv(forward)


PARTS = [
    {"angle": 15.0, "translation": (0.0, 0.0), "scale": 1.0, "shear": 0.0},
    {"angle": 0.0, "translation": (0.0, 0.0), "scale": 0.93, "shear": 0.0},
    {"angle": 0.0, "translation": (0.0, 0.0), "scale": 1.0, "shear": -9.0},
    {"angle": -11.0, "translation": (2.0, -1.0), "scale": 1.07, "shear": 6.0},
    {"angle": 40.0, "translation": (-3.0, 1.0), "scale": 0.8, "shear": -10.0},
]


@pytest.mark.parametrize("image", [SQUARE[:, :, :1].astype(np.uint8), WIDE])
@pytest.mark.parametrize("parts", PARTS)
def test_agrees_with_pil_and_scipy(image, parts):
    result = moved(image, **parts)[:, :, 0]
    inverse = by_matrices(**parts, shape=image.shape)
    by_pil = Image.fromarray(image[:, :, 0]).transform(
        image.shape[1::-1],
        Image.Transform.AFFINE,
        inverse[:2].ravel(),
        Image.Resampling.NEAREST,
    )
    # A pixel may fall on the other side of an edge by rounding.
    assert (result != np.asarray(by_pil)).mean() < 0.01
    # Scipy counts rows first and pixels from their centres.
    turned = inverse[:2, :2][::-1, ::-1]
    start = (inverse @ [0.5, 0.5, 1])[1::-1] - 0.5
    by_scipy = ndimage.affine_transform(
        image[:, :, 0], turned, start, order=0, mode="grid-constant"
    )
    assert (result != by_scipy).mean() < 0.01
    assert (result == 0).any() or parts["scale"] > 1


def test_views_of_a_batch_are_those_of_its_examples():
    assert AUGMENTATIONS["random_affine_flip"] is random_affine_flip
    images = jnp.asarray(RNG.integers(1, 256, (5, 16, 16, 3)).astype(np.float32))
    keys = jax.random.split(jax.random.key(0), 5)
    views = jax.jit(jax.vmap(random_affine_flip))(keys, images)
    assert views.shape == (5, 1, 16, 16, 3) and views.dtype == images.dtype
    single = jax.jit(random_affine_flip)
    for key, image, view in zip(keys, images, views, strict=True):
        np.testing.assert_array_equal(single(key, image), view)
    assert (views != images[:, None]).any(axis=(1, 2, 3, 4)).all()


def test_ranges_are_the_published_ones():
    """Reads the parameters back from where the pixels of a map of places come from."""
    size, number = 32, 800
    places = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1) + 0.5
    keys = jax.random.split(jax.random.key(1), number)
    augment = jax.jit(jax.vmap(random_affine_flip, (0, None)))
    views = np.asarray(augment(keys, jnp.asarray(places, jnp.float32)))[:, 0]
    target = np.concatenate([places, np.ones((size, size, 1))], -1).reshape(-1, 3)
    found = []
    for view in views:
        source = view.reshape(-1, 2)
        inside = source.any(axis=1)
        fit, *_ = np.linalg.lstsq(target[inside], source[inside], rcond=None)
        forward = np.linalg.inv(np.vstack([fit.T, [0, 0, 1]]))
        flipped = np.linalg.det(forward) < 0
        if flipped:
            forward = np.array([[-1, 0, size], [0, 1, 0], [0, 0, 1]]) @ forward
        angle = np.arctan2(forward[1, 0], forward[0, 0])
        scale = np.hypot(forward[1, 0], forward[0, 0])
        lean = np.linalg.inv(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        ) @ (forward[:2, :2] / scale)
        shear = np.arctan(-lean[0, 1])
        shift = (forward @ [size / 2, size / 2, 1])[:2] - size / 2
        found.append(
            [np.rad2deg(angle), scale, np.rad2deg(shear), *shift, float(flipped)]
        )
    angle, scale, shear, right, down, flipped = np.array(found).T
    for values, low, high, slack in (
        (angle, -15, 15, 0.6),
        (scale, 0.9, 1.1, 0.01),
        (shear, -10, 10, 1.0),
    ):
        assert low - slack <= values.min() < low + 3 * slack
        assert high - 3 * slack < values.max() <= high + slack
        uniform = stats.uniform(low, high - low)
        assert stats.kstest(values, uniform.cdf).pvalue > 1e-3
    for shift in (right, down):
        # Up to 3.2 pixels, rounded.
        assert abs(shift - np.round(shift)).max() < 0.3
        counts = np.bincount(np.round(shift).astype(int) + 3, minlength=7)
        shares = np.array([0.7, 1, 1, 1, 1, 1, 0.7]) / 6.4
        assert len(counts) == 7 and stats.chisquare(counts, shares * number)[1] > 1e-3
    assert 0.44 < flipped.mean() < 0.56
    assert abs(np.corrcoef(np.array(found).T) - np.eye(6)).max() < 0.15
