import numpy as np
import pytest

from hierjax.data import load, manifest
from hierjax.errors import DataNotice, MissingDataError, UserError
from tests.data.own.test_folder import paint

NAMES = [("animal", "bird", "owl"), ("animal", "cod", ""), ("oak", "", "")]


def write(path, header, rows, mark=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(mark.join(row) for row in [header, *rows]) + "\n")
    return path


@pytest.fixture
def images(tmp_path):
    paint(tmp_path, *(f"im/{i}.png" for i in range(15)))
    return [(f"im/{i}.png", *NAMES[i % 3]) for i in range(15)]


def test_levels_in_columns(tmp_path, images):
    header = ("file", "order", "family", "species")
    path = write(tmp_path / "m.csv", header, images)
    with pytest.warns(DataNotice, match="levels are the columns order, family, spec"):
        dataset = manifest.load(path)
    assert dataset.features.shape == (15, 10, 10, 3)
    assert dataset.features[7, 0, 0].tolist() == [7, 0, 0]
    assert dataset.hierarchy.level_names == header[1:]
    assert set(dataset.hierarchy.paths) == {
        ("animal", "bird", "owl"),
        ("animal", "cod"),
        ("oak",),
    }
    assert dataset.row_names[4] == "im/4.png" and dataset.unit_name == "file"
    assert [len(rows) for rows in dataset.splits.values()] == [9, 3, 3]
    some = load("csv", data_path=path, label_fields=["order", "family"], image_size=8)
    assert some.hierarchy.level_names == ("order", "family")
    assert some.features.shape[1:] == (8, 8, 3)


