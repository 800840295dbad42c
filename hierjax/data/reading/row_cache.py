"""Rows of numbers that take long to make, kept on disk from the moment they are made.

One file is an ``.npy`` of records: a row and its checksum. What is missing, what was
not finished and what is damaged look alike, rows whose checksum does not fit, and are
made anew. Nothing else is recorded, so that a process may be killed at any time,
several may fill a file together, and a file may be deleted.
"""

import errno
import io
import os
import pathlib
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from hierjax.errors import UserError, notice

_CHECK = np.dtype("<u4")
_VALUES = np.dtype("<f2")
_WORTH_A_BAR = 256
_SECONDS_IN_FILES = 30
"""Between two states of the progress bar where it is not on a terminal."""


def remember_rows(
    file: pathlib.Path,
    shape: Sequence[int],
    rows: np.ndarray,
    make: Callable[[np.ndarray], np.ndarray],
    *,
    block: int,
    what: str,
) -> np.ndarray:
    """Takes rows from a file, and makes and keeps those that are missing.

    A `DataNotice` says so where the file was cut short or rows are damaged.

    Args:
      file: With a name that changes with everything that changes a row.
      shape: ``(N, ...)`` of all rows there can be.
      rows: ``[n]`` those that are wanted.
      make: ``rows [m] -> [m, ...]`` finite numbers, the same for a row whenever it is
        called.
      block: So many rows are made at a time, and the rows of a block together: m is
        less only where some of them are there.
      what: Said beside the progress bar.

    Returns:
      float16 ``[N, ...]``, memory-mapped, read-only; what rows are that were never
      wanted is not defined.

    Raises:
      UserError: The file cannot be written (what was written stays), or a number is not
        finite in float16, which reaches 65504.
    """
    count, *row = shape
    record = np.dtype([("check", _CHECK), ("values", _VALUES, tuple(row))])
    try:
        head = _head(record, count)
        with _opened(file, head, len(head) + count * record.itemsize) as handle:
            kept = np.memmap(handle, np.uint8, "r", len(head), (count, record.itemsize))
            missing = rows[~_are_whole(kept, rows)]
            if number := np.count_nonzero(_checks(kept)[missing]):
                notice(f"{file}: {number} rows are damaged and are made anew")
            _check_room(file, len(missing) * record.itemsize)
            for part, values in _made(kept, missing, make, block=block, what=what):
                for row, value in zip(part, values, strict=True):
                    handle.seek(len(head) + int(row) * record.itemsize)
                    handle.write(_CHECK.type(_check(value)).tobytes())
                    handle.write(value)
                handle.flush()
    except OSError as error:
        raise UserError(
            f"{file} cannot be written: {error.strerror}; make room there or name "
            "another folder with cache_dir, what is in it already is used again"
        ) from None
    return kept.view(record)["values"][:, 0]


def _head(record: np.dtype, count: int) -> bytes:
    """What numpy writes before the records."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head,
        {
            "descr": np.lib.format.dtype_to_descr(record),
            "fortran_order": False,
            "shape": (count,),
        },
    )
    return head.getvalue()


def _opened(file: pathlib.Path, head: bytes, size: int) -> BinaryIO:
    """Opens a file that begins and is as long as it must, made or mended.

    Several processes may do so at once: each does what another has done already.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
    found = handle.read(len(head))
    if found not in (b"", head):
        handle.close()
        notice(f"{file}: is damaged and is made anew")
        # Those who are reading the old one keep it.
        file.unlink(missing_ok=True)
        return _opened(file, head, size)
    held = os.fstat(handle.fileno()).st_size
    if found and held < size:
        notice(f"{file}: is cut short, and what is missing is made anew")
    if held != size:
        handle.seek(0)
        handle.write(head)
        handle.truncate(size)
    return handle


def _check_room(file: pathlib.Path, needed: int) -> None:
    """Refuses at once what would fail after half an hour."""
    free = shutil.disk_usage(file.parent).free
    if free < needed:
        said = f"{os.strerror(errno.ENOSPC)}, {needed:,} bytes needed, {free:,} free"
        raise OSError(errno.ENOSPC, said)


def _checks(kept: np.ndarray) -> np.ndarray:
    """Checksums ``[N]`` as they were written, 0 of rows that were not."""
    return np.ascontiguousarray(kept[:, : _CHECK.itemsize]).view(_CHECK)[:, 0]


def _are_whole(kept: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Which of the rows ``[n]`` have the values that they were written with."""
    checks = _checks(kept)
    return np.array(
        [
            checks[row] != 0 and checks[row] == _check(kept[row, _CHECK.itemsize :])
            for row in rows
        ],
        bool,
    )


def _check(values: np.ndarray) -> int:
    """A checksum that is never 0."""
    return zlib.crc32(values) or 1


def _made(
    kept: np.ndarray,
    missing: np.ndarray,
    make: Callable[[np.ndarray], np.ndarray],
    *,
    block: int,
    what: str,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and their values, block by block."""
    blocks = [missing[i : i + block] for i in range(0, len(missing), block)]
    # Processes that begin at once begin at different ends, and so share the work.
    first = os.getpid() % max(len(blocks), 1)
    bar = tqdm(
        desc=what,
        total=len(missing),
        leave=False,
        disable=len(missing) < _WORTH_A_BAR,
        mininterval=0.1 if sys.stderr.isatty() else _SECONDS_IN_FILES,
    )
    with bar:
        for rows in (*blocks[first:], *blocks[:first]):
            left = rows[~_are_whole(kept, rows)]
            if len(left):
                yield left, _as_float16(make(left))
            bar.update(len(rows))


def _as_float16(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        short = np.asarray(values).astype(_VALUES)
    if not np.isfinite(short).all():
        raise UserError(
            "features are not finite, or too large for float16, which reaches 65504; "
            "are these the weights of this network?"
        )
    return np.ascontiguousarray(short)
