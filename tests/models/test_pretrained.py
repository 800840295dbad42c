import functools
import re
import zipfile

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import models
from hierjax.errors import MissingDataError, UserError
from tests.models import torch_writer

MODEL = models.SmallResNet(
    3, blocks=(1, 1), channels=(4, 5), bottleneck=True, size_inform=True
)
IMAGES = np.random.default_rng(0).normal(size=(2, 9, 7, 3)).astype(np.float32)


load_pretrained = functools.partial(models.load_pretrained, fresh_stem=True)


@pytest.fixture(scope="module")
def variables():
    inputs = {"image": IMAGES, "size": np.ones((2, 2), np.float32)}
    rng = np.random.default_rng(2)
    return jax.tree.map(
        lambda leaf: rng.uniform(0.2, 1.5, leaf.shape).astype(np.float32),
        jax.eval_shape(MODEL.init, jax.random.key(0), inputs),
    )


def state_dict(variables):
    """Random arrays with the names and shapes that torchvision would give."""
    rng = np.random.default_rng(1)
    arrays = {}
    names = {
        "kernel": "weight",
        "scale": "weight",
        "mean": "running_mean",
        "var": "running_var",
    }
    for collection in variables.values():
        for (*modules, leaf), old in jax.tree_util.tree_leaves_with_path(collection):
            path = ".".join(key.key for key in modules)
            path = re.sub(r"^(layer\d)_", r"\1.", path).replace("sample_", "sample.")
            shape = old.shape
            if leaf.key == "kernel":
                shape = shape[:-3:-1] + shape[:-2]
            array = rng.uniform(0.2, 1.5, shape).astype(np.float32)
            if path not in ("head", "size_head"):
                arrays[f"{path}.{names.get(leaf.key, leaf.key)}"] = array
    for key in [key for key in arrays if key.endswith("running_var")]:
        arrays[key.replace("running_var", "num_batches_tracked")] = np.array(7, "<i8")
    arrays["fc.weight"] = np.ones((1000, 20), np.float32)
    arrays["fc.bias"] = np.ones(1000, np.float32)
    return arrays


def test_every_array_finds_its_place(variables, tmp_path):
    arrays = state_dict(variables)
    found = load_pretrained(
        torch_writer.archive(tmp_path / "weights.pth", arrays), variables
    )
    assert jax.tree.structure(found) == jax.tree.structure(variables)
    params, stats = found["params"], found["batch_stats"]
    kernel = arrays["layer2.0.conv2.weight"]
    for o, i, h, w in np.ndindex(kernel.shape):
        assert params["layer2_0"]["conv2"]["kernel"][h, w, i, o] == kernel[o, i, h, w]
    for ours, theirs in (("scale", "weight"), ("bias", "bias")):
        np.testing.assert_array_equal(
            params["layer2_0"]["downsample_1"][ours],
            arrays[f"layer2.0.downsample.1.{theirs}"],
        )
    np.testing.assert_array_equal(stats["bn1"]["mean"], arrays["bn1.running_mean"])
    np.testing.assert_array_equal(
        stats["layer1_0"]["bn3"]["var"], arrays["layer1.0.bn3.running_var"]
    )
    for name in ("head", "size_head", "conv1"):
        for a, b in zip(
            jax.tree.leaves(params[name]),
            jax.tree.leaves(variables["params"][name]),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
    old = {k: v for k, v in variables["params"].items() if k.startswith("layer")}
    new = {k: params[k] for k in old}
    for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True):
        assert (np.asarray(a) != b).any()


def test_a_bottleneck_computes_what_its_file_says(variables, tmp_path):
    """The last block alone, from the file's arrays, in PyTorch's order of axes."""
    arrays = state_dict(variables)
    found = load_pretrained(
        torch_writer.archive(tmp_path / "weights.pth", arrays), variables
    )
    _, kept = jax.jit(
        lambda v: MODEL.apply(
            v,
            IMAGES,
            method="features",
            capture_intermediates=True,
            mutable=["intermediates"],
        )
    )(found)
    kept = kept["intermediates"]
    (x,), (expected,) = kept["layer1_0"]["__call__"], kept["layer2_0"]["__call__"]

    def conv(x, name, strides):
        kernel = arrays[f"layer2.0.{name}.weight"]
        pad = kernel.shape[-1] // 2
        return jax.lax.conv_general_dilated(
            x, kernel, (strides, strides), [(pad, pad)] * 2
        )

    def norm(x, name):
        weight, bias, mean, var = (
            arrays[f"layer2.0.{name}.{leaf}"][:, None, None]
            for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean[None]) / np.sqrt(var + 1e-5)[None] * weight[None] + bias[None]

    x = np.asarray(x).transpose(0, 3, 1, 2)
    y = jax.nn.relu(norm(conv(x, "conv1", 1), "bn1"))
    y = jax.nn.relu(norm(conv(y, "conv2", 2), "bn2"))
    y = norm(conv(y, "conv3", 1), "bn3")
    y = jax.nn.relu(y + norm(conv(x, "downsample.0", 2), "downsample.1"))
    np.testing.assert_allclose(y.transpose(0, 2, 3, 1), expected, rtol=1e-4)


