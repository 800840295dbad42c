"""Every loss: one device's value and gradient, whatever the number of devices."""

import functools

import jax
import numpy as np
import pytest

from hierjax import Hierarchy, collectives, distances, losses
from tests.compiling import QUICKLY

DEVICES, FEATURES, DIM = 4, 5, 3
AXIS = "devices"

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
    return run(jax.jit(jax.value_and_grad(single)), name, WEIGHTS, *draw(rows))


def run(function, name, *arguments):
    """Calls a jitted or mapped function, compiled quickly where that is exact."""
    options = None if name == "proxydr" else QUICKLY
    return function.lower(*arguments).compile(options)(*arguments)


def on_devices(name, rows, mapping, **options):
    def local(weights, *batch):
        value, gradient = jax.value_and_grad(loss_of_weights)(
            weights, *batch, name=name, axis_name=AXIS, **options
        )
        return value, collectives.pmean(gradient, AXIS)

    keywords = {"axis_name": AXIS, "in_axes": (None, 0, 0, 0)}
    if mapping == "pmap":
        mapped = jax.pmap(local, devices=jax.devices()[:DEVICES], **keywords)
    else:
        mapped = jax.jit(jax.vmap(local, **keywords))
    batch = (x.reshape(DEVICES, -1, *x.shape[1:]) for x in draw(rows))
    return jax.device_get(run(mapped, name, WEIGHTS, *batch))


@pytest.mark.parametrize(
    ("name", "rows", "mapping", "block_size"),
    [
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
    ],
)
def test_sharded_equals_single(name, rows, mapping, block_size):
    value, gradient = jax.device_get(on_one_device(name, rows))
    assert value > 1e-3 and np.abs(gradient).max() > 1e-3
    options = {} if block_size == "none" else {"block_size": block_size}
    values, gradients = on_devices(name, rows, mapping, **options)
    np.testing.assert_array_equal(values, values[:1].repeat(DEVICES))
    np.testing.assert_allclose(values[0], value, rtol=1e-5)
    for device in range(DEVICES):
        np.testing.assert_allclose(
            gradients[device], gradient, rtol=1e-5, atol=1e-5 * np.abs(gradient).max()
        )
