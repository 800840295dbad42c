"""Triplets and tuplets that the tree orders, as methods."""

import dataclasses
from collections.abc import Sequence

from hierjax import losses
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.objectives.lifted import from_loss, from_tuple_loss
from hierjax.objectives.method import Method
from hierjax.objectives.objective import Objective
from hierjax.options import option

_DISTANCES = ("cosine", "euclidean", "sqeuclidean")


class _OfLevels(Method):
    """What needs nothing of the tree but its number of levels."""

    def reads(self, hierarchy: Hierarchy, class_counts: Sequence[int] | None) -> int:
        """The number of levels."""
        del class_counts
        return hierarchy.num_levels


@dataclasses.dataclass(frozen=True)
class Triplet(_OfLevels):
    """All triplets that the tree orders.

    See `losses.hierarchical_triplet_loss`.
    """

    name = "triplet"
    sampler = "balanced"
    tuned = ({"margin": 0.05}, {"margin": 0.5})

    distance: str = option("euclidean", "between embeddings.", choices=_DISTANCES)
    margin: float = option(0.1, "at every level.", minimum=0)

    def make(self, read: int) -> Objective:
        """The same margin at all levels."""
        return from_loss(
            losses.hierarchical_triplet_loss,
            distance=self.distance,
            margins=(self.margin,) * read,
        )


@dataclasses.dataclass(frozen=True)
class Tuplet(_OfLevels):
    """Quadruplets at two levels, tuplets at more (Jati et al. 2019).

    Batches are tuples: an anchor, a row of its leaf, one of each further level, and one
    that shares nothing with it.
    """

    name = "tuplet"
    sampler = "tuples"
    max_views = 1
    # The outer margin is twice the inner one: equal steps between the levels.
    tuned = (
        {"margin_inner": 0.2, "margin_outer": 0.4},
        {"margin_inner": 0.8, "margin_outer": 1.6},
    )

    distance: str = option("sqeuclidean", "between embeddings.", choices=_DISTANCES)
    margin_inner: float = option(
        0.2, "at the coarsest level (beta of the quadruplet).", above=0
    )
    margin_outer: float = option(
        0.4, "sum of all margins (alpha of the quadruplet).", above=0
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.margin_outer > self.margin_inner:
            raise UserError(
                "margins must satisfy margin_outer > margin_inner > 0, got "
                f"{self.margin_outer} and {self.margin_inner}"
            )

    def tuple_size(self, num_levels: int) -> int:
        """Anchor, a row a level, and a stranger."""
        return num_levels + 2

    def margins(self, num_levels: int) -> tuple[float, ...]:
        """Margins from the finest to the coarsest level.

        The coarsest gets ``margin_inner``; the others share the rest of
        ``margin_outer``, which at two levels gives (alpha - beta, beta) of the
        quadruplet loss.
        """
        if num_levels == 1:
            return (self.margin_inner,)
        rest = self.margin_outer - self.margin_inner
        return (rest / (num_levels - 1),) * (num_levels - 1) + (self.margin_inner,)

    def make(self, read: int) -> Objective:
        """See `losses.hierarchical_tuplet_loss`."""
        return from_tuple_loss(self.margins(read), distance=self.distance)
