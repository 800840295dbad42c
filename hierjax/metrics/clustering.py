"""Silhouettes: how well embeddings fall into the clusters that labels name.

Exact over a whole set and computed in blocks: memory is O(N D), never [N, N].
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse

from hierjax.errors import UserError
from hierjax.metrics.distances import squared_distances
from hierjax.metrics.rows import (
    check_distance,
    checked_ids,
    checked_rows,
    class_means,
    prepared_rows,
)
from hierjax.metrics.threads import block_map

# Of float64, for the summed distances of some rows to all groups.
_SUMS_AT_A_TIME = 1 << 24


def _silhouettes(sums: np.ndarray, ids: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Silhouettes ``[N]`` from each row's summed distances to every class ``[N, C]``.

    Args:
      sums: ``[N, C]``.
      ids: ``[N]`` the class of every row.
      counts: ``[C]`` rows of each class, at least 1.
    """
    rows, others = np.arange(len(ids)), counts[ids] - 1
    within = sums[rows, ids] / np.maximum(others, 1)
    means = sums / counts
    means[rows, ids] = np.inf
    nearest = means.min(axis=1)
    largest = np.maximum(within, nearest)
    defined = (others > 0) & (largest > 0)
    return np.where(defined, (nearest - within) / np.where(defined, largest, 1), 0)


