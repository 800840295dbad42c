"""The user's own data, from --data_path to the report."""

import dataclasses

import numpy as np
import pytest

from experiments import train
from experiments.papers import OWN_DATA_DEFAULT, PRESETS, own_data
from experiments.runs.files import read_json
from experiments.settings import adapting, loading
from hierjax.data import Dataset
from hierjax.hierarchy import Hierarchy
from tests.data.own.test_folder import paint
from tests.experiments.test_train import make_npz

SHORT = ["--num_steps=4", "--set=eval_every=2", "--num_devices=1"]


@pytest.fixture(autouse=True)
def fresh():
    """Folders of one name in different tests are different data."""
    loading._load_as_given.cache_clear()


def deep_zoo(root):
    """Eight levels, ragged, unequal, and 60 % of the deepest labels unknown."""
    chain = "/".join(f"n{level}" for level in range(6))
    names = [f"{chain}/{c}/leaf{c}" for c in "ab"] + ["n0/c", "d"]
    counts = (2, 6, 20, 9)
    files = [f"{n}/{i}.png" for n, count in zip(names, counts, strict=True)
             for i in range(count)]  # fmt: skip
    unknown = [f"{chain}/{i}.png" for i in range(12)]
    return paint(root, *files, *unknown, "n0/x.png")


def test_a_deep_ragged_unequal_tree_with_unknown_labels(run, capsys, tmp_path):
    root = deep_zoo(tmp_path / "zoo")
    workdir = tmp_path / "w"
    # A perceptron, since compiling a convolution takes longer than all the rest.
    arguments = [f"--data_path={root}", f"--workdir={workdir}", "--set=model=mlp"]
    assert run(train, *arguments, *SHORT) == 0
    text = capsys.readouterr().out
    default = OWN_DATA_DEFAULT.format(kind="folder")
    for line in (
        f"experiment: {default}",
        "for these data: augment = 'random_affine_flip'",
        "for these data: standardize = False",
    ):
        assert line in text, line
    config = read_json(workdir / "config.json")
    assert config["model"] == "mlp" and config["dataset"] == "folder"
    assert config["augment"] == "random_affine_flip"
    assert config["method"]["name"] == PRESETS[default].experiment.method.name
    results = read_json(workdir / "results.json")
    assert 0 <= results["learned"]["measures"]["knn/level_0"]["value"] <= 1
    finest = list(results["most_frequent"])[-1]
    found = results["classes"]["measures"][f"accuracy/{finest}/proxies"]
    assert 0 <= found["value"] <= 1


def test_features_with_a_table_of_paths(run, fails, tmp_path):
    make_npz(tmp_path / "own.npz")
    with np.load(tmp_path / "own.npz") as arrays:
        features, labels = arrays["features"], arrays["labels"]
    np.savez(tmp_path / "features.npz", features=features)
    (tmp_path / "own.npz").unlink()
    paths = ["/".join(filter(None, row)) for row in labels.tolist()]
    (tmp_path / "labels.csv").write_text("\n".join(["Path", *paths]) + "\n")
    arguments = [f"--data_path={tmp_path}/labels.csv", f"--workdir={tmp_path}/w"]
    assert run(train, *arguments, *SHORT) == 0
    config = read_json(tmp_path / "w" / "config.json")
    assert (config["dataset"], config["model"]) == ("csv", "linear")
    assert config["init"] == "identity" and config["evaluate_start"]
    assert config["standardize"] != config["common_scale"]
    assert config["augment"] == "none"
    # What the data decide is decided alike the second time.
    fails(train, [*arguments, *SHORT, "--seed=4"], "seed was 0 and is now 4")


def small_images(root, per_class):
    paint(root, *(f"{c}/{i}.png" for c in "ab" for i in range(per_class)))
    preset = PRESETS["rank_based/folder/rbl_block_edge"].experiment
    changes = {"data_path": str(root), "selection": "silhouette/average"}
    return dataclasses.replace(preset, **changes)


