"""Rank-based loss: pairwise distances ordered as the label tree orders them.

Source: Nolasco & Stowell, `Rank-based loss for learning hierarchical representations
<https://arxiv.org/abs/2110.05941>`_, 2021, and the authors' published code.

Shapes: B anchors on this device, N rows of the whole batch, P unordered pairs, R
ranks, L levels. A rank is an index into the table of possible tree distances.
"""

from typing import NamedTuple

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


class _Pairs(NamedTuple):
    """The pairs of a block of anchors with all rows; every field is ``[b, N]``."""

    distance: jax.Array
    bits: jax.Array  # sortable bits of the distance, _NO_PAIR where not a pair
    low: jax.Array  # smallest possible rank
    high: jax.Array  # largest possible rank
    valid: jax.Array


class _Edges(NamedTuple):
    """First and last position of the block of every rank, ``int32 [R]`` each."""

    first: jax.Array
    last: jax.Array


def _lookup(table: jax.Array, index: jax.Array) -> jax.Array:
    """``table[index]`` for a table of a few entries, as selects instead of a gather."""
    result = jnp.broadcast_to(table[0], index.shape)
    for entry in range(1, table.shape[0]):
        result = jnp.where(index == entry, table[entry], result)
    return result


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


def _ranked_pairs(d, labels_a, labels_b, valid, tree_distance) -> _Pairs:
    """Pairs from their distances ``[b, N]`` and labels; uninformative ones left out."""
    low, high, informative = _rank_intervals(labels_a, labels_b, tree_distance)
    valid &= informative
    bits = reductions.sortable_bits(lax.stop_gradient(d))
    return _Pairs(d, jnp.where(valid, bits, _NO_PAIR), low, high, valid)


def _checked_hops(tree_distance: jax.Array, num_levels: int) -> jax.Array:
    """``tree_distance`` as an array; checked where its values are known already."""
    if isinstance(tree_distance, jax.core.Tracer):
        return tree_distance
    hops = np.asarray(tree_distance)
    if hops.ndim != 2 or hops.min() < 0 or hops.max() > 2 * num_levels:
        raise ValueError(
            f"tree_distance must be [C, C] hops in 0..{2 * num_levels} for "
            f"{num_levels} levels, got shape {hops.shape} and {hops.min()}.."
            f"{hops.max()}"
        )
    if not np.issubdtype(hops.dtype, np.integer):
        raise ValueError(f"tree_distance must hold integers, got {hops.dtype}")
    return jnp.asarray(hops)


def _block_edges(exact, ambiguous, exists) -> _Edges:
    """Positions of the blocks from the numbers of pairs.

    Args:
      exact: ``int32 [R]`` pairs known to have this rank.
      ambiguous: ``int32 [R]`` pairs whose rank lies between 0 and this one.
      exists: ``bool [R]`` ranks that occur in the tree; an ambiguous pair is shared out
        evenly over those in its interval.
    """
    ranks = jnp.arange(exact.shape[0])
    reached = jnp.cumsum((ranks[None, :] <= ranks[:, None]) & exists[None, :], axis=1)
    size = jnp.maximum(reached[:, -1:], 1)
    # Whole pairs stay in integers: float32 cannot count beyond 2^24. Plain division
    # rounds down here, and without the sign tests of `//` and `%`.
    whole, rest = lax.div(ambiguous[:, None], size), lax.rem(ambiguous[:, None], size)
    parts = jnp.sum(rest * reached / size, 0)
    # Rounded halves go up, also where thirds and sixths add up to almost a half.
    ends = jnp.cumsum(exact) + jnp.sum(whole * reached, 0)
    ends += jnp.floor(parts + 0.5001).astype(jnp.int32)
    starts = jnp.concatenate([jnp.zeros((1,), jnp.int32), ends[:-1]])
    return _Edges(starts, ends - 1)


