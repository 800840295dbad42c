import io

import jax
import numpy as np
import pytest
from PIL import Image

from hierjax.data import hierarchical_mnist
from hierjax.errors import MissingDataError, UserError

NUM_TRAIN, NUM_TEST = 240, 60


def random_images(count, side, seed=0):
    return np.random.default_rng(seed).integers(
        0, 256, (count, side, side), dtype=np.uint8
    )


def digit_of(split, number):
    return (number * 7 + (split == "test")) % 10


def image_of(split, number):
    """Noise in the box of 20 x 20 pixels, nothing around it; all images differ."""
    image = np.zeros((28, 28), np.uint8)
    rng = np.random.default_rng([split == "test", number])
    image[4:24, 4:24] = rng.integers(1, 256, (20, 20))
    return image


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder of TFDS with a small MNIST, made without TensorFlow."""
    import tensorflow_datasets as tfds

    class Mnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Like that of TFDS, but small."""

        name = "mnist"
        VERSION = tfds.core.Version("3.0.1")
        url_infos = {}

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(28, 28, 1), encoding_format="png"),
                "label": tfds.features.ClassLabel(num_classes=10),
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
                label = digit_of(split, number)
                yield number, {"image": file.getvalue(), "label": label}

    folder = tmp_path_factory.mktemp("tfds")
    Mnist(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


def all_originals():
    return np.stack(
        [image_of("train", number) for number in range(NUM_TRAIN)]
        + [image_of("test", number) for number in range(NUM_TEST)]
    )


def resized_by_jax(images, padding, side):
    padded = np.pad(images, [(0, 0), (padding, padding), (padding, padding)])
    shape = (len(images), side, side)
    return np.asarray(jax.image.resize(padded.astype(np.float32), shape, "linear"))


def patches_of(images, category_places, side):
    return np.stack(
        [
            image[row : row + side, column : column + side]
            for image, (row, column) in zip(images, category_places, strict=True)
        ]
    )


@pytest.mark.parametrize(
    ("name", "size", "digit", "central", "patch"),
    [
        ("digits", 24, 8, 12, 6),
        ("48", 48, 28, 48, 8),
        ("48/16", 48, 28, 32, 16),
        ("48/12", 48, 28, 32, 12),
        ("48/8", 48, 28, 32, 8),
        ("96", 96, 28, 96, 16),
        ("192", 192, 28, 192, 32),
    ],
)
def test_render_is_bilinear(name, size, digit, central, patch):
    padding = 2 if digit == 28 else 0
    images = random_images(5, digit)
    nothing = np.zeros_like(images)
    offset = (size - central) // 2
    place = np.array([[0, 1], [2, 0], [size - patch, 3], [0, size - patch], [1, 0]])

    large = hierarchical_mnist.render(images, nothing, place, name)
    assert large.shape == (5, size, size) and large.dtype == np.uint8
    inner = slice(offset, offset + central)
    expected = resized_by_jax(images, padding, central)
    assert abs(large[:, inner, inner] - expected).max() <= 0.501
    border = np.ones((size, size), bool)
    border[inner, inner] = False
    assert not large[:, border].any()

    small = hierarchical_mnist.render(nothing, images, place, name)
    expected = resized_by_jax(images, padding, patch)
    assert abs(patches_of(small, place, patch) - expected).max() <= 0.501
    assert small.sum(dtype=int) == patches_of(small, place, patch).sum(dtype=int)

    both = hierarchical_mnist.render(images, images[::-1], place, name)
    alone = hierarchical_mnist.render(nothing, images[::-1], place, name)
    np.testing.assert_array_equal(both, np.maximum(large, alone))
    assert (both != large).any() and (both != alone).any()


@pytest.mark.parametrize(("size", "side"), [(48, 8), (48, 48), (96, 16), (192, 192)])
def test_resizing_agrees_with_pillow(size, side):
    image = random_images(1, 28, seed=1)
    large = Image.fromarray(np.pad(image[0], 2).astype(np.float32))
    expected = np.asarray(large.resize((side, side), Image.Resampling.BILINEAR))
    nothing, corner = np.zeros_like(image), np.zeros((1, 2), int)
    pair = (image, nothing) if side == size else (nothing, image)
    drawn = hierarchical_mnist.render(*pair, corner, str(size))[0, :side, :side]
    assert abs(drawn - expected).max() <= 0.501


def test_render_in_chunks(monkeypatch):
    arguments = random_images(7, 28), random_images(7, 28, seed=1)
    corners = hierarchical_mnist.corners("48")[::40][:7]
    at_once = hierarchical_mnist.render(*arguments, corners, "48")
    monkeypatch.setattr(hierarchical_mnist, "_CHUNK_BYTES", 3 * 4 * 48**2)
    in_chunks = hierarchical_mnist.render(*arguments, corners, "48")
    np.testing.assert_array_equal(in_chunks, at_once)
    none = hierarchical_mnist.render(*(a[:0] for a in arguments), corners[:0], "48")
    assert none.shape == (0, 48, 48)


def test_corners_are_those_of_the_border():
    for size in (48, 96, 192):
        scale = size / 192
        expected = [
            (row, column)
            for row in range(int(160 * scale) + 1)
            for column in range(int(160 * scale) + 1)
            if min(row, column) <= 4 * scale or max(row, column) >= 156 * scale
        ]
        found = hierarchical_mnist.corners(str(size))
        assert [tuple(place) for place in found.tolist()] == expected
        # The box of 20 x 20 pixels, enlarged, stays free.
        patch = hierarchical_mnist.GEOMETRIES[str(size)].patch
        low, high = 36 * scale, 156 * scale
        assert ((found + patch <= low) | (found >= high)).any(axis=1).all()
    found = hierarchical_mnist.corners("48/16")
    assert ((found <= 1) | (found >= 31)).any(axis=1).all() and found.max() == 32
    found = hierarchical_mnist.corners("digits")
    assert len(found) == 72 and found.min() == 0 and found.max() == 18
    assert ((found == 0) | (found == 18)).any(axis=1).all()


def test_chance_depends_on_seed_and_row_alone():
    long = hierarchical_mnist.draw(1000, 3)
    np.testing.assert_array_equal(hierarchical_mnist.draw(10, 3), long[:10])
    assert (hierarchical_mnist.draw(1000, 4) != long).all()
    np.testing.assert_allclose(long.mean(axis=0), 0.5, atol=0.04)
    assert abs(np.corrcoef(long.T)[0, 1]) < 0.1


def check_tree(dataset, upper, lower):
    tree = dataset.hierarchy
    assert tree.level_names == (upper, lower)
    assert tree.nodes_per_level == (10, 100)
    assert tree.node_names(0) == tuple("0123456789")
    assert tree.paths == tuple((str(leaf // 10), str(leaf % 10)) for leaf in range(100))
    np.testing.assert_array_equal(dataset.labels[:, 0], dataset.labels[:, 1] // 10)


def test_small_mnist(prepared):
    dataset = hierarchical_mnist.load(prepared)
    check_tree(dataset, "category", "class")
    assert dataset.features.shape == (NUM_TRAIN + NUM_TEST, 48, 48)
    assert dataset.features.dtype == np.uint8 and dataset.unit_name == "image"
    category, digit = np.divmod(dataset.labels[:, 1], 10)
    expected = [digit_of("train", number) for number in range(NUM_TRAIN)]
    expected += [digit_of("test", number) for number in range(NUM_TEST)]
    np.testing.assert_array_equal(digit, expected)
    assert [len(rows) for rows in dataset.splits.values()] == [220, 20, NUM_TEST]
    assert dataset.rows("test").tolist() == [*range(NUM_TRAIN, NUM_TRAIN + NUM_TEST)]

    # Find every category digit by looking for it: in the border, from the same split,
    # of the digit that the label says; the middle is the central digit alone.
    originals = all_originals()
    nothing = np.zeros_like(originals)
    corners = hierarchical_mnist.corners("48")
    corner = np.zeros((len(originals), 2), int)
    large = hierarchical_mnist.render(originals, nothing, corner, "48")
    small = hierarchical_mnist.render(nothing, originals, corner, "48")[:, :8, :8]
    middle = slice(9, 39)
    np.testing.assert_array_equal(
        dataset.features[:, middle, middle], large[:, middle, middle]
    )
    places = []
    for split, rows in dataset.splits.items():
        for row in rows[::5]:
            found = [
                (partner, place)
                for place in corners.tolist()
                for partner in np.flatnonzero(
                    (
                        dataset.features[row][
                            place[0] : place[0] + 8, place[1] : place[1] + 8
                        ]
                        >= small[rows]
                    ).all(axis=(1, 2))
                )
                if (
                    drawn(large[row], small[rows[partner]], place)
                    == dataset.features[row]
                ).all()
            ]
            assert len(found) == 1, (split, row)
            partner, place = found[0]
            assert digit[rows[partner]] == category[row]
            places.append(tuple(place))
    assert len(set(places)) > 50


def drawn(image, small, place):
    image = image.copy()
    patch = image[place[0] : place[0] + 8, place[1] : place[1] + 8]
    patch[:] = np.maximum(patch, small)
    return image


def test_protocols_and_seeds(prepared):
    dataset = hierarchical_mnist.load(prepared)
    swapped = hierarchical_mnist.load(prepared, "48,swapped")
    check_tree(swapped, "class", "category")
    assert swapped.features is dataset.features
    assert not dataset.features.flags.writeable
    category, digit = np.divmod(dataset.labels[:, 1], 10)
    np.testing.assert_array_equal(swapped.labels[:, 1], 10 * digit + category)
    for split, rows in dataset.splits.items():
        np.testing.assert_array_equal(swapped.rows(split), rows)

    larger = hierarchical_mnist.load(prepared, "96")
    assert larger.features.shape[1:] == (96, 96)
    np.testing.assert_array_equal(larger.labels, dataset.labels)
    again = hierarchical_mnist.load(prepared)
    np.testing.assert_array_equal(again.features, dataset.features)
    other = hierarchical_mnist.load(prepared, seed=1)
    assert (other.labels[:, 0] != dataset.labels[:, 0]).any()
    assert other.rows("validation").tolist() != dataset.rows("validation").tolist()
    np.testing.assert_array_equal(other.labels[:, 1] % 10, digit)


def test_digits():
    dataset = hierarchical_mnist.load_digits()
    check_tree(dataset, "category", "class")
    assert dataset.features.shape == (1797, 24, 24)
    assert dataset.features.dtype == np.uint8 and dataset.features.max() == 255
    sizes = [len(dataset.rows(split)) for split in ("train", "validation", "test")]
    assert sum(sizes) == 1797
    np.testing.assert_allclose(np.array(sizes) / 1797, [0.6, 0.2, 0.2], atol=0.005)
    category, digit = np.divmod(dataset.labels[:, 1], 10)
    for rows in dataset.splits.values():
        assert np.bincount(digit[rows]).min() > 30
        assert np.bincount(category[rows], minlength=10).min() > 15
    # The border holds the patch and nothing else, the middle the central digit.
    from sklearn import datasets

    images, true = datasets.load_digits(return_X_y=True)
    np.testing.assert_array_equal(digit, true)
    expected = resized_by_jax(images.reshape(-1, 8, 8) * (255 / 16), 0, 12)
    middle = dataset.features[:, 6:18, 6:18]
    assert abs(middle - expected).max() <= 1.01
    border = dataset.features.astype(int)
    border[:, 6:18, 6:18] = 0
    for image in border[:100]:
        rows, columns = np.nonzero(image)
        assert np.ptp(rows) < 6 and np.ptp(columns) < 6

    swapped = hierarchical_mnist.load_digits("swapped")
    check_tree(swapped, "class", "category")
    assert swapped.features is dataset.features
    np.testing.assert_array_equal(swapped.labels[:, 1], 10 * digit + category)
    other = hierarchical_mnist.load_digits(seed=1)
    assert (other.labels[:, 0] != dataset.labels[:, 0]).any()


def test_errors(prepared, tmp_path):
    message = (
        r"mnist: no prepared data set; run pip install 'hierjax\[prepare\]' and then "
        rf"python -m hierjax.data.prepare mnist --data_dir={tmp_path}$"
    )
    with pytest.raises(MissingDataError, match=message):
        hierarchical_mnist.load(tmp_path)
    for protocol in ("64", "48,", "swapped", "48,swap", ""):
        with pytest.raises(
            UserError, match=f"one of .*'96,swapped'.*, got '{protocol}'"
        ):
            hierarchical_mnist.load(prepared, protocol)
    with pytest.raises(UserError, match="must be '' or 'swapped', got '48'"):
        hierarchical_mnist.load_digits("48")


def test_real_mnist(shared_data):
    folder = shared_data.parent / "tfds"
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no MNIST prepared in {folder}")
    dataset = hierarchical_mnist.load(folder)
    assert {split: len(rows) for split, rows in dataset.splits.items()} == {
        "train": 55_000,
        "validation": 5_000,
        "test": 10_000,
    }
    category, digit = np.divmod(dataset.labels[:, 1], 10)
    # The published numbers of every digit in the test images of MNIST.
    test = dataset.rows("test")
    assert np.bincount(digit[test]).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
    assert np.bincount(dataset.labels[test, 1], minlength=100).min() > 50
    table = np.histogram2d(category, digit, bins=10)[0] / len(digit)
    independent = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True)
    assert abs(table - independent).max() < 0.001