def test_what_the_user_sets_stays(capsys, tmp_path):
    asked = dataclasses.replace(
        small_images(tmp_path, 6), model="linear", standardize=True, batch_size=20
    )
    given = ("model", "standardize", "batch_size", "data_path")
    adapted = adapting.adapt(asked, given)
    assert (adapted.model, adapted.batch_size) == ("linear", 20)
    assert adapted.standardize and adapted.augment == "random_affine_flip"
    assert "for these data: model" not in capsys.readouterr().out
    freely = adapting.adapt(asked, ("data_path",))
    # The network is no 'auto'; the rest follows the data.
    assert (freely.model, freely.batch_size) == ("linear", 8)
    assert not freely.standardize
    assert adapting.adapt(freely, ()) is freely


def test_few_validation_labels_choose_another_measure(capsys, tmp_path):
    # One row in the validation split has no silhouette.
    adapted = adapting.adapt(small_images(tmp_path, 3), ())
    assert adapted.selection == "nn/average" and adapted.batch_size == 4
    assert "for these data: selection = 'nn/average'" in capsys.readouterr().out


def test_unknown_validation_labels_choose_another_measure(tmp_path):
    labels = np.array([["a", "b"], ["a", "c"], ["d", "e"]] * 10)
    split = np.repeat(["train", "val", "test"], 10)
    labels[10:20, 1] = ""
    make_npz(tmp_path / "o.npz", features=np.eye(30), labels=labels, split=split)
    preset = PRESETS["class_hierarchies/npz/proxydr"].experiment
    chosen = dataclasses.replace(preset, data_path=str(tmp_path / "o.npz"))
    assert chosen.selection == "accuracy"
    assert adapting.adapt(chosen, ()).selection == "nn/average"


def vectors(tmp_path, features, **changes):
    """An experiment of a pair loss on vectors of two classes, in all splits."""
    labels = np.array(["a", "b"])[np.arange(len(features)) % 2]
    split = np.array(["train", "train", "val", "test"])[
        np.arange(len(features)) // 2 % 4
    ]
    path = make_npz(tmp_path / "v.npz", features=features, labels=labels, split=split)
    preset = PRESETS["rank_based/npz/triplet"].experiment
    return dataclasses.replace(preset, data_path=str(path), **changes)


def test_vectors_start_from_themselves_in_the_better_scaling(tmp_path):
    rng = np.random.default_rng(0)
    told = np.where(np.arange(160) % 2, 3.0, -3.0)[:, None]
    noise = rng.normal(size=(160, 30))
    unequal = 1e-5 * np.hstack([told + 0.1 * noise[:, :1], 0.1 * noise])
    adapted = adapting.adapt(vectors(tmp_path, unequal), ())
    assert adapted.common_scale and not adapted.standardize
    assert (adapted.model, adapted.init) == ("linear", "identity")
    assert adapted.evaluate_start
    dataset = loading.load_data(adapted)
    train = dataset.features[dataset.rows("train")]
    assert np.sqrt(np.mean(np.square(train))) == pytest.approx(1, abs=1e-4)

    hidden = np.hstack([told + 0.1 * noise[:, :1], 1000 * noise[:, :2]])
    (tmp_path / "two").mkdir()
    adapted = adapting.adapt(vectors(tmp_path / "two", hidden, embed_dim=2), ())
    assert adapted.standardize and adapted.init == "pca"


def test_a_perceptron_and_a_users_own_scaling_stay(tmp_path):
    features = np.random.default_rng(0).normal(size=(40, 5))
    mlp = vectors(tmp_path, features, model="mlp")
    adapted = adapting.adapt(mlp, ("model", "standardize"))
    assert (adapted.model, adapted.init) == ("mlp", "random")
    assert adapted.standardize and not adapted.evaluate_start
    probes = PRESETS["hierarchical_contrastive/npz/supcon_fine"].experiment
    probes = dataclasses.replace(probes, data_path=mlp.data_path)
    assert adapting.adapt(probes, ()).model == "mlp"


