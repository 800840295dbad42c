"""HOPS, the hierarchically ordered preference score of a whole ranking of classes."""

import numpy as np

from hierjax.errors import UserError
from hierjax.metrics.ranking import checked_class_ids, checked_square


def hops(
    scores: np.ndarray,
    class_ids: np.ndarray,
    tree_distance: np.ndarray,
    *,
    k: int | None = None,
) -> np.ndarray:
    r"""Agreement of the order of all class scores with the order that the tree gives.

    Sani and Anand 2026 (Hier-COS), as their notebook computes it. Classes have the
    dense rank r of their distance to the truth, 0 for itself. With z the ranks in
    rising order and :math:`\hat z` those in the order of falling scores,

    .. math:: 1 - \sum_j w_j |z_j - \hat z_j| / \sum_j w_j |z_j - z_{C-1-j}|

    clipped to [0, 1]. The weight falls along the places of rank q in equal steps from
    :math:`2^{-q}` towards :math:`2^{-q-1}`, and towards 0 for the last.

    **Not to be read alone**: it hardly sees the first place. On CIFAR-100's tree of
    five levels a ranking that always names a sibling first and is perfect otherwise has
    .935. Report top-1 beside it.

    Args:
      scores: ``[Q, C]``, larger is better; of equal ones the smaller id first.
      class_ids: ``[Q]`` true classes, -1 unknown.
      tree_distance: ``[C, C]``, as published `Hierarchy.lca_height`.
      k: only the first k places count, in the denominator with these alone reversed,
        as published: it is then not the worst case, and ordinary classifiers are
        clipped to 0 at small k. 1 is whether the class is right; None: all places.

    Returns:
      ``[Q]`` float64; NaN where the class is unknown, or all ranks that count are
      equal.

    Raises:
      UserError: other shapes, or a k that is not in 1..C.

    Examples:
      >>> from hierjax import Hierarchy
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> scores = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
      >>> hops(scores, np.array([0, 0]), tree.lca_height())
      array([1., 0.])
    """
    tree_distance = checked_square("tree_distance", tree_distance)
    scores = np.asarray(scores)
    num_classes = len(tree_distance)
    if scores.ndim != 2 or scores.shape[1] != num_classes or np.isnan(scores).any():
        raise UserError(
            f"scores must be numbers [Q, {num_classes}], a column a class, found "
            f"{scores.shape}{' with NaN' if np.isnan(scores).any() else ''}"
        )
    class_ids = checked_class_ids("class_ids", class_ids, len(scores), num_classes)
    if k is not None and not 1 <= k <= num_classes:
        raise UserError(f"k must lie in 1..{num_classes}, found {k}")
    order = np.argsort(-scores, axis=1, kind="stable")
    values = np.full(len(scores), np.nan)
    if k == 1:
        return np.where(class_ids < 0, np.nan, order[:, 0] == class_ids)
    for truth in np.unique(class_ids[class_ids >= 0]):
        ranks = np.unique(tree_distance[truth], return_inverse=True)[1]
        ideal, weights = np.sort(ranks)[:k], _weights(np.sort(ranks))[:k]
        worst = weights @ np.abs(ideal - ideal[::-1])
        queries = np.flatnonzero(class_ids == truth)
        off = np.abs(ideal - ranks[order[queries]][:, :k]) @ weights
        if worst > 0:
            values[queries] = np.clip(1 - off / worst, 0, 1)
    return values


def _weights(ranks: np.ndarray) -> np.ndarray:
    """Weights ``[C]`` of the places whose ideal ranks rise."""
    sizes = np.bincount(ranks)
    steps = [
        np.linspace(2.0**-q, 0 if q + 1 == len(sizes) else 2.0 ** -(q + 1), n + 1)[:-1]
        for q, n in enumerate(sizes)
    ]
    return np.concatenate(steps)
