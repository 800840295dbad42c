import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import Hierarchy, collectives, losses, metrics, proxies
from hierjax.errors import UserError
from tests import sharding

AXIS = "devices"
CASES = [*itertools.product(proxies.METHODS, proxies.DISTANCES)]
cases = pytest.mark.parametrize(("method", "distance"), CASES)

RAGGED = Hierarchy.from_paths(
    map(tuple, ["ap", "aqx", "aqy", "b", "crsu", "crsv", "crt", "cw", "dz"])
)
TAXONOMIES = {
    "CIFAR100": {"classes": 100, "eigenvalue": 0.444, "stress": (0.178, 0.0003)},
    "MicroS": {"classes": 109, "eigenvalue": 0.444, "stress": (0.154, 0.0002)},
    "MicroL": {"classes": 102, "eigenvalue": 0.223, "stress": (0.150, 0.0002)},
    "MesoZ": {"classes": 52, "eigenvalue": 0.444, "stress": (0.174, 0.0003)},
    "nabirds": {"classes": 555, "eigenvalue": 0.444, "stress": (0.167, 0.033)},
}
# Of Adam's proxies with the tree: mean correlation, elementwise correlation.
CEILINGS = {
    "CIFAR100": (0.858, 0.862),
    "MicroS": (0.933, 0.977),
    "MicroL": (0.954, 0.981),
    "MesoZ": (0.978, 0.987),
    "nabirds": (0.449, 0.446),
}
stress = jax.jit(proxies.stress, static_argnames="distance")
SMALL = [name for name in TAXONOMIES if name != "nabirds"]
# Ten seconds and more for the last.
taxonomies = pytest.mark.parametrize(
    "name", [*SMALL, pytest.param("nabirds", marks=pytest.mark.slow)]
)


@pytest.fixture(scope="module")
def tree_of(shared_data):
    @functools.lru_cache(maxsize=None)
    def read(name):
        return Hierarchy.from_csv(
            shared_data / "taxonomies" / f"{name}_cls.csv",
            allow_internal_classes=name == "MicroL",
        )

    return read


@pytest.fixture(scope="module")
def adam_of(tree_of):
    @functools.lru_cache(maxsize=None)
    def solve(name):
        return np.asarray(proxies.mds_proxies(tree_of(name), 128, solver="adam"))

    return solve


@pytest.fixture
def no_adam(monkeypatch):
    """Stands in for a thousand steps: gives back their start."""
    monkeypatch.setattr(proxies, "_scale_on_sphere", lambda start, *_: start)


# Starting points and targets.


def test_random_proxies():
    rows = np.asarray(proxies.random_proxies(jax.random.key(0), 400, 3))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.ones(400), rtol=1e-6)
    # Uniform: no direction is preferred.
    np.testing.assert_allclose(rows.mean(0), np.zeros(3), atol=0.1)
    np.testing.assert_allclose(rows.T @ rows / 400, np.eye(3) / 3, atol=0.05)
    other = proxies.random_proxies(jax.random.key(1), 400, 3)
    assert np.abs(other - rows).max(1).min() > 1e-3


def test_tree_targets():
    hops = np.array([[0, 2, 4], [6, 8, 1], [3, 0, 5]])
    found = proxies.tree_targets(hops)
    published = {2: 0.9428, 4: 1.1314, 6: 1.2122, 8: 1.2571}
    for t, target in published.items():
        np.testing.assert_allclose(found[hops == t], [target], atol=5e-5)
    angles = proxies.tree_targets(hops, beta=0.5, distance="arccos")
    for place, t in np.ndenumerate(hops):
        np.testing.assert_allclose(angles[place], math.pi / 2 * t / (0.5 + t))
    assert found.dtype == np.float64 and found[0, 0] == 0


@pytest.mark.parametrize("beta", [0, -1.0, math.nan])
def test_beta_is_positive(beta):
    with pytest.raises(UserError, match=f"beta must be positive, got {beta}"):
        proxies.tree_targets(np.zeros((2, 2)), beta=beta)


