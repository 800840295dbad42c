import numpy as np
import pytest

from hierjax.data import tut2016
from hierjax.errors import UserError


def of_split(dataset, values):
    return {split: set(values[rows].tolist()) for split, rows in dataset.splits.items()}


def fake_file(folder, **changes):
    """Nine scenes in three groups, four locations a scene, two clips a location."""
    scene = np.repeat(np.arange(9), 8)
    arrays = {
        "embeddings": np.random.default_rng(0).normal(size=(72, 128)),
        "scene": scene.astype(np.uint8),
        "group": (scene % 3).astype(np.uint8),
        "split": (np.arange(72) % 3).astype(np.uint8),
        "location": np.array([f"p{i // 2:02}" for i in range(72)]),
        "scene_names": np.array([f"scene {i}" for i in range(9)]),
        "group_names": np.array(["IN", "OUT", "ON"]),
    } | changes
    folder.mkdir(exist_ok=True)
    np.savez(folder / tut2016.FILE, **arrays)
    return arrays


def check_location_folds(load, scenes):
    tested = []
    for fold in range(5):
        dataset = load("location", fold)
        locations = of_split(dataset, dataset.units)
        assert not locations["train"] & (locations["validation"] | locations["test"])
        assert not locations["validation"] & locations["test"]
        for split, seen in of_split(dataset, dataset.labels[:, -1]).items():
            assert len(seen) == scenes, split
        tested += dataset.rows("test").tolist()
    assert sorted(tested) == list(range(len(dataset.features)))


def check_unseen_folds(load):
    tested = []
    for fold in range(3):
        dataset = load("unseen", fold)
        scenes = of_split(dataset, dataset.labels[:, -1])
        groups = of_split(dataset, dataset.labels[:, 0])
        assert not scenes["train"] & (scenes["validation"] | scenes["test"])
        assert not scenes["validation"] & scenes["test"]
        for split in dataset.splits:
            assert len(scenes[split]) == 3 and groups[split] == {0, 1, 2}
        tested += scenes["test"]
    assert sorted(tested) == list(range(9))


def test_folds_of_a_small_file(tmp_path):
    arrays = fake_file(tmp_path, location=np.array([f"p{i:02}" for i in range(72)]))

    def load(protocol, fold=0):
        return tut2016.load(tmp_path, protocol, fold)

    check_location_folds(load, scenes=9)
    check_unseen_folds(load)
    dataset = load("authors")
    for number, split in enumerate(("train", "validation", "test")):
        np.testing.assert_array_equal(
            dataset.rows(split), np.flatnonzero(arrays["split"] == number)
        )
    assert dataset.hierarchy.paths[5] == ("ON", "scene 5")
    np.testing.assert_array_equal(dataset.labels[:, -1], arrays["scene"])


def test_real_file(shared_data):
    def load(protocol, fold=0):
        return tut2016.load(shared_data, protocol, fold)

    authors = load("authors")
    assert [len(rows) for rows in authors.splits.values()] == [480, 192, 30]
    assert authors.features.shape == (702, 128)
    assert authors.hierarchy.node_names(0) == ("INDOOR", "OUTDOOR", "VEHICLE")
    assert authors.unit_name == "clip" and len(np.unique(authors.units)) == 702
    assert load("unseen").unit_name == "scene"
    by_location = load("location")
    assert len(np.unique(by_location.units)) == 107
    locations = {s: set(by_location.units[authors.rows(s)]) for s in authors.splits}
    assert locations["validation"] | locations["test"] <= locations["train"]
    check_location_folds(load, scenes=9)
    check_unseen_folds(load)
    again = load("location", 2)
    assert again.rows("test").tolist() == load("location", 2).rows("test").tolist()


def test_file_may_lie_in_a_folder(tmp_path):
    fake_file(tmp_path / "tut2016_vggish")
    assert tut2016.load(tmp_path).features.shape == (72, 128)


def test_errors(tmp_path):
    with pytest.raises(UserError, match="tut2016_vggish.npz there, made from.*github"):
        tut2016.load(tmp_path)
    arrays = fake_file(tmp_path)
    with pytest.raises(UserError, match="'authors', 'location', 'unseen', got 'x'"):
        tut2016.load(tmp_path, "x")
    for protocol, folds in (("authors", 1), ("location", 5), ("unseen", 3)):
        with pytest.raises(UserError, match=f"folds 0 to {folds - 1}, got {folds}"):
            tut2016.load(tmp_path, protocol, folds)
    del arrays["location"]
    np.savez(tmp_path / tut2016.FILE, **arrays)
    with pytest.raises(UserError, match="npz: array 'location' is missing; needed"):
        tut2016.load(tmp_path)
