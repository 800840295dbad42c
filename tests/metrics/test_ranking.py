import math

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support, top_k_accuracy_score

from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.metrics.classification import mistake_distance
from hierjax.metrics.ranking import (
    correct_sets,
    hierarchical_cost,
    hierarchical_distance_at_k,
    hierarchical_precision,
    ideal_distance_at_k,
    level_correct,
    precision_recall_f1,
    top_classes,
    top_k_correct,
)

# Eight classes at depths 2 to 4, so that hop distances differ and may be odd.
PATHS = [
    ("a", "a1", "a1x"),
    ("a", "a1", "a1y"),
    ("a", "a2"),
    ("b", "b1", "b1x", "b1xi"),
    ("b", "b1", "b1x", "b1xii"),
    ("b", "b1", "b1y"),
    ("b", "b2"),
    ("c", "c1"),
]
TREE = Hierarchy.from_paths(PATHS)
HOPS = TREE.path_length()
CLASSES = np.array([3, 0, -1, 7, 5, 2, 1, -1, 6, 4])
SCORES = np.random.default_rng(0).normal(size=(10, 8)).round(1)

TAXONOMIES = {
    # file: internal classes, mean |H| official and at k - 1, chance HP@5 and AHC
    "CIFAR100_cls.csv": (False, 18.75, 5.0, 0.1875, 6.760),
    "nabirds_cls.csv": (False, 55.0, 46.2, 0.0991, 6.390),
    "MicroS_cls.csv": (False, 13.6, 10.9, 0.1246, 8.014),
    "MicroL_cls.csv": (True, 10.5, 8.1, 0.1030, 8.548),
    "MesoZ_cls.csv": (False, 10.8, 9.1, 0.2082, 6.923),
}


def loop_top(row, k):
    return sorted(range(len(row)), key=lambda c: (-row[c], c))[:k]


def loop_correct_set(true, k, index):
    radius = sorted(HOPS[true])[index]
    return {c for c in range(len(HOPS)) if HOPS[true][c] <= radius}


def loop_over_known(measure):
    """``measure(true class, query)`` of every query, NaN for unknown classes."""
    pairs = zip(CLASSES.tolist(), range(10), strict=True)
    return [math.nan if true == -1 else measure(true, i) for true, i in pairs]


@pytest.mark.parametrize("k", [1, 3, 8])
def test_top_classes_equal_the_loop_oracle(k):
    top = top_classes(SCORES, k)
    assert top.dtype == np.int32
    np.testing.assert_array_equal(top, [loop_top(row, k) for row in SCORES.tolist()])


def test_equal_scores_go_to_the_smaller_class():
    scores = np.array([[1, 2, 2, 0], [-np.inf, 3, -np.inf, np.inf], [5, 5, 5, 5]])
    expected = [[1, 2, 0, 3], [3, 1, 0, 2], [0, 1, 2, 3]]
    np.testing.assert_array_equal(top_classes(scores, 4), expected)
    np.testing.assert_array_equal(top_classes(scores[:1].astype(int), 2), [[1, 2]])
    # Scores that float32 would tie keep their order.
    assert top_classes(np.array([[1.0, 1 + 1e-12]]), 1) == [[1]]


def test_wrong_scores():
    with pytest.raises(UserError, match=r"1\.\.8, the classes there are, found 9"):
        top_classes(SCORES, 9)
    with pytest.raises(UserError, match=r"found 0"):
        top_classes(SCORES, 0)
    with pytest.raises(UserError, match=r"NaN, found in row 2, class 5"):
        top_classes(np.where(SCORES == SCORES[2, 5], np.nan, SCORES)[:3], 2)
    with pytest.raises(UserError, match=r"\[Q, C\], found \(8,\)"):
        top_classes(SCORES[0], 2)


def test_top_k_correct():
    rng = np.random.default_rng(1)
    classes, scores = np.arange(200) % 8, rng.normal(size=(200, 8))
    for k in (1, 3):
        actual = top_k_correct(top_classes(scores, k), classes).mean()
        assert actual == pytest.approx(top_k_accuracy_score(classes, scores, k=k))
    top = top_classes(SCORES, 3)
    expected = loop_over_known(lambda true, i: true in loop_top(SCORES[i], 3))
    np.testing.assert_array_equal(top_k_correct(top, CLASSES), expected)
    assert top_k_correct(top[:, :1], np.full(10, -1)).tolist() == pytest.approx(
        [math.nan] * 10, nan_ok=True
    )
    with pytest.raises(UserError, match="class_ids must be 10 integers"):
        top_k_correct(top, CLASSES[:9])
    with pytest.raises(UserError, match=r"top must be integers.*\(10,\)"):
        top_k_correct(top[:, 0], CLASSES)


