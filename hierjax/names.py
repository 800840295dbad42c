"""Names of nodes, and paths of names from the coarsest node down to a class."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hierjax.errors import UserError

UNKNOWN = -1
"""Node id of an unknown level."""

NamePath = tuple[str, ...]


def as_names(values: Iterable[Any], where: str) -> NamePath:
    """Turns names into strings; ``where`` opens the message about a bad one.

    Raises:
      UserError: a value that is neither a non-empty string nor an integer >= 0.
    """
    values = tuple(values)
    for i, value in enumerate(values):
        number = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not (value >= 0 if number else isinstance(value, str) and value.strip()):
            raise UserError(
                f"{where} has {value!r} at position {i}; a name is a non-empty string "
                "or a non-negative integer"
            )
    return tuple(map(str, values))


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
    return names


def distinct_names(paths: Sequence[NamePath]) -> NamePath:
    """Names each path by its last name, or by all joined where several end alike."""
    counts = Counter(path[-1] for path in paths)
    return tuple(
        path[-1] if counts[path[-1]] == 1 else "/".join(path) for path in paths
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
