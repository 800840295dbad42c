import functools
import math

import jax
import numpy as np
import pytest

from hierjax import Hierarchy, losses
from tests.compiling import jit

TREE = Hierarchy.from_paths(
    [["a", "p", "x"], ["b"], ["a", "p", "y"], ["a", "q"], ["c", "r", "z"], ["c", "s"]]
)
ROWS, DIM, CLASSES = 12, 3, TREE.num_classes
RNG = np.random.default_rng(0)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


UNIT = unit(RNG.normal(size=(ROWS, DIM)))
PROXIES = RNG.normal(size=(CLASSES, DIM)).astype(np.float32)
LEVEL_PROXIES = [
    RNG.normal(size=(n, DIM)).astype(np.float32) for n in TREE.nodes_per_level
]
IDS = np.array([0, 2, 0, 3, -1, 4, 2, 0, 3, 4, 1, 0])
LABELS = TREE.labels_of(IDS).copy()
LABELS[3, 2:] = -1
LABELS[5, 1:] = -1
WHERE = np.arange(ROWS) % 6 != 1


def cos(a, b):
    a, b = a.astype(float), b.astype(float)
    return float(a @ b) / math.sqrt((a @ a) * (b @ b))


def loop_proxy_anchor(rows, proxies, ids, where, margin, scale):
    near, far = [], 0.0
    valid = [i for i in range(len(rows)) if where[i] and ids[i] >= 0]
    for c, w in enumerate(proxies):
        own = [cos(rows[i], w) for i in valid if ids[i] == c]
        others = [cos(rows[i], w) for i in valid if ids[i] != c]
        if own:
            near.append(math.log1p(sum(math.exp(-scale * (s - margin)) for s in own)))
        far += math.log1p(sum(math.exp(scale * (s + margin)) for s in others))
    return (sum(near) / len(near) if near else 0.0) + far / len(proxies)


@pytest.mark.parametrize(("margin", "scale"), [(0.1, 32.0), (-0.3, 4.0)])
def test_proxy_anchor(margin, scale):
    found = jit(
        functools.partial(
            losses.proxy_anchor_loss, margin=margin, scale=scale, where=WHERE
        )
    )(3 * UNIT, PROXIES, IDS)
    expected = loop_proxy_anchor(UNIT, PROXIES, IDS, WHERE, margin, scale)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_proxy_anchor_at_every_level():
    weights = [0.5, 0.2, 1.5]

    def loss(rows, labels):
        return losses.hierarchical_proxy_anchor_loss(
            rows, LEVEL_PROXIES, labels, level_weights=weights, scale=8.0, where=WHERE
        )

    expected = sum(
        weight * loop_proxy_anchor(UNIT, proxies, column, WHERE, 0.1, 8.0)
        for weight, proxies, column in zip(
            weights, LEVEL_PROXIES, LABELS.T, strict=True
        )
    )
    np.testing.assert_allclose(jit(loss)(UNIT, LABELS), expected, rtol=1e-5)


@pytest.mark.parametrize("margin", [0.0, 0.5, 2.0])
def test_arcface(margin):
    rows = np.concatenate([UNIT, -PROXIES])  # the last ones lie opposite
    ids = np.concatenate([IDS, np.arange(CLASSES)])
    logits = losses.arcface_logits(rows, PROXIES, ids, scale=9.0, margin=margin)
    for x, y, found in zip(rows, ids, logits, strict=True):
        for c, w in enumerate(PROXIES):
            value = max(-1.0, min(1.0, cos(x, w)))
            if c == y:
                theta = math.acos(0.999999 * value)
                if theta + margin <= math.pi:
                    value = math.cos(theta + margin)
                else:
                    value -= margin * math.sin(margin)
            np.testing.assert_allclose(found[c], 9 * value, atol=2e-4)


def loop_multi_similarity(rows, ids, where, alpha, beta, threshold, epsilon):
    valid = [i for i in range(len(rows)) if where[i] and ids[i] >= 0]
    total = 0.0
    s = rows.astype(float) @ rows.T.astype(float)
    for i in valid:
        near = [s[i, k] for k in valid if k != i and ids[k] == ids[i]]
        far = [s[i, k] for k in valid if ids[k] != ids[i]]
        if epsilon is not None:
            near, far = (
                [x for x in near if far and x < max(far) + epsilon],
                [x for x in far if near and x > min(near) - epsilon],
            )
        total += (
            math.log1p(sum(math.exp(-alpha * (x - threshold)) for x in near)) / alpha
        )
        total += math.log1p(sum(math.exp(beta * (x - threshold)) for x in far)) / beta
    return total / len(valid)


