"""The rank-based loss as a method (Nolasco and Stowell 2021, arXiv 2110.05941)."""

import dataclasses
from collections.abc import Sequence

from hierjax import losses
from hierjax.hierarchy import Hierarchy
from hierjax.objectives.lifted import from_loss
from hierjax.objectives.method import Hops, Method
from hierjax.objectives.objective import Objective
from hierjax.options import option


@dataclasses.dataclass(frozen=True)
class RankBased(Method):
    """Pairs at the distances that their ranks in the tree ask for.

    On ragged trees the ranks are those of the hops between classes, since padded labels
    would order some pairs differently.
    """

    name = "rank_based"
    sampler = "balanced"

    distance: str = option(
        "cosine", "between embeddings.", choices=("cosine", "euclidean")
    )
    target: str = option(
        "rank_index",
        "'rank_index' as the published code computes it, or the 'block_edge' (ours).",
        choices=("rank_index", "block_edge"),
    )
    stop_gradient_target: bool = option(False, "take targets as constants.")

    def reads(
        self, hierarchy: Hierarchy, class_counts: Sequence[int] | None
    ) -> Hops | None:
        """The hops of a ragged tree."""
        del class_counts
        ragged = bool((hierarchy.depths < hierarchy.num_levels).any())
        return Hops(hierarchy.path_length()) if ragged else None

    def make(self, read: Hops | None) -> Objective:
        """See `losses.rank_based_loss`."""
        return from_loss(
            losses.rank_based_loss,
            distance=self.distance,
            target=self.target,
            stop_gradient_target=self.stop_gradient_target,
            tree_distance=None if read is None else read.matrix,
        )
