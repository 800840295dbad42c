"""Distances between rows of embeddings, with gradients that stay finite.

Every product uses full float32 precision: the default of TPUs and recent GPUs rounds
to bfloat16 or TF32, which changes the order of close distances.
"""

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
    products = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    if distance == "cosine":
        return 1.0 - products
    squares = jnp.sum(a * a, -1)[:, None] + jnp.sum(b * b, -1)[None, :]
    squared = jnp.maximum(squares - 2.0 * products, 0.0)
    return squared if distance == "sqeuclidean" else _safe_sqrt(squared)


def paired_distances(
    a: jax.Array, b: jax.Array, *, distance: str = "cosine"
) -> jax.Array:
    """Distance of each row of ``a`` to the row of ``b`` at the same place.

    Args:
      a: ``[..., D]`` rows.
      b: ``[..., D]`` rows, of a shape that broadcasts against ``a``.
      distance: as in `pairwise_distances`.

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
