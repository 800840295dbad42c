import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import distances, losses
from hierjax.losses import proxy

ROWS, CLASSES, DIM = 6, 4, 3
RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.normal(size=(ROWS, DIM)).astype(np.float32)
PROXIES = 2.5 * RNG.normal(size=(CLASSES, DIM)).astype(np.float32)
BIASES = np.array([0.3, -1.0, 0.0, 2.0], np.float32)
IDS = np.array([2, 0, -1, 3, 2, 1], np.int32)
WHERE = np.array([True, True, True, True, False, True])
SCALE = 7.3

CASES = [*itertools.product(("normface", "proxydr"), proxy.ANGULAR)]
cases = pytest.mark.parametrize(("method", "distance"), CASES)


def unit(v):
    norm = math.sqrt(sum(float(a) ** 2 for a in v))
    return [float(a) / norm if norm else 0.0 for a in v]


def loop_logits(embeddings, proxies, method, distance, floor=1e-6):
    """In float64, from distances between unit vectors, those at least ``floor``."""
    rows = []
    for x in embeddings:
        row = []
        for w in proxies:
            x1, w1 = unit(x), unit(w)
            cos = sum(a * b for a, b in zip(x1, w1, strict=True))
            if distance == "arccos":
                apart = math.acos(0.999999 * min(1.0, max(-1.0, cos)))
            else:
                apart = math.dist(x1, w1) if any(x1) and any(w1) else math.sqrt(2)
            if method == "proxydr":
                row.append(-SCALE * math.log(max(apart, floor)))
            elif distance == "arccos":
                row.append(-SCALE * apart**2)
            else:
                row.append(SCALE * cos)
        rows.append(row)
    return rows


def loop_cross_entropy(logits, ids, where):
    total, count = 0.0, 0
    for row, c, valid in zip(logits, ids, where, strict=True):
        if valid and c >= 0:
            top = max(row)
            total += top + math.log(sum(math.exp(a - top) for a in row)) - row[c]
            count += 1
    return total / count if count else 0.0


def loop_corr(embeddings, proxies, ids, where, official):
    losses_ = [
        1 - sum(a * b for a, b in zip(unit(x), unit(proxies[c]), strict=True))
        for x, c, valid in zip(embeddings, ids, where, strict=True)
        if valid and c >= 0
    ]
    return sum(losses_) if official else sum(losses_) / len(losses_)


LOGITS = {"normface": losses.normface_logits, "proxydr": losses.proxydr_logits}


@functools.lru_cache(maxsize=None)
def compiled_logits(method, distance="euclidean"):
    return jax.jit(functools.partial(LOGITS[method], scale=SCALE, distance=distance))


@functools.lru_cache(maxsize=None)
def loss_and_gradients(method, distance="euclidean", official=False):
    """Of embeddings and proxies, compiled."""

    def loss_fn(embeddings, proxies, ids, where):
        if method == "corr":
            return losses.corr_loss(
                embeddings, proxies, ids, official=official, where=where
            )
        if method == "softmax":
            logits = losses.softmax_logits(embeddings, proxies, BIASES)
        else:
            logits = compiled_logits(method, distance)(embeddings, proxies)
        return losses.cross_entropy_loss(logits, ids, where=where)

    return jax.jit(jax.value_and_grad(loss_fn, argnums=(0, 1)))


