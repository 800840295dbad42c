import numpy as np
import pytest

from hierjax import plotting
from hierjax.errors import UserError

#                  0    1    2    3    4    5
MASKS = np.array([[0.1, 0.9, 0.5, 0.6, 0.2, 0.0], [0.9, 0.1, 0.5, 0.4, 0.8, 1.0]])


def columns(axes) -> dict[str, list[str]]:
    """The texts on the right, by the head of their column."""
    by_x = {}
    for text in sorted(axes.texts, key=lambda text: text.xy[1]):
        by_x.setdefault(text.xy[0], []).append(text.get_text())
    return {head: cells for head, *cells in by_x.values()}


def test_dimensions_stand_by_level_and_value(render, texts_apart):
    figure = plotting.mask_heatmap(MASKS, ["category", "class"], title="mean mask")
    axes, bar = figure.axes
    shown = axes.images[0].get_array()
    np.testing.assert_array_equal(shown, MASKS[:, [1, 3, 5, 0, 4, 2]])
    assert axes.images[0].get_clim() == (0, 1)
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "category",
        "class",
    ]
    assert "6 dimensions" in axes.get_xlabel()
    assert axes.get_xlabel().endswith("1 at the end belong to none")
    borders = [segment[0, 0] for segment in axes.collections[0].get_segments()]
    assert borders == [2, 5]
    assert columns(axes) == {
        "dims": ["2", "3"],
        "share": ["33%", "50%"],
        "mean": ["0.38", "0.62"],
    }
    assert figure.get_suptitle() == "mean mask"
    texts_apart(figure)
    render(figure)


def test_binary_masks_make_blocks(texts_apart):
    owners = np.array([2, 0, 1, 2, 2, 0, 2, 2])
    masks = (owners[None, :] == np.arange(4)[:, None]).astype(float)
    figure = plotting.mask_heatmap(masks, ["a", "b", "c", "a level without dimensions"])
    axes = figure.axes[0]
    expected = np.sort(owners)[None, :] == np.arange(4)[:, None]
    np.testing.assert_array_equal(axes.images[0].get_array(), expected)
    assert columns(axes)["dims"] == ["2", "1", "5", "0"]
    borders = [segment[0, 0] for segment in axes.collections[0].get_segments()]
    assert borders == [2, 3]
    assert "none" not in axes.get_xlabel()
    texts_apart(figure)


@pytest.mark.parametrize("num_levels", [1, 3])
def test_equal_masks_belong_to_nobody_unless_alone(num_levels, render):
    figure = plotting.mask_heatmap(np.ones((num_levels, 8)), ["l"] * num_levels)
    own = "8" if num_levels == 1 else "0"
    assert columns(figure.axes[0])["dims"] == [own] * num_levels
    assert ("8 at the end" in figure.axes[0].get_xlabel()) == (num_levels > 1)
    render(figure)


def test_a_few_large_scores_do_not_darken_the_others():
    scores = np.full((2, 100), 2.0)
    scores[0, 0] = 90.0
    figure = plotting.mask_heatmap(scores, ["category", "class"])
    assert figure.axes[0].images[0].get_clim() == (0, 2)
    assert figure.axes[0].images[0].colorbar.extend == "max"
    plain = plotting.mask_heatmap(np.eye(2), ["category", "class"])
    assert plain.axes[0].images[0].colorbar.extend == "neither"


@pytest.mark.parametrize(
    ("masks", "names", "message"),
    [
        (np.ones(3), ["a"], r"shape \(3,\)"),
        (np.ones((2, 0)), ["a", "b"], "not empty"),
        (np.ones((2, 3)), ["a"], "2 levels, but there are 1 names"),
        (np.array([[1, -0.5]]), ["a"], "-0.5 at level 0, dimension 1"),
        (np.array([[np.nan, 1]]), ["a"], "nan at level 0, dimension 0"),
        (np.array([[np.inf, 1]]), ["a"], "inf at level 0"),
    ],
)
def test_errors(masks, names, message):
    with pytest.raises(UserError, match=message):
        plotting.mask_heatmap(masks, names)
