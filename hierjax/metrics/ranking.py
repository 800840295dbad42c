"""Measures of class scores and class predictions against the label tree.

Shapes: Q queries, C classes, L levels, ``top`` ``[Q, k]`` the k best-scored classes.
A measure that is a mean over queries returns every query's value, NaN where the class
is -1 (unknown), so that intervals can resample queries; ``np.nanmean`` gives the
published number. Tree distances ``[C, C]`` are hops (``Hierarchy.path_length``) in the
published measures; heights (``Hierarchy.lca_height``) work too.

Unless a function names another source: Kim et al. 2023 ("Inspecting class hierarchies
in classification-based metric learning models", arXiv 2301.11065) and the code
published with it, whose quirks are ``official=True``.
"""

from collections.abc import Callable

import numpy as np

from hierjax.errors import UserError
from hierjax.metrics.rows import checked_ids


def checked_square(name: str, matrix: np.ndarray) -> np.ndarray:
    """Returns ``matrix`` as an array ``[C, C]``, or raises UserError."""
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise UserError(f"{name} must have shape [C, C], found {matrix.shape}")
    return matrix


def checked_class_ids(
    name: str, ids: np.ndarray, count: int, num_classes: int, *, lowest: int = -1
) -> np.ndarray:
    """Returns ``ids`` as integers ``[count]`` in lowest..num_classes-1, or raises."""
    ids = checked_ids(name, ids, count)
    outside = (ids < lowest) | (ids >= num_classes)
    if outside.any():
        row = outside.argmax()
        raise UserError(
            f"{name} must lie in {lowest}..{num_classes - 1}, "
            f"found {ids[row]} in row {row}"
        )
    return ids


def _checked_top(top: np.ndarray) -> np.ndarray:
    """Returns ``top`` as integers ``[Q, k]``, or raises UserError."""
    top = np.asarray(top)
    if top.ndim != 2 or not top.shape[1] or not np.issubdtype(top.dtype, np.integer):
        raise UserError(
            "top must be integers of shape [Q, k] with k at least 1, "
            f"found shape {top.shape} of {top.dtype}"
        )
    return top


