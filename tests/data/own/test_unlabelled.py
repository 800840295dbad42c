import pathlib

import numpy as np
import pytest
import soundfile

from hierjax.data import folder, manifest, npz, read_hierarchy
from hierjax.data.own.unlabelled import read_unlabelled
from hierjax.errors import UserError
from tests.data.own.test_folder import paint, zoo


def read(path, shape):
    found = read_unlabelled(path, shape)
    return found["features"], found["names"]


def test_as_the_model_was_trained(tmp_path):
    root = zoo(tmp_path / "zoo")
    trained = folder.load(root, image_size=8)
    features, names = read(root, trained.features.shape[1:])
    np.testing.assert_array_equal(features, trained.features)
    np.testing.assert_array_equal(names, trained.row_names)


def test_a_flat_folder_a_table_and_one_file(tmp_path):
    paint(tmp_path, "1.png", "2.png", "sub/3.png")
    features, names = read(tmp_path, (9, 9, 3))
    assert names.tolist() == ["1.png", "2.png", "sub/3.png"]
    assert features.shape == (3, 9, 9, 3) and features[2, 0, 0, 0] == 2
    (tmp_path / "t.csv").write_text("file,note\nsub/3.png,x\n1.png,y\n")
    listed, names = read(tmp_path / "t.csv", (9, 9, 3))
    assert names.tolist() == ["sub/3.png", "1.png"]
    np.testing.assert_array_equal(listed, features[[2, 0]])
    one, names = read(tmp_path / "2.png", (9, 9, 3))
    assert names.tolist() == ["2.png"]
    np.testing.assert_array_equal(one, features[[1]])


def test_channels_become_those_of_the_model(tmp_path):
    paint(tmp_path / "c", *(f"{i}.png" for i in range(200)))
    grey, names = read(tmp_path / "c", (9, 9, 1))
    red = np.array([int(name.removesuffix(".png")) for name in names])
    np.testing.assert_array_equal(grey[:, 4, 4, 0], np.rint(0.299 * red))
    paint(tmp_path / "g", "1.png", "2.png", mode="L")
    colored, _ = read(tmp_path / "g", (9, 9, 3))
    assert colored[1, 0, 0].tolist() == [1, 1, 1]


def test_recordings(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(99), 8000)
    features, _ = read(tmp_path, (16, 8))
    assert features.shape == (1, 16, 8) and features.dtype == np.float32


def test_arrays_and_a_table_beside_them(tmp_path):
    arrays = {"features": np.arange(6.0).reshape(2, 3), "names": np.array(["a", "b"])}
    np.savez(tmp_path / "t.npz", **arrays)
    (tmp_path / "t.csv").write_text("species\nowl\n\nwren\n")
    for path in (tmp_path / "t.npz", tmp_path / "t.csv"):
        found = read_unlabelled(path, (3,))
        assert found.keys() == arrays.keys()
        np.testing.assert_array_equal(found["features"], arrays["features"])


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="no images or recordings in it"):
        read_unlabelled(tmp_path, (9, 9, 3))
    with pytest.raises(UserError, match="none.csv: no such file"):
        read_unlabelled(tmp_path / "none.csv", (9, 9, 3))
    (tmp_path / "t.csv").write_text("a\nb\n")
    with pytest.raises(
        UserError, match=r"t.csv: has no column 'file' or .* 0 other .npz"
    ):
        read_unlabelled(tmp_path / "t.csv", (9, 9, 3))
    np.savez(tmp_path / "none.npz", data=np.ones(3))
    with pytest.raises(UserError, match="'features' is missing, found data"):
        read_unlabelled(tmp_path / "none.npz", (9, 9, 3))
    paint(tmp_path / "p", "1.png")
    for shape in ((12,), (16, 8), (9, 9, 4), (8, 9, 3)):
        with pytest.raises(UserError, match="has images, and the model takes inputs"):
            read_unlabelled(tmp_path / "p", shape)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
@pytest.mark.parametrize("ending", ["", ".csv", ".npz", ".nwk", ".png"])
def test_names_that_no_file_system_has(name, ending):
    path = pathlib.Path(name + ending)
    loaders = {"": folder.load, ".csv": manifest.load, ".npz": npz.load}
    for load in (
        lambda path: read_unlabelled(path, (9, 9, 3)),
        loaders.get(ending, read_hierarchy),
    ):
        with pytest.raises(UserError, match="no such|a tree file ends"):
            load(path)
