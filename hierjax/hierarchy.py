"""The label tree as arrays.

A class is a path of node names, coarsest first and the class itself last; a virtual
root joins the top nodes and is neither a level nor counted in a depth. Two nodes are
the same exactly when their whole paths are, so a name may occur under many parents.
Everything is built on the host with numpy and never changes afterwards.
"""

import csv
import dataclasses
import functools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from hierjax.errors import UserError

UNKNOWN = -1
_ROOT = -1

NamePath = tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Hierarchy:
    """An immutable tree over classes; build it with one of the ``from_`` methods.

    L is the number of levels (the greatest depth), C the number of classes. A class
    that ends above level L - 1 repeats below its end as a node of its own, so that
    every class has one node on every level.

    Node ids count from 0 on each level. The ``from_`` methods give first the nodes
    that really lie on the level, sorted by name (digits as numbers) or, where a name
    occurs twice on the level, by the id of their parent and then by name; after them
    the repeated shallower classes, deeper ones first. The last level is in class order.

    Two hierarchies are equal if paths, class order and node ids are; node ids differ
    for equal paths only after ``coarsen`` and ``shuffled``, which keep the old ids.

    Attributes:
      paths: the path of each class, C tuples of names.
      class_names: C distinct names; by default the last name of the path, or the whole
        path joined by ``/`` where several classes share that name.
      level_names: L distinct names, coarsest first.
      ancestors: int32 [C, L], read-only: the node of each class on each level;
        ``ancestors[:, -1] == arange(C)``.
    """

    paths: tuple[NamePath, ...]
    class_names: tuple[str, ...]
    level_names: tuple[str, ...]
    ancestors: np.ndarray

    @classmethod
    def from_paths(
        cls,
        paths: Iterable[Sequence[str | int]],
        *,
        class_names: Sequence[str] | None = None,
        level_names: Sequence[str] | None = None,
        allow_internal_classes: bool = False,
    ) -> "Hierarchy":
        """Builds the tree from one path per class; the class order is the one given.

        Args:
          paths: C sequences of names (strings or non-negative ints), coarsest first.
          class_names: C distinct names instead of those in the paths.
          level_names: L distinct names; default ``level_0``, ``level_1``, ...
          allow_internal_classes: accept a class that is an ancestor of another class.

        Returns:
          The hierarchy.

        Raises:
          UserError: no class, an empty path or name, the same path twice, a class that
            is an ancestor (unless allowed), or names that do not fit.
        """
        paths = tuple(_name_path(path, f"path {i}") for i, path in enumerate(paths))
        if not paths:
            raise UserError("a hierarchy needs at least one class, found none")
        trie = _grow_trie(paths)
        _check_distinct(paths, trie)
        if not allow_internal_classes:
            _check_no_internal_class(paths, trie)
        num_levels = trie.nodes.shape[1]
        if level_names is None:
            level_names = [f"level_{level}" for level in range(num_levels)]
        if class_names is None:
            class_names = _distinct_names(paths)
        else:
            class_names = _given_names(class_names, "class", len(paths))
        return cls(
            paths,
            class_names,
            _given_names(level_names, "level", num_levels),
            _number_nodes(trie),
        )

    @classmethod
    def from_edges(
        cls,
        pairs: Iterable[tuple[str | int, str | int]],
        *,
        classes: Sequence[str | int] | None = None,
        level_names: Sequence[str] | None = None,
        allow_internal_classes: bool = False,
    ) -> "Hierarchy":
        """Builds the tree from (parent, child) pairs of names.

        A single root is the virtual root itself and no level; several roots are the
        nodes of level 0. A pair may be given twice.

        Args:
          pairs: the edges, in any order; a name is one node.
          classes: the classes in order, all or some of the leaves; default: all
            leaves in the order in which they first appear as a child.
          level_names: L distinct names.
          allow_internal_classes: accept nodes that have children in ``classes``.

        Returns:
          The hierarchy over ``classes``; nodes above no class are dropped.

        Raises:
          UserError: an empty name, a self loop, a node with two parents, a cycle, or a
            class that is the root, no node, or has children (unless allowed).
        """
        parents = _read_edges(pairs)
        inner = set(parents.values())
        paths = _edge_paths(parents)
        if classes is None:
            classes = [child for child in parents if child not in inner]
        classes = _names(classes, "the list of classes")
        for name in classes:
            if not paths.get(name):
                raise UserError(
                    f"the class {name!r} is not a node below the root of the edges"
                )
            if name in inner and not allow_internal_classes:
                raise _internal_class_error(name, "other nodes")
        return cls.from_paths(
            [paths[name] for name in classes],
            level_names=level_names,
            allow_internal_classes=allow_internal_classes,
        )

    @classmethod
    def from_level_labels(
        cls,
        labels: Any,
        *,
        level_names: Sequence[str] | None = None,
    ) -> "Hierarchy":
        """Builds the tree from the labels of many examples.

        The same value under two parents is two nodes. A row whose deepest known node
        has children in other rows is unknown below it and adds no class; if it has
        none, that node is a class. Classes are ordered like the nodes of a level (see
        the class docstring), so that an array of contiguous ids is what ``encode``
        makes of it. A node is named ``str(value)``.

        Args:
          labels: [N, L] ints or strings, coarsest level first, an array or nested
            sequences; -1, ``''`` and ``None`` are unknown, always as a suffix.
          level_names: L distinct names.

        Returns:
          The hierarchy of all classes that occur.

        Raises:
          UserError: a known level after an unknown one, a value that is no name, a
            last level that is unknown in every row.
        """
        rows, _ = _unique_rows(labels)
        width = max(map(len, rows), default=0)
        known = dict.fromkeys(_known_path(row, number) for row, number in rows.items())
        inner = {path[:end] for path in known for end in range(len(path))}
        classes = [path for path in known if path not in inner and path]
        depth = max(map(len, classes), default=0)
        if depth < max(width, 1):
            raise UserError(
                f"level {depth} is unknown in all {len(rows)} different rows of the "
                "labels; every level must be known somewhere"
            )
        trie = _grow_trie(classes)
        order = np.argsort(_rank_nodes(trie.children)[trie.nodes[:, -1]])
        return cls.from_paths([classes[i] for i in order], level_names=level_names)

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike,
        *,
        level_names: Sequence[str] | None = None,
        allow_internal_classes: bool = False,
    ) -> "Hierarchy":
        """Reads a table with one class per row.

        The path is in the column ``Hierarchy`` or else ``Path``, with ``//`` between
        names if that occurs anywhere in it and ``/`` otherwise. Columns are separated
        by ``|`` if the header has one and by ``,`` otherwise. The class order is that
        of the column ``Number`` if all its cells are integers, else that of the file.
        A top node that all classes share is kept as a level.

        Args:
          path: a UTF-8 file with a header.
          level_names: L distinct names.
          allow_internal_classes: accept a class that is an ancestor of another class.

        Returns:
          The hierarchy.

        Raises:
          UserError: no such file or column, or a bad tree; the message names the file.
        """
        rows = _read_table(path)
        column = next((name for name in ("Hierarchy", "Path") if name in rows[0]), None)
        if column is None:
            raise UserError(
                f"{path}: needs a column 'Path' or 'Hierarchy', found {list(rows[0])}"
            )
        try:
            rows.sort(key=lambda row: int(row["Number"]))
        except (KeyError, ValueError, TypeError):
            pass  # no integer numbers: file order
        cells = [row[column] or "" for row in rows]
        separator = "//" if any("//" in cell for cell in cells) else "/"
        try:
            return cls.from_paths(
                [_names(cell.split(separator), f"the path {cell!r}") for cell in cells],
                level_names=level_names,
                allow_internal_classes=allow_internal_classes,
            )
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    @classmethod
    def from_newick(
        cls,
        text: str,
        *,
        level_names: Sequence[str] | None = None,
        allow_internal_classes: bool = False,
    ) -> "Hierarchy":
        """Reads a tree in Newick notation; classes are in the order of the text.

        The outermost bracket is the virtual root, whatever its label. Names in single
        quotes may hold anything (``''`` is a quote); underscores stay as they are.
        Comments in square brackets and branch lengths are ignored, except that a leaf
        of branch length 0 with the name of its parent makes the parent itself a class,
        as ``to_newick`` writes it. Inner nodes without a name are called ``node_0``,
        ``node_1``, ... in the order in which their brackets open.

        Args:
          text: one tree.
          level_names: L distinct names.
          allow_internal_classes: accept a class that is an ancestor of another class.

        Returns:
          The hierarchy.

        Raises:
          UserError: text that is no Newick, a leaf without a name, two children of one
            node with the same name, or a bad tree.
        """
        return cls.from_paths(
            _newick_class_paths(_parse_newick(text)),
            level_names=level_names,
            allow_internal_classes=allow_internal_classes,
        )

    @property
    def num_levels(self) -> int:
        """Number of levels L, the greatest depth of a class."""
        return len(self.level_names)

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.paths)

    @functools.cached_property
    def depths(self) -> np.ndarray:
        """Length of each class's path without the virtual root, int32 [C], 1..L."""
        return _read_only(np.array([len(path) for path in self.paths], np.int32))

    @functools.cached_property
    def nodes_per_level(self) -> tuple[int, ...]:
        """Number of nodes on each level, repeated shallower classes included."""
        return tuple((self.ancestors.max(axis=0) + 1).tolist())

    def node_names(self, level: int) -> tuple[str, ...]:
        """Names of the nodes of a level in the order of their ids.

        Args:
          level: 0 = coarsest; negative counts from the finest.

        Returns:
          Distinct names: the node's own, or its path joined by ``/`` where a name
          repeats on the level; on the last level the class names.
        """
        level = range(self.num_levels)[level]
        if level == self.num_levels - 1:
            return self.class_names
        return _distinct_names(
            [self.paths[c][: level + 1] for c in self._first_classes(level)]
        )

    def path_length(self) -> np.ndarray:
        """Number of edges between each two classes.

        ``depth_a + depth_b - 2 * shared``, with ``shared`` the number of real nodes,
        without the virtual root, that both paths have. On a balanced tree this is
        ``2 * lca_height()``. On a ragged tree the two order pairs differently (two
        shallow classes may be few hops apart below a high node), and values may be
        odd; a class and its internal parent class are 1 apart.

        Returns:
          int32 [C, C], symmetric, 0 on the diagonal only; a tree metric.
        """
        return self.depths[:, None] + self.depths - 2 * self._shared_levels()

    def lca_height(self) -> np.ndarray:
        """Height of the lowest common ancestor of each two classes.

        The height of a node is the longest way down from it to a class below it, in
        hops; an internal class is its own lowest common ancestor with a class below.
        This is the distance of "Making Better Mistakes" (Bertinetto et al., CVPR 2020,
        arXiv 1912.09393) and of ImageNet's hierarchical error. It orders pairs as
        ``path_length`` does on a balanced tree only, see there.

        Returns:
          int32 [C, C], symmetric, 0 on the diagonal only; an ultrametric.
        """
        heights = np.empty((self.num_classes, self.num_levels + 1), np.int32)
        heights[:, 0] = self.num_levels
        for level, nodes in enumerate(self.ancestors.T):
            deepest = np.zeros(self.nodes_per_level[level], np.int32)
            np.maximum.at(deepest, nodes, self.depths)
            heights[:, level + 1] = deepest[nodes] - (level + 1)
        result = np.take_along_axis(heights, self._shared_levels(), axis=1)
        np.fill_diagonal(result, 0)
        return result

    def labels_of(self, class_ids: Any) -> np.ndarray:
        """Node ids of classes on all levels.

        Args:
          class_ids: [N] ints, 0..C-1, or -1 for unknown.

        Returns:
          int32 [N, L]; a row of -1 for an unknown class.

        Raises:
          UserError: an id outside this range.
        """
        ids = self._check_class_ids(class_ids, lowest=UNKNOWN)
        return np.where(ids[:, None] == UNKNOWN, UNKNOWN, self.ancestors[ids])

    def encode(self, rows: Any) -> np.ndarray:
        """Turns raw labels into node ids.

        A row that ends at a class is that class (even if it is internal); a row that
        ends at another node is unknown below it.

        Args:
          rows: N sequences of names, of any lengths, coarsest first; -1, ``''`` and
            ``None`` are unknown, always as a suffix. Arrays of ints or strings as
            given to ``from_level_labels`` are such rows.

        Returns:
          int32 [N, L], -1 for unknown levels, always a suffix.

        Raises:
          UserError: a label outside the tree, or a known level after an unknown one.
        """
        unique, inverse = _unique_rows(rows)
        nodes = [
            self._find_node(_known_path(row, number), number)
            for row, number in unique.items()
        ]
        return self._node_labels[np.array(nodes, np.intp)[inverse]]

    def to_newick(self) -> str:
        """Writes the tree in Newick notation, the virtual root unnamed.

        Names with spaces, brackets, quotes or one of ``,:;`` are quoted. An internal
        class is written as a leaf below itself with branch length 0. Class order,
        level names and names given by ``class_names`` are not kept.

        Returns:
          One line that ``from_newick`` reads back.
        """
        classes = set(self._trie.nodes[:, -1].tolist())
        below = defaultdict(list)
        # A parent's id is smaller than its children's, so they are ready before it.
        for (parent, name), node in reversed(self._trie.children.items()):
            label = _quote(name)
            inside = below.pop(node, [])
            if inside and node in classes:
                inside.append(f"{label}:0")
            text = f"({','.join(reversed(inside))}){label}" if inside else label
            below[parent].append(text)
        return f"({','.join(reversed(below[_ROOT]))});"

    def to_edges(self) -> list[tuple[str, str]]:
        """Lists the (parent, child) pairs of the tree, the virtual root included.

        Classes go by their ``class_names``; another node by its name, or by its path
        in the form ``/a/b`` where that name is taken. The virtual root is called
        ``root``, with underscores in front if a node has that name.

        Returns:
          One pair per node. ``from_edges(edges, classes=class_names)`` reads them
          back; without internal classes, ``classes`` may be left out.
        """
        class_names = dict(zip(self._trie.nodes[:, -1], self.class_names, strict=True))
        paths: list[NamePath] = []
        for parent, name in self._trie.children:
            paths.append((name,) if parent == _ROOT else (*paths[parent], name))
        taken = Counter(class_names.get(i, path[-1]) for i, path in enumerate(paths))
        names = [
            class_names.get(
                i, path[-1] if taken[path[-1]] == 1 else "/".join(("", *path))
            )
            for i, path in enumerate(paths)
        ]
        root = "root"
        while root in names:
            root = f"_{root}"
        # The last name is that of node -1, the virtual root.
        names.append(root)
        return [
            (names[parent], names[node])
            for (parent, _), node in self._trie.children.items()
        ]

    def coarsen(self, levels: Sequence[int]) -> "Hierarchy":
        """Keeps some of the levels.

        If the finest level is not among them, the nodes of the last kept level become
        the classes, with their node ids as class ids. Node ids do not change: labels
        of this tree become labels of the new one by ``labels[:, levels]``. Nodes that
        come to share name and parent are named by all the joined names they had.

        Args:
          levels: the levels to keep, strictly increasing.

        Returns:
          The hierarchy with ``len(levels)`` levels.

        Raises:
          UserError: levels that are empty, not increasing or out of range.
        """
        levels = list(levels)
        if (
            not levels
            or sorted(set(levels)) != levels
            or not set(levels) <= set(range(self.num_levels))
        ):
            raise UserError(
                f"levels {levels} must be one or more strictly increasing numbers "
                f"from 0 to {self.num_levels - 1}"
            )
        classes = self._first_classes(levels[-1])
        pieces = [_cut_path(self.paths[c], levels) for c in classes]
        return Hierarchy(
            _name_pieces(pieces),
            self.node_names(levels[-1]),
            tuple(self.level_names[level] for level in levels),
            _read_only(self.ancestors[np.ix_(classes, levels)]),
        )

    def subset(self, class_ids: Any) -> "Hierarchy":
        """Keeps some of the classes and the nodes above them.

        Args:
          class_ids: the classes to keep; they are renumbered in this order.

        Returns:
          The hierarchy of these classes, with nodes renumbered; it has fewer levels if
          none of the deepest classes stays.

        Raises:
          UserError: no class, a class twice, or an id outside 0..C-1.
        """
        ids = self._check_class_ids(class_ids, lowest=0).tolist()
        repeated = [c for c, count in Counter(ids).items() if count > 1]
        if repeated:
            raise UserError(f"class id {repeated[0]} is in the subset more than once")
        paths = [self.paths[c] for c in ids]
        return Hierarchy.from_paths(
            paths,
            class_names=[self.class_names[c] for c in ids],
            level_names=self.level_names[: max(map(len, paths), default=0)],
            allow_internal_classes=True,
        )

    def shuffled(self, key: jax.Array | int) -> "Hierarchy":
        """Assigns the classes to the positions of the tree at random.

        The shape of the tree and all inner nodes stay; every class keeps its id and
        name and takes the place of another class (or its own). This is the control
        that has the statistics of the hierarchy without its meaning. Where a node
        beside its new place has the same name, a class goes by its old path in the
        form ``/a/b`` in the new one.

        Args:
          key: a JAX random key, or a seed to make one.

        Returns:
          The shuffled hierarchy.
        """
        if isinstance(key, int | np.integer):
            key = jax.random.key(key)
        places = np.asarray(jax.random.permutation(key, self.num_classes))
        ancestors = self.ancestors[places]
        ancestors[:, -1] = np.arange(self.num_classes)

        parents, names = map(list, zip(*self._trie.children, strict=True))
        moved = self._trie.nodes[places]
        for node, path in zip(moved[:, -1], self.paths, strict=True):
            names[node] = path[-1]
        taken = Counter(zip(parents, names, strict=True))
        for node, path in zip(moved[:, -1], self.paths, strict=True):
            if taken[parents[node], path[-1]] > 1:
                names[node] = "/".join(("", *path))
        paths = tuple(
            tuple(names[node] for node in nodes[:depth])
            for nodes, depth in zip(moved, self.depths[places], strict=True)
        )
        return dataclasses.replace(self, paths=paths, ancestors=_read_only(ancestors))

    def sibling_overlap(self, other: "Hierarchy") -> float:
        """Share of the pairs of siblings here that are siblings in another tree too.

        Siblings are two classes whose paths differ in the last name only; classes of
        depth 1 are siblings below the virtual root. Classes are matched by id.

        Args:
          other: a hierarchy of as many classes.

        Returns:
          A number from 0 to 1; NaN if no two classes are siblings here.

        Raises:
          UserError: different numbers of classes.
        """
        if self.num_classes != other.num_classes:
            raise UserError(
                f"cannot compare hierarchies of {self.num_classes} and "
                f"{other.num_classes} classes; the numbers must be equal"
            )
        here = self._sibling_pairs()
        return float(other._sibling_pairs()[here].mean()) if here.any() else np.nan

    def __eq__(self, other: object) -> bool:
        """Whether paths, class order and node ids are the same."""
        if not isinstance(other, Hierarchy):
            return NotImplemented
        return self.paths == other.paths and np.array_equal(
            self.ancestors, other.ancestors
        )

    def __hash__(self) -> int:
        """Hash of the paths."""
        return hash(self.paths)

    def __repr__(self) -> str:
        """Numbers of classes, levels and nodes, in one line."""
        nodes = "/".join(map(str, self.nodes_per_level))
        return (
            f"Hierarchy({self.num_classes} classes, {self.num_levels} levels, "
            f"nodes per level {nodes})"
        )

    @functools.cached_property
    def _trie(self) -> "_Trie":
        return _grow_trie(self.paths)

    @functools.cached_property
    def _node_labels(self) -> np.ndarray:
        """Labels of a row that ends at a trie node; last, at index _ROOT, all -1."""
        nodes = self._trie.nodes
        table = np.full((len(self._trie.children) + 1, self.num_levels), UNKNOWN)
        for level in range(self.num_levels):
            real = self.depths > level
            table[nodes[real, level], : level + 1] = self.ancestors[real, : level + 1]
        table[nodes[:, -1]] = self.ancestors
        return _read_only(table.astype(np.int32))

    def _find_node(self, path: NamePath, number: int) -> int:
        """Trie node of a path that row ``number`` of the labels names."""
        node = _ROOT
        for level, name in enumerate(path):
            node = self._trie.children.get((node, name))
            if node is None:
                above = repr("/".join(path[:level])) if level else "the root"
                raise UserError(
                    f"row {number} has the label {name!r} at level {level}, "
                    f"but {above} has no such node below it in {self!r}"
                )
        return node

    def _first_classes(self, level: int) -> np.ndarray:
        """The first class below each node of a level, [nodes]."""
        return np.unique(self.ancestors[:, level], return_index=True)[1]

    def _shared_levels(self) -> np.ndarray:
        """Number of real nodes that two paths have in common, int32 [C, C]."""
        shared = np.zeros((self.num_classes, self.num_classes), np.int32)
        # A repeated node has one class: off the diagonal, equal nodes are real ones.
        for nodes in self.ancestors.T:
            shared += nodes[:, None] == nodes
        np.fill_diagonal(shared, self.depths)
        return shared

    def _sibling_pairs(self) -> np.ndarray:
        """Which pairs a < b have the same parent, bool [C, C]."""
        ids: dict[NamePath, int] = {}
        parents = np.array([ids.setdefault(p[:-1], len(ids)) for p in self.paths])
        return np.triu(parents[:, None] == parents, k=1)

    def _check_class_ids(self, class_ids: Any, lowest: int) -> np.ndarray:
        ids = np.asarray(class_ids)
        if ids.size == 0:
            ids = ids.astype(np.int32)
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise UserError(
                f"class ids have shape {ids.shape} and type {ids.dtype}; "
                "a list of integers is needed"
            )
        bad = np.flatnonzero((ids < lowest) | (ids >= self.num_classes))
        if bad.size:
            raise UserError(
                f"class id {ids[bad[0]]} at position {bad[0]} is not in the range "
                f"{lowest}..{self.num_classes - 1}"
            )
        return ids