def _where_known(values: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """Values ``[Q, ...]`` as float64, NaN for the queries of unknown class."""
    values = np.array(values, np.float64)
    values[class_ids == -1] = np.nan
    return values


def _mean_over_top(
    table: np.ndarray, top: np.ndarray, class_ids: np.ndarray
) -> np.ndarray:
    """Means ``[Q]`` of ``table[class, other]`` over the others in ``top``."""
    top, num_classes = _checked_top(top), len(table)
    class_ids = checked_class_ids("class_ids", class_ids, len(top), num_classes)
    for rank, column in enumerate(top.T):
        name = f"column {rank} of top"
        checked_class_ids(name, column, len(top), num_classes, lowest=0)
    return _where_known(table[class_ids[:, None], top].mean(axis=1), class_ids)


def top_classes(scores: np.ndarray, k: int) -> np.ndarray:
    """The k best-scored classes of every query.

    Args:
      scores: ``[Q, C]`` real numbers, larger is better. -inf keeps a class last; NaN
        is refused.
      k: in 1..C.

    Returns:
      ``[Q, k]`` int32 class ids, best first; of equal scores the smaller id first.

    Raises:
      UserError: scores of another shape or with a NaN, or a k that is out of range.

    Examples:
      >>> top_classes(np.array([[0.1, 0.7, 0.7], [0.5, 0.2, 0.3]]), 2).tolist()
      [[1, 2], [0, 2]]
    """
    scores = np.asarray(scores)
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    if scores.ndim != 2:
        raise UserError(f"scores must have shape [Q, C], found {scores.shape}")
    if not 1 <= k <= scores.shape[1]:
        raise UserError(
            f"k must lie in 1..{scores.shape[1]}, the classes there are, found {k}"
        )
    missing = np.isnan(scores)
    if missing.any():
        row, column = np.argwhere(missing)[0]
        raise UserError(f"scores must not be NaN, found in row {row}, class {column}")
    order = np.argsort(-scores, axis=1, kind="stable")
    return order[:, :k].astype(np.int32)


def expected_over_ties(
    measure: Callable[[np.ndarray, np.ndarray], np.ndarray],
    scores: np.ndarray,
    class_ids: np.ndarray,
    k: int,
) -> np.ndarray:
    """A measure of the k best classes, expected over all orders of equal scores.

    Classes that tie for the last places are equally probable to get them. For a measure
    that is a mean or a sum over the k classes (all of this module's are) the mean over
    the rotations of the tied classes is that expectation.

    Args:
      measure: ``(top [M, k], class_ids [M]) -> [M, ...]``.
      scores: ``[Q, C]``; see `top_classes`.
      class_ids: ``[Q]`` true classes, -1 unknown.
      k: in 1..C.

    Returns:
      ``[Q, ...]`` float64; that of `top_classes` where no order matters.

    Examples:
      Of three equal scores each is the largest in one case of three:

      >>> scores = np.array([[0.2, 0.2, 0.2], [0.2, 0.2, 0.3]])
      >>> expected_over_ties(top_k_correct, scores, np.array([1, 2]), 1).round(3)
      array([0.333, 1.   ])
    """
    top = top_classes(scores, k)
    class_ids = checked_ids("class_ids", class_ids, len(top))
    values = np.array(measure(top, class_ids), np.float64)
    scores = np.asarray(scores)
    last = np.take_along_axis(scores, top[:, -1:], axis=1)
    tied = scores == last
    competing = np.count_nonzero(tied, axis=1)
    better = np.count_nonzero(scores > last, axis=1)
    for query in np.flatnonzero((better + competing > k) & (class_ids != -1)):
        classes = np.flatnonzero(tied[query])
        start = np.arange(len(classes))[:, None] + np.arange(k - better[query])
        rotated = np.tile(top[query], (len(classes), 1))
        rotated[:, better[query] :] = classes[start % len(classes)]
        ids = np.full(len(classes), class_ids[query])
        values[query] = np.mean(measure(rotated, ids), axis=0)
    return values


def top_k_correct(top: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """Whether the true class is among the k best; the mean is the top-k accuracy.

    Args:
      top: ``[Q, k]`` class ids, as from ``top_classes``.
      class_ids: ``[Q]`` true classes, -1 unknown.

    Returns:
      ``[Q]`` float64, 1 or 0; NaN where the class is unknown.

    Examples:
      >>> top_k_correct(np.array([[1, 2], [0, 2], [0, 1]]), np.array([2, 1, -1]))
      array([ 1.,  0., nan])
    """
    top = _checked_top(top)
    class_ids = checked_ids("class_ids", class_ids, len(top))
    return _where_known((top == class_ids[:, None]).any(axis=1), class_ids)


def hierarchical_cost(
    predicted: np.ndarray, class_ids: np.ndarray, tree_distance: np.ndarray
) -> np.ndarray:
    """Tree distance from the truth to the prediction; the mean is the AHC.

    Correct predictions count 0, so that the mean weighs how often by how far. Over the
    wrong predictions alone it is ``mistake_distance``, and AHC is that value times the
    error rate.

    Args:
      predicted: ``[Q]`` class ids.
      class_ids: ``[Q]`` true classes, -1 unknown.
      tree_distance: ``[C, C]``.

    Returns:
      ``[Q]`` float64; NaN where the class is unknown.

    Examples:
      Two siblings, and a class apart:

      >>> hops = np.array([[0, 2, 4], [2, 0, 4], [4, 4, 0]])
      >>> hierarchical_cost(np.array([0, 1, 2]), np.array([0, 0, 0]), hops)
      array([0., 2., 4.])
    """
    tree_distance = checked_square("tree_distance", tree_distance)
    count, num_classes = len(class_ids), len(tree_distance)
    predicted = checked_class_ids("predicted", predicted, count, num_classes, lowest=0)
    return hierarchical_distance_at_k(predicted[:, None], class_ids, tree_distance)


def hierarchical_distance_at_k(
    top: np.ndarray, class_ids: np.ndarray, tree_distance: np.ndarray
) -> np.ndarray:
    """Mean tree distance from the truth to the k best classes: AHD@k.

    Lower is better. As the k classes differ, it cannot fall below
    ``ideal_distance_at_k``, which is 0 only for k = 1.

    Args:
      top: ``[Q, k]`` class ids, as from ``top_classes``.
      class_ids: ``[Q]`` true classes, -1 unknown.
      tree_distance: ``[C, C]``.

    Returns:
      ``[Q]`` float64; NaN where the class is unknown.

    Examples:
      Two siblings, and a class apart:

      >>> hops = np.array([[0, 2, 4], [2, 0, 4], [4, 4, 0]])
      >>> top = np.array([[0, 1], [0, 2]])
      >>> hierarchical_distance_at_k(top, np.array([0, 0]), hops)
      array([1., 2.])
    """
    tree_distance = checked_square("tree_distance", tree_distance)
    return _mean_over_top(tree_distance, top, class_ids)


def ideal_distance_at_k(tree_distance: np.ndarray, k: int) -> np.ndarray:
    """The least ``hierarchical_distance_at_k`` that queries of each class can have.

    Args:
      tree_distance: ``[C, C]``.
      k: in 1..C.

    Returns:
      ``[C]`` float64: the mean of the k smallest distances of every row.

    Examples:
      Two siblings, and a class apart:

      >>> hops = np.array([[0, 2, 4], [2, 0, 4], [4, 4, 0]])
      >>> ideal_distance_at_k(hops, 2)
      array([1., 1., 2.])
    """
    tree_distance = checked_square("tree_distance", tree_distance)
    if not 1 <= k <= len(tree_distance):
        raise UserError(
            f"k must lie in 1..{len(tree_distance)}, the classes there are, found {k}"
        )
    return np.sort(tree_distance, axis=1)[:, :k].mean(axis=1)


def correct_sets(
    tree_distance: np.ndarray, k: int, *, official: bool = False
) -> np.ndarray:
    """The classes that count as correct at k: the k nearest, and all tied with them.

    Frome et al. 2013 ("DeViSE: A Deep Visual-Semantic Embedding Model"): the
    radius grows until the set has at least k members. Row y holds the classes no
    farther from y than the entry at index k - 1 of the sorted row, in which y itself
    stands at index 0.

    Args:
      tree_distance: ``[C, C]``.
      k: in 1..C.
      official: take index k + 1, as the published code does: at least k + 2 members,
        which makes the precision larger. Needs k + 2 <= C.

    Returns:
      ``[C, C]`` bool, a row for every true class.

    Raises:
      UserError: a k for which there are not enough classes.

    Examples:
      Two siblings, and a class apart:

      >>> hops = np.array([[0, 2, 4], [2, 0, 4], [4, 4, 0]])
      >>> correct_sets(hops, 2).astype(int).tolist()
      [[1, 1, 0], [1, 1, 0], [1, 1, 1]]
    """
    tree_distance = checked_square("tree_distance", tree_distance)
    least = k + 2 if official else k
    if k < 1 or least > len(tree_distance):
        raise UserError(
            f"correct sets at k = {k} need {least} classes or more and a k of at "
            f"least 1, found {len(tree_distance)} classes"
        )
    radius = np.sort(tree_distance, axis=1)[:, least - 1]
    return tree_distance <= radius[:, None]


def hierarchical_precision(
    top: np.ndarray,
    class_ids: np.ndarray,
    tree_distance: np.ndarray,
    *,
    official: bool = False,
) -> np.ndarray:
    """Share of the k best classes that lie in the truth's correct set: HP@k.

    Args:
      top: ``[Q, k]`` class ids, as from ``top_classes``.
      class_ids: ``[Q]`` true classes, -1 unknown.
      tree_distance: ``[C, C]``.
      official: with the larger sets of the published code, see ``correct_sets``.

    Returns:
      ``[Q]`` float64 in [0, 1]; NaN where the class is unknown.

    Examples:
      Two siblings, and a class apart:

      >>> hops = np.array([[0, 2, 4], [2, 0, 4], [4, 4, 0]])
      >>> top = np.array([[1, 0], [2, 0]])
      >>> hierarchical_precision(top, np.array([0, 0]), hops)
      array([1. , 0.5])
    """
    top = _checked_top(top)
    correct = correct_sets(tree_distance, top.shape[1], official=official)
    return _mean_over_top(correct, top, class_ids)


def level_correct(
    predicted: np.ndarray, class_ids: np.ndarray, ancestors: np.ndarray
) -> np.ndarray:
    """Whether prediction and truth have the same ancestor, level by level.

    Args:
      predicted: ``[Q]`` class ids.
      class_ids: ``[Q]`` true classes, -1 unknown.
      ancestors: ``[C, L]`` node ids, ``Hierarchy.ancestors``: a class above the last
        level stands for itself below, and the last level is the class.

    Returns:
      ``[Q, L]`` float64, 1 or 0; rows of NaN where the class is unknown. Column means
      are the level accuracies.

    Examples:
      >>> ancestors = np.array([[0, 0], [0, 1], [1, 2]])
      >>> level_correct(np.array([1, 2]), np.array([0, 2]), ancestors).tolist()
      [[1.0, 0.0], [1.0, 1.0]]
    """
    ancestors, predicted = np.asarray(ancestors), np.asarray(predicted)
    if ancestors.ndim != 2:
        raise UserError(f"ancestors must have shape [C, L], found {ancestors.shape}")
    count, num_classes = predicted.size, len(ancestors)
    predicted = checked_class_ids("predicted", predicted, count, num_classes, lowest=0)
    class_ids = checked_class_ids("class_ids", class_ids, count, num_classes)
    return _where_known(ancestors[predicted] == ancestors[class_ids], class_ids)


def precision_recall_f1(
    predicted: np.ndarray,
    class_ids: np.ndarray,
    num_classes: int,
    *,
    official: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of every class.

    For a coarser level pass node ids: columns of ``Hierarchy.labels_of`` and
    ``Hierarchy.nodes_per_level``.

    Args:
      predicted: ``[Q]`` ids in 0..num_classes-1.
      class_ids: ``[Q]`` true ids; queries with -1 (unknown) are left out.
      num_classes: C.
      official: F1 is NaN for a class that is missing on either side, as in the
        published code. A mean that skips NaN then rises for a model that never
        predicts its hard classes.

    Returns:
      Three float64 arrays ``[C]``: precision, NaN for a class that is never predicted;
      recall, NaN for a class without queries; F1 = 2 hits / (predictions + queries),
      NaN for a class that has neither, as scikit-learn's with ``zero_division=nan``.

    Examples:
      >>> values = precision_recall_f1(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
      >>> [of_class.round(3).tolist() for of_class in values]
      [[0.5, 1.0], [1.0, 0.5], [0.667, 0.667]]
    """
    predicted = np.asarray(predicted)
    count = predicted.size
    predicted = checked_class_ids("predicted", predicted, count, num_classes, lowest=0)
    class_ids = checked_class_ids("class_ids", class_ids, count, num_classes)
    known = class_ids != -1
    predicted, class_ids = predicted[known], class_ids[known]
    hits, predictions, queries = (
        np.bincount(ids, minlength=num_classes)
        for ids in (predicted[predicted == class_ids], predicted, class_ids)
    )
    with np.errstate(invalid="ignore"):
        f1 = 2 * hits / (predictions + queries)
        if official:
            f1[(predictions == 0) | (queries == 0)] = np.nan
        return hits / predictions, hits / queries, f1