def test_cost_counts_every_query_and_relates_to_mistakes():
    predicted = np.array([3, 1, 0, 6, 5, 3, 1, 1, 0, 3])
    cost = hierarchical_cost(predicted, CLASSES, HOPS)
    expected = loop_over_known(lambda true, i: HOPS[predicted[i]][true])
    np.testing.assert_array_equal(cost, expected)
    error_rate = 1 - np.nanmean(top_k_correct(predicted[:, None], CLASSES))
    assert 0 < error_rate < 1
    mistakes = mistake_distance(predicted, CLASSES, HOPS)
    assert np.nanmean(cost) == pytest.approx(error_rate * mistakes)
    known = CLASSES != -1
    perfect = hierarchical_cost(CLASSES[known], CLASSES[known], HOPS)
    np.testing.assert_array_equal(perfect, np.zeros(8))


@pytest.mark.parametrize("k", [1, 3, 5])
def test_distance_at_k_equals_the_loop_oracle(k):
    actual = hierarchical_distance_at_k(top_classes(SCORES, k), CLASSES, HOPS)
    expected = loop_over_known(
        lambda true, i: sum(HOPS[true][c] for c in loop_top(SCORES[i], k)) / k
    )
    np.testing.assert_allclose(actual, expected)
    ideal = ideal_distance_at_k(HOPS, k)
    np.testing.assert_allclose(ideal, [sum(sorted(row)[:k]) / k for row in HOPS])
    nearest_first = top_classes(-HOPS, k)
    best = hierarchical_distance_at_k(nearest_first, np.arange(8), HOPS)
    np.testing.assert_allclose(best, ideal)
    assert (ideal > 0).all() == (k > 1)


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_precision_equals_the_loop_oracle(k, official):
    index = k + 1 if official else k - 1
    sets = [loop_correct_set(true, k, index) for true in range(8)]
    actual = correct_sets(HOPS, k, official=official)
    assert actual.dtype == bool
    assert [set(np.flatnonzero(row)) for row in actual] == sets
    assert (actual.sum(axis=1) >= index + 1).all() and actual.diagonal().all()
    expected = loop_over_known(
        lambda true, i: len(sets[true] & set(loop_top(SCORES[i], k))) / k
    )
    top = top_classes(SCORES, k)
    precision = hierarchical_precision(top, CLASSES, HOPS, official=official)
    np.testing.assert_allclose(precision, expected)
    nearest_first = top_classes(-HOPS, k)
    perfect = hierarchical_precision(nearest_first, np.arange(8), HOPS)
    np.testing.assert_array_equal(perfect, np.ones(8))


def test_too_few_classes_for_a_correct_set():
    assert correct_sets(HOPS, 8).all()
    assert correct_sets(HOPS, 6, official=True).all()
    with pytest.raises(UserError, match="k = 9 need 9 classes.*found 8"):
        correct_sets(HOPS, 9)
    with pytest.raises(UserError, match="k = 7 need 9 classes.*found 8"):
        correct_sets(HOPS, 7, official=True)
    with pytest.raises(UserError, match=r"k must lie in 1\.\.8.*found 9"):
        ideal_distance_at_k(HOPS, 9)


@pytest.mark.parametrize("file", TAXONOMIES)
def test_known_sizes_and_chance_levels(shared_data, file):
    internal, size, corrected_size, chance_precision, chance_cost = TAXONOMIES[file]
    tree = Hierarchy.from_csv(
        shared_data / "taxonomies" / file, allow_internal_classes=internal
    )
    hops = tree.path_length()
    sizes = correct_sets(hops, 5, official=True).sum(axis=1)
    assert sizes.mean() == pytest.approx(size, abs=0.05)
    ranges = {"CIFAR100_cls.csv": (10, 30), "nabirds_cls.csv": (7, 290)}
    assert ranges.get(file, (sizes.min(), sizes.max())) == (sizes.min(), sizes.max())
    corrected = correct_sets(hops, 5).sum(axis=1).mean()
    assert corrected == pytest.approx(corrected_size, abs=0.05)
    # Every pair of a true and a predicted class once: uniform prior and prediction.
    true, predicted = np.indices(hops.shape).reshape(2, -1)
    cost = hierarchical_cost(predicted, true, hops).mean()
    assert cost == pytest.approx(chance_cost, abs=5e-4)
    hits = correct_sets(hops, 5, official=True)[true, predicted]
    assert hits.mean() == pytest.approx(chance_precision, abs=5e-5)
    # The second of two predictions is any class too, whatever the first one was.
    everything = np.tile(np.arange(len(hops)), (len(hops), 1))
    hits = correct_sets(hops, 5, official=True)[
        np.arange(len(hops))[:, None], everything
    ]
    assert hits.mean() == pytest.approx(chance_precision, abs=5e-5)