class _Trie(NamedTuple):
    """All nodes of a tree, numbered in the order in which the paths bring them up.

    children: (parent node, name) -> node; the i-th entry is node i, and a parent comes
      before its children. The virtual root is _ROOT.
    nodes: [C, L] node of each class on each level, the last one repeated.
    """

    children: dict[tuple[int, str], int]
    nodes: np.ndarray


def _grow_trie(paths: Sequence[NamePath]) -> _Trie:
    children: dict[tuple[int, str], int] = {}
    nodes = np.empty((len(paths), max(map(len, paths))), np.intp)
    for row, path in zip(nodes, paths, strict=True):
        node = _ROOT
        for level, name in enumerate(path):
            node = children.setdefault((node, name), len(children))
            row[level] = node
        row[len(path) :] = node
    return _Trie(children, nodes)


def _rank_nodes(children: dict[tuple[int, str], int]) -> np.ndarray:
    """Position of each trie node, deepest level first, in the order of node ids."""
    parents, names = zip(*children, strict=True)
    levels: list[list[int]] = []
    depths: list[int] = []
    for node, parent in enumerate(parents):
        depths.append(0 if parent == _ROOT else depths[parent] + 1)
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


def _number_nodes(trie: _Trie) -> np.ndarray:
    """Node ids [C, L] as the docstring of Hierarchy defines them."""
    ranks = _rank_nodes(trie.children)[trie.nodes]
    ancestors = np.empty(ranks.shape, np.int32)
    for level, column in enumerate(ranks.T):
        ancestors[:, level] = np.unique(column, return_inverse=True)[1]
    ancestors[:, -1] = np.arange(len(ancestors))
    return _read_only(ancestors)


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _sort_key(name: str) -> tuple[bool, int, str]:
    """Numbers before words, numbers by value."""
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def _distinct_names(paths: Sequence[NamePath]) -> tuple[str, ...]:
    """Last name of each path, or the whole path where several end alike."""
    counts = Counter(path[-1] for path in paths)
    return tuple(
        path[-1] if counts[path[-1]] == 1 else "/".join(path) for path in paths
    )


