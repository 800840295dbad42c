"""The step again whose numbers were not finite: which tensor was the first?"""

import dataclasses
import pathlib
import traceback
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hierjax.data.dataset import Dataset
from hierjax.errors import UserError
from hierjax.objectives import Objective
from hierjax.training.config import Config
from hierjax.training.divergence import (
    Divergence,
    first_bad_leaf,
    first_bad_metric,
    leaf_name,
    read_divergence,
    recorded,
)
from hierjax.training.optimizers import make_optimizer
from hierjax.training.preparation import Prepared, prepare
from hierjax.training.state import State, split_frozen
from hierjax.training.step import (
    AXIS,
    forward_pass,
    make_views,
    replicate,
    step_keys,
    take,
)


@dataclasses.dataclass(frozen=True)
class Replayed:
    """What running a step again has shown.

    Attributes:
      divergence: what the run had kept.
      start: step of the state from which all was run again, 0 for the initial one.
      is_equal: whether the metrics of the call with the recorded step are those of the
        run, bit for bit.
      step: the first step of which anything was not finite, from 1: that recorded, or
        one before whose gradient was not.
      rows: of that step's batch.
      first: names its first tensor that is not finite, in the order of computation.
    """

    divergence: Divergence
    start: int
    is_equal: bool
    step: int
    rows: list[int]
    first: str


def replay(
    model: nn.Module,
    objective: Objective,
    data: Dataset,
    config: Config,
    workdir: str | pathlib.Path,
    *,
    optimizer: optax.GradientTransformation | None = None,
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    pretrained: Callable | None = None,
) -> Replayed:
    """Run a training again from its last checkpoint to the step that was not finite.

    The calls are those of the run, on as many devices if this process has them, else on
    one, where sums round differently. The call that fails is run once more in single
    steps, and the step at fault in parts, with its whole batch on one device: outputs
    of modules as they are computed, loss and metrics, gradients from the loss back,
    then what the optimiser makes of them. Only dropout differs from that of several
    devices.

    Args:
      model: encoder that `fit` was given, as is all else.
      objective: see `fit`.
      data: see `fit`.
      config: see `fit`.
      workdir: of the run.
      optimizer: see `fit`.
      augment: see `fit`.
      pretrained: see `fit`.

    Raises:
      UserError: the run has kept no such step, or all numbers are finite this time.
    """
    from hierjax.training.checkpoints import Checkpoints

    workdir = pathlib.Path(workdir)
    held = read_divergence(workdir)
    optimizer = optimizer or make_optimizer(config)
    enough = held.num_devices <= len(jax.local_devices())
    ready = prepare(
        model,
        objective,
        data,
        config,
        optimizer=optimizer,
        augment=augment,
        pretrained=pretrained,
        num_devices=held.num_devices if enough else 1,
    )
    found = None
    if (workdir / "checkpoints").is_dir():
        checkpoints = Checkpoints(workdir / "checkpoints")
        try:
            found = checkpoints.newest(ready.shapes, lambda record: None)
        finally:
            checkpoints.close()
    state = jax.device_get(ready.make_state()) if found is None else found[1]
    start = int(state.step)
    if start >= held.step:
        raise UserError(
            f"{workdir}: its checkpoint is of step {start}, after the step {held.step} "
            "that was kept; train on"
        )
    state, is_equal = _before_fault(ready, config, held, state)
    step = int(state.step)
    rows = ready.sampler.indices(step, 1)[0]
    first = _first_tensor(
        model, objective, optimizer, augment, data, state, rows, ready
    )
    return Replayed(held, start, is_equal, step + 1, rows.tolist(), first)


def _before_fault(
    ready: Prepared, config: Config, held: Divergence, state: State
) -> tuple[State, bool]:
    """The state before the first step that gives anything that is not finite."""

    def taken(state, length):
        placed = replicate(state, devices=ready.local)
        after, metrics = ready.run(placed, int(state.step), length)
        metrics = {name: np.asarray(value) for name, value in metrics.items()}
        after = jax.device_get(after)
        return (
            after,
            metrics,
            not first_bad_metric(metrics) and not first_bad_leaf(after),
        )

    is_equal = False
    while int(state.step) < held.step:
        step = int(state.step)
        length = min(
            ready.call_length - step % ready.call_length, config.num_steps - step
        )
        after, metrics, is_fine = taken(state, length)
        if step == held.start:
            is_equal = recorded(metrics) == held.metrics
        if is_fine:
            state = after
            continue
        for _ in range(length):
            if length > 1:
                after, _, is_fine = taken(state, 1)
            if not is_fine:
                return state, is_equal
            state = after
    raise UserError(
        f"all numbers are finite up to step {held.step} this time: the {held.name} was "
        f"{held.value} on {held.num_devices} devices; other hardware rounds differently"
    )


