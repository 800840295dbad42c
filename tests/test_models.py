import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import models

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
    np.testing.assert_allclose(raw.apply(variables, INPUTS), expected, atol=1e-5)
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
        embeddings = model.apply(variables_of(name), images)
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
