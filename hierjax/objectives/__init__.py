"""Objectives: a loss bound to what it must learn or remember.

A pure loss knows nothing of training. An `Objective` adds parameters that get
gradients (proxies, attention heads) and state that does not (moving averages), so that
one train step serves every method. `from_loss` lifts any pure loss.
"""

from hierjax.objectives.classification import METHODS, PROXIES, classification
from hierjax.objectives.contrastive import (
    ACTIVATIONS,
    CONTRASTIVE,
    MASKS,
    contrastive,
    level_contrastive,
)
from hierjax.objectives.lifted import from_loss, from_tuple_loss
from hierjax.objectives.objective import Objective, weighted_sum

__all__ = [
    "ACTIVATIONS",
    "CONTRASTIVE",
    "MASKS",
    "METHODS",
    "PROXIES",
    "Objective",
    "classification",
    "contrastive",
    "from_loss",
    "from_tuple_loss",
    "level_contrastive",
    "weighted_sum",
]
