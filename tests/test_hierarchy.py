import csv
import dataclasses
import doctest
import time
import warnings

import jax
import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierjax import hierarchy
from hierjax.errors import DataNotice, UserError
from hierjax.hierarchy import Hierarchy

ANIMALS = [
    ("animal", "bird", "owl"),
    ("animal", "bird", "tit"),
    ("animal", "mammal", "cat"),
    ("plant", "moss"),
    ("plant", "tree", "oak"),
    ("rock",),
]

few_examples = settings(max_examples=60, deadline=None)


def is_above(a, b):
    return len(a) < len(b) and b[: len(a)] == a


@st.composite
def trees(draw, internal=False, names="ab910"):
    """Ragged trees with few names, so that names repeat under many parents."""
    name = st.sampled_from(["a", "b", "9", "10"]) if names == "ab910" else names
    path = st.lists(name, min_size=1, max_size=4).map(tuple)
    paths = draw(st.lists(path, min_size=1, max_size=14, unique=True))
    if not internal:
        paths = [p for p in paths if not any(is_above(p, q) for q in paths)]
    return paths


def build(paths, **kwargs):
    return Hierarchy.from_paths(paths, allow_internal_classes=True, **kwargs)


def way_up(path):
    return [path[:end] for end in range(len(path), -1, -1)]


def walked_hops(a, b):
    """Walks up from both classes to the first node they share."""
    return min(
        i + j
        for i, node in enumerate(way_up(a))
        for j, other in enumerate(way_up(b))
        if node == other
    )


def walked_height(a, b, paths):
    if a == b:
        return 0
    ancestor = next(node for node in way_up(a) if node in way_up(b))
    below = [p for p in paths if p == ancestor or is_above(ancestor, p)]
    return max(len(p) - len(ancestor) for p in below)


def matrix(function, paths):
    return np.array([[function(a, b) for b in paths] for a in paths])


def same_shape(one, other):
    """Equal up to class order and the names and ids of inner nodes."""
    order = [other.class_names.index(name) for name in one.class_names]
    assert sorted(one.class_names) == sorted(other.class_names)
    np.testing.assert_array_equal(
        one.path_length(), other.path_length()[np.ix_(order, order)]
    )
    np.testing.assert_array_equal(
        one.lca_height(), other.lca_height()[np.ix_(order, order)]
    )
    np.testing.assert_array_equal(one.depths, other.depths[order])


# ------------------------------------------------------------------ reading the tree


def test_small_ragged_tree_by_hand():
    tree = Hierarchy.from_paths(ANIMALS)
    assert (tree.num_classes, tree.num_levels) == (6, 3)
    assert tree.class_names == ("owl", "tit", "cat", "moss", "oak", "rock")
    assert tree.level_names == ("level_0", "level_1", "level_2")
    assert tree.nodes_per_level == (3, 5, 6)
    np.testing.assert_array_equal(tree.depths, [3, 3, 3, 2, 3, 1])
    # Real nodes sorted by name, then repeated shallower classes.
    np.testing.assert_array_equal(
        tree.ancestors,
        [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [1, 3, 4], [2, 4, 5]],
    )
    assert tree.node_names(0) == ("animal", "plant", "rock")
    assert tree.node_names(1) == ("bird", "mammal", "moss", "tree", "rock")
    assert tree.node_names(2) == tree.node_names(-1) == tree.class_names
    assert repr(tree) == "Hierarchy(6 classes, 3 levels, nodes per level 3/5/6)"
    np.testing.assert_array_equal(
        tree.path_length(),
        [
            [0, 2, 4, 5, 6, 4],
            [2, 0, 4, 5, 6, 4],
            [4, 4, 0, 5, 6, 4],
            [5, 5, 5, 0, 3, 3],
            [6, 6, 6, 3, 0, 4],
            [4, 4, 4, 3, 4, 0],
        ],
    )
    np.testing.assert_array_equal(
        tree.lca_height(),
        [
            [0, 1, 2, 3, 3, 3],
            [1, 0, 2, 3, 3, 3],
            [2, 2, 0, 3, 3, 3],
            [3, 3, 3, 0, 2, 3],
            [3, 3, 3, 2, 0, 3],
            [3, 3, 3, 3, 3, 0],
        ],
    )


def test_the_two_distances_order_pairs_differently_on_a_ragged_tree():
    tree = Hierarchy.from_paths(ANIMALS)
    moss, oak, cat, rock, owl = 3, 4, 2, 5, 0
    hops, height = tree.path_length(), tree.lca_height()
    assert hops[moss, rock] < hops[cat, owl]
    assert height[moss, rock] > height[cat, owl]
    assert hops[moss, oak] % 2 == 1


def test_types_and_immutability():
    tree = Hierarchy.from_paths(ANIMALS)
    labels = tree.labels_of([0])
    for array in (
        tree.ancestors,
        tree.depths,
        tree.path_length(),
        tree.lca_height(),
        labels,
        tree.encode(ANIMALS),
    ):
        assert array.dtype == np.int32
    for array in (tree.ancestors, tree.depths, tree.coarsen([0]).ancestors):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7
    labels[0] = 7  # results are the caller's own
    np.testing.assert_array_equal(tree.labels_of([0]), [[0, 0, 0]])
    with pytest.raises(dataclasses.FrozenInstanceError):
        tree.paths = ()


def test_equality_is_of_paths_and_class_order():
    tree = Hierarchy.from_paths(ANIMALS)
    same = Hierarchy.from_paths([list(p) for p in ANIMALS], level_names="abc")
    assert tree == same and hash(tree) == hash(same)
    assert tree != Hierarchy.from_paths(ANIMALS[::-1])
    assert tree != Hierarchy.from_paths(ANIMALS[:-1])
    assert tree != "tree"


@few_examples
@given(trees(internal=True))
def test_distances_match_walking_the_tree(paths):
    tree = build(paths)
    np.testing.assert_array_equal(tree.path_length(), matrix(walked_hops, paths))
    heights = matrix(lambda a, b: walked_height(a, b, paths), paths)
    np.testing.assert_array_equal(tree.lca_height(), heights)


