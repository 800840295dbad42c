import itertools
import math
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from hierjax.errors import UserError
from hierjax.metrics import (
    bootstrap_interval,
    intervals,
    seed_interval,
    sign_flip_test,
    two_way_interval,
)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_rows_agree_with_the_normal_interval(confidence):
    values = np.random.default_rng(0).normal(3.0, 2.0, size=2000)
    half = stats.norm.ppf((1 + confidence) / 2) * values.std() / math.sqrt(2000)
    interval = bootstrap_interval(values, confidence=confidence)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.06 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.06 * half)


def loop_bootstrap(values, units, num_resamples, seed):
    rng = np.random.default_rng(seed)
    members = {}
    for value, unit in zip(values, units, strict=True):
        members.setdefault(unit, []).append(value)
    names = sorted(members)
    means = []
    for _ in range(num_resamples):
        drawn = []
        for position in rng.integers(len(names), size=len(names)):
            drawn += members[names[position]]
        means.append(sum(drawn) / len(drawn))
    return np.quantile(means, [0.025, 0.975])


def test_units_equal_the_loop_oracle(monkeypatch):
    rng = np.random.default_rng(1)
    units = rng.integers(9, size=60) * 4
    units[:20] = 8
    values = rng.normal(size=60) + units
    expected = loop_bootstrap(values, units.tolist(), 300, seed=5)
    for draws in (1, 50, 1 << 20):
        monkeypatch.setattr(intervals, "_DRAWS_AT_A_TIME", draws)
        actual = bootstrap_interval(values, units=units, num_resamples=300, seed=5)
        assert actual.mean == pytest.approx(values.mean())
        np.testing.assert_allclose(actual[1:], expected, rtol=1e-12)


def test_units_of_copies_widen_the_interval():
    values = np.random.default_rng(2).normal(size=200)
    copies, units = np.repeat(values, 25), np.repeat(np.arange(200), 25)
    single = bootstrap_interval(values)
    by_unit = bootstrap_interval(copies, units=units)
    by_row = bootstrap_interval(copies, num_resamples=2000)
    np.testing.assert_allclose(by_unit, single, atol=1e-12)
    ratio = (single.high - single.low) / (by_row.high - by_row.low)
    assert ratio == pytest.approx(5, rel=0.1)


def test_one_row_units_equal_no_units():
    values = np.random.default_rng(3).normal(size=50)
    named = bootstrap_interval(values, units=np.array([f"u{i:02}" for i in range(50)]))
    assert named == bootstrap_interval(values)
    assert named != bootstrap_interval(values, seed=1)


def test_paired_gain_is_sharper_than_its_parts():
    rng = np.random.default_rng(4)
    theirs = rng.normal(size=300)
    ours = theirs + 0.1 + 0.05 * rng.normal(size=300)
    gain = bootstrap_interval(ours - theirs)
    assert 0 < gain.low < 0.1 < gain.high
    assert bootstrap_interval(ours).low < bootstrap_interval(theirs).high


def test_nan_values_are_skipped():
    values = np.random.default_rng(5).normal(size=40)
    units = np.arange(40) // 4
    holes = np.concatenate([values, [np.nan, np.nan]])
    assert bootstrap_interval(holes) == bootstrap_interval(values)
    assert bootstrap_interval(
        holes, units=np.append(units, [3, 99])
    ) == bootstrap_interval(values, units=units)


def test_columns_weigh_alike_however_many_values_they_have():
    rng = np.random.default_rng(5)
    values = np.stack([rng.normal(0, 1, 80), rng.normal(4, 1, 80)], axis=1)
    whole = bootstrap_interval(values, num_resamples=400)
    by_row = bootstrap_interval(values.mean(axis=1), num_resamples=400)
    np.testing.assert_allclose(whole, by_row, rtol=1e-12)
    values[20:, 1] = np.nan
    found = bootstrap_interval(values, num_resamples=400)
    assert found.mean == pytest.approx(np.nanmean(values, axis=0).mean())
    assert found.low < found.mean < found.high
    values[1:, 1] = np.nan
    few = bootstrap_interval(values, num_resamples=400)
    assert np.isfinite(few).all()


def test_constant_and_degenerate_values():
    assert bootstrap_interval(np.full(7, 2.5)) == (2.5, 2.5, 2.5)
    assert np.isnan(bootstrap_interval(np.array([np.nan]))).all()
    assert np.isnan(bootstrap_interval(np.array([]))).all()
    one_unit = bootstrap_interval(np.array([1.0, 2.0]), units=np.array([4, 4]))
    assert one_unit.mean == 1.5 and math.isnan(one_unit.low + one_unit.high)


def test_seed_interval():
    values = np.array([0.31, 0.35, 0.30, 0.40])
    mean = sum(values) / 4
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / 3 / 4)
    # 3.182 is the 97.5 % point of Student's t with 3 degrees of freedom.
    expected = (mean, mean - 3.18245 * error, mean + 3.18245 * error)
    assert seed_interval(values) == pytest.approx(expected, rel=1e-5)
    wider = seed_interval(values, confidence=0.99)
    assert wider.low < expected[1] and wider.high > expected[2]
    single = seed_interval(np.array([0.3]))
    assert single.mean == 0.3 and math.isnan(single.low) and math.isnan(single.high)
    assert math.isnan(seed_interval(np.array([0.3, np.nan, 0.4])).mean)


