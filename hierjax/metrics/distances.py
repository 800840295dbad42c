"""Squared distances by matrix products, mended where these lose digits.

The expansion |x|^2 + |y|^2 - 2 x.y is as fast as a matrix product is, but its rounding
is relative to |x|^2 + |y|^2. Rows are therefore centred first, and what is still small
against that is computed anew: with more digits, and at last from the differences of
coordinates, so that equal rows are exactly 0 apart.
"""

import numpy as np

# Below this share of |x|^2 + |y|^2 a product's rounding shows in a distance.
_SMALL = {np.dtype(np.float32): 2.0**-6, np.dtype(np.float64): 2.0**-26}
# More small entries than this share are computed in float64 rather than one by one.
_MANY = 1 / 64
_COORDINATES_AT_A_TIME = 1 << 21


def squared_norms(rows: np.ndarray) -> np.ndarray:
    """Squared lengths ``[N]`` of rows ``[N, D]``."""
    return np.einsum("nd,nd->n", rows, rows)


def _vanish(rows: np.ndarray, norms: np.ndarray) -> bool:
    """Whether a row's squares are too small for float32, as beside a huge outlier."""
    return bool(rows[norms < 2.0**-100].any())


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared euclidean distances of all rows of one set to all of another.

    Args:
      x: ``[N, D]`` float32 or float64, of entries that are at most about 1.
      y: ``[M, D]`` of the same type and range, M at least 1. The nearer its rows are to
        each other, the more digits are kept without more work.

    Returns:
      ``[N, M]``, at least 0, with a relative error of some 1e-5 for float32 and 1e-6
      for float64; 0 for equal rows.
    """
    center = y.mean(axis=0, dtype=np.float64).astype(y.dtype)
    a, b = x - center, y - center
    norms_a, norms_b = squared_norms(a), squared_norms(b)
    if x.dtype == np.float32 and (_vanish(a, norms_a) or _vanish(b, norms_b)):
        return squared_distances(x.astype(np.float64), y.astype(np.float64))
    squares = (-2 * a) @ b.T
    squares += norms_a[:, None]
    squares += norms_b
    small = _SMALL[squares.dtype]
    rows = np.flatnonzero(squares.min(axis=1) < small * (norms_a + norms_b.max()))
    limits = small * (norms_a[rows][:, None] + norms_b)
    row, column = np.nonzero(squares[rows] < limits)
    row = rows[row]
    if x.dtype == np.float32 and len(row) > max(len(x), _MANY * squares.size):
        return squared_distances(x.astype(np.float64), y.astype(np.float64))
    squares[row, column] = paired_squares(x, y, row, column)
    return squares


def paired_squares(
    x: np.ndarray, y: np.ndarray, row: np.ndarray, column: np.ndarray
) -> np.ndarray:
    """Squared distances of chosen pairs from differences of coordinates, in float64.

    Args:
      x: ``[N, D]``.
      y: ``[M, D]``.
      row: ``[P]`` rows of ``x``.
      column: ``[P]`` rows of ``y``.

    Returns:
      ``[P]`` float64.
    """
    squares = np.empty(len(row))
    step = max(1, _COORDINATES_AT_A_TIME // max(1, x.shape[1]))
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        offsets = x[row[part]].astype(np.float64)
        offsets -= y[column[part]]
        squares[part] = squared_norms(offsets)
    return squares
