"""Climbing from the most probable class until a node is probable enough."""

import math

import numpy as np

from hierjax.decoding import inputs
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.level_nodes import LevelNodes, level_nodes


def climb_labels(
    probabilities: np.ndarray, hierarchy: Hierarchy, *, threshold: float
) -> np.ndarray:
    """Climbs from the most probable class until the node is probable enough.

    Goren et al. 2024, "Hierarchical Selective Classification" (NeurIPS).

    Args:
      probabilities: ``[N, C]``.
      hierarchy: of these classes.
      threshold: the first node on the way up whose probability is at least this is the
        answer, the root if there is none; 0 answers with the class. See
        `calibrate_climb`.

    Returns:
      Labels int32 ``[N, L]``.

    Examples:
      >>> from hierjax import Hierarchy, decoding
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> probabilities = [[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.3, 0.2, 0.5]]
      >>> tree.decode(decoding.climb_labels(probabilities, tree, threshold=0.6))
      [('a', 'a1'), ('a',), ()]
    """
    probabilities = inputs.of_classes(probabilities, hierarchy)
    if not threshold >= 0:
        raise UserError(f"threshold must be at least 0, found {threshold}")
    nodes = level_nodes(hierarchy.ancestors)
    on_path = _on_path(probabilities, nodes)
    enough = on_path >= threshold
    finest = nodes.num_levels - 1 - np.argmax(enough[:, ::-1], axis=1)
    path = nodes.paths[probabilities.argmax(axis=1)]
    found = np.take_along_axis(path, finest[:, None], axis=1)[:, 0]
    answers = np.where(enough.any(axis=1), found, -1)
    return inputs.labels_of_nodes(answers, hierarchy, nodes)


def calibrate_climb(
    probabilities: np.ndarray,
    class_ids: np.ndarray,
    hierarchy: Hierarchy,
    *,
    accuracy: float,
) -> float:
    """Threshold of `climb_labels` that keeps a promised accuracy.

    Every row has a least threshold from which its answer holds the truth: just above
    the probability of the last wrong node on the way up. The result is a quantile of
    these, the smallest number that at least ``accuracy (n + 1)`` of n rows do not
    exceed: a new row of the same kind is then answered rightly with at least that
    probability (split conformal prediction; Goren et al. 2024 take n for n + 1).

    Args:
      probabilities: ``[N, C]`` of rows that were not trained on.
      class_ids: ``[N]``; -1 is unknown and such a row does not count.
      hierarchy: of these classes.
      accuracy: in (0, 1), the share of answers that should hold the truth. The root
        counts as right.

    Returns:
      A threshold, at least 0; infinity (always the root) if there are too few rows to
      promise so much.

    Examples:
      >>> from hierjax import Hierarchy, decoding
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> probabilities = [[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.2, 0.2, 0.6]]
      >>> truth = [0, 1, 2]  # the second row is wrong up to 'a'
      >>> f"{decoding.calibrate_climb(probabilities, truth, tree, accuracy=0.7):.3f}"
      '0.400'
      >>> decoding.calibrate_climb(probabilities, truth, tree, accuracy=0.9)
      inf
    """
    probabilities, class_ids = inputs.known_rows(probabilities, class_ids, hierarchy)
    inputs.check_accuracy(accuracy)
    nodes = level_nodes(hierarchy.ancestors)
    path = nodes.paths[probabilities.argmax(axis=1)]
    wrong = path != nodes.paths[class_ids]
    highest = np.argmax(wrong, axis=1)[:, None]
    found = np.take_along_axis(_on_path(probabilities, nodes), highest, axis=1)[:, 0]
    least = np.where(wrong.any(axis=1), np.nextafter(found, np.inf), 0.0)
    # A product such as .7 * 10 may round to just above the whole number.
    rank = math.ceil(accuracy * (len(least) + 1) - 1e-9)
    return float(np.sort(least)[rank - 1]) if rank <= len(least) else math.inf


def _on_path(probabilities: np.ndarray, nodes: LevelNodes) -> np.ndarray:
    """Probabilities ``[N, L]`` of the nodes above the most probable class."""
    path = nodes.paths[probabilities.argmax(axis=1)]
    return np.take_along_axis(inputs.node_sums(probabilities, nodes), path, axis=1)
