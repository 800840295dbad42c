import importlib.util
import itertools
import math
import sys
import time

import jax
import numpy as np
import pytest
from scipy.cluster.hierarchy import cophenet
from scipy.spatial.distance import squareform

from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.metrics.class_trees import (
    InferredTree,
    clade_recovery,
    cophenetic_correlation,
    hierarchy_clades,
    infer_tree,
    robinson_foulds,
)
from hierjax.metrics.structure import representative_distances


def skip_without_scikit_bio():
    """Does not import it: that alone turns on 64 bits in JAX."""
    if importlib.util.find_spec("skbio") is None:
        pytest.skip("no scikit-bio")


BALANCED = Hierarchy.from_paths(
    map(tuple, ["apx", "apy", "aqx", "aqy", "aqz", "brx", "bsx", "bsy", "bsz", "btx"])
)
RAGGED = Hierarchy.from_paths(
    map(tuple, ["ap", "aqx", "aqy", "b", "crsu", "crsv", "crt", "cw", "dz"])
)


def random_distances(size, seed=0, dim=4):
    rows = np.random.default_rng(seed).normal(size=(size, dim))
    return representative_distances(rows)


def tied_distances(size, seed=0):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.integers(1, 4, size=(size, size)), 1)
    return (upper + upper.T).astype(float)


def loop_clusters(distances, method):
    """Merges by the definition, without ties: clades, and the merge heights."""
    clusters = [(i,) for i in range(len(distances))]
    between = {
        frozenset(pair): distances[pair[0][0]][pair[1][0]]
        for pair in itertools.combinations(clusters, 2)
    }
    heights = {}
    while len(clusters) > 1:
        nearest = min(between, key=between.get)
        a, b = nearest
        merged = tuple(sorted(a + b))
        heights[frozenset(merged)] = between[nearest]
        clusters = [c for c in clusters if c not in nearest]
        for c in clusters:
            if method == "upgma":
                value = np.mean([distances[i][j] for i in merged for j in c])
            else:
                value = (between[frozenset([a, c])] + between[frozenset([b, c])]) / 2
            between[frozenset([merged, c])] = value
        clusters.append(merged)
        between = {k: v for k, v in between.items() if k <= set(clusters)}
    return heights


def loop_published(distances):
    """The rule word by word: the last minimum of the lower triangle, rows deleted."""
    rows = [list(map(float, row)) for row in distances]
    clusters = [frozenset([i]) for i in range(len(rows))]
    heights = {}
    while len(rows) > 1:
        least, best = math.inf, None
        for i in range(1, len(rows)):
            for j in range(i):
                if rows[i][j] <= least:
                    least, best = rows[i][j], (i, j)
        i, j = best
        clusters[j] = clusters[i] | clusters[j]
        heights[clusters[j]] = least
        for k in range(len(rows)):
            if k != j:
                rows[j][k] = rows[k][j] = (rows[i][k] + rows[j][k]) / 2
        del rows[i], clusters[i]
        for row in rows:
            del row[i]
    return heights


def loop_paths(tree):
    """Path lengths by walking up from both leaves."""

    def way_up(node):
        while node != -1:
            yield node
            node = tree.parents[node]

    size = len(tree.classes)
    result = np.zeros((size, size))
    for a, b in itertools.product(range(size), repeat=2):
        apart = set(way_up(a)) ^ set(way_up(b))
        result[a, b] = sum(tree.lengths[node] for node in apart)
    return result


def loop_splits(clades, size):
    """Unordered pairs of sides with two or more classes each."""
    everything = frozenset(range(size))
    return {
        frozenset([clade, everything - clade])
        for clade in clades
        if 2 <= len(clade) <= size - 2
    }


