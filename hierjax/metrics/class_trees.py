"""Class trees inferred from distances, and their comparison with the true one."""

import dataclasses
import functools
import re
from collections import defaultdict
from collections.abc import Sequence

import jax
import numpy as np
import scipy

from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.metrics.structure import elementwise_correlation, known_distances

_LINKAGES = {"upgma": "average", "wpgma": "weighted"}
_PLAIN_NAME = re.compile(r"[\w.+-]+")

Clade = frozenset[int]
"""The ids of the classes below a node."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class InferredTree:
    """A rooted tree with branch lengths whose leaves are n classes.

    Nodes are numbered: the leaves 0..n-1 in the order of ``classes``, then the inner
    nodes, each after its children; the last one is the root.

    Attributes:
      classes: ``[n]`` ascending class ids; classes without a representative are not
        in the tree.
      parents: ``[M]`` the parent of each node; -1 for the root.
      lengths: ``[M]`` float64 length of the branch to the parent; 0 for the root.
      linkage: ``[n - 1, 4]`` the merges as in scipy, for its ``dendrogram``, whose
        leaves are positions in ``classes``; None for neighbour joining.
    """

    classes: np.ndarray
    parents: np.ndarray
    lengths: np.ndarray
    linkage: np.ndarray | None = None

    @functools.cached_property
    def members(self) -> np.ndarray:
        """Which leaves are below (or are) each node, bool ``[M, n]``."""
        members = np.eye(len(self.parents), len(self.classes), dtype=bool)
        for node, parent in enumerate(self.parents[:-1]):
            members[parent] |= members[node]
        return members

    @functools.cached_property
    def clades(self) -> frozenset[Clade]:
        """The classes below each inner node; the root's, which are all, included."""
        return self._class_sets(self.members[len(self.classes) :])

    @functools.cached_property
    def splits(self) -> frozenset[Clade]:
        """The partitions in two that branches make, wherever the root is.

        Each by its side without the first class; those that cut off fewer than two
        classes, which all trees have, are left out.
        """
        sides = self.members ^ self.members[:, :1]
        sizes = sides.sum(axis=1)
        return self._class_sets(sides[(sizes > 1) & (sizes < len(self.classes) - 1)])

    def _class_sets(self, members: np.ndarray) -> frozenset[Clade]:
        return frozenset(frozenset(self.classes[row].tolist()) for row in members)

    def path_length(self) -> np.ndarray:
        """Sum of the branch lengths between each two leaves, float64 ``[n, n]``.

        For UPGMA and WPGMA, where all leaves are equally deep, this is the cophenetic
        distance: the height at which the two are merged.
        """
        members = self.members.astype(np.float64)
        shared = (members.T * self.lengths) @ members
        depths = shared.diagonal()
        return depths[:, None] + depths - 2 * shared

    def to_newick(self, names: Sequence[str]) -> str:
        """Writes the tree in Newick notation with branch lengths.

        Args:
          names: the name of every class by its id, as in ``hierarchy.class_names``.

        Returns:
          One line; inner nodes have no names. Names with other characters than
          letters, digits and ``_.+-`` are quoted.
        """
        if len(names) <= self.classes[-1]:
            raise UserError(
                f"names must name all classes up to {self.classes[-1]}, found "
                f"{len(names)} names"
            )
        labels = [_quoted(names[c]) for c in self.classes]
        below = defaultdict(list)
        for node, (parent, length) in enumerate(
            zip(self.parents, self.lengths, strict=True)
        ):
            is_leaf = node < len(labels)
            text = labels[node] if is_leaf else f"({','.join(below.pop(node))})"
            below[parent].append(f"{text}:{length:.6g}")
        return f"{text};"


