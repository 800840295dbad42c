import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from hierjax import models

AXIS = "devices"
TINY = functools.partial(models.SmallResNet, blocks=(1, 1), channels=(4, 5))
IMAGES = np.random.default_rng(0).normal(size=(8, 9, 12, 2)).astype(np.float32)


@functools.lru_cache(maxsize=None)
def variables_of(bottleneck):
    """Random leaves: those that start as zeros and ones would hide a mistake."""
    rng = np.random.default_rng(1)
    init = TINY(3, bottleneck=bottleneck).init
    return jax.tree.map(
        lambda leaf: (
            rng.uniform(0.2, 1.5, leaf.shape).astype(np.float32)
            if leaf.ndim == 1
            else rng.normal(0, np.prod(leaf.shape[:-1]) ** -0.5, leaf.shape).astype(
                np.float32
            )
        ),
        jax.eval_shape(init, jax.random.key(0), IMAGES),
    )


def shapes_of(model, shape):
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    features = jax.eval_shape(
        functools.partial(model.apply, method="features"), variables, images
    )
    embeddings = jax.eval_shape(model.apply, variables, images)
    params = {k: v for k, v in variables["params"].items() if k != "head"}
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    return features.shape, embeddings.shape, size, variables


# Without heads: torchvision's ResNet-50; the same with 3 x 3 instead of 7 x 7 in the
# stem; the well-known CIFAR-10 ResNet-18 of 11,173,962 without its 10 classes.
@pytest.mark.parametrize(
    ("make", "width", "size"),
    [
        (models.ResNet50, 2048, 23_508_032),
        (models.CifarResNet50, 2048, 23_508_032 - 64 * 3 * 40),
        (models.CifarResNet18, 512, 11_173_962 - 10 * 513),
    ],
)
def test_shapes_and_parameter_counts(make, width, size):
    features, embeddings, found, variables = shapes_of(make(128), (2, 32, 32, 3))
    assert (features, embeddings, found) == ((2, width), (2, 128), size)
    assert variables["params"]["head"]["kernel"].shape == (width, 128)


def test_any_number_of_channels():
    *_, variables = shapes_of(models.ResNet50(8), (2, 64, 48))
    assert variables["params"]["conv1"]["kernel"].shape == (7, 7, 1, 64)
    *_, variables = shapes_of(models.SmallResNet(8), (2, 20, 20, 5))
    assert variables["params"]["conv1"]["kernel"].shape == (3, 3, 5, 32)


