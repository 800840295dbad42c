import numpy as np
import pytest

from hierjax import Hierarchy
from hierjax.errors import UserError
from hierjax.metrics import full_path_correct, hierarchical_f1, path_consistent

TREE = Hierarchy.from_paths(
    [("a", "x", "p"), ("a", "x", "q"), ("a", "y"), ("b",), ("c", "z", "r")]
)


def ancestor_set(path):
    return {path[: i + 1] for i in range(len(path))}


def drawn(num_queries=40, seed=0):
    """Paths of classes, some of them cut; two of the truths are empty."""
    rng = np.random.default_rng(seed)
    labels = TREE.labels_of(rng.integers(0, TREE.num_classes, num_queries))
    for row in rng.choice(num_queries, 15, replace=False):
        labels[row, rng.integers(0, 3) :] = -1
    return labels


def test_f1_counts_nodes_once_however_ragged():
    predicted, labels = drawn(seed=1), drawn(seed=2)
    both = mine = theirs = 0
    for found, truth in zip(TREE.decode(predicted), TREE.decode(labels), strict=True):
        if truth:
            a, b = ancestor_set(found), ancestor_set(truth)
            both, mine, theirs = both + len(a & b), mine + len(a), theirs + len(b)
    values = hierarchical_f1(predicted, labels, TREE.ancestors, TREE.depths)
    assert values["precision"] == pytest.approx(both / mine)
    assert values["recall"] == pytest.approx(both / theirs)
    p, r = both / mine, both / theirs
    assert values["f1"] == pytest.approx(2 * p * r / (p + r))
    perfect = hierarchical_f1(labels, labels, TREE.ancestors, TREE.depths)
    assert set(perfect.values()) == {1.0}
    nothing = hierarchical_f1(
        np.full((2, 3), -1), TREE.labels_of([0, 1]), TREE.ancestors, TREE.depths
    )
    assert np.isnan(nothing["precision"]) and nothing["recall"] == 0


def test_full_paths_and_their_consistency():
    labels = TREE.labels_of(np.arange(5))
    np.testing.assert_array_equal(path_consistent(labels, TREE.ancestors), 1)
    np.testing.assert_array_equal(full_path_correct(labels, labels), 1)
    rng = np.random.default_rng(0)
    mixed = np.column_stack([rng.permutation(labels[:, level]) for level in range(3)])
    mixed = np.vstack([mixed, [[0, -1, -1]], [[-1, -1, -1]], [[0, -1, 1]]])
    names = {tuple(path[:k]) for path in labels.tolist() for k in range(1, 4)}
    expected = [
        np.nan if (row < 0).all() else float(tuple(row[row >= 0].tolist()) in names)
        for row in mixed[:-1]
    ]
    found = path_consistent(mixed, TREE.ancestors)
    np.testing.assert_array_equal(found[:-1], expected)
    assert found[-1] == 0  # a hole in the middle is no path
    truth = np.vstack([labels, labels[:3]])
    truth[6, 2] = -1
    expected = (mixed == truth).all(1).astype(float)
    expected[6] = np.nan
    np.testing.assert_array_equal(full_path_correct(mixed, truth), expected)


def test_shapes_are_checked():
    with pytest.raises(UserError, match="must both be"):
        full_path_correct(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(UserError, match="3 levels of the tree"):
        path_consistent(np.zeros((2, 2), int), TREE.ancestors)
    with pytest.raises(UserError, match="3 levels of the tree"):
        zeros = np.zeros((2, 2), int)
        hierarchical_f1(zeros, zeros, TREE.ancestors, TREE.depths)
