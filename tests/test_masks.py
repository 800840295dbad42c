import jax
import numpy as np

from hierjax import masks


def loop_shared(a, b):
    count = 0
    for x, y in zip(a, b, strict=True):
        if x != y or x < 0:
            break
        count += 1
    return count


def test_shared_levels_equal_the_loop():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-1, 3, (9, 3)), rng.integers(-1, 3, (7, 3))
    expected = [[loop_shared(x, y) for y in b] for x in a]
    found = jax.jit(masks.shared_levels)(a, b)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)
    assert set(np.unique(found)) == {0, 1, 2, 3}


def test_a_coincidence_below_the_first_difference_does_not_count():
    a = np.array([[0, 5, 7]])
    b = np.array([[0, 5, 7], [0, 4, 7], [1, 5, 7], [0, 5, -1], [-1, -1, -1]])
    np.testing.assert_array_equal(masks.shared_levels(a, b), [[3, 1, 0, 2, 0]])


def test_unknown_levels_are_never_shared():
    unknown = np.array([[2, -1], [-1, -1]])
    np.testing.assert_array_equal(
        masks.shared_levels(unknown, unknown), [[1, 0], [0, 0]]
    )


def test_known_levels():
    labels = np.array([[0, 3, 4], [0, 3, -1], [2, -1, -1], [-1, -1, -1]])
    found = masks.known_levels(labels)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, [3, 2, 1, 0])
