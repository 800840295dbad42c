"""Random changes of images: shape, then colours.

Floats in 0 to 1 stay so but for noise. Nothing is standardised here, neither by mean
nor by deviation: the networks begin with a convolution and BatchNorm, which undoes
any shift and scale of a channel.
"""

import math

import chex
import jax
import jax.numpy as jnp

from hierjax.data.augmentation.colors import (
    adjust_colors,
    color_jitter,
    random_greyscale,
)
from hierjax.data.augmentation.views import check_rank
from hierjax.errors import UserError

_MAX_DEGREES = 15.0
_MAX_TRANSLATION = 0.1
_SCALES = (0.9, 1.1)
_MAX_SHEAR_DEGREES = 10.0

_MAX_SLANT = 0.2
_MAX_SLANT_SHIFT = 0.08

_AREAS = (0.2, 1.0)
_RATIOS = (3 / 4, 4 / 3)
_TRIES = 10

_MAX_SHIFT = 0.04
_MAX_CHANGE = 0.4
_NOISE = 0.05


def affine(
    image: jax.Array,
    *,
    angle: jax.typing.ArrayLike = 0.0,
    translation: jax.typing.ArrayLike = (0.0, 0.0),
    scale: jax.typing.ArrayLike = 1.0,
    shear: jax.typing.ArrayLike = 0.0,
    flip: jax.typing.ArrayLike = False,
) -> jax.Array:
    r"""Transforms an image about its centre, then flips it if asked to.

    With rows counted downwards, the point at offset :math:`p` from the centre moves to

    .. math::
        s \begin{pmatrix} \cos a & -\sin a \\ \sin a & \cos a \end{pmatrix}
        \begin{pmatrix} 1 & -\tan h \\ 0 & 1 \end{pmatrix} p + t

    the parametrisation of torchvision's ``affine`` with shear along x only. Every pixel
    takes the value of the input pixel that its centre comes from (nearest neighbour;
    from the edge between two, the right or lower one), or 0 where that lies outside.

    Args:
      image: ``[H, W, C]``, any type.
      angle: *a* in degrees, clockwise.
      translation: *t*, to the right and down, in pixels.
      scale: *s*, positive; above 1 enlarges.
      shear: *h* in degrees; the upper part goes right where it is positive.
      flip: Whether to swap left and right of the result.

    Returns:
      ``[H, W, C]``.
    """
    chex.assert_rank(image, 3)
    height, width, _ = image.shape
    angle, shear = jnp.deg2rad(jnp.float32(angle)), jnp.deg2rad(jnp.float32(shear))
    right, down = translation
    # Pixel centres, counted from the centre of the image.
    x = jnp.arange(width) + 0.5 - width / 2
    y = jnp.arange(height) + 0.5 - height / 2
    x = jnp.where(flip, -x, x)[None, :] - right
    y = y[:, None] - down
    # The inverse, number by number: a matrix product may round to bfloat16.
    cos, sin = jnp.cos(angle) / scale, jnp.sin(angle) / scale
    x, y = cos * x + sin * y, cos * y - sin * x
    x = x + jnp.tan(shear) * y
    column = jnp.floor(x + width / 2).astype(jnp.int32)
    row = jnp.floor(y + height / 2).astype(jnp.int32)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    moved = image.at[row, column].get(mode="clip")
    return jnp.where(inside[:, :, None], moved, jnp.zeros((), image.dtype))


def random_affine_flip(key: jax.Array, image: jax.Array) -> jax.Array:
    """Turns, shifts, scales, shears and flips an image at random.

    Angle -15 to 15 degrees, shift up to a tenth of width and height, rounded to whole
    pixels, scale 0.9 to 1.1, shear along x -10 to 10 degrees, all uniform; a flip every
    other time. Black where nothing was. The training augmentation for CIFAR-100 and
    NABirds of "Inspecting class hierarchies in classification-based metric learning
    models" (arXiv 2301.11065), there ``RandomAffine`` and ``RandomHorizontalFlip`` of
    torchvision.

    Args:
      key: Random key.
      image: ``[H, W, C]``, any type.

    Returns:
      One view, ``[1, H, W, C]``.
    """
    check_rank(image, "random_affine_flip", "[H, W, C]", 3)
    keys = jax.random.split(key, 5)
    farthest = _MAX_TRANSLATION * jnp.array([image.shape[1], image.shape[0]])
    view = affine(
        image,
        angle=_MAX_DEGREES * jax.random.uniform(keys[0], minval=-1),
        translation=jnp.round(farthest * jax.random.uniform(keys[1], (2,), minval=-1)),
        scale=jax.random.uniform(keys[2], minval=_SCALES[0], maxval=_SCALES[1]),
        shear=_MAX_SHEAR_DEGREES * jax.random.uniform(keys[3], minval=-1),
        flip=jax.random.bernoulli(keys[4]),
    )
    return view[None]


