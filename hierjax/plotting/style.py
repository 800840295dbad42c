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


_LONGEST = 60


def literal(text: str) -> str:
    r"""A name of the user's as one line that matplotlib writes letter by letter.

    A dollar begins no formula, blanks of any kind are one, marks that cannot be seen
    are left out, and the middle of what is longer than a line is.

    Examples:
      >>> print(literal("5 $ and  $x^{$"))
      5 \$ and \$x^{\$
    """
    text = "".join(mark for mark in " ".join(text.split()) if mark.isprintable())
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 20]}…{text[-19:]}"
    return text.replace("$", r"\$")


def legend_dot(
    label: str, face: ColorType, edge: ColorType, marker: str = "o"
) -> Line2D:
    """Returns a dot, or another mark, for a legend; its label is `literal` already."""
    # Matplotlib leaves out what begins with an underscore.
    label = f" {label}" if label.startswith("_") else label
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
