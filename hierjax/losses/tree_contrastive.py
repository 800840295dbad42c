r"""Contrastive losses whose targets or negatives follow the tree.

Notation and shapes are those of `hierjax.losses.contrastive`: V views of B examples
here, n = B V rows, N rows on all devices, ``s_ia = z_i . z_a / T``. Rows come as unit
vectors; unknown labels (-1) are a suffix, and a pair counts at a level only where its
relation there is known.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from hierjax import collectives, masks, reductions
from hierjax.losses import blocks, checks
from hierjax.losses.anchors import (
    anchor_losses,
    as_views,
    check_views,
    loss_scale,
)


def tree_similarity_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    softness: jax.typing.ArrayLike = 0.5,
    similarities: Sequence[float] | jax.Array | None = None,
    temperature: float = 0.1,
    base_temperature: float | None = None,
    where: jax.Array | None = None,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> jax.Array:
    r"""Contrast whose target is shared with the relatives of the class.

    .. math:: -\sum_a q_{ia} \log \frac{e^{s_{ia}}}{\sum_{a'} e^{s_{ia'}}}, \quad
      q_i = (1 - s) \, \mathrm{uniform}(P_i) + s \, w_i / |w_i|_1

    with P_i the rows of the same class and ``w_ia`` the similarity of the two classes
    in the tree, a number for each number of levels shared. At s = 0 this is
    `supcon_loss` of the finest level. The targets of SEAL (NeurIPS 2025), there around
    one view; its learned tree and its divergence between levels are left out.

    Args:
      embeddings: ``[B, V, D]`` unit-normalised views.
      labels: int ``[B, L]``; rows agree at a level if they agree in all columns down to
        it.
      softness: s in [0, 1].
      similarities: ``[L]``, not decreasing and at least 0: of pairs that share the
        levels 0..l and no more. Pairs that share none have 0. None: ``(l + 1) / L``.
      temperature: T, positive.
      base_temperature: the loss is multiplied by T over this; None: not at all.
      where: ``[B]`` bool, False = padding.
      axis_name: mapped axis; None: this is the whole batch.
      block_size: anchors at a time; memory O(block_size N) instead of O(n N).

    Returns:
      Scalar mean over anchors with a target: one without a row of its class keeps the
      relatives alone, and the other way round. 0 if there is none.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> labels = tree.labels_of([0, 0, 1, 2])
      >>> angles = np.array([0.0, 0.1, 0.4, 2.0])
      >>> rows = np.stack([np.cos(angles), np.sin(angles)], 1)[:, None]
      >>> f"{losses.tree_similarity_loss(rows, labels):.3f}"
      '0.601'
    """
    embeddings = check_views(embeddings, temperature, base_temperature)
    labels = checks.as_labels(labels, embeddings.shape[0])
    num_levels = labels.shape[1]
    if similarities is None:
        similarities = (jnp.arange(num_levels) + 1) / max(num_levels, 1)
    similarities = jnp.asarray(similarities, jnp.float32)
    if not num_levels or similarities.shape != (num_levels,):
        raise ValueError(
            f"similarities must have one value a level of labels {labels.shape}, got "
            f"{similarities.shape}"
        )
    views = as_views(
        embeddings, labels, temperature=temperature, where=where, axis_name=axis_name
    )
    anchors = anchor_losses(
        views, tuple(range(num_levels)), axis_name=axis_name, block_size=block_size
    )
    # A target is a mixture of the uniform ones of the levels, whose losses are known.
    steps = jnp.diff(similarities, prepend=0.0)
    mass = steps[None, :] * jnp.where(anchors.counts, anchors.num_positives, 0.0)
    relatives = reductions.safe_divide(mass, jnp.sum(mass, 1, keepdims=True))
    finest = jnp.arange(num_levels) == num_levels - 1
    own = (finest[None, :] & anchors.counts).astype(jnp.float32)
    target = (1 - softness) * own + softness * relatives
    total = jnp.sum(target, 1, keepdims=True)
    target = reductions.safe_divide(target, total)
    losses = jnp.sum(target * jnp.where(anchors.counts, anchors.losses, 0.0), 1)
    mean = reductions.masked_mean(losses, total[:, 0] > 0, axis_name=axis_name)
    return loss_scale(temperature, base_temperature) * mean


def level_restricted_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    level_weights: Sequence[float] | jax.Array | None = None,
    temperature: float = 0.1,
    base_temperature: float | None = None,
    where: jax.Array | None = None,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> jax.Array:
    r"""Contrast among siblings: at each level, only rows of the same parent compete.

    .. math:: \sum_l w_l \, \mathrm{mean}_i \; [
      \log \sum_{a \in S_l(i)} e^{s_{ia}} - \mathrm{mean}_{p \in P_l(i)} s_{ip} ]

    with ``S_l(i)`` the rows that share all levels above l with i and are known at l,
    and P_l(i) those of them that share l too. At level 0 all rows compete. The idea
    (negatives of one level, levels balanced) is that of arXiv 2606.21838, of which the
    abstract alone was at hand: the reading and the formula are ours.

    Args:
      embeddings: ``[B, V, D]`` unit-normalised views.
      labels: int ``[B, L]``; rows agree at a level if they agree in all columns down to
        it.
      level_weights: ``[L]``; None: 1 / L each.
      temperature: T, positive.
      base_temperature: the loss is multiplied by T over this; None: not at all.
      where: ``[B]`` bool, False = padding.
      axis_name: mapped axis; None: this is the whole batch.
      block_size: anchors at a time; memory O(block_size N) instead of O(n N).

    Returns:
      Scalar; the mean at a level is over anchors with a positive and with a negative
      there, and a level without one adds 0.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> labels = tree.labels_of([0, 0, 1, 2])
      >>> angles = np.array([0.0, 0.1, 0.4, 2.0])
      >>> rows = np.stack([np.cos(angles), np.sin(angles)], 1)[:, None]
      >>> f"{losses.level_restricted_loss(rows, labels):.3f}"
      '0.590'
    """
    embeddings = check_views(embeddings, temperature, base_temperature)
    labels = checks.as_labels(labels, embeddings.shape[0])
    num_levels = labels.shape[1]
    if level_weights is None:
        level_weights = jnp.full((num_levels,), 1 / max(num_levels, 1))
    level_weights = jnp.asarray(level_weights, jnp.float32)
    if not num_levels or level_weights.shape != (num_levels,):
        raise ValueError(
            f"level_weights must have one value a level of labels {labels.shape}, got "
            f"{level_weights.shape}"
        )
    views = as_views(
        embeddings, labels, temperature=temperature, where=where, axis_name=axis_name
    )
    known = jnp.where(views.where[:, None], views.labels, -1)
    own_labels = jnp.repeat(known, views.num_views, axis=0)
    keys = collectives.all_gather_rows(views.rows, axis_name)
    key_labels = collectives.all_gather_rows(own_labels, axis_name)
    columns = jnp.arange(keys.shape[0], dtype=jnp.int32)

    def of_block(anchors, valid):
        s = jnp.matmul(views.rows[anchors], keys.T, precision=lax.Precision.HIGHEST)
        labels = own_labels[anchors]
        other = valid[:, None] & (views.index[anchors][:, None] != columns[None, :])
        shared = masks.shared_levels(labels, key_labels)
        losses, counts = [], []
        for level in range(num_levels):
            compete = other & (shared >= level)
            compete &= (labels[:, level] >= 0)[:, None]
            compete &= (key_labels[:, level] >= 0)[None, :]
            positive = compete & (shared > level)
            counted = jnp.any(positive, 1) & jnp.any(compete & ~positive, 1)
            # Where nothing competes the sum is over all, and nobody reads it.
            competing = compete | ~counted[:, None]
            near = jnp.sum(jnp.where(positive, s, 0.0), 1)
            near = reductions.safe_divide(near, jnp.sum(positive, 1))
            losses.append(jax.nn.logsumexp(s, axis=1, where=competing) - near)
            counts.append(counted)
        return jnp.stack(losses, 1), jnp.stack(counts, 1)

    num_rows = views.rows.shape[0]
    losses, counts = blocks.map_anchor_blocks(of_block, num_rows, block_size)
    losses, counts = (x.reshape(-1, num_levels) for x in (losses, counts))
    total = sum(
        level_weights[level]
        * reductions.masked_mean(
            losses[:, level], counts[:, level], axis_name=axis_name
        )
        for level in range(num_levels)
    )
    return loss_scale(temperature, base_temperature) * total
