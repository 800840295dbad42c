"""Losses: pure functions from embeddings and labels to one scalar.

The contract of every loss (see README, "Losses"): arrays first, options by keyword;
the value is already averaged over everything valid on all devices; nothing valid
gives 0 with gradient 0; losses on pairs never normalise their rows, losses on proxies
do. ``*_logits`` return class scores ``[B, C]``.
"""

from hierjax.losses.contrastive import (
    OFFICIAL_BASE_TEMPERATURE,
    hce_loss,
    hmc_loss,
    hmce_loss,
    simclr_loss,
    supcon_loss,
)
from hierjax.losses.level_contrastive import BALANCES, SCOPES, level_contrastive_loss
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
    "BALANCES",
    "OFFICIAL_BASE_TEMPERATURE",
    "SCOPES",
    "class_cosines",
    "corr_loss",
    "cross_entropy_loss",
    "hce_loss",
    "hierarchical_triplet_loss",
    "hierarchical_tuplet_loss",
    "hmc_loss",
    "hmce_loss",
    "level_contrastive_loss",
    "normface_logits",
    "proxydr_logits",
    "quadruplet_loss",
    "rank_based_loss",
    "simclr_loss",
    "softmax_logits",
    "supcon_loss",
]