def reference_conv(x, kernel, strides):
    """Convolution by a loop over output positions, padded alike on both sides."""
    size = kernel.shape[0]
    x = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    height, width = ((n - size) // strides + 1 for n in x.shape[1:3])
    out = np.empty((x.shape[0], height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            top, left = i * strides, j * strides
            patch = x[:, top : top + size, left : left + size]
            out[:, i, j] = np.tensordot(patch, kernel, 3)
    return out


def reference_norm(x, params, stats):
    scaled = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
    return scaled * params["scale"] + params["bias"]


def reference_pool(x):
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    height, width = ((n - 3) // 2 + 1 for n in x.shape[1:3])
    rows = [
        [x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2)) for j in range(width)]
        for i in range(height)
    ]
    return np.array(rows).transpose(2, 0, 1, 3)


def reference_block(x, params, stats, kernel_strides):
    y = x
    for number, strides in enumerate(kernel_strides, 1):
        y = reference_conv(y, params[f"conv{number}"]["kernel"], strides)
        y = reference_norm(y, params[f"bn{number}"], stats[f"bn{number}"])
        if number < len(kernel_strides):
            y = np.maximum(y, 0)
    if "downsample_0" in params:
        total = np.prod(kernel_strides)
        x = reference_conv(x, params["downsample_0"]["kernel"], total)
        x = reference_norm(x, params["downsample_1"], stats["downsample_1"])
    return np.maximum(x + y, 0)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_features_against_loops(bottleneck):
    variables = variables_of(bottleneck)
    params, stats = variables["params"], variables["batch_stats"]
    x = reference_conv(IMAGES, params["conv1"]["kernel"], 2)
    x = np.maximum(reference_norm(x, params["bn1"], stats["bn1"]), 0)
    x = reference_pool(x)
    for name, strides in (("layer1_0", 1), ("layer2_0", 2)):
        steps = (1, strides, 1) if bottleneck else (strides, 1)
        x = reference_block(x, params[name], stats[name], steps)
    model = TINY(3, bottleneck=bottleneck)
    found = jax.jit(functools.partial(model.apply, method="features"))(
        variables, IMAGES
    )
    assert found.shape == (8, 20 if bottleneck else 5)
    np.testing.assert_allclose(found, x.mean((1, 2)), rtol=1e-4)


def test_an_equal_shape_has_a_plain_shortcut():
    params = variables_of(False)["params"]
    assert set(params["layer1_0"]) == {"conv1", "bn1", "conv2", "bn2"}
    assert "downsample_0" in params["layer2_0"]
    assert "downsample_0" in variables_of(True)["params"]["layer1_0"]
    assert set(params["layer2_0"]["conv1"]) == {"kernel"}


def test_initial_scales():
    model = TINY(3, blocks=(1,), channels=(16,), bottleneck=True)
    params = jax.jit(model.init)(jax.random.key(0), IMAGES)["params"]
    bound = (9 * 2) ** -0.5
    assert 0.9 * bound < np.abs(params["conv1"]["kernel"]).max() <= bound
    for number, outputs in ((1, 16), (2, 9 * 16), (3, 64)):
        kernel = params["layer1_0"][f"conv{number}"]["kernel"]
        np.testing.assert_allclose(np.std(kernel), np.sqrt(2 / outputs), rtol=0.1)
    np.testing.assert_array_equal(params["layer1_0"]["bn3"]["scale"], np.ones(64))


def test_gradients_are_finite_and_bfloat16_is_close():
    model, variables = TINY(3), variables_of(False)
    half = model.clone(dtype=jnp.bfloat16)

    @functools.partial(jax.jit, static_argnums=0)
    def gradients(model, params):
        def loss(params):
            embeddings, _ = model.apply(
                {**variables, "params": params}, IMAGES, True, mutable=["batch_stats"]
            )
            return jnp.sum(embeddings[:, 0]), embeddings

        return jax.grad(loss, has_aux=True)(params)

    found, embeddings = gradients(model, variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    assert np.abs(found["conv1"]["kernel"]).max() > 0
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    shapes, _ = jax.eval_shape(functools.partial(gradients, half), variables["params"])
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype(np.float32)}
    rounded = jax.jit(
        functools.partial(half.apply, train=True, mutable=["batch_stats"])
    )(variables, IMAGES)[0]
    np.testing.assert_allclose(rounded, embeddings, atol=0.05)
    assert np.abs(rounded - embeddings).max() > 0


def test_batchnorm_takes_the_statistics_of_all_devices():
    variables = variables_of(False)

    def train(model, inputs):
        return model.apply(variables, inputs, train=True, mutable=["batch_stats"])

    expected, changed = jax.jit(functools.partial(train, TINY(3)))(IMAGES)
    sharded = jax.vmap(
        functools.partial(train, TINY(3, axis_name=AXIS)), axis_name=AXIS
    )
    found, stats = jax.jit(sharded)(IMAGES.reshape(4, 2, *IMAGES.shape[1:]))
    np.testing.assert_allclose(found.reshape(8, 3), expected, atol=1e-4)
    for a, b in zip(jax.tree.leaves(stats), jax.tree.leaves(changed), strict=True):
        np.testing.assert_allclose(a, np.tile(b, (4, 1)), atol=1e-5)
    stem = lax.conv_general_dilated(
        IMAGES,
        variables["params"]["conv1"]["kernel"],
        (2, 2),
        [(1, 1), (1, 1)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    mean = 0.9 * variables["batch_stats"]["bn1"]["mean"] + 0.1 * stem.mean((0, 1, 2))
    np.testing.assert_allclose(changed["batch_stats"]["bn1"]["mean"], mean, atol=1e-5)


def test_every_layer_of_a_projection_head_starts_as_pytorch_does():
    model = TINY(3, blocks=(1,), channels=(400,), head_layers=2, num_heads=2)
    head = jax.jit(model.init)(jax.random.key(0), IMAGES)["params"]["head"]
    assert set(head) == {"hidden_0", "hidden_1", "output_0", "output_1"}
    for layer in head.values():
        for leaf in layer.values():
            assert 0.02 < np.abs(leaf).max() <= 400**-0.5
        np.testing.assert_allclose(
            np.std(layer["kernel"]), (3 * 400) ** -0.5, rtol=0.05
        )
    assert head["hidden_0"]["kernel"].shape == (400, 400)