def test_mistakes_say_what_to_do_next(fails, tmp_path):
    where = f"--workdir={tmp_path}/w"
    np.savez(tmp_path / "f.npz", features=np.eye(9))
    fails(train, [f"--data_path={tmp_path}/f.npz", where], "'labels' is missing",
          "f.csv", "--data_path")  # fmt: skip
    (tmp_path / "empty").mkdir()
    fails(train, [f"--data_path={tmp_path}/empty", where], "no folders with images")
    fails(train, [f"--data_path={tmp_path}", where], f"--data_path={tmp_path}/f.npz")
    paint(tmp_path / "zoo", "a/1.png", "b/1.png")
    fails(train, [f"--data_path={tmp_path}/zoo", where], "too few to split")
    fails(
        train,
        [f"--data_path={tmp_path}/zoo", "--label_fields=a", where],
        "label_fields",
        "csv",
    )
    assert not (tmp_path / "w").exists()


def of_shape(*shape, dtype=np.float32, low=0.0, high=1.0):
    features = np.random.default_rng(0).uniform(low, high, (4, *shape)).astype(dtype)
    tree = Hierarchy.from_paths([("a",), ("b",)])
    labels = tree.labels_of([0, 1, 0, 1])
    return Dataset("x", features, labels, tree, {"train": range(4)})


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (of_shape(20), ("linear", "none", True, 1)),
        (of_shape(20, dtype=np.uint8, high=255), ("linear", "none", True, 1)),
        (of_shape(4, 5), ("linear", "none", True, 1)),
        (of_shape(8, 8), ("linear", "none", True, 1)),
        (of_shape(2, 9, 9, 9), ("linear", "none", True, 1)),
        (of_shape(40, 3), ("pointnet", "points_rotate_jitter", False, 2)),
        (of_shape(600, 3), ("pointnet", "points_256", False, 2)),
        (of_shape(24, 32), ("convnet", "random_shift_noise", False, 2)),
        (of_shape(24, 32, low=-80), ("convnet", "random_shift_noise", True, 2)),
        (of_shape(9, 9, 5), ("convnet", "none", False, 1)),
        (of_shape(9, 9, 3), ("convnet", "shift_jitter_noise", False, 2)),
        (of_shape(9, 9, 3, high=9), ("convnet", "none", True, 1)),
        (
            of_shape(31, 40, 3, dtype=np.uint8, high=255),
            ("convnet", "simclr", False, 2),
        ),
        (
            of_shape(32, 40, 3, dtype=np.uint8, high=255),
            ("small_resnet", "simclr", False, 2),
        ),
        (
            of_shape(64, 64, 1, dtype=np.uint8, high=255),
            ("small_resnet", "shift_jitter_noise", False, 2),
        ),
        (
            of_shape(28, 28, dtype=np.uint8, high=255),
            ("convnet", "shift_jitter_noise", False, 2),
        ),
    ],
)
def test_the_shape_decides(dataset, expected):
    chosen = adapting.suited_to(dataset, num_views=2)
    fields = ("model", "augment", "standardize", "num_views")
    assert tuple(chosen[field] for field in fields) == expected


def test_one_view_of_images_is_changed_less():
    images = of_shape(32, 32, 3, dtype=np.uint8, high=255)
    assert adapting.suited_to(images, num_views=1)["augment"] == "random_affine_flip"


@pytest.mark.parametrize("kind", own_data.KINDS)
@pytest.mark.parametrize(
    "family", ["rank_based", "class_hierarchies", "hierarchical_contrastive"]
)
def test_every_family_has_presets_for_own_data(family, kind):
    presets = [p for name, p in PRESETS.items() if name.startswith(f"{family}/{kind}/")]
    assert len(presets) > 5
    assert all(preset.experiment.model == "auto" for preset in presets)
    assert OWN_DATA_DEFAULT.format(kind=kind) in PRESETS


def test_many_rows_take_more_steps(tmp_path):
    preset = PRESETS["class_hierarchies/npz/proxydr"].experiment
    for rows, times in ((900, 1), (8000, 3), (40_000, 4)):
        labels = np.array(["a", "b"])[np.arange(rows) % 2]
        features = np.arange(2 * rows, dtype=np.float32).reshape(-1, 2)
        path = make_npz(tmp_path / f"{rows}.npz", features=features, labels=labels)
        chosen = dataclasses.replace(preset, data_path=str(path))
        adapted = adapting.adapt(chosen, ())
        assert adapted.num_steps == times * preset.num_steps
        assert adapted.eval_every == times * preset.eval_every
        given = adapting.adapt(chosen, ("num_steps",))
        assert given.num_steps == preset.num_steps
