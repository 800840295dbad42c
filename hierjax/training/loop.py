"""The training loop, free of flags: what notebooks and the command line both call."""

import contextlib
import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Iterable

import flax.linen as nn
import jax
import numpy as np
import optax

from hierjax import evaluation
from hierjax.data.dataset import Dataset
from hierjax.errors import UserError
from hierjax.locking import check_held, locked
from hierjax.objectives import Objective
from hierjax.training import hosts, stopping
from hierjax.training.config import Config
from hierjax.training.divergence import (
    RECORD,
    Divergence,
    first_bad_leaf,
    first_bad_metric,
    recorded,
)
from hierjax.training.optimizers import make_optimizer
from hierjax.training.preparation import Prepared, example_inputs, prepare
from hierjax.training.records import check_written, parsed
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

COLLAPSE_CURES = (
    "A smaller learning rate, a larger batch or a loss with negatives are the usual "
    "cures."
)


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

    An evaluation that finds the embedding collapsed (`evaluation.why_collapsed`)
    selects nothing, whatever its measures, and is said once; its record has
    ``validation/collapsed/all``. Where all are, the best state is that before training.

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

    A workdir is locked meanwhile, see `hierjax.locking`. A run that has one saves at
    its next call boundary and ends when `stopping.ask` is called, from a thread or the
    handler of a signal; several hosts end at the same step, whichever was asked.

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
        of another config, model or objective, of a later version or in use by another
        process, or one together with what needs none.
      DivergedError: the loss, another number or the state is not finite (naming the
        step, which a workdir keeps for `replay`; its checkpoint is an earlier one).
      Stopped: it was asked for, and the state is saved.

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
    keep_steps = _checked_steps(keep_steps, config)
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
    with contextlib.ExitStack() as closing:
        if workdir is not None:
            workdir = pathlib.Path(workdir)
            hosts.on_main(lambda: closing.enter_context(locked(workdir, "training")))
        result = _train(
            ready,
            model,
            objective,
            data,
            config,
            workdir,
            measures=measures,
            keep_steps=keep_steps,
            measured=measured,
            verbose=verbose,
            closing=closing,
        )
    if stopping.asked():
        # In the last call or after it.
        stopping.stop(int(result.last_state.step), config.num_steps)
    return result


