"""The first steps of a run, to learn what it takes before it is started."""

import dataclasses
import time
from collections.abc import Callable

import flax.linen as nn
import jax
import numpy as np
import optax

from hierjax.data.dataset import Dataset
from hierjax.objectives import Objective
from hierjax.training.config import Config
from hierjax.training.preparation import prepare

_LONGEST_CALL = 10
"""Steps a call; the more, the less of the call itself is in the time of a step."""


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """What the first steps showed.

    Attributes:
      shapes: what is held or made, name to a text such as 'float32 [1530, 24, 32]'.
      num_params: of the model.
      num_objective_params: of the objective, such as proxies.
      data_bytes: inputs and labels, on every device.
      state_bytes: parameters, statistics and optimiser, on every device.
      step_bytes: what the compiled step needs beside those on a device, as its compiler
        says; None where it does not.
      compile_seconds: of the step.
      step_seconds: one step, compiled, as part of a call.
      loss: of the first step.
      num_devices: that train together.
    """

    shapes: dict[str, str]
    num_params: int
    num_objective_params: int
    data_bytes: int
    state_bytes: int
    step_bytes: int | None
    compile_seconds: float
    step_seconds: float
    loss: float
    num_devices: int


def rehearse(
    model: nn.Module,
    objective: Objective,
    data: Dataset,
    config: Config,
    *,
    optimizer: optax.GradientTransformation | None = None,
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    pretrained: Callable | None = None,
    num_devices: int | None = None,
) -> Rehearsal:
    """Build everything that `fit` builds, make two calls, keep nothing.

    A call has as many steps as one of `fit`, ten at most; the time is that of the
    second. Several hosts rehearse together, each with its part of the batch.

    Args:
      model: encoder.
      objective: what will be minimised.
      data: features, labels and splits.
      config: settings of the run.
      optimizer: replaces the one that ``config`` describes.
      augment: see `make_train_step`.
      pretrained: see `create_state`.
      num_devices: local devices to use; None: all, on all hosts.

    Raises:
      UserError: where `fit` raises it before the first step.
    """
    ready = prepare(
        model,
        objective,
        data,
        config,
        optimizer=optimizer,
        augment=augment,
        pretrained=pretrained,
        num_devices=num_devices,
    )
    state = ready.make_state()
    held = {
        "inputs": ready.inputs,
        "labels": ready.labels,
        "batch": ready.rows(0, 1)[0],
    }
    embeddings = jax.eval_shape(
        model.apply,
        state.variables,
        jax.tree.map(lambda x: x[: config.batch_size].astype(np.float32), data.inputs),
    )
    shapes = {name: _shapes(leaves) for name, leaves in held.items()}
    shapes["embeddings"] = _shapes(embeddings)
    sizes = {
        "num_params": _count(state.params),
        "num_objective_params": _count(state.objective_params),
        "data_bytes": _bytes((ready.inputs, ready.labels)),
        "state_bytes": _bytes(state),
    }
    length = min(ready.call_length, _LONGEST_CALL)
    arguments = (ready.inputs, ready.labels, ready.key)
    rows = ready.rows(0, length)
    started = time.perf_counter()
    compiled = ready.train_step.lower(state, *arguments, rows).compile()
    compile_seconds = time.perf_counter() - started
    memory = compiled.memory_analysis()
    # Not `compiled` itself, which on several hosts wants global arrays.
    state, first = ready.run(state, 0, length)
    jax.block_until_ready(first)
    started = time.perf_counter()
    _, second = ready.run(state, length, length)
    jax.block_until_ready(second)
    step_seconds = (time.perf_counter() - started) / length
    return Rehearsal(
        shapes=shapes,
        **sizes,
        step_bytes=None if memory is None else int(memory.temp_size_in_bytes),
        compile_seconds=compile_seconds,
        step_seconds=step_seconds,
        loss=float(np.asarray(first["loss"])[0]),
        num_devices=len(ready.everyone),
    )


def _shapes(tree) -> str:
    return ", ".join(
        f"{leaf.dtype} {list(leaf.shape)}" for leaf in jax.tree.leaves(tree)
    )


def _count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _bytes(tree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
