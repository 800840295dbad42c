"""Images that are the same everywhere, for features that PyTorch computed once."""

import pathlib

import numpy as np

PATH = pathlib.Path(__file__).with_suffix(".npz")


def images(side):
    """Noise, and waves of three colours: bytes ``[2, side, side, 3]``."""
    rng = np.random.default_rng(side)
    noise = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    waves = [127.5 + 127 * np.sin(0.1 * k * x + 0.07 * y * y / side) for k in (1, 2, 3)]
    return np.stack([noise, np.round(np.stack(waves, axis=-1)).astype(np.uint8)])
