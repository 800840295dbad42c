import collections

import numpy as np

from hierjax import Hierarchy, evaluation

TREE = Hierarchy.from_paths(
    [("a", "b", "c"), ("a", "b", "d"), ("a", "e", "f"), ("g", "h", "i"), ("j",)]
)
RNG = np.random.default_rng(0)
TRUE, PREDICTED = RNG.integers(-1, 5, (2, 400))


def both_known():
    pairs = zip(TRUE.tolist(), PREDICTED.tolist(), strict=True)
    return [(true, predicted) for true, predicted in pairs if min(true, predicted) >= 0]


def test_mistakes_are_counted_by_what_they_share():
    right, found = evaluation.count_by_shared_level(PREDICTED, TRUE, TREE)
    # By hand: c and d share a and b, f is their cousin, all others only the root.
    shared = {(0, 1): 2, (0, 2): 1, (1, 2): 1}
    counts = collections.Counter(
        "right"
        if true == predicted
        else shared.get(tuple(sorted((true, predicted))), 0)
        for true, predicted in both_known()
    )
    assert right == counts["right"] > 0
    assert found.tolist() == [counts[levels] for levels in range(3)]
    assert min(found) > 0


def test_confusions_are_counted_and_ordered():
    found = evaluation.largest_confusions(PREDICTED, TRUE, 6)
    counts = collections.Counter(pair for pair in both_known() if pair[0] != pair[1])
    expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:6]
    assert [((c.true, c.predicted), c.count) for c in found] == expected
    assert all(c.queries == np.sum(TRUE == c.true) for c in found)
    assert len(evaluation.largest_confusions(PREDICTED, TRUE, 99)) == len(counts)
    assert evaluation.largest_confusions(TRUE, TRUE, 6) == []


def test_the_worst_mistakes_come_first():
    confidence, distance = RNG.integers(1, 4, (2, 400)) / 3
    found = evaluation.worst_mistakes(PREDICTED, TRUE, confidence, distance, TREE, 60)
    wrong = [
        q
        for q in range(400)
        if PREDICTED[q] != TRUE[q] and min(PREDICTED[q], TRUE[q]) >= 0
    ]
    hops = TREE.path_length()
    expected = sorted(
        wrong,
        key=lambda q: (-hops[PREDICTED[q], TRUE[q]], -confidence[q], distance[q], q),
    )
    assert found.tolist() == expected[:60]
    assert not evaluation.worst_mistakes(TRUE, TRUE, confidence, distance, TREE, 3).size
