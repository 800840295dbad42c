"""Models on disk."""

import dataclasses
import json

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import hierjax
from hierjax import inference, models
from hierjax.errors import UserError


def test_a_model_is_read_back_as_it_was(case, unmapped, tmp_path):
    model, data = case
    folder = inference.save(model, tmp_path / "run")
    features, sizes = unmapped(data)
    expected = model.predict(features, sizes=sizes)
    for place in (tmp_path / "run", folder):
        read = hierjax.load(place)
        assert read.encoder == model.encoder
        assert read.hierarchy == model.hierarchy
        assert read.hierarchy.level_names == model.hierarchy.level_names
        np.testing.assert_array_equal(
            read.embed(features, sizes), model.embed(features, sizes)
        )
        found = read.predict(features, sizes=sizes)
        for field in dataclasses.fields(found):
            np.testing.assert_array_equal(
                getattr(found, field.name), getattr(expected, field.name)
            )


@pytest.mark.parametrize(
    "encoder",
    [
        models.Linear(embed_dim=4, num_heads=2),
        models.MLP(embed_dim=4, hidden_sizes=(6, 5), normalize=False),
        models.ConvNet(embed_dim=4, channels=(2, 3), dtype=jnp.bfloat16),
        models.PointNet(embed_dim=4, head_layers=2),
        models.SmallResNet(embed_dim=4, axis_name="devices"),
        models.CifarResNet18(embed_dim=4),
        models.ResNet50(embed_dim=4, size_inform=True),
        models.InceptionV3(embed_dim=4),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_every_encoder_comes_back_with_its_settings(model, encoder, tmp_path):
    inference.save(dataclasses.replace(model, encoder=encoder), tmp_path)
    alone = encoder.clone(axis_name=None) if hasattr(encoder, "axis_name") else encoder
    assert hierjax.load(tmp_path).encoder == alone


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="experiments.evaluate --workdir"):
        hierjax.load(tmp_path)


def test_damaged_files(model, tmp_path):
    folder = inference.save(model, tmp_path)
    arrays, settings = folder / "arrays.msgpack", folder / "model.json"
    whole = arrays.read_bytes()
    arrays.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a readable model"):
        hierjax.load(tmp_path)
    arrays.write_bytes(whole)
    content = json.loads(settings.read_text())
    settings.write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(UserError, match="format 99, readable is 1"):
        hierjax.load(tmp_path)
    del content["encoder"]
    settings.write_text(json.dumps(content))
    with pytest.raises(UserError, match="not a readable model"):
        hierjax.load(tmp_path)
    settings.write_text("{")
    with pytest.raises(UserError, match="not a readable model"):
        hierjax.load(tmp_path)


class Own(nn.Module):
    """An encoder that no file can make again."""


def test_encoders_of_the_user(model, tmp_path):
    own = dataclasses.replace(model, encoder=Own())
    with pytest.raises(UserError, match="Own is no encoder of hierjax.models"):
        inference.save(own, tmp_path)
