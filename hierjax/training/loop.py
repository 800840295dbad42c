"""The training loop, free of flags: what notebooks and the command line both call."""

import dataclasses
import math
import pathlib
from collections.abc import Callable

import flax.linen as nn
import jax
import numpy as np
import optax

from hierjax import evaluation
from hierjax.data.dataset import Dataset
from hierjax.errors import DivergedError, UserError
from hierjax.objectives import Objective
from hierjax.training import hosts
from hierjax.training.config import Config
from hierjax.training.optimizers import make_optimizer
from hierjax.training.preparation import example_inputs, prepare
from hierjax.training.state import State, create_state
from hierjax.training.step import embedder, replicate
from hierjax.training.writer import MetricWriter, Progress


@dataclasses.dataclass(frozen=True)
class Result:
    """What `fit` returns.

    Attributes:
      state: the best state on validation; the last one without a validation split.
      last_state: the state after the last step.
      best_step: step of ``state``.
      best_value: its selection measure, NaN without a validation split.
      records: the numbers written along the way, a dict a record.
      embed: ``rows [N] -> embeddings [N, D]`` of the data set with ``state``, or
        features if those were asked for.
      classifier: of ``state``, None where the objective has no class scores.
    """

    state: State
    last_state: State
    best_step: int
    best_value: float
    records: list[dict]
    embed: Callable[[np.ndarray], np.ndarray]
    classifier: evaluation.Classifier | None


@dataclasses.dataclass
class _Selection:
    """The best validation value so far and how long ago it was."""

    best_value: float = -math.inf
    best_step: int = 0
    evaluations_since: int = 0

    def update(self, value: float, step: int) -> bool:
        """Note a value; True if it is the best so far."""
        if value > self.best_value:
            self.best_value, self.best_step = value, step
            self.evaluations_since = 0
            return True
        self.evaluations_since += 1
        return False


def classifier(objective: Objective, state: State) -> evaluation.Classifier | None:
    """What an objective has learned about classes; None where it has no scores."""
    if objective.scores is None:
        return None
    variables = jax.device_get((state.objective_params, state.objective_state))

    def scores(embeddings, representatives=None):
        return np.asarray(objective.scores(*variables, embeddings, representatives))

    return evaluation.Classifier(
        scores, np.asarray(objective.representatives(*variables))
    )


