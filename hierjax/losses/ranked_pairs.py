"""The pairs of a batch with their distances and ranks, walked over in bounded memory.

The notation is that of `hierjax.losses.rank`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hierjax import collectives, distances, masks, reductions
from hierjax.losses import blocks, checks

# Batches of at most this many rows are sorted, and every device computes all of them:
# a step of 12 rows takes 22 microseconds so, and 200 with the histograms (CPU).
_SMALL_BATCH = 64

_NO_PAIR = np.iinfo(np.int32).max


class Pairs(NamedTuple):
    """The pairs of b anchors with W rows; fields are ``[b, W]`` but for the places.

    Attributes:
      row: ``[b]``, place of the anchor in the whole batch.
      column: ``[W]``, place of the other row.
      distance: float32.
      bits: sortable bits of the distance, the largest int32 where not a pair.
      low: smallest possible rank.
      high: largest possible rank.
      valid: every unordered pair once, if its rank says anything.
    """

    row: jax.Array
    column: jax.Array
    distance: jax.Array
    bits: jax.Array
    low: jax.Array
    high: jax.Array
    valid: jax.Array


class RankedPairs:
    """All pairs of the batch, spread over devices and computed a block at a time.

    An anchor meets the half of the rows that follows it, around the end of the batch:
    together they meet every pair once, and all devices have the same to do.

    With blocks the distances are computed anew in every pass. Whether a pair is inside
    its block depends on their last bit, which is therefore made the same in all passes
    and on all devices (`distances.reproducible_distances`).

    Args:
      embeddings: ``[B, D]`` of this device.
      labels: ``[B, L]``.
      where: ``[B]`` bool.
      distance: ``'cosine'`` or ``'euclidean'``.
      tree_distance: hops ``[C, C]``, or None for those of the prefixes.
      axis_name: mapped axis, or None.
      block_size: anchors at a time; None: all pairs at once, computed once.
    """

    def __init__(
        self,
        embeddings: jax.Array,
        labels: jax.Array,
        where: jax.Array,
        *,
        distance: str,
        tree_distance: jax.Array | None,
        axis_name: str | None,
        block_size: int | None,
    ):
        embeddings = checks.without_padding(embeddings, where)
        embeddings, self._labels, self._where = (
            collectives.all_gather_rows(x, axis_name)
            for x in (embeddings, labels, where)
        )
        self._embeddings = distances.slice_rows(embeddings)
        self._distance = distance
        self._tree_distance = tree_distance
        self.num_rows = embeddings.shape[0]
        self._axis_of_batch = axis_name
        self._everywhere = self.num_rows <= _SMALL_BATCH
        if self._everywhere:
            self._anchors, self._offset, self._axis_name = self.num_rows, 0, None
        else:
            self._anchors, self._axis_name = labels.shape[0], axis_name
            self._offset = collectives.axis_index(axis_name) * self._anchors
        # Eight blocks leave out most of the pairs that are there twice.
        dense = block_size is None or block_size >= self._anchors
        size = self._anchors if self._everywhere else -(-self._anchors // 8)
        self._block_size = size if dense else block_size
        # Rows that a block of anchors meets; consecutive ones if not all.
        self._width = min(self.num_rows, self._block_size + self.num_rows // 2)
        self._all = None
        if dense:
            every_block = blocks.anchor_blocks(self._anchors, self._block_size)
            self._all = jax.vmap(self._pairs_of)(*every_block)

    def _pairs_of(self, anchors: jax.Array, anchor_valid: jax.Array) -> Pairs:
        row = anchors + self._offset
        column = jnp.arange(self._width, dtype=jnp.int32)
        others = self._embeddings, self._labels, self._where
        own = others
        if self._block_size < self.num_rows:
            own = jax.tree.map(lambda x: x[row], others)
        if self._width == self.num_rows:
            once = row[:, None] < column[None, :]
        else:
            column = (row[0] + column) % self.num_rows
            others = jax.tree.map(lambda x: x[column], others)
            ahead = 2 * ((column[None, :] - row[:, None]) % self.num_rows)
            opposite = (ahead == self.num_rows) & (row[:, None] < column[None, :])
            once = ((ahead > 0) & (ahead < self.num_rows)) | opposite
        d = distances.reproducible_distances(own[0], others[0], distance=self._distance)
        low, high, valid = _rank_intervals(own[1], others[1], self._tree_distance)
        valid &= once & (anchor_valid & own[2])[:, None] & others[2][None, :]
        bits = reductions.sortable_bits(lax.stop_gradient(d))
        return Pairs(row, column, d, jnp.where(valid, bits, _NO_PAIR), low, high, valid)

    def map(self, function: Callable[[Pairs], Any]) -> Any:
        """``function`` of the blocks of this device, stacked."""
        if self._all is not None:
            return jax.vmap(function)(self._all)
        return blocks.map_anchor_blocks(
            lambda anchors, valid: function(self._pairs_of(anchors, valid)),
            self._anchors,
            self._block_size,
        )

    def sum(self, function: Callable[[Pairs], Any]) -> Any:
        """Sum of ``function`` over the blocks of all devices."""
        sums = jax.tree.map(lambda x: jnp.sum(x, 0), self.map(function))
        return collectives.psum(sums, self._axis_name)

    def replicated(self, value: jax.Array) -> jax.Array:
        """``value`` of all pairs, where it may be known only to be this device's."""
        if self._everywhere:
            return collectives.agreed(value, self._axis_of_batch)
        return value

    def bits_at(self, positions: jax.Array) -> jax.Array:
        """Bits of the distances at positions ``[T]`` of their ascending order."""
        if self._everywhere and self._all is not None:
            return jnp.sort(self._all.bits[0][np.triu_indices(self.num_rows)])[
                positions
            ]

        def histogram(bin_of, num_bins):
            def count(pairs):
                bins = jnp.where(pairs.valid, bin_of(pairs.bits), num_bins)
                return jnp.zeros((num_bins,), jnp.int32).at[bins].add(1, mode="drop")

            return self.sum(count)

        return reductions.order_statistics(histogram, positions)

    def distances_at(self, bits: jax.Array) -> jax.Array:
        """Distances ``[T]`` of the given bits, with the gradient of their first pairs.

        Of several pairs at a distance the first in row order is meant.
        """
        nobody = self.num_rows

        def first(pairs):
            matches = pairs.bits[None] == bits[:, None, None]
            ends = pairs.row[:, None], pairs.column[None, :]
            low, high = jnp.minimum(*ends), jnp.maximum(*ends)
            row = jnp.min(jnp.where(matches, low[None], nobody), (1, 2))
            matches &= low[None] == row[:, None, None]
            return row, jnp.min(jnp.where(matches, high[None], nobody), (1, 2))

        rows, columns = self.map(first)
        own = jnp.min(rows, 0)
        column = jnp.min(jnp.where(rows == own[None], columns, nobody), 0)
        row = collectives.pmin(own, self._axis_name)
        column = jnp.where(own == row, column, nobody)
        column = collectives.pmin(column, self._axis_name)
        rows = self._embeddings.rows
        d = distances.paired_distances(rows[row], rows[column], distance=self._distance)
        # Without a single pair there is no first one.
        gradient = jnp.where(row < nobody, d - lax.stop_gradient(d), 0.0)
        return reductions.from_sortable_bits(bits) + gradient


def _rank_intervals(
    labels_a: jax.Array, labels_b: jax.Array, tree_distance: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Smallest and largest possible rank of each pair, and whether it says anything."""
    num_levels = labels_a.shape[1]
    shared = masks.shared_levels(labels_a, labels_b)
    known = jnp.minimum(
        masks.known_levels(labels_a)[:, None], masks.known_levels(labels_b)[None, :]
    )
    ambiguous = (shared == known) & (known < num_levels)
    informative = ~(ambiguous & (known == 0))
    disagree_next = num_levels - shared
    high = disagree_next
    if tree_distance is not None:
        hops = tree_distance[labels_a[:, -1]][:, labels_b[:, -1]].astype(jnp.int32)
        high = jnp.where(known == num_levels, hops, 2 * disagree_next)
    return jnp.where(ambiguous, 0, high), high, informative
