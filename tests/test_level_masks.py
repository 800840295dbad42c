import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from hierjax import level_masks


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype("f")


def test_fixed_masks_split_the_dimensions():
    expected = [
        [1, 1, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 1],
    ]
    found = level_masks.fixed_level_masks(3, 8)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(level_masks.fixed_level_masks(1, 4), np.ones((1, 4)))
    np.testing.assert_array_equal(level_masks.fixed_level_masks(4, 4), np.eye(4))
    for levels, dim in ((0, 4), (5, 4)):
        with pytest.raises(ValueError, match=f"{levels} levels and {dim} dimensions"):
            level_masks.fixed_level_masks(levels, dim)


def loop_attention(z, weights, biases, activation, temperature):
    num_levels, dim = biases.shape
    out = np.zeros((*z.shape[:2], num_levels, dim))
    for b, v in np.ndindex(z.shape[:2]):
        u = z[b, v].astype(float)
        u = u / math.sqrt(sum(u * u))
        scores = np.zeros((num_levels, dim))
        for h in range(num_levels):
            for d in range(dim):
                scores[h, d] = (sum(weights[h, d] * u) + biases[h, d]) / temperature
        for h, d in np.ndindex(scores.shape):
            if activation == "sigmoid":
                out[b, v, h, d] = 2 / (1 + math.exp(-scores[h, d]))
            elif activation == "softmax":
                out[b, v, h, d] = dim * math.exp(scores[h, d]) / sum(np.exp(scores[h]))
            else:
                total = sum(np.exp(scores[:, d]))
                out[b, v, h, d] = num_levels * math.exp(scores[h, d]) / total
    return out


@pytest.mark.parametrize("activation", level_masks.ACTIVATIONS)
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_attention_masks_equal_the_loop(activation, temperature):
    z, weights, biases = 3 * normal(0, 3, 2, 5), normal(1, 4, 5, 5), normal(2, 4, 5)
    found = jax.jit(
        functools.partial(
            level_masks.attention_level_masks,
            activation=activation,
            temperature=temperature,
        )
    )(z, weights, biases)
    expected = loop_attention(z, weights, biases, activation, temperature)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("activation", level_masks.ACTIVATIONS)
@pytest.mark.parametrize(("num_levels", "dim"), [(1, 1), (3, 49), (7, 100), (2, 128)])
def test_heads_of_zeros_change_nothing(activation, num_levels, dim):
    found = jax.jit(
        functools.partial(level_masks.attention_level_masks, activation=activation)
    )(
        normal(0, 2, 2, dim),
        jnp.zeros((num_levels, dim, dim)),
        jnp.zeros((num_levels, dim)),
    )
    np.testing.assert_array_equal(found, np.ones((2, 2, num_levels, dim)))


@pytest.mark.parametrize("activation", level_masks.ACTIVATIONS)
def test_gradients_flow_to_embeddings_and_heads(activation):
    arguments = normal(3, 2, 1, 4), normal(4, 2, 4, 4), normal(5, 2, 4)
    target = normal(6, 2, 1, 2, 4)

    def loss(*arguments):
        masks = level_masks.attention_level_masks(*arguments, activation=activation)
        return jnp.sum(masks * target)

    check_grads(jax.jit(loss), arguments, order=1, modes=["rev"], eps=1e-2, rtol=2e-2)
    for gradient in jax.jit(jax.grad(loss, (0, 1, 2)))(*arguments):
        assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize("activation", level_masks.ACTIVATIONS)
def test_extreme_scores_and_zero_rows_stay_finite(activation):
    z = np.zeros((2, 1, 4), "f")
    z[1] = 1e-3
    arguments = z, 1e6 * normal(7, 3, 4, 4), 1e4 * normal(8, 3, 4)

    def loss(*arguments):
        masks = level_masks.attention_level_masks(*arguments, activation=activation)
        return jnp.sum(masks) + level_masks.mask_entropy(masks)

    value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*arguments)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_half_precision_is_computed_in_float32():
    arguments = normal(0, 3, 2, 5), normal(1, 4, 5, 5), normal(2, 4, 5)
    half = [jnp.asarray(x, jnp.bfloat16) for x in arguments]
    found = level_masks.attention_level_masks(*half)
    exact = level_masks.attention_level_masks(*(x.astype(jnp.float32) for x in half))
    np.testing.assert_array_equal(found, exact)
    jaxpr = str(jax.make_jaxpr(level_masks.attention_level_masks)(*arguments))
    assert "HIGHEST" in jaxpr


