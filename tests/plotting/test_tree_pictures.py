import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from hierjax import metrics, plotting
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy

PLACES = [
    ("indoor", "home", "kitchen"),
    ("indoor", "home", "bedroom"),
    ("indoor", "work", "office"),
    ("outdoor", "nature", "park"),
    ("outdoor", "nature", "forest"),
    ("outdoor", "road", "street"),
    ("vehicle", "rail", "tram"),
    ("vehicle", "rail", "train"),
    ("vehicle", "rail", "metro"),
]
TREE = Hierarchy.from_paths(PLACES)


def legend_texts(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def oklch(rgb) -> tuple[float, float, float]:
    """Lightness, chroma, hue of one colour by the forward transform."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    to_cones = [
        (0.4122214708, 0.5363325363, 0.0514459929),
        (0.2119034982, 0.6806995451, 0.1073969566),
        (0.0883024619, 0.2817188376, 0.6299787005),
    ]
    to_lab = [
        (0.2104542553, 0.7936177850, -0.0040720468),
        (1.9779984951, -2.4285922050, 0.4505937099),
        (0.0259040371, 0.7827717662, -0.8086757660),
    ]
    roots = [
        np.cbrt(sum(w * c for w, c in zip(row, linear, strict=True)))
        for row in to_cones
    ]
    lightness, a, b = (
        sum(w * c for w, c in zip(row, roots, strict=True)) for row in to_lab
    )
    return lightness, np.hypot(a, b), np.arctan2(b, a) % (2 * np.pi)


# colours


@pytest.mark.parametrize("level", [1, 2])
def test_siblings_share_a_hue_and_differ_in_lightness(level):
    colors = [oklch(c) for c in plotting.tree_colors(TREE, level)]
    families = [oklch(c)[2] for c in plotting.tree_colors(TREE, 0)]
    lightness = {}
    seen = set()
    for path in TREE.ancestors:
        if path[level] in seen:
            continue
        seen.add(path[level])
        light, chroma, hue = colors[path[level]]
        assert chroma > 0.05
        assert hue == pytest.approx(families[path[0]], abs=0.02)
        lightness.setdefault(path[0], []).append(light)
    for values in lightness.values():
        steps = np.diff(sorted(values))
        assert (steps > 0.05).all()
    gaps = np.diff(sorted(families))
    np.testing.assert_allclose(gaps, 2 * np.pi / 3, atol=0.03)


def test_a_single_root_does_not_take_the_hue():
    rooted = Hierarchy.from_paths([("all", *path) for path in PLACES])
    np.testing.assert_allclose(
        plotting.tree_colors(rooted, 1), plotting.tree_colors(TREE, 0)
    )
    np.testing.assert_allclose(
        plotting.tree_colors(rooted, 3), plotting.tree_colors(TREE, 2)
    )
    assert plotting.tree_colors(rooted, 0).shape == (1, 3)


def test_colors_are_distinct_and_in_range_for_many_nodes():
    flat = Hierarchy.from_paths([(f"class {k}",) for k in range(40)])
    colors = plotting.tree_colors(flat, 0)
    assert colors.min() >= 0
    assert colors.max() <= 1
    assert len(np.unique(colors.round(3), axis=0)) == 40


# embeddings


def test_embedding_map_projects_on_the_components_of_largest_variance():
    embeddings = np.zeros((4, 3))
    embeddings[:2, 1] = [3, -3]
    embeddings[2:, 2] = [1, -1]
    figure = plotting.embedding_map(embeddings, TREE.labels_of([0, 3, 6, 1]), TREE)
    assert len(figure.axes) == 3
    axes = figure.axes[0]
    assert axes.get_xlabel() == "component 0 (90% of variance)"
    assert axes.get_ylabel() == "component 1 (10% of variance)"
    points = np.abs(np.vstack([c.get_offsets() for c in axes.collections]))
    expected = [[0, 1], [0, 1], [3, 0], [3, 0]]
    np.testing.assert_allclose(sorted(points.tolist()), expected, atol=1e-9)


def test_embedding_map_colours_by_node_and_greys_the_unknown(render):
    labels = TREE.labels_of([0, 3, 8, -1])
    labels[1, 2] = -1
    rng = np.random.default_rng(0)
    figure = plotting.embedding_map(rng.normal(size=(4, 2)), labels, TREE, title="map")
    assert figure.get_suptitle() == "map"
    for level, num_unknown in ((0, 1), (1, 1), (2, 2)):
        grey, known = figure.axes[level].collections
        assert len(grey.get_offsets()) == num_unknown
        red, green, blue = grey.get_facecolor()[0, :3]
        assert red == green == blue
        shown = {tuple(c[:3].round(6)) for c in known.get_facecolor()}
        palette = plotting.tree_colors(TREE, level).round(6)
        nodes = labels[labels[:, level] >= 0, level]
        assert shown == {tuple(palette[node]) for node in nodes}
    assert legend_texts(figure.axes[0]) == [
        *(name for name in TREE.node_names(0)),
        "unknown (1)",
    ]
    assert legend_texts(figure.axes[2])[-1] == "unknown (2)"
    render(figure)


def test_embedding_map_legend_colours_belong_to_the_names():
    figure = plotting.embedding_map(np.eye(9), TREE.labels_of(np.arange(9)), TREE)
    palette = plotting.tree_colors(TREE, 1)
    for line in figure.axes[1].get_legend().get_lines():
        node = TREE.node_names(1).index(line.get_label())
        np.testing.assert_allclose(to_rgb(line.get_markerfacecolor()), palette[node])


def test_embedding_map_without_legend_above_twenty_nodes():
    paths = [(f"group {k % 3}", f"class {k}") for k in range(24)]
    tree = Hierarchy.from_paths(paths)
    labels = tree.labels_of(np.arange(24))
    figure = plotting.embedding_map(np.eye(24), labels, tree)
    assert len(legend_texts(figure.axes[0])) == 3
    assert legend_texts(figure.axes[1]) == []
    assert "24 nodes" in figure.axes[1].get_legend().get_title().get_text()


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 5), (6, 1), (2, 3)])
def test_embedding_map_of_tiny_inputs(shape, render):
    embeddings = np.ones(shape)
    labels = TREE.labels_of(np.arange(shape[0]))
    render(plotting.embedding_map(embeddings, labels, TREE))


def test_embedding_map_of_a_tree_with_one_class(render):
    tree = Hierarchy.from_paths([("only",)])
    render(plotting.embedding_map(np.ones((3, 4)), np.zeros((3, 1), int), tree))
    render(plotting.embedding_map(np.ones((3, 4)), np.full((3, 1), -1), tree))


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (np.ones(3), np.zeros((3, 3), int), r"shape \(3,\)"),
        (np.ones((0, 2)), np.zeros((0, 3), int), "not empty"),
        (np.ones((3, 2)), np.zeros((3, 2), int), r"expected \(3, 3\)"),
        (np.array([[0.0], [np.nan]]), np.zeros((2, 3), int), "row 1"),
        (np.ones((2, 2)), np.array([[0, 0, 0], [3, 0, 0]]), "label 3 in row 1"),
    ],
)
def test_embedding_map_errors(embeddings, labels, message):
    with pytest.raises(UserError, match=message):
        plotting.embedding_map(embeddings, labels, TREE)


# dendrograms


def score(figure: Figure) -> tuple[int, int]:
    words = figure.get_suptitle().split(": ")[1].split()
    return int(words[0]), int(words[2])


def row_names(axes, alignment: str) -> list[str]:
    texts = [text for text in axes.texts if text.get_ha() == alignment]
    return [t.get_text() for t in sorted(texts, key=lambda t: t.get_position()[1])]


def clades_by_loops(points: np.ndarray) -> set[frozenset[int]]:
    """Every cluster that average linkage makes, by definition."""
    clusters = [frozenset([k]) for k in range(len(points))]
    made = set()
    while len(clusters) > 1:
        best = None
        for i in range(len(clusters)):
            for j in range(i):
                mean = np.mean(
                    [
                        np.sqrt(((points[a] - points[b]) ** 2).sum())
                        for a in clusters[i]
                        for b in clusters[j]
                    ]
                )
                if best is None or mean < best[0]:
                    best = mean, i, j
        _, i, j = best
        union = clusters[i] | clusters[j]
        clusters = [c for k, c in enumerate(clusters) if k not in (i, j)] + [union]
        made.add(union)
    return made


def test_recovered_clades_of_a_hand_made_example():
    # On a line: (kitchen bedroom) office | park tram train | forest street | metro
    line = dict(
        kitchen=0, bedroom=1, office=3, park=20, tram=21, train=21.5,
        forest=40, street=41, metro=60,
    )  # fmt: skip
    means = np.array([[line[name], 0.0] for name in TREE.class_names])
    figure = plotting.dendrograms(means, TREE, distance="euclidean")
    # True clades: 3 families, home and nature (rail repeats its family). Found:
    # indoor and home.
    assert score(figure) == (2, 5)
    learned, links, true = figure.axes
    marks = learned.collections[-1].get_offsets()
    assert sorted(marks[:, 0]) == pytest.approx([1.0, 2.5])
    missed, recovered = (c.get_offsets() for c in true.collections[-2:])
    assert (len(missed), len(recovered)) == (3, 2)
    assert row_names(links, "right") == [
        TREE.class_names[k] for k in np.lexsort(TREE.ancestors.T[::-1])
    ]
    assert sorted(row_names(links, "left")) == sorted(TREE.class_names)


@pytest.mark.parametrize("seed", range(4))
def test_recovered_clades_equal_a_loop_over_all_clades(seed):
    rng = np.random.default_rng(seed)
    levels = [rng.normal(size=(n, 3)) for n in TREE.nodes_per_level]
    means = sum(values[TREE.ancestors[:, k]] for k, values in enumerate(levels))
    true = set()
    for column in TREE.ancestors.T:
        for node in column:
            clade = frozenset(np.flatnonzero(column == node).tolist())
            if len(clade) > 1:
                true.add(clade)
    found = true & clades_by_loops(means)
    figure = plotting.dendrograms(means, TREE, distance="euclidean")
    assert score(figure) == (len(found), len(true))


def test_perfect_means_recover_every_clade_with_straight_links(render):
    means = np.concatenate(
        [np.eye(n)[TREE.ancestors[:, k]] for k, n in enumerate(TREE.nodes_per_level)],
        axis=1,
    )
    figure = plotting.dendrograms(means, TREE)
    assert score(figure) == (5, 5)
    # A single root adds no clade: every tree has the set of all leaves.
    rooted = Hierarchy.from_paths([("all", *path) for path in PLACES])
    assert score(plotting.dendrograms(means, rooted)) == (5, 5)
    links = figure.axes[1]
    assert row_names(links, "left") == row_names(links, "right")
    for segment in links.collections[0].get_segments():
        assert np.ptp(segment[:, 1]) == 0
    render(figure)


def test_absent_classes_are_left_out_and_counted():
    means = np.random.default_rng(0).normal(size=(9, 4))
    means[[1, 4]] = np.nan
    figure = plotting.dendrograms(means, TREE)
    assert figure.get_suptitle().startswith("7 classes, 2 absent: ")
    assert len(row_names(figure.axes[1], "left")) == 7
    assert TREE.class_names[1] not in row_names(figure.axes[1], "right")
    # The clades are those of the classes that are left: home and nature are gone.
    assert score(figure)[1] == 3
    heat = plotting.class_distances(means, TREE)
    assert heat.axes[0].get_title() == "7 classes, 2 absent"
    assert heat.axes[0].images[0].get_array().shape == (7, 7)


@pytest.mark.parametrize("num_present", [1, 2, 3])
@pytest.mark.parametrize("distance", ["cosine", "sqeuclidean"])
def test_figures_of_few_classes(num_present, distance, render):
    means = np.full((9, 2), np.nan)
    means[:num_present] = 0.0
    render(plotting.dendrograms(means, TREE, distance=distance))
    render(plotting.class_distances(means, TREE, distance=distance))


def test_figures_of_a_tree_with_one_class(render):
    tree = Hierarchy.from_paths([("only",)])
    figure = plotting.dendrograms(np.ones((1, 3)), tree)
    assert figure.get_suptitle() == "1 class: 0 of 0 true clades recovered"
    render(figure)
    render(plotting.class_distances(np.ones((1, 3)), tree))


def test_crowded_trees_are_drawn_at_a_coarser_level():
    means = np.arange(18.0).reshape(9, 2) ** 2
    figure = plotting.dendrograms(means, TREE, max_classes=5, distance="euclidean")
    level = TREE.level_names[1]
    assert figure.get_suptitle().startswith(
        f"9 classes, averaged to 5 nodes of {level}"
    )
    assert set(row_names(figure.axes[1], "left")) == set(TREE.node_names(1))
    home, nature = (
        np.mean(means[TREE.ancestors[:, 1] == TREE.node_names(1).index(name)], axis=0)
        for name in ("home", "work")
    )
    heights = np.concatenate(
        [s[:, 0] for s in figure.axes[0].collections[0].get_segments()]
    )
    assert np.abs(heights - np.linalg.norm(home - nature)).min() < 1e-6


# distances


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "sqeuclidean"])
def test_class_distances_are_in_tree_order(distance):
    means = np.random.default_rng(1).normal(size=(9, 4))
    means[2] = 0.0
    axes, bar = plotting.class_distances(means, TREE, distance=distance).axes
    values = axes.images[0].get_array()
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == 9
    for i, first in enumerate(names):
        for j, second in enumerate(names):
            a = means[TREE.class_names.index(first)]
            b = means[TREE.class_names.index(second)]
            squared = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
            norms = np.sqrt(sum(a * a) * sum(b * b))
            expected = {
                "cosine": 1 - sum(a * b) / norms if norms else 1.0,
                "euclidean": np.sqrt(squared),
                "sqeuclidean": squared,
            }[distance]
            assert values[i, j] == pytest.approx(0 if i == j else expected, abs=1e-9)
    assert "distance" in bar.get_ylabel()


def test_class_distances_draws_the_borders_of_families_and_of_their_children():
    axes = plotting.class_distances(np.eye(9), TREE).axes[0]
    order = TREE.ancestors[np.lexsort(TREE.ancestors.T[::-1])]
    for level, lines in zip((0, 1), axes.collections[::2], strict=True):
        borders = [
            k - 0.5 for k in range(1, 9) if order[k, level] != order[k - 1, level]
        ]
        assert [segment[0, 1] for segment in lines.get_segments()] == borders


def test_class_distances_names_families_above_forty_classes():
    paths = [(f"group {k // 20}", f"class {k}") for k in range(60)]
    tree = Hierarchy.from_paths(paths)
    axes = plotting.class_distances(np.eye(60), tree).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == list(tree.node_names(0))
    np.testing.assert_allclose(axes.get_yticks(), [9.5, 29.5, 49.5])


def test_a_subtree_is_drawn_alone(render):
    means = np.random.default_rng(0).normal(size=(9, 4))
    node = TREE.ancestors[4, 0]
    below = np.flatnonzero(TREE.ancestors[:, 0] == node)
    assert 1 < len(below) < 9
    means[below[0]] = np.nan
    figure = plotting.dendrograms(means, TREE, within=(0, node))
    names = {TREE.class_names[k] for k in below[1:]}
    assert set(row_names(figure.axes[1], "left")) == names
    title = f"{TREE.node_names(0)[node]}, {len(names)} classes, 1 absent"
    assert figure.get_suptitle().startswith(title)
    heat = plotting.class_distances(means, TREE, within=(0, node)).axes[0]
    assert {label.get_text() for label in heat.get_yticklabels()} == names
    assert heat.get_title() == title
    render(figure)


def test_crowded_distances_are_those_of_a_coarser_level():
    means = np.random.default_rng(0).normal(size=(9, 4))
    axes = plotting.class_distances(means, TREE, max_classes=5).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert set(names) == set(TREE.node_names(1)) and len(names) == 5


@pytest.mark.parametrize("draw", [plotting.dendrograms, plotting.class_distances])
@pytest.mark.parametrize(
    ("means", "options", "message"),
    [
        (np.ones((8, 2)), {}, r"expected \[9, D\]"),
        (np.ones(9), {}, r"shape \(9,\)"),
        (np.full((9, 2), np.nan), {}, "all 9 classes are absent"),
        (np.ones((9, 2)), {"distance": "manhattan"}, "'manhattan'"),
    ],
)
def test_class_figures_errors(draw, means, options, message):
    with pytest.raises(UserError, match=message):
        draw(means, TREE, **options)


@pytest.mark.parametrize("dim", [3, 5])
def test_embedding_space_has_a_panel_a_level(render, dim):
    embeddings = np.random.default_rng(0).normal(size=(40, dim))
    labels = TREE.labels_of(np.arange(40) % TREE.num_classes)
    figure = plotting.embedding_space(embeddings, labels, TREE, title="test")
    assert [axes.get_title() for axes in figure.axes] == list(TREE.level_names)
    for axes in figure.axes:
        drawn = np.array(axes.collections[-1]._offsets3d).T
        wanted = embeddings
        if dim > 3:
            wanted = metrics.principal_coordinates(embeddings, 3)[0]
        np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(wanted, axis=0))
        assert ("%" in axes.get_zlabel()) is (dim > 3)
    render(figure)


def test_embedding_space_needs_three_dimensions():
    labels = TREE.labels_of(np.arange(4) % TREE.num_classes)
    with pytest.raises(UserError, match="2 dimensions"):
        plotting.embedding_space(np.zeros((4, 2)), labels, TREE)
