"""Silhouettes: how well embeddings fall into the clusters that labels name.

Exact over a whole set and computed in blocks: memory is O(N D), never [N, N].
"""

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.metrics.classification import (
    check_distance,
    checked_ids,
    checked_rows,
    class_means,
    prepared_rows,
    row_blocks,
    squared_distances,
)


@jax.jit
def _silhouette(sums: jax.Array, ids: jax.Array, counts: jax.Array) -> jax.Array:
    """Silhouettes ``[N]`` from each row's summed distances to every class ``[N, C]``.

    ``counts`` ``[C]`` may end in empty classes; they are nobody's neighbour.
    """
    own = ids[:, None] == jnp.arange(len(counts))[None, :]
    others = jnp.sum(own * counts[None, :], axis=1) - 1
    within = jnp.sum(own * sums, axis=1) / jnp.maximum(others, 1)
    means = sums / jnp.maximum(counts, 1)[None, :]
    nearest = jnp.where(own | (counts == 0)[None, :], jnp.inf, means).min(axis=1)
    largest = jnp.maximum(within, nearest)
    defined = (others > 0) & (largest > 0)
    return jnp.where(defined, (nearest - within) / jnp.where(defined, largest, 1), 0)


@jax.jit
def _cosine_sums(rows, ids, means, directed, spreads, counts):
    """Summed cosine distances of rows ``[N, D]`` to every class: ``[N, C]``.

    For unit rows 1 - cos is half the squared distance, and squared distances to the
    members of a class add up to n |row - mean|^2 + spread: sums of positive terms, in
    which tight clusters lose no digits. n counts the members that have a direction;
    the others, NaN, lie at distance 1 from all rows but themselves.
    """
    doubled = directed[None, :] * squared_distances(rows, means) + spreads[None, :]
    undirected = counts[None, :] - jax.nn.one_hot(ids, len(counts))
    return jnp.where(jnp.isnan(doubled), undirected, doubled / 2)


@jax.jit
def _add_euclidean_sums(sums, rows, others, other_ids):
    """Adds the distances of rows ``[N, D]`` to a block of others, by class."""
    distances = jnp.sqrt(squared_distances(rows, others))
    members = jax.nn.one_hot(other_ids, sums.shape[1])
    return sums + jnp.matmul(distances, members, precision=jax.lax.Precision.HIGHEST)


def _cosine_sums_by_block(rows, ids, blocks, counts):
    """Yields each block's cosine distances to all rows, summed by class."""
    has_direction = ~np.isnan(rows[:, 0])
    units, unit_ids = rows[has_direction], ids[has_direction]
    means = class_means(units, unit_ids, len(counts))
    squares = np.full(len(rows), 2.0)
    squares[has_direction] = np.square(units - means[unit_ids]).sum(axis=1)
    statistics = (
        means.astype(np.float32),
        np.bincount(unit_ids, minlength=len(counts)).astype(np.float32),
        np.bincount(ids, squares, minlength=len(counts)).astype(np.float32),
        counts,
    )
    for block, block_ids in blocks:
        yield _cosine_sums(block, block_ids, *statistics)


def _euclidean_sums_by_block(blocks, counts):
    """Yields each block's euclidean distances to all rows, summed by class."""
    for block, _ in blocks:
        sums = jnp.zeros((len(block), len(counts)))
        for others, other_ids in blocks:
            sums = _add_euclidean_sums(sums, block, others, other_ids)
        yield sums


def silhouette_samples(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    distance: str = "cosine",
    block_size: int = 1024,
) -> np.ndarray:
    """Silhouette of every row: (b - a) / max(a, b).

    a is the mean distance to the other rows of the same label, b the smallest mean
    distance to the rows of another label. Rousseeuw 1987, "Silhouettes: a graphical
    aid to the interpretation and validation of cluster analysis".

    Args:
      embeddings: ``[N, D]`` finite rows.
      labels: ``[N]`` integers, not necessarily contiguous; rows with -1 (unknown) are
        left out altogether.
      distance: ``'cosine'`` (1 - cos; rows are normalised inside, and a zero vector
        lies at distance 1 from every other row, as in scikit-learn), which costs
        O(N C D), or ``'euclidean'``, which costs O(N^2 (C + D)).
      block_size: rows at a time; changes memory, not results.

    Returns:
      ``[N]`` float64 in [-1, 1]. NaN for unknown rows, and for all rows with fewer
      than 2 clusters; 0 for the only row of a cluster, and where a = b = 0.

    Raises:
      UserError: shapes that do not fit or values that are not finite.
    """
    check_distance(distance)
    embeddings = checked_rows("embeddings", embeddings)
    labels = checked_ids("labels", labels, len(embeddings))
    known = labels != -1
    result = np.full(len(labels), np.nan)
    classes, ids = np.unique(labels[known], return_inverse=True)
    if len(classes) < 2:
        return result
    (rows,) = prepared_rows(distance, embeddings[known])
    blocks = row_blocks(rows, ids, block_size)
    # A power of two, so that sets of many sizes share few compiled shapes.
    num_classes = max(8, 1 << (len(classes) - 1).bit_length())
    counts = np.bincount(ids, minlength=num_classes).astype(np.float32)
    if distance == "cosine":
        sums_by_block = _cosine_sums_by_block(rows, ids, blocks, counts)
    else:
        sums_by_block = _euclidean_sums_by_block(blocks, counts)
    values = [
        np.asarray(_silhouette(sums, block_ids, counts))
        for sums, (_, block_ids) in zip(sums_by_block, blocks, strict=True)
    ]
    result[known] = np.concatenate(values)[: len(ids)]
    return result


def silhouette_score(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    distance: str = "cosine",
    block_size: int = 1024,
) -> float:
    """Mean of ``silhouette_samples`` over the rows where it is defined, else NaN."""
    samples = silhouette_samples(
        embeddings, labels, distance=distance, block_size=block_size
    )
    defined = ~np.isnan(samples)
    return float(samples[defined].mean()) if defined.any() else float("nan")
