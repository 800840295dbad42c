import colorsys
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import stats

from hierjax.data.augmentation.colors import (
    adjust_colors,
    color_jitter,
    random_greyscale,
)

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (12, 10, 3)).astype(np.uint8)
BYTES[0, :5] = BYTES[0, :5, :1]  # Grey pixels have no hue.
BYTES[1, 0], BYTES[1, 1] = 0, 255
PHOTO = BYTES / np.float32(255)
GREY = np.array([0.2989, 0.587, 0.114])

ORDERS = list(itertools.permutations(range(4)))

adjusted = jax.jit(adjust_colors)
jittered = jax.jit(jax.vmap(color_jitter, (0, None)))
ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
}


def by_numpy(image, name, amount):
    """One change in double precision; the hue pixel by pixel."""
    if name == "hue":
        shifted = np.empty_like(image)
        for place in np.ndindex(image.shape[:2]):
            hue, saturation, value = colorsys.rgb_to_hsv(*image[place])
            shifted[place] = colorsys.hsv_to_rgb((hue + amount) % 1, saturation, value)
        return shifted
    other = {
        "brightness": np.zeros((1, 1)),
        "contrast": np.full((1, 1), (image @ GREY).mean()),
        "saturation": image @ GREY,
    }[name]
    return np.clip(amount * image + (1 - amount) * other[:, :, None], 0, 1)


@pytest.mark.parametrize("factor", [0.0, 0.6, 0.9, 1.0, 1.4])
@pytest.mark.parametrize("name", ENHANCERS)
def test_agrees_with_pil(name, factor):
    expected = ENHANCERS[name](Image.fromarray(BYTES)).enhance(factor)
    result = np.asarray(adjusted(PHOTO, **{name: factor})) * 255
    # PIL rounds grey values, their mean and the result.
    assert abs(result - np.asarray(expected)).max() < 2.1
    assert (abs(result - BYTES).max() > 10) == (factor != 1.0)


@pytest.mark.parametrize("turns", [-0.5, -0.1, 0.0, 0.07, 1 / 3, 0.5])
def test_hue_agrees_with_colorsys(turns):
    result = adjusted(PHOTO, hue=turns)
    np.testing.assert_allclose(
        result, by_numpy(PHOTO.astype(np.float64), "hue", turns), atol=2e-6
    )


@pytest.mark.parametrize("order", ORDERS)
def test_every_order(order):
    amounts = {"brightness": 1.4, "contrast": 1.3, "saturation": 0.6, "hue": 0.1}
    expected = PHOTO.astype(np.float64)
    for number in order:
        name = list(amounts)[number]
        expected = by_numpy(expected, name, amounts[name])
    result = adjusted(PHOTO, order=jnp.array(order), **amounts)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_orders_differ():
    amounts = {"brightness": 1.4, "contrast": 1.3, "saturation": 0.6, "hue": 0.1}
    results = [
        np.asarray(adjusted(PHOTO, order=jnp.array(order), **amounts))
        for order in ORDERS
    ]
    for one, other in itertools.combinations(results, 2):
        assert abs(one - other).max() > 1e-3


def test_one_channel_has_brightness_and_contrast_only():
    grey = PHOTO[:, :, :1]
    result = adjusted(grey, brightness=1.2, contrast=0.7)
    brighter = np.clip(1.2 * grey, 0, 1)
    np.testing.assert_allclose(
        result, 0.7 * brighter + 0.3 * brighter.mean(), atol=1e-6
    )
    np.testing.assert_allclose(adjusted(grey, saturation=0.3, hue=0.4), grey, atol=1e-6)
    np.testing.assert_array_equal(random_greyscale(jax.random.key(0), grey), grey)


def test_jitter_leaves_a_fifth_alone_and_the_rest_in_range():
    keys = jax.random.split(jax.random.key(0), 2000)
    views = np.asarray(jittered(keys, PHOTO))
    assert views.min() >= 0 and views.max() <= 1
    same = (views == PHOTO).all(axis=(1, 2, 3))
    assert 0.17 < same.mean() < 0.23
    assert len(np.unique(views[~same], axis=0)) == (~same).sum()


def test_jitter_draws_from_the_published_ranges():
    """Reads the parameters back from three pixels that no change clips."""
    colours = np.array([[[0.5, 0.4, 0.4], [0.4, 0.5, 0.4], [0.4, 0.4, 0.5]]])
    keys = jax.random.split(jax.random.key(1), 2000)
    views = np.asarray(jittered(keys, jnp.asarray(colours, jnp.float32)))
    hues = np.array(
        [[colorsys.rgb_to_hsv(*pixel)[0] for pixel in view[0]] for view in views]
    )
    turns = (hues - [0, 1 / 3, 2 / 3] + 0.5) % 1 - 0.5
    np.testing.assert_allclose(turns - turns[:, :1], 0, atol=1e-4)
    turns = turns[abs(turns[:, 0]) > 1e-5, 0]
    assert 0.75 < len(turns) / 2000 < 0.85
    assert stats.kstest(turns, stats.uniform(-0.1, 0.2).cdf).pvalue > 1e-3
    # Brightness scales the mean grey value; contrast and saturation all but keep it.
    means = (views @ GREY).mean(axis=(1, 2)) / (colours @ GREY).mean()
    means = means[abs(means - 1) > 1e-5]
    assert stats.kstest(means, stats.uniform(0.6, 0.8).cdf).pvalue > 1e-3


def test_greyscale_takes_a_fifth():
    keys = jax.random.split(jax.random.key(0), 2000)
    views = np.asarray(jax.jit(jax.vmap(random_greyscale, (0, None)))(keys, PHOTO))
    grey = np.repeat((PHOTO @ GREY)[:, :, None], 3, axis=2)
    is_grey = (abs(views - grey) < 1e-6).all(axis=(1, 2, 3))
    assert 0.17 < is_grey.mean() < 0.23
    assert (views[~is_grey] == PHOTO).all()
