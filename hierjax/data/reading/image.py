"""Image files of any size and mode as small squares of bytes."""

import contextlib
import io
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from hierjax.errors import UserError

SUFFIXES = frozenset(
    ".bmp .gif .jpeg .jpg .jp2 .pgm .png .ppm .tif .tiff .webp".split()
)
"""Endings of the names of image files, in lower case."""

_GREY_MODES = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"))
_FULL_SCALE = 2**16 - 1
_CAMERA_BITS = (8, 10, 12, 14, 16)
_OTHER_ORDER = {"B": "L", "L": "B"}

Source = str | os.PathLike | BinaryIO


class ImageFacts(NamedTuple):
    """What must be known of all images of a set before one is read.

    Attributes:
      shorter_side: Pixels along it.
      largest: The largest value, of images with more than 8 bits a pixel; else None.
    """

    shorter_side: int
    largest: int | None


def measure_image(source: Source, name: str = "") -> ImageFacts:
    """Measures an image; those of 8 bits a pixel are not decoded for it.

    Raises:
      UserError: It is no image, is damaged, or too large.
    """
    with _opened(source, name or str(source)) as image:
        deep = _deep_pixels(image, source, name)
        if deep is not None and deep.ndim == 3:
            deep = deep[..., :3]  # without alpha
        largest = None if deep is None else int(deep.max())
        return ImageFacts(min(image.size), largest)


def full_scale(largest: Iterable[int | None]) -> int:
    """The value that is white in the deep images of a set, one for all of them.

    Cameras of 10, 12 or 14 bits write files of 16: what a set uses is the range of
    fewest bits that holds all its values, or the largest value beyond 16 bits.

    Args:
      largest: Of every image, see `ImageFacts`.
    """
    most = max((value for value in largest if value is not None), default=_FULL_SCALE)
    ranges = [2**bits - 1 for bits in _CAMERA_BITS]
    return next((white for white in ranges if most <= white), most)


def read_image(
    source: Source, side: int, name: str = "", white: int = _FULL_SCALE
) -> tuple[np.ndarray, bool]:
    """Reads the square in the middle of an image, resized.

    The longer side is cut on both ends, so that nothing is distorted and no border of
    padding tells the shape of the original. The first picture of an animation is
    taken; the orientation that cameras note (EXIF) is applied; transparent parts lie on
    white.

    Args:
      source: A file, or its content.
      side: S, in pixels.
      name: What to call it in messages, if not by ``source``.
      white: What becomes 255 where pixels have more than 8 bits, see `full_scale`.

    Returns:
      uint8 ``[S, S, 3]``, and whether the image is greyscale by its mode.

    Raises:
      UserError: It is no image, is damaged, too large, or has pixels of floating point.
    """
    name = name or str(source)
    with _opened(source, name) as image:
        # Lets JPEG leave out what would be shrunk away.
        image.draft(image.mode, (2 * side, 2 * side))
        is_grey = image.mode in _GREY_MODES
        if image.mode == "F":
            raise UserError(
                f"{name}: its pixels are floating-point numbers, whose range is "
                "not known; save it with 8 or 16 bits a channel"
            )
        deep = _deep_pixels(image, source, name)
        if deep is None:
            upright = ImageOps.exif_transpose(image)
        else:
            upright = _shallow(deep, white)
        square = ImageOps.fit(
            _on_white(upright), (side, side), Image.Resampling.BILINEAR
        )
        return np.asarray(square), is_grey


@contextlib.contextmanager
def _opened(source: Source, name: str) -> Iterator[Image.Image]:
    """Opens an image, and says in one sentence what goes wrong inside."""
    try:
        if isinstance(source, io.IOBase):
            source.seek(0)
        with Image.open(source) as image:
            yield image
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(
            f"{name}: has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels, the limit; "
            "make it smaller"
        ) from None
    # Pillow's readers raise whatever a damaged file makes them trip over.
    except Exception as error:
        raise UserError(
            f"{name}: cannot be read as an image ({error}); mend or remove it"
        ) from None


def _deep_pixels(image: Image.Image, source: Source, name: str) -> np.ndarray | None:
    """Values of an image of more than 8 bits, upright; None of all others.

    Grey ones are ``[H, W]``, coloured ones ``[H, W, 3 or 4]``. Of colours Pillow keeps
    the upper 8 of 16 bits only; told that the bytes are the other way round, it gives
    the lower ones.
    """
    if image.mode.startswith("I"):
        return np.asarray(ImageOps.exif_transpose(image))
    swapped = [_swapped(tile) for tile in getattr(image, "tile", ())]
    if image.mode not in ("RGB", "RGBA") or not swapped or None in swapped:
        return None
    with _opened(source, name) as other:
        other.tile = swapped
        lower = np.asarray(ImageOps.exif_transpose(other)).astype(np.uint16)
    upper = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)
    return (upper << 8) | lower


def _swapped(tile: tuple) -> tuple | None:
    """What to decode of a file, with the bytes of 16 bits in the other order."""
    codec, extents, offset, given = tile
    mode, *rest = (given,) if isinstance(given, str) else given or ("",)
    kind, _, order = str(mode).partition(";16")
    if order not in _OTHER_ORDER:
        return None
    mode = f"{kind};16{_OTHER_ORDER[order]}"
    return codec, extents, offset, mode if isinstance(given, str) else (mode, *rest)


def _shallow(deep: np.ndarray, white: int) -> Image.Image:
    """The middle in 8 bits, where ``white`` becomes 255; alpha is of 16 bits."""
    height, width = deep.shape[:2]
    # Far from the square in the middle, as much at both ends: deep files may be long.
    down, across = max(height - 3 * width, 0) // 2, max(width - 3 * height, 0) // 2
    deep = deep[down : height - down, across : width - across]
    whites = np.array([white, white, white, _FULL_SCALE])[: deep.shape[-1]]
    scale = 255 / (white if deep.ndim == 2 else whites)
    return Image.fromarray(np.rint(np.clip(deep * scale, 0, 255)).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    """The image in mode RGB."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image).convert("RGB")


def is_image(path: pathlib.Path) -> bool:
    """Whether a file is called like an image."""
    return path.suffix.lower() in SUFFIXES