@few_examples
@given(trees(internal=True))
def test_distances_are_metrics(paths):
    tree = build(paths)
    hops, height = tree.path_length(), tree.lca_height()
    for distance in (hops, height):
        np.testing.assert_array_equal(distance, distance.T)
        np.testing.assert_array_equal(distance == 0, np.eye(len(paths), dtype=bool))
    assert (hops[:, None] <= hops[:, :, None] + hops).all()
    assert (height[:, None] <= np.maximum(height[:, :, None], height)).all()


@few_examples
@given(trees())
def test_hops_are_twice_the_height_on_a_balanced_tree(paths):
    depth = max(map(len, paths))
    tree = Hierarchy.from_paths(p + ("leaf",) * (depth - len(p)) for p in paths)
    np.testing.assert_array_equal(tree.path_length(), 2 * tree.lca_height())


@few_examples
@given(trees(internal=True))
def test_ancestors_are_path_prefixes(paths):
    tree = build(paths)
    for level, size in enumerate(tree.nodes_per_level):
        nodes = tree.ancestors[:, level]
        assert set(nodes) == set(range(size))
        for a, path in enumerate(paths):
            for b, other in enumerate(paths):
                together = path[: level + 1] == other[: level + 1]
                assert (nodes[a] == nodes[b]) == together
        names = tree.node_names(level)
        assert len(names) == len(set(names)) == size
        for node, path in zip(nodes, paths, strict=True):
            assert names[node].split("/")[-1] == path[: level + 1][-1]
    np.testing.assert_array_equal(tree.ancestors[:, -1], np.arange(len(paths)))
    np.testing.assert_array_equal(tree.depths, list(map(len, paths)))


@few_examples
@given(trees(internal=True), st.randoms())
def test_permuting_the_classes_permutes_the_tree(paths, random):
    order = list(range(len(paths)))
    random.shuffle(order)
    tree, permuted = build(paths), build([paths[c] for c in order])
    np.testing.assert_array_equal(
        permuted.ancestors[:, :-1], tree.ancestors[order, :-1]
    )
    np.testing.assert_array_equal(
        permuted.path_length(), tree.path_length()[np.ix_(order, order)]
    )
    assert tree.subset(order) == permuted


def test_numbers_of_any_length_are_sorted_by_value():
    names = ["1" + "0" * 4999, "9" * 4999, "007", "7", "x", "٣"]
    tree = Hierarchy.from_paths([(name, "leaf") for name in names])
    order = ("٣", "007", "7", "9" * 4999, "1" + "0" * 4999, "x")
    assert tree.node_names(0) == order


def test_nodes_are_sorted_by_number_name_or_parent():
    numbers = Hierarchy.from_paths([("10", "z"), ("9", "y"), ("a", "x")])
    assert numbers.node_names(0) == ("9", "10", "a")
    repeated = Hierarchy.from_paths(
        [("b", "x", 1), ("b", "w", 1), ("a", "x", 1), ("a", "y", 1)]
    )
    assert repeated.node_names(1) == ("a/x", "y", "w", "b/x")
    np.testing.assert_array_equal(repeated.ancestors[:, 1], [3, 2, 0, 1])
    assert repeated.class_names == ("b/x/1", "b/w/1", "a/x/1", "a/y/1")


def test_given_names():
    tree = Hierarchy.from_paths(
        [(0, 5), (1, 5)], class_names=["cat", "owl"], level_names=["kind", "animal"]
    )
    assert tree.class_names == tree.node_names(1) == ("cat", "owl")
    assert tree.level_names == ("kind", "animal")
    assert tree.paths == (("0", "5"), ("1", "5"))


def test_thousand_classes_are_fast():
    start = time.perf_counter()
    tree = Hierarchy.from_paths((i % 7, i % 77, i) for i in range(1000))
    tree.path_length(), tree.lca_height()
    assert time.perf_counter() - start < 2


# ------------------------------------------------------------------------- bad trees


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "at least one class, found none"),
        ([("a", "b"), ()], "path 1 is empty"),
        ([("a", "b"), ("a", "")], "path 1 has '' at position 1"),
        ([("a", " ")], "path 0 has ' ' at position 1"),
        ([("a", None)], "path 0 has None"),
        ([("a", 1.5)], "path 0 has 1.5"),
        ([(True, "a")], "path 0 has True"),
        ([(3, -1)], "path 0 has -1"),
        (["cat"], "path 0 is 'cat'; it must be a sequence"),
        ([5], "path 0 is 5"),
        ([("a", "b"), ("c",), ("a", "b")], "classes 0 and 2 have the same path 'a/b'"),
        ([("a", "b", "c"), ("a", "b")], "class 'a/b' is also the ancestor of 'c'"),
    ],
)
def test_bad_paths(paths, message):
    with pytest.raises(UserError, match=message) as error:
        Hierarchy.from_paths(paths)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"level_names": ["kind"]}, "found 1 level names where 2 distinct"),
        ({"level_names": ["kind", ""]}, "level names has '' at position 1"),
        ({"level_names": ["kind", "kind"]}, "level name 'kind' occurs 2 times"),
        ({"class_names": ["x"]}, "found 1 class names where 2 distinct"),
        ({"class_names": ["x", "x"]}, "class name 'x' occurs 2 times"),
    ],
)
def test_bad_names(names, message):
    with pytest.raises(UserError, match=message):
        Hierarchy.from_paths([("a", "b"), ("a", "c")], **names)


def test_internal_class():
    paths = [("a", "b"), ("a", "b", "c"), ("a", "d")]
    tree = build(paths)
    np.testing.assert_array_equal(tree.path_length()[0], [0, 1, 2])
    np.testing.assert_array_equal(tree.lca_height()[0], [0, 1, 2])
    np.testing.assert_array_equal(tree.ancestors, [[0, 0, 0], [0, 0, 1], [0, 1, 2]])
    np.testing.assert_array_equal(tree.encode(paths), tree.ancestors)
    np.testing.assert_array_equal(tree.encode([("a",)]), [[0, -1, -1]])


