"""Walk over the anchors of a batch, a block at a time, in bounded memory."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax


def map_anchor_blocks(
    function: Callable[[jax.Array, jax.Array], jax.Array],
    num_anchors: int,
    block_size: int | None,
) -> jax.Array:
    """Apply ``function`` to blocks of anchor indices and stack the results.

    Args:
      function: maps ``(anchors int32 [b], valid bool [b])`` to a pytree. What it holds
        in between is recomputed for the gradient, so memory stays that of one block.
        Anchors that only fill the last block have ``valid`` False.
      num_anchors: number of anchors, at least 1.
      block_size: anchors at a time; None: all in one block, nothing recomputed.

    Returns:
      The pytree of results with a leading axis over blocks.
    """
    if block_size is None or block_size >= num_anchors:
        anchors = jnp.arange(num_anchors, dtype=jnp.int32)
        result = function(anchors, jnp.ones((num_anchors,), bool))
        return jax.tree.map(lambda x: x[None], result)
    body = jax.checkpoint(lambda block: function(*block))
    return lax.map(body, anchor_blocks(num_anchors, block_size))


def anchor_blocks(num_anchors: int, block_size: int) -> tuple[jax.Array, jax.Array]:
    """Indices int32 ``[K, b]`` of K blocks of consecutive anchors, and which are valid.

    What only fills the last block repeats the last anchor and is not valid.
    """
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}")
    num_blocks = -(-num_anchors // block_size)
    anchors = jnp.arange(num_blocks * block_size, dtype=jnp.int32)
    anchors = anchors.reshape(num_blocks, block_size)
    return jnp.minimum(anchors, num_anchors - 1), anchors < num_anchors
