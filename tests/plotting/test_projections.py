import numpy as np
import pytest
from matplotlib.colors import to_rgb

from hierjax import plotting
from hierjax.errors import UserError
from hierjax.plotting.colors import RULE, category_colors

LEVELS = {
    "category": np.array([0, 1, 1, 0, 2, 2]),
    "class": np.array([3, 3, 4, 5, 9, 3]),
}
METHODS = {
    "HMCE": np.arange(12.0).reshape(6, 2),
    "G-HMLC": np.random.default_rng(0).normal(size=(6, 2)),
}


def shown(axes) -> dict[tuple, tuple]:
    """Colour of every point, by its place."""
    result = {}
    for collection in axes.collections:
        points = collection.get_offsets()
        colors = np.broadcast_to(collection.get_facecolor(), (len(points), 4))
        for point, color in zip(points, colors, strict=True):
            result[tuple(point)] = tuple(color[:3].round(6))
    return result


def test_a_row_a_level_and_a_column_a_method(render, texts_apart):
    footers = {name: f"silhouette of {name}\nrank 3.1" for name in METHODS}
    figure = plotting.tsne_grid(METHODS, LEVELS, footers=footers, title="test split")
    panels = np.array(figure.axes).reshape(2, 2)
    assert [axes.get_title() for axes in panels[0]] == list(METHODS)
    assert [axes.get_title() for axes in panels[1]] == ["", ""]
    assert [axes.get_ylabel() for axes in panels[:, 0]] == list(LEVELS)
    assert [axes.get_xlabel() for axes in panels[1]] == list(footers.values())
    assert [axes.get_xlabel() for axes in panels[0]] == ["", ""]
    assert figure.get_suptitle() == "test split"
    for column, points in zip(panels.T, METHODS.values(), strict=True):
        for axes in column:
            assert set(shown(axes)) == set(map(tuple, points))
            assert axes.get_xlim()[0] < points[:, 0].min()
            assert axes.get_ylim()[1] > points[:, 1].max()
            # One unit is as long on both axes.
            box = axes.get_window_extent()
            x, y = np.diff(axes.get_xlim())[0], np.diff(axes.get_ylim())[0]
            assert box.width / x == pytest.approx(box.height / y)
            assert not len(axes.get_xticks()) and not len(axes.get_yticks())
    texts_apart(figure)
    render(figure)


def test_equal_labels_have_equal_colours_in_every_column():
    panels = np.array(plotting.tsne_grid(METHODS, LEVELS).axes).reshape(2, 2)
    for row, ids in zip(panels, LEVELS.values(), strict=True):
        by_label = [{}, {}]
        for axes, colors, points in zip(row, by_label, METHODS.values(), strict=True):
            found = shown(axes)
            for point, label in zip(points, ids.tolist(), strict=True):
                colors.setdefault(label, set()).add(found[tuple(point)])
        assert by_label[0] == by_label[1]
        assert all(len(colors) == 1 for colors in by_label[0].values())
        assert len(set.union(*by_label[0].values())) == len(np.unique(ids))


def test_legends_name_the_present_labels_in_their_colours():
    names = [f"digit {k}" for k in range(10)]
    figure = plotting.tsne_grid(METHODS, LEVELS, label_names={"class": names})
    panels = np.array(figure.axes).reshape(2, 2)
    assert all(axes.get_legend() is None for axes in panels[:, 0])
    first, second = (axes.get_legend() for axes in panels[:, 1])
    assert [text.get_text() for text in first.get_texts()] == ["0", "1", "2"]
    marks = {
        line.get_label(): line.get_markerfacecolor() for line in second.get_lines()
    }
    assert list(marks) == ["digit 3", "digit 4", "digit 5", "digit 9"]
    colors = shown(panels[1, 0])
    for point, label in zip(METHODS["HMCE"], LEVELS["class"], strict=True):
        color = colors[tuple(point)]
        assert to_rgb(marks[names[label]]) == pytest.approx(color, abs=1e-5)


def test_unknown_labels_are_grey_and_counted():
    ids = np.array([0, -1, 1, -1, -1, 0])
    axes = plotting.tsne_grid({"HMCE": METHODS["HMCE"]}, {"class": ids}).axes[0]
    grey = tuple(np.round(RULE, 6))
    colors = shown(axes)
    for point, label in zip(METHODS["HMCE"], ids, strict=True):
        assert (colors[tuple(point)] == grey) == (label == -1)
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["0", "1", "unknown (3)"]


