"""What a classifier minimises."""

import dataclasses

import jax
import jax.numpy as jnp

from hierjax import losses
from hierjax.hierarchy import Hierarchy
from hierjax.objectives.batch import Batch
from hierjax.options import Named, option


class Criterion(Named):
    """The loss of class scores. A subclass overrides `loss`."""

    def loss(
        self, hierarchy: Hierarchy, logits: jax.Array, vectors: jax.Array, batch: Batch
    ) -> jax.Array:
        """A scalar over the batch of all devices.

        Args:
          hierarchy: the label tree.
          logits: ``[B, C]`` class scores.
          vectors: ``[C, D]``, one a class.
          batch: its embeddings are ``[B, D]``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define loss")


@dataclasses.dataclass(frozen=True)
class CrossEntropy(Criterion):
    """Cross entropy of the leaves.

    The probability of a row of unknown leaf is that of all leaves below the deepest
    node that is known.
    """

    name = "cross_entropy"

    def loss(
        self, hierarchy: Hierarchy, logits: jax.Array, vectors: jax.Array, batch: Batch
    ) -> jax.Array:
        """See `losses.cross_entropy_loss`."""
        del vectors
        return losses.cross_entropy_loss(
            logits,
            batch.class_ids,
            candidates=_below(hierarchy, batch.labels),
            where=batch.where,
            axis_name=batch.axis_name,
        )


@dataclasses.dataclass(frozen=True)
class Corr(Criterion):
    """Pulls embeddings to the vector of their class (Barz and Denzler 2019)."""

    name = "corr"

    official: bool = option(False, "the sum over the batch, as published.")

    def loss(
        self, hierarchy: Hierarchy, logits: jax.Array, vectors: jax.Array, batch: Batch
    ) -> jax.Array:
        """See `losses.corr_loss`; rows of unknown leaf teach nothing."""
        del hierarchy, logits
        return losses.corr_loss(
            batch.embeddings,
            vectors,
            batch.class_ids,
            official=self.official,
            where=batch.where,
            axis_name=batch.axis_name,
        )


def _below(hierarchy: Hierarchy, labels: jax.Array) -> jax.Array:
    """The classes below the deepest node that is known: bool ``[B, C]``."""
    deepest = jnp.sum(labels >= 0, axis=1) - 1
    node = jnp.take_along_axis(labels, jnp.maximum(deepest, 0)[:, None], axis=1)
    ancestors = jnp.asarray(hierarchy.ancestors).T
    return (ancestors[deepest] == node) & (deepest >= 0)[:, None]
