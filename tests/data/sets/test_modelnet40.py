import sys

import numpy as np
import pytest
from PIL import Image

from hierjax.data import modelnet40
from hierjax.data.sets import modelnet40_groups
from hierjax.errors import MissingDataError, UserError

h5py = pytest.importorskip("h5py")

CLASSES = ("airplane", "car", "night_stand")
NUM_VIEWS = 3
TETRAHEDRON = """OFF
4 4 6
0 0 0
3 0 0
0 2 0
0 0 1
3 0 1 2
3 0 1 3
3 0 2 3
3 1 2 3
"""


def grey_of(class_number, model, view):
    return class_number * 80 + model * 5 + view


def write_views(folder, num_train=10, num_test=2, ending="png"):
    for number, name in enumerate(CLASSES):
        for model in range(1, num_train + num_test + 1):
            part = "train" if model <= num_train else "test"
            place = folder / modelnet40.VIEWS / name / part
            place.mkdir(parents=True, exist_ok=True)
            for view in range(1, NUM_VIEWS + 1):
                grey = grey_of(number, model, view)
                # PNG whatever the ending: a grey stays what it is.
                Image.new("L", (30, 20), grey).save(
                    place / f"{name}_{model:04d}_{view:03d}.{ending}", "PNG"
                )


def write_meshes(folder, num_train=10, num_test=2):
    for name in CLASSES:
        for model in range(1, num_train + num_test + 1):
            part = "train" if model <= num_train else "test"
            place = folder / modelnet40.MESHES / name / part
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{name}_{model:04d}.off").write_text(TETRAHEDRON)


def write_hdf5(folder, sizes=None):
    """Files whose labels count lines of a list in another order than ours."""
    place = folder / modelnet40.POINTS
    place.mkdir(parents=True)
    (place / "shape_names.txt").write_text("\n".join(CLASSES[::-1]) + "\n")
    rng = np.random.default_rng(0)
    arrays = {}
    for name, size in (sizes or {"train0": 20, "train1": 13, "test0": 7}).items():
        points = rng.normal(3.0, 1.0, (size, 2048, 3)).astype(np.float32)
        labels = (np.arange(size) % 3).astype(np.uint8)
        with h5py.File(place / f"ply_data_{name}.h5", "w") as file:
            file["data"], file["label"] = points, labels[:, None]
        arrays[name] = points, labels
    return arrays


def check_splits(dataset, num_models, num_validation):
    """No model in two splits; of every class a tenth of models for validation."""
    splits = {
        split: set(dataset.units[rows].tolist())
        for split, rows in dataset.splits.items()
    }
    assert sum(map(len, splits.values())) == num_models
    assert len(set().union(*splits.values())) == num_models
    assert len(splits["validation"]) == num_validation


def test_the_tree_has_the_official_classes():
    tree = modelnet40_groups.hierarchy()
    assert tree.nodes_per_level == (11, 40)
    assert tree.level_names == ("group", "class")
    assert tree.class_names == tuple(sorted(tree.class_names))
    # As in shape_names.txt of the published files.
    official = """airplane bathtub bed bench bookshelf bottle bowl car chair cone cup
      curtain desk door dresser flower_pot glass_box guitar keyboard lamp laptop mantel
      monitor night_stand person piano plant radio range_hood sink sofa stairs stool
      table tent toilet tv_stand vase wardrobe xbox"""
    assert tree.class_names == tuple(official.split())
    assert min(np.bincount(tree.ancestors[:, 0])) >= 2


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_views(tmp_path, ending):
    write_views(tmp_path, ending=ending)
    (tmp_path / modelnet40.VIEWS / "readme.txt").write_text("not a class")
    (tmp_path / modelnet40.VIEWS / "car" / "train" / "notes.txt").write_text("")
    dataset = modelnet40.load(tmp_path)
    assert dataset.features.shape == (3 * 12 * NUM_VIEWS, 64, 64, 3)
    assert dataset.features.dtype == np.uint8 and dataset.unit_name == "model"
    assert dataset.hierarchy.num_classes == 40
    class_names = dataset.hierarchy.class_names
    test = np.zeros(len(dataset.features), bool)
    test[dataset.rows("test")] = True
    seen = {}
    for row, image in enumerate(dataset.features):
        grey = image[0, 0, 0]
        assert (image == grey).all()
        number, rest = divmod(int(grey), 80)
        model, view = divmod(rest, 5)
        assert class_names[dataset.labels[row, -1]] == CLASSES[number]
        assert test[row] == (model > 10)
        seen.setdefault((number, model), set()).add((int(dataset.units[row]), view))
    assert len(seen) == 36
    units = set()
    for views in seen.values():
        assert sorted(view for _, view in views) == [1, 2, 3]
        (unit,) = {unit for unit, _ in views}
        units.add(unit)
    assert len(units) == 36
    check_splits(dataset, 36, 3)
    validation = dataset.labels[dataset.rows("validation"), -1]
    assert sorted(validation.tolist()) == sorted(
        NUM_VIEWS * [class_names.index(name) for name in CLASSES]
    )


