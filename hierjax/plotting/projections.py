"""Embeddings in the plane: methods side by side, one row of panels a level."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hierjax.errors import UserError
from hierjax.plotting.colors import INK, RULE, category_colors
from hierjax.plotting.style import (
    count_of,
    legend_dot,
    literal,
    style_axes,
    text_width,
)

_MAX_LEGEND = 20
_PANEL = 3.0
_MARKERS = ("o", "^")


def _checked_coordinates(
    coordinates: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    if not coordinates:
        raise UserError("coordinates name no method, at least one is needed")
    checked = {
        name: np.asarray(points, dtype=np.float64)
        for name, points in coordinates.items()
    }
    first, shape = next((name, points.shape) for name, points in checked.items())
    for name, points in checked.items():
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise UserError(
                f"coordinates of {name!r} have shape {points.shape}, accepted is "
                "[N, 2], not empty"
            )
        if points.shape != shape:
            raise UserError(
                f"coordinates of {name!r} have {len(points)} rows, those of "
                f"{first!r} {shape[0]}; all methods must show the same rows"
            )
        if not np.isfinite(points).all():
            row = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
            raise UserError(f"coordinates of {name!r} must be finite, row {row} is not")
    return checked


def _checked_labels(
    labels: Mapping[str, np.ndarray],
    label_names: Mapping[str, Sequence[str]],
    num_rows: int,
) -> tuple[dict[str, np.ndarray], dict[str, Sequence[str]]]:
    """Returns the labels and the names of a level's labels, for every level."""
    if not labels:
        raise UserError("labels name no level, at least one is needed")
    checked, names = {}, {}
    for level, ids in labels.items():
        ids = np.asarray(ids)
        if ids.shape != (num_rows,) or not np.issubdtype(ids.dtype, np.integer):
            raise UserError(
                f"labels of level {level!r} must be {num_rows} integers, one a row, "
                f"found shape {ids.shape} of {ids.dtype}"
            )
        names[level] = label_names.get(level)
        if names[level] is None:
            names[level] = [str(label) for label in range(ids.max() + 1)]
        if ids.min() < -1 or ids.max() >= len(names[level]):
            raise UserError(
                f"labels of level {level!r} must lie in -1..{len(names[level]) - 1}, "
                f"found {ids.min()}..{ids.max()}"
            )
        names[level] = list(map(literal, names[level]))
        checked[level] = ids
    for level in label_names:
        if level not in labels:
            raise UserError(
                f"label_names has a level {level!r}, there are labels of {list(labels)}"
            )
    return checked, names


def _draw_points(axes: Axes, points: np.ndarray, ids: np.ndarray, number: int) -> None:
    """Scatters unknown rows in grey, then the others, one shape after the other."""
    size = float(np.clip(9000 / len(points), 3.0, 36.0))
    colors = category_colors(number)
    shapes = ids // 10 if number <= _MAX_LEGEND else np.zeros_like(ids)
    # A fixed shuffle keeps the last class from covering the others.
    order = np.random.default_rng(0).permutation(len(points))
    groups = [(order[ids[order] < 0], "o")]
    for shape, marker in enumerate(_MARKERS):
        groups.append((order[(ids[order] >= 0) & (shapes[order] == shape)], marker))
    for rows, marker in groups:
        if len(rows):
            known = ids[rows[0]] >= 0
            axes.scatter(
                *points[rows].T,
                s=size,
                c=colors[ids[rows]] if known else [RULE],
                marker=marker,
                alpha=0.9,
                linewidths=0.25,
                edgecolors="white",
                rasterized=len(points) > 5000,
            )


