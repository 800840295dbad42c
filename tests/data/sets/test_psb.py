import numpy as np
import pytest

from hierjax.data import psb
from hierjax.errors import UserError


def occupancy_by_hand(points):
    points = np.asarray(points, np.float64)
    points = points - points.mean(axis=0)
    points = points / max(np.linalg.norm(point) for point in points)
    grid = np.zeros((8, 8, 8))
    for point in points:
        cell = [min(int((x + 1) * 4), 7) for x in point]
        grid[tuple(cell)] += 1
    return np.sqrt(grid.ravel() / len(points))


def fake_file(folder):
    rng = np.random.default_rng(0)
    base = np.array([0, 0, 0, 1, 1, 2, 2, 3, 4, 4, 4, 3])
    arrays = {
        "points": rng.integers(-20000, 30000, size=(12, 50, 3)).astype(np.int16),
        "split": np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1], np.uint8),
        "base": base.astype(np.int16),
        "base_names": np.array(["ant", "sword", "city", "oak", "van"]),
        # The second class is put into another group once.
        "coarse1": np.array([0, 0, 0, 2, 1, 3, 3, 4, 5, 5, 5, 4]),
        "coarse1_names": np.array(["bug", "blade", "tool", "city", "tree", "car"]),
        "coarse2": np.array([1, 1, 1, 2, 2, 0, 0, 3, 4, 4, 4, 3]),
        "coarse2_names": np.array(["-1", "animal", "house", "plant", "vehicle"]),
        "coarse3": np.array([1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
        "coarse3_names": np.array(["manmade", "natural"]),
    }
    np.savez(folder / psb.FILE, **arrays)
    return arrays


def test_small_file(tmp_path):
    arrays = fake_file(tmp_path)
    dataset = psb.load(tmp_path)
    assert dataset.hierarchy.num_levels == 4
    assert dataset.hierarchy.paths[0] == ("natural", "animal", "bug", "ant")
    assert dataset.hierarchy.paths[2] == ("manmade", "city", "city")
    np.testing.assert_array_equal(dataset.labels[:, -1], arrays["base"])
    for row in range(12):
        np.testing.assert_allclose(
            dataset.features[row], occupancy_by_hand(arrays["points"][row]), atol=1e-6
        )
    points = psb.load(tmp_path, representation="points").features
    np.testing.assert_allclose(points.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(points, axis=2).max(axis=1), 1, atol=1e-6)
    # A fifth of the five training classes is one class, with all its training rows.
    validation = dataset.rows("validation")
    held_out = np.unique(arrays["base"][validation])
    assert len(held_out) == 1
    assert not np.isin(arrays["base"][dataset.rows("train")], held_out).any()
    np.testing.assert_array_equal(dataset.rows("test"), [8, 9, 11])


def test_points_protocol_is_the_official_split(tmp_path):
    fake_file(tmp_path)
    official, points = psb.load(tmp_path), psb.load(tmp_path, "points")
    assert official.features.shape == (12, 512)
    assert points.features.shape == (12, 50, 3)
    for split, rows in official.splits.items():
        np.testing.assert_array_equal(points.rows(split), rows)
    np.testing.assert_array_equal(points.units, official.units)
    assert points.unit_name == official.unit_name == "class"
    np.testing.assert_array_equal(points.labels, official.labels)
    grids = psb.load(tmp_path, "points", representation="grid")
    np.testing.assert_array_equal(grids.features, official.features)
    same = psb.load(tmp_path, representation="points")
    np.testing.assert_array_equal(same.features, points.features)


def test_within_class_split(tmp_path):
    arrays = fake_file(tmp_path)
    dataset = psb.load(tmp_path, "points_within")
    assert dataset.features.shape == (12, 50, 3)
    every = np.sort(np.concatenate(list(dataset.splits.values())))
    np.testing.assert_array_equal(every, range(12))
    # A class of four shapes is in all three parts.
    for rows in dataset.splits.values():
        assert 0 in arrays["base"][rows]
    assert dataset.unit_name == "shape"
    np.testing.assert_array_equal(dataset.units, range(12))
    again = psb.load(tmp_path, "within")
    assert again.features.shape == (12, 512)
    for split, rows in dataset.splits.items():
        np.testing.assert_array_equal(again.rows(split), rows)


def test_real_file(shared_data):
    dataset = psb.load(shared_data)
    assert dataset.features.shape == (1809, 512)
    np.testing.assert_allclose(np.linalg.norm(dataset.features, axis=1), 1, atol=1e-5)
    tree = dataset.hierarchy
    assert tree.num_classes == 161 and tree.num_levels == 4
    assert tree.nodes_per_level[0] == 2
    assert set(tree.depths.tolist()) == {3, 4}
    rows = {split: len(rows) for split, rows in dataset.splits.items()}
    assert rows["train"] + rows["validation"] == 904 and rows["test"] == 905
    of = {
        split: set(dataset.units[rows].tolist())
        for split, rows in dataset.splits.items()
    }
    assert not of["train"] & of["validation"]
    assert len(of["validation"]) == round(0.2 * len(of["train"] | of["validation"]))
    assert len((of["train"] | of["validation"]) & of["test"]) == 21


def test_real_file_within_classes(shared_data):
    dataset = psb.load(shared_data, "points_within")
    sizes = {split: len(rows) for split, rows in dataset.splits.items()}
    assert sizes == {"train": 1085, "validation": 362, "test": 362}
    of_class = {
        split: np.bincount(dataset.labels[rows, -1], minlength=161)
        for split, rows in dataset.splits.items()
    }
    total = sum(of_class.values())
    for split, share in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
        assert of_class[split].min() >= 1
        assert abs(of_class[split] - share * total).max() < 2


def test_errors(tmp_path):
    with pytest.raises(UserError, match="psb_points1024.npz there.*princeton"):
        psb.load(tmp_path)
    with pytest.raises(UserError, match="'grid' or 'points', got 'mesh'"):
        psb.load(tmp_path, representation="mesh")
    with pytest.raises(UserError, match="one of official, points, .*, got 'grid'"):
        psb.load(tmp_path, "grid")
