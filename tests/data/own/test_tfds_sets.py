import io

import numpy as np
import pytest
from PIL import Image

from hierjax.data import load
from hierjax.data.own import tfds_sets
from hierjax.data.reading import cache
from hierjax.errors import DataNotice, MissingDataError, UserError

SPLITS = {"train": 20, "val": 6, "test": 6, "unlabelled": 2}
KINDS = ("owl", "wren", "cod")
SIZES = ((13, 9), (9, 13))


def image_of(split, number, size=(9, 9)):
    rng = np.random.default_rng([list(SPLITS).index(split), number])
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return pixels, file.getvalue()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder of TFDS with small sets, made without TensorFlow."""
    import tensorflow_datasets as tfds

    def make(set_name, features, example, splits):
        class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            """A small set."""

            name = set_name
            VERSION = tfds.core.Version("1.0.0")
            url_infos = {}

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(features),
                    disable_shuffling=True,
                )

            def _split_generators(self, dl_manager):
                return {split: self._generate_examples(split) for split in splits}

            def _generate_examples(self, split):
                for number in range(SPLITS[split]):
                    yield number, example(split, number)

        Builder(data_dir=folder, file_format="array_record").download_and_prepare()

    folder = tmp_path_factory.mktemp("tfds")
    of = tfds.features
    make(
        "birds",
        {
            "image": of.Image(shape=(9, 9, 3), encoding_format="png"),
            "group": of.ClassLabel(names=["bird", "fish"]),
            "label": of.ClassLabel(names=KINDS),
            "place": of.Text(),
            "id": of.Scalar(np.int64),
        },
        lambda split, i: {
            "image": image_of(split, i)[1],
            "group": int(i % 3 == 2),
            # Some are unknown.
            "label": -1 if i in (3, 5) else i % 3,
            "place": ("sea", "wood", "sea")[i % 3],
            "id": i,
        },
        SPLITS,
    )
    make(
        "photos",
        {
            "image": of.Image(encoding_format="png"),
            "label": of.ClassLabel(names=KINDS),
        },
        lambda split, i: {
            "image": image_of(split, i, SIZES[i % 2])[1],
            "label": i % 3,
        },
        ("train", "test"),
    )
    make(
        "vectors",
        {"x": of.Tensor(shape=(4,), dtype=np.float32), "y": of.Scalar(np.int32)},
        lambda split, i: {"x": np.full(4, i, np.float32), "y": i % 2},
        ("train", "test"),
    )
    make(
        "texts",
        {"text": of.Text(), "label": of.ClassLabel(names=KINDS)},
        lambda split, i: {"text": "x", "label": 0},
        ("test",),
    )
    return folder


def test_levels_from_label_features(prepared):
    with pytest.warns(DataNotice, match="leaves out unlabelled"):
        dataset = load("tfds:birds", data_dir=prepared, label_fields=["group", "label"])
    assert dataset.features.shape == (32, 9, 9, 3)
    assert dataset.hierarchy.level_names == ("group", "label")
    assert set(dataset.hierarchy.paths) == {
        ("bird", "owl"),
        ("bird", "wren"),
        ("fish", "cod"),
    }
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {
        "train": 20,
        "validation": 6,
        "test": 6,
    }
    for row, name in enumerate(dataset.row_names):
        split, number = name.split(":")
        np.testing.assert_array_equal(
            dataset.features[row], image_of(split, int(number))[0]
        )
        known = dataset.labels[row] >= 0
        assert known.tolist() == [True, int(number) not in (3, 5)]
    place = load("tfds:birds", data_dir=prepared, label_fields=["place"])
    assert place.hierarchy.class_names == ("sea", "wood")
    numbers = tfds_sets.load("birds", prepared, label_fields=("group", "id"))
    assert numbers.hierarchy.num_levels == 2


def test_images_of_several_sizes_and_a_drawn_validation_split(prepared):
    with pytest.warns(DataNotice, match="validation split is missing"):
        dataset = tfds_sets.load("photos", prepared)
    assert dataset.features.shape == (26, 9, 9, 3)
    assert dataset.hierarchy.level_names == ("label",)
    sizes = [len(dataset.splits[s]) for s in ("train", "validation", "test")]
    assert sum(sizes) == 26 and sizes[1] in (2, 3) and sizes[2] == 6
    row = dataset.row_names.tolist().index("test:1")
    pixels, _ = image_of("test", 1, SIZES[1])
    np.testing.assert_array_equal(dataset.features[row], pixels[:, 2:11])
    smaller = tfds_sets.load("photos", prepared, image_size=8)
    assert smaller.features.shape[1:] == (8, 8, 3)


def test_vectors_and_a_tree_of_their_own(prepared, tmp_path):
    dataset = tfds_sets.load("vectors", prepared, label_fields=("y",))
    assert dataset.features.shape == (26, 4) and dataset.features[25, 0] == 5
    tree = tmp_path / "tree.csv"
    tree.write_text("Path\nanimal/owl\nanimal/wren\ncod\n")
    photos = tfds_sets.load("photos", prepared, tree)
    assert photos.hierarchy.num_levels == 2
    row = photos.row_names.tolist().index("train:1")
    names = photos.hierarchy.class_names
    assert names[photos.labels[row, -1]] == "wren"


def test_decoded_once(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tfds_sets, "_WORTH_KEEPING", 10)
    first = tfds_sets.load("photos", prepared)
    monkeypatch.setattr(tfds_sets, "read_examples", None)
    second = tfds_sets.load("photos", prepared)
    np.testing.assert_array_equal(second.features, first.features)
    assert second.row_names.tolist() == first.row_names.tolist()
    assert cache.remember("tfds-photos", "other", (), dict) == {}


def test_mistakes(prepared, tmp_path):
    with pytest.raises(UserError, match="which one"):
        load("tfds", data_dir=prepared)
    with pytest.raises(UserError, match="'tfds:birds' needs data_dir, the folder"):
        load("tfds:birds")
    with pytest.raises(
        MissingDataError, match=r"no prepared data set; run .*builder\('x'.*array_rec"
    ):
        load("tfds:x", data_dir=tmp_path)
    with pytest.raises(UserError, match="coarsest first; there are group, id, label"):
        load("tfds:birds", data_dir=prepared)
    with pytest.raises(UserError, match="no label 'kind' for label_fields, there are"):
        load("tfds:birds", data_dir=prepared, label_fields=["kind"])
    with pytest.raises(UserError, match="needs one image, recording or numeric tensor"):
        load("tfds:texts", data_dir=prepared)
    with pytest.raises(UserError, match="'tfds:birds' has no protocols"):
        load("tfds:birds", data_dir=prepared, protocol="p")


def test_real_sets(shared_data):
    folder = shared_data.parent / "tfds"
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no MNIST prepared in {folder}")
    with pytest.warns(DataNotice, match="validation split is missing"):
        dataset = tfds_sets.load("mnist", folder)
    assert dataset.features.shape == (70_000, 28, 28, 1)
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {
        "train": 54_000,
        "test": 10_000,
        "validation": 6_000,
    }
    # The published numbers of every digit in the test images.
    counts = np.bincount(dataset.labels[dataset.rows("test"), -1])
    assert counts.tolist() == [*(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)]
