"""Settings of a training run."""

import dataclasses

from hierjax.data.samplers import KINDS
from hierjax.errors import UserError
from hierjax.options import Options, option

OPTIMIZERS = ("sgd", "adam", "adamw", "lars")
SCHEDULES = ("constant", "cosine")


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """Settings of `training.fit`; all checked on construction."""

    seed: int = option(0, "of weights, batches and augmentation.", minimum=0)
    num_steps: int = option(4000, "optimiser steps.", minimum=1)
    batch_size: int = option(
        12, "examples a step over all devices; tuples count their rows.", minimum=1
    )
    sampler: str = option(
        "balanced",
        "'uniform' epochs, 'balanced' across the ranks of pairs, 'tuples', or "
        "'hierarchical': anchors with a partner for every level.",
        choices=KINDS,
    )
    optimizer: str = option(
        "sgd", "'sgd', 'adam', 'adamw' or 'lars'.", choices=OPTIMIZERS
    )
    learning_rate: float = option(0.1, "at its peak.", minimum=0)
    schedule: str = option(
        "constant",
        "'constant', or 'cosine' from the end of the warm-up to the last step.",
        choices=SCHEDULES,
    )
    warmup_steps: int = option(
        0, "over which the learning rate first rises to its peak.", minimum=0
    )
    warmup_start: float = option(
        0.0, "where the warm-up starts, as a share of the peak.", minimum=0, maximum=1
    )
    final_share: float = option(
        0.0, "where 'cosine' ends, as a share of the peak.", minimum=0, maximum=1
    )
    momentum: float = option(0.0, "of SGD and LARS.", minimum=0, below=1)
    weight_decay: float = option(
        0.0,
        "coupled for SGD, Adam and LARS (added to the gradient), decoupled for AdamW; "
        "LARS spares biases and BatchNorm.",
        minimum=0,
    )
    eval_every: int = option(
        100, "steps between evaluations on the validation split.", minimum=1
    )
    evaluate_start: bool = option(
        False, "evaluate before the first step too, and let it be the best."
    )
    checkpoint_every: int = option(
        1000,
        "least number of steps between checkpoints; they are written after evaluations "
        "and at the end.",
        minimum=1,
    )
    patience: int = option(
        20, "evaluations without a better value before the end; 0: never.", minimum=0
    )
    selection: str = option(
        "silhouette/average",
        "validation measure that picks the best checkpoint, larger is better: "
        "'silhouette/average' or 'silhouette/<level>', 'nn/average' or 'nn/<level>' "
        "(nearest-neighbour accuracy against the training split), or 'accuracy' of a "
        "classifier.",
    )
    steps_per_call: int = option(
        500, "largest number of steps in one call to the devices.", minimum=1
    )

    def __post_init__(self):
        super().__post_init__()
        if self.schedule == "cosine" and self.warmup_steps >= self.num_steps:
            raise UserError(
                f"schedule cosine needs warmup_steps below num_steps {self.num_steps}, "
                f"got {self.warmup_steps}"
            )


def check_choice(name: str, value: str, accepted: tuple[str, ...]) -> None:
    """Require one of the accepted words."""
    if value not in accepted:
        raise UserError(f"{name} must be one of {', '.join(accepted)}, got {value!r}")
