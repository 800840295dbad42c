"""Nodes of the tree as mean directions, and how sure a comparison with them is."""

import numpy as np
import scipy

from hierjax import evaluation, metrics
from hierjax.errors import UserError

_SCALES = (1.0, 1000.0)
"""Range of the scale of cosines, searched on a logarithmic axis."""


def node_prototypes(
    embeddings: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean direction of every class, and of nodes that have rows but no such class.

    Args:
      embeddings: ``[N, D]`` of training rows.
      labels: ``[N, L]`` node ids, -1 for unknown levels.

    Returns:
      float32 ``[P, D]`` unit rows, and int32 ``[P, L]``, the labels of each: whole
      for a class; -1 below a node whose rows are all of unknown class.

    Raises:
      UserError: no row is known at any level.
    """
    directions, paths = [], []
    num_levels = labels.shape[1]
    for level in reversed(range(num_levels)):
        ids = labels[:, level]
        covered = [path[level] for path in paths]
        rows = np.flatnonzero((ids >= 0) & ~np.isin(ids, covered))
        nodes, first, of_row = np.unique(
            ids[rows], return_index=True, return_inverse=True
        )
        means = evaluation.mean_directions(embeddings[rows], of_row, len(nodes))
        for mean, row in zip(means, rows[first], strict=True):
            if np.isfinite(mean).all():  # Rows that cancel out have no direction.
                directions.append(mean)
                paths.append(np.where(np.arange(num_levels) <= level, labels[row], -1))
    if not paths:
        raise UserError("no training row with a known label has an embedding")
    return np.array(directions, np.float32), np.array(paths, np.int32)


def cosines(embeddings: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    """Cosine of every embedding ``[N, D]`` with every prototype, ``[N, P]``."""
    return metrics.unit_rows(embeddings) @ prototypes.T


def fit_scale(
    embeddings: np.ndarray,
    labels: np.ndarray,
    prototypes: np.ndarray,
    prototype_labels: np.ndarray,
) -> float:
    """The scale s that makes softmax(s cos) over prototypes most likely.

    Likelihood is that of each row's deepest known node, whose probability is the sum
    over the prototypes below it. Rows whose node has no prototype are left out; none
    left gives the smallest scale, which trusts nothing.

    Args:
      embeddings: ``[N, D]`` of rows held out from training, N >= 0.
      labels: ``[N, L]``, -1 for unknown levels.
      prototypes: ``[P, D]``.
      prototype_labels: ``[P, L]``.

    Returns:
      s in 1 to 1000.
    """
    depth = np.sum(labels >= 0, axis=1)
    rows = np.flatnonzero(depth > 0)
    node = labels[rows, depth[rows] - 1]
    below = prototype_labels[:, depth[rows] - 1].T == node[:, None]
    known = below.any(axis=1)
    if not known.any():
        return _SCALES[0]
    similarity = cosines(embeddings[rows[known]], prototypes)
    below = below[known]

    def loss(log_scale: float) -> float:
        scores = np.exp(log_scale) * similarity
        total = scipy.special.logsumexp(scores, axis=1)
        part = scipy.special.logsumexp(np.where(below, scores, -np.inf), axis=1)
        return float(np.mean(total - part))

    found = scipy.optimize.minimize_scalar(
        loss, bounds=tuple(np.log(_SCALES)), method="bounded"
    )
    return float(np.exp(found.x))


def node_probabilities(
    similarity: np.ndarray, scale: float, nodes: np.ndarray, num_nodes: int
) -> np.ndarray:
    """Probability of every node of a level.

    Args:
      similarity: ``[N, P]`` cosines.
      scale: see `fit_scale`.
      nodes: ``[P]`` the node of each prototype on the level, -1 for none.
      num_nodes: of the level.

    Returns:
      ``[N, num_nodes]``; rows sum to 1, to less where prototypes end above the level.
    """
    members = (nodes[:, None] == np.arange(num_nodes)).astype(np.float64)
    return scipy.special.softmax(scale * similarity, axis=1) @ members
