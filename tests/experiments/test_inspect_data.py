"""What the command about a data set prints."""

import numpy as np
import pytest

from experiments import inspect_data
from hierjax.data.inspection import Node
from tests.data.own.test_folder import zoo
from tests.experiments.test_train import make_npz


def test_a_folder(run, capsys, tmp_path):
    root = zoo(tmp_path / "zoo")
    (root / "notes.txt").write_text("x")
    assert run(inspect_data, f"--data_path={root}") == 0
    text = capsys.readouterr().out
    for line in (
        "note: ",
        "zoo: 23 rows, 4 classes, 3 levels",
        "features: uint8 [10, 10, 3], 0 to 22",
        "  animal (17, 1 of them no finer)",
        "    bird (11, 1 of them no finer)",
        "      owl (5)",
        "depth of the classes: 1 at 1, 3 at 3",
        "  animal/bird/owl/0.png: animal/bird/owl",
        "unknown in 3 rows (13 %)",
    ):
        assert line in text, line
    last = text.splitlines()[-1]
    assert last == f"python -m experiments.train --data_path={root}"


def test_leaks_and_lonely_classes_are_warned_of(run, capsys, tmp_path):
    features = np.arange(120, dtype=np.float32).reshape(-1, 1).repeat(2, axis=1)
    features[:, 1] = 1
    features[119] = features[0]
    labels = np.array([["a", f"c{i % 2}"] for i in range(120)])
    labels[4] = ["b", "z"]
    labels[1:60:2, 1] = ""
    split = np.repeat(["train", "test"], 60)
    path = make_npz(
        tmp_path / "own.npz",
        features=features,
        labels=labels,
        split=split,
        groups=np.arange(120) % 50,
    )
    assert run(inspect_data, "--dataset=npz", f"--data_path={path}") == 0
    text = capsys.readouterr().out
    for line in (
        "validation split is missing",
        "examples that occur in several splits: 1, such as row 0, row 119; ",
        "examples that occur with different labels",
        "groups (group) that lie in several splits",
        "classes of one row, which cannot be trained on and tested: 1, b/z",
        "level level_0: 99% of the rows are a, which a blind guess gets right",
        "classes with rows, but none for training: 1, a/c1",
        "classes are unequal, 59 to 1",
        "features that are the same in all training rows: 1 of 2",
    ):
        assert line in text, line
    assert "--dataset=npz" in text.splitlines()[-1]


def test_a_level_of_one_node_and_no_warnings(run, capsys, tmp_path):
    labels = np.array([["all", f"c{i % 3}"] for i in range(120)])
    path = make_npz(tmp_path / "own.npz", labels=labels)
    assert run(inspect_data, f"--data_path={path}") == 0
    assert "level level_0 has one node, all" in capsys.readouterr().out
    assert run(inspect_data, f"--data_path={make_npz(tmp_path / 'own2.npz')}") == 0
    text = capsys.readouterr().out
    assert "no warnings" in text and "stone (20)" in text


@pytest.mark.parametrize("most", [5, 40])
@pytest.mark.parametrize("branching", [(2,) * 8, (500,), (3, 200)])
def test_large_trees_are_cut_to_fit(branching, most):
    paths = [()]
    nodes = []
    for width in branching:
        paths = [(*path, str(i)) for path in paths for i in range(width)]
        nodes += paths
    found = [Node(path, 1, 0) for path in sorted(nodes)]
    lines = inspect_data.tree_lines(found, most)
    assert len(lines) <= most
    assert any("..." in line for line in lines)
    whole = inspect_data.tree_lines(found, len(nodes))
    assert len(whole) == len(nodes) and "..." not in "".join(whole)


def test_mistakes(fails, tmp_path):
    fails(inspect_data, ["--data_path=photos"], "no such folder", ".csv")
    fails(inspect_data, ["--dataset=digits", "--data_path=x.npz"], "read by")
    fails(inspect_data, ["--dataset=nonsense"], "unknown data set")
    fails(inspect_data, ["--experiment=quickstart"], "--experiment")
    fails(inspect_data, [f"--data_path={tmp_path}"], "no folders with images")


def test_names_are_shown_and_not_obeyed(run, capsys, tmp_path):
    labels = np.array([["a", "owl\x1b[31m"], ["a", "Owl\x1b[31m"], ["a", "cod"]] * 10)
    np.savez(tmp_path / "m.npz", features=np.eye(30), labels=labels)
    assert run(inspect_data, f"--data_path={tmp_path / 'm.npz'}") == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text and "owl\\x1b[31m (10)" in text
    assert (
        "nodes of one parent that are called alike, kept apart: 1, such as a/" in text
    )


@pytest.mark.parametrize(("rows", "warned"), [(70, False), (71, True)])
def test_a_level_that_one_node_fills(run, capsys, tmp_path, rows, warned):
    labels = np.array(["a", "b"])[(np.arange(100) >= rows).astype(int)]
    features = np.random.default_rng(0).normal(size=(100, 2))
    path = make_npz(tmp_path / "own.npz", features=features, labels=labels)
    assert run(inspect_data, f"--data_path={path}") == 0
    text = capsys.readouterr().out
    assert ("of the rows are a, which a blind guess gets right" in text) == warned
