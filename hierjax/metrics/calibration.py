"""Does a model know when it is wrong? Confidence against accuracy.

Q queries; the confidence is the probability of the predicted class. Queries that do not
count have a NaN in ``correct``, which is what ``top_k_correct`` and ``level_correct``
give for unknown classes.
"""

import numpy as np
import scipy

from hierjax.errors import UserError


def _checked_pairs(
    confidence: np.ndarray, correct: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 ``[Q]`` without the queries that do not count, or UserError."""
    confidence, correct = np.asarray(confidence), np.asarray(correct, np.float64)
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise UserError(
            "confidence and correct must both have shape [Q], "
            f"found {confidence.shape} and {correct.shape}"
        )
    counts = ~np.isnan(correct)
    confidence, correct = confidence[counts].astype(np.float64), correct[counts]
    outside = ~((confidence >= 0) & (confidence <= 1))
    if outside.any():
        raise UserError(
            f"confidence must lie in [0, 1], found {confidence[outside][0]} "
            f"in row {np.flatnonzero(counts)[outside.argmax()]}"
        )
    if not ((correct >= 0) & (correct <= 1)).all():
        raise UserError("correct must be 0 to 1, or NaN (does not count)")
    return confidence, correct


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson correlation; NaN where one side is constant or empty."""
    if not x.size or not np.ptp(x) or not np.ptp(y):
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def calibration(
    confidence: np.ndarray,
    correct: np.ndarray,
    *,
    num_bins: int = 15,
    official: bool = False,
) -> dict[str, float]:
    """Calibration errors over equal bins of confidence.

    Guo et al. 2017 ("On Calibration of Modern Neural Networks"), equations 3 and 5.
    Bins are closed at the left and open at the right, except the last.

    Args:
      confidence: ``[Q]`` in [0, 1].
      correct: ``[Q]`` 1 or 0 (or bool), between them where it is expected over ties;
        NaN does not count.
      num_bins: number of bins.
      official: the last bin is open too, as in the published code of Kim et al. 2023
        (arXiv 2301.11065): a confidence of exactly 1 falls in no bin, and adds to the
        number of queries only.

    Returns:
      ``ece``, the mean over queries of ``|accuracy - mean confidence|`` of their bins;
      ``mce``, the largest such difference; ``correlation``, Spearman's between the
      places and the accuracies of the bins that are not empty. NaN: all three
      without a query in a bin, the correlation also with fewer than two different
      accuracies.

    Examples:
      >>> found = calibration(np.array([0.9, 0.9, 0.6]), np.array([1, 0, 1]))
      >>> {name: round(value, 3) for name, value in found.items()}
      {'ece': 0.4, 'mce': 0.4, 'correlation': -1.0}
    """
    if num_bins < 1:
        raise UserError(f"num_bins must be at least 1, found {num_bins}")
    confidence, correct = _checked_pairs(confidence, correct)
    edges = np.linspace(0, 1, num_bins + 1)
    bins = np.searchsorted(edges, confidence, side="right") - 1
    if not official:
        bins = np.minimum(bins, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)[:num_bins]
    used = np.flatnonzero(counts)
    if not used.size:
        return dict.fromkeys(("ece", "mce", "correlation"), float("nan"))
    accuracy, mean_confidence = (
        np.bincount(bins, values, minlength=num_bins)[used] / counts[used]
        for values in (correct, confidence)
    )
    gaps = np.abs(accuracy - mean_confidence)
    return {
        "ece": float(gaps @ counts[used] / len(bins)),
        "mce": float(gaps.max()),
        "correlation": _correlation(
            np.arange(len(used)), scipy.stats.rankdata(accuracy)
        ),
    }


def point_biserial(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Pearson correlation of being correct (1 or 0) with the confidence.

    Args:
      confidence: ``[Q]`` in [0, 1].
      correct: ``[Q]`` 1 or 0 (or bool), between them where it is expected over ties;
        NaN does not count.

    Returns:
      In [-1, 1]; NaN if all or none are correct, or all confidences are equal.

    Examples:
      >>> confidence = np.array([0.9, 0.8, 0.2, 0.1])
      >>> round(point_biserial(confidence, np.array([1, 1, 0, 0])), 3)
      0.99
    """
    return _correlation(*_checked_pairs(confidence, correct))
