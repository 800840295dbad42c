"""Values of single queries, and what they are on average."""

from collections.abc import Callable, Iterable

import numpy as np

from hierjax import metrics
from hierjax.errors import UserError
from hierjax.evaluation.names import AVERAGE, parse_measure
from hierjax.metrics.rows import checked_ids

Embed = Callable[[np.ndarray], np.ndarray]
"""``rows int [M] -> embeddings [M, D]``."""


def remember(embed: Embed, num_rows: int) -> Embed:
    """Embeds every row at most once, whoever asks for it.

    Measures, probes and reports of one state can so share its embeddings. An asked row
    that is missing is computed together with all others that are missing from the same
    call.

    Args:
      embed: ``rows int [M] -> embeddings [M, D]``, of each row on its own.
      num_rows: rows of the data set; the others are not held before they are asked for.

    Returns:
      The same function, which keeps its results in float32: 4 ``num_rows`` D bytes once
      it is called. What it returns is a copy.

    Raises:
      UserError: when called, for rows that are not integers in 0..num_rows-1.

    Examples:
      >>> def embed(rows):
      ...     print("embeds", rows)
      ...     return rows[:, None] / 2
      >>> once = remember(embed, num_rows=10)
      >>> once(np.array([4, 1]))[:, 0]
      embeds [1 4]
      array([2. , 0.5], dtype=float32)
      >>> once(np.array([1, 7, 7]))[:, 0]
      embeds [7]
      array([0.5, 3.5, 3.5], dtype=float32)
    """
    known = np.zeros(num_rows, bool)
    kept = None

    def remembered(rows: np.ndarray) -> np.ndarray:
        nonlocal kept
        rows = checked_ids("rows", rows, np.size(rows))
        if rows.size and not 0 <= rows.min() <= rows.max() < num_rows:
            raise UserError(
                f"rows must lie in 0..{num_rows - 1}, found {rows.min()}..{rows.max()}"
            )
        missing = np.unique(rows[~known[rows]])
        if missing.size or kept is None:
            values = np.asarray(embed(missing), np.float32)
            if kept is None:
                kept = np.empty((num_rows, *values.shape[1:]), np.float32)
            kept[missing], known[missing] = values, True
        return kept[rows]

    return remembered


def with_average(name: str, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Prefix the levels with the measure's name and add the mean over levels."""
    result = {f"{name}/{level}": value for level, value in values.items()}
    result[f"{name}/{AVERAGE}"] = mean_of_known(np.stack(list(values.values())))
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
    for average in [name for name in measures if _is_average(name)]:
        levels = _levels_of(average, measures)
        measures[average] = mean(np.array([measures[level] for level in levels]))
    return measures


def values_of(per_query: dict[str, np.ndarray], name: str) -> np.ndarray:
    """The values that a measure is the mean of, for `metrics.bootstrap_interval`.

    Args:
      per_query: name to ``[Q]``.
      name: of the measure.

    Returns:
      ``[Q]``; of an average over levels ``[Q, L]``, one column a level, whose means
      weigh alike however many queries each has.

    Examples:
      >>> right, wrong = np.ones(2), np.zeros(2)
      >>> per_query = {"nn/a": right, "nn/b": wrong, "nn/average": (right + wrong) / 2}
      >>> values_of(per_query, "nn/average").tolist()
      [[1.0, 0.0], [1.0, 0.0]]
    """
    if not _is_average(name):
        return per_query[name]
    return np.stack([per_query[k] for k in _levels_of(name, per_query)], axis=1)


def intervals(
    per_query: dict[str, np.ndarray], units: np.ndarray, num_resamples: int = 2000
) -> dict[str, metrics.Interval]:
    """95 % bootstrap intervals over units of all measures that are means of queries.

    Args:
      per_query: name to ``[Q]``, NaN where a query does not count.
      units: ``[Q]`` ids of the units to draw.
      num_resamples: resamples drawn.

    Returns:
      Name to interval.

    Examples:
      >>> intervals({"nn/a": np.array([0.0, 1.0, 1.0, 1.0])}, np.arange(4))["nn/a"]
      Interval(mean=0.75, low=0.25, high=1.0)
    """
    return {
        name: metrics.bootstrap_interval(
            values_of(per_query, name), units=units, num_resamples=num_resamples
        )
        for name in per_query
    }


def _is_average(name: str) -> bool:
    return parse_measure(name).level == AVERAGE


def _levels_of(average: str, names: Iterable[str]) -> list[str]:
    wanted = parse_measure(average)
    return [
        name
        for name in names
        if name != average and parse_measure(name)._replace(level=AVERAGE) == wanted
    ]


def correct(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """1 where right, 0 where wrong, NaN where the truth is unknown."""
    return np.where(true < 0, np.nan, (predicted == true).astype(np.float64))
