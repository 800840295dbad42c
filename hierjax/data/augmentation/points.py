"""Random changes of point sets ``[P, 3]`` whose second coordinate points up.

So it does in ``psb`` but for a few shapes: chairs and humans stand, ships float. Which
way they face differs within classes, hence the turns about that axis.
"""

import jax
import jax.numpy as jnp

from hierjax.data.augmentation.views import check_rank
from hierjax.errors import UserError

_NUM_POINTS = 256
_SCALES = (0.8, 1.25)
_NOISE = 0.01
_MAX_NOISE = 0.05


def points_rotate_jitter(key: jax.Array, points: jax.Array) -> jax.Array:
    """Turns a point set about the upright axis, scales it and moves every point.

    Any angle and a scale of 0.8 to 1.25, both uniform; Gaussian noise of standard
    deviation 0.01 in each coordinate, clipped at 0.05. The changes of PointNet
    (https://arxiv.org/abs/1612.00593) for points in the unit ball, and the usual
    scaling beside them.

    Args:
      key: Random key.
      points: ``[P, 3]`` floats, the second coordinate up.

    Returns:
      One view, ``[1, P, 3]``.
    """
    _check_points(points, "points_rotate_jitter")
    chance_key, noise_key = jax.random.split(key)
    chance = jax.random.uniform(chance_key, (2,))
    angle = 2 * jnp.pi * chance[0]
    scale = _SCALES[0] + (_SCALES[1] - _SCALES[0]) * chance[1]
    # Number by number: a matrix product may round to bfloat16.
    cos, sin = scale * jnp.cos(angle), scale * jnp.sin(angle)
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    turned = jnp.stack([cos * x + sin * z, scale * y, cos * z - sin * x], axis=1)
    noise = _NOISE * jax.random.normal(noise_key, points.shape)
    return (turned + jnp.clip(noise, -_MAX_NOISE, _MAX_NOISE))[None]


def points_256(key: jax.Array, points: jax.Array) -> jax.Array:
    """Takes 256 random points of a set and changes them as `points_rotate_jitter` does.

    For encoders that pool over points, which take sets of any size: evaluation gives
    them all points, unchanged. Mean and maximum then see more points than in training,
    so that a maximum lies a little higher.

    Args:
      key: Random key.
      points: ``[P, 3]`` floats with P at least 256, the second coordinate up.

    Returns:
      One view, ``[1, 256, 3]``, in random order.

    Raises:
      UserError: Fewer points.
    """
    _check_points(points, "points_256")
    if len(points) < _NUM_POINTS:
        raise UserError(
            f"augmentation points_256 takes sets of at least {_NUM_POINTS} points, got "
            f"{len(points)}; points_rotate_jitter takes any number"
        )
    choice_key, change_key = jax.random.split(key)
    # On CPUs four times as fast as a permutation; ties are still different points.
    chance = jax.random.uniform(choice_key, (len(points),))
    _, chosen = jax.lax.top_k(chance, _NUM_POINTS)
    return points_rotate_jitter(change_key, points[chosen])


def _check_points(points: jax.Array, name: str) -> None:
    check_rank(points, name, "[points, 3]", 2)
    if points.shape[1] != 3:
        raise UserError(
            f"augmentation {name} takes points of 3 coordinates, got {points.shape[1]}"
        )
