"""The embedding function as StableHLO."""

import numpy as np
import pytest

from hierjax import inference
from hierjax.errors import UserError


def test_the_file_embeds_as_the_model_does(case, unmapped, tmp_path):
    model, data = case
    path = tmp_path / "new" / "embed.stablehlo"
    assert inference.write_exported(model, path) <= 1e-5
    features, sizes = unmapped(data)
    inputs = [features] if sizes is None else [features, sizes]
    found = inference.read_exported(path)(*inputs)
    np.testing.assert_allclose(found, model.embed(features, sizes), atol=2e-6)


def test_every_platform_is_in_the_file(model):
    exported = inference.export(model)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert "stablehlo" in exported.mlir_module()


def test_a_function_that_differs_is_refused(model, tmp_path, monkeypatch):
    def doubled(self, features, sizes=None):
        return 2 * np.asarray(self.forward(features))

    monkeypatch.setattr(inference.TrainedModel, "embed", doubled)
    with pytest.raises(RuntimeError, match="differs from the model"):
        inference.write_exported(model, tmp_path / "x.stablehlo")


def test_a_place_that_cannot_be_written(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        inference.write_exported(model, tmp_path / "file" / "x.stablehlo")
