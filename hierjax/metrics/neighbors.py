"""The k nearest rows, exactly, without a matrix of all distances.

Matrix products find the candidates: all rows that may be among the k nearest, given
what the products may be off by. Differences of coordinates then decide: equal rows are
exactly 0 apart, ties are ties, and neither block sizes nor devices change a result.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.errors import UserError
from hierjax.metrics.distances import paired_squares, squared_norms
from hierjax.metrics.rows import check_distance, checked_rows, prepared_rows
from hierjax.metrics.threads import block_map

_QUERIES_AT_A_TIME = 256
# Of each group of this many distances the smallest is looked at to bound the k-th.
_GROUP = 32
# Products are computed again in float64 where float32 leaves this many times k.
_MOST_CANDIDATES = 16
# Fewer multiplications than this do not pay for a compilation and for transfers.
_WORTH_A_DEVICE = 1 << 34
# Squared distances that agree in so many binary digits are equal.
_DIGITS = 40


class Neighbors(NamedTuple):
    """The k nearest gallery rows of every query, and which others are as near.

    Attributes:
      index: int32 ``[Q, k]`` gallery rows, nearest first; of equal distances the lower
        index first.
      distance: float32 ``[Q, k]``.
      rank: int32 ``[Q, k]`` from 0; neighbours of one rank are equally far.
      edge: int ``[Q]`` place in ``groups`` where further rows are exactly as far as the
        k-th, else -1.
      groups: ascending gallery rows that are all as far as a query's k-th: those in
        ``index`` and those that did not fit.
    """

    index: np.ndarray
    distance: np.ndarray
    rank: np.ndarray
    edge: np.ndarray
    groups: list[np.ndarray]


@jax.jit
def _device_products(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)


def products(x: np.ndarray, y: np.ndarray | jax.Array) -> np.ndarray:
    """Inner products ``[N, M]`` of rows, computed where ``y`` is."""
    if isinstance(y, jax.Array):
        # A copy, which may be written to.
        return np.array(_device_products(x, y))
    return x @ y.T


def place(rows: np.ndarray, num_queries: int) -> np.ndarray | jax.Array:
    """Puts float32 rows ``[N, D]`` on an accelerator if so many queries pay for it."""
    pays = rows.dtype == np.float32 and num_queries * rows.size >= _WORTH_A_DEVICE
    return jnp.asarray(rows) if pays and jax.default_backend() != "cpu" else rows


def smallest_bound(values: np.ndarray, k: int) -> np.ndarray:
    """The k smallest of each row, or bounds of them from above.

    Looks at the smallest of each group of columns only, which for many columns is
    nearly as sharp and several times as fast.

    Args:
      values: ``[Q, M]``.
      k: how many.

    Returns:
      ``[Q, min(k, M)]`` different entries of each row, in no order; at least k entries
      are no larger than the largest of them if M is at least k.
    """
    num_rows, width = values.shape
    group = max(1, min(_GROUP, width // (4 * k)))
    if group > 1:
        stop = width // group * group
        grouped = values[:, :stop].reshape(num_rows, group, -1).min(axis=1)
        values = np.concatenate([grouped, values[:, stop:]], axis=1)
    if values.shape[1] <= k:
        return values
    return np.partition(values, k - 1, axis=1)[:, :k]


def first_of_each(
    groups: np.ndarray, values: np.ndarray, num_groups: int, k: int
) -> np.ndarray:
    """Positions of the k smallest entries of every group, of equal ones the first.

    Args:
      groups: ``[P]`` the group of every entry, 0..num_groups-1.
      values: ``[P]``.
      num_groups: G; each has at least k entries.
      k: how many.

    Returns:
      ``[G, k]``, the smallest first.
    """
    positions = np.lexsort((values, groups))
    starts = np.searchsorted(groups[positions], np.arange(num_groups))
    return positions[starts[:, None] + np.arange(k)]


def copies(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row ``[N, D]`` the first equal one, and how many equal ones precede it.

    Returns:
      Two integer arrays ``[N]``.
    """
    _, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    number = number.ravel()
    order = np.argsort(number, kind="stable")
    earlier = np.empty(len(rows), np.int64)
    ordered = number[order]
    earlier[order] = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    return first[number], earlier


class _Gallery(NamedTuple):
    """What queries are compared with.

    Attributes:
      center: ``[D]`` to take off the queries.
      slack: bound of what a squared distance by products may be off by, relative to
        the sum of both squared lengths.
      blocks: the first row of each block, its rows less the center, and their squared
        lengths.
    """

    center: np.ndarray
    slack: float
    blocks: list[tuple[int, np.ndarray | jax.Array, np.ndarray]]


