r"""Losses on the log-probabilities of all nodes of the label tree.

The probability of a node is that of all classes below it, ``P_v = sum_j p_j``.
Hierarchical cross entropy, HACE and labels that end at an inner node are all linear in
``log P_v``: of all nodes, `ancestor_log_probs`, or of those on the path of the label.

Shapes: B rows on this device, C classes, L levels with 0 the coarsest, M nodes of all
levels in one row as `hierjax.level_nodes` numbers them: node n of level l at
``offsets[l] + n``, the classes last. ``ancestors [C, L]`` is `Hierarchy.ancestors`, an
array known when the loss is compiled.

Labels are ``[B, L]`` node ids with -1, always a suffix, where nothing is known: a row
is labelled with its deepest known node. A class that ends above level L - 1 repeats
below; its repetitions have the same probability and change no loss. A class that is
itself the ancestor of others counts as one more child of its own node.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hierjax import reductions
from hierjax.level_nodes import LevelNodes, level_nodes
from hierjax.losses import checks, tree_batch


def ancestor_log_probs(logits: jax.Array, ancestors: jax.typing.ArrayLike) -> jax.Array:
    r"""Log-probability of every node of the tree under a softmax over its classes.

    .. math:: \log P_v = \log \sum_{j \in v} e^{z_j} - \log \sum_j e^{z_j}

    From the classes up, the children of a node are added by a log-sum-exp of their own,
    so that a node keeps its digits however unlikely it is. No array is larger than
    ``[B, M]``.

    Args:
      logits: ``[B, C]`` class scores; -inf for a class that cannot be.
      ancestors: int ``[C, L]``, concrete.

    Returns:
      ``[B, M]`` float32, at most 0 up to rounding; -inf where all classes of a node
      are.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> logits = np.log([[0.5, 0.2, 0.3]])
      >>> np.exp(losses.ancestor_log_probs(logits, tree.ancestors)).round(3)
      array([[0.7, 0.3, 0.5, 0.2, 0.3]], dtype=float32)
    """
    nodes = level_nodes(ancestors)
    return _ancestor_log_probs(
        tree_batch.check_logits(logits, nodes.num_classes), nodes
    )


def _ancestor_log_probs(logits: jax.Array, nodes: LevelNodes) -> jax.Array:
    # Nodes come first here: segments of whole rows are added several times as fast.
    levels = [jax.nn.log_softmax(logits, axis=1).T]
    for level in reversed(range(1, nodes.num_levels)):
        parents = nodes.parents_in_level(level)
        num_parents = nodes.offsets[level] - nodes.offsets[level - 1]
        levels.append(_segment_logsumexp(levels[-1], parents, num_parents))
    return jnp.concatenate(levels[::-1]).T


def _segment_logsumexp(x: jax.Array, segments: np.ndarray, number: int) -> jax.Array:
    """Log-sum-exp of the rows ``[n, B]`` of each segment: ``[number, B]``."""
    if len(segments) == number:
        return x[np.argsort(segments)]
    largest = lax.stop_gradient(jax.ops.segment_max(x, segments, number))
    largest = jnp.where(largest == -jnp.inf, 0.0, largest)
    total = jax.ops.segment_sum(jnp.exp(x - largest[segments]), segments, number)
    possible = total > 0
    log = jnp.log(jnp.where(possible, total, 1.0))
    return jnp.where(possible, largest + log, -jnp.inf)


def _path_log_probs(batch: tree_batch.TreeBatch, nodes: LevelNodes) -> jax.Array:
    """Log P_v of the known nodes of every row, 0 where unknown: ``[B, L]``.

    A masked sum over the classes a level, which the compiler fuses, takes less time
    than the sums of all nodes.
    """
    highest = lax.stop_gradient(jnp.max(batch.logits, 1, keepdims=True))
    logits = batch.logits - highest
    values = [
        _masked_logsumexp(logits, nodes.paths[:, level], batch.numbers[:, level])
        for level in range(nodes.num_levels - 1)
    ]
    values.append(jnp.take_along_axis(logits, batch.labels[:, -1:], axis=1)[:, 0])
    log_probs = jnp.stack(values, 1) - jax.nn.logsumexp(logits, axis=1, keepdims=True)
    return jnp.where(batch.labels >= 0, log_probs, 0.0)


def _masked_logsumexp(
    logits: jax.Array, numbers: np.ndarray, own: jax.Array
) -> jax.Array:
    """Log-sum-exp ``[B]`` over the classes whose node ``[C]`` is the row's ``[B]``."""
    inside = jnp.asarray(numbers)[None, :] == own[:, None]
    largest = jnp.max(jnp.where(inside, lax.stop_gradient(logits), -jnp.inf), 1)
    largest = jnp.where(largest == -jnp.inf, 0.0, largest)
    shifted = jnp.where(inside, logits - largest[:, None], -jnp.inf)
    return largest + jnp.log(jnp.sum(jnp.exp(shifted), 1))


