"""How far distances between class representatives agree with the class tree.

Representatives ``[C, D]`` are one vector a class: learned proxies, or class means. A
class without one has a NaN row; its distances are NaN and it is left out of every
measure here. ``tree_distance`` ``[C, C]`` is ``Hierarchy.path_length()`` (hops, which
may be odd) or another distance between classes. It takes few values and so has many
ties, which is why Goodman and Kruskal's gamma is the headline: any representatives
that order the class pairs as the tree does reach 1. The correlations beside it reach
1 only where distances are exactly tied where the tree's are.

For a part of the classes (the paper's "living" plankton, say) index rows and columns of
both matrices.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy

from hierjax.errors import UserError
from hierjax.metrics.rows import unit_rows

# The Fisher average counts a correlation of 1 as this much, see `mean_correlation`.
_PERFECT = 1 - 1e-6
# Equal arrangements of classes may differ by the rounding of a sum.
_ROUNDING = 1e-12


class MantelTest(NamedTuple):
    """A correlation with the tree, and how often chance reaches it."""

    statistic: float
    p_value: float


def unit_representatives(representatives: np.ndarray) -> np.ndarray:
    """Scales representatives to length 1.

    Args:
      representatives: ``[C, D]``; each row is finite, or all NaN (no such class).

    Returns:
      ``[C, D]`` float64. NaN rows stay NaN, and a zero vector becomes one: it has no
      direction, so that its class counts as one without a representative.

    Raises:
      UserError: another shape, or a row with infinities or some NaN.
    """
    rows = np.asarray(representatives, np.float64)
    if rows.ndim != 2:
        raise UserError(f"representatives must have shape [C, D], found {rows.shape}")
    usable = np.isfinite(rows).all(axis=1) | np.isnan(rows).all(axis=1)
    if not usable.all():
        raise UserError(
            "a representative must be finite, or NaN throughout for a class without "
            f"one, found infinity or some NaN in row {usable.argmin()}"
        )
    units = unit_rows(rows)
    units[~units.any(axis=1)] = np.nan
    return units


def angles_of_chords(chords: np.ndarray) -> np.ndarray:
    """Angles between unit vectors from their euclidean distances (any shape)."""
    return 2 * np.arcsin(np.minimum(chords / 2, 1))


def representative_distances(
    representatives: np.ndarray, *, distance: str = "euclidean"
) -> np.ndarray:
    """Distances between all representatives, which are scaled to length 1 first.

    Taken from differences of coordinates, so that equal rows are exactly 0 apart
    and no rounding turns up as NaN. The two distances order pairs alike.

    Args:
      representatives: ``[C, D]``; see `unit_representatives` about NaN and zero rows.
      distance: ``'euclidean'`` (chord, 0..2) or ``'arccos'`` (angle, 0..pi).

    Returns:
      ``[C, C]`` float64, symmetric, the diagonal exactly 0; rows and columns of
      classes without a representative are NaN, the diagonal included.

    Examples:
      >>> representative_distances(np.array([[2.0, 0.0], [0.0, 5.0]])).round(3).tolist()
      [[0.0, 1.414], [1.414, 0.0]]
    """
    if distance not in ("euclidean", "arccos"):
        raise UserError(f"distance must be euclidean or arccos, found {distance!r}")
    units = unit_representatives(representatives)
    result = scipy.spatial.distance.squareform(scipy.spatial.distance.pdist(units))
    if distance == "arccos":
        result = angles_of_chords(result)
    absent = np.isnan(units).any(axis=1)
    result[absent, absent] = np.nan
    return result


def known_distances(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out the classes without a representative.

    Args:
      distances: ``[C, C]``, symmetric up to rounding. A class is left out if its
        distances to all others are NaN. The diagonal is not read.

    Returns:
      The ids ``[n]`` of the other classes, ascending, and their distances ``[n, n]``
      float64, exactly
      symmetric and with a zero diagonal.

    Raises:
      UserError: a matrix that is not square, not symmetric, or not finite elsewhere.
    """
    distances = np.array(distances, np.float64)
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1]:
        raise UserError(f"distances must have shape [C, C], found {distances.shape}")
    np.fill_diagonal(distances, np.nan)
    classes = np.flatnonzero(~np.isnan(distances).all(axis=1))
    known = distances[np.ix_(classes, classes)]
    np.fill_diagonal(known, 0)
    for wrong, what in (
        (~np.isfinite(known), "finite"),
        (~np.isclose(known, known.T, equal_nan=True), "symmetric"),
    ):
        if wrong.any():
            i, j = np.argwhere(wrong)[0]
            raise UserError(
                f"distances must be {what}, found {known[i, j]} and {known[j, i]} "
                f"between the classes {classes[i]} and {classes[j]}"
            )
    return classes, (known + known.T) / 2