def finite_differences(function, *arrays, step=1e-5):
    """Gradients of a float64 function of arrays."""
    arrays = [np.array(a, np.float64) for a in arrays]
    gradients = []
    for array in arrays:
        gradient = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            kept, sides = array[place], []
            for sign in (1, -1):
                array[place] = kept + sign * step
                sides.append(function(*arrays))
            array[place] = kept
            gradient[place] = (sides[0] - sides[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


def all_finite(tree):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


def test_cosines():
    cosines = losses.class_cosines(EMBEDDINGS, PROXIES)
    expected = [
        [sum(a * b for a, b in zip(unit(x), unit(w), strict=True)) for w in PROXIES]
        for x in EMBEDDINGS
    ]
    np.testing.assert_allclose(cosines, expected, atol=1e-6)


def test_softmax_logits():
    expected = [
        [
            sum(float(a) * float(b) for a, b in zip(f, w, strict=True)) + bias
            for w, bias in zip(PROXIES, BIASES, strict=True)
        ]
        for f in EMBEDDINGS
    ]
    found = losses.softmax_logits(EMBEDDINGS, PROXIES, BIASES)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@cases
def test_logits(method, distance):
    found = compiled_logits(method, distance)(EMBEDDINGS, PROXIES)
    expected = loop_logits(EMBEDDINGS, PROXIES, method, distance)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    # The scale is 10 if nobody says otherwise.
    plain = LOGITS[method](EMBEDDINGS, PROXIES, distance=distance)
    np.testing.assert_allclose(plain, 10 / SCALE * found, rtol=1e-5)


def test_bfloat16_is_computed_in_float32():
    rows = jnp.asarray(EMBEDDINGS, jnp.bfloat16)
    found = losses.proxydr_logits(rows, PROXIES)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(
        found, losses.proxydr_logits(rows.astype(jnp.float32), PROXIES)
    )


@cases
def test_cross_entropy_and_its_gradient(method, distance):
    def oracle(embeddings, proxies):
        logits = loop_logits(embeddings, proxies, method, distance)
        return loop_cross_entropy(logits, IDS, WHERE)

    value, gradients = loss_and_gradients(method, distance)(
        EMBEDDINGS, PROXIES, IDS, WHERE
    )
    gradients = jax.device_get(gradients)
    np.testing.assert_allclose(value, oracle(EMBEDDINGS, PROXIES), rtol=1e-5)
    expected = finite_differences(oracle, EMBEDDINGS, PROXIES)
    for found, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    # Neither the unknown nor the masked row is pulled anywhere.
    assert not np.any(gradients[0][2]) and not np.any(gradients[0][4])
    assert np.abs(gradients[0]).max(1)[[0, 1, 3, 5]].min() > 0


def test_softmax_cross_entropy_and_its_gradient():
    def oracle(embeddings, weights):
        logits = embeddings @ weights.T + BIASES.astype(np.float64)
        return loop_cross_entropy(logits.tolist(), IDS, WHERE)

    value, gradients = loss_and_gradients("softmax")(EMBEDDINGS, PROXIES, IDS, WHERE)
    np.testing.assert_allclose(value, oracle(EMBEDDINGS, PROXIES), rtol=1e-5)
    expected = finite_differences(oracle, EMBEDDINGS, PROXIES)
    for found, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("official", [False, True])
def test_corr_and_its_gradient(official):
    def oracle(embeddings, proxies):
        return loop_corr(embeddings, proxies, IDS, WHERE, official)

    value, gradients = loss_and_gradients("corr", official=official)(
        EMBEDDINGS, PROXIES, IDS, WHERE
    )
    np.testing.assert_allclose(value, oracle(EMBEDDINGS, PROXIES), rtol=1e-5)
    expected = finite_differences(oracle, EMBEDDINGS, PROXIES)
    for found, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", ["proxydr", "corr"])
def test_where_equals_deleting_rows(method):
    kept = WHERE & (IDS >= 0)
    compiled = loss_and_gradients(method)
    value, gradients = compiled(EMBEDDINGS, PROXIES, IDS, WHERE)
    deleted = compiled(EMBEDDINGS[kept], PROXIES, IDS[kept], WHERE[kept])
    np.testing.assert_allclose(value, deleted[0], rtol=1e-6)
    np.testing.assert_allclose(gradients[1], deleted[1][1], rtol=1e-5, atol=1e-6)


def test_normface_is_a_softmax_of_squared_distances():
    units = distances.unit_normalize(EMBEDDINGS), distances.unit_normalize(PROXIES)
    squared = distances.pairwise_distances(*units, distance="sqeuclidean")
    np.testing.assert_allclose(
        jax.nn.softmax(compiled_logits("normface")(EMBEDDINGS, PROXIES)),
        jax.nn.softmax(-SCALE / 2 * squared),
        atol=1e-6,
    )


@pytest.mark.parametrize("distance", proxy.ANGULAR)
def test_proxydr_probabilities_are_ratios_of_distances(distance):
    cosines = losses.class_cosines(EMBEDDINGS, PROXIES)
    apart = np.sqrt(2 - 2 * cosines) if distance == "euclidean" else np.arccos(cosines)
    found = jax.nn.softmax(compiled_logits("proxydr", distance)(EMBEDDINGS, PROXIES))
    for factor in (1.0, 0.01, 30.0):
        shares = (factor * apart) ** -SCALE
        expected = shares / shares.sum(1, keepdims=True)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@cases
def test_rotating_and_stretching_change_nothing(method, distance):
    rotation, _ = np.linalg.qr(RNG.normal(size=(DIM, DIM)))
    rotation = rotation.astype(np.float32)
    lengths = RNG.uniform(0.1, 9, size=(ROWS, 1)).astype(np.float32)
    compute = compiled_logits(method, distance)
    np.testing.assert_allclose(
        compute(lengths * EMBEDDINGS @ rotation, 0.2 * PROXIES @ rotation),
        compute(EMBEDDINGS, PROXIES),
        rtol=1e-4,
        atol=1e-4,
    )


@cases
def test_renaming_the_classes_changes_nothing(method, distance):
    order = np.array([3, 1, 0, 2])
    names = np.append(np.argsort(order), -1)  # The last is read by -1.
    compiled = loss_and_gradients(method, distance)
    value, gradients = compiled(EMBEDDINGS, PROXIES, IDS, WHERE)
    renamed = compiled(EMBEDDINGS, PROXIES[order], names[IDS].astype(np.int32), WHERE)
    np.testing.assert_allclose(renamed[0], value, rtol=1e-5)
    np.testing.assert_allclose(renamed[1][0], gradients[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(renamed[1][1], gradients[1][order], rtol=1e-4, atol=1e-5)


def test_an_embedding_on_a_proxy():
    proxies = np.eye(DIM, dtype=np.float32)[[0, 1, 2, 0]]
    rows = np.concatenate([4 * proxies, EMBEDDINGS[:2]])
    nearest = {"euclidean": 1e-6, "arccos": math.acos(0.999999)}
    for distance, apart in nearest.items():
        compute = compiled_logits("proxydr", distance)
        logits = compute(rows, proxies)
        expected = np.full(CLASSES, -SCALE * math.log(apart))
        np.testing.assert_allclose(np.diag(logits), expected, rtol=2e-3)
        _, pull_back = jax.vjp(compute, rows, proxies)
        assert all_finite(pull_back(jnp.ones_like(logits)))
    # No gradient goes through the clipped logit; the others have theirs.
    _, pull_back = jax.vjp(compiled_logits("proxydr"), rows, proxies)
    own, other = np.zeros((2, ROWS, CLASSES), np.float32)
    own[0, 0], other[0, 1] = 1, 1
    assert not any(np.any(g) for g in pull_back(own))
    assert all(np.any(g) for g in pull_back(other))


def hard_batches():
    """Name, embeddings, proxies, ids, where."""
    # On the own proxy, on another's, opposite, zero, twice the same, almost on it.
    on = PROXIES[[2, 1, 0, 3, 3, 1]].copy()
    on[2] *= -1
    on[3] = 0
    on[5] += 1e-4
    ids = np.array([2, 0, 0, 3, 3, 1], np.int32)
    everything = np.ones(ROWS, bool)
    yield "on proxies", on, PROXIES, ids, everything
    twins = PROXIES.copy()
    twins[1], twins[3] = PROXIES[2], 0
    yield "equal proxies and a zero one", on, twins, ids, everything
    yield "zero embeddings", 0 * on, PROXIES, ids, everything
    yield "tiny", 1e-12 * on, 1e-12 * PROXIES, ids, everything
    yield "large", 1e12 * on, 1e12 * PROXIES, ids, everything


HARD = {name: batch for name, *batch in hard_batches()}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize(("method", "distance"), [*CASES, ("corr", "euclidean")])
def test_hard_batches_stay_finite(method, distance, name):
    embeddings, proxies, ids, where = HARD[name]
    value, gradients = loss_and_gradients(method, distance)(
        embeddings, proxies, ids, where
    )
    assert value > 0 and all_finite((value, gradients))
    if method == "corr":
        expected = loop_corr(embeddings, proxies, ids, where, official=False)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        return
    # Float32 cannot tell chords below 1e-3 from 0.
    low, high = (
        loop_cross_entropy(
            loop_logits(embeddings, proxies, method, distance, floor), ids, where
        )
        for floor in (1e-3, 1e-6)
    )
    assert low - 0.1 <= value <= high + 0.1


def test_zero_embeddings_and_proxies_are_orthogonal_to_everything():
    rows, proxies = EMBEDDINGS.copy(), PROXIES.copy()
    rows[1], proxies[2] = 0, 0
    assert not np.any(compiled_logits("normface")(rows, proxies)[1])
    logits = np.asarray(compiled_logits("proxydr")(rows, proxies))
    found = np.concatenate([logits[1], logits[:, 2]])
    expected = np.full(ROWS + CLASSES, -SCALE * math.log(2) / 2)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    _, gradients = loss_and_gradients("proxydr")(rows, proxies, IDS, WHERE)
    assert not np.any(gradients[0][1]) and not np.any(gradients[1][2])


@pytest.mark.parametrize("method", ["softmax", "normface", "proxydr", "corr"])
def test_nothing_valid_gives_zero(method):
    nobody = np.zeros(ROWS, bool)
    unknown = np.full(ROWS, -1, np.int32)
    for ids, where in ((IDS, nobody), (unknown, WHERE)):
        value, gradients = loss_and_gradients(method)(EMBEDDINGS, PROXIES, ids, where)
        assert value == 0
        assert not any(np.any(g) for g in gradients)


@cases
def test_one_row_and_one_class(method, distance):
    compiled = loss_and_gradients(method, distance)
    value, gradients = compiled(EMBEDDINGS[:1], PROXIES[:1], IDS[1:2], WHERE[:1])
    assert value == 0 and not any(np.any(g) for g in gradients)
    logits = compiled_logits(method, distance)(EMBEDDINGS[:1], PROXIES[:1])
    expected = loop_logits(EMBEDDINGS[:1], PROXIES[:1], method, distance)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_padding_may_hold_anything():
    dirty = EMBEDDINGS.copy()
    dirty[4] = np.nan  # Masked,
    dirty[2] = np.inf  # and of unknown class.
    for official in (False, True):
        compiled = loss_and_gradients("corr", official=official)
        clean = compiled(EMBEDDINGS, PROXIES, IDS, WHERE)
        found = compiled(dirty, PROXIES, IDS, WHERE)
        jax.tree.map(np.testing.assert_array_equal, found, clean)

    compiled = jax.jit(jax.value_and_grad(losses.cross_entropy_loss))
    logits = RNG.normal(size=(ROWS, CLASSES)).astype(np.float32)
    clean = compiled(logits, IDS, where=WHERE)
    logits[4], logits[2] = np.nan, np.inf
    found = compiled(logits, IDS, where=WHERE)
    jax.tree.map(np.testing.assert_array_equal, found, clean)


def test_a_missing_representative_leaves_the_other_scores_alone():
    proxies = PROXIES.copy()
    proxies[1] = np.nan
    there = [0, 2, 3]
    expected, found = (
        np.asarray(compiled_logits("proxydr")(EMBEDDINGS, w))
        for w in (PROXIES, proxies)
    )
    assert np.isnan(found[:, 1]).all()
    np.testing.assert_array_equal(found[:, there], expected[:, there])


def test_what_is_wrong_is_named():
    for compute in LOGITS.values():
        with pytest.raises(ValueError, match="'cosine', accepted are .*'euclidean'"):
            compute(EMBEDDINGS, PROXIES, distance="cosine")
    with pytest.raises(ValueError, match="'arccos'"):
        proxy.log_distances(jnp.zeros(3), distance="sqeuclidean")
    with pytest.raises(ValueError, match=r"\(6, 3\) and proxies \(4, 2\)"):
        losses.class_cosines(EMBEDDINGS, PROXIES[:, :2])
    with pytest.raises(ValueError, match="embeddings must be a float array of 2"):
        losses.softmax_logits(EMBEDDINGS[None], PROXIES, BIASES)
    with pytest.raises(ValueError, match="proxies must be a float array"):
        losses.corr_loss(EMBEDDINGS, PROXIES.astype(np.int32), IDS)
    logits = np.zeros((ROWS, CLASSES), np.float32)
    with pytest.raises(ValueError, match=r"integers \[6\], got float32 \(6,\)"):
        losses.cross_entropy_loss(logits, IDS.astype(np.float32))
    with pytest.raises(ValueError, match=r"integers \[6\], got int32 \(6, 1\)"):
        losses.corr_loss(EMBEDDINGS, PROXIES, IDS[:, None])
    with pytest.raises(ValueError, match=r"where must have shape \(6,\)"):
        losses.cross_entropy_loss(logits, IDS, where=WHERE[:2])


def test_cross_entropy_of_a_row_that_may_be_of_several_classes():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(5, 4)).astype(np.float32)
    ids = np.array([2, -1, -1, -1, -1])
    candidates = np.array(
        [[0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]], bool
    )
    where = np.array([True, True, True, True, False])
    value, gradient = jax.jit(
        jax.value_and_grad(
            lambda logits: losses.cross_entropy_loss(
                logits, ids, candidates=candidates, where=where
            )
        )
    )(logits)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    # Rows 2 and 3 say nothing and row 4 is padding.
    expected = -np.mean(np.log([shares[0, 2], shares[1, :2].sum()]))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert np.isfinite(gradient).all() and not np.any(gradient[2:])
    assert (gradient[1, :2] < 0).all() and (gradient[1, 2:] > 0).all()
    with pytest.raises(ValueError, match=r"candidates \(5, 3\)"):
        losses.cross_entropy_loss(logits, ids, candidates=candidates[:, :3])
