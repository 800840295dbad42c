"""Random changes of images, on the device and one example at a time.

Each is ``(key, example [...]) -> views [V, ...]``, and the training step maps it over
the batch.
"""

import chex
import jax
import jax.numpy as jnp

from hierjax.errors import UserError

_MAX_DEGREES = 15.0
_MAX_TRANSLATION = 0.1
_SCALES = (0.9, 1.1)
_MAX_SHEAR_DEGREES = 10.0

_MAX_FRAMES = 2
_MAX_BANDS = 3
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


def _check_rank(example: jax.Array, name: str, form: str, rank: int) -> None:
    if example.ndim != rank:
        raise UserError(
            f"augmentation {name} takes examples {form}, got shape {example.shape}; "
            "choose another, or none"
        )


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
    _check_rank(image, "random_affine_flip", "[H, W, C]", 3)
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


def random_shift_noise(key: jax.Array, spectrogram: jax.Array) -> jax.Array:
    """Shifts a spectrogram in time and frequency at random and adds noise.

    Up to 2 frames and 3 bands either way, uniform and whole, silence (0) where nothing
    was; Gaussian noise of standard deviation 0.05. Made for ``gm_notes``, whose values
    lie in 0 to 1 and whose test pitches are not heard in training.

    Args:
      key: Random key.
      spectrogram: ``[frames, bands]`` floats.

    Returns:
      One view, ``[1, frames, bands]``.
    """
    _check_rank(spectrogram, "random_shift_noise", "[frames, bands]", 2)
    shift_key, noise_key = jax.random.split(key)
    most = jnp.array([_MAX_FRAMES, _MAX_BANDS])
    start = jax.random.randint(shift_key, (2,), 0, 2 * most + 1)
    padded = jnp.pad(spectrogram, [(_MAX_FRAMES,) * 2, (_MAX_BANDS,) * 2])
    moved = jax.lax.dynamic_slice(padded, start, spectrogram.shape)
    noise = jax.random.normal(noise_key, spectrogram.shape)
    return (moved + _NOISE * noise)[None]


AUGMENTATIONS = {
    "random_affine_flip": random_affine_flip,
    "random_shift_noise": random_shift_noise,
}
"""Augmentations by name."""