@pytest.mark.parametrize("method", ["upgma", "wpgma"])
@pytest.mark.parametrize("seed", range(3))
def test_clustering_equals_the_loops(method, seed):
    distances = random_distances(12, seed)
    tree = infer_tree(distances, method=method)
    heights = loop_clusters(distances, method)
    assert tree.clades == set(heights)
    actual = tree.path_length()
    for i, j in itertools.combinations(range(12), 2):
        smallest = min((c for c in heights if {i, j} <= c), key=len)
        assert actual[i, j] == pytest.approx(heights[smallest], abs=1e-12)
    np.testing.assert_allclose(actual, squareform(cophenet(tree.linkage)), atol=1e-12)
    np.testing.assert_allclose(actual, loop_paths(tree), atol=1e-12)


def test_upgma_and_wpgma_differ():
    distances = random_distances(12)
    upgma, wpgma = (infer_tree(distances, method=m) for m in ("upgma", "wpgma"))
    assert robinson_foulds(upgma, wpgma)[0] > 0


@pytest.mark.parametrize("make", [random_distances, tied_distances])
@pytest.mark.parametrize("seed", range(4))
def test_published_tree_equals_the_rule(make, seed):
    distances = make(14, seed)
    tree = infer_tree(distances, official=True)
    heights = loop_published(distances)
    assert tree.clades == set(heights)
    merges = {
        frozenset(tree.classes[tree.members[14 + step]].tolist()): tree.linkage[step]
        for step in range(13)
    }
    for clade, (_, _, height, size) in merges.items():
        assert height == heights[clade]
        assert size == len(clade)
    np.testing.assert_allclose(
        tree.path_length(), squareform(cophenet(tree.linkage)), atol=1e-12
    )


def test_published_tree_is_wpgma_where_nothing_is_tied():
    distances = random_distances(20)
    published = infer_tree(distances, official=True)
    wpgma = infer_tree(distances, method="wpgma")
    assert published.clades == wpgma.clades
    np.testing.assert_allclose(published.path_length(), wpgma.path_length())


def test_published_tie_rule_by_hand():
    # All pairs are tied: 3 joins 2, then the last row is 2 again, and so on.
    tree = infer_tree(1 - np.eye(4), official=True)
    assert tree.clades == {
        frozenset([2, 3]),
        frozenset([1, 2, 3]),
        frozenset([0, 1, 2, 3]),
    }


@pytest.mark.parametrize("method", ["upgma", "wpgma"])
@pytest.mark.parametrize("hierarchy", [BALANCED, RAGGED])
def test_the_tree_is_found_again_from_its_heights(method, hierarchy):
    heights = hierarchy.lca_height()
    tree = infer_tree(np.sqrt(heights), method=method)
    recovered = clade_recovery(tree, hierarchy)
    assert recovered["overall"] == 1
    assert set(recovered["by_level"][:-1]) == {1.0}
    assert math.isnan(recovered["by_level"][-1])
    assert cophenetic_correlation(tree, np.sqrt(heights)) == pytest.approx(1)
    np.testing.assert_allclose(tree.path_length() ** 2, heights, atol=1e-12)
    assert clade_recovery(infer_tree(heights, official=True), hierarchy) == {
        "overall": 1,
        "by_level": pytest.approx(recovered["by_level"], nan_ok=True),
    }


def test_recovery_equals_the_loops():
    rng = np.random.default_rng(0)
    noise = np.triu(rng.uniform(0, 4, (9, 9)), 1)
    tree = infer_tree(RAGGED.path_length() + noise + noise.T)
    by_level, everything = [], []
    for level in range(RAGGED.num_levels):
        hits = []
        for node in range(RAGGED.nodes_per_level[level]):
            classes = np.flatnonzero(RAGGED.ancestors[:, level] == node)
            if 1 < len(classes) < 9:
                found = frozenset(classes.tolist()) in tree.clades
                hits.append(found)
                everything.append((frozenset(classes.tolist()), found))
        by_level.append(np.mean(hits) if hits else math.nan)
    actual = clade_recovery(tree, RAGGED)
    np.testing.assert_array_equal(actual["by_level"], by_level)
    distinct = dict(everything)
    assert 0 < sum(distinct.values()) < len(distinct)
    assert actual["overall"] == sum(distinct.values()) / len(distinct)


