"""What users have instead of paths: label columns and tables.

Each reader turns its input into one path per class; `Hierarchy` documents the formats.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from hierjax.edges import ParentRule, read_edges
from hierjax.errors import UserError, notice
from hierjax.label_rows import LabelRows, read_label_rows
from hierjax.names import MISSING_WORDS, NamePath, as_names, read_cell, split_paths
from hierjax.text_files import Table, as_table, read_lines
from hierjax.trie import grow_trie, rank_nodes

EdgeOrder = Literal["parent_child", "child_parent"]
"""Which column of a list of edges is which."""

RANKS = tuple(
    "domain superkingdom kingdom subkingdom phylum division subphylum superclass class "
    "subclass superorder order suborder superfamily family subfamily tribe genus "
    "subgenus species subspecies variety".split()
)
"""Columns that are levels in this order, wherever they stand in a table."""

_MAIN_RANKS = frozenset("kingdom phylum class order family genus species".split())
_PATH_COLUMNS = ("hierarchy", "path")
# What a header calls parents and children; the first pair that it has counts.
_HEADERS = (
    (
        {"parent", "superclass", "hypernym", "ancestor"},
        {"child", "subclass", "hyponym"},
    ),
    ({"parent", "superclass", "hypernym"}, {"node", "name", "class", "label", "taxon"}),
    ({"parentid"}, {"id", "childid", "nodeid", "taxonid", "classid"}),
    ({"parentname"}, {"name", "childname", "nodename", "classname"}),
    ({"source"}, {"target"}),
    ({"from"}, {"to"}),
)


class TreeTable(NamedTuple):
    """The classes of a table.

    Attributes:
      paths: One a class.
      level_names: Of the columns, None where they tell none.
    """

    paths: list[NamePath]
    level_names: tuple[str, ...] | None = None


def read_level_labels(rows: LabelRows) -> tuple[list[NamePath], np.ndarray]:
    """Paths of the classes that occur among rows of labels, sorted like nodes.

    Also ``[C, L]`` the ranks of their nodes, see `rank_nodes`.
    """
    known = [path for path in rows.paths if path]
    depth = max(map(len, known), default=0)
    if depth < max(rows.width, 1):
        raise UserError(
            f"level {depth} is unknown in all {len(rows.paths)} different rows of the "
            "labels; every level must be known somewhere"
        )
    trie = grow_trie(known)
    ends = trie.nodes[:, -1]
    is_parent = np.zeros(len(trie.names) + 1, bool)
    is_parent[trie.parents] = True
    leaves = np.flatnonzero(~is_parent[ends])
    ranks = rank_nodes(trie)[trie.nodes[leaves]]
    order = np.argsort(ranks[:, -1])
    return [known[i] for i in leaves[order].tolist()], ranks[order]


def read_tree_table(
    path: str | os.PathLike, parents: ParentRule, edge_order: EdgeOrder | None
) -> TreeTable:
    """Reads a tree in a table; messages do not name the file.

    See `Hierarchy.from_csv` for what columns mean.
    """
    lines, delimiter = read_lines(path)
    if not lines:
        raise UserError("has no rows below a header")
    edges = find_edges(lines, edge_order)
    if edges is not None:
        if edges.has_header and read_edge_header(lines[0]) is None:
            notice(f"the first line of pairs, {lines[0]}, is taken for a header")
        return TreeTable(read_edge_lines(lines, edges, parents))
    if len(lines) < 2:
        raise UserError("has no rows below a header")
    table = as_table(lines, delimiter)
    column = find_column(table[0], _PATH_COLUMNS)
    if column is not None:
        return TreeTable(_paths_in(table, column))
    levels = find_levels(list(table[0]))
    if len(levels) < 2:
        raise UserError(
            "needs a column 'Path' or 'Hierarchy', columns 'parent' and 'child', or a "
            f"column a level, found {list(table[0])}"
        )
    notice(f"the levels of the tree are the columns {', '.join(levels)}")
    rows = read_label_rows([tuple(row[level] for level in levels) for row in table])
    rows.tell_missing("the tree")
    return TreeTable(read_level_labels(rows)[0], tuple(levels))


def find_column(columns: Iterable[str], names: Sequence[str]) -> str | None:
    """The column called like the first of these, whatever its capitals."""
    by_name = {column.lower(): column for column in reversed(list(columns))}
    return next((by_name[name] for name in names if name in by_name), None)


def find_levels(columns: Sequence[str]) -> list[str]:
    """Those of a table's columns that are levels, coarsest first.

    Where three main ranks of taxonomy are among them these are the ranks alone, in
    their order; else all that have a name and are no numbers of rows.
    """
    ranked = {column.lower(): column for column in columns if column.lower() in RANKS}
    if len(_MAIN_RANKS & ranked.keys()) > 2:
        return [ranked[rank] for rank in RANKS if rank in ranked]
    numbers = ("number", "id", "index", "no", "count")
    return [name for name in columns if name and name.lower() not in numbers]


def _paths_in(table: Table, column: str) -> list[NamePath]:
    # Without integer numbers the rows stay in the order of the file.
    number = find_column(table[0], ("number",))
    with contextlib.suppress(KeyError, ValueError):
        table = sorted(table, key=lambda row: int(row[number]))
    cells = [row[column] for row in table]
    return [
        as_names(path or ("",), f"the path {cell!r}")
        for path, cell in zip(split_paths(cells), cells, strict=True)
    ]


class EdgeColumns(NamedTuple):
    """Where the lines of a table have parents and children.

    Attributes:
      parent: Number of the column.
      child: Number of the column.
      has_header: Whether the first line is one.
    """

    parent: int
    child: int
    has_header: bool


def find_edges(lines: list[list[str]], asked: EdgeOrder | None) -> EdgeColumns | None:
    """Whether the lines of a table are edges, and where.

    They are where the header names parent and child, the order is asked for, or there
    are two columns that share names or whose first line is none of a header, because
    its names occur below.
    """
    if asked not in (None, *get_args(EdgeOrder)):
        raise UserError(
            f"edge_order must be one of {', '.join(get_args(EdgeOrder))}, got {asked!r}"
        )
    said = read_edge_header(lines[0])
    if asked is None and said is not None:
        return said
    if asked is not None:
        if said is None and any(len(line) > 2 for line in lines):
            raise UserError(
                f"has {max(map(len, lines))} columns; pairs have two, or a header that "
                f"names parent and child, found {lines[0]}"
            )
        first, second = sorted(said[:2]) if said is not None else (0, 1)
        places = (first, second) if asked == "parent_child" else (second, first)
        return EdgeColumns(*places, said is not None)
    is_path = find_column(lines[0], _PATH_COLUMNS) is not None
    if len(lines) < 2 or is_path or any(len(line) != 2 for line in lines):
        return None
    has_header = not {*lines[0]} & {name for line in lines[1:] for name in line}
    left, right = ({*column} - {""} for column in zip(*lines, strict=True))
    return EdgeColumns(0, 1, has_header) if left & right or not has_header else None


def read_edge_header(cells: Sequence[str]) -> EdgeColumns | None:
    """Where a header has parents and children, None if it is none of edges."""
    words = [re.sub(r"[^a-z]", "", cell.lower()) for cell in cells]
    if len(_MAIN_RANKS.intersection(words)) > 2 or {*words} & {*_PATH_COLUMNS}:
        return None
    for parents, children in _HEADERS:
        above = [i for i, word in enumerate(words) if word in parents]
        below = [i for i, word in enumerate(words) if word in children]
        if above and below:
            return EdgeColumns(above[0], below[0], True)
    return None


def _in_order(columns: EdgeColumns) -> tuple[str, str]:
    is_first = columns.parent < columns.child
    return ("parent", "child") if is_first else ("child", "parent")


def read_edge_lines(
    lines: list[list[str]], columns: EdgeColumns, parents: ParentRule = "error"
) -> list[NamePath]:
    """Paths of the leaves of edges, a pair a line.

    A child without a parent (blank, -1, a word for a missing value) is a top node.
    """
    pairs, tops = [], []
    for number, line in enumerate(lines[columns.has_header :]):
        if not any(line):
            continue
        if len(line) <= max(columns[:2]) or not line[columns.child]:
            raise UserError(
                f"row {number} must be {' '.join(_in_order(columns))!r}, got {line}"
            )
        parent, child = line[columns.parent], line[columns.child]
        if not read_cell(parent) or parent in MISSING_WORDS:
            tops.append(child)
        else:
            pairs.append((parent, child))
    # An only root is no level; several stand below one that is none either.
    if len(tops) > 1:
        root = "root"
        used = {name for pair in pairs for name in pair}
        while root in used:
            root = f"_{root}"
        pairs = [*((root, top) for top in tops), *pairs]
    return read_edges(pairs, None, False, parents)
