"""Reads ``.npz`` archives and says in one sentence what is wrong with one."""

import pathlib
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from hierjax.errors import MissingDataError, UserError


def read_arrays(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an ``.npz`` file, never unpickling anything.

    Raises:
      UserError: The file is missing, is no archive, is cut short, or holds pickled
        objects.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise MissingDataError(
            f"{path}: no such file; give an .npz written by numpy.savez"
        )
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"{path}: not an .npz archive or cut short; write it with numpy.savez"
        )
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key in archive.files:
                arrays[key] = _read_member(path, archive, key)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{path}: damaged or cut short ({error})") from error
    return arrays


def _read_member(
    path: pathlib.Path, archive: np.lib.npyio.NpzFile, key: str
) -> np.ndarray:
    try:
        return archive[key]
    except ValueError as error:
        raise UserError(
            f"{path}: array {key!r} cannot be read; accepted are arrays of numbers or "
            "strings, not pickled objects"
        ) from error


def read_npz(
    data_dir: str | pathlib.Path,
    folder: str,
    file: str,
    keys: Sequence[str],
    source: str,
) -> dict[str, np.ndarray]:
    """Reads `data_dir/folder/file` or `data_dir/file` and checks its keys.

    Args:
      data_dir: The user's data folder.
      folder: Optional folder inside it.
      file: Name of the archive.
      keys: Arrays that must be there.
      source: Where the file comes from, for the message when it is missing.

    Raises:
      UserError: Neither file exists, it cannot be read, or a key is missing.
    """
    data_dir = pathlib.Path(data_dir)
    candidates = (data_dir / folder / file, data_dir / file)
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise MissingDataError(
            f"{candidates[0]}: no such file; put {file} there, {source}"
        )
    arrays = read_arrays(path)
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise UserError(
            f"{path}: array {missing[0]!r} is missing; needed are {', '.join(keys)}"
        )
    return arrays
