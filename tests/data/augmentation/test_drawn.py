"""Views drawn from copies."""

import collections
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.data.augmentation import drawn_views


def test_views_are_different_copies_and_all_are_drawn_alike():
    copies = jnp.arange(12.0).reshape(4, 3)
    keys = jax.random.split(jax.random.key(0), 1200)
    drawn = np.asarray(jax.vmap(drawn_views(2), (0, None))(keys, copies))
    assert drawn.shape == (1200, 2, 3)
    assert np.array_equal(drawn, drawn[..., :1] + np.arange(3))
    pairs = collections.Counter(map(tuple, (drawn[..., 0] / 3).astype(int).tolist()))
    assert pairs.keys() == set(itertools.permutations(range(4), 2))
    assert min(pairs.values()) > 60  # of 100 expected


def test_the_same_number_is_the_same_function():
    assert drawn_views(2) is drawn_views(2)
    assert drawn_views(2) is not drawn_views(3)
