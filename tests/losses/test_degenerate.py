"""Every loss on batches that hold nothing to learn from, in every precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import losses
from tests.compiling import QUICKLY

ROWS, DIM = 8, 4
ANCESTORS = np.array([[0, 0], [0, 1], [1, 2], [1, 3]])
HOPS = np.array([[0, 2, 4, 4], [2, 0, 4, 4], [4, 4, 0, 2], [4, 4, 2, 0]])
FRAME = losses.haframe(losses.frame_similarity(HOPS), DIM)
RNG = np.random.default_rng(0)
ORDINARY = RNG.normal(size=(ROWS, DIM))
ORDINARY /= np.linalg.norm(ORDINARY, axis=1, keepdims=True)
WEIGHTS = RNG.normal(size=(6, DIM))
LABELS = ANCESTORS[np.arange(ROWS) % 4].astype(np.int32)
ALL = np.ones(ROWS, bool)


def rows(loss, **options):
    return lambda z, w, labels, where: loss(z, labels, where=where, **options)


def classes(loss, *more, **options):
    def of_classes(z, w, labels, where):
        return loss(z, labels[:, -1], *more, where=where, **options)

    return of_classes


def views(loss, **options):
    def of_views(z, w, labels, where):
        return loss(jnp.stack([z, z], 1), labels, where=where, **options)

    return of_views


def logits(loss, *more, **options):
    """On the products with four class vectors, as a linear classifier's."""

    def of_logits(z, w, labels, where):
        return loss(z @ w[:4].T, labels, *more, where=where, **options)

    return of_logits


def classified(scores, **options):
    def of_scores(z, w, labels, where):
        found = scores(z, w[:4], where=where, **options)
        return losses.cross_entropy_loss(found, labels[:, -1], where=where)

    return of_scores


def softmax(z, w, where):
    return losses.softmax_logits(z, w, jnp.zeros(4, w.dtype), where=where)


def arcface(z, w, labels, where):
    # A row of unknown class has no angle to widen.
    ids = jnp.where(labels[:, -1] < 0, 0, labels[:, -1])
    found = losses.arcface_logits(z, w[:4], ids)
    return losses.cross_entropy_loss(found, labels[:, -1], where=where)


def tuples(z, where):
    return jnp.stack([z, z[::-1], jnp.roll(z, 1, 0)], 1)


