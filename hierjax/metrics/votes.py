"""What the nearest rows vote for, expected over all orders of rows that tie.

Which of several rows at the same distance is "nearest" is chance, and so is which of
several labels with equally many votes wins. Taking the first would make an embedding
whose rows all coincide as good as the first class is frequent; the expected value is
exactly chance there, and nothing changes where nothing ties.
"""

from typing import NamedTuple

import numpy as np
import scipy

from hierjax.metrics.neighbors import Neighbors, find_neighbors
from hierjax.metrics.rows import (
    check_distance,
    checked_ids,
    checked_rows,
    class_means,
    unit_rows,
)

# Probabilities that add up to within this of one are all there are.
_ROUNDING = 1e-12


class VoteShares(NamedTuple):
    """How probable it is that a label wins the vote of a query's neighbours.

    Attributes:
      query: int ``[P]`` ascending; a query occurs once for every label that can win.
      label: int ``[P]``.
      share: float64 ``[P]``, above 0 and at most 1; exactly 1 where no order matters.
        Those of a query add up to 1, to less where possibly nobody votes.
    """

    query: np.ndarray
    label: np.ndarray
    share: np.ndarray


def vote_shares(neighbors: Neighbors, gallery_labels: np.ndarray, k: int) -> VoteShares:
    """Majority votes among the k nearest, over all orders of what ties.

    Rows that tie for the last places are equally probable to get them (in a draw
    without replacement), and labels with equally many votes to win. Computed exactly,
    from the generating functions of the votes, not by sampling.

    Args:
      neighbors: K >= k neighbours of Q queries.
      gallery_labels: ``[N]`` integers; -1 (unknown) does not vote.
      k: votes a query.

    Returns:
      See `VoteShares`.

    Examples:
      Of three rows at the same place two are of class 4:

      >>> gallery, query = np.ones((3, 2)), np.ones((1, 2))
      >>> neighbors = find_neighbors(query, gallery, 1)
      >>> shares = vote_shares(neighbors, np.array([7, 4, 4]), 1)
      >>> shares.label.tolist(), shares.share.round(3).tolist()
      ([4, 7], [0.667, 0.333])
    """
    labels = gallery_labels[neighbors.index[:, :k]]
    drawn = _drawn_places(neighbors, gallery_labels, k)
    fixed = np.setdiff1d(np.arange(len(labels)), list(drawn))
    winners = _winners(labels[fixed])
    query, place = np.nonzero(winners)
    parts = [
        (
            fixed[query],
            labels[fixed[query], place],
            1 / np.count_nonzero(winners, axis=1)[query],
        )
    ]
    known = {}
    for number, (tied, counts, group) in drawn.items():
        before = int(np.count_nonzero(neighbors.rank[number] < group))
        voted = labels[number, :before]
        key = (tied.tobytes(), counts.tobytes(), np.sort(voted).tobytes())
        if key not in known:
            known[key] = _drawn_shares(voted, tied, counts, k - before)
        label, share = known[key]
        parts.append((np.full(len(label), number), label, share))
    query, label, share = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(query, kind="stable")
    return VoteShares(query[order], label[order], share[order])


def expected_correct(shares: VoteShares, true: np.ndarray) -> np.ndarray:
    """How probable it is that the vote names the true label.

    Args:
      shares: of Q queries.
      true: ``[Q]`` labels, -1 unknown.

    Returns:
      float64 ``[Q]`` in 0..1, NaN where the truth is unknown; its mean is the expected
      accuracy.

    Examples:
      >>> shares = VoteShares(*map(np.array, ([0, 0, 1], [2, 3, 2], [0.25, 0.75, 1.0])))
      >>> expected_correct(shares, np.array([3, 1]))
      array([0.75, 0.  ])
    """
    true = checked_ids("true", true, len(true))
    right = shares.label == true[shares.query]
    values = np.bincount(
        shares.query[right], shares.share[right], minlength=len(true)
    ).astype(np.float64)
    return np.where(true < 0, np.nan, np.minimum(values, 1))


def nearest_mean_shares(
    queries: np.ndarray,
    gallery: np.ndarray,
    gallery_labels: np.ndarray,
    *,
    distance: str = "cosine",
) -> VoteShares:
    """Which class has the nearest mean; equally near ones are equally probable.

    Args:
      queries: ``[Q, D]`` finite rows.
      gallery: ``[N, D]`` finite rows to take the means of.
      gallery_labels: ``[N]`` integer labels; rows with -1 are left out.
      distance: ``'euclidean'`` (means of the rows as given: scikit-learn's
        NearestCentroid) or ``'cosine'`` (rows are normalised first, and the direction
        of their mean counts; a mean of 0 lies at distance 1 from everything).

    Returns:
      See `VoteShares`; empty if no gallery row has a known label.

    Examples:
      >>> gallery, labels = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([4, 8])
      >>> shares = nearest_mean_shares(np.ones((1, 2)), gallery, labels)
      >>> shares.label.tolist(), shares.share.tolist()
      ([4, 8], [0.5, 0.5])
    """
    check_distance(distance)
    gallery = checked_rows("gallery", gallery)
    gallery_labels = checked_ids("gallery_labels", gallery_labels, len(gallery))
    known = gallery_labels != -1
    if not known.any():
        nothing = np.empty(0, np.int64)
        return VoteShares(nothing, nothing, np.empty(0))
    classes, ids = np.unique(gallery_labels[known], return_inverse=True)
    rows = gallery[known]
    if distance == "cosine":
        rows = unit_rows(rows)
    means = class_means(rows, ids, len(classes))
    return vote_shares(find_neighbors(queries, means, 1, distance=distance), classes, 1)


