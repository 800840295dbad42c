"""How nearly distances are those of a tree: Gromov's delta."""

from typing import NamedTuple

import numpy as np

from hierjax.errors import UserError
from hierjax.metrics.ranking import checked_square


class Hyperbolicity(NamedTuple):
    """What `delta_hyperbolicity` finds.

    Attributes:
      delta: in units of the distances; 0 for a tree.
      diameter: largest distance.
      relative: ``2 delta / diameter`` in [0, 1], as Borassi et al. 2015 and most papers
        define it; NaN if all distances are 0.
      relative_unscaled: ``delta / diameter``, what the code of Khrulkov et al. 2020,
        "Hyperbolic Image Embeddings", prints.
    """

    delta: float
    diameter: float
    relative: float
    relative_unscaled: float


def delta_hyperbolicity(distances: np.ndarray, *, base: int = 0) -> Hyperbolicity:
    r"""Gromov's delta of distances, seen from one point.

    .. math:: \delta = \max_{x, y, z} \min((x|z)_w, (z|y)_w) - (x|y)_w, \quad
      (x|y)_w = \tfrac{1}{2} (d_{xw} + d_{yw} - d_{xy})

    The value for the best w is at most twice that of another. Fournier et al. 2015,
    "Computing the Gromov hyperbolicity of a discrete metric space".

    Args:
      distances: ``[N, N]`` symmetric, at least 0, 0 on the diagonal; O(N^3) time: take
        a thousand points.
      base: w.

    Returns:
      delta and what is made of it.

    Raises:
      UserError: a matrix of another kind.

    Examples:
      >>> from hierjax import Hierarchy
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> delta_hyperbolicity(tree.path_length()).delta
      0.0
      >>> square = np.array([[0, 1, 2, 1], [1, 0, 1, 2], [2, 1, 0, 1], [1, 2, 1, 0]])
      >>> delta_hyperbolicity(square).relative
      1.0
    """
    distances = checked_square("distances", distances).astype(np.float64)
    if not (distances >= 0).all() or distances.diagonal().any():
        raise UserError("distances must be at least 0, and 0 on the diagonal")
    if not np.allclose(distances, distances.T, rtol=1e-6, atol=0):
        raise UserError("distances must be symmetric")
    if not 0 <= base < len(distances):
        raise UserError(f"base must be in 0..{len(distances) - 1}, found {base}")
    from_base = distances[base]
    products = (from_base[:, None] + from_base[None, :] - distances) / 2
    delta = max(
        float((np.minimum(row[:, None], products).max(axis=0) - row).max())
        for row in products
    )
    diameter = float(distances.max())
    share = delta / diameter if diameter else float("nan")
    return Hyperbolicity(delta, diameter, 2 * share, share)
