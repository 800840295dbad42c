"""What class representatives look like: their neighbours, spread and variance.

Representatives ``[C, D]`` are one vector a class: learned proxies, or class means.
They are scaled to length 1 here. A class without one has a NaN row (or a zero vector,
which has no direction) and is left out, as a query and as a neighbour.
"""

import numpy as np
import scipy

from hierjax.errors import UserError
from hierjax.metrics.rows import (
    checked_ids,
    checked_rows,
    class_means,
    unit_rows,
)
from hierjax.metrics.structure import (
    angles_of_chords,
    representative_distances,
    unit_representatives,
)

# Distances of unit vectors that differ by less are equal.
_ROUNDING = 1e-12


def representative_retrieval(
    representatives: np.ndarray, node_ids: np.ndarray
) -> dict[str, float]:
    """Whether the nearest representatives of a class lie under the same node.

    Every class queries all others by cosine; those with its node id are relevant, R
    of them. Musgrave et al. 2020, "A Metric Learning Reality Check". The class itself
    is removed by index. Where classes are equally near, values are expected ones over
    all their orders (McSherry & Najork 2008, "Computing Information Retrieval
    Performance Measures Efficiently in the Presence of Tied Scores"). (The code of Kim
    et al. 2023 also reports these during training for proxies that it forgets to
    normalise; its evaluation and this function normalise them.)

    Args:
      representatives: ``[C, D]``, NaN rows for classes without one.
      node_ids: ``[C]`` the node of each class on one level, as in
        ``hierarchy.ancestors[:, level]``.

    Returns:
      Means over the classes that share their node with another one, NaN if none does:
      ``precision@1`` (the nearest is relevant), ``r_precision`` (the share of
      relevant ones among the R nearest) and ``map_at_r`` (the mean over those R ranks
      of the precision up to each rank, counted as 0 where it is not relevant).

    Examples:
      >>> points = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
      >>> representative_retrieval(points, np.array([0, 0, 1, 1]))
      {'precision@1': 1.0, 'r_precision': 1.0, 'map_at_r': 1.0}
    """
    distances = representative_distances(representatives)
    node_ids = checked_ids("node_ids", node_ids, len(distances))
    known = ~np.isnan(distances.diagonal())
    distances, nodes = distances[np.ix_(known, known)], node_ids[known]
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :-1]
    relevant = nodes[order] == nodes[:, None]
    counts = relevant.sum(axis=1)
    shared = counts > 0
    if not shared.any():
        return dict.fromkeys(("precision@1", "r_precision", "map_at_r"), np.nan)
    # Which ranks tie is asked of the first R and the one after them.
    near = order[shared, : counts.max() + 1]
    near = distances[np.flatnonzero(shared)[:, None], near]
    relevant, counts = relevant[shared], counts[shared]
    ranks = np.arange(1, len(nodes))
    hits = relevant & (ranks <= counts[:, None])
    precisions = np.cumsum(relevant, axis=1) / ranks
    values = np.stack(
        [
            relevant[:, 0],
            hits.sum(axis=1) / counts,
            (hits * precisions).sum(axis=1) / counts,
        ]
    )
    # Sums of coordinates in another order may differ in their last digits.
    ties = np.diff(near, axis=1) <= _ROUNDING
    for query in np.flatnonzero(ties.any(axis=1)):
        row = np.flatnonzero(shared)[query]
        new = np.diff(distances[row, order[row]], prepend=-np.inf) > _ROUNDING
        values[:, query] = _expected_retrieval(new, relevant[query], counts[query])
    names = ("precision@1", "r_precision", "map_at_r")
    return {name: float(of.mean()) for name, of in zip(names, values, strict=True)}


def _expected_retrieval(
    new: np.ndarray, relevant: np.ndarray, count: int
) -> tuple[float, float, float]:
    """Precision@1, R-precision and MAP@R of one query, over all orders of ties.

    Args:
      new: bool ``[M]``, nearest first: whether it is farther away than the one before.
      relevant: bool ``[M]``.
      count: R, how many are relevant.
    """
    group = np.cumsum(new) - 1
    start = np.flatnonzero(new)
    size = np.diff(start, append=len(new))
    hits = np.add.reduceat(relevant.astype(np.float64), start)
    # At each of the first R ranks: is it relevant, and how many before it are?
    place, of = np.arange(count), group[:count]
    share = hits[of] / size[of]
    inside = (place - start[of]) * (hits[of] - 1) / np.maximum(size[of] - 1, 1)
    before = np.cumsum(hits) - hits
    precision = (before[of] + inside + 1) / (place + 1)
    return share[0], float(share.mean()), float((share * precision).sum() / count)


