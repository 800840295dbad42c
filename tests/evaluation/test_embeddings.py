import dataclasses
import math

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from hierjax import Hierarchy, evaluation
from hierjax.data import Dataset
from hierjax.errors import UserError

TREE = Hierarchy.from_paths(
    [["air", "flute"], ["air", "horn"], ["string", "harp"], ["string", "viola"]]
    + [["air", "oboe"]],
    level_names=["family", "instrument"],
)
NAMES = TREE.level_names
SPLITS = {
    "train": np.arange(60),
    "validation": np.arange(60, 85),
    "test": np.arange(85, 120),
}


def make_data(classes=None, noise=2.0, features=None, splits=SPLITS, seed=0):
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 5, 120) if classes is None else classes
    if features is None:
        family, leaf = rng.normal(size=(2, 4)), rng.normal(size=(5, 4))
        labels = TREE.labels_of(classes)
        features = 2 * family[labels[:, 0]] + leaf[classes]
        features += noise * rng.normal(size=features.shape)
    return Dataset(
        "toy",
        features,
        TREE.labels_of(classes),
        TREE,
        splits,
        units=np.arange(120) // 3,
        unit_name="place",
    )


DATA = make_data()


def embed_of(data):
    return lambda rows: data.features[rows]


def sklearn_accuracies(data, split, level, ks):
    train, rows = data.rows("train"), data.rows(split)
    result = []
    for k in ks:
        knn = KNeighborsClassifier(k, metric="cosine", algorithm="brute")
        knn.fit(data.features[train], data.labels[train, level])
        result.append(
            expected_right(knn, data.features[rows], data.labels[rows, level])
        )
    return np.array(result)


def expected_right(knn, queries, labels):
    """Labels with equally many votes share what one alone would get."""
    votes = np.round(knn.predict_proba(queries), 9)
    wins = votes == votes.max(axis=1, keepdims=True)
    own = labels[:, None] == knn.classes_
    return (wins & own).sum(axis=1) / wins.sum(axis=1)


def sklearn_ks(data):
    ks = range(1, min(40, len(data.rows("train"))) + 1)
    return tuple(
        1 + int(sklearn_accuracies(data, "validation", level, ks).mean(1).argmax())
        for level in range(2)
    )


def test_every_measure_equals_scikit_learn():
    found = evaluation.evaluate(embed_of(DATA), DATA)
    ks = sklearn_ks(DATA)
    assert found.neighbors == ks and max(ks) > 1
    train, rows = DATA.rows("train"), DATA.rows("test")
    queries, gallery = DATA.features[rows], DATA.features[train]
    units = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    expected = {}
    for level, name in enumerate(NAMES):
        labels = DATA.labels[rows, level]
        for measure, metric in (
            ("silhouette", "cosine"),
            ("silhouette_euclidean", "euclidean"),
        ):
            values = silhouette_samples(queries, labels, metric=metric)
            expected[f"{measure}/{name}"] = values
        expected[f"knn/{name}"] = sklearn_accuracies(DATA, "test", level, [ks[level]])[
            0
        ]
        means = NearestCentroid().fit(units, DATA.labels[train, level])
        nearest = KNeighborsClassifier(1, metric="cosine", algorithm="brute")
        nearest.fit(means.centroids_, means.classes_)
        expected[f"nearest_mean/{name}"] = nearest.predict(queries) == labels
    for measure in ("silhouette", "silhouette_euclidean", "knn", "nearest_mean"):
        expected[f"{measure}/average"] = np.mean(
            [expected[f"{measure}/{name}"] for name in NAMES], axis=0
        )
    assert set(found.per_query) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found.per_query[name], values, atol=1e-5)
        assert found.measures[name] == pytest.approx(np.mean(values), abs=1e-6)
        assert 0 < abs(found.measures[name]) < 1
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.units, rows // 3)


