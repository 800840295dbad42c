"""A sheet of example images with captions."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from hierjax.errors import UserError
from hierjax.plotting.colors import INK, RULE
from hierjax.plotting.style import literal, style_axes, text_width

_CELL = 1.15
_CAPTION = 7.5


def _checked_images(images: np.ndarray) -> np.ndarray:
    """Returns the images with values between 0 and 1."""
    images = np.asarray(images)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.ndim not in (3, 4) or images.shape[3:] not in ((), (3,)):
        raise UserError(
            f"images have shape {images.shape}, accepted are [n, H, W], [n, H, W, 1] "
            "and [n, H, W, 3]"
        )
    if 0 in images.shape:
        raise UserError(f"images have shape {images.shape}, which is empty")
    if images.dtype == np.uint8:
        return images / 255.0
    if not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"images are {images.dtype}, accepted are uint8 and floats")
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):
        raise UserError(
            f"images of floats must have values from 0 to 1, found {low} to {high}"
        )
    return images


def example_grid(
    images: np.ndarray,
    titles: Sequence[str],
    *,
    columns: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draws images on a sheet, each with its caption under it.

    Grey values run from black, 0, to white, the largest possible value, in every
    image alike. Cells are as wide as the widest line of a caption needs.

    Args:
      images: ``[n, H, W]``, ``[n, H, W, 1]`` or ``[n, H, W, 3]``, uint8 or floats
        between 0 and 1.
      titles: A caption an image; it may have several lines.
      columns: Images in a row; None: as near to a square as it goes, but at most 8.
      title: Line above the images.

    Returns:
      A figure with a panel an image, row by row.

    Raises:
      UserError: A wrong shape, type or range of the images, or another number of
        captions than images.
    """
    images = _checked_images(images)
    number = len(images)
    if len(titles) != number:
        raise UserError(f"there are {number} images, but {len(titles)} titles")
    if columns is None:
        columns = min(math.ceil(math.sqrt(number)), 8)
    if columns < 1:
        raise UserError(f"columns must be at least 1, found {columns}")
    columns = min(columns, number)
    rows = math.ceil(number / columns)
    lines = [list(map(literal, text.split("\n"))) for text in titles]
    widest = max(text_width(line, _CAPTION) for text in lines for line in text)
    height, width = images.shape[1:3]
    cell_width = max(_CELL * width / max(height, width), widest) + 0.12
    cell_height = _CELL * height / max(height, width)
    cell_height += 0.16 * max(len(text) for text in lines) + 0.12
    size = (columns * cell_width, rows * cell_height + (0.35 if title else 0.0))
    figure = Figure(size, dpi=150, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[number:]:
        axes.remove()
    for axes, image, text in zip(panels, images, lines, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        style_axes(axes, spines=("left", "bottom", "right", "top"))
        for spine in axes.spines.values():
            spine.set(color=RULE, linewidth=0.5)
        axes.set_xlabel("\n".join(text), fontsize=_CAPTION, labelpad=2.5)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return figure
