"""The training loop, free of flags: what notebooks and the command line both call."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

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
from hierjax.training.resuming import (
    Standing,
    check_same_settings,
    check_same_shapes,
    describe_shapes,
)
from hierjax.training.selecting import Best, Candidate, selection_value
from hierjax.training.state import State, state_shapes
from hierjax.training.step import embedder, replicate
from hierjax.training.writer import MetricWriter, Progress

if TYPE_CHECKING:
    from hierjax.training.checkpoints import Checkpoints


@dataclasses.dataclass(frozen=True)
class Result:
    """What `fit` returns.

    Attributes:
      best: what was selected, by measure; that of the config stands first.
      kept: states at the steps that were to be kept, by step.
      last_state: the state after the last step.
      records: the numbers written along the way, a dict a record.
      embed: ``rows [N] -> embeddings [N, D]`` of the data set with ``state``, or
        features if those were asked for.
      classifier: of ``state``, None where the objective has no class scores.
    """

    best: dict[str, Best]
    kept: dict[int, State]
    last_state: State
    records: list[dict]
    embed: Callable[[np.ndarray], np.ndarray]
    classifier: evaluation.Classifier | None

    @property
    def _own(self) -> Best:
        return next(iter(self.best.values()))

    @property
    def state(self) -> State:
        """The best one by the measure of the config; without validation the last."""
        return self._own.state

    @property
    def best_step(self) -> int:
        """Step of ``state``."""
        return self._own.step

    @property
    def best_value(self) -> float:
        """The measure of ``state``, NaN without a validation split."""
        return self._own.value


def classifier(objective: Objective, state: State) -> evaluation.Classifier | None:
    """What an objective has learned about classes.

    Args:
      objective: that was trained.
      state: of the training, on devices or not.

    Returns:
      None where the objective has no scores.
    """
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
    selections: Iterable[str] = (),
    keep_steps: Iterable[int] = (),
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
    and data set; another config is refused, but for ``checkpoint_every``,
    ``steps_per_call`` and, where `why_not_extend` allows it, a larger ``num_steps``:
    then the run goes on, finished or not, and leaves what the longer run would have
    left. One that stopped for want of patience stays as it is, as that would have, too.

    With further ``selections`` one training gives the best state by each of several
    measures, the very state that a run selecting by that measure alone would give:
    a measure that is out of patience is looked at no more, and training ends when all
    are. Checkpoints hold one best state, so that this is for runs without a workdir.

    Args:
      model: Linen encoder ``(inputs [B, ...], train) -> embeddings [B, D]``.
      objective: see `objectives`.
      data: features, labels and splits; held on every device.
      config: settings of the loop.
      workdir: directory of the run, or None to write nothing.
      selections: measures to select by besides ``config.selection``, see `Config`.
      keep_steps: steps whose states are kept, multiples of ``eval_every``; those after
        the end of the run are not reached. As ``selections``, without a workdir.
      optimizer: replaces the one that ``config`` describes; whether a longer run begins
        as this one is then for the caller to know.
      augment: see `make_train_step`.
      pretrained: see `create_state`.
      measured: 'embeddings', or 'features', what comes before the head: what
        validation looks at and `Result.embed` returns.
      num_devices: local devices to use; None: all, on all hosts.
      verbose: show progress on the terminal.

    Raises:
      UserError: for a batch that the devices cannot share, a missing split, an unknown
        or undefined selection measure, more classes than the objective has, a workdir
        of another config, model or objective, or of a later version, or one together
        with what needs none.
      DivergedError: the loss or another number is not finite (naming the step).

    Example:
      >>> import numpy as np
      >>> from hierjax import Hierarchy, data, losses, models, objectives, training
      >>> tree = Hierarchy.from_paths([("air", "horn"), ("string", "harp")])
      >>> ids = np.arange(8) % 2
      >>> rows = data.Dataset(
      ...     name="eight",
      ...     features=np.eye(8, dtype=np.float32),
      ...     labels=tree.labels_of(ids),
      ...     hierarchy=tree,
      ...     splits={"train": np.arange(8)},
      ... )
      >>> config = training.Config(
      ...     num_steps=20, batch_size=8, sampler="uniform", steps_per_call=1
      ... )
      >>> objective = objectives.from_loss(losses.rank_based_loss)
      >>> result = training.fit(
      ...     models.Linear(2), objective, rows, config, num_devices=1
      ... )
      >>> result.best_step, result.embed(np.arange(3)).shape
      (20, (3, 2))
    """
    measures = tuple(dict.fromkeys((config.selection, *selections)))
    keep_steps, kept = _checked_steps(keep_steps, config), {}
    if workdir is not None and (len(measures) > 1 or keep_steps):
        raise UserError(
            f"a workdir holds one best state, and {workdir} was given together with "
            "further selections or keep_steps; those need workdir=None"
        )
    ready = prepare(
        model,
        objective,
        data,
        config,
        selections=measures,
        optimizer=optimizer,
        augment=augment,
        pretrained=pretrained,
        num_devices=num_devices,
    )
    validate = "validation" in data.splits
    begun = {}
    shapes = describe_shapes(ready.shapes)
    checkpoints = held = None
    if workdir is not None:
        # Imported here: Orbax is slow to load and short runs go without.
        from hierjax.training.checkpoints import Checkpoints

        workdir = pathlib.Path(workdir)
        checkpoints = Checkpoints(workdir / "checkpoints")
        held = _standing(checkpoints, workdir, shapes)
    if held is None:
        state = ready.make_state()
        first = jax.device_get(state)
        candidates = {name: Candidate(first) for name in measures}
    else:
        check_same_settings(workdir, held, config)
        last, best = checkpoints.restore(ready.shapes)
        state = replicate(last, devices=ready.local)
        candidates = {
            config.selection: Candidate(best, held.selection, end=int(state.step))
        }
    own = candidates[config.selection]
    step = saved_step = written_step = int(state.step)
    if step < config.num_steps:
        # A run that goes on beyond its end makes no evaluation there.
        written_step -= step % config.eval_every
        begun = {} if held is None else held.begun
    elif held is not None:
        own.closing_value = held.closing_value
    writer = MetricWriter(workdir if hosts.is_main() else None, written_step)
    bar = Progress(config.num_steps, step, enabled=verbose and hosts.is_main())

    def embed_with(state):
        return embedder(
            model, state.variables, ready.inputs, devices=ready.local, method=measured
        )

    def still_selecting():
        return {
            name: candidate
            for name, candidate in candidates.items()
            if candidate.selection.has_patience(config.patience)
        }

    try:
        while step < config.num_steps and (selecting := still_selecting()):
            length = min(
                ready.call_length - step % ready.call_length, config.num_steps - step
            )
            state, metrics = ready.run(state, step, length)
            # Reading the values waits for the devices: un-synchronised calls on fake
            # CPU devices abort in XLA's rendezvous.
            metrics = {name: np.asarray(value) for name, value in metrics.items()}
            _check_finite(metrics, step)
            metrics = {
                name: np.concatenate([np.float32(begun.get(name, [])), value])
                for name, value in metrics.items()
            }
            step += length
            # A longer run goes on in the middle of this call.
            is_whole = step % ready.call_length == 0
            begun = {} if is_whole else {k: v.tolist() for k, v in metrics.items()}
            bar.update(step, f"loss {metrics['loss'].mean():.4g}")
            finished = step >= config.num_steps
            if step in keep_steps:
                kept[step] = jax.device_get(state)
            is_due = step % config.eval_every == 0
            if not is_due and not finished:
                continue
            values = {name: value.mean() for name, value in metrics.items()}
            if validate:
                found = evaluation.validation_measures(
                    embed_with(state),
                    data,
                    *selecting,
                    classifier=classifier(objective, state),
                )
                values |= {f"validation/{k}": v for k, v in found.items()}
                for name, candidate in selecting.items():
                    value = selection_value(found, ready.selected[name])
                    if not is_due:
                        candidate.closing_value = value
                    elif candidate.selection.update(value, step):
                        candidate.state = jax.device_get(state)
            for candidate in selecting.values():
                candidate.end = step
            writer.write(step, values)
            ends = finished or not still_selecting()
            if checkpoints and (ends or step - saved_step >= config.checkpoint_every):
                saved_step = step
                best = own.state if validate else jax.device_get(state)
                standing = Standing(
                    config, shapes, own.selection, own.closing_value, begun
                )
                checkpoints.save(step, state, best, standing.record())
    finally:
        bar.close()
        writer.close()
        if checkpoints:
            checkpoints.close()

    if step < config.num_steps:
        steps = " and ".join(str(c.selection.best_step) for c in candidates.values())
        bar.explain(
            f"stopped: no better value than at step {steps} in {config.patience} "
            f"evaluations (patience {config.patience})"
        )
    last_state = jax.device_get(state)
    chosen = {
        name: candidate.best(last_state, validated=validate)
        for name, candidate in candidates.items()
    }
    best = chosen[config.selection].state
    return Result(
        best=chosen,
        kept=kept,
        last_state=last_state,
        records=writer.records,
        embed=embed_with(best),
        classifier=classifier(objective, best),
    )


