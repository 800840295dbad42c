import numpy as np
import pytest

from hierjax.data.splitting import deal_parts, split_rows


def test_single_rows_meet_the_shares_of_every_class():
    classes = np.repeat([7, 3, -1], [100, 43, 8])
    part = deal_parts(classes, np.arange(151), (3, 1, 1), seed=1)
    for label in (7, 3, -1):
        counts = np.bincount(part[classes == label], minlength=3)
        wanted = np.array([3, 1, 1]) / 5 * (classes == label).sum()
        assert (np.abs(counts - wanted) <= 1).all(), (label, counts)


def test_groups_stay_together_and_every_part_gets_every_class():
    rng = np.random.default_rng(0)
    groups = rng.integers(60, size=500)
    classes = groups % 4
    part = deal_parts(classes, groups, (1,) * 5, seed=0)
    for group in range(60):
        assert len(set(part[groups == group])) == 1
    for label in range(4):
        counts = np.bincount(part[classes == label], minlength=5)
        assert counts.min() > 0.6 * counts.max()


def test_mixed_group_counts_as_its_majority():
    # Six groups; the mixed one has most rows of class 1.
    groups = np.array([0, 1, 2, 3, 3, 3, 4, 5])
    classes = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    part = deal_parts(classes, groups, (1, 1, 1), seed=0)
    assert sorted(part[:3]) == [0, 1, 2]
    assert sorted(part[[3, 6, 7]]) == [0, 1, 2]


def test_rare_classes_are_dealt_as_one():
    part = deal_parts(np.arange(20), np.arange(20), (3, 1, 1), seed=0)
    assert np.bincount(part).tolist() == [12, 4, 4]


def test_seed_decides():
    classes = np.repeat([0, 1], 50)
    rows = np.arange(100)
    first = deal_parts(classes, rows, (3, 1, 1), seed=0)
    np.testing.assert_array_equal(first, deal_parts(classes, rows, (3, 1, 1), seed=0))
    assert (first != deal_parts(classes, rows, (3, 1, 1), seed=1)).any()


@pytest.mark.parametrize("groups", [np.arange(50), np.arange(50) // 2])
def test_split_rows_covers_every_row_once(groups):
    splits = split_rows(np.arange(50) % 2, groups)
    assert list(splits) == ["train", "validation", "test"]
    assert sorted(np.concatenate(list(splits.values()))) == list(range(50))
