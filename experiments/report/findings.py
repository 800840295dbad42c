"""What the report of one run is made of."""

import dataclasses

import numpy as np

from experiments.settings.experiment import Experiment
from hierjax.data import Dataset
from hierjax.evaluation import Evaluation


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a report is made of.

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
    masks: np.ndarray | None = None
