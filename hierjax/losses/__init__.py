"""Losses: pure functions from embeddings and labels to one scalar.

The contract of every loss (see README, "Losses"): arrays first, options by keyword;
the value is already averaged over everything valid on all devices; nothing valid
gives 0 with gradient 0; pair losses never normalise their rows.
"""

from hierjax.losses.rank import rank_based_loss
from hierjax.losses.triplet import hierarchical_triplet_loss
from hierjax.losses.tuplet import hierarchical_tuplet_loss, quadruplet_loss

__all__ = [
    "hierarchical_triplet_loss",
    "hierarchical_tuplet_loss",
    "quadruplet_loss",
    "rank_based_loss",
]
