"""What a newcomer runs first, shrunk: its presets, unseen classes, neighbours."""

import json
import re

import numpy as np
import pytest

from experiments import train
from experiments.papers import PRESETS, QUICKSTART, default_preset, fields_on_other_data
from experiments.report.unseen import describe_unseen
from experiments.runs import neighbors
from experiments.runs.neighbors import find_neighbors, spread_over_nodes
from experiments.runs.unseen import measure_unseen
from hierjax import Hierarchy
from hierjax.data import Dataset

TREE = Hierarchy.from_paths([("a", "b"), ("a", "c"), ("d", "e"), ("f", "g")])


def make_dataset(num=64, **changes):
    """Rows near their class's corner; f is hidden from training, its queries apart."""
    rng = np.random.default_rng(0)
    classes = np.arange(num) % 4
    features = np.eye(4)[classes] + 0.05 * rng.normal(size=(num, 4))
    labels = TREE.labels_of(classes)
    is_hidden, rows = classes == 3, np.arange(num)
    parts = {
        "train": rows < num // 2,
        "test": (rows >= num // 2) & ~is_hidden,
        "unseen": (rows >= num // 2) & is_hidden,
    }
    fields = {
        "features": features,
        "labels": labels,
        "train_labels": np.where(is_hidden[:, None], -1, labels),
        "splits": {name: np.flatnonzero(part) for name, part in parts.items()},
    }
    return Dataset(name="toy", hierarchy=TREE, **(fields | changes))


def test_unseen_classes_are_asked_for_in_the_whole_gallery():
    dataset = make_dataset()
    collapsed = np.where(dataset.labels[:, :1] == 2, np.eye(4)[0], dataset.features)
    found = measure_unseen(
        {"input": dataset.features.__getitem__, "learned": collapsed.__getitem__},
        dataset,
    )
    assert found["queries"] == 8
    assert found["nodes"] == {"level_0": ["f"], "level_1": ["g"]}
    for level in TREE.level_names:
        assert found["input"]["measures"][f"knn/{level}"]["value"] == 1
        # On one another, but the first rows of the gallery are as near.
        assert 0 <= found["learned"]["measures"][f"knn/{level}"]["value"] <= 1
    text = describe_unseen({"unseen": found})
    assert text.startswith(
        "Never seen in training: level_0 f, level_1 g. Of its 8 rows"
    )
    assert "(input 1.000)" in text
    assert describe_unseen({}) == ""
    alone = describe_unseen({"unseen": {k: found[k] for k in found if k != "learned"}})
    assert alone.endswith("level_0 1.000, level_1 1.000.")


def test_many_unseen_nodes_are_counted():
    unseen = {
        "queries": 9,
        "nodes": {"top": [], "leaf": list("abcd")},
        "input": {"measures": {k: {"value": 0.5} for k in ("knn/top", "knn/leaf")}},
    }
    text = describe_unseen({"unseen": unseen})
    assert text.startswith("Never seen in training: 4 nodes of level leaf. ")


def test_queries_are_of_as_many_nodes_as_can_be():
    dataset = make_dataset()
    rows = spread_over_nodes(dataset, "test", 5)
    # Two nodes, so that neither has two more rows than the other.
    assert np.bincount(dataset.labels[rows, 0]).tolist() in ([3, 2], [2, 3])
    assert set(rows) <= set(dataset.rows("test")) and len(set(rows)) == 5
    np.testing.assert_array_equal(rows, spread_over_nodes(dataset, "test", 5))
    assert len(spread_over_nodes(dataset, "test", 999)) == len(dataset.rows("test"))
    unknown = np.full_like(dataset.labels, -1)
    hidden = make_dataset(labels=unknown, train_labels=unknown)
    assert len(spread_over_nodes(hidden, "test", 5)) == 5


def test_neighbours_are_the_nearest_training_rows(monkeypatch):
    monkeypatch.setattr(neighbors, "NUM_NEIGHBORS", 3)
    dataset = make_dataset()
    found = find_neighbors(dataset.features.__getitem__, dataset, "test")
    assert set(found.queries) == {"test", "unseen"}
    train_rows = dataset.rows("train")
    units = dataset.features / np.linalg.norm(dataset.features, axis=1, keepdims=True)
    for query in np.concatenate(list(found.queries.values())):
        order = np.argsort(-units[train_rows] @ units[query], kind="stable")
        np.testing.assert_array_equal(found.nearest[query], train_rows[order[:3]])
    few = make_dataset(
        splits={"train": np.arange(2), "test": np.arange(4, 7)}, train_labels=None
    )
    assert len(find_neighbors(few.features.__getitem__, few, "test").nearest[4]) == 2


def test_moved_to_other_data_the_quick_start_leaves_its_fold_and_size():
    assert default_preset("gm_notes") == QUICKSTART
    assert default_preset("tfds:any") == "class_hierarchies/tfds/proxydr"
    preset = PRESETS[QUICKSTART].experiment
    assert preset.fold and preset.image_size
    moved = fields_on_other_data(QUICKSTART, "digits")
    assert moved["fold"] == moved["image_size"] == 0
    assert moved["model"] == "mlp" and moved["protocol"] == ""
    back = fields_on_other_data("class_hierarchies/gm_notes/proxydr", "omniglot")
    assert back["image_size"] == 26 and back["model"] == "convnet_flat"
    assert "fold" not in back


@pytest.mark.parametrize("name", ["quickstart", "quickstart_sounds"])
def test_the_quick_starts_need_no_data_of_the_users(name):
    preset = PRESETS[name].experiment
    assert preset.dataset in ("omniglot", "gm_notes")
    assert not preset.data_dir and not preset.data_path


@pytest.mark.slow
def test_the_quick_start_from_flags_to_page(run, capsys, tmp_path):
    arguments = ["--num_steps=3", "--set=eval_every=3", "--batch_size=16"]
    arguments += ["--set=width=2", "--set=num_train=250", "--set=num_evaluated=40"]
    arguments += [f"--workdir={tmp_path}/w", "--num_devices=1"]
    assert run(train, *arguments) == 0
    printed = capsys.readouterr().out
    assert "8 alphabet -> 242 character" in printed
    assert re.search(
        r"^Never seen in training: alphabet Tagalog, 1\d nodes of level character\. "
        r"Of its 40 rows .*: alphabet [01]\.\d+ \(input 0\.\d+\), character ",
        printed,
        re.MULTILINE,
    )
    results = json.loads((tmp_path / "w" / "results.json").read_text())
    assert results["unseen"]["queries"] == 40
    page = (tmp_path / "w" / "report" / "index.html").read_text("utf-8")
    assert page.count('class="strip"') == 8 + 4
    assert "Differ from the preset quickstart" in page