def _first_tensor(
    model, objective, optimizer, augment, data, state, rows, ready
) -> str:
    """Which tensor of a step is the first that is not finite, as a clause."""
    labels = jnp.asarray(data.train_labels[rows])
    views = take(jax.tree.map(jnp.asarray, data.inputs), jnp.asarray(rows))
    key = jax.random.wrap_key_data(jax.random.key_data(ready.key))
    keys = step_keys(key, jnp.asarray(state.step), jnp.int32(0))
    views = make_views(views, augment, keys["augment"], jnp.arange(len(rows)))
    trainable = (split_frozen(model, state.params)[0], state.objective_params)
    names = []

    def loss_of(trainable):
        outputs, places = [], []

        def note(call, arguments, options, context):
            result = call(*arguments, **options)
            for number, leaf in enumerate(jax.tree.leaves(result)):
                if isinstance(leaf, jax.Array) and jnp.issubdtype(
                    leaf.dtype, jnp.inexact
                ):
                    outputs.append(leaf)
                    places.append((context.module.path, context.method_name, number))
            return result

        with nn.intercept_methods(note):
            embeddings, loss, extra = forward_pass(
                model, objective, trainable, state, views, labels, keys
            )
        names[:] = places
        return loss, (outputs, embeddings, extra)

    def everything(trainable):
        (loss, found), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable)
        updates, opt_state = optimizer.update(gradients, state.opt_state, trainable)
        after = optax.apply_updates(trainable, updates)
        return loss, found, gradients, updates, opt_state, after

    # An axis of one device, for what the model shares between devices.
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], trainable)
    result = jax.jit(jax.vmap(everything, axis_name=AXIS))(one)
    result = jax.tree.map(lambda leaf: np.asarray(leaf)[0], result)
    loss, (outputs, embeddings, extra), gradients, updates, opt_state, after = result
    batch_stats, objective_state, metrics = extra

    for path, leaf in jax.tree_util.tree_leaves_with_path(views):
        if said := _described(leaf):
            return f"the input {leaf_name(path)} of the batch ({said})".replace(
                "  ", " "
            )
    for (module, method, _), leaf in zip(names, outputs, strict=True):
        if said := _described(leaf):
            where = "/".join(module) or type(model).__name__
            which = "" if method == "__call__" else f", method {method}"
            return f"the output of module {where}{which} ({said})"
    for name, leaf in [*metrics.items(), ("loss", loss)]:
        if said := _described(leaf):
            place = _line_of_nan(objective, state, embeddings, labels, keys)
            return f"the {name} ({said}), of embeddings that are finite{place}"
    order = {module: number for number, (module, _, _) in enumerate(names)}

    def backwards(path_and_leaf):
        """Objective first, then modules from the last that was computed."""
        side, *place = leaf_name(path_and_leaf[0]).split("/")
        if side == "1":
            return -len(names)
        deepest = max(
            (len(module), number)
            for module, number in (order | {(): len(names)}).items()
            if list(module) == place[: len(module)]
        )
        return -deepest[1]

    bad = [
        (path, said)
        for path, leaf in sorted(
            jax.tree_util.tree_leaves_with_path(gradients), key=backwards
        )
        if (said := _described(leaf))
    ]
    if bad:
        path, said = bad[0]
        more = f"; so are {len(bad) - 1} other gradients" * (len(bad) > 1)
        return f"the gradient of {_parameter(path)} ({said}), of a finite loss{more}"
    kept = (("batch statistic", batch_stats), ("objective's state", objective_state))
    for what, tree in (*kept, ("update of", updates), ("parameter", after)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            if said := _described(leaf):
                whose = leaf_name(path) if tree is not updates else _parameter(path)
                whose = _parameter(path) if tree is after else whose
                return f"the {what} {whose} ({said}), of finite gradients"
    for path, leaf in jax.tree_util.tree_leaves_with_path(opt_state):
        if said := _described(leaf):
            return f"the optimiser's state {leaf_name(path)} ({said})"
    return "none: with its batch on one device all of the step's numbers are finite"


def _parameter(path: tuple[Any, ...]) -> str:
    """Name of a leaf of ``(params, objective_params)``."""
    side, _, rest = leaf_name(path).partition("/")
    return rest if side == "0" else f"objective/{rest}".rstrip("/")


def _described(leaf: Any) -> str | None:
    """How much of an array is not finite; None where all is."""
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return None
    values = np.asarray(leaf).astype(np.float64)
    bad = ~np.isfinite(values)
    if not bad.any():
        return None
    if not values.ndim:
        return str(float(values))
    kinds = {str(value) for value in values[bad].ravel()[:1000].tolist()}
    return f"{' and '.join(sorted(kinds))} in {bad.sum()} of {bad.size} numbers"


def _line_of_nan(objective, state, embeddings, labels, keys) -> str:
    """Where in the loss a NaN is made first, as ', made in line ...'; or ''."""
    arguments = (state.objective_params, state.objective_state, embeddings, labels)
    where = jnp.ones((len(labels),), bool)
    try:
        with jax.debug_nans(True), jax.disable_jit():
            objective.apply(
                *arguments, key=keys["objective"], where=where, axis_name=None
            )
    except FloatingPointError as error:
        frames = traceback.extract_tb(error.__traceback__)
        libraries = ("/jax/", "/jaxlib/", "/optax/", "/contextlib.py")
        own = [f for f in frames if not any(part in f.filename for part in libraries)]
        place = own[-1]
        file = "/".join(pathlib.Path(place.filename).parts[-3:])
        return f"; NaN first in {file} line {place.lineno}, in {place.name}"
    return ""
