"""Means over what is valid and exact order statistics, on one or many devices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hierjax import collectives

# Bits of -0.0. Subtracting the bits of a negative number from it gives the magnitude's,
# negated: larger magnitudes come first and -0.0 meets 0.0.
_SIGN_BIT = np.int32(-(2**31))


def safe_divide(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """``numerator / denominator``, 0 with gradient 0 where the denominator is 0."""
    nonzero = denominator != 0
    return jnp.where(nonzero, numerator / jnp.where(nonzero, denominator, 1), 0.0)


def masked_mean(
    values: jax.Array, where: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
    """Mean of the valid values of all devices; 0 if none is valid.

    Args:
      values: any shape.
      where: weights or validity, broadcastable to ``values``. Invalid values may be
        infinite or NaN as long as their gradient is not needed.
      axis_name: mapped axis; sums and counts are added over it before dividing, since
        a mean of the devices' means is wrong as soon as their counts differ.

    Returns:
      A float32 scalar, the same on every device.
    """
    where = jnp.broadcast_to(where, values.shape)
    weights = where.astype(jnp.float32)
    total = jnp.sum(jnp.where(weights > 0, values, 0.0) * weights)
    return safe_divide(
        collectives.psum(total, axis_name),
        collectives.psum(jnp.sum(weights), axis_name),
    )


def count_true(mask: jax.Array) -> jax.Array:
    """Number of True entries of ``mask [..., M, N]`` as int32 ``[...]``.

    Groups of up to 64 rows are counted in int8 first, which XLA vectorises: on a CPU
    this is about eight times as fast as a plain integer sum.
    """
    *batch, rows, columns = mask.shape
    group = min(rows, 64)
    grouped = jnp.pad(mask, [(0, 0)] * len(batch) + [(0, -rows % group), (0, 0)])
    grouped = grouped.reshape(*batch, -1, group, columns)
    counts = jnp.sum(grouped, -2, dtype=jnp.int8)
    return jnp.sum(counts.astype(jnp.int32), (-2, -1))


def sortable_bits(values: jax.Array) -> jax.Array:
    """Map float32 to int32 such that the order is kept (-0.0 equals 0.0)."""
    bits = lax.bitcast_convert_type(values.astype(jnp.float32), jnp.int32)
    return jnp.where(bits < 0, _SIGN_BIT - bits, bits)


def from_sortable_bits(bits: jax.Array) -> jax.Array:
    """Inverse of `sortable_bits`."""
    bits = jnp.where(bits < 0, _SIGN_BIT - bits, bits)
    return lax.bitcast_convert_type(bits, jnp.float32)


def order_statistics(
    count_at_most: Callable[[jax.Array], jax.Array],
    positions: jax.Array,
    low: jax.Array,
    high: jax.Array,
) -> jax.Array:
    """Values at given positions of a sorted multiset that is only ever counted.

    Bisection on the bits of the values: at most 32 counting passes, whatever the
    number of values, so that they may be spread over devices or recomputed in blocks.

    Args:
      count_at_most: maps thresholds ``int32 [T]`` (sortable bits) to the number of
        values at or below each, ``int32 [T]``, over all devices and blocks.
      positions: ``int32 [T]`` positions in 0..count-1.
      low: scalar int32, at most the smallest value (sortable bits).
      high: scalar int32, at least the largest value.

    Returns:
      ``int32 [T]`` sortable bits of the values at those positions.
    """

    def unfinished(bounds):
        low, high = bounds
        return jnp.any(low < high)

    def halve(bounds):
        low, high = bounds
        # Floor of the mean without overflow.
        middle = (low & high) + ((low ^ high) >> 1)
        enough = count_at_most(middle) > positions
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    start = jnp.full_like(positions, low), jnp.full_like(positions, high)
    return lax.while_loop(unfinished, halve, start)[0]
