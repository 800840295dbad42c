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
    with pytest.raises(UserError, match="no training row with a known label"):
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


def test_the_scale_is_the_most_likely_one():
    rng = np.random.default_rng(2)
    directions, paths = prototypes.node_prototypes(EMBEDDINGS, LABELS)
    rows = EMBEDDINGS + 0.8 * rng.standard_normal(EMBEDDINGS.shape)

    def loss(scale):
        losses = []
        for row, label in zip(rows, LABELS, strict=True):
            known = [i for i in range(3) if label[i] >= 0]
            if not known:
                continue
            level = known[-1]
            weights = np.exp(scale * (directions @ unit(row)))
            below = paths[:, level] == label[level]
            if below.any():
                losses.append(-np.log(weights[below].sum() / weights.sum()))
        return np.mean(losses)

    found = prototypes.fit_scale(rows, LABELS, directions, paths)
    assert 1 < found < 1000
    assert loss(found) <= min(loss(found * 1.02), loss(found / 1.02))


def test_without_rows_the_scale_trusts_nothing():
    directions, paths = prototypes.node_prototypes(EMBEDDINGS, LABELS)
    none = prototypes.fit_scale(EMBEDDINGS[:0], LABELS[:0], directions, paths)
    unknown = prototypes.fit_scale(EMBEDDINGS, np.full((8, 3), -1), directions, paths)
    assert none == unknown == 1
