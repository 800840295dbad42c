"""Rows of classes in the order of the label tree."""

import numpy as np

from hierjax.hierarchy import Hierarchy

_MOST_HUES = 24


def tree_order(ancestors: np.ndarray) -> np.ndarray:
    """Returns the order of the rows [K] that puts every subtree together."""
    return np.lexsort(ancestors.T[::-1])


def runs(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where each run of equal nodes [K] starts and how long it is."""
    starts = np.flatnonzero(np.r_[True, nodes[1:] != nodes[:-1]])
    return starts, np.diff(np.r_[starts, len(nodes)])


def level_of_families(hierarchy: Hierarchy) -> int:
    """Returns the level whose nodes are families, which share a hue.

    The coarsest one where no node has more than half of the classes, so that colours
    tell something; where that has too many nodes for hues or there is none, the
    coarsest with more than one node, and 0 if there is none.
    """
    num_nodes = np.array(hierarchy.nodes_per_level)
    for level, nodes in enumerate(np.asarray(hierarchy.ancestors).T):
        if 2 * np.bincount(nodes).max() <= hierarchy.num_classes:
            if num_nodes[level] <= _MOST_HUES:
                return level
            break
    return int(np.argmax(num_nodes > 1))