def _quoted(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return name
    return "'" + name.replace("'", "''") + "'"


def infer_tree(
    distances: np.ndarray, *, method: str = "upgma", official: bool = False
) -> InferredTree:
    """Infers a tree over classes from the distances of their representatives.

    Of several equally near pairs, one must be merged first: with ties, as in the
    distances of the true tree, the result depends on the order of the classes. UPGMA
    and WPGMA put all leaves at the same depth: from the hops of a ragged tree they may
    miss some of its nodes, which neighbour joining finds.

    Args:
      distances: ``[C, C]``; classes with NaN rows are left out of the tree.
      method: ``'upgma'`` and ``'wpgma'`` merge the nearest two clusters, whose
        distance is the mean over all pairs of classes, or the mean of the distances
        of the two clusters merged last (scipy's ``average`` and ``weighted``, with
        its tie rule; Sokal and Michener 1958). ``'neighbor_joining'`` (Saitou and Nei
        1987, with scikit-bio, negative lengths set to 0) makes a tree without a root,
        which is set halfway between the two classes farthest apart.
      official: with ``'upgma'``, what Kim et al. 2023 (arXiv 2301.11065) compare:
        Biopython's function of that name, which is WPGMA, and which merges the last
        of equally near pairs when the rows of the lower triangle are read in order,
        the merged cluster taking the place of its lower member.

    Returns:
      The tree.

    Raises:
      UserError: fewer than 2 classes with distances (3 for neighbour joining), bad
        distances, or no scikit-bio.

    Examples:
      >>> tree = infer_tree(np.array([[0, 2, 6], [2, 0, 6], [6, 6, 0]]))
      >>> tree.to_newick(["owl", "duck", "cod"])
      '(cod:3,(owl:1,duck:1):2);'
    """
    accepted = (*_LINKAGES, "neighbor_joining")
    if method not in accepted:
        raise UserError(
            f"method must be one of {', '.join(accepted)}, found {method!r}"
        )
    if official and method != "upgma":
        raise UserError(f"official is for the method upgma alone, found {method!r}")
    classes, known = known_distances(distances)
    fewest = 3 if method == "neighbor_joining" else 2
    if len(classes) < fewest:
        raise UserError(
            f"{method} needs at least {fewest} classes with representatives, found "
            f"{len(classes)}"
        )
    if method == "neighbor_joining":
        return InferredTree(classes, *_joined_neighbors(known))
    if official:
        merges = _published_linkage(known)
    else:
        merges = scipy.cluster.hierarchy.linkage(
            scipy.spatial.distance.squareform(known, checks=False), _LINKAGES[method]
        )
    return InferredTree(classes, *_merged(merges), merges)


def _merged(merges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parents and branch lengths from scipy's merges ``[n - 1, 4]``."""
    num_leaves = len(merges) + 1
    parents = np.full(2 * num_leaves - 1, -1)
    inner = np.arange(num_leaves, len(parents))
    parents[merges[:, :2].astype(np.int64)] = inner[:, None]
    heights = np.concatenate([np.zeros(num_leaves), merges[:, 2] / 2])
    # The root, whose parent -1 is the root itself, gets 0.
    return parents, heights[parents] - heights


def _published_linkage(distances: np.ndarray) -> np.ndarray:
    """Merges ``[n - 1, 4]`` of WPGMA with Biopython's tie rule, see `infer_tree`."""
    num_leaves = len(distances)
    # In reverse order the last of equal pairs is the first, which argmin finds.
    distances = distances[::-1, ::-1].copy()
    np.fill_diagonal(distances, np.inf)
    nodes, sizes = np.arange(num_leaves)[::-1].copy(), np.ones(num_leaves)
    merges = np.empty((num_leaves - 1, 4))
    for step in range(num_leaves - 1):
        gone, kept = divmod(int(distances.argmin()), num_leaves)
        sizes[kept] += sizes[gone]
        merges[step] = nodes[kept], nodes[gone], distances[gone, kept], sizes[kept]
        nodes[kept] = num_leaves + step
        merged = (distances[gone] + distances[kept]) / 2
        distances[kept] = distances[:, kept] = merged
        distances[gone] = distances[:, gone] = np.inf
    return merges


def _joined_neighbors(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parents and branch lengths of the neighbour joining tree, rooted midway."""
    # Importing scikit-bio turns on 64 bits in JAX for the whole process.
    precision = jax.config.jax_enable_x64
    try:
        from skbio import DistanceMatrix
        from skbio.tree import nj
    except ImportError as error:
        raise UserError(
            "neighbor_joining needs scikit-bio: pip install 'hierjax[trees]'"
        ) from error
    finally:
        jax.config.update("jax_enable_x64", precision)
    leaves = [str(leaf) for leaf in range(len(distances))]
    tree = nj(DistanceMatrix(distances, leaves)).root_at_midpoint()
    nodes = list(tree.postorder())
    inner = [node for node in nodes if node.children]
    number = {id(node): len(leaves) + i for i, node in enumerate(inner)}
    number |= {id(node): int(node.name) for node in nodes if not node.children}
    parents, lengths = np.full(len(nodes), -1), np.zeros(len(nodes))
    for node in nodes[:-1]:
        parents[number[id(node)]] = number[id(node.parent)]
        lengths[number[id(node)]] = node.length
    return parents, lengths


def robinson_foulds(a: InferredTree, b: InferredTree) -> tuple[int, int]:
    """Number of splits that only one of two trees has, and the most there can be.

    Unrooted and without the splits that all trees have, as in ete3. Robinson and
    Foulds 1981, "Comparison of phylogenetic trees". A tree inferred from the tied
    distances of a class tree has splits that only the order of the classes decides,
    and they make up most of this number: see `clade_recovery` for a measure without
    them.

    Args:
      a: a tree over some classes.
      b: a tree over the same classes.

    Returns:
      The distance and its maximum, the number of splits of both: 2 (n - 3) if all
      inner nodes have two children.

    Examples:
      The first four classes are paired in different ways:

      >>> near = np.array([0, 0, 1, 1, 2])
      >>> a = infer_tree(2.0 * (near[:, None] != near))
      >>> near = np.array([0, 1, 0, 1, 2])
      >>> b = infer_tree(2.0 * (near[:, None] != near))
      >>> robinson_foulds(a, a), robinson_foulds(a, b)
      ((0, 4), (4, 4))
    """
    if not np.array_equal(a.classes, b.classes):
        odd = np.setxor1d(a.classes, b.classes)
        raise UserError(
            f"both trees must have the same classes, found {odd[0]} in one of them only"
        )
    return len(a.splits ^ b.splits), len(a.splits) + len(b.splits)


def hierarchy_clades(
    hierarchy: Hierarchy, classes: np.ndarray | None = None
) -> tuple[frozenset[Clade], ...]:
    """The sets of classes that the nodes of each level of the true tree hold.

    Args:
      hierarchy: the true tree, in which a node may have any number of children.
      classes: ascending ids of the classes to look at; default: all.

    Returns:
      One set per level, coarsest first. Nodes above a single one of the classes, or
      above all of them, say nothing and are left out.
    """
    if classes is None:
        classes = np.arange(hierarchy.num_classes)
    if classes[-1] >= hierarchy.num_classes:
        raise UserError(
            f"class ids must lie below {hierarchy.num_classes}, the number of classes "
            f"of the hierarchy, found {classes[-1]}"
        )
    levels = []
    for nodes in hierarchy.ancestors[classes].T:
        below = defaultdict(list)
        for class_id, node in zip(classes.tolist(), nodes.tolist(), strict=True):
            below[node].append(class_id)
        levels.append(
            frozenset(
                frozenset(ids) for ids in below.values() if 1 < len(ids) < len(classes)
            )
        )
    return tuple(levels)


def clade_recovery(
    tree: InferredTree, hierarchy: Hierarchy
) -> dict[str, float | np.ndarray]:
    """Share of the true tree's nodes whose classes an inferred tree keeps together.

    A true node is recovered if its classes are exactly those below some node of the
    inferred tree. Unlike Robinson and Foulds' distance this does not depend on how an
    inferred tree resolves the many children of a true node. Classes that the inferred
    tree lacks are taken out of the true one.

    Args:
      tree: the inferred tree.
      hierarchy: the true tree.

    Returns:
      ``overall``, over the distinct sets of classes of all nodes that hold at least
      two classes but not all, and ``by_level`` ``[L]``, coarsest first; NaN where
      there is no such node.

    Examples:
      >>> true = Hierarchy.from_paths([("bird", "owl"), ("bird", "duck"), ("cod",)])
      >>> good = infer_tree(np.array([[0, 2, 6], [2, 0, 6], [6, 6, 0]]))
      >>> bad = infer_tree(np.array([[0, 6, 6], [6, 0, 2], [6, 2, 0]]))
      >>> clade_recovery(good, true)["overall"], clade_recovery(bad, true)["overall"]
      (1.0, 0.0)
    """
    levels = hierarchy_clades(hierarchy, tree.classes)
    return {
        "overall": _share(frozenset().union(*levels), tree.clades),
        "by_level": np.array([_share(level, tree.clades) for level in levels]),
    }


def _share(clades: frozenset[Clade], found: frozenset[Clade]) -> float:
    return len(clades & found) / len(clades) if clades else float("nan")


def cophenetic_correlation(tree: InferredTree, distances: np.ndarray) -> float:
    """Pearson correlation of an inferred tree's path lengths with distances.

    With the distances it was inferred from: how well they fit a tree at all (Sokal
    and Rohlf 1962). With the distances of the true tree: how well the two agree.

    Args:
      tree: the inferred tree.
      distances: ``[C, C]`` between classes.

    Returns:
      A number in [-1, 1] over the pairs of classes in the tree; NaN if either side is
      constant.

    Examples:
      Distances that are those of a tree:

      >>> distances = np.array([[0, 2, 6], [2, 0, 6], [6, 6, 0]])
      >>> round(cophenetic_correlation(infer_tree(distances), distances), 6)
      1.0
    """
    distances = np.asarray(distances, np.float64)
    if len(distances) <= tree.classes[-1]:
        raise UserError(
            f"distances must have a row for every class up to {tree.classes[-1]}, "
            f"found shape {distances.shape}"
        )
    among = distances[np.ix_(tree.classes, tree.classes)]
    return elementwise_correlation(among, tree.path_length(), method="pearson")
