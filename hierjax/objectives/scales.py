"""The scale of class scores: constant, or following the batches."""

import dataclasses

import jax
import jax.numpy as jnp

from hierjax import losses, proxies
from hierjax.objectives.batch import Batch
from hierjax.objectives.scores import Score
from hierjax.options import Named, option


class Scale(Named):
    """What class scores are multiplied by.

    A subclass overrides `of`; one that follows the batches `init` and `update` too.
    """

    def init(self, num_classes: int, score: Score) -> dict:
        """State to begin with."""
        del num_classes, score
        return {}

    def of(self, state: dict) -> float | jax.Array:
        """The scale."""
        raise NotImplementedError(f"{type(self).__name__} must define of")

    def update(
        self, state: dict, score: Score, vectors: jax.Array, batch: Batch
    ) -> dict:
        """What changes of the state after a batch, by the vectors ``[C, D]``."""
        del state, score, vectors, batch
        return {}


@dataclasses.dataclass(frozen=True)
class Constant(Scale):
    """The same from the first step to the last."""

    name = "constant"

    value: float = option(10.0, "of the scale, positive.", above=0)

    def of(self, state: dict) -> float:
        """The value."""
        del state
        return self.value


@dataclasses.dataclass(frozen=True)
class Dynamic(Scale):
    """Starts by the number of classes and follows the batches.

    See `proxies.initial_scale` and `proxies.dynamic_scale_update`.
    """

    name = "dynamic"

    official: bool = option(False, "the exponent of the published code.")

    def init(self, num_classes: int, score: Score) -> dict:
        """The logarithm of the scale and its optimiser."""
        first = proxies.initial_scale(num_classes, score.name, distance=score.distance)
        log_scale = jnp.log(jnp.float32(first))
        return {
            "log_scale": log_scale,
            "scale_opt_state": proxies.SCALE_OPTIMIZER.init(log_scale),
        }

    def of(self, state: dict) -> jax.Array:
        """What it has come to."""
        return jnp.exp(state["log_scale"])

    def update(
        self, state: dict, score: Score, vectors: jax.Array, batch: Batch
    ) -> dict:
        """One step of its optimiser."""
        log_scale, opt_state = proxies.dynamic_scale_update(
            state["log_scale"],
            state["scale_opt_state"],
            losses.class_cosines(batch.embeddings, vectors),
            batch.class_ids,
            method=score.name,
            distance=score.distance,
            official=self.official,
            where=batch.where,
            axis_name=batch.axis_name,
        )
        return {"log_scale": log_scale, "scale_opt_state": opt_state}
