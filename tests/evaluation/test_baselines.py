"""The input beside which a run is measured: its components, and who tells nodes."""

import warnings

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from hierjax import Hierarchy, evaluation
from hierjax.data import Dataset
from hierjax.evaluation import baselines

TREE = Hierarchy.from_paths([("a", "b"), ("a", "c"), ("d", "e")])


def make_data(number=120, dim=5, noise=0.6, *, validation=True, features=None):
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 3, number)
    if features is None:
        features = rng.normal(size=(3, dim))[classes]
        features = features + noise * rng.normal(size=(number, dim))
    ends = [number // 2, 3 * number // 4]
    train, held, test = np.split(np.arange(number), ends)
    splits = {"train": train, "validation": held, "test": test}
    if not validation:
        del splits["validation"]
    labels = TREE.labels_of(classes).copy()
    return Dataset("toy", features, labels, TREE, splits)


def test_components_are_standardised_and_keep_the_distances():
    data = make_data(dim=4)
    scaled = data.features * np.array([1, 10, 100, 0.1]) + 7
    other = make_data(features=scaled)
    vectors, same = map(evaluation.principal_inputs, (data, other))
    assert vectors.shape == (120, 4) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.abs(vectors), np.abs(same), atol=1e-3)
    train = data.features[:60]
    standard = (data.features - train.mean(0)) / train.std(0)
    gaps = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (standard, vectors)]
    ratio = gaps[1][~np.eye(120, dtype=bool)] / gaps[0][~np.eye(120, dtype=bool)]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
    assert np.isclose(vectors[:60].var(), 1, atol=1e-3)


def test_large_images_are_shrunk_by_averaging():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (120, 32, 33, 3)).astype(np.uint8)
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    large = np.concatenate([large, large[:, :, :1]], axis=2)  # A last odd column.
    found = [evaluation.principal_inputs(make_data(features=x)) for x in (small, large)]
    assert found[0].shape == (120, 60)
    np.testing.assert_allclose(*map(np.abs, found), atol=2e-2)


def test_points_are_not_averaged_over_their_order():
    cloud = np.random.default_rng(0).normal(size=(120, 100, 3))
    flat = make_data(features=cloud.reshape(120, 300))
    np.testing.assert_array_equal(
        evaluation.principal_inputs(make_data(features=cloud)),
        evaluation.principal_inputs(flat),
    )


def test_constant_inputs_are_zero_and_still_measured():
    data = make_data(features=np.full((120, 3), 4.0))
    vectors = evaluation.principal_inputs(data)
    assert not vectors.any()
    found = evaluation.linear_baseline(vectors, data)
    guess = evaluation.most_frequent(data)
    assert found.measures == {f"linear/{k}": pytest.approx(v) for k, v in guess.items()}


def test_discriminant_equals_that_of_scikit_learn():
    data = make_data()
    ids = data.labels[:60, -1]
    weights, biases = baselines._discriminant(data.features[:60], ids, 3, 0.3)
    # Theirs divides by N; ours without bias, by N - C.
    theirs = LinearDiscriminantAnalysis(
        solver="lsqr",
        covariance_estimator=_Shrunken(0.3, len(ids), 3),
    ).fit(data.features[:60], ids)
    expected = theirs.decision_function(data.features[60:])
    actual = data.features[60:] @ weights.T + biases
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


class _Shrunken:
    """Pooled covariance, shrunken after pooling: classes have their own means."""

    def __init__(self, shrinkage, number, classes):
        self.shrinkage, self.factor = shrinkage, number / (number - classes)

    def fit(self, rows):
        scatter = np.cov(rows.T, bias=True) * self.factor
        spread = np.trace(scatter) / len(scatter) * np.eye(len(scatter))
        self.covariance_ = (1 - self.shrinkage) * scatter + self.shrinkage * spread


def test_every_level_on_the_rows_that_are_known_there():
    data = make_data()
    data.labels[[95, 100], 1] = -1
    data.labels[110] = -1
    vectors = evaluation.principal_inputs(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluation.linear_baseline(vectors, data)
    counts = [np.isfinite(v).sum() for v in found.per_query.values()]
    assert counts == [29, 27] and list(found.per_query) == [
        "linear/level_0",
        "linear/level_1",
    ]
    for name, values in found.per_query.items():
        assert found.measures[name] == np.nanmean(values) > 0.6


def test_too_many_nodes_are_left_to_the_discriminants(monkeypatch):
    data = make_data()
    vectors = evaluation.principal_inputs(data)

    def kinds(product):
        monkeypatch.setattr(baselines, "_MAX_PRODUCT", product)
        fits = baselines._classifiers(vectors[:60], data.labels[:60, -1], 3)
        return [kind for kind, _ in fits]

    # 5 components of 3 nodes: 14 rows are too few, 15 are five a node.
    assert kinds(14 * 15) == ["LDA"] * 2
    assert kinds(15 * 15) == ["LDA"] * 2 + ["logistic regression"] * 2


def test_levels_that_training_does_not_tell():
    data = make_data()
    nothing = data.train_labels.copy()
    nothing[:, 1] = -1
    nothing[data.labels[:, 0] == 1] = -1
    data = Dataset(
        "toy", data.features, data.labels, TREE, data.splits, train_labels=nothing
    )
    found = evaluation.linear_baseline(data.features, data)
    assert found.chosen == {"level_0": "one node", "level_1": ""}
    assert np.isnan(found.measures["linear/level_1"])
    share = np.mean(data.labels[data.rows("test"), 0] == 0)
    assert found.measures["linear/level_0"] == share


def test_the_form_with_the_better_neighbours_is_chosen():
    data = make_data(noise=0.3)
    noise = np.random.default_rng(0).normal(size=(120, 5))
    forms = {"bad": noise.__getitem__, "good": data.features.__getitem__}
    assert evaluation.choose_input(forms, data) == "good"
    assert evaluation.choose_input(forms, make_data(validation=False)) == "bad"
    alike = {"first": data.features.__getitem__, "second": data.features.__getitem__}
    assert evaluation.choose_input(alike, data) == "first"