def test_mistakes_are_those_of_the_class_neighbours():
    found = evaluation.evaluate(embed_of(DATA), DATA)
    train, rows = DATA.rows("train"), DATA.rows("test")
    knn = KNeighborsClassifier(found.neighbors[1], metric="cosine", algorithm="brute")
    knn.fit(DATA.features[train], DATA.labels[train, 1])
    hops, weights = [], []
    for query, true in zip(DATA.features[rows], DATA.labels[rows, 1], strict=True):
        votes = np.round(knn.predict_proba(query[None])[0], 9)
        winners = np.flatnonzero(votes == votes.max())
        for predicted in winners[winners != true]:
            same_family = TREE.ancestors[predicted, 0] == TREE.ancestors[true, 0]
            hops.append(2 if same_family else 4)
            weights.append(1 / len(winners))
    assert len(set(hops)) == 2
    mean = np.average(hops, weights=weights)
    assert found.measures["mistake_hops/all"] == pytest.approx(mean)
    assert found.measures["mistake_height/all"] == pytest.approx(mean / 2)


def test_predictions_are_the_votes_of_the_neighbours():
    found = evaluation.evaluate(embed_of(DATA), DATA, neighbors=(7, 4))
    train, rows = DATA.rows("train"), DATA.rows("test")
    for level, k in enumerate((7, 4)):
        knn = KNeighborsClassifier(k, metric="cosine", algorithm="brute")
        knn.fit(DATA.features[train], DATA.labels[train, level])
        np.testing.assert_array_equal(
            found.predictions[:, level], knn.predict(DATA.features[rows])
        )
        shares = knn.predict_proba(DATA.features[rows]).max(axis=1)
        np.testing.assert_allclose(found.confidence[:, level], shares)
        assert 0 < shares.min() < shares.max()
    distances, nearest = knn.kneighbors(DATA.features[rows], 1)
    np.testing.assert_array_equal(found.nearest, train[nearest[:, 0]])
    np.testing.assert_allclose(found.nearest_distance, distances[:, 0], atol=1e-6)


def test_no_known_neighbour_predicts_nothing():
    labels = DATA.labels.copy()
    labels[DATA.rows("train"), 1] = -1
    data = dataclasses.replace(DATA, labels=labels)
    found = evaluation.evaluate(embed_of(data), data, neighbors=(3, 3))
    assert (found.predictions[:, 1] == -1).all() and not found.confidence[:, 1].any()
    assert (found.predictions[:, 0] >= 0).all() and found.confidence[:, 0].all()


def test_neighbours_are_chosen_on_validation_only():
    chosen = evaluation.choose_neighbors(embed_of(DATA), DATA)
    labels = DATA.labels.copy()
    labels[DATA.rows("test")] = TREE.labels_of(np.zeros(35, np.int32))
    changed = dataclasses.replace(DATA, labels=labels)
    assert evaluation.choose_neighbors(embed_of(changed), changed) == chosen
    given = evaluation.evaluate(embed_of(DATA), DATA, neighbors=(3, 7))
    assert given.neighbors == (3, 7)
    for level, k in enumerate(given.neighbors):
        expected = sklearn_accuracies(DATA, "test", level, [k])[0]
        actual = given.per_query[f"knn/{NAMES[level]}"]
        np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_distances_other_than_cosine():
    found = evaluation.evaluate(
        embed_of(DATA), DATA, neighbors=(5, 5), distance="euclidean"
    )
    train, rows = DATA.rows("train"), DATA.rows("test")
    for level, name in enumerate(NAMES):
        for measure, model in (
            ("knn", KNeighborsClassifier(5)),
            ("nearest_mean", NearestCentroid()),
        ):
            model.fit(DATA.features[train], DATA.labels[train, level])
            queries, labels = DATA.features[rows], DATA.labels[rows, level]
            expected = (
                expected_right(model, queries, labels)
                if measure == "knn"
                else model.predict(queries) == labels
            )
            np.testing.assert_allclose(
                found.per_query[f"{measure}/{name}"], expected, rtol=1e-12
            )
    # Silhouettes are given for both whatever the distance.
    cosine = evaluation.evaluate(embed_of(DATA), DATA, neighbors=(5, 5))
    for name in ("silhouette/average", "silhouette_euclidean/average"):
        assert found.measures[name] == cosine.measures[name]


