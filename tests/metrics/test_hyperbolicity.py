import itertools

import numpy as np
import pytest

from hierjax import Hierarchy
from hierjax.errors import UserError
from hierjax.metrics import delta_hyperbolicity


def loop_delta(distances, base):
    def product(x, y):
        return (distances[x, base] + distances[y, base] - distances[x, y]) / 2

    return max(
        min(product(x, z), product(z, y)) - product(x, y)
        for x, y, z in itertools.product(range(len(distances)), repeat=3)
    )


def test_against_a_loop_from_every_base():
    points = np.random.default_rng(0).normal(size=(9, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    for base in range(9):
        found = delta_hyperbolicity(distances, base=base)
        assert found.delta == pytest.approx(loop_delta(distances, base))
        assert found.relative == pytest.approx(2 * found.delta / distances.max())
        assert found.relative_unscaled == pytest.approx(found.relative / 2)


def test_trees_have_none():
    tree = Hierarchy.from_paths([("a", "x", "p"), ("a", "x", "q"), ("a", "y"), ("b",)])
    assert delta_hyperbolicity(tree.path_length()).delta == 0
    assert np.isnan(delta_hyperbolicity(np.zeros((3, 3))).relative)


@pytest.mark.parametrize(
    ("distances", "sentence"),
    [
        (np.ones((2, 2)), "0 on the diagonal"),
        (np.array([[0.0, 1.0], [2.0, 0.0]]), "symmetric"),
        (np.zeros((2, 3)), r"\[C, C\]"),
    ],
)
def test_other_matrices_are_refused(distances, sentence):
    with pytest.raises(UserError, match=sentence):
        delta_hyperbolicity(distances)
