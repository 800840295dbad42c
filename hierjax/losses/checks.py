"""Static checks that open every loss: rank, dtype and sizes, shapes in the message."""

import jax
import jax.numpy as jnp


def as_floats(name: str, x: jax.Array, ndim: int) -> jax.Array:
    """``x`` as a JAX array; it must hold floats in ``ndim`` dimensions."""
    x = jnp.asarray(x)
    if x.ndim != ndim or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"{name} must be a float array of {ndim} dimensions, got {x.dtype} "
            f"{x.shape}"
        )
    return x


def as_labels(labels: jax.Array, num_rows: int) -> jax.Array:
    """``labels`` as a JAX array; it must hold integers ``[num_rows, L]``."""
    labels = jnp.asarray(labels)
    if labels.ndim != 2 or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"labels must be an integer array [B, L], got {labels.dtype} {labels.shape}"
        )
    if labels.shape[0] != num_rows:
        raise ValueError(f"{labels.shape[0]} labels for {num_rows} embeddings")
    return labels


def as_class_ids(class_ids: jax.Array, num_rows: int) -> jax.Array:
    """``class_ids`` as a JAX array; it must hold integers ``[num_rows]``."""
    class_ids = jnp.asarray(class_ids)
    if class_ids.shape != (num_rows,) or not jnp.issubdtype(
        class_ids.dtype, jnp.integer
    ):
        raise ValueError(
            f"class_ids must be integers [{num_rows}], got {class_ids.dtype} "
            f"{class_ids.shape}"
        )
    return class_ids


def valid_rows(where: jax.Array | None, num_rows: int) -> jax.Array:
    """``where`` as bool ``[B]``; all True where it is None."""
    if where is None:
        return jnp.ones((num_rows,), bool)
    where = jnp.asarray(where)
    if where.shape != (num_rows,):
        raise ValueError(f"where must have shape ({num_rows},), got {where.shape}")
    return where.astype(bool)


def without_padding(x: jax.Array, where: jax.Array) -> jax.Array:
    """``x [B, ...]`` with rows of 0 where padding may hold NaN or infinity.

    To leave such rows out of a mean is not enough: 0 times NaN is NaN in the gradient.
    """
    shape = where.shape + (1,) * (x.ndim - 1)
    return jnp.where(where.reshape(shape), x, 0)


def check_positive(name: str, value: jax.typing.ArrayLike) -> None:
    """Require a positive number; a traced one is taken as it is."""
    if not isinstance(value, jax.core.Tracer) and not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def check_option(name: str, value: str, accepted: tuple[str, ...]) -> None:
    """Require one of the accepted strings."""
    if value not in accepted:
        raise ValueError(f"{name} is {value!r}, accepted are {accepted}")
