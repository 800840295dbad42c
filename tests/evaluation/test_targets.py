"""Targets of probes: levels, and names where parents share them."""

import numpy as np

from hierjax import Hierarchy, data, evaluation

TREE = Hierarchy.from_paths(
    [("a", "0"), ("a", "1"), ("b", "0"), ("b", "1"), ("b", "2")],
    level_names=("top", "leaf"),
)
IDS = np.array([0, 1, 2, 3, 4, 0, 2, 4])


def make_data(labels=None):
    return data.Dataset(
        name="toy",
        features=np.eye(8, dtype=np.float32),
        labels=TREE.labels_of(IDS) if labels is None else labels,
        hierarchy=TREE,
        splits={"train": np.arange(4), "test": np.arange(4, 8)},
    )


def test_names_shared_by_parents_are_a_target_of_their_own():
    told = evaluation.targets_of(make_data())
    assert told.names == ("top", "leaf", "leaf_name")
    assert told.num_classes == (2, 5, 3)
    np.testing.assert_array_equal(told.ids[:, 2], [0, 1, 0, 1, 2, 0, 0, 2])
    alone = told.only(("leaf_name", "top"))
    assert alone.names == ("top", "leaf_name") and alone.num_classes == (2, 3)


def test_unknown_stays_unknown():
    labels = TREE.labels_of(IDS).copy()
    labels[3, 1] = -1
    told = evaluation.targets_of(make_data(labels))
    np.testing.assert_array_equal(told.ids[3], [1, -1, -1])


def test_only_classes_of_training_can_be_learned():
    told = evaluation.targets_of(make_data())
    # Leaf 4 and its name 2 are tested and never trained on.
    assert evaluation.learnable(make_data(), told) == ("top",)


def test_a_target_unknown_throughout_a_split_is_not_asked_for():
    labels = TREE.labels_of(np.zeros(8, int)).copy()
    both = evaluation.learnable(
        make_data(labels), evaluation.targets_of(make_data(labels))
    )
    assert both == ("top", "leaf", "leaf_name")
    labels[4:, 1] = -1
    hidden = make_data(labels)
    assert evaluation.learnable(hidden, evaluation.targets_of(hidden)) == ("top",)


def test_the_nearest_row_decides():
    gallery = np.array([[1.0, 0.0], [0.0, 1.0]])
    queries = np.array([[2.0, 0.1], [0.1, 3.0], [1.0, 0.0]])
    found = evaluation.nearest_correct(
        queries,
        gallery,
        np.array([[0, 5], [0, 1], [-1, 5]]),
        np.array([[0, 5], [1, 1]]),
    )
    np.testing.assert_array_equal(found, [[1, 1], [0, 1], [np.nan, 1]])
