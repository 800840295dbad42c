"""Linear maps that start from their input."""

import jax
import numpy as np
import pytest

from hierjax import models
from hierjax.errors import UserError

ROWS = np.random.default_rng(0).normal(size=(50, 6)) @ np.diag([9, 5, 3, 1, 0.2, 0.1])
ROWS = np.float32(ROWS + np.arange(6))


def started(kind, dim, **settings):
    encoder = models.Linear(dim, normalize=False, **settings)
    fresh = encoder.init(jax.random.key(0), ROWS)
    return np.asarray(encoder.apply(models.start_linear(kind, ROWS, fresh), ROWS))


@pytest.mark.parametrize("dim", [6, 9])
def test_identity_is_the_input_and_zeros(dim):
    found = started("identity", dim)
    np.testing.assert_allclose(found[:, :6], ROWS, rtol=1e-6)
    assert not found[:, 6:].any() and found.shape == (50, dim)


@pytest.mark.parametrize("dim", [2, 6, 8])
def test_components_are_those_of_an_eigendecomposition(dim):
    found = started("pca", dim)
    centred = ROWS - ROWS.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    expected = centred @ directions[:, ::-1][:, :dim]
    kept = min(dim, 6)
    np.testing.assert_allclose(
        np.abs(found[:, :kept]), np.abs(expected), rtol=1e-3, atol=1e-3
    )
    assert not found[:, kept:].any()


def test_fewer_rows_than_dimensions():
    encoder = models.Linear(5, normalize=False)
    fresh = encoder.init(jax.random.key(0), ROWS)
    found = encoder.apply(models.start_linear("pca", ROWS[:2], fresh), ROWS[:2])
    gap = np.linalg.norm(ROWS[0] - ROWS[1])
    assert np.linalg.norm(found[0] - found[1]) == pytest.approx(gap, rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "encoder", "words"),
    [
        ("identity", models.Linear(5), "embed_dim of at least the 6"),
        ("pca", models.Linear(5, head_layers=2), "head_layers 1"),
        ("pca", models.Linear(5, num_heads=2), "head_layers 1"),
        ("pca", models.MLP(5, hidden_sizes=(3,)), "model linear"),
        ("random", models.Linear(6), "'identity' or 'pca'"),
    ],
)
def test_what_cannot_start_so(kind, encoder, words):
    fresh = jax.eval_shape(encoder.init, jax.random.key(0), ROWS)
    with pytest.raises(UserError, match=words):
        models.start_linear(kind, ROWS, fresh)
