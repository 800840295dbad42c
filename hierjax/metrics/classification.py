"""Votes of nearest neighbours, nearest class means, and how far off wrong answers are.

Cosine distance is 1 - cos. A zero vector has cosine 0 with everything and so lies at
distance 1 from every other row, as in scikit-learn.
"""

from collections.abc import Sequence

import numpy as np

from hierjax.errors import UserError
from hierjax.metrics.rows import checked_ids
from hierjax.metrics.votes import nearest_mean_shares


def _checked_votes(
    neighbor_labels: np.ndarray, ks: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Both as integer arrays, or UserError."""
    labels = np.asarray(neighbor_labels)
    ks = np.asarray(ks, np.int64)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            "neighbor_labels must be integers of shape [Q, K], "
            f"found shape {labels.shape} of {labels.dtype}"
        )
    if np.any((ks < 1) | (ks > labels.shape[1])):
        raise UserError(f"ks must lie in 1..{labels.shape[1]}, found {ks.tolist()}")
    return labels, ks


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
    labels, ks = _checked_votes(neighbor_labels, ks)
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
    """Expected accuracy of a majority vote for every k.

    Of labels with equally many votes each is equally probable, where
    ``knn_predictions`` takes the smallest. The order of the neighbours is taken as it
    is: `vote_shares` also knows of rows at equal distances.

    Args:
      neighbor_labels: ``[Q, K]`` integer labels, nearest first, -1 unknown.
      query_labels: ``[Q]`` true labels; queries with -1 do not count.
      ks: numbers of neighbours, each in 1..K.

    Returns:
      ``[len(ks)]`` float64; NaN if no query has a known label.

    Examples:
      The second query's labels have a vote each at k = 2:

      >>> neighbors = np.array([[0, 1, 1], [1, 0, 0], [2, 2, 2]])
      >>> knn_accuracy(neighbors, np.array([0, 0, -1]), [1, 2, 3])
      array([0.5, 0.5, 0.5])
    """
    labels, ks = _checked_votes(neighbor_labels, ks)
    query_labels = checked_ids("query_labels", query_labels, len(labels))
    known = query_labels != -1
    if not known.any():
        return np.full(len(ks), np.nan)
    labels, query_labels = labels[known], query_labels[known]
    accuracies = np.zeros(ks.max(initial=0) + 1)
    own, most, leaders = np.zeros((3, len(labels)), np.int64)
    for k in range(1, len(accuracies)):
        newcomer = labels[:, k - 1]
        votes = np.count_nonzero(labels[:, :k] == newcomer[:, None], axis=1)
        votes[newcomer == -1] = 0
        own += newcomer == query_labels
        # A label is counted where it reaches the most votes, which is once.
        leaders = np.where(votes > most, 1, leaders + ((votes == most) & (votes > 0)))
        most = np.maximum(most, votes)
        wins = (own == most) & (own > 0)
        accuracies[k] = np.mean(wins / np.maximum(leaders, 1))
    return accuracies[ks]


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
    shares = nearest_mean_shares(queries, gallery, gallery_labels, distance=distance)
    if not len(shares.query):
        return np.full(len(queries), -1, np.asarray(gallery_labels).dtype)
    # Every query has a class, and its smallest stands first.
    return shares.label[np.unique(shares.query, return_index=True)[1]]


def mistake_distance(
    predicted: np.ndarray,
    true: np.ndarray,
    tree_distance: np.ndarray,
    *,
    weights: np.ndarray | None = None,
) -> float:
    """Mean tree distance between prediction and truth over the wrong predictions.

    Called mistake severity by Bertinetto et al. 2020 ("Making Better Mistakes"), who
    use the height of the lowest common ancestor. Alone it rewards a model that makes
    many easy mistakes: show it beside the accuracy.

    Args:
      predicted: ``[Q]`` class ids; -1 (no prediction) is skipped.
      true: ``[Q]`` class ids; -1 (unknown) is skipped.
      tree_distance: ``[C, C]``, hops or heights.
      weights: ``[Q]`` of the predictions, at least 0; None: all alike. With those of
        `VoteShares` a query that may be predicted in several ways counts as one.

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
    weights = np.ones(len(wrong)) if weights is None else np.asarray(weights)
    distances = tree_distance[predicted[wrong], true[wrong]]
    return float(distances @ weights[wrong] / weights[wrong].sum())
