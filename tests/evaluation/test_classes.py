"""Measures of classes: their glue; the measures themselves are tested in metrics."""

import numpy as np
import pytest

from hierjax import Hierarchy, evaluation, metrics
from hierjax.data import Dataset
from hierjax.evaluation.names import parse_measure

RNG = np.random.default_rng(0)
TREE = Hierarchy.from_paths(
    [
        ("a", "p", "x"),
        ("a", "p", "y"),
        ("a", "q", "z"),
        ("b", "r", "v"),
        ("b", "r", "w"),
    ]
    + [("b", "s", f"t{i}") for i in range(3)],
    level_names=("top", "middle", "leaf"),
)
CENTERS = RNG.normal(size=(8, 6))


def make_data(train_ids, test_ids, hierarchy=TREE, centers=CENTERS, spread=0.7):
    ids = np.array([*train_ids, *test_ids])
    features = centers[ids] + spread * RNG.normal(size=(len(ids), centers.shape[1]))
    return Dataset(
        name="toy",
        features=features,
        labels=hierarchy.labels_of(ids),
        hierarchy=hierarchy,
        splits={
            "train": np.arange(len(train_ids)),
            "test": np.arange(len(train_ids), len(ids)),
        },
    )


def embed_of(data):
    return lambda rows: data.features[rows]


def classifier_of(proxies):
    """Scores that are cosines with unit representatives."""

    def scores(embeddings, representatives=None):
        by = proxies if representatives is None else representatives
        return metrics.unit_rows(embeddings) @ metrics.unit_rows(by).T * 3

    return evaluation.Classifier(scores, metrics.unit_rows(proxies))


BALANCED = make_data(list(range(8)) * 6, list(range(8)) * 4)


def test_class_means_are_mean_directions():
    embeddings = RNG.normal(size=(7, 3))
    ids = np.array([0, 2, 2, -1, 0, 0, 2])
    means = evaluation.mean_directions(embeddings, ids, 4)
    for c in (0, 2):
        total = np.zeros(3)
        for row in range(7):
            if ids[row] == c:
                total += embeddings[row] / np.linalg.norm(embeddings[row])
        np.testing.assert_allclose(means[c], total / np.linalg.norm(total))
    assert np.isnan(means[[1, 3]]).all()


def test_measures_of_both_kinds_by_hand():
    proxies = CENTERS + 0.5 * RNG.normal(size=CENTERS.shape)
    measured = evaluation.evaluate_classes(
        embed_of(BALANCED), BALANCED, classifier=classifier_of(proxies)
    )
    queries = BALANCED.features[BALANCED.rows("test")]
    ids = BALANCED.labels[BALANCED.rows("test"), -1]
    hops = TREE.path_length()
    train = BALANCED.rows("train")
    means = evaluation.mean_directions(
        BALANCED.features[train], BALANCED.labels[train, -1], 8
    )
    for kind, vectors in (("proxies", proxies), ("means", means)):
        correct = top_correct = cost = middle = 0
        for query, true in zip(queries, ids, strict=True):
            cosines = [
                query @ v / np.linalg.norm(query) / np.linalg.norm(v) for v in vectors
            ]
            best = sorted(range(8), key=lambda c: -cosines[c])
            correct += best[0] == true
            top_correct += true in best[:5]
            cost += hops[best[0], true]
            middle += TREE.ancestors[best[0], 1] == TREE.ancestors[true, 1]
        for name, total in (
            ("accuracy/leaf", correct),
            ("accuracy@5/leaf", top_correct),
            ("cost/all", cost),
            ("accuracy/middle", middle),
        ):
            found = measured.measures[f"{name}/{kind}"]
            np.testing.assert_allclose(found, total / len(ids), err_msg=name)
            values = measured.per_query[f"{name}/{kind}"]
            np.testing.assert_allclose(values.mean(), found)
    assert 0 < measured.measures["accuracy/leaf/proxies"] < 1
    assert measured.untrained_classes == measured.untested_classes == ()
    # The neighbours' similarity stops at the ranks there are: 31 other queries.
    assert {n for n in measured.measures if "similarity@" in n} == {"similarity@1/all"}
    intervals = measured.intervals(num_resamples=50)
    assert set(intervals) == set(measured.per_query)


