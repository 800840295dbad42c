"""A batch as the parts of an objective see it."""

from typing import NamedTuple

import jax


class Batch(NamedTuple):
    """One device's share of a batch.

    Attributes:
      embeddings: ``[B, ..., D]``; padding holds zeros.
      labels: ``[B, L]`` node ids, -1 where unknown.
      where: ``[B]``, False for padding.
      axis_name: mapped axis whose devices share the batch, None on a single one.
    """

    embeddings: jax.Array
    labels: jax.Array
    where: jax.Array
    axis_name: str | None

    @property
    def class_ids(self) -> jax.Array:
        """Ids of the leaves ``[B]``, -1 where unknown."""
        return self.labels[:, -1]
