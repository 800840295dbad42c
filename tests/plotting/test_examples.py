import numpy as np
import pytest

from hierjax import plotting
from hierjax.errors import UserError

GREY = np.random.default_rng(0).uniform(size=(7, 6, 5))
CAPTIONS = [f"category {k}\nclass {9 - k}" for k in range(7)]


def test_every_image_has_its_caption(render, texts_apart):
    figure = plotting.example_grid(GREY, CAPTIONS, title="test")
    assert [axes.get_xlabel() for axes in figure.axes] == CAPTIONS
    for axes, image in zip(figure.axes, GREY, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), image)
    assert figure.get_suptitle() == "test"
    texts_apart(figure)
    render(figure)


@pytest.mark.parametrize(
    ("number", "columns", "expected"),
    [(1, None, 1), (7, None, 3), (7, 4, 4), (2, 5, 2), (70, None, 8)],
)
def test_rows_and_columns(number, columns, expected):
    images = np.zeros((number, 2, 2))
    figure = plotting.example_grid(images, ["x"] * number, columns=columns)
    figure.draw_without_rendering()
    places = [axes.get_position() for axes in figure.axes]
    assert len(places) == number
    assert len({round(place.x0, 3) for place in places}) == expected
    assert len({round(place.y0, 3) for place in places}) == -(-number // expected)
    # Row by row, downwards.
    order = [(-round(place.y0, 3), round(place.x0, 3)) for place in places]
    assert order == sorted(order)


def test_all_kinds_of_images_show_the_same_scale():
    values = np.array([[0, 51], [204, 102]], np.uint8)
    axes = plotting.example_grid(values[None], ["x"]).axes[0]
    image = axes.images[0]
    np.testing.assert_allclose(image.get_array(), values / 255)
    assert image.get_clim() == (0, 1)
    channel = plotting.example_grid(values[None, :, :, None], ["x"]).axes[0].images[0]
    np.testing.assert_array_equal(channel.get_array(), image.get_array())
    color = np.stack([values, values // 2, values // 4], axis=-1)[None]
    shown = plotting.example_grid(color, ["x"]).axes[0].images[0]
    np.testing.assert_allclose(shown.get_array(), color[0] / 255)


def test_long_captions_find_room(texts_apart):
    texts_apart(plotting.example_grid(GREY, ["a caption wider than the image"] * 7))


@pytest.mark.parametrize(
    ("images", "titles", "options", "message"),
    [
        (np.zeros((2, 3)), ["a", "b"], {}, r"shape \(2, 3\)"),
        (np.zeros((2, 3, 3, 4)), ["a", "b"], {}, r"shape \(2, 3, 3, 4\)"),
        (np.zeros((0, 3, 3)), [], {}, "empty"),
        (np.zeros((2, 3, 3)), ["a"], {}, "2 images, but 1 titles"),
        (np.zeros((1, 3, 3), np.int32), ["a"], {}, "int32"),
        (np.full((1, 3, 3), 1.5), ["a"], {}, "found 1.5 to 1.5"),
        (np.full((1, 3, 3), np.nan), ["a"], {}, "found nan"),
        (np.zeros((1, 3, 3)), ["a"], {"columns": 0}, "columns must be at least 1"),
    ],
)
def test_errors(images, titles, options, message):
    with pytest.raises(UserError, match=message):
        plotting.example_grid(images, titles, **options)
