"""What a classifier minimises."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from hierjax import distances, losses
from hierjax.hierarchy import Hierarchy
from hierjax.objectives.batch import Batch
from hierjax.options import Named, option


class Criterion(Named):
    """The loss of class scores. A subclass overrides `loss`.

    Class attributes:
      reads_scale: whether the scale of the scores changes it.
      representatives: name of those it is for, None for any.
      score: name of the one it is for, None for any.
    """

    reads_scale: ClassVar[bool] = True
    representatives: ClassVar[str | None] = None
    score: ClassVar[str | None] = None

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
    reads_scale = False
    representatives = "mds"

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


@dataclasses.dataclass(frozen=True)
class HAFrame(Criterion):
    """Cross entropy on a fixed frame and its cosines (Liang and Davis 2023)."""

    name = "haframe"
    reads_scale = False
    representatives = "haframe"
    score = "softmax"

    mix: float = option(0.4, "weight of the cosines.", minimum=0, maximum=1)

    def loss(
        self, hierarchy: Hierarchy, logits: jax.Array, vectors: jax.Array, batch: Batch
    ) -> jax.Array:
        """See `losses.haframe_loss`; rows of unknown leaf teach nothing."""
        del hierarchy, logits
        return losses.haframe_loss(
            batch.embeddings,
            batch.class_ids,
            vectors,
            mix=self.mix,
            where=batch.where,
            axis_name=batch.axis_name,
        )


@dataclasses.dataclass(frozen=True)
class ProxyAnchor(Criterion):
    """Every proxy draws its class and pushes all others (Kim et al. 2020)."""

    name = "proxy_anchor"
    reads_scale = False

    margin: float = option(0.1, "of the cosines.")
    sharpness: float = option(32.0, "what cosines are multiplied by.", above=0)
    levels: bool = option(
        False, "at every level; the proxy of a node is the mean of those below it."
    )

    def loss(
        self, hierarchy: Hierarchy, logits: jax.Array, vectors: jax.Array, batch: Batch
    ) -> jax.Array:
        """See `losses.proxy_anchor_loss` and its hierarchical form."""
        del logits
        shared = {
            "margin": self.margin,
            "scale": self.sharpness,
            "where": batch.where,
            "axis_name": batch.axis_name,
        }
        if not self.levels:
            return losses.proxy_anchor_loss(
                batch.embeddings, vectors, batch.class_ids, **shared
            )
        units = distances.unit_normalize(vectors)
        level_proxies = [
            jax.ops.segment_sum(units, nodes, int(nodes.max()) + 1)
            for nodes in hierarchy.ancestors.T
        ]
        return losses.hierarchical_proxy_anchor_loss(
            batch.embeddings, level_proxies, batch.labels, **shared
        )


def _below(hierarchy: Hierarchy, labels: jax.Array) -> jax.Array:
    """The classes below the deepest node that is known: bool ``[B, C]``."""
    deepest = jnp.sum(labels >= 0, axis=1) - 1
    node = jnp.take_along_axis(labels, jnp.maximum(deepest, 0)[:, None], axis=1)
    ancestors = jnp.asarray(hierarchy.ancestors).T
    return (ancestors[deepest] == node) & (deepest >= 0)[:, None]