LOSSES = {
    "rank_based_loss": rows(losses.rank_based_loss),
    "rank_based_loss, block_edge": rows(
        losses.rank_based_loss, target="block_edge", distance="euclidean"
    ),
    "hierarchical_triplet_loss": rows(
        losses.hierarchical_triplet_loss, margins=(0.5, 0.3)
    ),
    "hierarchical_tuplet_loss": lambda z, w, labels, where: (
        losses.hierarchical_tuplet_loss(
            z, tuples(z, where), margins=(2.0, 2.0), where=where
        )
    ),
    "quadruplet_loss": lambda z, w, labels, where: losses.quadruplet_loss(
        z,
        *tuples(z, where).transpose(1, 0, 2),
        margin_outer=4.0,
        margin_inner=2.0,
        distance="euclidean",
        where=where,
    ),
    "simclr_loss": lambda z, w, labels, where: losses.simclr_loss(
        jnp.stack([z, z], 1), where=where
    ),
    "supcon_loss": lambda z, w, labels, where: losses.supcon_loss(
        jnp.stack([z, z], 1), labels[:, -1], where=where
    ),
    "hmc_loss": views(losses.hmc_loss),
    "hce_loss": views(losses.hce_loss),
    "hmce_loss": views(losses.hmce_loss, official=True),
    "level_contrastive_loss": lambda z, w, labels, where: losses.level_contrastive_loss(
        z[:, None], jnp.ones((2, DIM), z.dtype) / 2, labels, where=where
    ),
    "tree_similarity_loss": views(losses.tree_similarity_loss),
    "level_restricted_loss": views(losses.level_restricted_loss),
    "hap_loss": rows(losses.hap_loss),
    "multi_similarity_loss": classes(losses.multi_similarity_loss),
    "haframe_loss": classes(losses.haframe_loss, FRAME),
    "hier_cos_loss": lambda z, w, labels, where: losses.hier_cos_loss(
        jnp.concatenate([z, z[:, :2]], 1), labels, ANCESTORS, where=where
    ),
    "proxy_anchor_loss": lambda z, w, labels, where: losses.proxy_anchor_loss(
        z, w[:4], labels[:, -1], where=where
    ),
    "hierarchical_proxy_anchor_loss": lambda z, w, labels, where: (
        losses.hierarchical_proxy_anchor_loss(z, (w[:2], w[2:]), labels, where=where)
    ),
    "corr_loss": lambda z, w, labels, where: losses.corr_loss(
        z, w[:4], labels[:, -1], where=where
    ),
    "softmax_logits": classified(softmax),
    "normface_logits": classified(losses.normface_logits),
    "proxydr_logits": classified(losses.proxydr_logits),
    "arcface_logits": arcface,
    "marginal_loss": logits(losses.marginal_loss, ANCESTORS),
    "hxe_loss": logits(losses.hxe_loss, ANCESTORS),
    "hace_loss": logits(losses.hace_loss, ANCESTORS),
    "soft_label_loss": lambda z, w, labels, where: losses.soft_label_loss(
        z @ w[:4].T, labels[:, -1], HOPS, where=where
    ),
    "conditional_softmax_loss": lambda z, w, labels, where: (
        losses.conditional_softmax_loss(z @ w.T, labels, ANCESTORS, where=where)
    ),
    "cpcc_loss": classes(losses.cpcc_loss, HOPS),
    "cpcc_loss, poincare": classes(losses.cpcc_loss, HOPS, distance="poincare"),
}
BATCHES = {
    "ordinary": (ORDINARY, LABELS, ALL),
    "equal rows": (np.tile(ORDINARY[:1], (ROWS, 1)), LABELS, ALL),
    "zero rows": (np.zeros((ROWS, DIM)), LABELS, ALL),
    "one zero row": (ORDINARY * (np.arange(ROWS) > 0)[:, None], LABELS, ALL),
    "one class": (ORDINARY, np.tile(LABELS[:1], (ROWS, 1)), ALL),
    "one row": (ORDINARY, LABELS, np.arange(ROWS) == 2),
    "nothing known": (ORDINARY, np.full_like(LABELS, -1), ALL),
    "all padding": (ORDINARY, LABELS, ~ALL),
    "two copies": (np.tile(ORDINARY[:4], (2, 1)), LABELS, ALL),
    "opposite rows": (np.concatenate([ORDINARY[:4], -ORDINARY[:4]]), LABELS, ALL),
    "on the proxies": (np.tile(WEIGHTS[:4], (2, 1)), LABELS, ALL),
    "length 1e4": (1e4 * ORDINARY, LABELS, ALL),
    "length 1e-20": (1e-20 * ORDINARY, LABELS, ALL),
}
NO_ROOM = {"rank_based_loss": ["length 1e4"]}
"""Loss to the batches whose gradient is beyond 65504, the largest float16."""


def test_every_loss_is_here():
    made = ("cpcc", "haframe", "class_cosines", "soft_labels", "sibling_log_priors")
    made += ("ancestor_log_probs", "conditional_log_probs", "cross_entropy_loss")
    made += ("frame_similarity", "hier_cos_scores")
    functions = {n for n in losses.__all__ if callable(getattr(losses, n))} - set(made)
    assert functions == {name.split(",")[0] for name in LOSSES}


@functools.lru_cache(maxsize=None)
def compiled(name):
    loss = jax.value_and_grad(LOSSES[name], argnums=(0, 1))
    return jax.jit(loss, compiler_options=QUICKLY)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        pytest.param("bfloat16", marks=pytest.mark.slow),
        pytest.param("float16", marks=pytest.mark.slow),
    ],
)
def test_value_and_gradients_are_finite(name, dtype):
    bad = []
    for batch, (z, labels, where) in BATCHES.items():
        z, weights = (jnp.asarray(x, dtype) for x in (z, WEIGHTS))
        value, gradients = jax.device_get(compiled(name)(z, weights, labels, where))
        found = [np.asarray(x, np.float64) for x in (value, *gradients)]
        if not all(np.isfinite(x).all() for x in found):
            bad.append(batch)
    assert bad == (NO_ROOM.get(name, []) if dtype == "float16" else [])
