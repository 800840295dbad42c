"""A cloud of points seen from one side."""

import numpy as np
from matplotlib.figure import Figure

from hierjax.errors import UserError

_TURN, _TILT = np.deg2rad([35.0, 20.0])


def point_cloud(points: np.ndarray, *, size: float = 1.4) -> Figure:
    """Draws a cloud from the front and a little above, near points dark.

    Args:
      points: Finite values ``[P, 3]``, P at least 1, the second coordinate up.
      size: Width and height of the figure in inches.

    Returns:
      A square figure without axes that the cloud fills.

    Raises:
      UserError: A wrong shape, or a value is not finite.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise UserError(f"points have shape {points.shape}, accepted is [P, 3]")
    if not np.isfinite(points).all():
        raise UserError("points must be finite")
    x, up, z = (points - (points.min(axis=0) + points.max(axis=0)) / 2).T
    right = np.cos(_TURN) * x + np.sin(_TURN) * z
    depth = np.cos(_TURN) * z - np.sin(_TURN) * x
    height = np.cos(_TILT) * up - np.sin(_TILT) * depth
    near = np.cos(_TILT) * depth + np.sin(_TILT) * up
    reach = 1.05 * max(np.abs(right).max(), np.abs(height).max()) or 1.0
    figure = Figure((size, size), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    order = np.argsort(near)
    span = np.ptp(near) or 1.0
    axes.scatter(
        right[order],
        height[order],
        s=1.5 * (size / 1.4) ** 2,
        c=near[order],
        cmap="Blues",
        # The lightest blues are lost on white.
        vmin=near.min() - 0.5 * span,
        vmax=near.max(),
        linewidths=0,
    )
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.axis("off")
    return figure
