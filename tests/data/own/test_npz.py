import warnings

import numpy as np
import pytest

from hierjax.data import load, npz, read_hierarchy
from hierjax.errors import DataNotice, UserError

# Three levels, ragged: "rock" ends at level 0, "fish" at level 1.
ROWS = np.array(
    [
        ["animal", "bird", "crow"],
        ["animal", "bird", "duck"],
        ["animal", "fish", ""],
        ["rock", "", ""],
        ["animal", "bird", ""],
        ["animal", "", ""],
        ["animal", "bird", "crow"],
        ["", "", ""],
        ["plant", "tree", "oak"],
    ]
)
NUMBERS = np.array(
    [
        [5, 0, 3],
        [5, 0, 4],
        [5, 1, -1],
        [9, -1, -1],
        [5, 0, -1],
        [5, -1, -1],
        [5, 0, 3],
        [-1, -1, -1],
        [7, 2, 0],
    ]
)
# Depth to which each row is known: ended leaves are known to the end.
KNOWN = [3, 3, 3, 3, 2, 1, 3, 0, 3]
SPLIT = np.array(["train"] * 7 + ["val", "test"])
EDGES = "animal\tbird\nanimal\tfish\nbird\tcrow\nbird\tduck\n\nplant\ttree\ntree\toak\n"


def save(path, **arrays):
    np.savez(path, **({"features": np.eye(len(ROWS))} | arrays))
    return path


@pytest.mark.parametrize("labels", [ROWS, NUMBERS])
def test_ragged_labels_are_their_own_tree(tmp_path, labels):
    path = save(tmp_path / "a.npz", labels=labels, split=SPLIT)
    dataset = npz.load(path)
    assert dataset.hierarchy.num_levels == 3 and dataset.hierarchy.num_classes == 5
    assert ((dataset.labels >= 0).sum(axis=1) == KNOWN).all()
    for i in range(len(labels)):
        for j in range(len(labels)):
            for level in range(min(KNOWN[i], KNOWN[j])):
                same = (labels[i, : level + 1] == labels[j, : level + 1]).all()
                assert (dataset.labels[i, level] == dataset.labels[j, level]) == same
    assert dataset.rows("train").tolist() == list(range(7))
    assert dataset.rows("validation").tolist() == [7]
    assert dataset.rows("test").tolist() == [8]
    assert dataset.unit_name == "row"


def test_flat_labels_and_number_splits(tmp_path):
    path = save(tmp_path / "a.npz", labels=ROWS[:, 0], split=np.arange(9) % 3)
    dataset = npz.load(path)
    assert dataset.hierarchy.num_levels == 1 and dataset.hierarchy.num_classes == 3
    assert dataset.labels[7, 0] == -1
    assert dataset.rows("validation").tolist() == [1, 4, 7]


def test_missing_splits_are_drawn_from_the_training_rows(tmp_path):
    labels = np.repeat([[0, 0], [0, 1], [1, 2]], 20, axis=0)
    arrays = {"features": np.ones((60, 2)), "labels": labels}
    path = save(tmp_path / "a.npz", split=np.zeros(60, int), **arrays)
    with pytest.warns(DataNotice, match="only training rows, .* 60/20/20"):
        only = npz.load(path)
    assert [len(rows) for rows in only.splits.values()] == [36, 12, 12]
    split = np.array(["train"] * 60)
    split[::4] = "test"
    path = save(tmp_path / "b.npz", split=split, **arrays)
    with pytest.warns(DataNotice, match="validation split is missing"):
        tested = npz.load(path)
    assert tested.rows("test").tolist() == list(range(0, 60, 4))
    counts = np.bincount(tested.labels[tested.rows("validation"), -1])
    assert sorted(counts.tolist()) == [1, 1, 2]
    # Two rows are too few to give one away.
    few = save(tmp_path / "c.npz", features=np.eye(3), labels=np.arange(3),
               split=np.array(["train", "train", "test"]))  # fmt: skip
    assert sorted(npz.load(few).splits) == ["test", "train"]


def tree_files(folder):
    (folder / "t.csv").write_text(
        "Class,Path\n"
        "crow,animal/bird/crow\nduck,animal/bird/duck\nfish,animal/fish\n"
        "rock,rock\noak,plant/tree/oak\n"
    )
    (folder / "t.nwk").write_text(
        "(((crow,duck)bird,fish)animal,rock,((oak)tree)plant);"
    )
    (folder / "t.txt").write_text(
        "root rock\n".join(["", EDGES]).replace(
            "animal\tbird", "root animal\nroot plant\nanimal\tbird", 1
        )
    )
    return [folder / f"t.{ending}" for ending in ("csv", "nwk", "txt")]