# Scaling to the tree.


def loop_stress(rows, targets, distance):
    above = below = 0.0
    for a, x in enumerate(np.float64(rows)):
        for b, y in enumerate(np.float64(rows)):
            x1, y1 = x / np.linalg.norm(x), y / np.linalg.norm(y)
            apart = math.dist(x1, y1)
            if distance == "arccos":
                apart = 2 * math.asin(apart / 2)
            above += (targets[a, b] - apart) ** 2
            below += targets[a, b] ** 2
    return math.sqrt(above / below)


@pytest.mark.parametrize("distance", proxies.DISTANCES)
def test_stress(distance):
    rows = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    targets = proxies.tree_targets(RAGGED.path_length(), beta=0.7, distance=distance)
    found = stress(rows, targets, distance=distance)
    expected = loop_stress(rows, targets, distance)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@taxonomies
def test_adam_reaches_the_published_stress(tree_of, adam_of, name):
    known = TAXONOMIES[name]
    targets = proxies.tree_targets(tree_of(name).path_length())
    start = proxies.random_proxies(jax.random.key(0), known["classes"], 128)
    for rows, expected in zip((start, adam_of(name)), known["stress"], strict=True):
        assert abs(stress(rows, targets) - expected) < 0.002
    lengths = np.linalg.norm(adam_of(name), axis=1)
    np.testing.assert_allclose(lengths, np.ones(known["classes"]), rtol=1e-6)


def correlations(representatives, tree):
    apart = metrics.representative_distances(representatives)
    hops = tree.path_length()
    return (
        metrics.mean_correlation(apart, hops, official=True),
        metrics.elementwise_correlation(apart, hops),
        metrics.goodman_kruskal_gamma(apart, hops),
    )


@taxonomies
def test_ceilings_of_rank_correlation(tree_of, adam_of, name):
    *spearman, gamma = correlations(adam_of(name), tree_of(name))
    np.testing.assert_allclose(spearman, CEILINGS[name], atol=0.005)
    # Ties of the tree cost gamma nothing; 555 classes do not fit in 128 dimensions.
    assert gamma > (0.9999 if name in SMALL else 0.45)


def test_exact_ties_lift_the_ceiling(tree_of):
    tree = tree_of("CIFAR100")
    exact = proxies.mds_proxies(tree, 128)
    apart = np.round(metrics.representative_distances(np.asarray(exact)), 5)
    hops = tree.path_length()
    for found in (
        metrics.mean_correlation(apart, hops, official=True),
        metrics.mean_correlation(apart, hops),
        metrics.elementwise_correlation(apart, hops),
        metrics.goodman_kruskal_gamma(apart, hops),
    ):
        assert found == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("distance", proxies.DISTANCES)
@pytest.mark.parametrize("name", SMALL)
def test_the_closed_form_is_exact(tree_of, name, distance):
    tree = tree_of(name)
    rows = proxies.mds_proxies(tree, 128, solver="closed", distance=distance)
    assert rows.shape == (TAXONOMIES[name]["classes"], 128)
    targets = proxies.tree_targets(tree.path_length(), distance=distance)
    apart = metrics.representative_distances(np.asarray(rows), distance=distance)
    np.testing.assert_allclose(apart, targets, atol=1e-4)
    np.testing.assert_allclose(
        np.linalg.norm(rows, axis=1), np.ones(len(rows)), atol=1e-6
    )
    auto = proxies.mds_proxies(tree, 128, distance=distance)
    np.testing.assert_array_equal(auto, rows)


@pytest.mark.parametrize("name", TAXONOMIES)
def test_gram_matrices_are_positive_definite(tree_of, name):
    targets = proxies.tree_targets(tree_of(name).path_length())
    smallest = np.linalg.eigvalsh(1 - targets**2 / 2)[0]
    assert smallest == pytest.approx(TAXONOMIES[name]["eigenvalue"], abs=0.001)


