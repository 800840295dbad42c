"""Objectives, a loss bound to what it must learn or remember, and methods, their kinds.

A pure loss knows nothing of training. An `Objective` adds parameters that get
gradients (proxies, attention heads) and state that does not (moving averages), so that
one train step serves every method. `from_loss` lifts any pure loss. A `Method` is the
declaration of one as plain data: its options with their ranges, what it needs, and
`Method.build`, which makes the objective on a tree. Every module of this package that
declares a method is loaded with it; ``Method.kinds`` has them by name.
"""

import importlib
import pkgutil

from hierjax.objectives.classifier import Classification
from hierjax.objectives.contrastive import HCE, HMC, HMCE, Contrastive, SimCLR, SupCon
from hierjax.objectives.criteria import (
    Corr,
    Criterion,
    CrossEntropy,
    HAFrame,
    ProxyAnchor,
)
from hierjax.objectives.level_contrastive import LevelContrastive
from hierjax.objectives.lifted import from_loss, from_tuple_loss
from hierjax.objectives.mask_kinds import (
    AttentionMasks,
    FixedMasks,
    GaussianMasks,
    HeadMasks,
    Masks,
    NoMasks,
)
from hierjax.objectives.method import Method, PairLoss
from hierjax.objectives.node_classifiers import (
    ConditionalSoftmax,
    HierCOS,
    NodeClassifier,
)
from hierjax.objectives.objective import Objective, weighted_sum
from hierjax.objectives.pairs import HAP, MultiSimilarity
from hierjax.objectives.rank_based import RankBased
from hierjax.objectives.regularizers import (
    CPCC,
    NoRegularizer,
    Regularizer,
    regularized,
)
from hierjax.objectives.representatives import (
    FixedByTree,
    FixedFrame,
    Learned,
    MovingAverage,
    Representatives,
)
from hierjax.objectives.scales import Constant, Dynamic, Scale
from hierjax.objectives.scores import ArcFace, NormFace, ProxyDR, Score, Softmax
from hierjax.objectives.tree_contrastive import LevelRestricted, TreeSimilarity
from hierjax.objectives.tree_criteria import HACE, HXE, Marginal, SoftLabels
from hierjax.objectives.tuplets import Triplet, Tuplet
from hierjax.objectives.untrained import Input, Untrained

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

__all__ = [
    "ArcFace",
    "AttentionMasks",
    "CPCC",
    "Classification",
    "ConditionalSoftmax",
    "Constant",
    "Contrastive",
    "Corr",
    "Criterion",
    "CrossEntropy",
    "Dynamic",
    "FixedByTree",
    "FixedFrame",
    "FixedMasks",
    "GaussianMasks",
    "HACE",
    "HAFrame",
    "HAP",
    "HCE",
    "HMC",
    "HMCE",
    "HXE",
    "HeadMasks",
    "HierCOS",
    "Input",
    "Learned",
    "LevelContrastive",
    "LevelRestricted",
    "Marginal",
    "Masks",
    "Method",
    "MovingAverage",
    "MultiSimilarity",
    "NoMasks",
    "NoRegularizer",
    "NodeClassifier",
    "NormFace",
    "Objective",
    "PairLoss",
    "ProxyAnchor",
    "ProxyDR",
    "RankBased",
    "Regularizer",
    "Representatives",
    "Scale",
    "Score",
    "SimCLR",
    "SoftLabels",
    "Softmax",
    "SupCon",
    "TreeSimilarity",
    "Triplet",
    "Tuplet",
    "Untrained",
    "from_loss",
    "from_tuple_loss",
    "regularized",
    "weighted_sum",
]
