import functools
import hashlib
import importlib.util
import pathlib

import flax.serialization
import jax
import numpy as np
import pytest
import sklearn.datasets
from matplotlib import cbook
from PIL import Image

from hierjax.errors import MissingDataError, UserError
from hierjax.models import EfficientNetLite, frozen, imagenet
from hierjax.models.weight_files import read_weights
from tests.models import golden

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)


def with_weights(*variants):
    """Parameters of tests, skipped where a variant's weights are not installed."""
    return [
        pytest.param(
            name,
            marks=[
                pytest.mark.skipif(
                    importlib.util.find_spec(imagenet.NETWORKS[name].package) is None,
                    reason=f"the weights of {name} are not installed",
                ),
                *([] if name == "efficientnet_lite0" else [pytest.mark.slow]),
            ],
        )
        for name in variants
    ]


LITE = [f"efficientnet_lite{variant}" for variant in range(3)]
EVERY_LITE = pytest.mark.parametrize("name", with_weights(*LITE))
LITE0 = pytest.mark.parametrize("name", with_weights("efficientnet_lite0"))


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setitem(frozen._BLOCKS, "cpu", 2)


@EVERY_LITE
@pytest.mark.usefixtures("small_blocks")
def test_features_are_those_of_pytorch(name):
    """To 1e-4 of the largest; the file was written by benchmarks/encoders.py."""
    with np.load(golden.PATH) as file:
        expected = file[name]
    encoder = frozen.frozen_encoder(name)
    found = encoder(golden.images(encoder.side))
    assert found.shape == expected.shape and found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4 * expected.max()


@pytest.mark.slow
@LITE0
@pytest.mark.usefixtures("small_blocks")
def test_odd_sizes_are_padded_as_tensorflow_does(name):
    with np.load(golden.PATH) as file:
        expected = file["efficientnet_lite0_at_97"]
    found = frozen.frozen_encoder(name, side=97)(golden.images(97))
    assert np.abs(found - expected).max() < 1e-4 * expected.max()