def test_storages_of_other_types_and_orders(variables, tmp_path):
    arrays = state_dict(variables)
    arrays["bn1.bias"] = arrays["bn1.bias"].astype(np.float64)
    arrays["bn1.running_mean"] = arrays["bn1.running_mean"].astype(np.float16)
    kernel = np.asfortranarray(arrays["layer1.0.conv2.weight"])
    path = tmp_path / "weights.pt"
    # Written in memory order: the strides then say how to read them.
    with zipfile.ZipFile(
        torch_writer.archive(path, arrays | {"layer1.0.conv2.weight": kernel})
    ) as old:
        contents = {name: old.read(name) for name in old.namelist()}
    number = list(arrays).index("layer1.0.conv2.weight")
    contents[f"x/data/{number}"] = kernel.tobytes("A")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    found = load_pretrained(path, variables)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(
        found["params"]["layer1_0"]["conv2"]["kernel"], kernel.transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(
        found["batch_stats"]["bn1"]["mean"], arrays["bn1.running_mean"]
    )


def test_msgpack(variables, tmp_path):
    other = jax.tree.map(lambda leaf: leaf + 1, variables)
    path = tmp_path / "weights.msgpack"
    path.write_bytes(flax.serialization.to_bytes(other))
    found = load_pretrained(path, variables)
    np.testing.assert_array_equal(
        found["params"]["layer1_0"]["conv1"]["kernel"],
        other["params"]["layer1_0"]["conv1"]["kernel"],
    )
    np.testing.assert_array_equal(
        found["batch_stats"]["bn1"]["var"], other["batch_stats"]["bn1"]["var"]
    )
    for name in ("head", "conv1"):
        np.testing.assert_array_equal(
            found["params"][name]["kernel"], variables["params"][name]["kernel"]
        )
    del other["params"]["layer2_0"]["bn2"]["scale"]
    path.write_bytes(flax.serialization.to_bytes(other))
    with pytest.raises(UserError, match=r"params/layer2_0/bn2/scale \(5,\) is missing"):
        load_pretrained(path, variables)


def test_the_first_mismatch_is_named(variables, tmp_path):
    path = tmp_path / "weights.pth"
    arrays = state_dict(variables)
    wide = np.ones((4, 16, 3, 3), np.float32)
    torch_writer.archive(path, arrays | {"layer2.0.conv2.weight": wide})
    with pytest.raises(UserError) as error:
        load_pretrained(path, variables)
    assert str(error.value).startswith(
        f"{path}: layer2.0.conv2.weight has shape (3, 3, 16, 4)"
    )
    assert "takes (3, 3, 5, 5)" in str(error.value)
    torch_writer.archive(path, arrays | {"layer3.0.bn1.bias": np.ones(4, np.float32)})
    with pytest.raises(UserError, match=r"no place for layer3.0.bn1.bias \(4,\)"):
        load_pretrained(path, variables)
    del arrays["layer1.0.bn3.running_var"]
    torch_writer.archive(path, arrays)
    with pytest.raises(UserError, match=r"batch_stats/layer1_0/bn3/var \(16,\) is mi"):
        load_pretrained(path, variables)


def test_files_of_no_use(variables, tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(MissingDataError, match=r"resnet50-0676ba61.pth for ResNet-50"):
        load_pretrained(path, variables)
    path.write_bytes(flax.serialization.msgpack_serialize({"x": np.ones(2)}))
    with pytest.raises(UserError, match=r"no place for x \(2,\)"):
        load_pretrained(path, variables)
    with pytest.raises(UserError, match=r"is missing; give weights"):
        load_pretrained(torch_writer.archive(path, {}), variables)


def test_the_first_convolution_is_taken_unless_it_starts_afresh(variables, tmp_path):
    arrays = state_dict(variables)
    path = torch_writer.archive(tmp_path / "weights.pth", arrays)
    shapes = {**variables, "params": {**variables["params"]}}
    del shapes["params"]["head"], shapes["params"]["size_head"]
    shapes = jax.eval_shape(lambda: shapes)
    found = models.load_pretrained(path, shapes, fresh_stem=False)
    np.testing.assert_array_equal(
        found["params"]["conv1"]["kernel"],
        arrays["conv1.weight"].transpose(2, 3, 1, 0),
    )
    narrow = arrays | {"conv1.weight": arrays["conv1.weight"][:, :1].copy()}
    torch_writer.archive(path, narrow)
    load_pretrained(path, variables)
    with pytest.raises(UserError, match=r"conv1.weight has shape \(3, 3, 1, 4\)"):
        models.load_pretrained(path, variables, fresh_stem=False)
    del narrow["conv1.weight"]
    torch_writer.archive(path, narrow)
    with pytest.raises(UserError, match="params/conv1/kernel .* is missing"):
        models.load_pretrained(path, variables, fresh_stem=False)


def test_bfloat16_files(variables, tmp_path):
    other = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), variables)
    path = tmp_path / "weights.msgpack"
    path.write_bytes(flax.serialization.to_bytes(other))
    found = load_pretrained(path, variables)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(variables), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0.01, atol=1e-6)
