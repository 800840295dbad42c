"""What two labels say about each other: how many levels they share.

Labels are ``int32 [N, L]``, level 0 coarsest, ``-1`` unknown and always a suffix. Ids
are unique within a level, so two equal known ids mean equal paths down to that level.
"""

import jax
import jax.numpy as jnp


def shared_levels(a: jax.Array, b: jax.Array) -> jax.Array:
    """Number of levels at which two labels are known to agree.

    Args:
      a: ``[M, L]`` labels.
      b: ``[N, L]`` labels.

    Returns:
      ``int32 [M, N]`` in 0..L. Columns are compared as whole prefixes: a coincidence
      of ids below the first difference does not count.
    """
    shared = jnp.zeros((a.shape[0], b.shape[0]), jnp.int32)
    prefix = jnp.ones((a.shape[0], b.shape[0]), bool)
    for level in range(a.shape[1]):
        column_a, column_b = a[:, level, None], b[None, :, level]
        prefix &= (column_a == column_b) & (column_a >= 0)
        shared += prefix
    return shared


def known_levels(labels: jax.Array) -> jax.Array:
    """``int32 [N]``: how many levels of each label ``[N, L]`` are known."""
    return jnp.sum(labels >= 0, -1, dtype=jnp.int32)


def path_ids(labels: jax.Array) -> jax.Array:
    """Numbers the distinct paths among labels, level by level.

    Args:
      labels: ``[N, L]``; ids may be any integers and need not be unique in a level.

    Returns:
      ``int32 [N, L]``: two rows have the same number in 0..N-1 at a level if and only
      if they agree in all columns down to it; -1 where one of those is unknown.
      Numbers follow the lexicographic order of the paths.
    """
    order = jnp.lexsort(labels.T[::-1])
    ordered = labels[order]
    changed = ordered[1:] != ordered[:-1]
    ids = []
    starts = jnp.zeros((labels.shape[0] - 1,), bool)
    for level in range(labels.shape[1]):
        starts |= changed[:, level]
        number = jnp.cumsum(starts, dtype=jnp.int32)
        ids.append(jnp.concatenate([jnp.zeros((1,), jnp.int32), number]))
    ids = jnp.zeros(labels.shape, jnp.int32).at[order].set(jnp.stack(ids, 1))
    known = jnp.cumprod(labels >= 0, axis=1) > 0
    return jnp.where(known, ids, -1)