# --------------------------------------------------------------------- labels, encode


def test_labels_of():
    tree = Hierarchy.from_paths(ANIMALS)
    np.testing.assert_array_equal(
        tree.labels_of(np.array([4, -1, 0])), [[1, 3, 4], [-1] * 3, [0, 0, 0]]
    )
    assert tree.labels_of([]).shape == (0, 3)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([0, 6], r"class id 6 at position 1 is not in the range -1\.\.5"),
        ([-2], "class id -2 at position 0"),
        ([0.5], "float64"),
        ([[0]], r"shape \(1, 1\)"),
    ],
)
def test_bad_class_ids(ids, message):
    with pytest.raises(UserError, match=message):
        Hierarchy.from_paths(ANIMALS).labels_of(ids)


@few_examples
@given(trees(internal=True), st.data())
def test_encode_reads_paths_of_any_length(paths, data):
    tree = build(paths)
    ids = data.draw(st.lists(st.integers(0, len(paths) - 1), max_size=20))
    np.testing.assert_array_equal(
        tree.encode([paths[c] for c in ids]), tree.labels_of(ids)
    )
    for path, ancestors in zip(paths, tree.ancestors, strict=True):
        for end in range(len(path)):
            prefix = path[:end]
            expected = np.full(tree.num_levels, -1)
            expected[:end] = ancestors[:end]
            if prefix in paths:
                expected = tree.ancestors[paths.index(prefix)]
            padded = (*prefix, None, "", -1)
            for row in (prefix, padded):
                np.testing.assert_array_equal(tree.encode([row]), [expected])


def test_encode_takes_arrays():
    tree = Hierarchy.from_paths([(0, 10), (0, 2), (1, 3)])
    expected = [[0, 1], [1, -1], [-1, -1]]
    rows = [[0, 2], [1, -1], [-1, -1]]
    for labels in (
        rows,
        np.array(rows),
        np.array(rows, np.int8),
        np.array(rows).astype(str),
        np.array([[0, "2"], ["1", None], ["", None]], object),
        jax.numpy.array(rows),
    ):
        np.testing.assert_array_equal(tree.encode(labels), expected)
    assert tree.encode([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("animal", "fish"), "row 1 has the label 'fish' at level 1, but 'animal' has"),
        (("fungus",), "row 1 has the label 'fungus' at level 0, but the root has"),
        (("rock", "rock"), "'rock' at level 1, but 'rock' has no such node"),
        (("animal", "", "owl"), "row 1 has the label 'owl' at level 2 below the unk"),
        ((None, "bird"), "row 1 has the label 'bird' at level 1 below the unknown"),
        (("animal", -3), "row 1 has -3 at position 1"),
        ((np.inf,), "row 1 has inf"),
        ((1.5,), "row 1 has 1.5"),
        ((b"\xff",), "row 1 has b"),
        (("animal", "NA", "owl"), "'owl' at level 2 below the unknown 'NA' at level 1"),
        ("animal", "row 1 is 'animal'"),
        ((["animal"],), r"row 1 is \(\['animal'\],\)"),
    ],
)
def test_bad_rows(row, message):
    with pytest.raises(UserError, match=message):
        Hierarchy.from_paths(ANIMALS).encode([ANIMALS[0], row])


def test_encode_is_fast():
    paths = [(str(i % 20), f"class {i}") for i in range(400)]
    tree = Hierarchy.from_paths(paths)
    ids = np.random.default_rng(0).integers(0, 400, 50_000)
    rows = np.array(paths)[ids]
    start = time.perf_counter()
    labels = tree.encode(rows)
    assert time.perf_counter() - start < 2
    np.testing.assert_array_equal(labels, tree.labels_of(ids))


# ---------------------------------------------------------------------- level labels


def test_level_labels_with_unknowns():
    labels = [
        [1, 0, 2],
        [1, 0, -1],  # unknown: node 0 below 1 has children
        [0, 1, -1],  # a class: node 1 below 0 never has any
        [1, 0, 0],
        [0, 2, 1],
        [0, -1, -1],
        [-1, -1, -1],
    ]
    tree = Hierarchy.from_level_labels(labels, level_names=["a", "b", "c"])
    assert tree.paths == (("1", "0", "0"), ("0", "2", "1"), ("1", "0", "2"), ("0", "1"))
    assert tree.level_names == ("a", "b", "c")
    expected = np.array(labels)
    expected[2] = [0, 1, 3]
    np.testing.assert_array_equal(tree.encode(labels), expected)
    for row in labels:
        row[:] = [value if value >= 0 else None for value in row]
    assert Hierarchy.from_level_labels(labels) == tree


def test_words_for_missing_values_are_unknown_unless_wanted():
    rows = [["a", "x"], ["a", "NA"], ["b", "nan"], ["b", "y"], ["NA", "nan"]]
    with pytest.warns(
        DataNotice, match=r"4 labels are words .*: NA \(2\), nan \(2\); mi"
    ):
        tree = Hierarchy.from_level_labels(rows)
    assert tree.paths == (("a", "x"), ("b", "y"))
    with pytest.warns(DataNotice, match="4 labels are words"):
        labels = tree.encode(rows)
    np.testing.assert_array_equal(labels, [[0, 0], [0, -1], [1, -1], [1, 1], [-1, -1]])
    names = Hierarchy.from_level_labels(rows, missing_as_names=True)
    assert names.num_classes == 5
    assert (names.encode(rows) >= 0).all()
    # A word is one only as a whole and as it is usually written.
    kept = Hierarchy.from_level_labels([["Na"], ["none"], ["nanny"], ["N A"]])
    assert kept.num_classes == 4


