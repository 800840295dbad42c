"""Contrast at each level of a tree in its own part of the embedding.

The idea of Ott et al. 2025 (arXiv 2510.00837): multiply the embedding with a mask a
level, and look at one level in its masked part only. Certain from the paper: one mask a
level, multiplied onto the features; binary from a Gaussian mixture in G-HMLC, soft from
an attention head in A-HMLC. The paper's equations were not available to us: the loss a
level (SupCon on masked, renormalised embeddings with that level's labels) is inferred;
weights, renormalisation and the average over classes are our proposals.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from hierjax import collectives, reductions
from hierjax.losses import checks
from hierjax.losses.anchors import (
    Anchors,
    Views,
    anchor_losses,
    as_views,
    check_views,
    loss_scale,
)

SCOPES = ("path", "column")
BALANCES = ("class", "none")

_TINY_NORM = 1e-8


def level_contrastive_loss(
    embeddings: jax.Array,
    level_masks: jax.Array,
    labels: jax.Array,
    *,
    temperature: float = 0.1,
    base_temperature: float | None = None,
    label_scope: str = "path",
    level_weights: Sequence[float] | jax.Array | None = None,
    balance: str = "class",
    renormalize: bool = True,
    where: jax.Array | None = None,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> jax.Array:
    r"""SupCon at every level on the part of the embedding that belongs to the level.

    .. math:: \sum_h w_h \, \mathrm{SupCon}(v^h, y^h), \quad
      v^h = (M_h \odot z) / \max(\|M_h \odot z\|, 10^{-8})

    With all masks 1 and one level it is `supcon_loss` (balance 'none', or classes of
    equal size). Levels do not see each other, so their order does not matter with
    ``label_scope='column'``.

    Args:
      embeddings: ``[B, V, D]`` unit-normalised views.
      level_masks: ``[L, D]``, the same for all, or ``[B, V, L, D]``; any non-negative
        numbers. Gradient flows through them.
      labels: ``[B, L]`` integers, -1 unknown.
      temperature: T, positive.
      base_temperature: the loss is multiplied by T over this; None: not at all.
      label_scope: 'path': rows agree at a level if they agree in all columns down to
        it; 'column': in that column alone, which may then be unknown on its own.
      level_weights: ``[L]``; None: 1/L each.
      balance: 'class': the mean over the classes present of the mean over a class's
        anchors; 'none': the mean over anchors.
      renormalize: masked rows are scaled to unit length; a row of norm below 1e-8
        stays as good as zero.
      where: ``[B]`` bool, False = padding.
      axis_name: mapped axis; None: this is the whole batch.
      block_size: anchors at a time; memory O(block_size N) instead of O(n N).

    Returns:
      Scalar; a level without positives adds 0.

    Examples:
      >>> import jax.numpy as jnp
      >>> views = jnp.array([[[0.6, 0.8]], [[0.6, -0.8]], [[-0.6, 0.8]]])
      >>> labels = jnp.array([[0, 0], [0, 1], [1, 2]])
      >>> loss = level_contrastive_loss(views, jnp.eye(2), labels, temperature=1.0)
      >>> print(f"{loss:.4f}", f"{0.5 * jnp.log1p(jnp.exp(-2)):.4f}")
      0.0635 0.0635
    """
    embeddings = check_views(embeddings, temperature, base_temperature)
    checks.check_option("label_scope", label_scope, SCOPES)
    checks.check_option("balance", balance, BALANCES)
    labels = checks.as_labels(labels, embeddings.shape[0])
    num_levels = labels.shape[1]
    level_masks = jnp.asarray(level_masks)
    num_examples, num_views, dim = embeddings.shape
    accepted = ((num_levels, dim), (num_examples, num_views, num_levels, dim))
    if num_levels < 1 or level_masks.shape not in accepted:
        raise ValueError(
            f"level_masks must be [L, D] or [B, V, L, D], one of {accepted} for "
            f"embeddings {embeddings.shape} and labels {labels.shape}, got "
            f"{level_masks.shape}"
        )
    if level_weights is None:
        level_weights = jnp.full((num_levels,), 1 / num_levels)
    level_weights = jnp.asarray(level_weights, jnp.float32)
    if level_weights.shape != (num_levels,):
        raise ValueError(
            f"level_weights must be [{num_levels}], got {level_weights.shape}"
        )
    where = checks.valid_rows(where, num_examples)
    embeddings = checks.without_padding(embeddings.astype(jnp.float32), where)
    if level_masks.ndim == 4:
        level_masks = checks.without_padding(level_masks, where)
    total = jnp.float32(0)
    for level in range(num_levels):
        mask = level_masks[..., level, :].astype(jnp.float32)
        masked = embeddings * jnp.broadcast_to(mask, embeddings.shape)
        path = label_scope == "path"
        views = as_views(
            _normalized(masked) if renormalize else masked,
            labels[:, 0 if path else level : level + 1],
            temperature=temperature,
            where=where,
            axis_name=axis_name,
        )
        anchors = anchor_losses(
            views,
            (level if path else 0,),
            axis_name=axis_name,
            block_size=block_size,
        )
        weights = anchors.counts[:, 0].astype(jnp.float32)
        if balance == "class":
            weights = _class_weights(anchors, views, axis_name)
        mean = reductions.masked_mean(
            anchors.losses[:, 0], weights, axis_name=axis_name
        )
        total += level_weights[level] * mean
    return loss_scale(temperature, base_temperature) * total


def _normalized(rows: jax.Array) -> jax.Array:
    """Rows divided by their norm, or by 1e-8 where that is smaller.

    Such a row has no direction to learn: its gradient, which would be multiplied by
    1e8, is 0.
    """
    squares = jnp.sum(jnp.square(rows), -1, keepdims=True)
    small = squares < _TINY_NORM**2
    norm = jnp.sqrt(jnp.where(small, 1.0, squares))
    return jnp.where(small, jax.lax.stop_gradient(rows) / _TINY_NORM, rows / norm)


def _class_weights(anchors: Anchors, views: Views, axis_name: str | None) -> jax.Array:
    """1 over the number of anchors of the same class on all devices; 0 where none."""
    counts = anchors.counts[:, 0]
    num_rows = anchors.ids.shape[0]
    nodes = anchors.ids[views.index, 0]
    nodes = jnp.where(nodes >= 0, nodes, num_rows)
    sizes = jax.ops.segment_sum(counts.astype(jnp.float32), nodes, num_rows + 1)
    return jnp.where(counts, 1 / collectives.psum(sizes, axis_name)[nodes], 0.0)
