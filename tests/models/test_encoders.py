import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import models
from hierjax.errors import UserError
from hierjax.models.encoders import UniformDense

INPUTS = np.random.default_rng(0).normal(size=(8, 6, 5)).astype(np.float32)
AXIS = "devices"
MODELS = {
    "linear": models.Linear(3),
    "mlp": models.MLP(3, hidden_sizes=(7, 4)),
    "convnet": models.ConvNet(3, channels=(4, 6), axis_name=AXIS),
}
FEATURE_SIZES = {"linear": 30, "mlp": 4, "convnet": 6}


@functools.lru_cache(maxsize=None)
def variables_of(name):
    return jax.device_get(jax.jit(MODELS[name].init)(jax.random.key(0), INPUTS))


@pytest.mark.parametrize("name", MODELS)
def test_embeddings_are_the_normalised_head_of_the_features(name):
    model, variables = MODELS[name], variables_of(name)
    apply = jax.jit(model.apply, static_argnames="method")
    features = apply(variables, INPUTS, method="features")
    assert features.shape == (8, FEATURE_SIZES[name])
    head = variables["params"]["head"]
    expected = np.asarray(features) @ head["kernel"] + head["bias"]
    raw = model.clone(normalize=False)
    found = jax.jit(raw.apply)(variables, INPUTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    embeddings = apply(variables, INPUTS)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)
    assert embeddings.dtype == jnp.float32


def test_features_of_the_mlp():
    params = variables_of("mlp")["params"]
    x = INPUTS.reshape(8, 30)
    for layer in ("Dense_0", "Dense_1"):
        x = np.maximum(x @ params[layer]["kernel"] + params[layer]["bias"], 0)
    found = MODELS["mlp"].apply(variables_of("mlp"), INPUTS, method="features")
    np.testing.assert_allclose(found, x, atol=1e-5)


def test_integer_inputs_are_accepted():
    images = np.arange(8 * 6 * 5, dtype=np.uint8).reshape(8, 6, 5)
    for name, model in MODELS.items():
        embeddings = jax.jit(model.apply)(variables_of(name), images)
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)


def test_a_zero_embedding_stays_zero_with_finite_gradients():
    model = MODELS["linear"]
    variables = jax.tree.map(jnp.zeros_like, variables_of("linear"))
    value, gradient = jax.value_and_grad(lambda v: jnp.sum(model.apply(v, INPUTS)))(
        variables
    )
    assert value == 0
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))


def test_convnet_has_no_bias_before_its_batchnorm():
    params = variables_of("convnet")["params"]
    assert set(params["Conv_0"]) == {"kernel"}
    assert params["Conv_0"]["kernel"].shape == (3, 3, 1, 4)
    assert params["Conv_1"]["kernel"].shape == (3, 3, 4, 6)


def test_convnet_takes_images_with_and_without_channels():
    model, variables = MODELS["convnet"], variables_of("convnet")
    np.testing.assert_array_equal(
        model.apply(variables, INPUTS), model.apply(variables, INPUTS[..., None])
    )
    with pytest.raises(ValueError, match=r"\[B, H, W\(, C\)\], got \(8, 30\)"):
        model.apply(variables, INPUTS.reshape(8, 30))


def test_batchnorm_takes_the_statistics_of_all_devices():
    variables = variables_of("convnet")

    def train(model, inputs):
        return model.apply(variables, inputs, train=True, mutable=["batch_stats"])

    whole = MODELS["convnet"].clone(axis_name=None)
    expected, changed = jax.jit(functools.partial(train, whole))(INPUTS)
    sharded = jax.vmap(functools.partial(train, MODELS["convnet"]), axis_name=AXIS)
    found, stats = jax.jit(sharded)(INPUTS.reshape(4, 2, 6, 5))
    np.testing.assert_allclose(found.reshape(8, 3), expected, atol=1e-5)
    for a, b in zip(jax.tree.leaves(stats), jax.tree.leaves(changed), strict=True):
        np.testing.assert_allclose(a, np.tile(b, (4, 1)), atol=1e-6)
    before = jax.tree.leaves(variables["batch_stats"])
    assert any(
        np.abs(a - b).max() > 1e-3
        for a, b in zip(before, jax.tree.leaves(changed), strict=True)
    )


