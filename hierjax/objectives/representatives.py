"""One vector a class: learned, averaged from embeddings, or placed by the tree."""

import dataclasses

import jax
import jax.numpy as jnp

from hierjax import losses, proxies
from hierjax.hierarchy import Hierarchy
from hierjax.objectives.batch import Batch
from hierjax.objectives.scores import Score
from hierjax.options import Named, option


class Representatives(Named):
    """Where the vectors of the classes come from.

    A subclass overrides `init`; one whose vectors follow the batches `update` too.
    """

    def init(
        self, key: jax.Array, hierarchy: Hierarchy, dim: int, score: Score
    ) -> tuple[dict, dict]:
        """What gets gradients and what does not.

        One of the two holds the vectors ``[C, D]`` under the key ``score.vectors``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define init")

    def update(self, state: dict, batch: Batch) -> dict:
        """What changes of the state after a batch."""
        del state, batch
        return {}


@dataclasses.dataclass(frozen=True)
class Learned(Representatives):
    """Learned by gradient."""

    name = "learned"

    def init(
        self, key: jax.Array, hierarchy: Hierarchy, dim: int, score: Score
    ) -> tuple[dict, dict]:
        """As the score likes them to start."""
        return {score.vectors: score.start(key, hierarchy.num_classes, dim)}, {}


@dataclasses.dataclass(frozen=True)
class MovingAverage(Representatives):
    """A moving average of embeddings, see `proxies.ema_update`."""

    name = "ema"

    decay: float = option(0.01, "weight of a batch.", above=0, maximum=1)

    def init(
        self, key: jax.Array, hierarchy: Hierarchy, dim: int, score: Score
    ) -> tuple[dict, dict]:
        """Random until a class is first seen."""
        start = score.start(key, hierarchy.num_classes, dim)
        seen = jnp.zeros((hierarchy.num_classes,), bool)
        return {}, {score.vectors: start, "seen": seen}

    def update(self, state: dict, batch: Batch) -> dict:
        """Move the vectors of the classes in the batch."""
        moved, seen = proxies.ema_update(
            state["proxies"],
            state["seen"],
            batch.embeddings,
            batch.class_ids,
            decay=self.decay,
            where=batch.where,
            axis_name=batch.axis_name,
        )
        return {"proxies": moved, "seen": seen}


@dataclasses.dataclass(frozen=True)
class FixedByTree(Representatives):
    """Fixed by the tree, see `proxies.mds_proxies` (with Adam, as published)."""

    name = "mds"

    def init(
        self, key: jax.Array, hierarchy: Hierarchy, dim: int, score: Score
    ) -> tuple[dict, dict]:
        """At distances as in the tree."""
        placed = proxies.mds_proxies(
            hierarchy, dim, solver="adam", distance=score.distance, key=key
        )
        return {}, {score.vectors: placed}


@dataclasses.dataclass(frozen=True)
class FixedFrame(Representatives):
    """Fixed at cosines that follow the tree (HAFrame, Liang and Davis 2023).

    See `losses.frame_similarity` and `losses.haframe`. It needs as many dimensions as
    classes, less one where the cosines allow it.
    """

    name = "haframe"

    gamma: float = option(2.0, "the larger, the nearer to equal angles.", above=0)

    def init(
        self, key: jax.Array, hierarchy: Hierarchy, dim: int, score: Score
    ) -> tuple[dict, dict]:
        """Turned the same way whatever the seed."""
        del key
        # A matter of the tree alone, worked out in float64 where this is traced too.
        with jax.ensure_compile_time_eval():
            cosines = losses.frame_similarity(hierarchy.lca_height(), gamma=self.gamma)
            return {}, {score.vectors: losses.haframe(cosines, dim)}
