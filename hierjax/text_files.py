"""Text files as people have them: of any system, table or spreadsheet."""

import csv
import io
import itertools
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator

from hierjax.errors import MissingDataError, UserError
from hierjax.names import clean

Table = list[dict[str, str]]

DELIMITERS = ",;\t|"


def read_text(path: str | os.PathLike) -> str:
    r"""Returns the text of a file, lines ended by ``\n``; messages do not name it.

    UTF-8, or UTF-16 where the file begins with its mark, as spreadsheets write it.

    Raises:
      MissingDataError: There is no such file, or it is a folder, pipe or device.
      UserError: It cannot be read, or is no such text.
    """
    # These say no where a name is too long or holds a NUL.
    if not os.path.isfile(path):
        what = "is no regular file" if os.path.exists(path) else "no such file"
        raise MissingDataError(f"{what}; give a text file")
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})") from None
    is_wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"is no text in UTF-8 ({error}); save it as CSV or text in UTF-8"
        ) from None
    if "\0" in text:
        raise UserError("is no text but bytes; save it as text in UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_table(path: str | os.PathLike) -> Table:
    """Reads a table with a header; messages do not name the file.

    Columns are separated by that of ``,``, ``;``, tab and ``|`` which makes most of
    the header; cells may be quoted, blank lines are skipped.

    Args:
      path: A file that `read_text` reads.

    Returns:
      One dict a row, at least one; cells and names cleaned (`names.clean`), a cell that
      the row lacks is ``''``.

    Raises:
      UserError: It cannot be read, is empty, has a column twice or a row that is longer
        than the header.
    """
    lines, delimiter = read_lines(path)
    if len(lines) < 2:
        raise UserError("has no rows below a header")
    return as_table(lines, delimiter)


def read_lines(path: str | os.PathLike) -> tuple[list[list[str]], str]:
    """Returns the cells of a table's lines, cleaned, and what separates them."""
    text = read_text(path)
    limit = csv.field_size_limit(len(text))  # A cell may be a whole book.
    try:
        first = next(filter(str.strip, text.split("\n")), "")
        delimiter = max(DELIMITERS, key=lambda mark: len(split_line(first, mark)))
        reader = _reader(io.StringIO(text, newline=""), delimiter)
        lines = [[clean(cell) for cell in line] for line in reader if line]
    except csv.Error as error:
        raise UserError(f"cannot be read as a CSV table: {error}") from None
    finally:
        csv.field_size_limit(limit)
    return lines, delimiter


def as_table(lines: list[list[str]], delimiter: str) -> Table:
    """Rows below a header, see `read_table`."""
    header = lines[0]
    for name, times in Counter(header).items():
        if times > 1 and name:
            raise UserError(f"has the column {name!r} {times} times, not once")
    rows = []
    for number, line in enumerate(lines[1:]):
        if any(line[len(header) :]):
            raise UserError(
                f"has {len(line)} cells in row {number} below a header of "
                f"{len(header)}; put cells that hold {delimiter!r} in double quotes"
            )
        cells = line[: len(header)]
        rows.append(dict(itertools.zip_longest(header, cells, fillvalue="")))
    return rows


def split_line(line: str, delimiter: str) -> list[str]:
    """Cells of one line, cleaned; the line itself if its quotes do not fit."""
    try:
        return [clean(cell) for cell in next(_reader([line], delimiter), [])]
    except csv.Error:
        return [line]


def _reader(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    # Strict: a quote that is not closed would swallow the lines behind it.
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