def test_true_clades_count_once_and_never_hold_one_or_all_classes():
    paths = ["Rabx", "Raby", "Rcdx", "Rcdy", "Rcd", "Re"]
    hierarchy = Hierarchy.from_paths(map(tuple, paths), allow_internal_classes=True)
    left, right = frozenset([0, 1]), frozenset([2, 3, 4])
    expected = (set(), {left, right}, {left, right}, set())
    assert hierarchy_clades(hierarchy) == expected
    tree = infer_tree(hierarchy.lca_height())
    assert clade_recovery(tree, hierarchy)["overall"] == 1
    wrong = tree_of_nested([[[0, 1], 2], [[3, 4], 5]])
    recovered = clade_recovery(wrong, hierarchy)
    assert recovered["overall"] == 1 / 2
    np.testing.assert_array_equal(recovered["by_level"], [np.nan, 0.5, 0.5, np.nan])
    flat = Hierarchy.from_paths([(name,) for name in "abcdef"])
    assert math.isnan(clade_recovery(tree, flat)["overall"])


def tree_of_nested(nested):
    """A tree of unit branches from brackets such as [[0, 1], [2, 3, 4]]."""
    leaves, parents = [], {}

    def collect(node):
        if isinstance(node, int):
            leaves.append(node)
        else:
            for child in node:
                collect(child)

    collect(nested)
    last = len(leaves)

    def add(node):
        nonlocal last
        if isinstance(node, int):
            return node
        children = [add(child) for child in node]
        number, last = last, last + 1
        parents.update(dict.fromkeys(children, number))
        return number

    root = add(nested)
    parents[root] = -1
    array = np.array([parents[i] for i in range(last)])
    return InferredTree(np.arange(len(leaves)), array, (array >= 0).astype(float))


def test_a_tree_by_hand():
    tree = tree_of_nested([[0, 3], [1, 2, [4, 5]]])
    assert tree.clades == {
        frozenset([0, 3]),
        frozenset([4, 5]),
        frozenset([1, 2, 4, 5]),
        frozenset(range(6)),
    }
    assert tree.splits == {frozenset([4, 5]), frozenset([1, 2, 4, 5])}
    lengths = tree.path_length()
    assert lengths[0, 3] == lengths[4, 5] == lengths[1, 2] == 2
    assert lengths[1, 4] == 3 and lengths[0, 1] == 4 and lengths[0, 4] == 5
    np.testing.assert_allclose(lengths, loop_paths(tree))
    text = tree.to_newick(["a", "b c", "d'e", "f", "g_1", "h"])
    inner = "('b c':1,'d''e':1,(g_1:1,h:1):1):1"
    assert text in (f"((a:1,f:1):1,{inner});", f"({inner},(a:1,f:1):1);")