@pytest.mark.parametrize("dtype", ["object", "string"])
def test_tables_of_pandas(dtype):
    table = pandas.DataFrame(
        {"k": ["a", "a", "b", "b"], "s": pandas.array(["x", None, "y ", None], dtype)}
    )
    tree = Hierarchy.from_level_labels(table)
    assert tree.paths == (("a", "x"), ("b", "y"))
    np.testing.assert_array_equal(tree.encode(table)[:, 1], [0, -1, 1, -1])
    numbers = pandas.DataFrame({"k": [1, 1, 2], "s": [3, np.nan, 40]})
    assert Hierarchy.from_level_labels(numbers).paths == (("1", "3"), ("2", "40"))


def test_level_labels_with_a_value_under_two_parents():
    tree = Hierarchy.from_level_labels([["b", "x"], ["a", "x"], ["b", "w"]])
    assert tree.paths == (("a", "x"), ("b", "w"), ("b", "x"))
    assert tree.class_names == ("a/x", "w", "b/x")


@few_examples
@given(trees(internal=True), st.randoms(), st.booleans())
def test_contiguous_ids_are_reproduced(paths, random, hide):
    """Any valid label array is what encode makes of it."""
    depth = max(map(len, paths))
    tree = build([p + (f"leaf {i}",) * (depth - len(p)) for i, p in enumerate(paths)])
    labels = tree.ancestors.copy()
    for level, size in enumerate(tree.nodes_per_level):  # ids in any order
        ids = list(range(size))
        random.shuffle(ids)
        labels[:, level] = np.array(ids)[labels[:, level]]
    if hide:
        extra = labels.copy()
        for row in extra:
            row[random.randint(0, depth) :] = -1
        labels = np.concatenate([extra, labels])
    read = Hierarchy.from_level_labels(labels)
    np.testing.assert_array_equal(read.encode(labels), labels)
    np.testing.assert_array_equal(
        read.labels_of(labels[:, -1]), np.where(labels[:, -1:] < 0, -1, labels)
    )


@few_examples
@given(trees())
def test_ragged_level_labels(paths):
    depth = max(map(len, paths))
    labels = np.array([p + ("",) * (depth - len(p)) for p in paths])
    tree = Hierarchy.from_level_labels(labels)
    assert sorted(tree.paths) == sorted(paths)
    ids = [tree.paths.index(path) for path in paths]
    np.testing.assert_array_equal(tree.encode(labels), tree.labels_of(ids))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [[0, 1], [-1, 1]],
            "row 1 has the label 1 at level 1 below the unknown level 0",
        ),
        ([[0, -1], [1, -1]], "level 1 is unknown in all 2"),
        ([[-1, -1]], "level 0 is unknown"),
        ([], "level 0 is unknown"),
        ([[0, 1], [0, -7]], "row 1 has -7 at position 1"),
        (np.array([[0.0, 1.5]]), "row 0 has 1.5"),
        (np.array([0, 1]), "row 0 is 0"),
    ],
)
def test_bad_level_labels(labels, message):
    with pytest.raises(UserError, match=message):
        Hierarchy.from_level_labels(labels)


# ----------------------------------------------------------------------------- edges


def test_edges_with_one_and_with_several_roots():
    edges = [("b", "y"), ("a", "b"), ("a", "c"), ("b", "x"), ("a", "c")]
    one = Hierarchy.from_edges(edges)
    assert one.paths == (("b", "y"), ("c",), ("b", "x"))
    several = Hierarchy.from_edges([*edges, ("d", 7)])
    assert several.paths == (("a", "b", "y"), ("a", "c"), ("a", "b", "x"), ("d", "7"))
    chosen = Hierarchy.from_edges(edges, classes=["x", "c"], level_names=["k", "l"])
    assert chosen.paths == (("b", "x"), ("c",))
    assert chosen.level_names == ("k", "l")
    internal = Hierarchy.from_edges(
        edges, classes=["x", "b"], allow_internal_classes=True
    )
    assert internal.paths == (("b", "x"), ("b",))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([("a", "b"), ("b", "b")], "edge 1 makes the node 'b' its own parent"),
        (
            [("a", "b"), ("c", "b")],
            "1 of 1 nodes have .* parents .'b' under 'a' and 'c'",
        ),
        ([("a", "b"), ("b", "")], "edge 1 has '' at position 1"),
        ([("a", "b", "c")], "edge 0 has 3 names"),
        ([("a", "b"), ("c", "d"), ("d", "c")], "cycle: 'd' -> 'c' -> 'd'"),
        ([("z", "x"), ("x", "z"), ("z", "leaf")], "cycle: 'x' -> 'z' -> 'x'"),
        ([], "at least one class"),
    ],
)
def test_bad_edges(edges, message):
    with pytest.raises(UserError, match=message):
        Hierarchy.from_edges(edges)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["x"], "the class 'x' is not a node below the root"),
        (["root"], "the class 'root' is not a node below the root"),
        (["a"], "the class 'a' is also the ancestor of other nodes"),
        (["b", "b"], "classes 0 and 1 have the same path"),
    ],
)
def test_bad_edge_classes(classes, message):
    with pytest.raises(UserError, match=message):
        Hierarchy.from_edges([("root", "a"), ("a", "b")], classes=classes)


# a - b - c - x with ways of 1, 2 and 3 nodes down to x, y below it.
SEVERAL = [("r", "a"), ("a", "x"), ("r", "x"), ("a", "b"), ("b", "c"), ("c", "x"),
           ("x", "y"), ("r", "z"), ("c", "z")]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "path", "other"),
    [
        ("first", ("a", "x", "y"), ("z",)),
        ("shallowest", ("x", "y"), ("z",)),
        ("deepest", ("a", "b", "c", "x", "y"), ("a", "b", "c", "z")),
    ],
)
def test_one_of_several_parents(rule, path, other):
    with pytest.warns(DataNotice, match="2 of 6 nodes have several parents") as caught:
        tree = Hierarchy.from_edges(SEVERAL, parents=rule)
    assert {path, other} <= set(tree.paths)
    assert "'x' under 'a' and 'r' and 'c'; 'z' under 'r' and 'c'" in str(
        caught[0].message
    )
    with pytest.raises(UserError, match="2 of 6 nodes have several .*parents='first'"):
        Hierarchy.from_edges(SEVERAL)
    with pytest.raises(UserError, match="parents must be one of error, first"):
        Hierarchy.from_edges(SEVERAL, parents="last")
    with pytest.raises(UserError, match="cycle: 'a' -> 'x' -> 'a'"):
        Hierarchy.from_edges([*SEVERAL, ("x", "a")], parents=rule)


