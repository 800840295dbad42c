import math
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest

from hierjax.errors import UserError
from hierjax.metrics import retrieval
from hierjax.metrics.retrieval import (
    area_under_similarity,
    hierarchical_similarity,
    similarity_at_k,
)

HOPS = np.array(
    [
        [0, 2, 5, 8, 8],
        [2, 0, 5, 8, 8],
        [5, 5, 0, 7, 7],
        [8, 8, 7, 0, 4],
        [8, 8, 7, 4, 0],
    ]
)
SIMILARITY = hierarchical_similarity(HOPS)


def loop_cosine(x, y):
    norms = math.hypot(*x) * math.hypot(*y)
    return sum(a * b for a, b in zip(x, y, strict=True)) / norms if norms else 0.0


def loop_similarity_at_k(rows, classes, max_k, official=False):
    rows = [[float(value) for value in row] for row in rows]
    known = [i for i, c in enumerate(classes) if c != -1]
    result = [[math.nan] * max_k for _ in rows]
    for query in known:
        others = [i for i in known if i != query]
        gain = [SIMILARITY[classes[query]][c] for c in classes]
        ranked = sorted(
            known if official else others,
            key=lambda i: (-round(loop_cosine(rows[query], rows[i]), 6), i),
        )[int(official) :]
        ideal = sorted((gain[i] for i in others), reverse=True)
        gains = [gain[i] for i in ranked]
        if not official:
            # Rows of equal cosine share their gains.
            near = [round(loop_cosine(rows[query], rows[i]), 6) for i in ranked]
            shared = {cosine: [] for cosine in near}
            for cosine, value in zip(near, gains, strict=True):
                shared[cosine].append(value)
            means = {cosine: sum(of) / len(of) for cosine, of in shared.items()}
            gains = [means[cosine] for cosine in near]
        for k in range(1, max_k + 1):
            found = sum(gains[:k])
            result[query][k - 1] = found / sum(ideal[:k])
    return np.array(result)


def data(num_rows=150, seed=0):
    """Rows, four of them copies and two zero, with classes of which 2 is absent."""
    rng = np.random.default_rng(seed)
    classes = rng.choice([-1, 0, 1, 3, 4], p=[0.1, 0.1, 0.2, 0.25, 0.35], size=num_rows)
    rows = rng.normal(size=(num_rows, 6)) + rng.normal(size=(6, 6))[classes]
    rows[40:43] = rows[20]
    rows[60:62] = 0
    return rows, classes


def test_similarities_of_hops():
    hops = np.array([[0, 2, 4], [6, 0, 8], [1, 3, 0]])
    euclidean = hierarchical_similarity(hops)
    expected = [[1, 0.5556, 0.36], [0.2653, 1, 0.2099], [0.75, 0.4375, 1]]
    np.testing.assert_allclose(euclidean, expected, atol=5e-5)
    arccos = hierarchical_similarity(hops, distance="arccos")
    for i in range(3):
        for j in range(3):
            t = hops[i, j]
            angle = math.pi * t / (2 * (1 + t))
            assert arccos[i, j] == pytest.approx(math.cos(angle))
            chord = math.sqrt(2) * t / (1 + t)
            assert euclidean[i, j] == pytest.approx(1 - chord**2 / 2)
    with pytest.raises(UserError, match="euclidean or arccos, found 'cosine'"):
        hierarchical_similarity(hops, distance="cosine")
    with pytest.raises(UserError, match=r"\[C, C\], found \(2, 3\)"):
        hierarchical_similarity(hops[:2])


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("max_k", [1, 20])
def test_similarity_equals_the_loop_oracle(max_k, official):
    rows, classes = data()
    actual = similarity_at_k(rows, classes, SIMILARITY, max_k=max_k, official=official)
    assert actual.shape == (150, max_k)
    expected = loop_similarity_at_k(rows, classes, max_k, official)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)
    np.testing.assert_array_equal(np.isnan(actual[:, 0]), classes == -1)


