"""Training: one sharded step, one loop, exact resume."""

from hierjax.training.config import Config
from hierjax.training.loop import Result, fit
from hierjax.training.optimizers import make_optimizer
from hierjax.training.state import State, create_state
from hierjax.training.step import AXIS, make_embed, make_train_step

__all__ = [
    "AXIS",
    "Config",
    "Result",
    "State",
    "create_state",
    "fit",
    "make_embed",
    "make_optimizer",
    "make_train_step",
]
