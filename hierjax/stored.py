"""Files that tell when they are no longer what was written.

JSON is written in one move, with a digest of its own content. Files of earlier versions
carry none; they are read as they are.
"""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from hierjax.errors import UserError

SEAL = "sha256"
"""Key of the digest in a JSON object, over everything else in it."""


def read_json(path: str | pathlib.Path) -> Any:
    """Content of a JSON file, without its digest.

    Args:
      path: of a regular file.

    Raises:
      UserError: it cannot be read, is no JSON, or its digest does not fit.
    """
    path = pathlib.Path(path)
    content = parse_json(path, read_bytes(path))
    if isinstance(content, dict) and SEAL in content:
        if content.pop(SEAL) != _digest_of(content):
            raise UserError(
                f"{path} is damaged: what it holds does not fit its digest; bring back "
                f"a copy, or remove its line {SEAL} if the change is your own"
            )
    return content


def read_bytes(path: pathlib.Path) -> bytes:
    """All of a regular file; a pipe is refused, as it could never end.

    Raises:
      UserError: it is no such file or cannot be read.
    """
    with refused(path):
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is no regular file")
        return path.read_bytes()


def parse_json(path: pathlib.Path, text: bytes) -> Any:
    """Reads JSON.

    Args:
      path: where it is from, for the message.
      text: in UTF-8.

    Raises:
      UserError: it is none, or has too many digits or brackets for Python.
    """
    try:
        content = json.loads(text.decode())
        if b"\\ud" in text.lower():
            # Half of a pair of UTF-16 is no text and could not be written.
            json.dumps(content, ensure_ascii=False).encode()
        return content
    except RecursionError:
        raise UserError(f"{path} is damaged: its brackets are too deep") from None
    except ValueError as error:
        kind = "empty" if not text.strip() else f"no JSON ({error})"
        raise UserError(f"{path} is damaged: {kind}") from None


def write_json(path: pathlib.Path, content: Any) -> None:
    """Writes JSON, with its digest where it is an object.

    Args:
      path: replaced in one move, so that a kill leaves the old or the new file.
      content: of what JSON knows; infinities and NaN as Python writes them.
    """
    # What comes back is what the digest is of: tuples as lists, keys as strings.
    content = json.loads(json.dumps(content))
    if isinstance(content, dict):
        content |= {SEAL: _digest_of(content)}
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes a file in one move, see `write_json`."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            # Else a crash of the machine may leave the new name on an empty file.
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def refused(path: pathlib.Path) -> Iterator[None]:
    """Says in a sentence that a file cannot be read, or holds something else.

    For blocks that take apart what a file holds, where anything may be missing or of
    another kind.

    Args:
      path: of the file.

    Raises:
      UserError: the block raised what reading raises.
    """
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except KeyError as error:
        raise UserError(f"{path} is damaged: {error} is missing") from None
    except (
        ArithmeticError,
        AttributeError,
        IndexError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise UserError(
            f"{path} is damaged: it does not hold what it should ({error})"
        ) from None


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def file_digest(path: pathlib.Path) -> str:
    """SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of(content: dict) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return digest(text.encode())
