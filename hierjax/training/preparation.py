"""What a run needs before its first step: checks, placed data, the compiled step."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import optax

from hierjax import evaluation
from hierjax.data.dataset import Dataset
from hierjax.data.samplers import Sampler, make_sampler
from hierjax.errors import UserError
from hierjax.objectives import Objective
from hierjax.training import hosts
from hierjax.training.config import Config
from hierjax.training.optimizers import make_optimizer
from hierjax.training.state import State, create_state, state_shapes
from hierjax.training.step import (
    make_train_step,
    replicate,
    runs_slowly_in_loops,
    take,
)


class Prepared(NamedTuple):
    """A run that could start.

    Attributes:
      shapes: of the state, a `State` of `jax.ShapeDtypeStruct`.
      make_state: ``() -> State``, the initial one on all devices; a step donates it.
      inputs: what the steps take their rows from, on all devices.
      labels: ``[N, L]`` that training may see, on all devices.
      key: random key of the run, on all devices.
      train_step: see `make_train_step`.
      sampler: of the batches.
      everyone: devices that train together, on all hosts.
      local: those of this process.
      selected: what is selected on, by the names of the settings, to the names of the
        measures; empty without a validation split.
      call_length: steps in one call; it divides the evaluation interval.
    """

    shapes: State
    make_state: Callable[[], State]
    inputs: Any
    labels: jax.Array
    key: jax.Array
    train_step: Callable
    sampler: Sampler
    everyone: tuple[jax.Device, ...]
    local: tuple[jax.Device, ...]
    selected: dict[str, str]
    call_length: int

    def rows(self, step: int, length: int) -> np.ndarray:
        """This process's part of some batches.

        Args:
          step: of the first batch.
          length: number of batches, K.

        Returns:
          int32 ``[K, len(local), b]``.
        """
        return hosts.local_rows(
            self.sampler.indices(step, length), self.everyone, self.local
        )

    def run(self, state: State, step: int, length: int) -> tuple[State, dict]:
        """Take some steps in one call.

        Args:
          state: before them; it is donated.
          step: how many were done.
          length: how many to do, K.

        Returns:
          The state after them and metrics ``[K]`` each.
        """
        rows = self.rows(step, length)
        return self.train_step(state, self.inputs, self.labels, self.key, rows)


def prepare(
    model: nn.Module,
    objective: Objective,
    data: Dataset,
    config: Config,
    *,
    selections: Iterable[str] = (),
    optimizer: optax.GradientTransformation | None = None,
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    pretrained: Callable | None = None,
    num_devices: int | None = None,
) -> Prepared:
    """Check the parts of a run against each other and put them in place.

    Args:
      model: encoder.
      objective: what will be minimised.
      data: features, labels and splits.
      config: settings of the run.
      selections: measures that will select besides ``config.selection``.
      optimizer: replaces the one that ``config`` describes.
      augment: see `make_train_step`.
      pretrained: see `create_state`.
      num_devices: local devices to use; None: all, on all hosts.

    Raises:
      UserError: for a batch that the devices cannot share or the objective does not
        take, no training row with a label, an unknown selection measure, or other
        classes than those of the objective.
    """
    everyone, local = hosts.choose_devices(num_devices)
    _check_batch(config, objective, len(everyone))
    _check_classes(objective, data)
    train_rows = data.rows("train")
    if objective.needs_labels:
        train_rows = train_rows[data.train_labels[train_rows, 0] >= 0]
    if not train_rows.size:
        raise UserError(f"{data.name}: no training row has a known label")
    selected = {}
    if "validation" in data.splits:
        for selection in (config.selection, *selections):
            selected[selection] = evaluation.check_selection(
                selection, data.hierarchy, has_scores=objective.scores is not None
            )
    optimizer = optimizer or make_optimizer(config)
    sampler = make_sampler(
        config.sampler, data.train_labels, train_rows, config.batch_size, config.seed
    )
    place = functools.partial(replicate, devices=local)
    inputs, labels = place((data.training_inputs, data.train_labels))
    parts = (model, objective, optimizer, example_inputs(data))
    shapes = state_shapes(*parts)
    return Prepared(
        shapes=shapes,
        make_state=lambda: place(
            create_state(*parts, config.seed, pretrained=pretrained)
        ),
        inputs=inputs,
        labels=labels,
        key=place(jax.random.key(config.seed)),
        train_step=make_train_step(
            model, objective, optimizer.update, augment=augment, devices=everyone
        ),
        sampler=sampler,
        everyone=everyone,
        local=local,
        selected=selected,
        call_length=_call_length(
            config, only_one=runs_slowly_in_loops(shapes.params, local)
        ),
    )


def _call_length(config: Config, *, only_one: bool) -> int:
    """Largest divisor of the evaluation interval not above ``steps_per_call``."""
    limit = 1 if only_one else min(config.steps_per_call, config.eval_every)
    return max(k for k in range(1, limit + 1) if config.eval_every % k == 0)


def _check_batch(config: Config, objective: Objective, num_devices: int) -> None:
    unit = objective.tuple_size * num_devices
    if config.batch_size % unit:
        rows = f" x {objective.tuple_size} rows a tuple" * (objective.tuple_size > 1)
        raise UserError(
            f"batch_size {config.batch_size} does not divide by {num_devices} "
            f"devices{rows}; the nearest sizes are "
            f"{max(config.batch_size // unit, 1) * unit} and "
            f"{(config.batch_size // unit + 1) * unit}"
        )
    if (objective.tuple_size > 1) != (config.sampler == "tuples"):
        raise UserError(
            f"sampler {config.sampler!r} does not fit an objective with tuples of "
            f"{objective.tuple_size} rows"
        )


def _check_classes(objective: Objective, data: Dataset) -> None:
    there = objective.num_classes
    if there is not None and there != data.hierarchy.num_classes:
        raise UserError(
            f"{data.name} has {data.hierarchy.num_classes} classes, the objective has "
            f"{there} representatives; make it from this data set's hierarchy"
        )
    if there is not None and not (data.train_labels[data.rows("train"), -1] >= 0).any():
        raise UserError(f"{data.name}: no training row has a known class")


def example_inputs(data: Dataset) -> Any:
    """The first row as the model is fed it.

    Args:
      data: of any size.

    Returns:
      Leaves ``[1, ...]`` of floats.
    """
    return take(data.inputs, np.zeros(1, np.int32))