def test_more_classes_than_dimensions_have_no_closed_form(tree_of, no_adam):
    tree = tree_of("nabirds")
    with pytest.raises(UserError, match="555 classes do not fit in 128 dim.*'adam'"):
        proxies.mds_proxies(tree, 128, solver="closed")
    start = proxies.random_proxies(jax.random.key(0), 555, 128)
    np.testing.assert_array_equal(proxies.mds_proxies(tree, 128), start)


def test_a_gram_matrix_with_a_negative_eigenvalue_has_no_closed_form(no_adam):
    # A class in the middle of a hundred others cannot be near to them all.
    leaves = [("middle", f"leaf {i}") for i in range(100)]
    tree = Hierarchy.from_paths([("middle",), *leaves], allow_internal_classes=True)
    with pytest.raises(UserError, match=r"no closed form: .* eigenvalue -0\.\d+; use"):
        proxies.mds_proxies(tree, 128, solver="closed")
    start = proxies.random_proxies(jax.random.key(0), 101, 128)
    np.testing.assert_array_equal(proxies.mds_proxies(tree, 128), start)


@pytest.mark.parametrize("distance", proxies.DISTANCES)
def test_adam_comes_close_on_a_small_tree(distance):
    targets = proxies.tree_targets(RAGGED.path_length(), distance=distance)
    solve = functools.partial(
        proxies.mds_proxies, RAGGED, 12, solver="adam", distance=distance
    )
    first, again, other = (solve(key=jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, solve())  # Key 0 if there is none.
    assert np.abs(first - other).max() > 0.1
    for rows in (first, other):
        assert stress(rows, targets, distance=distance) < 0.03
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.ones(9), rtol=1e-6)
    # Random directions are not close.
    start = proxies.random_proxies(jax.random.key(0), 9, 12)
    assert stress(start, targets, distance=distance) > 0.15


def test_too_few_dimensions_fall_back_on_adam():
    targets = proxies.tree_targets(RAGGED.path_length())
    rows = proxies.mds_proxies(RAGGED, 3)
    assert rows.shape == (9, 3)
    start = proxies.random_proxies(jax.random.key(0), 9, 3)
    assert 0.05 < stress(rows, targets) < stress(start, targets) - 0.1


def test_two_classes_and_one():
    two = Hierarchy.from_paths([("a",), ("b",)])
    for solver, tolerance in (("closed", 1e-5), ("adam", 1e-2)):
        a, b = np.asarray(proxies.mds_proxies(two, 12, solver=solver))
        apart = math.sqrt(2) * 2 / 3
        np.testing.assert_allclose(np.linalg.norm(a - b), apart, atol=tolerance)
    one = Hierarchy.from_paths([("animal", "cat")])
    with pytest.raises(UserError, match="at least two classes, this tree .* 'cat'"):
        proxies.mds_proxies(one, 12)


def test_unknown_names():
    with pytest.raises(UserError, match="solver is 'sgd', accepted are .*'closed'"):
        proxies.mds_proxies(RAGGED, 12, solver="sgd")
    for call in (
        lambda name: proxies.mds_proxies(RAGGED, 12, distance=name),
        lambda name: proxies.stress(np.eye(2), np.eye(2), distance=name),
        lambda name: proxies.initial_scale(9, "proxydr", distance=name),
    ):
        with pytest.raises(UserError, match="'cosine', accepted are .*'arccos'"):
            call("cosine")
    with pytest.raises(UserError, match="method is 'softmax', accepted .*'proxydr'"):
        proxies.initial_scale(9, "softmax")
    with pytest.raises(UserError, match="method is 'corr', accepted are .*'normface'"):
        proxies.dynamic_scale_loss(0.0, np.eye(2), np.arange(2), method="corr")


# Moving averages.


def loop_unit(v):
    return np.float64(v) / np.linalg.norm(np.float64(v))


