import functools
import math

import jax
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hierjax.losses import hierarchical_triplet_loss

ROWS, LEVELS, DIM = 12, 2, 3
AVERAGES = {"euclidean": "active", "sqeuclidean": "valid", "cosine": "active"}
MARGINS = np.array([0.8, 0.25], np.float32)
ALL = np.ones(ROWS, bool)
SOME = np.arange(ROWS) % 5 != 3


def loop_distance(x, y, distance):
    if distance == "cosine":
        return 1 - sum(a * b for a, b in zip(x, y, strict=True))
    squared = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    return squared if distance == "sqeuclidean" else math.sqrt(squared)


def agree(a, b, level):
    """True, False, or None where it is unknown whether the paths agree down to it."""
    for x, y in zip(a[: level + 1], b[: level + 1], strict=True):
        if x < 0 or y < 0:
            return None
        if x != y:
            return False
    return True


def parting_level(a, b):
    """First level at which the paths are known to differ, None if there is none."""
    for level in range(len(a)):
        same = agree(a, b, level)
        if same is None:
            return None
        if not same:
            return level
    return None


def oracle(z, labels, margins, where, *, distance, average):
    total, active, valid = 0.0, 0, 0
    margins = margins.tolist()
    rows = [i for i in range(len(z)) if where[i]]
    d = {(i, j): loop_distance(z[i], z[j], distance) for i in rows for j in rows}
    for i in rows:
        for k in rows:
            level = parting_level(labels[i], labels[k])
            if level is None:
                continue
            for j in rows:
                if j != i and agree(labels[i], labels[j], level):
                    hinge = d[i, j] - d[i, k] + margins[level]
                    valid += 1
                    if hinge > 0:
                        active += 1
                        total += hinge
    count = active if average == "active" else valid
    return total / count if count else 0.0


@functools.lru_cache(maxsize=None)
def compiled(distance="euclidean", average="active", block_size=None):
    def loss(z, labels, margins, where):
        return hierarchical_triplet_loss(
            z,
            labels,
            margins=margins,
            where=where,
            distance=distance,
            average=average,
            block_size=block_size,
        )

    return jax.jit(jax.value_and_grad(loss))


def draw(seed, unknown=0.0, num_levels=LEVELS):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(ROWS, DIM))
    z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    labels = np.zeros((ROWS, num_levels), np.int32)
    node = rng.integers(0, 3, ROWS)
    for level in range(num_levels):
        labels[:, level] = node
        node = 2 * node + rng.integers(0, 2, ROWS)
    hide = rng.random(ROWS) < unknown
    first_unknown = rng.integers(0, num_levels, ROWS)
    labels[hide[:, None] & (np.arange(num_levels) >= first_unknown[:, None])] = -1
    return z, labels


def check(z, labels, margins, where, gradient=False, block_size=None, **options):
    value, found = compiled(block_size=block_size, **options)(z, labels, margins, where)
    exact = z.astype(float)
    expected = oracle(exact, labels, margins, where, **options)
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-7)
    if gradient:
        for seed in range(3):
            step = 1e-6 * np.random.default_rng(seed).normal(size=z.shape)
            ends = [
                oracle(x, labels, margins, where, **options)
                for x in (exact + step, exact - step)
            ]
            slope = (ends[0] - ends[1]) / 2
            np.testing.assert_allclose(np.sum(found * step), slope, rtol=1e-3)
    return float(value)


@pytest.mark.parametrize(("distance", "average"), AVERAGES.items())
def test_loss_and_gradient_equal_the_oracle(distance, average):
    values = []
    for seed, unknown, where, margins in (
        (0, 0, ALL, MARGINS),
        (0, 0, SOME, MARGINS),
        (0, 0, SOME, MARGINS[::-1]),
        (1, 0.5, SOME, MARGINS),
    ):
        z, labels = draw(seed, unknown)
        value = check(
            z, labels, margins, where, gradient=True, distance=distance, average=average
        )
        values.append(value)
    assert len(set(values)) == 4 and min(values) > 0


