"""Measures of the whole ranking that a row gives to all others, level by level.

R-precision and MAP@R count rows of the query's node; hierarchical AP, NDCG and ASI
grade rows by how many levels they share with it. Every row queries all others, which
are ranked by similarity; a row is no neighbour of its own by its index.

Ties: the value is the mean over all orders of equally similar rows (ASI excepted, see
`full_ranking`), so that a collapsed embedding has what chance has. Similarities that
agree to 40 binary digits are equal.
"""

from typing import NamedTuple

import numpy as np

from hierjax.errors import UserError
from hierjax.metrics.rows import check_distance, checked_rows, unit_rows


class FullRanking(NamedTuple):
    """What `full_ranking` finds, float64, NaN where it is undefined.

    Attributes:
      r_precision: ``[N, L]`` share of rows of the query's node among the first R, with
        R the number of such rows.
      map_at_r: ``[N, L]`` sum of the precision at the ranks of such rows among the
        first R, over R.
      hierarchical_ap: ``[N]``.
      ndcg: ``[N]``.
      asi: ``[N]``.
    """

    r_precision: np.ndarray
    map_at_r: np.ndarray
    hierarchical_ap: np.ndarray
    ndcg: np.ndarray
    asi: np.ndarray


def full_ranking(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    distance: str = "cosine",
    alpha: float = 1.0,
    block_size: int = 128,
) -> FullRanking:
    r"""Ranks all rows by similarity to each and measures the ranking.

    With l levels shared with the query out of L:

    - R-precision and MAP@R a level: Musgrave et al. 2020, "A Metric Learning Reality
      Check". Undefined for a query that is alone in its node.
    - hierarchical AP (HAPPIER, Ramzi et al. 2022): relevance
      :math:`r = (l / L)^\alpha / |\Omega_l|`, with :math:`\Omega_l` the rows that share
      exactly l levels, and
      :math:`\sum_k (\mathrm{Hrank}_k / \mathrm{rank}_k) / \sum_k r_k` over relevant k,
      :math:`\mathrm{Hrank}_k = r_k + \sum_{j \text{ before } k} \min(r_j, r_k)`.
    - NDCG with gain :math:`2^l - 1` and discount :math:`1 / \log_2(1 + \mathrm{rank})`.
    - ASI, average set intersection: the mean over n of the share that the first n rows
      have in common with the best n, counted by levels shared (rows of as many levels
      stand for each other). Among tied rows the mean number of each is taken; the mean
      of ASI over their orders may be smaller.

    The last three are undefined where a level of the query is unknown or no row shares
    one with it. Rows of unknown label share what is known of them.

    Args:
      embeddings: ``[N, D]`` finite.
      labels: int ``[N, L]``, -1 unknown and a suffix.
      distance: ``'cosine'``; a zero row is as far from all. Or ``'euclidean'``.
      alpha: positive; the larger, the less agreement at coarse levels is worth.
      block_size: queries at a time; memory O(block_size N).

    Returns:
      All measures of every row, each at most 1, which the perfect ranking has.

    Raises:
      UserError: other shapes, or values that are not finite.

    Examples:
      >>> import numpy as np
      >>> rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.1, 0.9], [0.0, 1.0]])
      >>> found = full_ranking(rows, np.array([[0, 0], [0, 0], [0, 1], [1, 2]]))
      >>> found.map_at_r[0]  # the neighbour is of its leaf, then comes its group
      array([1., 1.])
      >>> found.r_precision[2]  # its nearest row is of the other group
      array([0.5, nan])
    """
    check_distance(distance)
    embeddings = checked_rows("embeddings", embeddings)
    labels = np.asarray(labels)
    if labels.ndim != 2 or len(labels) != len(embeddings):
        raise UserError(
            f"labels must be [{len(embeddings)}, L], one row an embedding, found "
            f"{labels.shape}"
        )
    if not alpha > 0:
        raise UserError(f"alpha must be positive, found {alpha}")
    rows, offsets = _queryable(embeddings, distance)
    parts = []
    for start in range(0, len(rows), block_size):
        queries = np.arange(start, min(start + block_size, len(rows)))
        parts += [
            _of_query(query, similar, labels, alpha)
            for query, similar in _ranked(queries, rows, offsets)
        ]
    if not parts:
        levels = np.zeros((0, labels.shape[1]))
        return FullRanking(levels, levels, *(np.zeros(0) for _ in range(3)))
    return FullRanking(*map(np.array, zip(*parts, strict=True)))


