"""Models on disk."""

import dataclasses
import json
import time

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from flax.serialization import msgpack_restore, msgpack_serialize

import hierjax
from hierjax import inference, models
from hierjax.errors import UserError
from hierjax.inference import checks
from hierjax.stored import read_json


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
    folder = inference.save(dataclasses.replace(model, encoder=encoder), tmp_path)
    alone = encoder.clone(axis_name=None) if hasattr(encoder, "axis_name") else encoder
    kept = read_json(folder / "model.json")["encoder"]
    assert checks.encoder_from(kept) == alone


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="experiments.evaluate --workdir"):
        hierjax.load(tmp_path)


SETTINGS = "model/model.json"
ARRAYS = "model/arrays.msgpack"


def refusal(folder):
    """Why there is no model, in one sentence and at once."""
    begin = time.perf_counter()
    with pytest.raises(UserError) as caught:
        hierjax.load(folder)
    assert time.perf_counter() - begin < 1
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    assert message.endswith("experiments.evaluate writes the model of a run anew")
    return message


@pytest.mark.parametrize("file", [SETTINGS, ARRAYS])
def test_no_byte_may_change(model, tmp_path, file):
    inference.save(model, tmp_path)
    path = tmp_path / file
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 60).astype(int):
        other = bytearray(whole)
        other[place] ^= 1 << (place % 8)
        path.write_bytes(other)
        try:
            found = hierjax.load(tmp_path)
        except UserError:
            continue
        # Blanks of JSON and the escapes of its texts may be others.
        assert file == SETTINGS and json.loads(bytes(other)) == json.loads(whole)
        assert found.hierarchy == model.hierarchy
    for other in (b"", whole[: len(whole) // 2], b"\x00" * 20, b"\xff" * 9):
        path.write_bytes(other)
        assert "is damaged" in refusal(tmp_path)
    path.unlink()
    path.mkdir()
    assert "no regular file" in refusal(tmp_path)


def test_models_without_digests_open(model, tmp_path):
    """As earlier versions wrote them."""
    change(inference.save(model, tmp_path), lambda settings, arrays: None)
    content = json.loads((tmp_path / SETTINGS).read_text())
    assert not {"sha256", "arrays_sha256"} & content.keys()
    rows = np.ones((2, 5), np.float32)
    np.testing.assert_array_equal(hierjax.load(tmp_path).embed(rows), model.embed(rows))


def change(folder, how):
    """Writes other settings and arrays, without digests that would tell."""
    settings = read_json(folder / "model.json")
    arrays = msgpack_restore((folder / "arrays.msgpack").read_bytes())
    del settings["arrays_sha256"]
    how(settings, arrays)
    (folder / "model.json").write_text(json.dumps(settings))
    (folder / "arrays.msgpack").write_bytes(msgpack_serialize(arrays))


def put(*path, value):
    """A change of one setting, or of an array where the path says so."""

    def how(settings, arrays):
        *outer, last = path[1:] if path[0] == "arrays" else path
        content = arrays if path[0] == "arrays" else settings
        for key in outer:
            content = content[key]
        content[last] = value

    return how


def poison(settings, arrays):
    kernel = np.array(arrays["variables"]["params"]["head"]["kernel"])
    kernel[1, 1] = np.nan
    arrays["variables"]["params"]["head"]["kernel"] = kernel


def other_tree(settings, arrays):
    """Two classes of one node less than its ids say."""
    ancestors = np.array(arrays["ancestors"])
    ancestors[0, 0] = 1 - ancestors[0, 0]
    arrays["ancestors"] = ancestors


def smaller_tree(settings, arrays):
    arrays["ancestors"] = np.array(arrays["ancestors"])[:-1]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (poison, "params/head/kernel holds what is no finite number"),
        (other_tree, "of other trees at level"),
        (smaller_tree, "its tree is [4, 3] by its names and int32 [3, 3]"),
        (put("measured", value="heads"), "measured must be one of embeddings, feat"),
        (put("measured", value=None), "measured must be one of"),
        (put("measured", value=["embeddings"]), "measured must be one of"),
        (put("encoder", "embed_dim", value=-1), "encoder and weights do not fit"),
        (put("encoder", "embed_dim", value="3"), "encoder and weights do not fit"),
        (put("encoder", "embed_dim", value=10**30), "encoder and weights do not fit"),
        (put("encoder", "embed_dim", value=4), "encoder and weights do not fit"),
        (put("encoder", "num_heads", value=10**9), "encoder and weights do not fit"),
        (put("encoder", "dtype", value="object"), "dtype must be one of float32"),
        (put("encoder", "dtype", value=[]), "dtype must be one of float32"),
        (put("encoder", "kind", value="load_pretrained"), "no encoder 'load_pretr"),
        (put("encoder", "kind", value="__name__"), "no encoder '__name__'"),
        (put("encoder", "kind", value=["Linear"]), "no encoder ['Linear']"),
        (put("encoder", "colour", value=1), "is damaged"),
        (put("encoder", value="Linear"), "is damaged"),
        (put("colour", value=1), "nobody knows its 'colour'"),
        (put("format", value=99), "format 99, readable is 1"),
        (put("format", value="1"), "format '1', readable is 1"),
        (put("input_shape", value="55"), "input_shape must be sizes"),
        (put("input_shape", value=[-5]), "input_shape must be sizes"),
        (put("input_shape", value=5), "is damaged"),
        (put("input_shape", value=[6]), "encoder and weights do not fit"),
        (put("input_dtype", value="float64"), "input_dtype must be one of"),
        (put("has_sizes", value="no"), "has_sizes must be true or false"),
        (put("scales", value=[float("nan"), 1, 1]), "scales must be a number"),
        (put("scales", value=["10", 1, 1]), "scales must be a number"),
        (put("scales", value=[1.0]), "scales must be a number"),
        (put("scale_split", value="test"), "scale_split must be one of"),
        (put("hierarchy", value=[]), "is damaged"),
        (put("hierarchy", "paths", value="abcd"), "holds no model"),
        (put("hierarchy", "paths", value=[["a"]]), "holds no model"),
        (put("hierarchy", "paths", value=[[1.5]] * 4), "holds no model"),
        (put("hierarchy", "class_names", value=["a"] * 4), "holds no model"),
        (put("hierarchy", "level_names", value=["a"]), "holds no model"),
        (put("arrays", "variables", value={}), "encoder and weights do not fit"),
        (put("arrays", "variables", value=[1]), "encoder and weights do not fit"),
        (put("arrays", "variables", value="weights"), "no finite number"),
        (put("arrays", "ancestors", value="tree"), "by its ids"),
        (put("arrays", "prototypes", value=np.ones((4, 2, 1))), "its prototypes"),
        (put("arrays", "prototypes", value=np.ones(3)), "its prototypes"),
        (
            put("arrays", "prototype_labels", value=np.full((1, 3), 99, np.int32)),
            "its prototypes",
        ),
        (put("arrays", "feature_maps", value=[{}]), "is damaged"),
        (put("arrays", "feature_maps", value=[{"offset": np.array([np.nan])}]), "map"),
        (put("arrays", "feature_maps", value=[{"offset": np.ones(4)}]), "do not fit"),
        (put("arrays", "feature_maps", value=5), "is damaged"),
    ],
)
def test_models_that_nobody_wrote(model, tmp_path, how, words):
    change(inference.save(model, tmp_path), how)
    assert words in refusal(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 10**6,
        b'{"a":' * 10**5,
        b"[]",
        b"5",
        b"null",
        b"{}",
        b"\xff\xfe{}",
        b'{"format": 1}',
        b'{"format": ' + b"1" * 5000 + b"}",
        b'{"format": 1, "format": 2}',
    ],
    ids=lambda content: repr(content[:12]),
)
def test_settings_of_anything(model, tmp_path, content):
    inference.save(model, tmp_path)
    (tmp_path / SETTINGS).write_bytes(content)
    assert SETTINGS in refusal(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x91" * 10**6,
        b"\xdd\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        msgpack_serialize({}),
        msgpack_serialize({"variables": 1}),
        msgpack_serialize([1, 2]),
        msgpack_serialize({"__msgpack_chunked_array__": True, "shape": {"0": 2**60}}),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_arrays_of_anything(model, tmp_path, content):
    change(inference.save(model, tmp_path), lambda settings, arrays: None)
    (tmp_path / ARRAYS).write_bytes(content)
    assert "damaged" in refusal(tmp_path)


class Own(nn.Module):
    """An encoder that no file can make again."""


def test_encoders_of_the_user(model, tmp_path):
    own = dataclasses.replace(model, encoder=Own())
    with pytest.raises(UserError, match="Own is no encoder of hierjax.models"):
        inference.save(own, tmp_path)


def test_a_model_of_before_has_one_scale_for_all_levels(model, tmp_path):
    path = inference.save(model, tmp_path) / "model.json"
    content = json.loads(path.read_text())
    assert len(content.pop("scales")) == model.hierarchy.num_levels
    del content["sha256"]
    path.write_text(json.dumps(content | {"scale": 7.5}))
    assert hierjax.load(tmp_path).scales == (7.5,) * model.hierarchy.num_levels
