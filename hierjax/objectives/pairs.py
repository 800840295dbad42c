"""Pair losses of metric learning as methods."""

import dataclasses

import jax

from hierjax import losses
from hierjax.objectives.method import PairLoss
from hierjax.options import option


@dataclasses.dataclass(frozen=True)
class MultiSimilarity(PairLoss):
    """Weighted pairs of the leaves (Wang et al. 2019)."""

    name = "multi_similarity"
    sampler = "balanced"

    positive_scale: float = option(2.0, "of pairs of one leaf.", above=0)
    negative_scale: float = option(50.0, "of pairs of two leaves.", above=0)
    threshold: float = option(0.5, "similarity that divides the two.")

    def loss(
        self,
        embeddings: jax.Array,
        labels: jax.Array,
        *,
        where: jax.Array,
        axis_name: str | None,
    ) -> jax.Array:
        """See `losses.multi_similarity_loss`."""
        return losses.multi_similarity_loss(
            embeddings,
            labels[:, -1],
            positive_scale=self.positive_scale,
            negative_scale=self.negative_scale,
            threshold=self.threshold,
            where=where,
            axis_name=axis_name,
        )


@dataclasses.dataclass(frozen=True)
class HAP(PairLoss):
    """Hierarchical average precision, smoothed (HAPPIER, Ramzi et al. 2022)."""

    name = "hap"
    sampler = "balanced"

    temperature: float = option(0.01, "of the smoothed ranks, positive.", above=0)
    alpha: float = option(
        1.0, "the larger, the less agreement at coarse levels is worth.", above=0
    )

    def loss(
        self,
        embeddings: jax.Array,
        labels: jax.Array,
        *,
        where: jax.Array,
        axis_name: str | None,
    ) -> jax.Array:
        """See `losses.hap_loss`."""
        return losses.hap_loss(
            embeddings,
            labels,
            temperature=self.temperature,
            alpha=self.alpha,
            where=where,
            axis_name=axis_name,
        )
