"""Decoded arrays in the user's cache, so that a second start need not decode them."""

import os
import pathlib
import tempfile
import warnings
from collections.abc import Callable, Collection

import numpy as np

from hierjax.data.reading.archives import read_arrays
from hierjax.errors import UserError

Arrays = dict[str, np.ndarray]


def folder() -> pathlib.Path:
    """The user's cache of this library; nothing in it is missed."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(home) / "hierjax"


def remember(
    name: str, source: str, keys: Collection[str], make: Callable[[], Arrays]
) -> Arrays:
    """Takes arrays from the cache, or makes them and puts them there.

    They lie in ``hierjax/<name>.npz`` in the user's cache (``$XDG_CACHE_HOME`` or
    ``~/.cache``). A file that is missing, damaged or made from another source is made
    anew; where none can be written, a warning says so.

    Args:
      name: Of the file, without ending.
      source: A text that changes with what the arrays are made from.
      keys: Names of the arrays.
      make: Makes them.
    """
    file = folder() / f"{name}.npz"
    arrays = _read(file, source, keys)
    if arrays is None:
        arrays = make()
        _write(name, file, source, arrays)
    return arrays


def _read(file: pathlib.Path, source: str, keys: Collection[str]) -> Arrays | None:
    """The arrays if they are those; the archive's checksums tell of damage."""
    try:
        arrays = read_arrays(file)
    except UserError:
        return None
    if arrays.pop("source", None) != source or set(arrays) != set(keys):
        return None
    return arrays


def _write(name: str, file: pathlib.Path, source: str, arrays: Arrays) -> None:
    """Writes all or nothing, as other processes may read; only warns if it cannot."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            complete = pathlib.Path(folder) / file.name
            np.savez(complete, source=source, **arrays)
            complete.replace(file)
    except OSError as error:
        warnings.warn(
            f"{name}: the decoded examples could not be kept in {file} ({error}), so "
            "that every start decodes them anew",
            stacklevel=3,
        )
