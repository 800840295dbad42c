"""Nodes and sets of nodes of the greatest expected hierarchical F-beta."""

import math
from typing import NamedTuple

import numpy as np

from hierjax.decoding import inputs
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.level_nodes import LevelNodes, level_nodes

_ROWS_AT_A_TIME = 256


def f_beta_sets(
    probabilities: np.ndarray,
    hierarchy: Hierarchy,
    *,
    beta: float = 1.0,
    count_root: bool = True,
) -> np.ndarray:
    r"""The set of nodes of the greatest expected hierarchical F-beta.

    F-beta compares a set S with the nodes A of the true class's path,

    .. math:: (1 + \beta^2) |S \cap A| / (|S| + \beta^2 |A|).

    For a given size of S it is a sum over its nodes, so that the best S of each size
    are the nodes with the largest terms. Plaud et al. 2025, "To Each Metric Its
    Decoding" (ICML); no node is ruled out beforehand here, only sizes that no set can
    be good at. With every node it holds those above it; it need not be one path: two
    siblings may both be worth naming.

    Args:
      probabilities: ``[N, C]``.
      hierarchy: of these classes.
      beta: positive; above 1 recall counts more, and sets grow.
      count_root: the root is in S and in A, as in the paper; False: in neither, as
        hiclass counts, and S holds at least one node.

    Returns:
      bool ``[N, M]``, False for nodes that only repeat a class.

    Examples:
      >>> from hierjax import Hierarchy, decoding
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> decoding.f_beta_sets([[0.7, 0.2, 0.1]], tree)  # a, b, a1, a2, b1
      array([[ True, False,  True, False, False]])
    """
    setup = _f_beta_setup(probabilities, hierarchy, beta, count_root)
    chosen = np.zeros((len(setup.probabilities), setup.nodes.num_nodes), bool)
    for start in range(0, len(chosen), _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        candidates, by_size, limit = setup.candidates(rows)
        best = setup.value_of_root(rows)
        answer = np.zeros(candidates.shape, bool)
        order = None
        for number in range(1, limit + 1):
            terms = setup.terms(by_size, number)
            if order is None or len(by_size) > 1:
                # Coarse nodes stand first: of a tie the parent comes before the child.
                order = np.argsort(-terms, axis=1, kind="stable")
            largest = order[:, :number]
            value = np.take_along_axis(terms, largest, axis=1).sum(axis=1)
            value += setup.share_of_root(rows, number)
            better = np.flatnonzero(value > best * (1 + 1e-12))
            best[better] = value[better]
            answer[better] = False
            answer[better[:, None], largest[better]] = True
        np.put_along_axis(chosen[rows], candidates, answer, axis=1)
    return chosen


def f_beta_labels(
    probabilities: np.ndarray,
    hierarchy: Hierarchy,
    *,
    beta: float = 1.0,
    count_root: bool = True,
) -> np.ndarray:
    """The node whose path has the greatest expected hierarchical F-beta.

    As `f_beta_sets`, but the set is a node with all above it.

    Args:
      probabilities: ``[N, C]``.
      hierarchy: of these classes.
      beta: positive.
      count_root: as in `f_beta_sets`; if False the root is never the answer.

    Returns:
      Labels int32 ``[N, L]``; of equally good nodes the coarser one.

    Examples:
      >>> from hierjax import Hierarchy, decoding
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> probabilities = [[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]
      >>> tree.decode(decoding.f_beta_labels(probabilities, tree, beta=0.3))
      [('a',), ()]
    """
    setup = _f_beta_setup(probabilities, hierarchy, beta, count_root)
    nodes = setup.nodes
    answers = np.empty(len(setup.probabilities), np.intp)
    for start in range(0, len(answers), _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        by_size = setup.sums_by_size(rows)
        values = np.full((by_size.shape[1], nodes.num_nodes + 1), -np.inf)
        values[:, 0] = setup.value_of_root(rows)
        for level in range(nodes.num_levels):
            total = setup.share_of_root(rows, level + 1)[:, None]
            for above in range(level + 1):
                of_level = nodes.slice_of(above)
                if above:
                    total = total[:, nodes.parents_in_level(above)]
                total = total + setup.terms(by_size[:, :, of_level], level + 1)
            values[:, 1:][:, nodes.slice_of(level)] = total
        values[:, 1:][:, ~setup.real] = -np.inf
        answers[rows] = inputs.first_best(values) - 1
    return inputs.labels_of_nodes(answers, hierarchy, nodes)


class _FBeta(NamedTuple):
    """What F-beta needs; a class's size is the number of its path's nodes."""

    probabilities: np.ndarray
    nodes: LevelNodes
    real: np.ndarray
    sizes: np.ndarray
    beta: float
    root: int

    def sums_by_size(self, rows: slice) -> np.ndarray:
        """Node sums over the classes of each size, ``[sizes, rows, M]``."""
        block = self.probabilities[rows]
        return np.stack(
            [
                inputs.node_sums(np.where(self.sizes == size, block, 0.0), self.nodes)
                for size in np.unique(self.sizes)
            ]
        )

    def terms(self, by_size: np.ndarray, number: int) -> np.ndarray:
        """What each node adds to F-beta in a set of ``number`` nodes and the root."""
        weights = self._weights(np.unique(self.sizes), number)
        return np.tensordot(weights, by_size, axes=1)

    def share_of_root(self, rows: slice, number: int) -> np.ndarray:
        """What the root adds to F-beta in a set of ``number`` nodes and the root."""
        block = self.probabilities[rows]
        return self.root * (block @ self._weights(self.sizes, number))

    def value_of_root(self, rows: slice) -> np.ndarray:
        """F-beta of the root alone; -inf where it does not count."""
        if not self.root:
            return np.full(len(self.probabilities[rows]), -np.inf)
        return self.share_of_root(rows, 0)

    def candidates(self, rows: slice) -> tuple[np.ndarray, np.ndarray, int]:
        """The nodes that may be in the best set, and how many of them at most.

        A set of n nodes scores at most what n nodes of the longest path would if all
        were right; from the size on at which one node or the root alone scores as much,
        no larger set is best. Within that number, a node cannot be among the largest
        terms whose probability is too far below the others', whatever their sizes.

        Returns:
          Numbers ``[rows, K]`` in order, their sums ``[sizes, rows, K]``, the size.
        """
        by_size = self.sums_by_size(rows) * self.real
        total = by_size.sum(axis=0)
        alone = self.terms(by_size, 1).max(axis=1) + self.share_of_root(rows, 1)
        least = np.maximum(alone, self.value_of_root(rows)).min()
        square, longest, shortest = self.beta**2, self.sizes.max(), self.sizes.min()
        limit = longest * (1 + square) / least - self.root - square * longest
        limit = int(np.clip(math.ceil(limit), 1, self.real.sum()))
        spread = (1 + self.root + square * shortest) / (
            1 + self.root + square * longest
        )
        ordered = np.argsort(-total, axis=1, kind="stable")
        sorted_totals = np.take_along_axis(total, ordered, axis=1)
        within = (
            sorted_totals >= (1 - 1e-9) * spread * sorted_totals[:, limit - 1, None]
        )
        kept = max(int((within & (sorted_totals > 0)).sum(axis=1).max()), 1)
        numbers = np.sort(ordered[:, :kept], axis=1)
        by_size = np.take_along_axis(by_size, numbers[None], axis=2)
        return numbers, by_size, min(limit, kept)

    def _weights(self, sizes: np.ndarray, number: int) -> np.ndarray:
        square = self.beta**2
        return (1 + square) / (number + self.root + square * sizes)


def _f_beta_setup(probabilities, hierarchy, beta, count_root) -> _FBeta:
    probabilities = inputs.of_classes(probabilities, hierarchy)
    if not 0 < beta < math.inf:
        raise UserError(f"beta must be positive and finite, found {beta}")
    nodes = level_nodes(hierarchy.ancestors)
    real = np.zeros(nodes.num_nodes, bool)
    for level, numbers in enumerate(nodes.paths.T):
        real[numbers[hierarchy.depths > level]] = True
    root = int(count_root)
    return _FBeta(probabilities, nodes, real, hierarchy.depths + root, beta, root)