def test_size_of_views_and_place_of_the_folder(tmp_path):
    write_views(tmp_path / "modelnet40", num_train=2, num_test=0)
    dataset = modelnet40.load(tmp_path, "views,16")
    assert dataset.features.shape == (3 * 2 * NUM_VIEWS, 16, 16, 3)
    # Too few for a tenth, and no test part.
    assert list(dataset.splits) == ["train"]


def test_meshes(tmp_path):
    write_meshes(tmp_path)
    dataset = modelnet40.load(tmp_path, "points")
    assert dataset.features.shape == (36, 1024, 3)
    assert dataset.features.dtype == np.float32
    check_unit_points(dataset.features)
    check_splits(dataset, 36, 3)
    names = [dataset.hierarchy.class_names[label] for label in dataset.labels[::12, -1]]
    assert tuple(names) == CLASSES
    # Equal meshes of other names are sampled elsewhere, the same one always alike.
    assert len({points.tobytes() for points in dataset.features}) == 36
    again = modelnet40.load(tmp_path, "points")
    np.testing.assert_array_equal(again.features, dataset.features)
    # One file less leaves the others as they were.
    (tmp_path / modelnet40.MESHES / "airplane" / "train" / "airplane_0001.off").unlink()
    fewer = modelnet40.load(tmp_path, "points")
    np.testing.assert_array_equal(fewer.features, dataset.features[1:])


def check_unit_points(points):
    np.testing.assert_allclose(points.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(points, axis=2).max(axis=1), 1, atol=1e-6)


def test_hdf5(tmp_path):
    arrays = write_hdf5(tmp_path)
    # Preferred where both are there.
    write_meshes(tmp_path)
    dataset = modelnet40.load(tmp_path, "points")
    assert dataset.features.shape == (40, 1024, 3)
    check_unit_points(dataset.features)
    check_splits(dataset, 40, 3)
    assert dataset.rows("test").size == 7
    row = {"test0": dataset.rows("test")[0]}
    row["train0"] = 0 if row["test0"] else 7
    row["train1"] = row["train0"] + 20
    for name, (points, labels) in arrays.items():
        for number, label in enumerate(labels):
            here = row[name] + number
            found = dataset.hierarchy.class_names[dataset.labels[here, -1]]
            assert found == CLASSES[::-1][label]
            expected = points[number, :1024].astype(float)
            expected -= expected.mean(axis=0)
            expected /= max(np.linalg.norm(point) for point in expected)
            np.testing.assert_allclose(dataset.features[here], expected, atol=1e-5)


def read(tmp_path, text):
    path = tmp_path / "mesh.off"
    path.write_text(text)
    return modelnet40.read_off(path)