@few_examples
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 9)), min_size=1))
def test_chosen_parents_make_the_shortest_and_longest_paths(steps):
    pairs = [(node, node + step) for node, step in steps]  # upwards: no cycle
    parents = {}
    for parent, child in pairs:
        parents.setdefault(child, []).append(parent)

    def lengths(node):
        above = parents.get(node)
        return {1 + n for p in above for n in lengths(p)} if above else {0}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataNotice)
        for rule, best in (("shallowest", min), ("deepest", max)):
            tree = Hierarchy.from_edges(pairs, parents=rule)
            several = len({p for p, _ in pairs} - parents.keys()) > 1
            for path in tree.paths:
                assert len(path) == best(lengths(int(path[-1]))) + several


@few_examples
@given(trees(internal=True))
def test_edges_round_trip(paths):
    tree = build(paths)
    edges = tree.to_edges()
    assert len({child for _, child in edges}) == len(edges)
    read = Hierarchy.from_edges(
        edges, classes=tree.class_names, allow_internal_classes=True
    )
    assert read.class_names == tree.class_names
    same_shape(tree, read)
    if not any(is_above(p, q) for p in paths for q in paths):
        assert Hierarchy.from_edges(edges) == read


def test_edges_keep_names_that_are_free():
    tree = Hierarchy.from_paths([("root", "gull", "gull"), ("root", "owl")])
    assert tree.to_edges() == [
        ("_root", "root"),
        ("root", "/root/gull"),
        ("/root/gull", "gull"),
        ("root", "owl"),
    ]


# ---------------------------------------------------------------------------- Newick


def test_newick_by_hand():
    tree = Hierarchy.from_newick(
        "((owl:1.5,'blue tit'[rare])bird:2e-1,('it''s; (a) [cat]')\n'ma,mmal',"
        " rock_1 )life:3;"
    )
    assert tree.paths == (
        ("bird", "owl"),
        ("bird", "blue tit"),
        ("ma,mmal", "it's; (a) [cat]"),
        ("rock_1",),
    )
    assert tree.to_newick() == (
        "((owl,'blue tit')bird,('it''s; (a) [cat]')'ma,mmal',rock_1);"
    )


def test_newick_names_unnamed_nodes():
    tree = Hierarchy.from_newick("(((a,b),c),(node_1,d))")
    assert tree.paths == (
        ("node_0", "node_2", "a"),
        ("node_0", "node_2", "b"),
        ("node_0", "c"),
        ("node_3", "node_1"),
        ("node_3", "d"),
    )
    assert Hierarchy.from_newick(tree.to_newick()) == tree


@pytest.mark.parametrize(
    "labels", [("100", "87"), ("0.98", "1"), ("97.5/100", "1e-3"), ("100", "100")]
)
def test_numbers_of_inner_nodes_are_support(labels):
    text = "((a,b){}:0.1,(c,(d,e){}))9;".format(*labels)
    with pytest.warns(
        DataNotice, match="2 labels of inner nodes are numbers .* quotes"
    ):
        tree = Hierarchy.from_newick(text)
    assert tree == Hierarchy.from_newick("((a,b),(c,(d,e)));").subset(range(5))
    with pytest.warns(DataNotice, match="are taken for support"):
        Hierarchy.from_newick("((1,2)100,(3,4)100);")


def test_numbers_of_inner_nodes_are_names_where_they_are_ids_or_in_quotes():
    ids = Hierarchy.from_newick("((9606,9598)9605,10090)1;")
    assert ids.paths == (("9605", "9606"), ("9605", "9598"), ("10090",))
    quoted = Hierarchy.from_newick("((a,b)'100',(c,d)'100x');")
    assert quoted.node_names(0) == ("100", "100x")
    mixed = Hierarchy.from_newick("((a,b)100,(c,d)mammals);")
    assert mixed.node_names(0) == ("100", "mammals")
    text = Hierarchy.from_paths([("5", "a"), ("6", "b")]).to_newick()
    assert text == "((a)'5',(b)'6');"


def test_newick_as_people_have_it():
    tree = Hierarchy.from_newick("\ufeff\n(Darwin's finch,O'Brien,'x''y');\n")
    assert tree.class_names == ("Darwin's finch", "O'Brien", "x'y")
    assert Hierarchy.from_newick(tree.to_newick()) == tree
    with pytest.warns(DataNotice, match="more than one tree .*; the first is read"):
        assert Hierarchy.from_newick("(a,b);\n(c,d);").class_names == ("a", "b")


def test_newick_internal_class():
    tree = build([("a",), ("a", "a"), ("a", "b"), ("c",)])
    text = tree.to_newick()
    assert text == "((a:0,a,b)a,c);"
    read = Hierarchy.from_newick(text, allow_internal_classes=True)
    assert sorted(read.paths) == sorted(tree.paths)
    with pytest.raises(UserError, match="'a' is also the ancestor of 'b'"):
        Hierarchy.from_newick(text)
    assert Hierarchy.from_newick("(a:0,b:0)a;").paths == (("a",), ("b",))


def test_newick_may_be_deep():
    depth = 3000  # far beyond Python's recursion limit
    tree = Hierarchy.from_newick("(" * depth + "a,b" + ")" * depth + ";")
    assert tree.num_levels == depth
    np.testing.assert_array_equal(tree.path_length(), [[0, 2], [2, 0]])
    assert Hierarchy.from_newick(tree.to_newick()) == tree


def test_nexus_without_ends_takes_no_time():
    start = time.process_time()
    tree = Hierarchy.from_newick(
        f"#NEXUS translate 1 owl,{'b' * 10**5}; tree t = (1,2);"
    )
    assert tree.class_names == ("owl", "2")
    with pytest.raises(UserError, match="has no 'tree NAME"):
        Hierarchy.from_newick(f"#NEXUS{' tree' * 10**5}")
    assert time.process_time() - start < 5


