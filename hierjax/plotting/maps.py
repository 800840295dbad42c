"""Embeddings in the plane and in space, coloured by level of the label tree."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hierjax import metrics
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.plotting.colors import INK, RULE, tree_colors
from hierjax.plotting.style import legend_dot, literal, style_axes
from hierjax.plotting.tree_order import runs, tree_order

_MAX_LEGEND = 20


def _checked(
    embeddings: np.ndarray, labels: np.ndarray, hierarchy: Hierarchy
) -> tuple[np.ndarray, np.ndarray]:
    embeddings = np.asarray(embeddings, dtype=np.float64)
    labels = np.asarray(labels)
    num_nodes = np.array(hierarchy.nodes_per_level)
    if embeddings.ndim != 2 or 0 in embeddings.shape:
        raise UserError(
            f"embeddings have shape {embeddings.shape}, accepted is [N, D], not empty"
        )
    if labels.shape != (len(embeddings), len(num_nodes)):
        raise UserError(
            f"labels have shape {labels.shape}, expected "
            f"{(len(embeddings), len(num_nodes))} for these embeddings and this tree"
        )
    if not np.isfinite(embeddings).all():
        row = int(np.flatnonzero(~np.isfinite(embeddings).all(axis=1))[0])
        raise UserError(f"embeddings must be finite, row {row} is not")
    if ((labels < -1) | (labels >= num_nodes)).any():
        row, level = np.argwhere((labels < -1) | (labels >= num_nodes))[0]
        raise UserError(
            f"label {labels[row, level]} in row {row} is no node of level {level}, "
            f"accepted is -1 to {num_nodes[level] - 1}"
        )
    return embeddings, labels


def _plane(embeddings: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Returns points [N, 2] and the names of both axes."""
    num_rows, dim = embeddings.shape
    if dim == 1:
        # The second axis carries no meaning; it only keeps points apart.
        spread = np.random.default_rng(0).uniform(-1, 1, num_rows)
        return np.column_stack([embeddings[:, 0], spread]), ("dimension 0", "")
    if dim == 2:
        return embeddings, ("dimension 0", "dimension 1")
    points, shares = metrics.principal_coordinates(embeddings, 2)
    names = tuple(f"component {k} ({s:.0%} of variance)" for k, s in enumerate(shares))
    return points, names


def _draw_level(
    axes: Axes, points: np.ndarray, nodes: np.ndarray, hierarchy: Hierarchy, level: int
) -> None:
    colors = tree_colors(hierarchy, level)
    names = list(map(literal, hierarchy.node_names(level)))
    size = float(np.clip(9000 / len(points), 3.0, 36.0))
    known = np.flatnonzero(nodes >= 0)
    # A fixed shuffle keeps the last class from covering the others.
    known = np.random.default_rng(0).permutation(known)
    unknown = np.flatnonzero(nodes < 0)
    for rows, color in ((unknown, [RULE]), (known, colors[nodes[known]])):
        axes.scatter(
            *points[rows].T,
            s=size,
            c=color if len(rows) else None,
            alpha=0.9,
            linewidths=0.25,
            edgecolors="white",
            rasterized=len(points) > 5000,
        )
    ancestors = np.asarray(hierarchy.ancestors)
    order = ancestors[tree_order(ancestors), level]
    present = [node for node in order[runs(order)[0]] if node in set(nodes.tolist())]
    marks, note = [], None
    if len(present) <= _MAX_LEGEND:
        marks = [(names[node], colors[node]) for node in present]
    else:
        note = f"{len(present)} nodes: hue by family, lightness within it"
    if len(unknown):
        marks.append((f"unknown ({len(unknown)})", RULE))
    axes.legend(
        handles=[legend_dot(name, color, "none") for name, color in marks],
        title=note,
        title_fontsize=8,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.08),
        ncols=min(3, max(1, len(marks))),
        frameon=False,
        fontsize=7.5,
        handletextpad=0.1,
        columnspacing=1.0,
        labelcolor=INK,
    )