@pytest.mark.parametrize("separator", ["/", "//"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_paths_in_a_column(tmp_path, images, mark, separator):
    rows = [
        (f'"{file}"', separator.join(name for name in names if name), "ignored")
        for file, *names in images
    ]
    path = write(tmp_path / "m.csv", ("File", "Path", "note"), rows, mark)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    dataset = manifest.load(path)
    assert dataset.hierarchy.num_levels == 3 and dataset.hierarchy.num_classes == 3
    assert (dataset.labels >= 0).all()


def test_paths_of_files_and_paths_of_labels_under_other_names(tmp_path, images):
    rows = [(file, "/".join(filter(None, names))) for file, *names in images]
    expected = manifest.load(write(tmp_path / "e.csv", ("file", "path"), rows))
    path = write(tmp_path / "m.csv", ("path", "label"), rows)
    with pytest.warns(DataNotice, match="column label is read as paths"):
        dataset = manifest.load(path)
    assert dataset.hierarchy.paths == expected.hierarchy.paths
    np.testing.assert_array_equal(dataset.labels, expected.labels)
    np.testing.assert_array_equal(dataset.features, expected.features)
    whole = manifest.load(path, label_fields=("label",))
    assert whole.hierarchy.num_levels == 1


def test_empty_cells_are_unknown(tmp_path, images):
    rows = [
        (file, order, "" if i % 2 else family)
        for i, (file, order, family, _) in enumerate(images)
        if order == "animal"
    ]
    path = write(tmp_path / "m.csv", ("file", "order", "family"), rows)
    dataset = manifest.load(path, label_fields=("order", "family"))
    unknown = (dataset.labels < 0).sum(axis=0)
    assert unknown[0] == 0 and unknown[1] == 5


def test_splits_and_groups(tmp_path, images):
    splits = ["train"] * 9 + ["Val"] * 3 + ["test"] * 3
    rows = [
        (file, names[0], split, f"site {i // 2}")
        for i, ((file, *names), split) in enumerate(zip(images, splits, strict=True))
    ]
    path = write(tmp_path / "m.csv", ("file", "kind", "split", "group"), rows)
    dataset = manifest.load(path)
    assert dataset.rows("validation").tolist() == [9, 10, 11]
    assert dataset.unit_name == "group" and len(np.unique(dataset.units)) == 8
    assert dataset.hierarchy.level_names == ("kind",)


@pytest.mark.parametrize("archive", ["m.npz", "other.npz"])
@pytest.mark.parametrize("key", ["features", "x"])
def test_features_in_an_archive_beside(tmp_path, archive, key):
    features = np.arange(36, dtype=np.float32).reshape(18, 2)
    np.savez(tmp_path / archive, **{key: features})
    paths = [("/".join(filter(None, NAMES[i % 3])),) for i in range(18)]
    dataset = manifest.load(write(tmp_path / "m.csv", ("Path",), paths))
    np.testing.assert_array_equal(dataset.features, features)
    assert dataset.hierarchy.num_classes == 3 and dataset.row_names is None
    assert dataset.unit_name == "row"


def test_arrays_beside_features_count_too(tmp_path):
    split = np.repeat(["train", "val", "test"], 2)
    np.savez(tmp_path / "m.npz", features=np.eye(6), split=split, groups=[0, 0] * 3)
    path = write(tmp_path / "m.csv", ("kind",), [("a",), ("b",)] * 3)
    dataset = manifest.load(path)
    assert dataset.rows("test").tolist() == [4, 5] and dataset.unit_name == "group"


def test_names_in_a_tree(tmp_path):
    np.savez(tmp_path / "m.npz", features=np.eye(12))
    (tmp_path / "tree.nwk").write_text("((owl,wren)bird,(cod)fish);")
    names = ["owl", "wren", "cod", "bird"] * 3
    path = write(tmp_path / "m.csv", ("kind",), [(name,) for name in names])
    dataset = manifest.load(path, tmp_path / "tree.nwk")
    assert dataset.hierarchy.class_names == ("owl", "wren", "cod")
    assert (dataset.labels[3] >= 0).tolist() == [True, False]
    paths = [("bird/owl",), ("bird/wren",), ("fish/cod",), ("bird",)] * 3
    by_path = manifest.load(
        write(tmp_path / "p.csv", ("path",), paths), tmp_path / "tree.nwk"
    )
    np.testing.assert_array_equal(by_path.labels, dataset.labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"m.csv: has no rows below a header"),
        ("file,a\n", r"m.csv: has no rows below a header"),
        ("file,a,a\nx.png,b,c\n", r"m.csv: has the column 'a' 2 times"),
        ("file,a\nx.png,b,c\n", r"m.csv: has 3 cells in row 0 .*double quotes"),
        ("file,a\nim/0.png,b\nx.png,b\n", r"row 1 names the file 'x.png' and .* none"),
        ("file,a\n,b\n", r"row 0 names the file ''"),
        ("file,a\nm.csv,b\n", r"names 'm.csv', which is neither an image"),
        ("file\nim/0.png\n", r"no labels; add a column 'path'"),
        ("a\nb\nc\n", r"has no column 'file' \(found a\), .* 0 other .npz; add"),
        ("file,a,b\nim/0.png,,c\n", r"m.csv: row 0 has the label 'c' at level 1.*head"),
        ("file,a,split\nim/0.png,b,dev2\n", r"row 0 has the split 'dev2'.*header"),
        ("file,a\nim/0.png,b\n", "too few to split 60/20/20; say which"),
    ],
)
def test_mistakes(tmp_path, images, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        manifest.load(tmp_path / "m.csv")


def test_mistakes_in_other_files(tmp_path):
    with pytest.raises(MissingDataError, match="none.csv: no such file"):
        manifest.load(tmp_path / "none.csv")
    path = write(tmp_path / "m.csv", ("a",), [("x",)] * 5)
    np.savez(tmp_path / "m.npz", features=np.eye(4))
    with pytest.raises(UserError, match="m.csv: has 5 rows below.* features of 4"):
        manifest.load(path)
    np.savez(tmp_path / "m.npz", features=np.eye(5), labels=np.arange(5))
    with pytest.raises(UserError, match=r"m.npz: has labels of its own beside m.csv"):
        manifest.load(path)
    np.savez(tmp_path / "m.npz", x=np.eye(5), y=np.eye(5))
    with pytest.raises(UserError, match=r"m.npz: array 'features' is missing, fou"):
        manifest.load(path)
    with pytest.raises(UserError, match=r"no column 'b' for label_fields, there are a"):
        manifest.load(path, label_fields=("b",))
    path.write_bytes("naïve".encode("latin-1"))
    with pytest.raises(UserError, match="m.csv: is no text in UTF-8.*; save it as CSV"):
        manifest.load(path)
