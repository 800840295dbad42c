"""Nearest neighbours, nearest class means, and how far off wrong answers are.

Exact over a whole set and computed in blocks, so that no [Q, N] matrix exists.
Distances come from differences of coordinates instead of the expansion
|x|^2 + |y|^2 - 2 x.y, which loses the digits of near duplicates: equal rows are
exactly 0 apart, ties are ties, and block sizes do not change a result.

Cosine distance is 1 - cos. A zero vector has cosine 0 with everything and so lies at
distance 1 from every other row, as in scikit-learn.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from hierjax.errors import UserError

_QUERIES_AT_A_TIME = 128


def checked_rows(name: str, rows: np.ndarray) -> np.ndarray:
    """Returns ``rows`` as a finite floating array ``[N, D]``, or raises UserError."""
    rows = np.asarray(rows)
    if not jnp.issubdtype(rows.dtype, jnp.floating):
        rows = rows.astype(np.float64)
    if rows.ndim != 2:
        raise UserError(f"{name} must have shape [N, D], found {rows.shape}")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise UserError(
            f"{name} must be finite, found NaN or infinity in row {finite.argmin()}"
        )
    return rows


def checked_ids(name: str, ids: np.ndarray, count: int) -> np.ndarray:
    """Returns ``ids`` as an integer array ``[count]``, or raises UserError."""
    ids = np.asarray(ids)
    if ids.shape != (count,) or not np.issubdtype(ids.dtype, np.integer):
        raise UserError(
            f"{name} must be {count} integers, one a row, "
            f"found shape {ids.shape} of {ids.dtype}"
        )
    return ids


def check_distance(distance: str) -> None:
    """Raises UserError unless ``distance`` is one that this module knows."""
    if distance not in ("cosine", "euclidean"):
        raise UserError(f"distance must be cosine or euclidean, found {distance!r}")


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scales rows ``[N, D]`` to length 1, in float64; zero vectors stay zero."""
    rows = np.asarray(rows, np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    # Twice, because the squares of very small or large entries leave the range.
    rows = rows / np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def prepared_rows(distance: str, *sets: np.ndarray) -> list[np.ndarray]:
    """Brings sets of rows to float32 such that differences keep their digits.

    Rows that float32 would round, and whose mean is large against their spread, are
    centred first. Others are not, because centring can break an exact tie.

    Args:
      distance: ``'cosine'`` (rows are scaled to length 1; a zero vector, which has no
        direction, becomes NaN) or ``'euclidean'``.
      *sets: floating arrays ``[N, D]`` with the same D; the mean is the last one's.

    Returns:
      One float32 array per set.
    """
    if distance == "cosine":
        sets = [unit_rows(rows) for rows in sets]
    prepared = [rows.astype(np.float32) for rows in sets]
    center, spread = sets[-1].mean(axis=0), sets[-1].std(axis=0)
    far = np.linalg.norm(center) > 10 * np.linalg.norm(spread)
    if far and not all(map(np.array_equal, prepared, sets)):
        prepared = [(rows - center).astype(np.float32) for rows in sets]
    if distance == "cosine":
        for rows, units in zip(prepared, sets, strict=True):
            rows[~units.any(axis=1)] = np.nan
    return prepared


def row_blocks(
    rows: np.ndarray, ids: np.ndarray, block_size: int
) -> list[tuple[jax.Array, jax.Array]]:
    """Cuts rows into device blocks of one size; padding rows are 0 with id -1.

    Sets smaller than a block round up to a multiple of 128 rows, so that sets of many
    sizes share few compiled shapes.

    Args:
      rows: ``[N, D]`` float32.
      ids: ``[N]`` integers, 0 or larger.
      block_size: most rows in a block.

    Returns:
      Pairs of rows ``[block, D]`` and ids ``[block]``.
    """
    if block_size < 1:
        raise UserError(f"block_size must be at least 1, found {block_size}")
    size = min(block_size, max(1, -(-len(rows) // 128)) * 128)
    short = -len(rows) % size
    rows = np.pad(rows, ((0, short), (0, 0)))
    ids = np.pad(ids.astype(np.int32), (0, short), constant_values=-1)
    rows = rows.reshape(-1, size, rows.shape[1])
    ids = ids.reshape(-1, size)
    return [
        (jnp.asarray(block), jnp.asarray(block_ids))
        for block, block_ids in zip(rows, ids, strict=True)
    ]


def squared_distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """Squared euclidean distances of rows ``[N, D]`` and ``[M, D]``: ``[N, M]``."""
    columns_x, columns_y = x.T, y.T

    def add(dim, total):
        return total + (columns_x[dim][:, None] - columns_y[dim][None, :]) ** 2

    zero = jnp.zeros((x.shape[0], y.shape[0]), x.dtype)
    return jax.lax.fori_loop(0, x.shape[1], add, zero, unroll=4)


def class_means(rows: np.ndarray, ids: np.ndarray, num_classes: int) -> np.ndarray:
    """Mean row of every class, in float64.

    Args:
      rows: ``[N, D]``.
      ids: ``[N]`` integers in 0..num_classes-1.
      num_classes: C.

    Returns:
      ``[C, D]`` float64; 0 for a class without rows.
    """
    counts = np.bincount(ids, minlength=num_classes)
    share = (1 / counts[ids], (ids, np.arange(len(ids))))
    return sparse.csr_array(share, shape=(num_classes, len(ids))) @ rows


@partial(jax.jit, static_argnames="distance")
def _merge_nearest(best, queries, query_ids, gallery, gallery_ids, *, distance):
    """Merges one gallery block into the nearest rows found so far.

    ``best`` holds ascending distances and their gallery ids, both ``[Q, k]``. The
    earlier candidates stand first, so that ``top_k`` keeps the lower index of a tie.
    """
    values = squared_distances(queries, gallery)
    if distance == "cosine":
        values = jnp.where(jnp.isnan(values), 1, values / 2)
    allowed = (gallery_ids >= 0)[None, :] & (gallery_ids[None, :] != query_ids[:, None])
    values = jnp.where(allowed, values, jnp.inf)
    values = jnp.concatenate([best[0], values], axis=1)
    ids = jnp.broadcast_to(gallery_ids[None, :], (len(queries), len(gallery_ids)))
    ids = jnp.concatenate([best[1], ids], axis=1)
    nearest, position = jax.lax.top_k(-values, best[0].shape[1])
    return -nearest, jnp.take_along_axis(ids, position, axis=1)


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
    available = len(gallery) - exclude_self
    if not 1 <= k <= available:
        raise UserError(
            f"k must lie in 1..{available}, the gallery rows there are, found {k}"
        )
    num_queries = len(queries)
    queries, gallery = prepared_rows(distance, queries, gallery)
    blocks = row_blocks(gallery, np.arange(len(gallery)), block_size)
    indices = np.empty((num_queries, k), np.int32)
    distances = np.empty((num_queries, k), np.float32)
    # A query keeps its index only to be found among the gallery rows.
    query_ids = np.arange(num_queries) + (0 if exclude_self else len(gallery))
    start = 0
    for block, ids in row_blocks(queries, query_ids, _QUERIES_AT_A_TIME):
        best = jnp.full((len(block), k), jnp.inf), jnp.full((len(block), k), -1)
        for gallery_block in blocks:
            best = _merge_nearest(best, block, ids, *gallery_block, distance=distance)
        stop = min(start + len(block), num_queries)
        distances[start:stop], indices[start:stop] = (
            np.asarray(part)[: stop - start] for part in best
        )
        start = stop
    return indices, np.sqrt(distances) if distance == "euclidean" else distances


def knn_predictions(neighbor_labels: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """Predicts by a majority vote among the first k neighbours, for every k.

    Args:
      neighbor_labels: ``[Q, K]`` integer labels, nearest first; -1 (unknown) does not
        vote.
      ks: numbers of neighbours, each in 1..K, in any order.

    Returns:
      ``[len(ks), Q]`` labels; of equally many votes the smallest label, as in
      scikit-learn; -1 where nobody votes.
    """
    labels = np.asarray(neighbor_labels)
    ks = np.asarray(ks, np.int64)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            "neighbor_labels must be integers of shape [Q, K], "
            f"found shape {labels.shape} of {labels.dtype}"
        )
    if np.any((ks < 1) | (ks > labels.shape[1])):
        raise UserError(f"ks must lie in 1..{labels.shape[1]}, found {ks.tolist()}")
    predictions = np.full((ks.max(initial=0) + 1, len(labels)), -1, labels.dtype)
    most_votes = np.zeros(len(labels), np.int64)
    for k in range(1, len(predictions)):
        # Only the newcomer's label gains a vote: it alone can overtake the leader.
        leader, label = predictions[k - 1], labels[:, k - 1]
        votes = np.count_nonzero(labels[:, :k] == label[:, None], axis=1)
        wins = (votes > most_votes) | ((votes == most_votes) & (label < leader))
        wins &= label != -1
        predictions[k] = np.where(wins, label, leader)
        most_votes = np.where(wins, votes, most_votes)
    return predictions[ks]


def knn_accuracy(
    neighbor_labels: np.ndarray, query_labels: np.ndarray, ks: Sequence[int]
) -> np.ndarray:
    """Accuracy of ``knn_predictions`` for every k.

    Args:
      neighbor_labels: ``[Q, K]`` integer labels, nearest first, -1 unknown.
      query_labels: ``[Q]`` true labels; queries with -1 do not count.
      ks: numbers of neighbours, each in 1..K.

    Returns:
      ``[len(ks)]`` float64; NaN if no query has a known label.
    """
    neighbor_labels = np.asarray(neighbor_labels)
    query_labels = checked_ids("query_labels", query_labels, len(neighbor_labels))
    known = query_labels != -1
    hits = knn_predictions(neighbor_labels[known], ks) == query_labels[known][None, :]
    return hits.mean(axis=1) if known.any() else np.full(len(ks), np.nan)


def choose_k(accuracies: np.ndarray, ks: Sequence[int]) -> int:
    """The k of the best accuracy; of equally good ones the smallest.

    Args:
      accuracies: ``[len(ks)]``, none of them NaN.
      ks: the numbers of neighbours they belong to, in any order.

    Returns:
      One of ``ks``.
    """
    accuracies, ks = np.asarray(accuracies), np.asarray(ks)
    if accuracies.shape != ks.shape or not ks.size or np.isnan(accuracies).any():
        raise UserError(
            "choose_k needs one known accuracy for every k, "
            f"found {accuracies.tolist()} for {ks.tolist()}"
        )
    return int(ks[accuracies == accuracies.max()].min())


def nearest_mean_predictions(
    queries: np.ndarray,
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    *,
    distance: str = "cosine",
) -> np.ndarray:
    """Predicts the class whose mean is nearest.

    Args:
      queries: ``[Q, D]`` finite rows.
      gallery: ``[N, D]`` finite rows to take the means of.
      gallery_labels: ``[N]`` integer labels; rows with -1 are left out.
      distance: ``'euclidean'`` (means of the rows as given: scikit-learn's
        NearestCentroid) or ``'cosine'`` (rows are normalised first, and the direction
        of their mean counts; a mean of 0 lies at distance 1 from everything).

    Returns:
      ``[Q]`` labels; of equal distances the smallest label; -1 everywhere if no
      gallery row has a known label.
    """
    check_distance(distance)
    gallery = checked_rows("gallery", gallery)
    gallery_labels = checked_ids("gallery_labels", gallery_labels, len(gallery))
    known = gallery_labels != -1
    if not known.any():
        return np.full(len(queries), -1, gallery_labels.dtype)
    classes, ids = np.unique(gallery_labels[known], return_inverse=True)
    rows = gallery[known]
    if distance == "cosine":
        rows = unit_rows(rows)
    means = class_means(rows, ids, len(classes))
    nearest, _ = nearest_neighbors(queries, means, 1, distance=distance)
    return classes[nearest[:, 0]]


def mistake_distance(
    predicted: np.ndarray, true: np.ndarray, tree_distance: np.ndarray
) -> float:
    """Mean tree distance between prediction and truth over the wrong predictions.

    Called mistake severity by Bertinetto et al. 2020 ("Making Better Mistakes"), who
    use the height of the lowest common ancestor. Alone it rewards a model that makes
    many easy mistakes: show it beside the accuracy.

    Args:
      predicted: ``[Q]`` class ids; -1 (no prediction) is skipped.
      true: ``[Q]`` class ids; -1 (unknown) is skipped.
      tree_distance: ``[C, C]``, hops or heights.

    Returns:
      The mean; NaN if no prediction is wrong.
    """
    predicted, tree_distance = np.asarray(predicted), np.asarray(tree_distance)
    predicted = checked_ids("predicted", predicted, predicted.size)
    true = checked_ids("true", true, len(predicted))
    largest = max(predicted.max(initial=-1), true.max(initial=-1))
    if largest >= len(tree_distance):
        raise UserError(
            f"class ids must lie below {len(tree_distance)}, the size of "
            f"tree_distance, found {largest}"
        )
    wrong = (predicted != true) & (predicted != -1) & (true != -1)
    if not wrong.any():
        return float("nan")
    return float(tree_distance[predicted[wrong], true[wrong]].mean())
