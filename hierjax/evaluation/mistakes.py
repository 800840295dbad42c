"""Which mistakes predictions of classes make, and how far off they are."""

from typing import NamedTuple

import numpy as np

from hierjax.hierarchy import Hierarchy


class Confusion(NamedTuple):
    """Queries of one node that were taken for another.

    Attributes:
      true: their node.
      predicted: the node they were taken for.
      count: how many there are.
      queries: how many queries the true node has.
    """

    true: int
    predicted: int
    count: int
    queries: int


def count_by_shared_level(
    predicted: np.ndarray, true: np.ndarray, hierarchy: Hierarchy
) -> tuple[int, np.ndarray]:
    """Counts mistakes by the finest level at which they are still right.

    A class that ends above the finest level is the only one of its nodes below, so
    that a level means the same in trees whose branches differ in depth.

    Args:
      predicted: class ids ``[Q]``; -1, no prediction, is left out.
      true: class ids ``[Q]``; -1, unknown, is left out.
      hierarchy: the label tree.

    Returns:
      How many predictions are right, and int64 ``[L]`` of mistakes: at l those whose
      l coarsest levels are right, at 0 those that share nothing but the root.

    Examples:
      >>> tree = Hierarchy.from_paths([("bird", "owl"), ("bird", "duck"), ("cod",)])
      >>> count_by_shared_level(np.array([0, 1, 2, 0]), np.array([0, 0, 0, 2]), tree)
      (1, array([2, 1]))
    """
    known = (predicted >= 0) & (true >= 0)
    ancestors = np.asarray(hierarchy.ancestors)
    same = ancestors[predicted[known]] == ancestors[true[known]]
    shared = same.cumprod(axis=1).sum(axis=1)
    counts = np.bincount(shared, minlength=hierarchy.num_levels + 1)
    return int(counts[-1]), counts[:-1]


def largest_confusions(
    predicted: np.ndarray, true: np.ndarray, number: int
) -> list[Confusion]:
    """The pairs of different nodes that most queries fall on, at one level.

    Args:
      predicted: node ids ``[Q]``; -1, no prediction, is left out.
      true: node ids ``[Q]``; -1, unknown, is left out.
      number: pairs at most.

    Returns:
      Confusions, the most frequent first; of equally frequent ones the lower ids first.

    Examples:
      >>> largest_confusions(np.array([1, 1, 2, 0]), np.array([0, 0, 0, 0]), 1)
      [Confusion(true=0, predicted=1, count=2, queries=4)]
    """
    wrong = (predicted >= 0) & (true >= 0) & (predicted != true)
    pairs, counts = np.unique(
        np.column_stack([true[wrong], predicted[wrong]]), axis=0, return_counts=True
    )
    sizes = np.bincount(true[true >= 0])
    first = np.argsort(-counts, kind="stable")[:number]
    return [
        Confusion(int(a), int(b), int(count), int(sizes[a]))
        for (a, b), count in zip(pairs[first], counts[first], strict=True)
    ]


def worst_mistakes(
    predicted: np.ndarray,
    true: np.ndarray,
    confidence: np.ndarray,
    distance: np.ndarray,
    hierarchy: Hierarchy,
    number: int,
) -> np.ndarray:
    """The mistakes that are farthest off in the tree, then the most confident ones.

    Args:
      predicted: class ids ``[Q]``; -1, no prediction, is left out.
      true: class ids ``[Q]``; -1, unknown, is left out.
      confidence: ``[Q]``.
      distance: ``[Q]`` of the nearest neighbour: of equally confident ones the nearer
        come first.
      hierarchy: the label tree.
      number: mistakes at most.

    Returns:
      Positions among the queries, int ``[<= number]``: by the number of hops, largest
      first, then by confidence, largest first, then by distance, then in order.

    Examples:
      >>> tree = Hierarchy.from_paths([("bird", "owl"), ("bird", "duck"), ("cod",)])
      >>> confidence, distance = np.array([0.5, 0.5, 0.9]), np.zeros(3)
      >>> true = np.array([0, 0, 1])
      >>> worst_mistakes(np.array([1, 2, 2]), true, confidence, distance, tree, 2)
      array([2, 1])
    """
    wrong = np.flatnonzero((predicted >= 0) & (true >= 0) & (predicted != true))
    hops = hierarchy.path_length()[predicted[wrong], true[wrong]]
    return wrong[np.lexsort([wrong, distance[wrong], -confidence[wrong], -hops])][
        :number
    ]
