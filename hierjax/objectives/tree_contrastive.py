"""Contrastive losses whose targets come from the tree, as methods."""

import dataclasses
import functools
from collections.abc import Callable

import jax

from hierjax import losses
from hierjax.objectives.contrastive import Contrastive
from hierjax.options import option


@dataclasses.dataclass(frozen=True)
class TreeSimilarity(Contrastive):
    """SupCon with a share of the target for relatives, by how near they are."""

    name = "tree_similarity"

    softness: float = option(
        0.5, "share of the target that relatives get.", minimum=0, maximum=1
    )

    def loss_fn(self) -> Callable[..., jax.Array]:
        """See `losses.tree_similarity_loss`."""
        return functools.partial(losses.tree_similarity_loss, softness=self.softness)


@dataclasses.dataclass(frozen=True)
class LevelRestricted(Contrastive):
    """SupCon at every level, among the rows that share the level above."""

    name = "level_restricted"

    def loss_fn(self) -> Callable[..., jax.Array]:
        """See `losses.level_restricted_loss`."""
        return losses.level_restricted_loss
