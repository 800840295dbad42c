import os

import numpy as np
import pytest
import soundfile
from PIL import Image

from hierjax import Hierarchy
from hierjax.data import folder, load
from hierjax.data.reading import media
from hierjax.errors import DataNotice, MissingDataError, UserError


def paint(root, *places, size=(12, 10), mode="RGB"):
    """Images of one colour each, that of their number."""
    for number, place in enumerate(places):
        file = root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        color = number if mode == "L" else (number, 0, 0)
        Image.new(mode, size, color).save(file)
    return root


def zoo(root, per_class=5):
    """Ragged: owl and wren are birds, cod is a fish, stone has no levels below."""
    names = ("animal/bird/owl", "animal/bird/wren", "animal/fish/cod", "stone")
    files = [f"{name}/{i}.png" for name in names for i in range(per_class)]
    return paint(root, *files, "animal/bird/x.png", "animal/y.png", "z.png")


def path_of(dataset, name):
    (row,) = np.flatnonzero(dataset.row_names == name)
    labels = dataset.labels[row]
    known = int((labels >= 0).sum())
    c = np.argmax(dataset.hierarchy.ancestors[:, known - 1] == labels[known - 1])
    return "/".join(dataset.hierarchy.paths[c][:known]) if known else ""


def test_folders_are_the_tree(tmp_path):
    dataset = folder.load(zoo(tmp_path))
    assert dataset.features.shape == (23, 10, 10, 3)
    assert dataset.features.dtype == np.uint8
    assert set(dataset.hierarchy.paths) == {
        ("animal", "bird", "owl"),
        ("animal", "bird", "wren"),
        ("animal", "fish", "cod"),
        ("stone",),
    }
    assert path_of(dataset, "animal/bird/owl/3.png") == "animal/bird/owl"
    assert path_of(dataset, "stone/0.png") == "stone"
    # Beside folders: the finer label is unknown.
    assert path_of(dataset, "animal/bird/x.png") == "animal/bird"
    assert path_of(dataset, "animal/y.png") == "animal"
    assert path_of(dataset, "z.png") == ""
    stone = dataset.row_names.tolist().index("stone/0.png")
    assert (dataset.labels[stone] >= 0).all()
    assert list(dataset.row_names) == sorted(dataset.row_names)
    # Rows are matched to their own files.
    assert dataset.features[stone, 0, 0].tolist() == [15, 0, 0]
    assert sum(map(len, dataset.splits.values())) == 23
    again = load("folder", data_path=tmp_path, image_size=8)
    assert again.features.shape == (23, 8, 8, 3)
    for split, rows in dataset.splits.items():
        assert again.rows(split).tolist() == rows.tolist()


