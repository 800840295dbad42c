"""Checked probabilities, sums over nodes, and nodes as labels."""

import numpy as np
from scipy import sparse

from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.level_nodes import LevelNodes, level_nodes


def node_probabilities(probabilities: np.ndarray, hierarchy: Hierarchy) -> np.ndarray:
    """Probability of every node: the sum over the classes at or below it.

    Args:
      probabilities: ``[N, C]``.
      hierarchy: of these classes.

    Returns:
      float64 ``[N, M]``.

    Examples:
      >>> from hierjax import Hierarchy, decoding
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> decoding.node_probabilities([[0.3, 0.3, 0.4]], tree)  # a, b, a1, a2, b1
      array([[0.6, 0.4, 0.3, 0.3, 0.4]])
    """
    probabilities = of_classes(probabilities, hierarchy)
    return node_sums(probabilities, level_nodes(hierarchy.ancestors))


def node_sums(probabilities: np.ndarray, nodes: LevelNodes) -> np.ndarray:
    """Sums ``[N, M]`` of any numbers ``[N, C]`` over the classes of each node."""
    columns = nodes.paths.ravel()
    classes = np.repeat(np.arange(nodes.num_classes), nodes.num_levels)
    below = sparse.csr_array(
        (np.ones(len(columns)), (columns, classes)),
        shape=(nodes.num_nodes, nodes.num_classes),
    )
    return np.ascontiguousarray((below @ probabilities.T).T)


def first_best(values: np.ndarray) -> np.ndarray:
    """The first column ``[N]`` whose value is the largest of the row, to rounding."""
    best = values.max(axis=1, keepdims=True)
    return np.argmax(values >= best - 1e-12 * np.abs(best), axis=1)


def labels_of_nodes(
    numbers: np.ndarray, hierarchy: Hierarchy, nodes: LevelNodes
) -> np.ndarray:
    """Labels ``[N, L]`` of nodes, of -1 the root; a class is known on all levels."""
    table = np.full((nodes.num_nodes + 1, nodes.num_levels), -1, np.int32)
    own = nodes.class_depths(hierarchy.depths)
    for level, column in enumerate(nodes.paths.T):
        table[column, : level + 1] = hierarchy.ancestors[:, : level + 1]
        ended = own <= level + 1
        table[column[ended]] = hierarchy.ancestors[ended]
    return table[numbers]


def checked_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """``probabilities`` as float64 ``[N, C]``, or UserError."""
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or not probabilities.shape[1]:
        raise UserError(
            f"probabilities must have shape [N, C], found {probabilities.shape}"
        )
    # A NaN is in no range either.
    wrong = ~((probabilities >= 0) & (probabilities <= 1 + 1e-2)).all(axis=1)
    wrong |= ~(np.abs(probabilities.sum(axis=1) - 1) <= 1e-2)
    if wrong.any():
        raise UserError(
            "probabilities must be at least 0 and sum to 1 in each row, "
            f"found {probabilities[wrong.argmax()]} in row {wrong.argmax()}"
        )
    return probabilities


def of_classes(probabilities: np.ndarray, hierarchy: Hierarchy) -> np.ndarray:
    """``probabilities`` of the classes of this tree, or UserError."""
    probabilities = checked_probabilities(probabilities)
    if probabilities.shape[1] != hierarchy.num_classes:
        raise UserError(
            f"probabilities must have the {hierarchy.num_classes} classes of the "
            f"tree, found {probabilities.shape[1]}"
        )
    return probabilities


def checked_class_ids(
    class_ids: np.ndarray, num_rows: int, num_classes: int
) -> np.ndarray:
    """``class_ids`` ``[num_rows]`` of which at least one is known, or UserError."""
    class_ids = np.asarray(class_ids)
    integers = np.issubdtype(class_ids.dtype, np.integer)
    if class_ids.shape != (num_rows,) or not integers:
        raise UserError(
            f"class_ids must be {num_rows} integers, one a row, "
            f"found shape {class_ids.shape} of {class_ids.dtype}"
        )
    if ((class_ids < -1) | (class_ids >= num_classes)).any():
        raise UserError(f"class_ids must lie in -1..{num_classes - 1}")
    if not (class_ids >= 0).any():
        raise UserError("no row has a known class to calibrate with")
    return class_ids


def known_rows(
    probabilities: np.ndarray, class_ids: np.ndarray, hierarchy: Hierarchy
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of known class and their classes, or UserError."""
    probabilities = of_classes(probabilities, hierarchy)
    class_ids = checked_class_ids(class_ids, *probabilities.shape)
    known = class_ids >= 0
    return probabilities[known], class_ids[known]


def check_accuracy(accuracy: float) -> None:
    """UserError unless it is a share that can be promised."""
    if not 0 < accuracy < 1:
        raise UserError(f"accuracy must lie between 0 and 1, found {accuracy}")
