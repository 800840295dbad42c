import importlib.resources

import numpy as np
import pytest

from hierjax.data import omniglot
from hierjax.errors import UserError

ALPHABETS = (
    *("Balinese", "Early Aramaic", "Greek", "Japanese (katakana)"),
    *("Korean", "Latin", "Sanskrit", "Tagalog"),
)


def drawers(dataset, rows):
    return {int(name.rpartition(" ")[2]) for name in dataset.row_names[rows]}


def test_every_character_is_there_by_twenty_people():
    dataset = omniglot.load()
    assert dataset.features.shape == (4840, 52, 52)
    assert dataset.features.dtype == np.uint8
    tree = dataset.hierarchy
    assert tree.node_names(0) == ALPHABETS
    assert tree.nodes_per_level == (8, 242)
    assert tree.paths[24] == ("Early Aramaic", "Early Aramaic 01")
    np.testing.assert_array_equal(np.bincount(dataset.labels[:, 1]), 20)
    assert len(set(dataset.row_names)) == 4840
    assert dataset.row_names[25] == "Balinese 02, drawer 6"


def test_drawers_are_apart():
    dataset = omniglot.load()
    of = {split: drawers(dataset, rows) for split, rows in dataset.splits.items()}
    assert of == {split: set(who) for split, who in omniglot.DRAWERS.items()}
    assert sum(map(len, dataset.splits.values())) == 4840
    for split, each in (("train", 12), ("validation", 4), ("test", 4)):
        counts = np.bincount(dataset.labels[dataset.rows(split), 1])
        np.testing.assert_array_equal(counts, each)
    # A person of one alphabet is a unit of their own.
    assert len(np.unique(dataset.units)) == 8 * 20
    assert len(np.unique(dataset.units[dataset.rows("test")])) == 8 * 4


@pytest.mark.parametrize("fold", [0, 7])
def test_a_hidden_alphabet_is_in_the_gallery_and_asked_for_apart(fold):
    dataset = omniglot.load("alphabets", fold)
    of = {split: set(dataset.labels[rows, 0]) for split, rows in dataset.splits.items()}
    seen = set(range(8)) - {fold}
    assert of == {
        "train": seen | {fold},
        "validation": seen,
        "test": seen,
        "unseen": {fold},
    }
    assert drawers(dataset, dataset.rows("unseen")) == set(omniglot.DRAWERS["test"])
    is_hidden = dataset.labels[:, 0] == fold
    assert (dataset.train_labels[is_hidden] == -1).all()
    np.testing.assert_array_equal(
        dataset.train_labels[~is_hidden], dataset.labels[~is_hidden]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("drawers", 1), "'drawers' has only fold 0, got 1"),
        (("characters", 5), "folds 0 to 4, got 5"),
        (("alphabets", 8), "folds 0 to 7, got 8"),
        (("alphabets", -1), "folds 0 to 7, got -1"),
        (("seen",), "one of drawers, characters, alphabets, got 'seen'"),
        (("drawers", 0, 28), "image_size must be one of 52, 26, 13, .* got 28"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(UserError, match=message):
        omniglot.load(*arguments)


def test_licence_is_shipped():
    files = importlib.resources.files("hierjax.data.sets") / "files"
    text = (files / "ATTRIBUTION.md").read_text("utf-8")
    assert "Copyright (c) 2015 Brenden Lake" in text and "omniglot_small.npz" in text