def test_up_to_twenty_labels_differ_in_colour_or_shape(texts_apart):
    ids = np.arange(20)
    points = np.random.default_rng(0).normal(size=(20, 2))
    figure = plotting.tsne_grid({"HMCE": points}, {"coarse": ids})
    signs = set()
    for collection in figure.axes[0].collections:
        shape = len(collection.get_paths()[0].vertices)
        signs |= {(shape, *color.round(6)) for color in collection.get_facecolor()}
    assert len(signs) == 20
    marks = figure.axes[0].get_legend().get_lines()
    assert len({(m.get_marker(), to_rgb(m.get_markerfacecolor())) for m in marks}) == 20
    texts_apart(figure)


def test_more_labels_have_no_legend_but_different_colours():
    ids = np.arange(100)
    points = np.random.default_rng(0).normal(size=(100, 2))
    axes = plotting.tsne_grid({"HMCE": points}, {"fine": ids}).axes[0]
    assert axes.get_legend().get_title().get_text() == "100 labels"
    assert not axes.get_legend().get_texts()
    assert len(set(shown(axes).values())) == 100


def test_long_texts_find_room(texts_apart):
    footers = dict.fromkeys(METHODS, "a footer that is much wider than its panel, " * 2)
    names = {"class": [f"household electrical device number {k}" for k in range(10)]}
    figure = plotting.tsne_grid(METHODS, LEVELS, label_names=names, footers=footers)
    texts_apart(figure)


@pytest.mark.parametrize("points", [np.zeros((1, 2)), np.ones((4, 2))])
def test_points_in_one_place(render, points):
    render(plotting.tsne_grid({"a": points}, {"l": np.zeros(len(points), int)}))
    render(plotting.tsne_grid({"a": points}, {"l": np.full(len(points), -1)}))


# Machado, Oliveira & Fernandes 2009, severity 1.0, on linear sRGB.
COLOUR_BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def nearest_pair(colors: np.ndarray, sight: np.ndarray) -> float:
    """Smallest Oklab distance of two colours [N, 3]."""
    linear = np.where(
        colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4
    )
    linear = np.clip(linear @ np.asarray(sight).T, 0, 1)
    cones = linear @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    lab = np.cbrt(cones) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return distances[np.triu_indices(len(lab), 1)].min()


@pytest.mark.parametrize("kind", COLOUR_BLINDNESS)
def test_ten_labels_and_grey_are_told_apart_by_everyone(kind):
    colors = np.vstack([category_colors(10), [RULE]])
    # Matplotlib's own ten come down to 0.007 here.
    assert nearest_pair(colors, COLOUR_BLINDNESS[kind]) > 0.1


@pytest.mark.parametrize(
    ("coordinates", "labels", "options", "message"),
    [
        ({}, LEVELS, {}, "no method"),
        (METHODS, {}, {}, "no level"),
        ({"a": np.ones((6, 3))}, LEVELS, {}, r"'a' have shape \(6, 3\)"),
        ({"a": np.ones((0, 2))}, LEVELS, {}, "not empty"),
        ({"a": np.ones((6, 2)), "b": np.ones((5, 2))}, LEVELS, {}, "'b' have 5 rows"),
        ({"a": np.array([[0, 0], [np.nan, 1]])}, LEVELS, {}, "row 1 is not"),
        ({"a": np.ones((5, 2))}, LEVELS, {}, "'category' must be 5 integers"),
        (METHODS, {"class": np.zeros(6)}, {}, "float64"),
        (METHODS, LEVELS, {"label_names": {"class": ["a", "b"]}}, r"-1..1, found 3..9"),
        (METHODS, {"class": np.full(6, -2)}, {}, "found -2..-2"),
        (METHODS, LEVELS, {"label_names": {"fine": ["a"]}}, "level 'fine'"),
        (METHODS, LEVELS, {"footers": {"HMC": "x"}}, "method 'HMC'"),
    ],
)
def test_errors(coordinates, labels, options, message):
    with pytest.raises(UserError, match=message):
        plotting.tsne_grid(coordinates, labels, **options)
