"""What all pictures share: spines and fonts, dots of legends, widths of texts."""

import functools
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.typing import ColorType

from hierjax.plotting.colors import INK, RULE


def style_axes(axes: Axes, *, spines: Sequence[str] = ("left", "bottom")) -> None:
    """Sets the colours and font sizes of a panel and hides all other spines."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in spines)
        spine.set_color(RULE)
    axes.tick_params(labelsize=8, color=RULE, labelcolor=INK)
    axes.title.set(color=INK, fontsize=10)
    axes.xaxis.label.set(color=INK, fontsize=9)
    axes.yaxis.label.set(color=INK, fontsize=9)


def legend_dot(
    label: str, face: ColorType, edge: ColorType, marker: str = "o"
) -> Line2D:
    """Returns a dot, or another mark, for a legend."""
    line = Line2D([], [], linestyle="", marker=marker, markersize=5, label=label)
    line.set(markerfacecolor=face, markeredgecolor=edge)
    return line


def count_of(number: int, noun: str) -> str:
    """Returns such as '1 class' or '2 classes'."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{'' if number == 1 else plural}"


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Returns the width of a line of text in inches."""
    return TextPath((0, 0), text, size=size).get_extents().width / 72 if text else 0.0
