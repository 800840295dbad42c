import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax.data.augmentation import AUGMENTATIONS, random_flip, with_views
from hierjax.errors import UserError

EXAMPLE = jnp.asarray(np.random.default_rng(0).uniform(size=(8, 8, 3)), jnp.float32)
CROP_FLIP = AUGMENTATIONS["crop_flip"]


def noisy(key, example):
    return (example + jax.random.normal(key, example.shape))[None]


def test_views_are_independent_draws():
    keys = jax.random.split(jax.random.key(0), 500)
    views = jax.jit(jax.vmap(with_views(noisy, 3), (0, None)))(keys, jnp.zeros(20))
    assert views.shape == (500, 3, 20)
    draws = np.asarray(views).transpose(1, 0, 2).reshape(3, -1)
    assert abs(np.corrcoef(draws) - np.eye(3)).max() < 0.05
    np.testing.assert_allclose(draws.std(axis=1), 1, rtol=0.05)


def test_every_view_is_one_of_the_augmentation():
    key = jax.random.key(4)
    views = with_views(noisy, 3)(key, EXAMPLE)
    assert views.shape == (3, 8, 8, 3)
    for view_key, view in zip(jax.random.split(key, 3), views, strict=True):
        np.testing.assert_array_equal(noisy(view_key, EXAMPLE)[0], view)
    np.testing.assert_array_equal(views, with_views(noisy, 3)(key, EXAMPLE))


def test_the_same_arguments_give_the_same_function():
    assert with_views(noisy, 2) is with_views(noisy, 2)
    assert with_views(noisy, 2) is not with_views(noisy, 3)
    assert with_views(noisy, 2) is not with_views(CROP_FLIP, 2)
    assert with_views(noisy, 1) is noisy
    assert with_views(None, 1) is None


def test_errors():
    with pytest.raises(UserError, match="2 views without an augmentation are ident"):
        with_views(None, 2)
    with pytest.raises(UserError, match="at least 1, got 0"):
        with_views(noisy, 0)
    with pytest.raises(AssertionError):
        jax.eval_shape(with_views(random_flip, 2), jax.random.key(0), EXAMPLE)
    with pytest.raises(AssertionError):
        jax.eval_shape(with_views(with_views(noisy, 2), 2), jax.random.key(0), EXAMPLE)
