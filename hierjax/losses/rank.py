"""Rank-based loss: pairwise distances ordered as the label tree orders them.

Source: Nolasco & Stowell, `Rank-based loss for learning hierarchical representations
<https://arxiv.org/abs/2110.05941>`_, 2021, and the authors' published code.

Shapes: B anchors on this device, N rows of the whole batch, P unordered pairs, R
ranks, L levels. A rank is an index into the table of possible tree distances.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hierjax import reductions
from hierjax.losses import checks
from hierjax.losses.ranked_pairs import Pairs, RankedPairs


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


def _count_ranks(pairs: Pairs, *, num_ranks: int) -> jax.Array:
    """Numbers of pairs ``int32 [2, R]`` with exactly a rank, and with at most it."""
    exact = pairs.low == pairs.high
    code = jnp.where(exact, pairs.high, num_ranks + pairs.high)
    code = jnp.where(pairs.valid, code, -1)
    codes = jnp.arange(2 * num_ranks)[:, None, None]
    return reductions.count_true(code[None] == codes).reshape(2, num_ranks)


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
    order gets the target's gradient. Distances of the same two rows have the same bits
    in every block, on every device and for every copy of the rows, so that blocks,
    devices and copies decide nothing (`distances.reproducible_distances`). What they do
    not cover is a network before the loss whose outputs differ in their last bits, for
    instance because it saw fewer rows at a time: the loss jumps where a pair enters its
    block, and such a difference may put a pair on the other side.

    Examples:
      >>> import jax.numpy as jnp
      >>> line = jnp.array([[0.0], [2.0], [1.0]])
      >>> labels = jnp.array([[0], [0], [1]])
      >>> loss = rank_based_loss(line, labels, distance="euclidean")
      >>> print(f"{loss:.4f}")  # (0, 1) has rank 0 and is drawn from 2 to 1
      0.3333
    """
    embeddings = checks.as_floats("embeddings", embeddings, 2)
    labels = checks.as_labels(labels, embeddings.shape[0])
    checks.check_option("distance", distance, ("cosine", "euclidean"))
    checks.check_option("target", target, ("rank_index", "block_edge"))
    where = checks.valid_rows(where, embeddings.shape[0])
    num_levels = labels.shape[1]
    if tree_distance is not None:
        tree_distance = _checked_hops(tree_distance, num_levels)

    if tree_distance is None:
        hops_of_rank = 2 * jnp.arange(num_levels + 1)
        exists = jnp.ones((num_levels + 1,), bool)
    else:
        hops_of_rank = jnp.arange(2 * num_levels + 1)
        exists = jnp.stack([jnp.any(tree_distance == r) for r in hops_of_rank])

    pairs = RankedPairs(
        embeddings,
        labels,
        where,
        distance=distance,
        tree_distance=tree_distance,
        axis_name=axis_name,
        block_size=block_size,
    )
    counts = pairs.sum(functools.partial(_count_ranks, num_ranks=hops_of_rank.size))
    edges = _block_edges(*counts, exists)
    num_pairs = edges.last[-1] + 1
    # Positions whose distances are needed; those of empty blocks are never read.
    positions = jnp.concatenate([*edges, hops_of_rank])
    positions = jnp.clip(positions, 0, jnp.maximum(num_pairs - 1, 0))
    first, last, at_rank = jnp.split(lax.stop_gradient(pairs.bits_at(positions)), 3)

    value_of = pairs.distances_at
    if stop_gradient_target:
        value_of = reductions.from_sortable_bits
    if target == "rank_index":
        targets_low = targets_high = value_of(at_rank)
    else:
        edge_values = value_of(jnp.concatenate([first, last]))
        targets_low, targets_high = jnp.split(edge_values, 2)

    def squared_errors(p):
        early = p.bits < _lookup(first, p.low)
        late = p.bits > _lookup(last, p.high)
        at_low, at_high = _lookup(targets_low, p.low), _lookup(targets_high, p.high)
        if target == "rank_index":
            at_high_end = jnp.abs(p.distance - at_high) < jnp.abs(p.distance - at_low)
        else:
            at_high_end = ~early
        t = jnp.where(at_high_end, at_high, at_low)
        # NaN ties with itself and would count as inside; it must reach the loss.
        outside = early | late | jnp.isnan(p.distance)
        errors = jnp.where(p.valid & outside, p.distance - t, 0.0)
        return jnp.sum(jnp.sum(jnp.square(errors), -1))

    total = pairs.sum(squared_errors)
    return pairs.replicated(
        reductions.safe_divide(total, num_pairs.astype(jnp.float32))
    )
