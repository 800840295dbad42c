"""Label trees that the user wrote down: CSV tables, Newick, lists of edges."""

import pathlib
import re

from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy


def read_hierarchy(path: str | pathlib.Path) -> Hierarchy:
    """Reads a tree by the ending of its file's name.

    ``.csv`` is a table with a `Path` or `Hierarchy` column (`Hierarchy.from_csv`),
    ``.nwk`` and ``.newick`` hold one Newick tree, ``.txt`` and ``.edges`` one
    'parent child' pair a line, separated by a tab, a comma or spaces (the first of
    these that the line has). Classes that are also ancestors are allowed; in a list
    of pairs the leaves are the classes.

    Raises:
      UserError: No such file, another ending, a line that is no pair, or a bad tree.
    """
    path = pathlib.Path(path)
    readers = {
        ".csv": _read_csv,
        ".nwk": _read_newick,
        ".newick": _read_newick,
        ".txt": _read_edges,
        ".edges": _read_edges,
    }
    if path.suffix not in readers:
        raise UserError(
            f"{path}: a tree file ends in {', '.join(readers)}, got {path.suffix!r}"
        )
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the file of the label tree")
    try:
        return readers[path.suffix](path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error})") from None
    except UserError as error:
        # from_csv names the file itself.
        message = str(error)
        raise UserError(
            message if message.startswith(str(path)) else f"{path}: {message}"
        ) from None


def _read_csv(path: pathlib.Path) -> Hierarchy:
    return Hierarchy.from_csv(path, allow_internal_classes=True)


def _read_newick(path: pathlib.Path) -> Hierarchy:
    return Hierarchy.from_newick(path.read_text("utf-8"), allow_internal_classes=True)


def _read_edges(path: pathlib.Path) -> Hierarchy:
    pairs = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        line = line.strip()
        if not line:
            continue
        separator = next((mark for mark in "\t," if mark in line), r"\s+")
        pair = [name.strip() for name in re.split(separator, line)]
        if len(pair) != 2 or not all(pair):
            raise UserError(f"line {number} must be 'parent child', got {line!r}")
        pairs.append(pair)
    return Hierarchy.from_edges(pairs)
