import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import distances


def loop_distance(x, y, distance):
    if distance == "cosine":
        return 1 - sum(float(a) * float(b) for a, b in zip(x, y, strict=True))
    squared = sum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True))
    return squared if distance == "sqeuclidean" else math.sqrt(squared)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 3)).astype("f"), rng.normal(size=(4, 3)).astype("f")


@pytest.mark.parametrize("distance", distances.DISTANCES)
def test_pairwise_distances_equal_the_loop(rows, distance):
    a, b = rows
    expected = [[loop_distance(x, y, distance) for y in b] for x in a]
    found = distances.pairwise_distances(a, b, distance=distance)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("distance", distances.DISTANCES)
def test_paired_distances_equal_the_loop_and_broadcast(rows, distance):
    a, b = rows
    expected = [loop_distance(x, y, distance) for x, y in zip(a[:4], b, strict=True)]
    found = distances.paired_distances(a[:4], b, distance=distance)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    table = distances.paired_distances(a[:, None], b[None], distance=distance)
    expected = [[loop_distance(x, y, distance) for y in b] for x in a]
    np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("distance", distances.DISTANCES)
def test_half_precision_is_computed_in_float32(rows, distance):
    a, b = (jnp.asarray(x, jnp.bfloat16) for x in rows)
    found = distances.pairwise_distances(a, b, distance=distance)
    exact = distances.pairwise_distances(
        a.astype("f"), b.astype("f"), distance=distance
    )
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, exact)


def test_products_ask_for_full_precision(rows):
    jaxpr = str(jax.make_jaxpr(distances.pairwise_distances)(*rows))
    assert "HIGHEST" in jaxpr


@pytest.mark.parametrize("distance", distances.DISTANCES)
def test_equal_and_zero_rows_have_finite_gradients(distance):
    a = jnp.array([[0.6, 0.8], [0.6, 0.8], [0.0, 0.0], [0.0, 0.0]])

    def pairwise(x):
        return jnp.sum(distances.pairwise_distances(x, x, distance=distance))

    def paired(x):
        return jnp.sum(distances.paired_distances(x, x[::-1], distance=distance))

    for function in (pairwise, paired):
        value, gradient = jax.value_and_grad(function)(a)
        assert np.isfinite(value) and np.isfinite(gradient).all()


def test_gradient_of_a_zero_euclidean_distance_is_zero():
    a = jnp.array([[3.0, 4.0]])
    found = jax.grad(
        lambda x: distances.paired_distances(x, a, distance="euclidean")[0]
    )(a)
    np.testing.assert_array_equal(found, 0)


def test_gradient_of_euclidean_distance():
    a, b = jnp.array([[3.0, 1.0]]), jnp.array([[0.0, -3.0]])
    for function in (distances.pairwise_distances, distances.paired_distances):
        found = jax.grad(lambda x, f=function: jnp.sum(f(x, b, distance="euclidean")))(
            a
        )
        np.testing.assert_allclose(found, [[0.6, 0.8]], rtol=1e-6)


def test_rounding_never_makes_squared_distances_negative():
    a = np.random.default_rng(1).normal(size=(50, 7)).astype("f") * 100
    squared = distances.pairwise_distances(a, a, distance="sqeuclidean")
    assert (np.asarray(squared) >= 0).all()
    euclidean = distances.pairwise_distances(a, a, distance="euclidean")
    assert np.isfinite(euclidean).all()


def test_unit_normalize():
    x = jnp.array([[3.0, 4.0], [0.0, 0.0], [-0.5, 0.0]])
    np.testing.assert_allclose(
        distances.unit_normalize(x), [[0.6, 0.8], [0, 0], [-1, 0]], rtol=1e-6
    )
    weights = jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    gradient = jax.grad(lambda x: jnp.sum(weights * distances.unit_normalize(x)))(x)
    # Of x / |x|: (identity - unit unit^T) / |x|; 0 at the zero row.
    expected = [[0.64 / 5, -0.48 / 5], [0, 0], [0, 2]]
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_unknown_distance_and_dimensions_are_named(rows):
    a, b = rows
    with pytest.raises(ValueError, match="distance is 'l1', accepted are .*cosine"):
        distances.pairwise_distances(a, b, distance="l1")
    with pytest.raises(ValueError, match=r"dimension: \(5, 3\) and \(4, 2\)"):
        distances.pairwise_distances(a, b[:, :2])
    with pytest.raises(ValueError, match=r"dimension: \(4, 3\) and \(4, 2\)"):
        distances.paired_distances(a[:4], b[:, :2])


@pytest.mark.parametrize("distance", distances.DISTANCES)
@pytest.mark.parametrize("dim", [3, 64])
def test_reproducible_distances_have_the_same_bits_everywhere(distance, dim):
    rng = np.random.default_rng(dim)
    rows = rng.normal(size=(33, dim)).astype("f")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[5] = rows[30]
    rows[7:9] *= np.array([[40.0], [1e-3]], "f")
    rows[9] = 0

    @jax.jit
    def between(a, b):
        a, b = distances.slice_rows(a), distances.slice_rows(b)
        return distances.reproducible_distances(a, b, distance=distance)

    whole = np.asarray(between(rows, rows))
    expected = [[loop_distance(x, y, distance) for y in rows] for x in rows]
    lengths = np.maximum(np.linalg.norm(rows, axis=1), 1)
    scale = np.maximum.outer(lengths, lengths) ** 2
    error = np.abs(whole - np.array(expected)) / scale
    assert error.max() < (2e-3 if distance == "euclidean" else 5e-6)
    np.testing.assert_array_equal(whole, whole.T)
    np.testing.assert_array_equal(whole[5], whole[30])
    if distance != "cosine":
        np.testing.assert_array_equal(np.diag(whole), 0)
    for size in (1, 2, 7):
        for start in (0, 3, 26):
            block = between(rows[start : start + size], rows)
            np.testing.assert_array_equal(block, whole[start : start + size])


@pytest.mark.parametrize("distance", distances.DISTANCES)
def test_reproducible_distances_have_the_usual_gradient(rows, distance):
    def total(pairwise):
        return lambda a, b: jnp.sum(jnp.sin(pairwise(a, b)))

    def reproducible(a, b):
        a, b = distances.slice_rows(a), distances.slice_rows(b)
        return distances.reproducible_distances(a, b, distance=distance)

    def plain(a, b):
        return distances.pairwise_distances(a, b, distance=distance)

    found = jax.grad(total(reproducible), argnums=(0, 1))(*rows)
    expected = jax.grad(total(plain), argnums=(0, 1))(*rows)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