@pytest.mark.parametrize("block_size", [1, 7, 64, 1000])
def test_blocks_change_nothing(block_size):
    rows, classes = data()
    expected = similarity_at_k(rows, classes, SIMILARITY, max_k=20)
    actual = similarity_at_k(rows, classes, SIMILARITY, max_k=20, block_size=block_size)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_memory_is_blocks_only():
    rng = np.random.default_rng(4)
    rows, classes = rng.normal(size=(4000, 8)), rng.integers(5, size=4000)
    tracemalloc.start()
    similarity_at_k(rows, classes, SIMILARITY, max_k=20, block_size=64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Of all products as float32: 64 MB.
    assert peak < 8e6


def test_products_on_a_device_change_nothing(monkeypatch):
    rows, classes = data()
    expected = similarity_at_k(rows, classes, SIMILARITY, max_k=20)
    monkeypatch.setattr(retrieval, "place", lambda rows, _: jnp.asarray(rows))
    actual = similarity_at_k(rows, classes, SIMILARITY, max_k=20)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_a_perfect_ranking_is_one_at_every_k():
    # Unit vectors whose inner products are the similarities of their classes.
    rows = np.linalg.cholesky(SIMILARITY)
    classes = np.array([4, 3, 3, 1, 0, 2, 4, 4, 1, 2, 0, 0])
    actual = similarity_at_k(rows[classes], classes, SIMILARITY, max_k=11)
    np.testing.assert_allclose(actual, np.ones((12, 11)), rtol=1e-12)
    np.testing.assert_allclose(area_under_similarity(actual), np.ones(12))
    worst = similarity_at_k(rows[(classes + 1) % 5], classes, SIMILARITY, max_k=11)
    assert worst[:, :4].mean() < 0.95
    np.testing.assert_allclose(worst[:, -1], 1)


def test_the_query_is_left_out_by_index_even_among_copies():
    rows = np.ones((4, 3))
    classes = np.array([0, 1, 3, 0])
    s = SIMILARITY
    actual = similarity_at_k(rows, classes, s, max_k=3)
    # Each of the others is as probable at every rank.
    mean = (s[0, 1] + s[0, 3] + 1) / 3
    np.testing.assert_allclose(actual[0, :2], [mean, 2 * mean / (1 + s[0, 1])])
    np.testing.assert_allclose(actual[3], actual[0])
    np.testing.assert_allclose(actual[1, 0], (2 * s[1, 0] + s[1, 3]) / 3 / s[1, 0])
    # The published code drops row 0 for everybody and may find the query itself.
    official = similarity_at_k(rows, classes, s, max_k=3, official=True)
    np.testing.assert_allclose(
        official[3, :2], [s[0, 1], (s[0, 1] + s[0, 3]) / (1 + s[0, 1])]
    )
    np.testing.assert_allclose(official[1, 0], 1 / s[1, 0])


def test_many_copies_tie_exactly_in_any_column():
    rng = np.random.default_rng(5)
    distinct = rng.normal(size=(7, 33))
    place = rng.integers(7, size=300)
    classes = rng.integers(5, size=300)
    # Rows of any length have the same cosine.
    rows = distinct[place] * 2.0 ** rng.integers(-3, 4, size=(300, 1))
    actual = similarity_at_k(rows, classes, SIMILARITY, max_k=60)
    expected = loop_similarity_at_k(rows, classes, 60)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_rows_that_differ_little_keep_their_order():
    rng = np.random.default_rng(6)
    classes = rng.integers(5, size=120)
    # Cosines differ from 1 by 1e-9, which float32 cannot hold.
    rows = np.array([[3.0, -2.0, 1.0, 0.5]]) + 1e-4 * rng.normal(size=(120, 4))
    actual = similarity_at_k(rows, classes, SIMILARITY, max_k=30)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = units @ units.T
    expected = np.empty((120, 30))
    for query, own in enumerate(classes):
        ranked = [i for i in np.argsort(-cosines[query]) if i != query]
        ideal = sorted(SIMILARITY[own, np.delete(classes, query)], reverse=True)
        found = SIMILARITY[own, classes[ranked[:30]]]
        expected[query] = found.cumsum() / np.cumsum(ideal[:30])
    assert np.isclose(actual, expected, rtol=1e-9).mean() > 0.995


def test_a_zero_row_among_close_ones_comes_last():
    rng = np.random.default_rng(10)
    rows = np.array([[5.0, 1.0]]) + 1e-3 * rng.normal(size=(2000, 2))
    rows[0] = 0
    classes = np.where(np.arange(2000) == 0, 3, 0)
    classes[5] = 4
    actual = similarity_at_k(rows, classes, SIMILARITY, max_k=1999)
    of_zero = [SIMILARITY[3, c] for c in classes[1:].tolist()]
    # All are as far from it.
    ideal = np.cumsum(sorted(of_zero, reverse=True))
    expected = np.mean(of_zero) * np.arange(1, 2000) / ideal
    np.testing.assert_allclose(actual[0], expected)
    np.testing.assert_allclose(actual[:, -1], 1)
    ordinary = classes == 0
    np.testing.assert_allclose(actual[ordinary, -2], 1, rtol=1e-12)


def test_permuted_rows_and_unknown_rows():
    rng = np.random.default_rng(7)
    rows, classes = rng.normal(size=(90, 5)), rng.integers(5, size=90)
    expected = similarity_at_k(rows, classes, SIMILARITY, max_k=15)
    order = rng.permutation(90)
    permuted = similarity_at_k(rows[order], classes[order], SIMILARITY, max_k=15)
    np.testing.assert_allclose(permuted, expected[order], rtol=1e-12)
    more = np.concatenate([rng.normal(size=(30, 5)), rows])
    labels = np.concatenate([np.full(30, -1), classes])
    actual = similarity_at_k(more, labels, SIMILARITY, max_k=15)
    assert np.isnan(actual[:30]).all()
    np.testing.assert_allclose(actual[30:], expected, rtol=1e-12)


def test_a_single_class_is_always_right():
    rows = np.random.default_rng(8).normal(size=(20, 3))
    actual = similarity_at_k(rows, np.full(20, 2), SIMILARITY, max_k=19)
    np.testing.assert_array_equal(actual, np.ones((20, 19)))


def test_area_is_the_trapezoid_rule():
    values = np.random.default_rng(9).uniform(size=(3, 7))
    values[1] = np.nan
    expected = [sum((row[i] + row[i + 1]) / 2 / 6 for i in range(6)) for row in values]
    np.testing.assert_allclose(area_under_similarity(values), expected)
    np.testing.assert_allclose(
        area_under_similarity(values[:1, :2])[0], values[0, :2].mean()
    )
    with pytest.raises(UserError, match=r"K at least 2, found \(3, 1\)"):
        area_under_similarity(values[:, :1])


def test_wrong_retrieval_input():
    rows, classes = data()
    available = int((classes != -1).sum()) - 1
    similarity_at_k(rows, classes, SIMILARITY, max_k=available)
    for max_k in (0, available + 1):
        with pytest.raises(UserError, match=rf"1\.\.{available}.*found {max_k}"):
            similarity_at_k(rows, classes, SIMILARITY, max_k=max_k)
    with pytest.raises(UserError, match=r"-1\.\.4, found 5 in row 0"):
        similarity_at_k(rows, np.full(150, 5), SIMILARITY)
    with pytest.raises(UserError, match="found 250"):
        similarity_at_k(rows, np.full(150, -1), SIMILARITY)
    with pytest.raises(UserError, match="embeddings must be finite.*row 3"):
        similarity_at_k(
            np.where(np.arange(150)[:, None] == 3, np.nan, rows), classes, SIMILARITY
        )
    with pytest.raises(UserError, match="class_ids must be 150 integers"):
        similarity_at_k(rows, classes[1:], SIMILARITY)
    with pytest.raises(UserError, match="similarity must have shape"):
        similarity_at_k(rows, classes, SIMILARITY[0])
    with pytest.raises(UserError, match="block_size must be at least 1"):
        similarity_at_k(rows, classes, SIMILARITY, max_k=3, block_size=0)
