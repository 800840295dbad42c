"""The nodes that a set of paths makes up, and how they are numbered."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hierjax.errors import UserError
from hierjax.names import NamePath

ROOT = -1
"""The virtual root above the top nodes."""


class Trie(NamedTuple):
    """All nodes of a tree, numbered in the order in which the paths bring them up.

    Attributes:
      children: (parent node, name) -> node; the i-th entry is node i, and a parent
        comes before its children. The virtual root is `ROOT`.
      nodes: ``[C, L]`` node of each class on each level, the last one repeated.
    """

    children: dict[tuple[int, str], int]
    nodes: np.ndarray

    def paths(self) -> list[NamePath]:
        """Path of every node."""
        paths: list[NamePath] = []
        for parent, name in self.children:
            paths.append((name,) if parent == ROOT else (*paths[parent], name))
        return paths


def grow_trie(paths: Sequence[NamePath]) -> Trie:
    """Makes the trie of one or more paths."""
    children: dict[tuple[int, str], int] = {}
    nodes = np.empty((len(paths), max(map(len, paths))), np.intp)
    for row, path in zip(nodes, paths, strict=True):
        node = ROOT
        for level, name in enumerate(path):
            node = children.setdefault((node, name), len(children))
            row[level] = node
        row[len(path) :] = node
    return Trie(children, nodes)


def rank_nodes(children: dict[tuple[int, str], int]) -> np.ndarray:
    """Position of each node of a trie, deepest level first, in the order of ids."""
    parents, names = zip(*children, strict=True)
    levels: list[list[int]] = []
    depths: list[int] = []
    for node, parent in enumerate(parents):
        depths.append(0 if parent == ROOT else depths[parent] + 1)
        if depths[node] == len(levels):
            levels.append([])
        levels[depths[node]].append(node)

    place = [0] * len(names)
    for level in levels:
        repeats = len({names[node] for node in level}) < len(level)
        keys = {
            node: (place[parents[node]] if repeats else 0, _sort_key(names[node]))
            for node in level
        }
        level.sort(key=keys.__getitem__)
        for position, node in enumerate(level):
            place[node] = position

    ranks = np.empty(len(names), np.intp)
    ranks[np.concatenate(levels[::-1])] = np.arange(len(names))
    return ranks


def number_nodes(trie: Trie) -> np.ndarray:
    """Node ids ``int32 [C, L]`` in the order that `Hierarchy` documents."""
    ranks = rank_nodes(trie.children)[trie.nodes]
    ancestors = np.empty(ranks.shape, np.int32)
    for level, column in enumerate(ranks.T):
        ancestors[:, level] = np.unique(column, return_inverse=True)[1]
    ancestors[:, -1] = np.arange(len(ancestors))
    return ancestors


def check_distinct(paths: Sequence[NamePath]) -> None:
    """Requires that no two classes have the same path."""
    first: dict[NamePath, int] = {}
    for c, path in enumerate(paths):
        if first.setdefault(path, c) != c:
            raise UserError(
                f"classes {first[path]} and {c} have the same path "
                f"{'/'.join(path)!r}; a leaf may occur only once"
            )


def check_no_internal_class(paths: Sequence[NamePath], trie: Trie) -> None:
    """Requires that no class is an ancestor of another class."""
    child_names = {parent: name for parent, name in trie.children}
    for path, node in zip(paths, trie.nodes[:, -1].tolist(), strict=True):
        if node in child_names:
            raise internal_class_error("/".join(path), repr(child_names[node]))


def internal_class_error(name: str, below: str) -> UserError:
    """The error for a class that has other nodes below it."""
    return UserError(
        f"the class {name!r} is also the ancestor of {below}; "
        "this needs allow_internal_classes=True"
    )


def _sort_key(name: str) -> tuple[bool, int, str]:
    """Numbers before words, numbers by value."""
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)