def _train(
    ready: Prepared,
    model: nn.Module,
    objective: Objective,
    data: Dataset,
    config: Config,
    workdir: pathlib.Path | None,
    *,
    measures: tuple[str, ...],
    keep_steps: frozenset[int],
    measured: str,
    verbose: bool,
    closing: contextlib.ExitStack,
) -> Result:
    """What `fit` does once all is checked and in place, in a folder of its own."""
    kept = {}
    # What is entered into it ends after a checkpoint that is still being written.
    listening = closing.enter_context(contextlib.ExitStack())
    validate = "validation" in data.splits
    begun = {}
    shapes = describe_shapes(ready.shapes)
    checkpoints = found = held = None
    if workdir is not None:
        # Imported here: Orbax is slow to load and short runs go without.
        from hierjax.training.checkpoints import Checkpoints

        checkpoints = Checkpoints(workdir / "checkpoints")
        closing.callback(checkpoints.close)
        found = checkpoints.newest(
            ready.shapes, functools.partial(_standing, workdir, shapes, config)
        )
    if found is None:
        state = ready.make_state()
        first = jax.device_get(state)
        candidates = {name: Candidate(first) for name in measures}
    else:
        held, last, best = found
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
    if held is None:
        written_step = -1
    writer = MetricWriter(
        workdir if hosts.is_main() else None,
        written_step,
        None if held is None else held.written,
    )
    bar = Progress(config.num_steps, step, enabled=verbose and hosts.is_main())

    def embed_with(state):
        return embedder(
            model, state.variables, ready.inputs, devices=ready.local, method=measured
        )

    @functools.cache
    def listen():
        if checkpoints:
            listening.enter_context(stopping.listening())

    def save():
        check_held(workdir)
        best = own.state if validate else jax.device_get(state)
        standing = Standing(
            config, shapes, own.selection, own.closing_value, begun, writer.written
        )
        checkpoints.save(step, state, best, standing.record())

    validation_rows = data.rows("validation") if validate else np.empty(0, np.int64)

    def validated(state, selecting):
        """Measures on validation, and the embeddings of its rows if they were asked."""
        embed, made = embed_with(state), {}

        def noted(rows):
            made[rows.tobytes()] = embedded = embed(rows)
            return embedded

        found = evaluation.validation_measures(
            noted, data, *selecting, classifier=classifier(objective, state)
        )
        return found, made.get(validation_rows.tobytes())

    def still_selecting():
        return {
            name: candidate
            for name, candidate in candidates.items()
            if candidate.selection.has_patience(config.patience)
        }

    if jax.process_count() > 1:
        # One that left alone would leave the others waiting.
        listen()
    has_collapsed = any(
        "validation/collapsed/all" in record for record in writer.records
    )

    @functools.cache
    def spread_before():
        return evaluation.spread_of(embed_with(ready.make_state())(validation_rows))

    def why_collapsed(embeddings):
        """A clause if embeddings of the validation rows have collapsed."""
        if embeddings is None:
            return None
        labels = data.labels[validation_rows]
        why = evaluation.why_collapsed(
            evaluation.spread_of(embeddings),
            spread_before,
            max(len(np.unique(column[column >= 0])) for column in labels.T),
        )
        return why if hosts.agree(float(why is not None)) else None

    def stopped_at(bad_step, name, value, start, metrics):
        found = Divergence(
            step=bad_step,
            name=name,
            value=value,
            start=start,
            rows=ready.sampler.indices(bad_step - 1, 1)[0].tolist(),
            key=jax.random.key_data(jax.random.key(config.seed)).tolist(),
            num_devices=len(ready.everyone),
            metrics=recorded(metrics),
        )
        if workdir is not None and hosts.is_main():
            found.write(workdir)
        return found.error()

    def refuse_bad(state, start, metrics):
        """Stop at a state that is not finite: it is neither measured nor kept.

        A loss is finite once more where its gradient was not.
        """
        if bad := first_bad_leaf(jax.device_get(state)):
            raise stopped_at(step, *bad, start, metrics)

    def is_asked():
        """Whether to stop, on any host."""
        return checkpoints is not None and hosts.any_of_all(stopping.asked())

    score = ""
    if held is not None and step < config.num_steps and still_selecting():
        known = f"; {own.selection.describe()}" if validate else ""
        bar.explain(f"continuing from the checkpoint in {workdir}{known}")
    try:
        if held is None and validate and config.evaluate_start:
            found, _ = validated(state, candidates)
            for name, candidate in candidates.items():
                value = selection_value(found, ready.selected[name])
                candidate.selection.update(value, 0)
            writer.write(0, {f"validation/{k}": v for k, v in found.items()})
        while step < config.num_steps and (selecting := still_selecting()):
            length = min(
                ready.call_length - step % ready.call_length, config.num_steps - step
            )
            state, metrics = ready.run(state, step, length)
            # Reading the values waits for the devices: un-synchronised calls on fake
            # CPU devices abort in XLA's rendezvous.
            metrics = {name: np.asarray(value) for name, value in metrics.items()}
            if bad := first_bad_metric(metrics):
                place, *what = bad
                raise stopped_at(step + place + 1, *what, step, metrics)
            of_call = metrics
            metrics = {
                name: np.concatenate([np.float32(begun.get(name, [])), value])
                for name, value in metrics.items()
            }
            step += length
            # A longer run goes on in the middle of this call.
            is_whole = step % ready.call_length == 0
            begun = {} if is_whole else {k: v.tolist() for k, v in metrics.items()}
            status = f"loss {metrics['loss'].mean():.4g}"
            finished = step >= config.num_steps
            is_due = step % config.eval_every == 0
            # From now on something would be lost.
            listen()
            if not is_due and not finished:
                bar.update(step, status + score)
                if is_asked():
                    refuse_bad(state, step - length, of_call)
                    save()
                    stopping.stop(step, config.num_steps)
                continue
            refuse_bad(state, step - length, of_call)
            if step in keep_steps:
                kept[step] = jax.device_get(state)
            values = {name: value.mean() for name, value in metrics.items()}
            if validate:
                found, embedded = validated(state, selecting)
                values |= {f"validation/{k}": v for k, v in found.items()}
                collapse = why_collapsed(embedded)
                if collapse:
                    values["validation/collapsed/all"] = 1.0
                    if not has_collapsed:
                        bar.note(
                            f"step {step}: the embedding of the validation rows has "
                            f"collapsed, {collapse}; such a state is not selected. "
                            + COLLAPSE_CURES
                        )
                    has_collapsed = True
                for name, candidate in selecting.items():
                    value = selection_value(found, ready.selected[name])
                    if collapse:
                        value = -math.inf
                    if not is_due:
                        candidate.closing_value = value
                    elif candidate.selection.update(value, step):
                        candidate.state = jax.device_get(state)
                    if candidate is own:
                        best = own.selection.describe()
                        shown = f"validation {ready.selected[name]} {value:.3f}"
                        score = f"  {shown} ({best})"
            bar.update(step, status + score)
            stops = is_asked()
            for candidate in selecting.values():
                candidate.end = step
            writer.write(step, values)
            ends = finished or not still_selecting()
            is_old = step - saved_step >= config.checkpoint_every
            if checkpoints and (ends or stops or is_old):
                saved_step = step
                save()
            if stops:
                stopping.stop(step, config.num_steps)
    finally:
        bar.close()
        writer.close()

    if workdir is not None and hosts.is_main():
        (workdir / RECORD).unlink(missing_ok=True)
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
    workdir: pathlib.Path,
    shapes: dict[str, str],
    config: Config | None,
    record: dict,
) -> Standing:
    """Where a run stood, if it has a state of these shapes and these settings."""
    held = Standing.from_record(record, workdir / "checkpoints")
    check_same_shapes(workdir, held, shapes)
    if config is not None:
        check_same_settings(workdir, held, config)
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
        found = checkpoints.newest(
            shapes, functools.partial(_standing, workdir, describe_shapes(shapes), None)
        )
    finally:
        checkpoints.close()
    if found is None:
        raise UserError(f"{folder} holds no finished checkpoint: train it first")
    held, last, best = found
    path = workdir / "metrics.jsonl"
    check_written(path, parsed(path)[0] if path.exists() else [], held.written)
    return last if held.ends_with_best else best
