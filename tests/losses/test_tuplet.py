import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax.losses import hierarchical_tuplet_loss, quadruplet_loss

TUPLES, LEVELS, DIM = 6, 3, 4
DISTANCES = ("sqeuclidean", "euclidean", "cosine")
MARGINS = np.array([0.1, 0.4, 1.5], np.float32)
ALL = np.ones(TUPLES, bool)
SOME = np.array([True, False, True, True, False, True])


def loop_distance(x, y, distance):
    if distance == "cosine":
        return 1 - sum(a * b for a, b in zip(x, y, strict=True))
    squared = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    return squared if distance == "sqeuclidean" else math.sqrt(squared)


def oracle(anchor, others, margins, where, distance):
    total = 0.0
    for i in range(len(anchor)):
        if where[i]:
            d = [loop_distance(anchor[i], other, distance) for other in others[i]]
            for level, margin in enumerate(margins.tolist()):
                total += max(0.0, d[level] - d[level + 1] + margin)
    return total / max(sum(where), 1)


@functools.lru_cache(maxsize=None)
def compiled(distance):
    def loss(anchor, others, margins, where):
        return hierarchical_tuplet_loss(
            anchor, others, margins=margins, where=where, distance=distance
        )

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


def draw(seed=0, shape=(LEVELS + 1,)):
    z = np.random.default_rng(seed).normal(size=(TUPLES, 1 + shape[0], DIM))
    z = (z / np.linalg.norm(z, axis=-1, keepdims=True)).astype(np.float32)
    return z[:, 0], z[:, 1:]


@pytest.mark.parametrize("distance", DISTANCES)
def test_loss_and_gradient_equal_the_oracle(distance):
    values = []
    for seed, where, margins in (
        (0, ALL, MARGINS),
        (1, SOME, MARGINS),
        (1, SOME, MARGINS[::-1]),
    ):
        anchor, others = draw(seed)
        value, gradients = compiled(distance)(anchor, others, margins, where)
        arguments = anchor.astype(float), others.astype(float)
        expected = oracle(*arguments, margins, where, distance)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        values.append(float(value))
        for array, gradient in zip(arguments, gradients, strict=True):
            numeric = np.zeros_like(array)
            for index in np.ndindex(array.shape):
                kept = array[index]
                ends = []
                for step in (1e-6, -1e-6):
                    array[index] = kept + step
                    ends.append(oracle(*arguments, margins, where, distance))
                array[index] = kept
                numeric[index] = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-5)
    assert len(set(values)) == 3 and min(values) > 0


def test_the_quadruplet_is_the_tuplet_of_two_levels():
    anchor, others = draw(2, shape=(3,))
    alpha, beta = 0.7, 0.2
    for distance in DISTANCES:
        found = quadruplet_loss(
            anchor,
            *others.transpose(1, 0, 2),
            margin_outer=alpha,
            margin_inner=beta,
            distance=distance,
            where=SOME,
        )
        total = 0.0
        for i in np.flatnonzero(SOME):
            same, sibling, other = (
                loop_distance(anchor[i], x, distance) for x in others[i]
            )
            total += max(0, same - sibling + alpha - beta)
            total += max(0, sibling - other + beta)
        np.testing.assert_allclose(found, total / SOME.sum(), rtol=1e-5)


def test_quadruplet_margins_may_be_traced():
    anchor, others = draw(2, shape=(3,))
    arguments = (anchor, *others.transpose(1, 0, 2))
    traced = jax.jit(
        lambda a, b: quadruplet_loss(*arguments, margin_outer=a, margin_inner=b)
    )
    plain = quadruplet_loss(*arguments, margin_outer=0.7, margin_inner=0.2)
    np.testing.assert_allclose(traced(0.7, 0.2), plain, rtol=1e-6)


