"""Blocks change how much memory a loss takes, and nothing else."""

import functools

import jax
import numpy as np
import pytest

from hierjax import losses

DIM = 16
LEVEL_MASKS = (np.arange(DIM)[None, :] % 3 != np.arange(3)[:, None]).astype(np.float32)


def one_view(loss):
    return lambda z, labels, **options: loss(z[:, None, :], labels, **options)


LOSSES = {
    "rank_index": losses.rank_based_loss,
    "rank_index euclidean": functools.partial(
        losses.rank_based_loss, distance="euclidean", stop_gradient_target=True
    ),
    "block_edge": functools.partial(losses.rank_based_loss, target="block_edge"),
    "triplet": functools.partial(
        losses.hierarchical_triplet_loss, margins=(0.5, 0.3, 0.1)
    ),
    "supcon": lambda z, labels, **options: losses.supcon_loss(
        z[:, None, :], labels[:, -1], **options
    ),
    "hce pairwise": one_view(functools.partial(losses.hce_loss, pairwise_max=True)),
    "level contrastive": lambda z, labels, **options: losses.level_contrastive_loss(
        z[:, None, :], LEVEL_MASKS, labels, **options
    ),
}


def draw(seed, rows, copies):
    """Unit rows, of which up to half are copies of others, and labels of a tree."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, DIM))
    z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    if copies:
        z = z[rng.integers(0, rows // 2, rows)]
    leaves = rng.integers(0, 12, rows)
    labels = np.stack([leaves // 4, leaves // 2, leaves], 1).astype(np.int32)
    return z, labels


# Compiled as users do: which bits differ depends on the size and on the compiler.
@pytest.mark.parametrize(
    ("name", "rows", "block_size"),
    [
        pytest.param("rank_index", 9, 1, marks=pytest.mark.slow),
        ("rank_index", 36, 6),
        pytest.param("rank_index", 100, 7, marks=pytest.mark.slow),
        pytest.param("rank_index euclidean", 36, 6, marks=pytest.mark.slow),
        ("block_edge", 20, 6),
        ("triplet", 20, 6),
        ("supcon", 20, 6),
        ("hce pairwise", 20, 6),
        ("level contrastive", 20, 6),
    ],
)
def test_blocks_change_nothing(name, rows, block_size):
    whole = jax.jit(jax.value_and_grad(LOSSES[name]))
    in_blocks = functools.partial(LOSSES[name], block_size=block_size)
    in_blocks = jax.jit(jax.value_and_grad(in_blocks))
    for seed in range(20):
        batch = draw(seed, rows, copies=seed % 2 == 1)
        value, gradient = jax.device_get(whole(*batch))
        found, found_gradient = jax.device_get(in_blocks(*batch))
        np.testing.assert_allclose(found, value, rtol=2e-6)
        if name == "hce pairwise" and seed % 2 == 1:
            continue  # Rounding chooses which of the copies sets the maximum.
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(found_gradient, gradient, rtol=0, atol=5e-6 * scale)
