"""Presets of class hierarchies, from their flags to their report."""

import re

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import evaluate, train
from experiments.papers import PRESETS, class_hierarchies
from experiments.runs.files import read_json
from experiments.settings import experiment, loading, methods
from hierjax import training
from hierjax.data.prepare import prepare
from tests.experiments.test_train import make_npz

SHORT = ["--num_steps=6", "--set=eval_every=3", "--num_devices=1", "--batch_size=16"]


def preset(name):
    return f"--experiment=class_hierarchies/{name}", *SHORT


@pytest.mark.parametrize("row", class_hierarchies.rows())
def test_every_configuration_trains_a_step(row):
    chosen = PRESETS[f"class_hierarchies/gm_notes/{row}"].experiment
    settings = {"model": "linear", "num_steps": 2, "eval_every": 2}
    settings |= {"augment": "none", "embed_dim": 8}
    small = type(chosen)(**(vars(chosen) | settings))
    dataset = loading.load_data(small)
    result = methods.fit(small, dataset, num_devices=1)
    scores = result.classifier.scores(result.embed(np.arange(4)))
    assert scores.shape == (4, 128) and np.isfinite(scores).all()
    assert np.isfinite(result.records[-1]["loss"])
    norms = np.linalg.norm(result.embed(np.arange(4)), axis=1)
    assert np.allclose(norms, 1, rtol=1e-4) == (row != "softmax")


@pytest.mark.parametrize(
    "name",
    [name for name in experiment.ENCODERS if name not in ("linear", "mlp", "pointnet")],
)
def test_every_network_fits_its_images(name):
    chosen = PRESETS["class_hierarchies/micro_s/proxydr"].experiment
    size = 128 if name == "inception_v3" else 32
    fields = {"model": name, "dtype": "bfloat16", "size_inform": True}
    model = methods.make_model(type(chosen)(**(vars(chosen) | fields)), 2)
    inputs = {"image": np.zeros((2, size, size, 3)), "size": np.ones((2, 2))}
    shapes = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), inputs)[0]
    )
    assert shapes.shape == (2, 128) and shapes.dtype == np.float32


def test_from_flags_to_report_and_again(
    run, capsys, tmp_path, whole_report, draw_no_more
):
    workdir = f"--workdir={tmp_path}/w"
    arguments = [workdir, *preset("gm_notes/proxydr+ema+dynamic")]
    # Which network it is does not matter here.
    arguments += ["--set=model=linear", "--set=augment=none"]
    assert run(train, *arguments, "--set=steps_per_call=3") == 0
    text = capsys.readouterr().out
    assert re.search(r"^instrument +[0-9]+ +0\.0.. .*\[.*\]$", text, re.M)
    assert "agree with the tree by gamma" in text
    text = (tmp_path / "w" / "report" / "report.md").read_text()
    assert "| classes | proxies | means |" in text and "| gamma/all |" in text
    results = read_json(tmp_path / "w" / "results.json")
    assert results["classes"]["untrained_classes"] == []
    first = results["classes"]["measures"]
    assert set(first["accuracy/instrument/proxies"]) == {"value", "low", "high"}
    names = {path.name for path in (tmp_path / "w" / "report").iterdir()}
    assert {"dendrograms_proxies.png", "class_distances.png"} <= names
    assert "proxies_upgma.nwk" in names and "means_upgma.nwk" in names
    records = training.read_records(tmp_path / "w" / "metrics.jsonl")
    assert {"scale", "accuracy", "validation/gamma/all/proxies"} <= set(records[-1])
    draw_no_more()
    assert run(evaluate, workdir) == 0
    again = read_json(tmp_path / "w" / "results.json")["classes"]["measures"]
    assert again.keys() == first.keys()
    for name, entry in first.items():
        if entry["value"] is not None:
            np.testing.assert_allclose(again[name]["value"], entry["value"], 1e-5)


def test_an_untrained_network(run, capsys, tmp_path):
    arguments = [*preset("gm_notes/untrained"), f"--workdir={tmp_path}/w"]
    assert run(train, *arguments) == 0
    results = read_json(tmp_path / "w" / "results.json")
    assert "best_step" not in results and "learned" not in results
    assert results["untrained"]["measures"]["knn/family"]["value"] > 0
    text = (tmp_path / "w" / "report" / "report.md").read_text()
    assert "| input | untrained | gain |" in text
    assert "accuracy/instrument/proxies" not in results["classes"]["measures"]
    assert not (tmp_path / "w" / "metrics.jsonl").exists()


def test_own_vectors_with_a_ragged_tree(run, capsys, tmp_path):
    path = make_npz(tmp_path / "own.npz")
    arguments = [*preset("npz/proxydr+mds"), f"--data_path={path}"]
    assert run(train, *arguments, f"--workdir={tmp_path}/w") == 0
    measures = read_json(tmp_path / "w" / "results.json")["classes"]["measures"]
    assert measures["gamma/all/proxies"]["value"] > 0.99


@pytest.mark.parametrize("name", ["cifar100/normface+ema", "micro_s/corr"])
def test_a_preset_moves_to_own_vectors(run, capsys, tmp_path, name):
    path = make_npz(tmp_path / "own.npz")
    arguments = [*preset(name), "--dataset=npz", f"--data_path={path}"]
    assert run(train, *arguments, f"--workdir={tmp_path}/w") == 0
    output = capsys.readouterr().out
    assert "for npz: model = 'auto'" in output
    assert "for these data: model = 'linear'" in output
    config = read_json(tmp_path / "w" / "config.json")
    assert config["augment"] == "none" and not config["size_inform"]
    assert (
        config["method"]["name"]
        == PRESETS[f"class_hierarchies/{name}"].experiment.method.name
    )


