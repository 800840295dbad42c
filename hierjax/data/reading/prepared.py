"""Finds and opens data sets that TFDS has prepared, without TensorFlow."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hierjax.errors import MissingDataError, UserError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds


def find_prepared(
    name: str, data_dir: str | pathlib.Path, command: str
) -> pathlib.Path:
    """Returns the folder of the newest prepared version of a data set.

    Args:
      name: The name that TFDS gives it.
      data_dir: Folder in which TFDS keeps its data sets.
      command: What prepares it, for the message where it is missing.

    Raises:
      MissingDataError: There is none.
    """
    folder = pathlib.Path(data_dir) / name
    # Folders of unfinished preparations start with a word.
    versions = folder.glob("[0-9]*/dataset_info.json")
    newest = max((info.parent for info in versions), key=_version, default=None)
    if newest is None:
        raise MissingDataError(f"{folder}: no prepared data set; run {command}")
    return newest


def _version(folder: pathlib.Path) -> list[int]:
    return [int(part) for part in folder.name.split(".") if part.isdecimal()]


def open_prepared(folder: pathlib.Path, command: str) -> "tfds.core.DatasetBuilder":
    """Opens a prepared data set for random access.

    Its code is not needed, nor anything that was read while preparing it.

    Args:
      folder: From `find_prepared`.
      command: What prepares it as it must be.

    Raises:
      UserError: It was prepared in a format that takes TensorFlow to read.
    """
    # Slow to import, and needed only here.
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    found = builder.info.file_format.value
    if found != "array_record":
        raise UserError(
            f"{folder}: prepared as {found}, needed is array_record; remove this "
            f"folder and run {command}"
        )
    return builder


def read_examples(
    builder: "tfds.core.DatasetBuilder", splits: Sequence[str], image: str = "image"
) -> tuple[list[dict], list[int]]:
    """Reads all examples of some splits, the image as the bytes of its file.

    Args:
      builder: From `open_prepared`.
      splits: Names of splits that it has.
      image: The feature that is not to be decoded; '' decodes all.

    Returns:
      The examples, split by split, and how many each split has.
    """
    import tensorflow_datasets as tfds

    sources = builder.as_data_source(
        tuple(splits), decoders={image: tfds.decode.SkipDecoding()} if image else None
    )
    # All at once is twice as fast as one by one.
    examples = [
        example
        for source in sources
        for example in source.__getitems__(range(len(source)))
    ]
    return examples, [len(source) for source in sources]


def fingerprint(folder: pathlib.Path) -> str:
    """Returns a text that changes with the files of a prepared data set."""
    files = ((file.name, file.stat()) for file in sorted(folder.iterdir()))
    return " ".join(f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in files)
