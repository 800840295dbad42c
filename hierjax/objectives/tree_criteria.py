"""Criteria of a classifier that read the tree: all but the first move its targets."""

import dataclasses

import jax

from hierjax import losses
from hierjax.hierarchy import Hierarchy
from hierjax.objectives.batch import Batch
from hierjax.objectives.criteria import Criterion
from hierjax.options import option


@dataclasses.dataclass(frozen=True)
class Marginal(Criterion):
    """The probability of the deepest known node, whatever its level."""

    name = "marginal"

    def loss(
        self, hierarchy: Hierarchy, logits: jax.Array, vectors: jax.Array, batch: Batch
    ) -> jax.Array:
        """See `losses.marginal_loss`."""
        del vectors
        return losses.marginal_loss(
            logits,
            batch.labels,
            hierarchy.ancestors,
            where=batch.where,
            axis_name=batch.axis_name,
        )


@dataclasses.dataclass(frozen=True)
class HXE(Criterion):
    """Hierarchical cross entropy: a weight a step down (Bertinetto et al. 2020)."""

    name = "hxe"

    alpha: float = option(0.1, "the larger, the less fine steps count.", minimum=0)
    official: bool = option(False, "divided by the weights of all nodes, as published.")

    def loss(
        self, hierarchy: Hierarchy, logits: jax.Array, vectors: jax.Array, batch: Batch
    ) -> jax.Array:
        """See `losses.hxe_loss`."""
        del vectors
        return losses.hxe_loss(
            logits,
            batch.labels,
            hierarchy.ancestors,
            alpha=self.alpha,
            official=self.official,
            depths=hierarchy.depths,
            where=batch.where,
            axis_name=batch.axis_name,
        )


@dataclasses.dataclass(frozen=True)
class HACE(Criterion):
    """Hierarchy-aware cross entropy: targets spread to ancestors (Chan 2026)."""

    name = "hace"

    decay: float = option(
        0.5, "share of the node in its target; 1 is 'marginal'.", above=0, maximum=1
    )
    smoothing: float = option(
        0.0, "part of the target spread over all classes first.", minimum=0, maximum=1
    )

    def loss(
        self, hierarchy: Hierarchy, logits: jax.Array, vectors: jax.Array, batch: Batch
    ) -> jax.Array:
        """See `losses.hace_loss`."""
        del vectors
        return losses.hace_loss(
            logits,
            batch.labels,
            hierarchy.ancestors,
            decay=self.decay,
            smoothing=self.smoothing,
            depths=hierarchy.depths,
            where=batch.where,
            axis_name=batch.axis_name,
        )


@dataclasses.dataclass(frozen=True)
class SoftLabels(Criterion):
    """Targets that fall with the height of the ancestor (Bertinetto et al. 2020).

    Rows of unknown leaf teach nothing.
    """

    name = "soft_labels"

    beta: float = option(10.0, "the larger, the sharper the targets.", minimum=0)
    official: bool = option(False, "cross entropy in place of the divergence.")

    def loss(
        self, hierarchy: Hierarchy, logits: jax.Array, vectors: jax.Array, batch: Batch
    ) -> jax.Array:
        """See `losses.soft_label_loss`."""
        del vectors
        return losses.soft_label_loss(
            logits,
            batch.class_ids,
            hierarchy.lca_height(),
            beta=self.beta,
            official=self.official,
            where=batch.where,
            axis_name=batch.axis_name,
        )
