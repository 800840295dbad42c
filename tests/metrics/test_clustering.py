import math
import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from hierjax.errors import UserError
from hierjax.metrics import clustering, silhouette_samples, silhouette_score
from hierjax.metrics.distances import squared_distances

DISTANCES = ("cosine", "euclidean")


def loop_distance(x, y, distance):
    if distance == "euclidean":
        return math.dist(x, y)
    norms = math.hypot(*x) * math.hypot(*y)
    return 1 - sum(a * b for a, b in zip(x, y, strict=True)) / norms if norms else 1.0


def loop_silhouettes(rows, labels, distance):
    result = []
    for i, row in enumerate(rows):
        by_label = {}
        for j, other in enumerate(rows):
            if j != i and labels[j] != -1:
                value = loop_distance(row, other, distance)
                by_label.setdefault(int(labels[j]), []).append(value)
        own = by_label.pop(int(labels[i]), [])
        if labels[i] == -1 or not by_label:
            result.append(math.nan)
        elif not own:
            result.append(0.0)
        else:
            a = sum(own) / len(own)
            b = min(sum(values) / len(values) for values in by_label.values())
            result.append((b - a) / max(a, b) if max(a, b) else 0.0)
    return np.array(result)


def clustered(num_rows, num_classes, dim, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=num_rows)
    centers = 2 * rng.normal(size=(num_classes, dim))
    return centers[labels] + rng.normal(size=(num_rows, dim)), labels


def awkward():
    """Unknown rows, singletons, duplicates, zero vectors, ids with gaps."""
    rows, labels = clustered(150, 6, 5)
    labels = labels * 11 + 3
    rows[10:14] = rows[20]
    rows[30:33] = 0
    labels[[40, 41]] = [1000, 2]
    labels[50:61] = -1
    return rows, labels


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_equals_scikit_learn(distance, offset):
    rows, labels = clustered(700, 9, 5)
    rows = rows + offset
    rows[:6] = rows[6]
    expected = sklearn_metrics.silhouette_samples(rows, labels, metric=distance)
    actual = silhouette_samples(rows, labels, distance=distance, block_size=256)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    score = silhouette_score(rows, labels, distance=distance, block_size=256)
    assert score == pytest.approx(expected.mean(), abs=1e-5)


def test_equals_scikit_learn_far_from_the_origin():
    rows, labels = clustered(300, 5, 5)
    rows += 1e6
    expected = sklearn_metrics.silhouette_samples(rows - 1e6, labels)
    actual = silhouette_samples(rows, labels, distance="euclidean")
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("distance", DISTANCES)
def test_tight_clusters_keep_their_digits(distance):
    rng = np.random.default_rng(3)
    labels = np.arange(120) % 3
    rows = rng.normal(size=(3, 5))[labels] + 1e-3 * rng.normal(size=(120, 5))
    labels[labels == 2] = rng.integers(2, 4, size=40)
    expected = loop_silhouettes(rows, labels, distance)
    actual = silhouette_samples(rows, labels, distance=distance)
    np.testing.assert_allclose(actual, expected, atol=2e-4)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("block_size", [7, 64, 1024])
def test_equals_the_loop_oracle(distance, block_size):
    rows, labels = awkward()
    expected = loop_silhouettes(rows, labels, distance)
    actual = silhouette_samples(rows, labels, distance=distance, block_size=block_size)
    np.testing.assert_array_equal(np.isnan(actual), labels == -1)
    assert actual[40] == actual[41] == 0
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("distance", DISTANCES)
def test_order_and_names_of_classes_do_not_matter(distance):
    rows, labels = awkward()
    order = np.random.default_rng(1).permutation(len(rows))
    expected = silhouette_samples(rows, labels, distance=distance)
    permuted = silhouette_samples(rows[order], labels[order], distance=distance)
    np.testing.assert_allclose(permuted, expected[order], atol=1e-5)
    renamed = np.where(labels == -1, -1, 5000 - labels)
    actual = silhouette_samples(rows, renamed, distance=distance)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_unknown_rows_change_nothing():
    rows, labels = awkward()
    known = labels != -1
    rows[~known] *= 100
    for distance in DISTANCES:
        np.testing.assert_allclose(
            silhouette_samples(rows, labels, distance=distance)[known],
            silhouette_samples(rows[known], labels[known], distance=distance),
            atol=1e-6,
        )


def test_cosine_ignores_lengths():
    rows, labels = clustered(150, 6, 5)
    lengths = np.geomspace(1e-12, 1e12, len(rows))[:, None]
    np.testing.assert_allclose(
        silhouette_samples(rows * lengths, labels),
        silhouette_samples(rows, labels),
        atol=1e-5,
    )


@pytest.mark.parametrize("distance", DISTANCES)
def test_perfect_clusters_score_one(distance):
    labels = np.repeat([4, 9, 2], 5)
    rows = np.eye(3)[np.repeat([0, 1, 2], 5)]
    actual = silhouette_samples(rows, labels, distance=distance)
    np.testing.assert_array_equal(actual, np.ones(15))


@pytest.mark.parametrize("distance", DISTANCES)
def test_too_few_clusters_and_collapse(distance):
    rows = np.ones((6, 3))
    for labels in ([7] * 6, [-1] * 6, [7] * 5 + [-1]):
        labels = np.array(labels)
        assert np.isnan(silhouette_samples(rows, labels, distance=distance)).all()
        assert math.isnan(silhouette_score(rows, labels, distance=distance))
    labels = np.array([0, 0, 0, 1, 1, 2])
    np.testing.assert_array_equal(
        silhouette_samples(rows, labels, distance=distance), np.zeros(6)
    )
    assert silhouette_samples(rows[:0], labels[:0], distance=distance).shape == (0,)


