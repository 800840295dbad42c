import math

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from hierjax.errors import UserError
from hierjax.metrics import (
    choose_k,
    knn_accuracy,
    knn_predictions,
    mistake_distance,
    nearest_mean_predictions,
    nearest_neighbors,
)

DISTANCES = ("cosine", "euclidean")


def loop_distance(x, y, distance):
    if distance == "euclidean":
        return math.dist(x, y)
    norms = math.hypot(*x) * math.hypot(*y)
    return 1 - sum(a * b for a, b in zip(x, y, strict=True)) / norms if norms else 1.0


def loop_neighbors(queries, gallery, k, distance, exclude_self=False):
    found = []
    for i, query in enumerate(queries):
        candidates = [
            (round(loop_distance(query, row, distance), 6), j)
            for j, row in enumerate(gallery)
            if not (exclude_self and i == j)
        ]
        found.append(sorted(candidates)[:k])
    distances = np.array([[value for value, _ in row] for row in found])
    return np.array([[j for _, j in row] for row in found]), distances


def loop_vote(labels):
    votes = {}
    for label in labels:
        if label != -1:
            votes[label] = votes.get(label, 0) + 1
    return min(votes, key=lambda label: (-votes[label], label), default=-1)


def grid(num_rows, seed=0):
    """Few directions on a small integer grid: many exact ties and duplicates."""
    return np.random.default_rng(seed).integers(-2, 3, size=(num_rows, 3))


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("exclude_self", [False, True])
def test_neighbors_equal_the_loop_oracle(distance, exclude_self):
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(150, 5))
    gallery[10:14] = gallery[20]
    gallery[30:33] = 0
    queries = gallery if exclude_self else rng.normal(size=(40, 5))
    indices, distances = nearest_neighbors(
        queries, gallery, 9, distance=distance, exclude_self=exclude_self
    )
    expected = loop_neighbors(queries, gallery, 9, distance, exclude_self)
    assert indices.dtype == np.int32 and distances.dtype == np.float32
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(distances, expected[1], atol=2e-6)
    assert (np.diff(distances, axis=1) >= 0).all()
    if exclude_self:
        assert not (indices == np.arange(150)[:, None]).any()
        assert indices[20, :4].tolist() == [10, 11, 12, 13]


@pytest.mark.parametrize("block_size", [7, 64, 4096])
def test_ties_go_to_the_lower_index_in_any_blocking(block_size):
    rows = grid(200)
    expected, _ = loop_neighbors(rows, rows, 25, "euclidean", exclude_self=True)
    actual, _ = nearest_neighbors(
        rows,
        rows,
        25,
        distance="euclidean",
        exclude_self=True,
        block_size=block_size,
    )
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("distance", DISTANCES)
def test_collapsed_rows_come_in_index_order(distance):
    indices, distances = nearest_neighbors(
        np.full((3, 4), 0.3), np.full((200, 4), 0.3), 150, distance=distance
    )
    np.testing.assert_array_equal(indices, np.tile(np.arange(150), (3, 1)))
    assert (distances == 0).all()


@pytest.mark.parametrize("distance", DISTANCES)
def test_neighbors_follow_a_permuted_gallery(distance):
    rng = np.random.default_rng(4)
    queries, gallery = rng.normal(size=(30, 6)), rng.normal(size=(170, 6))
    order = rng.permutation(170)
    indices, _ = nearest_neighbors(queries, gallery, 5, distance=distance)
    permuted, _ = nearest_neighbors(queries, gallery[order], 5, distance=distance)
    np.testing.assert_array_equal(order[permuted], indices)


def test_offset_does_not_change_euclidean_neighbors():
    rng = np.random.default_rng(5)
    queries, gallery = rng.normal(size=(30, 6)), rng.normal(size=(170, 6))
    expected = nearest_neighbors(queries, gallery, 5, distance="euclidean")
    actual = nearest_neighbors(queries + 1e7, gallery + 1e7, 5, distance="euclidean")
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_allclose(actual[1], expected[1], atol=1e-5)


def test_edges_of_k_and_empty_queries():
    rows = np.random.default_rng(6).normal(size=(5, 3))
    everything, _ = nearest_neighbors(rows, rows, 5)
    assert [sorted(row) for row in everything.tolist()] == [[0, 1, 2, 3, 4]] * 5
    assert nearest_neighbors(rows[:0], rows, 2)[0].shape == (0, 2)
    others, _ = nearest_neighbors(rows, rows, 4, exclude_self=True, block_size=2)
    assert all(i not in row for i, row in enumerate(others.tolist()))
    with pytest.raises(UserError, match=r"1\.\.4.*found 5"):
        nearest_neighbors(rows, rows, 5, exclude_self=True)
    with pytest.raises(ValueError, match=r"1\.\.5.*found 6"):
        nearest_neighbors(rows, rows, 6)


def test_wrong_neighbors_input():
    rows = np.ones((5, 3))
    with pytest.raises(UserError, match="found 3 and 2"):
        nearest_neighbors(rows, rows[:, :2], 1)
    with pytest.raises(UserError, match="found 4 and 5 rows"):
        nearest_neighbors(rows[:4], rows, 1, exclude_self=True)
    with pytest.raises(UserError, match="found 'dot'"):
        nearest_neighbors(rows, rows, 1, distance="dot")
    with pytest.raises(UserError, match="gallery must be finite.*row 2"):
        nearest_neighbors(rows, np.where(np.arange(5)[:, None] == 2, np.inf, rows), 1)


