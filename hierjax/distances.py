"""Distances between rows of embeddings, with gradients that stay finite.

Every product uses full float32 precision: the default of TPUs and recent GPUs rounds
to bfloat16 or TF32, which changes the order of close distances. Where that order
decides something, even float32 is not enough: the last bit of a sum depends on the
order of its terms, which the compiler chooses anew for every shape and every
neighbouring operation. `reproducible_distances` leaves it nothing to choose.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

DISTANCES = ("cosine", "euclidean", "sqeuclidean")


def _check(a: jax.Array, b: jax.Array, distance: str) -> None:
    if distance not in DISTANCES:
        raise ValueError(f"distance is {distance!r}, accepted are {DISTANCES}")
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"embeddings differ in dimension: {a.shape} and {b.shape}")


def _safe_sqrt(x: jax.Array) -> jax.Array:
    """Square root with value and gradient 0 at 0; NaN stays NaN."""
    zero = x <= 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, x)))


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)


def pairwise_distances(
    a: jax.Array, b: jax.Array, *, distance: str = "cosine"
) -> jax.Array:
    """Distance of every row of ``a`` to every row of ``b``.

    Args:
      a: ``[M, D]`` rows; unit vectors for ``'cosine'``, which does not normalise.
      b: ``[N, D]`` rows, likewise.
      distance: ``'cosine'`` (1 - a.b, in [0, 2] on unit vectors), ``'euclidean'`` or
        ``'sqeuclidean'``. The latter two are clipped at 0 before the square root; the
        gradient of a zero euclidean distance is 0. They come from the expansion
        ``|a|^2 + |b|^2 - 2 a.b``: between unit vectors, euclidean distances below about
        3e-4 are rounding noise.

    Returns:
      ``[M, N]`` distances, at least 0 up to rounding, in float32.
    """
    _check(a, b, distance)
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    products = _matmul(a, b)
    if distance == "cosine":
        return 1.0 - products
    squares = jnp.sum(a * a, -1)[:, None] + jnp.sum(b * b, -1)[None, :]
    squared = jnp.maximum(squares - 2.0 * products, 0.0)
    return squared if distance == "sqeuclidean" else _safe_sqrt(squared)


class SlicedRows(NamedTuple):
    """Rows ``[N, D]`` as sums of slices whose products add up without rounding.

    Attributes:
      rows: float32 ``[N, D]``.
      high: ``[N, D]``, the rows rounded to 2^-11 of their length (see `slice_rows`).
      low: ``[N, D]``, what is left of them, rounded so that high + low is right to
        about 2^-21 of the length at 64 dimensions, and to 2^-19 at 1,024.
    """

    rows: jax.Array
    high: jax.Array
    low: jax.Array


def slice_rows(rows: jax.Array) -> SlicedRows:
    """Prepare rows ``[N, D]`` for `reproducible_distances`.

    Entries of a slice are multiples of one power of two, a row. Those of the high slice
    are so large that a product of two rows has 24 bits, however many of its terms are
    added (the sum of any of them is at most the product of the lengths, Cauchy and
    Schwarz); those of the low slice are the smallest for which that holds too.
    """
    rows = rows.astype(jnp.float32)
    fixed = jax.lax.stop_gradient(rows)
    length = jnp.sqrt(jnp.sum(jnp.square(fixed), -1, keepdims=True))
    # A power of two between .7 and 1.4 lengths: unit rows are not at the limit.
    exponent = jnp.frexp(length * math.sqrt(2))[1] - 1
    low_bits = math.floor(23.4 - math.log2(max(rows.shape[-1], 1)) / 2)
    high = jnp.ldexp(jnp.round(jnp.ldexp(fixed, 11 - exponent)), exponent - 11)
    low = jnp.round(jnp.ldexp(fixed - high, low_bits - exponent))
    return SlicedRows(rows, high, jnp.ldexp(low, exponent - low_bits))


@jax.custom_jvp
def _exact_products(a: SlicedRows, b: SlicedRows) -> jax.Array:
    """``a.b`` of all rows, ``[M, N]``; each of the three products is exact."""
    mixed = _matmul(
        jnp.concatenate([a.high, a.low], -1), jnp.concatenate([b.low, b.high], -1)
    )
    products = _matmul(a.high, b.high), mixed, _matmul(a.low, b.low)
    # Fused, the next product would go on in the accumulator, and round on the way.
    high, mixed, low = jax.lax.optimization_barrier(products)
    return high + mixed + low


@_exact_products.defjvp
def _exact_products_jvp(primals, tangents):
    (a, b), (da, db) = primals, tangents
    tangent = _matmul(da.rows, b.rows) + _matmul(a.rows, db.rows)
    return _exact_products(a, b), tangent


def reproducible_distances(
    a: SlicedRows, b: SlicedRows, *, distance: str = "cosine"
) -> jax.Array:
    """`pairwise_distances` whose bits depend on nothing but the two rows.

    The same pair has the same distance in every block of rows, on every device, at
    every place of the batch and after every recomputation; copies of a row tie, and
    their euclidean distance is 0. Takes four products instead of one; gradients are
    those of `pairwise_distances`.

    Args:
      a: M rows, see `slice_rows`.
      b: N rows, likewise.
      distance: ``'cosine'``, ``'euclidean'`` or ``'sqeuclidean'``.

    Returns:
      ``[M, N]`` distances in float32, right to a few 1e-6 of the squared length of
      the longer row (its root, euclidean, near 0: to about 1e-3).
    """
    _check(a.rows, b.rows, distance)
    products = _exact_products(a, b)
    if distance == "cosine":
        return 1.0 - products
    squares = _exact_squares(a)[:, None] + _exact_squares(b)[None, :]
    squared = jnp.maximum(squares - 2.0 * products, 0.0)
    return squared if distance == "sqeuclidean" else _safe_sqrt(squared)


def _exact_squares(a: SlicedRows) -> jax.Array:
    """The diagonal of ``_exact_products(a, a)``, with its gradient."""
    mixed = 2.0 * jnp.sum(a.high * a.low, -1)
    exact = jnp.sum(a.high * a.high, -1) + mixed + jnp.sum(a.low * a.low, -1)
    plain = jnp.sum(a.rows * a.rows, -1)
    return exact + (plain - jax.lax.stop_gradient(plain))


def paired_distances(
    a: jax.Array, b: jax.Array, *, distance: str = "cosine"
) -> jax.Array:
    """Distance of each row of ``a`` to the row of ``b`` at the same place.

    Args:
      a: ``[..., D]`` rows.
      b: ``[..., D]`` rows, of a shape that broadcasts against ``a``.
      distance: ``'cosine'``, ``'euclidean'`` (gradient 0 at 0) or ``'sqeuclidean'``.

    Returns:
      ``[...]`` distances in float32.
    """
    _check(a, b, distance)
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    if distance == "cosine":
        return 1.0 - jnp.sum(a * b, -1)
    squared = jnp.sum(jnp.square(a - b), -1)
    return squared if distance == "sqeuclidean" else _safe_sqrt(squared)


def unit_normalize(x: jax.Array) -> jax.Array:
    """Rows ``[..., D]`` scaled to length 1; a zero row stays zero, gradient 0."""
    norm = _safe_sqrt(jnp.sum(jnp.square(x), -1, keepdims=True))
    zero = norm == 0
    return jnp.where(zero, 0.0, x / jnp.where(zero, 1.0, norm))