def test_a_tree_too_deep_is_refused_before_it_takes_time():
    start = time.process_time()
    for make in (
        lambda: Hierarchy.from_newick("(" * 10**6 + "a"),
        lambda: Hierarchy.from_edges((i, i + 1) for i in range(10**5)),
        lambda: Hierarchy.from_paths([map(str, range(10_001))]),
    ):
        with pytest.raises(
            UserError, match="levels; accepted are 10,000 levels and, c"
        ):
            make()
    comb = "(" * 9_000 + "a" + "".join(f",b{i})" for i in range(9_000)) + ";"
    with pytest.raises(UserError, match="9,001 classes on 9,000 levels; .*50,000,000"):
        Hierarchy.from_newick(comb)
    assert time.process_time() - start < 5


@few_examples
@given(
    st.one_of(
        trees(internal=True),
        trees(
            internal=True,
            names=st.text("a_9 ,()[]:;'\"\n", min_size=1, max_size=4)
            .map(str.strip)
            .filter(bool),
        ),
    )
)
def test_newick_round_trip(paths):
    tree = build(paths)
    read = Hierarchy.from_newick(tree.to_newick(), allow_internal_classes=True)
    assert sorted(read.paths) == sorted(paths)
    assert read.subset([read.paths.index(path) for path in paths]) == tree


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one class"),
        ("a;", "at least one class"),
        ("(a,);", "leaf without a name at character 3"),
        ("();", "leaf without a name at character 1"),
        ("((a,b);", "before all its brackets are closed"),
        ("(a,b));", r"has '\);' at character 5"),
        ("a,b;", "has ',b;' at character 1"),
        ("(a,b); c;", r"has 'c;' at character 7"),
        ("('a' 'b');", r"character 5"),
        ("(a,b(c));", "character 4"),
        ("(a,b:x);", "branch length 'x' at character 5"),
        ("(a,b:);", r"has '\);' at character 5"),
        ("(a,b):", "has the end at character 6"),
        ("(a,b[c);", "character 4"),
        ("(a,'b);", "character 3"),
        ("((a)x,(b)x);", "two nodes named 'x' below the root"),
        ("((a,a)x);", "two nodes named 'a' below x"),
    ],
)
def test_bad_newick(text, message):
    with pytest.raises(UserError, match=message):
        Hierarchy.from_newick(text)


# ------------------------------------------------------------------------------- CSV


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_variants(tmp_path):
    plain = write(tmp_path / "a.csv", 'Class,Path\nx,k/x\ny,"k, or l/y"\n')
    assert Hierarchy.from_csv(plain).paths == (("k", "x"), ("k, or l", "y"))
    numbered = write(tmp_path / "b.csv", "\ufeffPath,Number\nk/x,10\nk/y,9\n")
    assert Hierarchy.from_csv(numbered, level_names="ab").class_names == ("y", "x")
    slashes = write(
        tmp_path / "c.csv",
        "No|Path|Hierarchy|Number\n2|files|k, l//x/y|b\n1|files|z|a\n",
    )
    assert Hierarchy.from_csv(slashes).paths == (("k, l", "x/y"), ("z",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows below a header"),
        ("Class,Path\n", "no rows below a header"),
        (
            "Class,Number\nx,1\n",
            r"column 'Path' or 'Hierarchy', .* found \['Class', 'N",
        ),
        ("Path\nk/x\nk//y\n", "row 1 has an empty name inside the path 'k//y'"),
        ("Path\nk/x\nk;y\n", "row 0 separates names by '/' .* row 1 by ';'"),
        ('Path\n"k/x\n', "cannot be read as a CSV table"),
        ("Class,Path\nx\n", "the path '' has ''"),
        ("Path\nk/x\nk/x\n", "classes 0 and 1 have the same path 'k/x'"),
        ("Path\nk/x\nk\n", "allow_internal_classes"),
    ],
)
def test_bad_csv_names_the_file(tmp_path, text, message):
    with pytest.raises(UserError, match=f"tree.csv: .*{message}"):
        Hierarchy.from_csv(write(tmp_path / "tree.csv", text))


def test_unreadable_csv(tmp_path):
    with pytest.raises(UserError, match="absent.csv: no such file"):
        Hierarchy.from_csv(tmp_path / "absent.csv")
    (tmp_path / "bytes.csv").write_bytes(b"Path\n\xff\xfe")
    with pytest.raises(UserError, match="bytes.csv: is no text in UTF-8"):
        Hierarchy.from_csv(tmp_path / "bytes.csv")


# -------------------------------------------------------------------------- changing


def test_coarsen_by_hand():
    tree = Hierarchy.from_paths(ANIMALS, level_names=["kind", "group", "species"])
    coarse = tree.coarsen([0, 1])
    assert coarse.class_names == ("bird", "mammal", "moss", "tree", "rock")
    assert coarse.level_names == ("kind", "group")
    assert coarse.paths[3:] == (("plant", "tree"), ("rock",))
    outer = tree.coarsen([0, 2])
    assert outer.class_names == tree.class_names
    assert outer.paths[3:] == (("plant", "moss"), ("plant", "oak"), ("rock",))
    np.testing.assert_array_equal(outer.path_length()[3], [4, 4, 4, 0, 2, 3])


def test_coarsen_keeps_nodes_apart_that_share_a_name():
    tree = Hierarchy.from_paths([("a", "x", "z"), ("a", "y", "z"), ("b", "y", "z")])
    assert tree.coarsen([0, 2]).paths == (("a", "x/z"), ("a", "y/z"), ("b", "z"))


