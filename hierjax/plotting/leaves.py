"""Class means as the leaves of a drawn tree, and the distances between them."""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import pdist

from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.plotting.colors import tree_colors
from hierjax.plotting.style import count_of, literal
from hierjax.plotting.tree_order import level_of_families, runs, tree_order

DISTANCE_NAMES = {
    "cosine": "cosine distance",
    "euclidean": "Euclidean distance",
    "sqeuclidean": "squared Euclidean distance",
}


class Leaves(NamedTuple):
    """What is drawn as leaves, in tree order."""

    means: np.ndarray  # [K, D]
    ancestors: np.ndarray  # int [K, levels], the last column is the leaf itself
    names: list[str]
    colors: np.ndarray  # [K, 3], one colour a family
    families: np.ndarray  # int [K]
    title: str


def present_leaves(
    class_means: np.ndarray,
    hierarchy: Hierarchy,
    max_classes: int,
    within: tuple[int, int] | None = None,
) -> Leaves:
    """Returns the present leaves; a crowded level gives way to a coarser one.

    ``within`` is level and id of a node: only classes below it are leaves.
    """
    means = np.asarray(class_means, dtype=np.float64)
    if means.ndim != 2 or len(means) != hierarchy.num_classes:
        raise UserError(
            f"class means have shape {means.shape}, expected "
            f"[{hierarchy.num_classes}, D] for this tree"
        )
    below = np.ones(len(means), bool)
    if within is not None:
        below = np.asarray(hierarchy.ancestors)[:, within[0]] == within[1]
    present = np.flatnonzero(np.isfinite(means).all(axis=1) & below)
    if not len(present):
        raise UserError(f"all {below.sum()} classes are absent: no mean is finite")
    ancestors = np.asarray(hierarchy.ancestors)[present]
    order = tree_order(ancestors)
    means, ancestors = means[present][order], ancestors[order]
    title = count_of(len(present), "class")
    if len(present) < below.sum():
        title += f", {below.sum() - len(present)} absent"
    if within is not None:
        title = f"{hierarchy.node_names(within[0])[within[1]]}, {title}"

    level = hierarchy.num_levels - 1
    while level and len(runs(ancestors[:, level])[0]) > max_classes:
        level -= 1
    if level < hierarchy.num_levels - 1:
        rows, sizes = runs(ancestors[:, level])
        means = np.add.reduceat(means, rows) / sizes[:, None]
        ancestors = ancestors[rows, : level + 1]
        title += f", averaged to {len(rows)} nodes of "
        title += literal(hierarchy.level_names[level])
    node_names = hierarchy.node_names(level)
    family_level = min(level_of_families(hierarchy), level)
    families = ancestors[:, family_level]
    return Leaves(
        means,
        ancestors,
        [literal(node_names[node]) for node in ancestors[:, -1]],
        tree_colors(hierarchy, family_level)[families],
        families,
        title,
    )


def leaf_distances(means: np.ndarray, distance: str) -> np.ndarray:
    """Returns condensed distances; a zero vector has cosine distance 1 to all."""
    if distance not in DISTANCE_NAMES:
        raise UserError(
            f"distance is {distance!r}, accepted are {sorted(DISTANCE_NAMES)}"
        )
    if distance != "cosine":
        return pdist(means, distance)
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    units = means / np.where(norms > 0, norms, 1.0)
    rows, columns = np.triu_indices(len(means), 1)
    return np.clip(1 - (units @ units.T)[rows, columns], 0.0, 2.0)
