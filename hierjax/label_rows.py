"""Raw labels of many rows: what is known of each, read by one rule."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from hierjax.errors import UserError, notice
from hierjax.names import MISSING_WORDS, NamePath, as_row, no_name, read_cell


class LabelRows(NamedTuple):
    """The different rows of raw labels.

    Attributes:
      paths: Names of each, coarsest first, without the unknown suffix.
      firsts: Number of the row in which each occurs first.
      inverse: ``[N]`` which of them each row is.
      width: Cells of the longest row.
      missing: How many rows have each word for a missing value.
    """

    paths: list[NamePath]
    firsts: list[int]
    inverse: np.ndarray
    width: int
    missing: Counter

    def per_row(self) -> list[NamePath]:
        """The labels of all N rows, filled up with ``''`` to the same width."""
        padded = [(*path, *[""] * (self.width - len(path))) for path in self.paths]
        return [padded[i] for i in self.inverse.tolist()]

    def tell_missing(self, name: str) -> None:
        """A `DataNotice` of the words that were read as unknown, if any."""
        if self.missing:
            words = ", ".join(f"{word} ({n})" for word, n in self.missing.most_common())
            notice(
                f"{name}: {self.missing.total()} labels are words for a missing value "
                f"and are read as unknown: {words}; missing_as_names=True keeps them "
                "as names"
            )


def read_label_rows(
    labels: Iterable[Any], is_name: Callable[[str], bool] = lambda word: False
) -> LabelRows:
    """Reads rows of raw labels.

    Args:
      labels: N sequences of values that `names.read_cell` reads, of any lengths,
        coarsest first; or an array, table or nested sequence of such.
      is_name: Whether one of `MISSING_WORDS` is a name all the same.

    Raises:
      UserError: A value that is no name, or a known label below an unknown one.
    """
    if hasattr(labels, "__array__"):
        labels = np.asarray(labels).tolist()
    raw: dict[tuple, int] = {}
    of_row = [
        raw.setdefault(as_row(row, f"row {number}"), number)
        for number, row in enumerate(labels)
    ]
    place: dict[NamePath, int] = {}
    firsts, place_of, missing_of = [], {}, {}
    for row, number in raw.items():
        path, missing = _known(row, number, is_name)
        place_of[number] = place.setdefault(path, len(place))
        if len(place) > len(firsts):
            firsts.append(number)
        missing_of[number] = missing
    missing = Counter()
    for number in of_row if any(missing_of.values()) else ():
        missing.update(missing_of[number])
    return LabelRows(
        list(place),
        firsts,
        np.array([place_of[number] for number in of_row], np.intp),
        max(map(len, raw), default=0),
        missing,
    )


def _known(
    row: tuple, number: int, is_name: Callable[[str], bool]
) -> tuple[NamePath, list[str]]:
    """Names of a row down to the first unknown one, and the words that stand there."""
    names = tuple(map(read_cell, row))
    if all(names) and MISSING_WORDS.isdisjoint(names):
        return names, []
    if None in names:
        position = names.index(None)
        raise no_name(row[position], position, f"row {number}")
    missing = [name for name in names if name in MISSING_WORDS and not is_name(name)]
    known = [bool(name) and name not in missing for name in names]
    depth = known.index(False) if False in known else len(known)
    if True in known[depth:]:
        level = known.index(True, depth)
        word = f" {names[depth]!r} at" if names[depth] else ""
        raise UserError(
            f"row {number} has the label {row[level]!r} at level {level} below the "
            f"unknown{word} level {depth}; unknown levels must be the last ones of a "
            "row" + ("; missing_as_names=True keeps the word as a name" if word else "")
        )
    return names[:depth], missing
