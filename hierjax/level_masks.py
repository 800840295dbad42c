"""Soft and fixed masks of an embedding's dimensions, one per hierarchy level.

A-HMLC (Ott et al., arXiv 2510.00837) weighs the dimensions of an embedding by attention
scores, one head per level, before rows are contrasted at that level. Of the paper's
method no equation is available:

* certain: one attention head per level, whose soft scores multiply the embedding;
* unknown: score function, normalisation, regularisers;
* proposed (ours): linear heads, the three normalisations, their scale (heads of zeros
  give masks of exactly one, so that training starts as without masks), both penalties.

The hard masks of G-HMLC are in `mixtures`. Masks are ``[B, V, L, D]`` or, shared by all
rows, ``[L, D]``; levels count from 0 = coarsest.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hierjax import distances, reductions

ACTIVATIONS = ("softmax", "sigmoid", "softmax_levels")


def fixed_level_masks(num_levels: int, dim: int) -> jax.Array:
    """Control without learning: dimensions in equal consecutive shares.

    Args:
      num_levels: L.
      dim: D, at least L. The first D mod L levels get one dimension more.

    Returns:
      float32 ``[L, D]`` of 0 and 1, disjoint, adding up to one.
    """
    if not 1 <= num_levels <= dim:
        raise ValueError(
            f"masks need at least one level and one dimension a level, got "
            f"{num_levels} levels and {dim} dimensions"
        )
    parts = np.array_split(np.arange(dim), num_levels)
    return jnp.asarray([np.isin(np.arange(dim), part) for part in parts], jnp.float32)


def attention_level_masks(
    embeddings: jax.Array,
    weights: jax.Array,
    biases: jax.Array,
    *,
    activation: str = "softmax",
    temperature: float | jax.Array = 1.0,
    where: jax.Array | None = None,
) -> jax.Array:
    r"""Soft masks from one linear head per level.

    With the scores :math:`a_h = (W_h z + b_h) / T` of the unit embedding z,

    .. math::
      M_{hd} = D \, \mathrm{softmax}_d(a_h), \qquad
      M_{hd} = 2 \, \mathrm{sigmoid}(a_{hd}), \qquad
      M_{hd} = L \, \mathrm{softmax}_h(a_{\cdot d})

    Heads are independent in the first two, so levels may share dimensions; in the third
    levels compete for each dimension. Certain of the published method is only that each
    level has a head whose soft scores are the mask; the formulas are proposed (ours).

    Args:
      embeddings: ``[B, V, D]`` views of any length, normalised here.
      weights: ``[L, D, D]``: ``W_h[d, e]`` is what entry e adds to the score of
        dimension d.
      biases: ``[L, D]``.
      activation: ``'softmax'`` over dimensions, ``'sigmoid'``, or ``'softmax_levels'``.
      temperature: positive T.
      where: ``[B]`` bool, False = padding, taken for zero rows.

    Returns:
      float32 ``[B, V, L, D]``, all exactly 1 where weights and biases are 0. Gradients
      flow to the embeddings, the weights and the biases.

    References:
      Ott et al., `arXiv 2510.00837 <https://arxiv.org/abs/2510.00837>`_, 2025.
    """
    embeddings = jnp.asarray(embeddings)
    weights, biases = jnp.asarray(weights), jnp.asarray(biases)
    if embeddings.ndim != 3 or not jnp.issubdtype(embeddings.dtype, jnp.floating):
        raise ValueError(
            f"embeddings must be a float array [B, V, D], got {embeddings.dtype} "
            f"{embeddings.shape}"
        )
    dim = embeddings.shape[-1]
    if weights.shape[1:] != (dim, dim) or biases.shape != weights.shape[:2]:
        raise ValueError(
            f"expected weights [L, D, D] and biases [L, D] for embeddings "
            f"{embeddings.shape}, got {weights.shape} and {biases.shape}"
        )
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}, accepted are {ACTIVATIONS}")
    if where is not None:
        embeddings = jnp.where(where[:, None, None], embeddings, 0.0)
    units = distances.unit_normalize(embeddings.astype(jnp.float32))
    scores = jnp.einsum(
        "bve,lde->bvld",
        units,
        weights.astype(jnp.float32),
        precision=lax.Precision.HIGHEST,
    )
    scores = (scores + biases.astype(jnp.float32)[None, None]) / temperature
    if activation == "sigmoid":
        return 2.0 * jax.nn.sigmoid(scores)
    axis = -1 if activation == "softmax" else -2
    powers = jnp.exp(scores - lax.stop_gradient(jnp.max(scores, axis, keepdims=True)))
    # Scaled before it is multiplied: D / D is 1, but (1 / D) D need not be.
    return powers * (scores.shape[axis] / jnp.sum(powers, axis, keepdims=True))


def mask_overlap(
    masks: jax.Array,
    *,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    r"""How much levels share dimensions: :math:`\sum_{h<g} \langle M_h, M_g\rangle/D`.

    A measure, or a penalty to add to a loss; proposed (ours).

    Args:
      masks: ``[B, V, L, D]``, or ``[L, D]`` shared by all rows.
      where: ``[B]`` bool, False = padding; shared masks do not depend on it.
      axis_name: mapped axis over which the mean over rows is taken.

    Returns:
      float32 scalar, mean over valid rows and their views, 0 if none is valid: 0 for
      disjoint masks, ``L (L - 1) / 2`` for masks of ones.
    """
    masks, valid = _rows_of_masks(masks, where)
    coarser = jnp.cumsum(masks, 1)[:, :-1]
    values = jnp.sum(coarser * masks[:, 1:], (1, 2)) / masks.shape[-1]
    return reductions.masked_mean(values, valid, axis_name=axis_name)


def mask_entropy(
    masks: jax.Array,
    *,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    r"""Mean entropy, in nats, of the masks taken as distributions over dimensions.

    Masks are divided by their sum over dimensions. A measure, or a term to add to a
    loss; proposed (ours).

    Args:
      masks: ``[B, V, L, D]``, or ``[L, D]`` shared by all rows; not negative.
      where: ``[B]`` bool, False = padding; shared masks do not depend on it.
      axis_name: mapped axis over which the mean over rows is taken.

    Returns:
      float32 scalar, mean over levels, valid rows and their views, 0 if none is valid:
      ``log D`` for masks of ones; a mask of zeros counts as 0.
    """
    masks, valid = _rows_of_masks(masks, where)
    shares = reductions.safe_divide(masks, jnp.sum(masks, -1, keepdims=True))
    logs = jnp.log(jnp.where(shares > 0, shares, 1.0))
    values = -jnp.mean(jnp.sum(shares * logs, -1), -1)
    return reductions.masked_mean(values, valid, axis_name=axis_name)


def _rows_of_masks(
    masks: jax.Array, where: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Masks as float32 ``[R, L, D]`` and validity ``[R]``; one row if shared."""
    masks = jnp.asarray(masks)
    if masks.ndim not in (2, 4):
        raise ValueError(f"masks must be [B, V, L, D] or [L, D], got {masks.shape}")
    rows = masks.reshape(-1, *masks.shape[-2:]).astype(jnp.float32)
    if where is None or masks.ndim == 2:
        return rows, jnp.ones(rows.shape[:1], bool)
    where = jnp.asarray(where)
    if where.shape != masks.shape[:1]:
        raise ValueError(f"where must have shape {masks.shape[:1]}, got {where.shape}")
    # Padding may hold anything, and NaN times 0 is NaN in the gradient.
    valid = jnp.broadcast_to(where[:, None], masks.shape[:2]).reshape(-1).astype(bool)
    return jnp.where(valid[:, None, None], rows, 0.0), valid
