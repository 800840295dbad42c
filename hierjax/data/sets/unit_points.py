"""Clouds of points at one place and of one size."""

import numpy as np


def unit_points(points: np.ndarray) -> np.ndarray:
    """Moves and scales every cloud to mean 0 and farthest point 1.

    Args:
      points: ``[N, P, 3]`` finite, P at least 1.

    Returns:
      float32 ``[N, P, 3]``; a cloud of equal points becomes 0.

    Example:
      >>> unit_points(np.array([[[1, 0, 5], [5, 0, 5]]])).tolist()
      [[[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]
    """
    points = points.astype(np.float32)
    points -= points.mean(axis=1, keepdims=True)
    radius = np.linalg.norm(points, axis=2).max(axis=1)
    return points / np.maximum(radius, np.finfo(np.float32).tiny)[:, None, None]
