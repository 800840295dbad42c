"""Retrieval against the label tree: how similar in class are the nearest rows?

HS@k and its area AHS@K, which Barz and Denzler 2019 ("Hierarchy-based Image Embeddings
for Semantic Image Retrieval") introduced as hierarchical precision and Kim et al. 2023
(arXiv 2301.11065) renamed, because HP@k means something else. Computed in blocks of
queries: memory is O(block N), never [N, N].
"""

import numpy as np

from hierjax.errors import UserError
from hierjax.metrics.neighbors import (
    copies,
    first_of_each,
    place,
    products,
    smallest_bound,
)
from hierjax.metrics.ranking import checked_class_ids, checked_square
from hierjax.metrics.rows import checked_rows, unit_rows
from hierjax.metrics.threads import block_map


def hierarchical_similarity(
    tree_distance: np.ndarray, *, distance: str = "euclidean"
) -> np.ndarray:
    """Similarity of classes in [0, 1] from their distance t in the tree.

    It is the inner product of two unit vectors at the distance to which the
    multidimensional scaling of the same paper maps t.

    Args:
      tree_distance: ``[C, C]`` hops.
      distance: ``'euclidean'``, 1 - (t / (1 + t))^2, or ``'arccos'``,
        cos(pi / 2 * t / (1 + t)).

    Returns:
      ``[C, C]`` float64; 1 for t = 0, towards 0 for large t.

    Examples:
      >>> hops = np.array([[0, 2, 4], [2, 0, 4], [4, 4, 0]])
      >>> hierarchical_similarity(hops)[0].round(3)
      array([1.   , 0.556, 0.36 ])
    """
    tree_distance = checked_square("tree_distance", tree_distance)
    bounded = tree_distance / (1 + tree_distance)
    if distance == "euclidean":
        return 1 - bounded**2
    if distance == "arccos":
        return np.cos(np.pi / 2 * bounded)
    raise UserError(f"distance must be euclidean or arccos, found {distance!r}")


def _nearest(queries, own, gallery, first_copies, *, k):
    """Gallery rows ``[Q, k]`` by falling product, the lower row first among equals.

    ``own`` ``[Q]`` is the row to leave out, the query itself, or past the end for none;
    ``first_copies`` ``[N]`` the first row that equals each row.

    Returns:
      The rows, their negative products, and for queries with more rows tied with the
      k-th than fit those that are first copies, by query.
    """
    values = products(-queries, gallery)
    # A matrix product may round equal columns differently.
    again = np.flatnonzero(first_copies != np.arange(len(first_copies)))
    values[:, again] = values[:, first_copies[again]]
    inside = np.flatnonzero(own < values.shape[1])
    values[inside, own[inside]] = np.inf
    at = np.flatnonzero(values <= smallest_bound(values, k).max(axis=1)[:, None])
    row, column = np.divmod(at, values.shape[1])
    negative = values.flat[at]
    first = first_of_each(row, negative, len(values), k)
    found, last = negative[first], negative[first[:, -1]]
    level = np.flatnonzero(negative == last[row])
    fitting = np.count_nonzero(found == last[:, None], axis=1)
    overfull = np.bincount(row[level], minlength=len(values)) > fitting
    # `at` is sorted by query.
    level = level[overfull[row[level]]]
    tied = {
        query: np.unique(first_copies[column[level[row[level] == query]]])
        for query in np.flatnonzero(overfull)
    }
    return column[first], found, tied