def fit(
    model: nn.Module,
    objective: Objective,
    data: Dataset,
    config: Config,
    workdir: str | pathlib.Path | None = None,
    *,
    optimizer: optax.GradientTransformation | None = None,
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    pretrained: Callable | None = None,
    measured: str = "embeddings",
    num_devices: int | None = None,
    verbose: bool = False,
) -> Result:
    """Train a model and keep its best state on validation.

    Without a validation split there is no selection and no early stopping: all steps
    are run and the last state is returned. With a workdir the run is logged and
    checkpointed there and continues from its last checkpoint, giving the same numbers
    as a run that was never interrupted. A workdir serves one config, model, objective
    and data set; another config is refused.

    Args:
      model: Linen encoder ``(inputs [B, ...], train) -> embeddings [B, D]``.
      objective: see `objectives`.
      data: features, labels and splits; held on every device.
      config: settings of the loop.
      workdir: directory of the run, or None to write nothing.
      optimizer: replaces the one that ``config`` describes.
      augment: see `make_train_step`.
      pretrained: see `create_state`.
      measured: 'embeddings', or 'features', what comes before the head: what
        validation looks at and `Result.embed` returns.
      num_devices: local devices to use; None: all, on all hosts.
      verbose: show progress on the terminal.

    Raises:
      UserError: for a batch that the devices cannot share, a missing split, an unknown
        or undefined selection measure, more classes than the objective has, or a
        workdir of another config.
      DivergedError: the loss or another number is not finite (naming the step).
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
    state = ready.state
    validate = "validation" in data.splits
    best, selection = jax.device_get(state), _Selection()

    checkpoints = None
    if workdir is not None:
        # Imported here: Orbax is slow to load and short runs go without.
        from hierjax.training.checkpoints import Checkpoints

        workdir = pathlib.Path(workdir)
        checkpoints = Checkpoints(workdir / "checkpoints")
        restored = checkpoints.restore(state)
        if restored is not None:
            last, best, progress = restored
            _check_same_run(workdir, progress["config"], dataclasses.asdict(config))
            state = replicate(last, devices=ready.local)
            selection = _Selection(**progress["selection"])
    step = saved_step = int(state.step)
    writer = MetricWriter(workdir if hosts.is_main() else None, step)
    bar = Progress(config.num_steps, step, enabled=verbose and hosts.is_main())

    def embed_with(state):
        return embedder(
            model, state.variables, ready.inputs, devices=ready.local, method=measured
        )

    def patience_left():
        return not config.patience or selection.evaluations_since < config.patience

    try:
        while step < config.num_steps and patience_left():
            length = min(ready.call_length, config.num_steps - step)
            state, metrics = ready.run(state, step, length)
            # Reading the values waits for the devices: un-synchronised calls on fake
            # CPU devices abort in XLA's rendezvous.
            metrics = {name: np.asarray(value) for name, value in metrics.items()}
            _check_finite(metrics, step)
            step += length
            bar.update(step, f"loss {metrics['loss'].mean():.4g}")
            finished = step >= config.num_steps
            if step % config.eval_every and not finished:
                continue
            values = {name: value.mean() for name, value in metrics.items()}
            if validate:
                measures = evaluation.validation_measures(
                    embed_with(state),
                    data,
                    config.selection,
                    classifier=classifier(objective, state),
                )
                values |= {f"validation/{k}": v for k, v in measures.items()}
                value = hosts.agree(measures[config.selection])
                if math.isnan(value):
                    raise UserError(
                        f"selection measure {config.selection} is undefined on the "
                        "validation split; choose another or leave the split out"
                    )
                if selection.update(value, step):
                    best = jax.device_get(state)
            writer.write(step, values)
            ends = finished or not patience_left()
            if checkpoints and (ends or step - saved_step >= config.checkpoint_every):
                saved_step = step
                kept = best if validate else jax.device_get(state)
                progress = {
                    "selection": dataclasses.asdict(selection),
                    "config": dataclasses.asdict(config),
                }
                checkpoints.save(step, state, kept, progress)
    finally:
        bar.close()
        writer.close()
        if checkpoints:
            checkpoints.close()

    last_state = jax.device_get(state)
    if not validate:
        best = last_state
    return Result(
        state=best,
        last_state=last_state,
        best_step=int(best.step),
        best_value=selection.best_value if validate else math.nan,
        records=writer.records,
        embed=embed_with(best),
        classifier=classifier(objective, best),
    )


def _check_same_run(workdir: pathlib.Path, held: dict, wanted: dict) -> None:
    """Refuse to continue a run with other settings."""
    differing = [
        f"{name} was {held.get(name)!r} and is now {wanted.get(name)!r}"
        for name in sorted(held.keys() | wanted.keys())
        if held.get(name) != wanted.get(name)
    ]
    if differing:
        raise UserError(
            f"workdir {workdir} holds a run of another configuration: "
            f"{'; '.join(differing)}; choose another workdir"
        )


def restore_best(
    model: nn.Module,
    objective: Objective,
    data: Dataset,
    config: Config,
    workdir: str | pathlib.Path,
    *,
    optimizer: optax.GradientTransformation | None = None,
) -> State:
    """The best state of a run, from what `fit` was called with.

    Raises:
      UserError: the workdir holds no checkpoint.
    """
    from hierjax.training.checkpoints import Checkpoints

    folder = pathlib.Path(workdir) / "checkpoints"
    if not folder.is_dir():
        raise UserError(f"{workdir} holds no checkpoint: train it first")
    template = create_state(
        model,
        objective,
        optimizer or make_optimizer(config),
        example_inputs(data),
        config.seed,
    )
    checkpoints = Checkpoints(folder)
    restored = checkpoints.restore(template)
    checkpoints.close()
    if restored is None:
        raise UserError(f"{folder} holds no finished checkpoint: train it first")
    return restored[1]


def _check_finite(metrics: dict[str, np.ndarray], step: int) -> None:
    for name, values in metrics.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise DivergedError(
                f"the {name} is {values[bad[0]]} at step {step + bad[0] + 1}; a "
                "smaller learning rate or scale is the usual cure"
            )