def _known_pair(distances, tree_distance):
    """Ids ``[n]``, distances and tree distances ``[n, n]`` of the known classes."""
    classes, known = known_distances(distances)
    tree_distance = np.asarray(tree_distance)
    if tree_distance.shape != np.shape(distances):
        raise UserError(
            "distances and tree_distance must have the same shape, found "
            f"{np.shape(distances)} and {tree_distance.shape}"
        )
    tree = tree_distance[np.ix_(classes, classes)]
    if not np.isfinite(tree).all():
        raise UserError("tree_distance must be finite, found NaN or infinity")
    return classes, known, tree


def _upper_triangle(matrix: np.ndarray) -> np.ndarray:
    """The pairs of classes, each once, as one row ``[1, P]``."""
    return matrix[np.triu_indices(len(matrix), 1)][None]


def _without_self(matrix: np.ndarray) -> np.ndarray:
    """The rows ``[n, n - 1]`` without the diagonal."""
    others = ~np.eye(len(matrix), dtype=bool)
    return matrix[others].reshape(len(matrix), max(len(matrix) - 1, 0))


def _ranks(rows: np.ndarray) -> np.ndarray:
    """Ranks 0.. within each row; of equal values all get the lowest."""
    return scipy.stats.rankdata(rows, method="min", axis=1).astype(np.int64) - 1


def _codes(values: np.ndarray) -> np.ndarray:
    """Numbers the distinct values of an array, smallest first."""
    return np.unique(values, return_inverse=True)[1].reshape(values.shape)


def _histograms(codes: np.ndarray, width: int, where: np.ndarray) -> np.ndarray:
    """Counts the values 0..width-1 of each row ``[R, n]``: ``[R, width]``."""
    flat = codes + width * np.arange(len(codes))[:, None]
    counts = np.bincount(flat[where], minlength=len(codes) * width)
    return counts.reshape(len(codes), width)


def _concordance(ranks: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Counts, for each row, the pairs of entries in the same and in opposite order.

    Every entry is compared with those of lower levels through their histogram over
    ranks: O(K n) for K levels.

    Args:
      ranks: ``[R, n]`` integers in 0..n-1.
      levels: ``[R, n]`` small integers from 0, few distinct ones.

    Returns:
      Concordant and discordant pairs, int64 ``[R]`` each; a pair with equal ranks or
      equal levels is neither.
    """
    width = ranks.shape[1]
    concordant = np.zeros(len(ranks), np.int64)
    discordant = np.zeros(len(ranks), np.int64)
    lower = np.zeros(ranks.shape, np.int64)
    # Counting takes a tenth of the time of sorting or hashing them.
    for level in np.flatnonzero(np.bincount(levels.ravel())):
        own = _histograms(ranks, width, levels == level)
        reached = np.einsum("rn,rn->r", own, np.cumsum(lower, axis=1))
        concordant += reached - np.einsum("rn,rn->r", own, lower)
        discordant += own.sum(axis=1) * lower.sum(axis=1) - reached
        lower += own
    return concordant, discordant


def _untied(codes: np.ndarray) -> np.ndarray:
    """Pairs of unequal entries in each row of ``[R, n]`` non-negative integers."""
    counts = _histograms(codes, codes.max() + 1, np.ones(codes.shape, bool))
    return (codes.shape[1] ** 2 - np.sum(counts**2, axis=1)) // 2


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotients, NaN where the denominator is 0."""
    result = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=result, where=denominator > 0)


