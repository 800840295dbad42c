"""Hinge losses on tuples: one anchor and one partner at every tree distance."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from hierjax import distances, reductions
from hierjax.losses import checks


def hierarchical_tuplet_loss(
    anchor: jax.Array,
    others: jax.Array,
    *,
    margins: jax.Array | Sequence[float],
    distance: str = "sqeuclidean",
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    r"""Hinges that keep partners in the order of their tree distance.

    .. math::
      \frac{1}{B} \sum_i \sum_{l=1}^{L}
      \max(0, d(a_i, o_{i,l-1}) - d(a_i, o_{i,l}) + m_l)

    The quadruplet loss is the case ``L = 2``. A triplet loss is ``L = 1``.

    Args:
      anchor: ``[B, D]`` embeddings; unit vectors by convention.
      others: ``[B, L+1, D]`` partners, ordered from the same leaf as the anchor to
        nothing shared with it.
      margins: ``[L]`` positive margins in the order of ``others``: the first separates
        the same leaf from its siblings, the last the coarsest level.
      distance: ``'sqeuclidean'``, ``'euclidean'`` or ``'cosine'``.
      where: ``[B]`` bool, False = padding.
      axis_name: mapped axis over which the mean is taken; None: this is the batch.

    Returns:
      Scalar mean over valid tuples of the sum of the hinges; 0 if none is valid. At a
      hinge of exactly 0 the gradient is 0.

    Examples:
      >>> import jax.numpy as jnp
      >>> anchor, others = jnp.array([[0.0]]), jnp.array([[[1.0], [2.0], [2.5]]])
      >>> options = {"margins": [0.5, 1.0], "distance": "euclidean"}
      >>> loss = hierarchical_tuplet_loss(anchor, others, **options)
      >>> print(loss)  # 0 + (2 - 2.5 + 1)
      0.5

    References:
      Jati et al., `Hierarchy-aware Loss Function on a Tree Structured Label Space for
      Audio Event Detection <https://doi.org/10.1109/ICASSP.2019.8682341>`_, 2019.
    """
    anchor = checks.as_floats("anchor", anchor, 2)
    others = checks.as_floats("others", others, 3)
    margins = jnp.asarray(margins, jnp.float32)
    if others.shape[0] != anchor.shape[0] or margins.shape != (others.shape[1] - 1,):
        raise ValueError(
            f"expected others [B, L+1, D] and margins [L] for anchor [B, D], got "
            f"anchor {anchor.shape}, others {others.shape}, margins {margins.shape}"
        )
    where = checks.valid_rows(where, anchor.shape[0])
    anchor, others = (checks.without_padding(x, where) for x in (anchor, others))
    d = distances.paired_distances(anchor[:, None, :], others, distance=distance)
    hinges = jax.nn.relu(d[:, :-1] - d[:, 1:] + margins[None, :])
    return reductions.masked_mean(jnp.sum(hinges, -1), where, axis_name=axis_name)


def quadruplet_loss(
    anchor: jax.Array,
    positive: jax.Array,
    semi_positive: jax.Array,
    negative: jax.Array,
    *,
    margin_outer: float,
    margin_inner: float,
    distance: str = "sqeuclidean",
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    r"""Hierarchical quadruplet loss for trees of two levels.

    .. math::
      \max(0, d(a, p^+) - d(a, p^-) + \alpha - \beta)
      + \max(0, d(a, p^-) - d(a, n) + \beta)

    Args:
      anchor: ``[B, D]`` embeddings; unit vectors by convention.
      positive: ``[B, D]``, the anchor's leaf.
      semi_positive: ``[B, D]``, the anchor's parent but another leaf.
      negative: ``[B, D]``, another parent.
      margin_outer: alpha of the paper, larger than beta.
      margin_inner: beta of the paper, larger than 0.
      distance: ``'sqeuclidean'``, ``'euclidean'`` or ``'cosine'``.
      where: ``[B]`` bool, False = padding.
      axis_name: mapped axis over which the mean is taken; None: this is the batch.

    Returns:
      Scalar mean over valid quadruplets; 0 if none is valid.

    Raises:
      ValueError: unless ``margin_outer > margin_inner > 0`` (checked where the margins
        are plain numbers).

    Examples:
      >>> import jax.numpy as jnp
      >>> rows = [jnp.array([[x]]) for x in (0.0, 0.5, 1.0, 1.5)]
      >>> print(quadruplet_loss(*rows, margin_outer=2.0, margin_inner=0.5))
      0.75

    References:
      Jati et al. 2019, see `hierarchical_tuplet_loss`; the published margins are
      unknown. The published code's cosine form pairs every anchor with every positive;
      here each anchor meets its own.
    """
    if not isinstance(margin_outer + margin_inner, jax.core.Tracer) and not (
        margin_outer > margin_inner > 0
    ):
        raise ValueError(
            "quadruplet margins must satisfy margin_outer > margin_inner > 0, got "
            f"{margin_outer} and {margin_inner}"
        )
    return hierarchical_tuplet_loss(
        anchor,
        jnp.stack([positive, semi_positive, negative], axis=1),
        margins=jnp.stack(
            [
                jnp.float32(margin_outer) - jnp.float32(margin_inner),
                jnp.float32(margin_inner),
            ]
        ),
        distance=distance,
        where=where,
        axis_name=axis_name,
    )
