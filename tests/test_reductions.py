import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hierjax import collectives, reductions


def test_safe_divide():
    numerator, denominator = jnp.array([3.0, 3.0, 0.0]), jnp.array([2.0, 0.0, 0.0])
    np.testing.assert_array_equal(
        reductions.safe_divide(numerator, denominator), [1.5, 0, 0]
    )
    for argument, expected in ((0, [0.5, 0, 0]), (1, [-0.75, 0, 0])):
        gradient = jax.grad(lambda *x: jnp.sum(reductions.safe_divide(*x)), argument)(
            numerator, denominator
        )
        np.testing.assert_array_equal(gradient, expected)


def test_masked_mean_of_what_is_valid():
    values = jnp.array([1.0, 2.0, jnp.nan, 6.0, jnp.inf])
    where = jnp.array([True, True, False, True, False])
    assert reductions.masked_mean(values, where) == 3
    weights = jnp.array([3.0, 0.0, 0.0, 1.0, 0.0])
    assert reductions.masked_mean(values, weights) == (3 * 1 + 6) / 4
    assert reductions.masked_mean(values, jnp.zeros(5, bool)) == 0


def test_masked_mean_broadcasts_its_mask():
    values = jnp.array([[1.0, 2.0], [3.0, 8.0]])
    where = jnp.array([[False], [True]])
    assert reductions.masked_mean(values, where) == 5.5


def test_masked_mean_is_not_the_mean_of_the_devices_means():
    values = jnp.array([[1.0, 2.0], [3.0, 8.0]])
    where = jnp.array([[True, True], [True, False]])
    found = jax.vmap(
        functools.partial(reductions.masked_mean, axis_name="x"), axis_name="x"
    )(values, where)
    np.testing.assert_array_equal(found, [2, 2])
    assert (1.5 + 3) / 2 != 2


@pytest.mark.parametrize(
    "shape", [(1, 1), (63, 2), (64, 3), (65, 3), (300, 5), (3, 130, 2)]
)
def test_count_true_counts(shape):
    mask = np.random.default_rng(0).random(shape) < 0.7
    found = reductions.count_true(jnp.asarray(mask))
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, mask.sum((-2, -1)))


def test_count_true_does_not_overflow_its_narrow_counters():
    assert reductions.count_true(jnp.ones((1000, 7), bool)) == 7000


_bits = jax.jit(reductions.sortable_bits)
_floats = jax.jit(reductions.from_sortable_bits)
_finite = st.floats(width=32, allow_nan=False, allow_subnormal=False)


@settings(derandomize=True, deadline=None)
@given(_finite, _finite)
@example(-0.0, 0.0)
@example(float("-inf"), float("inf"))
def test_sortable_bits_keep_the_order_and_come_back(x, y):
    values = np.array([x, y], np.float32)
    bits = np.asarray(_bits(values))
    assert (bits[0] < bits[1]) == (values[0] < values[1])
    assert (bits[0] == bits[1]) == (values[0] == values[1])
    np.testing.assert_array_equal(_floats(bits), values)


@jax.jit
def _order_statistics(values, positions):
    bits = reductions.sortable_bits(values)

    def histogram(bin_of, num_bins):
        return jnp.zeros(num_bins, jnp.int32).at[bin_of(bits)].add(1, mode="drop")

    found = reductions.order_statistics(histogram, positions)
    return reductions.from_sortable_bits(found)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(_finite, min_size=8, max_size=8),
    st.lists(st.integers(0, 7), min_size=5, max_size=5),
)
@example([2.0] * 8, [0, 1, 2, 3, 7])
@example([-3.4e38, 3.4e38, -1.0, 0.0, 1.0, 1.0, -1e-30, 1e-30], [0, 7, 3, 4, 5])
def test_order_statistics_equal_the_sorted_list(values, positions):
    values = np.array(values, np.float32)
    found = _order_statistics(values, np.array(positions, np.int32))
    np.testing.assert_array_equal(found, np.sort(values)[positions])


def test_collectives_are_the_identity_without_an_axis():
    x = jnp.array([3.0, 1.0])
    for function in (
        collectives.psum,
        collectives.pmean,
        collectives.pmin,
        collectives.all_gather_rows,
    ):
        np.testing.assert_array_equal(function(x, None), x)
    assert collectives.axis_index(None) == 0
    assert collectives.is_alone(None)


@pytest.mark.parametrize("devices", [1, 3])
def test_collectives_over_an_axis(devices):
    x = np.arange(devices * 2, dtype=np.float32).reshape(devices, 2) ** 2 * 3

    def collect(x):
        name = "x"
        return (
            collectives.psum(x, name),
            collectives.pmean(x, name),
            collectives.pmin(x, name),
            collectives.all_gather_rows(x, name),
            collectives.axis_index(name),
        )

    found = jax.vmap(collect, axis_name="x", axis_size=devices)(x)
    reduced = (x.sum(0), x.mean(0), x.min(0), x.ravel())
    for value, expected in zip(found, reduced, strict=False):
        for device in range(devices):
            np.testing.assert_array_equal(value[device], expected)
    np.testing.assert_array_equal(found[-1], np.arange(devices))