@pytest.mark.parametrize("epsilon", [None, 0.1, -0.4])
@pytest.mark.parametrize("block_size", [None, 5])
def test_multi_similarity(epsilon, block_size):
    found = jit(
        functools.partial(
            losses.multi_similarity_loss,
            positive_scale=3.0,
            negative_scale=20.0,
            threshold=0.3,
            mining_margin=epsilon,
            where=WHERE,
            block_size=block_size,
        )
    )(UNIT, IDS)
    expected = loop_multi_similarity(UNIT, IDS, WHERE, 3.0, 20.0, 0.3, epsilon)
    assert expected > 0.05
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def shared_levels(a, b):
    """How many levels two paths share, None if that is not known."""
    for level, (x, y) in enumerate(zip(a, b, strict=True)):
        if x < 0 or y < 0:
            return None
        if x != y:
            return level
    return len(a)


def loop_hap(rows, labels, where, alpha, balance, step):
    """With any step function of differences of similarities."""
    losses_ = []
    s = rows.astype(float) @ rows.T.astype(float)
    levels = labels.shape[1]
    for i in range(len(rows)):
        shared = {}
        for j in range(len(rows)):
            if where[i] and where[j] and i != j:
                found = shared_levels(labels[i], labels[j])
                if found is not None:
                    shared[j] = found
        sizes = [list(shared.values()).count(n) for n in range(levels + 1)]
        relevance = {
            j: (n / levels) ** alpha / (sizes[n] if balance else 1)
            for j, n in shared.items()
        }
        if not sum(relevance.values()):
            continue
        total = 0.0
        for k, own in relevance.items():
            if own:
                ahead = {j: step(s[i, j] - s[i, k]) for j in relevance if j != k}
                earned = sum(h * min(relevance[j], own) for j, h in ahead.items())
                total += (own + earned) / (1 + sum(ahead.values()))
        losses_.append(1 - total / sum(relevance.values()))
    return sum(losses_) / len(losses_)


@pytest.mark.parametrize(
    ("alpha", "balance", "block_size"), [(1.0, True, None), (2.0, False, 5)]
)
def test_hap(alpha, balance, block_size):
    def sigmoid(x):
        return 1 / (1 + math.exp(-x / 0.1))

    options = {"alpha": alpha, "balance": balance, "block_size": block_size}
    loss = functools.partial(losses.hap_loss, temperature=0.1, where=WHERE, **options)
    found, gradient = jit(jax.value_and_grad(loss))(UNIT, LABELS)
    expected = loop_hap(UNIT, LABELS, WHERE, alpha, balance, sigmoid)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    exact, step = UNIT.astype(float), 1e-6 * RNG.normal(size=UNIT.shape)
    ends = [
        loop_hap(z, LABELS, WHERE, alpha, balance, sigmoid)
        for z in (exact + step, exact - step)
    ]
    np.testing.assert_allclose(
        np.sum(gradient * step), (ends[0] - ends[1]) / 2, rtol=2e-3
    )


def test_a_cold_hap_is_one_minus_the_exact_measure():
    found = jit(functools.partial(losses.hap_loss, temperature=1e-5, where=WHERE))
    expected = loop_hap(UNIT, LABELS, WHERE, 1.0, True, lambda x: float(x > 0))
    np.testing.assert_allclose(found(UNIT, LABELS), expected, rtol=1e-5)


def test_hap_of_one_level_is_the_average_precision():
    labels = LABELS[:, :1]
    found = jit(functools.partial(losses.hap_loss, temperature=1e-5))(UNIT, labels)
    precisions = []
    for i in np.flatnonzero(labels[:, 0] >= 0):
        others = [j for j in range(ROWS) if j != i and labels[j, 0] >= 0]
        others.sort(key=lambda j: -UNIT[i] @ UNIT[j])
        hits = [labels[j, 0] == labels[i, 0] for j in others]
        at_hits = [sum(hits[: r + 1]) / (r + 1) for r, hit in enumerate(hits) if hit]
        if at_hits:
            precisions.append(np.mean(at_hits))
    np.testing.assert_allclose(found, 1 - np.mean(precisions), rtol=1e-5)


def test_hap_keeps_no_cube():
    """Memory of a row a query, with and without blocks."""

    def loss(z, block_size):
        return losses.hap_loss(z, labels, block_size=block_size)

    z, labels = np.ones((96, DIM), np.float32), np.zeros((96, 2), int)
    for block_size in (None, 8):
        compiled = jit(jax.grad(functools.partial(loss, block_size=block_size)))
        memory = compiled.lower(z).compile().memory_analysis()
        # A cube of pairs of pairs in float32 would be 3.5 MB.
        assert memory.temp_size_in_bytes < 96 * 96 * 4 * 40