def _gallery_of(rows, dtype, block_size, num_queries) -> _Gallery:
    center = rows.mean(axis=0, dtype=np.float64).astype(dtype)
    offsets = rows.astype(dtype) - center
    norms = squared_norms(offsets)
    blocks = []
    for start in range(0, len(rows), block_size):
        part = slice(start, start + block_size)
        blocks.append((start, place(offsets[part], num_queries), norms[part]))
    slack = (rows.shape[1] + 8) * np.finfo(dtype).eps + 2.0 ** (2 - _DIGITS)
    return _Gallery(center, slack, blocks)


def _candidates(queries, own, gallery, k, most):
    """Pairs of query and gallery row that hold the k nearest of every query.

    ``own`` ``[Q]`` is the gallery row to leave out, -1 for none. None if the pairs are
    more than ``most``.
    """
    queries = queries.astype(gallery.center.dtype) - gallery.center
    own_slack = 2 * gallery.slack * squared_norms(queries)[:, None]
    limits = np.finfo(queries.dtype)
    smallest = limits.tiny / limits.eps
    bounds = np.empty((len(queries), 0), queries.dtype)
    found = []
    for start, offsets, norms in gallery.blocks:
        # Squared distances less the query's squared length.
        values = products(-2 * queries, offsets)
        values += norms
        column = own - start
        inside = np.flatnonzero((column >= 0) & (column < len(norms)))
        values[inside, column[inside]] = np.inf
        # Relative, and what is lost where squares are too small to be written.
        slack = gallery.slack * (norms.max() + smallest)
        bounds = np.hstack([bounds, smallest_bound(values, k) + own_slack + slack])
        limit = np.inf
        if bounds.shape[1] >= k:
            bounds = np.partition(bounds, k - 1, axis=1)[:, :k]
            limit = bounds[:, -1:]
        # Several times as fast as np.nonzero of a matrix.
        at = np.flatnonzero(values <= limit + slack)
        row, column = np.divmod(at, values.shape[1])
        found.append((row, column + start, values.flat[at] - slack))
        if sum(len(part[0]) for part in found) > most:
            return None
    row, column, lowest = map(np.concatenate, zip(*found, strict=True))
    kept = (lowest <= bounds[row, -1]) & (column != own[row])
    return row[kept], column[kept]


