"""Losses: pure functions from embeddings and labels to one scalar.

The contract of every loss (see README, "Losses"): arrays first, options by keyword;
the value is already averaged over everything valid on all devices; nothing valid
gives 0 with gradient 0; losses on pairs never normalise their rows, losses on proxies
do. ``*_logits`` return class scores ``[B, C]``.
"""

from hierjax.losses.average_precision import hap_loss
from hierjax.losses.conditional import (
    conditional_log_probs,
    conditional_softmax_loss,
    sibling_log_priors,
)
from hierjax.losses.contrastive import (
    OFFICIAL_BASE_TEMPERATURE,
    hce_loss,
    hmc_loss,
    hmce_loss,
    simclr_loss,
    supcon_loss,
)
from hierjax.losses.frames import (
    frame_similarity,
    haframe,
    haframe_loss,
    hier_cos_loss,
    hier_cos_scores,
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
from hierjax.losses.proxy_pairs import (
    arcface_logits,
    hierarchical_proxy_anchor_loss,
    multi_similarity_loss,
    proxy_anchor_loss,
)
from hierjax.losses.rank import rank_based_loss
from hierjax.losses.regularizers import CLASS_DISTANCES, cpcc, cpcc_loss
from hierjax.losses.taxonomic import (
    ancestor_log_probs,
    hace_loss,
    hxe_loss,
    marginal_loss,
    soft_label_loss,
    soft_labels,
)
from hierjax.losses.tree_contrastive import level_restricted_loss, tree_similarity_loss
from hierjax.losses.triplet import hierarchical_triplet_loss
from hierjax.losses.tuplet import hierarchical_tuplet_loss, quadruplet_loss

__all__ = [
    "BALANCES",
    "CLASS_DISTANCES",
    "OFFICIAL_BASE_TEMPERATURE",
    "SCOPES",
    "ancestor_log_probs",
    "arcface_logits",
    "class_cosines",
    "conditional_log_probs",
    "conditional_softmax_loss",
    "corr_loss",
    "cpcc",
    "cpcc_loss",
    "cross_entropy_loss",
    "frame_similarity",
    "hace_loss",
    "haframe",
    "haframe_loss",
    "hap_loss",
    "hce_loss",
    "hier_cos_loss",
    "hier_cos_scores",
    "hierarchical_proxy_anchor_loss",
    "hierarchical_triplet_loss",
    "hierarchical_tuplet_loss",
    "hmc_loss",
    "hmce_loss",
    "hxe_loss",
    "level_contrastive_loss",
    "level_restricted_loss",
    "marginal_loss",
    "multi_similarity_loss",
    "normface_logits",
    "proxy_anchor_loss",
    "proxydr_logits",
    "quadruplet_loss",
    "rank_based_loss",
    "sibling_log_priors",
    "simclr_loss",
    "soft_label_loss",
    "soft_labels",
    "softmax_logits",
    "supcon_loss",
    "tree_similarity_loss",
]
