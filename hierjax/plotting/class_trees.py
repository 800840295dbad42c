"""The tree that class means suggest beside the true one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import linkage

from hierjax.hierarchy import Hierarchy
from hierjax.plotting.colors import INK, RULE
from hierjax.plotting.leaves import (
    DISTANCE_NAMES,
    Leaves,
    leaf_distances,
    present_leaves,
)
from hierjax.plotting.style import (
    count_of,
    legend_dot,
    literal,
    style_axes,
    text_width,
)
from hierjax.plotting.tree_order import runs


class _Node(NamedTuple):
    """A node of a drawn tree: its leaves and where it stands."""

    leaves: frozenset[int]
    x: float
    y: float


def _true_tree(ancestors: np.ndarray) -> tuple[list[list[_Node]], dict]:
    """Returns the nodes of each level, finest first, and the clades to recover.

    Leaf k stands at height k; a level is one step right of the next finer one. A
    clade is the leaf set of an inner node; single leaves and the set of all leaves
    are found by every tree and do not count, and a set counts once.
    """
    levels, clades = [], {}
    for x, nodes in enumerate(ancestors.T[::-1]):
        starts, sizes = runs(nodes)
        levels.append(
            [
                _Node(frozenset(range(start, start + size)), x, start + (size - 1) / 2)
                for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)
            ]
        )
        for node in levels[-1]:
            if 1 < len(node.leaves) < len(ancestors):
                clades.setdefault(node.leaves, node)
    if len(levels[-1]) > 1:
        everything = frozenset(range(len(ancestors)))
        levels.append([_Node(everything, len(levels), (len(ancestors) - 1) / 2)])
    return levels, clades


def _learned_tree(condensed: np.ndarray, num_leaves: int) -> tuple[list[_Node], list]:
    """Returns the nodes of the average linkage and its merges (child, child).

    The first nodes are the leaves, then one node a merge. Branches are turned so
    that the one whose leaves come first in the true tree, on average, is on top.
    """
    merges = []
    leaves = [[k] for k in range(num_leaves)]
    heights = [0.0] * num_leaves
    if num_leaves > 1:
        for first, second, height, _ in linkage(condensed, "average"):
            pair = sorted((int(first), int(second)), key=lambda k: np.mean(leaves[k]))
            merges.append(pair)
            leaves.append(leaves[pair[0]] + leaves[pair[1]])
            heights.append(height)
    y = np.empty(len(leaves))
    y[leaves[-1]] = np.arange(num_leaves)
    for node, (first, second) in enumerate(merges, start=num_leaves):
        y[node] = (y[first] + y[second]) / 2
    return [
        _Node(frozenset(members), height, position)
        for members, height, position in zip(leaves, heights, y, strict=True)
    ], merges


def _branch_color(node: _Node, leaves: Leaves) -> np.ndarray:
    """Returns the colour of the family all leaves belong to, grey if they differ."""
    members = list(node.leaves)
    mixed = len(set(leaves.families[members])) > 1
    return np.array([0.55] * 3) if mixed else leaves.colors[members[0]]


def _draw_marks(axes: Axes, nodes: Sequence[_Node], leaves: Leaves, hit: bool) -> None:
    axes.scatter(
        [node.x for node in nodes],
        [node.y for node in nodes],
        s=22,
        color=[_branch_color(node, leaves) for node in nodes] if hit else "white",
        edgecolors=[INK] if hit else [RULE],
        linewidths=0.8,
        zorder=3,
        clip_on=False,
    )


def _draw_learned(
    axes: Axes, nodes: Sequence[_Node], merges: Sequence, leaves: Leaves
) -> None:
    inner = nodes[len(leaves.names) :]
    lines = []
    for node, pair in zip(inner, merges, strict=True):
        a, b = (nodes[k] for k in pair)
        lines.append([(a.x, a.y), (node.x, a.y), (node.x, b.y), (b.x, b.y)])
    colors = [_branch_color(node, leaves) for node in inner]
    axes.add_collection(LineCollection(lines, colors=colors, linewidths=1.1))
    axes.set_xlim(1.05 * (nodes[-1].x or 1.0), 0)


def _draw_true(axes: Axes, levels: Sequence[Sequence[_Node]], leaves: Leaves) -> None:
    lines, colors = [], []
    for children, parents in zip(levels[:-1], levels[1:], strict=True):
        parent_of_leaf = {k: parent for parent in parents for k in parent.leaves}
        for child in children:
            parent = parent_of_leaf[min(child.leaves)]
            corner = (parent.x, child.y)
            lines += [[(child.x, child.y), corner], [corner, (parent.x, parent.y)]]
            colors += [_branch_color(child, leaves), _branch_color(parent, leaves)]
    axes.add_collection(
        LineCollection(lines, colors=colors, linewidths=1.1, capstyle="projecting")
    )
    axes.set_xlim(0, len(levels) - 1 + 0.15)


def _draw_links(
    axes: Axes, leaves: Leaves, learned_y: np.ndarray, size: float, width: float
) -> None:
    """Writes the names on both sides and joins equal leaves; x in inches."""
    gap = 0.07
    widths = [text_width(name, size) for name in leaves.names]
    # Level beside the names, so that no line crosses another leaf's name.
    start = max(widths) + 2 * gap
    steps = np.linspace(0, 1, 33)
    bend = steps**2 * (3 - 2 * steps)
    lines = []
    for k, (name, own) in enumerate(zip(leaves.names, widths, strict=True)):
        text = {"fontsize": size, "color": 0.7 * leaves.colors[k], "va": "center"}
        axes.text(gap, learned_y[k], name, **text)
        axes.text(width - gap, k, name, ha="right", **text)
        x = np.r_[2 * gap + own, start + steps * (width - 2 * start)]
        y = learned_y[k] + np.r_[0, bend] * (k - learned_y[k])
        lines.append(np.vstack([np.column_stack([x, y]), [width - 2 * gap - own, k]]))
    axes.add_collection(
        LineCollection(lines, colors=leaves.colors, linewidths=1.0, alpha=0.7)
    )
    axes.set_xlim(0, width)
    axes.axis("off")


def dendrograms(
    class_means: np.ndarray,
    hierarchy: Hierarchy,
    *,
    distance: str = "cosine",
    max_classes: int = 200,
    within: tuple[int, int] | None = None,
) -> Figure:
    """Draws the tree that was learned beside the true tree, leaf joined to leaf.

    Left: average linkage (UPGMA) of the class means; right: the true tree. Branches
    whose leaves all belong to one family have its colour. A filled dot marks a true
    clade that the learned tree has as well, that is, an inner node with exactly the
    same leaves; a hollow dot marks one it misses. The root and repeated sets do not
    count. Where distances tie, the binary tree is one of several.

    Args:
      class_means: ``[C, D]``; a class with NaN or infinity counts as absent.
      hierarchy: The label tree with C classes.
      distance: ``'cosine'`` (a zero vector is at distance 1 from all),
        ``'euclidean'`` or ``'sqeuclidean'``.
      max_classes: With more classes, the means are averaged over the nodes of the
        finest level that has no more nodes than this, at worst the coarsest.
      within: Level and id of a node: only the classes below it are drawn.

    Returns:
      A figure whose height grows with the number of leaves.

    Raises:
      UserError: The shape does not fit, all classes are absent, or the distance is
        unknown.
    """
    leaves = present_leaves(class_means, hierarchy, max_classes, within)
    num_leaves = len(leaves.names)
    nodes, merges = _learned_tree(leaf_distances(leaves.means, distance), num_leaves)
    levels, clades = _true_tree(leaves.ancestors)
    found = [node for node in nodes if node.leaves in clades]
    found_sets = {node.leaves for node in found}

    size = float(np.clip(9.5 - num_leaves / 45, 6.0, 9.0))
    names_width = max(text_width(name, size) for name in leaves.names)
    tree_width, links_width = 2.7, 2 * names_width + 1.5
    rows_height = max(num_leaves * size * 1.3 / 72, 0.8)
    top, bottom, side = 0.85, 0.75, 0.25
    width = 2 * (tree_width + side) + links_width
    height = rows_height + top + bottom
    figure = Figure((width, height), dpi=150)
    lefts = np.cumsum([side, tree_width, links_width])
    left, middle, right = (
        figure.add_axes(
            (x / width, bottom / height, w / width, rows_height / height),
            ylim=(num_leaves - 0.5, -0.5),
            yticks=[],
        )
        for x, w in zip(lefts, (tree_width, links_width, tree_width), strict=True)
    )
    _draw_learned(left, nodes, merges, leaves)
    _draw_marks(left, found, leaves, hit=True)
    learned_y = np.array([node.y for node in nodes[:num_leaves]])
    _draw_links(middle, leaves, learned_y, size, links_width)
    _draw_true(right, levels, leaves)
    for hit in (False, True):
        marked = [node for s, node in clades.items() if (s in found_sets) is hit]
        _draw_marks(right, marked, leaves, hit=hit)

    level_names = hierarchy.level_names[: leaves.ancestors.shape[1]]
    left.set(title="learned tree", xlabel=DISTANCE_NAMES[distance])
    right.set(
        title="true tree",
        xticks=range(leaves.ancestors.shape[1]),
        xticklabels=list(map(literal, level_names))[::-1],
    )
    style_axes(left, spines=("bottom",))
    style_axes(right, spines=())
    right.tick_params(length=0)
    score = f"{len(found)} of {count_of(len(clades), 'true clade')} recovered"
    figure.suptitle(
        f"{leaves.title}: {score}",
        fontsize=11,
        color=INK,
        y=1 - 0.2 / height,
        va="top",
    )
    figure.legend(
        handles=[
            legend_dot("recovered clade", INK, INK),
            legend_dot("missed", "white", RULE),
        ],
        loc="lower center",
        ncols=2,
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        handletextpad=0.1,
    )
    return figure