def test_grey_images_have_one_channel_unless_one_is_coloured(tmp_path):
    paint(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", "b/3.png", mode="L")
    assert folder.load(tmp_path).features.shape == (5, 10, 10, 1)
    paint(tmp_path, "b/4.png")
    assert folder.load(tmp_path).features.shape == (6, 10, 10, 3)


def test_the_default_size_enlarges_not_all_of_them(tmp_path):
    places = [f"{c}/{i}.png" for c in "ab" for i in range(3)]
    paint(tmp_path, *places, size=(300, 90))
    assert folder.load(tmp_path).features.shape[1] == 64
    paint(tmp_path, *places, size=(20, 30))
    paint(tmp_path, "a/small.png", size=(9, 50))
    assert folder.load(tmp_path).features.shape[1] == 20


def test_folders_are_found_in_a_given_tree_by_path_or_else_by_name(tmp_path):
    tree = Hierarchy.from_paths(
        [("cat", "other"), ("dog", "other"), ("dog", "pug"), ("fox",)]
    )
    names = ("cat/other", "dog/other", "mine/pug", "fox", "dog")
    files = [f"{name}/{i}.png" for name in names for i in range(5)]
    dataset = folder.load(paint(tmp_path, *files, "a.png"), tree)
    assert dataset.hierarchy is tree
    found = [path_of(dataset, f"{name}/3.png") for name in names]
    assert found == ["cat/other", "dog/other", "dog/pug", "fox", "dog"]
    assert path_of(dataset, "a.png") == ""
    paint(tmp_path, "new/other/1.png")
    with pytest.raises(UserError, match="new/other/1.png.*the name of 2 nodes"):
        folder.load(tmp_path, tree)


def test_folders_called_like_splits_are_splits(tmp_path):
    names = [f"{top}/{c}/{i}.png" for top in ("train", "Val", "test") for c in "ab"
             for i in range(2)]  # fmt: skip
    dataset = folder.load(paint(tmp_path, *names))
    assert dataset.hierarchy.paths == (("a",), ("b",))
    for split, top in (("train", "train"), ("validation", "Val"), ("test", "test")):
        rows = dataset.row_names[dataset.rows(split)]
        assert len(rows) == 4 and all(name.startswith(top) for name in rows)
    # One more folder, and they are classes.
    paint(tmp_path, "other/1.png")
    with_other = folder.load(tmp_path)
    assert with_other.hierarchy.num_levels == 2


def test_a_missing_validation_split_is_drawn(tmp_path):
    names = [f"{top}/{c}/{i}.png" for top in ("train", "test") for c in "ab"
             for i in range(10)]  # fmt: skip
    with pytest.warns(DataNotice, match="validation split is missing"):
        dataset = folder.load(paint(tmp_path, *names))
    assert len(dataset.rows("validation")) == 2
    assert len(set(dataset.labels[dataset.rows("validation"), -1])) == 2


def test_other_files_are_counted_and_hidden_ones_passed_over(tmp_path):
    zoo(tmp_path)
    paint(tmp_path, ".cache/a/1.png", "stone/.hidden.png")
    (tmp_path / "stone" / "notes.txt").write_text("x")
    (tmp_path / "animal" / "a.csv").write_text("x")
    (tmp_path / "animal" / "b.csv").write_text("x")
    with pytest.warns(DataNotice, match=r"3 files .* over: \.csv \(2\), \.txt \(1\)"):
        dataset = folder.load(tmp_path)
    assert len(dataset.labels) == 23


def test_links_are_followed_once(tmp_path):
    root = zoo(tmp_path / "zoo")
    paint(tmp_path / "elsewhere", *(f"{i}.png" for i in range(4)))
    os.symlink(tmp_path / "elsewhere", root / "plant")
    assert len(folder.load(root).labels) == 27
    os.symlink(root, root / "animal" / "loop")
    os.symlink(root / "stone", root / "again")
    with pytest.warns(DataNotice, match="2 links lead to folders read already"):
        assert len(folder.load(root).labels) == 27


def test_names_in_any_alphabet(tmp_path):
    names = [f"{c}/{i}.png" for c in ("tiere/vögel", "tiere/vo\u0308gel", "植物")
             for i in range(3)]  # fmt: skip
    dataset = folder.load(paint(tmp_path, *names))
    # Two spellings of one letter are one class.
    assert dataset.hierarchy.class_names == ("vögel", "植物")


def test_recordings(tmp_path):
    rng = np.random.default_rng(0)
    for c in ("wind/flute", "wind/oboe", "drum"):
        (tmp_path / c).mkdir(parents=True)
        for i in range(3):
            soundfile.write(tmp_path / c / f"{i}.wav", rng.normal(size=4000), 8000)
    dataset = folder.load(tmp_path, image_size=8)
    assert dataset.features.shape == (9, 16, 8)
    assert dataset.features.dtype == np.float32
    paint(tmp_path, "drum/x.png")
    with pytest.raises(UserError, match=r"has images \(x.png\) and audio \(0.wav\)"):
        folder.load(tmp_path)


def test_a_tree_in_a_file_takes_the_place_of_the_folders(tmp_path):
    names = [f"{c}/{i}.png" for c in ("owl", "cod", "birds/wren", "bird")
             for i in range(3)]  # fmt: skip
    paint(tmp_path / "photos", *names)
    tree = tmp_path / "tree.csv"
    tree.write_text("Path\nanimal/bird/owl\nanimal/bird/wren\nanimal/fish/cod\n")
    dataset = folder.load(tmp_path / "photos", tree)
    assert path_of(dataset, "birds/wren/0.png") == "animal/bird/wren"
    assert path_of(dataset, "bird/0.png") == "animal/bird"
    tree.write_text("Path\nanimal/bird/owl\nanimal/bird/wren\n")
    with pytest.raises(UserError, match=r"row 3 \(birds/wren.*|\(cod/0.png\).*'cod'"):
        folder.load(tmp_path / "photos", tree)


def test_names_of_several_nodes_ask_for_a_path(tmp_path):
    paint(tmp_path / "photos", "top/1.png", "top/2.png", "b/1.png")
    tree = tmp_path / "tree.csv"
    tree.write_text("Path\na/top/x\nc/top/y\nb\n")
    with pytest.raises(UserError, match="name of 2 nodes.* 'a/top' or 'c/top'"):
        folder.load(tmp_path / "photos", tree)


def test_mistakes(tmp_path):
    with pytest.raises(MissingDataError, match="none: no such folder"):
        folder.load(tmp_path / "none")
    with pytest.raises(UserError, match="no folders with images or recordings"):
        folder.load(tmp_path)
    paint(tmp_path, "1.png", "2.png")
    with pytest.raises(UserError, match="2 such files beside; put them into folders"):
        folder.load(tmp_path)
    paint(tmp_path / "s", "train/1.png", "test/2.png")
    with pytest.raises(UserError, match="test, train are taken for splits"):
        folder.load(tmp_path / "s")
    zoo(tmp_path / "zoo")
    (tmp_path / "zoo" / "stone" / "2.png").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"stone/2.png: cannot be read as an image"):
        folder.load(tmp_path / "zoo", image_size=8)


