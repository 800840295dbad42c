"""Anchors, their positives and their losses: what all contrastive losses share.

The notation is that of `hierjax.losses.contrastive`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from hierjax import collectives, masks, reductions
from hierjax.losses import checks, gram


def check_views(
    embeddings: jax.Array,
    temperature: jax.typing.ArrayLike,
    base_temperature: jax.typing.ArrayLike | None,
) -> jax.Array:
    """Require float views ``[B, V, D]`` and positive temperatures."""
    checks.check_positive("temperature", temperature)
    if base_temperature is not None:
        checks.check_positive("base_temperature", base_temperature)
    return checks.as_floats("embeddings", embeddings, 3)


def loss_scale(
    temperature: jax.typing.ArrayLike, base_temperature: jax.typing.ArrayLike | None
) -> jax.typing.ArrayLike:
    """What a loss is multiplied by: T over the base temperature, 1 without one."""
    return 1.0 if base_temperature is None else temperature / base_temperature


class Views(NamedTuple):
    """The rows of this device, ready to be compared.

    Attributes:
      rows: float32 ``[n, D]``, divided by the root of the temperature; 0 for padding.
      labels: ``[B, L]``.
      where: bool ``[B]``.
      index: ``[n]``, place in the whole batch.
    """

    rows: jax.Array
    labels: jax.Array
    where: jax.Array
    index: jax.Array

    @property
    def num_views(self) -> int:
        """V."""
        return self.rows.shape[0] // self.where.shape[0]


class Anchors(NamedTuple):
    """Losses of the anchors of this device at K levels.

    Attributes:
      losses: float32 ``[n, K]``, meaningless where not counted.
      counts: bool ``[n, K]``, whether the anchor has a positive.
      num_positives: float32 ``[n, K]``.
      lse: float32 ``[n, K]``, the log-sum-exp over A(i).
      ids: ``[N, K]``, number of every row's node; -1 unknown or not taking part.
    """

    losses: jax.Array
    counts: jax.Array
    num_positives: jax.Array
    lse: jax.Array
    ids: jax.Array


def as_views(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    temperature: jax.typing.ArrayLike,
    where: jax.Array | None,
    axis_name: str | None,
) -> Views:
    """Views ``[B, V, D]`` as rows, the views of an example one after the other."""
    num_examples, num_views, dim = embeddings.shape
    where = checks.valid_rows(where, num_examples)
    rows = checks.without_padding(embeddings, where)
    rows = rows.reshape(-1, dim).astype(jnp.float32)
    start = collectives.axis_index(axis_name) * rows.shape[0]
    return Views(
        rows / jnp.sqrt(jnp.float32(temperature)),
        labels.astype(jnp.int32),
        where,
        start + jnp.arange(rows.shape[0], dtype=jnp.int32),
    )


def anchor_losses(
    views: Views,
    levels: tuple[int, ...],
    *,
    thin: bool = False,
    axis_name: str | None,
    block_size: int | None,
) -> Anchors:
    """``l_i`` of every anchor at every level asked for.

    Only the log-sum-exp looks at pairs. The similarities to positives come from sums
    over classes: ``sum_{p in P(i)} z_i . z_p = z_i . (C_i - z_i)``.

    Args:
      views: of this device.
      levels: the K levels.
      thin: above the finest level keep one example of every node of the next finer
        level: the first of its lexicographically first path, as the published code of
        HMC does. Examples unknown at that next level stay.
      axis_name: mapped axis, or None.
      block_size: anchors at a time, or None.
    """
    where = collectives.all_gather_rows(views.where, axis_name)
    labels = collectives.all_gather_rows(views.labels, axis_name)
    labels = jnp.where(where[:, None], labels, -1)
    ids = masks.path_ids(labels)
    present = jnp.broadcast_to(where[:, None], ids.shape)
    if thin:
        present = present & _first_of_nodes(labels, ids)
    ids = jnp.where(present, ids, -1)
    ids, present, own_labels = (
        jnp.repeat(x, views.num_views, axis=0)
        for x in (ids[:, levels], present[:, levels], views.labels)
    )
    own_ids = ids[views.index]
    info = gram.PairInfo(views.index, own_labels, present[views.index])
    lse = gram.row_logsumexp(views.rows, info, levels, axis_name, block_size)

    keys = collectives.all_gather_rows(views.rows, axis_name)
    similarity, num_positives = [], []
    for k in range(len(levels)):
        # Unknown rows go to a last segment, which nobody reads.
        segments = jnp.where(ids[:, k] >= 0, ids[:, k], keys.shape[0])
        sums, sizes = (
            jax.ops.segment_sum(x, segments, keys.shape[0] + 1)[own_ids[:, k]]
            for x in (keys, jnp.ones((keys.shape[0],), jnp.float32))
        )
        similarity.append(jnp.sum(views.rows * (sums - views.rows), 1))
        num_positives.append(jnp.where(own_ids[:, k] >= 0, sizes - 1, 0))
    num_positives = jnp.stack(num_positives, 1)
    means = reductions.safe_divide(jnp.stack(similarity, 1), num_positives)
    return Anchors(lse - means, num_positives > 0, num_positives, lse, ids)


def _first_of_nodes(labels: jax.Array, ids: jax.Array) -> jax.Array:
    """``[N, L]``: does this example stay at a level after thinning?"""
    order = jnp.lexsort(labels.T[::-1])
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(order.size))
    stays = []
    for level in range(1, labels.shape[1]):
        node = ids[:, level]
        first = jax.ops.segment_min(rank, node, order.size)[node]
        stays.append((node < 0) | (rank == first))
    return jnp.stack([*stays, jnp.ones_like(rank, bool)], 1)


def level_mean(anchors: Anchors, k: int, axis_name: str | None) -> jax.Array:
    """Mean loss of the anchors with a positive at the k-th level, over all devices."""
    return reductions.masked_mean(
        anchors.losses[:, k], anchors.counts[:, k], axis_name=axis_name
    )
