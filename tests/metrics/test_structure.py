import itertools
import math
import time

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy
from hierjax.metrics.structure import (
    elementwise_correlation,
    goodman_kruskal_gamma,
    mantel_test,
    mean_correlation,
    per_class_gamma,
    representative_distances,
)

RAGGED = Hierarchy.from_paths(
    map(tuple, ["ap", "aqx", "aqy", "b", "crsu", "crsv", "crt", "cw", "dz"])
)
METHODS = ("spearman", "pearson", "kendall")
SCIPY = {
    "spearman": stats.spearmanr,
    "pearson": stats.pearsonr,
    "kendall": stats.kendalltau,
}


def random_case(seed=0, dim=4):
    rows = np.random.default_rng(seed).normal(size=(RAGGED.num_classes, dim))
    return representative_distances(rows), RAGGED.path_length()


def tied_case():
    """Distances with few values, which do not simply follow the tree."""
    distances, tree = random_case(3)
    return np.round(2 * distances) / 2, tree


CASES = pytest.mark.parametrize(
    "case", [random_case(1), random_case(2, 2), tied_case()], ids=["a", "b", "tied"]
)


def loop_gamma(x, y):
    concordant = discordant = 0
    for (x1, y1), (x2, y2) in itertools.combinations(zip(x, y, strict=True), 2):
        concordant += (x1 < x2 and y1 < y2) or (x1 > x2 and y1 > y2)
        discordant += (x1 < x2 and y1 > y2) or (x1 > x2 and y1 < y2)
    total = concordant + discordant
    return (concordant - discordant) / total if total else math.nan


def pairs_of(*matrices):
    size = len(matrices[0])
    pairs = list(itertools.combinations(range(size), 2))
    return [[matrix[i][j] for i, j in pairs] for matrix in matrices]


def rows_of(distances, tree, with_self=False):
    for i in range(len(tree)):
        others = [j for j in range(len(tree)) if with_self or j != i]
        yield distances[i][others], tree[i][others]


def loop_fisher(correlations, bound):
    scores = []
    for value in correlations:
        if not math.isnan(value):
            value = max(-bound, min(bound, value))
            scores.append(math.inf if value == 1 else math.atanh(value))
    return math.tanh(sum(scores) / len(scores))


def absent(distances, *classes):
    distances = distances.copy()
    for c in classes:
        distances[c] = distances[:, c] = np.nan
    return distances


def test_distances_by_hand():
    rows = [[3.0, 0], [0, 0.5], [-2, 0], [7, 7], [0, 4]]
    half = math.sqrt(2 - math.sqrt(2))
    chords = representative_distances(rows)
    np.testing.assert_allclose(chords[0], [0, 2**0.5, 2, half, 2**0.5], rtol=1e-12)
    angles = representative_distances(rows, distance="arccos")
    quarter = math.pi / 4
    np.testing.assert_allclose(
        angles[0], [0, 2 * quarter, 4 * quarter, quarter, 2 * quarter], rtol=1e-7
    )
    assert chords[1, 4] == angles[1, 4] == 0
    assert not chords.diagonal().any() and not angles.diagonal().any()


def test_distances_are_between_unit_vectors():
    rows = np.random.default_rng(0).normal(size=(6, 5))
    scaled = rows * np.array([1, 1e-200, 1e200, 3, 0.1, 7])[:, None]
    actual = representative_distances(scaled)
    for i, j in itertools.product(range(6), repeat=2):
        unit_i, unit_j = (rows[k] / math.hypot(*rows[k]) for k in (i, j))
        assert actual[i, j] == pytest.approx(math.dist(unit_i, unit_j), abs=1e-15)
        angle = representative_distances(scaled, distance="arccos")[i, j]
        cosine = min(1, float(unit_i @ unit_j))
        assert angle == pytest.approx(math.acos(cosine), abs=1e-7)


def test_nearly_equal_rows_keep_their_distance():
    rows = np.array([[1, 0], [1, 1e-12], [1, 3e-12]])
    for distance in ("euclidean", "arccos"):
        actual = representative_distances(rows, distance=distance)
        np.testing.assert_allclose(actual[0], [0, 1e-12, 3e-12], rtol=1e-9)


