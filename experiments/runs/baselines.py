"""What a run's embedding is worth beside its own input."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from experiments.settings.experiment import Experiment
from experiments.settings.loading import embed_input, load_data
from hierjax import data, evaluation, metrics

_LARGEST = 2e7
"""Numbers of an input whose neighbours are searched as they are."""
_NUM_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Baselines:
    """Measures of the input.

    Attributes:
      neighbors: of its vectors, in the form whose neighbours are best on validation.
      linear: of a linear classifier of its components.
      form: what the neighbours were searched in.
    """

    neighbors: evaluation.Evaluation
    linear: evaluation.LinearBaseline
    form: str


def measure_input(
    experiment: Experiment, dataset: data.Dataset, split: str
) -> Baselines:
    """Neighbours and a linear classifier of the input, in seconds whatever it is.

    Neighbours of images and of very large inputs are searched among principal
    components; those of others in the input as the network sees it or as it was given,
    whichever is better on validation, so that no run is flattered by a scaling that
    spoils its input.

    Args:
      experiment: whose input is measured; of the method 'input' as that says.
      dataset: its data.
      split: queries.
    """
    vectors = evaluation.principal_inputs(dataset)
    linear = evaluation.linear_baseline(vectors, dataset, split=split)
    forms = {f"{vectors.shape[1]} principal components": vectors.__getitem__}
    if not experiment.method.trains:
        forms = {"as the run": embed_input(dataset)}
    elif dataset.features.dtype != np.uint8 and dataset.features.size <= _LARGEST:
        plain = dataclasses.replace(experiment, standardize=False, common_scale=False)
        given = dataset if plain == experiment else load_data(plain)
        seen = "standardised" if experiment.standardize else "centred"
        # Of equally good ones what the network sees.
        forms = {seen: embed_input(dataset), "as given": embed_input(given)}
        if given is dataset:
            del forms[seen]
    form = evaluation.choose_input(forms, dataset)
    neighbors = evaluation.evaluate(forms[form], dataset, split=split)
    return Baselines(neighbors, linear, form)


def verdicts(
    own: Mapping[str, Mapping[str, np.ndarray]], baselines: Baselines
) -> dict[str, dict[str, dict]]:
    """Differences to the input, a level each, with what they are worth.

    The input stands for itself with its better measure on these very rows, neighbours
    or linear classifier: a choice that favours the input.

    Args:
      own: what was measured, such as 'knn' or 'classifier', to level to the values of
        every query ``[Q]``.
      baselines: of the same queries.

    Returns:
      The same keys to level to ``value``, ``low`` and ``high`` of the paired 95 %
      interval, the measure ``against`` which it is, and ``verdict``: 'better' or
      'worse' where the interval leaves out 0, else 'equal'; None where no query counts.
    """
    return {
        kind: {
            level: _verdict(values, level, baselines) for level, values in of.items()
        }
        for kind, of in own.items()
    }


def _verdict(values: np.ndarray, level: str, baselines: Baselines) -> dict:
    measures = baselines.neighbors.measures | baselines.linear.measures
    # Undefined ones last; of equal ones the neighbours.
    against = max(
        (f"knn/{level}", f"linear/{level}"),
        key=lambda name: np.nan_to_num(measures[name], nan=-1.0),
    )
    before = (baselines.neighbors.per_query | baselines.linear.per_query)[against]
    interval = metrics.bootstrap_interval(
        values - before,
        units=baselines.neighbors.units,
        num_resamples=_NUM_RESAMPLES,
    )
    word = "equal"
    if np.isnan(interval.mean):
        word = None
    elif interval.low > 0:
        word = "better"
    elif interval.high < 0:
        word = "worse"
    return {
        "value": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "against": against,
        "verdict": word,
    }
