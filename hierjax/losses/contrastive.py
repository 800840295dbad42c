"""Contrastive losses: SimCLR, SupCon, and those that contrast at every level of a tree.

Sources: Chen et al. 2020, `SimCLR <https://arxiv.org/abs/2002.05709>`_; Khosla et al.
2020, `Supervised Contrastive Learning <https://arxiv.org/abs/2004.11362>`_; Zhang et
al. 2022, `Use All the Labels <https://arxiv.org/abs/2204.13207>`_ (HMC, HCE and HMCE,
there HiMulCon, HiConE and HiMulConE) and its published code.

Notation: z_a the unit embedding of a view, T the temperature, ``s_ia = z_i . z_a / T``,
P(i) the positives of anchor i, A(i) all other rows whose relation to i is known,

``l_i = log sum_{a in A(i)} exp(s_ia) - mean_{p in P(i)} s_ip``.

Every view of every example is an anchor. Anchors without a positive count in neither
sum nor number. Shapes: B examples on this device, V views, D dimensions, L levels with
0 the coarsest, n = B V rows here, N rows on all devices.

Unknown labels (-1, always a suffix): a pair counts at a level only where its relation
there is known: both paths are known down to it, or they already differ above. Losses
that look at a single column see no level above it.

Rows come as unit vectors; nothing is normalised here. Gradients are exact in reverse
mode, once (see `gram.row_logsumexp`).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from hierjax import collectives, reductions
from hierjax.losses import blocks, checks
from hierjax.losses.anchors import (
    Anchors,
    Views,
    anchor_losses,
    as_views,
    check_views,
    level_mean,
    loss_scale,
)

OFFICIAL_BASE_TEMPERATURE = 0.07
"""The published codes of SupCon and HMC multiply every loss by T / 0.07."""


def simclr_loss(
    embeddings: jax.Array,
    *,
    temperature: float = 0.1,
    base_temperature: float | None = None,
    where: jax.Array | None = None,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> jax.Array:
    """SimCLR's NT-Xent: positives are the other views of the same example.

    Args:
      embeddings: ``[B, V, D]`` unit-normalised views; with V = 1 the loss is 0.
      temperature: T, positive.
      base_temperature: the loss is multiplied by T over this; None: not at all.
      where: ``[B]`` bool, False = padding.
      axis_name: mapped axis; None: this is the whole batch.
      block_size: anchors at a time; memory O(block_size N) instead of O(n N).

    Returns:
      Scalar mean over all anchors; 0 without positives.

    Examples:
      >>> import jax.numpy as jnp
      >>> views = jnp.array([[[1.0, 0.0]] * 2, [[0.0, 1.0]] * 2])
      >>> loss = simclr_loss(views, temperature=1.0)
      >>> print(f"{loss:.4f}", f"{jnp.log(jnp.e + 2) - 1:.4f}")
      0.5514 0.5514
    """
    embeddings = check_views(embeddings, temperature, base_temperature)
    start = collectives.axis_index(axis_name) * embeddings.shape[0]
    return supcon_loss(
        embeddings,
        start + jnp.arange(embeddings.shape[0], dtype=jnp.int32),
        temperature=temperature,
        base_temperature=base_temperature,
        where=where,
        axis_name=axis_name,
        block_size=block_size,
    )


def supcon_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    temperature: float = 0.1,
    base_temperature: float | None = None,
    where: jax.Array | None = None,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> jax.Array:
    """Supervised contrastive loss, L_out of Khosla et al.: all of a class attract.

    Coinciding positives and far negatives give ``log |P(i)|``, not 0.

    Args:
      embeddings: ``[B, V, D]`` unit-normalised views.
      labels: ``[B]`` integers; -1 is unknown: such a row is no anchor and in nobody's
        denominator, since it might be a positive.
      temperature: T, positive.
      base_temperature: the loss is multiplied by T over this; None: not at all. The
        published code has 0.07 whatever T is.
      where: ``[B]`` bool, False = padding.
      axis_name: mapped axis; None: this is the whole batch.
      block_size: anchors at a time; memory O(block_size N) instead of O(n N).

    Returns:
      Scalar mean over anchors with a positive on all devices; 0 if there is none. (The
      published code counts anchors without positives, possible with V = 1 only.)

    Examples:
      >>> import jax.numpy as jnp
      >>> views = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]], [[-1.0, 0.0]]])
      >>> loss = supcon_loss(views, jnp.array([0, 0, 1]), temperature=1.0)
      >>> print(f"{loss:.4f}")
      0.5032
    """
    embeddings = check_views(embeddings, temperature, base_temperature)
    labels = jnp.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"labels must be integers [B], got {labels.shape}")
    labels = checks.as_labels(labels[:, None], embeddings.shape[0])
    views = as_views(
        embeddings, labels, temperature=temperature, where=where, axis_name=axis_name
    )
    anchors = anchor_losses(views, (0,), axis_name=axis_name, block_size=block_size)
    return loss_scale(temperature, base_temperature) * level_mean(anchors, 0, axis_name)


def hmc_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    temperature: float = 0.1,
    base_temperature: float | None = None,
    level_penalty: Callable[[float], jax.typing.ArrayLike] = jnp.exp,
    official: bool = False,
    where: jax.Array | None = None,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> jax.Array:
    r"""Hierarchical multi-label contrastive loss: SupCon at every level, weighted.

    .. math:: \frac{1}{L} \sum_{k=1}^{L} \lambda(1/k) M_k

    with k = 1 for the finest level and M_k the mean of l_i there.

    Args:
      embeddings: ``[B, V, D]`` unit-normalised views.
      labels: ``[B, L]`` integers without a column of instances; rows agree at a level
        if they agree in all columns down to it, so ids need not be unique in a level.
      temperature: T, positive.
      base_temperature: the loss is multiplied by T over this; None: not at all, or
        0.07 if ``official``.
      level_penalty: lambda, a function of 1/k.
      official: the value of the published code given these labels and a last column of
        instance ids: above the finest level one example a class of the next finer one
        is kept, the base temperature is 0.07, and the sum is divided by L + 1.
      where: ``[B]`` bool, False = padding.
      axis_name: mapped axis; None: this is the whole batch. (The published code takes
        each device's batch on its own.)
      block_size: anchors at a time; memory O(block_size N) instead of O(n N).

    Returns:
      Scalar; a level without positives adds 0.

    Examples:
      >>> import jax.numpy as jnp
      >>> views = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]], [[-1.0, 0.0]]])
      >>> labels = jnp.array([[0, 0], [0, 0], [0, 1]])
      >>> penalty = {"level_penalty": lambda inverse: inverse}
      >>> print(f"{hmc_loss(views, labels, temperature=1.0, **penalty):.3f}")
      0.445
    """
    return _hierarchical(
        embeddings,
        labels,
        enforce=False,
        penalty=level_penalty,
        pairwise_max=False,
        official=official,
        temperature=temperature,
        base_temperature=base_temperature,
        where=where,
        axis_name=axis_name,
        block_size=block_size,
    )


def hce_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    temperature: float = 0.1,
    base_temperature: float | None = None,
    pairwise_max: bool = False,
    official: bool = False,
    where: jax.Array | None = None,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> jax.Array:
    """Hierarchical constraint: no level costs less than the next finer one.

    From the finest level up, ``M_k`` becomes ``max(M_k, m)`` with m the largest so
    far; the mean over levels is returned. As in the published code the maximum is of
    means over the batch and passes gradient: where a coarser level is cheaper it gets
    none and the finer one counts twice; ties share it.

    Args:
      embeddings: ``[B, V, D]`` unit-normalised views.
      labels: ``[B, L]`` integers without a column of instances; rows agree at a level
        if they agree in all columns down to it, so ids need not be unique in a level.
      temperature: T, positive.
      base_temperature: the loss is multiplied by T over this; None: not at all, or
        0.07 if ``official``.
      pairwise_max: the paper's reading instead: the term ``log sum exp - s_ip`` of each
        pair is at least the largest such term of a positive pair at the next finer
        level in the whole batch. Of pairs that tie there up to rounding, as those of
        copies of a row do, rounding chooses which one passes the gradient.
      official: the published code's thinning, base temperature and division by L + 1,
        see `hmc_loss`; not together with ``pairwise_max``.
      where: ``[B]`` bool, False = padding.
      axis_name: mapped axis; None: this is the whole batch.
      block_size: anchors at a time; memory O(block_size N) instead of O(n N).

    Returns:
      Scalar; a level without positives adds the maximum of the finer ones.

    Examples:
      >>> import jax.numpy as jnp
      >>> views = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]], [[-1.0, 0.0]]])
      >>> labels = jnp.array([[0, 0], [0, 0], [0, 1]])
      >>> print(f"{hce_loss(views, labels, temperature=1.0):.3f}")
      0.638
    """
    return _hierarchical(
        embeddings,
        labels,
        enforce=True,
        penalty=None,
        pairwise_max=pairwise_max,
        official=official,
        temperature=temperature,
        base_temperature=base_temperature,
        where=where,
        axis_name=axis_name,
        block_size=block_size,
    )


def hmce_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    temperature: float = 0.1,
    base_temperature: float | None = None,
    level_penalty: Callable[[float], jax.typing.ArrayLike] = jnp.exp,
    pairwise_max: bool = False,
    official: bool = False,
    where: jax.Array | None = None,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> jax.Array:
    """Hierarchical multi-label constraint: `hce_loss`, weighted as `hmc_loss`.

    Args:
      embeddings: ``[B, V, D]`` unit-normalised views.
      labels: ``[B, L]`` integers without a column of instances; rows agree at a level
        if they agree in all columns down to it, so ids need not be unique in a level.
      temperature: T, positive.
      base_temperature: the loss is multiplied by T over this; None: not at all, or
        0.07 if ``official``.
      level_penalty: lambda, a function of 1/k, k = 1 for the finest level.
      pairwise_max: the maximum is one over pairs, see `hce_loss`.
      official: the published code's thinning, base temperature and division by L + 1,
        see `hmc_loss`; not together with ``pairwise_max``.
      where: ``[B]`` bool, False = padding.
      axis_name: mapped axis; None: this is the whole batch.
      block_size: anchors at a time; memory O(block_size N) instead of O(n N).

    Returns:
      Scalar; a level without positives adds the weighted maximum of the finer ones.

    Examples:
      >>> import jax.numpy as jnp
      >>> views = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]], [[-1.0, 0.0]]])
      >>> labels = jnp.array([[0, 0], [0, 0], [0, 1]])
      >>> penalty = {"level_penalty": lambda inverse: inverse}
      >>> print(f"{hmce_loss(views, labels, temperature=1.0, **penalty):.3f}")
      0.445
    """
    return _hierarchical(
        embeddings,
        labels,
        enforce=True,
        penalty=level_penalty,
        pairwise_max=pairwise_max,
        official=official,
        temperature=temperature,
        base_temperature=base_temperature,
        where=where,
        axis_name=axis_name,
        block_size=block_size,
    )


def _hierarchical(
    embeddings,
    labels,
    *,
    enforce: bool,
    penalty: Callable | None,
    pairwise_max: bool,
    official: bool,
    temperature,
    base_temperature,
    where,
    axis_name,
    block_size,
) -> jax.Array:
    embeddings = check_views(embeddings, temperature, base_temperature)
    labels = checks.as_labels(labels, embeddings.shape[0])
    num_levels = labels.shape[1]
    if num_levels < 1:
        raise ValueError(f"labels must have at least one level, got {labels.shape}")
    if official and pairwise_max:
        raise ValueError("the published code has no pairwise_max: choose one of them")
    if official and base_temperature is None:
        base_temperature = OFFICIAL_BASE_TEMPERATURE
    views = as_views(
        embeddings, labels, temperature=temperature, where=where, axis_name=axis_name
    )
    anchors = anchor_losses(
        views,
        tuple(range(num_levels)),
        thin=official,
        axis_name=axis_name,
        block_size=block_size,
    )
    scale = loss_scale(temperature, base_temperature)
    total, highest = 0.0, None
    for place, level in enumerate(reversed(range(num_levels)), 1):
        if pairwise_max:
            mean, highest = _clipped_mean(
                views, anchors, level, highest, axis_name, block_size
            )
            mean = scale * mean
        else:
            mean = scale * level_mean(anchors, level, axis_name)
            if enforce:
                highest = mean if highest is None else jnp.maximum(highest, mean)
                mean = highest
        total += mean if penalty is None else penalty(1 / place) * mean
    return total / (num_levels + 1 if official else num_levels)


def _clipped_mean(
    views: Views,
    anchors: Anchors,
    level: int,
    least: jax.Array | None,
    axis_name: str | None,
    block_size: int | None,
) -> tuple[jax.Array, jax.Array]:
    """Mean loss with every positive pair's term at least ``least``, and the largest.

    The largest term is -inf as long as no level had a positive pair.
    """
    keys = collectives.all_gather_rows(views.rows, axis_name)
    places = jnp.arange(keys.shape[0], dtype=jnp.int32)
    ids = anchors.ids[:, level]
    num_rows = views.rows.shape[0]

    def of_block(rows, valid):
        products = jnp.matmul(
            views.rows[rows], keys.T, precision=jax.lax.Precision.HIGHEST
        )
        terms = anchors.lse[rows, level, None] - products
        if least is not None:
            terms = jnp.maximum(terms, least)
        own = ids[views.index[rows]]
        positive = (own[:, None] == ids[None, :]) & (own >= 0)[:, None]
        positive &= views.index[rows][:, None] != places[None, :]
        sums = jnp.sum(jnp.where(positive, terms, 0.0), 1)
        positive &= valid[:, None]
        return sums, jnp.max(jnp.where(positive, terms, -jnp.inf))

    sums, largest = blocks.map_anchor_blocks(of_block, num_rows, block_size)
    losses = reductions.safe_divide(
        sums.reshape(-1)[:num_rows], anchors.num_positives[:, level]
    )
    mean = reductions.masked_mean(losses, anchors.counts[:, level], axis_name=axis_name)
    largest = jnp.max(collectives.all_gather_rows(largest, axis_name))
    return mean, largest if least is None else jnp.maximum(largest, least)