@pytest.mark.parametrize(
    "start",
    ["OFF\n4 4 6\n", "OFF4 4 6\n", "OFF 4 4 6\n", "# made by\n\nOFF # a mesh\n4 4\n"],
)
def test_starts_of_off_files(tmp_path, start):
    if start.startswith("#"):
        with pytest.raises(UserError, match="must start with the word OFF"):
            read(tmp_path, start)
        start = start.partition("\n\n")[2]
    vertices, triangles = read(tmp_path, start + TETRAHEDRON.partition(" 6\n")[2])
    np.testing.assert_array_equal(
        vertices, [[0, 0, 0], [3, 0, 0], [0, 2, 0], [0, 0, 1]]
    )
    np.testing.assert_array_equal(
        triangles, [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]
    )


def test_polygons_colours_and_comments(tmp_path):
    text = """OFF
# a comment
5 3 0

0 0 0
1 0 0 # another
1.5 1e0 0
1 2 0
0 -2.5 0
5  0 1 2 3 4
4 4 3 2 1  255 0 0
2 0 1
"""
    vertices, triangles = read(tmp_path, text)
    assert vertices.shape == (5, 3) and vertices[4, 1] == -2.5
    expected = [[0, 1, 2], [0, 2, 3], [0, 3, 4], [4, 3, 2], [4, 2, 1]]
    np.testing.assert_array_equal(triangles, expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must start with the word OFF, got ''"),
        ("PLY\n4 4 6", "must start with the word OFF, got 'PLY"),
        ("OFF", "damaged or cut short"),
        (TETRAHEDRON.replace("3 1 2 3\n", ""), "4 faces announced, 3 found"),
        (TETRAHEDRON.replace("3 1 2 3\n", "3 1 2"), "3 corners names 2"),
        (TETRAHEDRON.replace("3 1 2 3", "3 1 2 4"), "names vertex 4, there are 0 to 3"),
        (TETRAHEDRON.replace("3 1 2 3", "3 1 2 -1"), "names vertex -1"),
        (TETRAHEDRON.replace("0 2 0", "0 x 0"), "damaged or cut short .*'x'"),
        (TETRAHEDRON.replace("0 2 0", "0 2"), "damaged or cut short"),
    ],
)
def test_damaged_off_files(tmp_path, text, message):
    with pytest.raises(UserError, match=f"mesh.off: .*{message}"):
        read(tmp_path, text)


def test_points_are_uniform_by_area():
    # A square of 3 x 1 of two triangles, and a triangle of area 1 high above it.
    vertices = np.array(
        [[0, 0, 0], [3, 0, 0], [3, 1, 0], [0, 1, 0], [0, 0, 5], [2, 0, 5], [0, 1, 5]]
    ).astype(float)
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]])
    count = 40_000
    points = modelnet40.sample_surface(
        vertices, triangles, count, np.random.default_rng(0)
    )
    assert points.shape == (count, 3)
    high = points[:, 2] == 5
    assert high.mean() == pytest.approx(1 / 4, abs=0.01)
    assert (high | (points[:, 2] == 0)).all()
    x, y, _ = points[~high].T
    counts = np.histogram2d(x, y, bins=(6, 4), range=((0, 3), (0, 1)))[0]
    assert counts.sum() == (~high).sum()
    # Four standard deviations.
    mean = counts.mean()
    assert abs(counts - mean).max() < 4 * np.sqrt(mean)
    x, y, _ = points[high].T
    assert (x / 2 + y <= 1 + 1e-12).all() and x.min() >= 0 and y.min() >= 0
    # The mean of a uniform triangle is its centroid.
    np.testing.assert_allclose([x.mean(), y.mean()], [2 / 3, 1 / 3], atol=0.02)
    # Half of it has x below 2 (1 - sqrt(1/2)).
    assert (x < 2 - np.sqrt(2)).mean() == pytest.approx(0.5, abs=0.02)


def test_a_surface_without_area_is_named(tmp_path):
    write_meshes(tmp_path, num_train=1, num_test=0)
    path = tmp_path / modelnet40.MESHES / "car" / "train" / "car_0001.off"
    path.write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n")
    with pytest.raises(UserError, match=r"car_0001.off: .*must have an area, got 0"):
        modelnet40.load(tmp_path, "points")


