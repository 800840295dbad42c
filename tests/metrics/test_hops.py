import numpy as np
import pytest

from hierjax import Hierarchy
from hierjax.errors import UserError
from hierjax.metrics import hops

# Two, four, eight, twenty and a hundred nodes, as the tree of CIFAR-100 in Hier-COS.
GROUPS = np.repeat(np.arange(8), [3, 2, 3, 2, 3, 2, 3, 2])
FIVE_LEVELS = Hierarchy.from_paths(
    [
        (f"a{g // 4}", f"b{g // 2}", f"c{g}", f"d{s}", f"e{5 * s + i}")
        for s, g in enumerate(GROUPS)
        for i in range(5)
    ]
)
RAGGED = Hierarchy.from_paths([("a", "x"), ("a", "y"), ("b",), ("c", "z", "w")])


def loop_hops(scores, truth, distance, k):
    """By places, as the definition is written."""
    classes = sorted(range(len(scores)), key=lambda c: (-scores[c], c))
    levels = sorted(set(distance[truth]))
    rank = {c: levels.index(distance[truth][c]) for c in classes}
    ideal = sorted(rank.values())
    weights = []
    for place, q in enumerate(ideal):
        start = ideal.index(q)
        end = 0.0 if q == len(levels) - 1 else 2.0 ** -(q + 1)
        step = (2.0**-q - end) / ideal.count(q)
        weights.append(2.0**-q - step * (place - start))
    k = len(classes) if k is None else k
    if k == 1:
        return float(classes[0] == truth)
    off = sum(weights[j] * abs(ideal[j] - rank[classes[j]]) for j in range(k))
    worst = sum(weights[j] * abs(ideal[j] - ideal[k - 1 - j]) for j in range(k))
    return min(max(1 - off / worst, 0.0), 1.0) if worst else np.nan


@pytest.mark.parametrize("k", [None, 1, 2, 3])
@pytest.mark.parametrize("distance", ["lca_height", "path_length"])
def test_against_a_loop(k, distance):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, size=(12, RAGGED.num_classes)).astype(float)
    ids = rng.integers(0, RAGGED.num_classes, 12)
    table = getattr(RAGGED, distance)()
    expected = [loop_hops(s, i, table, k) for s, i in zip(scores, ids, strict=True)]
    np.testing.assert_allclose(hops(scores, ids, table, k=k), expected)


def test_a_sibling_first_hardly_costs_anything():
    """What is known of it: accuracy 0 and .935 on such a tree, .2 to .3 at random."""
    table = FIVE_LEVELS.lca_height()
    ids = np.arange(100)
    ideal = -table.astype(float)
    np.testing.assert_array_equal(hops(ideal, ids, table), 1)
    sibling = ideal.copy()
    sibling[ids, ids] = -1.5
    assert hops(sibling, ids, table).mean() == pytest.approx(0.935, abs=0.01)
    assert (hops(sibling, ids, table, k=1) == 0).all()
    scores = np.random.default_rng(0).normal(size=(100, 100))
    assert 0.15 < hops(scores, ids, table).mean() < 0.35


def test_unknown_queries_and_bad_input():
    table = RAGGED.lca_height()
    assert np.isnan(hops(np.zeros((1, 4)), [-1], table)).all()
    with pytest.raises(UserError, match=r"scores must be numbers \[Q, 4\]"):
        hops(np.zeros((1, 3)), [0], table)
    with pytest.raises(UserError, match="k must lie in 1..4"):
        hops(np.zeros((1, 4)), [0], table, k=5)
