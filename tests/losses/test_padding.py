"""What padding holds reaches neither the value nor a gradient of any loss."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import level_masks, losses
from tests.compiling import QUICKLY

ROWS, DIM = 8, 4
WHERE = np.arange(ROWS) % 4 != 2
RNG = np.random.default_rng(0)
UNIT_ROWS = RNG.normal(size=(ROWS, DIM)).astype(np.float32)
UNIT_ROWS /= np.linalg.norm(UNIT_ROWS, axis=1, keepdims=True)
OTHERS = RNG.normal(size=(ROWS, 3, DIM)).astype(np.float32)
WEIGHTS = RNG.normal(size=(6, DIM)).astype(np.float32)
LABELS = np.array([[0, 0], [0, 0], [0, 1], [1, 2], [1, 2], [1, 3], [0, 1], [0, 0]])


def rank(z, weights, **options):
    return losses.rank_based_loss(z, LABELS, where=WHERE, **options)


def triplet(z, weights, **options):
    return losses.hierarchical_triplet_loss(
        z, LABELS, margins=(0.5, 0.3), where=WHERE, **options
    )


def tuplet(z, weights):
    others = jnp.where(WHERE[:, None, None], OTHERS, z[:, None, :])
    return losses.hierarchical_tuplet_loss(z, others, margins=(2.0, 2.0), where=WHERE)


def quadruplet(z, weights):
    others = jnp.where(WHERE[:, None, None], OTHERS, z[:, None, :])
    return losses.quadruplet_loss(
        z,
        *others.transpose(1, 0, 2),
        margin_outer=4.0,
        margin_inner=2.0,
        distance="euclidean",
        where=WHERE,
    )


def classified(logits_fn):
    def loss(z, weights):
        logits = logits_fn(z, weights, where=WHERE)
        return losses.cross_entropy_loss(logits, LABELS[:, 1], where=WHERE)

    return loss


def softmax(z, weights, where):
    return losses.softmax_logits(z, weights, np.arange(6.0), where=where)


def corr(z, weights):
    return losses.corr_loss(z, weights, LABELS[:, 1], where=WHERE)


def with_views(loss, labels=LABELS):
    def contrasted(z, weights, **options):
        return loss(z[:, None, :], *labels, where=WHERE, **options)

    labels = () if labels is None else (labels,)
    return contrasted


def two_views(z, weights):
    return losses.simclr_loss(jnp.stack([z, z[:, ::-1]], 1), where=WHERE)


def level_contrastive(z, weights):
    masks = level_masks.attention_level_masks(
        z[:, None, :], jnp.stack([weights[:4], weights[2:]]), weights[:2], where=WHERE
    )
    loss = losses.level_contrastive_loss(z[:, None, :], masks, LABELS, where=WHERE)
    padded = jnp.where(WHERE[:, None, None, None], masks, z[:, None, None, :])
    overlap = level_masks.mask_overlap(padded, where=WHERE)
    return loss + overlap + level_masks.mask_entropy(padded, where=WHERE)


LOSSES = {
    "rank_index": rank,
    "block_edge in blocks": functools.partial(
        rank, target="block_edge", distance="euclidean", block_size=3
    ),
    "triplet": triplet,
    "triplet in blocks": functools.partial(triplet, distance="cosine", block_size=3),
    "tuplet": tuplet,
    "quadruplet": quadruplet,
    "softmax": classified(softmax),
    "normface": classified(losses.normface_logits),
    "proxydr": classified(losses.proxydr_logits),
    "corr": corr,
    "simclr": two_views,
    "supcon": with_views(losses.supcon_loss, LABELS[:, 1]),
    "hmc": with_views(losses.hmc_loss),
    "hmce official": functools.partial(with_views(losses.hmce_loss), official=True),
    "hce pairwise": functools.partial(
        with_views(losses.hce_loss), pairwise_max=True, block_size=3
    ),
    "level contrastive": level_contrastive,
}


@pytest.mark.parametrize("name", LOSSES)
def test_padding_reaches_nothing(name):
    loss = jax.value_and_grad(LOSSES[name], argnums=(0, 1))
    loss = jax.jit(loss, compiler_options=QUICKLY)
    value, gradients = jax.device_get(loss(UNIT_ROWS, WEIGHTS))
    assert value > 0 and np.abs(gradients[0][WHERE]).max() > 0
    for garbage in (np.nan, np.inf, -np.inf, 1e38):
        z = np.where(WHERE[:, None], UNIT_ROWS, np.float32(garbage))
        found, (of_rows, of_weights) = jax.device_get(loss(z, WEIGHTS))
        np.testing.assert_array_equal(found, value)
        np.testing.assert_array_equal(of_rows[~WHERE], 0)
        np.testing.assert_array_equal(of_rows[WHERE], gradients[0][WHERE])
        np.testing.assert_array_equal(of_weights, gradients[1])
