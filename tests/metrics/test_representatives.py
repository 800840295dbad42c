import itertools
import math

import numpy as np
import pytest

from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.metrics.representatives import (
    mean_angle,
    near_uniformity,
    representative_retrieval,
    variance_measures,
)

NODES = np.array([0, 0, 1, 2, 1, 1, 3, 0, 1, 2])


def unit(row):
    return np.asarray(row) / math.hypot(*row)


def loop_retrieval(rows, nodes):
    rows = [unit(row) for row in rows]
    first, shares, means = [], [], []
    for i, row in enumerate(rows):
        others = [j for j in range(len(rows)) if j != i]
        others.sort(key=lambda j: (math.dist(row, rows[j]), j))
        relevant = [nodes[j] == nodes[i] for j in others]
        count = sum(relevant)
        if count:
            first.append(relevant[0])
            shares.append(sum(relevant[:count]) / count)
            precisions = [
                relevant[k] * sum(relevant[: k + 1]) / (k + 1) for k in range(count)
            ]
            means.append(sum(precisions) / count)
    names = ("precision@1", "r_precision", "map_at_r")
    values = [np.mean(v) if v else math.nan for v in (first, shares, means)]
    return dict(zip(names, values, strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_retrieval_equals_the_loops(seed):
    rows = np.random.default_rng(seed).normal(size=(10, 3))
    actual = representative_retrieval(rows, NODES)
    expected = loop_retrieval(rows, NODES)
    assert actual == pytest.approx(expected)
    assert len(set(expected.values())) == 3


def test_retrieval_by_hand():
    # In the order of angles: a b a a b, and a class on its own.
    angles = np.array([0, 0.1, 0.3, 0.6, 1.5, 3.0])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    actual = representative_retrieval(rows, np.array([7, 4, 7, 7, 4, 9]))
    # Nearest first: 0 b a a b, 1 a a a b, 2 b a a b, 3 a b a b, 4 a a b a.
    assert actual == pytest.approx(
        {
            "precision@1": 1 / 5,
            "r_precision": (1 / 2 + 0 + 1 / 2 + 1 / 2 + 0) / 5,
            "map_at_r": ((0 + 1 / 2) / 2 + 0 + (0 + 1 / 2) / 2 + (1 + 0) / 2 + 0) / 5,
        }
    )


def test_retrieval_of_representatives_in_groups_is_perfect():
    centers = np.eye(4)[NODES]
    rows = centers + 0.1 * np.random.default_rng(0).normal(size=(10, 4))
    assert set(representative_retrieval(rows, NODES).values()) == {1.0}
    assert representative_retrieval(rows, (NODES + 1) // 2)["r_precision"] < 1


def test_retrieval_is_expected_over_ties_and_never_returns_the_class_itself():
    rows = np.tile([[1.0, 2]], (4, 1))
    actual = representative_retrieval(rows, np.array([0, 1, 1, 0]))
    # One of the three others is relevant, and is first in one order of three.
    assert actual == pytest.approx(dict.fromkeys(actual, 1 / 3))
    many = np.tile(np.eye(3), (12, 1))
    nodes = np.random.default_rng(0).integers(6, size=36)
    found = [
        loop_retrieval(many[order], nodes[order])["map_at_r"]
        for order in np.random.default_rng(1).permuted(
            np.tile(np.arange(36), (60, 1)), axis=1
        )
    ]
    spread = np.std(found) / np.sqrt(len(found))
    actual = representative_retrieval(many, nodes)["map_at_r"]
    assert abs(actual - np.mean(found)) < 4 * spread < 0.03


def test_retrieval_ignores_lengths_and_names():
    rows = np.random.default_rng(1).normal(size=(10, 3))
    expected = representative_retrieval(rows, NODES)
    lengths = np.geomspace(1e-3, 1e3, 10)[:, None]
    assert representative_retrieval(rows * lengths, NODES) == pytest.approx(expected)
    order = np.random.default_rng(2).permutation(10)
    renamed = representative_retrieval(rows[order], 50 - NODES[order])
    assert renamed == pytest.approx(expected)


def test_retrieval_leaves_absent_classes_out():
    rows = np.random.default_rng(1).normal(size=(10, 3))
    kept = [0, 1, 2, 4, 6, 7, 8, 9]
    expected = loop_retrieval(rows[kept], NODES[kept])
    rows[3], rows[5] = np.nan, 0
    assert representative_retrieval(rows, NODES) == pytest.approx(expected)


def test_retrieval_needs_a_node_with_two_classes(recwarn):
    rows = np.random.default_rng(1).normal(size=(4, 3))
    for case in (
        (rows, np.arange(4)),
        (rows[:1], np.zeros(1, int)),
        (np.full((4, 3), np.nan), np.zeros(4, int)),
    ):
        assert np.isnan(list(representative_retrieval(*case).values())).all()
    assert not recwarn.list
    with pytest.raises(UserError, match="node_ids must be 4 integers"):
        representative_retrieval(rows, np.zeros(3, int))


def test_retrieval_on_the_levels_of_a_tree(shared_data):
    file = shared_data / "taxonomies" / "CIFAR100_cls.csv"
    hierarchy = Hierarchy.from_csv(file)
    codes = [np.eye(n)[hierarchy.ancestors[:, i]] for i, n in enumerate((3, 7, 20))]
    noise = 0.1 * np.random.default_rng(0).normal(size=(100, 5))
    rows = np.concatenate([*codes, noise], axis=1)
    for level in range(3):
        actual = representative_retrieval(rows, hierarchy.ancestors[:, level])
        assert set(actual.values()) == {1.0}
    leaves = representative_retrieval(rows, hierarchy.ancestors[:, 3])
    assert np.isnan(list(leaves.values())).all()


def test_near_uniformity_equals_the_loops():
    rows = np.random.default_rng(0).normal(size=(7, 4)) + [1, 0, 0, 0]
    units = [unit(row) for row in rows]
    cosines = [[float(a @ b) for b in units] for a in units]
    nearest = [max(c for j, c in enumerate(r) if j != i) for i, r in enumerate(cosines)]
    pairs = list(itertools.combinations(units, 2))
    chords = [math.dist(a, b) for a, b in pairs]
    angles = [math.acos(a @ b) for a, b in pairs]
    expected = {
        "mean_nearest_cosine": sum(nearest) / 7,
        "largest_cosine": max(nearest),
        "mean_resultant_norm": math.hypot(*(sum(units) / 7)),
        "log_sum_exp_cosine": math.log(sum(math.exp(c) for r in cosines for c in r)),
        "mean_distance": np.mean(chords),
        "std_distance": np.std(chords),
        "min_angle": min(angles),
        "max_angle": max(angles),
        "mean_angle": np.mean(angles),
        "std_angle": np.std(angles),
    }
    lengths = np.geomspace(0.1, 10, 7)[:, None]
    assert near_uniformity(rows * lengths) == pytest.approx(expected)
    with_gaps = np.insert(rows, [2, 7], [[np.nan] * 4, [0.0] * 4], axis=0)
    assert near_uniformity(with_gaps) == pytest.approx(expected)


def test_near_uniformity_of_a_simplex_and_of_one_point():
    num_classes = 6
    simplex = np.eye(num_classes) - 1 / num_classes
    actual = near_uniformity(simplex)
    cosine = -1 / (num_classes - 1)
    assert actual["mean_nearest_cosine"] == pytest.approx(cosine)
    assert actual["largest_cosine"] == pytest.approx(cosine)
    assert actual["mean_resultant_norm"] == pytest.approx(0, abs=1e-12)
    assert actual["min_angle"] == pytest.approx(math.acos(cosine))
    assert actual["std_angle"] == pytest.approx(0, abs=1e-12)
    together = near_uniformity(np.tile([[0.6, 0.8]], (5, 1)))
    assert together["mean_nearest_cosine"] == together["largest_cosine"] == 1
    assert together["mean_resultant_norm"] == pytest.approx(1)
    assert together["max_angle"] == together["mean_distance"] == 0
    assert together["log_sum_exp_cosine"] == pytest.approx(1 + math.log(25))


def test_near_uniformity_without_pairs(recwarn):
    one = near_uniformity([[np.nan, np.nan], [3, 4]])
    assert one.pop("mean_resultant_norm") == pytest.approx(1)
    assert one.pop("log_sum_exp_cosine") == 1
    assert len(one) == 8 and np.isnan(list(one.values())).all()
    none = near_uniformity(np.full((3, 2), np.nan))
    assert len(none) == 10 and np.isnan(list(none.values())).all()
    assert not recwarn.list


def embeddings_of(counts, dim=3, seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return rng.normal(size=(len(ids), dim)) * rng.uniform(0.1, 9, (len(ids), 1)), ids


def loop_variances(rows, ids, num_classes, divisor=None):
    members = [
        [unit(row) for row, i in zip(rows, ids, strict=True) if i == c]
        for c in range(num_classes)
    ]
    members = [units for units in members if units]
    means = [sum(units) / len(units) for units in members]
    divisor = divisor or len(means)
    intra = 0
    for units, mean in zip(members, means, strict=True):
        intra += sum(math.dist(u, mean) ** 2 for u in units) / len(units) / divisor
    inter = sum(math.dist(a, b) ** 2 for a in means for b in means)
    inter /= divisor * (divisor - 1)
    return {"inter": inter, "intra": intra, "discriminability": inter / intra}


def test_variances_equal_the_loops():
    rows, ids = embeddings_of([3, 1, 7, 2])
    expected = loop_variances(rows, ids, 4)
    assert variance_measures(rows, ids, 4) == pytest.approx(expected)
    assert variance_measures(rows, ids, 4, official=True) == pytest.approx(expected)


def test_variances_skip_absent_classes_and_unknown_rows():
    rows, ids = embeddings_of([3, 0, 7, 2, 0])
    expected = loop_variances(rows, ids, 5)
    assert variance_measures(rows, ids, 5) == pytest.approx(expected)
    published = loop_variances(rows, ids, 5, divisor=5)
    assert variance_measures(rows, ids, 5, official=True) == pytest.approx(published)
    more = np.concatenate([rows, 5 + rows[:4]])
    with_unknown = np.concatenate([ids, [-1] * 4])
    assert variance_measures(more, with_unknown, 5) == pytest.approx(expected)


def test_variances_of_extreme_sets(recwarn):
    tight = variance_measures(np.eye(3)[[0, 0, 1, 2]], np.array([0, 0, 1, 2]), 3)
    assert tight["inter"] == pytest.approx(2)
    assert tight["intra"] == 0 and tight["discriminability"] == math.inf
    one = variance_measures(np.eye(3), np.zeros(3, int), 4)
    assert one["intra"] == pytest.approx(2 / 3)
    assert math.isnan(one["inter"]) and math.isnan(one["discriminability"])
    none = variance_measures(np.eye(3), np.full(3, -1), 4)
    assert np.isnan(list(none.values())).all()
    assert not recwarn.list


def test_variances_name_bad_ids():
    with pytest.raises(UserError, match=r"in -1..2, found 0..3"):
        variance_measures(np.eye(4), np.arange(4), 3)
    with pytest.raises(UserError, match="finite, found NaN or infinity in row 1"):
        variance_measures([[1.0], [np.nan]], np.arange(2), 2)


def test_mean_angle():
    a = np.array([[1.0, 0], [0, 2], [3, 3], [np.nan] * 2, [1, 0], [0, 0]])
    b = np.array([[5.0, 5], [0, 9], [-1, 1], [1, 0], [np.nan] * 2, [1, 1]])
    assert mean_angle(a, b) == pytest.approx((math.pi / 4 + 0 + math.pi / 2) / 3)
    assert mean_angle(a, -a) == pytest.approx(math.pi)
    assert math.isnan(mean_angle(a[3:], b[3:]))
    with pytest.raises(UserError, match=r"same shape, found \(6, 2\) and \(5, 2\)"):
        mean_angle(a, b[:5])