def test_many_files_are_decoded_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(media, "_WORTH_KEEPING", 20)
    root = zoo(tmp_path / "zoo")
    first = folder.load(root)
    calls = []
    read = media.read_image
    monkeypatch.setattr(
        media,
        "read_image",
        lambda *args, **given: calls.append(args) or read(*args, **given),
    )
    np.testing.assert_array_equal(folder.load(root).features, first.features)
    assert not calls
    assert folder.load(root, image_size=8).features.shape[1] == 8
    paint(root, "stone/0.png")
    changed = folder.load(root, image_size=8)
    assert len(calls) == 46
    row = changed.row_names.tolist().index("stone/0.png")
    assert changed.features[row, 0, 0, 0] == 0


def test_a_default_size_is_a_limit_and_a_size_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(media, "_WORTH_KEEPING", 20)
    root = zoo(tmp_path / "zoo")  # Of 12 x 10 pixels.
    for given, side in (
        ({"image_size": 64}, 64),
        ({}, 10),
        ({"default_size": 64}, 10),
        ({"default_size": 10}, 10),
        ({"default_size": 9}, 9),
        ({"default_size": 9, "image_size": 11}, 11),
    ):
        assert folder.load(root, **given).features.shape[1:] == (side, side, 3), given


def test_what_an_archive_of_macos_leaves_and_pipes_are_no_examples(tmp_path):
    root = zoo(tmp_path / "zoo")
    expected = folder.load(root)
    paint(root, "__MACOSX/stone/._0.png", "__MACOSX/stone/0.png")
    os.mkfifo(root / "stone" / "x.png")
    with pytest.warns(DataNotice, match="passed over: no regular file .1."):
        found = folder.load(root)
    assert found.row_names.tolist() == expected.row_names.tolist()
    assert found.hierarchy == expected.hierarchy


def test_damaged_files_may_be_left_out(tmp_path):
    root = zoo(tmp_path / "zoo")
    expected = folder.load(root)
    bad = expected.row_names[5]
    (root / bad).write_bytes(b"damaged")
    with pytest.raises(UserError, match=f"1 of .* cannot be read; .*{bad}"):
        folder.load(root)
    with pytest.warns(DataNotice, match="were left out"):
        found = folder.load(root, skip_unreadable=True)
    assert found.row_names.tolist() == np.delete(expected.row_names, 5).tolist()
    np.testing.assert_array_equal(found.labels, np.delete(expected.labels, 5, axis=0))
