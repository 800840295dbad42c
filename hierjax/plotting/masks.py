"""Masks and attention scores: which dimensions the levels look at."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from hierjax.errors import UserError
from hierjax.plotting.colors import INK
from hierjax.plotting.style import count_of, literal, style_axes, text_width

_PLOT_WIDTH = 5.6
_ROW_HEIGHT = 0.42


def _owners(masks: np.ndarray) -> np.ndarray:
    """Returns the level [D] with the largest value, L where several have it."""
    largest = masks == masks.max(axis=0)
    return np.where(largest.sum(axis=0) == 1, largest.argmax(axis=0), len(masks))


def mask_heatmap(
    masks: np.ndarray, level_names: Sequence[str], *, title: str | None = None
) -> Figure:
    """Draws the masks of all levels over the dimensions.

    A dimension belongs to the level with the largest value. Dimensions stand in the
    order of their levels, in each from the largest value down, those that no level
    has alone last. Colours end at the 98 % quantile where that is above 1. On the
    right: how many dimensions belong to the level, and the mean of its mask.

    Args:
      masks: ``[L, D]``, values from 0: binary masks, their means over the examples
        (between 0 and 1) or attention scores, which may be larger than 1.
      level_names: The L names, coarsest level first.
      title: Line above the panel.

    Returns:
      A figure with one heat map and its colour bar.

    Raises:
      UserError: The shape does not fit, or a value is negative or not finite.
    """
    masks = np.asarray(masks, dtype=np.float64)
    if masks.ndim != 2 or 0 in masks.shape:
        raise UserError(
            f"masks have shape {masks.shape}, accepted is [L, D], not empty"
        )
    if len(level_names) != len(masks):
        raise UserError(
            f"masks have {len(masks)} levels, but there are {len(level_names)} names: "
            f"{list(level_names)}"
        )
    wrong = ~(np.isfinite(masks) & (masks >= 0))
    if wrong.any():
        level, dim = np.argwhere(wrong)[0]
        raise UserError(
            "masks must be finite and not negative, found "
            f"{masks[level, dim]} at level {level}, dimension {dim}"
        )
    level_names = list(map(literal, level_names))
    num_levels, num_dims = masks.shape
    owners = _owners(masks)
    order = np.lexsort((-masks.max(axis=0), owners))
    counts = np.bincount(owners, minlength=num_levels + 1)

    names_width = max(text_width(name, 9) for name in level_names)
    plot_height = max(_ROW_HEIGHT * num_levels, 0.9)
    left, right, bottom, top = names_width + 0.3, 2.4, 0.5, 0.62 if title else 0.3
    width, height = left + _PLOT_WIDTH + right, bottom + plot_height + top
    figure = Figure((width, height), dpi=150)
    axes = figure.add_axes(
        (left / width, bottom / height, _PLOT_WIDTH / width, plot_height / height)
    )
    # A few very large scores must not darken the others.
    largest = max(1.0, np.quantile(masks, 0.98))
    image = axes.imshow(
        masks[:, order],
        cmap="viridis",
        aspect="auto",
        vmin=0,
        vmax=largest,
        extent=(0, num_dims, num_levels - 0.5, -0.5),
    )
    borders = np.unique(np.cumsum(counts)[:-1])
    borders = borders[(borders > 0) & (borders < num_dims)]
    white = {"color": "white", "linewidth": 1.2}
    axes.vlines(borders, -0.5, num_levels - 0.5, **white)
    axes.hlines(np.arange(1, num_levels) - 0.5, 0, num_dims, **white)
    xlabel = count_of(num_dims, "dimension") + ", sorted by the level they belong to"
    if counts[-1]:
        xlabel += f"; {counts[-1]} at the end belong to none"
    axes.set_xlabel(xlabel)
    axes.set_yticks(range(num_levels), level_names)
    style_axes(axes, spines=())
    axes.tick_params(length=0)
    axes.tick_params(axis="y", labelsize=9)
    columns = {
        0.62: ("dims", [str(count) for count in counts[:-1]]),
        1.12: ("share", [f"{count / num_dims:.0%}" for count in counts[:-1]]),
        1.62: ("mean", [f"{mean:.2f}" for mean in masks.mean(axis=1)]),
    }
    for inches, (head, cells) in columns.items():
        for y, text in zip((-0.5, *range(num_levels)), (head, *cells), strict=True):
            axes.annotate(
                text,
                (1 + inches / _PLOT_WIDTH, y),
                xytext=(0, 3 if text is head else 0),
                xycoords=axes.get_yaxis_transform(),
                textcoords="offset points",
                ha="right",
                va="bottom" if text is head else "center",
                fontsize=8 if text is head else 9,
                color=INK,
            )
    scale = figure.add_axes(
        ((left + _PLOT_WIDTH + 1.85) / width, axes.get_position().y0)
        + (0.12 / width, axes.get_position().height)
    )
    bar = figure.colorbar(
        image, cax=scale, extend="max" if masks.max() > largest else "neither"
    )
    style_axes(scale, spines=())
    bar.outline.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11, color=INK, y=1 - 0.1 / height, va="top")
    return figure
