import itertools

import numpy as np
import pytest
import scipy.cluster.hierarchy as sch

from hierjax.errors import UserError
from hierjax.metrics import dendrogram_purity


def loop_purity(merges, ids):
    """Leaves of every node as a set; the smallest set that holds a pair."""
    leaves = [{i} for i in range(len(ids))]
    for left, right in merges[:, :2].astype(int):
        leaves.append(leaves[left] | leaves[right])
    values = []
    for a, b in itertools.combinations(range(len(ids)), 2):
        if ids[a] == ids[b] >= 0:
            meeting = min((s for s in leaves if a in s and b in s), key=len)
            values.append(np.mean([ids[i] == ids[a] for i in meeting]))
    return np.mean(values)


@pytest.mark.parametrize("method", ["average", "single", "ward"])
def test_against_a_loop(method):
    rng = np.random.default_rng(0)
    ids = rng.integers(-1, 4, 25)
    merges = sch.linkage(rng.normal(size=(25, 3)) + ids[:, None], method)
    assert dendrogram_purity(merges, ids) == pytest.approx(loop_purity(merges, ids))


def test_perfect_undefined_and_refused():
    rows = np.array([[0.0], [0.1], [5.0], [5.2]])
    merges = sch.linkage(rows, "average")
    assert dendrogram_purity(merges, np.array([0, 0, 1, 1])) == 1
    assert np.isnan(dendrogram_purity(merges, np.arange(4)))
    assert np.isnan(dendrogram_purity(np.zeros((0, 4)), np.array([3])))
    with pytest.raises(UserError, match=r"merges must be \[2, 2 or more\] for 3 rows"):
        dendrogram_purity(merges, np.arange(3))
