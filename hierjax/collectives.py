"""Sums and gathers over a mapped axis; the identity where there is no axis.

Every loss takes ``axis_name``: ``None`` means that its arrays are the whole batch, a
name means that they are one device's share under ``pmap``, ``vmap(axis_name=...)`` or
``shard_map``. This module is the only place that calls ``lax`` collectives.

Losses reduce to the global value *inside* the mapped function and the train step then
averages the gradients over the axis; see ``training.step`` for why.
"""

import jax
import jax.numpy as jnp
from jax import lax


def is_alone(axis_name: str | None) -> bool:
    """Whether there is nobody to talk to: no axis, or an axis of one device.

    XLA keeps gathers among one participant; a step of 22 microseconds takes 25 with
    them.
    """
    return axis_name is None or lax.axis_size(axis_name) == 1


def psum(x: jax.Array, axis_name: str | None) -> jax.Array:
    """Sum of ``x`` over the axis; works on pytrees."""
    return x if is_alone(axis_name) else lax.psum(x, axis_name)


def pmean(x: jax.Array, axis_name: str | None) -> jax.Array:
    """Mean of ``x`` over the axis; works on pytrees."""
    return x if is_alone(axis_name) else lax.pmean(x, axis_name)


def agreed(x: jax.Array, axis_name: str | None) -> jax.Array:
    """``x``, which every device has computed from the same gathered rows.

    ``shard_map`` with ``check_vma=True`` does not see that the copies are one value: it
    would let none of them out as replicated and add up their gradients. Their mean is
    the same value, and its gradient is one copy's, in every kind of mapping.
    """
    return pmean(x, axis_name)


def pmin(x: jax.Array, axis_name: str | None) -> jax.Array:
    """Smallest ``x`` over the axis; has no gradient."""
    return x if is_alone(axis_name) else lax.pmin(x, axis_name)


def axis_index(axis_name: str | None) -> jax.Array:
    """Position of this device on the axis, 0 without an axis."""
    return jnp.int32(0) if is_alone(axis_name) else lax.axis_index(axis_name)


def all_gather_rows(x: jax.Array, axis_name: str | None) -> jax.Array:
    """Rows ``[B, ...]`` of every device, in device order: ``[devices * B, ...]``."""
    if is_alone(axis_name):
        return x
    return lax.all_gather(x, axis_name, axis=0, tiled=True)