def _query_and_gallery_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two float32 forms of ``[N, D]`` whose inner products rank as the cosines do.

    With c the mean of the unit rows, q.y less what depends on q alone is
    (q - c).(y - c) + c.(y - c). This keeps the digits of rows that differ little from
    their mean; others stay as they are, as a shift can break an exact tie.
    """
    units = unit_rows(rows)
    center = units.mean(axis=0)
    if np.linalg.norm(center) <= 10 * np.linalg.norm(units.std(axis=0)):
        queries = gallery = units
    else:
        offsets = units - center
        queries = np.column_stack([offsets, np.ones(len(offsets))])
        queries[~units.any(axis=1)] = 0
        gallery = np.column_stack([offsets, offsets @ center])
    return queries.astype(np.float32), gallery.astype(np.float32)


def _ideal_sums(
    similarity: np.ndarray, class_ids: np.ndarray, max_k: int
) -> np.ndarray:
    """Largest sums ``[C, max_k]`` of similarities over the rows other than a query.

    They depend on the query's class only; NaN for classes that have no query.
    """
    counts = np.bincount(class_ids, minlength=len(similarity))
    sums = np.full((len(similarity), max_k), np.nan)
    for query_class in np.flatnonzero(counts):
        others = counts.copy()
        others[query_class] -= 1
        order = np.argsort(-similarity[query_class])
        gains = np.repeat(similarity[query_class, order], others[order])
        sums[query_class] = gains[:max_k].cumsum()
    return sums


def similarity_at_k(
    embeddings: np.ndarray,
    class_ids: np.ndarray,
    similarity: np.ndarray,
    *,
    max_k: int = 250,
    official: bool = False,
    block_size: int = 256,
) -> np.ndarray:
    """Summed similarity of the k nearest rows over the largest possible sum: HS@k.

    Every row queries all others, which are ranked by the cosine with it in float32;
    the similarities are those of the classes.

    Args:
      embeddings: ``[N, D]`` finite rows, normalised inside; a zero vector has cosine 0
        with everything.
      class_ids: ``[N]`` integers; rows with -1 (unknown) neither query nor are found.
      similarity: ``[C, C]`` of query class and found class, as from
        ``hierarchical_similarity``.
      max_k: the largest k; at most the number of rows of known class less 1.
      official: leave out the first row of the ranking, as the published code does,
        instead of the query: among rows that equal the query it drops the lowest,
        and may count the query as its own neighbour.
      block_size: queries at a time; changes memory, not results (beyond the rounding
        of the products).

    Returns:
      ``[N, max_k]`` float64, column k - 1 is HS@k, 1 for an ideal ranking. NaN for
      rows of unknown class. Where cosines are equal, values are the expected ones over
      all orders of those rows (with ``official`` the lower row comes first); rows that
      float32 cannot tell apart are equal, also where copies have different classes.

    Raises:
      UserError: shapes that do not fit, values that are not finite, or a max_k for
        which there are not enough rows.

    Examples:
      The first row finds a class at similarity 0.5 before its own:

      >>> rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.7, 0.3]])
      >>> similarity = np.array([[1.0, 0.5], [0.5, 1.0]])
      >>> similarity_at_k(rows, np.array([0, 1, 0]), similarity, max_k=2)[0]
      array([0.5, 1. ])
    """
    similarity = checked_square("similarity", similarity)
    rows = checked_rows("embeddings", embeddings)
    ids = checked_class_ids("class_ids", class_ids, len(rows), len(similarity))
    known = ids != -1
    rows, ids = rows[known], ids[known]
    if not 1 <= max_k < len(rows):
        raise UserError(
            f"max_k must lie in 1..{len(rows) - 1}, the other rows of known class that "
            f"a query has, found {max_k}"
        )
    if block_size < 1:
        raise UserError(f"block_size must be at least 1, found {block_size}")
    queries, gallery = _query_and_gallery_rows(rows)
    taken = max_k + official
    all_copies, earlier = copies(gallery)
    # Of equal rows later ones than these are never found.
    places = np.flatnonzero(earlier <= taken + 1)
    first_copies = np.searchsorted(places, all_copies[places])
    own = np.full(len(rows), len(places))
    if not official:
        own[places] = np.arange(len(places))
    gallery = place(gallery[places], len(queries))
    ideal = _ideal_sums(similarity, ids, max_k)
    values = np.empty((len(rows), max_k))

    def found_values(start):
        part = slice(start, start + block_size)
        nearest, products, tied = _nearest(
            queries[part], own[part], gallery, first_copies, k=taken
        )
        found = ids[places[nearest[:, int(official) :]]]
        gains = similarity[ids[part][:, None], found]
        if not official:
            _expect(gains, products)
            for query, columns in tied.items():
                among = np.isin(all_copies, places[columns])
                among[start + query] = False
                shares = np.bincount(ids[among], minlength=len(similarity))
                last = products[query] == products[query, -1]
                gains[query, last] = (
                    similarity[ids[start + query]] @ shares / shares.sum()
                )
        return part, gains.cumsum(axis=1) / ideal[ids[part]]

    with block_map() as mapped:
        for part, of_part in mapped(found_values, range(0, len(rows), block_size)):
            values[part] = of_part
    result = np.full((len(known), max_k), np.nan)
    result[known] = values
    return result


def _expect(gains: np.ndarray, products: np.ndarray) -> None:
    """Puts the mean over ranks of equal product in place of their gains ``[Q, k]``."""
    equal = products[:, 1:] == products[:, :-1]
    differs = equal & (gains[:, 1:] != gains[:, :-1])
    for query in np.flatnonzero(differs.any(axis=1)):
        starts = np.flatnonzero(np.append(True, ~equal[query]))
        sizes = np.diff(starts, append=gains.shape[1])
        means = np.add.reduceat(gains[query], starts) / sizes
        gains[query] = np.repeat(means, sizes)


def area_under_similarity(values: np.ndarray) -> np.ndarray:
    """Area under HS@1..HS@K by the trapezoid rule with spacing 1 / (K - 1): AHS@K.

    Args:
      values: ``[N, K]`` from ``similarity_at_k``, K at least 2.

    Returns:
      ``[N]`` float64; 1 for an ideal ranking, NaN for rows of unknown class.

    Examples:
      >>> area_under_similarity(np.array([[0.5, 0.75, 1.0]]))
      array([0.75])
    """
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] < 2:
        raise UserError(
            f"values must have shape [N, K] with K at least 2, found {values.shape}"
        )
    inner = values[:, 1:-1].sum(axis=1)
    ends = values[:, 0] + values[:, -1]
    return (inner + ends / 2) / (values.shape[1] - 1)
