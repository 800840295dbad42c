"""What users have instead of paths: edges, label columns, CSV files.

Each reader turns its input into one path per class; `Hierarchy` documents the formats.
"""

import contextlib
import csv
import os
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
    rows = _read_table(path)
    column = next((name for name in ("Hierarchy", "Path") if name in rows[0]), None)
    if column is None:
        raise UserError(f"needs a column 'Path' or 'Hierarchy', found {list(rows[0])}")
    # Without integer numbers the rows stay in the order of the file.
    with contextlib.suppress(KeyError, ValueError, TypeError):
        rows.sort(key=lambda row: int(row["Number"]))
    cells = [row[column] or "" for row in rows]
    separator = "//" if any("//" in cell for cell in cells) else "/"
    return [as_names(cell.split(separator), f"the path {cell!r}") for cell in cells]


def _read_table(path: str | os.PathLike) -> list[dict[str, str]]:
    """Rows of a file separated by ``,`` or ``|``, at least one."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            delimiter = "|" if "|" in file.readline() else ","
            file.seek(0)
            rows = list(csv.DictReader(file, delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot be read as a CSV table: {error}") from None
    if not rows:
        raise UserError("has no rows below a header")
    return rows
