"""Random changes of log-mel spectrograms, frames by bands, in 0 to 1.

Made for ``gm_notes``, whose steps from 0 to 1 are -80 to 40 dB and whose test pitches
are not heard in training.
"""

import jax
import jax.numpy as jnp

from hierjax.data.augmentation.images import random_shift
from hierjax.data.augmentation.views import check_rank

_MAX_FRAMES = 2
_MAX_BANDS = 3
_NOISE = 0.05

_MAX_GAIN = 0.1
_MAX_HIDDEN_FRAMES = 4
_MAX_HIDDEN_BANDS = 5


def random_shift_noise(key: jax.Array, spectrogram: jax.Array) -> jax.Array:
    """Shifts a spectrogram in time and frequency at random and adds noise.

    Up to 2 frames and 3 bands either way, uniform and whole, silence (0) where nothing
    was; Gaussian noise of standard deviation 0.05.

    Args:
      key: Random key.
      spectrogram: ``[frames, bands]`` floats.

    Returns:
      One view, ``[1, frames, bands]``.
    """
    check_rank(spectrogram, "random_shift_noise", "[frames, bands]", 2)
    shift_key, noise_key = jax.random.split(key)
    moved = random_shift(shift_key, spectrogram, (_MAX_FRAMES, _MAX_BANDS))
    noise = jax.random.normal(noise_key, spectrogram.shape)
    return (moved + _NOISE * noise)[None]


def spec_augment(key: jax.Array, spectrogram: jax.Array) -> jax.Array:
    """Shifts a spectrogram, changes its gain, hides parts and adds noise.

    Shift and noise as in `random_shift_noise`. Between them a gain of up to 12 dB
    either way, uniform: decibels add, so it is one number of -0.1 to 0.1 for all values
    above silence, none of which falls below 0. Then one run of 0 to 4 frames and one of
    0 to 5 bands are silenced, lengths and places uniform, as in "SpecAugment" by Park
    et al. (https://arxiv.org/abs/1904.08779) but without its warping of time.

    Args:
      key: Random key.
      spectrogram: ``[frames, bands]`` floats in 0 to 1.

    Returns:
      One view, ``[1, frames, bands]``.
    """
    check_rank(spectrogram, "spec_augment", "[frames, bands]", 2)
    shift_key, chance_key, noise_key = jax.random.split(key, 3)
    chance = jax.random.uniform(chance_key, (5,))
    view = random_shift(shift_key, spectrogram, (_MAX_FRAMES, _MAX_BANDS))
    gain = _MAX_GAIN * (2 * chance[0] - 1)
    view = jnp.where(view > 0, jnp.maximum(view + gain, 0), 0)
    frames, bands = view.shape
    hidden_frames = _run(frames, _MAX_HIDDEN_FRAMES, chance[1:3])
    hidden_bands = _run(bands, _MAX_HIDDEN_BANDS, chance[3:])
    view = jnp.where(hidden_frames[:, None] | hidden_bands[None, :], 0, view)
    return (view + _NOISE * jax.random.normal(noise_key, view.shape))[None]


def _run(size: int, longest: int, chance: jax.Array) -> jax.Array:
    """Bools ``[size]``, true on one run of random length and place."""
    length = jnp.floor(chance[0] * (min(longest, size) + 1))
    start = jnp.floor(chance[1] * (size - length + 1))
    places = jnp.arange(size)
    return (places >= start) & (places < start + length)
