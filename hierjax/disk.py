"""What is wrong with a disk, as the errors of many libraries say it."""

import errno
import os
import re

_FULL = (errno.ENOSPC, errno.EDQUOT)
_OF_THE_DISK = (
    *_FULL,
    errno.EACCES,
    errno.EFBIG,
    errno.EIO,
    errno.EISDIR,
    errno.ELOOP,
    errno.EMFILE,
    errno.ENAMETOOLONG,
    errno.ENFILE,
    errno.ENODEV,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENXIO,
    errno.EPERM,
    errno.EROFS,
    errno.ESTALE,
)
# As TensorStore writes it.
_NUMBER = re.compile(r"\b(?:OS error |os_error_code=')(\d+)")
# TensorStore, Orbax and NumPy do not always give a number.
_WORDS = {
    "RESOURCE_EXHAUSTED": errno.ENOSPC,
    "No space left": errno.ENOSPC,
    "quota exceeded": errno.EDQUOT,
    "requested and": errno.ENOSPC,
    "directory does not exist": errno.ENOENT,
    "file does not exist": errno.ENOENT,
    "NOT_FOUND": errno.ENOENT,
    "PERMISSION_DENIED": errno.EACCES,
}


def number_of(error: BaseException | str | None) -> int | None:
    """The ``errno`` behind an error, its causes included.

    Args:
      error: of Python, NumPy, Orbax or TensorStore, or its text.

    Returns:
      None where it is not the disk or what is on it that is wrong, but the program.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            return error.errno
        if found := _number_in(str(error)):
            return found
        if isinstance(error, str):
            return None
        error = error.__cause__ or error.__context__
    return None


def is_full(number: int) -> bool:
    """Whether an ``errno`` says that there is no room, for anybody or for this user."""
    return number in _FULL


def _number_in(text: str) -> int | None:
    found = _NUMBER.search(text)
    if found and int(found[1]) in _OF_THE_DISK:
        return int(found[1])
    return next((number for words, number in _WORDS.items() if words in text), None)


def sentence_of(error: OSError) -> str | None:
    """What to tell who gave a command that met this error; None for a bug."""
    number = number_of(error)
    if number is None:
        return None
    name, reason = error.filename or "a file", os.strerror(number)
    if is_full(number):
        return (
            f"{name} cannot be written: {reason}; make room, then give the same "
            "command again"
        )
    return f"{name} cannot be used: {reason}"
