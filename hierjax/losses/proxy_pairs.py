r"""Losses between rows and proxies, and between rows, from metric learning at large.

Proxy anchor (flat and for every level of a tree), multi-similarity and ArcFace.

Shapes: B rows on this device, N on all, D dimensions, C classes, L levels with 0 the
coarsest. Proxy anchor and ArcFace normalise both arguments, as all that has proxies
does; multi-similarity compares rows as they come, unit vectors by convention.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from hierjax import collectives, reductions
from hierjax.losses import blocks, checks, proxy


def proxy_anchor_loss(
    embeddings: jax.Array,
    proxies: jax.Array,
    class_ids: jax.Array,
    *,
    margin: jax.typing.ArrayLike = 0.1,
    scale: jax.typing.ArrayLike = 32.0,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    r"""Proxy anchor: every proxy draws its class and pushes all other rows away.

    .. math:: \frac{1}{|P^+|} \sum_{p \in P^+}
      \log (1 + \sum_{x \in p} e^{-\alpha (\cos(x, p) - \delta)}) +
      \frac{1}{C} \sum_p \log (1 + \sum_{x \notin p} e^{\alpha (\cos(x, p) + \delta)})

    with P^+ the classes in the batch of all devices. Kim et al. 2020, "Proxy Anchor
    Loss for Deep Metric Learning" (CVPR).

    Args:
      embeddings: ``[B, D]``, normalised here.
      proxies: ``[C, D]``, normalised here.
      class_ids: int ``[B]``; -1 is unknown and such a row does not count.
      margin: delta.
      scale: alpha, positive.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A float32 scalar, the same on every device; 0 if no row counts.

    Examples:
      >>> import numpy as np
      >>> from hierjax import losses
      >>> proxies = np.eye(2)
      >>> ids = np.array([0, 1])
      >>> f"{losses.proxy_anchor_loss(proxies, proxies, ids):.3f}"
      '3.240'
      >>> f"{losses.proxy_anchor_loss(-proxies, proxies, ids):.1f}"
      '38.4'
    """
    embeddings = checks.as_floats("embeddings", embeddings, 2)
    class_ids = checks.as_class_ids(class_ids, embeddings.shape[0])
    counts = checks.valid_rows(where, embeddings.shape[0]) & (class_ids >= 0)
    # Padding may hold anything, and NaN times 0 is NaN in the gradient.
    embeddings = jnp.where(counts[:, None], embeddings, 0.0)
    cosines = proxy.class_cosines(embeddings, proxies)
    classes = jnp.arange(cosines.shape[1])
    own = jnp.where(counts, class_ids, -1)[:, None] == classes[None, :]
    values = scale * (margin + jnp.where(own, -cosines, cosines))
    masks = (own, counts[:, None] & ~own)
    near, far = _softplus_sums(values, masks, axis=0, axis_name=axis_name)
    present = collectives.psum(jnp.sum(own.astype(jnp.float32), 0), axis_name) > 0
    mean = reductions.safe_divide(
        jnp.sum(jnp.where(present, near, 0.0)), jnp.sum(present.astype(jnp.float32))
    )
    return mean + jnp.mean(far)


def hierarchical_proxy_anchor_loss(
    embeddings: jax.Array,
    level_proxies: Sequence[jax.Array],
    labels: jax.Array,
    *,
    level_weights: Sequence[float] | jax.Array | None = None,
    margin: jax.typing.ArrayLike = 0.1,
    scale: jax.typing.ArrayLike = 32.0,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """Proxy anchor at every level of the tree, with a proxy for every node.

    After Yang et al. 2022, "Hierarchical Proxy-based Loss for Deep Metric Learning"
    (WACV), whose coarse proxies come from clustering; here the tree is given and all
    proxies are learned.

    Args:
      embeddings: ``[B, D]``, normalised here.
      level_proxies: L arrays ``[nodes of the level, D]``, normalised here.
      labels: int ``[B, L]``, -1 unknown: a row counts at the levels where it is known.
      level_weights: ``[L]``; None: 1 / L each.
      margin: as in `proxy_anchor_loss`.
      scale: as in `proxy_anchor_loss`.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A float32 scalar; a level where no row is known adds 0.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> rows = np.eye(3)
      >>> proxies = [np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), rows]
      >>> loss = losses.hierarchical_proxy_anchor_loss(
      ...     rows, proxies, tree.ancestors, scale=8.0
      ... )
      >>> f"{loss:.3f}"
      '1.569'
    """
    labels = checks.as_labels(labels, embeddings.shape[0])
    num_levels = labels.shape[1]
    if len(level_proxies) != num_levels or not num_levels:
        raise ValueError(
            f"level_proxies must be {num_levels} arrays, one a level of labels "
            f"{labels.shape}, got {len(level_proxies)}"
        )
    if level_weights is None:
        level_weights = [1 / num_levels] * num_levels
    level_weights = jnp.asarray(level_weights, jnp.float32)
    if level_weights.shape != (num_levels,):
        raise ValueError(
            f"level_weights must be [{num_levels}], got {level_weights.shape}"
        )
    return sum(
        level_weights[level]
        * proxy_anchor_loss(
            embeddings,
            proxies,
            labels[:, level],
            margin=margin,
            scale=scale,
            where=where,
            axis_name=axis_name,
        )
        for level, proxies in enumerate(level_proxies)
    )


def _softplus_sums(
    values: jax.Array,
    masks: tuple[jax.Array, jax.Array],
    *,
    axis: int,
    axis_name: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """``log(1 + sum exp)`` along an axis, over the entries of each of two masks.

    The masks have no entry in common, so that every exponential is taken once.
    """
    fixed = lax.stop_gradient(values)
    largest = tuple(
        jnp.max(jnp.where(mask, fixed, 0.0), axis, keepdims=True) for mask in masks
    )
    largest = tuple(-collectives.pmin(-x, axis_name) for x in largest)
    taken = masks[0] | masks[1]
    shifted = values - jnp.where(masks[0], *largest)
    exponentials = jnp.where(taken, jnp.exp(jnp.where(taken, shifted, 0.0)), 0.0)
    return tuple(
        jnp.squeeze(top, axis)
        + jnp.log(
            jnp.exp(-jnp.squeeze(top, axis))
            + collectives.psum(
                jnp.sum(jnp.where(mask, exponentials, 0.0), axis), axis_name
            )
        )
        for top, mask in zip(largest, masks, strict=True)
    )


def arcface_logits(
    embeddings: jax.Array,
    proxies: jax.Array,
    class_ids: jax.Array,
    *,
    scale: jax.Array | float = 64.0,
    margin: jax.typing.ArrayLike = 0.5,
) -> jax.Array:
    r"""ArcFace: ``s cos(theta_c)``, with an angle added to that of the own class.

    .. math:: s \cos(\theta_y + m)

    for the own class y. Deng et al. 2019, "ArcFace" (CVPR). Beyond ``theta = pi - m``,
    where the cosine would rise again, it is ``s (cos theta - m sin m)`` as in the
    published code. For training only; scores are those of `normface_logits`.

    Args:
      embeddings: ``[B, D]``, normalised here.
      proxies: ``[C, D]``, normalised here.
      class_ids: int ``[B]``; a row of unknown class (-1) has no margin.
      scale: s, positive.
      margin: m in radians, in [0, pi).

    Returns:
      ``[B, C]`` float32, for `cross_entropy_loss`. On the proxy itself and opposite to
      it the gradient is that of an angle of .0014.

    Examples:
      >>> import numpy as np
      >>> from hierjax import losses
      >>> rows, proxies = np.array([[1.0, 0.0]]), np.eye(2)
      >>> logits = losses.arcface_logits(rows, proxies, np.array([0]), scale=1.0)
      >>> np.asarray(logits).round(3)  # cos .5 instead of cos 0
      array([[0.877, 0.   ]], dtype=float32)
    """
    cosines = proxy.class_cosines(embeddings, proxies)
    class_ids = checks.as_class_ids(class_ids, cosines.shape[0])
    margin = jnp.float32(margin)
    known = jnp.maximum(class_ids, 0)[:, None]
    towards = jnp.take_along_axis(cosines, known, axis=1)
    theta = proxy.angles(towards)
    late = towards - margin * jnp.sin(margin)
    moved = jnp.where(theta + margin <= jnp.pi, jnp.cos(theta + margin), late)
    own = class_ids[:, None] == jnp.arange(cosines.shape[1])[None, :]
    return scale * jnp.where(own, moved, cosines)


def multi_similarity_loss(
    embeddings: jax.Array,
    class_ids: jax.Array,
    *,
    positive_scale: jax.typing.ArrayLike = 2.0,
    negative_scale: jax.typing.ArrayLike = 50.0,
    threshold: jax.typing.ArrayLike = 0.5,
    mining_margin: jax.typing.ArrayLike | None = 0.1,
    where: jax.Array | None = None,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> jax.Array:
    r"""Multi-similarity: hard pairs count more, within each anchor's own.

    .. math::
      \frac{1}{\alpha} \log (1 + \sum_{k \in P_i} e^{-\alpha (s_{ik} - \lambda)})
      + \frac{1}{\beta} \log (1 + \sum_{k \in N_i} e^{\beta (s_{ik} - \lambda)})

    Wang et al. 2019, "Multi-Similarity Loss with General Pair Weighting" (CVPR). With
    mining, P_i are the positives less similar than the most similar negative plus a
    margin and N_i the negatives more similar than the least similar positive minus it,
    so that an anchor without positives or without negatives costs nothing.

    Args:
      embeddings: ``[B, D]`` unit vectors.
      class_ids: int ``[B]``; -1 is unknown: such a row is no anchor and in nobody's
        pair.
      positive_scale: alpha, positive.
      negative_scale: beta, positive.
      threshold: lambda.
      mining_margin: None: all pairs count, as in pytorch-metric-learning's loss without
        its miner.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.
      block_size: anchors at a time; memory O(block_size N) instead of O(B N).

    Returns:
      A float32 scalar: the mean over all rows of known class that have a pair, also
      those that mining leaves with none; 0 if there is no pair.

    Examples:
      >>> import numpy as np
      >>> from hierjax import losses
      >>> rows = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
      >>> f"{losses.multi_similarity_loss(rows, np.array([0, 1, 1, 0])):.3f}"
      '1.026'
      >>> f"{losses.multi_similarity_loss(rows, np.array([0, 0, 1, 1])):.3f}"
      '0.000'
    """
    embeddings = checks.as_floats("embeddings", embeddings, 2).astype(jnp.float32)
    num_rows = embeddings.shape[0]
    class_ids = checks.as_class_ids(class_ids, num_rows)
    counts = checks.valid_rows(where, num_rows) & (class_ids >= 0)
    # Padding may hold anything, and NaN times 0 is NaN in the gradient.
    embeddings = jnp.where(counts[:, None], embeddings, 0.0)
    ids = jnp.where(counts, class_ids, -1)
    keys = collectives.all_gather_rows(embeddings, axis_name)
    key_ids = collectives.all_gather_rows(ids, axis_name)
    offset = collectives.axis_index(axis_name) * num_rows
    columns = jnp.arange(keys.shape[0], dtype=jnp.int32)

    def of_block(anchors, valid):
        s = jnp.matmul(embeddings[anchors], keys.T, precision=lax.Precision.HIGHEST)
        pair = (valid & counts[anchors])[:, None] & (key_ids >= 0)[None, :]
        pair &= (anchors + offset)[:, None] != columns[None, :]
        same = ids[anchors][:, None] == key_ids[None, :]
        positive, negative = pair & same, pair & ~same
        any_pair = jnp.any(pair, 1)
        if mining_margin is not None:
            fixed = lax.stop_gradient(s)
            nearest = jnp.max(jnp.where(negative, fixed, -jnp.inf), 1, keepdims=True)
            farthest = jnp.min(jnp.where(positive, fixed, jnp.inf), 1, keepdims=True)
            positive &= fixed < nearest + mining_margin
            negative &= fixed > farthest - mining_margin
        values = jnp.where(same, -positive_scale, negative_scale) * (s - threshold)
        near, far = _softplus_sums(values, (positive, negative), axis=1)
        return near / positive_scale + far / negative_scale, any_pair

    losses, any_pair = blocks.map_anchor_blocks(of_block, num_rows, block_size)
    return reductions.masked_mean(losses, any_pair, axis_name=axis_name)
