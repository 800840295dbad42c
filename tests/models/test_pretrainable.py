"""Training of a part of a pretrained network leaves the rest as it is, to the bit."""

import functools

import jax
import numpy as np
import pytest

from hierjax import Hierarchy, models, objectives
from hierjax.errors import UserError
from hierjax.options import changed
from hierjax.training import AXIS, Config, create_state, make_optimizer, make_train_step
from hierjax.training.step import replicate

NUM_DEVICES = 3
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 9, 8, 3)).astype(np.uint8)
LABELS = np.array([[row % 2, row % 4] for row in range(12)], np.int32)
ROWS = np.arange(12, dtype=np.int32).reshape(1, NUM_DEVICES, 4)
STAGES = {
    "blocks": (1, 1),
    "channels": (4, 4),
    "kernels": (3, 3),
    "strides": (2, 1),
    "expansions": (1, 2),
}
NETWORKS = {
    "resnet": (
        functools.partial(models.SmallResNet, blocks=(1, 1), channels=(4, 5)),
        {"layer2_0"},
    ),
    "efficientnet": (
        functools.partial(models.EfficientNetLite, **STAGES),
        {"blocks_1", "conv_head", "bn1"},
    ),
}
OBJECTIVE = changed(
    objectives.Classification(), {"score": "normface", "representatives": "ema"}
).build(Hierarchy.from_level_labels(LABELS), (3,) * 4)


def names_that_differ(before, after):
    """Outermost modules of which any bit changed."""
    return {
        module
        for module in before
        for a, b in zip(
            jax.tree.leaves(before[module]),
            jax.tree.leaves(after[module]),
            strict=True,
        )
        if np.asarray(a).tobytes() != np.asarray(b).tobytes()
    }


@pytest.mark.parametrize(
    ("network", "trainable"),
    [
        ("efficientnet", "last"),
        ("resnet", "head"),
        pytest.param("efficientnet", "head", marks=pytest.mark.slow),
        pytest.param("efficientnet", "all", marks=pytest.mark.slow),
        pytest.param("resnet", "last", marks=pytest.mark.slow),
        pytest.param("resnet", "all", marks=pytest.mark.slow),
    ],
)
def test_only_what_is_trained_changes(network, trainable):
    """Under Adam with decoupled decay, which would shrink what has no gradient."""
    make, last = NETWORKS[network]
    model = make(embed_dim=3, axis_name=AXIS, trainable=trainable)
    config = Config(optimizer="adamw", learning_rate=0.01, weight_decay=0.1)
    optimizer = make_optimizer(config)
    devices = tuple(jax.devices()[:NUM_DEVICES])
    example = IMAGES[:1].astype(np.float32)
    state = jax.device_get(create_state(model, OBJECTIVE, optimizer, example, seed=0))
    step = make_train_step(model, OBJECTIVE, optimizer.update, devices=devices)
    after, *data = replicate(
        (state, IMAGES, LABELS, jax.random.key(0)), devices=devices
    )
    for _ in range(2):
        after, metrics = step(after, *data, ROWS)
        assert np.isfinite(np.asarray(metrics["loss"])).all()
    after = jax.device_get(after)
    trained = {
        "all": set(state.params),
        "last": last | {"head"},
        "head": {"head"},
    }[trainable]
    assert names_that_differ(state.params, after.params) == trained
    assert names_that_differ(state.batch_stats, after.batch_stats) == (
        trained & set(state.batch_stats)
    )
    count = sum(
        leaf.size for name in trained for leaf in jax.tree.leaves(state.params[name])
    )
    moments = sum(leaf.size for leaf in jax.tree.leaves(state.opt_state))
    assert 2 * count <= moments <= 2 * count + 10
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_what_is_frozen_normalises_by_its_own_statistics():
    make, _ = NETWORKS["efficientnet"]
    example = IMAGES.astype(np.float32)
    whole = make(embed_dim=3, normalize=False)
    variables = jax.jit(whole.init)(jax.random.key(0), example)
    apply = {
        (trainable, train): jax.jit(
            functools.partial(
                whole.clone(trainable=trainable).apply,
                train=train,
                mutable=["batch_stats"],
            )
        )(variables, example)[0]
        for trainable, train in (
            ("head", True),
            ("head", False),
            ("last", True),
        )
    }
    np.testing.assert_array_equal(apply["head", True], apply["head", False])
    assert np.abs(apply["last", True] - apply["head", True]).max() > 1e-3


def test_the_last_stage_is_among_the_modules():
    """Of the real networks, by shapes alone."""
    for name in ("efficientnet_lite0", "imagenet_resnet50", "inception_v3"):
        model = models.NETWORKS[name].make(embed_dim=2)
        images = jax.ShapeDtypeStruct((1, 80, 80, 3), np.float32)
        params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
        assert model.last_stage < set(params), name
        trained = {
            trainable: {
                module
                for module in params
                if not model.clone(trainable=trainable).is_frozen(module)
            }
            for trainable in models.TRAINABLE
        }
        assert trained["all"] == set(params)
        assert trained["last"] == model.last_stage | {"head"}
        assert trained["head"] == {"head"}


def test_images_are_resized_and_normalised():
    model = models.SmallResNet(
        embed_dim=2,
        blocks=(1,),
        channels=(4,),
        side=6,
        pixel_mean=(0.1, 0.2, 0.3),
        pixel_std=(0.5, 0.6, 0.7),
    )
    images = IMAGES[:1].astype(np.float32) / 255
    found = np.asarray(model._as_images(images))
    assert found.shape == (1, 6, 6, 3)
    expected = jax.image.resize(images, (1, 6, 6, 3), "linear")
    for channel in range(3):
        np.testing.assert_allclose(
            found[..., channel],
            (expected[..., channel] - (0.1, 0.2, 0.3)[channel])
            / (0.5, 0.6, 0.7)[channel],
            rtol=1e-5,
            atol=1e-6,
        )
    grey = np.asarray(model._as_images(images[..., :1]))
    np.testing.assert_allclose(grey[..., 0], found[..., 0], rtol=1e-5, atol=1e-6)
    assert grey.shape == (1, 6, 6, 3)
    with pytest.raises(UserError, match="takes images of 1 or 3 channels, got 2"):
        model._as_images(images[..., :2])
    with pytest.raises(UserError, match="one of all, last, head, got 'tail'"):
        models.SmallResNet(embed_dim=2, trainable="tail")
