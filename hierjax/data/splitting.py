"""Deterministic partitions of rows that respect classes and groups."""

import numpy as np


def deal_parts(
    classes: np.ndarray,
    groups: np.ndarray,
    shares: tuple[int, ...],
    seed: int,
) -> np.ndarray:
    """Deals whole groups of rows out to parts of given shares, class by class.

    Groups are taken class by class (a group of several classes counts as the one it
    has most rows of), largest first, equals in random order. Each goes to the part
    that is furthest behind its share of the class, then of all rows: Webster's rule of
    apportionment. Classes with fewer groups than there are parts are dealt as one.

    Args:
      classes: ``[N]`` int, class of each row (any integers).
      groups: ``[N]`` int, rows of one group stay together; ``arange(N)`` for none.
      shares: Positive integers, one a part; (3, 1, 1) makes 60, 20 and 20 %.
      seed: Seed of the order among equally large groups.

    Returns:
      ``[N]`` int32, the part of each row. With single rows and at least as many rows
      as parts in a class, each part's share of the class is met to within one row or
      two.

    Example:
      >>> classes = np.array([0, 0, 0, 0, 1, 1, 1, 1])
      >>> part = deal_parts(classes, np.arange(8), shares=(3, 1), seed=0)
      >>> np.bincount(part[classes == 0]).tolist(), np.bincount(part).tolist()
      ([3, 1], [6, 2])
    """
    _, group_of = np.unique(groups, return_inverse=True)
    _, class_of = np.unique(classes, return_inverse=True)
    sizes = np.bincount(group_of)
    pairs, counts = np.unique(
        np.stack([group_of, class_of], axis=1), axis=0, return_counts=True
    )
    majority = np.empty(len(sizes), np.int64)
    ascending = np.argsort(counts, kind="stable")
    majority[pairs[ascending, 0]] = pairs[ascending, 1]
    groups_of_class = np.bincount(majority, minlength=len(counts))
    stratum = np.where(groups_of_class[majority] >= len(shares), majority, -1)

    chance = np.random.default_rng(seed).random(len(sizes))
    part_of_group = np.empty(len(sizes), np.int32)
    dealt = np.zeros(len(shares))
    current = None
    for group in np.lexsort((chance, -sizes, stratum)):
        if stratum[group] != current:
            current, dealt_here = stratum[group], np.zeros(len(shares))
        behind = (dealt_here + sizes[group] / 2) / shares
        overall = (dealt + sizes[group] / 2) / shares
        part = np.lexsort((overall, behind))[0]
        part_of_group[group] = part
        dealt_here[part] += sizes[group]
        dealt[part] += sizes[group]
    return part_of_group[group_of]


def split_rows(
    classes: np.ndarray, groups: np.ndarray, seed: int = 0
) -> dict[str, np.ndarray]:
    """Returns a 60/20/20 split into train, validation and test; see `deal_parts`.

    Example:
      >>> splits = split_rows(classes=np.arange(20) // 10, groups=np.arange(20))
      >>> {split: len(rows) for split, rows in splits.items()}
      {'train': 12, 'validation': 4, 'test': 4}
    """
    part = deal_parts(classes, groups, (3, 1, 1), seed)
    return {
        split: np.flatnonzero(part == number)
        for number, split in enumerate(("train", "validation", "test"))
    }
