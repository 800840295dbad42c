"""Prototypes of nodes and the scale of confidences."""

import numpy as np
import pytest

from hierjax.errors import UserError
from hierjax.inference import prototypes

LABELS = np.array(
    [
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 1],
        [0, -1, -1],
        [0, 1, -1],
        [0, 1, -1],
        [1, -1, -1],
        [-1, -1, -1],
    ]
)
EMBEDDINGS = np.random.default_rng(0).standard_normal((8, 4))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_classes_and_nodes_without_classes_have_prototypes():
    found, labels = prototypes.node_prototypes(EMBEDDINGS, LABELS)
    members = {
        (0, 0, 0): [0, 1],
        (0, 0, 1): [2],
        (0, 1, -1): [4, 5],
        (1, -1, -1): [6],
    }
    assert {tuple(row) for row in labels.tolist()} == set(members)
    for direction, row in zip(found, labels.tolist(), strict=True):
        mean = unit(EMBEDDINGS[members[tuple(row)]]).mean(axis=0)
        np.testing.assert_allclose(direction, unit(mean), rtol=1e-6)


def test_nothing_known_is_refused():
    with pytest.raises(UserError, match="no training row has a known label"):
        prototypes.node_prototypes(EMBEDDINGS, np.full((8, 3), -1))


def test_rows_that_cancel_out_have_no_direction():
    rows = np.array([[1.0, 0], [-1, 0], [0, 1]])
    found, labels = prototypes.node_prototypes(rows, np.array([[0], [0], [1]]))
    np.testing.assert_array_equal(labels, [[1]])
    np.testing.assert_allclose(found, [[0, 1]])


def test_node_probabilities_are_sums_of_a_softmax():
    similarity = np.random.default_rng(1).uniform(-1, 1, (6, 4))
    nodes = np.array([2, 0, 2, -1])
    found = prototypes.node_probabilities(similarity, 3.0, nodes, 4)
    for row, values in enumerate(similarity):
        weights = np.exp(3 * values) / np.exp(3 * values).sum()
        expected = [weights[1], 0, weights[0] + weights[2], 0]
        np.testing.assert_allclose(found[row], expected, rtol=1e-12)


def test_every_level_has_the_scale_of_the_least_binary_entropy():
    rng = np.random.default_rng(2)
    directions, paths = prototypes.node_prototypes(EMBEDDINGS, LABELS)
    rows = np.repeat(EMBEDDINGS, 9, axis=0)
    rows = rows + 0.7 * rng.standard_normal(rows.shape)
    labels = np.repeat(LABELS, 9, axis=0)

    def loss(scale, level):
        losses = []
        for row, label in zip(rows, labels, strict=True):
            if label[level] < 0:
                continue
            cosines = directions @ unit(row)
            weights = np.exp(scale * (cosines - cosines.max()))
            chances = dict.fromkeys(paths[:, level].tolist(), 0.0)
            for weight, node in zip(weights / weights.sum(), paths, strict=True):
                chances[int(node[level])] += weight
            chances.pop(-1, None)
            node = max(chances, key=chances.get)
            sure = min(max(chances[node], 1e-3), 1 - 1e-3)
            losses.append((sure, node == label[level]))
        hits = sum(right for _, right in losses)
        targets = {True: (hits + 1) / (hits + 2), False: 1 / (len(losses) - hits + 2)}
        return -np.mean(
            [
                targets[bool(right)] * np.log(sure)
                + (1 - targets[bool(right)]) * np.log(1 - sure)
                for sure, right in losses
            ]
        )

    found = prototypes.fit_scales(rows, labels, directions, paths)
    assert len(found) == 3 and len(set(found)) > 1
    for level, scale in enumerate(found):
        tried = [loss(x, level) for x in np.geomspace(1, 1000, 60)]
        assert loss(scale, level) <= min(tried) + 1e-3


def test_many_close_classes_are_named_as_often_as_they_are_right():
    # Prototypes from one row each: by likelihood nothing would ever be confident.
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((400, 16))
    labels = np.column_stack([np.arange(400) // 40, np.arange(400)])
    train = centres + 0.6 * rng.standard_normal(centres.shape)
    directions, paths = prototypes.node_prototypes(train, labels)
    held, test = (centres + 0.6 * rng.standard_normal(centres.shape) for _ in "ab")
    scales = prototypes.fit_scales(held, labels, directions, paths)
    for level, number in enumerate((10, 400)):
        chances = prototypes.node_probabilities(
            prototypes.cosines(test, directions), scales[level], paths[:, level], number
        )
        right = np.mean(chances.argmax(axis=1) == labels[:, level])
        assert 0.3 < right < 0.95
        assert abs(chances.max(axis=1).mean() - right) < 0.08


def test_without_rows_the_scales_trust_nothing():
    directions, paths = prototypes.node_prototypes(EMBEDDINGS, LABELS)
    none = prototypes.fit_scales(EMBEDDINGS[:0], LABELS[:0], directions, paths)
    unknown = prototypes.fit_scales(EMBEDDINGS, np.full((8, 3), -1), directions, paths)
    assert none == unknown == (1, 1, 1)


@pytest.mark.filterwarnings("error")
def test_where_no_row_has_a_direction_all_nodes_are_equally_far():
    """As after a training on constant features."""
    found, labels = prototypes.node_prototypes(np.zeros((8, 4)), LABELS)
    np.testing.assert_array_equal(found, np.zeros((4, 4)))
    expected = {(0, 0, 0), (0, 0, 1), (0, 1, -1), (1, -1, -1)}
    assert {tuple(row) for row in labels.tolist()} == expected
    scales = prototypes.fit_scales(np.zeros((8, 4)), LABELS, found, labels)
    assert np.isfinite(scales).all()
    similarity = prototypes.cosines(np.ones((2, 4)), found)
    chances = prototypes.node_probabilities(similarity, scales[0], labels[:, 0], 2)
    np.testing.assert_allclose(chances, [[0.75, 0.25]] * 2)
