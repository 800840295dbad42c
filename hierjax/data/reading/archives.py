"""Reads ``.npz`` archives and says in one sentence what is wrong with one."""

import math
import os
import pathlib
import zipfile
import zlib
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from hierjax.errors import MissingDataError, UserError


def read_arrays(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an ``.npz`` file, never unpickling anything.

    Raises:
      UserError: The file is missing, is no archive, is cut short, or holds pickled
        objects.
    """
    path = pathlib.Path(path)
    if not os.path.isfile(path):
        raise MissingDataError(
            f"{path}: no such file; give an .npz written by numpy.savez"
        )
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"{path}: not an .npz archive or cut short; write it with numpy.savez"
        )
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                key = member.filename.removesuffix(".npy")
                arrays[key] = _read_member(path, archive, member, key)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{path}: damaged or cut short ({error})") from error
    # What zipfile raises for encryption, and for kinds of compression.
    except (RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"{path}: {error}; write it with numpy.savez or numpy.savez_compressed"
        ) from None
    return arrays


def _read_member(
    path: pathlib.Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, key: str
) -> np.ndarray:
    try:
        with archive.open(member) as file:
            _check_head(path, file, member.file_size, key)
        with archive.open(member) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except UserError:
        raise
    except (ValueError, MemoryError, TypeError) as error:
        raise UserError(
            f"{path}: array {key!r} cannot be read; accepted are arrays of numbers or "
            "strings, not pickled objects"
        ) from error


def _check_head(path: pathlib.Path, file: BinaryIO, size: int, key: str) -> None:
    """Requires that an array is as large as its head says, before it gets memory."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    there = size - file.tell()
    needed = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and needed != there:
        raise UserError(
            f"{path}: array {key!r} is damaged: {needed:,} bytes by its shape "
            f"{shape}, {there:,} in the file"
        )


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
