"""Rows of classes in the order of the label tree."""

import numpy as np

from hierjax.hierarchy import Hierarchy


def tree_order(ancestors: np.ndarray) -> np.ndarray:
    """Returns the order of the rows [K] that puts every subtree together."""
    return np.lexsort(ancestors.T[::-1])


def runs(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where each run of equal nodes [K] starts and how long it is."""
    starts = np.flatnonzero(np.r_[True, nodes[1:] != nodes[:-1]])
    return starts, np.diff(np.r_[starts, len(nodes)])


def level_of_families(hierarchy: Hierarchy) -> int:
    """Returns the coarsest level with more than one node, 0 if there is none."""
    return int(np.argmax(np.array(hierarchy.nodes_per_level) > 1))
