import numpy as np

from hierjax.data.sets.unit_points import unit_points


def test_every_cloud_has_its_mean_at_0_and_its_farthest_point_at_1():
    clouds = np.random.default_rng(0).normal([3, -2, 8], [1, 5, 2], (4, 20, 3))
    found = unit_points(clouds)
    assert found.dtype == np.float32
    for cloud, given in zip(found, clouds, strict=True):
        np.testing.assert_allclose(cloud.mean(axis=0), 0, atol=1e-6)
        assert abs(max(np.linalg.norm(point) for point in cloud) - 1) < 1e-6
        # Its shape stays: all distances shrink by one factor.
        before = np.linalg.norm(given[1:] - given[0], axis=1)
        after = np.linalg.norm(cloud[1:] - cloud[0], axis=1)
        np.testing.assert_allclose(after / before, after[0] / before[0], rtol=1e-4)


def test_points_that_coincide_become_0():
    assert not unit_points(np.full((1, 5, 3), 7)).any()
