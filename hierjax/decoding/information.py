"""The trade-off of being right and saying much."""

import math

import numpy as np

from hierjax.decoding import inputs
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.level_nodes import LevelNodes, level_nodes

_LARGEST_REWARD = 1e12


def information_labels(
    probabilities: np.ndarray, hierarchy: Hierarchy, *, reward: float = 0.0
) -> np.ndarray:
    r"""The node with the best trade-off of being right and saying much.

    .. math:: \mathrm{argmax}_v \; P_v (\log_2 (C / C_v) + \lambda)

    with C_v the number of classes at or below v. Deng et al. 2012, "Hedging Your Bets"
    (CVPR; DARTS).

    Args:
      probabilities: ``[N, C]``.
      hierarchy: of these classes.
      reward: lambda, 0 or more: what being right is worth by itself; the larger, the
        coarser are the answers. Infinity: the root. See `calibrate_information`.

    Returns:
      Labels int32 ``[N, L]``; of equally good nodes the finer one.

    Examples:
      >>> from hierjax import Hierarchy, decoding
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> probabilities = [[0.8, 0.1, 0.1], [0.4, 0.3, 0.3]]
      >>> for reward in (0.0, 0.5, 5.0):
      ...     labels = decoding.information_labels(probabilities, tree, reward=reward)
      ...     print(tree.decode(labels))
      [('a', 'a1'), ('a', 'a1')]
      [('a', 'a1'), ('a', 'a1')]
      [('a', 'a1'), ()]
    """
    probabilities = inputs.of_classes(probabilities, hierarchy)
    if not reward >= 0:
        raise UserError(f"reward must be at least 0, found {reward}")
    nodes = level_nodes(hierarchy.ancestors)
    answers = _most_informative(inputs.node_sums(probabilities, nodes), nodes, reward)
    return inputs.labels_of_nodes(answers, hierarchy, nodes)


def calibrate_information(
    probabilities: np.ndarray,
    class_ids: np.ndarray,
    hierarchy: Hierarchy,
    *,
    accuracy: float,
) -> float:
    """Reward of `information_labels` that reaches an accuracy on given rows.

    By bisection, as Deng et al. 2012: the least reward whose answers hold the truth in
    that share of the rows, if the share grows with the reward, as it does but for
    single rows.

    Args:
      probabilities: ``[N, C]`` of rows that were not trained on.
      class_ids: ``[N]``; -1 is unknown and such a row does not count.
      hierarchy: of these classes.
      accuracy: in (0, 1).

    Returns:
      A reward that reaches it, to a relative 1e-6; 0 if that already does, infinity
      (always the root) if 1e12 does not, as where wrong nodes have probability 1.

    Examples:
      >>> from hierjax import Hierarchy, decoding
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> probabilities = [[0.8, 0.1, 0.1], [0.4, 0.3, 0.3]]
      >>> reward = decoding.calibrate_information(
      ...     probabilities, [0, 1], tree, accuracy=0.9
      ... )
      >>> tree.decode(decoding.information_labels(probabilities, tree, reward=reward))
      [('a', 'a1'), ('a',)]
    """
    probabilities, class_ids = inputs.known_rows(probabilities, class_ids, hierarchy)
    inputs.check_accuracy(accuracy)
    nodes = level_nodes(hierarchy.ancestors)
    sums = inputs.node_sums(probabilities, nodes)

    def reaches(reward):
        answers = _most_informative(sums, nodes, reward)
        right = (answers < 0) | (nodes.paths[class_ids] == answers[:, None]).any(axis=1)
        return right.mean() >= accuracy

    if reaches(0.0):
        return 0.0
    high = 1.0
    while not reaches(high):
        high *= 2
        if high > _LARGEST_REWARD:
            return math.inf
    low = high / 2 if high > 1 else 0.0
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def _most_informative(sums: np.ndarray, nodes: LevelNodes, reward: float) -> np.ndarray:
    """Numbers ``[N]`` of the nodes that Deng's trade-off chooses, -1 for the root."""
    if reward == math.inf:
        return np.full(len(sums), -1)
    sizes = nodes.sum_of_classes(np.ones(nodes.num_classes))
    # Finest first, the root last, so that the first of equal values is the finest.
    order = np.concatenate(
        [
            np.arange(nodes.num_nodes)[nodes.slice_of(level)]
            for level in reversed(range(nodes.num_levels))
        ]
    )
    worth = np.log2(nodes.num_classes / sizes) + reward
    values = np.empty((len(sums), nodes.num_nodes + 1))
    values[:, :-1] = (sums * worth)[:, order]
    values[:, -1] = reward
    return np.append(order, -1)[inputs.first_best(values)]
