import doctest
import itertools
import math

import numpy as np
import pytest
from scipy import special

from hierjax import Hierarchy, decoding
from hierjax.decoding import (
    climbing,
    cost,
    f_beta,
    information,
    inputs,
    scaling,
    unseen,
)
from hierjax.errors import UserError
from hierjax.level_nodes import level_nodes

RAGGED = Hierarchy.from_paths(
    [["a", "p", "x"], ["b"], ["a", "p", "y"], ["a", "q"], ["c", "r", "z"], ["c", "s"]]
)
LONELY = Hierarchy.from_paths([["a", "p", "x"], ["b", "q", "y"], ["b", "q", "z"]])
INTERNAL = Hierarchy.from_paths(
    [["a", "p"], ["a"], ["a", "q"], ["b", "r"]], allow_internal_classes=True
)
ONE = Hierarchy.from_paths([["a", "p"]])
BALANCED = Hierarchy.from_paths([[a, b] for a in "xyz" for b in "123"[: ord(a) - 118]])
TREES = {
    "ragged": RAGGED,
    "lonely": LONELY,
    "internal": INTERNAL,
    "one": ONE,
    "balanced": BALANCED,
}
trees = pytest.mark.parametrize("tree", TREES.values(), ids=TREES.keys())


def draw(tree, rows=40, seed=0):
    """From nearly uniform to nearly certain rows."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, tree.num_classes))
    return special.softmax(logits * np.linspace(0.1, 6, rows)[:, None], axis=1)


def prefixes(tree):
    """All real nodes as paths of names, coarse ones first."""
    found = {path[:k] for path in tree.paths for k in range(1, len(path) + 1)}
    return sorted(found, key=lambda path: (len(path), path))


def probability_of(tree, row, prefix):
    return sum(
        p
        for p, path in zip(row.tolist(), tree.paths, strict=True)
        if path[: len(prefix)] == prefix
    )


@trees
def test_least_cost(tree):
    probabilities = draw(tree)
    cost = np.random.default_rng(1).random((tree.num_classes,) * 2)
    expected = decoding.expected_cost(probabilities, cost)
    for row, found, answer in zip(
        probabilities,
        expected,
        decoding.min_cost_classes(probabilities, cost),
        strict=True,
    ):
        costs = [sum(p * c for p, c in zip(row, of, strict=True)) for of in cost]
        np.testing.assert_allclose(found, costs, rtol=1e-12)
        assert answer == costs.index(min(costs))


def test_least_cost_prefers_the_side_with_more_mass():
    """The most probable class is alone on its side of the tree."""
    tree = Hierarchy.from_paths([["a", "1"], ["a", "2"], ["a", "3"], ["b", "4"]])
    row = [[0.21, 0.22, 0.21, 0.36]]
    assert np.argmax(row) == 3
    assert decoding.min_cost_classes(row, tree.lca_height()) == [1]
    flat = 1 - np.eye(4)
    assert decoding.min_cost_classes(row, flat) == [3]


@trees
def test_node_probabilities(tree):
    probabilities = draw(tree)
    found = decoding.node_probabilities(probabilities, tree)
    nodes = level_nodes(tree.ancestors)
    for level, column in enumerate(tree.ancestors.T):
        for node in range(column.max() + 1):
            expected = probabilities[:, column == node].sum(axis=1)
            np.testing.assert_allclose(found[:, nodes.offsets[level] + node], expected)


def loop_f_beta(answer, truth, beta, count_root):
    """Of two sets of prefixes."""
    answer, truth = (set(s) | ({()} if count_root else set()) for s in (answer, truth))
    square = beta**2
    return (1 + square) * len(answer & truth) / (len(answer) + square * len(truth))


def expected_f_beta(tree, row, answer, beta, count_root):
    return sum(
        p
        * loop_f_beta(
            answer, [path[:k] for k in range(1, len(path) + 1)], beta, count_root
        )
        for p, path in zip(row.tolist(), tree.paths, strict=True)
    )


def names_of_sets(tree, sets):
    nodes = level_nodes(tree.ancestors)
    number = {}
    for c, path in enumerate(tree.paths):
        for level in range(len(path)):
            number[int(nodes.paths[c, level])] = path[: level + 1]
    return [[number[n] for n in np.flatnonzero(row)] for row in sets]


@pytest.mark.parametrize("tree", [RAGGED, LONELY, INTERNAL, BALANCED], ids=repr)
@pytest.mark.parametrize(
    ("beta", "count_root"), [(1.0, True), (0.4, True), (2.5, False)]
)
def test_f_beta_sets_against_all_sets(tree, beta, count_root):
    probabilities = draw(tree, rows=12)
    every = prefixes(tree)
    sets = [
        list(s) for k in range(len(every) + 1) for s in itertools.combinations(every, k)
    ]
    if not count_root:
        sets = sets[1:]
    truths = np.array(
        [
            [
                loop_f_beta(s, [p[:k] for k in range(1, len(p) + 1)], beta, count_root)
                for p in tree.paths
            ]
            for s in sets
        ]
    )
    best = (probabilities @ truths.T).max(axis=1)
    found = decoding.f_beta_sets(probabilities, tree, beta=beta, count_root=count_root)
    for row, value, answer in zip(
        probabilities, best, names_of_sets(tree, found), strict=True
    ):
        reached = expected_f_beta(tree, row, answer, beta, count_root)
        np.testing.assert_allclose(reached, value, rtol=1e-10)
        assert all(p[:-1] in answer or len(p) == 1 for p in answer)


def test_a_set_need_not_be_a_path():
    tree = Hierarchy.from_paths([["a"], ["b"], ["c"]])
    found = decoding.f_beta_sets([[0.5, 0.5, 0.0]], tree)
    np.testing.assert_array_equal(found, [[True, True, False]])


@trees
@pytest.mark.parametrize(("beta", "count_root"), [(1.0, True), (0.3, False)])
def test_f_beta_labels_against_all_nodes(tree, beta, count_root):
    probabilities = draw(tree)
    labels = decoding.f_beta_labels(
        probabilities, tree, beta=beta, count_root=count_root
    )
    for row, answer in zip(probabilities, tree.decode(labels), strict=True):
        values = {
            p: expected_f_beta(
                tree, row, [p[:k] for k in range(1, len(p) + 1)], beta, count_root
            )
            for p in ([()] if count_root else []) + prefixes(tree)
        }
        np.testing.assert_allclose(values[answer], max(values.values()), rtol=1e-10)
    assert labels.dtype == np.int32


def climb(tree, row, threshold):
    path = tree.paths[int(np.argmax(row))]
    itself = sum(p[: len(path)] == path for p in tree.paths) > 1
    if itself and row.max() >= threshold:
        return path, True
    for length in range(len(path), 0, -1):
        if probability_of(tree, row, path[:length]) >= threshold - 1e-15:
            return path[:length], False
    return (), False


@trees
@pytest.mark.parametrize("threshold", [0.0, 0.45, 0.8, 1.5])
def test_climb(tree, threshold):
    probabilities = draw(tree)
    labels = decoding.climb_labels(probabilities, tree, threshold=threshold)
    for row, found, answer in zip(
        probabilities, labels, tree.decode(labels), strict=True
    ):
        expected, itself = climb(tree, row, threshold)
        assert answer == expected
        if itself:
            assert found[-1] == np.argmax(row)


def holds(tree, labels, class_ids):
    return np.all((labels < 0) | (labels == tree.ancestors[class_ids]), axis=1)


@trees
def test_calibrated_climb_is_the_least_threshold_that_keeps_the_promise(tree):
    probabilities = draw(tree, rows=60)
    rng = np.random.default_rng(2)
    class_ids = np.array([rng.choice(tree.num_classes, p=row) for row in probabilities])
    for accuracy in (0.5, 0.9):
        threshold = decoding.calibrate_climb(
            probabilities, class_ids, tree, accuracy=accuracy
        )
        needed = math.ceil(accuracy * 61)

        def right(threshold):
            labels = decoding.climb_labels(probabilities, tree, threshold=threshold)
            return holds(tree, labels, class_ids).sum()

        assert right(threshold) >= needed
        if threshold > 0:
            assert right(np.nextafter(threshold, 0)) < needed


def test_the_promise_is_kept_on_new_rows():
    rng = np.random.default_rng(3)

    def rows(number):
        probabilities = draw(RAGGED, number, seed=rng.integers(1 << 30))
        sharper = probabilities**2 / (probabilities**2).sum(axis=1, keepdims=True)
        ids = np.array([rng.choice(6, p=row) for row in probabilities])
        return sharper, ids  # overconfident

    found = []
    for _ in range(30):
        threshold = decoding.calibrate_climb(*rows(99), RAGGED, accuracy=0.8)
        probabilities, ids = rows(200)
        labels = decoding.climb_labels(probabilities, RAGGED, threshold=threshold)
        found.append(holds(RAGGED, labels, ids).mean())
    # Exactly .8 in expectation, but for ties; a mean of 30 is within .03.
    assert 0.77 < np.mean(found) < 0.84


def test_rows_of_unknown_class_do_not_calibrate():
    probabilities, ids = draw(RAGGED), np.arange(40) % 6
    mixed = np.where(np.arange(40) % 3 == 0, -1, ids)
    for calibrate in (decoding.calibrate_climb, decoding.calibrate_information):
        found = calibrate(probabilities, mixed, RAGGED, accuracy=0.7)
        kept = mixed >= 0
        assert found == calibrate(probabilities[kept], ids[kept], RAGGED, accuracy=0.7)


@trees
@pytest.mark.parametrize("reward", [0.0, 1.3, 20.0])
def test_information(tree, reward):
    probabilities = draw(tree)
    labels = decoding.information_labels(probabilities, tree, reward=reward)
    num_classes = tree.num_classes
    for row, found in zip(probabilities, labels, strict=True):
        values = {}
        for level, column in enumerate(tree.ancestors.T):
            for node in range(column.max() + 1):
                inside = column == node
                worth = math.log2(num_classes / inside.sum()) + reward
                values[level, node] = row[inside].sum() * worth
        best = max(reward, *values.values())
        known = int((found >= 0).sum())
        got = values[known - 1, found[known - 1]] if known else reward
        np.testing.assert_allclose(got, best, rtol=1e-10)


def test_calibrated_information():
    probabilities = draw(RAGGED, rows=60)
    rng = np.random.default_rng(4)
    class_ids = np.array([rng.choice(6, p=row) for row in probabilities])

    def accuracy(reward):
        labels = decoding.information_labels(probabilities, RAGGED, reward=reward)
        return holds(RAGGED, labels, class_ids).mean()

    target = (accuracy(0.0) + 1) / 2
    reward = decoding.calibrate_information(
        probabilities, class_ids, RAGGED, accuracy=target
    )
    assert accuracy(reward) >= target > accuracy(reward * (1 - 1e-4))
    low = accuracy(0.0) / 2
    assert (
        decoding.calibrate_information(probabilities, class_ids, RAGGED, accuracy=low)
        == 0
    )
    certain = np.eye(6)[:2]
    found = decoding.calibrate_information(certain, [1, 0], RAGGED, accuracy=0.9)
    assert found == math.inf
    assert (decoding.information_labels(certain, RAGGED, reward=found) == -1).all()


def loop_unseen(tree, row, out):
    """What stays at every real node, and reaches every class."""
    stays, reaches = {}, {(): 1.0}
    leaves = [
        (*p, "itself") if sum(q[: len(p)] == p for q in tree.paths) > 1 else p
        for p in tree.paths
    ]
    mass = {
        p[:k]: sum(x for x, q in zip(row, leaves, strict=True) if q[:k] == p[:k])
        for p in leaves
        for k in range(len(p) + 1)
    }
    for node in sorted(mass, key=len):
        if node in leaves:
            continue
        children = [n for n in mass if n[:-1] == node and len(n) == len(node) + 1]
        shares = [mass[n] / mass[node] for n in children]
        entropy = 0.0
        if len(children) > 1:
            entropy = -sum(s * math.log(s) for s in shares) / math.log(len(children))
        keep = entropy / (mass[node] + entropy)
        if out == "complement":
            keep = 1 - mass[node]
        stays[node] = reaches[node] * keep
        for child, share in zip(children, shares, strict=True):
            reaches[child] = reaches[node] * (1 - keep) * share
    return stays, [reaches[p] for p in leaves]


@trees
@pytest.mark.parametrize("out", decoding.OUT_SCORES)
def test_unseen_children(tree, out):
    probabilities = draw(tree, rows=10)
    found = decoding.unseen_probabilities(probabilities, tree, out=out)
    nodes = level_nodes(tree.ancestors)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    for row, values in zip(probabilities, found, strict=True):
        stays, reaches = loop_unseen(tree, row, out)
        np.testing.assert_allclose(values[-tree.num_classes :], reaches, atol=1e-12)
        np.testing.assert_allclose(values[0], stays[()], atol=1e-12)
        for c, path in enumerate(tree.paths):
            for level in range(len(path)):
                if path[: level + 1] in stays:
                    number = 1 + nodes.paths[c, level]
                    expected = stays[path[: level + 1]]
                    np.testing.assert_allclose(values[number], expected, atol=1e-12)


def test_temperature_undoes_a_temperature():
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(4000, 5)) * 2
    ids = np.array([rng.choice(5, p=row) for row in special.softmax(logits, axis=1)])
    once = decoding.fit_temperature(logits, ids)
    assert 0.9 < once < 1.1
    for factor in (0.2, 7.0):
        found = decoding.fit_temperature(factor * logits, ids)
        np.testing.assert_allclose(found, factor * once, rtol=1e-4)

    def entropy(temperature):
        return -special.log_softmax(logits / temperature, axis=1)[
            np.arange(4000), ids
        ].mean()

    assert entropy(once) <= min(entropy(once * 1.001), entropy(once / 1.001))


def test_vector_scaling_finds_the_change():
    rng = np.random.default_rng(6)
    true = rng.normal(size=(6000, 4)) * 2
    ids = np.array([rng.choice(4, p=row) for row in special.softmax(true, axis=1)])
    scales, biases = np.array([2, 0.5, 1, 3]), np.array([1, 0, -2, 1])
    found = decoding.fit_vector_scaling((true - biases) / scales, ids)
    np.testing.assert_allclose(found.scales, scales, rtol=0.15)
    np.testing.assert_allclose(found.biases, biases, atol=0.2)
    still = decoding.fit_vector_scaling((true - biases) / scales, ids, penalty=1e6)
    np.testing.assert_allclose(still.scales, 1, atol=1e-4)
    np.testing.assert_allclose(still.biases, 0, atol=1e-4)


def test_what_is_wrong_is_said():
    good = draw(RAGGED, rows=3)
    for wrong, match in (
        (good[0], r"shape \[N, C\]"),
        (good * 2, "sum to 1"),
        (good - 1 / 6, "at least 0"),
        (np.where(np.arange(3)[:, None] == 1, np.nan, good), "in row 1"),
        (np.ones((2, 1)), "6 classes of the tree, found 1"),
    ):
        with pytest.raises(UserError, match=match):
            decoding.climb_labels(wrong, RAGGED, threshold=0.5)
    for call, match in (
        (lambda: decoding.expected_cost(good, np.eye(5)), r"\(6, 6\)"),
        (lambda: decoding.f_beta_sets(good, RAGGED, beta=0), "beta"),
        (lambda: decoding.climb_labels(good, RAGGED, threshold=-1.0), "threshold"),
        (lambda: decoding.information_labels(good, RAGGED, reward=-1.0), "reward"),
        (lambda: decoding.unseen_probabilities(good, RAGGED, out="x"), "accepted"),
        (lambda: decoding.fit_temperature(good, [0, 1]), "3 integers"),
        (lambda: decoding.fit_temperature(good, [-1, -1, -1]), "no row has"),
        (lambda: decoding.fit_temperature(good, [0, 1, 6]), r"-1\.\.5"),
        (lambda: decoding.fit_temperature(good * np.nan, [0, 1, 2]), "finite"),
        (lambda: decoding.fit_vector_scaling(good, [0, 1, 2], penalty=-1), "penalty"),
    ):
        with pytest.raises(UserError, match=match):
            call()
    for accuracy in (0, 1, np.nan):
        with pytest.raises(UserError, match="accuracy must lie"):
            decoding.calibrate_climb(good, [0, 1, 2], RAGGED, accuracy=accuracy)


@pytest.mark.parametrize(
    "module",
    [inputs, climbing, cost, f_beta, information, scaling, unseen],
    ids=lambda module: module.__name__,
)
def test_examples(module):
    failed, tried = doctest.testmod(module)
    assert tried and not failed
