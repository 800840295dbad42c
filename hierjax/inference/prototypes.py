"""Nodes of the tree as mean directions, and how sure a comparison with them is."""

import numpy as np
import scipy

from hierjax import evaluation, metrics
from hierjax.errors import UserError

_SCALES = (1.0, 1000.0)
"""Range of the scale of cosines, searched on a logarithmic axis."""
_LEAST = 1e-3
"""Probability that is never called impossible in the fit."""
_MAX_FITTED = 1000


def node_prototypes(
    embeddings: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean direction of every class, and of nodes that have rows but no such class.

    Args:
      embeddings: ``[N, D]`` of training rows.
      labels: ``[N, L]`` node ids, -1 for unknown levels.

    Returns:
      float32 ``[P, D]`` unit rows, and int32 ``[P, L]``, the labels of each: whole
      for a class; -1 below a node whose rows are all of unknown class. Nodes whose rows
      cancel out have no direction and are left out; where none has one, as after a
      training on constant features, all are there as zeros, which are equally far from
      everything.

    Raises:
      UserError: no row is known at any level.
    """
    if not np.any(labels >= 0):
        raise UserError("no training row has a known label")
    found = _directions(embeddings, labels, with_zeros=False)
    if not found[1]:
        found = _directions(embeddings, labels, with_zeros=True)
    return np.array(found[0], np.float32), np.array(found[1], np.int32)


def _directions(
    embeddings: np.ndarray, labels: np.ndarray, *, with_zeros: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Prototypes and their paths, with zeros for nodes without a direction or not."""
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
            if with_zeros or np.isfinite(mean).all():
                directions.append(np.nan_to_num(mean))
                paths.append(np.where(np.arange(num_levels) <= level, labels[row], -1))
    return directions, paths


def cosines(embeddings: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    """Cosine of every embedding ``[N, D]`` with every prototype, ``[N, P]``."""
    return metrics.unit_rows(embeddings) @ prototypes.T


def fit_scales(
    embeddings: np.ndarray,
    labels: np.ndarray,
    prototypes: np.ndarray,
    prototype_labels: np.ndarray,
) -> tuple[float, ...]:
    """The scale of cosines at every level that makes confidences most honest.

    A temperature a level (Guo et al. 2017), fitted not to the probability of the true
    node but to what is made of it: that the most probable node is right with the
    probability that it has. With many classes and prototypes that lie close together
    the likelihood of the true node asks for so flat a softmax that no answer is ever
    confident, however often it is right.

    Args:
      embeddings: ``[N, D]`` of rows held out from training, N >= 0.
      labels: ``[N, L]``, -1 for unknown levels.
      prototypes: ``[P, D]``.
      prototype_labels: ``[P, L]``.

    Returns:
      L numbers in 1 to 1000, of the least mean binary cross entropy between the
      largest probability of a level and whether its node is right, with the smoothed
      targets of Platt 1999, on a grid of 5 % steps; of equal ones the smallest. A level
      without a row of known node there has the smallest, which trusts nothing.
    """
    return tuple(
        _fit_scale(embeddings[ids >= 0], ids[ids >= 0], prototypes, nodes)
        for ids, nodes in zip(labels.T, prototype_labels.T, strict=True)
    )


def _fit_scale(
    embeddings: np.ndarray, ids: np.ndarray, prototypes: np.ndarray, nodes: np.ndarray
) -> float:
    if not len(ids) or not (nodes >= 0).any():
        return _SCALES[0]
    if len(ids) > _MAX_FITTED:
        kept = np.random.default_rng(0).choice(len(ids), _MAX_FITTED, replace=False)
        embeddings, ids = embeddings[kept], ids[kept]
    similarity = cosines(embeddings, prototypes)
    number = max(int(nodes.max()), int(ids.max())) + 1

    def loss(log_scale: float) -> float:
        chances = node_probabilities(similarity, np.exp(log_scale), nodes, number)
        right = chances.argmax(axis=1) == ids
        # A certainty that is wrong once must not cost infinitely much.
        sure = np.clip(chances.max(axis=1), _LEAST, 1 - _LEAST)
        # Platt 1999: a few rows that are all right are no certainty.
        number_right = right.sum()
        target = np.where(
            right,
            (number_right + 1) / (number_right + 2),
            1 / (len(right) - number_right + 2),
        )
        losses = target * np.log(sure) + (1 - target) * np.log(1 - sure)
        return float(-losses.mean())

    coarse = np.linspace(*np.log(_SCALES), 15)
    best = coarse[np.argmin([loss(x) for x in coarse])]
    step = (coarse[1] - coarse[0]) / 10
    fine = np.clip(best + step * np.arange(-9, 10), *np.log(_SCALES))
    return float(np.exp(fine[np.argmin([loss(x) for x in fine])]))


def node_probabilities(
    similarity: np.ndarray, scale: float, nodes: np.ndarray, num_nodes: int
) -> np.ndarray:
    """Probability of every node of a level.

    Args:
      similarity: ``[N, P]`` cosines.
      scale: of the level, see `fit_scales`.
      nodes: ``[P]`` the node of each prototype on the level, -1 for none.
      num_nodes: of the level.

    Returns:
      ``[N, num_nodes]``; rows sum to 1, to less where prototypes end above the level.
    """
    chances = scipy.special.softmax(scale * similarity, axis=1)
    known = np.flatnonzero(nodes >= 0)
    shape = (len(nodes), num_nodes)
    places = (known, nodes[known])
    # Most classes are below one node each: dense, this product would take longest.
    members = scipy.sparse.csr_array((np.ones(len(known)), places), shape=shape)
    return (members.T @ chances.T).T
