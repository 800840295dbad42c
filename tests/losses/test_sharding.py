"""Every loss: one device's value and gradient, whatever the number of devices."""

import functools

import jax
import numpy as np
import pytest

from hierjax import Hierarchy, collectives, distances, losses
from tests import sharding
from tests.compiling import QUICKLY

DEVICES, FEATURES, DIM = 4, 5, 3

TREE = Hierarchy.from_paths(
    [["a", "p", "x"], ["a", "p", "y"], ["a", "q"], ["b"], ["c", "r", "z"], ["c", "s"]]
)
MARGINS = np.array([0.9, 0.5, 0.2], np.float32)


def quadruplet(z, labels, **options):
    del labels
    rows = z.reshape(-1, 4, DIM)
    options["where"] = options["where"].reshape(-1, 4).all(-1)
    return losses.quadruplet_loss(
        *rows.transpose(1, 0, 2), margin_outer=0.9, margin_inner=0.3, **options
    )


def tuplet(z, labels, **options):
    del labels
    rows = z.reshape(-1, 4, DIM)
    options["where"] = options["where"].reshape(-1, 4).all(-1)
    return losses.hierarchical_tuplet_loss(
        rows[:, 0], rows[:, 1:], margins=MARGINS[:2], distance="euclidean", **options
    )


CLASS_FEATURES = np.random.default_rng(1).normal(size=(TREE.num_classes, FEATURES))
CLASS_FEATURES = CLASS_FEATURES.astype(np.float32)


def classified(logits_fn):
    """Cross entropy on the known leaves."""

    def loss(z, labels, proxies, **options):
        return losses.cross_entropy_loss(
            logits_fn(z, proxies), labels[:, -1], **options
        )

    return loss


def softmax_logits(z, proxies):
    return losses.softmax_logits(z, proxies, 0.1 * np.arange(TREE.num_classes))


def corr(z, labels, proxies, **options):
    return losses.corr_loss(z, proxies, labels[:, -1], **options)


# Their proxies depend on the weights too.
PROXY_LOSSES = {
    "softmax": classified(softmax_logits),
    "normface": classified(losses.normface_logits),
    "proxydr": classified(functools.partial(losses.proxydr_logits, distance="arccos")),
    "corr": corr,
    "corr official": functools.partial(corr, official=True),
}

LEVEL_MASKS = np.array([[1, 1, 0], [0, 1, 1], [0.5, 0, 1]], np.float32)


def two_views(loss):
    """Consecutive rows are two views of one example."""

    def with_views(z, labels, **options):
        options["where"] = options["where"][::2]
        z = z.reshape(-1, 2, DIM)
        return loss(z, labels[::2], temperature=0.3, **options)

    return with_views


@two_views
def simclr(z, labels, **options):
    del labels
    return losses.simclr_loss(z, **options)


@two_views
def supcon(z, labels, **options):
    return losses.supcon_loss(z, labels[:, -1], **options)


@two_views
def shared_masks(z, labels, **options):
    return losses.level_contrastive_loss(z, LEVEL_MASKS, labels, **options)


@two_views
def own_masks(z, labels, **options):
    """Masks that come from the rows themselves."""
    masks = jax.nn.sigmoid(z[:, :, None, :] * (3 * LEVEL_MASKS[None, None] - 1))
    return losses.level_contrastive_loss(
        z, masks, labels, label_scope="column", **options
    )


LOSSES = {
    "rank_index": losses.rank_based_loss,
    "block_edge": functools.partial(
        losses.rank_based_loss, target="block_edge", distance="euclidean"
    ),
    "hops": functools.partial(
        losses.rank_based_loss, target="block_edge", tree_distance=TREE.path_length()
    ),
    "triplet active": functools.partial(
        losses.hierarchical_triplet_loss, margins=MARGINS
    ),
    "triplet valid": functools.partial(
        losses.hierarchical_triplet_loss,
        margins=MARGINS,
        average="valid",
        distance="cosine",
    ),
    "tuplet": tuplet,
    "quadruplet": quadruplet,
    "simclr": simclr,
    "supcon": supcon,
    "hmc": two_views(losses.hmc_loss),
    "hmce": two_views(losses.hmce_loss),
    "hce pairwise": two_views(functools.partial(losses.hce_loss, pairwise_max=True)),
    "hmce official": two_views(functools.partial(losses.hmce_loss, official=True)),
    "level masks": shared_masks,
    "own level masks": own_masks,
}