def _names(values: Iterable[Any], where: str) -> NamePath:
    values = tuple(values)
    for i, value in enumerate(values):
        number = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not (value >= 0 if number else isinstance(value, str) and value.strip()):
            raise UserError(
                f"{where} has {value!r} at position {i}; a name is a non-empty string "
                "or a non-negative integer"
            )
    return tuple(map(str, values))


def _name_path(path: Any, where: str) -> NamePath:
    names = _names(_as_tuple(path, where), where)
    if not names:
        raise UserError(f"{where} is empty; a path has one or more names")
    return names


def _as_tuple(row: Any, where: str) -> tuple:
    if not isinstance(row, str | bytes):
        try:
            values = tuple(row)
            hash(values)
            return values
        except TypeError:
            pass
    raise UserError(f"{where} is {row!r}; it must be a sequence of names")


def _given_names(names: Sequence[str], kind: str, count: int) -> tuple[str, ...]:
    names = _names(names, f"the list of {kind} names")
    if len(names) != count:
        raise UserError(
            f"found {len(names)} {kind} names where {count} distinct ones are needed"
        )
    for name, times in Counter(names).items():
        if times > 1:
            raise UserError(f"the {kind} name {name!r} occurs {times} times, not once")
    return names


def _check_distinct(paths: Sequence[NamePath], trie: _Trie) -> None:
    first: dict[int, int] = {}
    for c, node in enumerate(trie.nodes[:, -1].tolist()):
        if first.setdefault(node, c) != c:
            raise UserError(
                f"classes {first[node]} and {c} have the same path "
                f"{'/'.join(paths[c])!r}; a leaf may occur only once"
            )


