"""The objects an experiment stands for: encoder, objective, trained result."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from experiments.settings.experiment import (
    ENCODERS,
    OF_VECTORS,
    PRETRAINABLE,
    Experiment,
)
from hierjax import data, models, objectives, training
from hierjax.data.augmentation import drawn_views, with_views
from hierjax.errors import UserError


def make_model(experiment: Experiment, num_levels: int) -> nn.Module:
    """The encoder, with as many heads and as long embeddings as the method wants.

    Args:
      experiment: what it is for.
      num_levels: levels of the tree.
    """
    settings = {}
    # Only encoders of images and points have statistics to share between devices.
    if experiment.model not in OF_VECTORS:
        settings["axis_name"] = training.AXIS
    if experiment.width:
        settings["channels"] = tuple(experiment.width * 2**i for i in range(3))
    heads = experiment.method.num_heads(num_levels)
    if heads is not None:
        settings["num_heads"] = heads
    make = ENCODERS[experiment.model]
    if experiment.model in PRETRAINABLE:
        settings |= {"side": experiment.model_side, "trainable": experiment.trainable}
    if experiment.model in models.NETWORKS:
        if experiment.weights and not experiment.fresh_stem:
            make = models.NETWORKS[experiment.model].make
    return make(
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
    objective = experiment.method.build(hierarchy, tuple(counts.tolist()))
    return objectives.regularized(objective, experiment.regularizer, hierarchy)


def starting_weights(experiment: Experiment, dataset: data.Dataset) -> Callable | None:
    """What puts other weights into fresh variables, None to leave them random.

    Args:
      experiment: names weights, or a start from the input.
      dataset: whose training rows such a start is fitted on.

    Raises:
      UserError: the extra that holds the weights is not installed, or images would be
        standardised.
    """
    if experiment.init != "random":
        rows = dataset.float_features(dataset.rows("train"))
        return functools.partial(models.start_linear, experiment.init, rows)
    if not experiment.weights:
        return None
    is_mapped = experiment.model in models.NETWORKS and not experiment.fresh_stem
    if is_mapped and experiment.standardize:
        raise UserError(
            "pretrained weights want images as they are; set standardize=false"
        )
    if experiment.weights == models.IMAGENET:
        path = models.packaged_weights(experiment.model)
    else:
        path = pathlib.Path(experiment.data_dir) / experiment.weights
    return functools.partial(
        models.load_pretrained, path, fresh_stem=experiment.fresh_stem
    )


def augmentation(experiment: Experiment) -> Callable | None:
    """What makes the views of one example; None leaves it as it is."""
    if experiment.augment == "none":
        return None
    if experiment.encoder:
        return drawn_views(experiment.num_views)
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
        pretrained=starting_weights(experiment, dataset),
        measured=experiment.measured,
        num_devices=num_devices,
        verbose=verbose,
    )


def replay(
    experiment: Experiment, dataset: data.Dataset, workdir: pathlib.Path
) -> training.Replayed:
    """Run the step again that ended an experiment, see `training.replay`."""
    return training.replay(
        make_model(experiment, dataset.hierarchy.num_levels),
        make_objective(experiment, dataset),
        dataset,
        experiment.config(),
        workdir,
        augment=augmentation(experiment),
        pretrained=starting_weights(experiment, dataset),
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
        pretrained=starting_weights(experiment, dataset),
        num_devices=num_devices,
    )


def untrained_variables(experiment: Experiment, dataset: data.Dataset) -> dict:
    """Parameters and statistics of the network as it is initialised."""
    return training.initial_variables(
        make_model(experiment, dataset.hierarchy.num_levels),
        training.example_inputs(dataset),
        experiment.seed,
        pretrained=starting_weights(experiment, dataset),
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