def find_neighbors(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: int,
    *,
    distance: str = "cosine",
    exclude_self: bool = False,
    block_size: int = 8192,
) -> Neighbors:
    """Finds the k nearest gallery rows of every query and all ties with the k-th.

    Args and errors are those of `nearest_neighbors`. Distances are equal where their
    squares agree in 40 binary digits.

    Examples:
      Two rows at distance 1, of which one fits:

      >>> gallery = np.array([[3.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
      >>> found = find_neighbors(np.zeros((1, 2)), gallery, 1, distance="euclidean")
      >>> found.index.tolist(), found.groups[found.edge[0]].tolist()
      ([[1]], [1, 2])
    """
    check_distance(distance)
    queries = checked_rows("queries", queries)
    gallery = checked_rows("gallery", gallery)
    if queries.shape[1] != gallery.shape[1]:
        raise UserError(
            "queries and gallery must have the same number of columns, "
            f"found {queries.shape[1]} and {gallery.shape[1]}"
        )
    if exclude_self and len(queries) != len(gallery):
        raise UserError(
            "exclude_self needs the same rows as queries and gallery, "
            f"found {len(queries)} and {len(gallery)} rows"
        )
    if block_size < 1:
        raise UserError(f"block_size must be at least 1, found {block_size}")
    available = len(gallery) - exclude_self
    if not 1 <= k <= available:
        raise UserError(
            f"k must lie in 1..{available}, the gallery rows there are, found {k}"
        )
    blank_queries, blank = (
        (~rows.any(axis=1)) & (distance == "cosine") for rows in (queries, gallery)
    )
    (queries, gallery), exponent = prepared_rows(distance, queries, gallery)
    # An axis of its own puts a zero vector as far from unit rows as 1 - cos does.
    queries = np.column_stack([queries, np.zeros(len(queries), np.float32)])
    gallery = np.column_stack([gallery, blank.astype(np.float32)])
    # Of equal rows later ones than these are never among the k + 1 nearest.
    first_copies, earlier = copies(gallery)
    places = np.flatnonzero(earlier <= k + exclude_self)
    gallery, blank = gallery[places], blank[places]
    own = np.full(len(queries), -1)
    if exclude_self:
        own[places] = np.arange(len(places))

    def nearest(compared, most, start):
        part = slice(start, start + _QUERIES_AT_A_TIME)
        block, number = queries[part], len(queries[part])
        pairs = _candidates(block, own[part], compared, k, most * k * number)
        if pairs is None:
            return None
        row, column = pairs
        exact = _rounded(paired_squares(block, gallery, row, column))
        exact[blank[column]] = 2
        first = first_of_each(row, exact, number, k)
        # All that are as far as the k-th, and of how many queries not all fit.
        last = exact[first[:, -1]]
        level = np.flatnonzero(exact == last[row])
        fitting = np.count_nonzero(exact[first] == last[:, None], axis=1)
        overfull = np.bincount(row[level], minlength=number) > fitting
        level = level[overfull[row[level]]]
        tied = {
            start + query: first_copies[places[column[level[row[level] == query]]]]
            for query in np.flatnonzero(overfull)
        }
        return places[column[first]], exact[first], tied

    edge, groups, known_groups = np.full(len(queries), -1), [], {}

    def note_group(query, tied):
        """Gallery rows that equal one of some first copies, but for the query."""
        tied = np.unique(tied)
        key = tied.tobytes(), query if exclude_self else -1
        if key not in known_groups:
            known_groups[key] = len(groups)
            is_tied = np.zeros(len(first_copies), bool)
            is_tied[tied] = True
            is_tied = is_tied[first_copies]
            if exclude_self:
                is_tied[query] = False
            groups.append(np.flatnonzero(is_tied))
        edge[query] = known_groups[key]

    indices = np.empty((len(queries), k), np.int32)
    squares = np.empty((len(queries), k))
    starts = list(range(0, len(queries), _QUERIES_AT_A_TIME))
    for dtype, most in ((np.float32, _MOST_CANDIDATES), (np.float64, np.inf)):
        if not starts:
            break
        compared = _gallery_of(gallery, dtype, block_size, len(queries))
        with block_map() as mapped:
            found = mapped(functools.partial(nearest, compared, most), starts)
            found = dict(zip(starts, found, strict=True))
        starts = [start for start in starts if found[start] is None]
        for start, of_block in found.items():
            if of_block is not None:
                part = slice(start, start + _QUERIES_AT_A_TIME)
                indices[part], squares[part], tied_by_query = of_block
                for query, tied in tied_by_query.items():
                    if not blank_queries[query]:
                        note_group(query, tied)
    # Zero vectors are as far from one row as from any other.
    ranks, others = np.arange(k), np.flatnonzero(blank_queries)
    skipped = exclude_self & (ranks >= others[:, None])
    indices[others], squares[others] = ranks + skipped, 2
    for query in others[: len(others) * (k < available)]:
        note_group(query, first_copies)
    further = np.diff(squares, axis=1, prepend=squares[:, :1]) > 0
    rank = further.cumsum(axis=1, dtype=np.int32)
    if distance == "cosine":
        distances = (squares / 2).astype(np.float32)
    else:
        with np.errstate(over="ignore", under="ignore"):
            distances = np.ldexp(np.sqrt(squares), exponent).astype(np.float32)
    return Neighbors(indices, distances, rank, edge, groups)


def nearest_neighbors(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: int,
    *,
    distance: str = "cosine",
    exclude_self: bool = False,
    block_size: int = 8192,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k nearest gallery rows of every query, exactly.

    Args:
      queries: ``[Q, D]`` finite rows.
      gallery: ``[N, D]`` finite rows.
      k: neighbours per query; at most N, or N - 1 with ``exclude_self``.
      distance: ``'cosine'`` (rows are normalised inside; see the module about zero
        vectors) or ``'euclidean'``.
      exclude_self: queries and gallery are the same rows in the same order, and no
        row is its own neighbour. Removed by index: duplicates of a row stay.
      block_size: gallery rows compared at a time; changes memory, not results.

    Returns:
      Gallery indices ``[Q, k]`` int32 and distances ``[Q, k]`` float32, nearest
      first; of equal distances the lower index first.

    Raises:
      UserError: shapes that do not fit, values that are not finite, or k larger than
        the number of rows there are.

    Examples:
      A row, two copies of it and another:

      >>> rows = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
      >>> index, distance = nearest_neighbors(
      ...     rows, rows, 2, distance="euclidean", exclude_self=True
      ... )
      >>> index.tolist()
      [[1, 2], [0, 2], [0, 1], [0, 1]]
      >>> distance[2:].tolist()
      [[0.0, 0.0], [5.0, 5.0]]
    """
    found = find_neighbors(
        queries,
        gallery,
        k,
        distance=distance,
        exclude_self=exclude_self,
        block_size=block_size,
    )
    return found.index, found.distance


def _rounded(squares: np.ndarray) -> np.ndarray:
    """Rounds to 40 binary digits, so that sums of other order are the same number."""
    shifted = squares * (2.0 ** (53 - _DIGITS) + 1)
    return shifted - (shifted - squares)
