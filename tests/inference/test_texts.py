"""From texts to embeddings through an encoding and the head behind it."""

import dataclasses

import flax.serialization
import numpy as np
import pytest

import hierjax
from hierjax import inference, models, stored
from hierjax.data import transforms
from hierjax.data.reading.texts import fit_texts
from hierjax.errors import UserError
from hierjax.inference import checks
from tests.inference.conftest import dataset, trained

TEXTS = [
    f"{name} {number}" for name in ("owl", "hen", "cod", "oak") for number in range(12)
]


@pytest.fixture(scope="module")
def data():
    encoding = fit_texts(TEXTS)
    return transforms.standardize(dataset(encoding(TEXTS), feature_maps=(encoding,)))


@pytest.fixture(scope="module")
def model(data):
    return trained(data, models.Linear(embed_dim=3))


def test_texts_become_embeddings(model, data):
    behind = dataclasses.replace(
        model, feature_maps=(), input_shape=data.features.shape[1:]
    )
    expected = behind.embed(data.features)
    np.testing.assert_allclose(model.embed(TEXTS), expected, atol=1e-5)
    np.testing.assert_array_equal(model.embed(TEXTS), model.embed(np.array(TEXTS)))
    vectors = model.text_encoding(TEXTS)
    np.testing.assert_array_equal(model.embed(TEXTS), model.embed(vectors))
    assert model.embed([]).shape == (0, 3)
    assert np.isfinite(model.embed(["", "nobody knows this"])).all()
    assert model.predict(TEXTS[:2]).nodes.shape == (2, 3)


def test_what_is_no_list_of_texts_is_refused(model):
    with pytest.raises(UserError, match="got a single text"):
        model.embed("owl")
    with pytest.raises(UserError, match="row 1 must be a text, got float"):
        model.embed(["owl", 1.0])


def test_it_is_read_back_as_it_was(model, tmp_path):
    inference.save(model, tmp_path)
    read = hierjax.load(tmp_path)
    for one, other in zip(read.text_encoding, model.text_encoding, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    np.testing.assert_array_equal(read.embed(TEXTS), model.embed(TEXTS))


def test_an_exported_function_takes_their_vectors(model, tmp_path):
    path = tmp_path / "f.stablehlo"
    assert inference.write_exported(model, path) <= 1e-5
    found = inference.read_exported(path)(model.text_encoding(TEXTS))
    np.testing.assert_allclose(found, model.embed(TEXTS), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("columns", lambda a: a[:-1], "do not fit: columns"),
        ("columns", lambda a: a[::-1], "do not rise"),
        ("columns", lambda a: a - a[0] - 1, "no numbers of n-grams"),
        ("columns", lambda a: a + 2**19, "no numbers of n-grams"),
        ("columns", lambda a: a.astype(np.float32), "no numbers of n-grams"),
        ("weights", lambda a: a * np.nan, "the weights of its texts"),
        ("components", lambda a: a * np.inf, "the components of its texts"),
        ("components", lambda a: a.astype(object), "the components of its texts"),
        ("components", lambda a: a[:, :-1], "do not fit"),
        ("components", lambda a: a[:0], "do not fit"),
    ],
)
def test_parts_that_are_none_are_refused(model, name, damage, message):
    arrays = model.text_encoding._asdict()
    with pytest.raises(UserError, match=message):
        checks.text_encoding_from(arrays | {name: damage(arrays[name])}, 1)


def test_files_of_other_models_are_refused(model, tmp_path):
    folder = inference.save(model, tmp_path)
    settings = stored.read_json(folder / "model.json")
    stored.write_json(folder / "model.json", settings | {"texts": 2})
    with pytest.raises(UserError, match="texts are of version 2, readable is 1"):
        hierjax.load(tmp_path)
    path = folder / "arrays.msgpack"
    arrays = flax.serialization.msgpack_restore(path.read_bytes())
    arrays["texts"]["components"] = arrays["texts"]["components"][:-1]
    content = flax.serialization.msgpack_serialize(arrays)
    path.write_bytes(content)
    changed = settings | {"arrays_sha256": stored.digest(content)}
    stored.write_json(folder / "model.json", changed)
    with pytest.raises(UserError, match="its texts become vectors"):
        hierjax.load(tmp_path)
    del arrays["texts"]
    content = flax.serialization.msgpack_serialize(arrays)
    path.write_bytes(content)
    changed = settings | {"arrays_sha256": stored.digest(content)}
    stored.write_json(folder / "model.json", changed)
    with pytest.raises(UserError, match="damaged"):
        hierjax.load(tmp_path)
