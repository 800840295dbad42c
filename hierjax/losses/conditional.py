"""Softmax among siblings: every node has a score, every parent makes a choice.

Shapes, labels and the numbers of nodes are those of `hierjax.losses.taxonomic`.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hierjax import reductions
from hierjax.level_nodes import level_nodes
from hierjax.losses import tree_batch


def conditional_log_probs(
    node_logits: jax.Array,
    ancestors: jax.typing.ArrayLike,
    *,
    log_priors: jax.typing.ArrayLike | None = None,
    tau: jax.typing.ArrayLike = 1.0,
) -> jax.Array:
    r"""Log-probability of every node as a product of choices among siblings.

    .. math:: \log P_v = \sum_{u \in \mathrm{path}(v)}
      \log \mathrm{softmax}_{\mathrm{siblings}(u)}(z)_u

    Redmon and Farhadi 2017, YOLO9000 (arXiv 1612.08242). The children of a node sum to
    it, as in `ancestor_log_probs`, but here every node has a score of its own.

    Args:
      node_logits: ``[B, M]`` a score a node, as `hierjax.level_nodes` numbers them.
        That of a node without siblings, above all one that repeats a class, has no
        effect.
      ancestors: int ``[C, L]``, concrete.
      log_priors: ``[M]`` logs of the shares among siblings, `sibling_log_priors`. They
        are added ``tau`` times to the scores. For training only: without them the same
        scores then mean balanced siblings.
      tau: 0 or more.

    Returns:
      ``[B, M]`` float32; the last C columns are those of the classes.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> scores = np.log([[0.6, 0.4, 1.0, 3.0, 7.0]])  # of a, b, a1, a2, b1
      >>> np.exp(losses.conditional_log_probs(scores, tree.ancestors)).round(3)
      array([[0.6 , 0.4 , 0.15, 0.45, 0.4 ]], dtype=float32)
    """
    nodes = level_nodes(ancestors)
    node_logits = tree_batch.check_logits(node_logits, nodes.num_nodes)
    return _conditional_log_probs(node_logits, nodes, log_priors, tau)


def _conditional_log_probs(node_logits, nodes, log_priors, tau):
    if log_priors is not None:
        log_priors = jnp.asarray(log_priors, jnp.float32)
        if log_priors.shape != (nodes.num_nodes,):
            raise ValueError(
                f"log_priors must have shape ({nodes.num_nodes},), one a node, got "
                f"{log_priors.shape}"
            )
        node_logits += tau * log_priors[None, :]
    columns = node_logits.T
    # Number 0 is the virtual root; all others with children come before the classes.
    families = nodes.parents + 1
    number = nodes.num_nodes - nodes.num_classes + 1
    largest = lax.stop_gradient(jax.ops.segment_max(columns, families, number))
    shifted = columns - largest[families]
    total = jax.ops.segment_sum(jnp.exp(shifted), families, number)
    steps = shifted - jnp.log(total)[families]
    levels = [steps[nodes.slice_of(0)]]
    for level in range(1, nodes.num_levels):
        above = levels[-1][nodes.parents_in_level(level)]
        levels.append(above + steps[nodes.slice_of(level)])
    return jnp.concatenate(levels).T


def conditional_softmax_loss(
    node_logits: jax.Array,
    labels: jax.Array,
    ancestors: jax.typing.ArrayLike,
    *,
    log_priors: jax.typing.ArrayLike | None = None,
    tau: jax.typing.ArrayLike = 1.0,
    where: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """Mean ``-log P_v`` at the deepest known node, by choices among siblings.

    A row teaches the choices along its known path and no others, so that labels at
    inner nodes need nothing special. With one level it is the cross entropy, with
    ``log_priors`` that of logit adjustment (Menon et al. 2021, arXiv 2007.07314), here
    among siblings.

    Args:
      node_logits: ``[B, M]``, see `conditional_log_probs`.
      labels: int ``[B, L]``, see the module. A row of which nothing is known does not
        count.
      ancestors: int ``[C, L]``, concrete.
      log_priors: as in `conditional_log_probs`.
      tau: as in `conditional_log_probs`.
      where: ``[B]``, False for padding.
      axis_name: mapped axis, None for the whole batch.

    Returns:
      A float32 scalar, 0 if no row counts.

    Examples:
      >>> import jax.numpy as jnp
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> scores = jnp.log(jnp.array([[0.6, 0.4, 1.0, 3.0, 7.0]]))
      >>> labels = tree.labels_of([0])
      >>> loss = losses.conditional_softmax_loss(scores, labels, tree.ancestors)
      >>> f"{loss:.4f}"  # -log .15
      '1.8971'
    """
    nodes = level_nodes(ancestors)
    batch = tree_batch.TreeBatch(node_logits, labels, where, nodes, nodes.num_nodes)
    log_probs = _conditional_log_probs(batch.logits, nodes, log_priors, tau)
    own = jnp.take_along_axis(log_probs, batch.deepest[:, None], axis=1)[:, 0]
    return reductions.masked_mean(-own, batch.counts, axis_name=axis_name)


def sibling_log_priors(
    class_counts: Sequence[int] | np.ndarray, ancestors: jax.typing.ArrayLike
) -> np.ndarray:
    """Log share of every node in the rows of its parent.

    Args:
      class_counts: ``[C]`` training rows a class, at least 0; a class without rows
        counts as half a row.
      ancestors: int ``[C, L]``, concrete.

    Returns:
      float32 ``[M]``; siblings' exponentials sum to 1.

    Examples:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, losses
      >>> tree = Hierarchy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1")])
      >>> np.exp(losses.sibling_log_priors([6, 2, 2], tree.ancestors)).round(3)
      array([0.8 , 0.2 , 0.75, 0.25, 1.  ], dtype=float32)
    """
    nodes = level_nodes(ancestors)
    counts = np.asarray(class_counts, np.float64)
    if counts.shape != (nodes.num_classes,) or not (counts >= 0).all():
        raise ValueError(
            f"class_counts must be {nodes.num_classes} numbers of rows, got {counts}"
        )
    rows = nodes.sum_of_classes(np.maximum(counts, 0.5))
    of_parents = np.append(rows, rows[nodes.slice_of(0)].sum())[nodes.parents]
    return np.log(rows / of_parents).astype(np.float32)