def _queryable(embeddings, distance):
    """Rows ``[N, D]``, and what is taken from a product to order as the distance."""
    if distance == "cosine":
        return unit_rows(embeddings), np.zeros(len(embeddings))
    rows = embeddings.astype(np.float64)
    if len(rows):
        rows = rows - rows.mean(axis=0)
    return rows, np.einsum("nd,nd->n", rows, rows) / 2


def _ranked(queries, rows, offsets):
    """Every query with its similarities ``[N]`` to all rows, rounded to tie."""
    similar = rows[queries] @ rows.T - offsets[None, :]
    # Sums in another order differ in the last digits, equal rows or not.
    size = np.abs(similar).max(initial=0.0) or 1.0
    similar = np.round(similar / size * 2.0**40)
    yield from zip(queries, similar, strict=True)


def _of_query(query, similar, labels, alpha):
    num_levels = labels.shape[1]
    others = np.delete(np.arange(len(labels)), query)
    same = (labels[others] == labels[query]) & (labels[others] >= 0)
    shared = np.cumprod(same, axis=1).sum(axis=1)
    similar = similar[others]
    order = np.argsort(-similar, kind="stable")
    shared, similar = shared[order], similar[order]
    ties = _Ties(similar)
    precision, map_at_r = np.full((2, num_levels), np.nan)
    for level in range(num_levels):
        relevant = shared > level
        if labels[query, level] >= 0 and relevant.any():
            precision[level], map_at_r[level] = _at_r(relevant, ties)
    graded = np.full(3, np.nan)
    if (labels[query] >= 0).all() and shared.any():
        graded[:] = (
            _hierarchical_ap(shared, ties, num_levels, alpha),
            _ndcg(shared, ties),
            _set_intersection(shared, ties, num_levels),
        )
    return precision, map_at_r, *graded


class _Ties:
    """Blocks of equal similarities in a falling order of n rows.

    Attributes:
      block: ``[n]`` number of each row's block.
      first: ``[n]`` rows before its block.
      size: ``[n]`` rows in its block.
    """

    def __init__(self, similar):
        new = np.diff(similar, prepend=np.nan) != 0
        self.block = np.cumsum(new) - 1
        sizes = np.bincount(self.block)
        self.size = sizes[self.block]
        self.first = (np.cumsum(sizes) - sizes)[self.block]
        self.place = np.arange(len(similar)) - self.first

    def mean(self, values):
        """Every row's value replaced by the mean of its block."""
        return np.bincount(self.block, values)[self.block] / self.size

    def before(self, values):
        """Sum of the values of all blocks before each row's."""
        sums = np.bincount(self.block, values)
        return (np.cumsum(sums) - sums)[self.block]


def _at_r(relevant, ties):
    """R-precision and MAP@R, expected over the orders of ties."""
    number = int(relevant.sum())
    share = ties.mean(relevant)
    # If a row of a block is relevant, so are on average so many of each other place.
    others = (share * ties.size - 1) / np.maximum(ties.size - 1, 1)
    found = ties.before(relevant) + 1 + ties.place * others
    precision = found / (np.arange(len(relevant)) + 1)
    return share[:number].sum() / number, (share * precision)[:number].sum() / number


def _hierarchical_ap(shared, ties, num_levels, alpha):
    counts = np.bincount(shared, minlength=num_levels + 1)
    worth = (np.arange(num_levels + 1) / num_levels) ** alpha / np.maximum(counts, 1)
    total = 0.0
    # A row is at each place of its block with the same probability, and on average
    # the rows before it there are as the others of the block.
    ranks = np.arange(len(shared)) + 1
    inverse, places = ties.mean(1 / ranks), ties.mean(ties.place / ranks)
    for level in range(1, num_levels + 1):
        least = np.minimum(worth[shared], worth[level])
        here = ties.mean(shared == level)
        before = ties.before(least)
        inside = ties.mean(least) * ties.size - worth[level]
        inside /= np.maximum(ties.size - 1, 1)
        share = (before + worth[level]) * inverse + inside * places
        total += (here * share).sum()
    return total / (worth * counts)[1:].sum()


def _ndcg(shared, ties):
    gains = 2.0**shared - 1
    discounts = 1 / np.log2(np.arange(len(shared)) + 2)
    return (ties.mean(gains) @ discounts) / (np.sort(gains)[::-1] @ discounts)


def _set_intersection(shared, ties, num_levels):
    best = np.sort(shared)[::-1]
    common = np.zeros(len(shared))
    for level in range(num_levels + 1):
        found = np.cumsum(ties.mean(shared == level))
        common += np.minimum(found, np.cumsum(best == level))
    return (common / (np.arange(len(shared)) + 1)).mean()
