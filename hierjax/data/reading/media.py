"""Features of many image files, or of many audio files."""

import functools
import hashlib
import itertools
import pathlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from hierjax.data.reading import cache
from hierjax.data.reading.audio import is_audio, read_spectrogram, without_silence
from hierjax.data.reading.image import (
    full_scale,
    is_image,
    measure_image,
    read_image,
)
from hierjax.errors import UserError, notice

DEFAULT_SIZE = 64
"""Side of images and number of mel bands, where neither user nor data say another."""

_WORTH_KEEPING = 1000
"""From so many files on, what was decoded is kept in the user's cache."""

_LISTED = 20
_DEEPEST = 2**16 - 1


def is_media(path: pathlib.Path) -> bool:
    """Whether a file is called like an image or a recording."""
    return is_image(path) or is_audio(path)


class ReadFiles(NamedTuple):
    """What `read_files` read.

    Attributes:
      features: uint8 ``[N', S, S, 3]``, with one channel if all images are greyscale;
        or float32 ``[N', T, S]``, spectrograms.
      kept: ``[N']`` which of the files those are.
    """

    features: np.ndarray
    kept: np.ndarray


def read_files(
    name: str,
    files: Sequence[pathlib.Path],
    image_size: int,
    frames: int | None = None,
    *,
    default_size: int = DEFAULT_SIZE,
    skip_unreadable: bool = False,
    pixel_max: int = 0,
) -> ReadFiles:
    """Reads files of one kind.

    From 1,000 files on, features are kept in the user's cache and made anew when a
    file changes. A `DataNotice` tells how images of more than 8 bits were scaled, of
    recordings that are cut short or cancel out, and of files that were left out.

    Args:
      name: Opens messages about all files.
      files: At least one; all images or all recordings.
      image_size: S, the side of images (see `reading.image`) or the number of mel bands
        (see `reading.audio`). 0 takes 64, of images ``default_size``, and if all are
        smaller the largest's shorter side.
      frames: T, of recordings; None takes 2 S, or as many as the longest needs.
      default_size: Of images, if ``image_size`` is 0.
      skip_unreadable: Leave files out that cannot be read, in place of refusing all.
      pixel_max: What is white in images of more than 8 bits a pixel; 0 takes the range
        that the files use (`image.full_scale`).

    Raises:
      UserError: Both kinds, or files that cannot be read: the message names them all.
    """
    images = [file for file in files if is_image(file)]
    if images and len(images) < len(files):
        sound = next(file for file in files if not is_image(file))
        raise UserError(
            f"{name}: has images ({images[0].name}) and audio ({sound.name}); put "
            "each kind into a data set of its own"
        )

    def read() -> dict[str, np.ndarray]:
        reading = _Reading(name, files, skip_unreadable)
        if images:
            features = _read_images(reading, image_size, default_size, pixel_max)
        else:
            features = _read_audio(reading, image_size, frames)
        return {
            "features": features,
            "kept": np.array(reading.kept, np.int32),
            "notices": np.array(reading.notices, str),
        }

    if len(files) < _WORTH_KEEPING:
        found = read()
    else:
        place = f"{files[0].parent.resolve()} {name}".encode()
        found = cache.remember(
            f"files-{hashlib.sha256(place).hexdigest()[:16]}",
            _fingerprint(
                files,
                f"{image_size} or {default_size}, frames {frames}, white {pixel_max}, "
                f"all {not skip_unreadable}",
            ),
            ("features", "kept", "notices"),
            read,
        )
    for text in found["notices"].tolist():
        notice(f"{name}: {text}")
    return ReadFiles(found["features"], found["kept"])