def test_without_a_classifier_there_are_only_means():
    measured = evaluation.evaluate_classes(embed_of(BALANCED), BALANCED)
    kinds = {parse_measure(name).kind for name in measured.measures}
    assert kinds == {"", "means"} and set(measured.representatives) == {"means"}
    assert not any("calibration" in name for name in measured.measures)


def test_perfect_representatives_are_perfect():
    hops = TREE.path_length()
    values, vectors = np.linalg.eigh(1 - (hops / (1 + hops)) ** 2)
    exact = vectors * np.sqrt(values)
    data = make_data(list(range(8)) * 2, list(range(8)) * 3, centers=exact, spread=1e-4)
    measured = evaluation.evaluate_classes(
        embed_of(data), data, classifier=classifier_of(exact)
    )
    for kind in ("proxies", "means"):
        for name in (
            "accuracy/leaf",
            "accuracy@5/leaf",
            "hierarchical_precision@5/all",
            "gamma/all",
        ):
            assert measured.measures[f"{name}/{kind}"] > 1 - 1e-6, (name, kind)
        assert measured.measures[f"cost/all/{kind}"] == 0
        assert measured.measures[f"clades/all/{kind}"] == 1
        assert measured.measures[f"mantel_p/all/{kind}"] < 0.01
    assert measured.measures["similarity_area/all"] > 1 - 1e-6


def test_absent_classes_are_named_and_left_out():
    data = make_data([0, 1, 2, 3, 4, 5] * 5, [0, 1, 2, 3, 4, 5, 6] * 3)
    measured = evaluation.evaluate_classes(
        embed_of(data), data, classifier=classifier_of(CENTERS)
    )
    assert measured.untrained_classes == ("t1", "t2")
    assert measured.untested_classes == ("t2",)
    assert np.isnan(measured.representatives["means"][6:]).all()
    assert not np.isnan(measured.representatives["proxies"]).any()
    assert np.isnan(measured.per_class["gamma/all/means"][6:]).all()
    # Classes without a mean come last, so their queries are wrong.
    ids = data.labels[data.rows("test"), -1]
    assert (measured.per_query["accuracy/leaf/means"][ids == 6] == 0).all()
    kept = TREE.subset(range(6))
    expected = metrics.goodman_kruskal_gamma(
        metrics.representative_distances(measured.representatives["means"][:6]),
        kept.path_length(),
    )
    np.testing.assert_allclose(measured.measures["gamma/all/means"], expected)
    assert np.isfinite(measured.measures["robinson_foulds/all/means"])


def test_a_class_without_a_mean_is_never_ranked():
    data = make_data([0, 1] * 5, list(range(8)) * 3)
    measured = evaluation.evaluate_classes(embed_of(data), data)
    ids = data.labels[data.rows("test"), -1]
    ranked = measured.per_query["accuracy@5/leaf/means"]
    np.testing.assert_array_equal(ranked, ids < 2)


def test_without_any_known_class_there_are_no_scores():
    data = make_data(list(range(8)) * 2, list(range(8)) * 2)
    labels = data.labels.copy()
    labels[data.rows("train"), -1] = -1
    hidden = Dataset("hidden", data.features, labels, TREE, data.splits)
    measured = evaluation.evaluate_classes(
        embed_of(hidden), hidden, classifier=classifier_of(CENTERS)
    )
    assert "accuracy/leaf/means" not in measured.measures
    assert np.isnan(measured.measures["gamma/all/means"])
    assert 0 <= measured.measures["accuracy/leaf/proxies"] <= 1
    assert len(measured.untrained_classes) == 8


