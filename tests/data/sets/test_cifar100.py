import csv
import io
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hierjax.data import cifar100, load
from hierjax.data.sets import cifar100_tree
from hierjax.errors import MissingDataError, UserError

NUM_TRAIN, NUM_TEST = 30, 10


def image_of(split, number):
    rng = np.random.default_rng([split == "test", number])
    return rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)


def label_of(split, number):
    return (number * 7 + (split == "test")) % 100


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder of TFDS with a small CIFAR-100, made without TensorFlow."""
    import tensorflow_datasets as tfds

    class Cifar100(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Like that of TFDS, but small."""

        name = "cifar100"
        VERSION = tfds.core.Version("3.0.2")
        url_infos = {}

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(32, 32, 3), encoding_format="png"),
                "label": tfds.features.ClassLabel(num_classes=100),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager):
            return {
                "train": self._generate_examples("train", NUM_TRAIN),
                "test": self._generate_examples("test", NUM_TEST),
            }

        def _generate_examples(self, split, count):
            for number in range(count):
                file = io.BytesIO()
                Image.fromarray(image_of(split, number)).save(file, "PNG")
                label = label_of(split, number)
                yield number, {"image": file.getvalue(), "label": label}

    folder = tmp_path_factory.mktemp("tfds")
    Cifar100(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and nothing kept in the process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cifar100._read.cache_clear()
    return tmp_path / "cache" / "hierjax"


@pytest.fixture
def decoded(monkeypatch):
    """Counts how often the images are decoded."""
    calls, decode = [], cifar100._decode
    monkeypatch.setattr(
        cifar100, "_decode", lambda *args: calls.append(args) or decode(*args)
    )
    return calls


def check_content(dataset):
    assert dataset.features.shape == (NUM_TRAIN + NUM_TEST, 32, 32, 3)
    assert dataset.features.dtype == np.uint8
    for row in range(NUM_TRAIN + NUM_TEST):
        place = ("train", row) if row < NUM_TRAIN else ("test", row - NUM_TRAIN)
        np.testing.assert_array_equal(dataset.features[row], image_of(*place))
        assert dataset.labels[row, -1] == label_of(*place)


def test_the_tree_has_3_7_20_and_100_nodes():
    tree = cifar100_tree.hierarchy()
    assert tree.nodes_per_level == (3, 7, 20, 100)
    assert tree.level_names == ("realm", "group", "superclass", "class")
    assert tree.class_names == tuple(sorted(tree.class_names))
    assert tree.class_names[::33] == ("apple", "forest", "raccoon", "worm")
    pairs = tree.path_length()[np.triu_indices(100, 1)]
    distances, counts = np.unique(pairs, return_counts=True)
    assert distances.tolist() == [2, 4, 6, 8]
    assert counts.tolist() == [200, 650, 1000, 3100]
    assert pairs.mean() == pytest.approx(6.828, abs=5e-4)
    superclass = tree.ancestors[:, 2]
    assert (np.bincount(superclass) == 5).all()
    counts = np.bincount(tree.ancestors[:, 0]).tolist()
    assert dict(zip(tree.node_names(0), counts, strict=True)) == {
        "Nature_non-animal": 20,
        "Animals": 50,
        "Artificial": 30,
    }


def test_the_tree_is_the_published_one(shared_data):
    with open(shared_data / "taxonomies" / "CIFAR100_cls.csv") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["Number"]))
    published = tuple(tuple(row["Path"].split("/")) for row in rows)
    assert cifar100_tree.hierarchy().paths == published


def test_the_two_levels_of_the_set_itself(prepared, cache):
    tree = cifar100.load(prepared)
    two = cifar100.load(prepared, protocol="superclasses")
    assert two.hierarchy.level_names == ("superclass", "class")
    assert two.hierarchy.class_names == tree.hierarchy.class_names
    np.testing.assert_array_equal(two.labels[:, 1], tree.labels[:, 3])
    for coarse in np.unique(two.labels[:, 0]):
        assert len(set(tree.labels[two.labels[:, 0] == coarse, 2])) == 1
    with pytest.raises(UserError, match="'tree' or 'superclasses', got 'coarse'"):
        cifar100.load(prepared, protocol="coarse")


def test_a_small_set(prepared, cache):
    dataset = cifar100.load(prepared)
    check_content(dataset)
    assert dataset.name == "cifar100" and dataset.unit_name == "image"
    assert dataset.sizes is None and dataset.inputs is dataset.features
    assert [len(rows) for rows in dataset.splits.values()] == [27, 3, 10]
    assert dataset.rows("test").tolist() == [*range(30, 40)]
    both = np.concatenate([dataset.rows("train"), dataset.rows("validation")])
    assert sorted(both.tolist()) == [*range(30)]


