import numpy as np
import pytest

from hierjax.data import Dataset, gm_notes, npz
from hierjax.data.inspection import inspect
from hierjax.hierarchy import Hierarchy

PATHS = [("animal", "bird", "owl"), ("animal", "bird", "wren"), ("animal", "cod"),
         ("oak",)]  # fmt: skip


def make(classes, splits, features=None, known=None, **fields):
    """A data set of four classes; ``known`` levels a row."""
    tree = Hierarchy.from_paths(PATHS)
    labels = tree.labels_of(classes)
    if known is not None:
        labels = np.where(np.arange(3) < np.array(known)[:, None], labels, -1)
    if features is None:
        features = np.arange(2 * len(classes), dtype=np.float32).reshape(-1, 2)
    return Dataset("x", features, labels, tree, splits, **fields)


def by_path(found):
    return {
        "/".join(node.path): (node.num_rows, node.num_ending) for node in found.nodes
    }


def test_a_clean_set_has_nothing_to_say():
    dataset = make([0, 1, 2, 3] * 3, {"train": range(8), "test": range(8, 12)})
    found = inspect(dataset)
    assert by_path(found) == {
        "animal": (9, 0),
        "animal/bird": (6, 0),
        "animal/bird/owl": (3, 0),
        "animal/bird/wren": (3, 0),
        "animal/cod": (3, 0),
        "oak": (3, 0),
    }
    assert found.classes_of_depth == {1: 1, 2: 1, 3: 2}
    assert [level.num_nodes for level in found.levels] == [2, 3, 4]
    assert [level.num_unknown for level in found.levels] == [0, 0, 0]
    assert sorted(found.levels[0].rows_of_node.tolist()) == [3, 9]
    assert found.splits == {"train": 8, "test": 4} and found.num_unused == 0
    assert (found.low, found.high, found.imbalance) == (0, 23, 1)
    for field in ("duplicates_across", "duplicates_within", "contradictions",
                  "single_classes", "empty_classes", "unseen_classes",
                  "untested_classes"):  # fmt: skip
        assert getattr(found, field) == (), field
    assert found.constant_features == found.shared_groups == 0
    assert found.num_features == 2


def test_unknown_levels():
    # Two birds of unknown kind, one animal, one nothing.
    dataset = make([0, 0, 0, 0, 1, 2], {"train": range(6)}, known=[3, 2, 1, 0, 2, 3])
    found = inspect(dataset)
    assert by_path(found) == {
        "animal": (5, 1),
        "animal/bird": (3, 2),
        "animal/bird/owl": (1, 0),
        "animal/bird/wren": (0, 0),
        "animal/cod": (1, 0),
        "oak": (0, 0),
    }
    assert [level.num_unknown for level in found.levels] == [1, 2, 4]
    assert found.empty_classes == ("animal/bird/wren", "oak")
    assert (
        found.single_classes == ("animal/bird/owl", "animal/cod")
        and found.imbalance == 1
    )


def test_duplicates_within_and_across_splits():
    features = np.arange(24, dtype=np.float32).reshape(12, 2)
    features[9] = features[1]
    features[4] = features[0]
    features[11] = features[2]
    splits = {"train": range(6), "validation": range(6, 8), "test": range(8, 11)}
    found = inspect(make([0, 1, 2, 3] * 3, splits, features))
    assert found.duplicates_across == ((1, 9),)
    assert found.duplicates_within == ((0, 4),)
    # Row 11 is in no split; 1 and 9 are both wrens.
    assert found.num_unused == 1 and found.contradictions == ()
    features[5] = features[2]
    assert inspect(make([0, 1, 2, 3] * 3, splits, features)).contradictions == ((2, 5),)


def test_a_coarser_label_contradicts_nothing():
    splits = {"train": range(2)}
    features = np.ones((2, 2))
    agreeing = inspect(make([0, 1], splits, features, known=[3, 2]))
    assert agreeing.duplicates_within == ((0, 1),) and agreeing.contradictions == ()
    assert inspect(make([0, 2], splits, features)).contradictions == ((0, 1),)


def test_classes_that_cannot_be_learned_or_measured():
    splits = {"train": range(5), "validation": [5, 6], "test": [7, 8]}
    found = inspect(make([0, 0, 0, 0, 1, 1, 0, 0, 2], splits))
    assert found.imbalance == 6
    assert found.single_classes == ("animal/cod",) and found.empty_classes == ("oak",)
    assert found.unseen_classes == ("animal/cod",) and found.untested_classes == (
        "animal/bird/wren",
    )
    del splits["test"]
    assert inspect(make([0, 0, 0, 0, 1, 1, 0, 0, 2], splits)).untested_classes == ()


def test_constant_features_and_shared_groups():
    features = np.zeros((6, 2, 3), np.uint8)
    features[:, 1, 2] = np.arange(6)
    features[5, 0, 0] = 9
    dataset = make(
        [0, 1, 2, 3, 0, 1],
        {"train": range(4), "test": [4, 5]},
        features,
        units=np.array([0, 1, 2, 2, 1, 3]),
    )
    found = inspect(dataset)
    # A difference in the test split alone does not help training.
    assert (found.constant_features, found.num_features) == (5, 6)
    assert found.shared_groups == 1 and found.high == 9


def test_one_level_and_an_internal_class(tmp_path):
    np.savez(tmp_path / "a.npz", features=np.eye(20), labels=np.arange(20) % 2)
    found = inspect(npz.load(tmp_path / "a.npz"))
    assert by_path(found) == {"0": (10, 0), "1": (10, 0)}
    tree = Hierarchy.from_paths([("a",), ("a", "b")], allow_internal_classes=True)
    labels = tree.labels_of([0, 0, 1])
    inner = Dataset("x", np.eye(3), labels, tree, {"train": range(3)})
    assert by_path(inspect(inner)) == {"a": (3, 0), "a/b": (1, 0)}


@pytest.mark.parametrize("protocol", ["seen", "unseen"])
def test_a_real_set(protocol):
    found = inspect(gm_notes.load(protocol))
    assert found.shared_groups == (128 if protocol == "seen" else 0)
    assert bool(found.unseen_classes) == (protocol == "unseen")
    assert not found.duplicates_across and sum(found.splits.values()) == 1530


def test_names_of_siblings_that_are_called_alike():
    paths = [("a", "Drink"), ("a", "drink"), ("b", "drink"), ("a", "Snowy  Owl"),
             ("a", "snowy_owl"), ("A", "cod")]  # fmt: skip
    tree = Hierarchy.from_paths(paths)
    dataset = Dataset("x", np.eye(6), tree.ancestors, tree, {"train": range(6)})
    assert set(inspect(dataset).alike) == {
        (("a",), ("A",)),
        (("a", "Drink"), ("a", "drink")),
        (("a", "Snowy  Owl"), ("a", "snowy_owl")),
    }