def test_robinson_foulds_by_hand():
    first = tree_of_nested([[0, 1], [2, [3, [4, 5]]]])
    rerooted = tree_of_nested([0, 1, [2, [3, [4, 5]]]])
    assert first.clades != rerooted.clades
    assert robinson_foulds(first, rerooted) == (0, 6)
    swapped = tree_of_nested([[0, 1], [3, [2, [4, 5]]]])
    assert robinson_foulds(first, swapped) == (2, 6)
    star = tree_of_nested([0, 1, 2, 3, 4, 5])
    assert robinson_foulds(first, star) == (3, 3)
    assert robinson_foulds(star, star) == (0, 0)
    for size in (2, 3):
        tiny = infer_tree(1 - np.eye(size))
        assert robinson_foulds(tiny, tiny) == (0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_robinson_foulds_equals_the_loops(seed):
    a, b = infer_tree(random_distances(15, seed)), infer_tree(random_distances(15, 9))
    splits_a, splits_b = loop_splits(a.clades, 15), loop_splits(b.clades, 15)
    assert len(a.splits) == len(splits_a) == 12
    expected = len(splits_a ^ splits_b)
    assert robinson_foulds(a, b) == robinson_foulds(b, a) == (expected, 24)
    assert expected > 0
    assert robinson_foulds(a, a) == (0, 24)


def test_absent_classes_are_left_out_of_the_tree():
    distances = np.sqrt(RAGGED.lca_height())
    distances[[1, 6]] = distances[:, [1, 6]] = np.nan
    tree = infer_tree(distances)
    kept = [0, 2, 3, 4, 5, 7, 8]
    assert tree.classes.tolist() == kept
    alone = infer_tree(distances[np.ix_(kept, kept)])
    assert tree.clades == {frozenset(kept[i] for i in clade) for clade in alone.clades}
    recovered = clade_recovery(tree, RAGGED)
    assert recovered["overall"] == 1
    # 1 was the only sister of 2, and 6 the only one of the node above 4 and 5.
    assert hierarchy_clades(RAGGED, tree.classes) == (
        {frozenset([0, 2]), frozenset([4, 5, 7])},
        {frozenset([4, 5])},
        {frozenset([4, 5])},
        set(),
    )
    assert cophenetic_correlation(tree, distances) == pytest.approx(1)
    names = RAGGED.class_names
    text = tree.to_newick(names)
    assert all((name in text) == (i in kept) for i, name in enumerate(names))
    with pytest.raises(UserError, match="same classes, found 1 in one of them only"):
        robinson_foulds(tree, infer_tree(RAGGED.lca_height()))


@pytest.mark.parametrize("method", ["upgma", "neighbor_joining"])
def test_newick_is_read_back(method):
    if method == "neighbor_joining":
        skip_without_scikit_bio()
    names = ["a", "b b", "it's", "(d)", "e,e", "f:1", "g_g", "é", "i/j"]
    tree = infer_tree(random_distances(9), method=method)
    text = tree.to_newick(names)
    read = Hierarchy.from_newick(text)
    assert set(read.class_names) == set(names)
    ids = np.array([names.index(name) for name in read.class_names])
    found = {
        frozenset(ids[list(clade)].tolist())
        for level in hierarchy_clades(read)
        for clade in level
    }
    assert found == tree.clades - {frozenset(range(9))}


def test_cophenetic_correlation_equals_numpy():
    distances = random_distances(10)
    tree = infer_tree(distances)
    upper = np.triu_indices(10, 1)
    merged = squareform(cophenet(tree.linkage))
    for other in (distances, BALANCED.path_length()):
        expected = np.corrcoef(merged[upper], other[upper])[0, 1]
        assert cophenetic_correlation(tree, other) == pytest.approx(expected)
    assert math.isnan(cophenetic_correlation(tree, 1 - np.eye(10)))


@pytest.mark.parametrize("hierarchy", [BALANCED, RAGGED])
def test_neighbor_joining_finds_a_tree_from_its_path_lengths(hierarchy):
    skip_without_scikit_bio()
    hops = hierarchy.path_length()
    tree = infer_tree(hops, method="neighbor_joining")
    assert not jax.config.jax_enable_x64
    assert tree.linkage is None
    np.testing.assert_allclose(tree.path_length(), hops, atol=1e-9)
    assert cophenetic_correlation(tree, hops) == pytest.approx(1)
    true = loop_splits(
        frozenset().union(*hierarchy_clades(hierarchy)), hierarchy.num_classes
    )
    found = loop_splits(tree.clades, hierarchy.num_classes)
    assert true <= found


def test_neighbor_joining_is_rooted_halfway():
    skip_without_scikit_bio()
    tree = infer_tree(BALANCED.path_length(), method="neighbor_joining")
    assert clade_recovery(tree, BALANCED)["overall"] == 1
    caterpillar = tree_of_nested([0, [1, [2, [3, [4, 5]]]]])
    tree = infer_tree(caterpillar.path_length(), method="neighbor_joining")
    # From 0 to 4 and 5 there are 6 branches, so the root is above 2.
    assert frozenset([3, 4, 5]) in tree.clades
    assert frozenset([0, 1, 2]) in tree.clades or frozenset([0, 1]) in tree.clades
    assert clade_recovery(tree, Hierarchy.from_paths([(c,) for c in "abcdef"]))
    together = infer_tree(np.zeros((5, 5)), method="neighbor_joining")
    assert not together.path_length().any()


def test_neighbor_joining_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skbio", None)
    with pytest.raises(UserError, match=r"pip install 'hierjax\[trees\]'"):
        infer_tree(random_distances(4), method="neighbor_joining")


def test_bad_input_is_named():
    distances = random_distances(5)
    with pytest.raises(UserError, match="upgma, wpgma, neighbor_joining, found 'nj'"):
        infer_tree(distances, method="nj")
    with pytest.raises(UserError, match="upgma alone, found 'wpgma'"):
        infer_tree(distances, method="wpgma", official=True)
    with pytest.raises(UserError, match="at least 2 classes .* found 0"):
        infer_tree(np.full((4, 4), np.nan))
    with pytest.raises(UserError, match="at least 3 classes .* found 2"):
        infer_tree(distances[:2, :2], method="neighbor_joining")
    tree = infer_tree(distances)
    with pytest.raises(UserError, match="all classes up to 4, found 3 names"):
        tree.to_newick("abc")
    with pytest.raises(UserError, match=r"every class up to 4, found shape \(3, 3\)"):
        cophenetic_correlation(tree, np.zeros((3, 3)))
    small = Hierarchy.from_paths([("a", "b"), ("a", "c")])
    with pytest.raises(UserError, match="below 2, the number .* found 4"):
        clade_recovery(tree, small)


def taxonomy(shared_data, name):
    return Hierarchy.from_csv(shared_data / "taxonomies" / f"{name}_cls.csv")


@pytest.mark.parametrize(
    ("name", "lowest", "highest", "maximum", "recovered"),
    [("CIFAR100", 90, 140, 194, 1), ("MesoZ", 18, 42, 98, 0.95)],
)
def test_renaming_the_classes_changes_the_published_tree(
    shared_data, name, lowest, highest, maximum, recovered
):
    hierarchy = taxonomy(shared_data, name)
    distances = hierarchy.path_length()
    tree = infer_tree(distances, official=True)
    order = np.random.default_rng(0).permutation(len(distances))
    renamed = infer_tree(distances[np.ix_(order, order)], official=True)
    # Class c is leaf argsort(order)[c] of the renamed tree.
    inner = np.arange(len(order), len(renamed.parents))
    moved = np.concatenate([np.argsort(order), inner])
    back = InferredTree(tree.classes, renamed.parents[moved], renamed.lengths[moved])
    distance, most = robinson_foulds(tree, back)
    assert most == maximum
    assert lowest <= distance <= highest
    for same in (tree, back):
        assert clade_recovery(same, hierarchy)["overall"] >= recovered
    rows = np.random.default_rng(1).normal(size=(len(order), 128))
    chance = infer_tree(representative_distances(rows), official=True)
    assert robinson_foulds(tree, chance)[0] >= maximum - 4


def test_555_classes_take_no_time(shared_data):
    hierarchy = taxonomy(shared_data, "nabirds")
    distances = random_distances(555, dim=128)
    start = time.perf_counter()
    true = infer_tree(hierarchy.path_length(), official=True)
    for options in ({}, {"method": "wpgma"}, {"official": True}):
        tree = infer_tree(distances, **options)
        assert robinson_foulds(tree, true)[1] == 2 * 552
        assert clade_recovery(tree, hierarchy)["overall"] < 0.1
        assert abs(cophenetic_correlation(tree, hierarchy.path_length())) < 0.2
        assert tree.to_newick(hierarchy.class_names).count("(") >= 554
    assert time.perf_counter() - start < 10