def test_rows_without_direction_have_no_distances():
    rows = np.array([[1.0, 0], [np.nan, np.nan], [0, 1], [0, 0], [1, 1]])
    actual = representative_distances(rows)
    assert np.isnan(actual[[1, 3]]).all() and np.isnan(actual[:, [1, 3]]).all()
    kept = [0, 2, 4]
    expected = representative_distances(rows[kept])
    np.testing.assert_array_equal(actual[np.ix_(kept, kept)], expected)


def test_distances_reject_what_is_no_representative():
    with pytest.raises(UserError, match=r"\[C, D\], found \(3,\)"):
        representative_distances(np.ones(3))
    with pytest.raises(UserError, match="in row 1"):
        representative_distances([[1, 2], [np.inf, 2]])
    with pytest.raises(UserError, match="some NaN in row 2"):
        representative_distances([[1, 2], [1, 3], [np.nan, 2]])
    with pytest.raises(UserError, match="euclidean or arccos, found 'cosine'"):
        representative_distances(np.eye(2), distance="cosine")


@CASES
def test_gamma_equals_the_loops(case):
    expected = loop_gamma(*pairs_of(*case))
    assert abs(expected) > 0.01
    assert goodman_kruskal_gamma(*case) == pytest.approx(expected, abs=1e-15)


@CASES
def test_per_class_gamma_equals_the_loops(case):
    expected = [loop_gamma(*rows) for rows in rows_of(*case)]
    assert np.nanstd(expected) > 0.05
    np.testing.assert_allclose(per_class_gamma(*case), expected, atol=1e-15)


def test_gamma_of_untied_pairs_is_kendalls_tau():
    distances, _ = random_case(1)
    other, _ = random_case(2)
    expected = stats.kendalltau(*pairs_of(distances, other)).statistic
    assert goodman_kruskal_gamma(distances, other) == pytest.approx(expected)


@CASES
@pytest.mark.parametrize("method", METHODS)
def test_elementwise_correlation_equals_scipy(case, method):
    expected = SCIPY[method](*pairs_of(*case)).statistic
    actual = elementwise_correlation(*case, method=method)
    assert actual == pytest.approx(expected, abs=1e-12)


@CASES
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("official", [False, True])
def test_mean_correlation_equals_scipy(case, method, official):
    rows = rows_of(*case, with_self=official)
    expected = loop_fisher([SCIPY[method](*pair).statistic for pair in rows], 1)
    actual = mean_correlation(*case, method=method, official=official)
    assert actual == pytest.approx(expected, abs=1e-12)
    assert actual != pytest.approx(
        mean_correlation(*case, method=method, official=not official), abs=1e-3
    )


@pytest.mark.parametrize("squash", [np.sqrt, np.exp, lambda t: t / (1 + t)])
def test_distances_that_follow_the_tree_are_perfect(squash):
    tree = RAGGED.path_length()
    distances = squash(tree) - squash(np.zeros(1))
    assert goodman_kruskal_gamma(distances, tree) == 1
    assert goodman_kruskal_gamma(-distances, tree) == -1
    assert set(per_class_gamma(distances, tree)) == {1}
    for method in ("spearman", "kendall"):
        perfect = elementwise_correlation(distances, tree, method=method)
        assert perfect == pytest.approx(1)
    assert elementwise_correlation(distances, tree, method="pearson") < 0.999
    assert mean_correlation(distances, tree) == pytest.approx(1, abs=2e-6)
    assert mean_correlation(distances, tree, official=True) == pytest.approx(1)


def test_gamma_alone_reaches_one_without_ties_in_the_distances():
    tree = RAGGED.path_length()
    noise = np.random.default_rng(0).uniform(0, 0.9, size=tree.shape)
    distances = tree + np.triu(noise, 1) + np.triu(noise, 1).T
    assert goodman_kruskal_gamma(distances, tree) == 1
    assert elementwise_correlation(distances, tree) < 0.99
    assert mean_correlation(distances, tree) < 0.99
    swapped = distances.copy()
    i, j = np.unravel_index(swapped.argmax(), swapped.shape)
    swapped[i, j] = swapped[j, i] = 0.5
    assert goodman_kruskal_gamma(swapped, tree) < 1