def _check_no_internal_class(paths: Sequence[NamePath], trie: _Trie) -> None:
    child_names = {parent: name for parent, name in trie.children}
    for path, node in zip(paths, trie.nodes[:, -1].tolist(), strict=True):
        if node in child_names:
            raise _internal_class_error("/".join(path), repr(child_names[node]))


def _internal_class_error(name: str, below: str) -> UserError:
    return UserError(
        f"the class {name!r} is also the ancestor of {below}; "
        "this needs allow_internal_classes=True"
    )


def _unique_rows(rows: Any) -> tuple[dict[tuple, int], np.ndarray]:
    """Different rows with the number of their first occurrence, and which is where."""
    if hasattr(rows, "__array__"):
        rows = np.asarray(rows).tolist()
    first: dict[tuple, int] = {}
    firsts = np.array(
        [
            first.setdefault(_as_tuple(row, f"row {number}"), number)
            for number, row in enumerate(rows)
        ],
        np.intp,
    )
    return first, np.unique(firsts, return_inverse=True)[1]


def _known_path(row: tuple, number: int) -> NamePath:
    """Names of a row of raw labels without its unknown suffix."""
    # numpy turns a -1 among strings into '-1'.
    unknown = [value in (None, "", "-1", UNKNOWN) for value in row]
    depth = unknown.index(True) if True in unknown else len(row)
    if False in unknown[depth:]:
        level = unknown.index(False, depth)
        raise UserError(
            f"row {number} has the label {row[level]!r} at level {level} below the "
            f"unknown level {depth}; unknown levels must be the last ones of a row"
        )
    return _names(row[:depth], f"row {number}")