def test_tree_files_agree(tmp_path):
    path = save(tmp_path / "a.npz", labels=ROWS, split=SPLIT)
    for file in tree_files(tmp_path):
        dataset = npz.load(path, file)
        assert sorted(dataset.hierarchy.class_names) == [
            "crow", "duck", "fish", "oak", "rock",
        ]  # fmt: skip
        assert ((dataset.labels >= 0).sum(axis=1) == KNOWN).all(), file
        name = dataset.hierarchy.class_names[dataset.labels[3, -1]]
        assert name == "rock"


def test_class_names_and_ids_with_a_tree(tmp_path):
    tree = read_hierarchy(tree_files(tmp_path)[0])
    names = np.array(["oak", "", "crow", "rock", "fish", "duck", "-1", "oak", "crow"])
    by_name = npz.load(save(tmp_path / "a.npz", labels=names, split=SPLIT), tree)
    wanted = [tree.class_names.index(n) if n not in ("", "-1") else -1 for n in names]
    np.testing.assert_array_equal(by_name.labels, tree.labels_of(wanted))
    by_id = npz.load(save(tmp_path / "b.npz", labels=wanted, split=SPLIT), tree)
    np.testing.assert_array_equal(by_id.labels, by_name.labels)
    nodes = npz.load(save(tmp_path / "c.npz", labels=by_name.labels, split=SPLIT), tree)
    np.testing.assert_array_equal(nodes.labels, by_name.labels)


def test_integers_are_names_where_the_tree_speaks_in_numbers(tmp_path):
    (tmp_path / "t.edges").write_text("100, 7\n100, 2\n101, 5\n")
    labels = np.array([7, 2, 5, 7, 2, 5, 7, 2, -1])
    path = save(tmp_path / "a.npz", labels=labels, split=SPLIT)
    dataset = npz.load(path, tmp_path / "t.edges")
    assert dataset.hierarchy.class_names == ("7", "2", "5")
    assert dataset.labels[:, -1].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, -1]


def test_own_split_is_stratified_and_fixed(tmp_path):
    labels = np.repeat([[0, 0], [0, 1], [1, 2]], 20, axis=0)
    path = save(tmp_path / "a.npz", features=np.ones((60, 2)), labels=labels)
    dataset = npz.load(path)
    for split, size in (("train", 12), ("validation", 4), ("test", 4)):
        counts = np.bincount(dataset.labels[dataset.rows(split), -1])
        assert counts.tolist() == [size] * 3
        np.testing.assert_array_equal(npz.load(path).rows(split), dataset.rows(split))


def test_groups_are_units_and_stay_together(tmp_path):
    groups = np.array([f"site {i // 3}" for i in range(60)])
    path = save(
        tmp_path / "a.npz",
        features=np.ones((60, 2)),
        labels=np.arange(60) // 30,
        groups=groups,
    )
    dataset = npz.load(path)
    assert dataset.unit_name == "group"
    of = [set(groups[rows]) for rows in dataset.splits.values()]
    assert sum(map(len, of)) == len(set.union(*of)) == 20
    assert len(np.unique(dataset.units)) == 20
    assert (dataset.units[:3] == dataset.units[0]).all()