def test_what_does_not_fit_is_refused():
    z, weights, biases = jnp.ones((2, 2, 5)), jnp.ones((3, 5, 5)), jnp.ones((3, 5))
    with pytest.raises(ValueError, match=r"\[B, V, D\], got float32 \(2, 5\)"):
        level_masks.attention_level_masks(z[0], weights, biases)
    with pytest.raises(ValueError, match=r"got \(3, 5, 4\) and \(3, 5\)"):
        level_masks.attention_level_masks(z, weights[..., :4], biases)
    with pytest.raises(ValueError, match=r"got \(3, 5, 5\) and \(2, 5\)"):
        level_masks.attention_level_masks(z, weights, biases[:2])
    with pytest.raises(ValueError, match="activation is 'relu'"):
        level_masks.attention_level_masks(z, weights, biases, activation="relu")
    with pytest.raises(ValueError, match=r"got \(2, 3, 5\)"):
        level_masks.mask_overlap(jnp.ones((2, 3, 5)))
    with pytest.raises(ValueError, match=r"where must have shape \(2,\), got \(3,\)"):
        level_masks.mask_entropy(jnp.ones((2, 1, 3, 5)), where=jnp.ones(3, bool))


def loop_overlap(masks):
    """Of masks ``[L, D]``."""
    return sum(
        sum(masks[h] * masks[g]) / masks.shape[1]
        for g in range(len(masks))
        for h in range(g)
    )


def loop_entropy(masks):
    entropies = []
    for mask in masks:
        shares = [m / sum(mask) for m in mask if m > 0]
        entropies.append(-sum(p * math.log(p) for p in shares))
    return np.mean(entropies)


mask_overlap = jax.jit(level_masks.mask_overlap, static_argnames="axis_name")
mask_entropy = jax.jit(level_masks.mask_entropy, static_argnames="axis_name")
MEASURES = [
    pytest.param(mask_overlap, loop_overlap, id="overlap"),
    pytest.param(mask_entropy, loop_entropy, id="entropy"),
]


@pytest.fixture
def masks():
    masks = np.random.default_rng(0).gamma(1.0, size=(4, 2, 3, 6)).astype("f")
    masks[masks < 0.3] = 0
    return masks


@pytest.mark.parametrize(("measure", "loop"), MEASURES)
def test_measures_equal_the_loop_on_what_is_valid(measure, loop, masks):
    shared = np.asarray(masks[0, 0], float)
    found = measure(jnp.asarray(masks[0, 0]))
    np.testing.assert_allclose(found, loop(shared), rtol=1e-5)
    where = np.array([1, 0, 1, 1], bool)
    valid = masks[where].astype(float).reshape(-1, 3, 6)
    expected = np.mean([loop(row) for row in valid])
    everything = measure(jnp.asarray(masks))
    masks[1] = np.nan
    found = measure(jnp.asarray(masks), where=where)
    assert found.dtype == jnp.float32 and found.shape == ()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert abs(everything - expected) > 1e-3
    assert measure(jnp.asarray(masks), where=np.zeros(4, bool)) == 0
    assert measure(jnp.asarray(masks[0, 0]), where=np.zeros(4, bool)) > 0


@pytest.mark.parametrize(("measure", "loop"), MEASURES)
def test_measures_of_all_devices(measure, loop, masks):
    where = np.array([1, 0, 1, 1], bool)
    expected = measure(jnp.asarray(masks), where=where)
    found = jax.vmap(
        lambda m, w: measure(m, where=w, axis_name="devices"), axis_name="devices"
    )(masks.reshape(2, 2, 2, 3, 6), where.reshape(2, 2))
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-6)


def test_measures_at_their_extremes():
    ones, split = jnp.ones((2, 2, 3, 6)), level_masks.fixed_level_masks(3, 6)
    np.testing.assert_allclose(mask_overlap(ones), 3, rtol=1e-6)
    assert mask_overlap(split) == 0
    np.testing.assert_allclose(mask_entropy(ones), math.log(6), rtol=1e-6)
    np.testing.assert_allclose(mask_entropy(split), math.log(2), rtol=1e-6)
    assert mask_entropy(jnp.zeros((2, 4))) == 0


@pytest.mark.parametrize(("measure", "loop"), MEASURES)
def test_measures_have_gradients(measure, loop, masks):
    positive = jnp.asarray(masks) + 0.1
    check_grads(measure, (positive,), order=1, modes=["rev"], eps=1e-2, rtol=2e-2)
    for value in (0.0, 1.0):
        gradient = jax.jit(jax.grad(measure))(jnp.full((1, 1, 2, 4), value))
        assert np.isfinite(gradient).all()
