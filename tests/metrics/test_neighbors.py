import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest

from hierjax.metrics import nearest_neighbors, neighbors


def exact_distances(queries, gallery):
    """From differences of coordinates in float64, and what is equal to 11 digits."""
    offsets = queries[:, None].astype(np.float64) - gallery
    distances = np.sqrt(np.square(offsets).sum(axis=-1))
    mantissa, exponent = np.frexp(distances)
    return distances, np.ldexp(np.round(mantissa * 2.0**36), exponent)


def plain(rng, number=300):
    return rng.normal(size=(number, 6))


def duplicates(rng):
    rows = plain(rng)
    rows[40:80] = rows[20]
    rows[200:] = rows[rng.integers(0, 30, 100)]
    return rows


def near_ties(rng):
    """Rows at distances from the first that differ by 1e-7 of themselves."""
    directions = plain(rng)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows = directions * (1 + 1e-7 * rng.permutation(300)[:, None])
    rows[0] = 0
    return rows


def far_away(rng):
    return plain(rng) + 1e4


def tight(rng):
    return rng.normal(size=(3, 6))[np.arange(300) % 3] + 1e-5 * plain(rng)


def with_outlier(rng):
    rows = plain(rng)
    rows[7] *= 1e6
    return rows


def with_huge_outliers(rng):
    """Beside them the squares of all other rows leave the range of float32."""
    rows = plain(rng)
    rows[7] *= 3e21
    rows[8] = -rows[7]
    return rows


def collapsed(rng):
    return np.tile(plain(rng, 1), (300, 1))


def integers(rng):
    return rng.integers(-1, 2, size=(300, 6))


SETS = (plain, duplicates, near_ties, far_away, tight, with_outlier, collapsed)
SETS = (*SETS, with_huge_outliers, integers)


@pytest.mark.parametrize("make", SETS)
@pytest.mark.parametrize("exclude_self", [False, True])
def test_equal_those_by_differences_of_coordinates(make, exclude_self):
    rows = make(np.random.default_rng(0)).astype(np.float32)
    exact, keys = exact_distances(rows, rows)
    if exclude_self:
        np.fill_diagonal(keys, np.inf)
    order = np.argsort(keys, axis=1, kind="stable")
    expected = np.take_along_axis(exact, order, axis=1)
    for k, block_size in ((1, 4096), (9, 64), (120, 4096)):
        actual = nearest_neighbors(
            rows,
            rows,
            k,
            distance="euclidean",
            exclude_self=exclude_self,
            block_size=block_size,
        )
        np.testing.assert_array_equal(actual[0], order[:, :k])
        np.testing.assert_allclose(actual[1], expected[:, :k], rtol=1e-7)
        copies = (rows[actual[0]] == rows[:, None]).all(axis=-1)
        np.testing.assert_array_equal(actual[1] == 0, copies)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_any_scale(scale):
    rows = duplicates(np.random.default_rng(1))
    expected = nearest_neighbors(rows, rows, 9, distance="euclidean")
    actual = nearest_neighbors(scale * rows, scale * rows, 9, distance="euclidean")
    np.testing.assert_array_equal(actual[0], expected[0])
    if 1e-38 < scale < 1e38:
        np.testing.assert_allclose(actual[1], scale * expected[1], rtol=1e-6)


def test_near_ties_are_told_apart():
    rows = near_ties(np.random.default_rng(0)).astype(np.float32)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert np.median(np.diff(np.sort(lengths)[1:])) < 2e-7
    (found,), _ = nearest_neighbors(rows[:1], rows, 300, distance="euclidean")
    assert (np.diff(lengths[found]) >= 0).all()


def test_zero_vectors_lie_at_distance_one():
    rows = plain(np.random.default_rng(2), 40)
    rows[[3, 8]] = 0
    # The others in a narrow cone, whose rows are centred.
    for offset in (0, 1e5):
        moved = rows + offset * rows.any(axis=1, keepdims=True)
        found, distances = nearest_neighbors(moved, moved, 39, exclude_self=True)
        np.testing.assert_array_equal(found[3], np.delete(np.arange(40), 3))
        np.testing.assert_array_equal(distances[[3, 8]], 1)
        at = (found == 3) | (found == 8)
        assert at.sum() == 2 * 39 and (distances[at] == 1).all()


def test_float64_takes_over_where_float32_leaves_too_many(monkeypatch):
    used = []

    def recorded(rows, dtype, *args):
        used.append(dtype)
        return made(rows, dtype, *args)

    made = neighbors._gallery_of
    monkeypatch.setattr(neighbors, "_gallery_of", recorded)
    for make, expected in ((plain, {np.float32}), (tight, {np.float32, np.float64})):
        rows = make(np.random.default_rng(0))
        used.clear()
        nearest_neighbors(rows, rows, 3, distance="euclidean")
        assert set(used) == expected and len(used) == len(expected)


def test_products_on_a_device_change_nothing(monkeypatch):
    rows = duplicates(np.random.default_rng(3))
    expected = nearest_neighbors(rows, rows, 9, exclude_self=True, block_size=100)
    monkeypatch.setattr(neighbors, "place", lambda rows, _: jnp.asarray(rows))
    actual = nearest_neighbors(rows, rows, 9, exclude_self=True, block_size=100)
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(actual[1], expected[1])


def test_memory_is_blocks_only():
    rows = np.random.default_rng(4).normal(size=(8000, 8)).astype(np.float32)
    tracemalloc.start()
    nearest_neighbors(rows[:2000], rows, 5, block_size=1024)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Of all distances as float32: 64 MB.
    assert peak < 8e6