def _standardized(rows: np.ndarray) -> np.ndarray:
    """Rows with mean 0 and length 1; NaN for constant rows."""
    constant = rows.min(axis=1) == rows.max(axis=1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows /= np.where(constant, np.nan, np.linalg.norm(rows, axis=1))[:, None]
    return rows


def _average_ranks(rows: np.ndarray) -> np.ndarray:
    return scipy.stats.rankdata(rows, axis=1)


def _as_given(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.float64)


# What a product-moment correlation is taken of.
_SCORES = {"spearman": _average_ranks, "pearson": _as_given}


def _gamma(counts: tuple[np.ndarray, ...]) -> np.ndarray:
    concordant, discordant = counts
    return _ratio(concordant - discordant, concordant + discordant)


def _row_correlations(x: np.ndarray, y: np.ndarray, method: str) -> np.ndarray:
    """Correlation of each row of ``[R, n]`` with the same row of y: ``[R]``."""
    if x.shape[1] < 2:
        return np.full(len(x), np.nan)
    if method == "kendall":
        ranks, levels = _ranks(x), _codes(y)
        concordant, discordant = _concordance(ranks, levels)
        untied = np.sqrt(_untied(ranks)) * np.sqrt(_untied(levels))
        return _ratio(concordant - discordant, untied)
    x, y = (_standardized(_SCORES[method](rows)) for rows in (x, y))
    return np.clip(np.sum(x * y, axis=1), -1, 1)


def _check_method(name: str, method: str, accepted: tuple[str, ...]) -> None:
    if method not in accepted:
        raise UserError(
            f"{name} must be one of {', '.join(accepted)}, found {method!r}"
        )


def per_class_gamma(distances: np.ndarray, tree_distance: np.ndarray) -> np.ndarray:
    """Goodman and Kruskal's gamma of each class's distances to the other classes.

    For tests over classes, as between two methods on the same tree.

    Args:
      distances: ``[C, C]`` between representatives; NaN rows are left out.
      tree_distance: ``[C, C]`` between classes.

    Returns:
      ``[C]`` float64 in [-1, 1], see `goodman_kruskal_gamma`, over pairs of other
      classes. NaN where nothing is comparable and for classes left out.

    Examples:
      >>> hops = np.array([[0, 2, 4], [2, 0, 4], [4, 4, 0]])
      >>> points = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
      >>> distances = representative_distances(points)
      >>> per_class_gamma(distances, hops)
      array([ 1.,  1., nan])
    """
    classes, known, tree = _known_pair(distances, tree_distance)
    result = np.full(len(distances), np.nan)
    if len(classes) > 2:
        ranks = _ranks(_without_self(known))
        result[classes] = _gamma(_concordance(ranks, _codes(_without_self(tree))))
    return result


def goodman_kruskal_gamma(distances: np.ndarray, tree_distance: np.ndarray) -> float:
    """Agreement of the order of class pairs: (c - d) / (c + d).

    Over all pairs of class pairs, c counts those that distances and tree order alike
    and d those that they order oppositely. Equal tree distances or equal distances
    make a pair count as neither: the many ties of a tree cost nothing, but neither do
    representatives that collapse onto a few points. Goodman and Kruskal 1954,
    "Measures of association for cross classifications". The counts are exact
    integers, in O(P log P + K P) for P class pairs and K distinct tree distances.

    Args:
      distances: ``[C, C]`` between representatives; NaN rows are left out.
      tree_distance: ``[C, C]`` between classes.

    Returns:
      A number in [-1, 1], expected 0 for random representatives; NaN if no pair is
      comparable.

    Examples:
      The siblings are nearest to each other, then a cousin is:

      >>> hops = np.array([[0, 2, 4], [2, 0, 4], [4, 4, 0]])
      >>> points = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
      >>> distances = representative_distances(points)
      >>> goodman_kruskal_gamma(distances, hops)
      1.0
      >>> goodman_kruskal_gamma(-distances, hops)
      -1.0
    """
    _, known, tree = _known_pair(distances, tree_distance)
    if len(known) < 3:
        return float("nan")
    ranks, levels = _ranks(_upper_triangle(known)), _codes(_upper_triangle(tree))
    return float(_gamma(_concordance(ranks, levels))[0])


def mean_correlation(
    distances: np.ndarray,
    tree_distance: np.ndarray,
    *,
    method: str = "spearman",
    official: bool = False,
) -> float:
    """Fisher average over classes of the correlation of distances with the tree.

    Every class correlates its distances to the other classes with the tree's; the
    result is tanh(mean(arctanh(r))). Kim et al. 2023 (arXiv 2301.11065), who use
    Spearman's. Two things in which the published code differs:

    It also enters each class's distance 0 to itself, which agrees with the tree
    always: random representatives then score above 0, the more the fewer classes.

    A single r = 1 makes its average 1, and whether rounding gives 1 or a little less
    decides the result. Here no ``|r|`` counts for more than 1 - 1e-6, as much as five
    or six classes at 0.85; all classes at 1 give 1 - 1e-6.

    Args:
      distances: ``[C, C]`` between representatives; NaN rows are left out.
      tree_distance: ``[C, C]`` between classes.
      method: ``'spearman'`` (ties share their mean rank), ``'pearson'`` or
        ``'kendall'`` (tau-b).
      official: the published behaviour in both respects.

    Returns:
      The average over classes whose distances and tree distances are not constant;
      NaN if there is none.

    Examples:
      >>> hops = np.array([[0, 2, 4], [2, 0, 4], [4, 4, 0]])
      >>> points = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
      >>> distances = representative_distances(points)
      >>> round(mean_correlation(distances, hops, method="kendall"), 3)
      1.0
    """
    _check_method("method", method, ("spearman", "pearson", "kendall"))
    _, *rows = _known_pair(distances, tree_distance)
    if not official:
        rows = map(_without_self, rows)
    correlations = _row_correlations(*rows, method)
    defined = correlations[~np.isnan(correlations)]
    if not len(defined):
        return float("nan")
    bound = 1 if official else _PERFECT
    with np.errstate(divide="ignore"):
        return float(np.tanh(np.arctanh(np.clip(defined, -bound, bound)).mean()))


def elementwise_correlation(
    distances: np.ndarray, tree_distance: np.ndarray, *, method: str = "spearman"
) -> float:
    """Correlation of distances with the tree over all class pairs at once.

    Kim et al. 2023 (arXiv 2301.11065), who use Spearman's. Each pair enters once, and
    no class with itself.

    Args:
      distances: ``[C, C]`` between representatives; NaN rows are left out.
      tree_distance: ``[C, C]`` between classes.
      method: ``'spearman'`` (ties share their mean rank), ``'pearson'`` or
        ``'kendall'`` (tau-b).

    Returns:
      A number in [-1, 1]; NaN if either side is constant.

    Examples:
      >>> hops = np.array([[0, 2, 4], [2, 0, 4], [4, 4, 0]])
      >>> points = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
      >>> distances = representative_distances(points)
      >>> round(elementwise_correlation(distances, hops), 3)
      0.866
    """
    _check_method("method", method, ("spearman", "pearson", "kendall"))
    _, *pairs = _known_pair(distances, tree_distance)
    return float(_row_correlations(*map(_upper_triangle, pairs), method)[0])


def _gamma_score(known, tree) -> tuple[Callable, np.ndarray]:
    upper = np.triu(np.ones(known.shape, bool), 1)
    ranks = _ranks(known[upper][None])

    def score(levels):
        return _gamma(_concordance(ranks, levels[upper][None]))[0]

    return score, _codes(tree).astype(np.int32)


def _moment_score(known, tree, scores) -> tuple[Callable, np.ndarray]:
    """Both sides as matrices whose product over all entries is the correlation."""
    known, tree = (
        scipy.spatial.distance.squareform(
            _standardized(scores(_upper_triangle(matrix)))[0]
        )
        for matrix in (known, tree)
    )
    return (lambda arranged: np.vdot(known, arranged) / 2), tree


def mantel_test(
    distances: np.ndarray,
    tree_distance: np.ndarray,
    *,
    statistic: str = "gamma",
    num_permutations: int = 999,
    seed: int = 0,
) -> MantelTest:
    """Tests whether representatives agree with the tree more than by chance.

    Class pairs are not independent; permuting whole classes on one side respects
    that. One-sided: p = (1 + permutations that reach the statistic) / (1 + all).
    Mantel 1967, "The detection of disease clustering and a generalized regression
    approach".

    Args:
      distances: ``[C, C]`` between representatives; NaN rows are left out.
      tree_distance: ``[C, C]`` between classes.
      statistic: ``'gamma'`` (`goodman_kruskal_gamma`), ``'spearman'`` or
        ``'pearson'`` (`elementwise_correlation`).
      num_permutations: permutations drawn; p cannot fall below 1 / (1 + their number).
      seed: the same seed gives the same p.

    Returns:
      The statistic and p; both NaN where the statistic is not defined.

    Examples:
      With three classes a third of all permutations reach what is observed:

      >>> hops = np.array([[0, 2, 4], [2, 0, 4], [4, 4, 0]])
      >>> points = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
      >>> distances = representative_distances(points)
      >>> statistic, p_value = mantel_test(distances, hops)
      >>> statistic, round(p_value, 1)
      (1.0, 0.3)
    """
    _check_method("statistic", statistic, ("gamma", "spearman", "pearson"))
    if num_permutations < 1:
        raise UserError(
            f"num_permutations must be at least 1, found {num_permutations}"
        )
    _, known, tree = _known_pair(distances, tree_distance)
    if len(known) < 3:
        return MantelTest(float("nan"), float("nan"))
    if statistic == "gamma":
        score, tree = _gamma_score(known, tree)
    else:
        score, tree = _moment_score(known, tree, _SCORES[statistic])
    observed = float(score(tree))
    if np.isnan(observed):
        return MantelTest(observed, observed)
    rng = np.random.default_rng(seed)
    reached = 1
    for _ in range(num_permutations):
        order = rng.permutation(len(tree))
        reached += score(tree[np.ix_(order, order)]) >= observed - _ROUNDING
    return MantelTest(observed, float(reached / (1 + num_permutations)))
