"""The distances between all pairs of class means."""

import numpy as np
from matplotlib.figure import Figure
from scipy.spatial.distance import squareform

from hierjax.hierarchy import Hierarchy
from hierjax.plotting.leaves import DISTANCE_NAMES, leaf_distances, present_leaves
from hierjax.plotting.style import literal, style_axes, text_width
from hierjax.plotting.tree_order import level_of_families, runs

_MAX_NAMES = 40
_USUAL_NAME = 1.0
"""Inches that the figure has for names in any case."""


def class_distances(
    class_means: np.ndarray,
    hierarchy: Hierarchy,
    *,
    distance: str = "cosine",
    max_classes: int = 600,
    within: tuple[int, int] | None = None,
) -> Figure:
    """Draws the distances between all pairs of class means, in tree order.

    Thick lines part the families, thin lines the nodes of the next level, so that a
    learned hierarchy shows as dark blocks on the diagonal. Up to 40 classes are
    named, beyond that the families that are tall enough for a line of text.

    Args:
      class_means: ``[C, D]``; a class with NaN or infinity counts as absent.
      hierarchy: The label tree with C classes.
      distance: ``'cosine'`` (a zero vector is at distance 1 from all),
        ``'euclidean'`` or ``'sqeuclidean'``.
      max_classes: With more classes, the means are averaged over the nodes of the
        finest level that has no more nodes than this, at worst the coarsest.
      within: Level and id of a node: only the classes below it are drawn.

    Returns:
      A figure with one heat map and its colour bar.

    Raises:
      UserError: The shape does not fit, all classes are absent, or the distance is
        unknown.
    """
    leaves = present_leaves(class_means, hierarchy, max_classes, within)
    num_leaves = len(leaves.names)
    values = squareform(leaf_distances(leaves.means, distance), checks=False)
    values = values.reshape(num_leaves, num_leaves)
    side = float(np.clip(0.19 * num_leaves, 2.2, 6.5))
    figure = Figure((side + 2.2, side + 1.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, cmap="viridis", interpolation="nearest", vmin=0)

    family_level = min(level_of_families(hierarchy), leaves.ancestors.shape[1] - 1)
    inner_levels = range(family_level, leaves.ancestors.shape[1] - 1)[:2]
    for level, line_width in zip(inner_levels, (1.6, 0.5), strict=False):
        edges = runs(leaves.ancestors[:, level])[0][1:] - 0.5
        axes.hlines(edges, -0.5, num_leaves - 0.5, color="white", linewidth=line_width)
        axes.vlines(edges, -0.5, num_leaves - 0.5, color="white", linewidth=line_width)

    if num_leaves <= _MAX_NAMES:
        places, names, first_rows = range(num_leaves), leaves.names, range(num_leaves)
    else:
        starts, sizes = runs(leaves.families)
        tall = sizes * side / num_leaves >= 0.11
        first_rows, sizes = starts[tall], sizes[tall]
        places = first_rows + (sizes - 1) / 2
        node_names = hierarchy.node_names(family_level)
        names = [literal(node_names[k]) for k in leaves.families[first_rows]]
    # Names are at the left and below; a long one must not take the place of the map.
    more = max(0.0, max(text_width(name, 7.5) for name in names) - _USUAL_NAME)
    figure.set_size_inches(figure.get_size_inches() + more)
    axes.set_xticks(places, names, rotation=90)
    axes.set_yticks(places, names)
    axes.set_title(leaves.title)
    style_axes(axes, spines=())
    axes.tick_params(length=0, labelsize=7.5)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, row in zip(labels, first_rows, strict=True):
            label.set_color(0.7 * leaves.colors[row])
    bar = figure.colorbar(image, ax=axes, shrink=0.8, label=DISTANCE_NAMES[distance])
    style_axes(bar.ax, spines=())
    bar.outline.set_visible(False)
    return figure
