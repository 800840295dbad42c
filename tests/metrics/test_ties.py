"""Rows and scores that tie: expected values over every order, by trying them all."""

import itertools
import math

import numpy as np
import pytest

from hierjax import Hierarchy, evaluation, metrics
from hierjax.data import Dataset

LETTERS = ["a", "b"]


def orders_of(values):
    """Every order of ``range(len(values))`` by value in which ties may stand."""
    for tie_break in itertools.permutations(range(len(values))):
        yield sorted(range(len(values)), key=lambda i: (values[i], tie_break[i]))


def loop_shares(distances, labels, k):
    """Label to the share of all orders in which it wins the vote of the first k."""
    total, found = 0, {}
    for order in orders_of(distances):
        votes = [labels[i] for i in order[:k] if labels[i] != -1]
        winners = [
            v for v in set(votes) if votes.count(v) == max(map(votes.count, votes))
        ]
        for label in winners:
            found[label] = found.get(label, 0) + 1 / len(winners)
        total += 1
    return {label: share / total for label, share in found.items()}


@pytest.mark.parametrize("seed", range(12))
def test_votes_equal_all_orders(seed):
    rng = np.random.default_rng(seed)
    gallery, labels = rng.integers(3, size=(6, 1)), rng.integers(-1, 3, size=6)
    queries = np.array([[0], [1], [5]])
    most = rng.integers(1, 7)
    found = metrics.find_neighbors(queries, gallery, most, distance="euclidean")
    for k in range(1, most + 1):
        shares = metrics.vote_shares(found, labels, k)
        for number, query in enumerate(queries):
            of = shares.query == number
            actual = dict(zip(shares.label[of], shares.share[of], strict=True))
            expected = loop_shares(np.abs(gallery - query)[:, 0], labels, k)
            assert actual == pytest.approx(expected)


def test_many_tied_rows_share_the_places_that_are_left():
    # Two certain votes for 3; three more from 30 rows of 3, 40 of 5 and 50 unknown.
    labels = np.repeat([3, 3, 5, -1], [2, 30, 40, 50])
    distances = np.repeat([[1.0], [2.0]], [2, 120], axis=0)
    found = metrics.find_neighbors(np.zeros((1, 1)), distances, 5, distance="euclidean")
    shares = metrics.vote_shares(found, labels, 5)
    # 5 wins with three votes, and has half of a tie at two.
    every = math.comb(120, 3)
    ways = math.comb(40, 3) + math.comb(40, 2) * 50 / 2
    assert shares.label.tolist() == [3, 5]
    assert shares.share == pytest.approx([1 - ways / every, ways / every])


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_groups_hold_every_row_as_far_as_the_last(distance):
    rng = np.random.default_rng(0)
    gallery = np.repeat(np.eye(4), [1, 5, 9, 2], axis=0)[rng.permutation(17)]
    gallery = np.concatenate([gallery, np.zeros((2, 4))])
    queries = np.concatenate([np.eye(4), np.zeros((1, 4))])
    for k in (1, 3, 7, 18, 19):
        found = metrics.find_neighbors(queries, gallery, k, distance=distance)
        squares = np.square(queries[:, None] - gallery).sum(axis=2)
        if distance == "cosine":
            lengths = queries.any(axis=1)[:, None] & gallery.any(axis=1)
            squares = np.where(lengths, squares, 2)
        for query, of in enumerate(squares):
            last = np.sort(of)[k - 1]
            tied = np.flatnonzero(of == last)
            fitting = np.count_nonzero(np.sort(of)[:k] == last)
            if fitting == len(tied):
                assert found.edge[query] == -1
            else:
                np.testing.assert_array_equal(found.groups[found.edge[query]], tied)
            assert len(set(np.sort(of)[:k])) == found.rank[query, -1] + 1


def test_no_row_is_in_its_own_group():
    rows = np.ones((5, 2))
    found = metrics.find_neighbors(rows, rows, 2, exclude_self=True)
    for query in range(5):
        assert found.groups[found.edge[query]].tolist() == [
            i for i in range(5) if i != query
        ]


