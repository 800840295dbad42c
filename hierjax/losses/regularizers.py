r"""Terms that pull the distances between classes towards those of the tree.

They add to any loss. Shapes: B rows on this device, N on all, D dimensions, C classes,
G groups of which a row may be in K at once.
"""

import jax
import jax.numpy as jnp
from jax import lax

from hierjax import collectives, distances, masks, reductions
from hierjax.losses import checks

CLASS_DISTANCES = ("euclidean", "poincare", "sliced")

# Points of the ball stay this far from its edge, where float32 has no digits left.
_RIM = 1e-3


def cpcc(
    embeddings: jax.Array,
    class_ids: jax.Array,
    tree_distance: jax.typing.ArrayLike,
    *,
    distance: str = "euclidean",
    directions: jax.Array | None = None,
    num_quantiles: int = 16,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    r"""Correlation of the distances between a batch's classes with those of the tree.

    .. math:: \mathrm{Pearson}_{i<j} (D_{ij}, \rho(i, j))

    over all pairs of classes in the batch of all devices. Zeng et al. 2023, "Learning
    Structured Representations by Embedding Class Hierarchy" (ICLR); Sinha et al. 2024,
    HypStructure (NeurIPS), for the Poincare distance; OT-CPCC (ICLR 2025) for the
    transport between samples. Not scipy's ``cophenet``, which compares a linkage with
    its own input.

    Args:
      embeddings: ``[B, D]`` of any length, finite where they count.
      class_ids: int ``[B]``, or ``[B, K]`` where a row is in several groups: with the
        numbers of the nodes on its path and distances between all nodes, inner nodes
        have means too, as in HypStructure. -1 is unknown and does not count.
      tree_distance: ``[C, C]`` between the classes, or ``[G, G]`` between the groups.
      distance: rho. ``'euclidean'``: between the means of the classes; ``'poincare'``:
        between the means, put into the unit ball by the exponential map at 0;
        ``'sliced'``: the sliced 2-Wasserstein distance between the classes' samples.
      directions: ``[R, D]`` onto which ``'sliced'`` projects, such as R random unit
        vectors; drawn by the caller, so that nothing here is random.
      num_quantiles: at so many levels ``'sliced'`` compares the quantiles of two
        classes; exact where it is a multiple of the numbers of rows of both.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A float32 scalar in [-1, 1], the same on every device; 0 with gradient 0 where it
      is undefined: fewer than three classes, or distances of one side all equal.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 3.0]])
      >>> ids = np.arange(3)
      >>> f"{losses.cpcc(rows, ids, tree.path_length()):.3f}"
      '1.000'
    """
    correlation, _ = _cpcc(
        embeddings,
        class_ids,
        tree_distance,
        distance=distance,
        directions=directions,
        num_quantiles=num_quantiles,
        where=where,
        axis_name=axis_name,
    )
    return collectives.agreed(correlation, axis_name)


def cpcc_loss(
    embeddings: jax.Array,
    class_ids: jax.Array,
    tree_distance: jax.typing.ArrayLike,
    *,
    distance: str = "euclidean",
    directions: jax.Array | None = None,
    num_quantiles: int = 16,
    centering: jax.typing.ArrayLike = 0.0,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """``1 - cpcc``, and a weight on the length of the mean of all rows.

    Args:
      embeddings: as in `cpcc`.
      class_ids: as in `cpcc`.
      tree_distance: as in `cpcc`.
      distance: as in `cpcc`.
      directions: as in `cpcc`.
      num_quantiles: as in `cpcc`.
      centering: weight, 0 or more; HypStructure has .01.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A float32 scalar, at least 0 up to rounding; without centering 0 with gradient 0
      where `cpcc` is undefined.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> wrong = np.array([[0.0, 0.0], [3.0, 0.0], [0.5, 1.0]])
      >>> f"{losses.cpcc_loss(wrong, np.arange(3), tree.path_length()):.3f}"
      '1.626'
    """
    correlation, defined = _cpcc(
        embeddings,
        class_ids,
        tree_distance,
        distance=distance,
        directions=directions,
        num_quantiles=num_quantiles,
        where=where,
        axis_name=axis_name,
    )
    loss = collectives.agreed(jnp.where(defined, 1 - correlation, 0.0), axis_name)
    if isinstance(centering, int | float) and centering == 0:
        return loss
    valid = checks.valid_rows(where, embeddings.shape[0])
    rows = jnp.where(valid[:, None], embeddings, 0.0).astype(jnp.float32)
    total = collectives.psum(jnp.sum(rows, 0), axis_name)
    count = collectives.psum(jnp.sum(valid.astype(jnp.float32)), axis_name)
    return loss + centering * _norms(reductions.safe_divide(total, count))


def _cpcc(
    embeddings,
    class_ids,
    tree_distance,
    *,
    distance,
    directions,
    num_quantiles,
    where,
    axis_name,
):
    """The correlation and whether it is defined."""
    embeddings = checks.as_floats("embeddings", embeddings, 2).astype(jnp.float32)
    checks.check_option("distance", distance, CLASS_DISTANCES)
    class_ids = jnp.asarray(class_ids)
    if class_ids.ndim == 1:
        class_ids = class_ids[:, None]
    groups = checks.as_labels(class_ids, embeddings.shape[0]).astype(jnp.int32)
    tree_distance = jnp.asarray(tree_distance, jnp.float32)
    if tree_distance.ndim != 2 or tree_distance.shape[0] != tree_distance.shape[1]:
        raise ValueError(f"tree_distance must be [C, C], got {tree_distance.shape}")
    valid = checks.valid_rows(where, embeddings.shape[0])
    groups = jnp.where(valid[:, None], groups, -1)
    # Padding may hold anything, and NaN times 0 is NaN in the gradient.
    rows = jnp.where(valid[:, None], embeddings, 0.0)
    num_memberships = groups.shape[1]
    everyone = collectives.all_gather_rows(groups, axis_name).reshape(-1)
    num_slots = min(tree_distance.shape[0], everyone.shape[0])
    slots = _number_groups(everyone, num_slots)
    # What the group of each slot is; the last slot holds the rows that do not count.
    group_of = jnp.full((num_slots + 1,), -1, jnp.int32).at[slots].set(everyone)
    group_of = group_of[:-1]
    if distance == "sliced":
        if directions is None:
            raise ValueError("the distance 'sliced' needs directions [R, D]")
        directions = checks.as_floats("directions", directions, 2)
        if directions.shape[1] != embeddings.shape[1]:
            raise ValueError(
                f"directions {directions.shape} and embeddings {embeddings.shape} "
                "differ in dimension"
            )
        everything = collectives.all_gather_rows(rows, axis_name)
        everything = jnp.repeat(everything, num_memberships, axis=0)
        points = _quantiles(
            _products(everything, directions), slots, num_slots, num_quantiles
        )
    else:
        start = collectives.axis_index(axis_name) * groups.size
        own = lax.dynamic_slice_in_dim(slots, start, groups.size)
        repeated = jnp.repeat(rows, num_memberships, axis=0)
        sums, counts = collectives.psum(
            tuple(
                jax.ops.segment_sum(x, own, num_slots + 1)[:-1]
                for x in (repeated, jnp.ones((groups.size,)))
            ),
            axis_name,
        )
        points = reductions.safe_divide(sums, counts[:, None])
    if distance == "poincare":
        apart = poincare_distances(into_ball(points))
    else:
        # From their middle, or the squares of far points would swallow the distances.
        present = (group_of >= 0)[:, None].astype(jnp.float32)
        middle = reductions.safe_divide(jnp.sum(points * present, 0), jnp.sum(present))
        points = (points - lax.stop_gradient(middle)[None, :]) * present
        apart = distances.pairwise_distances(points, points, distance="euclidean")
    pairs = (group_of[:, None] >= 0) & (group_of[None, :] >= 0)
    pairs &= jnp.arange(num_slots)[:, None] < jnp.arange(num_slots)[None, :]
    known = jnp.maximum(group_of, 0)
    targets = tree_distance[known[:, None], known[None, :]]
    return _pearson(targets, apart, pairs)


def _number_groups(groups: jax.Array, num_slots: int) -> jax.Array:
    """Distinct groups as 0, 1, ...; ``num_slots`` where the group is -1."""
    if num_slots < groups.shape[0]:
        return jnp.where(groups >= 0, groups, num_slots)
    numbers = masks.path_ids(groups[:, None])[:, 0]
    return jnp.where(numbers >= 0, numbers, num_slots)


def _products(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST)


def _quantiles(
    projected: jax.Array, slots: jax.Array, num_slots: int, num_quantiles: int
) -> jax.Array:
    """Quantiles of each group's projections, scaled to the Wasserstein distance.

    Args:
      projected: ``[n, R]``.
      slots: ``[n]`` in 0..num_slots, the last for rows that do not count.
      num_slots: number of groups.
      num_quantiles: Q, levels (q + 1/2) / Q.

    Returns:
      ``[num_slots, R * Q]``; 0 for a group without rows.
    """
    counts = jax.ops.segment_sum(jnp.ones_like(slots), slots, num_slots + 1)[:-1]
    starts = jnp.cumsum(counts) - counts
    levels = (jnp.arange(num_quantiles) + 0.5) / num_quantiles
    # The smallest value that this part of the group is not above.
    place = jnp.floor(levels[None, :] * counts[:, None]).astype(jnp.int32)
    place = jnp.clip(place, 0, jnp.maximum(counts - 1, 0)[:, None]) + starts[:, None]
    place = jnp.minimum(place, slots.shape[0] - 1)

    def of_direction(values):
        order = jnp.lexsort((lax.stop_gradient(values), slots))
        return values[order][place]

    quantiles = jax.vmap(of_direction, in_axes=1, out_axes=1)(projected)
    quantiles = jnp.where((counts > 0)[:, None, None], quantiles, 0.0)
    scale = jnp.sqrt(jnp.float32(projected.shape[1] * num_quantiles))
    return quantiles.reshape(num_slots, -1) / scale


def into_ball(rows: jax.Array) -> jax.Array:
    """Exponential map at 0 of the Poincare ball of curvature -1: ``[..., D]``.

    A row of length r goes to length ``tanh(r)``, at most .999, which rows from length
    3.8 on reach; those get no gradient along their direction.

    Examples:
      >>> import numpy as np
      >>> from hierjax.losses import regularizers
      >>> np.asarray(regularizers.into_ball(np.array([[0.0, 1.0]]))).round(3)
      array([[0.   , 0.762]], dtype=float32)
    """
    rows = jnp.asarray(rows, jnp.float32)
    lengths = jnp.minimum(jnp.tanh(_norms(rows)), 1 - _RIM)
    return distances.unit_normalize(rows) * lengths[..., None]


def poincare_distances(points: jax.Array) -> jax.Array:
    r"""Distances between points of the Poincare ball.

    .. math:: \mathrm{arcosh}(1 + 2 |x - y|^2 / ((1 - |x|^2) (1 - |y|^2)))

    Args:
      points: ``[N, D]`` of length below 1.

    Returns:
      float32 ``[N, N]``; the gradient of a distance of 0 is 0.

    Examples:
      >>> import numpy as np
      >>> from hierjax.losses import regularizers
      >>> points = regularizers.into_ball(np.array([[0.0, 0.0], [0.0, 1.0]]))
      >>> np.asarray(regularizers.poincare_distances(points)).round(3)
      array([[0., 2.],
             [2., 0.]], dtype=float32)
    """
    squared = distances.pairwise_distances(points, points, distance="sqeuclidean")
    room = 1 - jnp.sum(jnp.square(points), -1)
    excess = 2 * squared / (room[:, None] * room[None, :])
    # arcosh(1 + e) = log1p(e + sqrt(e (e + 2))), whose root has no slope at 0.
    zero = excess <= 0
    safe = jnp.where(zero, 1.0, excess)
    return jnp.where(zero, 0.0, jnp.log1p(safe + jnp.sqrt(safe * (safe + 2))))


def _norms(rows: jax.Array) -> jax.Array:
    """Lengths of rows ``[..., D]``, gradient 0 at 0."""
    zeros = jnp.zeros_like(rows)
    return distances.paired_distances(rows, zeros, distance="euclidean")


def _pearson(
    x: jax.Array, y: jax.Array, where: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Correlation where true, 0 if it is undefined, and whether it is defined."""
    count = jnp.sum(where.astype(jnp.float32))

    def centred(values):
        values = jnp.where(where, values, 0.0)
        mean = reductions.safe_divide(jnp.sum(values), count)
        return jnp.where(where, values - mean, 0.0), jnp.abs(mean)

    (x, size_x), (y, size_y) = centred(x), centred(y)
    spread_x, spread_y = (jnp.sum(jnp.square(v)) for v in (x, y))
    # Equal values differ from their rounded mean in the last digits.
    noise = jnp.square(1e-6 * jnp.stack([size_x, size_y])) * count
    defined = (count > 1) & (spread_x > noise[0]) & (spread_y > noise[1])
    root_x, root_y = (
        jnp.sqrt(jnp.where(defined, v, 1.0)) for v in (spread_x, spread_y)
    )
    correlation = jnp.sum((x / root_x) * (y / root_y))
    return jnp.where(defined, correlation, 0.0), defined