@pytest.mark.parametrize("num_levels", [1, 4])
def test_any_number_of_levels_equals_the_oracle(num_levels):
    for seed, unknown in ((0, 0), (1, 0.5)):
        margins = np.linspace(0.9, 0.1, num_levels).astype(np.float32)
        z, labels = draw(seed, unknown, num_levels)
        check(z, labels, margins, SOME, distance="cosine", average="active")


@settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    phases=(Phase.explicit, Phase.generate),
)
@given(
    st.integers(0, 10**6),
    st.floats(0, 1),
    st.lists(st.booleans(), min_size=ROWS, max_size=ROWS),
    st.tuples(st.floats(0, 2), st.floats(0, 2)),
)
def test_random_batches_equal_the_oracle(seed, unknown, where, margins):
    z, labels = draw(seed, unknown)
    margins = np.array(margins, np.float32)
    check(z, labels, margins, where, distance="euclidean", average="active")


def test_the_margin_is_that_of_the_level_where_the_negative_parts():
    # Only (0, 1, 2) and (1, 0, 2) are triplets; 2 parts from both at level 1.
    z = np.zeros((ROWS, DIM), np.float32)
    labels = np.zeros((ROWS, 2), np.int32)
    labels[2] = [0, 1]
    few = np.arange(ROWS) < 3
    for parts_at, labels_of_2 in enumerate(([1, 1], [0, 1])):
        labels[2] = labels_of_2
        value, _ = compiled()(z, labels, MARGINS, few)
        np.testing.assert_allclose(value, MARGINS[parts_at], rtol=1e-6)


def test_blocks_equal_the_oracle():
    z, labels = draw(3, 0.3)
    check(
        z,
        labels,
        MARGINS,
        SOME,
        gradient=True,
        block_size=5,
        distance="euclidean",
        average="valid",
    )


def test_invariances():
    z, labels = draw(4, 0.3)
    value, gradient = compiled()(z, labels, MARGINS, SOME)
    rng = np.random.default_rng(0)

    order = rng.permutation(ROWS)
    permuted = compiled()(z[order], labels[order], MARGINS, SOME[order])
    np.testing.assert_allclose(permuted[0], value, rtol=1e-5)
    np.testing.assert_allclose(permuted[1], gradient[order], rtol=1e-4, atol=1e-6)

    rotation, _ = np.linalg.qr(rng.normal(size=(DIM, DIM)))
    rotated = compiled()((z @ rotation).astype(np.float32), labels, MARGINS, SOME)
    np.testing.assert_allclose(rotated[0], value, rtol=1e-5)
    np.testing.assert_allclose(rotated[1], gradient @ rotation, rtol=1e-4, atol=1e-5)

    names = rng.permutation(100).astype(np.int32)
    renamed = np.where(labels >= 0, names[labels], -1)
    assert compiled()(z, renamed, MARGINS, SOME)[0] == value


@pytest.mark.parametrize("garbage", [0.0, 1e8])
def test_masked_rows_are_as_good_as_absent(garbage):
    z, labels = draw(4, 0.3)
    value, gradient = compiled()(z, labels, MARGINS, SOME)
    z = np.where(SOME[:, None], z, garbage).astype(np.float32)
    masked = compiled()(z, np.where(SOME[:, None], labels, 0), MARGINS, SOME)
    np.testing.assert_allclose(masked[0], value, rtol=1e-5)
    np.testing.assert_allclose(masked[1], gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(masked[1][~SOME], 0)


def test_a_perfect_order_costs_nothing():
    labels = np.repeat([[0, 0], [0, 1], [1, 2], [1, 3]], 3, axis=0)
    z = np.repeat([0.0, 1.0, 10.0, 11.0], 3)[:, None] * np.eye(DIM)[:1]
    z = z.astype(np.float32)
    for options in (("euclidean", "active"), ("sqeuclidean", "valid")):
        value, gradient = compiled(*options)(z, labels, MARGINS, ALL)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)
    value, _ = compiled()(z, labels, MARGINS + 1, ALL)
    assert value > 0