@pytest.mark.parametrize(
    ("name", "tensors", "values"),
    [
        pytest.param(*parameter.values, *counts, marks=parameter.marks)
        for parameter, counts in zip(
            with_weights(*LITE),
            ((296, 4_694_073), (386, 5_470_408), (386, 6_150_232)),
            strict=True,
        )
    ],
)
def test_no_tensor_is_left_over(name, tensors, values):
    """What is not in the variables: the classifier, and BatchNorm's counts."""
    path = imagenet.packaged_weights(name)
    variables = frozen.frozen_encoder(name).variables
    leaves = jax.tree.leaves(variables)
    norms = sum(
        path[-1].key == "mean" for path, _ in jax.tree.leaves_with_path(variables)
    )
    assert len(leaves) + 2 + norms == tensors
    assert sum(leaf.size for leaf in leaves) + 1281 * 1000 + norms == values
    assert len(read_weights(path)) == len(leaves) + 2


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A network of one stage whose weights are in a file; its name and their path."""
    make = functools.partial(
        EfficientNetLite,
        blocks=(2,),
        channels=(8,),
        kernels=(3,),
        strides=(2,),
        expansions=(2,),
    )
    monkeypatch.setitem(imagenet.NETWORKS, "tiny", imagenet.Network(make, 16, ""))
    shapes = jax.eval_shape(
        functools.partial(make(embed_dim=1).init, method="features"),
        jax.random.key(0),
        np.ones((1, 16, 16, 3), np.float32),
    )
    rng = np.random.default_rng(1)
    variables = jax.tree.map(
        lambda x: (
            rng.uniform(0.5, 1, x.shape)
            if x.ndim == 1
            else rng.normal(0, np.prod(x.shape[:-1]) ** -0.5, x.shape)
        ),
        shapes,
    )
    path = tmp_path / "tiny.msgpack"
    path.write_bytes(flax.serialization.to_bytes(variables))
    return "tiny", str(path)


def test_an_image_has_the_same_features_among_others(tiny):
    encoder = frozen.frozen_encoder(tiny[0], weights=tiny[1])
    many = np.concatenate([PICTURES] * 9)
    found = encoder(many)
    assert found.shape == (27, encoder.num_features) == (27, 1280)
    np.testing.assert_array_equal(found[:3], encoder(PICTURES))
    np.testing.assert_array_equal(found[24:], encoder(PICTURES))
    assert np.abs(found[0] - found[1]).max() > 0.01
    assert encoder(PICTURES[:0]).shape == (0, 1280)


def test_grey_images_are_three_equal_channels(tiny):
    encoder = frozen.frozen_encoder(tiny[0], weights=tiny[1])
    grey = PICTURES[..., :1]
    expected = encoder(np.repeat(grey, 3, axis=3))
    for images in (grey, grey[..., 0]):
        np.testing.assert_allclose(encoder(images), expected, rtol=1e-5)


def test_images_are_resized_to_the_side(tiny):
    """Enlarged by PIL they are nearly the same; one pixel is a plain area."""
    encoder = frozen.frozen_encoder(tiny[0], weights=tiny[1], side=64)
    assert encoder.side == 64 and "tiny" in repr(encoder)
    smooth = np.asarray(Image.fromarray(PICTURES[0]).resize((9, 7)))
    resized = np.asarray(Image.fromarray(smooth).resize((64, 64), Image.BILINEAR))
    expected = encoder(resized[None])
    assert np.abs(encoder(smooth[None]) - expected).max() < 0.02 * expected.max()
    pixel = PICTURES[:1, :1, :1]
    np.testing.assert_allclose(
        encoder(pixel), encoder(np.tile(pixel, (1, 64, 64, 1))), rtol=1e-5
    )


def test_shrunken_images_are_averaged(tiny):
    """Every eighth column is bright, none of those in the middle of a new pixel."""
    encoder = frozen.frozen_encoder(tiny[0], weights=tiny[1], side=16)
    striped = np.zeros((1, 128, 128), np.uint8)
    striped[:, :, ::8] = 248
    inside = np.s_[:, 2:-2, 2:-2]
    shrunken = np.asarray(frozen._resized(striped, 16))[inside]
    np.testing.assert_allclose(shrunken, 31 / 255, rtol=0.3)
    found, black = encoder(striped), encoder(striped * 0)
    grey = encoder(np.full((1, 16, 16), 31, np.uint8))
    assert np.abs(found - grey).max() < 0.5 * np.abs(black - grey).max()


def test_what_cannot_be_embedded(tiny):
    encoder = frozen.frozen_encoder(tiny[0], weights=tiny[1])
    for images, message in (
        (PICTURES / 255, r"must be bytes \(uint8\), got float64"),
        (PICTURES[0, 0], r"or \[B, H, W, 3\], got \[50, 3\]"),
        (PICTURES[..., :2], r"or \[B, H, W, 3\], got \[3, 40, 50, 2\]"),
        (np.tile(PICTURES, 2)[..., :4], r"got \[3, 40, 50, 4\]"),
        (PICTURES[0], r"may be one in colour or grey .* give \[1, H, W, 3\]"),
        (PICTURES[:, :0], r"without pixels, \[3, 0, 50, 3\]"),
    ):
        with pytest.raises(UserError, match=message):
            encoder(images)


def test_encoders_that_cannot_be_had(tiny, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="unknown encoder 'lite'; there are effic"):
        frozen.frozen_encoder("lite")
    with pytest.raises(UserError, match="no package has weights of inception_v3"):
        frozen.frozen_encoder("inception_v3")
    with pytest.raises(UserError, match="side must be 0 or more pixels, got -1"):
        frozen.frozen_encoder(tiny[0], weights=tiny[1], side=-1)
    with pytest.raises(UserError, match="no place for .* weights of the model's own"):
        frozen.frozen_encoder("efficientnet_lite0", weights=tiny[1])
    network = imagenet.NETWORKS["efficientnet_lite0"]
    monkeypatch.setitem(
        imagenet.NETWORKS, "absent", network._replace(package="no_such_package")
    )
    with pytest.raises(MissingDataError, match=r"install 'hierjax\[pretrained\]'$"):
        frozen.frozen_encoder("absent")
    (tmp_path / "emptied" / "models").mkdir(parents=True)
    (tmp_path / "emptied" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(
        imagenet.NETWORKS, "emptied", network._replace(package="emptied")
    )
    with pytest.raises(UserError, match="holds 0 files of weights, not one; install"):
        frozen.frozen_encoder("emptied")


def test_the_digest_names_the_weights(tiny, tmp_path):
    encoder = frozen.frozen_encoder(tiny[0], weights=tiny[1])
    assert encoder == frozen.frozen_encoder(tiny[0], weights=tiny[1])
    content = pathlib.Path(tiny[1]).read_bytes()
    assert encoder.digest == hashlib.sha256(content).hexdigest()


def in_the_middle(picture):
    """The largest square, ``[1, S, S, 3]``."""
    side = min(picture.shape[:2])
    top, left = (np.array(picture.shape[:2]) - side) // 2
    return picture[None, top : top + side, left : left + side]


@EVERY_LITE
@pytest.mark.usefixtures("small_blocks")
def test_pictures_have_their_class(name):
    """Of ImageNet: the weights' own classifier, which no encoder takes, tells."""
    weights = read_weights(imagenet.packaged_weights(name))
    kernel = weights["params", "fc", "kernel"][1]
    bias = weights["params", "fc", "bias"][1]
    encoder = frozen.frozen_encoder(name)
    for picture, expected in (
        (np.asarray(Image.open(cbook.get_sample_data("grace_hopper.jpg"))), 652),
        (sklearn.datasets.load_sample_image("china.jpg"), 698),
    ):  # Military uniform and palace.
        scores = encoder(in_the_middle(picture)) @ kernel + bias[None]
        assert scores.argmax() == expected
