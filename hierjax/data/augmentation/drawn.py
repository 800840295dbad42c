"""Views drawn from copies that were changed beforehand."""

import functools

import jax

from hierjax.data.augmentation.views import Augmentation


@functools.cache
def drawn_views(num_views: int) -> Augmentation:
    """Draws among the changed copies of an example, see `Dataset.views`.

    The same number gives the same function, since training steps are compiled once a
    function.

    Args:
      num_views: V, at most as many as there are copies.

    Returns:
      ``(key, copies [K, ...]) -> [V, ...]``, V different ones of the K, all equally
      likely.
    """

    def draw(key: jax.Array, copies: jax.Array) -> jax.Array:
        return jax.random.choice(key, copies, (num_views,), replace=False)

    return draw
