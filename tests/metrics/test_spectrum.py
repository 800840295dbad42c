import math
import tracemalloc

import numpy as np
import pytest

from hierjax.errors import UserError
from hierjax.metrics import effective_rank, explained_variance

MEASURES = [effective_rank, explained_variance]


def with_spectrum(values, num_rows=200, seed=0) -> np.ndarray:
    """Centred rows whose singular values are known."""
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(num_rows, len(values)))
    left, _ = np.linalg.qr(left - left.mean(axis=0))
    right, _ = np.linalg.qr(rng.normal(size=(len(values), len(values))))
    return left * np.asarray(values) @ right


@pytest.mark.parametrize(
    "values", [[1.0], [3.0, 1.0], [5.0, 4.0, 0.5, 0.25], [1e4, 1.0, 1e-4], [2.0] * 6]
)
@pytest.mark.parametrize("block_size", [7, 4096])
def test_known_spectra(values, block_size):
    rows = with_spectrum(values)
    total = sum(values)
    entropy = -sum(v / total * math.log(v / total) for v in values)
    actual = effective_rank(rows, block_size=block_size)
    assert actual == pytest.approx(math.exp(entropy), rel=1e-9)
    for k in range(1, len(values) + 2):
        share = sum(v * v for v in values[:k]) / sum(v * v for v in values)
        actual = explained_variance(rows, k, block_size=block_size)
        assert actual == pytest.approx(share, rel=1e-9)


def test_default_is_two_components():
    rows = with_spectrum([3.0, 2.0, 1.0])
    assert explained_variance(rows) == pytest.approx(13 / 14)


def test_equals_numpy_on_the_centred_matrix():
    rows = np.random.default_rng(0).normal(size=(50, 9)) * np.geomspace(1, 100, 9) + 3
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    shares = values / values.sum()
    expected = math.exp(-sum(share * math.log(share) for share in shares))
    assert effective_rank(rows) == pytest.approx(expected)
    variances = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    assert explained_variance(rows, 3) == pytest.approx(
        variances[:3].sum() / variances.sum()
    )


@pytest.mark.parametrize("measure", MEASURES)
def test_rotation_scale_offset_and_order_change_nothing(measure):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(80, 6)) * np.geomspace(1, 30, 6)
    expected = measure(rows)
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    for changed in (
        rows @ rotation,
        1e-170 * rows,
        1e170 * rows,
        rows + 1e6,
        rng.permutation(rows),
        np.pad(rows, ((0, 0), (0, 4))),
        np.concatenate([rows, rows]),
    ):
        assert measure(changed) == pytest.approx(expected, rel=1e-6)


def test_rows_on_a_line_have_rank_one():
    rng = np.random.default_rng(2)
    rows = np.outer(rng.normal(size=300), rng.normal(size=32)) + rng.normal(size=32)
    assert effective_rank(rows) == pytest.approx(1.0, abs=1e-9)
    assert explained_variance(rows, 1) == pytest.approx(1.0)
    assert effective_rank(np.array([[0.0], [1.0], [5.0]])) == 1.0


def test_isotropic_rows_use_nearly_all_dimensions():
    rows = np.random.default_rng(3).normal(size=(20000, 16))
    assert 15.99 < effective_rank(rows) <= 16
    assert explained_variance(rows, 4) == pytest.approx(0.25, abs=0.01)
    # Corners of a simplex: N - 1 equal directions.
    assert effective_rank(np.eye(8)) == pytest.approx(7)
    assert explained_variance(np.eye(8)) == pytest.approx(2 / 7)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    "rows", [np.full((50, 8), 0.1), np.ones((1, 4)), np.ones((0, 4)), np.ones((4, 0))]
)
def test_without_variance_there_is_no_value(measure, rows):
    assert math.isnan(measure(rows, block_size=3))


@pytest.mark.parametrize("measure", MEASURES)
def test_low_precision_and_integers(measure):
    rows = np.random.default_rng(4).integers(-9, 9, size=(60, 5))
    expected = measure(rows.astype(np.float64))
    for dtype in (np.int64, np.float16, np.float32):
        assert measure(rows.astype(dtype)) == pytest.approx(expected, rel=1e-12)


def test_memory_does_not_grow_with_the_rows():
    rows = np.random.default_rng(5).normal(size=(200_000, 8)).astype(np.float32)
    effective_rank(rows[:10])
    tracemalloc.start()
    effective_rank(rows, block_size=1024)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The rows in float64 are 12.8 MB; finiteness is checked with a byte a value.
    assert peak < 5e6


@pytest.mark.parametrize("measure", MEASURES)
def test_errors(measure):
    with pytest.raises(UserError, match=r"shape \[N, D\]"):
        measure(np.ones(3))
    with pytest.raises(UserError, match="row 1"):
        measure(np.array([[0.0], [np.nan]]))
    with pytest.raises(UserError, match="block_size"):
        measure(np.eye(2), block_size=0)


def test_no_component_is_an_error():
    with pytest.raises(UserError, match="num_components must be at least 1, found 0"):
        explained_variance(np.eye(3), 0)
