"""Settings of a training run."""

import dataclasses
import math

from hierjax.data.samplers import KINDS
from hierjax.errors import UserError

OPTIMIZERS = ("sgd", "adam", "adamw", "lars")
SCHEDULES = ("constant", "cosine")


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of `training.fit`; all checked on construction.

    Attributes:
      seed: of the initial weights, the batches and the augmentation; at least 0.
      num_steps: optimiser steps.
      batch_size: examples a step over all devices; tuples count their rows.
      sampler: 'uniform' epochs, 'balanced' across the ranks of pairs, 'tuples', or
        'hierarchical': anchors with a partner for every level.
      optimizer: 'sgd', 'adam', 'adamw' or 'lars'.
      learning_rate: peak learning rate.
      schedule: 'constant', or 'cosine' from the end of the warm-up to ``num_steps``.
      warmup_steps: steps over which the learning rate first rises linearly to its peak.
      warmup_start: where the warm-up starts, as a share of the peak in [0, 1].
      final_share: where 'cosine' ends, as a share of the peak in [0, 1].
      momentum: of SGD and LARS, in [0, 1).
      weight_decay: coupled for SGD, Adam and LARS (added to the gradient), decoupled
        for AdamW; LARS spares biases and BatchNorm.
      eval_every: steps between evaluations on the validation split.
      checkpoint_every: least number of steps between checkpoints; they are written
        after evaluations and at the end.
      patience: evaluations without a better value before training stops; 0: never.
      selection: validation measure that picks the best checkpoint, larger is better:
        'silhouette/average' or 'silhouette/<level>', or 'nn/average' or 'nn/<level>'
        (nearest-neighbour accuracy against the training split).
      steps_per_call: largest number of steps in one call to the devices.
    """

    seed: int = 0
    num_steps: int = 4000
    batch_size: int = 12
    sampler: str = "balanced"
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    schedule: str = "constant"
    warmup_steps: int = 0
    warmup_start: float = 0.0
    final_share: float = 0.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    eval_every: int = 100
    checkpoint_every: int = 1000
    patience: int = 20
    selection: str = "silhouette/average"
    steps_per_call: int = 500

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check_type(field, getattr(self, field.name))
        at_least = {
            "seed": 0,
            "num_steps": 1,
            "batch_size": 1,
            "warmup_steps": 0,
            "eval_every": 1,
            "checkpoint_every": 1,
            "patience": 0,
            "steps_per_call": 1,
            "learning_rate": 0,
            "warmup_start": 0,
            "final_share": 0,
            "momentum": 0,
            "weight_decay": 0,
        }
        for name, minimum in at_least.items():
            check_range(name, getattr(self, name), minimum=minimum)
        if not self.momentum < 1:
            raise UserError(f"momentum must be below 1, got {self.momentum}")
        for name in ("warmup_start", "final_share"):
            if getattr(self, name) > 1:
                raise UserError(
                    f"{name} is a share of the peak learning rate and must be at most "
                    f"1, got {getattr(self, name)}"
                )
        for name, accepted in (
            ("sampler", KINDS),
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
        ):
            check_choice(name, getattr(self, name), accepted)
        if self.schedule == "cosine" and self.warmup_steps >= self.num_steps:
            raise UserError(
                f"schedule cosine needs warmup_steps below num_steps {self.num_steps}, "
                f"got {self.warmup_steps}"
            )


def check_type(field: dataclasses.Field, value: object) -> None:
    """Require numbers to be finite and of the field's type, strings to be strings."""
    if field.type is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UserError(f"{field.name} must be a number, got {value!r}")
        if not math.isfinite(value):
            raise UserError(f"{field.name} must be finite, got {value}")
    elif field.type in (int, str, bool) and type(value) is not field.type:
        raise UserError(
            f"{field.name} must be of type {field.type.__name__}, got {value!r}"
        )


def check_range(name: str, value: float, *, minimum: float) -> None:
    """Require ``value >= minimum``."""
    if not value >= minimum:
        raise UserError(f"{name} must be at least {minimum}, got {value}")


def check_choice(name: str, value: str, accepted: tuple[str, ...]) -> None:
    """Require one of the accepted words."""
    if value not in accepted:
        raise UserError(f"{name} must be one of {', '.join(accepted)}, got {value!r}")