def test_another_split_may_be_the_queries():
    found = evaluation.evaluate(
        embed_of(DATA), DATA, split="validation", neighbors=(4, 4)
    )
    np.testing.assert_array_equal(found.rows, DATA.rows("validation"))
    expected = sklearn_accuracies(DATA, "validation", 0, [4])
    assert found.measures["knn/family"] == pytest.approx(expected.mean())
    without = make_data(splits={"train": np.arange(60)})
    with pytest.raises(UserError, match="no split 'test'; there are 'train'"):
        evaluation.evaluate(embed_of(without), without)


def test_without_validation_one_neighbour_votes():
    data = make_data(splits={k: v for k, v in SPLITS.items() if k != "validation"})
    found = evaluation.evaluate(embed_of(data), data)
    assert found.neighbors == (1, 1)
    expected = sklearn_accuracies(data, "test", 1, [1])
    assert found.measures["knn/instrument"] == pytest.approx(expected.mean())


def test_a_level_unknown_throughout_validation_has_no_votes():
    labels = DATA.labels.copy()
    labels[DATA.rows("validation"), 1] = -1
    data = dataclasses.replace(DATA, labels=labels)
    found = evaluation.evaluate(embed_of(data), data)
    expected = evaluation.evaluate(embed_of(DATA), DATA)
    assert found.neighbors == (expected.neighbors[0], 0)
    assert np.isnan(found.per_query["knn/instrument"]).all()
    undefined = ("knn/instrument", "mistake_hops/all")
    assert all(math.isnan(found.measures[name]) for name in undefined)
    assert found.measures["knn/average"] == found.measures["knn/family"]
    assert (found.predictions[:, 1] == -1).all() and not found.confidence[:, 1].any()
    for name in ("knn/family", "nearest_mean/instrument", "silhouette/average"):
        assert found.measures[name] == expected.measures[name]
    np.testing.assert_array_equal(found.nearest, expected.nearest)
    intervals = found.intervals(num_resamples=50)
    assert np.isnan(intervals["knn/instrument"]).all()
    # Nothing at all is known: only the nearest row is.
    labels[DATA.rows("validation")] = -1
    data = dataclasses.replace(DATA, labels=labels)
    found = evaluation.evaluate(embed_of(data), data)
    assert found.neighbors == (0, 0) and math.isnan(found.measures["knn/average"])
    np.testing.assert_array_equal(found.nearest, expected.nearest)


def test_no_more_neighbours_than_the_gallery_has():
    data = make_data(splits=SPLITS | {"train": np.arange(6)})
    found = evaluation.evaluate(embed_of(data), data, neighbors=(40, 2))
    assert found.neighbors == (6, 2)
    assert max(evaluation.choose_neighbors(embed_of(data), data)) <= 6


def test_classes_unseen_in_training():
    rng = np.random.default_rng(3)
    classes = np.where(np.arange(120) < 60, rng.integers(0, 4, 120), 4)
    classes[100:] = rng.integers(0, 4, 20)
    # The family is the louder part of every instrument.
    features = np.eye(5)[classes] + 3 * np.eye(5)[TREE.ancestors[classes, 0]]
    features += 0.2 * rng.normal(size=features.shape)
    data = make_data(classes, features=features)
    found = evaluation.evaluate(embed_of(data), data)
    unseen = classes[data.rows("test")] == 4
    assert unseen.any() and not unseen.all()
    for measure in ("knn", "nearest_mean"):
        fine = found.per_query[f"{measure}/instrument"]
        assert (fine[unseen] == 0).all() and (fine[~unseen] == 1).any()
        # Their family has been seen.
        assert found.per_query[f"{measure}/family"][unseen].mean() > 0.9