def random_slant(key: jax.Array, image: jax.Array) -> jax.Array:
    """Turns, stretches, slants and shifts an image a little, but never flips it.

    For writing. The point that a pixel shows is its offset from the centre times the
    identity plus uniform numbers of -0.2 to 0.2 in all four places, then shifted by up
    to 8 % of height and width either way, uniform. Bilinear, which keeps thin strokes;
    black where nothing was.

    Args:
      key: Random key.
      image: ``[H, W]`` or ``[H, W, C]`` floats.

    Returns:
      One view, ``[1, H, W]`` or ``[1, H, W, C]``.
    """
    check_rank(image, "random_slant", "[H, W] or [H, W, C]", 2, 3)
    sides = jnp.array(image.shape[:2], jnp.float32)
    matrix_key, shift_key = jax.random.split(key)
    change = _MAX_SLANT * jax.random.uniform(matrix_key, (2, 2), minval=-1)
    matrix = jnp.eye(2) + change
    shift = _MAX_SLANT_SHIFT * sides * jax.random.uniform(shift_key, (2,), minval=-1)
    middle = (sides - 1) / 2
    rows = jnp.arange(image.shape[0])[:, None] - middle[0]
    columns = jnp.arange(image.shape[1])[None, :] - middle[1]
    # Number by number: a matrix product may round to bfloat16.
    places = [
        matrix[i, 0] * rows + matrix[i, 1] * columns + shift[i] + middle[i]
        for i in (0, 1)
    ]

    def sample(channel: jax.Array) -> jax.Array:
        return jax.scipy.ndimage.map_coordinates(channel, places, order=1)

    channels = image.reshape(*image.shape[:2], -1)
    view = jax.vmap(sample, in_axes=2, out_axes=2)(channels)
    return view.reshape(1, *image.shape)


def resized_crop(
    image: jax.Array,
    *,
    top: jax.typing.ArrayLike,
    left: jax.typing.ArrayLike,
    height: jax.typing.ArrayLike,
    width: jax.typing.ArrayLike,
) -> jax.Array:
    """Enlarges a part of an image to the size of the whole, bilinearly.

    Pixels are squares, values belong to their centres, and nothing from outside the
    part is mixed in. One small dense matrix for the rows and one for the columns, which
    suits TPUs better than gathering does.

    Args:
      image: ``[H, W, C]`` floats.
      top: First row of the part, from 0.
      left: First column.
      height: Rows of the part, 1 to H - top.
      width: Columns, 1 to W - left.

    Returns:
      ``[H, W, C]``.
    """
    chex.assert_rank(image, 3)
    rows = _interpolation(image.shape[0], top, height)
    columns = _interpolation(image.shape[1], left, width)
    exact = jax.lax.Precision.HIGHEST
    image = jnp.einsum("ih,hwc->iwc", rows, image, precision=exact)
    return jnp.einsum("jw,iwc->ijc", columns, image, precision=exact)


def _interpolation(
    size: int, start: jax.typing.ArrayLike, length: jax.typing.ArrayLike
) -> jax.Array:
    """Weights ``[size, size]`` of the old places in each new one."""
    places = jnp.arange(size, dtype=jnp.float32)
    source = jnp.clip((places + 0.5) * length / size - 0.5, 0, length - 1) + start
    return jnp.maximum(1 - jnp.abs(source[:, None] - places[None, :]), 0)