def _cosine_sums(
    rows: np.ndarray, ids: np.ndarray, num_classes: int, block_size: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields rows and their cosine distances to all rows, summed by class ``[R, C]``.

    For unit rows 1 - cos is half the squared distance, and squared distances to the
    members of a class add up to n |row - mean|^2 + spread: sums of positive terms, in
    which tight clusters lose no digits. n counts the members that have a direction;
    zero vectors lie at distance 1 from all rows but themselves.
    """
    directed = rows.any(axis=1)
    (prepared,), _ = prepared_rows("cosine", rows)
    units, unit_ids = prepared[directed], ids[directed]
    means = class_means(units, unit_ids, num_classes)
    squares = np.full(len(rows), 2.0)
    squares[directed] = np.square(units - means[unit_ids]).sum(axis=1)
    number = np.bincount(unit_ids, minlength=num_classes)
    spreads = np.bincount(ids, squares, minlength=num_classes)
    counts = np.bincount(ids, minlength=num_classes)
    for start in range(0, len(rows), block_size):
        part = slice(start, start + block_size)
        sums = squared_distances(prepared[part].astype(np.float64), means)
        sums *= number
        sums += spreads
        sums /= 2
        blank = np.flatnonzero(~directed[part])
        sums[blank] = counts
        sums[blank, ids[part][blank]] -= 1
        yield part, sums


class _Block(NamedTuple):
    """Neighbouring rows, sorted by group, of one large group or several small ones.

    Attributes:
      rows: where they are.
      groups: of what groups.
      starts: where each group starts within the rows.
    """

    rows: slice
    groups: slice
    starts: np.ndarray


def _blocks(counts: np.ndarray, block_size: int) -> list[_Block]:
    """Cuts groups of ``counts`` ``[G]`` rows into blocks of at most ``block_size``.

    Large groups get blocks of their own, which are centred on their own means.
    """
    firsts, blocks = np.cumsum(counts) - counts, []
    group = 0
    while group < len(counts):
        start, stop, last = firsts[group], firsts[group] + counts[group], group + 1
        if counts[group] * 4 > block_size:
            pieces = -(-counts[group] // block_size)
            cuts = np.linspace(start, stop, pieces + 1).astype(int)
        else:
            while (
                last < len(counts)
                and counts[last] * 4 <= block_size
                and stop + counts[last] - start <= block_size
            ):
                stop, last = stop + counts[last], last + 1
            cuts = np.array([start, stop])
        starts = firsts[group:last] - start
        for first, end in zip(cuts[:-1], cuts[1:], strict=True):
            blocks.append(_Block(slice(first, end), slice(group, last), starts))
        group = last
    return blocks


def _summed(
    rows: np.ndarray, pair: tuple[_Block, _Block, bool]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Distances between two blocks of rows, summed over the groups of either.

    Returns:
      For each row of the first block the sums over the second, ``[X, groups of y]``,
      and the other way round, ``[Y, groups of x]``, if that is wanted.
    """
    x, y, both = pair
    distances = np.sqrt(squared_distances(rows[x.rows], rows[y.rows]))
    over_y = np.add.reduceat(distances, y.starts, axis=1)
    return over_y, np.add.reduceat(distances, x.starts, axis=0).T if both else None


def _euclidean_sums(
    rows: np.ndarray, counts: np.ndarray, block_size: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields rows and their euclidean distances to all, summed by group ``[R, G]``.

    Args:
      rows: ``[N, D]`` float32, sorted by group.
      counts: ``[G]`` rows of each group.
      block_size: rows on each side of the distances that are held at once.
    """
    blocks, first = _blocks(counts, block_size), 0
    while first < len(blocks):
        begin, last = blocks[first].rows.start, first + 1
        most = begin + max(1, _SUMS_AT_A_TIME // len(counts))
        while last < len(blocks) and blocks[last].rows.stop <= most:
            last += 1
        sums = np.zeros((blocks[last - 1].rows.stop - begin, len(counts)))
        # Blocks within what is yielded meet once, the others in one direction only.
        pairs = [
            (x, y, first <= j < last and x is not y)
            for i, x in enumerate(blocks[first:last], first)
            for j, y in enumerate(blocks)
            if not first <= j < i
        ]
        with block_map() as mapped:
            found = mapped(functools.partial(_summed, rows), pairs)
            for (x, y, both), (over_y, over_x) in zip(pairs, found, strict=True):
                sums[x.rows.start - begin : x.rows.stop - begin, y.groups] += over_y
                if both:
                    sums[y.rows.start - begin : y.rows.stop - begin, x.groups] += over_x
        yield slice(begin, begin + len(sums)), sums
        first = last


def _euclidean_by_level(
    rows: np.ndarray, labels: np.ndarray, block_size: int
) -> np.ndarray:
    """Silhouettes ``[N, L]`` of rows ``[N, D]``, labels ``[N, L]`` known at some level.

    Rows of the same labels at all levels are a group: what is summed over groups serves
    every level.
    """
    groups, group_ids = np.unique(labels, axis=0, return_inverse=True)
    group_ids = group_ids.ravel()
    order = np.argsort(group_ids, kind="stable")
    counts = np.bincount(group_ids)
    levels = []
    for nodes in groups.T:
        known = np.flatnonzero(nodes != -1)
        classes, ids = np.unique(nodes[known], return_inverse=True)
        if len(classes) < 2:
            levels.append(None)
            continue
        shape = (len(classes), len(groups))
        members = sparse.csr_array((np.ones(len(known)), (ids, known)), shape=shape)
        class_of = np.full(len(groups), -1)
        class_of[known] = ids
        levels.append((members, class_of, members @ counts))
    ordered = np.full(labels.shape, np.nan)
    if any(level is not None for level in levels):
        (prepared,), _ = prepared_rows("euclidean", rows)
        for part, sums in _euclidean_sums(prepared[order], counts, block_size):
            for values, level in zip(ordered[part].T, levels, strict=True):
                if level is not None:
                    members, class_of, class_counts = level
                    ids = class_of[group_ids[order[part]]]
                    known = ids != -1
                    class_sums = (members @ sums[known].T).T
                    values[known] = _silhouettes(class_sums, ids[known], class_counts)
    result = np.empty_like(ordered)
    result[order] = ordered
    return result


def _cosine_silhouettes(
    rows: np.ndarray, labels: np.ndarray, block_size: int
) -> np.ndarray:
    """Silhouettes ``[N]`` of rows ``[N, D]`` with known labels ``[N]``."""
    classes, ids, counts = np.unique(labels, return_inverse=True, return_counts=True)
    values = np.full(len(labels), np.nan)
    if len(classes) > 1:
        for part, sums in _cosine_sums(rows, ids, len(classes), block_size):
            values[part] = _silhouettes(sums, ids[part], counts)
    return values


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
      embeddings: ``[N, D]`` finite rows, of any scale.
      labels: ``[N]`` integers, not necessarily contiguous; rows with -1 (unknown) are
        left out altogether. Or ``[N, L]``, such labels at each level of a tree, which
        share their distances.
      distance: ``'cosine'`` (1 - cos; rows are normalised inside, and a zero vector
        lies at distance 1 from every other row, as in scikit-learn), which costs
        O(N C D) for each level, or ``'euclidean'``, which costs O(N^2 D) for all.
      block_size: rows at a time; changes memory, not results (beyond rounding).

    Returns:
      float64 of the shape of ``labels``, in [-1, 1]. NaN for unknown rows, and for all
      rows with fewer than 2 clusters or only clusters of one row; 0 for the only row of
      a cluster beside larger ones, and where a = b = 0.

    Raises:
      UserError: shapes that do not fit or values that are not finite.

    Examples:
      Two tight pairs that lie far apart, then the same rows labelled badly:

      >>> rows = [[0.0, 0.0], [0.0, 1.0], [8.0, 0.0], [8.0, 1.0]]
      >>> silhouette_samples(rows, [0, 0, 1, 1], distance="euclidean").round(3)
      array([0.875, 0.875, 0.875, 0.875])
      >>> silhouette_samples(rows, [0, 1, 0, 1], distance="euclidean").round(3)
      array([-0.434, -0.434, -0.434, -0.434])
    """
    check_distance(distance)
    if block_size < 1:
        raise UserError(f"block_size must be at least 1, found {block_size}")
    embeddings = checked_rows("embeddings", embeddings)
    labels = np.asarray(labels)
    for column in labels.T if labels.ndim == 2 else [labels]:
        checked_ids("labels", column, len(embeddings))
    columns = labels if labels.ndim == 2 else labels[:, None]
    result = np.full(columns.shape, np.nan)
    if distance == "euclidean":
        known = (columns != -1).any(axis=1)
        result[known] = _euclidean_by_level(
            embeddings[known], columns[known], block_size
        )
    else:
        for values, column in zip(result.T, columns.T, strict=True):
            known = column != -1
            values[known] = _cosine_silhouettes(
                embeddings[known], column[known], block_size
            )
    for values, column in zip(result.T, columns.T, strict=True):
        _, counts = np.unique(column[column != -1], return_counts=True)
        if counts.max(initial=0) < 2:
            values[:] = np.nan
    return result.reshape(labels.shape)


def silhouette_score(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    distance: str = "cosine",
    block_size: int = 1024,
) -> float:
    """Mean silhouette over the rows where it is defined.

    Args:
      embeddings: ``[N, D]`` finite rows, of any scale.
      labels: ``[N]`` integers; rows with -1 (unknown) are left out.
      distance: ``'cosine'`` or ``'euclidean'``.
      block_size: rows at a time; changes memory, not results (beyond rounding).

    Returns:
      In [-1, 1]; NaN if no row has one, as with fewer than 2 clusters.

    Examples:
      >>> rows = [[0.0, 0.0], [0.0, 1.0], [8.0, 0.0], [8.0, 1.0]]
      >>> round(silhouette_score(rows, [0, 0, 1, 1], distance="euclidean"), 3)
      0.875
    """
    samples = silhouette_samples(
        embeddings, labels, distance=distance, block_size=block_size
    )
    defined = ~np.isnan(samples)
    return float(samples[defined].mean()) if defined.any() else float("nan")
