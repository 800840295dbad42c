"""Training: one sharded step, one loop, exact resume."""

from hierjax.training import hosts
from hierjax.training.config import Config
from hierjax.training.loop import (
    Result,
    classifier,
    fit,
    restore_best,
)
from hierjax.training.optimizers import make_optimizer
from hierjax.training.preparation import example_inputs
from hierjax.training.probe import Choice, Probe, ProbeConfig, linear_probe
from hierjax.training.records import Written, check_written, read_records
from hierjax.training.rehearsal import Rehearsal, rehearse
from hierjax.training.replay import Replayed, replay
from hierjax.training.resuming import why_not_extend
from hierjax.training.selecting import Best
from hierjax.training.state import State, create_state, initial_variables
from hierjax.training.step import (
    AXIS,
    augmented_embedder,
    embedder,
    make_train_step,
    replicate,
)

__all__ = [
    "AXIS",
    "Best",
    "Choice",
    "Config",
    "Probe",
    "ProbeConfig",
    "Rehearsal",
    "Replayed",
    "Result",
    "State",
    "Written",
    "augmented_embedder",
    "check_written",
    "classifier",
    "create_state",
    "embedder",
    "example_inputs",
    "fit",
    "hosts",
    "initial_variables",
    "linear_probe",
    "make_optimizer",
    "make_train_step",
    "read_records",
    "rehearse",
    "replay",
    "replicate",
    "restore_best",
    "why_not_extend",
]
