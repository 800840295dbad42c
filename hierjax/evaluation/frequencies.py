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