def test_unknown_labels_are_no_queries():
    labels = DATA.labels.copy()
    labels[90:100, 1] = -1
    labels[100:105] = -1
    data = dataclasses.replace(DATA, labels=labels)
    found = evaluation.evaluate(embed_of(data), data, neighbors=(3, 3))
    rows = data.rows("test")
    for measure in ("silhouette", "knn", "nearest_mean"):
        for level, name in enumerate(NAMES):
            values = found.per_query[f"{measure}/{name}"]
            np.testing.assert_array_equal(np.isnan(values), labels[rows, level] < 0)
            known = values[~np.isnan(values)]
            assert found.measures[f"{measure}/{name}"] == pytest.approx(known.mean())
        average = found.per_query[f"{measure}/average"]
        np.testing.assert_array_equal(np.isnan(average), labels[rows, 0] < 0)
        levels = [found.measures[f"{measure}/{name}"] for name in NAMES]
        assert found.measures[f"{measure}/average"] == pytest.approx(np.mean(levels))


def test_perfect_embeddings_have_ideal_values():
    classes = np.arange(120) % 5
    features = np.eye(5)[classes] + 3 * np.eye(5)[TREE.ancestors[classes, 0]]
    data = make_data(classes, features=features)
    measures = evaluation.evaluate(embed_of(data), data).measures
    for measure in ("knn", "nearest_mean"):
        for place in (*NAMES, "average"):
            assert measures[f"{measure}/{place}"] == 1
    assert measures["silhouette/instrument"] == pytest.approx(1, abs=1e-6)
    assert measures["silhouette_euclidean/instrument"] == pytest.approx(1, abs=1e-6)
    assert measures["silhouette/family"] > 0.5
    assert math.isnan(measures["mistake_hops/all"])


def test_validation_measures():
    quick = evaluation.validation_measures(embed_of(DATA), DATA, "silhouette/average")
    rows = DATA.rows("validation")
    expected = {
        name: silhouette_samples(
            DATA.features[rows], DATA.labels[rows, level], metric="cosine"
        ).mean()
        for level, name in enumerate(NAMES)
    }
    assert set(quick) == {f"silhouette/{p}" for p in (*NAMES, "average")}
    for name, value in expected.items():
        assert quick[f"silhouette/{name}"] == pytest.approx(value, abs=1e-5)
    assert quick["silhouette/average"] == pytest.approx(
        np.mean(list(expected.values())), abs=1e-5
    )
    full = evaluation.validation_measures(embed_of(DATA), DATA, "nn/family")
    assert quick.items() <= full.items()
    for level, name in enumerate(NAMES):
        accuracy = sklearn_accuracies(DATA, "validation", level, [1]).mean()
        assert full[f"nn/{name}"] == pytest.approx(accuracy)


def test_selections_are_named():
    for selection in ("nn/average", "nn/instrument", "silhouette/family"):
        assert evaluation.check_selection(selection, TREE) == selection
    with pytest.raises(UserError, match="'knn/family' is not one of silhouette/famil"):
        evaluation.check_selection("knn/family", TREE)


def test_intervals_resample_units():
    found = evaluation.evaluate(embed_of(DATA), DATA, neighbors=(3, 3))
    intervals = found.intervals(num_resamples=200)
    assert set(intervals) == set(found.per_query)
    for name, interval in intervals.items():
        assert interval.mean == pytest.approx(found.measures[name])
        assert interval.low < interval.mean < interval.high
    rows = dataclasses.replace(found, units=np.arange(len(found.rows)))
    by_row = rows.intervals(num_resamples=200)["knn/family"]
    assert by_row != intervals["knn/family"]
