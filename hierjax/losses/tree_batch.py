"""Labels at any node of the tree, and what losses on them need of a batch."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hierjax import masks
from hierjax.level_nodes import LevelNodes
from hierjax.losses import checks


class TreeBatch:
    """Checked logits and labels; what padding holds is gone.

    Attributes:
      logits: float32 ``[B, width]``, 0 in rows that do not count.
      labels: ``[B, L]``, -1 in padding.
      known: ``[B]``, how many levels are known.
      counts: bool ``[B]``, whether any is.
      numbers: ``[B, L]``, of the nodes of the path; anything where unknown.
      deepest: ``[B]``, number of the deepest known node; anything where none is.
    """

    def __init__(self, logits, labels, where, nodes: LevelNodes, width: int):
        logits = check_logits(logits, width)
        labels = checks.as_labels(labels, logits.shape[0])
        if labels.shape[1] != nodes.num_levels:
            raise ValueError(
                f"labels {labels.shape} must have the {nodes.num_levels} levels of "
                "ancestors"
            )
        valid = checks.valid_rows(where, logits.shape[0])
        self.labels = jnp.where(valid[:, None], labels, -1)
        self.known = masks.known_levels(self.labels)
        self.counts = self.known > 0
        # Padding may hold anything, and NaN times 0 is NaN in the gradient.
        self.logits = jnp.where(self.counts[:, None], logits, 0.0)
        self.numbers = jnp.maximum(self.labels, 0) + np.array(nodes.offsets[:-1])[None]
        last = jnp.maximum(self.known - 1, 0)[:, None]
        self.deepest = jnp.take_along_axis(self.numbers, last, axis=1)[:, 0]

    def take_path(self, log_probs: jax.Array) -> jax.Array:
        """Log P_v of the known nodes of every row, 0 where unknown: ``[B, L]``."""
        values = jnp.take_along_axis(log_probs, self.numbers, axis=1)
        return jnp.where(self.labels >= 0, values, 0.0)


def check_logits(logits: jax.Array, width: int) -> jax.Array:
    """``logits`` in float32; they must be floats ``[B, width]``."""
    logits = checks.as_floats("logits", logits, 2)
    if logits.shape[1] != width:
        raise ValueError(
            f"logits {logits.shape} must have {width} columns, as many as the tree of "
            "ancestors"
        )
    return logits.astype(jnp.float32)


def check_depths(
    depths: Sequence[int] | np.ndarray | None, nodes: LevelNodes
) -> np.ndarray:
    """``depths`` of the C classes, in 1 to L; None: all L, if nothing may repeat."""
    if depths is None:
        parents = nodes.parents[nodes.slice_of(nodes.num_levels - 1)]
        if nodes.num_levels > 1 and (np.bincount(parents)[parents] == 1).any():
            raise ValueError(
                "an only child on the last level may be a class or the repetition of "
                "a shallower one: hand in depths=hierarchy.depths"
            )
        return np.full(nodes.num_classes, nodes.num_levels, np.int32)
    depths = np.asarray(depths)
    fits = depths.shape == (nodes.num_classes,)
    if not fits or not ((depths >= 1) & (depths <= nodes.num_levels)).all():
        raise ValueError(
            f"depths must be {nodes.num_classes} numbers from 1 to "
            f"{nodes.num_levels}, one a class"
        )
    return depths


def check_table(name: str, table: jax.typing.ArrayLike, size: int) -> jax.Array:
    """``table`` in float32; it must be ``[size, size]``."""
    table = jnp.asarray(table, jnp.float32)
    if table.shape != (size, size):
        raise ValueError(f"{name} must have shape ({size}, {size}), got {table.shape}")
    return table
