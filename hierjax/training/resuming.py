"""What a checkpoint says about its run: enough to continue it, and no more.

Everything that training writes carries a format number. A file without one is of
format 1, which kept the whole configuration that `fit` was given, fields of its caller
included, and counted every evaluation; it is still read.
"""

import dataclasses
import math
import operator
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from hierjax import stored
from hierjax.errors import UserError
from hierjax.training.config import Config
from hierjax.training.records import FORMAT, Written, check_format
from hierjax.training.state import State

WITHOUT_EFFECT = frozenset({"checkpoint_every", "steps_per_call"})
"""Fields of `Config` that leave the course of a run as it is."""


@dataclasses.dataclass
class Selection:
    """The best validation value so far and how long ago it was.

    Attributes:
      best_value: the largest value, minus infinity before the first.
      best_step: when it came; the first of equals.
      evaluations_since: evaluations after that.
    """

    best_value: float = -math.inf
    best_step: int = 0
    evaluations_since: int = 0

    def __post_init__(self):
        self.best_value = float(self.best_value)
        self.best_step = operator.index(self.best_step)
        self.evaluations_since = operator.index(self.evaluations_since)

    def update(self, value: float, step: int) -> bool:
        """Note a value; True if it is the best so far."""
        if value > self.best_value:
            self.best_value, self.best_step = value, step
            self.evaluations_since = 0
            return True
        self.evaluations_since += 1
        return False

    def describe(self) -> str:
        """The best value and its step in words."""
        if math.isinf(self.best_value):
            return "no evaluation yet"
        return f"best {self.best_value:.3f} at step {self.best_step}"

    def has_patience(self, patience: int) -> bool:
        """Whether fewer evaluations than that passed since the best; 0: always."""
        return not patience or self.evaluations_since < patience


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a run stood at a checkpoint.

    Attributes:
      config: what it was trained with.
      shapes: of its state, see `describe_shapes`; empty in format 1, which did not say.
      selection: over the evaluations that ``eval_every`` asked for.
      closing_value: of an evaluation between those, made because the run ended: a
        longer run makes none there. None where the end was one of the others.
      begun: metrics of the steps of a call that the end of the run cut short, by name.
      written: the mark of the records so far; None where files did not say.
    """

    config: Config
    shapes: dict[str, str]
    selection: Selection
    closing_value: float | None
    begun: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    written: Written | None = None

    def record(self) -> dict:
        """All of it as a JSON-compatible dict that `from_record` reads."""
        return {
            "format": FORMAT,
            "config": _own_fields(self.config),
            "shapes": self.shapes,
            "selection": dataclasses.asdict(self.selection),
            "closing_value": self.closing_value,
            "begun": self.begun,
            "written": self.written and dataclasses.asdict(self.written),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], path: pathlib.Path) -> "Standing":
        """Read a record of this or an earlier format.

        A field that `Config` did not have yet takes its default, which therefore must
        mean what the code before it did. Fields that it does not have are not looked
        at: format 1 kept those of the caller as well.

        Args:
          record: what was stored.
          path: where, for messages.

        Raises:
          UserError: a later version wrote it, or something else did.
        """
        check_format(path, record)
        known = {field.name for field in dataclasses.fields(Config)}
        with stored.refused(path):
            kept = record["config"].items()
            held = {name: value for name, value in kept if name in known}
            written, closing = record.get("written"), record.get("closing_value")
            return cls(
                config=Config(**held),
                shapes=dict(record.get("shapes", {})),
                selection=Selection(**record["selection"]),
                closing_value=closing if closing is None else float(closing),
                begun={
                    name: [float(value) for value in values]
                    for name, values in record.get("begun", {}).items()
                },
                written=written and Written(**written),
            )

    @property
    def ends_with_best(self) -> bool:
        """Whether the closing evaluation found the best value."""
        closing = self.closing_value
        return closing is not None and closing > self.selection.best_value


def _own_fields(config: Config) -> dict[str, Any]:
    """What `Config` itself declares; the caller's may be a subclass with more."""
    return {
        field.name: getattr(config, field.name) for field in dataclasses.fields(Config)
    }


def describe_shapes(state: State) -> dict[str, str]:
    """Path to a text such as 'float32[24,3]' for what model and objective hold.

    Args:
      state: of arrays, or of shapes alone.
    """
    held = {
        "params": state.params,
        "batch_stats": state.batch_stats,
        "objective_params": state.objective_params,
        "objective_state": state.objective_state,
    }
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
        )
        for path, leaf in jax.tree_util.tree_leaves_with_path(held)
    }


def why_not_extend(config: Config, held_steps: int) -> str | None:
    """Why a run of so many steps cannot become one of ``config.num_steps``.

    Args:
      config: the run as it shall be; ``num_steps`` may equal ``held_steps``.
      held_steps: ``num_steps`` of the run as it is, finished or not.

    Returns:
      None where the longer run begins exactly as the shorter one did, so that it may
      go on; otherwise the reason, a clause without a full stop.
    """
    if config.num_steps == held_steps:
        return None
    if config.num_steps < held_steps:
        return "a run can be given more steps and not fewer"
    if config.schedule != "constant":
        return (
            f"the schedule {config.schedule} spreads over num_steps, so that a longer "
            "run differs from its first step on"
        )
    return None


def check_same_settings(workdir: pathlib.Path, held: Standing, config: Config) -> None:
    """Refuse to continue a run with other settings.

    Args:
      workdir: of the run, for messages.
      held: where it stood.
      config: what it is to be continued with.

    Raises:
      UserError: it would not be the same run. More ``num_steps`` than it had are fine
        where `why_not_extend` knows no reason against them.
    """
    before, now = _own_fields(held.config), _own_fields(config)
    against = why_not_extend(config, held.config.num_steps)
    if against is None:
        before["num_steps"] = now["num_steps"]
    differing = [
        f"{name} was {before[name]!r} and is now {now[name]!r}"
        + (f" ({against})" if name == "num_steps" else "")
        for name in sorted(now.keys() - WITHOUT_EFFECT)
        if before[name] != now[name]
    ]
    if differing:
        raise UserError(
            f"workdir {workdir} holds a run of another configuration: "
            f"{'; '.join(differing)}; choose another workdir"
        )


def check_same_shapes(
    workdir: pathlib.Path, held: Standing, shapes: dict[str, str]
) -> None:
    """Refuse the state of another model or objective.

    Args:
      workdir: of the run, for messages.
      held: where it stood.
      shapes: `describe_shapes` of the state that model and objective make.

    Raises:
      UserError: they differ, naming the first leaf that does.
    """
    if not held.shapes:
        return
    for name in sorted(held.shapes.keys() | shapes.keys()):
        before, now = held.shapes.get(name, "absent"), shapes.get(name, "absent")
        if before != now:
            raise UserError(
                f"workdir {workdir} holds a run of another model or objective: {name} "
                f"was {before} and is now {now}; choose another workdir"
            )