@pytest.mark.parametrize(
    "name",
    ["equal rows", "one class", "all masked", "one row", "all unknown"]
    + ["zero vectors", "huge values", "all different"],
)
def test_degenerate_batches(name):
    z, labels = draw(1)
    where = ALL
    if name == "equal rows":
        z = np.tile(z[:1], (ROWS, 1))
    elif name == "one class":
        labels = np.tile(labels[:1], (ROWS, 1))
    elif name == "all masked":
        where = ~ALL
    elif name == "one row":
        where = np.arange(ROWS) == 4
    elif name == "all unknown":
        labels = np.full_like(labels, -1)
    elif name == "zero vectors":
        z = 0 * z
    elif name == "huge values":
        z = z * np.float32(1e15)
    elif name == "all different":
        labels = np.tile(np.arange(ROWS)[:, None], (1, LEVELS)).astype(np.int32)
    for distance, average in AVERAGES.items():
        value, gradient = compiled(distance, average)(z, labels, MARGINS, where)
        assert np.isfinite(value) and np.isfinite(gradient).all()
        if name in ("equal rows", "zero vectors", "huge values"):
            expected = oracle(
                z.astype(float),
                labels,
                MARGINS,
                where,
                distance=distance,
                average=average,
            )
            np.testing.assert_allclose(value, expected, rtol=1e-2)
        else:
            assert value == 0
            np.testing.assert_array_equal(gradient, 0)


def test_a_batch_of_one():
    value, gradient = compiled()(
        np.ones((1, DIM), np.float32), np.array([[0, 0]]), MARGINS, np.array([True])
    )
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_static_mistakes_are_named():
    z, labels = draw(0)
    for arguments, options, message in (
        ((z[0], labels), {}, r"embeddings must be a float array of 2 .*\(3,\)"),
        ((z, labels[:, 0]), {}, r"labels must be an integer array \[B, L\].*\(12,\)"),
        ((z, labels[:5]), {}, "5 labels for 12 embeddings"),
        ((z, labels), {"margins": [0.1]}, r"one value a level, \(2,\), got \(1,\)"),
        ((z, labels), {"where": ALL[:3]}, r"where must have shape \(12,\).*\(3,\)"),
        ((z, labels), {"average": "all"}, "average is 'all', accepted are .*valid"),
        ((z, labels), {"distance": "dot"}, "distance is 'dot'"),
        ((z, labels), {"block_size": 0}, "block_size must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            hierarchical_triplet_loss(*arguments, **{"margins": MARGINS} | options)


def test_one_compilation_serves_all_batches_of_a_shape():
    loss = compiled("cosine", "active")
    loss(*draw(0), MARGINS, ALL)
    before = loss._cache_size()
    for seed in range(3):
        loss(*draw(seed, 0.5), MARGINS * seed, SOME)
    assert loss._cache_size() == before


def sizes(jaxpr):
    """Number of entries of every array that a jaxpr makes, inner jaxprs included."""
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            yield math.prod(variable.aval.shape)
        for parameter in jax.tree.leaves(
            tuple(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
        ):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from sizes(inner)


def test_no_cube_of_triplets_and_blocks_bound_the_memory():
    rows, block = 256, 4
    rng = np.random.default_rng(0)
    z = rng.normal(size=(rows, DIM)).astype(np.float32)
    labels = np.stack([np.arange(rows) // 32, np.arange(rows) // 8], 1)

    def largest(block_size):
        gradient = jax.value_and_grad(
            functools.partial(
                hierarchical_triplet_loss, margins=MARGINS, block_size=block_size
            )
        )
        return max(sizes(jax.make_jaxpr(gradient)(z, labels).jaxpr))

    assert rows * rows <= largest(None) < rows**3 / 16
    assert largest(block) <= 8 * block * rows < rows * rows