def test_one_perfect_class_decides_the_published_average_only():
    distances, tree = tied_case()
    distances[0] = distances[:, 0] = tree[0]
    rhos = [stats.spearmanr(*pair).statistic for pair in rows_of(distances, tree)]
    assert rhos[0] == pytest.approx(1)
    assert max(rhos[1:]) < 0.9
    expected = loop_fisher(rhos, 1 - 1e-6)
    assert mean_correlation(distances, tree) == pytest.approx(expected, abs=1e-9)
    assert expected < 0.9
    assert mean_correlation(distances, tree, official=True) == pytest.approx(1)


def test_opposite_perfect_classes_cancel():
    tree = np.array([[0, 1, 2], [1, 0, 2], [2, 2, 0]])
    distances = np.array([[0, 1, 2], [1, 0, 0.5], [2, 0.5, 0]])
    assert mean_correlation(distances, tree) == 0


def test_monotone_functions_of_distances_change_rank_measures_not():
    distances, tree = random_case(1)
    angles = 2 * np.arcsin(distances / 2)
    for measure in (goodman_kruskal_gamma, mean_correlation, elementwise_correlation):
        assert measure(angles, tree) == pytest.approx(measure(distances, tree))
    pearson = elementwise_correlation(distances, tree, method="pearson")
    assert elementwise_correlation(angles, tree, method="pearson") != pearson


def test_renaming_the_classes_changes_nothing():
    distances, tree = tied_case()
    order = np.random.default_rng(5).permutation(len(tree))
    renamed = distances[np.ix_(order, order)], tree[np.ix_(order, order)]
    for measure in (goodman_kruskal_gamma, mean_correlation, elementwise_correlation):
        assert measure(*renamed) == pytest.approx(measure(distances, tree))
    gammas = per_class_gamma(distances, tree)
    np.testing.assert_allclose(per_class_gamma(*renamed), gammas[order])


@pytest.mark.parametrize("measure", [mean_correlation, elementwise_correlation])
@pytest.mark.parametrize("method", METHODS)
def test_absent_classes_are_as_if_deleted(measure, method):
    distances, tree = random_case(1)
    kept = [0, 1, 3, 4, 6, 7, 8]
    deleted = distances[np.ix_(kept, kept)], tree[np.ix_(kept, kept)]
    assert measure(absent(distances, 2, 5), tree, method=method) == pytest.approx(
        measure(*deleted, method=method)
    )


def test_gamma_and_mantel_leave_absent_classes_out():
    distances, tree = random_case(1)
    kept = [0, 1, 3, 4, 6, 7, 8]
    deleted = distances[np.ix_(kept, kept)], tree[np.ix_(kept, kept)]
    holes = absent(distances, 2, 5)
    np.fill_diagonal(holes, 0)
    assert goodman_kruskal_gamma(holes, tree) == goodman_kruskal_gamma(*deleted)
    gammas = per_class_gamma(holes, tree)
    np.testing.assert_array_equal(gammas[kept], per_class_gamma(*deleted))
    assert np.isnan(gammas[[2, 5]]).all()
    assert mantel_test(holes, tree, num_permutations=50) == mantel_test(
        *deleted, num_permutations=50
    )


def test_measures_are_nan_where_nothing_can_be_compared(recwarn):
    distances, tree = random_case(1)
    flat = 2 * (1 - np.eye(len(tree), dtype=int))
    everything_absent = np.full_like(distances, np.nan)
    two_classes = distances[:2, :2], tree[:2, :2]
    one_class = np.zeros((1, 1)), np.zeros((1, 1))
    for case in (
        (distances, flat),
        (flat.astype(float), tree),
        (everything_absent, tree),
        two_classes,
        one_class,
    ):
        assert math.isnan(goodman_kruskal_gamma(*case))
        assert np.isnan(per_class_gamma(*case)).all()
        for method in METHODS:
            assert math.isnan(mean_correlation(*case, method=method))
            assert math.isnan(elementwise_correlation(*case, method=method))
        for statistic in ("gamma", "spearman", "pearson"):
            result = mantel_test(*case, statistic=statistic, num_permutations=5)
            assert math.isnan(result.statistic) and math.isnan(result.p_value)
    assert not recwarn.list


