"""Random changes of an image's colours, as torchvision defines them.

Values lie in 0 to 1, and every single change is clipped to that.
"""

import chex
import jax
import jax.numpy as jnp

_LUMA = (0.2989, 0.587, 0.114)
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)

_MAX_CHANGE = 0.4
_MAX_HUE_CHANGE = 0.1
_CHANGED = 0.8
_GREY = 0.2


def _luma(planes: list[jax.Array]) -> jax.Array:
    """Grey values ``[H, W]``: ITU-R 601-2 weights, or the only channel as it is."""
    if len(planes) == 1:
        return planes[0]
    # Term by term: a matrix product may round to bfloat16.
    return sum(weight * plane for weight, plane in zip(_LUMA, planes, strict=True))


def _blend(planes: list[jax.Array], weights: jax.Array) -> list[jax.Array]:
    """Clipped sum of the image, its grey values and their mean, weighted."""
    of_image, of_grey, of_mean = weights
    grey = _luma(planes)
    added = of_grey * grey + of_mean * grey.mean()
    return [jnp.clip(of_image * plane + added, 0, 1) for plane in planes]


def _shift_hue(planes: list[jax.Array], turns: jax.Array) -> list[jax.Array]:
    """Turns the hue of red, green, blue; keeps value and saturation of HSV."""
    red, green, blue = planes
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    scale = 1 / jnp.where(chroma > 0, chroma, 1)
    # In sixths of a turn from red.
    hue = jnp.where(
        value == red,
        (green - blue) * scale,
        jnp.where(value == green, 2 + (blue - red) * scale, 4 + (red - green) * scale),
    )
    hue = hue + 6 * turns
    shifted = []
    for start in (5, 3, 1):
        place = start + hue
        place = place - 6 * jnp.floor(place / 6)
        lack = jnp.clip(jnp.minimum(place, 4 - place), 0, 1)
        shifted.append(value - chroma * lack)
    return shifted


def adjust_colors(
    image: jax.Array,
    *,
    brightness: jax.typing.ArrayLike = 1.0,
    contrast: jax.typing.ArrayLike = 1.0,
    saturation: jax.typing.ArrayLike = 1.0,
    hue: jax.typing.ArrayLike = 0.0,
    order: jax.typing.ArrayLike = (0, 1, 2, 3),
) -> jax.Array:
    r"""Changes brightness, contrast, saturation and hue in a given order.

    Each of the first three is :math:`\min(1, \max(0, f x + (1 - f) b))` with factor
    *f* and *b* black, the mean grey value of the image, or each pixel's grey value.
    All three are one formula with different weights, so that an order that is only
    known on the device needs no branches: three of them run before the hue and three
    after, and those that are not due there get the weights of the identity.

    Args:
      image: ``[H, W, C]`` floats in 0 to 1. With one channel, saturation and hue
        change nothing; otherwise three, red, green, blue.
      brightness: Factor; 1 changes nothing.
      contrast: Factor.
      saturation: Factor.
      hue: To add to the hue of HSV, in turns, -.5 to .5.
      order: ``[4]`` int, a permutation of 0 brightness, 1 contrast, 2 saturation,
        3 hue: what comes first, second, ...

    Returns:
      ``[H, W, C]``.
    """
    chex.assert_rank(image, 3)
    order = jnp.asarray(order)
    factors = [jnp.float32(x) for x in (brightness, contrast, saturation)]
    weights = jnp.zeros((3, 3)).at[:, 0].set(jnp.stack(factors))
    weights = weights.at[_CONTRAST, 2].set(1 - factors[_CONTRAST])
    weights = weights.at[_SATURATION, 1].set(1 - factors[_SATURATION])
    identity = jnp.array([1.0, 0.0, 0.0])
    hue_place = jnp.argmax(order == _HUE)
    places = jnp.arange(3)
    is_after = places >= hue_place
    weights = weights[order[places + is_after]]
    before = jnp.where(is_after[:, None], identity[None, :], weights)
    after = jnp.where(is_after[:, None], weights, identity[None, :])
    # Channel by channel, so that all numbers of a pixel stay in one loop.
    planes = [image[:, :, c] for c in range(image.shape[2])]
    for place in range(3):
        planes = _blend(planes, before[place])
    if len(planes) == 3:
        planes = _shift_hue(planes, jnp.float32(hue))
    for place in range(3):
        planes = _blend(planes, after[place])
    return jnp.stack(planes, axis=2)


def color_jitter(key: jax.Array, image: jax.Array) -> jax.Array:
    """Changes all four at random, four times in five.

    Brightness, contrast and saturation by factors 0.6 to 1.4, hue by up to a tenth of a
    turn either way, all uniform, in random order: ``ColorJitter(.4, .4, .4, .1)`` of
    torchvision with probability 0.8.

    Args:
      key: Random key.
      image: ``[H, W, C]`` floats in 0 to 1, one channel or three.

    Returns:
      ``[H, W, C]``.
    """
    # One draw for all, as XLA compiles a loop for each.
    chance = jax.random.uniform(key, (9,))
    amounts = 2 * chance[:4] - 1
    factors = 1 + _MAX_CHANGE * amounts[:_HUE]
    changed = adjust_colors(
        image,
        brightness=factors[_BRIGHTNESS],
        contrast=factors[_CONTRAST],
        saturation=factors[_SATURATION],
        hue=_MAX_HUE_CHANGE * amounts[_HUE],
        order=jnp.argsort(chance[4:8]),
    )
    return jnp.where(chance[8] < _CHANGED, changed, image)


def random_greyscale(key: jax.Array, image: jax.Array) -> jax.Array:
    """Makes all channels the grey values one time in five.

    Args:
      key: Random key.
      image: ``[H, W, C]``, one channel or three.

    Returns:
      ``[H, W, C]``.
    """
    chex.assert_rank(image, 3)
    grey = _luma([image[:, :, c] for c in range(image.shape[2])])
    return jnp.where(jax.random.bernoulli(key, _GREY), grey[:, :, None], image)