def _read_table(path: str | os.PathLike) -> list[dict[str, str]]:
    """Rows of a file separated by ``,`` or ``|``, at least one."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            delimiter = "|" if "|" in file.readline() else ","
            file.seek(0)
            rows = list(csv.DictReader(file, delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a CSV table: {error}") from None
    if not rows:
        raise UserError(f"{path}: has no rows below a header")
    return rows


def _read_edges(pairs: Iterable[tuple[str | int, str | int]]) -> dict[str, str]:
    """Child -> parent, in the order of the pairs."""
    parents: dict[str, str] = {}
    for i, pair in enumerate(pairs):
        names = _name_path(pair, f"edge {i}")
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


def _edge_paths(parents: dict[str, str]) -> dict[str, NamePath]:
    """Path of every node; an only root is left out of them and has the path ()."""
    children = defaultdict(list)
    for child, parent in parents.items():
        children[parent].append(child)
    roots = [node for node in children if node not in parents]
    paths = {root: (root,) if len(roots) > 1 else () for root in roots}
    frontier = list(roots)
    while frontier:
        node = frontier.pop()
        for child in children.get(node, ()):
            paths[child] = (*paths[node], child)
            frontier.append(child)
    unreached = [node for node in parents if node not in paths]
    if unreached:
        raise UserError(f"the edges have a cycle: {_find_cycle(unreached[0], parents)}")
    return paths


def _find_cycle(node: str, parents: dict[str, str]) -> str:
    seen: list[str] = []
    while node not in seen:
        seen.append(node)
        node = parents[node]
    cycle = [node, *reversed(seen[seen.index(node) :])]
    return " -> ".join(map(repr, cycle))


def _cut_path(path: NamePath, levels: Sequence[int]) -> tuple[NamePath, ...]:
    """The path in pieces that end at the kept levels, or with the path."""
    ends = sorted({min(level + 1, len(path)) for level in levels})
    starts = [0, *ends[:-1]]
    return tuple(path[start:end] for start, end in zip(starts, ends, strict=True))


def _name_pieces(paths: Sequence[tuple[NamePath, ...]]) -> tuple[NamePath, ...]:
    """One name per piece: its last one, or all joined if siblings end alike."""
    alike = defaultdict(set)
    for path in paths:
        for level, piece in enumerate(path):
            alike[path[:level], piece[-1]].add(piece)
    return tuple(
        tuple(
            piece[-1] if len(alike[path[:level], piece[-1]]) == 1 else "/".join(piece)
            for level, piece in enumerate(path)
        )
        for path in paths
    )


@dataclasses.dataclass
class _NewickNode:
    """A node of a Newick text, listed in the order in which the nodes begin."""

    parent: int
    position: int
    name: str = ""
    length: float | None = None


_NEWICK_TOKEN = re.compile(
    r"""(?P<skip>\s+|\[[^\]]*\])
    |(?P<quoted>'(?:[^']|'')*')
    |(?P<mark>[(),:;])
    |(?P<bare>[^\s()\[\]:;,'][^()\[\]:;,']*)""",
    re.VERBOSE,
)
# What may stand before each token: ^ the start, n a name, l a branch length.
_NEWICK_BEFORE = {
    "(": "^(,",
    "n": "^(,)",
    ":": "^(,)n",
    "l": ":",
    ",": "(,)nl",
    ")": "(,)nl",
    ";": "^)nl",
}


def _newick_tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Kind (a key of _NEWICK_BEFORE), value and position of each token."""
    position, before = 0, "^"
    while position < len(text):
        match = _NEWICK_TOKEN.match(text, position)
        if match is None:
            raise _newick_error(text, position)
        value = match.group()
        if match.lastgroup != "skip":
            kind = value
            if match.lastgroup != "mark":
                kind = "l" if before == ":" else "n"
            if before not in _NEWICK_BEFORE[kind]:
                raise _newick_error(text, position)
            if match.lastgroup == "quoted":
                value = value[1:-1].replace("''", "'")
            yield kind, value.strip() if match.lastgroup == "bare" else value, position
            before = kind
        position = match.end()
    if before == ":":
        raise _newick_error(text, position)