def test_own_images_with_sizes(run, tmp_path):
    rng = np.random.default_rng(0)
    path = make_npz(
        tmp_path / "own.npz",
        features=rng.integers(0, 256, (120, 9, 8, 3), np.uint8),
        sizes=rng.integers(5, 60, (120, 2)),
    )
    arguments = [*preset("npz/proxydr"), f"--data_path={path}"]
    arguments += ["--set=size_inform=true", "--set=model=convnet", "--set=width=4"]
    assert run(train, *arguments, f"--workdir={tmp_path}/w") == 0


def test_one_class_only(fails, tmp_path):
    path = make_npz(tmp_path / "own.npz", labels=np.array([["stone"]] * 120))
    own = [f"--data_path={path}", f"--workdir={tmp_path}/w"]
    fails(train, [*preset("npz/proxydr"), *own], "one class, stone,", "two or more")


def test_images_with_sizes_from_the_published_layout(run, capsys, tmp_path):
    folder = tmp_path / "manual"
    rows, paths = [], [("a", "p", "x"), ("a", "p", "y"), ("b", "z")]
    for number in range(60):
        path = paths[number % 3]
        name = f"MicroS/{'/'.join(path)}/{number}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        size = (20 + 30 * (number % 3), 25)
        Image.new("RGB", size, (80 * (number % 3), 90, 10)).save(folder / name)
        rows.append(f"{name},{path[-1]}")
    classes = [f"{path[-1]},{'/'.join(path)},{i}" for i, path in enumerate(paths)]
    (folder / "MicroS_cls.csv").write_text("\n".join(["Class,Path,Number", *classes]))
    (folder / "MicroS_info.csv").write_text("\n".join(["Filepath,Class", *rows]))
    prepare("micro_s", tmp_path / "tfds", folder)
    arguments = [*preset("micro_s/proxydr"), f"--data_dir={tmp_path}/tfds"]
    arguments += ["--set=model=convnet", "--set=width=4"]
    assert run(train, *arguments, f"--workdir={tmp_path}/w") == 0
    assert "train 42, validation 6, test 12" in capsys.readouterr().out
    written = (tmp_path / "w" / "report" / "report.md").read_text()
    assert "| test, n = 12 | input | learned | gain |" in written


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("gm_notes/proxydr", ["--set=size_inform=true"], ["size"]),
        ("gm_notes/proxydr", ["--set=value=0"], ["value", "above 0"]),
        (
            "gm_notes/proxydr",
            ["--set=representatives=emma"],
            ["representatives", "ema"],
        ),
        ("gm_notes/softmax", ["--set=representatives=ema"], ["softmax"]),
        ("gm_notes/corr", ["--set=scale=dynamic"], ["corr"]),
        ("gm_notes/proxydr", ["--set=representatives=ema", "--set=decay=2"], ["decay"]),
        ("gm_notes/proxydr", ["--set=distance=cosine"], ["distance", "arccos"]),
        ("gm_notes/proxydr", ["--set=model=resnet"], ["model", "resnet18"]),
        ("gm_notes/proxydr", ["--set=weights=none.pth"], ["none.pth"]),
        ("gm_notes/proxydr", ["--set=num_train=9999"], ["9999", "766"]),
        ("gm_notes/proxydr", ["--set=augment=random_affine_flip"], ["[H, W, C]"]),
        ("digits/proxydr", ["--set=model=inception_v3"], ["InceptionV3", "75"]),
        ("gm_notes/proxydr", ["--set=hidden_labels=1"], ["known class"]),
        ("cifar100/proxydr", [], ["data_dir"]),
        ("cifar100/proxydr", ["--data_dir=."], ["hierjax.data.prepare"]),
        ("nabirds/proxydr", ["--data_dir=."], ["hierjax.data.prepare"]),
    ],
)
def test_mistakes_are_one_sentence(fails, tmp_path, name, arguments, words):
    fails(train, [*preset(name), *arguments, f"--workdir={tmp_path}/w"], *words)


def test_weights_of_another_network(fails, tmp_path):
    from flax import serialization

    file = tmp_path / "other.msgpack"
    kernel = np.zeros((3, 3, 1, 7), np.float32)
    content = {"params": {"Conv_1": {"kernel": kernel}}, "batch_stats": {}}
    file.write_bytes(serialization.msgpack_serialize(content))
    arguments = [f"--set=weights={file}", f"--workdir={tmp_path}/w"]
    fails(train, [*preset("gm_notes/proxydr"), *arguments], "other.msgpack")


def test_cifar100_as_its_presets_load_it(shared_data):
    folder = shared_data.parent / "tfds"
    if not folder.is_dir():
        pytest.skip("no prepared CIFAR-100")
    chosen = PRESETS["class_hierarchies/cifar100/normface+ema"].experiment
    assert chosen.augment == "random_affine_flip"
    fields = {"data_dir": str(folder), "num_train": 500}
    dataset = loading.load_data(type(chosen)(**(vars(chosen) | fields)))
    assert dataset.features.dtype == np.uint8
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {
        "train": 500,
        "validation": 5000,
        "test": 10_000,
    }
    assert dataset.hierarchy.nodes_per_level == (3, 7, 20, 100)
    other = loading.load_data(type(chosen)(**(vars(chosen) | fields | {"seed": 1})))
    assert other.features is dataset.features
    assert (other.rows("validation") != dataset.rows("validation")).any()