def test_f1_of_every_level_by_hand():
    measured = evaluation.evaluate_classes(embed_of(BALANCED), BALANCED)
    means = measured.representatives["means"]
    rows = BALANCED.rows("test")
    units = metrics.unit_rows(BALANCED.features[rows])
    predicted, ids = (units @ means.T).argmax(1), BALANCED.labels[rows, -1]
    for level, name in enumerate(TREE.level_names):
        nodes, scores = TREE.ancestors[:, level], []
        for node in range(TREE.nodes_per_level[level]):
            hits = sum(
                nodes[p] == node == nodes[i]
                for p, i in zip(predicted, ids, strict=True)
            )
            total = sum(nodes[p] == node for p in predicted)
            total += sum(nodes[i] == node for i in ids)
            scores.append(2 * hits / total)
        found = measured.measures[f"macro_f1/{name}/means"]
        np.testing.assert_allclose(found, np.mean(scores))


def test_unknown_labels_are_no_queries():
    data = make_data(list(range(8)) * 5, list(range(8)) * 3)
    labels = data.labels.copy()
    labels[data.rows("test")[:4], -1] = -1
    hidden = Dataset(
        name="hidden",
        features=data.features,
        labels=labels,
        hierarchy=TREE,
        splits=data.splits,
    )
    whole = evaluation.evaluate_classes(embed_of(data), data)
    measured = evaluation.evaluate_classes(embed_of(hidden), hidden)
    values = measured.per_query["accuracy/leaf/means"]
    assert np.isnan(values[:4]).all() and not np.isnan(values[4:]).any()
    np.testing.assert_array_equal(
        values[4:], whole.per_query["accuracy/leaf/means"][4:]
    )


@pytest.mark.parametrize("num_classes", [1, 2])
def test_few_classes_are_defined_or_nan(num_classes):
    tree = Hierarchy.from_paths([("a", str(i)) for i in range(num_classes)])
    ids = list(range(num_classes))
    data = make_data(ids * 4, ids * 3, hierarchy=tree)
    measured = evaluation.evaluate_classes(
        embed_of(data), data, classifier=classifier_of(CENTERS[:num_classes])
    )
    assert np.isnan(measured.measures["gamma/all/proxies"])
    assert 0 <= measured.measures["accuracy/level_1/proxies"] <= 1
    evaluation.evaluate_classes(embed_of(data), data, official=True)
    if num_classes == 1:
        assert measured.measures["accuracy/level_1/proxies"] == 1


def test_official_is_another_measure_where_the_published_code_differs():
    proxies = classifier_of(CENTERS)
    ours = evaluation.evaluate_classes(embed_of(BALANCED), BALANCED, classifier=proxies)
    published = evaluation.evaluate_classes(
        embed_of(BALANCED), BALANCED, classifier=proxies, official=True
    )
    differing = {
        parse_measure(name).measure
        for name, value in ours.measures.items()
        if not np.isclose(value, published.measures[name], equal_nan=True)
    }
    assert {"spearman", "pearson", "hierarchical_precision"} <= differing
    assert "gamma" not in differing and "accuracy" not in differing
    np.testing.assert_allclose(
        ours.measures["spearman_with_self/all/proxies"],
        published.measures["spearman/all/proxies"],
    )


def test_validation_measures_of_a_classifier():
    splits = {"train": np.arange(24), "validation": np.arange(24, 48)}
    data = Dataset(
        name="toy",
        features=BALANCED.features,
        labels=BALANCED.labels,
        hierarchy=TREE,
        splits=splits,
    )
    classifier = classifier_of(CENTERS)
    found = evaluation.validation_measures(
        embed_of(data), data, "accuracy", classifier=classifier
    )
    predicted = classifier.scores(data.features[24:48]).argmax(1)
    expected = np.mean(predicted == data.labels[24:48, -1])
    np.testing.assert_allclose(found["accuracy/leaf/proxies"], expected)
    assert -1 <= found["gamma/all/proxies"] <= 1
    named = evaluation.check_selection("accuracy", TREE, has_scores=True)
    assert named == "accuracy/leaf/proxies"
    with pytest.raises(ValueError, match="'accuracy' is not one of silhouette/top"):
        evaluation.check_selection("accuracy", TREE)
