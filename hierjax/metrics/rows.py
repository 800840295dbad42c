"""Rows of embeddings: their checks, their lengths, their means."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from scipy import sparse

from hierjax.errors import UserError


def checked_rows(name: str, rows: np.ndarray) -> np.ndarray:
    """Returns ``rows`` as a finite floating array ``[N, D]``, or raises UserError."""
    rows = np.asarray(rows)
    if not jnp.issubdtype(rows.dtype, jnp.floating):
        rows = rows.astype(np.float64)
    if rows.ndim != 2:
        raise UserError(f"{name} must have shape [N, D], found {rows.shape}")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise UserError(
            f"{name} must be finite, found NaN or infinity in row {finite.argmin()}"
        )
    return rows


def checked_ids(name: str, ids: np.ndarray, count: int) -> np.ndarray:
    """Returns ``ids`` as an integer array ``[count]``, or raises UserError."""
    ids = np.asarray(ids)
    if ids.shape != (count,) or not np.issubdtype(ids.dtype, np.integer):
        raise UserError(
            f"{name} must be {count} integers, one a row, "
            f"found shape {ids.shape} of {ids.dtype}"
        )
    return ids


def check_distance(distance: str) -> None:
    """Raises UserError unless ``distance`` is one that this module knows."""
    if distance not in ("cosine", "euclidean"):
        raise UserError(f"distance must be cosine or euclidean, found {distance!r}")


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scales rows to length 1.

    Args:
      rows: ``[N, D]`` finite, of any scale.

    Returns:
      ``[N, D]`` float64; zero vectors stay zero.

    Examples:
      >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
      [[0.6, 0.8], [0.0, 0.0]]
    """
    rows = np.asarray(rows, np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    # Twice, because the squares of very small or large entries leave the range.
    rows = rows / np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def prepared_rows(distance: str, *sets: np.ndarray) -> tuple[list[np.ndarray], int]:
    """Brings sets of rows to float32 such that differences keep their digits.

    Rows that float32 would round, and whose mean is large against their spread, are
    centred first. Others are not, because centring can break an exact tie. Euclidean
    rows are brought into [-1, 1] by a power of two, which rounds nothing, so that their
    squares stay in range at any scale.

    Args:
      distance: ``'cosine'`` (rows are scaled to length 1; zero vectors stay zero unless
        centred) or ``'euclidean'``.
      *sets: floating arrays ``[N, D]`` with the same D; the mean is the last one's.

    Returns:
      One float32 array per set, and the power of two that takes their differences back
      to those of the rows; 0 for cosine.
    """
    if distance == "cosine":
        scaled, exponent = [unit_rows(rows) for rows in sets], 0
    else:
        scaled, exponent = _near_one(sets)
    center = scaled[-1].mean(axis=0, dtype=np.float64)
    spread = scaled[-1].std(axis=0, dtype=np.float64)
    prepared = [rows.astype(np.float32) for rows in scaled]
    far = np.linalg.norm(center) > 10 * np.linalg.norm(spread)
    if far and not all(map(np.array_equal, prepared, scaled)):
        scaled = [rows - center for rows in scaled]
        if distance == "euclidean":
            scaled, more = _near_one(scaled)
            exponent += more
        prepared = [rows.astype(np.float32) for rows in scaled]
    return prepared, exponent


def _near_one(sets: Sequence[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """Divides by the power of two above the largest entry; also returns its exponent.

    Types of fewer digits than float32 become that.
    """
    wide = [
        rows.astype(np.float64 if rows.dtype.itemsize > 4 else np.float32)
        for rows in sets
    ]
    largest = max(max(rows.max(initial=0), -rows.min(initial=0)) for rows in wide)
    exponent = int(np.frexp(largest)[1])
    return [np.ldexp(rows, -exponent) for rows in wide], exponent


def class_means(rows: np.ndarray, ids: np.ndarray, num_classes: int) -> np.ndarray:
    """Mean row of every class, in float64.

    Args:
      rows: ``[N, D]``.
      ids: ``[N]`` integers in 0..num_classes-1.
      num_classes: C.

    Returns:
      ``[C, D]`` float64; 0 for a class without rows.

    Examples:
      >>> rows = np.array([[0.0, 1.0], [2.0, 3.0], [5.0, 5.0]])
      >>> class_means(rows, np.array([0, 0, 2]), 3).tolist()
      [[1.0, 2.0], [0.0, 0.0], [5.0, 5.0]]
    """
    counts = np.bincount(ids, minlength=num_classes)
    members = (np.ones(len(ids)), (ids, np.arange(len(ids))))
    totals = sparse.csr_array(members, shape=(num_classes, len(ids))) @ rows
    # Not a sum of shares: the mean of copies is then the same row.
    return totals / np.maximum(counts, 1)[:, None]
