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
    weights = jnp.broadcast_to(where, values.shape).astype(jnp.float32)
    return safe_divide(
        masked_sum(values, where, axis_name=axis_name),
        collectives.psum(jnp.sum(weights), axis_name),
    )


def masked_sum(
    values: jax.Array, where: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
    """Sum of the valid values of all devices, see `masked_mean`."""
    weights = jnp.broadcast_to(where, values.shape).astype(jnp.float32)
    total = jnp.sum(jnp.where(weights > 0, values, 0.0) * weights)
    return collectives.psum(total, axis_name)


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


# The 32 bits of a value in three digits: their lowest bit and their width.
_DIGITS = ((21, 11), (10, 11), (0, 10))


def order_statistics(
    histogram: Callable[[Callable[[jax.Array], jax.Array], int], jax.Array],
    positions: jax.Array,
) -> jax.Array:
    """Values at given positions of a sorted multiset that is only ever counted.

    Radix selection: three histograms, whatever the number of values, so that they may
    be spread over devices or recomputed in blocks.

    Args:
      histogram: maps ``(bin_of, num_bins)`` to the number of values in each bin,
        ``int32 [num_bins]``, over all devices and blocks. ``bin_of`` gives the bin of
        sortable bits; values in bins from ``num_bins`` on are to be left out.
      positions: ``int32 [T]`` positions in 0..count-1.

    Returns:
      ``int32 [T]`` sortable bits of the values at those positions.
    """
    num_positions = positions.shape[0]
    prefixes = jnp.zeros((num_positions,), jnp.uint32)
    for shift, width in _DIGITS:
        size = 1 << width

        def bin_of(bits, prefixes=prefixes, shift=shift, width=width, size=size):
            remaining = _unsigned(bits) >> shift
            prefix, digit = remaining >> width, remaining & (size - 1)
            row = jnp.full(bits.shape, num_positions, jnp.int32)
            for position in reversed(range(num_positions)):
                row = jnp.where(prefix == prefixes[position], position, row)
            return row * size + digit.astype(jnp.int32)

        counts = histogram(bin_of, num_positions * size).reshape(-1, size)
        # Values are counted for the first of all positions with their prefix.
        first = jnp.argmax(prefixes[:, None] == prefixes[None, :], axis=-1)
        ends = jnp.cumsum(counts[first], axis=-1)
        digits = jnp.sum(ends <= positions[:, None], -1)
        digits = jnp.minimum(digits, size - 1)[:, None]  # were there no values at all
        starts = jnp.take_along_axis(ends - counts[first], digits, axis=-1)
        positions = positions - starts[:, 0]
        prefixes = (prefixes << width) | digits[:, 0].astype(jnp.uint32)
    return lax.bitcast_convert_type(prefixes, jnp.int32) ^ _SIGN_BIT


def _unsigned(bits: jax.Array) -> jax.Array:
    """Int32 as uint32 in the same order."""
    return lax.bitcast_convert_type(bits ^ _SIGN_BIT, jnp.uint32)
