"""All nodes of a tree in one row: level after level, coarsest first.

Node n of level l has the number ``offsets[l] + n``, so that labels ``[B, L]`` index the
row directly, and the last C numbers are the classes. A class that ends above the last
level has a node of its own on every level below its end, as everywhere: the row holds
such repeated nodes too.
"""

from typing import Any, NamedTuple

import jax
import numpy as np


class LevelNodes(NamedTuple):
    """The M nodes of a tree over C classes with L levels, on the host.

    Attributes:
      offsets: L + 1 numbers: level l has the nodes ``offsets[l]`` to
        ``offsets[l + 1] - 1``.
      parents: int32 ``[M]``, number of the parent; -1 for the nodes of level 0.
      paths: int32 ``[C, L]``, number of each class's node on each level.
    """

    offsets: tuple[int, ...]
    parents: np.ndarray
    paths: np.ndarray

    @property
    def num_nodes(self) -> int:
        """M."""
        return self.offsets[-1]

    @property
    def num_levels(self) -> int:
        """L."""
        return self.paths.shape[1]

    @property
    def num_classes(self) -> int:
        """C."""
        return self.paths.shape[0]

    def slice_of(self, level: int) -> slice:
        """The nodes of a level as a slice of the row."""
        return slice(self.offsets[level], self.offsets[level + 1])

    def parents_in_level(self, level: int) -> np.ndarray:
        """Id within level ``level - 1`` of the parent of each node of a level >= 1."""
        return self.parents[self.slice_of(level)] - self.offsets[level - 1]

    def sum_of_classes(self, values: np.ndarray) -> np.ndarray:
        """Sums values of classes ``[C]`` over the classes at or below each node."""
        sums = np.zeros(self.num_nodes)
        for numbers in self.paths.T:
            np.add.at(sums, numbers, values)
        return sums

    def class_depths(self, depths: np.ndarray) -> np.ndarray:
        """Depth of each class as a child of its own node where it is an ancestor.

        Args:
          depths: ``[C]`` lengths of the classes' paths, `Hierarchy.depths`.

        Returns:
          int32 ``[C]``: one more than ``depths`` for the ancestors of other classes.
        """
        ends = self.paths[np.arange(self.num_classes), np.asarray(depths) - 1]
        shared = self.sum_of_classes(np.ones(self.num_classes))[ends] > 1
        return (depths + shared).astype(np.int32)

    def node_depths(self, depths: np.ndarray) -> np.ndarray:
        """Depth of each node, int32 ``[M]``, 1 at the top.

        Args:
          depths: as in `class_depths`.

        Returns:
          The depth of the real node that a node is or repeats: a node is real exactly
          if it lies on level ``depth - 1``.
        """
        deepest = np.zeros(self.num_nodes, np.int32)
        own = self.class_depths(depths)
        for level, numbers in enumerate(self.paths.T):
            np.maximum.at(deepest, numbers, np.minimum(own, level + 1))
        return deepest

    def node_levels(self) -> np.ndarray:
        """Level of each node, int32 ``[M]``."""
        sizes = np.diff(self.offsets)
        return np.repeat(np.arange(self.num_levels, dtype=np.int32), sizes)


def level_nodes(ancestors: Any) -> LevelNodes:
    """Numbers the nodes of a tree.

    Args:
      ancestors: int ``[C, L]``, `Hierarchy.ancestors`: on every level the ids 0 to
        n - 1, on the last one the class ids in order.

    Raises:
      ValueError: ids that are no tree, or that are known only when the program runs.
    """
    if isinstance(ancestors, jax.core.Tracer):
        raise ValueError(
            "ancestors decide the shapes of what is computed: hand in the array "
            "hierarchy.ancestors itself, not an argument of a compiled function"
        )
    ancestors = np.asarray(ancestors)
    if (
        ancestors.ndim != 2
        or not ancestors.size
        or not np.issubdtype(ancestors.dtype, np.integer)
    ):
        raise ValueError(
            f"ancestors must be integers [C, L], got {ancestors.dtype} "
            f"{ancestors.shape}"
        )
    if not np.array_equal(ancestors[:, -1], np.arange(len(ancestors))):
        raise ValueError("the last column of ancestors must be 0 to C - 1, in order")
    sizes = ancestors.max(axis=0) + 1
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    parents = np.full(offsets[-1], -1, np.int32)
    paths = (ancestors + offsets[:-1]).astype(np.int32)
    for level in range(ancestors.shape[1]):
        present = np.unique(ancestors[:, level])
        if not np.array_equal(present, np.arange(sizes[level])):
            raise ValueError(
                f"the ids of level {level} must be 0 to {sizes[level] - 1}, each used"
            )
        if level:
            parents[paths[:, level]] = paths[:, level - 1]
            if not np.array_equal(parents[paths[:, level]], paths[:, level - 1]):
                raise ValueError(f"a node of level {level} has two parents")
    return LevelNodes(tuple(offsets.tolist()), parents, paths)