def _drawn_places(neighbors, gallery_labels, k):
    """Queries for which tied rows of different labels compete for the last places.

    Returns:
      Query to the labels of the tied rows, how many have each, and their rank.
    """
    rank, last = neighbors.rank, neighbors.rank[:, k - 1]
    ends_here = last == rank[:, -1]
    outside = ends_here & (neighbors.edge >= 0)
    if k < rank.shape[1]:
        outside |= last == rank[:, k]
    composition, found = {}, {}
    for query in np.flatnonzero(outside):
        key = neighbors.edge[query] if ends_here[query] else -1
        if key >= 0 and key in composition:
            labels, counts = composition[key]
        else:
            rows = (
                neighbors.groups[key]
                if key >= 0
                else neighbors.index[query, rank[query] == last[query]]
            )
            labels, counts = np.unique(gallery_labels[rows], return_counts=True)
            if key >= 0:
                composition[key] = labels, counts
        if len(labels) > 1:
            found[query] = labels, counts, last[query]
    return found


def _winners(labels: np.ndarray) -> np.ndarray:
    """For labels ``[Q, k]`` one place of every label that has the most votes."""
    occurrence = np.zeros(labels.shape, np.int64)
    for place in range(labels.shape[1]):
        same = labels[:, : place + 1] == labels[:, place, None]
        occurrence[:, place] = np.count_nonzero(same, axis=1)
    occurrence[labels == -1] = 0
    most = occurrence.max(axis=1, keepdims=True, initial=1)
    return occurrence == most


def _drawn_shares(voted, tied, counts, draws):
    """Labels that can win, and how probable that is, if some votes are drawn.

    A label of f votes and t tied rows reaches v votes in C(t, v - f) ways; those of all
    labels and all draws are counted by multiplying polynomials in x, whose exponent is
    the number of draws. A second variable y marks the labels that reach v too: as
    y^s integrates to 1 / (s + 1) over 0..1, a shared win counts by its share.

    Args:
      voted: labels of the votes that are certain, -1 for none.
      tied: different labels of the rows that are drawn from, ascending.
      counts: rows of each.
      draws: how many are drawn, at least 1.
    """
    certain, votes = np.unique(voted[voted >= 0], return_counts=True)
    labels = np.union1d(certain, tied[tied >= 0])
    held, there = np.zeros(len(labels), int), np.zeros(len(labels), int)
    held[np.searchsorted(labels, certain)] = votes
    there[np.searchsorted(labels, tied[tied >= 0])] = counts[tied >= 0]
    silent = int(counts[tied < 0].sum())
    ways = scipy.special.comb(counts.sum(), draws)
    nobody = 0.0 if len(certain) else scipy.special.comb(silent, draws) / ways
    # Labels with equal counts are equally probable.
    kinds, kind, number = np.unique(
        np.stack([held, there], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    shares = np.zeros(len(kinds))
    powers = np.arange(draws + 1)
    for most in range(max(1, held.max(initial=0)), held.max(initial=0) + draws + 1):
        nodes, weights = np.polynomial.legendre.leggauss(
            (held.sum() + draws) // most // 2 + 1
        )
        nodes, weights = (nodes + 1) / 2, weights / 2
        below = [
            np.where(powers < most - f, scipy.special.comb(t, powers), 0)
            + nodes[:, None]
            * np.where(powers == most - f, scipy.special.comb(t, powers), 0)
            for f, t in kinds
        ]
        factors = [_power(p, n) for p, n in zip(below, number, strict=True)]
        start = np.tile(scipy.special.comb(silent, powers), (len(nodes), 1))
        before, after = [start], [_one(start)]
        for factor in factors:
            before.append(_product(before[-1], factor))
        for factor in reversed(factors):
            after.append(_product(after[-1], factor))
        for i, (f, t) in enumerate(kinds):
            needed = most - f
            if not 0 <= needed <= min(t, draws):
                continue
            others = _product(before[i], after[len(kinds) - 1 - i])
            others = _product(others, _power(below[i], number[i] - 1))
            reached = weights @ others[:, draws - needed]
            shares[i] += scipy.special.comb(t, needed) * reached / ways
        if shares @ number + nobody > 1 - _ROUNDING:
            break
    share = shares[kind.ravel()]
    return labels[share > 0], share[share > 0]


def _one(like: np.ndarray) -> np.ndarray:
    """The polynomial 1, as coefficients by row."""
    result = np.zeros_like(like)
    result[:, 0] = 1
    return result


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products of polynomials ``[Y, M]``, row by row, without powers of M and above."""
    result = np.zeros_like(a)
    for power in np.flatnonzero(b.any(axis=0)):
        result[:, power:] += b[:, power, None] * a[:, : a.shape[1] - power]
    return result


def _power(base: np.ndarray, exponent: int) -> np.ndarray:
    result = _one(base)
    while exponent:
        if exponent % 2:
            result = _product(result, base)
        base, exponent = _product(base, base), exponent // 2
    return result
