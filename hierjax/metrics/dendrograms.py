"""Purity of a dendrogram of rows: do rows of a class meet before others join them?"""

import collections

import numpy as np

from hierjax.errors import UserError


def dendrogram_purity(merges: np.ndarray, ids: np.ndarray) -> float:
    """Mean purity of the cluster in which two rows of a class first meet.

    Heller and Ghahramani 2005, "Bayesian Hierarchical Clustering": over all pairs of
    rows of one class, the share of that class in the leaves below their lowest common
    ancestor; exact, not over sampled pairs.

    Args:
      merges: ``[N - 1, 2 or more]`` as ``scipy.cluster.hierarchy.linkage`` gives it:
        the numbers of the two clusters that are joined, N and more for earlier joins.
        Ties are as the linkage broke them.
      ids: ``[N]`` classes; -1 is unknown, and such a row is in no pair but is a leaf.

    Returns:
      In (0, 1]; 1 where every class is a cluster; NaN without a pair.

    Raises:
      UserError: shapes that do not fit.

    Examples:
      >>> import scipy.cluster.hierarchy as sch
      >>> rows = np.array([[0.0], [0.1], [5.0], [5.2], [0.3]])
      >>> merges = sch.linkage(rows, "average")
      >>> dendrogram_purity(merges, np.array([0, 0, 1, 1, 0]))
      1.0
      >>> round(dendrogram_purity(merges, np.array([0, 1, 0, 1, 0])), 3)
      0.567
    """
    merges, ids = np.asarray(merges), np.asarray(ids)
    if merges.ndim != 2 or merges.shape[1] < 2 or len(merges) != len(ids) - 1:
        raise UserError(
            f"merges must be [{max(len(ids) - 1, 0)}, 2 or more] for {len(ids)} rows, "
            f"found {merges.shape}"
        )
    clusters = [collections.Counter([i] if i >= 0 else []) for i in ids.tolist()]
    sizes = [1] * len(ids)
    total, pairs = 0.0, 0
    for left, right in merges[:, :2].astype(int).tolist():
        small, large = sorted((clusters[left], clusters[right]), key=len)
        size = sizes[left] + sizes[right]
        for name, count in small.items():
            meeting = count * large[name]
            total += meeting * (count + large[name]) / size
            pairs += meeting
            large[name] += count
        clusters[left] = clusters[right] = None
        clusters.append(large)
        sizes.append(size)
    return total / pairs if pairs else float("nan")