def embedding_map(
    embeddings: np.ndarray,
    labels: np.ndarray,
    hierarchy: Hierarchy,
    *,
    title: str | None = None,
) -> Figure:
    """Draws the embeddings once for every level, coloured by the node at that level.

    More than two dimensions are projected on the first two principal components,
    unit vectors in three dimensions too; the axes name the share of variance. A
    single dimension is spread at random across the second axis. Levels with at most
    20 nodes among the labels have a legend.

    Args:
      embeddings: Finite values ``[N, D]``, N and D at least 1.
      labels: Node ids ``[N, L]``, -1 = unknown (drawn grey).
      hierarchy: The label tree, L levels.
      title: Line above the panels.

    Returns:
      A figure with L panels.

    Raises:
      UserError: Shapes do not fit, a value is not finite, or a label is no node.
    """
    embeddings, labels = _checked(embeddings, labels, hierarchy)
    points, axis_names = _plane(embeddings)
    number = hierarchy.num_levels
    figure = Figure((4.4 * number, 5.0), dpi=150, layout="constrained")
    panels = figure.subplots(1, number, squeeze=False)[0]
    for level, axes in enumerate(panels):
        _draw_level(axes, points, labels[:, level], hierarchy, level)
        axes.set(
            title=literal(hierarchy.level_names[level]),
            xlabel=axis_names[0],
            ylabel=axis_names[1],
            xticks=[],
            yticks=[],
        )
        if embeddings.shape[1] > 1:
            axes.set_aspect("equal", adjustable="datalim")
        style_axes(axes, spines=("left", "bottom", "right", "top"))
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return figure


def embedding_space(
    embeddings: np.ndarray,
    labels: np.ndarray,
    hierarchy: Hierarchy,
    *,
    title: str | None = None,
) -> Figure:
    """Draws the embeddings in three dimensions, once for every level of the tree.

    Three dimensions are drawn as they are, more on their first three principal
    components. Colours, legends and unknown labels are those of `embedding_map`.

    Args:
      embeddings: Finite values ``[N, D]``, N at least 1 and D at least 3.
      labels: Node ids ``[N, L]``, -1 = unknown (drawn grey).
      hierarchy: The label tree, L levels.
      title: Line above the panels.

    Returns:
      A figure with L panels.

    Raises:
      UserError: As `embedding_map`, or fewer than three dimensions.
    """
    embeddings, labels = _checked(embeddings, labels, hierarchy)
    dim = embeddings.shape[1]
    if dim < 3:
        raise UserError(f"embeddings have {dim} dimensions, three or more are accepted")
    points, names = embeddings, [f"dimension {k}" for k in range(3)]
    if dim > 3:
        points, shares = metrics.principal_coordinates(embeddings, 3)
        names = [f"component {k} ({share:.0%})" for k, share in enumerate(shares)]
    number = hierarchy.num_levels
    figure = Figure((4.6 * number, 5.8), dpi=150, layout="constrained")
    # The layout does not see legends beside axes in space: up to seven lines.
    figure.get_layout_engine().set(rect=(0, 0.22, 1, 0.78))
    for level in range(number):
        axes = figure.add_subplot(1, number, level + 1, projection="3d")
        _draw_level(axes, points, labels[:, level], hierarchy, level)
        axes.set(xlabel=names[0], ylabel=names[1], zlabel=names[2])
        axes.set(title=literal(hierarchy.level_names[level]))
        axes.set(xticklabels=[], yticklabels=[], zticklabels=[])
        axes.set_box_aspect(np.maximum(np.ptp(points, axis=0), 1e-9), zoom=0.9)
        axes.get_legend().set_bbox_to_anchor((0.5, 0.02))
        style_axes(axes, spines=())
        axes.zaxis.label.set(color=INK, fontsize=9)
        for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
            axis.labelpad = -8
            axis.pane.set(facecolor="white", edgecolor=RULE)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return figure