@pytest.mark.parametrize("seed", range(6))
def test_retrieval_equals_all_orders(seed):
    rng = np.random.default_rng(seed)
    rows = np.array([[1, 0], [0, 1], [-1, 0], [1, 1.0]])[rng.integers(4, size=6)]
    nodes = np.array([0, 0, 1, 1, 1, 2])[rng.permutation(6)]
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = []
    for query in range(6):
        others = [i for i in range(6) if i != query]
        count = sum(nodes[i] == nodes[query] for i in others)
        if not count:
            continue
        distances = [round(math.dist(units[query], units[i]), 9) for i in others]
        values = []
        for order in orders_of(distances):
            hits = [nodes[others[i]] == nodes[query] for i in order]
            average = sum(hits[r] * sum(hits[: r + 1]) / (r + 1) for r in range(count))
            values.append([hits[0], sum(hits[:count]) / count, average / count])
        expected.append(np.mean(values, axis=0))
    actual = list(metrics.representative_retrieval(rows, nodes).values())
    np.testing.assert_allclose(actual, np.mean(expected, axis=0))


@pytest.mark.parametrize("max_k", [2, 5])
def test_similarity_equals_all_orders(max_k):
    rng = np.random.default_rng(max_k)
    places = np.array([0, 0, 0, 1, 1, 2])
    rows, classes = np.eye(3)[places], rng.integers(3, size=6)
    similarity = np.array([[1, 0.6, 0.1], [0.6, 1, 0.2], [0.1, 0.2, 1]])
    actual = metrics.similarity_at_k(rows, classes, similarity, max_k=max_k)
    for query in range(6):
        others = [i for i in range(6) if i != query]
        gains = similarity[classes[query], classes[others]]
        ideal = np.sort(gains)[::-1].cumsum()
        found = [
            gains[order].cumsum()
            for order in orders_of((places[others] != places[query]).tolist())
        ]
        expected = np.mean(found, axis=0) / ideal
        np.testing.assert_allclose(actual[query], expected[:max_k])


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_class_scores_equal_all_orders(k):
    hops = np.array([[0, 2, 4, 4], [2, 0, 4, 4], [4, 4, 0, 2], [4, 4, 2, 0]])
    scores = np.array([[1, 1, 1, 1], [2, 1, 1, 0], [0, 3, 3, 3], [4, 3, 2, 1.0]])
    ids = np.array([1, 2, 0, 3])

    def distance(top, ids):
        return metrics.hierarchical_distance_at_k(top, ids, hops)

    for measure in (metrics.top_k_correct, distance):
        actual = metrics.expected_over_ties(measure, scores, ids, k)
        expected = [
            np.mean([measure(np.array([o[:k]]), true[None]) for o in orders_of(-row)])
            for row, true in zip(scores, ids, strict=True)
        ]
        np.testing.assert_allclose(actual, expected)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_collapsed_embedding_scores_exactly_chance(value):
    paths = [(group, f"{group}{i}") for group in LETTERS for i in (1, 2)]
    tree = Hierarchy.from_paths([*paths, ("c", "c1")], level_names=["group", "leaf"])
    ids = np.arange(60) % 5
    splits = {
        "train": np.arange(20),
        "validation": np.arange(20, 40),
        "test": np.arange(40, 60),
    }
    data = Dataset("toy", np.full((60, 3), value), tree.labels_of(ids), tree, splits)

    def embed(rows):
        return data.features[rows]

    found = evaluation.evaluate(embed, data, neighbors=(1, 7)).measures
    # 2, 2 and 1 of 5 leaves lie under the groups.
    assert found["knn/group"] == pytest.approx((0.4**2 * 2 + 0.2**2))
    assert found["knn/leaf"] == pytest.approx(0.2)
    assert found["nearest_mean/leaf"] == pytest.approx(0.2)
    classes = evaluation.evaluate_classes(embed, data, num_permutations=0).measures
    if value:
        assert classes["accuracy/leaf/means"] == pytest.approx(0.2)
        assert classes["tied/all/means"] == 1
        assert classes["precision@1/leaf/means"] != classes["precision@1/leaf/means"]
        assert classes["precision@1/group/means"] == pytest.approx(1 / 4)
    # A query finds the 19 others, 3 of its own leaf, in any order.
    similarity = metrics.hierarchical_similarity(tree.path_length())
    gains = [
        similarity[i, np.delete(ids[40:], q)].mean() for q, i in enumerate(ids[40:])
    ]
    assert classes["similarity@1/all"] == pytest.approx(np.mean(gains))
    quick = evaluation.validation_measures(embed, data, "nn/average")
    assert quick["nn/leaf"] == pytest.approx(0.2)