def _checked_steps(keep_steps: Iterable[int], config: Config) -> frozenset[int]:
    """Steps that fall between two calls, whatever the length of those."""
    steps = frozenset(keep_steps)
    for step in sorted(steps):
        if step < 1 or step % config.eval_every:
            raise UserError(
                f"keep_steps must be multiples of eval_every {config.eval_every}, got "
                f"{step}"
            )
    return steps


def _standing(
    checkpoints: "Checkpoints", workdir: pathlib.Path, shapes: dict[str, str]
) -> Standing | None:
    """Where the run of a workdir stood, if it has a state of these shapes."""
    record = checkpoints.progress()
    if record is None:
        return None
    held = Standing.from_record(record, workdir / "checkpoints")
    check_same_shapes(workdir, held, shapes)
    return held


def restore_best(
    model: nn.Module,
    objective: Objective,
    data: Dataset,
    config: Config,
    workdir: str | pathlib.Path,
    *,
    optimizer: optax.GradientTransformation | None = None,
) -> State:
    """The best state of a run: the very bits of `Result.state`.

    Model and objective give the structure of the state only; nothing is initialised.

    Args:
      model: encoder that `fit` was given.
      objective: that `fit` was given.
      data: data set that `fit` was given, for the shape of an input.
      config: that `fit` was given.
      workdir: directory of the run.
      optimizer: that `fit` was given.

    Returns:
      The state as NumPy arrays.

    Raises:
      UserError: the workdir holds no checkpoint, or one of another model or objective.
    """
    from hierjax.training.checkpoints import Checkpoints

    workdir = pathlib.Path(workdir)
    folder = workdir / "checkpoints"
    if not folder.is_dir():
        raise UserError(f"{workdir} holds no checkpoint: train it first")
    optimizer = optimizer or make_optimizer(config)
    shapes = state_shapes(model, objective, optimizer, example_inputs(data))
    checkpoints = Checkpoints(folder)
    try:
        held = _standing(checkpoints, workdir, describe_shapes(shapes))
        if held is None:
            raise UserError(f"{folder} holds no finished checkpoint: train it first")
        last, best = checkpoints.restore(shapes)
    finally:
        checkpoints.close()
    return last if held.ends_with_best else best


def _check_finite(metrics: dict[str, np.ndarray], step: int) -> None:
    for name, values in metrics.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise DivergedError(
                f"the {name} is {values[bad[0]]} at step {step + bad[0] + 1}; a "
                "smaller learning rate or scale is the usual cure"
            )
