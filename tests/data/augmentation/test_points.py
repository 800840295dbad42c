import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hierjax.data import psb
from hierjax.data.augmentation import AUGMENTATIONS, points_256, points_rotate_jitter
from hierjax.data.augmentation import points as points_module
from hierjax.errors import UserError

RNG = np.random.default_rng(0)
CLOUD = RNG.uniform(-0.5, 0.5, (400, 3)).astype(np.float32)


@functools.partial(jax.jit, static_argnums=0)
def batched_views(augment, keys, points):
    return jax.vmap(augment, (0, None))(keys, points)


def views_of(augment, points, number, seed=0):
    keys = jax.random.split(jax.random.key(seed), number)
    return np.asarray(batched_views(augment, keys, points))[:, 0]


def test_turns_about_the_second_axis_and_scales():
    views = views_of(points_rotate_jitter, CLOUD, 600)
    angles, scales = [], []
    for view in views:
        linear, *_ = np.linalg.lstsq(CLOUD, view, rcond=None)
        scale = np.cbrt(np.linalg.det(linear))
        turn = linear.T / scale
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=0.02)
        np.testing.assert_allclose(turn[:, 1], [0, 1, 0], atol=0.02)
        noise = view - CLOUD @ linear
        np.testing.assert_allclose(noise.std(), 0.01, rtol=0.1)
        assert abs(noise).max() < 0.053
        angles.append(np.arctan2(turn[0, 2], turn[0, 0]) % (2 * np.pi))
        scales.append(scale)
    assert stats.kstest(angles, stats.uniform(0, 2 * np.pi).cdf).pvalue > 1e-3
    assert stats.kstest(scales, stats.uniform(0.8, 0.45).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(angles, scales)[0, 1]) < 0.15


def test_noise_is_normal_and_clipped(monkeypatch):
    still = np.zeros((2000, 3), np.float32)
    noise = np.asarray(points_rotate_jitter(jax.random.key(0), still)).ravel()
    assert stats.kstest(noise, stats.norm(0, 0.01).cdf).pvalue > 1e-3
    # Five standard deviations are rare, so the noise is made stronger.
    monkeypatch.setattr(points_module, "_NOISE", 0.05)
    noise = np.asarray(points_rotate_jitter(jax.random.key(0), still)).ravel()
    assert abs(noise).max() == np.float32(0.05)
    assert 0.29 < (abs(noise) == np.float32(0.05)).mean() < 0.35


def test_takes_256_different_points():
    # The height survives all but scale and noise: whole numbers far apart.
    points = np.zeros((400, 3), np.float32)
    points[:, 1] = 1000 + 10 * np.arange(400)
    points[0, 1] = -1e6
    points = np.concatenate([points, points])[200:600]
    number = 2000
    views = views_of(points_256, points, number)
    assert views.shape == (number, 256, 3)
    taken = 0
    for view in views:
        heights = np.sort(view[:, 1])
        # Two points apart by more than the noise are two points.
        assert (np.diff(heights) > 1).all()
        low = heights[heights > 0]
        if len(low) < 256:
            taken += 1
    assert stats.binomtest(taken, number, 256 / 400).pvalue > 1e-3


def test_all_points_are_taken_alike():
    """All points of a set are equal but one: how often is it there?"""
    number, size = 2000, 400
    for place in (0, 150, 399):
        points = np.zeros((size, 3), np.float32)
        points[place, 1] = 1
        views = views_of(points_256, points, number, seed=place)
        present = (views[:, :, 1] > 0.5).sum(axis=1)
        assert set(present) == {0, 1}
        assert stats.binomtest(int(present.sum()), number, 256 / size).pvalue > 1e-3


def test_exactly_256_points_are_all_taken():
    points = np.zeros((256, 3), np.float32)
    points[:, 1] = np.arange(256)
    view = views_of(points_256, points, 1)[0, :, 1]
    steps = np.diff(np.sort(view))
    assert (steps > 0.6).all() and (steps < 1.4).all()


@pytest.mark.parametrize("augment", [points_256, points_rotate_jitter])
def test_views_of_a_batch_are_those_of_its_examples(augment):
    assert augment in AUGMENTATIONS.values()
    clouds = jnp.asarray(RNG.uniform(-1, 1, (3, 300, 3)).astype(np.float32))
    keys = jax.random.split(jax.random.key(0), 3)
    batched = jax.jit(jax.vmap(augment))
    views = batched(keys, clouds)
    # A view depends on its own key and example, and on nothing else.
    np.testing.assert_array_equal(batched(keys[::-1], clouds[::-1])[::-1], views)
    assert (batched(keys[::-1], clouds) != views)[0].any()


def test_errors():
    key = jax.random.key(0)
    with pytest.raises(UserError, match=r"points_256 .* at least 256 points, got 255"):
        points_256(key, jnp.zeros((255, 3)))
    with pytest.raises(UserError, match="points of 3 coordinates, got 2"):
        points_rotate_jitter(key, jnp.zeros((300, 2)))
    with pytest.raises(UserError, match=r"\[points, 3\], got shape \(512,\)"):
        points_256(key, jnp.zeros(512))


def test_the_second_coordinate_of_psb_is_up(shared_data):
    dataset = psb.load(shared_data, "points")
    names = [path[-1] for path in dataset.hierarchy.paths]
    extent = np.ptp(dataset.features, axis=1)
    for name, rank in (("human", 2), ("dining_chair", 2), ("commercial", 0)):
        # People and chairs are higher than wide, airliners are flat.
        of_class = extent[dataset.units == names.index(name)]
        assert (np.argsort(of_class, axis=1)[:, rank] == 1).mean() > 0.8, name
