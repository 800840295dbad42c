r"""HAPPIER: the hierarchical average precision, made smooth.

Shapes: B rows on this device, N on all, D dimensions, L levels with 0 the coarsest.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from hierjax import collectives, masks, reductions
from hierjax.losses import blocks, checks


def hap_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    temperature: jax.typing.ArrayLike = 0.01,
    alpha: jax.typing.ArrayLike = 1.0,
    balance: bool = True,
    where: jax.Array | None = None,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> jax.Array:
    r"""One minus the smooth hierarchical average precision of every row as a query.

    .. math::
      1 - \frac{1}{\sum_k r_k} \sum_{k : r_k > 0}
        \frac{r_k + \sum_{j \ne k} h_{jk} \min(r_j, r_k)}{1 + \sum_{j \ne k} h_{jk}},
      \quad h_{jk} = \sigma((s_j - s_k) / T)

    Ramzi et al. 2022, "Hierarchical Average Precision Training for Pertinent Image
    Retrieval" (HAPPIER, ECCV). A row that shares l of the L levels with the query has
    the relevance ``(l / L)^alpha``, divided by the number of such rows if ``balance``.
    As T goes to 0 the loss becomes one minus the exact measure. The paper's surrogate
    of the rank grows linearly where a row is ranked too high, and it adds a clustering
    term; here the sigmoid stands alone.

    Args:
      embeddings: ``[B, D]`` unit vectors.
      labels: int ``[B, L]``, -1 unknown and a suffix. Two rows are left out of each
        other's ranking if one path ends without contradicting the other, so that how
        many levels they share is not known.
      temperature: T, positive.
      alpha: positive; the larger, the less coarse agreement is worth.
      balance: every level is worth the same whatever the number of its rows.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.
      block_size: queries at a time; memory O(block_size N), time O(B N^2) always.

    Returns:
      A float32 scalar in [0, 1]: the mean over the queries with anything relevant; 0
      without one.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> labels = tree.labels_of([0, 0, 1, 2])
      >>> angles = np.array([0.0, 0.1, 0.4, 2.0])
      >>> rows = np.stack([np.cos(angles), np.sin(angles)], 1)
      >>> f"{losses.hap_loss(rows, labels, temperature=1e-3):.3f}"
      '0.000'
      >>> f"{losses.hap_loss(rows[::-1], labels, temperature=1e-3):.3f}"
      '0.250'
    """
    embeddings = checks.as_floats("embeddings", embeddings, 2).astype(jnp.float32)
    num_rows = embeddings.shape[0]
    labels = checks.as_labels(labels, num_rows)
    num_levels = labels.shape[1]
    if num_levels < 1:
        raise ValueError(f"labels must have at least one level, got {labels.shape}")
    checks.check_positive("temperature", temperature)
    checks.check_positive("alpha", alpha)
    where = checks.valid_rows(where, num_rows)
    # Padding may hold anything, and NaN times 0 is NaN in the gradient.
    embeddings = jnp.where(where[:, None], embeddings, 0.0)
    keys = collectives.all_gather_rows(embeddings, axis_name)
    key_labels = collectives.all_gather_rows(labels, axis_name)
    key_where = collectives.all_gather_rows(where, axis_name)
    offset = collectives.axis_index(axis_name) * num_rows
    columns = jnp.arange(keys.shape[0], dtype=jnp.int32)

    def of_block(queries, valid):
        s = jnp.matmul(embeddings[queries], keys.T, precision=lax.Precision.HIGHEST)
        ranked = (valid & where[queries])[:, None] & key_where[None, :]
        ranked &= (queries + offset)[:, None] != columns[None, :]
        shared = masks.shared_levels(labels[queries], key_labels)
        known = jnp.minimum(
            masks.known_levels(labels[queries])[:, None],
            masks.known_levels(key_labels)[None, :],
        )
        ranked &= (shared < known) | (known == num_levels)
        relevance = (shared / num_levels) ** alpha
        relevance = jnp.where(ranked & (shared > 0), relevance, 0.0)
        if balance:
            sizes = sum(
                jnp.where(
                    shared == level,
                    jnp.sum(ranked & (shared == level), 1, keepdims=True),
                    0,
                )
                for level in range(1, num_levels + 1)
            )
            relevance = reductions.safe_divide(relevance, sizes)
        total = jnp.sum(relevance, 1)
        of_key = functools.partial(_of_key, s / temperature, relevance, ranked)
        terms = blocks.map_anchor_blocks(of_key, keys.shape[0], 1)
        precision = reductions.safe_divide(jnp.sum(terms, 0), total)
        return 1 - precision, total > 0

    losses, counts = blocks.map_anchor_blocks(of_block, num_rows, block_size)
    return reductions.masked_mean(losses, counts, axis_name=axis_name)


def _of_key(
    s: jax.Array,
    relevance: jax.Array,
    ranked: jax.Array,
    keys: jax.Array,
    valid: jax.Array,
) -> jax.Array:
    """What one key adds to the precision of every query ``[b]``, times their totals."""
    del valid  # Blocks of one are never filled up.
    key = keys[0]
    ahead = jax.nn.sigmoid(s - s[:, key, None])
    ahead = jnp.where(ranked & (jnp.arange(s.shape[1]) != key)[None, :], ahead, 0.0)
    own = relevance[:, key]
    earned = own + jnp.sum(ahead * jnp.minimum(relevance, own[:, None]), 1)
    return jnp.where(own > 0, earned / (1 + jnp.sum(ahead, 1)), 0.0)