def nan_row():
    features = np.ones((9, 3))
    features[6, 2] = np.inf
    return features


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": ROWS, "features": nan_row()}, "a.npz: row 6 has a feature that"),
        ({}, "a.npz: array 'labels' is missing.*found features"),
        ({"labels": ROWS[:8]}, r"labels must have as many rows.*\(8, 3\)"),
        ({"labels": np.full(9, 0.5)}, r"labels must be integers .*float64 \(9,\) with"),
        (
            {"labels": np.full(9, np.inf)},
            r"labels must be integers .*float64 \(9,\) with",
        ),
        ({"labels": np.array([b"\xff"] * 9)}, "labels are no text in UTF-8"),
        ({"labels": ROWS, "groups": np.ones((9, 2))}, r"groups must have shape \[N\]"),
        ({"labels": ROWS, "sizes": ROWS[:, :2]}, "sizes must be numbers, got <U6"),
        (
            {"labels": ROWS, "features": 1j * np.eye(9)},
            "must be numbers, got complex128",
        ),
        (
            {"labels": ROWS[:0], "features": np.ones((0, 3))},
            r"the shape \(0, 3\); needed",
        ),
        ({"labels": ROWS, "features": np.ones((9, 0))}, r"the shape \(9, 0\); needed"),
        ({"labels": np.ones((9, 1, 1), int)}, "or .N, L., got int64"),
        ({"labels": ROWS, "features": ROWS}, "features must be numbers, got <U6"),
        ({"labels": ROWS, "split": SPLIT[:4]}, "split must have as many rows"),
        ({"labels": ROWS, "groups": SPLIT[:4]}, "groups must have as many rows"),
        ({"labels": ROWS, "split": np.array(["train"] * 8 + ["deb"])}, "row 8 has the"),
        ({"labels": ROWS, "split": np.full(9, 3)}, "row 0 has the split '3', accepted"),
        ({"labels": ROWS, "split": np.ones((9, 2), int)}, r"must have shape \[N\]"),
        ({"labels": ROWS, "split": np.ones(9, int)}, "splits must be 'train' and"),
        ({"labels": ROWS[:, ::-1]}, "a.npz: row 2 has the label"),
        ({"labels": ROWS, "groups": np.zeros(9, int)}, "too few to split"),
    ],
)
def test_array_errors(tmp_path, arrays, message):
    with pytest.raises(UserError, match=message):
        npz.load(save(tmp_path / "a.npz", **arrays))


def test_labels_outside_the_tree(tmp_path):
    tree = tree_files(tmp_path)[0]
    for labels, message in (
        (np.where(ROWS == "duck", "goose", ROWS), "a.npz: row 1 has the label 'goose'"),
        (np.array(["oak"] * 8 + ["elm"]), "a.npz: row 8 has the label 'elm'"),
        (np.array([0] * 8 + [5]), "a.npz: class id 5 at position 8"),
        (np.full((9, 3), 99), "a.npz: labels row 0 has 99 at level 0"),
        (np.zeros((9, 2), int), r"a.npz: labels must have shape \(9, 3\)"),
    ):
        path = save(tmp_path / "a.npz", labels=labels, split=SPLIT)
        with pytest.raises(UserError, match=message):
            npz.load(path, tree)


