import numpy as np
import pytest

from hierjax import plotting
from hierjax.errors import UserError


def test_the_cloud_fills_the_figure(render):
    points = np.random.default_rng(0).normal(size=(200, 3)) + 7
    figure = plotting.point_cloud(points)
    (axes,) = figure.axes
    drawn = np.asarray(axes.collections[0].get_offsets())
    assert len(drawn) == 200
    assert 0.8 < np.abs(drawn).max() / axes.get_xlim()[1] < 1
    render(figure)


def test_what_is_up_is_drawn_above():
    axes = plotting.point_cloud([[0, 1, 0], [0, -1, 0]]).axes[0]
    offsets = np.asarray(axes.collections[0].get_offsets())
    shade = np.asarray(axes.collections[0].get_array())
    # Seen from above: the upper end is the nearer one.
    assert offsets[shade.argmax(), 1] > 0 > offsets[shade.argmin(), 1]


def test_one_point_stands_in_the_middle():
    axes = plotting.point_cloud(np.full((1, 3), 5.0)).axes[0]
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[0, 0]], atol=1e-9)


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.zeros((4, 2)), [[np.nan] * 3]])
def test_other_shapes_and_values_are_refused(points):
    with pytest.raises(UserError, match="points"):
        plotting.point_cloud(points)
