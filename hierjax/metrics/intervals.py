"""How sure a mean is: bootstrap intervals over rows or units, t intervals over seeds.

The interval of a *gain* needs the paired differences: pass ``ours - theirs``, row by
row. Comparing two separate intervals throws the pairing away.
"""

import functools
from typing import NamedTuple

import numpy as np
import scipy

from hierjax.errors import UserError

_DRAWS_AT_A_TIME = 1 << 20


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def bootstrap_interval(
    values: np.ndarray,
    *,
    units: np.ndarray | None = None,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of the mean (Efron 1979).

    With ``units`` whole units are drawn (cluster bootstrap): rows of one recording or
    one animal are not independent, and an interval over rows would be too narrow. The
    mean of a resample is the total over its units divided by their number of rows;
    of several columns, the mean of theirs, however many values each has.

    Args:
      values: ``[N]`` or ``[N, L]``; NaN values are skipped. For a gain, the paired
        differences.
      units: ``[N]`` ids of the units to draw; by default every row is one.
      confidence: between 0 and 1.
      num_resamples: resamples drawn.
      seed: the same seed gives the same interval.

    Returns:
      The mean of ``values`` and the interval; all NaN without values, low and high
      NaN with a single unit, which says nothing about others.

    Examples:
      The same values, each of its own unit, and of two units:

      >>> values = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
      >>> bootstrap_interval(values)
      Interval(mean=0.5, low=0.125, high=0.875)
      >>> bootstrap_interval(values, units=np.array([0, 0, 0, 0, 1, 1, 1, 1]))
      Interval(mean=0.5, low=0.0, high=1.0)
    """
    values = _checked_values(values, confidence, most_dimensions=2)
    columns = np.atleast_2d(values.T)
    if num_resamples < 1:
        raise UserError(f"num_resamples must be at least 1, found {num_resamples}")
    units = np.arange(len(values)) if units is None else np.asarray(units)
    if units.shape != values.shape[:1]:
        raise UserError(
            "units must name one unit for every value, "
            f"found {units.shape} for {values.shape}"
        )
    known = ~np.isnan(columns)
    columns, known = columns[known.any(axis=1)], known[known.any(axis=1)]
    if not len(columns):
        return Interval(float("nan"), float("nan"), float("nan"))
    mean = float(np.nanmean(columns, axis=1).mean())
    _, ids = np.unique(units[known.any(axis=0)], return_inverse=True)
    columns, known = columns[:, known.any(axis=0)], known[:, known.any(axis=0)]
    sizes = np.array([np.bincount(ids, there) for there in known])
    totals = np.array([np.bincount(ids, row) for row in np.where(known, columns, 0.0)])
    num_units = sizes.shape[1]
    if num_units < 2:
        return Interval(mean, float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    means = np.empty(num_resamples)
    step = max(1, _DRAWS_AT_A_TIME // num_units)
    for start in range(0, num_resamples, step):
        resamples = means[start : start + step]
        drawn = rng.integers(num_units, size=(len(resamples), num_units))
        drawn_totals, drawn_sizes = (
            np.stack([row[drawn].sum(axis=1) for row in of]) for of in (totals, sizes)
        )
        # A column of few values may be missing from a resample.
        there = drawn_sizes > 0
        column_means = np.where(there, drawn_totals / np.maximum(drawn_sizes, 1), 0.0)
        resamples[:] = column_means.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


def two_way_interval(
    values: np.ndarray,
    *,
    units: np.ndarray,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap over seeds and units at once.

    Both the training runs and the queries are samples: a resample draws seeds and,
    independently, units, each with replacement, and averages over what was drawn
    (Owen 2007, The pigeonhole bootstrap). With one seed it is the cluster bootstrap of
    `bootstrap_interval`.

    Args:
      values: ``[S, N]``, a value for every seed and query; NaN values are skipped. For
        a gain, the paired differences.
      units: ``[N]`` ids of the units to draw.
      confidence: between 0 and 1.
      num_resamples: resamples drawn.
      seed: the same seed gives the same interval.

    Returns:
      The mean over all values and the interval; low and high NaN with a single unit.

    Examples:
      >>> values = np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
      >>> interval = two_way_interval(values, units=np.array([0, 1, 2]))
      >>> [round(value, 3) for value in interval]
      [0.667, 0.333, 1.0]
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or units.shape != values.shape[1:]:
        raise UserError(
            f"values must have shape [S, N] and units [N], found {values.shape} and "
            f"{units.shape}"
        )
    names, ids = np.unique(units, return_inverse=True)
    known = ~np.isnan(values)
    totals, sizes = (
        np.stack([np.bincount(ids, row, minlength=len(names)) for row in of])
        for of in (np.where(known, values, 0), known)
    )
    if not sizes.sum():
        return Interval(float("nan"), float("nan"), float("nan"))
    mean = float(totals.sum() / sizes.sum())
    if len(names) < 2:
        return Interval(mean, float("nan"), float("nan"))
    seeds_drawn = _times_drawn(len(values), num_resamples, seed)
    units_drawn = _times_drawn(len(names), num_resamples, seed + 1)
    means = np.full(num_resamples, np.nan)
    step = max(1, _DRAWS_AT_A_TIME // len(names))
    for start in range(0, num_resamples, step):
        part = slice(start, start + step)
        of_seeds, of_units = seeds_drawn[part].astype(float), units_drawn[part]
        drawn_totals = np.sum((of_seeds @ totals) * of_units, axis=1)
        drawn_sizes = np.sum((of_seeds @ sizes) * of_units, axis=1)
        there = drawn_sizes > 0
        np.divide(drawn_totals, drawn_sizes, out=means[part], where=there)
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


@functools.lru_cache(maxsize=4)
def _times_drawn(count: int, num_resamples: int, seed: int) -> np.ndarray:
    """How often each of ``count`` things is drawn: ``[num_resamples, count]``.

    Kept for the other measures of the same units, in as few bytes as will do.
    """
    rng = np.random.default_rng(seed)
    drawn = np.empty((num_resamples, count), np.min_scalar_type(count))
    step = max(1, _DRAWS_AT_A_TIME // count)
    for start in range(0, num_resamples, step):
        part = drawn[start : start + step]
        part[:] = rng.multinomial(count, np.full(count, 1 / count), size=len(part))
    return drawn


def seed_interval(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Mean over seeds and its Student t interval, mean +- t s / sqrt(S).

    Args:
      values: ``[S]``, one result per seed. NaN is not skipped, so that a failed seed
        shows.
      confidence: between 0 and 1.

    Returns:
      The mean and the interval; low and high are NaN for fewer than 2 seeds.

    Examples:
      >>> [round(value, 3) for value in seed_interval(np.array([0.5, 0.6, 0.7]))]
      [0.6, 0.352, 0.848]
    """
    values = _checked_values(values, confidence)
    mean = float(values.mean()) if len(values) else float("nan")
    if len(values) < 2:
        return Interval(mean, float("nan"), float("nan"))
    error = values.std(ddof=1) / np.sqrt(len(values))
    half = float(scipy.special.stdtrit(len(values) - 1, (1 + confidence) / 2) * error)
    return Interval(mean, mean - half, mean + half)


def sign_flip_test(
    differences: np.ndarray, *, num_resamples: int = 9999, seed: int = 0
) -> float:
    """Two-sided permutation test that paired differences are symmetric about 0.

    The two results of each pair are exchanged at random; p is the share of draws, the
    observed one included, whose mean is at least as far from 0. It takes the pairs as
    independent.

    Args:
      differences: ``[N]``; NaN values are skipped.
      num_resamples: draws; the smallest p is ``1 / (num_resamples + 1)``.
      seed: the same seed gives the same p.

    Returns:
      p, NaN without values.

    Examples:
      With four pairs of one sign 2 of the 16 flips are as far from 0:

      >>> round(sign_flip_test(np.array([1.0, 2.0, 3.0, 4.0])), 2)
      0.12
    """
    differences = np.asarray(differences, np.float64)
    differences = differences[~np.isnan(differences)]
    if not differences.size:
        return float("nan")
    rng = np.random.default_rng(seed)
    # Rounding must not separate a draw from its equal.
    observed, reached = abs(differences.sum()) * (1 - 1e-12), 0
    step = max(1, _DRAWS_AT_A_TIME // differences.size)
    for start in range(0, num_resamples, step):
        number = min(step, num_resamples - start)
        signs = rng.integers(0, 2, (number, differences.size)) * 2 - 1
        reached += np.count_nonzero(np.abs(signs @ differences) >= observed)
    return float((1 + reached) / (1 + num_resamples))


def _checked_values(
    values: np.ndarray, confidence: float, most_dimensions: int = 1
) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if not 1 <= values.ndim <= most_dimensions:
        accepted = " or ".join(["[N]", "[N, L]"][:most_dimensions])
        raise UserError(f"values must have shape {accepted}, found {values.shape}")
    if not 0 < confidence < 1:
        raise UserError(f"confidence must lie between 0 and 1, found {confidence}")
    return values