@pytest.mark.parametrize("distance", DISTANCES)
def test_one_row_a_class_has_no_silhouette(distance):
    rows = np.random.default_rng(0).normal(size=(6, 3))
    alone, pair = np.array([4, 1, 2, 3, -1, 0]), np.array([4, 1, 2, 3, 0, 0])
    both = silhouette_samples(rows, np.stack([alone, pair], 1), distance=distance)
    assert np.isnan(both[:, 0]).all()
    # Beside a class of two rows the others have the usual 0.
    np.testing.assert_array_equal(both[:4, 1], 0)
    assert both[4:, 1].all()


def test_score_averages_defined_rows_only():
    rows, labels = awkward()
    samples = silhouette_samples(rows, labels)
    expected = sum(samples[labels != -1]) / sum(labels != -1)
    assert silhouette_score(rows, labels) == pytest.approx(expected)


@pytest.mark.parametrize("distance", DISTANCES)
def test_no_square_buffer(distance):
    rows, labels = clustered(4000, 10, 8)
    rows = rows.astype(np.float32)
    tracemalloc.start()
    silhouette_samples(rows, labels, distance=distance, block_size=256)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Of all distances as float32: 64 MB.
    assert peak < 8e6


@pytest.mark.parametrize("distance", DISTANCES)
def test_levels_equal_one_level_at_a_time(distance):
    rows, fine = awkward()
    known = fine != -1
    middle = np.where(known, fine % 4, -1)
    middle[::9] = -1
    # A level of one class, and a row that is known at the coarsest level only.
    labels = np.stack([fine % 2, middle, fine, np.full(150, 3)], axis=1)
    labels[50:55, 0] = -1
    together = silhouette_samples(rows, labels, distance=distance, block_size=32)
    for column, values in zip(labels.T, together.T, strict=True):
        expected = silhouette_samples(rows, column, distance=distance)
        np.testing.assert_allclose(values, expected, atol=1e-6)
    assert np.isnan(together[:, 3]).all() and not np.isnan(together[55:61, 0]).any()


def test_levels_share_their_euclidean_distances(monkeypatch):
    rows, fine = clustered(300, 12, 5)
    labels = np.stack([fine // 6, fine // 3, fine], axis=1)
    entries = []

    def counted(x, y):
        entries.append(len(x) * len(y))
        return squared_distances(x, y)

    monkeypatch.setattr(clustering, "squared_distances", counted)
    silhouette_samples(rows, labels, distance="euclidean", block_size=64)
    # Each pair once; blocks with themselves are whole.
    assert 300 * 300 / 2 < sum(entries) < 300 * 300 * 0.65


@pytest.mark.parametrize("sums", [1, 2000, 1 << 24])
def test_sums_in_parts(monkeypatch, sums):
    monkeypatch.setattr(clustering, "_SUMS_AT_A_TIME", sums)
    rows, labels = awkward()
    labels[:90] = 7
    actual = silhouette_samples(rows, labels, distance="euclidean", block_size=32)
    expected = loop_silhouettes(rows, labels, "euclidean")
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e4, 1e30, 1e300])
def test_euclidean_at_any_scale(scale):
    rows, labels = clustered(120, 4, 5)
    rows[:9] = rows[9]
    expected = silhouette_samples(rows, labels, distance="euclidean")
    assert 0.1 < expected.mean() < 0.9
    actual = silhouette_samples(rows * scale, labels, distance="euclidean")
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("outlier", [1e10, 1e21, 1e25])
def test_euclidean_beside_a_huge_outlier(outlier):
    rows, labels = clustered(80, 3, 4)
    rows[11] *= outlier
    labels[11] = 9
    actual = silhouette_samples(rows, labels, distance="euclidean", block_size=32)
    expected = loop_silhouettes(rows, labels, "euclidean")
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("spread", [1e-2, 1e-5, 1e-7])
def test_tight_clusters_within_one_class(spread):
    """Here float32 products lose the digits, so that float64 takes over."""
    rng = np.random.default_rng(4)
    points = rng.normal(size=(6, 4))[np.arange(120) % 6]
    rows = points + spread * rng.normal(size=(120, 4))
    labels = np.arange(120) % 2 + 4 * (np.arange(120) < 12)
    for columns in (labels, np.arange(120) % 12):
        expected = loop_silhouettes(rows, columns, "euclidean")
        actual = silhouette_samples(rows, columns, distance="euclidean")
        # Rows of order 1 as float32 are off by some 1e-7.
        np.testing.assert_allclose(actual, expected, atol=1e-5 + 2e-7 / spread)


def test_wrong_input():
    rows, labels = clustered(20, 3, 4)
    with pytest.raises(UserError, match="distance must be .* found 'manhattan'"):
        silhouette_samples(rows, labels, distance="manhattan")
    with pytest.raises(UserError, match=r"20 integers.*found shape \(19,\)"):
        silhouette_samples(rows, labels[:-1])
    with pytest.raises(UserError, match=r"20 integers.*found shape \(18,\)"):
        silhouette_samples(rows, np.stack([labels, labels], axis=1)[:-2])
    with pytest.raises(UserError, match=r"20 integers.*found shape \(20, 1, 1\)"):
        silhouette_samples(rows, labels[:, None, None])
    with pytest.raises(UserError, match=r"\[N, D\], found \(20, 4, 1\)"):
        silhouette_samples(rows[..., None], labels)
    with pytest.raises(UserError, match="block_size must be at least 1, found 0"):
        silhouette_samples(rows, labels, block_size=0)
    rows[13, 2] = np.nan
    with pytest.raises(UserError, match="row 13"):
        silhouette_samples(rows, labels)