def near_uniformity(representatives: np.ndarray) -> dict[str, float]:
    """How evenly representatives spread over the sphere.

    The nearest cosines are the objective of Mettes et al. 2019, "Hyperspherical
    Prototype Networks"; C points at equal angles, the most even spread, have all
    cosines at -1 / (C - 1) and a mean of norm 0.

    Args:
      representatives: ``[C, D]``, NaN rows for classes without one; C below counts
        the others.

    Returns:
      ``mean_nearest_cosine`` and ``largest_cosine`` (over each class's, and over all,
      cosines with another class); ``mean_resultant_norm`` (length of the mean unit
      vector); ``log_sum_exp_cosine`` (over all C^2 cosines, those of classes with
      themselves included); ``mean_distance``, ``std_distance`` (chords), ``min_angle``,
      ``max_angle``, ``mean_angle`` and ``std_angle`` (radians) over the pairs of
      classes, standard deviations with divisor P. With one class all that need a pair
      are NaN, without any class all.

    Examples:
      Two opposite points, as even as can be:

      >>> found = near_uniformity(np.array([[1.0, 0.0], [-2.0, 0.0]]))
      >>> names = ("largest_cosine", "mean_resultant_norm", "min_angle")
      >>> [round(found[name], 3) for name in names]
      [-1.0, 0.0, 3.142]
    """
    units = unit_representatives(representatives)
    units = units[~np.isnan(units).any(axis=1)]
    names = (
        *("mean_nearest_cosine", "largest_cosine", "mean_distance", "std_distance"),
        *("min_angle", "max_angle", "mean_angle", "std_angle"),
        *("mean_resultant_norm", "log_sum_exp_cosine"),
    )
    result = dict.fromkeys(names, float("nan"))
    if not len(units):
        return result
    result["mean_resultant_norm"] = float(np.linalg.norm(units.mean(axis=0)))
    if len(units) == 1:
        return result | {"log_sum_exp_cosine": 1.0}
    chords = scipy.spatial.distance.pdist(units)
    cosines = scipy.spatial.distance.squareform(1 - chords**2 / 2)
    np.fill_diagonal(cosines, -np.inf)
    nearest = cosines.max(axis=1)
    np.fill_diagonal(cosines, 1)
    angles = angles_of_chords(chords)
    return result | {
        "mean_nearest_cosine": float(nearest.mean()),
        "largest_cosine": float(nearest.max()),
        "log_sum_exp_cosine": float(scipy.special.logsumexp(cosines)),
        "mean_distance": float(chords.mean()),
        "std_distance": float(chords.std()),
        "min_angle": float(angles.min()),
        "max_angle": float(angles.max()),
        "mean_angle": float(angles.mean()),
        "std_angle": float(angles.std()),
    }


def variance_measures(
    embeddings: np.ndarray,
    class_ids: np.ndarray,
    num_classes: int,
    *,
    official: bool = False,
) -> dict[str, float]:
    """Variance between and within classes of embeddings scaled to length 1.

    Kim et al. 2023 (arXiv 2301.11065). Classes weigh equally, whatever their sizes.

    Args:
      embeddings: ``[N, D]`` finite rows; a zero vector stays one.
      class_ids: ``[N]`` in 0..num_classes-1; rows with -1 are left out.
      num_classes: C.
      official: divide by C and C (C - 1) also where classes have no rows, as the
        published evaluation of CIFAR-100 does; otherwise only classes with rows count.

    Returns:
      ``inter`` (mean squared distance between the means of two classes, which are not
      scaled to length 1 again), ``intra`` (mean over classes of the mean squared
      distance to the class mean) and ``discriminability``, their ratio: infinite
      where only ``intra`` is 0. NaN where there are no classes, or no two.

    Examples:
      >>> rows = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-1.0, 0.0]])
      >>> found = variance_measures(rows, np.array([0, 0, 1, 1]), 2)
      >>> {name: round(value, 6) for name, value in found.items()}
      {'inter': 2.5, 'intra': 0.25, 'discriminability': 10.0}
    """
    embeddings = checked_rows("embeddings", embeddings)
    class_ids = checked_ids("class_ids", class_ids, len(embeddings))
    if class_ids.min(initial=-1) < -1 or class_ids.max(initial=-1) >= num_classes:
        raise UserError(
            f"class_ids must lie in -1..{num_classes - 1}, found "
            f"{class_ids.min()}..{class_ids.max()}"
        )
    known = class_ids != -1
    units, ids = unit_rows(embeddings[known]), class_ids[known]
    counts = np.bincount(ids, minlength=num_classes)
    means = class_means(units, ids, num_classes)
    within = np.sum(np.square(units - means[ids]).sum(axis=1) / counts[ids])
    between = 2 * np.square(scipy.spatial.distance.pdist(means[counts > 0])).sum()
    divisor = np.float64(num_classes if official else np.count_nonzero(counts))
    with np.errstate(divide="ignore", invalid="ignore"):
        inter, intra = between / (divisor * (divisor - 1)), within / divisor
        ratio = inter / intra
    return {
        "inter": float(inter),
        "intra": float(intra),
        "discriminability": float(ratio),
    }


def mean_angle(a: np.ndarray, b: np.ndarray) -> float:
    """Mean angle between two kinds of representatives of the same classes.

    Args:
      a: ``[C, D]``, say the learned proxies.
      b: ``[C, D]``, say the class means.

    Returns:
      Radians, over the classes that have both; NaN if none has.

    Examples:
      >>> a, b = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [1.0, 0.0]])
      >>> round(mean_angle(a, b) / np.pi, 6)
      0.25
    """
    a, b = unit_representatives(a), unit_representatives(b)
    if a.shape != b.shape:
        raise UserError(
            "both kinds of representatives must have the same shape, found "
            f"{a.shape} and {b.shape}"
        )
    chords = np.linalg.norm(a - b, axis=1)
    angles = angles_of_chords(chords[~np.isnan(chords)])
    return float(angles.mean()) if len(angles) else float("nan")