def test_evaluation_uses_the_running_statistics_row_by_row():
    model, variables = MODELS["convnet"], variables_of("convnet")
    together = model.apply(variables, INPUTS)
    np.testing.assert_allclose(
        model.apply(variables, INPUTS[3:5]), together[3:5], atol=1e-6
    )


def test_a_dict_gives_what_its_image_gives():
    inputs = {"image": INPUTS, "size": np.full((8, 2), 7)}
    for name, model in MODELS.items():
        for method in ("features", "__call__"):
            apply = jax.jit(functools.partial(model.apply, method=method))
            expected = apply(variables_of(name), INPUTS)
            np.testing.assert_array_equal(apply(variables_of(name), inputs), expected)


def test_size_information_is_added_before_normalising():
    model = MODELS["linear"].clone(size_inform=True)
    sizes = np.random.default_rng(1).integers(1, 500, (8, 2))
    inputs = {"image": INPUTS, "size": sizes}
    variables = jax.jit(model.init)(jax.random.key(0), inputs)
    params = jax.device_get(variables["params"])
    assert params["size_head"]["kernel"].shape == (2, 3)
    apply = jax.jit(model.apply)
    found = apply(variables, inputs)
    for row in range(8):
        expected = (
            INPUTS[row].ravel() @ params["head"]["kernel"]
            + params["head"]["bias"]
            + np.log(sizes[row]) @ params["size_head"]["kernel"]
            + params["size_head"]["bias"]
        )
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(found[row], expected, atol=1e-5)
    other = apply(variables, {"image": INPUTS, "size": sizes[::-1].copy()})
    assert np.abs(other - found).max() > 0.01


@pytest.mark.parametrize("inputs", [INPUTS, {"image": INPUTS}])
def test_size_information_without_sizes_is_an_error(inputs):
    model = MODELS["linear"].clone(size_inform=True)
    with pytest.raises(UserError, match=r"size_inform needs .* 'size' \[B, 2\]"):
        model.init(jax.random.key(0), inputs)


@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_bfloat16_is_close_to_float32_and_keeps_float32_parameters(name):
    model, variables = MODELS[name], variables_of(name)
    half = model.clone(dtype="bfloat16")
    made = jax.eval_shape(half.init, jax.random.key(0), INPUTS)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(made))
    found, expected = (jax.jit(m.apply)(variables, INPUTS) for m in (half, model))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=0.03)
    assert np.abs(found - expected).max() > 0
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_the_flattened_input_is_not_rounded():
    half = MODELS["linear"].clone(dtype=jnp.bfloat16)
    features = half.apply(variables_of("linear"), INPUTS, method="features")
    np.testing.assert_array_equal(features, INPUTS.reshape(8, 30))


def test_uniform_dense_starts_as_pytorch_does():
    layer = UniformDense(2000)
    variables = jax.jit(layer.init)(jax.random.key(0), np.ones((1, 25)))
    for leaf in variables["params"].values():
        assert np.abs(leaf).max() <= 0.2
        np.testing.assert_allclose(np.std(leaf), 0.2 / np.sqrt(3), rtol=0.05)
    assert variables["params"]["bias"].shape == (2000,)


def test_the_plain_head_keeps_its_place_and_its_start():
    """Checkpoints written before there were other heads must load."""
    for name in MODELS:
        head = variables_of(name)["params"]["head"]
        assert set(head) == {"kernel", "bias"}
        assert head["kernel"].shape == (FEATURE_SIZES[name], 3)
        assert set(variables_of(name)["params"]) & {"hidden_0", "size_head"} == set()


