import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA

from hierjax.errors import UserError
from hierjax.metrics import (
    principal_coordinates,
    tsne_coordinates,
    umap_coordinates,
)


def clusters(num_rows=90, dim=6):
    rng = np.random.default_rng(0)
    labels = np.arange(num_rows) % 3
    return 20 * np.eye(3, dim)[labels] + rng.normal(size=(num_rows, dim)), labels


def test_neighbours_stay_neighbours():
    rows, labels = clusters()
    points = tsne_coordinates(rows, perplexity=10)
    assert points.shape == (90, 2)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(labels[distances.argmin(axis=1)], labels)


def test_the_same_call_gives_the_same_picture():
    rows, _ = clusters()
    first = tsne_coordinates(rows, perplexity=10)
    np.testing.assert_array_equal(tsne_coordinates(rows, perplexity=10), first)
    assert not np.allclose(tsne_coordinates(rows, perplexity=20), first)


def test_collapsed_rows_lie_in_one_place():
    points = tsne_coordinates(np.full((8, 3), 0.1), perplexity=3)
    np.testing.assert_array_equal(points, np.zeros((8, 2)))


@pytest.mark.parametrize("shape", [(5, 1), (4, 2), (3, 40)])
def test_few_rows_and_dimensions(shape):
    rows = np.random.default_rng(1).normal(size=shape)
    assert np.isfinite(tsne_coordinates(rows, perplexity=2)).all()


@pytest.mark.parametrize(
    ("rows", "perplexity", "message"),
    [
        (np.eye(4), 4, "below the number of rows, 4, found 4"),
        (np.eye(4), 0, "found 0"),
        (np.ones((0, 3)), 1, "number of rows, 0"),
        (np.ones(4), 2, r"shape \[N, D\]"),
        (np.array([[0.0], [np.inf]]), 1, "row 1"),
    ],
)
def test_errors(rows, perplexity, message):
    with pytest.raises(UserError, match=message):
        tsne_coordinates(rows, perplexity=perplexity)


def test_principal_components_are_scikit_learns_up_to_sign():
    rows, _ = clusters()
    points, shares = principal_coordinates(rows, 3)
    pca = PCA(3).fit(rows)
    np.testing.assert_allclose(np.abs(points), np.abs(pca.transform(rows)), atol=1e-9)
    np.testing.assert_allclose(shares, pca.explained_variance_ratio_)
    flat, none = principal_coordinates(np.ones((4, 2)), 2)
    assert not flat.any() and not none.any()
    # Two rows lie on a line.
    points, shares = principal_coordinates(rows[:2], 3)
    length = np.linalg.norm(rows[0] - rows[1])
    np.testing.assert_allclose(np.abs(points), [[length / 2, 0, 0]] * 2, atol=1e-9)
    np.testing.assert_allclose(shares, [1, 0, 0], atol=1e-9)


@pytest.mark.parametrize("number", [0, 7])
def test_as_many_components_as_dimensions_at_most(number):
    with pytest.raises(UserError, match=f"6, found {number}"):
        principal_coordinates(clusters()[0], number)


def test_umap_keeps_neighbours():
    pytest.importorskip("umap", reason="the extra umap is not installed")
    rows, labels = clusters()
    points = umap_coordinates(rows)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert np.mean(labels[distances.argmin(axis=1)] == labels) > 0.95
    assert not umap_coordinates(np.ones((5, 3))).any()


def test_umap_needs_its_package_and_rows(monkeypatch):
    with pytest.raises(UserError, match="at least 4 rows, found 3"):
        umap_coordinates(np.zeros((3, 2)))
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match=r"hierjax\[umap\]"):
        umap_coordinates(np.zeros((5, 2)))
