"""The label tree as arrays.

A class is a path of node names, coarsest first and the class itself last; a virtual
root joins the top nodes and is neither a level nor counted in a depth. Two nodes are
the same exactly when their whole paths are, so a name may occur under many parents.
Everything is built on the host with numpy and never changes afterwards.
"""

import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from hierjax import tree_readers
from hierjax.errors import UserError
from hierjax.names import (
    UNKNOWN,
    NamePath,
    as_path,
    check_given_names,
    distinct_names,
    keep_levels,
)
from hierjax.newick import read_newick, write_newick
from hierjax.trie import (
    ROOT,
    Trie,
    check_distinct,
    check_no_internal_class,
    grow_trie,
    number_nodes,
)


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

    def __post_init__(self):
        """Makes the array read-only."""
        self.ancestors.flags.writeable = False

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
        paths = tuple(as_path(path, f"path {i}") for i, path in enumerate(paths))
        if not paths:
            raise UserError("a hierarchy needs at least one class, found none")
        check_distinct(paths)
        trie = grow_trie(paths)
        if not allow_internal_classes:
            check_no_internal_class(paths, trie)
        num_levels = trie.nodes.shape[1]
        if level_names is None:
            level_names = [f"level_{level}" for level in range(num_levels)]
        if class_names is None:
            class_names = distinct_names(paths)
        else:
            class_names = check_given_names(class_names, "class", len(paths))
        level_names = check_given_names(level_names, "level", num_levels)
        return cls(paths, class_names, level_names, number_nodes(trie))

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
        return cls.from_paths(
            tree_readers.read_edges(pairs, classes, allow_internal_classes),
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
        paths = tree_readers.read_level_labels(labels)
        return cls.from_paths(paths, level_names=level_names)

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
        by ``,``, ``;``, tab or ``|``, whichever makes most of the header. The class
        order is that of the column ``Number`` if all its cells are integers, else that
        of the file.
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
        try:
            return cls.from_paths(
                tree_readers.read_csv(path),
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
            read_newick(text),
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
        depths = np.array([len(path) for path in self.paths], np.int32)
        depths.flags.writeable = False
        return depths

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
        return distinct_names(
            [self.paths[c][: level + 1] for c in self.first_classes(level)]
        )

    def first_classes(self, level: int) -> np.ndarray:
        """The first class at or below each node of a level, int [nodes]."""
        return np.unique(self.ancestors[:, level], return_index=True)[1]

    def name_ids(self, level: int) -> np.ndarray:
        """Number of each node's own name among the sorted names of its level.

        Nodes that share a name under different parents share its number: labels so
        numbered are a column of attributes of its own, not a path.

        Args:
          level: 0 to L - 1.

        Returns:
          int32 ``[nodes_per_level[level]]``.
        """
        names = [self.paths[c][: level + 1][-1] for c in self.first_classes(level)]
        _, numbers = np.unique(names, return_inverse=True)
        return numbers.astype(np.int32)

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
        unique, inverse = tree_readers.unique_rows(rows)
        nodes = [
            self._find_node(tree_readers.known_path(row, number), number)
            for row, number in unique.items()
        ]
        return self._node_labels[np.array(nodes, np.intp)[inverse]]

    def decode(self, labels: Any) -> list[NamePath]:
        """Turns node ids into paths of names, the inverse of ``encode``.

        Args:
          labels: [N, L] node ids, -1 for unknown levels, a suffix.

        Returns:
          N paths, coarsest first: the whole path of a class, a part of one where finer
          levels are unknown, () where nothing is known. A class that is shallower than
          the tree is not repeated.
        """
        known = np.sum(np.asarray(labels) >= 0, axis=1)
        firsts = [self.first_classes(level) for level in range(self.num_levels)]
        return [
            self.paths[firsts[depth - 1][row[depth - 1]]][:depth] if depth else ()
            for row, depth in zip(np.asarray(labels), known.tolist(), strict=True)
        ]

    def to_newick(self) -> str:
        """Writes the tree in Newick notation, the virtual root unnamed.

        Names with spaces, brackets, quotes or one of ``,:;`` are quoted. An internal
        class is written as a leaf below itself with branch length 0. Class order,
        level names and names given by ``class_names`` are not kept.

        Returns:
          One line that ``from_newick`` reads back.
        """
        return write_newick(self._trie)

    def to_edges(self) -> list[tuple[str, str]]:
        """Lists the (parent, child) pairs of the tree, the virtual root included.

        Classes go by their ``class_names``; another node by its name, or by its path
        in the form ``/a/b`` where that name is taken. The virtual root is called
        ``root``, with underscores in front if a node has that name.

        Returns:
          One pair per node. ``from_edges(edges, classes=class_names)`` reads them
          back; without internal classes, ``classes`` may be left out.
        """
        classes = dict(zip(self._trie.nodes[:, -1], self.class_names, strict=True))
        paths = self._trie.paths()
        names = [classes.get(i, path[-1]) for i, path in enumerate(paths)]
        taken = Counter(names)
        for i, path in enumerate(paths):
            if i not in classes and taken[names[i]] > 1:
                names[i] = "/".join(("", *path))
        root = "root"
        while root in names:
            root = f"_{root}"
        names.append(root)  # at the place ROOT, the last one
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
        if not levels or levels != sorted(set(levels) & set(range(self.num_levels))):
            raise UserError(
                f"levels {levels} must be one or more strictly increasing numbers "
                f"from 0 to {self.num_levels - 1}"
            )
        classes = self.first_classes(levels[-1])
        return Hierarchy(
            keep_levels([self.paths[c] for c in classes], levels),
            self.node_names(levels[-1]),
            tuple(self.level_names[level] for level in levels),
            self.ancestors[np.ix_(classes, levels)],
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
        return dataclasses.replace(self, paths=paths, ancestors=ancestors)

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
    def _trie(self) -> Trie:
        return grow_trie(self.paths)

    @functools.cached_property
    def _node_labels(self) -> np.ndarray:
        """Labels of a row that ends at a trie node; last, at index ROOT, all -1."""
        nodes = self._trie.nodes
        num_nodes = len(self._trie.children)
        table = np.full((num_nodes + 1, self.num_levels), UNKNOWN, np.int32)
        for level in range(self.num_levels):
            real = self.depths > level
            table[nodes[real, level], : level + 1] = self.ancestors[real, : level + 1]
        table[nodes[:, -1]] = self.ancestors
        return table

    def _find_node(self, path: NamePath, number: int) -> int:
        """Trie node of a path that row ``number`` of the labels names."""
        node = ROOT
        for level, name in enumerate(path):
            node = self._trie.children.get((node, name))
            if node is None:
                above = repr("/".join(path[:level])) if level else "the root"
                raise UserError(
                    f"row {number} has the label {name!r} at level {level}, "
                    f"but {above} has no such node below it in {self!r}"
                )
        return node

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
