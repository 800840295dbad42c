"""The nodes that a set of paths makes up, and how they are numbered."""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hierjax.errors import UserError
from hierjax.names import NamePath

ROOT = -1
"""The virtual root above the top nodes."""

MAX_LEVELS = 10_000
"""Deeper trees are refused."""

MAX_PLACES = 50_000_000
"""Classes times levels, the size of the arrays of labels; more is refused."""


def check_size(num_classes: int, num_levels: int) -> None:
    """Requires a tree whose arrays fit; called before its paths are made.

    Raises:
      UserError: There are more than `MAX_LEVELS` or `MAX_PLACES`.
    """
    if num_levels > MAX_LEVELS or num_classes * num_levels > MAX_PLACES:
        raise UserError(
            f"the tree has {num_classes:,} classes on {num_levels:,} levels; accepted "
            f"are {MAX_LEVELS:,} levels and, classes times levels, {MAX_PLACES:,}"
        )


class Trie(NamedTuple):
    """All nodes of a tree, numbered in the order in which the paths bring them up.

    A parent comes before its children. The virtual root is `ROOT`.

    Attributes:
      parents: ``[K]`` parent of each node.
      names: Its own name, K of them.
      levels: ``[K]`` its level, 0 at the top.
      nodes: ``[C, L]`` node of each class on each level, the last one repeated.
    """

    parents: np.ndarray
    names: list[str]
    levels: np.ndarray
    nodes: np.ndarray

    def path(self, node: int) -> NamePath:
        """Path of a node."""
        way = []
        while node != ROOT:
            way.append(self.names[node])
            node = self.parents[node]
        return tuple(reversed(way))


def grow_trie(paths: Sequence[NamePath]) -> Trie:
    """Makes the trie of one or more paths, level by level."""
    lengths = np.array([len(path) for path in paths])
    num_levels = int(lengths.max())
    check_size(len(paths), num_levels)
    number: dict[str, int] = {}
    numbers = [number.setdefault(name, len(number)) for path in paths for name in path]
    labels = np.full((len(paths), num_levels), -1, np.int32)
    labels[np.arange(num_levels) < lengths[:, None]] = numbers

    nodes = np.empty_like(labels)
    above = np.full(len(paths), ROOT, np.int32)
    parents, names, firsts, sizes = [], [], [], []
    num_nodes = 0
    for level in range(num_levels):
        rows = np.flatnonzero(lengths > level)
        # Two rows share a node if they share its parent and its name.
        keys = above[rows] * np.int64(len(number)) + labels[rows, level]
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        parents.append(above[rows[first]])
        names.append(labels[rows[first], level])
        firsts.append(rows[first])
        sizes.append(len(first))
        above[rows] = num_nodes + inverse
        nodes[:, level] = above
        num_nodes += len(first)

    levels = np.repeat(np.arange(num_levels), sizes)
    order = np.lexsort((levels, np.concatenate(firsts)))
    # One entry more, so that ROOT, the last index, stays itself.
    place = np.empty(num_nodes + 1, np.int32)
    place[order], place[ROOT] = np.arange(num_nodes), ROOT
    texts = list(number)
    return Trie(
        place[np.concatenate(parents)[order]],
        [texts[i] for i in np.concatenate(names)[order].tolist()],
        levels[order],
        place[nodes],
    )


def rank_nodes(trie: Trie) -> np.ndarray:
    """Position of each node of a trie, deepest level first, in the order of ids."""
    different = set(trie.names)
    numbers = sorted(filter(str.isdecimal, different), key=_value)
    words = sorted(name for name in different if not name.isdecimal())
    rank = {name: i for i, name in enumerate((*numbers, *words))}
    name_ranks = np.array([rank[name] for name in trie.names])

    place = np.zeros(len(trie.names), np.intp)
    in_order = []
    ends = np.cumsum(np.bincount(trie.levels))
    for level in np.split(np.argsort(trie.levels, kind="stable"), ends[:-1]):
        ranks = name_ranks[level]
        if len(np.unique(ranks)) < len(ranks):
            # The virtual root has no place, and is the only parent of its level.
            level = level[np.lexsort((ranks, place[trie.parents[level]]))]
        else:
            level = level[np.argsort(ranks)]
        place[level] = np.arange(len(level))
        in_order.append(level)

    ranks = np.empty(len(trie.names), np.intp)
    ranks[np.concatenate(in_order[::-1])] = np.arange(len(trie.names))
    return ranks


def number_nodes(ranks: np.ndarray) -> np.ndarray:
    """Node ids ``int32 [C, L]`` in the order that `Hierarchy` documents.

    Args:
      ranks: ``[C, L]`` of the nodes of each class among all, see `rank_nodes`.
    """
    ancestors = np.empty(ranks.shape, np.int32)
    for level, column in enumerate(ranks.T[:-1]):
        ancestors[:, level] = np.unique(column, return_inverse=True)[1]
    ancestors[:, -1] = np.arange(len(ancestors))
    return ancestors


def check_distinct(paths: Sequence[NamePath], trie: Trie) -> None:
    """Requires that no two classes have the same path."""
    ends = trie.nodes[:, -1]
    _, firsts, inverse = np.unique(ends, return_index=True, return_inverse=True)
    again = np.flatnonzero(firsts[inverse] != np.arange(len(ends)))
    if again.size:
        c = again[0]
        raise UserError(
            f"classes {firsts[inverse[c]]} and {c} have the same path "
            f"{'/'.join(paths[c])!r}; a leaf may occur only once"
        )


def check_no_internal_class(paths: Sequence[NamePath], trie: Trie) -> None:
    """Requires that no class is an ancestor of another class."""
    is_parent = np.zeros(len(trie.names) + 1, bool)
    is_parent[trie.parents] = True
    is_parent[ROOT] = False
    inner = np.flatnonzero(is_parent[trie.nodes[:, -1]])
    if inner.size:
        below = np.flatnonzero(trie.parents == trie.nodes[inner[0], -1])[-1]
        raise internal_class_error("/".join(paths[inner[0]]), repr(trie.names[below]))


def internal_class_error(name: str, below: str) -> UserError:
    """The error for a class that has other nodes below it."""
    return UserError(
        f"the class {name!r} is also the ancestor of {below}; "
        "this needs allow_internal_classes=True"
    )


def _value(name: str) -> tuple[int, str, str]:
    """Orders numbers by value; as text, since they may be long."""
    digits = "".join(str(unicodedata.decimal(digit)) for digit in name).lstrip("0")
    return len(digits), digits, name