def test_constant_classes_are_skipped():
    distances, tree = random_case(1)
    distances[3] = distances[:, 3] = 0.1
    np.fill_diagonal(distances, 0)
    rhos = [
        stats.spearmanr(*pair).statistic
        for i, pair in enumerate(rows_of(distances, tree))
        if i != 3
    ]
    assert mean_correlation(distances, tree) == pytest.approx(loop_fisher(rhos, 1))


@pytest.mark.parametrize("statistic", ["gamma", "spearman", "pearson"])
def test_mantel_against_all_permutations(statistic):
    paths = map(tuple, ["ab", "ac", "ad", "e", "fgh"])
    tree = Hierarchy.from_paths(paths).path_length()
    distances = representative_distances(np.random.default_rng(8).normal(size=(5, 3)))

    def score(matrix):
        if statistic == "gamma":
            return loop_gamma(*pairs_of(distances, matrix))
        return SCIPY[statistic](*pairs_of(distances, matrix)).statistic

    observed = score(tree)
    reached = [
        score(tree[np.ix_(order, order)]) >= observed - 1e-9
        for order in itertools.permutations(range(5))
    ]
    exact = sum(reached) / len(reached)
    assert 0.05 < exact < 0.95
    actual = mantel_test(distances, tree, statistic=statistic, num_permutations=4000)
    assert actual.statistic == pytest.approx(observed)
    assert actual.p_value == pytest.approx(exact, abs=0.035)


def test_mantel_p_values_of_agreement_and_of_its_opposite():
    distances, tree = RAGGED.path_length() ** 0.5, RAGGED.path_length()
    for statistic in ("gamma", "spearman", "pearson"):
        best = mantel_test(distances, tree, statistic=statistic, num_permutations=199)
        assert best.p_value == 1 / 200
        worst = mantel_test(-distances, tree, statistic=statistic, num_permutations=199)
        assert worst.p_value == 1


def test_mantel_p_values_of_chance_are_uniform():
    results = [
        mantel_test(*random_case(seed), num_permutations=19, statistic="spearman")
        for seed in range(200)
    ]
    p_values = np.array([result.p_value for result in results])
    assert np.mean(p_values <= 0.2) == pytest.approx(0.2, abs=0.09)
    assert np.mean(p_values) == pytest.approx(0.525, abs=0.07)


def test_mantel_depends_on_its_seed_only():
    case = random_case(2)
    first = mantel_test(*case, num_permutations=99, seed=3)
    assert first == mantel_test(*case, num_permutations=99, seed=3)
    assert first.statistic == goodman_kruskal_gamma(*case)
    others = {mantel_test(*case, num_permutations=99, seed=s).p_value for s in range(9)}
    assert len(others) > 1


def test_bad_input_is_named():
    distances, tree = random_case()
    with pytest.raises(UserError, match=r"\[C, C\], found \(9, 8\)"):
        goodman_kruskal_gamma(distances[:, :8], tree)
    with pytest.raises(UserError, match=r"same shape, found \(9, 9\) and \(8, 8\)"):
        mean_correlation(distances, tree[:8, :8])
    crooked = distances.copy()
    crooked[2, 7] += 1
    with pytest.raises(UserError, match="symmetric.* between the classes 2 and 7"):
        elementwise_correlation(crooked, tree)
    hole = distances.copy()
    hole[1, 4] = np.nan
    with pytest.raises(UserError, match="finite, found nan .* the classes 1 and 4"):
        per_class_gamma(hole, tree)
    with pytest.raises(UserError, match="tree_distance must be finite"):
        mantel_test(distances, np.where(tree > 4, np.nan, tree))
    with pytest.raises(UserError, match="spearman, pearson, kendall, found 'tau'"):
        mean_correlation(distances, tree, method="tau")
    with pytest.raises(UserError, match="gamma, spearman, pearson, found 'kendall'"):
        mantel_test(distances, tree, statistic="kendall")
    with pytest.raises(UserError, match="num_permutations must be at least 1, found 0"):
        mantel_test(distances, tree, num_permutations=0)


def taxonomy(shared_data, name):
    return Hierarchy.from_csv(
        shared_data / "taxonomies" / f"{name}_cls.csv", allow_internal_classes=True
    )


