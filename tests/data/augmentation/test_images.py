import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from hierjax.data.augmentation import (
    AUGMENTATIONS,
    crop_flip_views,
    random_flip,
    random_resized_crop,
    random_slant,
    resized_crop,
    shift_jitter_noise,
    simclr_views,
)
from hierjax.errors import UserError

RNG = np.random.default_rng(0)
PHOTO = RNG.uniform(size=(16, 16, 3)).astype(np.float32)
PHOTOS = RNG.uniform(size=(1200, 16, 16, 3)).astype(np.float32)
WIDE = RNG.uniform(size=(12, 20, 2)).astype(np.float32)

BOXES = [
    (PHOTO, 0, 0, 16, 16),
    (PHOTO, 3, 5, 8, 8),
    (PHOTO, 0, 9, 11, 7),
    (PHOTO, 15, 15, 1, 1),
    (WIDE, 4, 2, 8, 13),
    (WIDE, 0, 0, 1, 20),
]


@pytest.mark.parametrize(("image", "top", "left", "height", "width"), BOXES)
def test_resized_crop_agrees_with_pil(image, top, left, height, width):
    result = jax.jit(resized_crop)(
        image, top=top, left=left, height=height, width=width
    )
    # A crop first: PIL's own box would mix in pixels from around it.
    part = image[top : top + height, left : left + width]
    for channel in range(image.shape[2]):
        expected = Image.fromarray(part[:, :, channel]).resize(
            image.shape[1::-1], Image.Resampling.BILINEAR
        )
        np.testing.assert_allclose(result[:, :, channel], expected, atol=1e-5)


def crop_boxes(shape, number, key=0):
    """Boxes of random crops, read back from a map of places."""
    height, width = shape
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    keys = jax.random.split(jax.random.key(key), number)
    views = jax.jit(jax.vmap(random_resized_crop, (0, None)))(
        keys, jnp.asarray(places, jnp.float32)
    )
    # The corners show the first and the last pixel of the part.
    views = np.asarray(views)
    left, top = np.round(views[:, 0, 0]).T.astype(int)
    right, bottom = np.round(views[:, -1, -1]).T.astype(int)
    return top, left, bottom + 1 - top, right + 1 - left


def torchvision_box(rng, height, width):
    """The rule of ``RandomResizedCrop.get_params``, try by try."""
    for _ in range(10):
        area = height * width * rng.uniform(0.2, 1)
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = rng.integers(0, height - h + 1)
            return top, rng.integers(0, width - w + 1), h, w
    if width / height < 3 / 4:
        w, h = width, round(width / (3 / 4))
    elif width / height > 4 / 3:
        w, h = round(height * 4 / 3), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize("shape", [(32, 32), (20, 30)])
def test_crops_are_distributed_as_those_of_torchvision(shape):
    number = 4000
    boxes = crop_boxes(shape, number)
    rng = np.random.default_rng(1)
    expected = np.array([torchvision_box(rng, *shape) for _ in range(number)]).T
    for ours, theirs in zip(boxes, expected, strict=True):
        # Whole numbers: a table of counts, rare ones together.
        edges = np.unique(np.quantile(theirs, np.linspace(0, 1, 9)))
        tables = [np.histogram(x, edges)[0] for x in (ours, theirs)]
        assert sum(tables[0]) == number
        assert stats.chi2_contingency(tables).pvalue > 1e-3
    top, left, height, width = boxes
    assert (top >= 0).all() and (top + height <= shape[0]).all()
    assert (left >= 0).all() and (left + width <= shape[1]).all()
    area = height * width / np.prod(shape)
    assert 0.18 < area.min() < 0.22 and area.max() > 0.85


@pytest.mark.parametrize("shape", [(8, 100), (100, 8)])
def test_images_that_no_crop_fits_give_their_middle(shape):
    expected = torchvision_box(np.random.default_rng(0), *shape)
    boxes = np.stack(crop_boxes(shape, 50), axis=1)
    assert (boxes == expected).all()


def test_flips_every_other_image():
    keys = jax.random.split(jax.random.key(0), 1000)
    views = np.asarray(jax.jit(jax.vmap(random_flip, (0, None)))(keys, PHOTO))
    flipped = (views == PHOTO[:, ::-1]).all(axis=(1, 2, 3))
    assert ((views == PHOTO).all(axis=(1, 2, 3)) ^ flipped).all()
    assert 0.45 < flipped.mean() < 0.55


@functools.cache
def batched(name):
    return jax.jit(jax.vmap(AUGMENTATIONS[name]))


@pytest.mark.parametrize("name", ["simclr", "crop_flip", "shift_jitter_noise"])
def test_views_of_a_batch_are_those_of_its_examples(name):
    keys = jax.random.split(jax.random.key(0), len(PHOTOS))
    views = batched(name)(keys, PHOTOS)
    assert views.shape == (len(PHOTOS), 1, 16, 16, 3) and views.dtype == jnp.float32
    # A view depends on its own key and example, and on nothing else.
    reversed_views = batched(name)(keys[::-1], PHOTOS[::-1])
    np.testing.assert_array_equal(reversed_views[::-1], views)
    other = batched(name)(keys[::-1], PHOTOS)
    assert (views != other).any(axis=(1, 2, 3, 4)).all()


