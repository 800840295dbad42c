"""What a guess would get right that never looks at the input."""

import numpy as np

from hierjax.data import Dataset
from hierjax.evaluation.queries import correct, mean


def most_frequent(dataset: Dataset, split: str = "test") -> dict[str, float]:
    """Accuracy a level of always naming the training rows' most frequent node.

    Args:
      dataset: with a training split.
      split: whose rows are the queries.

    Returns:
      Level name to the share of queries of known node that are of that node; NaN
      where no training row or no query has a known one.

    Examples:
      >>> from hierjax import Hierarchy
      >>> from hierjax.data import Dataset
      >>> tree = Hierarchy.from_paths([("bird", "owl"), ("bird", "duck"), ("cod",)])
      >>> labels = tree.labels_of(np.array([0, 1, 2, 0, 1, 2]))
      >>> rows = np.array([[1.0, 0], [1, 1], [-1, 0], [2, 0], [3, 2], [-3, 0]])
      >>> splits = {"train": np.arange(3), "test": np.arange(3, 6)}
      >>> data = Dataset("toy", rows, labels, tree, splits)
      >>> {name: round(share, 3) for name, share in most_frequent(data, "test").items()}
      {'level_0': 0.667, 'level_1': 0.333}
    """
    training = dataset.labels[dataset.rows("train")]
    queries = dataset.labels[dataset.rows(split)]
    shares = {}
    for level, name in enumerate(dataset.hierarchy.level_names):
        known = training[:, level][training[:, level] >= 0]
        guess = np.argmax(np.bincount(known)) if known.size else -1
        right = correct(np.full(len(queries), guess), queries[:, level])
        shares[name] = mean(right) if known.size else float("nan")
    return shares
