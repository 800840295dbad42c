"""A run that takes a second: 48 rows, a linear model, the rank-based loss."""

import dataclasses

import jax
import numpy as np

from hierjax import Hierarchy, losses, models, objectives
from hierjax.data import Dataset
from hierjax.training import Config, fit

TREE = Hierarchy.from_paths(
    [["air", "flute"], ["air", "horn"], ["string", "harp"], ["string", "viola"]],
    level_names=["family", "instrument"],
)


def make_data(validation=True):
    rng = np.random.default_rng(0)
    classes = np.arange(48) % 4
    labels = TREE.labels_of(classes)
    centers = rng.normal(size=(2, 6))[[0, 0, 1, 1]] + rng.normal(size=(4, 6))
    features = centers[classes] + 0.7 * rng.normal(size=(48, 6))
    splits = {"train": np.arange(32), "test": np.arange(40, 48)}
    if validation:
        splits["validation"] = np.arange(32, 40)
    return Dataset("toy", features, labels, TREE, splits)


DATA, UNSPLIT = make_data(), make_data(validation=False)
MODEL = models.Linear(3)
RANKS = objectives.from_loss(losses.rank_based_loss, target="block_edge")
CONFIG = Config(
    num_steps=40,
    batch_size=12,
    learning_rate=0.1,
    momentum=0.5,
    eval_every=10,
    checkpoint_every=10,
    patience=0,
    steps_per_call=5,
)
SELECTION = CONFIG.selection


def train(
    workdir=None,
    data=DATA,
    num_devices=1,
    verbose=False,
    selections=(),
    keep_steps=(),
    **changes,
):
    return fit(
        MODEL,
        RANKS,
        data,
        dataclasses.replace(CONFIG, **changes),
        workdir,
        selections=selections,
        keep_steps=keep_steps,
        num_devices=num_devices,
        verbose=verbose,
    )


def assert_identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