@pytest.mark.parametrize("distance", DISTANCES)
def test_votes_equal_scikit_learn(distance):
    rng = np.random.default_rng(8)
    gallery, queries = rng.normal(size=(400, 4)), rng.normal(size=(150, 4))
    labels = rng.integers(6, size=400) * 5
    ks = [1, 2, 4, 7, 12, 40]
    indices, _ = nearest_neighbors(queries, gallery, 40, distance=distance)
    predictions = knn_predictions(labels[indices], ks)
    for k, actual in zip(ks, predictions, strict=True):
        model = KNeighborsClassifier(k, metric=distance, algorithm="brute")
        expected = model.fit(gallery, labels).predict(queries)
        np.testing.assert_array_equal(actual, expected)


def test_votes_equal_the_loop_oracle():
    labels = np.random.default_rng(9).integers(-1, 5, size=(300, 12))
    labels[:5] = -1
    ks = [12, 3, 1, 2, 3, 8]
    actual = knn_predictions(labels, ks)
    expected = [[loop_vote(row[:k]) for row in labels.tolist()] for k in ks]
    np.testing.assert_array_equal(actual, expected)
    assert (actual[:, :5] == -1).all()


def test_vote_ties_by_hand():
    labels = np.array([[7, 3, 3, 7, 9], [-1, 4, 2, -1, 4]])
    np.testing.assert_array_equal(
        knn_predictions(labels, [1, 2, 3, 4, 5]),
        [[7, -1], [3, 4], [3, 2], [3, 2], [3, 4]],
    )


def test_accuracy_counts_known_queries_only():
    neighbors = np.array([[0, 1, 1], [1, 0, 0], [2, 2, 2], [5, -1, -1]])
    truth = np.array([0, 0, -1, 5])
    np.testing.assert_allclose(knn_accuracy(neighbors, truth, [1, 3]), [2 / 3, 2 / 3])
    unknown = knn_accuracy(neighbors, np.full(4, -1), [1, 3])
    np.testing.assert_array_equal(unknown, [np.nan, np.nan])
    with pytest.raises(UserError, match=r"1\.\.3, found \[1, 4\]"):
        knn_accuracy(neighbors, truth, [1, 4])
    with pytest.raises(UserError, match="query_labels must be 4 integers"):
        knn_accuracy(neighbors, truth[:3], [1])


def test_choose_k():
    assert choose_k(np.array([0.2, 0.7, 0.5]), [1, 2, 3]) == 2
    assert choose_k(np.array([0.7, 0.2, 0.7]), [9, 1, 4]) == 4
    with pytest.raises(UserError, match="one known accuracy"):
        choose_k(np.array([0.1, np.nan]), [1, 2])


def test_nearest_mean_equals_scikit_learn():
    rng = np.random.default_rng(10)
    labels = rng.integers(7, size=300) * 3 + 2
    gallery = rng.normal(size=(300, 5)) + rng.normal(size=(24, 5))[labels] + 50
    queries = rng.normal(size=(200, 5)) + 50
    actual = nearest_mean_predictions(queries, gallery, labels, distance="euclidean")
    expected = NearestCentroid().fit(gallery, labels).predict(queries)
    np.testing.assert_array_equal(actual, expected)


def test_nearest_mean_direction_equals_the_loop_oracle():
    rng = np.random.default_rng(11)
    labels = rng.integers(-1, 5, size=120)
    lengths = rng.uniform(0.01, 20, size=(120, 1))
    gallery = lengths * (rng.normal(size=(120, 4)) + rng.normal(size=(6, 4))[labels])
    queries = rng.normal(size=(60, 4))
    means = []
    for label in range(5):
        units = [row / math.hypot(*row) for row in gallery[labels == label]]
        means.append(sum(units) / len(units))
    expected, _ = loop_neighbors(queries, means, 1, "cosine")
    actual = nearest_mean_predictions(queries, gallery, labels)
    np.testing.assert_array_equal(actual, expected[:, 0])


def test_nearest_mean_ties_and_unknown():
    gallery = np.array([[1.0, 0], [-1.0, 0], [0, 0.5], [9.0, 9.0]])
    labels = np.array([8, 5, 6, -1])
    queries = np.array([[0.0, -3.0], [9.0, 9.0]])
    actual = nearest_mean_predictions(queries, gallery, labels, distance="euclidean")
    assert actual.tolist() == [5, 8]
    unknown = nearest_mean_predictions(queries, gallery, np.full(4, -1))
    assert unknown.tolist() == [-1, -1]


def test_mistake_distance():
    tree = np.array([[0, 2, 6], [2, 0, 4], [6, 4, 0]])
    predicted = np.array([0, 1, 2, 0, -1, 1])
    true = np.array([0, 0, 1, 2, 1, -1])
    assert mistake_distance(predicted, true, tree) == pytest.approx((2 + 4 + 6) / 3)
    assert math.isnan(mistake_distance(true, true, tree))
    with pytest.raises(UserError, match="below 3.*found 3"):
        mistake_distance(np.array([3]), np.array([0]), tree)
    with pytest.raises(UserError, match="true must be 2 integers"):
        mistake_distance(np.array([0, 1]), np.array([0]), tree)
