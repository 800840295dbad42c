"""What an experiment gives to be measured: trained, restored, or the input itself."""

import dataclasses
import pathlib
from collections.abc import Callable

import flax.linen as nn
import jax
import numpy as np

from experiments.settings.experiment import Experiment
from experiments.settings.loading import embed_input
from experiments.settings.methods import (
    augmentation,
    fit,
    make_model,
    make_objective,
    untrained_variables,
)
from hierjax import data, evaluation, inference, objectives, training


@dataclasses.dataclass(frozen=True)
class Obtained:
    """An embedding and where it is from.

    Attributes:
      experiment: what was run.
      dataset: its data.
      embed: the embedding that is measured, every row made once.
      project: embeddings behind the head where features are measured, else None.
      state: the best one of a training, None without.
      best_value: on validation, NaN without training.
      classifier: what was learned about classes, where embeddings are measured.
      records: of the training, possibly none.
    """

    experiment: Experiment
    dataset: data.Dataset
    embed: evaluation.Embed
    project: evaluation.Embed | None = None
    state: training.State | None = None
    best_value: float = float("nan")
    classifier: evaluation.Classifier | None = None
    records: list[dict] = dataclasses.field(default_factory=list)

    @property
    def steps(self) -> int:
        """Of the best state, 0 without training."""
        return 0 if self.state is None else int(self.state.step)

    @property
    def model(self) -> nn.Module:
        """The encoder."""
        return make_model(self.experiment, self.dataset.hierarchy.num_levels)

    @property
    def objective(self) -> objectives.Objective:
        """What was minimised."""
        return make_objective(self.experiment, self.dataset)

    @property
    def neighbor_distance(self) -> str:
        """In which neighbours are searched."""
        return self.experiment.method.neighbor_distance

    def neighbors(self) -> tuple[int, ...]:
        """Numbers of neighbours that are best on validation."""
        return evaluation.choose_neighbors(
            self.embed, self.dataset, distance=self.neighbor_distance
        )

    def embed_untrained(self, rows: np.ndarray) -> np.ndarray:
        """Embeddings ``[N, D]`` of the network as it was before training."""
        embed = training.embedder(
            self.model,
            untrained_variables(self.experiment, self.dataset),
            self.dataset.inputs,
            method=self.experiment.measured,
        )
        return embed(rows)

    def augmented(self) -> Callable:
        """``(rows [N], epoch) -> [N, F]`` of inputs augmented anew every epoch."""
        one_view = dataclasses.replace(self.experiment, num_views=1)
        return training.augmented_embedder(
            self.model,
            self.state.variables,
            self.dataset.training_inputs,
            augmentation(one_view),
            seed=self.experiment.seed,
        )

    def trained_model(self) -> inference.TrainedModel | None:
        """The model with all that new data need; None without training."""
        if self.state is None:
            return None
        return inference.TrainedModel.from_state(
            self.model,
            self.state,
            self.dataset,
            measured=self.experiment.measured,
            embed=self.embed,
        )


def obtain(
    experiment: Experiment,
    dataset: data.Dataset,
    workdir: pathlib.Path | None = None,
    *,
    num_devices: int | None = None,
    verbose: bool = False,
) -> Obtained:
    """Train, or continue in a workdir; or take what is measured without training.

    Args:
      experiment: what to run.
      dataset: its data.
      workdir: see `training.fit`.
      num_devices: local devices to use; None: all.
      verbose: show progress.
    """
    if not experiment.method.trains:
        return _without_training(experiment, dataset)
    fitted = fit(experiment, dataset, workdir, num_devices=num_devices, verbose=verbose)
    return of_state(
        experiment,
        dataset,
        fitted.state,
        best_value=fitted.best_value,
        records=fitted.records,
    )


def restore(
    experiment: Experiment, dataset: data.Dataset, workdir: pathlib.Path
) -> Obtained:
    """What a run in a workdir has come to.

    Raises:
      UserError: it has no checkpoint yet.
    """
    if not experiment.method.trains:
        return _without_training(experiment, dataset)
    state = training.restore_best(
        make_model(experiment, dataset.hierarchy.num_levels),
        make_objective(experiment, dataset),
        dataset,
        experiment.config(),
        workdir,
    )
    path = workdir / "metrics.jsonl"
    records = training.read_records(path) if path.exists() else []
    return of_state(experiment, dataset, state, records=records)


def of_state(
    experiment: Experiment,
    dataset: data.Dataset,
    state: training.State,
    *,
    best_value: float = float("nan"),
    records: list[dict],
) -> Obtained:
    """What a state of a training gives.

    Args:
      experiment: that was trained.
      dataset: its data.
      state: one of the training.
      best_value: of ``state`` on validation.
      records: of the training.
    """
    model = make_model(experiment, dataset.hierarchy.num_levels)
    inputs = training.replicate(dataset.inputs, devices=tuple(jax.local_devices()))

    def embedder(method: str) -> evaluation.Embed:
        embed = training.embedder(model, state.variables, inputs, method=method)
        return evaluation.remember(embed, len(dataset.labels))

    features = experiment.measured == "features"
    return Obtained(
        experiment,
        dataset,
        embed=embedder(experiment.measured),
        project=embedder("embeddings") if features else None,
        state=state,
        best_value=best_value,
        classifier=None
        if features
        else training.classifier(make_objective(experiment, dataset), state),
        records=records,
    )


def _without_training(experiment: Experiment, dataset: data.Dataset) -> Obtained:
    if isinstance(experiment.method, objectives.Input):
        return Obtained(experiment, dataset, embed_input(dataset))
    variables = untrained_variables(experiment, dataset)
    model = make_model(experiment, dataset.hierarchy.num_levels)
    embed = training.embedder(
        model, variables, dataset.inputs, method=experiment.measured
    )
    remembered = evaluation.remember(embed, len(dataset.labels))
    return Obtained(experiment, dataset, remembered)
