"""How many directions embeddings use: effective rank and explained variance.

Both come from the singular values of the centred matrix of all rows, in float64. These
are those of its triangular factor, which is built up from blocks of rows: memory is
O(D^2), and no digits are lost to squares as in a covariance matrix.
"""

import numpy as np

from hierjax.errors import UserError
from hierjax.metrics.rows import checked_rows


def _singular_values(embeddings: np.ndarray, block_size: int) -> np.ndarray | None:
    """Singular values of the centred rows, largest first and scaled to 1.

    None without rows, or if all are equal.
    """
    rows = checked_rows("embeddings", embeddings)
    if block_size < 1:
        raise UserError(f"block_size must be at least 1, found {block_size}")
    if not rows.size:
        return None
    first = rows[0].astype(np.float64)
    blocks = range(0, len(rows), block_size)

    # Relative to a row: a collapsed set is exactly 0, and an offset costs no digits.
    def block(start):
        return rows[start : start + block_size].astype(np.float64) - first

    mean = sum(block(start).sum(axis=0) for start in blocks) / len(rows)
    factor = np.empty((0, rows.shape[1]))
    for start in blocks:
        factor = np.linalg.qr(np.vstack([factor, block(start) - mean]), mode="r")
    values = np.linalg.svd(factor, compute_uv=False)
    return values / values[0] if values[0] > 0 else None


def effective_rank(embeddings: np.ndarray, *, block_size: int = 4096) -> float:
    """Number of directions that the embeddings use, were all used equally.

    exp of the entropy of s / sum(s), where s are the singular values of the centred
    matrix: 1 if all rows lie on a line, D if they spread equally in all directions.
    Roy & Vetterli 2007, "The effective rank: a measure of effective dimensionality".
    They take the matrix as it is; it is centred here, so that a common offset of all
    embeddings is no direction. Variants with s^2, shares of variance, give less.

    Args:
      embeddings: ``[N, D]`` finite rows.
      block_size: rows at a time; changes memory, not results.

    Returns:
      A value from 1 to min(N - 1, D); NaN without rows, or if all rows are equal.

    Raises:
      UserError: a wrong shape or values that are not finite.

    Examples:
      Three directions that are used alike, and one:

      >>> round(effective_rank(np.vstack([np.eye(3), -np.eye(3)])), 6)
      3.0
      >>> round(effective_rank(np.outer([1.0, 2.0, 4.0], [1.0, 1.0])), 6)
      1.0
    """
    values = _singular_values(embeddings, block_size)
    if values is None:
        return float("nan")
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-np.sum(shares * np.log(shares))))


def explained_variance(
    embeddings: np.ndarray, num_components: int = 2, *, block_size: int = 4096
) -> float:
    """Share of the variance that the first principal components hold.

    Args:
      embeddings: ``[N, D]`` finite rows; they are centred, but not scaled.
      num_components: how many components, at least 1; more than D hold all.
      block_size: rows at a time; changes memory, not results.

    Returns:
      A value between 0 and 1; NaN without rows, or if all rows are equal.

    Raises:
      UserError: a wrong shape, values that are not finite, or no component.

    Examples:
      >>> rows = np.vstack([np.eye(3), -np.eye(3)])
      >>> round(explained_variance(rows, 1), 6), round(explained_variance(rows, 2), 6)
      (0.333333, 0.666667)
    """
    if num_components < 1:
        raise UserError(f"num_components must be at least 1, found {num_components}")
    values = _singular_values(embeddings, block_size)
    if values is None:
        return float("nan")
    variances = values**2
    return float(variances[:num_components].sum() / variances.sum())