def loop_ema(held, seen, embeddings, ids, where, decay):
    held, seen = np.array(held, np.float64), list(seen)
    for c in range(len(held)):
        rows = [
            loop_unit(x)
            for x, i, valid in zip(embeddings, ids, where, strict=True)
            if valid and i == c
        ]
        if rows:
            towards = loop_unit(sum(rows) / len(rows))
            old = held[c] if seen[c] else towards
            held[c] = loop_unit(decay * towards + (1 - decay) * old)
            seen[c] = True
    return held, seen


RNG = np.random.default_rng(0)
CLASSES, DIM, ROWS = 6, 3, 24
HELD = np.asarray(proxies.random_proxies(jax.random.key(0), CLASSES, DIM))
SEEN = np.array([True, False, True, False, True, False])
EMBEDDINGS = 3 * RNG.normal(size=(ROWS, DIM)).astype(np.float32)
# As four devices hold them: classes 0 and 1 on all, 4 and 5 once, 2 and 3 nowhere.
IDS = np.array(
    [
        [0, 1, 1, -1, 0, 1],
        [4, 0, 0, 0, 1, -1],
        [0, 1, 2, -1, 0, 3],
        [-1, 5, 0, 0, 1, -1],
    ],
    np.int32,
).ravel()
# The third device has nothing valid, the others differ in how much is.
WHERE = np.array([[0, 1, 1, 1, 1, 1], [1] * 6, [0] * 6, [1, 1, 1, 0, 1, 0]]) > 0
WHERE = WHERE.ravel()
ema_update = jax.jit(proxies.ema_update)


def test_ema_update():
    moved, seen = ema_update(
        HELD, SEEN, EMBEDDINGS, IDS, where=WHERE, decay=np.float32(0.2)
    )
    expected, expected_seen = loop_ema(HELD, SEEN, EMBEDDINGS, IDS, WHERE, 0.2)
    np.testing.assert_allclose(moved, expected, atol=1e-6)
    np.testing.assert_array_equal(seen, expected_seen)
    # Absent and masked classes keep every bit.
    np.testing.assert_array_equal(moved[2:4], HELD[2:4])
    np.testing.assert_array_equal(seen, [True, True, True, False, True, True])
    # The default is one per cent, and everything valid without a mask.
    moved, _ = ema_update(HELD, SEEN, EMBEDDINGS, IDS)
    expected, _ = loop_ema(HELD, SEEN, EMBEDDINGS, IDS, np.ones(ROWS, bool), 0.01)
    np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_ema_over_several_batches():
    held, seen = HELD, np.zeros(CLASSES, bool)
    wanted, wanted_seen = held, seen
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(ROWS)
        ids = np.where(IDS >= 0, (IDS + seed) % CLASSES, -1).astype(np.int32)
        batch = EMBEDDINGS[order], ids, WHERE
        held, seen = ema_update(
            held, seen, batch[0], ids, where=WHERE, decay=np.float32(0.2)
        )
        wanted, wanted_seen = loop_ema(wanted, wanted_seen, *batch, 0.2)
    np.testing.assert_allclose(held, wanted, atol=1e-5)
    np.testing.assert_array_equal(seen, wanted_seen)
    lengths = np.linalg.norm(held, axis=1)
    np.testing.assert_allclose(lengths, np.ones(CLASSES), atol=1e-6)


def test_nothing_moves_the_moving_average_in_vain():
    rows, ids = EMBEDDINGS.copy(), np.full(ROWS, -1, np.int32)
    # Unknown rows, whatever they hold.
    rows[5:] = np.nan
    moved, seen = ema_update(HELD, SEEN, rows, ids, where=WHERE, decay=np.float32(0.2))
    np.testing.assert_array_equal(moved, HELD)
    np.testing.assert_array_equal(seen, SEEN)
    # A class never seen whose embeddings cancel, one that was, and a zero row.
    where = np.arange(ROWS) < 5
    ids[:5] = [1, 1, 0, 0, 4]
    rows[1], rows[3], rows[4] = -rows[0], -rows[2], 0
    moved, seen = ema_update(HELD, SEEN, rows, ids, where=where, decay=np.float32(0.2))
    np.testing.assert_array_equal(moved, HELD)
    np.testing.assert_array_equal(seen, SEEN)
    # Opposite to the proxy and as heavy.
    ids[:5], rows[4] = [-1, -1, -1, -1, 4], [0, -2, 0]
    held = HELD.copy()
    held[4] = [0, 1, 0]
    moved, _ = ema_update(held, SEEN, rows, ids, where=where, decay=np.float32(0.5))
    np.testing.assert_array_equal(moved, held)


