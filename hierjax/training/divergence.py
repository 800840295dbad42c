"""What is kept of a step whose numbers were not finite, and how they are found."""

import dataclasses
import json
import math
import pathlib
from typing import Any

import jax
import numpy as np

from hierjax.errors import DivergedError, UserError
from hierjax.training.resuming import FORMAT, check_format
from hierjax.training.state import State

RECORD = "diverged.json"
"""File of a workdir, there only while the last run in it has ended so."""


@dataclasses.dataclass(frozen=True)
class Divergence:
    """The step at which a run stopped.

    Attributes:
      step: from 1.
      name: of the metric, or of the leaf of the state after the step.
      value: what it was.
      start: steps done before the call to the devices that the step belongs to.
      rows: ``[B]`` rows of the step's batch, over all devices.
      key: data of the run's random key; the step's is ``fold_in(key, step - 1)``.
      num_devices: that trained.
      metrics: of every step of the call, None where they were not finite.
    """

    step: int
    name: str
    value: float
    start: int
    rows: list[int]
    key: list[int]
    num_devices: int
    metrics: dict[str, list[float | None]]

    def error(self) -> DivergedError:
        """The sentence that ends the run."""
        return DivergedError(
            f"the {self.name} is {self.value} at step {self.step}; a smaller learning "
            "rate or scale is the usual cure"
        )

    def write(self, workdir: pathlib.Path) -> None:
        """Keep it for `replay`."""
        record = {"format": FORMAT, **dataclasses.asdict(self)}
        record["value"] = str(self.value)
        temporary = workdir / f"{RECORD}.part"
        temporary.write_text(json.dumps(record, indent=1) + "\n")
        temporary.replace(workdir / RECORD)


def read_divergence(workdir: pathlib.Path) -> Divergence:
    """What a run in a workdir ended with.

    Raises:
      UserError: it has no such record, or one that cannot be read.
    """
    path = workdir / RECORD
    if not path.exists():
        raise UserError(
            f"{workdir} holds no step to run again: {path.name} is written where a "
            "number of the training is not finite"
        )
    try:
        record = json.loads(path.read_text())
        check_format(path, record)
        del record["format"]
        return Divergence(**record | {"value": float(record["value"])})
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is no record of a step: {error}") from None


def first_bad_metric(metrics: dict[str, np.ndarray]) -> tuple[int, str, float] | None:
    """Place ``[K]``, name and value of the first number that is not finite, or None."""
    found = [
        (int(np.flatnonzero(~np.isfinite(values))[0]), number, name)
        for number, (name, values) in enumerate(metrics.items())
        if not np.isfinite(values).all()
    ]
    if not found:
        return None
    place, _, name = min(found)
    return place, name, float(metrics[name][place])


def first_bad_leaf(state: State) -> tuple[str, float] | None:
    """Name and value of the first leaf of a state that is not finite, or None.

    States of optimisers and objectives may hold infinities on purpose (the smallest
    loss before the first step, say), so that only NaN counts there.
    """
    held = {
        "params": state.params,
        "batch_stats": state.batch_stats,
        "objective_params": state.objective_params,
        "objective_state": state.objective_state,
        "opt_state": state.opt_state,
    }
    for path, leaf in jax.tree_util.tree_leaves_with_path(held):
        values = np.asarray(leaf)
        if not jax.numpy.issubdtype(values.dtype, np.inexact):
            continue
        values = values.astype(np.float64)
        name = leaf_name(path)
        meant = name.startswith(("objective_state", "opt_state"))
        bad = np.isnan(values) if meant else ~np.isfinite(values)
        if bad.any():
            return name, float(values[bad][0])
    return None


def leaf_name(path: tuple[Any, ...]) -> str:
    """A place in a pytree, such as 'params/Dense_0/kernel'."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def recorded(metrics: dict[str, np.ndarray]) -> dict[str, list[float | None]]:
    """Metrics as JSON holds them."""
    return {
        name: [value if math.isfinite(value) else None for value in values.tolist()]
        for name, values in metrics.items()
    }