@few_examples
@given(trees(internal=True), st.data())
def test_coarsen_is_choosing_label_columns(paths, data):
    tree = build(paths)
    everything = list(range(tree.num_levels))
    assert tree.coarsen(everything) == tree
    levels = sorted(data.draw(st.sets(st.sampled_from(everything), min_size=1)))
    coarse = tree.coarsen(levels)
    labels = tree.ancestors[:, levels]
    assert coarse.num_classes == tree.nodes_per_level[levels[-1]]
    assert coarse.class_names == tree.node_names(levels[-1])
    np.testing.assert_array_equal(coarse.labels_of(labels[:, -1]), labels)
    np.testing.assert_array_equal(coarse.encode(coarse.paths), coarse.ancestors)
    # The distances are those of the coarse paths, and coarsening twice is once.
    hops = matrix(walked_hops, coarse.paths)
    np.testing.assert_array_equal(coarse.path_length(), hops)
    kept = sorted(data.draw(st.sets(st.integers(0, len(levels) - 1), min_size=1)))
    once, twice = tree.coarsen([levels[k] for k in kept]), coarse.coarsen(kept)
    np.testing.assert_array_equal(once.ancestors, twice.ancestors)
    np.testing.assert_array_equal(once.path_length(), twice.path_length())


@pytest.mark.parametrize("levels", [[], [1, 0], [0, 0], [3], [-1]])
def test_bad_levels(levels):
    with pytest.raises(UserError, match="strictly increasing numbers from 0 to 2"):
        Hierarchy.from_paths(ANIMALS).coarsen(levels)


@few_examples
@given(trees(internal=True), st.data())
def test_subset_keeps_paths_and_hops(paths, data):
    tree = build(paths)
    ids = data.draw(st.lists(st.integers(0, len(paths) - 1), min_size=1, unique=True))
    part = tree.subset(np.array(ids))
    assert part == build([paths[c] for c in ids])
    assert part.class_names == tuple(tree.class_names[c] for c in ids)
    assert part.level_names == tree.level_names[: part.num_levels]
    hops = tree.path_length()[np.ix_(ids, ids)]
    np.testing.assert_array_equal(part.path_length(), hops)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "at least one class"),
        ([1, 2, 1], "class id 1 is in the subset more than once"),
        ([-1], r"class id -1 at position 0 is not in the range 0\.\.5"),
    ],
)
def test_bad_subset(ids, message):
    with pytest.raises(UserError, match=message):
        Hierarchy.from_paths(ANIMALS).subset(ids)


@settings(max_examples=25, deadline=None)
@given(trees(internal=True), st.integers(0, 3))
def test_shuffled_keeps_the_shape(paths, seed):
    tree = build(paths)
    other = tree.shuffled(seed)
    assert other.class_names == tree.class_names
    assert other.nodes_per_level == tree.nodes_per_level
    assert sorted(other.depths) == sorted(tree.depths)
    # Some permutation of the classes explains the whole tree.
    places = jax.random.permutation(jax.random.key(seed), len(paths))
    for distance in (Hierarchy.path_length, Hierarchy.lca_height):
        np.testing.assert_array_equal(
            distance(other), distance(tree)[np.ix_(places, places)]
        )
    np.testing.assert_array_equal(other.path_length(), matrix(walked_hops, other.paths))
    np.testing.assert_array_equal(other.encode(other.paths), other.ancestors)
    np.testing.assert_array_equal(other.labels_of(range(len(paths))), other.ancestors)
    for path, old in zip(other.paths, paths, strict=True):
        assert path[-1].split("/")[-1] == old[-1]


def test_shuffled_is_random_and_repeatable():
    tree = Hierarchy.from_paths((i % 5, i) for i in range(25))
    one = tree.shuffled(0)
    assert one == tree.shuffled(jax.random.key(0)) == tree.shuffled(np.int64(0))
    assert one != tree.shuffled(1)
    assert one != tree
    assert one.class_names == tree.class_names
    assert one.node_names(0) == tree.node_names(0)


def test_sibling_overlap():
    tree = Hierarchy.from_paths(
        [("a", "1"), ("a", "2"), ("a", "3"), ("b", "4"), ("5",)]
    )
    other = Hierarchy.from_paths(
        [("x", "1"), ("x", "2"), ("y", "3"), ("y", "4"), ("y", "5")]
    )
    assert tree.sibling_overlap(tree) == 1
    assert tree.sibling_overlap(other) == pytest.approx(1 / 3)
    assert other.sibling_overlap(tree) == pytest.approx(1 / 4)
    alone = Hierarchy.from_paths([(i, "leaf") for i in range(5)])
    assert np.isnan(alone.sibling_overlap(tree))
    flat = Hierarchy.from_paths([(i,) for i in range(5)])
    assert flat.sibling_overlap(tree) == pytest.approx(3 / 10)
    with pytest.raises(UserError, match="hierarchies of 5 and 6 classes"):
        tree.sibling_overlap(Hierarchy.from_paths(ANIMALS))


# -------------------------------------------------------------------- published trees

TREES = {
    "CIFAR100_cls.csv": (100, (3, 7, 20, 100), {4: 100}, 6.828, (2, 8)),
    "nabirds_cls.csv": (555, (1, 22, 228, 495, 555), {4: 290, 5: 265}, 6.402, (2, 7)),
    "MicroS_cls.csv": (109, (8, 11, 45, 78, 108, 109), (3, 6), 8.088, (2, 11)),
    "MicroL_cls.csv": (102, (3, 10, 23, 53, 73, 99, 102, 102), (2, 8), 8.632, (1, 13)),
    "MesoZ_cls.csv": (52, (2, 13, 28, 42, 47, 52), (3, 6), 7.059, (2, 11)),
}
HISTOGRAMS = {
    "CIFAR100_cls.csv": {2: 200, 4: 650, 6: 1000, 8: 3100},
    "nabirds_cls.csv": {2: 169, 4: 7203, 6: 69513, 7: 76850},
}


