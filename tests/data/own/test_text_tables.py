"""Tables of texts."""

import csv
import pathlib

import numpy as np
import pytest

from hierjax.data import load, manifest
from hierjax.data.own.unlabelled import are_texts, read_texts, read_unlabelled
from hierjax.data.reading.texts import fit_texts
from hierjax.errors import DataNotice, UserError
from tests.data.own.test_folder import paint

pytestmark = pytest.mark.filterwarnings("ignore::hierjax.errors.DataNotice")

HEADER = ("text", "kind", "species", "split")
ROWS = [
    ("an owl, at night", "animal", "owl", "train"),
    ("cods swim", "animal", "cod", "train"),
    ("acorns", "plant", "", "train"),
    ("what is the time", "", "", "train"),
    ("an owl", "animal", "owl", "validation"),
    ("cod", "animal", "cod", "test"),
    ("the time, please", "", "", "test"),
    ("", "plant", "", "test"),
]
CLINC = pathlib.Path(__file__).parents[4] / "shared/data/clinc150/clinc150.csv"


def write(path, rows=ROWS, header=HEADER, mark=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=mark).writerows([header, *rows])
    return path


@pytest.mark.parametrize(("name", "mark"), [("t.csv", ","), ("t.tsv", "\t")])
def test_texts_become_vectors_and_labels_stay(tmp_path, name, mark):
    path = write(tmp_path / name, mark=mark)
    with pytest.warns(DataNotice, match="texts that are empty .*: 1, such as row 7"):
        dataset = load("csv", data_path=path)
    assert dataset.hierarchy.level_names == ("kind", "species")
    assert dataset.unit_name == "text" and dataset.row_names[7] == "(empty)"
    assert dataset.row_names[0] == "an owl, at night"
    unknown = (dataset.labels < 0).all(axis=1)
    assert np.flatnonzero(unknown).tolist() == [3, 6]
    expected = fit_texts([row[0] for row in ROWS[:4]])
    (encoding,) = dataset.feature_maps
    for one, other in zip(encoding, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(dataset.features, expected([r[0] for r in ROWS]))
    assert not dataset.features[7].any()


def test_they_are_fitted_on_training_rows_only(tmp_path):
    changed = [
        row if row[3] == "train" else ("quite another text", *row[1:]) for row in ROWS
    ]
    one = manifest.load(write(tmp_path / "one.csv"))
    other = manifest.load(write(tmp_path / "other.csv", changed))
    for ours, theirs in zip(one.feature_maps[0], other.feature_maps[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_files_and_texts_together(tmp_path):
    paint(tmp_path, *(f"{number}.png" for number in range(8)))
    rows = [(f"{number}.png", *row) for number, row in enumerate(ROWS)]
    path = write(tmp_path / "t.csv", rows, ("file", *HEADER))
    with pytest.raises(
        UserError, match="files in column 'file' and texts in column 't"
    ):
        manifest.load(path)
    rows = [(f"{number}.png", "ab"[number % 2]) for number in range(8)]
    named = write(tmp_path / "named.csv", rows, ("file", "text"))
    dataset = manifest.load(named, label_fields=["text"])
    assert dataset.hierarchy.class_names == ("a", "b")
    assert dataset.features.dtype == np.uint8 and not dataset.feature_maps


def test_an_archive_beside_texts_is_passed_over(tmp_path):
    np.savez(tmp_path / "t.npz", features=np.ones((8, 2)))
    with pytest.warns(DataNotice, match="column 'text', not taken from t.npz"):
        dataset = manifest.load(write(tmp_path / "t.csv"))
    assert dataset.features.shape[1] > 2


def test_very_long_cells_and_control_characters(tmp_path):
    rows = [("owl " * 50_000, *ROWS[0][1:]), ("\x01cod\x7f\u200b", *ROWS[1][1:])]
    limit = csv.field_size_limit()
    dataset = manifest.load(write(tmp_path / "t.csv", [*rows, *ROWS[2:]]))
    assert dataset.features[:2].any(axis=1).all()
    assert dataset.row_names.dtype.itemsize < 300
    assert csv.field_size_limit() == limit


def test_nul_and_blank_training_texts_are_refused(tmp_path):
    with pytest.raises(UserError, match="t.csv: is no text but bytes"):
        manifest.load(write(tmp_path / "t.csv", [("a\0b", *ROWS[0][1:]), *ROWS[1:]]))
    blank = [(" ", *row[1:]) for row in ROWS]
    with pytest.raises(UserError, match="t.csv: no training text holds anything"):
        manifest.load(write(tmp_path / "t.csv", blank))


def test_new_texts(tmp_path):
    table = write(tmp_path / "t.csv")
    assert read_texts(table) == [row[0] for row in ROWS]
    lines = tmp_path / "t.txt"
    lines.write_bytes("\ufeffone, two\r\n\r\n雨が降る\r\n".encode())
    assert read_texts(lines) == ["one, two", "", "雨が降る"]
    assert are_texts(lines) and are_texts(table) and not are_texts(tmp_path)
    write(tmp_path / "n.csv", [("x",)], ("note",))
    with pytest.raises(UserError, match="n.csv: no column 'text', there are note"):
        read_texts(tmp_path / "n.csv")
    with pytest.raises(UserError, match="t.csv: has texts, which the model does not"):
        read_unlabelled(table, (5,))
    (tmp_path / "e.txt").touch()
    with pytest.raises(UserError, match="e.txt: no texts in it"):
        read_texts(tmp_path / "e.txt")
    with pytest.raises(UserError, match=r"no.txt: no such file"):
        read_texts(tmp_path / "no.txt")


@pytest.mark.slow
@pytest.mark.skipif(not CLINC.exists(), reason="CLINC150 is not at hand")
def test_intents_lie_near_their_like():
    dataset = manifest.load(CLINC)
    assert dataset.hierarchy.nodes_per_level == (10, 150)
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {
        "train": 15_100,
        "validation": 3_100,
        "test": 5_500,
    }
    assert (dataset.labels[:, 0] < 0).sum() == 1200
    train, test = dataset.rows("train"), dataset.rows("test")[:500]
    nearest = train[(dataset.features[test] @ dataset.features[train].T).argmax(1)]
    known = dataset.labels[test, 1] >= 0
    right = dataset.labels[nearest, 1] == dataset.labels[test, 1]
    assert right[known].mean() > 0.75