def test_seeds_share_the_images_and_draw_the_validation_split(prepared, cache):
    first, second = (load("cifar100", data_dir=prepared, seed=seed) for seed in (0, 1))
    assert first.features is second.features
    assert not first.features.flags.writeable
    assert first.rows("test").tolist() == second.rows("test").tolist()
    validation = first.rows("validation").tolist()
    assert validation != second.rows("validation").tolist()
    again = cifar100.load(prepared, 0)
    assert validation == again.rows("validation").tolist()
    seen = {
        row
        for seed in range(60)
        for row in cifar100.load(prepared, seed).rows("validation").tolist()
    }
    assert seen == set(range(30))


def test_decoded_once(prepared, cache, decoded):
    check_content(cifar100.load(prepared))
    assert [file.name for file in cache.iterdir()] == ["cifar100.npz"]
    cifar100._read.cache_clear()
    check_content(cifar100.load(prepared))
    assert len(decoded) == 1


def truncate(file):
    file.write_bytes(file.read_bytes()[:-2000])


def scratch(file):
    content = bytearray(file.read_bytes())
    content[5000] ^= 1
    file.write_bytes(content)


def other_arrays(file):
    with np.load(file) as arrays:
        arrays = dict(arrays)
    del arrays["is_test"]
    np.savez(file, **arrays)


@pytest.mark.parametrize(
    "spoil", [truncate, scratch, other_arrays, pathlib.Path.unlink]
)
def test_a_broken_cache_is_made_anew(prepared, cache, decoded, spoil):
    cifar100.load(prepared)
    spoil(cache / "cifar100.npz")
    for _ in range(2):
        cifar100._read.cache_clear()
        check_content(cifar100.load(prepared))
    assert len(decoded) == 2


def test_a_stale_cache_is_made_anew(prepared, cache, decoded, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(prepared, copy)
    cifar100.load(copy)
    for file in (copy / "cifar100" / "3.0.2").iterdir():
        os.utime(file, (1, 1))
    check_content(cifar100.load(copy))
    assert len(decoded) == 2


def test_no_cache_is_no_error(prepared, cache, decoded):
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    for _ in range(2):
        cifar100._read.cache_clear()
        with pytest.warns(UserWarning, match="could not be kept in .*cifar100.npz"):
            check_content(cifar100.load(prepared))
    assert len(decoded) == 2


def test_missing_and_unsuitable_data(prepared, cache, tmp_path):
    message = (
        r"cifar100: no prepared data set; run pip install 'hierjax\[prepare\]' and "
        rf"then python -m hierjax.data.prepare cifar100 --data_dir={tmp_path}$"
    )
    with pytest.raises(MissingDataError, match=message):
        cifar100.load(tmp_path)
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    info = tmp_path / "cifar100" / "3.0.2" / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match="prepared as tfrecord, needed is array_record"):
        cifar100.load(tmp_path)


def test_tensorflow_is_never_imported(prepared, tmp_path):
    trap = tmp_path / "tensorflow" / "__init__.py"
    trap.parent.mkdir()
    trap.write_text("raise RuntimeError('TensorFlow was imported')")
    root = pathlib.Path(__file__).parents[3]
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from hierjax.data import cifar100;"
            "assert 'tensorflow_datasets' not in sys.modules;"
            f"cifar100.load({str(prepared)!r});"
            "assert 'tensorflow_datasets' in sys.modules;"
            "assert 'tensorflow' not in sys.modules",
        ],
        env=os.environ
        | {
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}",
            "XDG_CACHE_HOME": str(tmp_path),
        },
        check=True,
    )


def test_real_data(shared_data):
    folder = shared_data.parent / "tfds"
    if not (folder / "cifar100").is_dir():
        pytest.skip(f"no CIFAR-100 prepared in {folder}")
    import tensorflow_datasets as tfds

    dataset = cifar100.load(folder)
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {
        "train": 45_000,
        "validation": 5_000,
        "test": 10_000,
    }
    images = dataset.features[:50_000].reshape(-1, 3)
    np.testing.assert_allclose(
        images.mean(axis=0) / 255, [0.50707516, 0.48654887, 0.44091784], atol=1e-7
    )
    np.testing.assert_allclose(
        [images[:, channel].std() / 255 for channel in range(3)],
        [0.26733429, 0.25643846, 0.27615047],
        atol=1e-7,
    )
    assert (np.bincount(dataset.labels[:50_000, -1]) == 500).all()
    assert (np.bincount(dataset.labels[50_000:, -1]) == 100).all()

    source = tfds.data_source("cifar100", split="test", data_dir=folder, download=False)
    superclasses = (folder / "cifar100/3.0.2/coarse_label.labels.txt").read_text()
    names = superclasses.split()
    rows = range(0, 10_000, 7)
    for row, example in zip(rows, source.__getitems__(rows), strict=True):
        np.testing.assert_array_equal(dataset.features[50_000 + row], example["image"])
        path = dataset.hierarchy.paths[example["label"]]
        assert dataset.labels[50_000 + row, -1] == example["label"]
        assert path[2] == names[example["coarse_label"]]
    classes = (folder / "cifar100/3.0.2/label.labels.txt").read_text().split()
    assert dataset.hierarchy.class_names == tuple(classes)
