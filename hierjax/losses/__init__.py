"""Losses: pure functions from embeddings and labels to one scalar.

The contract of every loss (see README, "Losses"): arrays first, options by keyword;
the value is already averaged over everything valid on all devices; nothing valid
gives 0 with gradient 0; losses on pairs never normalise their rows, losses on proxies
do. ``*_logits`` return class scores ``[B, C]``.
"""

from hierjax.losses.proxy import (
    class_cosines,
    corr_loss,
    cross_entropy_loss,
    normface_logits,
    proxydr_logits,
    softmax_logits,
)
from hierjax.losses.rank import rank_based_loss
from hierjax.losses.triplet import hierarchical_triplet_loss
from hierjax.losses.tuplet import hierarchical_tuplet_loss, quadruplet_loss

__all__ = [
    "class_cosines",
    "corr_loss",
    "cross_entropy_loss",
    "hierarchical_triplet_loss",
    "hierarchical_tuplet_loss",
    "normface_logits",
    "proxydr_logits",
    "quadruplet_loss",
    "rank_based_loss",
    "softmax_logits",
]
