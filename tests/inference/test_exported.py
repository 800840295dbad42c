"""The embedding function as StableHLO."""

import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import inference, models
from hierjax.errors import UserError
from hierjax.inference import exported
from tests.inference.conftest import dataset, trained


def test_the_file_embeds_as_the_model_does(case, unmapped, tmp_path):
    model, data = case
    path = tmp_path / "new" / "embed.stablehlo"
    assert inference.write_exported(model, path) <= 1e-5
    features, sizes = unmapped(data)
    inputs = [features] if sizes is None else [features, sizes]
    found = inference.read_exported(path)(*inputs)
    np.testing.assert_allclose(found, model.embed(features, sizes), atol=2e-6)


def test_an_encoder_in_bfloat16(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (48, 8, 8, 3), np.uint8)
    encoder = models.ConvNet(embed_dim=3, channels=(4,), dtype=jnp.bfloat16)
    model = trained(dataset(images), encoder)
    assert inference.write_exported(model, tmp_path / "x", platforms=("cpu",)) <= 1e-5


def test_every_platform_is_in_the_file(model):
    found = inference.export(model)
    assert found.platforms == ("cpu", "cuda", "tpu")
    assert "stablehlo" in found.mlir_module()


def test_a_function_that_differs_is_refused(model, tmp_path, monkeypatch):
    def doubled(path):
        return lambda *inputs: 2 * inference.read_exported(path)(*inputs)

    monkeypatch.setattr(exported, "read_exported", doubled)
    with pytest.raises(RuntimeError, match="differs from the model"):
        inference.write_exported(model, tmp_path / "x.stablehlo")


def test_a_place_that_cannot_be_written(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        inference.write_exported(model, tmp_path / "file" / "x.stablehlo")