def test_file_errors(tmp_path):
    with pytest.raises(UserError, match="none.npz: no such file"):
        npz.load(tmp_path / "none.npz")
    path = save(tmp_path / "a.npz", labels=ROWS)
    whole = path.read_bytes()
    for size in (0, 40, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="a.npz: .*cut short"):
            npz.load(path)
    np.savez_compressed(path, features=np.arange(900.0).reshape(9, 100), labels=ROWS)
    for archive, place in ((whole, 150), (path.read_bytes(), 400)):
        broken = bytearray(archive)
        broken[place] ^= 255
        path.write_bytes(broken)
        with pytest.raises(UserError, match="a.npz"):
            npz.load(path)
    save(path, labels=np.array([{"a": 1}] * 9, dtype=object))
    with pytest.raises(UserError, match="'labels' cannot be read.*not pickled"):
        npz.load(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.json", "{}", "t.json: a tree file ends in .csv, .tsv"),
        ("t.txt", "a b\na b c\n", "t.txt: line 2 must be 'parent child', got 'a b c'"),
        ("t.txt", "a,b\na,\n", "t.txt: row 1 must be 'parent child'"),
        ("t.edges", "a b\nb a\n", "t.edges: .*cycle"),
        ("t.nwk", "((a,b)", "t.nwk: the Newick text"),
        ("t.csv", "Class\na\n", "t.csv: needs a column 'Path'.* or a column a level"),
        ("t.csv", None, "t.csv: no such file"),
    ],
)
def test_tree_file_errors(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_hierarchy(tmp_path / name)
    assert str(caught.value).count(name) == 1


def test_tree_names_may_have_spaces_between_tabs_or_commas(tmp_path):
    (tmp_path / "t.txt").write_text("big cat\tlion king\nbig cat\ttiger\ndog, wolf\n")
    tree = read_hierarchy(tmp_path / "t.txt")
    assert tree.paths == (
        ("big cat", "lion king"),
        ("big cat", "tiger"),
        ("dog", "wolf"),
    )


def test_labels_of_any_type_are_converted(tmp_path):
    expected = npz.load(save(tmp_path / "a.npz", labels=NUMBERS, split=SPLIT))
    floats = np.where(NUMBERS < 0, np.nan, NUMBERS)
    padded = np.char.add(np.char.add(" ", NUMBERS.astype(str)), "\u00a0")
    for labels in (floats, NUMBERS.astype("S"), NUMBERS.astype(np.int8), padded):
        found = npz.load(save(tmp_path / "b.npz", labels=labels, split=SPLIT))
        assert found.hierarchy == expected.hierarchy
        np.testing.assert_array_equal(found.labels, expected.labels)


def test_ids_of_64_bits_are_not_cut(tmp_path):
    tree = tree_files(tmp_path)[0]
    for labels in (
        np.array([2**32] * 9),
        np.array([2**32 + 1] * 9, np.uint64),
        np.array([[2**32, 0, 0]] * 9),
        np.array([[2**63, 0, 0]] * 9, np.uint64),
    ):
        with pytest.raises(
            UserError, match="4294967296|4294967297|9223372036854775808"
        ):
            npz.load(save(tmp_path / "a.npz", labels=labels, split=SPLIT), tree)
    own = npz.load(save(tmp_path / "a.npz", labels=np.arange(9) % 3 + 2**40))
    assert own.hierarchy.class_names[0] == str(2**40)


def test_words_for_missing_values(tmp_path):
    labels = np.where(ROWS == "", "nan", ROWS)
    path = save(tmp_path / "a.npz", labels=labels, split=SPLIT)
    with pytest.warns(DataNotice, match=r"a.npz: 9 labels are words .*: nan \(9\)"):
        found = npz.load(path)
    expected = npz.load(save(tmp_path / "b.npz", labels=ROWS, split=SPLIT))
    np.testing.assert_array_equal(found.labels, expected.labels)
    kept = load("npz", data_path=path, missing_as_names=True)
    assert ("rock", "nan", "nan") in kept.hierarchy.paths
    # A word that a given tree has as a name is that name.
    (tmp_path / "t.nwk").write_text("((NA,SA)America,Asia);")
    path = save(tmp_path / "a.npz", labels=np.array(["NA", "SA", "nan"] * 3))
    with pytest.warns(DataNotice, match=r"words for a missing value .*: nan \(3\);"):
        found = npz.load(path, tmp_path / "t.nwk")
    assert found.labels[:3, -1].tolist() == [0, 1, -1]


def test_optional_arrays_are_used_and_others_named(tmp_path):
    path = save(tmp_path / "a.npz", labels=ROWS, split=SPLIT, colour=np.ones(9),
                level_names=["kingdom", "group", "kind"], names=list("abcdefghi"),
                sizes=np.full((9, 2), 7), groups=np.arange(9) // 2)  # fmt: skip
    with pytest.warns(
        DataNotice, match="a.npz: passes over 'colour'; used are feature"
    ):
        dataset = npz.load(path)
    assert dataset.hierarchy.level_names == ("kingdom", "group", "kind")
    assert dataset.row_names[2] == "c" and dataset.sizes[3, 0] == 7
    assert dataset.unit_name == "group"
    with pytest.warns(DataNotice, match="level_names are passed over"):
        npz.load(path, tree_files(tmp_path)[0])


def test_paths_with_blanks_name_nodes_of_a_tree(tmp_path):
    labels = np.array(["animal / bird / crow", "/animal/bird/duck", "animal/fish/"] * 3)
    found = npz.load(save(tmp_path / "a.npz", labels=labels), tree_files(tmp_path)[0])
    assert found.hierarchy.class_names[found.labels[0, -1]] == "crow"
    assert found.hierarchy.class_names[found.labels[2, -1]] == "fish"


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_first_are_put_last(tmp_path, channels):
    images = np.random.default_rng(0).random((9, 5, 6, channels), np.float32)
    first = np.moveaxis(images, 3, 1)
    with pytest.warns(DataNotice, match="their channels first and turned to"):
        found = npz.load(save(tmp_path / "a.npz", features=first, labels=ROWS))
    np.testing.assert_array_equal(found.features, images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        last = npz.load(save(tmp_path / "a.npz", features=images, labels=ROWS))
        bytes_ = (images * 255).astype(np.uint8)
        npz.load(save(tmp_path / "a.npz", features=bytes_, labels=ROWS))
    np.testing.assert_array_equal(last.features, images)
    with pytest.warns(DataNotice, match="look like images of 0 to 255 and are float32"):
        npz.load(save(tmp_path / "a.npz", features=images * 255, labels=ROWS))
