import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from hierjax import models
from hierjax.errors import UserError
from hierjax.models import inception

MODEL = models.InceptionV3(128)


@pytest.fixture(scope="module")
def variables():
    images = jax.ShapeDtypeStruct((2, 128, 128, 3), jnp.float32)
    return jax.eval_shape(MODEL.init, jax.random.key(0), images)


def test_shapes_and_parameter_count(variables):
    embeddings = jax.eval_shape(
        MODEL.apply, variables, jax.ShapeDtypeStruct((2, 75, 90, 3), jnp.float32)
    )
    assert embeddings.shape == (2, 128)
    params = dict(variables["params"])
    assert params.pop("head")["kernel"].shape == (2048, 128)
    # torchvision's, without classifier and auxiliary head.
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 21_785_568


def test_names_are_those_of_torchvision(variables):
    flat = traverse_util.flatten_dict(variables["params"], sep=".")
    for name, shape in {
        "Conv2d_1a_3x3.conv": (3, 3, 3, 32),
        "Conv2d_4a_3x3.conv": (3, 3, 80, 192),
        "Mixed_5b.branch_pool.conv": (1, 1, 192, 32),
        "Mixed_6b.branch7x7_2.conv": (1, 7, 128, 128),
        "Mixed_6d.branch7x7dbl_4.conv": (7, 1, 160, 160),
        "Mixed_7a.branch7x7x3_4.conv": (3, 3, 192, 192),
        "Mixed_7b.branch3x3_2a.conv": (1, 3, 384, 384),
        "Mixed_7c.branch3x3dbl_3b.conv": (3, 1, 384, 384),
    }.items():
        assert flat[f"{name}.kernel"].shape == shape, name
    assert sum(name.endswith("conv.kernel") for name in flat) == 94
    assert not any(name.endswith("conv.bias") for name in flat)


def test_maps_shrink_as_published(variables):
    images = jax.ShapeDtypeStruct((1, 299, 128, 3), jnp.float32)
    _, kept = jax.eval_shape(
        lambda v, x: MODEL.apply(
            v, x, capture_intermediates=True, mutable=["intermediates"]
        ),
        variables,
        images,
    )
    for name, shape in {
        "Conv2d_1a_3x3": (149, 63, 32),
        "Conv2d_2a_3x3": (147, 61, 32),
        "Conv2d_2b_3x3": (147, 61, 64),
        "Conv2d_3b_1x1": (73, 30, 80),
        "Conv2d_4a_3x3": (71, 28, 192),
        "Mixed_5b": (35, 13, 256),
        "Mixed_5d": (35, 13, 288),
        "Mixed_6a": (17, 6, 768),
        "Mixed_6e": (17, 6, 768),
        "Mixed_7a": (8, 2, 1280),
        "Mixed_7c": (8, 2, 2048),
    }.items():
        (found,) = kept["intermediates"][name]["__call__"]
        assert found.shape == (1, *shape), name


def test_training_needs_a_key_for_dropout(variables):
    def train(variables, images, **rngs):
        return MODEL.apply(
            variables, images, train=True, mutable=["batch_stats"], **rngs
        )

    images = jax.ShapeDtypeStruct((2, 75, 75), jnp.float32)
    grey = jax.eval_shape(MODEL.init, jax.random.key(0), images)
    assert grey["params"]["Conv2d_1a_3x3"]["conv"]["kernel"].shape == (3, 3, 1, 32)
    with pytest.raises(Exception, match="dropout"):
        jax.eval_shape(train, grey, images)
    embeddings, changed = jax.eval_shape(
        lambda v, x, key: train(v, x, rngs={"dropout": key}),
        grey,
        images,
        jax.random.key(0),
    )
    assert embeddings.shape == (2, 128)
    assert jax.tree.structure(changed["batch_stats"]) == jax.tree.structure(
        grey["batch_stats"]
    )


def test_small_images_are_refused(variables):
    images = jax.ShapeDtypeStruct((2, 80, 74, 3), jnp.float32)
    with pytest.raises(UserError, match="75 x 75 at least, got 80 x 74"):
        jax.eval_shape(MODEL.apply, variables, images)


def test_branches_run_side_by_side_and_steps_in_turn():
    x = np.arange(36.0).reshape(1, 6, 6, 1)

    def make(conv, name):
        assert name == conv.name
        return lambda x: x * conv.channels

    conv = inception._Conv
    steps = (
        conv("a", 2),
        (
            (conv("b", 3), ((conv("c", 5),), (conv("d", 7),))),
            (inception._AVERAGE, conv("e", 11)),
        ),
    )
    found = inception._run(steps, x, make)
    np.testing.assert_allclose(found[..., :2], x * [2 * 3 * 5, 2 * 3 * 7])
    padded = np.pad(x[0, :, :, 0], 1)
    for i in range(6):
        for j in range(6):
            # The padding's zeros count.
            mean = padded[i : i + 3, j : j + 3].sum() / 9
            np.testing.assert_allclose(found[0, i, j, 2], 22 * mean, rtol=1e-5)
    pooled = inception._run((inception._MAX,), x, make)
    np.testing.assert_array_equal(pooled[0, :, :, 0], [[14, 16], [26, 28]])