def draw(rows):
    """Features, labels with unknown levels, and a mask that empties one device."""
    rng = np.random.default_rng(rows)
    features = rng.normal(size=(rows, FEATURES)).astype(np.float32)
    labels = TREE.labels_of(rng.integers(0, TREE.num_classes, rows)).copy()
    hide = rng.random(rows) < 0.3
    first_unknown = rng.integers(0, 3, rows)
    labels[hide[:, None] & (np.arange(3) >= first_unknown[:, None])] = -1
    # Whole tuples of four rows are masked, so that every loss keeps some.
    where = np.repeat(rng.random(rows // 4) < 0.7, 4)
    where[: rows // DEVICES] = False
    where[-1] = False
    return features, labels, where


WEIGHTS = np.random.default_rng(0).normal(size=(FEATURES, DIM)).astype(np.float32)


def loss_of_weights(weights, features, labels, where, *, name, **options):
    z = distances.unit_normalize(features @ weights)
    if name in PROXY_LOSSES:
        options["proxies"] = CLASS_FEATURES @ weights
        return PROXY_LOSSES[name](z, labels, where=where, **options)
    return LOSSES[name](z, labels, where=where, **options)


@functools.lru_cache(maxsize=None)
def on_one_device(name, rows):
    single = functools.partial(loss_of_weights, name=name)
    options = None if name == "proxydr" else QUICKLY
    function = jax.jit(jax.value_and_grad(single), compiler_options=options)
    return function(WEIGHTS, *draw(rows))


def on_devices(name, rows, mode, **options):
    def local(weights, *batch):
        value, gradient = jax.value_and_grad(loss_of_weights)(
            weights, *batch, name=name, axis_name=sharding.AXIS, **options
        )
        return value, collectives.pmean(gradient, sharding.AXIS)

    quickly = None if name == "proxydr" else QUICKLY
    return sharding.on_devices(
        local, mode, [WEIGHTS], draw(rows), compiler_options=quickly
    )


CASES = [
    # Up to 64 rows are sorted on every device, more are counted together.
    ("rank_index", 24, "vmap", None),
    ("block_edge", 24, "pmap", 5),
    ("rank_index", 96, "pmap", None),
    ("block_edge", 96, "vmap", 7),
    ("hops", 96, "vmap", None),
    ("triplet active", 24, "vmap", None),
    ("triplet valid", 24, "pmap", 4),
    ("tuplet", 32, "vmap", "none"),
    ("quadruplet", 32, "pmap", "none"),
    ("softmax", 24, "vmap", "none"),
    ("normface", 24, "pmap", "none"),
    ("proxydr", 24, "vmap", "none"),
    ("corr", 24, "vmap", "none"),
    ("corr official", 24, "pmap", "none"),
    ("simclr", 32, "vmap", None),
    ("supcon", 48, "pmap", 5),
    ("hmc", 48, "vmap", 7),
    ("hmce", 48, "pmap", None),
    ("hce pairwise", 48, "pmap", 5),
    ("hmce official", 48, "vmap", None),
    ("level masks", 48, "pmap", 5),
    ("own level masks", 48, "vmap", None),
]

# Every loss in one of the first two, where a sum is its own transpose, and with types
# that tell sums from copies; two of them in every mapping, and the others slowly.
CHECKED = [(name, rows, "shard_map", block) for name, rows, _, block in CASES]
EVERYWHERE = [
    (name, rows, mode, block)
    for name, rows, _, block in CASES
    for mode in ("pmap", "vmap", "shard_map unchecked")
]
ALWAYS = {*CASES, *CHECKED} | {
    case for case in EVERYWHERE if case[:2] in (("rank_index", 24), ("hmce", 48))
}
ALL = [
    case if case in ALWAYS else pytest.param(*case, marks=pytest.mark.slow)
    for case in dict.fromkeys([*CASES, *CHECKED, *EVERYWHERE])
]


@pytest.mark.parametrize(("name", "rows", "mode", "block_size"), ALL)
def test_sharded_equals_single(name, rows, mode, block_size):
    value, gradient = jax.device_get(on_one_device(name, rows))
    assert value > 1e-3 and np.abs(gradient).max() > 1e-3
    options = {} if block_size == "none" else {"block_size": block_size}
    found, found_gradient = on_devices(name, rows, mode, **options)
    np.testing.assert_allclose(found, value, rtol=1e-5)
    np.testing.assert_allclose(
        found_gradient, gradient, rtol=1e-5, atol=1e-5 * np.abs(gradient).max()
    )
