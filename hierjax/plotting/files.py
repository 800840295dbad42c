"""Figures as small files."""

import io
import pathlib

from matplotlib.figure import Figure
from PIL import Image


def save_png(figure: Figure, path: str | pathlib.Path, *, dpi: float = 150) -> None:
    """Writes a figure as PNG of at most 256 colours.

    A third of the size of all colours, and enough for lines, texts and colour maps.

    Args:
      figure: Any.
      path: Of the file.
      dpi: Pixels an inch.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})
    image = Image.open(buffer).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(path)
