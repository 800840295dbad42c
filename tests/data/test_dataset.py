import dataclasses

import numpy as np
import pytest

from hierjax.data import Dataset
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy

TREE = Hierarchy.from_paths([("a", "x"), ("a", "y"), ("b", "z"), ("c",)])


def make(**changes):
    fields = {
        "name": "toy",
        "features": np.arange(12.0).reshape(6, 2),
        "labels": TREE.labels_of([0, 1, 2, 3, 0, -1]),
        "hierarchy": TREE,
        "splits": {"train": [0, 1, 2], "validation": [3], "test": [4]},
    }
    return Dataset(**(fields | changes))


def test_types_and_defaults():
    dataset = make()
    assert dataset.features.dtype == np.float32
    assert dataset.labels.dtype == dataset.units.dtype == np.int32
    np.testing.assert_array_equal(dataset.train_labels, dataset.labels)
    np.testing.assert_array_equal(dataset.units, np.arange(6))
    assert dataset.rows("train").dtype == np.int32
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"


def test_replace_keeps_what_training_may_see():
    hidden = make().labels.copy()
    hidden[:, -1] = -1
    dataset = dataclasses.replace(make(train_labels=hidden), features=np.ones((6, 3)))
    np.testing.assert_array_equal(dataset.train_labels, hidden)


def test_missing_split_lists_the_ones_there_are():
    dataset = make(splits={"train": [0], "test": [1]})
    with pytest.raises(UserError, match="no split 'validation'.*'train', 'test'"):
        dataset.rows("validation")


def labels_with(row, level, value):
    labels = make().labels.copy()
    labels[row, level] = value
    return labels


def nan_at(row):
    features = np.ones((6, 2, 2))
    features[row, 1, 0] = np.nan
    return features


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": np.arange(6.0)}, r"toy: features must be \[N, ...\]"),
        ({"features": nan_at(4)}, "toy: row 4 has a feature that is not finite"),
        ({"features": np.full((6, 2), 1e300)}, "row 0 has a feature"),
        ({"features": np.ones((5, 2))}, r"labels must have shape \(5, 2\)"),
        ({"labels": np.zeros((6, 3), int)}, r"labels must have shape \(6, 2\)"),
        ({"labels": np.zeros((6, 2))}, "labels must be integers, got float64"),
        ({"train_labels": np.zeros((5, 2), int)}, "train_labels must have shape"),
        ({"units": np.zeros(5, int)}, r"units must have shape \(6,\)"),
        ({"labels": labels_with(2, 1, 4)}, "labels row 2 has 4 at level 1.*0 to 3"),
        ({"labels": labels_with(2, 0, -2)}, "labels row 2 has -2 at level 0"),
        ({"labels": labels_with(1, 0, -1)}, "row 1 is known at level 1 but not"),
        ({"labels": labels_with(1, 0, 1)}, "labels row 1 puts 'y' under 'b'"),
        ({"train_labels": labels_with(3, 1, 0)}, "train_labels row 3 puts 'x' under"),
        ({"splits": {"test": [0]}}, "splits must be 'train' and"),
        ({"splits": {"train": [0], "dev": [1]}}, r"got \['dev', 'train'\]"),
        ({"splits": {"train": []}}, "split 'train' must be a non-empty list"),
        ({"splits": {"train": [0, 6]}}, "names row 6, accepted are 0 to 5"),
        ({"splits": {"train": [-1]}}, "names row -1"),
        ({"splits": {"train": [1, 1]}}, "names a row twice"),
        ({"splits": {"train": [0.0]}}, "must be integers, got float64"),
        (
            {"splits": {"train": [0, 2], "test": [3, 2]}},
            "row 2 is in split 'test' and in split 'train'",
        ),
    ],
)
def test_errors(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        make(**changes)
    assert not str(caught.value).endswith(".")


def test_incomplete_rows_are_accepted():
    labels = labels_with(0, 1, -1)
    assert make(labels=labels).labels[0].tolist() == [0, -1]


def test_a_shuffled_tree_is_checked_against_its_own_parents():
    tree = next(
        tree
        for seed in range(20)
        if not np.array_equal((tree := TREE.shuffled(seed)).ancestors, TREE.ancestors)
    )
    make(hierarchy=tree, labels=tree.labels_of([0, 1, 2, 3, 0, -1]))
    with pytest.raises(UserError, match="is not its parent"):
        make(hierarchy=tree)