def _newick_error(text: str, position: int) -> UserError:
    found = repr(text[position : position + 20]) if position < len(text) else "the end"
    return UserError(f"the Newick text has {found} at character {position}, not a tree")


def _parse_newick(text: str) -> list[_NewickNode]:
    """All nodes of the tree, the root first; without recursion, for deep trees."""
    nodes = [_NewickNode(parent=_ROOT, position=0)]
    current = 0
    for kind, value, position in _newick_tokens(text):
        if kind in ",)" and current == 0:
            raise _newick_error(text, position)
        if kind in "(,":
            parent = current if kind == "(" else nodes[current].parent
            nodes.append(_NewickNode(parent, position + 1))
            current = len(nodes) - 1
        elif kind == ")":
            current = nodes[current].parent
        elif kind == "n":
            nodes[current].name = value
        elif kind == "l":
            try:
                nodes[current].length = float(value)
            except ValueError:
                raise UserError(
                    f"the Newick text has the branch length {value!r} at character "
                    f"{position}; it must be a number"
                ) from None
    if current != 0:
        raise UserError("the Newick text ends before all its brackets are closed")
    return nodes


def _newick_class_paths(nodes: Sequence[_NewickNode]) -> list[NamePath]:
    """Paths of the classes in the order of the text."""
    inner = {node.parent for node in nodes}
    used = {node.name for node in nodes}
    made_up = (name for k in range(len(nodes)) if (name := f"node_{k}") not in used)
    names, paths, seen, classes = [""], [()], set(), []
    for i, node in enumerate(nodes[1:], start=1):
        if not node.name and i not in inner:
            raise UserError(
                f"the Newick text has a leaf without a name at character "
                f"{node.position}"
            )
        names.append(node.name or next(made_up))
        above = paths[node.parent]
        paths.append((*above, names[i]))
        is_parent_itself = (
            node.parent != 0
            and i not in inner
            and node.length == 0
            and names[i] == names[node.parent]
        )
        if is_parent_itself:
            classes.append(above)
            continue
        if paths[i] in seen:
            raise UserError(
                f"the Newick text has two nodes named {names[i]!r} below "
                f"{'/'.join(above) or 'the root'}"
            )
        seen.add(paths[i])
        if i not in inner:
            classes.append(paths[i])
    return classes


def _quote(name: str) -> str:
    if re.search(r"""[\s()\[\]:;,'"]""", name):
        return "'" + name.replace("'", "''") + "'"
    return name
