"""Names of nodes, and paths of names from the coarsest node down to a class.

Wherever a name comes from, `read_cell` reads it: one Unicode form, no blanks around it,
one rule for what is unknown. Wherever a path is one text, `split_paths` splits it.
"""

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hierjax.errors import UserError

UNKNOWN = -1
"""Node id of an unknown level."""

MISSING_WORDS = frozenset(
    ("#N/A", "#NA", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null")
)
"""Words that spreadsheets and pandas write for a missing value."""

SEPARATORS = ("//", "->", ">", ";", "/")
"""What may stand between the names of a path, the first that all agree on counts."""

_UNKNOWN_TEXTS = ("-1", "-1.0")
_MISSING_TYPES = ("NAType", "NaTType")  # pandas' own, which need not be installed

NamePath = tuple[str, ...]


def clean(text: str) -> str:
    """Returns a text in Unicode's form NFC without blanks and marks around it.

    What looks alike is then the same: accents as letters of their own or not, a byte
    order mark, a zero-width or non-breaking space at an end.
    """
    if text.isascii():
        return text.strip()
    marks = "\ufeff\u200b"
    return unicodedata.normalize("NFC", text).strip().strip(marks).strip()


def read_cell(value: Any) -> str | None:
    """Returns the name that a value stands for.

    Text is cleaned, bytes are UTF-8, numbers are whole and not negative.

    Returns:
      ``''`` where the value stands for unknown: -1 as a number or text, blanks,
      ``None``, NaN and what pandas has in their place. None where it is no name.
    """
    if type(value) is str and value.isascii():  # nearly all of them
        name = value.strip()
        return "" if name in _UNKNOWN_TEXTS else name
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            return None
    if isinstance(value, str):
        name = clean(str(value))
        return "" if name in _UNKNOWN_TEXTS else name
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return ""
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return ""
        if not value.is_integer():
            return None
        value = int(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        if value >= 0:
            return str(value)
        return "" if value == UNKNOWN else None
    return None


def no_name(value: Any, position: int, where: str) -> UserError:
    """The error for a value that stands for no name; ``where`` opens it."""
    return UserError(
        f"{where} has {value!r} at position {position}; a name is a non-empty string "
        "or a non-negative integer, and no -1, which is unknown"
    )


def as_names(values: Iterable[Any], where: str) -> NamePath:
    """Turns names into strings, see `read_cell`.

    Raises:
      UserError: a value that is no name, or unknown; ``where`` opens the message.
    """
    values = tuple(values)
    names = tuple(map(read_cell, values))
    if not all(names):
        position = next(i for i, name in enumerate(names) if not name)
        raise no_name(values[position], position, where)
    return names


def split_paths(cells: Sequence[str], where: str = "row") -> list[NamePath]:
    """Splits the paths of a column, all of them at the same mark.

    That is the first of `SEPARATORS` that every cell with any of them has, so that
    names may hold the others. Blanks around a mark, and marks at the ends of a cell,
    stand for nothing; an empty cell is the empty path.

    Args:
      cells: N texts.
      where: What cells are called in messages, with their number behind.

    Raises:
      UserError: Cells do not agree on a mark, or a name between two marks is empty.
    """
    cells = [clean(cell) for cell in cells]
    mark = find_separator(cells, where)
    if mark is None:
        return [(cell,) if cell else () for cell in cells]
    paths = []
    for number, cell in enumerate(cells):
        inside = cell
        while (
            shorter := inside.strip().removesuffix(mark).removeprefix(mark)
        ) != inside:
            inside = shorter
        names = tuple(map(clean, inside.split(mark))) if inside else ()
        if not all(names) or (mark == "//" and "///" in inside):
            raise UserError(
                f"{where} {number} has an empty name inside the path {cell!r}; put a "
                "name between the two marks, or leave the level out"
                + (
                    ", or write // between all names if / is part of some"
                    * (mark == "/")
                )
            )
        paths.append(names)
    return paths


def find_separator(cells: Iterable[str], where: str = "row") -> str | None:
    """The one of `SEPARATORS` that `split_paths` takes, None if no cell has any.

    Raises:
      UserError: Cells do not agree on one.
    """
    agreed, found = set(SEPARATORS), {}
    for number, cell in enumerate(cells):
        marks = [mark for mark in SEPARATORS if mark in cell]
        for mark in marks[:1]:
            found.setdefault(mark, (number, cell))
        if marks:
            agreed &= set(marks)
    if found and not agreed:
        (mark, (row, cell)), (other, (other_row, other_cell)) = list(found.items())[:2]
        raise UserError(
            f"{where} {row} separates names by {mark!r} ({cell!r}) and {where} "
            f"{other_row} by {other!r} ({other_cell!r}); write all paths alike"
        )
    return (
        next((mark for mark in SEPARATORS if mark in agreed), None) if found else None
    )


def as_path(path: Any, where: str) -> NamePath:
    """Turns a sequence of one or more names into a path."""
    names = as_names(as_row(path, where), where)
    if not names:
        raise UserError(f"{where} is empty; a path has one or more names")
    return names


def as_row(row: Any, where: str) -> tuple:
    """Turns a sequence of single values into a tuple; a string is none."""
    if not isinstance(row, str | bytes):
        try:
            values = tuple(row)
            hash(values)
            return values
        except TypeError:
            pass
    raise UserError(f"{where} is {row!r}; it must be a sequence of names")


RESERVED_LEVELS = ("all", "average")
"""Names that no level may have: measures of no single level go by them."""
RESERVED_ENDS = ("proxies", "means", "features", "projections")
"""How no level name may end: it is what a measure was taken of."""


def check_given_names(names: Sequence[str], kind: str, count: int) -> NamePath:
    """Requires ``count`` distinct names."""
    names = as_names(names, f"the list of {kind} names")
    if len(names) != count:
        raise UserError(
            f"found {len(names)} {kind} names where {count} distinct ones are needed"
        )
    for name, times in Counter(names).items():
        if times > 1:
            raise UserError(f"the {kind} name {name!r} occurs {times} times, not once")
    if kind == "level":
        for name in names:
            _check_level_name(name)
    return names


def _check_level_name(name: str) -> None:
    """Refuse what would be misread in the name of a measure, ``knn/<level>/<kind>``."""
    if name in RESERVED_LEVELS or name.rpartition("/")[2] in RESERVED_ENDS:
        raise UserError(
            f"the level name {name!r} is one that measures have of their own: "
            f"{', '.join(RESERVED_LEVELS)}, and what ends in "
            f"{', '.join(RESERVED_ENDS)}; choose another"
        )


def distinct_names(paths: Sequence[NamePath]) -> NamePath:
    """Names each path by its last name, or by all joined where several end alike."""
    last = tuple([path[-1] for path in paths])
    if len(set(last)) == len(last):  # as in nearly all trees
        return last
    counts = Counter(last)
    return tuple(
        name if counts[name] == 1 else "/".join(path)
        for name, path in zip(last, paths, strict=True)
    )


def keep_levels(
    paths: Sequence[NamePath], levels: Sequence[int]
) -> tuple[NamePath, ...]:
    """Leaves out the levels that are not kept.

    A name stands for itself and those left out above it: it stays as it is, unless it
    would then mean several nodes below one parent, which are named by all the names
    that they stand for, joined by ``/``.

    Args:
      paths: distinct paths, none longer than the last kept level.
      levels: increasing levels; a path that ends between two of them keeps its end.
    """
    cut = [_cut(path, levels) for path in paths]
    alike = defaultdict(set)
    for pieces in cut:
        for level, piece in enumerate(pieces):
            alike[pieces[:level], piece[-1]].add(piece)
    return tuple(
        tuple(
            piece[-1] if len(alike[pieces[:level], piece[-1]]) == 1 else "/".join(piece)
            for level, piece in enumerate(pieces)
        )
        for pieces in cut
    )


def _cut(path: NamePath, levels: Sequence[int]) -> tuple[NamePath, ...]:
    """The path in pieces that end at the kept levels, or with the path."""
    ends = sorted({min(level + 1, len(path)) for level in levels})
    starts = [0, *ends[:-1]]
    return tuple(path[start:end] for start, end in zip(starts, ends, strict=True))
