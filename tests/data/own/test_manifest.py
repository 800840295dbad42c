import numpy as np
import pytest
import soundfile
from PIL import Image

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
        (
            "a\nb\nc\n",
            r"has no column 'file' or 'text' \(found a\), .* 0 other .npz; add",
        ),
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


@pytest.mark.parametrize("column", ["group", "Groups", "split", "path", "file"])
def test_a_chosen_level_is_nothing_else(tmp_path, column):
    np.savez(tmp_path / "m.npz", features=np.eye(24))
    rows = [("animal", f"g{i % 3}", f"s{i % 6}") for i in range(24)]
    path = write(tmp_path / "m.csv", ("kingdom", column, "species"), rows)
    dataset = manifest.load(path, label_fields=("kingdom", column, "species"))
    assert dataset.unit_name == "row" and len(np.unique(dataset.units)) == 24
    assert dataset.hierarchy.level_names == ("kingdom", column, "species")
    for rows in dataset.splits.values():
        assert len(np.unique(dataset.labels[rows, -1])) > 2


def test_ranks_are_levels_in_their_order(tmp_path):
    np.savez(tmp_path / "m.npz", features=np.eye(12))
    header = ("key", "species", "Genus", "family", "year")
    rows = [(f"{i}", f"s{i % 4}", f"g{i % 2}", "f", "1999") for i in range(12)]
    path = write(tmp_path / "m.csv", header, rows)
    with pytest.warns(DataNotice, match="family, Genus, species, .*not key, year; cho"):
        dataset = manifest.load(path)
    assert dataset.hierarchy.level_names == ("family", "Genus", "species")
    assert dataset.hierarchy.nodes_per_level == (1, 2, 4)


@pytest.mark.parametrize("mark", [">", ";", " / ", "//"])
def test_any_separator_on_which_rows_agree(tmp_path, mark):
    np.savez(tmp_path / "m.npz", features=np.eye(9))
    paths = [(mark.join(filter(None, NAMES[i % 3])),) for i in range(9)]
    dataset = manifest.load(write(tmp_path / "m.csv", ("PATH",), paths, "|"))
    assert set(dataset.hierarchy.paths) == {tuple(filter(None, row)) for row in NAMES}


def test_an_empty_rank_is_named(tmp_path):
    np.savez(tmp_path / "m.npz", features=np.eye(9))
    paths = [("animal/bird/owl",), ("animal//cod",), ("oak",)] * 3
    path = write(tmp_path / "m.csv", ("path",), paths)
    with pytest.raises(
        UserError, match="m.csv: row 1 has an empty name .*'animal//cod'"
    ):
        manifest.load(path)


def test_words_for_missing_values_in_cells(tmp_path):
    np.savez(tmp_path / "m.npz", features=np.eye(12))
    rows = [("a", "x"), ("a", "NaN"), ("b", "<NA>"), ("b", "y")] * 3
    path = write(tmp_path / "m.csv", ("k", "s"), rows)
    with pytest.warns(DataNotice, match=r"6 labels are words .*NaN \(3\), <NA> \(3\)"):
        dataset = manifest.load(path)
    assert dataset.hierarchy.num_classes == 2
    assert load("csv", data_path=path, missing_as_names=True).hierarchy.num_classes == 4


def test_paths_of_windows(tmp_path, images):
    rows = [(file.replace("/", "\\"), names[0]) for file, *names in images]
    dataset = manifest.load(write(tmp_path / "m.csv", ("file", "kind"), rows))
    assert dataset.features[7, 0, 0].tolist() == [7, 0, 0]
    rows[1] = ("x" * 5000, "oak")
    with pytest.raises(MissingDataError, match="row 1 names the file 'xxx"):
        manifest.load(write(tmp_path / "m.csv", ("file", "kind"), rows))


def test_unreadable_files_are_named_together_and_left_out_on_request(tmp_path, images):
    for i in (3, 8):
        (tmp_path / f"im/{i}.png").write_bytes(b"damaged")
    rows = [(file, names[0], f"g{i}") for i, (file, *names) in enumerate(images)]
    path = write(tmp_path / "m.csv", ("file", "kind", "group"), rows)
    with pytest.raises(UserError, match=r"2 of 15 files .*skip_unre.*3.png.*8.png"):
        manifest.load(path)
    with pytest.warns(
        DataNotice, match="2 of 15 files cannot be read and were left ou"
    ):
        dataset = load("csv", data_path=path, skip_unreadable=True)
    assert len(dataset.labels) == len(dataset.row_names) == 13
    assert dataset.row_names[3] == "im/4.png" and dataset.features[3, 0, 0, 0] == 4
    names = [dataset.hierarchy.class_names[c] for c in dataset.labels[:, -1]]
    assert names == [row[1] for i, row in enumerate(rows) if i not in (3, 8)]
    for file, *_ in images:
        (tmp_path / file).write_bytes(b"damaged")
    with pytest.raises(UserError, match="15 of 15 files cannot be read"):
        manifest.load(path, skip_unreadable=True)


@pytest.mark.parametrize("most", [255, 900, 4000])
def test_deep_images_of_a_set_have_one_scale(tmp_path, most):
    rows = []
    for i in range(9):
        ramp = np.linspace(0, most if i else most // 4, 64).reshape(8, 8)
        Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / f"{i}.png")
        rows.append((f"{i}.png", "ab"[i % 2]))
    path = write(tmp_path / "m.csv", ("file", "kind"), rows)
    white = {255: 255, 900: 1023, 4000: 4095}[most]
    with pytest.warns(
        DataNotice, match=f"9 images .* up to {most}; 0 to {white} became"
    ):
        dataset = manifest.load(path)
    assert dataset.features[1].max() == round(255 * most / white)
    assert dataset.features[0].max() == round(255 * (most // 4) / white)
    assert len(np.unique(dataset.features[1])) > 60
    twice = load("csv", data_path=path, pixel_max=2 * white)
    assert twice.features.max() == round(255 * most / white / 2)


def test_recordings_that_cancel_out_or_are_cut_are_told(tmp_path):
    tone = np.sin(np.arange(8000) / 4) / 2
    rows = [(f"{i}.wav", "ab"[i % 2]) for i in range(6)]
    for i in range(6):
        phase = -1 if i < 2 else 1
        soundfile.write(
            tmp_path / f"{i}.wav", np.stack([tone, phase * tone], 1), 16_000
        )
    whole = (tmp_path / "5.wav").read_bytes()
    (tmp_path / "5.wav").write_bytes(whole[:9000])
    path = write(tmp_path / "m.csv", ("file", "kind"), rows)
    with pytest.warns(DataNotice) as caught:
        manifest.load(path, image_size=16)
    said = "\n".join(str(warning.message) for warning in caught)
    assert "2 recordings have channels of opposite phase" in said
    assert "0.wav; 1.wav" in said
    assert "1 recordings end before their head says and were read as far" in said