@pytest.mark.parametrize("outer_inner", [(0.2, 0.2), (0.2, 0.4), (0.2, 0), (1, -1)])
def test_quadruplet_margins_out_of_order_are_refused(outer_inner):
    rows = [np.ones((2, 3), np.float32)] * 4
    outer, inner = outer_inner
    with pytest.raises(ValueError, match=f"> 0, got {outer} and {inner}"):
        quadruplet_loss(*rows, margin_outer=outer, margin_inner=inner)


@pytest.mark.parametrize("distance", DISTANCES)
def test_partners_in_order_cost_nothing(distance):
    angles = np.array([0.0, 0.1, 0.8, 1.9, 3.1])
    z = np.stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles], -1)
    z = np.tile(z.astype(np.float32), (TUPLES, 1, 1))
    margins = np.full(3, 0.1, np.float32)
    value, gradients = compiled(distance)(z[:, 0], z[:, 1:], margins, ALL)
    assert value == 0
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0)
    value, _ = compiled(distance)(z[:, 0], z[:, :0:-1], margins, ALL)
    assert value > 1


@pytest.mark.parametrize("distance", DISTANCES)
def test_masked_tuples_are_as_good_as_absent(distance):
    anchor, others = draw(3)
    value, gradients = compiled(distance)(anchor, others, MARGINS, SOME)
    garbage = np.where(SOME[:, None], anchor, 1e4).astype(np.float32)
    again, masked = compiled(distance)(garbage, others, MARGINS, SOME)
    assert again == value
    for gradient in (*gradients, *masked):
        np.testing.assert_array_equal(gradient[~SOME], 0)
    np.testing.assert_allclose(
        value, oracle(anchor[SOME], others[SOME], MARGINS, ALL[SOME], distance), 1e-5
    )


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("name", ["masked", "equal", "zero", "huge"])
def test_degenerate_batches(distance, name):
    anchor, others = draw(4)
    where = ALL
    if name == "masked":
        where = ~ALL
    elif name == "equal":
        others = np.repeat(anchor[:, None], LEVELS + 1, 1)
    elif name == "zero":
        anchor, others = 0 * anchor, 0 * others
    elif name == "huge":
        anchor, others = anchor * np.float32(1e15), others * np.float32(1e15)
    value, gradients = compiled(distance)(anchor, others, MARGINS, where)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    if name in ("equal", "zero"):
        np.testing.assert_allclose(value, MARGINS.sum(), rtol=1e-5)
    if name == "masked":
        assert value == 0
        assert all((gradient == 0).all() for gradient in gradients)


def test_a_hinge_of_exactly_zero_has_no_gradient():
    anchor = jnp.zeros((1, 1))
    others = jnp.array([[[1.0], [2.0]]])
    value, gradient = jax.value_and_grad(
        lambda x: hierarchical_tuplet_loss(
            anchor, x, margins=[1.0], distance="euclidean"
        )
    )(others)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_static_mistakes_are_named():
    anchor, others = draw()
    for arguments, margins, message in (
        ((anchor[0], others), MARGINS, r"anchor must be a float array of 2 .*\(4,\)"),
        ((anchor, others[0]), MARGINS, "others must be a float array of 3 dimensions"),
        ((anchor, others), MARGINS[:2], r"margins \[L\].*others \(6, 4, 4\).*\(2,\)"),
        ((anchor[:2], others), MARGINS, r"anchor \(2, 4\), others \(6, 4, 4\)"),
        ((anchor, others[..., :2]), MARGINS, "embeddings differ in dimension"),
    ):
        with pytest.raises(ValueError, match=message):
            hierarchical_tuplet_loss(*arguments, margins=margins)
    with pytest.raises(ValueError, match=r"where must have shape \(6,\), got \(4,\)"):
        hierarchical_tuplet_loss(anchor, others, margins=MARGINS, where=ALL[:4])
    with pytest.raises(ValueError, match="distance is 'dot'"):
        hierarchical_tuplet_loss(anchor, others, margins=MARGINS, distance="dot")


def test_one_compilation_serves_all_batches_of_a_shape():
    loss = compiled("cosine")
    for seed in range(3):
        loss(*draw(seed), MARGINS * seed, SOME)
    assert loss._cache_size() == 1