def random_resized_crop(key: jax.Array, image: jax.Array) -> jax.Array:
    """Enlarges a random part of an image to the size of the whole.

    The part has 0.2 to 1 of the area, uniform, and is 3/4 to 4/3 as wide as high,
    uniform in the logarithm; ten tries to find one that fits into the image, else the
    largest one in the middle whose ratio is allowed. ``RandomResizedCrop`` of
    torchvision with ``scale=(.2, 1)``.

    Args:
      key: Random key.
      image: ``[H, W, C]`` floats.

    Returns:
      ``[H, W, C]``.
    """
    chex.assert_rank(image, 3)
    full_height, full_width, _ = image.shape
    chance = jax.random.uniform(key, (2 * _TRIES + 2,))
    shares = _AREAS[0] + (_AREAS[1] - _AREAS[0]) * chance[:_TRIES]
    lowest, highest = map(math.log, _RATIOS)
    ratios = jnp.exp(lowest + (highest - lowest) * chance[_TRIES:-2])
    areas = full_height * full_width * shares
    widths = jnp.round(jnp.sqrt(areas * ratios)).astype(jnp.int32)
    heights = jnp.round(jnp.sqrt(areas / ratios)).astype(jnp.int32)
    fits = (
        (widths >= 1)
        & (widths <= full_width)
        & (heights >= 1)
        & (heights <= full_height)
    )
    first = jnp.argmax(fits)
    middle_height = min(full_height, round(full_width / _RATIOS[0]))
    middle_width = min(full_width, round(full_height * _RATIOS[1]))
    found = fits[first]
    height = jnp.where(found, heights[first], middle_height)
    width = jnp.where(found, widths[first], middle_width)
    spare = jnp.stack([full_height - height, full_width - width])
    anywhere = jnp.floor(chance[-2:] * (spare + 1)).astype(jnp.int32)
    top, left = jnp.where(found, anywhere, spare // 2)
    return resized_crop(image, top=top, left=left, height=height, width=width)


def random_flip(key: jax.Array, image: jax.Array) -> jax.Array:
    """Swaps left and right of an image ``[H, W, C]`` every other time."""
    chex.assert_rank(image, 3)
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def crop_flip_views(key: jax.Array, image: jax.Array) -> jax.Array:
    """Enlarges a random part of an image and flips it every other time.

    What the linear classifier is trained on in SupContrast
    (https://github.com/HobbitLong/SupContrast), but for the standardisation.

    Args:
      key: Random key.
      image: ``[H, W, C]`` floats.

    Returns:
      One view, ``[1, H, W, C]``.
    """
    check_rank(image, "crop_flip", "[H, W, C]", 3)
    crop_key, flip_key = jax.random.split(key)
    return random_flip(flip_key, random_resized_crop(crop_key, image))[None]


def simclr_views(key: jax.Array, image: jax.Array) -> jax.Array:
    """Crops, flips, changes colours and drops them, all at random.

    `random_resized_crop`, `random_flip`, `color_jitter` (four times in five) and
    `random_greyscale` (one time in five): the views of SupContrast
    (https://github.com/HobbitLong/SupContrast) for CIFAR, but for the standardisation.

    Args:
      key: Random key.
      image: ``[H, W, 3]`` floats in 0 to 1.

    Returns:
      One view, ``[1, H, W, 3]``.
    """
    check_rank(image, "simclr", "[H, W, 3]", 3)
    if image.shape[2] != 3:
        raise UserError(
            f"augmentation simclr takes images of 3 channels, got {image.shape[2]}; "
            "for grey ones there are crop_flip and shift_jitter_noise"
        )
    shape_key, jitter_key, grey_key = jax.random.split(key, 3)
    view = color_jitter(jitter_key, crop_flip_views(shape_key, image)[0])
    return random_greyscale(grey_key, view)[None]


def random_shift(
    key: jax.Array, example: jax.Array, most: tuple[int, int]
) -> jax.Array:
    """Shifts the first two axes at random, with 0 where nothing was.

    Args:
      key: Random key.
      example: ``[H, W, ...]``.
      most: The farthest along each axis either way; the shift is uniform and whole.

    Returns:
      ``[H, W, ...]``.
    """
    start = jax.random.randint(key, (2,), 0, 2 * jnp.array(most) + 1)
    rest = example.ndim - 2
    padded = jnp.pad(example, [(x, x) for x in most] + [(0, 0)] * rest)
    return jax.lax.dynamic_slice(padded, [*start, *[0] * rest], example.shape)


def shift_jitter_noise(key: jax.Array, image: jax.Array) -> jax.Array:
    """Shifts an image a little, changes its brightness and contrast and adds noise.

    For digits on a dark ground, which a flip would make illegible and a crop would cut,
    above all those near the border of hierarchical MNIST. Up to 4 % of height and width
    either way (2 pixels of 48), uniform and whole, black where nothing was; brightness
    and contrast by uniform factors 0.6 to 1.4, in random order, see `adjust_colors`;
    Gaussian noise of standard deviation 0.05 in the end, which is not clipped.

    Args:
      key: Random key.
      image: ``[H, W]`` or ``[H, W, C]`` floats in 0 to 1, one channel or three.

    Returns:
      One view, ``[1, H, W]`` or ``[1, H, W, C]``.
    """
    check_rank(image, "shift_jitter_noise", "[H, W] or [H, W, C]", 2, 3)
    height, width, *channels = image.shape
    if channels not in ([], [1], [3]):
        raise UserError(
            "augmentation shift_jitter_noise takes images of one channel or three, "
            f"got {channels[0]}"
        )
    shift_key, jitter_key, noise_key = jax.random.split(key, 3)
    most = (round(_MAX_SHIFT * height), round(_MAX_SHIFT * width))
    view = random_shift(shift_key, image, most).reshape(height, width, -1)
    chance = jax.random.uniform(jitter_key, (3,))
    brightness, contrast = 1 + _MAX_CHANGE * (2 * chance[:2] - 1)
    view = adjust_colors(
        view,
        brightness=brightness,
        contrast=contrast,
        order=jnp.where(chance[2] < 0.5, jnp.arange(4), jnp.array([1, 0, 2, 3])),
    )
    noise = jax.random.normal(noise_key, image.shape)
    return (view.reshape(image.shape) + _NOISE * noise)[None]
