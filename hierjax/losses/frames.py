r"""Classifiers whose class directions are fixed by the tree before training.

HAFrame puts the classes' unit vectors at angles that follow the tree; Hier-COS gives
every node of the tree an axis of its own and a class the space of its path.

Shapes: B rows on this device, C classes, D dimensions, L levels, M nodes of all levels
as `hierjax.level_nodes` numbers them.
"""

import jax
import jax.numpy as jnp
import numpy as np

from hierjax import distances, reductions
from hierjax.errors import UserError
from hierjax.level_nodes import level_nodes
from hierjax.losses import checks, tree_batch


def frame_similarity(tree_distance: np.ndarray, *, gamma: float = 2.0) -> np.ndarray:
    r"""Cosines that the classes' directions of HAFrame should have.

    .. math:: S = (1 - s) \, e^{-\gamma D / \max D} + s

    with the smallest s in [-1, 0] for which directions with these cosines exist. Liang
    and Davis 2023, "Inducing Neural Collapse to a Fixed Hierarchy-Aware Frame" (ICCV);
    they try the numbers of a grid from -1 to -1/(C-1), while here s comes from
    ``-1 / (1^T E^-1 1 - 1)`` with E the exponential, to which the grid converges.

    Args:
      tree_distance: ``[C, C]`` of a tree; as published `Hierarchy.lca_height`.
      gamma: positive; the larger, the nearer are the directions to equal angles.

    Returns:
      float64 ``[C, C]``, 1 on the diagonal, the smaller the farther in the tree; its
      smallest eigenvalue is 0 to rounding unless s is -1.

    Raises:
      UserError: fewer than two classes, distances that are not positive off the
        diagonal, or that no directions have.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> losses.frame_similarity(tree.lca_height(), gamma=2.0).round(3)
      array([[ 1.   , -0.195, -0.634],
             [-0.195,  1.   , -0.634],
             [-0.634, -0.634,  1.   ]])
    """
    distance = np.asarray(tree_distance, np.float64)
    if distance.ndim != 2 or distance.shape[0] != distance.shape[1]:
        raise UserError(f"tree distances must be [C, C], found {distance.shape}")
    num_classes = len(distance)
    if num_classes < 2:
        raise UserError(f"a frame needs at least two classes, found {num_classes}")
    if not gamma > 0:
        raise UserError(f"gamma must be positive, found {gamma}")
    apart = distance[~np.eye(num_classes, dtype=bool)]
    if not (apart > 0).all() or not np.array_equal(distance, distance.T):
        raise UserError(
            "tree distances must be symmetric, and positive between different classes"
        )
    near = np.exp(-gamma * distance / distance.max())
    values, vectors = np.linalg.eigh(near)
    if values[0] <= 0:
        raise UserError(
            f"no directions follow these distances with gamma {gamma}: take the "
            "distances of a tree, or a larger gamma"
        )
    weight = np.sum(vectors.sum(axis=0) ** 2 / values)
    shift = max(-1.0, -1 / (weight - 1))
    return (1 - shift) * near + shift


def haframe(
    similarity: np.ndarray, dim: int, *, key: jax.Array | None = None
) -> jax.Array:
    """Unit vectors with given cosines, turned at random.

    Args:
      similarity: ``[C, C]``, see `frame_similarity`.
      dim: D, at least the rank of the similarity, which is C - 1 or C.
      key: of the rotation; None: key 0.

    Returns:
      float32 ``[C, D]``; ``frame @ frame.T`` is the similarity to rounding.

    Raises:
      UserError: too few dimensions, or cosines that no vectors have.

    Examples:
      >>> import numpy as np
      >>> from hierjax import losses
      >>> cosines = np.array([[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5], [-0.5, -0.5, 1.0]])
      >>> frame = np.asarray(losses.haframe(cosines, 2))
      >>> np.abs(frame @ frame.T - cosines).max() < 1e-6
      np.True_
    """
    values, vectors = np.linalg.eigh(np.asarray(similarity, np.float64))
    if values[0] < -1e-8:
        raise UserError(
            f"no vectors have these cosines: an eigenvalue is {values[0]:.3g}"
        )
    kept = values > 1e-9
    if kept.sum() > dim:
        raise UserError(
            f"{len(values)} classes need {kept.sum()} dimensions in this frame, "
            f"found {dim}"
        )
    rows = vectors[:, kept] * np.sqrt(values[kept])
    key = jax.random.key(0) if key is None else key
    rotation = jax.random.orthogonal(key, dim)[: kept.sum()]
    rows = rows @ np.asarray(rotation, np.float64)
    return jnp.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), jnp.float32)