class _Reading:
    """Reads many files, and collects what there is to tell of them.

    Attributes:
      kept: Which of the files could be read up to now.
      notices: Sentences about them.
    """

    def __init__(self, name: str, files: Sequence[pathlib.Path], skip: bool):
        self.name, self.files, self.skip = name, files, skip
        self.kept = list(range(len(files)))
        self.notices: list[str] = []

    def map(self, function: Callable, what: str) -> list:
        """Results for the files kept; decoders leave Python's lock to other threads."""

        def attempt(number: int) -> object:
            try:
                return function(self.files[number])
            except UserError as error:
                return error

        quiet = len(self.kept) < _WORTH_KEEPING
        with ThreadPoolExecutor() as pool:
            results = pool.map(attempt, self.kept)
            size = len(self.kept)
            found = list(tqdm(results, what, size, leave=False, disable=quiet or None))
        errors = [result for result in found if isinstance(result, UserError)]
        good = [not isinstance(result, UserError) for result in found]
        if errors and (not self.skip or not any(good)):
            raise self._refusal(errors)
        if errors:
            self.notices.append(
                f"{len(errors)} of {len(self.files)} files cannot be read and were "
                f"left out: {_listed(map(str, errors))}"
            )
        self.kept = list(itertools.compress(self.kept, good))
        return list(itertools.compress(found, good))

    def tell(self, are: Sequence[bool], what: str) -> None:
        """Notes that some of the files kept are so, if any."""
        names = [self.files[i].name for i in itertools.compress(self.kept, are)]
        if names:
            self.notices.append(f"{len(names)} {what}: {_listed(names)}")

    def _refusal(self, errors: Sequence[UserError]) -> UserError:
        if len(self.files) == 1:
            return errors[0]
        return UserError(
            f"{self.name}: {len(errors)} of {len(self.files)} files cannot be read; "
            "mend or remove them, or leave them out with skip_unreadable=True "
            f"(--skip_unreadable): {_listed(map(str, errors))}"
        )


def _listed(texts: Iterable[str]) -> str:
    texts = list(texts)
    more = f"; and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return "; ".join(texts[:_LISTED]) + more


def stack_images(decoded: Iterable[tuple[np.ndarray, bool]]) -> np.ndarray:
    """Stacks what `read_image` returned, one channel if all are greyscale."""
    images, are_grey = zip(*decoded, strict=True)
    stacked = np.stack(images)
    return np.ascontiguousarray(stacked[..., :1]) if all(are_grey) else stacked


def default_side(sides: Iterable[int], default_size: int = DEFAULT_SIZE) -> int:
    """The side for images of these shorter sides: none is enlarged needlessly."""
    return min(default_size, max(sides))


def _read_images(
    reading: _Reading, side: int, default_size: int, pixel_max: int
) -> np.ndarray:
    facts = reading.map(measure_image, "measuring images")
    side = side or default_side((fact.shorter_side for fact in facts), default_size)
    white = pixel_max or full_scale(fact.largest for fact in facts)
    deep = [fact.largest for fact in facts if fact.largest is not None]
    if deep and (pixel_max or white != _DEEPEST):
        reading.notices.append(
            f"{len(deep)} images have more than 8 bits a pixel, with values up to "
            f"{max(deep)}; 0 to {white} became 0 to 255 in all of them (another range: "
            "pixel_max)"
        )
    return stack_images(
        reading.map(lambda file: read_image(file, side, white=white), "reading")
    )


def _read_audio(reading: _Reading, bands: int, frames: int | None) -> np.ndarray:
    bands = bands or DEFAULT_SIZE
    read = functools.partial(read_spectrogram, bands=bands, frames=frames)
    found = reading.map(read, "reading")
    reading.tell(
        [recording.cancels for recording in found],
        "recordings have channels of opposite phase, of which the average is near "
        "silence; save one channel",
    )
    reading.tell(
        [recording.is_cut for recording in found],
        "recordings end before their head says and were read as far as they go",
    )
    stacked = np.stack([recording.spectrogram for recording in found])
    return without_silence(stacked) if frames is None else stacked


def _fingerprint(files: Sequence[pathlib.Path], size: str) -> str:
    text = hashlib.sha256(f"version 3, size {size}".encode())
    for file in files:
        stat = file.stat()
        text.update(f"{file}:{stat.st_size}:{stat.st_mtime_ns}\n".encode())
    return text.hexdigest()