def test_level_correct_equals_the_loop_oracle():
    predicted = np.array([4, 2, 0, 7, 3, 2, 0, 1, 5, 6])
    actual = level_correct(predicted, CLASSES, TREE.ancestors)
    for level in range(4):
        nodes = [path[: level + 1] for path in PATHS]
        expected = loop_over_known(
            lambda true, i, nodes=nodes: nodes[predicted[i]] == nodes[true]
        )
        np.testing.assert_array_equal(actual[:, level], expected)
    assert (np.diff(np.nanmean(actual, axis=0)) <= 0).all()
    same_class = top_k_correct(predicted[:, None], CLASSES)
    np.testing.assert_array_equal(actual[:, -1], same_class)
    with pytest.raises(UserError, match=r"ancestors must have shape \[C, L\]"):
        level_correct(predicted, CLASSES, np.arange(8))
    with pytest.raises(UserError, match=r"predicted must lie in 0\.\.7, found -1 in r"):
        level_correct(CLASSES, CLASSES, TREE.ancestors)


def test_precision_recall_f1_equal_scikit_learn():
    rng = np.random.default_rng(2)
    # Class 6 is never predicted, 5 has no queries, 7 has neither, 0 has no hits.
    predicted = rng.choice(6, size=90)
    true = rng.choice([-1, 0, 1, 2, 3, 4, 6], size=90)
    predicted[predicted == true] = np.where(
        true[predicted == true] == 0, 1, true[predicted == true]
    )
    known = true != -1
    expected = precision_recall_fscore_support(
        true[known], predicted[known], labels=np.arange(8), zero_division=np.nan
    )
    actual = precision_recall_f1(predicted, true, 8)
    for values, reference in zip(actual, expected[:3], strict=True):
        np.testing.assert_allclose(values, reference)
    precision, recall, f1 = actual
    assert np.flatnonzero(np.isnan(precision)).tolist() == [6, 7]
    assert np.flatnonzero(np.isnan(recall)).tolist() == [5, 7]
    assert np.flatnonzero(np.isnan(f1)).tolist() == [7]
    assert precision[0] == recall[0] == f1[0] == f1[5] == f1[6] == 0
    official = precision_recall_f1(predicted, true, 8, official=True)
    np.testing.assert_array_equal(official[:2], actual[:2])
    np.testing.assert_array_equal(official[2][:5], f1[:5])
    assert np.isnan(official[2][5:]).all()


def test_precision_recall_f1_of_a_level_and_of_one_class():
    labels = TREE.labels_of(CLASSES)
    predicted = TREE.labels_of(np.array([7, 2, 0, 7, 3, 4, 0, 1, 5, 6]))
    precision, recall, f1 = precision_recall_f1(
        predicted[:, 0], labels[:, 0], TREE.nodes_per_level[0]
    )
    np.testing.assert_allclose(precision, [1, 3 / 4, 1 / 2])
    np.testing.assert_allclose(recall, [2 / 3, 3 / 4, 1])
    np.testing.assert_allclose(f1, [4 / 5, 3 / 4, 2 / 3])
    alone = precision_recall_f1(np.zeros(3, int), np.zeros(3, int), 1)
    np.testing.assert_array_equal(alone, np.ones((3, 1)))
    nobody = precision_recall_f1(np.zeros(3, int), np.full(3, -1), 2)
    assert np.isnan(nobody).all()


def test_wrong_classes():
    top = top_classes(SCORES, 2)
    with pytest.raises(
        UserError, match=r"class_ids must lie in -1\.\.7, found 8 in row 4"
    ):
        hierarchical_cost(top[:, 0], np.where(CLASSES == 5, 8, CLASSES), HOPS)
    with pytest.raises(UserError, match=r"predicted must lie in 0\.\.7, found -2 in r"):
        hierarchical_cost(np.full(10, -2), CLASSES, HOPS)
    with pytest.raises(
        UserError, match=r"column 1 of top must lie in 0\.\.7, found -1"
    ):
        hierarchical_distance_at_k(top * [1, 0] - [0, 1], CLASSES, HOPS)
    with pytest.raises(
        UserError, match=r"tree_distance must .*\[C, C\], found \(8, 7\)"
    ):
        hierarchical_precision(top, CLASSES, HOPS[:, :7])


def test_renaming_the_classes_changes_nothing():
    order = np.random.default_rng(3).permutation(8)
    rank = np.argsort(order)
    known = CLASSES[CLASSES != -1]
    scores = np.random.default_rng(4).normal(size=(len(known), 8))
    hops = HOPS[np.ix_(order, order)]
    top, renamed = top_classes(scores, 3), top_classes(scores[:, order], 3)
    for measure in (hierarchical_distance_at_k, hierarchical_precision):
        actual = measure(renamed, rank[known], hops)
        np.testing.assert_allclose(actual, measure(top, known, HOPS))