@pytest.mark.parametrize("name", MODELS)
def test_a_projection_head_is_affine_relu_affine(name):
    model, width = MODELS[name].clone(head_layers=2), FEATURE_SIZES[name]
    variables = jax.device_get(jax.jit(model.init)(jax.random.key(0), INPUTS))
    head = variables["params"]["head"]
    assert jax.tree.map(np.shape, head) == {
        "hidden_0": {"kernel": (width, width), "bias": (width,)},
        "output_0": {"kernel": (width, 3), "bias": (3,)},
    }
    head["hidden_0"]["bias"] = head["hidden_0"]["bias"] + 0.1
    features = jax.jit(functools.partial(model.apply, method="features"))
    x = np.asarray(features(variables, INPUTS))
    x = np.maximum(x @ head["hidden_0"]["kernel"] + head["hidden_0"]["bias"], 0)
    x = x @ head["output_0"]["kernel"] + head["output_0"]["bias"]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(jax.jit(model.apply)(variables, INPUTS), x, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_heads_side_by_side_are_the_single_heads(layers):
    single = models.MLP(3, hidden_sizes=(7, 4), head_layers=layers)
    several = single.clone(num_heads=3)
    variables = jax.device_get(jax.jit(several.init)(jax.random.key(0), INPUTS))
    found = jax.jit(several.apply)(variables, INPUTS)
    assert found.shape == (8, 9)
    lengths = np.linalg.norm(np.reshape(found, (8, 3, 3)), axis=2)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    head = variables["params"]["head"]
    for number in range(3):
        own = {"output_0": head[f"output_{number}"]}
        if layers == 2:
            own["hidden_0"] = head[f"hidden_{number}"]
        else:
            own = own["output_0"]
        params = variables["params"] | {"head": own}
        part = jax.jit(single.apply)({"params": params}, INPUTS)
        np.testing.assert_allclose(
            found[:, 3 * number : 3 * number + 3], part, atol=1e-6
        )
    assert np.abs(found[:, :3] - found[:, 3:6]).max() > 0.01
    raw = several.clone(normalize=False).apply(variables, INPUTS)
    assert np.abs(np.linalg.norm(np.reshape(raw, (8, 3, 3)), axis=2) - 1).min() > 0


@pytest.mark.parametrize("name", MODELS)
def test_features_do_not_depend_on_the_head(name):
    model = MODELS[name].clone(head_layers=2, num_heads=2)
    made = jax.device_get(jax.jit(model.init)(jax.random.key(1), INPUTS))
    params = variables_of(name)["params"] | {"head": made["params"]["head"]}
    found, expected = (
        jax.jit(functools.partial(m.apply, method="features"))(variables, INPUTS)
        for m, variables in (
            (model, variables_of(name) | {"params": params}),
            (MODELS[name], variables_of(name)),
        )
    )
    np.testing.assert_array_equal(found, expected)


def test_a_projection_head_with_size_information():
    model = MODELS["linear"].clone(head_layers=2, size_inform=True)
    inputs = {"image": INPUTS, "size": np.full((8, 2), 7)}
    variables = jax.jit(model.init)(jax.random.key(0), inputs)
    assert set(variables["params"]) == {"head", "size_head"}
    assert jax.jit(model.apply)(variables, inputs).shape == (8, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head_layers": 0}, "head_layers must be 1 or 2, got 0"),
        ({"head_layers": 3}, "head_layers must be 1 or 2, got 3"),
        ({"num_heads": 0}, "num_heads must be at least 1, got 0"),
        ({"num_heads": 2, "size_inform": True}, "size_inform takes one head"),
    ],
)
def test_wrong_heads_are_errors(settings, message):
    with pytest.raises(UserError, match=message):
        models.Linear(3, **settings)


def test_a_flat_convnet_keeps_positions():
    images = np.random.default_rng(0).normal(size=(2, 12, 9)).astype(np.float32)
    mean = models.ConvNet(3, channels=(4, 6))
    flat = models.ConvNet(3, channels=(4, 6), flatten=True)
    variables = flat.init(jax.random.key(0), images)
    features = flat.apply(variables, images, method="features")
    # Halved twice, rounded up: 12 x 9 to 3 x 3.
    assert features.shape == (2, 3 * 3 * 6)
    pooled = mean.apply(variables, images, method="features")
    np.testing.assert_allclose(
        features.reshape(2, 9, 6).mean(axis=1), pooled, rtol=1e-5, atol=1e-6
    )
