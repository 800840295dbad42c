import math

import numpy as np
import pytest
from scipy import stats

from hierjax.errors import UserError
from hierjax.metrics.calibration import calibration, point_biserial


def loop_calibration(confidence, correct, num_bins, official=False):
    """Bins as lists; gaps, and Spearman's correlation over the bins that are used."""
    pairs = [
        (p, c) for p, c in zip(confidence, correct, strict=True) if not math.isnan(c)
    ]
    ece, gaps, centers, accuracies = 0.0, [], [], []
    for i in range(num_bins):
        low, high = i / num_bins, (i + 1) / num_bins
        closed = i == num_bins - 1 and not official
        inside = [(p, c) for p, c in pairs if low <= p < high or (closed and p == high)]
        if not inside:
            continue
        accuracy = sum(c for _, c in inside) / len(inside)
        gap = abs(accuracy - sum(p for p, _ in inside) / len(inside))
        ece += len(inside) / len(pairs) * gap
        gaps.append(gap)
        centers.append((low + high) / 2)
        accuracies.append(accuracy)
    correlation = stats.spearmanr(centers, accuracies).statistic
    return {"ece": ece, "mce": max(gaps), "correlation": correlation}


def answers(num_queries=400, seed=0):
    """Overconfident answers: confidences of 1 and 0, and some that do not count."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.15, 1, size=num_queries)
    correct = (rng.uniform(size=num_queries) < confidence**1.5).astype(float)
    confidence[:30], correct[:30] = 1, rng.integers(2, size=30)
    confidence[30:33] = 0
    correct[rng.integers(num_queries, size=20)] = math.nan
    return confidence, correct


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("num_bins", [1, 2, 10, 15])
def test_calibration_equals_the_loop_oracle(num_bins, official):
    confidence, correct = answers()
    actual = calibration(confidence, correct, num_bins=num_bins, official=official)
    if num_bins == 1:
        assert math.isnan(actual.pop("correlation"))
        expected = loop_calibration([*confidence], [*correct], 1, official)
        del expected["correlation"]
    else:
        expected = loop_calibration([*confidence], [*correct], num_bins, official)
    assert actual == pytest.approx(expected)


def test_confidence_one_counts():
    confidence, correct = np.array([1, 1, 1, 1, 0.5]), np.array([0, 0, 0, 1, 0.0])
    fixed = calibration(confidence, correct)
    assert fixed["ece"] == pytest.approx((4 * 0.75 + 0.5) / 5)
    assert fixed["mce"] == pytest.approx(0.75)
    assert fixed["correlation"] == pytest.approx(1)
    official = calibration(confidence, correct, official=True)
    assert official["ece"] == pytest.approx(0.5 / 5)
    assert official["mce"] == pytest.approx(0.5)
    nobody = calibration(np.ones(3), np.ones(3), official=True)
    assert all(map(math.isnan, nobody.values()))


def test_perfect_calibration():
    confidence = np.repeat([0.1, 0.5, 0.9], 10)
    correct = np.concatenate([np.arange(10) < hits for hits in (1, 5, 9)])
    actual = calibration(confidence, correct)
    assert actual == pytest.approx({"ece": 0, "mce": 0, "correlation": 1}, abs=1e-12)
    reversed_ = calibration(confidence, correct[::-1])
    assert reversed_["correlation"] == pytest.approx(-1)
    assert reversed_["mce"] == pytest.approx(0.8)


def test_edges_belong_to_the_bin_above():
    actual = calibration(np.array([0.5, 0.49]), np.array([1, 0]), num_bins=2)
    assert actual == pytest.approx({"ece": 0.495, "mce": 0.5, "correlation": 1})


def test_tied_accuracies_share_their_rank():
    confidence = np.array([0.1, 0.3, 0.3, 0.5, 0.5, 0.7, 0.9])
    correct = np.array([0, 0, 1, 1, 0, 1, 1.0])
    expected = stats.spearmanr([1, 3, 5, 7, 9], [0, 0.5, 0.5, 1, 1]).statistic
    actual = calibration(confidence, correct, num_bins=10)
    assert actual["correlation"] == pytest.approx(expected)


def test_point_biserial_equals_scipy():
    confidence, correct = answers()
    counts = ~np.isnan(correct)
    expected = stats.pointbiserialr(correct[counts], confidence[counts]).statistic
    assert point_biserial(confidence, correct) == pytest.approx(expected)
    assert point_biserial(
        np.array([0.9, 0.2]), np.array([True, False])
    ) == pytest.approx(1)


def test_nothing_to_correlate():
    assert math.isnan(point_biserial(np.array([0.2, 0.4]), np.ones(2)))
    assert math.isnan(point_biserial(np.full(2, 0.3), np.array([0, 1])))
    assert math.isnan(point_biserial(np.array([0.3]), np.array([math.nan])))
    unknown = calibration(np.full(4, 0.5), np.full(4, math.nan))
    assert all(map(math.isnan, unknown.values()))
    assert math.isnan(calibration(np.array([0.2, 0.8]), np.ones(2))["correlation"])


def test_wrong_calibration_input():
    confidence, correct = answers()
    correct[7] = 1
    for wrong in (1.5, -0.1, math.nan):
        with pytest.raises(UserError, match=rf"\[0, 1\], found {wrong} in row 7"):
            calibration(np.where(np.arange(400) == 7, wrong, confidence), correct)
    with pytest.raises(UserError, match="correct must be 0 to 1, or NaN"):
        point_biserial(confidence, correct * 2)
    with pytest.raises(UserError, match=r"found \(400,\) and \(399,\)"):
        calibration(confidence, correct[1:])
    with pytest.raises(UserError, match="num_bins must be at least 1, found 0"):
        calibration(confidence, correct, num_bins=0)