def test_missing_files(tmp_path):
    message = "modelnet40_images_new_12x: no training files; .*/CLASS_0001_001.png$"
    with pytest.raises(MissingDataError, match=message):
        modelnet40.load(tmp_path)
    message = "ModelNet40: no training files; .*CLASS_0001.off, or .*ply_data_.*h5$"
    with pytest.raises(MissingDataError, match=message):
        modelnet40.load(tmp_path, "points")
    write_views(tmp_path, num_train=0)
    with pytest.raises(MissingDataError, match="no training files"):
        modelnet40.load(tmp_path)
    place = tmp_path / modelnet40.POINTS
    place.mkdir()
    with pytest.raises(MissingDataError, match=r"shape_names.txt: no such file"):
        modelnet40.load(tmp_path, "points")
    (place / "shape_names.txt").write_text("car")
    with pytest.raises(MissingDataError, match="no training files; put ply_data_tr"):
        modelnet40.load(tmp_path, "points")


@pytest.mark.parametrize(
    "protocol", ["", "view", "views,", "views,x", "views,-8", "points,64", "Points"]
)
def test_unknown_protocols(tmp_path, protocol):
    with pytest.raises(UserError, match=f"or 'points', got '{protocol}'"):
        modelnet40.load(tmp_path, protocol)


def test_wrong_views(tmp_path):
    for side in (7, 513):
        with pytest.raises(UserError, match=f"8 to 512 pixels wide, got {side}"):
            modelnet40.load(tmp_path, f"views,{side}")
    write_views(tmp_path, num_train=1, num_test=0)
    place = tmp_path / modelnet40.VIEWS / "car" / "train"
    for name in ("car_0001.png", "van_0001_001.png", "car_one_001.png"):
        (place / name).write_bytes(b"")
        with pytest.raises(UserError, match=f"{name}: .* called car_MODEL_VIEW.png"):
            modelnet40.load(tmp_path)
        (place / name).unlink()
    (place / "car_0009_001.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="car_0009_001.png: cannot be read as an image"):
        modelnet40.load(tmp_path)
    (tmp_path / modelnet40.VIEWS / "van").mkdir()
    with pytest.raises(UserError, match="van: no class of ModelNet40; .* airplane, "):
        modelnet40.load(tmp_path)


def test_wrong_hdf5(tmp_path):
    write_hdf5(tmp_path)
    place = tmp_path / modelnet40.POINTS
    file = place / "ply_data_train1.h5"
    for arrays, message in (
        ({"data": np.zeros((2, 2048, 3))}, "must hold arrays data .* and label"),
        ({"data": np.zeros((2, 9, 3)), "label": np.zeros((2, 1))}, r"got \(2, 9, 3\)"),
        (
            {"data": np.zeros((2, 2048, 3)), "label": np.zeros((3, 1))},
            r"for 3 labels, got \(2, 1024, 3\)",
        ),
        (
            {"data": np.zeros((2, 2048, 3)), "label": np.full((2, 1), 3)},
            "labels must be 0 to 2, .* got 3 to 3",
        ),
    ):
        with h5py.File(file, "w") as archive:
            for key, array in arrays.items():
                archive[key] = array
        with pytest.raises(UserError, match=f"ply_data_train1.h5: .*{message}"):
            modelnet40.load(tmp_path, "points")
    file.write_bytes(b"not hdf5")
    with pytest.raises(UserError, match="ply_data_train1.h5: must hold arrays"):
        modelnet40.load(tmp_path, "points")
    (place / "shape_names.txt").write_text("car\nvan")
    with pytest.raises(UserError, match="'van' is no class of ModelNet40"):
        modelnet40.load(tmp_path, "points")


def test_without_h5py(tmp_path, monkeypatch):
    write_hdf5(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"pip install 'hierjax\[modelnet40\]'"):
        modelnet40.load(tmp_path, "points")