def rank_based_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    distance: str = "cosine",
    target: str = "rank_index",
    stop_gradient_target: bool = False,
    tree_distance: jax.Array | None = None,
    where: jax.Array | None = None,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> jax.Array:
    r"""Squared error of the pairs that are out of the order of the label tree.

    All P pairs are sorted by distance. The pairs of rank r (tree distance) own a block
    of positions: after all pairs of smaller rank. A pair inside its block costs
    nothing, every other one is drawn to a target distance t:

    .. math:: \frac{1}{P} \sum_p (1 - I_p) (d_p - t_p)^2

    Args:
      embeddings: ``[B, D]``; unit vectors for the cosine distance.
      labels: ``int [B, L]``, level 0 coarsest, -1 unknown (a suffix). The rank of a
        pair is ``2 (L - shared levels)``, the tree distance in hops.
      distance: ``'cosine'`` or ``'euclidean'``.
      target: ``'rank_index'``, the published code: the distance at sorted position
        ``min(r, P - 1)``, so all targets are among the smallest distances of the
        batch. ``'block_edge'``, our reading of the paper's text: the nearest edge of
        the pair's own block.
      stop_gradient_target: treat targets as constants. By default the gradient also
        flows through the one pair that sets the target.
      tree_distance: ``int [C, C]`` hops between classes, at most 2 L, odd values
        allowed, indexed by ``labels[:, -1]``; replaces the rank of the prefixes, which
        on ragged trees orders some pairs differently. Pass
        ``hierarchy.path_length()``.
      where: ``[B]`` bool, False = padding.
      axis_name: mapped axis; the rows of all its devices are one batch.
      block_size: anchors at a time; distances are then recomputed in every pass, with
        memory O(block_size x N) instead of O(B x N).

    Returns:
      Scalar mean over all pairs, 0 with gradient 0 if there are none.

    Unknown levels (claimed by the paper, absent from its code) make a rank an interval
    from 0 to its value if the pair disagrees at the first unknown level; a known
    difference at a coarser level keeps the rank exact. A pair is in order anywhere
    between the first and the last block of its interval, its target is the nearest
    edge of that union or, with ``'rank_index'``, the nearer of the two ends' targets.
    It is shared out evenly over its ranks when the blocks are sized. Pairs that could
    have any rank do not count. ``tree_distance`` ranks pairs of complete labels only:
    an incomplete pair that is known to differ keeps the hops of its prefixes, exact on
    balanced trees and an upper bound on ragged ones.

    Ties: blocks are compared by the distances at their edges, so a pair tied with an
    edge counts as inside, and of several pairs tied with a target the first in row
    order gets the target's gradient.
    """
    embeddings = checks.as_floats("embeddings", embeddings, 2)
    labels = checks.as_labels(labels, embeddings.shape[0])
    checks.check_option("distance", distance, ("cosine", "euclidean"))
    checks.check_option("target", target, ("rank_index", "block_edge"))
    where = checks.valid_rows(where, embeddings.shape[0])
    num_levels = labels.shape[1]
    if tree_distance is not None:
        tree_distance = _checked_hops(tree_distance, num_levels)

    all_embeddings = collectives.all_gather_rows(embeddings, axis_name)
    all_labels = collectives.all_gather_rows(labels, axis_name)
    all_where = collectives.all_gather_rows(where, axis_name)
    num_rows = all_embeddings.shape[0]
    num_anchors, offset = embeddings.shape[0], 0
    if num_rows <= _SMALL_BATCH:
        num_anchors, axis_name = num_rows, None
    else:
        offset = collectives.axis_index(axis_name) * num_anchors
    columns = jnp.arange(num_rows, dtype=jnp.int32)

    if tree_distance is None:
        hops_of_rank = 2 * jnp.arange(num_levels + 1)
        exists = jnp.ones((num_levels + 1,), bool)
    else:
        hops_of_rank = jnp.arange(2 * num_levels + 1)
        exists = jnp.stack([jnp.any(tree_distance == r) for r in hops_of_rank])
    num_ranks = hops_of_rank.shape[0]

    def pairs_of(anchors, valid):
        rows = anchors + offset
        d = distances.pairwise_distances(
            all_embeddings[rows], all_embeddings, distance=distance
        )
        valid = (valid & all_where[rows])[:, None] & all_where[None, :]
        valid &= rows[:, None] < columns[None, :]
        return _ranked_pairs(d, all_labels[rows], all_labels, valid, tree_distance)

    # Without blocks the pairs are computed once; with blocks, in every pass.
    dense = block_size is None or block_size >= num_anchors
    if dense:
        every_anchor = jnp.arange(num_anchors, dtype=jnp.int32)
        all_pairs = pairs_of(every_anchor, jnp.ones((num_anchors,), bool))

    def over_blocks(function):
        if dense:
            return jax.tree.map(lambda x: x[None], function(every_anchor, all_pairs))
        return blocks.map_anchor_blocks(
            lambda anchors, valid: function(anchors, pairs_of(anchors, valid)),
            num_anchors,
            block_size,
        )

    def total(function):
        """Sum of ``function(anchors, pairs)`` over blocks and devices."""
        sums = over_blocks(function)
        return collectives.psum(jax.tree.map(lambda x: jnp.sum(x, 0), sums), axis_name)

    def count_ranks(_, pairs):
        exact = pairs.low == pairs.high
        code = jnp.where(exact, pairs.high, num_ranks + pairs.high)
        code = jnp.where(pairs.valid, code, -1)
        codes = jnp.arange(2 * num_ranks)[:, None, None]
        return reductions.count_true(code[None] == codes).reshape(2, num_ranks)

    edges = _block_edges(*total(count_ranks), exists)
    num_pairs = edges.last[-1] + 1

    def histogram(bin_of, num_bins):
        def count(_, pairs):
            bins = jnp.where(pairs.valid, bin_of(pairs.bits), num_bins)
            return jnp.zeros((num_bins,), jnp.int32).at[bins].add(1, mode="drop")

        return total(count)

    # Positions whose distances are needed; those of empty blocks are never read.
    positions = jnp.concatenate([*edges, hops_of_rank])
    positions = jnp.clip(positions, 0, jnp.maximum(num_pairs - 1, 0))
    if num_rows <= _SMALL_BATCH and dense:
        bits = jnp.sort(all_pairs.bits[np.triu_indices(num_rows)])[positions]
    else:
        bits = reductions.order_statistics(histogram, positions)
    first_bits, last_bits, target_bits = jnp.split(lax.stop_gradient(bits), 3)

    def owned_distances(bits):
        """Distances of the given bits with the gradient of the pairs they are from."""
        values = reductions.from_sortable_bits(bits)
        if stop_gradient_target:
            return values
        row, column = _owners(over_blocks, bits, offset, num_rows, axis_name)
        d = distances.paired_distances(
            all_embeddings[row], all_embeddings[column], distance=distance
        )
        return values + jnp.where(row < num_rows, d - lax.stop_gradient(d), 0.0)

    if target == "rank_index":
        at_rank = owned_distances(target_bits)
    else:
        first_values, last_values = jnp.split(
            owned_distances(jnp.concatenate([first_bits, last_bits])), 2
        )

    def squared_errors(_, pairs):
        early = pairs.bits < _lookup(first_bits, pairs.low)
        late = pairs.bits > _lookup(last_bits, pairs.high)
        if target == "rank_index":
            at_low, at_high = _lookup(at_rank, pairs.low), _lookup(at_rank, pairs.high)
            to_low = jnp.abs(pairs.distance - at_low)
            to_high = jnp.abs(pairs.distance - at_high)
            t = jnp.where(to_high < to_low, at_high, at_low)
        else:
            t = jnp.where(
                early,
                _lookup(first_values, pairs.low),
                _lookup(last_values, pairs.high),
            )
        # NaN ties with itself and would count as inside; it must reach the loss.
        outside = early | late | jnp.isnan(pairs.distance)
        errors = jnp.where(pairs.valid & outside, pairs.distance - t, 0.0)
        return jnp.sum(jnp.sum(jnp.square(errors), -1))

    return reductions.safe_divide(total(squared_errors), num_pairs.astype(jnp.float32))


def _owners(over_blocks, bits, offset, num_rows, axis_name):
    """First pair (row, column) at each of the given distances; num_rows if none."""

    def first_in_block(anchors, pairs):
        matches = pairs.bits[None] == bits[:, None, None]
        column = jnp.min(jnp.where(matches, jnp.arange(num_rows), num_rows), -1)
        row = jnp.where(column < num_rows, anchors + offset, num_rows)
        first = jnp.argmin(row, -1)[:, None]
        return tuple(jnp.take_along_axis(x, first, -1)[:, 0] for x in (row, column))

    rows, columns = over_blocks(first_in_block)
    row = jnp.min(rows, 0)
    column = jnp.min(jnp.where(rows == row[None], columns, num_rows), 0)
    everywhere = collectives.pmin(row, axis_name)
    column = jnp.where(row == everywhere, column, num_rows)
    return everywhere, collectives.pmin(column, axis_name)
