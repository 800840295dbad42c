import dataclasses

import numpy as np
import pytest
from sklearn import decomposition

from hierjax.data import Dataset, digits, transforms
from hierjax.errors import UserError
from hierjax.hierarchy import Hierarchy

TREE = Hierarchy.from_paths(
    [("a", "b", "c"), ("a", "b", "d"), ("a", "e", "f"), ("g", "h", "i"), ("g", "j")]
)


@pytest.fixture
def toy():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 2, 3)) * [[1, 5, 0.1]] + 3
    features[:28, 1, 1] = 0.1  # constant over the training rows
    return Dataset(
        name="toy",
        features=features,
        labels=TREE.labels_of(np.arange(40) % 5),
        hierarchy=TREE,
        splits={
            "train": np.arange(28),
            "validation": np.arange(35, 40),
            "test": np.arange(28, 35),
        },
        units=np.arange(40) // 2,
    )


def assert_same_but(before, after, *changed):
    for field in ("name", "features", "labels", "units", "unit_name", "train_labels"):
        if field not in changed:
            np.testing.assert_array_equal(getattr(before, field), getattr(after, field))
    if "hierarchy" not in changed:
        assert before.hierarchy == after.hierarchy
    if "splits" not in changed:
        assert before.splits.keys() == after.splits.keys()
        for split, rows in before.splits.items():
            np.testing.assert_array_equal(rows, after.splits[split])


def test_standardize_uses_training_rows_only(toy):
    done = transforms.standardize(toy)
    assert_same_but(toy, done, "features")
    train = done.features[:28].reshape(28, -1)
    spread = np.delete(train, 4, axis=1)
    np.testing.assert_allclose(spread.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(spread.std(axis=0), 1, atol=1e-5)
    assert (done.features[:, 1, 1] == 0).all()
    for row, i, j in ((5, 0, 1), (33, 1, 2)):
        column = [float(toy.features[r, i, j]) for r in range(28)]
        mean = sum(column) / 28
        std = (sum((x - mean) ** 2 for x in column) / 28) ** 0.5
        assert done.features[row, i, j] == pytest.approx(
            (toy.features[row, i, j] - mean) / std, abs=1e-4
        )


@pytest.mark.parametrize(
    "change",
    [
        transforms.standardize,
        lambda dataset: transforms.pca(dataset, 3),
        lambda dataset: transforms.add_noise(dataset, 0.5, seed=1),
    ],
)
def test_bytes_are_changed_as_the_floats_they_stand_for(toy, change):
    images = np.random.default_rng(1).integers(0, 256, (40, 2, 3), dtype=np.uint8)
    sizes = np.arange(1, 81).reshape(40, 2)
    as_bytes = dataclasses.replace(toy, features=images, sizes=sizes)
    as_floats = dataclasses.replace(toy, features=images / np.float32(255))
    done = change(as_bytes)
    assert_same_but(as_bytes, done, "features")
    assert done.features.dtype == np.float32
    np.testing.assert_array_equal(done.features, change(as_floats).features)
    np.testing.assert_array_equal(done.sizes, sizes)


def test_keeping_a_part_of_the_training_rows(toy):
    first = transforms.keep_train(toy, 9, seed=0)
    assert_same_but(toy, first, "splits")
    assert set(first.splits) == set(toy.splits)
    for split in ("validation", "test"):
        np.testing.assert_array_equal(first.rows(split), toy.rows(split))
    kept = first.rows("train").tolist()
    assert len(kept) == 9 and kept == sorted(set(kept)) and set(kept) <= set(range(28))
    assert kept == transforms.keep_train(toy, 9, seed=0).rows("train").tolist()
    assert transforms.keep_train(toy, 28, seed=3).rows("train").tolist() == [*range(28)]
    times = np.zeros(28)
    for seed in range(400):
        times[transforms.keep_train(toy, 7, seed).rows("train")] += 1
    # A quarter of the draws each, within 5 standard deviations.
    assert abs(times - 100).max() < 5 * (400 * 0.25 * 0.75) ** 0.5
    for count in (0, 29):
        with pytest.raises(UserError, match=f"toy: there are 28 .* got {count}"):
            transforms.keep_train(toy, count, seed=0)


def test_refit(toy):
    done = transforms.refit(toy)
    assert_same_but(toy, done, "splits")
    assert set(done.splits) == {"train", "test"}
    assert done.rows("train").tolist() == [*range(28), *range(35, 40)]
    with pytest.raises(UserError, match="no split 'validation'"):
        transforms.refit(done)


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 0.7, 1.0])
def test_hidden_share_is_exact(fraction):
    dataset = digits.load()
    done = transforms.hide_fine_labels(dataset, fraction, seed=3)
    assert_same_but(dataset, done, "train_labels")
    np.testing.assert_array_equal(done.train_labels[:, 0], dataset.labels[:, 0])
    train = dataset.rows("train")
    hidden = done.train_labels[:, -1] == -1
    assert not np.delete(hidden, train).any()
    assert abs(hidden[train].sum() - fraction * len(train)) <= 1
    for digit in range(10):
        rows = train[dataset.labels[train, -1] == digit]
        assert abs(hidden[rows].sum() - fraction * len(rows)) <= 1


