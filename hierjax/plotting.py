"""Pictures of a run: curves, embeddings, dendrograms, distances between classes.

Every function returns a ``matplotlib.figure.Figure`` that belongs to the caller; no
global state of matplotlib is read or changed and no display is needed. This is the
only module of the library that imports matplotlib.

Colours follow the label tree in all pictures (``tree_colors``), so that a family
keeps its hue from one picture to the next.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.typing import ColorType
from scipy.cluster.hierarchy import linkage
from scipy.signal import fftconvolve
from scipy.spatial.distance import pdist, squareform

from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy

__all__ = [
    "class_distances",
    "dendrograms",
    "embedding_map",
    "training_curves",
    "tree_colors",
]

_DISTANCE_NAMES = {
    "cosine": "cosine distance",
    "euclidean": "Euclidean distance",
    "sqeuclidean": "squared Euclidean distance",
}
_MAX_LEGEND = 20
_MAX_NAMES = 40
_INK = (0.15, 0.15, 0.15)
_RULE = (0.72, 0.72, 0.72)


# --- colours and order ---------------------------------------------------------------


def _oklch_to_rgb(lightness: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """Returns sRGB [N, 3] with the largest chroma up to 0.15 that the gamut holds.

    Lowering the chroma keeps lightness and hue, where clipping would bend both.
    Source: B. Ottosson, "A perceptual color space for image processing" (2020),
    https://bottosson.github.io/posts/oklab/.
    """
    chroma = np.linspace(0.15, 0.0, 31)
    lab = np.stack(
        np.broadcast_arrays(
            lightness[:, None],
            chroma * np.cos(hue)[:, None],
            chroma * np.sin(hue)[:, None],
        ),
        axis=-1,
    )
    cube_roots = lab @ np.array(
        [
            [1.0, 1.0, 1.0],
            [0.3963377774, -0.1055613458, -0.0894841775],
            [0.2158037573, -0.0638541728, -1.2914855480],
        ]
    )
    linear = cube_roots**3 @ np.array(
        [
            [4.0767416621, -1.2684380046, -0.0041960863],
            [-3.3077115913, 2.6097574011, -0.7034186147],
            [0.2309699292, -0.3413193965, 1.7076147010],
        ]
    )
    inside = np.all((linear >= -1e-6) & (linear <= 1 + 1e-6), axis=-1)
    linear = linear[np.arange(len(lab)), inside.argmax(axis=1)].clip(0.0, 1.0)
    curved = 1.055 * linear ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curved).clip(0.0, 1.0)


def _tree_order(ancestors: np.ndarray) -> np.ndarray:
    """Returns the order of the rows [K] that puts every subtree together."""
    return np.lexsort(ancestors.T[::-1])


def _runs(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where each run of equal nodes [K] starts and how long it is."""
    starts = np.flatnonzero(np.r_[True, nodes[1:] != nodes[:-1]])
    return starts, np.diff(np.r_[starts, len(nodes)])


def _family_level(hierarchy: Hierarchy) -> int:
    """Returns the coarsest level with more than one node, 0 if there is none."""
    return int(np.argmax(np.array(hierarchy.nodes_per_level) > 1))


def tree_colors(hierarchy: Hierarchy, level: int) -> np.ndarray:
    """Returns a colour for every node of one level; families share a hue.

    A family is a node of the coarsest level that has more than one node. Families
    spread evenly over the colour circle in tree order. Below them, lightness tells
    the nodes of a family apart, again in tree order, so that near relatives look
    alike. Hue and lightness are those of the Oklab space.

    Args:
      hierarchy: The label tree.
      level: Level, 0 = coarsest.

    Returns:
      sRGB values between 0 and 1, float64 ``[nodes_per_level[level], 3]``.
    """
    ancestors = np.asarray(hierarchy.ancestors)
    ancestors = ancestors[_tree_order(ancestors)]
    family_level = min(_family_level(hierarchy), level)
    rows, _ = _runs(ancestors[:, level])
    nodes = ancestors[rows, level]
    starts, sizes = _runs(ancestors[rows, family_level])
    family = np.repeat(np.arange(len(starts)), sizes)
    size = np.repeat(sizes, sizes)
    if level > family_level:
        place = (np.arange(len(nodes)) - np.repeat(starts, sizes) + 0.5) / size
        lightness = 0.64 + 0.44 * (place - 0.5)
    else:
        # Neighbouring hues of a crowded circle are told apart by lightness.
        swing = 0.09 if len(starts) > 6 else 0.0
        lightness = 0.63 - swing * np.where(family % 2, -1.0, 1.0)
    colors = np.empty((len(nodes), 3))
    hue = 2 * np.pi * family / len(starts) + np.deg2rad(255.0)
    colors[nodes] = _oklch_to_rgb(lightness, hue)
    return colors


