"""Triplet loss over all triplets that the label tree orders."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hierjax import collectives, distances, masks, reductions
from hierjax.losses import blocks, checks


def _hinge_sums(
    d: jax.Array, positive: jax.Array, negative: jax.Array, margin: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Sum over all positives j and negatives k of ``max(0, d_ij - d_ik + margin)``.

    A sort a row replaces the cube of triplets: a positive's hinge is active against the
    negatives strictly below ``d_ij + margin``, so the sum is linear in the distances
    with integer coefficients that carry no gradient.

    Args:
      d: ``[b, N]`` distances of the anchors.
      positive: ``[b, N]`` mask of positives.
      negative: ``[b, N]`` mask of negatives.
      margin: scalar.

    Returns:
      ``[b]`` sums and ``[b]`` numbers of active triplets (float32).
    """
    fixed = lax.stop_gradient(d)
    # The bits are sorted because XLA's CPU sort takes six times as long for floats.
    bits = reductions.sortable_bits(fixed)
    ordered = jnp.sort(jnp.where(negative, bits, np.iinfo(np.int32).max), axis=-1)
    reach = jnp.where(positive, reductions.sortable_bits(fixed + margin), bits)
    # How many negatives lie strictly below a positive's reach or a negative itself.
    place = jax.vmap(functools.partial(jnp.searchsorted, method="scan"))(ordered, reach)
    rows = jnp.arange(d.shape[0])[:, None]
    at_place = jnp.zeros((d.shape[0], d.shape[1] + 1), jnp.int32)
    at_place = at_place.at[rows, place].add(positive.astype(jnp.int32))
    # A positive reaches beyond a negative exactly if its place is the later one.
    up_to_place = jnp.cumsum(at_place, axis=-1)
    beyond = up_to_place[:, -1:] - jnp.take_along_axis(up_to_place, place, axis=-1)
    below = jnp.where(positive, place, 0).astype(jnp.float32)
    above = jnp.where(negative, beyond, 0).astype(jnp.float32)
    active = jnp.sum(below, -1)
    # The two sums are large and nearly equal; measured from the mean of the row they
    # lose no digits, and the offset cancels because both have `active` terms. Rows that
    # take no part, padding above all, may be far off and must not move the mean.
    used = (positive | negative).astype(jnp.float32)
    mean = reductions.safe_divide(jnp.sum(fixed * used, -1), jnp.sum(used, -1))
    centred = d - mean[:, None]
    sums = jnp.sum(below * centred, -1) - jnp.sum(above * centred, -1) + active * margin
    return sums, active


def hierarchical_triplet_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    margins: jax.Array | Sequence[float],
    average: str = "active",
    distance: str = "euclidean",
    where: jax.Array | None = None,
    axis_name: str | None = None,
    block_size: int | None = None,
) -> jax.Array:
    r"""Mean hinge over all triplets (i, j, k) with lca(i, j) deeper than lca(i, k).

    .. math::
      \max(0, d_{ij} - d_{ik} + m_{l(i,k)})

    where ``l(i, k)`` is the first level at which ``i`` and ``k`` differ. With one level
    this is the triplet loss over all triplets of a batch.

    Args:
      embeddings: ``[B, D]``, unit vectors by convention; never normalised here.
      labels: ``int [B, L]``, level 0 coarsest, -1 unknown. A triplet counts where
        (i, j) are known to agree and (i, k) are known to differ at the level in
        question.
      margins: ``[L]`` margins, one for each level at which the negative separates from
        the anchor, coarsest first.
      average: ``'active'`` divides by the number of triplets with a positive hinge,
        ``'valid'`` by the number of all triplets.
      distance: ``'euclidean'``, ``'sqeuclidean'`` or ``'cosine'``.
      where: ``[B]`` bool, False = padding.
      axis_name: mapped axis; the rows of all its devices are one batch.
      block_size: anchors at a time; memory O(block_size x N) instead of O(B x N).

    Returns:
      Scalar; 0 with gradient 0 if there is no such triplet. Cost O(L B N log N): one
      sort a row and level, no array of B x B x B.

    Examples:
      >>> import jax.numpy as jnp
      >>> line = jnp.array([[0.0], [1.0], [3.0]])
      >>> labels = jnp.array([[0], [0], [1]])
      >>> loss = hierarchical_triplet_loss(line, labels, margins=[2.5])
      >>> print(loss)  # 1 - 3 + 2.5 from the first row, 1 - 2 + 2.5 from the second
      1.0
    """
    embeddings = checks.as_floats("embeddings", embeddings, 2)
    labels = checks.as_labels(labels, embeddings.shape[0])
    checks.check_option("average", average, ("active", "valid"))
    margins = jnp.asarray(margins, jnp.float32)
    num_levels = labels.shape[1]
    if margins.shape != (num_levels,):
        raise ValueError(
            f"margins must have one value a level, ({num_levels},), got {margins.shape}"
        )
    num_rows = embeddings.shape[0]
    where = checks.valid_rows(where, num_rows)
    embeddings = checks.without_padding(embeddings, where)
    all_embeddings = distances.slice_rows(
        collectives.all_gather_rows(embeddings, axis_name)
    )
    all_labels = collectives.all_gather_rows(labels, axis_name)
    all_where = collectives.all_gather_rows(where, axis_name)
    columns = jnp.arange(all_labels.shape[0], dtype=jnp.int32)
    offset = collectives.axis_index(axis_name) * num_rows

    def block_sums(anchors, valid):
        # Which hinges are active must not depend on blocks or devices.
        d = distances.reproducible_distances(
            jax.tree.map(lambda x: x[anchors + offset], all_embeddings),
            all_embeddings,
            distance=distance,
        )
        pair = (valid & where[anchors])[:, None] & all_where[None, :]
        pair &= (anchors + offset)[:, None] != columns[None, :]
        shared = masks.shared_levels(labels[anchors], all_labels)
        known = jnp.minimum(
            masks.known_levels(labels[anchors])[:, None],
            masks.known_levels(all_labels)[None, :],
        )
        total, active, num_valid = jnp.zeros((3,))
        for level in range(num_levels):
            positive = pair & (shared > level)
            negative = pair & (shared == level) & (known > level)
            sums, counts = _hinge_sums(d, positive, negative, margins[level])
            total += jnp.sum(sums)
            active += jnp.sum(counts)
            num_valid += jnp.sum(
                jnp.sum(positive, -1).astype(jnp.float32)
                * jnp.sum(negative, -1).astype(jnp.float32)
            )
        return total, active, num_valid

    sums = blocks.map_anchor_blocks(block_sums, num_rows, block_size)
    total, active, num_valid = (collectives.psum(jnp.sum(x), axis_name) for x in sums)
    return reductions.safe_divide(total, active if average == "active" else num_valid)
