"""What a probe is asked to tell: the node of every level, and names on their own."""

import dataclasses

import numpy as np

from hierjax import metrics
from hierjax.data.dataset import Dataset
from hierjax.evaluation.queries import correct
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
    """The targets of a data set, from its true labels."""
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
      float64 ``[Q, T]``, NaN where the query's class is unknown.
    """
    nearest, _ = metrics.nearest_neighbors(queries, gallery, 1)
    return correct(gallery_ids[nearest[:, 0]], query_ids)
