"""What a probe is asked to tell: the node of every level, and names on their own."""

import dataclasses

import numpy as np

from hierjax import metrics
from hierjax.data.dataset import Dataset
from hierjax.hierarchy import UNKNOWN


@dataclasses.dataclass(frozen=True)
class Targets:
    """Several labellings of the rows of a data set.

    Attributes:
      names: of the T targets: the levels, coarsest first, and ``<level>_name`` for
        levels on which nodes under different parents share a name: there the name
        alone is to be told.
      ids: int32 ``[N, T]``, -1 unknown.
      num_classes: classes of each target.
    """

    names: tuple[str, ...]
    ids: np.ndarray
    num_classes: tuple[int, ...]

    def only(self, names: tuple[str, ...]) -> "Targets":
        """Those of the given names, in the present order."""
        kept = [i for i, name in enumerate(self.names) if name in names]
        return Targets(
            tuple(self.names[i] for i in kept),
            self.ids[:, kept],
            tuple(self.num_classes[i] for i in kept),
        )


def targets_of(data: Dataset) -> Targets:
    """The targets of a data set, from its true labels.

    Args:
      data: labels and tree.

    Returns:
      One target a level, and one more for each level on which nodes share a name.

    Examples:
      >>> from hierjax import Hierarchy
      >>> from hierjax.data import Dataset
      >>> paths = [("oil", "sample 1"), ("oil", "sample 2"), ("ink", "sample 1")]
      >>> hierarchy = Hierarchy.from_paths(paths, level_names=["kind", "sample"])
      >>> labels = hierarchy.labels_of(np.arange(3))
      >>> splits = {"train": np.arange(3)}
      >>> data = Dataset("toy", np.ones((3, 2)), labels, hierarchy, splits)
      >>> targets = targets_of(data)
      >>> targets.names, targets.num_classes
      (('kind', 'sample', 'sample_name'), (2, 3, 2))
      >>> targets.ids[:, 2].tolist()
      [0, 1, 0]
    """
    hierarchy = data.hierarchy
    names, columns, sizes = [], [], []
    for level, name in enumerate(hierarchy.level_names):
        ids, size = data.labels[:, level], hierarchy.nodes_per_level[level]
        names.append(name)
        columns.append(ids)
        sizes.append(size)
        numbers = hierarchy.name_ids(level)
        if numbers.max() + 1 < size:
            names.append(f"{name}_name")
            columns.append(np.where(ids < 0, -1, numbers[ids]))
            sizes.append(int(numbers.max()) + 1)
    return Targets(tuple(names), np.stack(columns, axis=1), tuple(sizes))


def learnable(data: Dataset, targets: Targets, split: str = "test") -> tuple[str, ...]:
    """Names of the targets of which every class of a split is also in training.

    A target that is unknown throughout training, validation or the split is none.

    Args:
      data: labels and splits.
      targets: of that data set.
      split: whose classes are to be in training.

    Returns:
      Their names, in the order of the targets.
    """

    def known(ids, name):
        rows = data.rows(name) if name in data.splits else data.rows("train")
        return set(ids[rows]) - {UNKNOWN}

    return tuple(
        name
        for name, ids in zip(targets.names, targets.ids.T, strict=True)
        if known(ids, "validation")
        and known(ids, split)
        and known(ids, split) <= known(ids, "train")
    )


def nearest_correct(
    queries: np.ndarray,
    gallery: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
) -> np.ndarray:
    """Whether the nearest row of a gallery, by cosine, is of the same class.

    Args:
      queries: ``[Q, D]``.
      gallery: ``[G, D]``.
      query_ids: ``[Q, T]``, -1 unknown.
      gallery_ids: ``[G, T]``.

    Returns:
      float64 ``[Q, T]``, 1 or 0, where several rows are equally near the share that is
      of the class; NaN where the query's class is unknown.

    Examples:
      >>> gallery, gallery_ids = np.eye(2), np.array([[3, 5], [4, 8]])
      >>> queries, query_ids = np.array([[1.0, 0.1]]), np.array([[3, 8]])
      >>> nearest_correct(queries, gallery, query_ids, gallery_ids)
      array([[1., 0.]])
    """
    found = metrics.find_neighbors(queries, gallery, 1)
    return np.stack(
        [
            metrics.expected_correct(metrics.vote_shares(found, told, 1), true)
            for told, true in zip(gallery_ids.T, query_ids.T, strict=True)
        ],
        axis=1,
    )
