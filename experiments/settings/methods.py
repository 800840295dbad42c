"""The objects an experiment stands for: encoder, objective, trained result."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from experiments.settings.experiment import ENCODERS, Experiment
from hierjax import data, models, objectives, training
from hierjax.data.augmentation import with_views


def make_model(experiment: Experiment, num_levels: int) -> nn.Module:
    """The encoder, with as many heads and as long embeddings as the method wants.

    Args:
      experiment: what it is for.
      num_levels: levels of the tree.
    """
    settings = {}
    # Only encoders of images and points have statistics to share between devices.
    if experiment.model not in ("linear", "mlp"):
        settings["axis_name"] = training.AXIS
    if experiment.width:
        settings["channels"] = tuple(experiment.width * 2**i for i in range(3))
    heads = experiment.method.num_heads(num_levels)
    if heads is not None:
        settings["num_heads"] = heads
    return ENCODERS[experiment.model](
        embed_dim=experiment.embed_dim,
        normalize=experiment.method.unit_rows,
        size_inform=experiment.size_inform,
        dtype=jnp.dtype(experiment.dtype),
        head_layers=experiment.head_layers,
        **settings,
    )


def make_objective(
    experiment: Experiment, dataset: data.Dataset
) -> objectives.Objective:
    """The objective on a data set; equal settings give the same object."""
    hierarchy = dataset.hierarchy
    ids = dataset.train_labels[dataset.rows("train"), -1]
    counts = np.bincount(ids[ids >= 0], minlength=hierarchy.num_classes)
    return experiment.method.build(hierarchy, tuple(counts.tolist()))


def pretrained_weights(experiment: Experiment) -> Callable | None:
    """What puts the weights of a file into fresh variables, None without a file."""
    if not experiment.weights:
        return None
    path = pathlib.Path(experiment.data_dir) / experiment.weights
    return functools.partial(models.load_pretrained, path)


def augmentation(experiment: Experiment) -> Callable | None:
    """What makes the views of one example; None leaves it as it is."""
    if experiment.augment == "none":
        return None
    return with_views(data.AUGMENTATIONS[experiment.augment], experiment.num_views)


def fit(
    experiment: Experiment,
    dataset: data.Dataset,
    workdir: pathlib.Path | None = None,
    *,
    selections: Iterable[str] = (),
    keep_steps: Iterable[int] = (),
    num_devices: int | None = None,
    verbose: bool = False,
) -> training.Result:
    """Train an experiment on its data, see `training.fit`."""
    return training.fit(
        make_model(experiment, dataset.hierarchy.num_levels),
        make_objective(experiment, dataset),
        dataset,
        experiment.config(),
        workdir,
        selections=selections,
        keep_steps=keep_steps,
        augment=augmentation(experiment),
        pretrained=pretrained_weights(experiment),
        measured=experiment.measured,
        num_devices=num_devices,
        verbose=verbose,
    )


def rehearse(
    experiment: Experiment, dataset: data.Dataset, *, num_devices: int | None = None
) -> training.Rehearsal:
    """Run the first steps of an experiment, see `training.rehearse`."""
    return training.rehearse(
        make_model(experiment, dataset.hierarchy.num_levels),
        make_objective(experiment, dataset),
        dataset,
        experiment.config(),
        augment=augmentation(experiment),
        pretrained=pretrained_weights(experiment),
        num_devices=num_devices,
    )


def untrained_variables(experiment: Experiment, dataset: data.Dataset) -> dict:
    """Parameters and statistics of the network as it is initialised."""
    return training.initial_variables(
        make_model(experiment, dataset.hierarchy.num_levels),
        training.example_inputs(dataset),
        experiment.seed,
        pretrained=pretrained_weights(experiment),
    )


def whole_tuples(experiment: Experiment, dataset: data.Dataset) -> Experiment:
    """Round the batch of a method that takes tuples down to whole ones, and say so.

    A batch counts clips, so that methods with and without tuples see as many; how many
    a tuple has depends on the depth of the tree.
    """
    tuple_size = experiment.method.tuple_size(dataset.hierarchy.num_levels)
    batch_size = experiment.batch_size // tuple_size * tuple_size
    if batch_size in (0, experiment.batch_size):
        return experiment
    print(f"batch_size {batch_size}: whole tuples of {tuple_size} rows")
    return dataclasses.replace(experiment, batch_size=batch_size)
