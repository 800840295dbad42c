"""Filters of the mel scale over a power spectrum."""

import functools

import numpy as np


@functools.cache
def mel_filters(
    bands: int, *, window: int, rate: int, lowest_hz: float, highest_hz: float
) -> np.ndarray:
    """Returns triangles over the power spectrum, read-only.

    The corners are evenly spaced on the mel scale 2595 log10(1 + f / 700); every
    triangle has area 1 over the bins of the spectrum.

    Args:
      bands: M, how many.
      window: W, samples a frame.
      rate: Samples a second.
      lowest_hz: Where the first triangle begins.
      highest_hz: Where the last one ends, at most half the rate.

    Returns:
      float64 ``[W // 2 + 1, M]``.
    """
    lowest, highest = 2595 * np.log10(1 + np.array([lowest_hz, highest_hz]) / 700)
    corners = 700 * (10 ** (np.linspace(lowest, highest, bands + 2) / 2595) - 1)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    frequencies = np.linspace(0, rate / 2, window // 2 + 1)[:, None]
    rising = (frequencies - left) / (centre - left)
    falling = (right - frequencies) / (right - centre)
    bin_hz = rate / window
    filters = np.minimum(rising, falling).clip(0) * 2 * bin_hz / (right - left)
    filters.flags.writeable = False
    return filters
