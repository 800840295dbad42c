"""Votes of nearest neighbours, nearest class means, and how far off wrong answers are.

Cosine distance is 1 - cos. A zero vector has cosine 0 with everything and so lies at
distance 1 from every other row, as in scikit-learn.
"""

from collections.abc import Sequence

import numpy as np

from hierjax.errors import UserError
from hierjax.metrics.neighbors import nearest_neighbors
from hierjax.metrics.rows import (
    check_distance,
    checked_ids,
    checked_rows,
    class_means,
    unit_rows,
)


def knn_predictions(neighbor_labels: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """Predicts by a majority vote among the first k neighbours, for every k.

    Args:
      neighbor_labels: ``[Q, K]`` integer labels, nearest first; -1 (unknown) does not
        vote.
      ks: numbers of neighbours, each in 1..K, in any order.

    Returns:
      ``[len(ks), Q]`` labels; of equally many votes the smallest label, as in
      scikit-learn; -1 where nobody votes.

    Examples:
      >>> knn_predictions(np.array([[7, 3, 3, -1]]), [1, 2, 3]).tolist()
      [[7], [3], [3]]
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

    Examples:
      >>> neighbors = np.array([[0, 1, 1], [1, 0, 0], [2, 2, 2]])
      >>> knn_accuracy(neighbors, np.array([0, 0, -1]), [1, 3])
      array([0.5, 0.5])
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

    Examples:
      >>> choose_k(np.array([0.2, 0.7, 0.7]), [1, 5, 3])
      3
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

    Examples:
      >>> gallery = np.array([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0]])
      >>> nearest_mean_predictions(np.array([[5.0, 1.0]]), gallery, np.array([4, 4, 8]))
      array([4])
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

    Examples:
      Two siblings, and a class apart:

      >>> hops = np.array([[0, 2, 4], [2, 0, 4], [4, 4, 0]])
      >>> mistake_distance(np.array([0, 0, 2]), np.array([0, 1, 0]), hops)
      3.0
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
