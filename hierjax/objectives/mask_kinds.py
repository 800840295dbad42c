"""What part of the embedding belongs to each level: kinds of masks."""

import dataclasses

import jax
import jax.numpy as jnp

from hierjax import level_masks, mixtures
from hierjax.objectives.batch import Batch
from hierjax.options import Named, option

Made = tuple[jax.Array, dict[str, jax.Array]]
"""Masks ``[L, D]`` or ``[B, V, L, D]``, and what to report of them."""


class Masks(Named):
    """How a level gets its part of the embedding. A subclass overrides `make`."""

    def init(self, num_levels: int, dim: int) -> dict:
        """What gets gradients."""
        del num_levels, dim
        return {}

    def make(self, params: dict, num_levels: int, batch: Batch) -> Made:
        """Masks of a batch of ``[B, V, D]``, and what to report of them."""
        raise NotImplementedError(f"{type(self).__name__} must define make")

    def penalty(self, made: jax.Array, batch: Batch) -> jax.Array | float:
        """What is added to the loss for masks that were made."""
        del made, batch
        return 0.0

    def num_heads(self, num_levels: int) -> int | None:
        """Projection heads that the encoder needs, None for a single one."""
        del num_levels
        return None


@dataclasses.dataclass(frozen=True)
class NoMasks(Masks):
    """The whole embedding at every level: a control."""

    name = "none"

    def make(self, params: dict, num_levels: int, batch: Batch) -> Made:
        """All ones."""
        del params
        return jnp.ones((num_levels, batch.embeddings.shape[-1])), {}


@dataclasses.dataclass(frozen=True)
class FixedMasks(Masks):
    """An equal part of the embedding a level: a control."""

    name = "fixed"

    def make(self, params: dict, num_levels: int, batch: Batch) -> Made:
        """See `level_masks.fixed_level_masks`."""
        del params
        dim = batch.embeddings.shape[-1]
        return level_masks.fixed_level_masks(num_levels, dim), {}


@dataclasses.dataclass(frozen=True)
class HeadMasks(FixedMasks):
    """Fixed parts that come from a projection head a level: a control."""

    name = "heads"

    def num_heads(self, num_levels: int) -> int:
        """One a level."""
        return num_levels


@dataclasses.dataclass(frozen=True)
class GaussianMasks(Masks):
    """From a Gaussian mixture: G-HMLC (Ott et al. 2025)."""

    name = "gaussian"

    mode: str = option(
        "sample",
        "a mixture in every row, 'sample', one on the mean embedding, 'mean', or on "
        "statistics of the dimensions, 'dim_stats'.",
        choices=("sample", "mean", "dim_stats"),
    )

    def make(self, params: dict, num_levels: int, batch: Batch) -> Made:
        """See `mixtures.level_mixture`; reports how many rows had to be mended."""
        del params
        made = mixtures.level_mixture(
            batch.embeddings,
            num_levels,
            mode=self.mode,
            where=batch.where,
            axis_name=batch.axis_name,
        )
        return made.masks, {"guarded": made.guarded}


@dataclasses.dataclass(frozen=True)
class AttentionMasks(Masks):
    """From attention to the embedding: A-HMLC (Ott et al. 2025)."""

    name = "attention"

    activation: str = option(
        "softmax",
        "of the scores, see `level_masks.attention_level_masks`.",
        choices=level_masks.ACTIVATIONS,
    )
    overlap_weight: float = option(
        0.0, "penalty on `level_masks.mask_overlap`.", minimum=0
    )
    entropy_weight: float = option(
        0.0, "penalty on `level_masks.mask_entropy`; makes masks sparse.", minimum=0
    )

    def init(self, num_levels: int, dim: int) -> dict:
        """All zero: training starts as the control without masks."""
        weights = jnp.zeros((num_levels, dim, dim))
        return {"weights": weights, "biases": jnp.zeros((num_levels, dim))}

    def make(self, params: dict, num_levels: int, batch: Batch) -> Made:
        """See `level_masks.attention_level_masks`."""
        del num_levels
        made = level_masks.attention_level_masks(
            batch.embeddings,
            params["weights"],
            params["biases"],
            activation=self.activation,
        )
        return made, {}

    def penalty(self, made: jax.Array, batch: Batch) -> jax.Array | float:
        """Weighted overlap and entropy."""
        total = 0.0
        for weight, measure in (
            (self.overlap_weight, level_masks.mask_overlap),
            (self.entropy_weight, level_masks.mask_entropy),
        ):
            if weight:
                total += weight * measure(
                    made, where=batch.where, axis_name=batch.axis_name
                )
        return total