def test_hiding_is_random_seeded_and_last_level_only(toy):
    first = transforms.hide_fine_labels(toy, 0.5, seed=0)
    again = transforms.hide_fine_labels(toy, 0.5, seed=0)
    other = transforms.hide_fine_labels(toy, 0.5, seed=1)
    np.testing.assert_array_equal(first.train_labels, again.train_labels)
    assert (first.train_labels != other.train_labels).any()
    np.testing.assert_array_equal(first.train_labels[:, :2], toy.labels[:, :2])
    np.testing.assert_array_equal(toy.train_labels, toy.labels)
    with pytest.raises(UserError, match="from 0 to 1, got 1.5"):
        transforms.hide_fine_labels(toy, 1.5, seed=0)
    with pytest.raises(UserError, match="got nan"):
        transforms.hide_fine_labels(toy, float("nan"), seed=0)


def test_drop_incomplete(toy):
    hidden = transforms.hide_fine_labels(toy, 0.5, seed=0)
    done = transforms.drop_incomplete(hidden)
    assert_same_but(hidden, done, "train_labels")
    kept = hidden.train_labels[:, -1] >= 0
    assert 13 <= kept[:28].sum() <= 15
    np.testing.assert_array_equal(done.train_labels[kept], toy.train_labels[kept])
    assert (done.train_labels[~kept] == -1).all()
    with pytest.raises(UserError, match="no training row is labelled at every level"):
        transforms.drop_incomplete(transforms.coarse_only(toy))


def test_coarse_only_shows_the_labels_of_the_coarsened_tree(toy):
    done = transforms.coarse_only(toy)
    assert_same_but(toy, done, "train_labels")
    assert (done.train_labels[:, -1] == -1).all()
    coarse = TREE.coarsen([0, 1])
    np.testing.assert_array_equal(
        done.train_labels[:, :-1], coarse.labels_of(done.train_labels[:, 1])
    )
    flat = Dataset("flat", np.ones((2, 1)), [[0], [1]],
                   Hierarchy.from_paths([("x",), ("y",)]), {"train": [0]})  # fmt: skip
    with pytest.raises(UserError, match="flat: a tree of one level"):
        transforms.coarse_only(flat)


def test_pca_is_fit_on_the_training_rows(toy):
    done = transforms.pca(toy, 4)
    assert_same_but(toy, done, "features")
    assert done.features.shape == (40, 4)
    flat = toy.features.reshape(40, -1).astype(np.float64)
    centred = flat - flat[:28].mean(axis=0)
    _, _, axes = np.linalg.svd(centred[:28], full_matrices=False)
    np.testing.assert_allclose(
        np.abs(done.features), np.abs(centred @ axes[:4].T), atol=1e-4
    )
    spread = done.features[:28].std(axis=0)
    assert (np.diff(spread) < 0).all() and spread[0] > 3  # not whitened
    np.testing.assert_array_equal(done.features, transforms.pca(toy, 4).features)
    assert decomposition.PCA().whiten is False
    for dims in (0, 7):
        with pytest.raises(UserError, match=f"keeps 1 to 6 dimensions, got {dims}"):
            transforms.pca(toy, dims)


def test_noise_has_the_asked_for_size_in_every_split(toy):
    big = Dataset(
        name="big",
        features=np.random.default_rng(0).normal(size=(4000, 3)) * [1, 10, 0],
        labels=TREE.labels_of(np.zeros(4000, int)),
        hierarchy=TREE,
        splits={"train": np.arange(2000), "test": np.arange(2000, 4000)},
    )
    done = transforms.add_noise(big, 0.5, seed=1)
    assert_same_but(big, done, "features")
    for rows in big.splits.values():
        noise = (done.features - big.features)[rows]
        np.testing.assert_allclose(noise.std(axis=0), [0.5, 5, 0], rtol=0.1)
        np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.4)
    np.testing.assert_array_equal(
        done.features, transforms.add_noise(big, 0.5, seed=1).features
    )
    assert (transforms.add_noise(big, 0.5, seed=2).features != done.features).any()
    np.testing.assert_array_equal(
        transforms.add_noise(toy, 0, seed=1).features, toy.features
    )
    for ratio in (-1, np.nan, np.inf):
        with pytest.raises(UserError, match="noise ratio must be 0 or more"):
            transforms.add_noise(toy, ratio, seed=0)


def test_shuffled_tree_keeps_classes_and_what_is_hidden(toy):
    hidden = transforms.hide_fine_labels(toy, 0.5, seed=0)
    moved = []
    for seed in range(5):
        done = transforms.shuffle_hierarchy(hidden, seed)
        assert_same_but(hidden, done, "labels", "train_labels", "hierarchy")
        assert done.hierarchy == TREE.shuffled(seed)
        np.testing.assert_array_equal(done.labels[:, -1], toy.labels[:, -1])
        np.testing.assert_array_equal(
            done.labels, done.hierarchy.ancestors[toy.labels[:, -1]]
        )
        for row in range(40):
            if hidden.train_labels[row, -1] == -1:
                expected = [*done.labels[row, :-1], -1]
            else:
                expected = done.labels[row]
            np.testing.assert_array_equal(done.train_labels[row], expected)
        moved.append((done.labels != toy.labels).any())
    assert any(moved)


def test_shuffling_forgets_rows_without_a_class(toy):
    labels = toy.labels.copy()
    labels[3, -1] = -1
    part = dataclasses.replace(toy, labels=labels, train_labels=labels)
    done = transforms.shuffle_hierarchy(part, 0)
    assert done.labels[3].tolist() == done.train_labels[3].tolist() == [-1, -1, -1]
