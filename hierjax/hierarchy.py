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

from hierjax.edges import ParentRule, read_edges
from hierjax.errors import UserError
from hierjax.label_rows import read_label_rows
from hierjax.names import (
    UNKNOWN,
    NamePath,
    as_path,
    check_given_names,
    distinct_names,
    keep_levels,
)
from hierjax.newick import read_newick, write_newick
from hierjax.tree_readers import EdgeOrder, read_level_labels, read_tree_table
from hierjax.trie import (
    ROOT,
    Trie,
    check_distinct,
    check_no_internal_class,
    grow_trie,
    number_nodes,
    rank_nodes,
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

    Examples:
      >>> tree = Hierarchy.from_paths([("animal", "owl"), ("animal", "cod"), ("oak",)])
      >>> tree
      Hierarchy(3 classes, 2 levels, nodes per level 2/3)
      >>> tree.ancestors.tolist()
      [[0, 0], [0, 1], [1, 2]]
      >>> tree.nodes_per_level, tree.class_names, tree.depths.tolist()
      ((2, 3), ('owl', 'cod', 'oak'), [2, 2, 1])
      >>> tree == Hierarchy.from_newick("((owl,cod)animal,oak);")
      True
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

        Examples:
          >>> tree = Hierarchy.from_paths([("animal", "owl"), ("oak",)])
          >>> tree.class_names, tree.num_levels
          (('owl', 'oak'), 2)
        """
        return cls._from_clean(
            tuple(as_path(path, f"path {i}") for i, path in enumerate(paths)),
            class_names=class_names,
            level_names=level_names,
            allow_internal_classes=allow_internal_classes,
        )

    @classmethod
    def _from_clean(
        cls,
        paths: Sequence[NamePath],
        *,
        class_names: Sequence[str] | None = None,
        level_names: Sequence[str] | None = None,
        allow_internal_classes: bool = False,
    ) -> "Hierarchy":
        """As ``from_paths``, of paths whose names have been read already."""
        paths = tuple(paths)
        if not paths:
            raise UserError("a hierarchy needs at least one class, found none")
        trie = grow_trie(paths)
        check_distinct(paths, trie)
        if not allow_internal_classes:
            check_no_internal_class(paths, trie)
        ranks = rank_nodes(trie)[trie.nodes]
        return cls._of_nodes(
            paths, ranks, class_names=class_names, level_names=level_names
        )

    @classmethod
    def _of_nodes(
        cls,
        paths: Sequence[NamePath],
        ranks: np.ndarray,
        *,
        class_names: Sequence[str] | None = None,
        level_names: Sequence[str] | None = None,
    ) -> "Hierarchy":
        """As ``from_paths``, of paths that make a tree whose nodes are in order."""
        num_levels = ranks.shape[1]
        if level_names is None:
            level_names = [f"level_{level}" for level in range(num_levels)]
        if class_names is None:
            class_names = distinct_names(paths)
        else:
            class_names = check_given_names(class_names, "class", len(paths))
        level_names = check_given_names(level_names, "level", num_levels)
        return cls(tuple(paths), class_names, level_names, number_nodes(ranks))

    @classmethod
    def from_edges(
        cls,
        pairs: Iterable[tuple[str | int, str | int]],
        *,
        classes: Sequence[str | int] | None = None,
        level_names: Sequence[str] | None = None,
        allow_internal_classes: bool = False,
        parents: ParentRule = "error",
    ) -> "Hierarchy":
        """Builds the tree from (parent, child) pairs of names.

        A single root is the virtual root itself and no level; several roots are the
        nodes of level 0. A pair may be given twice.

        Of a node with several parents, as in WordNet, one may be kept: the first
        given, or the one with the longest or the shortest way from its root, the first
        of them on a tie. A `DataNotice` counts such nodes.

        Args:
          pairs: the edges, in any order; a name is one node.
          classes: the classes in order, all or some of the leaves; default: all
            leaves in the order in which they first appear as a child.
          level_names: L distinct names.
          allow_internal_classes: accept nodes that have children in ``classes``.
          parents: 'error', 'first', 'deepest' or 'shallowest'.

        Returns:
          The hierarchy over ``classes``; nodes above no class are dropped.

        Raises:
          UserError: an empty name, a self loop, a node with several parents (unless
            one is kept), a cycle, or a class that is the root, no node, or has children
            (unless allowed).

        Examples:
          >>> edges = [("all", "animal"), ("animal", "owl"), ("all", "oak")]
          >>> Hierarchy.from_edges(edges).paths
          (('animal', 'owl'), ('oak',))
          >>> edges += [("all", "pet"), ("pet", "owl"), ("pet", "cat")]
          >>> Hierarchy.from_edges(edges, parents="first").paths
          (('animal', 'owl'), ('oak',), ('pet', 'cat'))
        """
        return cls._from_clean(
            read_edges(pairs, classes, allow_internal_classes, parents),
            level_names=level_names,
            allow_internal_classes=allow_internal_classes,
        )

    @classmethod
    def from_level_labels(
        cls,
        labels: Any,
        *,
        level_names: Sequence[str] | None = None,
        missing_as_names: bool = False,
    ) -> "Hierarchy":
        """Builds the tree from the labels of many examples.

        The same value under two parents is two nodes. A row whose deepest known node
        has children in other rows is unknown below it and adds no class; if it has
        none, that node is a class. Classes are ordered like the nodes of a level (see
        the class docstring), so that an array of contiguous ids is what ``encode``
        makes of it. A node is named ``str(value)``, see `names.read_cell`.

        Args:
          labels: [N, L] whole numbers or strings, coarsest level first, an array,
            table or nested sequences; -1, ``''``, ``None`` and NaN are unknown, always
            as a suffix, and so are the words ``NA``, ``nan``, ``None``, ... of
            `names.MISSING_WORDS`, of which a `DataNotice` tells.
          level_names: L distinct names.
          missing_as_names: take those words for names.

        Returns:
          The hierarchy of all classes that occur.

        Raises:
          UserError: a known level after an unknown one, a value that is no name, a
            last level that is unknown in every row.

        Examples:
          >>> rows = [["animal", "owl"], ["animal", ""], ["oak", ""], ["animal", "cod"]]
          >>> tree = Hierarchy.from_level_labels(rows, level_names=["kind", "species"])
          >>> tree.paths
          (('animal', 'cod'), ('animal', 'owl'), ('oak',))
          >>> tree.encode(rows).tolist()
          [[0, 1], [0, -1], [1, 2], [0, 0]]
        """
        rows = read_label_rows(labels, lambda word: missing_as_names)
        rows.tell_missing("labels")
        paths, ranks = read_level_labels(rows)
        return cls._of_nodes(paths, ranks, level_names=level_names)

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike,
        *,
        level_names: Sequence[str] | None = None,
        allow_internal_classes: bool = False,
        parents: ParentRule = "error",
        edge_order: EdgeOrder | None = None,
    ) -> "Hierarchy":
        r"""Reads a table: paths, pairs, or a column a level.

        Columns are separated by ``,``, ``;``, tab or ``|``, whichever makes most of the
        header. What they are, whatever the capitals:

        - ``Hierarchy`` or else ``Path``: one class a row, its names separated as
          `names.split_paths` says. The class order is that of the column ``Number`` if
          all its cells are integers, else that of the file. A top node that all classes
          share is kept as a level.
        - ``parent`` and ``child``, or two columns that share names, with a header or
          without: pairs as in ``from_edges``, whose leaves are the classes.
        - Otherwise every column is a level, as in ``from_level_labels``; of taxonomic
          tables those of the ranks from domain to variety, in that order.

        Args:
          path: a file with UTF-8 or UTF-16 text.
          level_names: L distinct names; default: those of the columns that are levels.
          allow_internal_classes: accept a class that is an ancestor of another class.
          parents: see ``from_edges``.
          edge_order: 'parent_child' or 'child_parent' says that the table has pairs,
            and in which order; None takes the header's, or parent first.

        Returns:
          The hierarchy.

        Raises:
          UserError: no such file or column, or a bad tree; the message names the file.

        Examples:
          >>> import pathlib, tempfile
          >>> folder = tempfile.TemporaryDirectory()
          >>> file = pathlib.Path(folder.name, "tree.csv")
          >>> lines = ["class,path", "owl,animal/bird/owl", "cod,animal/cod"]
          >>> _ = file.write_text("\n".join(lines))
          >>> Hierarchy.from_csv(file).paths
          (('animal', 'bird', 'owl'), ('animal', 'cod'))
          >>> lines = ["child,parent", "owl,bird", "bird,animal", "cod,animal"]
          >>> _ = file.write_text("\n".join(lines))
          >>> Hierarchy.from_csv(file).paths
          (('bird', 'owl'), ('cod',))
        """
        try:
            table = read_tree_table(path, parents, edge_order)
            return cls._from_clean(
                table.paths,
                level_names=table.level_names if level_names is None else level_names,
                allow_internal_classes=allow_internal_classes,
            )
        except UserError as error:
            raise type(error)(f"{path}: {error}") from None

    @classmethod
    def from_newick(
        cls,
        text: str,
        *,
        level_names: Sequence[str] | None = None,
        allow_internal_classes: bool = False,
    ) -> "Hierarchy":
        """Reads a tree in Newick notation or NEXUS; classes in the order of the text.

        The outermost bracket is the virtual root, whatever its label. Names in single
        quotes may hold anything (``''`` is a quote); underscores stay as they are.
        Comments in square brackets and branch lengths are ignored, except that a leaf
        of branch length 0 with the name of its parent makes the parent itself a class,
        as ``to_newick`` writes it. Inner nodes without a name are called ``node_0``,
        ``node_1``, ... in the order in which their brackets open. So are all where
        the labels of inner nodes are nothing but numbers without quotes, the support
        of phylogenetic programs, unless the leaves are whole numbers too and none
        occurs twice. Of several trees the first is read. A `DataNotice` tells of both.

        Args:
          text: the tree.
          level_names: L distinct names.
          allow_internal_classes: accept a class that is an ancestor of another class.

        Returns:
          The hierarchy.

        Raises:
          UserError: text that is no Newick, a leaf without a name, two children of one
            node with the same name, or a bad tree.

        Examples:
          >>> Hierarchy.from_newick("(('snowy owl',tit)bird,cod);").paths
          (('bird', 'snowy owl'), ('bird', 'tit'), ('cod',))
        """
        return cls._from_clean(
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

        Examples:
          >>> tree = Hierarchy.from_newick("((owl,cod)animal,oak);")
          >>> tree.node_names(0), tree.node_names(1)
          (('animal', 'oak'), ('owl', 'cod', 'oak'))
        """
        level = range(self.num_levels)[level]
        if level == self.num_levels - 1:
            return self.class_names
        return distinct_names(
            [self.paths[c][: level + 1] for c in self.first_classes(level)]
        )

    def first_classes(self, level: int) -> np.ndarray:
        """The first class at or below each node of a level, int [nodes].

        Examples:
          >>> tree = Hierarchy.from_newick("((owl,cod)animal,oak);")
          >>> tree.first_classes(0).tolist()
          [0, 2]
        """
        return np.unique(self.ancestors[:, level], return_index=True)[1]

    def name_ids(self, level: int) -> np.ndarray:
        """Number of each node's own name among the sorted names of its level.

        Nodes that share a name under different parents share its number: labels so
        numbered are a column of attributes of its own, not a path.

        Args:
          level: 0 to L - 1.

        Returns:
          int32 ``[nodes_per_level[level]]``.

        Examples:
          >>> tree = Hierarchy.from_newick("((left,right)arm,(left,right)leg);")
          >>> tree.node_names(1)
          ('arm/left', 'arm/right', 'leg/left', 'leg/right')
          >>> tree.name_ids(1).tolist()
          [0, 1, 0, 1]
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

        Examples:
          >>> tree = Hierarchy.from_newick("((owl,cod)animal,oak);")
          >>> tree.path_length().tolist()
          [[0, 2, 3], [2, 0, 3], [3, 3, 0]]
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

        Examples:
          >>> tree = Hierarchy.from_newick("((owl,cod)animal,oak);")
          >>> tree.lca_height().tolist()
          [[0, 1, 2], [1, 0, 2], [2, 2, 0]]
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

        Examples:
          >>> tree = Hierarchy.from_newick("((owl,cod)animal,oak);")
          >>> tree.labels_of([2, -1]).tolist()
          [[1, 2], [-1, -1]]
        """
        ids = self._check_class_ids(class_ids, lowest=UNKNOWN)
        return np.where(ids[:, None] == UNKNOWN, UNKNOWN, self.ancestors[ids])

    def encode(self, rows: Any) -> np.ndarray:
        """Turns raw labels into node ids.

        A row that ends at a class is that class (even if it is internal); a row that
        ends at another node is unknown below it.

        Args:
          rows: N sequences of names, of any lengths, coarsest first; unknown are
            the values that ``from_level_labels`` takes for unknown, always as a
            suffix, and its words for missing values unless the tree has such a name.
            Arrays as given to it are such rows.

        Returns:
          int32 [N, L], -1 for unknown levels, always a suffix.

        Raises:
          UserError: a label outside the tree, or a known level after an unknown one.

        Examples:
          >>> tree = Hierarchy.from_newick("((owl,cod)animal,oak);")
          >>> tree.encode([("animal", "cod"), ("animal", None), ("oak",)]).tolist()
          [[0, 1], [0, -1], [1, 2]]
        """
        known = read_label_rows(rows, self._names.__contains__)
        known.tell_missing("labels")
        ends = np.array(
            [
                self._find_node(path, number)
                for path, number in zip(known.paths, known.firsts, strict=True)
            ],
            np.intp,
        )[known.inverse]
        below, depths = self._ends
        reached = np.arange(self.num_levels) < depths[ends][:, None]
        return np.where(reached, self.ancestors[below[ends]], np.int32(UNKNOWN))

    def decode(self, labels: Any) -> list[NamePath]:
        """Turns node ids into paths of names, the inverse of ``encode``.

        Args:
          labels: [N, L] node ids, -1 for unknown levels, a suffix.

        Returns:
          N paths, coarsest first: the whole path of a class, a part of one where finer
          levels are unknown, () where nothing is known. A class that is shallower than
          the tree is not repeated.

        Raises:
          UserError: an id that no node of its level has.

        Examples:
          >>> tree = Hierarchy.from_newick("((owl,cod)animal,oak);")
          >>> tree.decode([[0, 1], [0, -1], [1, 2], [-1, -1]])
          [('animal', 'cod'), ('animal',), ('oak',), ()]
        """
        known = np.sum(np.asarray(labels) >= 0, axis=1)
        if (np.asarray(labels) >= np.array(self.nodes_per_level)).any():
            raise UserError(
                f"labels hold node ids up to {np.max(labels)}; {self!r} has fewer nodes"
            )
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

        Examples:
          >>> Hierarchy.from_paths([("animal", "snowy owl"), ("oak",)]).to_newick()
          "(('snowy owl')animal,oak);"
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

        Examples:
          >>> tree = Hierarchy.from_newick("((owl,cod)animal,oak);")
          >>> tree.to_edges()
          [('root', 'animal'), ('animal', 'owl'), ('animal', 'cod'), ('root', 'oak')]
        """
        trie = self._trie
        names = list(trie.names)
        ends = trie.nodes[:, -1].tolist()
        for node, name in zip(ends, self.class_names, strict=True):
            names[node] = name
        taken = Counter(names)
        for node in set(range(len(names))).difference(ends):
            if taken[names[node]] > 1:
                names[node] = "/".join(("", *trie.path(node)))
        root, used = "root", set(names)
        while root in used:
            root = f"_{root}"
        above = [*names, root]  # at the place ROOT, the last one
        return [
            (above[parent], name)
            for parent, name in zip(trie.parents.tolist(), names, strict=True)
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

        Examples:
          >>> tree = Hierarchy.from_newick("((owl,cod)animal,oak);")
          >>> tree.coarsen([0]).class_names
          ('animal', 'oak')
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

        Examples:
          >>> tree = Hierarchy.from_newick("((owl,cod)animal,oak);")
          >>> tree.subset([2, 0]).paths
          (('oak',), ('animal', 'owl'))
        """
        ids = self._check_class_ids(class_ids, lowest=0).tolist()
        repeated = [c for c, count in Counter(ids).items() if count > 1]
        if repeated:
            raise UserError(f"class id {repeated[0]} is in the subset more than once")
        paths = [self.paths[c] for c in ids]
        return Hierarchy._from_clean(
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

        Examples:
          >>> tree = Hierarchy.from_newick("((owl,cod)animal,oak);")
          >>> shuffled = tree.shuffled(0)
          >>> shuffled.class_names, sorted(shuffled.depths.tolist())
          (('owl', 'cod', 'oak'), [1, 2, 2])
        """
        if isinstance(key, int | np.integer):
            key = jax.random.key(key)
        places = np.asarray(jax.random.permutation(key, self.num_classes))
        ancestors = self.ancestors[places]
        ancestors[:, -1] = np.arange(self.num_classes)

        parents, names = self._trie.parents.tolist(), list(self._trie.names)
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

        Examples:
          >>> tree = Hierarchy.from_newick("((owl,cod)animal,oak);")
          >>> tree.sibling_overlap(tree)
          1.0
          >>> tree.sibling_overlap(Hierarchy.from_newick("(owl,(cod,oak));"))
          0.0
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
    def _names(self) -> frozenset[str]:
        """Names of all nodes."""
        return frozenset(self._trie.names)

    @functools.cached_property
    def _children(self) -> dict[tuple[int, str], int]:
        """Trie node by its parent and its name."""
        trie = self._trie
        keys = zip(trie.parents.tolist(), trie.names, strict=True)
        return {key: node for node, key in enumerate(keys)}

    @functools.cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """What a row that ends at a trie node knows: a class below it, and L' levels.

        The last entry, at index ROOT, is of a row that knows nothing.
        """
        nodes = self._trie.nodes
        below = np.zeros(len(self._trie.names) + 1, np.int32)
        depths = np.zeros_like(below)
        for level in range(self.num_levels):
            below[nodes[:, level]] = np.arange(self.num_classes)
            real = self.depths > level
            depths[nodes[real, level]] = level + 1
        # A class is known to the last level, even if it is internal.
        below[nodes[:, -1]] = np.arange(self.num_classes)
        depths[nodes[:, -1]] = self.num_levels
        return below, depths

    def _find_node(self, path: NamePath, number: int) -> int:
        """Trie node of a path that row ``number`` of the labels names."""
        node = ROOT
        for level, name in enumerate(path):
            node = self._children.get((node, name))
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
