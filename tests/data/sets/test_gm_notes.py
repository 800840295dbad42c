import importlib.resources

import numpy as np
import pytest

from hierjax.data import gm_notes
from hierjax.errors import UserError

FOLDS = range(gm_notes.NUM_FOLDS)


def test_arrays():
    dataset = gm_notes.load()
    assert dataset.features.shape == (1530, 24, 32)
    assert dataset.features.dtype == np.float32
    assert 0 == dataset.features.min() < 0.9 < dataset.features.max() <= 1
    assert dataset.hierarchy.nodes_per_level == (16, 128)
    assert dataset.hierarchy.level_names == ("family", "instrument")
    assert dataset.hierarchy.paths[56] == ("Brass", "Trumpet")
    np.testing.assert_array_equal(dataset.units, dataset.labels[:, -1])
    assert dataset.unit_name == "instrument"


def test_seen_splits_share_no_pitch():
    dataset = gm_notes.load("seen")
    pitches = {
        split: set(gm_notes.pitches()[rows].tolist())
        for split, rows in dataset.splits.items()
    }
    assert pitches == {"train": {46, 55, 72}, "validation": {60}, "test": {51, 67}}
    assert sum(map(len, dataset.splits.values())) == 1530
    for split, instruments in (("train", 128), ("validation", 127), ("test", 128)):
        assert len(np.unique(dataset.units[dataset.rows(split)])) == instruments


def test_unseen_folds_test_every_instrument_once():
    tested = []
    for fold in FOLDS:
        dataset = gm_notes.load("unseen", fold)
        of = {
            split: np.unique(dataset.units[rows])
            for split, rows in dataset.splits.items()
        }
        assert sum(map(len, dataset.splits.values())) == 1530
        for split, per_family in (("train", 5), ("validation", 1), ("test", 2)):
            np.testing.assert_array_equal(
                np.bincount(of[split] // 8), np.full(16, per_family)
            )
        assert not set(of["train"]) & set(of["test"])
        assert not set(of["validation"]) & (set(of["train"]) | set(of["test"]))
        tested += of["test"].tolist()
    assert sorted(tested) == list(range(128))


def test_partition_is_fixed():
    partition = gm_notes.instrument_partition()
    assert np.sort(partition, axis=1).tolist() == np.arange(128).reshape(16, 8).tolist()
    assert partition[0].tolist() == PARTITION_OF_PIANO
    test = gm_notes.load("unseen", 3)
    assert set(partition[0, 6:]) <= set(test.units[test.rows("test")])
    assert partition[0, 0] in test.units[test.rows("validation")]


PARTITION_OF_PIANO = [2, 4, 3, 6, 5, 0, 1, 7]


def nearest(dataset, gallery, query):
    flat = dataset.features.reshape(len(dataset.features), -1).astype(np.float64)
    a, b = flat[query], flat[gallery]
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return gallery[squared.argmin(axis=1)]


def test_raw_accuracy_in_the_docstring():
    seen = gm_notes.load()
    query = seen.rows("test")
    match = nearest(seen, seen.rows("train"), query)
    accuracy = (seen.labels[match] == seen.labels[query]).mean(axis=0)
    np.testing.assert_allclose(accuracy, [0.537, 0.461], atol=0.001)
    assert ".461 / .406, family .537" in gm_notes.load.__doc__

    families = []
    for fold in FOLDS:
        unseen = gm_notes.load("unseen", fold)
        query = unseen.rows("test")
        gallery = np.concatenate([unseen.rows("train"), unseen.rows("validation")])
        match = nearest(unseen, gallery, query)
        families.append((unseen.labels[match, 0] == unseen.labels[query, 0]).mean())
    assert np.mean(families) == pytest.approx(0.414, abs=0.001)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("seen", 1), "'seen' has only fold 0, got 1"),
        (("unseen", 4), "folds 0 to 3, got 4"),
        (("unseen", -1), "folds 0 to 3, got -1"),
        (("both",), "must be 'seen' or 'unseen', got 'both'"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(UserError, match=message):
        gm_notes.load(*arguments)


def test_licence_is_shipped():
    files = importlib.resources.files("hierjax.data.sets") / "files"
    text = (files / "ATTRIBUTION.md").read_text("utf-8")
    assert "Frank Wen" in text and "MIT license" in text
