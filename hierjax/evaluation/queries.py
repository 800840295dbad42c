"""Values of single queries, and what they are on average."""

from collections.abc import Callable, Iterable

import numpy as np

from hierjax import metrics

Embed = Callable[[np.ndarray], np.ndarray]


def with_average(name: str, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Prefix the levels with the measure's name and add the mean over levels."""
    result = {f"{name}/{level}": value for level, value in values.items()}
    result[f"{name}/average"] = mean_of_known(np.stack(list(values.values())))
    return result


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis without NaN; NaN where nothing is known."""
    known = ~np.isnan(values)
    totals = np.where(known, values, 0.0).sum(0)
    return np.where(known.any(0), totals / np.maximum(known.sum(0), 1), np.nan)


def mean(values: np.ndarray) -> float:
    """Mean without NaN, NaN if nothing is left."""
    return float(mean_of_known(values))


def mean_measures(per_query: dict[str, np.ndarray]) -> dict[str, float]:
    """Means over queries; an average over levels is the mean of the levels' means.

    Where labels are incomplete the levels have different numbers of queries, and
    averaging query by query would weigh the levels by them.
    """
    measures = {name: mean(values) for name, values in per_query.items()}
    for average in [name for name in measures if name.endswith("/average")]:
        levels = _levels_of(average, measures)
        measures[average] = mean(np.array([measures[level] for level in levels]))
    return measures


def values_of(per_query: dict[str, np.ndarray], name: str) -> np.ndarray:
    """The values that a measure is the mean of, for `metrics.bootstrap_interval`.

    Returns:
      ``[Q]``; of an average over levels ``[Q, L]``, see `mean_measures`.
    """
    if not name.endswith("/average"):
        return per_query[name]
    return np.stack([per_query[k] for k in _levels_of(name, per_query)], axis=1)


def intervals(
    per_query: dict[str, np.ndarray], units: np.ndarray, num_resamples: int = 2000
) -> dict[str, metrics.Interval]:
    """95 % bootstrap intervals over units of all measures that are means of queries."""
    return {
        name: metrics.bootstrap_interval(
            values_of(per_query, name), units=units, num_resamples=num_resamples
        )
        for name in per_query
    }


def _levels_of(average: str, names: Iterable[str]) -> list[str]:
    prefix = average.removesuffix("average")
    return [name for name in names if name.startswith(prefix) and name != average]


def correct(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """1 where right, 0 where wrong, NaN where the truth is unknown."""
    return np.where(true < 0, np.nan, (predicted == true).astype(np.float64))