def test_wrong_input():
    values = np.arange(4.0)
    with pytest.raises(UserError, match=r"units must .* found \(3,\) for \(4,\)"):
        bootstrap_interval(values, units=np.arange(3))
    with pytest.raises(UserError, match="between 0 and 1, found 95"):
        bootstrap_interval(values, confidence=95)
    with pytest.raises(UserError, match="between 0 and 1, found 1"):
        seed_interval(values, confidence=1)
    with pytest.raises(UserError, match="num_resamples must be at least 1, found 0"):
        bootstrap_interval(values, num_resamples=0)
    with pytest.raises(UserError, match=r"shape \[N\] or \[N, L\], found \(4, 1, 1\)"):
        bootstrap_interval(values[:, None, None])


def test_two_way_interval_with_one_seed_is_the_cluster_bootstrap():
    rng = np.random.default_rng(0)
    units = rng.integers(0, 30, 200)
    values = rng.normal(size=200) + np.random.default_rng(1).normal(size=30)[units]
    ours = two_way_interval(values[None], units=units, num_resamples=10_000)
    cluster = bootstrap_interval(values, units=units)
    np.testing.assert_allclose(ours, cluster, atol=0.02)


def test_two_way_interval_holds_the_spread_of_the_seeds():
    seeds = np.array([0.0, 1.0, 2.0, 3.0])
    values = np.repeat(seeds[:, None], 50, axis=1)
    interval = two_way_interval(values, units=np.arange(50), num_resamples=20_000)
    rng = np.random.default_rng(3)
    means = [seeds[rng.integers(0, 4, 4)].mean() for _ in range(20_000)]
    assert interval.mean == 1.5
    np.testing.assert_allclose(
        interval[1:], np.quantile(means, [0.025, 0.975]), atol=0.26
    )


def test_two_way_interval_edge_cases():
    values = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, np.nan]])
    assert two_way_interval(values, units=np.arange(3)).mean == 7 / 4
    assert np.isnan(two_way_interval(values, units=np.zeros(3, int)).low)
    assert np.isnan(two_way_interval(values * np.nan, units=np.arange(3)).mean)
    with pytest.raises(UserError, match="found"):
        two_way_interval(values, units=np.arange(4))


def test_sign_flips_against_all_of_them():
    rng = np.random.default_rng(3)
    differences = rng.normal(0.5, 1, 9)
    reached = sum(
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        >= abs(sum(differences)) - 1e-12
        for signs in itertools.product((-1, 1), repeat=9)
    )
    found = sign_flip_test(differences, num_resamples=50_000)
    np.testing.assert_allclose(found, reached / 2**9, atol=0.01)
    # Unknown differences do not count, the order neither.
    padded = np.concatenate([[np.nan], differences[::-1]])
    again = sign_flip_test(padded, num_resamples=50_000)
    np.testing.assert_allclose(again, found, atol=0.01)


def test_memory_is_bounded_and_draws_do_not_depend_on_it(monkeypatch):
    rng = np.random.default_rng(6)
    values, units = rng.normal(size=(2, 4000)), np.arange(4000)
    measures = (
        lambda: two_way_interval(values, units=units, num_resamples=500),
        lambda: bootstrap_interval(values.T, num_resamples=500),
        lambda: sign_flip_test(values[0], num_resamples=999),
    )
    whole = [measure() for measure in measures]
    monkeypatch.setattr(intervals, "_DRAWS_AT_A_TIME", 1 << 16)
    for measure, expected in zip(measures, whole, strict=True):
        intervals._times_drawn.cache_clear()
        tracemalloc.start()
        np.testing.assert_allclose(measure(), expected, rtol=1e-12)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # A [queries, units] matrix has 128 MB, one of float64 draws 16 to 32.
        assert peak < 8e6


def test_two_way_interval_equals_the_loop_oracle():
    rng = np.random.default_rng(7)
    values, units = rng.normal(size=(3, 40)), rng.integers(6, size=40) * 5
    values[1, :9] = np.nan
    names = sorted(set(units.tolist()))
    of_seeds = np.random.default_rng(8).multinomial(3, [1 / 3] * 3, size=200)
    of_units = np.random.default_rng(9).multinomial(len(names), [1 / 6] * 6, size=200)
    means = []
    for seeds, drawn in zip(of_seeds, of_units, strict=True):
        total = count = 0
        for s, times in enumerate(seeds):
            for value, unit in zip(values[s], units, strict=True):
                if not np.isnan(value):
                    weight = times * drawn[names.index(unit)]
                    total, count = total + weight * value, count + weight
        means.append(total / count)
    actual = two_way_interval(values, units=units, num_resamples=200, seed=8)
    np.testing.assert_allclose(actual[1:], np.quantile(means, [0.025, 0.975]))


def test_sign_flips_at_the_edges():
    assert np.isnan(sign_flip_test(np.array([np.nan])))
    assert sign_flip_test(np.zeros(5)) == 1
    assert sign_flip_test(np.ones(60), num_resamples=999) == 1 / 1000
    assert sign_flip_test(np.array([2.0])) == 1