def marginal_loss(
    logits: jax.Array,
    labels: jax.Array,
    ancestors: jax.typing.ArrayLike,
    *,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """Mean ``-log P_v`` at the deepest known node v of every row.

    For a leaf this is the cross entropy. The same as `cross_entropy_loss` with
    ``candidates``, without an array of candidates.

    Args:
      logits: ``[B, C]``.
      labels: int ``[B, L]``, see the module. A row of which nothing is known, or only a
        node above all classes, does not count.
      ancestors: int ``[C, L]``, concrete.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A float32 scalar, 0 if no row counts.

    Examples:
      >>> import jax.numpy as jnp
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> logits = jnp.log(jnp.array([[0.5, 0.2, 0.3], [0.5, 0.2, 0.3]]))
      >>> labels = tree.encode([["a"], ["b", "b1"]])
      >>> loss = losses.marginal_loss(logits, labels, tree.ancestors)
      >>> f"{loss:.4f}"  # the mean of -log .7 and -log .3
      '0.7803'
    """
    nodes = level_nodes(ancestors)
    batch = tree_batch.TreeBatch(logits, labels, where, nodes, nodes.num_classes)
    sizes = nodes.sum_of_classes(np.ones(nodes.num_classes))
    tells = jnp.asarray(sizes < nodes.num_classes)[batch.deepest]
    if nodes.num_classes == 1:
        tells = jnp.zeros_like(tells)
    last = jnp.arange(nodes.num_levels)[None, :] == batch.known[:, None] - 1
    own = jnp.sum(jnp.where(last, _path_log_probs(batch, nodes), 0.0), 1)
    return reductions.masked_mean(-own, batch.counts & tells, axis_name=axis_name)


def hxe_loss(
    logits: jax.Array,
    labels: jax.Array,
    ancestors: jax.typing.ArrayLike,
    *,
    alpha: jax.typing.ArrayLike = 0.1,
    official: bool = False,
    depths: Sequence[int] | np.ndarray | None = None,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    r"""Hierarchical cross entropy: a weight for every step down the tree.

    .. math:: -\sum_{v \in \mathrm{path}(y)} e^{-\alpha \, \mathrm{depth}(v)}
      \log \frac{P_v}{P_{\mathrm{parent}(v)}}

    with depth 1 for the nodes of level 0. Bertinetto et al. 2020, "Making Better
    Mistakes" (CVPR, arXiv 1912.09393), as in its published code, where the depth counts
    from the root; its text has the height. At ``alpha = 0`` this is the cross entropy.

    Args:
      logits: ``[B, C]``.
      labels: int ``[B, L]``, see the module; the sum ends at the deepest known node.
      ancestors: int ``[C, L]``, concrete.
      alpha: 0 or more; the larger, the less the fine steps count.
      official: divide by the sum of the weights of all nodes and the root, as the
        published code does (there the value at ``alpha = 0`` is the cross entropy over
        the number of nodes).
      depths: for ``official`` as in `hace_loss`; not read without it, since repeated
        nodes add nothing.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A float32 scalar, 0 if no row counts.

    Examples:
      >>> import jax.numpy as jnp
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> logits = jnp.log(jnp.array([[0.5, 0.2, 0.3]]))
      >>> labels = tree.labels_of([1])
      >>> flat = losses.hxe_loss(logits, labels, tree.ancestors, alpha=0.0)
      >>> tilted = losses.hxe_loss(logits, labels, tree.ancestors, alpha=1.0)
      >>> f"{flat:.4f} {tilted:.4f}"  # -log .2, and -log .7 / e - log(2/7) / e^2
      '1.6094 0.3008'
    """
    nodes = level_nodes(ancestors)
    batch = tree_batch.TreeBatch(logits, labels, where, nodes, nodes.num_classes)
    weights = jnp.exp(-jnp.float32(alpha) * jnp.arange(1, nodes.num_levels + 1))
    path = _path_log_probs(batch, nodes)
    # As coefficients of log P_v itself: at alpha 0 all but the last are exactly 0.
    last = jnp.arange(nodes.num_levels)[None, :] == batch.known[:, None] - 1
    below = jnp.concatenate([weights[1:], jnp.zeros((1,))])
    coefficients = jnp.where(last, weights[None, :], (weights - below)[None, :])
    losses = -jnp.sum(coefficients * path, 1)
    if official:
        levels = nodes.node_levels()
        real = nodes.node_depths(tree_batch.check_depths(depths, nodes)) > levels
        counts = jnp.asarray(np.bincount(levels[real]), jnp.float32)
        losses /= 1 + jnp.sum(counts * weights)
    return reductions.masked_mean(losses, batch.counts, axis_name=axis_name)


def hace_loss(
    logits: jax.Array,
    labels: jax.Array,
    ancestors: jax.typing.ArrayLike,
    *,
    decay: jax.typing.ArrayLike = 0.5,
    smoothing: jax.typing.ArrayLike = 0.0,
    soft_targets: jax.typing.ArrayLike | None = None,
    depths: Sequence[int] | np.ndarray | None = None,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    r"""Hierarchy-aware cross entropy (HACE): the target spreads to the ancestors.

    .. math:: -\sum_{k \ge 0} d (1 - d)^k \log P_{v_k}

    with ``v_0`` the labelled node, ``v_k`` its k-th ancestor; the root takes the rest
    of the target and costs nothing. Chan 2026. The published code takes a softmax over
    all nodes and adds 1e-6 inside the logarithm; here the softmax is over the classes
    and sums are log-sum-exps.

    Args:
      logits: ``[B, C]``.
      labels: int ``[B, L]``, see the module; ``v_0`` is the deepest known node.
      ancestors: int ``[C, L]``, concrete.
      decay: d in (0, 1], published .2, .5 and .7; at 1 this is `marginal_loss`.
      smoothing: epsilon in [0, 1]: that part of the target is spread evenly over all
        classes before it spreads to their ancestors.
      soft_targets: ``[C, C]``, rows sum to 1: the target of a row of class y is
        ``soft_targets[y]`` (see `soft_labels`) before it spreads to the ancestors; rows
        of unknown class keep the target of their node. Takes time and memory of B C L.
        Not together with ``smoothing``.
      depths: ``[C]`` lengths of the paths, `Hierarchy.depths`: repetitions of a class
        are no ancestors. None: all L, refused where a class is an only child and might
        be a repetition.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A float32 scalar, 0 if no row counts.

    Examples:
      >>> import jax.numpy as jnp
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> logits = jnp.log(jnp.array([[0.5, 0.2, 0.3]]))
      >>> labels = tree.labels_of([1])
      >>> loss = losses.hace_loss(
      ...     logits, labels, tree.ancestors, decay=0.5, depths=tree.depths
      ... )
      >>> f"{loss:.4f}"  # -.5 log .2 - .25 log .7
      '0.8939'
    """
    nodes = level_nodes(ancestors)
    batch = tree_batch.TreeBatch(logits, labels, where, nodes, nodes.num_classes)
    depths = tree_batch.check_depths(depths, nodes)
    smooth = not (isinstance(smoothing, int | float) and smoothing == 0)
    if smooth and soft_targets is not None:
        raise ValueError("smoothing and soft_targets: choose one of them")
    depth = jnp.asarray(nodes.node_depths(depths))[batch.deepest]
    path = _path_log_probs(batch, nodes)
    losses = -jnp.sum(_spread(depth, decay, nodes) * path, 1)
    if smooth or soft_targets is not None:
        log_probs = _ancestor_log_probs(batch.logits, nodes)
        spread = _spread(jnp.asarray(nodes.class_depths(depths)), decay, nodes)
    if smooth:
        share = jnp.zeros((nodes.num_nodes,)).at[nodes.paths].add(spread)
        even = jnp.where(share > 0, log_probs * share[None, :], 0.0)
        even = -jnp.sum(even, 1) / nodes.num_classes
        losses = (1 - smoothing) * losses + smoothing * even
    if soft_targets is not None:
        targets = tree_batch.check_table(
            "soft_targets", soft_targets, nodes.num_classes
        )
        of_classes = sum(
            -spread[None, :, level] * log_probs[:, nodes.paths[:, level]]
            for level in range(nodes.num_levels)
        )
        class_ids = batch.labels[:, -1]
        soft = jnp.sum(targets[jnp.maximum(class_ids, 0)] * of_classes, 1)
        losses = jnp.where(class_ids >= 0, soft, losses)
    return reductions.masked_mean(losses, batch.counts, axis_name=axis_name)


def _spread(
    depth: jax.Array, decay: jax.typing.ArrayLike, nodes: LevelNodes
) -> jax.Array:
    """HACE's target on each level ``[n, L]`` of paths that end at ``depth [n]``."""
    steps = depth[:, None] - 1 - jnp.arange(nodes.num_levels)[None, :]
    share = decay * (1 - jnp.float32(decay)) ** jnp.maximum(steps, 0)
    return jnp.where(steps >= 0, share, 0.0)


def soft_labels(
    tree_distance: jax.typing.ArrayLike, *, beta: jax.typing.ArrayLike = 10.0
) -> jax.Array:
    r"""Target of each class: a softmax of how near the classes are in the tree.

    .. math:: q_{yj} \propto \exp(-\beta D_{yj} / \max D)

    Bertinetto et al. 2020 (arXiv 1912.09393), with D the height of the lowest common
    ancestor, `Hierarchy.lca_height`.

    Args:
      tree_distance: ``[C, C]``, at least 0 and 0 on the diagonal.
      beta: 0 (all classes alike) or more; published 4 to 30.

    Returns:
      float32 ``[C, C]``, rows sum to 1.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> np.asarray(losses.soft_labels(tree.lca_height(), beta=4))[0].round(3)
      array([0.867, 0.117, 0.016], dtype=float32)
    """
    distance = jnp.asarray(tree_distance, jnp.float32)
    distance = tree_batch.check_table("tree_distance", distance, distance.shape[0])
    return jnp.exp(_log_soft_labels(distance, beta, jnp.max(distance)))


def _log_soft_labels(distance, beta, largest):
    return jax.nn.log_softmax(
        -jnp.float32(beta) * reductions.safe_divide(distance, largest), axis=-1
    )


def soft_label_loss(
    logits: jax.Array,
    class_ids: jax.Array,
    tree_distance: jax.typing.ArrayLike,
    *,
    beta: jax.typing.ArrayLike = 10.0,
    official: bool = False,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """Mean divergence ``KL(q_y || p)`` from the soft labels of the class.

    Bertinetto et al. 2020 (arXiv 1912.09393), see `soft_labels`. As beta grows it
    becomes the cross entropy.

    Args:
      logits: ``[B, C]``.
      class_ids: int ``[B]``; -1 is unknown and such a row does not count.
      tree_distance: ``[C, C]``.
      beta: as in `soft_labels`.
      official: divide by C too, as the published code does, whose divergence is a mean
        over all numbers of the batch.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A float32 scalar, at least 0 up to rounding; 0 if no row counts.

    Examples:
      >>> import jax.numpy as jnp
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> height = tree.lca_height()
      >>> logits = jnp.log(losses.soft_labels(height, beta=4)[:1])
      >>> loss = losses.soft_label_loss(logits, jnp.array([0]), height, beta=4)
      >>> abs(round(float(loss), 4))  # the probabilities are the target
      0.0
    """
    logits = checks.as_floats("logits", logits, 2).astype(jnp.float32)
    class_ids = checks.as_class_ids(class_ids, logits.shape[0])
    distance = tree_batch.check_table("tree_distance", tree_distance, logits.shape[1])
    counts = checks.valid_rows(where, logits.shape[0]) & (class_ids >= 0)
    logits = jnp.where(counts[:, None], logits, 0.0)
    own = distance[jnp.where(counts, class_ids, 0)]
    log_targets = _log_soft_labels(own, beta, jnp.max(distance))
    log_probs = jax.nn.log_softmax(logits, axis=1)
    losses = jnp.sum(jnp.exp(log_targets) * (log_targets - log_probs), 1)
    if official:
        losses /= logits.shape[1]
    return reductions.masked_mean(losses, counts, axis_name=axis_name)
