"""Embeddings that have collapsed: to a point, or to a line."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hierjax import metrics

NEAREST = 0.98
"""Mean cosine above which embeddings may have collapsed to a point."""
SHARE_LEFT = 0.25
"""They have if no more than this share of their spread before training is left."""
FEWEST_DIRECTIONS = 1.2
"""Effective rank below which several classes lie on a line."""
# Of float32 rows that point one way.
_ROUNDING = 1e-6


class Spread(NamedTuple):
    """How widely embeddings spread.

    Attributes:
      mean_cosine: over all pairs of different rows; NaN with fewer than two.
      effective_rank: see `metrics.effective_rank`, of the rows scaled to length 1; NaN
        where all are equal.
      dim: D.
    """

    mean_cosine: float
    effective_rank: float
    dim: int


def spread_of(embeddings: np.ndarray) -> Spread:
    """The spread of embeddings ``[N, D]``, finite rows.

    Examples:
      >>> spread = spread_of(np.vstack([np.eye(2), -np.eye(2)]))
      >>> round(spread.mean_cosine, 3), round(spread.effective_rank, 3)
      (-0.333, 2.0)
    """
    units = metrics.unit_rows(embeddings)
    pairs = len(units) * (len(units) - 1)
    lengths = np.square(units).sum()
    cosines = np.square(units.sum(axis=0)).sum() - lengths
    return Spread(
        float(cosines / pairs) if pairs else math.nan,
        metrics.effective_rank(units),
        embeddings.shape[1],
    )


def why_collapsed(
    now: Spread, before: Callable[[], Spread], num_classes: int
) -> str | None:
    """Whether embeddings have collapsed, and how: a clause, or None.

    To a point: all rows are equal, or their mean cosine is above `NEAREST` and their
    spread, 1 less the mean cosine, is at most `SHARE_LEFT` of what it was before
    training: networks with ReLU begin with cosines of .9 and more and then part. To a
    line: more than two classes have an effective rank below `FEWEST_DIRECTIONS` in
    several dimensions. A class or two may well lie on a line, and one dimension is one.

    Args:
      now: of the embeddings.
      before: gives that of the same rows before training; asked only where it counts.
      num_classes: different finest labels among the rows.

    Examples:
      >>> now = Spread(0.995, 3.0, 8)
      >>> why_collapsed(now, lambda: Spread(0.6, 7.0, 8), num_classes=10)
      'the mean cosine of two rows is 0.995'
      >>> why_collapsed(now, lambda: Spread(0.99, 7.0, 8), num_classes=10)
    """
    if num_classes < 2:
        return None
    if math.isnan(now.effective_rank) or now.mean_cosine > 1 - _ROUNDING:
        return "all rows are equal"
    left = 1 - now.mean_cosine
    if now.mean_cosine > NEAREST and left <= SHARE_LEFT * (1 - before().mean_cosine):
        return f"the mean cosine of two rows is {now.mean_cosine:.3f}"
    if num_classes > 2 and now.dim > 1 and now.effective_rank < FEWEST_DIRECTIONS:
        return f"their effective rank is {now.effective_rank:.2f} of {now.dim}"
    return None
