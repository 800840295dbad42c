"""Values of single queries, and what they are on average."""

from collections.abc import Callable

import numpy as np

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
        prefix = average.removesuffix("average")
        levels = [k for k in measures if k.startswith(prefix) and k != average]
        measures[average] = mean(np.array([measures[level] for level in levels]))
    return measures


def correct(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """1 where right, 0 where wrong, NaN where the truth is unknown."""
    return np.where(true < 0, np.nan, (predicted == true).astype(np.float64))
