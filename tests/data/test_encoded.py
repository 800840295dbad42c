"""Images as features of a frozen encoder, and as copies of them."""

import dataclasses

import jax
import numpy as np
import pytest

from hierjax import Hierarchy
from hierjax.data import AUGMENTATIONS, Dataset, add_views, encode_images, transforms
from hierjax.errors import UserError
from tests.frozen import Projection

TREE = Hierarchy.from_paths([("a", "b"), ("a", "c")])
COUNT, COPIES = 7, 3


def dataset(*shape, count=COUNT, **changes):
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    fields = {
        "name": "made",
        "features": pixels,
        "labels": TREE.labels_of(np.arange(count) % 2),
        "hierarchy": TREE,
        "splits": {"train": [1, 2, 5], "test": [0, 4]},
    }
    return Dataset(**fields | changes)


IMAGES = dataset(8, 6, 3)


@pytest.mark.parametrize("shape", [(8, 6, 3), (8, 6, 1), (8, 6), (1, 1), (1, 1, 3)])
def test_features_are_those_of_every_image(shape, tmp_path):
    images = dataset(*shape)
    encoded = encode_images(images, Projection(), tmp_path)
    assert encoded.features.dtype == np.float32
    for image, found in zip(images.features, encoded.features, strict=True):
        expected = Projection()(image[None])[0]
        np.testing.assert_allclose(found, expected, rtol=2**-11, atol=1e-7)
        assert (found == np.float16(found)).all()
    assert np.array_equal(encoded.labels, images.labels)
    (encoding,) = encoded.feature_maps
    assert encoding.input_shape == shape


def test_images_are_encoded_once(tmp_path):
    first, again = Projection(), Projection()
    one = encode_images(IMAGES, first, tmp_path)
    moved = dataclasses.replace(IMAGES, name="other", splits={"train": [3]})
    other = encode_images(moved, again, tmp_path)
    assert sum(first.seen) == COUNT
    assert again.seen == []
    assert np.array_equal(one.features, other.features)
    assert other.splits.keys() == {"train"}
    (file,) = tmp_path.iterdir()
    file.unlink()
    encode_images(IMAGES, again, tmp_path)
    assert sum(again.seen) == COUNT


def test_the_users_cache_is_the_default(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    encode_images(IMAGES, Projection())
    assert len(list((tmp_path / "hierjax").iterdir())) == 1


def _swapped(pixels):
    return pixels[[1, 0, *range(2, COUNT)]]


def _one_more(pixels):
    changed = pixels.copy()
    changed[3, 2, 1, 0] += 1
    return changed


@pytest.mark.parametrize(
    ("change", "encoder"),
    [
        (_swapped, Projection()),
        (_one_more, Projection()),
        (lambda pixels: pixels.reshape(COUNT, 6, 8, 3), Projection()),
        (lambda pixels: pixels, Projection(side=5)),
        (lambda pixels: pixels, Projection(digest="1123456789abcdef")),
        (lambda pixels: pixels, Projection(name="efficientnet_lite1")),
    ],
    ids=["order", "pixel", "shape", "side", "weights", "name"],
)
def test_what_changes_numbers_changes_the_file(change, encoder, tmp_path):
    encode_images(IMAGES, Projection(), tmp_path)
    images = dataclasses.replace(IMAGES, features=change(IMAGES.features))
    encode_images(images, encoder, tmp_path)
    assert sum(encoder.seen) == COUNT
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "features",
    [
        np.zeros((COUNT, 8, 6, 3), np.float32),
        np.zeros((COUNT, 8), np.uint8),
        np.zeros((COUNT, 8, 6, 2), np.uint8),
        np.zeros((COUNT, 8, 6), np.float32),
    ],
    ids=["floats", "vectors", "two channels", "spectrograms"],
)
def test_what_is_no_image_is_refused(features, tmp_path):
    data = dataclasses.replace(IMAGES, features=features)
    with pytest.raises(
        UserError, match=r"made: an encoder takes images.*leave encoder"
    ):
        encode_images(data, Projection(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def viewed(tmp_path):
    encoded = encode_images(IMAGES, Projection(), tmp_path)
    return add_views(encoded, IMAGES, "simclr", COPIES, tmp_path)


def test_copies_are_those_of_every_training_image(viewed):
    assert viewed.views.shape == (COUNT, COPIES, 6)
    augment = jax.jit(AUGMENTATIONS["simclr"])
    for row in viewed.rows("train"):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), row), COPIES)
        for key, found in zip(keys, viewed.views[row], strict=True):
            copy = augment(key, IMAGES.features[row] / np.float32(255))[0]
            copy = np.rint(255 * np.clip(copy, 0, 1)).astype(np.uint8)
            expected = Projection()(copy[None])[0]
            # A pixel at the edge of two bytes may fall to either.
            np.testing.assert_allclose(found, expected, atol=0.01)
    between = np.abs(np.diff(viewed.views[viewed.rows("train")].astype(float), axis=1))
    assert between.max(axis=(1, 2)).min() > 0.05


def test_only_rows_that_train_are_copied_and_each_once(viewed, tmp_path):
    (encoding,) = viewed.feature_maps
    before = sum(encoding.encoder.seen)
    assert before == COUNT + 3 * COPIES
    other = dataclasses.replace(viewed, views=None, splits={"train": [2, 3, 5]})
    again = add_views(other, IMAGES, "simclr", COPIES, tmp_path)
    assert sum(encoding.encoder.seen) == before + COPIES
    assert np.array_equal(again.views[[2, 5]], viewed.views[[2, 5]])
    assert (again.views[3] != 0).any()


def test_views_are_standardized_as_training_sees_them(viewed):
    changed = transforms.standardize(viewed)
    train = viewed.rows("train")
    for feature in range(6):
        seen = viewed.views[train][:, :, feature].astype(float)
        mean, deviation = seen.mean(), seen.std()
        np.testing.assert_allclose(
            changed.views[train][:, :, feature],
            (seen - mean) / deviation if deviation else 0 * seen,
            atol=2e-3,
        )
        np.testing.assert_allclose(
            changed.features[:, feature],
            (viewed.features[:, feature] - mean) / (deviation or np.inf),
            rtol=1e-4,
            atol=1e-5,
        )
    assert changed.views.dtype == np.float16
    assert len(changed.feature_maps) == 2


def test_views_go_through_principal_components_too(viewed):
    changed = transforms.pca(viewed, 2)
    components = changed.feature_maps[-1]
    for row in viewed.rows("train"):
        expected = (viewed.views[row] - components.offset) @ components.components.T
        np.testing.assert_allclose(changed.views[row], expected, atol=2e-3)


def test_steps_take_rows_with_views_and_nobody_else_does(viewed):
    assert viewed.inputs is viewed.features
    assert viewed.training_inputs.keys() == {"image", "views"}
    sized = dataclasses.replace(viewed, sizes=np.ones((COUNT, 2)))
    assert sized.inputs.keys() == {"image", "size"}
    assert sized.training_inputs.keys() == {"image", "size", "views"}


@pytest.mark.parametrize("shape", [(COUNT, 6), (COUNT, 3, 5), (COUNT - 1, 3, 6)])
def test_views_of_another_shape_are_refused(viewed, shape):
    with pytest.raises(UserError, match="views must have shape"):
        dataclasses.replace(viewed, views=np.zeros(shape, np.float16))
