import numpy as np
import pytest

from hierjax import Hierarchy, decoding
from hierjax.errors import UserError
from hierjax.metrics import hierarchical_aurc

TREE = Hierarchy.from_paths(
    [("a", "x"), ("a", "y"), ("b", "z"), ("b", "w"), ("b", "v"), ("c",)]
)


def answers():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(6, 0.5), 40)
    return probabilities, rng.integers(-1, 6, 40)


def loop_point(threshold, probabilities, ids):
    """Coverage and risk of the climb at one threshold."""
    found = decoding.climb_labels(probabilities, TREE, threshold=threshold)
    coverage, risk = [], []
    for row, truth in zip(found, ids, strict=True):
        if truth < 0:
            continue
        depth = (row >= 0).sum()
        below = [
            c for c in range(6) if (TREE.ancestors[c, :depth] == row[:depth]).all()
        ]
        coverage.append(1 - np.log(len(below)) / np.log(6))
        risk.append(truth not in below)
    return np.mean(coverage), np.mean(risk)


def test_every_point_is_a_climb():
    probabilities, ids = answers()
    curve = hierarchical_aurc(probabilities, ids, TREE.ancestors)
    expected = [loop_point(t, probabilities, ids) for t in curve.thresholds]
    np.testing.assert_allclose(curve.coverage, [c for c, _ in expected], atol=1e-12)
    np.testing.assert_allclose(curve.risk, [r for _, r in expected], atol=1e-12)
    assert curve.coverage[0] == 1 and (np.diff(curve.coverage) <= 1e-12).all()


def test_area_of_certain_answers():
    certain = np.eye(6)
    right = hierarchical_aurc(certain, np.arange(6), TREE.ancestors)
    assert right.area == 0
    wrong = hierarchical_aurc(certain, np.array([2, 2, 0, 0, 0, 0]), TREE.ancestors)
    assert wrong.risk[0] == 1 and 0.5 <= wrong.area <= 1


def test_bad_input():
    with pytest.raises(UserError, match=r"probabilities must be \[Q, 6\]"):
        hierarchical_aurc(np.zeros((2, 5)), [0, 0], TREE.ancestors)
    with pytest.raises(UserError, match="no query of known class"):
        hierarchical_aurc(np.zeros((2, 6)), [-1, -1], TREE.ancestors)
    with pytest.raises(UserError, match="at least two classes"):
        hierarchical_aurc(np.ones((1, 1)), [0], np.zeros((1, 1), int))
