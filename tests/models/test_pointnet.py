import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax import models
from hierjax.errors import UserError

AXIS = "devices"
POINTS = np.random.default_rng(0).normal(size=(8, 9, 3)).astype(np.float32)
MODEL = models.PointNet(3, channels=(4, 6), axis_name=AXIS)


@functools.lru_cache(maxsize=None)
def variables_of():
    """Random leaves: those that start as zeros and ones would hide a mistake."""
    rng = np.random.default_rng(1)

    def draw(leaf):
        if leaf.ndim == 1:
            return rng.uniform(0.2, 1.5, leaf.shape).astype(np.float32)
        return rng.normal(0, leaf.shape[0] ** -0.5, leaf.shape).astype(np.float32)

    made = jax.eval_shape(MODEL.init, jax.random.key(0), POINTS)
    return jax.tree.map(draw, made)


embeddings_of = jax.jit(MODEL.apply)
features_of = jax.jit(functools.partial(MODEL.apply, method="features"))


def test_features_against_a_loop_over_points():
    params, stats = variables_of()["params"], variables_of()["batch_stats"]
    expected = np.full((8, 6), -np.inf)
    for cloud in range(8):
        for point in POINTS[cloud]:
            x = point
            for layer in range(2):
                norm, held = params[f"BatchNorm_{layer}"], stats[f"BatchNorm_{layer}"]
                x = x @ params[f"Dense_{layer}"]["kernel"]
                x = (x - held["mean"]) / np.sqrt(held["var"] + 1e-5)
                x = np.maximum(x * norm["scale"] + norm["bias"], 0)
            expected[cloud] = np.maximum(expected[cloud], x)
    found = features_of(variables_of(), POINTS)
    assert found.dtype == jnp.float32 and (expected > 0).mean() > 0.5
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_default_layers_have_no_bias_before_their_batchnorm():
    made = jax.eval_shape(models.PointNet(5).init, jax.random.key(0), POINTS)
    kernels = [made["params"][f"Dense_{layer}"] for layer in range(3)]
    assert [set(kernel) for kernel in kernels] == [{"kernel"}] * 3
    shapes = [kernel["kernel"].shape for kernel in kernels]
    assert shapes == [(3, 64), (64, 128), (128, 256)]
    assert made["params"]["head"]["kernel"].shape == (256, 5)


def test_the_order_and_repetition_of_points_do_not_matter():
    order = np.random.default_rng(2).permutation(9)
    expected = embeddings_of(variables_of(), POINTS)
    for points in (POINTS[:, order], POINTS[:, np.r_[order, 3, 3, 0]]):
        np.testing.assert_allclose(
            embeddings_of(variables_of(), points), expected, atol=1e-6
        )
    moved = embeddings_of(variables_of(), POINTS[:, :4])
    assert np.abs(moved - expected).max() > 1e-3
    assert embeddings_of(variables_of(), POINTS[:, :1]).shape == (8, 3)


def test_training_does_not_depend_on_the_order_of_points_either():
    train = jax.jit(
        functools.partial(
            MODEL.clone(axis_name=None).apply, train=True, mutable=["batch_stats"]
        )
    )
    expected, found = (
        train(variables_of(), points) for points in (POINTS, POINTS[:, ::-1])
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("map_devices", [jax.vmap, jax.pmap])
def test_batchnorm_takes_the_statistics_of_all_devices(map_devices):
    variables = variables_of()

    def train(model, inputs):
        return model.apply(variables, inputs, train=True, mutable=["batch_stats"])

    whole = MODEL.clone(axis_name=None)
    expected, changed = jax.jit(functools.partial(train, whole))(POINTS)
    sharded = map_devices(functools.partial(train, MODEL), axis_name=AXIS)
    sharded = jax.jit(sharded) if map_devices is jax.vmap else sharded
    found, stats = sharded(POINTS.reshape(4, 2, 9, 3))
    np.testing.assert_allclose(np.reshape(found, (8, 3)), expected, atol=1e-4)
    for a, b in zip(jax.tree.leaves(stats), jax.tree.leaves(changed), strict=True):
        np.testing.assert_allclose(a, np.tile(b, (4, 1)), atol=1e-5)
    first = POINTS.reshape(-1, 3) @ variables["params"]["Dense_0"]["kernel"]
    mean = 0.99 * variables["batch_stats"]["BatchNorm_0"]["mean"] + 0.01 * first.mean(0)
    np.testing.assert_allclose(
        changed["batch_stats"]["BatchNorm_0"]["mean"], mean, atol=1e-5
    )


def test_gradients_are_finite_when_all_points_are_equal():
    points = np.ones((4, 5, 3), np.float32)
    variables = variables_of()

    @jax.jit
    @jax.grad
    def gradient(params):
        embeddings, _ = MODEL.clone(axis_name=None).apply(
            variables | {"params": params}, points, True, mutable=["batch_stats"]
        )
        return jnp.sum(embeddings[:, 0])

    for leaf in jax.tree.leaves(gradient(variables["params"])):
        assert np.isfinite(leaf).all()


def test_bfloat16_is_close_to_float32():
    half = MODEL.clone(dtype="bfloat16")
    found = jax.jit(half.apply)(variables_of(), POINTS)
    expected = embeddings_of(variables_of(), POINTS)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=0.03)


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 2), (8, 0, 3), (8, 9, 3, 1)])
def test_other_shapes_are_errors(shape):
    with pytest.raises(UserError, match=r"PointNet takes points \[B, P, 3\]"):
        MODEL.init(jax.random.key(0), np.zeros(shape, np.float32))
