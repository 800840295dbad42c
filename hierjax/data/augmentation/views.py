"""Several views of one example."""

import functools
from collections.abc import Callable

import chex
import jax

from hierjax.errors import UserError

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]


@functools.cache
def with_views(augment: Augmentation | None, num_views: int) -> Augmentation | None:
    """Stacks independent draws of an augmentation.

    The same arguments give the same function, since training steps are compiled once a
    function.

    Args:
      augment: ``(key, example [...]) -> [1, ...]``, or None for no change.
      num_views: V, at least 1. One view is the augmentation as it is.

    Returns:
      ``(key, example [...]) -> [V, ...]``, or None for one unchanged view.

    Raises:
      UserError: No view at all; several views without an augmentation.
    """
    if num_views < 1:
        raise UserError(f"the number of views must be at least 1, got {num_views}")
    if num_views == 1:
        return augment
    if augment is None:
        raise UserError(
            f"{num_views} views without an augmentation are identical; choose an "
            "augmentation, or 1 view"
        )

    def views(key: jax.Array, example: jax.Array) -> jax.Array:
        keys = jax.random.split(key, num_views)
        stacked = jax.vmap(augment, (0, None))(keys, example)
        chex.assert_axis_dimension(stacked, 1, 1)
        return stacked[:, 0]

    return views


def check_rank(example: jax.Array, name: str, form: str, *ranks: int) -> None:
    """Refuses examples that an augmentation is not made for.

    Args:
      example: One example.
      name: Name of the augmentation.
      form: The shapes it takes, in words.
      *ranks: The ranks it takes.

    Raises:
      UserError: The example has another rank.
    """
    if example.ndim not in ranks:
        raise UserError(
            f"augmentation {name} takes examples {form}, got shape {example.shape}; "
            "choose another, or none"
        )
