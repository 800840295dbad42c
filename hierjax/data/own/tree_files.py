"""Label trees that the user wrote down: tables, Newick, NEXUS, lists of edges."""

import pathlib
import re

from hierjax.edges import ParentRule
from hierjax.errors import MissingDataError, UserError, notice
from hierjax.hierarchy import Hierarchy
from hierjax.text_files import read_text, split_line
from hierjax.tree_readers import (
    EdgeColumns,
    EdgeOrder,
    find_edges,
    read_edge_header,
    read_edge_lines,
)

_TABLES = (".csv", ".tsv")
_EDGES = (".txt", ".edges")
_TREES = (".nwk", ".newick", ".tre", ".tree", ".nhx", ".nex", ".nexus")
_WORDS = re.compile(r'"((?:[^"]|"")*)"|(\S+)')


def read_hierarchy(
    path: str | pathlib.Path,
    parents: ParentRule = "error",
    edge_order: EdgeOrder | None = None,
) -> Hierarchy:
    """Reads a tree by the ending of its file's name.

    ``.csv`` and ``.tsv`` are tables (`Hierarchy.from_csv`); ``.nwk``, ``.newick``,
    ``.tre``, ``.tree``, ``.nhx``, ``.nex`` and ``.nexus`` hold Newick or NEXUS text;
    ``.txt`` and ``.edges`` one pair a line, separated by a tab, a comma, a semicolon or
    spaces (the first of these that the line has), names in double quotes if need be.
    Of these, lines that begin with ``#`` are comments, and a header is one that names
    parent and child. Classes that are also ancestors are allowed; in a list of pairs
    the leaves are the classes.

    Args:
      path: The file.
      parents: What to do with a node of several parents, see `Hierarchy.from_edges`.
      edge_order: Which is first in a pair, 'parent_child' or 'child_parent'; None takes
        what a header says, or parent first.

    Raises:
      UserError: No such file, another ending, a line that is no pair, or a bad tree;
        the message names the file.
    """
    path = pathlib.Path(path)
    ending = path.suffix.lower()
    if ending not in (*_TABLES, *_EDGES, *_TREES):
        endings = ", ".join((*_TABLES, *_EDGES, *_TREES))
        raise UserError(f"{path}: a tree file ends in {endings}, got {path.suffix!r}")
    if ending in _TABLES:
        return Hierarchy.from_csv(
            path,
            allow_internal_classes=True,
            parents=parents,
            edge_order=edge_order,
        )
    try:
        text = read_text(path)
        if ending in _TREES:
            return Hierarchy.from_newick(text, allow_internal_classes=True)
        return Hierarchy.from_paths(_read_edges(text, parents, edge_order))
    except MissingDataError as error:
        raise MissingDataError(f"{path}: {error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read_edges(
    text: str, parents: ParentRule, edge_order: EdgeOrder | None
) -> list[tuple[str, ...]]:
    lines: list[list[str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        cells = _cells(line)
        is_header = not lines and read_edge_header(cells) is not None
        is_comment = line.lstrip().startswith("#") and not (
            is_header and len(cells) == 2
        )
        if not cells or is_comment:
            continue
        width = len(lines[0]) if lines else len(cells) if is_header else 2
        if len(cells) != width:
            raise UserError(f"line {number} must be 'parent child', got {line!r}")
        lines.append(cells)
    if not lines:
        raise UserError("has no pairs in it")
    columns = find_edges(lines, edge_order)
    if columns is None or read_edge_header(lines[0]) is None:
        # What may be a header in a table is a pair like all others here.
        columns = (columns or EdgeColumns(0, 1, False))._replace(has_header=False)
        others = {name for line in lines[1:] for name in line}
        if len(lines) > 2 and not others & set(lines[0]):
            notice(
                f"the names of the first line, {' and '.join(map(repr, lines[0]))}, "
                "occur in no other: if it is a header, call its columns parent and "
                "child"
            )
    return read_edge_lines(lines, columns, parents)


def _cells(line: str) -> list[str]:
    """Cells of a line; the first separator that it has outside quotes counts."""
    line = line.strip("\n\r ")
    for delimiter in "\t,;":
        cells = split_line(line, delimiter)
        if len(cells) > 1:
            return cells
    return [(a or b).replace('""', '"') for a, b in _WORDS.findall(line)]
