"""Log-sum-exp of every row's similarities to all other rows, in bounded memory.

The similarities ``s_ik = x_i . x_k`` are symmetric, and so is which pairs count. The
gradient therefore takes one product instead of two: with the softmax weights
``p_ik = exp(s_ik - lse_i)`` and the cotangents ``g``,

``d sum_i g_i lse_i / d x_i = sum_k (g_i p_ik + g_k p_ki) x_k``.

On many devices that takes ``lse`` and ``g`` of all rows, and no sum over devices.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from hierjax import collectives, masks
from hierjax.losses import blocks


class PairInfo(NamedTuple):
    """What decides which pairs of rows count, for the n rows of this device.

    Attributes:
      index: int32 ``[n]``, place of the row in the whole batch.
      labels: int32 ``[n, L]``, -1 unknown and a suffix.
      present: bool ``[n, K]``: whether the row takes part at each of the levels asked
        for; padding takes part at none.
    """

    index: jax.Array
    labels: jax.Array
    present: jax.Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def row_logsumexp(
    rows: jax.Array,
    info: PairInfo,
    levels: tuple[int, ...],
    axis_name: str | None,
    block_size: int | None,
) -> jax.Array:
    """``log sum_k exp(x_i . x_k)`` over the rows whose relation to row i is known.

    At level l that is any other row that takes part there, unless one of the two paths
    ends above or at l and does not contradict the other: then the pair may or may not
    agree at l. Differentiable once, in reverse mode.

    Args:
      rows: float32 ``[n, D]``, this device's; similarities are their products, so the
        temperature is in them.
      info: of these rows.
      levels: the K levels asked for. If all labels are known and all rows take part,
        the levels have one value in common, computed once.
      axis_name: mapped axis over whose rows k runs, or None.
      block_size: rows i at a time; None: all, and the similarities are kept for the
        gradient instead of being computed again.

    Returns:
      float32 ``[n, K]``; 0 for rows without a pair.
    """
    return _forward(rows, info, levels, axis_name, block_size)[0]


def _forward(rows, info, levels, axis_name, block_size):
    keys = collectives.all_gather_rows(rows, axis_name)
    key_info = jax.tree.map(lambda x: collectives.all_gather_rows(x, axis_name), info)
    num_rows = rows.shape[0]
    dense = block_size is None or block_size >= num_rows
    similarities = _products(rows, keys) if dense else None

    def of_all_rows(pair_mask):
        def of_block(anchors, _):
            s = similarities if dense else _products(rows[anchors], keys)
            return _logsumexp(s, pair_mask(_take(info, anchors), key_info))

        by_block = blocks.map_anchor_blocks(of_block, num_rows, block_size)
        return by_block.reshape(-1, by_block.shape[-1])[:num_rows]

    lse = lax.cond(
        _is_complete(key_info, levels),
        lambda: _same_at_all(of_all_rows(_other_rows), len(levels)),
        lambda: of_all_rows(functools.partial(_known_pairs, levels=levels)),
    )
    return lse, (rows, keys, info, key_info, similarities, lse)


def _backward(levels, axis_name, block_size, residuals, gradient):
    rows, keys, info, key_info, similarities, lse = residuals
    num_rows = rows.shape[0]
    key_gradient, key_lse = (
        collectives.all_gather_rows(x, axis_name) for x in (gradient, lse)
    )

    def of_all_rows(pair_mask, gradient, key_gradient):
        def of_block(anchors, _):
            s = similarities
            if s is None:
                s = _products(rows[anchors], keys)
            pairs = pair_mask(_take(info, anchors), key_info)
            weights = 0.0
            for level, mask in enumerate(pairs):
                own = jnp.exp(s - lse[anchors, level, None])
                other = jnp.exp(s - key_lse[None, :, level])
                both = own * gradient[anchors, level, None]
                both += other * key_gradient[None, :, level]
                weights += jnp.where(mask, both, 0.0)
            return _matmul(weights, keys)

        by_block = blocks.map_anchor_blocks(of_block, num_rows, block_size)
        return by_block.reshape(-1, rows.shape[1])[:num_rows]

    gradient_rows = lax.cond(
        _is_complete(key_info, levels),
        lambda: of_all_rows(
            _other_rows,
            jnp.sum(gradient, 1, keepdims=True),
            jnp.sum(key_gradient, 1, keepdims=True),
        ),
        lambda: of_all_rows(
            functools.partial(_known_pairs, levels=levels), gradient, key_gradient
        ),
    )
    return gradient_rows, None


row_logsumexp.defvjp(_forward, _backward)


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _products(a: jax.Array, b: jax.Array) -> jax.Array:
    return _matmul(a, b.T)


def _take(info: PairInfo, rows: jax.Array) -> PairInfo:
    return jax.tree.map(lambda x: x[rows], info)


def _same_at_all(values: jax.Array, num_levels: int) -> jax.Array:
    return jnp.broadcast_to(values, (values.shape[0], num_levels))


def _is_complete(info: PairInfo, levels: tuple[int, ...]) -> jax.Array:
    """Whether every row that takes part does so at all levels, with known labels."""
    anywhere = jnp.any(info.present, 1)
    known = jnp.all(info.labels[:, : max(levels) + 1] >= 0, 1)
    return jnp.all(~anywhere | (jnp.all(info.present, 1) & known))


def _other_rows(a: PairInfo, b: PairInfo) -> list[jax.Array]:
    """All pairs of different rows: one mask for all levels."""
    different = a.index[:, None] != b.index[None, :]
    return [different & a.present[:, :1] & b.present[None, :, 0]]


def _known_pairs(
    a: PairInfo, b: PairInfo, *, levels: tuple[int, ...]
) -> list[jax.Array]:
    """Pairs of different rows with a known relation, a mask a level."""
    different = a.index[:, None] != b.index[None, :]
    shared = masks.shared_levels(a.labels, b.labels)
    known = jnp.minimum(
        masks.known_levels(a.labels)[:, None], masks.known_levels(b.labels)[None, :]
    )
    return [
        different
        & ((shared < known) | (known > level))
        & a.present[:, i, None]
        & b.present[None, :, i]
        for i, level in enumerate(levels)
    ]


def _logsumexp(s: jax.Array, pairs: list[jax.Array]) -> jax.Array:
    """``[b, K]`` of similarities ``[b, N]`` over the pairs of each mask."""
    values = []
    for mask in pairs:
        masked = jnp.where(mask, s, -jnp.inf)
        highest = jnp.max(masked, 1)
        empty = highest == -jnp.inf
        highest = jnp.where(empty, 0.0, highest)
        total = jnp.sum(jnp.exp(masked - highest[:, None]), 1)
        log = jnp.log(jnp.where(empty, 1.0, total))
        values.append(highest + log)
    return jnp.stack(values, 1)
