"""Rankings of all rows against loops over every order of their ties."""

import itertools
import math

import numpy as np
import pytest

from hierjax import Hierarchy
from hierjax.errors import UserError
from hierjax.metrics import full_ranking

RNG = np.random.default_rng(3)
LABELS = np.array([[0, 0], [0, 0], [0, 1], [0, 1], [1, 2], [1, 2], [1, 3], [0, 0]])


def orders(similar, others):
    """All orders by falling similarity, those of ties in every way."""
    values = sorted({similar[j] for j in others}, reverse=True)
    blocks = [[j for j in others if similar[j] == v] for v in values]
    for parts in itertools.product(*map(itertools.permutations, blocks)):
        yield [j for part in parts for j in part]


def shared_levels(a, b):
    count = 0
    for x, y in zip(a, b, strict=True):
        if x < 0 or x != y:
            break
        count += 1
    return count


def loop_measures(order, query, labels, alpha):
    """The measures of one order, by their definitions."""
    num_levels = labels.shape[1]
    shared = [shared_levels(labels[query], labels[j]) for j in order]
    precision, map_at_r = [], []
    for level in range(num_levels):
        relevant = [s > level for s in shared]
        number = sum(relevant)
        if labels[query][level] < 0 or not number:
            precision.append(math.nan)
            map_at_r.append(math.nan)
            continue
        precision.append(sum(relevant[:number]) / number)
        map_at_r.append(
            sum(sum(relevant[: i + 1]) / (i + 1) * relevant[i] for i in range(number))
            / number
        )
    if (labels[query] < 0).any() or not any(shared):
        return precision, map_at_r, math.nan, math.nan
    worth = [(s / num_levels) ** alpha / shared.count(s) for s in shared]
    found = 0.0
    for k in range(len(order)):
        before = sum(min(worth[j], worth[k]) for j in range(k))
        found += (worth[k] + before) / (k + 1) if worth[k] else 0.0
    gains = [2**s - 1 for s in shared]
    best = sum(g / math.log2(i + 2) for i, g in enumerate(sorted(gains, reverse=True)))
    ndcg = sum(g / math.log2(i + 2) for i, g in enumerate(gains)) / best
    return precision, map_at_r, found / sum(worth), ndcg


def mean_over_orders(similar, labels, query, alpha):
    others = [j for j in range(len(labels)) if j != query]
    found = [
        loop_measures(order, query, labels, alpha) for order in orders(similar, others)
    ]
    return [np.mean([f[i] for f in found], axis=0) for i in range(4)]


def rows_with_ties():
    """On a circle, so that several rows are at the same angle from a query."""
    angles = np.pi / 4 * np.array([0, 1, 7, 0, 2, 1, 4, 3])
    return np.column_stack([np.cos(angles), np.sin(angles)])


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("alpha", [1.0, 2.5])
def test_expected_over_all_orders_of_ties(distance, alpha):
    rows, labels = rows_with_ties(), LABELS.copy()
    labels[5] = [1, -1]
    found = full_ranking(rows, labels, distance=distance, alpha=alpha, block_size=3)
    for query in range(len(rows)):
        similar = np.round(rows @ rows[query], 9)
        expected = mean_over_orders(similar, labels, query, alpha)
        for values, wanted in zip(found[:4], expected, strict=True):
            np.testing.assert_allclose(values[query], wanted, rtol=1e-9)


def test_a_perfect_ranking_has_one_and_a_collapsed_one_chance():
    tree = Hierarchy.from_paths([("a", "x"), ("a", "y"), ("b", "z"), ("b", "w")])
    ids = np.repeat(np.arange(4), 5)
    corners = np.array([[0, 0], [0, 1], [9, 0], [9, 1.0]])
    rows = corners[ids] + RNG.normal(scale=1e-3, size=(20, 2))
    labels = tree.labels_of(ids)
    for values in full_ranking(rows, labels, distance="euclidean"):
        np.testing.assert_allclose(values, 1)
    alike = full_ranking(np.ones((20, 3)), labels)
    np.testing.assert_allclose(alike.r_precision, np.tile([9 / 19, 4 / 19], (20, 1)))
    # A query far from all, or at 0, learns nothing either.
    zero = full_ranking(np.zeros((20, 3)), labels)
    np.testing.assert_array_equal(zero.map_at_r, alike.map_at_r)


def test_average_set_intersection_counts_levels():
    rows = np.array([[0.0], [1.0], [2.0], [3.0]])
    labels = np.array([[0, 0], [1, 2], [0, 1], [0, 0]])
    found = full_ranking(rows, labels, distance="euclidean").asi[0]
    # Best: 2, 1, 0 levels shared; found: 0, 1, 2.
    assert found == pytest.approx((0 / 1 + 1 / 2 + 3 / 3) / 3)


def test_what_is_undefined_and_refused():
    labels = np.array([[0, 0], [0, 1], [1, 2], [-1, -1]])
    found = full_ranking(RNG.normal(size=(4, 3)), labels)
    assert np.isnan(found.r_precision[:, 1]).all()
    assert np.isfinite(found.r_precision[:2, 0]).all()
    assert np.isnan(found.r_precision[2:, 0]).all()
    assert np.isnan(found.ndcg[2:]).all() and np.isfinite(found.ndcg[:2]).all()
    empty = full_ranking(np.zeros((0, 2)), np.zeros((0, 3), int))
    assert empty.map_at_r.shape == (0, 3)
    with pytest.raises(UserError, match="labels must be"):
        full_ranking(np.zeros((3, 2)), labels)
    with pytest.raises(UserError, match="alpha must be positive"):
        full_ranking(np.zeros((4, 2)), labels, alpha=0.0)