def _legend_of(ids: np.ndarray, names: Sequence[str]) -> tuple[list, str | None]:
    """Returns the marks of a level's legend and a note in place of too many."""
    present = np.unique(ids[ids >= 0])
    colors = category_colors(len(names))
    handles, note = [], None
    if len(names) <= _MAX_LEGEND:
        handles = [
            legend_dot(names[label], colors[label], "none", _MARKERS[label // 10])
            for label in present
        ]
    else:
        note = count_of(len(present), "label")
    unknown = int((ids < 0).sum())
    if unknown:
        handles.append(legend_dot(f"unknown ({unknown})", RULE, "none"))
    return handles, note


def _make_panels(
    labels: Mapping[str, np.ndarray],
    coordinates: Mapping[str, np.ndarray],
    footers: Mapping[str, str],
    legends: Sequence[tuple[list, str | None]],
    title: str | None,
) -> np.ndarray:
    """Returns the panels [levels, methods] of a figure that holds all its texts."""
    lines = [text.split("\n") for text in footers.values()]
    widths = [text_width(line, 8) for text in lines for line in text]
    widths += [text_width(method, 10) for method in coordinates]
    marks = [handle.get_label() for handles, _ in legends for handle in handles]
    marks += [note for _, note in legends if note]
    pitch = max(_PANEL, *widths) + 0.14
    left = 0.4 + (pitch - _PANEL) / 2
    right = max((text_width(text, 7.5) for text in marks), default=0.0) + 0.4
    bottom = 0.16 + 0.17 * max((len(text) for text in lines), default=0)
    top = 0.62 if title else 0.33
    width = left + (len(coordinates) - 1) * pitch + _PANEL + right
    height = bottom + len(labels) * (_PANEL + 0.14) - 0.14 + top
    figure = Figure((width, height), dpi=150)
    if title:
        figure.suptitle(title, fontsize=11, color=INK, y=1 - 0.1 / height, va="top")
    return np.array(
        [
            [
                figure.add_axes(
                    (
                        (left + column * pitch) / width,
                        1 - (top + row * (_PANEL + 0.14) + _PANEL) / height,
                        _PANEL / width,
                        _PANEL / height,
                    )
                )
                for column in range(len(coordinates))
            ]
            for row in range(len(labels))
        ]
    )


def tsne_grid(
    coordinates: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    *,
    label_names: Mapping[str, Sequence[str]] | None = None,
    footers: Mapping[str, str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draws methods side by side, with one row of panels a level.

    All panels of a row colour the same rows by the same labels; all panels of a column
    have the same points. Up to ten labels a level differ in colour, up to twenty in
    colour and shape; more have no legend. The axes of t-SNE have no unit, so they
    have no ticks.

    Args:
      coordinates: Name of a method to its points ``[N, 2]``, as from
        ``metrics.tsne_coordinates``; row i is the same example in all.
      labels: Name of a level to integers ``[N]``, coarsest level first, -1 = unknown
        (drawn grey).
      label_names: Name of a level to the names of its labels, whose order the labels
        index; a level without an entry writes the integers.
      footers: Name of a method to the lines under its column, such as measures of
        its embeddings.
      title: Line above the panels.

    Returns:
      A figure with a panel for every level and method, levels downwards.

    Raises:
      UserError: Nothing to draw, shapes do not fit, a value is not finite, a label
        has no name, or a footer or a name belongs to nothing.
    """
    footers = footers or {}
    coordinates = _checked_coordinates(coordinates)
    num_rows = len(next(iter(coordinates.values())))
    labels, names = _checked_labels(labels, label_names or {}, num_rows)
    for method in footers:
        if method not in coordinates:
            raise UserError(
                f"footers has a method {method!r}, there are coordinates of "
                f"{list(coordinates)}"
            )

    legends = [_legend_of(ids, names[level]) for level, ids in labels.items()]
    panels = _make_panels(labels, coordinates, footers, legends, title)
    figure = panels[0, 0].figure
    for row, (level, ids) in zip(panels, labels.items(), strict=True):
        for axes, points in zip(row, coordinates.values(), strict=True):
            _draw_points(axes, points, ids, len(names[level]))
            low, high = points.min(axis=0), points.max(axis=0)
            reach = 0.53 * (high - low).max() or 1.0
            middle = (low + high) / 2
            axes.set(
                xlim=(middle[0] - reach, middle[0] + reach),
                ylim=(middle[1] - reach, middle[1] + reach),
                xticks=[],
                yticks=[],
            )
            style_axes(axes, spines=("left", "bottom", "right", "top"))
        row[0].set_ylabel(literal(level), fontsize=10)
    for axes, method in zip(panels[0], coordinates, strict=True):
        axes.set_title(method)
    for axes, method in zip(panels[-1], coordinates, strict=True):
        axes.set_xlabel(footers.get(method, ""), fontsize=8, linespacing=1.35)
    for axes, (handles, note) in zip(panels[:, -1], legends, strict=True):
        axes.legend(
            handles=handles,
            title=note,
            title_fontsize=7.5,
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            frameon=False,
            fontsize=7.5,
            handletextpad=0.1,
            labelspacing=0.35,
            labelcolor=INK,
        )
    return figure
