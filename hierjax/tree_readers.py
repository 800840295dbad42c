"""What users have instead of paths: edges, label columns, CSV files.

Each reader turns its input into one path per class; `Hierarchy` documents the formats.
"""

import contextlib
import csv
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hierjax.errors import UserError
from hierjax.names import UNKNOWN, NamePath, as_names, as_path, as_row
from hierjax.trie import grow_trie, internal_class_error, rank_nodes


def read_edges(
    pairs: Iterable[tuple[str | int, str | int]],
    classes: Sequence[str | int] | None,
    allow_internal_classes: bool,
) -> list[NamePath]:
    """Paths of the classes, or else of all leaves, from (parent, child) pairs."""
    parents = _parents(pairs)
    inner = set(parents.values())
    paths = _node_paths(parents)
    if classes is None:
        classes = [child for child in parents if child not in inner]
    classes = as_names(classes, "the list of classes")
    for name in classes:
        if not paths.get(name):
            raise UserError(
                f"the class {name!r} is not a node below the root of the edges"
            )
        if name in inner and not allow_internal_classes:
            raise internal_class_error(name, "other nodes")
    return [paths[name] for name in classes]


def _parents(pairs: Iterable[tuple[str | int, str | int]]) -> dict[str, str]:
    """Child -> parent, in the order of the pairs."""
    parents: dict[str, str] = {}
    for i, pair in enumerate(pairs):
        names = as_path(pair, f"edge {i}")
        if len(names) != 2:
            raise UserError(f"edge {i} has {len(names)} names, not (parent, child)")
        parent, child = names
        if parent == child:
            raise UserError(f"edge {i} makes the node {child!r} its own parent")
        if parents.setdefault(child, parent) != parent:
            raise UserError(
                f"the node {child!r} has two parents, {parents[child]!r} and "
                f"{parent!r}; a tree allows one"
            )
    return parents


def _node_paths(parents: dict[str, str]) -> dict[str, NamePath]:
    """Path of every node; an only root is left out of them and has the path ()."""
    roots = {parent for parent in parents.values() if parent not in parents}
    paths = {root: (root,) if len(roots) > 1 else () for root in roots}
    for node in parents:
        way: list[str] = []
        passed: set[str] = set()
        while node not in paths:
            if node in passed:
                cycle = [node, *reversed(way[way.index(node) :])]
                raise UserError(
                    f"the edges have a cycle: {' -> '.join(map(repr, cycle))}"
                )
            way.append(node)
            passed.add(node)
            node = parents[node]
        for child in reversed(way):
            paths[child] = (*paths[parents[child]], child)
    return paths


def read_level_labels(labels: Any) -> list[NamePath]:
    """Paths of the classes that occur among rows of labels, sorted like nodes."""
    rows, _ = unique_rows(labels)
    width = max(map(len, rows), default=0)
    known = {known_path(row, number) for row, number in rows.items()}
    inner = {path[:end] for path in known for end in range(len(path))}
    classes = list(known - inner - {()})
    depth = max(map(len, classes), default=0)
    if depth < max(width, 1):
        raise UserError(
            f"level {depth} is unknown in all {len(rows)} different rows of the "
            "labels; every level must be known somewhere"
        )
    trie = grow_trie(classes)
    order = np.argsort(rank_nodes(trie.children)[trie.nodes[:, -1]])
    return [classes[i] for i in order]


def unique_rows(rows: Any) -> tuple[dict[tuple, int], np.ndarray]:
    """Different rows with the number of their first occurrence, and which is where."""
    if hasattr(rows, "__array__"):
        rows = np.asarray(rows).tolist()
    first: dict[tuple, int] = {}
    firsts = np.array(
        [
            first.setdefault(as_row(row, f"row {number}"), number)
            for number, row in enumerate(rows)
        ],
        np.intp,
    )
    return first, np.unique(firsts, return_inverse=True)[1]


def known_path(row: tuple, number: int) -> NamePath:
    """Names of row ``number`` of raw labels without its unknown suffix."""
    # numpy turns a -1 among strings into '-1'.
    unknown = [value in (None, "", "-1", UNKNOWN) for value in row]
    depth = unknown.index(True) if True in unknown else len(row)
    if False in unknown[depth:]:
        level = unknown.index(False, depth)
        raise UserError(
            f"row {number} has the label {row[level]!r} at level {level} below the "
            f"unknown level {depth}; unknown levels must be the last ones of a row"
        )
    return as_names(row[:depth], f"row {number}")


def read_csv(path: str | os.PathLike) -> list[NamePath]:
    """Paths in a table of one class per row; messages do not name the file."""
    rows = read_table(path)
    column = next((name for name in ("Hierarchy", "Path") if name in rows[0]), None)
    if column is None:
        raise UserError(f"needs a column 'Path' or 'Hierarchy', found {list(rows[0])}")
    # Without integer numbers the rows stay in the order of the file.
    with contextlib.suppress(KeyError, ValueError, TypeError):
        rows.sort(key=lambda row: int(row["Number"]))
    cells = [row[column] for row in rows]
    return [
        as_names(path or ("",), f"the path {cell!r}")
        for path, cell in zip(split_paths(cells), cells, strict=True)
    ]


def read_table(path: str | os.PathLike) -> list[dict[str, str]]:
    """Reads a table with a header; messages do not name the file.

    Columns are separated by that of ``,``, ``;``, tab and ``|`` which makes most of
    the header; cells may be quoted, blank lines are skipped.

    Args:
      path: A UTF-8 file, with or without a byte order mark.

    Returns:
      One dict a row, at least one; cells and names without spaces around them, a cell
      that the row lacks is ``''``.

    Raises:
      UserError: It cannot be read, is empty, has a column twice or a row that is longer
        than the header.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = max(",;\t|", key=lambda mark: len(_cells(first, mark)))
            file.seek(0)
            lines = [line for line in csv.reader(file, delimiter=delimiter) if line]
    except UnicodeDecodeError as error:
        raise UserError(
            f"is no text in UTF-8 ({error}); save it as CSV in UTF-8"
        ) from None
    except (OSError, csv.Error) as error:
        raise UserError(f"cannot be read as a CSV table: {error}") from None
    if len(lines) < 2:
        raise UserError("has no rows below a header")
    header = [name.strip() for name in lines[0]]
    for name, times in Counter(header).items():
        if times > 1 and name:
            raise UserError(f"has the column {name!r} {times} times, not once")
    rows = []
    for number, line in enumerate(lines[1:]):
        if len(line) > len(header):
            raise UserError(
                f"has {len(line)} cells in row {number} below a header of "
                f"{len(header)}; put cells that hold {delimiter!r} in double quotes"
            )
        cells = [cell.strip() for cell in line]
        rows.append(dict(itertools.zip_longest(header, cells, fillvalue="")))
    return rows


def split_paths(cells: Sequence[str]) -> list[tuple[str, ...]]:
    """Paths in the cells of a column; ``//`` separates names if it occurs, else ``/``.

    An empty cell is the empty path.
    """
    separator = "//" if any("//" in cell for cell in cells) else "/"
    return [tuple(cell.split(separator)) if cell else () for cell in cells]


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])
