"""Measures of predictions that are paths: a node a level, or an end above the leaf."""

import numpy as np

from hierjax.errors import UserError
from hierjax.level_nodes import level_nodes


def full_path_correct(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether all levels are right at once; the mean is the full-path accuracy.

    Args:
      predicted: int ``[Q, L]`` a node a level, each predicted on its own or not.
      labels: int ``[Q, L]``, -1 unknown.

    Returns:
      ``[Q]`` float64, 1 or 0; NaN where a level of the truth is unknown.

    Examples:
      >>> full_path_correct([[0, 1], [1, 2]], [[0, 1], [1, 3]])
      array([1., 0.])
    """
    predicted, labels = _checked(predicted, labels)
    right = (predicted == labels).all(axis=1).astype(np.float64)
    return np.where((labels < 0).any(axis=1), np.nan, right)


def path_consistent(predicted: np.ndarray, ancestors: np.ndarray) -> np.ndarray:
    """Whether nodes that were predicted a level at a time lie on one path.

    The mean is the consistency: no truth is needed.

    Args:
      predicted: int ``[Q, L]``; -1 from some level on is an end above the leaf.
      ancestors: int ``[C, L]``, `Hierarchy.ancestors`.

    Returns:
      ``[Q]`` float64, 1 or 0; NaN where nothing is predicted.

    Examples:
      >>> path_consistent([[0, 1], [0, 2], [1, -1]], [[0, 0], [0, 1], [1, 2]])
      array([1., 0., 1.])
    """
    ancestors = np.asarray(ancestors)
    predicted, _ = _checked(predicted, predicted)
    if predicted.shape[1] != ancestors.shape[1]:
        raise UserError(
            f"predicted {predicted.shape} must have the {ancestors.shape[1]} levels of "
            "the tree"
        )
    lengths = (predicted >= 0).sum(axis=1)
    fits = np.zeros(len(predicted), bool)
    for length in np.unique(lengths):
        paths = {tuple(path) for path in ancestors[:, :length].tolist()}
        for row in np.flatnonzero(lengths == length):
            path = predicted[row, :length]
            fits[row] = tuple(path.tolist()) in paths and (path >= 0).all()
    return np.where(lengths == 0, np.nan, fits)


def hierarchical_f1(
    predicted: np.ndarray, labels: np.ndarray, ancestors: np.ndarray, depths: np.ndarray
) -> dict[str, float]:
    r"""Precision, recall and F1 of the nodes on the paths: hP, hR, hF.

    .. math:: hP = \sum_i |A_i \cap B_i| / \sum_i |A_i|, \quad
      hR = \sum_i |A_i \cap B_i| / \sum_i |B_i|

    with A the predicted node and its ancestors, B the true ones, without the root.
    Kiritchenko et al. 2006; sums over all queries, as hiclass has them.

    Args:
      predicted: int ``[Q, L]``; -1 from some level on is an end above the leaf.
      labels: int ``[Q, L]``; -1 from some level on is an end above the leaf. Rows of
        which nothing is known do not count.
      ancestors: int ``[C, L]``, `Hierarchy.ancestors`.
      depths: ``[C]``, `Hierarchy.depths`: a class that ends early repeats below and
        counts once.

    Returns:
      ``precision``, ``recall`` and ``f1`` in [0, 1]; NaN where the sum below is 0.

    Examples:
      >>> from hierjax import Hierarchy
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> truth = tree.labels_of([0, 0])
      >>> found = tree.encode([["a", "a2"], ["a"]])
      >>> values = hierarchical_f1(found, truth, tree.ancestors, tree.depths)
      >>> {name: round(value, 3) for name, value in values.items()}
      {'precision': 0.667, 'recall': 0.5, 'f1': 0.571}
    """
    predicted, labels = _checked(predicted, labels)
    nodes = level_nodes(ancestors)
    real = nodes.node_depths(np.asarray(depths)) == nodes.node_levels() + 1
    if predicted.shape[1] != nodes.num_levels:
        raise UserError(
            f"predicted {predicted.shape} must have the {nodes.num_levels} levels of "
            "the tree"
        )
    offsets = np.asarray(nodes.offsets[:-1])
    counted = (labels >= 0).any(axis=1)

    def on_path(paths):
        return (paths >= 0) & real[np.maximum(paths, 0) + offsets] & counted[:, None]

    mine, theirs = on_path(predicted), on_path(labels)
    both = (mine & theirs & (predicted == labels)).sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = (
            np.float64(both) / mine.sum(),
            np.float64(both) / theirs.sum(),
        )
        f1 = 2 * np.float64(both) / (mine.sum() + theirs.sum())
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1)}


def _checked(predicted, labels):
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    if predicted.ndim != 2 or predicted.shape != labels.shape:
        raise UserError(
            "predicted and labels must both be [Q, L], found "
            f"{predicted.shape} and {labels.shape}"
        )
    return predicted, labels