def test_simclr_views_are_in_range_and_grey_a_fifth_of_the_time():
    assert AUGMENTATIONS["simclr"] is simclr_views
    keys = jax.random.split(jax.random.key(1), len(PHOTOS))
    views = np.asarray(batched("simclr")(keys, PHOTOS))
    assert views.min() >= 0 and views.max() <= 1
    grey = np.ptp(views, axis=-1).max(axis=(1, 2, 3)) == 0
    assert 0.165 < grey.mean() < 0.235


def test_crop_flip_changes_no_colours():
    assert AUGMENTATIONS["crop_flip"] is crop_flip_views
    image = np.broadcast_to(np.float32([0.2, 0.5, 0.7]), (9, 9, 3))
    view = jax.jit(crop_flip_views)(jax.random.key(0), jnp.asarray(image))
    np.testing.assert_allclose(view[0], image, atol=1e-6)


def test_digits_move_a_little():
    """A lit pixel in the dark shows the shift, and its neighbours the rest."""
    size, most = 48, 2
    image = np.zeros((size, size), np.float32)
    image[10, 12] = 1
    keys = jax.random.split(jax.random.key(0), 400)
    views = jax.jit(jax.vmap(shift_jitter_noise, (0, None)))(keys, image)
    assert views.shape == (400, 1, size, size)
    views = np.array(views)[:, 0]
    rows, columns = np.unravel_index(
        views.reshape(400, -1).argmax(axis=1), (size, size)
    )
    for shifts in (rows - 10, columns - 12):
        numbers, counts = np.unique(shifts, return_counts=True)
        np.testing.assert_array_equal(numbers, range(-most, most + 1))
        assert stats.chisquare(counts).pvalue > 1e-3
    light = views[np.arange(400), rows, columns]
    # 0.36 to 1, and the noise.
    assert 0.2 < light.min() < 0.6 and 1 < light.max() < 1.25
    views[np.arange(400), rows, columns] = 0
    np.testing.assert_allclose(views.std(axis=(1, 2)), 0.05, rtol=0.12)


def test_digits_lose_what_leaves_and_gain_black():
    image = np.ones((24, 24, 1), np.float32)
    view = jax.jit(shift_jitter_noise)(jax.random.key(5), image)
    assert view.shape == (1, 24, 24, 1)
    lit = np.asarray(view[0, :, :, 0]) > 0.4
    rows, columns = lit.any(axis=1).sum(), lit.any(axis=0).sum()
    # One pixel is 4 % of 24.
    assert 23 <= rows <= 24 and 23 <= columns <= 24
    assert lit.sum() == rows * columns < 24 * 24


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("simclr", (8, 8), r"simclr takes examples \[H, W, 3\], got shape \(8, 8\)"),
        ("simclr", (8, 8, 1), "of 3 channels, got 1; .* shift_jitter_noise"),
        ("crop_flip", (64,), r"crop_flip takes examples \[H, W, C\], got"),
        ("shift_jitter_noise", (64,), r"\[H, W\] or \[H, W, C\], got shape \(64,\)"),
        ("shift_jitter_noise", (8, 8, 2), "one channel or three, got 2"),
    ],
)
def test_wrong_shapes(name, shape, message):
    with pytest.raises(UserError, match=message):
        AUGMENTATIONS[name](jax.random.key(0), jnp.zeros(shape))


@pytest.mark.parametrize("shape", [(12, 9), (12, 9, 3)])
def test_a_slant_is_a_bilinear_map_of_places(shape):
    """Reads the map back from pictures of the places themselves."""
    rows, columns = np.meshgrid(np.arange(24.0), np.arange(16.0), indexing="ij")
    places = jnp.asarray(np.stack([rows, columns, np.ones_like(rows)], axis=-1))
    keys = jax.random.split(jax.random.key(0), 200)
    views = np.asarray(jax.jit(jax.vmap(random_slant, (0, None)))(keys, places))[:, 0]
    target = np.stack([rows - 11.5, columns - 7.5, np.ones_like(rows)], axis=-1)
    found = []
    for view in views:
        # Where nothing from outside is mixed in.
        inside = view[..., 2] > 1 - 1e-5
        fit, *_ = np.linalg.lstsq(target[inside], view[inside][:, :2], rcond=None)
        np.testing.assert_allclose(target[inside] @ fit, view[inside][:, :2], atol=1e-3)
        found.append([*(fit[:2].T - np.eye(2)).ravel(), *(fit[2] - [11.5, 7.5])])
    most = np.array([0.2, 0.2, 0.2, 0.2, 0.08 * 24, 0.08 * 16])
    share = np.array(found) / most
    assert (abs(share) <= 1.001).all() and (abs(share).max(axis=0) > 0.95).all()
    assert (abs(share.mean(axis=0)) < 0.15).all()
    assert abs(np.corrcoef(share.T) - np.eye(6)).max() < 0.25
    view = random_slant(keys[0], jnp.ones(shape))
    assert view.shape == (1, *shape) and view.min() == 0 and view.max() <= 1 + 1e-6