def histogram(values):
    keys, counts = np.unique(values, return_counts=True)
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize("name", TREES)
def test_published_tree(shared_data, name):
    num_classes, nodes, depths, mean, extremes = TREES[name]
    file = shared_data / "taxonomies" / name
    tree = Hierarchy.from_csv(file, allow_internal_classes=name == "MicroL_cls.csv")
    assert tree.num_classes == num_classes
    assert tree.nodes_per_level == nodes
    found = histogram(tree.depths)
    assert depths in (found, (min(found), max(found)))
    pairs = tree.path_length()[np.triu_indices(num_classes, k=1)]
    assert pairs.mean() == pytest.approx(mean, abs=5e-4)
    assert (pairs.min(), pairs.max()) == extremes
    if name in HISTOGRAMS:
        assert histogram(pairs) == HISTOGRAMS[name]

    text = tree.to_newick()
    read = Hierarchy.from_newick(text, allow_internal_classes=True)
    assert sorted(read.paths) == sorted(tree.paths)
    edges = tree.to_edges()
    same_shape(
        tree,
        Hierarchy.from_edges(
            edges, classes=tree.class_names, allow_internal_classes=True
        ),
    )
    np.testing.assert_array_equal(tree.encode(tree.paths), tree.ancestors)
    assert tree.shuffled(0).sibling_overlap(tree) < 0.2


def test_classes_of_published_trees_are_in_numerical_order(shared_data):
    taxonomies = shared_data / "taxonomies"
    cifar = Hierarchy.from_csv(taxonomies / "CIFAR100_cls.csv")
    assert cifar.class_names == tuple(sorted(cifar.class_names))
    assert cifar.node_names(2) == tuple(sorted(cifar.node_names(2)))
    assert cifar.node_names(0) == ("Animals", "Artificial", "Nature_non-animal")
    assert histogram(cifar.ancestors[:, 0]) == {0: 50, 1: 30, 2: 20}
    with open(taxonomies / "nabirds_cls.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="|"))
    birds = Hierarchy.from_csv(taxonomies / "nabirds_cls.csv")
    assert [path[-1] for path in birds.paths] == [row["Class name"] for row in rows]
    assert birds.node_names(0) == ("Birds",)


def test_internal_class_of_a_published_tree(shared_data):
    file = shared_data / "taxonomies" / "MicroL_cls.csv"
    with pytest.raises(UserError, match=r"Tripos furca' is also the ancestor of 'Trip"):
        Hierarchy.from_csv(file)
    tree = Hierarchy.from_csv(file, allow_internal_classes=True)
    assert histogram(tree.path_length())[1] == 2
    assert tree.path_length()[41, 42] == 1


def test_parent_child_list_of_cifar(shared_data):
    file = shared_data / "taxonomies" / "Cifar-Hierarchy_cifar.parent-child.txt"
    lines = file.read_text().splitlines()
    parents = {child: parent for parent, child in map(str.split, lines)}
    tree = Hierarchy.from_edges(
        [(parent, child) for child, parent in parents.items()], classes=range(100)
    )
    assert tree.num_classes == 100
    assert len(tree.to_edges()) == 162
    assert (tree.depths.min(), tree.depths.max()) == (2, 8)
    for path in tree.paths:
        for parent, child in zip(path[:-1], path[1:], strict=True):
            assert parents[child] == parent
        assert parents[path[0]] not in parents


def test_parent_child_list_of_nabirds_is_the_same_tree(shared_data):
    taxonomies = shared_data / "taxonomies"
    lines = (taxonomies / "NAB-Hierarchy_hierarchy.txt").read_text().splitlines()
    tree = Hierarchy.from_edges([line.split()[::-1] for line in lines])
    birds = Hierarchy.from_csv(taxonomies / "nabirds_cls.csv")
    with open(taxonomies / "nabirds_cls.csv", encoding="utf-8", newline="") as file:
        numbers = [
            str(int(row["Class number"])) for row in csv.DictReader(file, delimiter="|")
        ]
    order = [tree.class_names.index(number) for number in numbers]
    assert sorted(order) == list(range(555))
    assert len(tree.to_edges()) == 1010
    # The list's only root, Birds, is the virtual root here.
    np.testing.assert_array_equal(tree.depths[order], birds.depths - 1)
    np.testing.assert_array_equal(
        tree.path_length()[np.ix_(order, order)], birds.path_length()
    )


@few_examples
@given(trees(internal=True), st.integers(0, 5))
def test_decode_is_the_inverse_of_encode(paths, hidden):
    tree = build(paths)
    rows = [path[: max(len(path) - hidden, 0)] for path in paths]
    labels = tree.encode(rows)
    decoded = tree.decode(labels)
    np.testing.assert_array_equal(tree.encode(decoded), labels)
    assert tree.decode(tree.encode(paths)) == list(paths)
    assert all(path == row for path, row in zip(decoded, rows, strict=True))


def test_decode_refuses_other_numbers():
    tree = Hierarchy.from_paths(ANIMALS)
    with pytest.raises(UserError, match="node ids up to 4294967296; .* fewer nodes"):
        tree.decode([[2**32, 0, 0]])


def test_decode_names_a_shallow_class_once():
    tree = build([("a", "b", "c"), ("d",)])
    assert tree.decode([[1, 1, 1], [1, 1, -1], [0, 0, -1], [-1, -1, -1]]) == [
        ("d",),
        ("d",),
        ("a", "b"),
        (),
    ]


def test_a_million_leaves():
    # A tenth of them, in a tenth of the time that a million may take.
    paths = [(f"k{i % 7}", f"g{i % 5000}", f"s{i}") for i in range(100_000)]
    start = time.process_time()
    tree = Hierarchy.from_paths(paths)
    assert tree.nodes_per_level == (7, 35_000, 100_000)
    assert time.process_time() - start < 3
    assert Hierarchy.from_edges(tree.to_edges()).num_classes == 100_000
    assert time.process_time() - start < 6


def test_examples_of_the_docstrings():
    failed, tried = doctest.testmod(hierarchy)
    assert not failed and tried > 30


@pytest.mark.parametrize("name", ["all", "average", "means", "a/features"])
def test_levels_are_not_called_as_parts_of_measures(name):
    with pytest.raises(UserError, match="one that measures have of their own"):
        Hierarchy.from_paths([("a", "x"), ("b", "y")], level_names=("top", name))