@pytest.mark.parametrize(
    ("name", "bias", "num_draws"),
    [
        ("CIFAR100", 0.038, 60),
        ("MicroS", 0.021, 60),
        ("MicroL", 0.029, 60),
        ("MesoZ", 0.058, 120),
        ("nabirds", 0.008, 6),
    ],
)
def test_self_entry_raises_random_representatives(shared_data, name, bias, num_draws):
    tree = taxonomy(shared_data, name).path_length()
    rng = np.random.default_rng(0)
    published, corrected = [], []
    for _ in range(num_draws):
        distances = representative_distances(rng.normal(size=(len(tree), 128)))
        published.append(mean_correlation(distances, tree, official=True))
        corrected.append(mean_correlation(distances, tree))
    # The expected values are those of a single draw.
    assert np.mean(published) == pytest.approx(bias, abs=2 * np.std(published))
    error = 3 * np.std(corrected) / num_draws**0.5
    assert np.mean(corrected) == pytest.approx(0, abs=error)
    assert np.mean(published) > 2 * error


def spherical_mds(tree, dim=128, seed=0):
    """Adam on the normalised stress, written out."""
    target = math.sqrt(2) * tree / (1 + tree)
    rows = np.random.default_rng(seed).normal(size=(len(tree), dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    first, second = np.zeros_like(rows), np.zeros_like(rows)
    for step in range(1, 1001):
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        units = rows / lengths
        chords = np.sqrt(np.maximum(2 - 2 * units @ units.T, 0) + 1e-12)
        error = chords - target
        # The chord falls with the cosine at the rate 1 / chord; each pair is twice.
        slope = -2 * error / chords / np.linalg.norm(error) / np.linalg.norm(target)
        gradient = slope @ units
        gradient -= np.sum(gradient * units, axis=1, keepdims=True) * units
        gradient /= lengths
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = 1e-3 * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        rows = rows - rate * first / (np.sqrt(second) + 1e-8)
    return rows


@pytest.mark.parametrize(
    ("name", "mean", "elementwise"),
    [("CIFAR100", 0.858, 0.862), ("MesoZ", 0.978, 0.987)],
)
def test_ceilings_of_mds_representatives(shared_data, name, mean, elementwise):
    tree = taxonomy(shared_data, name).path_length()
    # Threads would wait for each other more than they multiply.
    with threadpool_limits(1):
        distances = representative_distances(spherical_mds(tree))
    published = mean_correlation(distances, tree, official=True)
    assert published == pytest.approx(mean, abs=2e-3)
    assert elementwise_correlation(distances, tree) == pytest.approx(
        elementwise, abs=2e-3
    )
    assert goodman_kruskal_gamma(distances, tree) > 0.9999


def test_555_classes_take_no_time(shared_data):
    tree = taxonomy(shared_data, "nabirds").path_length()
    rows = np.random.default_rng(0).normal(size=(555, 128))
    start = time.perf_counter()
    distances = representative_distances(rows)
    gamma = goodman_kruskal_gamma(distances, tree)
    per_class_gamma(distances, tree)
    for method in METHODS:
        mean_correlation(distances, tree, method=method)
        elementwise_correlation(distances, tree, method=method)
    mantel_test(distances, tree, num_permutations=9)
    assert time.perf_counter() - start < 6
    upper = np.triu_indices(555, 1)
    tau = stats.kendalltau(distances[upper], tree[upper]).statistic
    num_pairs = len(upper[0])
    comparable = (num_pairs**2 - np.sum(np.bincount(tree[upper]) ** 2)) / 2
    untied = num_pairs * (num_pairs - 1) / 2
    assert gamma == pytest.approx(tau * math.sqrt(untied / comparable), abs=1e-12)


@pytest.mark.slow
def test_mantel_statistic_has_no_limit_on_distinct_values():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(260, 3))
    learned = representative_distances(vectors)
    other = representative_distances(vectors + 0.5 * rng.normal(size=vectors.shape))
    assert len(np.unique(other)) > 2**15
    found = mantel_test(learned, other, num_permutations=1)
    expected = goodman_kruskal_gamma(learned, other)
    np.testing.assert_allclose(found.statistic, expected)