# The scale.


@pytest.mark.parametrize(
    ("num_classes", "proxydr", "normface"),
    [
        (100, 7.8989, 5.7939),
        (555, 10.5973, 8.4563),
        (109, 8.0335, 5.9343),
        (102, 7.9298, 5.8262),
        (52, 6.8807, 4.6777),
    ],
)
def test_initial_scales_are_the_published_ones(num_classes, proxydr, normface):
    for method, expected in (("proxydr", proxydr), ("normface", normface)):
        found = proxies.initial_scale(num_classes, method)
        assert found == pytest.approx(expected, abs=6e-5)


def published_equation(scale, num_classes, method, distance):
    others, quarter, half = num_classes - 1, math.pi / 4, math.pi / 2
    if method == "proxydr":
        if distance == "euclidean":
            near = 2 ** (-scale / 2) * (2 - math.sqrt(2)) ** (scale / 2)
        else:
            near = half**-scale * quarter**scale
        return others * near * (scale + 1) - scale + 1
    if distance == "euclidean":
        own = math.exp(scale * math.cos(quarter))
        curved = scale * math.sin(quarter) ** 2
        return math.cos(quarter) * (others + own) + curved * (own - others)
    square = quarter**2
    return others * math.exp(-scale * half**2) * math.exp(2 * scale * square) * (
        2 * scale * square - 1
    ) - math.exp(scale * square) * (2 * scale * square + 1)


@cases
def test_initial_scales_solve_their_equation(method, distance):
    for num_classes in (100, 1000):
        scale = proxies.initial_scale(num_classes, method, distance=distance)
        below, above = (
            published_equation(factor * scale, num_classes, method, distance)
            for factor in (1 - 1e-5, 1 + 1e-5)
        )
        assert below * above < 0
        # It is the largest solution.
        beyond = [
            published_equation(scale * (1 + k / 10), num_classes, method, distance)
            for k in range(1, 30)
        ]
        assert all(value * above > 0 for value in beyond)


def test_few_classes_have_a_scale_too():
    for num_classes in (2, 9):
        for case in CASES:
            scale = proxies.initial_scale(num_classes, case[0], distance=case[1])
            assert 1 <= scale <= 100
        scale = proxies.initial_scale(num_classes, "proxydr")
        residual = published_equation(scale, num_classes, "proxydr", "euclidean")
        assert abs(residual) < 1e-4
    # NormFace's equation has no solution; this comes closest.
    values = {
        s: abs(published_equation(s, 9, "normface", "euclidean"))
        for s in np.arange(1, 20, 0.005)
    }
    closest = min(values, key=values.get)
    assert proxies.initial_scale(9, "normface") == pytest.approx(closest, abs=0.01)
    for num_classes, solvable in ((22, False), (23, True)):
        scale = proxies.initial_scale(num_classes, "normface")
        residual = published_equation(scale, num_classes, "normface", "euclidean")
        assert (abs(residual) < 1e-3) == solvable
    with pytest.raises(UserError, match="at least two classes, got 1"):
        proxies.initial_scale(1, "proxydr")


def own_angles(cosines, ids, where):
    """Sorted, of the rows that count."""
    return sorted(
        math.acos(0.999999 * row[c])
        for row, c, valid in zip(cosines, ids, where, strict=True)
        if valid and c >= 0
    )


