"""Features of many image files, or of many audio files."""

import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from hierjax.data.reading import cache
from hierjax.data.reading.audio import is_audio, read_spectrogram, without_silence
from hierjax.data.reading.image import is_image, read_image, shorter_side
from hierjax.errors import UserError

DEFAULT_SIZE = 64
"""Side of images and number of mel bands, where neither user nor data say another."""

_WORTH_KEEPING = 1000
"""From so many files on, what was decoded is kept in the user's cache."""


def is_media(path: pathlib.Path) -> bool:
    """Whether a file is called like an image or a recording."""
    return is_image(path) or is_audio(path)


def read_files(
    name: str,
    files: Sequence[pathlib.Path],
    image_size: int,
    frames: int | None = None,
) -> np.ndarray:
    """Reads files of one kind.

    From 1,000 files on, features are kept in the user's cache and made anew when a
    file changes.

    Args:
      name: Opens messages about all files.
      files: At least one; all images or all recordings.
      image_size: S, the side of images (see `reading.image`) or the number of mel bands
        (see `reading.audio`). 0 takes 64; of images all of which are smaller, the
        largest's shorter side.
      frames: T, of recordings; None takes 2 S, or as many as the longest needs.

    Returns:
      uint8 ``[N, S, S, 3]``, with one channel if all images are greyscale; or float32
      ``[N, T, S]``, spectrograms.

    Raises:
      UserError: Both kinds, or a file that cannot be read.
    """
    images = [file for file in files if is_image(file)]
    if images and len(images) < len(files):
        sound = next(file for file in files if not is_image(file))
        raise UserError(
            f"{name}: has images ({images[0].name}) and audio ({sound.name}); put "
            "each kind into a data set of its own"
        )
    read = _read_images if images else functools.partial(_read_audio, frames=frames)
    if len(files) < _WORTH_KEEPING:
        return read(files, image_size)
    place = hashlib.sha256(f"{files[0].parent.resolve()} {name}".encode()).hexdigest()
    found = cache.remember(
        f"files-{place[:16]}",
        _fingerprint(files, f"{image_size}, frames {frames}"),
        ("features",),
        lambda: {"features": read(files, image_size)},
    )
    return found["features"]


def stack_images(decoded: Iterable[tuple[np.ndarray, bool]]) -> np.ndarray:
    """Stacks what `read_image` returned, one channel if all are greyscale."""
    images, are_grey = zip(*decoded, strict=True)
    stacked = np.stack(images)
    return np.ascontiguousarray(stacked[..., :1]) if all(are_grey) else stacked


def default_side(sides: Iterable[int]) -> int:
    """The side for images of these shorter sides: none is enlarged needlessly."""
    return min(DEFAULT_SIZE, max(sides))


def _read_images(files: Sequence[pathlib.Path], side: int) -> np.ndarray:
    side = side or default_side(_map(shorter_side, files, "measuring images"))
    return stack_images(_map(lambda file: read_image(file, side), files, "reading"))


def _read_audio(
    files: Sequence[pathlib.Path], bands: int, frames: int | None
) -> np.ndarray:
    bands = bands or DEFAULT_SIZE
    read = functools.partial(read_spectrogram, bands=bands, frames=frames)
    stacked = np.stack(_map(read, files, "reading"))
    return without_silence(stacked) if frames is None else stacked


def _map(function: Callable, files: Sequence[pathlib.Path], what: str) -> list:
    """Applies a function in threads; decoders leave Python's lock to others."""
    quiet = len(files) < _WORTH_KEEPING
    with ThreadPoolExecutor() as pool:
        results = pool.map(function, files)
        return list(tqdm(results, what, len(files), leave=False, disable=quiet or None))


def _fingerprint(files: Sequence[pathlib.Path], size: str) -> str:
    text = hashlib.sha256(f"version 2, size {size}".encode())
    for file in files:
        stat = file.stat()
        text.update(f"{file}:{stat.st_size}:{stat.st_mtime_ns}\n".encode())
    return text.hexdigest()
