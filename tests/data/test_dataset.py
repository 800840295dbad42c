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


def test_bytes_stay_bytes_and_stand_for_0_to_1():
    images = np.arange(36, dtype=np.uint8).reshape(6, 2, 3) * 7
    dataset = make(features=images)
    assert dataset.features is images
    floats = dataset.float_features()
    assert floats.dtype == np.float32 and floats.shape == images.shape
    assert floats[5, 1, 2] == np.float32(245 / 255) and floats.max() <= 1
    some = dataset.float_features(np.array([4, 1]))
    np.testing.assert_array_equal(some, floats[[4, 1]])
    for kind in (np.int8, np.uint16, np.float64, bool):
        other = make(features=images.astype(kind)).features
        np.testing.assert_array_equal(other, images.astype(kind))
        assert other.dtype == np.float32


def test_float_features_of_floats_are_the_features():
    dataset = make()
    assert dataset.float_features() is dataset.features
    np.testing.assert_array_equal(
        dataset.float_features([2, 0]), dataset.features[[2, 0]]
    )


def test_inputs_come_with_sizes_where_there_are_any():
    plain = make()
    assert plain.inputs is plain.features and plain.sizes is None
    sizes = [[10 + row, 20 - row] for row in range(6)]
    dataset = make(sizes=sizes)
    assert set(dataset.inputs) == {"image", "size"}
    assert dataset.inputs["image"] is dataset.features
    assert dataset.inputs["size"] is dataset.sizes
    assert dataset.sizes.dtype == np.float32
    np.testing.assert_array_equal(dataset.sizes, sizes)


def test_missing_split_lists_the_ones_there_are():
    dataset = make(splits={"train": [0], "test": [1]})
    with pytest.raises(UserError, match="no split 'validation'.*'train', 'test'"):
        dataset.rows("validation")


def labels_with(row, level, value):
    labels = make().labels.copy()
    labels[row, level] = value
    return labels


def test_rows_may_have_names():
    assert make().row_names is None
    names = [f"{row}.png" for row in range(6)]
    assert make(row_names=names).row_names.tolist() == names
    with pytest.raises(UserError, match=r"row_names must have shape \(6,\)"):
        make(row_names=names[:5])


def sizes_with(row, size):
    sizes = np.full((6, 2), 32.0)
    sizes[row] = size
    return sizes


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
        ({"sizes": np.ones((6, 3))}, r"sizes must have shape \(6, 2\)"),
        ({"sizes": sizes_with(4, (7, 0))}, "sizes row 4 is 7 x 0, accepted are pos"),
        ({"sizes": sizes_with(1, (-3, 5))}, "sizes row 1 is -3 x 5"),
        ({"sizes": sizes_with(5, (np.nan, 5))}, "sizes row 5 is nan x 5"),
        ({"sizes": sizes_with(5, (4, np.inf))}, "sizes row 5 is 4 x inf"),
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


def test_the_digest_tells_data_sets_apart():
    same = make(features=np.ones((6, 2)), name="other").digest()
    assert same == make().digest()
    others = [
        make(features=np.zeros((6, 3))),
        make(labels=TREE.labels_of([0, 1, 2, 3, 1, -1])),
        make(train_labels=np.full((6, 2), -1)),
        make(splits={"train": [0, 1, 2], "validation": [4], "test": [3]}),
        make(splits={"train": [0, 1, 2], "test": [3]}),
        make(units=np.arange(6) // 2),
        make(row_names=list("abcdef")),
        make(row_names=list("abcdfe")),
        make(
            hierarchy=Hierarchy.from_paths([("a", "x"), ("a", "y"), ("b", "z"), ("d",)])
        ),
    ]
    digests = [dataset.digest() for dataset in others]
    assert len({same, *digests}) == 1 + len(others)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_ids_of_64_bits_are_refused_and_not_cut(dtype):
    labels = make().labels[:5].astype(dtype)
    labels[0] += dtype(2**32)
    units = np.arange(5, dtype=dtype) + dtype(2**32)
    rows = np.array([2**32, 1], dtype)
    features = np.ones((5, 2))
    for change in (
        {"labels": labels},
        {"labels": make().labels[:5], "train_labels": labels},
        {"labels": make().labels[:5], "units": units},
        {"labels": make().labels[:5], "splits": {"train": rows}},
    ):
        with pytest.raises(
            UserError, match="have 4294967296, accepted are integers of"
        ):
            make(**({"features": features} | change))
    assert make(labels=make().labels.astype(np.int64)).labels.dtype == np.int32
