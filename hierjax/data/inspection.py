"""What a data set is like, and what may be wrong with it."""

import collections
import dataclasses
import hashlib
import re

import numpy as np

from hierjax.data.dataset import Dataset
from hierjax.hierarchy import Hierarchy


@dataclasses.dataclass(frozen=True)
class Node:
    """A node of the tree with the rows known to lie at or below it.

    Attributes:
      path: Names from the coarsest down to its own.
      num_rows: Rows whose label goes through it.
      num_ending: Those of them of which nothing finer is known, though there is.
    """

    path: tuple[str, ...]
    num_rows: int
    num_ending: int


@dataclasses.dataclass(frozen=True)
class Level:
    """A level of the tree; classes that end above it count as nodes of it.

    Attributes:
      name: Its name.
      num_nodes: Nodes on it.
      rows_of_node: Rows known to be of each node, ``[num_nodes]``.
      node_names: Names of the nodes.
      num_unknown: Rows whose label does not reach it.
    """

    name: str
    num_nodes: int
    rows_of_node: np.ndarray
    node_names: tuple[str, ...]
    num_unknown: int


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What `inspect` finds.

    Attributes:
      nodes: Nodes of the tree, each before those below it.
      levels: Coarsest first.
      classes_of_depth: How many classes end at each depth, from 1.
      splits: Rows of each split.
      num_unused: Rows in no split.
      low: Smallest feature.
      high: Largest feature.
      imbalance: Rows of the largest class for one of the smallest that has any.
      duplicates_across: Groups of rows with equal features in more than one split.
      duplicates_within: Groups of rows with equal features in one split.
      contradictions: Groups of rows with equal features and labels that differ at a
        level known of both.
      single_classes: Paths of the classes with one row; so of the next three.
      empty_classes: Classes without any row.
      unseen_classes: Classes with rows, but none for training.
      untested_classes: Classes with rows for training, but none in the test split, or
        that for validation if there is no test split.
      constant_features: Features that are the same in all training rows.
      num_features: Features a row.
      shared_groups: Units of the bootstrap that lie in more than one split.
      alike: Nodes below one parent whose names differ in capitals or in blanks,
        hyphens and underscores alone: groups of paths.
    """

    nodes: tuple[Node, ...]
    levels: tuple[Level, ...]
    classes_of_depth: dict[int, int]
    splits: dict[str, int]
    num_unused: int
    low: float
    high: float
    imbalance: float
    duplicates_across: tuple[tuple[int, ...], ...]
    duplicates_within: tuple[tuple[int, ...], ...]
    contradictions: tuple[tuple[int, ...], ...]
    single_classes: tuple[str, ...]
    empty_classes: tuple[str, ...]
    unseen_classes: tuple[str, ...]
    untested_classes: tuple[str, ...]
    constant_features: int
    num_features: int
    shared_groups: int
    alike: tuple[tuple[tuple[str, ...], ...], ...]


def inspect(dataset: Dataset) -> Inspection:
    """Counts, and looks for what makes a measurement wrong.

    Equal features are equal bit by bit, found by a digest of every row; rows in no
    split are left out of that.

    Example:
      >>> from hierjax.data import gm_notes
      >>> found = inspect(gm_notes.load())
      >>> found.splits
      {'train': 766, 'validation': 254, 'test': 510}
      >>> [(level.name, level.num_nodes) for level in found.levels]
      [('family', 16), ('instrument', 128)]
    """
    hierarchy, labels = dataset.hierarchy, dataset.labels
    split_of = np.full(len(labels), -1)
    for number, rows in enumerate(dataset.splits.values()):
        split_of[rows] = number
    equal = _equal_rows(dataset, np.flatnonzero(split_of >= 0))
    across = [rows for rows in equal if len(set(split_of[list(rows)])) > 1]
    within = [rows for rows in equal if len(set(split_of[list(rows)])) == 1]
    total = _rows_of_class(dataset, np.arange(len(labels)))
    train = _rows_of_class(dataset, dataset.rows("train"))
    measured = next((s for s in ("test", "validation") if s in dataset.splits), "train")
    test = _rows_of_class(dataset, dataset.rows(measured))
    flat = dataset.features.reshape(len(labels), -1)[dataset.rows("train")]
    there = total[total > 0]
    return Inspection(
        nodes=_nodes(dataset),
        levels=tuple(_level(dataset, level) for level in range(labels.shape[1])),
        classes_of_depth=dict(
            sorted(collections.Counter(hierarchy.depths.tolist()).items())
        ),
        splits={split: len(rows) for split, rows in dataset.splits.items()},
        num_unused=int(np.sum(split_of < 0)),
        low=float(dataset.features.min()),
        high=float(dataset.features.max()),
        imbalance=float(there.max() / there.min()) if there.size else np.nan,
        duplicates_across=tuple(across),
        duplicates_within=tuple(within),
        contradictions=tuple(rows for rows in equal if _contradict(labels[list(rows)])),
        single_classes=_names(dataset, total == 1),
        empty_classes=_names(dataset, total == 0),
        unseen_classes=_names(dataset, (total > 0) & (train == 0)),
        untested_classes=_names(dataset, (train > 0) & (test == 0)),
        constant_features=int((flat.max(axis=0) == flat.min(axis=0)).sum()),
        num_features=flat.shape[1],
        shared_groups=_shared_groups(dataset, split_of),
        alike=_alike(hierarchy),
    )


def _names(dataset: Dataset, chosen: np.ndarray) -> tuple[str, ...]:
    paths = dataset.hierarchy.paths
    return tuple("/".join(paths[c]) for c in np.flatnonzero(chosen))


def _rows_of_class(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    ids = dataset.labels[rows, -1]
    return np.bincount(ids[ids >= 0], minlength=dataset.hierarchy.num_classes)


def _level(dataset: Dataset, level: int) -> Level:
    ids = dataset.labels[:, level]
    num_nodes = dataset.hierarchy.nodes_per_level[level]
    return Level(
        name=dataset.hierarchy.level_names[level],
        num_nodes=num_nodes,
        rows_of_node=np.bincount(ids[ids >= 0], minlength=num_nodes),
        node_names=dataset.hierarchy.node_names(level),
        num_unknown=int(np.sum(ids < 0)),
    )


def _nodes(dataset: Dataset) -> tuple[Node, ...]:
    hierarchy = dataset.hierarchy
    ends = (dataset.labels >= 0).sum(axis=1) - 1
    nodes = []
    for level, ids in enumerate(dataset.labels.T):
        size = hierarchy.nodes_per_level[level]
        counts = np.bincount(ids[ids >= 0], minlength=size)
        ending = np.bincount(ids[ends == level], minlength=size)
        _, first = np.unique(hierarchy.ancestors[:, level], return_index=True)
        for node, c in enumerate(first):
            if hierarchy.depths[c] > level:
                path = hierarchy.paths[c][: level + 1]
                finer = hierarchy.num_levels > level + 1
                nodes.append(
                    Node(path, int(counts[node]), int(ending[node]) if finer else 0)
                )
    return tuple(sorted(nodes, key=lambda node: node.path))


def _alike(hierarchy: Hierarchy) -> tuple[tuple[tuple[str, ...], ...], ...]:
    groups = collections.defaultdict(dict)
    for path in hierarchy.paths:
        for end in range(1, len(path) + 1):
            name = re.sub(r"[\s_-]+", " ", path[end - 1]).casefold()
            groups[path[: end - 1], name][path[:end]] = None
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _equal_rows(dataset: Dataset, rows: np.ndarray) -> list[tuple[int, ...]]:
    """Groups of two and more rows with equal features."""
    groups = collections.defaultdict(list)
    for row in rows.tolist():
        features = np.ascontiguousarray(dataset.features[row])
        groups[hashlib.blake2b(features.tobytes(), digest_size=16).digest()].append(row)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _contradict(labels: np.ndarray) -> bool:
    return any(len(set(column[column >= 0])) > 1 for column in labels.T)


def _shared_groups(dataset: Dataset, split_of: np.ndarray) -> int:
    used = split_of >= 0
    pairs = np.unique(np.stack([dataset.units[used], split_of[used]], axis=1), axis=0)
    _, splits = np.unique(pairs[:, 0], return_counts=True)
    return int((splits > 1).sum())
