"""Image files of any size and mode as small squares of bytes."""

import os
import pathlib
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from hierjax.errors import UserError

SUFFIXES = frozenset(
    ".bmp .gif .jpeg .jpg .jp2 .pgm .png .ppm .tif .tiff .webp".split()
)
"""Endings of the names of image files, in lower case."""

_GREY_MODES = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"))

Source = str | os.PathLike | BinaryIO


def read_image(source: Source, side: int, name: str = "") -> tuple[np.ndarray, bool]:
    """Reads the square in the middle of an image, resized.

    The longer side is cut on both ends, so that nothing is distorted and no border of
    padding tells the shape of the original. The first picture of an animation is
    taken; the orientation that cameras note (EXIF) is applied; transparent parts lie on
    white; 16 bits become 8.

    Args:
      source: A file, or its content.
      side: S, in pixels.
      name: What to call it in messages, if not by ``source``.

    Returns:
      uint8 ``[S, S, 3]``, and whether the image is greyscale by its mode.

    Raises:
      UserError: It is no image, is damaged, or has pixels of floating point.
    """
    name = name or str(source)
    try:
        with Image.open(source) as image:
            # Lets JPEG leave out what would be shrunk away.
            image.draft(image.mode, (2 * side, 2 * side))
            is_grey = image.mode in _GREY_MODES
            if image.mode == "F":
                raise UserError(
                    f"{name}: its pixels are floating-point numbers, whose range is "
                    "not known; save it with 8 or 16 bits a channel"
                )
            square = ImageOps.fit(
                _on_white(ImageOps.exif_transpose(image)),
                (side, side),
                Image.Resampling.BILINEAR,
            )
            return np.asarray(square), is_grey
    except UserError:
        raise
    # Pillow's readers raise whatever a damaged file makes them trip over.
    except Exception as error:
        raise UserError(
            f"{name}: cannot be read as an image ({error}); mend or remove it"
        ) from None


def shorter_side(source: Source) -> int:
    """Returns the number of pixels along the shorter side, without decoding.

    Raises:
      UserError: It is no image.
    """
    try:
        with Image.open(source) as image:
            return min(image.size)
    except (OSError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{source}: cannot be read as an image ({error}); mend or remove it"
        ) from None


def _on_white(image: Image.Image) -> Image.Image:
    """The image in mode RGB."""
    if image.mode.startswith("I"):
        values = np.clip(np.asarray(image, np.float32) / 257, 0, 255)
        image = Image.fromarray(np.rint(values).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def is_image(path: pathlib.Path) -> bool:
    """Whether a file is called like an image."""
    return path.suffix.lower() in SUFFIXES