def loop_excess(log_scale, frozen, batch, method, distance, official):
    """What is squared, with the wrong classes' share at the frozen log scale."""
    cosines, ids, where = batch
    held, scale = math.exp(frozen), math.exp(log_scale)
    total, count = 0.0, 0
    for row, c, valid in zip(np.float64(cosines), ids, where, strict=True):
        if not valid or c < 0:
            continue
        count += 1
        for k, cos in enumerate(row):
            if k == c:
                continue
            squared = max(2 - 2 * cos, 0) + 1e-12
            angle = math.acos(0.999999 * min(cos, 1))
            if method == "normface":
                total += math.exp(
                    held * cos if distance == "euclidean" else -held * angle**2
                )
            elif distance == "arccos":
                total += angle**-held
            else:
                total += squared ** -(math.sqrt(held) if official else held / 2)
    mean = total / count
    middle = own_angles(cosines, ids, where)[(count - 1) // 2]
    theta = min(math.pi / 4, middle)
    m = 2 - 2 * math.cos(theta)
    if method == "proxydr":
        near = m if distance == "euclidean" else theta**2
        return mean * (scale + 1) * near ** (scale / 2) + 1 - scale
    if distance == "euclidean":
        cos, bend = math.cos(theta), scale * math.sin(theta) ** 2
        return math.exp(scale * cos) * (cos + bend) + mean * (cos - bend)
    square = m if official else theta**2
    return mean * math.exp(scale * square) * (2 * scale * square - 1) - (
        2 * scale * square + 1
    )


def loop_scale_loss(log_scale, *rest, step=1e-5):
    """Value, and derivative by the explicit log scale alone."""
    value = loop_excess(log_scale, log_scale, *rest) ** 2
    above, below = (
        loop_excess(log_scale + sign * step, log_scale, *rest) ** 2 for sign in (1, -1)
    )
    return value, (above - below) / (2 * step)


def draw_cosines(nearness):
    """Unequal cosines, those of the own class ``nearness`` and more."""
    rng = np.random.default_rng(3)
    cosines = rng.uniform(-0.8, 0.6, size=(ROWS, CLASSES))
    ids = rng.integers(0, CLASSES, ROWS).astype(np.int32)
    cosines[np.arange(ROWS), ids] = nearness + rng.uniform(0, 0.15, ROWS)
    ids[[2, 9, 20]] = -1
    return cosines.astype(np.float32), ids


# Even, odd, and one row that count.
MASKS = (np.arange(ROWS) % 8 > 0, np.arange(ROWS) % 7 > 0, np.arange(ROWS) == 3)
LOG_SCALE = np.float32(math.log(6.5))


@functools.lru_cache(maxsize=None)
def scale_loss(method, distance="euclidean", official=False):
    """Its value and gradient, compiled."""
    loss_fn = functools.partial(
        proxies.dynamic_scale_loss, method=method, distance=distance, official=official
    )
    return jax.jit(jax.value_and_grad(loss_fn))


@pytest.mark.parametrize("official", [False, True])
@cases
def test_dynamic_scale_loss(method, distance, official):
    compute = scale_loss(method, distance, official)
    for nearness in (0.8, 0.1):
        cosines, ids = draw_cosines(nearness)
        for where in MASKS:
            batch = cosines, ids, where
            found = compute(LOG_SCALE, cosines, ids, where=where)
            expected = loop_scale_loss(
                float(LOG_SCALE), batch, method, distance, official
            )
            np.testing.assert_allclose(found, expected, rtol=2e-4)
            angles = own_angles(*batch)
            assert (angles[-1] < math.pi / 4) == (nearness == 0.8)
    counted = [np.sum(where & (ids >= 0)) for where in MASKS]
    assert counted == [18, 17, 1]


def test_the_median_of_an_even_number_is_the_lower():
    cosines, ids = draw_cosines(0.75)
    where = MASKS[0]
    angles = own_angles(cosines, ids, where)
    assert len(angles) % 2 == 0
    lower = len(angles) // 2 - 1
    assert angles[lower + 1] - angles[lower] > 1e-3
    compute = scale_loss("normface")
    before = compute(LOG_SCALE, cosines, ids, where=where)[0]

    def moved(place, change):
        altered = cosines.copy()
        for row in np.flatnonzero(where & (ids >= 0)):
            if math.acos(0.999999 * cosines[row, ids[row]]) == angles[place]:
                altered[row, ids[row]] += change
        return compute(LOG_SCALE, altered, ids, where=where)[0]

    # Only the lower middle one matters; it stays the median as it moves a little.
    assert moved(lower + 1, -1e-4) == before == moved(0, 1e-4)
    assert moved(lower, 1e-4) != before


def test_the_published_quirks_are_there_on_demand():
    cosines, ids = draw_cosines(0.8)
    for method, distance, differ in (
        ("proxydr", "euclidean", True),
        ("proxydr", "arccos", False),
        ("normface", "euclidean", False),
        ("normface", "arccos", True),
    ):
        ours, theirs = (
            scale_loss(method, distance, official)(
                LOG_SCALE, cosines, ids, where=MASKS[0]
            )[1]
            for official in (False, True)
        )
        assert (abs(ours - theirs) > 1e-3 * abs(ours)) == differ


def test_no_gradient_goes_through_the_cosines():
    cosines, ids = draw_cosines(0.8)
    loss_fn = functools.partial(proxies.dynamic_scale_loss, method="proxydr")
    assert not np.any(jax.jit(jax.grad(loss_fn, 1))(LOG_SCALE, cosines, ids))


@pytest.mark.parametrize("official", [False, True])
@cases
def test_a_wrong_class_at_distance_zero_overflows_nothing(method, distance, official):
    cosines, ids = draw_cosines(0.8)
    wrong = (ids + 1) % CLASSES
    cosines[np.arange(ROWS), wrong] = 1
    where = MASKS[0]
    for scale in (8.0, 30.0, 60.0, 100.0):
        log_scale = jnp.log(jnp.float32(scale))
        value, gradient = scale_loss(method, distance, official)(
            log_scale, cosines, ids, where=where
        )
        assert np.isfinite(value)
        # Adam squares it in float32.
        assert 0 < np.square(np.float32(gradient)) < np.inf
        # The sign is the true one; float64 overflows itself beyond 30.
        if scale <= 30:
            rest = (cosines, ids, where), method, distance, official
            frozen = math.log(scale)
            here, above = (
                loop_excess(log_scale, frozen, *rest)
                for log_scale in (frozen, frozen + 1e-6)
            )
            assert np.sign(gradient) == np.sign(here) * np.sign(above - here)


def test_beyond_the_largest_exponential_the_gradient_only_shrinks():
    """It stays in proportion to the value's square root times its derivative."""
    cosines, ids = draw_cosines(0.8)
    cosines[3, (ids[3] + 1) % CLASSES] = 0.9999
    where = MASKS[0]
    log_scale = np.float32(math.log(12.0))
    rest = (cosines, ids, where), "proxydr", "euclidean", False
    expected, expected_gradient = loop_scale_loss(float(log_scale), *rest)
    value, gradient = scale_loss("proxydr")(log_scale, cosines, ids, where=where)
    assert expected > 100 * value > 1e10
    assert gradient / value == pytest.approx(expected_gradient / expected, rel=0.01)


@cases
def test_nothing_to_learn_from_leaves_the_scale(method, distance):
    cosines, ids = draw_cosines(0.8)
    nobody = np.zeros(ROWS, bool)
    unknown = np.full(ROWS, -1, np.int32)
    compute = scale_loss(method, distance)
    for case_ids, where in ((ids, nobody), (unknown, MASKS[0])):
        assert compute(LOG_SCALE, cosines, case_ids, where=where) == (0, 0)
    # Rows that do not count may hold anything.
    clean = compute(LOG_SCALE, cosines, ids, where=MASKS[0])
    dirty = cosines.copy()
    dirty[~MASKS[0]] = np.nan
    dirty[ids < 0] = np.inf
    assert compute(LOG_SCALE, dirty, ids, where=MASKS[0]) == clean


def test_dynamic_scale_update_is_adam():
    options = {"method": "proxydr", "where": MASKS[0]}
    update = jax.jit(functools.partial(proxies.dynamic_scale_update, **options))
    log_scale = jnp.float32(LOG_SCALE)
    opt_state = proxies.SCALE_OPTIMIZER.init(log_scale)
    expected, first, second = float(LOG_SCALE), 0.0, 0.0
    for step, nearness in enumerate((0.8, 0.1, 0.6, 0.3), 1):
        cosines, ids = draw_cosines(nearness)
        batch = cosines, ids, MASKS[0]
        _, g = loop_scale_loss(expected, batch, "proxydr", "euclidean", False)
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g**2
        root = math.sqrt(second / (1 - 0.999**step))
        expected -= 1e-4 * first / (1 - 0.9**step) / (root + 1e-8)
        log_scale, opt_state = update(log_scale, opt_state, cosines, ids)
        np.testing.assert_allclose(log_scale, expected, atol=2e-6)
    assert abs(expected - LOG_SCALE) > 1e-5


def test_the_scale_settles_where_the_batch_asks():
    """A thousand batches alike bring it to the root of what they measure."""
    cosines, ids = draw_cosines(0.8)
    where = MASKS[0]

    def residual(scale):
        log_scale = math.log(scale)
        batch = cosines, ids, where
        return loop_excess(log_scale, log_scale, batch, "proxydr", "euclidean", False)

    roots = [
        s for s in np.arange(1.2, 20, 0.01) if residual(s) * residual(s + 0.01) < 0
    ]
    assert roots
    start = jnp.log(jnp.float32(1.05 * roots[-1]))

    @jax.jit
    def settle(log_scale):
        def body(carry, _):
            return proxies.dynamic_scale_update(
                *carry, cosines, ids, method="proxydr", where=where
            ), None

        carry = log_scale, proxies.SCALE_OPTIMIZER.init(log_scale)
        return jax.lax.scan(body, carry, length=1500)[0][0]

    assert np.exp(settle(start)) == pytest.approx(roots[-1], rel=0.005)


# Many devices.


def all_updates(log_scale, embeddings, ids, where, *, axis_name=None):
    """What a training step takes from this module."""
    held, seen = proxies.ema_update(
        HELD, SEEN, embeddings, ids, decay=0.2, where=where, axis_name=axis_name
    )
    cosines = losses.class_cosines(embeddings, HELD)
    options = {"where": where, "axis_name": axis_name}
    scales = [
        jax.value_and_grad(proxies.dynamic_scale_loss)(
            log_scale, cosines, ids, method=method, distance=distance, **options
        )
        for method, distance in CASES
    ]
    updated = proxies.dynamic_scale_update(
        log_scale,
        proxies.SCALE_OPTIMIZER.init(log_scale),
        cosines,
        ids,
        method="proxydr",
        **options,
    )
    return held, seen, scales, updated


@pytest.mark.parametrize("mode", sharding.MODES)
def test_sharded_equals_single(mode):
    held_by = [{c for c in part if c >= 0} for part in IDS.reshape(4, -1)]
    assert sum(0 in classes for classes in held_by) > 1
    assert not WHERE.reshape(4, -1)[2].any()
    log_scale, batch = jnp.float32(LOG_SCALE), (EMBEDDINGS, IDS, WHERE)
    single = jax.device_get(jax.jit(all_updates)(log_scale, *batch))
    local = functools.partial(all_updates, axis_name=sharding.AXIS)

    def averaged(*arguments):
        held, seen, scales, updated = local(*arguments)
        # As a step does with gradients; the update's own must be right without.
        return held, seen, collectives.pmean(scales, sharding.AXIS), updated

    many = sharding.on_devices(averaged, mode, [log_scale], batch)
    for found, expected in zip(
        jax.tree.leaves(many), jax.tree.leaves(single), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
