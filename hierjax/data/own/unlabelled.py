"""New data without labels, read as those were that a model was trained on."""

import os
import pathlib

import numpy as np

from hierjax.data.own import manifest
from hierjax.data.own.folder import find_files
from hierjax.data.own.npz import tell_unused
from hierjax.data.reading.archives import read_arrays
from hierjax.data.reading.feature_arrays import as_features
from hierjax.data.reading.image import is_image
from hierjax.data.reading.media import is_media, read_files
from hierjax.errors import UserError
from hierjax.names import clean
from hierjax.text_files import read_text

# Luma of ITU-R BT.601, as Pillow's conversion to grey.
_LUMA = np.array([0.299, 0.587, 0.114])


def are_texts(path: pathlib.Path) -> bool:
    """Whether the name is that of a table or of a list of texts."""
    return path.suffix.lower() in (".csv", ".tsv", ".txt")


def read_texts(path: pathlib.Path) -> list[str]:
    """Reads texts, whatever their labels.

    Args:
      path: A table with a column ``text``, or a ``.txt`` with a text a line, empty ones
        included.

    Raises:
      UserError: There is no such file or column, or it is no text.
    """
    if path.suffix.lower() != ".txt":
        return manifest.read_texts(path)
    try:
        text = read_text(path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if not text:
        raise UserError(f"{path}: no texts in it")
    lines = text.removesuffix("\n").split("\n")
    return [clean(line) for line in lines]


def read_unlabelled(
    path: pathlib.Path,
    shape: tuple[int, ...],
    *,
    skip_unreadable: bool = False,
    pixel_max: int = 0,
) -> dict[str, np.ndarray]:
    """Reads features, whatever they show.

    Args:
      path: A folder of files, searched through; an ``.npz`` with ``features`` and, if
        wanted, ``names`` and ``sizes``; a table (``.csv``, ``.tsv``) with a column
        ``file`` or such an ``.npz`` beside it; or one image or recording.
      shape: Of a model's inputs: ``[S, S, 1 or 3]`` for images, ``[2 M, M]`` for
        recordings.
      skip_unreadable: See `reading.media.read_files`.
      pixel_max: See `reading.media.read_files`.

    Returns:
      ``features [N, ...]``: of files ``[N, *shape]``, uint8 of images and float32 of
      recordings; ``names [N]`` where rows have names: of files relative to the folder
      or as in the table; and all other arrays of an ``.npz``.

    Raises:
      UserError: There is nothing to read, or the model does not take such files.
    """
    if os.path.isdir(path):
        files = find_files(path)
        names = [file.relative_to(path).as_posix() for file in files]
    elif path.suffix.lower() == ".npz":
        arrays = read_arrays(path)
        if "features" not in arrays:
            raise UserError(
                f"{path}: array 'features' is missing, found "
                f"{', '.join(arrays) or 'none'}"
            )
        tell_unused(path, arrays, ("features", "names", "sizes"))
        return arrays | {"features": as_features(str(path), arrays["features"])}
    elif is_media(path) and os.path.isfile(path):
        files, names = [path], [path.name]
    else:
        found = manifest.read_unlabelled(path)
        if isinstance(found, dict):
            return found
        files, names = found
    if not files:
        raise UserError(f"{path}: no images or recordings in it")
    images = is_image(files[0])
    of_images = len(shape) == 3 and shape[0] == shape[1] and shape[2] in (1, 3)
    of_audio = len(shape) == 2 and shape[0] <= 2 * shape[1]
    if not (of_images if images else of_audio):
        raise UserError(
            f"{path}: has {'images' if images else 'recordings'}, and the model takes "
            f"inputs {list(shape)}; give an .npz with such features"
        )
    features, kept = read_files(
        str(path),
        files,
        shape[1],
        None if images else shape[0],
        skip_unreadable=skip_unreadable,
        pixel_max=pixel_max,
    )
    if images and features.shape[3] > shape[2]:
        features = np.rint(features @ _LUMA)[..., None].astype(np.uint8)
    elif images and features.shape[3] < shape[2]:
        features = np.repeat(features, shape[2], axis=3)
    return {"features": features, "names": np.array(names)[kept]}