# --- ground --------------------------------------------------------------------------


def _style(axes: Axes, *, spines: Sequence[str] = ("left", "bottom")) -> None:
    for side, spine in axes.spines.items():
        spine.set_visible(side in spines)
        spine.set_color(_RULE)
    axes.tick_params(labelsize=8, color=_RULE, labelcolor=_INK)
    axes.title.set(color=_INK, fontsize=10)
    axes.xaxis.label.set(color=_INK, fontsize=9)
    axes.yaxis.label.set(color=_INK, fontsize=9)


def _dot(label: str, face: ColorType, edge: ColorType) -> Line2D:
    """Returns a dot for a legend."""
    line = Line2D([], [], linestyle="", marker="o", markersize=5, label=label)
    line.set(markerfacecolor=face, markeredgecolor=edge)
    return line


def _count(number: int, noun: str) -> str:
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{'' if number == 1 else plural}"


# --- training ------------------------------------------------------------------------


def _series(
    records: Sequence[Mapping[str, float]], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns steps and values of one name in order, non-finite values left out."""
    pairs = [(record["step"], record[name]) for record in records if name in record]
    steps, values = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    order = np.argsort(steps, kind="stable")
    order = order[np.isfinite(values[order])]
    return steps[order], values[order]


def _smooth(values: np.ndarray) -> np.ndarray:
    """Returns a Gaussian moving average that renormalises at both ends."""
    width = len(values) / 60
    reach = math.ceil(3 * width)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    mass = fftconvolve(np.ones_like(values), kernel, "same")
    return fftconvolve(values, kernel, "same") / mass


def _draw_loss(axes: Axes, records: Sequence[Mapping[str, float]]) -> None:
    steps, values = _series(records, "loss")
    blue = _oklch_to_rgb(np.array([0.55]), np.deg2rad([255.0]))[0]
    smooth = len(values) >= 20
    axes.plot(
        steps,
        values,
        color=blue,
        linewidth=0.6,
        alpha=0.35 if smooth else 1.0,
        marker="" if smooth else ".",
        label="training",
    )
    if smooth:
        axes.plot(steps, _smooth(values), color=blue, label="training, smoothed")
        # A first few huge values must not flatten the rest of the curve.
        low, high = values.min(), np.quantile(values, 0.995)
        if high > low:
            axes.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
    axes.set(title="loss", xlabel="step")


def _draw_measures(
    axes: Axes, records: Sequence[Mapping[str, float]], names: Sequence[str]
) -> None:
    hues = np.deg2rad(255.0) + 2 * np.pi * np.arange(len(names)) / len(names)
    lightness = 0.55 + 0.12 * (np.arange(len(names)) % 2)
    for name, color in zip(names, _oklch_to_rgb(lightness, hues), strict=True):
        steps, values = _series(records, name)
        label = name.removeprefix("validation/").replace("_", " ")
        axes.plot(
            steps,
            values,
            color=color,
            linewidth=1.4,
            marker="o",
            markersize=2.5,
            label=label,
        )
    axes.set(title="validation", xlabel="step")


def training_curves(
    records: Sequence[Mapping[str, float]],
    metrics: Sequence[str] | None = None,
    *,
    best_step: int | None = None,
) -> Figure:
    """Draws the loss and the validation measures over the steps.

    The loss is drawn thin, with a smoothed line from 20 values on. Records may come
    in any order; each may hold any of the names; NaN and infinity are left out.

    Args:
      records: Dicts with ``'step'`` and numbers such as ``'loss'`` (training) or
        ``'validation/accuracy'`` (evaluation).
      metrics: Names for the panel of measures; None takes all that start with
        ``validation/``.
      best_step: Step to mark as the best in every panel.

    Returns:
      A figure with one panel for the loss and one for the measures; a panel without
      any value is left out.

    Raises:
      UserError: A record has no step, a metric is in no record, or there is nothing
        to draw.
    """
    for index, record in enumerate(records):
        if "step" not in record:
            raise UserError(f"record {index} has no 'step', only {sorted(record)}")
    names = sorted({name for record in records for name in record} - {"step"})
    if metrics is None:
        metrics = [name for name in names if name.startswith("validation/")]
    for name in metrics:
        if name not in names:
            raise UserError(f"metric {name!r} is in no record; there are {names}")
    has_loss = "loss" in names
    num_panels = has_loss + bool(metrics)
    if not num_panels:
        raise UserError(
            f"nothing to draw: the {_count(len(records), 'record')} hold neither "
            "'loss' nor a name that starts with 'validation/'"
        )

    figure = Figure((4.6 * num_panels + 0.8, 3.2), dpi=150, layout="constrained")
    panels = figure.subplots(1, num_panels, squeeze=False)[0]
    if has_loss:
        _draw_loss(panels[0], records)
    if metrics:
        _draw_measures(panels[-1], records, metrics)
    for axes in panels:
        if best_step is not None:
            axes.axvline(
                best_step,
                color=_INK,
                linewidth=0.8,
                linestyle=(0, (4, 3)),
                label=f"best, step {best_step:,}",
            )
        _style(axes)
        axes.grid(color=_RULE, linewidth=0.4, alpha=0.6)
        axes.legend(
            frameon=axes is panels[0],
            edgecolor="none",
            framealpha=0.9,
            fontsize=8,
            labelcolor=_INK,
        )
    if metrics:
        panels[-1].get_legend().set_loc("center left")
        panels[-1].get_legend().set_bbox_to_anchor((1.0, 0.5))
    return figure


# --- embeddings ----------------------------------------------------------------------


def _plane(embeddings: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Returns points [N, 2] and the names of both axes."""
    num_rows, dim = embeddings.shape
    if dim == 1:
        # The second axis carries no meaning; it only keeps points apart.
        spread = np.random.default_rng(0).uniform(-1, 1, num_rows)
        return np.column_stack([embeddings[:, 0], spread]), ("dimension 0", "")
    if dim == 2:
        return embeddings, ("dimension 0", "dimension 1")
    centred = embeddings - embeddings.mean(axis=0)
    variances, components = np.linalg.eigh(centred.T @ centred)
    components = components[:, :-3:-1]
    largest = np.abs(components).argmax(axis=0)
    components = components * np.sign(components[largest, [0, 1]])
    shares = variances[:-3:-1] / max(variances.sum(), np.finfo(np.float64).tiny)
    names = tuple(f"component {k} ({s:.0%} of variance)" for k, s in enumerate(shares))
    return centred @ components, names


def _draw_level(
    axes: Axes, points: np.ndarray, nodes: np.ndarray, hierarchy: Hierarchy, level: int
) -> None:
    colors = tree_colors(hierarchy, level)
    names = hierarchy.node_names(level)
    size = float(np.clip(9000 / len(points), 3.0, 36.0))
    known = np.flatnonzero(nodes >= 0)
    # A fixed shuffle keeps the last class from covering the others.
    known = np.random.default_rng(0).permutation(known)
    unknown = np.flatnonzero(nodes < 0)
    for rows, color in ((unknown, [_RULE]), (known, colors[nodes[known]])):
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
    order = ancestors[_tree_order(ancestors), level]
    present = [node for node in order[_runs(order)[0]] if node in set(nodes.tolist())]
    marks, note = [], None
    if len(present) <= _MAX_LEGEND:
        marks = [(names[node], colors[node]) for node in present]
    else:
        note = f"{len(present)} nodes: hue by family, lightness within it"
    if len(unknown):
        marks.append((f"unknown ({len(unknown)})", _RULE))
    axes.legend(
        handles=[_dot(name, color, "none") for name, color in marks],
        title=note,
        title_fontsize=8,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.08),
        ncols=min(3, max(1, len(marks))),
        frameon=False,
        fontsize=7.5,
        handletextpad=0.1,
        columnspacing=1.0,
        labelcolor=_INK,
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
    points, axis_names = _plane(embeddings)
    figure = Figure((4.4 * len(num_nodes), 5.0), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(num_nodes), squeeze=False)[0]
    for level, axes in enumerate(panels):
        _draw_level(axes, points, labels[:, level], hierarchy, level)
        axes.set(
            title=hierarchy.level_names[level],
            xlabel=axis_names[0],
            ylabel=axis_names[1],
            xticks=[],
            yticks=[],
        )
        if embeddings.shape[1] > 1:
            axes.set_aspect("equal", adjustable="datalim")
        _style(axes, spines=("left", "bottom", "right", "top"))
    if title:
        figure.suptitle(title, fontsize=11, color=_INK)
    return figure


# --- classes -------------------------------------------------------------------------


class _Leaves(NamedTuple):
    """What is drawn as leaves, in tree order."""

    means: np.ndarray  # [K, D]
    ancestors: np.ndarray  # int [K, levels], the last column is the leaf itself
    names: list[str]
    colors: np.ndarray  # [K, 3], one colour a family
    families: np.ndarray  # int [K]
    title: str


def _leaves(
    class_means: np.ndarray, hierarchy: Hierarchy, max_classes: int | None = None
) -> _Leaves:
    """Returns the present leaves; a crowded level gives way to a coarser one."""
    means = np.asarray(class_means, dtype=np.float64)
    if means.ndim != 2 or len(means) != hierarchy.num_classes:
        raise UserError(
            f"class means have shape {means.shape}, expected "
            f"[{hierarchy.num_classes}, D] for this tree"
        )
    present = np.flatnonzero(np.isfinite(means).all(axis=1))
    if not len(present):
        raise UserError(f"all {len(means)} classes are absent: no mean is finite")
    ancestors = np.asarray(hierarchy.ancestors)[present]
    order = _tree_order(ancestors)
    means, ancestors = means[present][order], ancestors[order]
    title = _count(len(present), "class")
    if len(present) < hierarchy.num_classes:
        title += f", {hierarchy.num_classes - len(present)} absent"

    level = hierarchy.num_levels - 1
    while max_classes and level and len(_runs(ancestors[:, level])[0]) > max_classes:
        level -= 1
    if level < hierarchy.num_levels - 1:
        rows, sizes = _runs(ancestors[:, level])
        means = np.add.reduceat(means, rows) / sizes[:, None]
        ancestors = ancestors[rows, : level + 1]
        title += f", averaged to {len(rows)} nodes of {hierarchy.level_names[level]}"
    node_names = hierarchy.node_names(level)
    family_level = min(_family_level(hierarchy), level)
    families = ancestors[:, family_level]
    return _Leaves(
        means,
        ancestors,
        [node_names[node] for node in ancestors[:, -1]],
        tree_colors(hierarchy, family_level)[families],
        families,
        title,
    )


def _distances(means: np.ndarray, distance: str) -> np.ndarray:
    """Returns condensed distances; a zero vector has cosine distance 1 to all."""
    if distance not in _DISTANCE_NAMES:
        raise UserError(
            f"distance is {distance!r}, accepted are {sorted(_DISTANCE_NAMES)}"
        )
    if distance != "cosine":
        return pdist(means, distance)
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    units = means / np.where(norms > 0, norms, 1.0)
    rows, columns = np.triu_indices(len(means), 1)
    return np.clip(1 - (units @ units.T)[rows, columns], 0.0, 2.0)


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
        starts, sizes = _runs(nodes)
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


def _branch_color(node: _Node, leaves: _Leaves) -> np.ndarray:
    """Returns the colour of the family all leaves belong to, grey if they differ."""
    members = list(node.leaves)
    mixed = len(set(leaves.families[members])) > 1
    return np.array([0.55] * 3) if mixed else leaves.colors[members[0]]


def _draw_marks(axes: Axes, nodes: Sequence[_Node], leaves: _Leaves, hit: bool) -> None:
    axes.scatter(
        [node.x for node in nodes],
        [node.y for node in nodes],
        s=22,
        color=[_branch_color(node, leaves) for node in nodes] if hit else "white",
        edgecolors=[_INK] if hit else [_RULE],
        linewidths=0.8,
        zorder=3,
        clip_on=False,
    )


def _draw_learned(
    axes: Axes, nodes: Sequence[_Node], merges: Sequence, leaves: _Leaves
) -> None:
    inner = nodes[len(leaves.names) :]
    lines = []
    for node, pair in zip(inner, merges, strict=True):
        a, b = (nodes[k] for k in pair)
        lines.append([(a.x, a.y), (node.x, a.y), (node.x, b.y), (b.x, b.y)])
    colors = [_branch_color(node, leaves) for node in inner]
    axes.add_collection(LineCollection(lines, colors=colors, linewidths=1.1))
    axes.set_xlim(1.05 * (nodes[-1].x or 1.0), 0)


def _draw_true(axes: Axes, levels: Sequence[Sequence[_Node]], leaves: _Leaves) -> None:
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


def _text_width(text: str, size: float) -> float:
    """Returns the width of a line of text in inches."""
    return TextPath((0, 0), text, size=size).get_extents().width / 72 if text else 0.0


def _draw_links(
    axes: Axes, leaves: _Leaves, learned_y: np.ndarray, size: float, width: float
) -> None:
    """Writes the names on both sides and joins equal leaves; x in inches."""
    gap = 0.07
    widths = [_text_width(name, size) for name in leaves.names]
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

    Returns:
      A figure whose height grows with the number of leaves.

    Raises:
      UserError: The shape does not fit, all classes are absent, or the distance is
        unknown.
    """
    leaves = _leaves(class_means, hierarchy, max_classes)
    num_leaves = len(leaves.names)
    nodes, merges = _learned_tree(_distances(leaves.means, distance), num_leaves)
    levels, clades = _true_tree(leaves.ancestors)
    found = [node for node in nodes if node.leaves in clades]
    found_sets = {node.leaves for node in found}

    size = float(np.clip(9.5 - num_leaves / 45, 6.0, 9.0))
    names_width = max(_text_width(name, size) for name in leaves.names)
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

    left.set(title="learned tree", xlabel=_DISTANCE_NAMES[distance])
    right.set(
        title="true tree",
        xticks=range(leaves.ancestors.shape[1]),
        xticklabels=hierarchy.level_names[: leaves.ancestors.shape[1]][::-1],
    )
    _style(left, spines=("bottom",))
    _style(right, spines=())
    right.tick_params(length=0)
    score = f"{len(found)} of {_count(len(clades), 'true clade')} recovered"
    figure.suptitle(
        f"{leaves.title}: {score}",
        fontsize=11,
        color=_INK,
        y=1 - 0.2 / height,
        va="top",
    )
    figure.legend(
        handles=[_dot("recovered clade", _INK, _INK), _dot("missed", "white", _RULE)],
        loc="lower center",
        ncols=2,
        frameon=False,
        fontsize=8,
        labelcolor=_INK,
        handletextpad=0.1,
    )
    return figure


def class_distances(
    class_means: np.ndarray, hierarchy: Hierarchy, *, distance: str = "cosine"
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

    Returns:
      A figure with one heat map and its colour bar.

    Raises:
      UserError: The shape does not fit, all classes are absent, or the distance is
        unknown.
    """
    leaves = _leaves(class_means, hierarchy)
    num_leaves = len(leaves.names)
    values = squareform(_distances(leaves.means, distance), checks=False)
    values = values.reshape(num_leaves, num_leaves)
    side = float(np.clip(0.19 * num_leaves, 2.2, 6.5))
    figure = Figure((side + 2.2, side + 1.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, cmap="viridis", interpolation="nearest", vmin=0)

    family_level = _family_level(hierarchy)
    inner_levels = range(family_level, leaves.ancestors.shape[1] - 1)[:2]
    for level, line_width in zip(inner_levels, (1.6, 0.5), strict=False):
        edges = _runs(leaves.ancestors[:, level])[0][1:] - 0.5
        axes.hlines(edges, -0.5, num_leaves - 0.5, color="white", linewidth=line_width)
        axes.vlines(edges, -0.5, num_leaves - 0.5, color="white", linewidth=line_width)

    if num_leaves <= _MAX_NAMES:
        places, names, first_rows = range(num_leaves), leaves.names, range(num_leaves)
    else:
        starts, sizes = _runs(leaves.families)
        tall = sizes * side / num_leaves >= 0.11
        first_rows, sizes = starts[tall], sizes[tall]
        places = first_rows + (sizes - 1) / 2
        node_names = hierarchy.node_names(family_level)
        names = [node_names[node] for node in leaves.families[first_rows]]
    axes.set_xticks(places, names, rotation=90)
    axes.set_yticks(places, names)
    axes.set_title(leaves.title)
    _style(axes, spines=())
    axes.tick_params(length=0, labelsize=7.5)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, row in zip(labels, first_rows, strict=True):
            label.set_color(0.7 * leaves.colors[row])
    bar = figure.colorbar(image, ax=axes, shrink=0.8, label=_DISTANCE_NAMES[distance])
    _style(bar.ax, spines=())
    bar.outline.set_visible(False)
    return figure
