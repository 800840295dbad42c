"""What a run has shown."""

import dataclasses

import numpy as np

from experiments.runs.neighbors import Neighbors
from experiments.settings.experiment import Experiment
from hierjax.data import Dataset
from hierjax.evaluation import Evaluation
from hierjax.inference import TrainedModel


@dataclasses.dataclass(frozen=True)
class Findings:
    """What results and report are made of.

    Attributes:
      experiment: the run's settings.
      results: content of ``results.json``.
      dataset: what was measured.
      given: the same rows as they were loaded, to draw them.
      split: the rows that are shown.
      measured: neighbours of those rows, and what they predict.
      embeddings: ``[Q, D]`` of those rows.
      representatives: kind, 'means' or 'proxies', to ``[C, D]``.
      records: of the training, possibly none.
      per_query: part of the results to the values of every query by measure.
      model: that was trained, None without training.
      neighbors: nearest rows of a few queries, None where none were looked for.
      masks: ``[L, D]`` mean masks a level, None where there are none.
    """

    experiment: Experiment
    results: dict
    dataset: Dataset
    given: Dataset
    split: str
    measured: Evaluation
    embeddings: np.ndarray
    representatives: dict[str, np.ndarray]
    records: list[dict]
    per_query: dict[str, dict[str, np.ndarray]]
    model: TrainedModel | None = None
    neighbors: Neighbors | None = None
    masks: np.ndarray | None = None