def haframe_loss(
    embeddings: jax.Array,
    class_ids: jax.Array,
    frame: jax.typing.ArrayLike,
    *,
    mix: jax.typing.ArrayLike = 0.4,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    r"""Cross entropy on a fixed frame, and the frame's cosines to all classes.

    .. math:: (1 - a) \, \mathrm{CE}(W h, y) +
      a \sum_c (\cos(w_c, h) - w_c \cdot w_y)^2

    Liang and Davis 2023, "Inducing Neural Collapse to a Fixed Hierarchy-Aware Frame"
    (ICCV). Class scores are ``softmax_logits(embeddings, frame, 0)``.

    Args:
      embeddings: ``[B, D]``, of any length: the length is the certainty.
      class_ids: int ``[B]``; -1 is unknown and such a row does not count.
      frame: ``[C, D]`` unit rows, `haframe`; it gets no gradient from the targets.
      mix: a in [0, 1]; published .4 on CIFAR-100.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A float32 scalar, 0 if no row counts. A zero row has cosine 0 with everything.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> frame = losses.haframe(losses.frame_similarity(tree.lca_height()), 2)
      >>> ids = np.arange(3)
      >>> short, long = (losses.haframe_loss(k * frame, ids, frame) for k in (1, 9))
      >>> f"{short:.3f} {long:.3f}"  # all cosines are right; longer rows are surer
      '0.227 0.000'
    """
    embeddings = checks.as_floats("embeddings", embeddings, 2).astype(jnp.float32)
    frame = checks.as_floats("frame", frame, 2).astype(jnp.float32)
    if embeddings.shape[1] != frame.shape[1]:
        raise ValueError(
            f"embeddings {embeddings.shape} and frame {frame.shape} differ in dimension"
        )
    class_ids = checks.as_class_ids(class_ids, embeddings.shape[0])
    counts = checks.valid_rows(where, embeddings.shape[0]) & (class_ids >= 0)
    ids = jnp.where(counts, class_ids, 0)
    # Padding may hold anything, and NaN times 0 is NaN in the gradient.
    embeddings = jnp.where(counts[:, None], embeddings, 0.0)
    logits = _products(embeddings, frame)
    own = jnp.take_along_axis(logits, ids[:, None], axis=1)[:, 0]
    entropy = jax.nn.logsumexp(logits, axis=1) - own
    length = distances.paired_distances(
        embeddings, jnp.zeros_like(embeddings), distance="euclidean"
    )
    cosines = reductions.safe_divide(logits, length[:, None])
    fixed = jax.lax.stop_gradient(frame)
    if len(frame) <= len(ids):
        targets = _products(fixed, fixed)[ids]
    else:
        targets = _products(fixed[ids], fixed)
    off = jnp.sum(jnp.square(cosines - targets), 1)
    losses = (1 - mix) * entropy + mix * off
    return reductions.masked_mean(losses, counts, axis_name=axis_name)


def _products(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)


def hier_cos_scores(
    embeddings: jax.Array, ancestors: jax.typing.ArrayLike
) -> jax.Array:
    r"""Length of the part of an embedding that lies on the axes of each class's path.

    .. math:: \sqrt{\sum_{v \in \mathrm{path}(c)} x_v^2}

    Sani and Anand 2026, Hier-COS. The published code multiplies with a projection of
    M x M a class; here the squares are added down the tree.

    Args:
      embeddings: ``[B, M]``, an axis a node.
      ancestors: int ``[C, L]``, concrete.

    Returns:
      float32 ``[B, C]``, at least 0; the gradient of a score of 0 is 0.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> x = np.array([[3.0, 0.0, -4.0, 0.0, 1.0]])  # on a, b, a1, a2, b1
      >>> np.asarray(losses.hier_cos_scores(x, tree.ancestors))
      array([[5., 3., 1.]], dtype=float32)
    """
    nodes = level_nodes(ancestors)
    squares = jnp.square(tree_batch.check_logits(embeddings, nodes.num_nodes)).T
    total = squares[nodes.slice_of(0)]
    for level in range(1, nodes.num_levels):
        above = total[nodes.parents_in_level(level)]
        total = above + squares[nodes.slice_of(level)]
    zero = total == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, total))).T


def hier_cos_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    ancestors: jax.typing.ArrayLike,
    *,
    alpha: jax.typing.ArrayLike = 0.05,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    r"""Hier-COS: the axes of the path hold the embedding, finer ones more of it.

    .. math:: \mathrm{KL}(P \| \mathrm{softmax} |x|) + \alpha \sum_l
      \| \mathrm{onehot}(y_l) - |x_l| / \|x_l\|_2 \|_1

    where P puts a mass proportional to ``exp(1 / (L - l))^2`` on the node of level
    l = 0..L-1 of the path and ``x_l`` are the axes of level l. Sani and Anand 2026
    (CVPR). A class that ends early keeps an axis on every level, as labels do.

    Args:
      embeddings: ``[B, M]``, an axis a node.
      labels: int ``[B, L]``, -1 unknown and a suffix: P is then shared among the known
        levels in the same proportions, and the sum goes over these levels. A row of
        which nothing is known does not count.
      ancestors: int ``[C, L]``, concrete.
      alpha: 0 or more; published .05 on CIFAR-100.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A float32 scalar, at least 0 up to rounding; 0 if no row counts.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> on_its_path = np.array([[6.0, 0.0, 7.5, 0.0, 0.0]])
      >>> for name in ("a1", "a2", "b1"):
      ...     labels = tree.encode([[name[0], name]])
      ...     print(f"{losses.hier_cos_loss(on_its_path, labels, tree.ancestors):.3f}")
      0.024
      5.607
      7.321
    """
    nodes = level_nodes(ancestors)
    batch = tree_batch.TreeBatch(embeddings, labels, where, nodes, nodes.num_nodes)
    sizes = jnp.abs(batch.logits)
    known = batch.labels >= 0
    mass = jnp.exp(2 / (nodes.num_levels - jnp.arange(nodes.num_levels)))
    mass = jnp.where(known, mass[None, :], 0.0)
    mass = reductions.safe_divide(mass, jnp.sum(mass, 1, keepdims=True))
    log_mass = jnp.log(jnp.where(known, mass, 1.0))
    log_probs = batch.take_path(jax.nn.log_softmax(sizes, axis=1))
    losses = jnp.sum(mass * (log_mass - log_probs), 1)
    for level in range(nodes.num_levels):
        shares = distances.unit_normalize(sizes[:, nodes.slice_of(level)])
        own = jax.nn.one_hot(batch.labels[:, level], shares.shape[1])
        off = jnp.sum(jnp.abs(own - shares), 1)
        losses += alpha * jnp.where(known[:, level], off, 0.0)
    return reductions.masked_mean(losses, batch.counts, axis_name=axis_name)