def proxy_anchor(z, labels, **options):
    return losses.proxy_anchor_loss(z, PROXIES, labels[:, -1], **options)


def level_proxy_anchor(z, labels, **options):
    return losses.hierarchical_proxy_anchor_loss(z, LEVEL_PROXIES, labels, **options)


def arcface(z, labels, where=None, axis_name=None):
    logits = losses.arcface_logits(z, PROXIES, labels[:, -1], scale=9.0)
    return losses.cross_entropy_loss(
        logits, labels[:, -1], where=where, axis_name=axis_name
    )


def multi_similarity(z, labels, **options):
    return losses.multi_similarity_loss(z, labels[:, -1], **options)


hap = functools.partial(losses.hap_loss, temperature=0.1)

ALL = {
    "proxy anchor": proxy_anchor,
    "level proxy anchor": level_proxy_anchor,
    "arcface": arcface,
    "multi-similarity": multi_similarity,
    "hap": hap,
}
all_losses = pytest.mark.parametrize("name", ALL)


@functools.lru_cache(maxsize=None)
def compiled(name):
    loss = ALL[name]
    return jit(jax.value_and_grad(lambda z, y, where: loss(z, y, where=where)))


@all_losses
def test_padding_and_degenerate_batches(name):
    step = compiled(name)
    value, gradient = step(UNIT, LABELS, WHERE)
    assert value > 0.05 and np.abs(gradient[WHERE]).max() > 1e-3
    kept, _ = step(UNIT[WHERE], LABELS[WHERE], WHERE[WHERE])
    np.testing.assert_allclose(kept, value, rtol=1e-5)
    if name != "arcface":  # whose rows go through the caller's hands
        for rubbish in (np.nan, np.inf):
            spoilt = np.where(WHERE[:, None], UNIT, np.float32(rubbish))
            again, new = step(spoilt, LABELS, WHERE)
            assert again == value
            np.testing.assert_array_equal(new, gradient)
    unknown, nobody = np.full_like(LABELS, -1), np.zeros_like(WHERE)
    for labels, where in ((unknown, WHERE), (LABELS, nobody)):
        value, gradient = step(UNIT, labels, where)
        assert value == 0 and not np.asarray(gradient).any()
    alone = np.arange(ROWS) == 2
    same = np.tile(UNIT[:1], (ROWS, 1))
    for z, labels, where in (
        (UNIT, LABELS, alone),
        (same, LABELS, WHERE),
        (0 * UNIT, LABELS, WHERE),
        (UNIT, np.zeros_like(LABELS), WHERE),
    ):
        value, gradient = step(z, labels, where)
        assert np.isfinite(value) and np.isfinite(gradient).all()


@all_losses
def test_sharded_equals_single(name):
    weights = RNG.normal(size=(DIM, DIM)).astype(np.float32)
    where = WHERE.copy()
    where[:3] = False
    blocked = {"block_size": 2} if name in ("multi-similarity", "hap") else {}

    def of_weights(weights, x, labels, where, **options):
        z = x @ weights
        z /= np.float32(1e-6) + (z**2).sum(axis=1, keepdims=True) ** 0.5
        return ALL[name](z, labels, where=where, **options)

    def local(weights, *batch):
        value, gradient = jax.value_and_grad(of_weights)(
            weights, *batch, axis_name="d", **blocked
        )
        return value, jax.lax.pmean(gradient, "d")

    batch = (UNIT, LABELS, where)
    value, gradient = jit(jax.value_and_grad(of_weights))(weights, *batch)
    mapped = jit(jax.vmap(local, in_axes=(None, 0, 0, 0), axis_name="d"))
    split = (x.reshape(4, 3, *x.shape[1:]) for x in batch)
    values, gradients = mapped(weights, *split)
    np.testing.assert_allclose(values, np.full(4, value), rtol=1e-5)
    for found in gradients:
        np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-5)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="one a level"):
        losses.hierarchical_proxy_anchor_loss(UNIT, LEVEL_PROXIES[:2], LABELS)
    with pytest.raises(ValueError, match="level_weights"):
        losses.hierarchical_proxy_anchor_loss(
            UNIT, LEVEL_PROXIES, LABELS, level_weights=[1.0]
        )
    with pytest.raises(ValueError, match="at least one level"):
        losses.hap_loss(UNIT, LABELS[:, :0])
    with pytest.raises(ValueError, match="temperature must be positive"):
        losses.hap_loss(UNIT, LABELS, temperature=0.0)
